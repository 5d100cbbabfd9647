/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What profiles cost, and whether that depends on how full they are: the engine over the simulated
 * proxy, without its debug checks. One process for each state of the profiles; they take turns, and
 * each counts its own CPU time. Then processes that all want the same lock. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../dlg_hash.h"
#include "../../dlg_profile.h"
#include "../sim/sim_host.h"

enum { CALLER, TRUNK }; /* in the order of SIM_PROFILES */
enum { MILLION = 1000000, PICKS = 65536, ROUNDS = 15, CALLS = 20000, NO_LIMIT = UINT32_MAX - 1 };

static void die(const char *what)
{
	fprintf(stderr, "profile_bench: %s failed\n", what);
	exit(1);
}

static struct dlg_cell *new_dialog(void)
{
	static unsigned n;
	char id[24];
	struct dlg_hash_new in = { .from_tag = DLG_STR("f"), .lifetime = 1000 };
	struct dlg_cell *dlg;

	snprintf(id, sizeof(id), "%d-%u", (int)getpid(), n++);
	in.call_id = dlg_str_of(id);
	if (dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) != 1)
		die("a dialog");
	return dlg;
}

/* ---- the states ---- */

static const struct state {
	const char *name;
	unsigned members, values;
} states[] = {
	{ "10 members of one value", 10, 1 },
	{ "1,000,000 members of one value", MILLION, 1 },
	{ "10 values", 10, 10 },
	{ "1,000,000 values", MILLION, MILLION },
};
enum { STATES = sizeof(states) / sizeof(states[0]) };

struct text {
	uint8_t len;
	char s[31];
};

static struct text picks[PICKS]; /* values that are there, at random */
static struct dlg_cell *dialog;  /* in no profile */
static unsigned used;            /* picks so far */

static struct text text_of(unsigned n)
{
	struct text t;

	t.len = (uint8_t)snprintf(t.s, sizeof(t.s), "sip:%u@example.org", n);
	return t;
}

static struct dlg_str view(const struct text *t)
{
	return (struct dlg_str){ t->s, t->len };
}

static void fill(const struct state *s)
{
	struct dlg_cell *dlg = NULL;

	for (unsigned i = 0; i < s->members; i++) {
		struct text t = text_of(i % s->values);

		if (i % DLG_PROFILE_MEMBERS_MAX == 0)
			dlg = new_dialog();
		if (dlg_profile_join(dlg, CALLER, view(&t)) < 0)
			die("joining");
	}
	for (unsigned i = 0; i < PICKS; i++)
		picks[i] = text_of(sim_below(s->values));
}

static void start(const struct state *s)
{
	sim_log_level = HOST_ERROR;
	if (sim_start(4096) < 0)
		die("the start");
	fill(s);
	dialog = new_dialog();
}

/* ---- what is measured: each does it once ---- */

static volatile uint32_t sink;

static struct dlg_str any(void)
{
	return view(&picks[used++ % PICKS]);
}

static void read_one(void)
{
	struct dlg_str v = view(&picks[0]);

	sink += dlg_profile_size(CALLER, &v);
}

static void read_any(void)
{
	struct dlg_str v = any();

	sink += dlg_profile_size(CALLER, &v);
}

static void read_total(void)
{
	sink += dlg_profile_size(CALLER, NULL);
}

static void join_leave(struct dlg_str v)
{
	if (dlg_profile_join(dialog, CALLER, v) < 0 || !dlg_profile_leave(dialog, CALLER, &v))
		die("joining");
}

static void join_one(void)
{
	join_leave(view(&picks[0]));
}

static void join_any(void)
{
	join_leave(any());
}

static void join_new(void)
{
	struct text t = text_of(MILLION + used++ % PICKS);

	join_leave(view(&t));
}

static void join_limited(void)
{
	struct dlg_profile_want wants[] = { { CALLER, 1, any(), NO_LIMIT },
					    { CALLER, 0, DLG_STR_NONE, NO_LIMIT } };

	if (dlg_profile_join_limited(dialog, wants, 2) != 1 ||
	    !dlg_profile_leave(dialog, CALLER, NULL))
		die("joining");
}

static const struct op {
	const char *name;
	void (*run)(void);
} ops[] = {
	{ "size of one value", read_one },
	{ "size of any value", read_any },
	{ "size of the profile", read_total },
	{ "join, leave one value", join_one },
	{ "join, leave any value", join_any },
	{ "join, leave a new value", join_new },
	{ "join with two limits, leave", join_limited },
};
enum { OPS = sizeof(ops) / sizeof(ops[0]) };

/* ---- turns ---- */

static struct worker {
	pid_t pid;
	int ask, answer; /* pipes: number of an operation, nanoseconds each takes */
} workers[STATES];

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double time_of(const struct op *op)
{
	double began = seconds(CLOCK_PROCESS_CPUTIME_ID);

	for (int i = 0; i < CALLS; i++)
		op->run();
	return (seconds(CLOCK_PROCESS_CPUTIME_ID) - began) / CALLS * 1e9;
}

static void serve(const struct state *s, int ask, int answer)
{
	uint8_t op;
	double ns;

	start(s);
	while (read(ask, &op, 1) == 1) {
		ns = time_of(&ops[op]);
		if (write(answer, &ns, sizeof(ns)) != sizeof(ns))
			break;
	}
	_exit(0);
}

static void start_worker(unsigned i)
{
	int ask[2], answer[2];

	if (pipe(ask) || pipe(answer))
		die("pipe()");
	workers[i].pid = fork();
	if (!workers[i].pid) {
		for (unsigned k = 0; k < i; k++)
			close(workers[k].ask); /* or the others would never see an end */
		close(ask[1]);
		serve(&states[i], ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	workers[i].ask = ask[1];
	workers[i].answer = answer[0];
}

static double turn(unsigned worker, uint8_t op)
{
	double ns;

	if (write(workers[worker].ask, &op, 1) != 1 ||
	    read(workers[worker].answer, &ns, sizeof(ns)) != sizeof(ns))
		die("a worker");
	return ns;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts. */
static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

/* Two states take turns; the ratio is of the same round each. */
static void compare(unsigned small, uint8_t op)
{
	double a[ROUNDS], b[ROUNDS], ratio[ROUNDS], middle;

	turn(small, op);
	turn(small + 1, op); /* warm */
	for (int i = 0; i < ROUNDS; i++) {
		a[i] = turn(small, op);
		b[i] = turn(small + 1, op);
		ratio[i] = b[i] / a[i];
	}
	middle = median(ratio, ROUNDS);
	printf("  %-28s %7.0f %7.0f   %5.2f   %.2f to %.2f\n", ops[op].name, median(a, ROUNDS),
	       median(b, ROUNDS), middle, ratio[0], ratio[ROUNDS - 1]);
}

static void compare_states(void)
{
	for (unsigned i = 0; i < STATES; i++)
		start_worker(i);
	for (unsigned small = 0; small < STATES; small += 2) {
		printf("%s, and %s: CPU ns, ratio, and its least and greatest of %d rounds\n",
		       states[small].name, states[small + 1].name, ROUNDS);
		for (unsigned op = 0; op < OPS; op++)
			compare(small, (uint8_t)op);
		printf("\n");
	}
	for (unsigned i = 0; i < STATES; i++) {
		close(workers[i].ask);
		waitpid(workers[i].pid, NULL, 0);
	}
}

/* ---- processes at one lock ---- */

enum { CROWD = 4, CROWD_CALLS = 100000, CROWD_ROUNDS = 5 };

static struct dlg_str own; /* the value of this process, or that of all */

static void crowd_join(void)
{
	join_leave(own);
}

static void crowd_limited(void)
{
	struct dlg_profile_want want = { CALLER, 1, own, NO_LIMIT };

	if (dlg_profile_join_limited(dialog, &want, 1) != 1 ||
	    !dlg_profile_leave(dialog, CALLER, NULL))
		die("joining");
}

static const struct contest {
	const char *name;
	void (*run)(void);
	int shared;
} contests[] = {
	{ "own values", crowd_join, 0 },
	{ "one value", crowd_join, 1 },
	{ "one value with a limit", crowd_limited, 1 },
};
enum { CONTESTS = sizeof(contests) / sizeof(contests[0]) };

/* What a process used for its part. */
struct usage {
	double wall, cpu;
	double waits; /* how often it went to sleep */
};

static double sleeps(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)r.ru_nvcsw;
}

static void take_part(const struct contest *c, unsigned number, int gate, int answer)
{
	struct text t = text_of(c->shared ? 0 : number);
	struct usage u = { 0 };
	char go;

	own = view(&t);
	dialog = new_dialog();
	if (read(gate, &go, 1) < 0)
		_exit(1);
	u = (struct usage){ seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID), sleeps() };
	for (int i = 0; i < CROWD_CALLS; i++)
		c->run();
	u.wall = seconds(CLOCK_MONOTONIC) - u.wall;
	u.cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - u.cpu;
	u.waits = sleeps() - u.waits;
	_exit(write(answer, &u, sizeof(u)) != sizeof(u));
}

/* The mean of what n processes used, all at once. */
static struct usage contest(const struct contest *c, unsigned n)
{
	struct usage sum = { 0 }, one;
	int gate[2], answer[2];

	if (pipe(gate) || pipe(answer))
		die("pipe()");
	for (unsigned i = 0; i < n; i++) {
		if (!fork()) {
			close(gate[1]);
			take_part(c, i, gate[0], answer[1]);
		}
	}
	close(gate[0]);
	close(gate[1]); /* all begin */
	for (unsigned i = 0; i < n; i++) {
		if (read(answer[0], &one, sizeof(one)) != sizeof(one))
			die("a process");
		sum.wall += one.wall / n;
		sum.cpu += one.cpu / n;
		sum.waits += one.waits / n;
	}
	close(answer[0]);
	close(answer[1]);
	while (wait(NULL) > 0)
		;
	return sum;
}

static void print_contest(const struct contest *c, unsigned n, double alone)
{
	double wall[CROWD_ROUNDS], cpu[CROWD_ROUNDS], waits[CROWD_ROUNDS];

	for (int i = 0; i < CROWD_ROUNDS; i++) {
		struct usage u = contest(c, n);

		wall[i] = u.wall / CROWD_CALLS * 1e9;
		cpu[i] = u.cpu / CROWD_CALLS * 1e9;
		waits[i] = u.waits / CROWD_CALLS * 1000;
	}
	printf("  %-24s %u  %7.0f %7.0f   %5.2f   %6.2f\n", c->name, n, median(wall, CROWD_ROUNDS),
	       median(cpu, CROWD_ROUNDS), median(cpu, CROWD_ROUNDS) / alone,
	       median(waits, CROWD_ROUNDS));
}

static void compare_crowds(void)
{
	if (sim_shm_share() < 0)
		die("shared memory");
	start(&(struct state){ "", CROWD, CROWD });
	printf("join, leave: processes at once, wall and CPU ns for each, CPU ratio to one "
	       "process,\n"
	       "and how often in 1000 times it had to sleep for a lock\n");
	for (unsigned i = 0; i < CONTESTS; i++) {
		double alone = contest(&contests[i], 1).cpu / CROWD_CALLS * 1e9;

		for (unsigned n = 1; n <= CROWD; n *= 2)
			print_contest(&contests[i], n, alone);
	}
}

int main(void)
{
	setbuf(stdout, NULL);
	compare_states();
	compare_crowds();
	return 0;
}

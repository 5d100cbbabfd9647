/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What profiles cost with ten members or values and with a million, with a limit and without, and
 * how long joinings wait for one another in several processes.
 *
 * No proxy takes part: the engine runs over the simulated host of test/sim, in its release build.
 * The tables of values are shared by all profiles, so each size has a process with an engine of its
 * own, which works whenever it is asked to. All cases take turns, and each ratio is of one round.
 *
 * Environment: BENCH_SECONDS (10), of measuring in all. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../dlg_hash.h"
#include "../../dlg_profile.h"
#include "../sim/sim_host.h"
#include "bench.h"

enum { FEW = 10, MANY = 1000000, HASH_SIZE = 4096, ROUNDS = 9 };

/* The first of SIM_PROFILES. */
enum { CALLER };

static void die(const char *what)
{
	fprintf(stderr, "profile_bench: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- values: numbered, all of one length ---- */

enum { TEXT = 8 };

typedef char text[TEXT];

static struct dlg_str numbered(text out, unsigned n)
{
	for (int i = 0; i < TEXT; i++, n >>= 4)
		out[i] = "0123456789abcdef"[n & 15];
	return (struct dlg_str){ out, TEXT };
}

/* ---- what is measured ---- */

enum op {
	JOIN,         /* a value that has members, and leave */
	JOIN_NEW,     /* a value that comes and goes with it */
	JOIN_ONE,     /* a value that all processes join */
	JOIN_LIMITED, /* as JOIN, with a limit that is not reached */
	SIZE_VALUE,
	SIZE_AGAIN, /* of the same value each time */
	SIZE_PROFILE,
};

/* Numbers that no value with members has, and the one of JOIN_ONE. */
enum { NEW = 2 * MANY, ONE = NEW + 1 };

static struct dlg_cell *own;           /* who joins and leaves */
static unsigned first_value, n_values; /* the values joined by this process */

static void check(int ok)
{
	if (!ok)
		die("a joining, a leaving or a size is wrong");
}

static void join_limited(struct dlg_str value)
{
	struct dlg_profile_want want = { CALLER, 1, value, 2 * MANY };

	check(dlg_profile_join_limited(own, &want, 1) == 1);
}

/* Sizes are checked too: what counts nothing must not win. */
static void one(enum op op, struct dlg_str value)
{
	if (op == SIZE_VALUE || op == SIZE_AGAIN) {
		check(dlg_profile_size(CALLER, &value) > 0);
		return;
	}
	if (op == SIZE_PROFILE) {
		check(dlg_profile_size(CALLER, NULL) >= n_values);
		return;
	}
	if (op == JOIN_LIMITED)
		join_limited(value);
	else
		check(dlg_profile_join(own, CALLER, value) == 0);
	check(dlg_profile_leave(own, CALLER, &value) == 1);
}

static unsigned pick(enum op op)
{
	switch (op) {
	case JOIN_NEW: return NEW;
	case JOIN_ONE: return ONE;
	case SIZE_AGAIN: return first_value;
	default: return first_value + sim_below(n_values);
	}
}

/* So many at a time that reading the clock does not count; the texts of so many stay cached. */
enum { BATCH = 1024 };

/* Returns CPU time. To make the values' texts is not in it. */
static int64_t batch(enum op op)
{
	static text texts[BATCH];
	int64_t start;

	for (int i = 0; i < BATCH; i++)
		numbered(texts[i], pick(op));
	start = now(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < BATCH; i++)
		one(op, (struct dlg_str){ texts[i], TEXT });
	return now(CLOCK_PROCESS_CPUTIME_ID) - start;
}

/* ---- processes that measure when they are asked ---- */

struct order {
	enum op op;
	int64_t until; /* the same moment for all who work side by side */
};

struct result {
	int64_t done, cpu; /* ns */
	int64_t all_cpu;   /* with what is not measured */
	long sleeps;       /* times it gave the CPU up to wait */
};

struct child {
	pid_t pid;
	int fd;
};

static long sleeps(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_nvcsw;
}

static struct result measure(const struct order *order)
{
	struct result r = { .all_cpu = -now(CLOCK_PROCESS_CPUTIME_ID), .sleeps = -sleeps() };

	do {
		r.cpu += batch(order->op);
		r.done += BATCH;
	} while (now(CLOCK_MONOTONIC) < order->until);
	r.sleeps += sleeps();
	r.all_cpu += now(CLOCK_PROCESS_CPUTIME_ID);
	return r;
}

static void serve(int fd)
{
	struct result r = { 0 }; /* the first one says that it is ready */
	struct order order;

	while (write(fd, &r, sizeof(r)) == sizeof(r) &&
	       read(fd, &order, sizeof(order)) == sizeof(order))
		r = measure(&order);
	_exit(0);
}

static struct result answer(const struct child *c)
{
	struct result r;

	errno = 0;
	if (read(c->fd, &r, sizeof(r)) != sizeof(r))
		die("a process that measures has gone");
	return r;
}

typedef void setup_fn(unsigned n);

static struct child spawn(setup_fn *setup, unsigned n)
{
	struct child c;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 || (c.pid = fork()) < 0)
		die("fork");
	if (!c.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* goes with us, whatever ends us */
		sim_seed(n);
		setup(n);
		serve(fd[1]);
	}
	close(fd[1]);
	c.fd = fd[0];
	answer(&c);
	return c;
}

static int64_t slice; /* ns that one measurement takes */

/* The first n work at the same time. Returns the sums. */
static struct result ask(const struct child *c, unsigned n, enum op op)
{
	struct order order = { op, now(CLOCK_MONOTONIC) + slice };
	struct result sum = { 0 };

	for (unsigned i = 0; i < n; i++) {
		if (write(c[i].fd, &order, sizeof(order)) != sizeof(order))
			die("write");
	}
	for (unsigned i = 0; i < n; i++) {
		struct result r = answer(&c[i]);

		sum.done += r.done;
		sum.cpu += r.cpu;
		sum.all_cpu += r.all_cpu;
		sum.sleeps += r.sleeps;
	}
	return sum;
}

static double ns_each(const struct child *c, unsigned n, enum op op)
{
	struct result r = ask(c, n, op);

	return (double)r.cpu / (double)r.done;
}

/* ---- profiles of all sizes ---- */

static void start(void)
{
	sim_log_level = HOST_ERROR;
	if (sim_start(HASH_SIZE) < 0)
		die("start of the engine");
}

static struct dlg_cell *dialog(unsigned n)
{
	char id[16];
	struct dlg_hash_new in = { .from_tag = DLG_STR("f"), .lifetime = 1 };
	struct dlg_cell *dlg;

	snprintf(id, sizeof(id), "c%u", n);
	in.call_id = dlg_str_of(id);
	if (dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) != 1)
		die("a dialog");
	return dlg;
}

/* n memberships; a dialog has at most so many, and whoever joins later has none. */
static void fill(unsigned n, unsigned values)
{
	struct dlg_cell *dlg = NULL;
	text value;

	start();
	for (unsigned i = 0; i < n; i++) {
		if (i % DLG_PROFILE_MEMBERS_MAX == 0)
			dlg = dialog(i);
		check(dlg_profile_join(dlg, CALLER, numbered(value, i % values)) == 0);
	}
	own = dialog(n);
	n_values = values;
	check(dlg_profile_size(CALLER, NULL) == n && dlg_profile_values(CALLER) == values);
}

static void members(unsigned n)
{
	fill(n, 1);
}

static void values(unsigned n)
{
	fill(n, n);
}

enum who { FEW_MEMBERS, MANY_MEMBERS, FEW_VALUES, MANY_VALUES, SIZES };

static struct child sizes[SIZES];

static void spawn_sizes(void)
{
	sizes[FEW_MEMBERS] = spawn(members, FEW);
	sizes[MANY_MEMBERS] = spawn(members, MANY);
	sizes[FEW_VALUES] = spawn(values, FEW);
	sizes[MANY_VALUES] = spawn(values, MANY);
}

#define FLAT 1.25 /* what is flat may differ by that: noise is up to 1.2 */

static const struct row {
	const char *name;
	struct {
		enum who who;
		enum op op;
	} side[2];
	double most; /* the goal; 0: none */
} rows[] = {
	{ "join+leave: one value, 1000000 members / 10",
	  { { FEW_MEMBERS, JOIN }, { MANY_MEMBERS, JOIN } }, FLAT },
	{ "join+leave: a new value, 1000000 values / 10",
	  { { FEW_VALUES, JOIN_NEW }, { MANY_VALUES, JOIN_NEW } }, FLAT },
	{ "join+leave: any value, 1000000 values / 10",
	  { { FEW_VALUES, JOIN }, { MANY_VALUES, JOIN } }, 0 },
	{ "size of a value: 1000000 members / 10",
	  { { FEW_MEMBERS, SIZE_VALUE }, { MANY_MEMBERS, SIZE_VALUE } }, FLAT },
	{ "size of one value again: 1000000 values / 10",
	  { { FEW_VALUES, SIZE_AGAIN }, { MANY_VALUES, SIZE_AGAIN } }, FLAT },
	{ "size of any value: 1000000 values / 10",
	  { { FEW_VALUES, SIZE_VALUE }, { MANY_VALUES, SIZE_VALUE } }, 0 },
	{ "size of the profile: 1000000 members / 10",
	  { { FEW_MEMBERS, SIZE_PROFILE }, { MANY_MEMBERS, SIZE_PROFILE } }, FLAT },
	{ "size of the profile: 1000000 values / 10",
	  { { FEW_VALUES, SIZE_PROFILE }, { MANY_VALUES, SIZE_PROFILE } }, FLAT },
	{ "join+leave: with a limit / without",
	  { { FEW_MEMBERS, JOIN }, { FEW_MEMBERS, JOIN_LIMITED } }, 0 },
	{ "the first line's 10 members again / themselves",
	  { { FEW_MEMBERS, JOIN }, { FEW_MEMBERS, JOIN } }, 0 },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static double row_ns[ROWS][2][ROUNDS], row_ratio[ROWS][ROUNDS];

/* Now one side goes first, now the other. */
static void measure_row(unsigned row, unsigned round)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned s = (i + round) % 2;

		row_ns[row][s][round] =
			ns_each(&sizes[rows[row].side[s].who], 1, rows[row].side[s].op);
	}
	row_ratio[row][round] = row_ns[row][1][round] / row_ns[row][0][round];
}

/* ---- several processes over one table ---- */

static const unsigned crowds[] = { 1, 2, 4, 8 };
enum { CROWDS = sizeof(crowds) / sizeof(crowds[0]), WORKERS = 8, EACH = 64 };

static const enum op kinds[] = { JOIN, JOIN_ONE, JOIN_LIMITED };
enum { DIFFERENT, SAME, LIMITED, KINDS };

static struct child workers[WORKERS];
static struct dlg_cell *worker_dialog[WORKERS];

static void worker(unsigned n)
{
	own = worker_dialog[n];
	first_value = n * EACH;
	n_values = EACH;
}

/* Dialogs that shared an entry would wait for its lock and not for the profile's. */
static void make_worker_dialogs(void)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		worker_dialog[i] = dialog(i);
		for (unsigned j = 0; j < i; j++)
			check(worker_dialog[j]->h_entry != worker_dialog[i]->h_entry);
	}
}

/* All values have a member already: one that is joined by many workers at once is hardly ever made
 * and freed, which would make it look cheap. */
static void spawn_workers(void)
{
	struct dlg_cell *anchor;
	text value;

	if (sim_shm_share() < 0)
		die("shared memory");
	start();
	make_worker_dialogs();
	anchor = dialog(WORKERS);
	for (unsigned i = 0; i < WORKERS * EACH; i++)
		check(dlg_profile_join(anchor, CALLER, numbered(value, i)) == 0);
	check(dlg_profile_join(anchor, CALLER, numbered(value, ONE)) == 0);
	for (unsigned i = 0; i < WORKERS; i++)
		workers[i] = spawn(worker, i);
}

/* Per CPU-second, and as a part of what one process with different values does. */
static double speed[CROWDS][KINDS][ROUNDS], of_alone[CROWDS][KINDS][ROUNDS];
static double of_different[CROWDS][KINDS][ROUNDS];
static double slept[CROWDS][KINDS][ROUNDS]; /* times in 1000 joinings */
/* Processors they had. Who shares one with a neighbour, or with other programs, seldom waits. */
static double had[CROWDS][ROUNDS];

static void measure_crowd(unsigned crowd, unsigned round)
{
	for (unsigned i = 0; i < KINDS; i++) {
		unsigned k = (i + round) % KINDS;
		struct result r = ask(workers, crowds[crowd], kinds[k]);

		speed[crowd][k][round] = (double)r.done / (double)r.cpu;
		slept[crowd][k][round] = 1000 * (double)r.sleeps / (double)r.done;
		had[crowd][round] += (double)r.all_cpu / (double)slice / KINDS;
	}
	for (unsigned k = 0; k < KINDS; k++) {
		double v = speed[crowd][k][round];

		of_alone[crowd][k][round] = v / speed[0][DIFFERENT][round];
		of_different[crowd][k][round] = v / speed[crowd][DIFFERENT][round];
	}
}

/* ---- everything ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Puts them in order. */
static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	return v[ROUNDS / 2];
}

static void print_rows(void)
{
	printf("Profiles: CPU time, medians of %d rounds; a ratio is of one round\n\n", ROUNDS);
	printf("%-48s %9s %9s %7s  %-17s  %s\n", "second / first", "first ns", "second ns", "ratio",
	       "lowest to highest", "goal: flat, 1.25");
	for (unsigned i = 0; i < ROWS; i++) {
		double ratio = median(row_ratio[i]);

		printf("%-48s %9.1f %9.1f %7.2f  %8.2f to %5.2f  %s\n", rows[i].name,
		       median(row_ns[i][0]), median(row_ns[i][1]), ratio, row_ratio[i][0],
		       row_ratio[i][ROUNDS - 1],
		       rows[i].most > 0 ? bench_verdict(ratio, rows[i].most) : "");
	}
}

static void print_crowd(unsigned c)
{
	printf("%-9u %6.2f  ", crowds[c], median(had[c]));
	for (unsigned k = 0; k < KINDS; k++)
		printf(" %9.2f", median(of_alone[c][k]));
	printf("  ");
	for (unsigned k = SAME; k < KINDS; k++)
		printf(" %9.2f", median(of_different[c][k]));
	printf("  ");
	for (unsigned k = 0; k < KINDS; k++)
		printf(" %9.2f", median(slept[c][k]));
	printf("\n");
}

static void print_crowds(void)
{
	printf("\nJoinings in processes side by side, on %ld processors\n\n",
	       sysconf(_SC_NPROCESSORS_ONLN));
	printf("%-9s %6s   %-29s   %-19s   %s\n", "", "", "per CPU-second, 1.00: alone",
	       "of \"different\"", "sleeps in 1000 joinings");
	printf("%-9s %6s   %9s %9s %9s   %9s %9s   %9s %9s %9s\n", "processes", "had", "different",
	       "one value", "limited", "one value", "limited", "different", "one value", "limited");
	for (unsigned c = 0; c < CROWDS; c++)
		print_crowd(c);
}

static void measure_all(void)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < ROWS; i++)
			measure_row(i, round);
		for (unsigned i = 0; i < CROWDS; i++)
			measure_crowd(i, round);
	}
}

static void hang_up(struct child *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		kill(c[i].pid, SIGKILL); /* later ones have its socket open, too */
		waitpid(c[i].pid, NULL, 0);
	}
}

int main(void)
{
	const char *seconds = getenv("BENCH_SECONDS");
	double s = seconds ? atof(seconds) : 10;

	slice = (int64_t)(s * 1e9 / (ROUNDS * (2 * ROWS + KINDS * CROWDS)));
	spawn_sizes();
	spawn_workers(); /* starts an engine here, which the others must not inherit */
	measure_all();
	/* what the workers left behind: the members that were there before */
	check(dlg_profile_size(CALLER, NULL) == WORKERS * EACH + 1);
	print_rows();
	print_crowds();
	hang_up(sizes, SIZES);
	hang_up(workers, WORKERS);
	return 0;
}

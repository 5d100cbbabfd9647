/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What profiles cost with ten members or values and with a million, with a limit and without; and
 * how long processes wait for one another that work on one profile value, or on one dialog.
 *
 * No proxy takes part: the engine runs over the simulated host of test/sim, in its release build.
 * The tables of values are shared by all profiles, so each size has a process with an engine of its
 * own, which works whenever it is asked to. All cases take turns, and each ratio is of one round.
 *
 * Environment: BENCH_SECONDS (15), of measuring in all. */
#include <sys/resource.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../dlg_hash.h"
#include "../../dlg_profile.h"
#include "../../dlg_vals.h"
#include "../sim/sim_host.h"
#include "bench.h"

enum { FEW = 10, MANY = 1000000, HASH_SIZE = 4096, ROUNDS = 9 };

/* The first of SIM_PROFILES. */
enum { CALLER };

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
	READ, /* in a table of pieces, in place of values */
	HOLD, /* a dialog, and give it back: twice the lock of its entry, and nothing else */
	HOLD_BESIDE,
	HOLD_ONE,
	SET, /* a text in a dialog that has one: that lock, and the memory's for two pieces */
	SET_BESIDE,
	SET_ONE,
	OPS,
};

/* Numbers that no value with members has, and the one of JOIN_ONE. */
enum { NEW = 2 * MANY, ONE = NEW + 1 };

/* A dialog of this process, in an entry that no other one uses; one in the entry that all use; and
 * the one that all use. */
static struct dlg_cell *own, *beside, *common;
static unsigned first_value, n_values; /* the values joined by this process */

static void check(int ok)
{
	bench_check(ok, "a joining, a leaving, a size or a text is wrong");
}

static void join(struct dlg_cell *dlg, struct dlg_str value)
{
	check(dlg_profile_join(dlg, CALLER, value) == 0);
	check(dlg_profile_leave(dlg, CALLER, &value) == 1);
}

static void join_limited(struct dlg_cell *dlg, struct dlg_str value)
{
	struct dlg_profile_want want = { CALLER, 1, value, 2 * MANY };

	check(dlg_profile_join_limited(dlg, &want, 1) == 1);
	check(dlg_profile_leave(dlg, CALLER, &value) == 1);
}

/* Sizes are checked too: what counts nothing must not win. */
static void size_value(struct dlg_cell *dlg, struct dlg_str value)
{
	(void)dlg;
	check(dlg_profile_size(CALLER, &value) > 0);
}

static void size_profile(struct dlg_cell *dlg, struct dlg_str value)
{
	(void)dlg;
	(void)value;
	check(dlg_profile_size(CALLER, NULL) >= n_values);
}

/* The least that can find a value among as many: a hash table without a lock, of pieces as large as
 * a value with its member. */
static struct piece {
	struct piece *chain;
	uint32_t number;
	char rest[100];
} *pieces, **buckets;
static uint64_t passed; /* stands for the lock: nobody reads ahead of it */

static unsigned number_of(struct dlg_str value)
{
	unsigned n = 0;

	for (size_t i = value.len; i-- > 0;)
		n = n << 4 | ((unsigned char)value.s[i] < 'a' ? (value.s[i] & 15) : value.s[i] - 'a' + 10);
	return n;
}

static struct piece **bucket_of(unsigned n)
{
	return &buckets[(uint64_t)(n * 2654435761u) * n_values >> 32];
}

static void make_pieces(void)
{
	pieces = calloc(n_values, sizeof(*pieces));
	buckets = calloc(n_values, sizeof(struct piece *));
	bench_check(pieces && buckets, "memory");
	for (unsigned i = 0; i < n_values; i++) {
		struct piece **bucket = bucket_of(i);

		pieces[i].number = i;
		pieces[i].chain = *bucket;
		*bucket = &pieces[i];
	}
}

static void read_piece(struct dlg_cell *dlg, struct dlg_str value)
{
	unsigned n = number_of(value);
	const struct piece *p = *bucket_of(n);

	(void)dlg;
	while (p && p->number != n)
		p = p->chain;
	check(p != NULL);
	__atomic_fetch_add(&passed, 1, __ATOMIC_SEQ_CST);
}

static void hold(struct dlg_cell *dlg, struct dlg_str value)
{
	(void)value;
	dlg_hash_hold(dlg, DLG_BY_MESSAGE);
	dlg_hash_put(dlg, DLG_BY_MESSAGE);
}

static void set(struct dlg_cell *dlg, struct dlg_str value)
{
	check(dlg_vals_set(dlg, DLG_STR("account"), value) == 0);
}

static const struct {
	void (*run)(struct dlg_cell *dlg, struct dlg_str value);
	struct dlg_cell **dlg;
} ops[OPS] = {
	[JOIN] = { join, &own },
	[JOIN_NEW] = { join, &own },
	[JOIN_ONE] = { join, &own },
	[JOIN_LIMITED] = { join_limited, &own },
	[SIZE_VALUE] = { size_value, &own },
	[SIZE_AGAIN] = { size_value, &own },
	[SIZE_PROFILE] = { size_profile, &own },
	[READ] = { read_piece, &own },
	[HOLD] = { hold, &own },
	[HOLD_BESIDE] = { hold, &beside },
	[HOLD_ONE] = { hold, &common },
	[SET] = { set, &own },
	[SET_BESIDE] = { set, &beside },
	[SET_ONE] = { set, &common },
};

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
	start = bench_cpu();
	for (int i = 0; i < BATCH; i++)
		ops[op].run(*ops[op].dlg, (struct dlg_str){ texts[i], TEXT });
	return bench_cpu() - start;
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

static long sleeps(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_nvcsw;
}

static struct result measure(const struct order *order)
{
	struct result r = { .all_cpu = -bench_cpu(), .sleeps = -sleeps() };

	do {
		r.cpu += batch(order->op);
		r.done += BATCH;
	} while (bench_now(CLOCK_MONOTONIC) < order->until);
	r.sleeps += sleeps();
	r.all_cpu += bench_cpu();
	return r;
}

static void serve(int fd, void *arg)
{
	struct result r = { 0 }; /* the first one says that it is ready */
	struct order order;

	(void)arg;
	while (write(fd, &r, sizeof(r)) == sizeof(r) &&
	       read(fd, &order, sizeof(order)) == sizeof(order))
		r = measure(&order);
}

static struct result answer(const struct bench_child *c)
{
	struct result r;

	bench_read(c, &r, sizeof(r));
	return r;
}

static struct bench_child spawn(bench_setup *setup, unsigned n)
{
	struct bench_child c = bench_fork(setup, n, serve, NULL);

	answer(&c);
	return c;
}

static int64_t slice; /* ns that one measurement takes */

/* The first n work at the same time. Returns the sums. */
static struct result ask(const struct bench_child *c, unsigned n, enum op op)
{
	struct order order = { op, bench_now(CLOCK_MONOTONIC) + slice };
	struct result sum = { 0 };

	for (unsigned i = 0; i < n; i++) {
		if (write(c[i].fd, &order, sizeof(order)) != sizeof(order))
			bench_die("write");
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

static double ns_each(const struct bench_child *c, unsigned n, enum op op)
{
	struct result r = ask(c, n, op);

	return (double)r.cpu / (double)r.done;
}

/* ---- profiles of all sizes ---- */

static struct dlg_str call_id(char id[16], unsigned n)
{
	return (struct dlg_str){ id, (size_t)snprintf(id, 16, "c%u", n) };
}

static struct dlg_cell *dialog(unsigned n)
{
	char id[16];
	struct dlg_hash_new in = { .call_id = call_id(id, n), .from_tag = DLG_STR("f"),
				   .lifetime = 1 };
	struct dlg_cell *dlg;

	bench_check(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) == 1, "a dialog");
	return dlg;
}

/* n memberships; a dialog has at most so many, and whoever joins later has none. */
static void fill(unsigned n, unsigned values)
{
	struct dlg_cell *dlg = NULL;
	text value;

	bench_start(HASH_SIZE);
	for (unsigned i = 0; i < n; i++) {
		if (i % DLG_PROFILE_MEMBERS_MAX == 0)
			dlg = dialog(i);
		check(dlg_profile_join(dlg, CALLER, numbered(value, i % values)) == 0);
	}
	own = dialog(n);
	n_values = values;
	make_pieces();
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

static struct bench_child sizes[SIZES];

static void spawn_sizes(void)
{
	sizes[FEW_MEMBERS] = spawn(members, FEW);
	sizes[MANY_MEMBERS] = spawn(members, MANY);
	sizes[FEW_VALUES] = spawn(values, FEW);
	sizes[MANY_VALUES] = spawn(values, MANY);
}

#define ANY (-1.0)
#define FLAT 1.25 /* what is flat may differ by that: noise is up to 1.2 */

static const struct row {
	const char *name;
	struct {
		enum who who;
		enum op op;
	} side[2];
	double most; /* the goal; 0: none; ANY: memory that no cache has */
} rows[] = {
	{ "join+leave: one value, 1000000 members / 10",
	  { { FEW_MEMBERS, JOIN }, { MANY_MEMBERS, JOIN } }, FLAT },
	{ "join+leave: a new value, 1000000 values / 10",
	  { { FEW_VALUES, JOIN_NEW }, { MANY_VALUES, JOIN_NEW } }, FLAT },
	{ "join+leave: any value, 1000000 values / 10",
	  { { FEW_VALUES, JOIN }, { MANY_VALUES, JOIN } }, ANY },
	{ "size of a value: 1000000 members / 10",
	  { { FEW_MEMBERS, SIZE_VALUE }, { MANY_MEMBERS, SIZE_VALUE } }, FLAT },
	{ "size of one value again: 1000000 values / 10",
	  { { FEW_VALUES, SIZE_AGAIN }, { MANY_VALUES, SIZE_AGAIN } }, FLAT },
	{ "size of any value: 1000000 values / 10",
	  { { FEW_VALUES, SIZE_VALUE }, { MANY_VALUES, SIZE_VALUE } }, ANY },
	{ "any piece in place of a value, 1000000 / 10",
	  { { FEW_VALUES, READ }, { MANY_VALUES, READ } }, 0 },
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

static double row_ns[ROWS][2][ROUNDS], row_ratio[ROWS][ROUNDS], row_expected[ROWS][ROUNDS];

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

/* The second, of the first and what a bare table takes more. */
static void expect_rows(unsigned round)
{
	double more = 0;

	for (unsigned i = 0; i < ROWS; i++) {
		if (rows[i].side[1].op == READ)
			more = row_ns[i][1][round] - row_ns[i][0][round];
	}
	for (unsigned i = 0; i < ROWS; i++)
		row_expected[i][round] = row_ns[i][1][round] / (row_ns[i][0][round] + more);
}

/* ---- several processes over one table ---- */

static const unsigned crowds[] = { 1, 2, 4, 8 };
enum { CROWDS = sizeof(crowds) / sizeof(crowds[0]), WORKERS = 8, EACH = 64 };

/* What they do. `apart`: the line in which they do it without getting into one another's way. */
static const struct kind {
	const char *name;
	enum op op;
	unsigned apart;
} kinds[] = {
	{ "join+leave: each its own values", JOIN, 0 },
	{ "join+leave: one value", JOIN_ONE, 0 },
	{ "join+leave: each its own, with a limit", JOIN_LIMITED, 0 },
	{ "hold+give back: each its own entry", HOLD, 3 },
	{ "hold+give back: dialogs of one entry", HOLD_BESIDE, 3 },
	{ "hold+give back: one dialog", HOLD_ONE, 3 },
	{ "set a text: each its own entry", SET, 6 },
	{ "set a text: dialogs of one entry", SET_BESIDE, 6 },
	{ "set a text: one dialog", SET_ONE, 6 },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* Our own goal: to sleep and be woken takes some microseconds, so that once in a thousand is some
 * nanoseconds for each. */
static const double MOST_SLEEPS = 1;

static struct bench_child workers[WORKERS];
static struct dlg_cell *worker_dialog[WORKERS], *beside_dialog[WORKERS];

static void worker(unsigned n)
{
	own = worker_dialog[n];
	beside = beside_dialog[n];
	common = beside_dialog[0];
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

static uint32_t entry_of(unsigned n)
{
	char id[16];

	return dlg_hash_call_id(call_id(id, n)) & (HASH_SIZE - 1);
}

/* All in the entry of the first one, where no process has a dialog of its own. */
static void make_beside_dialogs(unsigned n)
{
	uint32_t entry = entry_of(n);

	for (unsigned i = 0; i < WORKERS; n++) {
		if (entry_of(n) == entry)
			beside_dialog[i++] = dialog(n);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		check(worker_dialog[i]->h_entry != entry);
}

/* All values have a member already: one that is joined by many workers at once is hardly ever made
 * and freed, which would make it look cheap. */
static void spawn_workers(void)
{
	struct dlg_cell *anchor;
	text value;

	if (sim_shm_share() < 0)
		bench_die("shared memory");
	bench_start(HASH_SIZE);
	make_worker_dialogs();
	make_beside_dialogs(WORKERS + 1);
	anchor = dialog(WORKERS);
	for (unsigned i = 0; i < WORKERS * EACH; i++)
		check(dlg_profile_join(anchor, CALLER, numbered(value, i)) == 0);
	check(dlg_profile_join(anchor, CALLER, numbered(value, ONE)) == 0);
	for (unsigned i = 0; i < WORKERS; i++)
		workers[i] = spawn(worker, i);
}

/* What is done in a CPU-second, and as a part of what one process apart from others does; and of
 * what as many do apart. */
static double speed[CROWDS][KINDS][ROUNDS], of_alone[CROWDS][KINDS][ROUNDS];
static double of_apart[CROWDS][KINDS][ROUNDS];
static double slept[CROWDS][KINDS][ROUNDS]; /* times in 1000 */
/* Processors they had. Who shares one with a neighbour, or with other programs, seldom waits. */
static double had[CROWDS][ROUNDS];

static void measure_crowd(unsigned crowd, unsigned round)
{
	for (unsigned i = 0; i < KINDS; i++) {
		unsigned k = (i + round) % KINDS;
		struct result r = ask(workers, crowds[crowd], kinds[k].op);

		speed[crowd][k][round] = 1e9 * (double)r.done / (double)r.cpu;
		slept[crowd][k][round] = 1000 * (double)r.sleeps / (double)r.done;
		had[crowd][round] += (double)r.all_cpu / (double)slice / KINDS;
	}
	for (unsigned k = 0; k < KINDS; k++) {
		double v = speed[crowd][k][round];

		of_alone[crowd][k][round] = v / speed[0][kinds[k].apart][round];
		of_apart[crowd][k][round] = v / speed[crowd][kinds[k].apart][round];
	}
}

/* ---- everything ---- */

/* Before medians put the figures in order. */
static void write_csv(void)
{
	FILE *f = bench_csv("profile", "what,round,first_ns,second_ns");

	for (unsigned i = 0; i < ROWS; i++) {
		for (unsigned r = 0; r < ROUNDS; r++)
			fprintf(f, "\"%s\",%u,%.1f,%.1f\n", rows[i].name, r + 1, row_ns[i][0][r],
				row_ns[i][1][r]);
	}
	fclose(f);
}

static void write_crowds_csv(void)
{
	FILE *f = bench_csv("crowd", "what,processes,had,round,done_per_cpu_second,sleeps_per_1000");

	for (unsigned i = 0; i < KINDS * CROWDS; i++) {
		unsigned k = i / CROWDS, c = i % CROWDS;

		for (unsigned r = 0; r < ROUNDS; r++)
			fprintf(f, "\"%s\",%u,%.2f,%u,%.0f,%.3f\n", kinds[k].name, crowds[c],
				had[c][r], r + 1, speed[c][k][r], slept[c][k][r]);
	}
	fclose(f);
}

static double median(double *v)
{
	return bench_median(v, ROUNDS);
}

static const char *judge_row(unsigned i)
{
	if (rows[i].most > 0)
		return bench_goal(row_ratio[i][ROUNDS / 2], "flat: at most 1.25",
				  bench_verdict(row_ratio[i][ROUNDS / 2], rows[i].most),
				  "profiles, %s", rows[i].name);
	if (rows[i].most < 0)
		printf("  %.2f of what is expected", median(row_expected[i]));
	return "";
}

static void print_rows(void)
{
	printf("Profiles: CPU time, medians of %d rounds, and (lowest to highest); a ratio is of one\n"
	       "round. \"expected\": the first, and what a bare hash table takes more\n\n", ROUNDS);
	printf("%-48s %9s %9s %-21s  %s\n", "second / first", "first ns", "second ns", " ratio",
	       "goal: flat, 1.25");
	for (unsigned i = 0; i < ROWS; i++) {
		printf("%-48s %9.1f %9.1f %s", rows[i].name, median(row_ns[i][0]),
		       median(row_ns[i][1]), bench_spread(row_ratio[i], ROUNDS));
		printf("  %s\n", judge_row(i));
	}
}

/* Who never runs at the same time as another one does not wait for it: no proof then. */
static int side_by_side(void)
{
	double processors = (double)sysconf(_SC_NPROCESSORS_ONLN);

	return median(had[CROWDS - 1]) >= 0.75 * (processors < WORKERS ? processors : WORKERS);
}

static const char *sleeps_verdict(double worst)
{
	if (worst <= MOST_SLEEPS && !side_by_side())
		return "met, but others had the processors";
	return bench_verdict(worst, MOST_SLEEPS);
}

static void print_kind(unsigned k)
{
	double worst = 0;

	printf("%-40s %7.0f ", kinds[k].name, median(speed[0][k]) / 1000);
	for (unsigned c = 0; c < CROWDS; c++)
		printf(" %5.2f", median(of_alone[c][k]));
	printf("   %6.2f   ", median(of_apart[CROWDS - 1][k]));
	for (unsigned c = 1; c < CROWDS; c++) {
		double sleeps = median(slept[c][k]);

		worst = sleeps > worst ? sleeps : worst;
		printf(" %6.2f", sleeps);
	}
	printf("  %s\n", bench_goal(worst, "our own: at most 1", sleeps_verdict(worst),
				   "sleeps for a lock in 1000, %s", kinds[k].name));
}

static void print_crowds(void)
{
	printf("\nProcesses side by side, on %ld processors. Our own goal: at most %.0f sleep for a\n"
	       "lock in 1000\n\n", sysconf(_SC_NPROCESSORS_ONLN), MOST_SLEEPS);
	printf("%-40s %7s  %-26s  %6s    %s\n", "", "1000 a", "per CPU-second, 1.00: one",
	       "8, of", "sleeps in 1000");
	printf("%-40s %7s ", "processes", "CPU-s");
	for (unsigned c = 0; c < CROWDS; c++)
		printf(" %5u", crowds[c]);
	printf("   %6s   ", "apart");
	for (unsigned c = 1; c < CROWDS; c++)
		printf(" %6u", crowds[c]);
	printf("\n");
	for (unsigned k = 0; k < KINDS; k++)
		print_kind(k);
	printf("%-40s %7s ", "processors they had", "");
	for (unsigned c = 0; c < CROWDS; c++)
		printf(" %5.2f", median(had[c]));
	printf("\n");
}

static void measure_all(void)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < ROWS; i++)
			measure_row(i, round);
		expect_rows(round);
		for (unsigned i = 0; i < CROWDS; i++)
			measure_crowd(i, round);
	}
}

static void hang_up(struct bench_child *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bench_end(&c[i]);
}

int main(void)
{
	slice = (int64_t)(bench_seconds(15) * 1e9 / (ROUNDS * (2 * ROWS + KINDS * CROWDS)));
	spawn_sizes();
	spawn_workers(); /* starts an engine here, which the others must not inherit */
	measure_all();
	/* what the workers left behind: the members that were there before */
	check(dlg_profile_size(CALLER, NULL) == WORKERS * EACH + 1);
	write_csv();
	write_crowds_csv();
	print_rows();
	print_crowds();
	hang_up(sizes, SIZES);
	hang_up(workers, WORKERS);
	return 0;
}

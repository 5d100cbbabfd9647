/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What timers cost with ten dialogs, ten thousand and a million, whose lifetimes are mixed; and
 * what it takes to end twenty thousand dialogs in one second.
 *
 * "one dialog again" shows the wheel, "any dialog" what comes from memory if there are many. Either
 * goes to a slot of any time, whose first dialog it meets; any dialog has two neighbours it parts
 * from. Only touching all of these, in the same order and with the atomic instructions of the locks,
 * is measured beside it.
 *
 * Environment: BENCH_SECONDS (5), of measuring in all. */
#include <stdlib.h>

#include "../../dlg_handlers.h"
#include "../sim/sim_host.h"
#include "bench.h"

enum { HASH_SIZE = 4096, ROUNDS = 9, BATCH = 256 };

static const double MOST = 1.5; /* "flat": a million against ten */

enum op { REARM_AGAIN, REARM_ANY, DISARM_ARM_ANY, TOUCHES, OPS = 2 * TOUCHES };

static const char *const op_names[OPS] = {
	"re-arm one dialog again", "re-arm any dialog", "disarm and arm any dialog",
	"only touching for the first", "for the second", "for the third",
};

static const unsigned sizes[] = { 10, 10000, 1000000 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static struct dlg_cell **cells;
static unsigned n_cells;
static int64_t slice;
static uint64_t sum; /* stands for a lock */

static void make_dialogs(unsigned n)
{
	bench_start(HASH_SIZE);
	n_cells = n;
	cells = malloc(n * sizeof(*cells));
	bench_check(cells != NULL, "memory");
	for (unsigned i = 0; i < n; i++)
		cells[i] = bench_call(i, bench_lifetime(i));
}

struct task {
	struct dlg_cell *dlg, *other;
	uint32_t deadline;
};

static void touch(struct dlg_timer_link *volatile *at)
{
	*at = *at;
}

/* Nobody goes past a lock. */
static void pass_lock(uint32_t h_entry)
{
	__atomic_fetch_add(&sum, h_entry, __ATOMIC_SEQ_CST);
}

/* Whoever unlinks writes to both neighbours. */
static void touch_old(const struct dlg_timer_link *l)
{
	touch(l->prev);
	if (l->next)
		touch(&l->next->next);
}

/* Whoever links writes to the slot and to the first one in it, for which another timer and what is
 * before it stand. */
static void touch_new(const struct dlg_timer_link *other)
{
	touch(other->prev);
}

static void touch_as(enum op op, const struct task *t)
{
	pass_lock(t->dlg->h_entry);
	if (op != REARM_AGAIN)
		touch_old(&t->dlg->timer);
	if (op == DISARM_ARM_ANY) {
		pass_lock(1);
		pass_lock(1);
	}
	touch_new(&t->other->timer);
	pass_lock(1);
}

/* The lock of the entry is not part of it: the caller has it for other reasons. */
static void one(enum op op, const struct task *t)
{
	if (op >= TOUCHES) {
		touch_as(op - TOUCHES, t);
		return;
	}
	if (op == DISARM_ARM_ANY)
		dlg_timer_disarm_locked(t->dlg);
	dlg_timer_arm_locked(t->dlg, t->deadline);
}

static int64_t batch(int op)
{
	static struct task todo[BATCH];
	int64_t start;

	for (int i = 0; i < BATCH; i++) {
		todo[i].dlg = cells[op % TOUCHES == REARM_AGAIN ? 0 : sim_below(n_cells)];
		todo[i].other = cells[sim_below(n_cells)];
		todo[i].deadline = dlg_timer_after(bench_lifetime((unsigned)sim_random()));
	}
	start = bench_cpu();
	for (int i = 0; i < BATCH; i++)
		one(op, &todo[i]);
	return bench_cpu() - start;
}

static double measure(int op)
{
	return bench_each(batch, op, BATCH, slice);
}

static double figure[SIZES][OPS][ROUNDS];

static void play(void)
{
	struct bench_child c[SIZES];

	for (int s = 0; s < SIZES; s++)
		c[s] = bench_spawn(make_dialogs, sizes[s], measure);
	bench_rounds(c, SIZES, OPS, ROUNDS, &figure[0][0][0]);
}

static void write_csv(void)
{
	FILE *f = bench_csv("timer", "timers,what,round,ns");

	for (int s = 0; s < SIZES; s++) {
		for (int op = 0; op < OPS; op++) {
			for (int r = 0; r < ROUNDS; r++)
				fprintf(f, "%u,%s,%d,%.1f\n", sizes[s], op_names[op], r + 1,
					figure[s][op][r]);
		}
	}
	fclose(f);
}

/* A million against ten, and against ten with what touching has become slower by. */
static void compare(enum op op, double *ratio, double *of_expected)
{
	enum op touch = op + TOUCHES;

	for (int i = 0; i < ROUNDS; i++) {
		double few = figure[0][op][i], many = figure[SIZES - 1][op][i];

		ratio[i] = many / few;
		of_expected[i] = many / (few + figure[SIZES - 1][touch][i] - figure[0][touch][i]);
	}
}

static void print_goals(enum op op)
{
	double ratio[ROUNDS], of_expected[ROUNDS], r, e;

	compare(op, ratio, of_expected);
	r = bench_median(ratio, ROUNDS);
	e = bench_median(of_expected, ROUNDS);
	bench_goal(r, "plain: at most 1.50", bench_verdict(r, MOST), "timers, %s, 1000000 / 10, plain",
		   op_names[op]);
	printf(" %s %s  %s", bench_spread(ratio, ROUNDS), bench_spread(of_expected, ROUNDS),
	       bench_goal(e, "flat: at most 1.50 of what is expected", bench_verdict(e, MOST),
			  "timers, %s, 1000000 / 10", op_names[op]));
}

static void print_op(enum op op)
{
	printf("%-31s", op_names[op]);
	for (int s = 0; s < SIZES; s++)
		printf(" %8.0f", bench_median(figure[s][op], ROUNDS));
	if (op < TOUCHES)
		print_goals(op);
	printf("\n");
}

static void print_timers(void)
{
	printf("Timers of mixed lifetimes: ns of CPU time, medians of %d rounds, and (lowest to\n"
	       "highest). \"of expected\": against ten if only touching the same memory had become\n"
	       "slower. The goal, flat, is at most %.1f of that; the plain ratio has the cache misses\n"
	       "in it\n\n", ROUNDS, MOST);
	printf("%-31s %8s %8s %8s %-21s %-21s  %s\n", "", "10", "10000", "1000000", " ratio",
	       " of expected", "goal");
	for (int op = 0; op < OPS; op++)
		print_op((enum op)op);
}

/* ---- many that end in one second ---- */

enum { ENDING = 20000, STAYING = 200000 };

enum end { SILENTLY, WITH_BYE, THEN_FREED, ENDS };

static const char *const end_names[ENDS] = {
	"end, without BYE", "end, with a BYE to each side", "are freed after their linger",
};

/* Those that end are among others, and all in one tick, which is what is measured. */
static void make_ending(unsigned with_bye)
{
	dialog_conf.timeout_bye_rate = 0;
	bench_start(HASH_SIZE);
	for (unsigned i = 0; i < STAYING; i++) {
		int ends = i % (STAYING / ENDING) == 0;
		struct dlg_cell *dlg = bench_call(i, ends ? 100 : 1000 + bench_lifetime(i));

		if (ends && with_bye)
			dlg->flags |= DLG_F_BYE_ON_TIMEOUT;
	}
	sim_run(99);
}

/* Microseconds per dialog of the tick in which they are due, or of that of their linger. */
static double tick(int end)
{
	unsigned due = 0, want = ENDING;
	int64_t cpu = 0;

	if (end == THEN_FREED)
		sim_sent_all(200);
	for (int s = 0; s < 120 && due < want; s++) {
		int64_t start = bench_cpu();
		unsigned n;

		sim_advance(1000);
		n = dlg_timer_tick();
		if (n)
			cpu += bench_cpu() - start;
		due += n;
	}
	bench_check(due >= want, "dialogs that did not end");
	return (double)cpu / due / 1e3;
}

static void print_ends(void)
{
	struct bench_child c[] = { bench_spawn(make_ending, 0, tick),
				   bench_spawn(make_ending, 1, tick) };
	double us[ENDS];
	FILE *f = bench_csv("ends", "what,us");

	us[SILENTLY] = bench_ask(&c[0], SILENTLY);
	us[WITH_BYE] = bench_ask(&c[1], WITH_BYE);
	us[THEN_FREED] = bench_ask(&c[1], THEN_FREED);
	printf("\n%d of %d dialogs in one second, in the timer process: CPU time per dialog, and "
	       "together\n\n", ENDING, STAYING);
	for (int i = 0; i < ENDS; i++) {
		double ms = us[i] * ENDING / 1e3;

		printf("%-30s %6.2f us %6.0f ms  less than the second: %s\n", end_names[i], us[i], ms,
		       bench_goal(ms, "our own: at most 1000", bench_verdict(ms, 1000),
				  "ms of CPU time in which 20000 dialogs %s", end_names[i]));
		fprintf(f, "\"%s\",%.3f\n", end_names[i], us[i]);
	}
	fclose(f);
	bench_end(&c[0]);
	bench_end(&c[1]);
}

int main(void)
{
	slice = (int64_t)(bench_seconds(5) * 1e9 / (ROUNDS * OPS * SIZES));
	play();
	write_csv();
	print_timers();
	print_ends();
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BENCH_H
#define BENCH_H
/* What the benches of the engine share: clocks, figures, processes that measure in turns, and
 * calls.
 *
 * They run the release build of the engine over the simulated host of test/sim. Figures are CPU
 * time where nothing else is said, so that they mean something on a busy machine; what is compared
 * takes turns, and a ratio is of one round. */

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "../../dlg_hash.h"
#include "../../dlg_row.h"

void bench_die(const char *what) __attribute__((noreturn));
static inline void bench_check(int ok, const char *what)
{
	if (!ok)
		bench_die(what);
}

/* Nanoseconds. */
int64_t bench_now(clockid_t clock);
static inline int64_t bench_cpu(void)
{
	return bench_now(CLOCK_PROCESS_CPUTIME_ID);
}

/* BENCH_SECONDS, or `otherwise`. */
double bench_seconds(double otherwise);

/* Median; puts the values in order. */
double bench_median(double *v, unsigned n);

/* "median (lowest to highest)", 21 columns; puts the values in order. Good until the fourth call
 * after. */
const char *bench_spread(double *v, unsigned n);

/* build/bench/NAME.csv, with its first line. */
FILE *bench_csv(const char *name, const char *header);

/* The figure of a goal: `value` is at most `most`. */
const char *bench_verdict(double value, double most);

/* A line of build/bench/goals.csv, which make bench prints at its end; `what` is a format. Returns
 * the verdict. */
const char *bench_goal(double figure, const char *goal, const char *verdict, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

/* ---- processes that measure when they are asked ---- */

struct bench_child {
	pid_t pid;
	int fd;
};

/* In the child: prepare for `n`; and measure one figure of kind `op`. */
typedef void bench_setup(unsigned n);
typedef double bench_measure(int op);

/* A process that prepares for `n` and then runs serve(fd, arg), its end of c.fd. */
struct bench_child bench_fork(bench_setup *setup, unsigned n, void (*serve)(int fd, void *arg),
			      void *arg);

/* Read an answer of that child. */
void bench_read(const struct bench_child *c, void *answer, size_t size);

struct bench_child bench_spawn(bench_setup *setup, unsigned n, bench_measure *measure);
double bench_ask(const struct bench_child *c, int op);
void bench_end(struct bench_child *c);

/* Ask `n` children for each of `ops` kinds in turns, `rounds` times, and end them. The figures go
 * to figure[child][op][round]. */
void bench_rounds(struct bench_child *c, int n, int ops, int rounds, double *figure);

/* CPU nanoseconds for each of the `size` operations that batch() times, repeated for `slice` ns. */
double bench_each(int64_t (*batch)(int op), int op, unsigned size, int64_t slice);

/* ---- calls ---- */

/* Start an engine with a table of that size. */
void bench_start(uint32_t hash_size);

/* Texts of the n-th call, as phones and proxies write them: views into `t`. */
struct bench_texts {
	struct dlg_str call_id, from_tag, to_tag;
	char room[128];
};
void bench_call_texts(struct bench_texts *t, unsigned n);

/* The n-th call, answered, as a row that was read: a plain call through one proxy. It ends after
 * `lifetime` seconds. The texts are in `t`. */
void bench_call_row(struct dlg_row *row, struct bench_texts *t, unsigned n, uint32_t lifetime);

/* A dialog in the table made of it. */
struct dlg_cell *bench_call(unsigned n, uint32_t lifetime);

/* A lifetime of 1 s to 12 h, always the same for the n-th. */
uint32_t bench_lifetime(unsigned n);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_WORKER_H
#define SIM_WORKER_H
/* Threads in place of the host's processes, each with random choices that come again by its seed.
 * A thread that cannot be started aborts the program. */

#include <pthread.h>

struct sim_worker {
	pthread_t thread;
	unsigned seed, name;
	unsigned count; /* what the test counts */
};

/* Seeds and names from `first` on. */
void sim_workers_init(struct sim_worker *w, unsigned n, unsigned first);

/* Start `n` threads; each runs `work` with its own sim_worker. */
void sim_workers_run(struct sim_worker *w, unsigned n, void *(*work)(void *));
void sim_workers_join(struct sim_worker *w, unsigned n);

/* The next choice of this thread: below `n`. */
unsigned sim_pick(struct sim_worker *w, unsigned n);

#endif

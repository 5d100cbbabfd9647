/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_SCHED_H
#define SIM_SCHED_H
/* A scheduler for simulated processes: a few of them run at the same time, one step each in turn,
 * and every order of their steps can be tried.
 *
 * A process is a thread, so that what the engine keeps per process is its own; only the one that
 * has the baton runs. It may lose it at points: before it takes a lock of the engine that is not
 * nested in an entry's, before it calls back, and before it calls what the host shares among
 * processes. What lies between two points is a step: at most one critical section, and then code
 * that touches nothing shared.
 *
 * Which orders are tried: a depth-first search over the choices at all points, but for orders that
 * differ from one that is tried only in the order of steps that don't depend on each other: they
 * end alike. What depends on what is measured: see sim_sched.c. */

#include <stdint.h>

enum { SIM_COS = 4, SIM_DEPTH = 600 };

/* What steps can have in common. */
enum sim_object {
	SIM_OBJ_TABLE = 1 << 0,      /* which dialogs there are */
	SIM_OBJ_CELL = 1 << 1,       /* what is guarded by the entry lock, but for what follows */
	SIM_OBJ_REFS = 1 << 2,       /* reference counts */
	SIM_OBJ_LINGER = 1 << 3,     /* DLG_F_LINGER_OVER */
	SIM_OBJ_CALLBACKS = 1 << 4,  /* the list of callbacks, and that it is still there */
	SIM_OBJ_WHEEL = 1 << 5,
	SIM_OBJ_PROFILES = 1 << 6,   /* counters */
	SIM_OBJ_ADMISSION = 1 << 7,
	SIM_OBJ_TX = 1 << 8,         /* transactions that several processes use */
	SIM_OBJ_SENT = 1 << 9,       /* requests sent by the engine */
	SIM_OBJ_LOG = 1 << 10,       /* the change log of the database */
	SIM_OBJ_ALL = (1 << 11) - 1,
};

typedef void sim_co(void *arg);

/* Start the threads. They share one CPU: handing the baton over costs less. 0 or -1. */
int sim_sched_start(void);

/* Nonzero: searches leave nothing out. To prove that what they leave out is not missed. */
extern int sim_sched_all;

/* Begin a search. `max` orders at most, then it is given up; 0 no limit. */
void sim_sched_search(unsigned max);
/* Nonzero when there is one more order to be run. */
int sim_sched_more(void);
/* Run the processes in the next order of the search until all are through. */
void sim_sched_run(unsigned n, sim_co *const *fn, void *const *arg);
/* Nonzero when the search gave up before it had seen all. */
int sim_sched_cut(void);

/* Run each to its end before the next one begins, in the given order. */
void sim_sched_run_serially(unsigned n, sim_co *const *fn, void *const *arg,
			    const unsigned *order);
/* Run by a trace. */
void sim_sched_replay(unsigned n, sim_co *const *fn, void *const *arg, const char *trace);
/* Run in an order made of sim_random(). */
void sim_sched_run_randomly(unsigned n, sim_co *const *fn, void *const *arg);

/* What was run last: who ran at each point where several could, as digits. */
const char *sim_sched_trace(void);

/* ---- for the processes; without effect in the main thread ---- */

/* A point. The step that begins reads and writes these objects, besides what is measured. */
void sim_sched_point(unsigned reads, unsigned writes);
/* A point that is passed only once `ready` says so. */
void sim_sched_wait(int (*ready)(void *arg), void *arg, unsigned writes);
/* Take the reply lock of the transaction that processes share, and give it back: a host delivers
 * its replies one at a time. host_tx_refuse() waits for it. */
void sim_sched_take_tx(void);
void sim_sched_give_tx(void);
/* The present step writes these objects, too. */
void sim_sched_touch(unsigned writes);
/* All steps of this process from now on write these objects, too. */
void sim_sched_touch_always(unsigned writes);

struct sim_sched_stats {
	uint64_t orders;    /* run in searches */
	uint64_t redundant; /* of them, those that turned out to be equal to others */
	uint64_t points, switches;
	unsigned deepest;
};
extern struct sim_sched_stats sim_sched_stats;

#endif

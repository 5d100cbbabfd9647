/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_WRAP_H
#define SIM_WRAP_H
/* Wrappers around functions of the engine, put in by the linker (wrap.opts): for failing
 * allocations, for interleaving "other processes" at the very points where the engine gives a
 * lock back, and for planting defects that the simulation must catch. Programs linked without
 * wrap.opts have none of this. */

/* When set, called after every unlock of the engine while no lock is held: everything another
 * process could do just then may be done by the function. It is not called again from within
 * itself. */
extern void (*sim_interleave)(void);

/* When set, called after a piece of memory was given back. */
extern void (*sim_freed)(void);

/* Where a simulated process may lose the CPU to others (sim_sched.h), or what the step has touched
 * besides. */
enum sim_op {
	SIM_OP_ENTRY,           /* an entry lock is going to be taken */
	SIM_OP_ADMISSION,       /* the admission lock; and it was given back */
	SIM_OP_ADMISSION_OVER,
	SIM_OP_COUNTERS,        /* a shard of profile values */
	SIM_OP_COUNTERS_INSIDE, /* the same under an entry lock */
	SIM_OP_WHEEL,           /* the shard of the timer wheel that dialogs are in */
	SIM_OP_WHEEL_INSIDE,
	SIM_OP_CALLBACK,        /* *(int *): its type */
	SIM_OP_TX,              /* a transaction is looked up; and it is not needed any more */
	SIM_OP_TX_OVER,
	SIM_OP_SEND,            /* a request of ours is handed over */
};
typedef void sim_point_fn(enum sim_op op, const void *what);

/* When set, called there. */
extern sim_point_fn *sim_point;

/* For SIM_OP_ENTRY: in which function of dlg_hash.c. */
enum sim_hint { SIM_HINT_NONE, SIM_HINT_HOLD, SIM_HINT_GET, SIM_HINT_PUT, SIM_HINT_LOOKS };
extern _Thread_local enum sim_hint sim_hint;

/* One planted defect per class of the design's section 4. X(name, what goes wrong) */
#define SIM_PLANTS(X)                                                        \
	X(CALLBACK_UNDER_LOCK, "callbacks run under the entry lock")         \
	X(LOG_UNDER_LOCK, "a log line is written under the entry lock")      \
	X(TWO_LOCKS, "a second entry lock is taken")                         \
	X(LOCK_NOT_RELEASED, "an entry lock is not given back")              \
	X(REFERENCE_LEAKED, "a reference is not given back")                 \
	X(REFERENCE_TWICE, "a reference is given back twice")                \
	X(TIMER_NOT_ARMED, "a new dialog has no timer")                      \
	X(TIMER_TOO_LATE, "a deadline is an hour off")                       \
	X(TIMER_NOT_DISARMED, "a freed dialog stays in the wheel")           \
	X(GAUGE_TWICE, "a gauge is changed twice")                           \
	X(TOTAL_BACK, "a total goes back")                                   \
	X(REVIVED, "an ended call is revived")                               \
	X(PIECE_LEAKED, "a piece of memory is not given back")               \
	X(HALF_CREATED, "a failed creation leaves the dialog behind")        \
	X(TAG_NOT_CHECKED, "any To tag is taken for a leg's")                \
	X(CALLBACK_TWICE, "a callback runs twice")                           \
	X(CALLBACK_MISSED, "the end of a call is not told")                  \
	X(REASON_MISSED, "why a call ended is not counted")                  \
	X(MEMBERSHIP_KEPT, "an ended call stays in its profiles")            \
	X(COUNTED_TWICE, "a membership counts twice")                        \
	X(LEFT_TWICE, "a membership is taken off twice")                     \
	X(LIMIT_TOO_LATE, "a limit is checked, and then the call joins")

/* Those that only show when the steps of processes alternate (interleave_test.c). */
#define SIM_PLANTS_OF_ORDER(X)                                                         \
	X(REFERENCE_LOST, "a count is read, and written back under another lock") \
	X(ENDED_JOINS, "whether a call goes on is asked before the lock under which it joins")

enum sim_plant {
	SIM_PLANT_NONE,
#define X(name, what) SIM_PLANT_##name,
	SIM_PLANTS(X) SIM_PLANT_N,
	SIM_PLANT_BEFORE_ORDER = SIM_PLANT_N - 1,
	SIM_PLANTS_OF_ORDER(X) SIM_PLANT_END
#undef X
};

/* The defect in force. */
extern enum sim_plant sim_plant;
/* How often it struck. */
extern unsigned sim_plant_hits;

/* Nonzero when the program was linked with wrap.opts. */
int sim_wrapped(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_LOCK_H
#define DLG_LOCK_H
/* The one lock of the engine: process-shared, robust, and cheap.
 *
 * One word in shared memory holds the owner's thread id; only who has to wait calls the kernel (a
 * futex). A robust mutex of pthread did the same before, and was 15 % of the instructions that the
 * module needs for a call.
 *
 * Order of locks (never the other way round, never two of one kind):
 *   1. admission to limited profiles (dlg_profile.h), which serializes them and nothing else
 *   2. a table entry (dlg_hash.h)
 *   3. one leaf, held for a few instructions and calling nothing: a timer shard (dlg_timer.h),
 *      a memory class (dlg_mem.h) or a shard of profile values (dlg_profile.h)
 * Under any: no callback, no I/O, no log line, no host call other than reading the clock. The
 * memory classes alone may ask the host for a block of shared memory while locked.
 *
 * Debug builds (-DDLG_DEBUG) check this order and abort when it is broken.
 *
 * A process that dies while it owns a lock (the host kills its workers at shutdown wherever they
 * are) does not block the others for more than a fraction of a second: the next owner finds out,
 * takes over, and the event is counted. */

#include <stdint.h>

enum dlg_lock_kind { DLG_LOCK_ADMISSION = 1, DLG_LOCK_ENTRY = 2, DLG_LOCK_LEAF = 4 };

struct dlg_lock {
	uint32_t word; /* 0: free */
};

/* What a process has for itself. The hosts' processes have one thread each, and in a library that
 * is loaded later, a thread's variable costs a function call; the tests have threads in their
 * place. */
#ifdef DLG_DEBUG
#define DLG_LOCK_PROCESS_LOCAL _Thread_local
#else
#define DLG_LOCK_PROCESS_LOCAL
#endif

/* Prepare a lock that lives in shared memory. Returns 0 or -1. */
int dlg_lock_init(struct dlg_lock *lock);

/* Take the lock; sleeps while another process owns it. Never fails: a dead owner is taken over. */
void dlg_lock_get(struct dlg_lock *lock, enum dlg_lock_kind kind);

/* Give the lock back. */
void dlg_lock_put(struct dlg_lock *lock, enum dlg_lock_kind kind);

/* Count takeovers there (shared memory) from now on; before, each process counts for itself. */
void dlg_lock_count_takeovers(uint32_t *counter);

/* How many locks were taken over from dead owners so far. */
uint32_t dlg_lock_takeovers(void);

/* Nonzero while this process owns a lock of the engine. Used where foreign code is called: rule 1
 * of the design, "no foreign code under a lock", is asserted there in debug builds. */
int dlg_lock_held(void);

#endif

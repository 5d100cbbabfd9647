/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H
/* Random histories: a few calls whose messages are lost, doubled, delayed and overtake each other,
 * with forks, spirals, cancelled and refused calls, forged requests, profiles, commands, callbacks
 * that call back, failing allocations and sends. Everything follows from the seed; sim_audit() runs
 * after each step. With a database, its writer has a turn now and then, the database fails, and the
 * table is compared with memory. */

#include <stdint.h>

struct sim_history_stats {
	uint64_t histories, steps, dialogs, failed, expired, answered, byes_sent, forged, refused;
	uint64_t interleaved, alloc_failures;
	uint64_t compared; /* tables with memory */
	uint64_t limited, turned_away; /* joinings with limits that succeeded, that did not */
};
extern struct sim_history_stats sim_history_stats;

/* Once per process: starts the engine with a table of few entries and registers the callbacks; with
 * a directory for the journal, also with a database in mode REALTIME. 0 or -1. */
int sim_history_start(char *journal_dir);

/* Run one history from beginning to empty table. Returns NULL, or the invariant that was
 * violated. */
const char *sim_history_run(uint64_t seed);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_TIMER_H
#define DLG_TIMER_H
/* One timer per dialog, armed from its creation to its freeing: setup limit, lifetime or ACK
 * limit, linger.
 *
 * A hashed wheel in one-second ticks, in shards by table entry. Arming, re-arming and disarming
 * are O(1) whatever the number of dialogs and however their lifetimes are mixed. The wheel holds
 * no references: a tick copies the names (h_entry, h_id) of due dialogs in bounded batches and
 * looks each one up again, so a dialog freed meanwhile is simply not found.
 *
 * There are two of these wheels. A BYE to a host that must be looked up may make its sender wait,
 * for half a minute if somebody wants that; the time limits of others must not. So the process of
 * the first wheel passes such dialogs on to the second one, which has a process of its own. */

#include <stdint.h>

struct dlg_cell;

/* Link of a cell in the wheel. next and prev are guarded by the shard's leaf lock, the rest by the
 * entry lock as well: whoever holds either may read it. */
struct dlg_timer_link {
	struct dlg_timer_link *next, **prev;
	uint32_t deadline; /* tick (monotonic seconds) at which it is due */
	uint16_t armed;    /* in a wheel */
	uint16_t patient;  /* in the second one */
};

struct dlg_timer_info {
	uint64_t armed;   /* links in the wheels */
	uint32_t lag;     /* ticks the first wheel is behind the clock */
};

/* Create the wheels in shared memory, before fork. 0 or -1. */
int dlg_timer_init(void);

/* The present tick: monotonic seconds. */
uint32_t dlg_timer_now(void);

/* The tick at which something asked for `seconds` from now is due: never early, at most one
 * second late. */
uint32_t dlg_timer_after(uint64_t seconds);

/* The next tick that has not begun. */
uint32_t dlg_timer_next(void);

/* Seconds left until `deadline`; 0 when it has passed. */
uint32_t dlg_timer_left(uint32_t deadline);

/* Arm or re-arm the dialog's timer, in the first wheel. Entry lock held; takes and drops a leaf
 * lock. */
void dlg_timer_arm_locked(struct dlg_cell *dlg, uint32_t deadline);

/* Let the process of the second wheel see to what is due now. Entry lock held; takes and drops leaf
 * locks. */
void dlg_timer_pass_on_locked(struct dlg_cell *dlg);

/* Take the dialog out of its wheel, before it is freed. Entry lock held; takes and drops a leaf
 * lock. */
void dlg_timer_disarm_locked(struct dlg_cell *dlg);

/* Process everything due up to now: called about once a second by the engine's own process,
 * which may send SIP (BYEs of expired dialogs); never in a SIP worker. No lock held. Returns how
 * many dialogs were due.
 *
 * Of the calls that end with BYE only timeout_bye_rate (0: all) end in one tick, with rests in
 * between that make less than a second in all; the others wait for the next tick. */
unsigned dlg_timer_tick(void);

/* The same for the second wheel, by a process that may wait. */
unsigned dlg_timer_tick_patient(void);

/* Figures for statistics and the audit. Takes the shard locks one by one. */
void dlg_timer_get_info(struct dlg_timer_info *out);

#endif

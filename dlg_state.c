/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_state.h"

#include "dialog.h"
#include "dlg_hash.h"
#include "host/host.h"

enum {
	FAIL = DLG_DO_COUNT_FAILED | DLG_DO_ARM_LINGER | DLG_DO_CB_FAILED | DLG_DO_END,
	CREATE = DLG_DO_COUNT_PROCESSED | DLG_DO_ARM_SETUP,
	RESTORE = DLG_DO_COUNT_RESTORED | DLG_DO_ARM_LIFETIME,
	ANSWER = DLG_DO_START | DLG_DO_AWAIT_ACK | DLG_DO_ARM_LIFETIME | DLG_DO_CB_CONFIRMED |
		 DLG_DO_SAVE,
	ACK = DLG_DO_STOP_ACK | DLG_DO_ARM_LIFETIME | DLG_DO_SAVE,
	HANG_UP = DLG_DO_ARM_LINGER | DLG_DO_CB_TERMINATED | DLG_DO_END,
	EXPIRE = DLG_DO_COUNT_EXPIRED | DLG_DO_ARM_LINGER | DLG_DO_CB_EXPIRED | DLG_DO_END,
	PROLONG = DLG_DO_RESET_LIFETIME | DLG_DO_ARM_LIFETIME | DLG_DO_SAVE,
};

/* A restored call has no ACK limit: an ACK takes effect after it was sent, so that it can be
 * through and in no journal.
 *
 * Everything that can happen to a dialog. What is not listed changes nothing: retransmissions,
 * messages that crossed or came late, requests on legs that ended. DELETED is final: nothing
 * revives a call. */
/* clang-format off */
static const struct dlg_rule rules[DLG_STATES][DLG_EVENTS] = {
	[DLG_STATE_NONE] = {
		[DLG_EV_CREATE]      = { DLG_STATE_UNCONFIRMED, CREATE },
		[DLG_EV_RESTORE]     = { DLG_STATE_CONFIRMED, RESTORE },
		[DLG_EV_RESTORE_NO_ACK] = { DLG_STATE_CONFIRMED_NA, RESTORE },
	},
	[DLG_STATE_UNCONFIRMED] = {
		[DLG_EV_PROVISIONAL] = { DLG_STATE_EARLY, DLG_DO_CB_EARLY },
		[DLG_EV_SUCCESS]     = { DLG_STATE_CONFIRMED_NA, ANSWER },
		[DLG_EV_NEGATIVE]    = { DLG_STATE_DELETED, FAIL },
		[DLG_EV_GONE]        = { DLG_STATE_DELETED, FAIL },
		[DLG_EV_ABANDON]     = { DLG_STATE_DELETED, DLG_DO_NO_LINGER | DLG_DO_END },
		[DLG_EV_TIMEOUT]     = { DLG_STATE_DELETED, EXPIRE | DLG_DO_END_SETUP },
	},
	[DLG_STATE_EARLY] = {
		[DLG_EV_SUCCESS]     = { DLG_STATE_CONFIRMED_NA, ANSWER },
		[DLG_EV_NEGATIVE]    = { DLG_STATE_DELETED, FAIL },
		[DLG_EV_GONE]        = { DLG_STATE_DELETED, FAIL },
		[DLG_EV_TIMEOUT]     = { DLG_STATE_DELETED, EXPIRE | DLG_DO_END_SETUP },
	},
	[DLG_STATE_CONFIRMED_NA] = {
		[DLG_EV_ACK]         = { DLG_STATE_CONFIRMED, ACK },
		[DLG_EV_SEQUENTIAL]  = { DLG_STATE_CONFIRMED_NA, PROLONG },
		[DLG_EV_BYE_NO_ACK]  = { DLG_STATE_CONFIRMED_NA, PROLONG },
		[DLG_EV_BYE]         = { DLG_STATE_DELETED, HANG_UP },
		[DLG_EV_TERMINATE]   = { DLG_STATE_DELETED, HANG_UP },
		[DLG_EV_TIMEOUT]     = { DLG_STATE_DELETED, EXPIRE | DLG_DO_SEND_BYES },
	},
	[DLG_STATE_CONFIRMED] = {
		[DLG_EV_SEQUENTIAL]  = { DLG_STATE_CONFIRMED, PROLONG },
		[DLG_EV_BYE_NO_ACK]  = { DLG_STATE_CONFIRMED_NA, DLG_DO_AWAIT_ACK | PROLONG },
		[DLG_EV_BYE]         = { DLG_STATE_DELETED, HANG_UP },
		[DLG_EV_TERMINATE]   = { DLG_STATE_DELETED, HANG_UP },
		[DLG_EV_TIMEOUT]     = { DLG_STATE_DELETED, EXPIRE | DLG_DO_SEND_BYES },
	},
	[DLG_STATE_DELETED] = {
		[DLG_EV_TIMEOUT]     = { DLG_STATE_DELETED, DLG_DO_FREE },
	},
};
/* clang-format on */

static struct dlg_counters *counters; /* shared */
static uint64_t started_ms;

int dlg_state_init(void)
{
	counters = host_shm_alloc(sizeof(*counters));
	if (!counters)
		return -1;
	memset(counters, 0, sizeof(*counters));
	started_ms = host_mono_ms();
	dlg_lock_count_takeovers(&counters->takeovers);
	return 0;
}

struct dlg_counters *dlg_state_counters(void)
{
	return counters;
}

uint64_t dlg_state_uptime(void)
{
	return (host_mono_ms() - started_ms) / 1000;
}

uint32_t dlg_state_active(void)
{
	return __atomic_load_n(&counters->active, __ATOMIC_RELAXED);
}

const struct dlg_rule *dlg_state_rule(enum dlg_state state, enum dlg_event event)
{
	static const struct dlg_rule stay[DLG_STATES] = {
		{ DLG_STATE_NONE, 0 },		 { DLG_STATE_UNCONFIRMED, 0 },
		{ DLG_STATE_EARLY, 0 },		 { DLG_STATE_CONFIRMED_NA, 0 },
		{ DLG_STATE_CONFIRMED, 0 },	 { DLG_STATE_DELETED, 0 },
	};
	const struct dlg_rule *r = &rules[state][event];

	return r->next == DLG_STATE_NONE ? &stay[state] : r;
}

void dlg_state_count(uint64_t *total)
{
	__atomic_fetch_add(total, 1, __ATOMIC_RELAXED);
}

static void move_gauge(uint8_t from, uint8_t to)
{
	int more = dlg_state_is_answered(to) - dlg_state_is_answered(from);

	if (more)
		__atomic_fetch_add(&counters->active, (uint32_t)more, __ATOMIC_RELAXED);
	if (from != DLG_STATE_NONE)
		__atomic_fetch_sub(&counters->gauge[from], 1, __ATOMIC_RELAXED);
	if (to != DLG_STATE_NONE)
		__atomic_fetch_add(&counters->gauge[to], 1, __ATOMIC_RELAXED);
}

static void set_clocks_locked(struct dlg_cell *dlg, uint32_t actions)
{
	if (actions & DLG_DO_ARM_SETUP) {
		dlg->ack_by = UINT32_MAX;
		dlg->expires = dlg_timer_after((uint64_t)dialog_conf.setup_timeout);
	}
	if (actions & DLG_DO_START) {
		dlg->start_time = host_wall_s();
		dlg->answered_at = dlg_timer_now();
	}
	if (actions & (DLG_DO_START | DLG_DO_RESET_LIFETIME))
		dlg->expires = dlg_timer_after(dlg->lifetime);
	if (actions & DLG_DO_END) {
		dlg->end_time = host_wall_s();
		dlg->ended_at = dlg_timer_now();
		dlg->expires = dlg_timer_after(DLG_STATE_LINGER_S + DLG_STATE_OVERDUE_S);
	}
	if (actions & DLG_DO_NO_LINGER)
		dlg->flags |= DLG_F_LINGER_OVER;
}

/* Without an ACK in 64*T1 the callee gives up (RFC 3261 13.3.1.4); but it can be missed only
 * where it must pass, and not when it was quicker than its 2xx, or before a restart. */
static uint32_t ack_deadline(const struct dlg_cell *dlg)
{
	static const uint16_t unknown = DLG_F_ACK_CAME | DLG_F_RESTORED;

	if (!(dlg->flags & DLG_F_IN_PATH) || dlg->flags & unknown || !dialog_conf.ack_timeout)
		return UINT32_MAX;
	return dlg_timer_after((uint64_t)dialog_conf.ack_timeout);
}

void dlg_state_hurry_locked(struct dlg_cell *dlg)
{
	dlg_timer_arm_locked(dlg, dlg_timer_after(0));
}

static void arm_locked(struct dlg_cell *dlg, uint32_t actions)
{
	if (actions & DLG_DO_AWAIT_ACK)
		dlg->ack_by = ack_deadline(dlg);
	if (actions & DLG_DO_STOP_ACK)
		dlg->ack_by = UINT32_MAX;
	if (actions & (DLG_DO_ARM_SETUP | DLG_DO_ARM_LIFETIME))
		dlg_timer_arm_locked(dlg, dlg->ack_by < dlg->expires ? dlg->ack_by : dlg->expires);
	if (actions & DLG_DO_ARM_LINGER)
		dlg_timer_arm_locked(dlg, dlg_timer_after(DLG_STATE_LINGER_S));
	if (actions & DLG_DO_NO_LINGER)
		dlg_timer_arm_locked(dlg, dlg_timer_after(1));
	if (dlg->flags & DLG_F_END_WANTED)
		dlg_state_hurry_locked(dlg);
}

void dlg_state_rearm_locked(struct dlg_cell *dlg)
{
	static const uint32_t by_state[DLG_STATES] = {
		[DLG_STATE_UNCONFIRMED] = DLG_DO_ARM_LIFETIME,
		[DLG_STATE_EARLY] = DLG_DO_ARM_LIFETIME,
		[DLG_STATE_CONFIRMED_NA] = DLG_DO_ARM_LIFETIME,
		[DLG_STATE_CONFIRMED] = DLG_DO_ARM_LIFETIME,
		[DLG_STATE_DELETED] = DLG_DO_ARM_LINGER,
	};

	arm_locked(dlg, by_state[dlg->state]);
}

uint32_t dlg_state_apply_locked(struct dlg_cell *dlg, enum dlg_event event)
{
	const struct dlg_rule *r = dlg_state_rule(dlg->state, event);

	if (r->next != dlg->state) {
		move_gauge(dlg->state, r->next);
		dlg->state = r->next;
	}
	set_clocks_locked(dlg, r->actions);
	arm_locked(dlg, r->actions);
	if (r->actions & DLG_DO_END)
		dlg_profile_leave_all_locked(dlg);
	if (r->actions & DLG_DO_COUNT_PROCESSED)
		dlg_state_count(&counters->processed);
	if (r->actions & DLG_DO_COUNT_RESTORED)
		dlg_state_count(&counters->restored);
	if (r->actions & DLG_DO_COUNT_FAILED)
		dlg_state_count(&counters->failed);
	if (r->actions & DLG_DO_COUNT_EXPIRED)
		dlg_state_count(&counters->expired);
	return r->actions;
}

void dlg_state_forget_locked(struct dlg_cell *dlg)
{
	move_gauge(dlg->state, DLG_STATE_NONE);
	dlg->state = DLG_STATE_NONE;
}

const char *dlg_state_name(enum dlg_state state)
{
	static const char *const names[DLG_STATES] = {
		"NONE", "UNCONFIRMED", "EARLY", "CONFIRMED_NA", "CONFIRMED", "DELETED",
	};

	return (unsigned)state < DLG_STATES ? names[state] : "?";
}

const char *dlg_state_event_name(enum dlg_event event)
{
	static const char *const names[DLG_EVENTS] = {
		"CREATE", "PROVISIONAL", "SUCCESS",    "NEGATIVE", "GONE",      "ABANDON",
		"ACK",    "ACK_OTHER", "SEQUENTIAL", "BYE_NO_ACK", "BYE",    "TERMINATE",
		"TIMEOUT", "RESTORE", "RESTORE_NO_ACK",
	};

	return (unsigned)event < DLG_EVENTS ? names[event] : "?";
}

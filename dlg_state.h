/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_STATE_H
#define DLG_STATE_H
/* The life of a dialog as data: (state, event) -> (next state, what follows).
 *
 * Reading the table in dlg_state.c is reading the module's behaviour. The gauges (dialogs by
 * state) change here and nowhere else; totals only grow. */

#include <stdint.h>

struct dlg_cell;

/* Numbers as in the manual, section 1.9.2 ($DLG_status), and in dlg_list. */
enum dlg_state {
	DLG_STATE_NONE = 0,         /* not in the table (yet) */
	DLG_STATE_UNCONFIRMED = 1,  /* INVITE seen */
	DLG_STATE_EARLY = 2,        /* a provisional reply above 100 */
	DLG_STATE_CONFIRMED_NA = 3, /* 2xx seen, no ACK yet */
	DLG_STATE_CONFIRMED = 4,    /* ACK seen */
	DLG_STATE_DELETED = 5,      /* ended, lingers for late messages */
	DLG_STATES
};

/* `state`: enum dlg_state. */
static inline int dlg_state_is_answered(unsigned state)
{
	return state == DLG_STATE_CONFIRMED_NA || state == DLG_STATE_CONFIRMED;
}

enum dlg_event {
	DLG_EV_CREATE,      /* linked into the table */
	DLG_EV_PROVISIONAL, /* 101..199 to the INVITE on its way to the caller */
	DLG_EV_SUCCESS,     /* 2xx to the INVITE on its way to the caller */
	DLG_EV_NEGATIVE,    /* final 3xx..6xx to the INVITE on its way to the caller */
	DLG_EV_GONE,        /* the INVITE transaction went away */
	DLG_EV_ABANDON,     /* the script ended without a transaction */
	DLG_EV_ACK,         /* ACK of the caller forwarded */
	/* another ACK forwarded: of the callee, to the 2xx of a re-INVITE of its own, if it is
	 * honest; or a copy of one, to a leg that has ended */
	DLG_EV_ACK_OTHER,
	/* another in-dialog request forwarded, or a BYE while other legs talk */
	DLG_EV_SEQUENTIAL,
	DLG_EV_BYE_NO_ACK,  /* BYE of a leg forwarded; of those left none got its ACK yet */
	DLG_EV_BYE,         /* BYE of the last live leg forwarded */
	DLG_EV_TERMINATE,   /* this proxy ends the call by BYE */
	DLG_EV_TIMEOUT,     /* the dialog's timer ran out */
	DLG_EV_RESTORE,     /* read from the database, ACK seen */
	DLG_EV_RESTORE_NO_ACK,
	DLG_EVENTS
};

/* What follows from an event, besides the change of state and gauges. The first group is carried
 * out by dlg_state_apply_locked() itself, the second by the caller after unlocking. DLG_DO_END is
 * for both: in it the dialog leaves its profiles. */
enum {
	DLG_DO_ARM_SETUP = 1 << 0,    /* setup_timeout from now */
	DLG_DO_START = 1 << 1,        /* answered: start_time and the lifetime begin now */
	DLG_DO_RESET_LIFETIME = 1 << 2, /* the lifetime begins anew (manual 1.2) */
	DLG_DO_AWAIT_ACK = 1 << 3,    /* the ACK limit begins, where ACKs pass here */
	DLG_DO_STOP_ACK = 1 << 10,    /* no ACK limit any more */
	DLG_DO_ARM_LIFETIME = 1 << 4, /* the lifetime's end, or the ACK limit if that is sooner */
	DLG_DO_ARM_LINGER = 1 << 5,
	DLG_DO_NO_LINGER = 1 << 9,    /* nothing was sent: free as soon as nobody holds it */
	DLG_DO_COUNT_PROCESSED = 1 << 6,
	DLG_DO_COUNT_FAILED = 1 << 7,
	DLG_DO_COUNT_EXPIRED = 1 << 8,
	DLG_DO_COUNT_RESTORED = 1 << 11,

	DLG_DO_CB_EARLY = 1 << 16,
	DLG_DO_CB_CONFIRMED = 1 << 17,
	DLG_DO_CB_FAILED = 1 << 18,
	DLG_DO_CB_TERMINATED = 1 << 19,
	DLG_DO_CB_EXPIRED = 1 << 20,
	DLG_DO_END_SETUP = 1 << 21,   /* give the caller a 408, the callees a CANCEL */
	DLG_DO_SEND_BYES = 1 << 22,   /* if the dialog asked for them */
	DLG_DO_FREE = 1 << 23,        /* unlink and free, unless held */
	DLG_DO_END = 1 << 24,         /* the call has ended just now */
	DLG_DO_SAVE = 1 << 25,        /* worth a row in the database */
};

enum {
	DLG_STATE_LINGER_S = 5,   /* after the end, for late messages */
	DLG_STATE_OVERDUE_S = 64, /* beyond it, a dialog that is still held is reported */
};

struct dlg_rule {
	uint8_t next;
	uint32_t actions;
};

/* The rule for (state, event). Every pair has one; pairs that change nothing have next == state
 * and no actions. Pure. */
const struct dlg_rule *dlg_state_rule(enum dlg_state state, enum dlg_event event);

/* Apply an event: change the state and the gauges, arm the timer. Entry lock of `dlg` held.
 * Returns the actions of the rule; the caller carries out the second group after unlocking. */
uint32_t dlg_state_apply_locked(struct dlg_cell *dlg, enum dlg_event event);

/* Arm the timer anew as the present state asks for. Entry lock held. */
void dlg_state_rearm_locked(struct dlg_cell *dlg);

/* Make the timer due at the next tick. Entry lock held. */
void dlg_state_hurry_locked(struct dlg_cell *dlg);

/* The cell leaves the table: takes it out of the gauges. Entry lock held; for dlg_hash.c. */
void dlg_state_forget_locked(struct dlg_cell *dlg);

/* "UNCONFIRMED", "BYE" ... for logs and documents; never NULL. */
const char *dlg_state_name(enum dlg_state state);
const char *dlg_state_event_name(enum dlg_event event);

/* Why calls end. X(name, what it means) */
#define DLG_REASONS(X)                                                              \
	X(caller, "BYE of the caller")                                              \
	X(callee, "BYE of the callee")                                              \
	X(cancel, "given up by the caller before an answer (487)")                  \
	X(reject, "negative final answer")                                          \
	X(no_answer, "no final answer: timeout of the transaction layer")           \
	X(command, "ended by a command or another module")                          \
	X(setup_timeout, "setup_timeout")                                           \
	X(ack_timeout, "ack_timeout")                                               \
	X(timeout, "lifetime over")                                                 \
	X(abandoned, "the script neither forwarded nor answered the INVITE")

enum dlg_reason {
#define X(name, what) DLG_REASON_##name,
	DLG_REASONS(X)
#undef X
	DLG_REASON_N
};

/* Counters in shared memory. Gauges by state are exact at every moment; totals count since
 * start. */
struct dlg_counters {
	uint32_t gauge[DLG_STATES];
	uint32_t active;    /* in states 3 and 4: not their sum, so that no ACK shows in it */
	uint64_t processed; /* dialogs created */
	uint64_t restored;  /* read from the database at start */
	uint64_t failed;    /* negative final answer to the INVITE */
	uint64_t expired;   /* setup, ACK or lifetime limit reached */
	uint64_t refused;   /* not created for want of memory or of a cookie */
	uint64_t forged;    /* cookies that were malformed, unknown or of another call */
	uint32_t takeovers; /* locks taken over from processes that died */
	uint64_t overdue;   /* dialogs found beyond their deadline because somebody held them */
	uint64_t ended[DLG_REASON_N];
};

/* Create the counters in shared memory, before fork. 0 or -1. */
int dlg_state_init(void);

/* The live counters; read and add with __atomic builtins (relaxed). */
struct dlg_counters *dlg_state_counters(void);

/* Add one to a total of the counters. No lock needed. */
void dlg_state_count(uint64_t *total);

/* Seconds since dlg_state_init(). */
uint64_t dlg_state_uptime(void);

/* Answered calls, ACK seen or not: states 3 and 4 (manual 1.7.1, 1.9.1). */
uint32_t dlg_state_active(void);

#endif

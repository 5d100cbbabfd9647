/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_HASH_H
#define DLG_HASH_H
/* The table of dialogs, shared by all processes.
 *
 * hash_size entries, one lock each. The entry of a dialog is the low bits of a hash of its
 * Call-ID and part of its name (h_entry, h_id), as the manual says; ids count up within an entry
 * from a random start and use all 32 bits (0 excepted). Each entry keeps dense arrays of (hash,
 * id, cell) in order of creation, so that a search reads a few cache lines and no cell that
 * cannot match.
 *
 * References: every lookup returns one, with a named holder, and it is given back with
 * dlg_hash_put() under the same name. The table itself holds one from insertion to freeing.
 * Counts are guarded by the entry lock; nobody outside dlg_hash.c touches them.
 *
 * Everything in a cell below "mutable" is guarded by the entry lock. What is above it is written
 * once before the cell is linked and may be read by any holder without a lock. */

#include "dlg_lock.h"
#include "dlg_profile.h"
#include "dlg_state.h"
#include "dlg_str.h"
#include "dlg_timer.h"

struct host_sock;
struct dlg_val;     /* dlg_vals.c */
struct dlg_cb_item; /* dlg_cb.c */
struct dlg_member;  /* dlg_profile.c */
struct dlg_db_mark; /* dlg_db_handler.c */

enum dlg_holder {
	DLG_BY_TABLE,       /* linked */
	DLG_BY_TRANSACTION, /* attached to a transaction of the host */
	DLG_BY_MESSAGE,     /* current dialog of the message in hand */
	DLG_BY_SENDER,      /* a BYE of ours is pending */
	DLG_BY_API,         /* another module */
	DLG_BY_LOCAL,       /* a function of the engine, until it returns */
	DLG_HOLDERS
};

/* caller -> callee is downstream */
enum dlg_dir { DLG_DIR_NONE, DLG_DIR_DOWNSTREAM, DLG_DIR_UPSTREAM };

enum dlg_leg_state {
	DLG_LEG_EARLY,
	DLG_LEG_ANSWERED,
	DLG_LEG_ENDING, /* our BYEs are being made */
	DLG_LEG_ENDED,
};

/* Whoever answers may fork for ever: further provisional legs are not kept, and further answers
 * neither. */
enum { DLG_LEGS_EARLY_MAX = 32, DLG_LEGS_MAX = 64 };

/* One callee of the call: forked INVITEs create several dialogs in terms of RFC 3261 12.1, which
 * share the caller. Linked in order of first reply; legs are added, never removed, until the
 * cell is freed. */
struct dlg_leg {
	struct dlg_leg *next;
	const struct host_sock *sock; /* local socket facing the callee */
	char *contact;                /* dlg_mem piece, or NULL; replaced by target refreshes */
	/* dlg_mem piece, or NULL; towards the callee, in Route order; fixed by the first 2xx
	 * (RFC 3261 13.2.2.4), free to read from then on */
	char *route_set;
	/* by direction: last CSeq number accepted (index enum dlg_dir) */
	uint32_t cseq[3];
	/* by direction: last one of a request of ours in a party's name */
	uint32_t own_cseq[3];
	/* by direction: of the last target refresh that took effect */
	uint32_t refresh_cseq[3];
	uint32_t invite_cseq[3];      /* by direction: of the last INVITE, which its ACK repeats */
	uint16_t contact_len, route_set_len, tag_len;
	uint8_t state;                /* enum dlg_leg_state */
	uint8_t seen;                 /* by direction, 1 << enum dlg_dir: cseq[] is known */
	uint8_t acked;                /* the ACK to its 2xx passed */
	uint8_t hung_up;              /* enum dlg_end: whose BYE has its 2xx */
	char tag[];                   /* may be empty: replies without a To tag (RFC 2543) */
};

/* Texts known from the INVITE, stored behind the cell in this order. */
enum dlg_text {
	DLG_CALL_ID, DLG_FROM_URI, DLG_TO_URI, DLG_FROM_TAG,
	/* Record-Route of the INVITE as received, Route order towards the caller */
	DLG_CALLER_ROUTES,
	DLG_TEXTS
};

enum { /* dlg_cell.flags */
	DLG_F_BYE_ON_TIMEOUT = 1 << 0,
	DLG_F_IN_PATH = 1 << 1,     /* we record-routed: the ACK must pass here */
	/* a leg could not be stored for want of memory: match any To tag */
	DLG_F_LEG_LOST = 1 << 2,
	DLG_F_LINGER_OVER = 1 << 3, /* nothing but a holder keeps it */
	DLG_F_REPORTED = 1 << 4,    /* found overdue and logged */
	DLG_F_ATTACHED = 1 << 5,    /* a transaction carries (or carried) its INVITE */
	DLG_F_ANNOUNCED = 1 << 6,   /* DLGCB_CREATED was called */
	DLG_F_END_WANTED = 1 << 7,  /* the timer process is to end the call at its next tick */
	DLG_F_KILLED = 1 << 8,      /* ended by us: whoever answers late gets a BYE */
	DLG_F_RESTORED = 1 << 9,    /* what happened just before the restart may be missing */
	/* a contact or a route set could not be kept up to date: requests are not compared with
	 * them, and our BYEs go by the last that is known */
	DLG_F_ROUTING_LOST = 1 << 10,
	DLG_F_ACK_CAME = 1 << 11,   /* an ACK, before the answer, of a leg that is not known */
};

/* who ended the call */
enum dlg_end { DLG_END_NONE, DLG_END_CALLER, DLG_END_CALLEE, DLG_END_PROXY };

struct dlg_cell {
	uint32_t h_entry, h_id;
	uint32_t hash;                       /* of the Call-ID, all 32 bits */
	uint32_t invite_cseq;
	/* of the INVITE's topmost Via branch: tells retransmissions from spirals */
	uint64_t via_hash;
	const struct host_sock *caller_sock; /* local socket facing the caller */
	uint16_t text_len[DLG_TEXTS];

	/* mutable, under the entry lock */
	uint8_t state;    /* enum dlg_state; written by dlg_state.c only */
	uint8_t ended_by; /* enum dlg_end */
	uint16_t flags;
	uint16_t end_code;           /* final status of a failed INVITE, or 0 */
	uint16_t caller_contact_len;
	uint16_t n_members;
	uint16_t end_tries;          /* of the timer process, to carry out DLG_F_END_WANTED */
	uint32_t refs[DLG_HOLDERS];  /* dlg_hash.c only */
	uint32_t user_flags;         /* manual 1.6.7, 1.9.4 */
	uint32_t lifetime;           /* seconds */
	/* tick: without an ACK by then the call is over; UINT32_MAX none */
	uint32_t ack_by;
	/* tick: end of the setup, then of the lifetime; once ended, when a holder is reported as
	 * overdue */
	uint32_t expires;
	uint32_t tx_id[2];           /* struct host_tx_id of the INVITE; 0,0 none */
	uint32_t answered_at;        /* ticks: what the time of day does not change */
	uint32_t ended_at;
	int64_t start_time;          /* epoch seconds of the first 2xx; 0 before */
	int64_t end_time;            /* epoch seconds of the end; 0 before */
	struct dlg_timer_link timer; /* dlg_timer.c only */
	char *caller_contact;        /* dlg_mem piece, or NULL; replaced by target refreshes */
	struct dlg_leg *legs;
	struct dlg_val *vals;        /* dlg_vals.c only, newest first */
	struct dlg_cb_item *cbs;     /* dlg_cb.c only, newest first */
	struct dlg_member *members;  /* dlg_profile.c only, newest first */
	struct dlg_db_mark *mark;    /* dlg_db_handler.c only: its place on the change log */
	uint32_t db_copied;          /* dlg_db_handler.c only: version of the last copy */
	uint32_t db_journaled;       /* and of the last one that is in the journal */

	char text[];
};

/* What a new dialog is made of. Views are copied. */
struct dlg_hash_new {
	struct dlg_str call_id, from_uri, to_uri, from_tag, caller_routes, caller_contact;
	const struct host_sock *caller_sock;
	uint32_t invite_cseq;
	uint64_t via_hash;
	uint32_t lifetime;
};

/* Create the table in shared memory, before fork. 0 or -1 (no memory). */
int dlg_hash_init(uint32_t hash_size);

/* Number of entries. */
uint32_t dlg_hash_size(void);

/* Hash of a Call-ID. It is part of stored dialogs' names: it must never change. */
static inline uint32_t dlg_hash_call_id(struct dlg_str call_id)
{
	return (uint32_t)dlg_str_hash(call_id);
}

/* Create, link, apply DLG_EV_CREATE and return the cell with a reference for `holder` in *out.
 * Returns 1; 0 when the same INVITE (Call-ID, From tag, CSeq, Via branch) has its dialog
 * already, which is then returned instead; or -1 when memory is short (nothing changed). Takes
 * and drops the entry lock. */
int dlg_hash_insert(const struct dlg_hash_new *in, enum dlg_holder holder, struct dlg_cell **out);

/* ---- restoring: main process, at start, before anybody else can look ---- */

/* A dialog that is not linked yet, to be filled; NULL without memory or with a text beyond 64 KB. */
struct dlg_cell *dlg_hash_new_cell(const struct dlg_hash_new *in);

/* Link it under its old id and apply `event`. Ids of new dialogs come after it, or, when it is one
 * of the last there are, where no other is near. 1; 0 when there is one of that name; -1 without
 * memory. */
int dlg_hash_link(struct dlg_cell *dlg, uint32_t h_id, enum dlg_event event);

/* Free one that was not linked. */
void dlg_hash_discard(struct dlg_cell *dlg);

/* New dialogs of the entry get ids after this one, in the same sense. */
void dlg_hash_skip_id(uint32_t h_entry, uint32_t h_id);

/* ---- lookup ---- */

/* The dialog named (h_entry, h_id), in any state, or NULL. Takes and drops the entry lock. */
struct dlg_cell *dlg_hash_get(uint32_t h_entry, uint32_t h_id, enum dlg_holder holder);

/* Walks the dialogs of one Call-ID in order of creation. `match` runs under the entry lock, must
 * not block, and returns nonzero for the one that is wanted, which is returned with a reference.
 * NULL when none. */
typedef int dlg_hash_match(const struct dlg_cell *dlg, void *arg);
struct dlg_cell *dlg_hash_find(struct dlg_str call_id, dlg_hash_match *match, void *arg,
			       enum dlg_holder holder);

/* Another reference on a dialog the caller holds already. Takes and drops the entry lock. */
void dlg_hash_hold(struct dlg_cell *dlg, enum dlg_holder holder);

/* Give a reference back; NULL is fine. The dialog is freed here when its linger is over and this
 * was the last one besides the table's. Takes and drops the entry lock; DLGCB_DESTROY and
 * parameter freeing run after it. */
void dlg_hash_put(struct dlg_cell *dlg, enum dlg_holder holder);

/* As dlg_hash_put(); when it was the last reference of that kind, `last` runs first, under the
 * entry lock. */
void dlg_hash_put_last(struct dlg_cell *dlg, enum dlg_holder holder,
		       void (*last)(struct dlg_cell *dlg));

/* Free a dialog whose linger is over; called by the timer, whose own reference (DLG_BY_LOCAL) is
 * given back in any case. Returns 1 when freed, 0 when somebody holds it (it will be freed by
 * the last dlg_hash_put()). */
int dlg_hash_release(struct dlg_cell *dlg);

/* Lock and unlock the entry of a dialog one holds, to read or change what is mutable in it. No
 * lock of the engine may be held; nothing but *_locked functions may be called in between. */
void dlg_hash_lock(const struct dlg_cell *dlg);
void dlg_hash_unlock(const struct dlg_cell *dlg);

/* Where a listing stands; all zero is the start. */
struct dlg_hash_cursor {
	uint32_t entry;
	uint32_t last_id; /* last one seen in that entry */
	int inside;       /* last_id is valid */
};

/* Up to `max` dialogs of the table in order of (entry, creation), with references, starting at
 * the cursor, which is moved on. Returns how many; 0 at the end. Locks one entry at a time;
 * dialogs created or freed meanwhile may or may not be seen, none is seen twice. */
unsigned dlg_hash_page(struct dlg_hash_cursor *cur, struct dlg_cell **out, unsigned max,
		       enum dlg_holder holder);

/* The same for those dialogs that `match` wants; it runs under the entry lock, for at most
 * DLG_HASH_SCAN dialogs at a time. */
enum { DLG_HASH_SCAN = 256 };
unsigned dlg_hash_page_of(struct dlg_hash_cursor *cur, struct dlg_cell **out, unsigned max,
			  dlg_hash_match *match, void *arg, enum dlg_holder holder);

/* How full the table is: entries with dialogs, and dialogs in the fullest one. No lock: a moment's
 * impression. */
void dlg_hash_fill(uint32_t *used, uint32_t *fullest);

/* The id the next dialog of an entry gets, at start-up only (restore, tests). 0 is skipped. */
void dlg_hash_set_next_id(uint32_t h_entry, uint32_t h_id);

/* A text of the INVITE; valid as long as the cell is held. No lock needed. */
struct dlg_str dlg_hash_text(const struct dlg_cell *dlg, enum dlg_text which);

/* The leg with that To tag, or NULL. Entry lock held. */
struct dlg_leg *dlg_hash_leg_locked(const struct dlg_cell *dlg, struct dlg_str tag);

/* The last CSeq number in that direction, of the party or of us in its name. Entry lock held. */
static inline uint32_t dlg_hash_last_cseq_locked(const struct dlg_leg *leg, enum dlg_dir dir)
{
	return leg->cseq[dir] > leg->own_cseq[dir] ? leg->cseq[dir] : leg->own_cseq[dir];
}

/* The leg that stands for the callee: the first one that was answered, before that the first one;
 * NULL when there is none. Entry lock held. */
const struct dlg_leg *dlg_hash_main_leg_locked(const struct dlg_cell *dlg);

/* A leg not yet linked, with a copy of tag and route set; NULL without memory, or when one of them
 * is longer than 64 KB. No lock needed. */
struct dlg_leg *dlg_hash_leg_new(struct dlg_str tag, struct dlg_str route_set);
void dlg_hash_leg_free(struct dlg_leg *leg);

/* Link it last; the cell owns it from now on. 0, or -1 when there are too many. Entry lock held. */
int dlg_hash_leg_add_locked(struct dlg_cell *dlg, struct dlg_leg *leg, unsigned max);

/* Legs that were answered and have not ended, `but` (may be NULL) left out; of them, those whose
 * ACK passed in *acked. Those that are being ended count: it may fail. Entry lock held. */
unsigned dlg_hash_live_legs_locked(const struct dlg_cell *dlg, const struct dlg_leg *but,
				   unsigned *acked);

/* "entry:id Call-ID" into a static buffer of the process, for log lines. */
const char *dlg_hash_name(const struct dlg_cell *dlg);

/* Names of holders ("transaction", ...), for the report on overdue dialogs. */
const char *dlg_hash_holder_name(enum dlg_holder holder);

/* "transaction=1 sender=2": who holds the dialog besides the table and the engine's own
 * functions, into `out`. Takes and drops the entry lock. */
void dlg_hash_holders(const struct dlg_cell *dlg, char *out, size_t size);

/* What the table itself says, as opposed to the counters. */
struct dlg_hash_census {
	uint32_t cells;
	uint32_t by_state[DLG_STATES];
	uint32_t armed;     /* cells with an armed timer */
	uint32_t misplaced; /* cells whose entry, place in it or table reference is wrong */
	uint32_t refs[DLG_HOLDERS];
	uint32_t fullest;   /* cells in the fullest entry */
	struct dlg_profile_census profiles;
};

/* Count cell by cell, under each entry's lock in turn. */
void dlg_hash_count(struct dlg_hash_census *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_HANDLERS_H
#define DLG_HANDLERS_H
/* What each SIP event does to dialogs: the engine's side of the port (host/host.h is the other).
 *
 * A request changes a call only when the script lets it pass: matching (dlg_handlers_on_route())
 * merely makes the dialog the message's current one; CSeq, lifetime and state follow when the
 * host reports that the request was forwarded, the contact when its 2xx comes back (RFC 3261
 * 12.2.1.2, 12.2.2).
 *
 * All functions may be called in any process, in any order that the network and the host's
 * scheduling can produce, and again for retransmissions. None is called with a lock of the
 * engine held. */

#include "dlg_hash.h"
#include "host/host.h"

/* The message in hand: filled by the engine, kept by the adapter (host_ctx()) until the script
 * is through. */
struct dlg_ctx {
	struct dlg_cell *dlg;  /* held as DLG_BY_MESSAGE, or NULL */
	struct dlg_leg *leg;   /* of a sequential request, or NULL when it was lost */
	uint8_t dir;           /* enum dlg_dir */
	uint8_t method;        /* enum host_method */
	uint8_t created;       /* the dialog's initial INVITE */
	uint8_t searched;      /* matching was tried */
	uint8_t attached;      /* a transaction carries the dialog on */
	uint32_t cseq;
};

/* What the engine attaches to a transaction (shared memory). */
struct dlg_tx {
	struct dlg_cell *dlg;  /* held as DLG_BY_TRANSACTION */
	struct dlg_leg *leg;
	uint8_t dir, method, initial, announced, refreshed;
	uint8_t tried;         /* the script had it forwarded, with success or not */
	uint8_t passed;        /* under the entry lock: the request has had its effect */
	uint32_t cseq;
	uint32_t lifetime;     /* of the timeout AVP when the transaction was made; 0 none */
	uint32_t contact_len;
	char contact[];        /* target refresh requests: the sender's new contact */
};

enum dlg_tx_event {
	/* a BYE is about to be forwarded, by the script's wish; whether it can be is not known yet, nor
	 * where to. May repeat */
	DLG_TX_TRIED,
	DLG_TX_FORWARDED,   /* the request was sent on at least one branch; may repeat */
	DLG_TX_PROVISIONAL, /* 1xx about to be relayed to the sender; may repeat */
	/* 2xx about to be relayed; may repeat (retransmissions, several callees) */
	DLG_TX_SUCCESS,
	DLG_TX_ANSWERED,    /* 2xx made by the proxy about to be sent to the sender */
	/* final 3xx..6xx about to be sent to the sender, relayed or made by the proxy */
	DLG_TX_NEGATIVE,
	DLG_TX_GONE,        /* the transaction is being freed: last event */
};

/* create_dialog() (manual 1.6.1). 1: created now or before; -1: not an initial INVITE, or a bad
 * one, or no memory for the dialog or, in match mode 0, its cookie; 0: a retransmission that the
 * transaction layer has absorbed, or whose original is still in another worker's script: the script
 * must stop. */
int dlg_handlers_create(struct host_msg *msg);

/* The host makes a transaction for a request: creates the dialog if dlg_flag asks for it, and
 * attaches the message's dialog to it. The host may hold a lock of its own: nothing is sent and
 * no callback runs. */
void dlg_handlers_on_new_tx(struct host_msg *msg, struct host_tx *t);

/* A request that was suspended goes on, in a new slot, and its transaction is the current one: what
 * that knows of it is known again. No lock held. */
void dlg_handlers_on_resume(struct host_msg *msg);

/* A request has a Route entry of ours on top: match by cookie or SIP elements (manual 1.5.10).
 * `params`: its URI parameters, of a pair those of either, because record_route() puts the cookie
 * in both. Makes the dialog current. */
void dlg_handlers_on_route(struct host_msg *msg, struct dlg_str params);

/* An event of a transaction. `req`, `rpl` may be NULL; for DLG_TX_GONE `t`, `req`, `rpl` are
 * NULL and `tx` is freed. */
void dlg_handlers_on_tx_event(struct dlg_tx *tx, enum dlg_tx_event event, struct host_tx *t,
			      struct host_msg *req, struct host_msg *rpl, int code);

/* The script is through with a request; `forwarded`: it was sent on while the script ran (an
 * ACK, stateless forwarding, or the transaction layer's), or it is a BYE and the script has
 * answered it with 2xx without a transaction. To be called for every request that has a slot, and
 * for every one that was forwarded. Gives the message's references back and empties the slot. */
void dlg_handlers_msg_end(struct host_msg *msg, struct dlg_ctx *ctx, int forwarded);

/* The current dialog, or NULL: of the request, else of the current transaction (branch, reply,
 * failure routes). Borrowed: it is held until the message ends. In modes 1 and 2 a request that
 * loose_route() has not matched yet is matched here. *dir (may be NULL) gets the direction of the
 * request. */
struct dlg_cell *dlg_handlers_current(struct host_msg *msg, enum dlg_dir *dir);

/* $DLG_status: the state after the request in hand, should it pass; 0 without a dialog. */
int dlg_handlers_status(struct host_msg *msg);

/* validate_dialog() (manual 1.6.2): 1 the request fits the dialog, -1 not, or there is none, 0 a
 * retransmission of one that passed, or the ACK of an answer of ours, which the transaction layer
 * has absorbed: the script must stop. Changes nothing. */
int dlg_handlers_validate(struct host_msg *msg);

/* End a call (manual 1.8.3). Answered: BYEs; before: a final error and CANCELs. Called from a
 * callback about a transaction, it is carried out by the timer process within two seconds, so
 * that nothing of ours overtakes the message in hand, or tried again for about a minute while
 * nothing can be sent; extra headers are refused then. So it is before the answer where the host
 * cannot refuse the INVITE (host_tx_refuse()). The caller holds a reference. Returns 0, or -1 with a
 * reason in *why: ended already, nothing could be sent, no transaction yet. */
int dlg_handlers_end(struct dlg_cell *dlg, struct dlg_str headers, const char **why);

/* The same for one call of many, without extra headers. One whose parties' hosts must be looked up
 * is left to the process that may wait for that (dlg_handlers_on_timeout()): 0 then says that it
 * will be ended, not that it is. Takes and drops the entry lock. */
int dlg_handlers_end_without_waiting(struct dlg_cell *dlg, const char **why);

/* Run the dialog's callbacks of that kind in a process that must not send: what they end with
 * dlg_handlers_end() is left to the timer process, as above. No lock held. */
void dlg_handlers_call_back(struct dlg_cell *dlg, int type);

/* The dialog's timer is due (dlg_timer.c). The caller's reference (DLG_BY_LOCAL) is consumed. A
 * call that would be ended with BYE, or again, waits for the next tick unless `may_send`, and is
 * passed on to the second wheel when its parties' hosts must be looked up, unless this process
 * `may_wait`. Returns 1 when BYEs were made so, else 0. Those that could not be sent are tried
 * again, for about a minute. */
int dlg_handlers_on_timeout(struct dlg_cell *dlg, int may_send, int may_wait);

#endif

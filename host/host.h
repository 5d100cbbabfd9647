/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOST_H
#define HOST_H
/* The port: everything the engine asks of the SIP proxy that loads it.
 *
 * An adapter (host/kamailio, host/opensips, test/sim) implements every function declared here
 * and contains no dialog logic. The other direction, host to engine, is dlg_handlers.h,
 * dlg_timer.h (the tick), mi/fifo.h (the FIFO process) and dialog.h (tables, init and exit). One
 * adapter is linked into each module, so these are plain function calls.
 *
 * Views (struct dlg_str) that an adapter returns stay valid until the inbound call during which
 * they were asked for returns. None of these functions may be called with a lock of the engine
 * held, except host_mono_ms(), host_wall_s(), host_sock_text(), and
 * host_shm_alloc()/host_shm_free() by dlg_mem.c. */

#include "../dlg_str.h"

struct host_msg;  /* a SIP message as the proxy holds it */
struct host_tx;   /* a server transaction of the proxy (RFC 3261 17.2) */
struct host_sock; /* a local socket; the same address in every process */
struct host_var;  /* a script variable, compiled at start */
struct dlg_tx;    /* dlg_handlers.h: what the engine attaches to a transaction */
struct dlg_ctx;   /* dlg_handlers.h: what the engine knows about the message in hand */

/* ---- memory, time, log ---- */

/* Shared memory, visible at the same address in all processes. NULL when exhausted. */
void *host_shm_alloc(size_t size);
void host_shm_free(void *p);

/* Monotonic milliseconds (never steps back) and wall clock seconds since the epoch. */
uint64_t host_mono_ms(void);
int64_t host_wall_s(void);

/* Sleep. Processes of the engine only, and at exit: none that handles messages may wait. */
void host_pause(unsigned ms);

enum host_level { HOST_ERROR, HOST_WARNING, HOST_NOTICE, HOST_INFO, HOST_DEBUG };

/* One log line without a final newline; the adapter passes it through dlg_str_printable(), because
 * it may hold text from the wire. host_log_on() says whether a level is printed at all;
 * use the macro, which evaluates its arguments only then. */
int host_log_on(enum host_level level);
void host_log(enum host_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define HOST_LOG(level, ...)                       \
	do {                                       \
		if (host_log_on(level))            \
			host_log(level, __VA_ARGS__); \
	} while (0)

/* ---- reading a message ---- */

enum host_method {
	HOST_OTHER, HOST_INVITE, HOST_ACK, HOST_BYE, HOST_CANCEL, HOST_UPDATE, HOST_PRACK,
};

/* What identifies a message in terms of RFC 3261 section 12. URIs come bare: no display name, no
 * angle brackets, no header parameters. Missing pieces are empty views. */
struct host_info {
	int is_request;
	int code;                 /* of a reply */
	enum host_method method;  /* of a reply: the CSeq method */
	uint32_t cseq;
	struct dlg_str call_id, from_tag, to_tag;
	struct dlg_str from_uri, to_uri; /* of messages without To tag only */
	struct dlg_str ruri;      /* Request-URI as received, before the script changed it */
	struct dlg_str via_branch; /* branch of the topmost Via */
};

/* Returns 0, or -1 for a message without a usable Call-ID, From, To or CSeq. */
int host_msg_info(struct host_msg *msg, struct host_info *out);

/* To tag, also of a message that host_msg_info() would refuse. Empty when there is none. */
struct dlg_str host_msg_to_tag(struct host_msg *msg);

enum host_header { HOST_RECORD_ROUTE, HOST_ROUTE };

/* How far one has come in the headers of a message; all-zero at the beginning. For the adapter. */
struct host_walk {
	int begun;
	const void *at;
	struct dlg_str rest;
	unsigned contacts;      /* passed by */
	struct dlg_str contact; /* the last one's body */
};

/* Raw body of the next header of that name, in message order; 0 found, -1 no more. A body may hold
 * several comma separated entries. */
int host_msg_header(struct host_msg *msg, enum host_header name, struct host_walk *walk,
		    struct dlg_str *body);

/* URI of the only Contact, as dlg_route_clean() leaves it. Empty when there is none, several, "*",
 * or it cannot be parsed. `walk`: over the headers of the message, wherever it is: it is finished
 * here, so that nobody has to walk twice. */
struct dlg_str host_msg_contact(struct host_msg *msg, struct host_walk *walk);

/* How many leading Route entries of a request were put there by this proxy and are consumed by
 * it (0, 1, or 2 with double record-routing); -1 when the previous hop is a strict router, so
 * that the Request-URI was ours and the last Route entry is the remote target (RFC 3261 16.4). */
int host_msg_own_routes(struct host_msg *msg);

/* Socket the message came in on. */
const struct host_sock *host_msg_sock(struct host_msg *msg);

/* "udp:127.0.0.1:5060". The view stays valid for ever. Empty for NULL. */
struct dlg_str host_sock_text(const struct host_sock *sock);

/* The local socket of that text, or NULL when there is none. Init phase. */
const struct host_sock *host_sock_find(struct dlg_str text);

/* A directory of the proxy's own for files that matter while it runs and when it starts again: the
 * default place of the journal. */
const char *host_state_dir(void);

/* Nonzero when the message flag `bit` (0..31) is set. */
int host_msg_flag(struct host_msg *msg, int bit);

/* ---- script variables ---- */

/* Compile an AVP or script variable for reading (timeout_avp). NULL when `text` is none of both.
 * Init phase. */
struct host_var *host_var_compile(const char *text);

/* Its value as text; an integer is printed into a buffer of the adapter. 0, or -1 when it is
 * null. */
int host_var_get(struct host_msg *msg, struct host_var *var, struct dlg_str *out);

/* Assign text to an output variable of a script function. 0 or -1. */
int host_var_set(struct host_msg *msg, struct host_var *var, struct dlg_str value);

/* Assign a number to one. 0 or -1. */
int host_var_set_number(struct host_msg *msg, struct host_var *var, int64_t number);

/* ---- the message's context ---- */

/* The engine's slot for the message in hand, zeroed when the message is new to this process, or
 * NULL when the message has no slot of its own (a reply, or the copy of a request that a branch,
 * reply or failure route sees). The adapter calls dlg_handlers_msg_end() exactly once for a slot
 * it handed out, when the script is through. */
struct dlg_ctx *host_ctx(struct host_msg *msg);

/* What dlg_handlers attached to the transaction that is current in this process; NULL if
 * nothing. */
struct dlg_tx *host_tx_of(struct host_msg *msg);

/* ---- transactions ---- */

/* Nonzero when the request is a retransmission, or the ACK of a negative answer, that the proxy's
 * transaction layer has absorbed. */
int host_tx_is_retransmission(struct host_msg *msg);

/* The transaction already made for this request, or NULL. */
struct host_tx *host_tx_current(struct host_msg *msg);

/* Deliver the events of `t` to dlg_handlers_on_tx_event(tx, ...), among them exactly one
 * DLG_TX_GONE as the last. Returns 0, or -1 (then no event comes). */
int host_tx_attach(struct host_msg *msg, struct host_tx *t, struct dlg_tx *tx);

/* Names a transaction across processes and after its end. */
struct host_tx_id {
	uint32_t a, b;
};

/* The name of `t`, also while it is being made (dlg_handlers_on_new_tx()). */
struct host_tx_id host_tx_id(struct host_tx *t);

/* Answer an INVITE transaction with a final error and cancel its pending branches (RFC 3261 16.10).
 * Returns 0, or -1 when it is gone or answered already, or 1: not here, where the script may run
 * under a lock of the host; another process can. The reply comes back as DLG_TX_NEGATIVE. */
int host_tx_refuse(struct host_tx_id id, int code, const char *reason);

/* While DLG_TX_PROVISIONAL/SUCCESS is delivered: how many Record-Route entries this proxy put on
 * the branch that answered; 0 when the script did not call record_route(). */
int host_tx_own_record_routes(struct host_tx *t);

/* ---- Record-Route ---- */

/* Append `param` (";did=...") to our Record-Route, whether record_route() ran already or will. 0
 * or -1. */
int host_rr_add(struct host_msg *msg, struct dlg_str param);

/* ---- requests the engine sends ---- */

/* An in-dialog request. `cseq` is used as it is. `route_set` is a comma separated list in Route
 * order; the adapter applies RFC 3261 12.2.1.1 (loose and strict first hop). `headers` is empty
 * or complete lines, each ended by CRLF. */
struct host_request {
	struct dlg_str method, call_id;
	struct dlg_str from_uri, from_tag, to_uri, to_tag;
	struct dlg_str remote_target, route_set, headers;
	uint32_t cseq;
	const struct host_sock *sock;
};

/* Send it from this process. Returns 0 and later calls dlg_req_within_done(token, code) exactly
 * once, in any process, with the final status (408 when nobody answered); or -1 when it could
 * not be sent: then nothing is called. */
int host_send_within(const struct host_request *req, void *token);

#endif

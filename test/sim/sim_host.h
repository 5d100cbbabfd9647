/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_HOST_H
#define SIM_HOST_H
/* The simulated proxy: everything in host/host.h, in one process, with a virtual clock,
 * accounting and faults.
 *
 * Nothing happens by itself: tests make messages and transactions, call the engine and deliver
 * events. Threads may do so side by side, in place of processes, as long as there are no faults.
 * Whatever the engine does wrong towards its host is recorded as a violation; the first one is kept
 * in words. */

#include <stdint.h>

#include "../../dialog.h"
#include "../../dlg_handlers.h"
#include "../../host/host.h"

/* ---- random numbers: every choice comes from one seed ---- */

/* Start a sequence. */
void sim_seed(uint64_t seed);
/* The next number. */
uint64_t sim_random(void);
/* A number in 0..n-1; 0 for n < 2. */
unsigned sim_below(unsigned n);
/* Nonzero once in n times; n 0 is never. */
int sim_one_in(unsigned n);

/* ---- clock ---- */

/* Set the monotonic clock; the wall clock runs along from a fixed date. */
void sim_set_ms(uint64_t ms);
/* Move it on. Nothing is called. */
void sim_advance(uint64_t ms);
/* Somebody sets the wall clock, forward or back. */
void sim_set_wall(int64_t seconds_on);

/* ---- faults ---- */

struct sim_faults {
	long shm_allow;        /* host_shm_alloc() calls that may still succeed; -1: all */
	long mem_allow;        /* the same of dlg_mem_alloc() (needs wrap.opts) */
	long mem_fail;         /* that dlg_mem_alloc() from now on fails, 1 the next, and no other; 0 none */
	int images_fail;       /* dlg_db_image_locked() finds no private memory (needs wrap.opts) */
	unsigned mem_one_in;   /* one in n dlg_mem_alloc() fails; 0 none */
	unsigned send_one_in;  /* ... host_send_within() */
	unsigned attach_one_in, rr_one_in, refuse_one_in;
	int send_fail_mask;    /* bit i: the i-th send from now on fails */
};
extern struct sim_faults sim_faults;
/* Nonzero: every host_send_within() of this process fails. */
extern _Thread_local int sim_sends_fail;

/* No faults. */
void sim_faults_off(void);

/* Memory of the host in use. */
struct sim_shm {
	size_t blocks, bytes;
	uint64_t failed; /* allocations refused so far, dlg_mem_alloc() included */
};
extern struct sim_shm sim_shm;

/* From now on host_shm_alloc() gives memory that forked processes really share. Nothing of it is
 * reused. */
int sim_shm_share(void);

/* ---- violations and log ---- */

/* Record that a rule was broken. Only the first one is kept. */
void sim_violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The first violation, or NULL. */
const char *sim_violated(void);
/* Forget it. */
void sim_violation_clear(void);

/* Lines logged at HOST_ERROR, HOST_WARNING ... since sim_log_clear(), and the last ones. */
extern unsigned sim_log_count[HOST_DEBUG + 1];
/* Forget all lines. */
void sim_log_clear(void);
/* The newest line of that level or above which contains `text`, or NULL. */
const char *sim_log_find(enum host_level level, const char *text);
/* Least important level that is printed at all (default HOST_DEBUG: everything is formatted). */
extern enum host_level sim_log_level;

/* ---- sockets and variables ---- */

enum { SIM_SOCKS = 2 };
extern const struct host_sock *const sim_sock[SIM_SOCKS];

/* Set a script variable of a message to text; NULL unsets it. */
void sim_var_set(struct host_msg *msg, const char *name, const char *text);
/* Its text, or NULL. */
const char *sim_var_get(struct host_msg *msg, const char *name);

/* ---- messages ---- */

enum { SIM_ROUTES = 4, SIM_VARS = 4, SIM_ARENA = 4096, SIM_VALUE = 256 };

enum sim_field {
	SIM_CALL_ID, SIM_FROM_URI, SIM_FROM_TAG, SIM_TO_URI, SIM_TO_TAG, SIM_RURI, SIM_VIA_BRANCH,
	SIM_CONTACT, SIM_ROUTE_PARAMS,
	SIM_RECORD_ROUTE, SIM_ROUTE = SIM_RECORD_ROUTE + SIM_ROUTES,
	SIM_FIELDS = SIM_ROUTE + SIM_ROUTES
};

struct host_msg {
	struct host_msg *prev, *next; /* of all messages */
	int is_request, code;
	enum host_method method;
	uint32_t cseq;
	int broken;           /* host_msg_info() fails */
	int own_routes;
	const struct host_sock *sock;
	uint32_t flags;
	int retransmission;   /* absorbed by the transaction layer */
	int has_slot;         /* 0: a reply, or the copy of a request in a transaction */
	int slot_used, ended;
	struct dlg_ctx ctx;
	struct host_tx *tx;   /* the transaction made for it */
	char rr_added[64];    /* what host_rr_add() was given */
	unsigned rr_adds;
	struct { char name[32], text[SIM_VALUE]; } var[SIM_VARS];
	struct dlg_str field[SIM_FIELDS];
	size_t used;
	char arena[SIM_ARENA];
};

/* A message with nothing in it but kind and method; requests have a slot. */
struct host_msg *sim_msg_new(int is_request, enum host_method method);
/* A copy without a slot, as kept by a transaction. */
struct host_msg *sim_msg_copy(const struct host_msg *msg);
/* Free it. Its script must have ended. */
void sim_msg_free(struct host_msg *msg);
/* Set a field. */
void sim_msg_set(struct host_msg *msg, int field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The script is through: calls dlg_handlers_msg_end() if the engine took the slot. */
void sim_msg_end(struct host_msg *msg, int forwarded);
/* Messages whose slot holds a dialog. */
unsigned sim_msgs_holding(void);

/* ---- transactions ---- */

struct host_tx {
	struct host_tx *prev, *next;
	struct host_tx_id id;
	struct host_msg *req;     /* the copy */
	struct dlg_tx *attached;  /* NULL: no events wanted */
	int own_record_routes;
	int final;                /* status of the final reply sent upstream, or 0 */
	int refused;              /* by host_tx_refuse() */
	int found;                /* it can be looked up */
	int locked;               /* by this process, which runs a failure route of it */
	int busy;                 /* events being delivered, or taken: the reply lock is held */
	void *owner;
	void (*on_refuse)(struct host_tx *t); /* after the NEGATIVE event; may be NULL */
};

/* The transaction layer makes a transaction for a request; tells the engine, as TM does. */
struct host_tx *sim_tx_new(struct host_msg *msg);
/* Deliver an event other than DLG_TX_GONE. `rpl` NULL: made by the proxy. A final status is
 * noted in the transaction. */
void sim_tx_event(struct host_tx *t, enum dlg_tx_event event, struct host_msg *rpl, int code);
/* Threads that run side by side: wait until nobody delivers an event to it, and let the next one do
 * so. A host delivers replies one at a time, and DLG_TX_GONE when nobody has it any more. */
void sim_tx_take(struct host_tx *t);
void sim_tx_give(struct host_tx *t);
/* It is freed: delivers DLG_TX_GONE. */
void sim_tx_free(struct host_tx *t);
/* All that are left go away. */
void sim_txs_free(void);
/* The request of a transaction goes on after it was suspended, with a slot of its own. */
struct host_msg *sim_tx_resume(const struct host_tx *t);
/* Transactions with something of the engine attached. */
unsigned sim_txs_holding(void);
/* Make `t` current in this process, as in a branch, reply or failure route; NULL none. Returns
 * the one before. */
struct host_tx *sim_tx_enter(struct host_tx *t);

/* dlg_handlers_on_route() as the record-route module calls it: not for a Route without
 * parameters. */
void sim_on_route(struct host_msg *msg);

/* ---- requests sent by the engine ---- */

struct sim_sent {
	struct sim_sent *next;
	void *token;
	char method[16], call_id[256], from_uri[256], from_tag[128], to_uri[256], to_tag[128];
	char target[256], route_set[1024], headers[1024];
	uint32_t cseq;
	const struct host_sock *sock;
	int done; /* the outcome was delivered */
};

/* All that were accepted since sim_sent_clear(), oldest first. */
struct sim_sent *sim_sent_list(void);
/* How many wait for their outcome. */
unsigned sim_sent_pending(void);
/* How many were tried, refused ones included. */
extern unsigned sim_sends_tried;
/* Deliver the outcome of one. */
void sim_sent_done(struct sim_sent *s, int code);
/* Deliver the outcome of the oldest that waits; 0 when none does. For threads. */
int sim_sent_next(int code);
/* Deliver `code` to all that wait. */
void sim_sent_all(int code);
/* Forget those that are done. */
void sim_sent_clear(void);

/* ---- start ---- */

/* Profiles of the simulation, unless a test has set others. */
#define SIM_PROFILES          "caller ; trunk"
#define SIM_PROFILES_NO_VALUE "inbound ; out_bound"

/* Default parameters with a small table, no faults, clock at a day; then dialog_init() and
 * dialog_load(). The engine
 * can be started once per process. 0 or -1. */
int sim_start(uint32_t hash_size);

/* Run the timer once for every second of `seconds`, moving the clock. */
void sim_run(unsigned seconds);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_CALL_H
#define SIM_CALL_H
/* Calls through the simulated proxy, one step at a time: a request or a reply passes the proxy's
 * script, which is told what to do.
 *
 * A call may pass the proxy twice (a spiral): pass 0 is the one next to the caller. Tests that
 * don't care use pass 0 only. */

#include "sim_host.h"

enum { SIM_LEGS = 3, SIM_PASSES = 2 };

/* How the script asks for a dialog. */
enum sim_create {
	SIM_CREATE_BEFORE, /* create_dialog(), then record_route() */
	SIM_CREATE_AFTER,
	SIM_CREATE_FLAG,   /* dlg_flag */
	SIM_CREATE_BOTH,
	SIM_CREATE_NONE,
};

/* What becomes of a request. */
enum sim_fate {
	SIM_RELAY,     /* t_relay() */
	SIM_STATELESS, /* forward() */
	SIM_T_REPLY,   /* t_newtran(), t_reply(code) */
	SIM_SL_REPLY,  /* sl_send_reply(): nothing but the end of the script */
	SIM_DROP,      /* exit */
};

struct sim_script {
	enum sim_create create; /* initial INVITEs */
	int record_route;       /* entries added: 0, 1 or 2 */
	enum sim_fate fate;
	int code;               /* of SIM_T_REPLY, 2xx or negative */
	int tried;              /* SIM_T_REPLY: t_relay() had no success */
	int validate;           /* answer 403 when validate_dialog() refuses */
	int keep_open;          /* the script is not through yet: the test calls sim_step_end() */
	void (*extra)(struct host_msg *msg); /* more of the script, before the request's fate */
};

struct sim_leg {
	char tag[64], contact[128];
	char routes[256]; /* foreign Record-Route between the proxy and the callee, as in the 2xx */
	uint32_t cseq;                /* of the callee's last request */
};

struct sim_pass {
	struct host_tx *invite;  /* its transaction; NULL when gone */
	char cookie[64];         /* the value of did; empty without */
	int record_routes;       /* entries of ours */
	unsigned branch;         /* number in the INVITE's Via branch */
};

struct sim_call {
	char call_id[160], from_tag[64], from_uri[96], to_uri[96];
	char contact[128], routes[256]; /* the caller's; Record-Route between it and the proxy */
	uint32_t cseq, invite_cseq;     /* of the caller's last request, of its INVITE */
	struct sim_leg leg[SIM_LEGS];
	struct sim_pass pass[SIM_PASSES];
};

/* One request; zero means the honest value of the call. */
struct sim_request {
	enum host_method method;
	enum dlg_dir dir;
	int leg, pass;
	int initial;                 /* the INVITE that starts the call */
	uint32_t cseq;
	unsigned branch;             /* number in the Via branch; 0: a new one */
	const char *contact, *ruri, *cookie, *call_id, *from_tag, *to_tag;
	const char *routes;          /* of foreign proxies behind ours */
	int no_route;                /* no Route header at all */
	int bare_route;              /* ours has lost all its parameters */
	const char *only_route;      /* the only Route, somebody else's */
	int strict;                  /* behind a strict router: ours came as Request-URI */
	const char *timeout;         /* value of $avp(timeout) */
	int retransmission;
};

/* The names the sample scripts use. */
#define SIM_TIMEOUT_VAR "$avp(timeout)"
enum { SIM_DLG_FLAG = 4, SIM_BYE_FLAG = 5 };

/* The usual script: create_dialog(), record_route(), t_relay(). */
extern const struct sim_script sim_usual;
/* loose_route(), validate_dialog() or 403, t_relay(). */
extern const struct sim_script sim_checked;

/* A call that has not begun yet. Calls of the same number have the same Call-ID. */
void sim_call_init(struct sim_call *call, unsigned number);

/* A message of the call, not yet delivered. */
struct host_msg *sim_request_msg(struct sim_call *call, const struct sim_request *r);
struct host_msg *sim_reply_msg(struct sim_call *call, const struct host_tx *t, int leg, int code,
			       const char *contact);

/* What the proxy did with a request. */
struct sim_result {
	struct host_tx *tx; /* made for it, or NULL */
	int created;        /* result of create_dialog(), or of the flag (1); 0 not asked */
	int validated;      /* result of validate_dialog(); 0 not asked */
	int status;         /* $DLG_status at the end of the script */
	int refused;        /* final code the script answered with, or 0 */
	int forwarded;
	struct host_msg *open; /* with keep_open */
	int fate_forward;   /* for sim_step_end() */
};

/* The message passes the script and is freed. The Request's transaction, if any, stays. */
struct sim_result sim_step(struct sim_call *call, const struct sim_request *r,
			   const struct sim_script *script);
/* The script of a message that was kept open ends. */
void sim_step_end(struct sim_result *res);

/* The reply route of the script, if there is one: sees each reply before the transaction does. */
extern void (*sim_on_reply)(struct host_msg *rpl);

/* A reply reaches the transaction: 101..199 and 2xx are relayed, others become the final answer. */
void sim_reply(struct sim_call *call, struct host_tx *t, int leg, int code);
/* The same with another Contact than the leg's; "" for none. */
void sim_reply_from(struct sim_call *call, struct host_tx *t, int leg, int code,
		    const char *contact);

/* ---- whole steps for tests that read like a call ---- */

/* The INVITE passes with the usual script. Returns its transaction. */
struct host_tx *sim_invite(struct sim_call *call);
/* A reply to the INVITE. */
void sim_answer(struct sim_call *call, int leg, int code);
/* ACK of a 2xx. */
struct sim_result sim_ack(struct sim_call *call, int leg);
/* A sequential request is relayed and gets `code` (0: no reply yet); its transaction goes away
 * when there was a final reply. */
struct sim_result sim_within(struct sim_call *call, enum host_method method, enum dlg_dir dir,
			     int leg, int code);
/* INVITE, 180, 200, ACK; the INVITE's transaction is gone. */
void sim_talk(struct sim_call *call);
/* The INVITE's transaction goes away. */
void sim_gone(struct sim_call *call);

/* The dialog of the call in this pass (by its cookie), or NULL; held by the engine's table only:
 * for looking at once. */
const struct dlg_cell *sim_peek(const struct sim_call *call);
/* Its state, or 0 when there is none. */
int sim_state(const struct sim_call *call);

/* sim_start() with the names above as parameters. */
int sim_call_start(uint32_t hash_size);

#endif

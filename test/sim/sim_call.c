/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_call.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../dlg_cookie.h"

const struct sim_script sim_usual = { .record_route = 1 };
const struct sim_script sim_checked = { .validate = 1 };

static const struct dialog_arg no_args[DIALOG_ARGS_MAX];
static unsigned last_branch;

static unsigned new_branch(void)
{
	return __atomic_add_fetch(&last_branch, 1, __ATOMIC_RELAXED);
}

int sim_call_start(uint32_t hash_size)
{
	static char timeout_var[] = SIM_TIMEOUT_VAR;

	dialog_conf.dlg_flag = SIM_DLG_FLAG;
	dialog_conf.bye_on_timeout_flag = SIM_BYE_FLAG;
	dialog_conf.timeout_avp = timeout_var;
	return sim_start(hash_size);
}

#define TEXT(out, ...) snprintf(out, sizeof(out), __VA_ARGS__)

void sim_call_init(struct sim_call *call, unsigned number)
{
	memset(call, 0, sizeof(*call));
	TEXT(call->call_id, "call-%u@127.0.0.9", number);
	TEXT(call->from_tag, "ft%u", number);
	TEXT(call->from_uri, "sip:alice@example.com");
	TEXT(call->to_uri, "sip:bob@example.org");
	TEXT(call->contact, "sip:alice@127.0.0.9:5080");
	call->cseq = 10;
	for (int i = 0; i < SIM_LEGS; i++) {
		TEXT(call->leg[i].tag, "tt%u-%d", number, i);
		TEXT(call->leg[i].contact, "sip:bob@127.0.0.9:%d", 5090 + i);
	}
}

/* ---- messages ---- */

static const char * or (const char *given, const char *honest)
{
	return given ? given : honest;
}

static void set_parties(struct host_msg *msg, struct sim_call *call, const struct sim_request *r)
{
	const char *callee_tag = r->initial ? "" : call->leg[r->leg].tag;
	int up = r->dir == DLG_DIR_UPSTREAM;

	sim_msg_set(msg, SIM_CALL_ID, "%s", or (r->call_id, call->call_id));
	sim_msg_set(msg, SIM_FROM_URI, "%s", up ? call->to_uri : call->from_uri);
	sim_msg_set(msg, SIM_TO_URI, "%s", up ? call->from_uri : call->to_uri);
	sim_msg_set(msg, SIM_FROM_TAG, "%s", or (r->from_tag, up ? callee_tag : call->from_tag));
	sim_msg_set(msg, SIM_TO_TAG, "%s", or (r->to_tag, up ? call->from_tag : callee_tag));
	sim_msg_set(msg, SIM_CONTACT, "%s",
		    or (r->contact, up ? call->leg[r->leg].contact : call->contact));
}

/* The parameters of our Route. */
static void set_route_params(struct host_msg *msg, const struct sim_call *call,
			     const struct sim_request *r)
{
	const char *cookie = or (r->cookie, call->pass[r->pass].cookie);

	if (r->bare_route)
		return;
	if (*cookie)
		sim_msg_set(msg, SIM_ROUTE_PARAMS, "lr;ftag=%s;did=%s", call->from_tag, cookie);
	else
		sim_msg_set(msg, SIM_ROUTE_PARAMS, "lr;ftag=%s", call->from_tag);
}

/* Route headers as RFC 3261 12.2.1.1 makes them from what was recorded. */
static void set_routes(struct host_msg *msg, struct sim_call *call, const struct sim_request *r)
{
	const struct sim_pass *pass = &call->pass[r->pass];
	const char *foreign = or (r->routes, r->dir == DLG_DIR_UPSTREAM ? call->routes
									: call->leg[r->leg].routes);
	int i = 0;

	if (r->only_route)
		sim_msg_set(msg, SIM_ROUTE, "%s", r->only_route);
	if (r->only_route || r->no_route || !pass->record_routes)
		return;
	set_route_params(msg, call, r);
	for (; i < pass->record_routes && !r->strict; i++)
		sim_msg_set(msg, SIM_ROUTE + i, "<sip:127.0.0.1:506%d%s%.*s>", i,
			    r->bare_route ? "" : ";",
			    DLG_STR_ARG(msg->field[SIM_ROUTE_PARAMS]));
	msg->own_routes = r->strict ? -1 : i;
	if (*foreign)
		sim_msg_set(msg, SIM_ROUTE + i, "%s", foreign);
}

static void set_target(struct host_msg *msg, struct sim_call *call, const struct sim_request *r)
{
	const char *target = r->initial                   ? call->to_uri
			     : r->dir == DLG_DIR_UPSTREAM ? call->contact
							  : call->leg[r->leg].contact;

	sim_msg_set(msg, SIM_RURI, "%s", or (r->ruri, target));
}

struct host_msg *sim_request_msg(struct sim_call *call, const struct sim_request *r)
{
	struct host_msg *msg = sim_msg_new(1, r->method);

	set_parties(msg, call, r);
	set_target(msg, call, r);
	sim_msg_set(msg, SIM_VIA_BRANCH, "z9hG4bK%u", r->branch ? r->branch : new_branch());
	msg->cseq = r->cseq;
	msg->retransmission = r->retransmission;
	if (r->initial && *call->routes)
		sim_msg_set(msg, SIM_RECORD_ROUTE, "%s", call->routes);
	else if (!r->initial)
		set_routes(msg, call, r);
	if (r->timeout)
		sim_var_set(msg, SIM_TIMEOUT_VAR, r->timeout);
	return msg;
}

/* Record-Route of a reply: below ours, ours, above ours. */
static void set_recorded(struct host_msg *msg, const struct sim_call *call, const struct host_tx *t,
			 int leg)
{
	int i = SIM_RECORD_ROUTE;

	if (*call->leg[leg].routes)
		sim_msg_set(msg, i++, "%s", call->leg[leg].routes);
	for (int own = 0; own < t->own_record_routes; own++)
		sim_msg_set(msg, i++, "<sip:127.0.0.1:506%d;lr>", own);
	if (*call->routes)
		sim_msg_set(msg, i, "%s", call->routes);
}

struct host_msg *sim_reply_msg(struct sim_call *call, const struct host_tx *t, int leg, int code,
			       const char *contact)
{
	struct host_msg *msg = sim_msg_new(0, t->req->method);

	msg->code = code;
	msg->cseq = t->req->cseq;
	for (int f = SIM_CALL_ID; f <= SIM_TO_URI; f++)
		sim_msg_set(msg, f, "%.*s", DLG_STR_ARG(t->req->field[f]));
	if (t->req->field[SIM_TO_TAG].len)
		sim_msg_set(msg, SIM_TO_TAG, "%.*s", DLG_STR_ARG(t->req->field[SIM_TO_TAG]));
	else
		sim_msg_set(msg, SIM_TO_TAG, "%s", call->leg[leg].tag);
	if (contact && *contact)
		sim_msg_set(msg, SIM_CONTACT, "%s", contact);
	if (code < 300)
		set_recorded(msg, call, t, leg);
	msg->sock = sim_sock[leg & 1];
	return msg;
}

/* ---- the script ---- */

static void make_tx(struct sim_call *call, const struct sim_request *r, struct host_msg *msg,
		    const struct sim_script *script, struct sim_result *res)
{
	struct host_tx *t = sim_tx_new(msg);

	res->tx = t;
	t->own_record_routes = r->initial ? script->record_route : 0;
	if (r->initial)
		call->pass[r->pass].invite = t;
}

static void answer_alone(struct sim_result *res, const struct sim_script *script, int code)
{
	if (script->tried)
		sim_tx_event(res->tx, DLG_TX_TRIED, NULL, 0);
	res->refused = code;
	sim_tx_event(res->tx, code < 300 ? DLG_TX_ANSWERED : DLG_TX_NEGATIVE, NULL, code);
}

static void run_fate(struct sim_call *call, const struct sim_request *r, struct host_msg *msg,
		     const struct sim_script *script, struct sim_result *res)
{
	enum sim_fate fate = script->fate;
	int code = script->code ? script->code : 403;

	if (res->validated < 0)
		fate = SIM_T_REPLY;
	if (r->retransmission || fate == SIM_DROP || fate == SIM_SL_REPLY)
		return;
	if (fate == SIM_STATELESS || r->method == HOST_ACK) {
		if (fate != SIM_T_REPLY) { /* an ACK is never answered */
			res->fate_forward = 1;
			res->forwarded = 1;
		}
		return;
	}
	make_tx(call, r, msg, script, res);
	res->fate_forward = fate == SIM_RELAY;
	if (fate == SIM_RELAY) {
		sim_tx_event(res->tx, DLG_TX_FORWARDED, NULL, 0);
		res->forwarded = 1;
	} else {
		answer_alone(res, script, code);
	}
}

/* create_dialog() found that another worker is at it. */
static int is_stopped(const struct sim_request *r, const struct sim_script *script,
		      const struct sim_result *res)
{
	return r->initial && !r->retransmission && script->create != SIM_CREATE_FLAG &&
	       script->create != SIM_CREATE_NONE && res->created == 0;
}

static void run_create(struct sim_call *call, const struct sim_request *r, struct host_msg *msg,
		       const struct sim_script *script, struct sim_result *res)
{
	struct sim_pass *pass = &call->pass[r->pass];

	if (script->create == SIM_CREATE_FLAG || script->create == SIM_CREATE_BOTH)
		msg->flags |= 1u << SIM_DLG_FLAG;
	if (script->create != SIM_CREATE_FLAG && script->create != SIM_CREATE_NONE)
		res->created = dialog_fn_create_dialog(msg, no_args);
	if (is_stopped(r, script, res))
		return;
	pass->record_routes = script->record_route;
	pass->branch = r->branch;
}

/* What the network will see of the cookie: the value after ";did=". */
static void learn_cookie(struct sim_pass *pass, const struct host_msg *msg)
{
	const char *eq = strchr(msg->rr_added, '=');

	if (msg->rr_adds > 1)
		sim_violation("%u cookies in one Record-Route", msg->rr_adds);
	pass->cookie[0] = '\0';
	if (eq && pass->record_routes)
		TEXT(pass->cookie, "%s", eq + 1);
}

static void begin(struct sim_call *call, struct sim_request *r)
{
	uint32_t *last = r->dir == DLG_DIR_UPSTREAM ? &call->leg[r->leg].cseq : &call->cseq;

	if (!r->dir)
		r->dir = DLG_DIR_DOWNSTREAM;
	if (!r->branch)
		r->branch = new_branch();
	if (!r->cseq) {
		if (r->method != HOST_ACK)
			++*last;
		r->cseq = r->method == HOST_ACK ? call->invite_cseq : *last;
	}
	if (r->initial)
		call->invite_cseq = r->cseq;
}

struct sim_result sim_step(struct sim_call *call, const struct sim_request *request,
			   const struct sim_script *script)
{
	struct sim_request r = *request;
	struct sim_result res = { 0 };
	struct host_msg *msg;

	if (r.dir == DLG_DIR_NONE)
		r.dir = DLG_DIR_DOWNSTREAM;
	begin(call, &r);
	msg = sim_request_msg(call, &r);
	if (msg->own_routes)
		sim_on_route(msg);
	if (script->validate)
		res.validated = dialog_fn_validate_dialog(msg, no_args);
	if (r.initial && !r.retransmission)
		run_create(call, &r, msg, script, &res);
	else if (r.initial)
		res.created = dialog_fn_create_dialog(msg, no_args);
	if (!is_stopped(&r, script, &res)) {
		if (script->extra)
			script->extra(msg);
		run_fate(call, &r, msg, script, &res);
		if (r.initial && !r.retransmission)
			learn_cookie(&call->pass[r.pass], msg);
	}
	res.status = dlg_handlers_status(msg);
	res.open = msg;
	if (!script->keep_open)
		sim_step_end(&res);
	return res;
}

void sim_step_end(struct sim_result *res)
{
	if (!res->open)
		return;
	sim_msg_end(res->open, res->fate_forward);
	sim_msg_free(res->open);
	res->open = NULL;
}

/* ---- replies ---- */

void (*sim_on_reply)(struct host_msg *rpl);

static void run_reply_route(struct host_tx *t, struct host_msg *rpl)
{
	struct host_tx *before = sim_tx_enter(t);

	__atomic_fetch_add(&t->busy, 1, __ATOMIC_ACQUIRE); /* as TM holds it */
	if (sim_on_reply)
		sim_on_reply(rpl);
	sim_tx_give(t);
	sim_tx_enter(before);
}

void sim_reply_from(struct sim_call *call, struct host_tx *t, int leg, int code,
		    const char *contact)
{
	struct host_msg *rpl;

	if (code <= 100)
		return;
	rpl = sim_reply_msg(call, t, leg, code, contact);
	run_reply_route(t, rpl);
	if (code < 200)
		sim_tx_event(t, DLG_TX_PROVISIONAL, rpl, code);
	else if (code < 300)
		sim_tx_event(t, DLG_TX_SUCCESS, rpl, code);
	else
		sim_tx_event(t, DLG_TX_NEGATIVE, rpl, code);
	sim_msg_free(rpl);
}

void sim_reply(struct sim_call *call, struct host_tx *t, int leg, int code)
{
	/* upstream requests are answered by the caller */
	int from_caller = dlg_str_eq(t->req->field[SIM_FROM_TAG], dlg_str_of(call->from_tag)) == 0;

	sim_reply_from(call, t, leg, code, from_caller ? call->contact : call->leg[leg].contact);
}

/* ---- whole steps ---- */

struct host_tx *sim_invite(struct sim_call *call)
{
	return sim_step(call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 },
			&sim_usual)
		.tx;
}

void sim_answer(struct sim_call *call, int leg, int code)
{
	sim_reply(call, call->pass[0].invite, leg, code);
}

struct sim_result sim_ack(struct sim_call *call, int leg)
{
	return sim_step(call, &(struct sim_request){ .method = HOST_ACK, .leg = leg },
			&(struct sim_script){ 0 });
}

struct sim_result sim_within(struct sim_call *call, enum host_method method, enum dlg_dir dir,
			     int leg, int code)
{
	struct sim_request r = { .method = method, .dir = dir, .leg = leg };
	struct sim_result res = sim_step(call, &r, &(struct sim_script){ 0 });

	if (res.tx && code)
		sim_reply(call, res.tx, leg, code);
	if (res.tx && code >= 200) {
		sim_tx_free(res.tx);
		res.tx = NULL;
	}
	return res;
}

void sim_gone(struct sim_call *call)
{
	for (int i = 0; i < SIM_PASSES; i++) {
		if (call->pass[i].invite)
			sim_tx_free(call->pass[i].invite);
		call->pass[i].invite = NULL;
	}
}

void sim_talk(struct sim_call *call)
{
	sim_invite(call);
	sim_answer(call, 0, 180);
	sim_answer(call, 0, 200);
	sim_ack(call, 0);
	sim_gone(call);
}

const struct dlg_cell *sim_peek(const struct sim_call *call)
{
	uint32_t h_entry, h_id;
	struct dlg_cell *dlg;

	if (dlg_cookie_parse(dlg_str_of(call->pass[0].cookie), &h_entry, &h_id) < 0)
		return NULL;
	dlg = dlg_hash_get(h_entry, h_id, DLG_BY_LOCAL);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	return dlg;
}

int sim_state(const struct sim_call *call)
{
	const struct dlg_cell *dlg = sim_peek(call);

	return dlg ? dlg->state : 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_history.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../dlg_mi.h"
#include "../../dlg_profile.h"
#include "sim_audit.h"
#include "sim_call.h"
#include "sim_track.h"
#include "sim_wrap.h"

enum { CALLS = 4, EVENTS_MAX = 2000, TXS_MAX = 600, HASH_SIZE = 4, DRAIN_S = 160 };

enum kind {
	ARRIVAL, /* a request reaches the proxy */
	REPLY,   /* a reply reaches a transaction */
	TIMEOUT, /* nobody answered */
	GONE,    /* a transaction is freed */
	SCRIPT_END,
	UA, /* a party sends a request */
	CANCEL,
	SENT,    /* the outcome of a BYE of ours */
	COMMAND, /* an operator */
	PUT,     /* a module gives a reference back */
};

/* A transaction as the network sees it. */
struct net_tx {
	struct host_tx *t; /* NULL when it is gone */
	struct sim_request req;
	unsigned call, uat;
	int pending, forks, answered;
};

struct event {
	uint64_t due;
	enum kind kind;
	unsigned call, uat;
	int leg, code;
	struct sim_request req;
	struct net_tx *tx;
	struct sim_result open;
};

static struct {
	struct sim_call call[CALLS];
	int passes[CALLS], forks[CALLS], known[CALLS];
	struct sim_script script[CALLS];
	struct event event[EVENTS_MAX];
	unsigned n_events;
	struct net_tx tx[TXS_MAX];
	unsigned n_txs, last_uat;
	unsigned loss, dup;     /* one in n messages */
	int interleaved, exact; /* exact: nobody else meddles while a request is processed */
	int in_tick, late, trace;
	uint64_t next_tick, started;
} w;

struct sim_history_stats sim_history_stats;

/* ---- the network ---- */

static struct event *later(enum kind kind, unsigned call, uint64_t delay)
{
	struct event *e;

	if (w.n_events == EVENTS_MAX) {
		static struct event overflow; /* a message that is lost */

		return &overflow;
	}
	e = &w.event[w.n_events++];
	*e = (struct event){ .due = host_mono_ms() + delay, .kind = kind, .call = call };
	return e;
}

static unsigned latency(void)
{
	return sim_one_in(10) ? sim_below(3000) : 1 + sim_below(60);
}

static int upstream(const struct sim_request *r)
{
	return r->dir == DLG_DIR_UPSTREAM;
}

/* A request travels to a pass of the proxy: lost, retransmitted, doubled. */
static void send_request(unsigned call, unsigned uat, const struct sim_request *r, int pass)
{
	unsigned copies = 1 + sim_one_in(w.dup) + 2 * sim_one_in(w.dup);

	for (unsigned i = 0; i < copies; i++) {
		struct event *e;

		if (sim_one_in(w.loss))
			continue;
		e = later(ARRIVAL, call, latency() + i * 500);
		e->uat = uat;
		e->req = *r;
		e->req.pass = pass;
	}
}

static void send_reply(struct net_tx *tx, int leg, int code, unsigned delay)
{
	for (int copies = 1 + sim_one_in(w.dup); copies > 0; copies--) {
		struct event *e;

		if (sim_one_in(w.loss))
			continue;
		e = later(REPLY, tx->call, delay + latency());
		e->tx = tx;
		e->leg = leg;
		e->code = code;
	}
}

static struct net_tx *find_tx(unsigned uat, int pass)
{
	for (unsigned i = w.n_txs; i-- > 0;) {
		if (w.tx[i].uat == uat && w.tx[i].req.pass == pass)
			return &w.tx[i];
	}
	return NULL;
}

static void gone_in(struct net_tx *tx, unsigned ms)
{
	later(GONE, tx->call, ms)->tx = tx;
}

/* ---- the parties ---- */

static int first_pass(unsigned call, const struct sim_request *r)
{
	return upstream(r) ? w.passes[call] - 1 : 0;
}

static void ua_sends(unsigned call, const struct sim_request *r, unsigned delay)
{
	struct event *e = later(UA, call, delay);

	e->req = *r;
}

static int any_code(void)
{
	static const int codes[] = { 302, 401, 404, 408, 481, 486, 487, 500, 503, 603 };

	return codes[sim_below(sizeof(codes) / sizeof(codes[0]))];
}

static void callee_rings(struct net_tx *tx, int leg)
{
	unsigned delay = sim_below(3000);

	for (unsigned n = sim_below(3); n > 0; n--)
		send_reply(tx, leg,
			   sim_one_in(4)   ? 100
			   : sim_one_in(2) ? 180
					   : 183,
			   sim_below(3000));
	if (sim_one_in(6))
		return; /* never a final answer */
	if (sim_one_in(3)) {
		send_reply(tx, leg, any_code(), delay);
		return;
	}
	for (unsigned n = 1 + sim_below(3); n > 0; n--)
		send_reply(tx, leg, 200, delay + n * 500);
}

static enum host_method any_method(void)
{
	static const enum host_method methods[] = { HOST_OTHER, HOST_INVITE, HOST_UPDATE,
						    HOST_PRACK, HOST_BYE,    HOST_BYE };

	return methods[sim_below(sizeof(methods) / sizeof(methods[0]))];
}

static const char *any_contact(void)
{
	static const char *const contacts[] = {
		"sip:x@127.0.0.7:7000",
		"sip:y@127.0.0.7:7001;transport=tcp",
		"",
		"sip:bob@[::1]:5060",
	};

	return sim_one_in(2) ? contacts[sim_below(4)] : NULL;
}

/* Somebody who is not in the call, or a broken device. */
static void forge(struct sim_request *r)
{
	static const char *const cookies[] = { "",     ".",         "1.",
					       ".1",   "zz.yy",     "ffffffff.ffffffff",
					       "0.0",  "1.1",       "123456789.1",
					       "-1.2", "0.00000001" };

	switch (sim_below(9)) {
	case 0: r->cookie = cookies[sim_below(11)]; break;
	case 1: r->cookie = w.call[sim_below(CALLS)].pass[0].cookie; break;
	case 2: r->from_tag = "forged"; break;
	case 3: r->to_tag = "forged"; break;
	case 4:
		r->call_id = w.call[sim_below(CALLS)].call_id;
		r->from_tag = "forged";
		break;
	case 5: r->cseq = sim_one_in(2) ? 1 : 0xffffffffu; break;
	case 6: r->ruri = "sip:mallory@127.0.0.66"; break;
	case 7: r->routes = "<sip:127.0.0.66;lr>,<sip:127.0.0.67;lr>"; break;
	default: r->no_route = 1;
	}
	sim_history_stats.forged++;
}

static void plan_within(unsigned call, int leg)
{
	for (unsigned n = sim_below(5); n > 0; n--) {
		struct sim_request r = { .method = any_method(), .leg = leg };

		r.dir = sim_one_in(2) ? DLG_DIR_UPSTREAM : DLG_DIR_DOWNSTREAM;
		if (r.method == HOST_INVITE || r.method == HOST_UPDATE)
			r.contact = any_contact();
		if (sim_one_in(8))
			r.timeout = sim_one_in(3) ? "abc" : "7";
		if (sim_one_in(8))
			forge(&r);
		r.strict = sim_one_in(30);
		ua_sends(call, &r, sim_below(sim_one_in(2) ? 4000 : 30000));
	}
}

static void send_ack(unsigned call, const struct sim_request *of, int leg)
{
	struct sim_request r = { .method = HOST_ACK, .dir = of->dir, .leg = leg, .cseq = of->cseq };

	send_request(call, ++w.last_uat, &r, first_pass(call, &r));
}

/* The sender of a request gets a reply to it. */
static void ua_got(unsigned call, const struct sim_request *r, int leg, int code)
{
	if (r->method == HOST_INVITE && code >= 200 && code < 300 && !sim_one_in(8))
		send_ack(call, r, leg);
	if (!r->initial || code >= 300)
		return;
	if (!(w.known[call] & 1 << leg) || sim_one_in(8))
		plan_within(call, leg);
	w.known[call] |= 1 << leg;
}

static void reply_goes_on(struct net_tx *tx, int leg, int code)
{
	struct net_tx *next = find_tx(tx->uat, tx->req.pass + (upstream(&tx->req) ? 1 : -1));

	if (next)
		send_reply(next, leg, code, 0);
	else
		ua_got(tx->call, &tx->req, leg, code);
}

/* The request reaches the other party. */
static void ua_receives(struct net_tx *tx)
{
	if (tx->req.initial) {
		tx->forks = tx->pending = w.forks[tx->call];
		for (int leg = 0; leg < tx->forks; leg++)
			callee_rings(tx, leg);
		return;
	}
	if (sim_one_in(5))
		send_reply(tx, tx->req.leg, 183, 0);
	if (!sim_one_in(8))
		send_reply(tx, tx->req.leg, sim_one_in(5) ? any_code() : 200, sim_below(500));
}

/* ---- the proxy ---- */

static void on_refuse(struct host_tx *t)
{
	gone_in(t->owner, 5000);
}

static struct net_tx *note_tx(const struct event *e, const struct sim_request *r, struct host_tx *t)
{
	struct net_tx *tx = &w.tx[w.n_txs++];

	*tx = (struct net_tx){ .t = t, .req = *r, .call = e->call, .uat = e->uat, .pending = 1 };
	t->owner = tx;
	t->on_refuse = on_refuse;
	if (r->method == HOST_INVITE)
		later(TIMEOUT, e->call, 8000 + sim_below(30000))->tx = tx;
	else
		later(TIMEOUT, e->call, 4000)->tx = tx;
	gone_in(tx, 70000);
	return tx;
}

/* What scripts do with variables and functions. */
static void use_everything(struct host_msg *msg)
{
	struct dialog_value v = { .kind = DIALOG_TEXT, .text = DLG_STR("some value") };
	struct dialog_arg args[2] = { { .text = DLG_STR("name") }, { .text = DLG_STR("value") } };
	struct dialog_arg flag = { .number = sim_below(32) };

#define X(name, named, writable) dialog_get_##name(msg, DLG_STR("k"), &(struct dialog_value){ 0 });
	DIALOG_VARIABLES(X)
#undef X
	dialog_set_dlg_val(msg, DLG_STR("k"), &v);
	dialog_fn_store_dlg_value(msg, args);
	dialog_fn_set_dlg_flag(msg, &flag);
	dialog_fn_is_dlg_flag_set(msg, &flag);
	v = (struct dialog_value){ .kind = DIALOG_INT, .number = sim_below(7) };
	dialog_set_DLG_flags(msg, DLG_STR_NONE, &v);
}

/* ---- what scripts do with profiles ---- */

static struct {
	int caller, inbound, limited, gate, bounded;
	struct host_var *size;
} profiles;

static struct dialog_arg profile_arg(int profile)
{
	return (struct dialog_arg){ .given = 1, .profile = profile };
}

static struct dialog_arg any_value(void)
{
	static const char *const values[] = { "a", "b", "c", "" };
	unsigned n = sim_below(6);

	return (struct dialog_arg){ .given = n < 5, .is_null = n == 4,
				    .text = dlg_str_of(values[n % 4]) };
}

static int any_profile(void)
{
	return (int)sim_below((unsigned)dlg_profile_count());
}

/* Joining makes the count one more, leaving one less, when nobody else is about. */
static void set_or_unset(struct host_msg *msg, int profile, int unset)
{
	struct dialog_arg args[2] = { profile_arg(profile), any_value() };
	uint32_t before = dlg_profile_size(profile, NULL);
	int ok = unset ? dialog_fn_unset_dlg_profile(msg, args)
		       : dialog_fn_set_dlg_profile(msg, args);
	uint32_t expected = before + (ok > 0 ? unset ? UINT32_MAX : 1u : 0u);

	if (!w.interleaved && dlg_profile_size(profile, NULL) != expected)
		sim_violation("profile: %u members, then %u, and the function said %d", before,
			      dlg_profile_size(profile, NULL), ok);
	if (!w.interleaved && ok > 0 && !unset && dialog_fn_is_in_profile(msg, args) < 0)
		sim_violation("profile: a dialog that joined is not in it");
}

static void ask_size(struct host_msg *msg)
{
	struct dialog_arg args[3] = { profile_arg(any_profile()), any_value(),
				      { .var = profiles.size } };

	if (dialog_fn_get_profile_size(msg, args) != 1 || !sim_var_get(msg, "$var(n)"))
		sim_violation("profile: its size cannot be asked");
}

static void set_limit(struct host_msg *msg)
{
	struct dialog_arg args[3] = { profile_arg(sim_one_in(2) ? profiles.limited : profiles.gate),
				      any_value(), { .given = 1, .number = SIM_LIMIT } };

	sim_history_stats.limited += dialog_fn_set_dlg_profile_limit(msg, args) > 0;
}

static struct dialog_condition condition(int profile, struct dialog_arg value, int limit)
{
	return (struct dialog_condition){ .of_profile = profile_arg(profile), .of_value = value,
					  .has_value = value.given,
					  .of_limit = { .given = 1, .number = limit } };
}

/* A part of the list, in any order: all limits that hold for the profiles in it. */
static void set_limits(struct host_msg *msg)
{
	const struct dialog_arg none = { 0 };
	struct dialog_condition c[] = {
		condition(profiles.gate, none, SIM_LIMIT),
		condition(profiles.bounded, any_value(), SIM_LIMIT),
		condition(profiles.bounded, none, SIM_BOUND),
		condition(profiles.limited, any_value(), SIM_LIMIT),
		condition(profiles.gate, none, SIM_LIMIT),
	};
	unsigned first = sim_below(2);
	struct dialog_arg list = { .given = 1, .conditions = c + first,
				   .n_conditions = 3 + sim_below(3 - first) };

	sim_history_stats.limited += dialog_fn_set_dlg_profile_limits(msg, &list) > 0;
}

static void use_profiles(struct host_msg *msg)
{
	for (unsigned n = 1 + sim_below(3); n > 0; n--) {
		switch (sim_below(7)) {
		case 0: set_or_unset(msg, profiles.caller, 0); break;
		case 1: set_or_unset(msg, profiles.inbound, 0); break;
		case 2: set_or_unset(msg, any_profile(), 1); break;
		case 3: ask_size(msg); break;
		case 4: set_limit(msg); break;
		default: set_limits(msg);
		}
	}
}

static void use_all(struct host_msg *msg)
{
	use_everything(msg);
	use_profiles(msg);
}

static void reply_route(struct host_msg *rpl)
{
	if (sim_one_in(8))
		use_profiles(rpl);
}

static enum sim_fate any_fate(void)
{
	return sim_one_in(5) ? (enum sim_fate)sim_below(SIM_DROP + 1) : SIM_RELAY;
}

static struct sim_script any_script(unsigned call, const struct sim_request *r)
{
	struct sim_script s = { .fate = any_fate(), .code = any_code(), .validate = sim_one_in(2) };

	if (r->initial)
		s = w.script[call];
	if (sim_one_in(r->initial ? 2 : 6))
		s.extra = sim_one_in(3) ? use_all : use_profiles;
	s.keep_open = sim_one_in(6);
	return s;
}

static void goes_on(struct event *e, struct net_tx *tx, const struct sim_request *r)
{
	int pass = r->pass + (upstream(r) ? -1 : 1);

	if (pass >= 0 && pass < w.passes[e->call])
		send_request(e->call, e->uat, r, pass);
	else if (tx)
		ua_receives(tx);
}

static int is_forged(const struct sim_request *r)
{
	return r->from_tag || r->to_tag || r->call_id;
}

static void check_effect(const struct sim_request *r, const struct sim_script *s,
			 const struct sim_result *res, uint64_t before)
{
	if (!w.exact || r->initial || s->extra)
		return;
	if ((!res->forwarded || is_forged(r)) && sim_audit_fingerprint() != before)
		sim_violation("request: a %s one (method %d) has changed a call",
			      is_forged(r) ? "forged" : "refused", r->method);
	if (is_forged(r) && res->validated > 0)
		sim_violation("request: a forged one was found valid");
}

static void arrival(struct event *e)
{
	struct sim_call *call = &w.call[e->call];
	struct sim_request r = e->req;
	struct net_tx *known = find_tx(e->uat, r.pass), *tx = NULL;
	struct sim_script s = any_script(e->call, &r);
	struct sim_result res;
	uint64_t before;

	if (w.n_txs == TXS_MAX)
		return;
	r.branch = e->uat * 4 + (unsigned)r.pass + 1;
	r.retransmission = known && known->t;
	if (r.retransmission && known->t->busy)
		return;
	before = w.exact ? sim_audit_fingerprint() : 0;
	res = sim_step(call, &r, &s);
	check_effect(&r, &s, &res, before);
	if (res.tx)
		tx = note_tx(e, &r, res.tx);
	if (res.forwarded)
		goes_on(e, tx, &r);
	if (tx && res.refused)
		gone_in(tx, 5000);
	if (res.open)
		later(SCRIPT_END, e->call, sim_below(100))->open = res;
}

static void answered(struct net_tx *tx)
{
	if (tx->answered++)
		return;
	for (int leg = 0; leg < tx->forks; leg++)
		send_reply(tx, leg, 487, 0); /* the other branches are cancelled */
	gone_in(tx, 5000);
}

/* All branches failed: the failure route may try another callee. */
static int tries_another(struct net_tx *tx)
{
	if (!tx->req.initial || tx->forks == 0 || tx->forks >= SIM_LEGS || !sim_one_in(4))
		return 0;
	tx->pending = 1;
	sim_tx_event(tx->t, DLG_TX_FORWARDED, NULL, 0);
	callee_rings(tx, tx->forks++);
	return 1;
}

static void refused(struct net_tx *tx, int leg, int code)
{
	if (tx->answered || tx->t->final || --tx->pending > 0 || tries_another(tx))
		return;
	if (!tx->t || tx->t->final)
		return;
	if (code)
		sim_reply(&w.call[tx->call], tx->t, leg, code);
	else
		sim_tx_event(tx->t, DLG_TX_NEGATIVE, NULL, 408);
	gone_in(tx, 5000);
	reply_goes_on(tx, leg, code ? code : 408);
}

static void reply(struct event *e)
{
	struct net_tx *tx = e->tx;

	if (tx->t && e->code >= 300) {
		refused(tx, e->leg, e->code);
		return;
	}
	if (tx->t && (e->code >= 200 || !tx->t->final))
		sim_reply(&w.call[e->call], tx->t, e->leg, e->code);
	if (tx->t && e->code >= 200)
		answered(tx);
	if (e->code > 100)
		reply_goes_on(tx, e->leg, e->code);
}

static void timeout(struct net_tx *tx)
{
	if (!tx->t || tx->t->final)
		return;
	tx->pending = 1;
	refused(tx, 0, 0);
}

static void gone(struct net_tx *tx)
{
	struct host_tx *t = tx->t;

	tx->t = NULL;
	for (int i = 0; i < SIM_PASSES; i++) {
		if (w.call[tx->call].pass[i].invite == t)
			w.call[tx->call].pass[i].invite = NULL;
	}
	if (t)
		sim_tx_free(t);
}

static void cancel(struct event *e)
{
	struct sim_call *call = &w.call[e->call];

	for (unsigned i = 0; i < w.n_txs; i++) {
		struct net_tx *tx = &w.tx[i];
		struct sim_request r = { .method = HOST_CANCEL,
					 .no_route = 1,
					 .to_tag = "",
					 .cseq = call->invite_cseq,
					 .pass = tx->req.pass };

		if (tx->call != e->call || !tx->req.initial || !tx->t || tx->t->final)
			continue;
		if (w.n_txs < TXS_MAX && sim_one_in(2)) {
			struct sim_result res = sim_step(call, &r, &(struct sim_script){ 0 });

			if (res.tx)
				sim_tx_free(res.tx);
		}
		for (int leg = 0; leg < SIM_LEGS; leg++)
			send_reply(tx, leg, 487, 0);
	}
}

/* ---- operators and others ---- */

static void mi_nothing(struct dlg_mi_out *out)
{
	if (sim_one_in(2) && !sim_violated())
		out->status = 200;
}
static void mi_name(struct dlg_mi_out *out, const char *name)
{
	(void)name;
	mi_nothing(out);
}
static void mi_text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	(void)out;
	(void)name;
	if (value.len > 100000)
		sim_violation("command: a text of %zu bytes", value.len);
}
static void mi_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	(void)value;
	mi_name(out, name);
}
static void mi_error(struct dlg_mi_out *out, int code, const char *reason)
{
	(void)out;
	if (code < 400 || !reason || !*reason)
		sim_violation("command: error %d without a reason", code);
}
static int mi_broken(struct dlg_mi_out *out)
{
	(void)out;
	return sim_one_in(20);
}

static const struct dlg_mi_ops mi_ops = {
	.open_list = mi_name,
	.close_list = mi_nothing,
	.open_node = mi_name,
	.close_node = mi_nothing,
	.attr = mi_text,
	.text = mi_text,
	.number = mi_number,
	.attr_number = mi_number,
	.error = mi_error,
	.broken = mi_broken,
};

static void run_command(enum dlg_mi_id id, const struct dlg_mi_args *args)
{
	struct dlg_mi_out out = { .ops = &mi_ops, .page = sim_below(3), .status = 200 };

	dlg_mi_run(&dlg_mi_commands[id], args, &out);
}

/* dlg_end_dlg on a dialog of the table, picked at random. */
static void end_one(void)
{
	struct dlg_hash_cursor cur = { .entry = sim_below(HASH_SIZE) };
	struct dlg_cell *dlg;
	char entry[16], id[16];

	if (!dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL))
		return;
	snprintf(entry, sizeof(entry), "%u", dlg->h_entry);
	snprintf(id, sizeof(id), "%u", dlg->h_id);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	run_command(DLG_MI_dlg_end_dlg,
		    &(struct dlg_mi_args){ 2, { dlg_str_of(entry), dlg_str_of(id) } });
}

static void profile_command(void)
{
	static const enum dlg_mi_id ids[] = { DLG_MI_profile_get_size, DLG_MI_profile_list_dlgs,
					      DLG_MI_profile_get_values, DLG_MI_profile_end_dlgs,
					      DLG_MI_dlg_page };
	enum dlg_mi_id id = ids[sim_below(sizeof(ids) / sizeof(ids[0]))];
	struct dlg_mi_args args = { .arg = { DLG_STR("0"), DLG_STR("2") } };
	unsigned at = id == DLG_MI_dlg_page ? 2 : 0;

	args.arg[at] = dlg_profile_name(any_profile());
	args.arg[at + 1] = any_value().text;
	args.n = at + 1 + sim_below(2);
	run_command(id, &args);
}

static void command(void)
{
	struct dlg_mi_args args = { .n = sim_below(4) };

	if (sim_one_in(3)) {
		end_one();
		return;
	}
	if (sim_one_in(2)) {
		profile_command();
		return;
	}
	args.arg[0] = dlg_str_of(sim_one_in(2) ? w.call[sim_below(CALLS)].call_id : "0");
	args.arg[1] = dlg_str_of(sim_one_in(2) ? w.call[sim_below(CALLS)].from_tag : "3");
	args.arg[2] = DLG_STR("X-Header: yes");
	run_command((enum dlg_mi_id)sim_below(DLG_MI_N), &args);
}

static void sent_done(void)
{
	unsigned n = sim_below(sim_sent_pending() + 1);

	for (struct sim_sent *s = sim_sent_list(); s; s = s->next) {
		if (s->done || n--)
			continue;
		sim_sent_done(s, sim_one_in(2) ? 200 : any_code());
		return;
	}
}

/* ---- events ---- */

static int busy(const struct event *e)
{
	return e->tx && e->tx->t && e->tx->t->busy;
}

/* SIM_TRACE=1 prints what happens, for a seed that fails. */
static void trace(const struct event *e)
{
	static const char *const names[] = { "ARRIVAL",    "REPLY", "TIMEOUT", "GONE",
					     "SCRIPT_END", "UA",    "CANCEL",  "SENT",
					     "COMMAND",    "PUT" };
	const struct sim_request *r = e->tx ? &e->tx->req : &e->req;

	if (w.trace)
		printf("%8.3f %s%s call %u pass %d uat %u method %d dir %d leg %d cseq %u code "
		       "%d%s\n",
		       (double)(host_mono_ms() - w.started) / 1000, names[e->kind],
		       sim_interleave || !w.interleaved ? "" : " (interleaved)", e->call, r->pass,
		       e->tx ? e->tx->uat : e->uat, r->method, r->dir,
		       e->kind == REPLY ? e->leg : r->leg, r->cseq, e->code,
		       r->initial ? " initial" : "");
}

static void run_event(struct event *e)
{
	struct host_tx *before = sim_tx_enter(NULL);

	trace(e);

	switch (e->kind) {
	case ARRIVAL: arrival(e); break;
	case REPLY: reply(e); break;
	case TIMEOUT: timeout(e->tx); break;
	case GONE: gone(e->tx); break;
	case SCRIPT_END: sim_step_end(&e->open); break;
	case UA: send_request(e->call, ++w.last_uat, &e->req, first_pass(e->call, &e->req)); break;
	case CANCEL: cancel(e); break;
	case SENT: sent_done(); break;
	case COMMAND: command(); break;
	case PUT: sim_track_put_one(); break;
	}
	sim_tx_enter(before);
}

/* Take the i-th event out and run it; one whose transaction is busy in another process waits. */
static void take_event(unsigned i)
{
	struct event e = w.event[i];

	if (busy(&e)) {
		w.event[i].due = host_mono_ms() + 1;
		return;
	}
	w.event[i] = w.event[--w.n_events];
	run_event(&e);
}

static unsigned next_event(void)
{
	unsigned best = 0;

	for (unsigned i = 1; i < w.n_events; i++) {
		if (w.event[i].due < w.event[best].due)
			best = i;
	}
	return best;
}

static void tick(void)
{
	if (w.in_tick)
		return;
	w.in_tick = 1;
	dlg_timer_tick();
	w.in_tick = 0;
}

/* Another process does something at a moment when the engine holds no lock. */
static void interleave(void)
{
	unsigned i;

	if (!sim_one_in(40) || !w.n_events)
		return;
	sim_history_stats.interleaved++;
	if (sim_one_in(8)) {
		tick();
		return;
	}
	i = sim_one_in(2) ? next_event() : sim_below(w.n_events);
	if (w.event[i].due < host_mono_ms() + 2000)
		take_event(i);
}

static void audit_step(void)
{
	void (*others)(void) = sim_interleave;

	sim_interleave = NULL; /* everybody stands still */
	sim_sent_clear();
	sim_audit();
	sim_interleave = others;
	sim_history_stats.steps++;
}

static void run_ticks_until(uint64_t ms)
{
	while (w.next_tick <= ms && !sim_violated()) {
		if (host_mono_ms() < w.next_tick)
			sim_set_ms(w.next_tick);
		if (!w.late && sim_one_in(8)) {
			w.late = 1; /* the timer process got no time to run */
		} else {
			w.late = 0;
			tick();
		}
		w.next_tick += 1000;
		audit_step();
	}
}

static void run_events(void)
{
	while (w.n_events && !sim_violated()) {
		uint64_t due = w.event[next_event()].due;

		run_ticks_until(due);
		if (host_mono_ms() < due)
			sim_set_ms(due);
		if (w.n_events) /* others may have taken the last one */
			take_event(next_event());
		if (sim_one_in(4))
			sent_done();
		audit_step();
	}
}

/* ---- one history ---- */

static void invite(unsigned i, unsigned number, unsigned after)
{
	struct sim_request r = { .method = HOST_INVITE, .initial = 1, .dir = DLG_DIR_DOWNSTREAM };
	struct sim_call *call = &w.call[i];

	sim_call_init(call, number);
	call->cseq = 10 + i;
	if (sim_one_in(4))
		snprintf(call->routes, sizeof(call->routes),
			 "<sip:127.0.0.4;lr>,<sip:127.0.0.5;lr>");
	if (sim_one_in(4))
		snprintf(call->leg[0].routes, sizeof(call->leg[0].routes), "<sip:127.0.0.6;lr>");
	r.cseq = call->invite_cseq = call->cseq;
	if (sim_one_in(6))
		r.timeout = "12";
	w.passes[i] = 1 + sim_one_in(8);
	w.forks[i] = 1 + (sim_one_in(3) ? (int)sim_below(SIM_LEGS) : 0);
	w.script[i] = (struct sim_script){ .create = (enum sim_create)sim_below(SIM_CREATE_NONE +
										!sim_below(6)),
					   .record_route = sim_one_in(6) ? (int)sim_below(3) : 1,
					   .fate = sim_one_in(8) ? any_fate() : SIM_RELAY,
					   .code = any_code() };
	ua_sends(i, &r, after);
	if (sim_one_in(5))
		later(CANCEL, i, after + sim_below(6000));
}

static void set_parameters(void)
{
	dialog_conf.dlg_match_mode = (int)sim_below(3);
	dialog_conf.default_timeout = 5 + (int)sim_below(40);
	dialog_conf.setup_timeout = 5 + (int)sim_below(60);
	dialog_conf.ack_timeout = (int)sim_below(20);
}

static void set_faults(void)
{
	w.loss = sim_one_in(2) ? 0 : 3 + sim_below(20);
	w.dup = sim_one_in(2) ? 0 : 3 + sim_below(20);
	w.interleaved = sim_wrapped() && sim_one_in(2);
	sim_track_overtaking = w.interleaved;
	sim_track_mischief = sim_one_in(2) ? 0 : 2 + sim_below(20);
	if (sim_one_in(2)) {
		sim_faults.mem_one_in = sim_one_in(2) ? 0 : 4 + sim_below(60);
		sim_faults.send_one_in = sim_one_in(2) ? 0 : 2 + sim_below(10);
		sim_faults.attach_one_in = sim_one_in(4) ? 10 : 0;
		sim_faults.rr_one_in = sim_one_in(4) ? 10 : 0;
		sim_faults.refuse_one_in = sim_one_in(4) ? 3 : 0;
	}
	w.exact = !w.interleaved && !sim_track_mischief && !sim_faults.mem_one_in;
}

static void set_up(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	/* nothing of earlier histories may show */
	sim_set_ms((host_mono_ms() / 1000 + 1) * 1000);
	for (uint32_t entry = 0; entry < HASH_SIZE; entry++)
		dlg_hash_set_next_id(entry, UINT32_MAX - entry);
	sim_seed(seed);
	sim_violation_clear();
	sim_faults_off();
	w.started = host_mono_ms();
	w.next_tick = w.started + 1000;
	w.trace = getenv("SIM_TRACE") != NULL;
	set_parameters();
	sim_audit_begin();
	set_faults();
	for (unsigned i = 0; i < CALLS; i++) {
		/* some calls are a second attempt of the same one (401, then with credentials) */
		invite(i, i && sim_one_in(4) ? i - 1 : i, sim_below(5000));
	}
	for (unsigned n = sim_below(10); n > 0; n--)
		later(sim_one_in(2) ? COMMAND : PUT, 0, sim_below(30000));
	sim_interleave = w.interleaved ? interleave : NULL;
}

/* Everything still open comes to its end. */
static void drain(void)
{
	sim_interleave = NULL;
	sim_track_mischief = 0;
	sim_faults_off();
	for (unsigned i = 0; i < w.n_txs; i++)
		gone(&w.tx[i]);
	sim_track_put_all();
	sim_sent_all(200);
	for (int s = 0; s < DRAIN_S && !sim_violated(); s++) {
		run_ticks_until(w.next_tick);
		sim_sent_all(200);
	}
	sim_track_put_all();
	sim_sent_clear();
}

static int define_profiles(void)
{
	dialog_conf.log_profile_hash_size = 1;
	return dialog_list_add(&dialog_conf.profiles_with_value,
			       "caller ; " SIM_LIMITED " ; " SIM_BOUNDED) < 0 ||
	       dialog_list_add(&dialog_conf.profiles_no_value, "inbound ; " SIM_GATE) < 0;
}

static void find_profiles(void)
{
	profiles.caller = dlg_profile_find(DLG_STR("caller"));
	profiles.inbound = dlg_profile_find(DLG_STR("inbound"));
	profiles.limited = dlg_profile_find(DLG_STR(SIM_LIMITED));
	profiles.gate = dlg_profile_find(DLG_STR(SIM_GATE));
	profiles.bounded = dlg_profile_find(DLG_STR(SIM_BOUNDED));
	profiles.size = host_var_compile("$var(n)");
}

int sim_history_start(void)
{
	if (define_profiles() || sim_call_start(HASH_SIZE) < 0 || sim_track_start() < 0)
		return -1;
	find_profiles();
	sim_on_reply = reply_route;
	return 0;
}

const char *sim_history_run(uint64_t seed)
{
	struct dlg_counters before = *dlg_state_counters();
	uint64_t turned_away = dlg_profile_refusals();

	set_up(seed);
	run_events();
	if (!sim_violated())
		drain();
	if (!sim_violated())
		sim_audit_end();
	if (!sim_violated())
		sim_track_end();
	sim_interleave = NULL;
	sim_history_stats.histories++;
	sim_history_stats.dialogs += dlg_state_counters()->processed - before.processed;
	sim_history_stats.failed += dlg_state_counters()->failed - before.failed;
	sim_history_stats.expired += dlg_state_counters()->expired - before.expired;
	sim_history_stats.refused += dlg_state_counters()->refused - before.refused;
	sim_history_stats.turned_away += dlg_profile_refusals() - turned_away;
	sim_history_stats.byes_sent = sim_sends_tried;
	sim_history_stats.alloc_failures = sim_shm.failed;
	return sim_violated();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two and three things happen to one dialog at the same time, in processes of their own, in every
 * order of their steps (sim_sched.h).
 *
 * After each order the audit runs, the parties of a leg have got one BYE of ours at most, no leg is
 * left in a call that has ended, and what came out is what some order without interleaving makes of
 * it, too. Then everything ends, and nothing may be left.
 *
 * SIM_INTERLEAVE=short (the default: ten seconds or two), full (a minute or two), all (hours): see
 * `budgets`. What fails is printed in the form
 *     SIM_REPLAY="STATE EVENT EVENT [EVENT] DIGITS"
 * which runs just that; it becomes a test with a name at the end of this file. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../dlg_cb.h"
#include "../../dlg_db_handler.h"
#include "../../dlg_mi.h"
#include "../../dlg_profile.h"
#include "../../dlg_vals.h"
#include "../unit/unit.h"
#include "sim_audit.h"
#include "sim_call.h"
#include "sim_db.h"
#include "sim_sched.h"
#include "sim_track.h"
#include "sim_wrap.h"

/* What the dialog is when it begins. */
#define STATES(X)                                                                       \
	X('N', none)        /* no INVITE yet */                                         \
	X('U', unconfirmed) /* it was forwarded */                                      \
	X('E', early)                                                                   \
	X('A', answered)    /* no ACK yet */                                            \
	X('C', confirmed)                                                               \
	X('F', forked)      /* legs A and B are answered, of A the ACK was seen */      \
	X('K', killed)      /* ended by us, our BYEs are on their way */                \
	X('D', ended)

enum state {
#define X(letter, name) AT_##name,
	STATES(X)
#undef X
	AT_N
};

static const struct {
	char letter;
	const char *name;
} states[AT_N] = {
#define X(letter, name) { letter, #name },
	STATES(X)
#undef X
};

/* What can happen. X(name, in which states; '1': not twice at the same time) */
#define EVENTS(X)                                                                     \
	X(invite, "N")           /* create_dialog(), t_relay() */                    \
	X(invite_copy, "UE")     /* a retransmission meets another worker */         \
	X(invite_flag, "N")      /* dlg_flag */                                      \
	X(invite_joins, "N")     /* its script joins profiles */                     \
	X(invite_dropped, "N")   /* its script ends without a transaction */         \
	X(script_end, "UE1")      /* the INVITE's script was still running */         \
	X(forwarded, "UE1")       /* on one more branch */                            \
	X(ring_a, "UEA")                                                              \
	X(ring_b, "UE")                                                               \
	X(answer_a, "UEAF")                                                           \
	X(answer_b, "UEACKD")                                                         \
	X(answer_c, "FK")                                                             \
	X(refuse, "UE1")                                                              \
	X(no_answer, "UE1")       /* 408 of the transaction layer */                  \
	X(cancel, "UE1")          /* CANCEL, and 487 */                               \
	X(gone, "UEACFKD1")       /* the INVITE's transaction */                      \
	X(ack_a, "ACF")                                                               \
	X(ack_b, "F")                                                                 \
	X(bye_caller, "EACFKD")                                                       \
	X(bye_callee, "EACF")                                                         \
	X(bye_callee_b, "F")                                                          \
	X(reinvite, "ACF")        /* and its 2xx with a new contact */                \
	X(update, "C")                                                                \
	X(info_slow, "CF")        /* its script ends after its reply */               \
	X(bye_out, "C1")          /* a BYE is forwarded in one process, ... */        \
	X(bye_200, "C1")          /* ... and another gets the answer */               \
	X(tick, "UEACFKD1")       /* the deadline is there */                         \
	X(tick_fails, "ACF1")     /* ... and no BYE can be sent */                    \
	X(end, "UEACFKD")         /* dlg_end_dlg */                                   \
	X(end_fails, "UEACF")     /* ... of which no BYE can be sent */               \
	X(join, "UEACD")          /* with limits */                                   \
	X(join_plain, "UEAC")                                                         \
	X(leave, "EC")                                                                \
	X(set, "EACD")                                                                \
	X(unset, "EC")                                                                \
	X(list, "NUEACFKD")                                                           \
	X(list_members, "UECD")                                                       \
	X(sent, "K1")             /* the answer to a BYE of ours */                   \
	X(put, "UECKD1")          /* a module gives a reference back */               \
	X(ring_ends, "UE1")       /* a module ends the call in a callback */          \
	X(answer_ends, "UE1")                                                         \
	X(info_ends, "CF1")                                                           \
	X(bye_meddles, "ACF1")    /* one that holds, finds, sets, and registers */    \
	X(writer, "UACFKD1")      /* saves what changed; with a database only */

enum event {
#define X(name, where) EV_##name,
	EVENTS(X)
#undef X
	EV_N
};

/* Callbacks that tell what became of the call. */
enum {
	OUTCOMES = DLGCB_EARLY | DLGCB_CONFIRMED | DLGCB_FAILED | DLGCB_TERMINATED | DLGCB_EXPIRED,
};

enum {
	TOGETHER = SIM_COS,
	EXPLAINED = 3,  /* up to so many all orders without interleaving are run, too */
	SERIAL_MAX = 6, /* so many are there */
	SETTLE_S = 2,   /* what callbacks wish is done by then */
	OUTCOME = 256,
};

/* What happens together. */
struct combination {
	enum state state;
	unsigned n;
	enum event event[TOGETHER];
};

static struct {
	struct sim_call call;
	struct combination now;
	struct host_tx *invite; /* NULL when gone */
	struct sim_result open; /* the INVITE's script */
	uint32_t h_entry, h_id;
	struct dlg_cell *kept;
	struct host_msg *bye_msg;
	struct host_tx *bye;
	unsigned told[13]; /* callbacks by bit */
	struct {
		unsigned answered, hung_up;
		unsigned late; /* it answered an ended call, or when that ended */
	} leg[SIM_LEGS];
	uint64_t ended[DLG_REASON_N]; /* calls before, by reason */
	int limited, gate, bounded, caller;
} w;

static int without_byes; /* bye_on_timeout_flag is not set */

/* ---- a module that counts, and calls back ---- */

static struct dlg_api api;
static _Thread_local void (*meddle)(struct dlg_cell *dlg);

static void on_event(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	void (*fn)(struct dlg_cell *) = meddle;

	(void)p;
	w.told[__builtin_ctz((unsigned)type)]++;
	meddle = NULL;
	if (fn)
		fn(dlg);
}

static void on_created(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	(void)type;
	(void)p;
	api.register_dlgcb(dlg,
			   OUTCOMES | DLGCB_REQ_WITHIN | DLGCB_RESPONSE_FWDED, on_event, NULL, NULL);
}

static void ends_call(struct dlg_cell *dlg)
{
	api.end(dlg, NULL);
}

static void meddles(struct dlg_cell *dlg)
{
	struct dlg_cell *same = api.find(dlg->h_entry, dlg->h_id);

	api.hold(dlg);
	api.set_value(dlg, "meddler", "was here", 8);
	api.register_dlgcb(dlg, DLGCB_REQ_WITHIN, on_event, NULL, NULL);
	api.put(dlg);
	if (same)
		api.put(same);
}

/* ---- the INVITE's transaction, shared by processes ---- */

/* Some replies are not relayed any more. */
static int is_relayed(const struct host_tx *t, int code)
{
	return t && t->final < 300 && (!t->final || (code >= 200 && code < 300));
}

/* Looking is no step. */
static int has_ended(void)
{
	sim_point_fn *hook = sim_point;
	int state;

	sim_point = NULL;
	state = sim_state(&w.call);
	sim_point = hook;
	return state == DLG_STATE_DELETED;
}

static void note_answer(int leg)
{
	if (!w.leg[leg].answered++)
		w.leg[leg].late = (unsigned)has_ended();
}

static void reply_invite(int leg, int code)
{
	sim_sched_take_tx();
	if (is_relayed(w.invite, code)) {
		sim_reply(&w.call, w.invite, leg, code);
		if (code == 200)
			note_answer(leg);
	}
	sim_sched_give_tx();
}

static int is_unused(void *arg)
{
	(void)arg;
	return !w.invite || !w.invite->busy;
}

static void ev_gone(void)
{
	struct host_tx *t;

	sim_sched_wait(is_unused, NULL, SIM_OBJ_TX);
	t = w.invite;
	w.invite = NULL;
	if (t)
		sim_tx_free(t);
}

/* The simulated host treats it like a reply. */
static void ev_forwarded(void)
{
	sim_sched_take_tx();
	if (w.invite && !w.invite->final)
		sim_tx_event(w.invite, DLG_TX_FORWARDED, NULL, 0);
	sim_sched_give_tx();
}

static void ev_ring_a(void)
{
	reply_invite(0, 180);
}

static void ev_ring_b(void)
{
	reply_invite(1, 183);
}

static void ev_ring_ends(void)
{
	meddle = ends_call;
	reply_invite(0, 180);
	meddle = NULL;
}

static void ev_answer_a(void)
{
	reply_invite(0, 200);
}

static void ev_answer_b(void)
{
	reply_invite(1, 200);
}

static void ev_answer_c(void)
{
	reply_invite(2, 200);
}

static void ev_answer_ends(void)
{
	meddle = ends_call;
	reply_invite(0, 200);
	meddle = NULL;
}

static void ev_refuse(void)
{
	reply_invite(0, 486);
}

static void ev_no_answer(void)
{
	sim_sched_take_tx();
	if (is_relayed(w.invite, 408))
		sim_tx_event(w.invite, DLG_TX_NEGATIVE, NULL, 408);
	sim_sched_give_tx();
}

static void ev_cancel(void)
{
	struct sim_request r = { .method = HOST_CANCEL, .no_route = 1, .to_tag = "",
				 .cseq = w.call.invite_cseq };
	struct sim_result res = sim_step(&w.call, &r, &(struct sim_script){ 0 });

	if (res.tx)
		sim_tx_free(res.tx);
	reply_invite(0, 487);
}

/* ---- initial requests ---- */

enum { INVITE_CSEQ = 10, INVITE_BRANCH = 1000000000 };

static struct sim_result run_invite(const struct sim_script *script)
{
	return sim_step(&w.call,
			&(struct sim_request){ .method = HOST_INVITE, .initial = 1,
					       .cseq = INVITE_CSEQ, .branch = INVITE_BRANCH },
			script);
}

static void bye_on_timeout(struct host_msg *msg)
{
	msg->flags |= 1u << SIM_BYE_FLAG;
}

static void joins_profiles(struct host_msg *msg)
{
	struct dialog_arg args[3] = { { .given = 1, .profile = w.caller },
				      { .given = 1, .text = DLG_STR("a") } };

	dialog_fn_set_dlg_profile(msg, args);
	args[0].profile = w.gate;
	args[1] = (struct dialog_arg){ 0 };
	args[2] = (struct dialog_arg){ .given = 1, .number = SIM_LIMIT };
	dialog_fn_set_dlg_profile_limit(msg, args);
}

static void ev_invite(void)
{
	run_invite(&(struct sim_script){ .record_route = 1 });
}

static void ev_invite_copy(void)
{
	run_invite(&(struct sim_script){ .record_route = 1 });
}

static void ev_invite_flag(void)
{
	run_invite(&(struct sim_script){ .record_route = 1, .create = SIM_CREATE_FLAG });
}

static void ev_invite_joins(void)
{
	run_invite(&(struct sim_script){ .record_route = 1, .extra = joins_profiles });
}

static void ev_invite_dropped(void)
{
	run_invite(&(struct sim_script){ .record_route = 1, .fate = SIM_DROP });
}

static void ev_script_end(void)
{
	sim_step_end(&w.open);
}

/* ---- sequential requests: each with a CSeq of its own, whatever the order ---- */

static struct sim_result pass(enum host_method method, enum dlg_dir dir, int leg, int keep_open)
{
	struct sim_request r = { .method = method, .dir = dir, .leg = leg,
				 .cseq = 100 + (uint32_t)method };

	if (method == HOST_ACK)
		r.cseq = INVITE_CSEQ;
	if (method == HOST_INVITE || method == HOST_UPDATE)
		r.contact = "sip:moved@127.0.0.8:5070";
	return sim_step(&w.call, &r, &(struct sim_script){ .keep_open = keep_open });
}

static void within(enum host_method method, enum dlg_dir dir, int leg)
{
	struct sim_result res = pass(method, dir, leg, 0);

	if (!res.tx)
		return;
	w.leg[leg].hung_up |= method == HOST_BYE;
	sim_reply(&w.call, res.tx, leg, 200);
	sim_tx_free(res.tx);
}

static void ev_ack_a(void)
{
	within(HOST_ACK, DLG_DIR_DOWNSTREAM, 0);
}

static void ev_ack_b(void)
{
	within(HOST_ACK, DLG_DIR_DOWNSTREAM, 1);
}

static void ev_bye_caller(void)
{
	within(HOST_BYE, DLG_DIR_DOWNSTREAM, 0);
}

static void ev_bye_callee(void)
{
	within(HOST_BYE, DLG_DIR_UPSTREAM, 0);
}

static void ev_bye_callee_b(void)
{
	within(HOST_BYE, DLG_DIR_UPSTREAM, 1);
}

static void ev_bye_meddles(void)
{
	meddle = meddles;
	ev_bye_caller();
	meddle = NULL;
}

static void ev_reinvite(void)
{
	within(HOST_INVITE, DLG_DIR_DOWNSTREAM, 0);
}

static void ev_update(void)
{
	within(HOST_UPDATE, DLG_DIR_UPSTREAM, 0);
}

static void ev_info_slow(void)
{
	struct sim_result res = pass(HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 1);

	sim_reply(&w.call, res.tx, 0, 200);
	sim_step_end(&res);
	sim_tx_free(res.tx);
}

static void ev_info_ends(void)
{
	meddle = ends_call;
	within(HOST_OTHER, DLG_DIR_UPSTREAM, 0);
	meddle = NULL;
}

static void ev_bye_out(void)
{
	sim_sched_point(0, SIM_OBJ_TX);
	sim_tx_event(w.bye, DLG_TX_FORWARDED, NULL, 0);
	sim_sched_touch(SIM_OBJ_TX);
	w.leg[0].hung_up = 1;
	sim_msg_end(w.bye_msg, 1);
	sim_msg_free(w.bye_msg);
	w.bye_msg = NULL;
}

static void ev_bye_200(void)
{
	sim_sched_point(0, SIM_OBJ_TX);
	sim_reply(&w.call, w.bye, 0, 200);
	sim_sched_touch(SIM_OBJ_TX);
	w.leg[0].hung_up = 1;
}

/* ---- the timer, the writer, operators, modules ---- */

static void ev_tick(void)
{
	dlg_timer_tick();
}

static void ev_tick_fails(void)
{
	sim_sends_fail = 1;
	ev_tick();
	sim_sends_fail = 0;
}

static void ev_writer(void)
{
	sim_sched_touch_always(SIM_OBJ_LOG);
	sim_sched_point(0, SIM_OBJ_LOG);
	dlg_db_write_some();
}

static void mi_name(struct dlg_mi_out *out, const char *name)
{
	(void)out;
	(void)name;
}
static void mi_close(struct dlg_mi_out *out)
{
	(void)out;
}
static void mi_text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	(void)value;
	mi_name(out, name);
}
static void mi_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	(void)value;
	mi_name(out, name);
}
static void mi_error(struct dlg_mi_out *out, int code, const char *reason)
{
	(void)code;
	mi_name(out, reason);
}
static int mi_broken(struct dlg_mi_out *out)
{
	(void)out;
	return 0;
}

static const struct dlg_mi_ops mi_ops = {
	.open_list = mi_name, .close_list = mi_close, .open_node = mi_name, .close_node = mi_close,
	.attr = mi_text, .attr_number = mi_number, .text = mi_text, .number = mi_number,
	.error = mi_error, .broken = mi_broken,
};

static void run_command(enum dlg_mi_id id, struct dlg_mi_args args)
{
	struct dlg_mi_out out = { .ops = &mi_ops, .status = 200 };

	dlg_mi_run(&dlg_mi_commands[id], &args, &out);
}

static void ev_end(void)
{
	char entry[16], id[16];

	snprintf(entry, sizeof(entry), "%u", w.h_entry);
	snprintf(id, sizeof(id), "%u", w.h_id);
	run_command(DLG_MI_dlg_end_dlg,
		    (struct dlg_mi_args){ 2, { dlg_str_of(entry), dlg_str_of(id) } });
}

static void ev_end_fails(void)
{
	sim_sends_fail = 1;
	ev_end();
	sim_sends_fail = 0;
}

static void ev_list(void)
{
	run_command(DLG_MI_dlg_list, (struct dlg_mi_args){ 0 });
}

static void ev_list_members(void)
{
	run_command(DLG_MI_profile_list_dlgs, (struct dlg_mi_args){ 1, { DLG_STR("caller") } });
}

/* The dialog, as somebody finds it who knows its name. */
static struct dlg_cell *find(void)
{
	return dlg_hash_get(w.h_entry, w.h_id, DLG_BY_LOCAL);
}

static void ev_join(void)
{
	struct dlg_profile_want wants[] = {
		{ w.bounded, 1, DLG_STR("x"), SIM_LIMIT },
		{ w.gate, 0, DLG_STR_NONE, 1 },
		{ w.bounded, 0, DLG_STR_NONE, SIM_BOUND },
	};
	struct dlg_cell *dlg = find();

	if (dlg && dlg_profile_join_limited(dlg, wants, 3) > 0)
		dlg_db_changed(dlg);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void ev_join_plain(void)
{
	struct dlg_cell *dlg = find();

	if (dlg && dlg_profile_join(dlg, w.caller, DLG_STR("b")) == 0)
		dlg_db_changed(dlg);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void ev_leave(void)
{
	struct dlg_cell *dlg = find();

	if (dlg && dlg_profile_leave(dlg, w.caller, NULL))
		dlg_db_changed(dlg);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void set_value(const char *text)
{
	struct dlg_cell *dlg = find();

	if (dlg)
		api.set_value(dlg, "k", text, 5);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void ev_set(void)
{
	set_value("value");
}

static void ev_unset(void)
{
	set_value(NULL);
}

static void ev_sent(void)
{
	struct sim_sent *s = sim_sent_list();

	sim_sched_point(0, SIM_OBJ_SENT);
	if (s)
		sim_sent_done(s, 200);
}

static void ev_put(void)
{
	sim_audit_api_refs--;
	api.put(w.kept);
}

static const struct {
	const char *name, *where;
	void (*run)(void);
} events[EV_N] = {
#define X(name, where) { #name, where, ev_##name },
	EVENTS(X)
#undef X
};

static unsigned times(const struct combination *c, enum event e)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		n += c->event[i] == e;
	return n;
}

static int takes_part(const struct combination *c, enum event e)
{
	return times(c, e) != 0;
}

static int happens(enum event e)
{
	return takes_part(&w.now, e);
}

/* ---- before ---- */

static void ring_and_answer(int leg)
{
	reply_invite(leg, 180);
	reply_invite(leg, 200);
}

static void reach_state(enum state state)
{
	if (state >= AT_early)
		reply_invite(0, 180);
	if (state >= AT_answered)
		reply_invite(0, 200);
	if (state >= AT_confirmed)
		ev_ack_a();
	if (state == AT_forked)
		ring_and_answer(1);
	if (state == AT_killed)
		ev_end();
	if (state == AT_ended)
		ev_bye_callee();
}

/* Memberships of the dialog, a value. */
static void furnish(void)
{
	struct dlg_cell *dlg = find();

	dlg_profile_join(dlg, w.caller, DLG_STR("a"));
	dlg_vals_set(dlg, DLG_STR("k"), DLG_STR("first"));
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void begin_bye(void)
{
	struct sim_request r = { .method = HOST_BYE, .dir = DLG_DIR_DOWNSTREAM, .cseq = 300 };

	w.bye_msg = sim_request_msg(&w.call, &r);
	sim_on_route(w.bye_msg);
	w.bye = sim_tx_new(w.bye_msg);
	if (happens(EV_bye_out))
		return;
	sim_msg_end(w.bye_msg, 1);
	sim_msg_free(w.bye_msg);
	w.bye_msg = NULL;
}

/* The timer has run up to the second before the deadline; now that is over, too. */
static void await_deadline(void)
{
	uint32_t deadline = sim_peek(&w.call)->timer.deadline;

	while (dlg_timer_left(deadline) > 1)
		sim_run(1);
	sim_advance(1000);
}

static void begin_call(enum state state)
{
	struct sim_script script = { .record_route = 1, .keep_open = happens(EV_script_end),
				     .extra = without_byes ? NULL : bye_on_timeout };

	w.open = run_invite(&script);
	w.invite = w.open.tx;
	w.h_entry = sim_peek(&w.call)->h_entry;
	w.h_id = sim_peek(&w.call)->h_id;
	furnish();
	reach_state(state);
	if (happens(EV_bye_out) || happens(EV_bye_200))
		begin_bye();
	if (happens(EV_put)) {
		w.kept = api.find(w.h_entry, w.h_id);
		sim_audit_api_refs++;
	}
	if (happens(EV_tick) || happens(EV_tick_fails))
		await_deadline();
}

static void begin(const struct combination *c)
{
	w.now = *c;
	w.invite = NULL;
	w.open = (struct sim_result){ 0 };
	w.kept = NULL;
	w.bye = NULL;
	w.bye_msg = NULL;
	memset(w.told, 0, sizeof(w.told));
	memset(w.leg, 0, sizeof(w.leg));
	memcpy(w.ended, dlg_state_counters()->ended, sizeof(w.ended));
	sim_audit_begin();
	sim_call_init(&w.call, 1);
	if (c->state != AT_none)
		begin_call(c->state);
}

/* ---- after ---- */

static int describe(const struct dlg_cell *dlg, void *arg)
{
	struct dlg_buf *out = arg;

	dlg_buf_printf(out, "state %u by %u, %u members", dlg->state, dlg->ended_by, dlg->n_members);
	return 0;
}

/* What came out, in words. */
static void describe_all(char out[OUTCOME])
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_buf text = { 0 };
	struct dlg_cell *none;

	dlg_hash_page_of(&cur, &none, 1, describe, &text, DLG_BY_LOCAL);
	dlg_buf_printf(&text, "; told");
	for (unsigned i = 0; i < 13; i++) {
		if (OUTCOMES & 1 << i)
			dlg_buf_printf(&text, " %u", w.told[i]);
	}
	for (unsigned i = 0; i < DLG_REASON_N; i++) {
		if (dlg_state_counters()->ended[i] != w.ended[i])
			dlg_buf_printf(&text, "; reason %u", i);
	}
	dlg_buf_printf(&text, "; members %u %u %u", dlg_profile_size(w.caller, NULL),
		       dlg_profile_size(w.gate, NULL), dlg_profile_size(w.bounded, NULL));
	snprintf(out, OUTCOME, "%.*s", (int)text.len, text.s);
	dlg_buf_free(&text);
}

static int same_bye(const struct sim_sent *a, const struct sim_sent *b)
{
	return !strcmp(a->from_tag, b->from_tag) && !strcmp(a->to_tag, b->to_tag);
}

static void check_byes(void)
{
	for (const struct sim_sent *a = sim_sent_list(); a; a = a->next) {
		for (const struct sim_sent *b = a->next; b; b = b->next) {
			if (same_bye(a, b))
				sim_violation("two BYEs of ours to the party with tag %s", a->to_tag);
		}
	}
}

/* Everybody gives back what they hold, and what still goes on ends. */
static void let_go(void)
{
	if (w.bye_msg) {
		sim_msg_end(w.bye_msg, 1);
		sim_msg_free(w.bye_msg);
	}
	sim_step_end(&w.open);
	sim_txs_free();
	if (w.kept && sim_audit_api_refs)
		ev_put();
	ev_end();
	sim_track_put_all();
}

static void finish(void)
{
	let_go();
	for (int i = 0; i < DLG_STATE_LINGER_S + 3; i++) {
		sim_sent_all(200);
		sim_run(1);
		check_byes();
	}
	sim_sent_all(200);
	sim_sent_clear();
	if (dlg_db_has_writer()) {
		while (dlg_db_write_some() > 0)
			;
		sim_db_compare();
	}
	sim_audit_end();
	if (!sim_violated())
		sim_track_end();
}

/* Did both parties of a leg get a BYE of ours? */
static int was_told(int leg)
{
	const char *tag = w.call.leg[leg].tag;
	int up = 0, down = 0;

	for (const struct sim_sent *s = sim_sent_list(); s; s = s->next) {
		up |= !strcmp(s->from_tag, tag);
		down |= !strcmp(s->to_tag, tag);
	}
	return up && down;
}

/* The phones of a leg are in a call. */
static int is_up(int leg)
{
	return w.leg[leg].answered && !w.leg[leg].hung_up && !was_told(leg);
}

/* Whose phones may be left in a call that has ended? Those of who answers when the parties have
 * ended it among themselves, and whom we tried to tell in vain when the lifetime was over. */
static int may_be_left(const struct dlg_cell *dlg, int leg)
{
	if (happens(EV_tick_fails))
		return 1;
	if (without_byes && w.told[__builtin_ctz(DLGCB_EXPIRED)] && !(dlg->flags & DLG_F_KILLED))
		return 1;
	return w.leg[leg].late && dlg->ended_by != DLG_END_PROXY && !(dlg->flags & DLG_F_KILLED);
}

/* The dialog goes on exactly as long as one of its legs does, and no leg without it. */
static int check_legs(const struct dlg_cell *dlg, void *arg)
{
	unsigned up = 0;

	(void)arg;
	for (int leg = 0; leg < SIM_LEGS; leg++) {
		if (!is_up(leg))
			continue;
		up++;
		if (dlg->state == DLG_STATE_DELETED && !may_be_left(dlg, leg))
			sim_violation("leg %d is left in a call that has ended", leg);
	}
	if (!up && (dlg->state == DLG_STATE_CONFIRMED_NA || dlg->state == DLG_STATE_CONFIRMED))
		sim_violation("a call that nobody is in goes on");
	return 0;
}

/* With a database: what is written is what memory is. */
static void check_table(void)
{
	if (!dlg_db_has_writer())
		return;
	while (dlg_db_write_some() > 0)
		;
	sim_db_compare();
}

static void check(char outcome[OUTCOME])
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *none;

	sim_audit();
	sim_run(SETTLE_S);
	describe_all(outcome);
	dlg_hash_page_of(&cur, &none, 1, check_legs, NULL, DLG_BY_LOCAL);
	check_byes();
	check_table();
}

/* ---- running ---- */

static void run_event(void *arg)
{
	sim_tx_enter(NULL);
	meddle = NULL;
	events[*(const enum event *)arg].run();
}

static sim_co *const each[TOGETHER] = { run_event, run_event, run_event, run_event };
static void *args[TOGETHER];

static void set_args(struct combination *c)
{
	for (unsigned i = 0; i < c->n; i++)
		args[i] = &c->event[i];
}

static struct {
	uint64_t combinations, orders, cut, serial_failed;
} count;

/* What comes out of the orders without interleaving. */
static struct {
	char text[SERIAL_MAX][OUTCOME];
	unsigned n;
} serial;

static const unsigned orders[SERIAL_MAX][EXPLAINED] = {
	{ 0, 1, 2 }, { 1, 0, 2 }, { 0, 2, 1 }, { 2, 0, 1 }, { 1, 2, 0 }, { 2, 1, 0 },
};

/* Nothing compares to an end that fails: which legs it takes first depends, and a wish to end that
 * finds its transaction just gone or refused leaves the call to its limit. Two commands may share
 * the legs of a forked call: a BYE that comes when one of them is through ends what the other has
 * left. */
static int is_incomparable(const struct combination *c)
{
	return takes_part(c, EV_end_fails) || takes_part(c, EV_tick_fails) ||
	       (c->n > 2 && takes_part(c, EV_ring_ends) && takes_part(c, EV_tick)) ||
	       (c->n > 2 && c->state == AT_forked && times(c, EV_end) > 1);
}

static void run_serial(const struct combination *c)
{
	serial.n = is_incomparable(c) ? 0 : c->n == 2 ? 2 : c->n == EXPLAINED ? SERIAL_MAX : 0;
	for (unsigned i = 0; i < serial.n && !sim_violated(); i++) {
		begin(c);
		sim_sched_run_serially(c->n, each, args, orders[i]);
		check(serial.text[i]);
		finish();
		count.serial_failed += sim_violated() != NULL;
	}
}

static void check_outcome(const char *outcome)
{
	for (unsigned i = 0; i < serial.n; i++) {
		if (!strcmp(serial.text[i], outcome))
			return;
	}
	if (!serial.n)
		return; /* too many */
	sim_violation("no order without interleaving makes \"%s\", but \"%s\" or \"%s\"", outcome,
		      serial.text[0], serial.text[1]);
}

static void print_failure(const struct combination *c)
{
	printf("SIM_REPLAY=\"%c", states[c->state].letter);
	for (unsigned i = 0; i < c->n; i++)
		printf(" %s", events[c->event[i]].name);
	printf(" %s\": %s\n", sim_sched_trace(), sim_violated());
	fflush(stdout);
}

static void after_order(void)
{
	char outcome[OUTCOME];

	check(outcome);
	check_outcome(outcome);
	finish();
	count.orders++;
}

/* Depth first; only the first `max` orders unless 0, and then some at random. */
static void run_all_orders(struct combination *c, unsigned max)
{
	set_args(c);
	run_serial(c);
	for (sim_sched_search(max); sim_sched_more() && !sim_violated();) {
		begin(c);
		sim_sched_run(c->n, each, args);
		after_order();
	}
	for (unsigned i = 0; i < max / 2 && sim_sched_cut() && !sim_violated(); i++) {
		begin(c);
		sim_sched_run_randomly(c->n, each, args);
		after_order();
	}
	count.combinations++;
	count.cut += (uint64_t)sim_sched_cut();
	if (sim_violated())
		print_failure(c);
}

static int may(enum event e, enum state state)
{
	if (e == EV_writer && !dlg_db_has_writer())
		return 0;
	return strchr(events[e].where, states[state].letter) != NULL;
}

static int once_in_triples; /* they are too many otherwise */

/* May it happen twice in the combination, and three times? */
static int may_repeat(const struct combination *c, enum event e)
{
	if (once_in_triples && c->n > 2 && c->state != AT_none)
		return 0;
	return strchr(events[e].where, '1') == NULL;
}

/* All copies of one INVITE meet the same script. */
static int fits(const struct combination *c, unsigned chosen, enum event e)
{
	return c->state != AT_none || !chosen || e == EV_list || c->event[chosen - 1] == e;
}

static enum event wanted = EV_N; /* only what this one takes part in */

/* Run what follows the events chosen so far, in all ways to choose. */
static void choose(struct combination *c, unsigned chosen, unsigned max)
{
	unsigned first = chosen ? c->event[chosen - 1] : 0;

	if (chosen == c->n && wanted != EV_N && !takes_part(c, wanted))
		return;
	if (chosen == c->n) {
		run_all_orders(c, max);
		return;
	}
	if (chosen && !may_repeat(c, (enum event)first))
		first++;
	for (unsigned e = first; e < EV_N && !sim_violated(); e++) {
		if (!may((enum event)e, c->state) || !fits(c, chosen, (enum event)e))
			continue;
		c->event[chosen] = (enum event)e;
		choose(c, chosen + 1, max);
	}
}

static void report(const char *what)
{
	printf("%s: %" PRIu64 " combinations, %" PRIu64 " orders, %" PRIu64 " of them redundant; %" PRIu64
	       " combinations not exhausted\n", what, count.combinations, count.orders,
	       sim_sched_stats.redundant, count.cut);
	fflush(stdout);
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}

static void start(char *journal_dir)
{
	ck_assert(sim_wrapped());
	sim_log_level = HOST_ERROR;
	dialog_conf.log_profile_hash_size = 1;
	dialog_conf.default_timeout = 5;
	dialog_conf.setup_timeout = 5;
	dialog_conf.ack_timeout = 3;
	if (journal_dir)
		sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = journal_dir;
	dialog_list_add(&dialog_conf.profiles_with_value,
			"caller ; " SIM_LIMITED " ; " SIM_BOUNDED);
	dialog_list_add(&dialog_conf.profiles_no_value, SIM_GATE);
	ck_assert_int_eq(sim_call_start(1), 0);
	ck_assert_int_eq(dlg_load_api(&api, dlg_cb_bind), 0);
	ck_assert_int_eq(sim_track_start(), 0);
	sim_track_overtaking = 1;
	ck_assert_int_eq(api.register_dlgcb(NULL, DLGCB_CREATED, on_created, NULL, NULL), 0);
	w.caller = dlg_profile_find(DLG_STR("caller"));
	w.limited = dlg_profile_find(DLG_STR(SIM_LIMITED));
	w.gate = dlg_profile_find(DLG_STR(SIM_GATE));
	w.bounded = dlg_profile_find(DLG_STR(SIM_BOUNDED));
	ck_assert_int_eq(sim_sched_start(), 0);
}

static void run_states(unsigned n, unsigned max)
{
	for (unsigned s = 0; s < AT_N && !sim_violated(); s++) {
		struct combination c = { .state = (enum state)s, .n = n };

		choose(&c, 0, max);
	}
}

/* ---- more than three ---- */

static void pick_combination(struct combination *c)
{
	*c = (struct combination){ .state = (enum state)(1 + sim_below(AT_N - 1)) };
	while (c->n < TOGETHER) {
		enum event e = (enum event)sim_below(EV_N);

		if (may(e, c->state) && !takes_part(c, e))
			c->event[c->n++] = e;
	}
}

static void run_crowds(unsigned n)
{
	struct combination c;

	sim_seed(1);
	while (n-- && !sim_violated()) {
		pick_combination(&c);
		set_args(&c);
		run_serial(&c);
		begin(&c);
		sim_sched_run_randomly(c.n, each, args);
		after_order();
		count.combinations++;
		if (sim_violated())
			print_failure(&c);
	}
}

/* ---- one combination by name ---- */

static enum state state_of(char letter)
{
	for (unsigned s = 0; s < AT_N; s++) {
		if (states[s].letter == letter)
			return (enum state)s;
	}
	ck_abort_msg("no state %c", letter);
}

static enum event event_of(const char *name)
{
	for (unsigned e = 0; e < EV_N; e++) {
		if (!strcmp(events[e].name, name))
			return (enum event)e;
	}
	ck_abort_msg("no event %s", name);
}

static void replay(struct combination *c, const char *trace)
{
	set_args(c);
	run_serial(c);
	begin(c);
	sim_sched_replay(c->n, each, args, trace);
	after_order();
}

/* "STATE EVENT EVENT [EVENT] [DIGITS]": that order, or all of them. */
static void run_named(const char *text)
{
	struct combination c = { .state = state_of(*text) };
	const char *trace = NULL;
	char copy[256], *save, *word;

	snprintf(copy, sizeof(copy), "%s", text + 1);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (*word >= '0' && *word <= '9')
			trace = word;
		else if (c.n < TOGETHER)
			c.event[c.n++] = event_of(word);
	}
	if (trace)
		replay(&c, trace);
	else
		run_all_orders(&c, 0);
	ck_assert_msg(!sim_violated(), "%s: %s", text, sim_violated());
}

START_TEST(named_one)
{
	start(NULL);
	run_named(getenv("SIM_REPLAY"));
	report(getenv("SIM_REPLAY"));
}
END_TEST

/* How much, by SIM_INTERLEAVE. */
static const struct budget {
	const char *name;
	unsigned triples; /* orders of one; 0 all */
	unsigned saved;   /* the same with a database */
	unsigned crowds;
	unsigned compared;
	int once;         /* no event happens twice in a triple */
	int with_writer;  /* of pairs with a database only those with the writer */
} budgets[] = {
	{ "short", 10, 2, 5000, 20, 1, 1 },
	{ "full", 120, 60, 20000, 60, 0, 1 },
	{ "all", 0, 0, 1000000, 1000, 0, 0 },
};

static const struct budget *budget(void)
{
	const char *name = getenv("SIM_INTERLEAVE");

	for (size_t i = 0; name && i < sizeof(budgets) / sizeof(budgets[0]); i++) {
		if (!strcmp(name, budgets[i].name))
			return &budgets[i];
	}
	return &budgets[0];
}

START_TEST(pairs)
{
	start(NULL);
	run_states(2, 0);
	report("pairs");
}
END_TEST

START_TEST(pairs_with_a_lifetime_without_byes)
{
	start(NULL);
	without_byes = 1;
	wanted = EV_tick;
	run_states(2, 0);
	report("pairs, one of them the end of a lifetime without BYEs");
}
END_TEST

START_TEST(triples)
{
	start(NULL);
	once_in_triples = budget()->once;
	run_states(3, budget()->triples);
	report("triples");
}
END_TEST

START_TEST(crowds)
{
	start(NULL);
	run_crowds(budget()->crowds);
	report("four at a time");
}
END_TEST

static void run_with_database(unsigned n, unsigned max, enum event with)
{
	char dir[] = "/tmp/dlginterleave.XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	start(dir);
	once_in_triples = budget()->once;
	wanted = with;
	run_states(n, max);
	sim_db_remove_dir(dir);
}

START_TEST(pairs_with_a_database)
{
	run_with_database(2, 0, budget()->with_writer ? EV_writer : EV_N);
	report("pairs, with a database");
}
END_TEST

/* Without the writer a database is no more than a list that grows. */
START_TEST(triples_with_a_database)
{
	run_with_database(3, budget()->saved, EV_writer);
	report("triples, one of them the writer of a database");
}
END_TEST

/* ---- does it find anything? ---- */

static const struct {
	const char *name, *what;
} plants[SIM_PLANT_END] = {
#define X(name, what) [SIM_PLANT_##name] = { #name, what },
	SIM_PLANTS_OF_ORDER(X)
#undef X
};

/* It is caught, and not before steps alternate. */
START_TEST(planted_defect_is_caught)
{
	start(NULL);
	sim_plant = (enum sim_plant)_i;
	run_states(2, 0);
	ck_assert_msg(sim_violated(), "%s: not caught", plants[_i].what);
	ck_assert_msg(!count.serial_failed, "%s: caught without interleaving", plants[_i].what);
	printf("%s: %s\n\tcaught by order %" PRIu64 "\n", plants[_i].name, plants[_i].what,
	       count.orders);
}
END_TEST

/* ---- is nothing missed that is left out? ---- */

enum { ENDINGS = 64, WHOLE = 6000 /* orders of a pair that can still be tried one by one */ };

/* All that came out of the orders of a pair, in more detail. */
struct endings {
	char text[ENDINGS][OUTCOME];
	unsigned n, orders;
};

static int detail(const struct dlg_cell *dlg, void *arg)
{
	struct dlg_buf *out = arg;

	dlg_buf_printf(out, "%u %x %u %u %u", dlg->state, dlg->flags, dlg->ended_by, dlg->end_code,
		       dlg->n_members);
	for (unsigned i = 0; i < DLG_HOLDERS; i++)
		dlg_buf_printf(out, " %u", dlg->refs[i]);
	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next)
		dlg_buf_printf(out, " %.*s %u %u", (int)leg->tag_len, leg->tag, leg->state,
			       leg->acked);
	return 0;
}

static void note_ending(struct endings *e)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_buf text = { 0 };
	struct dlg_cell *none;
	unsigned i;

	dlg_hash_page_of(&cur, &none, 1, detail, &text, DLG_BY_LOCAL);
	for (i = 0; i < 13; i++)
		dlg_buf_printf(&text, " %u", w.told[i]);
	dlg_buf_add(&text, (struct dlg_str){ "", 1 });
	for (i = 0; i < e->n && strcmp(e->text[i], text.s); i++)
		;
	ck_assert_uint_lt(i, ENDINGS);
	if (i == e->n)
		snprintf(e->text[e->n++], OUTCOME, "%s", text.s);
	dlg_buf_free(&text);
}

static void find_endings(struct combination *c, int all, struct endings *e)
{
	e->n = e->orders = 0;
	sim_sched_all = all;
	set_args(c);
	for (sim_sched_search(WHOLE); sim_sched_more(); e->orders++) {
		begin(c);
		sim_sched_run(c->n, each, args);
		note_ending(e);
		finish();
	}
	sim_sched_all = 0;
}

/* 1; 0 when there are too many orders to be sure. */
static int compare_endings(struct combination *c)
{
	static struct endings few, every;

	find_endings(c, 0, &few);
	find_endings(c, 1, &every);
	if (sim_sched_cut())
		return 0;
	ck_assert_msg(few.n == every.n, "%c %s %s: %u orders end in %u ways, %u in %u",
		      states[c->state].letter, events[c->event[0]].name, events[c->event[1]].name,
		      few.orders, few.n, every.orders, every.n);
	count.orders += every.orders;
	return 1;
}

START_TEST(nothing_is_missed)
{
	unsigned compared = 0;

	start(NULL);
	sim_seed(2);
	for (unsigned n = 0; n < budget()->compared; n++) {
		struct combination c = { .state = AT_none };

		pick_combination(&c);
		c.n = 2;
		compared += (unsigned)compare_endings(&c);
	}
	printf("%u pairs in each of %" PRIu64 " orders: nothing else comes out\n", compared,
	       count.orders);
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
	ck_assert_uint_gt(compared, budget()->compared / 4);
}
END_TEST

/* ---- what was found ---- */

/* The second found no leg to end, and gave those of the first back. */
START_TEST(two_ends_at_once)
{
	start(NULL);
	run_named("A end end");
	run_named("F end end");
	run_named("C tick end");
	run_named("F tick end");
}
END_TEST

/* A leg that answered while BYEs to the others were being made was forgotten. */
START_TEST(a_leg_answers_while_the_call_is_ended)
{
	start(NULL);
	run_named("A answer_b end");
	run_named("C answer_b end");
}
END_TEST

/* A wish to end it was refused, because it had just been answered; and so was a command. */
START_TEST(a_call_is_answered_while_it_is_refused)
{
	start(NULL);
	run_named("U answer_a end");
	run_named("E answer_b end");
	run_named("E tick answer_ends");
}
END_TEST

/* The BYEs for a late answer waited for the end of another linger, or were never sent. */
START_TEST(a_leg_answers_when_the_linger_is_over)
{
	start(NULL);
	run_named("K answer_b tick");
	run_named("K answer_b gone tick");
}
END_TEST

/* Two commands at once: the one that failed took back that the call was ended by us. */
START_TEST(a_leg_answers_after_two_ends_at_once)
{
	start(NULL);
	run_named("C end end answer_b");
}
END_TEST

/* It was ended early, by the wrong one, or not at all. */
START_TEST(byes_fail_while_others_end_the_call)
{
	start(NULL);
	run_named("F end_fails bye_callee");
	run_named("F end_fails bye_callee_b");
	run_named("F end end_fails");
	run_named("F tick end_fails");
	run_named("F bye_callee end");
}
END_TEST

/* A command that came too late for it was taken for the reason. */
START_TEST(a_call_is_refused_while_it_is_ended)
{
	start(NULL);
	run_named("E refuse end");
	run_named("E no_answer end");
	run_named("E cancel end");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("interleavings");

	tcase_set_timeout(tcase, 0);
	if (getenv("SIM_REPLAY")) {
		tcase_add_test(tcase, named_one);
		return unit_run_case("interleavings", tcase);
	}
	unit_add(tcase, UNIT_TESTS{ pairs, pairs_with_a_lifetime_without_byes, triples, crowds,
				    pairs_with_a_database, triples_with_a_database,
				    nothing_is_missed,
				    two_ends_at_once,
				    a_leg_answers_while_the_call_is_ended,
				    a_call_is_answered_while_it_is_refused,
				    a_leg_answers_when_the_linger_is_over,
				    a_leg_answers_after_two_ends_at_once,
				    byes_fail_while_others_end_the_call,
				    a_call_is_refused_while_it_is_ended, NULL });
	tcase_add_loop_test(tcase, planted_defect_is_caught, SIM_PLANT_BEFORE_ORDER + 1,
			    SIM_PLANT_END);
	return unit_run_case("interleavings", tcase);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole calls through the simulated proxy. Tests named dNN_ show that a defect of that number in
 * the old program is not in this one. */
#include <stdlib.h>

#include "../../dlg_mi.h"
#include "../unit/unit.h"
#include "sim_audit.h"
#include "sim_call.h"
#include "sim_wrap.h"

static struct sim_call call;

static void start(void)
{
	ck_assert_int_eq(sim_call_start(16), 0);
	sim_audit_begin();
	sim_call_init(&call, 1);
}

static void check_rules(void)
{
	sim_audit();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}

/* Everything still open goes away; nothing may be left. */
static void finish(void)
{
	check_rules();
	sim_txs_free();
	sim_sent_all(200);
	sim_run(20);
	sim_sent_all(200);
	sim_run((unsigned)dialog_conf.default_timeout > 300 ? 300 : 200);
	if (sim_state(&call))
		sim_run((unsigned)dialog_conf.default_timeout);
	sim_sent_all(200);
	sim_run(20);
	sim_sent_clear();
	sim_audit_end();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}

static void step(int state)
{
	check_rules();
	ck_assert_int_eq(sim_state(&call), state);
}

static struct dlg_counters *totals(void)
{
	return dlg_state_counters();
}

static struct sim_result request(struct sim_request r)
{
	return sim_step(&call, &r, &(struct sim_script){ 0 });
}

static struct sim_result checked(struct sim_request r)
{
	return sim_step(&call, &r, &sim_checked);
}

static void free_tx(struct sim_result res)
{
	if (res.tx)
		sim_tx_free(res.tx);
}

/* Is the request found to belong to the call? Nothing is forwarded. */
static int matches(struct sim_request r)
{
	struct sim_script drop = { .fate = SIM_DROP };

	return sim_step(&call, &r, &drop).status;
}

static int validates(struct sim_request r)
{
	struct sim_script drop = { .fate = SIM_DROP, .validate = 1 };

	return sim_step(&call, &r, &drop).validated;
}

static const struct dlg_leg *leg(int n)
{
	const struct dlg_leg *l = sim_peek(&call)->legs;

	while (l && n--)
		l = l->next;
	ck_assert_ptr_nonnull(l);
	return l;
}

static unsigned live_legs(void)
{
	unsigned acked;

	return dlg_hash_live_legs_locked(sim_peek(&call), NULL, &acked);
}

static struct dlg_str caller_contact(void)
{
	const struct dlg_cell *dlg = sim_peek(&call);

	return (struct dlg_str){ dlg->caller_contact, dlg->caller_contact_len };
}

static struct dlg_str callee_contact(int n)
{
	return (struct dlg_str){ leg(n)->contact, leg(n)->contact_len };
}

/* ---- management commands, recorded ---- */

static struct {
	struct dlg_mi_out out;
	int code;
	char text[256];
	unsigned dialogs;
} mi;

static void mi_ignore(struct dlg_mi_out *out)
{
	out->status = mi.code;
}
static void mi_list(struct dlg_mi_out *out, const char *name)
{
	(void)name;
	mi_ignore(out);
}
static void mi_node(struct dlg_mi_out *out, const char *name)
{
	mi_ignore(out);
	mi.dialogs += name && !strcmp(name, "dialog");
}
static void mi_text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	(void)name;
	(void)value;
	mi_ignore(out);
}
static void mi_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	(void)name;
	(void)value;
	mi_ignore(out);
}
static void mi_error(struct dlg_mi_out *out, int code, const char *reason)
{
	mi.code = code;
	snprintf(mi.text, sizeof(mi.text), "%s", reason);
	mi_ignore(out);
}
static int mi_broken(struct dlg_mi_out *out)
{
	return out->status == 0;
}

static const struct dlg_mi_ops mi_ops = {
	.open_list = mi_list,
	.close_list = mi_ignore,
	.open_node = mi_node,
	.close_node = mi_ignore,
	.attr = mi_text,
	.text = mi_text,
	.number = mi_number,
	.attr_number = mi_number,
	.error = mi_error,
	.broken = mi_broken,
};

/* Run a command with arguments separated by '|'. Returns the code of its answer. */
static int command(const char *name, const char *arguments)
{
	struct dlg_mi_args args = { 0 };
	const struct dlg_mi_command *cmd = dlg_mi_find(dlg_str_of(name));

	mi.out = (struct dlg_mi_out){ .ops = &mi_ops, .status = 200 };
	mi.code = 200;
	mi.dialogs = 0;
	while (arguments && *arguments) {
		size_t n = strcspn(arguments, "|");

		args.arg[args.n++] = (struct dlg_str){ arguments, n };
		arguments += n + (arguments[n] == '|');
	}
	ck_assert_ptr_nonnull(cmd);
	dlg_mi_run(cmd, &args, &mi.out);
	return mi.code;
}

static int end_call(const char *more)
{
	char args[256];

	snprintf(args, sizeof(args), "%u|%u%s", sim_peek(&call)->h_entry, sim_peek(&call)->h_id,
		 more);
	return command("dlg_end_dlg", args);
}

/* ---- life of a call ---- */

START_TEST(a_call_goes_through_all_states)
{
	start();
	sim_invite(&call);
	step(1);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 1);
	sim_answer(&call, 0, 100);
	step(1);
	sim_answer(&call, 0, 180);
	step(2);
	ck_assert_uint_eq(dialog_stat_early_dialogs(), 1);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	sim_answer(&call, 0, 200);
	step(3);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 1);
	ck_assert_uint_eq(dialog_stat_early_dialogs(), 0);
	sim_ack(&call, 0);
	step(4);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 1);
	ck_assert_int_eq(sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200).status, 5);
	step(5);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	ck_assert_uint_eq(dialog_stat_failed_dialogs() + dialog_stat_expired_dialogs(), 0);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLER);
	finish();
	ck_assert_int_eq(sim_state(&call), 0);
}
END_TEST

START_TEST(callee_hangs_up)
{
	start();
	sim_talk(&call);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	step(5);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLEE);
	finish();
}
END_TEST

START_TEST(early_without_a_to_tag)
{
	start();
	call.leg[0].tag[0] = '\0';
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	step(2);
	ck_assert_ptr_null(sim_peek(&call)->legs);
	snprintf(call.leg[0].tag, sizeof(call.leg[0].tag), "late");
	sim_answer(&call, 0, 200);
	step(3);
	ck_assert_uint_eq(live_legs(), 1);
	finish();
}
END_TEST

static void fail_with(int code, int from_proxy, enum dlg_end by)
{
	sim_call_init(&call, (unsigned)code);
	sim_invite(&call);
	if (from_proxy)
		sim_tx_event(call.pass[0].invite, DLG_TX_NEGATIVE, NULL, code);
	else
		sim_answer(&call, 0, code);
	step(5);
	ck_assert_int_eq(sim_peek(&call)->end_code, code);
	ck_assert_int_eq(sim_peek(&call)->ended_by, by);
	sim_gone(&call);
}

START_TEST(d15_every_refused_call_is_counted_as_failed)
{
	start();
	fail_with(302, 0, DLG_END_CALLEE);
	fail_with(401, 0, DLG_END_CALLEE);
	fail_with(486, 0, DLG_END_CALLEE);
	fail_with(503, 0, DLG_END_CALLEE);
	fail_with(603, 0, DLG_END_CALLEE);
	fail_with(487, 0, DLG_END_CALLER); /* cancelled */
	fail_with(408, 1, DLG_END_PROXY);  /* nobody answered */
	fail_with(480, 1, DLG_END_PROXY);  /* t_reply() */
	ck_assert_uint_eq(dialog_stat_failed_dialogs(), 8);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 0);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 8);
	finish();
}
END_TEST

START_TEST(cancel_crossing_200_leaves_the_call_answered)
{
	start();
	sim_invite(&call);
	free_tx(request(
		(struct sim_request){ .method = HOST_CANCEL, .to_tag = "", .no_route = 1 }));
	step(1);
	sim_answer(&call, 0, 200);
	step(3);
	sim_ack(&call, 0);
	step(4);
	finish();
}
END_TEST

START_TEST(a_late_200_revives_nothing)
{
	start();
	sim_invite(&call);
	sim_tx_event(call.pass[0].invite, DLG_TX_NEGATIVE, NULL, 408);
	step(5);
	sim_answer(&call, 0, 200);
	step(5);
	sim_ack(&call, 0);
	step(5);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	finish();
}
END_TEST

START_TEST(retransmitted_replies_change_nothing)
{
	uint64_t print;

	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_answer(&call, 0, 200);
	print = sim_audit_fingerprint();
	sim_answer(&call, 0, 200);
	sim_answer(&call, 0, 200);
	ck_assert(print == sim_audit_fingerprint());
	sim_ack(&call, 0);
	print = sim_audit_fingerprint();
	sim_ack(&call, 0);
	ck_assert(print == sim_audit_fingerprint());
	finish();
}
END_TEST

START_TEST(d21_reordered_messages_are_no_errors)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 183);
	sim_log_clear();
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 481); /* BYE in an early dialog */
	step(2);
	sim_answer(&call, 0, 200);
	step(3);
	sim_answer(&call, 0, 180); /* overtaken by the 200 */
	step(3);
	ck_assert_ptr_null(sim_log_find(HOST_NOTICE, ""));
	finish();
}
END_TEST

START_TEST(prack_and_update_in_an_early_dialog)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 183);
	ck_assert_int_eq(sim_within(&call, HOST_PRACK, DLG_DIR_DOWNSTREAM, 0, 200).status, 2);
	ck_assert_int_eq(sim_within(&call, HOST_UPDATE, DLG_DIR_UPSTREAM, 0, 200).status, 2);
	step(2);
	finish();
}
END_TEST

START_TEST(bye_before_the_ack_ends_the_call)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 0);
	step(5);
	sim_ack(&call, 0);
	step(5);
	finish();
}
END_TEST

START_TEST(byes_crossing_end_the_call_once)
{
	start();
	sim_talk(&call);
	free_tx(sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 0));
	free_tx(sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 0));
	step(5);
	ck_assert_uint_eq(totals()->gauge[DLG_STATE_DELETED], 1);
	finish();
}
END_TEST

START_TEST(a_bye_answered_with_an_error_has_ended_the_call)
{
	start();
	sim_talk(&call);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 481);
	step(5);
	finish();
}
END_TEST

START_TEST(errors_within_a_dialog_end_nothing)
{
	start();
	sim_talk(&call);
	sim_within(&call, HOST_INVITE, DLG_DIR_DOWNSTREAM, 0, 488);
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 481);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 500);
	step(4);
	finish();
}
END_TEST

START_TEST(late_messages_meet_the_ended_dialog)
{
	uint64_t print;

	start();
	sim_talk(&call);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	print = sim_audit_fingerprint();
	ck_assert_int_eq(matches((struct sim_request){ .method = HOST_OTHER }), 5);
	ck_assert_int_eq(matches((struct sim_request){ .method = HOST_ACK }), 5);
	ck_assert(print == sim_audit_fingerprint());
	sim_run(4);
	step(5);
	sim_run(3);
	step(0);
	finish();
}
END_TEST

START_TEST(a_transaction_that_goes_without_an_answer_ends_the_call)
{
	start();
	sim_invite(&call);
	sim_gone(&call);
	step(5);
	ck_assert_uint_eq(dialog_stat_failed_dialogs(), 1);
	finish();
}
END_TEST

/* ---- creation ---- */

static void create_by(enum sim_create how)
{
	struct sim_script script = sim_usual;

	sim_call_init(&call, 10 + (unsigned)how);
	script.create = how;
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	ck_assert_str_ne(call.pass[0].cookie, "");
	step(1);
	sim_answer(&call, 0, 486);
	step(5);
	sim_gone(&call);
}

START_TEST(all_ways_of_asking_give_one_dialog_with_a_cookie)
{
	start();
	create_by(SIM_CREATE_BEFORE);
	create_by(SIM_CREATE_AFTER);
	create_by(SIM_CREATE_FLAG);
	create_by(SIM_CREATE_BOTH);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 4);
	create_by(SIM_CREATE_BEFORE);
	finish();
}
END_TEST

START_TEST(nobody_asks_nothing_is_tracked)
{
	struct sim_script script = { .create = SIM_CREATE_NONE, .record_route = 1 };

	start();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	check_rules();
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 0);
	sim_answer(&call, 0, 200);
	finish();
}
END_TEST

static void no_forwarding(enum sim_fate fate, enum sim_create how, unsigned left)
{
	struct sim_script script = { .create = how, .record_route = 1, .fate = fate, .code = 480 };

	sim_call_init(&call, 20 + fate);
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	check_rules();
	sim_gone(&call);
	ck_assert_uint_eq(totals()->gauge[DLG_STATE_UNCONFIRMED], 0);
	ck_assert_uint_eq(totals()->gauge[DLG_STATE_DELETED], left);
	sim_run(10);
}

START_TEST(a_script_that_never_forwards_leaves_nothing_behind)
{
	start();
	no_forwarding(SIM_DROP, SIM_CREATE_BEFORE, 0);
	no_forwarding(SIM_SL_REPLY, SIM_CREATE_BEFORE, 0);
	no_forwarding(SIM_STATELESS, SIM_CREATE_BEFORE, 0);
	no_forwarding(SIM_DROP, SIM_CREATE_FLAG, 0);
	no_forwarding(SIM_T_REPLY, SIM_CREATE_BEFORE, 1);
	no_forwarding(SIM_T_REPLY, SIM_CREATE_FLAG, 1);
	sim_audit_end();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}
END_TEST

static struct sim_result invite_again(unsigned branch, uint32_t cseq, int retransmission)
{
	struct sim_request r = { .method = HOST_INVITE,
				 .initial = 1,
				 .branch = branch,
				 .cseq = cseq,
				 .retransmission = retransmission };

	return sim_step(&call, &r, &sim_usual);
}

START_TEST(a_retransmitted_invite_creates_no_second_dialog)
{
	struct sim_result first, second;

	start();
	first = invite_again(900, 10, 0);
	second = invite_again(900, 10, 1);
	ck_assert_int_eq(second.created, 0);
	ck_assert_ptr_null(second.tx);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 1);
	ck_assert_ptr_nonnull(first.tx);
	step(1);
	finish();
}
END_TEST

static struct sim_result elsewhere;

/* Another worker gets the same INVITE while the first one's script has not relayed it yet. */
static void the_same_again(struct host_msg *msg)
{
	struct sim_request r = { .method = HOST_INVITE, .initial = 1, .branch = 900, .cseq = 10 };

	(void)msg;
	elsewhere = sim_step(&call, &r, &sim_usual);
}

START_TEST(two_workers_with_the_same_invite_create_one_dialog)
{
	struct sim_request r = { .method = HOST_INVITE, .initial = 1, .branch = 900, .cseq = 10 };
	struct sim_script slow = { .record_route = 1, .extra = the_same_again };

	start();
	ck_assert_ptr_nonnull(sim_step(&call, &r, &slow).tx);
	ck_assert_int_eq(elsewhere.created, 0);
	ck_assert_ptr_null(elsewhere.tx);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 1);
	step(1);
	finish();
}
END_TEST

START_TEST(the_same_call_with_a_new_cseq_is_a_new_dialog)
{
	struct host_tx *first;

	start();
	first = invite_again(900, 10, 0).tx;
	sim_tx_event(first, DLG_TX_NEGATIVE, NULL, 401);
	sim_tx_free(first);
	invite_again(901, 11, 0);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 2);
	step(1);
	finish();
}
END_TEST

static int create_in_failure_route(struct host_tx *t)
{
	static const struct dialog_arg no_args[DIALOG_ARGS_MAX];
	int ret;

	sim_tx_enter(t);
	ret = dialog_fn_create_dialog(t->req, no_args);
	sim_tx_enter(NULL);
	return ret;
}

START_TEST(a_failure_route_is_told_that_the_dialog_exists)
{
	struct sim_script untracked = { .create = SIM_CREATE_NONE, .record_route = 1 };
	struct sim_request invite = { .method = HOST_INVITE, .initial = 1 };
	struct sim_result res;
	struct sim_call other;

	start();
	ck_assert_int_eq(create_in_failure_route(sim_invite(&call)), 1);
	sim_call_init(&other, 2);
	res = sim_step(&other, &invite, &untracked);
	ck_assert_int_eq(create_in_failure_route(res.tx), -1);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	res = request((struct sim_request){ .method = HOST_INVITE });
	ck_assert_int_eq(create_in_failure_route(res.tx), -1); /* a re-INVITE is none to create one */
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 1);
	finish();
}
END_TEST

START_TEST(only_initial_invites_create_dialogs)
{
	struct sim_request bad[] = {
		{ .method = HOST_OTHER, .initial = 1 },
		{ .method = HOST_ACK, .initial = 1 },
		{ .method = HOST_INVITE, .initial = 1, .to_tag = "tag" },
		{ .method = HOST_INVITE, .initial = 1, .from_tag = "" },
		{ .method = HOST_INVITE, .initial = 1, .call_id = "" },
	};

	start();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sim_result res = sim_step(&call, &bad[i], &sim_usual);

		ck_assert_int_eq(res.created, -1);
		free_tx(res);
		call.pass[0].invite = NULL;
	}
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 0);
	finish();
}
END_TEST

START_TEST(without_record_route_the_call_lives_until_its_lifetime)
{
	struct sim_script script = { .record_route = 0 };

	start();
	dialog_conf.default_timeout = 100;
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_answer(&call, 0, 200);
	sim_gone(&call);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 1);
	sim_run(98); /* beyond ack_timeout: the ACK does not pass here */
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 1);
	sim_run(3);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 1);
	finish();
}
END_TEST

START_TEST(d03_ids_beyond_31_bits_go_on)
{
	start();
	for (uint32_t e = 0; e < 16; e++)
		dlg_hash_set_next_id(e, 0x7fffffffu);
	sim_talk(&call);
	step(4);
	for (uint32_t n = 0; n < 3; n++) {
		struct sim_call other;

		sim_call_init(&other, 1);
		other.cseq = 20 + n;
		ck_assert_ptr_nonnull(sim_invite(&other));
		ck_assert_uint_eq(sim_peek(&other)->h_id, 0x80000000u + n);
		sim_answer(&other, 0, 180);
		ck_assert_int_eq(sim_state(&other), 2);
		sim_gone(&other);
	}
	dlg_hash_set_next_id(sim_peek(&call)->h_entry, UINT32_MAX);
	for (uint32_t n = 0; n < 2; n++) {
		struct sim_call other;

		sim_call_init(&other, 1);
		other.cseq = 30 + n;
		sim_invite(&other);
		ck_assert_uint_eq(sim_peek(&other)->h_id, n ? 1 : UINT32_MAX); /* 0 is no id */
		sim_gone(&other);
	}
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	finish();
}
END_TEST

/* ---- forks and spirals ---- */

static void fork_answered_twice(void)
{
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_answer(&call, 1, 183);
	step(2);
	sim_answer(&call, 0, 200);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 0);
	sim_ack(&call, 1);
	sim_gone(&call);
	step(4);
}

START_TEST(several_early_legs_one_answers)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_answer(&call, 1, 183);
	sim_answer(&call, 2, 180);
	step(2);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 1);
	step(4);
	ck_assert_uint_eq(live_legs(), 1);
	ck_assert_int_eq(leg(0)->state, DLG_LEG_EARLY);
	ck_assert_int_eq(leg(1)->state, DLG_LEG_ANSWERED);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 1, 200);
	step(5);
	finish();
}
END_TEST

START_TEST(serial_fork_keeps_the_dialog)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0,
		   180); /* then 486 from there, which the failure route keeps for itself */
	sim_tx_event(call.pass[0].invite, DLG_TX_FORWARDED, NULL, 0);
	sim_answer(&call, 1, 180);
	step(2);
	sim_answer(&call, 1, 200);
	step(3);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 1);
	finish();
}
END_TEST

START_TEST(d19_a_bye_on_one_leg_ends_that_leg)
{
	start();
	fork_answered_twice();
	ck_assert_uint_eq(live_legs(), 2);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 1, 200);
	step(4);
	ck_assert_int_eq(leg(0)->state, DLG_LEG_ANSWERED);
	ck_assert_int_eq(leg(1)->state, DLG_LEG_ENDED);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 1);
	ck_assert_int_eq(matches((struct sim_request){ .method = HOST_OTHER, .leg = 0 }), 4);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	step(5);
	finish();
}
END_TEST

START_TEST(d19_all_answered_legs_get_their_byes)
{
	unsigned to[2] = { 0 }, caller = 0;

	start();
	fork_answered_twice();
	ck_assert_int_eq(end_call(""), 200);
	step(5);
	for (struct sim_sent *s = sim_sent_list(); s; s = s->next) {
		caller += !strcmp(s->to_tag, call.from_tag);
		to[0] += !strcmp(s->to_tag, call.leg[0].tag);
		to[1] += !strcmp(s->to_tag, call.leg[1].tag);
	}
	ck_assert_uint_eq(caller, 2);
	ck_assert(to[0] == 1 && to[1] == 1);
	finish();
}
END_TEST

static void spiral_at(int pass, enum host_method method, enum dlg_dir dir, int expected)
{
	struct sim_result res =
		request((struct sim_request){ .method = method,
					      .dir = dir,
					      .pass = pass,
					      .cseq = 50,
					      .routes = pass ? "" : "<sip:127.0.0.1:5060;lr>" });

	ck_assert_int_eq(res.status, expected);
	free_tx(res);
}

static void run_spiral(int mode)
{
	start();
	dialog_conf.dlg_match_mode = mode;
	for (int pass = 0; pass < 2; pass++) {
		struct sim_request r = {
			.method = HOST_INVITE, .initial = 1, .pass = pass, .cseq = 10
		};

		if (pass) /* the first pass recorded its route */
			snprintf(call.routes, sizeof(call.routes), "<sip:127.0.0.1:5060;lr>");
		sim_step(&call, &r, &sim_usual);
	}
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 2);
	ck_assert(mode == 2 || strcmp(call.pass[0].cookie, call.pass[1].cookie));
	for (int pass = 1; pass >= 0; pass--) {
		snprintf(call.routes, sizeof(call.routes), "%s",
			 pass ? "<sip:127.0.0.1:5060;lr>" : "");
		snprintf(call.leg[0].routes, sizeof(call.leg[0].routes), "%s",
			 pass ? "" : "<sip:127.0.0.1:5060;lr>");
		sim_reply(&call, call.pass[pass].invite, 0, 200);
	}
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 2);
	spiral_at(0, HOST_ACK, DLG_DIR_DOWNSTREAM, 4);
	spiral_at(1, HOST_ACK, DLG_DIR_DOWNSTREAM, 4);
	ck_assert_uint_eq(totals()->gauge[DLG_STATE_CONFIRMED], 2);
	spiral_at(0, HOST_BYE, DLG_DIR_DOWNSTREAM, 5);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 1);
	spiral_at(1, HOST_BYE, DLG_DIR_DOWNSTREAM, 5);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	finish();
}

START_TEST(a_spiral_keeps_two_dialogs_apart)
{
	run_spiral(_i);
}
END_TEST

/* ---- a request changes a call only when the script lets it pass ---- */

static void refused_changes_nothing(struct sim_request r, struct sim_script script)
{
	uint64_t before = sim_audit_fingerprint();
	struct sim_result res = sim_step(&call, &r, &script);

	check_rules();
	ck_assert_int_eq(res.forwarded, 0);
	ck_assert(sim_audit_fingerprint() == before);
	free_tx(res);
	ck_assert(sim_audit_fingerprint() == before);
}

START_TEST(d04_refused_bye_changes_nothing)
{
	struct sim_request forged = { .method = HOST_BYE, .cseq = 3 };
	struct sim_request good = { .method = HOST_BYE, .cseq = 99 };

	start();
	sim_talk(&call);
	refused_changes_nothing(forged, sim_checked);
	refused_changes_nothing(good, (struct sim_script){ .fate = SIM_T_REPLY, .code = 403 });
	refused_changes_nothing(good, (struct sim_script){ .fate = SIM_SL_REPLY });
	refused_changes_nothing(good, (struct sim_script){ .fate = SIM_DROP });
	step(4);
	ck_assert_int_eq(checked(good).validated, 1);
	step(5);
	finish();
}
END_TEST

START_TEST(status_reads_5_while_a_bye_is_processed)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(matches((struct sim_request){ .method = HOST_BYE }), 5);
	step(4);
	finish();
}
END_TEST

START_TEST(d05_cseq_of_a_bye_is_checked_against_the_last_request)
{
	struct {
		uint32_t cseq;
		int valid;
	} bye[] = {
		{ 0xffffffff, 1 }, { 1, -1 }, { 9, -1 }, { 10, -1 }, { 11, 1 }, { 1000000, 1 },
	};

	start();
	call.cseq = 9;
	sim_talk(&call);
	ck_assert_uint_eq(call.invite_cseq, 10);
	for (int i = 1; i < 6; i++)
		ck_assert_int_eq(
			validates((struct sim_request){ .method = HOST_BYE, .cseq = bye[i].cseq }),
			bye[i].valid);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200); /* 11 */
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_BYE, .cseq = 11 }), -1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_BYE, .cseq = 12 }), 1);
	ck_assert_int_eq(validates((struct sim_request){
				 .method = HOST_BYE, .cseq = 1, .dir = DLG_DIR_UPSTREAM }),
			 1);
	finish();
}
END_TEST

START_TEST(an_ack_carries_the_cseq_of_its_invite)
{
	start();
	sim_talk(&call);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_ACK, .cseq = 11 }), 1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_ACK, .cseq = 12 }), -1);
	sim_within(&call, HOST_INVITE, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_ACK, .cseq = 13 }), 1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_ACK, .cseq = 11 }), -1);
	finish();
}
END_TEST

START_TEST(d06_lower_numbers_do_not_reopen_the_range)
{
	start();
	sim_talk(&call);
	free_tx(request((struct sim_request){ .method = HOST_OTHER, .cseq = 50 }));
	free_tx(request(
		(struct sim_request){ .method = HOST_OTHER, .cseq = 5 })); /* let pass unchecked */
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER, .cseq = 6 }), -1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER, .cseq = 50 }), -1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER, .cseq = 51 }), 1);
	ck_assert_int_eq(end_call(""), 200);
	ck_assert_uint_eq(sim_sent_list()->next->cseq, 51);
	finish();
}
END_TEST

START_TEST(a_cseq_beyond_31_bits_spoils_nothing)
{
	start();
	sim_talk(&call);
	free_tx(request((struct sim_request){ .method = HOST_OTHER, .cseq = 0xffffffffu }));
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER, .cseq = 12 }), 1);
	ck_assert_int_eq(end_call(""), 200);
	ck_assert_uint_eq(sim_sent_list()->next->cseq, 12);
	finish();
}
END_TEST

START_TEST(d07_contacts_follow_accepted_target_refreshes)
{
	static const char fresh[] = "sip:alice@127.0.0.9:6000", fresh2[] = "sip:bob@127.0.0.9:6001";
	struct sim_request r = { .method = HOST_INVITE, .contact = fresh };
	struct sim_result res;

	start();
	sim_talk(&call);
	res = request(r);
	ck_assert_view(caller_contact(), call.contact);
	sim_reply(&call, res.tx, 0, 488);
	free_tx(res);
	ck_assert_view(caller_contact(), call.contact);
	res = request(r);
	sim_reply_from(&call, res.tx, 0, 180, fresh2);
	ck_assert_view(caller_contact(), call.contact);
	sim_reply_from(&call, res.tx, 0, 200, fresh2);
	free_tx(res);
	ck_assert_view(caller_contact(), fresh);
	ck_assert_view(callee_contact(0), fresh2);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER, .ruri = fresh2 }),
			 1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER }), -1);
	end_call("");
	ck_assert_str_eq(sim_sent_list()->target, fresh);
	ck_assert_str_eq(sim_sent_list()->next->target, fresh2);
	finish();
}
END_TEST

START_TEST(d07_update_of_the_callee_refreshes_its_contact)
{
	struct sim_result res;

	start();
	sim_talk(&call);
	res = request((struct sim_request){
		.method = HOST_UPDATE, .dir = DLG_DIR_UPSTREAM, .contact = "sip:bob@127.0.0.8" });
	sim_reply_from(&call, res.tx, 0, 200, "");
	free_tx(res);
	ck_assert_view(callee_contact(0), "sip:bob@127.0.0.8");
	ck_assert_view(caller_contact(), call.contact);
	/* other requests refresh nothing */
	res = request(
		(struct sim_request){ .method = HOST_OTHER, .contact = "sip:mallory@127.0.0.66" });
	sim_reply_from(&call, res.tx, 0, 200, "sip:mallory@127.0.0.66");
	free_tx(res);
	ck_assert_view(callee_contact(0), "sip:bob@127.0.0.8");
	ck_assert_view(caller_contact(), call.contact);
	finish();
}
END_TEST

START_TEST(d24_remote_contact_is_compared_with_case)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER }), 1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER,
							 .ruri = "sip:BOB@127.0.0.9:5090" }),
			 -1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER,
							 .ruri = "sip:mallory@127.0.0.9:5090" }),
			 -1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER,
							 .ruri = "sip:bob@127.0.0.9:5090;x=y" }),
			 1);
	finish();
}
END_TEST

START_TEST(route_set_is_validated)
{
	start();
	snprintf(call.leg[0].routes, sizeof(call.leg[0].routes), "<sip:127.0.0.6;lr>");
	sim_talk(&call);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER }), 1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER, .routes = "" }), -1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER,
							 .routes = "<sip:127.0.0.66;lr>" }),
			 -1);
	ck_assert_int_eq(
		validates((struct sim_request){
			.method = HOST_OTHER, .routes = "<sip:127.0.0.6;lr>,<sip:127.0.0.7;lr>" }),
		-1);
	ck_assert_int_eq(
		validates((struct sim_request){ .method = HOST_OTHER, .dir = DLG_DIR_UPSTREAM }),
		1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER,
							 .dir = DLG_DIR_UPSTREAM,
							 .routes = "<sip:127.0.0.6;lr>" }),
			 -1);
	finish();
}
END_TEST

START_TEST(behind_a_strict_router_the_target_is_the_last_route)
{
	struct sim_request r = { .method = HOST_OTHER, .strict = 1, .ruri = "sip:127.0.0.1" };

	start();
	sim_talk(&call);
	r.routes = "<sip:bob@127.0.0.9:5090>";
	ck_assert_int_eq(validates(r), 1);
	r.routes = "<sip:mallory@127.0.0.9:5090>";
	ck_assert_int_eq(validates(r), -1);
	r.routes = "<sip:127.0.0.66;lr>,<sip:bob@127.0.0.9:5090>";
	ck_assert_int_eq(validates(r), -1);
	r.routes = "";
	ck_assert_int_eq(validates(r), -1);
	finish();
}
END_TEST

START_TEST(validate_dialog_says_no_without_a_dialog)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(
		validates((struct sim_request){ .method = HOST_BYE, .from_tag = "forged" }), -1);
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_BYE, .no_route = 1 }), -1);
	finish();
}
END_TEST

/* ---- matching ---- */

struct
try {
	const char *cookie;
	int in_mode[3];
};

static void check_modes(const char *what, struct sim_request r, const int in_mode[3])
{
	for (int mode = 0; mode < 3; mode++) {
		dialog_conf.dlg_match_mode = mode;
		r.method = HOST_OTHER;
		ck_assert_msg(matches(r) == in_mode[mode], "%s in mode %d: %d", what, mode,
			      matches(r));
	}
	check_rules();
}

START_TEST(cookies_are_matched_strictly)
{
	static const struct try tries[] = {
		{ "", { 0, 4, 4 } },
		{ ".", { 0, 4, 4 } },
		{ "1.", { 0, 4, 4 } },
		{ ".1", { 0, 4, 4 } },
		{ "1.1", { 0, 4, 4 } },
		{ "fff.1", { 0, 4, 4 } },
		{ "fffffff.fffffff", { 0, 4, 4 } },
	};
	struct sim_call other;

	start();
	sim_talk(&call);
	sim_call_init(&other, 2);
	sim_talk(&other);
	check_modes("own cookie", (struct sim_request){ 0 }, (int[]){ 4, 4, 4 });
	check_modes("another call's", (struct sim_request){ .cookie = other.pass[0].cookie },
		    (int[]){ 0, 4, 4 });
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
		check_modes(tries[i].cookie, (struct sim_request){ .cookie = tries[i].cookie },
			    tries[i].in_mode);
	ck_assert_uint_gt(totals()->forged, 0);
	sim_within(&other, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	finish();
}
END_TEST

START_TEST(d25_mode_1_falls_back_on_a_malformed_cookie)
{
	static const char *const bad[] = { "abc",
					   "zz.yy",
					   "-1.2",
					   "1..2",
					   "1.2.3",
					   "12g.1",
					   "ffffffffffffffffffffffffffffffffffffffff.1" };

	start();
	sim_talk(&call);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_modes(bad[i], (struct sim_request){ .cookie = bad[i] }, (int[]){ 0, 4, 4 });
	dialog_conf.dlg_match_mode = 0;
	finish();
}
END_TEST

START_TEST(tags_and_call_id_must_always_agree)
{
	static const int never[3] = { 0, 0, 0 };
	char oversized[3000];

	start();
	memset(oversized, 'f', sizeof(oversized) - 1);
	oversized[sizeof(oversized) - 1] = '\0';
	oversized[800] = '.';
	sim_talk(&call);
	check_modes("wrong To tag", (struct sim_request){ .to_tag = "forged" }, never);
	check_modes("wrong From tag", (struct sim_request){ .from_tag = "forged" }, never);
	check_modes("no tags", (struct sim_request){ .from_tag = "", .to_tag = "" }, never);
	check_modes("other Call-ID", (struct sim_request){ .call_id = "other" }, never);
	check_modes("Call-ID in capitals", (struct sim_request){ .call_id = "CALL-1@127.0.0.9" },
		    never);
	check_modes("upstream", (struct sim_request){ .dir = DLG_DIR_UPSTREAM },
		    (int[]){ 4, 4, 4 });
	dialog_conf.dlg_match_mode = 0;
	oversized[1500] = '\0'; /* fits into a message of the simulation */
	ck_assert_int_eq(matches((struct sim_request){ .method = HOST_OTHER, .cookie = oversized }),
			 0);
	finish();
}
END_TEST

START_TEST(requests_without_route_are_matched_in_modes_1_and_2)
{
	start();
	sim_talk(&call);
	check_modes("no Route", (struct sim_request){ .no_route = 1 }, (int[]){ 0, 4, 4 });
	dialog_conf.dlg_match_mode = 1;
	free_tx(request((struct sim_request){ .method = HOST_BYE, .no_route = 1 }));
	step(5);
	finish();
}
END_TEST

static const char stranger[] = "<sip:192.0.2.66;lr>";

START_TEST(requests_that_rr_does_not_tell_of_are_matched_in_modes_1_and_2)
{
	start();
	sim_talk(&call);
	check_modes("bare Route", (struct sim_request){ .bare_route = 1 }, (int[]){ 0, 4, 4 });
	check_modes("a stranger's", (struct sim_request){ .only_route = stranger },
		    (int[]){ 0, 4, 4 });
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_BYE, .bare_route = 1 }), 1);
	finish();
}
END_TEST

/* The script of manual 1.6.2: if ($DLG_status != NULL && !validate_dialog()), 403. */
static struct sim_result as_in_the_manual(struct sim_request r)
{
	return matches(r) ? checked(r) : request(r);
}

START_TEST(no_route_leads_around_validate_dialog)
{
	struct sim_request bogus[] = {
		{ .method = HOST_BYE, .cseq = 1, .only_route = stranger },
		{ .method = HOST_BYE, .cseq = 99, .only_route = stranger },
		{ .method = HOST_BYE, .cseq = 1, .bare_route = 1 },
		{ .method = HOST_BYE, .cseq = 1, .no_route = 1 },
	};

	start();
	sim_talk(&call);
	for (int mode = 1; mode < 3; mode++) {
		dialog_conf.dlg_match_mode = mode;
		for (size_t i = 0; i < sizeof(bogus) / sizeof(bogus[0]); i++) {
			free_tx(as_in_the_manual(bogus[i]));
			step(4);
		}
	}
	free_tx(as_in_the_manual((struct sim_request){ .method = HOST_BYE, .bare_route = 1 }));
	step(5);
	finish();
}
END_TEST

START_TEST(loose_route_goes_by_the_cookie_whatever_was_found_before)
{
	struct sim_call other;
	struct host_msg *msg;

	start();
	dialog_conf.dlg_match_mode = 1;
	sim_talk(&call);
	other = call; /* the same call once more: only the cookie tells which one */
	sim_talk(&other);
	for (int i = 0; i < 2; i++) {
		struct sim_call *c = i ? &other : &call;
		struct sim_request r = { .method = HOST_OTHER, .dir = DLG_DIR_DOWNSTREAM };

		msg = sim_request_msg(c, &r);
		ck_assert_int_eq(dlg_handlers_status(msg), 4);
		sim_on_route(msg);
		ck_assert_ptr_eq(dlg_handlers_current(msg, NULL), sim_peek(c));
		sim_msg_end(msg, 0);
		sim_msg_free(msg);
	}
	sim_within(&other, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	finish();
}
END_TEST

START_TEST(forged_requests_change_nothing_even_when_relayed)
{
	struct sim_request forged[] = {
		{ .method = HOST_BYE, .from_tag = "forged" },
		{ .method = HOST_BYE, .to_tag = "forged" },
		{ .method = HOST_BYE, .cookie = "1.1" },
		{ .method = HOST_BYE, .call_id = "forged" },
		{ .method = HOST_BYE, .no_route = 1 },
		{ .method = HOST_ACK, .to_tag = "forged" },
	};
	uint64_t before;

	start();
	sim_talk(&call);
	before = sim_audit_fingerprint();
	for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++)
		free_tx(request(forged[i]));
	ck_assert(before == sim_audit_fingerprint());
	step(4);
	finish();
}
END_TEST

START_TEST(mode_2_adds_no_cookie)
{
	start();
	dialog_conf.dlg_match_mode = 2;
	sim_talk(&call);
	ck_assert_str_eq(call.pass[0].cookie, "");
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 1);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	finish();
}
END_TEST

/* ---- timeouts ---- */

START_TEST(lifetime_ends_a_call_and_is_counted)
{
	start();
	dialog_conf.default_timeout = 100;
	sim_talk(&call);
	sim_run(99);
	step(4);
	sim_run(2);
	step(5);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 1);
	ck_assert_uint_eq(sim_sends_tried, 0);
	finish();
}
END_TEST

START_TEST(sequential_requests_but_no_ack_reset_the_lifetime)
{
	start();
	dialog_conf.default_timeout = 100;
	sim_talk(&call);
	sim_run(90);
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	sim_run(90);
	step(4);
	sim_ack(&call, 0);
	sim_run(12);
	step(5);
	finish();
}
END_TEST

static void call_with_timeout(const char *text)
{
	sim_step(&call,
		 &(struct sim_request){ .method = HOST_INVITE, .initial = 1, .timeout = text },
		 &sim_usual);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
}

static int hooks_left, alive_after_request;

/* Another process lets a request of the call pass, at one moment within the timer's tick. */
static void pass_a_request(void)
{
	if (hooks_left-- > 0 || alive_after_request >= 0)
		return;
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	alive_after_request = sim_state(&call) == 4;
}

/* Wherever the request cuts in: once it has reset the lifetime, this tick must not end the call. */
START_TEST(a_request_that_crosses_the_timer_keeps_the_call)
{
	unsigned kept = 0;

	ck_assert(sim_wrapped());
	start();
	dialog_conf.default_timeout = 30;
	for (int moment = 0; moment < 60; moment++) {
		sim_call_init(&call, 1000 + (unsigned)moment % 7);
		sim_talk(&call);
		sim_run(29);
		step(4);
		sim_advance(1000);
		hooks_left = moment;
		alive_after_request = -1;
		sim_interleave = pass_a_request;
		dlg_timer_tick();
		sim_interleave = NULL;
		if (alive_after_request == 1) {
			step(4);
			kept++;
		}
		sim_run(50);
		step(0);
	}
	ck_assert_uint_gt(kept, 3);
	ck_assert_uint_lt(kept, 60); /* some moments are too late */
	finish();
}
END_TEST

START_TEST(timeout_avp_counts_in_initial_and_sequential_requests)
{
	start();
	dialog_conf.default_timeout = 500;
	call_with_timeout("50");
	sim_run(45);
	free_tx(request((struct sim_request){ .method = HOST_OTHER, .timeout = "200" }));
	sim_run(190);
	step(4);
	free_tx(request((struct sim_request){ .method = HOST_OTHER, .timeout = "7" }));
	sim_run(9);
	step(5);
	finish();
}
END_TEST

START_TEST(a_timeout_avp_that_is_no_time_is_ignored)
{
	start();
	dialog_conf.default_timeout = 30;
	call_with_timeout("soon");
	free_tx(request((struct sim_request){ .method = HOST_OTHER, .timeout = "0" }));
	free_tx(request((struct sim_request){ .method = HOST_OTHER, .timeout = "-5" }));
	free_tx(request((struct sim_request){ .method = HOST_OTHER, .timeout = "99999999999" }));
	sim_run(28);
	step(4);
	sim_run(4);
	step(5);
	finish();
}
END_TEST

START_TEST(a_refused_request_does_not_reset_the_lifetime)
{
	start();
	dialog_conf.default_timeout = 30;
	sim_talk(&call);
	sim_run(20);
	free_tx(sim_step(&call, &(struct sim_request){ .method = HOST_OTHER, .timeout = "100" },
			 &(struct sim_script){ .fate = SIM_T_REPLY, .code = 403 }));
	sim_run(12);
	step(5);
	finish();
}
END_TEST

START_TEST(d20_every_state_has_a_limit)
{
	start();
	dialog_conf.setup_timeout = 60;
	dialog_conf.ack_timeout = 20;
	sim_invite(&call);
	sim_run(58);
	step(1);
	sim_run(4);
	step(5);
	ck_assert_int_eq(call.pass[0].invite->final, 408); /* the caller is told */
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 1);
	sim_gone(&call);
	sim_run(10);
	sim_call_init(&call, 2);
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_run(62);
	step(5);
	sim_gone(&call);
	sim_run(10);
	sim_call_init(&call, 3);
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_run(18);
	step(3);
	sim_run(4);
	step(5);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 3);
	ck_assert_uint_eq(dialog_stat_failed_dialogs(), 0);
	finish();
}
END_TEST

static void talk_with_bye_flag(void)
{
	struct sim_request r = { .method = HOST_INVITE, .initial = 1 };
	struct host_msg *msg;

	/* the flag of the message is set by the script */
	call.cseq++;
	r.cseq = call.invite_cseq = call.cseq;
	msg = sim_request_msg(&call, &r);
	msg->flags = 1u << SIM_BYE_FLAG;
	dialog_fn_create_dialog(msg, NULL);
	call.pass[0].record_routes = 1;
	snprintf(call.pass[0].cookie, sizeof(call.pass[0].cookie), "%s",
		 strchr(msg->rr_added, '=') + 1);
	call.pass[0].invite = sim_tx_new(msg);
	call.pass[0].invite->own_record_routes = 1;
	sim_tx_event(call.pass[0].invite, DLG_TX_FORWARDED, NULL, 0);
	sim_msg_end(msg, 1);
	sim_msg_free(msg);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
}

static void check_bye(const struct sim_sent *s, int up, uint32_t cseq, const char *routes)
{
	ck_assert_str_eq(s->method, "BYE");
	ck_assert_str_eq(s->call_id, call.call_id);
	ck_assert_str_eq(s->from_uri, up ? call.to_uri : call.from_uri);
	ck_assert_str_eq(s->to_uri, up ? call.from_uri : call.to_uri);
	ck_assert_str_eq(s->from_tag, up ? call.leg[0].tag : call.from_tag);
	ck_assert_str_eq(s->to_tag, up ? call.from_tag : call.leg[0].tag);
	ck_assert_str_eq(s->target, up ? call.contact : call.leg[0].contact);
	ck_assert_str_eq(s->route_set, routes);
	ck_assert_uint_eq(s->cseq, cseq);
	ck_assert_ptr_eq(s->sock, sim_sock[0]);
}

START_TEST(expiry_sends_byes_in_both_directions)
{
	static char extra[] = "X-Hint: credit expired\r\n";

	dialog_conf.dlg_extra_hdrs = extra;
	start();
	dialog_conf.default_timeout = 30;
	snprintf(call.routes, sizeof(call.routes), "<sip:127.0.0.4;lr>,<sip:127.0.0.5;lr>");
	snprintf(call.leg[0].routes, sizeof(call.leg[0].routes),
		 "<sip:127.0.0.7;lr>,\"x\" <sip:127.0.0.6;lr>;p");
	talk_with_bye_flag();
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_run(32);
	step(5);
	ck_assert_uint_eq(sim_sent_pending(), 2);
	check_bye(sim_sent_list(), 1, 2, "<sip:127.0.0.4;lr>,<sip:127.0.0.5;lr>");
	check_bye(sim_sent_list()->next, 0, 13, "\"x\" <sip:127.0.0.6;lr>;p,<sip:127.0.0.7;lr>");
	ck_assert_str_eq(sim_sent_list()->headers, extra);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 1);
	finish();
}
END_TEST

enum { MANY = 50 };
static struct sim_call many[MANY];

/* Calls whose lifetime runs out in the same second, which is the next one. */
static void talk_many(int rate)
{
	start();
	dialog_conf.timeout_bye_rate = rate;
	dialog_conf.default_timeout = 30;
	for (unsigned i = 0; i < MANY; i++) {
		sim_call_init(&call, 1000 + i);
		talk_with_bye_flag();
		many[i] = call;
	}
	sim_run(29);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 0);
}

/* The next tick has ended so many in all; it took less than a second. */
static void tick_ends(unsigned expired)
{
	uint64_t then;

	sim_advance(1000);
	then = host_mono_ms();
	dlg_timer_tick();
	ck_assert_uint_lt(host_mono_ms() - then, 1000);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), expired);
	ck_assert_uint_eq(sim_sends_tried, 2 * expired);
	check_rules(); /* nobody is overdue */
}

static struct sim_call *one_that_talks(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		if (sim_state(&many[i]) == 4)
			return &many[i];
	}
	return NULL;
}

START_TEST(many_that_run_out_together_get_their_byes_at_a_rate)
{
	talk_many(20);
	tick_ends(20);
	tick_ends(40);
	tick_ends(MANY);
	finish();
}
END_TEST

START_TEST(a_rate_of_0_is_no_limit)
{
	talk_many(0);
	tick_ends(MANY);
	finish();
}
END_TEST

START_TEST(who_waits_for_a_bye_may_still_hang_up_or_go_on)
{
	struct sim_call *quits, *stays;

	talk_many(MANY - 2);
	tick_ends(MANY - 2);
	quits = one_that_talks();
	free_tx(sim_within(quits, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200));
	ck_assert_int_eq(sim_state(quits), 5);
	stays = one_that_talks();
	free_tx(sim_within(stays, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200));
	tick_ends(MANY - 2);
	ck_assert_int_eq(sim_state(stays), 4);
	sim_run(28);
	ck_assert_int_eq(sim_state(stays), 4);
	sim_run(3);
	ck_assert_int_eq(sim_state(stays), 5);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), MANY - 1);
	finish();
}
END_TEST

START_TEST(calls_without_bye_do_not_wait_for_those_with_it)
{
	talk_many(1);
	for (unsigned i = 0; i < 10; i++)
		((struct dlg_cell *)sim_peek(&many[i]))->flags &= (uint16_t)~DLG_F_BYE_ON_TIMEOUT;
	sim_run(1);
	ck_assert_uint_eq(dialog_stat_expired_dialogs(), 11);
	ck_assert_uint_eq(sim_sends_tried, 2);
	finish();
}
END_TEST

/* The call's time is over, and only the first wheel's process has seen it. */
static void run_out_in_first_wheel(void)
{
	dialog_conf.default_timeout = 30;
	talk_with_bye_flag();
	sim_run(29);
	sim_advance(2000);
	dlg_timer_tick();
}

/* A party may let the lookup of its name take as long as it wants: only the second wheel waits. */
START_TEST(byes_to_hosts_with_names_are_left_to_the_second_wheel)
{
	start();
	snprintf(call.leg[0].contact, sizeof(call.leg[0].contact), "sip:bob@slow.example.com");
	run_out_in_first_wheel();
	step(4);
	ck_assert_uint_eq(sim_sends_tried, 0);
	dlg_timer_tick_patient();
	step(5);
	ck_assert_uint_eq(sim_sends_tried, 2);
	finish();
}
END_TEST

START_TEST(the_next_hop_decides_whether_there_is_a_name)
{
	start();
	snprintf(call.routes, sizeof(call.routes), "<sip:127.0.0.4;lr>,<sip:example.com;lr>");
	snprintf(call.contact, sizeof(call.contact), "sip:alice@example.com");
	run_out_in_first_wheel();
	step(5);
	ck_assert_uint_eq(sim_sends_tried, 2);
	finish();
}
END_TEST

/* Passed on, but still the caller's to end or to prolong. */
START_TEST(who_was_passed_on_may_still_hang_up_or_go_on)
{
	start();
	snprintf(call.contact, sizeof(call.contact), "sip:alice@example.com");
	run_out_in_first_wheel();
	free_tx(request((struct sim_request){ .method = HOST_OTHER }));
	dlg_timer_tick_patient();
	step(4);
	ck_assert_uint_eq(sim_sends_tried, 0);
	sim_run(32);
	step(5);
	ck_assert_uint_eq(sim_sends_tried, 2);
	finish();
}
END_TEST

START_TEST(each_legs_outcome_is_its_own)
{
	static const int codes[][2] = {
		{ 200, 200 }, { 481, 200 }, { 408, 408 }, { 200, 503 }, { 403, 481 }
	};

	start();
	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct sim_sent *s;

		sim_call_init(&call, 100 + i);
		sim_talk(&call);
		ck_assert_int_eq(end_call(""), 200);
		step(5);
		s = sim_sent_list();
		sim_sent_done(s, codes[i][0]);
		step(5);
		sim_sent_done(s->next, codes[i][1]);
		sim_sent_clear();
		sim_run(10);
		step(0);
	}
	finish();
}
END_TEST

START_TEST(a_bye_without_an_answer_holds_the_dialog_no_longer_than_its_transaction)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(end_call(""), 200);
	sim_run(40);
	step(5); /* held by the sender, lingering */
	sim_sent_all(408);
	sim_run(7);
	step(0);
	finish();
}
END_TEST

START_TEST(the_second_bye_is_sent_when_the_first_cannot_be)
{
	start();
	sim_talk(&call);
	sim_faults.send_fail_mask = 1;
	ck_assert_int_eq(end_call(""), 500); /* the caller could not be told */
	ck_assert_uint_eq(sim_sends_tried, 2);
	ck_assert_uint_eq(sim_sent_pending(), 1);
	ck_assert_str_eq(sim_sent_list()->to_tag, call.leg[0].tag);
	step(5);
	finish();
}
END_TEST

START_TEST(an_answer_that_crosses_our_end_gets_a_bye)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	ck_assert_int_eq(end_call(""), 200);
	step(5);
	sim_answer(&call, 0, 200);
	step(5);
	sim_run(3);
	step(5);
	ck_assert_uint_eq(sim_sent_pending(), 2);
	ck_assert_str_eq(sim_sent_list()->next->to_tag, call.leg[0].tag);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	finish();
}
END_TEST

START_TEST(d08_each_bye_has_a_new_cseq)
{
	start();
	sim_talk(&call);
	sim_faults.send_fail_mask = 3; /* neither can be sent: the call is still there */
	ck_assert_int_eq(end_call(""), 500);
	step(4);
	ck_assert_int_eq(end_call(""), 200);
	ck_assert_uint_eq(sim_sent_list()->cseq, 2);
	ck_assert_uint_eq(sim_sent_list()->next->cseq, 13);
	ck_assert_int_eq(end_call(""), 404); /* ended already */
	ck_assert_uint_eq(sim_sends_tried, 4);
	finish();
}
END_TEST

START_TEST(d17_extra_headers_are_completed)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(end_call("|X-R: one"), 200);
	ck_assert_str_eq(sim_sent_list()->headers, "X-R: one\r\n");
	sim_call_init(&call, 2);
	sim_talk(&call);
	sim_sent_all(200);
	sim_sent_clear();
	ck_assert_int_eq(end_call("|X-R: one\r\nX-S: two\r\n"), 200);
	ck_assert_str_eq(sim_sent_list()->headers, "X-R: one\r\nX-S: two\r\n");
	sim_call_init(&call, 3);
	sim_talk(&call);
	ck_assert_int_eq(end_call("|nonsense"), 400);
	ck_assert_int_eq(end_call("|X: y\r\n\r\nbody"), 400);
	step(4);
	ck_assert_int_eq(end_call(""), 200);
	finish();
}
END_TEST

START_TEST(d22_dlg_end_dlg_on_an_early_call_ends_it)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	ck_assert_int_eq(end_call(""), 200);
	step(5);
	ck_assert_int_ge(call.pass[0].invite->final, 400);
	ck_assert_int_eq(call.pass[0].invite->refused, 1);
	sim_gone(&call);
	sim_run(10);
	sim_call_init(&call, 2);
	sim_invite(&call);
	sim_faults.refuse_one_in = 1;
	ck_assert_int_eq(end_call(""), 500);
	ck_assert_str_ne(mi.text, "");
	step(1);
	finish();
}
END_TEST

START_TEST(d22_arguments_are_counted_and_checked)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(end_call("|X: y|four"), 400);
	ck_assert_int_eq(command("dlg_end_dlg", "1"), 400);
	ck_assert_int_eq(command("dlg_end_dlg", ""), 400);
	ck_assert_int_eq(command("dlg_end_dlg", "abc|1"), 400);
	ck_assert_int_eq(command("dlg_end_dlg", "-1|1"), 400);
	ck_assert_int_eq(command("dlg_end_dlg", "99999|1"), 404);
	ck_assert_int_eq(command("dlg_end_dlg", "4294967295|4294967295"), 404);
	ck_assert_int_eq(command("dlg_end_dlg", "99999999999999|1"), 404);
	ck_assert_int_eq(dialog_flag_index(DLG_STR("")), -1);
	ck_assert_int_eq(dialog_flag_index(DLG_STR("4294967299")), -1);
	ck_assert_int_eq(dialog_flag_index(DLG_STR("32")), -1);
	ck_assert_int_eq(dialog_flag_index(DLG_STR("-1")), -1);
	ck_assert_int_eq(dialog_flag_index(DLG_STR("31")), 31);
	step(4);
	finish();
}
END_TEST

START_TEST(d23_a_callee_without_a_tag_gets_its_bye)
{
	start();
	call.leg[0].tag[0] = '\0'; /* RFC 2543 */
	sim_talk(&call);
	step(4);
	ck_assert_int_eq(matches((struct sim_request){ .method = HOST_OTHER }), 4);
	ck_assert_int_eq(end_call(""), 200);
	ck_assert_str_eq(sim_sent_list()->next->to_tag, "");
	ck_assert_str_eq(sim_sent_list()->next->to_uri, call.to_uri);
	finish();
}
END_TEST

START_TEST(listings_find_calls_by_call_id_and_from_tag)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(command("dlg_list", ""), 200);
	ck_assert_uint_eq(mi.dialogs, 1);
	ck_assert_int_eq(command("dlg_list", "call-1@127.0.0.9|ft1"), 200);
	ck_assert_uint_eq(mi.dialogs, 1);
	ck_assert_int_eq(command("dlg_list_ctx", "call-1@127.0.0.9"), 200);
	ck_assert_int_eq(command("dlg_list", "call-1@127.0.0.9|other"), 404);
	ck_assert_int_eq(command("dlg_list", "CALL-1@127.0.0.9"), 404);
	ck_assert_int_eq(command("dlg_list", "a|b|c"), 400);
	ck_assert_int_eq(command("dlg_audit", ""), 200);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_int_eq(command("dlg_list", "call-1@127.0.0.9"), 404);
	finish();
}
END_TEST

/* ---- variables and functions ---- */

static struct dialog_value seen[8];
static char seen_text[8][64];

static void look(struct host_msg *msg)
{
	unsigned n = 0;

#define X(name, named, writable)                                             \
	ck_assert_int_eq(dialog_get_##name(msg, DLG_STR("k"), &seen[n]), 0); \
	snprintf(seen_text[n], sizeof(seen_text[n]), "%.*s",                 \
		 seen[n].kind == DIALOG_TEXT ? (int)seen[n].text.len : 0,    \
		 seen[n].kind == DIALOG_TEXT ? seen[n].text.s : "");         \
	n++;
	DIALOG_VARIABLES(X)
#undef X
}

enum { SEEN_COUNT, SEEN_STATUS, SEEN_LIFETIME, SEEN_FLAGS, SEEN_DIR, SEEN_VAL };

START_TEST(variables_are_null_without_a_dialog)
{
	struct sim_script script = { .create = SIM_CREATE_NONE, .fate = SIM_DROP, .extra = look };

	start();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	ck_assert_int_eq(seen[SEEN_COUNT].number, 0);
	for (int i = SEEN_STATUS; i <= SEEN_VAL; i++)
		ck_assert_int_eq(seen[i].kind, DIALOG_NULL);
	finish();
}
END_TEST

START_TEST(variables_follow_the_call)
{
	struct sim_script script = { .fate = SIM_DROP, .extra = look };

	start();
	sim_talk(&call);
	sim_run(7);
	sim_step(&call, &(struct sim_request){ .method = HOST_OTHER, .dir = DLG_DIR_UPSTREAM },
		 &script);
	ck_assert_int_eq(seen[SEEN_COUNT].number, 1);
	ck_assert_int_eq(seen[SEEN_STATUS].number, 4);
	ck_assert_int_eq(seen[SEEN_LIFETIME].number, 7);
	ck_assert_str_eq(seen_text[SEEN_DIR], "UPSTREAM");
	sim_step(&call, &(struct sim_request){ .method = HOST_BYE }, &script);
	ck_assert_int_eq(seen[SEEN_STATUS].number, 5);
	ck_assert_int_eq(seen[SEEN_COUNT].number, 1);
	ck_assert_str_eq(seen_text[SEEN_DIR], "DOWNSTREAM");
	finish();
}
END_TEST

/* Scripts limit and bill by it. */
START_TEST(the_lifetime_does_not_follow_the_time_of_day)
{
	static const int64_t steps[] = { 18000, -86400, 0 };
	struct sim_script script = { .fate = SIM_DROP, .extra = look };

	start();
	sim_talk(&call);
	sim_run(7);
	for (int i = 0; i < 3; i++) {
		sim_set_wall(steps[i]);
		sim_step(&call, &(struct sim_request){ .method = HOST_OTHER }, &script);
		ck_assert_int_eq(seen[SEEN_LIFETIME].number, 7);
	}
	sim_set_wall(0);
	sim_step(&call, &(struct sim_request){ .method = HOST_BYE }, &script);
	sim_run(2);
	finish();
}
END_TEST

START_TEST(variables_are_right_in_reply_and_failure_routes)
{
	struct host_tx *t;
	struct host_msg *rpl;

	start();
	t = sim_invite(&call);
	sim_answer(&call, 0, 180);
	rpl = sim_reply_msg(&call, t, 0, 200, "sip:x@y");
	sim_tx_enter(t);
	look(rpl);
	ck_assert_int_eq(seen[SEEN_STATUS].number, 2);
	ck_assert_str_eq(seen_text[SEEN_DIR], "DOWNSTREAM");
	look(t->req);
	ck_assert_int_eq(seen[SEEN_STATUS].number, 2);
	sim_tx_enter(NULL);
	sim_msg_free(rpl);
	finish();
}
END_TEST

static void set_bit_31(struct host_msg *msg)
{
	struct dialog_arg bit = { .number = 31 };

	ck_assert_int_eq(dialog_fn_set_dlg_flag(msg, &bit), 1);
	ck_assert_int_eq(dialog_fn_is_dlg_flag_set(msg, &bit), 1);
	look(msg);
}

START_TEST(d16_flags_are_unsigned)
{
	struct sim_script script = { .record_route = 1, .extra = set_bit_31 };

	start();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	ck_assert_int_eq(seen[SEEN_FLAGS].kind, DIALOG_INT);
	ck_assert(seen[SEEN_FLAGS].number == 2147483648LL);
	finish();
}
END_TEST

static void store_null(struct host_msg *msg)
{
	struct dialog_arg args[2] = { { .text = DLG_STR("k") }, { .text = DLG_STR("value") } };
	struct dialog_value null = { .kind = DIALOG_NULL };

	ck_assert_int_eq(dialog_fn_store_dlg_value(msg, args), 1);
	args[1] = (struct dialog_arg){ .text = DLG_STR("<null>"), .is_null = 1 };
	ck_assert_int_eq(dialog_fn_store_dlg_value(msg, args), -1);
	look(msg);
	ck_assert_str_eq(seen_text[SEEN_VAL], "value");
	ck_assert_int_eq(dialog_set_dlg_val(msg, DLG_STR("k"), &null), 0);
	look(msg);
	ck_assert_int_eq(seen[SEEN_VAL].kind, DIALOG_NULL);
}

START_TEST(d18_null_stores_nothing)
{
	struct sim_script script = { .record_route = 1, .extra = store_null };

	start();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	finish();
}
END_TEST

static void store(struct host_msg *msg)
{
	struct dialog_arg args[2] = { { .text = DLG_STR("k") }, { .text = DLG_STR("v 1") } };

	ck_assert_int_eq(dialog_fn_store_dlg_value(msg, args), 1);
}

static void fetch(struct host_msg *msg)
{
	struct dialog_arg args[2] = { { .text = DLG_STR("k") },
				      { .var = dialog_conf.timeout_var } };

	ck_assert_int_eq(dialog_fn_fetch_dlg_value(msg, args), 1);
	ck_assert_str_eq(sim_var_get(msg, SIM_TIMEOUT_VAR), "v 1");
	args[0].text = DLG_STR("K");
	ck_assert_int_eq(dialog_fn_fetch_dlg_value(msg, args), -1);
}

START_TEST(values_live_as_long_as_the_call)
{
	struct sim_script first = { .record_route = 1, .extra = store },
			  later = { .extra = fetch, .fate = SIM_DROP };

	start();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &first);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	sim_step(&call, &(struct sim_request){ .method = HOST_OTHER, .dir = DLG_DIR_UPSTREAM },
		 &later);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	finish();
}
END_TEST

/* ---- overdue dialogs, exit ---- */

START_TEST(a_forgotten_reference_is_reported_by_name)
{
	struct dlg_cell *dlg;

	start();
	sim_talk(&call);
	dlg = dlg_hash_get(sim_peek(&call)->h_entry, sim_peek(&call)->h_id, DLG_BY_API);
	sim_audit_api_refs = 1;
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_log_clear();
	sim_run(200);
	step(5);
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "api=1"));
	ck_assert_uint_eq(totals()->overdue, 1);
	sim_audit_api_refs = 0;
	dlg_hash_put(dlg, DLG_BY_API);
	step(0);
	finish();
}
END_TEST

START_TEST(nothing_runs_before_the_start_and_after_the_stop)
{
	ck_assert_int_eq(dialog_running(), 0);
	dialog_stop();
	start();
	ck_assert_int_ne(dialog_running(), 0);
	sim_talk(&call);
	dialog_stop();
	ck_assert_int_eq(dialog_running(), 0);
}
END_TEST

int main(void)
{
	int failed = unit_run(
		"calls",
		UNIT_TESTS{ a_call_goes_through_all_states,
			    callee_hangs_up,
			    early_without_a_to_tag,
			    d15_every_refused_call_is_counted_as_failed,
			    cancel_crossing_200_leaves_the_call_answered,
			    a_late_200_revives_nothing,
			    retransmitted_replies_change_nothing,
			    d21_reordered_messages_are_no_errors,
			    prack_and_update_in_an_early_dialog,
			    bye_before_the_ack_ends_the_call,
			    byes_crossing_end_the_call_once,
			    a_bye_answered_with_an_error_has_ended_the_call,
			    errors_within_a_dialog_end_nothing,
			    late_messages_meet_the_ended_dialog,
			    a_transaction_that_goes_without_an_answer_ends_the_call,
			    all_ways_of_asking_give_one_dialog_with_a_cookie,
			    nobody_asks_nothing_is_tracked,
			    a_script_that_never_forwards_leaves_nothing_behind,
			    a_retransmitted_invite_creates_no_second_dialog,
			    two_workers_with_the_same_invite_create_one_dialog,
			    the_same_call_with_a_new_cseq_is_a_new_dialog,
			    a_failure_route_is_told_that_the_dialog_exists,
			    only_initial_invites_create_dialogs,
			    without_record_route_the_call_lives_until_its_lifetime,
			    d03_ids_beyond_31_bits_go_on,
			    several_early_legs_one_answers,
			    serial_fork_keeps_the_dialog,
			    d19_a_bye_on_one_leg_ends_that_leg,
			    d19_all_answered_legs_get_their_byes,
			    d04_refused_bye_changes_nothing,
			    status_reads_5_while_a_bye_is_processed,
			    d05_cseq_of_a_bye_is_checked_against_the_last_request,
			    an_ack_carries_the_cseq_of_its_invite,
			    d06_lower_numbers_do_not_reopen_the_range,
			    a_cseq_beyond_31_bits_spoils_nothing,
			    d07_contacts_follow_accepted_target_refreshes,
			    d07_update_of_the_callee_refreshes_its_contact,
			    d24_remote_contact_is_compared_with_case,
			    route_set_is_validated,
			    behind_a_strict_router_the_target_is_the_last_route,
			    validate_dialog_says_no_without_a_dialog,
			    cookies_are_matched_strictly,
			    d25_mode_1_falls_back_on_a_malformed_cookie,
			    tags_and_call_id_must_always_agree,
			    requests_without_route_are_matched_in_modes_1_and_2,
			    requests_that_rr_does_not_tell_of_are_matched_in_modes_1_and_2,
			    no_route_leads_around_validate_dialog,
			    loose_route_goes_by_the_cookie_whatever_was_found_before,
			    forged_requests_change_nothing_even_when_relayed,
			    mode_2_adds_no_cookie,
			    lifetime_ends_a_call_and_is_counted,
			    sequential_requests_but_no_ack_reset_the_lifetime,
			    a_request_that_crosses_the_timer_keeps_the_call,
			    timeout_avp_counts_in_initial_and_sequential_requests,
			    a_timeout_avp_that_is_no_time_is_ignored,
			    a_refused_request_does_not_reset_the_lifetime,
			    d20_every_state_has_a_limit,
			    expiry_sends_byes_in_both_directions,
			    many_that_run_out_together_get_their_byes_at_a_rate,
			    a_rate_of_0_is_no_limit, who_waits_for_a_bye_may_still_hang_up_or_go_on,
			    calls_without_bye_do_not_wait_for_those_with_it,
			    byes_to_hosts_with_names_are_left_to_the_second_wheel,
			    the_next_hop_decides_whether_there_is_a_name,
			    who_was_passed_on_may_still_hang_up_or_go_on,
			    each_legs_outcome_is_its_own,
			    a_bye_without_an_answer_holds_the_dialog_no_longer_than_its_transaction,
			    the_second_bye_is_sent_when_the_first_cannot_be,
			    an_answer_that_crosses_our_end_gets_a_bye,
			    d08_each_bye_has_a_new_cseq,
			    d17_extra_headers_are_completed,
			    d22_dlg_end_dlg_on_an_early_call_ends_it,
			    d22_arguments_are_counted_and_checked,
			    d23_a_callee_without_a_tag_gets_its_bye,
			    listings_find_calls_by_call_id_and_from_tag,
			    variables_are_null_without_a_dialog,
			    variables_follow_the_call,
			    the_lifetime_does_not_follow_the_time_of_day,
			    variables_are_right_in_reply_and_failure_routes,
			    d16_flags_are_unsigned,
			    d18_null_stores_nothing,
			    values_live_as_long_as_the_call,
			    a_forgotten_reference_is_reported_by_name,
			    nothing_runs_before_the_start_and_after_the_stop,
			    NULL },
		60);
	Suite *suite = suite_create("spirals");
	TCase *tcase = tcase_create("modes");
	SRunner *runner;

	tcase_add_loop_test(tcase, a_spiral_keeps_two_dialogs_apart, 0, 3);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed |= srunner_ntests_failed(runner) != 0;
	srunner_free(runner);
	return failed;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Corners that a review found wrong once: forks of which only one leg is acknowledged, requests
 * and replies that cross what the proxy itself sends, contacts that are out of date, unfit or not
 * confirmed yet, requests that are suspended, modules that end a call from inside an event, floods,
 * numbers out of range. */
#include "../../dlg_cb.h"
#include "../unit/unit.h"
#include "sim_audit.h"
#include "sim_call.h"
#include "sim_wrap.h"

enum { LIFETIME = 300, SETUP_LIMIT = 60, ACK_LIMIT = 20 };

static const struct sim_script plain, drop_valid = { .fate = SIM_DROP, .validate = 1 };
static struct sim_call call;

static void start(void)
{
	ck_assert(sim_wrapped());
	ck_assert_int_eq(sim_call_start(16), 0);
	dialog_conf.default_timeout = LIFETIME;
	dialog_conf.setup_timeout = SETUP_LIMIT;
	dialog_conf.ack_timeout = ACK_LIMIT;
	sim_audit_begin();
	sim_call_init(&call, 1);
}

static void expect(int state)
{
	sim_audit();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
	ck_assert_int_eq(sim_state(&call), state);
}

/* All transactions go away, all limits pass: nothing may be left. */
static void finish(void)
{
	sim_faults_off();
	sim_txs_free();
	sim_sent_all(200);
	sim_run(LIFETIME + 20);
	sim_sent_all(200);
	sim_run(20);
	sim_sent_clear();
	sim_audit_end();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}

static const char *why;

static int end_with(const char *headers)
{
	const struct dlg_cell *seen = sim_peek(&call);
	struct dlg_cell *dlg = dlg_hash_get(seen->h_entry, seen->h_id, DLG_BY_LOCAL);
	int ret = dlg_handlers_end(dlg, dlg_str_of(headers), &why);

	dlg_hash_put(dlg, DLG_BY_LOCAL);
	return ret;
}

static int end_by_us(void)
{
	return end_with("");
}

static struct sim_result pass(struct sim_request r)
{
	return sim_step(&call, &r, &plain);
}

/* The request is relayed, whether it fits or not, and its transaction goes away. */
static void pass_and_forget(struct sim_request r)
{
	struct sim_result res = pass(r);

	if (res.tx)
		sim_tx_free(res.tx);
}

static int validates(struct sim_request r)
{
	return sim_step(&call, &r, &drop_valid).validated;
}

static const struct dlg_leg *leg_of(const char *tag)
{
	const struct dlg_leg *leg = sim_peek(&call)->legs;

	while (leg && !dlg_str_eq((struct dlg_str){ leg->tag, leg->tag_len }, dlg_str_of(tag)))
		leg = leg->next;
	return leg;
}

static unsigned count_legs(void)
{
	unsigned n = 0;

	for (const struct dlg_leg *leg = sim_peek(&call)->legs; leg; leg = leg->next)
		n++;
	return n;
}

static void check_contacts(const char *caller, const char *callee)
{
	const struct dlg_cell *dlg = sim_peek(&call);
	const struct dlg_leg *leg = leg_of(call.leg[0].tag);

	ck_assert_view(((struct dlg_str){ dlg->caller_contact, dlg->caller_contact_len }), caller);
	ck_assert_view(((struct dlg_str){ leg->contact, leg->contact_len }), callee);
}

/* The BYE of ours to the party with that To tag, of the leg with that From tag. */
static const struct sim_sent *bye_to(const char *to_tag, const char *from_tag)
{
	for (const struct sim_sent *s = sim_sent_list(); s; s = s->next) {
		if (!strcmp(s->to_tag, to_tag) && !strcmp(s->from_tag, from_tag))
			return s;
	}
	return NULL;
}

/* Both parties of a leg were told. */
static void check_byes(int leg)
{
	const struct sim_sent *down = bye_to(call.leg[leg].tag, call.from_tag);
	const struct sim_sent *up = bye_to(call.from_tag, call.leg[leg].tag);

	ck_assert_ptr_nonnull(down);
	ck_assert_str_eq(down->method, "BYE");
	ck_assert_str_eq(down->target, call.leg[leg].contact);
	ck_assert_uint_gt(down->cseq, call.invite_cseq);
	ck_assert_ptr_nonnull(up);
	ck_assert_str_eq(up->target, call.contact);
}

static uint64_t expired(void)
{
	return dlg_state_counters()->expired;
}

/* ---- the ACK limit ---- */

/* Two callees answer, only the first is acknowledged; the caller hangs up on that one. */
static void only_the_leg_without_ack_is_left(void)
{
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_answer(&call, 1, 180);
	sim_answer(&call, 0, 200);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
	sim_run(2 * ACK_LIMIT);
	expect(4);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	expect(3);
}

START_TEST(a_leg_without_ack_does_not_outlive_the_ack_limit)
{
	start();
	only_the_leg_without_ack_is_left();
	sim_run(ACK_LIMIT - 2);
	expect(3);
	ck_assert_uint_eq(dlg_state_active(), 1);
	sim_run(4);
	expect(5);
	ck_assert_uint_eq(dlg_state_active(), 0);
	ck_assert_uint_eq(expired(), 1);
	finish();
}
END_TEST

START_TEST(the_ack_of_the_leg_that_is_left_lifts_the_limit)
{
	start();
	only_the_leg_without_ack_is_left();
	sim_run(ACK_LIMIT - 2);
	sim_ack(&call, 1);
	expect(4);
	sim_run(2 * ACK_LIMIT);
	expect(4);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 1, 200);
	expect(5);
	ck_assert_uint_eq(expired(), 0);
	finish();
}
END_TEST

/* The ACK of the leg that has ended comes once more. */
static void copy_of_its_ack(const char *cookie)
{
	start();
	only_the_leg_without_ack_is_left();
	sim_step(&call,
		 &(struct sim_request){ .method = HOST_ACK, .dir = DLG_DIR_DOWNSTREAM,
					.cseq = call.invite_cseq, .cookie = cookie },
		 &sim_usual);
	expect(3);
	sim_run(ACK_LIMIT + 2);
	expect(5);
	ck_assert_uint_eq(expired(), 1);
	finish();
}

START_TEST(the_ack_of_a_leg_that_has_ended_lifts_no_limit)
{
	copy_of_its_ack(NULL);
}
END_TEST

START_TEST(nor_does_one_that_lost_its_cookie)
{
	copy_of_its_ack("");
}
END_TEST

START_TEST(a_bye_on_the_leg_without_ack_leaves_the_other_as_it_is)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
	ck_assert_int_eq(sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 1, 200).status, 4);
	sim_run(2 * ACK_LIMIT);
	expect(4);
	finish();
}
END_TEST

START_TEST(requests_before_the_ack_restart_the_lifetime_but_not_the_ack_limit)
{
	start();
	dialog_conf.default_timeout = 40;
	dialog_conf.ack_timeout = 60;
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_gone(&call);
	sim_run(30);
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	sim_run(25);
	expect(3); /* beyond the first lifetime */
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	sim_run(7);
	expect(5); /* 62 s after the answer */
	ck_assert_uint_eq(expired(), 1);
	finish();
}
END_TEST

static void ack_lifts_the_limit(struct sim_request ack)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_gone(&call);
	sim_step(&call, &ack, &sim_usual);
	expect(3); /* mode 0 asks for the cookie */
	sim_run(ACK_LIMIT + 5);
	expect(3);
	sim_run(LIFETIME - ACK_LIMIT - 3);
	expect(5);
	ck_assert_uint_eq(expired(), 1);
	finish();
}

START_TEST(an_ack_that_lost_its_cookie_lifts_the_ack_limit)
{
	ack_lifts_the_limit((struct sim_request){
		.method = HOST_ACK, .dir = DLG_DIR_DOWNSTREAM, .cookie = "" });
}
END_TEST

START_TEST(an_ack_that_lost_all_parameters_lifts_the_ack_limit)
{
	ack_lifts_the_limit((struct sim_request){
		.method = HOST_ACK, .dir = DLG_DIR_DOWNSTREAM, .bare_route = 1 });
}
END_TEST

START_TEST(an_ack_that_lost_its_route_lifts_the_ack_limit)
{
	ack_lifts_the_limit((struct sim_request){
		.method = HOST_ACK, .dir = DLG_DIR_DOWNSTREAM, .no_route = 1 });
}
END_TEST

START_TEST(a_record_route_of_another_branch_sets_no_ack_limit)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	call.pass[0].invite->own_record_routes = 0; /* the branch route did not ask for the other's */
	sim_answer(&call, 1, 200);
	sim_gone(&call);
	sim_run(ACK_LIMIT + 5);
	expect(3);
	sim_run(LIFETIME - ACK_LIMIT - 3);
	expect(5);
	finish();
}
END_TEST

/* Of a 2xx that comes twice the host may relay the copy first, and tell of the other alone. */
START_TEST(an_ack_may_come_before_we_are_told_of_its_2xx)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_ack(&call, 0);
	expect(2);
	sim_answer(&call, 0, 200);
	expect(4);
	sim_answer(&call, 0, 200);
	sim_gone(&call);
	sim_run(2 * ACK_LIMIT);
	expect(4);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	expect(5);
	ck_assert_uint_eq(expired(), 0);
	finish();
}
END_TEST

START_TEST(nor_does_it_run_into_the_limit_when_its_leg_is_unknown)
{
	start();
	sim_invite(&call);
	sim_ack(&call, 0);
	expect(1);
	sim_answer(&call, 0, 200);
	expect(3);
	sim_gone(&call);
	sim_run(2 * ACK_LIMIT);
	expect(3);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	expect(5);
	finish();
}
END_TEST

START_TEST(the_ack_of_an_earlier_invite_lifts_no_limit)
{
	start();
	sim_invite(&call);
	sim_step(&call,
		 &(struct sim_request){ .method = HOST_ACK, .dir = DLG_DIR_DOWNSTREAM,
					.cseq = call.invite_cseq - 1 },
		 &sim_usual);
	sim_answer(&call, 0, 200);
	sim_gone(&call);
	sim_run(ACK_LIMIT + 2);
	expect(5);
	ck_assert_uint_eq(expired(), 1);
	finish();
}
END_TEST

START_TEST(an_early_ack_speaks_for_its_leg_alone)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_ack(&call, 0);
	sim_answer(&call, 1, 200);
	expect(3);
	sim_answer(&call, 0, 200);
	expect(4);
	sim_gone(&call);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	expect(3);
	sim_run(ACK_LIMIT + 2);
	expect(5);
	finish();
}
END_TEST

static void ack_upstream(int leg, const char *cookie)
{
	pass_and_forget((struct sim_request){ .method = HOST_ACK, .dir = DLG_DIR_UPSTREAM,
					      .leg = leg, .cseq = 1, .cookie = cookie });
}

/* With its cookie, and without, where an ACK of the caller would lift the limit. */
START_TEST(an_ack_of_the_callee_acknowledges_nothing)
{
	start();
	for (int mode = 0; mode <= 2; mode++) {
		dialog_conf.dlg_match_mode = mode;
		sim_call_init(&call, 20 + (unsigned)mode);
		sim_invite(&call);
		sim_answer(&call, 0, 200);
		sim_gone(&call);
		ack_upstream(0, NULL);
		ack_upstream(0, "");
		ck_assert_uint_eq(dlg_state_counters()->gauge[DLG_STATE_CONFIRMED_NA], 1);
		sim_run(ACK_LIMIT + 2);
		ck_assert_uint_eq(dlg_state_active(), 0);
		ck_assert_uint_eq(expired(), 1 + (unsigned)mode);
	}
	finish();
}
END_TEST

/* Nor does it make a leg one that the caller knows. */
START_TEST(an_ack_of_the_callee_keeps_no_leg)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
	ack_upstream(1, NULL);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	expect(3);
	sim_run(ACK_LIMIT + 2);
	expect(5);
	finish();
}
END_TEST

START_TEST(a_callee_may_acknowledge_its_own_re_invite)
{
	struct sim_request ack = { .method = HOST_ACK, .dir = DLG_DIR_UPSTREAM };

	start();
	sim_talk(&call);
	sim_within(&call, HOST_INVITE, DLG_DIR_UPSTREAM, 0, 200);
	ack.cseq = call.leg[0].cseq;
	ck_assert_int_eq(sim_step(&call, &ack, &sim_checked).validated, 1);
	ck_assert_int_eq(pass(ack).status, 4);
	expect(4);
	sim_run(2 * ACK_LIMIT);
	expect(4);
	finish();
}
END_TEST

START_TEST(after_the_ack_only_the_lifetime_counts)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_gone(&call);
	sim_run(ACK_LIMIT - 2);
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	sim_ack(&call, 0);
	sim_run(LIFETIME - 10);
	expect(4);
	sim_run(12);
	expect(5);
	finish();
}
END_TEST

/* ---- our own BYEs and the parties' numbers ---- */

START_TEST(a_bye_that_crosses_ours_still_fits)
{
	struct sim_request up = { .method = HOST_BYE, .dir = DLG_DIR_UPSTREAM };
	struct sim_request down = { .method = HOST_BYE };

	start();
	sim_talk(&call);
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	up.cseq = call.leg[0].cseq + 1;
	down.cseq = call.cseq + 1;
	ck_assert_int_eq(end_by_us(), 0);
	expect(5);
	ck_assert_uint_eq(bye_to(call.leg[0].tag, call.from_tag)->cseq, down.cseq);
	ck_assert_int_eq(validates(up), 1);
	ck_assert_int_eq(validates(down), 1);
	up.cseq--;
	down.cseq--;
	ck_assert_int_eq(validates(up), -1);
	ck_assert_int_eq(validates(down), -1);
	finish();
}
END_TEST

START_TEST(byes_that_could_not_be_sent_use_up_no_number_of_a_party)
{
	struct sim_result res;
	uint32_t last;

	start();
	sim_talk(&call);
	last = call.cseq;
	sim_faults.send_fail_mask = 3;
	ck_assert_int_eq(end_by_us(), -1);
	expect(4);
	res = sim_step(&call, &(struct sim_request){ .method = HOST_OTHER, .cseq = last + 1 },
		       &sim_checked);
	ck_assert_int_eq(res.validated, 1);
	expect(4);
	ck_assert_int_eq(end_by_us(), 0);
	expect(5);
	ck_assert_uint_eq(bye_to(call.leg[0].tag, call.from_tag)->cseq, last + 2);
	ck_assert_uint_eq(bye_to(call.from_tag, call.leg[0].tag)->cseq, 2);
	finish();
}
END_TEST

START_TEST(numbers_beyond_31_bits_never_fit)
{
	static const uint32_t bad[] = { 0x80000000u, 3000000000u, UINT32_MAX };

	start();
	sim_talk(&call);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sim_request r = { .method = HOST_BYE, .cseq = bad[i] };

		ck_assert_int_eq(validates(r), -1);
		pass_and_forget((struct sim_request){ .method = HOST_OTHER, .cseq = bad[i] });
		ck_assert_int_eq(validates(r), -1);
		r.dir = DLG_DIR_UPSTREAM; /* the callee's first request */
		ck_assert_int_eq(validates(r), -1);
		r.method = HOST_ACK;
		ck_assert_int_eq(validates(r), -1);
	}
	ck_assert_int_eq(validates((struct sim_request){ .method = HOST_BYE, .cseq = INT32_MAX }),
			 1);
	finish();
}
END_TEST

static void say_with(enum dlg_dir dir, uint32_t cseq)
{
	pass_and_forget((struct sim_request){ .method = HOST_OTHER, .dir = dir, .cseq = cseq });
}

START_TEST(our_byes_are_above_the_highest_number_of_a_party)
{
	start();
	sim_talk(&call);
	say_with(DLG_DIR_DOWNSTREAM, INT32_MAX);
	say_with(DLG_DIR_UPSTREAM, INT32_MAX - 1);
	for (uint32_t tries = 1; tries <= 2; tries++) {
		sim_faults.send_fail_mask = tries < 2 ? 3 : 0;
		ck_assert_int_eq(end_by_us(), tries < 2 ? -1 : 0);
	}
	ck_assert_uint_eq(bye_to(call.leg[0].tag, call.from_tag)->cseq, INT32_MAX + 2u);
	ck_assert_uint_eq(bye_to(call.from_tag, call.leg[0].tag)->cseq, INT32_MAX + 1u);
	finish();
}
END_TEST

/* Where numbers cannot grow any more, as a restored call could have it. */
START_TEST(our_numbers_never_begin_again)
{
	struct dlg_leg *leg;

	start();
	sim_talk(&call);
	leg = sim_peek(&call)->legs;
	leg->own_cseq[DLG_DIR_DOWNSTREAM] = UINT32_MAX;
	ck_assert_int_eq(end_by_us(), 0);
	ck_assert_uint_eq(bye_to(call.leg[0].tag, call.from_tag)->cseq, UINT32_MAX);
	finish();
}
END_TEST

static void invite_numbered(enum sim_create how, uint32_t cseq)
{
	struct sim_script script = { .create = how, .record_route = 1 };
	struct sim_request r = { .method = HOST_INVITE, .initial = 1, .cseq = cseq };

	sim_step(&call, &r, &script);
	sim_audit();
	sim_gone(&call);
}

START_TEST(an_invite_with_such_a_number_creates_no_dialog)
{
	start();
	invite_numbered(SIM_CREATE_BEFORE, 0x80000000u);
	invite_numbered(SIM_CREATE_FLAG, 0x80000000u);
	invite_numbered(SIM_CREATE_FLAG, UINT32_MAX);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 0);
	invite_numbered(SIM_CREATE_BEFORE, INT32_MAX);
	invite_numbered(SIM_CREATE_FLAG, INT32_MAX - 1);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 2);
	finish();
}
END_TEST

/* ---- a cookie that could not be added ---- */

static void talk_without_cookie(enum sim_create how, int mode)
{
	struct sim_script script = { .create = how, .record_route = 1 };

	dialog_conf.dlg_match_mode = mode;
	sim_faults.rr_one_in = 1;
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_faults_off();
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
}

START_TEST(without_its_cookie_a_call_is_not_tracked)
{
	start();
	for (int how = SIM_CREATE_BEFORE; how <= SIM_CREATE_FLAG; how++) {
		sim_call_init(&call, 1 + (unsigned)how);
		talk_without_cookie((enum sim_create)how, 0);
		expect(0);
		ck_assert_uint_eq(dlg_state_active(), 0);
		sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	}
	ck_assert_uint_eq(dlg_state_counters()->refused, 3);
	ck_assert_uint_eq(dlg_state_counters()->ended[DLG_REASON_abandoned], 3);
	ck_assert_uint_eq(dialog_stat_failed_dialogs(), 0);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "the call is not tracked"));
	finish();
}
END_TEST

START_TEST(but_it_is_where_it_can_be_found_otherwise)
{
	start();
	talk_without_cookie(SIM_CREATE_BEFORE, 1);
	ck_assert_uint_eq(dlg_state_active(), 1);
	ck_assert_int_eq(sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200).status, 5);
	ck_assert_uint_eq(dlg_state_active(), 0);
	ck_assert_uint_eq(dlg_state_counters()->refused, 0);
	finish();
}
END_TEST

/* ---- contacts ---- */

#define NEW_ALICE "sip:alice@127.0.0.8:6000"
#define OLD_ALICE "sip:alice@127.0.0.8:5000"
#define NEW_BOB   "sip:bob@127.0.0.8:6001"

static struct host_tx *refresh(enum host_method method, uint32_t cseq, const char *contact)
{
	return pass((struct sim_request){ .method = method, .cseq = cseq, .contact = contact }).tx;
}

START_TEST(a_repeated_2xx_does_not_turn_contacts_back)
{
	struct host_tx *reinvite, *update;

	start();
	sim_talk(&call);
	reinvite = refresh(HOST_INVITE, 20, OLD_ALICE);
	sim_reply(&call, reinvite, 0, 200);
	check_contacts(OLD_ALICE, call.leg[0].contact);
	update = refresh(HOST_UPDATE, 21, NEW_ALICE);
	sim_reply_from(&call, update, 0, 200, NEW_BOB);
	check_contacts(NEW_ALICE, NEW_BOB);
	sim_reply(&call, reinvite, 0, 200);
	check_contacts(NEW_ALICE, NEW_BOB);
	expect(4);
	finish();
}
END_TEST

START_TEST(a_late_2xx_does_not_turn_contacts_back)
{
	struct host_tx *reinvite, *update;

	start();
	sim_talk(&call);
	reinvite = refresh(HOST_INVITE, 20, OLD_ALICE);
	update = refresh(HOST_UPDATE, 21, NEW_ALICE);
	sim_reply_from(&call, update, 0, 200, NEW_BOB);
	sim_reply(&call, reinvite, 0, 200);
	check_contacts(NEW_ALICE, NEW_BOB);
	sim_reply(&call, refresh(HOST_UPDATE, 22, OLD_ALICE), 0, 200);
	check_contacts(OLD_ALICE, call.leg[0].contact);
	finish();
}
END_TEST

static int fits_target(enum dlg_dir dir, const char *ruri)
{
	return validates((struct sim_request){ .method = HOST_BYE, .dir = dir, .ruri = ruri });
}

START_TEST(only_a_refresh_that_passed_opens_the_way_to_a_new_contact)
{
	struct sim_request update = { .method = HOST_UPDATE, .dir = DLG_DIR_UPSTREAM };
	struct sim_result res;

	start();
	sim_talk(&call);
	update.contact = NEW_BOB;
	ck_assert_int_eq(fits_target(DLG_DIR_DOWNSTREAM, NEW_BOB), -1);
	ck_assert_int_eq(validates(update), 1); /* but the script drops it */
	ck_assert_int_eq(fits_target(DLG_DIR_DOWNSTREAM, NEW_BOB), -1);
	res = sim_step(&call, &update, &sim_checked);
	ck_assert_int_eq(fits_target(DLG_DIR_DOWNSTREAM, call.leg[0].contact), 1);
	check_contacts(call.contact, call.leg[0].contact);
	sim_reply(&call, res.tx, 0, 200);
	check_contacts(call.contact, NEW_BOB);
	ck_assert_int_eq(fits_target(DLG_DIR_DOWNSTREAM, NEW_BOB), 1);
	ck_assert_int_eq(fits_target(DLG_DIR_DOWNSTREAM, "sip:mallory@127.0.0.66"), -1);
	ck_assert_int_eq(fits_target(DLG_DIR_UPSTREAM, NEW_BOB), -1); /* not the caller's */
	finish();
}
END_TEST

/* Bytes that would tear a request line of ours apart. */
static const char *const unfit[] = {
	"sip:bob@127.0.0.9;x=\r\n Foo: bar",
	"sip:bob@127.0.0.9;x=\r\nFoo: bar",
	"sip:bob x@127.0.0.9",
	"sip:bob@127.0.0.9;\tx",
	"sip:bob@127.0.0.9;x=\177",
	"sip:\1@127.0.0.9",
};
enum { UNFIT = sizeof(unfit) / sizeof(unfit[0]) };

START_TEST(an_unfit_contact_of_the_callee_is_unknown)
{
	start();
	for (unsigned i = 0; i < UNFIT; i++) {
		sim_call_init(&call, 10 + i);
		sim_invite(&call);
		sim_reply_from(&call, call.pass[0].invite, 0, 200, unfit[i]);
		sim_ack(&call, 0);
		check_contacts(call.contact, "");
		ck_assert_int_eq(end_by_us(), -1);
		expect(5);
		ck_assert_uint_eq(sim_sent_pending(), 1); /* to the caller */
		ck_assert_str_eq(sim_sent_list()->target, call.contact);
		sim_sent_all(200);
		sim_sent_clear();
	}
	finish();
}
END_TEST

START_TEST(an_unfit_contact_of_the_caller_is_unknown)
{
	start();
	for (unsigned i = 0; i < UNFIT; i++) {
		sim_call_init(&call, 10 + i);
		sim_step(&call,
			 &(struct sim_request){
				 .method = HOST_INVITE, .initial = 1, .contact = unfit[i] },
			 &sim_usual);
		sim_answer(&call, 0, 200);
		sim_ack(&call, 0);
		check_contacts("", call.leg[0].contact);
		ck_assert_int_eq(end_by_us(), -1);
		ck_assert_uint_eq(sim_sent_pending(), 1);
		ck_assert_str_eq(sim_sent_list()->target, call.leg[0].contact);
		sim_sent_all(200);
		sim_sent_clear();
	}
	finish();
}
END_TEST

START_TEST(an_unfit_contact_refreshes_nothing)
{
	start();
	sim_talk(&call);
	for (unsigned i = 0; i < UNFIT; i++) {
		struct host_tx *t = refresh(HOST_UPDATE, 20 + i, unfit[i]);

		ck_assert_int_eq(validates((struct sim_request){ .method = HOST_OTHER,
								 .dir = DLG_DIR_UPSTREAM,
								 .ruri = unfit[i] }),
				 -1);
		sim_reply_from(&call, t, 0, 200, unfit[i]);
		check_contacts(call.contact, call.leg[0].contact);
	}
	ck_assert_int_eq(end_by_us(), 0);
	check_byes(0);
	finish();
}
END_TEST

START_TEST(blanks_around_a_contact_are_no_part_of_it)
{
	start();
	sim_invite(&call);
	sim_reply_from(&call, call.pass[0].invite, 0, 200, " " NEW_BOB "\t");
	check_contacts(call.contact, NEW_BOB);
	finish();
}
END_TEST

/* ---- requests that are suspended, and go on in another process ---- */

static struct host_tx *suspended;

static void suspend(struct host_msg *msg)
{
	suspended = sim_tx_new(msg);
}

static const struct sim_script suspending = { .record_route = 1, .fate = SIM_DROP, .extra = suspend };

/* What goes on is relayed. */
static void go_on(struct host_msg *msg)
{
	sim_tx_event(suspended, DLG_TX_FORWARDED, NULL, 0);
	sim_msg_end(msg, 0);
	sim_msg_free(msg);
}

START_TEST(a_suspended_invite_goes_on_with_its_dialog)
{
	struct host_msg *msg;

	start();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &suspending);
	msg = sim_tx_resume(suspended);
	ck_assert_int_eq(dlg_handlers_create(msg), 1);
	go_on(msg);
	ck_assert_uint_eq(dlg_state_counters()->processed, 1);
	call.pass[0].invite = suspended;
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	expect(4);
	finish();
}
END_TEST

START_TEST(a_suspended_request_goes_on_with_its_dialog)
{
	struct host_msg *msg;

	start();
	sim_talk(&call);
	sim_step(&call, &(struct sim_request){ .method = HOST_BYE }, &suspending);
	msg = sim_tx_resume(suspended);
	ck_assert_int_eq(dlg_handlers_validate(msg), 1);
	sim_on_route(msg); /* attached already */
	ck_assert_int_eq(dlg_handlers_validate(msg), 1);
	expect(4);
	go_on(msg);
	expect(5);
	finish();
}
END_TEST

/* ---- end() from inside an event ---- */

static struct dlg_api api;

/* What a module that ends the call in its callback found. */
static struct {
	unsigned calls, sent_inside;
	int result, result_with_headers, final_inside;
} ending;

static void end_here(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	unsigned sent = sim_sends_tried;

	(void)type;
	(void)p;
	if (ending.calls++)
		return;
	ending.result_with_headers = api.end(dlg, "X-Why: bored");
	ending.result = api.end(dlg, NULL);
	ending.sent_inside = sim_sends_tried - sent;
	ending.final_inside = call.pass[0].invite && call.pass[0].invite->refused;
}

/* From now on the call ends itself at the next event of that type. */
static void end_itself(int type)
{
	const struct dlg_cell *seen = sim_peek(&call);
	struct dlg_cell *dlg;

	memset(&ending, 0, sizeof(ending));
	ck_assert_int_eq(dlg_cb_bind(&api, DLG_API_VERSION, sizeof(api)), 0);
	dlg = api.find(seen->h_entry, seen->h_id);
	ck_assert_int_eq(api.register_dlgcb(dlg, type, end_here, NULL, NULL), 0);
	api.put(dlg);
}

/* The event is over: it went its way, and nothing of ours did. */
static void check_deferred(int state)
{
	ck_assert_uint_ge(ending.calls, 1);
	ck_assert_int_eq(ending.result, 0);
	ck_assert_int_eq(ending.result_with_headers, -1);
	ck_assert_uint_eq(ending.sent_inside, 0);
	ck_assert_int_eq(ending.final_inside, 0);
	ck_assert_uint_eq(sim_sends_tried, 0);
	expect(state);
}

static void early_call_ends_itself(int type)
{
	start();
	sim_invite(&call);
	end_itself(type);
	sim_answer(&call, 0, 180);
	check_deferred(2);
	ck_assert_int_eq(call.pass[0].invite->final, 0);
	sim_run(2);
	expect(5);
	ck_assert_int_eq(call.pass[0].invite->final, 480);
	ck_assert_int_eq(call.pass[0].invite->refused, 1); /* cancels the branches */
	ck_assert_uint_eq(sim_sends_tried, 0);
	finish();
}

START_TEST(end_from_a_reply_being_forwarded)
{
	early_call_ends_itself(DLGCB_RESPONSE_FWDED);
}
END_TEST

START_TEST(end_from_the_first_provisional_reply)
{
	early_call_ends_itself(DLGCB_EARLY);
}
END_TEST

static void check_ended_by_byes(void)
{
	sim_run(2);
	expect(5);
	ck_assert_uint_eq(sim_sends_tried, 2);
	check_byes(0);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_PROXY);
	finish();
}

static void answered_call_ends_itself(int type)
{
	start();
	sim_invite(&call);
	end_itself(type);
	sim_answer(&call, 0, 200);
	check_deferred(3);
	check_ended_by_byes();
}

START_TEST(end_from_the_answer_being_forwarded)
{
	answered_call_ends_itself(DLGCB_RESPONSE_FWDED);
}
END_TEST

START_TEST(end_from_the_answer)
{
	answered_call_ends_itself(DLGCB_CONFIRMED);
}
END_TEST

static void talking_call_ends_itself(int type)
{
	start();
	sim_talk(&call);
	end_itself(type);
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	check_deferred(4);
	check_ended_by_byes();
}

START_TEST(end_from_a_sequential_request)
{
	talking_call_ends_itself(DLGCB_REQ_WITHIN);
}
END_TEST

START_TEST(end_from_a_reply_to_a_sequential_request)
{
	talking_call_ends_itself(DLGCB_RESPONSE_WITHIN);
}
END_TEST

/* It takes effect when its script is through. */
START_TEST(end_from_an_ack)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	end_itself(DLGCB_REQ_WITHIN);
	sim_ack(&call, 0);
	check_deferred(4);
	check_ended_by_byes();
}
END_TEST

START_TEST(end_from_a_request_without_a_transaction)
{
	start();
	sim_talk(&call);
	end_itself(DLGCB_REQ_WITHIN);
	sim_step(&call, &(struct sim_request){ .method = HOST_OTHER, .dir = DLG_DIR_UPSTREAM },
		 &(struct sim_script){ .fate = SIM_STATELESS });
	check_deferred(4);
	check_ended_by_byes();
}
END_TEST

static void created_call_ends_itself(enum sim_create how)
{
	start();
	memset(&ending, 0, sizeof(ending));
	ck_assert_int_eq(dlg_cb_bind(&api, DLG_API_VERSION, sizeof(api)), 0);
	ck_assert_int_eq(api.register_dlgcb(NULL, DLGCB_CREATED, end_here, NULL, NULL), 0);
	sim_audit_begin(); /* that stays */
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 },
		 &(struct sim_script){ .create = how, .record_route = 1 });
	check_deferred(1);
	sim_run(2);
	expect(5);
	ck_assert_int_eq(call.pass[0].invite->final, 480);
	finish();
}

START_TEST(end_when_the_script_creates_it)
{
	created_call_ends_itself(SIM_CREATE_BEFORE);
}
END_TEST

START_TEST(end_when_a_flag_creates_it)
{
	created_call_ends_itself(SIM_CREATE_FLAG);
}
END_TEST

START_TEST(an_answer_overtakes_the_wish_to_end)
{
	start();
	sim_invite(&call);
	end_itself(DLGCB_EARLY);
	sim_answer(&call, 0, 180);
	sim_answer(&call, 0, 200);
	check_deferred(3);
	sim_ack(&call, 0); /* and the ACK, which changes the timer, too */
	expect(4);
	check_ended_by_byes();
}
END_TEST

START_TEST(a_bye_overtakes_the_wish_to_end)
{
	start();
	sim_talk(&call);
	end_itself(DLGCB_REQ_WITHIN);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	check_deferred(5);
	sim_run(3);
	ck_assert_uint_eq(sim_sends_tried, 0);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLER);
	sim_run(6);
	expect(0);
	finish();
}
END_TEST

START_TEST(end_from_a_failure_route)
{
	struct host_tx *t;

	start();
	t = sim_invite(&call);
	t->locked = 1;
	sim_tx_enter(t);
	ck_assert_int_eq(end_with("X-Why: bored"), -1);
	ck_assert_int_eq(end_by_us(), 0);
	sim_tx_enter(NULL);
	ck_assert_int_eq(t->final, 0);
	expect(1);
	sim_run(2);
	expect(5);
	ck_assert_int_eq(t->final, 480);
	finish();
}
END_TEST

START_TEST(outside_of_events_the_end_is_at_once)
{
	start();
	sim_talk(&call);
	ck_assert_int_eq(end_with("X-Why: bored"), 0);
	expect(5);
	check_byes(0);
	ck_assert_str_eq(sim_sent_list()->headers, "X-Why: bored\r\n");
	finish();
}
END_TEST

/* ---- copies of an INVITE ---- */

static struct sim_result first;
static int unlocks_left;

static void first_script_ends(void)
{
	if (unlocks_left-- == 0)
		sim_step_end(&first);
}

START_TEST(two_scripts_that_give_the_invite_no_transaction_leave_nothing)
{
	struct sim_script open = { .record_route = 1, .fate = SIM_SL_REPLY, .keep_open = 1 };
	struct sim_request r = { .method = HOST_INVITE, .initial = 1, .cseq = 20, .branch = 77 };
	int again = 0;

	start();
	for (int after = 0; after < 4; after++) {
		struct sim_result second;

		sim_call_init(&call, 30 + (unsigned)after);
		first = sim_step(&call, &r, &open);
		expect(1);
		unlocks_left = after;
		sim_interleave = first_script_ends;
		second = sim_step(&call, &r, &open);
		sim_interleave = NULL;
		again += second.created; /* the first dialog was gone by then */
		sim_step_end(&second);
		if (unlocks_left >= 0)
			sim_step_end(&first);
		sim_run(3);
		expect(0);
	}
	ck_assert_int_lt(again, 4);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 4 + again);
	ck_assert_uint_eq(dialog_stat_failed_dialogs(), 0);
	ck_assert_uint_eq(expired(), 0);
	finish();
}
END_TEST

START_TEST(a_late_copy_of_the_invite_leaves_the_call_alone)
{
	struct sim_request r = { .method = HOST_INVITE, .initial = 1, .cseq = 20, .branch = 5000 };
	struct sim_call copy;
	struct sim_result res;

	start();
	sim_step(&call, &r, &sim_usual);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
	sim_run(100); /* the transaction layer has forgotten it */
	copy = call;
	res = sim_step(&copy, &r, &sim_usual);
	sim_reply(&copy, res.tx, 1, 200);
	if (sim_state(&copy))
		ck_assert_str_ne(copy.pass[0].cookie, call.pass[0].cookie);
	expect(4);
	ck_assert_uint_eq(count_legs(), 1);
	sim_run(2 * ACK_LIMIT);
	expect(4);
	ck_assert_int_eq(sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200).status, 5);
	expect(5);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLER);
	finish();
}
END_TEST

/* ---- answers that cross the end ---- */

/* Both parties of leg 0 have their BYEs; leg 1 answers now, and gets its own two, once. */
static void answer_of_another_leg_gets_a_bye(void)
{
	check_byes(0);
	sim_answer(&call, 1, 200);
	ck_assert_uint_eq(sim_sends_tried, 2); /* the 200 goes first */
	sim_run(2);
	expect(5);
	ck_assert_uint_eq(sim_sends_tried, 4);
	check_byes(1);
	sim_answer(&call, 1, 200); /* again */
	sim_run(3);
	ck_assert_uint_eq(sim_sends_tried, 4);
}

START_TEST(a_forks_answer_that_crosses_our_byes_gets_its_own)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_answer(&call, 1, 180);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	ck_assert_int_eq(end_by_us(), 0);
	expect(5);
	answer_of_another_leg_gets_a_bye();
	finish();
}
END_TEST

static void answer_after_the_setup_limit(unsigned seconds)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_run(SETUP_LIMIT + 2);
	expect(5);
	ck_assert_int_eq(call.pass[0].invite->final, 408);
	sim_run(seconds);
	sim_answer(&call, 0, 200);
	ck_assert_uint_eq(sim_sends_tried, 0);
	sim_run(2);
	expect(5);
	ck_assert_uint_eq(sim_sends_tried, 2);
	check_byes(0);
	ck_assert_uint_eq(dlg_state_active(), 0);
	ck_assert_uint_eq(expired(), 1);
	finish();
}

START_TEST(an_answer_that_crosses_the_setup_limit_gets_a_bye)
{
	answer_after_the_setup_limit(0);
}
END_TEST

START_TEST(even_when_the_dialog_only_waits_for_its_transaction)
{
	answer_after_the_setup_limit(20);
}
END_TEST

static void wants_byes(struct host_msg *msg)
{
	msg->flags |= 1u << SIM_BYE_FLAG;
}

/* One of two callees has answered, with or without its ACK, and that call is over. */
static void fork_runs_into_its_limit(int byes, int acked)
{
	struct sim_script script = { .record_route = 1, .extra = byes ? wants_byes : NULL };

	start();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_answer(&call, 0, 180);
	sim_answer(&call, 1, 180);
	sim_answer(&call, 0, 200);
	if (acked)
		sim_ack(&call, 0);
	sim_run((acked ? LIFETIME : ACK_LIMIT) + 2);
	expect(5);
	ck_assert_uint_eq(sim_sends_tried, byes ? 2 : 0);
	ck_assert_uint_eq(expired(), 1);
}

static void answer_after_a_limit_with_byes(int acked)
{
	fork_runs_into_its_limit(1, acked);
	answer_of_another_leg_gets_a_bye();
	ck_assert_uint_eq(expired(), 1);
	finish();
}

START_TEST(a_forks_answer_after_the_lifetime_gets_a_bye)
{
	answer_after_a_limit_with_byes(1);
}
END_TEST

START_TEST(a_forks_answer_after_the_ack_limit_gets_a_bye)
{
	answer_after_a_limit_with_byes(0);
}
END_TEST

START_TEST(a_forks_answer_after_a_lifetime_without_byes_gets_none)
{
	fork_runs_into_its_limit(0, 1);
	sim_answer(&call, 1, 200);
	sim_run(3);
	expect(5);
	ck_assert_uint_eq(sim_sends_tried, 0);
	finish();
}
END_TEST

/* Whoever ended the call, it was not us: what comes late is the parties' business. */
static void check_left_alone(void)
{
	expect(5);
	sim_answer(&call, 0, 200);
	sim_run(3);
	expect(5);
	ck_assert_uint_eq(sim_sent_pending(), 0);
	ck_assert_uint_eq(dlg_state_active(), 0);
	finish();
}

START_TEST(an_answer_after_a_408_of_the_transaction_layer_gets_none)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_tx_event(call.pass[0].invite, DLG_TX_NEGATIVE, NULL, 408);
	ck_assert_uint_eq(sim_sends_tried, 0);
	check_left_alone();
}
END_TEST

START_TEST(an_end_that_failed_is_no_end)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_faults.refuse_one_in = 1;
	ck_assert_int_eq(end_by_us(), -1);
	sim_faults.refuse_one_in = 0;
	expect(2);
	sim_answer(&call, 1, 486);
	check_left_alone();
}
END_TEST

START_TEST(nor_are_byes_of_which_none_could_be_sent)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 1);
	sim_faults.send_fail_mask = 3;
	ck_assert_int_eq(end_by_us(), -1);
	expect(4);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 1, 200);
	check_left_alone();
}
END_TEST

/* ---- half an end ---- */

START_TEST(one_party_that_cannot_be_told_does_not_keep_the_call)
{
	start();
	for (int i = 0; i < 2; i++) {
		sim_call_init(&call, 40 + (unsigned)i);
		sim_talk(&call);
		sim_faults.send_fail_mask = 1 << i;
		ck_assert_int_eq(end_by_us(), -1);
		ck_assert_str_eq(why, "Operation failed");
		expect(5);
		ck_assert_uint_eq(dlg_state_active(), 0);
		ck_assert_uint_eq(sim_sent_pending(), 1);
		ck_assert_str_eq(sim_sent_list()->to_tag, i ? call.from_tag : call.leg[0].tag);
		sim_sent_all(200);
		sim_sent_clear();
		ck_assert_int_eq(end_by_us(), -1);
		ck_assert_uint_eq(sim_sent_pending(), 0);
	}
	finish();
}
END_TEST

/* ---- an end that fails while others end, too ---- */

static int moment;

static void callee_hangs_up(void)
{
	if (moment-- == 0)
		sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
}

/* Legs 0 and 1 are up, dlg_end_dlg can send nothing, and leg 0 hangs up at some moment of it. */
static void end_in_vain(int when)
{
	sim_call_init(&call, 60 + (unsigned)when);
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 0);
	sim_ack(&call, 1);
	sim_faults.send_fail_mask = 15;
	moment = when;
	sim_interleave = callee_hangs_up;
	ck_assert_int_eq(end_by_us(), -1);
	sim_interleave = NULL;
}

START_TEST(byes_that_fail_and_a_bye_that_crosses_them_leave_the_other_leg)
{
	int when = 0;

	start();
	for (; when == 0 || moment < 0; when++) {
		end_in_vain(when);
		if (moment >= 0) /* it was over by then */
			sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
		expect(4);
		ck_assert_int_eq(leg_of(call.leg[0].tag)->state, DLG_LEG_ENDED);
		ck_assert_int_eq(leg_of(call.leg[1].tag)->state, DLG_LEG_ANSWERED);
		sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 1, 200);
		expect(5);
		ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLEE);
	}
	ck_assert_int_gt(when, 5);
	finish();
}
END_TEST

static void callee_answers(void)
{
	if (moment-- == 0)
		sim_answer(&call, 0, 200);
}

/* A callback wished to end it while it rang. The transaction has its 200 already when the timer
 * comes to it, and the dialog learns that at some moment later. */
static void answer_at(int when)
{
	sim_call_init(&call, 60 + (unsigned)when);
	sim_invite(&call);
	end_itself(DLGCB_EARLY);
	sim_answer(&call, 0, 180);
	call.pass[0].invite->final = 200;
	moment = when;
	sim_interleave = callee_answers;
	sim_run(2);
	sim_interleave = NULL;
	if (moment >= 0)
		sim_answer(&call, 0, 200);
}

START_TEST(a_wish_to_end_that_crosses_the_answer_is_kept)
{
	start();
	for (int when = 0; when < 40; when++) {
		answer_at(when);
		sim_run(2);
		expect(5);
		check_byes(0);
		ck_assert_uint_eq(sim_sent_pending(), 2);
		ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_PROXY);
		sim_sent_all(200);
		sim_sent_clear();
	}
	finish();
}
END_TEST

START_TEST(a_wish_to_end_that_always_fails_moves_no_limit)
{
	start();
	sim_invite(&call);
	end_itself(DLGCB_EARLY);
	sim_faults.refuse_one_in = 1;
	sim_run(SETUP_LIMIT / 2);
	sim_answer(&call, 0, 180);
	sim_run(SETUP_LIMIT / 2 - 3);
	expect(2);
	sim_run(6);
	expect(5);
	ck_assert_uint_eq(expired(), 1);
	finish();
}
END_TEST

/* ---- no memory for a BYE ---- */

static void bye_without_a_follower(enum sim_fate fate, int state)
{
	struct sim_script script = { .fate = fate };
	struct sim_result res;

	res = sim_step(&call, &(struct sim_request){ .method = HOST_BYE }, &script);
	ck_assert_ptr_nonnull(res.tx);
	ck_assert_ptr_null(res.tx->attached);
	sim_faults_off();
	sim_tx_event(res.tx, DLG_TX_SUCCESS, NULL, 200);
	sim_tx_free(res.tx);
	expect(state);
}

START_TEST(a_bye_that_cannot_be_sent_on_ends_the_call)
{
	const struct sim_script in_vain = { .fate = SIM_T_REPLY, .code = 477, .tried = 1 };

	start();
	sim_talk(&call);
	sim_step(&call, &(struct sim_request){ .method = HOST_OTHER }, &in_vain);
	expect(4);
	sim_step(&call, &(struct sim_request){ .method = HOST_BYE, .dir = DLG_DIR_UPSTREAM },
		 &in_vain);
	expect(5);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLEE);
	ck_assert_uint_eq(sim_sent_pending(), 0);
	finish();
}
END_TEST

/* Its sender was told that the call is over. Other requests have no effect on it. */
START_TEST(a_bye_that_the_script_answers_ends_the_call)
{
	const struct sim_script by_itself = { .fate = SIM_T_REPLY, .code = 200 };

	start();
	sim_talk(&call);
	sim_step(&call, &(struct sim_request){ .method = HOST_OTHER }, &by_itself);
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE }, &by_itself);
	expect(4);
	ck_assert_uint_eq(sim_peek(&call)->legs->cseq[DLG_DIR_DOWNSTREAM], call.invite_cseq);
	sim_step(&call, &(struct sim_request){ .method = HOST_BYE, .dir = DLG_DIR_UPSTREAM },
		 &by_itself);
	expect(5);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLEE);
	finish();
}
END_TEST

START_TEST(an_invite_that_the_script_answers_is_no_call)
{
	struct sim_result res;

	start();
	res = sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 },
		       &(struct sim_script){ .record_route = 1, .fate = SIM_T_REPLY, .code = 200 });
	expect(1);
	sim_tx_free(res.tx);
	expect(5);
	finish();
}
END_TEST

START_TEST(a_bye_whose_transaction_cannot_be_followed_ends_the_call)
{
	start();
	sim_talk(&call);
	sim_faults.attach_one_in = 1;
	bye_without_a_follower(SIM_T_REPLY, 4);
	sim_faults.attach_one_in = 1;
	bye_without_a_follower(SIM_RELAY, 5);
	sim_call_init(&call, 2);
	sim_talk(&call);
	sim_faults.mem_allow = 0;
	bye_without_a_follower(SIM_T_REPLY, 4);
	sim_faults.mem_allow = 0;
	bye_without_a_follower(SIM_RELAY, 5);
	ck_assert_int_eq(sim_peek(&call)->ended_by, DLG_END_CALLER);
	finish();
}
END_TEST

/* ---- floods ---- */

static void reply_from_tag(unsigned n, int code)
{
	snprintf(call.leg[2].tag, sizeof(call.leg[2].tag), "flood-%u", n);
	sim_answer(&call, 2, code);
}

/* The answer to a request that was forwarded; then its transaction goes. */
static void answer_request(struct host_tx *t, enum dlg_tx_event event, int code)
{
	struct host_msg *rpl = sim_reply_msg(&call, t, 0, code, NULL);

	sim_tx_event(t, event, rpl, code);
	sim_msg_free(rpl);
	sim_tx_free(t);
}

static struct host_tx *early_bye(enum dlg_dir dir)
{
	struct sim_result r;

	start();
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	r = sim_step(&call, &(struct sim_request){ .method = HOST_BYE, .dir = dir }, &sim_usual);
	expect(2);
	return r.tx;
}

static void all_over(enum dlg_end by)
{
	expect(5);
	ck_assert_uint_eq(sim_peek(&call)->ended_by, by);
	sim_gone(&call);
	sim_run(10);
	ck_assert_ptr_null(sim_peek(&call));
}

/* RFC 5407 3.1.3: it ran to its lifetime, with its place in each profile. */
START_TEST(a_bye_that_crosses_the_answer_ends_the_call)
{
	struct host_tx *bye = early_bye(DLG_DIR_DOWNSTREAM);

	sim_answer(&call, 0, 200);
	expect(3);
	answer_request(bye, DLG_TX_SUCCESS, 200);
	expect(5);
	sim_ack(&call, 0);
	all_over(DLG_END_CALLER);
	finish();
}
END_TEST

START_TEST(so_does_one_that_was_answered_before_the_invite)
{
	struct host_tx *bye = early_bye(DLG_DIR_UPSTREAM);

	answer_request(bye, DLG_TX_SUCCESS, 200);
	expect(2);
	sim_answer(&call, 0, 200);
	all_over(DLG_END_CALLEE);
	finish();
}
END_TEST

START_TEST(but_not_one_that_is_refused)
{
	struct host_tx *bye = early_bye(DLG_DIR_DOWNSTREAM);

	sim_answer(&call, 0, 200);
	answer_request(bye, DLG_TX_NEGATIVE, 481);
	sim_ack(&call, 0);
	expect(4);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	all_over(DLG_END_CALLER);
	finish();
}
END_TEST

START_TEST(a_first_ack_is_valid_after_a_reinvite)
{
	struct sim_request ack = { .method = HOST_ACK };
	struct sim_result r;

	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	ack.cseq = call.invite_cseq; /* lost on its way here */
	r = sim_step(&call, &(struct sim_request){ .method = HOST_INVITE }, &sim_checked);
	ck_assert_int_eq(r.validated, 1);
	answer_request(r.tx, DLG_TX_NEGATIVE, 491);
	ck_assert_int_eq(sim_step(&call, &ack, &sim_checked).validated, 1);
	expect(4);
	ck_assert_int_eq(sim_step(&call, &ack, &sim_checked).validated, -1);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	all_over(DLG_END_CALLER);
	finish();
}
END_TEST

/* Who answers later knows the contact of the INVITE only. */
START_TEST(a_fork_may_hang_up_after_another_leg_was_told_of_a_new_contact)
{
	struct sim_request update = { .method = HOST_UPDATE, .contact = "sip:alice@10.9.9.9:5090" };
	struct sim_request bye = { .method = HOST_BYE, .dir = DLG_DIR_UPSTREAM, .leg = 1,
				   .ruri = call.contact };
	struct sim_result r;

	start();
	sim_invite(&call);
	sim_answer(&call, 0, 183);
	sim_answer(&call, 1, 180);
	r = sim_step(&call, &update, &sim_checked);
	answer_request(r.tx, DLG_TX_SUCCESS, 200);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 1);
	r = sim_step(&call, &bye, &sim_checked);
	ck_assert_int_eq(r.validated, 1);
	answer_request(r.tx, DLG_TX_SUCCESS, 200);
	all_over(DLG_END_CALLEE);
	finish();
}
END_TEST

START_TEST(endless_forks_do_not_fill_the_memory)
{
	unsigned n = 0;

	start();
	sim_invite(&call);
	for (; n < 5000; n++)
		reply_from_tag(n, n % 2 ? 180 : 183);
	ck_assert_uint_eq(count_legs(), DLG_LEGS_EARLY_MAX);
	expect(2);
	reply_from_tag(0, 200); /* one of those that are known */
	ck_assert_uint_eq(count_legs(), DLG_LEGS_EARLY_MAX);
	expect(3);
	while (count_legs() < DLG_LEGS_MAX) {
		reply_from_tag(++n, 200);
		ck_assert_ptr_nonnull(leg_of(call.leg[2].tag));
		ck_assert_int_eq(leg_of(call.leg[2].tag)->state, DLG_LEG_ANSWERED);
	}
	for (unsigned more = 0; more < 1000; more++)
		reply_from_tag(++n, more % 2 ? 200 : 180);
	ck_assert_uint_eq(count_legs(), DLG_LEGS_MAX);
	expect(3);
	ck_assert_int_eq(end_by_us(), 0);
	expect(5);
	ck_assert_uint_eq(sim_sent_pending(), 2 * (DLG_LEGS_MAX - DLG_LEGS_EARLY_MAX + 1));
	finish();
}
END_TEST

/* ---- BYEs for which there is no memory ---- */

enum { WITHOUT_MEMORY_S = 10, TRIES_S = 90 };

static void wish_to_end(void)
{
	start();
	sim_talk(&call);
	end_itself(DLGCB_RESPONSE_WITHIN);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_int_eq(ending.result, 0);
}

static void without_memory(unsigned seconds)
{
	sim_faults.mem_allow = 0;
	sim_run(seconds);
	sim_faults_off();
}

START_TEST(a_wish_to_end_is_kept_until_there_is_memory)
{
	wish_to_end();
	without_memory(WITHOUT_MEMORY_S);
	expect(4);
	sim_run(6);
	expect(5);
	check_byes(0);
	ck_assert_uint_eq(sim_sent_pending(), 2);
	finish();
}
END_TEST

START_TEST(but_not_for_ever)
{
	unsigned tried;

	wish_to_end();
	sim_faults.send_one_in = 1;
	sim_run(TRIES_S);
	expect(4);
	tried = sim_sends_tried;
	ck_assert_uint_ge(tried, 20);
	sim_run(TRIES_S);
	ck_assert_uint_eq(sim_sends_tried, tried);
	sim_run(LIFETIME - 2 * TRIES_S + 2);
	expect(5);
	finish();
}
END_TEST

/* Its limit has begun again with the request in which the wish came up. */
START_TEST(a_wish_that_cannot_be_carried_out_moves_no_limit)
{
	start();
	dialog_conf.default_timeout = 20;
	sim_talk(&call);
	end_itself(DLGCB_RESPONSE_WITHIN);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_faults.send_one_in = 1;
	sim_run(18);
	expect(4);
	sim_run(4);
	expect(5);
	ck_assert_uint_eq(expired(), 1);
	finish();
}
END_TEST

static void talk_and_want_byes(void)
{
	struct sim_script script = { .record_route = 1, .extra = wants_byes };

	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	sim_gone(&call);
}

static void talk_with_byes_at_the_end(unsigned number)
{
	sim_call_init(&call, number);
	talk_and_want_byes();
}

START_TEST(byes_at_a_limit_wait_for_memory)
{
	start();
	talk_with_byes_at_the_end(1);
	sim_run(LIFETIME - 2);
	without_memory(WITHOUT_MEMORY_S);
	expect(5);
	ck_assert_uint_eq(sim_sent_pending(), 0);
	sim_run(6);
	check_byes(0);
	ck_assert_uint_eq(sim_sent_pending(), 2);
	sim_sent_all(200);
	sim_run(DLG_STATE_LINGER_S + 3);
	expect(0);
	ck_assert_uint_eq(expired(), 1);
	finish();
}
END_TEST

/* Contacts do not come by waiting: who gave none, or one that is unfit, must not fill the log. */
START_TEST(byes_to_nobody_are_not_tried_again)
{
	start();
	snprintf(call.contact, sizeof(call.contact), "sip:b ob@127.0.0.1");
	snprintf(call.routes, sizeof(call.routes), "<sip:127.0.0.71;lr>");
	snprintf(call.leg[0].contact, sizeof(call.leg[0].contact), "sip:b ob@127.0.0.1");
	snprintf(call.leg[0].routes, sizeof(call.leg[0].routes), "<sip:127.0.0.72;lr>");
	talk_and_want_byes();
	sim_log_clear();
	sim_run(LIFETIME + TRIES_S + DLG_STATE_LINGER_S);
	expect(0);
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "contact unknown"));
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 2);
	finish();
}
END_TEST

START_TEST(a_dialog_whose_byes_never_leave_goes_all_the_same)
{
	start();
	talk_with_byes_at_the_end(1);
	sim_faults.send_one_in = 1;
	sim_run(LIFETIME + TRIES_S + DLG_STATE_LINGER_S);
	expect(0);
	ck_assert_uint_eq(dlg_state_counters()->overdue, 0);
	finish();
}
END_TEST

/* A party that hangs up meanwhile needs no BYE of ours. */
START_TEST(byes_that_wait_are_not_sent_to_who_has_hung_up)
{
	start();
	talk_with_byes_at_the_end(1);
	sim_run(LIFETIME - 2);
	without_memory(6);
	expect(5);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	sim_run(6);
	ck_assert_uint_eq(sim_sends_tried, 0);
	finish();
}
END_TEST

START_TEST(byes_that_wait_go_out_at_a_rate)
{
	enum { CALLS = 6, RATE = 2 };
	unsigned before;

	start();
	dialog_conf.timeout_bye_rate = RATE;
	for (unsigned i = 0; i < CALLS; i++)
		talk_with_byes_at_the_end(1 + i);
	sim_run(LIFETIME - 2);
	without_memory(WITHOUT_MEMORY_S);
	for (int i = 0; i < 10; i++) {
		before = sim_sends_tried;
		sim_run(1);
		ck_assert_uint_le(sim_sends_tried - before, 2 * RATE);
	}
	ck_assert_uint_eq(sim_sent_pending(), 2 * CALLS);
	finish();
}
END_TEST

START_TEST(a_leg_that_could_not_be_told_is_told_later)
{
	start();
	sim_invite(&call);
	sim_answer(&call, 0, 200);
	sim_answer(&call, 1, 200);
	sim_ack(&call, 0);
	sim_faults.send_fail_mask = 3;
	ck_assert_int_eq(end_by_us(), -1);
	expect(5);
	ck_assert_uint_eq(sim_sent_pending(), 2);
	check_byes(1);
	sim_run(2);
	check_byes(0);
	ck_assert_uint_eq(sim_sent_pending(), 4);
	finish();
}
END_TEST

int main(void)
{
	return unit_run(
		"edges",
		UNIT_TESTS{ a_leg_without_ack_does_not_outlive_the_ack_limit,
			    the_ack_of_the_leg_that_is_left_lifts_the_limit,
			    the_ack_of_a_leg_that_has_ended_lifts_no_limit,
			    nor_does_one_that_lost_its_cookie,
			    a_bye_on_the_leg_without_ack_leaves_the_other_as_it_is,
			    requests_before_the_ack_restart_the_lifetime_but_not_the_ack_limit,
			    an_ack_that_lost_its_cookie_lifts_the_ack_limit,
			    an_ack_that_lost_all_parameters_lifts_the_ack_limit,
			    an_ack_that_lost_its_route_lifts_the_ack_limit,
			    a_record_route_of_another_branch_sets_no_ack_limit,
			    an_ack_may_come_before_we_are_told_of_its_2xx,
			    nor_does_it_run_into_the_limit_when_its_leg_is_unknown,
			    the_ack_of_an_earlier_invite_lifts_no_limit,
			    an_early_ack_speaks_for_its_leg_alone,
			    an_ack_of_the_callee_acknowledges_nothing,
			    an_ack_of_the_callee_keeps_no_leg,
			    a_callee_may_acknowledge_its_own_re_invite,
			    after_the_ack_only_the_lifetime_counts,
			    a_bye_that_crosses_ours_still_fits,
			    byes_that_could_not_be_sent_use_up_no_number_of_a_party,
			    numbers_beyond_31_bits_never_fit,
			    our_byes_are_above_the_highest_number_of_a_party,
			    our_numbers_never_begin_again,
			    an_invite_with_such_a_number_creates_no_dialog,
			    without_its_cookie_a_call_is_not_tracked,
			    but_it_is_where_it_can_be_found_otherwise,
			    a_repeated_2xx_does_not_turn_contacts_back,
			    a_late_2xx_does_not_turn_contacts_back,
			    only_a_refresh_that_passed_opens_the_way_to_a_new_contact,
			    an_unfit_contact_of_the_callee_is_unknown,
			    an_unfit_contact_of_the_caller_is_unknown,
			    an_unfit_contact_refreshes_nothing,
			    blanks_around_a_contact_are_no_part_of_it,
			    a_suspended_invite_goes_on_with_its_dialog,
			    a_suspended_request_goes_on_with_its_dialog,
			    end_from_a_reply_being_forwarded,
			    end_from_the_first_provisional_reply,
			    end_from_the_answer_being_forwarded,
			    end_from_the_answer,
			    end_from_a_sequential_request,
			    end_from_a_reply_to_a_sequential_request,
			    end_from_an_ack,
			    end_from_a_request_without_a_transaction,
			    end_when_the_script_creates_it,
			    end_when_a_flag_creates_it,
			    an_answer_overtakes_the_wish_to_end,
			    a_bye_overtakes_the_wish_to_end,
			    end_from_a_failure_route,
			    outside_of_events_the_end_is_at_once,
			    two_scripts_that_give_the_invite_no_transaction_leave_nothing,
			    a_late_copy_of_the_invite_leaves_the_call_alone,
			    a_forks_answer_that_crosses_our_byes_gets_its_own,
			    an_answer_that_crosses_the_setup_limit_gets_a_bye,
			    even_when_the_dialog_only_waits_for_its_transaction,
			    a_forks_answer_after_the_lifetime_gets_a_bye,
			    a_forks_answer_after_the_ack_limit_gets_a_bye,
			    a_forks_answer_after_a_lifetime_without_byes_gets_none,
			    an_answer_after_a_408_of_the_transaction_layer_gets_none,
			    an_end_that_failed_is_no_end,
			    nor_are_byes_of_which_none_could_be_sent,
			    one_party_that_cannot_be_told_does_not_keep_the_call,
			    byes_that_fail_and_a_bye_that_crosses_them_leave_the_other_leg,
			    a_wish_to_end_that_crosses_the_answer_is_kept,
			    a_wish_to_end_that_always_fails_moves_no_limit,
			    a_bye_that_cannot_be_sent_on_ends_the_call,
			    a_bye_that_the_script_answers_ends_the_call,
			    an_invite_that_the_script_answers_is_no_call,
			    a_bye_whose_transaction_cannot_be_followed_ends_the_call,
			    a_bye_that_crosses_the_answer_ends_the_call,
			    so_does_one_that_was_answered_before_the_invite,
			    but_not_one_that_is_refused,
			    a_first_ack_is_valid_after_a_reinvite,
			    a_fork_may_hang_up_after_another_leg_was_told_of_a_new_contact,
			    endless_forks_do_not_fill_the_memory,
			    a_wish_to_end_is_kept_until_there_is_memory,
			    but_not_for_ever,
			    a_wish_that_cannot_be_carried_out_moves_no_limit,
			    byes_at_a_limit_wait_for_memory,
			    byes_to_nobody_are_not_tried_again,
			    a_dialog_whose_byes_never_leave_goes_all_the_same,
			    byes_that_wait_are_not_sent_to_who_has_hung_up,
			    byes_that_wait_go_out_at_a_rate,
			    a_leg_that_could_not_be_told_is_told_later,
			    NULL },
		60);
}

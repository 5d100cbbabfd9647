/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The out-of-memory sweep: every scenario with 0, 1, 2... allocations allowed. Calls go on,
 * nothing leaks, and with memory back everything works again. */
#include <stdlib.h>

#include "../../dlg_cb.h"
#include "../../dlg_db_handler.h"
#include "../../dlg_mem.h"
#include "../../dlg_vals.h"
#include "../unit/unit.h"
#include "sim_audit.h"
#include "sim_call.h"
#include "sim_db.h"
#include "sim_track.h"
#include "sim_wrap.h"

static struct sim_call call;

static void check_rules(void)
{
	sim_audit();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}

static void free_tx(struct sim_result res)
{
	check_rules();
	if (res.tx)
		sim_tx_free(res.tx);
}

/* The writer's turn, if there is one. */
static void write_all(void)
{
	while (dlg_db_has_writer() && dlg_db_write_some() > 0)
		;
}

static void talk(void)
{
	sim_talk(&call);
	write_all();
}

/* ---- scenarios ---- */

static void talk_and_hang_up(void)
{
	talk();
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
}

static void talk_with_routes(void)
{
	snprintf(call.routes, sizeof(call.routes), "<sip:127.0.0.4;lr>,<sip:127.0.0.5;lr>");
	snprintf(call.leg[0].routes, sizeof(call.leg[0].routes), "<sip:127.0.0.6;lr>");
	talk_and_hang_up();
}

static void created_by_flag(void)
{
	struct sim_script script = { .create = SIM_CREATE_FLAG, .record_route = 1 };

	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_answer(&call, 0, 183);
	sim_answer(&call, 0, 486);
}

static void forked(void)
{
	sim_invite(&call);
	for (int leg = 0; leg < SIM_LEGS; leg++)
		sim_answer(&call, leg, 180);
	sim_answer(&call, 1, 200);
	sim_answer(&call, 2, 200);
	sim_ack(&call, 1);
	sim_ack(&call, 2);
	write_all();
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 1, 200);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 2, 200);
}

static void contacts_refreshed(void)
{
	struct sim_request r = { .method = HOST_INVITE, .contact = "sip:alice@127.0.0.88:7000" };
	struct sim_result res;

	talk();
	res = sim_step(&call, &r, &sim_checked);
	if (res.tx && !res.refused)
		sim_reply_from(&call, res.tx, 0, 200, "sip:bob@127.0.0.88:7001");
	free_tx(res);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
}

static void ended_by_us(void)
{
	struct dlg_cell *dlg;
	struct dlg_hash_cursor cur = { 0 };
	const char *why;

	talk();
	if (dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL)) {
		dlg_handlers_end(dlg, DLG_STR("X-Why: test"), &why);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
	sim_sent_all(200);
}

static void use_values(struct host_msg *msg)
{
	struct dialog_arg args[2] = { { .text = DLG_STR("name") }, { .text = DLG_STR("value") } };
	struct dialog_value number = { .kind = DIALOG_INT, .number = 42 }, out;

	dialog_fn_store_dlg_value(msg, args);
	args[1].text = DLG_STR("a longer value that takes the place of the first one, or does not");
	dialog_fn_store_dlg_value(msg, args);
	dialog_set_dlg_val(msg, DLG_STR("other"), &number);
	dialog_get_dlg_val(msg, DLG_STR("name"), &out);
}

static void with_values(void)
{
	struct sim_script script = { .record_route = 1, .extra = use_values };

	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	write_all();
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
}

/* In the order of SIM_PROFILES and SIM_PROFILES_NO_VALUE. */
enum { CALLER, TRUNK, INBOUND };

static void set_limits(struct host_msg *msg)
{
	struct dialog_condition c[3] = { { .of_profile.profile = CALLER, .has_value = 1,
					   .of_value.text = DLG_STR("somebody"),
					   .of_limit.number = 3 },
					 { .of_profile.profile = TRUNK, .has_value = 1,
					   .of_value.text = DLG_STR("gateway.example.net"),
					   .of_limit.number = 1 },
					 { .of_profile.profile = INBOUND, .of_limit.number = 9 } };
	struct dialog_arg list = { .conditions = c, .n_conditions = 3 };

	/* the second time the trunk is full: what was joined before is undone */
	dialog_fn_set_dlg_profile_limits(msg, &list);
	dialog_fn_set_dlg_profile_limits(msg, &list);
}

static void use_profiles(struct host_msg *msg)
{
	struct dialog_arg caller[2] = { { .profile = CALLER },
					{ .given = 1, .text = DLG_STR("somebody") } };
	struct dialog_arg inbound[2] = { { .profile = INBOUND } };

	set_limits(msg);
	dialog_fn_set_dlg_profile(msg, caller);
	dialog_fn_set_dlg_profile(msg, caller);
	caller[1].text = DLG_STR("somebody else");
	dialog_fn_set_dlg_profile(msg, caller);
	dialog_fn_set_dlg_profile(msg, inbound);
	dialog_fn_unset_dlg_profile(msg, caller);
	dialog_fn_is_in_profile(msg, inbound);
}

static void with_profiles(void)
{
	struct sim_script script = { .record_route = 1, .extra = use_profiles };

	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	write_all();
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
}

/* More values than an empty table has buckets. */
static void use_many_values(struct host_msg *msg)
{
	struct dialog_arg args[2] = { { .profile = CALLER }, { .given = 1 } };
	char value[16];

	for (int i = 0; i < 40; i++) {
		snprintf(value, sizeof(value), "v%d", i);
		args[1].text = dlg_str_of(value);
		dialog_fn_set_dlg_profile(msg, args);
	}
	check_rules();
}

static void with_many_values(void)
{
	struct sim_script script = { .record_route = 1, .extra = use_many_values };

	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	sim_answer(&call, 0, 486);
}

static void spiral(void)
{
	for (int pass = 0; pass < 2; pass++) {
		struct sim_request r = {
			.method = HOST_INVITE, .initial = 1, .pass = pass, .cseq = 10
		};

		sim_step(&call, &r, &sim_usual);
	}
	sim_reply(&call, call.pass[1].invite, 0, 200);
	sim_reply(&call, call.pass[0].invite, 0, 200);
}

static void many_calls(void)
{
	for (unsigned i = 0; i < 40; i++) {
		struct sim_call one;

		sim_call_init(&one, 500 + i % 3);
		one.cseq = i;
		sim_talk(&one);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
	int unanswered;
} scenarios[] = {
	{ "talk and hang up", talk_and_hang_up, 0 },
	{ "talk with routes", talk_with_routes, 0 },
	{ "created by flag", created_by_flag, 1 },
	{ "forked", forked, 0 },
	{ "contacts refreshed", contacts_refreshed, 0 },
	{ "ended by us", ended_by_us, 0 },
	{ "with values", with_values, 0 },
	{ "with profiles", with_profiles, 0 },
	{ "with many values of a profile", with_many_values, 1 },
	{ "spiral", spiral, 0 },
	{ "many calls", many_calls, 0 },
};
enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

/* ---- the sweep ---- */

static void clean_up(void)
{
	sim_faults_off();
	sim_txs_free();
	sim_sent_all(408);
	sim_run(120);
	write_all();
	ck_assert_uint_eq(sim_db.rows, 0); /* of calls that are over, whatever was refused meanwhile */
	sim_sent_clear();
	sim_audit_end();
	sim_track_end();
}

/* Returns whether an allocation was refused. */
static int run_with(void (*run)(void), long allowed)
{
	uint64_t refused = sim_shm.failed;

	sim_call_init(&call, 1);
	sim_faults.mem_allow = allowed;
	run();
	check_rules();
	write_all();
	clean_up();
	return sim_shm.failed > refused;
}

static void start(void)
{
	ck_assert(sim_wrapped());
	dialog_conf.log_profile_hash_size = 1;
	ck_assert_int_eq(sim_call_start(16), 0);
	dialog_conf.default_timeout = 60;
	ck_assert_int_eq(sim_track_start(), 0);
	sim_audit_begin();
}

static void sweep(int scenario)
{
	long allowed = 0;

	while (run_with(scenarios[scenario].run, allowed)) {
		ck_assert_msg(!sim_violated(), "%s with %ld allocations: %s", scenarios[scenario].name,
			      allowed, sim_violated());
		allowed++;
	}
	ck_assert_msg(!sim_violated(), "%s: %s", scenarios[scenario].name, sim_violated());
	ck_assert_int_gt(allowed, 2);
}

START_TEST(every_allocation_may_fail)
{
	start();
	sweep(_i);
}
END_TEST

/* The same with rows and a journal to be written. */

static char dir[32];

START_TEST(every_allocation_may_fail_with_a_database)
{
	snprintf(dir, sizeof(dir), "/tmp/dlgoom.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = dir;
	start();
	sweep(_i);
	if (!scenarios[_i].unanswered)
		ck_assert_uint_gt(sim_db.calls[SIM_DB_UPSERT], 0);
	sim_db_remove_dir(dir);
}
END_TEST

/* ---- one allocation fails, and the call goes on ---- */

static void move_parties(int port)
{
	snprintf(call.contact, sizeof(call.contact), "sip:alice@127.0.0.88:%d", port);
	snprintf(call.leg[0].contact, sizeof(call.leg[0].contact), "sip:bob@127.0.0.88:%d", port);
}

/* Both have new contacts from now on. */
static void refresh(enum host_method method, enum dlg_dir way, int port)
{
	char target[128];
	struct sim_request r = { .method = method, .dir = way, .ruri = target };
	struct sim_result res;

	snprintf(target, sizeof(target), "%s",
		 way == DLG_DIR_UPSTREAM ? call.contact : call.leg[0].contact);
	move_parties(port);
	res = sim_step(&call, &r, &(struct sim_script){ 0 });
	sim_reply(&call, res.tx, 0, 200);
	free_tx(res);
}

/* Whatever was refused, the call is tracked and its party's request fits, or it is not tracked. */
static void check_fits(enum host_method method, enum dlg_dir way, const char *when)
{
	static const struct sim_script drop = { .fate = SIM_DROP, .validate = 1 };
	struct sim_result res =
		sim_step(&call, &(struct sim_request){ .method = method, .dir = way }, &drop);

	ck_assert_msg(!res.status || res.validated == 1, "%s, way %d, method %d: %s", when, way, method,
		      sim_log_find(HOST_INFO, "does not fit"));
}

static void check_byes_fit(const char *when)
{
	check_fits(HOST_BYE, DLG_DIR_DOWNSTREAM, when);
	check_fits(HOST_BYE, DLG_DIR_UPSTREAM, when);
}

static void with_one_failure(long nth)
{
	sim_faults.mem_fail = nth;
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	check_fits(HOST_PRACK, DLG_DIR_DOWNSTREAM, "ringing");
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	check_byes_fit("answered");
	refresh(HOST_INVITE, DLG_DIR_DOWNSTREAM, 7000);
	check_byes_fit("refreshed by the caller");
	refresh(HOST_UPDATE, DLG_DIR_UPSTREAM, 7001);
	check_byes_fit("refreshed by the callee");
	check_rules();
}

static void begin_with_routes(void)
{
	sim_call_init(&call, 1);
	snprintf(call.routes, sizeof(call.routes), "<sip:127.0.0.4;lr>");
	snprintf(call.leg[0].routes, sizeof(call.leg[0].routes), "<sip:127.0.0.6;lr>");
}

/* The nth allocation of a call fails, for every n there is; returns how many there are, and one. */
static long fail_each(void (*body)(long nth))
{
	uint64_t refused;
	long nth = 0;

	start();
	do {
		refused = sim_shm.failed;
		begin_with_routes();
		body(++nth);
		clean_up();
		ck_assert_msg(!sim_violated(), "%ld: %s", nth, sim_violated());
	} while (sim_shm.failed > refused);
	return nth;
}

START_TEST(after_a_failure_the_parties_requests_still_fit)
{
	ck_assert_int_gt(fail_each(with_one_failure), 10);
}
END_TEST

/* What the 180 said is the best that is known when the copy of the 2xx is lost. */
static void check_own_byes(void)
{
	const struct dlg_cell *seen = sim_peek(&call);
	struct dlg_cell *dlg = dlg_hash_get(seen->h_entry, seen->h_id, DLG_BY_LOCAL);
	const char *why;
	unsigned n = 0;

	ck_assert_int_eq(dlg_handlers_end(dlg, DLG_STR_NONE, &why), 0);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	for (const struct sim_sent *s = sim_sent_list(); s; s = s->next, n++) {
		int down = !strcmp(s->to_tag, call.leg[0].tag);

		ck_assert_str_eq(s->target, down ? call.leg[0].contact : call.contact);
		ck_assert_str_eq(s->route_set, down ? call.leg[0].routes : call.routes);
	}
	ck_assert_uint_eq(n, 2);
}

static void answered_with_one_failure(long nth)
{
	sim_invite(&call);
	sim_answer(&call, 0, 180);
	sim_faults.mem_fail = nth;
	sim_answer(&call, 0, 200);
	sim_faults_off();
	sim_ack(&call, 0);
	check_own_byes();
}

START_TEST(after_a_failure_our_byes_go_the_way_that_is_known)
{
	ck_assert_int_gt(fail_each(answered_with_one_failure), 3);
}
END_TEST

START_TEST(a_repeated_2xx_makes_up_for_a_refresh_that_was_lost)
{
	struct sim_request r = { .method = HOST_INVITE, .contact = "sip:alice@127.0.0.88:7000" };
	struct sim_result res;

	start();
	begin_with_routes();
	sim_talk(&call);
	res = sim_step(&call, &r, &sim_checked);
	sim_faults.mem_fail = 1;
	sim_reply(&call, res.tx, 0, 200);
	snprintf(call.contact, sizeof(call.contact), "%s", r.contact);
	sim_reply(&call, res.tx, 0, 200);
	free_tx(res);
	check_own_byes();
	clean_up();
}
END_TEST

/* Its 2xx passes unseen. */
START_TEST(a_refresh_without_a_transaction_leaves_the_contacts_unknown)
{
	struct sim_script stateless = { .fate = SIM_STATELESS };

	start();
	begin_with_routes();
	sim_talk(&call);
	sim_step(&call, &(struct sim_request){ .method = HOST_UPDATE }, &stateless);
	move_parties(7000);
	check_byes_fit("after an UPDATE that was forwarded without a transaction");
	clean_up();
}
END_TEST

START_TEST(refused_dialogs_are_counted_and_calls_go_on)
{
	struct host_tx *t;

	start();
	sim_call_init(&call, 1);
	sim_faults.mem_allow = 0;
	t = sim_invite(&call);
	ck_assert_ptr_nonnull(t);
	ck_assert_uint_eq(dlg_state_counters()->refused, 1);
	ck_assert_uint_eq(dialog_stat_processed_dialogs(), 0);
	sim_answer(&call, 0, 200);
	sim_ack(&call, 0);
	clean_up();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
	sim_call_init(&call, 1);
	sim_talk(&call); /* with memory back */
	ck_assert_int_eq(sim_state(&call), 4);
}
END_TEST

START_TEST(the_hosts_memory_may_run_out)
{
	start();
	sim_faults.shm_allow = 0; /* only what the engine has taken already */
	for (unsigned i = 0; i < 2000; i++) {
		struct sim_call one;

		sim_call_init(&one, 1000 + i);
		sim_invite(&one);
		sim_answer(&one, 0, 180);
	}
	check_rules();
	ck_assert_uint_gt(dlg_state_counters()->refused, 0);
	ck_assert_uint_gt(dialog_stat_early_dialogs(), 0);
	clean_up();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}
END_TEST

START_TEST(start_without_memory_fails_cleanly)
{
	sim_faults.shm_allow = _i;
	dialog_conf.hash_size = 16;
	if (dialog_init() == 0) {
		ck_assert_int_gt(_i, 3);
		ck_assert_int_ne(dialog_running(), 0);
	} else {
		ck_assert_int_eq(dialog_running(), 0);
	}
	dialog_stop();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("sweep");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, every_allocation_may_fail, 0, SCENARIOS);
	tcase_add_loop_test(tcase, every_allocation_may_fail_with_a_database, 0, SCENARIOS);
	tcase_add_test(tcase, after_a_failure_the_parties_requests_still_fit);
	tcase_add_test(tcase, after_a_failure_our_byes_go_the_way_that_is_known);
	tcase_add_test(tcase, a_repeated_2xx_makes_up_for_a_refresh_that_was_lost);
	tcase_add_test(tcase, a_refresh_without_a_transaction_leaves_the_contacts_unknown);
	tcase_add_test(tcase, refused_dialogs_are_counted_and_calls_go_on);
	tcase_add_test(tcase, the_hosts_memory_may_run_out);
	tcase_add_loop_test(tcase, start_without_memory_fails_cleanly, 0, 40);
	return unit_run_case("out of memory", tcase);
}

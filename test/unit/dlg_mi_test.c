/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands over a recording writer: "{" a node "}", "[" a list "]", name@attribute=, name=text,
 * name#number. */
#include "../../dlg_mi.h"

#include <ctype.h>
#include <stdlib.h>

#include "../../dlg_cb.h"
#include "../../dlg_lock.h"
#include "../../dlg_mem.h"
#include "../../dlg_profile.h"
#include "../../dlg_vals.h"
#include "../sim/sim_call.h"
#include "unit.h"

static struct dlg_buf written;
static int break_after = -1; /* the reader goes away after that many questions */
static struct sim_call call;

static void check_lock(void)
{
	ck_assert_msg(!dlg_lock_held(), "a command writes under a lock");
}

static void open_list(struct dlg_mi_out *out, const char *name)
{
	(void)out;
	check_lock();
	dlg_buf_printf(&written, "%s[", name);
}
static void close_list(struct dlg_mi_out *out)
{
	(void)out;
	check_lock();
	dlg_buf_add(&written, DLG_STR("]"));
}
static void open_node(struct dlg_mi_out *out, const char *name)
{
	(void)out;
	check_lock();
	dlg_buf_printf(&written, "%s{", name ? name : "");
}
static void close_node(struct dlg_mi_out *out)
{
	(void)out;
	dlg_buf_add(&written, DLG_STR("}"));
}
static void attr(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	(void)out;
	dlg_buf_printf(&written, "@%s=%.*s ", name ? name : "", DLG_STR_ARG(value));
}
static void text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	(void)out;
	check_lock();
	dlg_buf_printf(&written, "%s=%.*s ", name, DLG_STR_ARG(value));
}
static void number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	(void)out;
	check_lock();
	dlg_buf_printf(&written, "%s#%lld ", name, (long long)value);
}
static void attr_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	(void)out;
	check_lock();
	dlg_buf_printf(&written, "@%s#%lld ", name, (long long)value);
}
static void error(struct dlg_mi_out *out, int code, const char *reason)
{
	out->status = code;
	dlg_buf_printf(&written, "%d %s", code, reason);
}
static int broken(struct dlg_mi_out *out)
{
	(void)out;
	if (break_after > 0)
		break_after--;
	return break_after == 0;
}

static struct dlg_mi_ops ops = {
	.open_list = open_list, .close_list = close_list,
	.open_node = open_node, .close_node = close_node,
	.attr = attr, .attr_number = attr_number, .text = text, .number = number,
	.error = error, .broken = broken,
};

/* Run a command with the arguments up to the first NULL; what it wrote. */
static const char *run_with(const char *name, unsigned page, const char *const args[4])
{
	struct dlg_mi_out out = { .ops = &ops, .page = page, .status = 200 };
	struct dlg_mi_args in = { 0 };

	while (in.n < 4 && args[in.n]) {
		in.arg[in.n] = dlg_str_of(args[in.n]);
		in.n++;
	}
	dlg_buf_reset(&written);
	dlg_mi_run(dlg_mi_find(dlg_str_of(name)), &in, &out);
	dlg_buf_add(&written, DLG_STR(""));
	return written.s;
}

static const char *run(const char *name, unsigned page, const char *a, const char *b, const char *c)
{
	return run_with(name, page, (const char *const[4]){ a, b, c });
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	while ((in = strstr(in, what))) {
		n++;
		in += strlen(what);
	}
	return n;
}

static void init(void)
{
	ck_assert_int_eq(sim_call_start(16), 0);
	sim_call_init(&call, 1);
}

static void done(void)
{
	dlg_buf_free(&written);
	ck_assert_ptr_null(sim_violated());
}

START_TEST(commands_are_found_by_their_exact_name)
{
	ck_assert_ptr_eq(dlg_mi_find(DLG_STR("dlg_list")), &dlg_mi_commands[DLG_MI_dlg_list]);
	ck_assert_ptr_null(dlg_mi_find(DLG_STR("DLG_LIST")));
	ck_assert_ptr_null(dlg_mi_find(DLG_STR("dlg_lis")));
	ck_assert_ptr_null(dlg_mi_find(DLG_STR_NONE));
	for (int i = 0; i < DLG_MI_N; i++)
		ck_assert(dlg_mi_commands[i].fn && *dlg_mi_commands[i].help);
}
END_TEST

/* Names and order of the fields are what tools read: compare with the reference text. */
START_TEST(fields_and_their_order)
{
	char expected[1024];
	const struct dlg_cell *dlg;
	long long start;

	init();
	snprintf(call.routes, sizeof(call.routes), "<sip:127.0.0.4;lr;a=b>");
	sim_talk(&call);
	dlg = sim_peek(&call);
	start = (long long)dlg->start_time;
	sim_run(3);
	snprintf(
		expected, sizeof(expected),
		"dialogs[dialog{@hash=%u:%u state#4 user_flags#0 timestart#%lld timeout#%lld "
		"callid=call-1@127.0.0.9 from_uri=sip:alice@example.com to_uri=sip:bob@example.org "
		"caller_tag=ft1 caller_contact=sip:alice@127.0.0.9:5080 callee_cseq#0 "
		"caller_route_set=<sip:127.0.0.4;lr;a=b> caller_bind_addr=udp:127.0.0.1:5060 "
		"callees[{callee_tag=tt1-0 callee_contact=sip:bob@127.0.0.9:5090 caller_cseq#11 "
		"callee_route_set= callee_bind_addr=udp:127.0.0.1:5060 }]}]",
		dlg->h_entry, dlg->h_id, start, start + dialog_conf.default_timeout);
	ck_assert_str_eq(run("dlg_list", 0, NULL, NULL, NULL), expected);
	done();
}
END_TEST

START_TEST(an_unanswered_call_has_no_times_and_no_callee)
{
	const char *out;

	init();
	sim_invite(&call);
	out = run("dlg_list", 0, NULL, NULL, NULL);
	ck_assert_ptr_nonnull(strstr(out, "state#1 user_flags#0 timestart#0 timeout#0 "));
	ck_assert_ptr_null(strstr(out, "callee_tag"));
	sim_answer(&call, 0, 180);
	sim_answer(&call, 1, 180);
	out = run("dlg_list", 0, NULL, NULL, NULL);
	ck_assert_ptr_nonnull(strstr(out, "state#2 "));
	ck_assert_uint_eq(count(out, "callee_tag"), 2);
	done();
}
END_TEST

static void add_line(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	struct dlg_api api;

	(void)dlg;
	(void)type;
	ck_assert_int_eq(dlg_load_api(&api, dlg_cb_bind), 0);
	api.mi_add(p->mi, "mine", "a line");
}

START_TEST(context_shows_values_newest_first_and_other_modules_lines)
{
	struct dlg_cell *dlg;

	init();
	sim_talk(&call);
	ck_assert_ptr_nonnull(strstr(run("dlg_list_ctx", 0, NULL, NULL, NULL), "context{"));
	dlg = dlg_hash_get(sim_peek(&call)->h_entry, sim_peek(&call)->h_id, DLG_BY_API);
	dlg_vals_set(dlg, DLG_STR("acc"), DLG_STR("pre paid"));
	dlg_vals_set(dlg, DLG_STR("v 2"), DLG_STR("x|y#z"));
	ck_assert_int_eq(dlg_cb_register(dlg, DLGCB_MI_CONTEXT, add_line, NULL, NULL), 0);
	dlg_hash_put(dlg, DLG_BY_API);
	ck_assert_ptr_nonnull(strstr(run("dlg_list_ctx", 0, "call-1@127.0.0.9", NULL, NULL),
				     "value=v 2 = x|y#z value=acc = pre paid ]profiles[]"
				     "mine=a line }"));
	ck_assert_ptr_null(strstr(run("dlg_list", 0, NULL, NULL, NULL), "context"));
	done();
}
END_TEST

static void many_calls(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct sim_call one;

		sim_call_init(&one, i);
		sim_talk(&one);
	}
}

START_TEST(long_lists_are_streamed_or_cut)
{
	init();
	many_calls(500);
	ck_assert_uint_eq(count(run("dlg_list", 0, NULL, NULL, NULL), "dialog{"), 500);
	ck_assert_uint_eq(count(run("dlg_list", 100, NULL, NULL, NULL), "dialog{"), 100);
	ck_assert_ptr_nonnull(strstr(written.s, "]next="));
	break_after = 10;
	ck_assert_uint_lt(count(run("dlg_list", 0, NULL, NULL, NULL), "dialog{"), 20);
	break_after = -1;
	done();
}
END_TEST

START_TEST(pages_follow_each_other_to_the_end)
{
	char cursor[32] = "0";
	unsigned pages = 0, total = 0;

	init();
	many_calls(95);
	while (strcmp(cursor, "end")) {
		const char *out = run("dlg_page", 0, cursor, "10", NULL),
			   *next = strstr(out, "]next=");
		size_t len;

		ck_assert_ptr_nonnull(next);
		total += count(out, "dialog{");
		len = strcspn(next + 6, " ");
		ck_assert_uint_lt(len, sizeof(cursor));
		memcpy(cursor, next + 6, len);
		cursor[len] = '\0';
		ck_assert_uint_lt(++pages, 20);
	}
	ck_assert_uint_eq(total, 95);
	done();
}
END_TEST

START_TEST(bad_cursors_are_refused)
{
	static const char *const bad[] = { "",    "x",  "1:",          ":1",
					   "1:x", "-1", "99999999999", "1:99999999999",
					   "0 " };

	init();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_str_eq(run("dlg_page", 0, bad[i], NULL, NULL), "400 Bad parameter");
	ck_assert_str_eq(run("dlg_page", 0, "0", "0", NULL), "400 Bad parameter");
	ck_assert_str_eq(run("dlg_page", 0, "0", "999999", NULL), "400 Bad parameter");
	ck_assert_str_eq(run("dlg_page", 0, NULL, NULL, NULL), "400 Too few or too many arguments");
	ck_assert_str_eq(run("dlg_page", 0, "4000000000", NULL, NULL), "dialogs[]next=end ");
	done();
}
END_TEST

START_TEST(errors_have_the_known_codes_and_words)
{
	char entry[16], id[16];

	init();
	sim_talk(&call);
	snprintf(entry, sizeof(entry), "%u", sim_peek(&call)->h_entry);
	snprintf(id, sizeof(id), "%u", sim_peek(&call)->h_id);
	ck_assert_str_eq(run("dlg_list", 0, "nobody", NULL, NULL), "404 Nu such dialog");
	ck_assert_str_eq(run("dlg_list", 0, "a", "b", "c"), "400 Too few or too many arguments");
	ck_assert_str_eq(run("dlg_end_dlg", 0, entry, NULL, NULL),
			 "400 Too few or too many arguments");
	ck_assert_str_eq(run("dlg_end_dlg", 0, "abc", id, NULL), "400 Bad parameter");
	ck_assert_str_eq(run("dlg_end_dlg", 0, entry, "12345", NULL),
			 "404 Requested Dialog not found");
	sim_faults.send_fail_mask = 3;
	ck_assert_str_eq(run("dlg_end_dlg", 0, entry, id, NULL), "500 Operation failed");
	ck_assert_str_eq(run("dlg_end_dlg", 0, entry, id, "X-R: one"), "");
	ck_assert_str_eq(run("dlg_end_dlg", 0, entry, id, NULL), "404 Requested Dialog not found");
	sim_sent_all(200);
	sim_sent_clear();
	done();
}
END_TEST

START_TEST(audit_agrees_and_notices_what_does_not)
{
	init();
	sim_talk(&call);
	ck_assert_ptr_nonnull(
		strstr(run("dlg_audit", 0, NULL, NULL, NULL), "@result=ok dialogs#1 "));
	dlg_state_counters()->gauge[DLG_STATE_EARLY]++;
	ck_assert_ptr_nonnull(strstr(run("dlg_audit", 0, NULL, NULL, NULL), "@result=broken "));
	done();
}
END_TEST

/* ---- profiles ---- */

/* In the order of SIM_PROFILES and SIM_PROFILES_NO_VALUE. */
enum { CALLER, TRUNK, INBOUND, OUT_BOUND };

static const char *ask(const char *name, const char *a, const char *b)
{
	return run(name, 0, a, b, NULL);
}

/* A call that is up; its dialog, held. */
static struct dlg_cell *talk(unsigned n)
{
	struct sim_call one;

	sim_call_init(&one, n);
	sim_talk(&one);
	return dlg_hash_get(sim_peek(&one)->h_entry, sim_peek(&one)->h_id, DLG_BY_API);
}

static void join(struct dlg_cell *dlg, int profile, const char *value)
{
	ck_assert_int_eq(dlg_profile_join(dlg, profile, dlg_str_of(value)), 0);
}

/* Calls 0 to n-1: each of caller "c<n modulo 3>", each of two in the profile inbound. */
static void many_members(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct dlg_cell *dlg = talk(i);
		char value[16];

		snprintf(value, sizeof(value), "c%u", i % 3);
		join(dlg, CALLER, value);
		if (i % 2)
			join(dlg, INBOUND, NULL);
		dlg_hash_put(dlg, DLG_BY_API);
	}
}

START_TEST(sizes_of_profiles)
{
	init();
	many_members(6);
	ck_assert_str_eq(ask("profile_get_size", "caller", "c1"),
			 "profile{@name=caller @value=c1 @count#2 }");
	ck_assert_str_eq(ask("profile_get_size", "caller", NULL),
			 "profile{@name=caller @value= @count#6 }");
	ck_assert_str_eq(ask("profile_get_size", "caller", "nobody"),
			 "profile{@name=caller @value=nobody @count#0 }");
	ck_assert_str_eq(ask("profile_get_size", "inbound", "ignored"),
			 "profile{@name=inbound @value=ignored @count#3 }");
	done();
}
END_TEST

START_TEST(values_of_profiles)
{
	const char *out;

	init();
	ck_assert_str_eq(ask("profile_get_values", "caller", NULL), "values[]");
	many_members(8);
	out = ask("profile_get_values", "caller", "ignored");
	ck_assert_uint_eq(count(out, "value{@="), 3);
	ck_assert_uint_eq(count(out, "value{@=c0 @count#3 }"), 1);
	ck_assert_uint_eq(count(out, "value{@=c1 @count#3 }"), 1);
	ck_assert_uint_eq(count(out, "value{@=c2 @count#2 }"), 1);
	ck_assert_str_eq(ask("profile_get_values", "inbound", NULL),
			 "values[value{@=WITHOUT VALUE @count#4 }]");
	ck_assert_str_eq(ask("profile_get_values", "out_bound", NULL),
			 "values[value{@=WITHOUT VALUE @count#0 }]");
	done();
}
END_TEST

static void many_values(struct dlg_cell *dlg, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char value[16];

		snprintf(value, sizeof(value), "v%u", i);
		join(dlg, CALLER, value);
	}
}

/* A dialect that cannot stream says how much it left out. */
START_TEST(long_lists_of_values_are_streamed_or_cut)
{
	struct dlg_cell *dlg;

	init();
	dlg = talk(0);
	many_values(dlg, 300);
	ck_assert_uint_eq(count(run("profile_get_values", 0, "caller", NULL, NULL), "value{"), 300);
	ck_assert_ptr_null(strstr(written.s, "left_out"));
	ck_assert_uint_eq(count(run("profile_get_values", 100, "caller", NULL, NULL), "value{"),
			  100);
	ck_assert_ptr_nonnull(strstr(written.s, "]left_out#200 "));
	run("profile_get_values", 300, "caller", NULL, NULL);
	ck_assert_uint_eq(count(written.s, "value{"), 300);
	ck_assert_ptr_null(strstr(written.s, "left_out"));
	dlg_hash_put(dlg, DLG_BY_API);
	done();
}
END_TEST

static size_t longest = SIZE_MAX; /* that realloc() gives */

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_realloc(void *old, size_t size)
{
	return size > longest ? NULL : __real_realloc(old, size);
}

/* Its value was read from behind the page. */
START_TEST(a_page_without_memory_is_left_out)
{
	static char value[60001];
	struct dlg_cell *dlg;

	init();
	memset(value, 'v', 60000);
	dlg = talk(0);
	join(dlg, CALLER, value);
	longest = 4096;
	ck_assert_str_eq(ask("profile_get_values", "caller", NULL), "values[]left_out#1 ");
	ck_assert_ptr_null(strstr(ask("dlg_profiles", "5", NULL), "vvv"));
	longest = SIZE_MAX;
	ck_assert_uint_eq(count(ask("profile_get_values", "caller", NULL), "value{"), 1);
	dlg_hash_put(dlg, DLG_BY_API);
	done();
}
END_TEST

START_TEST(a_reader_who_goes_leaves_nothing_behind)
{
	struct dlg_mem_info before, after;
	struct dlg_cell *dlg;

	init();
	dlg = talk(1);
	dlg_mem_get_info(&before);
	many_values(dlg, 900);
	for (int pages = 1; pages < 9; pages += 3) {
		break_after = pages;
		ck_assert_uint_eq(count(ask("profile_get_values", "caller", NULL), "value{"),
				  64 * pages);
	}
	break_after = -1;
	while (dlg_profile_leave(dlg, CALLER, NULL))
		;
	dlg_mem_get_info(&after);
	ck_assert_uint_eq(after.pieces, before.pieces);
	dlg_hash_put(dlg, DLG_BY_API);
	done();
}
END_TEST

START_TEST(listings_of_a_profile)
{
	const char *out;
	char *all;

	init();
	many_members(7);
	ck_assert_uint_eq(count(ask("profile_list_dlgs", "caller", NULL), "dialog{"), 7);
	out = ask("profile_list_dlgs", "caller", "c1");
	ck_assert_uint_eq(count(out, "dialog{"), 2);
	ck_assert_uint_eq(count(out, "callid=call-1@"), 1);
	ck_assert_uint_eq(count(out, "callid=call-4@"), 1);
	ck_assert_ptr_null(strstr(out, "memberships"));
	ck_assert_ptr_null(strstr(out, "context"));
	ck_assert_str_eq(ask("profile_list_dlgs", "caller", "nobody"), "dialogs[]");
	ck_assert_str_eq(ask("profile_list_dlgs", "trunk", NULL), "dialogs[]");
	/* the value means nothing */
	ck_assert_uint_eq(count(ask("profile_list_dlgs", "inbound", "x"), "dialog{"), 3);
	/* fields are those of dlg_list */
	all = strdup(ask("dlg_list", NULL, NULL));
	ck_assert_str_eq(ask("profile_list_dlgs", "caller", NULL), all);
	free(all);
	done();
}
END_TEST

/* D26: size and listing agree, because the listing says how often a dialog counts. */
START_TEST(d26_memberships_of_a_dialog)
{
	struct dlg_cell *dlg;
	const char *out;

	init();
	many_members(3);
	dlg = talk(9);
	join(dlg, CALLER, "c1");
	join(dlg, CALLER, "c1");
	join(dlg, CALLER, "other");
	out = ask("profile_list_dlgs", "caller", "c1");
	ck_assert_uint_eq(count(out, "dialog{"), 2);
	ck_assert_uint_eq(count(out, "}]memberships#2 }"), 1);
	ck_assert_uint_eq(count(out, "memberships"), 1);
	ck_assert_ptr_nonnull(strstr(ask("profile_get_size", "caller", "c1"), "@count#3 "));
	ck_assert_ptr_nonnull(
		strstr(ask("profile_list_dlgs", "caller", NULL), "memberships#3 }"));
	ck_assert_ptr_null(strstr(ask("dlg_list", NULL, NULL), "memberships"));
	dlg_hash_put(dlg, DLG_BY_API);
	done();
}
END_TEST

static const char *page(const char *cursor, const char *max, const char *profile,
			const char *value)
{
	return run_with("dlg_page", 0, (const char *const[4]){ cursor, max, profile, value });
}

/* Follow "next" with dlg_page until the end; how many dialogs there were. */
static unsigned follow(const char *out, const char *profile, const char *value)
{
	unsigned total = count(out, "dialog{"), pages = 0;
	char cursor[32];

	while ((out = strstr(out, "]next=")) && strncmp(out + 6, "end ", 4)) {
		size_t len = strcspn(out + 6, " ");

		ck_assert_uint_lt(len, sizeof(cursor));
		memcpy(cursor, out + 6, len);
		cursor[len] = '\0';
		out = page(cursor, "7", profile, value);
		total += count(out, "dialog{");
		ck_assert_uint_lt(++pages, 100);
	}
	ck_assert_ptr_nonnull(out);
	return total;
}

START_TEST(pages_of_a_profile)
{
	const char *first;

	init();
	many_members(120);
	first = run("profile_list_dlgs", 10, "caller", "c2", NULL);
	ck_assert_uint_eq(follow(first, "caller", "c2"), 40);
	first = run("profile_list_dlgs", 1, "inbound", NULL, NULL);
	ck_assert_uint_eq(follow(first, "inbound", NULL), 60);
	ck_assert_uint_eq(follow(page("0", "1", "caller", NULL), "caller", NULL), 120);
	ck_assert_uint_eq(follow(page("0", "9", "caller", "c0"), "caller", "c0"), 40);
	ck_assert_str_eq(page("0", "9", "caller", "x"), "dialogs[]next=end ");
	ck_assert_str_eq(page("0", "9", "nope", NULL), "404 Profile not found");
	done();
}
END_TEST

START_TEST(ending_the_calls_of_a_profile)
{
	init();
	many_members(9);
	ck_assert_str_eq(ask("profile_end_dlgs", "caller", "c1"), "ended#3 failed#0 ");
	ck_assert_str_eq(ask("profile_end_dlgs", "caller", "c1"), "ended#0 failed#0 ");
	ck_assert_uint_eq(sim_sent_pending(), 6);
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 6);
	ck_assert_ptr_nonnull(strstr(ask("profile_get_size", "caller", NULL), "@count#6 "));
	sim_faults.send_fail_mask = 3; /* both BYEs of the first one */
	ck_assert_str_eq(ask("profile_end_dlgs", "inbound", "ignored"), "ended#1 failed#1 ");
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 5);
	ck_assert_str_eq(ask("profile_end_dlgs", "caller", NULL), "ended#5 failed#0 ");
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 0);
	ck_assert_str_eq(ask("profile_end_dlgs", "trunk", NULL), "ended#0 failed#0 ");
	ck_assert_uint_eq(dlg_state_counters()->ended[DLG_REASON_command], 9);
	sim_sent_all(200);
	sim_sent_clear();
	done();
}
END_TEST

/* Or a party's name server would decide for how long the command, and the next one, takes. */
START_TEST(ending_the_calls_of_a_profile_waits_for_no_name)
{
	init();
	snprintf(call.contact, sizeof(call.contact), "sip:alice@slow.example.com");
	sim_talk(&call);
	join((struct dlg_cell *)sim_peek(&call), INBOUND, NULL);
	ck_assert_str_eq(ask("profile_end_dlgs", "inbound", NULL), "ended#1 failed#0 ");
	sim_advance(2000);
	dlg_timer_tick();
	ck_assert_uint_eq(sim_sends_tried, 0);
	dlg_timer_tick_patient();
	ck_assert_uint_eq(sim_sends_tried, 2);
	ck_assert_uint_eq(dlg_state_counters()->ended[DLG_REASON_command], 1);
	sim_sent_all(200);
	sim_sent_clear();
	done();
}
END_TEST

START_TEST(profiles_of_every_kind_are_listed)
{
	init();
	ck_assert_str_eq(ask("list_all_profiles", NULL, NULL),
			 "Profiles[caller#1 trunk#1 inbound#0 out_bound#0 ]");
	ops.structured = 1;
	ck_assert_str_eq(ask("list_all_profiles", NULL, NULL),
			 "Profiles[{name=caller has value#1 }{name=trunk has value#1 }"
			 "{name=inbound has value#0 }{name=out_bound has value#0 }]");
	done();
}
END_TEST

START_TEST(the_most_frequent_values)
{
	struct dlg_cell *dlg;

	init();
	ck_assert_str_eq(
		ask("dlg_profiles", NULL, NULL),
		"profiles[profile{@name=caller @with_value#1 @count#0 @values#0 top[]}"
		"profile{@name=trunk @with_value#1 @count#0 @values#0 top[]}"
		"profile{@name=inbound @with_value#0 @count#0 @values#0 top[]}"
		"profile{@name=out_bound @with_value#0 @count#0 @values#0 top[]}]");
	dlg = talk(0);
	for (unsigned n = 1; n <= 40; n++) {
		char value[16];

		snprintf(value, sizeof(value), "v%u", n);
		for (unsigned i = 0; i < n; i++)
			join(dlg, CALLER, value);
	}
	join(dlg, INBOUND, NULL);
	dlg_hash_put(dlg, DLG_BY_API);
	ck_assert_ptr_nonnull(strstr(ask("dlg_profiles", "3", NULL),
				     "{@name=caller @with_value#1 @count#820 @values#40 "
				     "top[value{@=v40 @count#40 }value{@=v39 @count#39 }"
				     "value{@=v38 @count#38 }]}"));
	ck_assert_ptr_nonnull(
		strstr(written.s, "{@name=inbound @with_value#0 @count#1 @values#0 top[]}"));
	ck_assert_uint_eq(count(ask("dlg_profiles", "100", NULL), "value{"), 40);
	ck_assert_uint_eq(count(ask("dlg_profiles", "0", NULL), "value{"), 0);
	ck_assert_str_eq(ask("dlg_profiles", "101", NULL), "400 Bad parameter");
	ck_assert_str_eq(ask("dlg_profiles", "-1", NULL), "400 Bad parameter");
	ck_assert_str_eq(ask("dlg_profiles", "", NULL), "400 Bad parameter");
	done();
}
END_TEST

START_TEST(commands_of_profiles_know_their_arguments)
{
	static const char *const names[] = { "profile_get_size", "profile_list_dlgs",
					     "profile_get_values", "profile_end_dlgs" };

	init();
	many_members(2);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_str_eq(ask(names[i], NULL, NULL), "400 Too few or too many arguments");
		ck_assert_str_eq(run(names[i], 0, "caller", "a", "b"),
				 "400 Too few or too many arguments");
		ck_assert_str_eq(ask(names[i], "nope", NULL), "404 Profile not found");
		ck_assert_str_eq(ask(names[i], "Caller", "c0"), "404 Profile not found");
		ck_assert_str_eq(ask(names[i], "", NULL), "404 Profile not found");
	}
	ck_assert_str_eq(ask("list_all_profiles", "x", NULL), "400 Too few or too many arguments");
	ck_assert_str_eq(ask("dlg_stats", "x", NULL), "400 Too few or too many arguments");
	ck_assert_uint_eq(dialog_stat_active_dialogs(), 2);
	done();
}
END_TEST

START_TEST(context_shows_memberships_newest_first)
{
	struct dlg_cell *dlg;

	init();
	dlg = talk(1);
	join(dlg, CALLER, "alice");
	join(dlg, INBOUND, NULL);
	join(dlg, CALLER, "");
	join(dlg, CALLER, "alice");
	ck_assert_ptr_nonnull(strstr(ask("dlg_list_ctx", "call-1@127.0.0.9", NULL),
				     "profiles[profile=caller = alice profile=caller =  "
				     "profile=inbound =  profile=caller = alice ]}"));
	dlg_hash_put(dlg, DLG_BY_API);
	done();
}
END_TEST

/* ---- figures ---- */

START_TEST(stats_have_their_names_in_this_order)
{
	static const char *const names[] = {
		"uptime",	   "unconfirmed",    "early",	       "confirmed_na",
		"confirmed",	   "deleted",	     "processed",      "restored",       "failed",
		"expired",	   "refused",	     "forged",	       "overdue",
		"limited",	   "lock_takeovers", "ended_caller",   "ended_callee",
		"ended_cancel",	   "ended_reject",   "ended_no_answer", "ended_command",
		"ended_setup_timeout", "ended_ack_timeout", "ended_timeout", "ended_abandoned",
		"hash_size",	   "entries_used",   "fullest_entry",  "timers_armed",
		"timer_lag",	   "memory_pieces",  "memory_bytes",   "memory_held",
		"profile_members", "profile_values", "db_queue", "db_oldest_ms", "db_rows",
		"db_deleted",	   "db_batches",     "db_rate",	       "db_errors",
		"db_refused",	   "db_unsaved",     "db_connected",   "db_restored",
		"db_skipped",	   "db_journal_bytes", "db_journal_errors",
	};
	const char *at;

	init();
	at = ask("dlg_stats", NULL, NULL);
	ck_assert_int_eq(strncmp(at, "stats{", 6), 0);
	at += 6;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);

		ck_assert_msg(!strncmp(at, names[i], len) && at[len] == '#', "%s is not at: %s",
			      names[i], at);
		at = strchr(at, ' ') + 1;
	}
	ck_assert_str_eq(at, "}");
	done();
}
END_TEST

START_TEST(stats_count_what_happened)
{
	struct dlg_profile_want want = { CALLER, 1, DLG_STR("c0"), 1 };
	struct dlg_cell *dlg;
	const char *out;

	init();
	many_members(4);
	dlg = talk(5);
	ck_assert_int_eq(dlg_profile_join_limited(dlg, &want, 1), 0);
	dlg_hash_put(dlg, DLG_BY_API);
	ask("profile_end_dlgs", "caller", "c1");
	sim_run(2);
	out = ask("dlg_stats", NULL, NULL);
	ck_assert_ptr_nonnull(strstr(out, "uptime#2 unconfirmed#0 early#0 confirmed_na#0 "
					  "confirmed#4 deleted#1 processed#5 "));
	ck_assert_ptr_nonnull(strstr(out, " limited#1 "));
	ck_assert_ptr_nonnull(strstr(out, " ended_command#1 "));
	ck_assert_ptr_nonnull(strstr(out, " timers_armed#5 "));
	ck_assert_ptr_nonnull(strstr(out, " profile_members#4 profile_values#2 "));
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), " limited#1 "));
	sim_sent_all(200);
	sim_sent_clear();
	done();
}
END_TEST

START_TEST(audit_notices_a_membership_that_does_not_count)
{
	struct dlg_member *kept;
	struct dlg_cell *dlg;

	init();
	many_members(3);
	dlg = talk(5);
	join(dlg, CALLER, "alice");
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "@result=ok "));
	ck_assert_ptr_nonnull(strstr(written.s, " members#5 members_gauge#5 "));
	kept = dlg->members;
	dlg->members = NULL;
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "@result=broken "));
	ck_assert_ptr_nonnull(strstr(written.s, " members#4 members_gauge#5 "));
	dlg->members = kept;
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "@result=ok "));
	dlg_hash_put(dlg, DLG_BY_API);
	done();
}
END_TEST

/* Dialogs that somebody holds beyond their end, or that the timer forgot, by name. */
START_TEST(audit_lists_what_is_overdue)
{
	char expected[200];
	struct dlg_cell *dlg;
	const char *why;

	init();
	sim_talk(&call);
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "overdue_dialogs[]}"));
	dlg = dlg_hash_get(sim_peek(&call)->h_entry, sim_peek(&call)->h_id, DLG_BY_API);
	ck_assert_int_eq(dlg_handlers_end(dlg, DLG_STR_NONE, &why), 0);
	sim_sent_all(200);
	sim_run(DLG_STATE_LINGER_S + 3);
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "overdue_dialogs[]}"));
	sim_set_wall(3600);
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "overdue_dialogs[]}"));
	sim_run(7);
	snprintf(expected, sizeof(expected),
		 "overdue_dialogs[overdue_dialog{@hash=%u:%u callid=call-1@127.0.0.9 state#5 "
		 "seconds#10 held_by=api=1 }]}",
		 dlg->h_entry, dlg->h_id);
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), expected));
	dlg_hash_put(dlg, DLG_BY_API);
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "overdue_dialogs[]}"));
	/* the timer process stands still */
	sim_call_init(&call, 2);
	sim_talk(&call);
	sim_advance(((uint64_t)dialog_conf.default_timeout + 100) * 1000);
	ck_assert_ptr_nonnull(
		strstr(ask("dlg_audit", NULL, NULL), "state#4 seconds#100 held_by= }"));
	sim_sent_clear();
	done();
}
END_TEST

/* As a row of another program may want it, until the year 9999. */
START_TEST(a_call_that_never_ends_is_not_overdue)
{
	struct dlg_cell *dlg;

	init();
	sim_talk(&call);
	dlg = dlg_hash_get(sim_peek(&call)->h_entry, sim_peek(&call)->h_id, DLG_BY_LOCAL);
	dlg_hash_lock(dlg);
	dlg->expires = dlg_timer_after(253402300799u);
	dlg_timer_arm_locked(dlg, dlg->expires);
	dlg_hash_unlock(dlg);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	ck_assert_ptr_nonnull(strstr(ask("dlg_audit", NULL, NULL), "overdue_dialogs[]}"));
	done();
}
END_TEST

START_TEST(a_long_list_of_overdue_dialogs_is_cut)
{
	init();
	many_calls(30);
	sim_advance(((uint64_t)dialog_conf.default_timeout + 100) * 1000);
	ck_assert_uint_eq(count(run("dlg_audit", 10, NULL, NULL, NULL), "overdue_dialog{"), 10);
	ck_assert_uint_eq(count(run("dlg_audit", 0, NULL, NULL, NULL), "overdue_dialog{"), 30);
	done();
}
END_TEST

int main(void)
{
	return unit_run("dlg_mi",
			UNIT_TESTS{ commands_are_found_by_their_exact_name, fields_and_their_order,
				    an_unanswered_call_has_no_times_and_no_callee,
				    context_shows_values_newest_first_and_other_modules_lines,
				    long_lists_are_streamed_or_cut,
				    pages_follow_each_other_to_the_end, bad_cursors_are_refused,
				    errors_have_the_known_codes_and_words,
				    audit_agrees_and_notices_what_does_not, sizes_of_profiles,
				    values_of_profiles, long_lists_of_values_are_streamed_or_cut,
				    a_reader_who_goes_leaves_nothing_behind,
				    a_page_without_memory_is_left_out, listings_of_a_profile,
				    d26_memberships_of_a_dialog, pages_of_a_profile,
				    ending_the_calls_of_a_profile,
				    ending_the_calls_of_a_profile_waits_for_no_name,
				    profiles_of_every_kind_are_listed, the_most_frequent_values,
				    commands_of_profiles_know_their_arguments,
				    context_shows_memberships_newest_first,
				    stats_have_their_names_in_this_order, stats_count_what_happened,
				    audit_notices_a_membership_that_does_not_count,
				    audit_lists_what_is_overdue, a_call_that_never_ends_is_not_overdue,
				    a_long_list_of_overdue_dialogs_is_cut, NULL },
			30);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands over a recording writer: "{" a node "}", "[" a list "]", name@attribute=, name=text,
 * name#number. */
#include "../../dlg_mi.h"

#include <ctype.h>
#include <stdlib.h>

#include "../../dlg_cb.h"
#include "../../dlg_lock.h"
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

static const struct dlg_mi_ops ops = {
	.open_list = open_list, .close_list = close_list,
	.open_node = open_node, .close_node = close_node,
	.attr = attr, .attr_number = attr_number, .text = text, .number = number,
	.error = error, .broken = broken,
};

/* Run a command with up to three arguments; what it wrote. */
static const char *run(const char *name, unsigned page, const char *a, const char *b, const char *c)
{
	const char *args[3] = { a, b, c };
	struct dlg_mi_out out = { .ops = &ops, .page = page, .status = 200 };
	struct dlg_mi_args in = { 0 };

	while (in.n < 3 && args[in.n]) {
		in.arg[in.n] = dlg_str_of(args[in.n]);
		in.n++;
	}
	dlg_buf_reset(&written);
	dlg_mi_run(dlg_mi_find(dlg_str_of(name)), &in, &out);
	dlg_buf_add(&written, DLG_STR(""));
	return written.s;
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
				     "value=v 2 = x|y#z value=acc = pre paid ]profiles[]mine=a line }"));
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

int main(void)
{
	return unit_run("dlg_mi",
			UNIT_TESTS{ commands_are_found_by_their_exact_name, fields_and_their_order,
				    an_unanswered_call_has_no_times_and_no_callee,
				    context_shows_values_newest_first_and_other_modules_lines,
				    long_lists_are_streamed_or_cut,
				    pages_follow_each_other_to_the_end, bad_cursors_are_refused,
				    errors_have_the_known_codes_and_words,
				    audit_agrees_and_notices_what_does_not, NULL },
			30);
}

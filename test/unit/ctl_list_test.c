/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list, show and end of dlgctl: which dialogs, and how they look. */
#include "ctl_fake.h"

#include <time.h>

#define HEAD "200 OK\n"

/* A dialog with one callee. */
#define DIALOG(hash, state, start, callid, caller, callee)                                        \
	"dialog::  hash=" hash "\n\tstate:: " state "\n\tuser_flags:: 0\n\ttimestart:: " start     \
	"\n\ttimeout:: 0\n\tcallid:: " callid "\n\tfrom_uri:: " caller "\n\tto_uri:: " callee      \
	"\n\tcaller_tag:: ft\n\tcaller_contact:: \n\tcallee_cseq:: 0\n\tcaller_route_set:: \n"      \
	"\tcaller_bind_addr:: udp:127.0.0.1:5060\n\tcallee_tag:: tt\n\tcallee_contact:: sip:b\n"    \
	"\tcaller_cseq:: 1\n\tcallee_route_set:: \n\tcallee_bind_addr:: udp:127.0.0.1:5060\n"

static const struct fake_reply three[] = {
	{ "dlg_page", HEAD DIALOG("1:2", "4", "1000", "a@x", "sip:alice@example.com", "sip:bob@example.org")
			      DIALOG("1:3", "2", "0", "b@x", "sip:Carol@example.com", "sip:bob@example.org")
				      DIALOG("7:1", "5", "1000", "a@x", "sip:alice@example.com", "sip:dave") "next:: end\n\n" },
	{ "dlg_page(0|1000|caller|a=b)",
	  HEAD DIALOG("1:2", "4", "1000", "a@x", "sip:alice@example.com", "sip:bob@example.org") "\n" },
	{ "dlg_page(0|1000|inbound)", HEAD "next:: end\n\n" },
	{ "dlg_end_dlg", HEAD "\n" },
	{ NULL, NULL },
};

static void init(const struct fake_reply *replies)
{
	ctl_options = (struct ctl_options){ .columns = "hash,state", .yes = 1 };
	fake_replies = replies;
}

/* The hashes that the filters let pass, each with a blank. */
static const char *passed(void)
{
	static char out[256];

	ctl_options.columns = "hash";
	fake_run(ctl_list, NULL);
	ck_assert(!strncmp(fake_text, "HASH\n", 5));
	snprintf(out, sizeof(out), "%s", fake_text + 5);
	for (char *p = out; *p; p++)
		*p = *p == '\n' ? ' ' : *p;
	return out;
}

START_TEST(a_list_is_a_table)
{
	init(three);
	ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_OK);
	ck_assert_str_eq(fake_text, "HASH               STATE\n1:2                confirmed\n"
				    "1:3                early\n7:1                ended\n");
	fake_done();
}
END_TEST

START_TEST(filters_choose)
{
	init(three);
	ctl_options.states = "active";
	ck_assert_str_eq(passed(), "1:2 ");
	ctl_options.states = "2,5";
	ck_assert_str_eq(passed(), "1:3 7:1 ");
	ctl_options.states = "Setup,Ended";
	ck_assert_str_eq(passed(), "1:3 7:1 ");
	ctl_options.states = NULL;
	ctl_options.caller = "CAROL";
	ck_assert_str_eq(passed(), "1:3 ");
	ctl_options.caller = "example.com";
	ctl_options.callee = "bob";
	ck_assert_str_eq(passed(), "1:2 1:3 ");
	ctl_options.callid = "b@x";
	ck_assert_str_eq(passed(), "1:3 ");
	ctl_options.callid = "B@x";
	ck_assert_str_eq(passed(), "");
	fake_done();
}
END_TEST

START_TEST(every_dialog_of_a_call_id_is_listed)
{
	init(three);
	ctl_options.callid = "a@x";
	ck_assert_str_eq(passed(), "1:2 7:1 ");
	fake_done();
}
END_TEST

START_TEST(an_age_is_that_of_an_answered_call)
{
	char text[512], now[24];
	const struct fake_reply replies[] = { { "dlg_page", text }, { NULL, NULL } };

	init(replies);
	snprintf(now, sizeof(now), "%ld", (long)time(NULL) - 100);
	snprintf(text, sizeof(text), "200 OK\ndialog::  hash=1:1\n\tstate:: 4\n\ttimestart:: %s\n"
				     "dialog::  hash=1:2\n\tstate:: 2\n\ttimestart:: 0\n\n", now);
	ctl_options.older = "90";
	ck_assert_str_eq(passed(), "1:1 ");
	ctl_options.older = "2m";
	ck_assert_str_eq(passed(), "");
	ctl_options.older = NULL;
	ctl_options.younger = "2m";
	ck_assert_str_eq(passed(), "1:1 ");
	ctl_options.younger = "90s";
	ck_assert_str_eq(passed(), "");
	fake_done();
}
END_TEST

START_TEST(a_profile_is_asked_for)
{
	init(three);
	ctl_options.profile = "caller=a=b";
	ck_assert_str_eq(passed(), "1:2 ");
	ctl_options.profile = "inbound";
	ck_assert_str_eq(passed(), "");
	ck_assert_str_eq(fake_asked.s, "dlg_page(0|1000|caller|a=b);dlg_page(0|1000|inbound);");
	fake_done();
}
END_TEST

START_TEST(a_list_comes_in_pages)
{
	const struct fake_reply pages[] = {
		{ "dlg_page(0|1000)", HEAD DIALOG("1:2", "4", "0", "a", "s", "s") "next:: 1:2\n\n" },
		{ "dlg_page(1:2|1000)", HEAD "next:: 7\n\n" },
		{ "dlg_page(7|1000)", HEAD DIALOG("7:1", "2", "0", "b", "s", "s") DIALOG("7:2", "5", "0", "c", "s", "s")
					      "next:: end\n\n" },
		{ NULL, NULL },
	};

	init(pages);
	ck_assert_str_eq(passed(), "1:2 7:1 7:2 ");
	ck_assert_str_eq(fake_asked.s, "dlg_page(0|1000);dlg_page(1:2|1000);dlg_page(7|1000);");
	ctl_options.dry_run = 1;
	ctl_options.states = "all";
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_OK);
	ck_assert_str_eq(fake_text, "1:2  a\n7:1  b\n2 calls would be ended\n");
	fake_done();
}
END_TEST

/* The pages so far are shown. */
START_TEST(a_list_that_breaks_off_is_told_by_the_exit_code)
{
	const struct fake_reply pages[] = {
		{ "dlg_page(0|1000)", HEAD DIALOG("1:2", "4", "0", "a", "s", "s") "next:: 1:2\n\n" },
		{ NULL, NULL },
	};

	init(pages);
	ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_AWAY);
	ck_assert_str_eq(fake_text, "HASH               STATE\n1:2                confirmed\n");
	dlg_buf_reset(&fake_asked);
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_USAGE);
	ctl_options.states = "all";
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_AWAY); /* and nothing is ended */
	ck_assert_str_eq(fake_asked.s, "dlg_page(0|1000);dlg_page(1:2|1000);");
	fake_done();
}
END_TEST

START_TEST(nothing_found_is_told_by_the_exit_code)
{
	init(three);
	ctl_options.caller = "nobody";
	ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_NO);
	init(three);
	fake_replies = (const struct fake_reply[]){ { "dlg_page", HEAD "\n" }, { NULL, NULL } };
	ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_OK);
	fake_replies = (const struct fake_reply[]){ { NULL, NULL } };
	ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_AWAY);
	ck_assert_uint_eq(fake_len, 0);
	fake_done();
}
END_TEST

START_TEST(bad_filters_and_columns_are_refused)
{
	static const char *const bad_states[] = { "x", "", "early,", ",early", "6", "0" };
	static const char *const bad_ages[] = { "", "x", "-1", "1x", "1mm", "1.5h", " 1", "99999999999" };

	for (size_t i = 0; i < sizeof(bad_states) / sizeof(bad_states[0]); i++) {
		init(three);
		ctl_options.states = bad_states[i];
		ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_USAGE);
	}
	for (size_t i = 0; i < sizeof(bad_ages) / sizeof(bad_ages[0]); i++)
		ck_assert_int_eq(ctl_seconds(bad_ages[i]), -1);
	init(three);
	ctl_options.columns = "hash,x";
	ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_USAGE);
	ck_assert_ptr_eq(fake_asked.s, NULL);
	fake_done();
}
END_TEST

START_TEST(a_duration_is_short)
{
	char out[32];

	ck_assert_int_eq(ctl_seconds("15m"), 900);
	ck_assert_int_eq(ctl_seconds("1d"), 86400);
	ck_assert_str_eq(ctl_duration(-1, out), "-");
	ck_assert_str_eq(ctl_duration(59, out), "59s");
	ck_assert_str_eq(ctl_duration(60, out), "1m00s");
	ck_assert_str_eq(ctl_duration(7380, out), "2h03m");
	ck_assert_str_eq(ctl_duration(1000000, out), "277h46m");
}
END_TEST

/* The same in a terminal as in a file: no byte that a terminal takes for a command, and columns
 * that stand below each other whatever the characters. */
START_TEST(a_table_is_fit_for_a_terminal)
{
	const struct fake_reply replies[] = {
		{ "dlg_page", HEAD DIALOG("1:1", "4", "0", "\xc3\xa4\xff\xc2\x9b\x9b\t|", "s", "s")
				      DIALOG("1:2", "4", "0", "\xe2\x82\xac\xf0\x9f\x93\x9e", "s", "s") "\n" },
		{ NULL, NULL },
	};

	init(replies);
	ctl_options.columns = "callid,state";
	fake_run(ctl_list, NULL);
	ck_assert_str_eq(fake_text,
			 "CALL-ID                           STATE\n"
			 "\xc3\xa4\\xff\\xc2\\x9b\\x9b\\x09|            confirmed\n"
			 "\xe2\x82\xac\xf0\x9f\x93\x9e                                confirmed\n");
	fake_done();
}
END_TEST

START_TEST(json_holds_every_field)
{
	const struct fake_reply replies[] = {
		{ "dlg_page", HEAD "dialog::  hash=1:1\n\tstate:: 4\n\ttimestart:: 12\n\tcallid:: q\"\\\xff\xc3\xa4\t\n"
				   "\tcallee_tag:: t1\n\tcaller_cseq:: 3\n\tcallee_tag:: t2\n\tcontext:: \n"
				   "\t\tvalue:: a = b\n\t\tprofile:: p = \n"
				   "dialog::  hash=1:2\n\tstate:: 1x\n\n" },
		{ NULL, NULL },
	};

	init(replies);
	ctl_options.json = 1;
	ck_assert_int_eq(fake_run(ctl_list, NULL), CTL_OK);
	ck_assert_str_eq(fake_text,
			 "[{\"hash\":\"1:1\",\"state\":4,\"timestart\":12,\"callid\":\"q\\\"\\\\\\u00ff\xc3\xa4\\u0009\","
			 "\"callees\":[{\"callee_tag\":\"t1\",\"caller_cseq\":3},{\"callee_tag\":\"t2\"}],"
			 "\"context\":[[\"value\",\"a = b\"],[\"profile\",\"p = \"]]},\n"
			 "{\"hash\":\"1:2\",\"state\":\"1x\",\"callees\":[]}]\n");
	fake_replies = (const struct fake_reply[]){ { "dlg_page", HEAD "\n" }, { NULL, NULL } };
	fake_run(ctl_list, NULL);
	ck_assert_str_eq(fake_text, "[]\n");
	fake_done();
}
END_TEST

START_TEST(json_is_utf8_whatever_comes)
{
	static const struct { const char *in, *out; } texts[] = {
		{ "\xc0\x80", "\\u00c0\\u0080" },                     /* overlong */
		{ "\xe0\x9f\xbf", "\\u00e0\\u009f\\u00bf" },          /* overlong */
		{ "\xed\xa0\x80", "\\u00ed\\u00a0\\u0080" },          /* half of a surrogate pair */
		{ "\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080" }, /* beyond Unicode */
		{ "\xe2\x82", "\\u00e2\\u0082" },                     /* cut off */
		{ "\x7f\x01", "\\u007f\\u0001" },
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct dlg_buf out = { 0 };

		ctl_json_string(&out, texts[i].in);
		ck_assert_uint_eq(out.len, strlen(texts[i].out) + 2);
		ck_assert(!memcmp(out.s + 1, texts[i].out, out.len - 2));
		dlg_buf_free(&out);
	}
}
END_TEST

/* More than the 1000 values and 64 legs that a dialog may have. */
START_TEST(no_field_is_left_out)
{
	struct dlg_buf text = { 0 };
	struct fake_reply replies[] = { { "dlg_list_ctx", NULL }, { NULL, NULL } };

	dlg_buf_printf(&text, HEAD "dialog::  hash=1:1\n\tstate:: 4\n");
	for (int i = 0; i < 64; i++)
		dlg_buf_printf(&text, "\tcallee_tag:: tag%d\n", i);
	dlg_buf_printf(&text, "\tcontext:: \n");
	for (int i = 0; i < 5000; i++)
		dlg_buf_printf(&text, "\t\tvalue:: n%d = v\n", i);
	dlg_buf_printf(&text, "\n");
	replies[0].text = text.s;
	init(replies);
	ck_assert_int_eq(fake_run(ctl_show, "some-call-id"), CTL_OK);
	ck_assert_ptr_nonnull(strstr(fake_text, "callee 64\n  callee_tag         tag63\n"));
	ck_assert_ptr_nonnull(strstr(fake_text, "  value              n4999 = v\n"));
	dlg_buf_free(&text);
	fake_done();
}
END_TEST

START_TEST(show_by_hash_asks_by_name)
{
	const struct fake_reply replies[] = {
		three[0],
		{ "dlg_list_ctx", HEAD DIALOG("1:2", "4", "0", "a@x", "s", "s") "\tcontext:: \n\t\tprofile:: p = v\n\n" },
		{ NULL, NULL },
	};

	init(replies);
	ck_assert_int_eq(fake_run(ctl_show, "1:2"), CTL_OK);
	ck_assert_str_eq(fake_asked.s, "dlg_page(1:1|1);dlg_list_ctx(a@x|ft);");
	ck_assert_ptr_nonnull(strstr(fake_text, "state              4 (confirmed)\n"));
	ck_assert_ptr_nonnull(strstr(fake_text, "context\n  profile            p = v\n"));
	ck_assert_int_eq(fake_run(ctl_show, "1:3"), CTL_NO); /* the page has another one */
	dlg_buf_reset(&fake_asked);
	ck_assert_int_eq(fake_run(ctl_show, "5:0"), CTL_NO);
	ck_assert_str_eq(fake_asked.s, "dlg_page(5|1);");
	fake_done();
}
END_TEST

START_TEST(what_is_no_hash_is_a_call_id)
{
	static const char *const texts[] = { "1:", ":1", "1:2x", "x1:2", "1 :2", "-1:2", "1", "" };

	init((const struct fake_reply[]){ { "dlg_list_ctx", "404 Nu such dialog\n\n" }, { NULL, NULL } });
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		dlg_buf_reset(&fake_asked);
		ck_assert_int_eq(fake_run(ctl_show, texts[i]), CTL_NO);
		ck_assert(!strncmp(fake_asked.s, "dlg_list_ctx(", 13));
	}
	fake_done();
}
END_TEST

START_TEST(end_with_filters_ends_what_list_lists_and_lives)
{
	init(three);
	ctl_options.caller = "example.com";
	ctl_options.dry_run = 1;
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_OK);
	ck_assert_str_eq(fake_text, "1:2  a@x\n1:3  b@x\n2 calls would be ended\n");
	ctl_options.dry_run = 0;
	dlg_buf_reset(&fake_asked);
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_OK);
	ck_assert_str_eq(fake_asked.s, "dlg_page(0|1000);dlg_end_dlg(1|2);dlg_end_dlg(1|3);");
	ck_assert_str_eq(fake_text, "2 ended\n");
	fake_done();
}
END_TEST

START_TEST(end_by_call_id_leaves_other_calls_alone)
{
	init(three);
	ck_assert_int_eq(fake_run(ctl_end, "a@x"), CTL_OK);
	ck_assert_str_eq(fake_asked.s, "dlg_page(0|1000);dlg_end_dlg(1|2);");
	init(three);
	dlg_buf_reset(&fake_asked);
	ck_assert_int_eq(fake_run(ctl_end, "nobody"), CTL_NO);
	ck_assert_str_eq(fake_asked.s, "dlg_page(0|1000);");
	fake_done();
}
END_TEST

START_TEST(end_by_hash)
{
	init(three);
	ck_assert_int_eq(fake_run(ctl_end, "1:2"), CTL_OK);
	ck_assert_str_eq(fake_asked.s, "dlg_end_dlg(1|2);");
	ctl_options.dry_run = 1;
	dlg_buf_reset(&fake_asked);
	ck_assert_int_eq(fake_run(ctl_end, "1:2"), CTL_OK);
	ck_assert_str_eq(fake_text, "1:2  a@x\n1 call would be ended\n");
	ck_assert_int_eq(fake_run(ctl_end, "1:9"), CTL_NO); /* the page has another one */
	ck_assert_uint_eq(fake_len, 0);
	ck_assert_str_eq(fake_asked.s, "dlg_page(1:1|1);dlg_page(1:8|1);");
	fake_done();
}
END_TEST

START_TEST(what_could_not_be_ended_is_counted)
{
	const struct fake_reply gone[] = { three[0], { "dlg_end_dlg", "404 Requested Dialog not found\n\n" }, { NULL, NULL } };
	const struct fake_reply refused[] = { three[0], { "dlg_end_dlg", "500 Operation failed\n\n" }, { NULL, NULL } };
	const struct fake_reply away[] = { three[0], { NULL, NULL } };

	init(gone);
	ctl_options.states = "all";
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_NO);
	ck_assert_str_eq(fake_text, "0 ended, 2 had ended already\n");
	init(refused);
	ctl_options.states = "all";
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_NO);
	ck_assert_str_eq(fake_text, "0 ended, 2 could not be ended\n");
	init(away);
	ctl_options.states = "all";
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_AWAY);
	ck_assert_str_eq(fake_text, "0 ended\n");
	fake_done();
}
END_TEST

START_TEST(end_wants_to_know_what)
{
	init(three);
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_USAGE);
	ctl_options.caller = "x";
	ck_assert_int_eq(fake_run(ctl_end, "1:2"), CTL_USAGE);
	ck_assert_ptr_null(fake_asked.s);
	fake_done();
}
END_TEST

START_TEST(without_yes_and_terminal_nothing_is_ended)
{
	init(three);
	ck_assert_ptr_nonnull(freopen("/dev/null", "r", stdin));
	ctl_options.yes = 0;
	ctl_options.states = "all";
	ck_assert_int_eq(fake_run(ctl_end, NULL), CTL_NO);
	ck_assert_str_eq(fake_asked.s, "dlg_page(0|1000);");
	fake_done();
}
END_TEST

int main(void)
{
	return unit_run("ctl_list",
			UNIT_TESTS{ a_list_is_a_table, filters_choose, every_dialog_of_a_call_id_is_listed,
				    an_age_is_that_of_an_answered_call, a_profile_is_asked_for,
				    a_list_comes_in_pages,
				    a_list_that_breaks_off_is_told_by_the_exit_code,
				    nothing_found_is_told_by_the_exit_code,
				    bad_filters_and_columns_are_refused, a_duration_is_short,
				    a_table_is_fit_for_a_terminal, json_holds_every_field,
				    json_is_utf8_whatever_comes, no_field_is_left_out,
				    show_by_hash_asks_by_name, what_is_no_hash_is_a_call_id,
				    end_with_filters_ends_what_list_lists_and_lives,
				    end_by_call_id_leaves_other_calls_alone, end_by_hash,
				    what_could_not_be_ended_is_counted, end_wants_to_know_what,
				    without_yes_and_terminal_nothing_is_ended, NULL },
			30);
}

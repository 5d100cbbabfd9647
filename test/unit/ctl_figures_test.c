/* SPDX-License-Identifier: GPL-2.0-or-later */
/* profiles, stats, audit and metrics of dlgctl. */
#include "ctl_fake.h"

#define STATS                                                                       \
	"200 OK\nstats:: \n\tuptime:: 9\n\tunconfirmed:: 1\n\tearly:: 2\n\tconfirmed:: 3\n" \
	"\tended_caller:: 4\n\tended_reject:: 5\n\tdb_oldest_ms:: 1234\n\tbrand_new:: 7\n\n"

static void init(const struct fake_reply *replies)
{
	ctl_options = (struct ctl_options){ 0 };
	fake_replies = replies;
}

static void holds(const char *part)
{
	ck_assert_msg(strstr(fake_text, part) != NULL, "no \"%s\" in:\n%s", part, fake_text);
}

static void lacks(const char *part)
{
	ck_assert_msg(!strstr(fake_text, part), "\"%s\" in:\n%s", part, fake_text);
}

START_TEST(every_figure_is_a_line)
{
	init((const struct fake_reply[]){ { "dlg_stats", STATS }, { NULL, NULL } });
	ck_assert_int_eq(fake_run(ctl_stats, NULL), CTL_OK);
	holds("uptime                              9\n");
	holds("brand_new                           7\n");
	ctl_options.json = 1;
	fake_run(ctl_stats, NULL);
	ck_assert_str_eq(
		fake_text,
		"{\"uptime\":9,\"unconfirmed\":1,\"early\":2,\"confirmed\":3,\"ended_caller\":4,"
		"\"ended_reject\":5,\"db_oldest_ms\":1234,\"brand_new\":7}\n");
	fake_done();
}
END_TEST

START_TEST(samples_of_a_family_stand_together)
{
	init((const struct fake_reply[]){
		{ "dlg_stats", STATS }, { "dlg_profiles", "200 OK\n\n" }, { NULL, NULL } });
	ck_assert_int_eq(fake_run(ctl_metrics, NULL), CTL_OK);
	holds("# HELP dialog_up 1 when the proxy answered.\n# TYPE dialog_up gauge\ndialog_up 1\n");
	holds("# TYPE dialog_dialogs gauge\ndialog_dialogs{state=\"unconfirmed\"} "
	      "1\ndialog_dialogs{state=\"early\"} 2\n"
	      "dialog_dialogs{state=\"confirmed\"} 3\n# HELP");
	holds("# TYPE dialog_ended_total counter\ndialog_ended_total{reason=\"caller\"} 4\n"
	      "dialog_ended_total{reason=\"reject\"} 5\n");
	holds("dialog_db_oldest_seconds 1.234\n");
	lacks("brand_new");
	lacks("dialog_profile");
	lacks("dialog_memory");
	fake_done();
}
END_TEST

START_TEST(profile_families_do_not_mix)
{
	static const char profiles[] =
		"200 OK\nprofile::  name=caller with_value=1 count=12 values=2\n"
		"\tvalue:: a b count=10\n\tvalue:: x count=1 count=2\n"
		"profile::  name=inbound with_value=0 count=4 values=0\n\n";

	init((const struct fake_reply[]){
		{ "dlg_stats", STATS }, { "dlg_profiles", profiles }, { NULL, NULL } });
	ck_assert_int_eq(fake_run(ctl_metrics, NULL), CTL_OK);
	ck_assert_str_eq(fake_asked.s, "dlg_stats();dlg_profiles(10);");
	holds("# TYPE dialog_profile_members gauge\ndialog_profile_members{profile=\"caller\"} 12\n"
	      "dialog_profile_members{profile=\"inbound\"} 4\n# HELP dialog_profile_values ");
	holds("# TYPE dialog_profile_values gauge\ndialog_profile_values{profile=\"caller\"} 2\n# "
	      "HELP");
	holds("dialog_profile_value_members{profile=\"caller\",value=\"a b\"} 10\n"
	      "dialog_profile_value_members{profile=\"caller\",value=\"x count=1\"} 2\n");
	ctl_options.top = 3;
	dlg_buf_reset(&fake_asked);
	fake_run(ctl_metrics, NULL);
	ck_assert_str_eq(fake_asked.s, "dlg_stats();dlg_profiles(3);");
	fake_done();
}
END_TEST

/* One bad label spoils the whole scrape. */
START_TEST(labels_are_escaped)
{
	static const char profiles[] =
		"200 OK\nprofile::  name=c with_value=1 count=9 values=9\n"
		"\tvalue:: \"q\" count=9\n\tvalue:: back\\slash count=8\n\tvalue:: \\n count=7\n"
		"\tvalue:: \xff\xc3 count=6\n\tvalue:: \xc3\xa4\t count=5\n\tvalue::  count=4\n\n";

	init((const struct fake_reply[]){
		{ "dlg_stats", STATS }, { "dlg_profiles", profiles }, { NULL, NULL } });
	fake_run(ctl_metrics, NULL);
	holds("value=\"\\\"q\\\"\"} 9\n");
	holds("value=\"back\\\\slash\"} 8\n");
	holds("value=\"\\\\n\"} 7\n");
	holds("value=\"\\\\xff\\\\xc3\"} 6\n");
	holds("value=\"\xc3\xa4\\\\x09\"} 5\n");
	holds("value=\"\"} 4\n");
	fake_done();
}
END_TEST

START_TEST(no_sample_is_there_twice)
{
	static const char profiles[] =
		"200 OK\nprofile::  name=a with_value=1 count=9 values=9\n"
		"\tvalue:: \xff count=9\n\tvalue:: \\xff count=8\n\tvalue:: \\xf count=7\n"
		"profile::  name=b with_value=1 count=9 values=9\n\tvalue:: \\xff count=3\n\n";

	init((const struct fake_reply[]){
		{ "dlg_stats", STATS }, { "dlg_profiles", profiles }, { NULL, NULL } });
	fake_run(ctl_metrics, NULL);
	holds("{profile=\"a\",value=\"\\\\xff\"} "
	      "9\ndialog_profile_value_members{profile=\"a\",value=\"\\\\xf\"} 7\n"
	      "dialog_profile_value_members{profile=\"b\",value=\"\\\\xff\"} 3\n");
	lacks(" 8\n");
	fake_done();
}
END_TEST

START_TEST(a_proxy_that_is_away_is_a_sample)
{
	init((const struct fake_reply[]){ { NULL, NULL } });
	ck_assert_int_eq(fake_run(ctl_metrics, NULL), CTL_AWAY);
	ck_assert_str_eq(fake_text, "# HELP dialog_up 1 when the proxy answered.\n# TYPE dialog_up "
				    "gauge\ndialog_up 0\n");
	fake_done();
}
END_TEST

/* It answers the first request and not the next one. */
START_TEST(a_proxy_that_goes_in_between_is_down)
{
	init((const struct fake_reply[]){ { "dlg_stats", STATS }, { NULL, NULL } });
	ck_assert_int_eq(fake_run(ctl_metrics, NULL), CTL_AWAY);
	ck_assert_str_eq(fake_text, "# HELP dialog_up 1 when the proxy answered.\n# TYPE dialog_up "
				    "gauge\ndialog_up 0\n");
	fake_done();
}
END_TEST

START_TEST(profiles_and_their_values)
{
	static const char profiles[] =
		"200 OK\nprofile::  name=caller with_value=1 count=12 values=2\n"
		"profile::  name=inbound with_value=0 count=4 values=0\n\n";
	static const char values[] = "200 OK\nvalue:: a=b count=10\nvalue:: c\xff count=2\n\n";

	init((const struct fake_reply[]){
		{ "dlg_profiles", profiles }, { "profile_get_values", values }, { NULL, NULL } });
	ck_assert_int_eq(fake_run(ctl_profiles, NULL), CTL_OK);
	ck_assert_str_eq(fake_text, "PROFILE                     MEMBERS     VALUES\n"
				    "caller                           12          2\n"
				    "inbound                           4          -\n");
	ck_assert_int_eq(fake_run(ctl_profiles, "caller"), CTL_OK);
	ck_assert_str_eq(fake_text, "   MEMBERS  VALUE\n        10  a=b\n         2  c\\xff\n");
	ctl_options.json = 1;
	fake_run(ctl_profiles, "caller");
	ck_assert_str_eq(
		fake_text,
		"[{\"value\":\"a=b\",\"count\":10},\n{\"value\":\"c\\u00ff\",\"count\":2}]\n");
	fake_run(ctl_profiles, NULL);
	ck_assert_str_eq(fake_text,
			 "[{\"name\":\"caller\",\"with_value\":true,\"count\":12,\"values\":2},\n"
			 "{\"name\":\"inbound\",\"with_value\":false,\"count\":4,\"values\":0}]\n");
	fake_done();
}
END_TEST

START_TEST(the_top_of_one_profile)
{
	static const char profiles[] =
		"200 OK\nprofile::  name=a with_value=1 count=12 values=2\n\tvalue:: x count=3\n"
		"profile::  name=b with_value=1 count=12 values=2\n\tvalue:: y count=4\n"
		"profile::  name=c with_value=1 count=12 values=2\n\tvalue:: z count=5\n\n";

	init((const struct fake_reply[]){ { "dlg_profiles", profiles }, { NULL, NULL } });
	ctl_options.top = 1;
	ck_assert_int_eq(fake_run(ctl_profiles, "b"), CTL_OK);
	ck_assert_str_eq(fake_text, "   MEMBERS  VALUE\n         4  y\n");
	ck_assert_int_eq(fake_run(ctl_profiles, "nope"), CTL_NO);
	ck_assert_str_eq(fake_text, "");
	fake_done();
}
END_TEST

static int audit(const char *text)
{
	init((const struct fake_reply[]){ { "dlg_audit", text }, { NULL, NULL } });
	return fake_run(ctl_audit, NULL);
}

START_TEST(the_audit_is_an_exit_code)
{
	ck_assert_int_eq(audit("200 OK\naudit::  result=ok\n\tdialogs:: 3\n\n"), CTL_OK);
	holds("dialogs                  3\nok: ");
	ck_assert_int_eq(audit("200 OK\naudit::  result=broken\n\tdialogs:: 3\n\n"), CTL_BROKEN);
	holds("\nbroken\n");
	ck_assert_int_eq(audit("200 OK\naudit::  result=busy, try again\n\tdialogs:: 3\n\n"),
			 CTL_NO);
	holds("\nbusy, try again\n");
	ck_assert_int_eq(
		audit("200 OK\naudit::  result=ok\n\tdialogs:: 3\n\toverdue_dialog::  hash=12:34\n"
		      "\t\tcallid:: \x9b\n\t\theld_by:: api=1\n\n"),
		CTL_BROKEN);
	holds("overdue dialog 12:34\n    callid                   \\x9b\n    held_by               "
	      "   api=1\n"
	      "1 dialog is beyond its deadline\n");
	ck_assert_int_eq(audit(NULL), CTL_AWAY);
	fake_done();
}
END_TEST

int main(void)
{
	return unit_run("ctl_figures",
			UNIT_TESTS{ every_figure_is_a_line, samples_of_a_family_stand_together,
				    profile_families_do_not_mix, labels_are_escaped,
				    no_sample_is_there_twice, a_proxy_that_is_away_is_a_sample,
				    a_proxy_that_goes_in_between_is_down, profiles_and_their_values,
				    the_top_of_one_profile, the_audit_is_an_exit_code, NULL },
			30);
}

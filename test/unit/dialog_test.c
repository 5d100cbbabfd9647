/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parameters: each bad value stops the start with one clear line. */
#include "../../dialog.h"

#include <stdlib.h>

#include "../sim/sim_host.h"
#include "unit.h"

static unsigned lines(void)
{
	unsigned n = 0;

	for (int level = 0; level <= HOST_DEBUG; level++)
		n += sim_log_count[level];
	return n;
}

/* The start fails with one line that names the parameter and the value. */
static void check_refused(const char *name, const char *value)
{
	const char *line;

	sim_log_clear();
	ck_assert_msg(dialog_init() == -1, "%s=%s accepted", name, value);
	ck_assert_int_eq(dialog_running(), 0);
	ck_assert_msg(lines() == 1, "%s=%s: %u lines", name, value, lines());
	line = sim_log_find(HOST_ERROR, name);
	ck_assert_msg(line != NULL, "%s: not named", name);
	ck_assert_msg(strstr(line, value) != NULL, "value not named: %s", line);
}

static void refuse_number(const char *name, int *param, int value)
{
	int before = *param;
	char text[16];

	snprintf(text, sizeof(text), "%d", value);
	*param = value;
	check_refused(name, text);
	*param = before;
}

static void refuse_text(const char *name, char **param, const char *value, const char *shown)
{
	char *before = *param, copy[256];

	snprintf(copy, sizeof(copy), "%s", value);
	*param = copy;
	check_refused(name, shown ? shown : value);
	*param = before;
}

/* D2: a hash_size that is no power of two is refused, not rounded. D22: nothing odd is taken
 * silently. */
START_TEST(d02_d22_bad_numbers_stop_the_start)
{
	static const int sizes[] = { 0, -1, 3, 1000, 4095, 1 << 25 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		refuse_number("hash_size", &dialog_conf.hash_size, sizes[i]);
	refuse_number("log_profile_hash_size", &dialog_conf.log_profile_hash_size, 0);
	refuse_number("log_profile_hash_size", &dialog_conf.log_profile_hash_size, 31);
	refuse_number("dlg_flag", &dialog_conf.dlg_flag, 32);
	refuse_number("dlg_flag", &dialog_conf.dlg_flag, -2);
	refuse_number("bye_on_timeout_flag", &dialog_conf.bye_on_timeout_flag, 32);
	refuse_number("default_timeout", &dialog_conf.default_timeout, 0);
	refuse_number("default_timeout", &dialog_conf.default_timeout, -1);
	refuse_number("setup_timeout", &dialog_conf.setup_timeout, 0);
	refuse_number("ack_timeout", &dialog_conf.ack_timeout, -1);
	refuse_number("timeout_bye_rate", &dialog_conf.timeout_bye_rate, -1);
	refuse_number("dlg_match_mode", &dialog_conf.dlg_match_mode, 7);
	refuse_number("dlg_match_mode", &dialog_conf.dlg_match_mode, 3);
	refuse_number("dlg_match_mode", &dialog_conf.dlg_match_mode, -1);
	refuse_number("fifo_mode", &dialog_conf.fifo_mode, 01000);
}
END_TEST

START_TEST(d22_bad_texts_stop_the_start)
{
	refuse_text("rr_param", &dialog_conf.rr_param, "", NULL);
	refuse_text("rr_param", &dialog_conf.rr_param, "a b", NULL);
	refuse_text("rr_param", &dialog_conf.rr_param, "x;y", NULL);
	refuse_text("rr_param", &dialog_conf.rr_param, "x=y", NULL);
	refuse_text("rr_param", &dialog_conf.rr_param, "lr", NULL);
	refuse_text("rr_param", &dialog_conf.rr_param, "LR", NULL);
	refuse_text("rr_param", &dialog_conf.rr_param, "ftag", NULL);
	refuse_text("timeout_avp", &dialog_conf.timeout_avp, "", NULL);
	refuse_text("timeout_avp", &dialog_conf.timeout_avp, "i:10", NULL);
	refuse_text("timeout_avp", &dialog_conf.timeout_avp, "$ru", NULL);
	refuse_text("dlg_extra_hdrs", &dialog_conf.dlg_extra_hdrs, "", NULL);
	refuse_text("dlg_extra_hdrs", &dialog_conf.dlg_extra_hdrs, "X: y", NULL);
	refuse_text("dlg_extra_hdrs", &dialog_conf.dlg_extra_hdrs, "abc\r\n", "abc..");
	refuse_text("dlg_extra_hdrs", &dialog_conf.dlg_extra_hdrs, "\r\n", "..");
	refuse_text("dlg_extra_hdrs", &dialog_conf.dlg_extra_hdrs, "X: y\r\n\r\n", "X: y....");
	refuse_text("fifo_name", &dialog_conf.fifo_name, "relative", NULL);
	refuse_text("reply_dir", &dialog_conf.reply_dir, "relative/", NULL);
}
END_TEST

START_TEST(all_bad_values_are_named_at_once)
{
	dialog_conf.hash_size = 3;
	dialog_conf.dlg_match_mode = 9;
	dialog_conf.default_timeout = 0;
	ck_assert_int_eq(dialog_init(), -1);
	ck_assert_uint_eq(lines(), 3);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "hash_size"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "dlg_match_mode"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "default_timeout"));
}
END_TEST

START_TEST(the_smallest_and_oddest_good_values_start)
{
	static char rr[] = "vst", avp[] = "$var(x)", headers[] = "X: y\r\nZ: a\r\n";

	dialog_conf.hash_size = 1;
	dialog_conf.default_timeout = 1;
	dialog_conf.setup_timeout = 1;
	dialog_conf.ack_timeout = 0;
	dialog_conf.dlg_flag = dialog_conf.bye_on_timeout_flag = 31;
	dialog_conf.dlg_match_mode = 2;
	dialog_conf.enable_stats = -1;
	dialog_conf.rr_param = rr;
	dialog_conf.timeout_avp = avp;
	dialog_conf.dlg_extra_hdrs = headers;
	ck_assert_int_eq(dialog_init(), 0);
	ck_assert_uint_eq(lines(), 0);
	ck_assert_int_ne(dialog_running(), 0);
}
END_TEST

START_TEST(the_defaults_are_those_of_the_manual)
{
	ck_assert_int_eq(dialog_conf.enable_stats, 1);
	ck_assert_int_eq(dialog_conf.hash_size, 4096);
	ck_assert_int_eq(dialog_conf.log_profile_hash_size, 4);
	ck_assert_str_eq(dialog_conf.rr_param, "did");
	ck_assert_int_eq(dialog_conf.dlg_flag, -1);
	ck_assert_int_eq(dialog_conf.bye_on_timeout_flag, -1);
	ck_assert_ptr_null(dialog_conf.timeout_avp);
	ck_assert_int_eq(dialog_conf.default_timeout, 43200);
	ck_assert_ptr_null(dialog_conf.dlg_extra_hdrs);
	ck_assert_int_eq(dialog_conf.dlg_match_mode, 0);
	ck_assert_int_eq(dialog_init(), 0);
}
END_TEST

START_TEST(names_of_values_lose_one_pair_of_quotes)
{
	ck_assert_view(dialog_value_name(DLG_STR("name")), "name");
	ck_assert_view(dialog_value_name(DLG_STR("\"a b\"")), "a b");
	ck_assert_view(dialog_value_name(DLG_STR("'a b'")), "a b");
	ck_assert_view(dialog_value_name(DLG_STR("\"'x'\"")), "'x'");
	ck_assert_view(dialog_value_name(DLG_STR("\"x'")), "\"x'");
	ck_assert_view(dialog_value_name(DLG_STR("\"")), "\"");
	ck_assert_view(dialog_value_name(DLG_STR("")), "");
}
END_TEST

START_TEST(functions_say_no_without_a_dialog)
{
	struct dialog_arg args[3] = { { .text = DLG_STR("k") }, { .text = DLG_STR("v") } };
	struct host_msg *msg = sim_msg_new(1, HOST_OTHER);

	ck_assert_int_eq(sim_start(1), 0);
	args[2].var = host_var_compile("$var(n)"); /* get_profile_size() needs no dialog */
	sim_log_clear();
#define SHORT(name, kinds, full, routes)
#define X(name, kinds, routes)                                                         \
	ck_assert_int_eq(dialog_fn_##name(msg, args),                                  \
			 strcmp(#name, "get_profile_size") ? -1 : 1);
	DIALOG_FUNCTIONS(X, SHORT)
#undef X
	ck_assert_ptr_null(sim_log_find(HOST_INFO, "")); /* at debug level only */
	sim_msg_end(msg, 0);
	sim_msg_free(msg);
	free(args[2].var);
	ck_assert_ptr_null(sim_violated());
}
END_TEST

int main(void)
{
	return unit_run("dialog",
			UNIT_TESTS{ d02_d22_bad_numbers_stop_the_start,
				    d22_bad_texts_stop_the_start, all_bad_values_are_named_at_once,
				    the_smallest_and_oddest_good_values_start,
				    the_defaults_are_those_of_the_manual,
				    names_of_values_lose_one_pair_of_quotes,
				    functions_say_no_without_a_dialog, NULL },
			20);
}

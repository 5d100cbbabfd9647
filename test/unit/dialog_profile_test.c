/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Script functions of profiles: lists of limits as written, and what the functions answer. */
#include "../../dialog.h"

#include "../../dlg_profile.h"
#include "../sim/sim_call.h"
#include "unit.h"

/* In the order of SIM_PROFILES and SIM_PROFILES_NO_VALUE. */
enum { CALLER, TRUNK, INBOUND, OUT_BOUND };

/* ---- limits ---- */

START_TEST(limits_are_plain_numbers)
{
	static const char *const bad[] = { "",    " ",          "-1",         "+1",
					   "1.5", "0x1",        "1 2",        "$var(x)",
					   "1;",  "4294967295", "99999999999" };
	int64_t n = 77;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(dialog_limit(dlg_str_of(bad[i]), &n) == -1, "\"%s\"", bad[i]);
	ck_assert_int_eq(n, 77);
	ck_assert_int_eq(dialog_limit(DLG_STR("0"), &n), 0);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(dialog_limit(DLG_STR("\t 0012 \r\n"), &n), 0);
	ck_assert_int_eq(n, 12);
	ck_assert_int_eq(dialog_limit(DLG_STR("4294967294"), &n), 0);
	ck_assert_int_eq(n, 4294967294);
}
END_TEST

/* "profile|value|limit" of each item; without '=' a '-' stands for the value; items end in '/'. */
static const char *split(struct dlg_str text, unsigned max)
{
	static struct dlg_buf out;
	struct dialog_condition c[DLG_PROFILE_WANTS_MAX];
	int n = dialog_conditions(text, c, max);

	dlg_buf_reset(&out);
	dlg_buf_add(&out, DLG_STR(""));
	for (int i = 0; i < n; i++) {
		dlg_buf_add(&out, c[i].profile);
		dlg_buf_add(&out, DLG_STR("|"));
		dlg_buf_add(&out, c[i].has_value ? c[i].value : DLG_STR("-"));
		dlg_buf_add(&out, DLG_STR("|"));
		dlg_buf_add(&out, c[i].limit);
		dlg_buf_add(&out, DLG_STR("/"));
	}
	return n < 0 ? "malformed" : out.s;
}

static const struct {
	const char *written, *split;
} lists[] = {
	{ "caller <= 5", "caller|-|5/" },
	{ "caller = $fu <= 2; trunk = gw1 <= 100; caller <= 5000",
	  "caller|$fu|2/trunk|gw1|100/caller|-|5000/" },
	{ "caller=$fu<=2;trunk=gw1<=100", "caller|$fu|2/trunk|gw1|100/" },
	{ " \t\r\n caller \t = \n $fu \r <= \t 2 \n ", "caller|$fu|2/" },
	{ ";; caller <= 5 ; ;", "caller|-|5/" },
	{ "caller = <= 5", "caller||5/" }, /* the empty value */
	{ "caller =<= 5", "caller||5/" },
	{ "caller = two words <= 5", "caller|two words|5/" },
	{ "caller = a=b <= 5", "caller|a=b|5/" },
	{ "caller = a<b <= 5", "caller|a<b|5/" },
	{ "caller = a>=b <= 5", "caller|a>=b|5/" },
	{ "$var(p) = $var(v) <= $var(l)", "$var(p)|$var(v)|$var(l)/" },
	/* what stands in brackets belongs to the variable */
	{ "caller = $(fu{s.select,1,;}) <= 2", "caller|$(fu{s.select,1,;})|2/" },
	{ "caller = $(hdr(X){re.subst,/a<=b;c=d//}) <= $sht(limits=>$fU)",
	  "caller|$(hdr(X){re.subst,/a<=b;c=d//})|$sht(limits=>$fU)/" },
	{ "caller = $(avp(a;b<=1=2)[0]) <= 2", "caller|$(avp(a;b<=1=2)[0])|2/" },
	{ "caller = [::1]:5060 <= 2", "caller|[::1]:5060|2/" },
	{ "$var(a=b) <= 2", "$var(a=b)|-|2/" },
	{ "caller = a) <= 2", "caller|a)|2/" },         /* closes nothing */
	{ "caller = a <= 2 <= 3", "caller|a|2 <= 3/" }, /* refused as a limit */
	{ "caller = a <= 2 = 3", "caller|a|2 = 3/" },
	{ "", "malformed" },
	{ " ; ;; ", "malformed" },
	{ "caller", "malformed" },
	{ "caller = a", "malformed" },
	{ "caller < 5", "malformed" },
	{ "caller = a < = 5", "malformed" },
	{ "<= 5", "malformed" },
	{ "= a <= 5", "malformed" },
	{ "caller <=", "malformed" },
	{ "caller = a <= ", "malformed" },
	{ "caller <= 5; trunk", "malformed" },
	{ "caller <= 5; trunk = gw1", "malformed" },
	{ "caller = (a <= 5", "malformed" }, /* never closed */
	{ "caller = $(a{b) <= 5", "malformed" },
};
enum { LISTS = sizeof(lists) / sizeof(lists[0]) };

START_TEST(lists_are_split_as_written)
{
	ck_assert_str_eq(split(dlg_str_of(lists[_i].written), DLG_PROFILE_WANTS_MAX),
			 lists[_i].split);
}
END_TEST

START_TEST(lists_have_a_length)
{
	struct dlg_buf text = { 0 };

	ck_assert_str_eq(split(DLG_STR("a<=1;b<=2"), 2), "a|-|1/b|-|2/");
	ck_assert_str_eq(split(DLG_STR("a<=1;b<=2;"), 2), "a|-|1/b|-|2/");
	ck_assert_str_eq(split(DLG_STR("a<=1;b<=2;c<=3"), 2), "malformed");
	for (int i = 0; i < DLG_PROFILE_WANTS_MAX; i++)
		dlg_buf_printf(&text, "p%d <= %d;", i, i);
	ck_assert_ptr_nonnull(
		strstr(split(dlg_buf_view(&text), DLG_PROFILE_WANTS_MAX), "/p31|-|31/"));
	dlg_buf_printf(&text, "one more <= 1");
	ck_assert_str_eq(split(dlg_buf_view(&text), DLG_PROFILE_WANTS_MAX), "malformed");
	dlg_buf_free(&text);
}
END_TEST

/* A zero byte is no bracket. */
START_TEST(a_zero_byte_is_a_byte)
{
	ck_assert_str_eq(split((struct dlg_str){ "a = \0 <= 1; b <= 2", 18 }, 9), "a|");
	ck_assert_int_eq(dialog_conditions((struct dlg_str){ "a = \0 <= 1; b <= 2", 18 },
					   (struct dialog_condition[9]){ 0 }, 9),
			 2);
}
END_TEST

/* ---- what the functions answer ---- */

static struct sim_call call;

/* Run the body in the request route of an INVITE that has just got its dialog. */
static void in_script(void (*body)(struct host_msg *msg))
{
	struct sim_script script = { .record_route = 1, .extra = body };

	ck_assert_int_eq(sim_call_start(16), 0);
	sim_call_init(&call, 1);
	sim_log_clear();
	sim_step(&call, &(struct sim_request){ .method = HOST_INVITE, .initial = 1 }, &script);
	ck_assert_ptr_null(sim_violated());
}

static struct dialog_arg profile(int id)
{
	return (struct dialog_arg){ .given = 1, .profile = id, .text = DLG_STR("as written") };
}

static struct dialog_arg value(const char *text)
{
	return (struct dialog_arg){ .given = 1, .text = dlg_str_of(text) };
}

static struct dialog_arg null(void)
{
	return (struct dialog_arg){ .given = 1, .is_null = 1 };
}

static struct dialog_arg number(int64_t n)
{
	return (struct dialog_arg){ .given = 1, .number = n, .text = DLG_STR("some text") };
}

static const struct dialog_arg none;

#define ARGS(...)                                  \
	(const struct dialog_arg[DIALOG_ARGS_MAX]) \
	{                                          \
		__VA_ARGS__                        \
	}

static int set(struct host_msg *msg, int p, struct dialog_arg v)
{
	return dialog_fn_set_dlg_profile(msg, ARGS(profile(p), v));
}

static int unset(struct host_msg *msg, int p, struct dialog_arg v)
{
	return dialog_fn_unset_dlg_profile(msg, ARGS(profile(p), v));
}

static int is_in(struct host_msg *msg, int p, struct dialog_arg v)
{
	return dialog_fn_is_in_profile(msg, ARGS(profile(p), v));
}

static uint32_t total(int p)
{
	return dlg_profile_size(p, NULL);
}

static void profiles_with_values(struct host_msg *msg)
{
	ck_assert_int_eq(is_in(msg, CALLER, none), -1);
	ck_assert_int_eq(unset(msg, CALLER, none), -1);
	ck_assert_int_eq(set(msg, CALLER, value("alice")), 1);
	ck_assert_int_eq(set(msg, CALLER, value("")), 1); /* a value like any other */
	ck_assert_int_eq(set(msg, CALLER, value("alice")), 1);
	ck_assert_uint_eq(total(CALLER), 3);
	ck_assert_int_eq(is_in(msg, CALLER, none), 1); /* of any value */
	ck_assert_int_eq(is_in(msg, CALLER, value("alice")), 1);
	ck_assert_int_eq(is_in(msg, CALLER, value("")), 1);
	ck_assert_int_eq(is_in(msg, CALLER, value("Alice")), -1);
	ck_assert_int_eq(is_in(msg, TRUNK, value("alice")), -1);
	ck_assert_int_eq(unset(msg, CALLER, value("alice")), 1);
	ck_assert_int_eq(is_in(msg, CALLER, value("alice")), 1); /* one was taken away */
	ck_assert_int_eq(unset(msg, CALLER, none), 1);           /* the newest: "" */
	ck_assert_int_eq(is_in(msg, CALLER, value("")), -1);
	ck_assert_int_eq(unset(msg, CALLER, none), 1);
	ck_assert_int_eq(unset(msg, CALLER, none), -1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 0);
}

START_TEST(dialogs_join_and_leave_by_script)
{
	in_script(profiles_with_values);
	ck_assert_uint_eq(total(CALLER), 0);
}
END_TEST

static void no_values(struct host_msg *msg)
{
	ck_assert_int_eq(set(msg, INBOUND, none), 1);
	ck_assert_int_eq(set(msg, INBOUND, value("ignored")), 1);
	ck_assert_int_eq(set(msg, INBOUND, null()), 1); /* also when it is null */
	ck_assert_uint_eq(total(INBOUND), 3);
	ck_assert_int_eq(is_in(msg, INBOUND, value("else")), 1);
	ck_assert_int_eq(is_in(msg, INBOUND, null()), 1);
	ck_assert_int_eq(unset(msg, INBOUND, value("else")), 1);
	ck_assert_int_eq(unset(msg, INBOUND, null()), 1);
	ck_assert_uint_eq(total(INBOUND), 1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 0);
}

START_TEST(values_mean_nothing_where_there_are_none)
{
	in_script(no_values);
}
END_TEST

static void null_or_missing(struct host_msg *msg)
{
	ck_assert_int_eq(set(msg, CALLER, null()), -1);
	ck_assert_int_eq(is_in(msg, CALLER, null()), -1);
	ck_assert_int_eq(unset(msg, CALLER, null()), -1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 0); /* null is quite usual */
	ck_assert_int_eq(set(msg, CALLER, none), -1);
	ck_assert_ptr_nonnull(sim_log_find(
		HOST_WARNING, "set_dlg_profile: profile caller needs a value, and there is none"));
	ck_assert_uint_eq(total(CALLER), 0);
	ck_assert_int_eq(set(msg, CALLER, value("x")), 1);
	ck_assert_int_eq(is_in(msg, CALLER, null()), -1);
	ck_assert_int_eq(unset(msg, CALLER, null()), -1);
	ck_assert_uint_eq(total(CALLER), 1);
}

START_TEST(d18_null_is_no_value)
{
	in_script(null_or_missing);
}
END_TEST

static void unknown(struct host_msg *msg)
{
	struct dialog_arg p = { .given = 1, .profile = -1, .text = DLG_STR("nope") };
	struct dialog_condition c = { .of_profile = p, .of_limit = number(5) };
	struct dialog_arg list = { .given = 1, .conditions = &c, .n_conditions = 1 };

	ck_assert_int_eq(dialog_fn_set_dlg_profile(msg, ARGS(p, value("x"))), -1);
	ck_assert_int_eq(dialog_fn_unset_dlg_profile(msg, ARGS(p, none)), -1);
	ck_assert_int_eq(dialog_fn_is_in_profile(msg, ARGS(p, none)), -1);
	ck_assert_int_eq(dialog_fn_get_profile_size(msg, ARGS(p, none, none)), -1);
	ck_assert_int_eq(dialog_fn_set_dlg_profile_limit(msg, ARGS(p, none, number(1))), -1);
	ck_assert_int_eq(dialog_fn_set_dlg_profile_limits(msg, ARGS(list)), -1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 6);
	ck_assert_ptr_nonnull(
		sim_log_find(HOST_WARNING, "is_in_profile: there is no profile \"nope\""));
}

START_TEST(a_computed_name_may_be_wrong)
{
	in_script(unknown);
}
END_TEST

static struct dialog_arg out_var(void)
{
	return (struct dialog_arg){ .given = 1, .var = host_var_compile("$var(n)") };
}

/* What get_profile_size() stored. */
static const char *asked(struct host_msg *msg, int p, struct dialog_arg v)
{
	sim_var_set(msg, "$var(n)", "untouched");
	ck_assert_int_eq(dialog_fn_get_profile_size(msg, ARGS(profile(p), v, out_var())), 1);
	return sim_var_get(msg, "$var(n)");
}

static void ask_sizes(struct host_msg *msg)
{
	ck_assert_str_eq(asked(msg, CALLER, none), "0");
	set(msg, CALLER, value("alice"));
	set(msg, CALLER, value("alice"));
	set(msg, CALLER, value("bob"));
	set(msg, INBOUND, none);
	ck_assert_str_eq(asked(msg, CALLER, none), "3"); /* memberships, not values */
	ck_assert_str_eq(asked(msg, CALLER, value("alice")), "2");
	ck_assert_str_eq(asked(msg, CALLER, value("carol")), "0");
	ck_assert_str_eq(asked(msg, CALLER, null()), "0");
	ck_assert_str_eq(asked(msg, INBOUND, none), "1");
	ck_assert_str_eq(asked(msg, INBOUND, value("ignored")), "1");
	ck_assert_str_eq(asked(msg, INBOUND, null()), "1");
}

START_TEST(sizes_are_memberships)
{
	in_script(ask_sizes);
}
END_TEST

START_TEST(sizes_need_no_dialog)
{
	struct host_msg *msg;

	in_script(ask_sizes);
	msg = sim_msg_new(1, HOST_OTHER);
	ck_assert_str_eq(asked(msg, CALLER, value("alice")), "2");
	sim_msg_end(msg, 0);
	sim_msg_free(msg);
	ck_assert_ptr_null(sim_violated());
}
END_TEST

static int set_limit(struct host_msg *msg, int p, struct dialog_arg v, int64_t limit)
{
	return dialog_fn_set_dlg_profile_limit(msg, ARGS(profile(p), v, number(limit)));
}

static void limit_one(struct host_msg *msg)
{
	ck_assert_int_eq(set_limit(msg, CALLER, value("a"), 1), 1);
	ck_assert_int_eq(set_limit(msg, CALLER, value("a"), 1), -1);
	ck_assert_int_eq(set_limit(msg, INBOUND, none, 1), 1);
	ck_assert_int_eq(set_limit(msg, INBOUND, null(), 1), -1);
	ck_assert_int_eq(set_limit(msg, INBOUND, null(), 2), 1);
	ck_assert_uint_eq(dlg_profile_refusals(), 2);
	ck_assert_int_eq(set_limit(msg, CALLER, null(), 9), -1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 0);
	ck_assert_int_eq(set_limit(msg, CALLER, none, 9), -1);
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "needs a value, and there is none"));
	ck_assert_int_eq(set_limit(msg, CALLER, value("a"), -1), -1);
	ck_assert_ptr_nonnull(
		sim_log_find(HOST_WARNING, "set_dlg_profile_limit: \"some text\" is no limit"));
	ck_assert_uint_eq(dlg_profile_refusals(), 2); /* the script's faults are none */
	ck_assert_uint_eq(total(CALLER) + total(INBOUND), 3);
}

START_TEST(one_limit)
{
	in_script(limit_one);
}
END_TEST

static struct dialog_condition item(int p, struct dialog_arg v, int64_t limit)
{
	return (struct dialog_condition){ .of_profile = profile(p),
					  .has_value = v.given,
					  .of_value = v,
					  .of_limit = number(limit) };
}

static int set_limits(struct host_msg *msg, const struct dialog_condition *c, unsigned n)
{
	struct dialog_arg list = { .given = 1, .conditions = c, .n_conditions = n };

	return dialog_fn_set_dlg_profile_limits(msg, ARGS(list));
}

static void limit_many(struct host_msg *msg)
{
	struct dialog_condition c[3] = { item(CALLER, value("a"), 2), item(TRUNK, value("gw"), 1),
					 item(CALLER, none, 5000) };

	ck_assert_int_eq(set_limits(msg, c, 3), 1);
	ck_assert_int_eq(set_limits(msg, c, 3), -1); /* the trunk is full */
	ck_assert_uint_eq(total(CALLER), 1);
	ck_assert_uint_eq(total(TRUNK), 1);
	ck_assert_uint_eq(dlg_profile_refusals(), 1);
	c[1].of_value = null();
	ck_assert_int_eq(set_limits(msg, c, 3), -1);
	c[1].of_value = value("gw2");
	c[2].of_limit = number(-1);
	ck_assert_int_eq(set_limits(msg, c, 3), -1);
	ck_assert_ptr_nonnull(
		sim_log_find(HOST_WARNING, "set_dlg_profile_limits: \"some text\" is no limit"));
	c[2].of_limit = number(1);
	ck_assert_int_eq(set_limits(msg, c, 3), -1); /* caller has 1, and would have 2 */
	c[2].of_limit = number(2);
	ck_assert_int_eq(set_limits(msg, c, 3), 1);
	ck_assert_uint_eq(dlg_profile_refusals(), 2);
	ck_assert_uint_eq(total(CALLER), 2);
	ck_assert_uint_eq(total(TRUNK), 2);
}

START_TEST(several_limits_at_once)
{
	in_script(limit_many);
}
END_TEST

/* The call is over: nothing is left of its memberships, whatever it joined. */
START_TEST(the_end_gives_everything_back)
{
	in_script(limit_many);
	sim_answer(&call, 0, 486);
	for (int p = 0; p < dlg_profile_count(); p++)
		ck_assert_uint_eq(total(p), 0);
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("dialog_profile");

	unit_add(t, UNIT_TESTS{ limits_are_plain_numbers, lists_have_a_length,
				a_zero_byte_is_a_byte, dialogs_join_and_leave_by_script,
				values_mean_nothing_where_there_are_none, d18_null_is_no_value,
				a_computed_name_may_be_wrong, sizes_are_memberships,
				sizes_need_no_dialog, one_limit, several_limits_at_once,
				the_end_gives_everything_back, NULL });
	tcase_add_loop_test(t, lists_are_split_as_written, 0, LISTS);
	return unit_run_case("dialog_profile", t);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Profiles: definition, membership and limits. */
#include "profile.h"

#include <stdlib.h>

#include "../../dlg_lock.h"

/* ---- definition ---- */

static void check_profile(int i, const char *name, int has_values)
{
	ck_assert_view(dlg_profile_name(i), name);
	ck_assert_int_eq(dlg_profile_has_values(i), has_values);
	ck_assert_int_eq(dlg_profile_find(dlg_str_of(name)), i);
}

START_TEST(lists_define_profiles_in_their_order)
{
	ck_assert_int_eq(
		dlg_profile_init(" caller;my_profile\t; ;;1;a.b-C ;", "; inbound ; out\n", 1), 0);
	ck_assert_int_eq(dlg_profile_count(), 6);
	check_profile(0, "caller", 1);
	check_profile(1, "my_profile", 1);
	check_profile(2, "1", 1);
	check_profile(3, "a.b-C", 1);
	check_profile(4, "inbound", 0);
	check_profile(5, "out", 0);
	ck_assert_int_eq(dlg_profile_find(DLG_STR("Caller")), -1);
	ck_assert_int_eq(dlg_profile_find(DLG_STR("calle")), -1);
	ck_assert_int_eq(dlg_profile_find(DLG_STR(" caller")), -1);
	ck_assert_int_eq(dlg_profile_find(DLG_STR_NONE), -1);
}
END_TEST

START_TEST(there_may_be_no_profiles)
{
	struct dlg_profile_census census;

	ck_assert_int_eq(dlg_profile_init(_i ? NULL : "", _i ? NULL : " ; ", 20), 0);
	ck_assert_int_eq(dlg_profile_count(), 0);
	ck_assert_int_eq(dlg_profile_find(DLG_STR("caller")), -1);
	dlg_profile_census_counters(&census);
	ck_assert_uint_eq(census.members, 0);
	ck_assert_uint_eq(dlg_profile_refusals(), 0);
}
END_TEST

static const struct {
	const char *with, *without; /* the lists */
	const char *param, *value;  /* named in the log line */
	const char *allowed;
} refused_lists[] = {
	{ "in b", NULL, "profiles_with_value", "\"in b\"", "letters, digits, _ - and ." },
	{ "ok ; in,b", NULL, "profiles_with_value", "\"in,b\"", "letters, digits, _ - and ." },
	{ NULL, "inb/s", "profiles_no_value", "\"inb/s\"", "letters, digits, _ - and ." },
	{ NULL, "in\tb", "profiles_no_value", "\"in.b\"", "letters, digits, _ - and ." },
	{ NULL, "$var(x)", "profiles_no_value", "\"$var(x)\"", "letters, digits, _ - and ." },
	{ "caf\xc3\xa9", NULL, "profiles_with_value", "caf", "letters, digits, _ - and ." },
	{ "a;b;a", NULL, "profiles_with_value", "\"a\"", "each profile once" },
	{ NULL, "a; a", "profiles_no_value", "\"a\"", "each profile once" },
	{ "x;a", "b;a", "profiles_no_value", "\"a\"", "each profile once" },
	/* 65 characters */
	{ "x23456789-123456789-123456789-123456789-123456789-123456789-12345", NULL,
	  "profiles_with_value", "x23456789", "names of up to 64" },
};
enum { REFUSED_LISTS = sizeof(refused_lists) / sizeof(refused_lists[0]) };

START_TEST(a_bad_name_stops_the_start_with_one_line)
{
	const char *line;

	ck_assert_int_eq(dlg_profile_init(refused_lists[_i].with, refused_lists[_i].without, 4),
			 -1);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 1);
	line = sim_log_find(HOST_ERROR, "parameter ");
	ck_assert_ptr_nonnull(line);
	ck_assert_msg(strstr(line, refused_lists[_i].param) != NULL, "%s", line);
	ck_assert_msg(strstr(line, refused_lists[_i].value) != NULL, "%s", line);
	ck_assert_msg(strstr(line, "allowed is ") != NULL, "%s", line);
	ck_assert_msg(strstr(line, refused_lists[_i].allowed) != NULL, "%s", line);
}
END_TEST

static char *many_names(unsigned n)
{
	struct dlg_buf list = { 0 };

	for (unsigned i = 0; i < n; i++)
		dlg_buf_printf(&list, "%sp%u", i ? ";" : "", i);
	ck_assert(!list.failed);
	return list.s;
}

START_TEST(a_thousand_profiles_and_no_more)
{
	char *list = many_names(DLG_PROFILES_MAX);

	ck_assert_int_eq(dlg_profile_init(list, _i ? "inbound" : NULL, 1), _i ? -1 : 0);
	ck_assert_int_eq(dlg_profile_count(), DLG_PROFILES_MAX);
	if (!_i)
		check_profile(999, "p999", 1);
	else
		ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "1000 at most"));
	free(list);
}
END_TEST

START_TEST(the_longest_name)
{
	char name[DLG_PROFILE_NAME_MAX + 1];

	memset(name, 'x', DLG_PROFILE_NAME_MAX);
	name[DLG_PROFILE_NAME_MAX] = '\0';
	ck_assert_int_eq(dlg_profile_init(NULL, name, 1), 0);
	check_profile(0, name, 0);
}
END_TEST

START_TEST(without_memory_the_start_fails_and_says_so)
{
	sim_faults.shm_allow = _i;
	ck_assert_int_eq(dlg_profile_init("caller", "inbound", 3), -1);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 1);
	ck_assert_ptr_nonnull(sim_log_find(
		HOST_ERROR, "not enough shared memory for the profiles (log_profile_hash_size 3)"));
}
END_TEST

/* ---- membership ---- */

START_TEST(joining_counts_and_leaving_takes_back)
{
	struct dlg_cell *a, *b;

	init();
	a = dialog();
	b = dialog();
	ck_assert_int_eq(join(a, CALLER, "alice"), 0);
	ck_assert_int_eq(join(b, CALLER, "alice"), 0);
	ck_assert_int_eq(join(b, CALLER, "bob"), 0);
	ck_assert_int_eq(join(b, INBOUND, NULL), 0);
	ck_assert_uint_eq(size(CALLER, "alice"), 2);
	ck_assert_uint_eq(size(CALLER, "bob"), 1);
	ck_assert_uint_eq(size(CALLER, "carol"), 0);
	ck_assert_uint_eq(size(CALLER, NULL), 3);
	ck_assert_uint_eq(dlg_profile_values(CALLER), 2);
	ck_assert_uint_eq(size(TRUNK, "alice"), 0);
	ck_assert_uint_eq(size(INBOUND, NULL), 1);
	ck_assert_uint_eq(dlg_profile_values(INBOUND), 0);
	ck_assert_uint_eq(of(a, CALLER, "alice"), 1);
	ck_assert_uint_eq(of(a, CALLER, "bob"), 0);
	ck_assert_uint_eq(of(b, CALLER, NULL), 2);
	check_census();
	ck_assert_int_eq(leave(a, CALLER, "bob"), 0);
	ck_assert_int_eq(leave(a, INBOUND, NULL), 0);
	ck_assert_int_eq(leave(a, CALLER, "alice"), 1);
	ck_assert_int_eq(leave(a, CALLER, "alice"), 0);
	ck_assert_uint_eq(size(CALLER, "alice"), 1);
	check_census();
	drop(b);
	drop(a);
	done();
}
END_TEST

START_TEST(a_value_for_a_profile_without_values_means_nothing)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	ck_assert_int_eq(join(dlg, INBOUND, "x"), 0);
	ck_assert_uint_eq(size(INBOUND, "y"), 1);
	ck_assert_uint_eq(dlg_profile_values(INBOUND), 0);
	ck_assert_uint_eq(of(dlg, INBOUND, "z"), 1);
	ck_assert_int_eq(leave(dlg, INBOUND, "zz"), 1);
	drop(dlg);
	done();
}
END_TEST

START_TEST(values_are_bytes)
{
	static const struct dlg_str values[] = {
		{ "", 0 },
		{ NULL, 0 },
		{ "\0", 1 },
		{ "\0\0", 2 },
		{ "a", 1 },
		{ "A", 1 },
		{ "a\0", 2 },
		{ "a\0b", 3 },
		{ "ab", 2 },
		{ " a", 2 },
		{ "\xff\xfe", 2 },
		{ "<null>", 6 },
		{ "a;b = c|#\\\r\n", 12 },
	};
	enum { N = sizeof(values) / sizeof(values[0]) };
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	for (size_t i = 0; i < N; i++)
		ck_assert_int_eq(dlg_profile_join(dlg, CALLER, values[i]), 0);
	for (size_t i = 2; i < N; i++)
		ck_assert_uint_eq(dlg_profile_size(CALLER, &values[i]), 1);
	/* nothing, wherever it lies, is the same empty value */
	ck_assert_uint_eq(dlg_profile_size(CALLER, &values[0]), 2);
	ck_assert_uint_eq(dlg_profile_size(CALLER, &values[1]), 2);
	ck_assert_uint_eq(dlg_profile_values(CALLER), N - 1);
	ck_assert_uint_eq(dlg_profile_memberships(dlg, CALLER, &values[7]), 1);
	ck_assert_int_eq(dlg_profile_leave(dlg, CALLER, &values[7]), 1);
	ck_assert_uint_eq(dlg_profile_size(CALLER, &values[7]), 0);
	ck_assert_uint_eq(size(CALLER, "a"), 1);
	check_census();
	drop(dlg);
	done();
}
END_TEST

START_TEST(the_longest_value_and_one_byte_more)
{
	static char big[DLG_PROFILE_VALUE_MAX + 1];
	struct dlg_str longest = { big, DLG_PROFILE_VALUE_MAX },
		       longer = { big, DLG_PROFILE_VALUE_MAX + 1 };
	struct dlg_profile_want want = { CALLER, 1, longer, 10 };
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(dlg_profile_join(dlg, CALLER, longest), 0);
	ck_assert_uint_eq(dlg_profile_size(CALLER, &longest), 1);
	ck_assert_ptr_null(sim_log_find(HOST_WARNING, ""));
	ck_assert_int_eq(dlg_profile_join(dlg, CALLER, longer), -1);
	ck_assert_ptr_nonnull(
		sim_log_find(HOST_WARNING, "c0: not added to profile caller: it has ended, "));
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "(65536 bytes) is too long"));
	ck_assert_int_eq(dlg_profile_join_limited(dlg, &want, 1), -1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 2);
	ck_assert_uint_eq(dlg_profile_size(CALLER, &longer), 0);
	ck_assert_uint_eq(size(CALLER, NULL), 1);
	drop(dlg);
	done();
}
END_TEST

START_TEST(joining_again_counts_again_and_leaves_one_by_one)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	for (unsigned n = 1; n <= 5; n++) {
		ck_assert_int_eq(join(dlg, CALLER, "alice"), 0);
		ck_assert_int_eq(join(dlg, INBOUND, NULL), 0);
		ck_assert_uint_eq(size(CALLER, "alice"), n);
		ck_assert_uint_eq(of(dlg, INBOUND, NULL), n);
	}
	ck_assert_uint_eq(dlg_profile_values(CALLER), 1);
	for (unsigned n = 5; n-- > 0;) {
		ck_assert_int_eq(leave(dlg, CALLER, "alice"), 1);
		ck_assert_uint_eq(size(CALLER, "alice"), n);
		ck_assert_uint_eq(size(CALLER, NULL), n);
	}
	ck_assert_int_eq(leave(dlg, CALLER, "alice"), 0);
	ck_assert_uint_eq(dlg_profile_values(CALLER), 0);
	ck_assert_uint_eq(size(INBOUND, NULL), 5);
	drop(dlg);
	done();
}
END_TEST

static void print_member(int profile, struct dlg_str value, void *arg)
{
	dlg_buf_printf(arg, "%.*s=%.*s;", DLG_STR_ARG(dlg_profile_name(profile)),
		       DLG_STR_ARG(value));
}

/* The dialog's memberships, newest first. */
static void check_members(struct dlg_cell *dlg, const char *expected)
{
	struct dlg_buf out = { 0 };

	dlg_buf_add(&out, DLG_STR(""));
	ck_assert_int_eq(dlg_profile_each(dlg, print_member, &out), 0);
	ck_assert_view(dlg_buf_view(&out), expected);
	dlg_buf_free(&out);
}

START_TEST(the_newest_that_fits_leaves)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	join(dlg, CALLER, "a");
	join(dlg, CALLER, "b");
	join(dlg, INBOUND, NULL);
	join(dlg, CALLER, "a");
	join(dlg, TRUNK, "b");
	check_members(dlg, "trunk=b;caller=a;inbound=;caller=b;caller=a;");
	ck_assert_int_eq(leave(dlg, CALLER, "a"), 1);
	check_members(dlg, "trunk=b;inbound=;caller=b;caller=a;");
	ck_assert_int_eq(leave(dlg, CALLER, NULL), 1); /* any */
	check_members(dlg, "trunk=b;inbound=;caller=a;");
	ck_assert_int_eq(leave(dlg, TRUNK, "a"), 0);
	check_members(dlg, "trunk=b;inbound=;caller=a;");
	drop(dlg);
	done();
}
END_TEST

static void join_another(int profile, struct dlg_str value, void *arg)
{
	(void)value;
	ck_assert_int_eq(dlg_lock_held(), 0);
	ck_assert_int_eq(join(arg, profile, "another"), 0);
}

START_TEST(the_dialog_may_be_used_while_its_memberships_are_told)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	join(dlg, CALLER, "a");
	join(dlg, TRUNK, "b");
	ck_assert_int_eq(dlg_profile_each(dlg, join_another, dlg), 0);
	check_members(dlg, "caller=another;trunk=another;trunk=b;caller=a;");
	drop(dlg);
	check_members(dialog(), "");
}
END_TEST

START_TEST(an_ended_dialog_has_left_everything_and_joins_nothing)
{
	struct dlg_profile_want want = { INBOUND, 0, DLG_STR_NONE, 10 };
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	join(dlg, CALLER, "a");
	join(dlg, INBOUND, NULL);
	end(dlg);
	ck_assert_uint_eq(size(CALLER, NULL) + size(INBOUND, NULL), 0);
	ck_assert_uint_eq(of(dlg, INBOUND, NULL), 0);
	ck_assert_int_eq(join(dlg, INBOUND, NULL), -1);
	ck_assert_int_eq(join(dlg, CALLER, "a"), -1);
	ck_assert_int_eq(dlg_profile_join_limited(dlg, &want, 1), -1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 3);
	ck_assert_uint_eq(dlg_profile_refusals(), 0);
	ck_assert_int_eq(dlg_hash_release(dlg), 1);
	done();
}
END_TEST

START_TEST(a_dialog_has_a_thousand_memberships_at_most)
{
	struct dlg_profile_want two[] = { { INBOUND, 0, DLG_STR_NONE, UINT32_MAX - 1 },
					  { CALLER, 1, DLG_STR("x"), UINT32_MAX - 1 } };
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	for (unsigned i = 1; i < DLG_PROFILE_MEMBERS_MAX; i++)
		ck_assert_int_eq(join(dlg, i % 2 ? CALLER : INBOUND, "v"), 0);
	ck_assert_int_eq(dlg_profile_join_limited(dlg, two, 2), -1); /* one fits, two do not */
	check_census();
	ck_assert_uint_eq(size(CALLER, "x"), 0);
	ck_assert_int_eq(join(dlg, TRUNK, "last"), 0);
	ck_assert_int_eq(join(dlg, TRUNK, "one more"), -1);
	ck_assert_int_eq(leave(dlg, INBOUND, NULL), 1);
	ck_assert_int_eq(join(dlg, TRUNK, "one more"), 0);
	ck_assert_uint_eq(dlg->n_members, DLG_PROFILE_MEMBERS_MAX);
	drop(dlg);
	done();
}
END_TEST

START_TEST(without_memory_nothing_changes)
{
	static char big[20000];
	struct dlg_str value = { big, sizeof(big) };
	struct dlg_profile_want wants[] = { { INBOUND, 0, DLG_STR_NONE, 5 },
					    { CALLER, 1, value, 5 } };
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	join(dlg, CALLER, "a");
	sim_faults.shm_allow = 0;
	ck_assert_int_eq(dlg_profile_join(dlg, CALLER, value), -1);
	ck_assert_int_eq(dlg_profile_join_limited(dlg, wants, 2), -1);
	ck_assert_uint_eq(dlg_profile_refusals(), 0);
	sim_faults_off();
	check_census();
	check_members(dlg, "caller=a;");
	ck_assert_int_eq(dlg_profile_join_limited(dlg, wants, 2), 1);
	drop(dlg);
	done();
}
END_TEST

/* ---- limits ---- */

enum { NO_LIMIT = UINT32_MAX - 1 };

static struct dlg_profile_want limit_value(int profile, const char *value, uint32_t limit)
{
	return (struct dlg_profile_want){ profile, 1, dlg_str_of(value), limit };
}

static struct dlg_profile_want limit_all(int profile, uint32_t limit)
{
	return (struct dlg_profile_want){ profile, 0, DLG_STR_NONE, limit };
}

static int limited(struct dlg_cell *dlg, struct dlg_profile_want a)
{
	return dlg_profile_join_limited(dlg, &a, 1);
}

static int limited2(struct dlg_cell *dlg, struct dlg_profile_want a, struct dlg_profile_want b)
{
	return dlg_profile_join_limited(dlg, (struct dlg_profile_want[]){ a, b }, 2);
}

static int limited3(struct dlg_cell *dlg, struct dlg_profile_want a, struct dlg_profile_want b,
		    struct dlg_profile_want c)
{
	return dlg_profile_join_limited(dlg, (struct dlg_profile_want[]){ a, b, c }, 3);
}

START_TEST(a_value_is_limited)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 2)), 1);
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 2)), 1);
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 2)), 0);
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "b", 2)), 1);
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 3)), 1);
	ck_assert_uint_eq(size(CALLER, "a"), 3);
	ck_assert_uint_eq(dlg_profile_refusals(), 1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 0); /* a full profile is no trouble */
	leave(dlg, CALLER, "a");
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 3)), 1);
	check_census();
	drop(dlg);
	done();
}
END_TEST

START_TEST(a_profile_without_values_is_limited)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	ck_assert_int_eq(limited(dlg, limit_all(INBOUND, 1)), 1);
	ck_assert_int_eq(limited(dlg, limit_all(INBOUND, 1)), 0);
	ck_assert_int_eq(limited(dlg, limit_value(INBOUND, "means nothing", 1)), 0);
	ck_assert_int_eq(limited(dlg, limit_value(INBOUND, "means nothing", 2)), 1);
	ck_assert_uint_eq(size(INBOUND, NULL), 2);
	ck_assert_uint_eq(dlg_profile_refusals(), 2);
	drop(dlg);
	done();
}
END_TEST

START_TEST(limit_zero_lets_nobody_in)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 0)), 0);
	ck_assert_int_eq(limited(dlg, limit_all(INBOUND, 0)), 0);
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "a", 5), limit_all(CALLER, 0)), 0);
	ck_assert_uint_eq(dlg_profile_values(CALLER), 0);
	ck_assert_int_eq(limited(dlg, limit_all(CALLER, 0)), 1); /* it holds: nobody is there */
	check_members(dlg, "");
	drop(dlg);
	done();
}
END_TEST

/* Plain joinings know of no limit; a limited one sees what they did. */
START_TEST(plain_joinings_may_go_over_a_limit)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	for (int i = 0; i < 5; i++)
		join(dlg, CALLER, "a");
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 3)), 0);
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "a", 6)), 1);
	ck_assert_int_eq(limited(dlg, limit_value(CALLER, "b", NO_LIMIT)), 1);
	drop(dlg);
	done();
}
END_TEST

START_TEST(a_whole_profile_is_bounded)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "a", 9), limit_all(CALLER, 2)), 1);
	ck_assert_int_eq(limited2(dlg, limit_all(CALLER, 2), limit_value(CALLER, "b", 9)), 1);
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "c", 9), limit_all(CALLER, 2)), 0);
	ck_assert_int_eq(limited2(dlg, limit_all(CALLER, 2), limit_value(CALLER, "a", 9)), 0);
	ck_assert_uint_eq(size(CALLER, NULL), 2);
	/* the smaller of two bounds */
	ck_assert_int_eq(limited3(dlg, limit_all(CALLER, 3), limit_value(CALLER, "c", 9),
				  limit_all(CALLER, 2)),
			 0);
	/* both together would be four */
	ck_assert_int_eq(limited3(dlg, limit_value(CALLER, "c", 9), limit_value(CALLER, "d", 9),
				  limit_all(CALLER, 3)),
			 0);
	ck_assert_uint_eq(size(CALLER, NULL), 2);
	ck_assert_int_eq(limited3(dlg, limit_value(CALLER, "c", 9), limit_value(CALLER, "d", 9),
				  limit_all(CALLER, 4)),
			 1);
	check_census();
	drop(dlg);
	done();
}
END_TEST

START_TEST(a_bound_alone_joins_nothing)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	join(dlg, CALLER, "a");
	join(dlg, CALLER, "b");
	ck_assert_int_eq(limited(dlg, limit_all(CALLER, 2)), 1);
	ck_assert_int_eq(limited(dlg, limit_all(CALLER, 1)), 0);
	ck_assert_int_eq(limited2(dlg, limit_all(CALLER, 1), limit_all(INBOUND, 5)), 0);
	ck_assert_uint_eq(size(INBOUND, NULL), 0);
	ck_assert_int_eq(limited2(dlg, limit_all(CALLER, 2), limit_all(INBOUND, 5)), 1);
	check_members(dlg, "inbound=;caller=b;caller=a;");
	ck_assert_uint_eq(dlg_profile_refusals(), 2);
	end(dlg);
	sim_log_clear();
	ck_assert_int_eq(limited(dlg, limit_all(CALLER, 2)), -1);
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 1);
	ck_assert_int_eq(dlg_hash_release(dlg), 1);
	done();
}
END_TEST

/* Whichever condition fails, everything is as it was: counts, values, memory, order. */
START_TEST(all_or_nothing)
{
	struct dlg_profile_want wants[] = {
		limit_value(CALLER, "new", 3), limit_all(INBOUND, 3), limit_value(TRUNK, "gw1", 3),
		limit_value(CALLER, "a", 3),   limit_all(TRUNK, 9),
	};
	enum { N = sizeof(wants) / sizeof(wants[0]) };
	struct dlg_mem_info before, after;
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	join(dlg, TRUNK, "gw1");
	join(dlg, CALLER, "a");
	join(dlg, INBOUND, NULL);
	dlg_mem_get_info(&before);
	for (unsigned fails = 0; fails < N; fails++) {
		struct dlg_profile_want these[N];

		memcpy(these, wants, sizeof(these));
		these[fails].limit = 0;
		ck_assert_int_eq(dlg_profile_join_limited(dlg, these, N), 0);
		check_members(dlg, "inbound=;caller=a;trunk=gw1;");
		ck_assert_uint_eq(dlg->n_members, 3);
		ck_assert_uint_eq(size(CALLER, NULL), 1);
		ck_assert_uint_eq(dlg_profile_values(CALLER), 1);
		check_census();
		dlg_mem_get_info(&after);
		ck_assert_uint_eq(after.pieces, before.pieces);
		ck_assert_uint_eq(dlg_profile_refusals(), fails + 1);
	}
	ck_assert_int_eq(dlg_profile_join_limited(dlg, wants, N), 1);
	check_members(dlg, "caller=a;trunk=gw1;inbound=;caller=new;inbound=;caller=a;trunk=gw1;");
	drop(dlg);
	done();
}
END_TEST

/* "At most `limit` afterwards" holds for each condition, however the list is ordered. */
START_TEST(a_list_that_joins_twice_counts_twice)
{
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "a", 1), limit_value(CALLER, "a", 1)),
			 0);
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "a", 1), limit_value(CALLER, "a", 2)),
			 0);
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "a", 2), limit_value(CALLER, "a", 1)),
			 0);
	ck_assert_int_eq(limited2(dlg, limit_all(INBOUND, 1), limit_all(INBOUND, 2)), 0);
	ck_assert_uint_eq(size(CALLER, NULL) + size(INBOUND, NULL), 0);
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "a", 2), limit_value(CALLER, "a", 2)),
			 1);
	ck_assert_int_eq(limited2(dlg, limit_all(INBOUND, 3), limit_all(INBOUND, 2)), 1);
	ck_assert_int_eq(limited2(dlg, limit_value(CALLER, "b", 1), limit_value(CALLER, "a", 3)),
			 1);
	ck_assert_uint_eq(size(CALLER, "a"), 3);
	check_census();
	drop(dlg);
	done();
}
END_TEST

START_TEST(lists_are_bounded)
{
	struct dlg_profile_want wants[DLG_PROFILE_WANTS_MAX + 1];
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	for (unsigned i = 0; i <= DLG_PROFILE_WANTS_MAX; i++)
		wants[i] = limit_all(INBOUND, NO_LIMIT);
	ck_assert_int_eq(dlg_profile_join_limited(dlg, wants, 0), -1);
	ck_assert_int_eq(dlg_profile_join_limited(dlg, wants, DLG_PROFILE_WANTS_MAX + 1), -1);
	ck_assert_uint_eq(size(INBOUND, NULL), 0);
	ck_assert_int_eq(dlg_profile_join_limited(dlg, wants, DLG_PROFILE_WANTS_MAX), 1);
	ck_assert_uint_eq(size(INBOUND, NULL), DLG_PROFILE_WANTS_MAX);
	drop(dlg);
	done();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("dlg_profile");

	tcase_set_timeout(t, 30);
	unit_add(t, UNIT_TESTS{ lists_define_profiles_in_their_order,
				the_longest_name,
				joining_counts_and_leaving_takes_back,
				a_value_for_a_profile_without_values_means_nothing,
				values_are_bytes,
				the_longest_value_and_one_byte_more,
				joining_again_counts_again_and_leaves_one_by_one,
				the_newest_that_fits_leaves,
				the_dialog_may_be_used_while_its_memberships_are_told,
				an_ended_dialog_has_left_everything_and_joins_nothing,
				a_dialog_has_a_thousand_memberships_at_most,
				without_memory_nothing_changes,
				a_value_is_limited,
				a_profile_without_values_is_limited,
				limit_zero_lets_nobody_in,
				plain_joinings_may_go_over_a_limit,
				a_whole_profile_is_bounded,
				a_bound_alone_joins_nothing,
				all_or_nothing,
				a_list_that_joins_twice_counts_twice,
				lists_are_bounded,
				NULL });
	tcase_add_loop_test(t, there_may_be_no_profiles, 0, 2);
	tcase_add_loop_test(t, a_bad_name_stops_the_start_with_one_line, 0, REFUSED_LISTS);
	tcase_add_loop_test(t, a_thousand_profiles_and_no_more, 0, 2);
	tcase_add_loop_test(t, without_memory_the_start_fails_and_says_so, 0, 4);
	return unit_run_case("dlg_profile", t);
}

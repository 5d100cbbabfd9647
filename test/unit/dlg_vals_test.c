/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_vals.h"

#include "../../dlg_hash.h"
#include "../../dlg_mem.h"
#include "../sim/sim_host.h"
#include "unit.h"

static struct dlg_cell *dlg;
static struct dlg_buf got;

static void init(void)
{
	struct dlg_hash_new in = { .call_id = DLG_STR("c"),
				   .from_tag = DLG_STR("f"),
				   .lifetime = 1 };

	ck_assert_int_eq(sim_start(1), 0);
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
}

static void done(void)
{
	struct dlg_mem_info mem;

	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_GONE);
	dlg_hash_unlock(dlg);
	ck_assert_int_eq(dlg_hash_release(dlg), 1);
	dlg_mem_get_info(&mem);
	ck_assert_uint_le(mem.pieces, 1); /* the list of callbacks */
	dlg_buf_free(&got);
}

START_TEST(values_are_stored_replaced_and_removed)
{
	init();
	ck_assert_int_eq(dlg_vals_get(dlg, DLG_STR("k"), &got), 0);
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("k"), DLG_STR("v1")), 0);
	ck_assert_int_eq(dlg_vals_get(dlg, DLG_STR("k"), &got), 1);
	ck_assert_view(dlg_buf_view(&got), "v1");
	ck_assert_int_eq(dlg_vals_get(dlg, DLG_STR("K"), &got), 0);
	ck_assert_uint_eq(got.len, 0);
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("k"), DLG_STR("a longer one")), 0);
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("l"), DLG_STR("")), 0);
	ck_assert_int_eq(dlg_vals_get(dlg, DLG_STR("k"), &got), 1);
	ck_assert_view(dlg_buf_view(&got), "a longer one");
	ck_assert_int_eq(dlg_vals_get(dlg, DLG_STR("l"), &got), 1);
	ck_assert_uint_eq(got.len, 0);
	ck_assert_int_eq(dlg_vals_unset(dlg, DLG_STR("k")), 1);
	ck_assert_int_eq(dlg_vals_unset(dlg, DLG_STR("k")), 0);
	ck_assert_int_eq(dlg_vals_get(dlg, DLG_STR("k"), &got), 0);
	done();
}
END_TEST

START_TEST(any_bytes_come_back)
{
	char bytes[256];
	struct dlg_str v = { bytes, sizeof(bytes) };

	init();
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	ck_assert_int_eq(dlg_vals_set(dlg, v, v), 0);
	ck_assert_int_eq(dlg_vals_get(dlg, v, &got), 1);
	ck_assert(dlg_str_eq(dlg_buf_view(&got), v));
	done();
}
END_TEST

START_TEST(limits_are_kept)
{
	static char big[DLG_VALS_VALUE_MAX + 2];
	struct dlg_str name = { big, DLG_VALS_NAME_MAX }, value = { big, DLG_VALS_VALUE_MAX };

	init();
	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(dlg_vals_set(dlg, name, value), 0);
	ck_assert_int_eq(dlg_vals_get(dlg, name, &got), 1);
	ck_assert_uint_eq(got.len, DLG_VALS_VALUE_MAX);
	value.len++;
	ck_assert_int_eq(dlg_vals_set(dlg, name, value), -1);
	name.len++;
	ck_assert_int_eq(dlg_vals_set(dlg, name, DLG_STR("v")), -1);
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR(""), DLG_STR("v")), -1);
	for (int i = 1; i < DLG_VALS_COUNT_MAX; i++) {
		char n[16];

		snprintf(n, sizeof(n), "n%d", i);
		ck_assert_int_eq(dlg_vals_set(dlg, dlg_str_of(n), DLG_STR("v")), 0);
	}
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("one more"), DLG_STR("v")), -1);
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("n7"), DLG_STR("replaced")), 0);
	done();
}
END_TEST

static void collect(struct dlg_str name, struct dlg_str value, void *arg)
{
	dlg_buf_printf(arg, "%.*s=%.*s;", DLG_STR_ARG(name), DLG_STR_ARG(value));
	/* the dialog may be used: no lock is held */
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("seen"), name), 0);
}

START_TEST(each_goes_from_newest_to_oldest)
{
	struct dlg_buf out = { 0 };

	init();
	dlg_vals_set(dlg, DLG_STR("a"), DLG_STR("1"));
	dlg_vals_set(dlg, DLG_STR("b"), DLG_STR(""));
	dlg_vals_set(dlg, DLG_STR("c"), DLG_STR("3"));
	dlg_vals_set(dlg, DLG_STR("a"), DLG_STR("4")); /* keeps its place */
	ck_assert_int_eq(dlg_vals_each(dlg, collect, &out), 0);
	ck_assert_view(dlg_buf_view(&out), "c=3;b=;a=4;");
	dlg_buf_free(&out);
	done();
}
END_TEST

START_TEST(flags_are_32_bits)
{
	init();
	ck_assert_uint_eq(dlg_vals_flags(dlg), 0);
	dlg_vals_set_flags(dlg, 1u << 31 | 5, 0);
	ck_assert_uint_eq(dlg_vals_flags(dlg), 0x80000005u);
	dlg_vals_set_flags(dlg, 2, UINT32_MAX);
	ck_assert_uint_eq(dlg_vals_flags(dlg), 2);
	dlg_vals_set_flags(dlg, 0, 2);
	ck_assert_uint_eq(dlg_vals_flags(dlg), 0);
	done();
}
END_TEST

START_TEST(without_memory_the_old_value_stays)
{
	static char big[40000];

	init();
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("k"), DLG_STR("old")), 0);
	sim_faults.shm_allow = 0;
	ck_assert_int_eq(dlg_vals_set(dlg, DLG_STR("k"), (struct dlg_str){ big, sizeof(big) }), -1);
	ck_assert_int_eq(dlg_vals_get(dlg, DLG_STR("k"), &got), 1);
	ck_assert_view(dlg_buf_view(&got), "old");
	done();
}
END_TEST

int main(void)
{
	return unit_run("dlg_vals",
			UNIT_TESTS{ values_are_stored_replaced_and_removed, any_bytes_come_back,
				    limits_are_kept, each_goes_from_newest_to_oldest,
				    flags_are_32_bits, without_memory_the_old_value_stays, NULL },
			20);
}

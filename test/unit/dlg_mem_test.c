/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_mem.h"

#include <stdlib.h>

#include "../sim/sim_host.h"
#include "unit.h"

static struct dlg_mem_info start, now;
static size_t blocks;

static void init(void)
{
	ck_assert_int_eq(dlg_mem_init(), 0);
	dlg_mem_get_info(&start);
	blocks = sim_shm.blocks;
	ck_assert_uint_eq(start.pieces, 0);
}

static void check_idle(void)
{
	dlg_mem_get_info(&now);
	ck_assert_uint_eq(now.pieces, 0);
	ck_assert_uint_eq(now.piece_bytes, 0);
	ck_assert_uint_eq(now.chunks, start.chunks);
	ck_assert_uint_eq(now.chunk_bytes, start.chunk_bytes);
	ck_assert_uint_eq(sim_shm.blocks, blocks);
	ck_assert_ptr_null(sim_violated());
}

START_TEST(pieces_of_all_sizes_are_aligned_and_apart)
{
	enum { N = 6000 };
	static unsigned char *piece[N];

	init();
	for (size_t i = 0; i < N; i++) {
		piece[i] = dlg_mem_alloc(i);
		ck_assert_ptr_nonnull(piece[i]);
		ck_assert_uint_eq((uintptr_t)piece[i] % 8, 0);
		memset(piece[i], (int)(i % 251), i);
	}
	dlg_mem_get_info(&now);
	ck_assert_uint_eq(now.pieces, N);
	ck_assert_uint_ge(now.piece_bytes, (size_t)N * (N - 1) / 2);
	ck_assert_uint_le(now.piece_bytes, now.chunk_bytes);
	for (size_t i = 0; i < N; i++) {
		size_t k = 0;

		while (k < i && piece[i][k] == i % 251)
			k++;
		ck_assert_uint_eq(k, i);
	}
	for (size_t i = 0; i < N; i++)
		dlg_mem_free(piece[(i * 1009) % N]);
	check_idle();
}
END_TEST

START_TEST(null_is_given_back_for_nothing)
{
	init();
	dlg_mem_free(NULL);
	check_idle();
}
END_TEST

START_TEST(random_use_ends_as_it_began)
{
	enum { N = 500 };
	static void *piece[N];

	init();
	for (int n = 0; n < 200000; n++) {
		unsigned i = sim_below(N);

		dlg_mem_free(piece[i]);
		piece[i] = sim_one_in(3) ? NULL
					 : dlg_mem_alloc(sim_below(sim_one_in(50) ? 20000 : 700));
	}
	for (unsigned i = 0; i < N; i++)
		dlg_mem_free(piece[i]);
	check_idle();
}
END_TEST

START_TEST(an_idle_engine_keeps_one_chunk_of_a_class)
{
	static void *piece[5000];

	init();
	for (int i = 0; i < 5000; i++)
		piece[i] = dlg_mem_alloc(100);
	ck_assert_uint_gt(sim_shm.blocks, blocks);
	for (int i = 0; i < 5000; i++)
		dlg_mem_free(piece[i]);
	check_idle();
}
END_TEST

START_TEST(without_memory_there_is_null)
{
	void *piece[100];
	unsigned n = 0;

	init();
	sim_faults.shm_allow = 0;
	while ((piece[n] = dlg_mem_alloc(4000)))
		ck_assert_uint_lt(++n, 100);
	ck_assert_uint_gt(n, 0);
	ck_assert_ptr_null(dlg_mem_alloc(100000));
	dlg_mem_free(piece[--n]);
	piece[n] = dlg_mem_alloc(4000);
	ck_assert_ptr_nonnull(piece[n++]);
	while (n)
		dlg_mem_free(piece[--n]);
	check_idle();
}
END_TEST

START_TEST(init_without_memory_fails)
{
	sim_faults.shm_allow = _i;
	ck_assert_int_eq(dlg_mem_init(), -1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dlg_mem init");
	TCase *tcase = tcase_create("init");
	SRunner *runner;
	int failed =
		unit_run("dlg_mem",
			 UNIT_TESTS{ pieces_of_all_sizes_are_aligned_and_apart,
				     null_is_given_back_for_nothing, random_use_ends_as_it_began,
				     an_idle_engine_keeps_one_chunk_of_a_class,
				     without_memory_there_is_null, NULL },
			 60);

	tcase_add_loop_test(tcase, init_without_memory_fails, 0, 5);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed |= srunner_ntests_failed(runner) != 0;
	srunner_free(runner);
	return failed;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of profiles: their tables, walks through them, and the proof of their counters. The hash
 * of values is in the test's hands (the linker wraps it): one_hash makes all of them collide. */
#include "profile.h"

#include <stdlib.h>

static int one_hash;

uint64_t __real_dlg_str_hash_secret(const uint64_t key[2], struct dlg_str v);
uint64_t __wrap_dlg_str_hash_secret(const uint64_t key[2], struct dlg_str v);
uint64_t __wrap_dlg_str_hash_secret(const uint64_t key[2], struct dlg_str v)
{
	return one_hash ? 42 : __real_dlg_str_hash_secret(key, v);
}

/* ---- the tables of values ---- */

enum { DIALOGS = 1000, MILLION = DIALOGS * DLG_PROFILE_MEMBERS_MAX };

/* Of the values from `first` on, one in seven is asked for: how many have not `size` members. */
static unsigned wrong_sizes(unsigned first, unsigned end, uint32_t size_is)
{
	unsigned wrong = 0;

	for (unsigned i = first; i < end; i += 7) {
		struct dlg_str v = numbered("v", i);

		wrong += dlg_profile_size(CALLER, &v) != size_is;
	}
	return wrong;
}

/* A million values in 2 shards, or 16: counts are right, and all the memory comes back. Check is
 * asked now and then only: it writes a line each time. */
START_TEST(a_million_values_come_and_go)
{
	static struct dlg_cell *dlg[DIALOGS];
	unsigned failed = 0;

	init_shards(_i);
	make_dialogs(dlg, DIALOGS);
	for (unsigned i = 0; i < MILLION; i++)
		failed += dlg_profile_join(dlg[i % DIALOGS], CALLER, numbered("v", i)) < 0;
	ck_assert_uint_eq(failed, 0);
	ck_assert_uint_eq(dlg_profile_values(CALLER), MILLION);
	ck_assert_uint_eq(size(CALLER, NULL), MILLION);
	ck_assert_uint_eq(wrong_sizes(0, MILLION, 1), 0);
	check_census();
	for (unsigned i = 0; i < MILLION / 2; i++)
		failed += !leave(dlg[i % DIALOGS], CALLER, NULL); /* the newest */
	ck_assert_uint_eq(failed, 0);
	ck_assert_uint_eq(dlg_profile_values(CALLER), MILLION / 2);
	ck_assert_uint_eq(wrong_sizes(0, MILLION / 2, 1), 0);
	ck_assert_uint_eq(wrong_sizes(MILLION / 2, MILLION, 0), 0);
	for (unsigned i = 0; i < DIALOGS; i++)
		drop(dlg[i]);
	done();
}
END_TEST

/* All values have one hash: the bytes decide. */
START_TEST(colliding_values_are_told_apart)
{
	enum { N = 700 };
	struct dlg_cell *dlg;

	one_hash = 1;
	init_shards(_i);
	dlg = dialog();
	for (unsigned i = 0; i < N; i++)
		ck_assert_int_eq(
			dlg_profile_join(dlg, i % 2 ? CALLER : TRUNK, numbered("v", i / 2)), 0);
	for (unsigned i = 0; i < N / 2; i++) {
		struct dlg_str v = numbered("v", i);

		ck_assert_uint_eq(dlg_profile_size(CALLER, &v), 1);
		ck_assert_uint_eq(dlg_profile_size(TRUNK, &v), 1);
		ck_assert_int_eq(dlg_profile_leave(dlg, CALLER, &v), 1);
		ck_assert_uint_eq(dlg_profile_size(CALLER, &v), 0);
		ck_assert_uint_eq(dlg_profile_size(TRUNK, &v), 1);
	}
	ck_assert_uint_eq(dlg_profile_values(CALLER), 0);
	ck_assert_uint_eq(dlg_profile_values(TRUNK), N / 2);
	check_census();
	drop(dlg);
	done();
}
END_TEST

/* A joining that finds its value there makes room for no new one. */
START_TEST(tables_of_every_size_shrink_to_nothing)
{
	struct dlg_cell *dlg;

	init_shards(1);
	dlg = dialog();
	note_memory(); /* with the dialog */
	for (unsigned n = 1; n < 400; n++) {
		for (unsigned i = 0; i < 2 * n; i++)
			dlg_profile_join(dlg, CALLER, numbered("v", i % n));
		ck_assert_uint_eq(size(CALLER, NULL), 2 * n);
		ck_assert_uint_eq(dlg_profile_values(CALLER), n);
		while (leave(dlg, CALLER, NULL))
			;
		check_memory();
	}
	drop(dlg);
}
END_TEST

/* doc/operations.md publishes them. */
START_TEST(bytes_per_membership_and_value)
{
	enum { N = 20000, LONGEST = 40 };
	struct dlg_mem_info before, joined, again;
	struct dlg_cell *dlg[N / 500];
	char text[LONGEST + 1];

	init();
	make_dialogs(dlg, N / 500);
	dlg_mem_get_info(&before);
	for (unsigned i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "%040u", i);
		dlg_profile_join(dlg[i / 500], CALLER, (struct dlg_str){ text, LONGEST });
	}
	dlg_mem_get_info(&joined);
	for (unsigned i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "%040u", i);
		dlg_profile_join(dlg[i / 500], CALLER, (struct dlg_str){ text, LONGEST });
	}
	dlg_mem_get_info(&again);
	ck_assert_uint_eq(size(CALLER, NULL), 2 * N);
	ck_assert_uint_eq(again.piece_bytes - joined.piece_bytes, 32 * N);
	ck_assert_uint_le(joined.piece_bytes - before.piece_bytes, (32 + 96 + 16) * N);
	for (unsigned i = 0; i < N / 500; i++)
		drop(dlg[i]);
	done();
}
END_TEST

START_TEST(values_without_memory_for_larger_tables)
{
	enum { N = 900 };
	struct dlg_cell *dlg;
	unsigned joined = 0;

	init_shards(1);
	dlg = dialog();
	for (unsigned i = 0; i < N; i++) {
		sim_faults.shm_allow = i % 3 ? 0 : -1;
		joined += dlg_profile_join(dlg, CALLER, numbered("v", i)) == 0;
	}
	sim_faults_off();
	ck_assert_uint_gt(joined, N / 2);
	ck_assert_uint_eq(dlg_profile_values(CALLER), joined);
	check_census();
	drop(dlg);
	done();
}
END_TEST

/* ---- against a model ---- */

enum { MODEL_DIALOGS = 40, MODEL_VALUES = 90, STEPS = 60000 };

static struct {
	struct dlg_cell *dlg[MODEL_DIALOGS];
	unsigned has[MODEL_DIALOGS][MODEL_VALUES], count[MODEL_VALUES], total;
	unsigned wrong; /* answers that were not the model's */
} model;

static void model_end(unsigned d)
{
	drop(model.dlg[d]);
	model.dlg[d] = dialog();
	for (unsigned v = 0; v < MODEL_VALUES; v++) {
		model.total -= model.has[d][v];
		model.count[v] -= model.has[d][v];
		model.has[d][v] = 0;
	}
}

static void model_add(unsigned d, unsigned v, int by)
{
	model.has[d][v] += (unsigned)by;
	model.count[v] += (unsigned)by;
	model.total += (unsigned)by;
}

static void model_step(void)
{
	unsigned d = sim_below(MODEL_DIALOGS), v = sim_below(MODEL_VALUES);
	struct dlg_str value = numbered("value ", v);
	int left;

	if (sim_one_in(200)) {
		model_end(d);
	} else if (sim_one_in(2) && model.dlg[d]->n_members < 30) {
		model.wrong += dlg_profile_join(model.dlg[d], CALLER, value) != 0;
		model_add(d, v, 1);
	} else {
		left = dlg_profile_leave(model.dlg[d], CALLER, &value);
		model.wrong += left != (model.has[d][v] > 0);
		model_add(d, v, -left);
	}
}

static void model_ask(void)
{
	unsigned d = sim_below(MODEL_DIALOGS), v = sim_below(MODEL_VALUES);
	struct dlg_str value = numbered("value ", v);

	model.wrong += dlg_profile_size(CALLER, &value) != model.count[v];
	model.wrong += dlg_profile_size(CALLER, NULL) != model.total;
	model.wrong += dlg_profile_memberships(model.dlg[d], CALLER, &value) != model.has[d][v];
}

/* Many dialogs do anything; a simple model of counts must say the same. */
START_TEST(random_use_agrees_with_a_model)
{
	init_shards(1 + _i);
	make_dialogs(model.dlg, MODEL_DIALOGS);
	for (unsigned step = 0; step < STEPS; step++) {
		model_step();
		model_ask();
		if (step % 500 == 0)
			check_census();
	}
	ck_assert_uint_eq(model.wrong, 0);
	for (unsigned d = 0; d < MODEL_DIALOGS; d++)
		drop(model.dlg[d]);
	done();
}
END_TEST

/* ---- walks ---- */

enum { WALK_VALUES = 3000 };

/* How often each of the numbered values was seen, and its count. */
static unsigned seen[WALK_VALUES], seen_count[WALK_VALUES];

static void note_page(const struct dlg_buf *page)
{
	for (size_t at = 0; at < page->len;) {
		struct dlg_profile_record r;
		char text[16] = "";
		unsigned i;

		memcpy(&r, page->s + at, sizeof(r));
		at += sizeof(r);
		ck_assert_uint_lt(r.len, sizeof(text));
		memcpy(text, page->s + at, r.len);
		at += r.len;
		i = (unsigned)atoi(text + 1);
		ck_assert_uint_lt(i, WALK_VALUES);
		seen[i]++;
		seen_count[i] = r.members;
		ck_assert_uint_gt(r.members, 0);
	}
}

static struct dlg_cell *walk_dialog[WALK_VALUES / 100];

static void walk_init(int log)
{
	init_shards(log);
	make_dialogs(walk_dialog, WALK_VALUES / 100);
	for (unsigned i = 0; i < WALK_VALUES; i++) {
		for (unsigned n = 0; n <= i % 3; n++)
			ck_assert_int_eq(
				dlg_profile_join(walk_dialog[i / 100], CALLER, numbered("v", i)),
				0);
		dlg_profile_join(walk_dialog[i / 100], TRUNK, numbered("v", i));
	}
}

static void walk_done(void)
{
	for (unsigned i = 0; i < WALK_VALUES / 100; i++)
		drop(walk_dialog[i]);
	done();
}

START_TEST(a_walk_sees_every_value_once)
{
	static const unsigned sizes[] = { 1, 7, 64, 65, 1000, WALK_VALUES, 100000 };
	unsigned max = sizes[_i], n, total = 0;
	struct dlg_profile_cursor cur = { 0 };
	struct dlg_buf page = { 0 };

	walk_init(1 + _i);
	do {
		dlg_buf_reset(&page);
		n = dlg_profile_page(CALLER, &cur, max, &page);
		note_page(&page);
		total += n;
		ck_assert_uint_le(n, max);
		ck_assert(n == max || total == WALK_VALUES);
	} while (n);
	ck_assert_uint_eq(total, WALK_VALUES);
	for (unsigned i = 0; i < WALK_VALUES; i++) {
		ck_assert_uint_eq(seen[i], 1);
		ck_assert_uint_eq(seen_count[i], i % 3 + 1);
	}
	ck_assert_uint_eq(dlg_profile_page(CALLER, &cur, max, &page), 0);
	dlg_profile_stop(&cur);
	dlg_buf_free(&page);
	walk_done();
}
END_TEST

/* Values that are not numbered 0, 10, 20 ... go and come. */
static void change_others(void)
{
	for (int n = 0; n < 20; n++) {
		unsigned i = sim_below(WALK_VALUES);
		struct dlg_str v = numbered("v", i);

		if (i % 10 == 0)
			continue;
		if (sim_one_in(2))
			while (dlg_profile_leave(walk_dialog[i / 100], CALLER, &v))
				;
		else
			dlg_profile_join(walk_dialog[i / 100], CALLER, v);
	}
}

START_TEST(values_that_stay_are_seen_once_while_others_change)
{
	struct dlg_profile_cursor cur = { 0 };
	struct dlg_buf page = { 0 };

	sim_seed((uint64_t)_i);
	walk_init(1 + _i % 5);
	while (dlg_profile_page(CALLER, &cur, 1 + sim_below(9), &page)) {
		note_page(&page);
		dlg_buf_reset(&page);
		change_others();
	}
	for (unsigned i = 0; i < WALK_VALUES; i += 10)
		ck_assert_msg(seen[i] == 1, "value %u seen %u times", i, seen[i]);
	dlg_buf_free(&page);
	check_census();
	walk_done();
}
END_TEST

/* Also when the value it stands on, or all of them, have gone meanwhile. */
START_TEST(a_walk_given_up_leaves_nothing_behind)
{
	struct dlg_profile_cursor cur[20] = { 0 };
	struct dlg_buf page = { 0 };

	walk_init(2);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(dlg_profile_page(CALLER, &cur[i], 1 + i * 50, &page), 1 + i * 50);
	for (unsigned i = 0; i < 10; i++)
		dlg_profile_stop(&cur[i]);
	for (unsigned i = 0; i < WALK_VALUES / 100; i++)
		end(walk_dialog[i]);
	ck_assert_uint_eq(dlg_profile_values(CALLER), 0);
	ck_assert_uint_eq(dlg_profile_page(CALLER, &cur[10], 5, &page), 0);
	for (unsigned i = 11; i < 20; i++)
		dlg_profile_stop(&cur[i]);
	dlg_profile_stop(&cur[0]); /* once more does no harm */
	ck_assert_uint_eq(dlg_profile_page(CALLER, &cur[0], 5, &page), 0);
	for (unsigned i = 0; i < WALK_VALUES / 100; i++)
		ck_assert_int_eq(dlg_hash_release(walk_dialog[i]), 1);
	dlg_buf_free(&page);
	done();
}
END_TEST

/* A walk stands on a value that goes and comes back. */
START_TEST(a_value_under_a_walk_may_come_back)
{
	struct dlg_profile_cursor cur = { 0 };
	struct dlg_buf page = { 0 };
	struct dlg_cell *dlg;

	one_hash = 1; /* one shard: the order is that of joining */
	init();
	dlg = dialog();
	for (unsigned i = 0; i < 4; i++)
		dlg_profile_join(dlg, CALLER, numbered("v", i));
	ck_assert_uint_eq(dlg_profile_page(CALLER, &cur, 1, &page), 1); /* now on v1 */
	leave(dlg, CALLER, "v1");
	ck_assert_uint_eq(size(CALLER, "v1"), 0);
	ck_assert_uint_eq(dlg_profile_values(CALLER), 3);
	check_census();
	join(dlg, CALLER, "v1");
	ck_assert_uint_eq(dlg_profile_values(CALLER), 4);
	ck_assert_uint_eq(size(CALLER, "v1"), 1);
	leave(dlg, CALLER, "v2");
	ck_assert_uint_eq(dlg_profile_page(CALLER, &cur, 9, &page), 2);
	note_page(&page);
	ck_assert(seen[0] == 1 && seen[1] == 1 && seen[2] == 0 && seen[3] == 1);
	dlg_buf_free(&page);
	drop(dlg);
	done();
}
END_TEST

START_TEST(the_census_notices_a_wrong_counter)
{
	struct dlg_profile_census right, wrong;
	struct dlg_cell *dlg;

	init();
	dlg = dialog();
	join(dlg, CALLER, "a");
	dlg_profile_census_counters(&right);
	leave(dlg, CALLER, "a");
	join(dlg, CALLER, "b"); /* as many, but of another value */
	dlg_profile_census_counters(&wrong);
	ck_assert_uint_eq(right.members, wrong.members);
	ck_assert_uint_ne(right.print, wrong.print);
	leave(dlg, CALLER, "b");
	join(dlg, TRUNK, "a"); /* of another profile */
	dlg_profile_census_counters(&wrong);
	ck_assert_uint_ne(right.print, wrong.print);
	join(dlg, TRUNK, "a");
	dlg_profile_census_counters(&wrong);
	ck_assert_uint_eq(wrong.members, 2);
	drop(dlg);
	done();
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("dlg_profile_values");

	tcase_set_timeout(t, 120);
	unit_add(t, UNIT_TESTS{ tables_of_every_size_shrink_to_nothing,
				values_without_memory_for_larger_tables,
				bytes_per_membership_and_value,
				a_walk_given_up_leaves_nothing_behind,
				a_value_under_a_walk_may_come_back,
				the_census_notices_a_wrong_counter, NULL });
	tcase_add_loop_test(t, a_million_values_come_and_go, 1, 2);
	tcase_add_loop_test(t, a_million_values_come_and_go, 4, 5);
	tcase_add_loop_test(t, colliding_values_are_told_apart, 1, 3);
	tcase_add_loop_test(t, random_use_agrees_with_a_model, 0, 3);
	tcase_add_loop_test(t, a_walk_sees_every_value_once, 0, 7);
	tcase_add_loop_test(t, values_that_stay_are_seen_once_while_others_change, 0, 10);
	return unit_run_case("dlg_profile_values", t);
}

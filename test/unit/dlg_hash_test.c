/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table, with a single entry: every dialog collides with every other. */
#include "../../dlg_hash.h"

#include <stdlib.h>

#include "../../dlg_mem.h"
#include "../sim/sim_host.h"
#include "unit.h"

static struct dlg_mem_info before;

static void init(uint32_t size)
{
	ck_assert_int_eq(sim_start(size), 0);
	dlg_mem_get_info(&before);
}

static struct dlg_hash_new sample(const char *call_id, uint64_t via)
{
	return (struct dlg_hash_new){
		.call_id = dlg_str_of(call_id),
		.from_uri = DLG_STR("sip:a@x"),
		.to_uri = DLG_STR("sip:b@y"),
		.from_tag = DLG_STR("ft"),
		.caller_routes = DLG_STR("<sip:p;lr>"),
		.caller_contact = DLG_STR("sip:a@1.2.3.4"),
		.caller_sock = sim_sock[0],
		.invite_cseq = 7,
		.via_hash = via,
		.lifetime = 100,
	};
}

static struct dlg_cell *add(const char *call_id, uint64_t via)
{
	struct dlg_hash_new in = sample(call_id, via);
	struct dlg_cell *dlg;

	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
	return dlg;
}

/* End it and free it; the caller's reference is used up. */
static void drop(struct dlg_cell *dlg)
{
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_GONE);
	dlg_hash_unlock(dlg);
	ck_assert_int_eq(dlg_hash_release(dlg), 1);
}

static void check(uint32_t cells)
{
	struct dlg_hash_census c;

	dlg_hash_count(&c);
	ck_assert_uint_eq(c.cells, cells);
	ck_assert_uint_eq(c.armed, cells);
	ck_assert_uint_eq(c.misplaced, 0);
	ck_assert_uint_eq(c.refs[DLG_BY_TABLE], cells);
	ck_assert_ptr_null(sim_violated());
}

static void check_empty(void)
{
	struct dlg_mem_info after;

	check(0);
	dlg_mem_get_info(&after);
	ck_assert_uint_eq(after.pieces, before.pieces);
	ck_assert_uint_eq(after.piece_bytes, before.piece_bytes);
}

static int any(const struct dlg_cell *dlg, void *arg)
{
	(void)dlg;
	(void)arg;
	return 1;
}

START_TEST(texts_are_kept)
{
	struct dlg_cell *dlg;

	init(1);
	dlg = add("call", 1);
	ck_assert_view(dlg_hash_text(dlg, DLG_CALL_ID), "call");
	ck_assert_view(dlg_hash_text(dlg, DLG_FROM_URI), "sip:a@x");
	ck_assert_view(dlg_hash_text(dlg, DLG_TO_URI), "sip:b@y");
	ck_assert_view(dlg_hash_text(dlg, DLG_FROM_TAG), "ft");
	ck_assert_view(dlg_hash_text(dlg, DLG_CALLER_ROUTES), "<sip:p;lr>");
	ck_assert_uint_eq(dlg->h_entry, 0);
	ck_assert_int_eq(dlg->state, DLG_STATE_UNCONFIRMED);
	drop(dlg);
	check_empty();
}
END_TEST

START_TEST(names_find_their_dialogs_among_thousands)
{
	enum { N = 3000 };
	static struct dlg_cell *dlg[N];
	char id[32];

	init(1);
	for (unsigned i = 0; i < N; i++) {
		snprintf(id, sizeof(id), "call-%u", i);
		dlg[i] = add(id, i);
		ck_assert_uint_eq(dlg[i]->h_id, dlg[0]->h_id + i);
	}
	for (unsigned i = 0; i < N; i += 3)
		drop(dlg[i]);
	check(N - N / 3);
	for (unsigned i = 0; i < N; i++) {
		struct dlg_cell *found =
			dlg_hash_get(0, i % 3 ? dlg[i]->h_id : dlg[1]->h_id - 1, DLG_BY_API);

		ck_assert_ptr_eq(found, i % 3 ? dlg[i] : NULL);
		dlg_hash_put(found, DLG_BY_API);
	}
	ck_assert_ptr_eq(dlg_hash_find(DLG_STR("call-1000"), any, NULL, DLG_BY_API), dlg[1000]);
	dlg_hash_put(dlg[1000], DLG_BY_API);
	for (unsigned i = 0; i < N; i++) {
		if (i % 3)
			drop(dlg[i]);
	}
	check_empty();
}
END_TEST

START_TEST(unknown_names_find_nothing)
{
	struct dlg_cell *dlg;

	init(1);
	dlg = add("call", 1);
	ck_assert_ptr_null(dlg_hash_get(0, dlg->h_id + 1, DLG_BY_LOCAL));
	ck_assert_ptr_null(dlg_hash_get(0, 0, DLG_BY_LOCAL));
	ck_assert_ptr_null(dlg_hash_get(1, dlg->h_id, DLG_BY_LOCAL));
	ck_assert_ptr_null(dlg_hash_get(UINT32_MAX, UINT32_MAX, DLG_BY_LOCAL));
	ck_assert_ptr_null(dlg_hash_find(DLG_STR("Call"), any, NULL, DLG_BY_LOCAL));
	ck_assert_ptr_null(dlg_hash_find(DLG_STR_NONE, any, NULL, DLG_BY_LOCAL));
	drop(dlg);
}
END_TEST

START_TEST(the_same_invite_gives_the_same_dialog)
{
	struct dlg_hash_new in = sample("call", 1);
	struct dlg_cell *dlg, *again;

	init(1);
	dlg = add("call", 1);
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_MESSAGE, &again), 0);
	ck_assert_ptr_eq(again, dlg);
	dlg_hash_put(again, DLG_BY_MESSAGE);
	in.via_hash = 2; /* a spiral */
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &again), 1);
	check(2);
	drop(again);
	in.via_hash = 1;
	in.invite_cseq = 8; /* a new attempt */
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &again), 1);
	drop(again);
	in.invite_cseq = 7;
	in.from_tag = DLG_STR("other");
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &again), 1);
	drop(again);
	drop(dlg);
	check_empty();
}
END_TEST

START_TEST(the_last_reference_frees)
{
	struct dlg_cell *dlg;
	char who[64];

	init(1);
	dlg = add("call", 1);
	dlg_hash_hold(dlg, DLG_BY_API);
	dlg_hash_hold(dlg, DLG_BY_SENDER);
	dlg_hash_hold(dlg, DLG_BY_SENDER);
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_GONE);
	ck_assert_uint_eq(dlg->refs[DLG_BY_SENDER], 2);
	dlg_hash_unlock(dlg);
	ck_assert_int_eq(dlg_hash_release(dlg), 0);
	dlg_hash_holders(dlg, who, sizeof(who));
	ck_assert_str_eq(who, "sender=2 api=1");
	dlg_hash_holders(dlg, who, 5);
	ck_assert_str_eq(who, "send");
	dlg_hash_put(dlg, DLG_BY_SENDER);
	dlg_hash_put(dlg, DLG_BY_API);
	check(1);
	dlg_hash_put(dlg, DLG_BY_SENDER);
	check_empty();
	dlg_hash_put(NULL, DLG_BY_API);
}
END_TEST

START_TEST(ids_use_all_32_bits)
{
	struct dlg_cell *dlg[6];

	init(1);
	dlg_hash_set_next_id(0, UINT32_MAX - 1);
	for (unsigned i = 0; i < 6; i++)
		dlg[i] = add("call", i);
	ck_assert_uint_eq(dlg[1]->h_id, UINT32_MAX);
	ck_assert_uint_eq(dlg[2]->h_id, 1); /* 0 is no id */
	for (unsigned i = 0; i < 6; i++) {
		struct dlg_cell *found = dlg_hash_get(0, dlg[i]->h_id, DLG_BY_API);

		ck_assert_ptr_eq(found, dlg[i]);
		dlg_hash_put(found, DLG_BY_API);
	}
	for (unsigned i = 0; i < 6; i++)
		drop(dlg[(i * 5) % 6]);
	check_empty();
}
END_TEST

static unsigned list(unsigned batch, uint32_t *ids)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *out[16];
	unsigned n, total = 0;

	while ((n = dlg_hash_page(&cur, out, batch, DLG_BY_LOCAL))) {
		for (unsigned i = 0; i < n; i++) {
			ids[total++] = out[i]->h_id;
			dlg_hash_put(out[i], DLG_BY_LOCAL);
		}
		ck_assert_uint_le(total, 100);
	}
	return total;
}

START_TEST(pages_show_each_dialog_once_in_order)
{
	struct dlg_cell *dlg[100];
	uint32_t ids[200];

	init(1);
	dlg_hash_set_next_id(0, UINT32_MAX - 40);
	for (unsigned i = 0; i < 100; i++)
		dlg[i] = add("call", i);
	for (unsigned batch = 1; batch <= 16; batch++) {
		ck_assert_uint_eq(list(batch, ids), 100);
		for (unsigned i = 0; i < 100; i++)
			ck_assert_uint_eq(ids[i], dlg[i]->h_id);
	}
	for (unsigned i = 0; i < 100; i++)
		drop(dlg[i]);
	ck_assert_uint_eq(list(3, ids), 0);
	check_empty();
}
END_TEST

START_TEST(pages_end_however_old_a_dialog_is)
{
	struct dlg_cell *oldest, *young[3];
	uint32_t ids[200];

	init(1);
	dlg_hash_set_next_id(0, 5);
	oldest = add("call", 0);
	dlg_hash_set_next_id(0, 0xf0000000u); /* billions of calls later */
	for (unsigned i = 0; i < 3; i++)
		young[i] = add("call", 1 + i);
	ck_assert_uint_eq(list(1, ids), 4);
	ck_assert_uint_eq(ids[0], 5);
	ck_assert_uint_eq(ids[3], 0xf0000002u);
	drop(oldest);
	for (unsigned i = 0; i < 3; i++)
		drop(young[i]);
}
END_TEST

START_TEST(dialogs_freed_between_two_pages_confuse_nothing)
{
	struct dlg_cell *dlg[60], *out[10];
	struct dlg_hash_cursor cur = { 0 };
	unsigned n, seen = 0;

	init(1);
	for (unsigned i = 0; i < 60; i++)
		dlg[i] = add("call", i);
	n = dlg_hash_page(&cur, out, 10, DLG_BY_API);
	ck_assert_uint_eq(n, 10);
	for (unsigned i = 0; i < 10; i++)
		dlg_hash_put(out[i], DLG_BY_API);
	for (unsigned i = 0; i < 58; i++) /* packed away with what was seen */
		drop(dlg[i]);
	while ((n = dlg_hash_page(&cur, out, 10, DLG_BY_API))) {
		for (unsigned i = 0; i < n; i++) {
			ck_assert_ptr_eq(out[i], dlg[58 + seen]);
			seen++;
			dlg_hash_put(out[i], DLG_BY_API);
		}
	}
	ck_assert_uint_eq(seen, 2);
	drop(dlg[58]);
	drop(dlg[59]);
	check_empty();
}
END_TEST

START_TEST(random_use_keeps_the_table_right)
{
	enum { N = 200 };
	static struct dlg_cell *dlg[N];
	unsigned live = 0;

	init(2);
	for (unsigned n = 0; n < 50000; n++) {
		unsigned i = sim_below(N);

		if (dlg[i]) {
			drop(dlg[i]);
			dlg[i] = NULL;
			live--;
		} else {
			char id[8] = { (char)('a' + sim_below(26)), 0 };

			dlg[i] = add(id, n);
			live++;
		}
		if (n % 100 == 0)
			check(live);
	}
	for (unsigned i = 0; i < N; i++) {
		if (dlg[i])
			drop(dlg[i]);
	}
	check_empty();
}
END_TEST

/* A row as it comes back at start. Returns 1, or 0 when there is one of that name. */
static int restore(uint32_t id)
{
	struct dlg_hash_new in = sample("call", id);
	struct dlg_cell *dlg = dlg_hash_new_cell(&in);
	int linked;

	ck_assert_ptr_nonnull(dlg);
	linked = dlg_hash_link(dlg, id, DLG_EV_RESTORE);
	if (!linked)
		dlg_hash_discard(dlg);
	return linked;
}

/* End and free the dialog of that id. */
static void drop_id(uint32_t id)
{
	struct dlg_cell *dlg = dlg_hash_get(0, id, DLG_BY_LOCAL);

	ck_assert_ptr_nonnull(dlg);
	ck_assert_uint_eq(dlg->h_id, id);
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_BYE);
	dlg_hash_unlock(dlg);
	ck_assert_int_eq(dlg_hash_release(dlg), 1);
}

/* A heap gives its rows in any order. */
START_TEST(rows_come_back_in_any_order)
{
	uint32_t ids[200];

	init(1);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(restore(1 + i * 37 % 100), 1);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(restore(1 + i * 53 % 100), 0);
	check(100);
	ck_assert_uint_eq(list(16, ids), 100);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_uint_eq(ids[i], i + 1);
	for (uint32_t i = 0; i < 100; i++)
		drop_id(1 + i * 71 % 100);
	check_empty();
}
END_TEST

/* Rows around the end of the range, in any order: each is found, and so is who comes after them. */
START_TEST(ids_at_the_end_of_their_range_are_restored)
{
	static const uint32_t rows[][4] = { { 1, UINT32_MAX }, { UINT32_MAX, 1, 2 },
					    { UINT32_MAX, 5, UINT32_MAX - 1, 1 }, { UINT32_MAX } };
	struct dlg_cell *young[20];
	uint32_t ids[200], n = 0;

	init(1);
	while (n < 4 && rows[_i][n])
		ck_assert_int_eq(restore(rows[_i][n++]), 1);
	ck_assert_uint_eq(list(1, ids), n);
	for (uint32_t i = 0; i < 20; i++)
		young[i] = add("other", i);
	check(n + 20);
	ck_assert_uint_eq(list(3, ids), n + 20);
	for (uint32_t i = 0; i < 20; i++) {
		ck_assert_uint_eq(ids[n + i], young[i]->h_id);
		ck_assert_ptr_eq(dlg_hash_get(0, young[i]->h_id, DLG_BY_API), young[i]);
		dlg_hash_put(young[i], DLG_BY_API);
		drop(young[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		drop_id(rows[_i][i]);
	check_empty();
}
END_TEST

/* The oldest call of the entry is still there when its ids have gone round. */
START_TEST(an_id_is_not_given_twice_when_all_were_used)
{
	struct dlg_cell *oldest, *young[6];

	init(1);
	dlg_hash_set_next_id(0, 7);
	oldest = add("call", 0);
	young[0] = add("call", 1);
	dlg_hash_set_next_id(0, 5);
	for (unsigned i = 1; i < 6; i++)
		young[i] = add("call", 1 + i);
	check(7);
	ck_assert_uint_eq(young[2]->h_id, 6); /* and then it would be 7 */
	ck_assert_uint_ne(young[3]->h_id, 7);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_ptr_eq(dlg_hash_get(0, young[i]->h_id, DLG_BY_API), young[i]);
		dlg_hash_put(young[i], DLG_BY_API);
		drop(young[i]);
	}
	drop(oldest);
	check_empty();
}
END_TEST

START_TEST(legs_are_found_by_tag)
{
	struct dlg_cell *dlg;
	struct dlg_leg *leg[3];
	unsigned acked;

	init(1);
	dlg = add("call", 1);
	leg[0] = dlg_hash_leg_new(DLG_STR("t1"), DLG_STR("<sip:r;lr>"));
	leg[1] = dlg_hash_leg_new(DLG_STR(""), DLG_STR_NONE);
	leg[2] = dlg_hash_leg_new(DLG_STR("t3"), DLG_STR_NONE);
	dlg_hash_lock(dlg);
	ck_assert_ptr_null(dlg_hash_leg_locked(dlg, DLG_STR("t1")));
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(dlg_hash_leg_add_locked(dlg, leg[i], 3), 0);
	ck_assert_int_eq(dlg_hash_leg_add_locked(dlg, leg[0], 3), -1);
	ck_assert_ptr_eq(dlg_hash_leg_locked(dlg, DLG_STR("t1")), leg[0]);
	ck_assert_ptr_eq(dlg_hash_leg_locked(dlg, DLG_STR_NONE), leg[1]);
	ck_assert_ptr_eq(dlg_hash_leg_locked(dlg, DLG_STR("t3")), leg[2]);
	ck_assert_ptr_null(dlg_hash_leg_locked(dlg, DLG_STR("T1")));
	ck_assert_ptr_null(dlg_hash_leg_locked(dlg, DLG_STR("t")));
	ck_assert_uint_eq(dlg_hash_live_legs_locked(dlg, NULL, &acked), 0);
	leg[1]->state = DLG_LEG_ANSWERED;
	leg[0]->state = leg[2]->state = DLG_LEG_ANSWERED;
	leg[2]->acked = 1;
	ck_assert_uint_eq(dlg_hash_live_legs_locked(dlg, NULL, &acked), 3);
	ck_assert_uint_eq(acked, 1);
	ck_assert_uint_eq(dlg_hash_live_legs_locked(dlg, leg[2], &acked), 2);
	ck_assert_uint_eq(acked, 0);
	dlg_hash_unlock(dlg);
	dlg_hash_leg_free(NULL);
	dlg_hash_leg_free(dlg_hash_leg_new(DLG_STR("x"), DLG_STR("y")));
	drop(dlg);
	check_empty();
}
END_TEST

START_TEST(texts_beyond_64_kb_are_refused)
{
	static char big[70000];
	struct dlg_hash_new in = sample("call", 1);
	struct dlg_cell *dlg;

	init(1);
	in.from_uri = (struct dlg_str){ big, sizeof(big) };
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), -1);
	in = sample("call", 1);
	in.caller_contact = (struct dlg_str){ big, sizeof(big) };
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), -1);
	ck_assert_ptr_null(dlg_hash_leg_new((struct dlg_str){ big, sizeof(big) }, DLG_STR_NONE));
	ck_assert_ptr_null(dlg_hash_leg_new(DLG_STR_NONE, (struct dlg_str){ big, sizeof(big) }));
	check_empty();
}
END_TEST

START_TEST(the_hash_never_changes)
{
	/* part of the names of stored dialogs */
	ck_assert_uint_eq(dlg_hash_call_id(DLG_STR("")), dlg_hash_call_id(DLG_STR_NONE));
	ck_assert_uint_eq(dlg_hash_call_id(DLG_STR("call-1@127.0.0.9")), 0xfb9d73f6u);
}
END_TEST

START_TEST(names_in_log_lines_are_bounded)
{
	char id[400];
	struct dlg_cell *dlg;

	init(1);
	memset(id, 'i', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	dlg = add(id, 1);
	ck_assert_uint_lt(strlen(dlg_hash_name(dlg)), 160);
	drop(dlg);
}
END_TEST

int main(void)
{
	TCase *c = tcase_create("dlg_hash");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, ids_at_the_end_of_their_range_are_restored, 0, 4);
	unit_add(c, UNIT_TESTS{
			texts_are_kept, names_find_their_dialogs_among_thousands,
			unknown_names_find_nothing, the_same_invite_gives_the_same_dialog,
			the_last_reference_frees, ids_use_all_32_bits,
			pages_show_each_dialog_once_in_order, pages_end_however_old_a_dialog_is,
			dialogs_freed_between_two_pages_confuse_nothing,
			random_use_keeps_the_table_right, rows_come_back_in_any_order,
			an_id_is_not_given_twice_when_all_were_used, legs_are_found_by_tag,
			texts_beyond_64_kb_are_refused, the_hash_never_changes,
			names_in_log_lines_are_bounded, NULL });
	return unit_run_case("dlg_hash", c);
}

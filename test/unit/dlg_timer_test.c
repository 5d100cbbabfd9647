/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The wheel, with a virtual clock. Deadlines are watched through dialogs that end by them. */
#include "../../dlg_timer.h"

#include <stdlib.h>
#include <time.h>

#include "../../dlg_hash.h"
#include "../sim/sim_host.h"
#include "unit.h"

static struct dlg_cell *add(const char *call_id, uint64_t via)
{
	struct dlg_hash_new in = { .call_id = dlg_str_of(call_id),
				   .from_tag = DLG_STR("f"),
				   .via_hash = via,
				   .lifetime = 1 };
	struct dlg_cell *dlg;

	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
	return dlg;
}

static void arm(struct dlg_cell *dlg, uint64_t seconds)
{
	dlg_hash_lock(dlg);
	dlg_timer_arm_locked(dlg, dlg_timer_after(seconds));
	dlg_hash_unlock(dlg);
}

static uint64_t armed(void)
{
	struct dlg_timer_info info;

	dlg_timer_get_info(&info);
	return info.armed;
}

START_TEST(deadlines_are_never_early_and_at_most_a_second_late)
{
	ck_assert_int_eq(sim_start(1), 0);
	for (unsigned ms = 0; ms < 3000; ms += 7) {
		uint64_t asked = host_mono_ms() + 5000;
		uint64_t due = (uint64_t)dlg_timer_after(5) * 1000;

		ck_assert_uint_ge(due, asked);
		ck_assert_uint_lt(due, asked + 1000);
		sim_advance(7);
	}
	ck_assert_uint_eq(dlg_timer_left(0), 0);
	ck_assert_uint_le(dlg_timer_left(dlg_timer_after(100)), 101);
	ck_assert_uint_eq(dlg_timer_after(UINT64_MAX / 4), UINT32_MAX);
}
END_TEST

START_TEST(mixed_lifetimes_end_in_their_second)
{
	enum { N = 2000 };
	static unsigned due_in[N], ended_at[N];
	static struct dlg_cell *dlg[N];

	ck_assert_int_eq(sim_start(64), 0);
	for (unsigned i = 0; i < N; i++) {
		char id[16];

		snprintf(id, sizeof(id), "c%u", i);
		dlg[i] = add(id, i);
		due_in[i] = sim_one_in(2) ? sim_below(30)
					  : sim_below(5000); /* several turns of the wheel */
		arm(dlg[i], due_in[i]);
	}
	ck_assert_uint_eq(armed(), N);
	for (unsigned now = 1; now <= 5001; now++) {
		sim_run(1);
		for (unsigned i = 0; i < N; i++) {
			if (dlg[i]->state == DLG_STATE_DELETED && !ended_at[i])
				ended_at[i] = now;
		}
	}
	for (unsigned i = 0; i < N; i++) {
		ck_assert_uint_ge(ended_at[i], due_in[i]);
		ck_assert_uint_le(ended_at[i], due_in[i] + 1);
		dlg_hash_put(dlg[i], DLG_BY_LOCAL);
	}
	sim_run(10);
	ck_assert_uint_eq(armed(), 0);
}
END_TEST

START_TEST(rearming_moves_the_deadline)
{
	struct dlg_cell *dlg;

	ck_assert_int_eq(sim_start(1), 0);
	dlg = add("c", 1);
	arm(dlg, 10);
	arm(dlg, 50);
	ck_assert_uint_eq(armed(), 1);
	sim_run(49);
	ck_assert_int_eq(dlg->state, DLG_STATE_UNCONFIRMED);
	arm(dlg, 10);
	sim_run(11);
	ck_assert_int_eq(dlg->state, DLG_STATE_DELETED);
	dlg_hash_lock(dlg);
	dlg_timer_disarm_locked(dlg);
	dlg_timer_disarm_locked(dlg);
	dlg_hash_unlock(dlg);
	ck_assert_uint_eq(armed(), 0);
	sim_run(100);
	ck_assert_int_eq(dlg->state, DLG_STATE_DELETED);
}
END_TEST

START_TEST(a_tick_that_comes_late_catches_up)
{
	struct dlg_timer_info info;
	struct dlg_cell *dlg;

	ck_assert_int_eq(sim_start(1), 0);
	dlg = add("c", 1);
	arm(dlg, 10);
	sim_advance(3000000); /* the process was stopped for longer than a turn */
	dlg_timer_get_info(&info);
	ck_assert_uint_ge(info.lag, 2999);
	ck_assert_uint_eq(dlg_timer_tick(), 1);
	ck_assert_int_eq(dlg->state, DLG_STATE_DELETED);
	dlg_timer_get_info(&info);
	ck_assert_uint_eq(info.lag, 0);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	sim_run(10);
	ck_assert_uint_eq(armed(), 0);
}
END_TEST

START_TEST(a_deadline_in_the_past_is_met_at_the_next_tick)
{
	struct dlg_cell *dlg;

	ck_assert_int_eq(sim_start(1), 0);
	sim_run(5);
	dlg = add("c", 1);
	dlg_hash_lock(dlg);
	dlg_timer_arm_locked(dlg, 1);
	dlg_hash_unlock(dlg);
	sim_run(1);
	ck_assert_int_eq(dlg->state, DLG_STATE_DELETED);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	sim_run(10);
}
END_TEST

/* Whatever is wrong with the table, the timer goes on with the others. */
START_TEST(a_dialog_that_is_not_found_is_tried_again_in_a_second)
{
	struct dlg_cell *lost, *other;

	ck_assert_int_eq(sim_start(1), 0);
	lost = add("c", 1);
	other = add("d", 2);
	arm(lost, 3);
	arm(other, 5);
	lost->h_id += 1000;
	sim_run(6);
	ck_assert_int_eq(lost->state, DLG_STATE_UNCONFIRMED);
	ck_assert_int_eq(other->state, DLG_STATE_DELETED);
	lost->h_id -= 1000;
	sim_run(1);
	ck_assert_int_eq(lost->state, DLG_STATE_DELETED);
	dlg_hash_put(lost, DLG_BY_LOCAL);
	dlg_hash_put(other, DLG_BY_LOCAL);
	sim_run(10);
	ck_assert_uint_eq(armed(), 0);
}
END_TEST

START_TEST(ten_thousand_dialogs_end_in_one_second)
{
	enum { N = 10000 };
	static struct dlg_cell *dlg[N];

	ck_assert_int_eq(sim_start(1024), 0);
	for (unsigned i = 0; i < N; i++) {
		char id[16];

		snprintf(id, sizeof(id), "c%u", i);
		dlg[i] = add(id, i);
		arm(dlg[i], 20);
		dlg_hash_put(dlg[i], DLG_BY_LOCAL);
	}
	sim_run(19);
	sim_advance(1000);
	ck_assert_uint_eq(dlg_timer_tick(), N);
	sim_run(10);
	ck_assert_uint_eq(armed(), 0);
}
END_TEST

static double cpu_seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

/* Arming does not become slower with the number of dialogs, however their lifetimes are mixed. */
START_TEST(a_million_arms)
{
	enum { N = 20000, ARMS = 1000000 };
	static struct dlg_cell *dlg[N];
	double few, many, start;

	ck_assert_int_eq(sim_start(1024), 0);
	for (unsigned i = 0; i < N; i++) {
		char id[16];

		snprintf(id, sizeof(id), "c%u", i);
		dlg[i] = add(id, i);
	}
	start = cpu_seconds();
	for (unsigned i = 0; i < ARMS; i++)
		arm(dlg[i % 10], 1 + i % 43200);
	few = cpu_seconds() - start;
	start = cpu_seconds();
	for (unsigned i = 0; i < ARMS; i++)
		arm(dlg[i % N], 1 + (i * 7919) % 43200);
	many = cpu_seconds() - start;
	ck_assert_uint_eq(armed(), N);
	ck_assert_msg(many < 20 * few + 1, "%.3f s for 10 dialogs, %.3f s for %d", few, many, N);
}
END_TEST

int main(void)
{
	return unit_run("dlg_timer",
			UNIT_TESTS{ deadlines_are_never_early_and_at_most_a_second_late,
				    mixed_lifetimes_end_in_their_second,
				    rearming_moves_the_deadline, a_tick_that_comes_late_catches_up,
				    a_deadline_in_the_past_is_met_at_the_next_tick,
				    a_dialog_that_is_not_found_is_tried_again_in_a_second,
				    ten_thousand_dialogs_end_in_one_second, a_million_arms, NULL },
			60);
}

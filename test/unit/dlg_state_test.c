/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_state.h"

#include <pthread.h>

#include "../../dlg_hash.h"
#include "../sim/sim_host.h"
#include "unit.h"

static void print_rule(int state, int event)
{
	const struct dlg_rule *r = dlg_state_rule((enum dlg_state)state, (enum dlg_event)event);

	if (r->next != state || r->actions)
		printf("%-12s %-11s -> %-12s %#x\n", dlg_state_name((enum dlg_state)state),
		       dlg_state_event_name((enum dlg_event)event),
		       dlg_state_name((enum dlg_state)r->next), r->actions);
}

START_TEST(every_pair_has_a_rule)
{
	for (int s = 0; s < DLG_STATES; s++) {
		for (int e = 0; e < DLG_EVENTS; e++) {
			const struct dlg_rule *r =
				dlg_state_rule((enum dlg_state)s, (enum dlg_event)e);

			ck_assert_ptr_nonnull(r);
			ck_assert_int_lt(r->next, DLG_STATES);
			print_rule(s, e);
		}
	}
}
END_TEST

START_TEST(only_creation_leads_out_of_nothing_and_nothing_leads_back)
{
	for (int e = 0; e < DLG_EVENTS; e++) {
		int next = dlg_state_rule(DLG_STATE_NONE, (enum dlg_event)e)->next;

		ck_assert_int_eq(next, e == DLG_EV_CREATE	     ? DLG_STATE_UNCONFIRMED
				       : e == DLG_EV_RESTORE	     ? DLG_STATE_CONFIRMED
				       : e == DLG_EV_RESTORE_NO_ACK ? DLG_STATE_CONFIRMED_NA
								     : DLG_STATE_NONE);
		for (int s = 1; s < DLG_STATES; s++)
			ck_assert_int_ne(dlg_state_rule((enum dlg_state)s, (enum dlg_event)e)->next,
					 DLG_STATE_NONE);
	}
}
END_TEST

START_TEST(the_end_is_final)
{
	for (int e = 0; e < DLG_EVENTS; e++) {
		const struct dlg_rule *r = dlg_state_rule(DLG_STATE_DELETED, (enum dlg_event)e);

		ck_assert_int_eq(r->next, DLG_STATE_DELETED);
		ck_assert_uint_eq(r->actions, e == DLG_EV_TIMEOUT ? DLG_DO_FREE : 0);
	}
}
END_TEST

START_TEST(states_go_back_in_one_case_only)
{
	for (int s = 1; s < DLG_STATES; s++) {
		for (int e = 0; e < DLG_EVENTS; e++) {
			int next = dlg_state_rule((enum dlg_state)s, (enum dlg_event)e)->next;

			/* the leg that got its ACK has hung up, another one still waits */
			if (s == DLG_STATE_CONFIRMED && e == DLG_EV_BYE_NO_ACK)
				ck_assert_int_eq(next, DLG_STATE_CONFIRMED_NA);
			else
				ck_assert_int_ge(next, s);
		}
	}
}
END_TEST

/* From every state that is not the end, a timeout leads there: no ghosts. */
START_TEST(every_state_ends_by_its_timer)
{
	for (int s = DLG_STATE_UNCONFIRMED; s < DLG_STATE_DELETED; s++) {
		const struct dlg_rule *r = dlg_state_rule((enum dlg_state)s, DLG_EV_TIMEOUT);

		ck_assert_int_eq(r->next, DLG_STATE_DELETED);
		ck_assert(r->actions & DLG_DO_COUNT_EXPIRED);
		ck_assert(r->actions & DLG_DO_CB_EXPIRED);
	}
}
END_TEST

static void check_end(const struct dlg_rule *r)
{
	const uint32_t ends = DLG_DO_CB_FAILED | DLG_DO_CB_TERMINATED | DLG_DO_CB_EXPIRED;
	uint32_t told = r->actions & ends;

	ck_assert(r->actions & DLG_DO_END);
	ck_assert_msg(!(told & (told - 1)), "two ends are told");
	ck_assert(!!(r->actions & DLG_DO_ARM_LINGER) != !!(r->actions & DLG_DO_NO_LINGER));
	ck_assert(!!(r->actions & DLG_DO_CB_FAILED) == !!(r->actions & DLG_DO_COUNT_FAILED));
	ck_assert(!!(r->actions & DLG_DO_CB_EXPIRED) == !!(r->actions & DLG_DO_COUNT_EXPIRED));
}

START_TEST(each_end_lingers_and_is_told_once)
{
	for (int s = DLG_STATE_UNCONFIRMED; s < DLG_STATE_DELETED; s++) {
		for (int e = 0; e < DLG_EVENTS; e++) {
			const struct dlg_rule *r =
				dlg_state_rule((enum dlg_state)s, (enum dlg_event)e);

			if (r->next == DLG_STATE_DELETED)
				check_end(r);
			else
				ck_assert(!(r->actions & (DLG_DO_END | DLG_DO_FREE)));
		}
	}
}
END_TEST

START_TEST(names_are_never_null)
{
	for (int i = -1; i < 20; i++) {
		ck_assert_ptr_nonnull(dlg_state_name((enum dlg_state)i));
		ck_assert_ptr_nonnull(dlg_state_event_name((enum dlg_event)i));
	}
	ck_assert_str_eq(dlg_state_name(DLG_STATE_UNCONFIRMED), "UNCONFIRMED");
	ck_assert_str_eq(dlg_state_event_name(DLG_EV_BYE), "BYE");
}
END_TEST

START_TEST(gauges_follow_every_walk_through_the_table)
{
	struct dlg_counters *n;

	ck_assert_int_eq(sim_start(2), 0);
	n = dlg_state_counters();
	for (unsigned i = 0; i < 3000; i++) {
		struct dlg_hash_new in = { .call_id = DLG_STR("c"),
					   .from_tag = DLG_STR("f"),
					   .via_hash = i,
					   .lifetime = 10 };
		struct dlg_cell *dlg;
		unsigned active;

		ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
		for (int k = 0; k < 6; k++) {
			dlg_hash_lock(dlg);
			dlg_state_apply_locked(dlg,
					       (enum dlg_event)(1 + sim_below(DLG_EVENTS - 1)));
			dlg_hash_unlock(dlg);
			active = dlg->state == DLG_STATE_CONFIRMED ||
				 dlg->state == DLG_STATE_CONFIRMED_NA;
			ck_assert_uint_eq(n->gauge[dlg->state], 1);
			ck_assert_uint_eq(dlg_state_active(), active);
		}
		dlg_hash_lock(dlg);
		dlg_state_apply_locked(dlg, DLG_EV_TIMEOUT);
		dlg_hash_unlock(dlg);
		ck_assert_int_eq(dlg_hash_release(dlg), 1);
		ck_assert_uint_eq(n->gauge[DLG_STATE_DELETED], 0);
	}
	ck_assert_uint_eq(n->processed, 3000);
	ck_assert_uint_le(n->failed + n->expired, 3000);
}
END_TEST

enum { ACKS = 200000 };
static int acks_done;

/* A call with two callees: one hangs up before the other's ACK, again and again. */
static void *to_and_fro(void *arg)
{
	struct dlg_cell *dlg = arg;

	for (int i = 0; i < ACKS; i++) {
		dlg_hash_lock(dlg);
		dlg_state_apply_locked(dlg, i & 1 ? DLG_EV_BYE_NO_ACK : DLG_EV_ACK);
		dlg_hash_unlock(dlg);
	}
	__atomic_store_n(&acks_done, 1, __ATOMIC_RELEASE);
	return NULL;
}

START_TEST(an_ack_does_not_show_in_the_number_of_active_calls)
{
	struct dlg_hash_new in = { .call_id = DLG_STR("c"), .from_tag = DLG_STR("f"),
				   .lifetime = 10 };
	unsigned wrong = 0;
	struct dlg_cell *dlg;
	pthread_t thread;

	ck_assert_int_eq(sim_start(2), 0);
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_SUCCESS);
	dlg_hash_unlock(dlg);
	ck_assert_int_eq(pthread_create(&thread, NULL, to_and_fro, dlg), 0);
	while (!__atomic_load_n(&acks_done, __ATOMIC_ACQUIRE))
		wrong += dlg_state_active() != 1;
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(wrong, 0);
}
END_TEST

int main(void)
{
	return unit_run("dlg_state",
			UNIT_TESTS{ every_pair_has_a_rule,
				    only_creation_leads_out_of_nothing_and_nothing_leads_back,
				    the_end_is_final, states_go_back_in_one_case_only,
				    every_state_ends_by_its_timer,
				    each_end_lingers_and_is_told_once, names_are_never_null,
				    gauges_follow_every_walk_through_the_table,
				    an_ack_does_not_show_in_the_number_of_active_calls, NULL },
			20);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random call histories, without and with a database. SIM_HISTORIES: how many of each (default
 * 20000 and 5000). SIM_SEED: run this one only.
 * SIM_FIRST: the first seed. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../unit/unit.h"
#include "sim_db.h"
#include "sim_history.h"

static uint64_t from_env(const char *name, uint64_t value)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : value;
}

static void print_stats(void)
{
	const struct sim_history_stats *s = &sim_history_stats;

	printf("%" PRIu64 " histories, %" PRIu64 " steps, %" PRIu64 " dialogs (%" PRIu64
	       " failed, %" PRIu64 " expired, %" PRIu64 " refused), %" PRIu64
	       " BYEs of ours, %" PRIu64 " forged requests, %" PRIu64 " interleavings, %" PRIu64
	       " failed allocations, %" PRIu64 " tables compared, %" PRIu64 " limited joinings, %" PRIu64 " turned away\n",
	       s->histories, s->steps, s->dialogs, s->failed, s->expired, s->refused, s->byes_sent,
	       s->forged, s->interleaved, s->alloc_failures, s->compared, s->limited, s->turned_away);
}

static void run_histories(char *journal_dir)
{
	uint64_t one = from_env("SIM_SEED", 0), first = from_env("SIM_FIRST", 1);
	uint64_t count = one ? 1 : from_env("SIM_HISTORIES", journal_dir ? 5000 : 20000);

	if (one)
		first = one;
	ck_assert_int_eq(sim_history_start(journal_dir), 0);
	for (uint64_t seed = first; seed < first + count; seed++) {
		const char *broken = sim_history_run(seed);

		ck_assert_msg(!broken, "SIM_SEED=%" PRIu64 ": %s", seed, broken);
	}
	print_stats();
	ck_assert(one || sim_history_stats.dialogs > count);
}

START_TEST(no_history_violates_an_invariant)
{
	run_histories(NULL);
}
END_TEST

START_TEST(no_history_loses_a_row)
{
	char dir[] = "/tmp/dlghistory.XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	run_histories(dir);
	ck_assert_uint_gt(sim_history_stats.compared, 0);
	sim_db_remove_dir(dir);
}
END_TEST

int main(void)
{
	TCase *c = tcase_create("random");

	tcase_set_timeout(c, 0);
	tcase_add_test(c, no_history_violates_an_invariant);
	tcase_add_test(c, no_history_loses_a_row);
	return unit_run_case("histories", c);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does the simulation find what it is for? For each class of defects in the design's section 4
 * one is planted (sim_wrap.h), and random histories run until it is caught. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/unit.h"
#include "sim_history.h"
#include "sim_host.h"
#include "sim_wrap.h"

enum { SEEDS = 4000, CLEAN_SEEDS = 400, SECONDS = 60 };

/* How a child process ends. */
enum { CAUGHT = 0, NOT_CAUGHT = 3, NEVER_STRUCK = 4, NO_START = 5 };

static const char *const names[SIM_PLANT_N] = {
#define X(name, what) [SIM_PLANT_##name] = #name ": " what,
	SIM_PLANTS(X)
#undef X
};

static void run_planted(enum sim_plant plant)
{
	const char *broken = NULL;
	unsigned seed = 0;

	if (sim_history_start() < 0)
		_exit(NO_START);
	sim_plant = plant;
	while (!broken && seed < SEEDS)
		broken = sim_history_run(++seed);
	if (broken)
		printf("%s\n\tcaught by history %u: %s\n", names[plant], seed, broken);
	fflush(stdout);
	_exit(broken ? CAUGHT : sim_plant_hits ? NOT_CAUGHT : NEVER_STRUCK);
}

START_TEST(planted_defect_is_caught)
{
	enum sim_plant plant = (enum sim_plant)_i;
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		alarm(SECONDS);
		run_planted(plant);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
		printf("%s\n\tcaught: the engine's own check of its locks\n", names[plant]);
		return;
	}
	ck_assert_msg(WIFEXITED(status), "%s: ended by signal %d", names[plant], WTERMSIG(status));
	ck_assert_msg(WEXITSTATUS(status) == CAUGHT, "%s: not caught (%d)", names[plant],
		      WEXITSTATUS(status));
}
END_TEST

START_TEST(nothing_is_caught_where_nothing_is_planted)
{
	ck_assert(sim_wrapped());
	ck_assert_int_eq(sim_history_start(), 0);
	for (uint64_t seed = 1; seed <= CLEAN_SEEDS; seed++)
		ck_assert_ptr_null(sim_history_run(seed));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("planted");

	tcase_set_timeout(tcase, 2 * SECONDS);
	tcase_add_loop_test(tcase, planted_defect_is_caught, SIM_PLANT_NONE + 1, SIM_PLANT_N);
	tcase_add_test(tcase, nothing_is_caught_where_nothing_is_planted);
	return unit_run_case("planted", tcase);
}

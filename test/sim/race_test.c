/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads in place of processes, for real parallel access to the table, the wheel, the memory
 * and the values. What lives once per process (log lines, variables' buffers) stays out of it.
 * Best run with -fsanitize=thread. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../dlg_lock.h"
#include "../../dlg_mem.h"
#include "../../dlg_vals.h"
#include "../unit/unit.h"
#include "sim_audit.h"

enum { WORKERS = 4, ROUNDS = 10000, CALL_IDS = 16 };

static atomic_int running;

struct worker {
	pthread_t thread;
	unsigned seed;
};

static unsigned pick(struct worker *w, unsigned n)
{
	w->seed = w->seed * 1103515245 + 12345;
	return (w->seed >> 16) % n;
}

static int any(const struct dlg_cell *dlg, void *arg)
{
	(void)arg;
	return dlg->state != DLG_STATE_DELETED;
}

static void apply(struct dlg_cell *dlg, enum dlg_event event)
{
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, event);
	dlg_hash_unlock(dlg);
}

static void one_call(struct worker *w, unsigned round)
{
	char id[16];
	struct dlg_hash_new in = { .from_tag = DLG_STR("f"),
				   .from_uri = DLG_STR("sip:a@b"),
				   .invite_cseq = round,
				   .via_hash = pick(w, 4),
				   .lifetime = 5 };
	struct dlg_cell *dlg;

	snprintf(id, sizeof(id), "call-%u", pick(w, CALL_IDS));
	in.call_id = dlg_str_of(id);
	if (dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) < 0)
		return;
	apply(dlg, DLG_EV_PROVISIONAL);
	apply(dlg, DLG_EV_SUCCESS);
	dlg_vals_set(dlg, DLG_STR("k"), dlg_str_of(id));
	if (pick(w, 2))
		apply(dlg, DLG_EV_BYE);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void look_around(struct worker *w)
{
	struct dlg_cell *dlg, *page[8];
	struct dlg_hash_cursor cur = { .entry = pick(w, 4) };
	struct dlg_buf value = { 0 };
	char id[16];
	unsigned n;

	snprintf(id, sizeof(id), "call-%u", pick(w, CALL_IDS));
	dlg = dlg_hash_find(dlg_str_of(id), any, NULL, DLG_BY_LOCAL);
	if (dlg) {
		struct dlg_cell *same = dlg_hash_get(dlg->h_entry, dlg->h_id, DLG_BY_API);

		if (same != dlg)
			abort();
		dlg_vals_get(dlg, DLG_STR("k"), &value);
		dlg_vals_set_flags(dlg, 1u << pick(w, 32), 0);
		dlg_hash_put(same, DLG_BY_API);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
	n = dlg_hash_page(&cur, page, 8, DLG_BY_LOCAL);
	while (n)
		dlg_hash_put(page[--n], DLG_BY_LOCAL);
	dlg_buf_free(&value);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		one_call(w, round);
		look_around(w);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* The engine's own process; time flies. */
static void *tick(void *arg)
{
	(void)arg;
	while (atomic_load(&running)) {
		sim_advance(300);
		dlg_timer_tick();
	}
	return NULL;
}

START_TEST(workers_and_timer_side_by_side)
{
	struct worker w[WORKERS];
	pthread_t timer;

	sim_log_level = HOST_ERROR;
	ck_assert_int_eq(sim_start(4), 0);
	sim_audit_begin();
	atomic_store(&running, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i].seed = i + 1;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	ck_assert_int_eq(pthread_create(&timer, NULL, tick, NULL), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(w[i].thread, NULL);
	pthread_join(timer, NULL);
	sim_audit();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
	sim_run(100);
	sim_audit_end();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}
END_TEST

static void *memory(void *arg)
{
	struct worker *w = arg;
	void *piece[64] = { NULL };

	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = pick(w, 64), size = pick(w, 900);

		dlg_mem_free(piece[i]);
		piece[i] = dlg_mem_alloc(size);
		memset(piece[i], (int)w->seed, size);
	}
	for (int i = 0; i < 64; i++)
		dlg_mem_free(piece[i]);
	return NULL;
}

START_TEST(memory_side_by_side)
{
	struct dlg_mem_info info;
	struct worker w[WORKERS];

	ck_assert_int_eq(dlg_mem_init(), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i].seed = i + 1;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, memory, &w[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(w[i].thread, NULL);
	dlg_mem_get_info(&info);
	ck_assert_uint_eq(info.pieces, 0);
}
END_TEST

/* ---- real processes ---- */

static struct dlg_mem_info at_start;

static void start_shared(void)
{
	sim_log_level = HOST_ERROR;
	ck_assert_int_eq(sim_shm_share(), 0);
	ck_assert_int_eq(sim_start(4), 0);
	dlg_mem_get_info(&at_start);
}

static void check_empty(void)
{
	struct dlg_hash_census census;
	struct dlg_mem_info info;

	dlg_hash_count(&census);
	ck_assert_uint_eq(census.cells, 0);
	ck_assert_uint_eq(census.misplaced, 0);
	for (int s = 0; s < DLG_STATES; s++)
		ck_assert_uint_eq(dlg_state_counters()->gauge[s], 0);
	dlg_mem_get_info(&info);
	ck_assert_uint_eq(info.pieces, at_start.pieces);
	ck_assert_uint_eq(info.chunks, at_start.chunks);
}

static int all_ended(pid_t *pid, int *status)
{
	for (int i = 0; i < WORKERS; i++) {
		if (pid[i] && waitpid(pid[i], &status[i], WNOHANG) == pid[i])
			pid[i] = 0;
		if (pid[i])
			return 0;
	}
	return 1;
}

START_TEST(processes_side_by_side)
{
	pid_t pid[WORKERS];
	int status[WORKERS];

	start_shared();
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker w = { .seed = i + 1 };

		pid[i] = fork();
		if (!pid[i]) {
			work(&w);
			_exit(sim_violated() != NULL);
		}
	}
	while (!all_ended(pid, status)) {
		sim_advance(100);
		dlg_timer_tick();
	}
	for (int i = 0; i < WORKERS; i++)
		ck_assert(WIFEXITED(status[i]) && WEXITSTATUS(status[i]) == 0);
	ck_assert_uint_gt(dlg_state_counters()->processed, 0);
	sim_run(200);
	check_empty();
}
END_TEST

/* The host kills its workers wherever they are: the next one takes the lock over, and the call
 * goes on. */
START_TEST(a_worker_dies_under_an_entry_lock)
{
	struct dlg_hash_new in = { .call_id = DLG_STR("c"),
				   .from_tag = DLG_STR("f"),
				   .lifetime = 5 };
	struct dlg_cell *dlg;
	int status;
	pid_t pid;

	start_shared();
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
	pid = fork();
	if (!pid) {
		dlg_hash_lock(dlg);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	apply(dlg, DLG_EV_SUCCESS);
	ck_assert_uint_eq(dlg_lock_takeovers(), 1);
	ck_assert_int_eq(dlg->state, DLG_STATE_CONFIRMED_NA);
	apply(dlg, DLG_EV_BYE);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	sim_run(10);
	ck_assert_uint_eq(dlg_lock_takeovers(), 1);
	check_empty();
}
END_TEST

int main(void)
{
	return unit_run("races",
			UNIT_TESTS{ workers_and_timer_side_by_side, memory_side_by_side,
				    processes_side_by_side, a_worker_dies_under_an_entry_lock,
				    NULL },
			120);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads in place of processes, for real parallel access to the table, the wheel, the memory,
 * the values and the profiles. What lives once per process (log lines, variables' buffers) stays
 * out of it. Best run with -fsanitize=thread. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../dlg_lock.h"
#include "../../dlg_mem.h"
#include "../../dlg_mi.h"
#include "../../dlg_profile.h"
#include "../../dlg_vals.h"
#include "../unit/unit.h"
#include "sim_audit.h"
#include "sim_worker.h"
#include "sim_wrap.h"

enum { WORKERS = 4, ROUNDS = 10000, CALL_IDS = 16 };

static atomic_int running;

static int any(const struct dlg_cell *dlg, void *arg)
{
	(void)arg;
	return dlg->state != DLG_STATE_DELETED;
}

/* In place of dlg_handlers.c, which counts why a dialog ends. */
static void apply(struct dlg_cell *dlg, enum dlg_event event)
{
	dlg_hash_lock(dlg);
	if (dlg_state_apply_locked(dlg, event) & DLG_DO_END)
		dlg_state_count(&dlg_state_counters()->ended[DLG_REASON_caller]);
	dlg_hash_unlock(dlg);
}

static void one_call(struct sim_worker *w, unsigned round)
{
	char id[16];
	struct dlg_hash_new in = { .from_tag = DLG_STR("f"),
				   .from_uri = DLG_STR("sip:a@b"),
				   .invite_cseq = round,
				   .via_hash = sim_pick(w, 4),
				   .lifetime = 5 };
	struct dlg_cell *dlg;

	snprintf(id, sizeof(id), "call-%u", sim_pick(w, CALL_IDS));
	in.call_id = dlg_str_of(id);
	if (dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) < 0)
		return;
	apply(dlg, DLG_EV_PROVISIONAL);
	apply(dlg, DLG_EV_SUCCESS);
	dlg_vals_set(dlg, DLG_STR("k"), dlg_str_of(id));
	if (sim_pick(w, 2))
		apply(dlg, DLG_EV_BYE);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void look_around(struct sim_worker *w)
{
	struct dlg_cell *dlg, *page[8];
	struct dlg_hash_cursor cur = { .entry = sim_pick(w, 4) };
	struct dlg_buf value = { 0 };
	char id[16];
	unsigned n;

	snprintf(id, sizeof(id), "call-%u", sim_pick(w, CALL_IDS));
	dlg = dlg_hash_find(dlg_str_of(id), any, NULL, DLG_BY_LOCAL);
	if (dlg) {
		struct dlg_cell *same = dlg_hash_get(dlg->h_entry, dlg->h_id, DLG_BY_API);

		if (same != dlg)
			abort();
		dlg_vals_get(dlg, DLG_STR("k"), &value);
		dlg_vals_set_flags(dlg, 1u << sim_pick(w, 32), 0);
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
	struct sim_worker *w = arg;

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
	struct sim_worker w[WORKERS], timer;

	sim_log_level = HOST_ERROR;
	ck_assert_int_eq(sim_start(4), 0);
	sim_audit_begin();
	atomic_store(&running, WORKERS);
	sim_workers_init(w, WORKERS, 1);
	sim_workers_run(w, WORKERS, work);
	sim_workers_run(&timer, 1, tick);
	sim_workers_join(w, WORKERS);
	sim_workers_join(&timer, 1);
	sim_audit();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
	sim_run(100);
	sim_audit_end();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}
END_TEST

static void *memory(void *arg)
{
	struct sim_worker *w = arg;
	void *piece[64] = { NULL };

	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = sim_pick(w, 64), size = sim_pick(w, 900);

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
	struct sim_worker w[WORKERS];

	ck_assert_int_eq(dlg_mem_init(), 0);
	sim_workers_init(w, WORKERS, 1);
	sim_workers_run(w, WORKERS, memory);
	sim_workers_join(w, WORKERS);
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

static int all_ended(pid_t *pid, int *status, int n)
{
	for (int i = 0; i < n; i++) {
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
		struct sim_worker w = { .seed = i + 1 };

		pid[i] = fork();
		if (!pid[i]) {
			work(&w);
			_exit(sim_violated() != NULL);
		}
	}
	while (!all_ended(pid, status, WORKERS)) {
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

static void die(void)
{
	kill(getpid(), SIGKILL);
}

/* The last dialog of an entry leaves it, and its arrays are free already. */
START_TEST(a_worker_dies_when_it_empties_an_entry)
{
	struct dlg_hash_new in = { .call_id = DLG_STR("c"),
				   .from_tag = DLG_STR("f"),
				   .lifetime = 5 };
	struct dlg_hash_census census;
	struct dlg_cell *dlg;
	int status;
	pid_t pid;

	start_shared();
	ck_assert(sim_wrapped());
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
	dlg_mem_free(dlg_mem_alloc(32)); /* not the first piece of that size to come back */
	apply(dlg, DLG_EV_GONE);
	pid = fork();
	if (!pid) {
		sim_freed = die;
		dlg_hash_release(dlg);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	dlg_hash_count(&census);
	ck_assert_uint_eq(dlg_lock_takeovers(), 1);
	ck_assert_uint_eq(census.cells, 0);
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
	dlg_hash_count(&census);
	ck_assert_uint_eq(census.cells, 1);
}
END_TEST

/* ---- profiles ---- */

/* In the order of SIM_PROFILES and SIM_PROFILES_NO_VALUE. */
enum { CALLER, TRUNK, INBOUND };

/* OWN: one worker alone would fill it */
enum { CROWD = 8, LIMIT = 100, OWN = 120, DIALOGS = 2500 };

static atomic_int stop;
static atomic_uint highest; /* seen of the profile that is limited */

static struct dlg_cell *new_dialog(struct sim_worker *w, unsigned round)
{
	char id[32];
	struct dlg_hash_new in = { .from_tag = DLG_STR("f"), .lifetime = 5 };
	struct dlg_cell *dlg;

	snprintf(id, sizeof(id), "%u-%u", w->name, round);
	in.call_id = dlg_str_of(id);
	if (dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) != 1)
		abort();
	return dlg;
}

static void end_dialog(struct dlg_cell *dlg)
{
	if (!dlg)
		return;
	apply(dlg, DLG_EV_GONE);
	if (!dlg_hash_release(dlg))
		abort();
}

/* A caller of at most 9 calls, over a trunk of at most LIMIT. */
static int enter(struct sim_worker *w, struct dlg_cell *dlg)
{
	char caller[16];
	struct dlg_profile_want wants[] = {
		{ TRUNK, 1, DLG_STR("gw"), LIMIT }, { CALLER, 1, DLG_STR_NONE, 9 },
		{ INBOUND, 0, DLG_STR_NONE, LIMIT }, { CALLER, 0, DLG_STR_NONE, LIMIT },
	};

	snprintf(caller, sizeof(caller), "c%u", sim_pick(w, 40));
	wants[1].value = dlg_str_of(caller);
	return dlg_profile_join_limited(dlg, wants, 4);
}

/* Calls come, get in or are turned away, and end in any order. */
static void *crowd(void *arg)
{
	struct sim_worker *w = arg;
	struct dlg_cell *own[OWN] = { NULL };

	for (unsigned round = 0; round < DIALOGS; round++) {
		unsigned i = sim_pick(w, OWN);

		end_dialog(own[i]);
		own[i] = new_dialog(w, round);
		w->count += enter(w, own[i]) == 1;
	}
	for (unsigned i = 0; i < OWN; i++)
		end_dialog(own[i]);
	return NULL;
}

static void look_at(uint32_t size)
{
	if (size > atomic_load(&highest))
		atomic_store(&highest, size);
}

static void look_at_limits(void)
{
	look_at(dlg_profile_size(TRUNK, &DLG_STR("gw")));
	look_at(dlg_profile_size(TRUNK, NULL));
	look_at(dlg_profile_size(CALLER, NULL));
	look_at(dlg_profile_size(INBOUND, NULL));
}

static void *reader(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		look_at_limits();
	return NULL;
}

/* Never above, and somebody was turned away: it was full. (The reader may have missed that.) */
static void check_limits_held(void)
{
	ck_assert_uint_le(atomic_load(&highest), LIMIT);
	ck_assert_uint_gt(dlg_profile_refusals(), 0);
}

static void start_profiles(uint32_t hash_size)
{
	sim_log_level = HOST_ERROR;
	dialog_conf.log_profile_hash_size = 1; /* crowded */
	ck_assert_int_eq(sim_start(hash_size), 0);
	sim_audit_begin();
	dlg_mem_get_info(&at_start);
}

static void check_profiles_empty(void)
{
	for (int p = 0; p < dlg_profile_count(); p++) {
		ck_assert_uint_eq(dlg_profile_size(p, NULL), 0);
		ck_assert_uint_eq(dlg_profile_values(p), 0);
	}
	check_empty();
}

/* Whoever asks now gets in until the limit is there, and not beyond. */
static void fill_up(struct sim_worker *w)
{
	struct dlg_profile_want want = { TRUNK, 1, DLG_STR("gw"), LIMIT };
	static struct dlg_cell *dlg[LIMIT + 1];
	int joined = 0;

	for (unsigned i = 0; i <= LIMIT; i++) {
		dlg[i] = new_dialog(w, DIALOGS + i);
		joined += dlg_profile_join_limited(dlg[i], &want, 1) == 1;
	}
	ck_assert_int_eq(joined, LIMIT);
	ck_assert_uint_eq(dlg_profile_size(TRUNK, NULL), LIMIT);
	for (unsigned i = 0; i <= LIMIT; i++)
		end_dialog(dlg[i]);
}

START_TEST(limits_hold_among_threads)
{
	struct sim_worker w[CROWD], r = { 0 };
	unsigned joined = 0;

	start_profiles(64);
	sim_workers_init(w, CROWD, 1);
	sim_workers_run(&r, 1, reader);
	sim_workers_run(w, CROWD, crowd);
	sim_workers_join(w, CROWD);
	atomic_store(&stop, 1);
	sim_workers_join(&r, 1);
	check_limits_held();
	for (unsigned i = 0; i < CROWD; i++)
		joined += w[i].count;
	ck_assert_uint_gt(joined, DIALOGS / 4);
	ck_assert_uint_eq(joined + dlg_profile_refusals(), CROWD * DIALOGS);
	check_profiles_empty();
	fill_up(&w[0]);
	check_profiles_empty();
}
END_TEST

START_TEST(limits_hold_among_processes)
{
	struct sim_worker w[CROWD];
	pid_t pid[CROWD];
	int status[CROWD];

	ck_assert_int_eq(sim_shm_share(), 0);
	start_profiles(64);
	sim_workers_init(w, CROWD, 1);
	for (unsigned i = 0; i < CROWD; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			crowd(&w[i]);
			_exit(sim_violated() != NULL);
		}
	}
	while (!all_ended(pid, status, CROWD))
		look_at_limits();
	for (int i = 0; i < CROWD; i++)
		ck_assert(WIFEXITED(status[i]) && WEXITSTATUS(status[i]) == 0);
	check_limits_held();
	check_profiles_empty();
	fill_up(&w[0]);
	check_profiles_empty();
}
END_TEST

/* Its second condition is never met: the first membership is always undone. */
static void *knocks_in_vain(void *arg)
{
	struct sim_worker *w = arg;
	struct dlg_profile_want wants[] = { { TRUNK, 1, DLG_STR("gw"), 1 },
					    { INBOUND, 0, DLG_STR_NONE, 0 } };
	struct dlg_cell *dlg = new_dialog(w, 0);

	while (!atomic_load(&stop))
		w->count += dlg_profile_join_limited(dlg, wants, 2) != 0;
	end_dialog(dlg);
	return NULL;
}

/* The only one who could ever be in there: never to be turned away. */
static void *has_a_right(void *arg)
{
	struct sim_worker *w = arg;
	struct dlg_profile_want want = { TRUNK, 1, DLG_STR("gw"), 1 };
	struct dlg_cell *dlg = new_dialog(w, 0);

	for (unsigned n = 0; n < 20000; n++) {
		w->count += dlg_profile_join_limited(dlg, &want, 1) == 1;
		dlg_profile_leave(dlg, TRUNK, NULL);
	}
	end_dialog(dlg);
	return NULL;
}

START_TEST(a_joining_that_is_undone_turns_nobody_away)
{
	struct sim_worker w[4];

	start_profiles(64);
	sim_workers_init(w, 4, 1);
	sim_workers_run(w + 1, 3, knocks_in_vain);
	sim_workers_run(w, 1, has_a_right);
	sim_workers_join(w, 1);
	atomic_store(&stop, 1);
	sim_workers_join(w + 1, 3);
	ck_assert_uint_eq(w[0].count, 20000);
	ck_assert_uint_eq(w[1].count + w[2].count + w[3].count, 0);
	check_profiles_empty();
}
END_TEST

/* Values below STAY are there all the time; others come and go. */
enum { STAY = 50, VALUES = 700 };

static struct dlg_str value_of(char text[16], unsigned n)
{
	snprintf(text, 16, "v%u", n);
	return dlg_str_of(text);
}

static void *comes_and_goes(void *arg)
{
	struct sim_worker *w = arg;
	struct dlg_cell *dlg = new_dialog(w, 0);
	char text[16];

	for (unsigned n = 0; n < 30000; n++) {
		struct dlg_str value = value_of(text, STAY + sim_pick(w, VALUES - STAY));

		if (sim_pick(w, 2))
			dlg_profile_join(dlg, CALLER, value);
		else if (sim_pick(w, 2))
			dlg_profile_leave(dlg, CALLER, &value);
		else
			dlg_profile_leave(dlg, CALLER, NULL);
	}
	end_dialog(dlg);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void note_values(const struct dlg_buf *page, unsigned *seen)
{
	for (size_t at = 0; at < page->len;) {
		struct dlg_profile_record r;
		char text[16] = "";

		memcpy(&r, page->s + at, sizeof(r));
		memcpy(text, page->s + at + sizeof(r), r.len < 15 ? r.len : 15);
		at += sizeof(r) + r.len;
		seen[atoi(text + 1) % VALUES]++;
	}
}

/* One walk, given up now and then; returns whether all that stay were seen once. */
static int walk_once(struct sim_worker *w)
{
	struct dlg_profile_cursor cur = { 0 };
	struct dlg_buf page = { 0 };
	unsigned seen[VALUES] = { 0 };
	int whole = sim_pick(w, 4) != 0, ok = 1;

	while (dlg_profile_page(CALLER, &cur, 1 + sim_pick(w, 90), &page)) {
		note_values(&page, seen);
		dlg_buf_reset(&page);
		if (!whole && sim_pick(w, 3) == 0)
			break;
	}
	dlg_profile_stop(&cur);
	dlg_buf_free(&page);
	for (unsigned i = 0; i < STAY; i++)
		ok &= whole ? seen[i] == 1 : seen[i] <= 1;
	return ok;
}

static void *walker(void *arg)
{
	struct sim_worker *w = arg;

	while (atomic_load(&running))
		w->count += !walk_once(w);
	return NULL;
}

START_TEST(walks_among_values_that_come_and_go)
{
	struct sim_worker w[WORKERS + 2];
	struct dlg_cell *dlg;
	char text[16];

	start_profiles(64);
	sim_workers_init(w, WORKERS + 2, 1);
	dlg = new_dialog(&w[WORKERS], 0);
	for (unsigned i = 0; i < STAY; i++)
		dlg_profile_join(dlg, CALLER, value_of(text, i));
	atomic_store(&running, WORKERS);
	sim_workers_run(w, WORKERS, comes_and_goes);
	sim_workers_run(w + WORKERS, 2, walker);
	sim_workers_join(w, WORKERS + 2);
	ck_assert_uint_eq(w[WORKERS].count + w[WORKERS + 1].count, 0); /* wrong walks */
	ck_assert_uint_eq(dlg_profile_values(CALLER), STAY);
	end_dialog(dlg);
	check_profiles_empty();
}
END_TEST

/* ---- the audit, while everything moves ---- */

static char result[32]; /* of the last dlg_audit */

static void mi_list(struct dlg_mi_out *out, const char *name)
{
	(void)out;
	(void)name;
}
static void mi_close(struct dlg_mi_out *out)
{
	(void)out;
}
static void mi_text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	(void)out;
	if (name && !strcmp(name, "result"))
		snprintf(result, sizeof(result), "%.*s", DLG_STR_ARG(value));
}
static void mi_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	(void)out;
	(void)name;
	(void)value;
}
static void mi_error(struct dlg_mi_out *out, int code, const char *reason)
{
	(void)out;
	(void)code;
	(void)reason;
}
static int mi_broken(struct dlg_mi_out *out)
{
	(void)out;
	return 0;
}

static const struct dlg_mi_ops mi_ops = {
	.open_list = mi_list, .close_list = mi_close, .open_node = mi_list, .close_node = mi_close,
	.attr = mi_text, .attr_number = mi_number, .text = mi_text, .number = mi_number,
	.error = mi_error, .broken = mi_broken,
};

static const char *audit(void)
{
	struct dlg_mi_out out = { .ops = &mi_ops, .status = 200 };

	dlg_mi_run(&dlg_mi_commands[DLG_MI_dlg_audit], &(struct dlg_mi_args){ 0 }, &out);
	return result;
}

/* As many join as leave, as many dialogs are born as end: counts hardly ever look different. */
static void *keeps_moving(void *arg)
{
	struct sim_worker *w = arg;
	struct dlg_cell *own[4] = { NULL };

	for (unsigned round = 0; !atomic_load(&stop); round++) {
		unsigned i = sim_pick(w, 4);

		end_dialog(own[i]);
		own[i] = new_dialog(w, round);
		dlg_profile_join(own[i], CALLER, DLG_STR("a"));
		dlg_profile_join(own[i], INBOUND, DLG_STR_NONE);
		i = sim_pick(w, 4);
		if (own[i] && dlg_profile_leave(own[i], CALLER, NULL))
			dlg_profile_join(own[i], CALLER, DLG_STR("a"));
	}
	for (unsigned i = 0; i < 4; i++)
		end_dialog(own[i]);
	return NULL;
}

START_TEST(the_audit_raises_no_false_alarm)
{
	struct sim_worker w[WORKERS];
	unsigned broken = 0;

	start_profiles(512); /* counting takes its time */
	sim_workers_init(w, WORKERS, 1);
	sim_workers_run(w, WORKERS, keeps_moving);
	for (int n = 0; n < 100; n++)
		broken += !strcmp(audit(), "broken");
	atomic_store(&stop, 1);
	sim_workers_join(w, WORKERS);
	ck_assert_msg(!broken, "%u of 100 audits say broken", broken);
	ck_assert_str_eq(audit(), "ok");
	check_profiles_empty();
}
END_TEST

int main(void)
{
	return unit_run("races",
			UNIT_TESTS{ workers_and_timer_side_by_side, memory_side_by_side,
				    processes_side_by_side, a_worker_dies_under_an_entry_lock,
				    a_worker_dies_when_it_empties_an_entry,
				    limits_hold_among_threads, limits_hold_among_processes,
				    a_joining_that_is_undone_turns_nobody_away,
				    walks_among_values_that_come_and_go,
				    the_audit_raises_no_false_alarm, NULL },
			120);
}

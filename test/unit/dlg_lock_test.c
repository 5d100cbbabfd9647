/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_lock.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

static struct shared {
	struct dlg_lock lock;
	unsigned count;
} * shared;

static void init(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	ck_assert(shared != MAP_FAILED);
	ck_assert_int_eq(dlg_lock_init(&shared->lock), 0);
}

START_TEST(held_says_what_this_process_owns)
{
	struct dlg_lock leaf;

	init();
	ck_assert_int_eq(dlg_lock_init(&leaf), 0);
	ck_assert_int_eq(dlg_lock_held(), 0);
	dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
	ck_assert_int_ne(dlg_lock_held(), 0);
	dlg_lock_get(&leaf, DLG_LOCK_LEAF);
	dlg_lock_put(&leaf, DLG_LOCK_LEAF);
	ck_assert_int_ne(dlg_lock_held(), 0);
	dlg_lock_put(&shared->lock, DLG_LOCK_ENTRY);
	ck_assert_int_eq(dlg_lock_held(), 0);
}
END_TEST

static void count_under_lock(void)
{
	for (int i = 0; i < 20000; i++) {
		dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
		shared->count++;
		dlg_lock_put(&shared->lock, DLG_LOCK_ENTRY);
	}
	_exit(0);
}

START_TEST(processes_exclude_each_other)
{
	init();
	for (int i = 0; i < 4; i++) {
		if (!fork())
			count_under_lock();
	}
	for (int i = 0; i < 4; i++)
		ck_assert_int_gt(wait(NULL), 0);
	ck_assert_uint_eq(shared->count, 80000);
	ck_assert_uint_eq(dlg_lock_takeovers(), 0);
}
END_TEST

START_TEST(a_dead_owner_is_taken_over)
{
	int status;
	pid_t pid;

	init();
	pid = fork();
	if (!pid) {
		dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
	ck_assert_uint_eq(dlg_lock_takeovers(), 1);
	dlg_lock_put(&shared->lock, DLG_LOCK_ENTRY);
	dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
	dlg_lock_put(&shared->lock, DLG_LOCK_ENTRY);
	ck_assert_uint_eq(dlg_lock_takeovers(), 1);
}
END_TEST

/* The host's main process waits for its children before it stops us; a test need not. */
START_TEST(an_owner_that_nobody_waited_for_is_taken_over)
{
	siginfo_t info;
	pid_t pid;

	init();
	pid = fork();
	if (!pid) {
		dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
		_exit(0);
	}
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
	ck_assert_uint_eq(dlg_lock_takeovers(), 1);
	dlg_lock_put(&shared->lock, DLG_LOCK_ENTRY);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* Longer than a sleeper's patience: a slow owner is no dead one. */
START_TEST(a_slow_owner_keeps_the_lock)
{
	int status;
	pid_t pid;

	init();
	pid = fork();
	if (!pid) {
		while (!__atomic_load_n(&shared->lock.word, __ATOMIC_ACQUIRE))
			poll(NULL, 0, 1);
		dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
		_exit(shared->count == 1 && dlg_lock_takeovers() == 0 ? 0 : 1);
	}
	dlg_lock_get(&shared->lock, DLG_LOCK_ENTRY);
	poll(NULL, 0, 350);
	shared->count = 1;
	dlg_lock_put(&shared->lock, DLG_LOCK_ENTRY);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

#ifdef DLG_DEBUG
static void break_order(enum dlg_lock_kind first, enum dlg_lock_kind second)
{
	struct dlg_lock other;
	int status;
	pid_t pid = fork();

	if (!pid) {
		fclose(stderr);
		dlg_lock_init(&other);
		dlg_lock_get(&shared->lock, first);
		dlg_lock_get(&other, second);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

START_TEST(debug_builds_check_the_order)
{
	init();
	break_order(DLG_LOCK_ENTRY, DLG_LOCK_ENTRY);
	break_order(DLG_LOCK_LEAF, DLG_LOCK_LEAF);
	break_order(DLG_LOCK_LEAF, DLG_LOCK_ENTRY);
}
END_TEST
#endif

int main(void)
{
	return unit_run("dlg_lock",
			UNIT_TESTS{ held_says_what_this_process_owns, processes_exclude_each_other,
				    a_dead_owner_is_taken_over,
			    an_owner_that_nobody_waited_for_is_taken_over,
			    a_slow_owner_keeps_the_lock,
#ifdef DLG_DEBUG
				    debug_builds_check_the_order,
#endif
				    NULL },
			20);
}

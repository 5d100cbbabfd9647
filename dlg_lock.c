/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The word of a lock: 0, or its owner's thread id, with a mark when others sleep. */
#define SLEEPERS 0x80000000u

enum {
	SPINS = 100,   /* looks before sleeping: a section is a few hundred instructions */
	LOOK_MS = 100, /* a sleeper asks that often whether the owner is still there */
};

static DLG_LOCK_PROCESS_LOCAL struct own {
	int held;    /* or-ed enum dlg_lock_kind */
	uint32_t id; /* thread id; 0 not asked for yet */
} own;
static uint32_t own_takeovers, *takeovers = &own_takeovers;

static void forget_self(void)
{
	own.id = 0;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, forget_self);
}

int dlg_lock_init(struct dlg_lock *lock)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (pthread_once(&once, watch_forks))
		return -1;
	lock->word = 0;
	return 0;
}

#ifdef DLG_DEBUG
static void check_order(int held, enum dlg_lock_kind kind)
{
	if (held >= (int)kind) {
		fprintf(stderr, "lock order broken: held %d, wants %d\n", held, (int)kind);
		abort();
	}
}
#else
#define check_order(held, kind) ((void)0)
#endif

/* ---- the slow way ---- */

static int replace(struct dlg_lock *lock, uint32_t old, uint32_t fresh)
{
	return __atomic_compare_exchange_n(&lock->word, &old, fresh, 0, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static uint32_t look(const struct dlg_lock *lock)
{
	return __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
}

static int spin(struct dlg_lock *lock, uint32_t self)
{
	for (int i = 0; i < SPINS; i++) {
		if (!look(lock) && replace(lock, 0, self))
			return 1;
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	}
	return 0;
}

/* Dead, but its parent has not asked for its status yet? */
static int is_zombie(uint32_t id)
{
	char path[32], text[512], *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", (unsigned)id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	state = strrchr(text, ')');
	return state && state[1] && (state[2] == 'Z' || state[2] == 'X');
}

static int is_gone(uint32_t id)
{
	if (syscall(SYS_tkill, (pid_t)id, 0) < 0)
		return errno == ESRCH;
	return is_zombie(id);
}

/* Sleep until somebody gives the lock back, for a while. */
static int wait_while(struct dlg_lock *lock, uint32_t word)
{
	struct timespec patience = { 0, LOOK_MS * 1000000L };

	return syscall(SYS_futex, &lock->word, FUTEX_WAIT, word, &patience, NULL, 0) < 0 &&
	       errno == ETIMEDOUT;
}

/* The owner has held it for long. Nonzero when it is ours now. */
static int take_over(struct dlg_lock *lock, uint32_t word, uint32_t self)
{
	if (look(lock) != word || !is_gone(word & ~SLEEPERS) ||
	    !replace(lock, word, self | SLEEPERS))
		return 0;
	__atomic_fetch_add(takeovers, 1, __ATOMIC_RELAXED);
	return 1;
}

/* Who has slept does not know who else sleeps: it leaves the mark. */
static void get_slowly(struct dlg_lock *lock, uint32_t self)
{
	if (spin(lock, self))
		return;
	for (;;) {
		uint32_t word = look(lock);

		if (!word) {
			if (replace(lock, 0, self | SLEEPERS))
				return;
		} else if (!(word & SLEEPERS)) {
			replace(lock, word, word | SLEEPERS);
		} else if (wait_while(lock, word) && take_over(lock, word, self)) {
			return;
		}
	}
}

/* ---- the lock ---- */

void dlg_lock_get(struct dlg_lock *lock, enum dlg_lock_kind kind)
{
	check_order(own.held, kind);
	if (!own.id)
		own.id = (uint32_t)syscall(SYS_gettid);
	if (!replace(lock, 0, own.id))
		get_slowly(lock, own.id);
	own.held |= (int)kind;
}

void dlg_lock_put(struct dlg_lock *lock, enum dlg_lock_kind kind)
{
	own.held &= ~(int)kind;
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) & SLEEPERS)
		syscall(SYS_futex, &lock->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void dlg_lock_count_takeovers(uint32_t *counter)
{
	takeovers = counter;
}

uint32_t dlg_lock_takeovers(void)
{
	return __atomic_load_n(takeovers, __ATOMIC_RELAXED);
}

int dlg_lock_held(void)
{
	return own.held != 0;
}

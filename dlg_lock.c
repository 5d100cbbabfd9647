/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_lock.h"

#include <errno.h>
#include <stdlib.h>

#ifdef DLG_DEBUG
#include <stdio.h>
#endif

static _Thread_local int held;      /* or-ed enum dlg_lock_kind, of this thread */
static uint32_t own_takeovers, *takeovers = &own_takeovers;

int dlg_lock_init(struct dlg_lock *lock)
{
	pthread_mutexattr_t attr;
	int err;

	if (pthread_mutexattr_init(&attr))
		return -1;
	err = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	      pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) ||
	      pthread_mutex_init(&lock->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	return err ? -1 : 0;
}

#ifdef DLG_DEBUG
static void check_order(enum dlg_lock_kind kind)
{
	if (held >= (int)kind) {
		fprintf(stderr, "lock order broken: held %d, wants %d\n", held, (int)kind);
		abort();
	}
}
#else
#define check_order(kind) ((void)0)
#endif

void dlg_lock_get(struct dlg_lock *lock, enum dlg_lock_kind kind)
{
	check_order(kind);
	if (pthread_mutex_lock(&lock->mutex) == EOWNERDEAD) {
		pthread_mutex_consistent(&lock->mutex);
		__atomic_fetch_add(takeovers, 1, __ATOMIC_RELAXED);
	}
	held |= (int)kind;
}

void dlg_lock_put(struct dlg_lock *lock, enum dlg_lock_kind kind)
{
	held &= ~(int)kind;
	pthread_mutex_unlock(&lock->mutex);
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
	return held != 0;
}

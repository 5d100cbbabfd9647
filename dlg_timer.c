/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_timer.h"

#include "dlg_handlers.h"
#include "dlg_hash.h"
#include "host/host.h"

enum {
	SHARDS = 16,   /* by table entry: workers rarely meet */
	SLOTS = 1024,  /* a lifetime of hours goes round the wheel several times */
	BATCH = 64,    /* due dialogs looked at per taking of a shard's lock */
};

struct shard {
	struct dlg_lock lock;
	uint32_t done;  /* ticks up to this one are processed */
	uint32_t armed;
	struct dlg_timer_link *slot[SLOTS];
};

static struct shard *wheel; /* [SHARDS], shared */

static uint32_t tick_now(void)
{
	return (uint32_t)(host_mono_ms() / 1000);
}

int dlg_timer_init(void)
{
	wheel = host_shm_alloc(SHARDS * sizeof(*wheel));
	if (!wheel)
		return -1;
	memset(wheel, 0, SHARDS * sizeof(*wheel));
	for (int i = 0; i < SHARDS; i++) {
		wheel[i].done = tick_now();
		if (dlg_lock_init(&wheel[i].lock) < 0)
			return -1;
	}
	return 0;
}

uint32_t dlg_timer_after(uint64_t seconds)
{
	uint64_t tick = (host_mono_ms() + 999) / 1000 + seconds;

	return tick < UINT32_MAX ? (uint32_t)tick : UINT32_MAX;
}

uint32_t dlg_timer_left(uint32_t deadline)
{
	uint32_t now = tick_now();

	return deadline > now ? deadline - now : 0;
}

static void unlink_locked(struct shard *sh, struct dlg_timer_link *l)
{
	if (!l->armed)
		return;
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
	l->next = NULL;
	l->prev = NULL;
	l->armed = 0;
	sh->armed--;
}

static void link_locked(struct shard *sh, struct dlg_timer_link *l)
{
	struct dlg_timer_link **head;

	/* a slot that was processed already would be met only after a whole turn */
	if (l->deadline <= sh->done)
		l->deadline = sh->done + 1;
	head = &sh->slot[l->deadline % SLOTS];
	l->next = *head;
	l->prev = head;
	if (l->next)
		l->next->prev = &l->next;
	*head = l;
	l->armed = 1;
	sh->armed++;
}

void dlg_timer_arm_locked(struct dlg_cell *dlg, uint32_t deadline)
{
	struct shard *sh = &wheel[dlg->h_entry % SHARDS];

	dlg_lock_get(&sh->lock, DLG_LOCK_LEAF);
	unlink_locked(sh, &dlg->timer);
	dlg->timer.deadline = deadline;
	link_locked(sh, &dlg->timer);
	dlg_lock_put(&sh->lock, DLG_LOCK_LEAF);
}

void dlg_timer_disarm_locked(struct dlg_cell *dlg)
{
	struct shard *sh = &wheel[dlg->h_entry % SHARDS];

	dlg_lock_get(&sh->lock, DLG_LOCK_LEAF);
	unlink_locked(sh, &dlg->timer);
	dlg_lock_put(&sh->lock, DLG_LOCK_LEAF);
}

struct due {
	uint32_t h_entry, h_id;
};

/* Names of up to BATCH dialogs due at `tick`. With none left the tick is done. */
static unsigned collect(struct shard *sh, uint32_t tick, struct due *due)
{
	unsigned n = 0;

	dlg_lock_get(&sh->lock, DLG_LOCK_LEAF);
	for (struct dlg_timer_link *l = sh->slot[tick % SLOTS]; l && n < BATCH; l = l->next) {
		struct dlg_cell *dlg;

		if (l->deadline > tick)
			continue;
		dlg = (struct dlg_cell *)((char *)l - offsetof(struct dlg_cell, timer));
		due[n++] = (struct due){ dlg->h_entry, dlg->h_id };
	}
	if (!n)
		sh->done = tick;
	dlg_lock_put(&sh->lock, DLG_LOCK_LEAF);
	return n;
}

/* Every dialog handed over is re-armed beyond `tick` or freed by its handler, so that this ends. */
static unsigned run_tick(struct shard *sh, uint32_t tick)
{
	struct due due[BATCH];
	unsigned n, total = 0;

	while ((n = collect(sh, tick, due)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			struct dlg_cell *dlg =
				dlg_hash_get(due[i].h_entry, due[i].h_id, DLG_BY_LOCAL);

			if (dlg)
				dlg_handlers_on_timeout(dlg);
		}
		total += n;
	}
	return total;
}

unsigned dlg_timer_tick(void)
{
	uint32_t now = tick_now();
	unsigned total = 0;

	for (int i = 0; i < SHARDS; i++) {
		/* only the timer process writes `done` */
		while (wheel[i].done < now)
			total += run_tick(&wheel[i], wheel[i].done + 1);
	}
	return total;
}

void dlg_timer_get_info(struct dlg_timer_info *out)
{
	uint32_t now = tick_now();

	*out = (struct dlg_timer_info){ 0 };
	for (int i = 0; i < SHARDS; i++) {
		dlg_lock_get(&wheel[i].lock, DLG_LOCK_LEAF);
		out->armed += wheel[i].armed;
		if (now > wheel[i].done && now - wheel[i].done > out->lag)
			out->lag = now - wheel[i].done;
		dlg_lock_put(&wheel[i].lock, DLG_LOCK_LEAF);
	}
}

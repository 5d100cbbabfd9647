/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_timer.h"

#include "dialog.h"
#include "dlg_handlers.h"
#include "dlg_hash.h"
#include "host/host.h"

#include <limits.h>

enum {
	SHARDS = 16,   /* of a wheel, by table entry: workers rarely meet */
	SLOTS = 1024,  /* a lifetime of hours goes round the wheel several times */
	BATCH = 64,    /* due dialogs looked at per taking of a shard's lock */
	ROW = 16,      /* calls ended with BYE between two rests */
	SPREAD_MS = 750, /* over which a full tick's BYEs go: the rest of the second is for the work */
};

struct shard {
	struct dlg_lock lock;
	uint32_t done;  /* ticks up to this one are processed */
	uint32_t armed;
	struct dlg_timer_link *slot[SLOTS];
};

enum wheel { USUAL, PATIENT, WHEELS };
enum { ALL = WHEELS * SHARDS };

static struct shard *wheels; /* [ALL], those of a wheel in a row; shared */

uint32_t dlg_timer_now(void)
{
	return (uint32_t)(host_mono_ms() / 1000);
}

int dlg_timer_init(void)
{
	wheels = host_shm_alloc(ALL * sizeof(*wheels));
	if (!wheels)
		return -1;
	memset(wheels, 0, ALL * sizeof(*wheels));
	for (int i = 0; i < ALL; i++) {
		wheels[i].done = dlg_timer_now();
		if (dlg_lock_init(&wheels[i].lock) < 0)
			return -1;
	}
	return 0;
}

uint32_t dlg_timer_after(uint64_t seconds)
{
	uint64_t tick = (host_mono_ms() + 999) / 1000 + seconds;

	return tick < UINT32_MAX ? (uint32_t)tick : UINT32_MAX;
}

uint32_t dlg_timer_next(void)
{
	return dlg_timer_now() + 1;
}

uint32_t dlg_timer_left(uint32_t deadline)
{
	uint32_t now = dlg_timer_now();

	return deadline > now ? deadline - now : 0;
}

static void slot_take_locked(struct dlg_timer_link *l)
{
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
}

static void unlink_locked(struct shard *sh, struct dlg_timer_link *l)
{
	slot_take_locked(l);
	l->next = NULL;
	l->prev = NULL;
	l->armed = 0;
	sh->armed--;
}

static void slot_put_locked(struct shard *sh, struct dlg_timer_link *l, uint32_t tick)
{
	struct dlg_timer_link **head = &sh->slot[tick % SLOTS];

	l->next = *head;
	l->prev = head;
	if (l->next)
		l->next->prev = &l->next;
	*head = l;
}

static void link_locked(struct shard *sh, struct dlg_timer_link *l)
{
	/* a slot that was processed already would be met only after a whole turn */
	if (l->deadline <= sh->done)
		l->deadline = sh->done + 1;
	slot_put_locked(sh, l, l->deadline);
	l->armed = 1;
	sh->armed++;
}

/* Where it is, or will be. */
static struct shard *shard_of(const struct dlg_cell *dlg)
{
	return &wheels[dlg->timer.patient * SHARDS + dlg->h_entry % SHARDS];
}

void dlg_timer_disarm_locked(struct dlg_cell *dlg)
{
	struct shard *sh = shard_of(dlg);

	if (!dlg->timer.armed)
		return;
	dlg_lock_get(&sh->lock, DLG_LOCK_LEAF);
	unlink_locked(sh, &dlg->timer);
	dlg_lock_put(&sh->lock, DLG_LOCK_LEAF);
}

static void arm_in(enum wheel which, struct dlg_cell *dlg, uint32_t deadline)
{
	struct shard *sh;

	if (dlg->timer.patient != which) {
		dlg_timer_disarm_locked(dlg);
		dlg->timer.patient = which;
	}
	sh = shard_of(dlg);
	dlg_lock_get(&sh->lock, DLG_LOCK_LEAF);
	if (dlg->timer.armed)
		unlink_locked(sh, &dlg->timer);
	dlg->timer.deadline = deadline;
	link_locked(sh, &dlg->timer);
	dlg_lock_put(&sh->lock, DLG_LOCK_LEAF);
}

void dlg_timer_arm_locked(struct dlg_cell *dlg, uint32_t deadline)
{
	arm_in(USUAL, dlg, deadline);
}

void dlg_timer_pass_on_locked(struct dlg_cell *dlg)
{
	arm_in(PATIENT, dlg, dlg_timer_now());
}

/* ---- the tick ---- */

/* The BYEs of 20,000 calls that run out together, and their answers, would be in the way of
 * everybody else's messages: they go out at a rate. */
struct pace {
	unsigned left; /* calls that may be ended with BYE in this tick */
	unsigned row;  /* ended so since the last rest */
	unsigned rest_ms;
};

static struct pace pace_of(unsigned rate)
{
	return (struct pace){ .left = rate ? rate : UINT_MAX,
			      .rest_ms = rate ? ROW * SPREAD_MS / rate : 0 };
}

static void end_with_bye(struct pace *p)
{
	p->left--;
	if (++p->row < ROW)
		return;
	p->row = 0;
	if (p->rest_ms)
		host_pause(p->rest_ms);
}

struct due {
	uint32_t h_entry, h_id;
};

static struct due name_of(const struct dlg_timer_link *l)
{
	const struct dlg_cell *dlg =
		(const struct dlg_cell *)((const char *)l - offsetof(struct dlg_cell, timer));

	return (struct due){ dlg->h_entry, dlg->h_id };
}

/* Names of up to BATCH dialogs due at `tick`, which go on to the next one: if nothing comes of them
 * (the table does not find one), they are due again in a second, and not in this tick for ever.
 * With none left the tick is done. */
static unsigned collect(struct shard *sh, uint32_t tick, struct due *due)
{
	struct dlg_timer_link *l, *next;
	unsigned n = 0;

	dlg_lock_get(&sh->lock, DLG_LOCK_LEAF);
	for (l = sh->slot[tick % SLOTS]; l && n < BATCH; l = next) {
		next = l->next;
		if (l->deadline > tick)
			continue;
		slot_take_locked(l);
		slot_put_locked(sh, l, tick + 1);
		due[n++] = name_of(l);
	}
	if (!n)
		sh->done = tick;
	dlg_lock_put(&sh->lock, DLG_LOCK_LEAF);
	return n;
}

/* Every dialog that was handed over is beyond `tick`, so that this ends. */
static unsigned run_tick(struct shard *sh, uint32_t tick, enum wheel which, struct pace *pace)
{
	struct due due[BATCH];
	unsigned n, total = 0;

	while ((n = collect(sh, tick, due)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			struct dlg_cell *dlg =
				dlg_hash_get(due[i].h_entry, due[i].h_id, DLG_BY_LOCAL);

			if (dlg && dlg_handlers_on_timeout(dlg, pace->left > 0, which == PATIENT))
				end_with_bye(pace);
		}
		total += n;
	}
	return total;
}

/* Once for a time in which calls have to wait. */
static void say_when_full(const struct pace *p)
{
	static DLG_LOCK_PROCESS_LOCAL int said;

	if (!p->left && !said)
		HOST_LOG(HOST_NOTICE, "more calls have run out than timeout_bye_rate (%d): the others "
				      "get their BYEs in the next seconds",
			 dialog_conf.timeout_bye_rate);
	said = !p->left;
}

static unsigned run_wheel(enum wheel which)
{
	struct pace pace = pace_of((unsigned)dialog_conf.timeout_bye_rate);
	uint32_t now = dlg_timer_now();
	unsigned total = 0;

	for (uint32_t i = 0; i < SHARDS; i++) {
		/* each is the first in its turn */
		struct shard *sh = &wheels[which * SHARDS + (now + i) % SHARDS];

		/* only the wheel's process writes `done` */
		while (sh->done < now)
			total += run_tick(sh, sh->done + 1, which, &pace);
	}
	say_when_full(&pace);
	return total;
}

unsigned dlg_timer_tick(void)
{
	return run_wheel(USUAL);
}

unsigned dlg_timer_tick_patient(void)
{
	return run_wheel(PATIENT);
}

void dlg_timer_get_info(struct dlg_timer_info *out)
{
	uint32_t now = dlg_timer_now();

	*out = (struct dlg_timer_info){ 0 };
	for (int i = 0; i < ALL; i++) {
		struct shard *sh = &wheels[i];

		dlg_lock_get(&sh->lock, DLG_LOCK_LEAF);
		out->armed += sh->armed;
		if (i < SHARDS && now > sh->done && now - sh->done > out->lag)
			out->lag = now - sh->done;
		dlg_lock_put(&sh->lock, DLG_LOCK_LEAF);
	}
}

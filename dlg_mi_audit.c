/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the whole: dlg_audit and dlg_stats. */
#include "dlg_mi.h"

#include "dlg_db_handler.h"
#include "dlg_hash.h"
#include "dlg_mem.h"
#include "host/host.h"

#include <stdio.h>

enum {
	AUDIT_TRIES = 50,
	OVERDUE_S = 3, /* the wheel may be late by a tick, and who acts on it by another */
};

/* ---- audit ---- */

/* The counters, and the same things counted again in the table and the wheel. */
struct audit {
	uint32_t gauge[DLG_STATES];
	struct dlg_hash_census census;
	struct dlg_timer_info wheel;
	struct dlg_profile_census profiles;
	int quiet; /* nothing moved meanwhile */
	int agree;
};

/* What only grows: with it equal gauges are not those of as many calls that came as went. */
static uint64_t movements(void)
{
	return __atomic_load_n(&dlg_state_counters()->processed, __ATOMIC_SEQ_CST) +
	       dlg_profile_moves();
}

/* Gauges and profile counters. */
static void read_counters(uint32_t gauge[DLG_STATES], struct dlg_profile_census *profiles)
{
	for (int i = 0; i < DLG_STATES; i++)
		gauge[i] = __atomic_load_n(&dlg_state_counters()->gauge[i], __ATOMIC_SEQ_CST);
	dlg_profile_census_counters(profiles);
}

static int same_profiles(const struct dlg_profile_census *a, const struct dlg_profile_census *b)
{
	return a->members == b->members && a->print == b->print;
}

static void audit_once(struct audit *a)
{
	struct dlg_profile_census profiles;
	uint32_t after[DLG_STATES];
	uint64_t before = movements();

	read_counters(a->gauge, &a->profiles);
	dlg_hash_count(&a->census);
	dlg_timer_get_info(&a->wheel);
	read_counters(after, &profiles);
	a->quiet = !memcmp(a->gauge, after, sizeof(after)) &&
		   same_profiles(&a->profiles, &profiles) && before == movements();
	a->agree = !memcmp(a->gauge, a->census.by_state, sizeof(after)) &&
		   a->census.armed == a->census.cells && a->wheel.armed == a->census.cells &&
		   same_profiles(&a->profiles, &a->census.profiles) && !a->census.misplaced;
}

/* Calls go on while we count: only a disagreement at a moment when nothing moved proves
 * anything. */
static const char *audit(struct audit *a)
{
	for (int tries = 0; tries < AUDIT_TRIES; tries++) {
		audit_once(a);
		if (a->agree)
			return "ok";
		if (a->quiet && tries > 2)
			return "broken";
	}
	return "busy, try again";
}

static void write_memory(struct dlg_mi_out *out)
{
	struct dlg_mem_info mem;

	dlg_mem_get_info(&mem);
	out->ops->number(out, "memory_pieces", (int64_t)mem.pieces);
	out->ops->number(out, "memory_bytes", (int64_t)mem.piece_bytes);
	out->ops->number(out, "memory_held", (int64_t)mem.chunk_bytes);
}

static void write_total(struct dlg_mi_out *out, const char *name, const uint64_t *total)
{
	out->ops->number(out, name, (int64_t)__atomic_load_n(total, __ATOMIC_RELAXED));
}

static void write_counters(struct dlg_mi_out *out)
{
	const struct dlg_counters *c = dlg_state_counters();

	write_total(out, "processed", &c->processed);
	write_total(out, "restored", &c->restored);
	write_total(out, "failed", &c->failed);
	write_total(out, "expired", &c->expired);
	write_total(out, "refused", &c->refused);
	write_total(out, "forged", &c->forged);
	write_total(out, "overdue", &c->overdue);
	out->ops->number(out, "limited", (int64_t)dlg_profile_refusals());
	out->ops->number(out, "lock_takeovers", dlg_lock_takeovers());
}

static const char *const state_names[DLG_STATES] = {
	"none", "unconfirmed", "early", "confirmed_na", "confirmed", "deleted",
};

static void write_census(struct dlg_mi_out *out, const struct audit *a)
{
	char name[48];

	out->ops->number(out, "dialogs", a->census.cells);
	for (int i = DLG_STATE_UNCONFIRMED; i < DLG_STATES; i++) {
		out->ops->number(out, state_names[i], a->census.by_state[i]);
		snprintf(name, sizeof(name), "%s_gauge", state_names[i]);
		out->ops->number(out, name, a->gauge[i]);
	}
	out->ops->number(out, "timers_armed", (int64_t)a->wheel.armed);
	out->ops->number(out, "timer_lag", a->wheel.lag);
	out->ops->number(out, "members", (int64_t)a->census.profiles.members);
	out->ops->number(out, "members_gauge", (int64_t)a->profiles.members);
	out->ops->number(out, "misplaced", a->census.misplaced);
	out->ops->number(out, "fullest_entry", a->census.fullest);
	for (int i = DLG_BY_TRANSACTION; i < DLG_BY_LOCAL; i++) {
		snprintf(name, sizeof(name), "held_by_%s",
			 dlg_hash_holder_name((enum dlg_holder)i));
		out->ops->number(out, name, a->census.refs[i]);
	}
}

/* ---- dialogs beyond their deadline ---- */

/* Seconds beyond it; 0: it is in time. Entry lock held. */
static uint32_t overdue_locked(const struct dlg_cell *dlg)
{
	uint32_t now = dlg_timer_after(0), deadline = dlg->timer.deadline;

	if (dlg->flags & DLG_F_LINGER_OVER) /* only a holder keeps it */
		deadline = dlg->expires - DLG_STATE_OVERDUE_S;
	return now > deadline && now - deadline > OVERDUE_S ? now - deadline : 0;
}

static int is_overdue(const struct dlg_cell *dlg, void *arg)
{
	(void)arg;
	return overdue_locked(dlg) != 0;
}

static void write_overdue(struct dlg_mi_out *out, struct dlg_cell *dlg)
{
	char holders[96];
	uint32_t seconds;
	int state;

	dlg_hash_lock(dlg);
	seconds = overdue_locked(dlg);
	state = dlg->state;
	dlg_hash_unlock(dlg);
	dlg_hash_holders(dlg, holders, sizeof(holders));
	dlg_mi_open_dialog(out, "overdue_dialog", dlg);
	out->ops->text(out, "callid", dlg_hash_text(dlg, DLG_CALL_ID));
	out->ops->number(out, "state", state);
	out->ops->number(out, "seconds", seconds);
	out->ops->text(out, "held_by", dlg_str_of(holders));
	out->ops->close_node(out);
}

static void list_overdue(struct dlg_mi_out *out)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *dlg;

	out->ops->open_list(out, "overdue_dialogs");
	for (unsigned n = 0; (!out->page || n < out->page) && !out->ops->broken(out) &&
			     dlg_hash_page_of(&cur, &dlg, 1, is_overdue, NULL, DLG_BY_LOCAL);
	     n++) {
		write_overdue(out, dlg);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
	out->ops->close_list(out);
}

void dlg_mi_run_dlg_audit(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	struct audit a;
	const char *result = audit(&a);

	(void)args;
	out->ops->open_node(out, "audit");
	out->ops->attr(out, "result", dlg_str_of(result));
	write_census(out, &a);
	write_counters(out);
	write_memory(out);
	list_overdue(out);
	out->ops->close_node(out);
}

/* ---- figures that cost nothing ---- */

static void write_gauges(struct dlg_mi_out *out)
{
	const uint32_t *gauge = dlg_state_counters()->gauge;

	for (int i = DLG_STATE_UNCONFIRMED; i < DLG_STATES; i++)
		out->ops->number(out, state_names[i], __atomic_load_n(&gauge[i], __ATOMIC_RELAXED));
}

static void write_reasons(struct dlg_mi_out *out)
{
	const struct dlg_counters *c = dlg_state_counters();

#define X(name, what) write_total(out, "ended_" #name, &c->ended[DLG_REASON_##name]);
	DLG_REASONS(X)
#undef X
}

static void write_table(struct dlg_mi_out *out)
{
	struct dlg_timer_info wheel;
	uint32_t used, fullest;

	dlg_hash_fill(&used, &fullest);
	dlg_timer_get_info(&wheel);
	out->ops->number(out, "hash_size", dlg_hash_size());
	out->ops->number(out, "entries_used", used);
	out->ops->number(out, "fullest_entry", fullest);
	out->ops->number(out, "timers_armed", (int64_t)wheel.armed);
	out->ops->number(out, "timer_lag", wheel.lag);
}

static void write_database(struct dlg_mi_out *out)
{
	struct dlg_db_info info;

	dlg_db_get_info(&info);
#define X(name, what) out->ops->number(out, "db_" #name, (int64_t)info.name);
	DLG_DB_FIGURES(X)
#undef X
}

static void write_profile_totals(struct dlg_mi_out *out)
{
	uint64_t members = 0, values = 0;

	for (int i = 0; i < dlg_profile_count(); i++) {
		members += dlg_profile_size(i, NULL);
		values += dlg_profile_values(i);
	}
	out->ops->number(out, "profile_members", (int64_t)members);
	out->ops->number(out, "profile_values", (int64_t)values);
}

void dlg_mi_run_dlg_stats(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	(void)args;
	out->ops->open_node(out, "stats");
	out->ops->number(out, "uptime", (int64_t)dlg_state_uptime());
	write_gauges(out);
	write_counters(out);
	write_reasons(out);
	write_table(out);
	write_memory(out);
	write_profile_totals(out);
	write_database(out);
	out->ops->close_node(out);
}

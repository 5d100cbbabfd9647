/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_audit.h"

#include "../../dlg_lock.h"
#include "../../dlg_mem.h"

#include <sys/types.h>

unsigned sim_audit_api_refs;

static struct {
	struct dlg_counters totals;
	struct dlg_mem_info mem;
	size_t shm_blocks;
} start;
static struct dlg_counters seen;

void sim_audit_begin(void)
{
	seen = *dlg_state_counters();
	start.totals = seen;
	dlg_mem_get_info(&start.mem);
	start.shm_blocks = sim_shm.blocks;
	sim_audit_api_refs = 0;
}

static void check_locks(void)
{
	if (dlg_lock_held())
		sim_violation("lock: one is still held after the step");
	if (dlg_lock_takeovers())
		sim_violation("lock: taken over from a dead owner");
}

static void check_gauges(const struct dlg_hash_census *c)
{
	const struct dlg_counters *n = dlg_state_counters();

	for (int s = DLG_STATE_UNCONFIRMED; s < DLG_STATES; s++) {
		if (n->gauge[s] != c->by_state[s])
			sim_violation("gauge: state %d counts %u, the table has %u", s, n->gauge[s],
				      c->by_state[s]);
	}
	if (dialog_stat_active_dialogs() !=
	    c->by_state[DLG_STATE_CONFIRMED_NA] + c->by_state[DLG_STATE_CONFIRMED])
		sim_violation("gauge: active_dialogs is wrong");
	if (dialog_stat_early_dialogs() != c->by_state[DLG_STATE_EARLY])
		sim_violation("gauge: early_dialogs is wrong");
	if (c->by_state[DLG_STATE_NONE])
		sim_violation("table: a cell without a state is linked");
}

static void check_totals(void)
{
	const struct dlg_counters *n = dlg_state_counters();

	if (n->processed < seen.processed || n->failed < seen.failed || n->expired < seen.expired ||
	    n->refused < seen.refused || n->forged < seen.forged || n->overdue < seen.overdue)
		sim_violation("total: one went back");
	if (n->processed != dialog_stat_processed_dialogs() ||
	    n->failed != dialog_stat_failed_dialogs() ||
	    n->expired != dialog_stat_expired_dialogs())
		sim_violation("total: statistics differ from the counters");
	if (n->failed + n->expired > n->processed)
		sim_violation("total: more calls failed and expired than there were");
	seen = *n;
}

/* Every dialog that began goes on, or has ended for one of the reasons. */
static void check_reasons(const struct dlg_hash_census *c)
{
	const struct dlg_counters *n = dlg_state_counters();
	uint64_t known = 0;

	for (int s = DLG_STATE_UNCONFIRMED; s < DLG_STATE_DELETED; s++)
		known += c->by_state[s];
	for (int reason = 0; reason < DLG_REASON_N; reason++)
		known += n->ended[reason];
	if (n->processed != known)
		sim_violation("total: %u dialogs began, %u go on or have ended",
			      (unsigned)n->processed, (unsigned)known);
}

/* ---- profiles ---- */

static void check_census(const struct dlg_profile_census *table)
{
	struct dlg_profile_census counters;

	dlg_profile_census_counters(&counters);
	if (counters.members != table->members || counters.print != table->print)
		sim_violation("profile: %u memberships counted, the dialogs have %u",
			      (unsigned)counters.members, (unsigned)table->members);
}

/* Each value of the profile has at most `limit` members. */
static void check_values(int profile, uint32_t limit)
{
	struct dlg_profile_cursor cur = { 0 };
	struct dlg_profile_record r;
	static struct dlg_buf page;

	for (dlg_buf_reset(&page); dlg_profile_page(profile, &cur, 100, &page);)
		;
	for (size_t at = 0; at < page.len; at += sizeof(r) + r.len) {
		memcpy(&r, page.s + at, sizeof(r));
		if (r.members > limit)
			sim_violation("profile: a value has %u members, its limit is %u", r.members,
				      limit);
	}
}

static void check_total(int profile, uint32_t limit)
{
	if (dlg_profile_size(profile, NULL) > limit)
		sim_violation("profile: %u members, the limit is %u",
			      dlg_profile_size(profile, NULL), limit);
}

static void check_limits(void)
{
	int limited = dlg_profile_find(DLG_STR(SIM_LIMITED));
	int gate = dlg_profile_find(DLG_STR(SIM_GATE));
	int bounded = dlg_profile_find(DLG_STR(SIM_BOUNDED));

	if (limited >= 0)
		check_values(limited, SIM_LIMIT);
	if (gate >= 0)
		check_total(gate, SIM_LIMIT);
	if (bounded < 0)
		return;
	check_values(bounded, SIM_LIMIT);
	check_total(bounded, SIM_BOUND);
}

static void check_members(const struct dlg_cell *dlg, void *arg)
{
	unsigned n = 0;

	(void)arg;
	for (int p = 0; p < dlg_profile_count(); p++)
		n += dlg_profile_memberships_locked(dlg, p, NULL);
	if (n != dlg->n_members)
		sim_violation("profile: a dialog has %u memberships, its count says %u", n,
			      dlg->n_members);
	if (n && dlg->state == DLG_STATE_DELETED)
		sim_violation("profile: an ended dialog belongs to one");
}

static void check_profiles_empty(void)
{
	for (int p = 0; p < dlg_profile_count(); p++) {
		if (dlg_profile_size(p, NULL) || dlg_profile_values(p))
			sim_violation("end: profile %.*s has %u members, %u values",
				      DLG_STR_ARG(dlg_profile_name(p)), dlg_profile_size(p, NULL),
				      dlg_profile_values(p));
	}
}

/* ---- timers, references, memory ---- */

static void check_timers(const struct dlg_hash_census *c)
{
	struct dlg_timer_info wheel;

	dlg_timer_get_info(&wheel);
	if (c->armed != c->cells)
		sim_violation("timer: %u of %u dialogs have one", c->armed, c->cells);
	if (wheel.armed != c->cells)
		sim_violation("timer: %u in the wheel for %u dialogs", (unsigned)wheel.armed,
			      c->cells);
}

static void check_holder(const struct dlg_hash_census *c, enum dlg_holder holder, unsigned known)
{
	if (c->refs[holder] != known)
		sim_violation("reference: %u held by %s, the simulation knows of %u",
			      c->refs[holder], dlg_hash_holder_name(holder), known);
}

static void check_references(const struct dlg_hash_census *c)
{
	check_holder(c, DLG_BY_TABLE, c->cells);
	check_holder(c, DLG_BY_TRANSACTION, sim_txs_holding());
	check_holder(c, DLG_BY_MESSAGE, sim_msgs_holding());
	check_holder(c, DLG_BY_SENDER, sim_sent_pending());
	check_holder(c, DLG_BY_API, sim_audit_api_refs);
	check_holder(c, DLG_BY_LOCAL, 0);
	if (c->misplaced)
		sim_violation("table: %u cells misplaced", c->misplaced);
}

static void check_memory(const struct dlg_hash_census *c)
{
	struct dlg_mem_info mem;

	dlg_mem_get_info(&mem);
	if (mem.pieces < start.mem.pieces + c->cells)
		sim_violation("memory: %zu pieces for %u dialogs", mem.pieces, c->cells);
	if (mem.piece_bytes > mem.chunk_bytes || mem.chunk_bytes > sim_shm.bytes)
		sim_violation("memory: figures contradict each other");
}

typedef void each_fn(const struct dlg_cell *dlg, void *arg);

/* Every cell in turn, as seen under its lock. */
static void each_cell(each_fn *fn, void *arg)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *dlg;

	while (dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL)) {
		dlg_hash_lock(dlg);
		fn(dlg, arg);
		dlg_hash_unlock(dlg);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
}

static void check_deadline(const struct dlg_cell *dlg, void *arg)
{
	uint32_t now = (uint32_t)(host_mono_ms() / 1000);

	(void)arg;
	/* the wheel may run two seconds late in a simulation */
	if (now > dlg->timer.deadline && now - dlg->timer.deadline > 2)
		sim_violation("timer: a dialog in state %u is %u s past its deadline", dlg->state,
			      now - dlg->timer.deadline);
	if (dlg->state == DLG_STATE_DELETED && dlg->timer.deadline > now + DLG_STATE_LINGER_S + 2)
		sim_violation("timer: an ended dialog stays for %u s", dlg->timer.deadline - now);
	if (dlg->state != DLG_STATE_DELETED && dlg->end_time)
		sim_violation("state: %u, but it has ended", dlg->state);
	if (dlg->state == DLG_STATE_DELETED && !dlg->end_time)
		sim_violation("state: ended without a time");
	if (dlg->state >= DLG_STATE_CONFIRMED_NA && dlg->state <= DLG_STATE_CONFIRMED &&
	    !dlg->start_time)
		sim_violation("state: %u without a start", dlg->state);
}

void sim_audit(void)
{
	struct dlg_hash_census census;

	if (sim_violated())
		return;
	check_locks();
	if (sim_violated())
		return; /* counting would wait for the lock */
	dlg_hash_count(&census);
	check_gauges(&census);
	check_totals();
	check_reasons(&census);
	check_census(&census.profiles);
	check_limits();
	check_timers(&census);
	check_references(&census);
	check_memory(&census);
	each_cell(check_deadline, NULL);
	each_cell(check_members, NULL);
}

static void report_left(const struct dlg_cell *dlg, void *arg)
{
	(void)arg;
	sim_violation("end: dialog in state %u left, refs %u %u %u %u %u %u, deadline in %d s",
		      dlg->state, dlg->refs[0], dlg->refs[1], dlg->refs[2], dlg->refs[3],
		      dlg->refs[4], dlg->refs[5],
		      (int)(dlg->timer.deadline - (uint32_t)(host_mono_ms() / 1000)));
}

void sim_audit_end(void)
{
	const struct dlg_counters *n = dlg_state_counters();
	struct dlg_mem_info mem;

	sim_audit();
	if (sim_violated())
		return;
	each_cell(report_left, NULL);
	for (int s = 0; s < DLG_STATES; s++) {
		if (n->gauge[s])
			sim_violation("end: gauge of state %d is %u", s, n->gauge[s]);
	}
	check_profiles_empty();
	dlg_mem_get_info(&mem);
	if (mem.pieces != start.mem.pieces || mem.piece_bytes != start.mem.piece_bytes)
		sim_violation("end: memory not given back: %zd pieces, %zd bytes",
			      (ssize_t)(mem.pieces - start.mem.pieces),
			      (ssize_t)(mem.piece_bytes - start.mem.piece_bytes));
	if (mem.chunks != start.mem.chunks || mem.chunk_bytes != start.mem.chunk_bytes ||
	    sim_shm.blocks != start.shm_blocks)
		sim_violation("end: %zu blocks of the host in use, %zu at start", sim_shm.blocks,
			      start.shm_blocks);
}

/* ---- fingerprint ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
	return h * 0xff51afd7ed558ccdu;
}

static uint64_t mix_text(uint64_t h, const char *text, size_t len)
{
	return mix(h, dlg_str_hash((struct dlg_str){ text, text ? len : 0 }));
}

static uint64_t mix_leg(uint64_t h, const struct dlg_leg *leg)
{
	h = mix(h, leg->state);
	h = mix(mix(h, leg->seen), leg->acked);
	for (int dir = 0; dir < 3; dir++)
		h = mix(mix(h, leg->cseq[dir]), leg->invite_cseq[dir]);
	h = mix_text(h, leg->contact, leg->contact_len);
	h = mix_text(h, leg->route_set, leg->route_set_len);
	return mix_text(h, leg->tag, leg->tag_len);
}

static void mix_cell(const struct dlg_cell *dlg, void *arg)
{
	uint64_t *at = arg, h = *at;

	h = mix(h, dlg->h_id);
	h = mix(h, dlg->state);
	h = mix(h, dlg->flags);
	h = mix(h, dlg->user_flags);
	h = mix(h, dlg->timer.deadline);
	h = mix(h, dlg->lifetime);
	h = mix(h, dlg->ended_by);
	h = mix(h, dlg->n_members);
	h = mix_text(h, dlg->caller_contact, dlg->caller_contact_len);
	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next)
		h = mix_leg(h, leg);
	*at = h;
}

uint64_t sim_audit_fingerprint(void)
{
	uint64_t h = 1;

	each_cell(mix_cell, &h);
	return h;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROFILE_H
#define PROFILE_H
/* What the tests of profiles share: dialogs to join them, short names for long calls, and the
 * question whether all is back. */

#include "../../dlg_hash.h"
#include "../../dlg_mem.h"
#include "../../dlg_profile.h"
#include "../sim/sim_host.h"
#include "unit.h"

/* In the order of SIM_PROFILES and SIM_PROFILES_NO_VALUE. */
enum { CALLER, TRUNK, INBOUND, OUT_BOUND };

/* ---- start, dialogs, and whether everything is back ---- */

static struct dlg_mem_info at_start;
static struct sim_shm shm_at_start;
static unsigned n_dialogs;

static inline void note_memory(void)
{
	dlg_mem_get_info(&at_start);
	shm_at_start = sim_shm;
}

static inline void init_shards(int log)
{
	dialog_conf.log_profile_hash_size = log;
	ck_assert_int_eq(sim_start(64), 0);
	note_memory();
}

static inline void init(void)
{
	init_shards(4);
}

static inline struct dlg_cell *dialog(void)
{
	char id[16];
	struct dlg_hash_new in = { .from_tag = DLG_STR("f"), .lifetime = 1 };
	struct dlg_cell *dlg;

	snprintf(id, sizeof(id), "c%u", n_dialogs++);
	in.call_id = dlg_str_of(id);
	ck_assert_int_eq(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg), 1);
	return dlg;
}

static inline void end(struct dlg_cell *dlg)
{
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_GONE);
	dlg_hash_unlock(dlg);
}

static inline void drop(struct dlg_cell *dlg)
{
	end(dlg);
	ck_assert_int_eq(dlg_hash_release(dlg), 1);
}

static inline void check_memory(void)
{
	struct dlg_mem_info now;

	dlg_mem_get_info(&now);
	ck_assert_uint_eq(now.pieces, at_start.pieces);
	ck_assert_uint_eq(now.piece_bytes, at_start.piece_bytes);
	ck_assert_uint_eq(now.chunks, at_start.chunks);
	ck_assert_uint_eq(now.chunk_bytes, at_start.chunk_bytes);
	ck_assert_uint_eq(sim_shm.blocks, shm_at_start.blocks);
	ck_assert_uint_eq(sim_shm.bytes, shm_at_start.bytes);
}

/* Tokens and counters agree, whatever was done. */
static inline void check_census(void)
{
	struct dlg_profile_census counters;
	struct dlg_hash_census table;

	dlg_profile_census_counters(&counters);
	dlg_hash_count(&table);
	ck_assert_uint_eq(counters.members, table.profiles.members);
	ck_assert_uint_eq(counters.print, table.profiles.print);
}

/* Nobody belongs to anything, and nothing is left of it. */
static inline void done(void)
{
	check_census();
	for (int p = 0; p < dlg_profile_count(); p++) {
		ck_assert_uint_eq(dlg_profile_size(p, NULL), 0);
		ck_assert_uint_eq(dlg_profile_values(p), 0);
	}
	check_memory();
	ck_assert_ptr_null(sim_violated());
}

static inline void make_dialogs(struct dlg_cell **dlg, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		dlg[i] = dialog();
}

/* ---- short names for long calls ---- */

static inline struct dlg_str numbered(const char *prefix, unsigned n)
{
	static char text[8][40];
	static unsigned next;
	char *out = text[next++ % 8];
	int len = snprintf(out, sizeof(text[0]), "%s%u", prefix, n);

	return (struct dlg_str){ out, (size_t)len };
}

static inline int join(struct dlg_cell *dlg, int profile, const char *value)
{
	return dlg_profile_join(dlg, profile, dlg_str_of(value));
}

static inline int leave(struct dlg_cell *dlg, int profile, const char *value)
{
	struct dlg_str v = dlg_str_of(value);

	return dlg_profile_leave(dlg, profile, value ? &v : NULL);
}

static inline uint32_t size(int profile, const char *value)
{
	struct dlg_str v = dlg_str_of(value);

	return dlg_profile_size(profile, value ? &v : NULL);
}

static inline unsigned of(struct dlg_cell *dlg, int profile, const char *value)
{
	struct dlg_str v = dlg_str_of(value);

	return dlg_profile_memberships(dlg, profile, value ? &v : NULL);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_PROFILE_H
#define DLG_PROFILE_H
/* Profiles: which dialogs belong to what, and how many (manual 1.3, 1.6.3 to 1.6.6).
 *
 * A membership is a token in the dialog's own list. It names the profile and, in a profile with
 * values, the value. Each value and each profile has a counter that changes when a token is made
 * or taken away; nothing ever walks members to count them.
 *
 * Values are kept in 2^log_profile_hash_size shards, each with a leaf lock and a hash table that
 * grows and shrinks by one bucket at a time: joining, leaving and asking for a size cost the same
 * with ten values and with a million. Values are bytes; an empty one is a value like any other.
 *
 * Tokens and counters change together, under the entry lock of the dialog; a dialog leaves all
 * its profiles in the transition that ends it (dlg_state.c), so that no path can forget it.
 * Profiles are numbered from 0 in the order of their definition. */

#include "dlg_str.h"

struct dlg_cell;
struct dlg_member;

enum {
	DLG_PROFILE_NAME_MAX = 64,
	DLG_PROFILE_VALUE_MAX = 65535,
	DLG_PROFILE_MEMBERS_MAX = 1000, /* memberships of one dialog */
	DLG_PROFILES_MAX = 1000,
};

/* Define the profiles of two lists "a ; b" (NULL: none) and create the tables in shared memory:
 * 2^log_shards shards. Main process, before fork. 0; or -1 with one log line that names the
 * parameter, the value and what is allowed, or when memory is short. */
int dlg_profile_init(const char *with_value, const char *no_value, unsigned log_shards);

/* How many there are; the name; nonzero when it has values. */
int dlg_profile_count(void);
struct dlg_str dlg_profile_name(int profile);
int dlg_profile_has_values(int profile);

/* The profile of exactly that name (case counts), or -1. */
int dlg_profile_find(struct dlg_str name);

/* ---- joining and leaving; each takes and drops the entry lock of the dialog, which the caller
 * holds a reference on, and in it one leaf lock at a time ---- */

/* Join. `value` is ignored in a profile without values. Joining again counts again (manual
 * 1.6.3). 0; or -1, with nothing changed and one log line: the dialog has ended, the value is too
 * long, too many memberships, or no memory. */
int dlg_profile_join(struct dlg_cell *dlg, int profile, struct dlg_str value);

/* One condition of a limited joining. */
struct dlg_profile_want {
	int profile;
	/* nonzero: a value is given. Without one in a profile with values, the dialog does not
	 * join: the limit is then for the whole profile. */
	int has_value;
	struct dlg_str value;
	uint32_t limit; /* the count of the value, or of the profile, afterwards: at most this */
};

enum { DLG_PROFILE_WANTS_MAX = 32 };

/* Join all of `wants` (1 to DLG_PROFILE_WANTS_MAX), or none. Each limit holds for what the whole
 * list makes of its count. One step for all other limited joinings in all processes: they are
 * serialized, so that a joining which is undone never turns another one away. 1 joined; 0 a limit
 * would be exceeded; -1 as dlg_profile_join(). Nothing has changed unless 1. */
int dlg_profile_join_limited(struct dlg_cell *dlg, const struct dlg_profile_want *wants,
			     unsigned n);

/* Take away the newest membership in the profile: of that value, or of any when `value` is NULL or
 * the profile has none. 1; 0 when there is none. */
int dlg_profile_leave(struct dlg_cell *dlg, int profile, const struct dlg_str *value);

/* How many memberships of that kind the dialog has. */
unsigned dlg_profile_memberships(struct dlg_cell *dlg, int profile, const struct dlg_str *value);

/* The same with the entry lock held by the caller. */
unsigned dlg_profile_memberships_locked(const struct dlg_cell *dlg, int profile,
					const struct dlg_str *value);

/* Leave everything: the dialog ends. Entry lock held. */
void dlg_profile_leave_all_locked(struct dlg_cell *dlg);

/* Call `fn` for each membership, the newest first, after unlocking, on copies. 0, or -1 without
 * private memory. */
typedef void dlg_profile_fn(int profile, struct dlg_str value, void *arg);
int dlg_profile_each(struct dlg_cell *dlg, dlg_profile_fn *fn, void *arg);

/* The same without copies, under the entry lock held by the caller: `fn` must not block. */
void dlg_profile_each_locked(const struct dlg_cell *dlg, dlg_profile_fn *fn, void *arg);

/* Turn the order of the memberships round: a restored list was read newest first. */
void dlg_profile_reverse(struct dlg_cell *dlg);

/* ---- counts ---- */

/* Memberships in the profile; of that value when one is given and the profile has values. Takes and
 * drops a leaf lock. */
uint32_t dlg_profile_size(int profile, const struct dlg_str *value);

/* How many different values the profile has at this moment. No lock. */
uint32_t dlg_profile_values(int profile);

/* Limited joinings that were turned away since start. No lock. */
uint64_t dlg_profile_refusals(void);

/* A walk through the values of a profile. Each that is there during the whole walk is seen exactly
 * once. All zero to begin; give it up early with dlg_profile_stop(). */
struct dlg_profile_cursor {
	uint32_t shard;
	void *at; /* the next value, kept in place until the walk goes on */
};

/* Copy up to `max` values and their counts to `out`, each as a struct dlg_profile_record with the
 * bytes behind it. Returns how many; 0 at the end. Takes and drops leaf locks, each for at most 64
 * values. */
struct dlg_profile_record {
	uint32_t members, len;
};
unsigned dlg_profile_page(int profile, struct dlg_profile_cursor *cur, unsigned max,
			  struct dlg_buf *out);
void dlg_profile_stop(struct dlg_profile_cursor *cur);

/* ---- proof ---- */

/* Two sums over memberships: how many, and of a fingerprint of profile and value. Equal sums from
 * the dialogs' tokens and from the counters mean that every single counter is right. */
struct dlg_profile_census {
	uint64_t members, print;
};

/* Add the tokens of a dialog. Entry lock held. */
void dlg_profile_census_locked(const struct dlg_cell *dlg, struct dlg_profile_census *sum);

/* The same sums from the counters. Takes and drops leaf locks. */
void dlg_profile_census_counters(struct dlg_profile_census *out);

/* Grows when a joining begins and when it is done. When it and the counters' sums are the same
 * before and after something, no membership has come or gone meanwhile. No lock. */
uint64_t dlg_profile_moves(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Profiles against a simple model: the input is a list of operations on a few dialogs, profiles
 * and values. After each one every count is the model's; limited joinings succeed exactly when all
 * their limits hold afterwards; walks see every value that stays, once; in the end nothing is
 * left. */

#include "fuzz.h"
#include "../../dialog.h"
#include "../../dlg_hash.h"
#include "../../dlg_mem.h"
#include "../../dlg_profile.h"
#include "../sim/sim_audit.h"

enum { DIALOGS = 4, VALUES = 24, PROFILES = 3, MEMBERS = 60, STEPS = 200, WANTS = 6 };
/* In the order of SIM_PROFILES and SIM_PROFILES_NO_VALUE. */
enum { CALLER, TRUNK, INBOUND };
enum { ANY = VALUES };

/* What the dialogs belong to, the newest last; values of profiles without any are ANY. */
static struct {
	struct dlg_cell *dlg;
	unsigned n;
	struct {
		unsigned profile, value;
	} member[MEMBERS + WANTS];
} model[DIALOGS];
static unsigned counts[PROFILES][VALUES + 1]; /* of all dialogs; that of ANY is the sum */

static struct dlg_str in;
static struct dlg_profile_cursor cursor;
static unsigned walked[VALUES], stayed[VALUES]; /* since the walk began */
static int walking;

/* ---- pieces of input ---- */

static unsigned below(unsigned n)
{
	return fuzz_byte(&in) % n;
}

/* Texts of many kinds, all different. */
static struct dlg_str text_of(unsigned value)
{
	static const struct dlg_str odd[] = {
		{ "", 0 }, { "\0", 1 }, { "a", 1 }, { "A", 1 }, { "a\0", 2 }
	};
	static char others[VALUES][700];
	size_t len = value == 6 ? sizeof(others[0]) : 3 * (size_t)value;
	char *other = others[value % VALUES];

	if (value < sizeof(odd) / sizeof(odd[0]))
		return odd[value];
	memset(other, 'a' + (int)value, len);
	return (struct dlg_str){ other, len };
}

static unsigned any_value(unsigned profile)
{
	unsigned value = below(VALUES);

	return profile == INBOUND ? ANY : value;
}

/* ---- the model ---- */

static unsigned count_all(unsigned profile, unsigned value)
{
	return counts[profile][value];
}

static void count(unsigned profile, unsigned value, int by)
{
	counts[profile][ANY] += (unsigned)by;
	if (value != ANY)
		counts[profile][value] += (unsigned)by;
}

static void note_join(unsigned d, unsigned profile, unsigned value)
{
	model[d].member[model[d].n].profile = profile;
	model[d].member[model[d].n++].value = value;
	count(profile, value, 1);
}

/* Take the newest that fits away. Returns whether there was one. */
static int note_leave(unsigned d, unsigned profile, unsigned value)
{
	unsigned i = model[d].n;

	while (i-- > 0) {
		if (model[d].member[i].profile != profile ||
		    (value != ANY && model[d].member[i].value != value))
			continue;
		count(profile, model[d].member[i].value, -1);
		memmove(&model[d].member[i], &model[d].member[i + 1],
			(--model[d].n - i) * sizeof(model[d].member[0]));
		return 1;
	}
	return 0;
}

static void note_end(unsigned d)
{
	for (unsigned i = 0; i < model[d].n; i++)
		count(model[d].member[i].profile, model[d].member[i].value, -1);
	model[d].n = 0;
}

/* ---- operations ---- */

static void begin_dialog(unsigned d)
{
	static unsigned number;
	char id[16];
	struct dlg_hash_new fresh = { .from_tag = DLG_STR("f"), .lifetime = 60 };

	snprintf(id, sizeof(id), "c%u", number++);
	fresh.call_id = dlg_str_of(id);
	MUST(dlg_hash_insert(&fresh, DLG_BY_API, &model[d].dlg) == 1);
	sim_audit_api_refs++;
}

/* As dlg_handlers.c would end it. */
static void end_dialog(unsigned d)
{
	dlg_hash_lock(model[d].dlg);
	dlg_state_apply_locked(model[d].dlg, DLG_EV_GONE);
	dlg_hash_unlock(model[d].dlg);
	dlg_state_count(&dlg_state_counters()->ended[DLG_REASON_no_answer]);
	MUST(dlg_profile_join(model[d].dlg, INBOUND, DLG_STR_NONE) == -1);
	dlg_hash_hold(model[d].dlg, DLG_BY_LOCAL);
	dlg_hash_put(model[d].dlg, DLG_BY_API);
	sim_audit_api_refs--;
	MUST(dlg_hash_release(model[d].dlg) == 1);
	note_end(d);
}

static void join(void)
{
	unsigned d = below(DIALOGS), p = below(PROFILES), v = any_value(p);
	struct dlg_str text = v == ANY ? DLG_STR_NONE : text_of(v);

	if (model[d].n >= MEMBERS)
		return;
	if (dlg_profile_join(model[d].dlg, (int)p, text) == 0)
		note_join(d, p, v);
	else
		MUST(sim_faults.shm_allow == 0);
}

static void leave(void)
{
	unsigned d = below(DIALOGS), p = below(PROFILES), v = below(2) ? ANY : any_value(p);
	struct dlg_str text = v == ANY ? DLG_STR_NONE : text_of(v);

	MUST(dlg_profile_leave(model[d].dlg, (int)p, v == ANY ? NULL : &text) ==
	     note_leave(d, p, v));
}

/* One list of limits, as values of the model. */
struct list {
	unsigned n, profile[WANTS], value[WANTS];
	int joins[WANTS];
	struct dlg_profile_want want[WANTS];
};

static void any_list(struct list *l)
{
	l->n = 1 + below(WANTS);
	for (unsigned i = 0; i < l->n; i++) {
		unsigned p = below(PROFILES), bits = below(256);

		l->profile[i] = p;
		l->joins[i] = p == INBOUND || bits & 1;
		l->value[i] = l->joins[i] ? any_value(p) : ANY;
		l->want[i] = (struct dlg_profile_want){ .profile = (int)p,
							.has_value = bits & 1,
							.limit = bits >> 1 & 15 };
		if (l->value[i] != ANY)
			l->want[i].value = text_of(l->value[i]);
	}
}

/* All limits hold for what the counts will be. */
static int all_hold(const struct list *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		unsigned n = count_all(l->profile[i], l->value[i]);

		for (unsigned k = 0; k < l->n; k++)
			n += l->joins[k] && l->profile[k] == l->profile[i] &&
			     (l->value[i] == ANY || l->value[k] == l->value[i]);
		if (n > l->want[i].limit)
			return 0;
	}
	return 1;
}

static void join_limited(void)
{
	unsigned d = below(DIALOGS);
	struct list l;
	int ret, ok;

	any_list(&l);
	if (model[d].n >= MEMBERS)
		return;
	ok = all_hold(&l);
	ret = dlg_profile_join_limited(model[d].dlg, l.want, l.n);
	MUST(ret == ok || (ret == -1 && sim_faults.shm_allow == 0));
	for (unsigned i = 0; ret == 1 && i < l.n; i++) {
		if (l.joins[i])
			note_join(d, l.profile[i], l.value[i]);
	}
}

static void end(void)
{
	unsigned d = below(DIALOGS);
	long allowed = sim_faults.shm_allow;

	end_dialog(d);
	sim_faults.shm_allow = -1;
	begin_dialog(d);
	sim_faults.shm_allow = allowed;
}

static void memory(void)
{
	sim_faults.shm_allow = below(2) ? 0 : -1;
}

/* ---- a walk, step by step ---- */

static unsigned value_of(struct dlg_str text)
{
	unsigned v = 0;

	while (v < VALUES && !dlg_str_eq(text_of(v), text))
		v++;
	MUST(v < VALUES);
	return v;
}

static void note_page(const struct dlg_buf *page)
{
	for (size_t at = 0; at < page->len;) {
		struct dlg_profile_record r;
		unsigned v;

		memcpy(&r, page->s + at, sizeof(r));
		at += sizeof(r);
		v = value_of((struct dlg_str){ page->s + at, r.len });
		at += r.len;
		MUST(r.members == count_all(CALLER, v));
		walked[v]++;
	}
}

static void walk_ends(void)
{
	for (unsigned v = 0; v < VALUES; v++)
		MUST(!stayed[v] || walked[v] == 1);
	walking = 0;
}

static void walk(void)
{
	struct dlg_buf page = { 0 };
	unsigned max = 1 + below(VALUES);

	if (!walking) {
		memset(&cursor, 0, sizeof(cursor));
		for (unsigned v = 0; v < VALUES; v++) {
			walked[v] = 0;
			stayed[v] = count_all(CALLER, v) > 0;
		}
		walking = 1;
	}
	if (dlg_profile_page(CALLER, &cursor, max, &page))
		note_page(&page);
	else
		walk_ends();
	dlg_buf_free(&page);
}

static void give_up(void)
{
	if (walking)
		dlg_profile_stop(&cursor);
	walking = 0;
}

/* ---- the whole ---- */

static unsigned told; /* of the dialog that is asked */

static void compare_member(int profile, struct dlg_str value, void *arg)
{
	unsigned d = *(unsigned *)arg, i = model[d].n - ++told;

	MUST(told <= model[d].n && model[d].member[i].profile == (unsigned)profile);
	if (profile != INBOUND)
		MUST(model[d].member[i].value == value_of(value));
}

/* The newest first. */
static void check_order(unsigned d)
{
	told = 0;
	MUST(dlg_profile_each(model[d].dlg, compare_member, &d) == 0);
	MUST(told == model[d].n);
}

static void check_counts(void)
{
	for (unsigned p = 0; p < PROFILES; p++) {
		MUST(dlg_profile_size((int)p, NULL) == count_all(p, ANY));
		for (unsigned v = 0; p != INBOUND && v < VALUES; v++) {
			struct dlg_str text = text_of(v);

			MUST(dlg_profile_size((int)p, &text) == count_all(p, v));
		}
	}
	for (unsigned v = 0; v < VALUES; v++)
		stayed[v] &= count_all(CALLER, v) > 0;
}

static void check_all(void)
{
	for (unsigned d = 0; d < DIALOGS; d++)
		check_order(d);
	sim_audit();
	if (!sim_violated())
		return;
	fprintf(stderr, "violated: %s\n", sim_violated());
	abort();
}

static void start(void)
{
	static int started;

	if (!started) {
		sim_log_level = HOST_ERROR;
		dialog_conf.log_profile_hash_size = 1;
		MUST(sim_start(4) == 0);
		started = 1;
	}
	sim_audit_begin();
	for (unsigned d = 0; d < DIALOGS; d++)
		begin_dialog(d);
}

static void finish(void)
{
	sim_faults_off();
	give_up();
	for (unsigned d = 0; d < DIALOGS; d++)
		end_dialog(d);
	sim_audit_end();
	if (sim_violated())
		fprintf(stderr, "violated: %s\n", sim_violated());
	MUST(!sim_violated());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const steps[])(void) = {
		join,         join, join,   leave, leave,   join_limited,
		join_limited, end,  memory, walk,  give_up,
	};

	in = fuzz_text(data, size);
	start();
	for (int i = 0; i < STEPS && in.len; i++) {
		steps[below(sizeof(steps) / sizeof(steps[0]))]();
		check_counts();
		if (i % 16 == 15)
			check_all();
	}
	check_all();
	finish();
	return 0;
}

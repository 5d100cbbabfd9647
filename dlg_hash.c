/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_hash.h"

#include "dlg_cb.h"
#include "dlg_mem.h"
#include "dlg_vals.h"
#include "host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* An entry's dialogs in order of creation, so that ids ascend (counted from the oldest). A freed
 * dialog leaves a hole (cell NULL) until the arrays are packed. */
struct entry {
	struct dlg_lock lock;
	uint32_t next_id;
	uint32_t live, used, cap;
	struct dlg_cell **cell; /* one piece of memory: cell[cap], hash[cap], id[cap] */
	uint32_t *hash, *id;
};

static struct entry *table; /* shared */
static uint32_t table_size;

int dlg_hash_init(uint32_t hash_size)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -1;
	table = host_shm_alloc(hash_size * sizeof(*table));
	if (!table)
		return -1;
	memset(table, 0, hash_size * sizeof(*table));
	for (uint32_t i = 0; i < hash_size; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		table[i].next_id = 1 + (uint32_t)(seed >> 34);
		if (dlg_lock_init(&table[i].lock) < 0)
			return -1;
	}
	table_size = hash_size;
	return 0;
}

uint32_t dlg_hash_size(void)
{
	return table_size;
}

static struct entry *entry_of(const struct dlg_cell *dlg)
{
	return &table[dlg->h_entry];
}

static void lock(struct entry *e)
{
	dlg_lock_get(&e->lock, DLG_LOCK_ENTRY);
}

static void unlock(struct entry *e)
{
	dlg_lock_put(&e->lock, DLG_LOCK_ENTRY);
}

void dlg_hash_lock(const struct dlg_cell *dlg)
{
	lock(entry_of(dlg));
}

void dlg_hash_unlock(const struct dlg_cell *dlg)
{
	unlock(entry_of(dlg));
}

/* ---- the arrays of an entry; lock held ---- */

static void put_slot(struct entry *e, uint32_t at, struct dlg_cell *dlg)
{
	e->cell[at] = dlg;
	e->hash[at] = dlg->hash;
	e->id[at] = dlg->h_id;
}

/* Whoever takes the lock over from a process that died finds what that wrote before, not after. */
static void in_this_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* At every moment there are the slots that e->used and e->cap tell of. */
static void use_arrays(struct entry *e, const struct entry *fresh)
{
	void *old = e->cell;

	e->used = 0;
	e->cap = 0;
	in_this_order();
	e->cell = fresh->cell;
	e->hash = fresh->hash;
	e->id = fresh->id;
	in_this_order();
	e->cap = fresh->cap;
	e->used = fresh->used;
	in_this_order();
	dlg_mem_free(old);
}

/* Move the live ones to the front of arrays of `cap` slots (new memory unless cap stays). 0 or
 * -1. */
static int pack(struct entry *e, uint32_t cap)
{
	struct entry fresh = *e;
	uint32_t n = 0;

	if (cap != e->cap) {
		char *mem = dlg_mem_alloc(cap * (sizeof(*e->cell) + 2 * sizeof(uint32_t)));

		if (!mem)
			return -1;
		fresh.cell = (struct dlg_cell **)mem;
		fresh.hash = (uint32_t *)(fresh.cell + cap);
		fresh.id = fresh.hash + cap;
		fresh.cap = cap;
	}
	/* no cell is touched: most are in nobody's cache */
	for (uint32_t i = 0; i < e->used; i++) {
		if (!e->cell[i])
			continue;
		fresh.cell[n] = e->cell[i];
		fresh.hash[n] = e->hash[i];
		fresh.id[n++] = e->id[i];
	}
	fresh.used = n;
	if (cap != e->cap)
		use_arrays(e, &fresh);
	else
		e->used = n;
	return 0;
}

static int make_room(struct entry *e)
{
	if (e->used < e->cap)
		return 0;
	if (e->live <= e->cap / 2 && e->cap)
		return pack(e, e->cap);
	return pack(e, e->cap ? e->cap * 2 : 2);
}

/* First slot whose id is not before `id`, where `first` is the first of all. */
static uint32_t search(const struct entry *e, uint32_t id, uint32_t first)
{
	uint32_t lo = 0, hi = e->used;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (e->id[mid] - first < id - first)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The same in order of creation. The entry is not empty. */
static uint32_t lower_bound(const struct entry *e, uint32_t id)
{
	return search(e, id, e->id[0]);
}

/* Where the dialog stands: its id says so. */
static uint32_t slot_of(const struct entry *e, const struct dlg_cell *dlg)
{
	return lower_bound(e, dlg->h_id);
}

static void unlink_cell(struct entry *e, struct dlg_cell *dlg)
{
	e->cell[slot_of(e, dlg)] = NULL;
	__atomic_store_n(&e->live, e->live - 1, __ATOMIC_RELAXED);
	if (!e->live) {
		use_arrays(e, &(struct entry){ 0 });
	} else if (e->cap > 8 && e->live < e->cap / 8) {
		/* an old burst's arrays: without memory they just stay */
		pack(e, e->cap / 4);
	}
}

static void swap_slots(struct entry *e, uint32_t a, uint32_t b)
{
	struct dlg_cell *cell = e->cell[a];
	uint32_t hash = e->hash[a], id = e->id[a];

	e->cell[a] = e->cell[b];
	e->hash[a] = e->hash[b];
	e->id[a] = e->id[b];
	e->cell[b] = cell;
	e->hash[b] = hash;
	e->id[b] = id;
}

static void reverse(struct entry *e, uint32_t from, uint32_t to)
{
	while (from + 1 < to)
		swap_slots(e, from++, --to);
}

/* Ids that nobody has before the one in that slot, on the circle of all ids. */
static uint32_t gap_before(const struct entry *e, uint32_t at)
{
	return e->id[at] - e->id[(at ? at : e->used) - 1] - 1;
}

static uint32_t behind_widest_gap(const struct entry *e)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < e->used; i++) {
		if (gap_before(e, i) > gap_before(e, best))
			best = i;
	}
	return best;
}

/* No id is left behind the last one: rows were restored whose ids lie around the end of the range,
 * or the oldest call has seen four billion others. Let the widest gap be the end of the order. New
 * ids begin in its middle, far from names that were in use a moment ago. */
static void turn_order(struct entry *e)
{
	uint32_t first = behind_widest_gap(e);

	reverse(e, 0, first);
	reverse(e, first, e->used);
	reverse(e, 0, e->used);
	e->next_id = e->id[e->used - 1] + 1 + gap_before(e, 0) / 2;
}

static int is_behind_all(const struct entry *e, uint32_t id)
{
	return !e->used || id - e->id[0] > e->id[e->used - 1] - e->id[0];
}

static uint32_t skip_zero(uint32_t id)
{
	return id ? id : 1;
}

static uint32_t take_id(struct entry *e)
{
	e->next_id = skip_zero(e->next_id);
	if (!is_behind_all(e, e->next_id)) {
		turn_order(e);
		e->next_id = skip_zero(e->next_id);
	}
	return e->next_id++;
}

/* ---- cells ---- */

static const struct dlg_str *new_text(const struct dlg_hash_new *in, enum dlg_text which)
{
	switch (which) {
	case DLG_CALL_ID: return &in->call_id;
	case DLG_FROM_URI: return &in->from_uri;
	case DLG_TO_URI: return &in->to_uri;
	case DLG_FROM_TAG: return &in->from_tag;
	default: return &in->caller_routes;
	}
}

static void fill_texts(struct dlg_cell *dlg, const struct dlg_hash_new *in)
{
	char *at = dlg->text;

	for (int i = 0; i < DLG_TEXTS; i++) {
		const struct dlg_str *v = new_text(in, (enum dlg_text)i);

		if (v->len)
			memcpy(at, v->s, v->len);
		at += v->len;
		dlg->text_len[i] = (uint16_t)v->len;
	}
}

/* A cell not yet linked, or NULL: no memory, or a text beyond 64 KB. */
struct dlg_cell *dlg_hash_new_cell(const struct dlg_hash_new *in)
{
	struct dlg_cell *dlg;
	size_t size = sizeof(*dlg);

	for (int i = 0; i < DLG_TEXTS; i++) {
		if (new_text(in, (enum dlg_text)i)->len > UINT16_MAX)
			return NULL;
		size += new_text(in, (enum dlg_text)i)->len;
	}
	if (in->caller_contact.len > UINT16_MAX)
		return NULL;
	dlg = dlg_mem_alloc(size);
	if (!dlg)
		return NULL;
	memset(dlg, 0, sizeof(*dlg));
	dlg->hash = dlg_hash_call_id(in->call_id);
	dlg->h_entry = dlg->hash & (table_size - 1);
	dlg->invite_cseq = in->invite_cseq;
	dlg->via_hash = in->via_hash;
	dlg->caller_sock = in->caller_sock;
	dlg->lifetime = in->lifetime;
	fill_texts(dlg, in);
	dlg->caller_contact = dlg_mem_copy(in->caller_contact);
	dlg->caller_contact_len = (uint16_t)in->caller_contact.len;
	if (in->caller_contact.len && !dlg->caller_contact) {
		dlg_mem_free(dlg);
		return NULL;
	}
	return dlg;
}

void dlg_hash_discard(struct dlg_cell *dlg)
{
	struct dlg_leg *leg;

	while ((leg = dlg->legs)) {
		dlg->legs = leg->next;
		dlg_hash_leg_free(leg);
	}
	dlg_vals_free(dlg->vals);
	dlg_cb_free(dlg->cbs);
	dlg_mem_free(dlg->caller_contact);
	dlg_mem_free(dlg);
}

/* The cell has left the table: nobody can find it any more. */
static void cell_destroy(struct dlg_cell *dlg)
{
	dlg_cb_run(dlg, DLGCB_DESTROY, NULL);
	dlg_hash_discard(dlg);
}

struct dlg_str dlg_hash_text(const struct dlg_cell *dlg, enum dlg_text which)
{
	const char *at = dlg->text;

	for (int i = 0; i < (int)which; i++)
		at += dlg->text_len[i];
	return (struct dlg_str){ at, dlg->text_len[which] };
}

/* ---- insertion ---- */

static int same_invite(const struct dlg_cell *dlg, const struct dlg_hash_new *in)
{
	return dlg->state < DLG_STATE_CONFIRMED_NA && dlg->invite_cseq == in->invite_cseq &&
	       dlg->via_hash == in->via_hash &&
	       dlg_str_eq(dlg_hash_text(dlg, DLG_CALL_ID), in->call_id) &&
	       dlg_str_eq(dlg_hash_text(dlg, DLG_FROM_TAG), in->from_tag);
}

static struct dlg_cell *find_invite_locked(struct entry *e, uint32_t hash,
					   const struct dlg_hash_new *in)
{
	for (uint32_t i = 0; i < e->used; i++) {
		if (e->hash[i] == hash && e->cell[i] && same_invite(e->cell[i], in))
			return e->cell[i];
	}
	return NULL;
}

static int link_locked(struct entry *e, struct dlg_cell *dlg)
{
	if (make_room(e) < 0)
		return -1;
	dlg->h_id = take_id(e);
	put_slot(e, e->used++, dlg);
	__atomic_store_n(&e->live, e->live + 1, __ATOMIC_RELAXED);
	dlg->refs[DLG_BY_TABLE] = 1;
	dlg_state_apply_locked(dlg, DLG_EV_CREATE);
	return 0;
}

int dlg_hash_insert(const struct dlg_hash_new *in, enum dlg_holder holder, struct dlg_cell **out)
{
	struct dlg_cell *dlg = dlg_hash_new_cell(in), *there;
	struct entry *e;
	int ret;

	if (!dlg)
		return -1;
	e = entry_of(dlg);
	lock(e);
	there = find_invite_locked(e, dlg->hash, in);
	ret = there ? 0 : link_locked(e, dlg) < 0 ? -1 : 1;
	*out = there ? there : dlg;
	if (ret >= 0)
		(*out)->refs[holder]++;
	unlock(e);
	if (ret < 1)
		dlg_hash_discard(dlg);
	return ret;
}

/* ---- restoring ---- */

/* First slot whose id is not smaller. Restored ids ascend as numbers, and rows often come in
 * order, but a table that has no order of its own gives them in any. */
static uint32_t place_of(const struct entry *e, uint32_t id)
{
	if (e->used && e->id[e->used - 1] < id)
		return e->used;
	return search(e, id, 0);
}

static void open_slot(struct entry *e, uint32_t at)
{
	uint32_t n = e->used++ - at;

	memmove(e->cell + at + 1, e->cell + at, n * sizeof(*e->cell));
	memmove(e->hash + at + 1, e->hash + at, n * sizeof(*e->hash));
	memmove(e->id + at + 1, e->id + at, n * sizeof(*e->id));
}

static int link_at_locked(struct entry *e, struct dlg_cell *dlg, enum dlg_event event)
{
	uint32_t at = place_of(e, dlg->h_id);

	if (at < e->used && e->id[at] == dlg->h_id)
		return 0;
	if (make_room(e) < 0)
		return -1;
	open_slot(e, at);
	put_slot(e, at, dlg);
	__atomic_store_n(&e->live, e->live + 1, __ATOMIC_RELAXED);
	dlg->refs[DLG_BY_TABLE] = 1;
	dlg_state_apply_locked(dlg, event);
	return 1;
}

/* 0: behind all ids there are. */
static void skip_id_locked(struct entry *e, uint32_t h_id)
{
	if (e->next_id && h_id >= e->next_id)
		e->next_id = h_id + 1;
}

int dlg_hash_link(struct dlg_cell *dlg, uint32_t h_id, enum dlg_event event)
{
	struct entry *e = entry_of(dlg);
	int ret;

	dlg->h_id = h_id;
	lock(e);
	ret = link_at_locked(e, dlg, event);
	if (ret == 1)
		skip_id_locked(e, h_id);
	unlock(e);
	return ret;
}

void dlg_hash_skip_id(uint32_t h_entry, uint32_t h_id)
{
	lock(&table[h_entry]);
	skip_id_locked(&table[h_entry], h_id);
	unlock(&table[h_entry]);
}

void dlg_hash_set_next_id(uint32_t h_entry, uint32_t h_id)
{
	lock(&table[h_entry]);
	table[h_entry].next_id = h_id;
	unlock(&table[h_entry]);
}

/* ---- lookup and references ---- */

static struct dlg_cell *get_locked(struct entry *e, uint32_t id)
{
	uint32_t at = e->used ? lower_bound(e, id) : 0;

	return at < e->used && e->id[at] == id ? e->cell[at] : NULL;
}

struct dlg_cell *dlg_hash_get(uint32_t h_entry, uint32_t h_id, enum dlg_holder holder)
{
	struct dlg_cell *dlg;

	if (h_entry >= table_size)
		return NULL;
	lock(&table[h_entry]);
	dlg = get_locked(&table[h_entry], h_id);
	if (dlg)
		dlg->refs[holder]++;
	unlock(&table[h_entry]);
	return dlg;
}

static struct dlg_cell *find_locked(struct entry *e, uint32_t hash, struct dlg_str call_id,
				    dlg_hash_match *match, void *arg)
{
	for (uint32_t i = 0; i < e->used; i++) {
		struct dlg_cell *dlg = e->cell[i];

		if (e->hash[i] == hash && dlg &&
		    dlg_str_eq(dlg_hash_text(dlg, DLG_CALL_ID), call_id) && match(dlg, arg))
			return dlg;
	}
	return NULL;
}

struct dlg_cell *dlg_hash_find(struct dlg_str call_id, dlg_hash_match *match, void *arg,
			       enum dlg_holder holder)
{
	uint32_t hash = dlg_hash_call_id(call_id);
	struct entry *e = &table[hash & (table_size - 1)];
	struct dlg_cell *dlg;

	lock(e);
	dlg = find_locked(e, hash, call_id, match, arg);
	if (dlg)
		dlg->refs[holder]++;
	unlock(e);
	return dlg;
}

void dlg_hash_hold(struct dlg_cell *dlg, enum dlg_holder holder)
{
	dlg_hash_lock(dlg);
	dlg->refs[holder]++;
	dlg_hash_unlock(dlg);
}

static int held_locked(const struct dlg_cell *dlg)
{
	for (int i = 0; i < DLG_HOLDERS; i++) {
		if (i != DLG_BY_TABLE && dlg->refs[i])
			return 1;
	}
	return 0;
}

/* Take an ended, unheld dialog out of the table. Returns 1 when the caller must destroy it. One
 * that still owes BYEs to a late leg waits for the timer. */
static int leave_table_locked(struct dlg_cell *dlg)
{
	if ((dlg->flags & (DLG_F_LINGER_OVER | DLG_F_END_WANTED)) != DLG_F_LINGER_OVER ||
	    !dlg->refs[DLG_BY_TABLE] || held_locked(dlg))
		return 0;
	unlink_cell(entry_of(dlg), dlg);
	dlg_timer_disarm_locked(dlg);
	dlg_state_forget_locked(dlg);
	dlg->refs[DLG_BY_TABLE] = 0;
	return 1;
}

void dlg_hash_put(struct dlg_cell *dlg, enum dlg_holder holder)
{
	dlg_hash_put_last(dlg, holder, NULL);
}

void dlg_hash_put_last(struct dlg_cell *dlg, enum dlg_holder holder,
		       void (*last)(struct dlg_cell *dlg))
{
	int left;

	if (!dlg)
		return;
	dlg_hash_lock(dlg);
	if (!--dlg->refs[holder] && last)
		last(dlg);
	left = leave_table_locked(dlg);
	dlg_hash_unlock(dlg);
	if (left)
		cell_destroy(dlg);
}

int dlg_hash_release(struct dlg_cell *dlg)
{
	int left;

	dlg_hash_lock(dlg);
	dlg->flags |= DLG_F_LINGER_OVER;
	dlg->refs[DLG_BY_LOCAL]--;
	left = leave_table_locked(dlg);
	if (!left)
		dlg_state_rearm_locked(dlg);
	dlg_hash_unlock(dlg);
	if (left)
		cell_destroy(dlg);
	return left;
}

/* ---- listing ---- */

/* A page being filled. */
struct page {
	struct dlg_cell **out;
	unsigned n, max;
	dlg_hash_match *match; /* NULL: all */
	void *arg;
	enum dlg_holder holder;
};

/* Where the listing goes on in an entry: what was seen may be gone, packed away, with all that is
 * older. */
static uint32_t resume_locked(const struct entry *e, const struct dlg_hash_cursor *cur)
{
	if (!cur->inside || !e->used || e->next_id - cur->last_id > e->next_id - e->id[0])
		return 0;
	return lower_bound(e, cur->last_id + 1);
}

static void page_cell_locked(struct dlg_cell *dlg, struct page *p)
{
	if (p->match && !p->match(dlg, p->arg))
		return;
	p->out[p->n++] = dlg;
	dlg->refs[p->holder]++;
}

static void page_entry(struct entry *e, struct dlg_hash_cursor *cur, struct page *p)
{
	unsigned scanned = 0;
	uint32_t i;

	lock(e);
	for (i = resume_locked(e, cur); i < e->used && p->n < p->max; i++) {
		if (!e->cell[i])
			continue;
		if (scanned++ == DLG_HASH_SCAN)
			break;
		page_cell_locked(e->cell[i], p);
		cur->last_id = e->id[i];
		cur->inside = 1;
	}
	if (i >= e->used && p->n < p->max) { /* the entry is exhausted */
		cur->entry++;
		cur->inside = 0;
	}
	unlock(e);
}

unsigned dlg_hash_page_of(struct dlg_hash_cursor *cur, struct dlg_cell **out, unsigned max,
			  dlg_hash_match *match, void *arg, enum dlg_holder holder)
{
	struct page p = { .out = out, .max = max, .match = match, .arg = arg, .holder = holder };

	while (p.n < max && cur->entry < table_size)
		page_entry(&table[cur->entry], cur, &p);
	return p.n;
}

unsigned dlg_hash_page(struct dlg_hash_cursor *cur, struct dlg_cell **out, unsigned max,
		       enum dlg_holder holder)
{
	return dlg_hash_page_of(cur, out, max, NULL, NULL, holder);
}

/* ---- legs ---- */

const struct dlg_leg *dlg_hash_main_leg_locked(const struct dlg_cell *dlg)
{
	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next) {
		if (leg->state != DLG_LEG_EARLY)
			return leg;
	}
	return dlg->legs;
}

struct dlg_leg *dlg_hash_leg_locked(const struct dlg_cell *dlg, struct dlg_str tag)
{
	for (struct dlg_leg *leg = dlg->legs; leg; leg = leg->next) {
		if (dlg_str_eq((struct dlg_str){ leg->tag, leg->tag_len }, tag))
			return leg;
	}
	return NULL;
}

struct dlg_leg *dlg_hash_leg_new(struct dlg_str tag, struct dlg_str route_set)
{
	struct dlg_leg *leg;

	if (tag.len > UINT16_MAX || route_set.len > UINT16_MAX)
		return NULL;
	leg = dlg_mem_alloc(sizeof(*leg) + tag.len);
	if (!leg)
		return NULL;
	memset(leg, 0, sizeof(*leg));
	if (tag.len)
		memcpy(leg->tag, tag.s, tag.len);
	leg->tag_len = (uint16_t)tag.len;
	leg->route_set = dlg_mem_copy(route_set);
	leg->route_set_len = (uint16_t)route_set.len;
	if (route_set.len && !leg->route_set) {
		dlg_mem_free(leg);
		return NULL;
	}
	return leg;
}

void dlg_hash_leg_free(struct dlg_leg *leg)
{
	if (!leg)
		return;
	dlg_mem_free(leg->contact);
	dlg_mem_free(leg->route_set);
	dlg_mem_free(leg);
}

int dlg_hash_leg_add_locked(struct dlg_cell *dlg, struct dlg_leg *leg, unsigned max)
{
	struct dlg_leg **at = &dlg->legs;
	unsigned n = 0;

	for (; *at; at = &(*at)->next)
		n++;
	if (n >= max)
		return -1;
	leg->next = NULL;
	*at = leg;
	return 0;
}

unsigned dlg_hash_live_legs_locked(const struct dlg_cell *dlg, const struct dlg_leg *but,
				   unsigned *acked)
{
	unsigned n = 0;

	*acked = 0;
	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next) {
		if ((leg->state != DLG_LEG_ANSWERED && leg->state != DLG_LEG_ENDING) || leg == but)
			continue;
		n++;
		*acked += leg->acked;
	}
	return n;
}

/* ---- names and figures ---- */

const char *dlg_hash_name(const struct dlg_cell *dlg)
{
	static DLG_LOCK_PROCESS_LOCAL char name[160];
	struct dlg_str id = dlg_hash_text(dlg, DLG_CALL_ID);

	snprintf(name, sizeof(name), "%u:%u %.*s", dlg->h_entry, dlg->h_id,
		 id.len > 128 ? 128 : (int)id.len, id.s);
	return name;
}

const char *dlg_hash_holder_name(enum dlg_holder holder)
{
	static const char *const names[DLG_HOLDERS] = {
		"table", "transaction", "message", "sender", "api", "local",
	};

	return names[holder];
}

void dlg_hash_holders(const struct dlg_cell *dlg, char *out, size_t size)
{
	uint32_t refs[DLG_HOLDERS];
	size_t at = 0;

	dlg_hash_lock(dlg);
	memcpy(refs, dlg->refs, sizeof(refs));
	dlg_hash_unlock(dlg);
	*out = '\0';
	for (int i = DLG_BY_TRANSACTION; i < DLG_BY_LOCAL && at < size; i++) {
		if (refs[i])
			at += (size_t)snprintf(out + at, size - at, "%s%s=%u", at ? " " : "",
					       dlg_hash_holder_name((enum dlg_holder)i), refs[i]);
	}
}

static int is_misplaced(const struct entry *e, uint32_t at)
{
	const struct dlg_cell *dlg = e->cell[at];

	return slot_of(e, dlg) != at || e->id[at] != dlg->h_id || e->hash[at] != dlg->hash ||
	       entry_of(dlg) != e || dlg->h_entry != (dlg->hash & (table_size - 1));
}

static void count_cell(const struct dlg_cell *dlg, struct dlg_hash_census *out)
{
	out->cells++;
	out->by_state[dlg->state < DLG_STATES ? dlg->state : 0]++;
	out->armed += dlg->timer.armed;
	out->misplaced += dlg->refs[DLG_BY_TABLE] != 1;
	for (int i = 0; i < DLG_HOLDERS; i++)
		out->refs[i] += dlg->refs[i];
	dlg_profile_census_locked(dlg, &out->profiles);
}

static void count_entry(struct entry *e, struct dlg_hash_census *out)
{
	uint32_t before = out->cells;

	lock(e);
	for (uint32_t i = 0; i < e->used; i++) {
		if (!e->cell[i])
			continue;
		out->misplaced += is_misplaced(e, i);
		count_cell(e->cell[i], out);
	}
	if (out->cells - before != e->live)
		out->misplaced++;
	if (e->live > out->fullest)
		out->fullest = e->live;
	unlock(e);
}

void dlg_hash_count(struct dlg_hash_census *out)
{
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < table_size; i++)
		count_entry(&table[i], out);
}

void dlg_hash_fill(uint32_t *used, uint32_t *fullest)
{
	*used = *fullest = 0;
	for (uint32_t i = 0; i < table_size; i++) {
		uint32_t n = __atomic_load_n(&table[i].live, __ATOMIC_RELAXED);

		*used += n != 0;
		if (n > *fullest)
			*fullest = n;
	}
}

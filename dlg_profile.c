/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_profile.h"

#include "dlg_hash.h"
#include "dlg_mem.h"
#include "host/host.h"

#include <ctype.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
	BASE = 16,     /* buckets of an empty shard */
	SEGMENTS = 28, /* BASE, then BASE, 2*BASE, 4*BASE ... buckets */
	BATCH = 64,    /* values seen under one lock */
};

/* One value of one profile, with its count. */
struct value {
	struct value *chain;       /* of its bucket */
	struct value *prev, *next; /* of its profile in the shard, oldest first */
	uint64_t hash;
	uint32_t members;
	uint32_t pins; /* walks that stand here: it stays in place, even without members */
	uint32_t len;
	uint16_t profile;
	char bytes[];
};

struct list {
	struct value *first, *last;
};

struct shard {
	_Alignas(64) struct dlg_lock lock;
	uint32_t values, buckets;
	struct list *lists; /* by profile */
	struct value **segment[SEGMENTS];
	struct value *base[BASE]; /* the first segment */
};

/* What is counted per profile. */
struct profile {
	_Alignas(64) uint32_t members;
	uint32_t values;
	uint64_t moves; /* joinings begun, and joinings done */
};

/* A membership, in the dialog's list. */
struct dlg_member {
	struct dlg_member *next;
	struct value *value; /* NULL in a profile without values */
	uint16_t profile;
};

static struct {
	char name[DLG_PROFILE_NAME_MAX + 1];
	int has_values;
} *defined; /* private, constant after init */
static int n_defined;

static struct {
	struct dlg_lock admission; /* held by limited joinings */
	uint64_t refusals;
} *gate;                         /* shared */
static struct profile *profiles; /* shared */
static struct shard *shards;     /* shared */
static unsigned shard_bits;
static uint64_t key[2]; /* of the hash: values come from the wire */

/* ---- definition ---- */

static int bad(const char *param, struct dlg_str name, const char *allowed)
{
	host_log(HOST_ERROR, "parameter %s: bad value \"%.*s\": allowed is %s", param,
		 DLG_STR_ARG(name), allowed);
	return -1;
}

static int name_ok(struct dlg_str name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (!isalnum((unsigned char)name.s[i]) && !strchr("_-.", name.s[i]))
			return 0;
	}
	return name.len <= DLG_PROFILE_NAME_MAX;
}

static int define(const char *param, struct dlg_str name, int has_values)
{
	void *more;

	if (!name_ok(name) || n_defined == DLG_PROFILES_MAX)
		return bad(param, name,
			   "names of up to 64 letters, digits, _ - and . separated by ;, 1000 at "
			   "most");
	if (dlg_profile_find(name) >= 0)
		return bad(param, name, "each profile once, in one of the two lists");
	more = realloc(defined, (size_t)(n_defined + 1) * sizeof(*defined));
	if (!more)
		return -1;
	defined = more;
	memset(&defined[n_defined], 0, sizeof(*defined));
	memcpy(defined[n_defined].name, name.s, name.len);
	defined[n_defined++].has_values = has_values;
	return 0;
}

/* Empty items of the list are nothing. */
static int define_list(const char *param, const char *list, int has_values)
{
	while (list) {
		const char *end = strchr(list, ';');
		size_t len = end ? (size_t)(end - list) : strlen(list);
		struct dlg_str name = dlg_str_trim((struct dlg_str){ list, len });

		if (name.len && define(param, name, has_values) < 0)
			return -1;
		list = end ? end + 1 : NULL;
	}
	return 0;
}

/* ---- shared tables ---- */

static void *zeroed(size_t size)
{
	void *p = host_shm_alloc(size ? size : 1);

	if (p)
		memset(p, 0, size);
	return p;
}

/* Shared memory on a cache line of its own. It is never given back. */
static void *aligned(size_t size)
{
	char *p = zeroed(size + 64);

	return p ? p + (64 - (uintptr_t)p % 64) % 64 : NULL;
}

static int shard_init(struct shard *s, struct list *lists)
{
	s->buckets = BASE;
	s->segment[0] = s->base;
	s->lists = lists;
	return dlg_lock_init(&s->lock);
}

static int create_shards(unsigned log_shards)
{
	struct list *lists;

	shards = aligned(sizeof(*shards) << log_shards);
	lists = shards ? zeroed(((size_t)n_defined << log_shards) * sizeof(*lists)) : NULL;
	if (!lists)
		return -1;
	shard_bits = log_shards;
	for (size_t i = 0; i < (size_t)1 << log_shards; i++) {
		if (shard_init(&shards[i], lists + i * (size_t)n_defined) < 0)
			return -1;
	}
	return 0;
}

static int create_tables(unsigned log_shards)
{
	gate = aligned(sizeof(*gate));
	profiles = aligned((size_t)n_defined * sizeof(*profiles));
	if (!gate || !profiles || dlg_lock_init(&gate->admission) < 0)
		return -1;
	return n_defined ? create_shards(log_shards) : 0;
}

int dlg_profile_init(const char *with_value, const char *no_value, unsigned log_shards)
{
	if (define_list("profiles_with_value", with_value, 1) < 0 ||
	    define_list("profiles_no_value", no_value, 0) < 0 ||
	    getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return -1;
	if (create_tables(log_shards) == 0)
		return 0;
	host_log(HOST_ERROR,
		 "not enough shared memory for the profiles (log_profile_hash_size %u)",
		 log_shards);
	return -1;
}

int dlg_profile_count(void)
{
	return n_defined;
}

struct dlg_str dlg_profile_name(int profile)
{
	return dlg_str_of(defined[profile].name);
}

int dlg_profile_has_values(int profile)
{
	return defined[profile].has_values;
}

int dlg_profile_find(struct dlg_str name)
{
	for (int i = 0; i < n_defined; i++) {
		if (dlg_str_eq(dlg_profile_name(i), name))
			return i;
	}
	return -1;
}

/* ---- the hash table of a shard ----
 *
 * Linear hashing: there are `buckets` buckets, of which the first ones are split already. One more
 * bucket takes what belongs to it from exactly one other, so that no step is long. */

static unsigned log2_of(uint32_t n)
{
	return 31 - (unsigned)__builtin_clz(n);
}

static unsigned segment_of(uint32_t bucket)
{
	return bucket < BASE ? 0 : log2_of(bucket / BASE) + 1;
}

static size_t segment_size(unsigned seg)
{
	return seg ? (size_t)BASE << (seg - 1) : BASE;
}

static struct value **bucket_at(struct shard *s, uint32_t bucket)
{
	unsigned seg = segment_of(bucket);

	return &s->segment[seg][seg ? bucket - ((uint32_t)BASE << (seg - 1)) : bucket];
}

/* Of the buckets 0..n, the one that was split to make bucket n. */
static uint32_t partner_of(uint32_t n)
{
	return n - (1u << log2_of(n));
}

static uint32_t bucket_for(const struct shard *s, uint64_t hash)
{
	uint32_t half = 1u << log2_of(s->buckets);
	uint32_t bucket = (uint32_t)hash & (2 * half - 1);

	return bucket < s->buckets ? bucket : bucket - half;
}

static struct shard *shard_for(uint64_t hash)
{
	return &shards[hash >> (64 - shard_bits)];
}

static void lock(struct shard *s)
{
	dlg_lock_get(&s->lock, DLG_LOCK_LEAF);
}

static void unlock(struct shard *s)
{
	dlg_lock_put(&s->lock, DLG_LOCK_LEAF);
}

static uint64_t hash_of(int profile, struct dlg_str value)
{
	return dlg_str_hash_secret(key, value) ^ (uint64_t)(profile + 1) * 0x9e3779b97f4a7c15u;
}

static struct value *find_locked(struct shard *s, uint64_t hash, int profile, struct dlg_str value)
{
	struct value *v = *bucket_at(s, bucket_for(s, hash));

	for (; v; v = v->chain) {
		if (v->hash == hash && v->profile == profile &&
		    dlg_str_eq((struct dlg_str){ v->bytes, v->len }, value))
			return v;
	}
	return NULL;
}

static void grow_locked(struct shard *s)
{
	uint32_t n = s->buckets;
	struct value **from, **to;

	if (s->values <= n || segment_of(n) >= SEGMENTS || !s->segment[segment_of(n)])
		return;
	from = bucket_at(s, partner_of(n));
	to = bucket_at(s, n);
	*to = NULL;
	__atomic_store_n(&s->buckets, n + 1, __ATOMIC_RELAXED);
	while (*from) {
		struct value *v = *from;

		if (bucket_for(s, v->hash) != n) {
			from = &v->chain;
			continue;
		}
		*from = v->chain;
		v->chain = *to;
		*to = v;
	}
}

/* The reverse. */
static void merge_locked(struct shard *s)
{
	uint32_t n = s->buckets - 1;
	struct value **to, *rest;

	if (n < BASE || s->values >= n / 2)
		return;
	to = bucket_at(s, partner_of(n));
	rest = *to;
	*to = *bucket_at(s, n);
	while (*to)
		to = &(*to)->chain;
	*to = rest;
	__atomic_store_n(&s->buckets, n, __ATOMIC_RELAXED);
}

/* Take a segment away that has no bucket (any more, or yet) and none soon, or NULL. */
static void *unused_locked(struct shard *s)
{
	uint32_t n = s->buckets;
	unsigned seg = segment_of(n);
	void *unused;

	if (seg >= SEGMENTS || segment_of(n - 1) == seg || s->values >= n / 2)
		return NULL;
	unused = s->segment[seg];
	__atomic_store_n(&s->segment[seg], NULL, __ATOMIC_RELAXED);
	return unused;
}

/* Merge twice for each value that leaves, so that it keeps up: an empty shard is as small as at
 * start. Segments have more than two buckets, so there is one to be freed at most. */
static void *shrink_locked(struct shard *s)
{
	void *unused = unused_locked(s);

	for (int i = 0; i < 2; i++) {
		merge_locked(s);
		if (!unused)
			unused = unused_locked(s);
	}
	return unused;
}

/* Before a value is added: the next bucket has a place. Without memory the table stays as it is and
 * its chains become longer. */
static void provide(struct shard *s)
{
	uint32_t n = __atomic_load_n(&s->buckets, __ATOMIC_RELAXED);
	unsigned seg = segment_of(n);
	struct value **fresh;

	if (!seg || seg >= SEGMENTS || __atomic_load_n(&s->values, __ATOMIC_RELAXED) < n ||
	    __atomic_load_n(&s->segment[seg], __ATOMIC_RELAXED))
		return;
	fresh = dlg_mem_alloc(segment_size(seg) * sizeof(struct value *));
	if (!fresh)
		return;
	lock(s);
	if (s->values >= s->buckets && segment_of(s->buckets) == seg && !s->segment[seg]) {
		__atomic_store_n(&s->segment[seg], fresh, __ATOMIC_RELAXED);
		fresh = NULL;
	}
	unlock(s);
	dlg_mem_free(fresh);
}

static void link_locked(struct shard *s, struct value *v)
{
	struct value **bucket = bucket_at(s, bucket_for(s, v->hash));
	struct list *l = &s->lists[v->profile];

	v->chain = *bucket;
	*bucket = v;
	v->prev = l->last;
	v->next = NULL;
	*(l->last ? &l->last->next : &l->first) = v;
	l->last = v;
	__atomic_store_n(&s->values, s->values + 1, __ATOMIC_RELAXED);
	grow_locked(s);
}

static void *unlink_locked(struct shard *s, struct value *v)
{
	struct value **at = bucket_at(s, bucket_for(s, v->hash));
	struct list *l = &s->lists[v->profile];

	while (*at != v)
		at = &(*at)->chain;
	*at = v->chain;
	*(v->prev ? &v->prev->next : &l->first) = v->next;
	*(v->next ? &v->next->prev : &l->last) = v->prev;
	__atomic_store_n(&s->values, s->values - 1, __ATOMIC_RELAXED);
	return shrink_locked(s);
}

/* A value that nobody counts and no walk stands on goes away. Returns what is to be freed after
 * the lock besides the value itself, which is set to NULL when it stays. */
static void *drop_locked(struct shard *s, struct value **v)
{
	if (!(*v)->members && !(*v)->pins)
		return unlink_locked(s, *v);
	*v = NULL;
	return NULL;
}

/* ---- counters ---- */

/* Add one unless the limit is reached. Nonzero when added. */
static int add_below(uint32_t *n, uint32_t limit)
{
	uint32_t now = __atomic_load_n(n, __ATOMIC_RELAXED);

	do {
		if (now >= limit)
			return 0;
	} while (!__atomic_compare_exchange_n(n, &now, now + 1, 1, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return 1;
}

static void subtract(uint32_t *n)
{
	__atomic_fetch_sub(n, 1, __ATOMIC_RELAXED);
}

/* ---- joining ---- */

/* One membership to be made: everything it may need is there before the locks are taken. */
struct plan {
	int profile, has_values;
	struct dlg_str value;
	uint64_t hash;
	uint32_t limit, total_limit; /* of the value, of the profile */
	struct dlg_member *token;
	struct value *fresh; /* used when the value is new */
};

/* Result of a step. */
enum { JOINED = 1, FULL = 0, FAILED = -1 };

static struct value *count_value_locked(struct shard *s, struct plan *p)
{
	struct value *v = find_locked(s, p->hash, p->profile, p->value);

	if ((v ? v->members : 0) >= p->limit)
		return NULL;
	if (!v) {
		v = p->fresh;
		p->fresh = NULL;
		link_locked(s, v);
	}
	if (!v->members++)
		__atomic_fetch_add(&profiles[v->profile].values, 1, __ATOMIC_RELAXED);
	return v;
}

/* The value with one more member, or NULL when it is full. */
static struct value *count_value(struct plan *p)
{
	struct shard *s = shard_for(p->hash);
	struct value *v;

	lock(s);
	v = count_value_locked(s, p);
	unlock(s);
	return v;
}

static void uncount_value(struct value *v)
{
	struct shard *s = shard_for(v->hash);
	void *segment;

	lock(s);
	if (!--v->members)
		subtract(&profiles[v->profile].values);
	segment = drop_locked(s, &v);
	unlock(s);
	dlg_mem_free(v);
	dlg_mem_free(segment);
}

static void count_move(const struct plan *p)
{
	__atomic_fetch_add(&profiles[p->profile].moves, 1, __ATOMIC_SEQ_CST);
}

/* The value first: whoever is turned away by its limit does not show in the profile's count. */
static int count_both(struct plan *p)
{
	struct dlg_member *m = p->token;

	*m = (struct dlg_member){ .profile = (uint16_t)p->profile };
	if (p->has_values && !(m->value = count_value(p)))
		return FULL;
	if (add_below(&profiles[p->profile].members, p->total_limit))
		return JOINED;
	if (m->value)
		uncount_value(m->value);
	return FULL;
}

/* Count one membership and link its token. Entry lock held. */
static int enter_locked(struct dlg_cell *dlg, struct plan *p)
{
	struct dlg_member *m = p->token;
	int ret;

	count_move(p);
	ret = count_both(p);
	count_move(p);
	if (ret != JOINED)
		return ret;
	m->next = dlg->members;
	dlg->members = m;
	dlg->n_members++;
	p->token = NULL;
	return JOINED;
}

/* Take the token at *at away, counters and all. Entry lock held. */
static void leave_locked(struct dlg_cell *dlg, struct dlg_member **at)
{
	struct dlg_member *m = *at;

	*at = m->next;
	dlg->n_members--;
	subtract(&profiles[m->profile].members);
	if (m->value)
		uncount_value(m->value);
	dlg_mem_free(m);
}

static int has_ended(const struct dlg_cell *dlg)
{
	return dlg->state == DLG_STATE_DELETED || dlg->state == DLG_STATE_NONE;
}

/* All or nothing. Entry lock held. */
static int enter_all_locked(struct dlg_cell *dlg, struct plan *plans, unsigned n)
{
	unsigned done = 0;

	if (has_ended(dlg) || dlg->n_members + n > DLG_PROFILE_MEMBERS_MAX)
		return FAILED;
	while (done < n && enter_locked(dlg, &plans[done]) == JOINED)
		done++;
	if (done == n)
		return JOINED;
	while (done--)
		leave_locked(dlg, &dlg->members);
	return FULL;
}

static int enter_all(struct dlg_cell *dlg, struct plan *plans, unsigned n)
{
	int ret;

	dlg_hash_lock(dlg);
	ret = enter_all_locked(dlg, plans, n);
	dlg_hash_unlock(dlg);
	return ret;
}

static struct value *value_new(const struct plan *p)
{
	struct value *v = dlg_mem_alloc(sizeof(*v) + p->value.len);

	if (!v)
		return NULL;
	*v = (struct value){ .hash = p->hash, .len = (uint32_t)p->value.len,
			.profile = (uint16_t)p->profile };
	if (p->value.len)
		memcpy(v->bytes, p->value.s, p->value.len);
	return v;
}

/* Get what the plan needs. 0 or -1. */
static int plan_prepare(struct plan *p)
{
	p->token = dlg_mem_alloc(sizeof(*p->token));
	if (!p->token || p->value.len > DLG_PROFILE_VALUE_MAX)
		return -1;
	if (!p->has_values)
		return 0;
	p->hash = hash_of(p->profile, p->value);
	provide(shard_for(p->hash));
	p->fresh = value_new(p);
	return p->fresh ? 0 : -1;
}

static void plan_free(struct plan *p)
{
	dlg_mem_free(p->token);
	dlg_mem_free(p->fresh);
}

static void complain(struct dlg_cell *dlg, int profile, size_t len)
{
	HOST_LOG(HOST_WARNING,
		 "%s: not added to profile %.*s: it has ended, has too many memberships, the value "
		 "(%zu bytes) is too long, or no memory",
		 dlg_hash_name(dlg), DLG_STR_ARG(dlg_profile_name(profile)), len);
}

static struct plan plan_of(int profile, struct dlg_str value)
{
	struct plan p = { .profile = profile, .has_values = dlg_profile_has_values(profile),
			  .limit = UINT32_MAX, .total_limit = UINT32_MAX };

	if (p.has_values)
		p.value = value;
	return p;
}

int dlg_profile_join(struct dlg_cell *dlg, int profile, struct dlg_str value)
{
	struct plan p = plan_of(profile, value);
	int ret = FAILED;

	if (plan_prepare(&p) == 0)
		ret = enter_all(dlg, &p, 1);
	plan_free(&p);
	if (ret == JOINED)
		return 0;
	complain(dlg, profile, p.value.len);
	return -1;
}

/* ---- limited joining ---- */

static int is_bound_only(const struct dlg_profile_want *w)
{
	return dlg_profile_has_values(w->profile) && !w->has_value;
}

/* Nonzero when the profile is over the limit as it is. */
static int is_over(const struct dlg_profile_want *w)
{
	return dlg_profile_size(w->profile, NULL) > w->limit;
}

/* A limit is for all of the list that counts in the same place: of two, the smaller one holds. */
static void apply_limit(const struct dlg_profile_want *w, struct plan *p)
{
	int whole = !p->has_values || !w->has_value;
	uint32_t *limit = whole ? &p->total_limit : &p->limit;

	if (p->profile != w->profile || (!whole && !dlg_str_eq(p->value, w->value)))
		return;
	if (*limit > w->limit)
		*limit = w->limit;
}

static unsigned make_plans(const struct dlg_profile_want *wants, unsigned n, struct plan *plans)
{
	unsigned joins = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!is_bound_only(&wants[i]))
			plans[joins++] = plan_of(wants[i].profile, wants[i].value);
	}
	for (unsigned i = 0; i < n * joins; i++)
		apply_limit(&wants[i / joins], &plans[i % joins]);
	return joins;
}

static int admit_locked(struct dlg_cell *dlg, const struct dlg_profile_want *wants, unsigned n,
			struct plan *plans, unsigned joins)
{
	for (unsigned i = 0; i < n; i++) {
		if (is_bound_only(&wants[i]) && is_over(&wants[i]))
			return FULL;
	}
	return enter_all(dlg, plans, joins);
}

static int admit(struct dlg_cell *dlg, const struct dlg_profile_want *wants, unsigned n,
		 struct plan *plans, unsigned joins)
{
	int ret;

	dlg_lock_get(&gate->admission, DLG_LOCK_ADMISSION);
	ret = admit_locked(dlg, wants, n, plans, joins);
	dlg_lock_put(&gate->admission, DLG_LOCK_ADMISSION);
	if (ret == FULL)
		dlg_state_count(&gate->refusals);
	return ret;
}

int dlg_profile_join_limited(struct dlg_cell *dlg, const struct dlg_profile_want *wants,
			     unsigned n)
{
	struct plan plans[DLG_PROFILE_WANTS_MAX];
	unsigned joins, ready = 0;
	int ret = FAILED;

	if (!n || n > DLG_PROFILE_WANTS_MAX)
		return -1;
	joins = make_plans(wants, n, plans);
	while (ready < joins && plan_prepare(&plans[ready]) == 0)
		ready++;
	if (ready == joins)
		ret = admit(dlg, wants, n, plans, joins);
	for (unsigned i = 0; i < joins; i++)
		plan_free(&plans[i]);
	if (ret == FAILED && ready < joins)
		complain(dlg, plans[ready].profile, plans[ready].value.len);
	else if (ret == FAILED)
		complain(dlg, wants[0].profile, wants[0].value.len);
	return ret;
}

/* ---- leaving, asking ---- */

static int matches(const struct dlg_member *m, int profile, const struct dlg_str *value)
{
	if (m->profile != profile)
		return 0;
	return !value || !m->value ||
	       dlg_str_eq((struct dlg_str){ m->value->bytes, m->value->len }, *value);
}

int dlg_profile_leave(struct dlg_cell *dlg, int profile, const struct dlg_str *value)
{
	struct dlg_member **at = &dlg->members;
	int found;

	dlg_hash_lock(dlg);
	while (*at && !matches(*at, profile, value))
		at = &(*at)->next;
	found = *at != NULL;
	if (found)
		leave_locked(dlg, at);
	dlg_hash_unlock(dlg);
	return found;
}

unsigned dlg_profile_memberships_locked(const struct dlg_cell *dlg, int profile,
					const struct dlg_str *value)
{
	unsigned n = 0;

	for (const struct dlg_member *m = dlg->members; m; m = m->next)
		n += (unsigned)matches(m, profile, value);
	return n;
}

unsigned dlg_profile_memberships(struct dlg_cell *dlg, int profile, const struct dlg_str *value)
{
	unsigned n;

	dlg_hash_lock(dlg);
	n = dlg_profile_memberships_locked(dlg, profile, value);
	dlg_hash_unlock(dlg);
	return n;
}

void dlg_profile_leave_all_locked(struct dlg_cell *dlg)
{
	while (dlg->members)
		leave_locked(dlg, &dlg->members);
}

/* A copied membership, its value behind it. */
struct copied {
	int profile;
	uint32_t len;
};

static void copy_all(struct dlg_cell *dlg, struct dlg_buf *out)
{
	dlg_hash_lock(dlg);
	for (const struct dlg_member *m = dlg->members; m; m = m->next) {
		struct copied c = { m->profile, m->value ? m->value->len : 0 };

		dlg_buf_add(out, (struct dlg_str){ (const char *)&c, sizeof(c) });
		dlg_buf_add(out, (struct dlg_str){ m->value ? m->value->bytes : NULL, c.len });
	}
	dlg_hash_unlock(dlg);
}

int dlg_profile_each(struct dlg_cell *dlg, dlg_profile_fn *fn, void *arg)
{
	struct dlg_buf copy = { 0 };
	int ret;

	copy_all(dlg, &copy);
	ret = copy.failed ? -1 : 0;
	for (size_t at = 0; !ret && at < copy.len;) {
		struct copied c;

		memcpy(&c, copy.s + at, sizeof(c));
		at += sizeof(c);
		fn(c.profile, (struct dlg_str){ copy.s + at, c.len }, arg);
		at += c.len;
	}
	dlg_buf_free(&copy);
	return ret;
}

void dlg_profile_each_locked(const struct dlg_cell *dlg, dlg_profile_fn *fn, void *arg)
{
	for (const struct dlg_member *m = dlg->members; m; m = m->next)
		fn(m->profile, (struct dlg_str){ m->value ? m->value->bytes : NULL,
						 m->value ? m->value->len : 0 }, arg);
}

void dlg_profile_reverse(struct dlg_cell *dlg)
{
	struct dlg_member *m, *reversed = NULL;

	dlg_hash_lock(dlg);
	while ((m = dlg->members)) {
		dlg->members = m->next;
		m->next = reversed;
		reversed = m;
	}
	dlg->members = reversed;
	dlg_hash_unlock(dlg);
}

/* ---- counts ---- */

static uint32_t value_size(int profile, struct dlg_str value)
{
	uint64_t hash = hash_of(profile, value);
	struct shard *s = shard_for(hash);
	const struct value *v;
	uint32_t n;

	lock(s);
	v = find_locked(s, hash, profile, value);
	n = v ? v->members : 0;
	unlock(s);
	return n;
}

uint32_t dlg_profile_size(int profile, const struct dlg_str *value)
{
	if (value && dlg_profile_has_values(profile))
		return value_size(profile, *value);
	return __atomic_load_n(&profiles[profile].members, __ATOMIC_RELAXED);
}

uint32_t dlg_profile_values(int profile)
{
	return __atomic_load_n(&profiles[profile].values, __ATOMIC_RELAXED);
}

uint64_t dlg_profile_refusals(void)
{
	return __atomic_load_n(&gate->refusals, __ATOMIC_RELAXED);
}

/* ---- walks ---- */

typedef void visit_fn(const struct value *v, void *arg);

/* See up to `max` values from *at on (NULL: the first); *at becomes the next one, pinned, or NULL
 * at the end of the shard. Returns how many have members. */
static unsigned visit_locked(struct shard *s, int profile, struct value **at, unsigned max,
			     visit_fn *visit, void *arg)
{
	struct value *v = *at ? *at : s->lists[profile].first;
	unsigned n = 0;

	for (unsigned seen = 0; v && seen < max; v = v->next, seen++) {
		if (!v->members)
			continue;
		visit(v, arg);
		n++;
	}
	if (v)
		v->pins++;
	*at = v;
	return n;
}

static void unpin(struct shard *s, struct value *v)
{
	void *segment;

	lock(s);
	v->pins--;
	segment = drop_locked(s, &v);
	unlock(s);
	dlg_mem_free(v);
	dlg_mem_free(segment);
}

static unsigned visit_some(struct shard *s, int profile, struct value **at, unsigned max,
			   visit_fn *visit, void *arg)
{
	unsigned n;

	lock(s);
	n = visit_locked(s, profile, at, max, visit, arg);
	unlock(s);
	return n;
}

static unsigned walk(int profile, struct dlg_profile_cursor *cur, unsigned max, visit_fn *visit,
		     void *arg)
{
	unsigned n = 0;

	while (n < max && cur->shard < 1u << shard_bits) {
		struct shard *s = &shards[cur->shard];
		struct value *stood = cur->at, *at = stood;

		n += visit_some(s, profile, &at, max - n < BATCH ? max - n : BATCH, visit, arg);
		if (stood)
			unpin(s, stood);
		cur->at = at;
		cur->shard += !at;
	}
	return n;
}

static void copy_value(const struct value *v, void *arg)
{
	struct dlg_profile_record r = { v->members, v->len };

	dlg_buf_add(arg, (struct dlg_str){ (const char *)&r, sizeof(r) });
	dlg_buf_add(arg, (struct dlg_str){ v->bytes, v->len });
}

unsigned dlg_profile_page(int profile, struct dlg_profile_cursor *cur, unsigned max,
			  struct dlg_buf *out)
{
	return walk(profile, cur, max, copy_value, out);
}

void dlg_profile_stop(struct dlg_profile_cursor *cur)
{
	if (cur->at)
		unpin(&shards[cur->shard], cur->at);
	*cur = (struct dlg_profile_cursor){ UINT32_MAX, NULL };
}

/* ---- proof ---- */

static uint64_t print_of(int profile, const struct value *v)
{
	uint64_t h = (v ? v->hash : 0) + (uint64_t)(profile + 1) * 0xd6e8feb86659fd93u;

	h ^= h >> 29;
	return h * 0xbf58476d1ce4e5b9u;
}

void dlg_profile_census_locked(const struct dlg_cell *dlg, struct dlg_profile_census *sum)
{
	for (const struct dlg_member *m = dlg->members; m; m = m->next) {
		sum->members++;
		sum->print += print_of(m->profile, m->value);
	}
}

static void add_value(const struct value *v, void *arg)
{
	struct dlg_profile_census *sum = arg;

	sum->members += v->members;
	sum->print += v->members * print_of(v->profile, v);
}

uint64_t dlg_profile_moves(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < n_defined; i++)
		sum += __atomic_load_n(&profiles[i].moves, __ATOMIC_SEQ_CST);
	return sum;
}

/* A profile's own counter and the sum of its values' must agree, too. */
static void census_profile(int profile, struct dlg_profile_census *sum)
{
	uint32_t members = dlg_profile_size(profile, NULL);
	struct dlg_profile_census values = { 0, 0 };
	struct dlg_profile_cursor cur = { 0 };

	sum->members += members;
	if (!dlg_profile_has_values(profile)) {
		sum->print += members * print_of(profile, NULL);
		return;
	}
	walk(profile, &cur, UINT32_MAX, add_value, &values);
	sum->print += values.print + (values.members != members);
}

void dlg_profile_census_counters(struct dlg_profile_census *out)
{
	*out = (struct dlg_profile_census){ 0, 0 };
	for (int i = 0; i < n_defined; i++)
		census_profile(i, out);
}

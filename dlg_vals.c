/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_vals.h"

#include "dlg_hash.h"
#include "dlg_mem.h"

/* One value: a piece of shared memory, name and value behind it. */
struct dlg_val {
	struct dlg_val *next;
	uint32_t value_len;
	uint16_t name_len;
	char bytes[];
};

static struct dlg_str name_of(const struct dlg_val *v)
{
	return (struct dlg_str){ v->bytes, v->name_len };
}

static struct dlg_str value_of(const struct dlg_val *v)
{
	return (struct dlg_str){ v->bytes + v->name_len, v->value_len };
}

static struct dlg_val *val_new(struct dlg_str name, struct dlg_str value)
{
	struct dlg_val *v;

	if (!name.len || name.len > DLG_VALS_NAME_MAX || value.len > DLG_VALS_VALUE_MAX)
		return NULL;
	v = dlg_mem_alloc(sizeof(*v) + name.len + value.len);
	if (!v)
		return NULL;
	v->next = NULL;
	v->name_len = (uint16_t)name.len;
	v->value_len = (uint32_t)value.len;
	memcpy(v->bytes, name.s, name.len);
	if (value.len)
		memcpy(v->bytes + name.len, value.s, value.len);
	return v;
}

/* The link that points to `name`, or the list's end. *n: how many values come before it. */
static struct dlg_val **find_locked(struct dlg_cell *dlg, struct dlg_str name, unsigned *n)
{
	struct dlg_val **at = &dlg->vals;

	for (*n = 0; *at && !dlg_str_eq(name_of(*at), name); at = &(*at)->next)
		(*n)++;
	return at;
}

/* Put `v` in. Returns what is to be freed: the value it replaces, NULL, or `v` itself when there
 * are too many. */
static struct dlg_val *replace_locked(struct dlg_cell *dlg, struct dlg_val *v)
{
	unsigned n;
	struct dlg_val **at = find_locked(dlg, name_of(v), &n), *old = *at;

	if (old) {
		v->next = old->next;
		*at = v;
		return old;
	}
	if (n >= DLG_VALS_COUNT_MAX)
		return v;
	v->next = dlg->vals;
	dlg->vals = v;
	return NULL;
}

int dlg_vals_set(struct dlg_cell *dlg, struct dlg_str name, struct dlg_str value)
{
	struct dlg_val *v = val_new(name, value), *spare;

	if (!v)
		return -1;
	dlg_hash_lock(dlg);
	spare = replace_locked(dlg, v);
	dlg_hash_unlock(dlg);
	dlg_mem_free(spare);
	return spare == v ? -1 : 0;
}

int dlg_vals_unset(struct dlg_cell *dlg, struct dlg_str name)
{
	struct dlg_val **at, *v;
	unsigned n;

	dlg_hash_lock(dlg);
	at = find_locked(dlg, name, &n);
	v = *at;
	if (v)
		*at = v->next;
	dlg_hash_unlock(dlg);
	dlg_mem_free(v);
	return v != NULL;
}

int dlg_vals_get(struct dlg_cell *dlg, struct dlg_str name, struct dlg_buf *out)
{
	struct dlg_val *v;
	unsigned n;

	dlg_buf_reset(out);
	dlg_hash_lock(dlg);
	v = *find_locked(dlg, name, &n);
	if (v)
		dlg_buf_add(out, value_of(v));
	dlg_hash_unlock(dlg);
	return out->failed ? -1 : v != NULL;
}

/* Copies of all names and values, each after its lengths. */
static void copy_all(struct dlg_cell *dlg, struct dlg_buf *out)
{
	dlg_hash_lock(dlg);
	for (struct dlg_val *v = dlg->vals; v; v = v->next) {
		size_t len[2] = { v->name_len, v->value_len };

		dlg_buf_add(out, (struct dlg_str){ (const char *)len, sizeof(len) });
		dlg_buf_add(out, (struct dlg_str){ v->bytes, len[0] + len[1] });
	}
	dlg_hash_unlock(dlg);
}

int dlg_vals_each(struct dlg_cell *dlg, dlg_vals_fn *fn, void *arg)
{
	struct dlg_buf copy = { 0 };
	int ret;

	copy_all(dlg, &copy);
	ret = copy.failed ? -1 : 0;
	for (size_t at = 0; !ret && at < copy.len;) {
		size_t len[2];
		const char *name;

		memcpy(len, copy.s + at, sizeof(len));
		name = copy.s + at + sizeof(len);
		fn((struct dlg_str){ name, len[0] }, (struct dlg_str){ name + len[0], len[1] },
		   arg);
		at += sizeof(len) + len[0] + len[1];
	}
	dlg_buf_free(&copy);
	return ret;
}

void dlg_vals_each_locked(const struct dlg_cell *dlg, dlg_vals_fn *fn, void *arg)
{
	for (const struct dlg_val *v = dlg->vals; v; v = v->next)
		fn(name_of(v), value_of(v), arg);
}

void dlg_vals_reverse(struct dlg_cell *dlg)
{
	struct dlg_val *v, *reversed = NULL;

	dlg_hash_lock(dlg);
	while ((v = dlg->vals)) {
		dlg->vals = v->next;
		v->next = reversed;
		reversed = v;
	}
	dlg->vals = reversed;
	dlg_hash_unlock(dlg);
}

uint32_t dlg_vals_flags(struct dlg_cell *dlg)
{
	uint32_t flags;

	dlg_hash_lock(dlg);
	flags = dlg->user_flags;
	dlg_hash_unlock(dlg);
	return flags;
}

void dlg_vals_set_flags(struct dlg_cell *dlg, uint32_t set, uint32_t clear)
{
	dlg_hash_lock(dlg);
	dlg->user_flags = (dlg->user_flags & ~clear) | set;
	dlg_hash_unlock(dlg);
}

void dlg_vals_free(struct dlg_val *list)
{
	while (list) {
		struct dlg_val *v = list;

		list = v->next;
		dlg_mem_free(v);
	}
}

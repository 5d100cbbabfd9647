/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_db_restore.h"

#include "dialog.h"
#include "dlg_db_image.h"
#include "dlg_db_store.h"
#include "dlg_journal.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAMED_MAX = 100, PROGRESS_MS = 2000 };

/* ---- what the journal knows ---- */

/* The newest record of a dialog. */
struct known {
	uint32_t h_entry, h_id;
	uint64_t version;
	int ended, used;
	struct dlg_str image;
};

/* By name, open addressing; `cap` is a power of two. */
static struct {
	struct known *slot;
	size_t n, cap;
	int failed;
} map;

static size_t place(uint32_t h_entry, uint32_t h_id)
{
	uint64_t h = ((uint64_t)h_entry << 32 | h_id) * 0x9e3779b97f4a7c15u;

	return (size_t)(h >> 20) & (map.cap - 1);
}

static struct known *find(uint32_t h_entry, uint32_t h_id)
{
	if (!map.cap)
		return NULL;
	for (size_t i = place(h_entry, h_id);; i = (i + 1) & (map.cap - 1)) {
		struct known *k = &map.slot[i];

		if (!k->used || (k->h_entry == h_entry && k->h_id == h_id))
			return k;
	}
}

static int grow(void)
{
	struct known *old = map.slot;
	size_t old_cap = map.cap, cap = old_cap ? old_cap * 2 : 1024;

	map.slot = calloc(cap, sizeof(*map.slot));
	if (!map.slot) {
		map.slot = old;
		return -1;
	}
	map.cap = cap;
	for (size_t i = 0; i < old_cap; i++) {
		if (old[i].used)
			*find(old[i].h_entry, old[i].h_id) = old[i];
	}
	free(old);
	return 0;
}

/* An end is final, whatever its version. */
static int is_newer(const struct dlg_journal_record *r, const struct known *k)
{
	return !k->used || (!k->ended && (r->ended || r->version > k->version));
}

static void learn(const struct dlg_journal_record *r, void *arg)
{
	struct known *k;

	(void)arg;
	if (map.n * 4 >= map.cap * 3 && grow() < 0) {
		map.failed = 1;
		return;
	}
	k = find(r->h_entry, r->h_id);
	if (!is_newer(r, k))
		return;
	map.n += !k->used;
	*k = (struct known){ .h_entry = r->h_entry, .h_id = r->h_id, .version = r->version,
			     .ended = r->ended, .used = 1, .image = r->image };
}

/* ---- rows ---- */

struct load {
	struct dlg_db_restored *out;
	struct dlg_buf arena;
	uint64_t began, said;
	unsigned rows;
	int no_memory, not_kept;
};

static void progress(struct load *l)
{
	uint64_t now;

	if (++l->rows % 4096)
		return;
	now = host_mono_ms();
	if (now - l->said < PROGRESS_MS)
		return;
	l->said = now;
	host_log(HOST_NOTICE, "database %s: %u rows read so far", dlg_db_store_name(), l->rows);
}

static long long number_of(const struct db_value *v)
{
	return v->kind == DB_INT ? (long long)v->number : -1;
}

static void skip(struct load *l, const struct db_value *v, const char *why)
{
	if (l->out->skipped++ < NAMED_MAX)
		host_log(HOST_WARNING, "database %s: row %s=%lld, %s=%lld is skipped: %s",
			 dlg_db_store_name(), dialog_conf.column[DLG_ROW_h_entry],
			 number_of(&v[DLG_ROW_h_entry]), dialog_conf.column[DLG_ROW_h_id],
			 number_of(&v[DLG_ROW_h_id]), why);
}

static void end_row(struct load *l, uint32_t h_entry, uint32_t h_id)
{
	l->out->ended++;
	l->out->changes++;
	l->no_memory |= dlg_db_push_dead(h_entry, h_id) < 0;
}

static const char *reason(enum dlg_db_made made)
{
	switch (made) {
	case DLG_DB_DUPLICATE: return "there is one of that name already";
	case DLG_DB_NO_SOCKET: return "its local socket is none of this proxy any more";
	default: return "no shared memory is left";
	}
}

/* A sound row becomes a dialog. `version`: of the journal, 0 for a row of the table. */
static void make(struct load *l, const struct db_value *v, const struct dlg_row *row,
		 uint64_t version)
{
	struct dlg_cell *dlg;
	enum dlg_db_made made = dlg_db_image_make(row, &l->out->lost, &dlg);

	l->no_memory |= made == DLG_DB_NO_MEMORY;
	if (made != DLG_DB_MADE) {
		skip(l, v, reason(made));
		return;
	}
	l->out->restored++;
	l->out->expired += row->timeout <= host_wall_s();
	l->out->changes += version != 0;
	l->out->journal += version != 0;
	l->no_memory |= dlg_db_push_restored(dlg, version) < 0;
}

static void read_row(struct load *l, const struct db_value *v, uint64_t version)
{
	static struct dlg_row row;
	const char *why;

	if (dlg_row_read(v, dlg_hash_size(), &row, &l->arena, &why) < 0)
		skip(l, v, why);
	else if (row.state == DLG_STATE_DELETED)
		end_row(l, row.h_entry, row.h_id);
	else
		make(l, v, &row, version);
}

static int is_name(const struct db_value *v)
{
	return v->kind == DB_INT && v->number >= 0 && v->number <= UINT32_MAX;
}

/* From new dialogs. */
static void keep_name(uint32_t h_entry, uint32_t h_id)
{
	if (h_entry < dlg_hash_size())
		dlg_hash_skip_id(h_entry, h_id);
}

/* A row of the table, unless the journal knows better. It may be skipped, and stays then: no new
 * dialog gets its name. */
static void load_row(const struct db_value values[DLG_ROW_N], void *arg)
{
	const struct db_value *e = &values[DLG_ROW_h_entry], *id = &values[DLG_ROW_h_id];
	const struct known *k = NULL;

	progress(arg);
	if (is_name(e) && is_name(id)) {
		keep_name((uint32_t)e->number, (uint32_t)id->number);
		k = find((uint32_t)e->number, (uint32_t)id->number);
	}
	if (!k || !k->used)
		read_row(arg, values, 0);
}

/* ---- the journal over the table ---- */

static void read_image(struct load *l, const struct known *k)
{
	struct db_value values[DLG_ROW_N];

	if (dlg_row_values(k->image, DLG_STR_NONE, values) < 0) {
		host_log(HOST_WARNING, "journal: the record of dialog %u:%u is damaged", k->h_entry,
			 k->h_id);
		l->out->skipped++;
		return;
	}
	read_row(l, values, k->version ? k->version : 1);
}

/* Perhaps a parameter is wrong, and the next start knows what to do with it. Nothing else does: its
 * segment goes. */
static void keep(struct load *l, const struct known *k)
{
	struct dlg_journal_record r = { .h_entry = k->h_entry, .h_id = k->h_id,
					.version = k->version, .image = k->image };

	l->out->kept++;
	if (!l->not_kept && dlg_journal_skip(&r) < 0)
		l->not_kept = 1;
}

static void load_known(struct load *l, const struct known *k)
{
	unsigned before = l->out->skipped;

	keep_name(k->h_entry, k->h_id);
	if (k->ended)
		end_row(l, k->h_entry, k->h_id);
	else
		read_image(l, k);
	if (l->out->skipped != before)
		keep(l, k);
}

static void load_journal(struct load *l)
{
	for (size_t i = 0; i < map.cap; i++) {
		if (map.slot[i].used)
			load_known(l, &map.slot[i]);
	}
}

/* ---- all of it ---- */

static void sum_up(const struct load *l)
{
	const struct dlg_db_restored *r = l->out;
	char more[160] = "";

	if (r->skipped > NAMED_MAX)
		snprintf(more, sizeof(more), "; the first %d skipped rows are named above, \"dlgctl db "
					     "check\" lists all", NAMED_MAX);
	host_log(HOST_NOTICE,
		 "database %s: %u dialogs restored (%u from the journal, %u of them expired "
		 "meanwhile), %u had ended, %u rows skipped, %u memberships of unknown profiles left "
		 "out, in %u ms%s",
		 dlg_db_store_name(), r->restored, r->journal, r->expired, r->ended, r->skipped,
		 r->lost, (unsigned)(host_mono_ms() - l->began), more);
}

static void tell_kept(unsigned kept)
{
	if (kept)
		host_log(HOST_WARNING,
			 "journal: %u calls that are in it were skipped: they wait in "
			 "dialog-skipped.journal for the next start",
			 kept);
}

static int load(struct load *l)
{
	if (dlg_journal_on() && dlg_journal_read(learn, NULL) < 0)
		return -1;
	if (map.failed) {
		host_log(HOST_ERROR, "the journal cannot be read: no memory");
		return -1;
	}
	if (dlg_db_store_load(load_row, l) < 0) {
		host_log(HOST_ERROR, "database %s: the table cannot be read: %s",
			 dlg_db_store_name(), dlg_db_store_error());
		return -1;
	}
	load_journal(l);
	if (l->not_kept)
		return -1;
	if (!l->no_memory)
		return 0;
	host_log(HOST_ERROR,
		 "database %s: shared memory is too small for all dialogs: start with more (\"dlgctl db "
		 "check\" tells how much they need)",
		 dlg_db_store_name());
	return -1;
}

int dlg_db_restore(struct dlg_db_restored *out)
{
	struct load l = { .out = out, .began = host_mono_ms(), .said = host_mono_ms() };
	int ret = load(&l);

	if (ret == 0) {
		sum_up(&l);
		tell_kept(out->kept);
	}
	if (dlg_journal_on())
		dlg_journal_read_end();
	dlg_buf_free(&l.arena);
	free(map.slot);
	memset(&map, 0, sizeof(map));
	return ret;
}

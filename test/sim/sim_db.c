/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_db.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../dialog.h"
#include "../../dlg_db_image.h"
#include "../../dlg_hash.h"
#include "../../dlg_state.h"
#include "sim_host.h"

struct sim_db sim_db;

struct row {
	struct db_value v[DLG_ROW_N];
	int deleted_by_us, added_by_us; /* in the open transaction */
	struct db_value old[DLG_ROW_N]; /* before it */
	int has_old;
};

struct db_conn {
	int in_transaction;
};

static struct row *rows;
static unsigned n_rows, cap_rows;
static char reason[64];

/* ---- rows ---- */

static struct db_value copy_value(struct db_value v)
{
	char *text;

	if (v.kind != DB_TEXT)
		return v;
	text = malloc(v.text.len + 1);
	if (!text)
		abort();
	if (v.text.len)
		memcpy(text, v.text.s, v.text.len);
	v.text.s = text;
	return v;
}

static void free_values(struct db_value *v)
{
	for (int i = 0; i < DLG_ROW_N; i++) {
		if (v[i].kind == DB_TEXT)
			free((char *)v[i].text.s);
		v[i] = db_null();
	}
}

static void copy_values(struct db_value *to, const struct db_value *from)
{
	for (int i = 0; i < DLG_ROW_N; i++)
		to[i] = copy_value(from[i]);
}

static struct row *find(struct dlg_str node, int64_t h_entry, int64_t h_id)
{
	for (unsigned i = 0; i < n_rows; i++) {
		struct row *r = &rows[i];

		if (!r->deleted_by_us && r->v[DLG_ROW_h_entry].number == h_entry &&
		    r->v[DLG_ROW_h_id].number == h_id && dlg_str_eq(r->v[DLG_ROW_node].text, node))
			return r;
	}
	return NULL;
}

static struct row *find_ours(uint32_t h_entry, uint32_t h_id)
{
	return find(dlg_str_of(dialog_conf.db_node), h_entry, h_id);
}

static struct row *add_row(void)
{
	if (n_rows == cap_rows) {
		cap_rows = cap_rows ? cap_rows * 2 : 64;
		rows = realloc(rows, cap_rows * sizeof(*rows));
		if (!rows)
			abort();
	}
	memset(&rows[n_rows], 0, sizeof(*rows));
	return &rows[n_rows++];
}

static void drop_row(struct row *r)
{
	free_values(r->v);
	if (r->has_old)
		free_values(r->old);
	*r = rows[--n_rows];
}

/* The open transaction becomes true, or never was. */
static void settle(int keep)
{
	for (unsigned i = 0; i < n_rows;) {
		struct row *r = &rows[i];

		if (keep ? r->deleted_by_us : r->added_by_us) {
			drop_row(r);
			continue;
		}
		if (!keep && r->has_old) {
			free_values(r->v);
			memcpy(r->v, r->old, sizeof(r->v));
			memset(r->old, 0, sizeof(r->old));
		} else if (r->has_old) {
			free_values(r->old);
		}
		r->has_old = r->deleted_by_us = r->added_by_us = 0;
		i++;
	}
	sim_db.rows = n_rows;
}

/* ---- failing on request ---- */

static enum db_result call(struct db_conn *conn, enum sim_db_call which)
{
	sim_db.calls[which]++;
	if (dlg_lock_held())
		sim_violation("database called under a lock");
	snprintf(reason, sizeof(reason), "told to fail");
	if (sim_db.away || sim_db.lose_all & 1u << which || (sim_db.lose_in && sim_db.lose_call == which && !--sim_db.lose_in)) {
		if (sim_db.lose_after && which == SIM_DB_COMMIT)
			settle(1);
		else
			settle(0);
		return DB_LOST;
	}
	if (conn && which != SIM_DB_BEGIN && !conn->in_transaction && which <= SIM_DB_REMOVE)
		sim_violation("database: a change outside a transaction");
	return DB_OK;
}

/* ---- the driver ---- */

static enum db_result open_it(const struct db_url *url, struct db_conn **conn, char *why,
			      size_t size)
{
	sim_db.timeout_ms = url->timeout_ms;
	if (call(NULL, SIM_DB_OPEN) != DB_OK) {
		snprintf(why, size, "%s", reason);
		return DB_LOST;
	}
	*conn = calloc(1, sizeof(**conn));
	sim_db.open_conns++;
	return *conn ? DB_OK : DB_LOST;
}

static void close_it(struct db_conn *conn)
{
	if (conn->in_transaction)
		settle(0);
	free(conn);
	sim_db.open_conns--;
}

static const char *error(struct db_conn *conn)
{
	(void)conn;
	return reason;
}

static enum db_result begin(struct db_conn *conn)
{
	if (conn->in_transaction)
		sim_violation("database: two transactions at once");
	if (call(conn, SIM_DB_BEGIN) != DB_OK)
		return DB_LOST;
	conn->in_transaction = 1;
	return DB_OK;
}

static enum db_result commit(struct db_conn *conn)
{
	if (call(conn, SIM_DB_COMMIT) != DB_OK)
		return DB_LOST;
	conn->in_transaction = 0;
	settle(1);
	return DB_OK;
}

static enum db_result rollback(struct db_conn *conn)
{
	if (call(conn, SIM_DB_ROLLBACK) != DB_OK)
		return DB_LOST;
	conn->in_transaction = 0;
	settle(0);
	return DB_OK;
}

static enum db_result upsert_one(const struct db_value *v)
{
	struct row *r = find(v[DLG_ROW_node].text, v[DLG_ROW_h_entry].number,
			     v[DLG_ROW_h_id].number);

	if (sim_db.refuse_all ||
	    (sim_db.refuse_id && v[DLG_ROW_h_id].number == sim_db.refuse_id))
		return DB_REFUSED;
	if (!r) {
		r = add_row();
		r->added_by_us = 1;
	} else if (!r->has_old) {
		memcpy(r->old, r->v, sizeof(r->old));
		r->has_old = 1;
	} else {
		free_values(r->v);
	}
	copy_values(r->v, v);
	return DB_OK;
}

static enum db_result upsert(struct db_conn *conn, const struct db_table *t,
			     const struct db_value *values, unsigned n)
{
	enum db_result ret = call(conn, SIM_DB_UPSERT);

	if (n < 1 || n > DB_BATCH_MAX || t->n_columns != DLG_ROW_N)
		sim_violation("database: %u rows at once", n);
	if (sim_db.meanwhile)
		sim_db.meanwhile();
	if (ret == DB_OK && sim_db.again) {
		sim_db.again--;
		return DB_AGAIN;
	}
	for (unsigned i = 0; i < n && ret == DB_OK; i++)
		ret = upsert_one(values + (size_t)i * DLG_ROW_N);
	return ret;
}

static enum db_result remove_rows(struct db_conn *conn, const struct db_table *t,
				  const struct db_value *keys, unsigned n)
{
	if (call(conn, SIM_DB_REMOVE) != DB_OK)
		return DB_LOST;
	if (n < 1 || n > DB_BATCH_MAX)
		sim_violation("database: %u rows deleted at once", n);
	for (unsigned i = 0; i < n; i++) {
		const struct db_value *key = keys + (size_t)i * t->n_keys;
		struct row *r = find(key[0].text, key[1].number, key[2].number);

		if (r)
			r->deleted_by_us = 1;
	}
	return DB_OK;
}

/* When it is told to fail, it does so half way. */
static enum db_result select_rows(struct db_conn *conn, const struct db_table *t,
				  struct dlg_str node, db_row_fn *fn, void *arg)
{
	enum db_result ret = call(conn, SIM_DB_SELECT);
	unsigned end = ret == DB_OK ? n_rows : n_rows / 2;

	(void)t;
	if (sim_db.mem_in && sim_db.mem_once)
		sim_faults.mem_fail = sim_db.mem_in;
	else if (sim_db.mem_in)
		sim_faults.mem_allow = sim_db.mem_in - 1;
	for (unsigned i = 0; i < end; i++) {
		if (rows[i].deleted_by_us || !dlg_str_eq(rows[i].v[DLG_ROW_node].text, node))
			continue;
		if (fn(rows[i].v, arg))
			return DB_OK;
	}
	return ret;
}

static enum db_result count(struct db_conn *conn, const struct db_table *t, struct dlg_str node,
			    uint64_t *out)
{
	enum db_result ret = call(conn, SIM_DB_COUNT);

	(void)t;
	*out = 0;
	for (unsigned i = 0; i < n_rows && ret == DB_OK; i++)
		*out += !rows[i].deleted_by_us && dlg_str_eq(rows[i].v[DLG_ROW_node].text, node);
	return ret;
}

static enum db_result columns(struct db_conn *conn, const char *table, db_row_fn *fn, void *arg)
{
	(void)conn;
	(void)table;
	if (call(NULL, SIM_DB_COLUMNS) != DB_OK)
		return DB_LOST;
	for (int i = 0; i < DLG_ROW_N; i++) {
		struct db_value name = db_text(dlg_str_of(dialog_conf.column[i]));

		fn(&name, arg);
	}
	return DB_OK;
}

static enum db_result keyed(struct db_conn *conn, const struct db_table *t, int *out)
{
	(void)conn;
	(void)t;
	*out = 1;
	return DB_OK;
}

static enum db_result version(struct db_conn *conn, const char *table, unsigned *out)
{
	(void)conn;
	(void)table;
	*out = DLG_ROW_TABLE_VERSION;
	return call(NULL, SIM_DB_VERSION);
}

static void schema(const struct db_table *t, struct dlg_buf *out)
{
	dlg_buf_printf(out, "-- %s\n", t->name);
}

static enum db_result create(struct db_conn *conn, const struct db_table *t)
{
	(void)conn;
	(void)t;
	return call(NULL, SIM_DB_CREATE);
}

static const struct db_driver driver = {
	.abi = DB_DRIVER_ABI, .size = sizeof(driver), .name = "fake", .schemes = "fake",
	.open = open_it, .close = close_it, .error = error, .begin = begin, .commit = commit,
	.rollback = rollback, .upsert = upsert, .remove = remove_rows, .select = select_rows,
	.count = count, .columns = columns, .keyed = keyed, .version = version, .schema = schema,
	.create = create,
};

/* ---- for tests ---- */

void sim_db_use(int mode)
{
	static char url[] = "fake://user:secret@host/db";

	sim_db_clear();
	memset(&sim_db, 0, sizeof(sim_db));
	db_driver_register(&driver);
	dialog_conf.db_url = url;
	dialog_conf.db_mode = mode;
}

const struct db_value *sim_db_row(uint32_t h_entry, uint32_t h_id)
{
	struct row *r = find_ours(h_entry, h_id);

	return r ? r->v : NULL;
}

const struct db_value *sim_db_nth(unsigned n)
{
	return n < n_rows ? rows[n].v : NULL;
}

void sim_db_put(const struct db_value values[DLG_ROW_N])
{
	copy_values(add_row()->v, values);
	sim_db.rows = n_rows;
}

void sim_db_set(uint32_t h_entry, uint32_t h_id, enum dlg_row_column column, struct db_value v)
{
	struct row *r = find_ours(h_entry, h_id);

	if (!r)
		abort();
	if (r->v[column].kind == DB_TEXT)
		free((char *)r->v[column].text.s);
	r->v[column] = copy_value(v);
}

void sim_db_clear(void)
{
	while (n_rows)
		drop_row(&rows[n_rows - 1]);
	free(rows);
	rows = NULL;
	cap_rows = 0;
}

static void save_value(FILE *f, const struct db_value *v)
{
	fwrite(v, sizeof(*v), 1, f);
	if (v->kind == DB_TEXT && v->text.len)
		fwrite(v->text.s, v->text.len, 1, f);
}

void sim_db_save(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		abort();
	for (unsigned i = 0; i < n_rows; i++) {
		for (int c = 0; c < DLG_ROW_N; c++)
			save_value(f, &rows[i].v[c]);
	}
	if (fclose(f))
		abort();
}

/* Nonzero when there was one. */
static int load_value(FILE *f, struct db_value *v)
{
	char *text;

	if (fread(v, sizeof(*v), 1, f) != 1)
		return 0;
	if (v->kind != DB_TEXT)
		return 1;
	text = malloc(v->text.len + 1);
	if (!text || (v->text.len && fread(text, v->text.len, 1, f) != 1))
		abort();
	v->text.s = text;
	return 1;
}

void sim_db_load(const char *path)
{
	FILE *f = fopen(path, "r");
	struct db_value v;

	sim_db_clear();
	for (unsigned i = 0; f && load_value(f, &v); i++) {
		struct row *r = i % DLG_ROW_N ? &rows[n_rows - 1] : add_row();

		r->v[i % DLG_ROW_N] = v;
	}
	if (f)
		fclose(f);
	sim_db.rows = n_rows;
}

/* ---- against memory ---- */

static int equal(const struct db_value *a, const struct db_value *b)
{
	if (a->kind != b->kind)
		return 0;
	return a->kind == DB_TEXT ? dlg_str_eq(a->text, b->text) : a->number == b->number;
}

static void compare_row(const struct dlg_cell *dlg, const struct db_value *want)
{
	const struct db_value *row = sim_db_row(dlg->h_entry, dlg->h_id);

	if (!row) {
		sim_violation("database: dialog %u:%u has no row", dlg->h_entry, dlg->h_id);
		return;
	}
	for (int i = 0; i < DLG_ROW_N; i++) {
		if (!equal(&row[i], &want[i]))
			sim_violation("database: dialog %u:%u: column %d is \"%.*s\" (%lld), not \"%.*s\" (%lld)",
				      dlg->h_entry, dlg->h_id, i, DLG_STR_ARG(row[i].text),
				      (long long)row[i].number, DLG_STR_ARG(want[i].text),
				      (long long)want[i].number);
	}
}

/* Whether it is one that has a row. */
static int compare_dialog(const struct dlg_cell *dlg)
{
	struct db_value want[DLG_ROW_N];
	struct dlg_buf image = { 0 };
	int answered;

	dlg_hash_lock(dlg);
	answered = dlg->state == DLG_STATE_CONFIRMED_NA || dlg->state == DLG_STATE_CONFIRMED;
	if (answered)
		dlg_db_image_locked(dlg, &image);
	dlg_hash_unlock(dlg);
	if (answered && dlg_row_values(dlg_buf_view(&image), dlg_str_of(dialog_conf.db_node), want))
		sim_violation("database: no image of dialog %u:%u", dlg->h_entry, dlg->h_id);
	else if (answered)
		compare_row(dlg, want);
	dlg_buf_free(&image);
	return answered;
}

void sim_db_compare(void)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *dlg;
	unsigned answered = 0;

	while (dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL)) {
		answered += (unsigned)compare_dialog(dlg);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
	if (answered != sim_db.rows)
		sim_violation("database: %u rows of %u answered dialogs", sim_db.rows, answered);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void sim_db_remove_dir(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SQLite: an embedded database in one file, sqlite:///absolute/path. It makes file and table by
 * itself. */
#include "db.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/* A prepared statement, kept for its number of rows. */
struct kept {
	unsigned rows;
	sqlite3_stmt *stmt;
};

enum { KEEP = 4 };

struct db_conn {
	sqlite3 *db;
	struct kept upsert[KEEP], remove[KEEP];
	unsigned next;
	char why[256];
};

/* ---- errors ---- */

/* What a result code of SQLite means to the caller. */
static enum db_result result_of(struct db_conn *c, int code)
{
	if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW)
		return DB_OK;
	snprintf(c->why, sizeof(c->why), "%s", sqlite3_errmsg(c->db));
	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
	case SQLITE_ERROR:
	case SQLITE_RANGE:
		return DB_REFUSED;
	default: /* busy, full, I/O error, corrupt ...: it may be better later */
		return DB_LOST;
	}
}

static const char *error(struct db_conn *c)
{
	return c->why;
}

static enum db_result run(struct db_conn *c, const char *sql)
{
	return result_of(c, sqlite3_exec(c->db, sql, NULL, NULL, NULL));
}

/* ---- connections ---- */

static void forget(struct kept *k)
{
	sqlite3_finalize(k->stmt);
	*k = (struct kept){ 0 };
}

static void close_it(struct db_conn *c)
{
	for (int i = 0; i < KEEP; i++) {
		forget(&c->upsert[i]);
		forget(&c->remove[i]);
	}
	sqlite3_close(c->db);
	free(c);
}

/* With a write-ahead log readers and the writer do not wait for each other, and NORMAL loses nothing
 * when processes are killed. */
static enum db_result set_up(struct db_conn *c, unsigned timeout_ms)
{
	sqlite3_busy_timeout(c->db, (int)timeout_ms);
	return run(c, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL");
}

static enum db_result open_it(const struct db_url *url, struct db_conn **conn, char *why, size_t size)
{
	struct db_conn *c = calloc(1, sizeof(*c));
	char path[4096];
	int code;

	if (!c || url->host[0] || !url->database[0]) {
		free(c);
		snprintf(why, size, "sqlite:///absolute/path is wanted");
		return DB_LOST;
	}
	snprintf(path, sizeof(path), "/%s", url->database);
	code = sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	if (result_of(c, code) != DB_OK || set_up(c, url->timeout_ms) != DB_OK) {
		snprintf(why, size, "%s: %s", path, c->why);
		close_it(c);
		return DB_LOST;
	}
	*conn = c;
	return DB_OK;
}

static enum db_result begin(struct db_conn *c)
{
	return run(c, "BEGIN IMMEDIATE");
}

static enum db_result commit(struct db_conn *c)
{
	return run(c, "COMMIT");
}

static enum db_result rollback(struct db_conn *c)
{
	return run(c, "ROLLBACK");
}

/* ---- statements ---- */

static void add_columns(struct dlg_buf *sql, const struct db_table *t, unsigned from, unsigned to,
			const char *pattern)
{
	for (unsigned i = from; i < to; i++) {
		if (i > from)
			dlg_buf_add(sql, DLG_STR(","));
		for (const char *p = pattern; *p; p++) {
			if (*p == '$')
				dlg_buf_printf(sql, "\"%s\"", t->column[i].name);
			else
				dlg_buf_add(sql, (struct dlg_str){ p, 1 });
		}
	}
}

/* "(?,?,?),(?,?,?)" */
static void add_places(struct dlg_buf *sql, unsigned columns, unsigned rows)
{
	for (unsigned r = 0; r < rows; r++) {
		for (unsigned i = 0; i < columns; i++)
			dlg_buf_printf(sql, "%s?", i ? "," : r ? ",(" : "(");
		dlg_buf_add(sql, DLG_STR(")"));
	}
}

static void write_upsert(struct dlg_buf *sql, const struct db_table *t, unsigned rows)
{
	dlg_buf_printf(sql, "INSERT INTO \"%s\" (", t->name);
	add_columns(sql, t, 0, t->n_columns, "$");
	dlg_buf_add(sql, DLG_STR(") VALUES "));
	add_places(sql, t->n_columns, rows);
	dlg_buf_add(sql, DLG_STR(" ON CONFLICT ("));
	add_columns(sql, t, 0, t->n_keys, "$");
	dlg_buf_add(sql, DLG_STR(") DO UPDATE SET "));
	add_columns(sql, t, t->n_keys, t->n_columns, "$=excluded.$");
}

static void write_remove(struct dlg_buf *sql, const struct db_table *t, unsigned rows)
{
	dlg_buf_printf(sql, "DELETE FROM \"%s\" WHERE (", t->name);
	add_columns(sql, t, 0, t->n_keys, "$");
	dlg_buf_add(sql, DLG_STR(") IN (VALUES "));
	add_places(sql, t->n_keys, rows);
	dlg_buf_add(sql, DLG_STR(")"));
}

typedef void write_fn(struct dlg_buf *sql, const struct db_table *t, unsigned rows);

/* The statement for that many rows: prepared once, the least recently made one gives way. */
static sqlite3_stmt *statement(struct db_conn *c, struct kept *kept, write_fn *write,
			       const struct db_table *t, unsigned rows)
{
	struct dlg_buf sql = { 0 };
	struct kept *k;

	for (int i = 0; i < KEEP; i++) {
		if (kept[i].rows == rows)
			return kept[i].stmt;
	}
	k = &kept[c->next++ % KEEP];
	forget(k);
	write(&sql, t, rows);
	if (!sql.failed &&
	    result_of(c, sqlite3_prepare_v2(c->db, sql.s, (int)sql.len, &k->stmt, NULL)) == DB_OK)
		k->rows = rows;
	dlg_buf_free(&sql);
	return k->rows ? k->stmt : NULL;
}

static int bind(sqlite3_stmt *s, int at, const struct db_value *v)
{
	switch (v->kind) {
	case DB_INT:
		return sqlite3_bind_int64(s, at, v->number);
	case DB_TEXT:
		return sqlite3_bind_text64(s, at, v->text.s ? v->text.s : "", v->text.len,
					   SQLITE_STATIC, SQLITE_UTF8);
	default:
		return sqlite3_bind_null(s, at);
	}
}

static enum db_result execute(struct db_conn *c, sqlite3_stmt *s, const struct db_value *values,
			      unsigned n)
{
	enum db_result ret = s ? DB_OK : DB_REFUSED;

	for (unsigned i = 0; i < n && ret == DB_OK; i++)
		ret = result_of(c, bind(s, (int)i + 1, &values[i]));
	if (ret == DB_OK)
		ret = result_of(c, sqlite3_step(s));
	if (s) {
		sqlite3_reset(s);
		sqlite3_clear_bindings(s);
	}
	return ret;
}

static enum db_result upsert(struct db_conn *c, const struct db_table *t,
			     const struct db_value *values, unsigned n_rows)
{
	return execute(c, statement(c, c->upsert, write_upsert, t, n_rows), values,
		       n_rows * t->n_columns);
}

static enum db_result remove_rows(struct db_conn *c, const struct db_table *t,
				  const struct db_value *keys, unsigned n_rows)
{
	return execute(c, statement(c, c->remove, write_remove, t, n_rows), keys, n_rows * t->n_keys);
}

/* ---- reading ---- */

static struct db_value column_value(sqlite3_stmt *s, int i)
{
	switch (sqlite3_column_type(s, i)) {
	case SQLITE_NULL:
		return db_null();
	case SQLITE_INTEGER:
		return db_int(sqlite3_column_int64(s, i));
	default: {
		const char *text = (const char *)sqlite3_column_text(s, i);

		return db_text((struct dlg_str){ text, (size_t)sqlite3_column_bytes(s, i) });
	}
	}
}

/* Rows of a prepared query through `fn`; the statement is used up. */
static enum db_result read_rows(struct db_conn *c, sqlite3_stmt *s, db_row_fn *fn, void *arg)
{
	struct db_value row[DB_COLUMNS_MAX];
	int n = sqlite3_column_count(s), code;

	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		for (int i = 0; i < n; i++)
			row[i] = column_value(s, i);
		if (fn(row, arg))
			break;
	}
	sqlite3_finalize(s);
	return result_of(c, code);
}

/* A query with one text bound to it. */
static enum db_result query(struct db_conn *c, struct dlg_buf *sql, struct dlg_str bound,
			    db_row_fn *fn, void *arg)
{
	struct db_value v = db_text(bound);
	sqlite3_stmt *s = NULL;
	enum db_result ret = sql->failed ? DB_LOST
					 : result_of(c, sqlite3_prepare_v2(c->db, sql->s, (int)sql->len,
									   &s, NULL));

	dlg_buf_free(sql);
	if (ret != DB_OK)
		return ret;
	bind(s, 1, &v);
	return read_rows(c, s, fn, arg);
}

static enum db_result select_rows(struct db_conn *c, const struct db_table *t, struct dlg_str node,
				  db_row_fn *fn, void *arg)
{
	struct dlg_buf sql = { 0 };

	dlg_buf_add(&sql, DLG_STR("SELECT "));
	add_columns(&sql, t, 0, t->n_columns, "$");
	dlg_buf_printf(&sql, " FROM \"%s\" WHERE \"%s\"=? ORDER BY ", t->name, t->column[0].name);
	add_columns(&sql, t, 0, t->n_keys, "$");
	return query(c, &sql, node, fn, arg);
}

static int take_number(const struct db_value *v, void *arg)
{
	*(int64_t *)arg = v->kind == DB_INT ? v->number : 0;
	return 1;
}

static enum db_result count(struct db_conn *c, const struct db_table *t, struct dlg_str node,
			    uint64_t *out)
{
	struct dlg_buf sql = { 0 };
	int64_t n = 0;
	enum db_result ret;

	dlg_buf_printf(&sql, "SELECT count(*) FROM \"%s\" WHERE \"%s\"=?", t->name, t->column[0].name);
	ret = query(c, &sql, node, take_number, &n);
	*out = (uint64_t)n;
	return ret;
}

static enum db_result columns(struct db_conn *c, const char *table, db_row_fn *fn, void *arg)
{
	struct dlg_buf sql = { 0 };

	dlg_buf_add(&sql, DLG_STR("SELECT name FROM pragma_table_info(?)"));
	return query(c, &sql, dlg_str_of(table), fn, arg);
}

static int is_there(const struct db_value *v, void *arg)
{
	(void)v;
	return *(int *)arg = 1;
}

static enum db_result version(struct db_conn *c, const char *table, unsigned *out)
{
	struct dlg_buf sql = { 0 };
	int64_t n = 0;
	int there = 0;
	enum db_result ret = columns(c, "version", is_there, &there);

	*out = 0;
	if (ret != DB_OK || !there)
		return ret;
	dlg_buf_add(&sql, DLG_STR("SELECT table_version FROM version WHERE table_name=?"));
	ret = query(c, &sql, dlg_str_of(table), take_number, &n);
	*out = (unsigned)n;
	return ret;
}

/* ---- making the table ---- */

static const char *type_of(enum db_kind kind)
{
	switch (kind) {
	case DB_KEY_TEXT: return "TEXT NOT NULL";
	case DB_KEY_INT: return "INTEGER NOT NULL";
	case DB_COL_INT: return "INTEGER";
	default: return "TEXT";
	}
}

static void write_create(struct dlg_buf *sql, const struct db_table *t)
{
	dlg_buf_add(sql, DLG_STR("CREATE TABLE IF NOT EXISTS version ("
				 "table_name TEXT NOT NULL PRIMARY KEY, "
				 "table_version INTEGER NOT NULL DEFAULT 0);\n"));
	dlg_buf_printf(sql, "CREATE TABLE IF NOT EXISTS \"%s\" (\n", t->name);
	for (unsigned i = 0; i < t->n_columns; i++)
		dlg_buf_printf(sql, "\t\"%s\" %s,\n", t->column[i].name, type_of(t->column[i].kind));
	dlg_buf_add(sql, DLG_STR("\tPRIMARY KEY ("));
	add_columns(sql, t, 0, t->n_keys, "$");
	dlg_buf_add(sql, DLG_STR(")\n) WITHOUT ROWID;\n"));
	for (unsigned i = 0; i < t->n_columns; i++) {
		if (t->column[i].indexed)
			dlg_buf_printf(sql, "CREATE INDEX IF NOT EXISTS \"%s_%s\" ON \"%s\" (\"%s\");\n",
				       t->name, t->column[i].name, t->name, t->column[i].name);
	}
	dlg_buf_printf(sql, "INSERT OR IGNORE INTO version (table_name, table_version) "
			    "VALUES ('%s', %u);\n", t->name, t->version);
	dlg_buf_add(sql, (struct dlg_str){ "", 1 });
}

static enum db_result create(struct db_conn *c, const struct db_table *t)
{
	struct dlg_buf sql = { 0 };
	enum db_result ret;

	write_create(&sql, t);
	ret = sql.failed ? DB_LOST : run(c, sql.s);
	dlg_buf_free(&sql);
	return ret;
}

__attribute__((visibility("default"))) extern const struct db_driver DB_DRIVER_SYMBOL;
const struct db_driver DB_DRIVER_SYMBOL = {
	.abi = DB_DRIVER_ABI, .size = sizeof(struct db_driver), .name = "sqlite",
	.schemes = "sqlite", .makes_tables = 1, .open = open_it, .close = close_it, .error = error,
	.begin = begin, .commit = commit, .rollback = rollback, .upsert = upsert,
	.remove = remove_rows, .select = select_rows, .count = count, .columns = columns,
	.version = version, .create = create,
};

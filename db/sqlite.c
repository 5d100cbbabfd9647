/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SQLite: an embedded database in one file, sqlite:///absolute/path. It makes file and table by
 * itself. */
#include "sql.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct db_conn {
	sqlite3 *db;
	sqlite3_stmt *upsert[DB_SQL_STEPS], *remove[DB_SQL_STEPS]; /* by number of rows */
	char why[256];
};

static const struct db_sql_dialect dialect = {
	.quote = '"',
	.on_conflict = " ON CONFLICT (%s) DO UPDATE SET ",
	.assignment = "$=excluded.$",
	.type = { "TEXT NOT NULL", "INTEGER NOT NULL", "INTEGER", "TEXT" },
	.using = "",
	.key_len = "",
	.table_options = " WITHOUT ROWID",
	.dual = "",
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
		return DB_REFUSED;
	default: /* busy, full, I/O error, no such table ...: it may be better later */
		return DB_LOST;
	}
}

static enum db_result no_memory(struct db_conn *c)
{
	snprintf(c->why, sizeof(c->why), "no memory");
	return DB_LOST;
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

/* Somebody has removed the file, or put another one in its place: what is written to this one
 * nobody will ever read. */
static int is_moved(struct db_conn *c)
{
	int moved = 0;

	if (c->db)
		sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
	return moved;
}

/* What belongs to a file that is not there any more, and would be read over the one that is. */
static void remove_log(struct db_conn *c)
{
	const char *name = sqlite3_db_filename(c->db, "main");
	char shared[4096];

	unlink(sqlite3_filename_wal(name));
	snprintf(shared, sizeof(shared), "%s-shm", name);
	unlink(shared);
}

static void close_it(struct db_conn *c)
{
	for (int i = 0; i < DB_SQL_STEPS; i++) {
		sqlite3_finalize(c->upsert[i]);
		sqlite3_finalize(c->remove[i]);
	}
	if (is_moved(c))
		remove_log(c);
	sqlite3_close(c->db);
	free(c);
}

/* With a write-ahead log readers and the writer do not wait for each other, and NORMAL loses
 * nothing when processes are killed. */
static enum db_result set_up(struct db_conn *c, unsigned timeout_ms)
{
	sqlite3_busy_timeout(c->db, (int)timeout_ms);
	/* a column that is not there is an error, not a text with its name */
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	return run(c, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL");
}

/* The names of callers are not for everybody to read; SQLite gives its other files the same
 * mode. */
static void make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

	if (fd >= 0)
		close(fd);
}

static enum db_result open_file(struct db_conn *c, const char *path, unsigned timeout_ms)
{
	int code;

	make_file(path);
	/* no threads: without its mutex, which every look at a column would take */
	code = sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	return code == SQLITE_OK ? set_up(c, timeout_ms) : result_of(c, code);
}

static enum db_result open_it(const struct db_url *url, struct db_conn **conn, char *why,
			      size_t size)
{
	struct db_conn *c;
	char path[4096];

	if (url->host[0] || !url->database[0]) {
		snprintf(why, size, "sqlite:///absolute/path is wanted");
		return DB_LOST;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		snprintf(why, size, "no memory");
		return DB_LOST;
	}
	snprintf(path, sizeof(path), "/%s", url->database);
	if (open_file(c, path, url->timeout_ms) != DB_OK) {
		snprintf(why, size, "%s: %s", path, c->why);
		close_it(c);
		return DB_LOST;
	}
	*conn = c;
	return DB_OK;
}

static enum db_result begin(struct db_conn *c)
{
	if (!is_moved(c))
		return run(c, "BEGIN IMMEDIATE");
	snprintf(c->why, sizeof(c->why), "its file was removed or replaced");
	return DB_LOST;
}

static enum db_result commit(struct db_conn *c)
{
	return run(c, "COMMIT");
}

/* A full disk may have rolled back already. */
static enum db_result rollback(struct db_conn *c)
{
	return sqlite3_get_autocommit(c->db) ? DB_OK : run(c, "ROLLBACK");
}

/* ---- statements ---- */

typedef void write_fn(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		      unsigned rows);

static enum db_result prepare(struct db_conn *c, const struct dlg_buf *sql, sqlite3_stmt **out)
{
	if (sql->failed)
		return no_memory(c);
	return result_of(c, sqlite3_prepare_v2(c->db, sql->s, (int)sql->len, out, NULL));
}

/* The statement for that many rows, prepared when it is needed first. */
static enum db_result statement(struct db_conn *c, sqlite3_stmt **kept, write_fn *write,
				const struct db_table *t, unsigned rows, sqlite3_stmt **out)
{
	sqlite3_stmt **s = &kept[db_sql_index(rows)];
	struct dlg_buf sql = { 0 };
	enum db_result ret = DB_OK;

	if (!*s) {
		write(&dialect, &sql, t, rows);
		ret = prepare(c, &sql, s);
		dlg_buf_free(&sql);
	}
	*out = *s;
	return ret;
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
	enum db_result ret = DB_OK;

	for (unsigned i = 0; i < n && ret == DB_OK; i++)
		ret = result_of(c, bind(s, (int)i + 1, &values[i]));
	if (ret == DB_OK)
		ret = result_of(c, sqlite3_step(s));
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return ret;
}

static enum db_result in_steps(struct db_conn *c, sqlite3_stmt **kept, write_fn *write,
			       const struct db_table *t, const struct db_value *values,
			       unsigned width, unsigned n_rows)
{
	enum db_result ret = DB_OK;
	sqlite3_stmt *s;

	while (n_rows && ret == DB_OK) {
		unsigned step = db_sql_step(n_rows);

		ret = statement(c, kept, write, t, step, &s);
		if (ret == DB_OK)
			ret = execute(c, s, values, step * width);
		values += (size_t)step * width;
		n_rows -= step;
	}
	return ret;
}

static enum db_result upsert(struct db_conn *c, const struct db_table *t,
			     const struct db_value *values, unsigned n_rows)
{
	return in_steps(c, c->upsert, db_sql_upsert, t, values, t->n_columns, n_rows);
}

static enum db_result remove_rows(struct db_conn *c, const struct db_table *t,
				  const struct db_value *keys, unsigned n_rows)
{
	return in_steps(c, c->remove, db_sql_remove, t, keys, t->n_keys, n_rows);
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
	struct db_value row[DB_COLUMNS_MAX] = { 0 };
	enum db_result result;
	int n = sqlite3_column_count(s), code;

	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		for (int i = 0; i < n; i++)
			row[i] = column_value(s, i);
		if (fn(row, arg))
			break;
	}
	result = result_of(c, code);
	sqlite3_finalize(s);
	return result;
}

/* A query with one text bound to it. */
static enum db_result query(struct db_conn *c, struct dlg_buf *sql, struct dlg_str bound,
			    db_row_fn *fn, void *arg)
{
	struct db_value v = db_text(bound);
	sqlite3_stmt *s = NULL;
	enum db_result ret = prepare(c, sql, &s);

	dlg_buf_free(sql);
	if (ret != DB_OK)
		return ret;
	ret = result_of(c, bind(s, 1, &v));
	if (ret == DB_OK)
		return read_rows(c, s, fn, arg);
	sqlite3_finalize(s);
	return ret;
}

static enum db_result select_rows(struct db_conn *c, const struct db_table *t, struct dlg_str node,
				  db_row_fn *fn, void *arg)
{
	return db_sql_read_rows(&dialect, query, c, t, node, fn, arg);
}

static enum db_result count(struct db_conn *c, const struct db_table *t, struct dlg_str node,
			    uint64_t *out)
{
	return db_sql_read_count(&dialect, query, c, t, node, out);
}

static enum db_result columns(struct db_conn *c, const char *table, db_row_fn *fn, void *arg)
{
	struct dlg_buf sql = { 0 };

	dlg_buf_add(&sql, DLG_STR("SELECT name FROM pragma_table_info(?)"));
	return query(c, &sql, dlg_str_of(table), fn, arg);
}

static enum db_result keyed(struct db_conn *c, const struct db_table *t, int *out)
{
	static const char pattern[] =
		"SELECT count(*) FROM pragma_index_list(?) l WHERE l.\"unique\" AND NOT l.partial "
		"AND (SELECT count(*) FROM pragma_index_info(l.name))=# AND "
		"(SELECT count(*) FROM pragma_index_info(l.name) i "
		"WHERE i.name COLLATE NOCASE IN (@))=#";

	return db_sql_read_keyed(query, pattern, c, t, out);
}

static enum db_result version(struct db_conn *c, const char *table, unsigned *out)
{
	return db_sql_read_version(&dialect, query, c, table, columns, out);
}

/* ---- making the table ---- */

static void schema(const struct db_table *t, struct dlg_buf *out)
{
	db_sql_create(&dialect, out, t, 0);
}

static enum db_result create(struct db_conn *c, const struct db_table *t)
{
	struct dlg_buf sql = { 0 };
	enum db_result ret;

	schema(t, &sql);
	ret = sql.failed ? no_memory(c) : run(c, sql.s);
	dlg_buf_free(&sql);
	return ret;
}

__attribute__((visibility("default"))) extern const struct db_driver DB_DRIVER_SYMBOL;
const struct db_driver DB_DRIVER_SYMBOL = {
	.abi = DB_DRIVER_ABI, .size = sizeof(struct db_driver), .name = "sqlite",
	.schemes = "sqlite", .makes_tables = 1, .open = open_it, .close = close_it, .error = error,
	.begin = begin, .commit = commit, .rollback = rollback, .upsert = upsert,
	.remove = remove_rows, .select = select_rows, .count = count, .columns = columns, .keyed = keyed,
	.version = version, .create = create, .schema = schema,
};

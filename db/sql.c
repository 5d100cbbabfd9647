/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sql.h"

#include <stdio.h>

static void add(struct dlg_buf *out, const char *text)
{
	dlg_buf_add(out, dlg_str_of(text));
}

static void add_name(const struct db_sql_dialect *d, struct dlg_buf *out, const char *name)
{
	dlg_buf_printf(out, "%c%s%c", d->quote, name, d->quote);
}

/* Columns [from, to), joined by commas, each as `pattern` with the column for every $. */
static void add_columns(const struct db_sql_dialect *d, struct dlg_buf *out,
			const struct db_table *t, unsigned from, unsigned to, const char *pattern)
{
	for (unsigned i = from; i < to; i++) {
		if (i > from)
			add(out, ",");
		for (const char *p = pattern; *p; p++) {
			if (*p == '$')
				add_name(d, out, t->column[i].name);
			else
				dlg_buf_add(out, (struct dlg_str){ p, 1 });
		}
	}
}

static void add_place(const struct db_sql_dialect *d, struct dlg_buf *out, unsigned number)
{
	if (d->numbered)
		dlg_buf_printf(out, "$%u", number);
	else
		add(out, "?");
}

/* "(?,?),(?,?)" */
static void add_places(const struct db_sql_dialect *d, struct dlg_buf *out, unsigned columns,
		       unsigned rows)
{
	for (unsigned i = 0; i < columns * rows; i++) {
		add(out, i % columns ? "," : i ? ",(" : "(");
		add_place(d, out, i + 1);
		if (i % columns == columns - 1)
			add(out, ")");
	}
}

void db_sql_upsert(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		   unsigned rows)
{
	const char *keys = strstr(d->on_conflict, "%s");

	add(out, "INSERT INTO ");
	add_name(d, out, t->name);
	add(out, " (");
	add_columns(d, out, t, 0, t->n_columns, "$");
	add(out, ") VALUES ");
	add_places(d, out, t->n_columns, rows);
	if (keys) {
		dlg_buf_add(out,
			    (struct dlg_str){ d->on_conflict, (size_t)(keys - d->on_conflict) });
		add_columns(d, out, t, 0, t->n_keys, "$");
		add(out, keys + 2);
	} else {
		add(out, d->on_conflict);
	}
	add_columns(d, out, t, t->n_keys, t->n_columns, d->assignment);
}

/* Every database finds rows by their whole key this way; not all of them do with lists of rows. */
void db_sql_remove(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		   unsigned rows)
{
	add(out, "DELETE FROM ");
	add_name(d, out, t->name);
	add(out, " WHERE ");
	for (unsigned i = 0; i < rows * t->n_keys; i++) {
		unsigned key = i % t->n_keys;

		add(out, key ? " AND " : i ? ") OR (" : "(");
		add_name(d, out, t->column[key].name);
		add(out, "=");
		add_place(d, out, i + 1);
	}
	add(out, ")");
}

static void add_from(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t)
{
	add(out, " FROM ");
	add_name(d, out, t->name);
	add(out, " WHERE ");
	add_name(d, out, t->column[0].name);
	add(out, d->numbered ? "=$1" : "=?");
}

void db_sql_select(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t)
{
	add(out, "SELECT ");
	add_columns(d, out, t, 0, t->n_columns, "$");
	add_from(d, out, t);
}

void db_sql_count(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t)
{
	add(out, "SELECT count(*)");
	add_from(d, out, t);
}

static void add_index(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		      const struct db_column *column, int inside)
{
	char name[DB_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%.31s_%.31s", t->name, column->name);
	add(out, inside ? ",\n\tKEY " : "CREATE INDEX IF NOT EXISTS ");
	add_name(d, out, name);
	if (!inside) {
		add(out, " ON ");
		add_name(d, out, t->name);
	}
	dlg_buf_printf(out, "%s (", d->using);
	add_name(d, out, column->name);
	add(out, column->kind == DB_COL_TEXT ? d->key_len : "");
	add(out, inside ? ")" : ");\n");
}

static void add_indexes(const struct db_sql_dialect *d, struct dlg_buf *out,
			const struct db_table *t, int inside)
{
	for (unsigned i = 0; i < t->n_columns; i++) {
		if (t->column[i].indexed)
			add_index(d, out, t, &t->column[i], inside);
	}
}

void db_sql_create(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		   int indexes_inside)
{
	add(out, "CREATE TABLE IF NOT EXISTS version (\n"
		 "\ttable_name VARCHAR(64) NOT NULL PRIMARY KEY,\n"
		 "\ttable_version INTEGER NOT NULL DEFAULT 0\n)");
	dlg_buf_printf(out, "%s;\nCREATE TABLE IF NOT EXISTS ", d->table_options);
	add_name(d, out, t->name);
	add(out, " (\n");
	for (unsigned i = 0; i < t->n_columns; i++) {
		add(out, "\t");
		add_name(d, out, t->column[i].name);
		dlg_buf_printf(out, " %s,\n", d->type[t->column[i].kind]);
	}
	add(out, "\tPRIMARY KEY (");
	add_columns(d, out, t, 0, t->n_keys, "$");
	add(out, ")");
	if (indexes_inside)
		add_indexes(d, out, t, 1);
	dlg_buf_printf(out, "\n)%s;\n", d->table_options);
	if (!indexes_inside)
		add_indexes(d, out, t, 0);
	dlg_buf_printf(out,
		       "INSERT INTO version (table_name, table_version)\n\tSELECT '%s', %u%s\n\t"
		       "WHERE NOT EXISTS (SELECT 1 FROM version WHERE table_name = '%s');\n",
		       t->name, t->version, d->dual, t->name);
}

unsigned db_sql_step(unsigned left)
{
	return left ? 1u << (31 - __builtin_clz(left)) : 0;
}

unsigned db_sql_index(unsigned step)
{
	return 31 - (unsigned)__builtin_clz(step);
}

/* ---- queries ---- */

enum db_result db_sql_read_rows(const struct db_sql_dialect *d, db_sql_query *query,
				struct db_conn *c, const struct db_table *t, struct dlg_str node,
				db_row_fn *fn, void *arg)
{
	struct dlg_buf sql = { 0 };

	db_sql_select(d, &sql, t);
	return query(c, &sql, node, fn, arg);
}

static int take_number(const struct db_value *v, void *arg)
{
	*(int64_t *)arg = v->kind == DB_INT ? v->number : 0;
	return 1;
}

enum db_result db_sql_read_count(const struct db_sql_dialect *d, db_sql_query *query,
				 struct db_conn *c, const struct db_table *t, struct dlg_str node,
				 uint64_t *out)
{
	struct dlg_buf sql = { 0 };
	int64_t n = 0;
	enum db_result ret;

	db_sql_count(d, &sql, t);
	ret = query(c, &sql, node, take_number, &n);
	*out = (uint64_t)n;
	return ret;
}

static void add_key_names(struct dlg_buf *out, const struct db_table *t)
{
	for (unsigned i = 0; i < t->n_keys; i++)
		dlg_buf_printf(out, "%s'%s'", i ? "," : "", t->column[i].name);
}

enum db_result db_sql_read_keyed(db_sql_query *query, const char *pattern, struct db_conn *c,
				 const struct db_table *t, int *out)
{
	struct dlg_buf sql = { 0 };
	int64_t n = 0;
	enum db_result ret;

	for (const char *p = pattern; *p; p++) {
		if (*p == '@')
			add_key_names(&sql, t);
		else if (*p == '#')
			dlg_buf_printf(&sql, "%u", t->n_keys);
		else
			dlg_buf_add(&sql, (struct dlg_str){ p, 1 });
	}
	ret = query(c, &sql, dlg_str_of(t->name), take_number, &n);
	*out = n > 0;
	return ret;
}

static int is_there(const struct db_value *v, void *arg)
{
	(void)v;
	return *(int *)arg = 1;
}

enum db_result db_sql_read_version(const struct db_sql_dialect *d, db_sql_query *query,
				   struct db_conn *c, const char *table,
				   enum db_result (*columns)(struct db_conn *c, const char *table,
							     db_row_fn *fn, void *arg),
				   unsigned *out)
{
	struct dlg_buf sql = { 0 };
	int64_t n = 0;
	int there = 0;
	enum db_result ret = columns(c, "version", is_there, &there);

	*out = 0;
	if (ret != DB_OK || !there)
		return ret;
	add(&sql, "SELECT table_version FROM version WHERE table_name=");
	add(&sql, d->numbered ? "$1" : "?");
	ret = query(c, &sql, dlg_str_of(table), take_number, &n);
	*out = (unsigned)n;
	return ret;
}

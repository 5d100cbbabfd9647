/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DB_SQL_H
#define DB_SQL_H
/* SQL that the drivers have in common, written from the table's description. Texts are appended to
 * `out`, which says whether memory sufficed. */

#include "db.h"

/* What differs from one database to the other. */
struct db_sql_dialect {
	char quote;              /* around names */
	int numbered;            /* $1, $2 ... instead of ? */
	/* between the values and the assignments of an upsert; %s: the key columns */
	const char *on_conflict;
	/* one assignment; $ is the column */
	const char *assignment;
	const char *type[4];     /* by enum db_kind */
	const char *using;       /* kind of index, where texts are too long for the usual one */
	const char *key_len;     /* appended to an indexed text: "(191)" */
	const char *table_options;
	const char *dual;        /* " FROM DUAL": how to select from no table */
};

void db_sql_upsert(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		   unsigned rows);
void db_sql_remove(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		   unsigned rows);

/* All rows of a node, which is bound. */
void db_sql_select(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t);
void db_sql_count(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t);

/* A driver's own way to run a query with one text bound to it: frees `sql`, which may have failed. */
typedef enum db_result db_sql_query(struct db_conn *c, struct dlg_buf *sql, struct dlg_str bound,
				    db_row_fn *fn, void *arg);

/* What select(), count() and version() of a driver do (db.h); the last by its columns(). */
enum db_result db_sql_read_rows(const struct db_sql_dialect *d, db_sql_query *query,
				struct db_conn *c, const struct db_table *t, struct dlg_str node,
				db_row_fn *fn, void *arg);
enum db_result db_sql_read_count(const struct db_sql_dialect *d, db_sql_query *query,
				 struct db_conn *c, const struct db_table *t, struct dlg_str node,
				 uint64_t *out);
/* keyed() by a query that counts indexes of the bound table: in `pattern` @ is the names of the key
 * columns, and # is how many they are. */
enum db_result db_sql_read_keyed(db_sql_query *query, const char *pattern, struct db_conn *c,
				 const struct db_table *t, int *out);
enum db_result db_sql_read_version(const struct db_sql_dialect *d, db_sql_query *query,
				   struct db_conn *c, const char *table,
				   enum db_result (*columns)(struct db_conn *c, const char *table,
							     db_row_fn *fn, void *arg),
				   unsigned *out);

/* Everything that create() runs, statements ended by ";\n". The index is part of the table where
 * `indexes_inside`. */
void db_sql_create(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		   int indexes_inside);

/* Statements that were prepared for a number of rows: powers of two, so that few of them serve all
 * batches. The largest one that is not more than `left`. */
unsigned db_sql_step(unsigned left);

/* The place of a step among them: 0 for 1, 1 for 2 ... */
unsigned db_sql_index(unsigned step);

enum { DB_SQL_STEPS = 7 }; /* 1 to 64 rows */

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DB_H
#define DB_H
/* The driver interface: all that the module asks of a database.
 *
 * A driver is one source file and one shared object, dialog_db_<name>.so, that exports a
 * constant struct db_driver under the name DB_DRIVER_SYMBOL. It is opened when the scheme of a
 * URL asks for it, so that nobody installs a client library he does not use.
 *
 * Rules for drivers:
 * - Values are bound, never pasted into statements. Names (table, columns) have been checked by
 *   db_table_check() and are quoted as the database wants it.
 * - Every call is bounded in time: by `timeout_ms` of the URL given to open(), also when the
 *   server is hung or the network gone. After such a failure the result is DB_LOST.
 * - Statements are prepared once per connection and number of rows (db.h says how rows come).
 * - No threads, no signal handlers, no process-wide settings. A connection is used by the
 *   process that opened it. Private memory comes from malloc().
 * - Error texts never hold the password. */

#include "../dlg_str.h"

/* ---- values and tables ---- */

struct db_value {
	enum { DB_NULL, DB_INT, DB_TEXT } kind;
	int64_t number;
	struct dlg_str text; /* valid UTF-8 without NUL */
};

static inline struct db_value db_null(void)
{
	return (struct db_value){ .kind = DB_NULL };
}

static inline struct db_value db_int(int64_t n)
{
	return (struct db_value){ .kind = DB_INT, .number = n };
}

static inline struct db_value db_text(struct dlg_str text)
{
	return (struct db_value){ .kind = DB_TEXT, .text = text };
}

enum db_kind {
	DB_KEY_TEXT, /* part of the primary key, up to 64 bytes, never NULL */
	DB_KEY_INT,  /* part of the primary key, never NULL */
	DB_COL_INT,  /* 64 bits */
	DB_COL_TEXT, /* as long as it is */
};

struct db_column {
	const char *name;
	enum db_kind kind;
	int indexed; /* an index on it is made with the table */
};

enum { DB_COLUMNS_MAX = 64, DB_BATCH_MAX = 64, DB_NAME_MAX = 63 };

/* One table. The key columns come first, and the first of them is the node: every statement is
 * restricted to rows of one node. */
struct db_table {
	const char *name;
	const struct db_column *column;
	unsigned n_columns, n_keys;
	unsigned version; /* what the table `version` must say */
};

/* ---- connections ---- */

struct db_url {
	char scheme[16];
	char *user, *password, *host, *database; /* decoded; never NULL, may be empty */
	unsigned port;                           /* 0: the database's own */
	unsigned timeout_ms;                     /* of each call: "?timeout=SECONDS", 5 s */
	char *plain;                             /* the whole without the password, for log lines */
};

enum db_result {
	DB_OK,
	/* It failed for a reason that lies in no row: no connection, or it is gone, or too slow;
	 * the disk is full, a lock is taken, the table is not there. Close it, and try with
	 * another one later. */
	DB_LOST,
	/* A row is refused for what it contains: too long, no number, no UTF-8, NULL in the key.
	 * Other rows will pass; the connection is fine. */
	DB_REFUSED,
	/* The transaction had to give way to another one (a deadlock, say): the same may pass at
	 * once. The connection is fine. */
	DB_AGAIN,
};

struct db_conn; /* the driver's */

/* One row, as it arrives; views are valid during the call. Nonzero ends the reading. */
typedef int db_row_fn(const struct db_value *values, void *arg);

enum { DB_DRIVER_ABI = 3 };
#define DB_DRIVER_SYMBOL db_driver

struct db_driver {
	unsigned abi;       /* DB_DRIVER_ABI */
	unsigned size;      /* sizeof(struct db_driver) */
	const char *name;   /* "sqlite" */
	const char *schemes; /* "postgres postgresql" */
	/* Embedded databases: create() is called after each open(), and a connection that fails is
	 * not taken for one that a server has closed in idleness. */
	int makes_tables;

	/* Connect. *conn is set on DB_OK, else `why` (of `size` bytes) holds the reason. */
	enum db_result (*open)(const struct db_url *url, struct db_conn **conn, char *why,
			       size_t size);
	void (*close)(struct db_conn *conn);

	/* Why the last call failed, in one line; valid until the next call. */
	const char *(*error)(struct db_conn *conn);

	/* Transactions. After DB_LOST nothing of the open one has happened or will; after
	 * DB_REFUSED and DB_AGAIN the caller rolls back. */
	enum db_result (*begin)(struct db_conn *conn);
	enum db_result (*commit)(struct db_conn *conn);
	enum db_result (*rollback)(struct db_conn *conn);

	/* Insert rows, or update those whose key is there. `values`: n_rows times n_columns, row by
	 * row; 1 <= n_rows <= DB_BATCH_MAX. */
	enum db_result (*upsert)(struct db_conn *conn, const struct db_table *t,
				 const struct db_value *values, unsigned n_rows);

	/* Delete rows by key. `keys`: n_rows times n_keys. What is not there is no error. */
	enum db_result (*remove)(struct db_conn *conn, const struct db_table *t,
				 const struct db_value *keys, unsigned n_rows);

	/* All rows of a node, streamed: never the whole result in memory, and the first one at
	 * once, which excludes sorting. A database that has them in order of the key gives them
	 * so. A value of an unexpected type is given as the kind it has (text for what is no
	 * integer). The time is limited from row to row. */
	enum db_result (*select)(struct db_conn *conn, const struct db_table *t,
				 struct dlg_str node, db_row_fn *fn, void *arg);

	/* How many rows the node has. */
	enum db_result (*count)(struct db_conn *conn, const struct db_table *t, struct dlg_str node,
				uint64_t *out);

	/* Names of the table's columns as it is, through `fn` with one text each; none when
	 * there is no such table. */
	enum db_result (*columns)(struct db_conn *conn, const char *table, db_row_fn *fn,
				  void *arg);

	/* *out: no two rows can have one key, because a unique index has exactly its columns. */
	enum db_result (*keyed)(struct db_conn *conn, const struct db_table *t, int *out);

	/* The version that the table `version` (columns table_name, table_version) says; 0 when
	 * it says none, or is not there. */
	enum db_result (*version)(struct db_conn *conn, const char *table, unsigned *out);

	/* Append the SQL that create() runs, for people: statements, each ended by ";\n".
	 * out->failed without memory. */
	void (*schema)(const struct db_table *t, struct dlg_buf *out);

	/* Make the table, its indexes, its row in `version` (and that table if needed). What exists
	 * stays as it is. */
	enum db_result (*create)(struct db_conn *conn, const struct db_table *t);
};

/* ---- db.c: for the users of drivers ---- */

/* Parse "scheme://user:password@host:port/database?timeout=SECONDS"; %XX is decoded in every
 * part, an IPv6 host stands in brackets. 0; or -1 with a reason, which never holds the password. */
int db_url_parse(const char *text, struct db_url *out, const char **why);
void db_url_free(struct db_url *url);

/* Names of table and columns: letters, digits and underscores, at most DB_NAME_MAX. NULL, or the
 * first that is not so. */
const char *db_table_check(const struct db_table *t);

/* The driver for a scheme, from a directory; NULL with a reason that says which file was looked
 * for, and which Debian package has the library it lacks. Drivers stay loaded. */
const struct db_driver *db_driver_load(const char *directory, const char *scheme, char *why,
				       size_t size);

/* Use this driver for its schemes, without a file. For tests. */
void db_driver_register(const struct db_driver *driver);

/* Is the table there, with its version, all columns and its key? 1; or 0 with a reason in words; or
 * -1: the database cannot say (reason as well). */
int db_table_ready(const struct db_driver *driver, struct db_conn *conn, const struct db_table *t,
		   char *why, size_t size);

#endif

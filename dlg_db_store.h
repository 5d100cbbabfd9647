/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_DB_STORE_H
#define DLG_DB_STORE_H
/* Our table in the database, as the modes need it: over db/db.h, with the names of dialog_conf. One
 * connection per process. */

#include "dlg_row.h"

enum { DLG_DB_STORE_BATCH = 64 };

struct dlg_db_name {
	uint32_t h_entry, h_id;
};

/* Check names and URL, find the driver. Main process. 0, or -1 with one log line. */
int dlg_db_store_init(void);

/* Connections opened from now on wait no longer than that for an answer. */
void dlg_db_store_hurry(unsigned ms);

/* Connect. 0 or -1: dlg_db_store_error() says why. */
int dlg_db_store_open(void);

/* The same at run time: where the database makes its table by itself, and that is gone, it is made
 * again. */
int dlg_db_store_reopen(void);
void dlg_db_store_close(void);
int dlg_db_store_is_open(void);
const char *dlg_db_store_error(void);

/* The table is there, with our version and all columns. 0, or -1 with one log line that names what
 * is missing and the command that makes it. */
int dlg_db_store_check(void);

/* Write rows and delete others, in one transaction. A connection of a server that was idle for ten
 * seconds, and is closed when it is wanted, is replaced by another one; what has to give way to
 * another transaction is tried three times. Results: */
enum dlg_db_wrote {
	DLG_DB_WROTE,
	DLG_DB_AWAY,    /* the connection is gone; nothing was written */
	DLG_DB_REFUSED, /* the database does not take a row; nothing was written */
};
enum dlg_db_wrote dlg_db_store_write(const struct db_value (*rows)[DLG_ROW_N], unsigned n,
				     const struct dlg_db_name *dead, unsigned n_dead);

/* Delete, in one transaction, what `next` names, until it names none. 0; or -1, and the connection
 * is to be closed. */
typedef unsigned dlg_db_store_next(struct dlg_db_name names[DLG_DB_STORE_BATCH], void *arg);
int dlg_db_store_remove(dlg_db_store_next *next, void *arg);

/* Call `fn` for every row of our node, as it comes. 0 or -1. */
typedef void dlg_db_store_fn(const struct db_value values[DLG_ROW_N], void *arg);
int dlg_db_store_load(dlg_db_store_fn *fn, void *arg);

/* The database without password, for log lines. */
const char *dlg_db_store_name(void);

#endif

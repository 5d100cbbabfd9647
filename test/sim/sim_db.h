/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_DB_H
#define SIM_DB_H
/* A database in memory behind the driver interface, scheme "fake": it can be looked into, and fails
 * on request at every call. */

#include "../../dlg_row.h"

enum sim_db_call {
	SIM_DB_OPEN, SIM_DB_BEGIN, SIM_DB_COMMIT, SIM_DB_ROLLBACK, SIM_DB_UPSERT, SIM_DB_REMOVE,
	SIM_DB_SELECT, SIM_DB_COUNT, SIM_DB_COLUMNS, SIM_DB_VERSION, SIM_DB_CREATE, SIM_DB_CALLS
};

/* What happens next, and what has happened. */
extern struct sim_db {
	int away;                    /* every call fails with DB_LOST */
	unsigned lose_all;           /* so do those of these kinds: bits */
	unsigned lose_in;            /* the n-th call from now is DB_LOST; 0 none */
	enum sim_db_call lose_call;  /* ... of this kind */
	int lose_after;              /* it takes effect all the same (a lost answer to a commit) */
	unsigned mem_in;             /* when rows are read, the n-th allocation fails, and all after it */
	int mem_once;                /* ... but none after it */
	uint32_t refuse_id;          /* rows with this hash_id are DB_REFUSED */
	int refuse_all;              /* all are */
	unsigned again;              /* so many times rows are DB_AGAIN */
	void (*meanwhile)(void);     /* called while rows are written: what others do then */
	unsigned calls[SIM_DB_CALLS];
	unsigned open_conns;
	unsigned timeout_ms;         /* that the last connection was opened with */
	unsigned rows;               /* in the table */
} sim_db;

/* Make it the driver, and dialog_conf name it. Empty table. */
void sim_db_use(int mode);

/* The row of that name, or NULL; by column. */
const struct db_value *sim_db_row(uint32_t h_entry, uint32_t h_id);

/* The n-th row, or NULL. */
const struct db_value *sim_db_nth(unsigned n);

/* Put a row in as somebody else might. */
void sim_db_put(const struct db_value values[DLG_ROW_N]);

/* Change a column of a row. */
void sim_db_set(uint32_t h_entry, uint32_t h_id, enum dlg_row_column column, struct db_value v);

/* The table is what memory is: a row, equal in every column, for each answered dialog, and no
 * other. Records a violation otherwise. Nothing may wait for the writer. */
void sim_db_compare(void);

/* Forget all rows. */
void sim_db_clear(void);

/* Keep the rows in a file, for another process; and read them back (none when there is no file). */
void sim_db_save(const char *path);
void sim_db_load(const char *path);

/* Remove a directory with all that is in it. */
void sim_db_remove_dir(const char *dir);

#endif

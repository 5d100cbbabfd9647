/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_DB_RESTORE_H
#define DLG_DB_RESTORE_H
/* Reading dialogs back at start: the table row by row, and the journal over it.
 *
 * What the journal knows of a dialog is newer than its row: everything is written there first. A
 * row that cannot be understood is skipped, counted, named in the log by its id, and stays in the
 * table; a journal record waits for the next start (dlg_journal_skip()). Rows of ended calls (state
 * 5, from another program) are deleted. */

#include <stdint.h>

struct dlg_cell;

struct dlg_db_restored {
	unsigned restored; /* dialogs */
	unsigned expired;  /* of them, those whose time was over: they end at the first tick */
	unsigned skipped;  /* rows */
	unsigned ended;    /* rows and journal records of calls that had ended */
	unsigned journal;  /* dialogs that came from the journal */
	unsigned kept;     /* journal records among the skipped: they wait for the next start */
	unsigned lost;     /* memberships in profiles that do not exist any more */
	unsigned changes;  /* put on the change log: the database does not know them yet */
};

/* Restore everything through the open store (dlg_db_store.h). One line sums up. 0, or -1 with one
 * log line: the table or the journal cannot be read, or memory is short. */
int dlg_db_restore(struct dlg_db_restored *out);

/* ---- in dlg_db_handler.c, for the restore ---- */

/* The dialog has a row. With a version (from the journal) the row is old, and the dialog goes on
 * the change log. 0, or -1 without memory: its end could not delete the row. */
int dlg_db_push_restored(struct dlg_cell *dlg, uint64_t version);

/* The row of that name is to be deleted. 0, or -1 without memory. */
int dlg_db_push_dead(uint32_t h_entry, uint32_t h_id);

#endif

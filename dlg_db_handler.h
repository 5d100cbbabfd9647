/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_DB_HANDLER_H
#define DLG_DB_HANDLER_H
/* Dialogs survive: database modes (manual 1.5.11 to 1.5.13), change log, writer, restore.
 *
 * One mechanism for all modes. A dialog that was answered has a mark, and every change puts the
 * mark on the change log, where it is at most once; the end of a dialog leaves the mark there as a
 * tombstone. The writer process takes marks off, reads what the dialogs look like by then, and
 * writes them in batches, one transaction each. The modes differ in when it is woken: REALTIME at
 * once, DELAYED every db_update_period, SHUTDOWN at exit, NO_DB never. No other process ever
 * talks to a database once the proxy runs.
 *
 * A database that was away may come back without what it had, after a crash, or as another server:
 * the writer then writes the rows of all dialogs once more, and a few at a time, so that changes
 * hardly wait; and deletes once more what it had deleted just before. Until that is over no segment
 * of the journal goes.
 *
 * In REALTIME every process also appends its changes to the journal (dlg_journal.h), before the
 * messages that show them leave. */

#include <stdint.h>

struct dlg_cell;

enum dlg_db_mode { DLG_DB_NO_DB, DLG_DB_REALTIME, DLG_DB_DELAYED, DLG_DB_SHUTDOWN };

/* Check the parameters, load the driver, make what processes share. Main process, after the
 * engine's other parts, before any other process is there. 0; or -1 with one log line that says
 * what to do. */
int dlg_db_init(void);

/* Open the database and the journal, check the table, restore the dialogs, and call DLGCB_LOADED
 * for them. Main process, before fork; as the user who runs the proxy, to whom the files made here
 * will belong; when all modules have registered. 0; or -1 with one log line that says what to do.
 * In SHUTDOWN the rows are as before then; or, if they could not be written again, another line
 * says so. */
int dlg_db_load(void);

/* Nonzero when the mode needs the writer process; which runs this for ever. `idle` (may be NULL) is
 * called about once a second. */
int dlg_db_has_writer(void);
void dlg_db_run(void (*idle)(void)) __attribute__((noreturn));

/* One round of the writer: take what is on the change log, write one batch. Returns how many
 * changes were saved, -1 when the database is away or memory is short. For the writer and for
 * tests. */
int dlg_db_write_some(void);

/* Everything that waits, batch by batch, and the care of the journal's segments: one turn of the
 * writer. */
void dlg_db_work(void);

/* DELAYED: what there is to do in a second; called about so often. For the writer and for tests. */
void dlg_db_second(void (*idle)(void));

/* Exit: write what the mode promises; for ten seconds at most, or without a journal for 45 if it
 * gets on. Main process, when all others are gone. */
void dlg_db_stop(void);

/* Something in the dialog has changed that is worth saving, or it has ended. The caller holds a
 * reference and no lock. Returns when the journal has it; never waits for the database. */
void dlg_db_changed(struct dlg_cell *dlg);

/* Another process may be about to journal a change that somebody outside is going to see (a 2xx):
 * make sure that the journal has it now. As dlg_db_changed(). */
void dlg_db_settle(struct dlg_cell *dlg);

/* Figures for statistics. X(name, what it means) */
#define DLG_DB_FIGURES(X)                                                    \
	X(queue, "changes waiting for the writer")                           \
	X(oldest_ms, "age of the oldest of them in milliseconds")            \
	X(rows, "rows written since start")                                  \
	X(deleted, "rows deleted since start")                               \
	X(batches, "transactions since start")                               \
	X(rate, "rows written or deleted in the last whole second")          \
	X(errors, "failed statements and connections since start")           \
	X(refused, "rows that the database refused since start")             \
	X(unsaved, "dialogs that were not saved for want of memory")         \
	X(connected, "1 while the writer has a connection")                  \
	X(restored, "dialogs restored at start")                             \
	X(skipped, "rows skipped at start")                                  \
	X(journal_bytes, "bytes in the current segment of the journal")      \
	X(journal_errors, "journal records that could not be written")

struct dlg_db_info {
#define X(name, what) uint64_t name;
	DLG_DB_FIGURES(X)
#undef X
};
void dlg_db_get_info(struct dlg_db_info *out);

#endif

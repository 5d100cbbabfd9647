/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_JOURNAL_H
#define DLG_JOURNAL_H
/* The journal of REALTIME mode: what changed and may not be in the database yet.
 *
 * Every process appends its changes to a file of the local disk, one write() each, without
 * sync: the kernel has them even when all processes are killed in the next instruction. A record
 * is the whole image of a dialog, or says that it ended. Records carry a version that grows with
 * each copy of a dialog; the newest one counts, so they may be read in any order.
 *
 * The journal is a sequence of segments, DIR/dialog-<n>.journal. The writer process begins a new
 * one now and then, and removes the old ones when the database has all that is in them. Whoever
 * changes a dialog holds the current segment from before the change is put on the change log
 * until its record is written; a segment nobody holds any more gets no more records. A file lock
 * keeps a second proxy out of the directory.
 *
 * Records of calls that could not be restored (another hash_size, a socket that is missing) wait in
 * DIR/dialog-skipped.journal for the next start, which reads that file as one of the old segments. */

#include "dlg_str.h"

struct dlg_journal_record {
	uint32_t h_entry, h_id;
	uint64_t version;
	int ended;             /* the dialog is over; no image */
	struct dlg_str image;
};

/* There will be a journal in that directory for this node, whose images have the given layout
 * number. Main process, before any other is there; touches no file. 0, or -1 without shared memory. */
int dlg_journal_init(const char *dir, struct dlg_str node, uint32_t layout);

/* Take the directory, made if it is not there. Main process, as the user who runs the proxy. 0; or
 * -1 with one log line: not writable, or another proxy has it. */
int dlg_journal_open(void);

/* Nonzero when there is a journal. */
int dlg_journal_on(void);

/* Nonzero when an earlier run left a journal in that directory, which nobody uses now. */
int dlg_journal_is_left(const char *where);

/* Read what earlier runs left and call `fn` for each sound record; images are valid until
 * dlg_journal_read_end(). Torn or damaged records are counted and named in the log; files of
 * another format or node are renamed to NAME.set-aside and named. Main process. 0, or -1 when a
 * file cannot be read (one log line). */
typedef void dlg_journal_fn(const struct dlg_journal_record *r, void *arg);
int dlg_journal_read(dlg_journal_fn *fn, void *arg);
void dlg_journal_read_end(void);

/* Keep a record that was just read for the next start. Main process, before dlg_journal_read_end().
 * 0; or -1 with one log line. */
int dlg_journal_skip(const struct dlg_journal_record *r);

/* Begin the first segment of this run; earlier ones become old. Main process before fork. 0, or -1
 * with one log line. */
int dlg_journal_begin(void);

/* Begin another one. The writer. 0; or -1, now and then logged (then the current one goes on). */
int dlg_journal_rotate(void);

/* Nonzero when somebody has removed the file of the current segment. */
int dlg_journal_is_gone(void);

/* Nonzero while somebody holds an old segment. */
int dlg_journal_old_held(void);

/* Remove the old segments. Only when nobody holds them and all that is in them is elsewhere. */
void dlg_journal_drop_old(void);

/* Hold the current segment, and let it go. Any process; waits for nothing: a lock may be held. */
uint32_t dlg_journal_hold(void);
void dlg_journal_release(uint32_t held);

/* Append a record to the held segment. 0; or -1, counted and now and then logged. No lock may be
 * held. */
int dlg_journal_append(uint32_t held, const struct dlg_journal_record *r);

/* A record could not even be made: the held segment lacks it. */
void dlg_journal_lack(void);

struct dlg_journal_info {
	uint64_t bytes;  /* in the current segment */
	uint64_t errors; /* records that could not be written */
};
void dlg_journal_get_info(struct dlg_journal_info *out);

/* Exit: nothing is left to be written, or it is (then the files stay). Main process. */
void dlg_journal_stop(int all_saved);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_REQ_WITHIN_H
#define DLG_REQ_WITHIN_H
/* Requests the engine sends inside a dialog: the BYEs that end a call from the middle (manual
 * 1.2, 1.8.3).
 *
 * Each answered and not yet ended leg gets two: one to the caller in the name of the callee, one
 * to the callee in the name of the caller, each with the next CSeq of the party it speaks for,
 * beyond 2^31 - 1 if need be, which is stored at once. Each outcome is its own: 481 and 408 mean
 * that the party is gone already (RFC 3261 15.1.2), any other failure is logged. Every pending BYE
 * holds the dialog as DLG_BY_SENDER. */

#include "dlg_hash.h"


/* Send BYEs to both sides of every live leg. `headers` is empty or header lines, which are
 * completed with CRLF; they follow those of dlg_extra_hdrs. A leg of which neither could be told
 * stays answered, so that the next call tries it again. The caller holds a reference and no lock.
 * Returns how many were handed to the host; *failed (may be NULL) how many could not be. Takes and
 * drops the entry lock. */
unsigned dlg_req_within_byes(struct dlg_cell *dlg, struct dlg_str headers, unsigned *failed);

/* Nonzero when one of those BYEs goes to a host that has a name: looking it up may take as long as
 * the party wants. Entry lock held. */
int dlg_req_within_may_wait_locked(const struct dlg_cell *dlg);

/* Nonzero when those BYEs have somewhere to go: one party of a live leg gave a contact that we can
 * use. Entry lock held. */
int dlg_req_within_may_tell_locked(const struct dlg_cell *dlg);

/* The host's answer to host_send_within(): final status of one BYE. Gives the sender's reference
 * back. */
void dlg_req_within_done(void *token, int code);

/* The dialog whose BYE this process is handing to the host right now, with its leg and
 * direction, or NULL: scripts see it in the route of local requests. Borrowed. No lock needed. */
struct dlg_cell *dlg_req_within_sending(struct dlg_leg **leg, enum dlg_dir *dir);

/* Nonzero when `text` is made of complete header lines: a token, a colon, printable bytes or
 * tabs, folded lines allowed; none that every request has anyway (Via, CSeq,
 * Content-Length ...). Each but the last must end with CRLF; no empty line. Pure. */
int dlg_req_within_headers_ok(struct dlg_str text);

#endif

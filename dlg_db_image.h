/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_DB_IMAGE_H
#define DLG_DB_IMAGE_H
/* A dialog's image for journal and database, and a dialog made from a row. */

#include "dlg_hash.h"
#include "dlg_row.h"

/* Append the image of an answered dialog. Entry lock held. `out` says whether private memory
 * sufficed. */
void dlg_db_image_locked(const struct dlg_cell *dlg, struct dlg_buf *out);

enum dlg_db_made {
	DLG_DB_MADE,      /* it is in the table */
	DLG_DB_DUPLICATE, /* one of that name is there already */
	DLG_DB_NO_SOCKET, /* a socket of the row is none of ours */
	DLG_DB_NO_MEMORY, /* it may be there, but lacks something */
};

/* Make a dialog of a row and link it, with its timer; it leaves the table at the next tick when its
 * time is over. Memberships in profiles that do not exist any more are left out and counted in
 * *lost. Main process, at start. *out (borrowed, for the moment) when DLG_DB_MADE. */
enum dlg_db_made dlg_db_image_make(const struct dlg_row *row, unsigned *lost,
				   struct dlg_cell **out);

#endif

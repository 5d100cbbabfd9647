/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_CB_H
#define DLG_CB_H
/* Callbacks of other modules: registration and running. The contract for their authors is
 * dlg_load.h.
 *
 * A dialog's list only grows at its head until the cell is freed, and the links are immutable
 * once published, so that it is walked without a lock by whoever holds the dialog. */

#include "dlg_load.h"

struct dlg_cb_item;

/* Create the list of global callbacks in shared memory, before fork. 0 or -1. */
int dlg_cb_init(void);

/* See dlg_api.register_dlgcb. Takes and drops the entry lock when `dlg` is given. */
int dlg_cb_register(struct dlg_cell *dlg, int types, dialog_cb *cb, void *param,
		    param_free_cb *free_param);

/* Run those registered for `type` on a held dialog: the dialog's own, or for DLGCB_CREATED and
 * DLGCB_LOADED the global ones. `params` may be NULL (all empty). No lock may be held. */
void dlg_cb_run(struct dlg_cell *dlg, int type, const struct dlg_cb_params *params);

/* Nonzero when somebody registered for any of `types` on this dialog. No lock needed. */
int dlg_cb_wanted(const struct dlg_cell *dlg, int types);

/* Free the list of a cell that nobody can reach any more, calling the parameters' own free
 * functions. No lock held. */
void dlg_cb_free(struct dlg_cb_item *list);

/* Fill the API for another module (exported as DLG_BIND_NAME). 0; -1: it was built for another
 * version or size of the structure, or asks before dialog_init(). */
int dlg_cb_bind(struct dlg_api *api, unsigned version, size_t size);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_VALS_H
#define DLG_VALS_H
/* Values and flags of a dialog (manual 1.6.7 to 1.6.11, 1.9.4, 1.9.6).
 *
 * Names and values are bytes. Each function takes and drops the entry lock of the dialog, which
 * the caller holds a reference on. */

#include "dlg_str.h"

struct dlg_cell;
struct dlg_val;

enum { DLG_VALS_NAME_MAX = 1024, DLG_VALS_VALUE_MAX = 65535, DLG_VALS_COUNT_MAX = 1000 };

/* Set `name` to a copy of `value` (may be empty), replacing what was there. 0, or -1: name empty
 * or too long, value too long, too many values, or no memory; the old value then stays. */
int dlg_vals_set(struct dlg_cell *dlg, struct dlg_str name, struct dlg_str value);

/* Remove `name`. 1 removed, 0 there was none. */
int dlg_vals_unset(struct dlg_cell *dlg, struct dlg_str name);

/* Copy the value of `name` to `out`, which is reset first. 1 found, 0 none, -1 no private
 * memory. */
int dlg_vals_get(struct dlg_cell *dlg, struct dlg_str name, struct dlg_buf *out);

/* Call `fn` for each value, newest first, after unlocking, on copies. 0, or -1 without private
 * memory. */
typedef void dlg_vals_fn(struct dlg_str name, struct dlg_str value, void *arg);
int dlg_vals_each(struct dlg_cell *dlg, dlg_vals_fn *fn, void *arg);

/* The same without copies, under the entry lock held by the caller: `fn` must not block. */
void dlg_vals_each_locked(const struct dlg_cell *dlg, dlg_vals_fn *fn, void *arg);

/* Turn the order of the values round: a restored list was read newest first. */
void dlg_vals_reverse(struct dlg_cell *dlg);

/* Flags: read, and set/clear the bits of a mask. */
uint32_t dlg_vals_flags(struct dlg_cell *dlg);
void dlg_vals_set_flags(struct dlg_cell *dlg, uint32_t set, uint32_t clear);

/* Free the list of a cell that nobody can reach any more. No lock. */
void dlg_vals_free(struct dlg_val *list);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_HEADER_H
#define DLG_HEADER_H
/* Header fields as text (RFC 3261 7.3): for those a host has not parsed, and need not. Pure
 * functions, which trust nothing. */

#include "dlg_str.h"

/* Cut the next header field off the front of *rest, which begins with its name. The body comes
 * without blanks around it; a folded one (7.3.1) keeps its line ends inside. 0, or -1 at the empty
 * line, at the end, and at a line that is none: then *rest stays. */
int dlg_header_next(struct dlg_str *rest, struct dlg_str *name, struct dlg_str *body);

/* Nonzero when `name` is the header name `full`, or its compact form `compact` ('\0': it has none;
 * 7.3.3). */
int dlg_header_is(struct dlg_str name, struct dlg_str full, char compact);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_COOKIE_H
#define DLG_COOKIE_H
/* The dialog cookie in Record-Route: "did=<h_entry>.<h_id>", both in lower-case hexadecimal with
 * the least significant digit first and no trailing zero, as the OpenSIPS family has written it
 * since 2006. Pure functions. */

#include "dlg_str.h"

enum { DLG_COOKIE_MAX = 17 + 1 }; /* "xxxxxxxx.xxxxxxxx" and a NUL */

/* Print the cookie, NUL-terminated. Returns its length. */
size_t dlg_cookie_print(char out[DLG_COOKIE_MAX], uint32_t h_entry, uint32_t h_id);

/* Parse one. Upper-case digits, surrounding quotes or blanks and trailing zeros are tolerated:
 * devices on the way rewrite parameters. 0, or -1 for anything else, in particular numbers
 * beyond 32 bits. */
int dlg_cookie_parse(struct dlg_str text, uint32_t *h_entry, uint32_t *h_id);

#endif

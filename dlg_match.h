/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_MATCH_H
#define DLG_MATCH_H
/* Which dialog a sequential request belongs to (manual 1.5.10, RFC 3261 12.2.2), and whether it
 * fits that dialog (validate_dialog(), manual 1.6.2). Nothing here changes a dialog. No lock may
 * be held; all take and drop entry locks. */

#include "dlg_handlers.h"

/* Nonzero for an INVITE without To tag. */
int dlg_match_is_initial(const struct host_info *info);

/* Append all entries of a header, joined by ",", in message order; finishes the walk. */
void dlg_match_collect_routes(struct host_msg *msg, enum host_header name, struct host_walk *walk,
			      struct dlg_buf *out);

/* How many entries that are. */
unsigned dlg_match_count_routes(struct host_msg *msg, enum host_header name,
				struct host_walk *walk);

/* Match a request by `cookie` (NULL: it has none), then by SIP elements, as dlg_match_mode
 * allows; a dialog found becomes the current one of `ctx`, held as DLG_BY_MESSAGE. A cookie that
 * is malformed, unknown or of another call is counted. */
void dlg_match_request(struct host_msg *msg, struct dlg_ctx *ctx, const struct dlg_str *cookie);

/* Modes 1 and 2 know requests that carry no Route of ours, or one that lost its parameters, of
 * which rr may not tell. They are looked up once, by their SIP elements, when somebody first asks:
 * nothing that the script was told to have no dialog changes one. loose_route() may come yet, and
 * then goes by the cookie. */
void dlg_match_without_route(struct host_msg *msg, struct dlg_ctx *ctx);

/* The dialog of a caller's ACK that was forwarded without having matched: somebody on the way took
 * the cookie away, or all of the Route, or we have not been told of the answer yet. Held as
 * DLG_BY_MESSAGE, *leg (may be NULL) is its leg; NULL for other messages and for none. */
struct dlg_cell *dlg_match_stray_ack(struct host_msg *msg, const struct dlg_ctx *ctx,
				     struct dlg_leg **leg);

/* See dlg_handlers_validate(). */
int dlg_match_validate(struct host_msg *msg, struct dlg_ctx *ctx);

#endif

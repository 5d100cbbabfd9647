/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_ROUTE_H
#define DLG_ROUTE_H
/* Route sets and URIs as text: the engine's own small parsers, which trust nothing.
 *
 * A route set is a comma separated list of name-addr or addr-spec entries (RFC 3261 20.30,
 * 20.34). Commas inside quotes or angle brackets do not separate. All functions are pure. */

#include "dlg_str.h"

/* Cut the next entry off the front of *list; blanks around it are removed, empty entries
 * skipped. 0, or -1 at the end. */
int dlg_route_next(struct dlg_str *list, struct dlg_str *entry);

/* Number of entries. */
unsigned dlg_route_count(struct dlg_str list);

/* Bare URI of an entry: without display name, brackets and header parameters. Empty when
 * malformed. */
struct dlg_str dlg_route_uri(struct dlg_str entry);

/* Value of the tag parameter of a From or To header's body (RFC 3261 20.20). Empty when there is
 * none. */
struct dlg_str dlg_route_tag(struct dlg_str body);

/* The URI without blanks around it; empty when a blank, a control byte (a folded line) or a
 * delimiter is inside: it must never become part of a request we make, and tm crashes over one that
 * ends with ">". */
struct dlg_str dlg_route_clean(struct dlg_str uri);

/* What of a Contact URI may become a Request-URI: all but the header part ("?...") of a SIP URI
 * (RFC 3261 19.1.1, table 1). */
struct dlg_str dlg_route_target(struct dlg_str uri);

/* Find the URI parameter `name` among `params`, which are separated by semicolons: 1 found, with
 * its value, empty if it has none; 0 not. */
int dlg_route_param(struct dlg_str params, struct dlg_str name, struct dlg_str *value);

/* Append to `out` the entries [skip, skip+take) of `list`, joined by "," - reversed if asked for
 * (RFC 3261 12.1.2). */
void dlg_route_slice(struct dlg_buf *out, struct dlg_str list, unsigned skip, unsigned take,
		     int reverse);

/* URI of the last entry; empty when there is none. */
struct dlg_str dlg_route_last_uri(struct dlg_str list);

/* Nonzero when a request to that SIP URI needs no look into DNS: its host is an address (RFC 3263
 * 4.2), and no maddr says otherwise. An empty one needs none either: nothing is sent. */
int dlg_route_is_numeric(struct dlg_str uri);

/* Nonzero when both SIP URIs are equal by RFC 3261 19.1.4: user part case sensitive, host and
 * scheme not, ports literal, transport, user, ttl, method and maddr significant in either, other
 * parameters only where both have them. Other schemes compare as bytes. */
int dlg_route_uri_eq(struct dlg_str a, struct dlg_str b);

#endif

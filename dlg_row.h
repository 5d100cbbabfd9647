/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_ROW_H
#define DLG_ROW_H
/* A dialog as a row: the columns, described once, and the way to them and back.
 *
 * Texts in the table are valid UTF-8 without control characters, so that every database takes them
 * and every client shows them; whatever a dialog holds comes back byte by byte: control bytes and
 * bytes that are no UTF-8 stand there as \xHH, a backslash as two. Values are "name#value|" and
 * memberships "profile#value|", as in the tables of OpenSIPS 1.6, with a backslash before # and |.
 *
 * Only answered dialogs have rows (states 3 and 4). The columns of the callee are those of the
 * first answered leg; `legs` has the rest of it and the further legs. A row that was written by
 * somebody else may leave `legs` out. */

#include "db/db.h"
#include "dlg_str.h"

/* X(id, kind, parameter, default name), in the order of the manual; ALIAS(id, parameter): the
 * spelling that OpenSIPS 1.6 really took. Kinds: enum db_kind. */
#define DLG_ROW_COLUMNS(X, ALIAS)                                        \
	X(node, DB_KEY_TEXT, node_column, "node")                               \
	X(h_entry, DB_KEY_INT, h_entry_column, "hash_entry")                    \
	X(h_id, DB_KEY_INT, h_id_column, "hash_id")                             \
	X(callid, DB_COL_TEXT, callid_column, "callid")                         \
	ALIAS(callid, call_id_column)                                           \
	X(from_uri, DB_COL_TEXT, from_uri_column, "from_uri")                   \
	X(from_tag, DB_COL_TEXT, from_tag_column, "from_tag")                   \
	X(to_uri, DB_COL_TEXT, to_uri_column, "to_uri")                         \
	X(to_tag, DB_COL_TEXT, to_tag_column, "to_tag")                         \
	X(caller_cseq, DB_COL_INT, caller_cseq_column, "caller_cseq")           \
	ALIAS(caller_cseq, from_cseq_column)                                    \
	X(callee_cseq, DB_COL_INT, callee_cseq_column, "callee_cseq")           \
	ALIAS(callee_cseq, to_cseq_column)                                      \
	X(caller_route, DB_COL_TEXT, caller_route_column, "caller_route_set")   \
	ALIAS(caller_route, from_route_column)                                  \
	X(callee_route, DB_COL_TEXT, callee_route_column, "callee_route_set")   \
	ALIAS(callee_route, to_route_column)                                    \
	X(caller_contact, DB_COL_TEXT, caller_contact_column, "from_contact")   \
	ALIAS(caller_contact, from_contact_column)                              \
	X(callee_contact, DB_COL_TEXT, callee_contact_column, "callee_contact") \
	ALIAS(callee_contact, to_contact_column)                                \
	X(caller_sock, DB_COL_TEXT, caller_sock_column, "caller_sock")          \
	ALIAS(caller_sock, from_sock_column)                                    \
	X(callee_sock, DB_COL_TEXT, callee_sock_column, "callee_sock")          \
	ALIAS(callee_sock, to_sock_column)                                      \
	X(state, DB_COL_INT, state_column, "state")                             \
	X(start_time, DB_COL_INT, start_time_column, "start_time")              \
	X(timeout, DB_COL_INT, timeout_column, "timeout")                       \
	X(vars, DB_COL_TEXT, vars_column, "vars")                               \
	X(profiles, DB_COL_TEXT, profiles_column, "profiles")                   \
	X(script_flags, DB_COL_INT, script_flags_column, "script_flags")        \
	X(dlg_flags, DB_COL_INT, dlg_flags_column, "dlg_flags")                 \
	X(lifetime, DB_COL_INT, lifetime_column, "lifetime")                    \
	X(legs, DB_COL_TEXT, legs_column, "legs")

enum dlg_row_column {
#define X(id, kind, param, dflt) DLG_ROW_##id,
#define ALIAS(id, param)
	DLG_ROW_COLUMNS(X, ALIAS)
#undef X
#undef ALIAS
	DLG_ROW_N
};

enum {
	DLG_ROW_TABLE_VERSION = 1001,
	DLG_ROW_LAYOUT = 1, /* of images in the journal: one more with every change above */
	DLG_ROW_LEGS_MAX = 64,
};

/* The columns with their default names, and the parameters that give them others. By enum
 * dlg_row_column. */
extern const struct db_column dlg_row_columns[DLG_ROW_N];
extern const char *const dlg_row_params[DLG_ROW_N];

/* ---- texts ---- */

/* Append `v` so that a table can hold it, with a backslash before each of the bytes in `special`. */
void dlg_row_escape(struct dlg_buf *out, struct dlg_str v, const char *special);

/* The reverse. A backslash before anything else stands for that byte. */
void dlg_row_unescape(struct dlg_buf *out, struct dlg_str v);

/* ---- images: all columns but the node, one after the other, as the journal keeps them ---- */

/* Append a column. Numbers and texts must come in the order and of the kinds of the columns; texts
 * are escaped, and an empty one is NULL in the table where that is allowed. */
void dlg_row_add_number(struct dlg_buf *image, int64_t n);
void dlg_row_add_text(struct dlg_buf *image, struct dlg_str v);

/* Append a text column that is built in parts, each escaped by dlg_row_escape(): begin returns what
 * end wants to have. */
size_t dlg_row_begin_text(struct dlg_buf *image);
void dlg_row_end_text(struct dlg_buf *image, size_t begun);

/* The columns of an image, as views into it. 0, or -1 when it is damaged. */
int dlg_row_values(struct dlg_str image, struct dlg_str node, struct db_value out[DLG_ROW_N]);

/* ---- to a dialog ---- */

struct dlg_row_leg {
	struct dlg_str tag, contact, route_set, sock;
	uint32_t cseq[3], own_cseq[3], refresh_cseq[3], invite_cseq[3];
	uint8_t seen, acked;
};

/* A row, understood. Texts are views into the arena. */
struct dlg_row {
	uint32_t h_entry, h_id;
	struct dlg_str call_id, from_uri, from_tag, to_uri;
	struct dlg_str caller_routes, caller_contact, caller_sock;
	int state;
	int64_t start_time, timeout;
	uint32_t user_flags, lifetime;
	uint16_t flags;
	struct dlg_row_leg leg[DLG_ROW_LEGS_MAX];
	unsigned n_legs;
	struct dlg_str vars, profiles; /* as in the table: see dlg_row_next_pair() */
};

/* Understand and check the columns of a row. 0; or -1 with a reason for the log, which names the
 * column. `arena` keeps the texts; it is reset first. The dialog's entry is checked against
 * `hash_size` unless that is 0. A contact that is no URI is left out. */
int dlg_row_read(const struct db_value values[DLG_ROW_N], uint32_t hash_size, struct dlg_row *out,
		 struct dlg_buf *arena, const char **why);

/* The first "name#value|" of `*list`, unescaped into `out` (reset first), and cut off. 1; 0 at the
 * end of the list; -1 when the list is malformed. */
int dlg_row_next_pair(struct dlg_str *list, struct dlg_buf *out, struct dlg_str *name,
		      struct dlg_str *value);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_MI_H
#define DLG_MI_H
/* Management commands, written once against a small writer and answered in several dialects: the
 * manual's FIFO text (mi/fifo.c), Kamailio RPC and OpenSIPS MI (adapters).
 *
 * A reply is a tree of nodes. In the FIFO dialect a node is a line "name:: value attr=value"
 * with its children one TAB deeper; lists, and nodes without a name, leave no trace there; in
 * structured dialects they are arrays and (anonymous) objects. Commands hold no lock of the
 * engine while they write. */

#include "dlg_str.h"

struct dlg_mi_out {
	const struct dlg_mi_ops *ops;
	/* how many dialogs a listing may hold at once; 0 unlimited (streaming dialects) */
	unsigned page;
	int status;      /* 200, or the code of the error that was reported */
};

struct dlg_mi_ops {
	void (*open_list)(struct dlg_mi_out *out, const char *name);
	void (*close_list)(struct dlg_mi_out *out);
	void (*open_node)(struct dlg_mi_out *out, const char *name);
	void (*close_node)(struct dlg_mi_out *out);
	/* Before any child of the node. Without a name (NULL) it is the node's own value, which
	 * comes first; structured dialects call it "value". */
	void (*attr)(struct dlg_mi_out *out, const char *name, struct dlg_str value);
	void (*attr_number)(struct dlg_mi_out *out, const char *name, int64_t value);
	void (*text)(struct dlg_mi_out *out, const char *name, struct dlg_str value);
	void (*number)(struct dlg_mi_out *out, const char *name, int64_t value);
	/* Instead of any content: code and reason. */
	void (*error)(struct dlg_mi_out *out, int code, const char *reason);
	/* Nonzero when the reader has gone and the command may stop. */
	int (*broken)(struct dlg_mi_out *out);
	/* Lists and objects arrive as such (RPC, JSON), not as lines. */
	int structured;
};

enum { DLG_MI_ARGS_MAX = 8 };

struct dlg_mi_args {
	unsigned n;
	struct dlg_str arg[DLG_MI_ARGS_MAX];
};

typedef void dlg_mi_fn(const struct dlg_mi_args *args, struct dlg_mi_out *out);

/* The commands: name, least and most arguments, the arguments' names, help. dlg_mi_commands[]
 * follows this list. */
#define DLG_MI_COMMANDS(X)                                                                     \
	X(dlg_list, 0, 2, "callid from_tag",                                                    \
	  "list all dialogs, or one: [callid [from_tag]]")                                      \
	X(dlg_list_ctx, 0, 2, "callid from_tag",                                                \
	  "as dlg_list, with values and other modules' context")                                \
	X(dlg_end_dlg, 2, 3, "h_entry h_id extra_hdrs",                                         \
	  "end a call: h_entry h_id [extra_hdrs]")                                              \
	X(dlg_page, 1, 4, "cursor count profile value",                                         \
	  "list a page of dialogs: cursor (0 to start) [count [profile [value]]]")              \
	X(profile_get_size, 1, 2, "profile value",                                              \
	  "memberships in a profile: profile [value]")                                          \
	X(profile_list_dlgs, 1, 2, "profile value",                                             \
	  "list the dialogs of a profile: profile [value]")                                     \
	X(profile_get_values, 1, 2, "profile value",                                            \
	  "values of a profile with their counts: profile")                                     \
	X(profile_end_dlgs, 1, 2, "profile value",                                              \
	  "end all calls of a profile: profile [value]")                                        \
	X(list_all_profiles, 0, 0, "", "names of profiles; 1: with values")                     \
	X(dlg_profiles, 0, 1, "count",                                                          \
	  "profiles with counts and their most frequent values: [how many]")                    \
	X(dlg_stats, 0, 0, "", "every counter, without walking through the dialogs")            \
	X(dlg_audit, 0, 0, "",                                                                  \
	  "recount everything: table, states, timers, profiles, references, overdue dialogs")

#define X(name, min, max, params, help) dlg_mi_fn dlg_mi_run_##name;
DLG_MI_COMMANDS(X)
#undef X

struct dlg_mi_command {
	const char *name;
	unsigned min_args, max_args;
	const char *params; /* names of arguments, max_args of them, separated by blanks */
	const char *help;
	dlg_mi_fn *fn;
};

enum dlg_mi_id {
#define X(name, min, max, params, help) DLG_MI_##name,
	DLG_MI_COMMANDS(X)
#undef X
	DLG_MI_N
};
extern const struct dlg_mi_command dlg_mi_commands[DLG_MI_N];

/* The command of that exact name, or NULL. */
const struct dlg_mi_command *dlg_mi_find(struct dlg_str name);

/* ---- shared by the files that carry out commands ---- */

struct dlg_cell;

/* The members of a profile, or of one value of it. */
struct dlg_mi_choice {
	int profile;
	struct dlg_str value;
	int has_value;
};

/* The profile and value named from argument `first` on. 0, or -1 with the error written. A value
 * given for a profile without values means nothing. */
int dlg_mi_choose(const struct dlg_mi_args *args, unsigned first, struct dlg_mi_out *out,
		  struct dlg_mi_choice *c);

/* The chosen value, or NULL for any. */
static inline const struct dlg_str *dlg_mi_chosen(const struct dlg_mi_choice *c)
{
	return c->has_value ? &c->value : NULL;
}

/* Open a node for a dialog one holds: "node::  hash=entry:id". */
void dlg_mi_open_dialog(struct dlg_mi_out *out, const char *node, const struct dlg_cell *dlg);

/* ---- for the front ends ---- */

/* Check the number of arguments and run. Bad arguments are answered through out->ops->error: 400
 * with a reason. */
void dlg_mi_run(const struct dlg_mi_command *cmd, const struct dlg_mi_args *args,
		struct dlg_mi_out *out);

#endif

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
	/* Before any child of the node. */
	void (*attr)(struct dlg_mi_out *out, const char *name, struct dlg_str value);
	void (*text)(struct dlg_mi_out *out, const char *name, struct dlg_str value);
	void (*number)(struct dlg_mi_out *out, const char *name, int64_t value);
	/* Instead of any content: code and reason. */
	void (*error)(struct dlg_mi_out *out, int code, const char *reason);
	/* Nonzero when the reader has gone and the command may stop. */
	int (*broken)(struct dlg_mi_out *out);
};

enum { DLG_MI_ARGS_MAX = 8 };

struct dlg_mi_args {
	unsigned n;
	struct dlg_str arg[DLG_MI_ARGS_MAX];
};

typedef void dlg_mi_fn(const struct dlg_mi_args *args, struct dlg_mi_out *out);

/* The commands: name, least and most arguments, help. dlg_mi_commands[] follows this list. */
#define DLG_MI_COMMANDS(X)                                                                     \
	X(dlg_list, 0, 2, "list all dialogs, or one: [callid [from_tag]]")                     \
	X(dlg_list_ctx, 0, 2, "as dlg_list, with values and other modules' context")            \
	X(dlg_end_dlg, 2, 3, "end a call: h_entry h_id [extra_hdrs]")                           \
	X(dlg_page, 1, 2, "list a page of dialogs: cursor (0 to start) [count]")                \
	X(dlg_audit, 0, 0, "recount everything: table, states, timers, references, memory")

struct dlg_mi_command {
	const char *name;
	unsigned min_args, max_args;
	const char *help;
	dlg_mi_fn *fn;
};

enum dlg_mi_id {
#define X(name, min, max, help) DLG_MI_##name,
	DLG_MI_COMMANDS(X)
#undef X
	DLG_MI_N
};
extern const struct dlg_mi_command dlg_mi_commands[DLG_MI_N];

/* The command of that exact name, or NULL. */
const struct dlg_mi_command *dlg_mi_find(struct dlg_str name);

/* Check the number of arguments and run. Bad arguments are answered through out->ops->error: 400
 * with a reason. */
void dlg_mi_run(const struct dlg_mi_command *cmd, const struct dlg_mi_args *args,
		struct dlg_mi_out *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands as Kamailio RPC.
 *
 * A reply is an array of what the command opens at top level. Nodes are structures, lists are
 * arrays; inside an array Kamailio knows no names, so those of its elements are left out. The whole
 * reply is built in memory. */

#include "adapter.h"
#include "../../dlg_mi.h"
#include "../common/frames.h"

#include "core/rpc.h"

enum { PAGE = 1000 };

struct writer {
	struct dlg_mi_out out; /* first: the operations are given its address */
	rpc_t *rpc;
	void *ctx;
	void *loose;           /* structure for values at top level, made when needed */
	struct adapter_frames frames;
};

static struct writer *writer(struct dlg_mi_out *out)
{
	return (struct writer *)out;
}

static struct adapter_frame *top(struct writer *w)
{
	return adapter_frames_top(&w->frames);
}

static void check(struct writer *w, int err)
{
	if (err < 0)
		w->frames.failed = 1;
}

/* `type` is "{" or "[". */
static void *open_inside(struct writer *w, const char *type, const char *name)
{
	struct adapter_frame *f = top(w);
	void *handle = NULL;

	if (w->frames.failed)
		return NULL;
	if (f->kind == ADAPTER_TOP)
		check(w, w->rpc->add(w->ctx, (char *)type, &handle));
	else if (f->kind == ADAPTER_NODE)
		check(w, w->rpc->struct_add(f->handle, (char *)type, name, &handle));
	else
		check(w, w->rpc->array_add(f->handle, (char *)type, &handle));
	return handle;
}

static void open_list(struct dlg_mi_out *out, const char *name)
{
	struct writer *w = writer(out);

	if (top(w)->kind == ADAPTER_TOP) /* the reply itself is the array */
		adapter_frames_push(&w->frames, ADAPTER_TOP, NULL);
	else
		adapter_frames_push(&w->frames, ADAPTER_LIST, open_inside(w, "[", name));
}

static void open_node(struct dlg_mi_out *out, const char *name)
{
	struct writer *w = writer(out);

	adapter_frames_push(&w->frames, ADAPTER_NODE, open_inside(w, "{", name));
}

static void close_any(struct dlg_mi_out *out)
{
	adapter_frames_pop(&writer(out)->frames);
}

/* The structure values go to, or NULL in an array. */
static void *home(struct writer *w)
{
	if (top(w)->kind == ADAPTER_NODE)
		return top(w)->handle;
	if (top(w)->kind == ADAPTER_TOP && !w->loose)
		w->loose = open_inside(w, "{", NULL);
	return top(w)->kind == ADAPTER_TOP ? w->loose : NULL;
}

static void text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	struct writer *w = writer(out);
	str s = adapter_str(value);
	void *node = home(w);

	if (w->frames.failed)
		return;
	name = name ? name : "value";
	check(w, node ? w->rpc->struct_add(node, "S", name, &s) :
			w->rpc->array_add(top(w)->handle, "S", &s));
}

/* Small numbers as integers: some transports print all others as floating point. */
static void number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	struct writer *w = writer(out);
	void *node = home(w);
	int small = value >= INT_MIN && value <= INT_MAX;

	if (w->frames.failed)
		return;
	if (node && small)
		check(w, w->rpc->struct_add(node, "d", name, (int)value));
	else if (node)
		check(w, w->rpc->struct_add(node, "L", name, (long long)value));
	else if (small)
		check(w, w->rpc->array_add(top(w)->handle, "d", (int)value));
	else
		check(w, w->rpc->array_add(top(w)->handle, "L", (long long)value));
}

static void error(struct dlg_mi_out *out, int code, const char *reason)
{
	struct writer *w = writer(out);

	out->status = code;
	w->rpc->fault(w->ctx, code, "%s", reason);
}

static int broken(struct dlg_mi_out *out)
{
	return writer(out)->frames.failed;
}

static const struct dlg_mi_ops ops = {
	.open_list = open_list, .close_list = close_any,
	.open_node = open_node, .close_node = close_any,
	.attr = text, .attr_number = number, .text = text, .number = number,
	.error = error, .broken = broken, .structured = 1,
};

/* ---- arguments ---- */

/* Read all arguments as texts into `buf`. Kamailio prints numbers to a place of its own that the
 * next one overwrites: hence the copies. 0, or -1. */
static int read_args(rpc_t *rpc, void *ctx, struct dlg_buf *buf, struct dlg_mi_args *args)
{
	str s;

	while (args->n < DLG_MI_ARGS_MAX) {
		int got = rpc->scan(ctx, (char *)"*.S", &s);

		if (got < 0)
			return -1;
		if (got == 0)
			break;
		args->arg[args->n++].len = (size_t)s.len;
		dlg_buf_add(buf, adapter_view(s));
	}
	if (buf->failed)
		return -1;
	for (size_t i = 0, at = 0; i < args->n; at += args->arg[i++].len)
		args->arg[i].s = buf->s + at;
	return 0;
}

static void run(enum dlg_mi_id id, rpc_t *rpc, void *ctx)
{
	struct writer w = {
		.out = { .ops = &ops, .page = PAGE, .status = 200 }, .rpc = rpc, .ctx = ctx,
	};
	struct dlg_mi_args args = { 0 };
	struct dlg_buf buf = { 0 };

	adapter_frames_push(&w.frames, ADAPTER_TOP, NULL);
	if (!dialog_running())
		rpc->fault(ctx, 500, "Module dialog is not running");
	else if (read_args(rpc, ctx, &buf, &args) < 0)
		rpc->fault(ctx, 400, "Bad parameter");
	else
		dlg_mi_run(&dlg_mi_commands[id], &args, &w.out);
	if (w.frames.failed && w.out.status == 200)
		rpc->fault(ctx, 500, "The reply does not fit: ask for a page, or raise (module ctl)"
				     " binrpc_struct_max_body_size, binrpc_max_body_size");
	dlg_buf_free(&buf);
}

#define X(name, min, max, params, help)                          \
	static const char *doc_##name[] = { help, NULL };     \
	static void rpc_##name(rpc_t *rpc, void *ctx)         \
	{                                                     \
		run(DLG_MI_##name, rpc, ctx);                 \
	}
DLG_MI_COMMANDS(X)
#undef X

#define X(name, min, max, params, help) { #name, rpc_##name, doc_##name, RET_ARRAY },
rpc_export_t adapter_rpcs[] = {
	DLG_MI_COMMANDS(X)
	{ NULL, NULL, NULL, 0 },
};
#undef X

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands as OpenSIPS MI.
 *
 * A reply is an array of what the command opens at top level, or "OK" when there is nothing to
 * say. Nodes are objects, lists are arrays; inside an array elements have no names. The whole reply
 * is built in memory. */

#include "adapter.h"
#include "../../dlg_mi.h"
#include "../common/frames.h"

#include "mi/mi.h"

#include <stdio.h>

enum { PAGE = 1000 };

struct writer {
	struct dlg_mi_out out; /* first: the operations are given its address */
	mi_response_t *reply;
	mi_item_t *loose;      /* object for values at top level, made when needed */
	struct adapter_frames frames;
	int empty;
};

static struct writer *writer(struct dlg_mi_out *out)
{
	return (struct writer *)out;
}

static struct adapter_frame *top(struct writer *w)
{
	return adapter_frames_top(&w->frames);
}

static void push_frame(struct writer *w, enum adapter_frame_kind kind, mi_item_t *item)
{
	if (!item)
		w->frames.failed = 1;
	adapter_frames_push(&w->frames, kind, item);
}

static int length(const char *name)
{
	return name ? (int)strlen(name) : 0;
}

static void open_list(struct dlg_mi_out *out, const char *name)
{
	struct writer *w = writer(out);

	w->empty = 0;
	if (top(w)->kind == ADAPTER_TOP) /* the reply itself is the array */
		push_frame(w, ADAPTER_TOP, top(w)->handle);
	else
		push_frame(w, ADAPTER_LIST, w->frames.failed ? NULL :
			   add_mi_array(top(w)->handle, (char *)name, length(name)));
}

static void open_node(struct dlg_mi_out *out, const char *name)
{
	struct writer *w = writer(out);

	w->empty = 0;
	push_frame(w, ADAPTER_NODE, w->frames.failed ? NULL :
		   add_mi_object(top(w)->handle, (char *)name, length(name)));
}

static void close_any(struct dlg_mi_out *out)
{
	adapter_frames_pop(&writer(out)->frames);
}

/* Where values go to: the array or object that is open; NULL when nothing is to be written. */
static mi_item_t *home(struct writer *w)
{
	w->empty = 0;
	if (w->frames.failed || top(w)->kind != ADAPTER_TOP)
		return w->frames.failed ? NULL : top(w)->handle;
	if (!w->loose)
		w->loose = add_mi_object(top(w)->handle, NULL, 0);
	w->frames.failed |= !w->loose;
	return w->loose;
}

static void text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	struct writer *w = writer(out);
	mi_item_t *item = home(w);

	name = name ? name : "value";
	if (item && add_mi_string(item, (char *)name, length(name), value.len ? value.s : "",
				  (int)value.len) < 0)
		w->frames.failed = 1;
}

static void number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	struct writer *w = writer(out);
	mi_item_t *item = home(w);

	if (item && add_mi_number(item, (char *)name, length(name), (double)value) < 0)
		w->frames.failed = 1;
}

/* Instead of what was written so far. */
static void error(struct dlg_mi_out *out, int code, const char *reason)
{
	struct writer *w = writer(out);

	out->status = code;
	w->frames.failed = 1;
	free_mi_response(w->reply);
	w->reply = init_mi_error(code, reason, length(reason));
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

enum { NAME_MAX_LEN = 16 };

/* Copies of the names, each with its end; filled in by adapter_commands_init(). */
static char names[DLG_MI_N][DLG_MI_ARGS_MAX][NAME_MAX_LEN];

/* A number that a JSON client gave instead of a text. */
struct printed {
	char s[DLG_MI_ARGS_MAX][24];
};

/* Arguments come by position or by name. NULL: not given. */
static mi_item_t *find_arg(const mi_params_t *params, enum dlg_mi_id id, unsigned i)
{
	if (!params->item)
		return NULL;
	if (MI_ITEM_IS_ARRAY(params->item))
		return cJSON_GetArrayItem(params->item, (int)i);
	return cJSON_GetObjectItem(params->item, names[id][i]);
}

static int read_arg(const mi_item_t *item, char number[24], struct dlg_str *out)
{
	if (item->type & cJSON_String)
		*out = dlg_str_of(item->valuestring);
	else if (item->type & cJSON_Number) {
		snprintf(number, 24, "%.0f", item->valuedouble);
		*out = dlg_str_of(number);
	} else
		return -1;
	return 0;
}

static int read_args(const mi_params_t *params, enum dlg_mi_id id, struct printed *printed,
		     struct dlg_mi_args *args)
{
	unsigned max = dlg_mi_commands[id].max_args;

	for (; args->n < max; args->n++) {
		const mi_item_t *item = find_arg(params, id, args->n);

		if (!item)
			break;
		if (read_arg(item, printed->s[args->n], &args->arg[args->n]) < 0)
			return -1;
	}
	return 0;
}

/* ---- commands ---- */

static void run_into(struct writer *w, enum dlg_mi_id id, const mi_params_t *params)
{
	struct dlg_mi_args args = { 0 };
	struct printed printed;

	if (!dialog_running())
		error(&w->out, 500, "Module dialog is not running");
	else if (read_args(params, id, &printed, &args) < 0)
		error(&w->out, 400, "Bad parameter");
	else
		dlg_mi_run(&dlg_mi_commands[id], &args, &w->out);
	if (w->frames.failed && w->out.status == 200)
		error(&w->out, 500,
		      "The reply does not fit: ask for a page, or give OpenSIPS more private"
		      " memory (-M)");
}

static mi_response_t *run(enum dlg_mi_id id, const mi_params_t *params)
{
	struct writer w = { .out = { .ops = &ops, .page = PAGE, .status = 200 }, .empty = 1 };
	mi_item_t *array = NULL;

	w.reply = init_mi_result_array(&array);
	if (!w.reply)
		return NULL;
	push_frame(&w, ADAPTER_TOP, array);
	run_into(&w, id, params);
	if (!w.empty || w.out.status != 200)
		return w.reply;
	free_mi_response(w.reply);
	return init_mi_result_ok();
}

#define X(name, min, max, params, help)                                                       \
	static mi_response_t *mi_##name(const mi_params_t *given, struct mi_handler *handler) \
	{                                                                                     \
		(void)handler;                                                                \
		return run(DLG_MI_##name, given);                                             \
	}
DLG_MI_COMMANDS(X)
#undef X

/* By name: 4.0 has a field more. */
#define ROW(n, h, fn) { .name = (char *)(n), .help = (char *)(h), .recipes = { { .cmd = (fn) } } }
#define X(name, min, max, params, help) ROW(#name, help, mi_##name),
mi_export_t adapter_commands[] = {
	DLG_MI_COMMANDS(X)
	ROW(NULL, NULL, NULL),
};
#undef X

static void fill_names(enum dlg_mi_id id)
{
	const char *at = dlg_mi_commands[id].params;

	for (unsigned i = 0; i < dlg_mi_commands[id].max_args; i++) {
		size_t len = strcspn(at, " ");

		snprintf(names[id][i], NAME_MAX_LEN, "%.*s", (int)len, at);
		at += len + (at[len] == ' ');
	}
}

/* A recipe for each number of arguments. */
static void fill_recipes(enum dlg_mi_id id)
{
	mi_recipe_t *recipe = adapter_commands[id].recipes;
	mi_cmd_f *cmd = recipe->cmd;

	for (unsigned n = dlg_mi_commands[id].min_args; n <= dlg_mi_commands[id].max_args; n++) {
		recipe->cmd = cmd;
		for (unsigned i = 0; i < n; i++)
			recipe->params[i] = names[id][i];
		recipe++;
	}
}

void adapter_commands_init(void)
{
	for (int id = 0; id < DLG_MI_N; id++) {
		fill_names(id);
		fill_recipes(id);
	}
}

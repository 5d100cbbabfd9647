/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "args.h"

#include "adapter.h"
#include "../../dlg_profile.h"

#include <stdlib.h>

/* One argument, as compiled. */
struct adapter_arg {
	char kind;
	void *given;
	char *written;          /* our copy */
	int blank;              /* a value, and empty: null and "" look the same then */
	int64_t number;         /* kinds 'f', 'n', 'p', constant */
	struct adapter_text text;
	struct dlg_buf copy;    /* of the last text, when variables are in it */
	struct host_var *var;
	struct limits *limits;  /* kind 'c' */
};

/* A list of limits: each part is an argument of its own. */
struct limits {
	unsigned n;
	struct dialog_condition item[DLG_PROFILE_WANTS_MAX];
	struct adapter_arg *part[DLG_PROFILE_WANTS_MAX][3]; /* profile, value, limit */
};

/* ---- compiling ---- */

static int compile_text(struct adapter_arg *a, const char *function)
{
	if (adapter_in_script()) {
		a->text.written = a->written;
		a->blank = ADAPTER_NULL_IS_BLANK && !*a->written;
		return 0;
	}
	if (adapter_text_init(&a->text, a->written) == 0)
		return 0;
	HOST_LOG(HOST_ERROR, "%s(): unknown variable in \"%s\"", function, a->written);
	return -1;
}

/* Kinds whose text stands for a number: what the text means, or -1. */
static int64_t number_of(char kind, struct dlg_str text)
{
	int64_t number = -1;

	if (kind == 'f')
		return dialog_flag_index(text);
	if (kind == 'p')
		return dlg_profile_find(text);
	return dialog_limit(text, &number) < 0 ? -1 : number;
}

static const char *meaning(char kind)
{
	if (kind == 'f')
		return "a flag between 0 and 31";
	if (kind == 'p')
		return "a profile of profiles_with_value or profiles_no_value";
	return "a limit (a number from 0 to 4294967294)";
}

/* A constant is understood once; a bad one stops the start, or in a running script fails the
 * call. */
static int compile_number(struct adapter_arg *a, const char *function)
{
	if (compile_text(a, function) < 0)
		return -1;
	if (a->text.model)
		return 0;
	a->number = number_of(a->kind, dlg_str_of(a->written));
	if (a->number >= 0 || adapter_in_script())
		return 0;
	HOST_LOG(HOST_ERROR, "%s(): \"%s\" is not %s", function, a->written, meaning(a->kind));
	return -1;
}

static int compile_var(struct adapter_arg *a, const char *function)
{
	a->var = adapter_in_script() ? NULL : host_var_compile(a->written);
	if (a->var)
		return 0;
	HOST_LOG(HOST_ERROR, "%s(): \"%s\" is not the name of an AVP or script variable",
		 function, a->written);
	return -1;
}

static int compile_condition(struct limits *l, unsigned i, const char *function)
{
	const struct dialog_condition *c = &l->item[i];

	l->part[i][0] = adapter_arg_new('p', c->profile, NULL, function);
	l->part[i][2] = adapter_arg_new('n', c->limit, NULL, function);
	if (c->has_value)
		l->part[i][1] = adapter_arg_new('s', c->value, NULL, function);
	return l->part[i][0] && l->part[i][2] && (l->part[i][1] || !c->has_value) ? 0 : -1;
}

/* Limits stay for the life of the server: a bad list stops the start. */
static int compile_limits(struct adapter_arg *a, const char *function)
{
	int n;

	a->limits = adapter_in_script() ? NULL : calloc(1, sizeof(*a->limits));
	if (!a->limits)
		return -1;
	n = dialog_conditions(dlg_str_of(a->written), a->limits->item, DLG_PROFILE_WANTS_MAX);
	if (n < 0) {
		HOST_LOG(HOST_ERROR,
			 "%s(): \"%s\" is not a list of at most %d limits \"profile <= number\" or "
			 "\"profile = value <= number\", separated by ;",
			 function, a->written, DLG_PROFILE_WANTS_MAX);
		return -1;
	}
	a->limits->n = (unsigned)n;
	for (unsigned i = 0; i < a->limits->n; i++) {
		if (compile_condition(a->limits, i, function) < 0)
			return -1;
	}
	return 0;
}

static int compile(struct adapter_arg *a, const char *function)
{
	switch (a->kind) {
	case 'f':
	case 'n':
	case 'p':
		return compile_number(a, function);
	case 'v':
		return compile_var(a, function);
	case 'c':
		return compile_limits(a, function);
	default:
		return compile_text(a, function);
	}
}

static struct adapter_arg *arg_alloc(char kind, struct dlg_str written, void *given)
{
	struct adapter_arg *a = calloc(1, sizeof(*a) + written.len + 1);

	if (!a) {
		HOST_LOG(HOST_ERROR, "no private memory for an argument");
		return NULL;
	}
	a->kind = kind;
	a->given = given;
	a->written = (char *)(a + 1);
	if (written.len)
		memcpy(a->written, written.s, written.len);
	return a;
}

struct adapter_arg *adapter_arg_new(char kind, struct dlg_str written, void *given,
				    const char *function)
{
	struct adapter_arg *a = arg_alloc(kind, written, given);

	if (a && compile(a, function) < 0) {
		adapter_arg_free(a);
		return NULL;
	}
	return a;
}

struct adapter_arg *adapter_arg_of_var(struct host_var *var, void *given, const char *function)
{
	struct adapter_arg *a;

	if (!var) {
		HOST_LOG(HOST_ERROR, "%s(): the output must be an AVP or script variable",
			 function);
		return NULL;
	}
	a = arg_alloc('v', DLG_STR_NONE, given);
	if (a)
		a->var = var;
	else
		adapter_var_free(var);
	return a;
}

static void free_limits(struct limits *l)
{
	for (unsigned i = 0; l && i < DLG_PROFILE_WANTS_MAX; i++) {
		for (unsigned j = 0; j < 3; j++)
			adapter_arg_free(l->part[i][j]);
	}
	free(l);
}

void *adapter_arg_free(struct adapter_arg *a)
{
	void *given;

	if (!a)
		return NULL;
	given = a->given;
	adapter_text_free(&a->text);
	dlg_buf_free(&a->copy);
	adapter_var_free(a->var);
	free_limits(a->limits);
	free(a);
	return given;
}

/* ---- evaluating ---- */

/* Hosts compose texts in a few buffers that take turns, and a list of limits may hold more texts
 * than there are: hence the copy. */
static int read_text(struct host_msg *msg, struct adapter_arg *a, struct dialog_arg *out)
{
	if (adapter_text_get(msg, &a->text, &out->text, &out->is_null) < 0)
		return -1;
	out->is_null |= a->blank;
	if (!a->text.model || !out->text.len)
		return 0;
	dlg_buf_reset(&a->copy);
	dlg_buf_add(&a->copy, out->text);
	out->text = dlg_buf_view(&a->copy);
	return a->copy.failed ? -1 : 0;
}

/* -1 stands for what is not understood: the function says so and fails. */
static int read_number(struct host_msg *msg, struct adapter_arg *a, struct dialog_arg *out)
{
	out->number = a->number;
	if (read_text(msg, a, out) < 0)
		return -1;
	if (a->text.model)
		out->number = number_of(a->kind, out->text);
	out->profile = (int)out->number;
	return 0;
}

static int read_arg(struct host_msg *msg, struct adapter_arg *a, struct dialog_arg *out);

static int read_limits(struct host_msg *msg, struct limits *l, struct dialog_arg *out)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct dialog_condition *c = &l->item[i];

		if (read_arg(msg, l->part[i][0], &c->of_profile) < 0 ||
		    read_arg(msg, l->part[i][2], &c->of_limit) < 0 ||
		    (c->has_value && read_arg(msg, l->part[i][1], &c->of_value) < 0))
			return -1;
	}
	out->conditions = l->item;
	out->n_conditions = l->n;
	return 0;
}

static int read_arg(struct host_msg *msg, struct adapter_arg *a, struct dialog_arg *out)
{
	*out = (struct dialog_arg){ .given = 1, .var = a->var };
	switch (a->kind) {
	case 'f':
	case 'n':
	case 'p':
		return read_number(msg, a, out);
	case 'v':
		return 0;
	case 'c':
		return read_limits(msg, a->limits, out);
	default:
		return read_text(msg, a, out);
	}
}

int adapter_call(adapter_fn *fn, const char *kinds, const char *full, struct host_msg *msg,
		 struct adapter_arg *const given[], size_t n)
{
	struct dialog_arg args[DIALOG_ARGS_MAX];
	size_t i = 0;

	memset(args, 0, sizeof(args));
	if (!dialog_running())
		return -1;
	for (size_t at = 0; full[at]; at++) {
		if (i == n || full[at] != kinds[i])
			continue;
		if (given[i] && read_arg(msg, given[i], &args[at]) < 0)
			return -1;
		i++;
	}
	return fn(msg, args);
}

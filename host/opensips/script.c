/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Script functions and pseudo-variables, made from the tables of dialog.h. */

#include "adapter.h"
#include "../../dlg_cb.h"
#include "../common/args.h"

#include "sr_module.h"

/* ---- arguments ----
 *
 * OpenSIPS knows types. Texts, profiles and flags are strings in quotes, which it hands over as
 * they are written, or variables without quotes, of which it hands over the value; numbers and
 * output variables are written without quotes. Functions with optional arguments have a single row:
 * the script leaves the place in the middle empty. */

static int fix(void **param, char kind, const char *function)
{
	struct adapter_arg *a;
	char number[16];

	if (kind == 'v') {
		a = adapter_arg_of_var(adapter_var_of_spec(*param), *param, function);
	} else if (kind == 'n') {
		snprintf(number, sizeof(number), "%d", *(int *)*param);
		a = adapter_arg_new(kind, dlg_str_of(number), *param, function);
	} else {
		a = adapter_arg_new(kind, adapter_view(*(str *)*param), *param, function);
	}
	if (!a)
		return E_CFG;
	*param = a;
	return 0;
}

static int unfix(void **param)
{
	*param = adapter_arg_free(*param);
	return 0;
}

/* Nonzero flags: a row of zeros ends the list of parameters. */
static int type_of(char kind)
{
	switch (kind) {
	case 'n':
		return CMD_PARAM_INT;
	case 'v':
		return CMD_PARAM_VAR;
	case 'c': /* constant */
		return CMD_PARAM_STR | CMD_PARAM_NO_EXPAND | CMD_PARAM_STATIC;
	default:
		return CMD_PARAM_STR | CMD_PARAM_NO_EXPAND;
	}
}

/* ---- functions ---- */

static int call(adapter_fn *fn, const char *kinds, struct sip_msg *msg, void *const given[])
{
	struct adapter_arg *args[DIALOG_ARGS_MAX];

	for (int i = 0; i < DIALOG_ARGS_MAX; i++)
		args[i] = given[i];
	return adapter_call(fn, kinds, kinds, (struct host_msg *)msg, args, DIALOG_ARGS_MAX);
}

/* OpenSIPS calls a function with a pointer for each parameter there may be. */
#define FIXUP(name, kinds, i)                                       \
	static int name##_fix_##i(void **param)                     \
	{                                                           \
		return fix(param, (kinds)[(i) < sizeof(kinds) ? (i) : 0], #name); \
	}
#define X(name, kinds, routes)                                                                  \
	_Static_assert(sizeof(kinds) <= DIALOG_ARGS_MAX + 1, "a thunk for more arguments is due"); \
	static int call_##name(struct sip_msg *msg, void *p1, void *p2, void *p3, void *p4,    \
			       void *p5, void *p6, void *p7, void *p8)                         \
	{                                                                                       \
		(void)p4, (void)p5, (void)p6, (void)p7, (void)p8;                               \
		return call(dialog_fn_##name, kinds, msg, (void *const[]){ p1, p2, p3 });       \
	}                                                                                       \
	__attribute__((unused)) FIXUP(name, kinds, 0)                                           \
	__attribute__((unused)) FIXUP(name, kinds, 1)                                           \
	__attribute__((unused)) FIXUP(name, kinds, 2)
#define SHORT(name, kinds, full, routes)
DIALOG_FUNCTIONS(X, SHORT)
#undef X
#undef SHORT

#define ROUTE(r, ours, theirs) ((r) & (ours) ? (theirs) : 0)
#define ROUTES(r)                                                                               \
	(ROUTE(r, DIALOG_IN_REQUEST, REQUEST_ROUTE) | ROUTE(r, DIALOG_IN_BRANCH, BRANCH_ROUTE) | \
	 ROUTE(r, DIALOG_IN_REPLY, ONREPLY_ROUTE) | ROUTE(r, DIALOG_IN_FAILURE, FAILURE_ROUTE) | \
	 ROUTE(r, DIALOG_IN_LOCAL, LOCAL_ROUTE))

enum {
#define X(name, kinds, routes) FUNCTION_##name,
#define SHORT(name, kinds, full, routes)
	DIALOG_FUNCTIONS(X, SHORT)
#undef X
#undef SHORT
	FUNCTIONS
};

/* The types of parameters are filled in by adapter_script_init(). */
#define X(name, kinds, routes)                                                              \
	[FUNCTION_##name] = { #name, call_##name,                                           \
			      { { 0, name##_fix_0, unfix }, { 0, name##_fix_1, unfix },     \
				{ 0, name##_fix_2, unfix }, { 0, NULL, NULL } },            \
			      ROUTES(routes) },
#define SHORT(name, kinds, full, routes)
cmd_export_t adapter_functions[] = {
	DIALOG_FUNCTIONS(X, SHORT)
	/* For other modules only: without a route it cannot be called from a script. */
	[FUNCTIONS] = { DLG_BIND_NAME, (cmd_function)(void (*)(void))dlg_cb_bind,
			{ { 0, NULL, NULL } }, 0 },
	{ NULL, NULL, { { 0, NULL, NULL } }, 0 },
};
#undef X
#undef SHORT

static void fill_types(cmd_export_t *row, const char *kinds)
{
	for (int i = 0; kinds[i]; i++)
		row->params[i].flags = type_of(kinds[i]);
	for (size_t i = strlen(kinds); i < DIALOG_ARGS_MAX; i++)
		row->params[i] = (struct cmd_param){ 0, NULL, NULL };
}

/* What the short form of a function leaves out is optional. */
static void fill_optional(cmd_export_t *row, const char *kinds, const char *full)
{
	for (int i = 0; full[i]; i++) {
		if (*kinds == full[i])
			kinds++;
		else
			row->params[i].flags |= CMD_PARAM_OPT;
	}
}

void adapter_script_init(void)
{
#define X(name, kinds, routes) fill_types(&adapter_functions[FUNCTION_##name], kinds);
#define SHORT(name, kinds, full, routes) \
	fill_optional(&adapter_functions[FUNCTION_##name], kinds, full);
	DIALOG_FUNCTIONS(X, SHORT)
#undef X
#undef SHORT
}

/* ---- pseudo-variables ---- */

DIALOG_VARIABLES(ADAPTER_PV_FUNCTIONS)

#define PARSE_0       NULL
#define PARSE_1       adapter_pv_parse
#define X(name, named, writable)                                                           \
	{ { #name, sizeof(#name) - 1 }, ADAPTER_PV, pv_get_##name, ADAPTER_PV_SETF_##writable(name),  \
	  PARSE_##named, NULL, NULL, 0 },
const pv_export_t adapter_pvs[] = {
	DIALOG_VARIABLES(X)
	{ { NULL, 0 }, PVT_NONE, NULL, NULL, NULL, NULL, NULL, 0 },
};
#undef X

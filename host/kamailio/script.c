/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Script functions and pseudo-variables, made from the tables of dialog.h. */

#include "adapter.h"
#include "../../dlg_cb.h"
#include "../common/args.h"

#include "core/mod_fix.h"
#include "core/sr_module.h"

/* ---- functions ---- */

static int fix(void **param, char kind, const char *function)
{
	struct adapter_arg *a = adapter_arg_new(kind, dlg_str_of(*param), *param, function);

	if (!a)
		return E_CFG;
	*param = a;
	return 0;
}

/* The opposite: Kamailio gets its text back. */
static int unfix(void **param, int no)
{
	(void)no;
	*param = adapter_arg_free(*param);
	return 0;
}

static int call(adapter_fn *fn, const char *kinds, const char *full, struct sip_msg *msg,
		char *const given[], size_t n)
{
	struct adapter_arg *args[DIALOG_ARGS_MAX] = { 0 };

	for (size_t i = 0; i < n; i++)
		args[i] = (struct adapter_arg *)given[i];
	return adapter_call(fn, kinds, full, (struct host_msg *)msg, args, n);
}

/* Kamailio calls functions of up to two arguments with two, others with as many as they have; `no`
 * of a fixup counts from 1, and is 0 without arguments. */
#define THUNKS(name, id, kinds, full)                                                         \
	_Static_assert(sizeof(kinds) <= 4, "a thunk for four arguments is due");              \
	static int id##_2(struct sip_msg *msg, char *p1, char *p2)                            \
	{                                                                                     \
		return call(dialog_fn_##name, kinds, full, msg, (char *const[]){ p1, p2 }, 2); \
	}                                                                                     \
	static int id##_3(struct sip_msg *msg, char *p1, char *p2, char *p3)                  \
	{                                                                                     \
		return call(dialog_fn_##name, kinds, full, msg, (char *const[]){ p1, p2, p3 }, \
			    3);                                                               \
	}                                                                                     \
	static int id##_fix(void **param, int no)                                             \
	{                                                                                     \
		return no ? fix(param, (kinds)[no - 1], #name) : 0;                           \
	}
#define X(name, kinds, routes)           THUNKS(name, call_##name, kinds, kinds)
#define SHORT(name, kinds, full, routes) THUNKS(name, short_##name, kinds, full)
DIALOG_FUNCTIONS(X, SHORT)
#undef X
#undef SHORT

#define ROUTE(r, ours, kamailios) ((r) & (ours) ? (kamailios) : 0)
#define ROUTES(r)                                                                   \
	(ROUTE(r, DIALOG_IN_REQUEST, REQUEST_ROUTE) | ROUTE(r, DIALOG_IN_BRANCH, BRANCH_ROUTE) | \
	 ROUTE(r, DIALOG_IN_REPLY, ONREPLY_ROUTE) |                                 \
	 ROUTE(r, DIALOG_IN_FAILURE, FAILURE_ROUTE | BRANCH_FAILURE_ROUTE) |        \
	 ROUTE(r, DIALOG_IN_LOCAL, LOCAL_ROUTE | EVENT_ROUTE))

/* Arguments without quotes are expressions, computed at run time, and need an unfix(). Output
 * variables and lists of limits (always last) cannot be given that way: those functions have none,
 * and Kamailio refuses the script. */
#define LAST(kinds)  ((kinds)[sizeof(kinds) > 1 ? sizeof(kinds) - 2 : 0])
#define UNFIX(kinds) (LAST(kinds) == 'v' || LAST(kinds) == 'c' ? NULL : unfix)
#define THUNK(id, kinds) \
	(sizeof(kinds) == 4 ? (cmd_function)(void (*)(void))id##_3 : (cmd_function)id##_2)
#define ROW(name, id, kinds, routes)                                                         \
	{ (char *)#name, THUNK(id, kinds), sizeof(kinds) - 1, id##_fix, UNFIX(kinds),        \
	  ROUTES(routes) },

#define X(name, kinds, routes)           ROW(name, call_##name, kinds, routes)
#define SHORT(name, kinds, full, routes) ROW(name, short_##name, kinds, routes)
cmd_export_t adapter_functions[] = {
	DIALOG_FUNCTIONS(X, SHORT)
	/* For other modules only: without a route it cannot be called from a script. */
	{ (char *)DLG_BIND_NAME, (cmd_function)(void (*)(void))dlg_cb_bind, 0, NULL, NULL, 0 },
	{ NULL, NULL, 0, NULL, NULL, 0 },
};
#undef X
#undef SHORT

/* ---- pseudo-variables ---- */

static int parse_name(pv_spec_t *spec, str *in)
{
	return adapter_pv_parse(spec, in);
}

DIALOG_VARIABLES(ADAPTER_PV_FUNCTIONS)

#define PARSE_0       NULL
#define PARSE_1       parse_name
#define X(name, named, writable)                                                                \
	{ { (char *)#name, sizeof(#name) - 1 }, PVT_OTHER, pv_get_##name, ADAPTER_PV_SETF_##writable(name), \
	  PARSE_##named, NULL, NULL, 0 },
pv_export_t adapter_pvs[] = {
	DIALOG_VARIABLES(X)
	{ { NULL, 0 }, PVT_NONE, NULL, NULL, NULL, NULL, NULL, 0 },
};
#undef X

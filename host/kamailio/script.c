/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Script functions and pseudo-variables, made from the tables of dialog.h. */

#include "adapter.h"
#include "../../dlg_cb.h"

#include "core/mem/mem.h"
#include "core/mod_fix.h"
#include "core/sr_module.h"

/* ---- arguments ---- */

/* One argument of a script function, as compiled. */
struct arg {
	char kind;      /* of dialog.h */
	char *written;  /* Kamailio's, given back by unfix() */
	int blank;      /* computed at run time and empty: null and "" look the same then */
	int64_t number; /* kind 'f', constant */
	struct adapter_text text;
	struct host_var *var;
};

/* In a running server Kamailio hands us the value of an expression (an argument written without
 * quotes): it comes from messages and is taken as it is, dollar signs and all. */
static int compile_text(struct arg *a, const char *function)
{
	if (adapter_started) {
		a->text.written = a->written;
		a->blank = !*a->written;
		return 0;
	}
	if (adapter_text_init(&a->text, a->written) == 0)
		return 0;
	HOST_LOG(HOST_ERROR, "%s(): unknown variable in \"%s\"", function, a->written);
	return -1;
}

static int compile_flag(struct arg *a, const char *function)
{
	if (compile_text(a, function) < 0)
		return -1;
	if (a->text.model)
		return 0;
	a->number = dialog_flag_index(dlg_str_of(a->written));
	if (a->number >= 0 || adapter_started) /* refused when the function is called */
		return 0;
	HOST_LOG(HOST_ERROR, "%s(): \"%s\" is not a flag between 0 and 31", function,
		 a->written);
	return -1;
}

static int compile_var(struct arg *a, const char *function)
{
	a->var = adapter_started ? NULL : host_var_compile(a->written);
	if (a->var)
		return 0;
	HOST_LOG(HOST_ERROR, "%s(): \"%s\" is not the name of an AVP or script variable",
		 function, a->written);
	return -1;
}

static int compile_kind(struct arg *a, const char *function)
{
	switch (a->kind) {
	case 'f':
		return compile_flag(a, function);
	case 'v':
		return compile_var(a, function);
	default:
		return compile_text(a, function);
	}
}

static int fix(void **param, char kind, const char *function)
{
	struct arg *a = pkg_malloc(sizeof(*a));

	if (!a) {
		PKG_MEM_ERROR;
		return E_OUT_OF_MEM;
	}
	memset(a, 0, sizeof(*a));
	a->kind = kind;
	a->written = *param;
	if (compile_kind(a, function) < 0) {
		pkg_free(a);
		return E_CFG;
	}
	*param = a;
	return 0;
}

/* The opposite: Kamailio gets its text back. */
static int unfix(void **param, int no)
{
	struct arg *a = *param;

	(void)no;
	adapter_text_free(&a->text);
	adapter_var_free(a->var);
	*param = a->written;
	pkg_free(a);
	return 0;
}

static int read_flag(struct sip_msg *msg, struct arg *a, struct dialog_arg *out)
{
	out->number = a->number;
	if (a->text.model) {
		if (adapter_text_get(msg, &a->text, &out->text, &out->is_null) < 0)
			return -1;
		out->number = dialog_flag_index(out->text);
	}
	if (out->number >= 0)
		return 0;
	HOST_LOG(HOST_ERROR, "\"%.*s\" is not a flag between 0 and 31",
		 DLG_STR_ARG(a->text.model ? out->text : dlg_str_of(a->written)));
	return -1;
}

static int read_arg(struct sip_msg *msg, struct arg *a, struct dialog_arg *out)
{
	switch (a->kind) {
	case 'f':
		return read_flag(msg, a, out);
	case 'v':
		out->var = a->var;
		return 0;
	default:
		if (adapter_text_get(msg, &a->text, &out->text, &out->is_null) < 0)
			return -1;
		out->is_null |= a->blank;
		return 0;
	}
}

/* ---- functions ---- */

typedef int script_fn(struct host_msg *msg, const struct dialog_arg *args);

static int call(script_fn *fn, const char *kinds, struct sip_msg *msg, char *p1, char *p2)
{
	struct dialog_arg args[DIALOG_ARGS_MAX];
	char *given[] = { p1, p2 };

	memset(args, 0, sizeof(args));
	if (!dialog_running())
		return -1;
	for (size_t i = 0; kinds[i]; i++)
		if (read_arg(msg, (void *)given[i], &args[i]) < 0)
			return -1;
	return fn((struct host_msg *)msg, args);
}

/* Kamailio calls functions of up to two arguments with two; `no` of a fixup counts from 1, and is 0
 * without arguments. */
#define X(name, kinds, routes)                                                  \
	_Static_assert(sizeof(kinds) <= 3, "a thunk for three arguments is due"); \
	static int call_##name(struct sip_msg *msg, char *p1, char *p2)         \
	{                                                                       \
		return call(dialog_fn_##name, kinds, msg, p1, p2);              \
	}                                                                       \
	static int fix_##name(void **param, int no)                             \
	{                                                                       \
		return no ? fix(param, (kinds)[no - 1], #name) : 0;             \
	}
DIALOG_FUNCTIONS(X)
#undef X

#define ROUTE(r, ours, kamailios) ((r) & (ours) ? (kamailios) : 0)
#define ROUTES(r)                                                                   \
	(ROUTE(r, DIALOG_IN_REQUEST, REQUEST_ROUTE) | ROUTE(r, DIALOG_IN_BRANCH, BRANCH_ROUTE) | \
	 ROUTE(r, DIALOG_IN_REPLY, ONREPLY_ROUTE) |                                 \
	 ROUTE(r, DIALOG_IN_FAILURE, FAILURE_ROUTE | BRANCH_FAILURE_ROUTE) |        \
	 ROUTE(r, DIALOG_IN_LOCAL, LOCAL_ROUTE | EVENT_ROUTE))

/* Arguments without quotes are expressions, computed at run time, and need an unfix(). Output
 * variables (always last) cannot be given that way: those functions have none, and Kamailio refuses
 * the script. */
#define UNFIX(kinds) ((kinds)[sizeof(kinds) > 1 ? sizeof(kinds) - 2 : 0] == 'v' ? NULL : unfix)

#define X(name, kinds, routes)                                                              \
	{ (char *)#name, call_##name, sizeof(kinds) - 1, fix_##name, UNFIX(kinds), ROUTES(routes) },
cmd_export_t adapter_functions[] = {
	DIALOG_FUNCTIONS(X)
	/* For other modules only: without a route it cannot be called from a script. */
	{ (char *)DLG_BIND_NAME, (cmd_function)(void (*)(void))dlg_cb_bind, 0, NULL, NULL, 0 },
	{ NULL, NULL, 0, NULL, NULL, 0 },
};
#undef X

/* ---- pseudo-variables ---- */

/* The (name) part of a variable. */
struct name {
	struct adapter_text text;
	char written[];
};

static int parse_name(pv_spec_t *spec, str *in)
{
	struct dlg_str bare = dialog_value_name(adapter_view(*in));
	struct name *name = pkg_malloc(sizeof(*name) + bare.len + 1);

	if (!name) {
		PKG_MEM_ERROR;
		return -1;
	}
	memcpy(name->written, bare.s, bare.len);
	name->written[bare.len] = '\0';
	if (!bare.len || adapter_text_init(&name->text, name->written) < 0) {
		HOST_LOG(HOST_ERROR, "bad name of a dialog value: \"%.*s\"", in->len,
			 in->s);
		pkg_free(name);
		return -1;
	}
	spec->pvp.pvn.type = PV_NAME_OTHER;
	spec->pvp.pvn.u.dname = name;
	return 0;
}

/* 0, or -1 when a variable in the name is null. */
static int read_key(struct sip_msg *msg, const pv_param_t *param, struct dlg_str *key)
{
	struct name *name = param->pvn.type == PV_NAME_OTHER ? param->pvn.u.dname : NULL;
	int is_null;

	*key = DLG_STR_NONE;
	if (!name)
		return 0;
	return adapter_text_get(msg, &name->text, key, &is_null) < 0 || is_null ? -1 : 0;
}

typedef int getter(struct host_msg *msg, struct dlg_str key, struct dialog_value *out);
typedef int setter(struct host_msg *msg, struct dlg_str key, const struct dialog_value *in);

/* Kamailio's integers have 32 bits; what does not fit with a sign is given as unsigned. */
static int give_number(struct sip_msg *msg, pv_param_t *param, pv_value_t *res, int64_t n)
{
	if (n > INT_MAX)
		return pv_get_uintval(msg, param, res, (unsigned)n);
	return pv_get_sintval(msg, param, res, (int)n);
}

static int get(getter *fn, struct sip_msg *msg, pv_param_t *param, pv_value_t *res)
{
	struct dialog_value value = { .kind = DIALOG_NULL };
	struct dlg_str key;
	str s;

	if (!msg || !res)
		return -1;
	if (!dialog_running() || read_key(msg, param, &key) < 0 ||
	    fn((struct host_msg *)msg, key, &value) < 0 || value.kind == DIALOG_NULL)
		return pv_get_null(msg, param, res);
	if (value.kind == DIALOG_INT)
		return give_number(msg, param, res, value.number);
	s = adapter_str(value.text);
	return pv_get_strval(msg, param, res, &s);
}

static void read_value(const pv_value_t *val, struct dialog_value *out)
{
	*out = (struct dialog_value){ .kind = DIALOG_NULL };
	if (!val || val->flags & PV_VAL_NULL)
		return;
	if (val->flags & PV_TYPE_INT || !(val->flags & PV_VAL_STR)) {
		out->kind = DIALOG_INT;
		out->number = val->ri;
	} else {
		out->kind = DIALOG_TEXT;
		out->text = adapter_view(val->rs);
	}
}

static int set(setter *fn, struct sip_msg *msg, const pv_param_t *param, const pv_value_t *val)
{
	struct dialog_value value;
	struct dlg_str key;

	read_value(val, &value);
	if (!msg || !dialog_running() || read_key(msg, param, &key) < 0)
		return -1;
	return fn((struct host_msg *)msg, key, &value);
}

#define SETTER_0(name)
#define SETTER_1(name)                                                                          \
	static int pv_set_##name(struct sip_msg *msg, pv_param_t *param, int op, pv_value_t *val) \
	{                                                                                       \
		(void)op;                                                                       \
		return set(dialog_set_##name, msg, param, val);                                 \
	}
#define X(name, named, writable)                                                               \
	static int pv_get_##name(struct sip_msg *msg, pv_param_t *param, pv_value_t *res)      \
	{                                                                                      \
		return get(dialog_get_##name, msg, param, res);                                \
	}                                                                                      \
	SETTER_##writable(name)
DIALOG_VARIABLES(X)
#undef X

#define SETF_0(name)  NULL
#define SETF_1(name)  pv_set_##name
#define PARSE_0       NULL
#define PARSE_1       parse_name
#define X(name, named, writable)                                                                \
	{ { (char *)#name, sizeof(#name) - 1 }, PVT_OTHER, pv_get_##name, SETF_##writable(name), \
	  PARSE_##named, NULL, NULL, 0 },
pv_export_t adapter_pvs[] = {
	DIALOG_VARIABLES(X)
	{ { NULL, 0 }, PVT_NONE, NULL, NULL, NULL, NULL, NULL, 0 },
};
#undef X

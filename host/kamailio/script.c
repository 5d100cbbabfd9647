/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Script functions and pseudo-variables, made from the tables of dialog.h. */

#include "adapter.h"
#include "../../dlg_cb.h"
#include "../../dlg_profile.h"

#include "core/mem/mem.h"
#include "core/mod_fix.h"
#include "core/sr_module.h"

/* ---- arguments ---- */

/* One argument of a script function, as compiled. */
struct arg {
	char kind;      /* of dialog.h */
	char *written;  /* Kamailio's, given back by unfix() */
	int blank;      /* computed at run time and empty: null and "" look the same then */
	int64_t number; /* kinds 'f', 'n', 'p', constant */
	struct adapter_text text;
	struct dlg_buf copy;    /* of the last text, when variables are in it */
	struct host_var *var;
	struct limits *limits;  /* kind 'c' */
};

/* A list of limits: each part is an argument of its own. */
struct limits {
	unsigned n;
	struct dialog_condition item[DLG_PROFILE_WANTS_MAX];
	struct arg part[DLG_PROFILE_WANTS_MAX][3]; /* profile, value, limit */
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

/* A constant is understood once; a bad one stops the start, or in a running server fails the
 * call. */
static int compile_number(struct arg *a, const char *function)
{
	if (compile_text(a, function) < 0)
		return -1;
	if (a->text.model)
		return 0;
	a->number = number_of(a->kind, dlg_str_of(a->written));
	if (a->number >= 0 || adapter_started)
		return 0;
	HOST_LOG(HOST_ERROR, "%s(): \"%s\" is not %s", function, a->written, meaning(a->kind));
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

static int compile_kind(struct arg *a, const char *function);

/* One part of a condition, from a copy that ends where the part does. */
static int compile_part(struct arg *a, char kind, struct dlg_str text, const char *function)
{
	char *copy = pkg_malloc(text.len + 1);

	if (!copy) {
		PKG_MEM_ERROR;
		return -1;
	}
	memcpy(copy, text.s ? text.s : "", text.len);
	copy[text.len] = '\0';
	*a = (struct arg){ .kind = kind, .written = copy };
	return compile_kind(a, function);
}

static int compile_condition(struct limits *l, unsigned i, const char *function)
{
	const struct dialog_condition *c = &l->item[i];

	if (compile_part(&l->part[i][0], 'p', c->profile, function) < 0 ||
	    compile_part(&l->part[i][2], 'n', c->limit, function) < 0)
		return -1;
	return c->has_value ? compile_part(&l->part[i][1], 's', c->value, function) : 0;
}

/* Limits stay for the life of the server: a bad list stops the start. */
static int compile_limits(struct arg *a, const char *function)
{
	int n;

	a->limits = adapter_started ? NULL : pkg_malloc(sizeof(*a->limits));
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

static int compile_kind(struct arg *a, const char *function)
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
	dlg_buf_free(&a->copy);
	adapter_var_free(a->var);
	*param = a->written;
	pkg_free(a);
	return 0;
}

/* Kamailio composes texts in a few buffers that take turns, and a list of limits may hold more
 * texts than it has: hence the copy. */
static int read_text(struct sip_msg *msg, struct arg *a, struct dialog_arg *out)
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
static int read_number(struct sip_msg *msg, struct arg *a, struct dialog_arg *out)
{
	out->number = a->number;
	if (read_text(msg, a, out) < 0)
		return -1;
	if (a->text.model)
		out->number = number_of(a->kind, out->text);
	out->profile = (int)out->number;
	return 0;
}

static int read_arg(struct sip_msg *msg, struct arg *a, struct dialog_arg *out);

static int read_limits(struct sip_msg *msg, struct limits *l, struct dialog_arg *out)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct dialog_condition *c = &l->item[i];

		if (read_arg(msg, &l->part[i][0], &c->of_profile) < 0 ||
		    read_arg(msg, &l->part[i][2], &c->of_limit) < 0 ||
		    (c->has_value && read_arg(msg, &l->part[i][1], &c->of_value) < 0))
			return -1;
	}
	out->conditions = l->item;
	out->n_conditions = l->n;
	return 0;
}

static int read_arg(struct sip_msg *msg, struct arg *a, struct dialog_arg *out)
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

/* ---- functions ---- */

typedef int script_fn(struct host_msg *msg, const struct dialog_arg *args);

/* `kinds`: of what is given; `full`: with the optional ones. */
static int call(script_fn *fn, const char *kinds, const char *full, struct sip_msg *msg,
		char *const given[], size_t n)
{
	struct dialog_arg args[DIALOG_ARGS_MAX];
	size_t i = 0;

	memset(args, 0, sizeof(args));
	if (!dialog_running())
		return -1;
	for (size_t at = 0; full[at]; at++) {
		if (i == n || full[at] != kinds[i])
			continue;
		if (read_arg(msg, (void *)given[i++], &args[at]) < 0)
			return -1;
	}
	return fn((struct host_msg *)msg, args);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Script variables as such, and texts with variables in them. */

#include "adapter.h"

#include <stdio.h>
#include <stdlib.h>

struct host_var {
	pv_spec_t spec;
	int borrowed;    /* what hangs in the spec is the host's */
	char number[24]; /* an integer value, printed */
};

static struct dlg_str print_number(char out[24], int64_t n)
{
	snprintf(out, 24, "%lld", (long long)n);
	return dlg_str_of(out);
}

int64_t adapter_number(const pv_value_t *v)
{
	uint64_t n;

	if (v->ri < 0 && v->flags & PV_VAL_STR &&
	    dlg_str_to_u64(adapter_view(v->rs), UINT32_MAX, &n) == 0 && (int)n == v->ri)
		return (int64_t)n;
	return v->ri;
}

/* ---- one variable ---- */

/* A value as text. Integers are printed to `number`: the host's own text of them lives shortly. 0,
 * or -1 when null. */
static int value_text(const pv_value_t *v, char number[24], struct dlg_str *out)
{
	if (v->flags & PV_VAL_NULL || !(v->flags & (PV_VAL_STR | PV_VAL_INT)))
		return -1;
	*out = v->flags & PV_TYPE_INT || !(v->flags & PV_VAL_STR) ?
		       print_number(number, adapter_number(v)) :
		       adapter_view(v->rs);
	return 0;
}

/* Parse a variable with nothing behind it. 0 or -1. */
static int parse_whole(char *text, pv_spec_t *spec)
{
	str s = { text, (int)strlen(text) };
	char *end;

	memset(spec, 0, sizeof(*spec));
	end = s.len && *text == '$' ? adapter_spec_parse(&s, spec) : NULL;
	return end && end == text + s.len ? 0 : -1;
}

static int can_be_output(const pv_spec_t *spec)
{
	return (spec->type == PVT_AVP || spec->type == PVT_SCRIPTVAR) && pv_is_w(spec);
}

struct host_var *host_var_compile(const char *text)
{
	size_t size = strlen(text) + 1;
	struct host_var *var = malloc(sizeof(*var) + size);
	char *copy;

	if (!var)
		return NULL;
	var->borrowed = 0;
	copy = (char *)(var + 1); /* what was parsed points into it */
	memcpy(copy, text, size);
	if (parse_whole(copy, &var->spec) == 0 && can_be_output(&var->spec))
		return var;
	free(var);
	return NULL;
}

struct host_var *adapter_var_of_spec(const pv_spec_t *spec)
{
	struct host_var *var = can_be_output(spec) ? malloc(sizeof(*var)) : NULL;

	if (var)
		*var = (struct host_var){ .spec = *spec, .borrowed = 1 };
	return var;
}

void adapter_var_free(struct host_var *var)
{
	if (!var)
		return;
	if (!var->borrowed)
		adapter_spec_clear(&var->spec);
	free(var);
}

int host_var_get(struct host_msg *msg, struct host_var *var, struct dlg_str *out)
{
	pv_value_t v;

	memset(&v, 0, sizeof(v));
	if (pv_get_spec_value((struct sip_msg *)msg, &var->spec, &v) < 0)
		return -1;
	return value_text(&v, var->number, out);
}

int host_var_set(struct host_msg *msg, struct host_var *var, struct dlg_str value)
{
	pv_value_t v;

	memset(&v, 0, sizeof(v));
	v.flags = PV_VAL_STR;
	v.rs = adapter_str(value);
	return adapter_spec_set((struct sip_msg *)msg, &var->spec, &v) < 0 ? -1 : 0;
}

int host_var_set_number(struct host_msg *msg, struct host_var *var, int64_t number)
{
	pv_value_t v;

	memset(&v, 0, sizeof(v));
	v.flags = PV_VAL_INT | PV_TYPE_INT;
	v.ri = number > INT_MAX ? INT_MAX : (int)number;
	return adapter_spec_set((struct sip_msg *)msg, &var->spec, &v) < 0 ? -1 : 0;
}

/* ---- texts ---- */

int adapter_text_init(struct adapter_text *t, char *written)
{
	str s = { written, (int)strlen(written) };

	memset(t, 0, sizeof(*t));
	t->written = written;
	if (!strchr(written, '$'))
		return 0;
	if (pv_parse_format(&s, &t->model) < 0 || !t->model)
		return -1;
	t->single = !t->model->next && t->model->text.len <= 0 && adapter_elem_spec(t->model);
	return 0;
}

void adapter_text_free(struct adapter_text *t)
{
	if (t->model)
		pv_elem_free_all(t->model);
	t->model = NULL;
}

static int get_single(struct host_msg *msg, struct adapter_text *t, struct dlg_str *out,
		      int *is_null)
{
	pv_value_t v;

	memset(&v, 0, sizeof(v));
	if (pv_get_spec_value((struct sip_msg *)msg, adapter_elem_spec(t->model), &v) < 0)
		return -1;
	*out = DLG_STR_NONE;
	*is_null = value_text(&v, t->number, out) < 0;
	return 0;
}

int adapter_text_get(struct host_msg *msg, struct adapter_text *t, struct dlg_str *out,
		     int *is_null)
{
	str s = { NULL, 0 };

	*is_null = 0;
	if (t->single)
		return get_single(msg, t, out, is_null);
	if (!t->model) {
		*out = dlg_str_of(t->written);
		return 0;
	}
	if (pv_printf_s((struct sip_msg *)msg, t->model, &s) < 0)
		return -1;
	*out = adapter_view(s);
	return 0;
}

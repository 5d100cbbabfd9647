/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pseudo-variables: getting and setting the variables of dialog.h. */

#include "adapter.h"

#include <stdlib.h>

/* The (name) part of a variable. */
struct name {
	struct adapter_text text;
	char written[];
};

int adapter_pv_parse(pv_spec_t *spec, const str *in)
{
	struct dlg_str bare = dialog_value_name(adapter_view(*in));
	struct name *name = malloc(sizeof(*name) + bare.len + 1);

	if (!name) {
		HOST_LOG(HOST_ERROR, "no private memory for a variable");
		return -1;
	}
	memcpy(name->written, bare.s, bare.len);
	name->written[bare.len] = '\0';
	if (!bare.len || adapter_text_init(&name->text, name->written) < 0) {
		HOST_LOG(HOST_ERROR, "bad name of a dialog value: \"%.*s\"", in->len,
			 in->s);
		free(name);
		return -1;
	}
	spec->pvp.pvn.type = ADAPTER_NAME_OURS;
	spec->pvp.pvn.u.dname = name;
	return 0;
}

/* 0, or -1 when a variable in the name is null. */
static int read_key(struct sip_msg *msg, const pv_param_t *param, struct dlg_str *key)
{
	struct name *name = param->pvn.type == ADAPTER_NAME_OURS ? param->pvn.u.dname : NULL;
	int is_null;

	*key = DLG_STR_NONE;
	if (!name)
		return 0;
	if (adapter_text_get((struct host_msg *)msg, &name->text, key, &is_null) < 0 || is_null)
		return -1;
	return 0;
}

/* The hosts' integers have 32 bits; what does not fit with a sign is given as unsigned. */
static int give_number(struct sip_msg *msg, pv_param_t *param, pv_value_t *res, int64_t n)
{
	if (n > INT_MAX)
		return pv_get_uintval(msg, param, res, (unsigned)n);
	return pv_get_sintval(msg, param, res, (int)n);
}

int adapter_pv_get(adapter_getter *fn, struct sip_msg *msg, pv_param_t *param, pv_value_t *res)
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
		out->number = adapter_number(val);
	} else {
		out->kind = DIALOG_TEXT;
		out->text = adapter_view(val->rs);
	}
}

int adapter_pv_set(adapter_setter *fn, struct sip_msg *msg, const pv_param_t *param,
		   const pv_value_t *val)
{
	struct dialog_value value;
	struct dlg_str key;

	read_value(val, &value);
	if (!msg || !dialog_running() || read_key(msg, param, &key) < 0)
		return -1;
	return fn((struct host_msg *)msg, key, &value);
}


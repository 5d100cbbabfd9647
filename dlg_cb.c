/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_cb.h"

#include "dlg_db_handler.h"
#include "dlg_handlers.h"
#include "dlg_hash.h"
#include "dlg_mem.h"
#include "dlg_mi.h"
#include "dlg_vals.h"
#include "host/host.h"

#include <assert.h>
#include <stdlib.h>

struct dlg_cb_item {
	struct dlg_cb_item *next;
	dialog_cb *cb;
	void *param;
	param_free_cb *free_param;
	int types;
};

enum {
	GLOBAL = DLGCB_CREATED | DLGCB_LOADED,
	ALL = (DLGCB_DESTROY << 1) - 1,
};

static struct dlg_cb_item **global; /* head in shared memory; only written before fork */

int dlg_cb_init(void)
{
	global = dlg_mem_alloc(sizeof(*global));
	if (!global)
		return -1;
	*global = NULL;
	return 0;
}

static int types_allowed(const struct dlg_cell *dlg, int types)
{
	if (types <= 0 || types & ~ALL)
		return 0;
	if (!dlg)
		return types == DLGCB_CREATED || types == DLGCB_LOADED;
	return !(types & GLOBAL);
}

static void publish(struct dlg_cb_item **head, struct dlg_cb_item *item)
{
	item->next = *head;
	__atomic_store_n(head, item, __ATOMIC_RELEASE);
}

int dlg_cb_register(struct dlg_cell *dlg, int types, dialog_cb *cb, void *param,
		    param_free_cb *free_param)
{
	struct dlg_cb_item *item;

	if (!cb || !types_allowed(dlg, types))
		return -1;
	item = dlg_mem_alloc(sizeof(*item));
	if (!item)
		return -1;
	*item = (struct dlg_cb_item){
		.cb = cb, .param = param, .free_param = free_param, .types = types
	};
	if (!dlg) {
		publish(global, item);
		return 0;
	}
	dlg_hash_lock(dlg);
	publish(&dlg->cbs, item);
	dlg_hash_unlock(dlg);
	return 0;
}

static struct dlg_cb_item *head_for(const struct dlg_cell *dlg, int types)
{
	return __atomic_load_n(types & GLOBAL ? global : &dlg->cbs, __ATOMIC_ACQUIRE);
}

void dlg_cb_run(struct dlg_cell *dlg, int type, const struct dlg_cb_params *params)
{
	struct dlg_cb_params p = { 0 };

#ifdef DLG_DEBUG
	assert(!dlg_lock_held());
#endif
	if (params)
		p = *params;
	for (struct dlg_cb_item *i = head_for(dlg, type); i; i = i->next) {
		if (!(i->types & type))
			continue;
		p.param = &i->param;
		i->cb(dlg, type, &p);
	}
}

int dlg_cb_wanted(const struct dlg_cell *dlg, int types)
{
	for (struct dlg_cb_item *i = head_for(dlg, types); i; i = i->next) {
		if (i->types & types)
			return 1;
	}
	return 0;
}

void dlg_cb_free(struct dlg_cb_item *list)
{
	while (list) {
		struct dlg_cb_item *i = list;

		list = i->next;
		if (i->free_param)
			i->free_param(i->param);
		dlg_mem_free(i);
	}
}

/* ---- the API handed to other modules ---- */

static struct dlg_cell *api_get(struct sip_msg *msg, int *direction)
{
	enum dlg_dir dir;
	struct dlg_cell *dlg =
		msg ? dlg_handlers_current((struct host_msg *)msg, &dir) : NULL;

	if (direction)
		*direction = dlg ? (int)dir : 0;
	if (dlg)
		dlg_hash_hold(dlg, DLG_BY_API);
	return dlg;
}

static struct dlg_cell *api_find(uint32_t h_entry, uint32_t h_id)
{
	return dlg_hash_get(h_entry, h_id, DLG_BY_API);
}

static void api_hold(struct dlg_cell *dlg)
{
	dlg_hash_hold(dlg, DLG_BY_API);
}

static void api_put(struct dlg_cell *dlg)
{
	dlg_hash_put(dlg, DLG_BY_API);
}

/* Copies texts one after the other as long as there is room; counts what was needed. */
struct copier {
	char *buf;
	size_t size, need;
};

static const char *copy_text(struct copier *c, const char *s, size_t len)
{
	char *at = c->buf + c->need;

	c->need += len + 1;
	if (c->need > c->size)
		return NULL;
	if (len)
		memcpy(at, s, len);
	at[len] = '\0';
	return at;
}

static const char *copy_view(struct copier *c, struct dlg_str v)
{
	return copy_text(c, v.s, v.len);
}

static void fill_info_locked(const struct dlg_cell *dlg, struct dlg_info *out, struct copier *c)
{
	const struct dlg_leg *leg = dlg_hash_main_leg_locked(dlg);

	out->state = dlg->state;
	out->start_time = dlg->start_time;
	out->end_time = dlg->end_time;
	out->timeout_in = dlg_timer_left(dlg->timer.deadline);
	out->flags = dlg->user_flags;
	out->ended_by = dlg->ended_by;
	out->end_code = dlg->end_code;
	out->caller_contact = copy_text(c, dlg->caller_contact, dlg->caller_contact_len);
	out->to_tag = copy_text(c, leg ? leg->tag : NULL, leg ? leg->tag_len : 0);
	out->callee_contact = copy_text(c, leg ? leg->contact : NULL, leg ? leg->contact_len : 0);
}

static size_t api_get_info(struct dlg_cell *dlg, struct dlg_info *out, char *buf, size_t size)
{
	struct copier c = { buf, size, 0 };

	memset(out, 0, sizeof(*out));
	out->h_entry = dlg->h_entry;
	out->h_id = dlg->h_id;
	out->call_id = copy_view(&c, dlg_hash_text(dlg, DLG_CALL_ID));
	out->from_uri = copy_view(&c, dlg_hash_text(dlg, DLG_FROM_URI));
	out->from_tag = copy_view(&c, dlg_hash_text(dlg, DLG_FROM_TAG));
	out->to_uri = copy_view(&c, dlg_hash_text(dlg, DLG_TO_URI));
	dlg_hash_lock(dlg);
	fill_info_locked(dlg, out, &c);
	dlg_hash_unlock(dlg);
	return c.need > size ? c.need : 0;
}

static int api_create(struct sip_msg *invite)
{
	return invite && dlg_handlers_create((struct host_msg *)invite) > 0 ? 1 : -1;
}

static int api_end(struct dlg_cell *dlg, const char *headers)
{
	const char *why;

	return dlg_handlers_end(dlg, dlg_str_of(headers), &why);
}

static int api_set_value(struct dlg_cell *dlg, const char *name, const char *value, size_t len)
{
	int ret = value ? dlg_vals_set(dlg, dlg_str_of(name), (struct dlg_str){ value, len })
			: dlg_vals_unset(dlg, dlg_str_of(name));

	if (ret < 0)
		return -1;
	dlg_db_changed(dlg);
	return 0;
}

static void api_set_flags(struct dlg_cell *dlg, uint32_t set, uint32_t clear)
{
	dlg_vals_set_flags(dlg, set, clear);
	dlg_db_changed(dlg);
}

static long api_get_value(struct dlg_cell *dlg, const char *name, char *buf, size_t size)
{
	struct dlg_buf value = { 0 };
	long len = -1;

	if (dlg_vals_get(dlg, dlg_str_of(name), &value) == 1) {
		len = (long)value.len;
		if (value.len < size) {
			if (value.len)
				memcpy(buf, value.s, value.len);
			buf[value.len] = '\0';
		}
	}
	dlg_buf_free(&value);
	return len;
}

static void api_mi_add(void *mi, const char *name, const char *value)
{
	struct dlg_mi_out *out = mi;

	out->ops->text(out, name, dlg_str_of(value));
}

int dlg_cb_bind(struct dlg_api *api, unsigned version, size_t size)
{
	static const struct dlg_api ours = {
		.register_dlgcb = dlg_cb_register,
		.get = api_get,
		.find = api_find,
		.hold = api_hold,
		.put = api_put,
		.get_info = api_get_info,
		.create = api_create,
		.end = api_end,
		.set_value = api_set_value,
		.get_value = api_get_value,
		.get_flags = dlg_vals_flags,
		.set_flags = api_set_flags,
		.mi_add = api_mi_add,
	};

	/* no list yet: the other module was loaded before ours */
	if (!global || !api || version != DLG_API_VERSION || size != sizeof(ours))
		return -1;
	*api = ours;
	return 0;
}

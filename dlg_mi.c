/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_mi.h"

#include "dlg_cb.h"
#include "dlg_handlers.h"
#include "dlg_hash.h"
#include "dlg_profile.h"
#include "dlg_req_within.h"
#include "dlg_vals.h"
#include "host/host.h"

#include <stdio.h>

enum { BATCH = 64, PAGE_DEFAULT = 100, PAGE_MAX = 10000 };

/* ---- one dialog ---- */

/* A dialog's fields, copied under its lock into one private buffer and written after it. */
struct field {
	const char *name; /* NULL: a new callee leg begins */
	size_t len;       /* of the text behind it */
	int64_t number;
	int is_number;
};

static void put_field(struct dlg_buf *b, struct field f, const char *text)
{
	dlg_buf_add(b, (struct dlg_str){ (const char *)&f, sizeof(f) });
	dlg_buf_add(b, (struct dlg_str){ text, f.len });
}

static void put_text(struct dlg_buf *b, const char *name, const char *s, size_t len)
{
	put_field(b, (struct field){ .name = name, .len = len }, s);
}

static void put_view(struct dlg_buf *b, const char *name, struct dlg_str v)
{
	put_text(b, name, v.s, v.len);
}

static void put_number(struct dlg_buf *b, const char *name, int64_t n)
{
	put_field(b, (struct field){ .name = name, .number = n, .is_number = 1 }, NULL);
}

static void copy_caller_locked(const struct dlg_cell *dlg, struct dlg_buf *b)
{
	const struct dlg_leg *leg = dlg_hash_main_leg_locked(dlg);

	put_number(b, "state", dlg->state);
	put_number(b, "user_flags", dlg->user_flags);
	put_number(b, "timestart", dlg->start_time);
	put_number(b, "timeout",
		   dlg_state_is_answered(dlg->state) ? host_wall_s() + dlg_timer_left(dlg->expires) : 0);
	put_view(b, "callid", dlg_hash_text(dlg, DLG_CALL_ID));
	put_view(b, "from_uri", dlg_hash_text(dlg, DLG_FROM_URI));
	put_view(b, "to_uri", dlg_hash_text(dlg, DLG_TO_URI));
	put_view(b, "caller_tag", dlg_hash_text(dlg, DLG_FROM_TAG));
	put_text(b, "caller_contact", dlg->caller_contact, dlg->caller_contact_len);
	put_number(b, "callee_cseq", leg ? dlg_hash_last_cseq_locked(leg, DLG_DIR_UPSTREAM) : 0);
	put_view(b, "caller_route_set", dlg_hash_text(dlg, DLG_CALLER_ROUTES));
	put_view(b, "caller_bind_addr", host_sock_text(dlg->caller_sock));
}

static void copy_callee_locked(const struct dlg_leg *leg, struct dlg_buf *b)
{
	put_text(b, NULL, NULL, 0);
	put_text(b, "callee_tag", leg->tag, leg->tag_len);
	put_text(b, "callee_contact", leg->contact, leg->contact_len);
	put_number(b, "caller_cseq", dlg_hash_last_cseq_locked(leg, DLG_DIR_DOWNSTREAM));
	put_text(b, "callee_route_set", leg->route_set, leg->route_set_len);
	put_view(b, "callee_bind_addr", host_sock_text(leg->sock));
}

static void copy_dialog(struct dlg_cell *dlg, struct dlg_buf *b)
{
	dlg_hash_lock(dlg);
	copy_caller_locked(dlg, b);
	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next)
		copy_callee_locked(leg, b);
	dlg_hash_unlock(dlg);
}

static void begin_leg(struct dlg_mi_out *out, int *legs)
{
	if (!(*legs)++)
		out->ops->open_list(out, "callees");
	else
		out->ops->close_node(out);
	out->ops->open_node(out, NULL);
}

static void write_fields(struct dlg_mi_out *out, const struct dlg_buf *b)
{
	int legs = 0;

	for (size_t at = 0; at < b->len;) {
		struct field f;

		memcpy(&f, b->s + at, sizeof(f));
		at += sizeof(f);
		if (!f.name)
			begin_leg(out, &legs);
		else if (f.is_number)
			out->ops->number(out, f.name, f.number);
		else
			out->ops->text(out, f.name, (struct dlg_str){ b->s + at, f.len });
		at += f.len;
	}
	if (legs) {
		out->ops->close_node(out);
		out->ops->close_list(out);
	}
}

static void write_value(struct dlg_str name, struct dlg_str value, void *arg)
{
	struct dlg_mi_out *out = arg;
	struct dlg_buf line = { 0 };

	dlg_buf_add(&line, name);
	dlg_buf_add(&line, DLG_STR(" = "));
	dlg_buf_add(&line, value);
	out->ops->text(out, "value", dlg_buf_view(&line));
	dlg_buf_free(&line);
}

static void write_membership(int profile, struct dlg_str value, void *arg)
{
	struct dlg_mi_out *out = arg;
	struct dlg_buf line = { 0 };

	dlg_buf_add(&line, dlg_profile_name(profile));
	dlg_buf_add(&line, DLG_STR(" = "));
	dlg_buf_add(&line, value);
	out->ops->text(out, "profile", dlg_buf_view(&line));
	dlg_buf_free(&line);
}

static void write_context(struct dlg_mi_out *out, struct dlg_cell *dlg)
{
	struct dlg_cb_params p = { .mi = out };

	out->ops->open_node(out, "context");
	out->ops->open_list(out, "values");
	dlg_vals_each(dlg, write_value, out);
	out->ops->close_list(out);
	out->ops->open_list(out, "profiles");
	dlg_profile_each(dlg, write_membership, out);
	out->ops->close_list(out);
	dlg_cb_run(dlg, DLGCB_MI_CONTEXT, &p);
	out->ops->close_node(out);
}

void dlg_mi_open_dialog(struct dlg_mi_out *out, const char *node, const struct dlg_cell *dlg)
{
	char name[32];
	int n = snprintf(name, sizeof(name), "%u:%u", dlg->h_entry, dlg->h_id);

	out->ops->open_node(out, node);
	out->ops->attr(out, "hash", (struct dlg_str){ name, (size_t)n });
}

/* What a listing shows, and of which dialogs: all, or the members of a profile. */
struct view {
	int with_context;
	const struct dlg_mi_choice *of; /* NULL: all */
};

/* A dialog that is a member several times is listed once: say how often it counts, so that listing
 * and size agree. */
static void write_memberships(struct dlg_mi_out *out, struct dlg_cell *dlg,
			      const struct dlg_mi_choice *c)
{
	unsigned n = dlg_profile_memberships(dlg, c->profile, dlg_mi_chosen(c));

	if (n > 1)
		out->ops->number(out, "memberships", n);
}

static void write_dialog(struct dlg_mi_out *out, struct dlg_cell *dlg, const struct view *view)
{
	struct dlg_buf fields = { 0 };

	copy_dialog(dlg, &fields);
	if (!fields.failed) {
		dlg_mi_open_dialog(out, "dialog", dlg);
		write_fields(out, &fields);
		if (view->of)
			write_memberships(out, dlg, view->of);
		if (view->with_context)
			write_context(out, dlg);
		out->ops->close_node(out);
	}
	dlg_buf_free(&fields);
}

/* ---- listings ---- */

static int is_chosen(const struct dlg_cell *dlg, void *arg)
{
	const struct dlg_mi_choice *c = arg;

	return dlg_profile_memberships_locked(dlg, c->profile, dlg_mi_chosen(c)) > 0;
}

static unsigned next_page(struct dlg_hash_cursor *cur, struct dlg_cell **batch, unsigned max,
			  const struct dlg_mi_choice *of)
{
	return dlg_hash_page_of(cur, batch, max, of ? is_chosen : NULL, (void *)of, DLG_BY_LOCAL);
}

/* Write up to `max` dialogs (0: all) from the cursor on. */
static void write_page(struct dlg_mi_out *out, struct dlg_hash_cursor *cur, unsigned max,
		       const struct view *view)
{
	struct dlg_cell *batch[BATCH];
	unsigned n, want, done = 0;

	do {
		want = max && max - done < BATCH ? max - done : BATCH;
		n = want ? next_page(cur, batch, want, view->of) : 0;
		for (unsigned i = 0; i < n; i++) {
			if (!out->ops->broken(out))
				write_dialog(out, batch[i], view);
			dlg_hash_put(batch[i], DLG_BY_LOCAL);
		}
		done += n;
	} while (n && n == want && !out->ops->broken(out));
}

static void write_next(struct dlg_mi_out *out, const struct dlg_hash_cursor *cur)
{
	char text[32];
	int n;

	if (cur->entry >= dlg_hash_size())
		n = snprintf(text, sizeof(text), "end");
	else if (cur->inside)
		n = snprintf(text, sizeof(text), "%u:%u", cur->entry, cur->last_id);
	else
		n = snprintf(text, sizeof(text), "%u", cur->entry);
	out->ops->text(out, "next", (struct dlg_str){ text, (size_t)n });
}

/* In a dialect that builds its reply in memory a long list is cut, and "next" says where
 * dlg_page goes on. */
static void list_all(struct dlg_mi_out *out, const struct view *view)
{
	struct dlg_hash_cursor cur = { 0 };

	out->ops->open_list(out, "dialogs");
	write_page(out, &cur, out->page, view);
	out->ops->close_list(out);
	if (out->page && cur.entry < dlg_hash_size())
		write_next(out, &cur);
}

static int wanted(const struct dlg_cell *dlg, void *arg)
{
	const struct dlg_str *from_tag = arg;

	return dlg->state != DLG_STATE_DELETED &&
	       (!from_tag || dlg_str_eq(dlg_hash_text(dlg, DLG_FROM_TAG), *from_tag));
}

static void list(const struct dlg_mi_args *args, struct dlg_mi_out *out, int with_context)
{
	struct dlg_str from_tag = args->n > 1 ? args->arg[1] : DLG_STR_NONE;
	struct view view = { .with_context = with_context };
	struct dlg_cell *dlg;

	if (!args->n) {
		list_all(out, &view);
		return;
	}
	dlg = dlg_hash_find(args->arg[0], wanted, args->n > 1 ? &from_tag : NULL, DLG_BY_LOCAL);
	if (!dlg) {
		out->ops->error(out, 404, "Nu such dialog"); /* the spelling tools expect */
		return;
	}
	out->ops->open_list(out, "dialogs");
	write_dialog(out, dlg, &view);
	out->ops->close_list(out);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

void dlg_mi_run_dlg_list(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	list(args, out, 0);
}

void dlg_mi_run_dlg_list_ctx(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	list(args, out, 1);
}

static int parse_cursor(struct dlg_str text, struct dlg_hash_cursor *cur)
{
	const char *colon = text.len ? memchr(text.s, ':', text.len) : NULL;
	struct dlg_str entry = text;
	uint64_t e, id = 0;

	if (colon) {
		struct dlg_str rest = { colon + 1, (size_t)(text.s + text.len - colon - 1) };

		entry.len = (size_t)(colon - text.s);
		if (dlg_str_to_u64(rest, UINT32_MAX, &id) < 0)
			return -1;
	}
	if (dlg_str_to_u64(entry, UINT32_MAX, &e) < 0)
		return -1;
	*cur = (struct dlg_hash_cursor){ (uint32_t)e, (uint32_t)id, colon != NULL };
	return 0;
}

int dlg_mi_choose(const struct dlg_mi_args *args, unsigned first, struct dlg_mi_out *out,
		  struct dlg_mi_choice *c)
{
	*c = (struct dlg_mi_choice){ .profile = dlg_profile_find(args->arg[first]) };
	if (c->profile < 0) {
		out->ops->error(out, 404, "Profile not found");
		return -1;
	}
	if (args->n > first + 1) {
		c->value = args->arg[first + 1];
		c->has_value = dlg_profile_has_values(c->profile);
	}
	return 0;
}

void dlg_mi_run_dlg_page(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	struct dlg_hash_cursor cur;
	struct dlg_mi_choice of = { 0 };
	struct view view = { .of = args->n > 2 ? &of : NULL };
	uint64_t count = PAGE_DEFAULT;

	if (parse_cursor(args->arg[0], &cur) < 0 ||
	    (args->n > 1 && (dlg_str_to_u64(args->arg[1], PAGE_MAX, &count) < 0 || !count))) {
		out->ops->error(out, 400, "Bad parameter");
		return;
	}
	if (view.of && dlg_mi_choose(args, 2, out, &of) < 0)
		return;
	out->ops->open_list(out, "dialogs");
	write_page(out, &cur, (unsigned)count, &view);
	out->ops->close_list(out);
	write_next(out, &cur);
}

void dlg_mi_run_profile_list_dlgs(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	struct dlg_mi_choice c;

	if (dlg_mi_choose(args, 0, out, &c) == 0)
		list_all(out, &(struct view){ .of = &c });
}

/* ---- ending a call ---- */

static void answer_end(struct dlg_cell *dlg, struct dlg_str headers, struct dlg_mi_out *out)
{
	const char *why;

	if (dlg_handlers_end(dlg, headers, &why) < 0)
		out->ops->error(out, 500, why);
}

static int is_ended(struct dlg_cell *dlg)
{
	int ended;

	dlg_hash_lock(dlg);
	ended = dlg->state == DLG_STATE_DELETED;
	dlg_hash_unlock(dlg);
	return ended;
}

void dlg_mi_run_dlg_end_dlg(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	struct dlg_str headers = args->n > 2 ? args->arg[2] : DLG_STR_NONE;
	struct dlg_cell *dlg;
	uint64_t entry, id;

	if (dlg_str_to_u64(args->arg[0], UINT64_MAX, &entry) < 0 ||
	    dlg_str_to_u64(args->arg[1], UINT64_MAX, &id) < 0 ||
	    !dlg_req_within_headers_ok(headers)) {
		out->ops->error(out, 400, "Bad parameter");
		return;
	}
	dlg = entry <= UINT32_MAX && id <= UINT32_MAX
		      ? dlg_hash_get((uint32_t)entry, (uint32_t)id, DLG_BY_LOCAL)
		      : NULL;
	if (!dlg || is_ended(dlg))
		out->ops->error(out, 404, "Requested Dialog not found");
	else
		answer_end(dlg, headers, out);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

/* Calls that end meanwhile, or begin, may or may not be among them. */
void dlg_mi_run_profile_end_dlgs(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *batch[BATCH];
	struct dlg_mi_choice c;
	int64_t ended = 0, failed = 0;
	const char *why;
	unsigned n;

	if (dlg_mi_choose(args, 0, out, &c) < 0)
		return;
	while ((n = next_page(&cur, batch, BATCH, &c))) {
		for (unsigned i = 0; i < n; i++) {
			if (dlg_handlers_end_without_waiting(batch[i], &why) < 0)
				failed++;
			else
				ended++;
			dlg_hash_put(batch[i], DLG_BY_LOCAL);
		}
	}
	out->ops->number(out, "ended", ended);
	out->ops->number(out, "failed", failed);
}

/* ---- the table ---- */

const struct dlg_mi_command dlg_mi_commands[DLG_MI_N] = {
#define X(name, min, max, params, help) { #name, min, max, params, help, dlg_mi_run_##name },
	DLG_MI_COMMANDS(X)
#undef X
};

const struct dlg_mi_command *dlg_mi_find(struct dlg_str name)
{
	for (int i = 0; i < DLG_MI_N; i++) {
		if (dlg_str_eq(dlg_str_of(dlg_mi_commands[i].name), name))
			return &dlg_mi_commands[i];
	}
	return NULL;
}

void dlg_mi_run(const struct dlg_mi_command *cmd, const struct dlg_mi_args *args,
		struct dlg_mi_out *out)
{
	if (args->n < cmd->min_args || args->n > cmd->max_args)
		out->ops->error(out, 400, "Too few or too many arguments");
	else
		cmd->fn(args, out);
}

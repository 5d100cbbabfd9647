/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about profiles, as such; those that list or end their dialogs are in dlg_mi.c. */
#include "dlg_mi.h"

#include "dlg_profile.h"

enum { BATCH = 64, TOP_MAX = 100 };

static void write_size(struct dlg_mi_out *out, struct dlg_str name, struct dlg_str value,
		       uint32_t size)
{
	out->ops->open_node(out, "profile");
	out->ops->attr(out, "name", name);
	out->ops->attr(out, "value", value);
	out->ops->attr_number(out, "count", size);
	out->ops->close_node(out);
}

/* A value that means nothing is printed all the same. */
void dlg_mi_run_profile_get_size(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	struct dlg_mi_choice c;

	if (dlg_mi_choose(args, 0, out, &c) < 0)
		return;
	write_size(out, args->arg[0], args->n > 1 ? args->arg[1] : DLG_STR_NONE,
		   dlg_profile_size(c.profile, dlg_mi_chosen(&c)));
}

static void write_count(struct dlg_mi_out *out, struct dlg_str value, uint32_t count)
{
	out->ops->open_node(out, "value");
	out->ops->attr(out, NULL, value);
	out->ops->attr_number(out, "count", count);
	out->ops->close_node(out);
}

/* Call `fn` for each value and count of a page. */
typedef void count_fn(struct dlg_str value, uint32_t members, void *arg);
static void each_count(const struct dlg_buf *page, count_fn *fn, void *arg)
{
	for (size_t at = 0; at < page->len;) {
		struct dlg_profile_record r;

		memcpy(&r, page->s + at, sizeof(r));
		at += sizeof(r);
		fn((struct dlg_str){ page->s + at, r.len }, r.members, arg);
		at += r.len;
	}
}

/* Walk through a profile's values in pages, until `out` is broken or `max` (0: all) were seen. 0, or
 * -1: there was no memory for a page. *seen: how many were. */
static int each_value(int profile, struct dlg_mi_out *out, unsigned max, count_fn *fn, void *arg,
		      unsigned *seen)
{
	struct dlg_profile_cursor cur = { 0 };
	struct dlg_buf page = { 0 };
	unsigned n;
	int ret;

	*seen = 0;
	do {
		dlg_buf_reset(&page);
		n = dlg_profile_page(profile, &cur, max && max - *seen < BATCH ? max - *seen : BATCH,
				     &page);
		if (page.failed)
			break;
		each_count(&page, fn, arg);
		*seen += n;
	} while (n && (!max || *seen < max) && !out->ops->broken(out));
	ret = page.failed ? -1 : 0;
	dlg_profile_stop(&cur);
	dlg_buf_free(&page);
	return ret;
}

static void write_one(struct dlg_str value, uint32_t members, void *arg)
{
	write_count(arg, value, members);
}

/* A dialect that builds its reply in memory gets one page, and is told how many values it lacks; so
 * is one for which there was no memory. */
static void write_values(struct dlg_mi_out *out, int profile)
{
	uint32_t all;
	unsigned seen;
	int ret;

	out->ops->open_list(out, "values");
	ret = each_value(profile, out, out->page, write_one, out, &seen);
	all = dlg_profile_values(profile);
	out->ops->close_list(out);
	if ((ret < 0 || (out->page && seen == out->page)) && all > seen)
		out->ops->number(out, "left_out", all - seen);
}

void dlg_mi_run_profile_get_values(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	struct dlg_mi_choice c;

	if (dlg_mi_choose(args, 0, out, &c) < 0)
		return;
	if (dlg_profile_has_values(c.profile)) {
		write_values(out, c.profile);
		return;
	}
	out->ops->open_list(out, "values");
	write_count(out, DLG_STR("WITHOUT VALUE"), dlg_profile_size(c.profile, NULL));
	out->ops->close_list(out);
}

/* What tools expect: a line "name:: 1" each, and in structured dialects an object each. */
void dlg_mi_run_list_all_profiles(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	(void)args;
	out->ops->open_list(out, "Profiles");
	for (int i = 0; i < dlg_profile_count(); i++) {
		if (!out->ops->structured) {
			out->ops->number(out, dlg_profile_name(i).s, dlg_profile_has_values(i));
			continue;
		}
		out->ops->open_node(out, NULL);
		out->ops->text(out, "name", dlg_profile_name(i));
		out->ops->number(out, "has value", dlg_profile_has_values(i));
		out->ops->close_node(out);
	}
	out->ops->close_list(out);
}

/* ---- the most frequent values ---- */

struct top {
	struct frequent {
		struct dlg_buf value;
		uint32_t members;
	} item[TOP_MAX]; /* the most frequent first */
	unsigned n, max;
};

static void consider(struct dlg_str value, uint32_t members, void *arg)
{
	struct top *t = arg;
	struct frequent fresh = { .members = members };
	unsigned at = t->n;

	while (at && t->item[at - 1].members < members)
		at--;
	if (at == t->max)
		return;
	if (t->n == t->max)
		dlg_buf_free(&t->item[--t->n].value);
	memmove(&t->item[at + 1], &t->item[at], (t->n++ - at) * sizeof(fresh));
	dlg_buf_add(&fresh.value, value);
	t->item[at] = fresh;
}

static void write_top(struct dlg_mi_out *out, int profile, unsigned max)
{
	struct top t = { .max = max };
	unsigned seen;

	out->ops->open_list(out, "top");
	if (max)
		each_value(profile, out, 0, consider, &t, &seen);
	for (unsigned i = 0; i < t.n; i++) {
		write_count(out, dlg_buf_view(&t.item[i].value), t.item[i].members);
		dlg_buf_free(&t.item[i].value);
	}
	out->ops->close_list(out);
}

static void write_profile(struct dlg_mi_out *out, int profile, unsigned top)
{
	out->ops->open_node(out, "profile");
	out->ops->attr(out, "name", dlg_profile_name(profile));
	out->ops->attr_number(out, "with_value", dlg_profile_has_values(profile));
	out->ops->attr_number(out, "count", dlg_profile_size(profile, NULL));
	out->ops->attr_number(out, "values", dlg_profile_values(profile));
	write_top(out, profile, top);
	out->ops->close_node(out);
}

void dlg_mi_run_dlg_profiles(const struct dlg_mi_args *args, struct dlg_mi_out *out)
{
	uint64_t top = 0;

	if (args->n && dlg_str_to_u64(args->arg[0], TOP_MAX, &top) < 0) {
		out->ops->error(out, 400, "Bad parameter");
		return;
	}
	out->ops->open_list(out, "profiles");
	for (int i = 0; i < dlg_profile_count(); i++)
		write_profile(out, i, (unsigned)top);
	out->ops->close_list(out);
}

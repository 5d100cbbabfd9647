/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of limits: each part is a piece of the list, tidy, and what is printed from the parts is
 * read as the same parts again. */

#include "fuzz.h"
#include "../../dialog.h"
#include "../../dlg_profile.h"

static int is_tidy(struct dlg_str part)
{
	return dlg_str_eq(dlg_str_trim(part), part);
}

static void check_condition(struct dlg_str text, const struct dialog_condition *c)
{
	MUST(c->profile.len && c->limit.len);
	MUST(fuzz_within(c->profile, text) && fuzz_within(c->limit, text));
	MUST(is_tidy(c->profile) && is_tidy(c->limit));
	MUST(c->profile.s + c->profile.len < c->limit.s);
	if (!c->has_value) {
		MUST(!c->value.len);
		return;
	}
	MUST(fuzz_within(c->value, text) && is_tidy(c->value));
}

static void print(struct dlg_buf *out, const struct dialog_condition *c)
{
	dlg_buf_add(out, c->profile);
	if (c->has_value) {
		dlg_buf_add(out, DLG_STR(" = "));
		dlg_buf_add(out, c->value);
	}
	dlg_buf_add(out, DLG_STR("<="));
	dlg_buf_add(out, c->limit);
	dlg_buf_add(out, DLG_STR("\n;"));
}

static void check_same(const struct dialog_condition *a, const struct dialog_condition *b)
{
	MUST(dlg_str_eq(a->profile, b->profile) && dlg_str_eq(a->limit, b->limit));
	MUST(a->has_value == b->has_value && dlg_str_eq(a->value, b->value));
}

static void check_list(struct dlg_str text)
{
	struct dialog_condition c[DLG_PROFILE_WANTS_MAX], again[DLG_PROFILE_WANTS_MAX];
	int n = dialog_conditions(text, c, DLG_PROFILE_WANTS_MAX);
	struct dlg_buf out = { 0 };

	MUST(n == -1 || (n > 0 && n <= DLG_PROFILE_WANTS_MAX));
	for (int i = 0; i < n; i++) {
		check_condition(text, &c[i]);
		print(&out, &c[i]);
	}
	if (n > 1)
		MUST(dialog_conditions(text, again, (unsigned)n - 1) == -1);
	/* a bracket that nobody closes takes in all that follows, what we put there included */
	if (n > 0)
		out.len -= 2;
	MUST(n < 0 || dialog_conditions(dlg_buf_view(&out), again, DLG_PROFILE_WANTS_MAX) == n);
	for (int i = 0; i < n; i++)
		check_same(&c[i], &again[i]);
	dlg_buf_free(&out);
}

static void check_limit(struct dlg_str text)
{
	int64_t limit = -5;

	if (dialog_limit(text, &limit) < 0) {
		MUST(limit == -5);
		return;
	}
	text = dlg_str_trim(text);
	MUST(limit >= 0 && limit < UINT32_MAX);
	for (; limit || text.len; limit /= 10) {
		if (!text.len)
			abort();
		MUST(text.s[--text.len] == (char)('0' + limit % 10));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_list(fuzz_text(data, size));
	check_limit(fuzz_text(data, size));
	return 0;
}

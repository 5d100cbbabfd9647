/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route sets: entries, counts, slices and reversal agree with each other whatever the text; header
 * fields and tags lie within it.
 * Input: skip, take, then the list. */

#include "fuzz.h"
#include "../../dlg_header.h"
#include "../../dlg_route.h"

/* An entry with an open quote or bracket swallows what comes behind it: only the last can. */
static int is_closed(struct dlg_str entry)
{
	struct dlg_buf b = { 0 };
	unsigned n;

	dlg_buf_add(&b, entry);
	dlg_buf_add(&b, DLG_STR(",<sip:after.example>"));
	n = dlg_route_count(dlg_buf_view(&b));
	dlg_buf_free(&b);
	return n == 2;
}

static void check_entry(struct dlg_str entry, struct dlg_str list)
{
	struct dlg_str uri = dlg_route_uri(entry), trimmed = dlg_str_trim(entry);
	struct dlg_buf b = { 0 };

	MUST(entry.len && fuzz_within(entry, list) && trimmed.len == entry.len);
	MUST(dlg_route_count(entry) == 1);
	MUST(fuzz_within(uri, entry));
	if (!uri.len || memchr(uri.s, '>', uri.len))
		return;
	dlg_buf_printf(&b, "\"a, <b>\" <%.*s>;c", DLG_STR_ARG(uri));
	if (!memchr(uri.s, '\0', uri.len))
		MUST(dlg_str_eq(dlg_route_uri(dlg_buf_view(&b)), uri));
	dlg_buf_free(&b);
}

/* Returns whether the last entry is closed, so that lists can be put together from the entries. */
static int check_entries(struct dlg_str list)
{
	struct dlg_str rest = list, entry = DLG_STR_NONE, before = DLG_STR_NONE;
	unsigned n = 0;

	while (dlg_route_next(&rest, &entry) == 0) {
		MUST(!before.len || (entry.s > before.s + before.len && is_closed(before)));
		check_entry(entry, list);
		before = entry;
		n++;
	}
	MUST(n == dlg_route_count(list));
	MUST(dlg_str_eq(dlg_route_last_uri(list), n ? dlg_route_uri(before) : DLG_STR_NONE));
	return !n || is_closed(before);
}

static void check_slice(struct dlg_str list, unsigned skip, unsigned take)
{
	unsigned n = dlg_route_count(list), want = n > skip ? n - skip : 0;
	struct dlg_str rest = list, entry, mine, got;
	struct dlg_buf b = { 0 };

	want = want < take ? want : take;
	dlg_route_slice(&b, list, skip, take, 0);
	got = dlg_buf_view(&b);
	MUST(!b.failed && dlg_route_count(got) == want);
	while (skip-- && dlg_route_next(&rest, &entry) == 0)
		;
	while (dlg_route_next(&got, &mine) == 0) {
		MUST(dlg_route_next(&rest, &entry) == 0);
		MUST(dlg_str_eq(entry, mine));
	}
	dlg_buf_free(&b);
}

static void check_reversal(struct dlg_str list, unsigned skip, unsigned take)
{
	struct dlg_buf forward = { 0 }, back = { 0 }, again = { 0 };

	dlg_route_slice(&forward, list, skip, take, 0);
	dlg_route_slice(&back, list, skip, take, 1);
	dlg_route_slice(&again, dlg_buf_view(&back), 0, UINT32_MAX, 1);
	MUST(dlg_str_eq(dlg_buf_view(&forward), dlg_buf_view(&again)));
	MUST(forward.len == back.len);
	dlg_buf_free(&forward);
	dlg_buf_free(&back);
	dlg_buf_free(&again);
}

/* The same text as header fields: each lies behind the one before. */
static void check_fields(struct dlg_str text)
{
	struct dlg_str rest = text, name, body;

	while (dlg_header_next(&rest, &name, &body) == 0) {
		MUST(name.len && fuzz_within(name, text) && fuzz_within(body, text));
		MUST(!body.len || body.s + body.len <= rest.s);
		MUST(fuzz_within(dlg_route_tag(body), body));
	}
	MUST(fuzz_within(rest, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dlg_str list = fuzz_text(data, size);
	unsigned skip = fuzz_byte(&list) % 8, take = fuzz_byte(&list) % 8;
	int closed;

	if (list.len > 20000) /* the pieces are looked at again and again */
		return 0;
	check_fields(list);
	closed = check_entries(list);
	check_slice(list, 0, UINT32_MAX);
	check_slice(list, skip, take);
	if (closed)
		check_reversal(list, skip, take);
	return 0;
}

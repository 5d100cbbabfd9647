/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of a table: whatever stands in them is understood or refused with a reason; and every text
 * goes there and back. The input is a line of columns: N is NULL, I a number in decimal, T a text;
 * the columns are separated by a zero byte. */

#include "fuzz.h"
#include "../../dlg_row.h"

static struct dlg_str next_column(struct dlg_str *in)
{
	const char *end = in->len ? memchr(in->s, '\0', in->len) : NULL;
	struct dlg_str column = fuzz_take(in, end ? (size_t)(end - in->s) : in->len);

	fuzz_byte(in);
	return column;
}

static struct db_value value_of(struct dlg_str column)
{
	struct dlg_str rest = column;
	uint64_t n;

	switch (fuzz_byte(&rest)) {
	case 'T':
		return db_text(rest);
	case 'I':
		return db_int(dlg_str_to_u64(rest, INT64_MAX, &n) < 0 ? -(int64_t)rest.len : (int64_t)n);
	default:
		return db_null();
	}
}

static void check_texts(const struct dlg_row *row, struct dlg_str arena)
{
	MUST(row->call_id.len && row->from_tag.len && row->from_uri.len && row->to_uri.len);
	MUST(fuzz_within(row->call_id, arena) && fuzz_within(row->caller_routes, arena));
	MUST(row->n_legs >= 1 && row->n_legs <= DLG_ROW_LEGS_MAX);
	for (unsigned i = 0; i < row->n_legs; i++) {
		MUST(fuzz_within(row->leg[i].tag, arena) && fuzz_within(row->leg[i].route_set, arena));
		MUST(row->leg[i].sock.len && row->leg[i].acked <= 1);
	}
}

static void check_pairs(struct dlg_str list)
{
	struct dlg_buf pair = { 0 };
	struct dlg_str name, value;
	int got;

	while ((got = dlg_row_next_pair(&list, &pair, &name, &value)) > 0)
		MUST(name.len);
	MUST(got == 0); /* a row that was accepted has no malformed list */
	dlg_buf_free(&pair);
}

static void check_row(struct dlg_str in)
{
	static struct dlg_row row;
	struct db_value values[DLG_ROW_N];
	struct dlg_buf arena = { 0 };
	const char *why;

	for (int i = 0; i < DLG_ROW_N; i++)
		values[i] = value_of(next_column(&in));
	if (dlg_row_read(values, 0, &row, &arena, &why) == 0) {
		check_texts(&row, dlg_buf_view(&arena));
		check_pairs(row.vars);
		check_pairs(row.profiles);
	} else {
		MUST(why && *why && strlen(why) < 200);
	}
	dlg_buf_free(&arena);
}

static void check_escape(struct dlg_str raw, const char *special)
{
	struct dlg_buf text = { 0 }, back = { 0 };

	dlg_row_escape(&text, raw, special);
	dlg_row_unescape(&back, dlg_buf_view(&text));
	MUST(dlg_str_eq(dlg_buf_view(&back), raw));
	for (size_t i = 0; i < text.len; i++)
		MUST((unsigned char)text.s[i] >= ' ' && text.s[i] != 0x7f);
	dlg_buf_free(&text);
	dlg_buf_free(&back);
}

/* An image of any bytes is taken apart, or refused. */
static void check_image(struct dlg_str in)
{
	struct db_value values[DLG_ROW_N];

	if (dlg_row_values(in, DLG_STR_NONE, values) < 0)
		return;
	for (int i = 1; i < DLG_ROW_N; i++)
		MUST(values[i].kind != DB_TEXT || fuzz_within(values[i].text, in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dlg_str in = fuzz_text(data, size);

	check_row(in);
	check_escape(in, "#|");
	check_escape(in, ",;");
	check_image(in);
	return 0;
}

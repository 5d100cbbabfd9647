/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dlgctl's reading of replies, which hold the texts of strangers: in any pieces the same lines, on
 * a terminal nothing that it takes for a command, in JSON nothing that ends a string. */

#include "fuzz.h"
#include "../../ctl/ctl.h"

#include <ctype.h>
#include <string.h>

struct ctl_options ctl_options;

/* What is printed holds neither bytes that control a terminal, nor characters that do (C1). */
static void check_terminal(const char *text)
{
	struct dlg_buf out = { 0 };
	unsigned columns = ctl_text(&out, text);

	MUST(columns <= out.len);
	for (size_t i = 0; i < out.len; i++) {
		unsigned char c = (unsigned char)out.s[i];

		MUST(c >= ' ' && c != 0x7f);
		MUST(c != 0xc2 || (unsigned char)out.s[i + 1] >= 0xa0);
	}
	dlg_buf_free(&out);
}

/* One quoted string: quotes within are escaped, and every escape is whole (RFC 8259 7). */
static void check_json(const char *text)
{
	struct dlg_buf out = { 0 };
	size_t i = 1;

	ctl_json_string(&out, text);
	MUST(out.len >= 2 && out.s[0] == '"' && out.s[out.len - 1] == '"');
	while (i < out.len - 1) {
		MUST((unsigned char)out.s[i] >= ' ' && out.s[i] != '"');
		if (out.s[i++] != '\\')
			continue;
		MUST(out.s[i] && strchr("\"\\u", out.s[i]));
		for (int digits = out.s[i++] == 'u' ? 4 : 0; digits; digits--)
			MUST(isxdigit((unsigned char)out.s[i++]));
	}
	MUST(i == out.len - 1);
	dlg_buf_free(&out);
}

/* The last attribute first, as the lists do it; what is left of it has it no more behind. */
static void check_attributes(char *value)
{
	char *to = ctl_attr(value, "to"), *from = ctl_attr(value, "from");

	MUST(!to || !strstr(to, " to="));
	MUST(!from || !strstr(from, " from="));
	MUST(!to || !from || from + strlen(from) < to);
}

static int on_line(struct ctl_line *line, void *arg)
{
	struct dlg_buf *seen = arg;

	dlg_buf_printf(seen, "%u %s=%s\n", line->depth, line->name, line->value);
	check_terminal(line->value);
	check_json(line->value);
	check_attributes(line->value);
	return 0;
}

static struct dlg_buf read_in_pieces(struct dlg_str text, size_t piece)
{
	struct dlg_buf seen = { 0 };
	struct ctl_reply r = { .fn = on_line, .arg = &seen };

	while (text.len)
		ctl_reply_feed(&r, fuzz_take(&text, piece));
	MUST(!r.failed);
	MUST(!r.complete || r.status);
	dlg_buf_printf(&seen, "%d %d %s", r.status, r.complete, r.error);
	dlg_buf_free(&r.line);
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dlg_str text = fuzz_text(data, size);
	size_t piece = 1 + fuzz_byte(&text) % 16;
	struct dlg_buf whole = read_in_pieces(text, size + 1), pieces = read_in_pieces(text, piece);

	MUST(dlg_str_eq(dlg_buf_view(&whole), dlg_buf_view(&pieces)));
	dlg_buf_free(&whole);
	dlg_buf_free(&pieces);
	return 0;
}

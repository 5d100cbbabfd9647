/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The check of extra headers: what it lets pass can neither end the header part of a request nor
 * hide a line, and lists of headers that pass can be put together. */

#include "fuzz.h"
#include "../../dlg_req_within.h"

/* Verdict on head + text + tail. */
static int ok_with(const char *head, struct dlg_str text, const char *tail)
{
	struct dlg_buf b = { 0 };
	int ok;

	dlg_buf_add(&b, dlg_str_of(head));
	dlg_buf_add(&b, text);
	dlg_buf_add(&b, dlg_str_of(tail));
	ok = dlg_req_within_headers_ok(dlg_buf_view(&b));
	dlg_buf_free(&b);
	return ok;
}

static int ends_with_crlf(struct dlg_str v)
{
	return v.len >= 2 && !memcmp(v.s + v.len - 2, "\r\n", 2);
}

/* Every CR is followed by LF, every LF preceded by CR, no line is empty, no other control bytes. */
static void check_bytes(struct dlg_str v)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.s[i];

		MUST(c >= ' ' || c == '\t' || c == '\r' || c == '\n');
		MUST(c != 0x7f);
		if (c == '\r')
			MUST(i + 1 < v.len && v.s[i + 1] == '\n' && i > 0 && v.s[i - 1] != '\n');
		if (c == '\n')
			MUST(i > 0 && v.s[i - 1] == '\r');
	}
	MUST(strchr(" \t:\r\n", v.s[0]) == NULL);
	MUST(memchr(v.s, ':', v.len));
}

static void check_accepted(struct dlg_str v)
{
	const char *glue = ends_with_crlf(v) ? "" : "\r\n";
	char broken[8];

	check_bytes(v);
	MUST(ok_with("", v, glue));
	snprintf(broken, sizeof(broken), "%s\r\n", glue);
	MUST(!ok_with("", v, broken));
	MUST(!ok_with("", v, "\n"));
	MUST(!ok_with("\r\n", v, ""));
	MUST(!ok_with(" ", v, ""));
	MUST(ok_with("X-First: 1\r\n", v, ""));
	snprintf(broken, sizeof(broken), "%sY: 2", glue);
	MUST(ok_with("", v, broken));
}

/* As the value of a header any text is harmless or refused, unless it brings lines of its own. */
static void check_as_value(struct dlg_str v)
{
	int clean = 1;

	for (size_t i = 0; i < v.len; i++)
		clean &= ((unsigned char)v.s[i] >= ' ' && v.s[i] != 0x7f) || v.s[i] == '\t';
	if (!memmem(v.s, v.len, "\r\n", 2))
		MUST(ok_with("X-Value:", v, "\r\n") == clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dlg_str text = fuzz_text(data, size);

	if (!size)
		MUST(dlg_req_within_headers_ok(text));
	else if (dlg_req_within_headers_ok(text))
		check_accepted(text);
	if (size)
		check_as_value(text);
	return 0;
}

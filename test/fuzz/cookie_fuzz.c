/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cookies: what is printed is read back, and what is read prints as the same cookie, tidied up. */

#include "fuzz.h"
#include "../../dlg_cookie.h"

#include <ctype.h>

/* Trailing zeros and upper case are tolerated in what we read, but not written. */
static size_t tidy_number(char *out, struct dlg_str v)
{
	while (v.len > 1 && v.s[v.len - 1] == '0')
		v.len--;
	for (size_t i = 0; i < v.len; i++)
		out[i] = (char)tolower((unsigned char)v.s[i]);
	return v.len;
}

static void check_tidy(struct dlg_str text, struct dlg_str printed)
{
	char tidy[64];
	size_t dot, len;

	text = dlg_str_trim(text);
	if (text.s[0] == '"')
		text = (struct dlg_str){ text.s + 1, text.len - 2 };
	MUST(text.len < sizeof(tidy));
	dot = (size_t)((const char *)memchr(text.s, '.', text.len) - text.s);
	len = tidy_number(tidy, (struct dlg_str){ text.s, dot });
	tidy[len++] = '.';
	len += tidy_number(tidy + len, (struct dlg_str){ text.s + dot + 1, text.len - dot - 1 });
	MUST(dlg_str_eq(printed, (struct dlg_str){ tidy, len }));
}

static void check_read(struct dlg_str text)
{
	uint32_t entry, id, entry2, id2;
	char out[DLG_COOKIE_MAX];
	size_t len;

	if (dlg_cookie_parse(text, &entry, &id) < 0)
		return;
	len = dlg_cookie_print(out, entry, id);
	MUST(len < sizeof(out) && out[len] == '\0');
	check_tidy(text, (struct dlg_str){ out, len });
	MUST(dlg_cookie_parse((struct dlg_str){ out, len }, &entry2, &id2) == 0);
	MUST(entry == entry2 && id == id2);
}

static void check_written(struct dlg_str bytes)
{
	uint32_t number[2] = { 0, 0 }, entry, id;
	char out[DLG_COOKIE_MAX];
	size_t len;

	memcpy(number, bytes.s, bytes.len < sizeof(number) ? bytes.len : sizeof(number));
	len = dlg_cookie_print(out, number[0], number[1]);
	MUST(len < sizeof(out) && strlen(out) == len);
	MUST(dlg_cookie_parse((struct dlg_str){ out, len }, &entry, &id) == 0);
	MUST(entry == number[0] && id == number[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_read(fuzz_text(data, size));
	if (size)
		check_written(fuzz_text(data, size));
	return 0;
}

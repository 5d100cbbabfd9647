/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_cookie.h"

static size_t print_reversed_hex(char *out, uint32_t n)
{
	size_t len = 0;

	do
		out[len++] = "0123456789abcdef"[n & 15];
	while (n >>= 4);
	return len;
}

size_t dlg_cookie_print(char out[DLG_COOKIE_MAX], uint32_t h_entry, uint32_t h_id)
{
	size_t len = print_reversed_hex(out, h_entry);

	out[len++] = '.';
	len += print_reversed_hex(out + len, h_id);
	out[len] = '\0';
	return len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_reversed_hex(struct dlg_str text, uint32_t *out)
{
	uint32_t n = 0;

	if (!text.len || text.len > 16)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		int digit = hex_digit(text.s[i]);

		if (digit < 0 || (i >= 8 && digit))
			return -1;
		if (i < 8)
			n |= (uint32_t)digit << (4 * i);
	}
	*out = n;
	return 0;
}

int dlg_cookie_parse(struct dlg_str text, uint32_t *h_entry, uint32_t *h_id)
{
	struct dlg_str entry, id;
	const char *dot;
	uint32_t e, i;

	text = dlg_str_trim(text);
	if (text.len >= 2 && text.s[0] == '"' && text.s[text.len - 1] == '"') {
		text.s++;
		text.len -= 2;
	}
	dot = text.len ? memchr(text.s, '.', text.len) : NULL;
	if (!dot)
		return -1;
	entry = (struct dlg_str){ text.s, (size_t)(dot - text.s) };
	id = (struct dlg_str){ dot + 1, text.len - entry.len - 1 };
	if (parse_reversed_hex(entry, &e) < 0 || parse_reversed_hex(id, &i) < 0)
		return -1;
	*h_entry = e;
	*h_id = i;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_header.h"

/* Length of a header field with the line end behind it; lines that begin with a blank belong to
 * it. */
static size_t field_length(struct dlg_str v)
{
	const char *end = v.s + v.len, *at = v.s;

	do {
		at = memchr(at, '\n', (size_t)(end - at));
		if (!at)
			return v.len;
		at++;
	} while (at < end && (*at == ' ' || *at == '\t'));
	return (size_t)(at - v.s);
}

int dlg_header_next(struct dlg_str *rest, struct dlg_str *name, struct dlg_str *body)
{
	size_t len = rest->len ? field_length(*rest) : 0;
	const char *colon = len ? memchr(rest->s, ':', len) : NULL;

	if (!colon || (unsigned char)*rest->s <= ' ' || colon == rest->s)
		return -1;
	*name = dlg_str_trim((struct dlg_str){ rest->s, (size_t)(colon - rest->s) });
	*body = dlg_str_trim((struct dlg_str){ colon + 1, (size_t)(rest->s + len - colon - 1) });
	rest->s += len;
	rest->len -= len;
	return 0;
}

int dlg_header_is(struct dlg_str name, struct dlg_str full, char compact)
{
	if (name.len == 1)
		return compact && (name.s[0] | 0x20) == compact;
	return name.len == full.len && dlg_str_eq_nocase(name, full);
}

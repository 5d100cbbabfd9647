/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparison of URIs (RFC 3261 19.1.4): reflexive, symmetric, blind to what does not count and to
 * nothing else. Input: two URIs, with a line feed between them. */

#include "fuzz.h"
#include "../../dlg_route.h"

#include <ctype.h>
#include <strings.h>

static void check_pair(struct dlg_str a, struct dlg_str b)
{
	MUST(dlg_route_uri_eq(a, a));
	MUST(dlg_route_uri_eq(b, b));
	MUST(dlg_route_uri_eq(a, b) == dlg_route_uri_eq(b, a));
}

/* The letters of the scheme in the other case: a SIP URI stays what it was, any other does not. */
static int is_sip(struct dlg_str a)
{
	size_t n = a.len >= 4 && !strncasecmp(a.s, "sip:", 4)    ? 3
		   : a.len >= 5 && !strncasecmp(a.s, "sips:", 5) ? 4
								 : 0;
	struct dlg_buf b = { 0 };
	int same;

	if (!n)
		return 0;
	dlg_buf_add(&b, a);
	for (size_t i = 0; i < n; i++)
		b.s[i] = (char)(b.s[i] ^ 0x20);
	same = dlg_route_uri_eq(a, dlg_buf_view(&b));
	dlg_buf_free(&b);
	return same;
}

static int eq_with(struct dlg_str a, struct dlg_str more)
{
	struct dlg_buf b = { 0 };
	int same;

	dlg_buf_add(&b, a);
	dlg_buf_add(&b, more);
	same = dlg_route_uri_eq(a, dlg_buf_view(&b));
	MUST(same == dlg_route_uri_eq(dlg_buf_view(&b), a));
	dlg_buf_free(&b);
	return same;
}

static int contains(struct dlg_str v, const char *what)
{
	size_t n = strlen(what);

	for (size_t i = 0; i + n <= v.len; i++) {
		if (!strncasecmp(v.s + i, what, n))
			return 1;
	}
	return 0;
}

/* What follows a SIP URI without headers is another parameter. */
static void check_params(struct dlg_str a)
{
	if (memchr(a.s, '?', a.len) || !is_sip(a))
		return;
	if (!contains(a, "zz9"))
		MUST(eq_with(a, DLG_STR(";zz9=1")));
	if (!contains(a, "transport"))
		MUST(!eq_with(a, DLG_STR(";transport=tcp")));
	if (!contains(a, "maddr"))
		MUST(!eq_with(a, DLG_STR(";MADDR=1.2.3.4")));
	MUST(!eq_with(a, DLG_STR("?subject=x")));
}

/* Letters and digits of the user part may be escaped (RFC 3261 19.1.4). */
static void check_escapes(struct dlg_str a)
{
	const char *colon = memchr(a.s, ':', a.len), *at = memchr(a.s, '@', a.len);
	struct dlg_buf b = { 0 };

	if (!at || memchr(a.s, '%', a.len) || !is_sip(a))
		return;
	for (const char *s = a.s; s < a.s + a.len; s++) {
		if (s > colon && s < at && isalnum((unsigned char)*s))
			dlg_buf_printf(&b, "%%%02x", (unsigned char)*s);
		else
			dlg_buf_add(&b, (struct dlg_str){ s, 1 });
	}
	MUST(dlg_route_uri_eq(a, dlg_buf_view(&b)));
	MUST(dlg_route_uri_eq(dlg_buf_view(&b), a));
	dlg_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dlg_str in = fuzz_text(data, size), a, b;
	const char *lf = size ? memchr(data, '\n', size) : NULL;

	a = fuzz_take(&in, lf ? (size_t)(lf - in.s) : size);
	if (lf)
		fuzz_byte(&in);
	b = in;
	check_pair(a, b);
	if (a.len) {
		check_params(a);
		check_escapes(a);
	}
	return 0;
}

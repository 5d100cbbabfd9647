/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_route.h"

#include <arpa/inet.h>

/* Length up to the first comma outside quotes and angle brackets; most lists have none at all. */
static size_t entry_length(struct dlg_str list)
{
	int quoted = 0, bracketed = 0;
	size_t i;

	if (!memchr(list.s, ',', list.len))
		return list.len;
	for (i = 0; i < list.len; i++) {
		char c = list.s[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"' && !bracketed)
			quoted = !quoted;
		else if (!quoted && (c == '<' || c == '>'))
			bracketed = c == '<';
		else if (c == ',' && !quoted && !bracketed)
			break;
	}
	return i < list.len ? i : list.len;
}

int dlg_route_next(struct dlg_str *list, struct dlg_str *entry)
{
	while (list->len) {
		size_t n = entry_length(*list);

		*entry = dlg_str_trim((struct dlg_str){ list->s, n });
		if (n < list->len)
			n++;
		list->s += n;
		list->len -= n;
		if (entry->len)
			return 0;
	}
	return -1;
}

unsigned dlg_route_count(struct dlg_str list)
{
	struct dlg_str entry;
	unsigned n = 0;

	while (dlg_route_next(&list, &entry) == 0)
		n++;
	return n;
}

/* First `c` that is not inside quotes, or NULL. */
static const char *find_unquoted(struct dlg_str text, char c)
{
	const char *first = text.len ? memchr(text.s, c, text.len) : NULL;
	int quoted = 0;

	if (!first || !memchr(text.s, '"', (size_t)(first - text.s)))
		return first;
	for (size_t i = 0; i < text.len; i++) {
		if (quoted && text.s[i] == '\\')
			i++;
		else if (text.s[i] == '"')
			quoted = !quoted;
		else if (text.s[i] == c && !quoted)
			return text.s + i;
	}
	return NULL;
}

struct dlg_str dlg_route_clean(struct dlg_str uri)
{
	uri = dlg_str_trim(uri);
	return dlg_str_is_bare(uri) ? uri : DLG_STR_NONE;
}

struct dlg_str dlg_route_uri(struct dlg_str entry)
{
	const char *open = find_unquoted(entry, '<'), *end;

	if (!open) { /* addr-spec: parameters belong to the header (RFC 3261 20) */
		end = entry.len ? memchr(entry.s, ';', entry.len) : NULL;
		if (end)
			entry.len = (size_t)(end - entry.s);
		return dlg_route_clean(entry);
	}
	open++;
	end = memchr(open, '>', (size_t)(entry.s + entry.len - open));
	if (!end)
		return DLG_STR_NONE;
	return dlg_route_clean((struct dlg_str){ open, (size_t)(end - open) });
}

/* The parameters of a header, behind its URI, with their first semicolon; empty when there are
 * none. */
static struct dlg_str header_params(struct dlg_str body)
{
	const char *open = find_unquoted(body, '<'), *end = body.s + body.len, *at = body.s;

	if (open)
		at = memchr(open, '>', (size_t)(end - open));
	if (at && at < end)
		at = memchr(at, ';', (size_t)(end - at));
	return at && at < end ? (struct dlg_str){ at, (size_t)(end - at) } : DLG_STR_NONE;
}

/* Split `v` at the first `c` at or after `from`: returns the part before, leaves the part after
 * in *rest (NULL when there is no `c`). */
static struct dlg_str split(struct dlg_str v, char c, struct dlg_str *rest)
{
	const char *at = v.len ? memchr(v.s, c, v.len) : NULL;

	*rest = DLG_STR_NONE;
	if (!at)
		return v;
	*rest = (struct dlg_str){ at + 1, (size_t)(v.s + v.len - at - 1) };
	v.len = (size_t)(at - v.s);
	return v;
}

/* Cut the next parameter off the front of *params, which begins with a semicolon. 0, or -1 at the
 * end. */
static int next_param(struct dlg_str *params, struct dlg_str *one)
{
	const char *next;

	if (!params->len)
		return -1;
	*one = (struct dlg_str){ params->s + 1, params->len - 1 };
	next = find_unquoted(*one, ';');
	if (next)
		one->len = (size_t)(next - one->s);
	params->s += one->len + 1;
	params->len -= one->len + 1;
	return 0;
}

/* A parameter's value, up to the blank or semicolon behind it. A comma is none of a token's (RFC
 * 3261 25.1), but Kamailio lets it pass, and From and To are no lists. */
static struct dlg_str token(struct dlg_str v)
{
	size_t n = 0;

	v = dlg_str_trim(v);
	while (n < v.len && (unsigned char)v.s[n] > ' ' && v.s[n] != ';')
		n++;
	return (struct dlg_str){ v.s, n };
}

/* It is the first parameter nearly always. */
static int starts_with_tag(struct dlg_str params)
{
	return params.len > 5 && dlg_str_eq_nocase((struct dlg_str){ params.s, 5 }, DLG_STR(";tag="));
}

struct dlg_str dlg_route_tag(struct dlg_str body)
{
	struct dlg_str rest = header_params(body), one, value;

	if (starts_with_tag(rest))
		return token((struct dlg_str){ rest.s + 5, rest.len - 5 });
	while (next_param(&rest, &one) == 0) {
		if (dlg_str_eq_nocase(dlg_str_trim(split(one, '=', &value)), DLG_STR("tag")) &&
		    value.s)
			return token(value);
	}
	return DLG_STR_NONE;
}

static void slice_forward(struct dlg_buf *out, struct dlg_str list, unsigned skip, unsigned take)
{
	struct dlg_str entry;
	size_t start = out->len;

	while (take && dlg_route_next(&list, &entry) == 0) {
		if (skip) {
			skip--;
			continue;
		}
		if (out->len > start)
			dlg_buf_add(out, DLG_STR(","));
		dlg_buf_add(out, entry);
		take--;
	}
}

void dlg_route_slice(struct dlg_buf *out, struct dlg_str list, unsigned skip, unsigned take,
		     int reverse)
{
	size_t start = out->len;
	unsigned n = dlg_route_count(list);

	n = n > skip ? n - skip : 0;
	if (n > take)
		n = take;
	if (!reverse) {
		slice_forward(out, list, skip, n);
		return;
	}
	for (unsigned i = n; i-- > 0;) {
		if (out->len > start)
			dlg_buf_add(out, DLG_STR(","));
		slice_forward(out, list, skip + i, 1);
	}
}

struct dlg_str dlg_route_last_uri(struct dlg_str list)
{
	struct dlg_str entry, last = DLG_STR_NONE;

	while (dlg_route_next(&list, &entry) == 0)
		last = entry;
	return dlg_route_uri(last);
}

/* A SIP URI in pieces (RFC 3261 19.1.1). */
struct uri {
	struct dlg_str scheme, user, host, port, params, headers;
};

static int uri_split(struct dlg_str text, struct uri *u)
{
	struct dlg_str rest, hostport, after;

	u->scheme = split(text, ':', &rest);
	if (!rest.s || (!dlg_str_eq_nocase(u->scheme, DLG_STR("sip")) &&
			!dlg_str_eq_nocase(u->scheme, DLG_STR("sips"))))
		return -1;
	u->user = split(rest, '@', &after);
	if (after.s) {
		rest = after;
	} else {
		u->user = DLG_STR_NONE;
	}
	rest = split(rest, '?', &u->headers);
	hostport = split(rest, ';', &u->params);
	if (hostport.len && hostport.s[0] == '[') { /* IPv6 reference */
		u->host = split(hostport, ']', &after);
		u->port = after.s && after.len && after.s[0] == ':'
				  ? (struct dlg_str){ after.s + 1, after.len - 1 }
				  : DLG_STR_NONE;
	} else {
		u->host = split(hostport, ':', &u->port);
	}
	return u->host.len ? 0 : -1;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Cut the first character off. An escaped one is the same as itself, unless it is reserved
 * (RFC 3261 19.1.4). -1 at the end. */
static int next_char(struct dlg_str *v)
{
	int c, high, low;

	if (!v->len)
		return -1;
	c = (unsigned char)*v->s++;
	v->len--;
	if (c != '%' || v->len < 2)
		return c;
	high = hex_value(v->s[0]);
	low = hex_value(v->s[1]);
	if (high < 0 || low < 0)
		return c;
	v->s += 2;
	v->len -= 2;
	c = high * 16 + low;
	return c && strchr(";/?:@&=+$,", c) ? c + 256 : c;
}

static int lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}

static int text_eq(struct dlg_str a, struct dlg_str b, int nocase)
{
	int x, y;

	do {
		x = next_char(&a);
		y = next_char(&b);
		if (nocase ? lower(x) != lower(y) : x != y)
			return 0;
	} while (x >= 0);
	return 1;
}

int dlg_route_param(struct dlg_str params, struct dlg_str name, struct dlg_str *value)
{
	while (params.s) {
		struct dlg_str one = split(params, ';', &params), v;
		struct dlg_str n = split(one, '=', &v);

		if (n.len && dlg_str_eq_nocase(n, name)) {
			*value = v;
			return 1;
		}
	}
	return 0;
}

/* Does every parameter of `a` agree with `b`? Parameters of only one side matter for the four of
 * RFC 3261 19.1.4. */
static int params_agree(struct dlg_str a, struct dlg_str b)
{
	static const struct dlg_str significant[] = {
		{ "transport", 9 }, { "user", 4 }, { "ttl", 3 }, { "method", 6 }, { "maddr", 5 },
	};

	while (a.s) {
		struct dlg_str one = split(a, ';', &a), v, other;
		struct dlg_str n = split(one, '=', &v);

		if (!n.len)
			continue;
		if (dlg_route_param(b, n, &other)) {
			if (!text_eq(v, other, 1))
				return 0;
			continue;
		}
		for (size_t i = 0; i < sizeof(significant) / sizeof(significant[0]); i++) {
			if (dlg_str_eq_nocase(n, significant[i]))
				return 0;
		}
	}
	return 1;
}

static int has_header(struct dlg_str headers, struct dlg_str wanted)
{
	while (headers.s) {
		if (text_eq(split(headers, '&', &headers), wanted, 1))
			return 1;
	}
	return 0;
}

/* Is every header of `a` one of `b`, in whatever order? */
static int headers_agree(struct dlg_str a, struct dlg_str b)
{
	while (a.s) {
		if (!has_header(b, split(a, '&', &a)))
			return 0;
	}
	return 1;
}

struct dlg_str dlg_route_target(struct dlg_str uri)
{
	struct uri u;

	if (uri.len && memchr(uri.s, '?', uri.len) && uri_split(uri, &u) == 0 && u.headers.s)
		uri.len = (size_t)(u.headers.s - 1 - uri.s);
	return uri;
}

static int is_address(struct dlg_str host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (host.len && host.s[0] == '[') /* its "]" is split off */
		host = (struct dlg_str){ host.s + 1, host.len - 1 };
	if (host.len >= sizeof(text))
		return 0;
	memcpy(text, host.s, host.len);
	text[host.len] = '\0';
	return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

int dlg_route_is_numeric(struct dlg_str uri)
{
	struct dlg_str maddr;
	struct uri u;

	if (!uri.len)
		return 1;
	return uri_split(uri, &u) == 0 && is_address(u.host) &&
	       !dlg_route_param(u.params, DLG_STR("maddr"), &maddr);
}

int dlg_route_uri_eq(struct dlg_str a, struct dlg_str b)
{
	struct uri x, y;

	if (dlg_str_eq(a, b)) /* even with a parameter twice, which agrees with nothing */
		return 1;
	if (uri_split(a, &x) < 0 || uri_split(b, &y) < 0)
		return dlg_str_eq(a, b);
	return dlg_str_eq_nocase(x.scheme, y.scheme) && text_eq(x.user, y.user, 0) &&
	       dlg_str_eq_nocase(x.host, y.host) && dlg_str_eq(x.port, y.port) &&
	       params_agree(x.params, y.params) && params_agree(y.params, x.params) &&
	       headers_agree(x.headers, y.headers) && headers_agree(y.headers, x.headers);
}

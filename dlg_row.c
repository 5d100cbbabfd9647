/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_row.h"

#include "dlg_profile.h"
#include "dlg_vals.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- columns ---- */

const struct db_column dlg_row_columns[DLG_ROW_N] = {
#define X(id, the_kind, param, dflt) { dflt, the_kind, DLG_ROW_##id == DLG_ROW_callid },
#define ALIAS(id, param)
	DLG_ROW_COLUMNS(X, ALIAS)
#undef X
};

const char *const dlg_row_params[DLG_ROW_N] = {
#define X(id, the_kind, param, dflt) #param,
	DLG_ROW_COLUMNS(X, ALIAS)
#undef X
};

/* What a bad row's log line calls them: the operator may have named the columns as he likes. */
static const char *const names[DLG_ROW_N] = {
#define X(id, the_kind, param, dflt) #id,
	DLG_ROW_COLUMNS(X, ALIAS)
#undef X
#undef ALIAS
};

/* ---- texts ---- */

static int is_tail(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return 1;
}

/* Bytes of the character at `p`, or 0 when it is no UTF-8 (RFC 3629: shortest form, no surrogates,
 * up to U+10FFFF). */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (!len || len > n || p[0] > 0xf4 || !is_tail(p + 1, len - 1))
		return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static int is_special(unsigned char c, const char *special)
{
	return c == '\\' || (c && strchr(special, c));
}

/* Bytes from `p` on, in steps of eight, that are printable ASCII and no backslash: nearly all. */
static size_t simple_len(const unsigned char *p, size_t n)
{
	size_t at = 0;

	for (; at + 8 <= n; at += 8) {
		uint64_t eight;

		memcpy(&eight, p + at, 8);
		if (dlg_str_any_below(eight, ' ') || eight & 0x8080808080808080u ||
		    dlg_str_any_is(eight, 0x7f) || dlg_str_any_is(eight, '\\'))
			break;
	}
	return at;
}

/* Bytes from `p` on that stand for themselves. */
static size_t plain_len(const unsigned char *p, size_t n, const char *special)
{
	size_t at = *special ? 0 : simple_len(p, n);

	while (at < n) {
		size_t len = utf8_len(p + at, n - at);

		if (!len || p[at] < ' ' || p[at] == 0x7f || is_special(p[at], special))
			break;
		at += len;
	}
	return at;
}

void dlg_row_escape(struct dlg_buf *out, struct dlg_str v, const char *special)
{
	const unsigned char *p = (const unsigned char *)v.s;

	for (size_t at = 0; at < v.len;) {
		size_t n = plain_len(p + at, v.len - at, special);

		dlg_buf_add(out, (struct dlg_str){ v.s + at, n });
		at += n;
		if (at == v.len)
			break;
		if (is_special(p[at], special))
			dlg_buf_printf(out, "\\%c", p[at]);
		else
			dlg_buf_printf(out, "\\x%02x", p[at]);
		at++;
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the escape at `v` (behind the backslash) stands for; *len: how long it is. */
static char escaped(struct dlg_str v, size_t *len)
{
	*len = 1;
	if (v.s[0] != 'x' || v.len < 3 || hex_digit(v.s[1]) < 0 || hex_digit(v.s[2]) < 0)
		return v.s[0];
	*len = 3;
	return (char)(hex_digit(v.s[1]) << 4 | hex_digit(v.s[2]));
}

void dlg_row_unescape(struct dlg_buf *out, struct dlg_str v)
{
	while (v.len) {
		const char *slash = memchr(v.s, '\\', v.len);
		size_t n = slash ? (size_t)(slash - v.s) : v.len, len;
		char c;

		dlg_buf_add(out, (struct dlg_str){ v.s, n });
		v = (struct dlg_str){ v.s + n, v.len - n };
		if (v.len < 2)
			break; /* a backslash at the end means nothing */
		c = escaped((struct dlg_str){ v.s + 1, v.len - 1 }, &len);
		dlg_buf_add(out, (struct dlg_str){ &c, 1 });
		v = (struct dlg_str){ v.s + 1 + len, v.len - 1 - len };
	}
}

/* Cut off what comes before the first `end` without a backslash. 0, or -1 when there is none. */
static int cut(struct dlg_str *list, char end, struct dlg_str *item)
{
	for (size_t i = 0; i < list->len; i++) {
		if (list->s[i] == '\\') {
			i++;
		} else if (list->s[i] == end) {
			*item = (struct dlg_str){ list->s, i };
			*list = (struct dlg_str){ list->s + i + 1, list->len - i - 1 };
			return 0;
		}
	}
	return -1;
}

int dlg_row_next_pair(struct dlg_str *list, struct dlg_buf *out, struct dlg_str *name,
		      struct dlg_str *value)
{
	struct dlg_str item, raw_name;
	size_t name_len;

	dlg_buf_reset(out);
	dlg_buf_add(out, DLG_STR("")); /* has memory from now on, for views of nothing, too */
	if (!list->len)
		return 0;
	if (cut(list, '|', &item) < 0 || cut(&item, '#', &raw_name) < 0)
		return -1;
	dlg_row_unescape(out, raw_name);
	name_len = out->len;
	dlg_row_unescape(out, item);
	if (out->failed)
		return -1;
	*name = (struct dlg_str){ out->s, name_len };
	*value = (struct dlg_str){ out->s + name_len, out->len - name_len };
	return 1;
}

/* ---- columns ---- */

static int is_number(enum db_kind kind)
{
	return kind == DB_KEY_INT || kind == DB_COL_INT;
}

/* In an image a column is a number, or a text behind its length. */
void dlg_row_add_number(struct dlg_buf *image, int64_t n)
{
	dlg_buf_add(image, (struct dlg_str){ (const char *)&n, sizeof(n) });
}

size_t dlg_row_begin_text(struct dlg_buf *image)
{
	uint32_t len = 0;

	dlg_buf_add(image, (struct dlg_str){ (const char *)&len, sizeof(len) });
	return image->len;
}

void dlg_row_end_text(struct dlg_buf *image, size_t begun)
{
	uint32_t len = (uint32_t)(image->len - begun);

	if (!image->failed)
		memcpy(image->s + begun - sizeof(len), &len, sizeof(len));
}

void dlg_row_add_text(struct dlg_buf *image, struct dlg_str v)
{
	size_t begun = dlg_row_begin_text(image);

	dlg_row_escape(image, v, "");
	dlg_row_end_text(image, begun);
}

static int take(struct dlg_str *image, void *to, size_t size)
{
	if (image->len < size)
		return -1;
	memcpy(to, image->s, size);
	*image = (struct dlg_str){ image->s + size, image->len - size };
	return 0;
}

static int take_value(struct dlg_str *image, enum db_kind kind, struct db_value *out)
{
	uint32_t len;

	if (is_number(kind)) {
		int64_t number;

		if (take(image, &number, sizeof(number)) < 0)
			return -1;
		*out = db_int(number);
		return 0;
	}
	if (take(image, &len, sizeof(len)) < 0 || image->len < len)
		return -1;
	*out = len ? db_text((struct dlg_str){ image->s, len }) : db_null();
	*image = (struct dlg_str){ image->s + len, image->len - len };
	return 0;
}

int dlg_row_values(struct dlg_str image, struct dlg_str node, struct db_value out[DLG_ROW_N])
{
	out[DLG_ROW_node] = db_text(node);
	for (int i = DLG_ROW_node + 1; i < DLG_ROW_N; i++) {
		if (take_value(&image, dlg_row_columns[i].kind, &out[i]) < 0)
			return -1;
	}
	return image.len ? -1 : 0;
}

/* ---- reading ---- */

/* A row being understood: the reason for the first thing that is wrong stays. */
struct reader {
	const struct db_value *values;
	struct dlg_buf *arena;
	struct { struct dlg_str *to; size_t at, len; } text[DLG_ROW_N + 4 * DLG_ROW_LEGS_MAX];
	unsigned n_texts;
	char why[96];
};

static void wrong(struct reader *r, const char *what, const char *how)
{
	if (!r->why[0])
		snprintf(r->why, sizeof(r->why), "%s %s", what, how);
}

/* 0 or -1. A table that somebody else made may have a text of digits, but not for the key, by which
 * the row is found again. */
static int as_number(const struct db_value *v, enum db_kind kind, int64_t *out)
{
	uint64_t n;

	if (v->kind == DB_INT) {
		*out = v->number;
		return 0;
	}
	if (kind == DB_KEY_INT || v->kind != DB_TEXT || dlg_str_to_u64(v->text, INT64_MAX, &n) < 0)
		return -1;
	*out = (int64_t)n;
	return 0;
}

static int64_t number(struct reader *r, enum dlg_row_column c, int64_t min, int64_t max)
{
	const struct db_value *v = &r->values[c];
	int64_t n = min;

	if (v->kind == DB_NULL)
		wrong(r, names[c], "is NULL");
	else if (as_number(v, dlg_row_columns[c].kind, &n) < 0)
		wrong(r, names[c], "is not a number");
	else if (n < min || n > max)
		wrong(r, names[c], "is out of range");
	else
		return n;
	return min;
}

/* A number that a row of somebody else may lack. */
static int64_t number_or(struct reader *r, enum dlg_row_column c, int64_t min, int64_t max,
			 int64_t other)
{
	return r->values[c].kind == DB_NULL ? other : number(r, c, min, max);
}

/* The arena may move while it grows: views are made at the end. */
static void keep(struct reader *r, struct dlg_str raw, struct dlg_str *to, const char *name)
{
	size_t at = r->arena->len;

	dlg_row_unescape(r->arena, raw);
	if (r->arena->len - at > UINT16_MAX)
		wrong(r, name, "is too long");
	r->text[r->n_texts].to = to;
	r->text[r->n_texts].at = at;
	r->text[r->n_texts++].len = r->arena->len - at;
}

static void text(struct reader *r, enum dlg_row_column c, struct dlg_str *to)
{
	const struct db_value *v = &r->values[c];

	if (v->kind == DB_INT)
		wrong(r, names[c], "is not a text");
	keep(r, v->kind == DB_TEXT ? v->text : DLG_STR_NONE, to, names[c]);
}

static void needed(struct reader *r, enum dlg_row_column c, struct dlg_str *to)
{
	if (r->values[c].kind == DB_NULL)
		wrong(r, names[c], "is NULL");
	else if (r->values[c].kind == DB_TEXT && !r->values[c].text.len)
		wrong(r, names[c], "is empty");
	text(r, c, to);
}

static void make_views(struct reader *r)
{
	for (unsigned i = 0; i < r->n_texts; i++)
		*r->text[i].to = (struct dlg_str){ r->arena->s + r->text[i].at, r->text[i].len };
}

static void read_main_leg(struct reader *r, struct dlg_row *out)
{
	struct dlg_row_leg *leg = &out->leg[out->n_legs++];
	uint32_t down = (uint32_t)number(r, DLG_ROW_caller_cseq, 0, UINT32_MAX);
	uint32_t up = (uint32_t)number(r, DLG_ROW_callee_cseq, 0, UINT32_MAX);

	*leg = (struct dlg_row_leg){ .cseq = { 0, down, up }, .invite_cseq = { 0, down, 0 },
				     .seen = (uint8_t)(1 << 1 | (up != 0) << 2),
				     .acked = out->state == 4 };
	text(r, DLG_ROW_to_tag, &leg->tag);
	text(r, DLG_ROW_callee_contact, &leg->contact);
	text(r, DLG_ROW_callee_route, &leg->route_set);
	needed(r, DLG_ROW_callee_sock, &leg->sock);
}

/* The next number of a leg. 0 or -1. */
static int leg_number(struct dlg_str *item, uint64_t max, uint64_t *out)
{
	struct dlg_str digits;

	return cut(item, ',', &digits) < 0 ? -1 : dlg_str_to_u64(digits, max, out);
}

/* "seen,acked,cseqs,own cseqs,refresh cseqs,INVITE cseqs," each downstream and upstream. */
static int leg_numbers(struct dlg_str *item, struct dlg_row_leg *leg)
{
	uint32_t *sets[] = { leg->cseq, leg->own_cseq, leg->refresh_cseq, leg->invite_cseq };
	uint64_t n;

	if (leg_number(item, 7, &n) < 0)
		return -1;
	leg->seen = (uint8_t)n;
	if (leg_number(item, 1, &n) < 0)
		return -1;
	leg->acked = (uint8_t)n;
	for (size_t i = 0; i < 2 * sizeof(sets) / sizeof(sets[0]); i++) {
		if (leg_number(item, UINT32_MAX, &n) < 0)
			return -1;
		sets[i / 2][1 + i % 2] = (uint32_t)n;
	}
	return 0;
}

/* "tag,contact,route set,socket," of a further leg. */
static int leg_texts(struct reader *r, struct dlg_str *item, struct dlg_row_leg *leg)
{
	struct dlg_str *to[] = { &leg->tag, &leg->contact, &leg->route_set, &leg->sock };
	struct dlg_str raw;

	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		if (cut(item, ',', &raw) < 0)
			return -1;
		keep(r, raw, to[i], "legs");
	}
	return 0;
}

static int read_leg(struct reader *r, struct dlg_str item, struct dlg_row *out, int further)
{
	struct dlg_row_leg *leg = &out->leg[further ? out->n_legs : 0];

	if (further && out->n_legs++ == DLG_ROW_LEGS_MAX)
		return -1;
	if (further)
		*leg = (struct dlg_row_leg){ 0 };
	if (leg_numbers(&item, leg) < 0 || (further && leg_texts(r, &item, leg) < 0))
		return -1;
	return item.len ? -1 : 0;
}

static void read_legs(struct reader *r, struct dlg_row *out)
{
	const struct db_value *v = &r->values[DLG_ROW_legs];
	struct dlg_str list = v->kind == DB_TEXT ? v->text : DLG_STR_NONE, item;

	for (int further = 0; list.len && !r->why[0]; further = 1) {
		if (out->n_legs == DLG_ROW_LEGS_MAX || cut(&list, ';', &item) < 0 ||
		    read_leg(r, item, out, further) < 0)
			wrong(r, "legs", "is malformed");
	}
}

static void read_numbers(struct reader *r, struct dlg_row *out)
{
	const int64_t far = 253402300799; /* the end of the year 9999 */

	out->h_entry = (uint32_t)number(r, DLG_ROW_h_entry, 0, UINT32_MAX);
	out->h_id = (uint32_t)number(r, DLG_ROW_h_id, 1, UINT32_MAX);
	out->state = (int)number(r, DLG_ROW_state, 3, 5);
	out->start_time = number(r, DLG_ROW_start_time, 1, far);
	out->timeout = number(r, DLG_ROW_timeout, 1, far);
	/* OpenSIPS writes them with a sign */
	out->user_flags =
		(uint32_t)number_or(r, DLG_ROW_script_flags, INT32_MIN, UINT32_MAX, 0);
	out->flags = (uint16_t)number_or(r, DLG_ROW_dlg_flags, 0, UINT16_MAX, 0);
	out->lifetime = (uint32_t)number_or(r, DLG_ROW_lifetime, 0, INT32_MAX, 0);
}

static void read_texts(struct reader *r, struct dlg_row *out)
{
	needed(r, DLG_ROW_callid, &out->call_id);
	needed(r, DLG_ROW_from_uri, &out->from_uri);
	needed(r, DLG_ROW_from_tag, &out->from_tag);
	needed(r, DLG_ROW_to_uri, &out->to_uri);
	text(r, DLG_ROW_caller_route, &out->caller_routes);
	text(r, DLG_ROW_caller_contact, &out->caller_contact);
	needed(r, DLG_ROW_caller_sock, &out->caller_sock);
}

/* ---- checks of what the texts say ----
 *
 * A call that lives must come back, so what a dialog may have taken from its messages is taken from its row:
 * "alice" for a URI, an entry "<>" in a route set. It then does with it what it did before. Only what
 * would break a request of ours is not: no dialog has it. */

static void check_uri(struct reader *r, struct dlg_str uri, const char *name)
{
	if (!dlg_str_is_bare(uri))
		wrong(r, name, "is no URI");
}

/* A contact that no request can be sent to is as one that was never seen: no BYE goes there, and
 * requests of the other side may go anywhere. */
static void check_contact(struct dlg_str *uri)
{
	if (!dlg_str_is_bare(*uri))
		*uri = DLG_STR_NONE;
}

static int is_one_of(struct dlg_str v, size_t at, const char *chars)
{
	return at < v.len && v.s[at] && strchr(chars, v.s[at]);
}

/* A line may go on in the next one, as in the message it came from, but no header may begin there. */
static void check_routes(struct reader *r, struct dlg_str list, const char *name)
{
	for (size_t i = 0; i < list.len; i++) {
		if ((list.s[i] == '\r' && !is_one_of(list, i + 1, "\n \t")) ||
		    (list.s[i] == '\n' && !is_one_of(list, i + 1, " \t")))
			wrong(r, name, "is malformed");
	}
}

static void check_legs(struct reader *r, struct dlg_row *row)
{
	for (unsigned i = 0; i < row->n_legs; i++) {
		check_contact(&row->leg[i].contact);
		check_routes(r, row->leg[i].route_set, i ? "legs: route set" : "callee_route");
		if (!row->leg[i].sock.len)
			wrong(r, i ? "legs: socket" : "callee_sock", "is empty");
	}
}

struct pair_limits {
	size_t name, value;
	unsigned count;
};

/* Every pair of the list must be there to be read, and none may be more than a dialog can have. */
static void check_pairs(struct reader *r, enum dlg_row_column c, struct dlg_str *to,
			const struct pair_limits *max)
{
	const struct db_value *v = &r->values[c];
	struct dlg_buf pair = { 0 };
	struct dlg_str list, name, value;
	unsigned n = 0;
	int got;

	*to = v->kind == DB_TEXT ? v->text : DLG_STR_NONE;
	for (list = *to; (got = dlg_row_next_pair(&list, &pair, &name, &value)) > 0;) {
		if (!name.len)
			wrong(r, names[c], "has an item without a name");
		if (name.len > max->name || value.len > max->value || n++ == max->count)
			wrong(r, names[c], "has an item too long, or too many");
	}
	if (got < 0 || v->kind == DB_INT)
		wrong(r, names[c], "is malformed");
	dlg_buf_free(&pair);
}

static const struct pair_limits
	of_vars = { DLG_VALS_NAME_MAX, DLG_VALS_VALUE_MAX, DLG_VALS_COUNT_MAX },
	of_profiles = { SIZE_MAX, DLG_PROFILE_VALUE_MAX, DLG_PROFILE_MEMBERS_MAX };

static void check_entry(struct reader *r, const struct dlg_row *row, uint32_t hash_size)
{
	if (hash_size && row->h_entry != ((uint32_t)dlg_str_hash(row->call_id) & (hash_size - 1)))
		wrong(r, "h_entry",
		      "does not fit callid: another hash_size, or one of them is damaged");
}

int dlg_row_read(const struct db_value values[DLG_ROW_N], uint32_t hash_size, struct dlg_row *out,
		 struct dlg_buf *arena, const char **why)
{
	static _Thread_local struct reader r;

	r.values = values;
	r.arena = arena;
	r.n_texts = 0;
	r.why[0] = '\0';
	out->n_legs = 0;
	dlg_buf_reset(arena);
	read_numbers(&r, out);
	read_texts(&r, out);
	read_main_leg(&r, out);
	read_legs(&r, out);
	*why = arena->failed ? "no memory" : r.why;
	if (**why)
		return -1;
	make_views(&r);
	check_entry(&r, out, hash_size);
	check_uri(&r, out->from_uri, "from_uri");
	check_uri(&r, out->to_uri, "to_uri");
	check_contact(&out->caller_contact);
	check_routes(&r, out->caller_routes, "caller_route");
	check_legs(&r, out);
	check_pairs(&r, DLG_ROW_vars, &out->vars, &of_vars);
	check_pairs(&r, DLG_ROW_profiles, &out->profiles, &of_profiles);
	return r.why[0] ? -1 : 0;
}

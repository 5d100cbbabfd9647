/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_STR_H
#define DLG_STR_H
/* Text views and a growable private buffer, the only string types of the engine.
 *
 * A view never owns its bytes and is not NUL-terminated. "Private" memory belongs to one
 * process and comes from malloc(); shared memory is the business of dlg_mem.h. */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dlg_str {
	const char *s;
	size_t len;
};

#define DLG_STR(literal) ((struct dlg_str){ "" literal, sizeof(literal) - 1 })
#define DLG_STR_NONE     ((struct dlg_str){ NULL, 0 })

/* printf helpers: printf("%.*s", DLG_STR_ARG(v)) */
#define DLG_STR_ARG(v) (int)(v).len, (v).s ? (v).s : ""

/* View of a NUL-terminated text; NULL gives the empty view. */
static inline struct dlg_str dlg_str_of(const char *text)
{
	return (struct dlg_str){ text, text ? strlen(text) : 0 };
}

/* Byte comparison; Call-IDs and tags are case sensitive (RFC 3261 8.1.1.4, 19.3). */
static inline int dlg_str_eq(struct dlg_str a, struct dlg_str b)
{
	return a.len == b.len && (!a.len || !memcmp(a.s, b.s, a.len));
}

/* ASCII comparison without regard to case, for header and parameter names, hosts and schemes. */
int dlg_str_eq_nocase(struct dlg_str a, struct dlg_str b);

/* The view without leading and trailing blanks, tabs, CR and LF. */
struct dlg_str dlg_str_trim(struct dlg_str v);

/* Eight bytes of a text at once: nonzero when one of them is below `limit` (at most 128), or is
 * `byte`. */
static inline uint64_t dlg_str_any_below(uint64_t eight, unsigned limit)
{
	return (eight - 0x0101010101010101u * limit) & ~eight & 0x8080808080808080u;
}

static inline uint64_t dlg_str_any_is(uint64_t eight, unsigned byte)
{
	return dlg_str_any_below(eight ^ (0x0101010101010101u * byte), 1);
}

/* Nonzero when the view may stand for a URI: no blank or control byte is in it, and none of < > and
 * the double quote, which delimit URIs (RFC 3986, appendix C). Bytes above 127 may be. */
int dlg_str_is_bare(struct dlg_str v);

/* Replace control bytes by dots, in place: for a log line that holds text from the wire. */
void dlg_str_printable(char *line);

/* Parse a decimal number with nothing around it. Returns 0, or -1 when `v` is empty, holds
 * anything but digits, or exceeds `max`; *out is written only on success. */
int dlg_str_to_u64(struct dlg_str v, uint64_t max, uint64_t *out);

/* 64-bit hash of the bytes. It is part of stored dialogs' names and of journals: it must never
 * change. */
uint64_t dlg_str_hash(struct dlg_str v);

/* Another one for each key: for tables whose keys strangers choose, so that nobody can choose ones
 * that collide. */
uint64_t dlg_str_hash_secret(const uint64_t key[2], struct dlg_str text);

/* Growable private buffer. All-zero is a valid empty one. After a failed allocation `failed` is
 * set, the content so far stays and further appends are ignored, so that a caller checks once. */
struct dlg_buf {
	char *s;
	size_t len;
	size_t cap;
	int failed;
};

/* Append bytes, or formatted text. */
void dlg_buf_add(struct dlg_buf *b, struct dlg_str v);
void dlg_buf_add_number(struct dlg_buf *b, uint64_t number);
void dlg_buf_printf(struct dlg_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Empty the buffer but keep its memory. */
void dlg_buf_reset(struct dlg_buf *b);

/* Give the memory back and empty the buffer. */
void dlg_buf_free(struct dlg_buf *b);

/* View of the content; valid until the next append, reset or free. */
static inline struct dlg_str dlg_buf_view(const struct dlg_buf *b)
{
	return (struct dlg_str){ b->s, b->len };
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_str.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

int dlg_str_eq_nocase(struct dlg_str a, struct dlg_str b)
{
	return a.len == b.len && (!a.len || !strncasecmp(a.s, b.s, a.len));
}

/* Nearly always a letter is asked about: one comparison, then a bit of the four. */
static int is_blank(char c)
{
	const uint64_t blanks = 1ull << ' ' | 1ull << '\t' | 1ull << '\r' | 1ull << '\n';

	return (unsigned char)c <= ' ' && blanks >> c & 1;
}

struct dlg_str dlg_str_trim(struct dlg_str v)
{
	while (v.len && is_blank(v.s[0])) {
		v.s++;
		v.len--;
	}
	while (v.len && is_blank(v.s[v.len - 1]))
		v.len--;
	return v;
}

int dlg_str_is_bare(struct dlg_str v)
{
	const uint64_t one_bit = 0x0202020202020202u; /* between < and > */
	size_t i = 0;

	for (; i + 8 <= v.len; i += 8) {
		uint64_t word;

		memcpy(&word, v.s + i, 8);
		if (dlg_str_any_below(word, ' ' + 1) || dlg_str_any_is(word, 127) ||
		    dlg_str_any_is(word, '"') || dlg_str_any_is(word | one_bit, '>'))
			return 0;
	}
	for (; i < v.len; i++) {
		if ((unsigned char)v.s[i] <= ' ' || strchr("<>\"\177", v.s[i]))
			return 0;
	}
	return 1;
}

void dlg_str_printable(char *line)
{
	for (; *line; line++) {
		if ((unsigned char)*line < ' ' || *line == 127)
			*line = '.';
	}
}

int dlg_str_to_u64(struct dlg_str v, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (!v.len)
		return -1;
	for (size_t i = 0; i < v.len; i++) {
		unsigned digit = (unsigned char)v.s[i] - '0';

		if (digit > 9 || digit > max || n > (max - digit) / 10)
			return -1;
		n = n * 10 + digit;
	}
	*out = n;
	return 0;
}

/* Room for `more` bytes and a NUL. */
static int buf_reserve(struct dlg_buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 128;
	char *s;

	if (b->failed)
		return -1;
	if (more < b->cap - b->len)
		return 0;
	if (more >= SIZE_MAX / 2 - b->len) {
		b->failed = 1;
		return -1;
	}
	while (cap <= b->len + more)
		cap *= 2;
	s = realloc(b->s, cap);
	if (!s) {
		b->failed = 1;
		return -1;
	}
	b->s = s;
	b->cap = cap;
	return 0;
}

void dlg_buf_add(struct dlg_buf *b, struct dlg_str v)
{
	if (buf_reserve(b, v.len) < 0)
		return;
	if (v.len)
		memcpy(b->s + b->len, v.s, v.len);
	b->len += v.len;
	b->s[b->len] = '\0';
}

void dlg_buf_add_number(struct dlg_buf *b, uint64_t number)
{
	char digits[20], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	dlg_buf_add(b, (struct dlg_str){ at, (size_t)(digits + sizeof(digits) - at) });
}

void dlg_buf_printf(struct dlg_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || buf_reserve(b, (size_t)n) < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(b->s + b->len, b->cap - b->len, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void dlg_buf_reset(struct dlg_buf *b)
{
	b->len = 0;
	b->failed = 0;
}

void dlg_buf_free(struct dlg_buf *b)
{
	free(b->s);
	*b = (struct dlg_buf){ 0 };
}

uint64_t dlg_str_hash(struct dlg_str v)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then a finalizer for its weak low bits */

	for (size_t i = 0; i < v.len; i++)
		h = (h ^ (unsigned char)v.s[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	return h;
}

/* ---- SipHash-2-4 (Aumasson and Bernstein, 2012) ---- */

static uint64_t rotated(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotated(v[1], 13) ^ v[0];
	v[3] = rotated(v[3], 16) ^ v[2];
	v[0] = rotated(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotated(v[1], 17) ^ v[2];
	v[3] = rotated(v[3], 21) ^ v[0];
	v[2] = rotated(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

/* Up to 8 bytes, the first one lowest. */
static uint64_t word_of(const char *bytes, size_t n)
{
	uint64_t word = 0;

	while (n--)
		word = word << 8 | (unsigned char)bytes[n];
	return word;
}

uint64_t dlg_str_hash_secret(const uint64_t key[2], struct dlg_str text)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
			  key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u };
	size_t whole = text.len & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8)
		sip_word(v, word_of(text.s + i, 8));
	sip_word(v, word_of(whole < text.len ? text.s + whole : NULL, text.len - whole) |
			    (uint64_t)text.len << 56);
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

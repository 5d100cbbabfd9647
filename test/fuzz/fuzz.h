/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_H
#define FUZZ_H
/* What the fuzz targets share. Each target is LLVMFuzzerTestOneInput() in one *_fuzz.c; its corpus
 * is corpus/<name>/. A broken property aborts, which libFuzzer and replay.c both report. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../dlg_str.h"

/* Abort with the place and the property that does not hold. */
#define MUST(property)                                                                         \
	do {                                                                                   \
		if (!(property)) {                                                             \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #property); \
			abort();                                                               \
		}                                                                              \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a view. */
static inline struct dlg_str fuzz_text(const uint8_t *data, size_t size)
{
	return (struct dlg_str){ (const char *)data, size };
}

/* Cut `n` bytes (or what is left) off the front. */
static inline struct dlg_str fuzz_take(struct dlg_str *in, size_t n)
{
	struct dlg_str piece = { in->s, n < in->len ? n : in->len };

	in->s += piece.len;
	in->len -= piece.len;
	return piece;
}

/* Cut one byte off; 0 when there is none. */
static inline uint8_t fuzz_byte(struct dlg_str *in)
{
	struct dlg_str one = fuzz_take(in, 1);

	return one.len ? (uint8_t)one.s[0] : 0;
}

/* Nonzero when `part` lies within `whole`, or is empty. */
static inline int fuzz_within(struct dlg_str part, struct dlg_str whole)
{
	return !part.len || (part.s >= whole.s && part.s + part.len <= whole.s + whole.len);
}

#endif

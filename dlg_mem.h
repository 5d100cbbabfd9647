/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_MEM_H
#define DLG_MEM_H
/* Shared memory of the engine, carved from large blocks of the host.
 *
 * The host's shared allocator has one lock for everybody and a header per piece, so the engine
 * asks it for chunks and hands out pieces of fixed size classes. A chunk whose pieces all came
 * back returns to the host, unless its class has no other one with room: an idle engine holds
 * exactly what it held at start. */

#include <stddef.h>

#include "dlg_str.h"

struct dlg_mem_info {
	size_t chunks;     /* blocks held from the host */
	size_t chunk_bytes; /* their size together */
	size_t pieces;     /* pieces handed out and not yet back */
	size_t piece_bytes; /* their size together, rounded up to the class */
};

/* Take one chunk for each size class from the host. Main process,
 * before fork. Returns 0, or -1 when the host has no memory. */
int dlg_mem_init(void);

/* A piece of at least `size` bytes, aligned to 8, not zeroed, or NULL. Takes and drops a leaf
 * lock. */
void *dlg_mem_alloc(size_t size);

/* A piece with a copy of `text`, without a NUL; NULL without memory, and for no text. Takes and
 * drops a leaf lock. Inline, so that tests can let it fail: they put themselves between
 * dlg_mem_alloc() and its callers in other files. */
static inline char *dlg_mem_copy(struct dlg_str text)
{
	char *mem = text.len ? dlg_mem_alloc(text.len) : NULL;

	if (mem)
		memcpy(mem, text.s, text.len);
	return mem;
}

/* Give a piece back; NULL is fine. Takes and drops a leaf lock. */
void dlg_mem_free(void *piece);

/* Figures for statistics and the audit. Takes and drops the class locks one by one. */
void dlg_mem_get_info(struct dlg_mem_info *out);

#endif

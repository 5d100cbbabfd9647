/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MI_FIFO_OUT_H
#define MI_FIFO_OUT_H
/* The reply writer of the FIFO: struct dlg_mi_ops in the text format of the OpenSIPS family.
 *
 *	200 OK
 *	dialog::  hash=2573:653954361
 *		state:: 4
 *	<empty line>
 *
 * A node is "name:: " and its attributes, each " name=value"; children stand one TAB deeper; lists,
 * and nodes without a name, leave no trace; an empty line ends the reply. An error is "404 Reason"
 * and an empty line.
 *
 * A value cannot break the lines: CR and LF come out as the two characters \r and \n, other
 * control bytes but TAB as \x and two hexadecimal digits. Everything else, UTF-8 and the backslash
 * included, is written as it is, as existing tools expect; so what a value with backslashes was
 * before is not always certain, but where it ends is.
 *
 * The reply streams through a fixed buffer. A reader that goes away or takes nothing for
 * MI_FIFO_WRITE_MS breaks the writer: further content is thrown away, and ops->broken() says so. */

#include "../dlg_mi.h"

struct mi_fifo_out {
	struct dlg_mi_out out; /* first: commands know only this part */
	int fd;                /* non-blocking; -1 for nobody */
	int broken;            /* nobody reads (any more) */
	int begun;             /* "200 OK" stands in the buffer or has gone */
	int closed;            /* an error or other complete reply was written: ignore the rest */
	int open_line;         /* attributes may follow; no line end yet */
	unsigned depth;        /* TABs before the next line */
	uint32_t nameless;     /* a bit per open node, the innermost lowest: without a line */
	size_t len;
	char buf[8192];
};

/* Begin a reply to `fd`, which stays the caller's; -1 runs a command without a reader. */
void mi_fifo_out_init(struct mi_fifo_out *o, int fd);

/* A line of the reply's own: a value without a name, as get_statistics and which have. */
void mi_fifo_out_line(struct mi_fifo_out *o, struct dlg_str value);

/* The whole reply in one line, without the empty one: "500 command 'x' not available". */
void mi_fifo_out_refuse(struct mi_fifo_out *o, int code, const char *before, struct dlg_str name,
			const char *after);

/* Write the end of the reply and what is still buffered. 0, or -1 when it did not all go out. */
int mi_fifo_out_finish(struct mi_fifo_out *o);

#endif

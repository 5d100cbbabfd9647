/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MI_FIFO_H
#define MI_FIFO_H
/* The management FIFO in the manual's text format (manual 1.8), served by a process of its own.
 *
 * Request: ":command:reply_fifo" LF, one parameter per line, an empty line. The reply goes to
 * the FIFO of that (bare) name in reply_dir, which the client has created. Parameters fifo_name,
 * fifo_mode and reply_dir are dialog.h's. */

#include "../dlg_str.h"

enum {
	/* longer lines are refused: the request is dropped up to its end */
	MI_FIFO_LINE_MAX = 65536,
	MI_FIFO_TOTAL_MAX = 262144, /* of all parameters of one request together */
	MI_FIFO_STALE_MS = 2000,   /* a request unfinished for so long is dropped */
	MI_FIFO_WRITE_MS = 5000,   /* a reader that takes nothing for so long has gone */
};

/* Does the configuration name a FIFO? */
int mi_fifo_wanted(void);

/* Create the FIFO in the file system, if it is wanted: an old one of ours is replaced, anything
 * else of that name is refused. Main process. 0, or -1 with one log line. */
int mi_fifo_init(void);

/* Serve requests for ever. `idle` (may be NULL) is called before each request and about once a
 * second. */
void mi_fifo_run(void (*idle)(void)) __attribute__((noreturn));

/* Remove the FIFO from the file system, if mi_fifo_init() made one. Main process, at exit. */
void mi_fifo_stop(void);

/* The request parser, fed with whatever bytes arrive; also driven by unit tests and the fuzzer. */
struct mi_fifo_parser;
struct mi_fifo_request {
	struct dlg_str command, reply; /* views into the parser, valid during the callback */
	unsigned n;
	struct dlg_str arg[16];
	/* NULL, or why the request cannot be run (answered with 400) */
	const char *bad;
};
typedef void mi_fifo_request_fn(const struct mi_fifo_request *req, void *arg);

/* A parser in private memory, or NULL. */
struct mi_fifo_parser *mi_fifo_parser_new(void);
void mi_fifo_parser_free(struct mi_fifo_parser *p);

/* Feed bytes; `fn` is called for each complete request. `now_ms`: monotonic, to drop what stayed
 * unfinished for MI_FIFO_STALE_MS, the time spent in `fn` left out. */
void mi_fifo_parser_feed(struct mi_fifo_parser *p, struct dlg_str bytes, uint64_t now_ms,
			 mi_fifo_request_fn *fn, void *arg);

#endif

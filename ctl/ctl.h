/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CTL_H
#define CTL_H
/* dlgctl, the operator's command line over the management FIFO.
 *
 *	dlgctl.c       options, commands, help      ctl_list.c     list, show, end
 *	ctl_fifo.c     the FIFOs                    ctl_figures.c  profiles, stats, audit, metrics
 *	ctl_reply.c    requests and replies         ctl_watch.c    the live view
 *	ctl_filter.c   which dialogs are meant      ctl_db.c       db create, check, schema
 *	ctl_out.c      tables, colours, JSON */

#include "../dlg_str.h"

/* Exit codes: part of the interface, see dlgctl(1). */
enum {
	CTL_OK = 0,
	CTL_NO = 1, /* nothing found, or refused */
	CTL_USAGE = 2,
	CTL_AWAY = 3,   /* the proxy cannot be reached */
	CTL_BROKEN = 4, /* the audit, or the check of a table, has found something */
};

/* What the command line says, filled by dlgctl.c. */
struct ctl_options {
	const char *fifo, *reply_dir;
	unsigned timeout_ms;
	int json, yes, dry_run, color; /* color: -1 as the terminal is */
	const char *states, *caller, *callee, *callid, *profile, *columns;
	const char *older, *younger;
	unsigned top, interval_ms;
	unsigned hash_size; /* of the table to be checked; 0: not to be checked against it */
	const char *table, *node, *column_list;
};
extern struct ctl_options ctl_options;

/* ---- requests and replies ---- */

/* A line of a reply: "name:: value", `depth` tabs deep. Both end with NUL and may be changed; they
 * are valid during the call. A line without "::" has an empty name. */
struct ctl_line {
	unsigned depth;
	char *name, *value;
};

/* Called for each line as it arrives; nonzero ends the reading. */
typedef int ctl_line_fn(struct ctl_line *line, void *arg);

/* Send a command with `n` arguments and read its reply. CTL_OK; CTL_NO when the proxy answered with
 * an error; CTL_AWAY when there was no answer: ctl_reason() says why, in words. */
int ctl_call(const char *command, const char *const *args, unsigned n, ctl_line_fn *fn, void *arg);
const char *ctl_reason(void);

/* The code of the error reply that CTL_NO stands for. */
int ctl_error_code(void);

/* When set, asked ten times a second while an answer is awaited; nonzero breaks the call off, which
 * then is CTL_AWAY. */
extern int (*ctl_break)(void);

/* From now on the deadly signals are handled by `fn`, rather than by removing the reply's FIFO and
 * dying. */
void ctl_catch_signals(void (*fn)(int number));

/* Append a request to `out`. Values may hold any byte but NUL; an empty one is refused by the
 * server. `reply`: a bare name. 0; or -1, and nothing is appended: a value holds what the server
 * would take for another request. */
int ctl_request(struct dlg_buf *out, const char *command, const char *reply,
		const char *const *args, unsigned n);

/* A reply being read. Set `fn` and `arg`, the rest is zero at first; free `line` at the end. */
struct ctl_reply {
	ctl_line_fn *fn; /* may be NULL */
	void *arg;
	int status;      /* 200 or an error's code, once known */
	int complete;    /* the end has come */
	int stopped;     /* `fn` has seen enough */
	int failed;      /* no memory: lines were lost */
	char error[512]; /* the whole line of an error: code and reason */
	struct dlg_buf line;
};

/* Take bytes as they come, in pieces of any size. */
void ctl_reply_feed(struct ctl_reply *r, struct dlg_str bytes);

/* The attribute " name=" of a value that holds several, the last one of that name; cut off with all
 * that follows. NULL when there is none. Ask from the right to the left. */
char *ctl_attr(char *value, const char *name);

/* Say on standard error why a call failed, and return its code. */
int ctl_complain(const char *what, int code);

/* Say on standard error that there is one argument too many; returns CTL_USAGE. */
int ctl_surplus(const char *argument);

/* ---- output ---- */

/* Nonzero when colours are wanted on standard output. */
int ctl_colored(void);

/* A text for people: what is no UTF-8, and every character that a terminal might take for a
 * command, becomes \xNN. Returns how many columns it takes. */
unsigned ctl_text(struct dlg_buf *out, const char *text);

/* The same, filled up with blanks to `width` columns. */
void ctl_cell(struct dlg_buf *out, const char *text, unsigned width);

/* A JSON string with its quotes. */
void ctl_json_string(struct dlg_buf *out, const char *text);

/* Print and empty a buffer; exits when that fails: quietly, with CTL_OK, when nobody reads any
 * more. */
void ctl_flush(struct dlg_buf *out);

/* Print what still waits. Returns `code`, the exit code so far, or another one when that fails. */
int ctl_finish_output(int code);

/* "2h05m", "14m03s", "9s". Into `out` of at least 32 bytes. */
const char *ctl_duration(long seconds, char *out);

/* "90", "15m", "2h", "1d" in seconds, or -1. */
long ctl_seconds(const char *text);

/* ---- dialogs ---- */

/* Names and values are offsets into the text, which moves while it grows. */
struct ctl_field {
	size_t name, value;
	int leg;     /* 0: the caller's part; 1...: callees */
	int context; /* of the context */
};

struct ctl_dialog {
	struct ctl_field *field;
	unsigned n, cap;
	int legs;
	struct dlg_buf text;
	int failed; /* no memory: fields are missing */
};

static inline const char *ctl_name(const struct ctl_dialog *d, unsigned i)
{
	return d->text.s + d->field[i].name;
}

static inline const char *ctl_value(const struct ctl_dialog *d, unsigned i)
{
	return d->text.s + d->field[i].value;
}

/* The value of a field of the caller's part, or of the first callee; "" when there is none. */
const char *ctl_field(const struct ctl_dialog *d, const char *name);

/* Nonzero when the filters of ctl_options want it. `now`: epoch seconds. */
int ctl_filter_wants(const struct ctl_dialog *d, long now);

/* Check the filters. 0, or -1 after a line on standard error. */
int ctl_filter_check(void);

/* Name of a state number: "confirmed" ... */
const char *ctl_state_name(int state);

/* ---- commands: each returns an exit code ---- */

int ctl_list(int argc, char **argv);
int ctl_show(int argc, char **argv);
int ctl_end(int argc, char **argv);
int ctl_profiles(int argc, char **argv);
int ctl_stats(int argc, char **argv);
int ctl_audit(int argc, char **argv);
int ctl_metrics(int argc, char **argv);
int ctl_watch(int argc, char **argv);
int ctl_db(int argc, char **argv);

#endif

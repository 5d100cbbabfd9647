/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CTL_H
#define CTL_H
/* dlgctl, the operator's command line over the management FIFO.
 *
 *	dlgctl.c       options, commands, help      ctl_fifo.c   requests and replies
 *	ctl_list.c     list, show, end              ctl_figures.c  profiles, stats, audit, metrics
 *	ctl_watch.c    the live view                ctl_db.c     db create, db check
 *	ctl_out.c      tables, colours, JSON        ctl_filter.c which dialogs are meant */

#include "../dlg_str.h"

/* Exit codes: part of the interface, see dlgctl(1). */
enum {
	CTL_OK = 0,
	CTL_NO = 1,      /* nothing found, or refused */
	CTL_USAGE = 2,
	CTL_AWAY = 3,    /* the proxy cannot be reached */
	CTL_BROKEN = 4,  /* the audit, or the check of a table, has found something */
};

/* What the command line says, filled by dlgctl.c. */
struct ctl_options {
	const char *fifo, *reply_dir;
	unsigned timeout_ms;
	int json, yes, dry_run, color; /* color: -1 as the terminal is */
	const char *states, *caller, *callee, *callid, *profile, *columns;
	const char *older, *younger;
	unsigned top, interval_ms;
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

/* A JSON string with its quotes. */
void ctl_json_string(struct dlg_buf *out, const char *text);

/* Print and empty a buffer; exits quietly when nobody reads any more. */
void ctl_flush(struct dlg_buf *out);

/* "2h05m", "14m03s", "9s". Into `out` of at least 32 bytes. */
const char *ctl_duration(long seconds, char *out);

/* "90", "15m", "2h", "1d" in seconds, or -1. */
long ctl_seconds(const char *text);

/* ---- dialogs ---- */

enum { CTL_FIELDS_MAX = 1024 };

struct ctl_field {
	const char *name, *value;
	int leg;     /* 0: the caller's part; 1...: callees */
	int context; /* of the context */
};

struct ctl_dialog {
	struct ctl_field field[CTL_FIELDS_MAX];
	unsigned n;
	int legs;
	struct dlg_buf text; /* the field's bytes */
	int failed;
};

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

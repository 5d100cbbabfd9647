/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct ctl_options ctl_options;

/* ---- commands ---- */

static const struct command {
	const char *name, *arguments, *summary, *options;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "list", "", "list dialogs, as they come", "jfilters,columns", ctl_list },
	{ "show", "ENTRY:ID | CALL-ID",
	  "one dialog with values, profiles and callees", "j", ctl_show },
	{ "end", "[ENTRY:ID | CALL-ID]",
	  "end a call, or all that the filters name", "efilters", ctl_end },
	{ "profiles", "[PROFILE]",
	  "profiles with their counts, or the values of one", "jt", ctl_profiles },
	{ "stats", "", "every counter of the module", "j", ctl_stats },
	{ "audit", "", "recount everything, list overdue dialogs", "", ctl_audit },
	{ "watch", "", "a live view in the terminal", "i", ctl_watch },
	{ "metrics", "", "figures in Prometheus' text format", "t", ctl_metrics },
	{ "db", "create|check|schema URL",
	  "make the table, say what a start would restore, print the SQL", "d", ctl_db },
};

/* ---- options: described once ---- */

enum id {
	FIFO = 'f', REPLY_DIR = 'r', TIMEOUT = 'T', HELP = 'h', VERSION = 'V',
	COLOR = 256, JSON, STATE, CALLER, CALLEE, CALLID, PROFILE, OLDER, YOUNGER, COLUMNS, YES,
	DRY_RUN, TOP, INTERVAL, TABLE, NODE, COLUMN_NAMES, HASH_SIZE,
};

/* `group`: one letter of a command's `options`, * for all commands; filters are e and f. */
static const struct option_row {
	enum id id;
	char group;
	const char *name, *argument, *help;
} rows[] = {
	{ FIFO, '*', "fifo", "PATH",
	  "the module's fifo_name; else $DLGCTL_FIFO, else /run/kamailio/dialog_fifo" },
	{ REPLY_DIR, '*', "reply-dir", "DIR",
	  "the module's reply_dir; else $DLGCTL_REPLY_DIR, else /tmp" },
	{ TIMEOUT, '*', "timeout", "SECONDS", "how long to wait for an answer (10)" },
	{ COLOR, '*', "color", "WHEN", "auto, always or never" },
	{ HELP, '*', "help", NULL, "this text" },
	{ VERSION, '*', "version", NULL, "the version" },
	{ JSON, 'j', "json", NULL, "JSON instead of a table" },
	{ STATE, 'f', "state", "STATES",
	  "unconfirmed, early, confirmed_na, confirmed, ended; or active, setup" },
	{ CALLER, 'f', "caller", "TEXT", "the caller's URI holds TEXT" },
	{ CALLEE, 'f', "callee", "TEXT", "the callee's URI holds TEXT" },
	{ CALLID, 'f', "callid", "ID", "this Call-ID" },
	{ OLDER, 'f', "older", "AGE", "answered at least so long ago: 90, 15m, 2h, 1d" },
	{ YOUNGER, 'f', "younger", "AGE", "answered at most so long ago" },
	{ PROFILE, 'f', "profile", "NAME[=VALUE]", "members of the profile, of that value" },
	{ COLUMNS, 'c', "columns", "NAMES", "columns of the table, separated by commas" },
	{ YES, 'e', "yes", NULL, "do not ask" },
	{ DRY_RUN, 'e', "dry-run", NULL, "say what would be ended" },
	{ TOP, 't', "top", "N", "only the N most frequent values (1 to 100)" },
	{ INTERVAL, 'i', "interval", "SECONDS", "between two pictures (1)" },
	{ TABLE, 'd', "table", "NAME", "the module's table_name (dialog)" },
	{ NODE, 'd', "node", "NAME", "the module's db_node" },
	{ COLUMN_NAMES, 'd', "column-names", "LIST", "as callid_column=c_id,state_column=c_state" },
	{ HASH_SIZE, 'd', "hash-size", "N",
	  "check: the module's hash_size (4096), 0 not to check it" },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* Does an option belong to the command? */
static int belongs(const struct option_row *o, const struct command *c)
{
	if (o->group == '*')
		return 1;
	if (!c)
		return 0;
	if (o->group == 'f')
		return strstr(c->options, "filters") != NULL;
	if (o->group == 'c')
		return strstr(c->options, "columns") != NULL;
	return c->options[0] == o->group || (c->options[0] == 'j' && c->options[1] == o->group);
}

/* ---- help ---- */

static void print_options(FILE *out, const struct command *c)
{
	for (int i = 0; i < ROWS; i++) {
		char left[48];

		if (!belongs(&rows[i], c))
			continue;
		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", rows[i].id < 256 ? '-' : ' ',
			 rows[i].id < 256 ? (char)rows[i].id : ' ', rows[i].id < 256 ? ", " : "  ",
			 rows[i].name, rows[i].argument ? " " : "",
			 rows[i].argument ? rows[i].argument : "");
		fprintf(out, "  %-30s %s\n", left, rows[i].help);
	}
}

static void help(FILE *out, const struct command *c)
{
	if (c) {
		fprintf(out, "usage: dlgctl [OPTION]... %s %s\n\n%s\n\n", c->name, c->arguments,
			c->summary);
		print_options(out, c);
	} else {
		fprintf(out, "usage: dlgctl [OPTION]... COMMAND [ARGUMENT]...\n\n"
			     "What the dialog module knows, and what it is to do.\n\n");
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			fprintf(out, "  %-9s %-24s %s\n", commands[i].name, commands[i].arguments,
				commands[i].summary);
		fprintf(out, "\n");
		print_options(out, NULL);
	}
	fprintf(out,
		"\nExit status: 0 done; 1 nothing found, or refused; 2 usage; 3 the proxy (or the "
		"database)\ncannot be reached; 4 the audit or the check has found something.\n");
}

/* ---- the command line ---- */

static long number(const char *name, const char *text, long min, long max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text && !*end && n >= min && n <= max)
		return n;
	fprintf(stderr, "dlgctl: --%s %s: a number from %ld to %ld is wanted\n", name, text, min,
		max);
	exit(CTL_USAGE);
}

static void set_color(const char *when)
{
	static const char *const names[] = { "auto", "never", "always" };

	for (int i = 0; i < 3; i++) {
		if (!strcmp(when, names[i])) {
			ctl_options.color = i - 1;
			return;
		}
	}
	fprintf(stderr, "dlgctl: --color %s: auto, always or never is wanted\n", when);
	exit(CTL_USAGE);
}

static unsigned hash_size(const char *text)
{
	unsigned n = (unsigned)number("hash-size", text, 0, 1 << 24);

	if (!(n & (n - 1)))
		return n;
	fprintf(stderr, "dlgctl: --hash-size %s: a power of two, or 0, is wanted\n", text);
	exit(CTL_USAGE);
}

static void set_option(enum id id, const char *value)
{
	struct ctl_options *o = &ctl_options;

	switch (id) {
	case FIFO: o->fifo = value; break;
	case REPLY_DIR: o->reply_dir = value; break;
	case TIMEOUT: o->timeout_ms = (unsigned)number("timeout", value, 1, 3600) * 1000; break;
	case COLOR: set_color(value); break;
	case JSON: o->json = 1; break;
	case STATE: o->states = value; break;
	case CALLER: o->caller = value; break;
	case CALLEE: o->callee = value; break;
	case CALLID: o->callid = value; break;
	case OLDER: o->older = value; break;
	case YOUNGER: o->younger = value; break;
	case PROFILE: o->profile = value; break;
	case COLUMNS: o->columns = value; break;
	case YES: o->yes = 1; break;
	case DRY_RUN: o->dry_run = 1; break;
	case TOP: o->top = (unsigned)number("top", value, 1, 100); break;
	case INTERVAL: o->interval_ms = (unsigned)number("interval", value, 1, 60) * 1000; break;
	case TABLE: o->table = value; break;
	case NODE: o->node = value; break;
	case COLUMN_NAMES: o->column_list = value; break;
	case HASH_SIZE: o->hash_size = hash_size(value); break;
	default: break;
	}
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static const struct option_row *find_row(int id)
{
	for (int i = 0; i < ROWS; i++) {
		if ((int)rows[i].id == id)
			return &rows[i];
	}
	return NULL;
}

/* Options that came, to be checked against the command, which may stand behind them. */
static const struct option_row *came[64];
static int n_came, want_help;

static void parse(int argc, char **argv)
{
	struct option longs[ROWS + 1] = { 0 };
	int id;

	for (int i = 0; i < ROWS; i++)
		longs[i] = (struct option){ rows[i].name, rows[i].argument != NULL, NULL,
					    (int)rows[i].id };
	while ((id = getopt_long(argc, argv, "f:r:T:hV", longs, NULL)) != -1) {
		if (id == '?') {
			fprintf(stderr, "Try \"dlgctl --help\".\n");
			exit(CTL_USAGE);
		}
		if (id == VERSION) {
			printf("dlgctl 1.0\n");
			exit(CTL_OK);
		}
		want_help |= id == HELP;
		if (n_came < 64)
			came[n_came++] = find_row(id);
		set_option((enum id)id, optarg);
	}
}

static void check_options(const struct command *c)
{
	for (int i = 0; i < n_came; i++) {
		if (belongs(came[i], c))
			continue;
		fprintf(stderr, "dlgctl: --%s means nothing to \"%s\"; try \"dlgctl %s --help\"\n",
			came[i]->name, c->name, c->name);
		exit(CTL_USAGE);
	}
}

static const char *env_or(const char *name, const char *other)
{
	const char *value = getenv(name);

	return value && *value ? value : other;
}

static void set_defaults(void)
{
	ctl_options = (struct ctl_options){
		.fifo = env_or("DLGCTL_FIFO", "/run/kamailio/dialog_fifo"),
		.reply_dir = env_or("DLGCTL_REPLY_DIR", "/tmp"),
		.timeout_ms = 10000,
		.color = -1,
		.interval_ms = 1000,
		.hash_size = 4096,
		.table = "dialog",
		.node = "",
	};
}

int main(int argc, char **argv)
{
	const struct command *c;

	signal(SIGPIPE, SIG_IGN);
	set_defaults();
	parse(argc, argv);
	c = optind < argc ? find_command(argv[optind]) : NULL;
	if (want_help) {
		help(stdout, c);
		return CTL_OK;
	}
	if (!c) {
		if (optind < argc)
			fprintf(stderr, "dlgctl: there is no command \"%s\"\n", argv[optind]);
		help(stderr, NULL);
		return CTL_USAGE;
	}
	check_options(c);
	return ctl_finish_output(c->run(argc - optind - 1, argv + optind + 1));
}

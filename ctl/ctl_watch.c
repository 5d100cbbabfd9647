/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The live view. */
#include "ctl.h"
#include "ctl_figures.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TOP = 8, INTERVAL_MIN_MS = 200, INTERVAL_MAX_MS = 60000, RATES = 60, SLICE_MS = 200 };

static struct view {
	struct ctl_figures now, before;
	double seconds;        /* between both */
	double began;
	double rate[RATES];    /* calls per second, the newest last */
	unsigned n_rates;
	struct dlg_buf profiles; /* their lines, read before anything is drawn */
	int y;
	unsigned interval_ms;
	WINDOW *keys; /* reading keys from it does not touch the screen */
	int quit, hurry; /* what the keys want: the end; a new picture at once */
	int utf8;
} v;
static volatile sig_atomic_t signalled;

static double clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- lines ---- */

static void line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void line(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (v.y >= LINES - 1)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mvaddnstr(v.y++, 0, text, COLS);
}

static void title(const char *text)
{
	line("%s", "");
	attron(A_BOLD);
	line("%s", text);
	attroff(A_BOLD);
}

static long long fig(const char *name)
{
	return ctl_figure(&v.now, name);
}

static double per_second(const char *name)
{
	return v.seconds > 0 ? (double)(fig(name) - ctl_figure(&v.before, name)) / v.seconds : 0;
}

/* ---- parts of the screen ---- */

static void show_head(void)
{
	char clock[32], up[32];
	time_t t = time(NULL);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	attron(A_REVERSE);
	line("%-*s", COLS, "");
	v.y--;
	line(" dlgctl watch   %s   up %s   every %.1f s   q quits, + and - change the interval", clock,
	     ctl_duration((long)fig("uptime"), up), v.interval_ms / 1000.0);
	attroff(A_REVERSE);
}

static void show_states(void)
{
	long long active = fig("confirmed") + fig("confirmed_na");

	title("Calls");
	line("  active %10lld   early %8lld   unconfirmed %8lld   ended, lingering %8lld", active,
	     fig("early"), fig("unconfirmed"), fig("deleted"));
	line("  of the active, without ACK yet: %lld", fig("confirmed_na"));
}

static void show_rates(void)
{
	static const char *const bars[][9] = { { " ", ".", ".", ":", "-", "=", "+", "*", "#" },
					       { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" } };
	double max = 1;

	title("Rates");
	line("  new %8.1f/s   failed %8.1f/s   expired %8.1f/s   turned away by a limit %8.1f/s",
	     per_second("processed"), per_second("failed"), per_second("expired"),
	     per_second("limited"));
	for (unsigned i = 0; i < v.n_rates; i++)
		max = v.rate[i] > max ? v.rate[i] : max;
	if (v.y >= LINES - 1)
		return;
	move(v.y++, 2);
	for (unsigned i = 0; i < v.n_rates; i++) { /* the newest, as far as there is room */
		if ((int)(v.n_rates - i) < COLS - 20)
			addstr(bars[v.utf8][(int)(v.rate[i] / max * 8)]);
	}
	printw("  max %.0f/s", max);
}

static void show_reasons(void)
{
	title("Ended since start");
	line("  caller %lld   callee %lld   cancel %lld   reject %lld   no answer %lld", fig("ended_caller"),
	     fig("ended_callee"), fig("ended_cancel"), fig("ended_reject"), fig("ended_no_answer"));
	line("  command %lld   lifetime %lld   setup_timeout %lld   ack_timeout %lld", fig("ended_command"),
	     fig("ended_timeout"), fig("ended_setup_timeout"), fig("ended_ack_timeout"));
}

static void show_health(void)
{
	title("Module");
	line("  memory %lld KB used, %lld KB held   timer lag %lld s   overdue %lld   forged %lld",
	     fig("memory_bytes") / 1024, fig("memory_held") / 1024, fig("timer_lag"), fig("overdue"),
	     fig("forged"));
	if (!fig("db_batches") && !fig("db_connected") && !fig("db_errors"))
		return; /* none is used */
	line("  database: %s   %lld waiting, the oldest %lld ms   %lld rows/s   %lld errors",
	     fig("db_connected") ? "connected" : "not connected", fig("db_queue"), fig("db_oldest_ms"),
	     fig("db_rate"), fig("db_errors"));
}

static void profile_line(const char *name, int with_value, long long count, long long values, void *arg)
{
	(void)arg;
	dlg_buf_printf(&v.profiles, "  %-24s %8lld members", name, count);
	if (with_value)
		dlg_buf_printf(&v.profiles, "   %8lld values", values);
	dlg_buf_add(&v.profiles, DLG_STR("\n"));
}

static void value_line(const char *value, long long count, void *arg)
{
	(void)arg;
	dlg_buf_printf(&v.profiles, "      %8lld  ", count);
	ctl_text(&v.profiles, value);
	dlg_buf_add(&v.profiles, DLG_STR("\n"));
}

static void show_profiles(void)
{
	title("Profiles and their most frequent values");
	for (char *p = v.profiles.s, *end; p && (end = strchr(p, '\n')); p = end + 1) {
		*end = '\0';
		line("%s", p);
	}
}

/* ---- keys ---- */

static void change_interval(int key)
{
	unsigned ms = key == '+' ? v.interval_ms * 2 : v.interval_ms / 2;

	v.interval_ms = ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : ms;
}

static void take_key(int key)
{
	if (key == 'q' || key == 'Q' || key == 3 /* Control-C */ || signalled)
		v.quit = 1;
	if (key == '+' || key == '-')
		change_interval(key);
	if (key == KEY_RESIZE || key == '+' || key == '-' || key == ' ')
		v.hurry = 1;
}

/* Keys that come within `ms`; at most one is awaited. */
static void await_key(int ms)
{
	wtimeout(v.keys, ms);
	take_key(wgetch(v.keys));
}

/* While an answer is awaited: a proxy that hangs must not take the keyboard with it. */
static int is_quit(void)
{
	await_key(0);
	return v.quit;
}

static void on_signal(int number)
{
	signalled = number;
}

/* ---- the loop ---- */

static void note_rate(double rate)
{
	if (v.n_rates == RATES)
		memmove(v.rate, v.rate + 1, --v.n_rates * sizeof(v.rate[0]));
	v.rate[v.n_rates++] = rate;
}

/* The gap, or the restart of a proxy, is no rate. */
static void compare(const struct ctl_figures *fresh)
{
	double now = clock_now();
	int same = v.now.n && ctl_figure(fresh, "uptime") >= fig("uptime");

	v.before = v.now;
	v.now = *fresh;
	v.seconds = same ? now - v.began : 0;
	v.began = now;
	if (v.seconds > 0)
		note_rate(per_second("processed"));
}

static int read_all(void)
{
	static struct ctl_figures fresh;
	int ret = ctl_read_figures(&fresh);

	if (ret != CTL_OK)
		return ret;
	compare(&fresh);
	dlg_buf_reset(&v.profiles);
	return ctl_read_profiles(TOP, profile_line, value_line, NULL);
}

static void show_failure(void)
{
	title("The proxy does not answer");
	line("  %s", ctl_reason());
	line("  trying again; q quits");
	v.now.n = 0;
}

static void show_all(void)
{
	show_states();
	show_rates();
	show_reasons();
	show_health();
	show_profiles();
}

static void draw(void)
{
	int ret = read_all();

	if (v.quit)
		return;
	erase();
	v.y = 0;
	show_head();
	if (ret == CTL_OK)
		show_all();
	else
		show_failure();
	refresh();
}

/* Keys until the next picture is due, or one wants it now. */
static void handle_keys(void)
{
	double until = clock_now() + v.interval_ms / 1000.0, left;

	while (!v.quit && !v.hurry && (left = until - clock_now()) > 0.001)
		await_key(left * 1000 > SLICE_MS ? SLICE_MS : (int)(left * 1000) + 1);
	v.hurry = 0;
}

static int open_screen(void)
{
	setlocale(LC_CTYPE, "");
	v.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	if (!newterm(NULL, stdout, stdin)) {
		const char *term = getenv("TERM");

		fprintf(stderr, "dlgctl: watch: the terminal \"%s\" (TERM) is not known here\n",
			term ? term : "");
		return -1;
	}
	raw(); /* Control-C is a key: the terminal is put in order first */
	noecho();
	curs_set(0);
	v.keys = newpad(1, 1);
	if (!v.keys) {
		endwin();
		fprintf(stderr, "dlgctl: watch: no memory\n");
		return -1;
	}
	keypad(v.keys, TRUE);
	return 0;
}

static int run(void)
{
	ctl_catch_signals(on_signal);
	if (open_screen() < 0)
		return CTL_USAGE;
	ctl_break = is_quit;
	while (!v.quit) {
		draw();
		handle_keys();
	}
	endwin();
	dlg_buf_free(&v.profiles);
	ctl_break = NULL;
	if (signalled) { /* whoever sent it wants to see that */
		signal(signalled, SIG_DFL);
		raise(signalled);
	}
	return CTL_OK;
}

int ctl_watch(int argc, char **argv)
{
	static struct ctl_figures first;
	int ret;

	if (argc)
		return ctl_surplus(argv[0]);
	if (!isatty(0) || !isatty(1)) {
		fprintf(stderr, "dlgctl: watch wants a terminal; \"dlgctl stats\" prints the same figures\n");
		return CTL_USAGE;
	}
	v.interval_ms = ctl_options.interval_ms;
	ret = ctl_read_figures(&first); /* before the screen is taken: an error stays readable */
	return ret == CTL_OK ? run() : ctl_complain("watch", ret);
}

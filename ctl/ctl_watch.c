/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The live view. */
#include "ctl.h"
#include "ctl_figures.h"

#include <locale.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TOP = 8, INTERVAL_MIN_MS = 200, INTERVAL_MAX_MS = 60000, RATES = 60 };

static struct view {
	struct ctl_figures now, before;
	double seconds;        /* between both */
	double began;
	double rate[RATES];    /* calls per second, the newest last */
	unsigned n_rates;
	int y, failed;
	unsigned interval_ms;
} v;

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
	static const char *const bars[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
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
	for (unsigned i = 0; i < v.n_rates && (int)i < COLS - 20; i++)
		addstr(bars[(int)(v.rate[i] / max * 8)]);
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
	line("  database: %s   %lld waiting, the oldest %lld ms   %lld rows/s   %lld errors",
	     fig("db_connected") ? "connected" : "not connected", fig("db_queue"), fig("db_oldest_ms"),
	     fig("db_rate"), fig("db_errors"));
}

static void profile_line(const char *name, int with_value, long long count, long long values, void *arg)
{
	(void)arg;
	if (with_value)
		line("  %-24s %8lld members   %8lld values", name, count, values);
	else
		line("  %-24s %8lld members", name, count);
}

static void value_line(const char *value, long long count, void *arg)
{
	(void)arg;
	line("      %8lld  %s", count, value);
}

static int show_profiles(void)
{
	title("Profiles and their most frequent values");
	return ctl_read_profiles(TOP, profile_line, value_line, NULL);
}

/* ---- the loop ---- */

static void note_rate(double rate)
{
	if (v.n_rates == RATES)
		memmove(v.rate, v.rate + 1, --v.n_rates * sizeof(v.rate[0]));
	v.rate[v.n_rates++] = rate;
}

static int read_figures(void)
{
	double now;
	int ret, first = !v.now.n;

	v.before = v.now;
	ret = ctl_read_figures(&v.now);
	if (ret != CTL_OK)
		return ret;
	now = clock_now();
	v.seconds = first || !v.before.n ? 0 : now - v.began;
	v.began = now;
	if (v.seconds > 0)
		note_rate(per_second("processed"));
	return CTL_OK;
}

static void show_failure(void)
{
	erase();
	v.y = 0;
	show_head();
	title("The proxy does not answer");
	line("  %s", ctl_reason());
	line("  trying again; q quits");
	v.now.n = 0;
}

static void draw(void)
{
	v.failed = read_figures() != CTL_OK;
	if (!v.failed) {
		erase();
		v.y = 0;
		show_head();
		show_states();
		show_rates();
		show_reasons();
		show_health();
		v.failed = show_profiles() != CTL_OK;
	}
	if (v.failed)
		show_failure();
	refresh();
}

static void change_interval(int key)
{
	unsigned ms = key == '+' ? v.interval_ms * 2 : v.interval_ms / 2;

	v.interval_ms = ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : ms;
}

/* Keys until the next picture is due. Nonzero: quit. */
static int handle_keys(void)
{
	double until = clock_now() + v.interval_ms / 1000.0;

	for (;;) {
		double left = until - clock_now();
		int key;

		timeout(left > 0 ? (int)(left * 1000) : 0);
		key = getch();
		if (key == 'q' || key == 'Q' || key == 3 || key == 27)
			return 1;
		if (key == '+' || key == '-')
			change_interval(key);
		if (key == ERR ? left <= 0.001 : key == KEY_RESIZE || key == '+' || key == '-' || key == ' ')
			return 0;
	}
}

static int run(void)
{
	if (!initscr())
		return CTL_NO;
	raw(); /* Control-C is a key: the terminal is put in order first */
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	do
		draw();
	while (!handle_keys());
	endwin();
	return CTL_OK;
}

int ctl_watch(int argc, char **argv)
{
	int ret;

	if (argc)
		return ctl_surplus(argv[0]);
	if (!isatty(0) || !isatty(1)) {
		fprintf(stderr, "dlgctl: watch wants a terminal; \"dlgctl stats\" prints the same figures\n");
		return CTL_USAGE;
	}
	v.interval_ms = ctl_options.interval_ms;
	ret = ctl_read_figures(&v.now); /* before the screen is taken: an error stays readable */
	v.now.n = 0;
	if (ret != CTL_OK)
		return ctl_complain("watch", ret);
	setlocale(LC_CTYPE, "");
	return run();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* profiles, stats, audit, metrics: numbers out of the proxy. */
#include "ctl.h"
#include "ctl_figures.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

static int take_figure(struct ctl_line *line, void *arg)
{
	struct ctl_figures *f = arg;

	if (line->depth != 1 || f->n == CTL_FIGURES_MAX)
		return 0;
	snprintf(f->item[f->n].name, sizeof(f->item[f->n].name), "%s", line->name);
	f->item[f->n++].value = strtoll(line->value, NULL, 10);
	return 0;
}

int ctl_read_figures(struct ctl_figures *out)
{
	int ret;

	out->n = 0;
	ret = ctl_call("dlg_stats", NULL, 0, take_figure, out);
	return ret;
}

long long ctl_figure(const struct ctl_figures *f, const char *name)
{
	for (unsigned i = 0; i < f->n; i++) {
		if (!strcmp(f->item[i].name, name))
			return f->item[i].value;
	}
	return 0;
}

struct profiles_reader {
	ctl_profile_fn *profile;
	ctl_count_fn *value;
	void *arg;
};

static int take_profile(struct ctl_line *line, void *arg)
{
	struct profiles_reader *r = arg;
	char *count = NULL, *values = NULL, *with = NULL, *name;

	if (!line->depth && !strcmp(line->name, "profile")) {
		values = ctl_attr(line->value, "values");
		count = ctl_attr(line->value, "count");
		with = ctl_attr(line->value, "with_value");
		name = ctl_attr(line->value, "name");
		if (name && with && count && values)
			r->profile(name, atoi(with), atoll(count), atoll(values), r->arg);
	} else if (line->depth == 1 && r->value) {
		count = ctl_attr(line->value, "count");
		if (count)
			r->value(line->value, atoll(count), r->arg);
	}
	return 0;
}

int ctl_read_profiles(unsigned top, ctl_profile_fn *profile, ctl_count_fn *value, void *arg)
{
	struct profiles_reader r = { profile, value, arg };
	char how_many[16];
	const char *args[] = { how_many };

	snprintf(how_many, sizeof(how_many), "%u", top);
	return ctl_call("dlg_profiles", args, 1, take_profile, &r);
}

/* ---- profiles ---- */

struct table {
	struct dlg_buf out;
	unsigned long n;
	const char *head; /* printed when the proxy has answered; NULL: it was, or none is wanted */
	const char *only; /* this profile's values */
	int is_it, found;
};

static void print_head(struct table *t)
{
	if (t->head)
		dlg_buf_add(&t->out, dlg_str_of(t->head));
	t->head = NULL;
}

static void row(const char *name, int with_value, long long count, long long values, void *arg)
{
	struct table *t = arg;

	t->is_it = t->only && !strcmp(name, t->only);
	t->found |= t->is_it;
	if (t->only)
		return;
	print_head(t);
	if (!ctl_options.json) {
		char number[24] = "-";

		if (with_value)
			snprintf(number, sizeof(number), "%lld", values);
		ctl_cell(&t->out, name, 24);
		dlg_buf_printf(&t->out, " %10lld %10s\n", count, number);
		return;
	}
	dlg_buf_add(&t->out, t->n++ ? DLG_STR(",\n{\"name\":") : DLG_STR("[{\"name\":"));
	ctl_json_string(&t->out, name);
	dlg_buf_printf(&t->out, ",\"with_value\":%s,\"count\":%lld,\"values\":%lld}",
		       with_value ? "true" : "false", count, values);
}

static void value_row(const char *value, long long count, void *arg)
{
	struct table *t = arg;

	if (t->only && !t->is_it)
		return;
	print_head(t);
	if (ctl_options.json) {
		dlg_buf_add(&t->out, t->n++ ? DLG_STR(",\n{\"value\":") : DLG_STR("[{\"value\":"));
		ctl_json_string(&t->out, value);
		dlg_buf_printf(&t->out, ",\"count\":%lld}", count);
	} else {
		dlg_buf_printf(&t->out, "%10lld  ", count);
		ctl_text(&t->out, value);
		dlg_buf_add(&t->out, DLG_STR("\n"));
		t->n++;
	}
	ctl_flush(&t->out);
}

static int take_value(struct ctl_line *line, void *arg)
{
	char *count = ctl_attr(line->value, "count");

	if (count)
		value_row(line->value, atoll(count), arg);
	return 0;
}

static int end_table(struct table *t, int ret, const char *what)
{
	if (ret == CTL_OK)
		print_head(t);
	if (ret == CTL_OK && ctl_options.json)
		dlg_buf_add(&t->out, t->n ? DLG_STR("]\n") : DLG_STR("[]\n"));
	ctl_flush(&t->out);
	dlg_buf_free(&t->out);
	return ret == CTL_OK ? CTL_OK : ctl_complain(what, ret);
}

int ctl_profiles(int argc, char **argv)
{
	struct table t = { 0 };
	int ret;

	if (argc > 1) {
		fprintf(stderr, "dlgctl: profiles: at most one profile can be named\n");
		return CTL_USAGE;
	}
	if (!argc) {
		t.head = ctl_options.json ? NULL
					  : "PROFILE                     MEMBERS     VALUES\n";
		return end_table(&t, ctl_read_profiles(0, row, NULL, &t), "profiles");
	}
	t.only = argv[0];
	t.is_it = 1;
	t.head = ctl_options.json ? NULL : "   MEMBERS  VALUE\n";
	if (!ctl_options.top)
		return end_table(&t,
				 ctl_call("profile_get_values", (const char *const *)argv, 1,
					  take_value, &t),
				 argv[0]);
	ret = ctl_read_profiles(ctl_options.top, row, value_row, &t);
	if (ret == CTL_OK && !t.found) {
		fprintf(stderr, "dlgctl: profiles: there is no profile \"%s\"\n", argv[0]);
		return CTL_NO;
	}
	return end_table(&t, ret, argv[0]);
}

/* ---- stats ---- */

int ctl_stats(int argc, char **argv)
{
	static struct ctl_figures f;
	struct dlg_buf out = { 0 };
	int ret;

	if (argc)
		return ctl_surplus(argv[0]);
	ret = ctl_read_figures(&f);
	if (ret != CTL_OK)
		return ctl_complain("stats", ret);
	for (unsigned i = 0; i < f.n; i++)
		dlg_buf_printf(&out, ctl_options.json ? "%s\"%s\":%lld" : "%s%-24s %12lld\n",
			       !ctl_options.json ? ""
			       : i               ? ","
						 : "{",
			       f.item[i].name, f.item[i].value);
	if (ctl_options.json)
		dlg_buf_add(&out, DLG_STR("}\n"));
	ctl_flush(&out);
	dlg_buf_free(&out);
	return CTL_OK;
}

/* ---- audit ---- */

struct audit {
	char result[64];
	struct dlg_buf out;
	unsigned overdue;
};

static int take_audit(struct ctl_line *line, void *arg)
{
	struct audit *a = arg;

	if (!line->depth) {
		char *result = ctl_attr(line->value, "result");

		snprintf(a->result, sizeof(a->result), "%s", result ? result : "?");
	} else if (line->depth == 1 && !strcmp(line->name, "overdue_dialog")) {
		char *hash = ctl_attr(line->value, "hash");

		a->overdue++;
		dlg_buf_printf(&a->out, "overdue dialog %s\n", hash ? hash : "?");
	} else {
		dlg_buf_printf(&a->out, "%s%-24s ", line->depth > 1 ? "    " : "", line->name);
		ctl_text(&a->out, line->value);
		dlg_buf_add(&a->out, DLG_STR("\n"));
	}
	return 0;
}

int ctl_audit(int argc, char **argv)
{
	struct audit a = { 0 };
	int ret, ok;

	if (argc)
		return ctl_surplus(argv[0]);
	ret = ctl_call("dlg_audit", NULL, 0, take_audit, &a);
	if (ret != CTL_OK)
		return ctl_complain("audit", ret);
	ctl_flush(&a.out);
	dlg_buf_free(&a.out);
	ok = !strcmp(a.result, "ok");
	if (ok && !a.overdue)
		printf("ok: table, states, timers and profiles agree\n");
	else if (ok)
		printf(a.overdue == 1 ? "%u dialog is beyond its deadline\n"
				      : "%u dialogs are beyond their deadline\n",
		       a.overdue);
	else
		printf("%s\n", a.result);
	if (ok)
		return a.overdue ? CTL_BROKEN : CTL_OK;
	return strncmp(a.result, "busy", 4) ? CTL_BROKEN : CTL_NO;
}

/* ---- metrics ---- */

/* Every figure of dlg_stats that is a metric; one of a later module that is not named here is left
 * out, because nobody knows of what type it is. */
static const struct {
	const char *figure, *metric, *label, *type, *help;
} metrics[] = {
	{ "unconfirmed", "dialog_dialogs", "state=\"unconfirmed\"", "gauge", "Dialogs by state." },
	{ "early", "dialog_dialogs", "state=\"early\"", "gauge", "" },
	{ "confirmed_na", "dialog_dialogs", "state=\"confirmed_na\"", "gauge", "" },
	{ "confirmed", "dialog_dialogs", "state=\"confirmed\"", "gauge", "" },
	{ "deleted", "dialog_dialogs", "state=\"ended\"", "gauge", "" },
	{ "processed", "dialog_processed_total", "", "counter", "Dialogs created since start." },
	{ "restored", "dialog_restored_total", "", "counter", "Dialogs restored at start." },
	{ "failed", "dialog_failed_total", "", "counter", "Calls with a negative final answer." },
	{ "expired", "dialog_expired_total", "", "counter", "Calls that reached a time limit." },
	{ "refused", "dialog_refused_total", "", "counter",
	  "Calls not tracked for want of memory or a usable INVITE." },
	{ "forged", "dialog_forged_total", "", "counter",
	  "Requests whose cookie names another call." },
	{ "overdue", "dialog_overdue_total", "", "counter",
	  "Ended dialogs found held for too long." },
	{ "limited", "dialog_limited_total", "", "counter",
	  "Joinings that a profile limit turned away." },
	{ "lock_takeovers", "dialog_lock_takeovers_total", "", "counter",
	  "Locks taken over from dead processes." },
	{ "ended_caller", "dialog_ended_total", "reason=\"caller\"", "counter",
	  "Calls that ended, by reason." },
	{ "ended_callee", "dialog_ended_total", "reason=\"callee\"", "counter", "" },
	{ "ended_cancel", "dialog_ended_total", "reason=\"cancel\"", "counter", "" },
	{ "ended_reject", "dialog_ended_total", "reason=\"reject\"", "counter", "" },
	{ "ended_no_answer", "dialog_ended_total", "reason=\"no_answer\"", "counter", "" },
	{ "ended_command", "dialog_ended_total", "reason=\"command\"", "counter", "" },
	{ "ended_setup_timeout", "dialog_ended_total", "reason=\"setup_timeout\"", "counter", "" },
	{ "ended_ack_timeout", "dialog_ended_total", "reason=\"ack_timeout\"", "counter", "" },
	{ "ended_timeout", "dialog_ended_total", "reason=\"timeout\"", "counter", "" },
	{ "ended_abandoned", "dialog_ended_total", "reason=\"abandoned\"", "counter", "" },
	{ "uptime", "dialog_uptime_seconds", "", "gauge", "Seconds since the proxy started." },
	{ "hash_size", "dialog_table_entries", "", "gauge", "Entries of the table (hash_size)." },
	{ "entries_used", "dialog_table_entries_used", "", "gauge", "Entries that hold dialogs." },
	{ "fullest_entry", "dialog_table_fullest_entry", "", "gauge",
	  "Dialogs in the fullest entry." },
	{ "timers_armed", "dialog_timers_armed", "", "gauge", "Timers in the wheel." },
	{ "timer_lag", "dialog_timer_lag_seconds", "", "gauge",
	  "How far the timer is behind the clock." },
	{ "memory_pieces", "dialog_memory_pieces", "", "gauge", "Pieces of shared memory in use." },
	{ "memory_bytes", "dialog_memory_bytes", "kind=\"used\"", "gauge",
	  "Shared memory of the module." },
	{ "memory_held", "dialog_memory_bytes", "kind=\"held\"", "gauge", "" },
	{ "db_queue", "dialog_db_queue", "", "gauge", "Changes waiting for the writer." },
	{ "db_oldest_ms", "dialog_db_oldest_seconds", "", "gauge",
	  "Age of the oldest waiting change." },
	{ "db_rows", "dialog_db_rows_total", "", "counter", "Rows written." },
	{ "db_deleted", "dialog_db_deleted_total", "", "counter", "Rows deleted." },
	{ "db_batches", "dialog_db_batches_total", "", "counter", "Transactions." },
	{ "db_rate", "dialog_db_rows_per_second", "", "gauge",
	  "Rows written or deleted in the last whole second." },
	{ "db_errors", "dialog_db_errors_total", "", "counter",
	  "Failed statements and connections." },
	{ "db_refused", "dialog_db_refused_total", "", "counter",
	  "Rows that the database refused." },
	{ "db_unsaved", "dialog_db_unsaved_total", "", "counter",
	  "Dialogs not saved for want of memory." },
	{ "db_connected", "dialog_db_connected", "", "gauge",
	  "1 while the writer has a connection." },
	{ "db_skipped", "dialog_db_skipped_rows", "", "gauge", "Rows skipped at start." },
	{ "db_journal_bytes", "dialog_db_journal_bytes", "", "gauge",
	  "Bytes in the current segment of the journal." },
	{ "db_journal_errors", "dialog_db_journal_errors_total", "", "counter",
	  "Journal records that could not be written." },
};

static void head(struct dlg_buf *out, const char *metric, const char *type, const char *help)
{
	dlg_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

static int has_figure(const struct ctl_figures *f, const char *name)
{
	for (unsigned i = 0; i < f->n; i++) {
		if (!strcmp(f->item[i].name, name))
			return 1;
	}
	return 0;
}

/* Metrics are in seconds, figures whose names say so in milliseconds. */
static void print_number(struct dlg_buf *out, const char *figure, long long n)
{
	size_t len = strlen(figure);

	if (len > 3 && !strcmp(figure + len - 3, "_ms"))
		dlg_buf_printf(out, " %lld.%03lld\n", n / 1000, n % 1000);
	else
		dlg_buf_printf(out, " %lld\n", n);
}

static void print_figures(struct dlg_buf *out, const struct ctl_figures *f)
{
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		if (!has_figure(f, metrics[i].figure))
			continue;
		if (*metrics[i].help)
			head(out, metrics[i].metric, metrics[i].type, metrics[i].help);
		dlg_buf_printf(out, *metrics[i].label ? "%s{%s}" : "%s%s", metrics[i].metric,
			       metrics[i].label);
		print_number(out, metrics[i].figure, ctl_figure(f, metrics[i].figure));
	}
}

/* Three families out of one listing: each must stand together. */
struct families {
	struct dlg_buf members, values, top;
	char profile[128];
	size_t profile_at; /* where its values begin in `top` */
};

/* A label's value: backslash, quote and line end are escaped, and a scrape with anything but UTF-8
 * is refused as a whole. */
static void label(struct dlg_buf *out, const char *text)
{
	struct dlg_buf plain = { 0 };

	ctl_text(&plain, text);
	for (const char *p = plain.s; p && *p; p++)
		dlg_buf_printf(out, *p == '\\' || *p == '"' ? "\\%c" : "%c", *p);
	out->failed |= plain.failed;
	dlg_buf_free(&plain);
}

static void sample(struct dlg_buf *out, const char *metric, const char *profile, const char *value,
		   long long n)
{
	dlg_buf_printf(out, "%s{profile=\"", metric);
	label(out, profile);
	if (value) {
		dlg_buf_add(out, DLG_STR("\",value=\""));
		label(out, value);
	}
	dlg_buf_printf(out, "\"} %lld\n", n);
}

static void profile_metric(const char *name, int with_value, long long count, long long values,
			   void *arg)
{
	struct families *f = arg;

	snprintf(f->profile, sizeof(f->profile), "%s", name);
	f->profile_at = f->top.len;
	sample(&f->members, "dialog_profile_members", name, NULL, count);
	if (with_value)
		sample(&f->values, "dialog_profile_values", name, NULL, values);
}

/* Is there such a line in the samples from `from` on? */
static int has_sample(const struct dlg_buf *samples, size_t from, const char *name, size_t len)
{
	const char *p = samples->s ? samples->s + from : "";

	for (; *p; p += strcspn(p, "\n") + 1) {
		if (!strncmp(p, name, len))
			return 1;
	}
	return 0;
}

/* Different values may look the same once they are escaped, by chance or by somebody's art, and a
 * scrape that holds a sample twice is refused as a whole: the more frequent one stands. */
static void value_metric(const char *value, long long count, void *arg)
{
	struct dlg_buf one = { 0 };
	struct families *f = arg;

	sample(&one, "dialog_profile_value_members", f->profile, value, count);
	if (one.failed)
		f->top.failed = 1;
	else if (!has_sample(&f->top, f->profile_at, one.s,
			     (size_t)(strrchr(one.s, '}') + 1 - one.s)))
		dlg_buf_add(&f->top, dlg_buf_view(&one));
	dlg_buf_free(&one);
}

static void family(struct dlg_buf *out, struct dlg_buf *samples, const char *metric,
		   const char *help)
{
	if (samples->len) {
		head(out, metric, "gauge", help);
		dlg_buf_add(out, dlg_buf_view(samples));
	}
	out->failed |= samples->failed;
	dlg_buf_free(samples);
}

static int print_profiles(struct dlg_buf *out)
{
	struct families f = { 0 };
	int ret = ctl_read_profiles(ctl_options.top ? ctl_options.top : 10, profile_metric,
				    value_metric, &f);

	family(out, &f.members, "dialog_profile_members", "Memberships in the profile.");
	family(out, &f.values, "dialog_profile_values", "Different values in the profile.");
	family(out, &f.top, "dialog_profile_value_members",
	       "Memberships of the most frequent values (--top); the others are in the profile's "
	       "total.");
	return ret;
}

/* A proxy that is gone before the last answer is down, and has no other figure. */
int ctl_metrics(int argc, char **argv)
{
	static struct ctl_figures f;
	struct dlg_buf out = { 0 }, figures = { 0 };
	int ret, up;

	if (argc)
		return ctl_surplus(argv[0]);
	ret = ctl_read_figures(&f);
	up = ret == CTL_OK;
	if (up) {
		print_figures(&figures, &f);
		ret = print_profiles(&figures);
		up = ret != CTL_AWAY;
	}
	head(&out, "dialog_up", "gauge", "1 when the proxy answered.");
	dlg_buf_printf(&out, "dialog_up %d\n", up);
	if (up)
		dlg_buf_add(&out, dlg_buf_view(&figures));
	out.failed |= figures.failed;
	ctl_flush(&out);
	dlg_buf_free(&out);
	dlg_buf_free(&figures);
	return ret == CTL_OK ? CTL_OK : ctl_complain("metrics", ret);
}

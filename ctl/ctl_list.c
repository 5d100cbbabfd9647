/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list, show, end: dialogs as they come out of the proxy. */
#include "ctl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- reading dialogs ---- */

/* Called with each whole dialog; nonzero ends the reading. */
typedef int dialog_fn(struct ctl_dialog *d, void *arg);

struct stream {
	struct ctl_dialog d;
	int inside, in_context, stopped;
	dialog_fn *fn;
	void *arg;
};

/* Texts go to one buffer that may move: offsets first, addresses when the dialog is whole. */
static void add_field(struct stream *s, const char *name, const char *value)
{
	struct ctl_dialog *d = &s->d;
	struct ctl_field *f = &d->field[d->n];

	if (d->n == CTL_FIELDS_MAX)
		return;
	f->leg = d->legs;
	f->context = s->in_context;
	f->name = (const char *)d->text.len;
	dlg_buf_add(&d->text, (struct dlg_str){ name, strlen(name) + 1 });
	f->value = (const char *)d->text.len;
	dlg_buf_add(&d->text, (struct dlg_str){ value, strlen(value) + 1 });
	d->n++;
}

static void finish_dialog(struct stream *s)
{
	struct ctl_dialog *d = &s->d;

	if (!s->inside || d->text.failed)
		return;
	for (unsigned i = 0; i < d->n; i++) {
		d->field[i].name = d->text.s + (size_t)d->field[i].name;
		d->field[i].value = d->text.s + (size_t)d->field[i].value;
	}
	s->inside = 0;
	s->stopped = s->fn(d, s->arg);
}

static void begin_dialog(struct stream *s, char *value)
{
	char *hash = ctl_attr(value, "hash");

	finish_dialog(s);
	s->d.n = 0;
	s->d.legs = 0;
	dlg_buf_reset(&s->d.text);
	s->inside = 1;
	s->in_context = 0;
	add_field(s, "hash", hash ? hash : "");
}

static int take_line(struct ctl_line *line, void *arg)
{
	struct stream *s = arg;

	if (!line->depth && !strcmp(line->name, "dialog"))
		begin_dialog(s, line->value);
	else if (!line->depth)
		return 0; /* "next" of a page */
	if (!line->depth)
		return s->stopped;
	if (line->depth == 1 && !strcmp(line->name, "context")) {
		s->in_context = 1;
		return 0;
	}
	if (line->depth == 1 && !strcmp(line->name, "callee_tag"))
		s->d.legs++;
	if (line->depth == 1)
		s->in_context = 0;
	add_field(s, line->name, line->value);
	return 0;
}

static int read_dialogs(const char *command, const char *const *args, unsigned n, dialog_fn *fn,
			void *arg)
{
	static struct stream s;
	int ret;

	s.fn = fn;
	s.arg = arg;
	s.inside = s.stopped = 0;
	ret = ctl_call(command, args, n, take_line, &s);
	if (ret == CTL_OK && !s.stopped)
		finish_dialog(&s);
	return ret;
}

/* The listing that the filters ask for: of a profile, of a Call-ID, or all. */
static int read_filtered(const char *command, dialog_fn *fn, void *arg)
{
	char name[256];
	const char *args[2] = { name, NULL };
	char *value;

	if (!ctl_options.profile)
		return read_dialogs(command, NULL, 0, fn, arg);
	snprintf(name, sizeof(name), "%s", ctl_options.profile);
	value = strchr(name, '=');
	if (value) {
		*value = '\0';
		args[1] = ctl_options.profile + (value - name) + 1;
	}
	return read_dialogs("profile_list_dlgs", args, value ? 2 : 1, fn, arg);
}

/* ---- columns ---- */

static const char *show_plain(const struct ctl_dialog *d, const char *field, char *out)
{
	(void)out;
	return ctl_field(d, field);
}

static const char *show_state(const struct ctl_dialog *d, const char *field, char *out)
{
	(void)out;
	return ctl_state_name(atoi(ctl_field(d, field)));
}

static const char *show_age(const struct ctl_dialog *d, const char *field, char *out)
{
	long start = atol(ctl_field(d, field));

	return ctl_duration(start ? (long)time(NULL) - start : -1, out);
}

static const char *show_left(const struct ctl_dialog *d, const char *field, char *out)
{
	long end = atol(ctl_field(d, field));

	return ctl_duration(end ? end - (long)time(NULL) : -1, out);
}

static const char *show_time(const struct ctl_dialog *d, const char *field, char *out)
{
	time_t start = atol(ctl_field(d, field));
	struct tm tm;

	if (!start || !localtime_r(&start, &tm))
		return "-";
	strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
	return out;
}

static const struct column {
	const char *name, *field, *title;
	int width;
	const char *(*show)(const struct ctl_dialog *d, const char *field, char *out);
} columns[] = {
	{ "hash", "hash", "HASH", 17, show_plain },
	{ "state", "state", "STATE", 12, show_state },
	{ "age", "timestart", "AGE", 8, show_age },
	{ "left", "timeout", "LEFT", 8, show_left },
	{ "start", "timestart", "START", 19, show_time },
	{ "caller", "from_uri", "CALLER", 30, show_plain },
	{ "callee", "to_uri", "CALLEE", 30, show_plain },
	{ "callid", "callid", "CALL-ID", 32, show_plain },
	{ "caller_tag", "caller_tag", "CALLER-TAG", 16, show_plain },
	{ "callee_tag", "callee_tag", "CALLEE-TAG", 16, show_plain },
	{ "caller_contact", "caller_contact", "CALLER-CONTACT", 30, show_plain },
	{ "callee_contact", "callee_contact", "CALLEE-CONTACT", 30, show_plain },
	{ "flags", "user_flags", "FLAGS", 10, show_plain },
	{ "socket", "caller_bind_addr", "SOCKET", 22, show_plain },
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static struct {
	const struct column *column[COLUMNS];
	unsigned n;
} chosen;

static const struct column *find_column(const char *name, size_t len)
{
	for (int i = 0; i < COLUMNS; i++) {
		if (strlen(columns[i].name) == len && !strncmp(columns[i].name, name, len))
			return &columns[i];
	}
	return NULL;
}

static int unknown_column(const char *name, size_t len)
{
	fprintf(stderr, "dlgctl: --columns %.*s: unknown: columns are", (int)len, name);
	for (int i = 0; i < COLUMNS; i++)
		fprintf(stderr, " %s", columns[i].name);
	fprintf(stderr, "\n");
	return -1;
}

static int choose_columns(void)
{
	const char *list = ctl_options.columns ? ctl_options.columns : "hash,state,age,caller,callee,callid";

	for (chosen.n = 0; *list;) {
		size_t len = strcspn(list, ",");
		const struct column *c = find_column(list, len);

		if (!c || chosen.n == COLUMNS)
			return unknown_column(list, len);
		chosen.column[chosen.n++] = c;
		list += len + (list[len] == ',');
	}
	return 0;
}

/* ---- list ---- */

/* Nonzero when some filter narrows the choice. */
static int has_filter(void)
{
	return ctl_options.states || ctl_options.caller || ctl_options.callee || ctl_options.callid ||
	       ctl_options.profile || ctl_options.older || ctl_options.younger;
}

struct listing {
	struct dlg_buf out;
	unsigned long shown;
	int headed;
	long now;
};

static const char *color_of(const struct ctl_dialog *d)
{
	static const char *const colors[] = { "", "", "\033[33m", "\033[36m", "\033[32m", "\033[2m" };
	int state = atoi(ctl_field(d, "state"));

	return state >= 1 && state <= 5 ? colors[state] : "";
}

/* Once, when the proxy has answered. */
static void print_head(struct listing *l)
{
	if (l->headed++ || ctl_options.json)
		return;
	for (unsigned i = 0; i < chosen.n; i++)
		dlg_buf_printf(&l->out, i + 1 < chosen.n ? "%-*s  " : "%*s", i + 1 < chosen.n ? chosen.column[i]->width : 0,
			       chosen.column[i]->title);
	dlg_buf_add(&l->out, DLG_STR("\n"));
}

static void print_row(struct listing *l, const struct ctl_dialog *d)
{
	const char *color = ctl_colored() ? color_of(d) : "";
	char text[32];

	dlg_buf_printf(&l->out, "%s", color);
	for (unsigned i = 0; i < chosen.n; i++) {
		const struct column *c = chosen.column[i];

		dlg_buf_printf(&l->out, i + 1 < chosen.n ? "%-*s  " : "%*s", i + 1 < chosen.n ? c->width : 0,
			       c->show(d, c->field, text));
	}
	dlg_buf_printf(&l->out, "%s\n", *color ? "\033[0m" : "");
}

static int is_number(const char *name)
{
	static const char *const numbers[] = { "state", "user_flags", "timestart", "timeout",
					       "callee_cseq", "caller_cseq", "memberships" };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (!strcmp(numbers[i], name))
			return 1;
	}
	return 0;
}

static void json_field(struct dlg_buf *out, const struct ctl_field *f, int first)
{
	if (!first)
		dlg_buf_add(out, DLG_STR(","));
	ctl_json_string(out, f->name);
	dlg_buf_add(out, DLG_STR(":"));
	if (is_number(f->name))
		dlg_buf_add(out, dlg_str_of(f->value));
	else
		ctl_json_string(out, f->value);
}

/* The fields of one part, in order. */
static void json_part(struct dlg_buf *out, const struct ctl_dialog *d, int leg)
{
	int first = 1;

	for (unsigned i = 0; i < d->n; i++) {
		if (d->field[i].leg != leg || d->field[i].context)
			continue;
		json_field(out, &d->field[i], first);
		first = 0;
	}
}

static void json_context(struct dlg_buf *out, const struct ctl_dialog *d)
{
	int n = 0;

	for (unsigned i = 0; i < d->n; i++) {
		if (!d->field[i].context)
			continue;
		dlg_buf_add(out, n++ ? DLG_STR(",[") : DLG_STR(",\"context\":[["));
		ctl_json_string(out, d->field[i].name);
		dlg_buf_add(out, DLG_STR(","));
		ctl_json_string(out, d->field[i].value);
		dlg_buf_add(out, DLG_STR("]"));
	}
	if (n)
		dlg_buf_add(out, DLG_STR("]"));
}

static void print_json(struct dlg_buf *out, const struct ctl_dialog *d)
{
	dlg_buf_add(out, DLG_STR("{"));
	json_part(out, d, 0);
	dlg_buf_add(out, DLG_STR(",\"callees\":["));
	for (int leg = 1; leg <= d->legs; leg++) {
		dlg_buf_add(out, leg > 1 ? DLG_STR(",{") : DLG_STR("{"));
		json_part(out, d, leg);
		dlg_buf_add(out, DLG_STR("}"));
	}
	dlg_buf_add(out, DLG_STR("]"));
	json_context(out, d);
	dlg_buf_add(out, DLG_STR("}"));
}

static int list_one(struct ctl_dialog *d, void *arg)
{
	struct listing *l = arg;

	print_head(l);
	if (!ctl_filter_wants(d, l->now))
		return 0;
	if (ctl_options.json) {
		dlg_buf_add(&l->out, l->shown ? DLG_STR(",\n") : DLG_STR("["));
		print_json(&l->out, d);
	} else {
		print_row(l, d);
	}
	l->shown++;
	ctl_flush(&l->out);
	return 0;
}

static int list_all(struct listing *l)
{
	const char *args[] = { ctl_options.callid };

	/* a Call-ID is looked up, unless further filters or calls of the same one matter */
	if (ctl_options.callid && !ctl_options.profile && !ctl_options.states)
		return read_dialogs("dlg_list", args, 1, list_one, l);
	return read_filtered("dlg_list", list_one, l);
}

int ctl_list(int argc, char **argv)
{
	struct listing l = { .now = (long)time(NULL) };
	int ret;

	if (argc)
		return ctl_surplus(argv[0]);
	if (choose_columns() < 0 || ctl_filter_check() < 0)
		return CTL_USAGE;
	ret = list_all(&l);
	if (ret == CTL_NO && ctl_error_code() == 404 && !ctl_options.profile)
		ret = CTL_OK; /* nobody of that Call-ID: an empty list */
	if (ret == CTL_OK)
		print_head(&l);
	if (ret == CTL_OK && ctl_options.json)
		dlg_buf_add(&l.out, l.shown ? DLG_STR("]\n") : DLG_STR("[]\n"));
	ctl_flush(&l.out);
	fflush(stdout);
	dlg_buf_free(&l.out);
	if (ret != CTL_OK)
		return ctl_complain("list", ret);
	return l.shown || !has_filter() ? CTL_OK : CTL_NO;
}

/* ---- show ---- */

static void show_text(struct dlg_buf *out, const struct ctl_dialog *d)
{
	int context = 0;

	for (unsigned i = 0; i < d->n; i++) {
		const struct ctl_field *f = &d->field[i];

		if (f->context && !context++)
			dlg_buf_add(out, DLG_STR("context\n"));
		if (!f->context && !strcmp(f->name, "callee_tag"))
			dlg_buf_printf(out, "callee %d\n", f->leg);
		dlg_buf_printf(out, "%s%-18s %s", f->leg || f->context ? "  " : "", f->name, f->value);
		if (!strcmp(f->name, "state"))
			dlg_buf_printf(out, " (%s)", ctl_state_name(atoi(f->value)));
		dlg_buf_add(out, DLG_STR("\n"));
	}
}

struct wanted {
	const char *hash; /* NULL: any */
	char callid[65536], tag[4096];
	struct dlg_buf out;
	unsigned shown;
};

static int show_one(struct ctl_dialog *d, void *arg)
{
	struct wanted *w = arg;

	if (w->hash && strcmp(ctl_field(d, "hash"), w->hash))
		return 0;
	if (ctl_options.json) {
		print_json(&w->out, d);
		dlg_buf_add(&w->out, DLG_STR("\n"));
	} else {
		show_text(&w->out, d);
	}
	w->shown++;
	return 1;
}

static int note_name(struct ctl_dialog *d, void *arg)
{
	struct wanted *w = arg;

	if (strcmp(ctl_field(d, "hash"), w->hash))
		return 1;
	snprintf(w->callid, sizeof(w->callid), "%s", ctl_field(d, "callid"));
	snprintf(w->tag, sizeof(w->tag), "%s", ctl_field(d, "caller_tag"));
	return 1;
}

/* "entry:id" in decimal? */
static int is_hash(const char *text, unsigned long *entry, unsigned long *id)
{
	int end = 0;

	return sscanf(text, "%lu:%lu%n", entry, id, &end) == 2 && !text[end];
}

/* The page that begins right before the dialog names it; then it is asked for with its context. */
static int show_hash(struct wanted *w, unsigned long entry, unsigned long id)
{
	char cursor[64];
	const char *page[] = { cursor, "1" };
	const char *name[] = { w->callid, w->tag };
	int ret;

	snprintf(cursor, sizeof(cursor), "%lu:%lu", entry, id ? id - 1 : 0);
	ret = read_dialogs("dlg_page", page, 2, note_name, w);
	if (ret == CTL_OK && w->callid[0])
		ret = read_dialogs("dlg_list_ctx", name, 2, show_one, w);
	/* a spiral has two dialogs of one name, and ended ones are in the whole list only */
	if (w->callid[0] && !w->shown)
		ret = read_dialogs("dlg_list_ctx", NULL, 0, show_one, w);
	return ret;
}

int ctl_show(int argc, char **argv)
{
	static struct wanted w;
	unsigned long entry, id;
	int ret;

	if (argc != 1) {
		fprintf(stderr, "dlgctl: show: one ENTRY:ID or Call-ID is wanted\n");
		return CTL_USAGE;
	}
	if (is_hash(argv[0], &entry, &id)) {
		w.hash = argv[0];
		ret = show_hash(&w, entry, id);
	} else {
		ret = read_dialogs("dlg_list_ctx", (const char *const *)argv, 1, show_one, &w);
	}
	if (ret == CTL_AWAY || (ret == CTL_NO && ctl_error_code() != 404))
		return ctl_complain("show", ret);
	ctl_flush(&w.out);
	dlg_buf_free(&w.out);
	if (w.shown)
		return CTL_OK;
	fprintf(stderr, "dlgctl: show: there is no such dialog: %s\n", argv[0]);
	return CTL_NO;
}

/* ---- end ---- */

struct target {
	unsigned entry, id;
	size_t callid; /* offset of its text */
};

struct targets {
	struct target *item;
	size_t n, cap;
	struct dlg_buf callids;
	long now;
	int failed;
};

static int add_target(struct ctl_dialog *d, void *arg)
{
	struct targets *t = arg;
	const char *callid = ctl_field(d, "callid");
	unsigned long entry, id;

	if (!ctl_filter_wants(d, t->now) || !strcmp(ctl_field(d, "state"), "5") ||
	    !is_hash(ctl_field(d, "hash"), &entry, &id))
		return 0;
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 256;
		struct target *more = realloc(t->item, cap * sizeof(*more));

		if (!more)
			return t->failed = 1;
		t->item = more;
		t->cap = cap;
	}
	t->item[t->n++] = (struct target){ (unsigned)entry, (unsigned)id, t->callids.len };
	dlg_buf_add(&t->callids, (struct dlg_str){ callid, strlen(callid) + 1 });
	return 0;
}

static int confirm(size_t n)
{
	char answer[16] = "";

	if (ctl_options.yes || n == 0)
		return 1;
	if (!isatty(0)) {
		fprintf(stderr, "dlgctl: end: %zu calls would be ended: --yes is wanted\n", n);
		return 0;
	}
	fprintf(stderr, "End %zu call%s? [y/N] ", n, n == 1 ? "" : "s");
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void progress(size_t done, size_t all, size_t failed)
{
	enum { WIDTH = 40 };
	int full = (int)(done * WIDTH / all);

	if (!isatty(2))
		return;
	fprintf(stderr, "\r[%.*s%*s] %zu/%zu", full, "########################################",
		WIDTH - full, "", done, all);
	if (failed)
		fprintf(stderr, " (%zu failed)", failed);
	if (done == all)
		fputc('\n', stderr);
}

static int end_one(const struct target *t)
{
	char entry[16], id[16];
	const char *args[] = { entry, id };

	snprintf(entry, sizeof(entry), "%u", t->entry);
	snprintf(id, sizeof(id), "%u", t->id);
	return ctl_call("dlg_end_dlg", args, 2, NULL, NULL);
}

/* A call that has ended by itself meanwhile is no failure. */
static int end_all(struct targets *t)
{
	size_t ended = 0, gone = 0, failed = 0;

	for (size_t i = 0; i < t->n; i++) {
		int ret = end_one(&t->item[i]);

		if (ret == CTL_AWAY)
			return ctl_complain("end", ret);
		if (ret == CTL_OK)
			ended++;
		else if (ctl_error_code() == 404)
			gone++;
		else
			failed++;
		if (ret == CTL_NO && ctl_error_code() != 404)
			fprintf(stderr, "dlgctl: end: %u:%u: %s\n", t->item[i].entry, t->item[i].id,
				ctl_reason());
		progress(i + 1, t->n, failed);
	}
	printf("%zu ended", ended);
	if (gone)
		printf(", %zu had ended already", gone);
	if (failed)
		printf(", %zu could not be ended", failed);
	printf("\n");
	return failed || !ended ? CTL_NO : CTL_OK;
}

static void print_targets(const struct targets *t)
{
	for (size_t i = 0; i < t->n; i++)
		printf("%u:%u  %s\n", t->item[i].entry, t->item[i].id, t->callids.s + t->item[i].callid);
	printf("%zu calls would be ended\n", t->n);
}

static int end_targets(struct targets *t)
{
	if (!t->n) {
		fprintf(stderr, "dlgctl: end: no call fits\n");
		return CTL_NO;
	}
	if (ctl_options.dry_run) {
		print_targets(t);
		return CTL_OK;
	}
	return confirm(t->n) ? end_all(t) : CTL_NO;
}

static int end_filtered(void)
{
	struct targets t = { .now = (long)time(NULL) };
	int ret = read_filtered("dlg_list", add_target, &t);

	if (ret == CTL_OK && (t.failed || t.callids.failed)) {
		fprintf(stderr, "dlgctl: end: no memory\n");
		ret = CTL_NO;
	} else {
		ret = ret == CTL_OK ? end_targets(&t) : ctl_complain("end", ret);
	}
	free(t.item);
	dlg_buf_free(&t.callids);
	return ret;
}

int ctl_end(int argc, char **argv)
{
	struct target one = { 0 };
	unsigned long entry, id;

	if (ctl_filter_check() < 0 || argc > 1 || (!argc && !has_filter()) || (argc && has_filter())) {
		fprintf(stderr, "dlgctl: end: one ENTRY:ID is wanted, or filters (see --help)\n");
		return CTL_USAGE;
	}
	if (!argc)
		return end_filtered();
	if (!is_hash(argv[0], &entry, &id) || entry > UINT_MAX || id > UINT_MAX) {
		ctl_options.callid = argv[0];
		return end_filtered();
	}
	one.entry = (unsigned)entry;
	one.id = (unsigned)id;
	if (ctl_options.dry_run) {
		printf("%s would be ended\n", argv[0]);
		return CTL_OK;
	}
	return end_one(&one) == CTL_OK ? CTL_OK : ctl_complain("end", ctl_error_code() ? CTL_NO : CTL_AWAY);
}

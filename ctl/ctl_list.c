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

enum { CURSOR_MAX = 32 };

struct stream {
	struct ctl_dialog d;
	int inside, in_context, stopped, failed;
	char next[CURSOR_MAX]; /* where the next page begins, or "end" */
	dialog_fn *fn;
	void *arg;
};

/* Room for one more field. */
static int grow(struct ctl_dialog *d)
{
	unsigned cap = d->cap ? 2 * d->cap : 64;
	struct ctl_field *more;

	if (d->n < d->cap)
		return 0;
	more = realloc(d->field, cap * sizeof(*more));
	if (!more)
		return -1;
	d->field = more;
	d->cap = cap;
	return 0;
}

static size_t add_text(struct ctl_dialog *d, const char *text)
{
	size_t at = d->text.len;

	dlg_buf_add(&d->text, (struct dlg_str){ text, strlen(text) + 1 });
	return at;
}

static void add_field(struct stream *s, const char *name, const char *value)
{
	struct ctl_dialog *d = &s->d;

	if (grow(d) < 0) {
		d->failed = 1;
		return;
	}
	d->field[d->n].leg = d->legs;
	d->field[d->n].context = s->in_context;
	d->field[d->n].name = add_text(d, name);
	d->field[d->n].value = add_text(d, value);
	d->failed |= d->text.failed;
	d->n++;
}

static void finish_dialog(struct stream *s)
{
	if (!s->inside)
		return;
	s->inside = 0;
	s->failed |= s->d.failed;
	s->stopped = s->failed ? 1 : s->fn(&s->d, s->arg);
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
	else if (!line->depth && !strcmp(line->name, "next"))
		snprintf(s->next, sizeof(s->next), "%s", line->value);
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

static int read_stream(struct stream *s, const char *command, const char *const *args, unsigned n)
{
	int ret;

	s->next[0] = '\0';
	ret = ctl_call(command, args, n, take_line, s);
	if (ret == CTL_OK && !s->stopped)
		finish_dialog(s);
	if (!s->failed)
		return ret;
	fprintf(stderr, "dlgctl: no memory for a dialog\n");
	exit(CTL_NO);
}

static void free_stream(struct stream *s)
{
	free(s->d.field);
	dlg_buf_free(&s->d.text);
}

static int read_dialogs(const char *command, const char *const *args, unsigned n, dialog_fn *fn,
			void *arg)
{
	struct stream s = { .fn = fn, .arg = arg };
	int ret = read_stream(&s, command, args, n);

	free_stream(&s);
	return ret;
}

/* Called behind each page; may be NULL. */
typedef void page_fn(void *arg);

/* Page by page, from the cursor in args[0], which is `cursor`. */
static int read_pages(char *cursor, const char *const *args, unsigned n, dialog_fn *fn,
		      page_fn *page, void *arg)
{
	struct stream s = { .fn = fn, .arg = arg };
	int ret;

	do {
		ret = read_stream(&s, "dlg_page", args, n);
		if (ret == CTL_OK && page)
			page(arg);
		memcpy(cursor, s.next, CURSOR_MAX);
	} while (ret == CTL_OK && !s.stopped && *cursor && strcmp(cursor, "end") != 0);
	free_stream(&s);
	return ret;
}

/* What the filters may want: the members of a profile, or all. Not in one reply: the proxy would
 * give up on us, and serve nobody else until then, when whoever reads our output takes a rest. */
static int read_filtered(dialog_fn *fn, page_fn *page, void *arg)
{
	const char *profile = ctl_options.profile ? ctl_options.profile : "";
	size_t len = strcspn(profile, "=");
	struct dlg_buf name = { 0 };
	char cursor[CURSOR_MAX] = "0";
	const char *args[] = { cursor, "1000", NULL, profile + len + (profile[len] == '=') };
	int ret;

	dlg_buf_add(&name, (struct dlg_str){ profile, len });
	args[2] = name.failed || !len ? "" : name.s;
	ret = read_pages(cursor, args, !ctl_options.profile ? 2 : profile[len] ? 4 : 3, fn, page, arg);
	dlg_buf_free(&name);
	return ret;
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
	const char *list =
		ctl_options.columns ? ctl_options.columns : "hash,state,age,caller,callee,callid";

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
	return ctl_options.states || ctl_options.caller || ctl_options.callee ||
	       ctl_options.callid || ctl_options.profile || ctl_options.older ||
	       ctl_options.younger;
}

struct listing {
	struct dlg_buf out;
	unsigned long shown;
	int headed;
	long now;
};

static const char *color_of(const struct ctl_dialog *d)
{
	static const char *const colors[] = {
		"", "", "\033[33m", "\033[36m", "\033[32m", "\033[2m"
	};
	int state = atoi(ctl_field(d, "state"));

	return state >= 1 && state <= 5 ? colors[state] : "";
}

/* The last column has whatever room there is. */
static void print_cell(struct listing *l, unsigned i, const char *text)
{
	ctl_cell(&l->out, text, i + 1 < chosen.n ? (unsigned)chosen.column[i]->width : 0);
	dlg_buf_add(&l->out, i + 1 < chosen.n ? DLG_STR("  ") : DLG_STR_NONE);
}

/* Once, when the proxy has answered. */
static void print_head(struct listing *l)
{
	if (l->headed++ || ctl_options.json)
		return;
	for (unsigned i = 0; i < chosen.n; i++)
		print_cell(l, i, chosen.column[i]->title);
	dlg_buf_add(&l->out, DLG_STR("\n"));
}

static void print_row(struct listing *l, const struct ctl_dialog *d)
{
	const char *color = ctl_colored() ? color_of(d) : "";
	char text[32];

	dlg_buf_add(&l->out, dlg_str_of(color));
	for (unsigned i = 0; i < chosen.n; i++)
		print_cell(l, i, chosen.column[i]->show(d, chosen.column[i]->field, text));
	dlg_buf_add(&l->out, *color ? DLG_STR("\033[0m\n") : DLG_STR("\n"));
}

static int is_number(const char *name)
{
	static const char *const numbers[] = { "state",      "user_flags",  "timestart",
					       "timeout",    "callee_cseq", "caller_cseq",
					       "memberships" };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (!strcmp(numbers[i], name))
			return 1;
	}
	return 0;
}

static int is_digits(const char *value)
{
	return *value && !value[strspn(value, "0123456789")];
}

static void json_field(struct dlg_buf *out, const char *name, const char *value)
{
	ctl_json_string(out, name);
	dlg_buf_add(out, DLG_STR(":"));
	if (is_number(name) && is_digits(value))
		dlg_buf_add(out, dlg_str_of(value));
	else
		ctl_json_string(out, value);
}

/* The fields of one part, in order. */
static void json_part(struct dlg_buf *out, const struct ctl_dialog *d, int leg)
{
	int n = 0;

	for (unsigned i = 0; i < d->n; i++) {
		if (d->field[i].leg != leg || d->field[i].context)
			continue;
		if (n++)
			dlg_buf_add(out, DLG_STR(","));
		json_field(out, ctl_name(d, i), ctl_value(d, i));
	}
}

static void json_context(struct dlg_buf *out, const struct ctl_dialog *d)
{
	int n = 0;

	for (unsigned i = 0; i < d->n; i++) {
		if (!d->field[i].context)
			continue;
		dlg_buf_add(out, n++ ? DLG_STR(",[") : DLG_STR(",\"context\":[["));
		ctl_json_string(out, ctl_name(d, i));
		dlg_buf_add(out, DLG_STR(","));
		ctl_json_string(out, ctl_value(d, i));
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
	return 0;
}

static void print_page(void *arg)
{
	ctl_flush(&((struct listing *)arg)->out);
}

int ctl_list(int argc, char **argv)
{
	struct listing l = { .now = (long)time(NULL) };
	int ret;

	if (argc)
		return ctl_surplus(argv[0]);
	if (choose_columns() < 0 || ctl_filter_check() < 0)
		return CTL_USAGE;
	ret = read_filtered(list_one, print_page, &l);
	if (ret == CTL_OK)
		print_head(&l);
	if (ret == CTL_OK && ctl_options.json)
		dlg_buf_add(&l.out, l.shown ? DLG_STR("]\n") : DLG_STR("[]\n"));
	ctl_flush(&l.out);
	dlg_buf_free(&l.out);
	if (ret != CTL_OK)
		return ctl_complain("list", ret);
	return l.shown || !has_filter() ? CTL_OK : CTL_NO;
}

/* ---- show ---- */

static void show_field(struct dlg_buf *out, const struct ctl_dialog *d, unsigned i)
{
	dlg_buf_printf(out, "%s%-18s ", d->field[i].leg || d->field[i].context ? "  " : "",
		       ctl_name(d, i));
	ctl_text(out, ctl_value(d, i));
	if (!d->field[i].context && !strcmp(ctl_name(d, i), "state"))
		dlg_buf_printf(out, " (%s)", ctl_state_name(atoi(ctl_value(d, i))));
	dlg_buf_add(out, DLG_STR("\n"));
}

static void show_text(struct dlg_buf *out, const struct ctl_dialog *d)
{
	int context = 0;

	for (unsigned i = 0; i < d->n; i++) {
		const struct ctl_field *f = &d->field[i];

		if (f->context && !context++)
			dlg_buf_add(out, DLG_STR("context\n"));
		if (!f->context && !strcmp(ctl_name(d, i), "callee_tag"))
			dlg_buf_printf(out, "callee %d\n", f->leg);
		show_field(out, d, i);
	}
}

struct wanted {
	const char *hash; /* NULL: any */
	struct dlg_buf callid, tag, out;
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
	dlg_buf_add(&w->callid, dlg_str_of(ctl_field(d, "callid")));
	dlg_buf_add(&w->tag, dlg_str_of(ctl_field(d, "caller_tag")));
	return 1;
}

/* "entry:id" in decimal? */
static int is_hash(const char *text, unsigned long *entry, unsigned long *id)
{
	size_t first = strspn(text, "0123456789");
	size_t second = text[first] == ':' ? strspn(text + first + 1, "0123456789") : 0;

	if (!first || !second || text[first + 1 + second])
		return 0;
	*entry = strtoul(text, NULL, 10);
	*id = strtoul(text + first + 1, NULL, 10);
	return 1;
}

/* The page of one dialog that begins right before it; another one may come in its place. */
static int read_hash(unsigned long entry, unsigned long id, dialog_fn *fn, void *arg)
{
	const char *page[2] = { NULL, "1" };
	char cursor[64];

	snprintf(cursor, sizeof(cursor), id ? "%lu:%lu" : "%lu", entry, id - 1);
	page[0] = cursor;
	return read_dialogs("dlg_page", page, 2, fn, arg);
}

/* The page names it; then it is asked for with its context. */
static int show_hash(struct wanted *w, unsigned long entry, unsigned long id)
{
	const char *name[2];
	int ret = read_hash(entry, id, note_name, w);

	if (ret != CTL_OK || !w->callid.s)
		return ret;
	name[0] = w->callid.s;
	name[1] = w->tag.s ? w->tag.s : "";
	ret = read_dialogs("dlg_list_ctx", name, 2, show_one, w);
	/* a spiral has two dialogs of one name, and ended ones are in the whole list only */
	if (!w->shown && ret != CTL_AWAY)
		ret = read_dialogs("dlg_list_ctx", NULL, 0, show_one, w);
	return ret;
}

static int show_named(struct wanted *w, const char *name)
{
	unsigned long entry, id;

	if (!is_hash(name, &entry, &id))
		return read_dialogs("dlg_list_ctx", &name, 1, show_one, w);
	w->hash = name;
	return show_hash(w, entry, id);
}

int ctl_show(int argc, char **argv)
{
	struct wanted w = { 0 };
	int ret;

	if (argc != 1) {
		fprintf(stderr, "dlgctl: show: one ENTRY:ID or Call-ID is wanted\n");
		return CTL_USAGE;
	}
	ret = show_named(&w, argv[0]);
	if (w.shown)
		ctl_flush(&w.out);
	dlg_buf_free(&w.callid);
	dlg_buf_free(&w.tag);
	dlg_buf_free(&w.out);
	if (w.shown)
		return CTL_OK;
	if (ret != CTL_OK && (ret != CTL_NO || ctl_error_code() != 404))
		return ctl_complain("show", ret);
	fprintf(stderr, "dlgctl: show: there is no such dialog: %s\n", argv[0]);
	return CTL_NO;
}

/* ---- end ---- */

struct target {
	unsigned entry, id;
	size_t callid; /* offset of its text */
};

struct targets {
	const char *hash; /* only this one; NULL: what the filters want */
	struct target *item;
	size_t n, cap;
	struct dlg_buf callids;
	long now;
	int failed;
};

static int is_target(const struct targets *t, const struct ctl_dialog *d)
{
	if (!strcmp(ctl_field(d, "state"), "5"))
		return 0;
	return t->hash ? !strcmp(ctl_field(d, "hash"), t->hash) : ctl_filter_wants(d, t->now);
}

static int has_room(struct targets *t)
{
	size_t cap = t->cap ? 2 * t->cap : 256;
	struct target *more;

	if (t->n < t->cap)
		return 1;
	more = realloc(t->item, cap * sizeof(*more));
	if (!more)
		return 0;
	t->item = more;
	t->cap = cap;
	return 1;
}

static int add_target(struct ctl_dialog *d, void *arg)
{
	struct targets *t = arg;
	const char *callid = ctl_field(d, "callid");
	unsigned long entry, id;

	if (!is_target(t, d) || !is_hash(ctl_field(d, "hash"), &entry, &id))
		return 0;
	if (!has_room(t))
		return t->failed = 1;
	t->item[t->n++] = (struct target){ (unsigned)entry, (unsigned)id, t->callids.len };
	dlg_buf_add(&t->callids, (struct dlg_str){ callid, strlen(callid) + 1 });
	t->failed |= t->callids.failed;
	return t->failed;
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

/* A bar in a terminal, drawn anew for each thousandth. */
static void progress(size_t done, size_t all, size_t failed)
{
	enum { WIDTH = 40 };
	int full = (int)(done * WIDTH / all);

	if (!isatty(2) || (done < all && done * 1000 / all == (done - 1) * 1000 / all))
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

struct tally {
	size_t ended, gone, failed;
};

/* A call that has ended by itself meanwhile is no failure. Returns what end_one() said. */
static int end_next(const struct target *t, struct tally *n)
{
	int ret = end_one(t);

	if (ret == CTL_OK) {
		n->ended++;
	} else if (ret == CTL_NO && ctl_error_code() == 404) {
		n->gone++;
	} else if (ret == CTL_NO) {
		n->failed++;
		fprintf(stderr, "dlgctl: end: %u:%u: %s\n", t->entry, t->id, ctl_reason());
	}
	return ret;
}

static int end_all(const struct targets *t)
{
	struct tally n = { 0 };
	int ret = CTL_OK;

	for (size_t i = 0; i < t->n && ret != CTL_AWAY; i++) {
		ret = end_next(&t->item[i], &n);
		progress(i + 1, t->n, n.failed);
	}
	printf("%zu ended", n.ended);
	if (n.gone)
		printf(", %zu had ended already", n.gone);
	if (n.failed)
		printf(", %zu could not be ended", n.failed);
	printf("\n");
	if (ret == CTL_AWAY)
		return ctl_complain("end", ret);
	return n.failed || !n.ended ? CTL_NO : CTL_OK;
}

static void print_targets(const struct targets *t)
{
	struct dlg_buf out = { 0 };

	for (size_t i = 0; i < t->n; i++) {
		dlg_buf_printf(&out, "%u:%u  ", t->item[i].entry, t->item[i].id);
		ctl_text(&out, t->callids.s + t->item[i].callid);
		dlg_buf_add(&out, DLG_STR("\n"));
		ctl_flush(&out);
	}
	dlg_buf_free(&out);
	printf("%zu call%s would be ended\n", t->n, t->n == 1 ? "" : "s");
}

static int end_targets(const struct targets *t)
{
	if (t->failed) {
		fprintf(stderr, "dlgctl: end: no memory\n");
		return CTL_NO;
	}
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

static int end_found(struct targets *t, int ret)
{
	ret = ret == CTL_OK ? end_targets(t) : ctl_complain("end", ret);
	free(t->item);
	dlg_buf_free(&t->callids);
	return ret;
}

static int end_filtered(void)
{
	struct targets t = { .now = (long)time(NULL) };

	return end_found(&t, read_filtered(add_target, NULL, &t));
}

/* Whoever names a call in a script means it; people are asked, about one that is there. */
static int end_hash(const char *hash, unsigned long entry, unsigned long id)
{
	struct target one = { (unsigned)entry, (unsigned)id, 0 };
	struct targets t = { .hash = hash };
	int ret;

	if (ctl_options.dry_run || (!ctl_options.yes && isatty(0)))
		return end_found(&t, read_hash(entry, id, add_target, &t));
	ret = end_one(&one);
	return ret == CTL_OK ? ret : ctl_complain("end", ret);
}

int ctl_end(int argc, char **argv)
{
	unsigned long entry, id;

	if (ctl_filter_check() < 0)
		return CTL_USAGE;
	if (argc > 1 || (!argc && !has_filter()) || (argc && has_filter())) {
		fprintf(stderr, "dlgctl: end: one ENTRY:ID or Call-ID is wanted, or filters (see "
				"--help)\n");
		return CTL_USAGE;
	}
	if (!argc)
		return end_filtered();
	if (is_hash(argv[0], &entry, &id) && entry <= UINT_MAX && id <= UINT_MAX)
		return end_hash(argv[0], entry, id);
	ctl_options.callid = argv[0];
	return end_filtered();
}

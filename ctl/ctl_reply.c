/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text format of requests and replies, as bytes: no file, no clock. */
#include "ctl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- requests ---- */

/* Bare, the server would cut off "name::", trim blanks, and take ":x:y" for a new command. */
static int is_bare(const char *value)
{
	const char *p = value;

	while (isalnum((unsigned char)*p) || (*p && strchr("._-@+", *p)))
		p++;
	return p > value && !*p;
}

static void add_argument(struct dlg_buf *out, const char *value)
{
	if (is_bare(value)) {
		dlg_buf_printf(out, "%s\n", value);
		return;
	}
	dlg_buf_add(out, DLG_STR("\""));
	for (; *value; value++)
		dlg_buf_printf(out, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
	dlg_buf_add(out, DLG_STR("\"\n"));
}

/* A further line that begins with a colon may be the first one of a request to the server, also
 * between quotes. */
static int holds_request(const char *value)
{
	while ((value = strchr(value, '\n'))) {
		value += strspn(value, " \t\r\n");
		if (*value == ':')
			return 1;
	}
	return 0;
}

int ctl_request(struct dlg_buf *out, const char *command, const char *reply,
		const char *const *args, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (holds_request(args[i]))
			return -1;
	}
	dlg_buf_printf(out, ":%s:%s\n", command, reply);
	for (unsigned i = 0; i < n; i++)
		add_argument(out, args[i]);
	dlg_buf_add(out, DLG_STR("\n"));
	return 0;
}

/* ---- replies ---- */

static void split(char *text, struct ctl_line *line)
{
	char *colons;

	for (line->depth = 0; *text == '\t'; text++)
		line->depth++;
	colons = strstr(text, ":: ");
	line->name = text;
	line->value = text + strlen(text);
	if (colons) {
		*colons = '\0';
		line->value = colons + 3;
	} else {
		line->value = text;
		line->name = line->value + strlen(text);
	}
}

/* "500 command 'x' not available" has no empty line behind it, other errors do. */
static void take_status(struct ctl_reply *r, const char *text)
{
	r->status = atoi(text);
	if (r->status == 200)
		return;
	if (r->status <= 0)
		r->status = 500;
	snprintf(r->error, sizeof(r->error), "%s", text);
	r->complete = 1;
}

static void take_line(struct ctl_reply *r, char *text)
{
	struct ctl_line line;

	if (!r->status) {
		take_status(r, text);
		return;
	}
	r->complete = !*text || r->status != 200;
	if (r->complete || r->stopped)
		return;
	split(text, &line);
	if (r->fn)
		r->stopped = r->fn(&line, r->arg);
}

void ctl_reply_feed(struct ctl_reply *r, struct dlg_str bytes)
{
	const char *end;

	while (bytes.len && (end = memchr(bytes.s, '\n', bytes.len))) {
		size_t len = (size_t)(end - bytes.s);

		dlg_buf_add(&r->line, (struct dlg_str){ bytes.s, len });
		if (r->line.failed)
			r->failed = 1;
		else
			take_line(r, r->line.s);
		dlg_buf_reset(&r->line);
		bytes.s += len + 1;
		bytes.len -= len + 1;
	}
	dlg_buf_add(&r->line, bytes);
}

char *ctl_attr(char *value, const char *name)
{
	char key[64], *at = NULL, *p = value;

	snprintf(key, sizeof(key), " %s=", name);
	while ((p = strstr(p, key)))
		at = p++;
	if (!at)
		return NULL;
	*at = '\0';
	return at + strlen(key);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int is_color_terminal(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(1) && (!no || !*no) && term && strcmp(term, "dumb");
}

int ctl_colored(void)
{
	if (ctl_options.color < 0)
		ctl_options.color = is_color_terminal();
	return ctl_options.color;
}

/* Bytes of a well-formed UTF-8 character, or 0. */
static size_t utf8_len(const unsigned char *p)
{
	size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
	    (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* Nonzero for a character that a terminal may take for a command. */
static int is_control(const unsigned char *p)
{
	return *p < ' ' || *p == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

unsigned ctl_text(struct dlg_buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned columns = 0;

	while (*p) {
		size_t n = utf8_len(p);

		if (n && !is_control(p)) {
			dlg_buf_add(out, (struct dlg_str){ (const char *)p, n });
			columns++;
			p += n;
		} else {
			dlg_buf_printf(out, "\\x%02x", *p++);
			columns += 4;
		}
	}
	return columns;
}

void ctl_cell(struct dlg_buf *out, const char *text, unsigned width)
{
	unsigned columns = ctl_text(out, text);

	dlg_buf_printf(out, "%*s", columns < width ? (int)(width - columns) : 0, "");
}

void ctl_json_string(struct dlg_buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	dlg_buf_add(out, DLG_STR("\""));
	while (*p) {
		size_t n = utf8_len(p);

		if (*p == '"' || *p == '\\')
			dlg_buf_printf(out, "\\%c", *p);
		else if (*p < ' ' || *p == 0x7f || !n)
			dlg_buf_printf(out, "\\u%04x", *p);
		else
			dlg_buf_add(out, (struct dlg_str){ (const char *)p, n });
		p += n ? n : 1;
	}
	dlg_buf_add(out, DLG_STR("\""));
}

/* head has seen enough; a full disk is worth a word. */
static int cannot_write(int code)
{
	if (errno == EPIPE)
		return code;
	fprintf(stderr, "dlgctl: cannot write: %s\n", strerror(errno));
	return CTL_NO;
}

void ctl_flush(struct dlg_buf *out)
{
	if (out->failed) {
		fprintf(stderr, "dlgctl: no memory\n");
		exit(CTL_NO);
	}
	if (out->len && fwrite(out->s, 1, out->len, stdout) != out->len)
		exit(cannot_write(CTL_OK));
	dlg_buf_reset(out);
}

int ctl_finish_output(int code)
{
	return fflush(stdout) != 0 || ferror(stdout) ? cannot_write(code) : code;
}

const char *ctl_duration(long s, char *out)
{
	if (s < 0)
		strcpy(out, "-");
	else if (s < 60)
		snprintf(out, 32, "%lds", s);
	else if (s < 3600)
		snprintf(out, 32, "%ldm%02lds", s / 60, s % 60);
	else
		snprintf(out, 32, "%ldh%02ldm", s / 3600, s / 60 % 60);
	return out;
}

long ctl_seconds(const char *text)
{
	static const struct { char unit; long seconds; } units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 },
	};
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || n < 0 || n > 1000000000 || !isdigit((unsigned char)*text))
		return -1;
	if (!*end)
		return n;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (*end == units[i].unit && !end[1])
			return n * units[i].seconds;
	}
	return -1;
}

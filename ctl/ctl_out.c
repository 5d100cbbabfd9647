/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int ctl_colored(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (ctl_options.color >= 0)
		return ctl_options.color;
	return isatty(1) && (!no || !*no) && term && strcmp(term, "dumb");
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

void ctl_flush(struct dlg_buf *out)
{
	if (out->failed) {
		fprintf(stderr, "dlgctl: no memory\n");
		exit(CTL_AWAY);
	}
	if (out->len && fwrite(out->s, 1, out->len, stdout) != out->len) {
		/* head has seen enough; a full disk is worth a word */
		if (errno != EPIPE)
			fprintf(stderr, "dlgctl: cannot write: %s\n", strerror(errno));
		exit(errno == EPIPE ? CTL_OK : CTL_NO);
	}
	dlg_buf_reset(out);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CTL_FAKE_H
#define CTL_FAKE_H
/* A proxy of canned replies for dlgctl's commands, and what they print. One file of a test program
 * includes it. */

#include "../../ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>

#include "unit.h"

struct ctl_options ctl_options;

/* Replies by command, "list", or by command and arguments, "list(1|2)"; the last that fits counts.
 * NULL ends the list. */
struct fake_reply {
	const char *command, *text;
};
static const struct fake_reply *fake_replies;
static struct dlg_buf fake_asked; /* "command(argument|argument);" for each request */
static int fake_code;

static char *fake_text;
static size_t fake_len;

static const char *fake_find(const char *command, const char *request)
{
	const char *text = NULL;

	for (const struct fake_reply *f = fake_replies; f && f->command; f++) {
		if (!strcmp(f->command, command) || !strcmp(f->command, request))
			text = f->text;
	}
	return text;
}

int ctl_call(const char *command, const char *const *args, unsigned n, ctl_line_fn *fn, void *arg)
{
	struct ctl_reply r = { .fn = fn, .arg = arg };
	struct dlg_buf request = { 0 };
	const char *text;

	dlg_buf_printf(&request, "%s(", command);
	for (unsigned i = 0; i < n; i++)
		dlg_buf_printf(&request, "%s%s", i ? "|" : "", args[i]);
	dlg_buf_add(&request, DLG_STR(")"));
	dlg_buf_printf(&fake_asked, "%s;", request.s);
	text = fake_find(command, request.s);
	dlg_buf_free(&request);
	if (!text)
		return CTL_AWAY;
	ctl_reply_feed(&r, dlg_str_of(text));
	dlg_buf_free(&r.line);
	fake_code = r.status == 200 ? 0 : r.status;
	return r.status == 200 ? CTL_OK : CTL_NO;
}

int ctl_error_code(void)
{
	return fake_code;
}

const char *ctl_reason(void)
{
	return "refused";
}

int ctl_complain(const char *what, int code)
{
	(void)what;
	return code;
}

int ctl_surplus(const char *argument)
{
	(void)argument;
	return CTL_USAGE;
}

/* Run a command. Returns its exit code; fake_text is what it printed. */
static inline int fake_run(int (*command)(int, char **), const char *argument)
{
	char *argv[] = { (char *)(uintptr_t)argument, NULL };
	FILE *terminal = stdout, *memory;
	int ret;

	free(fake_text);
	memory = open_memstream(&fake_text, &fake_len);
	ck_assert_ptr_nonnull(memory);
	stdout = memory;
	ret = command(argument != NULL, argv);
	stdout = terminal;
	fclose(memory);
	return ret;
}

static inline void fake_done(void)
{
	free(fake_text);
	dlg_buf_free(&fake_asked);
}

#endif

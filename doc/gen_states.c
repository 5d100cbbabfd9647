/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes doc/states.md out of dlg_state.c.
 *
 *     gen_states               print the page
 *     gen_states FILE          is FILE that page? Prints "1 passed, 0 failed" or what to do */

#include "dlg_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_meaning[DLG_STATES] = {
	[DLG_STATE_NONE] = "not in the table: not yet, or freed",
	[DLG_STATE_UNCONFIRMED] = "the INVITE was seen",
	[DLG_STATE_EARLY] = "a provisional reply above 100 was seen",
	[DLG_STATE_CONFIRMED_NA] = "a 2xx was seen, its ACK not yet",
	[DLG_STATE_CONFIRMED] = "the ACK was seen",
	[DLG_STATE_DELETED] = "the call has ended; the dialog lingers for late messages",
};

static const char *const event_meaning[DLG_EVENTS] = {
	[DLG_EV_CREATE] = "the dialog is put into the table",
	[DLG_EV_PROVISIONAL] = "101 to 199 to the INVITE, on its way to the caller",
	[DLG_EV_SUCCESS] = "2xx to the INVITE, on its way to the caller",
	[DLG_EV_NEGATIVE] = "final 3xx to 6xx to the INVITE, relayed to the caller or made here",
	[DLG_EV_GONE] = "the INVITE's transaction was freed, whatever became of it",
	[DLG_EV_ABANDON] = "the script ended without a transaction for the INVITE",
	[DLG_EV_ACK] = "an ACK of the caller was forwarded",
	[DLG_EV_ACK_OTHER] =
		"one of the callee, to whom no 2xx to the INVITE went, or to a leg that ended",
	[DLG_EV_SEQUENTIAL] =
		"another request was forwarded, or a BYE while other answered legs live",
	[DLG_EV_BYE_NO_ACK] =
		"the BYE of a leg was forwarded, or [counts](manual.md#2-how-a-call-is-followed) "
		"without; of the answered legs left none got its ACK yet",
	[DLG_EV_BYE] = "the BYE of the last answered leg was forwarded, or counts without",
	[DLG_EV_TERMINATE] = "the proxy ended the call with BYEs: dlg_end_dlg, end() of the API",
	[DLG_EV_TIMEOUT] = "the dialog's timer ran out",
	[DLG_EV_RESTORE] = "it was read from the database or journal at start, its ACK was seen",
	[DLG_EV_RESTORE_NO_ACK] = "the same, its ACK was not seen",
};

/* In the order in which they are carried out. */
static const struct {
	uint32_t action;
	const char *text;
} actions[] = {
	{ DLG_DO_START, "the lifetime begins" },
	{ DLG_DO_RESET_LIFETIME, "the lifetime begins again" },
	{ DLG_DO_END, "time and author of the end are noted, all profiles are left" },
	{ DLG_DO_ARM_SETUP, "timer: setup_timeout" },
	{ DLG_DO_AWAIT_ACK, "the ACK limit begins, if the ACK must pass here" },
	{ DLG_DO_STOP_ACK, "no ACK limit any more" },
	{ DLG_DO_ARM_LIFETIME, "timer: end of the lifetime, or the ACK limit if sooner" },
	{ DLG_DO_ARM_LINGER, "timer: linger" },
	{ DLG_DO_NO_LINGER, "freed as soon as nobody holds it" },
	{ DLG_DO_COUNT_PROCESSED, "processed_dialogs + 1" },
	{ DLG_DO_COUNT_FAILED, "failed_dialogs + 1" },
	{ DLG_DO_COUNT_EXPIRED, "expired_dialogs + 1" },
	{ DLG_DO_COUNT_RESTORED, "restored + 1" },
	{ DLG_DO_SAVE, "saved: journal and change log" },
	{ DLG_DO_END_SETUP, "408 to the caller, CANCEL to the callees" },
	{ DLG_DO_SEND_BYES, "BYE to both sides if bye_on_timeout_flag asked for it" },
	{ DLG_DO_CB_EARLY, "DLGCB_EARLY" },
	{ DLG_DO_CB_CONFIRMED, "DLGCB_CONFIRMED" },
	{ DLG_DO_CB_FAILED, "DLGCB_FAILED" },
	{ DLG_DO_CB_TERMINATED, "DLGCB_TERMINATED" },
	{ DLG_DO_CB_EXPIRED, "DLGCB_EXPIRED" },
	{ DLG_DO_FREE, "freed, unless somebody still holds it" },
};

static const char intro[] =
	"<!-- Made from dlg_state.c by doc/gen_states.c. Do not edit: make doc/states.md -->\n"
	"# What can happen to a call\n"
	"\n"
	"Everything the module does to a dialog follows from its state and from what happens.\n"
	"This page is printed from the table the module itself uses, for every pair of state\n"
	"and event.\n";

static const char outro[] =
	"\nCallbacks run, and messages are sent, after the change of state, with no lock held.\n"
	"The callbacks that are not in this table do not depend on a change of state: see\n"
	"[modules.md](modules.md).\n";

static const char *state_name(int state)
{
	return dlg_state_name((enum dlg_state)state);
}

static const char *event_name(int event)
{
	return dlg_state_event_name((enum dlg_event)event);
}

static const struct dlg_rule *rule(int state, int event)
{
	return dlg_state_rule((enum dlg_state)state, (enum dlg_event)event);
}

static int is_quiet(int state, int event)
{
	return rule(state, event)->next == state && !rule(state, event)->actions;
}

static void print_states(FILE *out)
{
	fprintf(out, "\n## States\n\n"
		     "The numbers are those of `$DLG_status` and of `state` in `dlg_list`.\n\n"
		     "| | state | meaning |\n|---|---|---|\n");
	for (int s = 0; s < DLG_STATES; s++)
		fprintf(out, "| %d | %s | %s |\n", s, state_name(s), state_meaning[s]);
}

static void print_events(FILE *out)
{
	fprintf(out, "\n## Events\n\n| event | meaning |\n|---|---|\n");
	for (int e = 0; e < DLG_EVENTS; e++)
		fprintf(out, "| %s | %s |\n", event_name(e), event_meaning[e]);
}

static void print_row(FILE *out, int event)
{
	fprintf(out, "\n| %s |", event_name(event));
	for (int s = 0; s < DLG_STATES; s++) {
		if (is_quiet(s, event))
			fprintf(out, " . |");
		else
			fprintf(out, " %d |", rule(s, event)->next);
	}
}

static void print_matrix(FILE *out)
{
	fprintf(out, "\n## Next state\n\nA dot: nothing changes.\n\n| event |");
	for (int s = 0; s < DLG_STATES; s++)
		fprintf(out, " %d %s |", s, state_name(s));
	fprintf(out, "\n|---|");
	for (int s = 0; s < DLG_STATES; s++)
		fprintf(out, "---|");
	for (int e = 0; e < DLG_EVENTS; e++)
		print_row(out, e);
	fprintf(out, "\n");
}

/* 0, or -1 for an action this program does not know. */
static int print_actions(FILE *out, uint32_t left)
{
	const char *before = " ";

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (!(left & actions[i].action))
			continue;
		left &= ~actions[i].action;
		fprintf(out, "%s%s", before, actions[i].text);
		before = "; ";
	}
	return left ? -1 : 0;
}

/* 0 or -1. */
static int print_rule(FILE *out, int state, int event)
{
	const struct dlg_rule *r = rule(state, event);
	int err;

	fprintf(out, "| %d %s | %s | %d |", state, state_name(state), event_name(event), r->next);
	err = print_actions(out, r->actions);
	fprintf(out, " |\n");
	return err;
}

static int print_rules(FILE *out)
{
	int err = 0;

	fprintf(out, "\n## What follows\n\n"
		     "| state | event | next | what follows |\n|---|---|---|---|\n");
	for (int s = 0; s < DLG_STATES; s++) {
		for (int e = 0; e < DLG_EVENTS; e++) {
			if (!is_quiet(s, e))
				err |= print_rule(out, s, e);
		}
	}
	fprintf(out, "\nThe linger takes %d seconds. A dialog that somebody still holds\n"
		     "%d seconds after that is reported in the log, with the holder.\n",
		DLG_STATE_LINGER_S, DLG_STATE_OVERDUE_S);
	return err;
}

/* The page, to be freed, or NULL. */
static char *make_page(size_t *len)
{
	char *page = NULL;
	FILE *out = open_memstream(&page, len);
	int err;

	if (!out)
		return NULL;
	fputs(intro, out);
	print_states(out);
	print_events(out);
	print_matrix(out);
	err = print_rules(out);
	fputs(outro, out);
	if (fclose(out) || err) {
		fprintf(stderr, "doc/gen_states.c: an action without a text\n");
		free(page);
		return NULL;
	}
	return page;
}

static int is_page(const char *path, const char *page, size_t len)
{
	FILE *in = fopen(path, "r");
	char *have = malloc(len + 1);
	size_t n = in && have ? fread(have, 1, len + 1, in) : 0;
	int same = have && n == len && !memcmp(have, page, len);

	free(have);
	if (in)
		fclose(in);
	return same;
}

int main(int argc, char **argv)
{
	size_t len;
	char *page = make_page(&len);
	int ok = page != NULL;

	if (ok && argc < 2) {
		ok = fwrite(page, 1, len, stdout) == len && !fflush(stdout);
	} else if (argc > 1) {
		ok = ok && is_page(argv[1], page, len);
		if (!ok)
			printf("%s is not what dlg_state.c does: make doc/states.md\n", argv[1]);
		printf("%d passed, %d failed\n", ok, !ok);
	}
	free(page);
	return ok ? 0 : 1;
}

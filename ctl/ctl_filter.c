/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* Names of states, and the sets that people mean. */
static const struct {
	const char *name;
	unsigned states; /* bits */
} state_names[] = {
	{ "unconfirmed", 1 << 1 }, { "early", 1 << 2 },    { "confirmed_na", 1 << 3 },
	{ "confirmed", 1 << 4 },   { "deleted", 1 << 5 },  { "ended", 1 << 5 },
	{ "active", 3 << 3 },	   { "setup", 3 << 1 },	   { "1", 1 << 1 },
	{ "2", 1 << 2 },	   { "3", 1 << 3 },	   { "4", 1 << 4 },
	{ "5", 1 << 5 },	   { "all", 31 << 1 },
};

const char *ctl_state_name(int state)
{
	static const char *const names[] = { "?", "unconfirmed", "early", "confirmed_na", "confirmed",
					     "ended" };

	return state >= 1 && state <= 5 ? names[state] : names[0];
}

/* One item of a list of states, 0 when unknown. */
static unsigned states_of(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(state_names) / sizeof(state_names[0]); i++) {
		if (strlen(state_names[i].name) == len && !strncasecmp(state_names[i].name, name, len))
			return state_names[i].states;
	}
	return 0;
}

/* The set a list stands for; 0 when it is malformed. */
static unsigned wanted_states(const char *list)
{
	unsigned all = 0;

	if (!list)
		return 31 << 1;
	for (;;) {
		size_t len = strcspn(list, ",");
		unsigned some = states_of(list, len);

		if (!some)
			return 0;
		all |= some;
		if (!list[len])
			return all;
		list += len + 1;
	}
}

int ctl_filter_check(void)
{
	if (!wanted_states(ctl_options.states)) {
		fprintf(stderr,
			"dlgctl: --state %s: unknown: names are unconfirmed, early, confirmed_na, "
			"confirmed, ended, or the sets active, setup, all\n",
			ctl_options.states);
		return -1;
	}
	if ((ctl_options.older && ctl_seconds(ctl_options.older) < 0) ||
	    (ctl_options.younger && ctl_seconds(ctl_options.younger) < 0)) {
		fprintf(stderr, "dlgctl: an age is a number of seconds, or 15m, 2h, 1d\n");
		return -1;
	}
	return 0;
}

const char *ctl_field(const struct ctl_dialog *d, const char *name)
{
	for (unsigned i = 0; i < d->n; i++) {
		if (d->field[i].leg <= 1 && !d->field[i].context && !strcmp(ctl_name(d, i), name))
			return ctl_value(d, i);
	}
	return "";
}

static int contains(const char *text, const char *part)
{
	return !part || strcasestr(text, part) != NULL;
}

/* The age is that of an answered call; others have none. */
static int age_fits(const struct ctl_dialog *d, long now)
{
	long start = atol(ctl_field(d, "timestart")), age = now - start;

	if (!ctl_options.older && !ctl_options.younger)
		return 1;
	if (!start)
		return 0;
	return (!ctl_options.older || age >= ctl_seconds(ctl_options.older)) &&
	       (!ctl_options.younger || age <= ctl_seconds(ctl_options.younger));
}

int ctl_filter_wants(const struct ctl_dialog *d, long now)
{
	unsigned state = 1u << (atoi(ctl_field(d, "state")) & 31);

	return wanted_states(ctl_options.states) & state &&
	       contains(ctl_field(d, "from_uri"), ctl_options.caller) &&
	       contains(ctl_field(d, "to_uri"), ctl_options.callee) &&
	       (!ctl_options.callid || !strcmp(ctl_field(d, "callid"), ctl_options.callid)) &&
	       age_fits(d, now);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_track.h"

#include <stdlib.h>

#include "../../dlg_cb.h"
#include "../../dlg_lock.h"
#include "sim_audit.h"

enum { KEPT = 8 };

/* What was told about one dialog. */
struct track {
	struct track *next;
	int types;  /* told so far, or-ed */
	int params; /* registrations whose parameter was not freed yet */
	int destroyed;
	uint32_t h_id;
};

static struct dlg_api api;
static struct track *tracks;
static struct dlg_cell *kept[KEPT];
unsigned sim_track_mischief;
int sim_track_overtaking;

enum {
	ENDS = DLGCB_FAILED | DLGCB_TERMINATED | DLGCB_EXPIRED,
	ONCE = ENDS | DLGCB_EARLY | DLGCB_CONFIRMED | DLGCB_DESTROY,
	ALL = DLGCB_SAVED | ENDS | DLGCB_EARLY | DLGCB_CONFIRMED | DLGCB_REQ_WITHIN |
	      DLGCB_RESPONSE_FWDED | DLGCB_RESPONSE_WITHIN | DLGCB_MI_CONTEXT | DLGCB_DESTROY,
};

static void on_event(struct dlg_cell *dlg, int type, struct dlg_cb_params *p);

static void on_free(void *param)
{
	struct track *tr = param;

	if (dlg_lock_held())
		sim_violation("callback: parameter freed under a lock");
	if (!tr->destroyed)
		sim_violation("callback: parameter freed before DLGCB_DESTROY");
	if (--tr->params < 0)
		sim_violation("callback: parameter freed twice");
}

static void keep(struct dlg_cell *dlg)
{
	unsigned i = sim_below(KEPT);

	if (kept[i])
		return;
	kept[i] = dlg; /* before others get their turn */
	sim_audit_api_refs++;
	api.hold(dlg);
}

static void put(unsigned i)
{
	struct dlg_cell *dlg = kept[i];

	if (!dlg)
		return;
	kept[i] = NULL;
	sim_audit_api_refs--;
	api.put(dlg);
}

void sim_track_put_one(void)
{
	put(sim_below(KEPT));
}

void sim_track_put_all(void)
{
	for (unsigned i = 0; i < KEPT; i++)
		put(i);
}

static void ask(struct dlg_cell *dlg)
{
	struct dlg_info info;
	char buf[2048];

	if (api.get_info(dlg, &info, buf, sizeof(buf)))
		sim_violation("api: get_info() wants more than 2 KB");
	else if (!info.call_id || !info.from_tag || !info.to_tag || !info.callee_contact)
		sim_violation("api: get_info() left a text out");
	if (api.get_info(dlg, &info, buf, 1) < 10)
		sim_violation("api: get_info() does not ask for a larger buffer");
}

static void values(struct dlg_cell *dlg)
{
	char name[8] = { 'k', (char)('a' + sim_below(4)), 0 }, buf[16];

	if (sim_one_in(3))
		api.set_value(dlg, name, NULL, 0);
	else
		api.set_value(dlg, name, "a value to be kept", sim_below(18));
	if (api.get_value(dlg, name, buf, sizeof(buf)) > 18)
		sim_violation("api: get_value() returns too much");
	api.set_flags(dlg, 1u << sim_below(32), 1u << sim_below(32));
	api.get_flags(dlg);
}

/* Look for the dialog by name: it must be this one. Not from within DLGCB_DESTROY. */
static void find(struct dlg_cell *dlg)
{
	struct dlg_cell *same = api.find(dlg->h_entry, dlg->h_id);

	if (same != dlg)
		sim_violation("api: a dialog cannot be found by its name");
	if (same)
		api.put(same);
}

static void mischief(struct dlg_cell *dlg, int type, struct track *tr)
{
	if (!sim_one_in(sim_track_mischief))
		return;
	switch (sim_below(6)) {
	case 0: ask(dlg); break;
	case 1: values(dlg); break;
	case 2:
		if (type != DLGCB_DESTROY)
			find(dlg);
		break;
	case 3:
		if (type != DLGCB_DESTROY)
			keep(dlg);
		break;
	case 4: api.end(dlg, sim_one_in(2) ? "X-Why: test" : NULL); break;
	default:
		if (tr && api.register_dlgcb(dlg, DLGCB_REQ_WITHIN | DLGCB_DESTROY, on_event, tr,
					     on_free) == 0)
			tr->params++;
	}
}

static void check_order(const struct track *tr, int type)
{
	if (tr->destroyed)
		sim_violation("callback: type %#x after DLGCB_DESTROY", type);
	if (tr->types & type & ONCE)
		sim_violation("callback: type %#x twice", type);
	if (type & ENDS && tr->types & ENDS)
		sim_violation("callback: type %#x after another end (%#x)", type, tr->types);
	if (!sim_track_overtaking && type == DLGCB_FAILED && tr->types & DLGCB_CONFIRMED)
		sim_violation("callback: an answered call failed");
	/* the process that confirms may be overtaken, before it calls back, by the one that ends */
	if (!sim_track_overtaking && type == DLGCB_TERMINATED && !(tr->types & DLGCB_CONFIRMED))
		sim_violation("callback: a call was terminated that had not been answered");
}

static void check_params(const struct dlg_cell *dlg, int type, const struct dlg_cb_params *p)
{
	if (dlg_lock_held())
		sim_violation("callback: type %#x under a lock", type);
	if (!p->param)
		sim_violation("callback: type %#x without parameters", type);
	if (type != DLGCB_DESTROY && !dlg->refs[DLG_BY_TABLE])
		sim_violation("callback: type %#x on a dialog outside the table", type);
	if (type & (DLGCB_RESPONSE_FWDED | DLGCB_RESPONSE_WITHIN) && p->code <= 100)
		sim_violation("callback: type %#x with code %d", type, p->code);
}

/* Extra registrations of the same track are only counted. */
static void on_event(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	check_params(dlg, type, p);
	if (((struct track *)*p->param)->destroyed && type != DLGCB_DESTROY)
		sim_violation("callback: type %#x after DLGCB_DESTROY", type);
}

static void on_first(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	struct track *tr = *p->param;

	check_params(dlg, type, p);
	check_order(tr, type);
	tr->types |= type;
	tr->destroyed = type == DLGCB_DESTROY;
	if (dlg->h_id != tr->h_id)
		sim_violation("callback: of another dialog");
	mischief(dlg, type, tr);
}

static void on_created(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	struct track *tr = calloc(1, sizeof(*tr));

	if (!tr)
		abort();
	check_params(dlg, type, p);
	if (type != DLGCB_CREATED || !p->req)
		sim_violation("callback: created without its INVITE");
	tr->h_id = dlg->h_id;
	if (api.register_dlgcb(dlg, ALL, on_first, tr, on_free) < 0) {
		free(tr); /* no memory */
		return;
	}
	tr->params = 1;
	tr->next = tracks;
	tracks = tr;
	if (!api.register_dlgcb(dlg, DLGCB_CREATED, on_first, tr, on_free) ||
	    !api.register_dlgcb(NULL, DLGCB_EARLY, on_first, tr, on_free))
		sim_violation("api: a registration that is not allowed was taken");
	mischief(dlg, type, tr);
}

int sim_track_start(void)
{
	if (dlg_load_api(&api, dlg_cb_bind) < 0)
		return -1;
	return api.register_dlgcb(NULL, DLGCB_CREATED, on_created, NULL, NULL);
}

void sim_track_end(void)
{
	while (tracks) {
		struct track *tr = tracks;

		tracks = tr->next;
		if (!tr->destroyed)
			sim_violation("callback: DLGCB_DESTROY never came");
		if (tr->params)
			sim_violation("callback: %d parameters never freed", tr->params);
		if (tr->types & DLGCB_CONFIRMED && !(tr->types & ENDS))
			sim_violation("callback: the end of an answered call was never told");
		free(tr);
	}
}

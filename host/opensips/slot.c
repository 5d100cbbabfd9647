/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The message in hand.
 *
 * OpenSIPS gives each message a context, which travels with a request that is suspended and
 * resumed: a request's slot hangs there from before its script to after it. Branch routes see the
 * request itself; failure and reply routes see other messages, which have no slot, though a
 * failure route may run in the context of the request that failed at once. */

#include "adapter.h"
#include "../../dlg_handlers.h"

#include "mem/mem.h"
#include "route.h"
#include "script_cb.h"

struct slot {
	unsigned id;      /* OpenSIPS' name of the message in this process */
	struct adapter_method method; /* how it begins on the wire */
	uint8_t used;     /* the engine asked for it */
	uint8_t sent;
	struct dlg_tx *tx;      /* attached to the transaction that was being made, */
	struct host_tx_id name; /* which has this name, if it was born */
	struct dlg_ctx ctx;
};

/* Ours runs before that of tm, which lets go of the transaction. */
enum { EARLY = 100 };

static int place; /* in the context */

int adapter_sending;

/* OpenSIPS puts the pointers of a context behind its numbers, aligned or not: hence no access by
 * its own context_get_ptr(). */
static char *slot_place(void)
{
	char *pointers = (char *)current_processing_ctx +
			 type_offsets[CONTEXT_GLOBAL][CONTEXT_PTR_TYPE];

	return pointers + (size_t)place * sizeof(void *);
}

static struct slot *current_slot(void)
{
	struct slot *s;

	if (!current_processing_ctx)
		return NULL;
	memcpy(&s, slot_place(), sizeof(s));
	return s;
}

static void put_slot(struct slot *s)
{
	memcpy(slot_place(), &s, sizeof(s));
}

static void end_slot(struct slot *s, struct sip_msg *msg)
{
	int forwarded = msg && s->sent;

	if ((s->used || forwarded) && dialog_running())
		dlg_handlers_msg_end((struct host_msg *)msg, &s->ctx, forwarded);
	pkg_free(s);
}

/* The context is destroyed, and no script has ended: another module's callback dropped the
 * request, or its transaction was given up while it was suspended. */
static void on_lost(void *slot)
{
	if (slot)
		end_slot(slot, NULL);
}

static int before_script(struct sip_msg *msg, void *param)
{
	struct slot *s = current_slot() ? NULL : pkg_malloc(sizeof(*s));

	(void)param;
	if (!s)
		return SCB_RUN_ALL;
	memset(s, 0, sizeof(*s));
	s->id = msg->id;
	adapter_method_note(&s->method, msg->first_line.u.request.method);
	put_slot(s);
	return SCB_RUN_ALL;
}

void adapter_slot_note_unborn(struct cell *t, struct dlg_tx *tx)
{
	struct slot *s = current_slot();

	if (s) {
		s->tx = tx;
		s->name = host_tx_id((struct host_tx *)t);
	}
}

/* Is the transaction there? Usually it is the current one, but tm lets go of one whose Via it cannot
 * resolve, and functions of the script may make another one current. A name that was not used goes
 * to the next transaction. */
static int is_born(const struct slot *s)
{
	struct cell *t = adapter_tm_current();
	int born = adapter_tm_attached(t) == s->tx;

	if (born)
		return 1;
	/* NULL is what tm has when it could make none; else it came and went during a long script */
	if (adapter_tm.t_lookup_ident(&t, s->name.a, s->name.b) <= 0)
		return adapter_tm.t_gett() != NULL;
	born = adapter_tm_attached(t) == s->tx;
	adapter_tm.unref_cell(t);
	return born;
}

/* A transaction for which tm had no memory after all is thrown away without a word. */
static void check_birth(const struct slot *s)
{
	if (s->tx && !is_born(s))
		adapter_tm_gone(s->tx);
}

static int after_script(struct sip_msg *msg, void *param)
{
	struct slot *s = current_slot();

	(void)param;
	if (s) {
		put_slot(NULL);
		check_birth(s);
		end_slot(s, msg);
	}
	return SCB_RUN_ALL;
}

/* Something is sent from this process. */
static int on_sent(str *data, struct sip_msg *msg)
{
	struct slot *s = adapter_sending ? NULL : current_slot();

	(void)msg;
	if (s && adapter_lets_pass(&s->method, data->s, data->len))
		s->sent = 1;
	return 0;
}

int adapter_slot_init(void)
{
	place = context_register_ptr(CONTEXT_GLOBAL, on_lost);
	if (place < 0 ||
	    __register_script_cb(before_script, PRE_SCRIPT_CB | REQ_TYPE_CB, NULL, EARLY) < 0 ||
	    __register_script_cb(after_script, POST_SCRIPT_CB | REQ_TYPE_CB, NULL, EARLY) < 0 ||
	    register_post_raw_processing_cb(on_sent, POST_RAW_PROCESSING, 0) < 0) {
		HOST_LOG(HOST_ERROR, "cannot register script callbacks");
		return -1;
	}
	return 0;
}

/* A resumed request is a copy with a name of its own. */
static int is_in_hand(const struct slot *s, const struct sip_msg *msg)
{
	return msg->first_line.type == SIP_REQUEST &&
	       (msg->id == s->id || is_route_type(REQUEST_ROUTE));
}

struct dlg_ctx *host_ctx(struct host_msg *msg)
{
	struct slot *s = current_slot();

	if (!s || !is_in_hand(s, (struct sip_msg *)msg))
		return NULL;
	s->used = 1;
	return &s->ctx;
}

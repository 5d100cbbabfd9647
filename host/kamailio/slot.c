/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The message in hand.
 *
 * A worker has one request in hand at a time, except that a script may resume a suspended
 * request in the middle of it: hence a small stack. Slots are made before a request's script and
 * ended after it. Branch routes see the request itself; failure and reply routes see other
 * messages, which have no slot. */

#include "adapter.h"
#include "../../dlg_handlers.h"

#include "core/events.h"
#include "core/pt.h"
#include "core/script_cb.h"

enum { SLOTS = 4 };

struct slot {
	unsigned id;      /* Kamailio's name of the message, with pid */
	int pid;
	struct adapter_method method; /* how it begins on the wire */
	uint8_t is_ack;
	uint8_t used;     /* the engine asked for it */
	uint8_t sent;
	struct dlg_ctx ctx;
};

static struct slot slots[SLOTS];
static unsigned depth;
static int watching;

int adapter_sending;

static struct slot *find_slot(const struct sip_msg *msg)
{
	for (unsigned i = depth; i-- > 0;)
		if (slots[i].id == msg->id && slots[i].pid == msg->pid)
			return &slots[i];
	return NULL;
}

/* It left this proxy while its script ran, or the like. Where nobody tells us what is sent, an ACK
 * is taken for sent. */
static int was_forwarded(const struct slot *s)
{
	return watching ? s->sent : s->is_ack;
}

static void end_top(struct sip_msg *msg)
{
	struct slot *s = &slots[--depth];
	int forwarded = msg && was_forwarded(s);

	if ((s->used || forwarded) && dialog_running())
		dlg_handlers_msg_end((struct host_msg *)msg, &s->ctx, forwarded);
}

/* A request that has just come in: whatever is still in hand was left there by an earlier one whose
 * script was never run (a module's pre-script callback dropped it). */
static void end_stale(const struct sip_msg *msg)
{
	if (msg->pid != my_pid())
		return;
	for (unsigned i = 0; i < depth; i++)
		if (slots[i].pid == msg->pid && (int)(msg->id - slots[i].id) <= 0)
			return;
	while (depth)
		end_top(NULL);
}

static struct slot *new_slot(const struct sip_msg *msg)
{
	struct slot *s;

	end_stale(msg);
	if (depth == SLOTS)
		return NULL;
	s = &slots[depth++];
	memset(s, 0, sizeof(*s));
	s->id = msg->id;
	s->pid = msg->pid;
	return s;
}

static int before_script(struct sip_msg *msg, unsigned flags, void *param)
{
	struct slot *s = new_slot(msg);

	(void)flags;
	(void)param;
	if (!s)
		return 1;
	s->is_ack = msg->first_line.u.request.method_value == METHOD_ACK;
	adapter_method_note(&s->method, msg->first_line.u.request.method);
	return 1;
}

static int before_failure_route(struct sip_msg *msg, unsigned flags, void *param)
{
	(void)flags;
	(void)param;
	if (adapter_tm_resumed() && new_slot(msg) && dialog_running())
		dlg_handlers_on_resume((struct host_msg *)msg);
	return 1;
}

static int after_script(struct sip_msg *msg, unsigned flags, void *param)
{
	struct slot *s = find_slot(msg);

	(void)flags;
	(void)param;
	if (!s)
		return 1;
	while (depth && &slots[depth - 1] != s)
		end_top(NULL);
	end_top(msg);
	return 1;
}

int adapter_slot_init(void)
{
	if (register_script_cb(before_script, PRE_SCRIPT_CB | REQUEST_CB, NULL) < 0 ||
	    register_script_cb(before_failure_route, PRE_SCRIPT_CB | FAILURE_CB, NULL) < 0 ||
	    register_script_cb(after_script, POST_SCRIPT_CB | REQUEST_CB | FAILURE_CB, NULL) < 0) {
		HOST_LOG(HOST_ERROR, "cannot register script callbacks");
		return -1;
	}
	return 0;
}

/* Something was sent from this process. */
static int on_sent(sr_event_param_t *event)
{
	const sr_net_info_t *net = event->data;
	struct slot *s = depth ? &slots[depth - 1] : NULL;

	if (s && !adapter_sending && net && net->data.s &&
	    adapter_lets_pass(&s->method, net->data.s, net->data.len))
		s->sent = 1;
	return 0;
}

void adapter_slot_watch(void)
{
	/* There is one place for such a watcher; modules that need it for themselves come first. */
	watching = sr_event_register_cb(SREV_NET_DATA_SENT, on_sent) == 0;
	if (!watching)
		HOST_LOG(HOST_NOTICE, "another module watches what is sent: every ACK whose"
				      " script has ended counts as forwarded, and no BYE that is"
				      " answered statelessly does");
}

struct dlg_ctx *host_ctx(struct host_msg *msg)
{
	struct sip_msg *m = (struct sip_msg *)msg;
	struct slot *s = m->first_line.type == SIP_REQUEST ? find_slot(m) : NULL;

	if (!s)
		return NULL;
	s->used = 1;
	return &s->ctx;
}

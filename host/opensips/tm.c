/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions. */

#include "adapter.h"
#include "../../dlg_handlers.h"

#include "route.h"

/* What we want to hear of a transaction; see adapter_tm_event(). */
enum {
	EVENTS = TMCB_MSG_SENT_OUT | TMCB_RESPONSE_FWDED | TMCB_RESPONSE_PRE_OUT,
	BYE_EVENTS = EVENTS | TMCB_REQUEST_FWDED,
};

struct tm_binds adapter_tm;

static struct cell *cell(struct host_tx *t)
{
	return (struct cell *)t;
}

/* ---- events ---- */

static int is_cancel(const struct tmcb_params *p)
{
	const str *sent = p->extra1;

	return sent && sent->len > 7 && !memcmp(sent->s, "CANCEL ", 7);
}

/* A request left, or a CANCEL tm made of it, or any reply. */
static void on_sent(struct dlg_tx *tx, struct cell *t, struct tmcb_params *p)
{
	if (p->req && !p->rpl && !is_cancel(p))
		dlg_handlers_on_tx_event(tx, DLG_TX_FORWARDED, (struct host_tx *)t,
					 (struct host_msg *)p->req, NULL, 0);
}

/* A reply is about to be relayed. tm tells of 1xx and 2xx again when they are repeated; of negative
 * ones on_ready() knows more. */
static void on_relayed(struct dlg_tx *tx, struct cell *t, struct tmcb_params *p)
{
	struct sip_msg *rpl = p->rpl == FAKED_REPLY ? NULL : p->rpl;
	int code = rpl ? (int)rpl->first_line.u.reply.statuscode : p->code;

	if (code < 300)
		dlg_handlers_on_tx_event(tx, code < 200 ? DLG_TX_PROVISIONAL : DLG_TX_SUCCESS,
					 (struct host_tx *)t, (struct host_msg *)p->req,
					 (struct host_msg *)rpl, code);
}

/* A final reply is about to leave, relayed or made by the proxy. */
static void on_ready(struct dlg_tx *tx, struct cell *t, struct tmcb_params *p)
{
	struct sip_msg *rpl = p->rpl == FAKED_REPLY ? NULL : p->rpl;
	enum dlg_tx_event event = p->code < 300 ? DLG_TX_ANSWERED : DLG_TX_NEGATIVE;

	if (event == DLG_TX_NEGATIVE || !rpl)
		dlg_handlers_on_tx_event(tx, event, (struct host_tx *)t, (struct host_msg *)p->req,
					 (struct host_msg *)rpl, p->code);
}

/* The branch route has not dropped it; whether there is a way to send it comes next. The lock of
 * replies may be held. */
static void on_forwarding(struct dlg_tx *tx, struct cell *t, struct tmcb_params *p)
{
	dlg_handlers_on_tx_event(tx, DLG_TX_TRIED, (struct host_tx *)t, (struct host_msg *)p->req,
				 NULL, 0);
}

void adapter_tm_event(struct cell *t, int type, struct tmcb_params *p)
{
	struct dlg_tx *tx = *p->param;

	if (!tx || !dialog_running()) /* tm frees its last transactions after we have stopped */
		return;
	if (type == TMCB_MSG_SENT_OUT)
		on_sent(tx, t, p);
	else if (type == TMCB_REQUEST_FWDED)
		on_forwarding(tx, t, p);
	else if (type == TMCB_RESPONSE_FWDED)
		on_relayed(tx, t, p);
	else if (type == TMCB_RESPONSE_PRE_OUT)
		on_ready(tx, t, p);
}

void adapter_tm_gone(void *tx)
{
	if (tx && dialog_running())
		dlg_handlers_on_tx_event(tx, DLG_TX_GONE, NULL, NULL, NULL, 0);
}

/* The transaction being made. */
static struct cell *unborn;

static void on_new_cell(struct cell *t, int type, struct tmcb_params *p)
{
	(void)type;
	if (!dialog_running() || !p->req || p->req->first_line.type != SIP_REQUEST)
		return;
	unborn = t;
	dlg_handlers_on_new_tx((struct host_msg *)p->req, (struct host_tx *)t);
	unborn = NULL;
}

int adapter_tm_init(void)
{
	if (load_tm_api(&adapter_tm) < 0) {
		HOST_LOG(HOST_ERROR, "module tm is needed");
		return -1;
	}
	if (adapter_tm.register_tmcb(NULL, NULL, TMCB_REQUEST_IN, on_new_cell, NULL, NULL) <= 0) {
		HOST_LOG(HOST_ERROR, "cannot register for new transactions");
		return -1;
	}
	return 0;
}

int host_tx_attach(struct host_msg *msg, struct host_tx *t, struct dlg_tx *tx)
{
	struct sip_msg *m = (struct sip_msg *)msg;
	int events = m->REQ_METHOD == METHOD_BYE ? BYE_EVENTS : EVENTS;

	if (adapter_tm.register_tmcb(m, cell(t), events, adapter_tm_event, tx, adapter_tm_gone) <= 0)
		return -1;
	if (cell(t) == unborn)
		adapter_slot_note_unborn(unborn, tx);
	return 0;
}

/* ---- finding transactions ---- */

struct host_tx_id host_tx_id(struct host_tx *t)
{
	return (struct host_tx_id){ cell(t)->hash_index, cell(t)->label };
}

int host_tx_own_record_routes(struct host_tx *t)
{
	int branch = cell(t)->relaied_reply_branch;

	if (branch < 0 || branch >= cell(t)->nr_of_outgoings)
		branch = 0;
	return (int)TM_BRANCH(cell(t), branch).added_rr;
}

/* ---- ending an INVITE ---- */

/* tm answers the current transaction, in the way of the route that runs. */
static int answer(struct cell *t, int code, const char *reason)
{
	str text = { (char *)reason, (int)strlen(reason) };

	return adapter_tm.t_reply(t->uas.request, (unsigned)code, &text) > 0 ? 0 : -1;
}

static int refuse_cell(struct cell *t, int code, const char *reason)
{
	if (is_local(t) || !is_invite(t) || !t->uas.request || t->uas.status >= 200)
		return -1;
	/* No branch may be added behind our back, by the script's worker or a failure route. */
	t->flags |= T_WAS_CANCELLED_FLAG;
	return answer(t, code, reason);
}

int host_tx_refuse(struct host_tx_id id, int code, const char *reason)
{
	struct cell *before = adapter_tm.t_gett(), *t;
	int err = -1;

	/* A failure route, a branch route in it, and with onreply_avp_mode a reply route run under the
	 * lock of their transaction that an answer needs: it cannot be taken twice. */
	if (!is_route_type(REQUEST_ROUTE))
		return 1;
	/* Finding takes a reference. */
	if (adapter_tm.t_lookup_ident(&t, id.a, id.b) > 0) {
		adapter_tm.t_sett(t);
		err = refuse_cell(t, code, reason);
		adapter_tm.unref_cell(t);
	}
	adapter_tm.t_sett(before);
	return err;
}

/* ---- requests of our own ---- */

static void on_answer(struct cell *t, int type, struct tmcb_params *p)
{
	struct adapter_sent *s = *p->param;

	(void)t;
	(void)type;
	if (s && dialog_running())
		adapter_sent_done(s, p->code);
}

static void on_answer_gone(void *s)
{
	if (s && dialog_running())
		adapter_sent_gone(s);
}

int adapter_tm_request(dlg_t *d, str *method, str *headers, struct adapter_sent *s)
{
	return adapter_tm.t_request_within(method, headers, NULL, d, on_answer, s,
					   on_answer_gone) == 1 ? 0 : -1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions. */

#include "adapter.h"
#include "../../dlg_handlers.h"

#include "core/route.h"
#include "modules/tm/t_reply.h"

/* What we want to hear of a transaction; see adapter_tm_event(). With REQUEST_FWDED tm copies the
 * request's addresses for every branch, so only a BYE asks for it. */
enum {
	EVENTS = TMCB_REQUEST_OUT | TMCB_RESPONSE_READY | TMCB_DESTROY,
	BYE_EVENTS = EVENTS | TMCB_REQUEST_FWDED,
};

struct tm_binds adapter_tm;
tm_xapi_t adapter_tmx;

static struct cell *cell(struct host_tx *t)
{
	return (struct cell *)t;
}

/* ---- events ---- */

/* Any reply is about to leave, 2xx again when they are repeated; with reply_relay_mode 0 tm tells of
 * one of the copies alone, and another may leave before. The code tm passes along is the latest one
 * of the transaction, not always that of this reply, so the reply itself is asked where there is
 * one. Of its own tm tells of final ones only. */
static void on_ready(struct dlg_tx *tx, struct cell *t, struct tmcb_params *p)
{
	struct sip_msg *rpl = p->rpl == FAKED_REPLY ? NULL : p->rpl;
	int code = rpl ? (int)rpl->first_line.u.reply.statuscode : p->code;
	enum dlg_tx_event event = DLG_TX_NEGATIVE;

	if (code < 300 && !rpl)
		event = DLG_TX_ANSWERED;
	else if (code < 300)
		event = code < 200 ? DLG_TX_PROVISIONAL : DLG_TX_SUCCESS;
	dlg_handlers_on_tx_event(tx, event, (struct host_tx *)t, (struct host_msg *)p->req,
				 (struct host_msg *)rpl, code);
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
	if (type == TMCB_REQUEST_OUT && !(p->flags & TMCB_LOCAL_F)) { /* local: a CANCEL */
		dlg_handlers_on_tx_event(tx, DLG_TX_FORWARDED, (struct host_tx *)t,
					 (struct host_msg *)p->req, NULL, 0);
	} else if (type == TMCB_REQUEST_FWDED) {
		on_forwarding(tx, t, p);
	} else if (type == TMCB_RESPONSE_READY) {
		on_ready(tx, t, p);
	} else if (type == TMCB_DESTROY) {
		*p->param = NULL;
		dlg_handlers_on_tx_event(tx, DLG_TX_GONE, NULL, NULL, NULL, 0);
	}
}

/* The transaction being made. It is linked into tm's table later, but the lock of the table's entry
 * is held, so its name is known already. */
static struct {
	const struct cell *t;
	struct host_tx_id id;
} unborn;

static void note_unborn(const struct cell *t, const struct sip_msg *req)
{
	unborn.t = t;
	unborn.id.a = req->hash_index;
	unborn.id.b = adapter_tm.get_table()->entries[req->hash_index].next_label;
}

static void on_new_cell(struct cell *t, int type, struct tmcb_params *p)
{
	(void)type;
	if (!dialog_running() || !p->req || p->req->first_line.type != SIP_REQUEST)
		return;
	note_unborn(t, p->req);
	dlg_handlers_on_new_tx((struct host_msg *)p->req, (struct host_tx *)t);
	unborn.t = NULL;
}

int adapter_tm_init(void)
{
	if (load_tm_api(&adapter_tm) < 0 || tm_load_xapi(&adapter_tmx) < 0) {
		HOST_LOG(HOST_ERROR, "module tm is needed: load it before dialog");
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

	return adapter_tm.register_tmcb(m, cell(t), events, adapter_tm_event, tx, NULL) > 0 ? 0 : -1;
}

/* ---- finding transactions ---- */

struct host_tx_id host_tx_id(struct host_tx *t)
{
	if (cell(t) == unborn.t)
		return unborn.id;
	return (struct host_tx_id){ cell(t)->hash_index, cell(t)->label };
}

int host_tx_own_record_routes(struct host_tx *t)
{
	int branch = adapter_tm.t_gett_branch();
	unsigned flags;

	if (branch < 0 || branch >= cell(t)->nr_of_outgoings)
		branch = 0;
	flags = cell(t)->uac[branch].flags;
	if (!(flags & TM_UAC_FLAG_RR))
		return 0;
	return flags & TM_UAC_FLAG_R2 ? 2 : 1;
}

/* A request goes on after it was suspended: tm runs it as a failure route, on a copy. */
int adapter_tm_resumed(void)
{
	struct cell *t = adapter_tm_current();

	return t && (t->flags & T_ASYNC_CONTINUE) && t->async_backup.backup_route == REQUEST_ROUTE;
}

/* ---- ending an INVITE ---- */

static int refuse_cell(struct cell *t, int code, const char *reason)
{
	if (is_local(t) || !is_invite(t) || !t->uas.request || t->uas.status >= 200)
		return -1;
	/* No branch may be added behind our back, by the script's worker or a failure route. */
	t->flags |= T_CANCELED;
	if (adapter_tm.t_reply_trans(t, t->uas.request, (unsigned)code, (char *)reason) <= 0)
		return -1;
	return 0;
}

int host_tx_refuse(struct host_tx_id id, int code, const char *reason)
{
	struct cell *before = adapter_tm.t_gett(), *t;
	int branch = adapter_tm.t_gett_branch(), err = -1;

	/* Finding makes it the current one and takes a reference. */
	if (adapter_tm.t_lookup_ident(&t, id.a, id.b) > 0) {
		err = refuse_cell(t, code, reason);
		adapter_tm.unref_cell(t);
	}
	adapter_tm.t_sett(before, branch);
	return err;
}

/* ---- requests of our own ---- */

/* tm may report a final reply several times and at once in several processes, or (the request was
 * dropped at the last moment) only that the transaction is gone. */
static void on_answer(struct cell *t, int type, struct tmcb_params *p)
{
	struct adapter_sent *s = *p->param;

	(void)t;
	if (!s || !dialog_running())
		return;
	if (type != TMCB_DESTROY) {
		adapter_sent_done(s, p->code);
		return;
	}
	*p->param = NULL;
	adapter_sent_gone(s);
}

/* Dropped by event_route[tm:local-request] it is not sent either, and tm tells nothing any more. */
int adapter_tm_request(dlg_t *d, str *method, str *headers, struct adapter_sent *s)
{
	uac_req_t uac;

	set_uac_req(&uac, method, headers, NULL, d, TMCB_LOCAL_COMPLETED | TMCB_DESTROY, on_answer,
		    s);
	return adapter_tm.t_request_within(&uac) > 0 ? 0 : -1;
}

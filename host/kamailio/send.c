/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of our own, and Record-Route. */

#include "adapter.h"
#include "../../dlg_handlers.h"
#include "../../dlg_req_within.h"
#include "../../dlg_route.h"

#include "core/mem/shm_mem.h"
#include "core/parser/parse_rr.h"
#include "core/parser/parse_uri.h"
#include "modules/tm/t_reply.h"

struct rr_binds adapter_rr;

/* ---- Record-Route ---- */

static void on_route(struct sip_msg *msg, str *params, void *arg)
{
	(void)params;
	(void)arg;
	if (dialog_running() && msg->first_line.type == SIP_REQUEST)
		dlg_handlers_on_route((struct host_msg *)msg);
}

int adapter_rr_init(void)
{
	if (load_rr_api(&adapter_rr) < 0) {
		HOST_LOG(HOST_ERROR, "module rr is needed: load it before dialog");
		return -1;
	}
	if (adapter_rr.register_rrcb(on_route, NULL) < 0) {
		HOST_LOG(HOST_ERROR, "cannot register for requests with a Route of ours");
		return -1;
	}
	return 0;
}

int host_rr_add(struct host_msg *msg, struct dlg_str param)
{
	str s = adapter_str(param);

	return adapter_rr.add_rr_param((struct sip_msg *)msg, &s) < 0 ? -1 : 0;
}

int host_rr_get(struct host_msg *msg, struct dlg_str name, struct dlg_str *value)
{
	str n = adapter_str(name), v = { NULL, 0 };

	if (adapter_rr.get_route_param((struct sip_msg *)msg, &n, &v) != 0)
		return -1;
	*value = adapter_view(v);
	return 0;
}

/* ---- requests ---- */

/* One request on its way; shared memory, freed with its transaction. */
struct sent {
	void *token;
	int done;
};

/* tm may report a final reply several times and at once in several processes, or (the request was
 * dropped at the last moment) only that the transaction is gone. */
static void on_answer(struct cell *t, int type, struct tmcb_params *p)
{
	struct sent *s = *p->param;

	(void)t;
	if (!s || !dialog_running())
		return;
	if (!__atomic_exchange_n(&s->done, 1, __ATOMIC_ACQ_REL))
		dlg_req_within_done(s->token, type == TMCB_DESTROY ? 408 : p->code);
	if (type == TMCB_DESTROY) {
		*p->param = NULL;
		shm_free(s);
	}
}

/* A request as tm wants it. */
struct outgoing {
	dlg_t dialog;
	struct dlg_buf headers;
};

/* tm counts the CSeq up before use. */
static void fill_dialog(dlg_t *d, const struct host_request *req)
{
	d->id.call_id = adapter_str(req->call_id);
	d->id.loc_tag = adapter_str(req->from_tag);
	d->id.rem_tag = adapter_str(req->to_tag);
	d->loc_uri = adapter_str(req->from_uri);
	d->rem_uri = adapter_str(req->to_uri);
	d->rem_target = adapter_str(req->remote_target);
	d->loc_seq.value = req->cseq - 1;
	d->loc_seq.is_set = 1;
	d->state = DLG_CONFIRMED;
	d->send_sock = (struct socket_info *)req->sock;
}

static int is_loose(struct dlg_str uri)
{
	struct sip_uri u;
	str s = adapter_str(uri);

	return s.len && parse_uri(s.s, s.len, &u) == 0 && u.lr.s;
}

/* RFC 3261 12.2.1.1. Behind a loose router tm does it all. A strict router becomes the Request-URI,
 * and the remote target the last Route; this tm can do, too, but it miscounts and sends zero bytes
 * behind the message. */
static int fill_routes(struct outgoing *o, const struct host_request *req)
{
	struct dlg_str rest = req->route_set, first;
	str routes = adapter_str(req->route_set);

	if (dlg_route_next(&rest, &first) < 0)
		return 0;
	if (is_loose(dlg_route_uri(first)))
		return parse_rr_body(routes.s, routes.len, &o->dialog.route_set);
	o->dialog.rem_target = adapter_str(dlg_route_uri(first));
	dlg_buf_printf(&o->headers, "Route: %.*s%s<%.*s>\r\n", DLG_STR_ARG(rest),
		       rest.len ? "," : "", DLG_STR_ARG(req->remote_target));
	return o->dialog.rem_target.len ? 0 : -1;
}

/* 0, or -1 when it was not sent or dropped by event_route[tm:local-request]: then tm tells nothing
 * any more. */
static int hand_to_tm(struct outgoing *o, struct dlg_str name, struct sent *s)
{
	str method = adapter_str(name), headers = adapter_str(dlg_buf_view(&o->headers));
	uac_req_t uac;
	int sent;

	set_uac_req(&uac, &method, headers.len ? &headers : NULL, NULL, &o->dialog,
		    TMCB_LOCAL_COMPLETED | TMCB_DESTROY, on_answer, s);
	adapter_sending++;
	sent = adapter_tm.t_request_within(&uac);
	adapter_sending--;
	return sent > 0 ? 0 : -1;
}

static int send_filled(struct outgoing *o, struct dlg_str method, void *token)
{
	struct sent *s = shm_malloc(sizeof(*s));
	int err;

	if (!s)
		return -1;
	*s = (struct sent){ .token = token };
	err = hand_to_tm(o, method, s);
	if (err)
		shm_free(s);
	return err;
}

int host_send_within(const struct host_request *req, void *token)
{
	struct outgoing o;
	int err;

	memset(&o, 0, sizeof(o));
	fill_dialog(&o.dialog, req);
	err = fill_routes(&o, req);
	dlg_buf_add(&o.headers, req->headers);
	if (o.headers.failed)
		err = -1;
	if (!err)
		err = send_filled(&o, req->method, token);
	if (o.dialog.route_set)
		free_rr(&o.dialog.route_set);
	dlg_buf_free(&o.headers);
	return err;
}

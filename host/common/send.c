/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of our own, as tm wants them. */

#include "adapter.h"
#include "../../dlg_req_within.h"
#include "../../dlg_route.h"

#include <stdio.h>

/* Shared memory, freed with its transaction. */
struct adapter_sent {
	void *token;
	int done;
};

void adapter_sent_done(struct adapter_sent *s, int code)
{
	if (!__atomic_exchange_n(&s->done, 1, __ATOMIC_ACQ_REL))
		dlg_req_within_done(s->token, code);
}

/* Without a final status it was dropped at the last moment. */
void adapter_sent_gone(struct adapter_sent *s)
{
	adapter_sent_done(s, 408);
	host_shm_free(s);
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

static int hand_over(struct outgoing *o, struct dlg_str name, void *token)
{
	struct adapter_sent *s = host_shm_alloc(sizeof(*s));
	str method = adapter_str(name), headers = adapter_str(dlg_buf_view(&o->headers));
	int err;

	if (!s)
		return -1;
	*s = (struct adapter_sent){ .token = token };
	adapter_sending++;
	err = adapter_tm_request(&o->dialog, &method, headers.len ? &headers : NULL, s);
	adapter_sending--;
	if (err)
		host_shm_free(s);
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
		err = hand_over(&o, req->method, token);
	if (o.dialog.route_set)
		free_rr(&o.dialog.route_set);
	dlg_buf_free(&o.headers);
	return err;
}

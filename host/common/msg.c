/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading messages.
 *
 * tm hands out requests and stored replies that live in shared memory. The hosts' parsers hang what
 * they find into the message, and private memory must never hang in a shared one: such messages are
 * read through what was parsed before they were copied, and through parsers of raw text. */

#include "adapter.h"
#include "../../dlg_header.h"
#include "../../dlg_route.h"

static struct sip_msg *sip(struct host_msg *msg)
{
	return (struct sip_msg *)msg;
}

static int is_shared(const struct sip_msg *m)
{
	return (m->msg_flags & FL_SHM_CLONE) != 0;
}

/* The headers that tell one call from another are known. 0 or -1. */
static int parse_some(struct sip_msg *m)
{
	if (!is_shared(m) && !(m->callid && m->from && m->to && m->cseq) &&
	    parse_headers(m, HDR_CALLID_F | HDR_FROM_F | HDR_TO_F | HDR_CSEQ_F, 0) < 0)
		return -1;
	return m->callid && m->from && m->to && m->cseq ? 0 : -1;
}

static enum host_method method_of(unsigned value)
{
	switch (value) {
	case METHOD_INVITE:
		return HOST_INVITE;
	case METHOD_ACK:
		return HOST_ACK;
	case METHOD_BYE:
		return HOST_BYE;
	case METHOD_CANCEL:
		return HOST_CANCEL;
	case METHOD_UPDATE:
		return HOST_UPDATE;
	case METHOD_PRACK:
		return HOST_PRACK;
	default:
		return HOST_OTHER;
	}
}

/* The hosts' own parsers of From keep what they find; and To must be read by the same rules as
 * From. */
static int read_parties(const struct sip_msg *m, struct host_info *out)
{
	struct dlg_str from = adapter_view(m->from->body), to = adapter_view(m->to->body);

	out->from_tag = dlg_route_tag(from);
	out->to_tag = dlg_route_tag(to);
	if (out->to_tag.len)
		return 0;
	out->from_uri = dlg_route_uri(from);
	out->to_uri = dlg_route_uri(to);
	return out->from_uri.len && out->to_uri.len ? 0 : -1;
}

static int read_cseq(struct sip_msg *m, struct host_info *out)
{
	/* Parsed by the core for every message, before any copy. */
	struct cseq_body *cseq = m->cseq->parsed;
	uint64_t number;

	if (!cseq || cseq->error != PARSE_OK ||
	    dlg_str_to_u64(adapter_view(cseq->number), UINT32_MAX, &number) < 0)
		return -1;
	out->cseq = (uint32_t)number;
	out->method = method_of(cseq->method_id);
	return 0;
}

int host_msg_info(struct host_msg *msg, struct host_info *out)
{
	struct sip_msg *m = sip(msg);

	memset(out, 0, sizeof(*out));
	if (parse_some(m) < 0 || read_cseq(m, out) < 0 || read_parties(m, out) < 0)
		return -1;
	out->call_id = dlg_str_trim(adapter_view(m->callid->body));
	out->is_request = m->first_line.type == SIP_REQUEST;
	if (out->is_request) {
		out->method = method_of(m->first_line.u.request.method_value);
		out->ruri = adapter_view(m->first_line.u.request.uri);
	} else {
		out->code = (int)m->first_line.u.reply.statuscode;
	}
	if (m->via1 && m->via1->branch)
		out->via_branch = adapter_view(m->via1->branch->value);
	return out->call_id.len ? 0 : -1;
}

struct dlg_str host_msg_to_tag(struct host_msg *msg)
{
	struct sip_msg *m = sip(msg);

	if (!is_shared(m) && !m->to && parse_headers(m, HDR_TO_F, 0) < 0)
		return DLG_STR_NONE;
	return m->to ? dlg_route_tag(adapter_view(m->to->body)) : DLG_STR_NONE;
}

/* ---- headers with routes and contacts ---- */

/* What the host has parsed, then the text it has not come to. Its parser would take that apart
 * further than we need; and with a copy in shared memory there is none. */
static void walk_begin(const struct sip_msg *m, struct host_walk *w)
{
	w->begun = 1;
	w->at = m->headers;
	if (!is_shared(m) && m->unparsed >= m->buf && m->unparsed < m->buf + m->len)
		w->rest = (struct dlg_str){ m->unparsed, (size_t)(m->buf + m->len - m->unparsed) };
}

static const struct kind {
	hdr_types_t type;
	struct dlg_str name;
	char compact;
} record_route = { HDR_RECORDROUTE_T, { "Record-Route", 12 }, '\0' },
  route = { HDR_ROUTE_T, { "Route", 5 }, '\0' },
  contact = { HDR_CONTACT_T, { "Contact", 7 }, 'm' };

static void pass_contact(struct host_walk *w, struct dlg_str body)
{
	w->contacts++;
	w->contact = body;
}

/* Among those the host has parsed. 0, or -1 when there is no more. */
static int next_parsed(struct host_walk *w, const struct kind *kind, struct dlg_str *body)
{
	const struct hdr_field *hdr;

	while ((hdr = w->at)) {
		w->at = hdr->next;
		*body = adapter_view(hdr->body);
		if (hdr->type == kind->type)
			return 0;
		if (hdr->type == contact.type)
			pass_contact(w, *body);
	}
	return -1;
}

static int next_unparsed(struct host_walk *w, const struct kind *kind, struct dlg_str *body)
{
	struct dlg_str name;

	while (dlg_header_next(&w->rest, &name, body) == 0) {
		if (dlg_header_is(name, kind->name, kind->compact))
			return 0;
		if (dlg_header_is(name, contact.name, contact.compact))
			pass_contact(w, *body);
	}
	return -1;
}

int host_msg_header(struct host_msg *msg, enum host_header name, struct host_walk *walk,
		    struct dlg_str *body)
{
	const struct kind *kind = name == HOST_ROUTE ? &route : &record_route;

	if (!walk->begun)
		walk_begin(sip(msg), walk);
	if (next_parsed(walk, kind, body) < 0 && next_unparsed(walk, kind, body) < 0)
		return -1;
	*body = dlg_str_trim(*body);
	return 0;
}

/* The URI that a module has written over the one in the Contact, and that the other side gets:
 * nathelper leaves it in what was parsed. Empty when the Contact stands as it came. */
static struct dlg_str repaired_contact(const struct sip_msg *m)
{
	const contact_body_t *body = is_shared(m) || !m->contact ? NULL : m->contact->parsed;
	const contact_t *c = body ? body->contacts : NULL;

	if (!c || (c->uri.s >= m->buf && c->uri.s < m->buf + m->len))
		return DLG_STR_NONE;
	return dlg_route_clean(adapter_view(c->uri));
}

struct dlg_str host_msg_contact(struct host_msg *msg, struct host_walk *walk)
{
	struct dlg_str list, more, entry, uri;

	while (host_msg_header(msg, HOST_RECORD_ROUTE, walk, &list) == 0)
		;
	list = walk->contact;
	if (walk->contacts != 1 || dlg_route_next(&list, &entry) < 0 ||
	    dlg_route_next(&list, &more) == 0)
		return DLG_STR_NONE;
	uri = repaired_contact(sip(msg));
	if (!uri.len)
		uri = dlg_route_uri(entry);
	return dlg_str_eq(uri, DLG_STR("*")) ? DLG_STR_NONE : uri;
}

/* ---- whose Route is it ---- */

/* Nonzero when the URI names this proxy, by the rule rr uses. *second: it is one of a pair (double
 * record-routing). */
static int is_own(struct dlg_str uri, int *second)
{
	struct sip_uri u;
	str s = adapter_str(uri);

	*second = 0;
	if (!s.len || parse_uri(s.s, s.len, &u) < 0 || !u.host.len)
		return 0;
	*second = u.r2.len > 0 && u.r2_val.len == 2 && !strncmp(u.r2_val.s, "on", 2);
	return adapter_is_self(&u) && !u.gr.s;
}

/* URI of the n-th Route entry (n 0 or 1) of a message. */
static struct dlg_str route_uri(struct host_msg *msg, int n)
{
	struct host_walk walk = { 0 };
	struct dlg_str list, entry;

	while (host_msg_header(msg, HOST_ROUTE, &walk, &list) == 0)
		while (dlg_route_next(&list, &entry) == 0)
			if (n-- == 0)
				return dlg_route_uri(entry);
	return DLG_STR_NONE;
}

int host_msg_own_routes(struct host_msg *msg)
{
	struct sip_msg *m = sip(msg);
	struct dlg_str top = route_uri(msg, 0);
	int double_top, double_next;

	if (!top.len)
		return 0;
	if (is_own(top, &double_top))
		return double_top && is_own(route_uri(msg, 1), &double_next) && double_next ? 2 : 1;
	return is_own(adapter_view(m->first_line.u.request.uri), &double_top) ? -1 : 0;
}

/* ---- the rest ---- */

const struct host_sock *host_msg_sock(struct host_msg *msg)
{
	return (const struct host_sock *)sip(msg)->rcv.bind_address;
}

struct dlg_str host_sock_text(const struct host_sock *sock)
{
	return sock ? adapter_view(((const struct socket_info *)sock)->sock_str) : DLG_STR_NONE;
}

const struct host_sock *host_sock_find(struct dlg_str text)
{
	str s = adapter_str(text);

	return s.len ? (const struct host_sock *)adapter_socket_find(&s) : NULL;
}

int host_msg_flag(struct host_msg *msg, int bit)
{
	return bit >= 0 && bit < 32 && (sip(msg)->flags & (1u << bit));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading messages.
 *
 * tm hands out requests and stored replies that live in shared memory. The hosts' parsers hang what
 * they find into the message, and private memory must never hang in a shared one: such messages are
 * read through what was parsed before they were copied, and through parsers of raw text. */

#include "adapter.h"
#include "../../dlg_route.h"

static struct sip_msg *sip(struct host_msg *msg)
{
	return (struct sip_msg *)msg;
}

static int is_shared(const struct sip_msg *m)
{
	return (m->msg_flags & FL_SHM_CLONE) != 0;
}

/* All headers are known. 0 or -1. */
static int parse_all(struct sip_msg *m)
{
	if (!is_shared(m) && parse_headers(m, HDR_EOH_F, 0) < 0)
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

/* URI and tag of a From or To header, without touching the message. */
static int read_party(const struct hdr_field *hdr, struct dlg_str *uri, struct dlg_str *tag)
{
	struct to_body party = { .error = PARSE_ERROR };

	/* The parser looks for the line end behind the body. */
	parse_to(hdr->body.s, hdr->body.s + hdr->body.len + 1, &party);
	free_to_params(&party);
	*uri = adapter_view(party.uri);
	*tag = adapter_view(party.tag_value);
	return party.error == PARSE_OK && uri->len ? 0 : -1;
}

static int read_parsed(const struct to_body *party, struct dlg_str *uri, struct dlg_str *tag)
{
	*uri = adapter_view(party->uri);
	*tag = adapter_view(party->tag_value);
	return party->error == PARSE_OK && uri->len ? 0 : -1;
}

static int read_parties(struct sip_msg *m, struct host_info *out)
{
	if (is_shared(m)) {
		if (read_party(m->from, &out->from_uri, &out->from_tag) < 0)
			return -1;
		return read_party(m->to, &out->to_uri, &out->to_tag);
	}
	if (parse_from_header(m) < 0 || !m->to->parsed ||
	    read_parsed(get_from(m), &out->from_uri, &out->from_tag) < 0)
		return -1;
	return read_parsed(get_to(m), &out->to_uri, &out->to_tag);
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
	if (parse_all(m) < 0 || read_cseq(m, out) < 0 || read_parties(m, out) < 0)
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

/* The i-th header of a type, or NULL. */
static struct hdr_field *find_header(struct sip_msg *m, hdr_types_t type, int i)
{
	struct hdr_field *hdr = m->headers;

	for (; hdr; hdr = hdr->next)
		if (hdr->type == type && i-- == 0)
			return hdr;
	return NULL;
}

struct dlg_str host_msg_contact(struct host_msg *msg)
{
	struct hdr_field *hdr;
	struct dlg_str list, entry, uri;

	if (parse_all(sip(msg)) < 0)
		return DLG_STR_NONE;
	hdr = find_header(sip(msg), HDR_CONTACT_T, 0);
	if (!hdr || find_header(sip(msg), HDR_CONTACT_T, 1))
		return DLG_STR_NONE;
	list = adapter_view(hdr->body);
	if (dlg_route_count(list) != 1 || dlg_route_next(&list, &entry) < 0)
		return DLG_STR_NONE;
	uri = dlg_route_uri(entry);
	return dlg_str_eq(uri, DLG_STR("*")) ? DLG_STR_NONE : uri;
}

int host_msg_header(struct host_msg *msg, enum host_header name, int i, struct dlg_str *body)
{
	struct hdr_field *hdr;

	if (parse_all(sip(msg)) < 0)
		return -1;
	hdr = find_header(sip(msg), name == HOST_ROUTE ? HDR_ROUTE_T : HDR_RECORDROUTE_T, i);
	if (!hdr)
		return -1;
	*body = dlg_str_trim(adapter_view(hdr->body));
	return 0;
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
	struct dlg_str list, entry;

	for (int i = 0; host_msg_header(msg, HOST_ROUTE, i, &list) == 0; i++)
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

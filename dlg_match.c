/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_match.h"

#include "dialog.h"
#include "dlg_cookie.h"
#include "dlg_route.h"

int dlg_match_is_initial(const struct host_info *info)
{
	return info->is_request && info->method == HOST_INVITE && !info->to_tag.len;
}

/* ---- routes of a message ---- */

/* All entries of a header, joined in message order. */
void dlg_match_collect_routes(struct host_msg *msg, enum host_header name, struct host_walk *walk,
			      struct dlg_buf *out)
{
	struct dlg_str body;

	while (host_msg_header(msg, name, walk, &body) == 0) {
		struct dlg_str entry;

		while (dlg_route_next(&body, &entry) == 0) {
			if (out->len)
				dlg_buf_add(out, DLG_STR(","));
			dlg_buf_add(out, entry);
		}
	}
}

unsigned dlg_match_count_routes(struct host_msg *msg, enum host_header name,
				struct host_walk *walk)
{
	struct dlg_str body;
	unsigned n = 0;

	while (host_msg_header(msg, name, walk, &body) == 0)
		n += dlg_route_count(body);
	return n;
}

/* ---- finding the dialog ---- */

/* How well a dialog must fit when several have the same Call-ID and tags (spirals, new calls
 * after old ones). */
enum fit { FIT_EXACT, FIT_LIVE, FIT_ANY };

struct search {
	const struct host_info *info;
	enum fit fit;
	int by_id;
	uint32_t h_entry, h_id; /* with by_id */
	unsigned routes_left; /* Route entries of the request beyond ours */
	enum dlg_dir dir;     /* found */
	struct dlg_leg *leg;  /* found */
};

/* Which way does the request go, by its tags (RFC 3261 12.2.2)? Entry lock held. */
static int match_tags(const struct dlg_cell *dlg, struct search *s)
{
	struct dlg_str caller = dlg_hash_text(dlg, DLG_FROM_TAG);
	int lost = dlg->flags & DLG_F_LEG_LOST;

	if (dlg_str_eq(s->info->from_tag, caller)) {
		s->dir = DLG_DIR_DOWNSTREAM;
		s->leg = dlg_hash_leg_locked(dlg, s->info->to_tag);
		if (s->leg || lost)
			return 1;
	}
	if (dlg_str_eq(s->info->to_tag, caller)) {
		s->dir = DLG_DIR_UPSTREAM;
		s->leg = dlg_hash_leg_locked(dlg, s->info->from_tag);
		return s->leg || lost;
	}
	return 0;
}

static struct dlg_str leg_routes(const struct dlg_leg *leg)
{
	return (struct dlg_str){ leg->route_set, leg->route_set_len };
}

static unsigned expected_routes(const struct dlg_cell *dlg, const struct search *s)
{
	if (s->dir == DLG_DIR_UPSTREAM)
		return dlg_route_count(dlg_hash_text(dlg, DLG_CALLER_ROUTES));
	return s->leg ? dlg_route_count(leg_routes(s->leg)) : 0;
}

static int fits(const struct dlg_cell *dlg, void *arg)
{
	struct search *s = arg;

	if (s->by_id)
		return dlg->h_id == s->h_id && dlg->h_entry == s->h_entry && match_tags(dlg, s);
	if (s->fit != FIT_ANY && dlg->state == DLG_STATE_DELETED)
		return 0;
	return match_tags(dlg, s) &&
	       (s->fit != FIT_EXACT || expected_routes(dlg, s) == s->routes_left);
}

static struct dlg_cell *find_by_cookie(struct search *s, struct dlg_str cookie)
{
	struct dlg_cell *dlg = NULL;

	s->by_id = 1;
	if (dlg_cookie_parse(cookie, &s->h_entry, &s->h_id) == 0)
		dlg = dlg_hash_find(s->info->call_id, fits, s, DLG_BY_MESSAGE);
	s->by_id = 0;
	if (!dlg) {
		dlg_state_count(&dlg_state_counters()->forged);
		HOST_LOG(HOST_INFO,
			 "cookie \"%.*s\" is not one of the call %.*s, tags %.*s and %.*s",
			 DLG_STR_ARG(cookie), DLG_STR_ARG(s->info->call_id),
			 DLG_STR_ARG(s->info->from_tag), DLG_STR_ARG(s->info->to_tag));
	}
	return dlg;
}

/* The Route entries of a request that are not ours; *target: the remote target, if it is not in
 * the Request-URI. */
static void other_routes(struct host_msg *msg, struct dlg_buf *routes, struct dlg_buf *target)
{
	struct host_walk walk = { 0 };
	struct dlg_buf all = { 0 };
	int own = host_msg_own_routes(msg);
	unsigned n;

	dlg_match_collect_routes(msg, HOST_ROUTE, &walk, &all);
	n = dlg_route_count(dlg_buf_view(&all));
	if (own < 0) /* a strict router before us: the target is the last entry (RFC 3261 16.4) */
		dlg_buf_add(target, dlg_route_last_uri(dlg_buf_view(&all)));
	dlg_route_slice(routes, dlg_buf_view(&all), own < 0 ? 0 : (unsigned)own,
			own < 0 && n ? n - 1 : n, 0);
	routes->failed |= all.failed;
	dlg_buf_free(&all);
}

static unsigned count_other_routes(struct host_msg *msg)
{
	struct dlg_buf routes = { 0 }, target = { 0 };
	unsigned n;

	other_routes(msg, &routes, &target);
	n = dlg_route_count(dlg_buf_view(&routes));
	dlg_buf_free(&routes);
	dlg_buf_free(&target);
	return n;
}

static struct dlg_cell *find_by_elements(struct host_msg *msg, struct search *s)
{
	struct dlg_cell *dlg = NULL;

	s->routes_left = count_other_routes(msg);
	for (int fit = FIT_EXACT; !dlg && fit <= FIT_ANY; fit++) {
		s->fit = (enum fit)fit;
		dlg = dlg_hash_find(s->info->call_id, fits, s, DLG_BY_MESSAGE);
	}
	return dlg;
}

/* Whose ACK may this be that came before we were told of the answer, and so of its leg? */
static int is_acknowledged(const struct dlg_cell *dlg, void *arg)
{
	const struct search *s = arg;

	return dlg->state < DLG_STATE_CONFIRMED_NA && !(dlg->flags & DLG_F_ACK_CAME) &&
	       dlg->invite_cseq == s->info->cseq &&
	       dlg_str_eq(dlg_hash_text(dlg, DLG_FROM_TAG), s->info->from_tag);
}

static void make_current(struct dlg_ctx *ctx, struct dlg_cell *dlg, const struct search *s)
{
	dlg_hash_put(ctx->dlg, DLG_BY_MESSAGE);
	*ctx = (struct dlg_ctx){ .dlg = dlg, .leg = s->leg, .dir = (uint8_t)s->dir, .searched = 1,
				 .method = (uint8_t)s->info->method, .cseq = s->info->cseq };
}

/* May this request belong to a dialog that exists? An INVITE without To tag starts one; a CANCEL
 * belongs to its INVITE. */
static int is_sequential(const struct host_info *info)
{
	return info->is_request && info->method != HOST_CANCEL && !dlg_match_is_initial(info);
}

/* Match by cookie, if given, then by SIP elements, as the mode allows (manual 1.5.10). */
void dlg_match_request(struct host_msg *msg, struct dlg_ctx *ctx, const struct dlg_str *cookie)
{
	struct host_info info;
	struct search s = { .info = &info };
	struct dlg_cell *dlg = NULL;

	ctx->searched = 1;
	if (host_msg_info(msg, &info) < 0 || !is_sequential(&info))
		return;
	if (cookie)
		dlg = find_by_cookie(&s, *cookie);
	if (!dlg && dialog_conf.dlg_match_mode != DIALOG_DID_ONLY)
		dlg = find_by_elements(msg, &s);
	if (dlg)
		make_current(ctx, dlg, &s);
}

struct dlg_cell *dlg_match_stray_ack(struct host_msg *msg, const struct dlg_ctx *ctx,
				     struct dlg_leg **leg)
{
	struct host_info info;
	struct search s = { .info = &info };
	struct dlg_cell *dlg;

	if (ctx->dlg || ctx->attached || host_msg_info(msg, &info) < 0 || info.method != HOST_ACK)
		return NULL;
	dlg = find_by_elements(msg, &s);
	*leg = dlg ? s.leg : NULL;
	if (!dlg)
		return dlg_hash_find(info.call_id, is_acknowledged, &s, DLG_BY_MESSAGE);
	if (s.dir == DLG_DIR_DOWNSTREAM)
		return dlg;
	dlg_hash_put(dlg, DLG_BY_MESSAGE);
	return NULL;
}

void dlg_match_without_route(struct host_msg *msg, struct dlg_ctx *ctx)
{
	if (!ctx->searched && dialog_conf.dlg_match_mode != DIALOG_DID_ONLY)
		dlg_match_request(msg, ctx, NULL);
}

/* ---- validate_dialog() ---- */

/* What a request claims. */
struct claim {
	struct dlg_ctx *ctx;
	struct dlg_str target;
	struct dlg_buf routes;
};

/* Nonzero when its INVITE, newer than what we know, may have been on its way when the proxy died,
 * before that was saved. */
static int is_acks_invite_lost(const struct dlg_ctx *ctx)
{
	return ctx->dlg->flags & DLG_F_RESTORED && ctx->cseq != ctx->leg->invite_cseq[ctx->dir];
}

/* It was lost before it came here, and a re-INVITE was quicker than its repetition: that of the 2xx
 * brings it each time (RFC 3261 13.2.2.4). */
static int is_first_ack_locked(const struct dlg_ctx *ctx, const struct dlg_leg *leg)
{
	return ctx->dir == DLG_DIR_DOWNSTREAM && !leg->acked && ctx->cseq == ctx->dlg->invite_cseq;
}

static int cseq_ok_locked(const struct claim *c)
{
	const struct dlg_leg *leg = c->ctx->leg;
	int dir = c->ctx->dir;

	if (c->ctx->cseq > INT32_MAX) /* RFC 3261 8.1.1.5 */
		return 0;
	if (!leg || !(leg->seen & 1 << dir))
		return 1;
	if (c->ctx->method == HOST_ACK && !is_acks_invite_lost(c->ctx))
		return c->ctx->cseq == leg->invite_cseq[dir] || /* RFC 3261 17.1.1.3 */
		       is_first_ack_locked(c->ctx, leg);
	return c->ctx->cseq > leg->cseq[dir];
}

static int is_routing_lost(const struct claim *c)
{
	return c->ctx->dlg->flags & DLG_F_ROUTING_LOST;
}

static int target_ok_locked(const struct claim *c)
{
	const struct dlg_cell *dlg = c->ctx->dlg;
	const struct dlg_leg *leg = c->ctx->leg;
	struct dlg_str known = { dlg->caller_contact, dlg->caller_contact_len };

	if (is_routing_lost(c))
		return 1;
	if (c->ctx->dir == DLG_DIR_DOWNSTREAM)
		known = leg ? (struct dlg_str){ leg->contact, leg->contact_len } : DLG_STR_NONE;
	return !known.len || dlg_route_uri_eq(known, c->target);
}

static int routes_ok_locked(const struct claim *c)
{
	const struct dlg_leg *leg = c->ctx->leg;
	struct dlg_str known = dlg_hash_text(c->ctx->dlg, DLG_CALLER_ROUTES),
		       have = dlg_buf_view(&c->routes);
	struct dlg_str a, b;
	int more_a, more_b;

	if (is_routing_lost(c))
		return 1;
	if (c->ctx->dir == DLG_DIR_DOWNSTREAM) {
		if (!leg)
			return 1;
		known = leg_routes(leg);
	}
	do {
		more_a = dlg_route_next(&known, &a) == 0;
		more_b = dlg_route_next(&have, &b) == 0;
		if (more_a != more_b ||
		    (more_a && !dlg_route_uri_eq(dlg_route_uri(a), dlg_route_uri(b))))
			return 0;
	} while (more_a);
	return 1;
}

/* NULL when the request fits, else what does not. */
static const char *objection(const struct claim *c)
{
	static const struct {
		int (*ok)(const struct claim *c);
		const char *what;
	} checks[] = {
		{ cseq_ok_locked, "CSeq" },
		{ target_ok_locked, "contact" },
		{ routes_ok_locked, "route set" },
	};
	const char *what = NULL;

	dlg_hash_lock(c->ctx->dlg);
	for (size_t i = 0; !what && i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (!checks[i].ok(c))
			what = checks[i].what;
	}
	dlg_hash_unlock(c->ctx->dlg);
	return what;
}

int dlg_match_validate(struct host_msg *msg, struct dlg_ctx *ctx)
{
	struct claim c = { .ctx = ctx };
	struct dlg_buf target = { 0 };
	struct host_info info;
	const char *what;

	if (!c.ctx->dlg || c.ctx->created || host_msg_info(msg, &info) < 0)
		return -1;
	other_routes(msg, &c.routes, &target);
	c.target = target.len ? dlg_buf_view(&target) : info.ruri;
	what = c.routes.failed || target.failed ? "memory (there is none)" : objection(&c);
	dlg_buf_free(&c.routes);
	dlg_buf_free(&target);
	if (!what)
		return 1;
	/* A copy of a request that passed does not fit any more: the transaction layer has repeated
	 * the answer. Nor does the ACK of an answer by this proxy to an INVITE that did not pass: it
	 * is the transaction layer's, which repeats that answer until it gets it. */
	if (host_tx_is_retransmission(msg))
		return 0;
	HOST_LOG(HOST_INFO, "%s: request refused: its %s does not fit", dlg_hash_name(c.ctx->dlg),
		 what);
	return -1;
}


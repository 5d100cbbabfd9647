/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_req_within.h"

#include "dialog.h"
#include "dlg_db_handler.h"
#include "dlg_hash.h"
#include "dlg_mem.h"
#include "dlg_route.h"
#include "host/host.h"

#include <ctype.h>
#include <stdlib.h>

/* One BYE on its way: what dlg_req_within_done() needs to know. In shared memory. */
struct pending {
	struct dlg_cell *dlg; /* held as DLG_BY_SENDER */
	uint8_t dir;
};

/* What can change while a BYE is being made, copied under the lock. Index: enum dlg_dir, the
 * direction the BYE travels. */
struct plan {
	struct dlg_leg *leg;
	unsigned next;  /* number of the leg after it */
	uint64_t taken; /* legs by number: ours to settle, whoever else is ending the call */
	uint64_t told;  /* of them, those of which a party has its BYE */
	uint32_t cseq[3];
	struct dlg_buf target[3];
};

/* ---- extra headers ---- */

static int is_token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("-.!%*_+`'~", c));
}

/* Headers that every request has from its maker: a second one would make it malformed (RFC 3261
 * 7.3.1, 20), a second Content-Length would break the stream of a TCP connection. */
static int is_ours(struct dlg_str name)
{
	static const char *const ours[] = {
		"Via", "v", "From", "f", "To", "t", "Call-ID", "i", "CSeq", "Max-Forwards",
		"Route", "Record-Route", "Content-Length", "l",
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (dlg_str_eq_nocase(name, dlg_str_of(ours[i])))
			return 1;
	}
	return 0;
}

static int line_ok(struct dlg_str line, int first)
{
	size_t name = 0;

	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.s[i];

		if ((c < ' ' && c != '\t') || c == 127)
			return 0;
	}
	if (line.len && !first && (line.s[0] == ' ' || line.s[0] == '\t'))
		return dlg_str_trim(line).len > 0; /* folded (RFC 3261 7.3.1) */
	while (name < line.len && is_token_char(line.s[name]))
		name++;
	if (!name || is_ours((struct dlg_str){ line.s, name }))
		return 0;
	while (name < line.len && (line.s[name] == ' ' || line.s[name] == '\t'))
		name++; /* HCOLON (RFC 3261 25.1) */
	return name < line.len && line.s[name] == ':';
}

int dlg_req_within_headers_ok(struct dlg_str text)
{
	int first = 1;

	while (text.len) {
		const char *end = memmem(text.s, text.len, "\r\n", 2);
		struct dlg_str line = { text.s, end ? (size_t)(end - text.s) : text.len };

		if (!line_ok(line, first))
			return 0;
		first = 0;
		text.s += line.len + (end ? 2 : 0);
		text.len -= line.len + (end ? 2 : 0);
	}
	return 1;
}

static void add_headers(struct dlg_buf *out, struct dlg_str headers)
{
	headers = dlg_str_trim(headers);
	if (!headers.len)
		return;
	dlg_buf_add(out, headers);
	dlg_buf_add(out, DLG_STR("\r\n"));
}

/* ---- making BYEs ---- */

static void copy_target(struct dlg_buf *out, const char *s, size_t len)
{
	if (len)
		dlg_buf_add(out, (struct dlg_str){ s, len });
}

/* The next number to use in the name of a party: beyond its own last one and our last one.
 * Theirs is not touched: a request of the party itself may be on its way. When a party has used up
 * the numbers that RFC 3261 8.1.1.5 allows (below 2^31), ours are beyond: a number for the second
 * time would be a retransmission, or refused (12.2.2). */
static uint32_t use_cseq_locked(struct dlg_leg *leg, enum dlg_dir dir)
{
	uint32_t last = dlg_hash_last_cseq_locked(leg, dir);

	leg->own_cseq[dir] = last < UINT32_MAX ? last + 1 : last;
	return leg->own_cseq[dir];
}

/* The next live leg after the last one is taken: marked, its CSeqs used up. */
static int take_leg_locked(struct dlg_cell *dlg, struct plan *plan)
{
	struct dlg_leg *leg = plan->leg ? plan->leg->next : dlg->legs;

	for (; leg && leg->state != DLG_LEG_ANSWERED; leg = leg->next)
		plan->next++;
	if (!leg)
		return 0;
	leg->state = DLG_LEG_ENDING;
	plan->leg = leg;
	plan->taken |= (uint64_t)1 << plan->next++;
	plan->cseq[DLG_DIR_UPSTREAM] = use_cseq_locked(leg, DLG_DIR_UPSTREAM);
	plan->cseq[DLG_DIR_DOWNSTREAM] = use_cseq_locked(leg, DLG_DIR_DOWNSTREAM);
	copy_target(&plan->target[DLG_DIR_UPSTREAM], dlg->caller_contact, dlg->caller_contact_len);
	copy_target(&plan->target[DLG_DIR_DOWNSTREAM], leg->contact, leg->contact_len);
	return 1;
}

static int take_leg(struct dlg_cell *dlg, struct plan *plan)
{
	int got;

	dlg_buf_reset(&plan->target[DLG_DIR_UPSTREAM]);
	dlg_buf_reset(&plan->target[DLG_DIR_DOWNSTREAM]);
	dlg_hash_lock(dlg);
	got = take_leg_locked(dlg, plan);
	dlg_hash_unlock(dlg);
	return got;
}

/* A leg of which a party was told has ended. The others go on and may be ended again, but for those
 * that a party has ended meanwhile. */
static void settle_legs(struct dlg_cell *dlg, const struct plan *plan)
{
	uint64_t taken = plan->taken, told = plan->told;

	dlg_hash_lock(dlg);
	for (struct dlg_leg *leg = dlg->legs; taken; leg = leg->next, taken >>= 1, told >>= 1) {
		if (taken & 1 && leg->state == DLG_LEG_ENDING)
			leg->state = told & 1 ? DLG_LEG_ENDED : DLG_LEG_ANSWERED;
	}
	dlg_hash_unlock(dlg);
}

static struct host_request make_bye(const struct dlg_cell *dlg, const struct plan *plan,
				    enum dlg_dir dir, struct dlg_str headers)
{
	const struct dlg_leg *leg = plan->leg;
	struct dlg_str tag = { leg->tag, leg->tag_len };
	struct host_request r = {
		.method = DLG_STR("BYE"),
		.call_id = dlg_hash_text(dlg, DLG_CALL_ID),
		.from_uri = dlg_hash_text(dlg, DLG_FROM_URI),
		.from_tag = dlg_hash_text(dlg, DLG_FROM_TAG),
		.to_uri = dlg_hash_text(dlg, DLG_TO_URI),
		.to_tag = tag,
		.remote_target = dlg_buf_view(&plan->target[dir]),
		.route_set = { leg->route_set, leg->route_set_len },
		.headers = headers,
		.cseq = plan->cseq[dir],
		.sock = leg->sock,
	};

	if (dir == DLG_DIR_UPSTREAM) { /* in the name of the callee */
		r.from_uri = dlg_hash_text(dlg, DLG_TO_URI);
		r.from_tag = tag;
		r.to_uri = dlg_hash_text(dlg, DLG_FROM_URI);
		r.to_tag = dlg_hash_text(dlg, DLG_FROM_TAG);
		r.route_set = dlg_hash_text(dlg, DLG_CALLER_ROUTES);
		r.sock = dlg->caller_sock;
	}
	return r;
}

static DLG_LOCK_PROCESS_LOCAL struct {
	struct dlg_cell *dlg;
	struct dlg_leg *leg;
	enum dlg_dir dir;
} sending;

struct dlg_cell *dlg_req_within_sending(struct dlg_leg **leg, enum dlg_dir *dir)
{
	*leg = sending.leg;
	*dir = sending.dir;
	return sending.dlg;
}

static const char *party(enum dlg_dir dir)
{
	return dir == DLG_DIR_UPSTREAM ? "caller" : "callee";
}

static int hand_over(struct dlg_cell *dlg, const struct host_request *r, enum dlg_dir dir)
{
	struct pending *p = dlg_mem_alloc(sizeof(*p));

	if (!p)
		return -1;
	*p = (struct pending){ dlg, (uint8_t)dir };
	dlg_hash_hold(dlg, DLG_BY_SENDER);
	if (host_send_within(r, p) == 0)
		return 0;
	dlg_mem_free(p);
	dlg_hash_put(dlg, DLG_BY_SENDER);
	return -1;
}

static int send_bye(struct dlg_cell *dlg, const struct plan *plan, enum dlg_dir dir,
		    struct dlg_str headers)
{
	struct host_request r = make_bye(dlg, plan, dir, headers);
	int err;

	if (!r.remote_target.len) {
		HOST_LOG(HOST_WARNING, "%s: no BYE to the %s: contact unknown", dlg_hash_name(dlg),
			 party(dir));
		return -1;
	}
	sending.dlg = dlg;
	sending.leg = plan->leg;
	sending.dir = dir;
	err = hand_over(dlg, &r, dir);
	sending.dlg = NULL;
	if (err < 0) {
		HOST_LOG(HOST_WARNING, "%s: the BYE to the %s could not be sent",
			 dlg_hash_name(dlg), party(dir));
		return -1;
	}
	return 0;
}

/* Both parties of the leg. Returns how many were told. */
static unsigned send_byes(struct dlg_cell *dlg, struct plan *plan, struct dlg_str headers)
{
	unsigned sent = send_bye(dlg, plan, DLG_DIR_UPSTREAM, headers) == 0;

	sent += send_bye(dlg, plan, DLG_DIR_DOWNSTREAM, headers) == 0;
	if (sent)
		plan->told |= (uint64_t)1 << (plan->next - 1);
	return sent;
}

unsigned dlg_req_within_byes(struct dlg_cell *dlg, struct dlg_str headers, unsigned *failed)
{
	struct plan plan = { 0 };
	struct dlg_buf all = { 0 };
	unsigned sent = 0, wanted = 0;

	add_headers(&all, dlg_str_of(dialog_conf.dlg_extra_hdrs));
	add_headers(&all, headers);
	while (take_leg(dlg, &plan)) {
		wanted += 2;
		sent += send_byes(dlg, &plan, dlg_buf_view(&all));
	}
	settle_legs(dlg, &plan);
	if (!sent)
		dlg_db_changed(dlg); /* the call goes on, with CSeqs that were used up */
	if (failed)
		*failed = wanted - sent;
	dlg_buf_free(&plan.target[DLG_DIR_UPSTREAM]);
	dlg_buf_free(&plan.target[DLG_DIR_DOWNSTREAM]);
	dlg_buf_free(&all);
	return sent;
}

/* Where a request goes with that route set and target: to the first of them. */
static int may_wait_for(struct dlg_str route_set, struct dlg_str target)
{
	struct dlg_str first;

	return !dlg_route_is_numeric(dlg_route_next(&route_set, &first) == 0 ? dlg_route_uri(first)
									     : target);
}

int dlg_req_within_may_wait_locked(const struct dlg_cell *dlg)
{
	struct dlg_str contact = { dlg->caller_contact, dlg->caller_contact_len };
	int live = 0;

	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next) {
		if (leg->state != DLG_LEG_ANSWERED)
			continue;
		live = 1;
		if (may_wait_for((struct dlg_str){ leg->route_set, leg->route_set_len },
				 (struct dlg_str){ leg->contact, leg->contact_len }))
			return 1;
	}
	return live && may_wait_for(dlg_hash_text(dlg, DLG_CALLER_ROUTES), contact);
}

int dlg_req_within_may_tell_locked(const struct dlg_cell *dlg)
{
	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next) {
		if (leg->state == DLG_LEG_ANSWERED && (leg->contact_len || dlg->caller_contact_len))
			return 1;
	}
	return 0;
}

static void report(const struct pending *p, int code)
{
	/* 481, 408: the party has no such call any more, which is what we wanted (RFC 3261
	 * 15.1.2) */
	enum host_level level = (code >= 200 && code < 300) || code == 481 ? HOST_DEBUG
				: code == 408				   ? HOST_INFO
									   : HOST_WARNING;

	HOST_LOG(level, "%s: the %s answered our BYE with %d", dlg_hash_name(p->dlg),
		 party((enum dlg_dir)p->dir), code);
}

void dlg_req_within_done(void *token, int code)
{
	struct pending *p = token;

	report(p, code);
	dlg_hash_put(p->dlg, DLG_BY_SENDER);
	dlg_mem_free(p);
}

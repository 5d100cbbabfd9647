/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_handlers.h"

#include "dialog.h"
#include "dlg_cb.h"
#include "dlg_cookie.h"
#include "dlg_db_handler.h"
#include "dlg_match.h"
#include "dlg_mem.h"
#include "dlg_req_within.h"
#include "dlg_route.h"

/* ---- what follows from a change of state, after unlocking ---- */

/* Callbacks of a state change, by the action that asks for them. */
static const struct {
	uint32_t action;
	int type;
} action_callbacks[] = {
	{ DLG_DO_CB_EARLY, DLGCB_EARLY },	    { DLG_DO_CB_CONFIRMED, DLGCB_CONFIRMED },
	{ DLG_DO_CB_FAILED, DLGCB_FAILED },	    { DLG_DO_CB_TERMINATED, DLGCB_TERMINATED },
	{ DLG_DO_CB_EXPIRED, DLGCB_EXPIRED },
};

static uint16_t flags_of(struct dlg_cell *dlg)
{
	uint16_t flags;

	dlg_hash_lock(dlg);
	flags = dlg->flags;
	dlg_hash_unlock(dlg);
	return flags;
}

static struct host_tx_id tx_of(struct dlg_cell *dlg)
{
	struct host_tx_id id;

	dlg_hash_lock(dlg);
	id = (struct host_tx_id){ dlg->tx_id[0], dlg->tx_id[1] };
	dlg_hash_unlock(dlg);
	return id;
}

static void end_setup(struct dlg_cell *dlg)
{
	HOST_LOG(HOST_NOTICE, "%s: no final answer within setup_timeout: the call is ended",
		 dlg_hash_name(dlg));
	host_tx_refuse(tx_of(dlg), 408, "Request Timeout");
}

static int sends_byes(struct dlg_cell *dlg, uint32_t actions)
{
	return actions & DLG_DO_SEND_BYES && flags_of(dlg) & DLG_F_BYE_ON_TIMEOUT;
}

static void follow_up(struct dlg_cell *dlg, uint32_t actions, const struct dlg_cb_params *params)
{
	if (actions & (DLG_DO_SAVE | DLG_DO_END))
		dlg_db_changed(dlg);
	if (actions & DLG_DO_END_SETUP)
		end_setup(dlg);
	if (sends_byes(dlg, actions))
		dlg_req_within_byes(dlg, DLG_STR_NONE, NULL);
	for (size_t i = 0; i < sizeof(action_callbacks) / sizeof(action_callbacks[0]); i++) {
		if (actions & action_callbacks[i].action)
			dlg_cb_run(dlg, action_callbacks[i].type, params);
	}
}

/* The dialog whose INVITE this process is refusing on command. */
static DLG_LOCK_PROCESS_LOCAL const struct dlg_cell *refusing;

static enum dlg_reason refusal_reason(const struct dlg_cell *dlg, int code)
{
	if (dlg == refusing)
		return DLG_REASON_command;
	if (code == 487)
		return DLG_REASON_cancel;
	return code == 408 ? DLG_REASON_no_answer : DLG_REASON_reject;
}

/* Of the limits, the one that was reached. */
static enum dlg_reason limit_reason_locked(const struct dlg_cell *dlg)
{
	if (!dlg->start_time)
		return DLG_REASON_setup_timeout;
	return dlg->ack_by < dlg->expires ? DLG_REASON_ack_timeout : DLG_REASON_timeout;
}

/* Why the event would end the dialog, asked before it does. Entry lock held. */
static enum dlg_reason reason_locked(const struct dlg_cell *dlg, enum dlg_event event,
				     enum dlg_end by, int code)
{
	switch (event) {
	case DLG_EV_NEGATIVE: return refusal_reason(dlg, code);
	case DLG_EV_GONE: return DLG_REASON_no_answer;
	case DLG_EV_ABANDON: return DLG_REASON_abandoned;
	case DLG_EV_TIMEOUT: return limit_reason_locked(dlg);
	case DLG_EV_TERMINATE: return DLG_REASON_command;
	default: return by == DLG_END_CALLEE ? DLG_REASON_callee : DLG_REASON_caller;
	}
}

/* Apply an event that ends the call or not; `by` and `code` are noted when it does. Entry lock
 * held. */
static uint32_t apply_locked(struct dlg_cell *dlg, enum dlg_event event, enum dlg_end by, int code)
{
	enum dlg_reason reason = reason_locked(dlg, event, by, code);
	uint32_t actions = dlg_state_apply_locked(dlg, event);

	if (actions & DLG_DO_END) {
		dlg->ended_by = (uint8_t)by;
		dlg->end_code = (uint16_t)code;
		dlg_state_count(&dlg_state_counters()->ended[reason]);
	}
	return actions;
}

static uint32_t apply(struct dlg_cell *dlg, enum dlg_event event, enum dlg_end by, int code)
{
	uint32_t actions;

	dlg_hash_lock(dlg);
	actions = apply_locked(dlg, event, by, code);
	dlg_hash_unlock(dlg);
	return actions;
}

static int announce_once(struct dlg_cell *dlg)
{
	int first;

	dlg_hash_lock(dlg);
	first = !(dlg->flags & DLG_F_ANNOUNCED);
	dlg->flags |= DLG_F_ANNOUNCED;
	dlg_hash_unlock(dlg);
	return first;
}

/* DLGCB_CREATED, once. With dlg_flag the dialog is born under a lock of the host, so this waits
 * for the next chance: the request is forwarded, answered, or through. */
static void announce(struct dlg_cell *dlg, struct host_msg *req)
{
	struct dlg_cb_params p = { .req = (struct sip_msg *)req, .direction = DLG_DIR_DOWNSTREAM };

	if (announce_once(dlg))
		dlg_cb_run(dlg, DLGCB_CREATED, &p);
}

/* ---- ending calls later ---- */

/* Events that this process is delivering right now: of messages, which have not been sent yet,
 * perhaps, and ours must not overtake them, nor their worker wait; or of the database. */
static DLG_LOCK_PROCESS_LOCAL int delivering;

/* Let the timer process end the call at its next tick. */
static void want_end_locked(struct dlg_cell *dlg)
{
	dlg->flags |= DLG_F_END_WANTED;
	dlg->end_tries = 0;
	dlg_state_hurry_locked(dlg);
}

/* Whoever still is in a call that we ended gets a BYE, too. */
static void end_rest_locked(struct dlg_cell *dlg)
{
	unsigned acked;

	if (dlg->flags & DLG_F_KILLED && dlg_hash_live_legs_locked(dlg, NULL, &acked))
		want_end_locked(dlg);
}

/* ---- lifetime ---- */

/* The timeout AVP (manual 1.5.7): 1 set and usable, else 0. */
static int custom_timeout(struct host_msg *msg, uint32_t *seconds)
{
	struct dlg_str text;
	uint64_t n;

	if (!msg || !dialog_conf.timeout_var ||
	    host_var_get(msg, dialog_conf.timeout_var, &text) < 0)
		return 0;
	if (dlg_str_to_u64(dlg_str_trim(text), INT32_MAX, &n) < 0 || !n) {
		HOST_LOG(HOST_WARNING,
			 "timeout_avp holds \"%.*s\", not a number of seconds: ignored",
			 DLG_STR_ARG(text));
		return 0;
	}
	*seconds = (uint32_t)n;
	return 1;
}

/* ---- attaching to transactions ---- */

/* The only Contact, if it is fit to become the Request-URI of a request of ours. */
static struct dlg_str contact_of(struct host_msg *msg, struct host_walk *walk)
{
	return dlg_route_target(host_msg_contact(msg, walk));
}

static int refreshes_target(enum host_method method)
{
	return method == HOST_INVITE || method == HOST_UPDATE; /* RFC 3261 12.2, RFC 3311 5.1 */
}

static struct dlg_tx *tx_new(struct host_msg *msg, const struct dlg_ctx *ctx)
{
	struct dlg_str contact = DLG_STR_NONE;
	struct host_walk walk = { 0 };
	struct dlg_tx *tx;

	if (!ctx->created && refreshes_target((enum host_method)ctx->method))
		contact = contact_of(msg, &walk);
	tx = dlg_mem_alloc(sizeof(*tx) + contact.len);
	if (!tx)
		return NULL;
	*tx = (struct dlg_tx){
		.dlg = ctx->dlg, .leg = ctx->leg, .dir = ctx->dir, .method = ctx->method,
		.initial = ctx->created, .cseq = ctx->cseq,
		.contact_len = (uint32_t)contact.len,
	};
	if (!ctx->created)
		custom_timeout(msg, &tx->lifetime);
	if (contact.len)
		memcpy(tx->contact, contact.s, contact.len);
	return tx;
}

/* What the script set for the initial request after create_dialog() still counts (manual 1.5.6,
 * 1.5.7). */
static void note_invite_tx(struct dlg_cell *dlg, struct host_msg *msg, struct host_tx *t)
{
	struct host_tx_id id = host_tx_id(t);
	uint32_t lifetime = 0;
	int custom = custom_timeout(msg, &lifetime);
	int bye = dialog_conf.bye_on_timeout_flag != DIALOG_UNSET &&
		  host_msg_flag(msg, dialog_conf.bye_on_timeout_flag);

	dlg_hash_lock(dlg);
	dlg->tx_id[0] = id.a;
	dlg->tx_id[1] = id.b;
	dlg->flags |= DLG_F_ATTACHED;
	if (custom)
		dlg->lifetime = lifetime;
	if (bye)
		dlg->flags |= DLG_F_BYE_ON_TIMEOUT;
	dlg_hash_unlock(dlg);
}

static int attach_tx(struct host_msg *msg, struct dlg_ctx *ctx, struct host_tx *t)
{
	struct dlg_tx *tx = tx_new(msg, ctx);

	if (!tx)
		return -1;
	dlg_hash_hold(ctx->dlg, DLG_BY_TRANSACTION);
	if (host_tx_attach(msg, t, tx) == 0)
		return 0;
	dlg_mem_free(tx);
	dlg_hash_put(ctx->dlg, DLG_BY_TRANSACTION);
	return -1;
}

/* Without memory an initial INVITE goes on untracked (its dialog is abandoned when the script is
 * through), and a sequential request takes effect when the script is through. */
static void attach(struct host_msg *msg, struct dlg_ctx *ctx, struct host_tx *t)
{
	if (attach_tx(msg, ctx, t) < 0) {
		HOST_LOG(HOST_ERROR, "%s: no shared memory to follow its transaction",
			 dlg_hash_name(ctx->dlg));
		if (ctx->created)
			dlg_state_count(&dlg_state_counters()->refused);
		return;
	}
	ctx->attached = 1;
	if (ctx->created)
		note_invite_tx(ctx->dlg, msg, t);
}

/* ---- initial requests ---- */

static int add_cookie(struct host_msg *msg, const struct dlg_cell *dlg)
{
	struct dlg_buf param = { 0 };
	char cookie[DLG_COOKIE_MAX];
	size_t len;
	int ret;

	len = dlg_cookie_print(cookie, dlg->h_entry, dlg->h_id);
	dlg_buf_add(&param, DLG_STR(";"));
	dlg_buf_add(&param, dlg_str_of(dialog_conf.rr_param));
	dlg_buf_add(&param, DLG_STR("="));
	dlg_buf_add(&param, (struct dlg_str){ cookie, len });
	ret = param.failed ? -1 : host_rr_add(msg, dlg_buf_view(&param));
	dlg_buf_free(&param);
	return ret;
}

/* 0; -1 when no later request could be matched: the dialog would count as a call for its whole
 * lifetime, however soon that call is over. */
static int make_matchable(struct host_msg *msg, const struct dlg_cell *dlg)
{
	int only = dialog_conf.dlg_match_mode == DIALOG_DID_ONLY;

	if (dialog_conf.dlg_match_mode == DIALOG_DID_NONE || add_cookie(msg, dlg) == 0)
		return 0;
	HOST_LOG(HOST_ERROR, "%s: the cookie could not be added to Record-Route%s", dlg_hash_name(dlg),
		 only ? ": the call is not tracked" : "");
	return only ? -1 : 0;
}

static int insert(struct host_msg *msg, const struct host_info *info, struct dlg_cell **dlg)
{
	struct dlg_buf routes = { 0 };
	struct host_walk walk = { 0 };
	struct dlg_hash_new in = {
		.call_id = info->call_id, .from_uri = info->from_uri, .from_tag = info->from_tag,
		.to_uri = info->to_uri, .caller_sock = host_msg_sock(msg), .invite_cseq = info->cseq,
		.via_hash = dlg_str_hash(info->via_branch),
		.lifetime = (uint32_t)dialog_conf.default_timeout,
	};
	int ret;

	dlg_match_collect_routes(msg, HOST_RECORD_ROUTE, &walk, &routes);
	in.caller_routes = dlg_buf_view(&routes);
	in.caller_contact = contact_of(msg, &walk);
	ret = routes.failed ? -1 : dlg_hash_insert(&in, DLG_BY_MESSAGE, dlg);
	dlg_buf_free(&routes);
	return ret;
}

/* The last message that could have given the INVITE a transaction is through (two workers may
 * have processed the original and a retransmission at the same time): the call never was. Entry
 * lock held. */
static void abandon_locked(struct dlg_cell *dlg)
{
	if (!(dlg->flags & DLG_F_ATTACHED))
		apply_locked(dlg, DLG_EV_ABANDON, DLG_END_PROXY, 0);
}

/* insert(), and the cookie is added. */
static int insert_matchable(struct host_msg *msg, const struct host_info *info,
			    struct dlg_cell **dlg)
{
	int ret = insert(msg, info, dlg);

	if (ret < 0)
		HOST_LOG(HOST_ERROR, "no memory: the call %.*s is not tracked",
			 DLG_STR_ARG(info->call_id));
	if (ret > 0 && make_matchable(msg, *dlg) == 0)
		return 1;
	if (ret >= 0) /* not ours, or of no use */
		dlg_hash_put_last(*dlg, DLG_BY_MESSAGE, abandon_locked);
	return ret > 0 ? -1 : ret;
}

/* 1; 0: another worker's script is dealing with this INVITE; -1 no memory. */
static int create(struct host_msg *msg, struct dlg_ctx *ctx, const struct host_info *info)
{
	struct dlg_cell *dlg;
	int ret = insert_matchable(msg, info, &dlg);

	if (ret < 0)
		dlg_state_count(&dlg_state_counters()->refused);
	if (ret < 1)
		return ret;
	*ctx = (struct dlg_ctx){ .dlg = dlg, .dir = DLG_DIR_DOWNSTREAM, .method = HOST_INVITE,
				 .created = 1, .searched = 1, .cseq = info->cseq };
	return 1;
}

/* An INVITE that can start a dialog (RFC 3261 12.1, 8.1.1.5). */
static int is_usable_invite(const struct host_info *info)
{
	return dlg_match_is_initial(info) && info->from_tag.len && info->call_id.len &&
	       info->cseq <= INT32_MAX;
}

/* A failure route, which may call a request route, sees a copy without a slot. */
static int is_created(struct host_msg *msg, const struct dlg_ctx *ctx)
{
	const struct dlg_tx *tx;

	if (ctx)
		return ctx->created;
	tx = host_tx_of(msg);
	return tx && tx->initial;
}

int dlg_handlers_create(struct host_msg *msg)
{
	struct dlg_ctx *ctx = host_ctx(msg);
	struct host_info info;
	struct host_tx *t;
	int ret;

	if (is_created(msg, ctx))
		return 1;
	if (!ctx)
		return -1;
	if (host_msg_info(msg, &info) < 0 || !is_usable_invite(&info)) {
		HOST_LOG(HOST_DEBUG,
			 "not an initial INVITE with Call-ID, CSeq and From tag: no dialog");
		return -1;
	}
	if (host_tx_is_retransmission(msg))
		return 0;
	ret = create(msg, ctx, &info);
	if (ret < 1)
		return ret;
	t = host_tx_current(msg);
	if (t)
		attach(msg, ctx, t);
	delivering++;
	announce(ctx->dlg, msg);
	delivering--;
	return 1;
}

void dlg_handlers_on_route(struct host_msg *msg, struct dlg_str params)
{
	struct dlg_ctx *ctx = host_ctx(msg);
	struct dlg_str cookie;
	struct host_tx *t;
	int found;

	if (!ctx || ctx->created || ctx->attached)
		return;
	found = dialog_conf.dlg_match_mode != DIALOG_DID_NONE &&
		dlg_route_param(params, dlg_str_of(dialog_conf.rr_param), &cookie) && cookie.len;
	dlg_match_request(msg, ctx, found ? &cookie : NULL);
	t = ctx->dlg ? host_tx_current(msg) : NULL;
	if (t) /* the script made it before loose_route() */
		attach(msg, ctx, t);
}

void dlg_handlers_on_new_tx(struct host_msg *msg, struct host_tx *t)
{
	struct dlg_ctx *ctx = host_ctx(msg);
	struct host_info info;

	if (!ctx || ctx->attached)
		return;
	if (!ctx->dlg && dialog_conf.dlg_flag != DIALOG_UNSET &&
	    host_msg_flag(msg, dialog_conf.dlg_flag) && host_msg_info(msg, &info) == 0 &&
	    is_usable_invite(&info))
		create(msg, ctx, &info);
	if (!ctx->dlg)
		dlg_match_without_route(msg, ctx);
	if (ctx->dlg)
		attach(msg, ctx, t);
}

void dlg_handlers_on_resume(struct host_msg *msg)
{
	struct dlg_ctx *ctx = host_ctx(msg);
	const struct dlg_tx *tx = host_tx_of(msg);

	if (!ctx || !tx)
		return;
	dlg_hash_hold(tx->dlg, DLG_BY_MESSAGE);
	*ctx = (struct dlg_ctx){ .dlg = tx->dlg, .leg = tx->leg, .dir = tx->dir, .method = tx->method,
				 .created = tx->initial, .searched = 1, .attached = 1,
				 .cseq = tx->cseq };
}

/* ---- sequential requests take effect ---- */

/* What a request means for the dialog once it passes. Entry lock held. */
static enum dlg_event event_of_locked(const struct dlg_cell *dlg, const struct dlg_leg *leg,
				      enum dlg_dir dir, enum host_method method)
{
	int has_ended = leg && leg->state == DLG_LEG_ENDED;
	unsigned acked;

	if (method == HOST_ACK) /* only the caller can say that it has the 2xx */
		return dir == DLG_DIR_UPSTREAM || has_ended ? DLG_EV_ACK_OTHER : DLG_EV_ACK;
	if (method != HOST_BYE || has_ended || (leg && leg->state == DLG_LEG_EARLY))
		return DLG_EV_SEQUENTIAL; /* it ends nothing any more, or nothing yet */
	if (!dlg_hash_live_legs_locked(dlg, leg, &acked))
		return DLG_EV_BYE;
	return acked ? DLG_EV_SEQUENTIAL : DLG_EV_BYE_NO_ACK;
}

static void note_cseq_locked(struct dlg_leg *leg, enum dlg_dir dir, enum host_method method,
			     uint32_t cseq)
{
	if (method == HOST_ACK || cseq > INT32_MAX) /* RFC 3261 8.1.1.5 */
		return;
	if (!(leg->seen & 1 << dir) || cseq > leg->cseq[dir])
		leg->cseq[dir] = cseq;
	if (method == HOST_INVITE && cseq > leg->invite_cseq[dir])
		leg->invite_cseq[dir] = cseq;
	leg->seen |= (uint8_t)(1 << dir);
}

static enum dlg_end sender(enum dlg_dir dir)
{
	return dir == DLG_DIR_UPSTREAM ? DLG_END_CALLEE : DLG_END_CALLER;
}

/* A BYE may pass while its leg rings and cross the 2xx to the INVITE: it takes effect as soon as
 * both have their 2xx (RFC 3261 15, RFC 5407 3.1.3). A refused one has ended nothing. */
static uint32_t hang_up_locked(struct dlg_cell *dlg, struct dlg_leg *leg)
{
	enum dlg_event event;

	if (!leg || !leg->hung_up || leg->state == DLG_LEG_EARLY || leg->state == DLG_LEG_ENDED)
		return 0;
	event = event_of_locked(dlg, leg, DLG_DIR_DOWNSTREAM, HOST_BYE);
	leg->state = DLG_LEG_ENDED;
	return apply_locked(dlg, event, (enum dlg_end)leg->hung_up, 0);
}

static uint32_t bye_done_locked(struct dlg_tx *tx)
{
	if (tx->leg)
		tx->leg->hung_up = (uint8_t)sender((enum dlg_dir)tx->dir);
	return hang_up_locked(tx->dlg, tx->leg);
}

/* A BYE has its 2xx. */
static void bye_done(struct dlg_tx *tx, struct dlg_cb_params *p)
{
	uint32_t actions;

	dlg_hash_lock(tx->dlg);
	actions = bye_done_locked(tx);
	dlg_hash_unlock(tx->dlg);
	follow_up(tx->dlg, actions, p);
}

static uint32_t pass_locked(struct dlg_cell *dlg, struct dlg_leg *leg, enum dlg_dir dir,
			    enum host_method method, uint32_t cseq, uint32_t lifetime)
{
	enum dlg_event event = event_of_locked(dlg, leg, dir, method);
	enum dlg_end by = sender(dir);
	uint32_t save = 0;

	if (leg)
		note_cseq_locked(leg, dir, method, cseq);
	if (leg && method == HOST_BYE && leg->state != DLG_LEG_EARLY)
		leg->state = DLG_LEG_ENDED;
	if (leg && event == DLG_EV_ACK && !leg->acked) {
		leg->acked = 1;
		save = DLG_DO_SAVE; /* whatever the other legs make of the state */
	}
	if (lifetime)
		dlg->lifetime = lifetime;
	return apply_locked(dlg, event, by, 0) | save;
}

/* A matched request was let pass by the script and has left the proxy. `lifetime`: of the
 * timeout AVP, 0 none. `passed`: whether that is known already, under the entry lock, so that who
 * comes second finds the effect. */
static void pass(struct dlg_cell *dlg, struct dlg_leg *leg, enum dlg_dir dir,
		 enum host_method method, uint32_t cseq, struct host_msg *req, uint32_t lifetime,
		 uint8_t *passed)
{
	struct dlg_cb_params p = { .req = (struct sip_msg *)req, .direction = (int)dir };
	uint32_t actions = 0;
	int first;

	if (method == HOST_ACK) /* manual 1.2 */
		lifetime = 0;
	dlg_hash_lock(dlg);
	first = !*passed;
	*passed = 1;
	if (first)
		actions = pass_locked(dlg, leg, dir, method, cseq, lifetime);
	dlg_hash_unlock(dlg);
	if (!first)
		return;
	dlg_cb_run(dlg, DLGCB_REQ_WITHIN, &p);
	follow_up(dlg, actions, &p);
}

/* ---- replies ---- */

static void set_text(char **text, uint16_t *len, struct dlg_str *fresh)
{
	char *old = *text;

	/* `fresh` was allocated before the lock; what it replaces is freed after it */
	*text = (char *)fresh->s;
	*len = (uint16_t)fresh->len;
	fresh->s = old;
}

/* A shared copy of `v`. When it cannot be kept, for its length or want of memory, the copy is empty
 * and *lost is set: that is not the same as nothing to copy. */
static struct dlg_str shared_copy(struct dlg_str v, int *lost)
{
	char *mem = v.len <= UINT16_MAX ? dlg_mem_copy(v) : NULL;

	*lost = v.len && !mem;
	return mem ? (struct dlg_str){ mem, v.len } : DLG_STR_NONE;
}

static void shared_free(struct dlg_str v)
{
	dlg_mem_free((char *)v.s);
}

/* What a reply says about a leg: allocated before the lock. */
struct news {
	struct dlg_leg *fresh;  /* used when the leg is new; NULL without memory */
	struct dlg_str tag, contact, route_set;
	int contact_lost, routes_lost;
	const struct host_sock *sock;
	int own;                /* Record-Route entries of ours */
};

/* The callee's route set: Record-Route of the reply below ours, reversed (RFC 3261 12.1.2). */
static void callee_routes(struct host_msg *rpl, const struct dlg_cell *dlg, int own,
			  struct host_walk *walk, struct dlg_buf *out)
{
	struct host_walk again = { 0 };
	struct dlg_buf all = { 0 };
	unsigned above = dlg_route_count(dlg_hash_text(dlg, DLG_CALLER_ROUTES)) + (unsigned)own;
	unsigned total = dlg_match_count_routes(rpl, HOST_RECORD_ROUTE, walk);

	if (total <= above)
		return;
	dlg_match_collect_routes(rpl, HOST_RECORD_ROUTE, &again, &all);
	dlg_route_slice(out, dlg_buf_view(&all), 0, total - above, 1);
	out->failed |= all.failed;
	dlg_buf_free(&all);
}

static void read_news(struct host_tx *t, struct host_msg *rpl, const struct dlg_cell *dlg,
		      struct dlg_str tag, struct news *n)
{
	struct dlg_buf routes = { 0 };
	struct host_walk walk = { 0 };

	n->own = host_tx_own_record_routes(t);
	callee_routes(rpl, dlg, n->own, &walk, &routes);
	n->tag = tag;
	n->contact = shared_copy(contact_of(rpl, &walk), &n->contact_lost);
	n->route_set = shared_copy(dlg_buf_view(&routes), &n->routes_lost);
	n->routes_lost |= routes.failed;
	n->sock = host_msg_sock(rpl);
	n->fresh = dlg_hash_leg_new(tag, DLG_STR_NONE);
	dlg_buf_free(&routes);
}

static void free_news(struct news *n)
{
	shared_free(n->contact);
	shared_free(n->route_set);
	dlg_hash_leg_free(n->fresh);
}

/* The leg of a reply, made when it is new; NULL without memory or when there are too many. */
static struct dlg_leg *leg_for_locked(struct dlg_cell *dlg, enum dlg_event event, struct news *n)
{
	struct dlg_leg *leg = dlg_hash_leg_locked(dlg, n->tag);
	unsigned max = event == DLG_EV_SUCCESS ? DLG_LEGS_MAX : DLG_LEGS_EARLY_MAX;

	if (leg)
		return leg;
	leg = n->fresh;
	if (!leg) {
		dlg->flags |= DLG_F_LEG_LOST;
		return NULL;
	}
	if (dlg_hash_leg_add_locked(dlg, leg, max) < 0)
		return NULL;
	n->fresh = NULL;
	leg->cseq[DLG_DIR_DOWNSTREAM] = dlg->invite_cseq;
	leg->invite_cseq[DLG_DIR_DOWNSTREAM] = dlg->invite_cseq;
	leg->seen = 1 << DLG_DIR_DOWNSTREAM;
	return leg;
}

static void answered_locked(struct dlg_cell *dlg, struct dlg_leg *leg)
{
	leg->state = DLG_LEG_ANSWERED;
	end_rest_locked(dlg); /* it crossed our CANCEL or BYEs */
}

/* How to reach the callee. What was lost stays as an earlier reply said it. */
static void learn_leg_locked(struct dlg_cell *dlg, struct dlg_leg *leg, struct news *n)
{
	if (n->contact.len)
		set_text(&leg->contact, &leg->contact_len, &n->contact);
	if (!n->routes_lost)
		set_text(&leg->route_set, &leg->route_set_len, &n->route_set);
	if (n->contact_lost || n->routes_lost)
		dlg->flags |= DLG_F_ROUTING_LOST;
	leg->sock = n->sock;
}

/* The host may have relayed a copy of the 2xx before it told of this one, and its ACK, too. */
static uint32_t early_ack_locked(struct dlg_cell *dlg, const struct dlg_leg *leg)
{
	if (!leg || !leg->acked || leg->state != DLG_LEG_ANSWERED)
		return 0;
	return apply_locked(dlg, DLG_EV_ACK, DLG_END_CALLER, 0);
}

/* A further leg that answers changes no state, but is worth saving. */
static uint32_t reply_locked(struct dlg_cell *dlg, enum dlg_event event, struct news *n)
{
	struct dlg_leg *leg = leg_for_locked(dlg, event, n);
	uint32_t save = 0;

	if (leg && leg->state == DLG_LEG_EARLY) { /* later replies repeat what is known */
		learn_leg_locked(dlg, leg, n);
		if (event == DLG_EV_SUCCESS) {
			answered_locked(dlg, leg);
			save = DLG_DO_SAVE;
		}
	}
	/* a branch that only rang may be recorded, and the one that answers not */
	if (event == DLG_EV_SUCCESS && n->own > 0)
		dlg->flags |= DLG_F_IN_PATH;
	save |= apply_locked(dlg, event, DLG_END_NONE, 0);
	save |= early_ack_locked(dlg, leg);
	return save | hang_up_locked(dlg, leg);
}

static uint32_t on_invite_reply(struct dlg_cell *dlg, enum dlg_event event, struct host_tx *t,
				struct host_msg *rpl)
{
	struct dlg_str tag = rpl ? host_msg_to_tag(rpl) : DLG_STR_NONE;
	struct news n = { 0 };
	uint32_t actions;

	if (!rpl || (event == DLG_EV_PROVISIONAL && !tag.len))
		return apply(dlg, event, DLG_END_NONE, 0);
	read_news(t, rpl, dlg, tag, &n);
	dlg_hash_lock(dlg);
	actions = reply_locked(dlg, event, &n);
	dlg_hash_unlock(dlg);
	free_news(&n);
	return actions;
}

static enum dlg_end refused_by(const struct host_msg *rpl, int code)
{
	if (code == 487)
		return DLG_END_CALLER;
	return rpl ? DLG_END_CALLEE : DLG_END_PROXY;
}

static void on_initial_event(struct dlg_tx *tx, enum dlg_tx_event event, struct host_tx *t,
			     struct host_msg *req, struct host_msg *rpl, int code)
{
	struct dlg_cb_params p = { .req = (struct sip_msg *)req, .rpl = (struct sip_msg *)rpl,
				   .code = code, .direction = DLG_DIR_DOWNSTREAM };
	struct dlg_cell *dlg = tx->dlg;
	uint32_t actions = 0;

	if (event == DLG_TX_ANSWERED) /* no callee did: this makes no call of it */
		return;
	if (event != DLG_TX_GONE && !__atomic_exchange_n(&tx->announced, 1, __ATOMIC_RELAXED))
		announce(dlg, req);
	if (code > 100)
		dlg_cb_run(dlg, DLGCB_RESPONSE_FWDED, &p);
	if (event == DLG_TX_PROVISIONAL && code > 100)
		actions = on_invite_reply(dlg, DLG_EV_PROVISIONAL, t, rpl);
	else if (event == DLG_TX_SUCCESS)
		actions = on_invite_reply(dlg, DLG_EV_SUCCESS, t, rpl);
	else if (event == DLG_TX_NEGATIVE)
		actions = apply(dlg, DLG_EV_NEGATIVE, refused_by(rpl, code), code);
	else if (event == DLG_TX_GONE)
		actions = apply(dlg, DLG_EV_GONE, DLG_END_PROXY, 408);
	follow_up(dlg, actions, &p);
	if (event == DLG_TX_SUCCESS)
		dlg_db_settle(dlg); /* before the caller sees it, whoever was first */
}

/* Has another leg its own dialog with the caller, or may it still? */
static int has_others_locked(const struct dlg_cell *dlg, const struct dlg_leg *leg)
{
	int answered = dlg_state_is_answered((enum dlg_state)dlg->state);

	for (const struct dlg_leg *other = dlg->legs; other; other = other->next) {
		if (other != leg && (other->state == DLG_LEG_ANSWERED ||
				     (other->state == DLG_LEG_EARLY && !answered)))
			return 1;
	}
	return 0;
}

/* The other legs of a fork know the old contact, of which the dialog keeps one only. Entry lock
 * held. */
static void note_divergence_locked(struct dlg_cell *dlg, const struct dlg_leg *leg,
				   struct dlg_str caller)
{
	struct dlg_str known = { dlg->caller_contact, dlg->caller_contact_len };

	if (caller.len && !dlg_str_eq(caller, known) && has_others_locked(dlg, leg))
		dlg->flags |= DLG_F_ROUTING_LOST;
}

/* Both contacts become what request and reply said, unless a later refresh has taken effect: a
 * 2xx may be repeated, which is another chance for what was `lost`. */
static void refresh_locked(struct dlg_tx *tx, struct dlg_str *of_request, struct dlg_str *of_reply,
			   int lost)
{
	struct dlg_cell *dlg = tx->dlg;
	struct dlg_leg *leg = tx->leg;
	int down = tx->dir == DLG_DIR_DOWNSTREAM;
	struct dlg_str *caller = down ? of_request : of_reply;
	struct dlg_str *callee = down ? of_reply : of_request;

	if (tx->refreshed || (leg && tx->cseq < leg->refresh_cseq[tx->dir]))
		return;
	tx->refreshed = !lost;
	if (lost)
		dlg->flags |= DLG_F_ROUTING_LOST;
	note_divergence_locked(dlg, leg, *caller);
	if (caller->len)
		set_text(&dlg->caller_contact, &dlg->caller_contact_len, caller);
	if (!leg)
		return;
	if (callee->len)
		set_text(&leg->contact, &leg->contact_len, callee);
	leg->refresh_cseq[tx->dir] = tx->cseq;
}

/* A 2xx to a target refresh request (RFC 3261 12.2.1.2, 12.2.2). */
static void refresh_targets(struct dlg_tx *tx, struct host_msg *rpl)
{
	struct dlg_str said = { tx->contact, tx->contact_len };
	struct host_walk walk = { 0 };
	int request_lost, reply_lost;
	struct dlg_str of_request = shared_copy(said, &request_lost);
	struct dlg_str of_reply =
		shared_copy(rpl ? contact_of(rpl, &walk) : DLG_STR_NONE, &reply_lost);

	dlg_hash_lock(tx->dlg);
	refresh_locked(tx, &of_request, &of_reply, request_lost || reply_lost);
	dlg_hash_unlock(tx->dlg);
	dlg_db_changed(tx->dlg);
	shared_free(of_request);
	shared_free(of_reply);
}

/* Script variables are those of the request only in the process that forwards it; another one may
 * have its 2xx at the same moment. */
static void note_lifetime(struct dlg_tx *tx, struct host_msg *req)
{
	uint32_t seconds;

	if (custom_timeout(req, &seconds))
		__atomic_store_n(&tx->lifetime, seconds, __ATOMIC_RELAXED);
}

/* Who hangs up is gone even if the BYE could not be sent on: the other one's connection is lost,
 * say, or its host cannot be found (RFC 3261 15.1.1). So is who was told by the script that it may
 * go. */
static int has_hung_up(const struct dlg_tx *tx, enum dlg_tx_event event)
{
	if (tx->method != HOST_BYE)
		return 0;
	return event == DLG_TX_ANSWERED ||
	       (event == DLG_TX_NEGATIVE && __atomic_load_n(&tx->tried, __ATOMIC_RELAXED));
}

/* A relayed 2xx proves that the request went out, whoever reports first. */
static int has_passed(const struct dlg_tx *tx, enum dlg_tx_event event)
{
	return event == DLG_TX_FORWARDED || event == DLG_TX_SUCCESS || has_hung_up(tx, event);
}

static void on_sequential_event(struct dlg_tx *tx, enum dlg_tx_event event, struct host_msg *req,
				struct host_msg *rpl, int code)
{
	struct dlg_cb_params p = { .req = (struct sip_msg *)req, .rpl = (struct sip_msg *)rpl,
				   .code = code, .direction = tx->dir };

	if (event == DLG_TX_TRIED)
		__atomic_store_n(&tx->tried, 1, __ATOMIC_RELAXED);
	if (event == DLG_TX_FORWARDED)
		note_lifetime(tx, req);
	if (has_passed(tx, event))
		pass(tx->dlg, tx->leg, (enum dlg_dir)tx->dir, (enum host_method)tx->method,
		     tx->cseq, req, __atomic_load_n(&tx->lifetime, __ATOMIC_RELAXED), &tx->passed);
	if (event == DLG_TX_SUCCESS && tx->method == HOST_BYE)
		bye_done(tx, &p);
	if (code)
		dlg_cb_run(tx->dlg, DLGCB_RESPONSE_WITHIN, &p);
	if (event == DLG_TX_SUCCESS && refreshes_target((enum host_method)tx->method))
		refresh_targets(tx, rpl);
	if (tx->method == HOST_BYE && code >= 200) /* whoever was first: it may have ended one leg only */
		dlg_db_changed(tx->dlg);
}

void dlg_handlers_on_tx_event(struct dlg_tx *tx, enum dlg_tx_event event, struct host_tx *t,
			      struct host_msg *req, struct host_msg *rpl, int code)
{
	delivering++;
	if (tx->initial)
		on_initial_event(tx, event, t, req, rpl, code);
	else
		on_sequential_event(tx, event, req, rpl, code);
	delivering--;
	if (event == DLG_TX_GONE) {
		dlg_hash_put(tx->dlg, DLG_BY_TRANSACTION);
		dlg_mem_free(tx);
	}
}

void dlg_handlers_call_back(struct dlg_cell *dlg, int type)
{
	delivering++;
	dlg_cb_run(dlg, type, NULL);
	delivering--;
}

/* ---- the message is through ---- */

static void lift_ack_limit_locked(struct dlg_cell *dlg, const struct dlg_leg *leg)
{
	if (event_of_locked(dlg, leg, DLG_DIR_DOWNSTREAM, HOST_ACK) != DLG_EV_ACK)
		return;
	dlg->ack_by = UINT32_MAX;
	if (dlg->state < DLG_STATE_CONFIRMED_NA)
		dlg->flags |= DLG_F_ACK_CAME;
	else if (dlg->state == DLG_STATE_CONFIRMED_NA)
		dlg_state_rearm_locked(dlg);
}

/* The limit for the ACK is there to end calls that nobody takes part in. An ACK of the caller that
 * does not match, because of dlg_match_mode or because we have not been told of the answer, proves
 * that this is none: the limit goes, the state stays. */
static void lift_ack_limit(struct host_msg *msg, const struct dlg_ctx *ctx)
{
	struct dlg_leg *leg;
	struct dlg_cell *dlg = dlg_match_stray_ack(msg, ctx, &leg);

	if (!dlg)
		return;
	dlg_hash_lock(dlg);
	lift_ack_limit_locked(dlg, leg);
	dlg_hash_unlock(dlg);
	dlg_hash_put(dlg, DLG_BY_MESSAGE);
}

/* Nothing tells us whether a 2xx to it will change the contacts. */
static void lose_refresh(struct dlg_cell *dlg)
{
	dlg_hash_lock(dlg);
	dlg->flags |= DLG_F_ROUTING_LOST;
	dlg_hash_unlock(dlg);
}

/* A sequential request without a transaction of ours to follow it. */
static void pass_alone(struct host_msg *msg, const struct dlg_ctx *ctx)
{
	enum host_method method = (enum host_method)ctx->method;
	uint32_t lifetime = 0;
	uint8_t passed = 0; /* nobody else has this message */

	custom_timeout(msg, &lifetime);
	if (refreshes_target(method))
		lose_refresh(ctx->dlg);
	pass(ctx->dlg, ctx->leg, (enum dlg_dir)ctx->dir, method, ctx->cseq, msg, lifetime, &passed);
}

void dlg_handlers_msg_end(struct host_msg *msg, struct dlg_ctx *ctx, int forwarded)
{
	struct dlg_cell *dlg;
	int created = ctx->created;

	if (forwarded && !ctx->dlg)
		dlg_match_without_route(msg, ctx);
	dlg = ctx->dlg;
	if (forwarded && !dlg)
		lift_ack_limit(msg, ctx);
	delivering++;
	if (dlg && created && ctx->attached)
		announce(dlg, msg);
	if (dlg && !created && forwarded && !ctx->attached)
		pass_alone(msg, ctx);
	delivering--;
	*ctx = (struct dlg_ctx){ 0 };
	dlg_hash_put_last(dlg, DLG_BY_MESSAGE, created ? abandon_locked : NULL);
}

/* ---- the current dialog ---- */

/* The dialog of the message in hand and what the request means to it, from the message's own
 * slot or the transaction's. */
struct current {
	struct dlg_cell *dlg;
	struct dlg_leg *leg;
	enum dlg_dir dir;
	enum host_method method;
	int initial;
};

static struct current current(struct host_msg *msg)
{
	struct current own = { .method = HOST_OTHER };
	struct dlg_ctx *ctx;
	struct dlg_tx *tx;

	own.dlg = dlg_req_within_sending(&own.leg, &own.dir);
	if (own.dlg)
		return own;
	ctx = host_ctx(msg);
	if (ctx)
		dlg_match_without_route(msg, ctx);
	if (ctx && ctx->dlg)
		return (struct current){ ctx->dlg, ctx->leg, (enum dlg_dir)ctx->dir,
					 (enum host_method)ctx->method, ctx->created };
	tx = host_tx_of(msg);
	if (tx)
		return (struct current){ tx->dlg, tx->leg, (enum dlg_dir)tx->dir,
					 (enum host_method)tx->method, tx->initial };
	return (struct current){ 0 };
}

struct dlg_cell *dlg_handlers_current(struct host_msg *msg, enum dlg_dir *dir)
{
	struct current c = current(msg);

	if (dir)
		*dir = c.dir;
	return c.dlg;
}

/* The state a dialog will be in once a request has passed. Entry lock held. */
static int state_after_locked(const struct current *c)
{
	enum dlg_state state = (enum dlg_state)c->dlg->state;

	if (c->initial)
		return (int)state;
	return dlg_state_rule(state, event_of_locked(c->dlg, c->leg, c->dir, c->method))->next;
}

int dlg_handlers_status(struct host_msg *msg)
{
	struct current c = current(msg);
	int state;

	if (!c.dlg)
		return 0;
	dlg_hash_lock(c.dlg);
	state = state_after_locked(&c);
	dlg_hash_unlock(c.dlg);
	return state;
}

int dlg_handlers_validate(struct host_msg *msg)
{
	struct dlg_ctx *ctx = host_ctx(msg);

	if (!ctx)
		return -1;
	dlg_match_without_route(msg, ctx);
	return dlg_match_validate(msg, ctx);
}

/* ---- ending calls ---- */

static enum dlg_state state_of(struct dlg_cell *dlg)
{
	enum dlg_state state;

	dlg_hash_lock(dlg);
	state = (enum dlg_state)dlg->state;
	dlg_hash_unlock(dlg);
	return state;
}

/* The parties were told. A leg may have answered meanwhile. */
static uint32_t terminate(struct dlg_cell *dlg)
{
	uint32_t actions;

	dlg_hash_lock(dlg);
	actions = apply_locked(dlg, DLG_EV_TERMINATE, DLG_END_PROXY, 0);
	dlg->flags |= DLG_F_KILLED;
	end_rest_locked(dlg);
	dlg_hash_unlock(dlg);
	return actions;
}

/* They could not be told. It may be over all the same, and somebody else relied on us. */
static int give_up(struct dlg_cell *dlg)
{
	dlg_hash_lock(dlg);
	end_rest_locked(dlg);
	dlg_hash_unlock(dlg);
	return -1;
}

static int end_answered(struct dlg_cell *dlg, struct dlg_str headers, const char **why)
{
	unsigned failed;

	*why = "Operation failed"; /* also when only one party could not be told */
	if (!dlg_req_within_byes(dlg, headers, &failed))
		return give_up(dlg);
	follow_up(dlg, terminate(dlg), NULL);
	return failed ? -1 : 0;
}

static int refuse(struct dlg_cell *dlg)
{
	int ret;

	refusing = dlg;
	ret = host_tx_refuse(tx_of(dlg), 480, "Temporarily Unavailable");
	refusing = NULL;
	return ret;
}

static int end_later(struct dlg_cell *dlg, struct dlg_str headers, const char **why)
{
	int ended, news;

	*why = "Extra headers cannot be given here";
	if (headers.len)
		return -1;
	*why = "Dialog has ended already";
	dlg_hash_lock(dlg);
	/* NONE: it has left the table, and a DLGCB_DESTROY callback is asking */
	ended = dlg->state == DLG_STATE_DELETED || dlg->state == DLG_STATE_NONE;
	news = !ended && !(dlg->flags & DLG_F_END_WANTED);
	if (!ended)
		want_end_locked(dlg);
	dlg_hash_unlock(dlg);
	if (news)
		dlg_db_changed(dlg); /* a restart must not forget it */
	return ended ? -1 : 0;
}

/* Refuse the INVITE. When that is too late, it may have been answered just now. */
static int end_early(struct dlg_cell *dlg, struct dlg_str headers, const char **why)
{
	int ret = refuse(dlg);

	if (ret > 0)
		return end_later(dlg, headers, why);
	*why = "Call is being set up and cannot be ended now";
	if (ret < 0)
		return dlg_state_is_answered(state_of(dlg)) ? end_answered(dlg, headers, why) : -1;
	follow_up(dlg, terminate(dlg), NULL);
	return 0;
}

static int end_now(struct dlg_cell *dlg, struct dlg_str headers, const char **why)
{
	enum dlg_state state = state_of(dlg);

	if (dlg_state_is_answered(state))
		return end_answered(dlg, headers, why);
	if (state == DLG_STATE_UNCONFIRMED || state == DLG_STATE_EARLY)
		return end_early(dlg, headers, why);
	*why = "Dialog has ended already";
	return -1;
}

int dlg_handlers_end(struct dlg_cell *dlg, struct dlg_str headers, const char **why)
{
	if (!dlg_req_within_headers_ok(headers)) {
		*why = "Bad extra headers";
		return -1;
	}
	return delivering ? end_later(dlg, headers, why) : end_now(dlg, headers, why);
}

int dlg_handlers_end_without_waiting(struct dlg_cell *dlg, const char **why)
{
	int waits;

	dlg_hash_lock(dlg);
	waits = dlg_req_within_may_wait_locked(dlg);
	dlg_hash_unlock(dlg);
	return waits ? end_later(dlg, DLG_STR_NONE, why) : dlg_handlers_end(dlg, DLG_STR_NONE, why);
}

/* ---- the timer ---- */

/* The call is to be ended with BYE now: its time is over. Entry lock held. */
static int ends_with_bye_locked(const struct dlg_cell *dlg)
{
	return dlg->flags & DLG_F_BYE_ON_TIMEOUT && !dlg_timer_left(dlg->timer.deadline) &&
	       dlg_state_rule((enum dlg_state)dlg->state, DLG_EV_TIMEOUT)->actions & DLG_DO_SEND_BYES;
}

/* Leave its BYEs to the process that may wait. Entry lock held. */
static int pass_on_locked(struct dlg_cell *dlg)
{
	if ((!(dlg->flags & DLG_F_END_WANTED) && !ends_with_bye_locked(dlg)) ||
	    !dlg_req_within_may_wait_locked(dlg))
		return 0;
	dlg_timer_pass_on_locked(dlg);
	return 1;
}

/* What the timer has to do. */
struct due {
	uint32_t actions; /* a limit was reached */
	int wish;         /* somebody wishes to end the call */
	int again;        /* and that failed before */
};

/* What could not be sent a second ago may be a lot: that goes out at the rate of the limits. Entry
 * lock held. */
static void take_wish_locked(struct dlg_cell *dlg, int may_send, struct due *due)
{
	due->again = dlg->end_tries > 0;
	due->wish = may_send || !due->again;
	if (!due->wish) {
		dlg_timer_arm_locked(dlg, dlg_timer_next());
		return;
	}
	dlg->flags &= (uint16_t)~DLG_F_END_WANTED;
	dlg_state_rearm_locked(dlg);
}

/* The actions of a limit, or 0: the timer was re-armed meanwhile, or the limit has to wait. Entry
 * lock held. */
static uint32_t limit_locked(struct dlg_cell *dlg, int may_send)
{
	if (dlg_timer_left(dlg->timer.deadline))
		return 0;
	if (!may_send && ends_with_bye_locked(dlg)) {
		dlg_timer_arm_locked(dlg, dlg_timer_next());
		return 0;
	}
	if (dlg->state != DLG_STATE_DELETED &&
	    (!dlg->start_time || dlg->flags & DLG_F_BYE_ON_TIMEOUT))
		dlg->flags |= DLG_F_KILLED; /* a late answer gets a BYE */
	dlg->end_tries = 0;
	return apply_locked(dlg, DLG_EV_TIMEOUT, DLG_END_PROXY, dlg->start_time ? 0 : 408);
}

static struct due due(struct dlg_cell *dlg, int may_send, int may_wait)
{
	struct due due = { 0 };

	dlg_hash_lock(dlg);
	if (may_wait || !pass_on_locked(dlg)) {
		if (dlg->flags & DLG_F_END_WANTED)
			take_wish_locked(dlg, may_send, &due);
		else
			due.actions = limit_locked(dlg, may_send);
	}
	dlg_hash_unlock(dlg);
	return due;
}

/* Is the dialog overdue for the first time? */
static int note_overdue(struct dlg_cell *dlg)
{
	int overdue;

	dlg_hash_lock(dlg);
	overdue = !(dlg->flags & DLG_F_REPORTED) && !dlg_timer_left(dlg->expires);
	if (overdue)
		dlg->flags |= DLG_F_REPORTED;
	dlg_hash_unlock(dlg);
	return overdue;
}

/* Somebody holds an ended dialog for longer than any late message can explain: say who, once. */
static void report_overdue(struct dlg_cell *dlg)
{
	char holders[96];

	dlg_hash_holders(dlg, holders, sizeof(holders));
	if (!*holders || !note_overdue(dlg))
		return;
	dlg_state_count(&dlg_state_counters()->overdue);
	HOST_LOG(HOST_WARNING, "%s: ended but still held by %s", dlg_hash_name(dlg), holders);
}

/* BYEs that cannot be sent for want of memory are tried for a good minute: not for ever, because it
 * may be that the host cannot send there. */
enum { BYE_TRIES = 20, BYE_WAIT_MAX_S = 4 };

static uint32_t limit_of_locked(const struct dlg_cell *dlg)
{
	return dlg->ack_by < dlg->expires ? dlg->ack_by : dlg->expires;
}

/* Is somebody to be told, and does no limit come sooner that ends the call anyway? A name that was
 * not found would make others wait once more. Entry lock held. */
static int is_worth_waiting_locked(const struct dlg_cell *dlg, uint32_t seconds)
{
	int may_try = dlg->end_tries < BYE_TRIES && dlg_req_within_may_tell_locked(dlg);

	if (dlg_req_within_may_wait_locked(dlg))
		return 0;
	if (dlg->state == DLG_STATE_DELETED)
		return may_try;
	if (dlg_state_is_answered(dlg->state) && !may_try)
		return 0;
	return dlg_timer_left(limit_of_locked(dlg)) > seconds;
}

/* Next second, and then a bit less often: it is being answered at this moment, or there was no
 * memory. */
static void want_again(struct dlg_cell *dlg)
{
	uint32_t seconds;

	dlg_hash_lock(dlg);
	seconds = dlg->end_tries < 2 ? 1u << dlg->end_tries : BYE_WAIT_MAX_S;
	if (is_worth_waiting_locked(dlg, seconds)) {
		dlg->flags |= DLG_F_END_WANTED;
		if (dlg->end_tries < BYE_TRIES)
			dlg->end_tries++;
		dlg_timer_arm_locked(dlg, dlg_timer_after(seconds));
	}
	dlg_hash_unlock(dlg);
}

/* By a callback, or for a party that answered after the end. */
static void end_as_wanted(struct dlg_cell *dlg)
{
	const char *why;

	if (state_of(dlg) == DLG_STATE_DELETED)
		dlg_req_within_byes(dlg, DLG_STR_NONE, NULL);
	else if (end_now(dlg, DLG_STR_NONE, &why) < 0)
		HOST_LOG(HOST_DEBUG, "%s: could not be ended: %s", dlg_hash_name(dlg), why);
}

int dlg_handlers_on_timeout(struct dlg_cell *dlg, int may_send, int may_wait)
{
	struct due d = due(dlg, may_send, may_wait);
	int sent;

	if (d.actions & DLG_DO_FREE) {
		report_overdue(dlg);
		dlg_hash_release(dlg);
		return 0;
	}
	sent = sends_byes(dlg, d.actions);
	follow_up(dlg, d.actions, NULL);
	if (d.wish)
		end_as_wanted(dlg);
	if (d.wish || sent)
		want_again(dlg);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	return sent || (d.wish && d.again);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_db_image.h"

#include "dialog.h"
#include "dlg_mem.h"
#include "dlg_vals.h"

enum {
	STORED_FLAGS = DLG_F_BYE_ON_TIMEOUT | DLG_F_IN_PATH | DLG_F_LEG_LOST | DLG_F_ROUTING_LOST |
		       DLG_F_END_WANTED,
};

/* ---- from a dialog ---- */

static int is_live(const struct dlg_leg *leg)
{
	return leg->state == DLG_LEG_ANSWERED || leg->state == DLG_LEG_ENDING;
}

static const struct dlg_leg *next_live(const struct dlg_leg *leg)
{
	while (leg && !is_live(leg))
		leg = leg->next;
	return leg;
}

static void add_caller(const struct dlg_cell *dlg, struct dlg_buf *out)
{
	dlg_row_add_number(out, dlg->h_entry);
	dlg_row_add_number(out, dlg->h_id);
	dlg_row_add_text(out, dlg_hash_text(dlg, DLG_CALL_ID));
	dlg_row_add_text(out, dlg_hash_text(dlg, DLG_FROM_URI));
	dlg_row_add_text(out, dlg_hash_text(dlg, DLG_FROM_TAG));
	dlg_row_add_text(out, dlg_hash_text(dlg, DLG_TO_URI));
}

/* The callee of a dialog whose leg was lost for want of memory: nothing is known of it. */
static const struct dlg_leg unknown_leg;

static void add_parties(const struct dlg_cell *dlg, const struct dlg_leg *leg, struct dlg_buf *out)
{
	const struct host_sock *sock = leg->sock ? leg->sock : dlg->caller_sock;

	dlg_row_add_text(out, (struct dlg_str){ leg == &unknown_leg ? NULL : leg->tag, leg->tag_len });
	dlg_row_add_number(out, dlg_hash_last_cseq_locked(leg, DLG_DIR_DOWNSTREAM));
	dlg_row_add_number(out, dlg_hash_last_cseq_locked(leg, DLG_DIR_UPSTREAM));
	dlg_row_add_text(out, dlg_hash_text(dlg, DLG_CALLER_ROUTES));
	dlg_row_add_text(out, (struct dlg_str){ leg->route_set, leg->route_set_len });
	dlg_row_add_text(out, (struct dlg_str){ dlg->caller_contact, dlg->caller_contact_len });
	dlg_row_add_text(out, (struct dlg_str){ leg->contact, leg->contact_len });
	dlg_row_add_text(out, host_sock_text(dlg->caller_sock));
	dlg_row_add_text(out, host_sock_text(sock));
}

static void add_pair(struct dlg_buf *out, struct dlg_str name, struct dlg_str value)
{
	dlg_row_escape(out, name, "#|");
	dlg_buf_add(out, DLG_STR("#"));
	dlg_row_escape(out, value, "#|");
	dlg_buf_add(out, DLG_STR("|"));
}

static void add_value(struct dlg_str name, struct dlg_str value, void *arg)
{
	add_pair(arg, name, value);
}

static void add_membership(int profile, struct dlg_str value, void *arg)
{
	add_pair(arg, dlg_profile_name(profile), value);
}

static void add_leg_number(struct dlg_buf *out, uint32_t number)
{
	dlg_buf_add_number(out, number);
	dlg_buf_add(out, DLG_STR(","));
}

static void add_leg_text(struct dlg_buf *out, struct dlg_str v)
{
	dlg_row_escape(out, v, ",;");
	dlg_buf_add(out, DLG_STR(","));
}

static void add_leg(const struct dlg_leg *leg, struct dlg_buf *out, int further)
{
	const uint32_t *sets[] = { leg->cseq, leg->own_cseq, leg->refresh_cseq, leg->invite_cseq };

	add_leg_number(out, leg->seen);
	add_leg_number(out, leg->acked);
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		add_leg_number(out, sets[i][DLG_DIR_DOWNSTREAM]);
		add_leg_number(out, sets[i][DLG_DIR_UPSTREAM]);
	}
	if (further) {
		add_leg_text(out, (struct dlg_str){ leg->tag, leg->tag_len });
		add_leg_text(out, (struct dlg_str){ leg->contact, leg->contact_len });
		add_leg_text(out, (struct dlg_str){ leg->route_set, leg->route_set_len });
		add_leg_text(out, host_sock_text(leg->sock));
	}
	dlg_buf_add(out, DLG_STR(";"));
}

static void add_legs(const struct dlg_leg *first, struct dlg_buf *out)
{
	size_t begun = dlg_row_begin_text(out);

	for (const struct dlg_leg *leg = first; leg; leg = next_live(leg->next))
		add_leg(leg, out, leg != first);
	dlg_row_end_text(out, begun);
}

void dlg_db_image_locked(const struct dlg_cell *dlg, struct dlg_buf *out)
{
	const struct dlg_leg *leg = next_live(dlg->legs);
	size_t begun;

	add_caller(dlg, out);
	add_parties(dlg, leg ? leg : &unknown_leg, out);
	dlg_row_add_number(out, dlg->state);
	dlg_row_add_number(out, dlg->start_time);
	dlg_row_add_number(out, host_wall_s() + dlg_timer_left(dlg->expires));
	begun = dlg_row_begin_text(out);
	dlg_vals_each_locked(dlg, add_value, out);
	dlg_row_end_text(out, begun);
	begun = dlg_row_begin_text(out);
	dlg_profile_each_locked(dlg, add_membership, out);
	dlg_row_end_text(out, begun);
	dlg_row_add_number(out, dlg->user_flags);
	dlg_row_add_number(out, dlg->flags & STORED_FLAGS);
	dlg_row_add_number(out, dlg->lifetime);
	add_legs(leg, out);
}

/* ---- to a dialog ---- */

static struct dlg_leg *make_leg(const struct dlg_row_leg *in)
{
	struct dlg_leg *leg = dlg_hash_leg_new(in->tag, in->route_set);

	if (!leg)
		return NULL;
	leg->contact = dlg_mem_copy(in->contact);
	if (in->contact.len && !leg->contact) {
		dlg_hash_leg_free(leg);
		return NULL;
	}
	leg->contact_len = (uint16_t)in->contact.len;
	leg->sock = host_sock_find(in->sock);
	leg->state = DLG_LEG_ANSWERED;
	leg->seen = in->seen;
	leg->acked = in->acked;
	memcpy(leg->cseq, in->cseq, sizeof(leg->cseq));
	memcpy(leg->own_cseq, in->own_cseq, sizeof(leg->own_cseq));
	memcpy(leg->refresh_cseq, in->refresh_cseq, sizeof(leg->refresh_cseq));
	memcpy(leg->invite_cseq, in->invite_cseq, sizeof(leg->invite_cseq));
	return leg;
}

/* What unknown_leg was written as. As a leg nobody could end it: no BYE has its tag. */
static int is_unknown(const struct dlg_row *row, const struct dlg_row_leg *leg)
{
	return row->flags & DLG_F_LEG_LOST && !leg->tag.len && !leg->contact.len;
}

static int make_legs(const struct dlg_row *row, struct dlg_cell *dlg)
{
	for (unsigned i = 0; i < row->n_legs; i++) {
		struct dlg_leg *leg;

		if (is_unknown(row, &row->leg[i]))
			continue;
		leg = make_leg(&row->leg[i]);
		if (!leg)
			return -1;
		dlg_hash_leg_add_locked(dlg, leg, DLG_LEGS_MAX);
	}
	return 0;
}

/* Values and memberships were written newest first. What fails is memory: the row was checked. */
static int make_values(const struct dlg_row *row, struct dlg_cell *dlg)
{
	struct dlg_str list = row->vars, name, value;
	struct dlg_buf pair = { 0 };
	int got;

	if (!list.len)
		return 0; /* no locks for nothing: a million rows are read */
	while ((got = dlg_row_next_pair(&list, &pair, &name, &value)) > 0) {
		if (dlg_vals_set(dlg, name, value) < 0)
			break;
	}
	dlg_vals_reverse(dlg);
	dlg_buf_free(&pair);
	return got ? -1 : 0;
}

/* 0 or -1. */
static int join(struct dlg_cell *dlg, struct dlg_str name, struct dlg_str value, unsigned *lost)
{
	int profile = dlg_profile_find(name);

	if (profile >= 0)
		return dlg_profile_join(dlg, profile, value);
	(*lost)++;
	return 0;
}

static int make_memberships(const struct dlg_row *row, struct dlg_cell *dlg, unsigned *lost)
{
	struct dlg_str list = row->profiles, name, value;
	struct dlg_buf pair = { 0 };
	int got;

	if (!list.len)
		return 0;
	while ((got = dlg_row_next_pair(&list, &pair, &name, &value)) > 0) {
		if (join(dlg, name, value, lost) < 0)
			break;
	}
	dlg_profile_reverse(dlg);
	dlg_buf_free(&pair);
	return got ? -1 : 0;
}

/* More than the lifetime is left of no call, unless the clock has been set back. */
static uint64_t seconds_left(const struct dlg_row *row)
{
	int64_t left = row->timeout - host_wall_s();

	if (row->lifetime && left > row->lifetime)
		left = row->lifetime;
	return left > 0 ? (uint64_t)left : 0;
}

/* None, if the clock has been set back. */
static uint32_t seconds_since(int64_t wall)
{
	int64_t now = host_wall_s();

	return now > wall ? (uint32_t)(now - wall) : 0;
}

static void set_fields(const struct dlg_row *row, struct dlg_cell *dlg)
{
	dlg->user_flags = row->user_flags;
	dlg->flags = (row->flags & STORED_FLAGS) | DLG_F_RESTORED;
	dlg->start_time = row->start_time;
	dlg->answered_at = dlg_timer_now() - seconds_since(row->start_time);
	dlg->ack_by = UINT32_MAX;
	dlg->expires = dlg_timer_after(seconds_left(row));
}

static int sockets_ok(const struct dlg_row *row)
{
	for (unsigned i = 0; i < row->n_legs; i++) {
		if (!host_sock_find(row->leg[i].sock))
			return 0;
	}
	return host_sock_find(row->caller_sock) != NULL;
}

static struct dlg_cell *make_cell(const struct dlg_row *row)
{
	struct dlg_hash_new in = {
		.call_id = row->call_id, .from_uri = row->from_uri, .to_uri = row->to_uri,
		.from_tag = row->from_tag, .caller_routes = row->caller_routes,
		.caller_contact = row->caller_contact,
		.caller_sock = host_sock_find(row->caller_sock),
		.invite_cseq = row->leg[0].invite_cseq[DLG_DIR_DOWNSTREAM],
		.lifetime = row->lifetime ? row->lifetime : (uint32_t)dialog_conf.default_timeout,
	};

	return dlg_hash_new_cell(&in);
}

enum dlg_db_made dlg_db_image_make(const struct dlg_row *row, unsigned *lost,
				   struct dlg_cell **out)
{
	enum dlg_event event = row->state == DLG_STATE_CONFIRMED ? DLG_EV_RESTORE
								 : DLG_EV_RESTORE_NO_ACK;
	struct dlg_cell *dlg;
	int linked;

	if (!sockets_ok(row))
		return DLG_DB_NO_SOCKET;
	dlg = make_cell(row);
	if (!dlg)
		return DLG_DB_NO_MEMORY;
	set_fields(row, dlg);
	linked = make_legs(row, dlg) < 0 ? -1 : dlg_hash_link(dlg, row->h_id, event);
	if (linked < 1) {
		dlg_hash_discard(dlg);
		return linked < 0 ? DLG_DB_NO_MEMORY : DLG_DB_DUPLICATE;
	}
	*out = dlg;
	return make_values(row, dlg) < 0 || make_memberships(row, dlg, lost) < 0 ? DLG_DB_NO_MEMORY
										 : DLG_DB_MADE;
}

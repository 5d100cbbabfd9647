/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The API of dlg_load.h, as another module sees it. */
#include "../../dlg_cb.h"

#include "../../dlg_mem.h"
#include "../sim/sim_call.h"
#include "unit.h"

static struct dlg_api api;
static struct sim_call call;
static char trail[1024];

static void note(const char *what)
{
	strncat(trail, what, sizeof(trail) - strlen(trail) - 1);
}

static const char *type_name(int type)
{
	static const char *const names[] = { "LOADED",         "SAVED",           "CREATED",
					     "FAILED",         "CONFIRMED",       "REQ_WITHIN",
					     "TERMINATED",     "EXPIRED",         "EARLY",
					     "RESPONSE_FWDED", "RESPONSE_WITHIN", "MI_CONTEXT",
					     "DESTROY" };

	for (int i = 0; i < 13; i++) {
		if (type == 1 << i)
			return names[i];
	}
	return "?";
}

static void on_event(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	char text[64];

	(void)dlg;
	snprintf(text, sizeof(text), "%s%s(%d,%d) ", (const char *)*p->param, type_name(type),
		 p->code, p->direction);
	note(text);
}

static void on_free(void *param)
{
	note("free");
	note(param);
	note(" ");
}

static char a[] = "", b[] = "b:";

static void on_created(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	const int all = DLGCB_FAILED | DLGCB_CONFIRMED | DLGCB_REQ_WITHIN | DLGCB_TERMINATED |
			DLGCB_EXPIRED | DLGCB_EARLY | DLGCB_RESPONSE_FWDED | DLGCB_RESPONSE_WITHIN |
			DLGCB_DESTROY;

	ck_assert_int_eq(type, DLGCB_CREATED);
	ck_assert_ptr_nonnull(p->req);
	note("CREATED ");
	ck_assert_int_eq(api.register_dlgcb(dlg, all, on_event, a, on_free), 0);
}

static void init(void)
{
	ck_assert_int_eq(sim_call_start(4), 0);
	ck_assert_int_eq(dlg_load_api(&api, dlg_cb_bind), 0);
	ck_assert_int_eq(api.register_dlgcb(NULL, DLG_CREATED, on_created, NULL, NULL), 0);
	sim_call_init(&call, 1);
}

START_TEST(the_handshake_checks_version_and_size)
{
	struct dlg_api other;

	ck_assert_int_eq(dlg_load_api(&other, dlg_cb_bind), -1); /* not started yet */
	ck_assert_int_eq(sim_call_start(4), 0);
	ck_assert_int_eq(dlg_load_api(&other, NULL), -1);
	ck_assert_int_eq(dlg_cb_bind(&other, DLG_API_VERSION + 1, sizeof(other)), -1);
	ck_assert_int_eq(dlg_cb_bind(&other, DLG_API_VERSION, sizeof(other) - 8), -1);
	ck_assert_int_eq(dlg_cb_bind(NULL, DLG_API_VERSION, sizeof(other)), -1);
	ck_assert_int_eq(dlg_load_api(&other, dlg_cb_bind), 0);
}
END_TEST

START_TEST(a_call_is_told_from_creation_to_destruction)
{
	init();
	sim_talk(&call);
	sim_within(&call, HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_run(10);
	ck_assert_str_eq(
		trail, "CREATED RESPONSE_FWDED(180,1) EARLY(180,1) RESPONSE_FWDED(200,1) "
		       "CONFIRMED(200,1) REQ_WITHIN(0,1) REQ_WITHIN(0,2) RESPONSE_WITHIN(200,2) "
		       "REQ_WITHIN(0,1) TERMINATED(0,1) RESPONSE_WITHIN(200,1) DESTROY(0,0) free ");
}
END_TEST

START_TEST(a_failed_call_is_told)
{
	init();
	sim_invite(&call);
	sim_answer(&call, 0, 486);
	sim_gone(&call);
	sim_run(10);
	ck_assert_str_eq(trail, "CREATED RESPONSE_FWDED(486,1) FAILED(486,1) DESTROY(0,0) free ");
}
END_TEST

START_TEST(an_expired_call_is_told)
{
	init();
	dialog_conf.default_timeout = 20;
	sim_talk(&call);
	trail[0] = '\0';
	sim_run(40);
	ck_assert_str_eq(trail, "EXPIRED(0,0) DESTROY(0,0) free ");
}
END_TEST

START_TEST(the_last_registered_runs_first)
{
	struct dlg_cell *dlg;

	init();
	sim_talk(&call);
	dlg = api.find(sim_peek(&call)->h_entry, sim_peek(&call)->h_id);
	ck_assert_int_eq(api.register_dlgcb(dlg, DLGCB_TERMINATED, on_event, b, on_free), 0);
	trail[0] = '\0';
	ck_assert_int_eq(api.end(dlg, NULL), 0);
	ck_assert_str_eq(trail, "b:TERMINATED(0,0) TERMINATED(0,0) ");
	ck_assert_int_eq(api.end(dlg, NULL), -1);
	sim_sent_all(200);
	sim_run(10);
	trail[0] = '\0';
	api.put(dlg);
	ck_assert_str_eq(trail, "DESTROY(0,0) freeb: free ");
}
END_TEST

START_TEST(registrations_that_make_no_sense_are_refused)
{
	struct dlg_cell *dlg;

	init();
	sim_talk(&call);
	dlg = api.find(sim_peek(&call)->h_entry, sim_peek(&call)->h_id);
	ck_assert_int_eq(api.register_dlgcb(dlg, DLGCB_CREATED, on_event, a, NULL), -1);
	ck_assert_int_eq(api.register_dlgcb(dlg, DLGCB_LOADED | DLGCB_EARLY, on_event, a, NULL),
			 -1);
	ck_assert_int_eq(api.register_dlgcb(dlg, 0, on_event, a, NULL), -1);
	ck_assert_int_eq(api.register_dlgcb(dlg, DLGCB_DESTROY << 1, on_event, a, NULL), -1);
	ck_assert_int_eq(api.register_dlgcb(dlg, DLGCB_EARLY, NULL, a, NULL), -1);
	ck_assert_int_eq(api.register_dlgcb(NULL, DLGCB_EARLY, on_event, a, NULL), -1);
	ck_assert_int_eq(api.register_dlgcb(NULL, DLGCB_CREATED | DLGCB_LOADED, on_event, a, NULL),
			 -1);
	ck_assert_int_eq(api.register_dlgcb(NULL, DLGCB_LOADED, on_event, a, NULL), 0);
	api.put(dlg);
}
END_TEST

START_TEST(get_info_copies_everything)
{
	struct dlg_info info;
	struct dlg_cell *dlg;
	char buf[512];
	size_t need;

	init();
	sim_talk(&call);
	dlg = api.find(sim_peek(&call)->h_entry, sim_peek(&call)->h_id);
	need = api.get_info(dlg, &info, NULL, 0);
	ck_assert_uint_gt(need, 50);
	ck_assert_uint_lt(need, sizeof(buf));
	ck_assert_uint_eq(api.get_info(dlg, &info, buf, need - 1), need);
	ck_assert_uint_eq(api.get_info(dlg, &info, buf, need), 0);
	ck_assert_str_eq(info.call_id, call.call_id);
	ck_assert_str_eq(info.from_uri, call.from_uri);
	ck_assert_str_eq(info.to_uri, call.to_uri);
	ck_assert_str_eq(info.from_tag, call.from_tag);
	ck_assert_str_eq(info.to_tag, call.leg[0].tag);
	ck_assert_str_eq(info.caller_contact, call.contact);
	ck_assert_str_eq(info.callee_contact, call.leg[0].contact);
	ck_assert_int_eq(info.state, 4);
	ck_assert(info.start_time == host_wall_s() && info.end_time == 0);
	ck_assert_uint_ge(info.timeout_in, (unsigned)dialog_conf.default_timeout);
	ck_assert_int_eq(info.ended_by, DLG_API_ENDED_BY_NONE);
	sim_within(&call, HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	ck_assert_uint_eq(api.get_info(dlg, &info, buf, sizeof(buf)), 0);
	ck_assert_int_eq(info.ended_by, DLG_API_ENDED_BY_CALLEE);
	ck_assert(info.end_time == host_wall_s());
	api.put(dlg);
}
END_TEST

START_TEST(values_and_flags_through_the_api)
{
	struct dlg_cell *dlg;
	char buf[8];

	init();
	sim_talk(&call);
	dlg = api.find(sim_peek(&call)->h_entry, sim_peek(&call)->h_id);
	ck_assert_int_eq(api.get_value(dlg, "k", buf, sizeof(buf)), -1);
	ck_assert_int_eq(api.set_value(dlg, "k", "1234567", 7), 0);
	ck_assert_int_eq(api.get_value(dlg, "k", buf, sizeof(buf)), 7);
	ck_assert_str_eq(buf, "1234567");
	ck_assert_int_eq(api.set_value(dlg, "k", "12345678", 8), 0);
	ck_assert_int_eq(api.get_value(dlg, "k", buf, sizeof(buf)), 8);
	ck_assert_str_eq(buf, "1234567"); /* untouched */
	ck_assert_int_eq(api.get_value(dlg, "k", NULL, 0), 8);
	ck_assert_int_eq(api.set_value(dlg, "k", NULL, 0), 0);
	ck_assert_int_eq(api.get_value(dlg, "k", buf, sizeof(buf)), -1);
	api.set_flags(dlg, 0x80000001u, 0);
	ck_assert_uint_eq(api.get_flags(dlg), 0x80000001u);
	api.put(dlg);
}
END_TEST

static struct dlg_cell *got;
static int got_direction;

static void get_current(struct host_msg *msg)
{
	got = api.get((struct sip_msg *)msg, &got_direction);
	if (got)
		api.put(got);
}

START_TEST(get_gives_the_dialog_of_the_message)
{
	struct sim_script script = { .fate = SIM_DROP, .extra = get_current };

	init();
	sim_talk(&call);
	sim_step(&call, &(struct sim_request){ .method = HOST_OTHER, .dir = DLG_DIR_UPSTREAM },
		 &script);
	ck_assert_ptr_eq(got, sim_peek(&call));
	ck_assert_int_eq(got_direction, DLG_API_UPSTREAM);
	sim_step(&call, &(struct sim_request){ .method = HOST_OTHER, .from_tag = "x" }, &script);
	ck_assert_ptr_null(got);
	ck_assert_int_eq(got_direction, 0);
	ck_assert_ptr_null(api.find(0, 0));
	ck_assert_ptr_null(api.find(UINT32_MAX, UINT32_MAX));
}
END_TEST

/* As in a callback of the timer, which has no request; whatever the process is busy with otherwise. */
START_TEST(no_message_has_no_dialog)
{
	struct host_tx *before;

	init();
	before = sim_tx_enter(sim_invite(&call));
	got_direction = DLG_API_UPSTREAM;
	ck_assert_ptr_null(api.get(NULL, &got_direction));
	ck_assert_int_eq(got_direction, 0);
	ck_assert_ptr_null(api.get(NULL, NULL));
	ck_assert_int_eq(api.create(NULL), -1);
	sim_tx_enter(before);
}
END_TEST

static void ends_it(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	(void)type;
	(void)p;
	ck_assert_int_eq(api.end(dlg, "X-From: callback"), -1); /* not while a message is in hand */
	ck_assert_int_eq(api.end(dlg, NULL), 0);
}

/* It ends when the message in hand has gone its way. */
static int end_at_destroy;

static void ends_it_when_destroyed(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	(void)type;
	(void)p;
	end_at_destroy = api.end(dlg, NULL);
}

static void puts_the_other(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	(void)dlg;
	(void)type;
	api.put(*p->param);
}

/* A module gives an ended dialog back in a callback about another one, when end() is put off. */
START_TEST(a_dialog_being_freed_cannot_be_ended)
{
	static struct sim_call other;
	struct dlg_cell *held, *dlg;

	init();
	sim_talk(&call);
	held = api.find(sim_peek(&call)->h_entry, sim_peek(&call)->h_id);
	ck_assert_int_eq(
		api.register_dlgcb(held, DLGCB_DESTROY, ends_it_when_destroyed, NULL, NULL), 0);
	sim_within(&call, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_run(10);
	sim_call_init(&other, 2);
	sim_talk(&other);
	dlg = api.find(sim_peek(&other)->h_entry, sim_peek(&other)->h_id);
	ck_assert_int_eq(api.register_dlgcb(dlg, DLGCB_REQ_WITHIN, puts_the_other, held, NULL), 0);
	api.put(dlg);
	end_at_destroy = 0;
	sim_within(&other, HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_int_eq(end_at_destroy, -1);
	sim_run(10);
	ck_assert_ptr_null(sim_violated());
}
END_TEST

START_TEST(a_callback_may_end_the_call)
{
	struct dlg_cell *dlg;

	init();
	sim_talk(&call);
	dlg = api.find(sim_peek(&call)->h_entry, sim_peek(&call)->h_id);
	ck_assert_int_eq(api.register_dlgcb(dlg, DLGCB_REQ_WITHIN, ends_it, NULL, NULL), 0);
	api.put(dlg);
	sim_within(&call, HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_int_eq(sim_state(&call), 4);
	ck_assert_uint_eq(sim_sent_pending(), 0);
	sim_run(2);
	ck_assert_int_eq(sim_state(&call), 5);
	ck_assert_uint_eq(sim_sent_pending(), 2);
	sim_sent_all(200);
	sim_sent_clear();
	sim_run(10);
	ck_assert_int_eq(sim_state(&call), 0);
	ck_assert_ptr_null(sim_violated());
}
END_TEST

START_TEST(another_process_may_end_the_call_at_once)
{
	struct dlg_cell *dlg;

	init();
	sim_talk(&call);
	dlg = api.find(sim_peek(&call)->h_entry, sim_peek(&call)->h_id);
	ck_assert_int_eq(api.end(dlg, "X-From: timer"), 0);
	api.put(dlg);
	ck_assert_int_eq(sim_state(&call), 5);
	ck_assert_str_eq(sim_sent_list()->headers, "X-From: timer\r\n");
	sim_sent_all(200);
	sim_sent_clear();
}
END_TEST

int main(void)
{
	return unit_run(
		"dlg_cb",
		UNIT_TESTS{ the_handshake_checks_version_and_size,
			    a_call_is_told_from_creation_to_destruction, a_failed_call_is_told,
			    an_expired_call_is_told, the_last_registered_runs_first,
			    registrations_that_make_no_sense_are_refused,
			    get_info_copies_everything, values_and_flags_through_the_api,
			    get_gives_the_dialog_of_the_message, no_message_has_no_dialog,
			    a_dialog_being_freed_cannot_be_ended, a_callback_may_end_the_call,
			    another_process_may_end_the_call_at_once, NULL },
		20);
}

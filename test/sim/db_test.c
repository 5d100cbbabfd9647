/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls of the simulated proxy and what becomes of them in database and journal: in every mode,
 * over restarts and kills, with a database that fails wherever it can. A "life" is a process with a
 * proxy in it; lives follow each other over the same table and journal. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../dlg_cb.h"
#include "../../dlg_cookie.h"
#include "../../dlg_db_handler.h"
#include "../../dlg_handlers.h"
#include "../../dlg_journal.h"
#include "../../dlg_profile.h"
#include "../../dlg_state.h"
#include "../../dlg_vals.h"
#include "../unit/unit.h"
#include "sim_audit.h"
#include "sim_call.h"
#include "sim_db.h"
#include "sim_wrap.h"

enum { HASH_SIZE = 16 };

static uint32_t hash_size = HASH_SIZE; /* of the next life */
static int64_t wall_on;                /* by which its clock has been set before */
static char dir[64], table_file[96];
static struct sim_call call[8];

/* ---- lives ---- */

static void set_up(void)
{
	snprintf(dir, sizeof(dir), "/tmp/dlgdb.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(table_file, sizeof(table_file), "%s/table", dir);
}

static void tear_down(void)
{
	sim_db_remove_dir(dir);
}

static void start(int mode)
{
	sim_db_use(mode);
	sim_db_load(table_file);
	if (mode != DLG_DB_REALTIME)
		dialog_conf.db_journal_dir = NULL;
	ck_assert_msg(sim_call_start(hash_size) == 0, "no start: %s",
		      sim_log_find(HOST_ERROR, "") ? sim_log_find(HOST_ERROR, "") : "?");
	for (int i = 0; i < 8; i++)
		sim_call_init(&call[i], (unsigned)i);
}

/* The writer works until nothing is left, or the database is away. */
static void drain(void)
{
	while (dlg_db_write_some() > 0)
		;
}

/* The writer's loop in small, with the clock going on. */
static void write_for(unsigned seconds)
{
	while (seconds--) {
		dlg_db_work();
		sim_advance(1000);
	}
}

/* How a life ends. */
enum end { GRACEFUL, KILLED };

static void live(int mode, void (*life)(void), enum end end)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dialog_conf.db_journal_dir = mode == DLG_DB_REALTIME ? dir : NULL;
		sim_set_wall(wall_on);
		start(mode);
		life();
		ck_assert_msg(!sim_violated(), "%s", sim_violated());
		if (end == GRACEFUL)
			dialog_stop();
		sim_db_save(table_file);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a life failed: %#x", status);
}

static int in_a_process(int (*fn)(unsigned), unsigned arg)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(fn(arg));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* How many files the journal has, and their bytes. */
static unsigned journal_files(uint64_t *bytes)
{
	char command[256];
	unsigned n = 0;
	long size;
	FILE *p;

	*bytes = 0;
	snprintf(command, sizeof(command), "stat -c %%s %s/*.journal", dir);
	p = popen(command, "r");
	while (fscanf(p, "%ld", &size) == 1) {
		n++;
		*bytes += (uint64_t)size;
	}
	pclose(p);
	return n;
}

/* ---- what the table says ---- */

static const struct db_value *row_of(const struct sim_call *c)
{
	const struct dlg_cell *dlg = sim_peek(c);

	return dlg ? sim_db_row(dlg->h_entry, dlg->h_id) : NULL;
}

static int64_t int_of(const struct sim_call *c, enum dlg_row_column column)
{
	const struct db_value *row = row_of(c);

	ck_assert_msg(row != NULL, "the call has no row");
	return row[column].number;
}

static const char *text_of(const struct sim_call *c, enum dlg_row_column column)
{
	static char text[4][1024];
	static unsigned n;
	const struct db_value *row = row_of(c);
	char *out = text[n++ % 4];

	ck_assert_msg(row != NULL, "the call has no row");
	snprintf(out, 1024, "%.*s", DLG_STR_ARG(row[column].text));
	return out;
}

static struct dlg_cell *cell(const struct sim_call *c)
{
	return (struct dlg_cell *)sim_peek(c);
}

/* The only dialog there is, whatever the calls of this life know. */
static struct dlg_cell *restored_cell(void)
{
	struct dlg_hash_cursor start = { 0 };
	struct dlg_cell *dlg;

	ck_assert_uint_eq(dlg_hash_page(&start, &dlg, 1, DLG_BY_LOCAL), 1);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	return dlg;
}

/* Calls beside those of call[]; call[0] is the last one. */
static void talk_many(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		sim_call_init(&call[0], 10 + i);
		sim_talk(&call[0]);
	}
}

/* What a script sets in a call. */
static void furnish(struct sim_call *c)
{
	struct dlg_cell *dlg = cell(c);

	dlg_vals_set(dlg, DLG_STR("acc"), DLG_STR("pre|paid#x\\y"));
	dlg_vals_set(dlg, DLG_STR("raw"), DLG_STR("a\0b\r\n\xff"));
	dlg_vals_set_flags(dlg, 0x80000001u, 0);
	dlg_profile_join(dlg, dlg_profile_find(DLG_STR("caller")), DLG_STR("a|b#c"));
	dlg_profile_join(dlg, dlg_profile_find(DLG_STR("caller")), DLG_STR("a|b#c"));
	dlg_profile_join(dlg, dlg_profile_find(DLG_STR("out_bound")), DLG_STR_NONE);
	dlg_db_changed(dlg);
}

static void check_furniture(const struct sim_call *c)
{
	struct dlg_buf value = { 0 };
	struct dlg_str who = DLG_STR("a|b#c");

	ck_assert_int_eq(dlg_vals_get(cell(c), DLG_STR("acc"), &value), 1);
	ck_assert_view(dlg_buf_view(&value), "pre|paid#x\\y");
	ck_assert_int_eq(dlg_vals_get(cell(c), DLG_STR("raw"), &value), 1);
	ck_assert(dlg_str_eq(dlg_buf_view(&value), DLG_STR("a\0b\r\n\xff")));
	dlg_buf_free(&value);
	ck_assert_uint_eq(dlg_vals_flags(cell(c)), 0x80000001u);
	ck_assert_uint_eq(dlg_profile_size(dlg_profile_find(DLG_STR("caller")), &who), 2);
	ck_assert_uint_eq(dlg_profile_size(dlg_profile_find(DLG_STR("out_bound")), NULL), 1);
}

/* ---- one life ---- */

static void rows_follow_a_call(void)
{
	sim_invite(&call[0]);
	sim_answer(&call[0], 0, 180);
	drain();
	ck_assert_uint_eq(sim_db.rows, 0);
	sim_answer(&call[0], 0, 200);
	ck_assert_uint_eq(sim_db.rows, 0);
	drain();
	ck_assert_uint_eq(sim_db.rows, 1);
	ck_assert_int_eq(int_of(&call[0], DLG_ROW_state), 3);
	ck_assert_int_eq(int_of(&call[0], DLG_ROW_caller_cseq), call[0].invite_cseq);
	ck_assert_int_eq(int_of(&call[0], DLG_ROW_callee_cseq), 0);
	ck_assert_str_eq(text_of(&call[0], DLG_ROW_callid), call[0].call_id);
	ck_assert_str_eq(text_of(&call[0], DLG_ROW_caller_contact), call[0].contact);
	ck_assert_str_eq(text_of(&call[0], DLG_ROW_to_tag), call[0].leg[0].tag);
	sim_ack(&call[0], 0);
	drain();
	ck_assert_int_eq(int_of(&call[0], DLG_ROW_state), 4);
	furnish(&call[0]);
	drain();
	ck_assert_str_eq(text_of(&call[0], DLG_ROW_vars),
			 "raw#a\\x00b\\x0d\\x0a\\xff|acc#pre\\|paid\\#x\\\\y|");
	ck_assert_str_eq(text_of(&call[0], DLG_ROW_profiles),
			 "out_bound#|caller#a\\|b\\#c|caller#a\\|b\\#c|");
	ck_assert_int_eq(int_of(&call[0], DLG_ROW_script_flags), 0x80000001);
	sim_within(&call[0], HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	drain();
	ck_assert_int_eq(int_of(&call[0], DLG_ROW_callee_cseq), (int64_t)call[0].leg[0].cseq);
	sim_within(&call[0], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	drain();
	ck_assert_uint_eq(sim_db.rows, 0);
	ck_assert_ptr_null(sim_violated());
}

START_TEST(realtime_rows_follow_a_call)
{
	live(DLG_DB_REALTIME, rows_follow_a_call, GRACEFUL);
}
END_TEST

static void end_it(struct dlg_cell *dlg, int type, struct dlg_cb_params *params)
{
	const char *why;

	(void)type;
	(void)params;
	ck_assert_int_eq(dlg_handlers_end(dlg, DLG_STR_NONE, &why), 0);
}

static void end_when_saved(void)
{
	sim_talk(&call[0]);
	drain();
	ck_assert_int_eq(dlg_cb_register(cell(&call[0]), DLGCB_SAVED, end_it, NULL, NULL), 0);
	dlg_vals_set(cell(&call[0]), DLG_STR("k"), DLG_STR("v"));
	dlg_db_changed(cell(&call[0]));
	drain();
	ck_assert_uint_eq(sim_sends_tried, 0); /* the writer has nothing to send with */
	sim_run(2);
	ck_assert_uint_eq(sim_sends_tried, 2);
	ck_assert_int_eq(sim_state(&call[0]), 5);
}

START_TEST(who_ends_a_call_when_it_is_saved_makes_the_timer_do_it)
{
	live(DLG_DB_REALTIME, end_when_saved, GRACEFUL);
}
END_TEST

/* From a callback of a request that has not been sent on. */
static void wish_to_end(void)
{
	sim_talk(&call[0]);
	drain();
	ck_assert_int_eq(dlg_cb_register(cell(&call[0]), DLGCB_REQ_WITHIN, end_it, NULL, NULL), 0);
	sim_within(&call[0], HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200);
	drain();
	ck_assert_uint_eq(sim_sends_tried, 0);
}

static void it_is_ended(void)
{
	ck_assert_uint_eq(dlg_state_active(), 1);
	sim_run(2);
	ck_assert_uint_eq(sim_sends_tried, 2);
	ck_assert_uint_eq(dlg_state_active(), 0);
	sim_sent_all(200);
}

/* Whoever wished so was told that it will be. */
START_TEST(a_call_that_is_to_be_ended_is_ended_after_a_restart)
{
	live(DLG_DB_REALTIME, wish_to_end, GRACEFUL);
	live(DLG_DB_REALTIME, it_is_ended, GRACEFUL);
	live(DLG_DB_SHUTDOWN, wish_to_end, GRACEFUL);
	live(DLG_DB_SHUTDOWN, it_is_ended, GRACEFUL);
	live(DLG_DB_REALTIME, wish_to_end, KILLED);
	live(DLG_DB_REALTIME, it_is_ended, GRACEFUL);
}
END_TEST

static void talk_for_a_while(void)
{
	sim_talk(&call[0]);
	sim_run(30);
	drain();
}

static void it_began_before(void)
{
	struct dlg_cell *dlg = restored_cell();

	/* the clock of a life begins where that of the one before began */
	ck_assert_int_eq(dlg_timer_now() - dlg->answered_at, host_wall_s() - dlg->start_time);
}

START_TEST(the_lifetime_goes_on_after_a_restart)
{
	live(DLG_DB_REALTIME, talk_for_a_while, GRACEFUL);
	wall_on = 100;
	live(DLG_DB_REALTIME, it_began_before, GRACEFUL);
	wall_on = 0;
}
END_TEST

static void not_any_more(struct dlg_cell *dlg, int type, struct dlg_cb_params *params)
{
	(void)dlg;
	(void)type;
	(void)params;
	sim_violation("a module that has ended is called");
}

/* Kamailio ends the modules that were loaded last first: those that use ours. */
static int saved_at_exit(unsigned mode)
{
	sim_db_use((int)mode);
	dialog_conf.db_journal_dir = mode == DLG_DB_REALTIME ? dir : NULL;
	if (sim_call_start(hash_size) < 0)
		return 1;
	sim_call_init(&call[0], 0);
	sim_talk(&call[0]);
	dlg_cb_register(cell(&call[0]), DLGCB_SAVED, not_any_more, NULL, NULL);
	dialog_stop();
	return sim_db.rows != 1 || sim_violated();
}

START_TEST(nobody_is_told_of_what_is_saved_at_exit)
{
	ck_assert_int_eq(in_a_process(saved_at_exit, (unsigned)_i), 0);
}
END_TEST

static void lose_routing(void)
{
	sim_talk(&call[0]);
	cell(&call[0])->flags |= DLG_F_ROUTING_LOST;
	dlg_db_changed(cell(&call[0]));
}

static void routing_is_still_lost(void)
{
	ck_assert_uint_ne(restored_cell()->flags & DLG_F_ROUTING_LOST, 0);
}

START_TEST(what_was_lost_is_lost_after_a_restart_too)
{
	live(DLG_DB_REALTIME, lose_routing, GRACEFUL);
	live(DLG_DB_REALTIME, routing_is_still_lost, GRACEFUL);
}
END_TEST

static void changes_coalesce(void)
{
	unsigned before;

	sim_talk(&call[0]);
	drain();
	before = sim_db.calls[SIM_DB_UPSERT];
	for (int i = 0; i < 100; i++)
		furnish(&call[0]);
	drain();
	ck_assert_uint_eq(sim_db.calls[SIM_DB_UPSERT], before + 1);
}

START_TEST(changes_of_a_dialog_are_one_row)
{
	live(DLG_DB_REALTIME, changes_coalesce, GRACEFUL);
}
END_TEST

static void short_call(void)
{
	struct dlg_db_info info;

	sim_talk(&call[0]);
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 1);
	drain();
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 0);
	ck_assert_uint_eq(sim_db.calls[SIM_DB_UPSERT] + sim_db.calls[SIM_DB_REMOVE], 0);
}

START_TEST(a_call_between_two_periods_is_never_written)
{
	live(DLG_DB_DELAYED, short_call, GRACEFUL);
}
END_TEST

/* DELAYED goes on by the second. */
static void pass_seconds(unsigned seconds)
{
	while (seconds--) {
		dlg_db_second(NULL);
		sim_advance(1000);
	}
}

/* The writer's turns in any mode. */
static void let_it_write(unsigned seconds)
{
	if (dialog_conf.db_mode == DLG_DB_DELAYED)
		pass_seconds(seconds);
	else
		write_for(seconds);
}

static unsigned changes_to_come;

static void one_more_change(void)
{
	if (!changes_to_come)
		return;
	changes_to_come--;
	furnish(&call[1]);
}

static void busy_period(void)
{
	struct dlg_db_info info;

	sim_talk(&call[0]);
	sim_talk(&call[1]);
	sim_db.meanwhile = one_more_change;
	changes_to_come = 100;
	pass_seconds(61);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.batches, 1);
	ck_assert_uint_eq(info.queue, 1);
	pass_seconds(60);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.batches, 2);
}

START_TEST(a_period_writes_what_it_began_with)
{
	live(DLG_DB_DELAYED, busy_period, GRACEFUL);
}
END_TEST

static void short_calls_of_a_period(void)
{
	struct dlg_db_info info;

	dialog_conf.db_update_period = 86400;
	sim_talk(&call[0]);
	for (unsigned i = 0; i < 50; i++) {
		sim_call_init(&call[1], 10 + i);
		sim_talk(&call[1]);
		pass_seconds(i % 2);
		sim_within(&call[1], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	}
	pass_seconds(30);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 1); /* the one that goes on */
	ck_assert_uint_ge(info.oldest_ms, 50000);
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	pass_seconds(30);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 0);
	ck_assert_uint_eq(info.oldest_ms, 0);
	ck_assert_uint_eq(info.batches, 0);
}

START_TEST(calls_within_a_long_period_cost_no_memory)
{
	live(DLG_DB_DELAYED, short_calls_of_a_period, GRACEFUL);
}
END_TEST

/* ---- the database fails ---- */

/* What nobody uses for a minute may be gone: a server, or a firewall, has closed it. */
static void connection_lost_in_between(void)
{
	sim_talk(&call[0]);
	pass_seconds(61);
	ck_assert_uint_eq(sim_db.rows, 1);
	sim_talk(&call[1]);
	sim_db.lose_call = SIM_DB_BEGIN;
	sim_db.lose_in = 1;
	pass_seconds(63);
	ck_assert_uint_eq(sim_db.lose_in, 0);
	ck_assert_uint_eq(sim_db.rows, 2);
}

START_TEST(a_period_whose_connection_was_lost_is_written_with_a_new_one)
{
	live(DLG_DB_DELAYED, connection_lost_in_between, GRACEFUL);
}
END_TEST

/* In one second `idle` seconds after the last change the connection turns out to be closed. */
static void closed_after(unsigned idle)
{
	sim_talk(&call[0]);
	write_for(1 + idle);
	sim_db.lose_call = SIM_DB_BEGIN;
	sim_db.lose_in = 1;
	sim_talk(&call[1]);
	write_for(3);
	ck_assert_uint_eq(sim_db.lose_in, 0);
	ck_assert_uint_eq(sim_db.rows, 2);
}

static void closed_while_idle(void)
{
	struct dlg_db_info info;

	closed_after(60);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.errors, 0);
	ck_assert_uint_eq(info.connected, 1);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 0);
	ck_assert_uint_eq(sim_db.open_conns, 1);
}

START_TEST(an_idle_connection_that_was_closed_is_no_outage)
{
	live(DLG_DB_REALTIME, closed_while_idle, GRACEFUL);
}
END_TEST

static void closed_in_use(void)
{
	closed_after(2);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "is away"));
}

START_TEST(a_connection_that_breaks_in_use_is_an_outage)
{
	live(DLG_DB_REALTIME, closed_in_use, GRACEFUL);
}
END_TEST

static void away_while_idle(void)
{
	sim_talk(&call[0]);
	write_for(60);
	sim_db.away = 1;
	sim_talk(&call[1]);
	write_for(20);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 1);
	sim_db.away = 0;
	write_for(6);
	ck_assert_uint_eq(sim_db.rows, 2);
}

START_TEST(an_outage_that_begins_on_an_idle_connection_is_one)
{
	live(DLG_DB_REALTIME, away_while_idle, GRACEFUL);
}
END_TEST

static void outage(void)
{
	struct dlg_db_info info;

	sim_talk(&call[0]);
	sim_talk(&call[1]);
	drain();
	ck_assert_uint_eq(sim_db.rows, 2);
	sim_db.away = 1;
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200); /* ends in the outage */
	sim_talk(&call[2]);                                        /* is born in it */
	furnish(&call[1]);
	for (int i = 0; i < 20; i++) {
		drain();
		sim_advance(1000);
	}
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 3);
	ck_assert_uint_ge(info.oldest_ms, 19000);
	ck_assert_uint_eq(info.connected, 0);
	ck_assert_uint_eq(sim_db.rows, 2);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "is away"));
	ck_assert_ptr_null(sim_log_find(HOST_DEBUG, "secret"));
	sim_db.away = 0;
	sim_advance(6000);
	drain();
	ck_assert_uint_eq(sim_db.rows, 2);
	ck_assert_ptr_null(row_of(&call[0]));
	ck_assert_str_eq(text_of(&call[2], DLG_ROW_callid), call[2].call_id);
	ck_assert_str_ne(text_of(&call[1], DLG_ROW_vars), "");
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 0);
}

START_TEST(d12_after_an_outage_the_table_is_what_memory_is)
{
	live(_i ? DLG_DB_DELAYED : DLG_DB_REALTIME, outage, GRACEFUL);
}
END_TEST

/* A replica that was behind, a backup, a table that was made anew: it lacks what had been saved. */
static void comes_back_empty(void)
{
	for (int i = 0; i < 4; i++)
		sim_talk(&call[i]);
	let_it_write(61);
	ck_assert_uint_eq(sim_db.rows, 4);
	sim_db.away = 1;
	sim_talk(&call[4]);
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	let_it_write(70);
	sim_db_clear();
	sim_db.rows = 0;
	sim_db.away = 0;
}

static void is_filled(void)
{
	comes_back_empty();
	let_it_write(10);
	sim_db_compare();
	ck_assert_uint_eq(sim_db.rows, 4);
}

static void four_are_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 4);
}

START_TEST(a_database_that_comes_back_empty_gets_all_rows_again)
{
	live(_i, is_filled, GRACEFUL);
	live(_i, four_are_there, KILLED);
}
END_TEST

START_TEST(an_exit_after_an_outage_writes_all_rows_again)
{
	live(_i, comes_back_empty, GRACEFUL);
	live(_i, four_are_there, KILLED);
}
END_TEST

static void away_at_exit(void)
{
	comes_back_empty();
	sim_db.away = 1;
}

START_TEST(the_journal_has_all_calls_when_the_database_is_away_at_exit)
{
	live(DLG_DB_REALTIME, away_at_exit, GRACEFUL);
	live(DLG_DB_REALTIME, four_are_there, KILLED);
}
END_TEST

/* The number of calls, all of them saved, and then lost by the database. */
static void calls_that_get_lost(unsigned n)
{
	talk_many(n);
	write_for(1);
	sim_db.away = 1;
	furnish(&call[0]);
	write_for(1);
	sim_db_clear();
	sim_db.rows = 0;
}

static void change_during_a_repair(void)
{
	calls_that_get_lost(1000);
	sim_db.away = 0;
	sim_advance(6000);
	dlg_db_write_some();
	sim_talk(&call[1]);
	for (int i = 0; i < 2; i++)
		dlg_db_write_some();
	ck_assert_ptr_nonnull(row_of(&call[1]));
	ck_assert_uint_lt(sim_db.rows, 200);
	drain();
	sim_db_compare();
}

START_TEST(a_change_does_not_wait_for_all_rows)
{
	live(DLG_DB_REALTIME, change_during_a_repair, GRACEFUL);
}
END_TEST

static struct sim_call busy[100];

static void all_busy_ones_change(void)
{
	for (int i = 0; i < 100; i++)
		dlg_db_changed(cell(&busy[i]));
}

/* There is always something else to write, and more than the writer can. */
static void repair_under_load(void)
{
	calls_that_get_lost(1000);
	sim_db.away = 0;
	for (int i = 0; i < 100; i++) {
		sim_call_init(&busy[i], 2000 + (unsigned)i);
		sim_talk(&busy[i]);
	}
	sim_db.meanwhile = all_busy_ones_change;
	sim_advance(6000);
	for (int i = 0; i < 100; i++)
		dlg_db_write_some();
	sim_db.meanwhile = NULL;
	ck_assert_uint_eq(sim_db.rows, 1100);
}

START_TEST(a_repair_ends_though_there_is_always_something_else)
{
	live(DLG_DB_REALTIME, repair_under_load, GRACEFUL);
}
END_TEST

/* A server that crashes forgets that rows were deleted just before. */
static void deleted_rows_come_back(void)
{
	struct dlg_db_info info;

	for (int i = 0; i < 3; i++)
		sim_talk(&call[i]);
	write_for(1);
	sim_db_save(table_file);
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	write_for(1);
	ck_assert_uint_eq(sim_db.rows, 2);
	sim_db.away = 1;
	furnish(&call[1]);
	write_for(5);
	sim_db_load(table_file);
	ck_assert_uint_eq(sim_db.rows, 3);
	sim_db.away = 0;
	write_for(10);
	sim_db_compare();
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 0);
}

START_TEST(rows_that_were_deleted_before_an_outage_are_deleted_again)
{
	live(DLG_DB_REALTIME, deleted_rows_come_back, GRACEFUL);
}
END_TEST

/* A full disk, a table that was renamed, a server that became a replica: it can be talked to. */
static void takes_nothing(void)
{
	struct dlg_db_info info;

	sim_talk(&call[0]);
	write_for(1);
	sim_log_clear();
	sim_db.lose_all = 1u << SIM_DB_UPSERT;
	sim_db.calls[SIM_DB_OPEN] = 0;
	sim_talk(&call[1]);
	write_for(60);
	ck_assert_uint_le(sim_db.calls[SIM_DB_OPEN], 60 / 5 + 5);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 1);
	ck_assert_ptr_null(sim_log_find(HOST_NOTICE, "is back"));
	sim_db.lose_all = 0;
	write_for(6);
	ck_assert_ptr_nonnull(sim_log_find(HOST_NOTICE, "is back"));
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 0);
	ck_assert_uint_eq(sim_db.rows, 2);
}

START_TEST(a_database_that_takes_nothing_is_away_once)
{
	live(_i ? DLG_DB_DELAYED : DLG_DB_REALTIME, takes_nothing, GRACEFUL);
}
END_TEST

static void short_calls_in_an_outage(void)
{
	struct dlg_db_info info;

	sim_talk(&call[0]);
	sim_talk(&call[1]);
	write_for(1);
	sim_db.away = 1;
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	write_for(1);
	for (unsigned i = 0; i < 50; i++) {
		sim_call_init(&call[2], 10 + i);
		sim_talk(&call[2]);
		if (i % 2)
			write_for(1); /* while it is up */
		sim_within(&call[2], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	}
	write_for(10);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 1); /* the one that has a row */
	ck_assert_uint_eq(sim_db.rows, 2);
	sim_db.away = 0;
	write_for(10);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 0);
	sim_db_compare();
}

static void one_is_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 1);
}

START_TEST(calls_that_come_and_go_in_an_outage_cost_no_memory)
{
	int mode = _i ? DLG_DB_DELAYED : DLG_DB_REALTIME;

	live(mode, short_calls_in_an_outage, KILLED);
	live(mode, one_is_there, GRACEFUL);
}
END_TEST

/* Every kind of call fails once, with and without effect. */
static void fail_everywhere(void)
{
	for (int which = 0; which < SIM_DB_CALLS; which++) {
		for (int after = 0; after < 2; after++) {
			for (int i = 0; i < 4; i++) {
				sim_call_init(&call[i], (unsigned)(which * 100 + after * 10 + i));
				sim_talk(&call[i]);
			}
			drain();
			sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
			sim_db.lose_call = (enum sim_db_call)which;
			sim_db.lose_after = after;
			sim_db.lose_in = 1;
			furnish(&call[1]);
			drain();
			sim_within(&call[2], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
			sim_db.lose_in = 0;
			sim_advance(6000);
			drain();
			ck_assert_ptr_null(row_of(&call[0]));
			ck_assert_ptr_null(row_of(&call[2]));
			ck_assert_ptr_nonnull(row_of(&call[1]));
			ck_assert_ptr_nonnull(row_of(&call[3]));
			ck_assert_uint_eq(sim_db.rows, 2);
			sim_within(&call[1], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
			sim_within(&call[3], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
			drain();
			ck_assert_uint_eq(sim_db.rows, 0);
		}
	}
}

START_TEST(no_failed_call_loses_a_change)
{
	live(DLG_DB_REALTIME, fail_everywhere, GRACEFUL);
}
END_TEST

static void refused(void)
{
	struct dlg_db_info info;

	for (int i = 0; i < 8; i++)
		sim_talk(&call[i]);
	sim_db.refuse_id = cell(&call[3])->h_id;
	drain();
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(row_of(&call[i]) != NULL, i != 3);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "refuses the row"));
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.refused, 1);
	ck_assert_uint_eq(info.queue, 0);
}

START_TEST(a_refused_row_does_not_hold_up_the_others)
{
	live(DLG_DB_REALTIME, refused, GRACEFUL);
}
END_TEST

static void gives_way(void)
{
	sim_talk(&call[0]);
	sim_db.again = 2;
	drain();
	ck_assert_uint_eq(sim_db.again, 0);
	ck_assert_uint_eq(sim_db.rows, 1);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 0);
	sim_talk(&call[1]);
	sim_db.again = 3; /* that is enough */
	drain();
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "is away"));
	sim_advance(1000);
	drain();
	ck_assert_uint_eq(sim_db.rows, 2);
}

START_TEST(a_batch_that_had_to_give_way_is_written_at_once)
{
	live(DLG_DB_REALTIME, gives_way, GRACEFUL);
}
END_TEST

static void many_are_refused(void)
{
	struct dlg_db_info info;

	sim_db.refuse_all = 1;
	talk_many(200);
	drain();
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.refused, 200);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 10);
	sim_advance(1000);
	sim_call_init(&call[0], 1000);
	sim_talk(&call[0]);
	drain();
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 12);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "refuses 190 more rows"));
	sim_db.refuse_all = 0;
}

START_TEST(refused_rows_do_not_flood_the_log)
{
	live(DLG_DB_REALTIME, many_are_refused, GRACEFUL);
}
END_TEST

/* ---- over a restart ---- */

static void three_calls(void)
{
	sim_talk(&call[0]);
	furnish(&call[0]);
	sim_within(&call[0], HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200);
	sim_talk(&call[1]);
	sim_invite(&call[2]);
	sim_answer(&call[2], 0, 200); /* no ACK yet */
	sim_invite(&call[3]);
	sim_answer(&call[3], 0, 180);
	sim_talk(&call[4]);
	sim_within(&call[4], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
}

static void three_calls_saved(void)
{
	three_calls();
	drain();
}

/* The parties know what they knew. */
static void remember_calls(void)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *dlg;

	while (dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL)) {
		for (int i = 0; i < 8; i++) {
			if (dlg_str_eq(dlg_hash_text(dlg, DLG_CALL_ID), dlg_str_of(call[i].call_id)))
				dlg_cookie_print(call[i].pass[0].cookie, dlg->h_entry, dlg->h_id);
		}
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
	for (int i = 0; i < 8; i++) {
		call[i].invite_cseq = call[i].cseq;
		call[i].pass[0].record_routes = 1;
	}
}

static void calls_go_on(void)
{
	ck_assert_uint_eq(dlg_state_active(), 3);
	ck_assert_uint_eq(dlg_state_counters()->restored, 3);
	remember_calls();
	check_furniture(&call[0]);
	ck_assert_int_eq(sim_state(&call[0]), 4);
	ck_assert_int_eq(sim_state(&call[2]), 3);
	sim_ack(&call[2], 0);
	ck_assert_int_eq(sim_state(&call[2]), 4);
	/* D11: the callee's CSeq is known */
	ck_assert_uint_eq(cell(&call[0])->legs->cseq[DLG_DIR_UPSTREAM], 1);
	call[0].leg[0].cseq = 1;
	ck_assert_int_eq(sim_within(&call[0], HOST_INVITE, DLG_DIR_DOWNSTREAM, 0, 200).forwarded, 1);
	ck_assert_int_eq(sim_within(&call[0], HOST_INVITE, DLG_DIR_UPSTREAM, 0, 200).forwarded, 1);
	sim_within(&call[0], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	sim_within(&call[1], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_within(&call[2], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_uint_eq(dlg_state_active(), 0);
	ck_assert_uint_eq(dlg_profile_size(dlg_profile_find(DLG_STR("caller")), NULL), 0);
	drain();
	ck_assert_uint_eq(sim_db.rows, 0);
	sim_run(8);
}

static void nothing_is_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 0);
	ck_assert_uint_eq(sim_db.rows, 0);
}

/* Modes and whether the writer has had its turn. */
START_TEST(answered_calls_survive_a_graceful_restart)
{
	int mode = 1 + _i / 2;

	live(mode, _i % 2 ? three_calls_saved : three_calls, GRACEFUL);
	live(mode, calls_go_on, GRACEFUL);
	live(mode, nothing_is_there, GRACEFUL);
}
END_TEST

START_TEST(realtime_survives_a_kill_whether_or_not_the_writer_had_its_turn)
{
	live(DLG_DB_REALTIME, _i ? three_calls_saved : three_calls, KILLED);
	live(DLG_DB_REALTIME, calls_go_on, KILLED);
	live(DLG_DB_REALTIME, nothing_is_there, GRACEFUL);
}
END_TEST

/* A call of one life goes on in the next, ends there, and is gone in the third. */
static void two_lives(void (*first)(void), enum end end, void (*second)(void))
{
	live(DLG_DB_REALTIME, first, end);
	live(DLG_DB_REALTIME, second, GRACEFUL);
	live(DLG_DB_REALTIME, nothing_is_there, GRACEFUL);
}

static void no_memory_for_the_leg(void)
{
	sim_invite(&call[0]);
	sim_faults.mem_allow = 0;
	sim_answer(&call[0], 0, 200);
	sim_faults_off();
	sim_ack(&call[0], 0);
	ck_assert_ptr_null(sim_peek(&call[0])->legs);
	drain();
	ck_assert_str_eq(text_of(&call[0], DLG_ROW_to_tag), "");
}

static void it_ends_with_its_bye(void)
{
	remember_calls();
	ck_assert_int_eq(sim_state(&call[0]), 4);
	ck_assert_int_eq(sim_within(&call[0], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200).status, 5);
	ck_assert_int_eq(sim_state(&call[0]), 5);
	drain();
	sim_run(8);
}

START_TEST(a_call_whose_leg_was_lost_ends_after_a_restart)
{
	two_lives(no_memory_for_the_leg, GRACEFUL, it_ends_with_its_bye);
}
END_TEST

/* What parties wrote that no standard allows. */
static void odd_call(void)
{
	struct sim_call *c = &call[0];

	snprintf(c->from_uri, sizeof(c->from_uri), "alice");
	snprintf(c->contact, sizeof(c->contact), "alice");
	snprintf(c->routes, sizeof(c->routes), "<>");
	snprintf(c->leg[0].routes, sizeof(c->leg[0].routes), "<x y>");
	snprintf(c->leg[0].contact, sizeof(c->leg[0].contact), "sip:");
}

static void odd_call_saved(void)
{
	odd_call();
	sim_talk(&call[0]);
	drain();
	ck_assert_uint_eq(sim_db.rows, 1);
}

static void odd_call_goes_on(void)
{
	odd_call();
	ck_assert_uint_eq(dlg_state_active(), 1);
	remember_calls();
	sim_db_compare();
	call[0].leg[0].cseq = 1;
	ck_assert_int_eq(sim_within(&call[0], HOST_OTHER, DLG_DIR_UPSTREAM, 0, 200).forwarded, 1);
	ck_assert_int_eq(sim_within(&call[0], HOST_OTHER, DLG_DIR_DOWNSTREAM, 0, 200).forwarded, 1);
	sim_within(&call[0], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	drain();
	sim_run(8);
}

START_TEST(a_call_with_odd_texts_survives)
{
	two_lives(odd_call_saved, GRACEFUL, odd_call_goes_on);
}
END_TEST

static void one_call(void)
{
	sim_talk(&call[0]);
}

static int validates_ack(uint32_t cseq)
{
	struct sim_request r = { .method = HOST_ACK, .dir = DLG_DIR_DOWNSTREAM, .cseq = cseq };
	struct sim_script drop = { .fate = SIM_DROP, .validate = 1 };

	return sim_step(&call[0], &r, &drop).validated;
}

/* The callee answers an INVITE that the proxy had sent on, and died. */
static void an_ack_of_an_invite_nobody_noted(void)
{
	uint32_t invite;

	remember_calls();
	invite = cell(&call[0])->legs->invite_cseq[DLG_DIR_DOWNSTREAM];
	ck_assert_int_eq(validates_ack(invite), 1);
	ck_assert_int_eq(validates_ack(invite + 1), 1);
	ck_assert_int_eq(validates_ack(invite - 1), -1);
	sim_within(&call[0], HOST_BYE, DLG_DIR_UPSTREAM, 0, 200);
	drain();
	sim_run(8);
}

START_TEST(an_ack_may_be_of_an_invite_that_was_not_saved)
{
	two_lives(one_call, KILLED, an_ack_of_an_invite_nobody_noted);
}
END_TEST

static void one_leg_of_two_is_acknowledged(void)
{
	sim_invite(&call[0]);
	sim_answer(&call[0], 0, 200);
	sim_answer(&call[0], 1, 200);
	sim_ack(&call[0], 0);
}

static void the_other_has_its_lifetime(void)
{
	dialog_conf.ack_timeout = 20;
	remember_calls();
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	ck_assert_int_eq(sim_state(&call[0]), 3);
	sim_run(30);
	ck_assert_int_eq(sim_state(&call[0]), 3);
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 1, 200);
	sim_run(8);
}

START_TEST(a_restored_leg_without_ack_has_no_limit_for_it)
{
	two_lives(one_leg_of_two_is_acknowledged, KILLED, the_other_has_its_lifetime);
}
END_TEST

static void do_nothing(void)
{
}

/* The second proxy is killed before it has written what the journal told it. */
START_TEST(a_kill_right_after_the_start_loses_nothing)
{
	live(DLG_DB_REALTIME, three_calls, KILLED);
	live(DLG_DB_REALTIME, do_nothing, KILLED);
	live(DLG_DB_REALTIME, do_nothing, KILLED);
	live(DLG_DB_REALTIME, calls_go_on, GRACEFUL);
	live(DLG_DB_REALTIME, nothing_is_there, GRACEFUL);
}
END_TEST

static void away_to_the_end(void)
{
	three_calls_saved();
	sim_db.away = 1;
	sim_within(&call[1], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_talk(&call[5]);
}

static void one_ended_one_born(void)
{
	remember_calls();
	ck_assert_uint_eq(dlg_state_active(), 3);
	ck_assert_ptr_null(sim_peek(&call[1]));
	ck_assert_int_eq(sim_state(&call[5]), 4);
}

START_TEST(the_journal_keeps_what_an_absent_database_missed_at_exit)
{
	live(DLG_DB_REALTIME, away_to_the_end, GRACEFUL);
	live(DLG_DB_REALTIME, one_ended_one_born, GRACEFUL);
}
END_TEST

static void let_expire(void)
{
	dialog_conf.default_timeout = 30;
	sim_talk(&call[0]);
	furnish(&call[0]);
	call[1].cseq = 10;
	sim_talk(&call[1]);
	cell(&call[0])->flags |= DLG_F_BYE_ON_TIMEOUT;
	dlg_db_changed(cell(&call[0]));
	drain();
	for (unsigned i = 0; i < sim_db.rows; i++) {
		const struct db_value *row = sim_db_nth(i);

		sim_db_set((uint32_t)row[DLG_ROW_h_entry].number, (uint32_t)row[DLG_ROW_h_id].number,
			   DLG_ROW_timeout, db_int(host_wall_s() - 100));
	}
}

static void expired_end_at_once(void)
{
	ck_assert_uint_eq(dlg_state_active(), 2);
	sim_run(2);
	ck_assert_uint_eq(dlg_state_active(), 0);
	ck_assert_uint_eq(dlg_state_counters()->expired, 2);
	ck_assert_uint_eq(sim_sends_tried, 2); /* for the one that asked for it */
	sim_sent_all(200);
	drain();
	ck_assert_uint_eq(sim_db.rows, 0);
	sim_run(8);
}

START_TEST(what_expired_meanwhile_ends_at_once_with_byes_if_asked_for)
{
	live(DLG_DB_DELAYED, let_expire, KILLED);
	live(DLG_DB_DELAYED, expired_end_at_once, GRACEFUL);
}
END_TEST

/* As the row looks when the clock has been set back by a day. */
static void clock_goes_back(void)
{
	const struct db_value *row;

	dialog_conf.default_timeout = 30;
	sim_talk(&call[0]);
	drain();
	row = row_of(&call[0]);
	sim_db_set(cell(&call[0])->h_entry, cell(&call[0])->h_id, DLG_ROW_timeout,
		   db_int(row[DLG_ROW_timeout].number + 86400));
}

static void it_has_its_lifetime(void)
{
	ck_assert_uint_eq(dlg_state_active(), 1);
	sim_run(28);
	ck_assert_uint_eq(dlg_state_active(), 1);
	sim_run(4);
	ck_assert_uint_eq(dlg_state_active(), 0);
	drain();
	sim_run(8);
}

START_TEST(a_clock_that_was_set_back_gives_no_more_than_the_lifetime)
{
	live(DLG_DB_DELAYED, clock_goes_back, KILLED);
	live(DLG_DB_DELAYED, it_has_its_lifetime, GRACEFUL);
}
END_TEST

/* Rows tell by the wall clock when a call is over. */
static void clock_is_set(void)
{
	static const int64_t steps[] = { 5, 3600, -86400, 0 };

	sim_talk(&call[0]);
	sim_talk(&call[1]);
	drain();
	sim_within(&call[1], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	write_for(1);
	for (size_t i = 0; i < 4; i++) {
		sim_db.calls[SIM_DB_UPSERT] = 0;
		sim_set_wall(steps[i]);
		write_for(3);
		ck_assert_uint_eq(sim_db.calls[SIM_DB_UPSERT], steps[i] > 10 || steps[i] < -10);
		ck_assert_int_ge(int_of(&call[0], DLG_ROW_timeout),
				 host_wall_s() + dlg_timer_left(cell(&call[0])->expires) - 10);
		ck_assert_int_le(int_of(&call[0], DLG_ROW_timeout),
				 host_wall_s() + dlg_timer_left(cell(&call[0])->expires) + 10);
	}
	ck_assert_uint_eq(sim_db.rows, 1);
}

enum { A_YEAR = 365 * 86400 };

static void clock_is_set_right_at_last(void)
{
	uint64_t before, after;

	talk_many(100);
	write_for(3);
	journal_files(&before);
	sim_set_wall(A_YEAR);
	write_for(5);
	ck_assert_uint_eq(journal_files(&after), 1);
	ck_assert_uint_lt(after, before / 2); /* not all of them once more */
}

static void all_have_time(void)
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *dlg;

	ck_assert_uint_eq(dlg_state_active(), 100);
	while (dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL)) {
		ck_assert_uint_gt(dlg_timer_left(dlg->expires), 40000);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
}

START_TEST(a_journal_of_another_time_does_not_outlive_it)
{
	live(DLG_DB_REALTIME, clock_is_set_right_at_last, KILLED);
	wall_on = A_YEAR;
	live(DLG_DB_REALTIME, all_have_time, GRACEFUL);
}
END_TEST

START_TEST(rows_are_written_anew_when_the_clock_was_set)
{
	live(_i ? DLG_DB_DELAYED : DLG_DB_REALTIME, clock_is_set, GRACEFUL);
}
END_TEST

static void clock_is_set_before_the_exit(void)
{
	sim_talk(&call[0]);
	drain();
	sim_set_wall(7200);
}

static void it_has_its_time(void)
{
	ck_assert_uint_gt(dlg_timer_left(restored_cell()->expires), 43000);
}

START_TEST(the_exit_sees_that_the_clock_was_set)
{
	int mode = _i ? DLG_DB_DELAYED : DLG_DB_REALTIME;

	live(mode, clock_is_set_before_the_exit, GRACEFUL);
	wall_on = 7200;
	live(mode, it_has_its_time, KILLED);
}
END_TEST

/* ---- without memory ---- */

static void two_calls(void)
{
	sim_talk(&call[0]);
	sim_talk(&call[1]);
}

/* SHUTDOWN makes marks at exit only. In the other mode they could not be made when the calls were
 * answered. */
static void two_calls_without_marks(void)
{
	int mode = dialog_conf.db_mode;

	dialog_conf.db_mode = DLG_DB_SHUTDOWN;
	two_calls();
	dialog_conf.db_mode = mode;
	sim_faults.mem_allow = 0;
}

static void two_are_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 2);
}

START_TEST(calls_without_marks_are_saved_at_exit)
{
	int mode = _i ? DLG_DB_DELAYED : DLG_DB_SHUTDOWN;

	live(mode, two_calls_without_marks, GRACEFUL);
	live(mode, two_are_there, KILLED);
}
END_TEST

/* As when its worker is killed on the way from the change of state to the change log. */
static void end_unnoted(struct dlg_cell *dlg)
{
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_BYE);
	dlg_hash_unlock(dlg);
}

static void one_ended_unnoted(void)
{
	sim_talk(&call[0]);
	drain();
	end_unnoted(cell(&call[0]));
}

START_TEST(an_end_that_nobody_noted_is_saved_at_exit)
{
	live(1 + _i, one_ended_unnoted, GRACEFUL);
	live(1 + _i, nothing_is_there, GRACEFUL);
}
END_TEST

static void two_calls_saved(void)
{
	two_calls();
	drain();
}

/* 0: no start; 1: whatever came back ends for good; 2: it does not. */
static int start_and_hang_up(unsigned mem_in)
{
	sim_db_use(DLG_DB_DELAYED);
	sim_db_load(table_file);
	dialog_conf.db_journal_dir = NULL;
	sim_db.mem_in = mem_in;
	if (sim_call_start(hash_size) < 0)
		return 0;
	sim_faults_off();
	for (unsigned i = 0; i < 8; i++)
		sim_call_init(&call[i], i);
	remember_calls();
	for (unsigned i = 0; i < 2; i++)
		sim_within(&call[i], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	drain();
	return sim_db.rows ? 2 : 1;
}

START_TEST(a_restored_call_that_could_not_end_for_good_stops_the_start)
{
	unsigned n = 1;
	int got;

	live(DLG_DB_DELAYED, two_calls_saved, GRACEFUL);
	while (!(got = in_a_process(start_and_hang_up, n)))
		n++;
	ck_assert_int_eq(got, 1);
	ck_assert_uint_gt(n, 4);
}
END_TEST

static void a_furnished_call(void)
{
	sim_talk(&call[0]);
	furnish(&call[0]);
	drain();
}

static int lacks_something(void)
{
	struct dlg_buf value = { 0 };
	struct dlg_str who = DLG_STR("a|b#c");
	int lacks = dlg_vals_get(cell(&call[0]), DLG_STR("acc"), &value) != 1 ||
		    dlg_vals_get(cell(&call[0]), DLG_STR("raw"), &value) != 1 ||
		    dlg_profile_size(dlg_profile_find(DLG_STR("caller")), &who) != 2 ||
		    dlg_profile_size(dlg_profile_find(DLG_STR("out_bound")), NULL) != 1;

	dlg_buf_free(&value);
	return lacks;
}

/* 0: no start; 1: the call has all that it had; 2: it has not; 3: it never comes to that
 * allocation. */
static int start_and_look(unsigned mem_in)
{
	sim_db_use(DLG_DB_DELAYED);
	sim_db_load(table_file);
	dialog_conf.db_journal_dir = NULL;
	sim_db.mem_in = mem_in;
	sim_db.mem_once = 1;
	if (sim_call_start(hash_size) < 0)
		return 0;
	if (sim_faults.mem_fail)
		return 3;
	sim_call_init(&call[0], 0);
	remember_calls();
	return lacks_something() ? 2 : 1;
}

START_TEST(a_restored_call_that_lacks_something_stops_the_start)
{
	unsigned n = 1;
	int got;

	live(DLG_DB_DELAYED, a_furnished_call, GRACEFUL);
	while ((got = in_a_process(start_and_look, n)) != 3) {
		ck_assert_int_lt(got, 2);
		n++;
	}
	ck_assert_uint_gt(n, 8);
}
END_TEST

static void images_fail_for_a_while(void)
{
	struct dlg_db_info info;
	uint64_t bytes;

	sim_talk(&call[0]);
	write_for(3);
	sim_faults.images_fail = 1;
	sim_talk(&call[1]);
	write_for(3);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 1);
	ck_assert_uint_ge(info.unsaved, 1);
	ck_assert_uint_ge(info.journal_errors, 1);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "no private memory"));
	ck_assert_uint_gt(journal_files(&bytes), 1);
	sim_talk(&call[2]);
	sim_within(&call[2], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_faults.images_fail = 0;
	write_for(3);
	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.queue, 0);
	ck_assert_uint_eq(journal_files(&bytes), 1);
	sim_db_compare();
}

START_TEST(a_change_that_has_no_memory_for_its_image_waits)
{
	live(DLG_DB_REALTIME, images_fail_for_a_while, GRACEFUL);
}
END_TEST

/* ---- rows that others have damaged ---- */

static void damage(void)
{
	const struct db_value *row;
	struct db_value copy[DLG_ROW_N];

	for (int i = 0; i < 8; i++)
		sim_talk(&call[i]);
	drain();
#define NAME(i) cell(&call[i])->h_entry, cell(&call[i])->h_id
	sim_db_set(NAME(1), DLG_ROW_callid, db_null());
	sim_db_set(NAME(2), DLG_ROW_caller_route, db_text(DLG_STR("<sip:p>\\x0aX: y")));
	sim_db_set(NAME(3), DLG_ROW_caller_sock, db_text(DLG_STR("udp:10.1.1.1:5060"))); /* D1 */
	sim_db_set(NAME(4), DLG_ROW_state, db_int(5));
	sim_db_set(NAME(5), DLG_ROW_timeout, db_int(-1));
	row = sim_db_row(NAME(0));
	memcpy(copy, row, sizeof(copy));
	sim_db_put(copy); /* twice */
	copy[DLG_ROW_node] = db_text(DLG_STR("other"));
	sim_db_put(copy);
#undef NAME
}

static void good_ones_are_there(void)
{
	struct dlg_db_info info;

	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.restored, 3);
	ck_assert_uint_eq(info.skipped, 5);
	ck_assert_uint_eq(dlg_state_active(), 3);
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "callid is NULL"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "caller_route is malformed"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "local socket is none of this proxy"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "one of that name already"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_NOTICE, "3 dialogs restored"));
	drain();
	ck_assert_uint_eq(sim_db.rows, 9); /* the ended one is gone, the others are kept */
}

START_TEST(d01_d13_bad_rows_are_skipped_named_and_kept)
{
	live(DLG_DB_REALTIME, damage, GRACEFUL);
	live(DLG_DB_REALTIME, good_ones_are_there, GRACEFUL);
}
END_TEST

static const struct db_value *row_with(const char *call_id)
{
	for (unsigned i = 0; i < sim_db.rows; i++) {
		const struct db_value *row = sim_db_nth(i);

		if (dlg_str_eq(row[DLG_ROW_callid].text, dlg_str_of(call_id)))
			return row;
	}
	return NULL;
}

/* The row with the last name of all becomes one that the next start makes no dialog of. */
static void the_last_row_is_spoilt(void)
{
	dlg_hash_set_next_id(0, 1u << 31); /* beyond where a start begins */
	two_calls();
	drain();
	sim_db_set(0, cell(&call[1])->h_id, DLG_ROW_caller_sock,
		   db_text(DLG_STR("udp:10.1.1.1:5060")));
}

static void the_last_row_has_ended(void)
{
	dlg_hash_set_next_id(0, 1u << 31);
	two_calls();
	drain();
	sim_db_set(0, cell(&call[1])->h_id, DLG_ROW_state, db_int(DLG_STATE_DELETED));
}

static void a_call_comes(void)
{
	ck_assert_uint_eq(dlg_state_active(), 1);
	sim_talk(&call[2]);
	drain();
	ck_assert_ptr_nonnull(row_with(call[2].call_id));
}

static void a_call_comes_and_goes(void)
{
	a_call_comes();
	ck_assert_ptr_nonnull(row_with(call[1].call_id));
	sim_within(&call[2], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	drain();
	ck_assert_ptr_nonnull(row_with(call[1].call_id));
}

START_TEST(no_new_call_gets_the_name_of_a_row_that_was_skipped)
{
	hash_size = 1;
	live(1 + _i, the_last_row_is_spoilt, GRACEFUL);
	live(1 + _i, a_call_comes_and_goes, GRACEFUL);
}
END_TEST

START_TEST(no_new_call_gets_the_name_of_a_row_that_goes)
{
	hash_size = 1;
	live(DLG_DB_DELAYED, the_last_row_has_ended, GRACEFUL);
	live(DLG_DB_DELAYED, a_call_comes, GRACEFUL);
}
END_TEST

/* ---- the journal itself ---- */

static void with_file(const char *mode_of_open, void (*fn)(FILE *f))
{
	char command[256], path[256];
	FILE *found, *f;

	snprintf(command, sizeof(command), "ls %s/*.journal | tail -1", dir);
	found = popen(command, "r");
	ck_assert_ptr_nonnull(fgets(path, sizeof(path), found));
	pclose(found);
	path[strcspn(path, "\n")] = '\0';
	f = fopen(path, mode_of_open);
	ck_assert_ptr_nonnull(f);
	fn(f);
	fclose(f);
}

static void tear(FILE *f)
{
	fseek(f, -10, SEEK_END);
	ck_assert_int_eq(ftruncate(fileno(f), ftell(f)), 0);
}

static void both_are_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 2);
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "torn"));
}

START_TEST(a_torn_last_record_costs_nothing_but_itself)
{
	live(DLG_DB_REALTIME, two_calls, KILLED);
	with_file("r+", tear); /* the ACK of the second call */
	live(DLG_DB_REALTIME, both_are_there, GRACEFUL);
}
END_TEST

static void scribble(FILE *f)
{
	fseek(f, 200, SEEK_SET);
	fputs("garbage in the middle", f);
}

START_TEST(a_damaged_record_does_not_hide_those_behind_it)
{
	live(DLG_DB_REALTIME, two_calls, KILLED);
	with_file("r+", scribble);
	live(DLG_DB_REALTIME, both_are_there, GRACEFUL);
}
END_TEST

static void other_version(FILE *f)
{
	uint32_t format = 77;

	fseek(f, 8, SEEK_SET);
	fwrite(&format, sizeof(format), 1, f);
}

static void set_aside(void)
{
	ck_assert_uint_eq(dlg_state_active(), 0);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "it has version 77.1, this module reads 1.1"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "set-aside"));
}

static void both_came_back(void)
{
	struct dlg_db_info info;

	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.restored, 2);
	ck_assert_uint_eq(info.skipped, 0);
	ck_assert_uint_eq(dlg_state_active(), 2);
}

static void same_version(FILE *f)
{
	uint32_t format = 1;

	fseek(f, 8, SEEK_SET);
	fwrite(&format, sizeof(format), 1, f);
}

/* As the documentation says. */
static void take_it_back(void)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "cd %s && for f in *.set-aside; do mv $f ${f%%.set-aside}; done", dir);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(a_journal_of_another_version_is_set_aside)
{
	live(DLG_DB_REALTIME, two_calls, KILLED);
	with_file("r+", other_version);
	live(DLG_DB_REALTIME, set_aside, GRACEFUL);
	take_it_back();
	with_file("r+", same_version);
	live(DLG_DB_REALTIME, both_came_back, GRACEFUL);
}
END_TEST

static unsigned files_set_aside(void)
{
	char command[256];
	unsigned n = 0;
	FILE *p;

	snprintf(command, sizeof(command), "ls %s/*.set-aside | wc -l", dir);
	p = popen(command, "r");
	ck_assert_int_eq(fscanf(p, "%u", &n), 1);
	pclose(p);
	return n;
}

/* Numbers begin at 1 again after an ordinary stop. */
START_TEST(what_is_set_aside_is_not_overwritten)
{
	for (unsigned i = 1; i <= 3; i++) {
		live(DLG_DB_REALTIME, two_calls, KILLED);
		with_file("r+", other_version);
		live(DLG_DB_REALTIME, set_aside, GRACEFUL);
		ck_assert_uint_eq(files_set_aside(), i);
	}
}
END_TEST

/* ---- a start with wrong parameters ---- */

static void two_calls_in_the_journal_alone(void)
{
	sim_db.away = 1;
	two_calls();
}

static void nobody_came_back(void)
{
	struct dlg_db_info info;

	dlg_db_get_info(&info);
	ck_assert_uint_eq(info.restored, 0);
	ck_assert_uint_eq(info.skipped, 2);
	ck_assert_ptr_nonnull(sim_log_find(HOST_WARNING, "wait in dialog-skipped.journal"));
}

/* Its segments go: what is in them is in the table. */
static void other_calls(void)
{
	nobody_came_back();
	sim_talk(&call[5]);
	sim_talk(&call[6]);
	sim_within(&call[6], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	drain();
	sim_within(&call[5], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	write_for(3);
	sim_run(8);
}

static void both_end(void)
{
	both_came_back();
	remember_calls();
	sim_within(&call[0], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	sim_within(&call[1], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	drain();
	sim_run(8);
}

static void nothing_was_skipped(void)
{
	nothing_is_there();
	ck_assert_ptr_null(sim_log_find(HOST_WARNING, "skipped"));
}

START_TEST(what_a_wrong_start_skips_of_the_journal_comes_back_with_the_right_one)
{
	live(DLG_DB_REALTIME, two_calls_in_the_journal_alone, KILLED);
	hash_size = 1024;
	live(DLG_DB_REALTIME, nobody_came_back, _i ? GRACEFUL : KILLED);
	live(DLG_DB_REALTIME, other_calls, _i ? GRACEFUL : KILLED);
	hash_size = HASH_SIZE;
	live(DLG_DB_REALTIME, both_came_back, KILLED);
	live(DLG_DB_REALTIME, both_end, _i ? GRACEFUL : KILLED);
	live(DLG_DB_REALTIME, nothing_was_skipped, GRACEFUL);
}
END_TEST

/* What a start in DELAYED says of the journal's directory. */
static int finds_a_journal(unsigned warned)
{
	sim_db_use(DLG_DB_DELAYED);
	sim_db_load(table_file);
	dialog_conf.db_journal_dir = dir;
	if (sim_call_start(hash_size) < 0)
		return 2;
	return !sim_log_find(HOST_WARNING, "db_mode 2 does not read") != !warned;
}

START_TEST(a_journal_that_another_mode_does_not_read_is_told_of)
{
	live(DLG_DB_REALTIME, two_calls, GRACEFUL);
	ck_assert_int_eq(in_a_process(finds_a_journal, 0), 0);
	live(DLG_DB_REALTIME, two_are_there, KILLED);
	ck_assert_int_eq(in_a_process(finds_a_journal, 1), 0);
}
END_TEST

START_TEST(a_journal_directory_that_cannot_be_used_stops_the_start)
{
	static char missing[] = "/proc/nowhere";

	sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = missing;
	ck_assert_int_eq(sim_start(4), -1);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "parameter db_journal_dir"));
}
END_TEST

/* A file of a few bytes is all that this process may write. */
static int start_on_a_full_disk(void)
{
	struct rlimit before, few = { 4, RLIM_INFINITY };
	int ret;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	few.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_FSIZE, &few);
	ret = sim_start(4);
	setrlimit(RLIMIT_FSIZE, &before);
	return ret;
}

START_TEST(a_journal_directory_without_room_stops_the_start)
{
	sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = dir;
	ck_assert_int_eq(start_on_a_full_disk(), -1);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "parameter db_journal_dir"));
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "No space left"));
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 1);
}
END_TEST

START_TEST(a_journal_that_cannot_be_read_stops_the_start_with_one_line)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/dialog-00000007.journal", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = dir;
	ck_assert_int_eq(sim_start(4), -1);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "dialog-00000007.journal: cannot be read"));
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 1);
}
END_TEST

/* What the second proxy said, while the first one runs. */
static int first_and_second(void)
{
	int status = -1;

	sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = dir;
	if (sim_start(4) < 0)
		return 8;
	if (!fork()) {
		execl("/proc/self/exe", "db_test", "second", dir, (char *)NULL);
		_exit(9);
	}
	wait(&status);
	dialog_stop();
	return WEXITSTATUS(status);
}

START_TEST(two_proxies_do_not_share_a_journal)
{
	int status;

	if (!fork())
		_exit(first_and_second());
	wait(&status);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* As a program of its own: the start must be refused. */
static int second_proxy(char *where)
{
	sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = where;
	return sim_start(4) == -1 && sim_log_find(HOST_ERROR, "in use by another proxy") ? 0 : 1;
}

/* Milliseconds that the exit may wait for one answer, over 1000. */
static int patience_at_exit(unsigned seconds)
{
	static char url[64];

	sim_db_use(DLG_DB_DELAYED);
	snprintf(url, sizeof(url), "fake://user:secret@host/db?timeout=%u", seconds);
	dialog_conf.db_url = url;
	dialog_conf.db_journal_dir = NULL;
	if (sim_call_start(hash_size) < 0 || sim_db.timeout_ms != seconds * 1000)
		return 255;
	sim_call_init(&call[0], 0);
	sim_talk(&call[0]);
	dialog_stop();
	return sim_db.rows == 1 ? (int)(sim_db.timeout_ms / 1000) : 254;
}

START_TEST(the_exit_is_less_patient_than_the_writer_may_be)
{
	ck_assert_int_eq(in_a_process(patience_at_exit, 200), 10);
	ck_assert_int_eq(in_a_process(patience_at_exit, 3), 3);
}
END_TEST

static void a_second_goes_by(void)
{
	sim_advance(1000);
}

/* With a batch a second this takes more than ten of them. */
static void more_than_ten_seconds_of_calls(void)
{
	talk_many(64 * 30);
	sim_db.meanwhile = a_second_goes_by;
}

static void all_of_them_are_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 64 * 30);
}

START_TEST(an_exit_that_gets_on_takes_its_time)
{
	live(_i, more_than_ten_seconds_of_calls, GRACEFUL);
	live(_i, all_of_them_are_there, KILLED);
}
END_TEST

/* ---- changes that cross a new segment ---- */

/* A process is about to note a change when the writer begins a segment, another one notes its own
 * there, and a third has applied the end. */
static void others_were_quicker(enum sim_op op, const void *what)
{
	(void)what;
	if (op != SIM_OP_ENTRY)
		return;
	sim_point = NULL;
	ck_assert_int_eq(dlg_journal_rotate(), 0);
	dlg_db_changed(cell(&call[0]));
	end_unnoted(cell(&call[0]));
}

static void an_end_crosses_a_new_segment(void)
{
	struct dlg_cell *dlg;

	sim_talk(&call[0]);
	drain();
	dlg = cell(&call[0]);
	sim_point = others_were_quicker;
	dlg_db_changed(dlg);
	dlg_db_changed(dlg); /* by the third */
	ck_assert(!dlg_journal_old_held());
	drain();
	ck_assert_uint_eq(sim_db.rows, 0);
	dlg_journal_drop_old();
}

START_TEST(an_end_is_in_no_older_segment_than_what_was_before_it)
{
	live(DLG_DB_REALTIME, an_end_crosses_a_new_segment, KILLED);
	live(DLG_DB_REALTIME, nothing_is_there, GRACEFUL);
}
END_TEST

/* ---- a long outage ---- */

static void much_traffic(unsigned changes)
{
	static char big[60000];

	memset(big, 'x', sizeof(big));
	for (unsigned i = 0; i < changes; i++) {
		snprintf(big, 16, "%u", i);
		big[15] = 'x';
		dlg_vals_set(cell(&call[0]), DLG_STR("big"),
			     (struct dlg_str){ big, sizeof(big) });
		dlg_db_changed(cell(&call[0]));
		if (i % 100 == 0)
			write_for(1);
	}
}

static void segments_go(void)
{
	uint64_t bytes;

	sim_talk(&call[0]);
	much_traffic(600); /* 36 MB */
	write_for(3);
	ck_assert_uint_eq(journal_files(&bytes), 1);
	ck_assert_uint_lt(bytes, 17 << 20);
}

/* At the third batch. */
static void killed_in_the_repair(void)
{
	static unsigned batches;

	if (++batches < 3)
		return;
	sim_db_save(table_file);
	_exit(0);
}

/* The segment that has the calls is an old one by then. */
static void killed_after_an_outage(void)
{
	calls_that_get_lost(300);
	much_traffic(300); /* 18 MB */
	sim_db.away = 0;
	sim_db.meanwhile = killed_in_the_repair;
	write_for(10);
}

static void all_three_hundred_are_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 300);
}

START_TEST(the_journal_keeps_what_it_has_until_all_rows_are_there_again)
{
	live(DLG_DB_REALTIME, killed_after_an_outage, KILLED);
	live(DLG_DB_REALTIME, all_three_hundred_are_there, KILLED);
}
END_TEST

START_TEST(segments_go_when_the_database_has_what_is_in_them)
{
	live(DLG_DB_REALTIME, segments_go, GRACEFUL);
}
END_TEST

/* Room on the disk that a process has, though the file has no name any more. */
static uint64_t bytes_without_a_name(void)
{
	char link[64], path[256];
	uint64_t bytes = 0;
	struct stat st;
	ssize_t n;

	for (int fd = 0; fd < 256; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path));
		if (n > 0 && !strncmp(path, dir, strlen(dir)) && fstat(fd, &st) == 0 &&
		    !st.st_nlink)
			bytes += (uint64_t)st.st_size;
	}
	return bytes;
}

/* This process, as any, has the segment open that it wrote to last. */
static void an_idle_process(void)
{
	sim_talk(&call[0]);
	drain();
	ck_assert_int_eq(dlg_journal_rotate(), 0);
	dlg_journal_drop_old();
	ck_assert_uint_eq(bytes_without_a_name(), 0);
}

START_TEST(a_segment_that_is_gone_takes_no_room)
{
	live(DLG_DB_REALTIME, an_idle_process, GRACEFUL);
}
END_TEST

static void grows_no_further(void)
{
	uint64_t bytes;

	sim_talk(&call[0]);
	sim_talk(&call[1]);
	sim_talk(&call[2]);
	write_for(3);
	sim_db.away = 1;
	sim_within(&call[2], HOST_BYE, DLG_DIR_DOWNSTREAM, 0, 200);
	much_traffic(3000); /* 180 MB */
	write_for(3);
	journal_files(&bytes);
	ck_assert_uint_lt(bytes, 100 << 20);
}

static void all_of_it_is_there(void)
{
	struct dlg_buf value = { 0 };

	remember_calls();
	ck_assert_uint_eq(dlg_state_active(), 2);
	ck_assert_int_eq(sim_state(&call[1]), 4);
	ck_assert_int_eq(dlg_vals_get(cell(&call[0]), DLG_STR("big"), &value), 1);
	ck_assert_uint_eq(value.len, 60000);
	ck_assert_int_eq(strncmp(value.s, "2999", 4), 0);
	dlg_buf_free(&value);
}

START_TEST(in_a_long_outage_the_journal_is_written_anew)
{
	live(DLG_DB_REALTIME, grows_no_further, KILLED);
	live(DLG_DB_REALTIME, all_of_it_is_there, GRACEFUL);
}
END_TEST

/* Nobody can write to the current segment while the old ones wait for a database. */
static void no_segment_in_an_outage(void)
{
	sim_db_remove_dir(dir);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	sim_db.away = 1;
	two_calls();
	write_for(3);
}

static void two_came_from_the_journal(void)
{
	two_are_there();
	ck_assert_ptr_nonnull(sim_log_find(HOST_NOTICE, "2 from the journal"));
}

START_TEST(an_incomplete_segment_is_written_anew_in_an_outage)
{
	live(DLG_DB_REALTIME, no_segment_in_an_outage, KILLED);
	live(DLG_DB_REALTIME, two_came_from_the_journal, GRACEFUL);
}
END_TEST

static void steady_then_outage(void)
{
	sim_talk(&call[0]);
	write_for(5); /* no old segment is left */
	sim_db.away = 1;
	write_for(1);
}

static void records_fail_for_a_moment_in_an_outage(void)
{
	steady_then_outage();
	sim_faults.images_fail = 1;
	sim_talk(&call[1]);
	sim_faults.images_fail = 0;
	write_for(15);
}

static void journal_is_deleted_in_an_outage(void)
{
	char command[256];

	steady_then_outage();
	sim_talk(&call[1]); /* this process has it open */
	snprintf(command, sizeof(command), "rm %s/dialog-*.journal", dir);
	ck_assert_int_eq(system(command), 0);
	write_for(15);
}

START_TEST(what_a_segment_lacks_in_an_outage_is_written_anew)
{
	live(DLG_DB_REALTIME, records_fail_for_a_moment_in_an_outage, KILLED);
	live(DLG_DB_REALTIME, two_are_there, KILLED);
}
END_TEST

START_TEST(a_segment_that_somebody_deleted_is_written_anew)
{
	live(DLG_DB_REALTIME, journal_is_deleted_in_an_outage, KILLED);
	live(DLG_DB_REALTIME, two_are_there, GRACEFUL);
}
END_TEST

/* ---- start-up ---- */

static void a_hundred_calls(void)
{
	talk_many(100);
}

static void all_hundred_are_there(void)
{
	ck_assert_uint_eq(dlg_state_active(), 100);
}

static void it_works_again(void)
{
	sim_db.lose_all = 0;
}

/* The rows of what was restored cannot be deleted; or that is what it looks like. */
static int start_fails(unsigned which)
{
	sim_db_use(DLG_DB_SHUTDOWN);
	sim_db_load(table_file);
	dialog_conf.db_journal_dir = NULL;
	sim_db.lose_all = 1u << which;
	sim_db.lose_after = 1;
	sim_db.meanwhile = it_works_again;
	if (sim_call_start(hash_size) == 0)
		return 1;
	dialog_stop();
	sim_db_save(table_file);
	return sim_log_find(HOST_ERROR, "the restored rows cannot be deleted") ? 0 : 2;
}

START_TEST(a_start_that_cannot_delete_what_it_restored_loses_nothing)
{
	static const enum sim_db_call calls[] = { SIM_DB_REMOVE, SIM_DB_COMMIT };

	live(DLG_DB_SHUTDOWN, a_hundred_calls, GRACEFUL);
	ck_assert_int_eq(in_a_process(start_fails, calls[_i]), 0);
	live(DLG_DB_SHUTDOWN, all_hundred_are_there, GRACEFUL);
}
END_TEST

/* The connection breaks once, half way, or when all are deleted. */
static int start_goes_on(unsigned which)
{
	sim_db_use(DLG_DB_SHUTDOWN);
	sim_db_load(table_file);
	dialog_conf.db_journal_dir = NULL;
	sim_db.lose_call = (enum sim_db_call)which;
	sim_db.lose_after = 1;
	sim_db.lose_in = which == SIM_DB_REMOVE ? 2 : 1;
	if (sim_call_start(hash_size) < 0)
		return 1;
	if (sim_db.rows)
		return 2;
	dialog_stop();
	sim_db_save(table_file);
	return sim_log_count[HOST_ERROR] ? 3 : 0;
}

START_TEST(a_start_goes_on_when_the_connection_breaks_while_it_deletes)
{
	static const enum sim_db_call calls[] = { SIM_DB_BEGIN, SIM_DB_REMOVE, SIM_DB_COMMIT };

	live(DLG_DB_SHUTDOWN, a_hundred_calls, GRACEFUL);
	ck_assert_int_eq(in_a_process(start_goes_on, calls[_i]), 0);
	live(DLG_DB_SHUTDOWN, all_hundred_are_there, GRACEFUL);
}
END_TEST

START_TEST(an_absent_database_stops_the_start_without_naming_the_password)
{
	sim_db_use(1 + _i);
	sim_db.away = 1;
	dialog_conf.db_journal_dir = dir;
	ck_assert_int_eq(sim_start(4), -1);
	ck_assert_ptr_nonnull(sim_log_find(HOST_ERROR, "cannot be reached"));
	ck_assert_ptr_null(sim_log_find(HOST_DEBUG, "secret"));
}
END_TEST

START_TEST(no_db_asks_no_database)
{
	sim_db_use(DLG_DB_NO_DB);
	ck_assert_int_eq(sim_call_start(4), 0);
	sim_call_init(&call[0], 0);
	sim_talk(&call[0]);
	ck_assert_uint_eq(sim_db.calls[SIM_DB_OPEN], 0);
	dialog_stop();
	ck_assert_uint_eq(sim_db.calls[SIM_DB_OPEN], 0);
}
END_TEST

int main(int argc, char **argv)
{
	TCase *c;

	if (argc == 3)
		return second_proxy(argv[2]);
	c = tcase_create("db");
	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, realtime_rows_follow_a_call);
	tcase_add_test(c, changes_of_a_dialog_are_one_row);
	tcase_add_test(c, a_call_between_two_periods_is_never_written);
	tcase_add_test(c, a_period_writes_what_it_began_with);
	tcase_add_test(c, calls_within_a_long_period_cost_no_memory);
	tcase_add_test(c, a_period_whose_connection_was_lost_is_written_with_a_new_one);
	tcase_add_test(c, an_idle_connection_that_was_closed_is_no_outage);
	tcase_add_test(c, a_connection_that_breaks_in_use_is_an_outage);
	tcase_add_test(c, an_outage_that_begins_on_an_idle_connection_is_one);
	tcase_add_loop_test(c, d12_after_an_outage_the_table_is_what_memory_is, 0, 2);
	tcase_add_loop_test(c, a_database_that_comes_back_empty_gets_all_rows_again, 1, 3);
	tcase_add_loop_test(c, an_exit_after_an_outage_writes_all_rows_again, 1, 3);
	tcase_add_test(c, the_journal_has_all_calls_when_the_database_is_away_at_exit);
	tcase_add_test(c, rows_that_were_deleted_before_an_outage_are_deleted_again);
	tcase_add_test(c, a_change_does_not_wait_for_all_rows);
	tcase_add_test(c, a_repair_ends_though_there_is_always_something_else);
	tcase_add_test(c, the_journal_keeps_what_it_has_until_all_rows_are_there_again);
	tcase_add_loop_test(c, a_database_that_takes_nothing_is_away_once, 0, 2);
	tcase_add_loop_test(c, calls_that_come_and_go_in_an_outage_cost_no_memory, 0, 2);
	tcase_add_test(c, no_failed_call_loses_a_change);
	tcase_add_test(c, a_refused_row_does_not_hold_up_the_others);
	tcase_add_test(c, refused_rows_do_not_flood_the_log);
	tcase_add_test(c, a_batch_that_had_to_give_way_is_written_at_once);
	tcase_add_loop_test(c, answered_calls_survive_a_graceful_restart, 0, 6);
	tcase_add_loop_test(c, realtime_survives_a_kill_whether_or_not_the_writer_had_its_turn, 0, 2);
	tcase_add_test(c, a_kill_right_after_the_start_loses_nothing);
	tcase_add_test(c, a_call_whose_leg_was_lost_ends_after_a_restart);
	tcase_add_test(c, a_call_with_odd_texts_survives);
	tcase_add_test(c, an_ack_may_be_of_an_invite_that_was_not_saved);
	tcase_add_test(c, a_restored_leg_without_ack_has_no_limit_for_it);
	tcase_add_test(c, the_journal_keeps_what_an_absent_database_missed_at_exit);
	tcase_add_test(c, what_expired_meanwhile_ends_at_once_with_byes_if_asked_for);
	tcase_add_test(c, a_clock_that_was_set_back_gives_no_more_than_the_lifetime);
	tcase_add_test(c, a_journal_of_another_time_does_not_outlive_it);
	tcase_add_loop_test(c, rows_are_written_anew_when_the_clock_was_set, 0, 2);
	tcase_add_loop_test(c, the_exit_sees_that_the_clock_was_set, 0, 2);
	tcase_add_loop_test(c, calls_without_marks_are_saved_at_exit, 0, 2);
	tcase_add_loop_test(c, an_end_that_nobody_noted_is_saved_at_exit, 0, 3);
	tcase_add_test(c, a_restored_call_that_could_not_end_for_good_stops_the_start);
	tcase_add_test(c, a_restored_call_that_lacks_something_stops_the_start);
	tcase_add_test(c, a_change_that_has_no_memory_for_its_image_waits);
	tcase_add_test(c, d01_d13_bad_rows_are_skipped_named_and_kept);
	tcase_add_loop_test(c, no_new_call_gets_the_name_of_a_row_that_was_skipped, 0, 2);
	tcase_add_test(c, no_new_call_gets_the_name_of_a_row_that_goes);
	tcase_add_test(c, a_torn_last_record_costs_nothing_but_itself);
	tcase_add_test(c, what_was_lost_is_lost_after_a_restart_too);
	tcase_add_loop_test(c, nobody_is_told_of_what_is_saved_at_exit, 1, 4);
	tcase_add_test(c, who_ends_a_call_when_it_is_saved_makes_the_timer_do_it);
	tcase_add_test(c, a_call_that_is_to_be_ended_is_ended_after_a_restart);
	tcase_add_test(c, the_lifetime_goes_on_after_a_restart);
	tcase_add_test(c, a_damaged_record_does_not_hide_those_behind_it);
	tcase_add_test(c, a_journal_of_another_version_is_set_aside);
	tcase_add_test(c, what_is_set_aside_is_not_overwritten);
	tcase_add_loop_test(c, what_a_wrong_start_skips_of_the_journal_comes_back_with_the_right_one,
			    0, 2);
	tcase_add_test(c, a_journal_that_another_mode_does_not_read_is_told_of);
	tcase_add_test(c, a_journal_directory_that_cannot_be_used_stops_the_start);
	tcase_add_test(c, a_journal_directory_without_room_stops_the_start);
	tcase_add_test(c, a_journal_that_cannot_be_read_stops_the_start_with_one_line);
	tcase_add_test(c, two_proxies_do_not_share_a_journal);
	tcase_add_test(c, the_exit_is_less_patient_than_the_writer_may_be);
	tcase_add_loop_test(c, an_exit_that_gets_on_takes_its_time, 1, 4);
	tcase_add_test(c, an_end_is_in_no_older_segment_than_what_was_before_it);
	tcase_add_test(c, segments_go_when_the_database_has_what_is_in_them);
	tcase_add_test(c, a_segment_that_is_gone_takes_no_room);
	tcase_add_test(c, in_a_long_outage_the_journal_is_written_anew);
	tcase_add_test(c, an_incomplete_segment_is_written_anew_in_an_outage);
	tcase_add_test(c, what_a_segment_lacks_in_an_outage_is_written_anew);
	tcase_add_test(c, a_segment_that_somebody_deleted_is_written_anew);
	tcase_add_loop_test(c, a_start_that_cannot_delete_what_it_restored_loses_nothing, 0, 2);
	tcase_add_loop_test(c, a_start_goes_on_when_the_connection_breaks_while_it_deletes, 0, 3);
	tcase_add_loop_test(c, an_absent_database_stops_the_start_without_naming_the_password, 0, 3);
	tcase_add_test(c, no_db_asks_no_database);
	return unit_run_case("db", c);
}

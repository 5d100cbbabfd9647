/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole calls, threads in place of processes: SIP workers, the timer, the FIFO, the writer with its
 * journal, and a module on top, all at the same time over the simulated host. Several workers have
 * requests and replies of one call in hand. Best run with -fsanitize=thread.
 *
 * RACE_ROUNDS=N: so many things each worker does (1,000 unless said otherwise).
 *
 * Left out: what the hosts promise not to do (two replies of one transaction at once), buffers that
 * live once per process ($dlg_val's), start and exit, which have one process only. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../../dlg_cb.h"
#include "../../dlg_cookie.h"
#include "../../dlg_db_handler.h"
#include "../../dlg_mi.h"
#include "../../dlg_profile.h"
#include "../unit/unit.h"
#include "sim_audit.h"
#include "sim_call.h"
#include "sim_db.h"
#include "sim_worker.h"

enum {
	WORKERS = 3,
	SLOTS = 6,     /* calls that workers have in hand */
	ROUND_MS = 20, /* the clock goes on by so much */
	ROUNDS = 1000,
	SETTLE_S = 30, /* everything that had to be ended has been */
};

/* A call. Each worker plays with a copy. */
static struct slot {
	pthread_mutex_t lock;
	struct sim_call call;
	struct host_tx *invite;
} slots[SLOTS];

static unsigned rounds;
static atomic_int working;    /* workers that are not through */
static atomic_int stop;       /* the others stop, too */
static atomic_uint last_call, last_cseq, commands;
static int caller, gate;      /* profiles */
static struct host_var *size_var;

/* ---- a module on top ---- */

enum {
	ENDS = DLGCB_FAILED | DLGCB_TERMINATED | DLGCB_EXPIRED,
	TOLD = DLGCB_SAVED | ENDS | DLGCB_EARLY | DLGCB_CONFIRMED | DLGCB_REQ_WITHIN |
	       DLGCB_RESPONSE_FWDED | DLGCB_RESPONSE_WITHIN | DLGCB_MI_CONTEXT | DLGCB_DESTROY,
};

/* What it knows of a dialog. */
struct track {
	atomic_uint ends, destroyed;
};

static struct dlg_api api;
static atomic_uint told[13]; /* callbacks by bit */
static atomic_int tracks;

static void ask(struct dlg_cell *dlg)
{
	struct dlg_info info;
	char buf[2048];

	if (api.get_info(dlg, &info, buf, sizeof(buf)) || info.h_id != dlg->h_id)
		sim_violation("api: wrong information on a dialog");
	api.get_value(dlg, "k", buf, sizeof(buf));
	api.get_flags(dlg);
}

static void find_again(struct dlg_cell *dlg)
{
	struct dlg_cell *same = api.find(dlg->h_entry, dlg->h_id);

	if (same != dlg)
		sim_violation("api: a dialog cannot be found by its name");
	if (same)
		api.put(same);
}

static void call_back(struct dlg_cell *dlg, void *tr);

/* Something else each time. Telling the writer of a change whenever it tells us that it saved one
 * would never end. */
static void meddle(struct dlg_cell *dlg, int type)
{
	static _Thread_local unsigned turn;

	switch (type == DLGCB_SAVED ? 0 : turn++ % 64) {
	case 1: find_again(dlg); break;
	case 2: api.set_value(dlg, "k", "by a module", 11); break;
	case 3: api.set_flags(dlg, 1u << turn % 32, 1u << turn % 7); break;
	case 4: api.set_value(dlg, "k", NULL, 0); break;
	case 5: call_back(dlg, NULL); break;
	case 6: api.end(dlg, NULL); break;
	default: ask(dlg);
	}
}

static void on_event(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	struct track *tr = *p->param;

	told[__builtin_ctz((unsigned)type)]++;
	if (!tr)
		return;
	if (tr->destroyed)
		sim_violation("callback: type %#x after DLGCB_DESTROY", type);
	if (type & ENDS && tr->ends++)
		sim_violation("callback: a call has ended twice");
	if (type == DLGCB_DESTROY)
		tr->destroyed = 1;
	else
		meddle(dlg, type);
}

static void on_free(void *param)
{
	struct track *tr = param;

	if (!tr->destroyed)
		sim_violation("callback: parameter freed before DLGCB_DESTROY");
	tracks--;
	free(tr);
}

static void call_back(struct dlg_cell *dlg, void *tr)
{
	api.register_dlgcb(dlg, tr ? TOLD : DLGCB_REQ_WITHIN, on_event, tr, tr ? on_free : NULL);
}

static void on_created(struct dlg_cell *dlg, int type, struct dlg_cb_params *p)
{
	struct track *tr = calloc(1, sizeof(*tr));

	(void)p;
	told[__builtin_ctz((unsigned)type)]++;
	if (!tr)
		abort();
	tracks++;
	call_back(dlg, tr);
}

/* ---- the script ---- */

static void script(struct host_msg *msg)
{
	static const struct dlg_str callers[] = { DLG_STR("a"), DLG_STR("b"), DLG_STR("c") };
	struct dialog_arg of_caller[3] = { { .given = 1, .profile = caller },
					   { .given = 1, .text = callers[msg->cseq % 3] },
					   { .given = 1, .var = size_var } };
	struct dialog_arg of_gate[3] = { { .given = 1, .profile = gate },
					 { 0 },
					 { .given = 1, .number = SIM_LIMIT } };
	struct dialog_arg value[2] = { { .given = 1, .text = DLG_STR("k") },
				       { .given = 1, .text = msg->field[SIM_RURI] } };
	struct dialog_arg fetch[2] = { value[0], { .given = 1, .var = size_var } };
	struct dialog_value out;

	msg->flags |= (msg->cseq & 1) << SIM_BYE_FLAG;
	dialog_fn_set_dlg_profile(msg, of_caller);
	dialog_fn_set_dlg_profile_limit(msg, of_gate);
	dialog_fn_store_dlg_value(msg, value);
	dialog_fn_fetch_dlg_value(msg, fetch);
	dialog_fn_is_in_profile(msg, of_caller);
	dialog_fn_get_profile_size(msg, of_caller);
	if (msg->cseq % 4 == 0)
		dialog_fn_unset_dlg_profile(msg, of_caller);
	dialog_get_DLG_status(msg, DLG_STR_NONE, &out);
	dialog_get_DLG_lifetime(msg, DLG_STR_NONE, &out);
	dialog_get_DLG_flags(msg, DLG_STR_NONE, &out);
	dialog_get_DLG_count(msg, DLG_STR_NONE, &out);
}

static const struct sim_script initial = { .record_route = 1, .extra = script };
static const struct sim_script sequential = { .extra = script };
static const struct sim_script checked = { .validate = 1 };

/* ---- the INVITE and its replies ---- */

static void copy_call(struct slot *s, struct sim_call *call)
{
	pthread_mutex_lock(&s->lock);
	*call = s->call;
	pthread_mutex_unlock(&s->lock);
}

static void free_invite(struct host_tx *t)
{
	if (!t)
		return;
	sim_tx_take(t);
	sim_tx_free(t);
}

/* The slot's call is another one from now on; the one before goes its way. */
static void put_call(struct slot *s, const struct sim_call *call, struct host_tx *invite)
{
	struct host_tx *before;

	pthread_mutex_lock(&s->lock);
	before = s->invite;
	s->call = *call;
	s->invite = invite;
	pthread_mutex_unlock(&s->lock);
	free_invite(before);
}

static struct sim_result pass_invite(struct sim_call *call, unsigned branch)
{
	struct sim_request r = { .method = HOST_INVITE, .initial = 1, .cseq = 10,
				 .branch = branch };

	return sim_step(call, &r, &initial);
}

/* Others see the call, and may pass the INVITE once more, before its script begins. */
static void begin_call(struct slot *s)
{
	unsigned number = ++last_call;
	struct sim_call call;

	sim_call_init(&call, number);
	call.pass[0].branch = 1000000000 + number;
	call.invite_cseq = 10;
	put_call(s, &call, NULL);
	put_call(s, &call, pass_invite(&call, call.pass[0].branch).tx);
}

/* A retransmission meets another worker, before the transaction layer knows the INVITE. */
static void repeat_invite(struct slot *s)
{
	struct sim_call call;

	copy_call(s, &call);
	if (call.pass[0].branch)
		free_invite(pass_invite(&call, call.pass[0].branch).tx);
}

/* Replies are delivered one at a time, and not when there was a final one but another 2xx. */
static void reply(struct slot *s, int leg, int code)
{
	struct sim_call call;
	struct host_tx *t;

	pthread_mutex_lock(&s->lock);
	call = s->call;
	t = s->invite;
	if (t)
		sim_tx_take(t);
	pthread_mutex_unlock(&s->lock);
	if (!t)
		return;
	if (!t->final || (t->final < 300 && code >= 200 && code < 300))
		sim_reply(&call, t, leg, code);
	sim_tx_give(t);
}

static void gone(struct slot *s)
{
	struct sim_call call;

	copy_call(s, &call);
	put_call(s, &call, NULL);
}

/* ---- sequential requests ---- */

static struct sim_request request(struct sim_worker *w, enum host_method method)
{
	struct sim_request r = { .method = method, .leg = (int)sim_pick(w, 2), .cseq = ++last_cseq,
				 .dir = sim_pick(w, 2) ? DLG_DIR_UPSTREAM : DLG_DIR_DOWNSTREAM };

	if (method == HOST_ACK)
		r.cseq = 10;
	if (method == HOST_ACK)
		r.dir = DLG_DIR_DOWNSTREAM;
	if (method == HOST_INVITE)
		r.contact = "sip:moved@127.0.0.8:5070";
	if (sim_pick(w, 4) == 0)
		r.timeout = "3";
	return r;
}

static void within(struct sim_worker *w, struct slot *s, enum host_method method)
{
	struct sim_request r = request(w, method);
	struct sim_result res;
	struct sim_call call;

	copy_call(s, &call);
	res = sim_step(&call, &r, sim_pick(w, 3) ? &sequential : &checked);
	if (!res.tx)
		return;
	sim_reply(&call, res.tx, r.leg, 200);
	sim_tx_free(res.tx);
}

/* A request that one worker forwards, while another one has the answer already. */
struct handed {
	struct sim_call *call;
	struct host_tx *t;
	int leg;
	atomic_int answered;
};
static _Atomic(struct handed *) handed;

static void answer_handed(void)
{
	struct handed *h = atomic_exchange(&handed, NULL);

	if (!h)
		return;
	sim_reply(h->call, h->t, h->leg, 200);
	atomic_store(&h->answered, 1);
}

static void forward(struct handed *h)
{
	struct handed *nobody = NULL, *mine = h;
	int offered = atomic_compare_exchange_strong(&handed, &nobody, h);

	sched_yield();
	sim_tx_event(h->t, DLG_TX_FORWARDED, NULL, 0);
	if (!offered || atomic_compare_exchange_strong(&handed, &mine, NULL))
		return;
	while (!atomic_load(&h->answered))
		sched_yield();
}

static void hand_over(struct sim_worker *w, struct slot *s, enum host_method method)
{
	struct sim_request r = request(w, method);
	struct sim_call call;
	struct handed h = { .call = &call, .leg = r.leg };
	struct host_msg *msg;

	copy_call(s, &call);
	msg = sim_request_msg(&call, &r);
	if (msg->own_routes)
		sim_on_route(msg);
	h.t = sim_tx_new(msg);
	forward(&h);
	sim_msg_end(msg, 1);
	sim_msg_free(msg);
	sim_tx_free(h.t);
}

/* ---- commands ---- */

static void mi_open(struct dlg_mi_out *out, const char *name)
{
	(void)out;
	(void)name;
}
static void mi_close(struct dlg_mi_out *out)
{
	(void)out;
}
static void mi_text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	(void)out;
	if (name && !strcmp(name, "result") && dlg_str_eq(value, DLG_STR("broken")))
		sim_violation("dlg_audit: broken");
}
static void mi_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	(void)out;
	if (value < 0)
		sim_violation("a command counts %lld of %s", (long long)value, name);
}
static void mi_error(struct dlg_mi_out *out, int code, const char *reason)
{
	(void)code;
	mi_open(out, reason);
}
static int mi_broken(struct dlg_mi_out *out)
{
	(void)out;
	return 0;
}

static const struct dlg_mi_ops mi_ops = {
	.open_list = mi_open, .close_list = mi_close, .open_node = mi_open, .close_node = mi_close,
	.attr = mi_text, .attr_number = mi_number, .text = mi_text, .number = mi_number,
	.error = mi_error, .broken = mi_broken,
};

static void run_command(enum dlg_mi_id id, struct dlg_mi_args args)
{
	struct dlg_mi_out out = { .ops = &mi_ops, .status = 200 };

	dlg_mi_run(&dlg_mi_commands[id], &args, &out);
}

static void command_end(struct slot *s)
{
	char entry[16], id[16];
	struct sim_call call;
	uint32_t h_entry, h_id;

	copy_call(s, &call);
	if (dlg_cookie_parse(dlg_str_of(call.pass[0].cookie), &h_entry, &h_id) < 0)
		return;
	snprintf(entry, sizeof(entry), "%u", h_entry);
	snprintf(id, sizeof(id), "%u", h_id);
	run_command(DLG_MI_dlg_end_dlg,
		    (struct dlg_mi_args){ 2, { dlg_str_of(entry), dlg_str_of(id) } });
}

static void command(struct sim_worker *w, enum dlg_mi_id id)
{
	unsigned args = dlg_mi_commands[id].min_args;
	int page = id == DLG_MI_dlg_page;

	if (id != DLG_MI_dlg_end_dlg)
		run_command(id, (struct dlg_mi_args){
					args, { page ? DLG_STR("0") : DLG_STR("caller") } });
	else
		command_end(&slots[sim_pick(w, SLOTS)]);
}

/* Calls are to end in other ways, too, however fast commands are: one that ends some runs once for
 * so many calls. */
static int is_time_for(enum dlg_mi_id id)
{
	static unsigned last[DLG_MI_N];
	unsigned calls = id == DLG_MI_dlg_end_dlg ? 6 : id == DLG_MI_profile_end_dlgs ? 60 : 0;

	if (last_call - last[id] < calls)
		return 0;
	last[id] = last_call;
	return 1;
}

/* All of them in turn. */
static void *fifo(void *arg)
{
	struct sim_worker *w = arg;

	for (unsigned n = 0; !atomic_load(&stop); n++) {
		enum dlg_mi_id id = (enum dlg_mi_id)(n % DLG_MI_N);

		if (!is_time_for(id))
			continue;
		command(w, id);
		commands++;
	}
	return NULL;
}

/* ---- the processes ---- */

static void act(struct sim_worker *w, struct slot *s)
{
	switch (sim_pick(w, 16)) {
	case 0: begin_call(s); break;
	case 1: repeat_invite(s); break;
	case 2: reply(s, (int)sim_pick(w, 2), 180); break;
	case 3:
	case 4: reply(s, (int)sim_pick(w, 2), 200); break;
	case 5: reply(s, 0, sim_pick(w, 2) ? 486 : 487); break;
	case 6: gone(s); break;
	case 7:
	case 8: within(w, s, HOST_ACK); break;
	case 9: within(w, s, HOST_BYE); break;
	case 10: hand_over(w, s, HOST_BYE); break;
	case 11: within(w, s, HOST_INVITE); break;
	case 12: hand_over(w, s, HOST_INVITE); break;
	case 13: hand_over(w, s, HOST_OTHER); break;
	default: within(w, s, HOST_OTHER);
	}
}

static void *work(void *arg)
{
	struct sim_worker *w = arg;

	for (unsigned n = 0; n < rounds; n++) {
		answer_handed();
		act(w, &slots[sim_pick(w, SLOTS)]);
		sim_advance(ROUND_MS);
	}
	while (atomic_load(&working) > 1 && atomic_load(&handed)) /* somebody waits for an answer */
		answer_handed();
	atomic_fetch_sub(&working, 1);
	return NULL;
}

static void *timer(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		dlg_timer_tick();
		sched_yield();
	}
	return NULL;
}

/* What the parties say to our BYEs. */
static void *network(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		while (sim_sent_next(200))
			;
		sim_sent_clear();
		sched_yield();
	}
	return NULL;
}

/* The database is away now and then. */
static void between_batches(void)
{
	static unsigned n;

	sim_db.away = ++n % 8 == 0;
	if (atomic_load(&stop))
		pthread_exit(NULL);
}

static void *writer(void *arg)
{
	(void)arg;
	dlg_db_run(between_batches);
}

/* ---- tests ---- */

static void start(char *journal_dir)
{
	const char *given = getenv("RACE_ROUNDS");

	rounds = given ? (unsigned)atoi(given) : ROUNDS;
	sim_log_level = HOST_ERROR;
	dialog_conf.log_profile_hash_size = 1;
	dialog_conf.default_timeout = 12;
	dialog_conf.setup_timeout = 3;
	dialog_conf.ack_timeout = 2;
	if (journal_dir)
		sim_db_use(DLG_DB_REALTIME);
	dialog_conf.db_journal_dir = journal_dir;
	dialog_list_add(&dialog_conf.profiles_with_value, "caller");
	dialog_list_add(&dialog_conf.profiles_no_value, SIM_GATE);
	ck_assert_int_eq(sim_call_start(4), 0);
	ck_assert_int_eq(dlg_load_api(&api, dlg_cb_bind), 0);
	ck_assert_int_eq(api.register_dlgcb(NULL, DLGCB_CREATED, on_created, NULL, NULL), 0);
	caller = dlg_profile_find(DLG_STR("caller"));
	gate = dlg_profile_find(DLG_STR(SIM_GATE));
	size_var = host_var_compile("$var(n)");
	ck_assert_ptr_nonnull(size_var);
	for (int i = 0; i < SLOTS; i++)
		pthread_mutex_init(&slots[i].lock, NULL);
	sim_audit_begin();
}

static void run_processes(void)
{
	void *(*others[])(void *) = { timer, network, fifo, writer };
	unsigned n_others = dlg_db_has_writer() ? 4 : 3;
	struct sim_worker w[WORKERS], other[4];

	atomic_store(&working, WORKERS);
	sim_workers_init(other, n_others, 100);
	for (unsigned i = 0; i < n_others; i++)
		sim_workers_run(&other[i], 1, others[i]);
	sim_workers_init(w, WORKERS, 1);
	sim_workers_run(w, WORKERS, work);
	sim_workers_join(w, WORKERS);
	atomic_store(&stop, 1);
	sim_workers_join(other, n_others);
}

static void write_all(void)
{
	if (!dlg_db_has_writer())
		return;
	sim_db.away = 0;
	sim_run(6); /* until it tries again */
	while (dlg_db_write_some() > 0)
		;
	sim_db_compare();
}

static void settle(unsigned seconds)
{
	while (seconds--) {
		sim_sent_all(200);
		sim_run(1);
	}
	sim_sent_clear();
}

/* The last calls are left to their limit: none may have come to that before. */
static void end_all(void)
{
	write_all();
	for (int i = 0; i < SLOTS; i++)
		begin_call(&slots[i]);
	settle(5);
	for (int i = 0; i < SLOTS; i++)
		gone(&slots[i]);
	settle(SETTLE_S);
	write_all();
}

/* Nothing is proved by what did not happen. */
static void check_all_happened(void)
{
	for (unsigned i = 0; i < 13; i++) {
		if (1 << i != DLGCB_LOADED && (dlg_db_has_writer() || 1 << i != DLGCB_SAVED))
			ck_assert_msg(told[i], "no callback of type %#x came", 1u << i);
	}
	ck_assert_uint_gt(commands, DLG_MI_N);
	for (unsigned i = 0; i < DLG_REASON_N; i++)
		printf(" %llu", (unsigned long long)dlg_state_counters()->ended[i]);
	printf(" calls ended by reason, %u commands\n", commands);
}

static void run_calls(void)
{
	run_processes();
	sim_run(1); /* the timer may not have been quick enough */
	sim_audit();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
	end_all();
	sim_audit_end();
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
	ck_assert_int_eq(tracks, 0);
	check_all_happened();
}

START_TEST(calls_side_by_side)
{
	start(NULL);
	run_calls();
}
END_TEST

START_TEST(calls_with_a_database)
{
	char dir[] = "/tmp/dlgrace.XXXXXX";
	struct dlg_db_info info;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	start(dir);
	run_calls();
	dlg_db_get_info(&info);
	ck_assert_uint_gt(info.rows, 0);
	ck_assert_uint_gt(info.deleted, 0);
	ck_assert_uint_eq(info.journal_errors, 0);
	sim_db_remove_dir(dir);
}
END_TEST

/* ---- short calls: the end overtakes the writer ---- */

static void apply(struct dlg_cell *dlg, enum dlg_event event)
{
	dlg_hash_lock(dlg);
	if (dlg_state_apply_locked(dlg, event) & DLG_DO_END)
		dlg_state_count(&dlg_state_counters()->ended[DLG_REASON_caller]);
	dlg_hash_unlock(dlg);
	dlg_db_changed(dlg);
}

static void *short_calls(void *arg)
{
	struct sim_worker *w = arg;
	struct dlg_hash_new in = { .from_tag = DLG_STR("f"), .lifetime = 5 };
	struct dlg_cell *dlg;
	char id[32];

	for (unsigned n = 0; n < 20 * rounds; n++) {
		snprintf(id, sizeof(id), "%u-%u", w->seed, n);
		in.call_id = dlg_str_of(id);
		if (dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) != 1)
			abort();
		apply(dlg, DLG_EV_SUCCESS);
		for (unsigned i = sim_pick(w, 64); i; i--)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		apply(dlg, DLG_EV_BYE);
		dlg_hash_release(dlg); /* or the writer does, who has it in hand */
	}
	return NULL;
}

static void *saves(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		dlg_db_write_some();
	return NULL;
}

/* A row whose call has ended would bring it back at the next start. */
START_TEST(no_end_is_lost)
{
	char dir[] = "/tmp/dlgrace.XXXXXX";
	struct sim_worker w[WORKERS], save;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	start(dir);
	sim_workers_run(&save, 1, saves);
	sim_workers_init(w, WORKERS, 1);
	sim_workers_run(w, WORKERS, short_calls);
	sim_workers_join(w, WORKERS);
	atomic_store(&stop, 1);
	sim_workers_join(&save, 1);
	write_all();
	sim_audit_end();
	sim_db_remove_dir(dir);
	ck_assert_msg(!sim_violated(), "%s", sim_violated());
}
END_TEST

int main(void)
{
	return unit_run("races of calls",
			UNIT_TESTS{ calls_side_by_side, calls_with_a_database, no_end_is_lost,
				    NULL },
			600);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_sched.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>

#include "../../dlg_cb.h"
#include "../../dlg_db_handler.h"
#include "../../dlg_hash.h"
#include "../../dlg_vals.h"
#include "sim_host.h"
#include "sim_wrap.h"

struct sim_sched_stats sim_sched_stats;
int sim_sched_all;

/* ---- what a step did ---- */

/* Why leaving out orders is safe. Two steps may be exchanged when neither writes what the other
 * reads or writes. A step's writes under an entry lock are found by comparing everything it guards
 * before and after; its reads are taken to be all of that. Only what these functions of
 * dlg_hash.c do is known better, from their code:
 *   dlg_hash_hold() reads nothing, dlg_hash_get() which dialogs there are, and dlg_hash_put()
 *   DLG_F_LINGER_OVER; each adds to a count or takes from it. Adding commutes with adding; who
 *   looks at the counts is dlg_hash_holders(), dlg_hash_put_last() with a function, whoever finds
 *   DLG_F_LINGER_OVER, and whoever takes a dialog out of the table.
 * Who finds that flag is taken to look at everything. What has no lock: a transaction's dlg_tx and
 * what the host has for it (SIM_OBJ_TX, noted by whoever shares one), sums of profiles (looked at
 * under the admission lock only), totals (nobody acts on them).
 *
 * The locks of memory classes are no points: all the engine sees of another process's allocation
 * is another address, and none fails here. Callbacks write only what checks look at afterwards,
 * in any order; but nothing may come after DLGCB_DESTROY. */
struct footprint {
	unsigned reads, writes, adds;
};

static int independent(const struct footprint *a, const struct footprint *b)
{
	return !sim_sched_all && !(a->writes & (b->reads | b->writes | b->adds)) &&
	       !(b->writes & (a->reads | a->writes | a->adds)) && !(a->adds & b->reads) &&
	       !(b->adds & a->reads);
}

/* Fingerprints of what an entry lock guards. */
struct print {
	uint64_t table, cell, refs, callbacks, linger;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t mix_bytes(uint64_t h, const void *from, const void *to)
{
	const char *at = from;
	size_t left = (size_t)((const char *)to - at);
	uint64_t v;

	for (; left >= sizeof(v); at += sizeof(v), left -= sizeof(v)) {
		memcpy(&v, at, sizeof(v));
		h = mix(h, v);
	}
	v = 0;
	memcpy(&v, at, left);
	return mix(h, v);
}

static void mix_value(struct dlg_str name, struct dlg_str value, void *arg)
{
	uint64_t *h = arg;

	*h = mix_bytes(*h, name.s, name.s + name.len);
	*h = mix_bytes(*h, value.s, value.s + value.len);
}

/* The timer's links are the wheel's, refs and callbacks have fingerprints of their own. */
static uint64_t mix_cell(uint64_t h, const struct dlg_cell *dlg)
{
	h = mix_bytes(h, &dlg->state, dlg->refs);
	h = mix_bytes(h, &dlg->user_flags, &dlg->timer);
	h = mix(h, dlg->timer.deadline);
	h = mix_bytes(h, &dlg->caller_contact, &dlg->cbs);
	h = mix_bytes(h, &dlg->members, dlg->text);
	for (const struct dlg_leg *leg = dlg->legs; leg; leg = leg->next)
		h = mix_bytes(h, leg, leg->tag + leg->tag_len);
	dlg_vals_each_locked(dlg, mix_value, &h);
	return h;
}

static int print_cell(const struct dlg_cell *dlg, void *arg)
{
	struct print *p = arg;

	p->table = mix(p->table, dlg->h_id);
	p->cell = mix_cell(p->cell, dlg);
	p->refs = mix_bytes(p->refs, dlg->refs, dlg->refs + DLG_HOLDERS);
	p->callbacks = mix(p->callbacks, (uintptr_t)dlg->cbs);
	p->linger = p->linger << 1 | (dlg->flags & DLG_F_LINGER_OVER ? 1 : 0);
	return 0;
}

static struct print take_print(void)
{
	sim_point_fn *hook = sim_point;
	void (*others)(void) = sim_interleave;
	struct dlg_hash_cursor cur = { 0 };
	struct print p = { 0 };
	struct dlg_cell *none;

	sim_point = NULL;
	sim_interleave = NULL;
	dlg_hash_page_of(&cur, &none, 1, print_cell, &p, DLG_BY_LOCAL);
	sim_point = hook;
	sim_interleave = others;
	return p;
}

static void measure(struct footprint *f, const struct print *before, const struct print *after)
{
	if (before->table != after->table) { /* it left because nobody holds it */
		f->writes |= SIM_OBJ_TABLE;
		f->reads |= SIM_OBJ_REFS;
	}
	if (before->cell != after->cell) /* a change may put the mark on the log */
		f->writes |= SIM_OBJ_CELL | (dlg_db_has_writer() ? SIM_OBJ_LOG : 0);
	if (before->callbacks != after->callbacks)
		f->writes |= SIM_OBJ_CALLBACKS;
	if (before->linger != after->linger)
		f->writes |= SIM_OBJ_LINGER;
	if (before->refs != after->refs)
		f->adds |= SIM_OBJ_REFS;
	if (before->linger || after->linger)
		f->reads |= SIM_OBJ_REFS | SIM_OBJ_CELL | SIM_OBJ_TABLE;
}

/* ---- threads ---- */

enum state { IDLE, READY, OVER };

static struct co {
	pthread_t thread;
	sem_t baton;
	sim_co *fn;
	void *arg;
	enum state state;
	int (*ready)(void *arg); /* NULL: always */
	void *ready_arg;
	struct footprint next;   /* of the step it stands before, as far as known */
	unsigned always;
} co[SIM_COS];

static unsigned n_cos;
static sem_t main_baton;
static _Thread_local int self = -1; /* index in co; -1 the main thread */

/* ---- the search ---- */

/* A place where a choice was made. */
struct node {
	unsigned enabled, todo, done, sleep; /* sets of processes */
	unsigned chosen;
	unsigned clock[SIM_COS];        /* of each process, how many places come before this step */
	struct footprint step[SIM_COS]; /* of the next step of those in done or sleep, and chosen */
};

enum mode { SEARCH, SERIAL, REPLAY, RANDOM };

static struct {
	enum mode mode;
	struct node node[SIM_DEPTH];
	unsigned n_nodes;     /* places to come back to: up to here the choices are given */
	unsigned depth;       /* of the present run */
	unsigned known;       /* steps that have been measured */
	int redundant, more, cut, starting;
	unsigned max, orders;
	const unsigned *order;
	const char *given;    /* what is left of a trace to be replayed */
	struct footprint now; /* the step being made */
	struct print before;
	int measuring;
	char trace[SIM_DEPTH + 1];
	unsigned n_trace;
} s;

static unsigned bit(unsigned i)
{
	return 1u << i;
}

static unsigned enabled_set(void)
{
	unsigned set = 0;

	for (unsigned i = 0; i < n_cos; i++) {
		if (co[i].state == READY && (!co[i].ready || co[i].ready(co[i].ready_arg)))
			set |= bit(i);
	}
	return set;
}

static unsigned first_of(unsigned set)
{
	return (unsigned)__builtin_ctz(set);
}

/* Those of the parent's explored or sleeping steps that don't depend on the one just made. */
static void inherit_sleep(struct node *n, const struct node *parent)
{
	unsigned set = (parent->sleep | parent->done) & ~bit(parent->chosen);

	for (unsigned i = 0; i < n_cos; i++) {
		if (!(set & bit(i)) || !independent(&parent->step[i], &parent->step[parent->chosen]))
			continue;
		n->sleep |= bit(i);
		n->step[i] = parent->step[i];
	}
}

static unsigned prefer(unsigned set, unsigned running)
{
	return set & bit(running) ? running : first_of(set);
}

/* A place not seen before. Where all that could go on sleep, the run has become equal to another
 * one, and is no place to come back to. */
static unsigned choose_new(unsigned enabled, unsigned running)
{
	struct node *n = &s.node[s.depth];
	unsigned awake;

	*n = (struct node){ .enabled = enabled };
	if (s.depth && !s.redundant)
		inherit_sleep(n, n - 1);
	awake = enabled & ~n->sleep;
	s.redundant |= !awake;
	n->chosen = prefer(awake ? awake : enabled, running);
	n->todo = bit(n->chosen);
	s.depth++;
	if (!s.redundant)
		s.n_nodes = s.depth;
	return n->chosen;
}

static unsigned choose_searching(unsigned enabled, unsigned running)
{
	const struct node *n = &s.node[s.depth];

	if (s.depth == SIM_DEPTH) {
		sim_violation("schedule: more than %d steps", SIM_DEPTH);
		return prefer(enabled, running);
	}
	if (s.redundant || s.depth >= s.n_nodes)
		return choose_new(enabled, running);
	if (n->enabled != enabled)
		sim_violation("schedule: the same order led elsewhere");
	s.depth++;
	return prefer(enabled, n->chosen);
}

static unsigned choose_serially(unsigned enabled)
{
	for (unsigned i = 0; i < n_cos; i++) {
		if (enabled & bit(s.order[i]))
			return s.order[i];
	}
	return first_of(enabled);
}

static unsigned choose_given(unsigned enabled, unsigned running)
{
	unsigned wanted = s.given && *s.given ? (unsigned)(*s.given++ - '0') : running;

	return prefer(enabled, wanted);
}

static unsigned choose_randomly(unsigned enabled)
{
	unsigned n = sim_below((unsigned)__builtin_popcount(enabled));

	while (n--)
		enabled &= enabled - 1;
	return first_of(enabled);
}

static unsigned choose(unsigned enabled, unsigned running)
{
	switch (s.mode) {
	case SEARCH: return choose_searching(enabled, running);
	case SERIAL: return choose_serially(enabled);
	case REPLAY: return choose_given(enabled, running);
	default: return choose_randomly(enabled);
	}
}

/* ---- handing the baton over ---- */

/* Steps up to the last choice were measured in an earlier run. */
static int to_be_measured(void)
{
	return s.mode == SEARCH && s.depth && s.depth > s.known;
}

static void begin_step(void)
{
	if (to_be_measured() && !s.measuring)
		s.before = take_print();
	s.measuring = to_be_measured();
}

static void end_step(void)
{
	struct print after;
	struct node *n;

	if (!s.measuring)
		return;
	n = &s.node[s.depth - 1];
	after = take_print();
	measure(&s.now, &s.before, &after);
	s.before = after;
	n->step[n->chosen] = s.now;
}

static void note_choice(unsigned next)
{
	if (s.n_trace < SIM_DEPTH)
		s.trace[s.n_trace++] = (char)('0' + next);
	sim_sched_stats.points++;
}

static void wake(unsigned i)
{
	sim_sched_stats.switches++;
	sem_post(&co[i].baton);
}

/* Who runs next, having made its next step the present one; -1 nobody. */
static int next_to_run(unsigned running)
{
	unsigned enabled = enabled_set(), next;

	if (!enabled) {
		for (unsigned i = 0; i < n_cos; i++) {
			if (co[i].state != OVER)
				sim_violation("schedule: process %u waits for ever", i);
		}
		return -1;
	}
	next = choose(enabled, running);
	note_choice(next);
	s.now = co[next].next;
	s.now.writes |= co[next].always;
	co[next].ready = NULL;
	begin_step();
	return (int)next;
}

static void wait_for_baton(void)
{
	while (sem_wait(&co[self].baton) < 0)
		;
}

/* The process stands at a point, its next step described. */
static void yield(void)
{
	int next;

	if (s.starting) { /* code before the first point is the process's own */
		sem_post(&main_baton);
		wait_for_baton();
		return;
	}
	end_step();
	next = next_to_run((unsigned)self);
	if (next == self)
		return;
	if (next < 0) {
		sem_post(&main_baton);
		return; /* nobody can go on: the violation is noted, this one breaks the rule */
	}
	wake((unsigned)next);
	wait_for_baton();
}

static void leave(void)
{
	int next;

	co[self].state = OVER;
	if (s.starting) {
		sem_post(&main_baton);
		return;
	}
	end_step();
	next = next_to_run((unsigned)self);
	if (next < 0)
		sem_post(&main_baton);
	else
		wake((unsigned)next);
}

static void *thread_main(void *arg)
{
	self = (int)(intptr_t)arg;
	for (;;) {
		wait_for_baton();
		co[self].fn(co[self].arg);
		leave();
	}
	return NULL;
}

static void start_all(unsigned n, sim_co *const *fn, void *const *arg)
{
	n_cos = n;
	s.depth = s.n_trace = 0;
	s.redundant = s.measuring = 0;
	s.starting = 1;
	for (unsigned i = 0; i < n; i++) {
		co[i].fn = fn[i];
		co[i].arg = arg[i];
		co[i].state = READY;
		co[i].ready = NULL;
		co[i].next = (struct footprint){ 0 };
		co[i].always = 0;
		sem_post(&co[i].baton);
		while (sem_wait(&main_baton) < 0)
			;
	}
	s.starting = 0;
}

static void point(enum sim_op op, const void *what);

static void run(unsigned n, sim_co *const *fn, void *const *arg)
{
	int next;

	sim_point = point;
	start_all(n, fn, arg);
	next = next_to_run(0);
	if (next >= 0) {
		wake((unsigned)next);
		while (sem_wait(&main_baton) < 0)
			;
	}
	sim_point = NULL;
	s.trace[s.n_trace] = '\0';
}

/* ---- points ---- */

static void stand_at(struct footprint f)
{
	if (self < 0)
		return;
	co[self].next = f;
	yield();
}

static unsigned entry_reads(enum sim_hint hint)
{
	switch (hint) {
	case SIM_HINT_HOLD: return 0;
	case SIM_HINT_GET: return SIM_OBJ_TABLE;
	case SIM_HINT_PUT: return SIM_OBJ_LINGER;
	case SIM_HINT_LOOKS: return SIM_OBJ_TABLE | SIM_OBJ_CELL | SIM_OBJ_LINGER | SIM_OBJ_REFS;
	default: return SIM_OBJ_TABLE | SIM_OBJ_CELL | SIM_OBJ_LINGER;
	}
}

static int admitted; /* the admission lock is taken */

static int is_admission_free(void *arg)
{
	(void)arg;
	return !admitted;
}

static void at_admission(void)
{
	co[self].ready = is_admission_free;
	stand_at((struct footprint){ .reads = SIM_OBJ_PROFILES, .writes = SIM_OBJ_ADMISSION });
	admitted = 1;
}

static int tx_owner = -1; /* who delivers a reply */

static int is_tx_free(void *arg)
{
	return tx_owner < 0 || tx_owner == (int)(intptr_t)arg;
}

static void at_tx(void)
{
	sim_sched_wait(is_tx_free, (void *)(intptr_t)self, SIM_OBJ_TX);
}

void sim_sched_take_tx(void)
{
	at_tx();
	tx_owner = self;
}

void sim_sched_give_tx(void)
{
	tx_owner = -1;
	sim_sched_touch(SIM_OBJ_TX);
}

static void at_callback(int type)
{
	if (type == DLGCB_DESTROY)
		stand_at((struct footprint){ .writes = SIM_OBJ_CALLBACKS });
	else
		stand_at((struct footprint){ .reads = SIM_OBJ_CALLBACKS });
}

static void point(enum sim_op op, const void *what)
{
	if (self < 0)
		return;
	switch (op) {
	case SIM_OP_ENTRY:
		stand_at((struct footprint){ .reads = entry_reads(sim_hint) });
		break;
	case SIM_OP_ADMISSION: at_admission(); break;
	case SIM_OP_ADMISSION_OVER:
		admitted = 0;
		sim_sched_touch(SIM_OBJ_ADMISSION);
		break;
	case SIM_OP_COUNTERS: stand_at((struct footprint){ .writes = SIM_OBJ_PROFILES }); break;
	case SIM_OP_COUNTERS_INSIDE: sim_sched_touch(SIM_OBJ_PROFILES); break;
	case SIM_OP_WHEEL: stand_at((struct footprint){ .writes = SIM_OBJ_WHEEL }); break;
	case SIM_OP_WHEEL_INSIDE: sim_sched_touch(SIM_OBJ_WHEEL); break;
	case SIM_OP_CALLBACK: at_callback(*(const int *)what); break;
	case SIM_OP_TX: at_tx(); break;
	case SIM_OP_TX_OVER: sim_sched_touch(SIM_OBJ_TX); break;
	case SIM_OP_SEND: stand_at((struct footprint){ .adds = SIM_OBJ_SENT }); break;
	}
}

void sim_sched_point(unsigned reads, unsigned writes)
{
	stand_at((struct footprint){ .reads = reads, .writes = writes });
}

void sim_sched_wait(int (*ready)(void *arg), void *arg, unsigned writes)
{
	if (self < 0)
		return;
	co[self].ready = ready;
	co[self].ready_arg = arg;
	stand_at((struct footprint){ .writes = writes });
}

void sim_sched_touch(unsigned writes)
{
	if (self >= 0)
		s.now.writes |= writes;
}

void sim_sched_touch_always(unsigned writes)
{
	if (self >= 0)
		co[self].always |= writes;
}

/* ---- for tests ---- */

static int pin(void)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return -1;
	CPU_ZERO(&one);
	for (int i = CPU_SETSIZE - 1; i >= 0; i--) {
		if (!CPU_ISSET(i, &all))
			continue;
		CPU_SET(i, &one);
		return sched_setaffinity(0, sizeof(one), &one);
	}
	return -1;
}

int sim_sched_start(void)
{
	if (pin() < 0 || sem_init(&main_baton, 0, 0) < 0)
		return -1;
	for (unsigned i = 0; i < SIM_COS; i++) {
		if (sem_init(&co[i].baton, 0, 0) < 0 ||
		    pthread_create(&co[i].thread, NULL, thread_main, (void *)(intptr_t)i))
			return -1;
	}
	return 0;
}

void sim_sched_search(unsigned max)
{
	s.mode = SEARCH;
	s.n_nodes = s.known = s.orders = 0;
	s.max = max;
	s.cut = 0;
	s.more = 1;
}

int sim_sched_more(void)
{
	return s.more;
}

int sim_sched_cut(void)
{
	return s.cut;
}

/* ---- which other choices matter ---- */

static void merge(unsigned *clock, const unsigned *other)
{
	for (unsigned i = 0; i < n_cos; i++) {
		if (clock[i] < other[i])
			clock[i] = other[i];
	}
}

static const struct footprint *step_of(const struct node *n)
{
	return &n->step[n->chosen];
}

/* The last earlier step of another process with which step `at` can be exchanged, and to another
 * effect: -1 none. Not if something in between must stay in between. */
static int rival(unsigned at, const unsigned *clock)
{
	const struct node *n = &s.node[at];

	for (unsigned i = at; i-- > 0;) {
		const struct node *earlier = &s.node[i];

		if (earlier->chosen != n->chosen && clock[earlier->chosen] <= i &&
		    earlier->enabled & bit(n->chosen) &&
		    !independent(step_of(earlier), step_of(n)))
			return (int)i;
	}
	return -1;
}

/* Dynamic partial-order reduction (Flanagan, Godefroid 2005): only where two steps of the run
 * just made depend on each other and could have come in the other order is there something else
 * to be tried. */
static void find_rivals(void)
{
	unsigned last[SIM_COS][SIM_COS] = { { 0 } };

	for (unsigned at = 0; at < s.depth; at++) {
		struct node *n = &s.node[at];
		unsigned *clock = last[n->chosen];
		int i = rival(at, clock);

		if (i >= 0 && (unsigned)i < s.n_nodes)
			s.node[i].todo |= bit(n->chosen);
		for (unsigned k = 0; k < at; k++) {
			if (!independent(step_of(&s.node[k]), step_of(n)))
				merge(clock, s.node[k].clock);
		}
		clock[n->chosen] = at + 1;
		memcpy(n->clock, clock, sizeof(n->clock));
	}
}

/* Go back to the last choice that has another way, and take it. 0 when there is none. */
static int backtrack(void)
{
	for (; s.n_nodes; s.n_nodes--) {
		struct node *n = &s.node[s.n_nodes - 1];
		unsigned left;

		n->done |= bit(n->chosen);
		left = n->todo & ~n->done & ~n->sleep;
		if (left) {
			n->chosen = first_of(left);
			s.known = s.n_nodes - 1;
			return 1;
		}
	}
	return 0;
}

void sim_sched_run(unsigned n, sim_co *const *fn, void *const *arg)
{
	s.mode = SEARCH;
	run(n, fn, arg);
	sim_sched_stats.orders++;
	sim_sched_stats.redundant += s.redundant != 0;
	if (s.depth > sim_sched_stats.deepest)
		sim_sched_stats.deepest = s.depth;
	find_rivals();
	s.more = backtrack();
	if (s.more && s.max && ++s.orders >= s.max) {
		s.cut = 1;
		s.more = 0;
	}
}

void sim_sched_run_serially(unsigned n, sim_co *const *fn, void *const *arg,
			    const unsigned *order)
{
	s.mode = SERIAL;
	s.order = order;
	run(n, fn, arg);
}

void sim_sched_replay(unsigned n, sim_co *const *fn, void *const *arg, const char *trace)
{
	s.mode = REPLAY;
	s.given = trace;
	run(n, fn, arg);
}

void sim_sched_run_randomly(unsigned n, sim_co *const *fn, void *const *arg)
{
	s.mode = RANDOM;
	run(n, fn, arg);
}

const char *sim_sched_trace(void)
{
	return s.trace;
}

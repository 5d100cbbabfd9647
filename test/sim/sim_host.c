/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_host.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../../dlg_lock.h"
#include "../../dlg_req_within.h"
#include "../../dlg_route.h"
#include "../../dlg_timer.h"

struct host_sock {
	const char *text;
};

struct host_var {
	char name[32];
};

static const struct host_sock socks[SIM_SOCKS] = {
	{ "udp:127.0.0.1:5060" },
	{ "tcp:127.0.0.2:5062" },
};
const struct host_sock *const sim_sock[SIM_SOCKS] = { &socks[0], &socks[1] };

/* ---- random numbers (splitmix64) ---- */

static uint64_t random_state = 1;

void sim_seed(uint64_t seed)
{
	random_state = seed * 0x9e3779b97f4a7c15u + 0x1234567;
}

uint64_t sim_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

unsigned sim_below(unsigned n)
{
	return n < 2 ? 0 : (unsigned)(sim_random() % n);
}

int sim_one_in(unsigned n)
{
	return n && !sim_below(n);
}

/* ---- clock ---- */

enum { WALL_AT_ZERO = 1700000000 };

static uint64_t now_ms;
static int64_t wall_set;

void sim_set_ms(uint64_t ms)
{
	__atomic_store_n(&now_ms, ms, __ATOMIC_RELAXED);
}

void sim_advance(uint64_t ms)
{
	__atomic_fetch_add(&now_ms, ms, __ATOMIC_RELAXED);
}

uint64_t host_mono_ms(void)
{
	return __atomic_load_n(&now_ms, __ATOMIC_RELAXED);
}

void sim_set_wall(int64_t seconds_on)
{
	wall_set += seconds_on;
}

int64_t host_wall_s(void)
{
	return WALL_AT_ZERO + wall_set + (int64_t)(host_mono_ms() / 1000);
}

/* ---- violations ---- */

static char violation[512];

void sim_violation(const char *fmt, ...)
{
	va_list ap;

	if (violation[0])
		return;
	va_start(ap, fmt);
	vsnprintf(violation, sizeof(violation), fmt, ap);
	va_end(ap);
}

const char *sim_violated(void)
{
	return violation[0] ? violation : NULL;
}

void sim_violation_clear(void)
{
	violation[0] = '\0';
}

/* Rule 1: nothing of the host but clock and memory may be called under a lock of the engine. */
static void outside_locks(const char *what)
{
	if (dlg_lock_held())
		sim_violation("%s called under a lock of the engine", what);
}

/* ---- memory ---- */

struct sim_faults sim_faults = { .shm_allow = -1, .mem_allow = -1 };
struct sim_shm sim_shm;

struct block {
	size_t size;
	uint64_t magic;
};
enum { BLOCK_MAGIC = 0x51ab10c };

void sim_faults_off(void)
{
	sim_faults = (struct sim_faults){ .shm_allow = -1, .mem_allow = -1 };
}

static int shm_refused(void)
{
	if (sim_faults.shm_allow == 0) {
		__atomic_fetch_add(&sim_shm.failed, 1, __ATOMIC_RELAXED);
		return 1;
	}
	if (sim_faults.shm_allow > 0)
		sim_faults.shm_allow--;
	return 0;
}

enum { SHARED_SIZE = 256 << 20 };

static struct {
	size_t used;
	char memory[];
} * shared;

int sim_shm_share(void)
{
	void *p = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	shared = p == MAP_FAILED ? NULL : p;
	return shared ? 0 : -1;
}

static void *shared_alloc(size_t size)
{
	size_t at;

	size = (size + 63) & ~(size_t)63;
	at = __atomic_fetch_add(&shared->used, size, __ATOMIC_RELAXED);
	return at + size < SHARED_SIZE - 64 ? shared->memory + 56 + at : NULL;
}

static void *block_alloc(size_t size)
{
	return shared ? shared_alloc(size) : malloc(size);
}

static void block_free(void *p)
{
	if (!shared)
		free(p);
}

void *host_shm_alloc(size_t size)
{
	struct block *b = shm_refused() ? NULL : block_alloc(sizeof(*b) + size);

	if (!b)
		return NULL;
	*b = (struct block){ size, BLOCK_MAGIC };
	memset(b + 1, 0xa5, size);
	__atomic_fetch_add(&sim_shm.blocks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&sim_shm.bytes, size, __ATOMIC_RELAXED);
	return b + 1;
}

void host_shm_free(void *p)
{
	struct block *b = p;

	if (!p)
		return;
	b--;
	if (b->magic != BLOCK_MAGIC) {
		sim_violation("host_shm_free() of something that is no block");
		return;
	}
	b->magic = 0;
	__atomic_fetch_sub(&sim_shm.blocks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&sim_shm.bytes, b->size, __ATOMIC_RELAXED);
	block_free(b);
}

/* ---- log ---- */

enum { LOG_LINES = 64, LOG_LENGTH = 512 };

static _Thread_local struct {
	enum host_level level;
	char text[LOG_LENGTH];
} lines[LOG_LINES];
static _Thread_local unsigned n_lines;
unsigned sim_log_count[HOST_DEBUG + 1];
enum host_level sim_log_level = HOST_DEBUG;

int host_log_on(enum host_level level)
{
	return level <= sim_log_level;
}

void host_log(enum host_level level, const char *fmt, ...)
{
	va_list ap;

	outside_locks("host_log()");
	__atomic_fetch_add(&sim_log_count[level], 1, __ATOMIC_RELAXED);
	lines[n_lines % LOG_LINES].level = level;
	va_start(ap, fmt);
	vsnprintf(lines[n_lines % LOG_LINES].text, LOG_LENGTH, fmt, ap);
	va_end(ap);
	dlg_str_printable(lines[n_lines % LOG_LINES].text);
	n_lines++;
}

void sim_log_clear(void)
{
	n_lines = 0;
	memset(sim_log_count, 0, sizeof(sim_log_count));
}

const char *sim_log_find(enum host_level level, const char *text)
{
	unsigned oldest = n_lines > LOG_LINES ? n_lines - LOG_LINES : 0;

	for (unsigned i = n_lines; i-- > oldest;) {
		if (lines[i % LOG_LINES].level <= level && strstr(lines[i % LOG_LINES].text, text))
			return lines[i % LOG_LINES].text;
	}
	return NULL;
}

/* ---- sockets and variables ---- */

const struct host_sock *host_msg_sock(struct host_msg *msg)
{
	return msg->sock;
}

struct dlg_str host_sock_text(const struct host_sock *sock)
{
	return dlg_str_of(sock ? sock->text : NULL);
}

const struct host_sock *host_sock_find(struct dlg_str text)
{
	for (int i = 0; i < SIM_SOCKS; i++) {
		if (dlg_str_eq(host_sock_text(sim_sock[i]), text))
			return sim_sock[i];
	}
	return NULL;
}

void host_pause(unsigned ms)
{
	sim_advance(ms);
}

const char *host_state_dir(void)
{
	return "/nonexistent"; /* tests name a directory of their own */
}

struct host_var *host_var_compile(const char *text)
{
	struct host_var *var;
	size_t len = strlen(text);

	if ((strncmp(text, "$avp(", 5) && strncmp(text, "$var(", 5)) || len < 7 ||
	    len >= sizeof(var->name) || text[len - 1] != ')')
		return NULL;
	var = malloc(sizeof(*var)); /* lives until the end, as in a proxy */
	if (var)
		memcpy(var->name, text, len + 1);
	return var;
}

void sim_var_set(struct host_msg *msg, const char *name, const char *text)
{
	int i = 0;

	while (i < SIM_VARS && msg->var[i].name[0] && strcmp(msg->var[i].name, name))
		i++;
	if (i == SIM_VARS)
		return;
	snprintf(msg->var[i].name, sizeof(msg->var[i].name), "%s", text ? name : "");
	snprintf(msg->var[i].text, sizeof(msg->var[i].text), "%s", text ? text : "");
}

const char *sim_var_get(struct host_msg *msg, const char *name)
{
	for (int i = 0; i < SIM_VARS; i++) {
		if (!strcmp(msg->var[i].name, name))
			return msg->var[i].text;
	}
	return NULL;
}

int host_var_get(struct host_msg *msg, struct host_var *var, struct dlg_str *out)
{
	const char *text = sim_var_get(msg, var->name);

	outside_locks("host_var_get()");
	*out = dlg_str_of(text);
	return text ? 0 : -1;
}

int host_var_set(struct host_msg *msg, struct host_var *var, struct dlg_str value)
{
	char text[SIM_VALUE];

	outside_locks("host_var_set()");
	if (value.len >= sizeof(text))
		return -1;
	memcpy(text, value.s ? value.s : "", value.len);
	text[value.len] = '\0';
	sim_var_set(msg, var->name, text);
	return 0;
}

int host_var_set_number(struct host_msg *msg, struct host_var *var, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	return host_var_set(msg, var, dlg_str_of(text));
}

/* ---- messages ---- */

/* Guards the lists of messages, transactions and requests sent: threads may run side by side.
 * Nothing of the engine is called under it. */
static pthread_mutex_t lists = PTHREAD_MUTEX_INITIALIZER;
static struct host_msg *msgs;

static void lock_lists(void)
{
	pthread_mutex_lock(&lists);
}

static void unlock_lists(void)
{
	pthread_mutex_unlock(&lists);
}

static void link_msg(struct host_msg *msg)
{
	lock_lists();
	msg->prev = NULL;
	msg->next = msgs;
	if (msgs)
		msgs->prev = msg;
	msgs = msg;
	unlock_lists();
}

static struct host_msg *msg_alloc(int is_request, enum host_method method)
{
	struct host_msg *msg = malloc(sizeof(*msg));

	if (!msg)
		abort();
	memset(msg, 0, offsetof(struct host_msg, arena));
	msg->is_request = is_request;
	msg->has_slot = is_request;
	msg->method = method;
	msg->sock = sim_sock[0];
	return msg;
}

struct host_msg *sim_msg_new(int is_request, enum host_method method)
{
	struct host_msg *msg = msg_alloc(is_request, method);

	link_msg(msg);
	return msg;
}

struct host_msg *sim_msg_copy(const struct host_msg *msg)
{
	struct host_msg *copy = msg_alloc(msg->is_request, msg->method);
	size_t from = offsetof(struct host_msg, is_request); /* the links are others' to change */

	memcpy((char *)copy + from, (const char *)msg + from,
	       offsetof(struct host_msg, arena) + msg->used - from);
	copy->has_slot = 0;
	copy->slot_used = 0;
	memset(&copy->ctx, 0, sizeof(copy->ctx));
	for (int f = 0; f < SIM_FIELDS; f++) {
		if (copy->field[f].s)
			copy->field[f].s = copy->arena + (msg->field[f].s - msg->arena);
	}
	link_msg(copy);
	return copy;
}

void sim_msg_free(struct host_msg *msg)
{
	if (!msg)
		return;
	if (msg->slot_used && !msg->ended)
		sim_violation("simulation: message freed before its script ended");
	lock_lists();
	if (msg->prev)
		msg->prev->next = msg->next;
	else
		msgs = msg->next;
	if (msg->next)
		msg->next->prev = msg->prev;
	unlock_lists();
	free(msg);
}

void sim_msg_set(struct host_msg *msg, int field, const char *fmt, ...)
{
	char *at = msg->arena + msg->used;
	size_t room = sizeof(msg->arena) - msg->used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(at, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		abort(); /* the test's own fault */
	msg->field[field] = (struct dlg_str){ at, (size_t)n };
	msg->used += (size_t)n + 1;
}

void sim_msg_end(struct host_msg *msg, int forwarded)
{
	if (msg->ended)
		return;
	msg->ended = 1;
	if (msg->slot_used || forwarded)
		dlg_handlers_msg_end(msg, &msg->ctx, forwarded);
	if (msg->ctx.dlg)
		sim_violation("dlg_handlers_msg_end() left a dialog in the slot");
}

unsigned sim_msgs_holding(void)
{
	unsigned n = 0;

	for (struct host_msg *m = msgs; m; m = m->next)
		n += m->ctx.dlg != NULL;
	return n;
}

static struct dlg_str field(struct host_msg *msg, int f)
{
	return msg->field[f];
}

int host_msg_info(struct host_msg *msg, struct host_info *out)
{
	outside_locks("host_msg_info()");
	if (msg->broken)
		return -1;
	*out = (struct host_info){
		.is_request = msg->is_request,
		.code = msg->code,
		.method = msg->method,
		.cseq = msg->cseq,
		.call_id = field(msg, SIM_CALL_ID),
		.from_uri = field(msg, SIM_FROM_URI),
		.from_tag = field(msg, SIM_FROM_TAG),
		.to_uri = field(msg, SIM_TO_URI),
		.to_tag = field(msg, SIM_TO_TAG),
		.ruri = field(msg, SIM_RURI),
		.via_branch = field(msg, SIM_VIA_BRANCH),
	};
	return 0;
}

struct dlg_str host_msg_to_tag(struct host_msg *msg)
{
	outside_locks("host_msg_to_tag()");
	return field(msg, SIM_TO_TAG);
}

struct dlg_str host_msg_contact(struct host_msg *msg, struct host_walk *walk)
{
	(void)walk;
	outside_locks("host_msg_contact()");
	return dlg_route_clean(field(msg, SIM_CONTACT));
}

int host_msg_header(struct host_msg *msg, enum host_header name, struct host_walk *walk,
		    struct dlg_str *body)
{
	int i = walk->begun++;
	int f = (name == HOST_ROUTE ? SIM_ROUTE : SIM_RECORD_ROUTE) + i;

	outside_locks("host_msg_header()");
	if (i < 0 || i >= SIM_ROUTES || !msg->field[f].s)
		return -1;
	*body = msg->field[f];
	return 0;
}

int host_msg_own_routes(struct host_msg *msg)
{
	return msg->own_routes;
}

int host_msg_flag(struct host_msg *msg, int bit)
{
	if (bit < 0 || bit > 31) {
		sim_violation("host_msg_flag(%d)", bit);
		return 0;
	}
	return (msg->flags >> bit) & 1;
}

/* ---- the message's context ---- */

static _Thread_local struct host_tx *current_tx;

struct dlg_ctx *host_ctx(struct host_msg *msg)
{
	outside_locks("host_ctx()");
	if (!msg || !msg->has_slot)
		return NULL;
	if (msg->ended)
		sim_violation("slot of a message asked for after its end");
	msg->slot_used = 1;
	return &msg->ctx;
}

struct dlg_tx *host_tx_of(struct host_msg *msg)
{
	struct host_tx *t = current_tx ? current_tx : msg ? msg->tx : NULL;

	outside_locks("host_tx_of()");
	return t ? t->attached : NULL;
}

/* ---- transactions ---- */

static struct host_tx *txs;
static uint32_t last_tx;

struct host_tx *sim_tx_enter(struct host_tx *t)
{
	struct host_tx *before = current_tx;

	current_tx = t;
	return before;
}

static void link_tx(struct host_tx *t)
{
	lock_lists();
	t->id.a = ++last_tx;
	t->id.b = last_tx * 7;
	t->req->tx = t;
	t->next = txs;
	if (txs)
		txs->prev = t;
	txs = t;
	unlock_lists();
}

/* Its message's, and whoever still has one of it loses it. */
static void unlink_tx(struct host_tx *t)
{
	lock_lists();
	if (t->prev)
		t->prev->next = t->next;
	else
		txs = t->next;
	if (t->next)
		t->next->prev = t->prev;
	for (struct host_msg *m = msgs; m; m = m->next) {
		if (m->tx == t)
			m->tx = NULL;
	}
	unlock_lists();
}

struct host_tx *sim_tx_new(struct host_msg *msg)
{
	struct host_tx *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->req = sim_msg_copy(msg);
	link_tx(t);
	dlg_handlers_on_new_tx(msg,
			       t); /* at this moment it cannot be found yet, and is not current */
	lock_lists();
	t->found = 1;
	msg->tx = t;
	unlock_lists();
	return t;
}

static int take_if_free(struct host_tx *t)
{
	int free = 0;

	return __atomic_compare_exchange_n(&t->busy, &free, 1, 0, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

void sim_tx_take(struct host_tx *t)
{
	while (!take_if_free(t))
		sched_yield();
}

void sim_tx_give(struct host_tx *t)
{
	__atomic_fetch_sub(&t->busy, 1, __ATOMIC_RELEASE);
}

void sim_tx_event(struct host_tx *t, enum dlg_tx_event event, struct host_msg *rpl, int code)
{
	struct host_tx *before = sim_tx_enter(t);

	if (code >= 200 && !t->final)
		t->final = code;
	__atomic_fetch_add(&t->busy, 1, __ATOMIC_ACQUIRE);
	if (t->attached)
		dlg_handlers_on_tx_event(t->attached, event, t, t->req, rpl, code);
	sim_tx_give(t);
	sim_tx_enter(before);
}

void sim_tx_free(struct host_tx *t)
{
	struct host_tx *before = sim_tx_enter(NULL);
	struct dlg_tx *tx = t->attached;

	unlink_tx(t);
	if (tx)
		dlg_handlers_on_tx_event(tx, DLG_TX_GONE, NULL, NULL, NULL, 0);
	sim_msg_free(t->req);
	free(t);
	sim_tx_enter(before);
}

void sim_txs_free(void)
{
	for (struct host_tx *t = txs, *next; t; t = next) {
		next = t->next;
		sim_tx_free(t);
	}
}

struct host_msg *sim_tx_resume(const struct host_tx *t)
{
	struct host_msg *msg = sim_msg_copy(t->req);

	msg->has_slot = 1;
	dlg_handlers_on_resume(msg);
	return msg;
}

unsigned sim_txs_holding(void)
{
	unsigned n = 0;

	for (struct host_tx *t = txs; t; t = t->next)
		n += t->attached != NULL;
	return n;
}

int host_tx_is_retransmission(struct host_msg *msg)
{
	outside_locks("host_tx_is_retransmission()");
	return msg->retransmission;
}

struct host_tx *host_tx_current(struct host_msg *msg)
{
	outside_locks("host_tx_current()");
	return msg->tx;
}

int host_tx_attach(struct host_msg *msg, struct host_tx *t, struct dlg_tx *tx)
{
	(void)msg;
	outside_locks("host_tx_attach()");
	if (!t || !tx) {
		sim_violation("host_tx_attach() without a transaction");
		return -1;
	}
	if (t->attached)
		sim_violation("host_tx_attach() twice to one transaction");
	if (sim_one_in(sim_faults.attach_one_in))
		return -1;
	t->attached = tx;
	return 0;
}

struct host_tx_id host_tx_id(struct host_tx *t)
{
	outside_locks("host_tx_id()");
	return t->id;
}

/* Found and without a final reply, it is taken: nobody frees it. */
static struct host_tx *take_for_refusal(struct host_tx_id id)
{
	struct host_tx *t = txs;

	while (t && (t->id.a != id.a || t->id.b != id.b))
		t = t->next;
	if (!t || !t->found || !take_if_free(t))
		return NULL;
	if (!t->final && !sim_one_in(sim_faults.refuse_one_in))
		return t;
	sim_tx_give(t);
	return NULL;
}

int host_tx_refuse(struct host_tx_id id, int code, const char *reason)
{
	struct host_tx *t;

	outside_locks("host_tx_refuse()");
	if (code < 300 || code > 699 || !reason || !*reason)
		sim_violation("host_tx_refuse() with %d", code);
	if (current_tx && current_tx->locked)
		return 1;
	lock_lists();
	t = take_for_refusal(id);
	unlock_lists();
	if (!t)
		return -1;
	t->refused = 1;
	sim_tx_event(t, DLG_TX_NEGATIVE, NULL, code);
	if (t->on_refuse)
		t->on_refuse(t);
	sim_tx_give(t);
	return 0;
}

int host_tx_own_record_routes(struct host_tx *t)
{
	outside_locks("host_tx_own_record_routes()");
	return t->own_record_routes;
}

/* ---- Record-Route ---- */

int host_rr_add(struct host_msg *msg, struct dlg_str param)
{
	outside_locks("host_rr_add()");
	if (!param.len || param.s[0] != ';' || param.len >= sizeof(msg->rr_added))
		sim_violation("host_rr_add() with '%.*s'", DLG_STR_ARG(param));
	if (sim_one_in(sim_faults.rr_one_in) || param.len >= sizeof(msg->rr_added))
		return -1;
	memcpy(msg->rr_added, param.s, param.len);
	msg->rr_added[param.len] = '\0';
	msg->rr_adds++;
	return 0;
}

void sim_on_route(struct host_msg *msg)
{
	if (field(msg, SIM_ROUTE_PARAMS).len)
		dlg_handlers_on_route(msg, field(msg, SIM_ROUTE_PARAMS));
}

/* ---- requests sent by the engine ---- */

static struct sim_sent *sent_first, **sent_last = &sent_first;
unsigned sim_sends_tried;

static void keep(char *out, size_t size, struct dlg_str v)
{
	if (v.len >= size)
		sim_violation("simulation: a text of %zu bytes is too long to be kept", v.len);
	snprintf(out, size, "%.*s", DLG_STR_ARG(v));
}

#define KEEP(member, view) keep(s->member, sizeof(s->member), req->view)
static void sent_fill(struct sim_sent *s, const struct host_request *req)
{
	KEEP(method, method);
	KEEP(call_id, call_id);
	KEEP(from_uri, from_uri);
	KEEP(from_tag, from_tag);
	KEEP(to_uri, to_uri);
	KEEP(to_tag, to_tag);
	KEEP(target, remote_target);
	KEEP(route_set, route_set);
	KEEP(headers, headers);
	s->cseq = req->cseq;
	s->sock = req->sock;
}
#undef KEEP

_Thread_local int sim_sends_fail;

static int send_fails(void)
{
	int fails = sim_faults.send_fail_mask & 1;

	if (sim_faults.send_fail_mask)
		sim_faults.send_fail_mask >>= 1;
	return fails || sim_sends_fail || sim_one_in(sim_faults.send_one_in);
}

int host_send_within(const struct host_request *req, void *token)
{
	struct sim_sent *s;

	outside_locks("host_send_within()");
	__atomic_fetch_add(&sim_sends_tried, 1, __ATOMIC_RELAXED);
	if (!req->remote_target.len || !req->call_id.len || !req->cseq || !req->sock || !token)
		sim_violation("host_send_within() of an incomplete request");
	if (send_fails())
		return -1;
	s = calloc(1, sizeof(*s));
	if (!s)
		abort();
	sent_fill(s, req);
	s->token = token;
	lock_lists();
	*sent_last = s;
	sent_last = &s->next;
	unlock_lists();
	return 0;
}

struct sim_sent *sim_sent_list(void)
{
	return sent_first;
}

unsigned sim_sent_pending(void)
{
	unsigned n = 0;

	for (struct sim_sent *s = sent_first; s; s = s->next)
		n += !s->done;
	return n;
}

void sim_sent_done(struct sim_sent *s, int code)
{
	if (s->done)
		return;
	s->done = 1;
	dlg_req_within_done(s->token, code);
}

static struct sim_sent *take_pending(void)
{
	struct sim_sent *s;

	lock_lists();
	for (s = sent_first; s && s->done; s = s->next)
		;
	if (s)
		s->done = 1;
	unlock_lists();
	return s;
}

int sim_sent_next(int code)
{
	struct sim_sent *s = take_pending();

	if (s)
		dlg_req_within_done(s->token, code);
	return s != NULL;
}

void sim_sent_all(int code)
{
	for (struct sim_sent *s = sent_first; s; s = s->next)
		sim_sent_done(s, code);
}

void sim_sent_clear(void)
{
	struct sim_sent **at = &sent_first, *s;

	lock_lists();
	while ((s = *at)) {
		if (!s->done) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		free(s);
	}
	sent_last = at;
	unlock_lists();
}

/* ---- start ---- */

int sim_start(uint32_t hash_size)
{
	sim_faults_off();
	sim_set_ms(86400000);
	dialog_conf.hash_size = (int)hash_size;
	if (!dialog_conf.profiles_with_value &&
	    (dialog_list_add(&dialog_conf.profiles_with_value, SIM_PROFILES) < 0 ||
	     dialog_list_add(&dialog_conf.profiles_no_value, SIM_PROFILES_NO_VALUE) < 0))
		return -1;
	return dialog_init() < 0 ? -1 : dialog_load();
}

void sim_run(unsigned seconds)
{
	while (seconds--) {
		sim_advance(1000);
		dlg_timer_tick();
		dlg_timer_tick_patient();
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_db_handler.h"

#include "dialog.h"
#include "dlg_cb.h"
#include "dlg_db_image.h"
#include "dlg_db_restore.h"
#include "dlg_db_store.h"
#include "dlg_handlers.h"
#include "dlg_journal.h"
#include "dlg_mem.h"

#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
	BATCH = DLG_DB_STORE_BATCH,
	IDLE_MS = 1000,
	TIDY_MS = 10000,
	CLOCK_STEP_S = 10,
	REFUSED_NAMED = 10, /* in a second */
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 5000,
	STOP_MS = 10000,
	STOP_LONG_MS = 45000,         /* the hosts give an exit a minute */
	STOP_TRIES = 6,
	STOP_TRIES_JOURNAL = 2,       /* nothing is lost by leaving early */
	SEGMENT_BYTES = 16 << 20,     /* of the journal, then a new one begins */
	REWRITE_BYTES = 64 << 20,     /* with the database away: then it is written anew */
	REWRITE_AGAIN_MS = 10000,     /* or when it is incomplete, but not all the time */
	GONE = 4096,                  /* names of rows that were deleted lately */
	GONE_MS = 30000,
	REMOVE_TRIES = 3,
	REPAIR_MIN = BATCH / 4,       /* dialogs that a repair puts into each batch */
};

/* One word, so that the writer, who takes a mark off, and whoever ends its dialog at that moment
 * agree which of the two came first: a tombstone is taken exactly once. */
enum mark_state {
	QUEUED = 1 << 0, /* it is on the log */
	ENDED = 1 << 1,  /* a tombstone */
};

/* A dialog's place on the change log. It belongs to the dialog until that ends, and to the writer
 * from then on. Pushed under the entry lock of the dialog only. */
struct dlg_db_mark {
	struct dlg_db_mark *next;
	uint32_t h_entry, h_id;
	uint64_t since_ms;
	uint32_t state;  /* or-ed mark_state */
	uint32_t stored; /* there may be a row: the writer's, and set at start */
};

static struct log {
	struct dlg_db_mark *incoming;              /* newest first; anybody pushes, the writer takes all */
	struct dlg_db_mark *first, **last;         /* oldest first: the writer's */
	struct dlg_db_mark *batch[BATCH];          /* being written: the writer's */
	unsigned n_batch;
	uint32_t sleeping;
	sem_t wake;
	uint64_t oldest_since;       /* 0: nothing waits */
	uint64_t rate_second, rate_count;
	int64_t wall_ahead;          /* of the monotonic clock, as far as rows know */
	int repair;                  /* rows may be missing: all dialogs are to be written again */
	struct dlg_hash_cursor repaired; /* ... and have been up to here */
	struct dlg_db_info info;
} *log_; /* shared */

static int ready;   /* start was successful: there is something to save at exit */
static int stopping; /* no other process is there any more: private memory will do */

/* The writer's own. */
static struct {
	uint64_t next_try, backoff;
	int complained;
	int guarded;          /* signals are blocked but at certain points */
	uint64_t refused_second;
	unsigned refused;     /* rows in that second */
	int old_segments;     /* of the journal are there */
	int old_lacks;        /* ... and one of them lacks a record */
	int stale;            /* the current segment tells times by a clock that was set since */
	int barrier_set;
	uint64_t barrier;     /* marks that must be saved before they can go */
	int rewrite;          /* the current segment is for all that counts, once more */
	uint64_t rewrite_at;
	uint64_t errors;      /* of the journal, when the current segment began */
	uint64_t next_segment; /* not before that time */
	uint64_t due;          /* DELAYED: end of the period */
	int late;              /* ... and one is over whose changes are not written yet */
	uint64_t tidy_at;      /* ... the list is looked through then */
} w;

/* Rows that were deleted lately: the writer's. */
static struct gone {
	struct dlg_db_name name;
	uint64_t at;
} gone[GONE];
static unsigned n_gone; /* ever */

/* ---- the change log ---- */

static int mode(void)
{
	return dialog_conf.db_mode;
}

/* Figures are read by any process at any time. */
static void count(uint64_t *figure, uint64_t n)
{
	__atomic_fetch_add(figure, n, __ATOMIC_RELAXED);
}

static void set(uint64_t *figure, uint64_t n)
{
	__atomic_store_n(figure, n, __ATOMIC_RELAXED);
}

static uint64_t queued(void)
{
	return __atomic_load_n(&log_->info.queue, __ATOMIC_RELAXED);
}

/* Add to the state; returns the one before. */
static uint32_t set_state(struct dlg_db_mark *m, uint32_t state)
{
	return __atomic_fetch_or(&m->state, state, __ATOMIC_ACQ_REL);
}

static int is_tombstone(const struct dlg_db_mark *m)
{
	return (__atomic_load_n(&m->state, __ATOMIC_ACQUIRE) & ENDED) != 0;
}

/* `state`: ENDED or 0. Entry lock of the dialog held. Counted before it is there, or the writer
 * could count it off before, and find less than nothing waiting. Once it is there a tombstone is
 * the writer's, who frees it. */
static void push_locked(struct dlg_db_mark *m, uint32_t state)
{
	struct dlg_db_mark *head;
	uint64_t nothing = 0, now;

	if (set_state(m, QUEUED | state) & QUEUED)
		return;
	now = m->since_ms = host_mono_ms();
	count(&log_->info.queue, 1);
	head = __atomic_load_n(&log_->incoming, __ATOMIC_RELAXED);
	do {
		m->next = head;
	} while (!__atomic_compare_exchange_n(&log_->incoming, &head, m, 1, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	__atomic_compare_exchange_n(&log_->oldest_since, &nothing, now, 0, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

static void wake_writer(void)
{
	if (mode() == DLG_DB_REALTIME && __atomic_exchange_n(&log_->sleeping, 0, __ATOMIC_ACQ_REL))
		sem_post(&log_->wake);
}

static struct dlg_db_mark *mark_new(const struct dlg_cell *dlg)
{
	struct dlg_db_mark *m = dlg_mem_alloc(sizeof(*m));

	if (!m && stopping)
		m = malloc(sizeof(*m)); /* written at once, and never a tombstone: nobody frees it */
	if (!m)
		count(&log_->info.unsaved, 1);
	else
		*m = (struct dlg_db_mark){ .h_entry = dlg->h_entry, .h_id = dlg->h_id };
	return m;
}

/* What a change means for the journal, copied under the lock. */
struct change {
	uint32_t held; /* the segment it goes to */
	int wanted, ended;
	uint32_t version;
	struct dlg_buf image;
};

static void note_alive_locked(struct dlg_cell *dlg, struct change *c)
{
	if (!dlg->mark)
		dlg->mark = mark_new(dlg);
	if (!dlg->mark)
		return;
	push_locked(dlg->mark, 0);
	c->wanted = 1;
	c->version = ++dlg->db_copied;
	if (dlg_journal_on())
		dlg_db_image_locked(dlg, &c->image);
}

static void note_end_locked(struct dlg_cell *dlg, struct change *c)
{
	if (dlg->mark) {
		push_locked(dlg->mark, ENDED);
		dlg->mark = NULL;
		dlg->db_copied++;
	}
	c->ended = 1;
	c->wanted = dlg->db_journaled < dlg->db_copied;
	c->version = dlg->db_copied;
}

static void note_locked(struct dlg_cell *dlg, struct change *c)
{
	if (dlg_state_is_answered(dlg->state))
		note_alive_locked(dlg, c);
	else if (dlg->state == DLG_STATE_DELETED || dlg->state == DLG_STATE_NONE)
		note_end_locked(dlg, c);
}

static void journal(struct dlg_cell *dlg, const struct change *c)
{
	struct dlg_journal_record r = { .h_entry = dlg->h_entry, .h_id = dlg->h_id,
					.version = c->version, .ended = c->ended,
					.image = dlg_buf_view(&c->image) };

	if (c->image.failed) {
		dlg_journal_lack();
		return;
	}
	if (dlg_journal_append(c->held, &r) < 0)
		return;
	dlg_hash_lock(dlg);
	if (dlg->db_journaled < c->version)
		dlg->db_journaled = c->version;
	dlg_hash_unlock(dlg);
}

/* The segment is held under the lock: of two changes of a dialog the later is in no older segment,
 * which goes first. */
static void note(struct dlg_cell *dlg, struct change *c)
{
	dlg_hash_lock(dlg);
	if (dlg_journal_on())
		c->held = dlg_journal_hold();
	note_locked(dlg, c);
	dlg_hash_unlock(dlg);
}

static int writes_at_run_time(void)
{
	return log_ && (mode() == DLG_DB_REALTIME || mode() == DLG_DB_DELAYED);
}

void dlg_db_changed(struct dlg_cell *dlg)
{
	struct change c = { 0 };

	if (!writes_at_run_time())
		return;
	note(dlg, &c);
	if (dlg_journal_on()) {
		if (c.wanted)
			journal(dlg, &c);
		dlg_journal_release(c.held);
		dlg_buf_free(&c.image);
	}
	if (c.wanted)
		wake_writer();
}

/* It was answered or has ended, and who did that has not come to say so, or had no memory for a
 * mark. */
static int is_unnoted_locked(const struct dlg_cell *dlg)
{
	return dlg_state_is_answered(dlg->state) ? !dlg->mark
						 : dlg->state == DLG_STATE_DELETED && dlg->mark;
}

static int behind(struct dlg_cell *dlg)
{
	int ret;

	dlg_hash_lock(dlg);
	ret = dlg->db_journaled < dlg->db_copied || is_unnoted_locked(dlg);
	dlg_hash_unlock(dlg);
	return ret;
}

void dlg_db_settle(struct dlg_cell *dlg)
{
	if (writes_at_run_time() && dlg_journal_on() && behind(dlg))
		dlg_db_changed(dlg);
}

/* ---- the writer's lists ---- */

static void append(struct dlg_db_mark *m)
{
	m->next = NULL;
	*log_->last = m;
	log_->last = &m->next;
}

/* Everything that came in goes behind what is there, the oldest first. */
static void take_incoming(void)
{
	struct dlg_db_mark *m = __atomic_exchange_n(&log_->incoming, NULL, __ATOMIC_ACQUIRE), *reversed = NULL;

	while (m) {
		struct dlg_db_mark *next = m->next;

		m->next = reversed;
		reversed = m;
		m = next;
	}
	while ((m = reversed)) {
		reversed = m->next;
		append(m);
	}
}

/* `ended`: whether it is a tombstone, which nobody puts on the log again. */
static struct dlg_db_mark *take_first(int *ended)
{
	struct dlg_db_mark *m = log_->first;

	log_->first = m->next;
	if (!log_->first)
		log_->last = &log_->first;
	__atomic_fetch_sub(&log_->info.queue, 1, __ATOMIC_RELAXED);
	/* from now on further changes put it on the log again */
	*ended = (__atomic_fetch_and(&m->state, ~(uint32_t)QUEUED, __ATOMIC_ACQ_REL) & ENDED) != 0;
	return m;
}

static void put_first(struct dlg_db_mark *m)
{
	m->next = log_->first;
	if (!log_->first)
		log_->last = &m->next;
	log_->first = m;
	count(&log_->info.queue, 1);
}

/* A batch that was not written comes first next time, unless it is on the log again already. */
static void put_back_batch(void)
{
	while (log_->n_batch) {
		struct dlg_db_mark *m = log_->batch[--log_->n_batch];

		if (!(set_state(m, QUEUED) & QUEUED))
			put_first(m);
	}
}

static int leaves_nothing(const struct dlg_db_mark *m)
{
	return is_tombstone(m) && !m->stored;
}

/* Calls that came and went while the database was away, or between two periods, have no row to be
 * deleted: in a long time their marks would take all memory. Whoever counted on what waits counts
 * again. */
static void forget_short_calls(void)
{
	struct dlg_db_mark **at = &log_->first, *m;

	while ((m = *at)) {
		if (!leaves_nothing(m)) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		dlg_mem_free(m);
		__atomic_fetch_sub(&log_->info.queue, 1, __ATOMIC_RELAXED);
		w.barrier_set = 0;
	}
	log_->last = at;
}

static void note_oldest(void)
{
	uint64_t since = log_->first ? log_->first->since_ms : 0;

	if (!since && __atomic_load_n(&log_->incoming, __ATOMIC_RELAXED))
		since = host_mono_ms();
	__atomic_store_n(&log_->oldest_since, since, __ATOMIC_RELAXED);
}

/* ---- writing ---- */

/* A batch as rows: views into the images. */
static struct {
	struct dlg_buf image[BATCH];
	struct db_value rows[BATCH][DLG_ROW_N];
	struct dlg_db_mark *row_mark[BATCH];
	struct dlg_db_name dead[BATCH];
	struct dlg_db_mark *dead_mark[BATCH];
	unsigned n_rows, n_dead, n_deletes; /* a short call has no row to delete */
	int starved; /* it ended early: no private memory for an image */
} out;

static struct dlg_str node_name(void)
{
	return dlg_str_of(dialog_conf.db_node ? dialog_conf.db_node : "");
}

static int copy_locked(const struct dlg_cell *dlg, const struct dlg_db_mark *m, struct dlg_buf *image)
{
	if (!dlg_state_is_answered(dlg->state) || dlg->mark != m)
		return 0; /* it has just ended: the tombstone is on its way */
	dlg_db_image_locked(dlg, image);
	return 1;
}

/* 1; 0: there is nothing to save any more; -1: no memory. */
static int copy(const struct dlg_db_mark *m, struct dlg_buf *image)
{
	struct dlg_cell *dlg = dlg_hash_get(m->h_entry, m->h_id, DLG_BY_LOCAL);
	int alive;

	if (!dlg)
		return 0;
	dlg_buf_reset(image);
	dlg_hash_lock(dlg);
	alive = copy_locked(dlg, m, image);
	dlg_hash_unlock(dlg);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
	return image->failed ? -1 : alive;
}

/* It waits behind the others, unless it is on the log again already; and so does whoever counts on
 * it. */
static void put_last_of_batch(void)
{
	struct dlg_db_mark *m = log_->batch[--log_->n_batch];

	out.starved = 1;
	w.barrier_set = 0;
	if (set_state(m, QUEUED) & QUEUED)
		return;
	count(&log_->info.queue, 1);
	append(m);
}

static void add_dead(struct dlg_db_mark *m)
{
	out.dead_mark[out.n_dead++] = m;
	if (m->stored)
		out.dead[out.n_deletes++] = (struct dlg_db_name){ m->h_entry, m->h_id };
}

/* One that has ended since it was taken is on the log again, and comes back as a dead one. */
static void add_alive(struct dlg_db_mark *m)
{
	struct dlg_buf *image = &out.image[out.n_rows];
	int got = copy(m, image);

	if (got < 0)
		put_last_of_batch();
	if (got < 1 ||
	    dlg_row_values(dlg_buf_view(image), node_name(), out.rows[out.n_rows]) < 0)
		return;
	m->stored = 1; /* a commit whose answer is lost may have happened */
	out.row_mark[out.n_rows++] = m;
}

static void make_batch(unsigned max)
{
	out.n_rows = out.n_dead = out.n_deletes = 0;
	out.starved = 0;
	while (log_->first && log_->n_batch < max && !out.starved) {
		struct dlg_db_mark *m = log_->batch[log_->n_batch++] = log_->first;
		int ended;

		take_first(&ended);
		if (ended)
			add_dead(m);
		else
			add_alive(m);
	}
}

/* Not at exit: the modules that use this one were loaded later and have ended before. */
static void tell_saved(const struct dlg_db_mark *m)
{
	struct dlg_cell *dlg;

	if (stopping)
		return;
	dlg = dlg_hash_get(m->h_entry, m->h_id, DLG_BY_LOCAL);
	if (dlg && dlg_cb_wanted(dlg, DLGCB_SAVED))
		dlg_handlers_call_back(dlg, DLGCB_SAVED);
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

static void count_rate(unsigned n)
{
	uint64_t second = host_mono_ms() / 1000;

	if (second != log_->rate_second) {
		set(&log_->info.rate, second == log_->rate_second + 1 ? log_->rate_count : 0);
		log_->rate_second = second;
		log_->rate_count = 0;
	}
	log_->rate_count += n;
}

static void remember_gone(void)
{
	uint64_t now = host_mono_ms();

	for (unsigned i = 0; i < out.n_deletes; i++)
		gone[n_gone++ % GONE] = (struct gone){ out.dead[i], now };
}

/* The batch is in the database. */
static void finish_batch(void)
{
	unsigned n = log_->n_batch;

	log_->n_batch = 0;
	count(&log_->info.rows, out.n_rows);
	count(&log_->info.deleted, out.n_deletes);
	count(&log_->info.batches, 1);
	count_rate(out.n_rows + out.n_deletes);
	for (unsigned i = 0; i < out.n_rows; i++)
		tell_saved(out.row_mark[i]);
	remember_gone();
	for (unsigned i = 0; i < out.n_dead; i++)
		dlg_mem_free(out.dead_mark[i]);
	w.barrier -= w.barrier < n ? w.barrier : n;
}

/* The host ends its processes by a signal, wherever they are: the writer lets it come only where
 * the lists are whole. */
static void let_signals_come(int yes)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	sigset_t set;

	if (!w.guarded)
		return;
	sigfillset(&set);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&set, faults[i]);
	sigprocmask(yes ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

/* It has taken something, or judged a row. A connection alone says nothing: the disk may be full,
 * the server a replica, the table somewhere else. */
static void note_back(void)
{
	uint64_t waiting = queued() + log_->n_batch;

	w.backoff = 0;
	if (w.complained)
		host_log(HOST_NOTICE,
			 "database %s is back: %llu changes wait, the rows of all calls are "
			 "written anew",
			 dlg_db_store_name(), (unsigned long long)waiting);
	w.complained = 0;
}

static enum dlg_db_wrote write_out(void)
{
	enum dlg_db_wrote ret;

	if (!out.n_rows && !out.n_deletes)
		return DLG_DB_WROTE;
	let_signals_come(1);
	ret = dlg_db_store_write((const struct db_value(*)[DLG_ROW_N])out.rows, out.n_rows,
				 out.dead, out.n_deletes);
	let_signals_come(0);
	if (ret != DLG_DB_AWAY)
		note_back();
	return ret;
}

/* The database is away: what was in hand waits, and so does whoever counted on it. */
static int give_up(void)
{
	put_back_batch();
	w.barrier_set = 0;
	return -1;
}

/* A column that is too small for one row is so for many. */
static int may_name_refused(void)
{
	uint64_t second = host_mono_ms() / 1000;

	if (w.refused_second != second) {
		if (w.refused > REFUSED_NAMED)
			host_log(HOST_ERROR, "database %s refuses %u more rows",
				 dlg_db_store_name(), w.refused - REFUSED_NAMED);
		w.refused_second = second;
		w.refused = 0;
	}
	return w.refused++ < REFUSED_NAMED;
}

static void refuse_row(void)
{
	const struct dlg_db_mark *m = out.n_rows ? out.row_mark[0] : out.dead_mark[0];

	count(&log_->info.refused, 1);
	if (may_name_refused())
		host_log(HOST_ERROR, "database %s refuses the row of dialog %u:%u: %s",
			 dlg_db_store_name(), m->h_entry, m->h_id, dlg_db_store_error());
	for (unsigned i = 0; i < out.n_dead; i++)
		dlg_mem_free(out.dead_mark[i]);
	log_->n_batch = 0;
	w.barrier -= w.barrier != 0;
}

/* A batch that was refused is written one by one: the others must not suffer. */
static int write_singly(unsigned n)
{
	put_back_batch();
	w.barrier_set = 0;
	for (unsigned i = 0; i < n && log_->first; i++) {
		make_batch(1);
		switch (write_out()) {
		case DLG_DB_WROTE:
			finish_batch();
			break;
		case DLG_DB_REFUSED:
			refuse_row();
			break;
		default:
			return give_up();
		}
	}
	return (int)n;
}

static int write_batch(void)
{
	unsigned n;

	make_batch(BATCH);
	n = log_->n_batch;
	switch (write_out()) {
	case DLG_DB_WROTE:
		finish_batch();
		return (int)n;
	case DLG_DB_REFUSED:
		count(&log_->info.errors, 1);
		return write_singly(n);
	default:
		count(&log_->info.errors, 1);
		return give_up();
	}
}

/* ---- the connection ---- */

/* Nobody knows what a server has that comes back after a crash, or which one it is: a replica, a
 * backup, an empty one. */
static void begin_repair(void)
{
	log_->repaired = (struct dlg_hash_cursor){ 0 };
	log_->repair = 1;
}

/* The server may come back with rows that it had deleted, too. */
static void delete_again(uint64_t now)
{
	for (unsigned i = n_gone < GONE ? 0 : n_gone - GONE; i != n_gone; i++) {
		const struct gone *g = &gone[i % GONE];

		if (now - g->at <= GONE_MS)
			dlg_db_push_dead(g->name.h_entry, g->name.h_id);
	}
}

static void tell_away(void)
{
	host_log(HOST_ERROR,
		 "database %s is away: %s: calls go on, changes wait%s; trying again every few "
		 "seconds",
		 dlg_db_store_name(), dlg_db_store_error(),
		 dlg_journal_on() ? " and are in the journal" : "");
}

static void lost(uint64_t now)
{
	dlg_db_store_close();
	set(&log_->info.connected, 0);
	forget_short_calls();
	begin_repair();
	w.backoff = w.backoff ? w.backoff * 2 : BACKOFF_MIN_MS;
	if (w.backoff > BACKOFF_MAX_MS)
		w.backoff = BACKOFF_MAX_MS;
	w.next_try = now + w.backoff;
	if (!w.complained) {
		delete_again(now);
		tell_away();
	}
	w.complained = 1;
}

static int open_store(void)
{
	int ret;

	let_signals_come(1);
	ret = dlg_db_store_reopen();
	let_signals_come(0);
	return ret;
}

/* 0, or -1: not now. */
static int connect_if_due(void)
{
	if (dlg_db_store_is_open())
		return 0;
	if (host_mono_ms() < w.next_try)
		return -1;
	if (open_store() < 0) {
		count(&log_->info.errors, 1);
		lost(host_mono_ms());
		return -1;
	}
	set(&log_->info.connected, 1);
	return 0;
}

/* Nothing could be written for want of memory: in a second again. */
static int starve(void)
{
	count(&log_->info.unsaved, 1);
	w.next_try = host_mono_ms() + IDLE_MS;
	HOST_LOG(HOST_ERROR, "database %s: no private memory for a row: %llu changes wait",
		 dlg_db_store_name(), (unsigned long long)queued());
	return -1;
}

static void push_answered(struct dlg_cell *dlg)
{
	dlg_hash_lock(dlg);
	if (dlg_state_is_answered(dlg->state) && dlg->mark)
		push_locked(dlg->mark, 0);
	dlg_hash_unlock(dlg);
}

/* Some dialogs behind what waits, a batch at a time: a change that comes now is not to wait for a
 * million rows. Nor is the repair for ever, when there is always something else. */
static void repair_some(void)
{
	struct dlg_cell *dlg;

	for (unsigned n = 0; log_->repair && (n < REPAIR_MIN || queued() < BATCH); n++) {
		if (!dlg_hash_page(&log_->repaired, &dlg, 1, DLG_BY_LOCAL)) {
			log_->repair = 0;
			w.barrier_set = 0; /* what it put on the log comes before old segments go */
			return;
		}
		push_answered(dlg);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
}

/* Everything that came in is on the list. Nonzero: there is something to write. */
static int gather(void)
{
	take_incoming();
	note_oldest();
	return log_->first || log_->repair;
}

int dlg_db_write_some(void)
{
	int n;

	if (!gather())
		return 0;
	if (connect_if_due() < 0)
		return -1;
	repair_some();
	if (!gather())
		return 0;
	n = write_batch();
	if (n < 0)
		lost(host_mono_ms());
	else if (!n && out.starved)
		n = starve();
	note_oldest();
	return n;
}

/* ---- segments of the journal ---- */

static void rewrite_alive(struct dlg_cell *dlg, uint32_t held)
{
	struct change c = { .held = held };

	dlg_hash_lock(dlg);
	if (dlg_state_is_answered(dlg->state) && dlg->mark) {
		c.wanted = 1;
		c.version = ++dlg->db_copied;
		dlg_db_image_locked(dlg, &c.image);
	}
	dlg_hash_unlock(dlg);
	if (c.wanted)
		journal(dlg, &c);
	dlg_buf_free(&c.image);
}

static void rewrite_dead(uint32_t held)
{
	for (const struct dlg_db_mark *m = log_->first; m; m = m->next) {
		struct dlg_journal_record r = { .h_entry = m->h_entry, .h_id = m->h_id,
						.version = UINT64_MAX, .ended = 1 };

		if (is_tombstone(m))
			dlg_journal_append(held, &r);
	}
}

/* The database stays away and the journal grows: everything that counts goes to a new segment once
 * more, so that the old ones can go. Or it is away at exit, and nobody knows what it will have when
 * it comes back. */
static void rewrite_journal(void)
{
	uint32_t held = dlg_journal_hold();
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_journal_info before, after;
	struct dlg_cell *dlg;

	dlg_journal_get_info(&before);
	take_incoming();
	rewrite_dead(held);
	while (dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL)) {
		rewrite_alive(dlg, held);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
	dlg_journal_release(held);
	dlg_journal_get_info(&after);
	w.rewrite = 0;
	w.rewrite_at = 4 * after.bytes > REWRITE_BYTES ? 4 * after.bytes : REWRITE_BYTES;
	if (after.errors == before.errors) {
		dlg_journal_drop_old();
		w.old_segments = 0;
	}
}

/* `rewrite`: everything that counts goes there once nobody holds the one before. `lacks`: that one
 * is not complete. */
static void begin_segment(uint64_t errors, int rewrite, int lacks)
{
	if (dlg_journal_rotate() == 0) {
		w.errors = errors;
		w.old_segments = 1;
		w.old_lacks = lacks;
		w.stale = 0;
		w.barrier_set = 0;
		w.rewrite = rewrite;
	}
}

/* What waits now must be saved before the old segments can go: all that is in them is on the log
 * once nobody holds them. */
static void set_barrier(void)
{
	take_incoming();
	w.barrier = queued();
	w.barrier_set = 1;
}

/* The old segments are closed: when can they go? Not before a repair is over, which rewrites rows
 * that the server may have lost of what is in them. */
static void settle_old_segments(const struct dlg_journal_info *info)
{
	if (w.rewrite) {
		rewrite_journal();
		return;
	}
	if (!w.barrier_set)
		set_barrier();
	if (!w.barrier && !log_->repair) {
		dlg_journal_drop_old();
		w.old_segments = w.old_lacks = 0;
	} else if (!dlg_db_store_is_open() && info->bytes > w.rewrite_at) {
		begin_segment(info->errors, 1, 0);
	}
}

/* A segment that lacks a record, the end of a call perhaps, must not be read over the table some
 * day: it has to go as soon as the disk takes another one and the database has everything. */
static int wants_segment(const struct dlg_journal_info *info, int incomplete)
{
	uint64_t now = host_mono_ms();

	if (w.old_segments || (info->bytes <= SEGMENT_BYTES && !incomplete) || now < w.next_segment)
		return 0;
	w.next_segment = now + IDLE_MS;
	return 1;
}

/* Old ones wait for a database that is away, and what one of them or the current one lacks is
 * nowhere: everything is written anew. At most two are in use at a time. */
static int wants_rewriting(int incomplete)
{
	uint64_t now = host_mono_ms();

	if (!incomplete || !w.old_segments || dlg_db_store_is_open() || now < w.next_segment ||
	    dlg_journal_old_held())
		return 0;
	w.next_segment = now + REWRITE_AGAIN_MS;
	return 1;
}

static void keep_journal(void)
{
	struct dlg_journal_info info;
	int incomplete;

	if (!dlg_journal_on())
		return;
	dlg_journal_get_info(&info);
	incomplete = info.errors != w.errors || w.stale || dlg_journal_is_gone();
	if (wants_segment(&info, incomplete))
		begin_segment(info.errors, 0, incomplete);
	else if (wants_rewriting(incomplete || w.old_lacks))
		begin_segment(info.errors, 1, 0);
	if (w.old_segments && !dlg_journal_old_held())
		settle_old_segments(&info);
}

/* ---- the writer process ---- */

static void sleep_until(uint64_t ms)
{
	uint64_t now = host_mono_ms();
	uint64_t wait = ms > now ? ms - now : 0;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(wait / 1000);
	ts.tv_nsec += (long)(wait % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	let_signals_come(1);
	sem_clockwait(&log_->wake, CLOCK_MONOTONIC, &ts);
	let_signals_come(0);
}

/* Sleep until there is something to do, a second at most. With the database away nobody needs to
 * wake the writer. */
static void wait_for_work(void)
{
	uint64_t now = host_mono_ms();
	int away = now < w.next_try;

	__atomic_store_n(&log_->sleeping, !away, __ATOMIC_SEQ_CST);
	if (away || (!log_->first && !__atomic_load_n(&log_->incoming, __ATOMIC_SEQ_CST)))
		sleep_until(away && w.next_try < now + IDLE_MS ? w.next_try : now + IDLE_MS);
	__atomic_store_n(&log_->sleeping, 0, __ATOMIC_SEQ_CST);
}

static void each_dialog(void (*fn)(struct dlg_cell *dlg))
{
	struct dlg_hash_cursor cur = { 0 };
	struct dlg_cell *dlg;

	while (dlg_hash_page(&cur, &dlg, 1, DLG_BY_LOCAL)) {
		fn(dlg);
		dlg_hash_put(dlg, DLG_BY_LOCAL);
	}
}

/* ---- the clock ---- */

static int64_t wall_ahead(void)
{
	return host_wall_s() - (int64_t)(host_mono_ms() / 1000);
}

/* Rows say by the wall clock when the time of a call is over. When that was set, they say it wrong,
 * and a start would end calls that have hours left. So does the journal, which goes then. */
static void watch_clock(void)
{
	int64_t now = wall_ahead(), step = now - log_->wall_ahead;

	if (step <= CLOCK_STEP_S && step >= -CLOCK_STEP_S)
		return;
	log_->wall_ahead = now;
	host_log(HOST_NOTICE, "the clock was set by %lld s: the rows of all calls are written anew",
		 (long long)step);
	each_dialog(push_answered);
	w.stale = 1;
}

/* ---- the writer's turns ---- */

/* In DELAYED what comes while others are written is for the next period: on a busy proxy there
 * would be no end, and a batch for each change. */
static uint64_t due_now(void)
{
	return mode() == DLG_DB_DELAYED ? queued() : UINT64_MAX;
}

/* What waits, batch by batch; the journal is looked after in between. 0, or -1: not all of it could
 * be written. */
static int drain(void (*idle)(void))
{
	uint64_t last = host_mono_ms(), left;
	int n;

	watch_clock();
	left = due_now();
	do {
		keep_journal();
		if (idle && host_mono_ms() - last > IDLE_MS) {
			idle();
			last = host_mono_ms();
		}
		n = dlg_db_write_some();
		left -= n > 0 && (uint64_t)n < left ? (uint64_t)n : left;
	} while (n > 0 && (left || log_->repair));
	keep_journal();
	return n < 0 ? -1 : 0;
}

static void tidy(uint64_t now)
{
	if (now < w.tidy_at)
		return;
	w.tidy_at = now + TIDY_MS;
	take_incoming();
	forget_short_calls();
	note_oldest();
}

/* The changes of a period; again when they could not be written, but not only after another one. */
void dlg_db_second(void (*idle)(void))
{
	uint64_t now = host_mono_ms(), period = (uint64_t)dialog_conf.db_update_period * 1000;

	count_rate(0);
	tidy(now);
	if (!w.due)
		w.due = now + period;
	if (now >= w.due) {
		w.due += period;
		w.late = 1;
	}
	if (w.late)
		w.late = drain(idle) < 0;
}

static void __attribute__((noreturn)) run_delayed(void (*idle)(void))
{
	for (;;) {
		dlg_db_second(idle);
		sleep_until(host_mono_ms() + IDLE_MS);
		if (idle)
			idle();
	}
}

void dlg_db_work(void)
{
	drain(NULL);
}

void dlg_db_run(void (*idle)(void))
{
	w.guarded = 1;
	let_signals_come(0);
	connect_if_due();
	if (mode() == DLG_DB_DELAYED)
		run_delayed(idle);
	for (;;) {
		drain(idle);
		count_rate(0);
		if (idle)
			idle();
		wait_for_work();
	}
}

int dlg_db_has_writer(void)
{
	return mode() == DLG_DB_REALTIME || mode() == DLG_DB_DELAYED;
}

/* ---- start ---- */

static int create_log(void)
{
	log_ = host_shm_alloc(sizeof(*log_));
	if (!log_)
		return -1;
	memset(log_, 0, sizeof(*log_));
	log_->last = &log_->first;
	log_->wall_ahead = wall_ahead();
	return sem_init(&log_->wake, 1, 0);
}

/* "": there is none. */
static const char *journal_dir(void)
{
	return dialog_conf.db_journal_dir ? dialog_conf.db_journal_dir : host_state_dir();
}

static int init_journal(void)
{
	if (mode() != DLG_DB_REALTIME || !*journal_dir())
		return 0;
	return dlg_journal_init(journal_dir(), node_name(), DLG_ROW_LAYOUT);
}

/* Calls that end now are alive in it when REALTIME comes back. */
static void look_for_journal(void)
{
	if (dlg_journal_on() || !*journal_dir() || !dlg_journal_is_left(journal_dir()))
		return;
	host_log(HOST_WARNING,
		 "journal in %s: left by a run in db_mode 1, db_mode %d does not read it: start "
		 "once in db_mode 1 to have its calls, or remove it, before it brings them back "
		 "some day",
		 journal_dir(), mode());
}

/* What the journal of the last run knew is on its way to the database; until it is there the old
 * segments stay. */
static int start_journal(unsigned changes)
{
	if (!dlg_journal_on())
		return 0;
	if (dlg_journal_begin() < 0)
		return -1;
	w.old_segments = 1;
	w.rewrite_at = REWRITE_BYTES;
	if (!changes)
		dlg_journal_drop_old();
	return 0;
}

static void mark_restored_locked(struct dlg_cell *dlg, struct dlg_db_mark *m, uint64_t version)
{
	m->stored = 1;
	dlg->mark = m;
	if (version)
		push_locked(m, 0);
	dlg->db_copied = dlg->db_journaled = (uint32_t)version;
}

int dlg_db_push_restored(struct dlg_cell *dlg, uint64_t version)
{
	struct dlg_db_mark *m;

	if (!writes_at_run_time())
		return 0;
	m = mark_new(dlg);
	if (!m)
		return -1;
	dlg_hash_lock(dlg);
	mark_restored_locked(dlg, m, version);
	dlg_hash_unlock(dlg);
	return 0;
}

int dlg_db_push_dead(uint32_t h_entry, uint32_t h_id)
{
	struct dlg_db_mark *m = dlg_mem_alloc(sizeof(*m));

	if (!m)
		return -1;
	*m = (struct dlg_db_mark){ .h_entry = h_entry, .h_id = h_id, .stored = 1 };
	push_locked(m, ENDED);
	return 0;
}

static unsigned next_restored(struct dlg_db_name names[BATCH], void *arg)
{
	struct dlg_cell *page[BATCH];
	unsigned n = dlg_hash_page(arg, page, BATCH, DLG_BY_LOCAL);

	for (unsigned i = 0; i < n; i++) {
		names[i] = (struct dlg_db_name){ page[i]->h_entry, page[i]->h_id };
		dlg_hash_put(page[i], DLG_BY_LOCAL);
	}
	return n;
}

static int try_to_delete(void)
{
	struct dlg_hash_cursor cur = { 0 };

	if (dlg_db_store_open() < 0)
		return -1;
	if (dlg_db_store_remove(next_restored, &cur) == 0)
		return 0;
	dlg_db_store_close();
	return -1;
}

/* SHUTDOWN: rows of calls that go on and may end before the next exit must not revive them. When
 * the answer to the commit is lost nobody knows whether they are there: it does no harm to delete
 * them once more. */
static int delete_restored(void)
{
	for (int i = 0; i < REMOVE_TRIES; i++) {
		if (i)
			host_pause(BACKOFF_MIN_MS << i);
		if (try_to_delete() == 0)
			return 0;
	}
	host_log(HOST_ERROR, "database %s: the restored rows cannot be deleted: %s",
		 dlg_db_store_name(), dlg_db_store_error());
	return -1;
}

static int restore_all(void)
{
	struct dlg_db_restored r = { 0 };

	look_for_journal();
	if ((dlg_journal_on() && dlg_journal_open() < 0) || dlg_db_store_check() < 0 ||
	    dlg_db_restore(&r) < 0)
		return -1;
	log_->info.restored = r.restored;
	log_->info.skipped = r.skipped;
	if (mode() == DLG_DB_SHUTDOWN && delete_restored() < 0) {
		ready = 1; /* perhaps they are deleted all the same: they are to be written again */
		dlg_db_stop();
		return -1;
	}
	return start_journal(r.changes);
}

int dlg_db_init(void)
{
	if (mode() == DLG_DB_NO_DB)
		return 0;
	if (dlg_db_store_init() < 0)
		return -1;
	if (create_log() < 0 || init_journal() < 0) {
		host_log(HOST_ERROR, "not enough shared memory for the change log");
		return -1;
	}
	return 0;
}

static void tell_loaded(struct dlg_cell *dlg)
{
	dlg_handlers_call_back(dlg, DLGCB_LOADED);
}

static void announce(void)
{
	if (log_->info.restored)
		each_dialog(tell_loaded);
}

int dlg_db_load(void)
{
	if (mode() == DLG_DB_NO_DB)
		return 0;
	if (dlg_db_store_open() < 0) {
		host_log(HOST_ERROR,
			 "parameter db_url: database %s cannot be reached: %s: allowed is a "
			 "database that runs, or db_mode 0",
			 dlg_db_store_name(), dlg_db_store_error());
		return -1;
	}
	ready = restore_all() == 0;
	dlg_db_store_close();
	if (!ready)
		return -1;
	announce();
	return 0;
}

/* ---- exit ---- */

static int is_unnoted(const struct dlg_cell *dlg)
{
	int ret;

	dlg_hash_lock(dlg);
	ret = is_unnoted_locked(dlg);
	dlg_hash_unlock(dlg);
	return ret;
}

/* SHUTDOWN: now everything is worth a row. Else what nobody noted has one more chance: the host
 * kills its workers wherever they are. */
static void push_last(struct dlg_cell *dlg)
{
	struct change c = { 0 };

	if (mode() == DLG_DB_SHUTDOWN)
		note(dlg, &c);
	else if (is_unnoted(dlg))
		dlg_db_changed(dlg);
}

static void report_stop(uint64_t total, uint64_t left, uint64_t unsaved)
{
	if (unsaved)
		host_log(HOST_ERROR, "database %s: %llu calls could not be saved: no memory",
			 dlg_db_store_name(), (unsigned long long)unsaved);
	if (!left && log_->repair)
		host_log(HOST_ERROR,
			 "database %s: it was away, and the rows of all calls could not be written "
			 "anew%s",
			 dlg_db_store_name(),
			 dlg_journal_on() ? ": the journal has them for the next start" : "");
	else if (!left && !unsaved)
		host_log(HOST_INFO, "database %s: all changes are saved (%llu at exit)",
			 dlg_db_store_name(), (unsigned long long)total);
	else if (left)
		host_log(HOST_ERROR, "database %s: %llu changes could not be saved: %s%s",
			 dlg_db_store_name(), (unsigned long long)left, dlg_db_store_error(),
			 dlg_journal_on() ? ": the journal keeps them for the next start" : "");
}

/* What is in the journal is not lost by leaving early; else the exit goes on as long as rows get
 * written. */
static uint64_t stop_after(uint64_t began, uint64_t written)
{
	uint64_t last = began + (dlg_journal_on() ? STOP_MS : STOP_LONG_MS);

	return written + STOP_MS < last ? written + STOP_MS : last;
}

/* Write until nothing is left, or it is no use any more. */
static void write_all(void)
{
	int tries = dlg_journal_on() ? STOP_TRIES_JOURNAL : STOP_TRIES;
	uint64_t began = host_mono_ms(), said = began, written = began;

	w.next_try = 0;
	while ((queued() || log_->repair) && tries && host_mono_ms() < stop_after(began, written)) {
		if (dlg_db_write_some() > 0)
			written = host_mono_ms();
		else if (--tries)
			host_pause((unsigned)w.backoff);
		if (host_mono_ms() - said < 1000)
			continue;
		said = host_mono_ms();
		host_log(HOST_NOTICE, "database %s: %llu changes still to be saved",
			 dlg_db_store_name(), (unsigned long long)queued());
	}
}

void dlg_db_stop(void)
{
	uint64_t total, unsaved;

	if (!ready)
		return;
	ready = 0;
	stopping = 1;
	unsaved = log_->info.unsaved;
	if (writes_at_run_time())
		watch_clock();
	each_dialog(push_last);
	put_back_batch();
	take_incoming();
	total = queued();
	dlg_db_store_hurry(STOP_MS);
	write_all();
	report_stop(total, queued(), log_->info.unsaved - unsaved);
	if (log_->repair && dlg_journal_on())
		rewrite_journal();
	dlg_journal_stop(!queued() && !log_->repair);
	dlg_db_store_close();
	log_ = NULL;
}

void dlg_db_get_info(struct dlg_db_info *info)
{
	struct dlg_journal_info journal_info;
	uint64_t since, now = host_mono_ms();

	*info = (struct dlg_db_info){ 0 };
	if (!log_)
		return;
#define X(name, what) info->name = __atomic_load_n(&log_->info.name, __ATOMIC_RELAXED);
	DLG_DB_FIGURES(X)
#undef X
	since = __atomic_load_n(&log_->oldest_since, __ATOMIC_RELAXED);
	info->oldest_ms = since && now > since ? now - since : 0;
	dlg_journal_get_info(&journal_info);
	info->journal_bytes = journal_info.bytes;
	info->journal_errors = journal_info.errors;
}

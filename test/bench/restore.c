/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table of calls: make it, fetch it by the driver alone, restore it by the engine. For restore.py.
 *
 *     restore DRIVERS URL fill N [SOCK]  N plain calls, whose lifetimes are mixed; their local
 *                                        socket if it shall not be the simulation's
 *     restore DRIVERS URL raw            every row through the driver, into nothing
 *     restore DRIVERS URL start DIR      a start of the engine over the table, with a journal in DIR
 *
 * Prints rows, seconds of the clock, and seconds of this process's CPU time. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>

#include "../../dlg_db_handler.h"
#include "../../dlg_db_image.h"
#include "../sim/sim_host.h"

enum { HASH_SIZE = 4096 };

static int64_t began[2];

static void start_clocks(void)
{
	began[0] = bench_now(CLOCK_MONOTONIC);
	began[1] = bench_cpu();
}

static void print(unsigned long rows)
{
	printf("%lu %.3f %.3f\n", rows, (double)(bench_now(CLOCK_MONOTONIC) - began[0]) / 1e9,
	       (double)(bench_cpu() - began[1]) / 1e9);
}

/* ---- the driver alone ---- */

static const struct db_driver *driver;
static struct db_table table = { .name = "dialog", .column = dlg_row_columns,
				 .n_columns = DLG_ROW_N, .n_keys = 3,
				 .version = DLG_ROW_TABLE_VERSION };

static struct db_conn *connect_to(const char *drivers, const char *text)
{
	struct db_url url;
	struct db_conn *c = NULL;
	const char *reason;
	char why[512];

	errno = 0;
	if (db_url_parse(text, &url, &reason) < 0)
		bench_die(reason);
	driver = db_driver_load(drivers, url.scheme, why, sizeof(why));
	url.timeout_ms = 60000;
	if (!driver || driver->open(&url, &c, why, sizeof(why)) != DB_OK)
		bench_die(why);
	if (driver->create(c, &table) != DB_OK)
		bench_die(driver->error(c));
	return c;
}

/* ---- filling: rows as the engine's writer makes them ---- */

struct spot {
	uint32_t h_entry, n;
};

static int by_key(const void *a, const void *b)
{
	const struct spot *x = a, *y = b;

	if (x->h_entry != y->h_entry)
		return x->h_entry < y->h_entry ? -1 : 1;
	return (x->n > y->n) - (x->n < y->n);
}

static void shuffle(struct spot *spots, unsigned n)
{
	for (unsigned i = n; i > 1; i--) {
		unsigned j = sim_below(i);
		struct spot s = spots[j];

		spots[j] = spots[i - 1];
		spots[i - 1] = s;
	}
}

/* The order to write them in. Most databases keep rows by their key, whatever the order they came
 * in; in a heap of PostgreSQL they lie as they were changed last. */
static struct spot *in_order(unsigned n)
{
	struct spot *spots = malloc((n + 1) * sizeof(*spots));
	struct bench_texts t;

	bench_check(spots != NULL, "memory");
	for (unsigned i = 0; i < n; i++) {
		bench_call_texts(&t, i);
		spots[i] = (struct spot){ dlg_hash_call_id(t.call_id) & (HASH_SIZE - 1), i };
	}
	sim_seed(n);
	if (strcmp(driver->name, "postgres"))
		qsort(spots, n, sizeof(*spots), by_key);
	else
		shuffle(spots, n);
	return spots;
}

static struct dlg_cell *made(unsigned n)
{
	static struct dlg_row row;
	struct bench_texts t;
	struct dlg_cell *dlg = NULL;
	unsigned lost = 0;

	bench_call_row(&row, &t, n, 86400 + bench_lifetime(n)); /* none is over when it is read */
	bench_check(dlg_db_image_make(&row, &lost, &dlg) == DLG_DB_MADE, "a dialog");
	return dlg;
}

static void forget(struct dlg_cell *dlg)
{
	dlg_hash_hold(dlg, DLG_BY_LOCAL);
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_BYE);
	dlg_hash_unlock(dlg);
	bench_check(dlg_hash_release(dlg), "a dialog that somebody holds");
}

/* What the n-th call is in the table; `image` keeps the texts. */
static void make_row(unsigned n, const char *sock, struct dlg_buf *image,
		     struct db_value v[DLG_ROW_N])
{
	struct dlg_cell *dlg = made(n);

	dlg_buf_reset(image);
	dlg_hash_lock(dlg);
	dlg_db_image_locked(dlg, image);
	dlg_hash_unlock(dlg);
	bench_check(dlg_row_values(dlg_buf_view(image), DLG_STR(""), v) == 0, "a row");
	if (sock)
		v[DLG_ROW_caller_sock] = v[DLG_ROW_callee_sock] = db_text(dlg_str_of(sock));
	forget(dlg);
}

static void fill(struct db_conn *c, unsigned n, const char *sock)
{
	static struct db_value v[DB_BATCH_MAX][DLG_ROW_N];
	static struct dlg_buf image[DB_BATCH_MAX];
	struct spot *spots = in_order(n);
	unsigned done = 0;

	bench_start(HASH_SIZE);
	sim_set_wall((int64_t)time(NULL) - host_wall_s()); /* the clock of a proxy that may read them */
	bench_check(driver->begin(c) == DB_OK, "begin");
	while (done < n) {
		unsigned step = n - done < DB_BATCH_MAX ? n - done : DB_BATCH_MAX;

		for (unsigned i = 0; i < step; i++)
			make_row(spots[done + i].n, sock, &image[i], v[i]);
		if (driver->upsert(c, &table, v[0], step) != DB_OK)
			bench_die(driver->error(c));
		done += step;
	}
	bench_check(driver->commit(c) == DB_OK, "commit");
	free(spots);
	print(done);
}

/* ---- reading ---- */

struct seen {
	unsigned long rows, bytes;
};

static int see(const struct db_value *v, void *arg)
{
	struct seen *s = arg;

	s->rows++;
	for (int i = 0; i < DLG_ROW_N; i++)
		s->bytes += v[i].kind == DB_TEXT ? v[i].text.len : 8;
	return 0;
}

static void raw(struct db_conn *c)
{
	struct seen s = { 0 };

	start_clocks();
	if (driver->select(c, &table, DLG_STR(""), see, &s) != DB_OK)
		bench_die(driver->error(c));
	bench_check(s.bytes > 0, "no rows");
	print(s.rows);
}

static void start_over(const char *drivers, const char *url, const char *dir)
{
	struct dlg_db_info info;

	dialog_conf.db_mode = DLG_DB_REALTIME;
	dialog_conf.db_url = (char *)url;
	dialog_conf.db_driver_dir = (char *)drivers;
	dialog_conf.db_journal_dir = (char *)dir;
	start_clocks();
	bench_start(HASH_SIZE);
	dlg_db_get_info(&info);
	bench_check(info.restored > 0 && !info.skipped, "rows that were not restored");
	print(info.restored);
}

int main(int argc, char **argv)
{
	const char *what = argc > 3 ? argv[3] : "";

	start_clocks();
	if (argc >= 5 && !strcmp(what, "fill"))
		fill(connect_to(argv[1], argv[2]), (unsigned)atoi(argv[4]), argv[5]);
	else if (argc == 4 && !strcmp(what, "raw"))
		raw(connect_to(argv[1], argv[2]));
	else if (argc == 5 && !strcmp(what, "start"))
		start_over(argv[1], argv[2], argv[4]);
	else
		bench_die("usage: restore DRIVERS URL fill N | raw | start DIR");
	return 0;
}

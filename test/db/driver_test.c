/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every driver must do, against the real database that DB_URL names, with the driver in
 * DB_DRIVER_DIR. DB_SERVER: the server's process, which DB_TOOL can freeze and thaw; without it those
 * tests have nothing to do. Run by test/db/run. */
#include "../../db/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../unit/unit.h"

enum { N = 6, KEYS = 3 };

static const struct db_column columns[N] = {
	{ .name = "node", .kind = DB_KEY_TEXT },    { .name = "entry", .kind = DB_KEY_INT },
	{ .name = "id", .kind = DB_KEY_INT },	    { .name = "callid", .kind = DB_COL_TEXT, .indexed = 1 },
	{ .name = "number", .kind = DB_COL_INT },   { .name = "order", .kind = DB_COL_TEXT },
};
static struct db_table table = { .column = columns, .n_columns = N, .n_keys = KEYS, .version = 1001 };
static const struct db_driver *driver;
static struct db_conn *conn;
static struct db_url url;
static char why[512], name[32];

#define OK(call) ck_assert_msg((call) == DB_OK, #call ": %s", driver->error(conn))

static struct dlg_str str(const char *s)
{
	return dlg_str_of(s);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void connect_it(void)
{
	ck_assert_msg(driver->open(&url, &conn, why, sizeof(why)) == DB_OK, "%s", why);
}

/* Each test has a table of its own. */
static void set_up(void)
{
	const char *reason;

	ck_assert_msg(db_url_parse(getenv("DB_URL"), &url, &reason) == 0, "%s", reason);
	url.timeout_ms = 1000;
	driver = db_driver_load(getenv("DB_DRIVER_DIR"), url.scheme, why, sizeof(why));
	ck_assert_msg(driver != NULL, "%s", why);
	snprintf(name, sizeof(name), "t%d_%ld", (int)getpid(), (long)time(NULL));
	table.name = name;
	connect_it();
	OK(driver->create(conn, &table));
}

static void tear_down(void)
{
	driver->close(conn);
	db_url_free(&url);
}

static void put(struct db_value *row, const char *node, int64_t entry, int64_t id, struct dlg_str text)
{
	row[0] = db_text(str(node));
	row[1] = db_int(entry);
	row[2] = db_int(id);
	row[3] = db_text(text);
	row[4] = db_int(entry * 1000 + id);
	row[5] = db_null();
}

static void put_rows(const char *node, unsigned first, unsigned n, const char *text)
{
	static struct db_value rows[DB_BATCH_MAX][N];

	OK(driver->begin(conn));
	while (n) {
		unsigned some = n < DB_BATCH_MAX ? n : DB_BATCH_MAX;

		for (unsigned i = 0; i < some; i++)
			put(rows[i], node, 7, first + i, str(text));
		OK(driver->upsert(conn, &table, rows[0], some));
		first += some;
		n -= some;
	}
	OK(driver->commit(conn));
}

static uint64_t count(const char *node)
{
	uint64_t n;

	OK(driver->count(conn, &table, str(node), &n));
	return n;
}

/* The values of the first row of a node. */
static struct {
	struct dlg_buf text[N];
	struct db_value v[N];
	unsigned rows;
	int64_t last_id;
	int in_order;
} seen;

static int see(const struct db_value *v, void *arg)
{
	(void)arg;
	seen.in_order &= !seen.rows || v[2].number > seen.last_id;
	seen.last_id = v[2].number;
	if (seen.rows++)
		return 0;
	for (int i = 0; i < N; i++) {
		seen.v[i] = v[i];
		dlg_buf_reset(&seen.text[i]);
		dlg_buf_add(&seen.text[i], v[i].text);
		seen.v[i].text = dlg_buf_view(&seen.text[i]);
	}
	return 0;
}

static void read_node(const char *node)
{
	seen.rows = 0;
	seen.in_order = 1;
	OK(driver->select(conn, &table, str(node), see, NULL));
}

START_TEST(a_table_is_ready_when_it_has_version_and_columns)
{
	struct db_column more[N + 1];
	struct db_table other = table;

	ck_assert_msg(db_table_ready(driver, conn, &table, why, sizeof(why)) == 1, "%s", why);
	OK(driver->create(conn, &table)); /* what is there stays */
	other.name = "nowhere";
	ck_assert_int_eq(db_table_ready(driver, conn, &other, why, sizeof(why)), 0);
	ck_assert_ptr_nonnull(strstr(why, "no table \"nowhere\""));
	other = table;
	other.version = 5;
	ck_assert_int_eq(db_table_ready(driver, conn, &other, why, sizeof(why)), 0);
	ck_assert_ptr_nonnull(strstr(why, "has version 1001, and this module needs 5"));
	memcpy(more, columns, sizeof(columns));
	more[N] = (struct db_column){ .name = "vars", .kind = DB_COL_TEXT };
	other = table;
	other.column = more;
	other.n_columns = N + 1;
	ck_assert_int_eq(db_table_ready(driver, conn, &other, why, sizeof(why)), 0);
	ck_assert_ptr_nonnull(strstr(why, "no column \"vars\""));
}
END_TEST

START_TEST(rows_are_inserted_updated_and_deleted)
{
	struct db_value row[N], keys[2][KEYS];

	put(row, "", 1, 4294967295, str("first"));
	OK(driver->begin(conn));
	OK(driver->upsert(conn, &table, row, 1));
	row[3] = db_text(str("second"));
	row[5] = db_text(str("now it is there"));
	OK(driver->upsert(conn, &table, row, 1));
	OK(driver->commit(conn));
	read_node("");
	ck_assert_uint_eq(seen.rows, 1);
	ck_assert_view(seen.v[3].text, "second");
	ck_assert_view(seen.v[5].text, "now it is there");
	ck_assert_int_eq(seen.v[2].number, 4294967295);
	for (int i = 0; i < KEYS; i++)
		keys[0][i] = keys[1][i] = row[i];
	keys[1][2] = db_int(12); /* not there */
	OK(driver->begin(conn));
	OK(driver->remove(conn, &table, keys[0], 2));
	OK(driver->commit(conn));
	ck_assert_uint_eq(count(""), 0);
}
END_TEST

START_TEST(a_rolled_back_change_never_was)
{
	struct db_value row[N];

	put(row, "", 1, 1, str("x"));
	OK(driver->begin(conn));
	OK(driver->upsert(conn, &table, row, 1));
	OK(driver->rollback(conn));
	ck_assert_uint_eq(count(""), 0);
	OK(driver->begin(conn));
	OK(driver->upsert(conn, &table, row, 1));
	driver->close(conn); /* as when the process is killed */
	connect_it();
	ck_assert_uint_eq(count(""), 0);
}
END_TEST

/* Batches of every size, several times over the same connection. */
START_TEST(batches_of_every_size)
{
	static struct db_value keys[DB_BATCH_MAX][KEYS];
	struct db_value row[N];

	for (unsigned n = 1; n <= DB_BATCH_MAX; n++) {
		put_rows("n", 1, n, "t");
		ck_assert_uint_eq(count("n"), n);
		for (unsigned i = 0; i < n; i++) {
			put(row, "n", 7, 1 + i, DLG_STR_NONE);
			memcpy(keys[i], row, sizeof(keys[i]));
		}
		OK(driver->begin(conn));
		OK(driver->remove(conn, &table, keys[0], n));
		OK(driver->commit(conn));
		ck_assert_uint_eq(count("n"), 0);
	}
}
END_TEST

static long peak_kb(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

START_TEST(many_rows_are_streamed_in_order)
{
	char text[1000];
	long before;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	put_rows("", 1, 40000, text);
	before = peak_kb();
	read_node("");
	ck_assert_uint_eq(seen.rows, 40000);
	ck_assert_int_eq(seen.in_order, 1);
	/* the texts alone are 40 MB */
	if (!getenv("SANITIZED"))
		ck_assert_int_lt(peak_kb() - before, 12000);
}
END_TEST

static int stop_after(const struct db_value *v, void *arg)
{
	(void)v;
	return --*(int *)arg == 0;
}

START_TEST(a_reader_may_stop_early)
{
	int left = 3;

	put_rows("", 1, 2000, "x");
	OK(driver->select(conn, &table, str(""), stop_after, &left));
	ck_assert_int_eq(left, 0);
	ck_assert_uint_eq(count(""), 2000);
}
END_TEST

static void check_text(struct dlg_str text)
{
	struct db_value row[N];

	put(row, "", 1, 1, text);
	OK(driver->begin(conn));
	OK(driver->upsert(conn, &table, row, 1));
	OK(driver->commit(conn));
	read_node("");
	ck_assert_int_eq(seen.v[3].kind, DB_TEXT);
	ck_assert(dlg_str_eq(seen.v[3].text, text));
}

START_TEST(every_text_comes_back)
{
	char *big = malloc(3000000);

	check_text(DLG_STR(""));
	check_text(DLG_STR("it's a \"quoted\" `name` \\ % _ ; -- /* */ $1 ? :x"));
	check_text(DLG_STR("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbf \xf4\x8f\xbf\xbf"));
	check_text(DLG_STR("trailing blanks  "));
	for (size_t n = 4090; n < 4100; n++) {
		memset(big, 'a', n);
		check_text((struct dlg_str){ big, n });
	}
	memset(big, 'b', 3000000);
	check_text((struct dlg_str){ big, 65535 });
	check_text((struct dlg_str){ big, 3000000 });
	free(big);
}
END_TEST

START_TEST(null_and_numbers_come_back)
{
	static const int64_t numbers[] = { 0, -1, 1, INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN };
	struct db_value row[N];

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		put(row, "", 1, 1, str("x"));
		row[4] = db_int(numbers[i]);
		OK(driver->begin(conn));
		OK(driver->upsert(conn, &table, row, 1));
		OK(driver->commit(conn));
		read_node("");
		ck_assert_int_eq(seen.v[4].kind, DB_INT);
		ck_assert(seen.v[4].number == numbers[i]);
		ck_assert_int_eq(seen.v[5].kind, DB_NULL);
	}
}
END_TEST

START_TEST(rows_of_other_nodes_are_not_touched)
{
	struct db_value row[N], key[KEYS];

	put_rows("a", 1, 10, "of a");
	put_rows("b", 1, 20, "of b");
	put_rows("A", 1, 5, "of another");
	put(row, "a", 7, 3, DLG_STR_NONE);
	memcpy(key, row, sizeof(key));
	OK(driver->begin(conn));
	OK(driver->remove(conn, &table, key, 1));
	OK(driver->commit(conn));
	ck_assert_uint_eq(count("a"), 9);
	ck_assert_uint_eq(count("b"), 20);
	ck_assert_uint_eq(count("A"), 5);
	read_node("b");
	ck_assert_uint_eq(seen.rows, 20);
}
END_TEST

START_TEST(a_refused_row_leaves_the_connection_as_it_is)
{
	struct db_value row[N];

	if (!strcmp(driver->name, "sqlite"))
		return; /* it takes everything */
	put(row, "", 1, 1, str("x"));
	row[1] = db_null(); /* part of the key */
	OK(driver->begin(conn));
	ck_assert_int_eq(driver->upsert(conn, &table, row, 1), DB_REFUSED);
	ck_assert_uint_gt(strlen(driver->error(conn)), 5);
	OK(driver->rollback(conn));
	put(row, "", 1, 1, DLG_STR("\xff\xfe no UTF-8"));
	OK(driver->begin(conn));
	ck_assert_int_eq(driver->upsert(conn, &table, row, 1), DB_REFUSED);
	OK(driver->rollback(conn));
	put_rows("", 1, 3, "fine");
	ck_assert_uint_eq(count(""), 3);
}
END_TEST

START_TEST(a_wrong_password_is_not_repeated)
{
	struct db_conn *other;

	if (!strcmp(driver->name, "sqlite"))
		return;
	free(url.password);
	url.password = strdup("very-secret-guess");
	ck_assert_int_eq(driver->open(&url, &other, why, sizeof(why)), DB_LOST);
	ck_assert_uint_gt(strlen(why), 5);
	ck_assert_ptr_null(strstr(why, "very-secret-guess"));
	ck_assert_ptr_null(strstr(url.plain, "p@ss"));
	ck_assert_ptr_null(strstr(url.plain, "p%40"));
}
END_TEST

START_TEST(nobody_listens)
{
	struct db_conn *other;
	double began = seconds();

	if (!strcmp(driver->name, "sqlite"))
		return;
	url.port = 1;
	ck_assert_int_eq(driver->open(&url, &other, why, sizeof(why)), DB_LOST);
	ck_assert_uint_gt(strlen(why), 5);
	ck_assert(seconds() - began < 3);
}
END_TEST

static void server(const char *what)
{
	char command[512];

	snprintf(command, sizeof(command), "%s %s %s", getenv("DB_TOOL"), what, getenv("DB_SERVER"));
	ck_assert_int_eq(system(command), 0);
}

static enum db_result do_rollback(void)
{
	return driver->rollback(conn);
}

static enum db_result do_upsert(void)
{
	struct db_value row[N];

	put(row, "", 1, 1, str("x"));
	return driver->upsert(conn, &table, row, 1);
}

static enum db_result do_select(void)
{
	return driver->select(conn, &table, str(""), see, NULL);
}

static enum db_result do_count(void)
{
	uint64_t n;

	return driver->count(conn, &table, str(""), &n);
}

/* A server that hangs is given up after the time of the URL, in whatever call; afterwards a new
 * connection works. */
START_TEST(a_hung_server_costs_no_more_than_its_time)
{
	static enum db_result (*const calls[])(void) = { do_rollback, do_upsert, do_select, do_count };
	struct db_conn *other;
	enum db_result got;
	double began;

	if (!getenv("DB_SERVER"))
		return;
	OK(driver->begin(conn));
	server("freeze");
	began = seconds();
	got = calls[_i]();
	ck_assert_msg(seconds() - began < 4, "%d took %.1f s", _i, seconds() - began);
	if (_i == 0) {
		began = seconds();
		ck_assert_int_eq(driver->open(&url, &other, why, sizeof(why)), DB_LOST);
		ck_assert(seconds() - began < 4);
	}
	server("thaw");
	ck_assert_int_eq(got, DB_LOST);
	ck_assert_uint_gt(strlen(driver->error(conn)), 5);
	driver->close(conn);
	connect_it();
	put_rows("", 1, 5, "after");
	ck_assert_uint_eq(count(""), 5);
}
END_TEST

int main(void)
{
	TCase *c = tcase_create(getenv("DB_URL") ? "driver" : "DB_URL is not set");

	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, a_table_is_ready_when_it_has_version_and_columns);
	tcase_add_test(c, rows_are_inserted_updated_and_deleted);
	tcase_add_test(c, a_rolled_back_change_never_was);
	tcase_add_test(c, batches_of_every_size);
	tcase_add_test(c, many_rows_are_streamed_in_order);
	tcase_add_test(c, a_reader_may_stop_early);
	tcase_add_test(c, every_text_comes_back);
	tcase_add_test(c, null_and_numbers_come_back);
	tcase_add_test(c, rows_of_other_nodes_are_not_touched);
	tcase_add_test(c, a_refused_row_leaves_the_connection_as_it_is);
	tcase_add_test(c, a_wrong_password_is_not_repeated);
	tcase_add_test(c, nobody_listens);
	tcase_add_loop_test(c, a_hung_server_costs_no_more_than_its_time, 0, 4);
	return unit_run_case("driver", c);
}

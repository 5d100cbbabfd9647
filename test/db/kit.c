/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kit.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../sim/sim_db.h"

struct kit kit;

static FILE *to_keeper, *from_keeper;
static struct db_url url; /* of the last connection */
static char case_name[64];

int kit_is(const char *kind)
{
	return !strcmp(kit.kind, kind);
}

int kit_is_server(void)
{
	return kit_is("mysql") || kit_is("postgres");
}

static const char *from_env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static void meet_keeper(void)
{
	const char *fds = from_env("DB_KEEPER");
	int in, out;

	if (!fds)
		return;
	ck_assert_int_eq(sscanf(fds, "%d,%d", &in, &out), 2);
	from_keeper = fdopen(dup(in), "r");
	to_keeper = fdopen(dup(out), "w");
	ck_assert(from_keeper && to_keeper);
}

static void read_env(void)
{
	kit.kind = from_env("DB_KIND") ? from_env("DB_KIND") : "fake";
	kit.url = from_env("DB_URL") ? from_env("DB_URL") : "fake:///x";
	kit.socket_url = from_env("DB_SOCKET_URL");
	kit.password = from_env("DB_PASSWORD");
	kit.can_fill = from_env("DB_CAN_FILL") != NULL;
}

void kit_start(void)
{
	static char name[32];
	static unsigned n;
	char why[KIT_WHY];
	struct db_url u;
	const char *reason = "";

	read_env();
	if (kit_is("fake"))
		sim_db_use(1);
	if (!to_keeper)
		meet_keeper();
	if (kit_is_server())
		kit_ask("heal"); /* of what a failed test has left */
	ck_assert_msg(db_url_parse(kit.url, &u, &reason) == 0, "%s", reason);
	kit.driver = db_driver_load(from_env("DB_DRIVERS") ? from_env("DB_DRIVERS") : ".", u.scheme,
				    why, sizeof(why));
	db_url_free(&u);
	ck_assert_msg(kit.driver != NULL, "%s", why);
	snprintf(name, sizeof(name), "dialog_%d_%u", (int)getpid(), n++);
	kit.table = (struct db_table){ .name = name, .column = dlg_row_columns, .n_columns = DLG_ROW_N,
				       .n_keys = 3, .version = DLG_ROW_TABLE_VERSION };
}

const char *kit_ask(const char *format, ...)
{
	static char answer[4096];
	va_list ap;

	ck_assert_msg(to_keeper != NULL, "nobody keeps the database");
	va_start(ap, format);
	vfprintf(to_keeper, format, ap);
	va_end(ap);
	fputc('\n', to_keeper);
	fflush(to_keeper);
	ck_assert(fgets(answer, sizeof(answer), from_keeper) != NULL);
	answer[strcspn(answer, "\n")] = '\0';
	ck_assert_msg(!strncmp(answer, "ok", 2), "%s: %s", format, answer);
	return answer[2] ? answer + 3 : "";
}

enum db_result kit_try(const char *text, struct db_conn **conn, char why[KIT_WHY])
{
	const char *reason = "";

	db_url_free(&url);
	ck_assert_msg(db_url_parse(text, &url, &reason) == 0, "%s", reason);
	url.timeout_ms = kit.timeout_ms;
	why[0] = '\0';
	return kit.driver->open(&url, conn, why, KIT_WHY);
}

struct db_conn *kit_open_url(const char *text)
{
	struct db_conn *c = NULL;
	char why[KIT_WHY];

	ck_assert_msg(kit_try(text, &c, why) == DB_OK, "%s", why);
	return c;
}

struct db_conn *kit_open(void)
{
	return kit_open_url(kit.url);
}

struct db_conn *kit_open_table(void)
{
	struct db_conn *c = kit_open();

	kit_ok(c, kit.driver->create(c, &kit.table));
	return c;
}

void kit_row(struct db_value v[DLG_ROW_N], const char *node, int64_t h_entry, int64_t h_id)
{
	for (unsigned i = 0; i < DLG_ROW_N; i++)
		v[i] = dlg_row_columns[i].kind == DB_KEY_INT || dlg_row_columns[i].kind == DB_COL_INT
			       ? db_int(1000 + i)
			       : db_text(dlg_str_of(dlg_row_columns[i].name));
	v[DLG_ROW_node] = db_text(dlg_str_of(node));
	v[DLG_ROW_h_entry] = db_int(h_entry);
	v[DLG_ROW_h_id] = db_int(h_id);
}

enum db_result kit_write(struct db_conn *c, const struct db_value *v, unsigned n)
{
	enum db_result ret = kit.driver->begin(c);

	if (ret == DB_OK)
		ret = kit.driver->upsert(c, &kit.table, v, n);
	if (ret == DB_OK)
		ret = kit.driver->commit(c);
	if (ret == DB_REFUSED)
		kit_ok(c, kit.driver->rollback(c));
	return ret;
}

void kit_fill(struct db_conn *c, const char *node, int64_t first, unsigned n)
{
	struct db_value v[DB_BATCH_MAX][DLG_ROW_N];
	char callid[DB_BATCH_MAX][32];

	while (n) {
		unsigned step = n < DB_BATCH_MAX ? n : DB_BATCH_MAX;

		for (unsigned i = 0; i < step; i++) {
			kit_row(v[i], node, first % 4096, first + i);
			snprintf(callid[i], sizeof(callid[i]), "callid-%lld", (long long)first + i);
			v[i][DLG_ROW_callid] = db_text(dlg_str_of(callid[i]));
		}
		kit_ok(c, kit_write(c, v[0], step));
		first += step;
		n -= step;
	}
}

uint64_t kit_count(struct db_conn *c, const char *node)
{
	uint64_t n = 0;

	kit_ok(c, kit.driver->count(c, &kit.table, dlg_str_of(node), &n));
	return n;
}

struct wanted {
	int64_t h_id;
	struct db_value *out;
	struct dlg_buf texts[DLG_ROW_N];
	int found;
};

static int take_row(const struct db_value *v, void *arg)
{
	struct wanted *w = arg;

	if (v[DLG_ROW_h_id].kind != DB_INT || v[DLG_ROW_h_id].number != w->h_id)
		return 0;
	w->found++;
	for (unsigned i = 0; i < DLG_ROW_N; i++) {
		w->out[i] = v[i];
		if (v[i].kind != DB_TEXT)
			continue;
		dlg_buf_reset(&w->texts[i]);
		dlg_buf_add(&w->texts[i], v[i].text);
		w->out[i].text = dlg_buf_view(&w->texts[i]);
	}
	return 0;
}

int kit_read(struct db_conn *c, const char *node, int64_t h_id, struct db_value out[DLG_ROW_N])
{
	static struct wanted w;

	w.h_id = h_id;
	w.out = out;
	w.found = 0;
	kit_ok(c, kit.driver->select(c, &kit.table, dlg_str_of(node), take_row, &w));
	return w.found;
}

double kit_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

TCase *kit_case(const char *name, double seconds, unsigned timeout_ms)
{
	TCase *tcase;

	read_env();
	kit.timeout_ms = timeout_ms;
	snprintf(case_name, sizeof(case_name), "%s, %s", name, kit.kind);
	tcase = tcase_create(case_name);
	tcase_set_timeout(tcase, seconds);
	tcase_add_checked_fixture(tcase, kit_start, NULL);
	return tcase;
}

void kit_add(TCase *tcase, const TTest *const *tests)
{
	for (; *tests; tests++)
		tcase_add_test(tcase, *tests);
}

int kit_run(TCase *tcase)
{
	return unit_run_case(case_name, tcase);
}

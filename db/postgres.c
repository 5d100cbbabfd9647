/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PostgreSQL, through libpq without ever waiting in it: each call has a deadline. */
#include "sql.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { PARAMS_MAX = DB_BATCH_MAX * DB_COLUMNS_MAX, NUMBER_LEN = 24 };

struct db_conn {
	PGconn *pg;
	unsigned timeout_ms;
	uint64_t deadline;
	int lost;
	unsigned char upsert[DB_SQL_STEPS], remove[DB_SQL_STEPS]; /* prepared */
	char why[512];
	/* parameters of one statement */
	const char *param[PARAMS_MAX];
	int length[PARAMS_MAX];
	char number[PARAMS_MAX][NUMBER_LEN];
};

static const struct db_sql_dialect dialect = {
	.quote = '"',
	.numbered = 1,
	.on_conflict = " ON CONFLICT (%s) DO UPDATE SET ",
	.assignment = "$=excluded.$",
	.type = { "VARCHAR(64) NOT NULL", "BIGINT NOT NULL", "BIGINT", "TEXT" },
	.using = " USING hash", /* a tree takes no text above 2.7 KB */
	.key_len = "",
	.table_options = "",
	.dual = "",
};

/* ---- time and errors ---- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void start_clock(struct db_conn *c)
{
	c->deadline = now_ms() + c->timeout_ms;
}

static const char *error(struct db_conn *c)
{
	return c->why;
}

/* Messages of PostgreSQL have several lines. */
static void note(struct db_conn *c, const char *text)
{
	snprintf(c->why, sizeof(c->why), "%s", text && *text ? text : "unknown error");
	for (char *p = c->why; *p; p++) {
		if (*p == '\n' || *p == '\t')
			*p = p[1] ? ' ' : '\0';
	}
}

static enum db_result lost(struct db_conn *c)
{
	note(c, PQerrorMessage(c->pg));
	c->lost = 1;
	return DB_LOST;
}

static enum db_result too_slow(struct db_conn *c)
{
	snprintf(c->why, sizeof(c->why), "no answer within %u ms", c->timeout_ms);
	c->lost = 1;
	return DB_LOST;
}

/* Wait until the socket is ready. 0, or -1 when the time is over. */
static int await(struct db_conn *c, short events)
{
	for (;;) {
		struct pollfd p = { .fd = PQsocket(c->pg), .events = events };
		uint64_t now = now_ms();
		int n;

		if (p.fd < 0 || now >= c->deadline)
			return -1;
		n = poll(&p, 1, (int)(c->deadline - now));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -1;
	}
}

/* Everything that was queued leaves. */
static enum db_result push_out(struct db_conn *c)
{
	int left;

	while ((left = PQflush(c->pg)) > 0) {
		if (await(c, POLLIN | POLLOUT) < 0)
			return too_slow(c);
		if (!PQconsumeInput(c->pg))
			return lost(c);
	}
	return left < 0 ? lost(c) : DB_OK;
}

/* The next result is there, or all were. */
static enum db_result pull_in(struct db_conn *c)
{
	while (PQisBusy(c->pg)) {
		if (await(c, POLLIN) < 0)
			return too_slow(c);
		if (!PQconsumeInput(c->pg))
			return lost(c);
	}
	return DB_OK;
}

/* Classes of SQLSTATE that lie in a row itself: two rows of one key at once, data, constraints,
 * views with CHECK OPTION, limits of the program; and what triggers raise. */
static int is_of_contents(const char *state)
{
	static const char *const classes[] = { "21", "22", "23", "44", "54", "P0001" };

	for (size_t i = 0; state && i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (!strncmp(state, classes[i], strlen(classes[i])))
			return 1;
	}
	return 0;
}

/* Conflicts of transactions, and deadlocks. */
static int is_of_others(const char *state)
{
	return state && (!strcmp(state, "40001") || !strcmp(state, "40P01"));
}

/* What a finished statement says. */
static enum db_result judge(struct db_conn *c, const PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE)
		return DB_OK;
	note(c, PQresultErrorMessage(r));
	if (is_of_contents(state))
		return DB_REFUSED;
	return is_of_others(state) ? DB_AGAIN : DB_LOST;
}

/* Results are handed to this one after the other. Nonzero: no more are wanted. */
typedef int result_fn(PGresult *r, void *arg);

/* All results of a statement that was sent; the first failure counts. */
static enum db_result finish(struct db_conn *c, result_fn *fn, void *arg)
{
	enum db_result ret = push_out(c), one;
	int enough = 0;
	PGresult *r;

	if (ret != DB_OK)
		return ret;
	for (;;) {
		if (pull_in(c) != DB_OK)
			return DB_LOST;
		r = PQgetResult(c->pg);
		if (!r)
			return ret;
		one = judge(c, r);
		ret = ret == DB_OK ? one : ret;
		if (fn && !enough && ret == DB_OK)
			enough = fn(r, arg);
		PQclear(r);
		start_clock(c); /* a long result may take its time as long as it comes */
	}
}

static enum db_result run(struct db_conn *c, const char *sql)
{
	start_clock(c);
	return PQsendQuery(c->pg, sql) ? finish(c, NULL, NULL) : lost(c);
}

/* ---- connections ---- */

/* With `on`, what was not sent yet when the socket is closed is thrown away: a server that wakes up
 * late, or a network that comes back, must not deliver it after what the next connection wrote. */
static void throw_away(struct db_conn *c, int on)
{
	struct linger linger = { .l_onoff = on };

	setsockopt(PQsocket(c->pg), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void close_it(struct db_conn *c)
{
	if (c->pg && !c->lost)
		throw_away(c, 0);
	PQfinish(c->pg);
	free(c);
}

/* A lock that somebody else keeps ends the statement before the time does, so that no session is
 * left behind waiting for it. */
static enum db_result set_session(struct db_conn *c)
{
	char sql[64];

	if (PQsetnonblocking(c->pg, 1))
		return lost(c);
	snprintf(sql, sizeof(sql), "SET lock_timeout=%u", c->timeout_ms - c->timeout_ms / 4);
	return run(c, sql);
}

static enum db_result wait_connected(struct db_conn *c)
{
	PostgresPollingStatusType want = PGRES_POLLING_WRITING;

	while (want != PGRES_POLLING_OK) {
		if (want == PGRES_POLLING_FAILED)
			return lost(c);
		if (await(c, want == PGRES_POLLING_READING ? POLLIN : POLLOUT) < 0)
			return too_slow(c);
		want = PQconnectPoll(c->pg);
	}
	throw_away(c, 1);
	return DB_OK;
}

static void ignore_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

static enum db_result connect_it(struct db_conn *c, const struct db_url *url)
{
	enum db_result ret;
	char port[16] = "";
	const char *names[] = { "host", "port", "user", "password", "dbname", "client_encoding",
				"application_name", "gssencmode", NULL };
	const char *values[] = { url->host, port, url->user, url->password, url->database, "UTF8",
				 "dialog", "disable", NULL };

	if (url->port)
		snprintf(port, sizeof(port), "%u", url->port);
	start_clock(c);
	c->pg = PQconnectStartParams(names, values, 0);
	if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD)
		return lost(c);
	PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
	ret = wait_connected(c);
	return ret == DB_OK ? set_session(c) : ret;
}

static enum db_result open_it(const struct db_url *url, struct db_conn **conn, char *why,
			      size_t size)
{
	struct db_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		snprintf(why, size, "no memory");
		return DB_LOST;
	}
	c->timeout_ms = url->timeout_ms;
	if (connect_it(c, url) != DB_OK) {
		snprintf(why, size, "%s", c->why);
		close_it(c);
		return DB_LOST;
	}
	*conn = c;
	return DB_OK;
}

static enum db_result begin(struct db_conn *c)
{
	return run(c, "BEGIN");
}

static int see_tag(PGresult *r, void *arg)
{
	*(int *)arg = !strcmp(PQcmdStatus(r), "COMMIT");
	return 0;
}

/* To commit a transaction that failed is a rollback, and no error, to PostgreSQL. */
static enum db_result commit(struct db_conn *c)
{
	enum db_result ret;
	int done = 0;

	start_clock(c);
	ret = PQsendQuery(c->pg, "COMMIT") ? finish(c, see_tag, &done) : lost(c);
	if (ret != DB_OK || done)
		return ret;
	note(c, "the transaction had failed and is rolled back");
	return DB_LOST;
}

static enum db_result rollback(struct db_conn *c)
{
	return run(c, "ROLLBACK");
}

/* ---- statements ---- */

/* Text format for everything: it is what the server keeps. */
static void bind_value(struct db_conn *c, unsigned i, const struct db_value *v)
{
	c->param[i] = NULL;
	if (v->kind == DB_INT) {
		c->length[i] = snprintf(c->number[i], NUMBER_LEN, "%lld", (long long)v->number);
		c->param[i] = c->number[i];
	}
}

/* Texts of libpq end with NUL; ours are views, copied into one buffer. Numbers stand in their
 * own. */
static int bind_all(struct db_conn *c, const struct db_value *values, unsigned n,
		    struct dlg_buf *texts)
{
	size_t at = 0;

	for (unsigned i = 0; i < n; i++) {
		bind_value(c, i, &values[i]);
		if (values[i].kind != DB_TEXT)
			continue;
		dlg_buf_add(texts, values[i].text);
		dlg_buf_add(texts, (struct dlg_str){ "", 1 });
	}
	for (unsigned i = 0; i < n && !texts->failed; i++) {
		if (values[i].kind != DB_TEXT)
			continue;
		c->param[i] = texts->s + at;
		c->length[i] = (int)values[i].text.len;
		at += values[i].text.len + 1;
	}
	return texts->failed ? -1 : 0;
}

static enum db_result execute(struct db_conn *c, const char *name, const struct db_value *values,
			      unsigned n)
{
	struct dlg_buf texts = { 0 };
	enum db_result ret = DB_LOST;

	start_clock(c);
	if (bind_all(c, values, n, &texts) < 0)
		note(c, "no memory");
	else if (!PQsendQueryPrepared(c->pg, name, (int)n, c->param, c->length, NULL, 0))
		ret = lost(c);
	else
		ret = finish(c, NULL, NULL);
	dlg_buf_free(&texts);
	return ret;
}

typedef void write_fn(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		      unsigned rows);

static enum db_result prepare(struct db_conn *c, const char *name, write_fn *write,
			      const struct db_table *t, unsigned rows)
{
	struct dlg_buf sql = { 0 };
	enum db_result ret = DB_LOST;

	write(&dialect, &sql, t, rows);
	dlg_buf_add(&sql, (struct dlg_str){ "", 1 });
	start_clock(c);
	if (sql.failed)
		note(c, "no memory");
	else if (!PQsendPrepare(c->pg, name, sql.s, 0, NULL))
		ret = lost(c);
	else
		ret = finish(c, NULL, NULL);
	dlg_buf_free(&sql);
	return ret;
}

/* One step of a batch by the statement `what` for that many rows. */
static enum db_result one_step(struct db_conn *c, unsigned char *prepared, char what,
			       write_fn *write, const struct db_table *t,
			       const struct db_value *values, unsigned width, unsigned step)
{
	unsigned char *ready = &prepared[db_sql_index(step)];
	char name[16];
	enum db_result ret;

	snprintf(name, sizeof(name), "%c%u", what, step);
	if (!*ready) {
		ret = prepare(c, name, write, t, step);
		if (ret != DB_OK)
			return ret;
		*ready = 1;
	}
	return execute(c, name, values, step * width);
}

static enum db_result upsert(struct db_conn *c, const struct db_table *t,
			     const struct db_value *values, unsigned n_rows)
{
	enum db_result ret = DB_OK;

	for (unsigned step; (step = db_sql_step(n_rows)) && ret == DB_OK; n_rows -= step) {
		ret = one_step(c, c->upsert, 'u', db_sql_upsert, t, values, t->n_columns, step);
		values += (size_t)step * t->n_columns;
	}
	return ret;
}

static enum db_result remove_rows(struct db_conn *c, const struct db_table *t,
				  const struct db_value *keys, unsigned n_rows)
{
	enum db_result ret = DB_OK;

	for (unsigned step; (step = db_sql_step(n_rows)) && ret == DB_OK; n_rows -= step) {
		ret = one_step(c, c->remove, 'r', db_sql_remove, t, keys, t->n_keys, step);
		keys += (size_t)step * t->n_keys;
	}
	return ret;
}

/* ---- reading ---- */

struct reader {
	db_row_fn *fn;
	void *arg;
};

enum { OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23 };

static struct db_value value_at(const PGresult *r, int row, int column)
{
	const char *text = PQgetvalue(r, row, column);
	Oid type = PQftype(r, column);

	if (PQgetisnull(r, row, column))
		return db_null();
	if (type == OID_INT8 || type == OID_INT4 || type == OID_INT2)
		return db_int(strtoll(text, NULL, 10));
	return db_text((struct dlg_str){ text, (size_t)PQgetlength(r, row, column) });
}

static int read_result(PGresult *r, void *arg)
{
	struct reader *reader = arg;
	struct db_value row[DB_COLUMNS_MAX];
	int n = PQnfields(r);

	for (int i = 0; i < PQntuples(r); i++) {
		for (int k = 0; k < n; k++)
			row[k] = value_at(r, i, k);
		if (reader->fn(row, reader->arg))
			return 1;
	}
	return 0;
}

/* A query with one text bound to it, row by row. */
static enum db_result query(struct db_conn *c, struct dlg_buf *sql, struct dlg_str bound,
			    db_row_fn *fn, void *arg)
{
	struct reader reader = { fn, arg };
	struct db_value v = db_text(bound);
	struct dlg_buf text = { 0 };
	enum db_result ret = DB_LOST;

	dlg_buf_add(sql, (struct dlg_str){ "", 1 });
	start_clock(c);
	if (bind_all(c, &v, 1, &text) < 0 || sql->failed)
		note(c, "no memory");
	else if (!PQsendQueryParams(c->pg, sql->s, 1, NULL, c->param, c->length, NULL, 0) ||
		 !PQsetSingleRowMode(c->pg))
		ret = lost(c);
	else
		ret = finish(c, read_result, &reader);
	dlg_buf_free(&text);
	dlg_buf_free(sql);
	return ret;
}

static enum db_result select_rows(struct db_conn *c, const struct db_table *t, struct dlg_str node,
				  db_row_fn *fn, void *arg)
{
	return db_sql_read_rows(&dialect, query, c, t, node, fn, arg);
}

static enum db_result count(struct db_conn *c, const struct db_table *t, struct dlg_str node,
			    uint64_t *out)
{
	return db_sql_read_count(&dialect, query, c, t, node, out);
}

static enum db_result columns(struct db_conn *c, const char *table, db_row_fn *fn, void *arg)
{
	struct dlg_buf sql = { 0 };

	/* information_schema hides what one has no rights to: that is not the same as not being
	 * there */
	dlg_buf_add(&sql,
		    DLG_STR("SELECT attname::text FROM pg_attribute WHERE attrelid="
			    "to_regclass(quote_ident($1)) AND attnum>0 AND NOT attisdropped"));
	return query(c, &sql, dlg_str_of(table), fn, arg);
}

/* A view has the key of its table, or none: that is its maker's affair. */
static enum db_result keyed(struct db_conn *c, const struct db_table *t, int *out)
{
	static const char pattern[] =
		"SELECT count(*) FROM pg_class r WHERE r.oid=to_regclass(quote_ident($1)) AND "
		"(r.relkind='v' OR EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid=r.oid AND "
		"i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indnatts=# AND "
		"(SELECT count(*) FROM pg_attribute a WHERE a.attrelid=r.oid AND "
		"a.attnum=ANY(i.indkey) AND a.attname IN (@))=#))";

	return db_sql_read_keyed(query, pattern, c, t, out);
}

static enum db_result version(struct db_conn *c, const char *table, unsigned *out)
{
	return db_sql_read_version(&dialect, query, c, table, columns, out);
}

static void schema(const struct db_table *t, struct dlg_buf *out)
{
	db_sql_create(&dialect, out, t, 0);
}

static enum db_result create(struct db_conn *c, const struct db_table *t)
{
	struct dlg_buf sql = { 0 };
	enum db_result ret;

	schema(t, &sql);
	if (sql.failed)
		note(c, "no memory");
	ret = sql.failed ? DB_LOST : run(c, sql.s);
	dlg_buf_free(&sql);
	return ret;
}

__attribute__((visibility("default"))) extern const struct db_driver DB_DRIVER_SYMBOL;
const struct db_driver DB_DRIVER_SYMBOL = {
	.abi = DB_DRIVER_ABI, .size = sizeof(struct db_driver), .name = "postgres",
	.schemes = "postgres postgresql", .open = open_it, .close = close_it, .error = error,
	.begin = begin, .commit = commit, .rollback = rollback, .upsert = upsert,
	.remove = remove_rows, .select = select_rows, .count = count, .columns = columns, .keyed = keyed,
	.version = version, .create = create, .schema = schema,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MySQL and MariaDB, through the libmysqlclient API of libmariadb. */
#include "sql.h"

#include <mysql.h>
#include <mysqld_error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { PARAMS_MAX = DB_BATCH_MAX * DB_COLUMNS_MAX, BUFFER = 4096, PACKET_SPARE = 65536,
       IDLE_S = 604800 };

struct db_conn {
	MYSQL *my;
	int lost; /* it is not to be told goodbye */
	MYSQL_STMT *upsert[DB_SQL_STEPS], *remove[DB_SQL_STEPS]; /* by number of rows */
	uint64_t packet_max;
	char why[512];
	MYSQL_BIND bind[PARAMS_MAX];
	long long number[PARAMS_MAX];
};

static const struct db_sql_dialect dialect = {
	.quote = '`',
	.on_conflict = " ON DUPLICATE KEY UPDATE ",
	.assignment = "$=VALUES($)",
	.type = { "VARCHAR(64) NOT NULL", "BIGINT NOT NULL", "BIGINT", "MEDIUMTEXT" },
	.using = "",
	.key_len = "(191)",
	.table_options = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
	.dual = " FROM DUAL",
};

/* ---- errors ---- */

static const char *error(struct db_conn *c)
{
	return c->why;
}

/* Errors that lie in a row's contents but have no SQLSTATE that says so. */
static const unsigned of_contents[] = {
	ER_TRUNCATED_WRONG_VALUE_FOR_FIELD,
	ER_TOO_BIG_ROWSIZE,
	ER_TOO_LONG_KEY,
	ER_VIEW_CHECK_FAILED,
	3819 /* MySQL: CHECK */,
};

/* Classes of SQLSTATE that lie in a row itself: data, constraints, views with CHECK OPTION, and
 * what triggers signal. */
static int is_of_contents(const char *state, unsigned number)
{
	static const char *const classes[] = { "22", "23", "44", "45" };

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (!strncmp(state, classes[i], 2))
			return 1;
	}
	for (size_t i = 0; i < sizeof(of_contents) / sizeof(of_contents[0]); i++) {
		if (of_contents[i] == number)
			return 1;
	}
	return 0;
}

static enum db_result failed(struct db_conn *c, const char *text, const char *state,
			     unsigned number)
{
	snprintf(c->why, sizeof(c->why), "%s (%u)", *text ? text : "unknown error", number);
	if (is_of_contents(state, number))
		return DB_REFUSED;
	if (!strcmp(state, "40001"))
		return DB_AGAIN;
	c->lost = 1;
	return DB_LOST;
}

static enum db_result conn_failed(struct db_conn *c)
{
	return failed(c, mysql_error(c->my), mysql_sqlstate(c->my), mysql_errno(c->my));
}

static enum db_result stmt_failed(struct db_conn *c, MYSQL_STMT *s)
{
	return failed(c, mysql_stmt_error(s), mysql_stmt_sqlstate(s), mysql_stmt_errno(s));
}

static enum db_result no_memory(struct db_conn *c)
{
	snprintf(c->why, sizeof(c->why), "no memory");
	return DB_LOST;
}

static enum db_result run(struct db_conn *c, const char *sql, size_t len)
{
	MYSQL_RES *r;

	if (mysql_real_query(c->my, sql, (unsigned long)len))
		return conn_failed(c);
	r = mysql_store_result(c->my);
	if (r)
		mysql_free_result(r);
	return DB_OK;
}

#define RUN(c, sql) run(c, sql, sizeof(sql) - 1)

/* ---- connections ---- */

/* With `on`, what was not sent yet when the socket is closed is thrown away: a server that wakes up
 * late, or a network that comes back, must not deliver it after what the next connection wrote. The
 * library closes the socket by itself when time is over. */
static void throw_away(struct db_conn *c, int on)
{
	struct linger linger = { .l_onoff = on };

	setsockopt(mysql_get_socket(c->my), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* Only a server that listens is told that statements and connection end. */
static void end_socket(struct db_conn *c)
{
	int fd = mysql_get_socket(c->my);

	if (fd >= 0 && c->lost)
		shutdown(fd, SHUT_RDWR);
	else if (fd >= 0)
		throw_away(c, 0);
}

static void close_it(struct db_conn *c)
{
	if (c->my)
		end_socket(c);
	for (int i = 0; i < DB_SQL_STEPS; i++) {
		if (c->upsert[i])
			mysql_stmt_close(c->upsert[i]);
		if (c->remove[i])
			mysql_stmt_close(c->remove[i]);
	}
	if (c->my)
		mysql_close(c->my);
	free(c);
}

static unsigned in_seconds(const struct db_url *url)
{
	return (url->timeout_ms + 999) / 1000;
}

static int set_options(struct db_conn *c, const struct db_url *url)
{
	unsigned seconds = in_seconds(url), no = 0, tcp = MYSQL_PROTOCOL_TCP;
	int err = 0;

	/* "localhost" means the Unix socket to this library, unless a port is wanted */
	if (url->port && url->host[0] != '/')
		err |= mysql_options(c->my, MYSQL_OPT_PROTOCOL, &tcp);
	err |= mysql_options(c->my, MYSQL_OPT_LOCAL_INFILE, &no);
	err |= mysql_options(c->my, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
	err |= mysql_options(c->my, MYSQL_OPT_READ_TIMEOUT, &seconds);
	err |= mysql_options(c->my, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
	err |= mysql_options(c->my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	return err;
}

/* A larger packet would end the connection instead of being refused. */
static enum db_result ask_packet_max(struct db_conn *c)
{
	MYSQL_RES *r;
	MYSQL_ROW row;

	if (mysql_query(c->my, "SELECT @@max_allowed_packet"))
		return conn_failed(c);
	r = mysql_store_result(c->my);
	row = r ? mysql_fetch_row(r) : NULL;
	c->packet_max = row && row[0] ? strtoull(row[0], NULL, 10) : 1 << 20;
	if (r)
		mysql_free_result(r);
	return DB_OK;
}

/* Nothing is stored cut or changed, whatever the server's configuration says; and a lock that
 * somebody else keeps ends the statement before the time does, so that no session is left behind
 * waiting for it. In a quiet night the connection stays. */
static enum db_result set_session(struct db_conn *c, unsigned seconds)
{
	char sql[256];
	int n = snprintf(sql, sizeof(sql),
			 "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
			 "autocommit=1, innodb_lock_wait_timeout=%u, lock_wait_timeout=%u, "
			 "wait_timeout=%d",
			 seconds > 1 ? seconds - 1 : 1, seconds > 1 ? seconds - 1 : 1, IDLE_S);

	return run(c, sql, (size_t)n);
}

/* The library has SIGPIPE ignored when it is used first; that is the process's own affair, and the
 * library sends with MSG_NOSIGNAL anyway. */
static MYSQL *init(void)
{
	struct sigaction pipe;
	MYSQL *my;

	sigaction(SIGPIPE, NULL, &pipe);
	my = mysql_init(NULL);
	sigaction(SIGPIPE, &pipe, NULL);
	return my;
}

static enum db_result connect_it(struct db_conn *c, const struct db_url *url)
{
	enum db_result ret;
	int path = url->host[0] == '/';

	c->my = init();
	if (!c->my || set_options(c, url))
		return no_memory(c);
	if (!mysql_real_connect(c->my, path || !url->host[0] ? NULL : url->host, url->user,
				url->password, url->database, url->port, path ? url->host : NULL,
				0))
		return conn_failed(c);
	throw_away(c, 1);
	ret = set_session(c, in_seconds(url));
	return ret == DB_OK ? ask_packet_max(c) : ret;
}

static enum db_result open_it(const struct db_url *url, struct db_conn **conn, char *why,
			      size_t size)
{
	struct db_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		snprintf(why, size, "no memory");
		return DB_LOST;
	}
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
	return RUN(c, "START TRANSACTION");
}

static enum db_result commit(struct db_conn *c)
{
	return RUN(c, "COMMIT");
}

static enum db_result rollback(struct db_conn *c)
{
	return RUN(c, "ROLLBACK");
}

/* ---- statements ---- */

static enum db_result prepare(struct db_conn *c, const struct dlg_buf *sql, MYSQL_STMT **out)
{
	MYSQL_STMT *s = sql->failed ? NULL : mysql_stmt_init(c->my);
	enum db_result ret;

	*out = NULL;
	if (!s)
		return no_memory(c);
	if (mysql_stmt_prepare(s, sql->s, (unsigned long)sql->len)) {
		ret = stmt_failed(c, s);
		mysql_stmt_close(s);
		return ret;
	}
	*out = s;
	return DB_OK;
}

typedef void write_fn(const struct db_sql_dialect *d, struct dlg_buf *out, const struct db_table *t,
		      unsigned rows);

/* The statement for that many rows, prepared when it is needed first. */
static enum db_result statement(struct db_conn *c, MYSQL_STMT **kept, write_fn *write,
				const struct db_table *t, unsigned rows, MYSQL_STMT **out)
{
	MYSQL_STMT **s = &kept[db_sql_index(rows)];
	struct dlg_buf sql = { 0 };
	enum db_result ret = DB_OK;

	if (!*s) {
		write(&dialect, &sql, t, rows);
		ret = prepare(c, &sql, s);
		dlg_buf_free(&sql);
	}
	*out = *s;
	return ret;
}

static void bind_value(struct db_conn *c, unsigned i, const struct db_value *v)
{
	MYSQL_BIND *b = &c->bind[i];

	memset(b, 0, sizeof(*b));
	switch (v->kind) {
	case DB_INT:
		c->number[i] = v->number;
		b->buffer_type = MYSQL_TYPE_LONGLONG;
		b->buffer = &c->number[i];
		break;
	case DB_TEXT:
		b->buffer_type = MYSQL_TYPE_STRING;
		b->buffer = (void *)(v->text.s ? v->text.s : "");
		b->buffer_length = (unsigned long)v->text.len;
		break;
	default:
		b->buffer_type = MYSQL_TYPE_NULL;
	}
}

static enum db_result execute(struct db_conn *c, MYSQL_STMT *s, const struct db_value *values,
			      unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bind_value(c, i, &values[i]);
	if (mysql_stmt_bind_param(s, c->bind) || mysql_stmt_execute(s))
		return stmt_failed(c, s);
	return DB_OK;
}

static uint64_t bytes_of(const struct db_value *values, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += 16 + (values[i].kind == DB_TEXT ? values[i].text.len : 0);
	return bytes;
}

/* Rows of the next statement: as many as one packet holds. 0: not even one fits. */
static unsigned next_step(struct db_conn *c, const struct db_value *values, unsigned width,
			  unsigned left)
{
	unsigned step = db_sql_step(left);

	while (step && bytes_of(values, step * width) + PACKET_SPARE > c->packet_max)
		step /= 2;
	return step;
}

static enum db_result in_steps(struct db_conn *c, MYSQL_STMT **kept, write_fn *write,
			       const struct db_table *t, const struct db_value *values,
			       unsigned width, unsigned n_rows)
{
	enum db_result ret = DB_OK;
	MYSQL_STMT *s;

	while (n_rows && ret == DB_OK) {
		unsigned step = next_step(c, values, width, n_rows);

		if (!step) {
			snprintf(c->why, sizeof(c->why),
				 "a row of %llu bytes exceeds max_allowed_packet",
				 (unsigned long long)bytes_of(values, width));
			return DB_REFUSED;
		}
		ret = statement(c, kept, write, t, step, &s);
		if (ret == DB_OK)
			ret = execute(c, s, values, step * width);
		values += (size_t)step * width;
		n_rows -= step;
	}
	return ret;
}

static enum db_result upsert(struct db_conn *c, const struct db_table *t,
			     const struct db_value *values, unsigned n_rows)
{
	return in_steps(c, c->upsert, db_sql_upsert, t, values, t->n_columns, n_rows);
}

static enum db_result remove_rows(struct db_conn *c, const struct db_table *t,
				  const struct db_value *keys, unsigned n_rows)
{
	return in_steps(c, c->remove, db_sql_remove, t, keys, t->n_keys, n_rows);
}

/* ---- reading ---- */

/* Where the columns of a row arrive. Longer texts are fetched again into `more`. */
struct row {
	MYSQL_BIND bind[DB_COLUMNS_MAX];
	unsigned long length[DB_COLUMNS_MAX];
	my_bool null[DB_COLUMNS_MAX];
	long long number[DB_COLUMNS_MAX];
	char text[DB_COLUMNS_MAX][BUFFER];
	char *more[DB_COLUMNS_MAX];
	unsigned n;
};

static int is_integer(enum enum_field_types type)
{
	return type == MYSQL_TYPE_TINY || type == MYSQL_TYPE_SHORT || type == MYSQL_TYPE_INT24 ||
	       type == MYSQL_TYPE_LONG || type == MYSQL_TYPE_LONGLONG;
}

static void bind_column(struct row *r, unsigned i, enum enum_field_types type)
{
	MYSQL_BIND *b = &r->bind[i];

	b->is_null = &r->null[i];
	b->length = &r->length[i];
	b->buffer_type = is_integer(type) ? MYSQL_TYPE_LONGLONG : MYSQL_TYPE_STRING;
	b->buffer = is_integer(type) ? (void *)&r->number[i] : r->text[i];
	b->buffer_length = is_integer(type) ? sizeof(r->number[i]) : BUFFER;
}

static enum db_result bind_row(struct db_conn *c, MYSQL_STMT *s, struct row *r)
{
	MYSQL_RES *meta = mysql_stmt_result_metadata(s);
	MYSQL_FIELD *field;

	if (!meta)
		return stmt_failed(c, s);
	for (r->n = 0; r->n < DB_COLUMNS_MAX && (field = mysql_fetch_field(meta)); r->n++)
		bind_column(r, r->n, field->type);
	mysql_free_result(meta);
	return mysql_stmt_bind_result(s, r->bind) ? stmt_failed(c, s) : DB_OK;
}

/* A text that did not fit. */
static int fetch_long(MYSQL_STMT *s, struct row *r, unsigned i)
{
	MYSQL_BIND b = { .buffer_type = MYSQL_TYPE_STRING, .buffer_length = r->length[i],
			 .length = &r->length[i] };

	free(r->more[i]);
	r->more[i] = malloc(r->length[i]);
	b.buffer = r->more[i];
	return !b.buffer || mysql_stmt_fetch_column(s, &b, i, 0) ? -1 : 0;
}

static int take_value(MYSQL_STMT *s, struct row *r, unsigned i, struct db_value *out)
{
	const char *text = r->text[i];

	if (r->null[i]) {
		*out = db_null();
	} else if (r->bind[i].buffer_type == MYSQL_TYPE_LONGLONG) {
		*out = db_int(r->number[i]);
	} else {
		if (r->length[i] > BUFFER) {
			if (fetch_long(s, r, i) < 0)
				return -1;
			text = r->more[i];
		}
		*out = db_text((struct dlg_str){ text, r->length[i] });
	}
	return 0;
}

static enum db_result read_rows(struct db_conn *c, MYSQL_STMT *s, struct row *r, db_row_fn *fn,
				void *arg)
{
	struct db_value values[DB_COLUMNS_MAX] = { 0 };
	int got;

	while ((got = mysql_stmt_fetch(s)) == 0 || got == MYSQL_DATA_TRUNCATED) {
		for (unsigned i = 0; i < r->n; i++) {
			if (take_value(s, r, i, &values[i]) < 0)
				return stmt_failed(c, s);
		}
		if (fn(values, arg))
			return DB_OK;
	}
	return got == MYSQL_NO_DATA ? DB_OK : stmt_failed(c, s);
}

static enum db_result query_prepared(struct db_conn *c, MYSQL_STMT *s, struct dlg_str bound,
				     db_row_fn *fn, void *arg)
{
	struct row *r = calloc(1, sizeof(*r));
	struct db_value v = db_text(bound);
	enum db_result ret = r ? execute(c, s, &v, 1) : no_memory(c);

	if (ret == DB_OK)
		ret = bind_row(c, s, r);
	if (ret == DB_OK)
		ret = read_rows(c, s, r, fn, arg);
	for (unsigned i = 0; r && i < r->n; i++)
		free(r->more[i]);
	free(r);
	return ret;
}

/* A query with one text bound to it, row by row as they come. */
static enum db_result query(struct db_conn *c, struct dlg_buf *sql, struct dlg_str bound,
			    db_row_fn *fn, void *arg)
{
	MYSQL_STMT *s;
	enum db_result ret = prepare(c, sql, &s);

	dlg_buf_free(sql);
	if (ret != DB_OK)
		return ret;
	ret = query_prepared(c, s, bound, fn, arg);
	mysql_stmt_close(s);
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

	dlg_buf_add(&sql, DLG_STR("SELECT column_name FROM information_schema.columns "
				  "WHERE table_schema=database() AND table_name=?"));
	return query(c, &sql, dlg_str_of(table), fn, arg);
}

/* A view has the key of its table, or none: that is its maker's affair. */
static enum db_result keyed(struct db_conn *c, const struct db_table *t, int *out)
{
	static const char pattern[] =
		"SELECT count(*) FROM information_schema.tables t "
		"WHERE t.table_schema=database() AND t.table_name=? AND (t.table_type='VIEW' OR "
		"EXISTS (SELECT 1 FROM information_schema.statistics s "
		"WHERE s.table_schema=t.table_schema AND s.table_name=t.table_name AND "
		"s.non_unique=0 GROUP BY s.index_name HAVING count(*)=# AND "
		"sum(s.sub_part IS NULL)=# AND sum(s.column_name IN (@))=#))";

	return db_sql_read_keyed(query, pattern, c, t, out);
}

static enum db_result version(struct db_conn *c, const char *table, unsigned *out)
{
	return db_sql_read_version(&dialect, query, c, table, columns, out);
}

static void schema(const struct db_table *t, struct dlg_buf *out)
{
	db_sql_create(&dialect, out, t, 1);
}

/* One statement after the other. */
static enum db_result create(struct db_conn *c, const struct db_table *t)
{
	struct dlg_buf sql = { 0 };
	enum db_result ret = DB_OK;

	schema(t, &sql);
	if (sql.failed)
		ret = no_memory(c);
	for (const char *at = sql.s, *end; ret == DB_OK && (end = strstr(at, ";\n")); at = end + 2)
		ret = run(c, at, (size_t)(end - at));
	dlg_buf_free(&sql);
	return ret;
}

__attribute__((visibility("default"))) extern const struct db_driver DB_DRIVER_SYMBOL;
const struct db_driver DB_DRIVER_SYMBOL = {
	.abi = DB_DRIVER_ABI, .size = sizeof(struct db_driver), .name = "mysql", .schemes = "mysql",
	.open = open_it, .close = close_it, .error = error, .begin = begin, .commit = commit,
	.rollback = rollback, .upsert = upsert, .remove = remove_rows, .select = select_rows,
	.count = count, .columns = columns, .keyed = keyed,
	.version = version, .create = create, .schema = schema,
};

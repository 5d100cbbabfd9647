/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_db_store.h"

#include "dialog.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 3, IDLE_MS = 10000, TRIES = 3 };

static struct db_column columns[DLG_ROW_N];
static struct db_table table = { .column = columns, .n_columns = DLG_ROW_N, .n_keys = KEYS,
				 .version = DLG_ROW_TABLE_VERSION };
static struct db_url url;
static const struct db_driver *driver;
static struct db_conn *conn; /* of this process */
static uint64_t last_used;   /* when it worked last; 0: it has not yet */
static char why[512];

/* ---- names ---- */

/* Each under its parameter's name until the value is known to be good. */
static void fill_columns(void)
{
	memcpy(columns, dlg_row_columns, sizeof(columns));
	for (int i = 0; i < DLG_ROW_N; i++)
		columns[i].name = dlg_row_params[i];
}

static int check_name(const char *param, const char *name)
{
	struct db_column one = { .name = name };
	struct db_table t = { .name = name, .column = &one, .n_columns = 1 };

	if (name && !db_table_check(&t))
		return 0;
	host_log(HOST_ERROR,
		 "parameter %s: bad value \"%s\": allowed are letters, digits and underscores, at most "
		 "%d",
		 param, name ? name : "", DB_NAME_MAX);
	return -1;
}

/* Two columns of one name would be written over each other. */
static int check_twins(unsigned i)
{
	for (unsigned j = 0; j < i; j++) {
		if (strcasecmp(columns[j].name, dialog_conf.column[i]))
			continue;
		host_log(HOST_ERROR,
			 "parameter %s: bad value \"%s\": allowed is a name that no other column has",
			 columns[i].name, dialog_conf.column[i]);
		return -1;
	}
	return 0;
}

static int check_names(void)
{
	fill_columns();
	if (check_name("table_name", dialog_conf.table_name) < 0)
		return -1;
	table.name = dialog_conf.table_name;
	for (unsigned i = 0; i < DLG_ROW_N; i++) {
		if (check_name(columns[i].name, dialog_conf.column[i]) < 0 || check_twins(i) < 0)
			return -1;
		columns[i].name = dialog_conf.column[i];
	}
	return 0;
}

/* ---- the driver ---- */

/* Where this module is: its drivers are beside it. */
static const char *own_directory(void)
{
	static char path[PATH_MAX];
	Dl_info info;

	if (dialog_conf.db_driver_dir)
		return dialog_conf.db_driver_dir;
	if (!dladdr((void *)(uintptr_t)&own_directory, &info) || !info.dli_fname)
		return ".";
	snprintf(path, sizeof(path), "%s", info.dli_fname);
	return dirname(path);
}

static int parse_url(void)
{
	const char *reason;

	db_url_free(&url);
	if (db_url_parse(dialog_conf.db_url, &url, &reason) == 0)
		return 0;
	/* the text may hold a password: it is not repeated */
	host_log(HOST_ERROR,
		 "parameter db_url: bad value: %s: allowed is "
		 "\"scheme://user:password@host:port/database\" or \"sqlite:///path\", special "
		 "characters as %%XX",
		 reason);
	return -1;
}

int dlg_db_store_init(void)
{
	if (check_names() < 0 || parse_url() < 0)
		return -1;
	driver = db_driver_load(own_directory(), url.scheme, why, sizeof(why));
	if (driver)
		return 0;
	host_log(HOST_ERROR, "parameter db_url: no driver for \"%s\": %s", url.plain, why);
	return -1;
}

const char *dlg_db_store_name(void)
{
	return url.plain ? url.plain : "";
}

/* ---- the connection ---- */

void dlg_db_store_hurry(unsigned ms)
{
	if (url.timeout_ms > ms)
		url.timeout_ms = ms;
}

int dlg_db_store_open(void)
{
	if (conn)
		return 0;
	last_used = 0;
	return driver->open(&url, &conn, why, sizeof(why)) == DB_OK ? 0 : -1;
}

void dlg_db_store_close(void)
{
	if (conn)
		driver->close(conn);
	conn = NULL;
}

int dlg_db_store_is_open(void)
{
	return conn != NULL;
}

const char *dlg_db_store_error(void)
{
	return why;
}

/* Keep the reason: the connection may be closed before it is printed. */
static enum db_result note(enum db_result result)
{
	if (result == DB_OK)
		last_used = host_mono_ms();
	else if (conn)
		snprintf(why, sizeof(why), "%s", driver->error(conn));
	return result;
}

/* An embedded database makes its table by itself. */
static int make_table(void)
{
	if (note(driver->create(conn, &table)) == DB_OK)
		return 0;
	host_log(HOST_ERROR, "database %s: the table \"%s\" cannot be made: %s", url.plain, table.name,
		 why);
	return -1;
}

int dlg_db_store_reopen(void)
{
	if (dlg_db_store_open() < 0)
		return -1;
	if (!driver->makes_tables || note(driver->create(conn, &table)) == DB_OK)
		return 0;
	dlg_db_store_close();
	return -1;
}

int dlg_db_store_check(void)
{
	if (driver->makes_tables && make_table() < 0)
		return -1;
	if (db_table_ready(driver, conn, &table, why, sizeof(why)) > 0)
		return 0;
	host_log(HOST_ERROR,
		 "database %s: %s: make the table with \"dlgctl db create URL\", or see "
		 "doc/database.md",
		 url.plain, why);
	return -1;
}

/* ---- writing ---- */

/* What a server did ten seconds ago is on its disk, so that nothing is lost with the connection. A
 * file has nobody who closes it. */
static int may_be_closed(void)
{
	return !driver->makes_tables && last_used && host_mono_ms() - last_used >= IDLE_MS;
}

/* A server, a pooler or a firewall may have closed what nobody used for a while. It is no outage if
 * another connection works. */
static enum db_result begin(void)
{
	int idle = may_be_closed();
	enum db_result r = driver->begin(conn);

	if (r == DB_OK || !idle)
		return r;
	dlg_db_store_close();
	return dlg_db_store_open() == 0 ? driver->begin(conn) : DB_LOST;
}

static enum db_result remove_dead(const struct dlg_db_name *dead, unsigned n)
{
	struct dlg_str node = dlg_str_of(dialog_conf.db_node ? dialog_conf.db_node : "");
	struct db_value keys[DLG_DB_STORE_BATCH][KEYS];

	if (!n)
		return DB_OK;
	for (unsigned i = 0; i < n; i++) {
		keys[i][0] = db_text(node);
		keys[i][1] = db_int(dead[i].h_entry);
		keys[i][2] = db_int(dead[i].h_id);
	}
	return driver->remove(conn, &table, keys[0], n);
}

static enum db_result write_once(const struct db_value (*rows)[DLG_ROW_N], unsigned n,
				 const struct dlg_db_name *dead, unsigned n_dead)
{
	enum db_result r = begin();

	if (r == DB_OK && n)
		r = driver->upsert(conn, &table, rows[0], n);
	if (r == DB_OK)
		r = remove_dead(dead, n_dead);
	return r == DB_OK ? driver->commit(conn) : r;
}

static enum db_result write_all(const struct db_value (*rows)[DLG_ROW_N], unsigned n,
				const struct dlg_db_name *dead, unsigned n_dead)
{
	enum db_result r = write_once(rows, n, dead, n_dead);

	for (int i = 1; r == DB_AGAIN && i < TRIES; i++) {
		if (driver->rollback(conn) != DB_OK)
			return DB_LOST;
		r = write_once(rows, n, dead, n_dead);
	}
	return r;
}

enum dlg_db_wrote dlg_db_store_write(const struct db_value (*rows)[DLG_ROW_N], unsigned n,
				     const struct dlg_db_name *dead, unsigned n_dead)
{
	switch (note(write_all(rows, n, dead, n_dead))) {
	case DB_OK:
		return DLG_DB_WROTE;
	case DB_REFUSED:
		return driver->rollback(conn) == DB_OK ? DLG_DB_REFUSED : DLG_DB_AWAY;
	default:
		return DLG_DB_AWAY;
	}
}

static enum db_result remove_all(dlg_db_store_next *next, void *arg)
{
	struct dlg_db_name names[DLG_DB_STORE_BATCH];
	enum db_result r = begin();
	unsigned n;

	while (r == DB_OK && (n = next(names, arg)))
		r = remove_dead(names, n);
	return r == DB_OK ? driver->commit(conn) : r;
}

int dlg_db_store_remove(dlg_db_store_next *next, void *arg)
{
	return note(remove_all(next, arg)) == DB_OK ? 0 : -1;
}

/* ---- reading ---- */

struct load {
	dlg_db_store_fn *fn;
	void *arg;
};

static int load_row(const struct db_value *values, void *arg)
{
	struct load *l = arg;

	l->fn(values, l->arg);
	return 0;
}

int dlg_db_store_load(dlg_db_store_fn *fn, void *arg)
{
	struct load l = { fn, arg };
	struct dlg_str node = dlg_str_of(dialog_conf.db_node ? dialog_conf.db_node : "");

	return note(driver->select(conn, &table, node, load_row, &l)) == DB_OK ? 0 : -1;
}

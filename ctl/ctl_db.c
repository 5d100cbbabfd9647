/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db create, db check: the table, without a proxy. */
#include "ctl.h"

#include "../dlg_hash.h"
#include "../dlg_row.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct db_column columns[DLG_ROW_N];
static struct db_table table = {
	.column = columns, .n_columns = DLG_ROW_N, .n_keys = 3, .version = DLG_ROW_TABLE_VERSION
};
static struct db_url url;
static const struct db_driver *driver;
static struct db_conn *conn;
static char why[512];

/* "callid_column=c_id,state_column=c_state": as the proxy's parameters. */
static int rename_columns(char *list)
{
	for (char *item = strtok(list, ","); item; item = strtok(NULL, ",")) {
		char *equals = strchr(item, '=');
		int i = 0;

		if (equals)
			*equals = '\0';
		while (i < DLG_ROW_N && strcmp(dlg_row_params[i], item))
			i++;
		if (!equals || i == DLG_ROW_N) {
			fprintf(stderr, "dlgctl: --column-names: \"%s\" is not PARAMETER=NAME\n",
				item);
			return -1;
		}
		columns[i].name = equals + 1;
	}
	return 0;
}

static int describe_table(void)
{
	const char *bad;

	memcpy(columns, dlg_row_columns, sizeof(columns));
	table.name = ctl_options.table;
	if (ctl_options.column_list &&
	    rename_columns((char *)(uintptr_t)ctl_options.column_list) < 0)
		return -1;
	bad = db_table_check(&table);
	if (bad)
		fprintf(stderr,
			"dlgctl: bad name \"%s\": letters, digits and underscores are allowed\n",
			bad);
	return bad ? -1 : 0;
}

/* Beside this program (in the source tree), else where they are installed. */
static const char *driver_dir(void)
{
	static char path[PATH_MAX];
	char probe[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n > 0) {
		path[n] = '\0';
		dirname(path);
		snprintf(probe, sizeof(probe), "%s/dialog_db_sqlite.so", path);
		if (access(probe, R_OK) == 0)
			return path;
	}
	return DLGCTL_MODDIR;
}

/* An embedded database would make its file: by a wrong name, or as a user who is not the
 * proxy's. */
static int is_missing(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/%s", url.database);
	if (!driver->makes_tables || access(path, F_OK) == 0)
		return 0;
	snprintf(why, sizeof(why), "there is no such file");
	return 1;
}

/* `make`: what is not there may be made. */
static int open_database(const char *text, int make)
{
	const char *reason;

	if (describe_table() < 0)
		return CTL_USAGE;
	if (db_url_parse(text, &url, &reason) < 0) {
		fprintf(stderr, "dlgctl: bad URL: %s\n", reason);
		return CTL_USAGE;
	}
	driver = db_driver_load(driver_dir(), url.scheme, why, sizeof(why));
	if (!driver || (!make && is_missing()) ||
	    driver->open(&url, &conn, why, sizeof(why)) != DB_OK) {
		fprintf(stderr, "dlgctl: %s: %s\n", url.plain, why);
		return CTL_AWAY;
	}
	return CTL_OK;
}

/* The SQL of "create", without a database. */
static int print_schema(const char *scheme)
{
	struct dlg_buf sql = { 0 };

	if (describe_table() < 0)
		return CTL_USAGE;
	driver = db_driver_load(driver_dir(), scheme, why, sizeof(why));
	if (!driver) {
		fprintf(stderr, "dlgctl: %s\n", why);
		return CTL_USAGE;
	}
	driver->schema(&table, &sql);
	ctl_flush(&sql);
	dlg_buf_free(&sql);
	return CTL_OK;
}

static int ready(void)
{
	int ret = db_table_ready(driver, conn, &table, why, sizeof(why));

	if (ret <= 0)
		fprintf(stderr, "dlgctl: %s: %s\n", url.plain, why);
	return ret > 0;
}

static int create(void)
{
	if (driver->create(conn, &table) != DB_OK) {
		fprintf(stderr, "dlgctl: %s: %s\n", url.plain, driver->error(conn));
		return CTL_NO;
	}
	if (!ready())
		return CTL_BROKEN;
	printf("%s: the table \"%s\" is ready\n", url.plain, table.name);
	return CTL_OK;
}

/* ---- check ---- */

struct check {
	unsigned long rows, good, expired, ended, bad;
	size_t bytes;
	struct dlg_buf arena;
	long now;
};

/* Shared memory of a piece: its head, and rounding to the next size. */
static size_t piece(size_t bytes)
{
	return bytes ? (bytes + 16) * 9 / 8 : 0;
}

static size_t bytes_of_pairs(struct dlg_str list, size_t each)
{
	struct dlg_buf pair = { 0 };
	struct dlg_str name, value;
	size_t bytes = 0;

	while (dlg_row_next_pair(&list, &pair, &name, &value) > 0)
		bytes += piece(each + name.len + value.len);
	dlg_buf_free(&pair);
	return bytes;
}

/* About what the dialog will take. */
static size_t bytes_of(const struct dlg_row *r)
{
	size_t bytes = piece(sizeof(struct dlg_cell) + r->call_id.len + r->from_uri.len +
			     r->to_uri.len + r->from_tag.len + r->caller_routes.len) +
		       piece(r->caller_contact.len) + piece(48) /* change log */ + 32 /* table */;

	for (unsigned i = 0; i < r->n_legs; i++)
		bytes += piece(sizeof(struct dlg_leg) + r->leg[i].tag.len) +
			 piece(r->leg[i].contact.len) + piece(r->leg[i].route_set.len);
	return bytes + bytes_of_pairs(r->vars, 16) + bytes_of_pairs(r->profiles, 24 + 72);
}

static void print_bad(const struct db_value *v, const char *reason)
{
	for (int i = DLG_ROW_h_entry; i <= DLG_ROW_h_id; i++) {
		if (v[i].kind == DB_INT)
			printf("%s=%lld ", columns[i].name, (long long)v[i].number);
		else
			printf("%s=? ", columns[i].name);
	}
	printf("would be skipped: %s\n", reason);
}

static int check_row(const struct db_value *v, void *arg)
{
	static struct dlg_row row;
	struct check *c = arg;
	const char *reason;

	c->rows++;
	if (dlg_row_read(v, ctl_options.hash_size, &row, &c->arena, &reason) < 0) {
		c->bad++;
		print_bad(v, reason);
	} else if (row.state == 5) {
		c->ended++;
	} else {
		c->good++;
		c->expired += row.timeout <= c->now;
		c->bytes += bytes_of(&row);
	}
	return 0;
}

static int check(void)
{
	struct check c = { .now = (long)time(NULL) };

	if (!ready())
		return CTL_BROKEN;
	if (driver->select(conn, &table, dlg_str_of(ctl_options.node), check_row, &c) != DB_OK) {
		fprintf(stderr, "dlgctl: %s: %s\n", url.plain, driver->error(conn));
		return CTL_AWAY;
	}
	dlg_buf_free(&c.arena);
	printf("%lu rows: %lu would be restored (%lu of them expired meanwhile: they end at once), "
	       "%lu have "
	       "ended, %lu would be skipped; about %.1f MB of shared memory\n",
	       c.rows, c.good, c.expired, c.ended, c.bad, (double)c.bytes / 1048576);
	return c.bad ? CTL_BROKEN : CTL_OK;
}

static int with_database(const char *text, int (*run)(void))
{
	int ret = open_database(text, run == create);

	if (ret == CTL_OK)
		ret = run();
	if (conn)
		driver->close(conn);
	db_url_free(&url);
	return ret;
}

int ctl_db(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[0], "create"))
		return with_database(argv[1], create);
	if (argc == 2 && !strcmp(argv[0], "check"))
		return with_database(argv[1], check);
	if (argc == 2 && !strcmp(argv[0], "schema"))
		return print_schema(argv[1]);
	fprintf(stderr,
		"dlgctl: db: \"create URL\", \"check URL\" or \"schema SCHEME\" is wanted\n");
	return CTL_USAGE;
}

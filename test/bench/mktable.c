/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Make the module's table, with its default names, in a database.
 *
 *     mktable DRIVER_DIRECTORY URL */

#include "../../dlg_row.h"

#include <stdio.h>

#define KEY_TEXT             DB_KEY_TEXT
#define KEY_INT              DB_KEY_INT
#define INT                  DB_COL_INT
#define TEXT                 DB_COL_TEXT
#define X(id, the_kind, p, dflt) [DLG_ROW_##id] = { .name = dflt, .kind = the_kind },
#define ALIAS(id, param)
static struct db_column columns[DLG_ROW_N] = { DLG_ROW_COLUMNS(X, ALIAS) };

int main(int argc, char **argv)
{
	struct db_table t = { .name = "dialog", .column = columns, .n_columns = DLG_ROW_N,
			      .n_keys = 3, .version = DLG_ROW_TABLE_VERSION };
	char why[512] = "usage: mktable DRIVER_DIRECTORY URL";
	const char *reason = why;
	const struct db_driver *driver;
	struct db_conn *conn;
	struct db_url url;
	int ok = 0;

	columns[DLG_ROW_callid].indexed = 1;
	if (argc == 3 && db_url_parse(argv[2], &url, &reason) == 0 &&
	    (driver = db_driver_load(argv[1], url.scheme, why, sizeof(why))) &&
	    driver->open(&url, &conn, why, sizeof(why)) == DB_OK) {
		ok = driver->create(conn, &t) == DB_OK;
		reason = driver->error(conn);
	}
	if (!ok)
		fprintf(stderr, "mktable: %s\n", reason);
	return !ok;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KIT_H
#define KIT_H
/* What the suites of the drivers share: a database of some kind, its keeper, who is another
 * process and can stop, freeze and ask it (test/db/run), and rows. Each test runs in a process
 * of its own and has a table of its own. */

#include "../unit/unit.h"
#include "../../dlg_row.h"

struct kit {
	const char *kind;       /* sqlite, mysql, postgres, fake */
	const char *url;
	const char *socket_url; /* of the same server, or NULL */
	const char *password;   /* that no error may hold, or NULL */
	int can_fill;           /* the keeper can fill the disk */
	unsigned timeout_ms;    /* of the connections to come */
	const struct db_driver *driver;
	struct db_table table;
};
extern struct kit kit;


/* Load the driver, name a new table. At the start of each test. */
void kit_start(void);

int kit_is(const char *kind);
int kit_is_server(void);

/* Have the keeper do something: "sql STATEMENT", "kill", "freeze" ... Returns what it answers;
 * the test fails when it cannot. */
const char *kit_ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Connect, by any URL; the test fails when that fails. */
struct db_conn *kit_open_url(const char *url);

/* Connect to the database of the test. */
struct db_conn *kit_open(void);

/* The same, and make the table. */
struct db_conn *kit_open_table(void);

/* Try to connect; `why` has KIT_WHY bytes. */
enum { KIT_WHY = 512 };
enum db_result kit_try(const char *url, struct db_conn **conn, char why[KIT_WHY]);

/* A row with something in each column. */
void kit_row(struct db_value v[DLG_ROW_N], const char *node, int64_t h_entry, int64_t h_id);

/* Insert rows of the node with hash_id and callid-ID from `first` on, in transactions of one
 * batch. */
void kit_fill(struct db_conn *c, const char *node, int64_t first, unsigned n);

/* How many rows the node has. */
uint64_t kit_count(struct db_conn *c, const char *node);

/* Read the one row of that key; a copy, whose texts live until the next call. 0 when there is
 * none. */
int kit_read(struct db_conn *c, const char *node, int64_t h_id, struct db_value out[DLG_ROW_N]);

/* One row in a transaction of its own; after a failure it is rolled back. */
enum db_result kit_write(struct db_conn *c, const struct db_value *v, unsigned n);

double kit_seconds(void);

/* The suite: a case whose tests take `seconds` at most, and whose calls `timeout_ms`; tests; and
 * its exit status. */
TCase *kit_case(const char *name, double seconds, unsigned timeout_ms);
void kit_add(TCase *tcase, const TTest *const *tests);
int kit_run(TCase *tcase);

/* The call gives DB_OK, or the test fails with the driver's words. */
#define kit_ok(c, call)                                                                        \
	ck_assert_msg((call) == DB_OK, "%s: %s", #call, kit.driver->error(c))

/* The views are of equal length and bytes. */
#define kit_same(a, b) ck_assert_msg(dlg_str_eq(a, b), "%s differs from %s", #a, #b)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every driver does with rows, tables and transactions, on a database that works. */

#include "kit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_conn(struct db_conn *c)
{
	kit.driver->close(c);
}

/* ---- the table ---- */

static int ready(struct db_conn *c, char *why)
{
	why[0] = '\0';
	return db_table_ready(kit.driver, c, &kit.table, why, KIT_WHY);
}

START_TEST(table_is_made_once_and_found_fit)
{
	struct db_conn *c = kit_open_table();
	char why[KIT_WHY];

	ck_assert_msg(ready(c, why) == 1, "%s", why);
	kit_fill(c, "n", 1, 3);
	kit_ok(c, kit.driver->create(c, &kit.table));
	ck_assert_uint_eq(kit_count(c, "n"), 3);
	close_conn(c);
}
END_TEST

/* In one line: the keeper reads lines. */
START_TEST(schema_is_taken_by_the_databases_own_client)
{
	struct db_conn *c = kit_open();
	struct dlg_buf sql = { 0 };
	char why[KIT_WHY];

	kit.driver->schema(&kit.table, &sql);
	ck_assert(sql.len && !sql.failed && sql.s[sql.len - 2] == ';');
	for (size_t i = 0; i < sql.len; i++)
		sql.s[i] = sql.s[i] == '\n' || sql.s[i] == '\t' ? ' ' : sql.s[i];
	kit_ask("sql %s%s", kit_is("postgres") ? "SET ROLE dialog; " : "", sql.s);
	dlg_buf_free(&sql);
	ck_assert_msg(ready(c, why) == 1, "%s", why);
	kit_fill(c, "n", 1, 3);
	ck_assert_uint_eq(kit_count(c, "n"), 3);
	close_conn(c);
}
END_TEST

START_TEST(table_that_is_somebody_elses_is_not_called_missing)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];
	char why[KIT_WHY];

	kit_ask("sql ALTER TABLE %s OWNER TO postgres", kit.table.name);
	ready(c, why);
	ck_assert_msg(!strstr(why, "there is no table"), "%s", why);
	kit_row(v, "n", 1, 1);
	ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
	ck_assert_msg(strstr(kit.driver->error(c), "permission denied"), "%s",
		      kit.driver->error(c));
	close_conn(c);
}
END_TEST

START_TEST(missing_table_is_named)
{
	struct db_conn *c = kit_open();
	char why[KIT_WHY];

	ck_assert_int_eq(ready(c, why), 0);
	ck_assert_msg(strstr(why, kit.table.name) != NULL, "%s", why);
	close_conn(c);
}
END_TEST

START_TEST(other_version_is_named)
{
	struct db_conn *c = kit_open_table();
	char why[KIT_WHY];

	kit_ask("sql UPDATE version SET table_version = 6 WHERE table_name = '%s'", kit.table.name);
	ck_assert_int_eq(ready(c, why), 0);
	ck_assert_msg(strstr(why, " 6") && strstr(why, "1001") && strstr(why, kit.table.name), "%s",
		      why);
	close_conn(c);
}
END_TEST

START_TEST(create_leaves_the_version_that_is_there)
{
	struct db_conn *c = kit_open_table();
	unsigned version = 0;

	kit_ask("sql UPDATE version SET table_version = 6 WHERE table_name = '%s'", kit.table.name);
	kit_ok(c, kit.driver->create(c, &kit.table));
	kit_ok(c, kit.driver->version(c, kit.table.name, &version));
	ck_assert_uint_eq(version, 6);
	close_conn(c);
}
END_TEST

START_TEST(table_without_version_is_named)
{
	struct db_conn *c = kit_open_table();
	char why[KIT_WHY];
	unsigned version = 1;

	kit_ask("sql DELETE FROM version WHERE table_name = '%s'", kit.table.name);
	ck_assert_int_eq(ready(c, why), 0);
	ck_assert_msg(strstr(why, "version") && strstr(why, "1001"), "%s", why);
	kit_ask("sql DROP TABLE version");
	kit_ok(c, kit.driver->version(c, kit.table.name, &version));
	ck_assert_uint_eq(version, 0);
	ck_assert_int_eq(ready(c, why), 0);
	kit_ok(c, kit.driver->create(c, &kit.table));
	ck_assert_msg(ready(c, why) == 1, "%s", why);
	close_conn(c);
}
END_TEST

START_TEST(missing_columns_are_named)
{
	struct db_conn *c = kit_open_table();
	char why[KIT_WHY];

	kit_ask("sql ALTER TABLE %s DROP COLUMN legs", kit.table.name);
	kit_ask("sql ALTER TABLE %s DROP COLUMN lifetime", kit.table.name);
	ck_assert_int_eq(ready(c, why), 0);
	ck_assert_msg(strstr(why, "legs") && strstr(why, "lifetime") && strstr(why, kit.table.name),
		      "%s", why);
	close_conn(c);
}
END_TEST

/* Without it there would be a row for each change, or none at all. */
START_TEST(a_copy_without_the_key_is_named)
{
	struct db_conn *c = kit_open_table();
	struct db_table copy = kit.table;
	char name[64], why[KIT_WHY];

	snprintf(name, sizeof(name), "%s_copy", kit.table.name);
	copy.name = name;
	kit_ask("sql CREATE TABLE %s AS SELECT * FROM %s", name, kit.table.name);
	kit_ask("sql INSERT INTO version (table_name, table_version) VALUES ('%s', 1001)", name);
	ck_assert_int_eq(db_table_ready(kit.driver, c, &copy, why, sizeof(why)), 0);
	ck_assert_msg(strstr(why, "no unique key") && strstr(why, "hash_entry"), "%s", why);
	kit_ask("sql CREATE UNIQUE INDEX %s_i ON %s (hash_entry, hash_id)", name, name);
	ck_assert_int_eq(db_table_ready(kit.driver, c, &copy, why, sizeof(why)), 0);
	kit_ask("sql CREATE UNIQUE INDEX %s_k ON %s (hash_id, node, hash_entry)", name, name);
	ck_assert_msg(db_table_ready(kit.driver, c, &copy, why, sizeof(why)) == 1, "%s", why);
	close_conn(c);
}
END_TEST

START_TEST(a_view_will_do)
{
	struct db_conn *c = kit_open_table();
	struct db_table table = kit.table;
	char name[64], why[KIT_WHY];

	snprintf(name, sizeof(name), "%s_view", kit.table.name);
	kit_ask("sql CREATE VIEW %s AS SELECT * FROM %s", name, kit.table.name);
	if (kit_is("postgres"))
		kit_ask("sql GRANT ALL ON %s TO PUBLIC", name);
	kit_ask("sql INSERT INTO version (table_name, table_version) VALUES ('%s', 1001)", name);
	kit.table.name = name;
	ck_assert_msg(ready(c, why) == 1, "%s", why);
	kit_fill(c, "n", 1, 2);
	kit_fill(c, "n", 1, 2);
	kit.table = table;
	ck_assert_uint_eq(kit_count(c, "n"), 2);
	kit_ask("sql DROP VIEW %s", name);
	close_conn(c);
}
END_TEST

START_TEST(further_columns_do_no_harm)
{
	struct db_conn *c = kit_open_table();
	char why[KIT_WHY];

	kit_ask("sql ALTER TABLE %s ADD COLUMN remark VARCHAR(10)", kit.table.name);
	ck_assert_msg(ready(c, why) == 1, "%s", why);
	kit_fill(c, "n", 1, 2);
	ck_assert_uint_eq(kit_count(c, "n"), 2);
	close_conn(c);
}
END_TEST

START_TEST(names_of_columns_are_quoted)
{
	static const struct db_column odd[] = {
		{ "select", DB_KEY_TEXT, 0 },
		{ "order", DB_KEY_INT, 0 },
		{ "FROM", DB_COL_INT, 1 },
		{ "1st", DB_COL_TEXT, 1 },
		{ "a_name_of_sixty_three_letters_which_is_as_long_as_they_come_abc", DB_COL_TEXT,
		  1 },
	};
	char name[64] = "group_of_forty_letters_and_more_for_tests_";
	struct db_table t = {
		.name = name, .column = odd, .n_columns = 5, .n_keys = 2, .version = 7
	};
	struct db_value v[] = { db_text(DLG_STR("n")), db_int(1), db_int(2), db_text(DLG_STR("x")),
				db_null() };
	struct db_conn *c = kit_open();
	char why[KIT_WHY];
	uint64_t n = 0;

	snprintf(name + strlen(name), sizeof(name) - strlen(name), "%d", (int)getpid());
	ck_assert_uint_le(strlen(odd[4].name), DB_NAME_MAX);
	kit_ok(c, kit.driver->create(c, &t));
	ck_assert_msg(db_table_ready(kit.driver, c, &t, why, sizeof(why)) == 1, "%s", why);
	kit_ok(c, kit.driver->upsert(c, &t, v, 1));
	kit_ok(c, kit.driver->upsert(c, &t, v, 1));
	kit_ok(c, kit.driver->count(c, &t, DLG_STR("n"), &n));
	ck_assert_uint_eq(n, 1);
	kit_ok(c, kit.driver->remove(c, &t, v, 1));
	close_conn(c);
}
END_TEST

/* ---- values ---- */

/* Store the text in every column that is no key, and compare what comes back. */
static void check_text(struct db_conn *c, struct dlg_str text)
{
	struct db_value v[DLG_ROW_N], back[DLG_ROW_N];

	kit_row(v, "n", 1, 1);
	for (unsigned i = kit.table.n_keys; i < DLG_ROW_N; i++) {
		if (kit.table.column[i].kind == DB_COL_TEXT)
			v[i].text = text;
	}
	kit_ok(c, kit_write(c, v, 1));
	ck_assert_int_eq(kit_read(c, "n", 1, back), 1);
	for (unsigned i = 0; i < DLG_ROW_N; i++) {
		ck_assert_int_eq(back[i].kind, v[i].kind);
		ck_assert_int_eq(back[i].number, v[i].number);
		kit_same(back[i].text, v[i].text);
	}
}

START_TEST(texts_come_back_byte_by_byte)
{
	static const char *const texts[] = {
		"",
		" ",
		"a ",
		" a",
		"it's",
		"\"quoted\"",
		"back\\slash\\",
		"\\",
		"'",
		"`",
		"%s%n",
		"?",
		"$1",
		";-- DROP",
		"line\nfeed\r\n\ttab",
		"NULL",
		"0",
		"\x01\x1f\x7f",
		"0x41",
		"{}",
	};
	struct db_conn *c = kit_open_table();

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		check_text(c, dlg_str_of(texts[i]));
	close_conn(c);
}
END_TEST

static void add_utf8(struct dlg_buf *b, uint32_t c)
{
	if (c < 0x80)
		dlg_buf_printf(b, "%c", (int)c);
	else if (c < 0x800)
		dlg_buf_printf(b, "%c%c", (int)(0xc0 | c >> 6), (int)(0x80 | (c & 63)));
	else if (c < 0x10000)
		dlg_buf_printf(b, "%c%c%c", (int)(0xe0 | c >> 12), (int)(0x80 | (c >> 6 & 63)),
			       (int)(0x80 | (c & 63)));
	else
		dlg_buf_printf(b, "%c%c%c%c", (int)(0xf0 | c >> 18), (int)(0x80 | (c >> 12 & 63)),
			       (int)(0x80 | (c >> 6 & 63)), (int)(0x80 | (c & 63)));
}

START_TEST(every_range_of_utf8_comes_back)
{
	static const uint32_t edges[] = { 1,       0x7f,    0x80,    0x7ff,  0x800,
					  0xd7ff,  0xe000,  0xfffd,  0xffff, 0x10000,
					  0x1f600, 0xfffff, 0x10ffff };
	struct db_conn *c = kit_open_table();
	struct dlg_buf all = { 0 };

	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++) {
		struct dlg_buf one = { 0 };

		add_utf8(&one, edges[i]);
		add_utf8(&all, edges[i]);
		check_text(c, dlg_buf_view(&one));
		dlg_buf_free(&one);
	}
	check_text(c, dlg_buf_view(&all));
	dlg_buf_free(&all);
	close_conn(c);
}
END_TEST

/* Letters that no compression makes short: an index that takes whole texts must not refuse them. */
static void add_noise(struct dlg_buf *b, size_t n)
{
	uint64_t x = 88172645463325252u;

	for (; n; n--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		dlg_buf_printf(
			b, "%c",
			"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x >> 32 &
											   63]);
	}
}

START_TEST(long_texts_come_back_in_every_column)
{
	static const size_t sizes[] = { 255, 256, 4095, 4096, 4097, 8192, 65535, 65536, 65537 };
	struct db_conn *c = kit_open_table();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct dlg_buf b = { 0 };

		add_noise(&b, sizes[i]);
		check_text(c, dlg_buf_view(&b));
		dlg_buf_free(&b);
	}
	close_conn(c);
}
END_TEST

START_TEST(a_batch_of_long_rows_passes)
{
	static struct db_value v[DB_BATCH_MAX][DLG_ROW_N];
	struct db_conn *c = kit_open_table();
	struct dlg_buf b = { 0 };
	struct db_value back[DLG_ROW_N];

	add_noise(&b, 65536);
	for (unsigned i = 0; i < DB_BATCH_MAX; i++) {
		kit_row(v[i], "n", 1, i);
		for (unsigned k = DLG_ROW_vars; k <= DLG_ROW_profiles; k++)
			v[i][k] = db_text(dlg_buf_view(&b));
		for (unsigned k = DLG_ROW_caller_route; k <= DLG_ROW_callee_contact; k++)
			v[i][k] = db_text(dlg_buf_view(&b));
	}
	kit_ok(c, kit_write(c, v[0], DB_BATCH_MAX));
	ck_assert_uint_eq(kit_count(c, "n"), DB_BATCH_MAX);
	ck_assert_int_eq(kit_read(c, "n", 63, back), 1);
	kit_same(back[DLG_ROW_vars].text, dlg_buf_view(&b));
	dlg_buf_free(&b);
	close_conn(c);
}
END_TEST

START_TEST(null_is_not_the_empty_text)
{
	struct db_value v[DLG_ROW_N], back[DLG_ROW_N];
	struct db_conn *c = kit_open_table();

	kit_row(v, "n", 1, 1);
	v[DLG_ROW_legs] = db_null();
	v[DLG_ROW_vars] = db_text(DLG_STR(""));
	v[DLG_ROW_profiles] = db_text(DLG_STR_NONE);
	v[DLG_ROW_lifetime] = db_null();
	kit_ok(c, kit_write(c, v, 1));
	ck_assert_int_eq(kit_read(c, "n", 1, back), 1);
	ck_assert_int_eq(back[DLG_ROW_legs].kind, DB_NULL);
	ck_assert_int_eq(back[DLG_ROW_lifetime].kind, DB_NULL);
	ck_assert_int_eq(back[DLG_ROW_vars].kind, DB_TEXT);
	ck_assert_uint_eq(back[DLG_ROW_vars].text.len, 0);
	ck_assert_int_eq(back[DLG_ROW_profiles].kind, DB_TEXT);
	close_conn(c);
}
END_TEST

START_TEST(numbers_have_64_bits)
{
	static const int64_t numbers[] = { 0, 1, -1, INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MAX,
					   INT64_MIN };
	struct db_value v[DLG_ROW_N], back[DLG_ROW_N];
	struct db_conn *c = kit_open_table();

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		kit_row(v, "n", numbers[i], 1);
		v[DLG_ROW_timeout] = db_int(numbers[i]);
		kit_ok(c, kit_write(c, v, 1));
		ck_assert_int_eq(kit_read(c, "n", 1, back), 1);
		ck_assert_int_eq(back[DLG_ROW_timeout].number, numbers[i]);
		ck_assert_int_eq(back[DLG_ROW_h_entry].number, numbers[i]);
		kit_ok(c, kit.driver->begin(c));
		kit_ok(c, kit.driver->remove(c, &kit.table, v, 1));
		kit_ok(c, kit.driver->commit(c));
	}
	close_conn(c);
}
END_TEST

START_TEST(what_is_no_number_arrives_as_the_text_it_is)
{
	struct db_value v[DLG_ROW_N], back[DLG_ROW_N];
	struct db_conn *c = kit_open_table();

	if (kit_is("mysql"))
		kit_ask("sql ALTER TABLE %s MODIFY COLUMN lifetime VARCHAR(20)", kit.table.name);
	if (kit_is("postgres"))
		kit_ask("sql ALTER TABLE %s ALTER COLUMN lifetime TYPE VARCHAR(20)",
			kit.table.name);
	kit_row(v, "n", 1, 1);
	kit_ok(c, kit_write(c, v, 1));
	kit_ask("sql UPDATE %s SET lifetime = 'soon'", kit.table.name);
	ck_assert_int_eq(kit_read(c, "n", 1, back), 1);
	ck_assert_int_eq(back[DLG_ROW_lifetime].kind, DB_TEXT);
	ck_assert_view(back[DLG_ROW_lifetime].text, "soon");
	close_conn(c);
}
END_TEST

/* ---- writing ---- */

START_TEST(upsert_inserts_and_then_replaces_everything)
{
	struct db_value v[DLG_ROW_N], back[DLG_ROW_N];
	struct db_conn *c = kit_open_table();

	kit_row(v, "n", 1, 1);
	kit_ok(c, kit_write(c, v, 1));
	for (unsigned i = kit.table.n_keys; i < DLG_ROW_N; i++)
		v[i] = kit.table.column[i].kind == DB_COL_INT ? db_int(-7)
							      : db_text(DLG_STR("new"));
	kit_ok(c, kit_write(c, v, 1));
	ck_assert_int_eq(kit_read(c, "n", 1, back), 1);
	for (unsigned i = kit.table.n_keys; i < DLG_ROW_N; i++) {
		if (kit.table.column[i].kind == DB_COL_INT)
			ck_assert_int_eq(back[i].number, -7);
		else
			ck_assert_view(back[i].text, "new");
	}
	ck_assert_uint_eq(kit_count(c, "n"), 1);
	close_conn(c);
}
END_TEST

START_TEST(batches_of_every_size_are_written_and_deleted)
{
	struct db_value v[DB_BATCH_MAX][DLG_ROW_N], keys[DB_BATCH_MAX][3];
	struct db_conn *c = kit_open_table();

	for (unsigned n = 1; n <= DB_BATCH_MAX; n++) {
		for (unsigned i = 0; i < n; i++) {
			kit_row(v[i], "n", n, i);
			memcpy(keys[i], v[i], sizeof(keys[i]));
		}
		kit_ok(c, kit_write(c, v[0], n));
		ck_assert_uint_eq(kit_count(c, "n"), n);
		kit_ok(c, kit.driver->begin(c));
		kit_ok(c, kit.driver->remove(c, &kit.table, keys[0], n));
		kit_ok(c, kit.driver->commit(c));
		ck_assert_uint_eq(kit_count(c, "n"), 0);
	}
	close_conn(c);
}
END_TEST

START_TEST(batches_mix_new_and_known_rows)
{
	struct db_value back[DLG_ROW_N];
	struct db_conn *c = kit_open_table();

	kit_fill(c, "n", 0, 65);
	kit_fill(c, "n", 0, 1000);
	ck_assert_uint_ge(kit_count(c, "n"), 1000);
	ck_assert_int_ge(kit_read(c, "n", 999, back), 1);
	close_conn(c);
}
END_TEST

START_TEST(deleting_what_is_not_there_is_fine)
{
	struct db_value keys[2][3] = { { db_text(DLG_STR("n")), db_int(1), db_int(1) },
				       { db_text(DLG_STR("n")), db_int(1), db_int(77) } };
	struct db_value v[DLG_ROW_N];
	struct db_conn *c = kit_open_table();

	kit_row(v, "n", 1, 1);
	kit_ok(c, kit_write(c, v, 1));
	kit_ok(c, kit.driver->begin(c));
	kit_ok(c, kit.driver->remove(c, &kit.table, keys[0], 2));
	kit_ok(c, kit.driver->remove(c, &kit.table, keys[0], 2));
	kit_ok(c, kit.driver->commit(c));
	ck_assert_uint_eq(kit_count(c, "n"), 0);
	close_conn(c);
}
END_TEST

START_TEST(rows_of_other_nodes_stay_as_they_are)
{
	struct db_value v[DLG_ROW_N], back[DLG_ROW_N];
	struct db_conn *c = kit_open_table();
	static const char *const others[] = { "", "N", "n2", "\xc3\xa4", "a" };

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		kit_fill(c, others[i], 1, 3);
	kit_fill(c, "n", 1, 3);
	kit_row(v, "n", 1, 1);
	v[DLG_ROW_callid] = db_text(DLG_STR("changed"));
	kit_ok(c, kit_write(c, v, 1));
	kit_ok(c, kit.driver->begin(c));
	kit_ok(c, kit.driver->remove(c, &kit.table, v, 1));
	kit_ok(c, kit.driver->commit(c));
	ck_assert_uint_eq(kit_count(c, "n"), 2);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		ck_assert_uint_eq(kit_count(c, others[i]), 3);
		ck_assert_int_eq(kit_read(c, others[i], 1, back), 1);
		ck_assert_view(back[DLG_ROW_callid].text, "callid-1");
		ck_assert_view(back[DLG_ROW_node].text, others[i]);
	}
	ck_assert_uint_eq(kit_count(c, "nobody"), 0);
	close_conn(c);
}
END_TEST

START_TEST(commit_keeps_rollback_and_close_undo)
{
	struct db_value v[DLG_ROW_N], back[DLG_ROW_N];
	struct db_conn *c = kit_open_table();

	kit_fill(c, "n", 1, 2);
	kit_row(v, "n", 1, 1);
	v[DLG_ROW_callid] = db_text(DLG_STR("changed"));
	for (int end = 0; end < 2; end++) {
		kit_ok(c, kit.driver->begin(c));
		kit_ok(c, kit.driver->upsert(c, &kit.table, v, 1));
		v[DLG_ROW_h_id] = db_int(2);
		kit_ok(c, kit.driver->remove(c, &kit.table, v, 1));
		v[DLG_ROW_h_id] = db_int(1);
		if (end == 0) {
			kit_ok(c, kit.driver->rollback(c));
		} else {
			close_conn(c);
			c = kit_open();
		}
		ck_assert_uint_eq(kit_count(c, "n"), 2);
		ck_assert_int_eq(kit_read(c, "n", 1, back), 1);
		ck_assert_view(back[DLG_ROW_callid].text, "callid-1");
	}
	close_conn(c);
}
END_TEST

START_TEST(uncommitted_rows_are_nobody_elses)
{
	struct db_conn *c = kit_open_table(), *other = kit_open();
	struct db_value v[DLG_ROW_N];

	kit_row(v, "n", 1, 1);
	kit_ok(c, kit.driver->begin(c));
	kit_ok(c, kit.driver->upsert(c, &kit.table, v, 1));
	ck_assert_uint_eq(kit_count(other, "n"), 0);
	kit_ok(c, kit.driver->commit(c));
	ck_assert_uint_eq(kit_count(other, "n"), 1);
	close_conn(other);
	close_conn(c);
}
END_TEST

/* ---- refused rows ---- */

/* The batch is refused and leaves nothing, the connection is fine, the good rows pass one by
 * one. */
static void check_refused(struct db_conn *c, struct db_value bad[DLG_ROW_N])
{
	struct db_value v[3][DLG_ROW_N];
	uint64_t before = kit_count(c, "good");

	for (unsigned i = 0; i < 3; i++)
		kit_row(v[i], "good", 5, (int64_t)before * 10 + i);
	memcpy(v[1], bad, sizeof(v[1]));
	ck_assert_int_eq(kit_write(c, v[0], 3), DB_REFUSED);
	ck_assert_msg(*kit.driver->error(c) != '\0', "no words");
	ck_assert_uint_eq(kit_count(c, "good"), before);
	kit_ok(c, kit_write(c, v[0], 1));
	ck_assert_int_eq(kit_write(c, v[1], 1), DB_REFUSED);
	kit_ok(c, kit_write(c, v[2], 1));
	ck_assert_uint_eq(kit_count(c, "good"), before + 2);
}

START_TEST(null_in_the_key_is_refused)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];

	kit_row(v, "n", 1, 1);
	v[DLG_ROW_h_id] = db_null();
	check_refused(c, v);
	kit_row(v, "n", 1, 1);
	v[DLG_ROW_node] = db_null();
	check_refused(c, v);
	close_conn(c);
}
END_TEST

START_TEST(key_that_is_too_long_is_refused)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];
	char node[66];

	memset(node, 'n', sizeof(node));
	node[64] = '\0';
	kit_row(v, node, 1, 1);
	kit_ok(c, kit_write(c, v, 1));
	node[64] = 'n';
	node[65] = '\0';
	kit_row(v, node, 1, 1);
	check_refused(c, v);
	close_conn(c);
}
END_TEST

START_TEST(text_that_is_no_utf8_is_refused)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];

	kit_row(v, "n", 1, 1);
	v[DLG_ROW_vars] = db_text(DLG_STR("caf\xe9"));
	check_refused(c, v);
	close_conn(c);
}
END_TEST

/* MySQL undoes the statement only, and commits the rest; PostgreSQL undoes all, and must say so. */
START_TEST(committing_what_was_refused_is_no_success)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[2][DLG_ROW_N];
	enum db_result ret;

	kit_row(v[0], "n", 1, 1);
	kit_row(v[1], "n", 1, 2);
	v[1][DLG_ROW_vars] = db_text(DLG_STR("caf\xe9"));
	kit_ok(c, kit.driver->begin(c));
	kit_ok(c, kit.driver->upsert(c, &kit.table, v[0], 1));
	ck_assert_int_eq(kit.driver->upsert(c, &kit.table, v[1], 1), DB_REFUSED);
	ret = kit.driver->commit(c);
	close_conn(c);
	c = kit_open();
	ck_assert_uint_eq(kit_count(c, "n"), ret == DB_OK);
	close_conn(c);
}
END_TEST

/* A table that somebody made narrower: what does not fit is not cut, whatever the server's mode. */
START_TEST(text_too_long_for_its_column_is_refused)
{
	struct db_value v[DLG_ROW_N];
	struct db_conn *c;

	if (kit_is("mysql"))
		kit_ask("sql SET GLOBAL sql_mode = ''");
	c = kit_open_table();
	if (kit_is("mysql"))
		kit_ask("sql ALTER TABLE %s MODIFY COLUMN to_tag VARCHAR(8), MODIFY COLUMN state "
			"INT",
			kit.table.name);
	else
		kit_ask("sql ALTER TABLE %s ALTER COLUMN to_tag TYPE VARCHAR(8), ALTER COLUMN "
			"state TYPE INT",
			kit.table.name);
	kit_row(v, "n", 1, 1);
	v[DLG_ROW_to_tag] = db_text(DLG_STR("ninechars"));
	check_refused(c, v);
	kit_row(v, "n", 1, 1);
	v[DLG_ROW_state] = db_int(INT64_C(1) << 40);
	check_refused(c, v);
	close_conn(c);
}
END_TEST

/* A rule that the operator made is about rows, whatever it says. */
START_TEST(row_that_a_trigger_refuses_is_refused)
{
	struct db_conn *c = kit_open_table();
	const char *t = kit.table.name;
	struct db_value v[DLG_ROW_N];

	if (kit_is("mysql"))
		kit_ask("sql CREATE TRIGGER %s_t BEFORE UPDATE ON %s FOR EACH ROW SIGNAL SQLSTATE "
			"'45000' SET MESSAGE_TEXT = 'books are closed'",
			t, t);
	else if (kit_is("postgres"))
		kit_ask("sql CREATE FUNCTION %s_f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
			"RAISE EXCEPTION ''books are closed''; END'; CREATE TRIGGER %s_t BEFORE "
			"UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s_f()",
			t, t, t, t);
	else
		kit_ask("sql CREATE TRIGGER %s_t BEFORE UPDATE ON %s BEGIN SELECT RAISE(ABORT, "
			"'books are closed'); END",
			t, t);
	kit_row(v, "n", 1, 1);
	kit_ok(c, kit_write(c, v, 1));
	check_refused(c, v);
	ck_assert_int_eq(kit_write(c, v, 1), DB_REFUSED);
	ck_assert_msg(strstr(kit.driver->error(c), "books are closed"), "%s",
		      kit.driver->error(c));
	close_conn(c);
}
END_TEST

START_TEST(row_larger_than_a_packet_is_refused)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];
	size_t size = 17u << 20;
	char *text = malloc(size);

	ck_assert(text != NULL);
	memset(text, 'x', size);
	kit_row(v, "n", 1, 1);
	v[DLG_ROW_vars] = db_text((struct dlg_str){ text, size });
	check_refused(c, v);
	free(text);
	close_conn(c);
}
END_TEST

/* No row is to blame for that: whoever would drop them one by one would lose them all. */
START_TEST(table_that_is_gone_is_no_fault_of_a_row)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];

	kit_fill(c, "n", 1, 3);
	kit_ask("sql ALTER TABLE %s RENAME TO %s_away", kit.table.name, kit.table.name);
	kit_row(v, "n", 1, 77);
	ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
	close_conn(c);
	kit_ask("sql ALTER TABLE %s_away RENAME TO %s", kit.table.name, kit.table.name);
	c = kit_open();
	kit_ok(c, kit_write(c, v, 1));
	ck_assert_uint_eq(kit_count(c, "n"), 4);
	close_conn(c);
}
END_TEST

START_TEST(column_that_is_gone_is_no_fault_of_a_row)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];

	kit_fill(c, "n", 1, 3);
	kit_ask("sql ALTER TABLE %s DROP COLUMN legs", kit.table.name);
	kit_row(v, "n", 1, 77);
	ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
	close_conn(c);
	c = kit_open();
	ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
	close_conn(c);
}
END_TEST

/* ---- reading ---- */

struct stream {
	unsigned n, stop_at;
	int64_t sum;
	size_t at_first, most; /* resident pages */
};

static size_t resident_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long size, resident;

	ck_assert(f && fscanf(f, "%lu %lu", &size, &resident) == 2);
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static int count_row(const struct db_value *v, void *arg)
{
	struct stream *s = arg;

	s->sum += v[DLG_ROW_h_id].number;
	if (++s->n % 1000 == 100) {
		size_t now = resident_kb();

		s->at_first = s->at_first ? s->at_first : now;
		s->most = now > s->most ? now : s->most;
	}
	return s->n == s->stop_at;
}

static enum db_result stream(struct db_conn *c, struct stream *s)
{
	return kit.driver->select(c, &kit.table, DLG_STR("n"), count_row, s);
}

START_TEST(a_hundred_thousand_rows_stream_in_flat_memory)
{
	unsigned rows = kit_is("fake") ? 1000 : 100000;
	struct db_conn *c = kit_open_table();
	struct stream s = { 0 };
	double began = kit_seconds(), filled;

	kit_fill(c, "n", 0, rows);
	kit_fill(c, "other", 0, 1000);
	filled = kit_seconds();
	kit_ok(c, stream(c, &s));
	printf("%s: %u rows written in %.1f s, read in %.2f s, memory grew by %zu KB\n", kit.kind,
	       rows, filled - began, kit_seconds() - filled, s.most - s.at_first);
	ck_assert_uint_eq(s.n, rows);
	ck_assert_int_eq(s.sum, (int64_t)rows * (rows - 1) / 2);
	ck_assert_uint_lt(s.most - s.at_first, 2048);
	close_conn(c);
}
END_TEST

START_TEST(reading_stops_when_told_and_the_connection_goes_on)
{
	struct db_conn *c = kit_open_table();

	kit_fill(c, "n", 0, 500);
	for (unsigned stop = 1; stop <= 500; stop += 83) {
		struct stream s = { .stop_at = stop };

		kit_ok(c, stream(c, &s));
		ck_assert_uint_eq(s.n, stop);
		ck_assert_uint_eq(kit_count(c, "n"), 500);
	}
	kit_fill(c, "n", 500, 1);
	ck_assert_uint_eq(kit_count(c, "n"), 501);
	close_conn(c);
}
END_TEST

static int in_order(const struct db_value *v, void *arg)
{
	int64_t *last = arg;

	ck_assert_int_gt(v[DLG_ROW_h_id].number, *last);
	*last = v[DLG_ROW_h_id].number;
	return 0;
}

/* The restore is fastest then. PostgreSQL keeps rows where there was room. */
START_TEST(rows_come_in_order_of_the_key)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];
	int64_t last = -1;

	for (int64_t i = 0; i < 50; i++) {
		kit_row(v, "n", 7, i * 37 % 50);
		kit_ok(c, kit_write(c, v, 1));
	}
	kit_ok(c, kit.driver->select(c, &kit.table, DLG_STR("n"), in_order, &last));
	ck_assert_int_eq(last, 49);
	close_conn(c);
}
END_TEST

/* ---- processes ---- */

START_TEST(a_child_that_leaves_it_alone_does_no_harm)
{
	struct db_conn *c = kit_open_table();
	int status;
	pid_t child;

	kit_fill(c, "n", 0, 10);
	child = fork();
	if (!child)
		_exit(0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	kit_fill(c, "n", 10, 10);
	ck_assert_uint_eq(kit_count(c, "n"), 20);
	close_conn(c);
}
END_TEST

/* They belong to the proxy, and to whoever runs dlgctl in a pipe. */
START_TEST(signals_stay_as_they_are)
{
	struct sigaction before[NSIG] = { 0 }, after;
	struct db_conn *c;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, NULL, &before[i]);
	c = kit_open_table();
	kit_fill(c, "n", 1, 3);
	close_conn(c);
	for (int i = 1; i < NSIG; i++) {
		if (sigaction(i, NULL, &after) == 0)
			ck_assert_msg(after.sa_handler == before[i].sa_handler, "signal %d: %s", i,
				      strsignal(i));
	}
}
END_TEST

/* ---- the suite ---- */

int main(void)
{
	TCase *all = kit_case("rows", 60, 10000);

	kit_add(all, UNIT_TESTS{
		texts_come_back_byte_by_byte, every_range_of_utf8_comes_back,
		long_texts_come_back_in_every_column, a_batch_of_long_rows_passes,
		null_is_not_the_empty_text, numbers_have_64_bits,
		upsert_inserts_and_then_replaces_everything,
		batches_of_every_size_are_written_and_deleted, batches_mix_new_and_known_rows,
		deleting_what_is_not_there_is_fine, rows_of_other_nodes_stay_as_they_are,
		commit_keeps_rollback_and_close_undo, a_hundred_thousand_rows_stream_in_flat_memory,
		reading_stops_when_told_and_the_connection_goes_on,
		a_child_that_leaves_it_alone_does_no_harm, signals_stay_as_they_are, NULL });
	if (!kit_is("fake"))
		kit_add(all,
			UNIT_TESTS{ table_is_made_once_and_found_fit,
				    schema_is_taken_by_the_databases_own_client,
				    missing_table_is_named, other_version_is_named,
				    create_leaves_the_version_that_is_there,
				    table_without_version_is_named, missing_columns_are_named,
				    a_copy_without_the_key_is_named,
				    further_columns_do_no_harm, names_of_columns_are_quoted,
				    what_is_no_number_arrives_as_the_text_it_is,
				    uncommitted_rows_are_nobody_elses, null_in_the_key_is_refused,
				    row_that_a_trigger_refuses_is_refused,
				    table_that_is_gone_is_no_fault_of_a_row,
				    column_that_is_gone_is_no_fault_of_a_row, NULL });
	if (kit_is("sqlite") || kit_is("mysql"))
		kit_add(all, UNIT_TESTS{ rows_come_in_order_of_the_key, NULL });
	if (kit_is_server())
		kit_add(all, UNIT_TESTS{
			key_that_is_too_long_is_refused, text_that_is_no_utf8_is_refused,
			text_too_long_for_its_column_is_refused, a_view_will_do,
			committing_what_was_refused_is_no_success, NULL });
	if (kit_is("postgres"))
		kit_add(all,
			UNIT_TESTS{ table_that_is_somebody_elses_is_not_called_missing, NULL });
	if (kit_is("mysql"))
		kit_add(all, UNIT_TESTS{ row_larger_than_a_packet_is_refused, NULL });
	return kit_run(all);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Database URLs, the finding of drivers, names of tables and columns. */

#include "unit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../db/db.h"

static struct db_url url;

static void parse(const char *text)
{
	const char *why = NULL;

	db_url_free(&url);
	ck_assert_msg(db_url_parse(text, &url, &why) == 0, "%s: %s", text, why);
	ck_assert_ptr_null(why);
}

START_TEST(all_parts_are_found)
{
	parse("mysql://dialog:secret@db.example.org:3307/calls?timeout=7");
	ck_assert_str_eq(url.scheme, "mysql");
	ck_assert_str_eq(url.user, "dialog");
	ck_assert_str_eq(url.password, "secret");
	ck_assert_str_eq(url.host, "db.example.org");
	ck_assert_uint_eq(url.port, 3307);
	ck_assert_str_eq(url.database, "calls");
	ck_assert_uint_eq(url.timeout_ms, 7000);
	ck_assert_str_eq(url.plain, "mysql://dialog@db.example.org:3307/calls?timeout=7");
}
END_TEST

START_TEST(parts_may_be_missing)
{
	parse("PostgreSQL://h/d");
	ck_assert_str_eq(url.scheme, "postgresql");
	ck_assert_str_eq(url.user, "");
	ck_assert_str_eq(url.password, "");
	ck_assert_uint_eq(url.port, 0);
	ck_assert_uint_eq(url.timeout_ms, 5000);
	ck_assert_str_eq(url.plain, "PostgreSQL://h/d");
	parse("mysql://user@/d");
	ck_assert_str_eq(url.user, "user");
	ck_assert_str_eq(url.host, "");
	parse("mysql://user:@h/d");
	ck_assert_str_eq(url.password, "");
	parse("mysql://:pw@h/d");
	ck_assert_str_eq(url.user, "");
	ck_assert_str_eq(url.password, "pw");
	ck_assert_ptr_null(strstr(url.plain, "pw"));
	parse("sqlite:///var/lib/x@y.db");
	ck_assert_str_eq(url.host, "");
	ck_assert_str_eq(url.database, "var/lib/x@y.db");
	ck_assert_str_eq(url.plain, "sqlite:///var/lib/x@y.db");
}
END_TEST

START_TEST(percent_signs_are_decoded_in_every_part)
{
	parse("mysql://us%40er:p%40s%3as%2Fw%3F%25@h%6Fst/d%20b");
	ck_assert_str_eq(url.user, "us@er");
	ck_assert_str_eq(url.password, "p@s:s/w?%");
	ck_assert_str_eq(url.host, "host");
	ck_assert_str_eq(url.database, "d b");
	parse("postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d");
	ck_assert_str_eq(url.host, "/var/run/postgresql");
}
END_TEST

START_TEST(the_last_at_sign_and_the_first_colon_count)
{
	parse("mysql://u:p@ss:w?rd#@h:1/d");
	ck_assert_str_eq(url.user, "u");
	ck_assert_str_eq(url.password, "p@ss:w?rd#");
	ck_assert_str_eq(url.host, "h");
	ck_assert_uint_eq(url.port, 1);
	ck_assert_str_eq(url.plain, "mysql://u@h:1/d");
}
END_TEST

START_TEST(ipv6_addresses_stand_in_brackets)
{
	parse("postgres://u:p@[2001:db8::1]:5433/d");
	ck_assert_str_eq(url.host, "2001:db8::1");
	ck_assert_uint_eq(url.port, 5433);
	parse("postgres://[::1]/d");
	ck_assert_str_eq(url.host, "::1");
	ck_assert_uint_eq(url.port, 0);
	ck_assert_str_eq(url.plain, "postgres://[::1]/d");
}
END_TEST

/* Each with a part of the reason, which repeats nothing of the URL. */
START_TEST(malformed_urls_are_refused_with_the_reason)
{
	static const struct {
		const char *text, *reason;
	} bad[] = {
		{ NULL, "scheme" },
		{ "", "scheme" },
		{ "mysql", "scheme" },
		{ "mysql:", "scheme" },
		{ "mysql:/h/d", "scheme" },
		{ "://h/d", "scheme" },
		{ "my-sql://h/d", "scheme" },
		{ "averyveryverylongscheme://h/d", "scheme" },
		{ "mysql://u:zpasswd@h", "no database" },
		{ "mysql://u:zpasswd@h/", "no database" },
		{ "mysql://u:zpasswd@h/?timeout=1", "no database" },
		{ "mysql://u:zpasswd", "host or port" },
		{ "mysql://u:zpa/sswd@h/d", "host or port" },
		{ "mysql://u:123/zpasswd@h/d", "%2F" },
		{ "mysql://u:zpasswd@h/d/e", "one database" },
		{ "mysql://u:zpasswd@h:0/d", "host or port" },
		{ "mysql://u:zpasswd@h:65536/d", "host or port" },
		{ "mysql://u:zpasswd@h:x/d", "host or port" },
		{ "mysql://u:zpasswd@::1/d", "host or port" },
		{ "mysql://u:zpasswd@[::1/d", "host or port" },
		{ "mysql://u:zpasswd@[::1]x/d", "host or port" },
		{ "mysql://u:zpasswd%@h/d", "%XX" },
		{ "mysql://u:zpasswd%4@h/d", "%XX" },
		{ "mysql://u:zpasswd%g0@h/d", "%XX" },
		{ "mysql://u:zpasswd%00@h/d", "%XX" },
		{ "mysql://u:p@h/d?timeout", "timeout=SECONDS" },
		{ "mysql://u:p@h/d?timeout=0", "timeout=SECONDS" },
		{ "mysql://u:p@h/d?timeout=3601", "timeout=SECONDS" },
		{ "mysql://u:p@h/d?timeout=1s", "timeout=SECONDS" },
		{ "mysql://u:p@h/d?ssl=zpasswd", "timeout=SECONDS" },
		{ "mysql://u:p\n@h/d", "control" },
		{ "mysql://u:p@h/d\x7f", "control" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *why = NULL;

		ck_assert_msg(db_url_parse(bad[i].text, &url, &why) < 0, "%s passes", bad[i].text);
		ck_assert_msg(why && strstr(why, bad[i].reason), "%s: %s", bad[i].text, why);
		ck_assert_msg(!strstr(why, "zpa"), "%s", why);
		ck_assert_ptr_null(url.password);
		ck_assert_ptr_null(url.plain);
	}
}
END_TEST

START_TEST(freeing_twice_does_no_harm)
{
	parse("mysql://u:p@h/d");
	db_url_free(&url);
	db_url_free(&url);
	ck_assert_ptr_null(url.host);
}
END_TEST

/* ---- drivers ---- */

static const struct db_driver *load(const char *dir, const char *scheme, char *why)
{
	why[0] = '\0';
	return db_driver_load(dir, scheme, why, 512);
}

START_TEST(unknown_scheme_is_answered_with_the_known_ones)
{
	char why[512];

	ck_assert_ptr_null(load("/nonexistent", "oracle", why));
	ck_assert_msg(strstr(why, "\"oracle\"") && strstr(why, "mysql") &&
			      strstr(why, "postgresql") && strstr(why, "sqlite"),
		      "%s", why);
}
END_TEST

START_TEST(missing_driver_is_named_with_its_file)
{
	char why[512];

	ck_assert_ptr_null(load("/nonexistent", "postgresql", why));
	ck_assert_str_eq(why, "/nonexistent/dialog_db_postgres.so is not there");
}
END_TEST

static void make_driver(const char *dir, const char *name, char *path, size_t size)
{
	FILE *f;

	snprintf(path, size, "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert(f && fputs("no driver\n", f) >= 0 && !fclose(f));
}

START_TEST(driver_that_cannot_be_loaded_is_answered_with_a_package)
{
	char dir[] = "/tmp/dlgdb-unit-XXXXXX", path[64], why[512];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	make_driver(dir, "dialog_db_mysql.so", path, sizeof(path));
	ck_assert_ptr_null(load(dir, "mysql", why));
	ck_assert_msg(strstr(why, path) && strstr(why, "libmariadb3"), "%s", why);
	unlink(path);
	rmdir(dir);
}
END_TEST

START_TEST(registered_driver_needs_no_file)
{
	static const struct db_driver driver = { .abi = DB_DRIVER_ABI, .size = sizeof(driver),
						 .name = "own", .schemes = "own mine" };
	char why[512];

	db_driver_register(&driver);
	ck_assert_ptr_eq(load("/nonexistent", "own", why), &driver);
	ck_assert_ptr_eq(load("/nonexistent", "mine", why), &driver);
	ck_assert_ptr_null(load("/nonexistent", "min", why));
}
END_TEST

/* ---- names ---- */

START_TEST(names_are_letters_digits_and_underscores)
{
	static const char *const bad[] = { "", "a b", "a-b", "a\"b", "a`b", "a;", "\xc3\xa4", "a.b",
		"a234567890123456789012345678901234567890123456789012345678901234" };
	struct db_column column = { .name = "id" };
	struct db_table t = { .name = "dialog_2", .column = &column, .n_columns = 1 };

	ck_assert_ptr_null(db_table_check(&t));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		column.name = bad[i];
		ck_assert_ptr_eq(db_table_check(&t), bad[i]);
		column.name = "id";
		t.name = bad[i];
		ck_assert_ptr_eq(db_table_check(&t), bad[i]);
		t.name = "dialog_2";
	}
}
END_TEST

int main(void)
{
	return unit_run("db_url",
			UNIT_TESTS{ all_parts_are_found, parts_may_be_missing,
				    percent_signs_are_decoded_in_every_part,
				    the_last_at_sign_and_the_first_colon_count,
				    ipv6_addresses_stand_in_brackets,
				    malformed_urls_are_refused_with_the_reason,
				    freeing_twice_does_no_harm,
				    unknown_scheme_is_answered_with_the_known_ones,
				    missing_driver_is_named_with_its_file,
				    driver_that_cannot_be_loaded_is_answered_with_a_package,
				    registered_driver_needs_no_file,
				    names_are_letters_digits_and_underscores, NULL },
			10);
}

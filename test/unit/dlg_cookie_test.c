/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_cookie.h"
#include "unit.h"

static void check_print(uint32_t entry, uint32_t id, const char *text)
{
	char out[DLG_COOKIE_MAX];

	ck_assert_uint_eq(dlg_cookie_print(out, entry, id), strlen(text));
	ck_assert_str_eq(out, text);
}

START_TEST(cookie_is_written_as_the_family_does)
{
	check_print(3548, 1602897427, "cdd.3164a8f5");
	check_print(0, 1, "0.1");
	check_print(16, 256, "01.001");
	check_print(UINT32_MAX, UINT32_MAX, "ffffffff.ffffffff");
	check_print(0x80000000u, 0x7fffffff, "00000008.fffffff7");
}
END_TEST

static void check_round(uint32_t entry, uint32_t id)
{
	char out[DLG_COOKIE_MAX];
	uint32_t e = ~entry, i = ~id;

	dlg_cookie_print(out, entry, id);
	ck_assert_int_eq(dlg_cookie_parse(dlg_str_of(out), &e, &i), 0);
	ck_assert_uint_eq(e, entry);
	ck_assert_uint_eq(i, id);
}

START_TEST(cookie_comes_back_as_it_was)
{
	uint32_t x = 12345;

	for (int n = 0; n < 100000; n++) {
		uint32_t entry = x = x * 1664525 + 1013904223;

		x = x * 1664525 + 1013904223;
		check_round(entry >> (n % 32), x >> (n / 32 % 32));
	}
}
END_TEST

/* D3: all 32 bits of an id are used and understood. */
START_TEST(d03_ids_beyond_31_bits_are_parsed)
{
	check_round(4095, 0x80000000u);
	check_round(4095, UINT32_MAX);
}
END_TEST

static void accept(const char *text, uint32_t entry, uint32_t id)
{
	uint32_t e = 0, i = 0;

	ck_assert_msg(dlg_cookie_parse(dlg_str_of(text), &e, &i) == 0, "%s refused", text);
	ck_assert_uint_eq(e, entry);
	ck_assert_uint_eq(i, id);
}

START_TEST(rewritten_cookies_are_tolerated)
{
	accept("CDD.3164A8F5", 3548, 1602897427);
	accept("cdd0.3164a8f500", 3548, 1602897427);
	accept("cdd000000000.3164a8f500000000", 3548, 1602897427);
	accept("\"cdd.3164a8f5\"", 3548, 1602897427);
	accept(" cdd.3164a8f5\t", 3548, 1602897427);
}
END_TEST

START_TEST(everything_else_is_refused)
{
	static const char *const bad[] = {
		"",
		".",
		"1.",
		".1",
		"abc",
		"zz.yy",
		"-1.2",
		"1.-2",
		"E.I.3",
		"1..2",
		"1.2.3",
		"12g.1",
		"1.1g",
		"0x1.1",
		"1 .1",
		"1. 1",
		"ffffffff1.1",
		"1.ffffffff1",
		"1.000000001",
		"ffffffffffffffffffffffffffffffffffffffff.1",
		"1.ffffffffffffffffffffffffffffffffffffffff",
		"1.00000000000000000000000000000000000000000000",
		"\"",
		"\"\"",
		"\".\"",
		"\"1.1",
		"1.1\"",
	};

	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		uint32_t e = 7, i = 8;

		ck_assert_msg(dlg_cookie_parse(dlg_str_of(bad[n]), &e, &i) == -1, "%s accepted",
			      bad[n]);
		ck_assert(e == 7 && i == 8);
	}
}
END_TEST

START_TEST(a_nul_byte_is_no_digit)
{
	uint32_t e, i;

	ck_assert_int_eq(dlg_cookie_parse(DLG_STR("1\0.1"), &e, &i), -1);
	ck_assert_int_eq(dlg_cookie_parse(DLG_STR("1.1\0"), &e, &i), -1);
	ck_assert_int_eq(dlg_cookie_parse(DLG_STR_NONE, &e, &i), -1);
}
END_TEST

int main(void)
{
	return unit_run("dlg_cookie",
			UNIT_TESTS{ cookie_is_written_as_the_family_does,
				    cookie_comes_back_as_it_was, d03_ids_beyond_31_bits_are_parsed,
				    rewritten_cookies_are_tolerated, everything_else_is_refused,
				    a_nul_byte_is_no_digit, NULL },
			10);
}

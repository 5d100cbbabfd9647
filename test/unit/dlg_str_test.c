/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

START_TEST(views_compare_by_bytes)
{
	ck_assert(dlg_str_eq(DLG_STR("abc"), DLG_STR("abc")));
	ck_assert(!dlg_str_eq(DLG_STR("abc"), DLG_STR("abC")));
	ck_assert(!dlg_str_eq(DLG_STR("abc"), DLG_STR("ab")));
	ck_assert(dlg_str_eq(DLG_STR_NONE, DLG_STR("")));
	ck_assert(dlg_str_eq(DLG_STR("a\0b"), DLG_STR("a\0b")));
	ck_assert(!dlg_str_eq(DLG_STR("a\0b"), DLG_STR("a\0c")));
}
END_TEST

START_TEST(names_compare_without_case)
{
	ck_assert(dlg_str_eq_nocase(DLG_STR("Lr"), DLG_STR("lR")));
	ck_assert(dlg_str_eq_nocase(DLG_STR_NONE, DLG_STR("")));
	ck_assert(!dlg_str_eq_nocase(DLG_STR("lr"), DLG_STR("lr=on")));
}
END_TEST

START_TEST(null_text_is_the_empty_view)
{
	ck_assert_uint_eq(dlg_str_of(NULL).len, 0);
	ck_assert_uint_eq(dlg_str_of("xy").len, 2);
}
END_TEST

START_TEST(trim_removes_blanks_and_line_ends)
{
	ck_assert_view(dlg_str_trim(DLG_STR(" \t a b \r\n")), "a b");
	ck_assert_view(dlg_str_trim(DLG_STR(" \r\n\t ")), "");
	ck_assert_view(dlg_str_trim(DLG_STR_NONE), "");
	ck_assert_view(dlg_str_trim(DLG_STR("x")), "x");
}
END_TEST

static void refuse(const char *text, uint64_t max)
{
	uint64_t n = 77;

	ck_assert_int_eq(dlg_str_to_u64(dlg_str_of(text), max, &n), -1);
	ck_assert_uint_eq(n, 77);
}

START_TEST(numbers_are_parsed_strictly)
{
	uint64_t n;

	ck_assert_int_eq(dlg_str_to_u64(DLG_STR("0"), 0, &n), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(dlg_str_to_u64(DLG_STR("00042"), 100, &n), 0);
	ck_assert_uint_eq(n, 42);
	ck_assert_int_eq(dlg_str_to_u64(DLG_STR("18446744073709551615"), UINT64_MAX, &n), 0);
	ck_assert_uint_eq(n, UINT64_MAX);
	ck_assert_int_eq(dlg_str_to_u64(DLG_STR("4294967295"), UINT32_MAX, &n), 0);
	refuse("", 10);
	refuse("-1", 10);
	refuse("+1", 10);
	refuse(" 1", 10);
	refuse("1 ", 10);
	refuse("0x1", 10);
	refuse("1a", 100);
	refuse("11", 10);
	refuse("7", 6);
	refuse("4294967296", UINT32_MAX);
	refuse("18446744073709551616", UINT64_MAX);
	refuse("99999999999999999999999999", UINT64_MAX);
}
END_TEST

START_TEST(buffer_grows_and_keeps_its_content)
{
	struct dlg_buf b = { 0 };

	for (int i = 0; i < 10000; i++)
		dlg_buf_printf(&b, "%d,", i % 10);
	ck_assert_uint_eq(b.len, 20000);
	ck_assert_int_eq(b.failed, 0);
	ck_assert(!strncmp(b.s + 19990, "5,6,7,8,9,", 10));
	dlg_buf_add(&b, DLG_STR_NONE);
	ck_assert_uint_eq(b.len, 20000);
	dlg_buf_reset(&b);
	ck_assert_uint_eq(dlg_buf_view(&b).len, 0);
	dlg_buf_add(&b, DLG_STR("x"));
	ck_assert_view(dlg_buf_view(&b), "x");
	dlg_buf_free(&b);
	ck_assert_ptr_null(b.s);
}
END_TEST

START_TEST(buffer_text_is_terminated)
{
	struct dlg_buf b = { 0 };

	for (unsigned i = 0; i < 300; i++) {
		dlg_buf_add(&b, DLG_STR("z"));
		ck_assert_uint_eq(strlen(b.s), i + 1);
	}
	dlg_buf_free(&b);
}
END_TEST

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

START_TEST(buffer_without_memory_keeps_what_it_has)
{
	struct dlg_buf b = { 0 };

	dlg_buf_add(&b, DLG_STR("before"));
	/* more than any allocator gives; the bytes are never read */
	dlg_buf_add(&b, (struct dlg_str){ "x", SIZE_MAX / 2 });
	ck_assert_int_ne(b.failed, 0);
	ck_assert_view(dlg_buf_view(&b), "before");
	dlg_buf_add(&b, DLG_STR("after"));
	dlg_buf_printf(&b, "%d", 1);
	ck_assert_view(dlg_buf_view(&b), "before");
	dlg_buf_reset(&b);
	dlg_buf_add(&b, DLG_STR("again"));
	ck_assert_view(dlg_buf_view(&b), "again");
	dlg_buf_free(&b);
}
END_TEST

START_TEST(control_bytes_become_dots)
{
	char line[] = "a\r\n 0(1) ERROR\x1b[2J\t\x7f \xc3\xa4";

	dlg_str_printable(line);
	ck_assert_str_eq(line, "a.. 0(1) ERROR.[2J.. \xc3\xa4");
}
END_TEST

/* Dialogs are stored under it. */
START_TEST(the_hash_stays_what_it_was)
{
	ck_assert_uint_eq(dlg_str_hash(DLG_STR("cid-11891@127.0.0.1")), 0xacecba86f6776b61u);
	ck_assert_uint_eq(dlg_str_hash(DLG_STR_NONE), 0xfdbdf6ac4fc52e7fu);
}
END_TEST

/* The first results of the authors' test: key 0 1 2 ... 15, and 0, 1, 2 ... as the text. */
START_TEST(the_secret_hash_is_siphash)
{
	static const uint64_t key[2] = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };
	static const uint64_t expected[] = {
		0x726fdb47dd0e0e31u, 0x74f839c593dc67fdu, 0x0d6c8009d9a94f5au, 0x85676696d7fb7e2du,
		0xcf2794e0277187b7u, 0x18765564cd99a68du, 0xcbc9466e58fee3ceu, 0xab0200f58b01d137u,
		0x93f5f5799a932462u, 0x9e0082df0ba9e4b0u, 0x7a5dbbc594ddb9f3u, 0xf4b32f46226bada7u,
		0x751e8fbc860ee5fbu, 0x14ea5627c0843d90u, 0xf723ca908e7af2eeu, 0xa129ca6149be45e5u,
	};
	char text[16];

	for (size_t i = 0; i < 16; i++) {
		text[i] = (char)i;
		ck_assert_uint_eq(dlg_str_hash_secret(key, (struct dlg_str){ text, i }),
				  expected[i]);
	}
}
END_TEST

START_TEST(numbers_are_printed_whole)
{
	struct dlg_buf b = { 0 };

	dlg_buf_add_number(&b, 0);
	dlg_buf_add(&b, DLG_STR(" "));
	dlg_buf_add_number(&b, 1009);
	dlg_buf_add(&b, DLG_STR(" "));
	dlg_buf_add_number(&b, UINT64_MAX);
	ck_assert_view(dlg_buf_view(&b), "0 1009 18446744073709551615");
	dlg_buf_free(&b);
}
END_TEST

START_TEST(bare_is_every_byte_but_blanks_controls_and_delimiters)
{
	char text[20];

	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < sizeof(text); at++) {
			memset(text, 'x', sizeof(text));
			text[at] = (char)c;
			ck_assert_int_eq(
				dlg_str_is_bare((struct dlg_str){ text, sizeof(text) }),
				c > ' ' && !strchr("<>\"\177", c));
		}
	}
	ck_assert(dlg_str_is_bare(DLG_STR_NONE));
}
END_TEST

/* Of dlg_str_hash() a collision is known. */
START_TEST(collisions_do_not_survive_a_secret)
{
	struct dlg_str a = DLG_STR("8yn0iYCKYHlIj4-BwPqk"), b = DLG_STR("GReLUrM4wMqfg9yzV3KQ");
	uint64_t key[2] = { 0, 1 };

	ck_assert_uint_eq(dlg_str_hash(a), dlg_str_hash(b));
	for (; key[0] < 1000; key[0]++)
		ck_assert_uint_ne(dlg_str_hash_secret(key, a), dlg_str_hash_secret(key, b));
}
END_TEST

int main(void)
{
	return unit_run("dlg_str",
			UNIT_TESTS{ views_compare_by_bytes, names_compare_without_case,
				    null_text_is_the_empty_view, trim_removes_blanks_and_line_ends,
				    numbers_are_parsed_strictly, buffer_grows_and_keeps_its_content,
				    buffer_text_is_terminated,
				    buffer_without_memory_keeps_what_it_has,
				    control_bytes_become_dots,
				    bare_is_every_byte_but_blanks_controls_and_delimiters,
				    numbers_are_printed_whole,
				    the_hash_stays_what_it_was, the_secret_hash_is_siphash,
				    collisions_do_not_survive_a_secret, NULL },
			10);
}

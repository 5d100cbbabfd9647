/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_header.h"
#include "unit.h"

#include <stdlib.h>

static const char text[] = "Via: SIP/2.0/UDP h\r\n"
			   "Contact :\t<sip:a@b>\r\n"
			   "m:<sip:c>\n"
			   "Record-Route: <sip:x;lr>,\r\n <sip:y;lr>\r\n\t, <sip:z;lr>\r\n"
			   "Empty:\r\n"
			   "\r\n"
			   "Contact: <sip:in.the.body>\r\n";

START_TEST(fields_are_cut_off_one_by_one)
{
	struct dlg_str rest = dlg_str_of(text), name, body;

	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), 0);
	ck_assert_view(name, "Via");
	ck_assert_view(body, "SIP/2.0/UDP h");
	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), 0);
	ck_assert_view(name, "Contact");
	ck_assert_view(body, "<sip:a@b>");
	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), 0);
	ck_assert_view(name, "m");
	ck_assert_view(body, "<sip:c>");
	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), 0);
	ck_assert_view(name, "Record-Route");
	ck_assert_view(body, "<sip:x;lr>,\r\n <sip:y;lr>\r\n\t, <sip:z;lr>");
	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), 0);
	ck_assert_view(name, "Empty");
	ck_assert_view(body, "");
	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), -1);
	ck_assert_view(rest, "\r\nContact: <sip:in.the.body>\r\n");
	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), -1);
}
END_TEST

START_TEST(what_is_no_field_ends_the_walk)
{
	static const char *const bad[] = { "", "no colon\r\nA: b\r\n", " A: b\r\n", ":b\r\n", "\r\n" };
	struct dlg_str name, body;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dlg_str rest = dlg_str_of(bad[i]);

		ck_assert_int_eq(dlg_header_next(&rest, &name, &body), -1);
		ck_assert_uint_eq(rest.len, strlen(bad[i]));
	}
}
END_TEST

START_TEST(the_last_field_needs_no_line_end)
{
	struct dlg_str rest = DLG_STR("A: b"), name, body;

	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), 0);
	ck_assert_view(body, "b");
	ck_assert_uint_eq(rest.len, 0);
	ck_assert_int_eq(dlg_header_next(&rest, &name, &body), -1);
}
END_TEST

START_TEST(names_have_no_case_and_a_compact_form)
{
	ck_assert(dlg_header_is(DLG_STR("cONTACT"), DLG_STR("Contact"), 'm'));
	ck_assert(dlg_header_is(DLG_STR("M"), DLG_STR("Contact"), 'm'));
	ck_assert(!dlg_header_is(DLG_STR("k"), DLG_STR("Contact"), 'm'));
	ck_assert(!dlg_header_is(DLG_STR("r"), DLG_STR("Route"), '\0'));
	ck_assert(!dlg_header_is(DLG_STR("Routes"), DLG_STR("Route"), '\0'));
}
END_TEST

/* In memory that ends where the text does: a sanitizer sees who looks further. */
START_TEST(no_prefix_reads_beyond_its_end)
{
	for (size_t len = 0; len < sizeof(text); len++) {
		char *copy = malloc(len + !len);
		struct dlg_str rest = { copy, len }, name, body;

		memcpy(copy, text, len);
		while (dlg_header_next(&rest, &name, &body) == 0)
			ck_assert(name.len && body.len <= len);
		free(copy);
	}
}
END_TEST

int main(void)
{
	return unit_run("dlg_header",
			UNIT_TESTS{ fields_are_cut_off_one_by_one, what_is_no_field_ends_the_walk,
				    the_last_field_needs_no_line_end,
				    names_have_no_case_and_a_compact_form,
				    no_prefix_reads_beyond_its_end, NULL },
			10);
}

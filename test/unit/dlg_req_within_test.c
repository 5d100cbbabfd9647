/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_req_within.h"

#include "unit.h"

static void check(const char *text, int expected)
{
	ck_assert_msg(!!dlg_req_within_headers_ok(dlg_str_of(text)) == expected, "\"%s\" %s", text,
		      expected ? "refused" : "accepted");
}

START_TEST(complete_header_lines_are_fine)
{
	check("", 1);
	check("X-R: one", 1);
	check("X-R: one\r\n", 1);
	check("X-R: one\r\nX-S:two\r\n", 1);
	check("X-R:\r\n", 1);
	check("X-R: a\r\n folded\r\n\tagain\r\nY: b", 1);
	check("a-Z.0!%*_+`'~: tab\there, \xc3\xa4 and : colons\r\n", 1);
}
END_TEST

START_TEST(anything_else_is_refused)
{
	check("nonsense", 0);
	check("X R: one\r\n", 0);
	check(": one\r\n", 0);
	check(" X: one\r\n", 0);
	check("\r\n", 0);
	check("X: y\r\n\r\n", 0);
	check("X: y\r\n\r\nbody", 0);
	check("X: y\r\n \r\nZ: a\r\n", 0);
	check("X: y\n", 0);
	check("X: y\nZ: a\r\n", 0);
	check("X: y\rZ: a\r\n", 0);
	check("X: a\x01"
	      "b\r\n",
	      0);
	check("X: a\x7f\r\n", 0);
	check("X: y\r\nnonsense\r\n", 0);
	ck_assert(!dlg_req_within_headers_ok(DLG_STR("X: a\0b\r\n")));
}
END_TEST

START_TEST(headers_that_every_request_has_are_refused)
{
	static const char *const names[] = { "Via",
					     "v",
					     "From",
					     "f",
					     "TO",
					     "t",
					     "i",
					     "call-id",
					     "CSeq",
					     "Max-Forwards",
					     "Route",
					     "l",
					     "Record-Route",
					     "content-length" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[64];

		snprintf(text, sizeof(text), "X: y\r\n%s: 5\r\n", names[i]);
		check(text, 0);
		snprintf(text, sizeof(text), "%s : 5", names[i]);
		check(text, 0);
	}
	check("Reason : Q.850;cause=16\r\n", 1);
	check("Via-X: 1", 1);
}
END_TEST

int main(void)
{
	return unit_run(
		"dlg_req_within",
		UNIT_TESTS{ complete_header_lines_are_fine, anything_else_is_refused,
			    headers_that_every_request_has_are_refused, NULL }, 10);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../dlg_route.h"
#include "unit.h"

static const char set[] = "<sip:127.0.0.1:15082;lr;a=b>,\"disp, \\\"x\\\" <no>\" "
			  "<sip:10.9.9.9;lr>;hp=1 , ,  sip:a@b;p=1,"
			  "<sip:c?h=a,b>";

START_TEST(commas_in_quotes_and_brackets_do_not_separate)
{
	struct dlg_str list = dlg_str_of(set), entry;

	ck_assert_uint_eq(dlg_route_count(list), 4);
	ck_assert_int_eq(dlg_route_next(&list, &entry), 0);
	ck_assert_view(entry, "<sip:127.0.0.1:15082;lr;a=b>");
	ck_assert_int_eq(dlg_route_next(&list, &entry), 0);
	ck_assert_view(entry, "\"disp, \\\"x\\\" <no>\" <sip:10.9.9.9;lr>;hp=1");
	ck_assert_int_eq(dlg_route_next(&list, &entry), 0);
	ck_assert_view(entry, "sip:a@b;p=1");
	ck_assert_int_eq(dlg_route_next(&list, &entry), 0);
	ck_assert_view(entry, "<sip:c?h=a,b>");
	ck_assert_int_eq(dlg_route_next(&list, &entry), -1);
}
END_TEST

START_TEST(an_empty_list_has_no_entries)
{
	ck_assert_uint_eq(dlg_route_count(DLG_STR_NONE), 0);
	ck_assert_uint_eq(dlg_route_count(DLG_STR(" , ,, ")), 0);
	ck_assert_view(dlg_route_last_uri(DLG_STR(",")), "");
}
END_TEST

START_TEST(uri_is_found_in_every_form_of_entry)
{
	ck_assert_view(dlg_route_uri(DLG_STR("<sip:a@b;lr>;x=y")), "sip:a@b;lr");
	ck_assert_view(dlg_route_uri(DLG_STR("\"a <b>\" <sip:c>")), "sip:c");
	ck_assert_view(dlg_route_uri(DLG_STR("Bob <sips:c>")), "sips:c");
	ck_assert_view(dlg_route_uri(DLG_STR("sip:c;tag=1")), "sip:c");
	ck_assert_view(dlg_route_uri(DLG_STR("<sip:c")), "");
	ck_assert_view(dlg_route_uri(DLG_STR("")), "");
	ck_assert_view(dlg_route_last_uri(dlg_str_of(set)), "sip:c?h=a,b");
}
END_TEST

START_TEST(hosts_with_names_must_be_looked_up)
{
	static const char *const numeric[] = {
		"sip:a@192.0.2.1", "sip:192.0.2.1:5060;lr", "sips:a:b@192.0.2.1?x=y", "sip:[2001:db8::1]:5060",
		"SIP:a@[::1];transport=tcp", "sip:a;b@192.0.2.1", "",
	};
	static const char *const names[] = {
		"sip:a@example.com", "sip:192.0.2.1@example.com", "sip:192.0.2.1.example.com;lr", "sip:a@192.0.2.999",
		"sip:a@192.0.2.1;maddr=example.com", "sip:a@[example]", "tel:+49123", "rubbish",
		"sip:a@1111111111111111111111111111111111111111111111111111111111111111111111111111",
	};

	for (size_t i = 0; i < sizeof(numeric) / sizeof(numeric[0]); i++)
		ck_assert_msg(dlg_route_is_numeric(dlg_str_of(numeric[i])), "%s", numeric[i]);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(!dlg_route_is_numeric(dlg_str_of(names[i])), "%s", names[i]);
}
END_TEST

static void check_slice(unsigned skip, unsigned take, int reverse, const char *expected)
{
	struct dlg_buf out = { 0 };

	dlg_buf_add(&out, DLG_STR("|"));
	dlg_route_slice(&out, DLG_STR("<sip:1>, <sip:2>,<sip:3>"), skip, take, reverse);
	ck_assert_view(dlg_buf_view(&out), expected);
	dlg_buf_free(&out);
}

START_TEST(slices_forward_and_reversed)
{
	check_slice(0, 3, 0, "|<sip:1>,<sip:2>,<sip:3>");
	check_slice(0, 3, 1, "|<sip:3>,<sip:2>,<sip:1>");
	check_slice(1, 1, 0, "|<sip:2>");
	check_slice(1, 2, 1, "|<sip:3>,<sip:2>");
	check_slice(0, 2, 1, "|<sip:2>,<sip:1>");
	check_slice(2, 9, 0, "|<sip:3>");
	check_slice(3, 1, 1, "|");
	check_slice(0, 0, 1, "|");
	check_slice(9, 4294967295u, 0, "|");
}
END_TEST

static void check_equal(const char *a, const char *b, int expected)
{
	ck_assert_msg(dlg_route_uri_eq(dlg_str_of(a), dlg_str_of(b)) == expected, "%s %s %s", a,
		      expected ? "differs from" : "equals", b);
	ck_assert_msg(dlg_route_uri_eq(dlg_str_of(b), dlg_str_of(a)) == expected, "%s %s %s", b,
		      expected ? "differs from" : "equals", a);
}

START_TEST(uris_equal_in_rfc_3261_19_1_4)
{
	check_equal("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp",
		    1);
	check_equal("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", 1);
	check_equal("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", 1);
	check_equal("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", 1);
	check_equal("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
		    "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", 1);
	check_equal("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
		    "sip:alice@atlanta.com?priority=urgent&subject=project%20x", 1);
}
END_TEST

START_TEST(uris_different_in_rfc_3261_19_1_4)
{
	check_equal("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP",
		    0);
	check_equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", 0);
	check_equal("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", 0);
	check_equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", 0);
	check_equal("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", 0);
	check_equal("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", 0);
	check_equal("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", 0);
}
END_TEST

START_TEST(uris_compare_piece_by_piece)
{
	check_equal("sip:a@b", "sips:a@b", 0);
	check_equal("sip:b", "sip:a@b", 0);
	check_equal("sip:a@b;user=phone", "sip:a@b", 0);
	check_equal("sip:a@b;ttl=1", "sip:a@b", 0);
	check_equal("sip:a@b;method=INVITE", "sip:a@b", 0);
	check_equal("sip:a@b;maddr=1.1.1.1", "sip:a@b", 0);
	check_equal("sip:a@b;lr", "sip:a@b;lr=on", 0);
	check_equal("sip:a@b;lr", "sip:a@b", 1);
	check_equal("sip:[2001:DB8::1]:5060", "sip:[2001:db8::1]:5060", 1);
	check_equal("sip:[2001:db8::1]", "sip:[2001:db8::1]:5060", 0);
	check_equal("sip:a:pw@b", "sip:a:pW@b", 0);
	check_equal("tel:+123", "tel:+123", 1);
	check_equal("tel:+123", "TEL:+123", 0);
	check_equal("", "", 1);
	check_equal("", "sip:a", 0);
	check_equal("sip:", "sip:a", 0);
}
END_TEST

/* D24: the user part is case sensitive. */
START_TEST(d24_user_part_is_case_sensitive)
{
	check_equal("sip:Bob@127.0.0.1:15081", "sip:bob@127.0.0.1:15081", 0);
}
END_TEST

START_TEST(no_bytes_crash_the_parsers)
{
	static const char alphabet[] = "<>\",;:@?[]\\ %sip=a\t";
	char text[40];
	unsigned x = 1;

	for (int n = 0; n < 200000; n++) {
		struct dlg_str v = { text, 0 }, w;
		struct dlg_buf out = { 0 };

		for (v.len = 0; v.len < sizeof(text) && (x >> 16) % 37; v.len++) {
			x = x * 1103515245 + 12345;
			text[v.len] = alphabet[(x >> 16) % (sizeof(alphabet) - 1)];
		}
		x = x * 1103515245 + 12345;
		w = dlg_route_uri(v);
		ck_assert(w.len <= v.len);
		ck_assert(dlg_route_uri_eq(v, v));
		dlg_route_slice(&out, v, (x >> 20) % 3, (x >> 24) % 5, (int)(x >> 31));
		ck_assert(out.len <= v.len + 5);
		dlg_buf_free(&out);
	}
}
END_TEST

static void check_target(const char *uri, const char *target)
{
	ck_assert_view(dlg_route_target(dlg_str_of(uri)), target);
}

START_TEST(a_target_has_no_header_part)
{
	check_target("sip:bob@h:5070;x=y?Replaces=abc%3B&a=b", "sip:bob@h:5070;x=y");
	check_target("sip:h?a=b", "sip:h");
	check_target("sip:what?@h;lr", "sip:what?@h;lr"); /* the user part may have a ? */
	check_target("sip:what?@h?a=b", "sip:what?@h");
	check_target("tel:+1234?x", "tel:+1234?x");
	check_target("", "");
}
END_TEST

static void check_param(const char *params, const char *value)
{
	struct dlg_str v = DLG_STR("unset");

	ck_assert_int_eq(dlg_route_param(dlg_str_of(params), DLG_STR("did"), &v), value != NULL);
	ck_assert_view(v, value ? value : "unset");
}

START_TEST(a_parameter_is_found_by_its_name)
{
	check_param("lr=on;did=1.2;ftag=x", "1.2");
	check_param(";DID=1.2", "1.2");
	check_param("did", "");
	check_param("did=;lr", "");
	check_param("did=a=b;did=c", "a=b");
	check_param("xdid=1;didx=2;lr", NULL);
	check_param("lr=did=1", NULL);
	check_param("", NULL);
}
END_TEST

static void check_tag(const char *body, const char *tag)
{
	ck_assert_view(dlg_route_tag(dlg_str_of(body)), tag);
}

START_TEST(a_tag_is_found_in_every_form_of_header)
{
	check_tag("<sip:a@b>;tag=x1", "x1");
	check_tag("\"A ;tag=no\" <sip:a@b;tag=no?tag=no>;p=\";tag=no;\";TAG = y.2 ;q", "y.2");
	check_tag("sip:a@b;tag=z", "z");
	check_tag("<sip:a@b>;tagged=1\r\n ;tag\t=\r\n t3", "t3");
	check_tag("<sip:a@b>;tag=first;tag=second", "first");
	check_tag("<sip:a@b>;tag=a,b;x", "a,b");
	check_tag("<sip:a@b>", "");
	check_tag("<sip:a@b>;tag", "");
	check_tag("<sip:a@b>;tag=", "");
	check_tag("<sip:a@b;tag=inside", "");
	check_tag(";", "");
	check_tag("", "");
}
END_TEST

int main(void)
{
	return unit_run(
		"dlg_route",
		UNIT_TESTS{ commas_in_quotes_and_brackets_do_not_separate,
			    an_empty_list_has_no_entries, uri_is_found_in_every_form_of_entry,
			    hosts_with_names_must_be_looked_up,
			    slices_forward_and_reversed, uris_equal_in_rfc_3261_19_1_4,
			    uris_different_in_rfc_3261_19_1_4, uris_compare_piece_by_piece,
			    d24_user_part_is_case_sensitive, no_bytes_crash_the_parsers,
			    a_target_has_no_header_part,
			    a_parameter_is_found_by_its_name,
			    a_tag_is_found_in_every_form_of_header, NULL },
		20);
}

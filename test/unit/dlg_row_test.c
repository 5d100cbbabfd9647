/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows and their texts: there and back, and everything that can be wrong with a row. */
#include "../../dlg_row.h"

#include <stdlib.h>

#include "unit.h"

static struct dlg_buf image, arena, text;
static struct db_value values[DLG_ROW_N];
static struct dlg_row row;
static const char *why;

static struct dlg_str str(const char *s)
{
	return dlg_str_of(s);
}

static void done(void)
{
	dlg_buf_free(&image);
	dlg_buf_free(&arena);
	dlg_buf_free(&text);
}

/* ---- texts ---- */

static void check_escape(struct dlg_str raw, const char *special, const char *wanted)
{
	struct dlg_buf back = { 0 };

	dlg_buf_reset(&text);
	dlg_row_escape(&text, raw, special);
	ck_assert_view(dlg_buf_view(&text), wanted);
	dlg_row_unescape(&back, dlg_buf_view(&text));
	ck_assert(dlg_str_eq(dlg_buf_view(&back), raw));
	dlg_buf_free(&back);
}

START_TEST(texts_come_back_as_they_were)
{
	check_escape(DLG_STR("plain text, nothing else"), "#|", "plain text, nothing else");
	check_escape(DLG_STR("a|b#c\\d"), "#|", "a\\|b\\#c\\\\d");
	check_escape(DLG_STR("a|b#c\\d"), "", "a|b#c\\\\d");
	check_escape(DLG_STR("line\r\nend\0"), "", "line\\x0d\\x0aend\\x00");
	check_escape(DLG_STR("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"), "",
		     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
	check_escape(DLG_STR("\xff\xc3\x28\x80"), "", "\\xff\\xc3(\\x80");
	check_escape(DLG_STR("\xc0\xaf\xe0\x80\x80\xed\xa0\x80\xf4\x90\x80\x80"), "",
		     "\\xc0\\xaf\\xe0\\x80\\x80\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
	check_escape(DLG_STR("\xe2\x82"), "", "\\xe2\\x82");
	check_escape(DLG_STR("\\x41"), "", "\\\\x41");
	check_escape(DLG_STR(""), "#|", "");
	done();
}
END_TEST

START_TEST(every_byte_comes_back)
{
	char all[512], *v = all;

	for (int i = 0; i < 256; i++) {
		*v++ = (char)i;
		*v++ = (char)(255 - i);
	}
	for (size_t n = 0; n <= sizeof(all); n++) {
		struct dlg_buf back = { 0 };

		dlg_buf_reset(&text);
		dlg_row_escape(&text, (struct dlg_str){ all, n }, ",;|#");
		for (size_t i = 0; i < text.len; i++)
			ck_assert_int_ge((unsigned char)text.s[i], ' ');
		dlg_row_unescape(&back, dlg_buf_view(&text));
		ck_assert(dlg_str_eq(dlg_buf_view(&back), (struct dlg_str){ all, n }));
		dlg_buf_free(&back);
	}
	done();
}
END_TEST

START_TEST(d10_pairs_with_any_byte_are_read_as_they_were_written)
{
	struct dlg_str list = DLG_STR("acc#pre\\|paid\\#x\\\\y|v 2#cid\\x00|empty#|"), name, value;

	ck_assert_int_eq(dlg_row_next_pair(&list, &text, &name, &value), 1);
	ck_assert_view(name, "acc");
	ck_assert_view(value, "pre|paid#x\\y");
	ck_assert_int_eq(dlg_row_next_pair(&list, &text, &name, &value), 1);
	ck_assert_view(name, "v 2");
	ck_assert(dlg_str_eq(value, DLG_STR("cid\0")));
	ck_assert_int_eq(dlg_row_next_pair(&list, &text, &name, &value), 1);
	ck_assert_view(name, "empty");
	ck_assert_uint_eq(value.len, 0);
	ck_assert_int_eq(dlg_row_next_pair(&list, &text, &name, &value), 0);
	list = DLG_STR("no hash|");
	ck_assert_int_eq(dlg_row_next_pair(&list, &text, &name, &value), -1);
	list = DLG_STR("no#end");
	ck_assert_int_eq(dlg_row_next_pair(&list, &text, &name, &value), -1);
	list = DLG_STR("no#end\\|");
	ck_assert_int_eq(dlg_row_next_pair(&list, &text, &name, &value), -1);
	done();
}
END_TEST

/* ---- rows ---- */

enum { HASH_SIZE = 4096 };
#define CALL_ID "call-1@127.0.0.9"

static void good_row(void)
{
	static const struct db_value null = { .kind = DB_NULL };

	for (int i = 0; i < DLG_ROW_N; i++)
		values[i] = null;
	values[DLG_ROW_node] = db_text(str(""));
	values[DLG_ROW_h_entry] = db_int((uint32_t)dlg_str_hash(DLG_STR(CALL_ID)) & (HASH_SIZE - 1));
	values[DLG_ROW_h_id] = db_int(4711);
	values[DLG_ROW_callid] = db_text(str(CALL_ID));
	values[DLG_ROW_from_uri] = db_text(str("sip:alice@example.com"));
	values[DLG_ROW_from_tag] = db_text(str("ft"));
	values[DLG_ROW_to_uri] = db_text(str("sip:bob@example.org"));
	values[DLG_ROW_to_tag] = db_text(str("tt"));
	values[DLG_ROW_caller_cseq] = db_int(10);
	values[DLG_ROW_callee_cseq] = db_int(0);
	values[DLG_ROW_caller_contact] = db_text(str("sip:alice@127.0.0.9:5080"));
	values[DLG_ROW_callee_contact] = db_text(str("sip:bob@127.0.0.9:5081"));
	values[DLG_ROW_caller_sock] = db_text(str("udp:127.0.0.1:5060"));
	values[DLG_ROW_callee_sock] = db_text(str("udp:127.0.0.1:5060"));
	values[DLG_ROW_state] = db_int(4);
	values[DLG_ROW_start_time] = db_int(1795411900);
	values[DLG_ROW_timeout] = db_int(1795455100);
}

static int read_row(void)
{
	return dlg_row_read(values, HASH_SIZE, &row, &arena, &why);
}

START_TEST(a_row_of_another_program_is_understood)
{
	good_row();
	ck_assert_msg(read_row() == 0, "%s", why);
	ck_assert_uint_eq(row.h_id, 4711);
	ck_assert_view(row.call_id, CALL_ID);
	ck_assert_uint_eq(row.n_legs, 1);
	ck_assert_view(row.leg[0].tag, "tt");
	ck_assert_uint_eq(row.leg[0].cseq[1], 10);
	ck_assert_uint_eq(row.leg[0].invite_cseq[1], 10);
	ck_assert_uint_eq(row.leg[0].seen, 1 << 1);
	ck_assert_uint_eq(row.leg[0].acked, 1);
	ck_assert_uint_eq(row.lifetime, 0);
	values[DLG_ROW_script_flags] = db_int(-2147483647 - 1); /* as OpenSIPS writes bit 31 */
	ck_assert_int_eq(read_row(), 0);
	ck_assert_uint_eq(row.user_flags, 0x80000000u);
	done();
}
END_TEST

START_TEST(further_legs_and_numbers_come_from_their_column)
{
	good_row();
	values[DLG_ROW_legs] = db_text(str("6,1,20,5,21,0,20,0,20,0,;"
					   "2,0,10,0,0,0,0,0,10,0,t\\,2,sip:c@127.0.0.3,"
					   "<sip:127.0.0.4\\;lr>,udp:127.0.0.1:5060,;"));
	ck_assert_msg(read_row() == 0, "%s", why);
	ck_assert_uint_eq(row.n_legs, 2);
	ck_assert_uint_eq(row.leg[0].cseq[1], 20);
	ck_assert_uint_eq(row.leg[0].cseq[2], 5);
	ck_assert_uint_eq(row.leg[0].own_cseq[1], 21);
	ck_assert_uint_eq(row.leg[0].seen, 6);
	ck_assert_view(row.leg[0].tag, "tt");
	ck_assert_view(row.leg[1].tag, "t,2");
	ck_assert_view(row.leg[1].route_set, "<sip:127.0.0.4;lr>");
	ck_assert_view(row.leg[1].sock, "udp:127.0.0.1:5060");
	done();
}
END_TEST

/* One column at a time is what it must not be. */
static const struct bad {
	enum dlg_row_column column;
	struct db_value value;
	const char *why;
} bad_rows[] = {
#define NO    { .kind = DB_NULL }
#define N(n)  { .kind = DB_INT, .number = (n) }
#define T(s)  { .kind = DB_TEXT, .text = { s, sizeof(s) - 1 } }
	{ DLG_ROW_h_entry, NO, "h_entry is NULL" },
	{ DLG_ROW_h_entry, N(-1), "h_entry is out of range" },
	{ DLG_ROW_h_entry, N(1), "h_entry does not fit callid" },
	{ DLG_ROW_h_entry, T("x"), "h_entry is not a number" },
	{ DLG_ROW_h_id, NO, "h_id is NULL" },
	{ DLG_ROW_h_id, N(0), "h_id is out of range" },
	{ DLG_ROW_h_id, N(4294967296), "h_id is out of range" },
	{ DLG_ROW_callid, NO, "callid is NULL" },
	{ DLG_ROW_callid, T(""), "callid is empty" },
	{ DLG_ROW_callid, T("call-1@127.0.0"), "h_entry does not fit callid" },
	{ DLG_ROW_callid, N(5), "callid is not a text" },
	{ DLG_ROW_from_uri, NO, "from_uri is NULL" },
	{ DLG_ROW_from_uri, T(""), "from_uri is empty" },
	{ DLG_ROW_from_uri, T("sip:a b"), "from_uri is no URI" },
	{ DLG_ROW_from_uri, T("sip:a\\x0d\\x0aX: y"), "from_uri is no URI" },
	{ DLG_ROW_from_tag, NO, "from_tag is NULL" },
	{ DLG_ROW_from_tag, T(""), "from_tag is empty" },
	{ DLG_ROW_to_uri, NO, "to_uri is NULL" },
	{ DLG_ROW_to_uri, T("bob>"), "to_uri is no URI" },
	{ DLG_ROW_caller_cseq, NO, "caller_cseq is NULL" },
	{ DLG_ROW_caller_cseq, N(-1), "caller_cseq is out of range" },
	{ DLG_ROW_caller_cseq, T("abc"), "caller_cseq is not a number" },
	{ DLG_ROW_callee_cseq, NO, "callee_cseq is NULL" },
	{ DLG_ROW_callee_cseq, N(4294967296), "callee_cseq is out of range" },
	{ DLG_ROW_caller_route, T("<sip:127.0.0.2;lr>\\x0d\\x0aX: y"), "caller_route is malformed" },
	{ DLG_ROW_callee_route, T("<sip:1.2.3.4;lr>\\x0a"), "callee_route is malformed" },
	{ DLG_ROW_legs, T("2,1,1,1,1,1,1,1,1,1,;2,1,1,1,1,1,1,1,1,1,tag,,<sip:p>\\x0d,sock,;"),
	  "legs: route set is malformed" },
	{ DLG_ROW_caller_sock, NO, "caller_sock is NULL" },
	{ DLG_ROW_caller_sock, T(""), "caller_sock is empty" },
	{ DLG_ROW_callee_sock, NO, "callee_sock is NULL" },
	{ DLG_ROW_state, NO, "state is NULL" },
	{ DLG_ROW_state, N(2), "state is out of range" },
	{ DLG_ROW_state, N(9), "state is out of range" },
	{ DLG_ROW_start_time, NO, "start_time is NULL" },
	{ DLG_ROW_start_time, N(0), "start_time is out of range" },
	{ DLG_ROW_start_time, N(INT64_MAX), "start_time is out of range" },
	{ DLG_ROW_timeout, NO, "timeout is NULL" },
	{ DLG_ROW_timeout, N(-5), "timeout is out of range" },
	{ DLG_ROW_vars, T("a#b"), "vars is malformed" },
	{ DLG_ROW_vars, T("#b|"), "vars has an item without a name" },
	{ DLG_ROW_profiles, T("caller|"), "profiles is malformed" },
	{ DLG_ROW_profiles, T("caller#ali"), "profiles is malformed" },
	{ DLG_ROW_script_flags, N(4294967296), "script_flags is out of range" },
	{ DLG_ROW_dlg_flags, N(-1), "dlg_flags is out of range" },
	{ DLG_ROW_lifetime, N(-1), "lifetime is out of range" },
	{ DLG_ROW_legs, T("1,2"), "legs is malformed" },
	{ DLG_ROW_legs, T("2,1,1,1,1,1,1,1,1,1,extra;"), "legs is malformed" },
	{ DLG_ROW_legs, T("2,1,1,1,1,1,1,1,1,1,;2,1,1,1,1,1,1,1,1,1,tag,;"), "legs is malformed" },
	{ DLG_ROW_legs, T("9,1,1,1,1,1,1,1,1,1,;"), "legs is malformed" },
#undef NO
#undef N
#undef T
};

START_TEST(d13_each_wrong_column_is_named)
{
	const struct bad *b = &bad_rows[_i];

	good_row();
	values[b->column] = b->value;
	ck_assert_int_eq(read_row(), -1);
	ck_assert_msg(!strncmp(why, b->why, strlen(b->why)), "\"%s\" is not \"%s\"", why, b->why);
	done();
}
END_TEST

static void add_pairs(struct dlg_buf *list, unsigned n)
{
	dlg_buf_reset(list);
	while (n--)
		dlg_buf_add(list, str("caller#x|"));
}

/* A dialog could not have all of them, and that is no want of memory. */
START_TEST(more_than_a_dialog_can_have_is_wrong)
{
	static const enum dlg_row_column lists[] = { DLG_ROW_vars, DLG_ROW_profiles };
	static char big[65536 + 3] = "a#";
	struct dlg_buf list = { 0 };

	memset(big + 2, 'x', 65536);
	big[65536 + 2] = '|';
	for (int i = 0; i < 2; i++) {
		good_row();
		add_pairs(&list, 1000);
		values[lists[i]] = db_text(dlg_buf_view(&list));
		ck_assert_msg(read_row() == 0, "%s", why);
		add_pairs(&list, 1001);
		values[lists[i]] = db_text(dlg_buf_view(&list));
		ck_assert_int_eq(read_row(), -1);
		values[lists[i]] = db_text((struct dlg_str){ big, sizeof(big) });
		ck_assert_int_eq(read_row(), -1);
		ck_assert_ptr_nonnull(strstr(why, "has an item too long, or too many"));
		done();
	}
	dlg_buf_free(&list);
}
END_TEST

/* What a dialog took from the messages of a call that is up. */
START_TEST(odd_texts_of_a_call_that_lives_come_back)
{
	good_row();
	values[DLG_ROW_from_uri] = db_text(str("alice"));
	values[DLG_ROW_to_uri] = db_text(str("sip:"));
	values[DLG_ROW_caller_contact] = db_text(str("alice"));
	values[DLG_ROW_caller_route] = db_text(str("<>,<sip:open"));
	values[DLG_ROW_callee_route] = db_text(str("<x y>,\\x0d\\x0a <sip:127.0.0.4;lr>"));
	ck_assert_msg(read_row() == 0, "%s", why);
	ck_assert_view(row.from_uri, "alice");
	ck_assert_view(row.to_uri, "sip:");
	ck_assert_view(row.caller_contact, "alice");
	ck_assert_view(row.caller_routes, "<>,<sip:open");
	ck_assert_view(row.leg[0].route_set, "<x y>,\r\n <sip:127.0.0.4;lr>");
	done();
}
END_TEST

START_TEST(a_contact_that_breaks_requests_is_unknown)
{
	good_row();
	values[DLG_ROW_caller_contact] = db_text(str("sip:a@x\\x0d\\x0aX: y"));
	values[DLG_ROW_callee_contact] = db_text(str("<sip:b@x>"));
	ck_assert_msg(read_row() == 0, "%s", why);
	ck_assert_view(row.caller_contact, "");
	ck_assert_view(row.leg[0].contact, "");
	done();
}
END_TEST

/* The tables of OpenSIPS have CHAR for them. */
START_TEST(a_number_may_come_as_a_text)
{
	good_row();
	values[DLG_ROW_caller_cseq] = db_text(str("4294967295"));
	values[DLG_ROW_callee_cseq] = db_text(str("0"));
	ck_assert_msg(read_row() == 0, "%s", why);
	ck_assert_uint_eq(row.leg[0].cseq[1], 4294967295u);
	ck_assert_uint_eq(row.leg[0].cseq[2], 0);
	values[DLG_ROW_caller_cseq] = db_text(str("4294967296"));
	ck_assert_int_eq(read_row(), -1);
	ck_assert_str_eq(why, "caller_cseq is out of range");
	values[DLG_ROW_caller_cseq] = db_text(str("17x"));
	ck_assert_int_eq(read_row(), -1);
	ck_assert_str_eq(why, "caller_cseq is not a number");
	values[DLG_ROW_caller_cseq] = db_text(str(""));
	ck_assert_int_eq(read_row(), -1);
	done();
}
END_TEST

START_TEST(an_ended_row_is_no_bad_row)
{
	good_row();
	values[DLG_ROW_state] = db_int(5);
	ck_assert_int_eq(read_row(), 0);
	ck_assert_int_eq(row.state, 5);
	done();
}
END_TEST

START_TEST(an_image_gives_its_columns_back)
{
	for (int i = DLG_ROW_node + 1; i < DLG_ROW_N; i++) {
		char name[32];
		int number = i == DLG_ROW_h_entry || i == DLG_ROW_h_id || i == DLG_ROW_caller_cseq ||
			     i == DLG_ROW_callee_cseq || i == DLG_ROW_state ||
			     i == DLG_ROW_start_time || i == DLG_ROW_timeout ||
			     i == DLG_ROW_script_flags || i == DLG_ROW_dlg_flags ||
			     i == DLG_ROW_lifetime;

		snprintf(name, sizeof(name), "column %d", i);
		if (number)
			dlg_row_add_number(&image, i * 1000);
		else
			dlg_row_add_text(&image, str(name));
	}
	ck_assert_int_eq(dlg_row_values(dlg_buf_view(&image), str("n"), values), 0);
	ck_assert_view(values[DLG_ROW_node].text, "n");
	ck_assert_view(values[DLG_ROW_callid].text, "column 3");
	ck_assert_int_eq(values[DLG_ROW_lifetime].number, DLG_ROW_lifetime * 1000);
	for (size_t n = 0; n < image.len; n++)
		ck_assert_int_eq(dlg_row_values((struct dlg_str){ image.s, n }, str(""), values), -1);
	dlg_buf_add(&image, DLG_STR("x"));
	ck_assert_int_eq(dlg_row_values(dlg_buf_view(&image), str(""), values), -1);
	done();
}
END_TEST

int main(void)
{
	TCase *c = tcase_create("dlg_row");

	tcase_add_test(c, texts_come_back_as_they_were);
	tcase_add_test(c, every_byte_comes_back);
	tcase_add_test(c, d10_pairs_with_any_byte_are_read_as_they_were_written);
	tcase_add_test(c, a_row_of_another_program_is_understood);
	tcase_add_test(c, further_legs_and_numbers_come_from_their_column);
	tcase_add_loop_test(c, d13_each_wrong_column_is_named, 0,
			    sizeof(bad_rows) / sizeof(bad_rows[0]));
	tcase_add_test(c, more_than_a_dialog_can_have_is_wrong);
	tcase_add_test(c, odd_texts_of_a_call_that_lives_come_back);
	tcase_add_test(c, a_contact_that_breaks_requests_is_unknown);
	tcase_add_test(c, a_number_may_come_as_a_text);
	tcase_add_test(c, an_ended_row_is_no_bad_row);
	tcase_add_test(c, an_image_gives_its_columns_back);
	return unit_run_case("dlg_row", c);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dlgctl's side of the text format: what it asks arrives as it was meant, what it is answered is
 * read in pieces of any size. */
#include "../../mi/fifo.h"

#include "ctl_fake.h"

/* ---- requests: read by the real server's parser ---- */

static struct dlg_buf asked;
static unsigned requests;

static void on_request(const struct mi_fifo_request *req, void *arg)
{
	(void)arg;
	requests++;
	dlg_buf_printf(&asked, "%s", req->bad ? req->bad : "");
	for (unsigned i = 0; i < req->n; i++)
		dlg_buf_printf(&asked, "%s%.*s", i ? "|" : "", DLG_STR_ARG(req->arg[i]));
	ck_assert_view(req->command, "dlg_list");
	ck_assert_view(req->reply, "dlgctl.1.ab");
}

/* The argument in the hands of the server. */
static const char *sent(const char *first, const char *second)
{
	struct mi_fifo_parser *p = mi_fifo_parser_new();
	const char *args[] = { first, second };
	struct dlg_buf text = { 0 };

	ck_assert_ptr_nonnull(p);
	requests = 0;
	dlg_buf_reset(&asked);
	dlg_buf_add(&asked, DLG_STR_NONE);
	ck_assert_int_eq(ctl_request(&text, "dlg_list", "dlgctl.1.ab", args,
				     second ? 2 : first ? 1 : 0), 0);
	mi_fifo_parser_feed(p, dlg_buf_view(&text), 1000, on_request, NULL);
	ck_assert_uint_eq(requests, 1);
	mi_fifo_parser_free(p);
	dlg_buf_free(&text);
	return asked.s;
}

START_TEST(an_argument_arrives_as_it_is)
{
	static const char *const texts[] = {
		"call-1@127.0.0.1",
		"a b",
		" blanks around\t",
		"x::y",
		"callid::x",
		"::",
		":dlg_end_dlg:r",
		":dlg_list:",
		"\"",
		"\\",
		"say \"hi\"",
		"back\\slash",
		"end\\",
		"\\\"",
		"two\nlines",
		"\n",
		"%s%n",
		"umlaut \xc3\xa4",
		"broken \xff\xc3",
		"'",
		"a=b c=d",
		"\r\n",
		"[2001:db8::1]",
		"-",
		"~",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ck_assert_str_eq(sent(texts[i], NULL), texts[i]);
	ck_assert_str_eq(sent("a::b", "c d"), "a::b|c d");
	ck_assert_str_eq(sent(NULL, NULL), "");
	dlg_buf_free(&asked);
}
END_TEST

START_TEST(an_empty_argument_is_refused_by_the_server)
{
	ck_assert_str_eq(sent("", NULL), "parse error");
	dlg_buf_free(&asked);
}
END_TEST

/* The server would take the rest for a request of its own, and carry it out. */
START_TEST(an_argument_that_holds_a_request_is_not_sent)
{
	static const char *const texts[] = {
		"x\n:dlg_end_dlg:\n1\n2\n\n", "x\n\t :dlg_end_dlg:r\n", "\n\r:a:",
	};
	struct dlg_buf text = { 0 };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ck_assert_int_eq(ctl_request(&text, "dlg_list", "r", &texts[i], 1), -1);
		ck_assert_uint_eq(text.len, 0);
	}
	dlg_buf_free(&text);
}
END_TEST

/* Any text but such a one. */
START_TEST(random_arguments_arrive)
{
	static const char bytes[] = "ab1:\"\\ \t\r'=;.-_\xc3\xa4\xff";
	char text[12];

	srand(7);
	for (int n = 0; n < 20000; n++) {
		int len = 1 + rand() % 10;

		for (int i = 0; i < len; i++)
			text[i] = bytes[rand() % (int)(sizeof(bytes) - 1)];
		text[len] = '\0';
		ck_assert_str_eq(sent(text, NULL), text);
	}
	dlg_buf_free(&asked);
}
END_TEST

/* ---- replies ---- */

static struct dlg_buf seen; /* "depth name=value;" for each line */
static int enough;          /* lines after which the reader stops; 0 never */

static int on_line(struct ctl_line *line, void *arg)
{
	ck_assert_ptr_eq(arg, &seen);
	dlg_buf_printf(&seen, "%u %s=%s;", line->depth, line->name, line->value);
	return enough && --enough == 0;
}

/* The reply in pieces of `step` bytes. */
static void read_reply(struct ctl_reply *r, const char *text, size_t step)
{
	struct dlg_str rest = dlg_str_of(text);

	*r = (struct ctl_reply){ .fn = on_line, .arg = &seen };
	dlg_buf_reset(&seen);
	dlg_buf_add(&seen, DLG_STR_NONE);
	while (rest.len) {
		size_t n = rest.len < step ? rest.len : step;

		ctl_reply_feed(r, (struct dlg_str){ rest.s, n });
		rest.s += n;
		rest.len -= n;
	}
	dlg_buf_free(&r->line);
	ck_assert(!r->failed);
}

START_TEST(a_reply_may_come_in_any_pieces)
{
	static const char text[] =
		"200 OK\ndialog::  hash=1:2\n\tstate:: 4\n\tcaller_contact:: \n"
		"\tcontext:: \n\t\tvalue:: a = b:: c\ndialog:active_dialogs = 3\n\n";

	for (size_t step = 1; step <= sizeof(text); step++) {
		struct ctl_reply r;

		read_reply(&r, text, step);
		ck_assert_str_eq(seen.s,
				 "0 dialog= hash=1:2;1 state=4;1 caller_contact=;1 context=;"
				 "2 value=a = b:: c;0 =dialog:active_dialogs = 3;");
		ck_assert_int_eq(r.status, 200);
		ck_assert(r.complete);
	}
	dlg_buf_free(&seen);
}
END_TEST

START_TEST(a_reply_that_breaks_off_is_not_complete)
{
	static const char *const texts[] = { "200", "200 OK\n", "200 OK\na:: b\n",
					     "200 OK\n\na:: b\n" };
	struct ctl_reply r;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		read_reply(&r, texts[i], 3);
		ck_assert(!r.complete);
	}
	dlg_buf_free(&seen);
}
END_TEST

static void check_error(const char *text, int status, const char *error)
{
	struct ctl_reply r;

	read_reply(&r, text, 4);
	ck_assert_int_eq(r.status, status);
	ck_assert_str_eq(r.error, error);
	ck_assert(r.complete);
	ck_assert_str_eq(seen.s, "");
}

START_TEST(an_error_has_a_code_and_a_reason)
{
	check_error("404 Nu such dialog\n\n", 404, "404 Nu such dialog");
	check_error("500 command 'x' not available\n", 500, "500 command 'x' not available");
	check_error("nonsense\na:: b\n\n", 500, "nonsense");
	dlg_buf_free(&seen);
}
END_TEST

START_TEST(a_reader_may_have_enough)
{
	struct ctl_reply r;

	enough = 2;
	read_reply(&r, "200 OK\na:: 1\nb:: 2\nc:: 3\n\n", 100);
	ck_assert(r.stopped);
	ck_assert_str_eq(seen.s, "0 a=1;0 b=2;");
	dlg_buf_free(&seen);
}
END_TEST

START_TEST(a_long_line_is_read_whole)
{
	size_t len = 300000;
	char *text = malloc(len + 32);
	struct ctl_reply r;

	strcpy(text, "200 OK\nx:: ");
	memset(text + 11, 'y', len);
	strcpy(text + 11 + len, "\n\n");
	read_reply(&r, text, 4096);
	ck_assert_uint_eq(seen.len, strlen("0 x=;") + len);
	free(text);
	dlg_buf_free(&seen);
}
END_TEST

START_TEST(attributes_are_read_from_the_right)
{
	char value[] = " name=a count=1 value=b name=x count=9 count=12 values=3";

	ck_assert_str_eq(ctl_attr(value, "values"), "3");
	ck_assert_str_eq(ctl_attr(value, "count"), "12");
	ck_assert_str_eq(ctl_attr(value, "value"), "b name=x count=9");
	ck_assert_str_eq(ctl_attr(value, "name"), "a count=1");
	ck_assert_ptr_null(ctl_attr(value, "name"));
	ck_assert_str_eq(value, "");
}
END_TEST

int main(void)
{
	return unit_run(
		"ctl_reply",
		UNIT_TESTS{ an_argument_arrives_as_it_is,
			    an_empty_argument_is_refused_by_the_server,
			    an_argument_that_holds_a_request_is_not_sent, random_arguments_arrive,
			    a_reply_may_come_in_any_pieces, a_reply_that_breaks_off_is_not_complete,
			    an_error_has_a_code_and_a_reason, a_reader_may_have_enough,
			    a_long_line_is_read_whole, attributes_are_read_from_the_right, NULL },
		60);
}

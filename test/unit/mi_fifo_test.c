/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The request parser of the management FIFO. */
#include "../../mi/fifo.h"

#include <stdlib.h>

#include "../sim/sim_host.h"
#include "unit.h"

static struct mi_fifo_parser *parser;
static struct dlg_buf
	seen; /* "command>reply(arg|arg)" or "command>reply!reason" for each request */
static struct dlg_buf pipe_bytes;
static uint64_t now = 1000000;

static void on_request(const struct mi_fifo_request *req, void *arg)
{
	ck_assert_ptr_eq(arg, &seen);
	dlg_buf_printf(&seen, "%.*s>%.*s", DLG_STR_ARG(req->command), DLG_STR_ARG(req->reply));
	if (req->bad) {
		dlg_buf_add(&seen, DLG_STR("!;"));
		return;
	}
	dlg_buf_add(&seen, DLG_STR("("));
	for (unsigned i = 0; i < req->n; i++)
		dlg_buf_printf(&seen, "%s%.*s", i ? "|" : "", DLG_STR_ARG(req->arg[i]));
	dlg_buf_add(&seen, DLG_STR(");"));
}

static void init(void)
{
	parser = mi_fifo_parser_new();
	ck_assert_ptr_nonnull(parser);
}

static void done(void)
{
	mi_fifo_parser_free(parser);
	mi_fifo_parser_free(NULL);
	dlg_buf_free(&seen);
	ck_assert_ptr_null(sim_violated());
}

static void feed(const char *bytes)
{
	mi_fifo_parser_feed(parser, dlg_str_of(bytes), now, on_request, &seen);
}

static void expect(const char *text)
{
	ck_assert_view(dlg_buf_view(&seen), text);
	dlg_buf_reset(&seen);
}

static void check(const char *bytes, const char *expected)
{
	feed(bytes);
	expect(expected);
}

START_TEST(requests_are_understood)
{
	init();
	check(":dlg_list:r\n\n", "dlg_list>r();");
	check(":dlg_list:r\ncall-id\nfrom tag\n\n", "dlg_list>r(call-id|from tag);");
	check(":dlg_list:r\r\ncall-id\r\n\r\n", "dlg_list>r(call-id);");
	check(":a:r\n\n:b:s\n\n", "a>r();b>s();");
	check(":dlg_list:\n\n", "dlg_list>();");
	check(":x:../../etc/passwd\n\n", "x>../../etc/passwd();");
	done();
}
END_TEST

START_TEST(parameters_are_trimmed_and_their_names_ignored)
{
	init();
	check(":c:r\n  a  \n\tb\t\n\n", "c>r(a|b);");
	check(":c:r\nfrom_tag::x\ncallid:: y\n\n", "c>r(x|y);");
	check(":c:r\nsip:a@b\na:b\n\n", "c>r(sip:a@b|a:b);");
	done();
}
END_TEST

START_TEST(quoted_values_hold_anything)
{
	init();
	check(":c:r\n\"a b\"\n\n", "c>r(a b);");
	check(":c:r\n\"X-R: one\r\nX-S: two\r\n\"\n\n", "c>r(X-R: one\r\nX-S: two\r\n);");
	check(":c:r\nname::\"v\"\n\n", "c>r(v);");
	check(":c:r\n\"a\\\"b\\\\c\\d\"\n\n", "c>r(a\"b\\c\\d);");
	check(":c:r\n\"a\n\nb\"\n\n", "c>r(a\n\nb);");
	done();
}
END_TEST

START_TEST(bad_parameters_spoil_their_request_only)
{
	init();
	check(":c:r\n\"\"\n\n:d:r\n\n", "c>r!;d>r();");
	check(":c:r\na\"b\n\n:d:r\n\n", "c>r!;d>r();");
	check(":c:r\n\"a\" b\n\n:d:r\n\n", "c>r!;d>r();");
	check(":c:r\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n\n:d:r\n\n",
	      "c>r!;d>r();");
	done();
}
END_TEST

START_TEST(what_is_no_request_is_skipped)
{
	init();
	check("dlg_list:r\n\n:d:r\n\n", "d>r();");
	check(":dlg_list\n\n:d:r\n\n", "d>r();");
	check("::r\n\n:d:r\n\n", "d>r();");
	check("\n\n\r\n:d:r\n\n", "d>r();");
	check("\x01\xff garbage \n more\n:d:r\n\n", "d>r();");
	done();
}
END_TEST

START_TEST(bytes_may_come_one_by_one)
{
	static const char bytes[] = ":c:r\nname::\"two\nlines\"\nx\n\n:d:s\n\n";

	init();
	for (const char *b = bytes; *b; b++)
		mi_fifo_parser_feed(parser, (struct dlg_str){ b, 1 }, now, on_request, &seen);
	expect("c>r(two\nlines|x);d>s();");
	done();
}
END_TEST

START_TEST(a_half_written_command_is_dropped_when_stale)
{
	init();
	feed(":c:r\nparameter");
	now += MI_FIFO_STALE_MS;
	check(":d:r\n\n", "d>r();");
	feed(":c:r\n\"open");
	now += MI_FIFO_STALE_MS;
	check(":d:r\n\n", "d>r();");
	feed(":c:r\nx\n");
	now += MI_FIFO_STALE_MS - 1;
	check("y\n\n", "c>r(x|y);");
	done();
}
END_TEST

/* Its answer takes longer than any writer may need. */
static void on_slow_request(const struct mi_fifo_request *req, void *arg)
{
	on_request(req, arg);
	sim_advance(MI_FIFO_STALE_MS + 1);
	now += MI_FIFO_STALE_MS + 1;
}

/* One read() brings a request and the beginning of another one, the next the rest of that. */
START_TEST(a_request_is_not_stale_because_the_one_before_was_slow)
{
	init();
	for (int slow = 1; slow <= 2; slow++) {
		for (int i = 0; i < slow; i++)
			dlg_buf_add(&pipe_bytes, DLG_STR(":a:r\n\n"));
		dlg_buf_add(&pipe_bytes, DLG_STR(":b:r\n12\n"));
		mi_fifo_parser_feed(parser, dlg_buf_view(&pipe_bytes), now, on_slow_request, &seen);
		check("34\n\n", slow > 1 ? "a>r();a>r();b>r(12|34);" : "a>r();b>r(12|34);");
		dlg_buf_reset(&pipe_bytes);
	}
	feed(":a:r\n\n:b:r\n12\n");
	now += MI_FIFO_STALE_MS;
	check("34\n\n:d:r\n\n", "a>r();d>r();");
	dlg_buf_free(&pipe_bytes);
	done();
}
END_TEST

START_TEST(a_new_command_line_ends_a_dead_writers_request)
{
	init();
	check(":c:r\nx\n:d:s\ny\n\n", "d>s(y);");
	check(":c:r\n\"x\n:d:s\ny\n\n", "d>s(y);");
	done();
}
END_TEST

static char big[MI_FIFO_TOTAL_MAX * 5];

START_TEST(long_lines_and_long_requests_are_refused)
{
	init();
	memset(big, 'x', MI_FIFO_LINE_MAX + 10);
	feed(":c:r\n");
	feed(big);
	check("\n\n:d:r\n\n", "c>r!;d>r();");
	big[MI_FIFO_LINE_MAX - 10] = '\0';
	feed(":c:r\n");
	for (int i = 0; i < 5; i++) {
		feed(big);
		feed("\n");
	}
	check("\n:d:r\n\n", "c>r!;d>r();");
	feed(":");
	feed(big);
	check(":r\n\n:d:r\n\n", "d>r();");
	done();
}
END_TEST

START_TEST(a_megabyte_of_garbage_harms_nothing)
{
	init();
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(sim_random() % 255 + 1);
	big[sizeof(big) - 1] = '\0';
	sim_log_clear();
	feed(big);
	dlg_buf_reset(&seen);
	now += MI_FIFO_STALE_MS;
	check("\n\n:d:r\n\n", "d>r();");
	done();
}
END_TEST

START_TEST(garbage_is_reported_once_not_line_by_line)
{
	init();
	sim_log_clear();
	for (int i = 0; i < 1000; i++)
		feed("no command\n");
	ck_assert_uint_eq(sim_log_count[HOST_WARNING], 1);
	ck_assert_uint_eq(sim_log_count[HOST_ERROR], 0);
	done();
}
END_TEST

START_TEST(random_structured_bytes_never_crash)
{
	static const char *const pieces[] = { ":",  "c", "\n",   "\r\n", "\"",    "::",
					      "\\", " ", "x::y", "\n\n", ":d:r\n" };

	init();
	for (int i = 0; i < 300000; i++) {
		feed(pieces[sim_below(11)]);
		if (seen.len > 100000)
			dlg_buf_reset(&seen);
	}
	dlg_buf_reset(&seen);
	now += MI_FIFO_STALE_MS;
	check("\n\n:d:r\n\n", "d>r();");
	done();
}
END_TEST

int main(void)
{
	return unit_run(
		"mi_fifo",
		UNIT_TESTS{ requests_are_understood, parameters_are_trimmed_and_their_names_ignored,
			    quoted_values_hold_anything, bad_parameters_spoil_their_request_only,
			    what_is_no_request_is_skipped, bytes_may_come_one_by_one,
			    a_half_written_command_is_dropped_when_stale,
			    a_request_is_not_stale_because_the_one_before_was_slow,
			    a_new_command_line_ends_a_dead_writers_request,
			    long_lines_and_long_requests_are_refused,
			    a_megabyte_of_garbage_harms_nothing,
			    garbage_is_reported_once_not_line_by_line,
			    random_structured_bytes_never_crash, NULL },
		30);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FIFO requests: the same ones come out however the bytes arrive, each is well formed, written down
 * again it is read as the same, its values cannot break a reply, and garbage is worth one log line.
 * Input: size of the pieces, then what is written into the FIFO; the byte 0xff stands for a long
 * text, so that small inputs reach the limits. */

#include "fuzz.h"
#include "../../mi/fifo.h"
#include "../../mi/fifo_out.h"
#include "../sim/sim_host.h"

#include <sys/mman.h>
#include <unistd.h>

struct seen {
	unsigned requests;
	uint64_t digest;
	struct dlg_buf again; /* the last request, written down again; empty when it cannot be */
};

static void mix(struct seen *s, struct dlg_str v)
{
	s->digest = s->digest * 1099511628211u + v.len;
	for (size_t i = 0; i < v.len; i++)
		s->digest = (s->digest ^ (unsigned char)v.s[i]) * 1099511628211u;
}

static void check_form(const struct mi_fifo_request *req)
{
	MUST(req->command.len && !memchr(req->command.s, ':', req->command.len));
	MUST(!req->reply.len || !memchr(req->reply.s, ':', req->reply.len));
	MUST(!memchr(req->command.s, '\n', req->command.len));
	MUST(!req->bad || strchr(req->bad, ' ')); /* a reason in words */
	MUST(req->n <= sizeof(req->arg) / sizeof(req->arg[0]));
	for (unsigned i = 0; i < req->n; i++)
		MUST(req->arg[i].len && req->arg[i].len <= MI_FIFO_TOTAL_MAX);
}

/* ---- writing a request ---- */

/* A line of the value that would be taken for a new command. */
static int has_command_line(struct dlg_str v)
{
	for (size_t i = 0; i + 1 < v.len; i++) {
		struct dlg_str rest = { v.s + i, v.len - i };

		if (v.s[i] == '\n' && dlg_str_trim(rest).len && dlg_str_trim(rest).s[0] == ':')
			return 1;
	}
	return 0;
}

static void write_arg(struct dlg_buf *b, struct dlg_str v)
{
	dlg_buf_add(b, DLG_STR("name::\""));
	for (size_t i = 0; i < v.len; i++) {
		if (v.s[i] == '"' || v.s[i] == '\\')
			dlg_buf_add(b, DLG_STR("\\"));
		dlg_buf_add(b, (struct dlg_str){ v.s + i, 1 });
	}
	dlg_buf_add(b, DLG_STR("\"\r\n"));
}

static void write_request(struct dlg_buf *b, const struct mi_fifo_request *req)
{
	dlg_buf_reset(b);
	for (unsigned i = 0; i < req->n; i++) {
		if (has_command_line(req->arg[i]) || req->arg[i].len > MI_FIFO_LINE_MAX / 3)
			return;
	}
	if (req->bad || req->command.len + req->reply.len > 400)
		return;
	dlg_buf_printf(b, ":%.*s:%.*s\r\n", DLG_STR_ARG(req->command), DLG_STR_ARG(req->reply));
	for (unsigned i = 0; i < req->n; i++)
		write_arg(b, req->arg[i]);
	dlg_buf_add(b, DLG_STR("\r\n"));
}

/* ---- a reply with these values ---- */

static size_t read_reply(int fd, char *out, size_t size)
{
	ssize_t n = pread(fd, out, size, 0);

	MUST(n >= 0 && lseek(fd, 0, SEEK_SET) == 0 && ftruncate(fd, 0) == 0);
	return (size_t)n;
}

static void check_reply(const struct mi_fifo_request *req)
{
	static int fd = -1;
	static char reply[65536];
	static struct mi_fifo_out o;
	unsigned lines = 0;
	size_t len;

	if (fd < 0)
		fd = memfd_create("reply", MFD_CLOEXEC);
	mi_fifo_out_init(&o, fd);
	o.out.ops->open_node(&o.out, "request");
	for (unsigned i = 0; i < req->n; i++)
		o.out.ops->attr(&o.out, "value", req->arg[i]);
	for (unsigned i = 0; i < req->n; i++)
		o.out.ops->text(&o.out, "value", req->arg[i]);
	o.out.ops->close_node(&o.out);
	MUST(mi_fifo_out_finish(&o) == 0);
	len = read_reply(fd, reply, sizeof(reply));
	if (len == sizeof(reply))
		return;
	for (size_t i = 0; i < len; i++) {
		lines += reply[i] == '\n';
		MUST((unsigned char)reply[i] >= ' ' || reply[i] == '\n' || reply[i] == '\t');
	}
	MUST(lines == 3 + req->n);
	MUST(len > 9 && !memcmp(reply, "200 OK\nre", 9) && !memcmp(reply + len - 2, "\n\n", 2));
}

/* ---- the parser ---- */

static void see(const struct mi_fifo_request *req, void *arg)
{
	struct seen *s = arg;

	check_form(req);
	s->requests++;
	mix(s, req->command);
	mix(s, req->reply);
	mix(s, dlg_str_of(req->bad));
	for (unsigned i = 0; i < req->n; i++)
		mix(s, req->arg[i]);
	write_request(&s->again, req);
}

static void see_reply(const struct mi_fifo_request *req, void *arg)
{
	see(req, arg);
	check_reply(req);
}

/* A new parser reads `text` in pieces; returns what came out. */
static struct seen feed(struct dlg_str text, size_t piece, mi_fifo_request_fn *fn)
{
	struct mi_fifo_parser *p = mi_fifo_parser_new();
	struct seen s = { 0 };

	MUST(p);
	sim_log_clear();
	while (text.len)
		mi_fifo_parser_feed(p, fuzz_take(&text, piece), 1000, fn, &s);
	MUST(sim_log_count[HOST_WARNING] <= s.requests + 1);
	mi_fifo_parser_feed(p, DLG_STR_NONE, 1000 + MI_FIFO_STALE_MS, fn, &s);
	mi_fifo_parser_feed(p, DLG_STR("\n\n"), 2000 + MI_FIFO_STALE_MS, fn, &s);
	mi_fifo_parser_free(p);
	return s;
}

/* The last request, written down and read again, is the only one and the same. */
static void check_again(struct seen *s)
{
	struct seen first, second;

	if (!s->again.len)
		return;
	first = feed(dlg_buf_view(&s->again), SIZE_MAX, see);
	second = feed(dlg_buf_view(&first.again), SIZE_MAX, see);
	MUST(first.requests == 1 && second.requests == 1);
	MUST(first.digest == second.digest);
	MUST(dlg_str_eq(dlg_buf_view(&s->again), dlg_buf_view(&first.again)));
	dlg_buf_free(&first.again);
	dlg_buf_free(&second.again);
}

enum { LONG_TEXT = 8192, EXPANDED_MAX = 2 * MI_FIFO_TOTAL_MAX };

static void expand(struct dlg_buf *b, struct dlg_str text)
{
	static const char filler[] = "abcdefghijklmno\\";

	while (text.len && b->len < EXPANDED_MAX) {
		struct dlg_str one = fuzz_take(&text, 1);

		if ((unsigned char)one.s[0] != 0xff)
			dlg_buf_add(b, one);
		else
			for (size_t n = 0; n < LONG_TEXT; n += sizeof(filler) - 1)
				dlg_buf_add(b, ((struct dlg_str){ filler, sizeof(filler) - 1 }));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dlg_str in = fuzz_text(data, size), text;
	size_t piece = (size_t)fuzz_byte(&in) + 1;
	struct dlg_buf expanded = { 0 };
	struct seen whole, pieces;

	expand(&expanded, in);
	text = dlg_buf_view(&expanded);
	whole = feed(text, SIZE_MAX, see_reply);
	pieces = feed(text, piece, see);

	MUST(whole.requests == pieces.requests && whole.digest == pieces.digest);
	check_again(&whole);
	dlg_buf_free(&whole.again);
	dlg_buf_free(&pieces.again);
	dlg_buf_free(&expanded);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The request parser: bytes in, complete requests out, in a fixed amount of memory.
 *
 *	:command:reply_fifo
 *	first parameter
 *	name::second parameter
 *	"third one, which may span lines"
 *	<empty line>
 *
 * Lines end with LF or CR LF. Blanks around a parameter are removed. A name before "::" is a token
 * of letters, digits, '_', '-' and '.', and means nothing: the order counts. Between quotes every
 * byte counts, line ends included; \" and \\ stand for the character without the backslash, any
 * other backslash for itself. Empty values, and quotes elsewhere, are errors.
 *
 * Writers die half way and the next one's bytes follow, so a line that looks like ":command:reply"
 * always begins a new request, even between quotes: a parameter that looks so has to be quoted on
 * the line where it begins. What is no request is skipped up to the next one and reported once,
 * not line by line. */

#include "fifo.h"
#include "../host/host.h"

#include <ctype.h>
#include <stdlib.h>

enum {
	HEAD_MAX = 512, /* longest command line */
	SHOWN_MAX = 60, /* of a foreign text in a log line */
	ARGS = sizeof(((struct mi_fifo_request *)0)->arg) / sizeof(struct dlg_str),
};

enum state { BETWEEN, IN_PARAMS, IN_QUOTES };

struct mi_fifo_parser {
	enum state state;
	int complained;   /* about what is being skipped, or a request dropped just before */
	int overlong;     /* the current line: its tail is thrown away */
	uint64_t last_ms; /* when the last bytes came, or would have, but for those being served */
	struct mi_fifo_request req;
	size_t line_len, text_len;
	char head[HEAD_MAX];          /* copy of the command line */
	char line[MI_FIFO_LINE_MAX];  /* collected so far */
	char text[MI_FIFO_TOTAL_MAX]; /* the parameters */
};

struct mi_fifo_parser *mi_fifo_parser_new(void)
{
	return calloc(1, sizeof(struct mi_fifo_parser));
}

void mi_fifo_parser_free(struct mi_fifo_parser *p)
{
	free(p);
}

static struct dlg_str cut(struct dlg_str v, size_t from)
{
	return (struct dlg_str){ v.s + from, v.len - from };
}

/* ---- what is not understood ---- */

/* One log line, with the beginning of the text in question in printable form. */
static void complain(struct mi_fifo_parser *p, const char *why, struct dlg_str text)
{
	char shown[SHOWN_MAX + 1];
	size_t n = text.len < SHOWN_MAX ? text.len : SHOWN_MAX;

	if (p->complained)
		return;
	p->complained = 1;
	for (size_t i = 0; i < n; i++)
		shown[i] = isprint((unsigned char)text.s[i]) ? text.s[i] : '?';
	shown[n] = '\0';
	HOST_LOG(HOST_WARNING, "MI FIFO: %s: '%s%s'; skipped up to the next command", why,
		 shown, n < text.len ? "..." : "");
}

static void forget_request(struct mi_fifo_parser *p)
{
	memset(&p->req, 0, sizeof(p->req));
	p->text_len = 0;
	p->state = BETWEEN;
}

static void drop_unfinished(struct mi_fifo_parser *p)
{
	if (p->state != BETWEEN)
		complain(p, "the rest of a request is missing", p->req.command);
	else if (p->line_len)
		complain(p, "the rest of a line is missing",
			 (struct dlg_str){ p->line, p->line_len });
	forget_request(p);
	p->line_len = 0;
	p->overlong = 0;
}

/* ---- the command line ---- */

static int is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static size_t name_len(struct dlg_str v)
{
	size_t n = 0;

	while (n < v.len && is_name_char(v.s[n]))
		n++;
	return n;
}

/* ":name:..." and no parameter, as far as one can tell. */
static int looks_like_command(struct dlg_str line)
{
	size_t n;

	if (!line.len || line.s[0] != ':')
		return 0;
	n = name_len(cut(line, 1));
	return n && n + 1 < line.len && line.s[n + 1] == ':';
}

/* Position of the last colon among the first `n` bytes of a text that has one there. */
static size_t last_colon(struct dlg_str v, size_t n)
{
	while (v.s[n - 1] != ':')
		n--;
	return n - 1;
}

static int is_printable(struct dlg_str v)
{
	for (size_t i = 0; i < v.len; i++) {
		if (v.s[i] < ' ' || v.s[i] > '~')
			return 0;
	}
	return 1;
}

/* Split a command line at its last two colons: what stands before them is the beginning of another
 * one, whose writer died in the middle of the line. Returns what is wrong, or NULL. */
static const char *split_command(struct dlg_str line, struct dlg_str *command,
				 struct dlg_str *reply)
{
	size_t first, second;

	if (!line.len || line.s[0] != ':')
		return "a command begins with ':'";
	if (line.len > HEAD_MAX)
		return "command line too long";
	if (!is_printable(line))
		return "odd bytes in a command line";
	second = last_colon(line, line.len);
	if (!second)
		return "no ':' after the command";
	first = last_colon(line, second);
	*command = (struct dlg_str){ line.s + first + 1, second - first - 1 };
	*reply = dlg_str_trim(cut(line, second + 1));
	return command->len ? NULL : "empty command";
}

static void begin_request(struct mi_fifo_parser *p, struct dlg_str line)
{
	const char *wrong;

	forget_request(p);
	if (line.len <= HEAD_MAX && line.len) {
		memcpy(p->head, line.s, line.len);
		line.s = p->head;
	}
	wrong = p->overlong ? "line too long" : split_command(line, &p->req.command, &p->req.reply);
	if (wrong)
		complain(p, wrong, line);
	else
		p->state = IN_PARAMS;
}

/* ---- parameters ---- */

/* The request is read to its end but will not run. */
static void spoil(struct mi_fifo_parser *p, const char *why)
{
	if (!p->req.bad)
		p->req.bad = why;
}

/* Parameter number req.n grows until close_arg() counts it. */
static void open_arg(struct mi_fifo_parser *p)
{
	if (p->req.n == ARGS)
		spoil(p, "too many parameters");
	if (!p->req.bad)
		p->req.arg[p->req.n] = (struct dlg_str){ p->text + p->text_len, 0 };
}

static void add_to_arg(struct mi_fifo_parser *p, const char *s, size_t len)
{
	if (len > sizeof(p->text) - p->text_len)
		spoil(p, "parameters too long");
	if (p->req.bad)
		return;
	memcpy(p->text + p->text_len, s, len);
	p->text_len += len;
	p->req.arg[p->req.n].len += len;
}

static void close_arg(struct mi_fifo_parser *p)
{
	if (!p->req.bad && !p->req.arg[p->req.n].len)
		spoil(p, "parse error");
	if (!p->req.bad)
		p->req.n++;
}

static int is_escape(struct dlg_str v)
{
	return v.len > 1 && v.s[0] == '\\' && (v.s[1] == '"' || v.s[1] == '\\');
}

/* A line, or the rest of one, between quotes. */
static void take_quoted(struct mi_fifo_parser *p, struct dlg_str raw)
{
	p->state = IN_QUOTES;
	for (size_t i = 0; i < raw.len; i++) {
		if (is_escape(cut(raw, i))) {
			i++;
		} else if (raw.s[i] == '"') {
			p->state = IN_PARAMS;
			if (dlg_str_trim(cut(raw, i + 1)).len)
				spoil(p, "parse error");
			close_arg(p);
			return;
		}
		add_to_arg(p, raw.s + i, 1);
	}
	add_to_arg(p, "\n", 1);
}

static struct dlg_str without_name(struct dlg_str v)
{
	size_t n = name_len(v);

	if (!n || n + 2 > v.len || v.s[n] != ':' || v.s[n + 1] != ':')
		return v;
	v = cut(v, n + 2);
	while (v.len && (v.s[0] == ' ' || v.s[0] == '\t'))
		v = cut(v, 1);
	return v;
}

/* A line that is not empty. */
static void take_param(struct mi_fifo_parser *p, struct dlg_str raw)
{
	struct dlg_str v;

	while (raw.s[0] == ' ' || raw.s[0] == '\t')
		raw = cut(raw, 1);
	v = without_name(raw);
	open_arg(p);
	if (v.len && v.s[0] == '"') {
		take_quoted(p, cut(v, 1));
		return;
	}
	v = dlg_str_trim(v);
	if (v.len && memchr(v.s, '"', v.len))
		spoil(p, "parse error");
	add_to_arg(p, v.s, v.len);
	close_arg(p);
}

/* ---- lines ---- */

/* What came behind it, or waits in the pipe, grows no older by the time that its answer takes: a
 * slow reader would cost others their requests. */
static void serve(struct mi_fifo_parser *p, mi_fifo_request_fn *fn, void *arg)
{
	uint64_t begun_ms = host_mono_ms();

	p->complained = 0;
	fn(&p->req, arg);
	forget_request(p);
	p->last_ms += host_mono_ms() - begun_ms;
}

static void take_line(struct mi_fifo_parser *p, struct dlg_str raw, mi_fifo_request_fn *fn,
		      void *arg)
{
	struct dlg_str line = dlg_str_trim(raw);

	if (p->state != BETWEEN && looks_like_command(line)) {
		drop_unfinished(p);
		begin_request(p, line);
	} else if (p->state == BETWEEN) {
		if (line.len)
			begin_request(p, line);
	} else if (p->overlong) {
		spoil(p, "line too long");
		p->state = IN_PARAMS;
	} else if (p->state == IN_QUOTES) {
		take_quoted(p, raw);
	} else if (line.len) {
		take_param(p, raw);
	} else {
		serve(p, fn, arg);
	}
}

static void collect(struct mi_fifo_parser *p, struct dlg_str piece)
{
	size_t room = sizeof(p->line) - p->line_len;

	if (piece.len > room) {
		p->overlong = 1;
		piece.len = room;
	}
	if (piece.len)
		memcpy(p->line + p->line_len, piece.s, piece.len);
	p->line_len += piece.len;
}

static void check_stale(struct mi_fifo_parser *p, uint64_t now_ms)
{
	if (now_ms - p->last_ms < MI_FIFO_STALE_MS)
		return;
	drop_unfinished(p);
	p->complained = 0;
}

void mi_fifo_parser_feed(struct mi_fifo_parser *p, struct dlg_str bytes, uint64_t now_ms,
			 mi_fifo_request_fn *fn, void *arg)
{
	const char *lf;

	check_stale(p, now_ms);
	if (bytes.len)
		p->last_ms = now_ms;
	while (bytes.len && (lf = memchr(bytes.s, '\n', bytes.len))) {
		struct dlg_str piece = { bytes.s, (size_t)(lf - bytes.s) };

		collect(p, piece);
		take_line(p, (struct dlg_str){ p->line, p->line_len }, fn, arg);
		p->line_len = 0;
		p->overlong = 0;
		bytes = cut(bytes, piece.len + 1);
	}
	collect(p, bytes);
}

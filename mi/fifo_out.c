/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fifo_out.h"
#include "fifo.h"
#include "../host/host.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* ---- bytes ---- */

/* Wait until the pipe takes bytes again. 0, or -1 when it is time to give up. */
static int wait_writable(int fd, uint64_t deadline)
{
	uint64_t now = host_mono_ms();
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (now >= deadline)
		return -1;
	if (poll(&p, 1, (int)(deadline - now)) < 0)
		return errno == EINTR ? 0 : -1;
	return p.revents == POLLOUT ? 0 : -1;
}

/* Write the buffer. The time is counted per buffer, so that a reader who sips a byte now and
 * then cannot hold up everybody else for long. */
static void flush(struct mi_fifo_out *o)
{
	uint64_t deadline = host_mono_ms() + MI_FIFO_WRITE_MS;
	size_t done = 0;

	while (!o->broken && done < o->len) {
		ssize_t n = write(o->fd, o->buf + done, o->len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			o->broken = wait_writable(o->fd, deadline) < 0;
		else if (n == 0 || errno != EINTR)
			o->broken = 1;
	}
	o->len = 0;
}

static void put(struct mi_fifo_out *o, struct dlg_str v)
{
	while (v.len) {
		size_t n = sizeof(o->buf) - o->len;

		if (n > v.len)
			n = v.len;
		memcpy(o->buf + o->len, v.s, n);
		o->len += n;
		v.s += n;
		v.len -= n;
		if (o->len == sizeof(o->buf))
			flush(o);
	}
}

static void put_escaped(struct mi_fifo_out *o, unsigned char c)
{
	char text[8];

	if (c == '\r' || c == '\n')
		snprintf(text, sizeof(text), "\\%c", c == '\r' ? 'r' : 'n');
	else
		snprintf(text, sizeof(text), "\\x%02x", c);
	put(o, dlg_str_of(text));
}

static int is_plain(unsigned char c)
{
	return (c >= ' ' && c != 0x7f) || c == '\t';
}

static void put_value(struct mi_fifo_out *o, struct dlg_str v)
{
	size_t from = 0;

	for (size_t i = 0; i < v.len; i++) {
		if (is_plain((unsigned char)v.s[i]))
			continue;
		put(o, (struct dlg_str){ v.s + from, i - from });
		put_escaped(o, (unsigned char)v.s[i]);
		from = i + 1;
	}
	if (v.len > from)
		put(o, (struct dlg_str){ v.s + from, v.len - from });
}

/* ---- lines ---- */

static struct mi_fifo_out *fifo(struct dlg_mi_out *out)
{
	return (struct mi_fifo_out *)out;
}

static void end_line(struct mi_fifo_out *o)
{
	if (o->open_line)
		put(o, DLG_STR("\n"));
	o->open_line = 0;
}

/* Whatever stands at the beginning of the next line. Returns 0, or -1 when nothing may follow. */
static int begin_line(struct mi_fifo_out *o)
{
	if (o->closed)
		return -1;
	if (!o->begun)
		put(o, DLG_STR("200 OK\n"));
	o->begun = 1;
	end_line(o);
	for (unsigned i = 0; i < o->depth; i++)
		put(o, DLG_STR("\t"));
	return 0;
}

static int begin_node(struct mi_fifo_out *o, const char *name)
{
	if (begin_line(o) < 0)
		return -1;
	put(o, dlg_str_of(name));
	put(o, DLG_STR(":: "));
	o->open_line = 1;
	return 0;
}

/* ---- struct dlg_mi_ops ---- */

static void open_list(struct dlg_mi_out *out, const char *name)
{
	(void)out;
	(void)name;
}

static void close_list(struct dlg_mi_out *out)
{
	(void)out;
}

static void open_node(struct dlg_mi_out *out, const char *name)
{
	struct mi_fifo_out *o = fifo(out);

	o->nameless = o->nameless << 1 | !name;
	if (!name)
		return;
	begin_node(o, name);
	o->depth++;
}

static void close_node(struct dlg_mi_out *out)
{
	struct mi_fifo_out *o = fifo(out);

	end_line(o);
	if (!(o->nameless & 1))
		o->depth--;
	o->nameless >>= 1;
}

static void attr(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	if (!fifo(out)->open_line)
		return;
	if (name) {
		put(fifo(out), DLG_STR(" "));
		put(fifo(out), dlg_str_of(name));
		put(fifo(out), DLG_STR("="));
	}
	put_value(fifo(out), value);
}

static void attr_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%lld", (long long)value);
	attr(out, name, dlg_str_of(digits));
}

static void text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	if (begin_node(fifo(out), name) < 0)
		return;
	put_value(fifo(out), value);
	end_line(fifo(out));
}

static void number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%lld", (long long)value);
	text(out, name, dlg_str_of(digits));
}

/* After content (dialogs are listed already, say) this format has no place for an error. */
static void error(struct dlg_mi_out *out, int code, const char *reason)
{
	struct mi_fifo_out *o = fifo(out);
	char digits[16];

	out->status = code;
	if (o->begun || o->closed)
		return;
	snprintf(digits, sizeof(digits), "%d ", code);
	put(o, dlg_str_of(digits));
	put_value(o, dlg_str_of(reason));
	put(o, DLG_STR("\n\n"));
	o->closed = 1;
}

static int broken(struct dlg_mi_out *out)
{
	return fifo(out)->broken;
}

static const struct dlg_mi_ops ops = {
	.open_list = open_list, .close_list = close_list,
	.open_node = open_node, .close_node = close_node,
	.attr = attr, .attr_number = attr_number, .text = text, .number = number,
	.error = error, .broken = broken,
};

/* ---- for the server ---- */

void mi_fifo_out_init(struct mi_fifo_out *o, int fd)
{
	memset(o, 0, offsetof(struct mi_fifo_out, buf));
	o->out.ops = &ops;
	o->out.status = 200;
	o->fd = fd;
	o->broken = fd < 0;
}

void mi_fifo_out_line(struct mi_fifo_out *o, struct dlg_str value)
{
	if (begin_line(o) < 0)
		return;
	put_value(o, value);
	put(o, DLG_STR("\n"));
}

void mi_fifo_out_refuse(struct mi_fifo_out *o, int code, const char *before, struct dlg_str name,
			const char *after)
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%d ", code);
	put(o, dlg_str_of(digits));
	put(o, dlg_str_of(before));
	put_value(o, name);
	put(o, dlg_str_of(after));
	put(o, DLG_STR("\n"));
	o->out.status = code;
	o->closed = 1;
}

int mi_fifo_out_finish(struct mi_fifo_out *o)
{
	if (!o->closed) {
		o->depth = 0;
		begin_line(o);
		put(o, DLG_STR("\n"));
	}
	flush(o);
	return o->broken ? -1 : 0;
}

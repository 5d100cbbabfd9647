/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static char reply_path[PATH_MAX]; /* ours, while it exists */
static char reason[512];
static int error_code;

const char *ctl_reason(void)
{
	return reason;
}

int ctl_error_code(void)
{
	return error_code;
}

int ctl_complain(const char *what, int code)
{
	fprintf(stderr, "dlgctl: %s: %s\n", what, reason);
	return code;
}

int ctl_surplus(const char *argument)
{
	fprintf(stderr, "dlgctl: \"%s\" is too much; see --help\n", argument);
	return CTL_USAGE;
}

static int away(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int away(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	return CTL_AWAY;
}

/* ---- the reply's FIFO ---- */

static void remove_reply(void)
{
	if (reply_path[0])
		unlink(reply_path);
	reply_path[0] = '\0';
}

static void on_signal(int number)
{
	if (reply_path[0])
		unlink(reply_path);
	signal(number, SIG_DFL);
	raise(number);
}

static void guard_once(void)
{
	static const int deadly[] = { SIGINT, SIGTERM, SIGHUP };
	static int done;

	if (done++)
		return;
	atexit(remove_reply);
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		signal(deadly[i], on_signal);
}

/* The server must be able to write to it, and nobody else to read: where it runs as another user, that
 * one gets it if we may give it away. */
static void admit_server(const char *path)
{
	struct stat st;

	if (stat(ctl_options.fifo, &st) < 0 || st.st_uid == geteuid())
		return;
	if (chown(path, st.st_uid, (gid_t)-1) < 0 && chmod(path, 0622) < 0)
		return;
}

/* Descriptor of a fresh FIFO, or -1. */
static int make_reply(void)
{
	unsigned long long salt;
	char path[PATH_MAX];
	int fd;

	guard_once();
	if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		salt = (unsigned long long)getpid();
	snprintf(path, sizeof(path), "%s/dlgctl.%d.%llx", ctl_options.reply_dir, (int)getpid(), salt);
	if (mkfifo(path, 0600) < 0) {
		away("no reply can be made in %s: %s (option --reply-dir, the module's reply_dir)",
		     ctl_options.reply_dir, strerror(errno));
		return -1;
	}
	memcpy(reply_path, path, sizeof(path));
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	admit_server(path);
	return fd;
}

/* ---- the request ---- */

static int no_fifo(int err)
{
	if (err == ENOENT)
		return away("there is no FIFO %s: is the proxy running, and is that its fifo_name?",
			    ctl_options.fifo);
	if (err == ENXIO)
		return away("nobody reads the FIFO %s: the proxy is not running", ctl_options.fifo);
	return away("the FIFO %s cannot be opened: %s", ctl_options.fifo, strerror(err));
}

/* Blanks at the ends would be trimmed, line ends taken for the end: such values go in quotes. */
static int add_argument(struct dlg_buf *out, const char *value)
{
	size_t len = strlen(value);
	int quoted = !len || strchr(" \t", value[0]) || strchr(" \t", value[len - 1]) ||
		     strpbrk(value, "\r\n");

	if (strchr(value, '"'))
		return away("a value with a double quote cannot be sent");
	dlg_buf_printf(out, quoted ? "\"%s\"\n" : "%s\n", value);
	return 0;
}

static int write_request(const struct dlg_buf *request)
{
	int fd = open(ctl_options.fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return no_fifo(errno);
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) {
		close(fd);
		return away("%s is no FIFO", ctl_options.fifo);
	}
	n = write(fd, request->s, request->len);
	close(fd);
	if (n != (ssize_t)request->len)
		return away("the FIFO %s takes nothing: the proxy hangs", ctl_options.fifo);
	return 0;
}

static int send_request(const char *command, const char *const *args, unsigned n)
{
	struct dlg_buf request = { 0 };
	int ret = 0;

	dlg_buf_printf(&request, ":%s:%s\n", command, strrchr(reply_path, '/') + 1);
	for (unsigned i = 0; i < n && !ret; i++)
		ret = add_argument(&request, args[i]);
	dlg_buf_add(&request, DLG_STR("\n"));
	if (!ret)
		ret = request.failed ? away("no memory") : write_request(&request);
	dlg_buf_free(&request);
	return ret;
}

/* ---- the reply ---- */

struct reader {
	int fd;
	ctl_line_fn *fn;
	void *arg;
	struct dlg_buf line; /* what has come of it */
	int seen_status, complete, stopped, status;
};

static void split(char *text, struct ctl_line *line)
{
	char *colons;

	for (line->depth = 0; *text == '\t'; text++)
		line->depth++;
	colons = strstr(text, ":: ");
	line->name = text;
	line->value = text + strlen(text);
	if (colons) {
		*colons = '\0';
		line->value = colons + 3;
	} else {
		line->value = text;
		line->name = line->value + strlen(text);
	}
}

static void take_status(struct reader *r, const char *text)
{
	r->seen_status = 1;
	r->status = atoi(text);
	if (r->status == 200)
		return;
	error_code = r->status;
	snprintf(reason, sizeof(reason), "%s", text);
	r->complete = 1;
}

static void take_line(struct reader *r, char *text)
{
	struct ctl_line line;

	if (!r->seen_status) {
		take_status(r, text);
	} else if (!*text) {
		r->complete = 1;
	} else if (r->fn && !r->stopped && r->status == 200) {
		r->complete = 0;
		split(text, &line);
		r->stopped = r->fn(&line, r->arg);
	}
}

static void take_bytes(struct reader *r, const char *bytes, size_t n)
{
	while (n) {
		const char *end = memchr(bytes, '\n', n);
		size_t len = end ? (size_t)(end - bytes) : n;

		dlg_buf_add(&r->line, (struct dlg_str){ bytes, len });
		if (!end)
			return;
		dlg_buf_add(&r->line, (struct dlg_str){ "", 1 });
		if (!r->line.failed)
			take_line(r, r->line.s);
		dlg_buf_reset(&r->line);
		bytes += len + 1;
		n -= len + 1;
	}
}

/* Bytes until the writer closes. 0 or CTL_AWAY. */
static int read_all(struct reader *r)
{
	static char bytes[65536];
	struct pollfd p = { .fd = r->fd, .events = POLLIN };

	while (!r->stopped) {
		int ready = poll(&p, 1, (int)ctl_options.timeout_ms);
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return away("no answer within %u s: the proxy hangs, or may not write to %s",
				    ctl_options.timeout_ms / 1000, ctl_options.reply_dir);
		n = read(r->fd, bytes, sizeof(bytes));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			break;
		take_bytes(r, bytes, (size_t)n);
	}
	if (!r->complete && !r->stopped)
		return away("the answer ended too early: the proxy was stopped, or we were too slow");
	return r->status == 200 ? CTL_OK : CTL_NO;
}

int ctl_call(const char *command, const char *const *args, unsigned n, ctl_line_fn *fn, void *arg)
{
	struct reader r = { .fn = fn, .arg = arg, .fd = make_reply() };
	int ret;

	if (r.fd < 0) {
		remove_reply();
		return CTL_AWAY;
	}
	ret = send_request(command, args, n);
	if (!ret)
		ret = read_all(&r);
	close(r.fd);
	remove_reply();
	dlg_buf_free(&r.line);
	return ret;
}

char *ctl_attr(char *value, const char *name)
{
	char key[64], *at = NULL, *p = value;

	snprintf(key, sizeof(key), " %s=", name);
	while ((p = strstr(p, key)))
		at = p++;
	if (!at)
		return NULL;
	*at = '\0';
	return at + strlen(key);
}

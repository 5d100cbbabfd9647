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

static char reply_path[PATH_MAX];
static volatile sig_atomic_t reply_exists; /* perhaps: it may be removed by that name */
static char reason[PATH_MAX + 512];
static int error_code;
int (*ctl_break)(void);

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
	if (reply_exists)
		unlink(reply_path);
	reply_exists = 0;
}

static void on_signal(int number)
{
	remove_reply();
	signal(number, SIG_DFL);
	raise(number);
}

void ctl_catch_signals(void (*fn)(int number))
{
	static const int deadly[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = fn }, old;

	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(deadly[i], &action, NULL); /* nohup stays nohup */
	}
}

static void guard_once(void)
{
	static int done;

	if (done++)
		return;
	atexit(remove_reply);
	if (!ctl_break)
		ctl_catch_signals(on_signal);
}

/* The proxy must be able to write to it, and as few others as possible. Where it runs as another
 * user, that one gets it if we may give it away; else the group that our common FIFO belongs to, if
 * we are in it; else everybody may write, nobody but us read. By descriptor: what has that name now
 * may be another file. */
static void admit_server(int fd)
{
	struct stat st;

	if (stat(ctl_options.fifo, &st) < 0 || st.st_uid == geteuid() ||
	    fchown(fd, st.st_uid, (gid_t)-1) == 0)
		return;
	if (st.st_mode & S_IWGRP && fchown(fd, (uid_t)-1, st.st_gid) == 0)
		fchmod(fd, 0620);
	else
		fchmod(fd, 0622);
}

/* Is it the one that we have made? */
static int is_ours(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_uid == geteuid();
}

/* A name that nobody can have made before us. */
static int name_reply(void)
{
	unsigned long long salt;
	int n;

	if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		return away("no random number for the reply's name: %s", strerror(errno));
	n = snprintf(reply_path, sizeof(reply_path), "%s/dlgctl.%d.%016llx", ctl_options.reply_dir,
		     (int)getpid(), salt);
	return n < PATH_MAX ? 0 : away("the name of the reply directory is too long");
}

static int open_reply(void)
{
	int fd;

	if (mkfifo(reply_path, 0600) < 0)
		return -1;
	fd = open(reply_path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || is_ours(fd))
		return fd;
	close(fd);
	errno = EEXIST;
	return -1;
}

/* Descriptor of a fresh FIFO, or -1. */
static int make_reply(void)
{
	int fd;

	guard_once();
	if (name_reply() != 0)
		return -1;
	reply_exists = 1; /* before it is made: a signal may come in between */
	fd = open_reply();
	if (fd < 0)
		away("no reply can be made in %s: %s (option --reply-dir, the module's reply_dir)",
		     ctl_options.reply_dir, strerror(errno));
	else
		admit_server(fd);
	return fd;
}

/* ---- waiting ---- */

enum { SLICE_MS = 100 };

/* Wait until `fd` is ready, for the time-out at most. 0; CTL_AWAY when it was broken off, or it
 * never was: then the reason is for the caller to say. */
static int await(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int left = (int)ctl_options.timeout_ms, ready = 0;

	while (left > 0 && ready <= 0) {
		int slice = ctl_break && left > SLICE_MS ? SLICE_MS : left;

		if (ctl_break && ctl_break())
			break;
		ready = poll(&p, 1, slice);
		if (ready < 0 && errno != EINTR)
			break;
		left -= slice;
	}
	return ready > 0 ? 0 : CTL_AWAY;
}

/* ---- the request ---- */

static int no_fifo(int err)
{
	if (err == ENOENT)
		return away("there is no FIFO %s: is the proxy running, and is that its fifo_name?",
			    ctl_options.fifo);
	if (err == ENXIO || err == EPIPE)
		return away("nobody reads the FIFO %s: the proxy is not running", ctl_options.fifo);
	return away("the FIFO %s cannot be opened: %s", ctl_options.fifo, strerror(err));
}

/* Up to PIPE_BUF bytes go out at once or not at all: requests of several clients do not mix. */
static int write_all(int fd, struct dlg_str bytes)
{
	while (bytes.len) {
		ssize_t n = write(fd, bytes.s, bytes.len);

		if (n > 0) {
			bytes.s += n;
			bytes.len -= (size_t)n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			return no_fifo(errno);
		} else if (await(fd, POLLOUT) != 0) {
			return away("the FIFO %s takes nothing: the proxy hangs", ctl_options.fifo);
		}
	}
	return 0;
}

static int write_request(const struct dlg_buf *request)
{
	int fd = open(ctl_options.fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC), ret;
	struct stat st;

	if (fd < 0)
		return no_fifo(errno);
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		ret = away("%s is no FIFO", ctl_options.fifo);
	else
		ret = write_all(fd, dlg_buf_view(request));
	close(fd);
	return ret;
}

static int send_request(const char *command, const char *const *args, unsigned n)
{
	struct dlg_buf request = { 0 };
	int ret;

	if (ctl_request(&request, command, strrchr(reply_path, '/') + 1, args, n) < 0) {
		away("a line of an argument begins with \":\", like a request of its own");
		return CTL_USAGE;
	}
	ret = request.failed ? away("no memory") : write_request(&request);
	dlg_buf_free(&request);
	return ret;
}

/* ---- the reply ---- */

static int no_answer(const struct ctl_reply *r)
{
	if (r->status)
		return away("the answer stopped for %u s: the proxy hangs",
			    ctl_options.timeout_ms / 1000);
	return away(
		"no answer within %u s: the proxy hangs, or its reply_dir is not %s, or it may not "
		"write there",
		ctl_options.timeout_ms / 1000, ctl_options.reply_dir);
}

/* The module of an earlier version knows fewer commands. */
static int refused(const struct ctl_reply *r)
{
	error_code = r->status;
	if (r->status == 500 && strstr(r->error, "not available"))
		snprintf(reason, sizeof(reason), "%s: the proxy's module is older than this dlgctl",
			 r->error);
	else
		snprintf(reason, sizeof(reason), "%s", r->error);
	return CTL_NO;
}

static int verdict(const struct ctl_reply *r)
{
	if (r->failed)
		return away("no memory");
	if (!r->complete && !r->stopped)
		return away(
			"the answer ended too early: the proxy was stopped, or we were too slow");
	return r->status == 200 ? CTL_OK : refused(r);
}

/* Bytes until the writer closes. */
static int read_all(int fd, struct ctl_reply *r)
{
	static char bytes[65536];

	while (!r->stopped) {
		ssize_t n;

		if (await(fd, POLLIN) != 0)
			return no_answer(r);
		n = read(fd, bytes, sizeof(bytes));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			break;
		ctl_reply_feed(r, (struct dlg_str){ bytes, (size_t)n });
	}
	return verdict(r);
}

int ctl_call(const char *command, const char *const *args, unsigned n, ctl_line_fn *fn, void *arg)
{
	struct ctl_reply r = { .fn = fn, .arg = arg };
	int fd = make_reply(), ret = CTL_AWAY;

	error_code = 0;
	if (fd >= 0)
		ret = send_request(command, args, n);
	if (fd >= 0 && !ret)
		ret = read_all(fd, &r);
	if (fd >= 0)
		close(fd);
	remove_reply();
	dlg_buf_free(&r.line);
	return ret;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The FIFO process: its own FIFO, the clients' reply FIFOs, and two commands of the front end.
 * The request format is in fifo_parse.c, the reply format in fifo_out.h. */

#include "fifo.h"
#include "fifo_out.h"
#include "../dialog.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	TICK_MS = 1000,     /* the idle second */
	READER_MS = 1000,   /* how long a client may take to begin reading its reply */
	READER_MIN_MS = 60, /* the same after several that never did; regained per second */
	READER_STEP_MS = 10,
	LOGS_PER_TICK = 10, /* about requests that failed */
};

static struct {
	int fd;    /* our FIFO; -1 while there is none */
	dev_t dev; /* its file */
	ino_t ino;
	int made;    /* mi_fifo_init() made it */
	int usurped; /* logged: the name belongs to another process now */
	int refused; /* logged: the name cannot be ours at the moment */
	uint64_t last_tick;
	unsigned logs; /* lines of this second */
	int reader_ms; /* patience, see reply_open() */
	void (*idle)(void);
	struct mi_fifo_out out;
} server = { .fd = -1, .reader_ms = READER_MS };

/* Clients' mistakes, of which there may be many in a second. */
#define COMPLAIN(...)                                                            \
	do {                                                                     \
		if (server.logs++ < LOGS_PER_TICK)                               \
			HOST_LOG(HOST_WARNING, "MI FIFO: " __VA_ARGS__); \
	} while (0)

/* ---- our FIFO in the file system ---- */

int mi_fifo_wanted(void)
{
	return dialog_conf.fifo_name && dialog_conf.fifo_name[0];
}

static int has_reader(const char *path)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0;
	close(fd);
	return 1;
}

/* Make the FIFO with exactly the mode asked for, whatever the umask. 0, or -1 with errno. */
static int make_fifo(const char *path)
{
	mode_t old = umask(0);
	int err = mkfifo(path, (mode_t)dialog_conf.fifo_mode & 0777), keep = errno;

	umask(old);
	errno = keep;
	return err;
}

/* Returns what is wrong, or NULL. */
static const char *replace_fifo(const char *path, struct stat *st)
{
	if (lstat(path, st) == 0) {
		if (!S_ISFIFO(st->st_mode))
			return "there is another file of that name, which is no FIFO";
		if (unlink(path) < 0 && errno != ENOENT)
			return strerror(errno);
	} else if (errno != ENOENT) {
		return strerror(errno);
	}
	if (make_fifo(path) < 0 || lstat(path, st) < 0)
		return strerror(errno);
	return NULL;
}

int mi_fifo_init(void)
{
	const char *wrong;
	struct stat st;

	if (!mi_fifo_wanted())
		return 0;
	wrong = replace_fifo(dialog_conf.fifo_name, &st);
	if (wrong) {
		HOST_LOG(HOST_ERROR, "MI FIFO: cannot create %s (fifo_name): %s",
			 dialog_conf.fifo_name, wrong);
		return -1;
	}
	server.dev = st.st_dev;
	server.ino = st.st_ino;
	server.made = 1;
	return 0;
}

void mi_fifo_stop(void)
{
	struct stat st;

	if (!server.made || lstat(dialog_conf.fifo_name, &st) < 0 || !S_ISFIFO(st.st_mode))
		return;
	if ((st.st_dev == server.dev && st.st_ino == server.ino) ||
	    !has_reader(dialog_conf.fifo_name))
		unlink(dialog_conf.fifo_name);
}

/* Open the FIFO for reading and writing: it never reports end of file then. */
static void open_own(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) {
		if (!server.refused)
			HOST_LOG(HOST_ERROR,
				 "MI FIFO: cannot open %s: %s; trying again every second",
				 path, fd < 0 ? strerror(errno) : "this is no FIFO");
		server.refused = 1;
		if (fd >= 0)
			close(fd);
		return;
	}
	server.fd = fd;
	server.dev = st.st_dev;
	server.ino = st.st_ino;
	server.refused = 0;
	server.usurped = 0;
}

static int is_ours(const struct stat *st)
{
	return server.fd >= 0 && st->st_dev == server.dev && st->st_ino == server.ino;
}

/* Somebody deleted our FIFO, or made another one nobody reads: take the name back. */
static void recreate(const char *path)
{
	struct stat st;
	const char *wrong = replace_fifo(path, &st);

	if (wrong) {
		if (!server.refused)
			HOST_LOG(HOST_ERROR,
				 "MI FIFO: %s is gone and cannot be made again: %s", path,
				 wrong);
		server.refused = 1;
		return;
	}
	HOST_LOG(HOST_NOTICE, "MI FIFO: %s was gone and has been made again", path);
	server.dev = st.st_dev;
	server.ino = st.st_ino;
	if (server.fd >= 0)
		close(server.fd);
	server.fd = -1;
	open_own(path);
}

/* Once a second. A FIFO of that name which another process reads is left to it. */
static void keep_own(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0) {
		if (errno == ENOENT)
			recreate(path);
	} else if (is_ours(&st)) {
		server.usurped = 0;
	} else if (server.fd < 0 && st.st_dev == server.dev && st.st_ino == server.ino) {
		open_own(path);
	} else if (S_ISFIFO(st.st_mode) && !has_reader(path)) {
		recreate(path);
	} else if (!server.usurped) {
		HOST_LOG(HOST_ERROR,
			 "MI FIFO: %s has been replaced by %s; it is not served here "
			 "until that is removed",
			 path,
			 S_ISFIFO(st.st_mode) ? "the FIFO of another process" : "another file");
		server.usurped = 1;
	}
}

/* ---- replies ---- */

static int reply_name_ok(struct dlg_str name)
{
	if (name.len > NAME_MAX || dlg_str_eq(name, DLG_STR(".")) ||
	    dlg_str_eq(name, DLG_STR("..")))
		return 0;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.s[i];

		if (c == '/' || c < ' ' || c == 0x7f)
			return 0;
	}
	return 1;
}

/* Open `name` in the reply directory. Clients begin to read after they have written the command, so
 * that "nobody reads" is true at first and worth another try. The patience shrinks with each client
 * that never reads, and recovers by the second: a flood of them must not lock out the others. */
static int open_patiently(int dir, const char *name)
{
	for (int waited = 0;; waited += READER_STEP_MS) {
		int fd = openat(dir, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0 || errno != ENXIO)
			return fd;
		if (waited >= server.reader_ms)
			break;
		poll(NULL, 0, READER_STEP_MS);
	}
	server.reader_ms /= 2;
	if (server.reader_ms < READER_MIN_MS)
		server.reader_ms = READER_MIN_MS;
	errno = ENXIO;
	return -1;
}

/* Only a FIFO is touched: opening a device may have effects, a file would be overwritten. */
static int is_fifo(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISFIFO(st.st_mode))
		return 1;
	errno = EINVAL;
	return 0;
}

/* The file may have been exchanged between looking and opening. */
static int only_fifo(int fd)
{
	struct stat st;

	if (fd < 0 || (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

static const char *why_not(int err)
{
	if (err == ENXIO)
		return "nobody reads it";
	return err == EINVAL || err == ELOOP ? "it is no FIFO" : strerror(err);
}

/* Descriptor of the client's FIFO, or -1: the command then runs for its effect. */
static int reply_open(struct dlg_str reply)
{
	char name[NAME_MAX + 1];
	const char *path = dialog_conf.reply_dir ? dialog_conf.reply_dir : "/tmp/";
	int fd = -1, dir;

	if (!reply.len)
		return -1;
	memcpy(name, reply.s, reply.len);
	name[reply.len] = '\0';
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		COMPLAIN("cannot open the directory %s (reply_dir): %s", path, strerror(errno));
		return -1;
	}
	if (is_fifo(dir, name))
		fd = only_fifo(open_patiently(dir, name));
	if (fd < 0)
		COMPLAIN("no reply to '%s' in %s: %s", name, path, why_not(errno));
	close(dir);
	return fd;
}

/* ---- commands of the front end ---- */

#define FRONT_COMMANDS(X) \
	X(get_statistics) \
	X(which)

typedef void front_fn(const struct mi_fifo_request *req, struct mi_fifo_out *o);

static const struct {
	const char *name;
	uint64_t (*get)(void);
} statistics[] = {
#define X(name) { #name, dialog_stat_##name },
	DIALOG_STATISTICS(X)
#undef X
};

enum { STATISTICS = sizeof(statistics) / sizeof(statistics[0]) };

/* "dialog:" and "all" stand for every statistic, else a name with or without the group. */
static int is_asked(struct dlg_str what, const char *name)
{
	static const struct dlg_str group = { "dialog:", 7 };

	if (dlg_str_eq(what, group) || dlg_str_eq(what, DLG_STR("all")))
		return 1;
	if (what.len > group.len && !memcmp(what.s, group.s, group.len)) {
		what.s += group.len;
		what.len -= group.len;
	}
	return dlg_str_eq(what, dlg_str_of(name));
}

static int print_statistics(struct dlg_str what, struct mi_fifo_out *o)
{
	char line[96];
	int found = 0;

	for (int i = 0; dialog_conf.enable_stats && i < STATISTICS; i++) {
		if (!is_asked(what, statistics[i].name))
			continue;
		snprintf(line, sizeof(line), "dialog:%s = %llu", statistics[i].name,
			 (unsigned long long)statistics[i].get());
		mi_fifo_out_line(o, dlg_str_of(line));
		found = 1;
	}
	return found;
}

static void get_statistics(const struct mi_fifo_request *req, struct mi_fifo_out *o)
{
	int found = 0;

	if (!req->n) {
		o->out.ops->error(&o->out, 400, "Too few or too many arguments");
		return;
	}
	for (unsigned i = 0; i < req->n; i++)
		found |= print_statistics(req->arg[i], o);
	if (!found)
		o->out.ops->error(&o->out, 404, "Statistics Not Found");
}

static void which(const struct mi_fifo_request *req, struct mi_fifo_out *o)
{
	(void)req;
#define X(name) mi_fifo_out_line(o, DLG_STR(#name));
	FRONT_COMMANDS(X)
#undef X
	for (int i = 0; i < DLG_MI_N; i++)
		mi_fifo_out_line(o, dlg_str_of(dlg_mi_commands[i].name));
}

static front_fn *front_find(struct dlg_str name)
{
#define X(command)                               \
	if (dlg_str_eq(name, DLG_STR(#command))) \
		return command;
	FRONT_COMMANDS(X)
#undef X
	return NULL;
}

/* ---- requests ---- */

static void run_command(const struct dlg_mi_command *cmd, const struct mi_fifo_request *req,
			struct dlg_mi_out *out)
{
	struct dlg_mi_args args = { .n = req->n };

	if (req->n > DLG_MI_ARGS_MAX) {
		out->ops->error(out, 400, "Too few or too many arguments");
		return;
	}
	for (unsigned i = 0; i < req->n; i++)
		args.arg[i] = req->arg[i];
	dlg_mi_run(cmd, &args, out);
}

static void answer(const struct mi_fifo_request *req, struct mi_fifo_out *o)
{
	const struct dlg_mi_command *cmd = dlg_mi_find(req->command);
	front_fn *front = front_find(req->command);

	if (req->bad) {
		char why[64];

		snprintf(why, sizeof(why), "%s in command '", req->bad);
		mi_fifo_out_refuse(o, 400, why, req->command, "'");
	} else if (front) {
		front(req, o);
	} else if (cmd) {
		run_command(cmd, req, &o->out);
	} else {
		mi_fifo_out_refuse(o, 500, "command '", req->command, "' not available");
	}
}

static void keep_house(void)
{
	uint64_t now = host_mono_ms();

	if (now - server.last_tick < TICK_MS)
		return;
	server.last_tick = now;
	if (server.logs > LOGS_PER_TICK)
		HOST_LOG(HOST_WARNING, "MI FIFO: %u more lines of that kind",
			 server.logs - LOGS_PER_TICK);
	server.logs = 0;
	server.reader_ms += server.reader_ms < READER_MS ? READER_MIN_MS : 0;
	if (mi_fifo_wanted())
		keep_own(dialog_conf.fifo_name);
	if (server.idle)
		server.idle();
}

static void serve(const struct mi_fifo_request *req, void *arg)
{
	int fd;

	(void)arg;
	keep_house();
	if (server.idle)
		server.idle();
	if (!reply_name_ok(req->reply)) {
		COMPLAIN("forbidden name of a reply file; a name in reply_dir is wanted, no path");
		return;
	}
	fd = reply_open(req->reply);
	mi_fifo_out_init(&server.out, fd);
	answer(req, &server.out);
	if (mi_fifo_out_finish(&server.out) < 0 && fd >= 0)
		COMPLAIN("the reader of '%.*s' went away or is too slow", DLG_STR_ARG(req->reply));
	if (fd >= 0)
		close(fd);
}

/* ---- the process ---- */

/* Wait for bytes, one idle second at most. Returns how many were read, 0 for none. */
static size_t await(char *buf, size_t size)
{
	struct pollfd p = { .fd = server.fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, TICK_MS) <= 0 || !(p.revents & POLLIN))
		return 0;
	n = read(server.fd, buf, size);
	return n > 0 ? (size_t)n : 0;
}

void mi_fifo_run(void (*idle)(void))
{
	struct mi_fifo_parser *parser = mi_fifo_parser_new();
	static char buf[65536];

	signal(SIGPIPE, SIG_IGN); /* a reader may go at any time: write() says so as well */
	if (!parser)
		HOST_LOG(HOST_ERROR, "MI FIFO: no memory, commands are not served");
	server.idle = idle;
	server.last_tick = host_mono_ms();
	if (parser && mi_fifo_wanted())
		open_own(dialog_conf.fifo_name);
	for (;;) {
		size_t n = await(buf, sizeof(buf));

		if (parser)
			mi_fifo_parser_feed(parser, (struct dlg_str){ buf, n }, host_mono_ms(),
					    serve, NULL);
		keep_house();
	}
}

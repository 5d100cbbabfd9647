/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_journal.h"

#include "dlg_lock.h"
#include "host/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FORMAT = 1, NODE_MAX = 64, IMAGE_MAX = 1 << 26, ERROR_LOG_MS = 10000 };

static const char file_magic[8] = "dlg-jrnl";
static const uint32_t record_magic = 0x524c4744;

struct file_head {
	char magic[8];
	uint32_t format, layout;
	char node[NODE_MAX];
};

struct record_head {
	uint32_t magic, len; /* of the image */
	uint64_t sum;        /* of all that follows */
	uint64_t version;
	uint32_t h_entry, h_id, ended, zero;
};

/* A file of an earlier run, mapped while it is read. */
struct old_file {
	uint32_t number;
	char *map;
	size_t len;
};

static struct {
	uint32_t current;
	uint32_t users[2]; /* by the lowest bit of the segment's number */
	uint64_t bytes, errors, last_log;
} *shared;

static char dir[PATH_MAX];
static struct file_head head;  /* of the files we write */
static int lock_fd = -1;
static int skipped_fd = -1;    /* the file of skipped records, while reading */
/* the segment that this process wrote to last */
static DLG_LOCK_PROCESS_LOCAL int fd = -1;
static DLG_LOCK_PROCESS_LOCAL uint32_t fd_number;
static uint32_t oldest;        /* first segment that may exist */
static struct old_file *files; /* while reading */
static unsigned n_files;

/* ---- names ---- */

static void path_of(char out[PATH_MAX + 64], uint32_t number)
{
	snprintf(out, PATH_MAX + 64, "%s/dialog-%08u.journal", dir, number);
}

static void path_of_skipped(char out[PATH_MAX + 64])
{
	snprintf(out, PATH_MAX + 64, "%s/dialog-skipped.journal", dir);
}

/* The number in the name of a segment, or 0. */
static uint32_t number_of(const char *name)
{
	unsigned number;
	int end = 0;

	if (sscanf(name, "dialog-%8u.journal%n", &number, &end) != 1 || !end || name[end])
		return 0;
	return number;
}

/* ---- what others left ---- */

static int has_segments(const char *where)
{
	DIR *d = opendir(where);
	struct dirent *e;
	int found = 0;

	while (d && !found && (e = readdir(d)))
		found = number_of(e->d_name) != 0;
	if (d)
		closedir(d);
	return found;
}

static int is_in_use(const char *where)
{
	char path[PATH_MAX + 64];
	int lock, used;

	snprintf(path, sizeof(path), "%s/dialog.lock", where);
	lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	used = lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) < 0;
	if (lock >= 0)
		close(lock);
	return used;
}

int dlg_journal_is_left(const char *where)
{
	return has_segments(where) && !is_in_use(where);
}

/* ---- opening ---- */

static int take_lock(void)
{
	char path[PATH_MAX + 64], pid[32];
	int n;

	snprintf(path, sizeof(path), "%s/dialog.lock", dir);
	lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (lock_fd < 0) {
		host_log(HOST_ERROR,
			 "parameter db_journal_dir: cannot write in \"%s\": %s: allowed is a "
			 "directory this user may write in, or \"\" for no journal",
			 dir, strerror(errno));
		return -1;
	}
	if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0) {
		n = (int)read(lock_fd, pid, sizeof(pid) - 1);
		pid[n > 0 ? n : 0] = '\0';
		host_log(HOST_ERROR,
			 "parameter db_journal_dir: \"%s\" is in use by another proxy (process "
			 "%.*s): allowed is a directory of its own for each",
			 dir, (int)strcspn(pid, "\n"), pid);
		return -1;
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(lock_fd, 0) < 0 || pwrite(lock_fd, pid, (size_t)n, 0) != n)
		HOST_LOG(HOST_DEBUG, "journal: cannot note the process in %s", path);
	return 0;
}

int dlg_journal_init(const char *where, struct dlg_str node, uint32_t layout)
{
	shared = host_shm_alloc(sizeof(*shared));
	if (!shared)
		return -1;
	memset(shared, 0, sizeof(*shared));
	oldest = 1;
	snprintf(dir, sizeof(dir), "%s", where);
	head = (struct file_head){ .format = FORMAT, .layout = layout };
	memcpy(head.magic, file_magic, sizeof(file_magic));
	if (node.len)
		memcpy(head.node, node.s, node.len < NODE_MAX ? node.len : NODE_MAX);
	return 0;
}

int dlg_journal_open(void)
{
	if (mkdir(dir, 0750) < 0 && errno != EEXIST) {
		host_log(HOST_ERROR,
			 "parameter db_journal_dir: cannot make \"%s\": %s: allowed is a directory "
			 "this user may write in, or \"\" for no journal",
			 dir, strerror(errno));
		return -1;
	}
	return take_lock();
}

int dlg_journal_on(void)
{
	return shared != NULL;
}

/* ---- reading ---- */

static uint64_t sum_of(const struct record_head *h, struct dlg_str image)
{
	size_t from = offsetof(struct record_head, version);
	struct dlg_str rest = { (const char *)h + from, sizeof(*h) - from };

	return dlg_str_hash(rest) ^ dlg_str_hash(image) * 31;
}

/* The record at `at`. 0, or -1 when there is no sound one. */
static int read_record(const struct old_file *f, size_t at, struct dlg_journal_record *out)
{
	struct record_head h;

	if (f->len - at < sizeof(h))
		return -1;
	memcpy(&h, f->map + at, sizeof(h));
	if (h.magic != record_magic || h.len > IMAGE_MAX || f->len - at - sizeof(h) < h.len)
		return -1;
	*out = (struct dlg_journal_record){ .h_entry = h.h_entry, .h_id = h.h_id,
					    .version = h.version, .ended = (int)h.ended,
					    .image = { f->map + at + sizeof(h), h.len } };
	return h.sum == sum_of(&h, out->image) ? 0 : -1;
}

/* The next place after `at` where a record may begin, or the end. */
static size_t resume(const struct old_file *f, size_t at)
{
	const char *p = f->len - at > sizeof(record_magic)
				? memmem(f->map + at + 1, f->len - at - 1, &record_magic,
					 sizeof(record_magic))
				: NULL;

	return p ? (size_t)(p - f->map) : f->len;
}

/* Records of one file. A broken one is skipped up to the next that is sound. */
static void read_records(const struct old_file *f, dlg_journal_fn *fn, void *arg)
{
	size_t at = sizeof(struct file_head), lost = 0;
	unsigned n = 0;

	while (at < f->len) {
		struct dlg_journal_record r;

		if (read_record(f, at, &r) == 0) {
			fn(&r, arg);
			n++;
			at += sizeof(struct record_head) + r.image.len;
		} else {
			size_t next = resume(f, at);

			lost += next - at;
			at = next;
		}
	}
	host_log(lost ? HOST_WARNING : HOST_INFO,
		 "journal %s/dialog-%08u.journal: %u records read%s", dir, f->number, n,
		 lost ? ", the rest is torn: a change that was being written when the proxy died, and "
			"nobody saw its effect"
		      : "");
}

/* A name that no other one has: numbers begin at 1 again after an ordinary stop. It is that of a
 * segment again when the end is taken off. */
static void path_aside(char out[PATH_MAX + 96], uint32_t number)
{
	char path[PATH_MAX + 64];

	do {
		path_of(path, number++);
		snprintf(out, PATH_MAX + 96, "%s.set-aside", path);
	} while (access(out, F_OK) == 0);
}

static void set_aside(uint32_t number, const char *why)
{
	char path[PATH_MAX + 64], to[PATH_MAX + 96];

	path_of(path, number);
	path_aside(to, number);
	host_log(HOST_ERROR,
		 "journal %s: %s: it is not read, what only it knows is not restored, and it is "
		 "kept as %s",
		 path, why, to);
	if (rename(path, to) < 0)
		host_log(HOST_ERROR, "journal %s: cannot be renamed: %s", path, strerror(errno));
}

/* Why a file cannot be read, or NULL. */
static const char *foreign(const struct old_file *f)
{
	static char why[128];
	struct file_head h;

	if (f->len < sizeof(h))
		return f->len ? "its head is torn" : NULL;
	memcpy(&h, f->map, sizeof(h));
	if (memcmp(h.magic, file_magic, sizeof(h.magic)))
		return "it is no journal of this module";
	if (h.format != FORMAT || h.layout != head.layout) {
		snprintf(why, sizeof(why), "it has version %u.%u, this module reads %u.%u",
			 h.format, h.layout, (unsigned)FORMAT, head.layout);
		return why;
	}
	return memcmp(h.node, head.node, NODE_MAX) ? "it is of another db_node" : NULL;
}

static int map_file(struct old_file *f)
{
	char path[PATH_MAX + 64];
	struct stat st;
	int in;

	path_of(path, f->number);
	in = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0 || fstat(in, &st) < 0) {
		host_log(HOST_ERROR, "journal %s: cannot be read: %s", path, strerror(errno));
		if (in >= 0)
			close(in);
		return -1;
	}
	f->len = (size_t)st.st_size;
	f->map = f->len ? mmap(NULL, f->len, PROT_READ, MAP_PRIVATE, in, 0) : NULL;
	close(in);
	if (f->map != MAP_FAILED)
		return 0;
	f->map = NULL;
	host_log(HOST_ERROR, "journal %s: cannot be read: %s", path, strerror(errno));
	return -1;
}

static int add_file(uint32_t number)
{
	struct old_file *more = realloc(files, (n_files + 1) * sizeof(*files));

	if (!more) {
		host_log(HOST_ERROR, "journal in %s: cannot be read: no memory", dir);
		return -1;
	}
	files = more;
	files[n_files++] = (struct old_file){ .number = number };
	return 0;
}

static int find_files(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int ret = d ? 0 : -1;

	while (ret == 0 && (e = readdir(d))) {
		uint32_t number = number_of(e->d_name);

		if (!number)
			continue;
		ret = add_file(number);
		if (number > shared->current)
			shared->current = number;
	}
	if (d)
		closedir(d);
	else
		host_log(HOST_ERROR, "journal in %s: cannot be read: %s", dir, strerror(errno));
	return ret;
}

/* What the last start skipped is a segment like the others now; what is skipped again gets a new
 * file before this one can go. */
static int adopt_skipped(void)
{
	char from[PATH_MAX + 64], to[PATH_MAX + 64];

	path_of_skipped(from);
	path_of(to, shared->current + 1);
	if (rename(from, to) == 0)
		return add_file(++shared->current);
	if (errno == ENOENT)
		return 0;
	host_log(HOST_ERROR, "journal %s: cannot be renamed: %s", from, strerror(errno));
	return -1;
}

static int read_file(struct old_file *f, dlg_journal_fn *fn, void *arg)
{
	const char *why;

	if (map_file(f) < 0)
		return -1;
	why = foreign(f);
	if (why)
		set_aside(f->number, why);
	else if (f->len)
		read_records(f, fn, arg);
	return 0;
}

int dlg_journal_read(dlg_journal_fn *fn, void *arg)
{
	int ret = find_files();

	if (ret == 0)
		ret = adopt_skipped();
	for (unsigned i = 0; ret == 0 && i < n_files; i++)
		ret = read_file(&files[i], fn, arg);
	return ret;
}

void dlg_journal_read_end(void)
{
	for (unsigned i = 0; i < n_files; i++) {
		if (files[i].map)
			munmap(files[i].map, files[i].len);
		if (!i || files[i].number < oldest)
			oldest = files[i].number;
	}
	free(files);
	files = NULL;
	n_files = 0;
	if (skipped_fd >= 0)
		close(skipped_fd);
	skipped_fd = -1;
}

/* ---- segments ---- */

/* A full disk fails every record and every new segment: one line in ten seconds is enough. */
static void say(int err)
{
	uint64_t now = host_mono_ms(), last = __atomic_load_n(&shared->last_log, __ATOMIC_RELAXED);

	if ((last && now - last < ERROR_LOG_MS) ||
	    !__atomic_compare_exchange_n(&shared->last_log, &last, now, 0, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return;
	host_log(HOST_ERROR,
		 "journal in %s: cannot be written: %s: changes of calls wait for the database only",
		 dir, err ? strerror(err) : "no space for a whole record");
}

/* A new file with its head, or -1 with errno. */
static int create(const char *path)
{
	int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640), err;

	if (out < 0)
		return -1;
	errno = ENOSPC; /* when it was only a part */
	if (write(out, &head, sizeof(head)) == (ssize_t)sizeof(head))
		return out;
	err = errno;
	close(out);
	unlink(path);
	errno = err;
	return -1;
}

static int next_segment(void)
{
	char path[PATH_MAX + 64];
	uint32_t next = shared->current + 1;
	int out;

	path_of(path, next);
	out = create(path);
	if (out < 0)
		return -1;
	close(out);
	__atomic_store_n(&shared->bytes, sizeof(head), __ATOMIC_RELAXED);
	__atomic_store_n(&shared->current, next, __ATOMIC_SEQ_CST);
	return 0;
}

int dlg_journal_begin(void)
{
	if (next_segment() == 0)
		return 0;
	host_log(HOST_ERROR,
		 "parameter db_journal_dir: cannot write in \"%s\": %s: allowed is a directory "
		 "with room that this user may write in, or \"\" for no journal",
		 dir, strerror(errno));
	return -1;
}

int dlg_journal_rotate(void)
{
	if (next_segment() == 0)
		return 0;
	say(errno);
	return -1;
}

/* Who has it open goes on writing to what nobody will read. */
int dlg_journal_is_gone(void)
{
	char path[PATH_MAX + 64];

	path_of(path, shared->current);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

int dlg_journal_old_held(void)
{
	uint32_t old = shared->current - 1;

	return __atomic_load_n(&shared->users[old & 1], __ATOMIC_SEQ_CST) != 0;
}

/* Who wrote to it last has it open until it writes again. */
static void empty(const char *path)
{
	int old = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);

	if (old >= 0)
		close(old);
}

void dlg_journal_drop_old(void)
{
	char path[PATH_MAX + 64];

	for (; oldest < shared->current; oldest++) {
		path_of(path, oldest);
		empty(path);
		if (unlink(path) < 0 && errno != ENOENT)
			host_log(HOST_WARNING, "journal %s: cannot be removed: %s", path,
				 strerror(errno));
	}
}

uint32_t dlg_journal_hold(void)
{
	for (;;) {
		uint32_t number = __atomic_load_n(&shared->current, __ATOMIC_SEQ_CST);

		__atomic_fetch_add(&shared->users[number & 1], 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&shared->current, __ATOMIC_SEQ_CST) == number)
			return number;
		dlg_journal_release(number);
	}
}

void dlg_journal_release(uint32_t held)
{
	__atomic_fetch_sub(&shared->users[held & 1], 1, __ATOMIC_SEQ_CST);
}

/* ---- appending ---- */

static int open_segment(uint32_t number)
{
	char path[PATH_MAX + 64];

	if (fd >= 0 && fd_number == number)
		return 0;
	if (fd >= 0)
		close(fd);
	path_of(path, number);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	fd_number = number;
	return fd < 0 ? -1 : 0;
}

static void complain(int err)
{
	__atomic_fetch_add(&shared->errors, 1, __ATOMIC_RELAXED);
	say(err);
}

/* Bytes written; or -1, with errno 0 when it was only a part. */
static ssize_t write_record(int to, const struct dlg_journal_record *r)
{
	struct record_head h = { .magic = record_magic, .len = (uint32_t)r->image.len,
				 .version = r->version, .h_entry = r->h_entry, .h_id = r->h_id,
				 .ended = r->ended != 0 };
	struct iovec parts[2] = { { &h, sizeof(h) }, { (void *)r->image.s, r->image.len } };
	ssize_t n;

	h.sum = sum_of(&h, r->image);
	errno = 0;
	n = writev(to, parts, 2);
	return n == (ssize_t)(sizeof(h) + r->image.len) ? n : -1;
}

int dlg_journal_append(uint32_t held, const struct dlg_journal_record *r)
{
	ssize_t n = open_segment(held) == 0 ? write_record(fd, r) : -1;

	if (n < 0) {
		complain(errno);
		return -1;
	}
	__atomic_fetch_add(&shared->bytes, (uint64_t)n, __ATOMIC_RELAXED);
	return 0;
}

void dlg_journal_lack(void)
{
	complain(ENOMEM);
}

int dlg_journal_skip(const struct dlg_journal_record *r)
{
	char path[PATH_MAX + 64];

	path_of_skipped(path);
	if (skipped_fd < 0)
		skipped_fd = create(path);
	if (skipped_fd >= 0 && write_record(skipped_fd, r) >= 0)
		return 0;
	host_log(HOST_ERROR, "journal %s: cannot be written: %s", path,
		 errno ? strerror(errno) : "no space for a whole record");
	return -1;
}

void dlg_journal_get_info(struct dlg_journal_info *out)
{
	*out = (struct dlg_journal_info){ 0 };
	if (!shared)
		return;
	out->bytes = __atomic_load_n(&shared->bytes, __ATOMIC_RELAXED);
	out->errors = __atomic_load_n(&shared->errors, __ATOMIC_RELAXED);
}

void dlg_journal_stop(int all_saved)
{
	if (!shared)
		return;
	if (all_saved) {
		shared->current++;
		dlg_journal_drop_old();
	}
	close(lock_fd);
	lock_fd = -1;
	shared = NULL;
}

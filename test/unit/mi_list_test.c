/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listings of a large table through the FIFO's writer into a pipe: complete, without locks, in
 * constant memory, whatever the other processes and the reader do meanwhile. */
#include "../../mi/fifo_out.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../dlg_hash.h"
#include "../../dlg_lock.h"
#include "../../dlg_vals.h"
#include "../sim/sim_host.h"
#include "unit.h"

enum {
	MANY = 100000,
	LESS = 20000,        /* where more would only take longer */
	N_ALL = 2 * MANY,    /* with those that come later */
	PRIVATE_MAX = 16384, /* bytes a listing may take, however long it is */
};

/* For what is checked again and again: ck_assert_msg() leaves a mark in a file each time. */
#define MUST(condition, ...)                       \
	do {                                       \
		if (!(condition))                  \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

/* ---- dialogs: number n has the Call-ID "call-<n>" ---- */

struct name {
	uint32_t entry, id;
};
static struct name names[N_ALL];
static unsigned n_first, n_dialogs; /* made by init(); so far */
static char freed[N_ALL], dropped[N_ALL];

static void add_leg(struct dlg_cell *dlg)
{
	struct dlg_leg *leg = dlg_hash_leg_new(DLG_STR("tt"), DLG_STR("<sip:q;lr>"));

	int ret;

	MUST(leg, "no memory for a leg");
	leg->sock = sim_sock[1];
	dlg_hash_lock(dlg);
	ret = dlg_hash_leg_add_locked(dlg, leg, DLG_LEGS_MAX);
	dlg_hash_unlock(dlg);
	MUST(!ret, "the leg was not added");
}

static void add(void)
{
	char call_id[32];
	struct dlg_hash_new in = {
		.from_uri = DLG_STR("sip:alice@example.com"),
		.to_uri = DLG_STR("sip:bob@example.org"),
		.from_tag = DLG_STR("ft"),
		.caller_routes = DLG_STR("<sip:p;lr>"),
		.caller_contact = DLG_STR("sip:alice@127.0.0.9:5080"),
		.caller_sock = sim_sock[0],
		.lifetime = 100,
	};
	struct dlg_cell *dlg;

	snprintf(call_id, sizeof(call_id), "call-%u", n_dialogs);
	in.call_id = dlg_str_of(call_id);
	MUST(dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) == 1, "%s was not added", call_id);
	add_leg(dlg);
	if (n_dialogs % 100 == 0)
		dlg_vals_set(dlg, DLG_STR("k"), DLG_STR("v"));
	names[n_dialogs++] = (struct name){ dlg->h_entry, dlg->h_id };
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

/* End a dialog and free it, or leave that to whoever holds it. Nothing when it was done before. */
static void drop(unsigned n)
{
	struct dlg_cell *dlg;

	if (dropped[n])
		return;
	dlg = dlg_hash_get(names[n].entry, names[n].id, DLG_BY_LOCAL);
	MUST(dlg, "dialog %u is not in the table", n);
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_GONE);
	dlg_hash_unlock(dlg);
	dropped[n] = 1;
	freed[n] = (char)dlg_hash_release(dlg);
}

static void init(uint32_t hash_size, unsigned dialogs)
{
	signal(SIGPIPE, SIG_IGN);             /* as the FIFO's process does */
	ck_assert_int_eq(sim_shm_share(), 0); /* malloc() knows private memory only */
	ck_assert_int_eq(sim_start(hash_size), 0);
	for (n_first = dialogs; n_dialogs < dialogs;)
		add();
}

static void check_table(unsigned cells)
{
	struct dlg_hash_census c;

	dlg_hash_count(&c);
	ck_assert_uint_eq(c.cells, cells);
	ck_assert_uint_eq(c.armed, cells);
	ck_assert_uint_eq(c.misplaced, 0);
	for (int i = DLG_BY_TRANSACTION; i < DLG_HOLDERS; i++)
		ck_assert_uint_eq(c.refs[i], 0);
	ck_assert_ptr_null(sim_violated());
}

/* ---- the reader: a thread that counts what arrives ---- */

static struct reader {
	pthread_t thread;
	int fd;
	size_t limit; /* bytes after which it goes away; 0: before the first one */
	size_t bytes, len;
	unsigned lines, values, strange;
	int first_is_ok, last_is_empty;
	struct name name; /* of the dialog whose lines are being read */
	char buf[65536];
} reader;
static unsigned seen[N_ALL];
static struct name seen_name[N_ALL];

static void read_call_id(struct reader *r, const char *number)
{
	unsigned long n = strtoul(number, NULL, 10);

	if (n >= N_ALL) {
		r->strange++;
		return;
	}
	seen[n]++;
	seen_name[n] = r->name;
}

static int starts(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

static void read_line(struct reader *r, const char *line)
{
	static const char dialog[] = "dialog::  hash=", call_id[] = "\tcallid:: call-";
	char *colon;

	r->last_is_empty = !*line;
	if (starts(line, call_id)) {
		read_call_id(r, line + strlen(call_id));
	} else if (starts(line, dialog)) {
		r->name.entry = (uint32_t)strtoul(line + strlen(dialog), &colon, 10);
		r->name.id = (uint32_t)strtoul(colon + 1, NULL, 10);
	} else if (!strcmp(line, "200 OK")) {
		r->first_is_ok = !r->lines;
	} else if (*line && *line != '\t') {
		r->strange++;
	}
	r->values += !strcmp(line, "\t\tvalue:: k = v");
	r->lines++;
}

/* The lines that are complete; the rest waits for more. */
static void read_lines(struct reader *r, size_t n)
{
	char *line = r->buf, *end;

	r->bytes += n;
	r->len += n;
	while ((end = memchr(line, '\n', r->len))) {
		*end++ = '\0';
		read_line(r, line);
		r->len -= (size_t)(end - line);
		line = end;
	}
	memmove(r->buf, line, r->len);
}

static void *read_all(void *arg)
{
	struct reader *r = arg;
	ssize_t n;

	while (r->bytes < r->limit &&
	       (n = read(r->fd, r->buf + r->len, sizeof(r->buf) - r->len)) > 0)
		read_lines(r, (size_t)n);
	close(r->fd);
	return NULL;
}

/* Returns where to write to. */
static int start_reader(size_t limit)
{
	int fd[2];

	memset(seen, 0, sizeof(seen));
	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
	reader = (struct reader){ .fd = fd[0], .limit = limit };
	ck_assert_int_eq(pthread_create(&reader.thread, NULL, read_all, &reader), 0);
	return fd[1];
}

static void check_reader(void)
{
	ck_assert(reader.first_is_ok && reader.last_is_empty);
	ck_assert_uint_eq(reader.strange, 0);
	ck_assert_uint_eq(reader.len, 0);
	for (unsigned n = 0; n < n_dialogs; n++) {
		/* new ones and ended ones may be listed or not */
		MUST(seen[n] == 1 || (!seen[n] && (n >= n_first || dropped[n])),
		     "dialog %u was listed %u times", n, seen[n]);
		MUST(!seen[n] || !memcmp(&seen_name[n], &names[n], sizeof(names[n])),
		     "dialog %u was listed with the name of another one", n);
	}
}

/* ---- the writer, watched ---- */

static struct mi_fifo_out reply;
static struct dlg_mi_ops watched;
static const struct dlg_mi_ops *writer;
static size_t private_base, private_peak;
static unsigned nodes, nodes_for_nobody;
static unsigned asked_for_nobody; /* whether it may stop */
/* what others do while dialog n is being written */
static void (*meanwhile)(unsigned n);

/* Of the sanitizer's malloc(), which knows nothing of mallinfo2(). */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t private_bytes(void)
{
	struct mallinfo2 m;

	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

static void watch_lock(void)
{
	MUST(!dlg_lock_held(), "a listing is written under a lock");
}

static void watch_memory(void)
{
	size_t now = private_bytes();

	if (now > private_peak)
		private_peak = now;
}

static void watch_node(struct dlg_mi_out *out, const char *name)
{
	watch_lock();
	if (name && !strcmp(name, "dialog")) {
		nodes++;
		nodes_for_nobody += (unsigned)reply.broken;
	}
	writer->open_node(out, name);
}

static void watch_close(struct dlg_mi_out *out)
{
	watch_lock();
	writer->close_node(out);
}

static unsigned number_of(struct dlg_str call_id)
{
	uint64_t n;

	call_id.s += strlen("call-");
	call_id.len -= strlen("call-");
	MUST(!dlg_str_to_u64(call_id, N_ALL - 1, &n), "a strange Call-ID");
	return (unsigned)n;
}

static void watch_call_id(struct dlg_str value)
{
	unsigned n = number_of(value);

	if (nodes % 8 == 0) /* it takes its time under a sanitizer */
		watch_memory();
	MUST(!freed[n], "a freed dialog is listed: %u", n);
	if (meanwhile)
		meanwhile(n);
}

static void watch_text(struct dlg_mi_out *out, const char *name, struct dlg_str value)
{
	watch_lock();
	if (!strcmp(name, "callid"))
		watch_call_id(value);
	writer->text(out, name, value);
}

static void watch_number(struct dlg_mi_out *out, const char *name, int64_t value)
{
	watch_lock();
	writer->number(out, name, value);
}

static int watch_broken(struct dlg_mi_out *out)
{
	asked_for_nobody += (unsigned)reply.broken;
	return writer->broken(out);
}

static void watch_writer(int fd)
{
	mi_fifo_out_init(&reply, fd);
	writer = reply.out.ops;
	watched = *writer;
	watched.open_node = watch_node;
	watched.close_node = watch_close;
	watched.text = watch_text;
	watched.number = watch_number;
	watched.broken = watch_broken;
	reply.out.ops = &watched;
	nodes = nodes_for_nobody = asked_for_nobody = 0;
	private_base = private_peak = private_bytes();
}

/* Run the command for a reader who takes `limit` bytes. What mi_fifo_out_finish() says. */
static int list(const char *command, size_t limit)
{
	const struct dlg_mi_args none = { 0 };
	int fd = start_reader(limit), ret;

	watch_writer(fd);
	dlg_mi_run(dlg_mi_find(dlg_str_of(command)), &none, &reply.out);
	ret = mi_fifo_out_finish(&reply);
	ck_assert(!dlg_lock_held());
	close(fd);
	ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
	return ret;
}

static void check_whole_list(const char *command, unsigned values)
{
	ck_assert_int_eq(list(command, SIZE_MAX), 0);
	check_reader();
	ck_assert_uint_eq(nodes, n_first);
	ck_assert_uint_eq(reader.values, values);
	ck_assert_uint_le(private_peak - private_base, PRIVATE_MAX);
	check_table(n_first);
}

START_TEST(every_dialog_is_listed_once_in_constant_memory)
{
	init(4096, MANY);
	check_whole_list("dlg_list", 0);
}
END_TEST

START_TEST(so_it_is_with_context)
{
	init(4096, LESS);
	check_whole_list("dlg_list_ctx", LESS / 100);
}
END_TEST

START_TEST(the_memory_is_really_measured)
{
	size_t before = private_bytes();
	char *volatile p = malloc(PRIVATE_MAX);

	ck_assert_ptr_nonnull(p);
	ck_assert_uint_ge(private_bytes(), before + PRIVATE_MAX);
	free(p);
}
END_TEST

/* Every now and then others end some dialogs: of the page being written (it holds them), of those
 * before and of those to come; and new ones take the memory that has become free. */
static void others_come_and_go(unsigned listed)
{
	(void)listed;
	if (nodes % 50)
		return;
	for (int i = 0; i < 20; i++)
		drop(sim_below(n_dialogs));
	for (int i = 0; i < 10 && n_dialogs < N_ALL; i++)
		add();
}

static unsigned count(const char *set)
{
	unsigned sum = 0;

	for (unsigned n = 0; n < n_dialogs; n++)
		sum += (unsigned)set[n];
	return sum;
}

static void check_others(uint32_t hash_size)
{
	init(hash_size, LESS);
	meanwhile = others_come_and_go;
	ck_assert_int_eq(list("dlg_list", SIZE_MAX), 0);
	check_reader();
	ck_assert_uint_gt(count(freed), 0);
	ck_assert_uint_gt(count(dropped), count(freed)); /* some were held by the page */
	check_table(n_dialogs - count(dropped));
}

START_TEST(others_may_free_dialogs_between_pages)
{
	check_others(4096);
}
END_TEST

START_TEST(others_may_free_dialogs_of_crowded_entries)
{
	check_others(16);
}
END_TEST

/* The page that comes next begins where nothing is left of what stood before. */
START_TEST(others_may_free_all_that_was_listed)
{
	unsigned left;

	init(16, LESS);
	for (unsigned n = 0; n < n_first; n++) {
		if (names[n].id % 2)
			drop(n);
	}
	left = n_first - count(freed);
	meanwhile = drop;
	ck_assert_int_eq(list("dlg_list", SIZE_MAX), 0);
	check_reader();
	ck_assert_uint_eq(nodes, left);
	check_table(0);
}
END_TEST

/* The other process: ends three of four dialogs, the last ones first. */
static pid_t start_other(int *go)
{
	int fd[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(fd), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid) {
		close(fd[0]);
		*go = fd[1];
		return pid;
	}
	close(fd[1]);
	if (read(fd[0], &byte, 1) == 1) {
		for (unsigned n = n_first; n--;) {
			if (n % 4)
				drop(n);
		}
	}
	_exit(sim_violated() != NULL);
}

static void check_other(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	for (unsigned n = 0; n < n_first; n++)
		dropped[n] = n % 4 != 0;
}

START_TEST(another_process_frees_dialogs_at_the_same_time)
{
	pid_t pid;
	int go;

	init(256, LESS);
	pid = start_other(&go);
	ck_assert_int_eq(write(go, "", 1), 1);
	ck_assert_int_eq(list("dlg_list", SIZE_MAX), 0);
	check_other(pid);
	check_reader();
	check_table(n_first / 4);
}
END_TEST

static void check_broken(size_t limit, unsigned most)
{
	ck_assert_int_eq(list("dlg_list_ctx", limit), -1);
	ck_assert_uint_ge(nodes, 1);
	ck_assert_uint_le(nodes, most);
	ck_assert_uint_eq(nodes_for_nobody, 0);
	ck_assert_uint_le(asked_for_nobody, 100); /* the rest of a page */
	check_table(n_first);
}

START_TEST(a_listing_ends_when_its_reader_goes)
{
	init(4096, LESS);
	check_broken(0, 1000);
	check_broken(1, 1000);
	check_broken(1000000, 4000);
	ck_assert_uint_ge(reader.bytes, 1000000);
}
END_TEST

START_TEST(without_a_reader_nothing_is_listed)
{
	const struct dlg_mi_args none = { 0 };

	init(4096, LESS);
	watch_writer(-1);
	dlg_mi_run(&dlg_mi_commands[DLG_MI_dlg_list], &none, &reply.out);
	ck_assert_int_eq(mi_fifo_out_finish(&reply), -1);
	ck_assert_uint_eq(nodes, 0);
	ck_assert_uint_le(asked_for_nobody, 100);
	check_table(n_first);
}
END_TEST

int main(void)
{
	return unit_run("mi_list",
			UNIT_TESTS{ every_dialog_is_listed_once_in_constant_memory,
				    so_it_is_with_context, the_memory_is_really_measured,
				    others_may_free_dialogs_between_pages,
				    others_may_free_dialogs_of_crowded_entries,
				    others_may_free_all_that_was_listed,
				    another_process_frees_dialogs_at_the_same_time,
				    a_listing_ends_when_its_reader_goes,
				    without_a_reader_nothing_is_listed, NULL },
			30);
}

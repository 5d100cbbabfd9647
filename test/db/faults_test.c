/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every driver does when its database does not: hung, killed, restarted, full, locked, not
 * there. Each call ends in bounded time with DB_LOST and words, and a new connection works when
 * the database does. */

#include "kit.h"
#include "../sim/sim_db.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMEOUT_MS = 1000 };

/* What a call may take: its timeout (MySQL's is in whole seconds and may begin twice in one
 * call) and some time for a busy machine. */
static const double bound = 2 * TIMEOUT_MS / 1000.0 + 1.5;

/* Less than any timeout, on a busy machine. */
static const double at_once = 0.9 * TIMEOUT_MS / 1000.0;

static void close_conn(struct db_conn *c)
{
	kit.driver->close(c);
}

static void check_words(const char *words)
{
	const char *password = getenv("DB_PASSWORD"), *encoded = getenv("DB_ENCODED");

	ck_assert_msg(*words != '\0', "no words");
	for (const char *p = words; *p; p++)
		ck_assert_msg((unsigned char)*p >= ' ', "control character in \"%s\"", words);
	ck_assert_msg(!password || !strstr(words, password), "the password is in \"%s\"", words);
	ck_assert_msg(!encoded || !strstr(words, encoded), "the password is in \"%s\"", words);
}

static void check_open_fails(const char *url, double seconds)
{
	double began = kit_seconds();
	struct db_conn *c;
	char why[KIT_WHY];

	ck_assert_int_eq(kit_try(url, &c, why), DB_LOST);
	ck_assert_msg(kit_seconds() - began < seconds, "%.1f s for: %s", kit_seconds() - began,
		      why);
	check_words(why);
}

/* ---- the calls, each as somebody may be in it when the server fails ---- */

static int ignore(const struct db_value *v, void *arg)
{
	(void)v;
	(void)arg;
	return 0;
}

static enum db_result call_begin(struct db_conn *c)
{
	return kit.driver->begin(c);
}

static enum db_result call_commit(struct db_conn *c)
{
	return kit.driver->commit(c);
}

static enum db_result call_rollback(struct db_conn *c)
{
	return kit.driver->rollback(c);
}

static enum db_result call_upsert(struct db_conn *c)
{
	static struct db_value v[DB_BATCH_MAX][DLG_ROW_N];

	for (int i = 0; i < DB_BATCH_MAX; i++)
		kit_row(v[i], "n", 99, i);
	return kit.driver->upsert(c, &kit.table, v[0], DB_BATCH_MAX);
}

static enum db_result call_remove(struct db_conn *c)
{
	struct db_value v[DLG_ROW_N];

	kit_row(v, "n", 1, 1);
	return kit.driver->remove(c, &kit.table, v, 1);
}

static enum db_result call_select(struct db_conn *c)
{
	return kit.driver->select(c, &kit.table, DLG_STR("n"), ignore, NULL);
}

static enum db_result call_count(struct db_conn *c)
{
	uint64_t n;

	return kit.driver->count(c, &kit.table, DLG_STR("n"), &n);
}

static enum db_result call_columns(struct db_conn *c)
{
	return kit.driver->columns(c, kit.table.name, ignore, NULL);
}

static enum db_result call_version(struct db_conn *c)
{
	unsigned version;

	return kit.driver->version(c, kit.table.name, &version);
}

static enum db_result call_create(struct db_conn *c)
{
	return kit.driver->create(c, &kit.table);
}

static const struct call {
	const char *name;
	enum db_result (*fn)(struct db_conn *c);
	int in_transaction;
	enum sim_db_call of_fake;
} calls[] = {
	{ "begin", call_begin, 0, SIM_DB_BEGIN },
	{ "commit", call_commit, 1, SIM_DB_COMMIT },
	{ "rollback", call_rollback, 1, SIM_DB_ROLLBACK },
	{ "upsert", call_upsert, 1, SIM_DB_UPSERT },
	{ "remove", call_remove, 1, SIM_DB_REMOVE },
	{ "select", call_select, 0, SIM_DB_SELECT },
	{ "count", call_count, 0, SIM_DB_COUNT },
	{ "columns", call_columns, 0, SIM_DB_COLUMNS },
	{ "version", call_version, 0, SIM_DB_VERSION },
	{ "create", call_create, 0, SIM_DB_CREATE },
};
enum { N_CALLS = sizeof(calls) / sizeof(*calls) };

/* Children that connect, wait, and then make one call each, all at the same time. */
struct child {
	pid_t pid;
	double took;
	enum db_result got;
	int words; /* there were some */
};

struct side_by_side {
	int ready[2], go[2];
	struct child child[N_CALLS];
};

/* A transaction is opened and has changed something of its own. */
static void open_transaction(struct db_conn *c, unsigned which)
{
	struct db_value v[DLG_ROW_N];

	kit_row(v, "n", 50, which);
	kit_ok(c, kit.driver->begin(c));
	kit_ok(c, kit.driver->upsert(c, &kit.table, v, 1));
}

static void be_child(struct side_by_side *s, unsigned which)
{
	struct db_conn *c = kit_open();
	double began;
	char byte;

	if (calls[which].in_transaction)
		open_transaction(c, which);
	ck_assert(write(s->ready[1], "r", 1) == 1 && read(s->go[0], &byte, 1) == 1);
	began = kit_seconds();
	s->child[which].got = calls[which].fn(c);
	s->child[which].words = *kit.driver->error(c) != '\0';
	close_conn(c); /* that must not take long either */
	s->child[which].took = kit_seconds() - began;
	_exit(0);
}

static struct side_by_side *start_children(void)
{
	struct side_by_side *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char byte;

	ck_assert(s != MAP_FAILED && !pipe(s->ready) && !pipe(s->go));
	for (unsigned i = 0; i < N_CALLS; i++) {
		pid_t pid = fork();

		if (!pid)
			be_child(s, i);
		s->child[i].pid = pid;
	}
	for (unsigned i = 0; i < N_CALLS; i++)
		ck_assert_int_eq(read(s->ready[0], &byte, 1), 1);
	return s;
}

static void let_children_call(struct side_by_side *s)
{
	int status;

	for (unsigned i = 0; i < N_CALLS; i++)
		ck_assert_int_eq(write(s->go[1], "g", 1), 1);
	for (unsigned i = 0; i < N_CALLS; i++) {
		ck_assert_int_eq(waitpid(s->child[i].pid, &status, 0), s->child[i].pid);
		ck_assert_msg(status == 0, "%s: child ended with status %d", calls[i].name, status);
		ck_assert_msg(s->child[i].got == DB_LOST, "%s: %d", calls[i].name, s->child[i].got);
		ck_assert_msg(s->child[i].took < bound, "%s: %.1f s", calls[i].name,
			      s->child[i].took);
		ck_assert_msg(s->child[i].words, "%s: no words", calls[i].name);
	}
}

static void check_works(uint64_t rows)
{
	struct db_conn *c = kit_open();

	ck_assert_uint_eq(kit_count(c, "n"), rows);
	kit_fill(c, "after", 1, 65);
	ck_assert_uint_eq(kit_count(c, "after"), 65);
	close_conn(c);
}

/* ---- servers that fail ---- */

START_TEST(every_call_to_a_hung_server_ends_in_time)
{
	struct side_by_side *s;
	struct db_conn *c = kit_open_table();

	kit_fill(c, "n", 1, 20);
	close_conn(c);
	s = start_children();
	kit_ask("freeze");
	let_children_call(s);
	check_open_fails(kit.url, bound);
	kit_ask("thaw");
	/* the commit was sent: it may have happened */
	c = kit_open();
	ck_assert_uint_ge(kit_count(c, "n"), 20);
	ck_assert_uint_le(kit_count(c, "n"), 21);
	close_conn(c);
}
END_TEST

START_TEST(every_call_to_a_killed_server_ends_at_once)
{
	struct side_by_side *s;
	struct db_conn *c = kit_open_table();

	kit_fill(c, "n", 1, 20);
	close_conn(c);
	s = start_children();
	kit_ask("kill");
	let_children_call(s);
	for (unsigned i = 0; i < N_CALLS; i++)
		ck_assert_msg(s->child[i].took < at_once, "%s: %.1f s", calls[i].name,
			      s->child[i].took);
	check_open_fails(kit.url, at_once);
	kit_ask("start");
	check_works(20);
}
END_TEST

START_TEST(connections_do_not_survive_a_restart_but_rows_do)
{
	struct side_by_side *s;
	struct db_conn *c = kit_open_table();

	kit_fill(c, "n", 1, 20);
	close_conn(c);
	s = start_children();
	kit_ask("restart");
	let_children_call(s);
	check_works(20);
}
END_TEST

struct in_the_middle {
	unsigned n;
	const char *then;
};

static int at_row_100(const struct db_value *v, void *arg)
{
	struct in_the_middle *m = arg;

	(void)v;
	if (++m->n == 100)
		kit_ask("%s", m->then);
	return 0;
}

/* The rows exceed what is on its way already. */
static void check_lost_while_reading(const char *then, const char *afterwards)
{
	struct in_the_middle m = { .then = then };
	struct db_conn *c = kit_open_table();
	double began;

	kit_fill(c, "n", 0, 40000);
	began = kit_seconds();
	ck_assert_int_eq(kit.driver->select(c, &kit.table, DLG_STR("n"), at_row_100, &m), DB_LOST);
	ck_assert_uint_ge(m.n, 100);
	ck_assert_uint_lt(m.n, 40000);
	check_words(kit.driver->error(c));
	close_conn(c);
	ck_assert_msg(kit_seconds() - began < bound, "%.1f s", kit_seconds() - began);
	kit_ask("%s", afterwards);
	check_works(40000);
}

START_TEST(server_hangs_while_rows_are_read)
{
	check_lost_while_reading("freeze", "thaw");
}
END_TEST

START_TEST(server_is_killed_while_rows_are_read)
{
	check_lost_while_reading("kill", "start");
}
END_TEST

START_TEST(an_operator_ends_the_session)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[DLG_ROW_N];

	kit_fill(c, "n", 1, 20);
	if (kit_is("mysql"))
		kit_ask("sql KILL USER dialog");
	else
		kit_ask("sql SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename "
			"= "
			"'dialog'");
	kit_row(v, "n", 1, 1);
	ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
	check_words(kit.driver->error(c));
	close_conn(c);
	check_works(20);
}
END_TEST

/* Of a server that soon closes what is idle. */
START_TEST(our_sessions_may_be_idle)
{
	struct db_conn *c;

	kit_ask("sql SET GLOBAL wait_timeout=1");
	c = kit_open_table();
	kit_ask("sql SET GLOBAL wait_timeout=DEFAULT");
	usleep(2500000);
	kit_fill(c, "n", 1, 1);
	close_conn(c);
}
END_TEST

/* ---- connecting ---- */

/* The URL of a server of ours, with another host, password, database. */
static const char *other_url(const char *host, unsigned port, const char *password,
			     const char *name)
{
	static char text[512];
	struct db_url u;
	const char *reason;

	ck_assert(db_url_parse(kit.url, &u, &reason) == 0);
	snprintf(text, sizeof(text), "%s://dialog:%s@%s:%u/%s", u.scheme,
		 password ? password : getenv("DB_ENCODED"), host, port ? port : u.port,
		 name ? name : u.database);
	db_url_free(&u);
	return text;
}

START_TEST(wrong_password_is_refused_and_not_repeated)
{
	struct db_conn *c;
	char why[KIT_WHY];

	ck_assert_int_eq(kit_try(other_url("127.0.0.1", 0, "wr0ngword", NULL), &c, why), DB_LOST);
	check_words(why);
	ck_assert_msg(!strstr(why, "wr0ngword"), "%s", why);
	ck_assert_msg(strstr(why, "dialog") != NULL, "%s", why);
	check_open_fails(other_url("127.0.0.1", 0, NULL, "nosuch"), at_once);
}
END_TEST

START_TEST(unix_sockets_work)
{
	struct db_conn *c = kit_open_url(kit.socket_url);

	kit_ok(c, kit.driver->create(c, &kit.table));
	kit_fill(c, "n", 1, 3);
	ck_assert_uint_eq(kit_count(c, "n"), 3);
	close_conn(c);
}
END_TEST

/* Somewhere in the loopback network nobody else is likely to be; a listener fills its queue and
 * hears nobody. */
static int listen_to_nobody(unsigned *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 0) &&
		  !getsockname(fd, (struct sockaddr *)&a, &len));
	*port = ntohs(a.sin_port);
	return fd;
}

static void fill_queue(unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	for (int i = 0; i < 4; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		ck_assert(!connect(fd, (struct sockaddr *)&a, sizeof(a)) || errno == EINPROGRESS);
	}
}

START_TEST(nobody_is_there)
{
	unsigned port;
	int fd = listen_to_nobody(&port);

	/* accepted by the kernel, and then silence */
	check_open_fails(other_url("127.0.0.1", port, NULL, NULL), bound);
	/* a queue that is full: as if packets got lost */
	fill_queue(port);
	check_open_fails(other_url("127.0.0.1", port, NULL, NULL), bound);
	/* refused */
	close(fd);
	check_open_fails(other_url("127.0.0.1", 1, NULL, NULL), at_once);
	check_open_fails(other_url("%2Fnonexistent%2Fsocket", 0, NULL, NULL), at_once);
	check_open_fails(other_url("no-such-host.invalid", 0, NULL, NULL), 20);
}
END_TEST

/* "localhost" and a port are that port, not somebody else's socket. */
START_TEST(localhost_with_a_port_is_that_port)
{
	struct db_conn *c = kit_open_url(other_url("localhost", 0, NULL, NULL));

	close_conn(c);
	check_open_fails(other_url("localhost", 1, NULL, NULL), at_once);
}
END_TEST

/* ---- locks and space ---- */

START_TEST(a_lock_of_somebody_else_is_not_waited_for_longer_than_allowed)
{
	struct db_conn *c = kit_open_table(), *other;
	struct db_value v[DLG_ROW_N];
	double began;

	kit_fill(c, "n", 1, 2);
	other = kit_open();
	kit_row(v, "n", 1, 1);
	kit_ok(other, kit.driver->begin(other));
	kit_ok(other, kit.driver->upsert(other, &kit.table, v, 1));
	began = kit_seconds();
	ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
	ck_assert_msg(kit_seconds() - began < bound, "%.1f s", kit_seconds() - began);
	check_words(kit.driver->error(c));
	close_conn(c);
	kit_ok(other, kit.driver->commit(other));
	close_conn(other);
	check_works(2);
}
END_TEST

/* Whoever gives up must not leave sessions behind that wait for the lock, one more at each try. */
START_TEST(no_session_stays_behind_a_lock)
{
	struct db_conn *c = kit_open_table(), *other;
	struct db_value v[DLG_ROW_N];
	const char *count =
		kit_is("mysql")
			? "sql SELECT count(*) FROM information_schema.processlist WHERE user = "
			  "'dialog'"
			: "sql SELECT count(*) FROM pg_stat_activity WHERE usename = 'dialog'";

	kit_fill(c, "n", 1, 2);
	close_conn(c);
	other = kit_open();
	kit_row(v, "n", 1, 1);
	kit_ok(other, kit.driver->begin(other));
	kit_ok(other, kit.driver->upsert(other, &kit.table, v, 1));
	for (int i = 0; i < 3; i++) {
		c = kit_open();
		ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
		close_conn(c);
	}
	usleep(1200000); /* MySQL's lock times are in whole seconds, too */
	ck_assert_str_eq(kit_ask("%s", count), "1");
	close_conn(other);
}
END_TEST

/* One row, and then the one that somebody else has taken meanwhile, who wants this one. Nonzero: it
 * had to give way. */
static int take_both(int64_t first, int64_t second, int there, int go)
{
	struct db_conn *c = kit_open();
	struct db_value v[2][DLG_ROW_N];
	enum db_result ret;
	char byte = 'x';

	kit_row(v[0], "n", 1, first);
	kit_row(v[1], "n", 1, second);
	kit_ok(c, kit.driver->begin(c));
	kit_ok(c, kit.driver->upsert(c, &kit.table, v[0], 1));
	ck_assert(write(there, &byte, 1) == 1 && read(go, &byte, 1) == 1);
	ret = kit.driver->upsert(c, &kit.table, v[1], 1);
	if (ret == DB_AGAIN) {
		kit_ok(c, kit.driver->rollback(c));
		kit_ok(c, kit_write(c, v[0], 2));
	} else {
		kit_ok(c, ret);
		kit_ok(c, kit.driver->commit(c));
	}
	close_conn(c);
	return ret == DB_AGAIN;
}

START_TEST(a_deadlock_costs_one_transaction_and_no_connection)
{
	struct db_conn *c = kit_open_table();
	int mine[2], other[2], status, gave_way;
	pid_t pid;

	kit.timeout_ms = 5000; /* PostgreSQL looks for deadlocks after a second */
	kit_fill(c, "n", 1, 2);
	close_conn(c);
	ck_assert(!pipe(mine) && !pipe(other));
	pid = fork();
	if (!pid)
		_exit(take_both(2, 1, mine[1], other[0]));
	gave_way = take_both(1, 2, other[1], mine[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status) + gave_way, 1);
	check_works(2);
}
END_TEST

/* Returns when a write has failed. */
static void write_until_it_fails(struct db_conn *c)
{
	struct db_value v[DLG_ROW_N];
	size_t size = 1u << 20;
	char *text = malloc(size);
	enum db_result ret = DB_OK;

	ck_assert(text != NULL);
	memset(text, 'x', size);
	for (int64_t i = 0; i < 600 && ret == DB_OK; i++) {
		/* nothing that compresses */
		for (size_t k = 0; k < size; k += 8)
			snprintf(text + k, 8, "%07lx",
				 (unsigned long)(i * 7919 + (int64_t)k * 2654435761) & 0xfffffff);
		kit_row(v, "filler", 1, i);
		v[DLG_ROW_vars] = db_text((struct dlg_str){ text, size - 8 });
		for (size_t k = 0; k < size; k++)
			text[k] = text[k] ? text[k] : '.';
		ret = kit_write(c, v, 1);
	}
	free(text);
	ck_assert_int_eq(ret, DB_LOST);
	check_words(kit.driver->error(c));
}

/* A server may stop for a full disk, and be started again by whoever made room. */
static struct db_conn *open_again(void)
{
	struct db_conn *c;
	char why[KIT_WHY];

	for (int i = 0; i < 100; i++) {
		if (kit_try(kit.url, &c, why) == DB_OK)
			return c;
		usleep(100000);
	}
	kit_ask("kill");
	kit_ask("start");
	return kit_open();
}

START_TEST(disk_that_is_full)
{
	struct db_conn *c = kit_open_table();

	kit_fill(c, "n", 1, 100);
	kit_ask("fill_disk");
	write_until_it_fails(c);
	close_conn(c);
	kit_ask("free_disk");
	c = open_again();
	ck_assert_uint_eq(kit_count(c, "n"), 100);
	kit_fill(c, "n", 101, 100);
	ck_assert_uint_eq(kit_count(c, "n"), 200);
	close_conn(c);
}
END_TEST

/* ---- SQLite ---- */

START_TEST(file_that_must_not_grow)
{
	struct rlimit limit = { .rlim_cur = 2u << 20, .rlim_max = RLIM_INFINITY };
	struct db_conn *c = kit_open_table();

	signal(SIGXFSZ, SIG_IGN);
	kit_fill(c, "n", 1, 100);
	ck_assert(!setrlimit(RLIMIT_FSIZE, &limit));
	write_until_it_fails(c);
	close_conn(c);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert(!setrlimit(RLIMIT_FSIZE, &limit));
	check_works(100);
}
END_TEST

START_TEST(readers_do_not_wait_for_the_writer)
{
	struct db_conn *c = kit_open_table(), *other = kit_open();
	struct db_value v[DLG_ROW_N];
	double began;

	kit_fill(c, "n", 1, 10);
	kit_row(v, "n", 1, 77);
	kit_ok(c, kit.driver->begin(c));
	kit_ok(c, kit.driver->upsert(c, &kit.table, v, 1));
	began = kit_seconds();
	ck_assert_uint_eq(kit_count(other, "n"), 10);
	ck_assert(kit_seconds() - began < 0.5);
	kit_ok(c, kit.driver->commit(c));
	ck_assert_uint_eq(kit_count(other, "n"), 11);
	close_conn(other);
	close_conn(c);
}
END_TEST

START_TEST(a_killed_writer_leaves_what_it_committed)
{
	struct db_conn *c = kit_open_table();
	int status;
	pid_t child;

	close_conn(c);
	child = fork();
	if (!child) {
		c = kit_open();
		kit_fill(c, "n", 1, 130);
		open_transaction(c, 7);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	check_works(130);
}
END_TEST

START_TEST(files_that_are_none)
{
	char path[] = "/tmp/dlgdb-file-XXXXXX", url[64];
	int fd = mkstemp(path);

	check_open_fails("sqlite:///nonexistent/dir/x.db", at_once);
	check_open_fails("sqlite:///tmp", at_once);
	check_open_fails("sqlite://host/x.db", at_once);
	ck_assert(fd >= 0 &&
		  write(fd, "this is no database, whatever its name may be\n", 46) == 46);
	snprintf(url, sizeof(url), "sqlite://%s", path);
	check_open_fails(url, at_once);
	close(fd);
	unlink(path);
}
END_TEST

START_TEST(file_is_not_for_everybody)
{
	char path[64], url[96];
	struct db_conn *c;
	struct stat st;

	snprintf(path, sizeof(path), "/tmp/dlgdb-mode-%d.db", (int)getpid());
	snprintf(url, sizeof(url), "sqlite://%s", path);
	umask(0);
	c = kit_open_url(url);
	kit_ok(c, kit.driver->create(c, &kit.table));
	ck_assert(!stat(path, &st));
	ck_assert_uint_eq(st.st_mode & 0777, 0640);
	close_conn(c);
	unlink(path);
}
END_TEST

/* A file of the test's own with a table and ten rows. */
static struct db_conn *open_own_file(char path[64], char url[96])
{
	struct db_conn *c;

	snprintf(path, 64, "/tmp/dlgdb-own-%d.db", (int)getpid());
	snprintf(url, 96, "sqlite://%s", path);
	c = kit_open_url(url);
	kit_ok(c, kit.driver->create(c, &kit.table));
	kit_fill(c, "n", 1, 10);
	return c;
}

static void check_is_lost(struct db_conn *c)
{
	struct db_value v[DLG_ROW_N];

	kit_row(v, "n", 1, 99);
	ck_assert_int_eq(kit_write(c, v, 1), DB_LOST);
	ck_assert_str_eq(kit.driver->error(c), "its file was removed or replaced");
	close_conn(c);
}

START_TEST(a_file_that_was_removed_takes_nothing)
{
	char path[64], url[96];
	struct db_conn *c = open_own_file(path, url);

	ck_assert(!unlink(path));
	check_is_lost(c);
	c = kit_open_url(url);
	kit_ok(c, kit.driver->create(c, &kit.table));
	ck_assert_uint_eq(kit_count(c, "n"), 0);
	kit_fill(c, "n", 1, 3);
	close_conn(c);
	c = kit_open_url(url);
	ck_assert_uint_eq(kit_count(c, "n"), 3);
	close_conn(c);
	unlink(path);
}
END_TEST

/* By a backup: whatever the old one has left beside it does not change what it says. */
START_TEST(a_file_that_was_replaced_takes_nothing)
{
	char path[64], url[96], command[256];
	struct db_conn *c = open_own_file(path, url);

	close_conn(c);
	snprintf(command, sizeof(command), "cp %s %s.backup", path, path);
	ck_assert_int_eq(system(command), 0);
	c = kit_open_url(url);
	kit_fill(c, "n", 11, 500);
	snprintf(command, sizeof(command), "mv %s.backup %s", path, path);
	ck_assert_int_eq(system(command), 0);
	check_is_lost(c);
	c = kit_open_url(url);
	ck_assert_uint_eq(kit_count(c, "n"), 10);
	kit_fill(c, "n", 11, 500);
	ck_assert_uint_eq(kit_count(c, "n"), 510);
	close_conn(c);
	unlink(path);
}
END_TEST

/* ---- the fake ---- */

/* The rows of "n" afterwards: an open transaction has added one, which is true only if a commit
 * took effect. */
static void check_told_to_fail(const struct call *call, int after)
{
	struct db_conn *c = kit_open_table();
	int kept = after && call->of_fake == SIM_DB_COMMIT;

	kit_fill(c, "n", 1, 20);
	if (call->in_transaction)
		open_transaction(c, 1);
	sim_db.lose_call = call->of_fake;
	sim_db.lose_after = after;
	sim_db.lose_in = 1;
	ck_assert_msg(call->fn(c) == DB_LOST, "%s does as if nothing was", call->name);
	ck_assert_uint_eq(sim_db.lose_in, 0);
	check_words(kit.driver->error(c));
	close_conn(c);
	c = kit_open();
	ck_assert_msg(kit_count(c, "n") == 20u + (unsigned)kept, "%s: %u rows", call->name,
		      (unsigned)kit_count(c, "n"));
	close_conn(c);
	ck_assert_uint_eq(sim_db.open_conns, 0);
	sim_db_clear();
}

START_TEST(every_call_to_the_fake_fails_when_told)
{
	for (unsigned i = 0; i < N_CALLS; i++) {
		check_told_to_fail(&calls[i], 0);
		check_told_to_fail(&calls[i], 1);
	}
	sim_db.lose_call = SIM_DB_OPEN;
	sim_db.lose_in = 1;
	check_open_fails(kit.url, at_once);
	close_conn(kit_open());
}
END_TEST

START_TEST(fake_that_is_away_answers_no_call)
{
	for (unsigned i = 0; i < N_CALLS; i++) {
		struct db_conn *c = kit_open_table();

		if (calls[i].in_transaction)
			open_transaction(c, 1);
		sim_db.away = 1;
		ck_assert_msg(calls[i].fn(c) == DB_LOST, "%s", calls[i].name);
		close_conn(c);
		check_open_fails(kit.url, at_once);
		sim_db.away = 0;
		c = kit_open();
		ck_assert_uint_eq(kit_count(c, "n"), 0);
		close_conn(c);
	}
}
END_TEST

START_TEST(fake_refuses_the_row_it_was_told_to)
{
	struct db_conn *c = kit_open_table();
	struct db_value v[3][DLG_ROW_N];

	for (unsigned i = 0; i < 3; i++)
		kit_row(v[i], "n", 1, i + 1);
	sim_db.refuse_id = 2;
	ck_assert_int_eq(kit_write(c, v[0], 3), DB_REFUSED);
	ck_assert_uint_eq(kit_count(c, "n"), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(kit_write(c, v[i], 1), i == 1 ? DB_REFUSED : DB_OK);
	ck_assert_uint_eq(kit_count(c, "n"), 2);
	close_conn(c);
}
END_TEST

int main(void)
{
	TCase *all = kit_case("faults", 60, TIMEOUT_MS);

	if (kit_is("fake"))
		kit_add(all, UNIT_TESTS{ every_call_to_the_fake_fails_when_told,
					 fake_that_is_away_answers_no_call,
					 fake_refuses_the_row_it_was_told_to, NULL });
	else
		kit_add(all, UNIT_TESTS{
			a_lock_of_somebody_else_is_not_waited_for_longer_than_allowed, NULL });
	if (kit_is("sqlite"))
		kit_add(all, UNIT_TESTS{
			file_that_must_not_grow, readers_do_not_wait_for_the_writer,
			a_killed_writer_leaves_what_it_committed, files_that_are_none,
			file_is_not_for_everybody, a_file_that_was_removed_takes_nothing,
			a_file_that_was_replaced_takes_nothing, NULL });
	if (kit_is("mysql"))
		kit_add(all, UNIT_TESTS{ our_sessions_may_be_idle, NULL });
	if (kit_is_server())
		kit_add(all,
			UNIT_TESTS{ every_call_to_a_hung_server_ends_in_time,
				    every_call_to_a_killed_server_ends_at_once,
				    connections_do_not_survive_a_restart_but_rows_do,
				    server_hangs_while_rows_are_read,
				    server_is_killed_while_rows_are_read,
				    an_operator_ends_the_session,
				    wrong_password_is_refused_and_not_repeated, unix_sockets_work,
				    nobody_is_there, localhost_with_a_port_is_that_port,
				    no_session_stays_behind_a_lock,
				    a_deadlock_costs_one_transaction_and_no_connection, NULL });
	if (kit.can_fill)
		kit_add(all, UNIT_TESTS{ disk_that_is_full, NULL });
	return kit_run(all);
}

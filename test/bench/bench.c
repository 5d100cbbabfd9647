/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../dlg_db_image.h"
#include "../sim/sim_host.h"

void bench_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, errno ? strerror(errno) : "failed");
	exit(1);
}

int64_t bench_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double bench_seconds(double otherwise)
{
	const char *text = getenv("BENCH_SECONDS");

	return text ? atof(text) : otherwise;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

const char *bench_spread(double *v, unsigned n)
{
	static char text[4][64];
	static unsigned next;
	char *t = text[next++ % 4];
	double middle = bench_median(v, n);

	int len = snprintf(t, sizeof(text[0]), "%5.2f (%.2f to %.2f)", middle, v[0], v[n - 1]);

	snprintf(t + len, sizeof(text[0]) - (size_t)len, "%*s", len < 21 ? 21 - len : 0, "");
	return t;
}

static FILE *open_csv(const char *name, const char *mode)
{
	char path[256];
	FILE *f;

	mkdir("build", 0777);
	mkdir("build/bench", 0777);
	snprintf(path, sizeof(path), "build/bench/%s.csv", name);
	f = fopen(path, mode);
	if (!f)
		bench_die(path);
	return f;
}

FILE *bench_csv(const char *name, const char *header)
{
	FILE *f = open_csv(name, "w");

	fprintf(f, "%s\n", header);
	return f;
}

const char *bench_verdict(double value, double most)
{
	return value <= most ? "met" : "not met";
}

const char *bench_goal(double figure, const char *goal, const char *verdict, const char *what, ...)
{
	FILE *f = open_csv("goals", "a");
	va_list ap;

	fseek(f, 0, SEEK_END);
	if (!ftell(f))
		fprintf(f, "what,figure,goal,verdict\n"); /* as in goals.py */
	va_start(ap, what);
	fputc('"', f);
	vfprintf(f, what, ap);
	va_end(ap);
	fprintf(f, "\",%.2f,\"%s\",\"%s\"\n", figure, goal, verdict);
	fclose(f);
	return verdict;
}

/* ---- processes that measure ---- */

struct bench_child bench_fork(bench_setup *setup, unsigned n, void (*serve)(int fd, void *arg),
			      void *arg)
{
	struct bench_child c;
	int fd[2];

	fflush(NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 || (c.pid = fork()) < 0)
		bench_die("fork");
	if (!c.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* goes with us, whatever ends us */
		sim_seed(n);
		setup(n);
		serve(fd[1], arg);
		_exit(0);
	}
	close(fd[1]);
	c.fd = fd[0];
	return c;
}

void bench_read(const struct bench_child *c, void *answer, size_t size)
{
	errno = 0;
	if (read(c->fd, answer, size) != (ssize_t)size)
		bench_die("a process that measures has gone");
}

/* `arg`: a place where a bench_measure is. */
static void serve(int fd, void *arg)
{
	bench_measure *measure = *(bench_measure **)arg;
	double figure = 0; /* the first one says that it is ready */
	int op;

	while (write(fd, &figure, sizeof(figure)) == sizeof(figure) &&
	       read(fd, &op, sizeof(op)) == sizeof(op))
		figure = measure(op);
}

static double answer(const struct bench_child *c)
{
	double figure;

	bench_read(c, &figure, sizeof(figure));
	return figure;
}

struct bench_child bench_spawn(bench_setup *setup, unsigned n, bench_measure *measure)
{
	struct bench_child c = bench_fork(setup, n, serve, &measure);

	answer(&c);
	return c;
}

double bench_ask(const struct bench_child *c, int op)
{
	if (write(c->fd, &op, sizeof(op)) != sizeof(op))
		bench_die("write");
	return answer(c);
}

void bench_end(struct bench_child *c)
{
	kill(c->pid, SIGKILL); /* later ones have its socket open, too */
	waitpid(c->pid, NULL, 0);
	close(c->fd);
}

void bench_rounds(struct bench_child *c, int n, int ops, int rounds, double *figure)
{
	for (int round = 0; round < rounds; round++) {
		for (int op = 0; op < ops; op++) {
			for (int i = 0; i < n; i++)
				figure[(i * ops + op) * rounds + round] = bench_ask(&c[i], op);
		}
	}
	for (int i = 0; i < n; i++)
		bench_end(&c[i]);
}

double bench_each(int64_t (*batch)(int op), int op, unsigned size, int64_t slice)
{
	int64_t until = bench_now(CLOCK_MONOTONIC) + slice, cpu = 0;
	unsigned done = 0;

	do {
		cpu += batch(op);
		done += size;
	} while (bench_now(CLOCK_MONOTONIC) < until);
	return (double)cpu / done;
}

/* ---- calls ---- */

void bench_start(uint32_t hash_size)
{
	sim_log_level = HOST_ERROR;
	errno = 0;
	if (sim_start(hash_size) < 0)
		bench_die("start of the engine");
}

/* Numbers look like the random ones of phones: they differ in each digit. */
static unsigned scrambled(unsigned n)
{
	return n * 2654435761u;
}

void bench_call_texts(struct bench_texts *t, unsigned n)
{
	char *at = t->room;

	t->call_id.s = at;
	t->call_id.len = (size_t)sprintf(at, "%08x-%07u@192.0.2.17", scrambled(n), n);
	at += t->call_id.len;
	t->from_tag.s = at;
	t->from_tag.len = (size_t)sprintf(at, "a%08x", scrambled(n + 1));
	at += t->from_tag.len;
	t->to_tag.s = at;
	t->to_tag.len = (size_t)sprintf(at, "b%08x", scrambled(n + 2));
}

uint32_t bench_lifetime(unsigned n)
{
	return 1 + scrambled(n) % 43200;
}

void bench_call_row(struct dlg_row *row, struct bench_texts *t, unsigned n, uint32_t lifetime)
{
	struct dlg_str sock = host_sock_text(sim_sock[0]);

	bench_call_texts(t, n);
	row->call_id = t->call_id;
	row->from_tag = t->from_tag;
	row->from_uri = DLG_STR("sip:alice@192.0.2.17:5060");
	row->to_uri = DLG_STR("sip:bob@198.51.100.9:5060");
	row->caller_contact = DLG_STR("sip:alice@192.0.2.17:5060");
	row->caller_sock = sock;
	row->caller_routes = row->vars = row->profiles = DLG_STR_NONE;
	row->h_id = n + 1; /* ascends within each entry */
	row->h_entry = dlg_hash_call_id(t->call_id) & (dlg_hash_size() - 1);
	row->state = 4;
	row->start_time = host_wall_s();
	row->timeout = host_wall_s() + lifetime;
	row->lifetime = lifetime;
	row->user_flags = 0;
	row->flags = DLG_F_IN_PATH;
	row->n_legs = 1;
	row->leg[0] = (struct dlg_row_leg){ .tag = t->to_tag, .sock = sock,
					    .contact = DLG_STR("sip:bob@198.51.100.9:5060"),
					    .cseq = { 0, 1, 0 }, .invite_cseq = { 0, 1, 0 },
					    .seen = 1 << 1, .acked = 1 };
}

struct dlg_cell *bench_call(unsigned n, uint32_t lifetime)
{
	static struct dlg_row row;
	struct bench_texts t;
	struct dlg_cell *dlg = NULL;
	unsigned lost = 0;

	bench_call_row(&row, &t, n, lifetime);
	bench_check(dlg_db_image_make(&row, &lost, &dlg) == DLG_DB_MADE, "a dialog");
	return dlg;
}

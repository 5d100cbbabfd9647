/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listing a million dialogs through the writer of the FIFO, into a pipe whose reader throws
 * everything away: at once by dlg_list, and in pages by dlg_page.
 *
 * Environment: BENCH_LISTED (1000000), dialogs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../mi/fifo_out.h"
#include "../sim/sim_host.h"
#include "bench.h"

enum { HASH_SIZE = 4096, ROUNDS = 3 };

static unsigned n_dialogs = 1000000;

/* ---- a client that reads as fast as it can ---- */

static struct {
	pid_t pid;
	int fd, counted; /* where we write; where it says how many bytes it had */
} reader;

static void read_all(int from, int to)
{
	static char room[1 << 16];
	uint64_t bytes = 0;
	ssize_t n;

	while ((n = read(from, room, sizeof(room))) > 0)
		bytes += (uint64_t)n;
	bench_check(write(to, &bytes, sizeof(bytes)) == sizeof(bytes), "write");
	_exit(0);
}

static void start_reader(void)
{
	int data[2], count[2];

	if (pipe(data) < 0 || pipe(count) < 0 || (reader.pid = fork()) < 0)
		bench_die("a reader");
	if (!reader.pid) {
		close(data[1]);
		read_all(data[0], count[1]);
	}
	close(data[0]);
	close(count[1]);
	reader.fd = data[1];
	reader.counted = count[0];
	fcntl(reader.fd, F_SETFL, O_NONBLOCK);
}

/* Returns how many bytes it had. */
static uint64_t end_reader(void)
{
	uint64_t bytes = 0;

	close(reader.fd);
	bench_check(read(reader.counted, &bytes, sizeof(bytes)) == sizeof(bytes), "the reader");
	close(reader.counted);
	waitpid(reader.pid, NULL, 0);
	return bytes;
}

/* ---- commands ---- */

static void command(const char *name, const struct dlg_mi_args *args)
{
	static struct mi_fifo_out out;

	mi_fifo_out_init(&out, reader.fd);
	dlg_mi_run(dlg_mi_find(dlg_str_of(name)), args, &out.out);
	bench_check(mi_fifo_out_finish(&out) == 0, "a reader that has gone");
}

static void list_all(unsigned unused)
{
	(void)unused;
	command("dlg_list", &(struct dlg_mi_args){ 0 });
}

/* The cursor is moved as a client would: the answer's "next" is where the last dialog stands. */
static void list_pages(unsigned count)
{
	struct dlg_hash_cursor cur = { 0 };
	char at[32], number[16];
	struct dlg_mi_args args = { .n = 2 };

	snprintf(number, sizeof(number), "%u", count);
	args.arg[1] = dlg_str_of(number);
	while (cur.entry < HASH_SIZE) {
		static struct dlg_cell *page[100];
		unsigned n;

		snprintf(at, sizeof(at), cur.inside ? "%u:%u" : "%u", cur.entry, cur.last_id);
		args.arg[0] = dlg_str_of(at);
		command("dlg_page", &args);
		n = dlg_hash_page(&cur, page, count, DLG_BY_LOCAL);
		while (n--)
			dlg_hash_put(page[n], DLG_BY_LOCAL);
	}
}

static const struct way {
	const char *name;
	void (*list)(unsigned count);
	unsigned count;
} ways[] = {
	{ "dlg_list", list_all, 0 },
	{ "dlg_page, 100 each", list_pages, 100 },
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

struct figure {
	double seconds[ROUNDS], cpu[ROUNDS], bytes;
};

static void measure(const struct way *w, struct figure *f, int round)
{
	int64_t began, cpu;

	start_reader();
	began = bench_now(CLOCK_MONOTONIC);
	cpu = bench_cpu();
	w->list(w->count);
	f->bytes = (double)end_reader();
	f->seconds[round] = (double)(bench_now(CLOCK_MONOTONIC) - began) / 1e9;
	f->cpu[round] = (double)(bench_cpu() - cpu) / 1e9;
}

static void print_way(const char *name, struct figure *f)
{
	double rate = n_dialogs / bench_median(f->seconds, ROUNDS);

	printf("%-22s %12.0f %14.2f %14.0f  %s\n", name, rate,
	       bench_median(f->cpu, ROUNDS) * 1e6 / n_dialogs, f->bytes / n_dialogs,
	       bench_goal(rate, "to be known", "no goal", "rows a second, %s of %u", name,
			  n_dialogs));
}

int main(void)
{
	static struct figure figure[WAYS];
	const char *listed = getenv("BENCH_LISTED");
	FILE *csv = bench_csv("list", "what,dialogs,round,seconds,cpu,bytes");

	signal(SIGPIPE, SIG_IGN);
	if (listed)
		n_dialogs = (unsigned)atoi(listed);
	bench_check(n_dialogs > 0, "BENCH_LISTED");
	bench_start(HASH_SIZE);
	for (unsigned i = 0; i < n_dialogs; i++)
		bench_call(i, bench_lifetime(i));
	for (int r = 0; r < ROUNDS; r++) {
		for (int w = 0; w < WAYS; w++) {
			measure(&ways[w], &figure[w], r);
			fprintf(csv, "\"%s\",%u,%d,%.3f,%.3f,%.0f\n", ways[w].name, n_dialogs,
				r + 1, figure[w].seconds[r], figure[w].cpu[r], figure[w].bytes);
		}
	}
	fclose(csv);
	printf("Listing %u dialogs through the FIFO's writer, medians of %d rounds\n\n", n_dialogs,
	       ROUNDS);
	printf("%-22s %12s %14s %14s\n", "", "rows/s", "CPU us/row", "bytes/row");
	for (int w = 0; w < WAYS; w++)
		print_way(ways[w].name, &figure[w]);
	return 0;
}

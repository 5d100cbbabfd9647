/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What finding a dialog costs among ten thousand and among a million, and what a dialog needs of
 * the shared memory.
 *
 * A million dialogs are in no cache, and whoever looks for one has to wait for the memory, however
 * clever the table is. How long that is, is measured beside it: a walk over the same dialogs that
 * does nothing but read what has to be read, each step depending on the one before.
 *
 * Environment: BENCH_SECONDS (8), of measuring in all. */
#include <stdlib.h>

#include "../../dlg_cookie.h"
#include "../../dlg_match.h"
#include "../../dlg_mem.h"
#include "../../dlg_profile.h"
#include "../../dlg_vals.h"
#include "../sim/sim_host.h"
#include "bench.h"

enum { FEW = 10000, MANY = 1000000, SMALL = 4096, LARGE = 65536, ROUNDS = 9 };

static const double MOST = 1.5; /* the goal: a million against ten thousand */

enum op { BY_COOKIE, BY_ELEMENTS, WALK, OPS };

static const char *const op_names[OPS] = { "by cookie", "by Call-ID and tags", "reading alone" };

/* ---- a table ---- */

static uint32_t hash_size; /* of the children to come */
static struct dlg_cell **cells;
static unsigned n_cells;
static int64_t slice;

/* Memory as large as the table's own, for the walk: it cannot look into the table. Per entry what
 * the lock and its neighbours take; then the hashes, and the pointers to the cells. */
enum { ENTRY = 80 };
static char *entries;
static size_t entry_bytes, array_bytes;
static uint32_t *hashes;
static struct dlg_cell **pointers;
static unsigned per_entry;

/* Of memory that nobody has written to, all pages are one page of zeros in the cache, and the first
 * look at each is a fault. A memset() to zero behind calloc() is left out by the compiler. */
static void *really_there(size_t size)
{
	void *p = malloc(size);

	bench_check(p != NULL, "memory");
	return memset(p, 1, size);
}

static void make_likeness(void)
{
	per_entry = n_cells / hash_size + 1;
	entry_bytes = (size_t)hash_size * ENTRY;
	array_bytes = (size_t)hash_size * per_entry;
	entries = really_there(entry_bytes);
	hashes = really_there(array_bytes * sizeof(*hashes));
	pointers = really_there(array_bytes * sizeof(*pointers));
}

static void make_table(unsigned n)
{
	dialog_conf.dlg_match_mode = DIALOG_DID_NONE; /* or elements are not looked at */
	bench_start(hash_size);
	n_cells = n;
	cells = malloc(n * sizeof(*cells));
	bench_check(cells != NULL, "memory");
	for (unsigned i = 0; i < n; i++)
		cells[i] = bench_call(i, bench_lifetime(i));
	make_likeness();
}

/* ---- finding ---- */

/* So many at a time that reading the clock does not count. The texts of so many stay cached. */
enum { BATCH = 256 };

struct wanted {
	struct bench_texts texts;
	struct dlg_cell *dlg;
	char cookie[DLG_COOKIE_MAX];
	struct dlg_str cookie_text;
};

static void choose(struct wanted *w)
{
	unsigned n = sim_below(n_cells);

	bench_call_texts(&w->texts, n);
	w->dlg = cells[n];
}

/* The proxy knows the cookie without having looked at the dialog. */
static void print_cookie(struct wanted *w, unsigned n)
{
	uint32_t h_entry = dlg_hash_call_id(w->texts.call_id) & (hash_size - 1);

	w->cookie_text = (struct dlg_str){ w->cookie, dlg_cookie_print(w->cookie, h_entry, n + 1) };
}

static void find(struct host_msg *msg, const struct wanted *w, const struct dlg_str *cookie)
{
	struct dlg_ctx ctx = { 0 };

	msg->field[SIM_CALL_ID] = w->texts.call_id;
	msg->field[SIM_FROM_TAG] = w->texts.from_tag;
	msg->field[SIM_TO_TAG] = w->texts.to_tag;
	dlg_match_request(msg, &ctx, cookie);
	bench_check(ctx.dlg == w->dlg, "the wrong dialog");
	dlg_hash_put(ctx.dlg, DLG_BY_MESSAGE);
}

/* ---- reading ---- */

static uint64_t sum; /* so that nothing is left out */

/* The same bytes of the text as a comparison. */
static uint64_t read_text(const char *text, size_t n)
{
	uint64_t got = 0;

	for (size_t i = 0; i < n; i += 8)
		got |= (unsigned char)text[i];
	return got;
}

/* Returns `p`, known no sooner than `after`, of which nobody but us knows that its highest bit is
 * never set. */
static const void *later(const void *p, uint64_t after)
{
	return (const char *)p + (after >> 63);
}

static uint64_t read_cell(const struct dlg_cell *dlg)
{
	struct dlg_str id = dlg_hash_text(dlg, DLG_CALL_ID), tag = dlg_hash_text(dlg, DLG_FROM_TAG);

	return (read_text(id.s, id.len) + read_text(tag.s, tag.len) + dlg->h_id + dlg->flags +
		dlg->state + dlg->refs[DLG_BY_MESSAGE]) >> 1;
}

static uint64_t read_leg(const struct dlg_leg *leg)
{
	return (read_text(leg->tag, leg->tag_len) + (uintptr_t)leg->next % 2) >> 1;
}

/* An entry; half of its hashes, of which most come in time because they stand in a row; the pointer
 * to the cell; the cell; the leg. The next walk begins when this one has ended: with its lock, a
 * search does so, too. */
static void walk(const struct wanted *w)
{
	uint32_t h_entry = dlg_hash_call_id(w->texts.call_id) & (hash_size - 1);
	size_t first = (size_t)h_entry * per_entry, at = first + per_entry / 2;
	const char *entry = later(entries + (size_t)h_entry * ENTRY, sum);
	uint64_t seen = ((uint64_t)entry[0] + (uint64_t)entry[ENTRY - 1]) >> 1;
	const uint32_t *row = later(hashes, seen);
	const struct dlg_cell *dlg;

	for (size_t i = first; i <= at; i += 16)
		seen += row[i];
	seen += (uintptr_t)*(struct dlg_cell *const *)later(&pointers[at], seen) >> 1;
	dlg = later(w->dlg, seen);
	seen = read_cell(dlg);
	sum = read_leg(later(dlg->legs, seen)) >> 1;
}

/* ---- measuring ---- */

static int64_t batch(int op)
{
	static struct wanted wanted[BATCH];
	static struct host_msg *msg;
	int64_t start;

	if (!msg)
		msg = sim_msg_new(1, HOST_BYE);
	for (int i = 0; i < BATCH; i++) {
		choose(&wanted[i]);
		print_cookie(&wanted[i], (unsigned)strtoul(wanted[i].texts.call_id.s + 9, NULL, 10));
	}
	start = bench_cpu();
	for (int i = 0; i < BATCH; i++) {
		if (op == WALK)
			walk(&wanted[i]);
		else
			find(msg, &wanted[i], op == BY_COOKIE ? &wanted[i].cookie_text : NULL);
	}
	return bench_cpu() - start;
}

static double measure(int op)
{
	return bench_each(batch, op, BATCH, slice);
}

static const struct {
	uint32_t hash_size;
	unsigned n;
} tables[] = { { SMALL, FEW }, { SMALL, MANY }, { LARGE, FEW }, { LARGE, MANY } };
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

static double figure[TABLES][OPS][ROUNDS];

static void play(void)
{
	struct bench_child c[TABLES];

	for (int t = 0; t < TABLES; t++) {
		hash_size = tables[t].hash_size;
		c[t] = bench_spawn(make_table, tables[t].n, measure);
	}
	bench_rounds(c, TABLES, OPS, ROUNDS, &figure[0][0][0]);
}

static void write_csv(void)
{
	FILE *f = bench_csv("table", "hash_size,dialogs,what,round,ns");

	for (int t = 0; t < TABLES; t++) {
		for (int op = 0; op < OPS; op++) {
			for (int r = 0; r < ROUNDS; r++)
				fprintf(f, "%u,%u,%s,%d,%.1f\n", tables[t].hash_size, tables[t].n,
					op_names[op], r + 1, figure[t][op][r]);
		}
	}
	fclose(f);
}

/* Medians of ten thousand and a million, of the same rounds; and what a million would take if
 * nothing but the reading had become slower. */
struct line {
	double few, many, expected, ratio[ROUNDS], of_expected[ROUNDS];
};

static struct line compare(int few, enum op op)
{
	int many = few + 1;
	double expected[ROUNDS];
	struct line l;

	for (int r = 0; r < ROUNDS; r++) {
		l.ratio[r] = figure[many][op][r] / figure[few][op][r];
		expected[r] = figure[few][op][r] + figure[many][WALK][r] - figure[few][WALK][r];
		l.of_expected[r] = figure[many][op][r] / expected[r];
	}
	l.expected = bench_median(expected, ROUNDS);
	l.few = bench_median(figure[few][op], ROUNDS);
	l.many = bench_median(figure[many][op], ROUNDS);
	return l;
}

static const char *judge(double *ratio, const char *goal, enum op op, int few, const char *which)
{
	double r = bench_median(ratio, ROUNDS);

	return bench_goal(r, goal, bench_verdict(r, MOST),
			  "finding %s, hash_size %u, 1000000 dialogs / 10000%s", op_names[op],
			  tables[few].hash_size, which);
}

static void print_line(int few, enum op op)
{
	struct line l = compare(few, op);

	judge(l.ratio, "plain: at most 1.50", op, few, ", plain");
	printf("%-20s %9u %9.0f %9.0f %s %9.0f %s  %s\n", op_names[op], tables[few].hash_size,
	       l.few, l.many, bench_spread(l.ratio, ROUNDS), l.expected,
	       bench_spread(l.of_expected, ROUNDS),
	       judge(l.of_expected, "at most 1.50 of what is expected", op, few, ""));
}

static void print_found(void)
{
	printf("Finding a dialog: ns of CPU time, medians of %d rounds, and (lowest to highest).\n"
	       "\"expected\": what a million would take if only reading the same memory had become slower. The goal is\n"
	       "at most %.1f of that; the plain ratio has the cache misses in it that cannot be\n"
	       "avoided\n\n", ROUNDS, MOST);
	printf("%-20s %9s %9s %9s %-21s %9s %-21s  %s\n", "", "hash_size", "10000", "1000000",
	       " ratio", "expected", " of that", "goal");
	for (int few = 0; few < TABLES; few += 2) {
		for (int op = 0; op < WALK; op++)
			print_line(few, op);
		printf("%-20s %9u %9.0f %9.0f\n", op_names[WALK], tables[few].hash_size,
		       bench_median(figure[few][WALK], ROUNDS),
		       bench_median(figure[few + 1][WALK], ROUNDS));
	}
}

/* ---- shared memory ---- */

enum { COUNTED = 100000 };

static size_t last_bytes;

/* Bytes that the host gave since the last time, for each of so many. */
static double bytes_each(unsigned n)
{
	size_t was = last_bytes;

	last_bytes = sim_shm.bytes;
	return (double)(sim_shm.bytes - was) / n;
}

static struct dlg_cell *counted[COUNTED];

static void add_values(const char *name)
{
	for (unsigned i = 0; i < COUNTED; i++)
		bench_check(dlg_vals_set(counted[i], dlg_str_of(name), DLG_STR("prepaid")) == 0,
			    "a value");
}

static void join(unsigned values)
{
	char value[16];

	for (unsigned i = 0; i < COUNTED; i++) {
		snprintf(value, sizeof(value), "%08u", i % values);
		bench_check(dlg_profile_join(counted[i], 0, dlg_str_of(value)) == 0, "a membership");
	}
}

enum memory { PER_DIALOG, PER_VALUE, PER_MEMBERSHIP, PER_NEW_VALUE, MEMORIES };

static double measure_memory(int what)
{
	switch ((enum memory)what) {
	case PER_DIALOG:
		for (unsigned i = 0; i < COUNTED; i++)
			counted[i] = bench_call(i, bench_lifetime(i));
		break;
	case PER_VALUE:
		add_values("account");
		break;
	case PER_MEMBERSHIP:
		join(10);
		break;
	default:
		join(COUNTED);
	}
	return bytes_each(COUNTED);
}

static void count_from_here(unsigned n)
{
	bench_start(n);
	last_bytes = sim_shm.bytes;
}

static void print_memory(void)
{
	static const char *const names[MEMORIES] = {
		"an answered call, nothing more", "a value, name and text of 7 bytes",
		"a membership", "a membership, the first one of its value",
	};
	struct bench_child c = bench_spawn(count_from_here, SMALL, measure_memory);
	FILE *f = bench_csv("memory_engine", "what,bytes");

	printf("\nShared memory taken from the host, in bytes, with all slack; %d calls\n\n", COUNTED);
	for (int i = 0; i < MEMORIES; i++) {
		double bytes = bench_ask(&c, i);

		printf("%-42s %7.0f\n", names[i], bytes);
		fprintf(f, "\"%s\",%.1f\n", names[i], bytes);
	}
	fclose(f);
	bench_end(&c);
}

int main(void)
{
	slice = (int64_t)(bench_seconds(8) * 1e9 / (ROUNDS * OPS * TABLES));
	play();
	write_csv();
	print_found();
	print_memory();
	return 0;
}

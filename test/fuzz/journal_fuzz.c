/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal of any bytes is read without harm, and every record it gives is sound. With a first
 * byte of 1 the head of the file is a good one, with 2 sound records stand around the input: those
 * must come out. */

#include "fuzz.h"
#include "../../dlg_journal.h"
#include "../sim/sim_host.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/dlgfuzz.XXXXXX", path[64];
static char *head; /* of a file we wrote */
static size_t head_len;
static unsigned sound;

/* Files of ours, to be put together. */
static void remember_head(void)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	MUST(fd >= 0 && fstat(fd, &st) == 0);
	head_len = (size_t)st.st_size;
	head = malloc(head_len);
	MUST(head && read(fd, head, head_len) == (ssize_t)head_len);
	close(fd);
}

static void start(void)
{
	MUST(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/dialog-00000001.journal", dir);
	sim_log_level = HOST_ERROR;
	MUST(dlg_journal_init(dir, DLG_STR("n"), 1) == 0 && dlg_journal_open() == 0);
	MUST(dlg_journal_rotate() == 0);
	remember_head();
}

static void put(int fd, struct dlg_str v)
{
	MUST(write(fd, v.s, v.len) == (ssize_t)v.len);
}

static void see(const struct dlg_journal_record *r, void *arg)
{
	(void)arg;
	MUST(r->image.len < 1 << 26);
	if (r->image.len) /* the bytes are there */
		MUST(((volatile const char *)r->image.s)[r->image.len - 1] || 1);
	sound += r->h_entry == 77 && r->h_id == 78 && dlg_str_eq(r->image, DLG_STR("an image"));
}

static void write_file(struct dlg_str in, int kind)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	MUST(fd >= 0);
	if (kind)
		put(fd, (struct dlg_str){ head, head_len });
	if (in.len && kind != 2)
		put(fd, in);
	close(fd);
}

/* Sound records before and behind: through the module's own hand. */
static void write_around(struct dlg_str in)
{
	struct dlg_journal_record r = { .h_entry = 77, .h_id = 78, .version = 5,
					.image = DLG_STR("an image") };
	uint32_t held = dlg_journal_hold();
	int fd;

	MUST(dlg_journal_append(held, &r) == 0);
	fd = open(path, O_WRONLY | O_APPEND);
	put(fd, in);
	close(fd);
	MUST(dlg_journal_append(held, &r) == 0);
	dlg_journal_release(held);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dlg_str in = fuzz_text(data, size);
	int kind = fuzz_byte(&in) % 3;
	char aside[96];

	if (!head)
		start();
	write_file(in, kind);
	if (kind == 2)
		write_around(in);
	sound = 0;
	MUST(dlg_journal_read(see, NULL) == 0);
	dlg_journal_read_end();
	MUST(kind != 2 || sound >= 1);
	snprintf(aside, sizeof(aside), "%s.set-aside", path);
	rename(aside, path); /* the module has that file open */
	return 0;
}

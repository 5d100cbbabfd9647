/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzz target over the files of its corpus: for machines without libFuzzer, and to look
 * at one input in a debugger. Arguments: files and directories; options of libFuzzer are
 * ignored. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

/* Run one file's content, in a block of exactly its size, so that reading beyond it is noticed. */
static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0) {
		perror(path);
		exit(1);
	}
	rewind(f);
	data = malloc(size ? (size_t)size : 1);
	if (!data || fread(data, 1, (size_t)size, f) != (size_t)size) {
		perror(path);
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	replayed++;
}

static void replay_directory(DIR *dir, const char *path)
{
	struct dirent *e;
	char name[4096];

	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		replay_file(name);
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		DIR *dir;

		if (argv[i][0] == '-')
			continue;
		dir = opendir(argv[i]);
		if (dir) {
			replay_directory(dir, argv[i]);
			closedir(dir);
		} else {
			replay_file(argv[i]);
		}
	}
	printf("%u inputs replayed\n", replayed);
	return 0;
}

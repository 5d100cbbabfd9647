/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preloaded into a proxy under test: another time of day, and a disk without room.
 *
 *     SHIM_CONTROL=FILE LD_PRELOAD=shim.so kamailio ...
 *
 * FILE holds a struct control, which is read at each call, so that whoever writes to it changes the
 * world of all processes at once. The time of day (not the monotonic clock) is shifted by `shift_s`
 * seconds; while `full` is set, whatever is written to regular files but standard output and standard
 * error fails with ENOSPC. Nothing of this needs root, or touches anybody else. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
	int64_t shift_s;
	int64_t full;
};

static const volatile struct control *control;

__attribute__((constructor)) static void find_control(void)
{
	const char *path = getenv("SHIM_CONTROL");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		control = p;
}

static int64_t shift(void)
{
	return control ? control->shift_s : 0;
}

/* What the C library has under that name; POSIX wants the cast to go through void **. */
#define REAL(name)                                              \
	static __typeof__(name) *real;                              \
	if (!real)                                                  \
		*(void **)&real = dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t id, struct timespec *ts)
{
	REAL(clock_gettime);
	int got = real(id, ts);

	if (got == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += shift();
	return got;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	REAL(gettimeofday);
	int got = real(tv, zone);

	if (got == 0)
		tv->tv_sec += shift();
	return got;
}

time_t time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

/* Is there no room for what goes to this file? */
static int no_room(int fd)
{
	struct stat st;

	if (!control || !control->full || fd <= STDERR_FILENO || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	errno = ENOSPC;
	return 1;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	REAL(write);
	return no_room(fd) ? -1 : real(fd, buf, len);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	REAL(pwrite);
	return no_room(fd) ? -1 : real(fd, buf, len, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
	REAL(pwrite64);
	return no_room(fd) ? -1 : real(fd, buf, len, at);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	REAL(writev);
	return no_room(fd) ? -1 : real(fd, iov, n);
}

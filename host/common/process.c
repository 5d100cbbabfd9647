/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory, time and log. */

#include "adapter.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

void *host_shm_alloc(size_t size)
{
	return shm_malloc(size);
}

void host_shm_free(void *p)
{
	shm_free(p);
}

uint64_t host_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int64_t host_wall_s(void)
{
	return time(NULL);
}

/* Enough for the scheduler to let a worker that wakes up go first, not so much that a lock's owner
 * would not come to give it back. */
enum { STEP = 5 };

void adapter_step_back(void)
{
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + STEP);
}

void host_pause(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

unsigned adapter_to_next_second(unsigned offset_ms)
{
	return 1000 - (unsigned)((host_mono_ms() + 1000 - offset_ms) % 1000);
}

static const int levels[] = {
	[HOST_ERROR] = L_ERR, [HOST_WARNING] = L_WARN, [HOST_NOTICE] = L_NOTICE,
	[HOST_INFO] = L_INFO, [HOST_DEBUG] = L_DBG,
};

int host_log_on(enum host_level level)
{
	return is_printable(levels[level]);
}

void host_log(enum host_level level, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	dlg_str_printable(line);
	ADAPTER_LOG(levels[level], line);
}

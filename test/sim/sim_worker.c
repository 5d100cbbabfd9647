/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_worker.h"

#include <stdlib.h>
#include <string.h>

void sim_workers_init(struct sim_worker *w, unsigned n, unsigned first)
{
	memset(w, 0, n * sizeof(*w));
	for (unsigned i = 0; i < n; i++)
		w[i].seed = w[i].name = first + i;
}

void sim_workers_run(struct sim_worker *w, unsigned n, void *(*work)(void *))
{
	for (unsigned i = 0; i < n; i++) {
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			abort();
	}
}

void sim_workers_join(struct sim_worker *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(w[i].thread, NULL);
}

unsigned sim_pick(struct sim_worker *w, unsigned n)
{
	w->seed = w->seed * 1103515245 + 12345;
	return (w->seed >> 16) % n;
}

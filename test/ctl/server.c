/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The management FIFO over the simulated proxy with as many dialogs as wanted: server FIFO
 * REPLY_DIR N. Dialog n is a call from user<n % 1000> to sip:bob<n>, in profile caller with that
 * user as value; every fourth is early, the others are answered. Ended calls stay in state 5. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../../dlg_hash.h"
#include "../../dlg_mem.h"
#include "../../dlg_vals.h"
#include "../../mi/fifo.h"
#include "../sim/sim_host.h"

static void answer(struct dlg_cell *dlg)
{
	static const char contact[] = "sip:bob@127.0.0.9:5081";
	struct dlg_leg *leg = dlg_hash_leg_new(DLG_STR("tt"), DLG_STR_NONE);

	if (!leg)
		abort(); /* a test's program: it has all the memory it wants */
	leg->sock = sim_sock[1];
	leg->contact = dlg_mem_alloc(sizeof(contact) - 1);
	leg->contact_len = sizeof(contact) - 1;
	memcpy(leg->contact, contact, sizeof(contact) - 1);
	dlg_hash_lock(dlg);
	dlg_hash_leg_add_locked(dlg, leg, DLG_LEGS_MAX);
	leg->state = DLG_LEG_ANSWERED;
	dlg_state_apply_locked(dlg, DLG_EV_SUCCESS);
	dlg_state_apply_locked(dlg, DLG_EV_ACK);
	dlg_hash_unlock(dlg);
}

static void ring(struct dlg_cell *dlg)
{
	dlg_hash_lock(dlg);
	dlg_state_apply_locked(dlg, DLG_EV_PROVISIONAL);
	dlg_hash_unlock(dlg);
}

static void add(unsigned n)
{
	char call_id[32], from[48], to[48], user[32];
	struct dlg_hash_new in = {
		.from_tag = DLG_STR("ft"), .caller_contact = DLG_STR("sip:c@127.0.0.9:5080"),
		.caller_sock = sim_sock[0], .lifetime = 7200,
	};
	struct dlg_cell *dlg;

	snprintf(call_id, sizeof(call_id), "call-%u@127.0.0.9", n);
	snprintf(user, sizeof(user), "user%u", n % 1000);
	snprintf(from, sizeof(from), "sip:%s@example.com", user);
	snprintf(to, sizeof(to), "sip:bob%u@example.org", n);
	in.call_id = dlg_str_of(call_id);
	in.from_uri = dlg_str_of(from);
	in.to_uri = dlg_str_of(to);
	if (dlg_hash_insert(&in, DLG_BY_LOCAL, &dlg) != 1 ||
	    dlg_profile_join(dlg, dlg_profile_find(DLG_STR("caller")), dlg_str_of(user)) < 0)
		abort();
	if (n % 4 == 3)
		ring(dlg);
	else
		answer(dlg);
	if (n == 0)
		dlg_vals_set(dlg, DLG_STR("note"), DLG_STR("tab\there \"quoted\" \xff\n"));
	dlg_hash_put(dlg, DLG_BY_LOCAL);
}

/* The clock of the simulation runs along with the real one. */
static void follow_clock(void)
{
	static uint64_t offset;
	struct timespec ts;
	uint64_t ms;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	if (!offset)
		offset = host_mono_ms() - ms;
	sim_set_ms(ms + offset);
}

int main(int argc, char **argv)
{
	if (argc != 4 || sim_shm_share() < 0)
		return 2;
	dialog_conf.fifo_name = argv[1];
	dialog_conf.reply_dir = argv[2];
	sim_log_level = HOST_ERROR;
	if (sim_start(4096) < 0)
		return 1;
	for (unsigned n = 0; n < (unsigned)atoi(argv[3]); n++)
		add(n);
	if (mi_fifo_init() < 0)
		return 1;
	mi_fifo_run(follow_clock);
}

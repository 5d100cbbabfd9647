/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Kamailio loads: tables, init, processes, exit. */

#include "adapter.h"
#include "../../dlg_db_handler.h"
#include "../../dlg_timer.h"
#include "../../mi/fifo.h"

#include "core/cfg/cfg_struct.h"
#include "core/counters.h"
#include "core/globals.h"
#include "core/pt.h"
#include "core/sr_module.h"
#include "core/ver.h"

int adapter_started;

const char *host_state_dir(void)
{
	return runtime_dir;
}

/* ---- statistics ---- */

#define X(name)                                  \
	static counter_val_t stat_##name(void)   \
	{                                        \
		return (counter_val_t)dialog_stat_##name(); \
	}
DIALOG_STATISTICS(X)
#undef X

#define X(name) { (char *)#name, STAT_IS_FUNC, (stat_var **)(void *)stat_##name },
static stat_export_t statistics[] = {
	DIALOG_STATISTICS(X)
	{ NULL, 0, NULL },
};
#undef X

/* ---- processes of ours ---- */

/* Take over run-time changes of Kamailio's settings. */
static void take_settings(void)
{
	cfg_update();
}

static void __attribute__((noreturn)) run_wheel(unsigned offset_ms, unsigned (*tick)(void))
{
	for (;;) {
		host_pause(adapter_to_next_second(offset_ms));
		take_settings();
		tick();
	}
}

/* Dialogs run out here, and BYEs are sent: in no SIP worker, and not in the process that drives
 * tm. */
static void __attribute__((noreturn)) run_timer(void)
{
	run_wheel(0, dlg_timer_tick);
}

/* BYEs to hosts that must be looked up: it may wait for DNS. */
static void __attribute__((noreturn)) run_sender(void)
{
	run_wheel(ADAPTER_SENDER_MS, dlg_timer_tick_patient);
}

static void __attribute__((noreturn)) run_fifo(void)
{
	mi_fifo_run(take_settings);
}

static void __attribute__((noreturn)) run_writer(void)
{
	dlg_db_run(take_settings);
}

/* Fork one; it may send SIP over any transport. Its end would be the server's end: it never
 * returns. 0 or -1. */
static int fork_one(int rank, const char *name, void (*loop)(void))
{
	int pid = fork_process(rank, (char *)name, 1);

	if (pid)
		return pid < 0 ? -1 : 0;
	if (cfg_child_init())
		exit(1);
	adapter_step_back();
	loop();
	return 0;
}

static int fork_all(void)
{
	if (fork_one(PROC_TIMER, "dialog timer", run_timer) < 0 ||
	    fork_one(PROC_TIMER, "dialog sender", run_sender) < 0 ||
	    (dlg_db_has_writer() && fork_one(PROC_TIMER, "dialog writer", run_writer) < 0) ||
	    (mi_fifo_wanted() && fork_one(PROC_RPC, "dialog FIFO", run_fifo) < 0)) {
		HOST_LOG(HOST_ERROR, "cannot fork");
		return -1;
	}
	return 0;
}

/* The main process again, before it forks: privileges are dropped by now. */
static int prepare_fork(void)
{
	if (dialog_load() < 0 || mi_fifo_init() < 0)
		return -1;
	adapter_slot_watch();
	adapter_started = 1;
	return 0;
}

/* ---- what Kamailio calls ---- */

static int init(void)
{
	int processes = 2 + mi_fifo_wanted() + dlg_db_has_writer();

	if (adapter_tm_init() < 0 || adapter_rr_init() < 0 || adapter_slot_init() < 0 ||
	    dialog_init() < 0)
		return -1;
	if (dialog_conf.enable_stats && register_module_stats("dialog", statistics) < 0) {
		HOST_LOG(HOST_ERROR, "cannot register statistics");
		return -1;
	}
	register_procs(processes);
	cfg_register_child(processes);
	return 0;
}

static int init_process(int rank)
{
	if (rank == PROC_INIT)
		return prepare_fork();
	return rank == PROC_MAIN ? fork_all() : 0;
}

/* Also called when init() was not, as after "kamailio -c". */
static void stop(void)
{
	dialog_stop();
	mi_fifo_stop();
}

/* Setters of parameters that may be given several times. */
#define NOTHING(name, dflt)
#define SETTER(name)                                                    \
	static int add_##name(modparam_t type, void *value)            \
	{                                                              \
		(void)type;                                            \
		return dialog_list_add(&dialog_conf.name, value);      \
	}
DIALOG_PARAMS(NOTHING, NOTHING, SETTER)

#define INT_ROW(name, dflt)  { (char *)#name, PARAM_INT, &dialog_conf.name },
#define TEXT_ROW(name, dflt) { (char *)#name, PARAM_STRING, &dialog_conf.name },
#define LIST_ROW(name)       { (char *)#name, PARAM_STRING | PARAM_USE_FUNC, (void *)add_##name },
#define COLUMN_ROW(id, kind, param, dflt) \
	{ (char *)#param, PARAM_STRING, &dialog_conf.column[DLG_ROW_##id] },
#define ALIAS_ROW(id, param) { (char *)#param, PARAM_STRING, &dialog_conf.column[DLG_ROW_##id] },
static param_export_t params[] = {
	DIALOG_PARAMS(INT_ROW, TEXT_ROW, LIST_ROW)
	DLG_ROW_COLUMNS(COLUMN_ROW, ALIAS_ROW)
	{ NULL, 0, NULL },
};

#pragma GCC visibility push(default)
MODULE_VERSION

extern struct module_exports exports;
struct module_exports exports = {
	.name = (char *)"dialog",
	.dlflags = DEFAULT_DLFLAGS,
	.cmds = adapter_functions,
	.params = params,
	.rpc_methods = adapter_rpcs,
	.pv_items = adapter_pvs,
	.init_mod_f = init,
	.init_child_f = init_process,
	.destroy_mod_f = stop,
};
#pragma GCC visibility pop

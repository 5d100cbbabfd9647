/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What OpenSIPS loads: tables, init, processes, exit. */

#include "adapter.h"
#include "../../dlg_db_handler.h"
#include "../../dlg_timer.h"
#include "../../mi/fifo.h"

#include "flags.h"
#include "globals.h"
#include "ipc.h"
#include "statistics.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

const char *host_state_dir(void)
{
	return working_dir ? working_dir : "/run/opensips";
}

/* ---- statistics ---- */

#define X(name)                                         \
	static unsigned long stat_##name(void *context) \
	{                                               \
		(void)context;                          \
		return dialog_stat_##name();            \
	}
DIALOG_STATISTICS(X)
#undef X

#define X(name) { (char *)#name, STAT_IS_FUNC, (stat_var **)(void *)stat_##name },
static const stat_export_t statistics[] = {
	DIALOG_STATISTICS(X)
	{ NULL, 0, NULL },
};
#undef X

/* ---- processes of ours ---- */

/* Jobs from other processes: a new script, or the end. Waits at most so long for one; nonzero when
 * there was one. ipc_handle_all_pending_jobs() wants a socket, and this is a pipe. */
static int serve_job(int wait_ms)
{
	struct pollfd jobs = { .fd = IPC_FD_READ_SELF, .events = POLLIN };

	if (poll(&jobs, 1, wait_ms) <= 0)
		return 0;
	ipc_handle_job(IPC_FD_READ_SELF);
	return 1;
}

static void serve_jobs(void)
{
	while (serve_job(0))
		;
}

static void run_wheel(unsigned offset_ms, unsigned (*tick)(void))
{
	adapter_step_back();
	for (;;) {
		while (serve_job((int)adapter_to_next_second(offset_ms)))
			;
		tick();
	}
}

/* Dialogs run out here, and BYEs are sent: in no SIP worker, and not in the process that drives
 * tm. */
static void run_timer(int no)
{
	(void)no;
	run_wheel(0, dlg_timer_tick);
}

/* BYEs to hosts that must be looked up: it may wait for DNS. */
static void run_sender(int no)
{
	(void)no;
	run_wheel(ADAPTER_SENDER_MS, dlg_timer_tick_patient);
}

static void run_fifo(int no)
{
	(void)no;
	adapter_step_back();
	mi_fifo_run(serve_jobs);
}

static void leave(int signal)
{
	(void)signal;
	_exit(0);
}

/* Sends nothing and takes no jobs. It may be waiting for a database when the end comes, in a
 * library that must not be asked to clean up then. */
static void run_writer(int no)
{
	(void)no;
	signal(SIGTERM, leave);
	adapter_step_back();
	dlg_db_run(NULL);
}

/* The main process again, before it forks: the script is read, privileges are dropped by now. */
static int prepare_fork(void)
{
	return dialog_load() < 0 || mi_fifo_init() < 0 ? -1 : 0;
}

/* What sends needs the script: for its local route. */
enum { SENDER = PROC_FLAG_INITCHILD | PROC_FLAG_HAS_IPC | PROC_FLAG_NEEDS_SCRIPT };
enum { TIMER, NAMES, WRITER, FIFO };

static proc_export_t processes[] = {
	[TIMER] = { "dialog timer", prepare_fork, NULL, run_timer, 1, SENDER },
	[NAMES] = { "dialog sender", NULL, NULL, run_sender, 1, SENDER },
	[WRITER] = { "dialog writer", NULL, NULL, run_writer, 0, 0 },
	[FIFO] = { "dialog FIFO", NULL, NULL, run_fifo, 0, SENDER },
	{ NULL, NULL, NULL, NULL, 0, 0 },
};

/* ---- parameters ---- */

/* Flags of messages have names here; a number is the name that looks like it. */
static struct flag {
	const char *param;
	int *bit;
	char *name;
} flags[] = {
	{ "dlg_flag", &dialog_conf.dlg_flag, NULL },
	{ "bye_on_timeout_flag", &dialog_conf.bye_on_timeout_flag, NULL },
};

static int find_flag(struct flag *f)
{
	char number[16];

	if (!f->name && (*f->bit < 0 || *f->bit > (int)MAX_FLAG))
		return 0; /* none, or nonsense that dialog_init() refuses */
	snprintf(number, sizeof(number), "%d", *f->bit);
	*f->bit = get_flag_id_by_name(FLAG_TYPE_MSG, f->name ? f->name : number, 0);
	if (*f->bit >= 0 && *f->bit <= (int)MAX_FLAG)
		return 0;
	HOST_LOG(HOST_ERROR, "parameter %s: \"%s\" cannot be a flag: OpenSIPS has 32 of them",
		 f->param, f->name ? f->name : number);
	return -1;
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

#define INT_ROW(name, dflt)  { #name, INT_PARAM, &dialog_conf.name },
#define TEXT_ROW(name, dflt) { #name, STR_PARAM, &dialog_conf.name },
#define LIST_ROW(name)       { #name, STR_PARAM | USE_FUNC_PARAM, (void *)add_##name },
#define COLUMN_ROW(id, kind, param, dflt) \
	{ #param, STR_PARAM, &dialog_conf.column[DLG_ROW_##id] },
#define ALIAS_ROW(id, param) { #param, STR_PARAM, &dialog_conf.column[DLG_ROW_##id] },
static const param_export_t params[] = {
	DIALOG_PARAMS(INT_ROW, TEXT_ROW, LIST_ROW)
	DLG_ROW_COLUMNS(COLUMN_ROW, ALIAS_ROW)
	{ "dlg_flag", STR_PARAM, &flags[0].name },
	{ "bye_on_timeout_flag", STR_PARAM, &flags[1].name },
	{ NULL, 0, NULL },
};

/* ---- what OpenSIPS calls ---- */

static int loaded(void)
{
	adapter_script_init();
	adapter_commands_init();
	return 0;
}

extern struct module_exports exports;

static int init(void)
{
	if (find_flag(&flags[0]) < 0 || find_flag(&flags[1]) < 0 || adapter_tm_init() < 0 ||
	    adapter_rr_init() < 0 || adapter_slot_init() < 0 || dialog_init() < 0)
		return -1;
	if (!dialog_conf.enable_stats)
		exports.stats = NULL;
	processes[WRITER].no = dlg_db_has_writer() ? 1 : 0;
	processes[FIFO].no = mi_fifo_wanted();
	return 0;
}

static void stop(void)
{
	dialog_stop();
	mi_fifo_stop();
}

static const dep_export_t needs = {
	{
		{ MOD_TYPE_DEFAULT, "tm", DEP_ABORT },
		{ MOD_TYPE_DEFAULT, "rr", DEP_ABORT },
		{ MOD_TYPE_NULL, NULL, 0 },
	},
	{
		{ NULL, NULL },
	},
};

#pragma GCC visibility push(default)
struct module_exports exports = {
	.name = "dialog",
	.type = MOD_TYPE_DEFAULT,
	.ver_info = MODULE_VERSION,
	.dlflags = DEFAULT_DLFLAGS,
	.load_f = loaded,
	.deps = &needs,
	.cmds = adapter_functions,
	.params = params,
	.stats = statistics,
	.mi_cmds = adapter_commands,
	.items = adapter_pvs,
	.procs = processes,
	.init_f = init,
	.destroy_f = stop,
};
#pragma GCC visibility pop

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KAMAILIO_ADAPTER_H
#define KAMAILIO_ADAPTER_H
/* Internal to the Kamailio adapter, which implements host/host.h and holds no dialog logic.
 *
 *     module.c  what Kamailio loads: tables, init, processes, exit; memory, clock, log
 *     slot.c    the message in hand: its slot for the engine, and whether it was sent on
 *     msg.c     reading messages
 *     tm.c      transactions            send.c  requests of our own, Record-Route
 *     vars.c    variables as such       script.c  script functions and pseudo-variables
 *     rpc.c     management commands */

#include "../../dialog.h"

/* tm has an enum of that name as well. */
#define dlg_state tm_dlg_state
#include "modules/tm/tm_load.h"
#undef dlg_state
#include "core/pvar.h"
#include "modules/rr/api.h"

#include <limits.h>

/* APIs of the modules we build on; filled before anything else happens. */
extern struct tm_binds adapter_tm;
extern tm_xapi_t adapter_tmx;
extern struct rr_binds adapter_rr;

/* Nonzero once the configuration is read and processes are forked: fixups that run then are given
 * texts from messages, not from the script. */
extern int adapter_started;

/* Views and Kamailio's strings. A missing view becomes "", never NULL. Kamailio does not write to
 * it. */
static inline str adapter_str(struct dlg_str v)
{
	return (str){ v.s ? (char *)v.s : (char *)"", v.s ? (int)v.len : 0 };
}

static inline struct dlg_str adapter_view(str s)
{
	if (!s.s || s.len <= 0)
		return DLG_STR_NONE;
	return (struct dlg_str){ s.s, (size_t)s.len };
}

/* ---- slot.c ---- */

/* Register the script callbacks. 0 or -1. Init phase. */
int adapter_slot_init(void);

/* Watch what is sent, unless another module does already. Main process, after every module's
 * init. */
void adapter_slot_watch(void);

/* Set while this process sends a request of our own, which is not the message in hand. */
extern int adapter_sending;

/* ---- tm.c ---- */

/* Bind tm and register for new transactions. 0, or -1 with one log line. Init phase. */
int adapter_tm_init(void);

/* Nonzero while a request that was suspended in the main script goes on. */
int adapter_tm_resumed(void);

/* ---- send.c ---- */

/* Bind rr and register for requests with a Route of ours. 0, or -1 with one log line. Init
 * phase. */
int adapter_rr_init(void);

/* ---- vars.c ---- */

/* A text of the script: constant, or with pseudo-variables. */
struct adapter_text {
	char *written;       /* as given, not ours */
	pv_elem_t *model;    /* NULL: constant */
	int single;          /* one variable and nothing else */
	char number[24];     /* an integer value, printed */
};

/* Compile. 0, or -1 when a variable in it is unknown. `written` must stay valid. */
int adapter_text_init(struct adapter_text *t, char *written);
void adapter_text_free(struct adapter_text *t);

/* Evaluate. 0, or -1. *is_null is set when the text is a single variable that is null. The view is
 * valid until the message changes or a few more texts are evaluated. */
int adapter_text_get(struct sip_msg *msg, struct adapter_text *t, struct dlg_str *out,
		     int *is_null);

/* Give back what host_var_compile() returned. */
void adapter_var_free(struct host_var *var);

/* ---- script.c, rpc.c: tables for Kamailio, each ended by a zero row ---- */

extern cmd_export_t adapter_functions[];
extern pv_export_t adapter_pvs[];
extern rpc_export_t adapter_rpcs[];

#endif

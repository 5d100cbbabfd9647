/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KAMAILIO_ADAPTER_H
#define KAMAILIO_ADAPTER_H
/* Internal to the Kamailio adapter, which implements host/host.h and holds no dialog logic. What
 * it is made of: ../common/common.h. From 5.6 to the development head of 2026 nothing differs that
 * it would have to know. */

#include "../../dialog.h"

/* tm has an enum of that name as well. */
#define dlg_state tm_dlg_state
#include "modules/tm/tm_load.h"
#undef dlg_state
#include "core/dprint.h"
#include "core/forward.h"
#include "core/lvalue.h"
#include "core/mem/shm_mem.h"
#include "core/parser/contact/parse_contact.h"
#include "core/parser/hf.h"
#include "core/parser/msg_parser.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_rr.h"
#include "core/parser/parse_to.h"
#include "core/parser/parse_uri.h"
#include "core/pvar.h"
#include "core/sr_module.h"
#include "modules/rr/api.h"

#include <limits.h>

extern tm_xapi_t adapter_tmx;

/* Nonzero once the configuration is read and processes are forked: fixups that run then are given
 * texts from messages, not from the script. */
extern int adapter_started;

static inline int adapter_in_script(void)
{
	return adapter_started;
}

/* Watch what is sent, unless another module does already. Main process, after every module's
 * init. */
void adapter_slot_watch(void);

/* Nonzero while a request that was suspended in the main script goes on. */
int adapter_tm_resumed(void);

enum {
	/* a computed argument that is null arrives as an empty text */
	ADAPTER_NULL_IS_BLANK = 1,
	ADAPTER_NAME_OURS = PV_NAME_OTHER, /* type of the (name) part of our variables */
};

#define ADAPTER_LOAD_FIRST ": load it before dialog"
#define ADAPTER_LOG(level, line) LOG_FN(DEFAULT_FACILITY, level, "dialog: ", "%s\n", line)

/* ---- variables ---- */

/* Returns the first character behind the variable, or NULL. */
static inline char *adapter_spec_parse(str *s, pv_spec_t *spec)
{
	return pv_parse_spec2(s, spec, 1);
}

static inline void adapter_spec_clear(pv_spec_t *spec)
{
	pv_spec_destroy(spec);
}

static inline int adapter_spec_set(struct sip_msg *msg, pv_spec_t *spec, pv_value_t *v)
{
	return pv_set_spec_value(msg, spec, EQ_T, v);
}

/* The variable of an element of a text, or NULL. */
static inline pv_spec_t *adapter_elem_spec(pv_elem_t *elem)
{
	return elem->spec;
}

/* ---- messages ---- */

/* Does the URI name this proxy, by the rule of rr? */
static inline int adapter_is_self(struct sip_uri *u)
{
	return check_self(&u->host, u->port_no ? u->port_no : SIP_PORT, 0) == 1;
}

/* The local socket of a text like "udp:127.0.0.1:5060", or NULL. */
static inline const struct socket_info *adapter_socket_find(str *text)
{
	return lookup_local_socket(text);
}

#define ADAPTER_CHECK_TRANS(msg) adapter_tmx.t_check_trans(msg)
#define ADAPTER_RR_REGISTER(fn) adapter_rr.register_rrcb(fn, NULL)

/* rr tells only of a topmost Route of ours. */
static inline int adapter_rr_is_ours(struct sip_msg *msg)
{
	(void)msg;
	return 1;
}

/* ---- script.c, commands.c: tables for Kamailio, each ended by a zero row ---- */

extern cmd_export_t adapter_functions[];
extern pv_export_t adapter_pvs[];
extern rpc_export_t adapter_rpcs[];

#include "../common/common.h"

#endif

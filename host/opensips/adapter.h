/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef OPENSIPS_ADAPTER_H
#define OPENSIPS_ADAPTER_H
/* Internal to the OpenSIPS adapter, which implements host/host.h and holds no dialog logic. What
 * it is made of: ../common/common.h. Differences between versions of OpenSIPS: versions.h. */

#include "../../dialog.h"

/* tm has an enum of that name as well. */
#define dlg_state tm_dlg_state
#include "modules/tm/tm_load.h"
#undef dlg_state
#include "context.h"
#include "dprint.h"
#include "error.h"
#include "forward.h"
#include "mem/shm_mem.h"
#include "parser/contact/parse_contact.h"
#include "parser/hf.h"
#include "parser/msg_parser.h"
#include "parser/parse_cseq.h"
#include "parser/parse_from.h"
#include "parser/parse_rr.h"
#include "parser/parse_to.h"
#include "parser/parse_uri.h"
#include "pvar.h"
#include "route.h"
#include "socket_info.h"
#include "sr_module.h"
#include "modules/rr/api.h"
#include "versions.h"

#include <limits.h>

/* Scripts are read, at start or when they are reloaded, outside of any message. The local route has
 * no context when a timer sends. */
static inline int adapter_in_script(void)
{
	return current_processing_ctx != NULL || is_route_type(LOCAL_ROUTE);
}

enum {
	/* OpenSIPS itself refuses a computed argument that is null */
	ADAPTER_NULL_IS_BLANK = 0,
	ADAPTER_NAME_OURS = 1000, /* type of the (name) part of our variables, none of OpenSIPS' */
};

#define ADAPTER_PV ((pv_type_t)(PVT_EXTRA + 1900)) /* type of our variables */

#define ADAPTER_LOAD_FIRST ""
#define ADAPTER_LOG(level, line) LM_GEN1(level, "dialog: %s\n", line)

/* ---- variables ---- */

/* Returns the first character behind the variable, or NULL. */
static inline char *adapter_spec_parse(str *s, pv_spec_t *spec)
{
	return pv_parse_spec(s, spec);
}

/* Nothing hangs in a spec that OpenSIPS could give back without the spec itself. */
static inline void adapter_spec_clear(pv_spec_t *spec)
{
	(void)spec;
}

static inline int adapter_spec_set(struct sip_msg *msg, pv_spec_t *spec, pv_value_t *v)
{
	return pv_set_value(msg, spec, 0, v);
}

/* The variable of an element of a text, or NULL. */
static inline pv_spec_t *adapter_elem_spec(pv_elem_t *elem)
{
	return elem->spec.type == PVT_NONE ? NULL : &elem->spec;
}

/* ---- messages ---- */

/* Does the URI name this proxy, by the rule of rr? */
static inline int adapter_is_self(struct sip_uri *u)
{
	unsigned short proto;
	unsigned short port = get_uri_port(u, &proto);

	return check_self(u->maddr.s && u->maddr_val.s ? &u->maddr_val : &u->host, port, proto) > 0;
}

/* The local socket of a text like "udp:127.0.0.1:5060", or NULL. */
static inline const struct socket_info *adapter_socket_find(str *text)
{
	str host;
	int port, proto;

	if (parse_phostport(text->s, text->len, &host.s, &host.len, &port, &proto) < 0)
		return NULL;
	return grep_sock_info(&host, (unsigned short)port, (unsigned short)proto);
}

#define ADAPTER_CHECK_TRANS(msg) adapter_tm.t_check_trans(msg)
#define ADAPTER_RR_REGISTER(fn) adapter_rr.register_rrcb(fn, NULL, 0)

/* rr also tells of a topmost Route of somebody else. */
static inline int adapter_rr_is_ours(struct sip_msg *msg)
{
	return host_msg_own_routes((struct host_msg *)msg) != 0;
}

/* ---- slot.c, tm.c: beyond what is common ---- */

/* `tx` was attached to a transaction that is only being made for the request in hand. */
void adapter_slot_note_unborn(struct cell *t, struct dlg_tx *tx);

/* The last event of a transaction. Once for each `tx` (struct dlg_tx). */
void adapter_tm_gone(void *tx);

/* ---- script.c, commands.c: tables for OpenSIPS, each ended by a zero row ---- */

extern cmd_export_t adapter_functions[];
extern const pv_export_t adapter_pvs[];
extern mi_export_t adapter_commands[];

/* Fill in what follows from the engine's tables. When the module is loaded. */
void adapter_script_init(void);
void adapter_commands_init(void);

#include "../common/common.h"

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding transactions. */

#include "adapter.h"

struct cell *adapter_tm_current(void)
{
	struct cell *t = adapter_tm.t_gett();

	return t == T_UNDEFINED ? NULL : t;
}

struct dlg_tx *adapter_tm_attached(const struct cell *t)
{
	struct tm_callback *cb = t ? (struct tm_callback *)t->tmcb_hl.first : NULL;

	for (; cb; cb = cb->next)
		if (cb->callback == adapter_tm_event && cb->param)
			return cb->param;
	return NULL;
}

struct dlg_tx *host_tx_of(struct host_msg *msg)
{
	(void)msg;
	return adapter_tm_attached(adapter_tm_current());
}

/* Made for this very request: t_newtran() ran, or a suspended transaction goes on. */
struct host_tx *host_tx_current(struct host_msg *msg)
{
	struct sip_msg *m = (struct sip_msg *)msg;
	struct cell *t = adapter_tm_current();

	if (!t || !t->uas.request || m->first_line.type != SIP_REQUEST ||
	    t->uas.request->first_line.u.request.method_value !=
		    m->first_line.u.request.method_value)
		return NULL;
	return (struct host_tx *)t;
}

int host_tx_is_retransmission(struct host_msg *msg)
{
	/* With its own transaction at hand tm would take the request for a retransmission of
	 * itself. */
	if (adapter_tm_current())
		return 0;
	return ADAPTER_CHECK_TRANS((struct sip_msg *)msg) == 0;
}

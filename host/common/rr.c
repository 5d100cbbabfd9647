/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Record-Route and Route, by the module rr. */

#include "adapter.h"
#include "../../dlg_handlers.h"

struct rr_binds adapter_rr;

static void on_route(struct sip_msg *msg, str *params, void *arg)
{
	(void)arg;
	if (dialog_running() && msg->first_line.type == SIP_REQUEST && adapter_rr_is_ours(msg))
		dlg_handlers_on_route((struct host_msg *)msg, adapter_view(*params));
}

int adapter_rr_init(void)
{
	if (load_rr_api(&adapter_rr) < 0) {
		HOST_LOG(HOST_ERROR, "module rr is needed" ADAPTER_LOAD_FIRST);
		return -1;
	}
	if (ADAPTER_RR_REGISTER(on_route) < 0) {
		HOST_LOG(HOST_ERROR, "cannot register for requests with a Route of ours");
		return -1;
	}
	return 0;
}

int host_rr_add(struct host_msg *msg, struct dlg_str param)
{
	str s = adapter_str(param);

	return adapter_rr.add_rr_param((struct sip_msg *)msg, &s) < 0 ? -1 : 0;
}

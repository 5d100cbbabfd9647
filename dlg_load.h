/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DLG_LOAD_H
#define DLG_LOAD_H
/* The API for modules that build on dialogs (manual, chapter 2). This header is all they need.
 *
 * Bind in mod_init, with the dialog module loaded before yours (Kamailio shown):
 *
 *     static struct dlg_api dlg;
 *     if (dlg_load_api(&dlg, find_export(DLG_BIND_NAME, 0, 0)) < 0)
 *             return -1;
 *     dlg.register_dlgcb(NULL, DLGCB_CREATED, on_created, NULL, NULL);
 *
 * There is deliberately no export named "load_dlg": stock modules look for that name and would
 * write their own idea of the structure over ours.
 *
 * Callbacks run in whatever process handles the event (a SIP worker, the module's timer process,
 * a command's process), with no lock of the dialog module held: they may call everything below,
 * end the dialog included. Two events of one dialog that are handled by two processes at the
 * same moment (a 2xx and a BYE, say) may call back in either order. What callbacks do takes the
 * caller's time: do not block. The dialog is held for the duration of the callback; to keep it
 * longer call hold(). */

#include <stddef.h>
#include <stdint.h>

struct sip_msg;
struct dlg_cell; /* opaque */

/* Callback types (manual 2.1.1). Several may be or-ed in one registration, except DLGCB_CREATED
 * and DLGCB_LOADED, which are not about one dialog and are registered alone, in mod_init, with
 * dlg NULL. */
enum {
	DLGCB_LOADED = 1 << 0,           /* a dialog was restored from the database */
	DLGCB_SAVED = 1 << 1,            /* the dialog was written to the database */
	DLGCB_CREATED = 1 << 2,          /* a dialog was created; params->req is its INVITE */
	DLGCB_FAILED = 1 << 3,           /* negative final reply to the INVITE */
	DLGCB_CONFIRMED = 1 << 4,        /* first 2xx to the INVITE */
	DLGCB_REQ_WITHIN = 1 << 5,       /* a sequential request was forwarded */
	DLGCB_TERMINATED = 1 << 6,       /* ended by BYE, a party's or ours */
	DLGCB_EXPIRED = 1 << 7,          /* ended by a limit, without a BYE from a party */
	DLGCB_EARLY = 1 << 8,            /* first provisional reply above 100 */
	DLGCB_RESPONSE_FWDED = 1 << 9,   /* any reply to the INVITE, before it is forwarded; of
					  * the proxy's own the final ones from 300 on */
	DLGCB_RESPONSE_WITHIN = 1 << 10, /* any reply to a sequential request; of the proxy's own
					  * the final ones */
	DLGCB_MI_CONTEXT = 1 << 11,      /* dlg_list_ctx asks for lines, see mi_add() */
	DLGCB_DESTROY = 1 << 12,         /* the dialog's memory is about to be freed */
};

/* The manual's spelling for some of them. */
#define DLG_CREATED    DLGCB_CREATED
#define DLG_FAILED     DLGCB_FAILED
#define DLG_CONFIRMED  DLGCB_CONFIRMED
#define DLG_REQ_WITHIN DLGCB_REQ_WITHIN
#define DLG_TERMINATED DLGCB_TERMINATED
#define DLG_EXPIRED    DLGCB_EXPIRED

enum { DLG_API_DOWNSTREAM = 1, DLG_API_UPSTREAM = 2 }; /* caller to callee; callee to caller */

struct dlg_cb_params {
	/* the request; NULL where there is none: in callbacks from the timer and from commands,
	 * and when a transaction has let go of it */
	struct sip_msg *req;
	struct sip_msg *rpl; /* the reply, or NULL (none, or made by the proxy itself) */
	int code;            /* status of the reply, also when the proxy made it; else 0 */
	int direction;       /* of the request: DLG_API_DOWNSTREAM, DLG_API_UPSTREAM, or 0 */
	void **param;        /* the slot of the parameter given at registration */
	void *mi;            /* DLGCB_MI_CONTEXT only: for mi_add() */
};

typedef void(dialog_cb)(struct dlg_cell *dlg, int type, struct dlg_cb_params *params);
typedef void(param_free_cb)(void *param);

enum {
	DLG_API_ENDED_BY_NONE,
	DLG_API_ENDED_BY_CALLER,
	DLG_API_ENDED_BY_CALLEE,
	DLG_API_ENDED_BY_PROXY
};

/* A snapshot. The texts are NUL-terminated and point into the buffer given to get_info(). */
struct dlg_info {
	uint32_t h_entry, h_id; /* the dialog's name in the table */
	/* manual 1.9.2: 1 unconfirmed, 2 early, 3 confirmed, 4 with ACK, 5 ended */
	int state;
	/* to_tag: first answered leg, else first leg */
	const char *call_id, *from_uri, *from_tag, *to_uri, *to_tag;
	const char *caller_contact, *callee_contact;
	int64_t start_time;     /* epoch seconds of the 2xx, 0 before */
	int64_t end_time;       /* epoch seconds of the end, 0 before */
	uint32_t timeout_in;    /* seconds left of the current limit (setup, lifetime, linger) */
	uint32_t flags;         /* manual 1.9.4 */
	int ended_by;           /* DLG_API_ENDED_BY_... */
	int end_code;           /* final status of the INVITE when it failed, else 0 */
};

#define DLG_API_VERSION 1
#define DLG_BIND_NAME   "dlg_bind_api"

struct dlg_api {
	/* Register `cb` for the or-ed `types` of one dialog, or of all (see above). `param` must
	 * be in shared memory or constant; `free_param` (may be NULL) is called once when the
	 * dialog is freed. Returns 0; or -1 when the types are not allowed for this `dlg` or
	 * memory is short (then `param` stays the caller's). Of several, the last registered
	 * runs first. */
	int (*register_dlgcb)(struct dlg_cell *dlg, int types, dialog_cb *cb, void *param,
			      param_free_cb *free_param);

	/* The dialog of the message in hand, with a reference to be given back by put(), or
	 * NULL; NULL for no message, as params->req may be one. *direction (may be NULL) gets that
	 * of the message's request, or 0. */
	struct dlg_cell *(*get)(struct sip_msg *msg, int *direction);

	/* The dialog of that name, with a reference, or NULL. */
	struct dlg_cell *(*find)(uint32_t h_entry, uint32_t h_id);

	/* Keep a dialog beyond the callback, and give it back. A forgotten reference is reported
	 * in the log as held by "api". */
	void (*hold)(struct dlg_cell *dlg);
	void (*put)(struct dlg_cell *dlg);

	/* Fill `out`; its texts are copied to `buf`. Returns 0, or the size needed when `size`
	 * is too small. */
	size_t (*get_info)(struct dlg_cell *dlg, struct dlg_info *out, char *buf, size_t size);

	/* create_dialog() of the script: 1 created or there already, -1 refused, or no message. */
	int (*create)(struct sip_msg *invite);

	/* End the call: BYEs to both sides when answered, a final error and CANCELs before.
	 * `headers`: NULL or header lines for the BYEs. Called from a callback about a request
	 * or reply, so that nothing overtakes the message in hand, or from DLGCB_SAVED or
	 * DLGCB_LOADED, it is carried out within two seconds (without memory for BYEs it is tried
	 * again for about a minute); `headers` must be NULL then. The same holds on OpenSIPS for a
	 * call that is being set up when any route but a request route runs: it may run under a
	 * lock. 0, or -1 when it has ended already or nothing could be sent. */
	int (*end)(struct dlg_cell *dlg, const char *headers);

	/* Values of the dialog, as $dlg_val(name). set: 0 or -1; value NULL removes. get: copies
	 * to `buf`, NUL-terminated, and returns the value's length (copied only when it is below
	 * `size`), or -1 when there is none. */
	int (*set_value)(struct dlg_cell *dlg, const char *name, const char *value, size_t len);
	long (*get_value)(struct dlg_cell *dlg, const char *name, char *buf, size_t size);

	/* Dialog flags as one integer, and change: bits of `set` on, of `clear` off. */
	uint32_t (*get_flags)(struct dlg_cell *dlg);
	void (*set_flags)(struct dlg_cell *dlg, uint32_t set, uint32_t clear);

	/* Inside a DLGCB_MI_CONTEXT callback: add the line "name:: value" to the dialog's
	 * context. */
	void (*mi_add)(void *mi, const char *name, const char *value);
};

/* Fills `api` when version and size agree: 0, else -1. */
typedef int(dlg_bind_fn)(struct dlg_api *api, unsigned version, size_t size);

/* `bind`: what the host found under DLG_BIND_NAME, cast to dlg_bind_fn; NULL gives -1. */
static inline int dlg_load_api(struct dlg_api *api, dlg_bind_fn *bind)
{
	return bind ? bind(api, DLG_API_VERSION, sizeof(*api)) : -1;
}

#endif

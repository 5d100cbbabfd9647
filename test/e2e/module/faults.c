/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dlg_faults: a module on top of dlg_load.h that is no good neighbour. For test_faults*.py.
 *
 * The dialog's value "fault" says what its callbacks do, one word and a number:
 *
 *     slow MS       each of them sleeps so long
 *     back 0        each of them calls everything in the API that can be called there
 *     end TYPE      ends the call in the callback of this type (a bit number of enum DLGCB_...)
 *     hogpkg KB     at the first reply takes the private memory of its process but so much,
 *     hogshm KB     or the shared memory
 *     release 0     gives both back
 *
 * The value "seen" counts the callbacks of the dialog; "back" makes sure that it does so exactly.
 *
 * The script function fault_end() ends the call of the message in hand. */

#include "dlg_load.h"

#ifdef HOST_opensips
#include "dprint.h"
#include "mem/mem.h"
#include "mem/shm_mem.h"
#include "sr_module.h"
#else
#include "core/dprint.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/sr_module.h"
#include "core/ver.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_MAX = 1 << 20, BLOCK_MIN = 1 << 7 };

static struct dlg_api dlg;

/* ---- all the memory there is ---- */

struct block {
	struct block *next;
};

static struct block *private_blocks;
static struct block **shared_blocks; /* in shared memory; one test at a time takes and releases */

static void *take(int shared, size_t size)
{
	return shared ? shm_malloc(size) : pkg_malloc(size);
}

static void give(int shared, void *p)
{
	if (shared)
		shm_free(p);
	else
		pkg_free(p);
}

/* Everything but `leave` bytes. */
static void hog(int shared, size_t leave)
{
	struct block **list = shared ? shared_blocks : &private_blocks;
	void *left = leave ? take(shared, leave) : NULL;

	for (size_t size = BLOCK_MAX; size >= BLOCK_MIN; size /= 2) {
		struct block *b;

		while ((b = take(shared, size))) {
			b->next = *list;
			*list = b;
		}
	}
	if (left)
		give(shared, left);
}

static void release(int shared)
{
	struct block **list = shared ? shared_blocks : &private_blocks;

	while (*list) {
		struct block *b = *list;

		*list = b->next;
		give(shared, b);
	}
}

/* ---- callbacks ---- */

/* Callbacks of one dialog in several processes may count at once: see which have a number. */
static void count(struct dlg_cell *d, unsigned long *seen)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%lu", __atomic_add_fetch(seen, 1, __ATOMIC_RELAXED));

	dlg.set_value(d, "seen", text, (size_t)len);
}

static void on_event(struct dlg_cell *d, int type, struct dlg_cb_params *params);

static void nothing(struct dlg_cell *d, int type, struct dlg_cb_params *params)
{
	(void)d;
	(void)type;
	(void)params;
}

static void call_back(struct dlg_cell *d, int type, struct dlg_cb_params *params)
{
	struct dlg_info info;
	char buf[4096], text[64], name[32];
	struct dlg_cell *other;

	dlg.hold(d);
	if (dlg.get_info(d, &info, buf, sizeof(buf)))
		LM_ERR("texts of a dialog do not fit\n");
	else if ((other = dlg.find(info.h_entry, info.h_id)))
		dlg.put(other);
	if (params->req && type != DLGCB_CREATED && (other = dlg.get(params->req, NULL)))
		dlg.put(other);
	dlg.set_flags(d, 1u << 7, 1u << 8);
	if (!(dlg.get_flags(d) & 1u << 7))
		LM_ERR("a flag was not set\n");
	snprintf(name, sizeof(name), "where%ld", (long)getpid()); /* two processes may be here at once */
	snprintf(text, sizeof(text), "in callback %d", type);
	dlg.set_value(d, name, text, strlen(text));
	if (dlg.get_value(d, name, text, sizeof(text)) < 0)
		LM_ERR("a value was not set\n");
	dlg.set_value(d, name, NULL, 0);
	if (type & (DLGCB_EARLY | DLGCB_CONFIRMED))
		dlg.register_dlgcb(d, DLGCB_REQ_WITHIN | DLGCB_RESPONSE_WITHIN, nothing, NULL, NULL);
	if (type == DLGCB_MI_CONTEXT)
		dlg.mi_add(params->mi, "fault", "seen");
	dlg.put(d);
}

static void on_event(struct dlg_cell *d, int type, struct dlg_cb_params *params)
{
	char text[64], word[16] = "";
	unsigned long number = 0;

	if (type == DLGCB_DESTROY || dlg.get_value(d, "fault", text, sizeof(text)) < 0
	    || sscanf(text, "%15s %lu", word, &number) < 1)
		return;
	if (!strcmp(word, "slow"))
		usleep((useconds_t)number * 1000);
	else if (!strcmp(word, "back"))
		call_back(d, type, params);
	else if (!strcmp(word, "end") && type == 1 << number)
		dlg.end(d, NULL);
	else if (!strncmp(word, "hog", 3) && type == DLGCB_EARLY)
		hog(!strcmp(word, "hogshm"), number << 10);
	else if (!strcmp(word, "release") && type == DLGCB_EARLY) {
		release(0);
		release(1);
	}
	if (strcmp(word, "slow") && strncmp(word, "hog", 3))
		count(d, *params->param);
}

static void free_counter(void *p)
{
	shm_free(p);
}

static void on_created(struct dlg_cell *d, int type, struct dlg_cb_params *params)
{
	unsigned long *seen = shm_malloc(sizeof(*seen));

	(void)type;
	(void)params;
	if (!seen)
		return;
	*seen = 0;
	if (dlg.register_dlgcb(d,
			       DLGCB_FAILED | DLGCB_CONFIRMED | DLGCB_REQ_WITHIN | DLGCB_TERMINATED
				       | DLGCB_EXPIRED | DLGCB_EARLY | DLGCB_RESPONSE_FWDED
				       | DLGCB_RESPONSE_WITHIN | DLGCB_MI_CONTEXT | DLGCB_DESTROY,
			       on_event, seen, free_counter) < 0)
		shm_free(seen);
}

/* ---- script ---- */

static int end_call(struct sip_msg *msg)
{
	struct dlg_cell *d = dlg.get(msg, NULL);
	int ret = d ? dlg.end(d, NULL) : -1;

	if (d)
		dlg.put(d);
	return ret < 0 ? -1 : 1;
}

/* ---- what the host loads ---- */

static dlg_bind_fn *find_dialog(void)
{
#ifdef HOST_opensips
	return (dlg_bind_fn *)(void (*)(void))find_export(DLG_BIND_NAME, 0);
#else
	return (dlg_bind_fn *)(void (*)(void))find_export((char *)DLG_BIND_NAME, 0, 0);
#endif
}

static int init(void)
{
	shared_blocks = shm_malloc(sizeof(*shared_blocks));
	if (!shared_blocks || dlg_load_api(&dlg, find_dialog()) < 0
	    || dlg.register_dlgcb(NULL, DLGCB_CREATED, on_created, NULL, NULL) < 0) {
		LM_ERR("load the dialog module, of the same version, before this one\n");
		return -1;
	}
	*shared_blocks = NULL;
	return 0;
}

#ifdef HOST_opensips

static const dep_export_t needs = {
	{ { MOD_TYPE_DEFAULT, "dialog", DEP_ABORT }, { MOD_TYPE_NULL, NULL, 0 } },
	{ { NULL, NULL } },
};

static int fault_end(struct sip_msg *msg)
{
	return end_call(msg);
}

static const cmd_export_t functions[] = {
	{ "fault_end", (cmd_function)(void (*)(void))fault_end, { { 0, NULL, NULL } }, ALL_ROUTES },
	{ NULL, NULL, { { 0, NULL, NULL } }, 0 },
};

#pragma GCC visibility push(default)
extern const struct module_exports exports;
const struct module_exports exports = {
	.name = "dlg_faults",
	.type = MOD_TYPE_DEFAULT,
	.ver_info = MODULE_VERSION,
	.dlflags = DEFAULT_DLFLAGS,
	.deps = &needs,
	.cmds = functions,
	.init_f = init,
};
#pragma GCC visibility pop

#else

static int fault_end(struct sip_msg *msg, char *no, char *arguments)
{
	(void)no;
	(void)arguments;
	return end_call(msg);
}

static cmd_export_t functions[] = {
	{ (char *)"fault_end", (cmd_function)fault_end, 0, NULL, NULL, ANY_ROUTE },
	{ NULL, NULL, 0, NULL, NULL, 0 },
};

#pragma GCC visibility push(default)
MODULE_VERSION

extern struct module_exports exports;
struct module_exports exports = {
	.name = (char *)MOD_NAME,
	.dlflags = DEFAULT_DLFLAGS,
	.cmds = functions,
	.init_mod_f = init,
};
#pragma GCC visibility pop

#endif

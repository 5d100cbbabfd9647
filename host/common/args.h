/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADAPTER_ARGS_H
#define ADAPTER_ARGS_H
/* Arguments of script functions, by the kinds of dialog.h: compiled when the script is read,
 * evaluated for each call. */

#include "../../dialog.h"

struct adapter_arg;

/* Compile what the script says, which is copied; `given` is whatever the host handed over, kept for
 * it. In a running script (adapter_in_script()) the text is a value, computed from a message: taken
 * as it is, dollar signs and all, and a bad one makes the call fail instead of the start. NULL with
 * one log line. */
struct adapter_arg *adapter_arg_new(char kind, struct dlg_str written, void *given,
				    const char *function);

/* Kind 'v' from a variable that the host has parsed; owns `var`, which may be NULL: then NULL, with
 * one log line. */
struct adapter_arg *adapter_arg_of_var(struct host_var *var, void *given, const char *function);

/* Free it; returns `given`. */
void *adapter_arg_free(struct adapter_arg *a);

typedef int adapter_fn(struct host_msg *msg, const struct dialog_arg *args);

/* Evaluate the arguments and call. `kinds`: of what is given, in order; `full`: with the optional
 * ones, of which some are left out. given[i] is NULL for an optional one left out in place. Returns
 * what the function does, -1 when an argument cannot be evaluated. */
int adapter_call(adapter_fn *fn, const char *kinds, const char *full, struct host_msg *msg,
		 struct adapter_arg *const given[], size_t n);

#endif

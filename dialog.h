/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DIALOG_H
#define DIALOG_H
/* The module as the host sees it: parameters, script functions, variables and statistics, each
 * described once. Commands are in dlg_mi.h. Adapters turn these lists into their host's export
 * tables. */

#include "dlg_row.h"
#include "host/host.h"

/* ---- parameters (manual 1.5) ---- */

enum { DIALOG_UNSET = -1 }; /* dlg_flag and bye_on_timeout_flag: none */
enum { DIALOG_DID_ONLY, DIALOG_DID_FALLBACK, DIALOG_DID_NONE };

/* INT(name, default): signed number. TEXT(name, default): char *. LIST(name): texts, given any
 * number of times, that add up. */
#define DIALOG_PARAMS(INT, TEXT, LIST)               \
	INT(enable_stats, 1)                         \
	INT(hash_size, 4096)                         \
	INT(log_profile_hash_size, 4)                \
	LIST(profiles_with_value)                    \
	LIST(profiles_no_value)                      \
	TEXT(rr_param, "did")                        \
	INT(dlg_flag, DIALOG_UNSET)                  \
	INT(bye_on_timeout_flag, DIALOG_UNSET)       \
	TEXT(timeout_avp, NULL)                      \
	INT(default_timeout, 43200)                  \
	INT(setup_timeout, 600)                      \
	INT(ack_timeout, 64)                         \
	INT(timeout_bye_rate, 1000)                  \
	TEXT(dlg_extra_hdrs, NULL)                   \
	INT(dlg_match_mode, DIALOG_DID_ONLY)         \
	TEXT(db_url, "mysql://opensips:opensipsrw@localhost/opensips") \
	INT(db_mode, 0)                              \
	INT(db_update_period, 60)                    \
	TEXT(table_name, "dialog")                   \
	TEXT(db_node, NULL)                          \
	TEXT(db_journal_dir, NULL)                   \
	TEXT(db_driver_dir, NULL)                    \
	TEXT(fifo_name, NULL)                        \
	INT(fifo_mode, 0660)                         \
	TEXT(reply_dir, "/tmp/")

struct dialog_conf {
#define DIALOG_X_INT(name, dflt)  int name;
#define DIALOG_X_TEXT(name, dflt) char *name;
#define DIALOG_X_LIST(name)       char *name; /* joined by ';', or NULL */
	DIALOG_PARAMS(DIALOG_X_INT, DIALOG_X_TEXT, DIALOG_X_LIST)
#undef DIALOG_X_INT
#undef DIALOG_X_TEXT
#undef DIALOG_X_LIST
	char *column[DLG_ROW_N];      /* names of columns, by DLG_ROW_COLUMNS (dlg_row.h) */
	struct host_var *timeout_var; /* compiled timeout_avp, or NULL */
};

/* Add a text to a LIST parameter, which owns private memory from then on. 0, or -1 without
 * memory. */
int dialog_list_add(char **list, const char *text);

/* Written by the host while it reads its configuration, checked by dialog_init(), constant
 * afterwards. */
extern struct dialog_conf dialog_conf;

/* ---- init and exit ---- */

/* Check every parameter (one log line for each bad one) and create the shared structures. Main
 * process, before fork. 0 or -1. */
int dialog_init(void);

/* Restore what was saved, and begin to save. Main process, after dialog_init() of all modules and
 * before fork, with the privileges that all processes will have: files are made. 0, or -1 with one
 * log line. */
int dialog_load(void);

/* Exit, in the main process after all others are gone. Saves what is not saved yet, for as long as
 * dlg_db_handler.h says; from now on every inbound call is a no-op. Harmless when dialog_init()
 * never ran. */
void dialog_stop(void);

/* Nonzero between a successful dialog_init() and dialog_stop(). Adapters test it first in every
 * inbound call. */
int dialog_running(void);

/* ---- script functions (manual 1.6) ---- */

enum { /* routes a function may be used in */
	DIALOG_IN_REQUEST = 1, DIALOG_IN_BRANCH = 2, DIALOG_IN_REPLY = 4, DIALOG_IN_FAILURE = 8,
	DIALOG_IN_LOCAL = 16,
	DIALOG_IN_ALL = 31,
};

enum { DIALOG_ARGS_MAX = 3 };
struct dialog_arg {
	int given;            /* 0: an optional one that was left out */
	struct dlg_str text;  /* kind 's': text with pseudo-variables expanded */
	int is_null;          /* kind 's': the whole argument is one variable, and it is null */
	int64_t number;       /* kinds 'f', 'n' */
	int profile;          /* kind 'p' */
	struct host_var *var; /* kind 'v' */
	const struct dialog_condition *conditions; /* kind 'c' */
	unsigned n_conditions;
};

/* One item of a list of limits "profile = value <= limit", as the script wrote it or evaluated. */
struct dialog_condition {
	struct dlg_str profile, value, limit; /* as written */
	int has_value;
	struct dialog_arg of_profile, of_value, of_limit; /* evaluated: kinds 'p', 's', 'n' */
};

/* X(name, argument kinds, routes); SHORT(name, kinds, full kinds, routes): the same function called
 * without its optional arguments. Kinds: s text, p name of a profile, f flag index 0..31, n number
 * (constants of these three checked at start), v output variable (AVP or script variable), c
 * conditions. The function is dialog_fn_<name>(); its arguments stand where the full form has them;
 * it returns 1 true, -1 false, 0 stop the script. */
#define DIALOG_FUNCTIONS(X, SHORT)                                                     \
	X(create_dialog, "", DIALOG_IN_REQUEST)                                        \
	X(validate_dialog, "", DIALOG_IN_REQUEST)                                      \
	X(set_dlg_profile, "ps", DIALOG_IN_ALL)                                        \
	SHORT(set_dlg_profile, "p", "ps", DIALOG_IN_ALL)                               \
	X(unset_dlg_profile, "ps", DIALOG_IN_ALL)                                      \
	SHORT(unset_dlg_profile, "p", "ps", DIALOG_IN_ALL)                             \
	X(is_in_profile, "ps", DIALOG_IN_ALL)                                          \
	SHORT(is_in_profile, "p", "ps", DIALOG_IN_ALL)                                 \
	X(get_profile_size, "psv", DIALOG_IN_ALL)                                      \
	SHORT(get_profile_size, "pv", "psv", DIALOG_IN_ALL)                            \
	X(set_dlg_profile_limit, "psn", DIALOG_IN_ALL)                                 \
	SHORT(set_dlg_profile_limit, "pn", "psn", DIALOG_IN_ALL)                       \
	X(set_dlg_profile_limits, "c", DIALOG_IN_ALL)                                  \
	X(set_dlg_flag, "f", DIALOG_IN_ALL)                                            \
	X(reset_dlg_flag, "f", DIALOG_IN_ALL)                                          \
	X(is_dlg_flag_set, "f", DIALOG_IN_ALL)                                         \
	X(store_dlg_value, "ss", DIALOG_IN_ALL)                                        \
	X(fetch_dlg_value, "sv", DIALOG_IN_ALL)

#define X(name, kinds, routes) \
	int dialog_fn_##name(struct host_msg *msg, const struct dialog_arg *args);
#define SHORT(name, kinds, full, routes)
DIALOG_FUNCTIONS(X, SHORT)
#undef X
#undef SHORT

/* A limit: 0 to UINT32_MAX - 1 in decimal. 0 or -1. */
int dialog_limit(struct dlg_str text, int64_t *out);

/* Split "profile = value <= limit; ..." (kind 'c') into its parts as written; variables with
 * brackets stay whole. Returns how many items, at most `max`, or -1 when it is malformed. */
int dialog_conditions(struct dlg_str text, struct dialog_condition *out, unsigned max);

/* Parse a flag index given as constant text: 0..31, or -1. */
int dialog_flag_index(struct dlg_str text);

/* ---- pseudo-variables (manual 1.9) ---- */

struct dialog_value {
	enum { DIALOG_NULL, DIALOG_INT, DIALOG_TEXT } kind;
	int64_t number;
	/* of a getter: valid until the next but eight getter calls in this process */
	struct dlg_str text;
};

/* X(name, takes a (name) part, writable). Getter dialog_get_<name>(): 0, or -1 on failure.
 * Setter dialog_set_<name>(): 0, also when there is no dialog to set it on; or -1: not to be
 * stored. */
#define DIALOG_VARIABLES(X)      \
	X(DLG_count, 0, 0)       \
	X(DLG_status, 0, 0)      \
	X(DLG_lifetime, 0, 0)    \
	X(DLG_flags, 0, 1)       \
	X(DLG_dir, 0, 0)         \
	X(dlg_val, 1, 1)

#define X(name, named, writable) \
	int dialog_get_##name(struct host_msg *msg, struct dlg_str key, struct dialog_value *out);
DIALOG_VARIABLES(X)
#undef X

/* The setters. `in` of kind DIALOG_NULL clears: all flags, or the value. */
int dialog_set_DLG_flags(struct host_msg *msg, struct dlg_str key, const struct dialog_value *in);
int dialog_set_dlg_val(struct host_msg *msg, struct dlg_str key, const struct dialog_value *in);

/* Name of a $dlg_val() as written in the script: one pair of enclosing quotes, single or double,
 * is removed. */
struct dlg_str dialog_value_name(struct dlg_str written);

/* ---- statistics (manual 1.7) ---- */

#define DIALOG_STATISTICS(X) \
	X(active_dialogs)    \
	X(early_dialogs)     \
	X(processed_dialogs) \
	X(expired_dialogs)   \
	X(failed_dialogs)

#define X(name) uint64_t dialog_stat_##name(void);
DIALOG_STATISTICS(X)
#undef X

#endif

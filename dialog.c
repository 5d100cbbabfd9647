/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dialog.h"

#include "dlg_cb.h"
#include "dlg_db_handler.h"
#include "dlg_handlers.h"
#include "dlg_hash.h"
#include "dlg_mem.h"
#include "dlg_profile.h"
#include "dlg_req_within.h"
#include "dlg_state.h"
#include "dlg_timer.h"
#include "dlg_vals.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>

struct dialog_conf dialog_conf = {
#define DIALOG_X_INT(name, dflt)  .name = dflt,
#define DIALOG_X_TEXT(name, dflt) .name = (char *)(uintptr_t)(dflt),
#define DIALOG_X_LIST(name)       .name = NULL,
	DIALOG_PARAMS(DIALOG_X_INT, DIALOG_X_TEXT, DIALOG_X_LIST)
#define X(id, kind, param, dflt) .column[DLG_ROW_##id] = (char *)(uintptr_t)(dflt),
#define ALIAS(id, param)
	DLG_ROW_COLUMNS(X, ALIAS)
#undef X
#undef ALIAS
#undef DIALOG_X_INT
#undef DIALOG_X_TEXT
#undef DIALOG_X_LIST
};

static int running;

/* ---- parameters ---- */

int dialog_list_add(char **list, const char *text)
{
	size_t had = *list ? strlen(*list) + 1 : 0, len = strlen(text);
	char *more = realloc(*list, had + len + 1);

	if (!more)
		return -1;
	if (had)
		more[had - 1] = ';';
	memcpy(more + had, text, len + 1);
	*list = more;
	return 0;
}

enum { HASH_SIZE_MAX = 1 << 24 };

static int is_power_of_two(int n)
{
	return n > 0 && (n & (n - 1)) == 0;
}

/* Checks of text parameters: nonzero when fine. */

/* A parameter name of a SIP URI (RFC 3261 25.1), and none that Record-Route has a use for
 * already. */
static int rr_param_ok(const char *text)
{
	static const char *const taken[] = { "lr",    "r2",  "ftag", "transport",
					     "maddr", "ttl", "user", "method" };

	if (!text || !*text || strlen(text) > 64)
		return 0;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (dlg_str_eq_nocase(dlg_str_of(text), dlg_str_of(taken[i])))
			return 0;
	}
	for (; *text; text++) {
		if (!isalnum((unsigned char)*text) && !strchr("-_.!~*'", *text))
			return 0;
	}
	return 1;
}

static int timeout_avp_ok(const char *text)
{
	if (!text)
		return 1;
	dialog_conf.timeout_var = host_var_compile(text);
	return dialog_conf.timeout_var != NULL;
}

static int extra_headers_ok(const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return 1;
	return len > 2 && !strcmp(text + len - 2, "\r\n") &&
	       dlg_req_within_headers_ok(dlg_str_of(text));
}

static int path_ok(const char *text)
{
	return !text || (*text == '/' && strlen(text) < PATH_MAX);
}

static int optional_path_ok(const char *text)
{
	return !text || !*text || path_ok(text);
}

static int node_ok(const char *text)
{
	if (!text)
		return 1;
	for (const char *c = text; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("_-.:@", *c))
			return 0;
	}
	return strlen(text) <= 64;
}

static const struct {
	const char *name;
	int *number;
	int min, max;
	int (*ok)(int n);
	const char *allowed;
} number_checks[] = {
	{ "hash_size", &dialog_conf.hash_size, 1, HASH_SIZE_MAX, is_power_of_two,
	  "a power of two from 1 to 16777216" },
	{ "log_profile_hash_size", &dialog_conf.log_profile_hash_size, 1, 20, NULL, "1 to 20" },
	{ "dlg_flag", &dialog_conf.dlg_flag, DIALOG_UNSET, 31, NULL, "0 to 31, or -1 for none" },
	{ "bye_on_timeout_flag", &dialog_conf.bye_on_timeout_flag, DIALOG_UNSET, 31, NULL,
	  "0 to 31, or -1 for none" },
	{ "default_timeout", &dialog_conf.default_timeout, 1, INT_MAX, NULL,
	  "seconds, at least 1" },
	{ "setup_timeout", &dialog_conf.setup_timeout, 1, INT_MAX, NULL, "seconds, at least 1" },
	{ "ack_timeout", &dialog_conf.ack_timeout, 0, INT_MAX, NULL, "seconds, or 0 for no limit" },
	{ "timeout_bye_rate", &dialog_conf.timeout_bye_rate, 0, INT_MAX, NULL,
	  "calls in a second, or 0 for no limit" },
	{ "dlg_match_mode", &dialog_conf.dlg_match_mode, 0, 2, NULL,
	  "0 (DID_ONLY), 1 (DID_FALLBACK) or 2 (DID_NONE)" },
	{ "db_mode", &dialog_conf.db_mode, 0, 3, NULL,
	  "0 (NO_DB), 1 (REALTIME), 2 (DELAYED) or 3 (SHUTDOWN)" },
	{ "db_update_period", &dialog_conf.db_update_period, 1, 86400, NULL,
	  "seconds, from 1 to 86400" },
	{ "fifo_mode", &dialog_conf.fifo_mode, 0, 0777, NULL, "file permissions from 0 to 0777" },
};

static const struct {
	const char *name;
	char **text;
	int (*ok)(const char *text);
	const char *allowed;
} text_checks[] = {
	{ "rr_param", &dialog_conf.rr_param, rr_param_ok,
	  "a URI parameter name (letters, digits, - _ . ! ~ * ') that is not in use for something "
	  "else" },
	{ "timeout_avp", &dialog_conf.timeout_avp, timeout_avp_ok, "an AVP or script variable" },
	{ "dlg_extra_hdrs", &dialog_conf.dlg_extra_hdrs, extra_headers_ok,
	  "complete header lines \"Name: value\", each ended by \\r\\n, none that a request has "
	  "anyway" },
	{ "db_node", &dialog_conf.db_node, node_ok, "up to 64 letters, digits, _ - . : and @" },
	{ "db_journal_dir", &dialog_conf.db_journal_dir, optional_path_ok,
	  "an absolute path, or \"\" for no journal" },
	{ "db_driver_dir", &dialog_conf.db_driver_dir, path_ok, "an absolute path" },
	{ "fifo_name", &dialog_conf.fifo_name, path_ok, "an absolute path" },
	{ "reply_dir", &dialog_conf.reply_dir, path_ok, "an absolute path" },
};

static int check_number(size_t i)
{
	int n = *number_checks[i].number;

	if (n >= number_checks[i].min && n <= number_checks[i].max &&
	    (!number_checks[i].ok || number_checks[i].ok(n)))
		return 0;
	host_log(HOST_ERROR, "parameter %s: bad value %d: allowed is %s", number_checks[i].name, n,
		 number_checks[i].allowed);
	return -1;
}

static int check_text(size_t i)
{
	if (text_checks[i].ok(*text_checks[i].text))
		return 0;
	host_log(HOST_ERROR, "parameter %s: bad value \"%s\": allowed is %s", text_checks[i].name,
		 *text_checks[i].text ? *text_checks[i].text : "", text_checks[i].allowed);
	return -1;
}

static int check_params(void)
{
	int bad = 0;

	for (size_t i = 0; i < sizeof(number_checks) / sizeof(number_checks[0]); i++)
		bad |= check_number(i);
	for (size_t i = 0; i < sizeof(text_checks) / sizeof(text_checks[0]); i++)
		bad |= check_text(i);
	return bad;
}

/* ---- init and exit ---- */

int dialog_init(void)
{
	if (check_params() < 0 ||
	    dlg_profile_init(dialog_conf.profiles_with_value, dialog_conf.profiles_no_value,
			     (unsigned)dialog_conf.log_profile_hash_size) < 0)
		return -1;
	if (dlg_mem_init() < 0 || dlg_state_init() < 0 || dlg_timer_init() < 0 ||
	    dlg_cb_init() < 0 || dlg_hash_init((uint32_t)dialog_conf.hash_size) < 0) {
		host_log(HOST_ERROR, "not enough shared memory to start (hash_size %d)",
			 dialog_conf.hash_size);
		return -1;
	}
	if (dlg_db_init() < 0)
		return -1;
	running = 1;
	return 0;
}

int dialog_load(void)
{
	return dlg_db_load();
}

void dialog_stop(void)
{
	dlg_db_stop();
	running = 0;
}

int dialog_running(void)
{
	return running;
}

/* ---- script functions ---- */

static struct dlg_cell *current(struct host_msg *msg, const char *function)
{
	struct dlg_cell *dlg = dlg_handlers_current(msg, NULL);

	if (!dlg)
		HOST_LOG(HOST_DEBUG, "%s: the message belongs to no dialog", function);
	return dlg;
}

int dialog_fn_create_dialog(struct host_msg *msg, const struct dialog_arg *args)
{
	(void)args;
	return dlg_handlers_create(msg);
}

int dialog_fn_validate_dialog(struct host_msg *msg, const struct dialog_arg *args)
{
	(void)args;
	if (!current(msg, "validate_dialog"))
		return -1;
	return dlg_handlers_validate(msg);
}

int dialog_flag_index(struct dlg_str text)
{
	uint64_t n;

	return dlg_str_to_u64(dlg_str_trim(text), 31, &n) < 0 ? -1 : (int)n;
}

/* The bit of a flag argument, or 0 with a log line: the index came from a variable. */
static uint32_t flag_bit(const struct dialog_arg *arg, const char *function)
{
	if (arg->number >= 0 && arg->number <= 31)
		return (uint32_t)1 << arg->number;
	HOST_LOG(HOST_WARNING, "%s: flag index %lld is not in 0..31", function,
		 (long long)arg->number);
	return 0;
}

int dialog_fn_set_dlg_flag(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "set_dlg_flag");
	uint32_t bit = flag_bit(&args[0], "set_dlg_flag");

	if (!dlg || !bit)
		return -1;
	dlg_vals_set_flags(dlg, bit, 0);
	dlg_db_changed(dlg);
	return 1;
}

int dialog_fn_reset_dlg_flag(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "reset_dlg_flag");
	uint32_t bit = flag_bit(&args[0], "reset_dlg_flag");

	if (!dlg || !bit)
		return -1;
	dlg_vals_set_flags(dlg, 0, bit);
	dlg_db_changed(dlg);
	return 1;
}

int dialog_fn_is_dlg_flag_set(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "is_dlg_flag_set");
	uint32_t bit = flag_bit(&args[0], "is_dlg_flag_set");

	return dlg && dlg_vals_flags(dlg) & bit ? 1 : -1;
}

int dialog_fn_store_dlg_value(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "store_dlg_value");

	if (!dlg || args[0].is_null || args[1].is_null)
		return -1;
	if (dlg_vals_set(dlg, args[0].text, args[1].text) < 0) {
		HOST_LOG(HOST_WARNING,
			 "%s: value \"%.*s\" not stored: bad name, too long, or no memory",
			 dlg_hash_name(dlg), DLG_STR_ARG(args[0].text));
		return -1;
	}
	dlg_db_changed(dlg);
	return 1;
}

int dialog_fn_fetch_dlg_value(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "fetch_dlg_value");
	struct dlg_buf value = { 0 };
	int ok;

	if (!dlg)
		return -1;
	ok = dlg_vals_get(dlg, args[0].text, &value) == 1 &&
	     host_var_set(msg, args[1].var, dlg_buf_view(&value)) == 0;
	dlg_buf_free(&value);
	return ok ? 1 : -1;
}

/* ---- profiles ---- */

int dialog_limit(struct dlg_str text, int64_t *out)
{
	uint64_t limit;

	if (dlg_str_to_u64(dlg_str_trim(text), UINT32_MAX - 1, &limit) < 0)
		return -1;
	*out = (int64_t)limit;
	return 0;
}

/* Position of the first `what` outside brackets, or the length of the text. */
static size_t find_outside(struct dlg_str v, struct dlg_str what)
{
	static const char opening[] = { '(', '{', '[' }, closing[] = { ')', '}', ']' };
	int depth = 0;

	for (size_t i = 0; i < v.len; i++) {
		if (!depth && i + what.len <= v.len && !memcmp(v.s + i, what.s, what.len))
			return i;
		if (memchr(opening, v.s[i], sizeof(opening)))
			depth++;
		else if (depth && memchr(closing, v.s[i], sizeof(closing)))
			depth--;
	}
	return v.len;
}

static struct dlg_str part(struct dlg_str v, size_t from, size_t to)
{
	return dlg_str_trim((struct dlg_str){ v.s + from, to - from });
}

/* One item. 0 or -1. */
static int condition(struct dlg_str item, struct dialog_condition *out)
{
	size_t at = find_outside(item, DLG_STR("<=")), equals;
	struct dlg_str left = part(item, 0, at);

	if (at == item.len)
		return -1;
	equals = find_outside(left, DLG_STR("="));
	*out = (struct dialog_condition){ .profile = part(left, 0, equals),
					  .limit = part(item, at + 2, item.len),
					  .has_value = equals < left.len };
	if (out->has_value)
		out->value = part(left, equals + 1, left.len);
	return out->profile.len && out->limit.len ? 0 : -1;
}

int dialog_conditions(struct dlg_str text, struct dialog_condition *out, unsigned max)
{
	unsigned n = 0;

	while (text.len) {
		size_t end = find_outside(text, DLG_STR(";"));
		struct dlg_str item = part(text, 0, end);

		end += end < text.len;
		text = (struct dlg_str){ text.s + end, text.len - end };
		if (!item.len)
			continue;
		if (n == max || condition(item, &out[n++]) < 0)
			return -1;
	}
	return n ? (int)n : -1;
}

/* The profile of an argument: one that is named by a variable may not exist. */
static int profile_ok(const struct dialog_arg *arg, const char *function)
{
	if (arg->profile >= 0)
		return 1;
	HOST_LOG(HOST_WARNING, "%s: there is no profile \"%.*s\"", function,
		 DLG_STR_ARG(arg->text));
	return 0;
}

/* The optional value of a profile function: 1 given, 0 not (*value is NULL), -1 null. */
static int value_of(const struct dialog_arg *arg, const struct dlg_str **value)
{
	*value = arg->given ? &arg->text : NULL;
	return arg->given && arg->is_null ? -1 : arg->given;
}

/* A value to join a profile with. Null joins nothing; so does none, where one is needed. */
static int joinable(const struct dialog_arg *profile, int given, const char *function)
{
	if (!profile_ok(profile, function))
		return 0;
	if (given > 0 || !dlg_profile_has_values(profile->profile))
		return 1;
	HOST_LOG(given < 0 ? HOST_DEBUG : HOST_WARNING,
		 "%s: profile %.*s needs a value, and %s", function,
		 DLG_STR_ARG(dlg_profile_name(profile->profile)),
		 given < 0 ? "it is null" : "there is none");
	return 0;
}

int dialog_fn_set_dlg_profile(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "set_dlg_profile");
	const struct dlg_str *value;
	int given = value_of(&args[1], &value);

	if (!dlg || !joinable(&args[0], given, "set_dlg_profile"))
		return -1;
	if (dlg_profile_join(dlg, args[0].profile, value ? *value : DLG_STR_NONE) < 0)
		return -1;
	dlg_db_changed(dlg);
	return 1;
}

int dialog_fn_unset_dlg_profile(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "unset_dlg_profile");
	const struct dlg_str *value;

	if (!dlg || !profile_ok(&args[0], "unset_dlg_profile") ||
	    (value_of(&args[1], &value) < 0 && dlg_profile_has_values(args[0].profile)))
		return -1;
	if (!dlg_profile_leave(dlg, args[0].profile, value))
		return -1;
	dlg_db_changed(dlg);
	return 1;
}

int dialog_fn_is_in_profile(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "is_in_profile");
	const struct dlg_str *value;

	if (!dlg || !profile_ok(&args[0], "is_in_profile") ||
	    (value_of(&args[1], &value) < 0 && dlg_profile_has_values(args[0].profile)))
		return -1;
	return dlg_profile_memberships(dlg, args[0].profile, value) ? 1 : -1;
}

/* Needs no dialog. Nobody belongs to a null value. */
int dialog_fn_get_profile_size(struct host_msg *msg, const struct dialog_arg *args)
{
	const struct dlg_str *value;
	int given = value_of(&args[1], &value);
	uint32_t size;

	if (!profile_ok(&args[0], "get_profile_size"))
		return -1;
	size = given < 0 && dlg_profile_has_values(args[0].profile)
		       ? 0
		       : dlg_profile_size(args[0].profile, value);
	return host_var_set_number(msg, args[2].var, size) < 0 ? -1 : 1;
}

/* One condition ready for the engine. 0, or -1 with a log line. */
static int want_of(const struct dialog_condition *c, const char *function,
		   struct dlg_profile_want *out)
{
	if (!profile_ok(&c->of_profile, function))
		return -1;
	if (c->has_value && !joinable(&c->of_profile, c->of_value.is_null ? -1 : 1, function))
		return -1;
	if (c->of_limit.number < 0) {
		HOST_LOG(HOST_WARNING, "%s: \"%.*s\" is no limit", function,
			 DLG_STR_ARG(c->of_limit.text));
		return -1;
	}
	*out = (struct dlg_profile_want){ .profile = c->of_profile.profile,
					  .has_value = c->has_value, .value = c->of_value.text,
					  .limit = (uint32_t)c->of_limit.number };
	return 0;
}

static int join_limited(struct dlg_cell *dlg, const struct dialog_condition *c, unsigned n,
			const char *function)
{
	struct dlg_profile_want wants[DLG_PROFILE_WANTS_MAX];

	for (unsigned i = 0; i < n; i++) {
		if (want_of(&c[i], function, &wants[i]) < 0)
			return -1;
	}
	if (dlg_profile_join_limited(dlg, wants, n) != 1)
		return -1;
	dlg_db_changed(dlg);
	return 1;
}

int dialog_fn_set_dlg_profile_limit(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "set_dlg_profile_limit");
	struct dialog_condition c = { .of_profile = args[0], .of_value = args[1],
				      .of_limit = args[2], .has_value = args[1].given };

	if (!dlg || !joinable(&args[0], args[1].given, "set_dlg_profile_limit"))
		return -1;
	return join_limited(dlg, &c, 1, "set_dlg_profile_limit");
}

int dialog_fn_set_dlg_profile_limits(struct host_msg *msg, const struct dialog_arg *args)
{
	struct dlg_cell *dlg = current(msg, "set_dlg_profile_limits");

	if (!dlg)
		return -1;
	return join_limited(dlg, args[0].conditions, args[0].n_conditions,
			    "set_dlg_profile_limits");
}

/* ---- variables ---- */

static int give_null(struct dialog_value *out)
{
	*out = (struct dialog_value){ .kind = DIALOG_NULL };
	return 0;
}

static int give_int(struct dialog_value *out, int64_t n)
{
	*out = (struct dialog_value){ .kind = DIALOG_INT, .number = n };
	return 0;
}

static int give_text(struct dialog_value *out, struct dlg_str text)
{
	*out = (struct dialog_value){ .kind = DIALOG_TEXT, .text = text };
	return 0;
}

int dialog_get_DLG_count(struct host_msg *msg, struct dlg_str key, struct dialog_value *out)
{
	(void)msg;
	(void)key;
	return give_int(out, dlg_state_active());
}

int dialog_get_DLG_status(struct host_msg *msg, struct dlg_str key, struct dialog_value *out)
{
	int status = dlg_handlers_status(msg);

	(void)key;
	return status ? give_int(out, status) : give_null(out);
}

/* Seconds since the answer; an ended dialog's clock stands still. */
static int64_t lifetime(struct dlg_cell *dlg)
{
	int64_t seconds = 0;

	dlg_hash_lock(dlg);
	if (dlg->start_time)
		seconds = (dlg->end_time ? dlg->ended_at : dlg_timer_now()) - dlg->answered_at;
	dlg_hash_unlock(dlg);
	return seconds;
}

int dialog_get_DLG_lifetime(struct host_msg *msg, struct dlg_str key, struct dialog_value *out)
{
	struct dlg_cell *dlg = dlg_handlers_current(msg, NULL);

	(void)key;
	return dlg ? give_int(out, lifetime(dlg)) : give_null(out);
}

int dialog_get_DLG_flags(struct host_msg *msg, struct dlg_str key, struct dialog_value *out)
{
	struct dlg_cell *dlg = dlg_handlers_current(msg, NULL);

	(void)key;
	return dlg ? give_int(out, dlg_vals_flags(dlg)) : give_null(out);
}

int dialog_set_DLG_flags(struct host_msg *msg, struct dlg_str key, const struct dialog_value *in)
{
	struct dlg_cell *dlg = current(msg, "$DLG_flags");

	(void)key;
	if (!dlg)
		return 0;
	if (in->kind == DIALOG_TEXT) {
		HOST_LOG(HOST_WARNING, "$DLG_flags takes an integer");
		return -1;
	}
	dlg_vals_set_flags(dlg, in->kind == DIALOG_INT ? (uint32_t)in->number : 0, UINT32_MAX);
	dlg_db_changed(dlg);
	return 0;
}

int dialog_get_DLG_dir(struct host_msg *msg, struct dlg_str key, struct dialog_value *out)
{
	enum dlg_dir dir;

	(void)key;
	if (!dlg_handlers_current(msg, &dir))
		return give_null(out);
	return give_text(out,
			 dir == DLG_DIR_UPSTREAM ? DLG_STR("UPSTREAM") : DLG_STR("DOWNSTREAM"));
}

int dialog_get_dlg_val(struct host_msg *msg, struct dlg_str key, struct dialog_value *out)
{
	/* an expression may evaluate several before it uses the first */
	static struct dlg_buf ring[8];
	static unsigned next;
	struct dlg_cell *dlg = dlg_handlers_current(msg, NULL);
	struct dlg_buf *value = &ring[next++ % 8];

	if (!dlg || dlg_vals_get(dlg, key, value) != 1)
		return give_null(out);
	return give_text(out, dlg_buf_view(value));
}

static int store(struct dlg_cell *dlg, struct dlg_str key, const struct dialog_value *in)
{
	struct dlg_buf number = { 0 };
	int ret;

	if (in->kind == DIALOG_NULL)
		return dlg_vals_unset(dlg, key) < 0 ? -1 : 0;
	if (in->kind == DIALOG_TEXT)
		return dlg_vals_set(dlg, key, in->text);
	dlg_buf_printf(&number, "%lld", (long long)in->number);
	ret = number.failed ? -1 : dlg_vals_set(dlg, key, dlg_buf_view(&number));
	dlg_buf_free(&number);
	return ret;
}

int dialog_set_dlg_val(struct host_msg *msg, struct dlg_str key, const struct dialog_value *in)
{
	struct dlg_cell *dlg = current(msg, "$dlg_val");

	if (!dlg)
		return 0;
	if (store(dlg, key, in) < 0)
		return -1;
	dlg_db_changed(dlg);
	return 0;
}

struct dlg_str dialog_value_name(struct dlg_str written)
{
	struct dlg_str v = dlg_str_trim(written);

	if (v.len >= 2 && (v.s[0] == '"' || v.s[0] == '\'') && v.s[v.len - 1] == v.s[0])
		return (struct dlg_str){ v.s + 1, v.len - 2 };
	return v;
}

/* ---- statistics ---- */

static uint64_t total(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

uint64_t dialog_stat_active_dialogs(void)
{
	return dlg_state_active();
}

uint64_t dialog_stat_early_dialogs(void)
{
	return __atomic_load_n(&dlg_state_counters()->gauge[DLG_STATE_EARLY], __ATOMIC_RELAXED);
}

uint64_t dialog_stat_processed_dialogs(void)
{
	return total(&dlg_state_counters()->processed);
}

uint64_t dialog_stat_expired_dialogs(void)
{
	return total(&dlg_state_counters()->expired);
}

uint64_t dialog_stat_failed_dialogs(void)
{
	return total(&dlg_state_counters()->failed);
}

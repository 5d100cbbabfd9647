/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dlg_cdr: call records. One line of JSON per finished call, answered or not.
 *
 *     loadmodule "/usr/local/lib/kamailio/modules/dialog.so"
 *     loadmodule "/usr/local/lib/kamailio/modules/dlg_cdr.so"    # after dialog
 *     modparam("dlg_cdr", "file", "/var/log/kamailio/cdr.json")
 *     modparam("dlg_cdr", "values", "account;gateway")
 *     ...
 *     create_dialog();
 *     $dlg_val(account) = $au;
 *
 * Parameters
 *     file    absolute path; no default. Opened for each line, so renaming it (logrotate) needs
 *             no signal. Created with mode 0640. Each line is one write() to a file opened for
 *             appending: lines of several processes do not mix on a local file system. A line
 *             that cannot be written goes to the log.
 *     values  names of dialog values to include, separated by semicolons. Default: none.
 *
 * A line
 *     {"call_id":"1-42@192.0.2.1","h_entry":2573,"h_id":653954361,
 *      "from_uri":"sip:alice@example.com","from_tag":"a1",
 *      "to_uri":"sip:bob@example.com","to_tag":"b2",
 *      "caller_contact":"sip:alice@192.0.2.1:5080","callee_contact":"sip:bob@192.0.2.2:5060",
 *      "invite_time":"2026-11-23T16:15:28.004Z","answer_time":"2026-11-23T16:15:31.310Z",
 *      "end_time":"2026-11-23T16:16:01.311Z","setup_s":3.306,"talk_s":30.001,
 *      "result":"bye","ended_by":"caller","code":200,"flags":0,
 *      "values":{"account":"4711","gateway":null}}
 *
 *     result    bye        answered, ended by a BYE: a party's, or the proxy's (dlg_end_dlg)
 *               expired    a time limit was reached: of an answered call, or while it was set up
 *               cancelled  the caller gave up (487)
 *               failed     any other negative answer
 *     ended_by  caller, callee or proxy
 *     code      final status of the INVITE: 200 stands for any 2xx
 *     setup_s   from the INVITE to the answer, or to the end of a call that was not answered
 *     talk_s    from the answer to the end, 0 without an answer. Both are measured with the
 *               monotonic clock: setting the system's time does not change them.
 *     to_tag, callee_contact   of the callee that answered first, or else rang first
 *
 * answer_time is null without an answer, a value that the dialog does not have is null as well.
 * Bytes that are not valid UTF-8 are taken for Latin-1. INVITEs that the script did not forward
 * leave no line.
 *
 * The module knows nothing of dialogs but dlg_load.h, and is explained in doc/modules.md. */

#include "dlg_load.h"

#ifdef HOST_opensips
#include "dprint.h"
#include "mem/shm_mem.h"
#include "sr_module.h"
#else
#include "core/dprint.h"
#include "core/mem/shm_mem.h"
#include "core/sr_module.h"
#include "core/ver.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUES_MAX = 32 };

static char *file;
static char *values;
static const char *value_name[VALUES_MAX];
static unsigned value_count;

static struct dlg_api dlg;

/* ---- time ---- */

/* The same moment on two clocks: one to print, one to measure with. */
struct moment {
	int64_t wall_ms, mono_ms;
};

static int64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct moment now(void)
{
	return (struct moment){ clock_ms(CLOCK_REALTIME), clock_ms(CLOCK_MONOTONIC) };
}

/* A moment of which only the second is known. */
static struct moment moment_at(int64_t epoch_s)
{
	struct moment n = now();

	return (struct moment){ epoch_s * 1000, n.mono_ms - (n.wall_ms - epoch_s * 1000) };
}

/* A second that is known only as such may seem to lie before what came first. */
static struct moment not_before(struct moment first, struct moment m)
{
	return m.mono_ms < first.mono_ms ? first : m;
}

static int64_t ms_between(struct moment from, struct moment to)
{
	return to.mono_ms - from.mono_ms;
}

/* ---- what we remember of a call, in shared memory ---- */

struct record {
	struct moment invite, answer;
	int answered; /* `answer` is complete */
	int written;  /* the line is out, or there is none to be */
};

/* The answer's moment; a call may end in one process before another one has noted its answer. */
static struct moment answer_of(const struct record *r, const struct dlg_info *info)
{
	if (__atomic_load_n(&r->answered, __ATOMIC_ACQUIRE))
		return r->answer;
	return moment_at(info->start_time);
}

/* ---- a line in the making ---- */

/* Private memory that only grows, used again for each line. */
struct text {
	char *s;
	size_t len, size;
	int failed;
};

/* Room for `more` bytes. 0 or -1. */
static int reserve(struct text *t, size_t more)
{
	size_t size = t->size ? t->size : 2048;
	char *s;

	while (size - t->len < more)
		size *= 2;
	if (size == t->size)
		return 0;
	s = realloc(t->s, size);
	if (!s) {
		t->failed = 1;
		return -1;
	}
	t->s = s;
	t->size = size;
	return 0;
}

static void put(struct text *t, const char *s, size_t len)
{
	if (t->failed || reserve(t, len) < 0)
		return;
	memcpy(t->s + t->len, s, len);
	t->len += len;
}

static void __attribute__((format(printf, 2, 3))) putf(struct text *t, const char *fmt, ...)
{
	char out[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, sizeof(out), fmt, ap);
	va_end(ap);
	put(t, out, strlen(out));
}

/* How long a UTF-8 character that begins so would be; 0: none does. */
static size_t utf8_claims(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	return c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* Length of the UTF-8 character at `s` (RFC 3629), or 0 when it is none. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
	/* second byte, by length: below this the character could be written shorter */
	static const unsigned char least[] = { 0, 0, 0x80, 0xa0, 0x90 };
	size_t len = utf8_claims(s[0]);

	if (len < 2 || left < len)
		return len == 1;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xe0 || s[0] == 0xf0) && s[1] < least[len])
		return 0;
	if ((s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0; /* a surrogate, or beyond the last character */
	return len;
}

static int is_plain(unsigned char c)
{
	return c >= ' ' && c != 0x7f && c != '"' && c != '\\';
}

/* A JSON string of any bytes. */
static void put_string(struct text *t, const char *s, size_t len)
{
	put(t, "\"", 1);
	for (size_t i = 0; i < len;) {
		const unsigned char *at = (const unsigned char *)s + i;
		size_t n = utf8_length(at, len - i);

		if (n > 1 || (n == 1 && is_plain(*at)))
			put(t, s + i, n);
		else if (*at == '"' || *at == '\\')
			putf(t, "\\%c", *at);
		else
			putf(t, "\\u%04x", *at);
		i += n ? n : 1;
	}
	put(t, "\"", 1);
}

static void put_member(struct text *t, const char *name, const char *value)
{
	putf(t, "\"%s\":", name);
	put_string(t, value, strlen(value));
	put(t, ",", 1);
}

static void format_time(char out[32], struct moment m)
{
	time_t s = (time_t)(m.wall_ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&s, &tm);
	n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 32 - n, ".%03dZ", (int)(m.wall_ms % 1000));
}

static void put_time(struct text *t, const char *name, struct moment m)
{
	char time[32];

	format_time(time, m);
	put_member(t, name, time);
}

static void put_seconds(struct text *t, const char *name, int64_t ms)
{
	putf(t, "\"%s\":%lld.%03d,", name, (long long)(ms / 1000), (int)(ms % 1000));
}

/* ---- the members of a line ---- */

static void put_parties(struct text *t, const struct dlg_info *info)
{
	put_member(t, "call_id", info->call_id);
	putf(t, "\"h_entry\":%u,\"h_id\":%u,", info->h_entry, info->h_id);
	put_member(t, "from_uri", info->from_uri);
	put_member(t, "from_tag", info->from_tag);
	put_member(t, "to_uri", info->to_uri);
	put_member(t, "to_tag", info->to_tag);
	put_member(t, "caller_contact", info->caller_contact);
	put_member(t, "callee_contact", info->callee_contact);
}

static void put_times(struct text *t, const struct record *r, const struct dlg_info *info,
		      struct moment end)
{
	int answered = info->start_time != 0;
	struct moment answer = not_before(r->invite, answered ? answer_of(r, info) : end);

	end = not_before(answer, end);
	put_time(t, "invite_time", r->invite);
	if (answered)
		put_time(t, "answer_time", answer);
	else
		putf(t, "\"answer_time\":null,");
	put_time(t, "end_time", end);
	put_seconds(t, "setup_s", ms_between(r->invite, answer));
	put_seconds(t, "talk_s", ms_between(answer, end));
}

static const char *result(const struct dlg_info *info, int type)
{
	if (type == DLGCB_EXPIRED)
		return "expired";
	if (info->start_time)
		return "bye";
	return info->end_code == 487 ? "cancelled" : "failed";
}

static const char *ended_by(const struct dlg_info *info)
{
	if (info->ended_by == DLG_API_ENDED_BY_CALLER)
		return "caller";
	return info->ended_by == DLG_API_ENDED_BY_CALLEE ? "callee" : "proxy";
}

static void put_end(struct text *t, const struct dlg_info *info, int type)
{
	put_member(t, "result", result(info, type));
	put_member(t, "ended_by", ended_by(info));
	putf(t, "\"code\":%d,\"flags\":%u,", info->start_time ? 200 : info->end_code, info->flags);
}

/* The dialog's value of that name into `out`: its length, or -1. */
static long read_value(struct dlg_cell *d, const char *name, struct text *out)
{
	long len;

	do
		len = dlg.get_value(d, name, out->s, out->size);
	while (len >= 0 && (size_t)len >= out->size && reserve(out, (size_t)len + 1) == 0);
	return len >= 0 && (size_t)len < out->size ? len : -1;
}

static void put_values(struct text *t, struct dlg_cell *d)
{
	static struct text value;

	for (unsigned i = 0; i < value_count; i++) {
		long len = read_value(d, value_name[i], &value);

		put(t, ",", i > 0);
		put_string(t, value_name[i], strlen(value_name[i]));
		put(t, ":", 1);
		if (len < 0)
			put(t, "null", 4);
		else
			put_string(t, value.s, (size_t)len);
	}
}

/* ---- writing it ---- */

static int open_file(void)
{
	/* non-blocking: should it be a FIFO, nobody reading it must not stop calls */
	return open(file, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
}

static void write_line(const struct text *t)
{
	int fd = open_file();
	ssize_t n = fd < 0 ? -1 : write(fd, t->s, t->len);

	if (n != (ssize_t)t->len)
		LM_ERR("%s: %s; the record is: %.*s", file,
		       n < 0 ? strerror(errno) : "no space left", (int)t->len, t->s);
	if (fd >= 0)
		close(fd);
}

/* Fill *info; its texts live until the next call. 0 or -1. */
static int snapshot(struct dlg_cell *d, struct dlg_info *info)
{
	static struct text buf;
	size_t need;

	do
		need = dlg.get_info(d, info, buf.s, buf.size);
	while (need && reserve(&buf, need) == 0);
	return need ? -1 : 0;
}

static void write_record(struct dlg_cell *d, const struct record *r, const struct dlg_info *info,
			 int type)
{
	static struct text line;
	struct moment end = type == DLGCB_DESTROY ? moment_at(info->end_time) : now();

	line.len = 0;
	line.failed = 0;
	put(&line, "{", 1);
	put_parties(&line, info);
	put_times(&line, r, info, end);
	put_end(&line, info, type);
	putf(&line, "\"values\":{");
	put_values(&line, d);
	put(&line, "}}\n", 3);
	if (line.failed)
		LM_ERR("no memory for the record of call %s\n", info->call_id);
	else
		write_line(&line);
}

/* ---- what the dialog module tells ---- */

/* The call is over, or at the latest its dialog. An end that came before we could register, in
 * another process, is made up for by DLGCB_DESTROY. Nothing is due when the INVITE was never
 * forwarded. */
static void on_end(struct dlg_cell *d, int type, struct record *r)
{
	struct dlg_info info;

	if (__atomic_exchange_n(&r->written, 1, __ATOMIC_ACQ_REL))
		return;
	if (snapshot(d, &info) < 0)
		LM_ERR("no memory for the record of a call\n");
	else if (info.start_time || info.end_code)
		write_record(d, r, &info, type);
}

static void on_answer(struct record *r)
{
	r->answer = now();
	__atomic_store_n(&r->answered, 1, __ATOMIC_RELEASE);
}

/* dlg_list_ctx */
static void add_context(const struct record *r, void *mi)
{
	char invite[32], answer[32] = "none", line[96];

	format_time(invite, r->invite);
	if (__atomic_load_n(&r->answered, __ATOMIC_ACQUIRE))
		format_time(answer, r->answer);
	snprintf(line, sizeof(line), "invite=%s answer=%s", invite, answer);
	dlg.mi_add(mi, "cdr", line);
}

static void on_event(struct dlg_cell *d, int type, struct dlg_cb_params *params)
{
	struct record *r = *params->param;

	if (type == DLGCB_CONFIRMED)
		on_answer(r);
	else if (type == DLGCB_MI_CONTEXT)
		add_context(r, params->mi);
	else
		on_end(d, type, r);
}

static void free_record(void *param)
{
	shm_free(param);
}

static void on_created(struct dlg_cell *d, int type, struct dlg_cb_params *params)
{
	struct record *r = shm_malloc(sizeof(*r));

	(void)type;
	(void)params;
	if (!r) {
		LM_ERR("no shared memory: a call will have no record\n");
		return;
	}
	memset(r, 0, sizeof(*r));
	r->invite = now();
	if (dlg.register_dlgcb(d,
			       DLGCB_CONFIRMED | DLGCB_FAILED | DLGCB_TERMINATED | DLGCB_EXPIRED |
				       DLGCB_DESTROY | DLGCB_MI_CONTEXT,
			       on_event, r, free_record) < 0) {
		LM_ERR("no shared memory: a call will have no record\n");
		shm_free(r);
	}
}

/* ---- what Kamailio calls ---- */

/* Remove the blanks around a text, in place. */
static char *trimmed(char *s)
{
	size_t len;

	s += strspn(s, " \t");
	for (len = strlen(s); len && (s[len - 1] == ' ' || s[len - 1] == '\t'); len--)
		s[len - 1] = '\0';
	return s;
}

/* Cut "a; b c" into the names "a" and "b c", in place. 0, or -1 when there are too many. */
static int split_values(void)
{
	char *rest = values, *name;

	while ((name = strsep(&rest, ";"))) {
		name = trimmed(name);
		if (!*name)
			continue;
		if (value_count == VALUES_MAX)
			return -1;
		value_name[value_count++] = name;
	}
	return 0;
}

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
	if (!file || *file != '/') {
		LM_ERR("parameter file: an absolute path is needed\n");
		return -1;
	}
	if (split_values() < 0) {
		LM_ERR("parameter values: more than %d names\n", VALUES_MAX);
		return -1;
	}
	if (dlg_load_api(&dlg, find_dialog()) < 0 ||
	    dlg.register_dlgcb(NULL, DLGCB_CREATED, on_created, NULL, NULL) < 0) {
		LM_ERR("load the dialog module, of the same version, before this one\n");
		return -1;
	}
	return 0;
}

/* Privileges are dropped by now: can the file be written? */
static int try_file(void)
{
	int fd = open_file();

	if (fd < 0) {
		LM_ERR("parameter file: %s: %s\n", file, strerror(errno));
		return -1;
	}
	close(fd);
	return 0;
}

/* ---- what the host loads ---- */

#ifdef HOST_opensips

static int init_process(int rank)
{
	return rank == 1 ? try_file() : 0;
}

static const param_export_t params[] = {
	{ "file", STR_PARAM, &file },
	{ "values", STR_PARAM, &values },
	{ NULL, 0, NULL },
};

static const dep_export_t needs = {
	{ { MOD_TYPE_DEFAULT, "dialog", DEP_ABORT }, { MOD_TYPE_NULL, NULL, 0 } },
	{ { NULL, NULL } },
};

#pragma GCC visibility push(default)
extern const struct module_exports exports;
const struct module_exports exports = {
	.name = "dlg_cdr",
	.type = MOD_TYPE_DEFAULT,
	.ver_info = MODULE_VERSION,
	.dlflags = DEFAULT_DLFLAGS,
	.deps = &needs,
	.params = params,
	.init_f = init,
	.init_child_f = init_process,
};
#pragma GCC visibility pop

#else

static int init_process(int rank)
{
	return rank == PROC_INIT ? try_file() : 0;
}

static param_export_t params[] = {
	{ (char *)"file", PARAM_STRING, &file },
	{ (char *)"values", PARAM_STRING, &values },
	{ NULL, 0, NULL },
};

#pragma GCC visibility push(default)
MODULE_VERSION

extern struct module_exports exports;
struct module_exports exports = {
	.name = (char *)MOD_NAME,
	.dlflags = DEFAULT_DLFLAGS,
	.params = params,
	.init_mod_f = init,
	.init_child_f = init_process,
};
#pragma GCC visibility pop

#endif

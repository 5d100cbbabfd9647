/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole messages through the simulated proxy: the input is a list of steps, with foreign texts in
 * every field a message has. After each step the audit of the simulation must agree; a request that
 * the script refuses changes nothing; what we send is well formed; in the end nothing is left. */

#include "fuzz.h"
#include "../../dlg_mi.h"
#include "../../dlg_req_within.h"
#include "../../mi/fifo_out.h"
#include "../sim/sim_audit.h"
#include "../sim/sim_call.h"

#include <fcntl.h>
#include <unistd.h>

enum { CALLS = 2, TXS = 32, STEPS = 60, TEXTS = 16, TEXT_MAX = 120, HASH_SIZE = 4 };

static struct {
	struct dlg_str in;
	struct sim_call call[CALLS];
	struct {
		struct host_tx *t;
		unsigned call;
	} tx[TXS];
	unsigned txs, texts;
	char text[TEXTS][TEXT_MAX + 1]; /* of the current step */
} w;

/* ---- pieces of input ---- */

static unsigned below(unsigned n)
{
	return fuzz_byte(&w.in) % n;
}

/* Bytes as a proxy's parser would hand them over: no NUL and no line ends. */
static const char *foreign_text(void)
{
	char *out = w.text[w.texts++ % TEXTS];
	struct dlg_str v = fuzz_take(&w.in, below(TEXT_MAX + 1));

	for (size_t i = 0; i < v.len; i++)
		out[i] = strchr("\r\n", v.s[i]) ? '.' : v.s[i];
	out[v.len] = '\0';
	return out;
}

/* NULL stands for the honest text. */
static const char *maybe(unsigned bits, unsigned bit)
{
	return bits & 1u << bit ? foreign_text() : NULL;
}

static struct sim_call *any_call(unsigned *number)
{
	*number = below(CALLS);
	return &w.call[*number];
}

/* ---- transactions ---- */

static void forget_tx(unsigned i)
{
	struct host_tx *t = w.tx[i].t;

	for (unsigned c = 0; c < CALLS; c++) {
		for (int p = 0; p < SIM_PASSES; p++) {
			if (w.call[c].pass[p].invite == t)
				w.call[c].pass[p].invite = NULL;
		}
	}
	w.tx[i] = w.tx[--w.txs];
	sim_tx_free(t);
}

static void remember_tx(struct host_tx *t, unsigned call)
{
	if (!t)
		return;
	if (w.txs == TXS)
		forget_tx(0);
	w.tx[w.txs].t = t;
	w.tx[w.txs++].call = call;
}

/* ---- steps ---- */

/* What the script does with the dialog's values, flags and profiles; what was set is there. */
static void use_values(struct host_msg *msg)
{
	struct dlg_str name = dlg_str_of("n"), value = dlg_str_of(msg->field[SIM_CONTACT].s);
	struct dialog_value in = { .kind = DIALOG_TEXT, .text = value }, out;
	struct dialog_arg flag = { .number = SIM_BYE_FLAG };
	struct dialog_arg profile[2] = { { .profile = 0 }, { .given = 1, .text = value } };

	MUST(dialog_set_dlg_val(msg, name, &in) == 0 || dlg_handlers_current(msg, NULL));
	if (!dlg_handlers_current(msg, NULL))
		MUST(dialog_get_dlg_val(msg, name, &out) == 0 && out.kind == DIALOG_NULL);
	else if (dialog_set_dlg_val(msg, name, &in) == 0)
		MUST(dialog_get_dlg_val(msg, name, &out) == 0 && out.kind == DIALOG_TEXT &&
		     dlg_str_eq(out.text, value));
	if (dialog_fn_set_dlg_flag(msg, &flag) == 1)
		MUST(dialog_fn_is_dlg_flag_set(msg, &flag) == 1);
	if (dialog_fn_set_dlg_profile(msg, profile) == 1)
		MUST(dialog_fn_is_in_profile(msg, profile) == 1);
}

/* 0 stands for the honest number. */
static uint32_t any_cseq(void)
{
	static const uint32_t odd[] = { 1, 0x7fffffff, 0x80000000, UINT32_MAX - 1, UINT32_MAX };
	unsigned n = fuzz_byte(&w.in);

	return n < 128 ? 0 : n < 250 ? n - 127 : odd[n - 250 < 5 ? n - 250 : 4];
}

static void initial(void)
{
	static const enum sim_fate fates[] = {
		SIM_RELAY, SIM_RELAY, SIM_STATELESS, SIM_T_REPLY, SIM_DROP,
	};
	unsigned number, bits;
	struct sim_call *call = any_call(&number);
	struct sim_request r = { .method = HOST_INVITE, .initial = 1 };
	struct sim_script s = { .create = (enum sim_create)below(5),
				.record_route = (int)below(3) };
	const char *text;

	bits = fuzz_byte(&w.in);
	s.fate = fates[below(5)];
	r.pass = (int)below(SIM_PASSES);
	r.cseq = any_cseq();
	text = maybe(bits, 0);
	snprintf(call->routes, sizeof(call->routes), "%s", text ? text : "");
	r.contact = maybe(bits, 1);
	r.from_tag = maybe(bits, 2);
	r.call_id = maybe(bits, 3);
	r.retransmission = (bits & 0x70) == 0x70;
	s.extra = bits & 0x80 ? use_values : NULL;
	remember_tx(sim_step(call, &r, &s).tx, number);
}

/* A lifetime of at most 99 seconds: the end has to be waited for. */
static const char *lifetime(unsigned bits, unsigned bit)
{
	const char *text = maybe(bits, bit);

	return text && strlen(text) < 3 ? text : NULL;
}

static int refused(const struct sim_script *s, const struct sim_result *res)
{
	return !res->forwarded || (s->fate != SIM_RELAY && s->fate != SIM_STATELESS);
}

static void sequential(void)
{
	static const enum host_method methods[] = {
		HOST_BYE, HOST_ACK, HOST_INVITE, HOST_UPDATE, HOST_PRACK, HOST_OTHER, HOST_CANCEL,
	};
	unsigned number, bits, more;
	struct sim_call *call = any_call(&number);
	struct sim_request r = { .method = methods[below(7)], .dir = 1 + (enum dlg_dir)below(2) };
	struct sim_script s = { 0 };
	struct sim_result res;
	uint64_t before = sim_audit_fingerprint();

	bits = fuzz_byte(&w.in);
	more = fuzz_byte(&w.in);
	r.leg = (int)below(SIM_LEGS);
	r.cseq = any_cseq();
	r.ruri = maybe(bits, 0);
	r.contact = maybe(bits, 1);
	r.cookie = maybe(bits, 2);
	r.routes = maybe(bits, 3);
	r.from_tag = maybe(bits, 4);
	r.to_tag = maybe(bits, 5);
	r.call_id = maybe(bits, 6);
	r.timeout = lifetime(bits, 7);
	r.pass = more & 1;
	r.no_route = (more & 6) == 6;
	r.strict = (more & 24) == 24;
	s.validate = more >> 5 & 1;
	s.fate = (enum sim_fate)(more >> 6 ? below(5) : SIM_RELAY);
	res = sim_step(call, &r, &s);
	if (refused(&s, &res))
		MUST(sim_audit_fingerprint() == before);
	remember_tx(res.tx, number);
}

static void reply(void)
{
	static const int codes[] = { 100, 180, 183, 200, 202, 302, 408, 481, 487, 603 };
	unsigned i = below(TXS), leg = below(SIM_LEGS), bits = fuzz_byte(&w.in);
	int code = codes[below(10)];
	struct host_tx *t = i < w.txs ? w.tx[i].t : NULL;
	const char *tag = maybe(bits, 0), *routes = maybe(bits, 1), *contact = maybe(bits, 2);
	struct sim_call *call;

	if (!t || (t->final && (t->final >= 300 || code / 100 != 2)))
		return;
	call = &w.call[w.tx[i].call];
	if (tag)
		snprintf(call->leg[leg].tag, sizeof(call->leg[leg].tag), "%s", tag);
	snprintf(call->leg[leg].routes, sizeof(call->leg[leg].routes), "%s", routes ? routes : "");
	if (contact)
		sim_reply_from(call, t, (int)leg, code, contact);
	else
		sim_reply(call, t, (int)leg, code);
}

static void gone(void)
{
	unsigned i = below(TXS);

	if (i < w.txs)
		forget_tx(i);
}

/* An argument of a command: foreign, or what names a dialog. */
static const char *argument(unsigned kind, const struct dlg_cell *dlg)
{
	char *out = w.text[w.texts++ % TEXTS];

	if (!dlg || !kind)
		return foreign_text();
	if (kind == 1)
		snprintf(out, TEXT_MAX, "%.*s", DLG_STR_ARG(dlg_hash_text(dlg, DLG_CALL_ID)));
	else
		snprintf(out, TEXT_MAX, "%u", kind == 2 ? dlg->h_entry : dlg->h_id);
	return out;
}

static void command(void)
{
	static struct mi_fifo_out out;
	unsigned number, which = below(DLG_MI_N), n = below(4);
	const struct dlg_cell *dlg = sim_peek(any_call(&number));
	struct dlg_mi_args args = { .n = n };
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	for (unsigned i = 0; i < n; i++)
		args.arg[i] = dlg_str_of(argument(below(4), dlg));
	mi_fifo_out_init(&out, fd);
	dlg_mi_run(&dlg_mi_commands[which], &args, &out.out);
	mi_fifo_out_finish(&out);
	close(fd);
	if (which == DLG_MI_dlg_audit)
		MUST(!sim_violated());
}

static void faults(void)
{
	unsigned bits = fuzz_byte(&w.in);

	sim_faults_off();
	if (bits & 1)
		sim_faults.shm_allow = bits >> 4;
	if (bits & 2)
		sim_faults.send_fail_mask = (int)(bits >> 2);
}

static void outcome(void)
{
	static const int codes[] = { 200, 481, 408, 500 };

	sim_sent_all(codes[below(4)]);
}

static void wait_some(void)
{
	sim_run(1 + below(30));
}

/* ---- what we sent ---- */

static void check_sent(void)
{
	for (struct sim_sent *s = sim_sent_list(); s; s = s->next) {
		struct dlg_str headers = dlg_str_of(s->headers);

		MUST(dlg_req_within_headers_ok(headers));
		MUST(!headers.len || !memcmp(headers.s + headers.len - 2, "\r\n", 2));
		MUST(s->cseq && *s->target);
	}
}

/* ---- the whole ---- */

static void check(void)
{
	sim_audit();
	check_sent();
	if (sim_violated()) {
		fprintf(stderr, "violated: %s\n", sim_violated());
		abort();
	}
}

static uint32_t population(void)
{
	const struct dlg_counters *c = dlg_state_counters();
	uint32_t n = 0;

	for (int s = DLG_STATE_UNCONFIRMED; s < DLG_STATES; s++)
		n += c->gauge[s];
	return n;
}

static void start(void)
{
	static int started;

	if (!started) {
		dialog_conf.default_timeout = 60;
		dialog_conf.setup_timeout = 30;
		dialog_conf.ack_timeout = 10;
		MUST(sim_call_start(HASH_SIZE) == 0);
		started = 1;
	}
	sim_faults_off();
	sim_set_ms(86400000 + (host_mono_ms() - 86400000 + 999) / 1000 * 1000);
	sim_audit_begin();
	for (unsigned i = 0; i < CALLS; i++)
		sim_call_init(&w.call[i], i);
	w.txs = 0;
}

static void finish(void)
{
	sim_faults_off();
	while (w.txs)
		forget_tx(0);
	for (int i = 0; i < 300 && population(); i++) {
		sim_sent_all(408);
		sim_run(1);
	}
	sim_sent_all(408);
	check();
	sim_audit_end();
	check();
	sim_sent_clear();
	sim_log_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const steps[])(void) = {
		initial,    initial, reply,   reply,  reply,   sequential, sequential,
		sequential, gone,    command, faults, outcome, wait_some,
	};

	w.in = fuzz_text(data, size);
	start();
	dialog_conf.dlg_match_mode = (int)below(3);
	for (int i = 0; i < STEPS && w.in.len; i++) {
		steps[below(sizeof(steps) / sizeof(steps[0]))]();
		check();
	}
	finish();
	return 0;
}

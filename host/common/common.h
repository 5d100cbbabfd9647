/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADAPTER_COMMON_H
#define ADAPTER_COMMON_H
/* What the adapters share: they grew from the same proxy, whose parsers, script variables and
 * modules tm and rr are still much alike. These files are compiled anew for each host and include
 * its adapter.h, which evens out the rest and ends with this header.
 *
 *     process.c  memory, time, log       msg.c     reading messages
 *     vars.c     variables as such       args.c    arguments of script functions
 *     values.c   our pseudo-variables    send.c    requests of our own
 *     rr.c       Record-Route            tx.c      finding transactions
 *     frames.h   what a reply has open
 *
 * Each adapter brings, in files of the same names:
 *
 *     module.c   what the host loads: tables, init, processes, exit
 *     slot.c     the message in hand: its slot for the engine, and whether it was sent on
 *     tm.c       transactions            script.c  tables of script functions and variables
 *     commands.c management commands */

/* Views and the host's strings. A missing view becomes "", never NULL. The host does not write to
 * it. */
static inline str adapter_str(struct dlg_str v)
{
	return (str){ v.s ? (char *)v.s : (char *)"", v.s ? (int)v.len : 0 };
}

static inline struct dlg_str adapter_view(str s)
{
	if (!s.s || s.len <= 0)
		return DLG_STR_NONE;
	return (struct dlg_str){ s.s, (size_t)s.len };
}

/* ---- process.c ---- */

/* Let this process, one of the module's own, come after the SIP workers where there are too few
 * processors. Children inherit it. */
void adapter_step_back(void);

/* Milliseconds, at least 1, until a second of the monotonic clock has just begun, and `offset_ms`
 * of it have passed. */
unsigned adapter_to_next_second(unsigned offset_ms);

/* The offset of the second wheel's process: the first one has passed on to it by then what is due
 * in that second. */
enum { ADAPTER_SENDER_MS = 100 };

/* ---- slot.c ---- */

/* How a request begins on the wire: "ACK ". Longer methods are not told apart. */
struct adapter_method {
	unsigned len;
	char s[32];
};

static inline void adapter_method_note(struct adapter_method *m, str method)
{
	m->len = 0;
	if (method.len <= 0 || method.len >= (int)sizeof(m->s))
		return;
	memcpy(m->s, method.s, (size_t)method.len);
	m->s[method.len] = ' ';
	m->len = (unsigned)method.len + 1;
}

/* Nonzero when what is sent is a request of that method. */
static inline int adapter_method_begins(const struct adapter_method *m, const char *data, int len)
{
	return m->len && len > (int)m->len && !memcmp(data, m->s, m->len);
}

/* Register the script callbacks. 0, or -1 with one log line. Init phase. */
int adapter_slot_init(void);

/* Set while this process sends a request of our own, which is not the message in hand. */
extern int adapter_sending;

/* ---- tm.c ---- */

extern struct tm_binds adapter_tm;

/* Bind tm and register for new transactions. 0, or -1 with one log line. Init phase. */
int adapter_tm_init(void);

/* tm's callback for what the engine has attached to a transaction. */
void adapter_tm_event(struct cell *t, int type, struct tmcb_params *p);

/* One request of ours on its way. */
struct adapter_sent;

/* Let tm send a request within a dialog. Returns 0, and calls adapter_sent_done() and, when the
 * transaction is gone, adapter_sent_gone(); or -1: then neither. */
int adapter_tm_request(dlg_t *d, str *method, str *headers, struct adapter_sent *s);

/* ---- tx.c ---- */

/* The transaction tm works on in this process, or NULL. */
struct cell *adapter_tm_current(void);

/* What the engine has attached to that one, or NULL. `t` may be NULL, and is held by the caller. */
struct dlg_tx *adapter_tm_attached(const struct cell *t);

/* ---- slot.c, again ---- */

/* Nonzero when what is sent lets the request in hand pass: itself, or a 2xx to a BYE that has no
 * transaction, which tells its sender that the call is over. With a transaction tm reports that
 * 2xx, and may repeat it here for a retransmission. */
static inline int adapter_lets_pass(const struct adapter_method *m, const char *data, int len)
{
	static const char ok[] = "SIP/2.0 2";

	if (adapter_method_begins(m, data, len))
		return 1;
	return m->len == 4 && !memcmp(m->s, "BYE ", 4) && len >= (int)sizeof(ok) &&
	       !memcmp(data, ok, sizeof(ok) - 1) && !adapter_tm_current();
}

/* ---- send.c ---- */

/* The final status of a request: may be reported several times and at once in several processes. */
void adapter_sent_done(struct adapter_sent *s, int code);

/* Its transaction is gone, whether there was a final status or not. Frees it. */
void adapter_sent_gone(struct adapter_sent *s);

/* ---- rr.c ---- */

extern struct rr_binds adapter_rr;

/* Bind rr and register for requests with a Route of ours. 0, or -1 with one log line. Init
 * phase. */
int adapter_rr_init(void);

/* ---- vars.c ---- */

/* A text of the script: constant, or with pseudo-variables. */
struct adapter_text {
	char *written;       /* as given, not ours */
	pv_elem_t *model;    /* NULL: constant */
	int single;          /* one variable and nothing else */
	char number[24];     /* an integer value, printed */
};

/* Compile. 0, or -1 when a variable in it is unknown. `written` must stay valid. */
int adapter_text_init(struct adapter_text *t, char *written);
void adapter_text_free(struct adapter_text *t);

/* Evaluate. 0, or -1. *is_null is set when the text is a single variable that is null. The view is
 * valid until the message changes or a few more texts are evaluated. */
int adapter_text_get(struct host_msg *msg, struct adapter_text *t, struct dlg_str *out,
		     int *is_null);

/* The number that a value is. The hosts' integers have 32 bits and a sign: of $DLG_flags with flag
 * 31 the int is negative, and the host's text is not. */
int64_t adapter_number(const pv_value_t *v);

/* An output variable the host has parsed, which it keeps; NULL when it is none to write to. */
struct host_var *adapter_var_of_spec(const pv_spec_t *spec);

/* Give back what host_var_compile() or adapter_var_of_spec() returned. NULL is fine. */
void adapter_var_free(struct host_var *var);

/* ---- values.c ---- */

typedef int adapter_getter(struct host_msg *msg, struct dlg_str key, struct dialog_value *out);
typedef int adapter_setter(struct host_msg *msg, struct dlg_str key,
			   const struct dialog_value *in);

/* What the host's tables of variables ask for: parse the (name) part, get, set. As the host wants
 * it: 0 or more, or -1. */
int adapter_pv_parse(pv_spec_t *spec, const str *in);
int adapter_pv_get(adapter_getter *fn, struct sip_msg *msg, pv_param_t *param, pv_value_t *res);
int adapter_pv_set(adapter_setter *fn, struct sip_msg *msg, const pv_param_t *param,
		   const pv_value_t *val);

/* The functions for the host's table of variables: pv_get_<name>(), and pv_set_<name>() of those
 * that can be written, for DIALOG_VARIABLES(ADAPTER_PV_FUNCTIONS). */
#define ADAPTER_PV_SETTER_0(name)
#define ADAPTER_PV_SETTER_1(name)                                                               \
	static int pv_set_##name(struct sip_msg *msg, pv_param_t *param, int op, pv_value_t *val) \
	{                                                                                       \
		(void)op;                                                                       \
		return adapter_pv_set(dialog_set_##name, msg, param, val);                      \
	}
#define ADAPTER_PV_FUNCTIONS(name, named, writable)                                            \
	static int pv_get_##name(struct sip_msg *msg, pv_param_t *param, pv_value_t *res)      \
	{                                                                                      \
		return adapter_pv_get(dialog_get_##name, msg, param, res);                     \
	}                                                                                      \
	ADAPTER_PV_SETTER_##writable(name)

/* What stands in that table. */
#define ADAPTER_PV_SETF_0(name) NULL
#define ADAPTER_PV_SETF_1(name) pv_set_##name

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Caller and callee in one program, with a proxy between them that is to be measured.
 *
 *     load [options] PROXY:PORT
 *       -r RATE    start so many calls a second (300), whatever becomes of them
 *       -w CALLS   instead: always have so many calls in hand, as fast as the proxy goes
 *       -n CALLS   stop after so many calls; else after -b and -t
 *       -d MS      how long a call is up before its BYE (2000; with -w 0)
 *       -b SECONDS warm-up (3)
 *       -t SECONDS measured time (10)
 *       -i MS      send a request again after so long without answer (500)
 *       -g         the callee rings first: 180
 *       -o FILE    write a line for each answered INVITE: when it was sent, in seconds since 1970,
 *                  and the latency, whether measured or not
 *       -a         only answer, 200 to whatever comes: prints where, once; PROXY:0 is an address of
 *                  this program then
 *
 * A call is INVITE, 200, ACK, BYE, 200. The callee answers at once. Lines on stdout: "begin" and
 * "end" when the measured time does, then what was measured as JSON, times in microseconds; SIGTERM
 * ends it early. A latency is what the proxy took: from the caller's sending to the arrival of the
 * answer in the caller's socket by the kernel's stamp, less what the callee took. So this program's
 * own delays do not count. */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	SLOTS = 1 << 16,
	DATAGRAM = 8192,
	BRANCHES = 256,   /* longest route set */
	TRIES = 8,
	SAMPLES = 1 << 22,
	MS = 1000000,     /* in nanoseconds */
};

enum state { FREE, INVITED, UP, LEAVING };

struct call {
	struct call *next, **prev;  /* in a list of its due times */
	uint64_t due;
	uint64_t sent;              /* the request that waits for its answer */
	uint64_t callee_took;
	uint32_t serial;
	uint8_t state, tries, measured, provisional;
	char to_tag[32];
	char route[BRANCHES];
};

/* All in one list wait equally long, so that the first is always the next. */
struct list {
	struct call *first, **last;
	uint64_t wait;
};

struct text {
	const char *at;
	size_t len;
};

static struct {
	struct sockaddr_in proxy;
	double rate;
	unsigned window, number, hold_ms, retry_ms;
	double warm, seconds;
	int ring, answer_only;
	const char *log;
} opt = { .rate = 300, .hold_ms = 2000, .retry_ms = 500, .warm = 3, .seconds = 10 };

static struct side {
	int fd;
	struct sockaddr_in addr;
} caller, callee;

static struct call calls[SLOTS];
static uint32_t unused[SLOTS]; /* the slot freed first is used first */
static unsigned first_unused, n_unused;
static struct list retrying, holding;

static uint32_t next_serial = 1;
static uint64_t t_begin, t_end; /* of the measured time */
static int in_window;
static volatile sig_atomic_t stopped;
static FILE *log_file;
static struct {
	uint64_t started, answered, ended, refused, lost, retransmitted, acks, skipped;
	uint64_t requests; /* to the callee, ACKs left out */
	uint64_t finished; /* within the measured time, whenever started */
	uint64_t last_refusal; /* its code */
} count;
static uint32_t *setup_us, *teardown_us;
static size_t n_setup, n_teardown;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t); /* the clock of the kernel's stamps */
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- lists ---- */

static void list_add(struct list *l, struct call *c)
{
	c->due = now() + l->wait;
	c->next = NULL;
	c->prev = l->last;
	*l->last = c;
	l->last = &c->next;
}

static void list_remove(struct list *l, struct call *c)
{
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		l->last = c->prev;
}

static struct call *list_due(struct list *l, uint64_t t)
{
	struct call *c = l->first;

	if (!c || c->due > t)
		return NULL;
	list_remove(l, c);
	return c;
}

static struct call *slot_take(void)
{
	if (!n_unused)
		return NULL;
	n_unused--;
	return &calls[unused[first_unused++ % SLOTS]];
}

static void slot_free(struct call *c)
{
	c->state = FREE;
	unused[(first_unused + n_unused++) % SLOTS] = (uint32_t)(c - calls);
}

/* ---- messages ---- */

static int is_named(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	return len > n && !strncasecmp(line, name, n) && line[n] == ':';
}

/* The header that begins at or after `from`; its whole line, without line end. */
static struct text header(const char *from, const char *name)
{
	const char *end;

	for (; (end = strstr(from, "\r\n")) && end != from; from = end + 2)
		if (is_named(from, (size_t)(end - from), name))
			return (struct text){ from, (size_t)(end - from) };
	return (struct text){ NULL, 0 };
}

static struct text value(struct text line)
{
	const char *at = line.at ? memchr(line.at, ':', line.len) : NULL;

	if (!at)
		return (struct text){ "", 0 };
	for (at++; at < line.at + line.len && *at == ' ';)
		at++;
	return (struct text){ at, (size_t)(line.at + line.len - at) };
}

/* A message under construction. */
struct out {
	size_t len;
	char data[DATAGRAM];
};

static void put(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->data + o->len, sizeof(o->data) - o->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		o->len += (size_t)n;
	if (o->len >= sizeof(o->data)) {
		errno = EMSGSIZE;
		die("message");
	}
}

/* All headers of that name, in their order. */
static void put_headers(struct out *o, const char *msg, const char *name)
{
	for (struct text h = header(msg, name); h.at; h = header(h.at + h.len + 2, name))
		put(o, "%.*s\r\n", (int)h.len, h.at);
}

static void send_out(const struct side *from, const struct out *o, const struct sockaddr_in *to)
{
	if (sendto(from->fd, o->data, o->len, 0, (const struct sockaddr *)to, sizeof(*to)) < 0 &&
	    errno != EAGAIN && errno != ECONNREFUSED)
		die("sendto");
}

/* ---- the caller ---- */

static const char *where(const struct side *s)
{
	static char text[2][32];
	static int turn;
	char ip[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &s->addr.sin_addr, ip, sizeof(ip));
	turn = !turn;
	snprintf(text[turn], sizeof(text[turn]), "%s:%u", ip, ntohs(s->addr.sin_port));
	return text[turn];
}

static void request(const struct call *c, const char *method, unsigned cseq, unsigned branch)
{
	unsigned slot = (unsigned)(c - calls);
	struct out o = { 0 };

	put(&o, "%s sip:bob@%s SIP/2.0\r\n", method, where(&callee));
	put(&o, "Via: SIP/2.0/UDP %s;rport;branch=z9hG4bK-%x-%x-%x\r\n", where(&caller), slot,
	    c->serial, branch);
	put(&o, "%s%s%s", c->route[0] ? "Route: " : "", c->route, c->route[0] ? "\r\n" : "");
	put(&o, "Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@%s>;tag=a%x-%x\r\n",
	    where(&caller), slot, c->serial);
	put(&o, "To: <sip:bob@%s>%s%s\r\n", where(&callee), c->to_tag[0] ? ";tag=" : "", c->to_tag);
	put(&o, "Call-ID: %x-%x-%x@%s\r\nCSeq: %u %s\r\n", slot, c->serial, (unsigned)getpid(),
	    where(&caller), cseq, method);
	put(&o, "Contact: <sip:alice@%s>\r\nUser-Agent: load\r\nContent-Length: 0\r\n\r\n",
	    where(&caller));
	send_out(&caller, &o, &opt.proxy);
}

static void ask(struct call *c)
{
	if (c->state == INVITED)
		request(c, "INVITE", 1, 1);
	else
		request(c, "BYE", 2, 3);
	list_add(&retrying, c);
}

static void start_call(void)
{
	struct call *c = slot_take();

	if (!c) {
		count.skipped++;
		return;
	}
	memset(c, 0, sizeof(*c));
	c->serial = next_serial++;
	c->state = INVITED;
	c->measured = in_window;
	count.started += in_window;
	c->sent = now();
	ask(c);
}

static void hang_up(struct call *c)
{
	c->state = LEAVING;
	c->tries = c->provisional = 0;
	c->callee_took = 0;
	c->sent = now();
	ask(c);
}

static void end_call(struct call *c)
{
	slot_free(c);
	if (opt.window && (!opt.number || next_serial <= opt.number))
		start_call();
}

static void ask_again(struct call *c)
{
	if (++c->tries == TRIES) {
		count.lost++;
		end_call(c);
		return;
	}
	if (c->provisional) {
		list_add(&retrying, c);
		return;
	}
	count.retransmitted++;
	ask(c);
}

static void take_route(struct call *c, const char *msg)
{
	char text[BRANCHES];

	c->route[0] = '\0';
	for (struct text h = header(msg, "Record-Route"); h.at;
	     h = header(h.at + h.len + 2, "Record-Route")) { /* the last is our first */
		struct text v = value(h);

		snprintf(text, sizeof(text), "%s", c->route);
		if (snprintf(c->route, sizeof(c->route), "%.*s%s%s", (int)v.len, v.at,
			     text[0] ? ", " : "", text) >= (int)sizeof(c->route)) {
			errno = EMSGSIZE;
			die("route set");
		}
	}
}

static void take_to_tag(struct call *c, const char *msg)
{
	struct text to = header(msg, "To");
	const char *tag = to.at ? memmem(to.at, to.len, ";tag=", 5) : NULL;
	size_t len = tag ? (size_t)(to.at + to.len - tag - 5) : 0;

	if (len >= sizeof(c->to_tag))
		len = sizeof(c->to_tag) - 1;
	memcpy(c->to_tag, tag ? tag + 5 : "", len);
	c->to_tag[len] = '\0';
}

static void sample(uint32_t *list, size_t *n, const struct call *c, uint64_t arrived)
{
	uint64_t took = arrived - c->sent;

	took = took > c->callee_took ? took - c->callee_took : 0;
	if (log_file && list == setup_us)
		fprintf(log_file, "%.6f %u\n", (double)c->sent / 1e9, (unsigned)(took / 1000));
	if (c->measured && *n < SAMPLES)
		list[(*n)++] = (uint32_t)(took / 1000);
}

static void on_answer(struct call *c, const char *msg, uint64_t arrived)
{
	list_remove(&retrying, c);
	sample(setup_us, &n_setup, c, arrived);
	count.answered += c->measured;
	take_route(c, msg);
	take_to_tag(c, msg);
	c->state = UP;
	request(c, "ACK", 1, 2);
	if (opt.hold_ms)
		list_add(&holding, c);
	else
		hang_up(c);
}

static void on_refusal(struct call *c, const char *msg)
{
	list_remove(&retrying, c);
	count.refused++;
	count.last_refusal = (uint64_t)atoi(msg + 8);
	if (c->state == INVITED) {
		take_to_tag(c, msg);
		request(c, "ACK", 1, 1); /* RFC 3261 17.1.1.3 */
	}
	end_call(c);
}

static void on_bye_answer(struct call *c, uint64_t arrived)
{
	list_remove(&retrying, c);
	sample(teardown_us, &n_teardown, c, arrived);
	count.ended += c->measured;
	count.finished += in_window;
	end_call(c);
}

static struct call *call_of(const char *msg)
{
	struct text id = value(header(msg, "Call-ID"));
	unsigned slot, serial, pid;

	if (!id.at || sscanf(id.at, "%x-%x-%x@", &slot, &serial, &pid) != 3 || slot >= SLOTS ||
	    pid != (unsigned)getpid() || calls[slot].serial != serial || calls[slot].state == FREE)
		return NULL;
	return &calls[slot];
}

static void on_reply(const char *msg, uint64_t arrived)
{
	struct call *c = call_of(msg);
	struct text cseq = value(header(msg, "CSeq"));
	int code = atoi(msg + 8), of_invite = cseq.at && memmem(cseq.at, cseq.len, "INVITE", 6);

	if (!c)
		return;
	if (code < 200)
		c->provisional = 1;
	else if (c->state == (of_invite ? INVITED : LEAVING) && code >= 300)
		on_refusal(c, msg);
	else if (c->state == INVITED && of_invite)
		on_answer(c, msg, arrived);
	else if (c->state == LEAVING && !of_invite)
		on_bye_answer(c, arrived);
	else if (c->state == UP && of_invite)
		request(c, "ACK", 1, 2);
}

/* ---- the callee ---- */

static void reply(const char *msg, const char *status, const struct sockaddr_in *to)
{
	struct text h = header(msg, "To");
	struct out o = { 0 };

	put(&o, "SIP/2.0 %s\r\n", status);
	put_headers(&o, msg, "Via");
	put_headers(&o, msg, "Record-Route");
	put_headers(&o, msg, "From");
	put(&o, "%.*s%s\r\n", (int)h.len, h.at,
	    memmem(h.at, h.len, ";tag=", 5) ? "" : ";tag=b0b");
	put_headers(&o, msg, "Call-ID");
	put_headers(&o, msg, "CSeq");
	put(&o, "Contact: <sip:bob@%s>\r\nContent-Length: 0\r\n\r\n", where(&callee));
	send_out(&callee, &o, to);
}

static void on_request(const char *msg, uint64_t arrived, const struct sockaddr_in *from)
{
	struct call *c = call_of(msg);
	int invite = !strncmp(msg, "INVITE ", 7);

	if (!strncmp(msg, "ACK ", 4)) {
		count.acks++;
		return;
	}
	if (!header(msg, "To").at)
		return;
	count.requests++;
	if (invite && opt.ring)
		reply(msg, "180 Ringing", from);
	if (c)
		c->callee_took = now() - arrived; /* sending counts as the proxy's: it is the same for all */
	reply(msg, "200 OK", from);
}

/* ---- sockets ---- */

static uint64_t stamp_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct timespec t;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&t, CMSG_DATA(c), sizeof(t));
		return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	}
	return now();
}

/* Returns 0 when nothing is there. */
static int receive(const struct side *s)
{
	char data[DATAGRAM + 1], control[128];
	struct sockaddr_in from = { 0 };
	struct iovec iov = { data, DATAGRAM };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov,
			    .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(s->fd, &m, MSG_DONTWAIT);

	if (n < 0)
		return 0;
	data[n] = '\0';
	if (s == &callee)
		on_request(data, stamp_of(&m), &from);
	else if (!strncmp(data, "SIP/2.0 ", 8))
		on_reply(data, stamp_of(&m));
	return 1;
}

static void open_side(struct side *s)
{
	socklen_t len = sizeof(s->addr);
	int size = 4 << 20, yes = 1;

	s->fd = -1;
	if (s == &caller && opt.answer_only)
		return;
	s->addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = opt.proxy.sin_addr };
	s->fd = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(s->fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof(yes));
	if (bind(s->fd, (struct sockaddr *)&s->addr, sizeof(s->addr)) < 0 ||
	    getsockname(s->fd, (struct sockaddr *)&s->addr, &len) < 0)
		die("bind");
}

/* ---- the run ---- */

static uint64_t earlier(uint64_t t, const struct list *l)
{
	return l->first && l->first->due < t ? l->first->due : t;
}

static void wait_until(uint64_t t)
{
	struct pollfd p[2] = { { caller.fd, POLLIN, 0 }, { callee.fd, POLLIN, 0 } };
	uint64_t t0 = now(), left;
	struct timespec ts;

	left = earlier(earlier(t, &retrying), &holding);
	left = left > t0 ? left - t0 : 0;
	ts = (struct timespec){ (time_t)(left / 1000000000), (long)(left % 1000000000) };
	if (ppoll(p, 2, &ts, NULL) < 0 && errno != EINTR)
		die("ppoll");
	for (int i = 0; i < 64 && (receive(&callee) | receive(&caller)); i++) /* -1 has nothing */
		;
}

static void serve_lists(void)
{
	uint64_t t = now();
	struct call *c;

	while ((c = list_due(&holding, t)))
		hang_up(c);
	while ((c = list_due(&retrying, t)))
		ask_again(c);
}

static void say(const char *line)
{
	puts(line);
	fflush(stdout);
}

/* Nonzero while new calls are to be started. */
static int going_on(uint64_t t)
{
	if (!in_window && t >= t_begin && t < t_end) {
		in_window = 1;
		say("begin");
	}
	if (opt.number && !stopped)
		return next_serial <= opt.number;
	return t < t_end && !stopped;
}

static void run(void)
{
	uint64_t start = now(), next = start, t = start;

	t_begin = start + (uint64_t)(opt.warm * 1e9);
	t_end = opt.number ? UINT64_MAX : t_begin + (uint64_t)(opt.seconds * 1e9);
	for (; going_on(t); t = now()) {
		for (; !opt.window && next <= t && going_on(t);
		     next += (uint64_t)(1e9 / opt.rate))
			start_call();
		while (opt.window && SLOTS - n_unused < opt.window && going_on(t))
			start_call();
		wait_until(opt.window ? t + 10 * MS : next);
		serve_lists();
	}
}

static void answer(void)
{
	say(where(&callee));
	while (!stopped)
		wait_until(now() + 100 * MS);
}

/* Let the calls that are up come to their end, at most a while. */
static void drain(void)
{
	uint64_t end = now() + (uint64_t)opt.hold_ms * MS + (uint64_t)TRIES * opt.retry_ms * MS;

	opt.window = 0;
	while (n_unused < SLOTS && now() < end) {
		wait_until(now() + 100 * MS);
		serve_lists();
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_percentiles(const char *name, uint32_t *list, size_t n)
{
	static const double q[] = { 0.5, 0.95, 0.99, 1 };
	static const char *const label[] = { "p50", "p95", "p99", "max" };

	qsort(list, n, sizeof(*list), by_size);
	printf(", \"%s\": {\"n\": %zu", name, n);
	for (int i = 0; n && i < 4; i++)
		printf(", \"%s\": %u", label[i], list[(size_t)((double)(n - 1) * q[i])]);
	printf("}");
}

static void print_result(double seconds)
{
	printf("{\"seconds\": %.6f, \"calls\": %llu, \"per_second\": %.2f", seconds,
	       (unsigned long long)count.finished, (double)count.finished / seconds);
#define COUNT(name) printf(", \"" #name "\": %llu", (unsigned long long)count.name)
	COUNT(started);
	COUNT(answered);
	COUNT(ended);
	COUNT(refused);
	COUNT(last_refusal);
	COUNT(lost);
	COUNT(retransmitted);
	COUNT(acks);
	COUNT(requests);
	COUNT(skipped);
#undef COUNT
	printf(", \"left\": %u", SLOTS - n_unused);
	print_percentiles("setup", setup_us, n_setup);
	print_percentiles("teardown", teardown_us, n_teardown);
	printf("}\n");
}

static struct sockaddr_in address(char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	char *colon = text ? strrchr(text, ':') : NULL;

	if (colon)
		*colon = '\0';
	if (!colon || inet_pton(AF_INET, text, &a.sin_addr) != 1) {
		fprintf(stderr, "usage: load [-r RATE | -w CALLS] [-n CALLS] [-d MS] [-b SECONDS] "
				"[-t SECONDS] [-i MS] [-g] [-o FILE] PROXY:PORT | load -a IP:0\n");
		exit(2);
	}
	a.sin_port = htons((uint16_t)atoi(colon + 1));
	return a;
}

static void parse(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "r:w:n:d:b:t:i:go:a")) >= 0) {
		switch (o) {
		case 'r': opt.rate = atof(optarg); break;
		case 'w': opt.window = (unsigned)atoi(optarg); opt.hold_ms = 0; break;
		case 'n': opt.number = (unsigned)atoi(optarg); break;
		case 'd': opt.hold_ms = (unsigned)atoi(optarg); break;
		case 'b': opt.warm = atof(optarg); break;
		case 't': opt.seconds = atof(optarg); break;
		case 'i': opt.retry_ms = (unsigned)atoi(optarg); break;
		case 'g': opt.ring = 1; break;
		case 'o': opt.log = optarg; break;
		case 'a': opt.answer_only = 1; break;
		default: address(NULL);
		}
	}
	opt.proxy = address(argv[optind]);
	if (opt.rate <= 0 || opt.window > SLOTS / 2) {
		fprintf(stderr, "load: a rate above 0, please, and at most %d calls\n", SLOTS / 2);
		exit(2);
	}
}

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void prepare(void)
{
	signal(SIGTERM, stop);
	log_file = opt.log ? fopen(opt.log, "w") : NULL;
	if (opt.log && !log_file)
		die(opt.log);
	setup_us = malloc(SAMPLES * sizeof(*setup_us));
	teardown_us = malloc(SAMPLES * sizeof(*teardown_us));
	if (!setup_us || !teardown_us)
		die("memory");
	for (n_unused = 0; n_unused < SLOTS; n_unused++)
		unused[n_unused] = n_unused;
	retrying = (struct list){ .last = &retrying.first, .wait = (uint64_t)opt.retry_ms * MS };
	holding = (struct list){ .last = &holding.first, .wait = (uint64_t)opt.hold_ms * MS };
	open_side(&caller);
	open_side(&callee);
}

int main(int argc, char **argv)
{
	uint64_t t;

	parse(argc, argv);
	prepare();
	if (opt.answer_only) {
		answer();
		print_result(1);
		return 0;
	}
	run();
	in_window = 0;
	t = now();
	say("end");
	drain();
	print_result((double)(t - t_begin) / 1e9);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A lossy stretch of network between SIP agents and a proxy, for the load test.
 *
 *     relay SEED LOSS% DUP% PROXY:PORT [LISTEN:PORT AGENT:PORT]...
 *
 * Each pair is one agent. What arrives on LISTEN from the proxy goes to the agent, anything else
 * to the proxy, both from LISTEN, so that each end takes the relay for the other. Of all
 * datagrams LOSS percent are dropped and DUP percent are sent twice, half of them at once, the
 * others some milliseconds later and thus behind their successors. On SIGTERM or SIGINT prints
 * what it did, and how many calls the proxy was asked for: different Call-IDs of INVITEs that
 * were passed on to it. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS_MAX = 8, LATE_MAX = 4096, DATAGRAM_MAX = 65536, BURST = 64, CALLS_MAX = 1 << 21 };

struct pair {
	int fd;
	struct sockaddr_in agent;
};

/* A duplicate waiting for its time. */
struct late {
	uint64_t due;
	int fd;
	struct sockaddr_in to;
	size_t len;
	char *data;
};

static struct pair pairs[PAIRS_MAX];
static int n_pairs;
static struct late late[LATE_MAX];
static int n_late;
static struct sockaddr_in proxy;
static unsigned loss, doubling;
static uint64_t rng;
static unsigned long passed, lost, doubled, calls;
static uint64_t call_seen[CALLS_MAX]; /* hashes of Call-IDs, open addressing */
static volatile sig_atomic_t over;

static void on_signal(int sig)
{
	(void)sig;
	over = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* xorshift64*: the same seed gives the same fates in the same order. */
static unsigned percent(void)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return (unsigned)((rng * 2685821657736338717ull >> 33) % 100);
}

static struct sockaddr_in address(char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	char *colon = strrchr(text, ':');

	if (!colon) {
		fprintf(stderr, "relay: %s: want address:port\n", text);
		exit(2);
	}
	*colon = '\0';
	a.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, text, &a.sin_addr) != 1) {
		fprintf(stderr, "relay: %s: no address\n", text);
		exit(2);
	}
	return a;
}

static void add_pair(char *listen, char *agent)
{
	struct sockaddr_in a = address(listen);
	int size = 8 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		perror("relay: bind");
		exit(1);
	}
	pairs[n_pairs].fd = fd;
	pairs[n_pairs++].agent = address(agent);
}

static void send_one(int fd, const char *data, size_t len, const struct sockaddr_in *to)
{
	if (sendto(fd, data, len, 0, (const struct sockaddr *)to, sizeof(*to)) < 0)
		perror("relay: sendto");
}

static void send_later(int fd, const char *data, size_t len, const struct sockaddr_in *to)
{
	struct late *l = &late[n_late];

	if (n_late == LATE_MAX || !(l->data = malloc(len ? len : 1))) {
		send_one(fd, data, len, to);
		return;
	}
	memcpy(l->data, data, len);
	l->len = len;
	l->fd = fd;
	l->to = *to;
	l->due = now_ms() + 1 + percent() / 4;
	n_late++;
}

static void send_due(void)
{
	uint64_t now = now_ms();

	for (int i = 0; i < n_late;) {
		if (late[i].due > now) {
			i++;
			continue;
		}
		send_one(late[i].fd, late[i].data, late[i].len, &late[i].to);
		free(late[i].data);
		late[i] = late[--n_late];
	}
}

static uint64_t hash(const char *s, size_t len)
{
	uint64_t h = 14695981039346656037ull; /* FNV-1a */

	while (len--)
		h = (h ^ (unsigned char)*s++) * 1099511628211ull;
	return h ? h : 1;
}

/* Count the Call-ID of an INVITE that has no To tag, once. */
static void note_call(const char *data, size_t len)
{
	const char *id = memmem(data, len, "\r\nCall-ID: ", 11);
	const char *to = memmem(data, len, "\r\nTo: ", 6);
	const char *end = data + len, *id_end, *to_end;
	uint64_t h;
	size_t i;

	if (len < 7 || memcmp(data, "INVITE ", 7) || !id || !to)
		return;
	id_end = memmem(id + 2, (size_t)(end - id - 2), "\r\n", 2);
	to_end = memmem(to + 2, (size_t)(end - to - 2), "\r\n", 2);
	if (!id_end || !to_end || memmem(to, (size_t)(to_end - to), ";tag=", 5))
		return;
	h = hash(id, (size_t)(id_end - id));
	for (i = h % CALLS_MAX; call_seen[i] && call_seen[i] != h; i = (i + 1) % CALLS_MAX)
		;
	if (call_seen[i] == h || calls >= CALLS_MAX / 2)
		return;
	call_seen[i] = h;
	calls++;
}

/* One datagram's fate. Keep-alives (four bytes and less) pass. */
static void pass(const struct pair *p, const char *data, size_t len, const struct sockaddr_in *from)
{
	int from_proxy = from->sin_port == proxy.sin_port
			 && from->sin_addr.s_addr == proxy.sin_addr.s_addr;
	const struct sockaddr_in *to = from_proxy ? &p->agent : &proxy;

	if (percent() < loss) {
		lost++;
		return;
	}
	passed++;
	if (!from_proxy)
		note_call(data, len);
	send_one(p->fd, data, len, to);
	if (percent() >= doubling)
		return;
	doubled++;
	if (percent() < 50)
		send_one(p->fd, data, len, to);
	else
		send_later(p->fd, data, len, to);
}

static void drain(const struct pair *p)
{
	static char buf[DATAGRAM_MAX];

	for (int i = 0; i < BURST; i++) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		ssize_t len = recvfrom(p->fd, buf, sizeof(buf), MSG_DONTWAIT,
				       (struct sockaddr *)&from, &size);
		if (len < 0)
			return;
		pass(p, buf, (size_t)len, &from);
	}
}

int main(int argc, char **argv)
{
	struct pollfd fds[PAIRS_MAX];

	if (argc < 7 || argc % 2 == 0 || (argc - 5) / 2 > PAIRS_MAX) {
		fprintf(stderr, "usage: relay SEED LOSS%% DUP%% PROXY:PORT"
				" [LISTEN:PORT AGENT:PORT]...\n");
		return 2;
	}
	rng = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15ull | 1;
	loss = (unsigned)atoi(argv[2]);
	doubling = (unsigned)atoi(argv[3]);
	proxy = address(argv[4]);
	for (int i = 5; i + 1 < argc; i += 2)
		add_pair(argv[i], argv[i + 1]);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (int i = 0; i < n_pairs; i++)
		fds[i] = (struct pollfd){ .fd = pairs[i].fd, .events = POLLIN };
	printf("ready\n");
	fflush(stdout);
	while (!over) {
		if (poll(fds, (nfds_t)n_pairs, n_late ? 2 : 200) < 0 && errno != EINTR)
			break;
		for (int i = 0; i < n_pairs; i++)
			if (fds[i].revents & POLLIN)
				drain(&pairs[i]);
		send_due();
	}
	printf("passed %lu lost %lu doubled %lu calls %lu\n", passed, lost, doubled, calls);
	return 0;
}

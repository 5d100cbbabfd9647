/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A slow stretch of network between a proxy and its database.
 *
 *     delay MICROSECONDS TO_ADDRESS:PORT
 *
 * Listens on a free port of 127.0.0.1, which it prints, and passes on what comes in over TCP, in
 * both directions, so much later. Bandwidth stays what it is: only the way becomes longer. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIPES = 256, CHUNK = 65536 };

struct chunk {
	struct chunk *next;
	uint64_t due;
	size_t len, sent;
	char data[];
};

/* One direction of a connection. Pipes 2n and 2n+1 belong together. */
static struct pipe {
	int from, to;       /* -1: not in use */
	int ended;          /* nothing more comes */
	struct chunk *first, **last;
} pipes[PIPES];

static uint64_t wait_ns;
static struct sockaddr_in target;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void forget(struct pipe *p)
{
	while (p->first) {
		struct chunk *c = p->first;

		p->first = c->next;
		free(c);
	}
	p->from = p->to = -1;
}

static void hang_up(struct pipe *p)
{
	struct pipe *other = &pipes[(p - pipes) ^ 1];

	close(p->from);
	close(p->to);
	forget(p);
	forget(other);
}

static void set_up(struct pipe *p, int from, int to)
{
	int yes = 1;

	*p = (struct pipe){ .from = from, .to = to, .last = &p->first };
	setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

static void take_connection(int listener)
{
	int a = accept(listener, NULL, NULL), b = socket(AF_INET, SOCK_STREAM, 0), i = 0;

	if (a < 0 || b < 0)
		die("accept");
	while (i < PIPES && pipes[i].from >= 0)
		i += 2;
	if (i == PIPES || connect(b, (struct sockaddr *)&target, sizeof(target)) < 0) {
		close(a);
		close(b);
		return;
	}
	set_up(&pipes[i], a, b);
	set_up(&pipes[i + 1], b, a);
}

static void take_data(struct pipe *p)
{
	struct chunk *c = malloc(sizeof(*c) + CHUNK);
	ssize_t n;

	if (!c)
		die("memory");
	n = recv(p->from, c->data, CHUNK, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		free(c);
		return;
	}
	if (n <= 0)
		p->ended = 1;
	*c = (struct chunk){ .due = now() + wait_ns, .len = n > 0 ? (size_t)n : 0 };
	*p->last = c;
	p->last = &c->next;
}

/* Give what is due; an empty piece is the end of the connection. */
static void give_data(struct pipe *p)
{
	struct chunk *c;

	while ((c = p->first) && c->due <= now()) {
		ssize_t n = send(p->to, c->data + c->sent, c->len - c->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 || !c->len) {
			hang_up(p);
			return;
		}
		c->sent += (size_t)n;
		if (c->sent < c->len)
			continue;
		p->first = c->next;
		if (!p->first)
			p->last = &p->first;
		free(c);
	}
}

static uint64_t next_due(void)
{
	uint64_t due = UINT64_MAX, t = now();

	for (int i = 0; i < PIPES; i++)
		if (pipes[i].from >= 0 && pipes[i].first && pipes[i].first->due < due)
			due = pipes[i].first->due;
	if (due == UINT64_MAX)
		return 1000000000;
	return due > t ? due - t : 100000; /* due already: the receiver's buffer is full */
}

static void one_turn(int listener)
{
	struct pollfd fds[PIPES + 1];
	uint64_t left = next_due();
	struct timespec ts = { (time_t)(left / 1000000000), (long)(left % 1000000000) };

	for (int i = 0; i < PIPES; i++)
		fds[i] = (struct pollfd){ pipes[i].ended ? -1 : pipes[i].from, POLLIN, 0 };
	fds[PIPES] = (struct pollfd){ listener, POLLIN, 0 };
	if (ppoll(fds, PIPES + 1, &ts, NULL) < 0 && errno != EINTR)
		die("ppoll");
	for (int i = 0; i < PIPES; i++)
		if (fds[i].fd >= 0 && fds[i].revents)
			take_data(&pipes[i]);
	for (int i = 0; i < PIPES; i++)
		if (pipes[i].from >= 0)
			give_data(&pipes[i]);
	if (fds[PIPES].revents)
		take_connection(listener);
}

static int listen_somewhere(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		die("listen");
	printf("%u\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	char *colon = argc == 3 ? strrchr(argv[2], ':') : NULL;
	int listener;

	if (!colon) {
		fprintf(stderr, "usage: delay MICROSECONDS ADDRESS:PORT\n");
		return 2;
	}
	*colon = '\0';
	wait_ns = strtoull(argv[1], NULL, 10) * 1000;
	target.sin_family = AF_INET;
	target.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, argv[2], &target.sin_addr) != 1)
		die(argv[2]);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < PIPES; i++)
		pipes[i].from = pipes[i].to = -1;
	listener = listen_somewhere();
	for (;;)
		one_turn(listener);
}

/* SPDX-License-Identifier: MIT
 *
 * A TCP relay on loopback that delays every byte by a fixed time and keeps the bandwidth.
 *
 *   delay_proxy LISTEN_PORT TARGET_PORT ONE_WAY_MS     prints "listening on 127.0.0.1:PORT"; LISTEN_PORT 0 picks one
 *
 * Each direction of a connection is a reader that stamps what arrives and a writer that sends a piece when its time has
 * come, with a bounded ring of pieces between them (64 MiB: more than any window that the clients under test may use).
 * A second of idle wire costs nothing: both sides sleep.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, RING_BYTES = 64 * 1024 * 1024, RING_PIECES = 8192 };

struct piece {
	size_t start, length;	/* in the ring's bytes */
	uint64_t due_ns;
};

struct direction {
	int from, to;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *bytes;
	size_t head, used;	/* of bytes: where the next piece goes, how many are taken */
	struct piece pieces[RING_PIECES];
	size_t first, count;	/* of pieces */
	bool ended;		/* nothing more will come */
	bool broken;		/* nothing more can be sent */
};

struct pair {
	struct direction there, back;
};

static uint64_t delay_ns;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The longest run of free bytes at the ring's head, at most a PIECE; waits for one. 0: the writer is gone. */
static size_t room(struct direction *d)
{
	size_t run = 0;

	pthread_mutex_lock(&d->lock);
	while (!d->broken && (d->used == RING_BYTES || d->count == RING_PIECES))
		pthread_cond_wait(&d->changed, &d->lock);
	if (!d->broken) {
		run = RING_BYTES - d->used;
		if (run > RING_BYTES - d->head)
			run = RING_BYTES - d->head;
		if (run > PIECE)
			run = PIECE;
	}
	pthread_mutex_unlock(&d->lock);
	return run;
}

static void *read_side(void *argument)
{
	struct direction *d = argument;

	for (;;) {
		size_t space = room(d);
		ssize_t got = space ? recv(d->from, d->bytes + d->head, space, 0) : 0;

		if (got < 0 && errno == EINTR)
			continue;
		pthread_mutex_lock(&d->lock);
		if (got > 0) {
			d->pieces[(d->first + d->count++) % RING_PIECES] =
				(struct piece){ d->head, (size_t)got, now_ns() + delay_ns };
			d->head = (d->head + (size_t)got) % RING_BYTES;
			d->used += (size_t)got;
		} else {
			d->ended = true;
		}
		pthread_cond_signal(&d->changed);
		pthread_mutex_unlock(&d->lock);
		if (got <= 0)
			return NULL;
	}
}

static bool send_all(int to, const uint8_t *bytes, size_t length)
{
	while (length) {
		ssize_t sent = send(to, bytes, length, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		bytes += sent;
		length -= (size_t)sent;
	}
	return true;
}

static void write_side(struct direction *d)
{
	for (;;) {
		struct piece piece;
		struct timespec due;
		bool sent;

		pthread_mutex_lock(&d->lock);
		while (!d->count && !d->ended)
			pthread_cond_wait(&d->changed, &d->lock);
		if (!d->count) {
			pthread_mutex_unlock(&d->lock);
			break;
		}
		piece = d->pieces[d->first];
		pthread_mutex_unlock(&d->lock);

		due.tv_sec = (time_t)(piece.due_ns / 1000000000u);
		due.tv_nsec = (long)(piece.due_ns % 1000000000u);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
			;
		sent = send_all(d->to, d->bytes + piece.start, piece.length);

		pthread_mutex_lock(&d->lock);
		d->first = (d->first + 1) % RING_PIECES;
		d->count--;
		d->used -= piece.length;
		d->broken = !sent;
		pthread_cond_signal(&d->changed);
		pthread_mutex_unlock(&d->lock);
		if (!sent)
			break;
	}
	shutdown(d->to, SHUT_WR);
	shutdown(d->from, SHUT_RD);
}

static void *run_direction(void *argument)
{
	struct direction *d = argument;
	pthread_t reader;

	if (pthread_create(&reader, NULL, read_side, d) == 0) {
		write_side(d);
		pthread_join(reader, NULL);
	}
	return NULL;
}

static void *run_pair(void *argument)
{
	struct pair *pair = argument;
	pthread_t back;

	if (pthread_create(&back, NULL, run_direction, &pair->back) == 0) {
		run_direction(&pair->there);
		pthread_join(back, NULL);
	}
	close(pair->there.from);
	close(pair->there.to);
	free(pair->there.bytes);
	free(pair->back.bytes);
	free(pair);
	return NULL;
}

static bool prepare(struct direction *d, int from, int to)
{
	d->from = from;
	d->to = to;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	d->bytes = malloc(RING_BYTES);
	return d->bytes != NULL;
}

static int tcp_socket(void)
{
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static const char *const choices[] = { "cubic", "reno" };

	if (s < 0)
		return -1;
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	for (size_t i = 0; i < 2; i++)	/* the machine's default may be one that paces, which loopback suffers from */
		if (setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, choices[i], 5 - (socklen_t)i) == 0)
			break;
	return s;
}

static void serve(int client, uint16_t target)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(target),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int server = tcp_socket(), one = 1;
	struct pair *pair = calloc(1, sizeof *pair);
	pthread_t thread;

	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (pair && server >= 0 && connect(server, (struct sockaddr *)&to, sizeof to) == 0 &&
	    prepare(&pair->there, client, server) && prepare(&pair->back, server, client) &&
	    pthread_create(&thread, NULL, run_pair, pair) == 0) {
		pthread_detach(thread);
		return;
	}
	close(client);
	if (server >= 0)
		close(server);
	if (pair) {
		free(pair->there.bytes);
		free(pair->back.bytes);
		free(pair);
	}
}

int main(int count, char **arguments)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof at;
	int listener = tcp_socket(), one = 1;

	if (count != 4) {
		fprintf(stderr, "usage: %s LISTEN_PORT TARGET_PORT ONE_WAY_MS\n", arguments[0]);
		return 2;
	}
	delay_ns = (uint64_t)(atof(arguments[3]) * 1e6);
	at.sin_port = htons((uint16_t)atoi(arguments[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 256) ||
	    getsockname(listener, (struct sockaddr *)&at, &length)) {
		perror("delay_proxy");
		return 1;
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (client >= 0)
			serve(client, (uint16_t)atoi(arguments[2]));
	}
}

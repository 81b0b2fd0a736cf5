// SPDX-License-Identifier: MIT
/*
 * The yardstick: the least that a program can do to read another machine's file over a socket.
 *
 *   yardstick serve FILE                               a thread per connection, sendfile; prints its port
 *   yardstick read PORT SIZE TOTAL ORDER FILE_BYTES    asks for SIZE bytes at a time until TOTAL have come
 *   yardstick bulk PORT SIZE TOTAL ORDER FILE_BYTES    the same bytes, all asked for before the first has come
 *   yardstick file PATH SIZE TOTAL ORDER FILE_BYTES    the same reads by read(2) and pread(2) on a path
 *   yardstick calls PATH COUNT                         COUNT times read(fd, buffer, 1)
 *
 * ORDER is sequential or random.  Each reader prints "SECONDS CPU_SECONDS READS CHECKSUM".
 * A request is offset (8 bytes) and count (4), a reply count (4) and the data, in this machine's byte order:
 * both ends are always the same machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SENDFILE_FROM (32 * 1024)
#define MAX_SIZE (4 * 1024 * 1024)

struct request {
	uint64_t offset;
	uint32_t count;
} __attribute__((packed));

static int served;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void tune(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	/* Over loopback bbr paces, and what has begun with it goes on; an ordinary user may not pick cubic everywhere. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) < 0)
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static int receive_all(int fd, void *buffer, size_t count)
{
	char *at = buffer;

	while (count) {
		ssize_t got = recv(fd, at, count, MSG_WAITALL);

		if (got <= 0)
			return -1;
		at += got;
		count -= (size_t)got;
	}
	return 0;
}

static int answer(int fd, const struct request *request, char *buffer)
{
	off_t offset = (off_t)request->offset;
	uint32_t count = request->count;
	struct stat st;

	if (count < SENDFILE_FROM) {
		ssize_t got = pread(served, buffer + 4, count, offset);

		if (got < 0)
			return -1;
		count = (uint32_t)got;
		memcpy(buffer, &count, 4);
		return send(fd, buffer, 4 + count, MSG_NOSIGNAL) == (ssize_t)(4 + count) ? 0 : -1;
	}
	if (fstat(served, &st) < 0)
		return -1;
	if (offset >= st.st_size)
		count = 0;
	else if (st.st_size - offset < (off_t)count)
		count = (uint32_t)(st.st_size - offset);
	if (send(fd, &count, 4, MSG_NOSIGNAL | (count ? MSG_MORE : 0)) != 4)
		return -1;
	while (count) {
		ssize_t sent = sendfile(fd, served, &offset, count);

		if (sent <= 0)
			return -1;
		count -= (uint32_t)sent;
	}
	return 0;
}

static void *connection(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char *buffer = malloc(4 + SENDFILE_FROM);
	struct request request;

	tune(fd);
	while (buffer && receive_all(fd, &request, sizeof request) == 0 && request.count <= MAX_SIZE)
		if (answer(fd, &request, buffer) < 0)
			break;
	free(buffer);
	close(fd);
	return NULL;
}

static _Noreturn void serve(const char *path)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	served = open(path, O_RDONLY | O_CLOEXEC);
	if (served < 0)
		die(path);
	tune(listener);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
	    listen(listener, 64) < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		die("listen");
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (fd < 0)
			die("accept");
		if (pthread_create(&thread, NULL, connection, (void *)(intptr_t)fd))
			die("pthread_create");
		pthread_detach(thread);
	}
}

static int connect_to(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	tune(fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		die("connect");
	return fd;
}

static ssize_t ask(int fd, char *buffer, uint32_t count, uint64_t offset)
{
	struct request request = { offset, count };
	uint32_t got;

	if (send(fd, &request, sizeof request, MSG_NOSIGNAL) != sizeof request || receive_all(fd, &got, 4) < 0 ||
	    got > count || receive_all(fd, buffer, got) < 0)
		return -1;
	return got;
}

/* What one connection carries when nobody ever waits. */
static int bulk(int port, uint32_t size, uint64_t total)
{
	uint32_t count = (uint32_t)(total / size), got;
	struct request *requests = calloc(count, sizeof *requests);
	char *buffer = aligned_alloc(4096, MAX_SIZE);
	int fd = connect_to(port);

	if (!requests || !buffer || size > MAX_SIZE)
		return 2;
	for (uint32_t i = 0; i < count; i++)
		requests[i] = (struct request){ (uint64_t)i * size, size };
	if (send(fd, requests, count * sizeof *requests, MSG_NOSIGNAL) != (ssize_t)(count * sizeof *requests))
		die("send");
	for (uint32_t i = 0; i < count; i++)
		if (receive_all(fd, &got, 4) < 0 || got > size || receive_all(fd, buffer, got) < 0)
			die("receive");
	return 0;
}

static double seconds(const struct timespec *from)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - from->tv_sec) + (double)(now.tv_nsec - from->tv_nsec) / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Exactly one of port and path is given. */
static int measure(int port, const char *path, size_t size, uint64_t total, int random_order, uint64_t span)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : connect_to(port);
	char *buffer = aligned_alloc(4096, MAX_SIZE);
	uint64_t done = 0, reads = 0, sum = 0, state = 88172645463325252u;
	struct timespec start;
	double cpu;

	if (fd < 0)
		die(path);
	if (!buffer || size == 0 || size > MAX_SIZE)
		return 2;
	memset(buffer, 0, size);
	clock_gettime(CLOCK_MONOTONIC, &start);
	cpu = cpu_seconds();
	while (done < total) {
		uint64_t offset = done;
		ssize_t got;

		if (random_order) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			offset = state % (span / size) * size;
		}
		if (!path)
			got = ask(fd, buffer, (uint32_t)size, offset);
		else if (random_order)
			got = pread(fd, buffer, size, (off_t)offset);
		else
			got = read(fd, buffer, size);
		if (got < 0)
			die("read");
		if (got == 0)
			break;
		sum = sum * 31 + (unsigned char)buffer[0] + (unsigned char)buffer[got - 1];
		done += (uint64_t)got;
		reads++;
	}
	printf("%.6f %.6f %llu %llu\n", seconds(&start), cpu_seconds() - cpu, (unsigned long long)reads,
	       (unsigned long long)sum);
	return 0;
}

static int calls(const char *path, uint64_t count)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct timespec start;
	double cpu;
	char byte;

	if (fd < 0)
		die(path);
	clock_gettime(CLOCK_MONOTONIC, &start);
	cpu = cpu_seconds();
	for (uint64_t i = 0; i < count; i++)
		if (read(fd, &byte, 1) != 1)
			die("read");
	printf("%.6f %.6f %llu 0\n", seconds(&start), cpu_seconds() - cpu, (unsigned long long)count);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (argc == 3 && !strcmp(mode, "serve"))
		serve(argv[2]);
	if (argc == 4 && !strcmp(mode, "calls"))
		return calls(argv[2], strtoull(argv[3], NULL, 10));
	if (argc == 7 && !strcmp(mode, "bulk"))
		return bulk(atoi(argv[2]), (uint32_t)atoi(argv[3]), strtoull(argv[4], NULL, 10));
	if (argc == 7 && (!strcmp(mode, "read") || !strcmp(mode, "file")))
		return measure(atoi(argv[2]), mode[0] == 'f' ? argv[2] : NULL, strtoull(argv[3], NULL, 10),
			       strtoull(argv[4], NULL, 10), argv[5][0] == 'r', strtoull(argv[6], NULL, 10));
	fprintf(stderr, "usage: yardstick serve FILE | calls PATH COUNT |\n"
			"       read PORT|bulk PORT|file PATH SIZE TOTAL sequential|random FILE_BYTES\n");
	return 2;
}

/* SPDX-License-Identifier: MIT
 *
 * Connections to the server: the only file that touches a socket.
 *
 * A process has a pool of connections.  A call checks one out (or opens one), sends its request, waits for the reply
 * and puts it back; nobody waits for somebody else's reply, no lock is held while waiting, and all of it may run in
 * a signal handler.  A connection made before a fork is never used after it by the child (pid in the pool; a vfork
 * child, which shares our memory, uses connections of its own and closes them again).  A connection whose socket is not
 * what we opened any more (the program closed or replaced the number) is dropped, never written to.
 */
#ifndef RC_TRANSPORT_H
#define RC_TRANSPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "wire.h"

/* One request and what comes back.  The request's bytes are `request`; the reply's payload goes to `reply` (at most
 * reply_size bytes; more is an error, EPROTO), except that with `data` the payload must be one Blob, whose bytes go
 * straight into those buffers (fewer than they hold is fine, more is EPROTO). */
struct rc_exchange {
	uint16_t operation;
	bool interruptible;		/* the server may block for long (fifo, poll): a signal ends it with EINTR */
	bool once;			/* must not be repeated on a new connection after the old one broke */
	const struct iovec *request;
	int request_count;
	void *reply;
	size_t reply_size;
	const struct iovec *data;
	int data_count;
	/* out */
	size_t reply_length;		/* or, with data, the bytes that came */
};

/* 0, or -errno: the server's answer translated, or ECONNREFUSED, ECONNRESET, ETIMEDOUT, EPROTO (not our protocol),
 * EPROTONOSUPPORT (another version), EACCES (not our user), EFAULT (`data` is a bad pointer; the connection
 * survives), EINTR (a signal whose handler has no SA_RESTART came while the server was blocked: it was told
 * to give up, and nothing was lost). */
int rc_exchange(struct rc_exchange *exchange);

/* Sends a request that has no reply.  0 or -errno. */
int rc_send_one_way(uint16_t operation, const struct iovec *request, int count);

/* A connection of its own, for requests that are sent ahead of their replies' use (stream.c).  All but take: only by whoever has the
 * line, one thread at a time; -errno, after which the line is only good for being given back unusable. */
struct connection;
int rc_line_take(struct connection **line);
/* The same, without waiting for a new connection's greeting: the first rc_line_header does. */
int rc_line_take_ahead(struct connection **line);
/* A new connection, whatever there is; it, and its greeting, may take timeout_ms each. */
int rc_line_take_anew(struct connection **line, int timeout_ms);
/* `frames`: requests with rc_line_put's headers, all at once. */
int rc_line_send(struct connection *line, const void *frames, size_t size);
/* The header of the next request of `length` bytes of payload: its id. */
uint32_t rc_line_put(struct connection *line, struct rc_writer *w, uint16_t operation, uint32_t length);
/* The next reply's header. */
int rc_line_header(struct connection *line, struct rc_header *header);
/* Exactly count bytes of its payload into memory of ours. */
int rc_line_receive_all(struct connection *line, void *to, size_t count);
/* Fills buffers that may be the program's, unless a signal comes; or, not `all`, takes what there is: how many bytes (> 0), or
 * -errno; EFAULT takes nothing away. */
ssize_t rc_line_receive(struct connection *line, const struct iovec *into, int parts, bool all);
/* Ends what is received on it; it's still to be given back. */
void rc_line_hang_up(struct connection *line);
/* Its socket, to be polled: readable without a request of ours, it is the server that is gone. */
int rc_line_socket(const struct connection *line);
/* usable: every reply has been taken. */
void rc_line_give_back(struct connection *line, bool usable);

/* What has been seen of a server that doesn't answer: by this process, or by all of a session that share the memory it's in. */
struct rc_outage {
	_Atomic uint32_t silences;		/* 0, or how many waited in vain, as far as it matters */
	_Atomic uint32_t until_ms;		/* until then nobody else tries */
	_Atomic int32_t error;			/* -errno: what the last one saw */
};
extern struct rc_outage *_Atomic rc_outage;

/* Finds the server's address from rc_config.server; call it once, before anything else.  0 or -errno, and then every call
 * returns that. */
int rc_transport_prepare(void);
/* Whether the server is there, with one reply or none under way; there is a connection then. */
bool rc_transport_answers(void);

/* Where a thread of ours waits in a program's stead: asked every RC_WAIT_CHECK_MS of an interruptible exchange whether that
 * program has been interrupted, and the exchange is to end with EINTR.  NULL: signals come to the waiting thread itself. */
extern bool (*rc_wait_over)(void);
enum { RC_WAIT_CHECK_MS = 20 };

/* A connection that somebody else has on hand, for this process to say HELLO on: a descriptor, or -errno.  NULL: nobody has. */
extern int (*rc_spare_connection)(void);
/* Such a one: a descriptor, or -errno.  timeout_ms: of the connecting. */
int rc_transport_dial(int timeout_ms);

/* What HELLO brought; the first call makes a connection.  0 or -errno; `problem` gets a sentence for a person. */
struct rc_server_info {
	uint32_t version, max_data, max_request, max_in_flight;
	uint64_t capabilities;
	char server[128];
};
int rc_hello(struct rc_server_info *info, char *problem, size_t size);

/* Nobody else's code runs in this process: its descriptors are what we made them. */
extern bool rc_transport_alone;
/* Is this descriptor one of our sockets?  (The program may not close or use it.) */
bool rc_transport_owns(int fd);
/* The lowest such number at or above `from`, or -1. */
int rc_transport_next(int from);
/* The lowest number that our sockets take. */
int rc_transport_floor(void);
/* After fork, in the child: forget the parent's connections (its descriptors are closed here). */
void rc_transport_after_fork(void);
/* Before exec: keep one connection open across it where the session must stay alive for inherited descriptors. */
void rc_transport_before_exec(void);

#endif

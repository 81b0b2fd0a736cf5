/* SPDX-License-Identifier: MIT */
#include "oldest.h"

#include "transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/un.h>

#include "config.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"
#include "translate.h"
#include "wire.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

enum { POOL = 64, EMPTY = 0, IDLE, BUSY };

struct connection {
	_Atomic int state;
	int fd;
	uint64_t cookie;	/* the kernel's name for the socket: tells whether fd still is it */
	uint32_t request_id;
	bool greeted;		/* HELLO has been answered */
	bool asked;		/* HELLO has been sent, and its answer not yet been read */
};

static struct connection pool[POOL];
static _Atomic int pool_pid;
static uint64_t client_id;

static struct {
	struct sockaddr_storage at;
	socklen_t length;
	int error;		/* -errno: there is no address */
	bool loopback;
} server;

/* ------------------------------------------------------------------------------------------------ address */

static int parse_numeric(const char *host, const char *port)
{
	struct sockaddr_in *v4 = (void *)&server.at;
	struct sockaddr_in6 *v6 = (void *)&server.at;
	uint16_t number = htons((uint16_t)atoi(port));

	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = number;
		server.length = sizeof *v4;
		server.loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
		return 0;
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = number;
		server.length = sizeof *v6;
		server.loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
		return 0;
	}
	return -EINVAL;
}

static int parse_name(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;

	if (getaddrinfo(host, port, &hints, &found))
		return -EHOSTUNREACH;
	memcpy(&server.at, found->ai_addr, found->ai_addrlen);
	server.length = found->ai_addrlen;
	server.loopback = false;
	freeaddrinfo(found);
	return 0;
}

static int parse_address(const char *address)
{
	struct sockaddr_un *local = (void *)&server.at;
	char host[256], port[8] = "12345";
	const char *colon = strrchr(address, ':'), *end = address + strlen(address);

	memset(&server.at, 0, sizeof server.at);
	if (!strncmp(address, "unix:", 5)) {
		if (strlen(address + 5) >= sizeof local->sun_path)
			return -ENAMETOOLONG;
		local->sun_family = AF_UNIX;
		strcpy(local->sun_path, address + 5);
		server.length = sizeof *local;
		server.loopback = true;
		return 0;
	}
	if (*address == '[') {			/* [V6] or [V6]:PORT */
		address++;
		end = strchr(address, ']');
		if (!end || (colon && colon < end))
			colon = NULL;
		if (!end)
			return -EINVAL;
	} else if (colon && strchr(address, ':') != colon) {
		colon = NULL;			/* a bare V6 address */
	} else if (colon) {
		end = colon;
	}
	if (colon && (strlen(colon + 1) >= sizeof port || !colon[1]))
		return -EINVAL;
	if (colon)
		strcpy(port, colon + 1);
	if ((size_t)(end - address) >= sizeof host)
		return -ENAMETOOLONG;
	memcpy(host, address, (size_t)(end - address));
	host[end - address] = '\0';
	return parse_numeric(host, port) == 0 ? 0 : parse_name(host, port);
}

int rc_transport_prepare(void)
{
	atomic_store(&pool_pid, rc_sys_getpid());
	rc_sys_random(&client_id, sizeof client_id);
	server.error = rc_config.error ? rc_config.error : parse_address(rc_config.server);
	return server.error;
}

/* --------------------------------------------------------------------------------------------- connecting */

int rc_transport_floor(void)
{
	return (rc_config.fd_shift > 2048 ? rc_config.fd_shift : 2048) + 1024;
}

static void set_option(int fd, int level, int option, int value)
{
	RC_SYS(SYS_setsockopt, fd, level, option, &value, sizeof value, 0);
}

bool (*rc_wait_over)(void);

/* 0: for ever. */
static void set_timeout(int fd, int option, int ms)
{
	/* In the layout that this libc's options mean. */
	struct timeval timeout = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	RC_SYS(SYS_setsockopt, fd, SOL_SOCKET, option, &timeout, sizeof timeout, 0);
}

static int whole_timeout_ms(void)
{
	return rc_config.timeout_s * 1000;
}

static void tune(int fd)
{
	static const char *const choices[] = { "cubic", "reno" };

	set_timeout(fd, SO_RCVTIMEO, whole_timeout_ms());
	set_timeout(fd, SO_SNDTIMEO, whole_timeout_ms());
	if (server.at.ss_family == AF_UNIX)
		return;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, whole_timeout_ms());
	/* One that paces its packets loses two thirds of the throughput on loopback (bench/README.md), and what has begun with it
	 * goes on pacing with any other. */
	for (size_t i = 0; server.loopback && i < 2; i++)
		if (RC_SYS(SYS_setsockopt, fd, IPPROTO_TCP, TCP_CONGESTION, choices[i], strlen(choices[i]), 0) == 0)
			break;
}

static int finish_connecting(int fd, int timeout_ms)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	int error = 0, ready;
	socklen_t size = sizeof error;
	uint64_t first_ns = 0;

	do
		ready = rc_sys_poll(&wait, 1, timeout_ms ? timeout_ms : -1);
	while (ready == -EINTR && rc_sys_has_time(&first_ns, timeout_ms));
	if (ready <= 0)
		return ready && ready != -EINTR ? ready : -ETIMEDOUT;
	RC_SYS(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size, 0);
	return -error;
}

static int new_socket(void)
{
	int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int fd = (int)RC_SYS(SYS_socket, server.at.ss_family, type, 0, 0, 0, 0);
	struct rc_sys_limit limit;

	if (fd != -EMFILE)
		return fd;
	rc_sys_raise_limit(&limit);	/* the program has all the numbers that it may have: ours don't count */
	fd = (int)RC_SYS(SYS_socket, server.at.ss_family, type, 0, 0, 0, 0);
	rc_sys_restore_limit(0, &limit);
	return fd;
}

int rc_transport_dial(int timeout_ms)
{
	int fd, result;

	if (server.error)
		return server.error;
	fd = new_socket();
	if (fd < 0)
		return fd;
	tune(fd);
	result = (int)RC_SYS(SYS_connect, fd, &server.at, server.length, 0, 0, 0);
	if (result == -EINPROGRESS || result == -EINTR)
		result = finish_connecting(fd, timeout_ms);
	if (!result) {
		rc_sys_fcntl(fd, F_SETFL, O_RDWR);
		return fd;
	}
	rc_sys_close(fd);
	return result;
}

/* `fd`: a connection that nobody has said anything on. */
static void make_ours(struct connection *c, int fd)
{
	socklen_t size = sizeof c->cookie;

	c->fd = rc_sys_raise(fd, rc_transport_floor());
	c->cookie = 0;
	RC_SYS(SYS_getsockopt, c->fd, SOL_SOCKET, SO_COOKIE, &c->cookie, &size, 0);
	c->request_id = 0;
	c->greeted = c->asked = false;
}

static int dial(struct connection *c, int timeout_ms)
{
	int fd = rc_transport_dial(timeout_ms);

	if (fd < 0)
		return fd;
	make_ours(c, fd);
	rc_count(RC_COUNT_CONNECTIONS, 1);
	return 0;
}

int (*rc_spare_connection)(void);

/* One that somebody has on hand, unless a new one is wanted. */
static int dial_or_take(struct connection *c, bool fresh, int timeout_ms)
{
	int fd = rc_spare_connection && !fresh ? rc_spare_connection() : -ENOENT;

	if (fd < 0)
		return dial(c, timeout_ms);
	make_ours(c, fd);
	rc_count(RC_COUNT_ON_HAND, 1);
	return 0;
}

bool rc_transport_alone;

/* Whether the number still is the socket that we opened: the program may have closed or replaced it. */
static bool intact(const struct connection *c)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof cookie;

	return rc_transport_alone ||
	       (RC_SYS(SYS_getsockopt, c->fd, SOL_SOCKET, SO_COOKIE, &cookie, &size, 0) == 0 && cookie == c->cookie);
}

static void hang_up(struct connection *c)
{
	if (intact(c))
		rc_sys_close(c->fd);
	c->fd = -1;
}

/* A connection for this call alone: an idle one of the pool, else a new one in a free slot of it, else (all are busy, or
 * this is a vfork child with its own descriptors in our memory) `spare`, which is closed after the call. */
static int check_out(struct connection **out, struct connection *spare, bool fresh, int timeout_ms)
{
	bool ours = rc_sys_getpid() == atomic_load_explicit(&pool_pid, memory_order_relaxed);
	struct connection *c = spare;
	int result;

	for (size_t i = 0; ours && !fresh && i < POOL; i++) {
		int idle = IDLE;

		if (atomic_load_explicit(&pool[i].state, memory_order_relaxed) == IDLE &&
		    atomic_compare_exchange_strong(&pool[i].state, &idle, BUSY)) {
			if (intact(&pool[i])) {
				*out = &pool[i];
				return 0;
			}
			atomic_store(&pool[i].state, EMPTY);
		}
	}
	for (size_t i = 0; ours && i < POOL; i++) {
		int empty = EMPTY;

		if (atomic_compare_exchange_strong(&pool[i].state, &empty, BUSY)) {
			c = &pool[i];
			break;
		}
	}
	result = dial_or_take(c, fresh, timeout_ms);
	if (result && c != spare)
		atomic_store(&c->state, EMPTY);
	*out = c;
	return result;
}

static void check_in(struct connection *c, bool usable)
{
	bool pooled = c >= pool && c < pool + POOL;

	if (!usable || !pooled)
		hang_up(c);
	if (pooled)
		atomic_store(&c->state, usable ? IDLE : EMPTY);
}

bool rc_transport_owns(int fd)
{
	if (fd < 0 || rc_sys_getpid() != atomic_load_explicit(&pool_pid, memory_order_relaxed))
		return false;
	for (size_t i = 0; i < POOL; i++)
		if (atomic_load_explicit(&pool[i].state, memory_order_relaxed) != EMPTY && pool[i].fd == fd)
			return intact(&pool[i]);
	return false;
}

int rc_transport_next(int from)
{
	int next = -1;

	for (size_t i = 0; i < POOL; i++)
		if (atomic_load(&pool[i].state) != EMPTY && pool[i].fd >= from && (next < 0 || pool[i].fd < next) &&
		    rc_transport_owns(pool[i].fd))
			next = pool[i].fd;
	return next;
}

void rc_transport_after_fork(void)
{
	for (size_t i = 0; i < POOL; i++) {
		if (atomic_load(&pool[i].state) != EMPTY)
			hang_up(&pool[i]);
		atomic_store(&pool[i].state, EMPTY);
	}
	atomic_store(&pool_pid, rc_sys_getpid());
	rc_sys_random(&client_id, sizeof client_id);
}

void rc_transport_before_exec(void)
{
	if (rc_config.control)		/* remotec-run keeps the session alive */
		return;
	for (size_t i = 0; i < POOL; i++)
		if (atomic_load(&pool[i].state) == IDLE && intact(&pool[i])) {
			rc_sys_fcntl(pool[i].fd, F_SETFD, 0);
			return;
		}
}

/* ------------------------------------------------------------------------------------------------- frames */

enum { HELLO_BYTES = RC_HEADER_SIZE + RC_HELLO_REQUEST_SIZE + 4 + 64, HELLO_ID = 0 };

static size_t put_hello(uint8_t *bytes, size_t size)
{
	struct rc_writer w = { .at = bytes + RC_HEADER_SIZE, .end = bytes + size };
	struct rc_writer h = { .at = bytes, .end = bytes + size };
	const char *name = program_invocation_short_name ? program_invocation_short_name : "";
	struct rc_header header = { .operation = RC_OP_HELLO, .request_id = HELLO_ID };

	rc_put_bytes(&w, RC_MAGIC, 8);
	rc_put_u32(&w, RC_PROTOCOL_VERSION);
	rc_put_u32(&w, RC_PROTOCOL_MIN_VERSION);
	rc_put_u64(&w, RC_CAPABILITY_XATTR | RC_CAPABILITY_POLL | RC_CAPABILITY_WATCH | RC_CAPABILITY_IOCTL |
			 RC_CAPABILITY_LEASE);
	rc_put_bytes(&w, rc_config.session, 16);
	rc_put_u64(&w, client_id);
	rc_put_blob(&w, name, strnlen(name, 64));
	header.length = (uint32_t)(w.at - bytes) - RC_HEADER_SIZE;
	rc_put_header(&h, &header);
	return (size_t)(w.at - bytes);
}

static bool is_silence(int error)
{
	return error == -ETIMEDOUT || error == -EHOSTUNREACH || error == -ENETUNREACH || error == -ENETDOWN;
}

/* What ended a connection while it was idle: keepalive without an answer, an interface that went down, an administrator. */
static bool has_ended(int error)
{
	return is_silence(error) || error == -ECONNABORTED;
}

static int send_parts(int fd, struct iovec *parts, int count)
{
	uint64_t first_ns = 0;

	while (count) {
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t)count };
		ssize_t sent = rc_sys_sendmsg(fd, &message, MSG_NOSIGNAL);

		if (sent == -EINTR && rc_sys_has_time(&first_ns, whole_timeout_ms()))
			continue;
		if (sent < 0)
			return sent == -EAGAIN || sent == -EINTR ? -ETIMEDOUT : has_ended((int)sent) ? -ECONNRESET : (int)sent;
		rc_count(RC_COUNT_SENT, (uint64_t)sent);
		first_ns = 0;
		while (count && (size_t)sent >= parts->iov_len) {
			sent -= (ssize_t)parts->iov_len;
			parts++;
			count--;
		}
		if (count) {
			parts->iov_base = (char *)parts->iov_base + sent;
			parts->iov_len -= (size_t)sent;
		}
	}
	return 0;
}

/* Before a call that ends when `count` bytes have come. */
static void before_receiving(int fd, size_t count)
{
	int there = 0;

	if (rc_before_waiting && (RC_SYS(SYS_ioctl, fd, FIONREAD, &there, 0, 0, 0) < 0 || (size_t)there < count))
		rc_before_waiting();
}

/* Exactly count bytes (NULL: thrown away), or -errno. */
static int receive(int fd, void *into, size_t count)
{
	uint64_t first_ns = 0;
	size_t got = 0;
	char sink[512];

	while (got < count) {
		size_t want = into ? count - got : count - got < sizeof sink ? count - got : sizeof sink;
		long n;

		before_receiving(fd, want);
		n = RC_SYS(SYS_recvfrom, fd, into ? (char *)into + got : sink, want, MSG_WAITALL, NULL, NULL);
		if (n == -EINTR && rc_sys_has_time(&first_ns, whole_timeout_ms()))
			continue;
		if (n <= 0)
			return n == 0 ? -ECONNRESET : n == -EAGAIN || n == -EINTR ? -ETIMEDOUT : (int)n;
		got += (size_t)n;
		first_ns = 0;
		rc_count(RC_COUNT_RECEIVED, (uint64_t)n);
	}
	return 0;
}

/* *whole: the server's answer; else -errno is why it didn't come. */
static int error_of(int fd, const struct rc_header *header, bool *whole)
{
	char name[32];
	size_t length = header->length < sizeof name ? header->length : sizeof name;
	int bad = receive(fd, name, length);

	if (!bad)
		bad = receive(fd, NULL, header->length - length);
	*whole = !bad;
	return bad ? bad : -rc_errno_from_wire(header->error, name, length);
}

/* The reply to HELLO.  *refused: the server speaks our protocol and said no. */
static int read_greeting(struct connection *c, struct rc_server_info *info, bool *refused)
{
	uint8_t bytes[RC_HEADER_SIZE + RC_LIMIT_MAX_HELLO];
	struct rc_reader r = { .at = bytes, .end = bytes + RC_HEADER_SIZE };
	struct rc_header header;
	struct rc_blob name;
	int bad = receive(c->fd, bytes, RC_HEADER_SIZE);

	if (bad)
		return bad;
	header = rc_get_header(&r);
	if (header.operation != RC_OP_HELLO || header.request_id != HELLO_ID || header.length > RC_LIMIT_MAX_HELLO)
		return -EPROTO;
	if (header.error)
		return error_of(c->fd, &header, refused);
	bad = receive(c->fd, bytes, header.length);
	if (bad)
		return bad;
	r = (struct rc_reader){ .at = bytes, .end = bytes + header.length };
	info->version = rc_get_u32(&r);
	info->max_data = rc_get_u32(&r);
	info->max_request = rc_get_u32(&r);
	info->max_in_flight = rc_get_u32(&r);
	info->capabilities = rc_get_u64(&r);
	name = rc_get_blob(&r);
	if (r.failed)
		return -EPROTO;
	if (name.length >= sizeof info->server)
		name.length = sizeof info->server - 1;
	memcpy(info->server, name.bytes, name.length);
	info->server[name.length] = '\0';
	c->greeted = true;
	return 0;
}

/* ------------------------------------------------------------------------------------------------ outages */

static int say_hello(struct rc_server_info *info, int timeout_ms, bool *refused)
{
	struct connection c = { .fd = -1 };
	uint8_t hello[HELLO_BYTES];
	int result = dial(&c, timeout_ms);

	*refused = false;
	if (!result) {
		struct iovec part = { hello, put_hello(hello, sizeof hello) };

		set_timeout(c.fd, SO_RCVTIMEO, timeout_ms);
		result = send_parts(c.fd, &part, 1);
		if (!result)
			result = read_greeting(&c, info, refused);
		hang_up(&c);
	}
	return result;
}

static struct rc_outage own_outage;
struct rc_outage *_Atomic rc_outage = &own_outage;

static uint32_t now_ms(void)
{
	return (uint32_t)(rc_sys_monotonic_ns() / 1000000);
}

static int heard(int result)
{
	uint32_t none = 0;

	if (is_silence(result))
		atomic_compare_exchange_strong(&atomic_load(&rc_outage)->silences, &none, 1);
	return result;
}

static int short_timeout_ms(void)
{
	return rc_config.timeout_s > 4 ? whole_timeout_ms() / 4 : rc_config.timeout_s ? 1000 : 0;
}

/* Once the server hasn't answered in time, no other call waits that long for it: those that come after it first see whether it's
 * there, for it can be one file that isn't answered for, on a disk that hangs; and after the second that saw nothing, they fail
 * at once for a while.  Of who waits for no reply nothing is asked: it may have gone out all the same. */
static int check_that_it_is_there(bool waits)
{
	enum { SURE = 3 };
	struct rc_outage *o = atomic_load_explicit(&rc_outage, memory_order_acquire);
	uint32_t silences = atomic_load_explicit(&o->silences, memory_order_relaxed);
	struct rc_server_info info;
	bool refused;
	int result;

	if (!silences)
		return 0;
	if (silences >= SURE && (int32_t)(atomic_load(&o->until_ms) - now_ms()) > 0)
		return atomic_load(&o->error);
	if (!waits)
		return 0;
	result = say_hello(&info, short_timeout_ms(), &refused);
	if (!is_silence(result)) {
		atomic_store(&o->silences, 0);
		return 0;
	}
	atomic_store(&o->error, result);
	atomic_store(&o->until_ms, now_ms() + (uint32_t)short_timeout_ms());
	atomic_store(&o->silences, silences < SURE ? silences + 1 : SURE);
	return result;
}

/* ---------------------------------------------------------------------------------------------- exchanges */

static void cancel(struct connection *c, uint32_t request_id)
{
	uint8_t bytes[RC_HEADER_SIZE + RC_CANCEL_REQUEST_SIZE];
	struct rc_writer w = { .at = bytes, .end = bytes + sizeof bytes };
	struct rc_header header = { .length = RC_CANCEL_REQUEST_SIZE, .operation = RC_OP_CANCEL,
				    .request_id = request_id + 1, .flags = RC_FRAME_ONE_WAY };
	struct iovec part = { bytes, sizeof bytes };

	rc_put_header(&w, &header);
	rc_put_u32(&w, request_id);
	send_parts(c->fd, &part, 1);
}

/* The rest of a data reply straight into the caller's buffers: `skip` bytes of them are filled already. */
static int receive_data(int fd, const struct iovec *data, int count, size_t skip, size_t length)
{
	for (int i = 0; i < count && length; i++) {
		size_t piece = data[i].iov_len, take;
		int bad;

		if (skip >= piece) {
			skip -= piece;
			continue;
		}
		take = piece - skip < length ? piece - skip : length;
		bad = receive(fd, (char *)data[i].iov_base + skip, take);
		if (bad)
			return bad;
		length -= take;
		skip = 0;
	}
	return 0;
}

/* How much of the frame, past its header, the first receive already brought is in *have. */
static int read_data_reply(struct connection *c, struct rc_exchange *x, const struct rc_header *header,
			   uint8_t *length_bytes, size_t have, size_t room)
{
	struct rc_reader r = { .at = length_bytes, .end = length_bytes + 4 };
	uint32_t length;
	int bad;

	if (header->length < 4)
		return -EPROTO;
	if (have < 4) {
		bad = receive(c->fd, length_bytes + have, 4 - have);
		if (bad)
			return bad;
		have = 4;
	}
	length = rc_get_u32(&r);
	if (header->length != (uint64_t)length + 4 || length > room || have - 4 > length)
		return -EPROTO;
	bad = receive_data(c->fd, x->data, x->data_count, have - 4, length - (have - 4));
	x->reply_length = length;
	return bad;
}

static ssize_t receive_asleep(int fd, struct msghdr *message)
{
	before_receiving(fd, 1);
	return rc_sys_recvmsg(fd, message, 0);
}

/* A reply from near by is there sooner than a sleeping processor wakes (30 to 70 us on a virtual machine): looked for awake it
 * comes sooner, unless the processor is what somebody else is waiting for, the server for instance.  What each way takes is
 * learnt from TRIAL exchanges of every PERIOD that wait in the other one. */
static ssize_t receive_first(int fd, struct msghdr *message)
{
	enum { ASLEEP, AWAKE, TRIAL = 8, PERIOD = 512, MOST_LOOKS = 256, MOST_NS = 1000000, NEAR_NS = 200000, WAKE_NS = 10000 };
	static _Atomic uint32_t exchanges, takes_ns[2] = { MOST_NS, 0 };
	unsigned now = atomic_fetch_add_explicit(&exchanges, 1, memory_order_relaxed) % PERIOD;
	uint32_t asleep = atomic_load_explicit(&takes_ns[ASLEEP], memory_order_relaxed);
	uint32_t awake = atomic_load_explicit(&takes_ns[AWAKE], memory_order_relaxed);
	/* A thread of the supervisor that goes to sleep has another one wake up, in time that somebody waits for later. */
	bool is_better = rc_before_waiting && asleep < NEAR_NS ? awake < asleep + WAKE_NS : awake + awake / 8 < asleep;
	int way = is_better != (now >= PERIOD - TRIAL) ? AWAKE : ASLEEP;
	uint64_t began_ns = rc_sys_monotonic_ns(), took_ns;
	uint32_t known = way == AWAKE ? awake : asleep;
	ssize_t got = -EAGAIN;

	for (int i = 0; way == AWAKE && got == -EAGAIN && i < MOST_LOOKS; i++)
		got = rc_sys_recvmsg(fd, message, MSG_DONTWAIT);
	if (got == -EAGAIN)
		got = receive_asleep(fd, message);
	took_ns = rc_sys_monotonic_ns() - began_ns;
	took_ns = took_ns < MOST_NS ? took_ns : MOST_NS;
	atomic_store_explicit(&takes_ns[way], known - known / 8 + (uint32_t)took_ns / 8, memory_order_relaxed);
	return got;
}

bool rc_transport_answers(void)
{
	uint8_t none[RC_PING_REQUEST_SIZE] = { 0 }, reply[4];
	struct iovec request = { none, sizeof none };
	struct rc_exchange x = { .operation = RC_OP_PING, .request = &request, .request_count = 1, .reply = reply,
				 .reply_size = sizeof reply };

	return rc_exchange(&x) == 0;
}

/* The reply to request_id.  A negative return with *usable set is the server's answer (or EFAULT); the connection lives. */
static int read_reply(struct connection *c, struct rc_exchange *x, uint32_t request_id, bool *usable)
{
	uint8_t head[RC_HEADER_SIZE + 4];
	struct iovec parts[16] = { { head, x->data ? sizeof head : RC_HEADER_SIZE } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 1 };
	struct rc_reader r = { .at = head, .end = head + RC_HEADER_SIZE };
	struct rc_header header;
	size_t room = 0;
	uint64_t patience_ns = (uint64_t)rc_config.timeout_s * 1000000000, heard_ns = rc_sys_monotonic_ns();
	bool cancelled = false;
	uint64_t first_ns = 0;
	ssize_t got;
	int bad;

	for (int i = 0; x->data && i < x->data_count; i++) {
		room += x->data[i].iov_len;
		if (i < 15 && x->data_count <= 15)
			parts[message.msg_iovlen++] = x->data[i];
	}
	/* One call for header and data where they have come together.  An error's name may land in the buffer's first bytes, whose
	 * content is unspecified after a failed read. */
	for (;;) {
		got = x->interruptible ? receive_asleep(c->fd, &message) : receive_first(c->fd, &message);
		if (got == -EAGAIN && x->interruptible && rc_wait_over) {
			if (patience_ns && rc_sys_monotonic_ns() - heard_ns > patience_ns) {
				if (cancelled || !rc_transport_answers())
					return -ETIMEDOUT;
				heard_ns = rc_sys_monotonic_ns();
			}
			if (cancelled || !rc_wait_over())
				continue;
		} else if (got != -EINTR) {
			break;
		} else if ((!x->interruptible || cancelled) && !rc_sys_has_time(&first_ns, whole_timeout_ms())) {
			got = -EAGAIN;
			break;
		}
		/* The reply comes all the same, and may be what was asked for: an open file, data. */
		if (x->interruptible && !cancelled) {
			cancel(c, request_id);
			if (!rc_wait_over)
				set_timeout(c->fd, SO_RCVTIMEO, whole_timeout_ms());
		}
		cancelled = true;
	}
	if (got <= 0)
		return got == 0 ? -ECONNRESET : got == -EAGAIN ? -ETIMEDOUT : (int)got;
	rc_count(RC_COUNT_RECEIVED, (uint64_t)got);
	if (x->interruptible)
		set_timeout(c->fd, SO_RCVTIMEO, whole_timeout_ms());
	if ((size_t)got < RC_HEADER_SIZE) {
		bad = receive(c->fd, head + got, (size_t)(RC_HEADER_SIZE - got));
		if (bad)
			return bad;
		got = RC_HEADER_SIZE;
	}
	header = rc_get_header(&r);
	if (header.operation != x->operation || header.request_id != request_id || header.length > RC_LIMIT_MAX_REPLY)
		return -EPROTO;
	got -= RC_HEADER_SIZE;
	if (header.error) {
		if ((uint32_t)got > header.length)
			return -EPROTO;
		header.length -= (uint32_t)got;
		return error_of(c->fd, &header, usable);
	}
	if (!x->data) {
		if (header.length > x->reply_size)
			return -EPROTO;
		bad = receive(c->fd, x->reply, header.length);
		x->reply_length = header.length;
		*usable = !bad;
		return bad;
	}
	bad = read_data_reply(c, x, &header, head + RC_HEADER_SIZE, (size_t)got, room);
	*usable = !bad;
	return bad;
}

static int try_once(struct rc_exchange *x, bool one_way, bool fresh, bool *broken)
{
	uint64_t began_ns = rc_stats_clock();
	struct connection spare = { .fd = -1 }, *c;
	uint8_t hello[HELLO_BYTES], head[RC_HEADER_SIZE];
	struct rc_writer w = { .at = head, .end = head + sizeof head };
	struct rc_header header = { .operation = x->operation, .flags = one_way ? RC_FRAME_ONE_WAY : 0 };
	struct iovec parts[8];
	int count = 0, result = check_that_it_is_there(!one_way);
	bool usable = false, greeting, refused = false;

	*broken = false;
	if (!result)
		result = check_out(&c, &spare, fresh, one_way ? short_timeout_ms() : whole_timeout_ms());
	if (result)
		return heard(result);
	greeting = !c->greeted;
	if (greeting && !c->asked)
		parts[count++] = (struct iovec){ hello, put_hello(hello, sizeof hello) };
	header.request_id = c->request_id += 2;		/* even: an odd id is a CANCEL's */
	parts[count++] = (struct iovec){ head, sizeof head };
	for (int i = 0; i < x->request_count; i++) {
		header.length += (uint32_t)x->request[i].iov_len;
		parts[count++] = x->request[i];
	}
	rc_put_header(&w, &header);
	result = send_parts(c->fd, parts, count);
	if (!result && !one_way)
		rc_count(RC_COUNT_ROUND_TRIPS, 1);
	c->asked = greeting;
	if (!result && greeting && !one_way) {		/* else it's for whoever waits for a reply first */
		struct rc_server_info info;

		c->asked = false;
		result = read_greeting(c, &info, &refused);
	}
	if (!result && x->interruptible)
		set_timeout(c->fd, SO_RCVTIMEO, rc_wait_over ? RC_WAIT_CHECK_MS : 0);
	if (!result && !one_way)
		result = read_reply(c, x, header.request_id, &usable);
	else
		usable = !result;
	*broken = !usable && !refused && (result == -ECONNRESET || result == -EPIPE);
	check_in(c, usable);
	if (!one_way)
		rc_stats_waited(began_ns);
	return usable ? result : heard(result);
}

int rc_exchange(struct rc_exchange *x)
{
	bool broken;
	int result = try_once(x, false, false, &broken);

	/* An idle connection may have died since its last use: once more on a new one. */
	if (broken && !x->once)
		result = try_once(x, false, true, &broken);
	return result;
}

int rc_send_one_way(uint16_t operation, const struct iovec *request, int count)
{
	struct rc_exchange x = { .operation = operation, .request = request, .request_count = count };
	bool broken;

	return try_once(&x, true, false, &broken);
}

/* -------------------------------------------------------------------------------------------------- lines */

static int take_line(struct connection **line, bool fresh, int timeout_ms)
{
	struct connection spare = { .fd = -1 }, *c;
	uint8_t hello[HELLO_BYTES];
	int result = heard(check_out(&c, &spare, fresh, timeout_ms));

	if (result)
		return result;
	if (c == &spare) {		/* the pool is used up, or this is a vfork child */
		hang_up(c);
		return -EMFILE;
	}
	if (!c->greeted && !c->asked) {
		struct iovec part = { hello, put_hello(hello, sizeof hello) };

		result = send_parts(c->fd, &part, 1);
		c->asked = !result;
	}
	if (result)
		check_in(c, false);
	*line = c;
	return result;
}

int rc_line_take_ahead(struct connection **line)
{
	int result = check_that_it_is_there(true);

	return result ? result : take_line(line, false, whole_timeout_ms());
}

static int greet(struct connection *line)
{
	struct rc_server_info info;
	bool refused;

	line->asked = false;
	return read_greeting(line, &info, &refused);
}

/* The greeting of a line that's just been taken, if there is one to come: without it the line is given back. */
static int await_greeting(struct connection *line)
{
	int result = line->asked ? greet(line) : 0;

	if (result)
		check_in(line, false);
	return result;
}

int rc_line_take(struct connection **line)
{
	int result = rc_line_take_ahead(line);

	return result ? result : await_greeting(*line);
}

int rc_line_take_anew(struct connection **line, int timeout_ms)
{
	int result = take_line(line, true, timeout_ms);

	if (result)
		return result;
	set_timeout((*line)->fd, SO_RCVTIMEO, timeout_ms);
	result = await_greeting(*line);
	if (!result)
		set_timeout((*line)->fd, SO_RCVTIMEO, whole_timeout_ms());
	return result;
}

uint32_t rc_line_put(struct connection *line, struct rc_writer *w, uint16_t operation, uint32_t length)
{
	struct rc_header header = { .length = length, .operation = operation, .request_id = line->request_id += 2 };

	rc_put_header(w, &header);
	rc_count(RC_COUNT_SENT_AHEAD, 1);
	return header.request_id;
}

int rc_line_send(struct connection *line, const void *frames, size_t size)
{
	struct iovec part = { (void *)frames, size };

	return send_parts(line->fd, &part, 1);
}

int rc_line_header(struct connection *line, struct rc_header *header)
{
	uint8_t bytes[RC_HEADER_SIZE];
	struct rc_reader r = { .at = bytes, .end = bytes + sizeof bytes };
	uint64_t began_ns = rc_stats_clock();
	int bad = line->asked ? greet(line) : 0;

	if (!bad)
		bad = receive(line->fd, bytes, sizeof bytes);
	rc_stats_waited(began_ns);
	if (!bad)
		*header = rc_get_header(&r);
	return heard(bad);
}

int rc_line_receive_all(struct connection *line, void *to, size_t count)
{
	uint64_t began_ns = rc_stats_clock();
	int bad = receive(line->fd, to, count);

	rc_stats_waited(began_ns);
	return heard(bad);
}

ssize_t rc_line_receive(struct connection *line, const struct iovec *into, int parts, bool all)
{
	struct msghdr message = { .msg_iov = (struct iovec *)into, .msg_iovlen = (size_t)parts };
	uint64_t began_ns = rc_stats_clock(), first_ns = 0;
	size_t size = 0;
	ssize_t got;

	for (int i = 0; i < parts; i++)
		size += into[i].iov_len;
	before_receiving(line->fd, all ? size : 1);
	do
		got = rc_sys_recvmsg(line->fd, &message, all ? MSG_WAITALL : 0);
	while (got == -EINTR && rc_sys_has_time(&first_ns, whole_timeout_ms()));
	rc_stats_waited(began_ns);
	if (got > 0)
		rc_count(RC_COUNT_RECEIVED, (uint64_t)got);
	return got > 0 ? got : got == 0 ? -ECONNRESET : heard(got == -EAGAIN || got == -EINTR ? -ETIMEDOUT : (int)got);
}

int rc_line_socket(const struct connection *line)
{
	return line->fd;
}

void rc_line_hang_up(struct connection *line)
{
	if (intact(line))
		RC_SYS(SYS_shutdown, line->fd, SHUT_RDWR, 0, 0, 0, 0);
}

void rc_line_give_back(struct connection *line, bool usable)
{
	check_in(line, usable && !line->asked);
}

int rc_hello(struct rc_server_info *info, char *problem, size_t size)
{
	bool refused;
	int result = say_hello(info, whole_timeout_ms(), &refused);

	if (result && size) {
		const char *what = result == -EPROTO ? "what answers there is not a remotec server"
				   : refused && result == -EPROTONOSUPPORT ? "the server speaks another version of the protocol"
				   : refused && result == -EACCES ? "the server accepts only its own user"
				   : result == -ETIMEDOUT ? "no answer in time"
				   : strerror(-result);

		strncpy(problem, what ? what : "unknown error", size - 1);
		problem[size - 1] = '\0';
	}
	return result;
}

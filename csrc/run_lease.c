/* SPDX-License-Identifier: MIT */
#include "run_lease.h"

#include <stdint.h>
#include <sys/uio.h>

#include "lease.h"
#include "protocol.h"
#include "sys.h"
#include "transport.h"
#include "wire.h"

enum { MOST = 4 + 8 * RC_LIMIT_MAX_LEASES };

static struct connection *line;
static bool able, asked;
static uint32_t id, sent_ms;

/* No request of a program's: it isn't counted as one. */
static bool ask(void)
{
	uint8_t frame[RC_HEADER_SIZE];
	struct rc_writer w = { .at = frame, .end = frame + sizeof frame };
	struct rc_header header = { .operation = RC_OP_RECALL, .request_id = ++id };

	sent_ms = rc_lease_now();
	rc_put_header(&w, &header);
	asked = rc_line_send(line, frame, sizeof frame) == 0;
	return asked;
}

void rc_run_lease_start(struct connection *own, bool there_are)
{
	line = own;
	able = there_are;
	rc_lease_listen(able && ask());
}

int rc_run_line_again(struct connection **broken)
{
	enum { TIMEOUT_MS = 1000 };
	static uint64_t last_ns;
	uint64_t now_ns = rc_sys_monotonic_ns();
	bool too_often = last_ns && now_ns - last_ns < 1000000000;

	last_ns = now_ns;
	rc_line_give_back(*broken, false);
	return too_often || rc_line_take_anew(broken, TIMEOUT_MS) < 0 ? -1 : rc_line_socket(*broken);
}

/* The reply to what was asked, and then the next question: who asks it has written down what the reply said. */
static bool take_reply(void)
{
	uint8_t bytes[MOST];
	struct rc_header header;
	struct rc_reader r;
	struct rc_blob handles;

	if (rc_line_header(line, &header) < 0 || header.operation != RC_OP_RECALL || header.request_id != id ||
	    header.length > MOST || rc_line_receive_all(line, bytes, header.length) < 0)
		return false;
	if (header.error) {		/* EBUSY: it still has the connection that we lost for one that we listen on */
		rc_lease_listen(false);
		able = asked = false;
		return true;
	}
	r = (struct rc_reader){ .at = bytes, .end = bytes + header.length };
	handles = rc_get_blob(&r);
	if (r.failed || r.at != r.end || handles.length % 8)
		return false;
	for (r = (struct rc_reader){ .at = handles.bytes, .end = handles.bytes + handles.length }; r.at < r.end;)
		rc_lease_recall(rc_get_u64(&r));
	rc_lease_heard(sent_ms);
	return ask();
}

int rc_run_lease_attend(void)
{
	int socket;

	if (asked && take_reply())
		return rc_line_socket(line);
	rc_lease_listen(false);
	socket = rc_run_line_again(&line);
	rc_lease_recall_all();		/* the reply that said so may have been lost, and to ask again says that it wasn't */
	rc_lease_listen(socket >= 0 && able && ask());
	return socket;
}

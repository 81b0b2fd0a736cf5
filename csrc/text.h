/* SPDX-License-Identifier: MIT
 *
 * Lines of text, made where libc's printf may not be called: in signal handlers, in other people's programs.
 */
#ifndef RC_TEXT_H
#define RC_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct rc_text {
	char bytes[5000];		/* what doesn't fit is left out */
	size_t length;
};

void rc_text_put(struct rc_text *text, char c);
void rc_text_add(struct rc_text *text, const char *string);
void rc_text_number(struct rc_text *text, uint64_t value, unsigned base);
void rc_text_signed(struct rc_text *text, int64_t value);
/* As a JSON string: what isn't UTF-8 becomes U+FFFD, what doesn't fit "...", and some room is left after it. */
void rc_text_json(struct rc_text *text, const char *string);

#endif

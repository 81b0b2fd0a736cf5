/* SPDX-License-Identifier: MIT */
#include "text.h"

enum { LEFT_AFTER_JSON = 32 };

void rc_text_put(struct rc_text *text, char c)
{
	if (text->length < sizeof text->bytes)
		text->bytes[text->length++] = c;
}

void rc_text_add(struct rc_text *text, const char *string)
{
	while (*string)
		rc_text_put(text, *string++);
}

void rc_text_number(struct rc_text *text, uint64_t value, unsigned base)
{
	if (value >= base)
		rc_text_number(text, value / base, base);
	rc_text_put(text, "0123456789abcdef"[value % base]);
}

void rc_text_signed(struct rc_text *text, int64_t value)
{
	if (value < 0)
		rc_text_put(text, '-');
	rc_text_number(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

/* How many bytes the character has that begins here; 0: it isn't one (RFC 3629). */
static size_t character(const unsigned char *at)
{
	size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than need be, a surrogate, past the last. */
	return (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
	       (at[0] == 0xf4 && at[1] > 0x8f) ? 0 : length;
}

void rc_text_json(struct rc_text *text, const char *string)
{
	rc_text_put(text, '"');
	while (*string) {
		size_t length = character((const unsigned char *)string);

		if (text->length > sizeof text->bytes - LEFT_AFTER_JSON - sizeof "\\u0000...\"") {
			rc_text_add(text, "...");
			break;
		}
		if (!length) {
			rc_text_add(text, "\\ufffd");
			length = 1;
		} else if (*string == '"' || *string == '\\' || (unsigned char)*string < 0x20) {
			rc_text_add(text, "\\u00");
			rc_text_put(text, "01234567"[*string >> 4]);
			rc_text_put(text, "0123456789abcdef"[*string & 15]);
		} else {
			for (size_t i = 0; i < length; i++)
				rc_text_put(text, string[i]);
		}
		string += length;
	}
	rc_text_put(text, '"');
}

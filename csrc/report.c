/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "placeholder.h"
#include "sys.h"

bool rc_debug_on;

void rc_report_start(bool debug)
{
	rc_debug_on = debug;
}

struct line {
	char text[5000];
	size_t length;
};

static void put(struct line *line, char c)
{
	if (line->length < sizeof line->text)
		line->text[line->length++] = c;
}

static void put_number(struct line *line, uint64_t value, unsigned base)
{
	if (value >= base)
		put_number(line, value / base, base);
	put(line, "0123456789abcdef"[value % base]);
}

static void put_signed(struct line *line, int64_t value)
{
	if (value < 0)
		put(line, '-');
	put_number(line, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

/* libc's printf isn't for signal handlers.  Knows %s %d %u %x with l, ll and z. */
void rc_debug_line(const char *format, ...)
{
	struct rc_placeholder found;
	struct line line;
	va_list arguments;

	line.length = 0;
	va_start(arguments, format);
	for (; *format; format++) {
		int longs = 0;

		if (*format != '%') {
			put(&line, *format);
			continue;
		}
		for (format++; *format == 'l' || *format == 'z'; format++)
			longs += *format == 'l' ? 1 : sizeof(size_t) == sizeof(long) ? 1 : 2;
		if (*format == 's')
			for (const char *text = va_arg(arguments, const char *); *text; text++)
				put(&line, *text);
		else if (*format == 'd' && longs)
			put_signed(&line, longs == 2 ? va_arg(arguments, long long) : va_arg(arguments, long));
		else if (*format == 'd')
			put_signed(&line, va_arg(arguments, int));
		else if (longs)
			put_number(&line, longs == 2 ? va_arg(arguments, unsigned long long)
						     : va_arg(arguments, unsigned long), *format == 'x' ? 16 : 10);
		else
			put_number(&line, va_arg(arguments, unsigned), *format == 'x' ? 16 : 10);
	}
	va_end(arguments);
	put(&line, '\n');
	if (rc_placeholder_identify(2, &found) == 0)
		RC_SYS(SYS_write, 2, line.text, line.length, 0, 0, 0);
}

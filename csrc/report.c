/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "placeholder.h"
#include "sys.h"
#include "text.h"

bool rc_debug_on;

void rc_report_start(bool debug)
{
	rc_debug_on = debug;
}

/* Knows %s %d %u %x with l, ll and z. */
void rc_debug_line(const char *format, ...)
{
	struct rc_placeholder found;
	struct rc_text line;
	va_list arguments;

	line.length = 0;
	va_start(arguments, format);
	for (; *format; format++) {
		int longs = 0;

		if (*format != '%') {
			rc_text_put(&line, *format);
			continue;
		}
		for (format++; *format == 'l' || *format == 'z'; format++)
			longs += *format == 'l' ? 1 : sizeof(size_t) == sizeof(long) ? 1 : 2;
		if (*format == 's')
			rc_text_add(&line, va_arg(arguments, const char *));
		else if (*format == 'd' && longs)
			rc_text_signed(&line, longs == 2 ? va_arg(arguments, long long) : va_arg(arguments, long));
		else if (*format == 'd')
			rc_text_signed(&line, va_arg(arguments, int));
		else if (longs)
			rc_text_number(&line, longs == 2 ? va_arg(arguments, unsigned long long)
						     : va_arg(arguments, unsigned long), *format == 'x' ? 16 : 10);
		else
			rc_text_number(&line, va_arg(arguments, unsigned), *format == 'x' ? 16 : 10);
	}
	va_end(arguments);
	rc_text_put(&line, '\n');
	if (rc_placeholder_identify(2, &found) == 0)
		RC_SYS(SYS_write, 2, line.bytes, line.length, 0, 0, 0);
}

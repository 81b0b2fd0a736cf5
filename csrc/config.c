/* SPDX-License-Identifier: MIT */
#include "oldest.h"

#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sys.h"

struct rc_config rc_config;

enum { MOST_CACHE = 1024 };

const char *const rc_config_variables[] = {
	"REMOTE_SERVER", "LOCAL_PATHS", "REMOTE_PATHS", "REMOTE_FD_SHIFT", "LIBREMOTEC_DEBUG", "REMOTEC_SESSION",
	"REMOTEC_CONTROL", "REMOTEC_TIER", "REMOTEC_TIMEOUT", "REMOTEC_MAX_STALE", "REMOTEC_STATS",
	"REMOTEC_CACHE", "REMOTEC_CACHE_SIZE", "REMOTEC_PAGES", "REMOTEC_SPARES",
	NULL,
};

static const char *value_of(char *const *environment, const char *name)
{
	size_t length = strlen(name);

	for (; environment && *environment; environment++)
		if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
			return *environment + length + 1;
	return NULL;
}

static int number_of(char *const *environment, const char *name, int otherwise)
{
	const char *text = value_of(environment, name);
	char *end;
	long value;

	if (!text || !*text)
		return otherwise;
	value = strtol(text, &end, 10);
	return *end || value < 0 || value > 1 << 20 ? otherwise : (int)value;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_session(const char *text, uint8_t session[16])
{
	if (!text || strlen(text) != 32)
		return false;
	for (int i = 0; i < 16; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		session[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static char *copy_of(const char *text)
{
	return text && *text ? rc_keep_string(text, strlen(text)) : NULL;
}

void rc_config_load(char *const *environment)
{
	const char *tier = value_of(environment, "REMOTEC_TIER"), *preloaded = value_of(environment, "LD_PRELOAD");

	rc_sys_is_watched = preloaded && strstr(preloaded, "vgpreload_");
	rc_config.server = copy_of(value_of(environment, "REMOTE_SERVER"));
	if (!rc_config.server)
		rc_config.server = "127.0.0.1";
	rc_config.fd_shift = number_of(environment, "REMOTE_FD_SHIFT", 2048);
	rc_config.timeout_s = number_of(environment, "REMOTEC_TIMEOUT", 30);
	rc_config.max_stale_ms = number_of(environment, "REMOTEC_MAX_STALE", 1000);
	rc_config.cache = copy_of(value_of(environment, "REMOTEC_CACHE"));
	rc_config.cache_size = number_of(environment, "REMOTEC_CACHE_SIZE", 64);
	if (rc_config.cache_size > MOST_CACHE)
		rc_config.cache_size = MOST_CACHE;
	rc_config.pages = copy_of(value_of(environment, "REMOTEC_PAGES"));
	rc_config.debug = number_of(environment, "LIBREMOTEC_DEBUG", 0) != 0;
	rc_config.supervised = tier && (!strcmp(tier, "both") || !strcmp(tier, "supervisor"));
	rc_config.control = copy_of(value_of(environment, "REMOTEC_CONTROL"));
	rc_config.spares = rc_config.control && number_of(environment, "REMOTEC_SPARES", 0);
	rc_config.stats = copy_of(value_of(environment, "REMOTEC_STATS"));
	rc_config.session_given = parse_session(value_of(environment, "REMOTEC_SESSION"), rc_config.session);
	if (!rc_config.session_given)
		rc_sys_random(rc_config.session, sizeof rc_config.session);
	rc_config.error = rc_routes_parse(&rc_config.routes, value_of(environment, "LOCAL_PATHS"),
					  value_of(environment, "REMOTE_PATHS"), &rc_config.problem);
}

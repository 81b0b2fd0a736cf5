/* SPDX-License-Identifier: MIT */
#include "route.h"

#include <errno.h>
#include <string.h>

#include "sys.h"

/* Appends one component to out[0..*length), which never ends in a slash; "" is the root. */
static int push(char *out, size_t *length, size_t size, const char *name, size_t count)
{
	if (count == 1 && name[0] == '.')
		return 0;
	if (count == 2 && name[0] == '.' && name[1] == '.') {
		while (*length && out[--*length] != '/')
			;
		return 0;
	}
	if (count + 2 > size - *length)
		return -ENAMETOOLONG;
	out[(*length)++] = '/';
	memcpy(out + *length, name, count);
	*length += count;
	return 0;
}

static int push_all(char *out, size_t *length, size_t size, const char *path)
{
	while (*path) {
		size_t count = strcspn(path, "/");
		int bad = count ? push(out, length, size, path, count) : 0;

		if (bad)
			return bad;
		path += count;
		path += strspn(path, "/");
	}
	return 0;
}

int rc_path_fold(const char *base, const char *path, char *out, size_t size)
{
	size_t length = 0, given = strlen(path);
	int bad = 0;

	if (path[0] != '/')
		bad = push_all(out, &length, size, base);
	if (!bad)
		bad = push_all(out, &length, size, path);
	if (bad)
		return bad;
	if (!length || (given && path[given - 1] == '/')) {
		if (size - length < 2)
			return -ENAMETOOLONG;
		out[length++] = '/';
	}
	out[length] = '\0';
	return (int)length;
}

static size_t parts(const char *list)
{
	size_t count = 0;

	for (; list && *list; count++) {
		list += strcspn(list, ":");
		list += *list == ':';
	}
	return count;
}

/* A folded copy of text[0..length) without a trailing slash ("" for the root); NULL where it isn't absolute. */
static char *prefix_of(const char *text, size_t length)
{
	char *copy = rc_keep_string(text, length), *folded = rc_keep(length + 2);
	int got = copy && folded && length && text[0] == '/' ? rc_path_fold("/", copy, folded, length + 2) : -EINVAL;

	if (got < 0)
		return NULL;
	if (folded[got - 1] == '/')
		folded[got - 1] = '\0';
	return folded;
}

/* Among the others, behind those that are as long. */
static void insert(struct rc_routes *routes, struct rc_rule rule)
{
	size_t at = routes->count++;

	for (; at && routes->rules[at - 1].length < rule.length; at--)
		routes->rules[at] = routes->rules[at - 1];
	routes->rules[at] = rule;
}

static int add_rules(struct rc_routes *routes, const char *list, bool remote, const char **problem)
{
	while (list && *list) {
		size_t length = strcspn(list, ":"), name = remote ? strcspn(list, ":=") : length;
		struct rc_rule rule = { .remote = remote };

		if (length) {
			rule.prefix = prefix_of(list, name);
			rule.server_path = name == length ? rule.prefix : rc_keep_string(list + name + 1, length - name - 1);
			if (!rule.prefix || (name != length && rule.server_path && rule.server_path[0] != '/')) {
				*problem = "a path prefix is not absolute";
				return -EINVAL;
			}
			rule.length = strlen(rule.prefix);
			insert(routes, rule);
		}
		list += length + (list[length] == ':');
	}
	return 0;
}

int rc_routes_parse(struct rc_routes *routes, const char *local_paths, const char *remote_paths, const char **problem)
{
	size_t count = parts(local_paths) + parts(remote_paths);
	int bad;

	*routes = (struct rc_routes){ .default_remote = !remote_paths || !*remote_paths };
	routes->rules = rc_keep((count + 1) * sizeof *routes->rules);
	if (!routes->rules)
		return -ENOMEM;
	bad = add_rules(routes, local_paths, false, problem);
	if (!bad)
		bad = add_rules(routes, remote_paths, true, problem);
	for (size_t i = 0; !bad && i < routes->count; i++)
		for (size_t j = i + 1; j < routes->count && routes->rules[j].length == routes->rules[i].length; j++)
			if (!strcmp(routes->rules[i].prefix, routes->rules[j].prefix) &&
			    (routes->rules[i].remote || routes->rules[j].remote)) {
				*problem = "the same path prefix has two rules";
				bad = -EINVAL;
			}
	if (bad)
		*routes = (struct rc_routes){ 0 };
	return bad;
}

static bool covers(const char *prefix, size_t length, const char *path)
{
	return !strncmp(path, prefix, length) && (path[length] == '/' || path[length] == '\0');
}

/* Whether `rest`, taken from a directory, leads above it on its way. */
static bool climbs(const char *rest)
{
	int depth = 0;

	while (*rest && depth >= 0) {
		size_t length;

		rest += strspn(rest, "/");
		length = strcspn(rest, "/");
		if (length == 2 && !memcmp(rest, "..", 2))
			depth--;
		else if (length && !(length == 1 && *rest == '.'))
			depth++;
		rest += length;
	}
	return depth < 0;
}

/* What follows the rule's prefix, as the program wrote it where it wrote the prefix plainly and stays below it (then symbolic
 * links before a ".." mean what they mean on the server), else as folded. */
static const char *rest_of(const struct rc_rule *rule, const char *path, const char *folded)
{
	return path[0] == '/' && covers(rule->prefix, rule->length, path) && !climbs(path + rule->length)
	       ? path + rule->length : folded + rule->length;
}

static const struct rc_rule *rule_of(const struct rc_routes *routes, const char *folded)
{
	for (size_t i = 0; i < routes->count; i++)
		if (covers(routes->rules[i].prefix, routes->rules[i].length, folded))
			return &routes->rules[i];
	return NULL;
}

static bool is_remote(const struct rc_routes *routes, const char *folded)
{
	const struct rc_rule *rule = rule_of(routes, folded);

	return rule ? rule->remote : routes->default_remote;
}

/* Whether a ".." of a path that ends local is taken from a remote directory: the kernel can't walk it.  On its own part of the
 * stack, which may be a small one. */
static __attribute__((noinline)) bool crosses(const struct rc_routes *routes, const char *base, const char *path)
{
	char before[RC_PATH_MAX], folded[RC_PATH_MAX];

	for (const char *at = strstr(path, ".."); at; at = strstr(at + 2, "..")) {
		size_t length = (size_t)(at - path);

		if (length >= sizeof before || (length && at[-1] != '/') || (at[2] && at[2] != '/'))
			continue;
		memcpy(before, path, length);
		before[length] = '\0';
		if (rc_path_fold(base, *before ? before : ".", folded, sizeof folded) >= 0 && is_remote(routes, folded))
			return true;
	}
	return *path != '/' && is_remote(routes, base);
}

bool rc_route_leaves(const struct rc_routes *routes, const char *base, const char *path)
{
	const struct rc_rule *rule = rule_of(routes, strcmp(base, "/") ? base : "");
	char before[RC_PATH_MAX], folded[RC_PATH_MAX];

	for (const char *at = strstr(path, ".."); at; at = strstr(at + 2, "..")) {
		size_t length = (size_t)(at + 2 - path);

		if (length >= sizeof before || (at > path && at[-1] != '/') || (at[2] && at[2] != '/'))
			continue;
		memcpy(before, path, length);
		before[length] = '\0';
		if (rc_path_fold(base, before, folded, sizeof folded) < 0 ||
		    rule_of(routes, strcmp(folded, "/") ? folded : "") != rule)
			return true;
	}
	return false;
}

int rc_route_path(const struct rc_routes *routes, const char *base, const char *path, struct rc_route *route)
{
	const char *folded = route->path, *rest = folded, *start = "";
	size_t length, start_length;
	int bad;

	route->rule = NULL;
	route->side = RC_LOCAL;
	bad = *path ? rc_path_fold(base, path, route->path, sizeof route->path) : -ENOENT;
	if (bad < 0) {
		route->path[0] = '\0';
		return bad;
	}
	route->rule = rule_of(routes, folded);
	if (route->rule ? !route->rule->remote : !routes->default_remote) {
		if ((*path == '/' && !strstr(path, "..")) || !crosses(routes, base, path))
			route->path[0] = '\0';
		return 0;
	}
	route->side = RC_REMOTE;
	if (route->rule) {
		rest = rest_of(route->rule, path, folded);
		start = route->rule->server_path;
	} else if (path[0] == '/') {
		rest = path;
	}
	start_length = strlen(start);
	while (start_length && start[start_length - 1] == '/')
		start_length--;
	length = strlen(rest);
	if (start_length + length + 2 > sizeof route->path)
		return -ENAMETOOLONG;
	memmove(route->path + start_length, rest, length + 1);
	memcpy(route->path, start, start_length);
	if (!route->path[0])
		strcpy(route->path, "/");
	return 0;
}

int rc_route_reverse(const struct rc_routes *routes, const char *server_path, char *out, size_t size)
{
	const struct rc_rule *best = NULL;
	size_t best_length = 0, length = strlen(server_path);

	for (size_t i = 0; i < routes->count; i++) {
		const struct rc_rule *rule = &routes->rules[i];
		size_t start = rule->remote ? strlen(rule->server_path) : 0;

		while (start && rule->server_path[start - 1] == '/')
			start--;
		if (rule->remote && covers(rule->server_path, start, server_path) && (!best || start > best_length)) {
			best = rule;
			best_length = start;
		}
	}
	if (!best && !routes->default_remote)
		return -ENOENT;
	if ((best ? best->length : 0) + length - best_length + 2 > size)
		return -ENAMETOOLONG;
	memcpy(out, best ? best->prefix : "", best ? best->length : 0);
	strcpy(out + (best ? best->length : 0), server_path + best_length);
	if (!*out)
		strcpy(out, "/");
	return (int)strlen(out);
}

/* A path's component, and what stands behind it. */
struct component {
	const char *at;
	size_t length;
	const char *rest;
};

static struct component next_component(const char *path)
{
	struct component c = { .at = path };

	while (*c.at == '/' || (c.at[0] == '.' && c.at[1] == '/'))
		c.at++;
	c.length = strcspn(c.at, "/");
	c.rest = c.at + c.length;
	return c;
}

static bool is(struct component c, const char *name)
{
	return c.length == strlen(name) && !memcmp(c.at, name, c.length);
}

/* A decimal number, or -1. */
static int number(struct component c)
{
	int value = 0;

	if (!c.length || c.length > 9)
		return -1;
	for (size_t i = 0; i < c.length; i++) {
		if (c.at[i] < '0' || c.at[i] > '9')
			return -1;
		value = value * 10 + (c.at[i] - '0');
	}
	return value;
}

static bool proc_name_of(const char *path, struct rc_proc_name *name, struct component *last)
{
	static const char *const streams[] = { "stdin", "stdout", "stderr" };
	struct component c = next_component(path);

	name->pid = 0;
	if (is(c, "dev")) {
		*last = next_component(c.rest);
		for (name->fd = 0; name->fd < 3; name->fd++)
			if (is(*last, streams[name->fd]))
				return true;
		c = *last;
	} else if (is(c, "proc")) {
		c = next_component(c.rest);
		if (!is(c, "self") && !is(c, "thread-self") && (name->pid = number(c)) <= 0)
			return false;
		c = next_component(c.rest);
		if (is(c, "task"))
			c = next_component(next_component(c.rest).rest);
		*last = c;
		name->fd = RC_PROC_CWD;
		if (is(c, "cwd"))
			return true;
		name->fd = RC_PROC_EXE;
		if (is(c, "exe"))
			return true;
	}
	if (!is(c, "fd"))
		return false;
	*last = next_component(c.rest);
	name->fd = number(*last);
	return name->fd >= 0;
}

bool rc_route_proc_name(const char *path, struct rc_proc_name *name)
{
	struct component last, after;

	if (!proc_name_of(path, name, &last))
		return false;
	after = next_component(last.rest);
	name->rest = after.length || !*last.rest ? after.at : ".";
	return true;
}

bool rc_route_own_process(const struct rc_routes *routes, const char *path, int pid)
{
	char folded[64];

	return pid >= 0 && rc_path_fold("/", path, folded, sizeof folded) >= 0 && !strncmp(folded, "/proc/", 6) &&
	       number(next_component(folded + 6)) == pid && !is_remote(routes, "/proc/self");
}

bool rc_route_may_lead_away(const struct rc_routes *routes, const char *path)
{
	size_t length = strcspn(path, "/");

	if (routes->default_remote || strstr(path, ".."))
		return true;
	for (size_t i = 0; i < routes->count; i++) {
		const char *at = routes->rules[i].prefix;

		if (!routes->rules[i].remote)
			continue;
		if (!*at || (length == 1 && *path == '.'))
			return true;
		while (*at) {
			at++;
			if (!strncmp(at, path, length) && (at[length] == '/' || !at[length]))
				return true;
			at += strcspn(at, "/");
		}
	}
	return false;
}

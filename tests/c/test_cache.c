/* SPDX-License-Identifier: MIT
 *
 * The cache by itself: keys, age, rows and contents; and processes that write the same rows while they are killed.
 */
#include "cache.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"

static int failures;

#define EXPECT(condition) \
	do { \
		if (!(condition)) { \
			printf("%d: not so: %s\n", __LINE__, #condition); \
			failures++; \
		} \
	} while (0)

enum { MEBIBYTE = 1 << 20, KEYS = 8, WRITERS = 4, KILLS = 300, LARGE = 60000 };

static struct rc_key key_of(const char *name)
{
	return rc_cache_key_in(rc_cache_key_of(RC_NO_HANDLE), name, strlen(name));
}

static void test_keys(void)
{
	struct rc_key root = rc_cache_key_of(RC_NO_HANDLE), seen[600];
	char name[] = "xxxxxxxxxxxxxxxxxxxxxxxx";
	int count = 0;

	for (size_t length = 0; length < sizeof name; length++) {
		seen[count++] = rc_cache_key_in(root, name, length);
		seen[count++] = rc_cache_key_in(rc_cache_key_of(5), name, length);
		for (size_t i = 0; i < length && count < 600; i++) {
			name[i] = 'y';
			seen[count++] = rc_cache_key_in(root, name, length);
			name[i] = 'x';
		}
	}
	for (int i = 0; i < count; i++)
		for (int k = 0; k < i; k++)
			EXPECT(memcmp(&seen[i], &seen[k], sizeof *seen));
}

static void test_rows(void)
{
	struct rc_fact fact = { .asked_ms = rc_cache_now(), .error = -ENOENT }, found, older = fact;

	EXPECT(!rc_cache_find(key_of("a"), RC_FACT_STAT, &found));
	rc_cache_keep(key_of("a"), RC_FACT_STAT, &fact);
	EXPECT(rc_cache_find(key_of("a"), RC_FACT_STAT, &found) && found.error == -ENOENT && rc_cache_fresh(found.asked_ms));
	EXPECT(!rc_cache_find(key_of("a"), RC_FACT_LSTAT, &found) && !rc_cache_find(key_of("b"), RC_FACT_STAT, &found));
	EXPECT(!rc_cache_find(key_of("a"), RC_FACT_STAT | 0x100, &found));
	older.asked_ms -= 10;
	older.error = -ENOTDIR;
	rc_cache_keep(key_of("a"), RC_FACT_STAT, &older);	/* a reply that was long on its way */
	EXPECT(rc_cache_find(key_of("a"), RC_FACT_STAT, &found) && found.error == -ENOENT);
	for (int i = 0; i < 100000; i++) {
		char name[16];

		snprintf(name, sizeof name, "n%d", i);
		fact.asked_ms = rc_cache_now() + 1;
		fact.number = (uint64_t)i;
		rc_cache_keep(key_of(name), RC_FACT_STAT, &fact);
		EXPECT(rc_cache_find(key_of(name), RC_FACT_STAT, &found) && found.number == (uint64_t)i);
	}
	EXPECT(!rc_cache_find(key_of("a"), RC_FACT_STAT, &found));	/* it's bounded */
}

static void test_a_listing_finds_room(void)
{
	enum { NAMES = 1500 };		/* of some 8,000 rows: a place for each, however the key of the hash has fallen */
	struct rc_fact listed = { .asked_ms = rc_cache_now(), .flags = RC_FACT_LISTED }, found;
	char name[16];

	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "r%d", i);
		rc_cache_keep(key_of(name), RC_FACT_LSTAT, &listed);
	}
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "r%d", i);
		EXPECT(rc_cache_find(key_of(name), RC_FACT_LSTAT, &found));
	}
}

/* The name of a directory's file is looked for by the row that says what the directory was opened as, the oldest of all. */
static void test_a_listing_pushes_out_no_other_row(void)
{
	enum { NAMES = 100000 };
	struct rc_fact directory = { .asked_ms = rc_cache_now() - 100, .flags = RC_FACT_CONFIRMABLE }, found;
	struct rc_fact listed = { .asked_ms = rc_cache_now(), .flags = RC_FACT_LISTED };
	char name[16];

	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "d%d", i);
		rc_cache_keep(key_of(name), RC_FACT_DIRECTORY, &directory);
	}
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "l%d", i);
		rc_cache_keep(key_of(name), RC_FACT_LSTAT, &listed);
	}
	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "d%d", i);
		EXPECT(rc_cache_find(key_of(name), RC_FACT_DIRECTORY, &found));
	}
	snprintf(name, sizeof name, "l%d", NAMES - 1);
	EXPECT(rc_cache_find(key_of(name), RC_FACT_LSTAT, &found));
}

static void test_age(void)
{
	uint32_t now = rc_cache_now();

	EXPECT(!rc_cache_fresh(now - 1001) && !rc_cache_fresh(now + 1000));
	usleep(3000);
	EXPECT(rc_cache_fresh(rc_cache_now()));
	now = rc_cache_now();
	usleep(2000);
	rc_cache_void();
	EXPECT(!rc_cache_fresh(now));
	usleep(2000);
	EXPECT(rc_cache_fresh(rc_cache_now()) && !rc_cache_fresh(now));
	rc_config.max_stale_ms = 0;
	EXPECT(!rc_cache_on() && !rc_cache_fresh(rc_cache_now()));
	rc_config.max_stale_ms = 1000;
}

static void test_contents(void)
{
	static char large[RC_CONTENT_MOST + 1], got[RC_CONTENT_MOST];
	struct iovec parts[2] = { { got, 3 }, { got + 3, sizeof got - 3 } };
	struct rc_content first, content;

	memset(large, 'l', sizeof large);
	content = rc_cache_keep_content("", 0);
	EXPECT(content.sequence && rc_cache_read(content, parts, 2, 0) == 0);
	first = rc_cache_keep_content("hello world", 11);
	EXPECT(rc_cache_read(first, parts, 2, 2) == 9 && !memcmp(got, "llo world", 9));
	EXPECT(rc_cache_read(first, parts, 1, 9) == 2 && rc_cache_read(first, parts, 2, 11) == 0 &&
	       rc_cache_read(first, parts, 2, INT64_MAX) == 0);
	content = rc_cache_keep_content(large, RC_CONTENT_MOST);
	EXPECT(rc_cache_read(content, parts, 2, 0) == RC_CONTENT_MOST && !memcmp(got, large, sizeof got));
	EXPECT(!rc_cache_keep_content(large, sizeof large).sequence);
	content.slot += 3 * 100000;		/* what a broken process might write */
	EXPECT(rc_cache_read(content, parts, 2, 0) == -EAGAIN);
	parts[0].iov_base = (void *)8;
	EXPECT(rc_cache_read(first, parts, 2, 0) == -EFAULT);
	for (int i = 0; i < 100000 && rc_cache_read(first, NULL, 0, 0) == 0; i++)
		rc_cache_keep_content("other", 5);
	EXPECT(rc_cache_read(first, parts + 1, 1, 0) == -EAGAIN);
}

/* Rows and contents whose every part is made from one number. */
static void write_for_ever(unsigned seed)
{
	static char bytes[LARGE];

	for (;;) {
		struct rc_fact fact = { .asked_ms = rc_cache_now() };
		char name[2] = { (char)('A' + rand_r(&seed) % KEYS), '\0' };
		uint8_t value = (uint8_t)rand_r(&seed);

		memset(bytes, value, sizeof bytes);
		memset(&fact.stat, value, sizeof fact.stat);
		fact.number = value;
		fact.content = rc_cache_keep_content(bytes, sizeof bytes);
		rc_cache_keep(key_of(name), RC_FACT_OPENED, &fact);
	}
}

static pid_t writer(unsigned seed)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(60);
		write_for_ever(seed);
	}
	return pid;
}

static bool is_all(const void *bytes, size_t length, uint8_t value)
{
	for (size_t i = 0; i < length; i++)
		if (((const uint8_t *)bytes)[i] != value)
			return false;
	return true;
}

/* Readers of what is written by processes that are killed at any moment: all of it is one writer's, and nobody waits. */
static void test_killed_writers(void)
{
	static char got[LARGE];
	struct iovec part = { got, sizeof got };
	pid_t writers[WRITERS];
	unsigned rows = 0, contents = 0;

	for (unsigned i = 0; i < WRITERS; i++)
		writers[i] = writer(i);
	for (unsigned kills = 0; kills < KILLS; kills++) {
		for (unsigned i = 0; i < 50; i++) {
			char name[2] = { (char)('A' + i % KEYS), '\0' };
			struct rc_fact fact;
			ssize_t length;

			if (!rc_cache_find(key_of(name), RC_FACT_OPENED, &fact))
				continue;
			EXPECT(is_all(&fact.stat, sizeof fact.stat, (uint8_t)fact.number));
			rows++;
			length = rc_cache_read(fact.content, &part, 1, 0);
			EXPECT(length == -EAGAIN || (length == LARGE && is_all(got, LARGE, (uint8_t)fact.number)));
			contents += length == LARGE;
		}
		kill(writers[kills % WRITERS], SIGKILL);
		waitpid(writers[kills % WRITERS], NULL, 0);
		writers[kills % WRITERS] = writer(1000 + kills);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		kill(writers[i], SIGKILL);
		waitpid(writers[i], NULL, 0);
	}
	EXPECT(rows > KILLS && contents > 0);
}

int main(void)
{
	char path[64];
	int fd = rc_cache_create(8 * MEBIBYTE);

	EXPECT(fd >= 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	rc_config.cache = path;
	rc_config.cache_size = 8;
	rc_config.max_stale_ms = 1000;
	EXPECT(rc_cache_on());
	usleep(2000);
	test_keys();
	test_a_listing_finds_room();
	test_a_listing_pushes_out_no_other_row();
	test_rows();
	test_age();
	test_contents();
	test_killed_writers();
	return failures != 0;
}

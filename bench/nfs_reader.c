/* SPDX-License-Identifier: MIT
 *
 * The workloads that an NFS client without a mount can do, by libnfs's synchronous calls, one after the other as a program's own
 * system calls would come.
 *
 *   nfs_reader URL read PATH SIZE TOTAL sequential|random FILE_BYTES
 *   nfs_reader URL list DIRECTORY        every name below, with its attributes
 *   nfs_reader URL cat DIRECTORY         and the content of each file
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <nfsc/libnfs.h>

static char buffer[1024 * 1024];

static _Noreturn void fail(struct nfs_context *nfs, const char *what)
{
	fprintf(stderr, "%s: %s\n", what, nfs_get_error(nfs));
	exit(1);
}

static void read_file(struct nfs_context *nfs, const char *path, uint64_t size, uint64_t total, bool at_random, uint64_t span)
{
	uint64_t state = 88172645463325252u, done = 0;
	struct nfsfh *file;

	if (size > sizeof buffer || nfs_open(nfs, path, O_RDONLY, &file))
		fail(nfs, path);
	while (done < total) {
		uint64_t offset = done;
		int got;

		if (at_random) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			offset = state % (span / size) * size;
		}
		got = nfs_pread(nfs, file, offset, size, buffer);
		if (got < 0)
			fail(nfs, path);
		if (!got)
			break;
		done += (uint64_t)got;
	}
	nfs_close(nfs, file);
}

static void walk(struct nfs_context *nfs, const char *directory, bool content)
{
	struct nfsdirent *entry;
	struct nfsdir *dir;

	if (nfs_opendir(nfs, directory, &dir))
		fail(nfs, directory);
	while ((entry = nfs_readdir(nfs, dir))) {
		char path[4096];

		if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, entry->name);
		printf("%llu %s\n", (unsigned long long)entry->size, path);
		if (S_ISDIR(entry->mode))
			walk(nfs, path, content);
		else if (content)
			read_file(nfs, path, 65536, entry->size, false, 0);
	}
	nfs_closedir(nfs, dir);
}

int main(int count, char **arguments)
{
	struct nfs_context *nfs = nfs_init_context();
	struct nfs_url *url = count >= 4 && nfs ? nfs_parse_url_dir(nfs, arguments[1]) : NULL;

	if (!url) {
		fprintf(stderr, "usage: %s URL read PATH SIZE TOTAL ORDER FILE_BYTES | list DIRECTORY | cat DIRECTORY\n", arguments[0]);
		return 2;
	}
	if (nfs_mount(nfs, url->server, url->path))
		fail(nfs, "mount");
	if (count == 8 && !strcmp(arguments[2], "read"))
		read_file(nfs, arguments[3], strtoull(arguments[4], NULL, 10), strtoull(arguments[5], NULL, 10),
			  arguments[6][0] == 'r', strtoull(arguments[7], NULL, 10));
	else
		walk(nfs, arguments[3], !strcmp(arguments[2], "cat"));
	nfs_destroy_url(url);
	nfs_destroy_context(nfs);
	return 0;
}

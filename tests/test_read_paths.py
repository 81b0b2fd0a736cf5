# SPDX-License-Identifier: MIT
"""Paths, walks, links, waiting: each line plainly and through remotec."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Dict

import pytest

from conftest import Same
from oracle import TIERS, Server, command

# The arguments: a directory, nftw's flags (-1: ftw), whether to read /proc/self's links.
WALKER = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	long long ino = type == FTW_NS ? 0 : st->st_ino;

	printf("%s %s %d %d %lld\n", path, at->level ? path + at->base : "", type, at->level, ino);
	return strstr(path, "/deep") ? FTW_SKIP_SUBTREE : 0;
}
static int plain(const char *path, const struct stat *st, int type)
{
	(void)st;
	printf("%s %d\n", path, type);
	return 0;
}
int main(int count, char **argument)	/* directory, flags[, "links"] */
{
	int flags = atoi(argument[2]), fd = open(argument[1], O_RDONLY), got;
	int result = flags < 0 ? ftw(argument[1], plain, 5) : nftw(argument[1], one, 5, flags);
	struct dirent **list;
	char link[64], target[4096] = "";

	printf("%d %s\n", result, result < 0 ? strerror(errno) : "");
	got = scandirat(fd, ".", &list, NULL, alphasort);
	printf("%d %s\n", got, got > 2 ? list[2]->d_name : "");
	if (count < 4 || fd < 0)
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	printf("%.*s\n", (int)readlink(link, target, sizeof target), target);
	if (fchdir(fd) == 0)
		printf("%.*s\n", (int)readlink("/proc/self/cwd", target, sizeof target), target);
	return 0;
}
"""


@pytest.fixture(scope="session")
def walker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    source = tmp_path_factory.mktemp("walker") / "walker.c"
    source.write_text(WALKER)
    build = [compiler, "-O2", "-D_FORTIFY_SOURCE=2", "-o", str(source.with_suffix("")), str(source)]
    subprocess.run(build, check=True)
    return source.with_suffix("")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("flags", ["0", "1", "13", "24", "-1"])
@pytest.mark.parametrize("root", ["", "/sub/", "/linkdir", "/text", "/dangling", "/missing"])
def test_ftw_nftw_scandirat_and_links_of_proc(
    same: Same, walker: Path, root: str, flags: str, tier: str
) -> None:
    links = "" if tier == "supervisor" else "links"  # there they are the kernel's own
    same(f"{walker} {{box}}{root} {flags} {links} | sort", tier)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("mode", ["fast", "pure"])
def test_inotify_sees_a_line_that_is_appended_on_the_server(
    tree: Path, servers: Dict[str, Server], tiers: Dict[str, str], tier: str, mode: str
) -> None:
    if tiers[tier]:
        pytest.skip(tiers[tier])
    log = tree / f"log-{tier}-{mode}"
    log.write_text("first\n")
    follow = f"timeout 40 tail -n 1 -s 30 -f /box/{log.name}".split()
    line = [*command(servers[mode].address, tree, tier), *follow]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"first\n"
        for number in range(3):  # more promptly than polling every 30 seconds
            time.sleep(0.3)
            with log.open("a") as out:
                out.write(f"line {number}\n")
            start = time.monotonic()
            assert process.stdout.readline() == b"line %d\n" % number
            assert time.monotonic() - start < 10
    finally:
        process.terminate()
        process.wait(10)
        log.unlink()


POLLING = """
import os, select
fifo, file = os.open("{box}/fifo", os.O_RDONLY | os.O_NONBLOCK), os.open("{box}/text", 0)
read, write = os.pipe()
wait, go_on = os.pipe()
poll = select.poll()
poll.register(fifo, select.POLLIN)
poll.register(read, select.POLLIN)
print(poll.poll(100), select.select([fifo, read], [], [], 0.1))
if os.fork() == 0:
    out = os.open("{srv}/fifo", os.O_WRONLY)
    select.select([], [], [], 0.3)
    os.write(out, b"line")
    os.read(wait, 1)
    os._exit(0)
print([events for _, events in poll.poll(5000)], os.read(fifo, 9))
print(len(select.select([fifo, file], [], [], 0)[0]))
os.write(write, b"x")
print([events for _, events in poll.poll(5000)])
os.write(go_on, b"x")
os.wait()
"""


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("mode", ["fast", "pure"])
def test_poll_of_a_fifo_is_the_servers_beside_local_descriptors(same: Same, tier: str, mode: str) -> None:
    script = POLLING.replace('"', "'")
    same(f'python3 -c "{script}"', tier, mode)


@pytest.mark.parametrize("tier", TIERS)
def test_leaving_a_remote_directory_by_its_parent_again_and_again(same: Same, tier: str) -> None:
    """The supervisor has the program's call start anew, which it is notified of as well."""
    leave = "import os; print([(os.chdir('/usr'), os.chdir('{box}'), os.chdir('..')) for _ in range(100)])"
    same(f'python3 -c "{leave}"', tier)

# SPDX-License-Identifier: MIT
"""Programs that show a machine's state show the server's: it has its own processes, memory, load and mounts here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Callable, Iterator

import pytest

FAKED = {
    "uptime": "7200.00 100.00\n",
    "loadavg": "1.25 2.50 3.75 1/2 3\n",
    "meminfo": "MemTotal: 7654321 kB\nMemFree: 654321 kB\nMemAvailable: 54321 kB\nBuffers: 0 kB\nCached: 0 kB\n"
    "SwapTotal: 0 kB\nSwapFree: 0 kB\nSlab: 0 kB\nShmem: 0 kB\nSReclaimable: 0 kB\n",
    "cpuinfo": "".join(f"processor\t: {i}\nmodel name\t: its\nphysical id\t: 0\ncore id\t: {i}\n\n" for i in range(64)),
}
NAMESPACE = ["unshare", "-pfm", "--mount-proc"]
START = """
for name in uptime loadavg meminfo cpuinfo; do mount --bind "$0/$name" "/proc/$name"; done
mkdir "$0/disk"; mount -t tmpfs -o size=8m its-disk "$0/disk"
sleep infinity &
exec "$@"
"""

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server in its own PID and mount namespaces."""
    if not shutil.which("unshare") or subprocess.run([*NAMESPACE, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a PID namespace can't be made here: not root, or not permitted")
    where = tmp_path_factory.mktemp("machine")
    for name, text in FAKED.items():
        (where / name).write_text(text)
    serve = [sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0"]
    command = [*NAMESPACE, "--kill-child", "sh", "-c", START, str(where), *serve]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("listening on "), line
    yield line.split()[-1]
    process.kill()
    process.wait()


@pytest.fixture
def ask(machine: str, tier: str) -> Ask:
    def run(*words: str) -> str:
        if not shutil.which(words[0]):
            pytest.skip(f"not installed: {words[0]}")
        remotec = [sys.executable, "-m", "remotec", "run", "-s", machine, "--tier", tier, "--"]
        env = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm", "COLUMNS": "200"}
        done = subprocess.run([*remotec, *words], capture_output=True, text=True, timeout=60, env=env, cwd="/")
        assert done.stderr == ""
        return done.stdout

    return run


def test_ps_shows_the_servers_processes(ask: Ask) -> None:
    listed = [line.split(None, 10)[1:] for line in ask("ps", "aux").splitlines()[1:]]
    assert [each[0] for each in listed] == ["1", ask("pgrep", "sleep").strip()]
    assert "remotec serve" in listed[0][-1] and listed[1][-1] == "sleep infinity"
    assert ask("cat", "/proc/1/comm").startswith("python")


def test_top_shows_the_servers_processes(ask: Ask) -> None:
    lines = [line for line in ask("top", "-b", "-n1").splitlines() if line]
    assert "up  2:00" in lines[0] and "load average: 1.25, 2.50, 3.75" in lines[0]
    assert sorted(line.split()[-1] for line in lines if line.split()[0].isdigit()) == ["python", "sleep"]


def test_pstree_and_lsof_show_the_servers_processes(ask: Ask) -> None:
    assert ask("pstree", "-A").startswith("python")
    assert " cwd " in ask("lsof", "-w", "-p", "1")


def test_memory_load_and_processors_are_the_servers(ask: Ask) -> None:
    assert ask("free", "-k").splitlines()[1].split()[1] == "7654321"
    assert "up  2:00" in ask("uptime") and "load average: 1.25, 2.50, 3.75" in ask("uptime")
    assert ask("cat", "/proc/cpuinfo") == FAKED["cpuinfo"]
    assert ask("grep", "-c", "", "/proc/meminfo") == "10\n"


def test_disks_are_the_servers(ask: Ask) -> None:
    disks = [line.split() for line in ask("df", "-k").splitlines()]
    assert [disk[1] for disk in disks if disk[0] == "its-disk"] == ["8192"]
    assert ask("findmnt", "-n", "-o", "SIZE", "-S", "its-disk").strip() == "8M"


def test_the_process_itself_is_local(ask: Ask) -> None:
    program = "import os; print(all(os.path.exists(f'/proc/{name}/exe') for name in ('self', os.getpid())))"
    assert ask("python3", "-c", program) == "True\n"

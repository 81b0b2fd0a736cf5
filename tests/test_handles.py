# SPDX-License-Identifier: MIT
"""A handle lives exactly as long as a descriptor of it, in whichever process; locks no longer than their holders."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from conftest import Same
from oracle import Server, command
from remotec import protocol
from remotec.client import Client

# Says how many handles there are to be, and goes on when told to.
TREE = r"""
import array, os, signal, socket, sys
PATH = "/box/text"
def at(expected): print(expected, flush=True); input()
def reads(fd): assert os.pread(fd, 4, 0) == b"here"; return True
def fork(child, *arguments):
    pid = os.fork()
    if pid == 0:
        os._exit(child(*arguments) or 0)
    return pid
def until_told(fd, pipe):
    '''Each of a chain of processes but the last ends at once.'''
    for _ in range(3):
        if os.fork():
            os._exit(0)
    os.read(pipe, 1)
    reads(fd)
def told(pipe): os.write(pipe, b"x"); os.close(pipe)

fd = os.open(PATH, os.O_RDONLY)
at(1)
other = os.dup(fd)
third = os.dup2(fd, 77)
second = os.open(PATH, os.O_RDONLY)
os.close(fd)
os.close(other)
at(2)
os.close(second)
at(1)
reads(third)
os.close(third)
at(0)

fd = os.open(PATH, os.O_RDONLY)                         # a descendant has it
out, into = os.pipe()
os.waitpid(fork(until_told, fd, out), 0)
os.close(out)
os.close(fd)
at(1)
told(into)
at(0)

fd = os.open(PATH, os.O_RDONLY)                         # another program has it, and nobody else
os.set_inheritable(fd, True)
out, into = os.pipe()
script = f"import os; os.read(0, 1); assert os.pread({fd}, 4, 0) == b'here'"
def execute():
    os.dup2(out, 0)
    os.execv(sys.executable, [sys.executable, "-S", "-c", script])
pid = fork(execute)
os.close(fd)
os.close(out)
at(1)
told(into)
assert os.waitpid(pid, 0)[1] == 0
at(0)

fd = os.open(PATH, os.O_RDONLY)                         # it is on its way, and then nobody's
pair = socket.socketpair()
def send():
    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
send()
send()
os.close(fd)
at(1)
data, control, _, _ = pair[1].recvmsg(1, socket.CMSG_LEN(4))
fd = array.array("i", control[0][2])[0]
reads(fd)
os.close(fd)
at(1)
for each in pair:
    each.close()
at(0)

fd = os.open(PATH, os.O_RDONLY)                         # a killed process had it
out, into = os.pipe()
pid = fork(until_told, fd, out)
os.waitpid(pid, 0)
pid = fork(signal.pause)
os.close(fd)
at(1)
told(into)
at(1)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
at(0)
"""

WALK = r"""
import os
names = os.listdir("/box/many")
for name in names[:5]:
    open("/box/many/" + name).close()
print(0, flush=True)
input()
os.listdir("/box/many")
for name in names[5:9]:
    open("/box/many/" + name).close()
"""

HOLDERS = r"""
python3 - {box}/lock <<'END'
import fcntl, os, signal, sys
def take(): return os.open(sys.argv[1], os.O_RDONLY)
def free(): return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) or fcntl.flock(fd, fcntl.LOCK_UN)
fd = take()
for i in range(30):
    holder = take()
    fcntl.flock(holder, fcntl.LOCK_EX)
    os.close(holder)
    free()
    pid = os.fork()
    if pid == 0:
        fcntl.flock(take(), fcntl.LOCK_EX)
        if i % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)
    free()
print("free")
END
for i in 1 2 3 4 5; do flock -n {box}/lock true || echo taken; done
"""


@pytest.fixture
def box(tmp_path: Path) -> Path:
    (tmp_path / "text").write_text("here it is\n")
    (tmp_path / "many").mkdir()
    for i in range(60):
        (tmp_path / "many" / f"f{i}").write_text(f"{i}\n")
    return tmp_path


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server("fast")
    yield running
    assert running.stop() == 0


def follow(server: Server, box: Path, tier: str, program: str) -> None:
    """Runs what says how many handles there are to be, and waits each time until there are."""
    line = [*command(server.address, box, tier), "python3", "-S", "-c", program]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        for step, said in enumerate(process.stdout):
            settle(server, int(said), f"step {step}")
            print(file=process.stdin, flush=True)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    settle(server, 0, "the end")


def settle(server: Server, expected: int, when: str) -> None:
    with Client(server.address) as client:
        until, right = time.monotonic() + 15, 0
        while right < 3:  # and it stays so
            found = client.call(protocol.STATUS).all_handles
            right = right + 1 if found == expected else 0
            assert time.monotonic() < until, f"{when}: {found} handles, not {expected}"
            time.sleep(0.05)


def test_a_handle_is_closed_with_its_last_descriptor_and_not_before(server: Server, box: Path, tier: str) -> None:
    follow(server, box, tier, TREE)


def test_what_a_walk_had_opened_ahead_is_closed_when_nobody_comes_for_it(
    server: Server, box: Path, tiers: "dict[str, str]"
) -> None:
    if tiers["supervisor"]:
        pytest.skip(tiers["supervisor"])
    follow(server, box, "supervisor", WALK)


def test_a_lock_is_free_once_its_holder_has_closed_or_ended(same: Same, tree: Path, tiers: "dict[str, str]") -> None:
    (tree / "lock").touch()
    same(HOLDERS, "supervisor")

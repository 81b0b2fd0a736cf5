# SPDX-License-Identifier: MIT
"""No server, another server, a server that goes: a clear errno in bounded time, one line of ours, never local data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest

from oracle import TIERS, Server, command
from remotec import protocol
from remotec.client import Client


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


Serve = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(talk): the address of a listener that calls talk(connection) for each that comes."""
    listeners: List[socket.socket] = []

    def start(talk: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return address_of(listener)

    yield start
    for listener in listeners:
        listener.close()


def run(
    address: str, tree: Path, tier: str, *words: str, options: "tuple[str, ...]" = ()
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*command(address, tree, tier, *options), *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=60
    )


@pytest.mark.parametrize("tier", TIERS)
def test_no_server(tree: Path, tier: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = address_of(unused)
    done = run(address, tree, tier, "cat", "/box/text")
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr == b"remotec: %s: Connection refused\n" % address.encode()


@pytest.mark.parametrize("tier", TIERS)
def test_something_else_answers(tree: Path, serve: Serve, tier: str) -> None:
    address = serve(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" * 99))
    done = run(address, tree, tier, "cat", "/box/text")
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr.count(b"\n") == 1 and b"not a remotec server" in done.stderr


def test_a_server_that_never_answers(tree: Path, serve: Serve) -> None:
    address = serve(lambda connection: time.sleep(60))
    started = time.monotonic()
    done = run(address, tree, "both", "cat", "/box/text", options=("--timeout", "1"))
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr.count(b"\n") == 1 and b"no answer in time" in done.stderr
    assert time.monotonic() - started < 30


def test_another_version(tree: Path, serve: Serve) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        name = b"EPROTONOSUPPORT"
        error = protocol.ERRNO[name.decode()]
        connection.sendall(protocol.HEADER.build(len(name), protocol.HELLO.code, error, 0, 0) + name)
        connection.close()

    done = run(serve(refuse), tree, "preload", "cat", "/box/text")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"another version" in done.stderr


@pytest.mark.parametrize("tier", TIERS)
def test_a_server_killed_in_the_middle(tree: Path, tiers: Dict[str, str], tier: str) -> None:
    if tiers[tier]:
        pytest.skip(tiers[tier])
    server = Server("fast")
    script = "exec 3< /box/bin; head -c 10 <&3 | wc -c; read x; cat <&3 > /dev/null; echo $?; cat /box/text; echo $?"
    process = subprocess.Popen(
        [*command(server.address, tree, tier, "--timeout", "5"), "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stdin
    assert process.stdout.readline() == b"10\n"
    server.process.kill()
    server.process.wait()
    out, err = process.communicate(b"\n", timeout=60)
    assert out == b"1\n1\n"
    assert err.count(b"the server is gone") == 1


@pytest.mark.parametrize("tier", ("preload", "both"))
def test_signals_that_come_faster_than_replies(
    tree: Path, servers: Dict[str, Server], tiers: Dict[str, str], serve: Serve, tier: str
) -> None:
    """The open of a regular file isn't interrupted; Python's handlers have no SA_RESTART, and ctypes begins nothing again."""
    if tiers[tier]:
        pytest.skip(tiers[tier])
    host, port = servers["fast"].address.split(":")

    def slow(source: socket.socket, target: socket.socket, delay_s: float) -> None:
        while data := source.recv(65536):
            time.sleep(delay_s)
            target.sendall(data)

    def proxy(client: socket.socket) -> None:
        behind = socket.create_connection((host, int(port)))
        threading.Thread(target=slow, args=(client, behind, 0.05), daemon=True).start()
        slow(behind, client, 0)

    program = (
        "import ctypes, os, signal; signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "open = ctypes.CDLL(None).open\n"
        "signal.setitimer(signal.ITIMER_REAL, .01, .01)\n"
        "opened = [open(b'/box/one', os.O_RDONLY) for _ in range(3)]\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "print([os.read(fd, 9) for fd in opened])\n"
    )
    done = run(serve(proxy), tree, tier, "python3", "-S", "-c", program)
    assert (done.returncode, done.stdout) == (0, b"[b'x', b'x', b'x']\n")


@pytest.mark.parametrize("cut", [0, 10, 16, 60, 500, 70000])
def test_a_reply_cut_short(tree: Path, servers: Dict[str, Server], serve: Serve, cut: int) -> None:
    """After `cut` bytes of what the server says, each connection is closed."""
    host, port = servers["fast"].address.split(":")

    def proxy(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as behind:
            def forward() -> None:
                while data := client.recv(65536):
                    behind.sendall(data)

            threading.Thread(target=forward, daemon=True).start()
            left = 100 + cut  # HELLO's reply comes whole
            while left and (data := behind.recv(min(65536, left))):
                client.sendall(data)
                left -= len(data)
            for each in (client, behind):  # closing alone would wait for the other thread's recv
                each.shutdown(socket.SHUT_RDWR)

    address = serve(proxy)
    library = os.path.join(os.path.dirname(protocol.__file__), "libremotec.so")
    environment = {**os.environ, "LD_PRELOAD": library, "REMOTE_SERVER": address, "REMOTE_PATHS": f"/box={tree}"}
    done = subprocess.run(["cat", "/box/bin"], capture_output=True, timeout=60, env=environment)
    whole = (tree / "bin").read_bytes()
    assert whole.startswith(done.stdout)
    assert done.returncode == 1 or done.stdout == whole


def opened_by(server: Server, path: Path) -> bool:
    """Whether the server has it open, waiting for the other end or not."""
    found = Path(f"/proc/{server.process.pid}/fd").iterdir()
    return any(os.path.lexists(fd) and os.readlink(fd) == str(path) for fd in found)


@pytest.mark.parametrize("tier", TIERS)
def test_no_handle_is_left(tree: Path, tiers: Dict[str, str], tier: str) -> None:
    if tiers[tier]:
        pytest.skip(tiers[tier])
    server = Server("fast")
    script = """exec 3< /box/text 4< /box/bin; (cat <&3 > /dev/null) & cat /box/many/* > /dev/null; wait
        python3 -c 'import os; [os.open("/box/text", 0) for _ in range(99)]; os.fork() or os.execvp("true", ["true"])'
        find /box -name f00* > /dev/null; cd /box && ls > /dev/null
        for f in many/f01*; do wc -c < $f; done > /dev/null"""
    done = run(server.address, tree, tier, "bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, b"")
    process = subprocess.Popen([*command(server.address, tree, tier), "cat", "/box/fifo"], stdout=subprocess.PIPE)
    while not opened_by(server, tree / "fifo"):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tree / "fifo").open("w").close() if tier == "preload" else None
    with Client(server.address) as client:
        for _ in range(100):
            left = client.call(protocol.STATUS).all_handles
            if not left:
                break
            time.sleep(0.1)
    assert left == 0
    assert server.stop() == 0


def test_a_killed_supervisor_ends_the_tree(tree: Path, servers: Dict[str, Server], tiers: Dict[str, str]) -> None:
    if tiers["supervisor"]:
        pytest.skip(tiers["supervisor"])
    words = ["bash", "-c", "echo $$; while :; do cat /box/one > /dev/null; done"]
    process = subprocess.Popen(
        [*command(servers["fast"].address, tree, "supervisor"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    shell = int(process.stdout.readline())
    with open(f"/proc/{shell}/stat") as stat:
        supervisor = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 125
    assert b"the supervisor was killed" in err
    assert not os.path.exists(f"/proc/{shell}")

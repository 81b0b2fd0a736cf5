# SPDX-License-Identifier: MIT
"""No server, another server, a server that goes: a clear errno in bounded time, one line of ours, never local data."""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import pytest

from oracle import TIERS, Server, command
from relay import Relay, end, frames
from remotec import protocol
from remotec.client import Client
from remotec.protocol import HEADER
from remotec.session import Connection
from remotec.session import Server as SessionServer


def start(address: str, tree: Path, tier: str, options: Sequence[str], *program: str) -> "subprocess.Popen[bytes]":
    """`remotec run`, with pipes for all three of the program's descriptors."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*command(address, tree, tier, *options), *program], stdin=pipe, stdout=pipe, stderr=pipe)


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
    with socket.socket() as unused:  # nobody listens, and nobody else takes the port
        unused.bind(("127.0.0.1", 0))
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
    process = start(server.address, tree, tier, ["--timeout", "5"], "bash", "-c", script)
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
    """The open of a regular file isn't interrupted, by signals without SA_RESTART either."""
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
                with suppress(OSError):  # closed by the other thread
                    while data := client.recv(65536):
                        behind.sendall(data)

            threading.Thread(target=forward, daemon=True).start()
            left = 100 + cut  # HELLO's reply comes whole
            while left and (data := behind.recv(min(65536, left))):
                client.sendall(data)
                left -= len(data)
            for each in (client, behind):  # closing alone would wait for the other thread's recv
                with suppress(OSError):  # the other end was first
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
    for fd in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(fd) == str(path):
                return True
    return False


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


ACTS = ["os.open('/box/many', os.O_DIRECTORY)", "os.open('/box/bin', os.O_NONBLOCK)", "open('/box/fifo')"]


@pytest.mark.parametrize("act", ACTS)
def test_a_server_that_is_silent_from_now_on(tree: Path, tier: str, act: str) -> None:
    """What the server may take its time for, a fifo, is waited for as long as it answers others."""
    if "fifo" in act and tier != "supervisor":
        pytest.skip("a signal's SA_RESTART is the kernel's affair there, which knows no time-out beside it")
    server = Server("fast")
    script = f"import os; os.stat('/box/one'); print('asked', flush=True); input(); {act}"
    process = start(server.address, tree, tier, ["--timeout", "1"], "python3", "-c", script)
    assert process.stdout and process.stdin
    assert process.stdout.readline() == b"asked\n"
    if "fifo" in act:
        process.stdin.write(b"\n")
        process.stdin.flush()
        while not opened_by(server, tree / "fifo"):
            time.sleep(0.1)
        time.sleep(2.5)
        assert process.poll() is None
    server.process.send_signal(signal.SIGSTOP)
    try:
        err = process.communicate(b"\n", timeout=20)[1]
    finally:
        server.process.kill()
        process.kill()
    assert process.returncode == 1 and err.splitlines()[-1].startswith(b"TimeoutError: ")


class Mute(Relay):
    """A network that carries nothing while it is `cut`; `lost`: how often something was sent then."""

    def __init__(self, address: str) -> None:
        self.cut, self.lost = False, 0
        super().__init__(address)

    def ask(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.lost += self.cut
                if not self.cut:
                    target.sendall(data)
        end(source, target)

    def answer(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        end(source, target)


OUTAGE = """
import os, time
os.stat("/box/one")
print("asked", flush=True)
input()
for i in range(200):
    try:
        os.stat(f"/box/{i}")
    except TimeoutError:
        pass
    else:
        raise SystemExit("answered")
print("over", flush=True)
input()
while True:
    try:
        os.stat("/box/one")
        break
    except TimeoutError:
        time.sleep(0.1)
"""


def test_who_goes_on_without_a_server_does_not_wait_for_it_each_time(
    tree: Path, tier: str, servers: Dict[str, Server]
) -> None:
    relay = Mute(servers["fast"].address)
    process = subprocess.Popen(
        [*command(relay.address, tree, tier, "--timeout", "3"), "python3", "-c", OUTAGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdin
    try:
        assert process.stdout.readline() == b"asked\n"
        relay.cut = True
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"over\n"
        assert relay.lost < 50
        relay.cut = False
        process.communicate(b"\n", timeout=30)
    finally:
        process.kill()
        relay.listener.close()
    assert process.returncode == 0


def test_connections_that_end_while_nobody_uses_them(tree: Path, tier: str) -> None:
    """The kernel's word for it, which the next call on them hears, is nothing that the program need know."""
    server = Server("fast")
    port = server.address.rpartition(":")[2]
    kill = ["ss", "-K", "-t", "dst", "127.0.0.1", "dport", "=", port]
    script = "import os; os.stat('/box/one'); print('asked', flush=True); input(); os.stat('/box/text'); print('again')"
    process = start(server.address, tree, tier, ["--max-stale", "0"], "python3", "-c", script)
    assert process.stdout and process.stdin
    try:
        assert process.stdout.readline() == b"asked\n"
        if not shutil.which("ss") or subprocess.run(kill, capture_output=True).stdout.count(port.encode()) < 1:
            pytest.skip("no right to end other processes' connections, or no ss")
        out, err = process.communicate(b"\n", timeout=30)
    finally:
        process.kill()
        server.stop()
    assert (process.returncode, out, err) == (0, b"again\n", b"")


def answering(change: Callable[[int, bytes], Optional[bytes]]) -> Callable[[socket.socket], None]:
    """talk() of a server over the real files whose replies' payloads are changed: change(operation, payload)."""
    server, one_at_a_time = SessionServer(), threading.Lock()

    def talk(stream: socket.socket) -> None:
        def send(data: bytes) -> None:
            header, payload = protocol.HEADER.parse(data[: protocol.HEADER.size]), data[protocol.HEADER.size :]
            changed = None if header.error else change(header.operation, bytes(payload))
            if changed is not None:
                data = protocol.HEADER.build(len(changed), *header[1:]) + changed
            stream.sendall(data)

        with stream:
            connection = Connection(server, send, lambda waiting, done: lambda: None)
            try:
                while data := stream.recv(65536):
                    with one_at_a_time:
                        connection.feed(data)
                        while reply := connection.replies(1):
                            send(reply)
            except (OSError, protocol.ProtocolError):
                pass
            with one_at_a_time:
                connection.closed()

    return talk


NEITHER = -(2**31) + 1  # what the supervisor says to itself
SEEK = "os.lseek(os.open('/box/bin', 0), 0, os.SEEK_END)"
WATCH = """c = ctypes.CDLL(None, use_errno=True); c.inotify_add_watch(c.inotify_init1(0), b'/box', 1)
sys.exit(os.strerror(ctypes.get_errno()))"""
LIST = "os.listdir('/box/many')"
MAP = "mmap.mmap(os.open('/box/bin', 0), 0, prot=mmap.PROT_READ)"
ASK = "ioctl(os.open('/box/fifo', os.O_NONBLOCK), FIONREAD, bytearray(4))"
LIES: List[Tuple[protocol.Operation, Tuple[Any, ...], str]] = [
    (protocol.LSEEK, (NEITHER,), SEEK),
    (protocol.LSEEK, (-(2**63),), SEEK),
    (protocol.WATCH_ADD, (NEITHER,), WATCH),
    (protocol.WATCH_ADD, (2**31 + 1 - 2**20,), WATCH),
    (protocol.READDIR, (1, [(1, 1, 8, 0, b"../text", b"")]), LIST),
    (protocol.READDIR, (1, [(1, 1, 8, 0, b"", b"")]), LIST),
    (protocol.READDIR, (1, [(1, 1, 8, 0, b"a\0b", b"")]), LIST),
    (protocol.READDIR, (0, []), LIST),
    (protocol.EXTENTS, ([(2**63 - 4096, 4095)],), MAP),
    (protocol.IOCTL, (b"x" * 28,), ASK),
]


@pytest.mark.parametrize("operation, fields, act", LIES, ids=[f"{i}-{lie[0].name}" for i, lie in enumerate(LIES)])
def test_a_server_that_lies(
    tree: Path, serve: Serve, tier: str, operation: protocol.Operation, fields: Tuple[Any, ...], act: str
) -> None:
    """Each is an error of the protocol: no name that is a path, no loop, nothing past the end of a buffer."""

    def lie(answered: int, good: bytes) -> Optional[bytes]:
        if answered == protocol.OPEN.code and operation is protocol.READDIR:  # it would bring the listing
            return protocol.OPEN.reply.build(*protocol.OPEN.reply.parse(good)[:-1], b"")
        return operation.reply.build(*fields) if answered == operation.code else None

    script = f"import ctypes, mmap, os, sys\nfrom fcntl import ioctl\nfrom termios import FIONREAD\n{act}"
    done = run(serve(answering(lie)), tree, tier, "timeout", "20", "python3", "-c", script)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and (b"Protocol error" in last or b"Value too large" in last), done


def test_a_limit_on_what_may_be_written(tree: Path, servers: Dict[str, Server], tier: str) -> None:
    """What we keep in memory is a file to the kernel; a program that writes none isn't ended by SIGXFSZ for it."""
    script = "cat /box/one; /box/true; test $? = 126 -o $? = 0; echo $?"
    words = [*command(servers["fast"].address, tree, tier), "sh", "-c", script]
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *words]
    done = subprocess.run(limited, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"x0\n"), done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_for_remotec_run_is_the_command_s(
    tree: Path, servers: Dict[str, Server], tier: str, number: signal.Signals
) -> None:
    """Of a key both have it from the terminal; what somebody sends to the one that he started, the other is sent."""
    script = "ulimit -c 0; echo started; while :; do sleep 0.05; done"
    words = [*command(servers["fast"].address, tree, tier), "sh", "-c", script]
    words = ["env", "--default-signal=INT,QUIT", *words]  # which a shell that put us in the background had ignored
    process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout and process.stdout.readline() == b"started\n"
    process.send_signal(number)
    try:
        assert process.wait(10) in (128 + number, -number)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


CROWD = """
import collections, errno, os, sys, threading
path, size = sys.argv[1], int(sys.argv[2])
found = collections.Counter()
def look():
    for _ in range(30):
        fd = -1
        try:
            fd = os.open(path, os.O_RDONLY)
            found[(os.fstat(fd).st_size, os.pread(fd, 4, size - 4)) == (size, b'last')] += 1
        except OSError as e:
            found[errno.errorcode[e.errno]] += 1
        finally:
            if fd >= 0:
                os.close(fd)
threads = [threading.Thread(target=look) for _ in range(40)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*(f'{what} {count}' for what, count in found.items()))
"""


@pytest.mark.parametrize("most, enough", [(64, False), (500, True)])
def test_a_shortage_of_descriptors_is_an_error_and_never_the_local_files_answer(
    tree: Path, servers: Dict[str, Server], tier: str, most: int, enough: bool
) -> None:
    """Forty callers at once, where neither they nor what serves them may have more than `most`."""
    (tree / "crowd").write_bytes(b"x" * 5000 + b"last")
    done = subprocess.run(
        [*command(servers["fast"].address, tree, tier), "python3", "-S", "-c", CROWD, "/box/crowd", "5004"],
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    words = done.stdout.split()
    found = dict(zip(words[::2], map(int, words[1::2])))
    assert found.keys() <= ({b"True"} if enough else {b"True", b"EMFILE"}) and sum(found.values()) == 1200


class ShortRelay(Relay):
    """One reply in the middle of a file brings half of what was asked for, as if the file had ended there just then."""

    def answer(self, source: socket.socket, target: socket.socket) -> None:
        pending, count = bytearray(), 0
        with suppress(OSError):
            while data := source.recv(65536):
                pending += data
                for header, payload in frames(pending):
                    if header.operation == protocol.PREAD.code and len(payload) > 4096:
                        count += 1
                        if count == 5:
                            half = (len(payload) - 4) // 2
                            payload = half.to_bytes(4, "big") + payload[4 : 4 + half]
                    target.sendall(HEADER.build(len(payload), *header[1:]) + payload)
        end(source, target)


def test_what_comes_after_a_short_reply_is_not_what_follows_it(
    servers: Dict[str, Server], tmp_path: Path, tier: str
) -> None:
    content = b"".join(i.to_bytes(8, "big") for i in range(1 << 20))
    (tmp_path / "file").write_bytes(content)
    relay = ShortRelay(servers["fast"].address)
    done = run(relay.address, tmp_path, tier, "dd", "if=/box/file", "bs=64K", "status=none")
    assert (done.returncode, done.stdout == content) == (0, True), done.stderr


TIMED = """
import ctypes, errno, os, signal, sys
fd = os.open('/box/large', os.O_RDONLY)
signal.signal(signal.SIGALRM, lambda *_: None)
print('ready', flush=True)
sys.stdin.readline()
signal.setitimer(signal.ITIMER_REAL, .3, .3)
buffer = ctypes.create_string_buffer(1 << 17)
libc = ctypes.CDLL(None, use_errno=True)
got = libc.pread(fd, buffer, len(buffer), ctypes.c_long(1 << 20))
print(got, errno.errorcode[ctypes.get_errno()])
"""


def test_a_program_with_a_timer_waits_no_longer_for_a_silent_server(
    servers: Dict[str, Server], tmp_path: Path, serve: Serve, tier: str
) -> None:
    """Each signal begins the kernel's time-out anew."""
    (tmp_path / "large").write_bytes(bytes(4 << 20))
    silent, over = threading.Event(), threading.Event()
    host, port = servers["fast"].address.split(":")

    def proxy(client: socket.socket) -> None:
        behind = socket.create_connection((host, int(port)))

        def carry(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while (data := source.recv(65536)) and not silent.is_set():
                    target.sendall(data)
            over.wait(60)
            source.close()

        threading.Thread(target=carry, args=(client, behind), daemon=True).start()
        carry(behind, client)

    program = start(serve(proxy), tmp_path, tier, ("--timeout", "2"), "python3", "-S", "-c", TIMED)
    assert program.stdin and program.stdout
    assert program.stdout.readline() == b"ready\n"
    silent.set()
    try:
        said, _ = program.communicate(b"go\n", timeout=30)
    finally:
        over.set()
        program.kill()
    assert said == b"-1 ETIMEDOUT\n"


FORKING = """
import os, sys
print('ready', flush=True)
sys.stdin.readline()
for _ in range(40):
    fd = os.open('/box/text', os.O_RDONLY)
    pid = os.fork()
    if not pid:
        os._exit(os.read(fd, 1) == b'')
    assert os.waitpid(pid, 0)[1] == 0
    os.close(fd)
print('done', flush=True)
"""


def test_whoever_runs_on_while_remotec_run_is_stopped_can_fork(servers: Dict[str, Server], tree: Path) -> None:
    """As it stops itself together with its command (Ctrl-Z): nobody reads what the others tell it."""
    program = start(servers["fast"].address, tree, "preload", (), "python3", "-S", "-c", FORKING)
    assert program.stdin and program.stdout
    assert program.stdout.readline() == b"ready\n"
    program.send_signal(signal.SIGSTOP)
    try:
        program.stdin.write(b"go\n")
        program.stdin.flush()
        readable, _, _ = select.select([program.stdout], [], [], 50)
    finally:
        program.send_signal(signal.SIGCONT)
    assert readable and program.communicate(timeout=30) == (b"done\n", b"")

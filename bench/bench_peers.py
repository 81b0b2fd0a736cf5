#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""remotec beside everything else that gives a local program another machine's files.

    bench/bench_peers.py [--full] [--delays 0,1,10,50] [--rounds 3] [--minutes 9] [--peers remotec,sshfs]
                         [--workloads find,grep] [--out DIRECTORY]

One tree, made here, is served on loopback by each peer's own server; a relay adds the delay (bench/delay_proxy.c).
Each round runs every workload once through every peer, so that what else the machine does falls on all alike; client
caches are cold (mounted, or started, anew).  The clock runs inside the shell around the workload: start-up and
mounting are not counted.  Where the delay is 10 ms or more nearly all is waiting, and what waits runs side by side.
A figure is the median of its rounds.  A peer that can't run here says why.

With --out: DIRECTORY/benchmarks.md, .json, and plots beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

HERE = Path(__file__).resolve().parent
MIB = 2**20
BIG = 2048 * MIB  # where a round trip takes long: some seconds of the wire, as the file's open is a round trip too
NEAR = 512 * MIB
PIECE = 16 * MIB
LONG_MS = 10  # from this delay on peers run side by side, but for those that fill the wire
TIMEOUT_S = 30


class Amounts(NamedTuple):
    """How much of each kind of work is done at a delay: what takes the slowest peer some seconds."""

    fast_bytes: int  # streams, of who keeps the wire full
    slow_bytes: int  # and of who doesn't
    reads: int
    tree: int  # files of the tree that is walked: there is one for each amount
    repository: int
    starts: int


FULL = {0: Amounts(NEAR, 128 * MIB, 10000, 5000, 2000, 200), 1: Amounts(NEAR, 64 * MIB, 2000, 2000, 1000, 100),
        LONG_MS: Amounts(BIG, PIECE, 50, 200, 200, 20)}  # fmt: skip
QUICK = {0: Amounts(NEAR, 32 * MIB, 4000, 2000, 1000, 60), 1: Amounts(NEAR, 32 * MIB, 500, 500, 200, 20),
         LONG_MS: Amounts(BIG, PIECE, 25, 100, 100, 10)}  # fmt: skip
chosen = QUICK


def amounts(delay_ms: float) -> Amounts:
    return chosen[max(least for least in chosen if least <= delay_ms or least == 0)]


class Workload(NamedTuple):
    name: str
    line: str  # {root}: the tree as the program sees it; its output is thrown away
    items: Callable[[Amounts], float]  # of what the unit counts; streams count bytes instead
    unit: str
    stream: bool = False


def dd(size: str, divisor: int) -> str:
    return f"dd if={{root}}/big of=/dev/null bs={size} count=$((BYTES / {divisor}))"


WORKLOADS = [
    Workload("read 4 KiB", dd("4k", 4096), lambda a: 0, "GB/s", True),
    Workload("read 128 KiB", dd("128k", 131072), lambda a: 0, "GB/s", True),
    Workload("read 1 MiB", dd("1M", MIB), lambda a: 0, "GB/s", True),
    Workload(
        "4 streams",
        "for i in 0 1 2 3; do dd if={root}/big of=/dev/null bs=128k skip=$((i * BYTES / 524288)) "
        "count=$((BYTES / 524288)) & done; wait",
        lambda a: 0,
        "GB/s",
        True,
    ),
    Workload(
        "random 4 KiB", f"$YARDSTICK file {{root}}/big 4096 $RANDOM_BYTES random {BIG}", lambda a: a.reads, "reads/s"
    ),
    Workload("find -ls", "find {root}/tree$FILES -ls", lambda a: a.tree, "files/s"),
    Workload("ls -lR", "ls -lR {root}/tree$FILES", lambda a: a.tree, "files/s"),
    Workload("grep -r", "grep -r needle {root}/tree$FILES", lambda a: a.tree, "files/s"),
    Workload("tar c", "tar cf - {root}/tree$FILES | cat", lambda a: a.tree, "files/s"),
    Workload("git status", "git --no-optional-locks -C {root}/repo$REPO status", lambda a: a.repository, "files/s"),
    Workload(
        "process starts",
        "n=0; while [ $n -lt $STARTS ]; do cat {root}/tree$FILES/d0/f0; n=$((n + 1)); done",
        lambda a: a.starts,
        "starts/s",
    ),
    Workload(
        "python import",
        "python3 -B -c 'import sys; sys.path.insert(0, \"{root}\"); import package'",
        lambda a: 60,
        "modules/s",
    ),
    Workload("rg", "rg -uu --no-messages needle {root}/tree$FILES", lambda a: a.tree, "files/s"),
]


def make_tree(top: Path) -> None:
    with open(top / "big", "wb") as out:
        for _ in range(BIG // MIB):
            out.write(os.urandom(MIB))
    (top / "piece").write_bytes(os.urandom(PIECE))
    every = chosen.values()
    for count in {a.tree for a in every}:
        for i in range(count):
            d = top / f"tree{count}" / f"d{i * 50 // count if count >= 500 else i // 10}"
            d.mkdir(parents=True, exist_ok=True)
            (d / f"f{i}").write_text(("needle\n" if i % 37 == 0 else "hay\n") * (1 + i % 700))
        (top / f"tree{count}" / "d0" / "f0").touch()
    for count in {a.repository for a in every}:
        repo = top / f"repo{count}"
        for i in range(count):
            d = repo / f"d{i // 50 if count >= 500 else i // 10}"
            d.mkdir(parents=True, exist_ok=True)
            (d / f"f{i}").write_text(f"{i}\n")
            # An ordinary working tree is older than its index; git reads again what isn't.
            os.utime(d / f"f{i}", (time.time() - 3600,) * 2)
        git = ["git", "-C", str(repo), "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "one"], check=True)
    package = top / "package"
    package.mkdir()
    for i in range(59):
        (package / f"m{i}.py").write_text(f"VALUE = {i}\n")
    (package / "__init__.py").write_text("".join(f"from . import m{i}\n" for i in range(59)))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def listening(port: int, seconds: float = 15) -> bool:
    """Whether something listens there, asked of the kernel's table: connecting would be a client."""
    wanted = re.compile(f":{port:04X} 0+:0000 0A")
    for _ in range(int(seconds * 50)):
        if any(wanted.search(Path(f"/proc/net/{table}").read_text()) for table in ("tcp", "tcp6")):
            return True
        time.sleep(0.02)
    return False


def cpu_of_tree(root: Optional[int]) -> float:
    """CPU seconds of a process, what has descended from it, and what of that it has waited for."""
    if root is None:
        return 0.0
    children: Dict[int, List[int]] = {}
    used: Dict[int, int] = {}
    for entry in os.listdir("/proc"):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split() if entry.isdigit() else []
        except OSError:
            continue
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry))
            used[int(entry)] = sum(map(int, fields[11:15]))
    total, left = 0, [root]
    while left:
        pid = left.pop()
        total += used.get(pid, 0)
        left += children.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")


class Absent(Exception):
    """This peer can't run here; the message says why."""


def needs(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise Absent(f"no {program} on this machine")


def first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().splitlines()[0]


class Peer:
    """A way to the tree.  `connect` once for each delay; per measurement `fresh` (cold caches), `command`, `stale`."""

    name = "local"
    fast = True  # keeps the wire full
    patient = False  # takes a tenth of a second or so for each file: gets the small trees, as figures are per second
    lines: Optional[Dict[str, str]] = None  # of the workloads it can do, where that isn't all of them

    def __init__(self, tree: Path, work: Path, tools: Path) -> None:
        self.tree, self.work, self.tools = tree, work, tools
        self.processes: List["subprocess.Popen[bytes]"] = []
        self.server: Optional[int] = None  # process ids, for their CPU
        self.client: Optional[int] = None
        self.port = 0  # where the client connects: the server, or the relay before it

    def version(self) -> str:
        return "plain reads of the same tree, in memory"

    def start(self) -> int:
        """Starts the server; its port, 0 where there is none."""
        return 0

    def fresh(self) -> None:
        pass

    def stale(self) -> None:
        """Undoes `fresh`."""

    def root(self) -> str:
        return str(self.tree)

    def line(self, workload: Workload) -> Optional[str]:
        return workload.line if self.lines is None else self.lines.get(workload.name)

    def command(self, script: Path) -> List[str]:
        return ["bash", str(script)]

    def spawn(self, *command: str, stdout: Optional[int] = None, quiet: bool = False) -> "subprocess.Popen[bytes]":
        stderr = subprocess.DEVNULL if quiet else None
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        self.processes.append(process)
        return process

    def spawn_for_port(self, *command: str) -> Tuple[int, int]:
        """Process id and port of what prints its address as its first line."""
        process = self.spawn(*command, stdout=subprocess.PIPE)
        assert process.stdout
        return process.pid, int(process.stdout.readline().rsplit(b":", 1)[-1])

    def connect(self, delay_ms: float) -> None:
        self.port = server = self.start()
        if server and delay_ms:
            relay = (str(self.tools / "delay_proxy"), "0", str(server), str(delay_ms / 2))
            self.port = self.spawn_for_port(*relay)[1]

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


class Yardstick(Peer):
    name = "C yardstick"
    lines = {
        "read 4 KiB": f"$YARDSTICK read $PORT 4096 $BYTES sequential {BIG}",
        "read 128 KiB": f"$YARDSTICK read $PORT 131072 $BYTES sequential {BIG}",
        "read 1 MiB": f"$YARDSTICK read $PORT 1048576 $BYTES sequential {BIG}",
        "4 streams": f"for i in 0 1 2 3; do $YARDSTICK read $PORT 131072 $((BYTES / 4)) sequential {BIG} & done; wait",
        "random 4 KiB": f"$YARDSTICK read $PORT 4096 $RANDOM_BYTES random {BIG}",
    }

    def version(self) -> str:
        return "bench/yardstick.c: sendfile, one request at a time"

    def start(self) -> int:
        self.server, port = self.spawn_for_port(str(self.tools / "yardstick"), "serve", str(self.tree / "big"))
        return port

    def connect(self, delay_ms: float) -> None:
        super().connect(delay_ms)
        self.fast = not delay_ms


class Bulk(Yardstick):
    name = "one bulk stream"
    lines = {
        "read 128 KiB": f"$YARDSTICK bulk $PORT 131072 $BYTES sequential {BIG}",
        "read 1 MiB": f"$YARDSTICK bulk $PORT 1048576 $BYTES sequential {BIG}",
    }

    def version(self) -> str:
        return "bench/yardstick.c, all asked for at once: what one connection carries"

    def connect(self, delay_ms: float) -> None:
        super().connect(delay_ms)
        self.fast = True


class Remotec(Peer):
    tier = "both"
    name = "remotec"

    def version(self) -> str:
        return f"{first_line(sys.executable, '-m', 'remotec', '--version')}, --tier {self.tier}"

    def start(self) -> int:
        self.server, port = self.spawn_for_port(sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0")
        return port

    def root(self) -> str:
        return "/box"

    def command(self, script: Path) -> List[str]:
        return [sys.executable, "-m", "remotec", "run", "-s", f"127.0.0.1:{self.port}", "--remote", f"/box={self.tree}",
                "--tier", self.tier, "--", "bash", str(script)]  # fmt: skip


class RemotecPreload(Remotec):
    name, tier = "remotec preload", "preload"


class RemotecSupervisor(Remotec):
    name, tier = "remotec supervisor", "supervisor"


class Mounted(Peer):
    """A peer whose client is a mount."""

    fast = False

    def root(self) -> str:
        return str(self.work / "mount")

    def mount(self) -> List[str]:
        """The command that mounts, in the foreground."""
        raise NotImplementedError

    def fresh(self) -> None:
        os.makedirs(self.root(), exist_ok=True)
        process = self.spawn(*self.mount(), quiet=True)
        self.client = process.pid
        for _ in range(1000):
            if os.path.ismount(self.root()):
                return
            if process.poll() is not None:
                break
            time.sleep(0.02)
        self.processes.remove(process)
        process.kill()
        process.wait()
        raise Absent(f"mounting failed: {' '.join(self.mount())}")

    def stale(self) -> None:
        for _ in range(100):
            if not os.path.ismount(self.root()):
                break
            subprocess.run(["fusermount3", "-u", self.root()], capture_output=True)
            time.sleep(0.02)
        else:
            subprocess.run(["fusermount3", "-uz", self.root()], capture_output=True)
        process = self.processes.pop()
        process.terminate()
        process.wait()

    def stop(self) -> None:
        if os.path.ismount(self.root()):
            self.stale()
        super().stop()


def start_sshd(peer: Peer) -> int:
    needs("sshd", "ssh-keygen")
    port, work = free_port(), peer.work
    for key in ("user", "host"):
        if not (work / key).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / key)], check=True)
    os.makedirs("/run/sshd", exist_ok=True)
    (work / "sshd.conf").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {work}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {work}/user.pub\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    sshd = str(shutil.which("sshd", path="/usr/sbin:/usr/bin"))
    peer.server = peer.spawn(sshd, "-D", "-f", str(work / "sshd.conf"), quiet=True).pid
    if not listening(port):
        raise Absent("sshd doesn't start")
    return port


def user() -> str:
    return first_line("id", "-un")


class Sshfs(Mounted):
    name = "sshfs"

    def version(self) -> str:
        said = subprocess.run(["sshfs", "--version"], capture_output=True, text=True).stdout
        ssh = first_line("ssh", "-V").split(",")[0]
        return f"{re.findall('SSHFS version .*', said)[0]}, {ssh}, default options"

    def start(self) -> int:
        needs("sshfs", "fusermount3")
        return start_sshd(self)

    def mount(self) -> List[str]:
        options = (
            f"port={self.port},IdentityFile={self.work}/user,StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null"
        )
        return ["sshfs", "-f", "-o", options, f"{user()}@127.0.0.1:{self.tree}", self.root()]


class SshfsPlain(Mounted):
    name = "sshfs, no encryption"

    def version(self) -> str:
        return "sshfs -o directport to sftp-server behind socat"

    def start(self) -> int:
        needs("sshfs", "fusermount3", "socat")
        if not os.path.exists("/usr/lib/openssh/sftp-server"):
            raise Absent("no sftp-server on this machine")
        port = free_port()
        listener = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay"
        self.server = self.spawn("socat", listener, "EXEC:/usr/lib/openssh/sftp-server").pid
        if not listening(port):
            raise Absent("socat doesn't start")
        return port

    def mount(self) -> List[str]:
        return ["sshfs", "-f", "-o", f"directport={self.port}", f"127.0.0.1:{self.tree}", self.root()]


class Rclone(Mounted):
    name = "rclone mount"

    def version(self) -> str:
        return f"{first_line('rclone', 'version')}, sftp, --read-only, default options"

    patient = True

    def start(self) -> int:
        needs("rclone", "fusermount3")
        return start_sshd(self)

    def mount(self) -> List[str]:
        remote = f":sftp,host=127.0.0.1,port={self.port},user={user()},key_file={self.work}/user:{self.tree}"
        return ["rclone", "mount", remote, self.root(), "--read-only", "--config", "/dev/null"]


class Nfs(Peer):
    name = "NFS (libnfs)"
    fast = False
    READER = "$NFS_READER 'nfs://127.0.0.1/tree?version=4&nfsport='$PORT"
    LIST, CAT = f"{READER} list /tree$FILES", f"{READER} cat /tree$FILES"
    lines = {
        "read 4 KiB": f"{READER} read /big 4096 $BYTES sequential {BIG}",
        "read 128 KiB": f"{READER} read /big 131072 $BYTES sequential {BIG}",
        "read 1 MiB": f"{READER} read /big 1048576 $BYTES sequential {BIG}",
        "4 streams": f"for i in 0 1 2 3; do {READER} read /big 131072 $((BYTES / 4)) sequential {BIG} & done; wait",
        "random 4 KiB": f"{READER} read /big 4096 $RANDOM_BYTES random {BIG}",
        "find -ls": LIST,
        "ls -lR": LIST,
        "grep -r": CAT,
        "tar c": CAT,
    }

    def version(self) -> str:
        server = first_line("ganesha.nfsd", "-v").split(" = ")[-1]
        return f"bench/nfs_reader.c (libnfs; walks and reads by itself) to nfs-ganesha {server}, NFS 4.0, FSAL VFS"

    def start(self) -> int:
        needs("ganesha.nfsd")
        if not (self.tools / "nfs_reader").exists():
            raise Absent("no libnfs to compile bench/nfs_reader.c with")
        port = free_port()
        (self.work / "recovery").mkdir(exist_ok=True)
        os.makedirs("/run/ganesha", exist_ok=True)
        (self.work / "ganesha.conf").write_text(
            f"NFS_CORE_PARAM {{ Bind_addr = 127.0.0.1; NFS_Port = {port}; Protocols = 4; Enable_NLM = false; "
            "Enable_RQUOTA = false; }\n"
            f"NFSV4 {{ Graceless = true; Lease_Lifetime = 10; Minor_Versions = 0; "
            f"RecoveryRoot = {self.work}/recovery; }}\n"
            f"EXPORT {{ Export_Id = 1; Path = {self.tree}; Pseudo = /tree; Access_Type = RO; Protocols = 4; "
            "Transports = TCP; SecType = sys; Squash = none; FSAL { Name = VFS; } }\n"
            "LOG { Default_Log_Level = CRIT; }\n"
        )
        self.server = self.spawn("ganesha.nfsd", "-F", "-f", f"{self.work}/ganesha.conf", "-L", f"{self.work}/log",
                                 "-p", f"{self.work}/pid", quiet=True).pid  # fmt: skip
        if not listening(port):
            raise Absent("nfs-ganesha doesn't start (it needs root, and a file system that it can open by handle)")
        probe = [str(self.tools / "nfs_reader"), f"nfs://127.0.0.1/tree?version=4&nfsport={port}", "list", "/package"]
        for _ in range(50):
            if subprocess.run(probe, capture_output=True, timeout=30).returncode == 0:
                return port
            time.sleep(0.2)
        raise Absent("libnfs can't mount from nfs-ganesha here")


class Diod(Peer):
    name = "9P (diod)"
    fast = False
    lines = {
        "read 128 KiB": "for i in $(seq $((BYTES / 16777216))); do "
        "diodcat -s 127.0.0.1:$PORT -a $TREE -m 131096 piece; done",
    }

    def version(self) -> str:
        return f"{first_line('dpkg-query', '-W', 'diod')}, diodcat -m 131096; Debian's user-space client can't walk"

    def start(self) -> int:
        needs("diod", "diodcat")
        port = free_port()
        diod = str(shutil.which("diod", path="/usr/sbin:/usr/bin"))
        self.server = self.spawn(diod, "-f", "-n", "-l", f"127.0.0.1:{port}", "-e", str(self.tree), "-L",
                                 f"{self.work}/log", quiet=True).pid  # fmt: skip
        if not listening(port):
            raise Absent("diod doesn't start")
        return port


PEERS = [Peer, Yardstick, Bulk, Remotec, RemotecPreload, RemotecSupervisor, Sshfs, SshfsPlain, Rclone, Nfs, Diod]
LEFT_OUT = {
    "kernel NFS, CIFS and 9P": "this kernel has none of them, and they need root on both machines",
    "Parrot/Chirp": "Debian's coop-computing-tools ships neither parrot_run nor a working chirp_fuse",
}


class Sample(NamedTuple):
    seconds: float
    amount: float  # items, or bytes of a stream
    client_cpu: float
    server_cpu: float


def measure(peer: Peer, workload: Optional[Workload], delay_ms: float) -> Optional[Sample]:
    """None where the peer can't do it, failed, or took too long.  No workload: what a start alone costs."""
    line = peer.line(workload) if workload else "true"
    if line is None:
        return None
    much = amounts(LONG_MS if peer.patient else delay_ms)
    moved = much.fast_bytes if peer.fast else much.slow_bytes
    if workload and workload.name == "read 4 KiB":
        moved //= 4
    values = {
        "BYTES": moved, "RANDOM_BYTES": much.reads * 4096, "FILES": much.tree, "REPO": much.repository,
        "STARTS": much.starts, "PORT": peer.port, "TREE": peer.tree, "YARDSTICK": peer.tools / "yardstick",
        "NFS_READER": peer.tools / "nfs_reader",
    }  # fmt: skip
    settings = "".join(f"{name}={value}\n" for name, value in values.items())
    script = peer.work / "workload.sh"
    script.write_text(
        f"{settings}TIMEFORMAT='took %R'\n"
        f"time {{ {line.replace('{root}', peer.root())}; }} > /dev/null 2>{script}.err\n"
    )
    peer.fresh()
    server_cpu, client_cpu = cpu_of_tree(peer.server), cpu_of_tree(peer.client)
    command = [sys.executable, str(HERE / "tree_cpu.py"), *peer.command(script)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        said = process.communicate(timeout=TIMEOUT_S)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        said = "took too long"
    server_cpu = cpu_of_tree(peer.server) - server_cpu
    client_cpu = cpu_of_tree(peer.client) - client_cpu
    peer.stale()
    took, cpu = re.findall(r"^took ([\d.]+)$", said, re.M), re.findall(r"^cpu ([\d.]+)$", said, re.M)
    if process.returncode or not took or not cpu:
        print(f"  {peer.name}: {workload and workload.name}: status {process.returncode} {said[-300:]!r} "
              f"{Path(f'{script}.err').read_text()[-300:]!r}", file=sys.stderr)  # fmt: skip
        return None
    count = float(moved) if workload and workload.stream else workload.items(much) if workload else 0
    return Sample(max(float(took[-1]), 0.001), count, client_cpu + float(cpu[-1]), server_cpu)


Samples = Dict[Tuple[str, str], List[Sample]]  # by workload and peer
hopeless: Set[Tuple[str, str]] = set()  # workloads and patient peers that took too long once


def run_delay(ready: List[Peer], wanted: List[Workload], delay_ms: float, rounds: int, seconds: float) -> Samples:
    samples: Samples = {}
    began = time.monotonic()

    def one(workload: Workload, peer: Peer) -> None:
        sample = None if (workload.name, peer.name) in hopeless else measure(peer, workload, delay_ms)
        if sample is None and peer.patient:
            hopeless.add((workload.name, peer.name))
        if sample is not None:
            print(
                f"  {delay_ms:g} ms, {workload.name}, {peer.name}: {sample.seconds:.2f} s", file=sys.stderr, flush=True
            )
            samples.setdefault((workload.name, peer.name), []).append(sample)

    for done in range(rounds):
        spent = time.monotonic() - began
        if done and delay_ms < LONG_MS and spent + spent / done > seconds:
            break  # from there on what is done again is short
        idle = {peer.name: measure(peer, None, delay_ms) for peer in ready} if not delay_ms else {}
        for workload in wanted:
            alone = [p for p in ready if delay_ms < LONG_MS or (workload.stream and p.fast)]
            aside = [p for p in ready if p not in alone and not done]
            with ThreadPoolExecutor(len(ready)) as pool:
                list(pool.map(lambda peer: one(workload, peer), aside))  # noqa: B023
            for peer in alone:
                one(workload, peer)
                start = idle.get(peer.name)
                found = samples.get((workload.name, peer.name))
                if start and found:  # a start's own CPU isn't the workload's
                    found[-1] = found[-1]._replace(client_cpu=max(0.0, found[-1].client_cpu - start.client_cpu))
    return samples


def run(arguments: argparse.Namespace, work: Path) -> Dict[str, Any]:
    tree, tools = work / "served", work / "tools"
    tree.mkdir()
    tools.mkdir()
    make_tree(tree)
    compile_c = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-D_GNU_SOURCE"]
    for program in ("delay_proxy", "yardstick"):
        subprocess.run([*compile_c, "-o", tools / program, HERE / f"{program}.c", "-lpthread"], check=True)
    subprocess.run([*compile_c, "-o", tools / "nfs_reader", HERE / "nfs_reader.c", "-lnfs"], stderr=subprocess.DEVNULL)
    wanted = [w for w in WORKLOADS if not arguments.workloads or any(p in w.name for p in arguments.workloads)]
    result: Dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "date": time.strftime("%Y-%m-%d"), "rounds": arguments.rounds, "delays_ms": arguments.delays,
        "peers": {}, "left out": dict(LEFT_OUT), "rows": [],
    }  # fmt: skip
    for delay_ms in arguments.delays:
        ready: List[Peer] = []
        for kind in PEERS:
            if (arguments.peers and not any(kind.name.startswith(p) for p in arguments.peers)) or (
                kind is Peer and delay_ms
            ):
                continue
            directory = work / re.sub("[^a-zA-Z0-9]+", "-", kind.name)
            directory.mkdir(exist_ok=True)
            peer = kind(tree, directory, tools)
            try:
                peer.connect(delay_ms)
                peer.fresh()
                peer.stale()
                ready.append(peer)
                result["peers"][peer.name] = peer.version()
            except Absent as why:
                result["left out"][peer.name] = str(why)
                peer.stop()
        began = time.monotonic()
        try:
            share = arguments.minutes * 60 / len(arguments.delays)
            samples = run_delay(ready, wanted, delay_ms, arguments.rounds, share)
        finally:
            for peer in ready:
                peer.stop()
        for (workload, name), found in samples.items():
            middle = {field: statistics.median(getattr(s, field) for s in found) for field in Sample._fields}
            row = {"workload": workload, "delay_ms": delay_ms, "peer": name, **middle, "rounds": len(found)}
            row["figure"] = middle["amount"] / middle["seconds"] / (1e9 if unit_of(workload) == "GB/s" else 1)
            result["rows"].append(row)
        print(f"{delay_ms:g} ms: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return result


# ------------------------------------------------------------------------------------------------------ results


def unit_of(workload: str) -> str:
    return next(w.unit for w in WORKLOADS if w.name == workload)


class Table:
    """The rows by workload, delay and peer."""

    def __init__(self, result: Dict[str, Any]) -> None:
        self.rows = {(r["workload"], r["delay_ms"], r["peer"]): r for r in result["rows"]}
        self.peers = list(result["peers"])
        self.delays = list(result["delays_ms"])
        self.workloads = [w.name for w in WORKLOADS if any(key[0] == w.name for key in self.rows)]

    def figure(self, workload: str, delay: float, peer: str) -> Optional[float]:
        row = self.rows.get((workload, delay, peer))
        return row["figure"] if row else None

    def ratio(self, workload: str, delay: float, peer: str, other: str) -> Optional[float]:
        mine, theirs = self.figure(workload, delay, peer), self.figure(workload, delay, other)
        return mine / theirs if mine and theirs else None

    def round_trips(self, workload: str, peer: str) -> Optional[float]:
        """For each item: how the time for it grows with the delay, between the two longest delays of equal work."""
        long = [d for d in self.delays if d >= LONG_MS and (workload, d, peer) in self.rows]
        if len(long) < 2 or unit_of(workload) == "GB/s":
            return None
        near, far = self.rows[workload, long[-2], peer], self.rows[workload, long[-1], peer]
        return float((far["seconds"] - near["seconds"]) * 1000 / (long[-1] - long[-2]) / far["amount"])

    def cpu_per_gib(self, workload: str, peer: str) -> Optional[Tuple[float, float]]:
        row = self.rows.get((workload, 0, peer))
        return (row["client_cpu"] / row["amount"] * 2**30, row["server_cpu"] / row["amount"] * 2**30) if row else None


def targets(t: Table) -> List[Tuple[str, str, Optional[float], Optional[float]]]:
    """What it is, where, how much is wanted, how much it is."""
    found: List[Tuple[str, str, Optional[float], Optional[float]]] = []
    for size in ("128 KiB", "1 MiB"):
        name = f"read {size}"
        found.append(
            (f"{name}: throughput beside the C yardstick's", "0 ms", 0.95, t.ratio(name, 0, "remotec", "C yardstick"))
        )
        for delay in t.delays:
            if delay >= LONG_MS:
                bulk = t.ratio(name, delay, "remotec", "one bulk stream")
                found.append((f"{name}: beside one bulk stream", f"{delay:g} ms", 0.9, bulk))
    found.append(("read 4 KiB: beside sshfs", "0 ms", 5, t.ratio("read 4 KiB", 0, "remotec", "sshfs")))
    for tier, most in (("preload", 1.15), ("supervisor", 1.6)):
        slower = t.ratio("random 4 KiB", 0, f"remotec {tier}", "C yardstick")
        found.append((f"random 4 KiB, {tier}: reads a second beside the yardstick's", "0 ms", 1 / most, slower))
    others = [
        p for p in t.peers if not p.startswith("remotec") and p not in ("local", "C yardstick", "one bulk stream")
    ]
    for name in ("find -ls", "ls -lR"):
        for delay in t.delays:
            ratios = [r for r in (t.ratio(name, delay, "remotec", p) for p in others) if r]
            found.append((f"{name}: beside the best peer", f"{delay:g} ms", 1, min(ratios, default=None)))
    for name in ("grep -r", "tar c", "git status"):
        for delay in t.delays:
            if delay == 0 or delay >= LONG_MS:
                least = 5 if delay else 3
                found.append(
                    (f"{name}: beside sshfs", f"{delay:g} ms", least, t.ratio(name, delay, "remotec", "sshfs"))
                )
    for size in ("128 KiB", "1 MiB"):
        mine, yard = t.cpu_per_gib(f"read {size}", "remotec"), t.cpu_per_gib(f"read {size}", "C yardstick")
        less = sum(yard) / sum(mine) if mine and yard and sum(mine) else None
        found.append((f"read {size}: the yardstick's CPU seconds per GiB beside ours", "0 ms", 1 / 1.2, less))
    return found


def rounds_of(result: Dict[str, Any]) -> str:
    counts = sorted({r["rounds"] for r in result["rows"] if r["delay_ms"] < LONG_MS})
    return " to ".join(str(count) for count in sorted({counts[0], counts[-1]})) if counts else "no"


def markdown(result: Dict[str, Any]) -> str:
    t = Table(result)
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench` (bench/bench_peers.py; [bench/README.md](../bench/README.md) says how). "
        f"{result['machine']}, {result['date']}; medians of interleaved rounds ({rounds_of(result)}; "
        f"from {LONG_MS} ms of added round trip on one, but of what fills the wire). "
        "Client and server share the machine. More is better.",
        "",
        *(f"- **{name}**: {version}" for name, version in result["peers"].items()),
        *(f"- left out, {name}: {why}" for name, why in result["left out"].items()),
        "",
        "## Targets",
        "",
        "| ratio | added round trip | wanted | measured | |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for what, where, wanted, measured in targets(t):
        shown = "-" if measured is None else f"{measured:.2f}"
        reached = "" if measured is None or wanted is None else "reached" if measured >= wanted else "short"
        lines.append(f"| {what} | {where} | {wanted:.2f} | {shown} | {reached} |")
    for delay in t.delays:
        names = [p for p in t.peers if any((w, delay, p) in t.rows for w in t.workloads)]
        lines += ["", f"## {delay:g} ms of added round trip", "", "| | " + " | ".join(names) + " |"]
        lines.append("| --- |" + " ---: |" * len(names))
        for workload in t.workloads:
            figures = (t.figure(workload, delay, n) for n in names)
            cells = ("-" if f is None else f"{f:,.0f}" if f >= 100 else f"{f:.3g}" for f in figures)
            lines.append(f"| {workload}, {unit_of(workload)} | " + " | ".join(cells) + " |")
    lines += ["", "![throughput against delay](benchmarks-throughput.svg)"]
    names = [p for p in t.peers if any(t.round_trips(w, p) is not None for w in t.workloads)]
    if names:
        lines += ["", "## Round trips", "", "For each item, as its time grows with the delay.", ""]
        lines += ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
        for workload in t.workloads:
            trips = [t.round_trips(workload, n) for n in names]
            if any(f is not None for f in trips):
                lines.append(
                    f"| {workload} | " + " | ".join("-" if f is None else f"{max(f, 0):.2f}" for f in trips) + " |"
                )
        lines += ["", "![round trips](benchmarks-round-trips.svg)"]
    lines += ["", "## CPU seconds per GiB", "", "Client + server, without added delay, less what a start costs.", ""]
    streams = [w for w in t.workloads if unit_of(w) == "GB/s"]
    names = [p for p in t.peers if any(t.cpu_per_gib(w, p) for w in streams)]
    lines += ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for workload in streams:
        cpus = (t.cpu_per_gib(workload, n) for n in names)
        lines.append(f"| {workload} | " + " | ".join(f"{c[0]:.2f} + {c[1]:.2f}" if c else "-" for c in cpus) + " |")
    lines += ["", "![CPU seconds per GiB](benchmarks-cpu.svg)"]
    return "\n".join(lines) + "\n"


def plot(result: Dict[str, Any], directory: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "remotec"
    from matplotlib import pyplot

    t = Table(result)
    colours = {peer: pyplot.get_cmap("tab20")(i) for i, peer in enumerate(t.peers)}

    figure, grid = pyplot.subplots(-(-len(t.workloads) // 3), 3, figsize=(13, 16), squeeze=False)
    for axes in grid.flat[len(t.workloads) :]:
        axes.axis("off")
    for axes, workload in zip(grid.flat, t.workloads):
        for peer in t.peers:
            points = [(d, f) for d in t.delays if (f := t.figure(workload, d, peer))]
            if points:
                axes.plot(*zip(*points), marker="o", color=colours[peer], label=peer)
        axes.set(title=workload, xlabel="added round trip, ms", ylabel=unit_of(workload), yscale="log")
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.2, max(t.delays) * 1.3 + 1)
        axes.set_xticks(t.delays, [f"{d:g}" for d in t.delays])
        axes.grid(True, alpha=0.3)
    shown = {text: line for axes in grid.flat for line, text in zip(*axes.get_legend_handles_labels())}
    figure.legend(shown.values(), shown.keys(), loc="lower right", ncols=2)
    save(figure, directory / "benchmarks-throughput.svg")

    walks = [w for w in t.workloads if any(t.round_trips(w, p) is not None for p in t.peers)]
    bars(walks, t, colours, "round trips for each item", t.round_trips, directory / "benchmarks-round-trips.svg")

    streams = [w for w in t.workloads if unit_of(w) == "GB/s" and t.cpu_per_gib(w, t.peers[0])]
    figure, grid = pyplot.subplots(1, max(1, len(streams)), figsize=(14, 5), squeeze=False, sharey=True)
    for axes, workload in zip(grid.flat, streams):
        known = [(p, c) for p in t.peers if (c := t.cpu_per_gib(workload, p))]
        axes.barh([p for p, _ in known], [c[0] for _, c in known], label="client")
        axes.barh([p for p, _ in known], [c[1] for _, c in known], left=[c[0] for _, c in known], label="server")
        axes.set(title=workload, xlabel="CPU seconds per GiB")
        axes.legend(fontsize="small")
    save(figure, directory / "benchmarks-cpu.svg")


def bars(groups: List[str], t: Table, colours: Dict[str, Any], label: str, value: Any, to: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(13, 5))
    peers = [p for p in t.peers if any(value(g, p) is not None for g in groups)]
    width = 0.85 / max(1, len(peers))
    for i, peer in enumerate(peers):
        known = [(x, v) for x, g in enumerate(groups) if (v := value(g, peer)) is not None]
        axes.bar(
            [x + i * width for x, _ in known], [max(v, 0.01) for _, v in known], width, color=colours[peer], label=peer
        )
    axes.set_xticks([x + 0.4 for x in range(len(groups))], groups)
    axes.set(ylabel=label, yscale="log")
    axes.legend(fontsize="small")
    save(figure, to)


def save(figure: Any, to: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delays", type=lambda s: [float(d) for d in s.split(",")], default=[0.0, 1.0, 10.0, 50.0],
                        help="added round trips in ms; default 0,1,10,50")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="at the most; from 10 ms on of what fills the wire only")
    parser.add_argument(
        "--minutes", type=float, default=9, help="no further round is begun that would take longer than this"
    )
    parser.add_argument("--full", action="store_true", help="5,000 files instead of 2,000, and more of the rest")
    parser.add_argument("--peers", type=lambda s: s.split(","), help="beginnings of their names")
    parser.add_argument("--workloads", type=lambda s: s.split(","), help="parts of their names")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--render", type=Path, help="an earlier run's benchmarks.json, instead of measuring")
    arguments = parser.parse_args()
    if arguments.full:
        global chosen
        chosen = FULL
    if arguments.render:
        result = json.loads(arguments.render.read_text())
    else:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="remotec-peers-", dir=memory) as work:
            result = run(arguments, Path(work))
    text = markdown(result)
    print(text)
    if not arguments.out:
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "benchmarks.md").write_text(text)
    (arguments.out / "benchmarks.json").write_text(json.dumps(result, indent=1) + "\n")
    try:
        plot(result, arguments.out)
    except ImportError:
        print("no matplotlib: no plots", file=sys.stderr)


if __name__ == "__main__":
    main()

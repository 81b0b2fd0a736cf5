#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""remotec beside everything else that gives a local program another machine's files.

    bench/bench_peers.py [--delays 0,1,10,50] [--rounds 5] [--peers remotec,sshfs] [--workloads find,grep]
                         [--json FILE] [--markdown FILE] [--plots DIRECTORY]

One tree, made here, is served on loopback by each peer's own server; a relay adds the delay (bench/delay_proxy.c).
Each round runs every workload once through every peer, so that what else the machine does falls on all alike; client
caches are cold (mounted, or started, anew).  The clock runs inside the shell around the workload: start-up and
mounting are not counted.  A figure is the median of its rounds: GB/s for streams, items per second for the rest.
A peer that can't run here says why and is left out.
"""

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
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STREAM_BYTES = 512 * 2**20


class Workload(NamedTuple):
    name: str
    line: str  # {root}: the tree as the program sees it; its output is thrown away
    amount: Callable[[float], float]  # of what is counted, by one-way delay in ms (less at long delays)
    unit: str


def stream(delay: float) -> int:
    """Bytes that the sequential reads move: less where a peer needs a round trip for each piece."""
    return STREAM_BYTES if delay == 0 else STREAM_BYTES // 4 if delay <= 1 else STREAM_BYTES // 16


def files(delay: float) -> int:
    """Files that the walks visit."""
    return 5000 if delay == 0 else 1000 if delay <= 1 else 200


WORKLOADS = [
    Workload(
        "read 4 KiB",
        "dd if={root}/big of=/dev/null bs=4k count=$((BYTES / 8192))",
        lambda d: stream(d) / 2e9,
        "GB/s",
    ),
    Workload(
        "read 128 KiB",
        "dd if={root}/big of=/dev/null bs=128k count=$((BYTES / 131072))",
        lambda d: stream(d) / 1e9,
        "GB/s",
    ),
    Workload(
        "read 1 MiB",
        "dd if={root}/big of=/dev/null bs=1M count=$((BYTES / 1048576))",
        lambda d: stream(d) / 1e9,
        "GB/s",
    ),
    Workload(
        "4 streams",
        "for i in 0 1 2 3; do dd if={root}/big of=/dev/null bs=128k skip=$((i * BYTES / 524288)) "
        "count=$((BYTES / 524288)) & done; wait",
        lambda d: stream(d) / 1e9,
        "GB/s",
    ),
    Workload("random 4 KiB", "python3 $RANDOM_READS {root}/big $READS", lambda d: 5000 if d == 0 else 100, "reads/s"),
    Workload("find -ls", "find {root}/tree$FILES -ls", files, "files/s"),
    Workload("ls -lR", "ls -lR {root}/tree$FILES", files, "files/s"),
    Workload("grep -r", "grep -r needle {root}/tree$FILES", files, "files/s"),
    Workload("tar c", "tar cf - {root}/tree$FILES | cat", files, "files/s"),
    Workload("git status", "git -C {root}/repo$REPO status", lambda d: 2000 if d == 0 else 200, "files/s"),
    Workload(
        "process starts",
        "n=0; while [ $n -lt $STARTS ]; do cat {root}/tree$FILES/d0/f0; n=$((n + 1)); done",
        lambda d: 200 if d == 0 else 20,
        "starts/s",
    ),
    Workload(
        "python import",
        "python3 -B -c 'import sys; sys.path.insert(0, \"{root}\"); import package'",
        lambda d: 60,
        "modules/s",
    ),
    Workload("rg", "rg -uu --no-messages needle {root}/tree$FILES || true", files, "files/s"),
]

RANDOM_READS = """
import os, random, sys
f = os.open(sys.argv[1], os.O_RDONLY)
r = random.Random(1)
for _ in range(int(sys.argv[2])):
    os.pread(f, 4096, r.randrange(100000) * 4096)
"""


def make_tree(top: Path) -> None:
    with open(top / "big", "wb") as out:
        for _ in range(STREAM_BYTES // 2**20):
            out.write(os.urandom(2**20))
    for count in (5000, 1000, 200):
        for i in range(count):
            d = top / f"tree{count}" / f"d{i % 50}"
            d.mkdir(parents=True, exist_ok=True)
            (d / f"f{i // 50}").write_text(("needle\n" if i % 37 == 0 else "hay\n") * (1 + i % 700))
    for count in (2000, 200):
        repo = top / f"repo{count}"
        for i in range(count):
            d = repo / f"d{i % 40}"
            d.mkdir(parents=True, exist_ok=True)
            (d / f"f{i}").write_text(f"{i}\n")
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


class Absent(Exception):
    """This peer can't run here; the message says why."""


class Peer:
    """A way to the tree.  `start` once, then per measurement `fresh` (cold caches) and `run`."""

    name = "local"

    def __init__(self, tree: Path, work: Path) -> None:
        self.tree, self.work = tree, work
        self.processes: List[subprocess.Popen] = []
        self.port = 0  # where the client connects: the server, or a relay before it

    def version(self) -> str:
        return "plain reads of the same tree"

    def start(self) -> int:
        """Starts the server; its port, 0 where there is none."""
        return 0

    def fresh(self) -> None:
        pass

    def stale(self) -> None:
        """Undoes `fresh`."""

    def root(self) -> str:
        return str(self.tree)

    def command(self, script: Path) -> List[str]:
        return ["bash", str(script)]

    def spawn(
        self, *command: str, stdout: Optional[int] = None, stderr: Optional[int] = None
    ) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        self.processes.append(process)
        return process

    def connect(self, delay: float, relay: Path) -> None:
        server = self.start()
        self.port = server
        if server and delay:
            process = self.spawn(str(relay), "0", str(server), str(delay), stdout=subprocess.PIPE)
            assert process.stdout
            self.port = int(process.stdout.readline().rsplit(b":", 1)[1])

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


class Remotec(Peer):
    tier = "both"
    name = "remotec"
    program = shutil.which("remotec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

    def version(self) -> str:
        return f"{self.run_for_line('--version')}, --tier {self.tier}"

    def run_for_line(self, *arguments: str) -> str:
        return subprocess.run([str(self.program), *arguments], capture_output=True, text=True).stdout.strip()

    def start(self) -> int:
        if not self.program:
            raise Absent("no remotec command: build it first")
        server = self.spawn(self.program, "serve", "--listen", "127.0.0.1:0", stdout=subprocess.PIPE)
        assert server.stdout
        return int(server.stdout.readline().rsplit(b":", 1)[1])

    def root(self) -> str:
        return "/box"

    def command(self, script: Path) -> List[str]:
        return [str(self.program), "run", "-s", f"127.0.0.1:{self.port}", "--remote", f"/box={self.tree}",
                "--tier", self.tier, "--", "bash", str(script)]  # fmt: skip


class RemotecPreload(Remotec):
    name, tier = "remotec preload", "preload"


class RemotecSupervisor(Remotec):
    name, tier = "remotec supervisor", "supervisor"


class Mounted(Peer):
    """A peer whose client is a mount."""

    def root(self) -> str:
        return str(self.work / "mount")

    def mount(self) -> List[str]:
        raise NotImplementedError

    def fresh(self) -> None:
        os.makedirs(self.root(), exist_ok=True)
        done = subprocess.run(self.mount(), capture_output=True, text=True, timeout=60)
        for _ in range(100):
            if os.path.ismount(self.root()):
                return
            time.sleep(0.05)
        raise Absent(f"mounting failed: {done.stderr.strip()[-200:]}")

    def stale(self) -> None:
        for _ in range(50):
            if not os.path.ismount(self.root()):
                return
            subprocess.run(["fusermount3", "-u", self.root()], capture_output=True)
            time.sleep(0.05)


def needs(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise Absent(f"no {program} on this machine")


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
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    peer.spawn(str(sshd), "-D", "-f", str(work / "sshd.conf"), stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    return port


class Sshfs(Mounted):
    name = "sshfs"

    def version(self) -> str:
        return subprocess.run(["sshfs", "--version"], capture_output=True, text=True).stdout.splitlines()[0]

    def start(self) -> int:
        needs("sshfs", "fusermount3")
        return start_sshd(self)

    def mount(self) -> List[str]:
        options = f"port={self.port},IdentityFile={self.work}/user"
        options += ",StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null"
        return ["sshfs", "-o", options, f"{os.environ.get('USER', 'root')}@127.0.0.1:{self.tree}", self.root()]


class SshfsPlain(Mounted):
    name = "sshfs, no encryption"

    def version(self) -> str:
        return "sshfs -o directport to sftp-server behind socat"

    def start(self) -> int:
        needs("sshfs", "socat")
        if not os.path.exists("/usr/lib/openssh/sftp-server"):
            raise Absent("no sftp-server on this machine")
        port = free_port()
        listener = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay"
        self.spawn("socat", listener, "EXEC:/usr/lib/openssh/sftp-server")
        time.sleep(0.3)
        return port

    def mount(self) -> List[str]:
        return ["sshfs", "-o", f"directport={self.port}", f"127.0.0.1:{self.tree}", self.root()]


class Rclone(Mounted):
    name = "rclone mount"

    def version(self) -> str:
        said = subprocess.run(["rclone", "version"], capture_output=True, text=True).stdout
        return said.splitlines()[0] + ", over sftp"

    def start(self) -> int:
        needs("rclone", "fusermount3")
        return start_sshd(self)

    def mount(self) -> List[str]:
        user = os.environ.get("USER", "root")
        remote = f":sftp,host=127.0.0.1,port={self.port},user={user},key_file={self.work}/user:{self.tree}"
        return ["rclone", "mount", remote, self.root(), "--daemon", "--read-only", "--config", "/dev/null"]


PEERS = [Peer, Remotec, RemotecPreload, RemotecSupervisor, Sshfs, SshfsPlain, Rclone]
LEFT_OUT = {
    "NFS": "libnfs has no mount: its tools copy one file at a time; the kernel client needs root and a free port 2049",
    "9P": "diod serves it, but no user-space client mounts it here",
    "Parrot/Chirp": "Debian's coop-computing-tools ships neither parrot_run nor a working chirp_fuse",
}


def measure(peer: Peer, workload: Workload, delay: float, script: Path) -> Optional[float]:
    """Amount per second; None where the workload failed or took over two minutes."""
    values = {
        "BYTES": stream(delay),
        "FILES": files(delay),
        "READS": 5000 if delay == 0 else 100,
        "REPO": 2000 if delay == 0 else 200,
        "STARTS": 200 if delay == 0 else 20,
        "RANDOM_READS": script.parent / "random_reads.py",
    }
    settings = "".join(f"{name}={value}\n" for name, value in values.items())
    line = workload.line.replace("{root}", peer.root())
    script.write_text(f"{settings}TIMEFORMAT='took %R'\ntime {{ {line}; }} > /dev/null 2>{script}.err\n")
    peer.fresh()
    try:
        done = subprocess.run(peer.command(script), capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return None
    finally:
        peer.stale()
    took = re.findall(r"^took ([\d.]+)$", done.stderr, re.M)
    if done.returncode or not took:
        print(f"  {peer.name}: {workload.name}: status {done.returncode} {done.stderr[-200:]!r}", file=sys.stderr)
        return None
    return workload.amount(delay) / max(float(took[-1]), 0.001)


def run(arguments: argparse.Namespace, work: Path) -> Dict:
    tree = work / "served"
    tree.mkdir()
    make_tree(tree)
    (work / "random_reads.py").write_text(RANDOM_READS)
    relay = work / "delay_proxy"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", relay, HERE / "delay_proxy.c", "-lpthread"], check=True)
    wanted = [w for w in WORKLOADS if not arguments.workloads or any(p in w.name for p in arguments.workloads)]
    result: Dict = {"machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
                    "rounds": arguments.rounds, "peers": {}, "left out": dict(LEFT_OUT), "medians": {}}  # fmt: skip
    for delay in arguments.delays:
        ready: List[Peer] = []
        for kind in PEERS:
            if arguments.peers and not any(kind.name.startswith(p) for p in [*arguments.peers, "local"]):
                continue
            if kind is Peer and delay:
                continue
            directory = work / kind.name.replace(" ", "-").replace(",", "")
            directory.mkdir(exist_ok=True)
            peer = kind(tree, directory)
            try:
                peer.connect(delay, relay)
                peer.fresh()
                peer.stale()
                ready.append(peer)
                result["peers"][peer.name] = peer.version()
            except Absent as why:
                result["left out"][peer.name] = str(why)
                peer.stop()
        for workload in wanted:
            figures: Dict[str, List[float]] = {}
            for _ in range(arguments.rounds):
                for peer in ready:
                    figure = measure(peer, workload, delay, work / "workload.sh")
                    if figure is not None:
                        figures.setdefault(peer.name, []).append(figure)
            row = {name: statistics.median(values) for name, values in figures.items()}
            result["medians"].setdefault(workload.name, {})[str(delay)] = row
            measured = ", ".join(f"{name} {figure:.3g}" for name, figure in row.items())
            print(f"{2 * delay:g} ms  {workload.name}: {measured}", flush=True)
        for peer in ready:
            peer.stop()
    return result


def markdown(result: Dict) -> str:
    names = list(result["peers"])
    units = {w.name: w.unit for w in WORKLOADS}
    lines = [f"{result['machine']}; medians of {result['rounds']} interleaved rounds.", ""]
    lines += [f"- {name}: {version}" for name, version in result["peers"].items()]
    lines += [f"- left out: {name}: {why}" for name, why in result["left out"].items()]
    lines += ["", "| workload | round trip added | " + " | ".join(names) + " |"]
    lines += ["| --- | --- |" + " --- |" * len(names)]
    for workload, by_delay in result["medians"].items():
        for delay, row in by_delay.items():
            cells = (f"{row[n]:.3g}" if n in row else "-" for n in names)
            lines.append(f"| {workload}, {units[workload]} | {2 * float(delay):g} ms | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(result: Dict, directory: Path) -> None:
    """Throughput against delay, one SVG per workload."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    directory.mkdir(parents=True, exist_ok=True)
    units = {w.name: w.unit for w in WORKLOADS}
    for workload, by_delay in result["medians"].items():
        figure, axes = pyplot.subplots(figsize=(7, 4))
        for name in result["peers"]:
            points = [(2 * float(d), row[name]) for d, row in by_delay.items() if name in row]
            if len(points) > 1:
                axes.plot(*zip(*points), marker="o", label=name)
        axes.set(title=workload, xlabel="added round trip, ms", ylabel=units[workload], yscale="log")
        axes.legend(fontsize="small")
        axes.grid(True, alpha=0.3)
        figure.tight_layout()
        figure.savefig(directory / f"{workload.replace(' ', '-')}.svg")
        pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delays", type=lambda s: [float(d) / 2 for d in s.split(",")], default=[0, 0.5, 5, 25],
                        help="added round trips in ms; default 0,1,10,50")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=lambda s: s.split(","))
    parser.add_argument("--workloads", type=lambda s: s.split(","))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plots", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="remotec-peers-") as work:
        result = run(arguments, Path(work))
    text = markdown(result)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.plots:
        plot(result, arguments.plots)


if __name__ == "__main__":
    main()

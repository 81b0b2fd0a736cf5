# SPDX-License-Identifier: MIT
"""The oracle: the same shell line run plainly and through remotec, and every byte of it compared."""

from __future__ import annotations

import difflib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

TIERS = ("preload", "supervisor", "both")
BOX = "/box"


class Outcome(NamedTuple):
    status: "int | str"
    stdout: bytes
    stderr: bytes


class Server:
    """`remotec serve` over one directory, on a free port of loopback; `mode`: "fast" or "pure"."""

    def __init__(self, mode: str, *options: str, before: Sequence[str] = ()) -> None:
        command = [*before, sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(
            command + ["--pure"] * (mode == "pure"), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.address = line.split()[-1]

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()


def command(address: str, tree: Path, tier: str, *options: str) -> List[str]:
    """`remotec run` of what follows, which sees `tree` as /box."""
    remotec = [sys.executable, "-m", "remotec", "run", "-s", address, "--remote", f"{BOX}={tree}", "--tier", tier]
    return [*remotec, *options, "--"]


def shell(
    line: str, tree: Path, before: "tuple[str, ...] | List[str]" = (), timeout: float = 60, cwd: Optional[Path] = None
) -> Outcome:
    """Runs a bash line; its {box} is the tree as the program sees it, {srv} as the server does."""
    box = BOX if before else str(tree)
    script = line.replace("{box}", box).replace("{srv}", str(tree))
    process = subprocess.Popen(
        [*before, "bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
        return Outcome("timeout", out, err)
    seen = os.fsencode(str(tree))
    # A shell ended by a signal is 128 + N to whoever started remotec.
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Outcome(status, out.replace(seen, BOX.encode()), err.replace(seen, BOX.encode()))


def difference(plain: Outcome, remote: Outcome) -> str:
    """What the remote run did otherwise, line by line."""
    parts = [f"status {plain.status} plainly, {remote.status} through remotec"]
    for name in ("stdout", "stderr"):
        one, other = (getattr(each, name).decode(errors="backslashreplace").splitlines() for each in (plain, remote))
        parts += difflib.unified_diff(one, other, f"{name}, plainly", f"{name}, through remotec", lineterm="", n=1)
    return "\n".join(parts)


def needs(line: str) -> List[str]:
    """The programs of a line that this machine hasn't got, of those that not every machine has."""
    rare = "busybox git rg sqlite3 perl gawk jq rsync xxd strings file getfattr zip tree python3".split()
    words = line.replace("|", " ").replace("(", " ").replace(";", " ").split()
    return [name for name in rare if name in words and not shutil.which(name)]


def make_tree(tree: Path) -> None:
    """Files of every kind; the same each time but for inode numbers and times of now."""
    chance = random.Random(7)
    (tree / "sub" / "deep" / "er").mkdir(parents=True)
    (tree / "many").mkdir()
    for i in range(300):
        path = tree / "many" / f"f{i:03}"
        path.write_text(("needle " if i % 37 == 0 else "hay ") * (i % 50) + "\n")
        os.utime(path, ns=(2_100_000_000_000_000_000 + i, 1_600_000_000_123_456_789 + i * 10**9))
    (tree / "text").write_text("".join(f"{i} line {chance.random()}\n" for i in range(20000)))
    (tree / "lines").write_text("".join(f"{i}\n" for i in range(1, 100001)))
    (tree / "bin").write_bytes(chance.randbytes(3_000_001))
    (tree / "empty").write_bytes(b"")
    (tree / "one").write_bytes(b"x")
    with open(tree / "sparse", "wb") as sparse:
        sparse.truncate(5 << 30)
        os.pwrite(sparse.fileno(), b"middle", 3 << 30)
    os.link(tree / "text", tree / "hard")
    os.mkfifo(tree / "fifo")
    links = {"link": "text", "linkdir": "many", "dangling": "nowhere", "loop": "loop", "up": "sub/../text"}
    for name, target in links.items():
        (tree / name).symlink_to(target)
    for name in (b"with space", b"new\nline", b"caf\xe9 latin1", "ünïcode".encode()):
        (tree / os.fsdecode(name)).write_bytes(name + b"\n")
    scripts = {
        "script": '#!/bin/sh\necho "script $0 $@"\nwc -c < "$0"\n',
        "plain": "echo no first line $1\n",
        "quiet": "#! /bin/true \n",
        "bad": "#!/nowhere/interpreter -x\n",
        "awk": "#!/usr/bin/awk -f\nBEGIN { print ARGC, ARGV[1] }\n",
    }
    for name, text in scripts.items():
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    shutil.copy("/bin/ls", tree / "elf")
    shutil.copy("/bin/true", tree / "true")
    (tree / "package").mkdir()
    (tree / "package" / "module.py").write_text("X = 42\n")
    if shutil.which("sqlite3"):
        statement = "create table t(a,b); insert into t values(1,2),(3,4)"
        subprocess.run(["sqlite3", str(tree / "db"), statement], check=True)
    if shutil.which("git"):
        git = "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm one"
        shutil.copytree(tree / "many", tree / "repository")
        subprocess.run(["sh", "-c", git], cwd=tree / "repository", check=True)

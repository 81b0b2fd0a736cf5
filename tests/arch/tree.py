# SPDX-License-Identifier: MIT
"""The files that the programs of every architecture look at."""

import os
import random
import sqlite3
import subprocess
from pathlib import Path

QUIET_NS = 2_100_000_000_000_000_000  # 2036: reading a file accessed in the future leaves its time alone
BIG = 5 << 30
MARK = 4_831_838_208  # past 2**32


def make(tree: Path) -> None:
    """Makes the tree; everything in it is the same each time but inode numbers and ctimes."""
    chance = random.Random(5)
    tree.mkdir(parents=True)
    words = "one two three needle four five six seven eight nine ten".split()
    lines = [f"{i:04} {' '.join(chance.choice(words) for _ in range(8))}" for i in range(600)]
    (tree / "empty").write_bytes(b"")
    (tree / "one").write_bytes(b"1")
    (tree / "text").write_text("\n".join(lines) + "\n")
    (tree / "other").write_text("\n".join(lines[:300] + lines[301:]) + "\n")
    (tree / "data").write_bytes(chance.randbytes(300_000))
    with open(tree / "big", "wb") as big:
        big.truncate(BIG)
        os.pwrite(big.fileno(), b"0123456789abcdefghijklmnop", MARK)
    with open(tree / "sparse", "wb") as sparse:
        sparse.truncate(1 << 20)
        os.pwrite(sparse.fileno(), b"x" * 4096, 65536)
        os.pwrite(sparse.fileno(), b"y", (1 << 20) - 1)
    for name, size in (("two-gib", 1 << 31), ("two-gib-less-one", (1 << 31) - 1)):
        with open(tree / name, "wb") as file:
            file.truncate(size)
    inner = tree / "dir" / "sub" / "deep"
    inner.mkdir(parents=True)
    (tree / "dir" / "inner").write_text("inside, with a needle\n")
    (inner / "bottom").write_text("at the bottom\n")
    many = tree / "many"
    many.mkdir()
    for i in range(300):
        (many / f"entry-{i:03}").write_bytes(b"")
    (many / "a-directory").mkdir()
    (many / "a-link").symlink_to("entry-000")
    os.mkfifo(many / "a-fifo")
    os.mkfifo(tree / "fifo")
    for name, target in {
        "link": "text",
        "linkdir": "dir",
        "dangling": "nowhere",
        "loop": "loop",
        "long-link": "x" * 300,
    }.items():
        (tree / name).symlink_to(target)
    (tree / os.fsdecode(b"\xff\xfename")).write_text("not UTF-8\n")
    (tree / "mode000").write_text("secret\n")
    os.chmod(tree / "mode000", 0)
    (tree / "script").write_text(
        '#!/bin/sh\nn=0\nwhile read -r number rest; do n=$((n + 1)); done < "$1/text"\necho "$n lines"\n'
        'read -r first < "$1/dir/inner"; echo "$first"\n'
    )
    os.chmod(tree / "script", 0o755)
    try:
        os.setxattr(tree / "text", "user.colour", b"green")
        os.setxattr(tree / "text", "user.shape", b"round")
    except OSError:  # a file system without them: then both runs say so
        pass
    with sqlite3.connect(tree / "numbers.db") as database:
        database.execute("create table numbers (n integer primary key, word text)")
        database.executemany("insert into numbers values (?, ?)", [(i, words[i % 10]) for i in range(5000)])
    database.close()
    subprocess.run(
        ["tar", "--sort=name", "--mtime=@1", "--owner=0", "--group=0", "-cf", tree / "archive.tar", "dir", "text"],
        cwd=tree,
        check=True,
    )
    for folder, names, files in os.walk(tree, topdown=False):
        for name in names + files:
            path = Path(folder, name)
            os.utime(path, ns=(QUIET_NS, 1_600_000_000_123_456_789), follow_symlinks=False)
    os.utime(tree, ns=(QUIET_NS, 1_600_000_000_000_000_000))
    (tree / "old").write_text("before the epoch\n")
    (tree / "future").write_text("after 2038\n")
    (tree / "far").write_text("after 2106\n")
    os.utime(tree / "old", ns=(QUIET_NS, -1_000_000_000_500_000_000))
    os.utime(tree / "future", ns=(2_300_000_000_000_000_001, 2_200_000_000_999_999_999))
    os.utime(tree / "far", ns=(4_400_000_000_000_000_001, 4_300_000_000_000_000_007))
    os.utime(tree, ns=(QUIET_NS, 1_600_000_000_000_000_000))

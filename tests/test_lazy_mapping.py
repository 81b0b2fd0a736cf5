# SPDX-License-Identifier: MIT
"""Mappings of large files, whose pages come when they are touched: what moves, and that nobody can tell."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import pytest

from oracle import TIERS, Outcome, Server, command, difference, needs, shell
from remotec import check

MIB = 1 << 20
DENSE = 80 * MIB

PRELUDE = r"""
import ctypes, hashlib, mmap, os, random, signal, socket, sys, threading
box = sys.argv[1] + "/"
c = ctypes.CDLL(None, use_errno=True)
P, N, I = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
c.mmap.restype = c.mremap.restype = P
c.mmap.argtypes = [P, N, I, I, I, ctypes.c_long]
c.mremap.argtypes = [P, N, N, I, P]
f = os.open(box + "dense", 0)
size = os.fstat(f).st_size
m = mmap.mmap(f, 0, prot=mmap.PROT_READ)
view = memoryview(m)
chance = random.Random(5)
def page():
    return chance.randrange(size // 4096) * 4096
"""


def scripts(text: str) -> "list[str]":
    return text.strip("\n").split("\n\n")


# Each page that one of these touches is one that wasn't there before.
SCRIPTS = scripts(r"""
r, w = os.pipe()
def sent(write, *arguments):
    print(write(*arguments), hashlib.md5(os.read(r, 65536)).hexdigest())
sent(os.write, w, view[page():][:4096])
sent(os.writev, w, [view[page():][:100], view[page():][:3000]])
def through_a_socket(part):
    global r
    one, other = socket.socketpair()
    n = one.send(part)
    r = other.detach()
    return n
sent(through_a_socket, view[page():][:5000])
copy = os.memfd_create("copy")
print(os.pwrite(copy, view[page():][:300000], 5))
r = copy
sent(os.lseek, copy, 0, 0)

p = mmap.mmap(f, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
at = page()
r, w = os.pipe()
os.write(w, b"mine")
print(os.readv(r, [memoryview(p)[at + 5 : at + 9]]), p[at : at + 12], m[at : at + 12])
p[at + 4096 : at + 4099] = b"and"
print(p[at + 4090 : at + 4110], m[at + 4090 : at + 4110])

os.close(f)
for depth in range(3):
    if os.fork():
        print(os.wait()[1])
        break
    print(depth, m[page()], hashlib.md5(view[page():][:20000]).hexdigest(), flush=True)
os.write(1, b"%d\n" % m[page()])

sums = [0] * 8
def add(which):
    mine = random.Random(which)
    for i in range(60):
        sums[which] += m[mine.randrange(size)]
threads = [threading.Thread(target=add, args=(i,)) for i in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
print(sums)

seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(m[page()]))
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
while len(seen) < 20:
    m[page()]
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(seen) >= 20, m[size - 1])

here = c.mmap(None, 1 << 20, 3, 0x22, -1, 0)
ctypes.memset(here, 7, 1 << 20)
print(c.mmap(here + 4096, 3 * 4096, 1, 0x12, f, 50 << 20) == here + 4096)
print(hashlib.md5(ctypes.string_at(here, 1 << 20)).hexdigest())
print(c.mmap(here + 8192, 4096, 1, 0x11, f, 70 << 20) == here + 8192, ctypes.string_at(here, 20000)[4000:12400:7])
print(c.munmap(P(here + 4096), N(4096)), c.mprotect(P(here + 8192), N(8192), 0), c.mprotect(P(here + 8192), N(8192), 1))
print(ctypes.string_at(here + 8192, 8192)[::13])

at = c.mmap(None, 4096, 1, 1, f, 9 << 20)
view.release(), m.close(), os.close(f)
at = c.mremap(at, 4096, 4 << 20, 1, None)
print(hashlib.md5(ctypes.string_at(at, 4 << 20)).hexdigest())
print(c.mlock(P(at + 4096), N(65536)), c.msync(P(at), N(4096), 4), c.munmap(P(at), N(2 << 20)))
print(ctypes.string_at(at + (3 << 20), 9))

at = c.mmap(None, size, 1, 0x8001, f, 0)
print(hashlib.md5(ctypes.string_at(at, size)).hexdigest())

m.madvise(mmap.MADV_RANDOM)
print(m[page()])
m.madvise(mmap.MADV_WILLNEED, 5 << 20, 1 << 20)
m.madvise(mmap.MADV_SEQUENTIAL)
print(hashlib.md5(m[5 << 20 : 9 << 20]).hexdigest())
m.madvise(mmap.MADV_DONTNEED)
print(m[5 << 20 : (5 << 20) + 9], m.find(b"the needle in it"), len(m[:]))

import select
try:
    select.epoll().register(f)
except OSError as error:
    print(error)
print(select.select([f], [f], [], 5))
watch = select.poll()
watch.register(f)
print(watch.poll(5))

s = os.open(box + "sparse", 0)
h = mmap.mmap(s, 0, prot=mmap.PROT_READ)
print([h[i * (3 << 30) : i * (3 << 30) + 9] for i in range(4)], h[-1], h[77777777], len(h))
print(os.lseek(s, 0, os.SEEK_CUR), os.read(s, 7), os.pread(s, 4, 3 << 30))

for i in (0, 1):
    g = os.open(box + "dense", os.O_RDONLY | os.O_NONBLOCK)
    print(os.pread(g, 10, 100), os.read(g, 5), os.lseek(g, -5, 2), os.read(g, 9), os.fstat(g).st_nlink)
    print(mmap.mmap(g, 10, prot=mmap.PROT_READ)[:] == m[:10], c.mmap(None, 10, 2, 1, g, 0) == P(-1).value)
    if not os.fork():
        print(os.lseek(g, 0, 1), os.read(g, 3), mmap.mmap(g, 10, prot=1)[:] == m[:10], flush=True)
        os._exit(0)
    os.wait()
    os.set_inheritable(g, True)
    os.dup2(g, 0)
    show = "import mmap; print(mmap.mmap(0, 0, prot=1)[77 << 20 : (77 << 20) + 40])"
    os.spawnlp(os.P_WAIT, "python3", "python3", "-c", show)
""")

LINES = [
    "cmp {box}/dense {srv}/dense && cp --reflink=never {box}/dense /dev/null",
    "rg --mmap -c 'needle in' {box}/dense; rg --mmap -aob 'needle in' {box}/dense",
    "sqlite3 {box}/database 'pragma mmap_size=100000000' 'select count(*), sum(length(b)) from t'",
    "o=$(mktemp); cd {box} && ld -r -b binary -o $o dense && md5sum < $o; rm $o; nm -a {box}/object | tail -2",
    "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*; cd {box}/repository && "
    "git log --stat && git fsck --full",
    """python3 -c 'import ctypes; f = ctypes.CDLL("{box}/library").cos; f.restype = ctypes.c_double
print(f(ctypes.c_double(0)))'""",
    "grep -c needle {box}/dense; tail -c 9 {box}/dense | od -c; md5sum < {box}/dense",
]


@pytest.fixture(scope="module")
def lazy(servers: Dict[str, Server]) -> None:
    reason = check.why_filled_first(servers["fast"].address)
    if reason:
        pytest.skip(f"mappings are filled first here: {reason}")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lazy") / "tree"
    path.mkdir()
    chance = random.Random(11)
    with open(path / "dense", "wb") as file:
        for i in range(DENSE // MIB):
            file.write(i.to_bytes(8, "big") + chance.randbytes(MIB - 8))
        file.seek(DENSE - 100000)
        file.write(b"\nthe needle in it\n")
    with open(path / "sparse", "wb") as file:
        file.truncate(10 << 30)
        for i in range(500):
            os.pwrite(file.fileno(), b"%08d" % i, i * 20 * MIB)
    shutil.copy(path / "dense", path / "object")
    if shutil.which("ld"):
        subprocess.run(["ld", "-r", "-b", "binary", "-o", "object", "dense"], cwd=path, check=True)
    libraries = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libm.so" in line]
    if libraries:
        shutil.copy(libraries[0], path / "library")
        os.truncate(path / "library", 12 * MIB)
    if shutil.which("sqlite3"):
        rows = "with recursive n(i) as (select 1 union all select i+1 from n where i<3000)"
        fill = f"create table t(a,b); {rows} insert into t select i, randomblob(5000) from n"
        subprocess.run(["sqlite3", path / "database", fill], check=True)
    if shutil.which("git"):
        (path / "repository").mkdir()
        (path / "repository" / "file").write_bytes(chance.randbytes(12 * MIB))
        git = "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm one && git repack -adq"
        subprocess.run(["sh", "-c", git], cwd=path / "repository", check=True)
    return path


def run_script(script: str, tree: Path, before: "list[str]") -> Outcome:
    (tree.parent / "script").write_text(PRELUDE + script)
    return shell(f"PYTHONHASHSEED=0 python3 {tree.parent}/script {{box}}", tree, before)


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_nobody_can_tell_that_a_page_came_late(
    script: str, tier: str, box: Path, servers: Dict[str, Server], lazy: None
) -> None:
    plain = run_script(script, box, [])
    remote = run_script(script, box, command(servers["fast"].address, box, tier))
    assert plain.status == 0, plain.stderr
    assert remote == plain, difference(plain, remote)


@pytest.mark.parametrize("line", LINES)
def test_programs_that_map(line: str, tier: str, box: Path, servers: Dict[str, Server], lazy: None) -> None:
    missing = needs(line) + [name for name in ("ld", "nm") if name in line.split() and not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    plain = shell(line, box)
    remote = shell(line, box, command(servers["fast"].address, box, tier))
    assert remote == plain, difference(plain, remote)


@pytest.mark.parametrize("mode", ["fast", "pure"])
@pytest.mark.parametrize(
    "script, most, printed",
    [
        ("print(m[33 << 20 : (33 << 20) + 8])", MIB, b"b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00!'\n"),
        ("print(sum(m[page()] for i in range(100)))", 16 * MIB, None),
        ("print(hashlib.md5(view).hexdigest(), hashlib.md5(view).hexdigest(), os.close(f))", DENSE + 2 * MIB, None),
        (
            "h = mmap.mmap(os.open(box + 'sparse', 0), 0, prot=1)\n"
            "print(sum(h[chance.randrange(10 << 30)] for i in range(1000)), sum(h[i * 20 << 20] for i in range(500)))",
            20 * MIB,
            b"0 24000\n",
        ),
    ],
    ids=["one page", "random", "whole", "sparse"],
)
def test_only_what_is_touched_moves(
    script: str,
    most: int,
    printed: Optional[bytes],
    mode: str,
    tier: str,
    box: Path,
    servers: Dict[str, Server],
    lazy: None,
) -> None:
    printed = printed or run_script(script, box, []).stdout
    remote = run_script(script, box, command(servers[mode].address, box, tier, "--stats"))
    assert (remote.status, remote.stdout) == (0, printed), remote.stderr
    found = re.search(rb"bytes: ([\d,]+) received", remote.stderr)
    assert found, remote.stderr
    assert int(found[1].replace(b",", b"")) < most


def test_a_file_that_changes_is_seen_by_the_next_mapping(
    tmp_path: Path, servers: Dict[str, Server], tier: str, lazy: None
) -> None:
    """The old mapping shows it too, and what is past the new end is SIGBUS."""
    tree = tmp_path / "tree"
    tree.mkdir()
    script = """
import mmap, os, sys, time
M = 1 << 20
def put(size, byte):
    with open(sys.argv[1] + "/file", "r+b") as file:
        file.truncate(size)
        file.write(byte * size)
    time.sleep(0.3)
def show(m):
    print(len(m), [m[i] for i in range(0, len(m), 4096 * 37)] == [m[0]] * -(-len(m) // (4096 * 37)), m[:2], m[-2:])
f = os.open(sys.argv[2] + "/file", 0)
def map(size):
    return mmap.mmap(f, size, prot=mmap.PROT_READ)
first = map(20 * M); show(first)
put(20 * M, b"b"); second = map(20 * M); show(second); show(first)
put(30 * M, b"c"); os.fstat(f); third = map(os.fstat(f).st_size); show(third); show(first)
put(15 * M + 5, b"d"); fourth = map(15 * M); show(fourth); print(first[15 * M], first[15 * M + 4095], flush=True)
for at in (15 * M + 4096, 25 * M):
    if not os.fork():
        print(third[at])
        os._exit(0)
    print(os.WTERMSIG(os.wait()[1]), flush=True)
put(18 * M, b"e"); fifth = map(18 * M); show(fifth); print(first[18 * M - 1], third[16 * M])
"""
    (tmp_path / "script").write_text(script)
    results = []
    for run in ([], command(servers["fast"].address, tree, tier, "--max-stale", "100")):
        (tree / "file").write_bytes(b"a" * (20 * MIB))
        results.append(shell(f"python3 {tmp_path}/script {{srv}} {{box}}", tree, run))
    assert results[0].status == 0, results[0].stderr
    assert results[1] == results[0], difference(*results)


def test_a_page_of_a_file_that_shrank_is_sigbus(
    tmp_path: Path, servers: Dict[str, Server], tier: str, lazy: None
) -> None:
    """Without another mapping of it, which would have asked: neither zeros nor what was there."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"a" * (20 * MIB))
    script = """
m = mmap.mmap(os.open(box + "dense", 0), 0, prot=1)
os.truncate(sys.argv[2], 10 << 20)
print(m[(10 << 20) - 1], flush=True)
m[15 << 20]
"""
    (tmp_path / "tree" / "dense").symlink_to("file")
    (tmp_path / "script").write_text(PRELUDE + script)
    line = f"python3 {tmp_path}/script {{box}} {tree}/file"
    remote = shell(line, tree, command(servers["fast"].address, tree, tier))
    assert (remote.status, remote.stdout) == (128 + signal.SIGBUS, b"97\n"), remote.stderr


def test_a_page_that_the_server_no_longer_gives_is_sigbus(box: Path, tier: str, lazy: None) -> None:
    server = Server("fast")
    script = """
print(m[page()], flush=True)
os.kill(int(sys.argv[2]), 9)
r, w = os.pipe()
try:
    print(os.write(w, view[page():][:4096]))
except OSError as error:
    print(error.errno, flush=True)
print(m[page()])
"""
    (box.parent / "lost").write_text(PRELUDE + script)
    run = command(server.address, box, tier, "--timeout", "2")
    try:
        remote = shell(f"python3 {box.parent}/lost {{box}} {server.process.pid}", box, run, timeout=40)
    finally:
        server.process.kill()
        server.process.wait()
    assert remote.status == 128 + signal.SIGBUS, remote
    assert remote.stdout.endswith(b"\n14\n"), remote  # EFAULT


def processes_with(text: str) -> "list[str]":
    found: List[str] = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if text.encode() in line and int(pid) != os.getpid():
            found.append(f"{pid} {line!r}")
    return found


def test_a_mapping_outlives_the_command_and_nothing_outlives_it(
    box: Path, servers: Dict[str, Server], tier: str, lazy: None, tmp_path: Path
) -> None:
    result = tmp_path / "result"
    script = f"""
if not os.fork():
    os.close(0), os.close(1), os.close(2)
    while os.path.exists(sys.argv[2]):
        threading.Event().wait(0.05)
    with open("{result}", "w") as file:
        print(m[page()], hashlib.md5(view[page():][:10000]).hexdigest(), file=file)
    os._exit(0)
"""
    (tmp_path / "script").write_text(PRELUDE + script)
    told = []
    for run in ([], command(servers["fast"].address, box, tier, "--timeout", "29")):
        (tmp_path / "wait").touch()
        result.unlink(missing_ok=True)
        assert shell(f"python3 {tmp_path}/script {{box}} {tmp_path}/wait", box, run).status == 0
        (tmp_path / "wait").unlink()
        end = time.monotonic() + 20
        while not (result.exists() and result.read_text().endswith("\n")) and time.monotonic() < end:
            time.sleep(0.05)
        told.append(result.read_text())
    assert told[1] == told[0]
    mine = f"--server {servers['fast'].address} --library"
    end = time.monotonic() + 20
    while processes_with(mine) and time.monotonic() < end:
        time.sleep(0.05)
    assert processes_with(mine) == []


# ------------------------------------------------------------------------------------------------ other users

AS_SOMEBODY = """
mount -t tmpfs none {0} && mknod -m 666 {0}/fuse c 10 229 && mount --bind {0}/fuse /dev/fuse || exit 9
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""
WITHOUT_FUSE = """mount --bind /dev/null /dev/fuse || exit 9; exec "$@" """
WITH_LITTLE_MEMORY = """
mount --bind /dev/null /dev/fuse && mount --bind {0}/meminfo /proc/meminfo || exit 9
exec "$@"
"""


def apart(script: str, scratch: Path) -> "list[str]":
    """Words before a command that change what is mounted, for it alone."""
    before = ["unshare", "-m", "sh", "-c", script.format(scratch), "sh"]
    if subprocess.run([*before, sys.executable, "-c", "import remotec.cli"], capture_output=True).returncode:
        pytest.skip("only root can try this, where others may read the package")
    return before


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody may read, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def test_an_ordinary_user_has_it_too(public: Path, tier: str, box: Path) -> None:
    (public / "mount").mkdir()
    (public / "tree").mkdir()
    shutil.copy(box / "dense", public / "tree")
    before = apart(AS_SOMEBODY, public / "mount")
    server = Server("fast", before=before)
    script = SCRIPTS[0] + "\n" + SCRIPTS[2]
    plain = run_script(script, public / "tree", [])
    try:
        run = command(server.address, public / "tree", tier, "--stats")
        remote = run_script(script, public / "tree", [*before, *run])
    finally:
        server.stop()
    assert (remote.status, remote.stdout) == (0, plain.stdout), remote.stderr
    found = re.search(rb"bytes: ([\d,]+) received", remote.stderr)
    assert found and int(found[1].replace(b",", b"")) < 16 * MIB, remote.stderr


@pytest.mark.parametrize("tier", TIERS)
def test_where_there_can_be_no_such_mount_mappings_are_filled_first(
    tier: str, tiers: Dict[str, str], box: Path, servers: Dict[str, Server], tmp_path: Path
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    before = apart(WITHOUT_FUSE, tmp_path)
    plain = run_script(SCRIPTS[0], box, [])
    remote = run_script(SCRIPTS[0], box, [*before, *command(servers["fast"].address, box, tier)])
    assert remote == plain, difference(plain, remote)


@pytest.mark.parametrize("tier", TIERS)
def test_where_mappings_are_filled_first_memory_bounds_them(
    tier: str, tiers: Dict[str, str], servers: Dict[str, Server], tmp_path: Path
) -> None:
    """Whether the data is in one piece or in many; half of what is available is the limit."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    (tmp_path / "tree").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 999999 kB\nMemAvailable: 150000 kB\n")
    for name, step in (("dense", MIB), ("pieces", 2 * MIB)):
        with open(tmp_path / "tree" / name, "wb") as file:
            for i in range(80):
                os.pwrite(file.fileno(), b"%08d" % i * (MIB // 8), i * step)
    script = """
import mmap, os, sys
for name in ("dense", "pieces"):
    path = sys.argv[1] + "/" + name
    print(mmap.mmap(os.open(path, 0), 70 << 20, prot=1)[1 << 20 :][:8])
    try:
        mmap.mmap(os.open(path, 0), 0, prot=1)
    except OSError as error:
        print(error.errno)
"""
    (tmp_path / "script").write_text(script)
    before = apart(WITH_LITTLE_MEMORY, tmp_path)
    run = command(servers["fast"].address, tmp_path / "tree", tier)
    remote = shell(f"python3 {tmp_path}/script {{box}}", tmp_path / "tree", [*before, *run])
    assert remote == Outcome(0, b"b'00000001'\n12\nb'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\n12\n", b"")

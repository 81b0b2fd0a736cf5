# SPDX-License-Identifier: MIT
"""What is opened and read ahead: how much is waited for, how much is for nothing, and that nobody else can tell."""

from __future__ import annotations

import compileall
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Dict, NamedTuple

import pytest

from oracle import Server, command, difference, shell
from stuck import Stuck

DIRECTORIES, EACH = 20, 10
PATIENT = ("--max-stale", "60000")  # what was fetched ahead is used however slow this machine is just now


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("walked")
    for i in range(DIRECTORIES * EACH):
        directory = top / "tree" / f"d{i // EACH}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{i}").write_text(f"hay {i}\n" * (i * 7 % 1500))
    (top / "tree" / "d3" / "link").symlink_to("f31")
    (top / "tree" / "d4" / "deeper").mkdir()
    (top / "tree" / "d4" / "deeper" / "needle").write_text("hay\n")
    (top / "many").mkdir()
    for i in range(1000):
        (top / "many" / f"f{i}").write_bytes(bytes([i % 256]) * 4096)
    (top / "big").write_bytes(random.Random(1).randbytes(16 * 2**20))
    return top


class Cost(NamedTuple):
    round_trips: int
    ahead: int
    received: int
    used: int
    wasted: int


def cost(address: str, box: Path, tier: str, program: "list[str]", *options: str) -> "tuple[bytes, Cost]":
    """The program's output, and what --stats says of it."""
    done = subprocess.run(
        [*command(address, box, tier, "--stats", *options), *program], capture_output=True, timeout=60
    )
    said = done.stderr.decode()
    assert done.returncode == 0, said

    def number(pattern: str) -> int:
        found = re.search(pattern, said)
        assert found, said
        return int(found[1].replace(",", ""))

    return done.stdout, Cost(
        number(r"round trips: ([\d,]+)"),
        number(r"and ([\d,]+) requests sent ahead"),
        number(r"bytes: ([\d,]+) received"),
        number(r"read ahead: ([\d,]+) used"),
        number(r"([\d,]+) wasted"),
    )


@pytest.mark.parametrize("mode", ["fast", "pure"])
@pytest.mark.parametrize(
    "walk, most",
    [
        ("find {box}/tree -ls", 12),
        ("ls -lR {box}/tree", 14),
        ("grep -r hay {box}/tree", 16),
        ("tar cf - -C {box} tree", 14),
    ],
)
def test_a_walk_waits_for_hardly_any_of_its_directories_and_files(
    servers: Dict[str, Server], tiers: Dict[str, str], tier: str, walked: Path, walk: str, most: int, mode: str
) -> None:
    """21 directories and 200 files, each of which would be a round trip."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    plain = shell(walk, walked)
    line = ["bash", "-c", walk.replace("{box}", "/box")]
    out, spent = cost(servers[mode].address, walked, tier, line, *PATIENT)
    assert out == plain.stdout.replace(str(walked).encode(), b"/box")
    assert spent.round_trips <= most, spent
    assert spent.wasted <= spent.received // 10, spent


def test_files_of_a_listing_that_are_opened_at_random_are_soon_no_longer_fetched_ahead(
    servers: Dict[str, Server], walked: Path
) -> None:
    program = """
import os, random
names = sorted(os.listdir('/box/many'))
for name in random.Random(7).sample(names, 300):
    with open('/box/many/' + name, 'rb') as f:
        assert f.read() == bytes([int(name[1:]) % 256]) * 4096
"""
    _, spent = cost(servers["fast"].address, walked, "preload", ["python3", "-S", "-c", program], "--local", "/")
    assert spent.ahead <= 64, spent
    assert spent.wasted <= 64 * 4096, spent


@pytest.mark.parametrize("call", ["os.pread(f, 4096, at)", "(os.lseek(f, at, 0), os.read(f, 4096))"])
def test_a_random_load_brings_five_percent_more_than_it_reads_at_the_most(
    servers: Dict[str, Server], walked: Path, call: str, tier: str, tiers: Dict[str, str]
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    program = f"""
import os, random
drawn = random.Random(3)
f = os.open('/box/big', os.O_RDONLY)
for _ in range(2000):
    at = drawn.randrange(4096) * 4096
    {call}
"""
    _, spent = cost(servers["fast"].address, walked, tier, ["python3", "-S", "-c", program], "--local", "/")
    assert spent.received <= 2000 * 4096 * 1.05, spent
    assert spent.wasted <= 2000 * 4096 // 20, spent


def test_a_large_file_read_in_large_pieces_waits_for_its_open_alone(
    servers: Dict[str, Server], tiers: Dict[str, str], walked: Path, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    out, spent = cost(servers["fast"].address, walked, tier, ["cat", "/box/big"], *PATIENT)
    assert out == (walked / "big").read_bytes()
    assert spent.round_trips <= 2 and spent.ahead <= 17 and not spent.wasted, spent


def test_who_reads_only_the_beginnings_of_files_soon_gets_no_more(servers: Dict[str, Server], walked: Path) -> None:
    program = """
import os
for _ in range(20):
    f = os.open('/box/big', os.O_RDONLY)
    assert len(os.read(f, 131072)) == 131072
    os.close(f)
"""
    _, spent = cost(servers["fast"].address, walked, "preload", ["python3", "-S", "-c", program], "--local", "/")
    assert spent.ahead <= 64, spent
    assert spent.received <= 20 * 131072 + 8 * 2**20, spent


def test_directories_whose_paths_are_too_long_are_not_taken_for_others(
    servers: Dict[str, Server], tiers: Dict[str, str], tmp_path: Path, tier: str
) -> None:
    """Paths of 256 bytes and more aren't noted: where others were asked for ahead, they have no say in those."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    long = "d" * (200 - len(str(tmp_path)))
    for i in range(40):
        (tmp_path / "wide" / f"w{i}" / "in").mkdir(parents=True)
        (tmp_path / long / f"{i}{'n' * 100}").mkdir(parents=True)
    program = f"""
import os, time
for name in os.listdir('/box/wide'):
    os.listdir('/box/wide/' + name)
time.sleep(0.5)
for name in os.listdir('/box/{long}')[:4]:
    os.listdir('/box/{long}/' + name)
for name in range(40):
    os.stat(f'/box/wide/w{{name}}/in')
"""
    cost(servers["fast"].address, tmp_path, tier, ["python3", "-c", program], "--max-stale", "300")


@pytest.mark.parametrize(
    "advice, ahead", [("POSIX_FADV_RANDOM", False), ("POSIX_FADV_SEQUENTIAL", True), ("POSIX_FADV_NORMAL", False)]
)
def test_advice_is_obeyed(
    servers: Dict[str, Server], tiers: Dict[str, str], walked: Path, tier: str, advice: str, ahead: bool
) -> None:
    """Two reads in sequence, of which the second is the first that could be read ahead, and then many."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    program = f"""
import os
f = os.open('/box/big', os.O_RDONLY)
os.posix_fadvise(f, 0, 0, os.{advice})
for _ in range({{reads}}):
    assert len(os.read(f, 4096)) == 4096
"""
    address = servers["fast"].address
    few = cost(address, walked, tier, ["python3", "-S", "-c", program.format(reads=2)], "--local", "/")[1]
    many = cost(address, walked, tier, ["python3", "-S", "-c", program.format(reads=64)], "--local", "/")[1]
    assert (few.ahead > 0) == ahead, few
    assert (many.ahead > 0) == (advice != "POSIX_FADV_RANDOM"), many


def test_with_max_stale_0_nothing_is_opened_ahead(
    servers: Dict[str, Server], walked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTEC_MAX_STALE", "0")
    walk = ["grep", "-r", "hay", "/box/tree"]
    out, spent = cost(servers["fast"].address, walked, "preload", walk)
    assert out == shell("grep -r hay {box}/tree", walked).stdout.replace(str(walked).encode(), b"/box")
    assert spent.ahead == 0 and spent.round_trips > DIRECTORIES * EACH


LATE = """
import os
names = os.listdir('/box/d')
def content(name):
    with open('/box/d/' + name) as f:
        return f.read()
assert {content(n) for n in names[:4]} == {'old'}
print('paused', flush=True)
input()
print({content(n) for n in names[4:]})
"""


def test_what_was_opened_ahead_too_long_ago_is_opened_anew(
    servers: Dict[str, Server], tiers: Dict[str, str], tmp_path: Path, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    (tmp_path / "d").mkdir()
    for i in range(40):
        (tmp_path / "d" / str(i)).write_text("old")
    process = subprocess.Popen(
        command(servers["fast"].address, tmp_path, tier, "--local", "/") + ["python3", "-S", "-c", LATE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "paused\n"
    for path in (tmp_path / "d").iterdir():
        (tmp_path / "new").write_text("new")
        os.rename(tmp_path / "new", path)
    time.sleep(1.2)
    out, _ = process.communicate("\n", timeout=30)
    assert out == "{'new'}\n"


THREADS = """
import os, sys, threading, hashlib
from concurrent.futures import ThreadPoolExecutor
def content(path):
    with open(path, 'rb') as f:
        return path, hashlib.md5(f.read()).hexdigest()
paths = [os.path.join(d, n) for d, _, names in os.walk(sys.argv[1] + '/tree') for n in names]
def child(i):
    if i % 5 == 0:
        pid = os.fork()
        if not pid:
            for path in paths[i::7]:
                content(path)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
with ThreadPoolExecutor(8) as pool:
    forks = [pool.submit(child, i) for i in range(20)]
    found = list(pool.map(content, paths))
    for fork in forks:
        fork.result()
for path, digest in sorted(found):
    print(path[len(sys.argv[1]):], digest)
"""


def test_threads_and_forked_children_that_walk_at_once_read_what_is_there(
    servers: Dict[str, Server], tiers: Dict[str, str], walked: Path, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    words = ["python3", "-SW", "ignore", "-c", THREADS]
    plain = subprocess.run([*words, str(walked)], capture_output=True, timeout=60)
    remote = subprocess.run(
        [*command(servers["fast"].address, walked, tier, "--local", "/"), *words, "/box"],
        capture_output=True,
        timeout=60,
    )
    assert (remote.returncode, remote.stderr) == (0, b"")
    assert remote.stdout == plain.stdout


TOUCHED = """
import os, sys
def touched():
    pid = os.posix_spawn('/bin/cat', ['cat', sys.argv[1]], os.environ)
    return os.wait4(pid, 0)[2].ru_minflt
print(min(touched() for _ in range(5)), file=sys.stderr)
"""


@pytest.mark.parametrize("tier", ["preload", "both"], indirect=True)
def test_who_walks_nothing_touches_hardly_any_memory_for_walks(
    servers: Dict[str, Server], walked: Path, tier: str
) -> None:
    """A page of memory is a microsecond, in a process that may have lived for one millisecond."""
    words = ["python3", "-c", TOUCHED]
    path = "tree/d3/f31"
    plain = subprocess.run([*words, str(walked / path)], capture_output=True, timeout=60)
    remote = subprocess.run(
        [*command(servers["fast"].address, walked, tier), *words, f"/box/{path}"], capture_output=True, timeout=60
    )
    assert remote.stdout == plain.stdout
    assert int(remote.stderr) <= int(plain.stderr) + 100  # page faults; it was 127


STATS = """
import os, sys
os.chdir(sys.argv[1])
for d in range(20):
    for i in range(10):
        st = os.lstat(f'tree/d{d}/f{d * 10 + i}')
        print(st.st_mode, st.st_size, st.st_mtime_ns, st.st_ino, st.st_nlink, st.st_uid)
    try:
        os.stat(f'tree/d{d}/missing')
    except FileNotFoundError as e:
        print(e.errno)
    try:
        print(os.stat(f'tree/d{d}/link').st_size)
    except FileNotFoundError as e:
        print(e.errno)
"""


def test_asking_about_the_names_of_a_directory_one_by_one_becomes_one_question(
    servers: Dict[str, Server], tiers: Dict[str, str], walked: Path, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    program = ["python3", "-S", "-c", STATS]
    plain = subprocess.run([*program, str(walked)], capture_output=True, timeout=60)
    out, spent = cost(servers["fast"].address, walked, tier, [*program, "/box"], "--local", "/")
    assert out == plain.stdout
    assert spent.round_trips <= 40, spent


GIT = "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm one && git status"


@pytest.mark.parametrize("files, most", [(100, 64), (2000, 100)])
def test_git_status_waits_for_hardly_any_directory_and_for_no_file(
    servers: Dict[str, Server], tiers: Dict[str, str], tmp_path: Path, tier: str, files: int, most: int
) -> None:
    """lstat of every file of the index in the order of their names, by threads; then every directory is listed."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    if not shutil.which("git"):
        pytest.skip("not installed: git")
    directories = files // 50 if files > 500 else files // 10
    for i in range(files):
        path = tmp_path / f"d{i * directories // files}" / f"f{i}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{i}\n")
        os.utime(path, (time.time() - 3600,) * 2)
    subprocess.run(["sh", "-c", GIT], cwd=tmp_path, check=True)
    (tmp_path / "d0" / "untracked").touch()
    program = ["git", "-c", "safe.directory=*", "--no-optional-locks", "-C", "{box}", "status", "--porcelain"]
    plain = shell(" ".join(program), tmp_path)
    out, spent = cost(servers["fast"].address, tmp_path, tier, [w.replace("{box}", "/box") for w in program], *PATIENT)
    assert out == plain.stdout == b"?? d0/untracked\n"
    assert spent.round_trips <= most, spent


PROBE = """
import os, sys
found = 0
for name in range(100):
    for d in range(8):
        for path in (f'{sys.argv[1]}/tree/d{d}/{name}.h', f'{sys.argv[1]}/tree/d{d}/sub/{name}.h'):
            try:
                os.close(os.open(path, os.O_RDONLY))
                found += 1
            except FileNotFoundError:
                pass
    found += os.path.exists(f'{sys.argv[1]}/tree/d3/f{name}') and os.access(f'{sys.argv[1]}/tree/d3/f{name}', os.R_OK)
print(found)
"""


def test_names_that_are_probed_in_vain_are_answered_by_listings(
    servers: Dict[str, Server], tiers: Dict[str, str], walked: Path, tier: str
) -> None:
    """As a compiler looks for its headers: 1,600 names that aren't there, half of them in directories that aren't."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    program = ["python3", "-S", "-c", PROBE]
    plain = subprocess.run([*program, str(walked)], capture_output=True, timeout=60)
    out, spent = cost(servers["fast"].address, walked, tier, [*program, "/box"], "--local", "/", *PATIENT)
    assert out == plain.stdout == b"10\n"
    assert spent.round_trips <= 60, spent


APPEARS = """
import os, time
def probe(name):
    try:
        os.close(os.open('/box/d/' + name, os.O_RDONLY))
        return True
    except FileNotFoundError:
        return False
assert not any(probe(f'missing{i}') for i in range(20))
print('probed', flush=True)
input()
print(probe('missing3'), probe('new'), os.path.exists('/box/d/newer'))
"""


def test_names_that_a_directory_has_and_does_not_list(servers: Dict[str, Server], tmp_path: Path, tier: str) -> None:
    """As those of snapshots on other machines, and short names."""
    line = "cd {box}; stat -c %n,%s missing more missing2 .snapshot; stat -c %n,%s other LONGNA~1; ls; cat .snapshot"
    files = {".snapshot": b"old", "file": b"new", "LONGNA~1": b"x"}
    try:
        mount = Stuck(tmp_path, files, unlisted={".snapshot", "LONGNA~1"})
    except OSError as error:
        pytest.skip(f"no FUSE mount here: {error}")
    try:
        plain = shell(line, tmp_path)
        remote = shell(line, tmp_path, command(servers["fast"].address, tmp_path, tier, *PATIENT))
    finally:
        mount.close()
    assert b".snapshot,3\n" in plain.stdout and remote == plain, difference(plain, remote)


def test_what_appears_after_a_listing_is_found_when_that_is_too_old(
    servers: Dict[str, Server], tiers: Dict[str, str], tmp_path: Path, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    (tmp_path / "d").mkdir()
    process = subprocess.Popen(
        command(servers["fast"].address, tmp_path, tier, "--local", "/") + ["python3", "-S", "-c", APPEARS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "probed\n"
    for name in ("missing3", "new", "newer"):
        (tmp_path / "d" / name).touch()
    time.sleep(1.2)
    out, _ = process.communicate("\n", timeout=30)
    assert out == "True True True\n"


@pytest.mark.parametrize("compiled", [True, False])
def test_importing_a_package_is_a_round_trip_for_some_modules(
    servers: Dict[str, Server], tiers: Dict[str, str], tmp_path: Path, tier: str, compiled: bool
) -> None:
    """60 modules, each of them sought, asked about, opened and read."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    (tmp_path / "package").mkdir()
    for i in range(59):
        (tmp_path / "package" / f"m{i}.py").write_text(f"VALUE = {i}\n")
    (tmp_path / "package" / "__init__.py").write_text("".join(f"from . import m{i}\n" for i in range(59)))
    if compiled:
        compileall.compile_dir(tmp_path / "package", quiet=1)
    program = "import sys; sys.path.insert(0, '/box'); import package; print(package.m58.VALUE)"
    words = ["python3", "-S", "-B", "-c", program]
    out, spent = cost(servers["fast"].address, tmp_path, tier, words, "--local", "/", *PATIENT)
    assert out == b"58\n"
    assert spent.round_trips <= 40, spent

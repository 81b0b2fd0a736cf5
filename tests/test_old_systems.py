# SPDX-License-Identifier: MIT
"""Old kernels, old C libraries and other ones."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

from arch import build
from arch import tree as tree_of_kinds
from old_kernel import NUMBERS
from oracle import Server, command, difference, shell
from remotec import cli

ROOT = Path(__file__).parent.parent
OLD_KERNEL = [sys.executable, str(ROOT / "tests" / "old_kernel.py")]
ASK = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
for number in {numbers}:
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
    print(errno.errorcode.get(ctypes.get_errno()) if result < 0 else result)
try:
    os.preadv(os.open("/proc/self/exe", os.O_RDONLY), [bytearray(1)], 0, os.RWF_NOWAIT)
except OSError as error:
    print("ENOTSUP" if error.errno == errno.ENOTSUP else error.errno)  # what libc makes of ENOSYS
print(os.preadv(os.open("/proc/self/exe", os.O_RDONLY), [bytearray(1)], 0))
"""
needs_filter = pytest.mark.skipif(platform.machine() not in NUMBERS, reason="system call numbers not known here")


@needs_filter
def test_the_filter_makes_an_old_kernel() -> None:
    script = ASK.format(numbers=NUMBERS[platform.machine()][:3])
    done = subprocess.run([*OLD_KERNEL, sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["ENOSYS", "ENOSYS", "ENOSYS", "ENOTSUP", "1"], "")


@pytest.fixture(scope="module", params=["fast", "pure"])
def old_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(request.param, before=OLD_KERNEL)
    yield server
    assert server.stop() == 0


@needs_filter
@pytest.mark.parametrize(
    "line",
    [
        "md5sum {box}/text {box}/bin {box}/empty; tail -c 10 {box}/bin | od -c; wc -c < {box}/lines",
        "ls -lAn --time-style=full-iso {box} {box}/many; "
        "stat -c '%n %i %f %h %s %b %X %Y %Z' {box}/link {box}/fifo {box}/sparse",
        "find {box} -printf '%p %y %s %m %n %T@\\n' | sort; readlink {box}/link; cat {box}/missing {box}/loop",
        "head -c 5 {box}/sparse | od -c; dd if={box}/sparse bs=1M skip=3072 count=1 status=none | head -c 6; "
        "cd {box}/sub/deep && ls -a",
    ],
)
def test_serving_on_an_old_kernel(old_server: Server, tree: Path, tier: str, line: str) -> None:
    plain, remote = shell(line, tree), shell(line, tree, command(old_server.address, tree, tier))
    assert remote == plain, difference(plain, remote)


@needs_filter
@pytest.mark.parametrize("mode", [[], ["--pure"]])
def test_root_is_refused_where_it_cannot_be_kept(tmp_path: Path, mode: "list[str]") -> None:
    serve = [sys.executable, "-m", "remotec", "serve", "--listen", f"unix:{tmp_path}/s", "--root", str(tmp_path), *mode]
    done = subprocess.run([*OLD_KERNEL, *serve], capture_output=True, text=True, timeout=60)
    assert done.returncode and done.stdout == ""
    assert f"cannot serve {tmp_path}: --root needs openat2, of Linux 5.6" in done.stderr


def versions(path: Path) -> "dict[str, tuple[int, ...]]":
    listing = subprocess.run(["objdump", "-T", path], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"\*UND\*\s+\S+\s+\(?GLIBC_([0-9.]+)\)?\s+(\w+)", listing)
    assert found
    return {name: tuple(map(int, version.split("."))) for version, name in found}


@pytest.mark.skipif(not shutil.which("objdump"), reason="no objdump")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="versions are chosen there")
def test_the_library_asks_for_no_new_symbol() -> None:
    """What was built here loads wherever glibc is 2.17 or newer."""
    library = Path(cli.LIBRARY)
    if not library.exists():
        pytest.skip("libremotec.so isn't built")
    assert {name: version for name, version in versions(library).items() if version > (2, 17)} == {}


@pytest.fixture(scope="module")
def musl_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("musl-tree") / "tree"
    tree_of_kinds.make(path)
    return path


@pytest.fixture(scope="module")
def musl(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, Path]":
    """libremotec.so and the probe, built with musl."""
    if not shutil.which("musl-gcc"):
        pytest.skip("no musl-gcc")
    folder = tmp_path_factory.mktemp("musl")
    # The kernel's headers, which musl comes without: after its own.
    kernel = [f"-idirafter/usr/include/{platform.machine()}-linux-gnu", "-idirafter/usr/include"]
    library = build.compile_to(
        folder / "libremotec.so", ["musl-gcc", *build.CFLAGS, *kernel], build.library_sources(), build.LDFLAGS
    )
    source = ROOT / "tests" / "arch" / "programs" / "probe.c"
    probe = build.compile_to(folder / "probe", ["musl-gcc", *build.PROBE_FLAGS, *kernel], [source], [])
    return library, probe


def test_with_musl(musl: "tuple[Path, Path]", musl_tree: Path, servers: "dict[str, Server]") -> None:
    """The path that the program knows is there only on the server."""
    library, probe = musl
    seen = musl_tree.with_name("seen")
    remotely = {
        "LD_PRELOAD": str(library),
        "REMOTE_SERVER": servers["fast"].address,
        "REMOTE_PATHS": f"{seen}={musl_tree}",
    }

    def run(section: str, where: Path, environment: "dict[str, str]") -> "tuple[int, list[str]]":
        command = [str(probe), section, str(where)]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, timeout=60, cwd="/")
        return done.returncode, (done.stdout + done.stderr).decode(errors="backslashreplace").splitlines()

    sections = subprocess.run([str(probe)], capture_output=True, text=True, check=True).stdout.split()
    assert "reads" in sections and "directories" in sections
    for section in sections:
        plain = run(section, musl_tree, {})
        assert plain[0] == 0 and plain[1]
        assert (section, run(section, seen, remotely)) == (section, plain)

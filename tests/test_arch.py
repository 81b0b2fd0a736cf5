# SPDX-License-Identifier: MIT
"""A part of `make test-arch`: 32 and 64 bits, both byte orders, both ways; and inode numbers past 32 bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import pytest

from arch import build, constants, packages, servers, suite
from arch.architectures import ARCHITECTURES
from oracle import Server

CLIENTS = ["x86_64", "i386", "mips", "s390x"]
SERVERS = ["x86_64", "s390x"]  # s390x: Debian's big-endian Python, the package's pure mode


class Matrix(NamedTuple):
    results: List[suite.Result]
    absent: Dict[str, str]
    said: List[str]


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    said: List[str] = []
    results, absent = suite.try_all(CLIENTS, SERVERS, said.append)
    return Matrix(results, absent, said)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_programs_of_one_architecture_on_a_server_of_another(matrix: Matrix, client: str, server: str) -> None:
    for absent in (client, f"server {server}"):
        if absent in matrix.absent:
            pytest.skip(f"{absent}: {matrix.absent[absent]}")
    cases = [result for result in matrix.results if (result.client, result.server) == (client, server)]
    assert len(cases) >= 20
    assert [case.case for case in cases if not case.passed and not case.reason] == [], "\n".join(matrix.said)


def test_every_constant_that_is_known_of_has_its_place() -> None:
    assert constants.homeless() == []


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tables_have_each_architectures_own_numbers(name: str) -> None:
    why = ARCHITECTURES[name].missing()
    if why:
        pytest.skip(why)
    assert constants.differences(ARCHITECTURES[name]) == []


def test_golden_messages_in_a_big_endian_python() -> None:
    architecture = ARCHITECTURES["s390x"]
    try:
        python = packages.prepare(architecture) / packages.PYTHON
    except packages.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    if architecture.missing():
        pytest.skip(str(architecture.missing()))
    here = Path(__file__).parent
    done = subprocess.run(
        [*architecture.emulator, str(python), str(here / "golden.py"), str(here / "vectors" / "messages.hex")],
        env={
            **os.environ,
            "PYTHONHOME": str(architecture.packages / "usr"),
            "PYTHONPATH": str(servers.pure_packages()),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stderr, done.stdout[:4]) == ("", "big ")


@pytest.fixture(scope="module")
def wide() -> Iterator[Server]:
    """A server of files whose inode numbers have more than 32 bits."""
    server = Server("pure", before=[sys.executable, str(Path(__file__).with_name("arch") / "wide.py")])
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize("variant", build.VARIANTS[32])
@pytest.mark.parametrize("client", ["i386", "mips"])
def test_inode_numbers_past_32_bits(wide: Server, tmp_path: Path, client: str, variant: str) -> None:
    architecture = ARCHITECTURES[client]
    if architecture.missing():
        pytest.skip(str(architecture.missing()))
    (tmp_path / "tree" / "dir").mkdir(parents=True)
    (tmp_path / "tree" / "dir" / "only").write_text("x")
    number = (tmp_path / "tree" / "dir" / "only").stat().st_ino + (1 << 40)
    library = f"LD_PRELOAD={build.library(architecture)}"
    before = [*architecture.emulator, "-E", library] if architecture.qemu else ["env", library, *architecture.emulator]
    done = subprocess.run(
        [*before, str(build.probe(architecture, variant)), "inodes", str(tmp_path / "seen")],
        env={**os.environ, "REMOTE_SERVER": wide.address, "REMOTE_PATHS": f"{tmp_path}/seen={tmp_path}/tree"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    narrow = "EOVERFLOW" if variant == "" else str(number)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"stat: {narrow}",
        f"stat64: {number}",
        f"fstat: {narrow}",
        f"readdir: {narrow}",
        f"readdir64: {number}",
    ]

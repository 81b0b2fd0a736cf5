# SPDX-License-Identifier: MIT
"""The C core's own tests, built with ASan and UBSan."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import golden

ROOT = Path(__file__).parent.parent
FLAGS = "-std=gnu11 -D_GNU_SOURCE -g -O1 -Icsrc -fsanitize=address,undefined -fno-sanitize-recover=all".split()
FRONT_ENDS = ("preload", "run", "supervise", "syscalls")


def build(name: str, sources: "list[str]", scratch: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    command = [compiler, *FLAGS, f"tests/c/{name}.c", *sources, "-o", str(scratch / name), "-lpthread", "-ldl"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "cannot find -lasan" in done.stderr or "cannot find -lubsan" in done.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert done.returncode == 0, done.stderr
    return scratch / name


def run(program: Path, *arguments: str, stdin: str = "/dev/null") -> str:
    with open(stdin) as source:
        command = [program, *arguments]
        done = subprocess.run(command, cwd=ROOT, stdin=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def core() -> "list[str]":
    names = (path.name for path in sorted((ROOT / "csrc").glob("*.c")))
    return [f"csrc/{name}" for name in names if not name.startswith(FRONT_ENDS)]


def test_tables(tmp_path: Path) -> None:
    run(build("test_tables", ["csrc/translate.c"], tmp_path))


def test_golden_messages(tmp_path: Path) -> None:
    sources = ["csrc/calls.c", "csrc/wire.c", "csrc/translate.c"]
    assert ", 0 failed" in run(build("test_vectors", sources, tmp_path))


def test_routes(tmp_path: Path) -> None:
    run(build("test_route", ["csrc/route.c", "csrc/sys.c"], tmp_path))


def test_copies_into_bad_buffers(tmp_path: Path) -> None:
    run(build("test_copy", core(), tmp_path))


def test_leases(tmp_path: Path) -> None:
    run(build("test_lease", core(), tmp_path))


def test_the_cache_and_writers_that_are_killed(tmp_path: Path) -> None:
    run(build("test_cache", core(), tmp_path))


def test_mutated_replies(tmp_path: Path) -> None:
    said = run(build("fuzz_reply", core(), tmp_path), "20000", stdin=str(ROOT / "tests/vectors/messages.hex"))
    assert said.endswith(" mutated replies taken\n") and int(said.split()[0]) >= 20000


@pytest.mark.parametrize("tool", ["generate_protocol", "generate_vectors"])
def test_what_is_generated_is_not_stale(tool: str) -> None:
    subprocess.run([sys.executable, f"tools/{tool}.py", "--check"], cwd=ROOT, check=True)


def test_a_stale_table_of_the_document_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from protocol_document import document

    text = (ROOT / "docs/protocol.md").read_text()
    assert document(text) == text
    assert document(text.replace("2 ENOENT", "3 ENOENT")) == text
    with pytest.raises(ValueError, match="operation LOCK"):
        document(text.replace("GENERATED operation LOCK", "GENERATED operation LOOK"))


def test_golden_messages_are_construct_s_and_the_codecs() -> None:
    golden.check(str(ROOT / "tests/vectors/messages.hex"))

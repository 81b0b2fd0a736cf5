# SPDX-License-Identifier: MIT
"""`remotec run` without a rule, or with rules that don't name what it needs itself: whose programs and files it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Iterator, List

import pytest

from oracle import TIERS, Server

REMOTEC = [sys.executable, "-m", "remotec", "run"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that shows another machine's whole file system."""
    root = tmp_path_factory.mktemp("machine")
    for name in ("etc", "opt/tool", "home/u"):
        (root / name).mkdir(parents=True)
    (root / "etc" / "hostname").write_text("another machine\n")
    (root / "etc" / "passwd").write_text("u:x:1234:1234:its user:/home/u:/bin/sh\n")
    for name in ("opt/tool/run", "home/u/script"):
        (root / name).write_text('#!/bin/sh\necho "$0 $*"; cat /etc/hostname\n')
        (root / name).chmod(0o755)
    server = Server("fast", "--root", str(root))
    yield server
    server.stop()


def run(server: Server, tier: str, *words: str, options: "tuple[str, ...]" = (), path: str = "") -> List[str]:
    """The lines of its output; there must be none on stderr."""
    before = ["env", f"PATH=/usr/bin:/bin{path}", *REMOTEC, "-s", server.address, "--tier", tier, *options]
    done = subprocess.run([*before, "--", *words], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.returncode == 0
    return done.stdout.splitlines()


@pytest.mark.parametrize("tier", TIERS)
def test_files_that_nothing_local_needs_are_the_servers(machine: Server, tier: str) -> None:
    assert run(machine, tier, "cat", "/etc/hostname") == ["another machine"]
    assert run(machine, tier, "sh", "-c", "cd /home/u; echo *; cat < /etc/passwd | wc -l") == ["script", "1"]


@pytest.mark.parametrize("tier", TIERS)
def test_programs_outside_the_local_prefixes_are_the_servers_too(machine: Server, tier: str) -> None:
    expected = ["/opt/tool/run a b", "another machine"]
    assert run(machine, tier, "/opt/tool/run", "a", "b") == expected
    assert run(machine, tier, "env", "/opt/tool/run", "a", "b") == expected
    assert run(machine, tier, "sh", "-c", "cd /home/u; ./script x") == ["./script x", "another machine"]
    assert run(machine, tier, "run", "a", "b", path=":/opt/tool") == expected


@pytest.mark.parametrize("tier", TIERS)
def test_the_command_itself_may_be_remote_by_a_rule(machine: Server, tier: str) -> None:
    local = Path("/etc/hostname").read_text().splitlines()
    assert run(machine, tier, "/box/run", "a", options=("--remote", "/box=/opt/tool")) == ["/box/run a", *local]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("rest", [(), ("--remote", "/")])
def test_the_library_is_local_whatever_the_rules_say(machine: Server, tier: str, rest: "tuple[str, ...]") -> None:
    """The dynamic linker looks for it by its path, and is loud where it isn't there."""
    options = [word for path in ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache") for word in ("--local", path)]
    assert run(machine, tier, "cat", "/etc/hostname", options=(*options, *rest)) == ["another machine"]

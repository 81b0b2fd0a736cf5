# SPDX-License-Identifier: MIT
"""What was fetched ahead isn't used for longer than it may be (design, section 8)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Dict

import pytest

from oracle import Server, command

PAUSING = """
import os
f = os.open('/box/f', os.O_RDONLY)
for i in range({reads}):
    os.read(f, 4096)
print('paused', flush=True)
input()
print(os.read(f, 4096)[:1].decode())
"""


@pytest.mark.parametrize("mode", ["fast", "pure"])
@pytest.mark.parametrize("tier", ["preload", "supervisor"])
@pytest.mark.parametrize("reads, size", [(1, 32 * 1024), (8, 8 * 2**20), (200, 8 * 2**20)])
def test_a_reader_that_paused_sees_what_changed_meanwhile(
    servers: Dict[str, Server],
    tiers: Dict[str, str],
    tmp_path: Path,
    tier: str,
    mode: str,
    reads: int,
    size: int,
) -> None:
    """One read: OPEN brought the file; 8: in the middle of a reply read ahead; 200: further into the window."""
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    (tmp_path / "f").write_bytes(b"a" * size)
    program = ["python3", "-c", PAUSING.format(reads=reads)]
    process = subprocess.Popen(
        command(servers[mode].address, tmp_path, tier, "--local", "/") + program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "paused\n"
    # Emptied first: pages that sendfile has put into a socket keep what they had only if the file lets go of them.
    (tmp_path / "f").write_bytes(b"b" * size)
    time.sleep(1.2)
    assert process.communicate("\n", timeout=30) == ("b\n", None)

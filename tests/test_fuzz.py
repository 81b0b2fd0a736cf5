# SPDX-License-Identifier: MIT
"""A short run of the fuzzers; `make fuzz` is the long one."""

from typing import Dict

import pytest

import fuzz_replies
import fuzz_syscalls
from fuzz_frames import fuzz


@pytest.mark.parametrize("pure", [False, True])
def test_mutated_frames(pure: bool) -> None:
    fuzz(6000, pure, seed=1)


@pytest.mark.parametrize("build, tier", [("native", "supervisor"), ("native", "both"), ("i386", "supervisor")])
def test_random_system_calls(tiers: Dict[str, str], build: str, tier: str) -> None:
    if tiers[tier] or fuzz_syscalls.missing(build):
        pytest.skip(tiers[tier] or fuzz_syscalls.missing(build))
    said = list(fuzz_syscalls.fuzz(build, tier, 25, seed=1))
    assert len(said) == 1 and said[0].startswith("25 programs: ")


def test_lies(tier: str) -> None:
    assert not fuzz_replies.fuzz(5, tier, seed=20)

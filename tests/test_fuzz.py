# SPDX-License-Identifier: MIT
"""A short run of the fuzzers; `make fuzz` is the long one."""

import pytest

from fuzz_frames import fuzz


@pytest.mark.parametrize("pure", [False, True])
def test_mutated_frames(pure: bool) -> None:
    fuzz(6000, pure, seed=1)

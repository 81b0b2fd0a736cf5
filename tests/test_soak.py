# SPDX-License-Identifier: MIT
"""A short soak; `make soak` is the long one."""

from __future__ import annotations

from soak import MIB, soak


def test_short_processes_leave_nothing_behind(tier: str) -> None:
    soak(tier, 2, 100, 8 * MIB)

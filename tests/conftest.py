# SPDX-License-Identifier: MIT
"""What the tests by oracle share: one tree, a server in each mode over it."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest

from oracle import TIERS, Server, command, difference, make_tree, needs, shell
from relay import CountingRelay
from remotec import check, cli


def pytest_configure() -> None:
    """As many descriptors as a login has on most systems, whoever runs the tests: our own numbers are above that."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024 if hard == resource.RLIM_INFINITY else min(1024, hard), hard))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.access(cli.RUNNER, os.X_OK):
        pytest.skip("remotec-run isn't built")
    path = tmp_path_factory.mktemp("box") / "tree"
    path.mkdir()
    make_tree(path)
    return path


@pytest.fixture(scope="session")
def servers() -> Iterator[Dict[str, Server]]:
    running = {mode: Server(mode) for mode in ("fast", "pure")}
    yield running
    assert [server.stop() for server in running.values()] == [0, 0]


@pytest.fixture(scope="session")
def tiers(servers: Dict[str, Server]) -> Dict[str, str]:
    """Why each tier doesn't work on this machine; "" where it does."""
    return {tier: check.try_tier(tier, servers["fast"].address) for tier in TIERS}


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest, tiers: Dict[str, str]) -> str:
    """Each tier that works on this machine."""
    name: str = request.param
    if tiers[name]:
        pytest.skip(f"no {name} tier here: {tiers[name]}")
    return name


@pytest.fixture(params=["fast", "pure"])
def relay(request: pytest.FixtureRequest, servers: Dict[str, Server]) -> Iterator[CountingRelay]:
    """Counts what is asked of the server, in each mode."""
    made = CountingRelay(servers[request.param].address)
    yield made
    made.listener.close()


Same = Callable[..., None]


@pytest.fixture
def same(tree: Path, servers: Dict[str, Server], tiers: Dict[str, str]) -> Same:
    """same(line, tier, mode): the line's bytes, messages and status are those of a plain run."""

    def compare(line: str, tier: str, mode: str = "fast", *options: str, stderr: bool = True) -> None:
        if tiers[tier]:
            pytest.skip(f"no {tier} tier here: {tiers[tier]}")
        missing = needs(line)
        if missing:
            pytest.skip(f"not installed: {' '.join(missing)}")
        plain = shell(line, tree)
        remote = shell(line, tree, command(servers[mode].address, tree, tier, *options))
        if not stderr:
            plain, remote = plain._replace(stderr=b""), remote._replace(stderr=b"")
        assert remote == plain, difference(plain, remote)

    return compare

# SPDX-License-Identifier: MIT
"""What `remotec check` and `remotec --version -v` say: what works here, and what a server is like."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from typing import Any, Optional

from remotec import cli, protocol, sockets, version
from remotec.client import Client, error_of
from remotec.defaults import REMOTE

RTT_SAMPLES = 20
THROUGHPUT_S = 1.0


def installation() -> list[str]:
    """One line for each part that may be missing."""
    lines = [f"python      {platform.python_version()} on {platform.machine()}, Linux {platform.release()}"]
    lines.append(f"protocol    {protocol.VERSION}")
    for name, module, without in (
        ("fast path", "remotec._fast", "the server is pure Python"),
        ("uvloop", "uvloop", "the server runs on plain asyncio"),
    ):
        try:
            __import__(module)
            lines.append(f"{name:11} yes")
        except ImportError as error:
            lines.append(f"{name:11} no ({without}: {error})")
    for name, path, without in (
        ("library", cli.LIBRARY, "built without a C compiler: no `remotec run`, no LD_PRELOAD"),
        ("remotec-run", cli.RUNNER, "built without a C compiler: no `remotec run`"),
    ):
        lines.append(f"{name:11} {path if os.path.exists(path) else f'no ({without})'}")
    return lines


def report(server: str, local: Optional[str], remote: Optional[str], paths: list[str]) -> int:
    """Prints it all; 0 where the server answered and a tier works."""
    print("remotec", version())
    print("\n".join(installation()))
    print("kernel     ", kernel())
    print(f"\nserver      {server}")
    reached = True
    try:
        print("\n".join(server_lines(server)))
    except (OSError, protocol.ProtocolError) as error:
        print(f"            unreachable: {error}")
        reached = False
    working = []
    if reached and os.access(cli.RUNNER, os.X_OK):
        print("\ntiers")
        for tier in ("preload", "supervisor", "both"):
            problem = try_tier(tier, server)
            print(f"  {tier:10}", problem or "works")
            working += [] if problem else [tier]
        reason = why_filled_first(server)
        print("\nmappings    " + (f"filled before mmap returns: {reason}" if reason else "fetched page by page"))
    print("\nrules" + (" (default: what the command needs to run stays local)" if remote == REMOTE else ""))
    for path in filter(None, (local or "").split(":")):
        print("  local    ", path)
    for rule in filter(None, (remote or "").split(":")):
        print("  remote   ", rule.replace("=", "  is the server's "))
    if remote != REMOTE:
        print("  otherwise", "local" if remote else "remote")
    for path in paths:
        print(f"  {path}  is  {side(path, local, remote)}")
    return 0 if reached and working else 1


def kernel() -> str:
    try:
        with open("/proc/sys/kernel/seccomp/actions_avail") as file:
            notifies = "user_notif" in file.read().split()
    except OSError:
        notifies = False
    if not notifies:
        return "no seccomp user notification: preload tier only"
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())
    if release < (5, 9):
        return "older than 5.9: preload tier only"
    return "seccomp user notification" + (", synchronous wake-up" if release >= (6, 6) else "")


def server_lines(server: str) -> list[str]:
    """Version, round trip and throughput; at most about two seconds."""
    with Client(server, timeout_s=10) as client:
        hello = client.hello
        agreed = [name for name, bit in protocol.CAPABILITIES.items() if hello.capabilities & bit]
        times = []
        for _ in range(RTT_SAMPLES):
            start = time.perf_counter()
            client.call(protocol.PING, size=0)
            times.append(time.perf_counter() - start)
        rate, what = throughput(client, hello.max_data)
        status = client.call(protocol.STATUS)
        options = sockets.described(client.stream)
    name, _, server_options = hello.server.decode("utf-8", "replace").partition("; ")
    return [
        f"  version   {name}, protocol {hello.version}",
        f"  has       {' '.join(agreed)}",
        f"  socket    here: {options}; there: {server_options or 'unknown'}",
        f"  RTT       {statistics.median(times) * 1e6:.0f} us (median of {RTT_SAMPLES})",
        f"  speed     {rate / 2**20:.0f} MiB/s on one connection ({what})",
        f"  now       {status.sessions} sessions, {status.connections} connections, "
        f"{status.all_handles} open files",
    ]


def throughput(client: Client, max_data: int) -> tuple[float, str]:
    """Bytes per second, and what was read: the server's own program file where --root doesn't hide it."""
    fields: dict[str, Any] = {"size": min(max_data, 256 * 1024)}
    operation, what = protocol.PING, "PING"
    try:
        opened = client.call(
            protocol.OPEN,
            directory=protocol.NO_HANDLE,
            flags=0,
            mode=0,
            resolve=0,
            prefetch=0,
            path=b"/proc/self/exe",
        )
        if opened.kind == protocol.HANDLE_KINDS["KIND_POSITIONED"] and opened.stat.size:
            fields = {"handle": opened.handle, "offset": 0, "count": min(max_data, opened.stat.size)}
            operation, what = protocol.PREAD, "a file in its memory"
    except OSError:
        pass
    received, start = 0, time.perf_counter()
    # Two requests are always under way, so that the distance counts less.
    client.send(operation, **fields)
    while True:
        elapsed = time.perf_counter() - start
        if elapsed < THROUGHPUT_S:
            client.send(operation, **fields)
        header, payload = client.receive()
        if header.error:
            raise error_of(header.error, payload)
        received += len(payload)
        if elapsed >= THROUGHPUT_S:
            return received / (time.perf_counter() - start), what


def try_run(server: str, tier: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command that touches only local files; `arguments` begin with options, if any, and "--"."""
    command = [cli.RUNNER, "--server", server, "--library", cli.LIBRARY, "--tier", tier, "--local", "/"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=20)


def why_filled_first(server: str) -> str:
    """ "" where the pages of a large file's mapping come when they are touched, else what stands against it."""
    try:
        said = try_run(server, "preload", "--debug", "--", "true").stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    found = [line for line in said.splitlines() if "no mount for pages" in line]
    return found[0].rpartition(": ")[2] if found else ""


def try_tier(tier: str, server: str) -> str:
    """Runs a program that touches only local files in that tier: "" where it works, else what was said."""
    try:
        done = try_run(server, tier, "--", sys.executable, "-S", "-E", "-c", "print(6 * 7)")
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"fails: {error}"
    said = done.stderr.strip().splitlines()
    if done.returncode or done.stdout != "42\n":
        return f"fails with status {done.returncode}: {said[-1] if said else 'no message'}"
    return f"not available: {said[-1]}" if said else ""


def side(path: str, local: Optional[str], remote: Optional[str]) -> str:
    """ "local" or "remote as PATH" for a path: the longest matching prefix of whole components decides."""
    path = os.path.normpath(path if path.startswith("/") else os.path.join(os.getcwd(), path))
    best, answer = -1, "local" if remote else f"remote as {path}"
    rules = [(rule, None) for rule in (local or "").split(":") if rule]
    rules += [tuple(rule.partition("=")[::2]) for rule in (remote or "").split(":") if rule]  # type: ignore[misc]
    for prefix, target in rules:
        prefix = os.path.normpath(prefix).rstrip("/")
        if len(prefix) > best and (path + "/").startswith(prefix + "/"):
            best = len(prefix)
            tail = path[len(prefix) :]
            mapped = (target or prefix).rstrip("/") + tail
            answer = "local" if target is None else f"remote as {mapped or '/'}"
    return answer

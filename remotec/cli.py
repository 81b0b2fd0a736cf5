# SPDX-License-Identifier: MIT
"""The command line: arguments, logging, exit codes.

It does none of the work itself: `serve` is server.py, `run` the C program remotec-run, `check` check.py.
Whatever only some commands need is imported by those: `run` costs what it starts no more than this file and
arguments.py.
"""

from __future__ import annotations

import os
import sys

from remotec import version
from remotec.arguments import CLIENT, RUN, read_plainly, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

PACKAGE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(PACKAGE, "libremotec.so")
RUNNER = os.path.join(PACKAGE, "remotec-run")

DEFAULT_PORT = 12345  # protocol.DEFAULT_PORT, without importing construct; test_cli compares them
FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127

DESCRIPTION = """\
Runs local programs on another machine's files, without changing either.

  remotec serve    on the machine that has the files
  remotec run      on the machine that has the programs
  remotec lib      the path of libremotec.so, for LD_PRELOAD
  remotec check    what works here, how far away the server is, which paths would go where
"""
EXAMPLES = """\
examples:
  box$ remotec serve                                     # loopback only, this user only
  you$ ssh -N -L 12345:127.0.0.1:12345 box &
  you$ remotec run -- cat /etc/os-release                # box's
  you$ remotec run --remote /box=/srv/data -- grep -c error /box/log
  you$ LD_PRELOAD=$(remotec lib) LOCAL_PATHS=/dev:/usr/lib REMOTE_SERVER=127.0.0.1 cat /etc/resolv.conf
"""


class UsageError(Exception):
    """The user's to fix; the message says how."""


def main(arguments: Optional[list[str]] = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    from remotec.parser import Parser

    parser = Parser("", description=DESCRIPTION, epilog=EXAMPLES + "\n`remotec COMMAND --help` says more.")
    parser.add_argument("--version", action="store_true", help="print the version; with -v, what is built in")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), metavar="COMMAND")
    options = parser.parse_args(arguments)
    if not options.version:
        parser.error("which command? " + ", ".join(COMMANDS))
    print("remotec", version())
    if options.verbose:
        from remotec.check import installation

        print("\n".join(installation()))
    return 0


# ----------------------------------------------------------------------------------------------------- serve


def serve(arguments: list[str]) -> int:
    from remotec.parser import Parser

    parser = Parser(
        "serve",
        description="Serves this machine's files, with this user's rights, to `remotec run` elsewhere.",
        epilog="""\
It listens on loopback (or a Unix socket) and accepts only this user's own connections; reach it from another
machine through ssh:  ssh -N -L 12345:127.0.0.1:12345 HOST.  "listening on ADDR" on stdout says that it is
ready; SIGTERM and SIGINT end it.

examples:
  remotec serve
  remotec serve --root /srv/data --read-only --listen unix:/run/user/1000/remotec
  remotec serve --listen 127.0.0.1:0                     # any free port; printed
""",
    )
    add = parser.add_argument
    add("--listen", action="append", metavar="ADDR", help="HOST:PORT, [V6]:PORT or unix:PATH; repeatable")
    add("--root", metavar="DIR", help="confine every path to DIR, symbolic links included")
    add("--read-only", action="store_true", help="refuse every change (EROFS)")
    add("--no-auth", action="store_true", help="let anyone who can connect act with your rights, unencrypted")
    add("--grace", type=seconds, default=60, metavar="S", help="keep a lost session's files S seconds (60)")
    add("--max-connections", type=int, default=8192, metavar="N", help="at most N at once (8192)")
    add("--pure", action="store_true", help="plain asyncio and Python, even where the fast path is built")
    add("-v", "--verbose", action="count", default=0, help="log sessions; twice: requests too")
    options = parser.parse_args(arguments)

    import logging

    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(options.verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="remotec: %(message)s")
    from remotec.server import ServeError, ServeOptions, main_loop

    try:
        return main_loop(
            ServeOptions(
                listen=options.listen or [f"127.0.0.1:{DEFAULT_PORT}"],
                root=None if options.root is None else os.fsencode(options.root),
                read_only=options.read_only,
                no_auth=options.no_auth,
                grace_s=options.grace,
                pure=options.pure,
                verbose=options.verbose,
                max_connections=options.max_connections,
            )
        )
    except ServeError as error:
        return _fail("serve", str(error), 1)


# ------------------------------------------------------------------------------------------------------- run


def run(arguments: list[str]) -> int:
    options: Any = read_plainly(RUN, arguments)
    if options is None or not options.command:
        options = _parse_run(arguments)
    command = command_of(options)
    if not os.access(RUNNER, os.X_OK):
        return _fail("run", "built without a C compiler: this installation can only serve", FAILED)
    try:
        local, remote = rules_of(options, command)
        words = [RUNNER, "--server", numeric(server_of(options)), "--library", LIBRARY]
    except UsageError as error:
        return _fail("run", str(error), FAILED)
    for name, value in (
        ("--tier", options.tier),
        ("--local", local),
        ("--remote", remote),
        ("--timeout", options.timeout),
        ("--fd-shift", options.fd_shift),
        ("--trace", options.trace),
        ("--max-stale", options.max_stale),
        ("--cache-size", options.cache_size),
    ):
        if value is not None:
            words += [name, str(value)]
    words += ["--debug"] * options.debug + ["--stats"] * options.stats
    _restore_environment()
    try:
        os.execv(RUNNER, [*words, "--", *command])
    except OSError as error:
        return _fail("run", f"{RUNNER}: {error.strerror}", FAILED)


def _parse_run(arguments: list[str]) -> Any:
    from remotec.parser import Parser

    parser = Parser(
        "run",
        FAILED,
        usage="remotec run [options] -- COMMAND [ARG]…",
        description="Runs COMMAND, and all that it starts, on the server's files.",
        epilog="""\
The exit status is the command's; 125: remotec itself failed, 126: not executable, 127: not found.
The longest matching prefix decides where a path goes; --local and --remote may be repeated.  Without either
($LOCAL_PATHS and $REMOTE_PATHS count too) what the command needs to run stays local and everything else is
remote: `remotec check -- COMMAND` prints that list.

examples:
  remotec run -s box -- cat /etc/os-release
  remotec run --remote /box=/srv/data -- sh -c 'md5sum < /box/f'
  remotec run --stats --trace calls.json -- grep -r TODO /home/me/src
""",
    )
    parser.add_table(RUN)
    options = parser.parse_args(arguments)
    if not command_of(options):
        parser.error("no COMMAND")
    return options


def command_of(options: Any) -> list[str]:
    words: list[str] = options.command
    return words[1:] if words[:1] == ["--"] else words


def server_of(options: Any) -> str:
    return options.server or os.environ.get("REMOTE_SERVER") or "127.0.0.1"


def rules_of(options: Any, command: list[str]) -> tuple[Optional[str], Optional[str]]:
    """LOCAL_PATHS and REMOTE_PATHS for the command; None where there are none of a kind."""
    for path in [*(options.local or []), *(options.remote or [])]:
        if not path.startswith("/") or ":" in path:
            raise UsageError(f"{path!r}: a prefix is an absolute path without a colon")
    local = ":".join(options.local) if options.local else None
    remote = ":".join(options.remote) if options.remote else None
    if local is None and remote is None:
        local, remote = os.environ.get("LOCAL_PATHS") or None, os.environ.get("REMOTE_PATHS") or None
    if local is None and remote is None:
        from remotec.defaults import REMOTE, local_paths

        local, remote = ":".join(local_paths(command)), REMOTE
    return local, remote


def split_address(server: str) -> tuple[str, int]:
    """Host and port of HOST[:PORT], [V6][:PORT] or a bare V6."""
    host, port = server, ""
    if server.startswith("["):
        host, bracket, port = server[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise UsageError(f"{server!r}: expected [V6]:PORT")
        port = port[1:]
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    if not host or (port and not (port.isdigit() and 0 < int(port) < 65536)):
        raise UsageError(f"{server!r}: expected HOST[:PORT] or unix:PATH")
    return host, int(port or DEFAULT_PORT)


def numeric(server: str) -> str:
    """`server` with its name resolved: the C side never asks a name server.

    Of several addresses ("localhost" often has two), the first that accepts a connection.
    """
    if server.startswith("unix:"):
        return "unix:" + os.path.abspath(server[5:])
    host, port = split_address(server)
    if all(part.isdigit() for part in host.split(".")) and host.count(".") == 3:
        return f"{host}:{port}"
    import socket

    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"{host}: {error.strerror}") from None
    addresses = [str(address[0]) for _, _, _, _, address in found]
    chosen = addresses[0]
    for address in addresses if len(addresses) > 1 else []:
        try:
            socket.create_connection((address, port), timeout=5).close()
        except OSError:
            continue
        chosen = address
        break
    return f"[{chosen}]:{port}" if ":" in chosen else f"{chosen}:{port}"


def _restore_environment() -> None:
    """Makes it what the command would have had without Python in between."""
    try:
        with open("/proc/self/environ", "rb") as file:
            original = file.read()
    except OSError:
        return
    # In the C locale Python sets LC_CTYPE for its children (PEP 538).
    if b"\0LC_CTYPE=" not in b"\0" + original:
        os.environ.pop("LC_CTYPE", None)


# ---------------------------------------------------------------------------------------------- lib and check


def lib(arguments: list[str]) -> int:
    from remotec.parser import Parser

    parser = Parser(
        "lib",
        description="Prints the path of libremotec.so.",
        epilog="""\
  LD_PRELOAD=$(remotec lib) LOCAL_PATHS=/dev:/usr/lib REMOTE_SERVER=HOST cat /etc/resolv.conf

LOCAL_PATHS       prefixes that stay local, separated by colons; everything else is remote
REMOTE_PATHS      PREFIX[=SERVER_PATH], separated by colons: remote, and then everything else is local
REMOTE_SERVER     HOST[:PORT] or unix:PATH; default 127.0.0.1
REMOTE_FD_SHIFT   lowest number of a remote descriptor; default 2048
LIBREMOTEC_DEBUG  1: a line on stderr for each forwarded call
""",
    )
    parser.parse_args(arguments)
    if not os.path.exists(LIBRARY):
        return _fail("lib", "built without a C compiler: there is no libremotec.so", 1)
    print(LIBRARY)
    return 0


def check(arguments: list[str]) -> int:
    from remotec.parser import Parser

    parser = Parser(
        "check",
        usage="remotec check [options] [-- COMMAND]",
        description="Says what works here, how far away the server is, and which paths would go where.",
        epilog="exit status: 0, or 1 where there is no server or no tier works\n",
    )
    parser.add_table(CLIENT)
    parser.add_argument("--path", action="append", metavar="PATH", help="say where PATH would go")
    options = parser.parse_args(arguments)
    from remotec.check import report

    try:
        command = command_of(options)
        local, remote = rules_of(options, command)
        return report(numeric(server_of(options)), local, remote, options.path or [])
    except UsageError as error:
        return _fail("check", str(error), 1)


def _fail(command: str, message: str, status: int) -> int:
    print(f"remotec {command}: {message}", file=sys.stderr)
    return status


COMMANDS = {"serve": serve, "run": run, "lib": lib, "check": check}

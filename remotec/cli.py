# SPDX-License-Identifier: MIT
"""The command line: arguments, logging, exit codes.

It does none of the work itself: `serve` is server.py, `run` the C program remotec-run, `check` check.py.
Whatever only some commands need is imported by those: `run` costs what it starts no more than this file.
"""

from __future__ import annotations

import argparse
import os
import sys

from remotec import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional

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
SERVER_HELP = "HOST[:PORT] or unix:PATH; default $REMOTE_SERVER, else 127.0.0.1"


class UsageError(Exception):
    """The user's to fix; the message says how."""


class Parser(argparse.ArgumentParser):
    """Exits with `failure` where the arguments are wrong: for `run`, 2 could be the command's own status."""

    failure = 2

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(
            prog=f"remotec {name}".rstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **kwargs,
        )

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(self.failure, f"{self.prog}: {message}\n")


def main(arguments: Optional[list[str]] = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
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
    add("--grace", type=_seconds, default=60, metavar="S", help="keep a lost session's files S seconds (60)")
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


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """What `run` and `check` share: the server and the rules."""
    add = parser.add_argument
    add("-s", "--server", metavar="SERVER", help=SERVER_HELP)
    add(
        "--remote",
        action="append",
        metavar="PATH[=SERVER_PATH]",
        help="PATH is the server's (its SERVER_PATH); then everything else is local",
    )
    add(
        "--local",
        action="append",
        metavar="PATH",
        help="PATH stays local; without --remote, all else is the server's",
    )
    add("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ARG…")


def run(arguments: list[str]) -> int:
    Parser.failure = FAILED
    parser = Parser(
        "run",
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
    add_client_options(parser)
    add = parser.add_argument
    add("--tier", choices=["preload", "supervisor", "both"], help="how calls are caught; default: what works")
    add("--debug", action="store_true", help="a line on stderr for each forwarded call")
    add("--stats", action="store_true", help="calls, round trips, bytes, the slowest calls: on stderr at the end")
    add("--trace", metavar="FILE", help="each remote call as a span in FILE; ui.perfetto.dev opens it")
    add("--max-stale", type=_count, metavar="MS", help="what is known counts for MS ms (1000); 0: only under a lease")
    add("--cache-size", type=_count, metavar="MIB", help="memory for it, for all processes together (64); 0: none")
    add("--timeout", type=_seconds, metavar="S", help="wait S seconds for a silent server")
    add("--fd-shift", type=int, metavar="N", help="lowest remote descriptor; 0: the lowest free")
    options = parser.parse_args(arguments)
    command = command_of(options)
    if not command:
        parser.error("no COMMAND")
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
    _restore_what_python_changed()
    try:
        os.execv(RUNNER, [*words, "--", *command])
    except OSError as error:
        return _fail("run", f"{RUNNER}: {error.strerror}", FAILED)


def command_of(options: argparse.Namespace) -> list[str]:
    words: list[str] = options.command
    return words[1:] if words[:1] == ["--"] else words


def server_of(options: argparse.Namespace) -> str:
    return options.server or os.environ.get("REMOTE_SERVER") or "127.0.0.1"


def rules_of(options: argparse.Namespace, command: list[str]) -> tuple[Optional[str], Optional[str]]:
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


def _restore_what_python_changed() -> None:
    """Makes environment and signals what the command would have had without Python in between."""
    import signal

    # Python ignores these two at its start, and an exec hands that on.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
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
    parser = Parser(
        "check",
        usage="remotec check [options] [-- COMMAND]",
        description="Says what works here, how far away the server is, and which paths would go where.",
        epilog="exit status: 0, or 1 where there is no server or no tier works\n",
    )
    add_client_options(parser)
    parser.add_argument("--path", action="append", metavar="PATH", help="say where PATH would go")
    options = parser.parse_args(arguments)
    from remotec.check import report

    try:
        command = command_of(options)
        local, remote = rules_of(options, command)
        return report(numeric(server_of(options)), local, remote, options.path or [])
    except UsageError as error:
        return _fail("check", str(error), 1)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return int(value) if value == int(value) else value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1 << 20:  # as far as csrc/config.c counts
        raise ValueError
    return value


def _fail(command: str, message: str, status: int) -> int:
    print(f"remotec {command}: {message}", file=sys.stderr)
    return status


COMMANDS = {"serve": serve, "run": run, "lib": lib, "check": check}

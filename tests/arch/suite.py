# SPDX-License-Identifier: MIT
"""Programs of every architecture against servers of every architecture.

    python -m tests.arch.suite [--clients A,B] [--servers A,B] [--write] [--verbose]

Each program reads a tree of files plainly, under its emulator; then the tree is moved to where only the server
finds it, and the same program with libremotec.so must print the same.  --write puts the table into
docs/architectures.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from . import build, constants, packages, servers, tree
from .architectures import ARCHITECTURES, CLIENTS, ROOT, Architecture
from .known import KNOWN

SERVERS = ["x86_64", "s390x", "s390x-fast", "armhf", "i386"]
TIMEOUT_S = 60


class Case(NamedTuple):
    name: str
    command: "List[str]"  # the program and its arguments; {tree} stands for the tree
    native: "Optional[List[str]]" = None  # what this machine itself runs to say what is right


class Outcome(NamedTuple):
    status: "Optional[int]"  # None: it didn't end in time
    output: bytes
    errors: bytes


PROGRAM_CASES: "List[Tuple[str, List[str]]]" = [
    ("cat", ["{tree}/text", "{tree}/empty", "{tree}/data"]),
    ("cat", ["{tree}/missing", "{tree}/dir", "{tree}/loop", "{tree}/link"]),
    ("head", ["-n", "5", "{tree}/text", "{tree}/other"]),
    ("tail", ["-n", "5", "{tree}/text"]),
    ("tail", ["-c", "20", "{tree}/data"]),
    ("wc", ["{tree}/text", "{tree}/data", "{tree}/empty"]),
    ("md5sum", ["{tree}/data", "{tree}/text"]),
    ("sha256sum", ["{tree}/data"]),
    ("cmp", ["{tree}/text", "{tree}/other"]),
    ("sort", ["-k", "3", "{tree}/text"]),
    ("comm", ["-3", "{tree}/text", "{tree}/other"]),
    ("cut", ["-d", " ", "-f", "2", "{tree}/text"]),
    ("tac", ["{tree}/text"]),
    ("od", ["-A", "d", "-t", "x2z", "-j", "4831838200", "-N", "40", "{tree}/big"]),
    ("dd", ["if={tree}/data", "bs=1000", "skip=7", "count=3", "status=none"]),
    ("base64", ["{tree}/data"]),
    ("join", ["{tree}/text", "{tree}/other"]),
    ("stat", ["-c", "%n %i %f %h %u %g %s %b %B %t %T %X %y %Z", "{tree}/text", "{tree}/big", "{tree}/link"]),
    ("stat", ["-c", "%n %Y %y %F", "{tree}/old", "{tree}/future", "{tree}/far", "{tree}/fifo"]),
    ("stat", ["-L", "-c", "%n %i %s", "{tree}/link", "{tree}/dangling"]),
    ("readlink", ["{tree}/link", "{tree}/dangling", "{tree}/long-link"]),
    ("realpath", ["{tree}/link", "{tree}/linkdir/inner"]),
    ("test", ["-r", "{tree}/mode000", "-a", "-L", "{tree}/dangling", "-a", "-p", "{tree}/fifo"]),
    ("ls", ["-lin", "--time-style=full-iso", "{tree}/dir", "{tree}/text"]),
    ("ls", ["-RaFi", "{tree}"]),
    ("du", ["-a", "{tree}/dir"]),
    ("find", ["{tree}", "-printf", "%p %i %s %m %y %l %T@\n"]),
    ("find", ["{tree}", "-size", "+1M", "-newermt", "2000-01-01", "-name", "*i*"]),
    ("grep", ["-n", "needle", "{tree}/text", "{tree}/dir/inner"]),
    ("grep", ["-rc", "needle", "{tree}/dir"]),
    ("sed", ["-n", "s/needle/NEEDLE/p", "{tree}/text"]),
    ("gawk", ["{ words += NF } END { print words, NR }", "{tree}/text", "{tree}/other"]),
    ("tar", ["-tvf", "{tree}/archive.tar"]),
    ("tar", ["-xOf", "{tree}/archive.tar", "text"]),
    ("tar", ["--sort=name", "-C", "{tree}", "-cf", "-", "dir", "many", "text", "link"]),
    ("sqlite3", ["file:{tree}/numbers.db?immutable=1", "select word, sum(n) from numbers group by word"]),
    ("dash", ["{tree}/script", "{tree}"]),
    ("bash", ["{tree}/script", "{tree}"]),
    ("bash", ["-c", 'mapfile -t a < "$0/text"; echo "${#a[@]} ${a[7]}"; echo "$(<"$0/one")"', "{tree}"]),
    ("dash", ["-c", 'test -f "$0/text" && test -d "$0/dir" && test ! -e "$0/missing" && echo right', "{tree}"]),
]
PYTHON_CASE = """
import hashlib, os, sys
tree = sys.argv[1]
print(hashlib.md5(open(tree + "/data", "rb").read()).hexdigest())
print(len(open(tree + "/text").readlines()), os.stat(tree + "/big").st_size, os.readlink(tree + "/link"))
print(sorted(os.listdir(tree + "/many"))[:5], os.path.exists(tree + "/missing"))
with open(tree + "/big", "rb") as big:
    big.seek(4831838208)
    print(big.read(10))
"""


# Where qemu lets a 32-bit program see this 64-bit kernel, not what a 32-bit one gives: positions in directories have
# 64 bits (EOVERFLOW, or the end after seekdir), and files past 2 GiB can be opened without O_LARGEFILE; and
# locks past 2 GiB come to F_GETLK cut off to 32 bits.  These must give what an i386 program gives here.
UNLIKE_32_BIT = ("directories", "small", "locks")
# qemu's fstat of s390x has no fractions of seconds; glibc 2.41 calls it.
UNLIKE_S390X = ("stats", "big")


def program_of(architecture: Architecture, name: str) -> "Optional[Path]":
    for folder in ("usr/bin", "bin"):
        path = architecture.packages / folder / name
        if path.exists():
            return path
    return None


def cases(architecture: Architecture) -> "Iterable[Case]":
    """What this architecture runs: its own Debian programs, the probe in each variant, the unit tests."""
    tables = build.unit(architecture, "test_tables", "translate")
    yield Case("tables", [str(tables)])
    vectors = build.unit(architecture, "test_vectors", "calls", "wire", "translate")
    yield Case("vectors", [str(vectors), str(ROOT / "tests" / "vectors")])
    for variant in build.VARIANTS[architecture.bits]:
        program = build.probe(architecture, variant)
        listed = subprocess.run([*architecture.emulator, str(program)], capture_output=True, text=True, check=True)
        for section in listed.stdout.split():
            command = [str(program), section, "{tree}"]
            like = None
            if section in UNLIKE_32_BIT and architecture.bits == 32 and architecture.qemu:
                like = ARCHITECTURES["i386"]
            elif section in UNLIKE_S390X and architecture.name == "s390x":
                like = ARCHITECTURES["x86_64"]
            native = like and [*like.emulator, str(build.probe(like, variant)), *command[1:]]
            yield Case(f"probe{variant} {section}", command, native)
    if architecture.name == "x86_64" or not architecture.packages.exists():
        return
    for name, arguments in PROGRAM_CASES:
        program_path = program_of(architecture, name)
        if program_path:
            shown = " ".join(argument.replace("{tree}/", "").replace("\n", "\\n") for argument in arguments)
            yield Case(f"{name} {shown}", [str(program_path), *arguments])
    python = architecture.packages / packages.PYTHON
    if python.exists():
        yield Case("python3", [str(python), "-S", "-c", PYTHON_CASE, "{tree}"])


def run(architecture: Architecture, case: Case, where: Path, preload: "Dict[str, str]") -> Outcome:
    """One case; with `preload`, through remotec."""
    native = None if preload else case.native
    command = [part.replace("{tree}", str(where)) for part in native or case.command]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC", **preload}
    if case.name == "python3":
        environment["PYTHONHOME"] = str(architecture.packages / "usr")
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    library = environment.pop("LD_PRELOAD", None)
    emulator = [] if native else architecture.emulator
    if library and architecture.qemu:
        emulator = [*emulator, "-E", f"LD_PRELOAD={library}"]
    elif library:
        emulator = ["env", f"LD_PRELOAD={library}", *emulator]
    try:
        done = subprocess.run(
            [*emulator, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            cwd="/",
        )
    except subprocess.TimeoutExpired as late:
        return Outcome(None, late.stdout or b"", late.stderr or b"")
    return Outcome(done.returncode, done.stdout, done.stderr)


class Result(NamedTuple):
    client: str
    server: str
    case: str
    passed: bool
    reason: str  # of a failure, where one is known


def difference(expected: Outcome, got: Outcome) -> str:
    """The first lines that differ, for a person."""
    if expected.status != got.status:
        head = f"status {expected.status} -> {got.status}"
    else:
        head = "output"
    for name in ("output", "errors"):
        old, new = getattr(expected, name).splitlines(), getattr(got, name).splitlines()
        for i in range(max(len(old), len(new))):
            a, b = old[i : i + 1], new[i : i + 1]
            if a != b:
                return f"{head}\n    plain:   {a}\n    remotec: {b}"
    return head


def reason_for(client: str, server: str, case: str) -> str:
    for clients, pattern, why in KNOWN:
        if client in clients.split() and pattern.search(case):
            return why
    return ""


def unpack(architecture: Architecture, say: "Callable[[str], None]") -> None:
    """Its Debian programs, where it has any; without them there are still our own."""
    if architecture.debian and architecture.name != "x86_64":
        try:
            packages.prepare(architecture)
        except packages.Unavailable as unavailable:
            say(f"{architecture.name}: only our own programs: {unavailable}")


def try_all(
    clients: "List[str]",
    server_kinds: "List[str]",
    say: "Callable[[str], None]",
    only: str = "",
    so_far: "Callable[[List[Result], Dict[str, str]], None]" = lambda results, absent: None,
) -> "Tuple[List[Result], Dict[str, str]]":
    """Every client against every server; the results, and why some could not be had.

    `so_far` is told after each pair."""
    absent: Dict[str, str] = {}
    results: List[Result] = []
    with tempfile.TemporaryDirectory(prefix="remotec-arch-") as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(name)
        plain, hidden = folder / "tree", folder / "hidden"
        tree.make(plain)
        for client in clients:
            why = ARCHITECTURES[client].missing()
            if why:
                absent[client] = why
        tried = [client for client in clients if client not in absent]
        list(pool.map(lambda client: unpack(ARCHITECTURES[client], say), tried))
        libraries = dict(zip(tried, pool.map(lambda client: build.library(ARCHITECTURES[client]), tried)))
        differences = dict(zip(tried, pool.map(lambda client: constants.differences(ARCHITECTURES[client]), tried)))
        for client, said in differences.items():
            for each in said:
                say(f"{client}: {each}")
        chosen = {client: [each for each in cases(ARCHITECTURES[client]) if only in each.name] for client in tried}
        expected: Dict[Tuple[str, str], Outcome] = {}
        for client in chosen:
            architecture = ARCHITECTURES[client]
            outcomes = pool.map(lambda case: run(architecture, case, plain, {}), chosen[client])  # noqa: B023
            for case, outcome in zip(chosen[client], outcomes):
                expected[client, case.name] = outcome
        plain.rename(hidden)
        for kind in server_kinds:
            try:
                server = servers.Server(kind, folder)
            except (servers.ServerError, packages.Unavailable, KeyError) as problem:
                absent[f"server {kind}"] = str(problem).strip().splitlines()[-1]
                say(f"server {kind}: {problem}")
                continue
            try:
                for client in chosen:
                    if kind not in ("x86_64", "s390x") and client not in FOREIGN_PAIRS.get(kind, ()):
                        continue
                    architecture = ARCHITECTURES[client]
                    preload = {
                        "LD_PRELOAD": str(libraries[client]),
                        "REMOTE_SERVER": server.address,
                        "REMOTE_PATHS": f"{plain}={hidden}",
                    }
                    if not only:
                        results.append(Result(client, kind, "constants", not differences[client], ""))
                    started = time.monotonic()
                    outcomes = pool.map(
                        lambda case: run(architecture, case, plain, preload),  # noqa: B023
                        chosen[client],
                    )
                    for case, outcome in zip(chosen[client], outcomes):
                        before = expected[client, case.name]
                        passed = outcome == before and not (case.name in ("tables", "vectors") and before.status)
                        reason = "" if passed else reason_for(client, kind, case.name)
                        results.append(Result(client, kind, case.name, passed, reason))
                        if not passed:
                            say(f"{client} -> {kind}: {case.name}: {difference(before, outcome)} {reason}")
                    mine = [r for r in results if (r.client, r.server) == (client, kind)]
                    good = sum(r.passed for r in mine)
                    say(f"{client} -> {kind}: {good} of {len(mine)}, {time.monotonic() - started:.0f} s")
                    so_far(results, absent)
            finally:
                status = server.stop()
                if status:
                    say(f"server {kind} ended with {status}: {server.log.read_text(errors='replace')[-2000:]}")
                    results.append(Result("server", kind, "ends cleanly", False, ""))
    return results, absent


# Servers besides x86_64 and s390x, and who is tried against them.
FOREIGN_PAIRS = {
    "s390x-fast": ("x86_64", "armhf", "mips", "s390x"),
    "armhf": ("x86_64", "s390x", "mips"),
    "i386": ("x86_64", "powerpc", "arm64"),
}


def document(results: "List[Result]", absent: "Dict[str, str]") -> str:
    """docs/architectures.md."""
    kinds = [kind for kind in SERVERS if any(result.server == kind for result in results)]
    lines = [
        "# Architectures",
        "",
        "GENERATED by `make test-arch` (tests/arch/suite.py --write): do not edit. `make test` runs the part that",
        "tests/test_arch.py names.",
        "",
        "Each cell: cases that gave the same as the program reading the files plainly, of those run. Rows are clients,",
        "columns servers; an empty cell was not run. A case is one run of a Debian program of that architecture, of",
        "one section of tests/arch/programs/probe.c (on 32-bit machines in three builds: 32-bit `off_t`,",
        "64-bit `off_t`, 64-bit `time_t`), of tests/c/test_tables.c or of tests/c/test_vectors.c, or the comparison of",
        "every table with what is known of the architecture (tests/arch/constants.tsv). Programs run under qemu-user",
        "(i386: by this machine itself), servers in Debian's Python of that architecture; `-fast` has the",
        "compiled `_fast`. Where qemu shows a 32-bit program a 64-bit kernel (directory positions, files past 2 GiB",
        "without `O_LARGEFILE`), the i386 program's own plain run says what is right. Seccomp's user notification",
        "doesn't exist under qemu-user: all this is the preload tier.",
        "",
        "| client | bits | byte order | " + " | ".join(kinds) + " |",
        "| --- | --- | --- | " + " | ".join("---" for _ in kinds) + " |",
    ]
    for name, architecture in ARCHITECTURES.items():
        cells = []
        for kind in kinds:
            mine = [result for result in results if (result.client, result.server) == (name, kind)]
            cells.append(f"{sum(result.passed for result in mine)}/{len(mine)}" if mine else "")
        if any(cells):
            lines.append(f"| {name} | {architecture.bits} | {architecture.order} | " + " | ".join(cells) + " |")
    failures: Dict[Tuple[str, str], List[str]] = {}
    for result in results:
        if not result.passed:
            key = (result.case, result.reason or "**not explained**")
            failures.setdefault(key, []).append(f"{result.client}→{result.server}")
    if failures:
        lines += ["", "## Cases that differ", "", "| case | pairs | reason |", "| --- | --- | --- |"]
        for (case, reason), pairs in sorted(failures.items()):
            shown = case.replace("|", "\\|")
            lines.append(f"| `{shown}` | {', '.join(pairs)} | {reason} |")
    if absent:
        lines += ["", "## Not run", ""]
        lines += [f"- {name}: {why}" for name, why in sorted(absent.items())]
    return "\n".join([*lines, *constants.document(), *OTHER_SYSTEMS]) + "\n"


OTHER_SYSTEMS = """
## Other libcs, old systems

Tested by tests/test_old_systems.py, on every `make test`.

- libremotec.so asks glibc (x86_64, arm64) for no symbol newer than 2.17. To carry one that was built with glibc 2.34 or
  newer to an older system, build with `LDFLAGS=-Wl,--no-as-needed,-l:libdl.so.2`: `dlsym` was in a library of its own
  there. remotec-run isn't carried so: `__libc_start_main`, `pthread_create`, `sem_*` and `stat` are of 2.33 and 2.34.
- libremotec.so builds with musl (`musl-gcc`, with the kernel's headers after musl's own) and gives musl's programs the
  same answers, but: a stream (`fopen`) of a file too large to be fetched whole (`ENOSYS`), and what musl answers by
  itself (`_PC_LINK_MAX`).
- The server serves, in both modes, where the kernel has no `openat2`, `statx`, `cachestat` and `RWF_NOWAIT`; birth
  times are then unknown. `--root` needs `openat2` (Linux 5.6), and says so.""".splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.arch.suite", description=__doc__)
    parser.add_argument("--clients", default=",".join(["x86_64", *CLIENTS]))
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--write", action="store_true", help="write docs/architectures.md")
    arguments = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)

    if not shutil.which("qemu-s390x"):
        say("no qemu-user here: only what this machine runs itself")

    def write(results: "List[Result]", absent: "Dict[str, str]") -> None:
        if arguments.write:
            (ROOT / "docs" / "architectures.md").write_text(document(results, absent))

    results, absent = try_all(arguments.clients.split(","), arguments.servers.split(","), say, arguments.only, write)
    write(results, absent)
    unexplained = [result for result in results if not result.passed and not result.reason]
    say(f"{sum(r.passed for r in results)} of {len(results)} passed, {len(unexplained)} failures not explained")
    for name, why in sorted(absent.items()):
        say(f"not run: {name}: {why}")
    return 1 if unexplained or not results else 0


if __name__ == "__main__":
    sys.exit(main())

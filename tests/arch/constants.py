# SPDX-License-Identifier: MIT
"""What is known of each architecture's constants, and whether our tables agree.

constants.tsv has the numbers that compilers of each architecture gave, one line a name, "-" where it has no such
name; it doesn't come from our tables, and our tables don't come from it.  Every name in it is either in a table of
remotec/protocol.py or in ALIASES or ELSEWHERE, which say why it isn't.
"""

import subprocess
from typing import Dict, Iterator, List, NamedTuple, Optional

from remotec import protocol

from . import build
from .architectures import ROOT, Architecture

FACTS = ROOT / "tests" / "arch" / "constants.tsv"


class Fact(NamedTuple):
    kind: str
    name: str
    numbers: "Dict[str, Optional[int]]"  # architecture -> its number, None where it has no such name


# kind of constant -> the tables that it belongs in.  test_tables.c prints the translated ones.
TRANSLATED = {
    "errno": {"ERRNO": protocol.ERRNO},
    "open": {"OPEN_FLAGS": protocol.OPEN_FLAGS},
    "at": {"AT_FLAGS": protocol.AT_FLAGS},
    "seek/access": {"WHENCE": protocol.WHENCE},
    "poll/epoll": {"POLL_EVENTS": protocol.POLL_EVENTS, "WATCH_EVENTS": protocol.WATCH_EVENTS},
    "ioctl": {"IOCTLS": protocol.IOCTLS},
    "fallocate/advise": {"ADVICE": protocol.ADVICE},
    "statx/statvfs": {"STATX_MASK": protocol.STATX_MASK},
    "socket": {
        "ADDRESS_FAMILIES": protocol.ADDRESS_FAMILIES,
        "SOCKET_TYPES": protocol.SOCKET_TYPES,
        "SOCKET_FLAGS": protocol.SOCKET_FLAGS,
        "SOCKET_LEVELS": protocol.SOCKET_LEVELS,
        "SOCKET_OPTIONS": protocol.SOCKET_OPTIONS,
    },
}
# Tables of numbers that every Linux has, so that they travel as they are.
AS_THEY_ARE = {
    "open": protocol.ACCESS_MODES,
    "seek/access": protocol.ACCESS,
    "mode": protocol.MODE,
    "dirent": protocol.DIRENT_TYPES,
    "fcntl": protocol.LOCK_TYPES,
}
# Second names of what is in a table.
ALIASES = {"EWOULDBLOCK": "EAGAIN", "ENOTSUP": "EOPNOTSUPP", "O_RSYNC": "O_SYNC", "AT_REMOVEDIR": "AT_EACCESS"}
SAME = "the same number on every Linux"
ELSEWHERE = {
    "S_ISUID S_ISGID S_ISVTX ST_RDONLY ST_NOSUID ST_NOEXEC ST_NOATIME ST_RELATIME": SAME,
    "SCM_RIGHTS MSG_OOB MSG_PEEK MSG_DONTROUTE MSG_CTRUNC MSG_TRUNC MSG_DONTWAIT MSG_EOR MSG_WAITALL MSG_NOSIGNAL "
    "MSG_MORE MSG_CMSG_CLOEXEC MSG_FASTOPEN SHUT_RD SHUT_WR SHUT_RDWR TCP_NODELAY TCP_MAXSEG TCP_CORK TCP_KEEPIDLE "
    "TCP_KEEPINTVL TCP_KEEPCNT TCP_USER_TIMEOUT TCP_INFO TCP_QUICKACK IPV6_V6ONLY IP_TOS IP_TTL SOMAXCONN": SAME,
    "O_CLOEXEC O_LARGEFILE __O_LARGEFILE AT_FDCWD SOCK_CLOEXEC FIONBIO FIOCLEX FIONCLEX FIOASYNC": "the client's own: "
    "about its descriptor, its memory or its working directory, and never sent",
    "F_DUPFD F_DUPFD_CLOEXEC F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_GETLK64 F_SETLK64 F_SETLKW64 "
    "F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_SETOWN F_GETOWN F_SETOWN_EX F_GETOWN_EX F_SETSIG F_GETSIG F_SETLEASE "
    "F_GETLEASE F_NOTIFY F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_GET_SEALS FD_CLOEXEC LOCK_SH LOCK_EX LOCK_NB LOCK_UN "
    "F_LOCK F_TLOCK F_ULOCK F_TEST": "the client's own: a call's command; what it asks of the server is an operation",
    "EPOLLIN EPOLLOUT EPOLLRDHUP EPOLLET EPOLLONESHOT EPOLLEXCLUSIVE EPOLL_CLOEXEC EFD_NONBLOCK EFD_CLOEXEC "
    "TFD_NONBLOCK SFD_NONBLOCK IN_NONBLOCK IN_CLOEXEC": "the client's own: of descriptors that its kernel makes",
    "O_ACCMODE AT_STATX_SYNC_TYPE STATX_BASIC_STATS": "a mask of others, which are in a table",
    "AT_RECURSIVE": "of calls on mounts, which no operation does",
    "POLLMSG POLLREMOVE": "no Linux reports them",
    "FS_IOC_SETFLAGS FICLONE FALLOC_FL_KEEP_SIZE FALLOC_FL_PUNCH_HOLE FALLOC_FL_ZERO_RANGE": "would change the file",
    "TCGETS TCSETS TCSETSW TCSETSF TIOCGWINSZ TIOCSWINSZ TIOCGPGRP TIOCSPGRP TIOCSCTTY TIOCOUTQ TIOCGPTN": "of "
    "terminals, which are not driven from here: `ENOTTY`",
}


def facts() -> "Iterator[Fact]":
    lines = [line.split("\t") for line in FACTS.read_text().splitlines()]
    for kind, name, *numbers in lines[1:]:
        known = (None if number == "-" else int(number, 0) for number in numbers)
        yield Fact(kind, name, dict(zip(lines[0][2:], known)))


def homeless() -> "List[str]":
    """What is known of and neither in a table nor excused, and what is excused wrongly; best empty."""
    excuses = {name: why for names, why in ELSEWHERE.items() for name in names.split()}
    known = {fact.name: fact for fact in facts()}
    said = []
    for fact in known.values():
        tables = {name for table in TRANSLATED.get(fact.kind, {}).values() for name in table}
        fixed = AS_THEY_ARE.get(fact.kind, {})
        numbers = set(fact.numbers.values())
        homes = (fact.name in tables) + (fact.name in fixed) + (fact.name in ALIASES) + (fact.name in excuses)
        if homes != 1:
            said.append(f"{fact.name}: has {homes} places")
        if fact.name in fixed and numbers != {fixed[fact.name]}:
            said.append(f"{fact.name}: travels as {fixed[fact.name]}, and is {numbers}")
        if fact.name in ALIASES and fact.numbers != known[ALIASES[fact.name]].numbers:
            said.append(f"{fact.name}: isn't {ALIASES[fact.name]} everywhere")
        if excuses.get(fact.name) == SAME and len(numbers) != 1:
            said.append(f"{fact.name}: isn't the same everywhere")
    return said + [f"{name}: nothing is known of it" for name in [*excuses, *ALIASES] if name not in known]


def differences(architecture: Architecture) -> "List[str]":
    """Where this architecture's tables, as its compiler has them, differ from what is known of it; best empty."""
    program = build.unit(architecture, "test_tables", "translate")
    command = [*architecture.emulator, str(program), "print"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows: "Dict[str, Dict[str, Optional[int]]]" = {}
    said = []
    for line in printed.splitlines():
        table, name, wire, host = line.split()
        rows.setdefault(table, {})[name] = None if host == "-" else int(host)
        declared = getattr(protocol, table)[name]
        if declared != int(wire):
            said.append(f"{name}: declared as {declared}, compiled as {wire}")
    for fact in facts():
        number = fact.numbers[architecture.name]
        for title, declared in TRANSLATED.get(fact.kind, {}).items():
            row = rows.get(title, {}).get(fact.name, "no row")
            if fact.name in declared and row != number:
                said.append(f"{fact.name}: {number} on {architecture.name}, in the table {row}")
    return said


def document() -> "List[str]":
    """The part of docs/architectures.md about names that are in no table."""
    lines = [
        "",
        "## Constants that are in no table",
        "",
        "tests/arch/constants.tsv lists what is known of each architecture's numbers. Of its names these have no row",
        "in a table of docs/protocol.md:",
        "",
        "| names | why |",
        "| --- | --- |",
    ]
    lines += [f"| `{name}` | another name of `{other}` |" for name, other in ALIASES.items()]
    lines += [f"| {' '.join(f'`{name}`' for name in names.split())} | {why} |" for names, why in ELSEWHERE.items()]
    return lines

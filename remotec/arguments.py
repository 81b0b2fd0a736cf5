# SPDX-License-Identifier: MIT
"""The options that say which server, which rules and how, and a reader of them that `run` can wait for.

parser.py gives the same tables to argparse, which says what is wrong and helps.  To import that takes longer than all
else that `run` does in Python, so what is written plainly is read here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    Table = Sequence[Tuple[Tuple[str, ...], Dict[str, Any]]]  # names, what argparse's add_argument takes by keyword


def seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return int(value) if value == int(value) else value


def count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1 << 20:  # as far as csrc/config.c counts
        raise ValueError
    return value


SERVER_HELP = "HOST[:PORT] or unix:PATH; default $REMOTE_SERVER, else 127.0.0.1"
REMOTE_HELP = "PATH is the server's (its SERVER_PATH); then everything else is local"
LOCAL_HELP = "PATH stays local; without --remote, all else is the server's"
STALE_HELP = "what is known counts for MS ms (1000); 0: only under a lease"
CACHE_HELP = "memory for it, for all processes together (64); 0: none"
STATS_HELP = "calls, round trips, bytes, the slowest calls: on stderr at the end"
TRACE_HELP = "each remote call as a span in FILE; ui.perfetto.dev opens it"
TIERS = ["preload", "supervisor", "both"]

CLIENT: Table = (
    (("-s", "--server"), {"metavar": "SERVER", "help": SERVER_HELP}),
    (("--remote",), {"action": "append", "metavar": "PATH[=SERVER_PATH]", "help": REMOTE_HELP}),
    (("--local",), {"action": "append", "metavar": "PATH", "help": LOCAL_HELP}),
)
RUN: Table = (
    *CLIENT,
    (("--tier",), {"choices": TIERS, "help": "how calls are caught; default: what works"}),
    (("--debug",), {"action": "store_true", "help": "a line on stderr for each forwarded call"}),
    (("--stats",), {"action": "store_true", "help": STATS_HELP}),
    (("--trace",), {"metavar": "FILE", "help": TRACE_HELP}),
    (("--max-stale",), {"type": count, "metavar": "MS", "help": STALE_HELP}),
    (("--cache-size",), {"type": count, "metavar": "MIB", "help": CACHE_HELP}),
    (("--timeout",), {"type": seconds, "metavar": "S", "help": "wait S seconds for a silent server"}),
    (("--fd-shift",), {"type": int, "metavar": "N", "help": "lowest remote descriptor; 0: the lowest free"}),
)


class Options:
    """Attributes by the options' long names, and the command that follows them: as argparse.Namespace has them."""

    command: List[str]

    def __init__(self, table: Table) -> None:
        for names, how in table:
            setattr(self, attribute(names), False if how.get("action") == "store_true" else None)

    def put(self, names: Tuple[str, ...], how: Dict[str, Any], text: str) -> None:
        value = how.get("type", str)(text)
        if value not in how.get("choices", [value]):
            raise ValueError
        if how.get("action") == "append":
            value = [*(getattr(self, attribute(names)) or []), value]
        setattr(self, attribute(names), value)


def attribute(names: Tuple[str, ...]) -> str:
    return names[-1].lstrip("-").replace("-", "_")


def read_plainly(table: Table, arguments: Sequence[str]) -> Optional[Options]:
    """What argparse would make of them; None where it is to be asked: of mistakes, --help and rarer ways of writing."""
    known = {name: (names, how) for names, how in table for name in names}
    options = Options(table)
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        name, equals, value = arguments[at].partition("=")
        at += 1
        if name == "--" and not equals:
            at -= 1  # argparse leaves it there as well
            break
        if name not in known or (equals and not name.startswith("--")):
            return None
        names, how = known[name]
        if how.get("action") == "store_true":
            if equals:
                return None
            setattr(options, attribute(names), True)
            continue
        if not equals:
            if at == len(arguments) or arguments[at].startswith("-"):
                return None
            value = arguments[at]
            at += 1
        try:
            options.put(names, how, value)
        except ValueError:
            return None
    options.command = list(arguments[at:])
    return options

# SPDX-License-Identifier: MIT
"""argparse, as every command uses it."""

from __future__ import annotations

import argparse
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from remotec.arguments import Table


class Parser(argparse.ArgumentParser):
    """Exits with `failure` where the arguments are wrong: for `run`, 2 could be the command's own status."""

    def __init__(self, name: str, failure: int = 2, **kwargs: Any) -> None:
        super().__init__(
            prog=f"remotec {name}".rstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **kwargs,
        )
        self.failure = failure

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(self.failure, f"{self.prog}: {message}\n")

    def add_table(self, table: Table) -> None:
        """The options, and the command after them."""
        for names, how in table:
            self.add_argument(*names, **how)
        self.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ARG…")

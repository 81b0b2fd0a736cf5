# SPDX-License-Identifier: MIT
"""Cases that can't be the same as the plain run, and why: a fault of the emulator, shown without remotec."""

from typing import List, Pattern, Tuple

# clients, pattern of the case's name, reason
KNOWN: "List[Tuple[str, Pattern[str], str]]" = []

# SPDX-License-Identifier: MIT
"""`python -m remotec` is the command `remotec`."""

import sys

from remotec.cli import main

sys.exit(main())

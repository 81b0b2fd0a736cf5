# SPDX-License-Identifier: MIT
"""libremotec.so exports the functions that csrc/wrappers.h lists, and nothing else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "remotec" / "libremotec.so"
ROW = re.compile(r"^(?:FD|RAW_FD|PATH|RAW_PATH|OWN)\([^,]+, (\w+),", re.MULTILINE)


def table() -> "list[str]":
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to expand the table's conditions with")
    text = (ROOT / "csrc" / "wrappers.h").read_text()
    # features.h defines __GLIBC__; the rows themselves stay as they are.
    command = [compiler, "-E", "-P", "-D_GNU_SOURCE", "-x", "c", "-"]
    source = "#include <features.h>\n" + text
    expanded = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    return ROW.findall(expanded.stdout)


def exported() -> "set[str]":
    if not LIBRARY.exists():
        pytest.skip("libremotec.so isn't built")
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", str(LIBRARY)], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[-1] for line in listing.splitlines()}


def test_no_function_has_two_rows() -> None:
    rows = table()
    assert sorted(rows) == sorted(set(rows))


def test_exactly_the_table_is_exported() -> None:
    rows = set(table())
    assert len(rows) > 100
    assert exported() == rows

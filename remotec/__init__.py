# SPDX-License-Identifier: MIT
"""Runs local programs on another machine's files.  Imports nothing: `remotec run` must start fast."""

from __future__ import annotations


def version() -> str:
    """The version in pyproject.toml: that of the checkout that this file is in, else the installed one."""
    import re
    from pathlib import Path

    try:
        project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    except OSError:
        project = ""
    found = re.search(r'^name = "remotec"\nversion = "(.+)"$', project, re.MULTILINE)
    if found:
        return found.group(1)
    from importlib import metadata

    try:
        return metadata.version("remotec")
    except metadata.PackageNotFoundError:
        return "unknown"

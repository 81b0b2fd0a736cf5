# SPDX-License-Identifier: MIT
"""Cross-compiles libremotec.so and the tests' own programs."""

import os
import subprocess
from pathlib import Path
from typing import List, Sequence

from .architectures import CACHE, ROOT, Architecture

SMALL = ["-U_FILE_OFFSET_BITS", "-U_TIME_BITS", "-D_LARGEFILE64_SOURCE"]  # as in setup.py
CFLAGS = "-std=gnu11 -O2 -Wall -Wextra -Werror=implicit -fPIC -fvisibility=hidden -D_GNU_SOURCE -pthread".split()
CFLAGS += SMALL
LDFLAGS = ["-shared", "-Wl,-soname,libremotec.so", "-Wl,-z,now,-z,relro,-z,defs,-Bsymbolic-functions"]
LDFLAGS += ["-Wl,--as-needed", "-ldl"]
PROBE_FLAGS = [*"-std=gnu11 -O1 -w -pthread".split(), *SMALL]
# A 32-bit program chooses its off_t and time_t; a 64-bit one has no choice.
VARIANTS = {
    32: {
        "": [],
        "-off64": ["-D_FILE_OFFSET_BITS=64"],
        "-time64": ["-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64"],
    },
    64: {"": []},
}


class BuildError(Exception):
    """The compiler's own words."""


def library_sources() -> "List[Path]":
    """Everything in csrc/ but remotec-run's own files."""
    own = {path for pattern in ("run*.c", "supervise*.c", "syscalls*.c") for path in (ROOT / "csrc").glob(pattern)}
    return sorted(set((ROOT / "csrc").glob("*.c")) - own)


def compile_to(target: Path, command: Sequence[str], sources: Sequence[Path], flags: Sequence[str]) -> Path:
    """Runs the compiler unless the target is newer than all that it's made of."""
    inputs = [*sources, *(ROOT / "csrc").glob("*.h"), Path(__file__)]
    if target.exists() and target.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    done = subprocess.run(
        [*command, "-o", str(fresh), *map(str, sources), *flags], capture_output=True, text=True, cwd=ROOT
    )
    if done.returncode:
        raise BuildError(done.stderr)
    fresh.replace(target)
    return target


def library(architecture: Architecture) -> Path:
    target = CACHE / architecture.name / "libremotec.so"
    return compile_to(target, [architecture.compiler, *CFLAGS], library_sources(), LDFLAGS)


def probe(architecture: Architecture, variant: str) -> Path:
    """tests/arch/programs/probe.c in one of VARIANTS."""
    flags = VARIANTS[architecture.bits][variant]
    source = ROOT / "tests" / "arch" / "programs" / "probe.c"
    target = CACHE / architecture.name / f"probe{variant}"
    return compile_to(target, [architecture.compiler, *PROBE_FLAGS, *flags], [source], [])


def unit(architecture: Architecture, name: str, *core: str) -> Path:
    """tests/c/NAME.c with those files of the core.

    Its own reading of directories needs 64-bit offsets: qemu hands the host's 64-bit ones to 32-bit programs.
    """
    sources = [ROOT / "tests" / "c" / f"{name}.c", *(ROOT / "csrc" / f"{part}.c" for part in core)]
    command = [architecture.compiler, "-std=gnu11", "-O1", "-w", "-D_GNU_SOURCE", *SMALL, "-D_FILE_OFFSET_BITS=64"]
    return compile_to(CACHE / architecture.name / name, command, sources, [])

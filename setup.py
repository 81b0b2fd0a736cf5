# SPDX-License-Identifier: MIT
"""Builds what isn't Python: remotec._fast (Cython), remotec/libremotec.so and remotec/remotec-run (C).

Without a compiler all three are left out and what remains is the pure Python server. With one, a
failure of the C parts fails the build; remotec._fast is left out where Python's own headers are missing.
Environment: CC, CFLAGS, LDFLAGS; REMOTEC_DEBUG=1: -O0 -g; REMOTEC_SANITIZE=1: ASan and UBSan.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

DEBUG, SANITIZE = (os.environ.get(name, "0") != "0" for name in ("REMOTEC_DEBUG", "REMOTEC_SANITIZE"))
# Every csrc/*.c that isn't named here is the core, and is part of both.
FRONT_ENDS = {
    "libremotec.so": ("preload*.c",),
    "remotec-run": ("run*.c", "supervise*.c", "syscalls*.c"),
}

CFLAGS = "-std=gnu11 -Wall -Wextra -Werror=implicit -fPIC -fvisibility=hidden -D_GNU_SOURCE -pthread".split()
# Both sizes of off_t and time_t are wrapped, by name; 32-bit Debian 13's and Ubuntu 24.04's gcc has only the large
# ones, and musl 1.2.5 no names of large ones if it isn't asked.
CFLAGS += ["-U_FILE_OFFSET_BITS", "-U_TIME_BITS", "-D_LARGEFILE64_SOURCE"]
# A program may call us with the null pointers that libc's headers forbid, as it may the kernel.
CFLAGS += ["-fno-delete-null-pointer-checks"]
CFLAGS += ["-O0", "-g"] if DEBUG else ["-O1", "-g"] if SANITIZE else ["-O2"]
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize=nonnull-attribute -fno-omit-frame-pointer".split()
# gcc: a vfork child that executes leaves the redzones of its arrays on the stack that its parent goes on with.
SANITIZERS += ["--param=asan-instrument-allocas=0"]
SANITIZERS = SANITIZERS if SANITIZE else []
# Symbols are resolved at load time (now): the dynamic linker's lazy lookup isn't safe in a signal handler.
# A call of one of our own functions is meant (symbolic), whoever defines its name: tcmalloc's mmap calls syscall().
LDFLAGS = ["-Wl,-z,now,-z,relro,-z,defs,-Bsymbolic-functions", "-pthread", *SANITIZERS]


def compiler() -> list[str]:
    """The C compiler's command; empty when there is none."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    return []


def call(command: list[str]) -> None:
    if subprocess.run(command).returncode:
        raise CompileError("failed: " + shlex.join(command))


class build(build_ext):  # type: ignore[misc]
    def run(self) -> None:
        self.cc = compiler()
        if not self.cc:
            self.warn("no C compiler: only the pure Python server is installed")
            return
        self.build_c(Path("remotec" if self.inplace or self.editable_mode else f"{self.build_lib}/remotec"))
        self.extensions = [each for each in [fast] if os.path.exists(each.sources[0])]
        super().run()

    def build_c(self, target: Path) -> None:
        variant = "debug" if DEBUG else "sanitize" if SANITIZE else "release"
        objects = Path(self.build_temp, "csrc-" + variant)
        for directory in (objects, target):
            directory.mkdir(parents=True, exist_ok=True)
        headers = max(os.stat(path).st_mtime for path in [*Path("csrc").glob("*.h"), Path("setup.py")])

        def compile_one(source: Path) -> Path:
            result = objects / (source.stem + ".o")
            newest = max(headers, source.stat().st_mtime)
            if self.force or not result.exists() or result.stat().st_mtime <= newest:
                command = [*self.cc, *CFLAGS, *SANITIZERS, *shlex.split(os.environ.get("CFLAGS", "")), "-c"]
                call([*command, str(source), "-o", str(result)])
            return result

        fronts = {
            name: sorted(path for pattern in patterns for path in Path("csrc").glob(pattern))
            for name, patterns in FRONT_ENDS.items()
        }
        core = sorted(set(Path("csrc").glob("*.c")).difference(*fronts.values()))
        sources = [*core, *(path for front in fronts.values() for path in front)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            compiled = dict(zip(sources, pool.map(compile_one, sources)))
        for name, front in fronts.items():
            if not front:
                self.warn(f"{name}: no sources")
                continue
            kind = ["-shared", "-Wl,-soname," + name] if name.endswith(".so") else ["-pie"]
            flags = [*LDFLAGS, *shlex.split(os.environ.get("LDFLAGS", "")), "-Wl,--as-needed", "-ldl"]
            linked = target / (name + ".new")  # a running program may have the old one mapped
            inputs = [str(compiled[path]) for path in [*core, *front]]
            call([*self.cc, *kind, "-o", str(linked), *inputs, *flags])
            linked.replace(target / name)


fast = Extension(
    "remotec._fast",
    ["remotec/_fast.pyx"],
    include_dirs=["csrc"],
    depends=["csrc/numbers.h", "csrc/protocol.h", "csrc/served.h", "remotec/_fast.pxd", "remotec/wire.pxd"],
    optional=True,
    extra_compile_args=["-O0", "-g"] if DEBUG else ["-O2"],
    define_macros=[("CYTHON_TRACE_NOGIL", "1")] if DEBUG else [],
)
setup(ext_modules=[fast], cmdclass={"build_ext": build})

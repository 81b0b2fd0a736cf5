# SPDX-License-Identifier: MIT
"""`remotec serve` in this machine's Python and in the Python of other architectures, under qemu."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional

from .architectures import ARCHITECTURES, CACHE, ROOT
from .packages import PYTHON, prepare

START_S = 60


class ServerError(Exception):
    """The server didn't start; says what it printed."""


def pure_packages() -> Path:
    """A directory with nothing but remotec's Python and construct, which any Python of any architecture can import."""
    target = CACHE / "python"
    shutil.rmtree(target, ignore_errors=True)
    for name in ("construct", "remotec"):
        spec = importlib.util.find_spec(name)
        source = ROOT / name if name == "remotec" else Path(str(spec and spec.origin)).parent
        skipped = shutil.ignore_patterns("__pycache__", "*.so", "remotec-run", "*.c")
        shutil.copytree(source, target / name, ignore=skipped)
    return target


def fast_packages(name: str) -> Path:
    """The same with `_fast`, cross-compiled for that architecture's Debian Python."""
    architecture = ARCHITECTURES[name]
    include = architecture.packages / "usr" / "include"
    version = (architecture.packages / PYTHON).resolve().name[len("python") :]
    target = CACHE / f"python-{name}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(pure_packages(), target)
    generated = CACHE / name / "_fast.c"
    suffix = f"cpython-{version.replace('.', '')}-{architecture.triplet}.so"
    commands = [
        [sys.executable, "-m", "cython", "-3", "remotec/_fast.pyx", "-o", str(generated)],
        [architecture.compiler, *"-O2 -w -fPIC -shared -pthread -Icsrc".split()]
        + [f"-I{include}/python{version}", "-idirafter", str(include), str(generated)]
        + ["-o", str(target / "remotec" / f"_fast.{suffix}")],
    ]
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise ServerError(f"_fast for {name}: {done.stderr}")
    return target


class Server:
    """A running server; `address` is what REMOTE_SERVER takes."""

    def __init__(self, kind: str, folder: Path, options: "Optional[List[str]]" = None) -> None:
        """`kind`: an architecture, with "-fast" where the compiled hot path is wanted."""
        self.kind = kind
        self.address = f"unix:{folder}/{kind}.socket"
        self.log = folder / f"{kind}.log"
        name = kind.replace("-fast", "")
        architecture = ARCHITECTURES[name]
        environment: Dict[str, str] = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        if name == "x86_64":
            command = [sys.executable]
            environment["PYTHONPATH"] = str(ROOT)
        else:
            python = prepare(architecture) / PYTHON
            command = [*architecture.emulator, str(python)]
            environment["PYTHONHOME"] = str(architecture.packages / "usr")
            environment["PYTHONPATH"] = str(fast_packages(name) if "fast" in kind else pure_packages())
        command += ["-m", "remotec", "serve", "--listen", self.address, *(options or [])]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, cwd=folder)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        printed = b""
        limit = time.monotonic() + START_S
        while b"listening on" not in printed:
            if self.process.poll() is not None or time.monotonic() > limit:
                self.stop()
                raise ServerError(f"{kind}: {printed.decode()}{self.log.read_text(errors='replace')}")
            printed += self.process.stdout.read() or b""
            time.sleep(0.05)

    def stop(self) -> int:
        """Ends it as a service manager would; its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

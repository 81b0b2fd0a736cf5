#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A server on loopback, and real programs on its files: each line is shown, then run, and must succeed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.executable).parent  # where pip put `remotec`
# What `cat` needs to run; everything else is the server's.
LOCAL = "/dev:/lib:/lib64:/usr/lib:/usr/lib64:/usr/bin:/bin:/proc/self"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="remotec-demo-") as scratch:
        box = Path(scratch, "box")
        box.mkdir()
        (box / "hello").write_text("hello from the server\n")
        (box / "numbers").write_text("".join(f"{n}\n" for n in range(1, 100_001)))
        show(f"remotec serve --listen 127.0.0.1:0        # its files: {box}")
        server = subprocess.Popen(
            [str(BIN / "remotec"), "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            line = server.stdout.readline()
            print(line, end="", flush=True)
            if not line.startswith("listening on "):
                return 1
            address = line.split()[-1]
            return run_all(box, address)
        finally:
            server.terminate()
            server.wait()


def run_all(box: Path, address: str) -> int:
    resolv = Path("/etc/resolv.conf")
    example = resolv if resolv.is_file() and resolv.stat().st_size else Path("/etc/passwd")
    remote = f"remotec run -s {address} --remote /box={box} --"
    lines = [
        # The original's own example.
        f"LD_PRELOAD=$(remotec lib) LOCAL_PATHS={LOCAL} REMOTE_SERVER={address} "
        f"LIBREMOTEC_DEBUG=1 cat {example}",
        f"{remote} cat /box/hello",
        f"{remote} sh -c 'md5sum < /box/numbers; tail -n 2 /box/numbers'",
        f"{remote} grep -c 7 /box/numbers",
        f"{remote} python3 -c 'import os; print(os.stat(\"/box/numbers\").st_size)'",
        f"{remote} dd if=/box/numbers bs=100k of=/dev/null",
        f"{remote} cat /box/absent || echo status $?",
    ]
    failed = 0
    for line in lines:
        show(line)
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        status = subprocess.run(
            ["sh", "-c", line], env=environment, stderr=subprocess.STDOUT, timeout=60
        ).returncode
        if status:
            print(f"demo: status {status}", flush=True)
            failed += 1
    print(f"\ndemo: {len(lines) - failed} of {len(lines)} worked")
    return 1 if failed else 0


def show(line: str) -> None:
    print(f"\n$ {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

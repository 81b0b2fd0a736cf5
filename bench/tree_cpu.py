# SPDX-License-Identifier: MIT
"""Runs a command and says, as its last line on stderr, what it and all that it started used: "cpu SECONDS".

What outlives its parent becomes this process's own child and is waited for, so a supervisor counts as well.
"""

import ctypes
import os
import resource
import sys

PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    command = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
    status = 0
    while True:
        try:
            pid, found = os.wait()
        except ChildProcessError:
            break
        if pid == command:
            status = os.waitstatus_to_exitcode(found)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"cpu {used.ru_utime + used.ru_stime:.4f}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""What stays local under `remotec run` when no rule is given: what the command needs in order to run.

Everything else, /etc and home directories included, is the server's.
"""

from __future__ import annotations

import os

SYSTEM = (
    # programs, the dynamic linker, libraries
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr/bin", "/usr/sbin", "/usr/games"),
    *("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/libexec"),
    *("/usr/local/bin", "/usr/local/sbin", "/usr/local/lib", "/usr/local/lib64", "/usr/local/libexec"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives"),
    # what libc and interpreters read at their start
    *("/usr/share/locale", "/usr/share/i18n", "/usr/share/zoneinfo", "/usr/share/terminfo", "/etc/terminfo"),
    *("/usr/share/perl", "/usr/share/perl5", "/etc/perl", "/usr/share/awk", "/usr/share/misc", "/etc/magic"),
    *("/usr/share/python3", "/usr/share/dist", "/usr/share/bash-completion", "/usr/share/tcltk"),
    # this process and this machine's devices
    *("/dev", "/proc/self", "/proc/thread-self", "/sys/devices/system/cpu"),
)
# But what is mounted where, as `df` reads it, is about the paths that the program sees: the server's.
MOUNTS = ("/proc/self/mountinfo", "/proc/self/mounts", "/proc/self/mountstats")
# A rule, not what is left over: programs there are the server's too, not only files.
REMOTE = ":".join(("/", *MOUNTS))
# Beside a program in PREFIX/bin, for a PREFIX that isn't one of the above (a venv, /opt/x, ~/.local).
BESIDE = ("bin", "lib", "lib64", "libexec", "pyvenv.cfg")


def local_paths(command: list[str]) -> list[str]:
    """Prefixes, sorted; `command` may be empty."""
    prefixes = set(SYSTEM)
    prefixes.add(os.path.dirname(os.path.abspath(__file__)))
    prefixes.update(path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path.startswith("/"))
    if command:
        _add_program(command[0], prefixes)
    # An exact colon can't be written in LOCAL_PATHS.
    return sorted(path for path in prefixes if ":" not in path and not _covered(path, prefixes))


def _covered(path: str, prefixes: set[str]) -> bool:
    """Whether a shorter prefix already says it."""
    parent = os.path.dirname(path)
    while parent != "/":
        if parent in prefixes:
            return True
        parent = os.path.dirname(parent)
    return False


def _add_program(name: str, prefixes: set[str], depth: int = 4) -> None:
    """The files of a program: itself, its installation, and, where it is a script, its interpreter's."""
    found = _find(name)
    if found is None or depth == 0:
        return
    path = os.path.abspath(found)
    while True:
        prefixes.add(path)
        directory = os.path.dirname(path)
        prefix = os.path.dirname(directory)
        if os.path.basename(directory) == "shims":  # a version manager's (pyenv, rbenv, asdf): it has them all
            prefixes.add(prefix)
        elif os.path.basename(directory) in ("bin", "sbin") and prefix not in ("/", "/usr", "/usr/local"):
            beside = (os.path.join(prefix, name) for name in BESIDE)
            prefixes.update(each for each in beside if os.path.exists(each))
        if not os.path.islink(path):
            break
        # Each link may lead to another installation: venv/bin/python -> /opt/python/bin/python3.
        path = os.path.normpath(os.path.join(directory, os.readlink(path)))
        depth -= 1
        if depth == 0:
            return
    prefixes.add(os.path.realpath(path))
    for interpreter in _interpreter(path):
        _add_program(interpreter, prefixes, depth - 1)


def _find(name: str) -> "str | None":
    """As shutil.which, whose import would take longer than all this."""
    places = [""] if "/" in name else os.environ.get("PATH", os.defpath).split(":")
    for place in places:
        path = os.path.join(place, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def _interpreter(path: str) -> list[str]:
    """The programs that a script's first line names: the interpreter, and what `env` would look for."""
    try:
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return []
    if not line.startswith(b"#!"):
        return []
    words = os.fsdecode(line[2:]).split()
    if not words:
        return []
    if os.path.basename(words[0]) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return [words[0], *named[:1]]
    return words[:1]

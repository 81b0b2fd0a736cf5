# SPDX-License-Identifier: MIT
"""What a command finds around it, and its terminal: as in a plain run, in every tier."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import pytest

from conftest import Same
from oracle import TIERS, Server, command, difference, shell

# Set before remotec starts, so that it has to hand them on.
BEFORE = """
import os, resource, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGCHLD])
signal.signal(signal.SIGQUIT, signal.SIG_IGN)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_NOFILE, (%d, 2000))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.umask(0o027)
os.nice(3)
os.chdir("/usr")
os.environ["ODD"] = "a=b c"
os.close(0)
os.dup2(os.open("/etc/passwd", os.O_RDONLY), 7)
os.execvp(sys.argv[1], sys.argv[1:])
"""
LOOKS = [
    "cat /proc/self/limits /proc/self/oom_score_adj /proc/self/timerslack_ns /proc/self/personality",
    "grep -E '^(Umask|SigQ|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|Uid|Gid|Groups|CapEff|CapInh|CapAmb|Cpus_allowed):'"
    " /proc/self/status | grep -v SigQ",
    "ls /proc/self/fd; cat /proc/self/fdinfo/7 | grep -v ino; readlink /proc/self/fd/7",
    "env | grep -vE '^(LD_PRELOAD|REMOTE_[A-Z_]*|REMOTEC_[A-Z]*|LIBREMOTEC_DEBUG|LOCAL_PATHS)=' | sort",
    "pwd; readlink /proc/self/cwd /proc/self/root; nice; umask; ulimit -a",
    "[ $(ps -o pgid= -p $$) = $(ps -o sid= -p $$) ] && ps -o tpgid=,tty= -p $$",
]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("files", [30, 1500])
@pytest.mark.parametrize("line", LOOKS)
def test_a_command_finds_what_it_would_find(
    servers: Dict[str, Server], tiers: Dict[str, str], tree: Path, line: str, files: int, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(tiers[tier])
    before = [sys.executable, "-c", BEFORE % files]
    environment_of = "export PYTHONPATH=$PYTHONPATH\n"
    plain = shell(environment_of + line, tree, [*before, "env"], cwd=Path.cwd())
    remotec = [sys.executable, "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r})\n" + BEFORE % files]
    # `remotec run` itself is started in another directory than its package's.
    words = ["env", f"PYTHONPATH={os.getcwd()}", *command(servers["fast"].address, tree, tier)]
    remote = shell(environment_of + line, tree, [*remotec, *words], cwd=Path.cwd())
    hide = re.compile(rb"(?m)^PYTHONPATH=.*\n")
    plain, remote = (each._replace(stdout=hide.sub(b"", each.stdout)) for each in (plain, remote))
    assert plain.status == 0
    assert remote == plain, difference(plain, remote)


SANDBOX = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
CREATE_RULESET, RESTRICT_SELF, NO_NEW_PRIVS, CONNECT_TCP = 444, 446, 38, 2
ruleset = libc.syscall(CREATE_RULESET, ctypes.create_string_buffer(struct.pack("=QQ", 0, CONNECT_TCP)), 16, 0)
if ruleset >= 0:
    assert libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0 == libc.syscall(RESTRICT_SELF, ruleset, 0)
print(open(sys.argv[1]).read())
"""


@pytest.mark.parametrize("tier", TIERS)
def test_a_program_that_forbids_itself_to_connect(same: Same, tier: str) -> None:
    """By Landlock, as xz does: before it opens its first file."""
    same(f"python3 -c {shlex.quote(SANDBOX)} {{box}}/one", tier)


@pytest.mark.parametrize("outer", TIERS)
@pytest.mark.parametrize("inner", ["preload", "both"])
def test_one_run_inside_another(
    servers: Dict[str, Server], tiers: Dict[str, str], tree: Path, outer: str, inner: str
) -> None:
    """The kernel has room for one supervisor: the inner run says so and has the preload tier."""
    if tiers[outer]:
        pytest.skip(tiers[outer])
    line = "md5sum {box}/text; head -c 9 {box}/bin | md5sum; cd {box}/sub && ls; cat ../one; exit 3"
    words = [command(servers["fast"].address, tree, tier) for tier in (outer, inner)]
    plain, nested = shell(line, tree), shell(line, tree, [*words[0], *words[1]])
    said = b"remotec: no supervisor tier here: going on with the preload tier alone\n"
    expected = plain._replace(stderr=b"" if "preload" in (outer, inner) else said)
    assert nested == expected, difference(expected, nested)


@pytest.mark.parametrize("outer", TIERS)
def test_one_run_inside_another_without_rules(servers: Dict[str, Server], tiers: Dict[str, str], outer: str) -> None:
    """The outer one's /tmp is the server's, and can't hold what the inner one needs."""
    if tiers[outer]:
        pytest.skip(tiers[outer])
    before = set(os.listdir("/dev/shm"))
    run = [sys.executable, "-m", "remotec", "run", "-s", servers["fast"].address, "--tier"]
    done = subprocess.run([*run, outer, "--", *run, "preload", "--", "cat", "/etc/passwd"], capture_output=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", Path("/etc/passwd").read_bytes())
    assert not [name for name in set(os.listdir("/dev/shm")) - before if name.startswith("remotec-")]


class Terminal:
    """An interactive bash on a pseudo-terminal."""

    def __init__(self) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGQUIT):  # ignored where the tests run in the background
                signal.signal(number, signal.SIG_DFL)
            os.environ.update(PS1="READY$ ", PS2="", LC_ALL="C", TERM="dumb", HISTFILE="")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
        self.unread = ""
        self.expect("READY")

    def expect(self, text: str, timeout_s: float = 20) -> str:
        """What came before `text`."""
        until = time.monotonic() + timeout_s
        while text not in self.unread:
            ready, _, _ = select.select([self.fd], [], [], max(0, until - time.monotonic()))
            assert ready, f"no {text!r} in {self.unread!r}"
            self.unread += os.read(self.fd, 4096).decode()
        before, _, self.unread = self.unread.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def ask(self, line: str) -> str:
        """What comes until the next prompt."""
        self.type(line + "\n")
        return self.expect("READY")

    def status(self, expected: int) -> None:
        assert f"S={expected}." in self.ask("echo S=$?.")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.mark.parametrize("tier", ["plain", *TIERS])
def test_a_terminal_s_job_control(servers: Dict[str, Server], tiers: Dict[str, str], tree: Path, tier: str) -> None:
    if tiers.get(tier):
        pytest.skip(tiers[tier])
    words: List[str] = [] if tier == "plain" else command(servers["fast"].address, tree, tier)
    terminal = Terminal()
    try:
        terminal.ask(f"RUN='{' '.join(words)}'")
        terminal.type("$RUN sh -c 'echo U''P; exec sleep 99'\n")  # stopped, gone on, interrupted
        terminal.expect("UP")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect("READY")
        terminal.type("fg\n")
        terminal.expect("sleep 99")
        time.sleep(1)
        terminal.type("\x03")
        terminal.expect("READY")
        terminal.status(130)
        terminal.type("$RUN sh -c 'trap \"echo GO''T; exit 5\" INT; echo U''P; while :; do sleep 0.1; done'\n")
        terminal.expect("UP")
        terminal.type("\x03")
        terminal.expect("GOT")
        terminal.expect("READY")
        terminal.status(5)
        terminal.ask("$RUN cat &")  # it wants the terminal, which it hasn't
        while "1" not in terminal.ask("jobs -s | wc -l").partition("\n")[2]:
            time.sleep(0.1)
        terminal.type("fg\n")
        terminal.expect("RUN cat")
        time.sleep(0.3)
        terminal.type("to you\n\x04")
        terminal.expect("to you\r\nto you")
        terminal.expect("READY")
        terminal.status(0)
        terminal.type("$RUN sh -c 'echo U''P; exec sleep 99'\n")
        terminal.expect("UP")
        terminal.type("\x1c")
        terminal.expect("READY")
        terminal.status(131)
        terminal.ask("$RUN sh -c 'kill -TERM $$'")
        terminal.status(143)
        assert " 2\r" in terminal.ask("$RUN sh -c 'echo \" \"$(stty size | wc -w); exit 7'")
        terminal.status(7)
    finally:
        terminal.close()

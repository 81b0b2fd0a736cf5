# SPDX-License-Identifier: MIT
"""The command line: arguments, messages, exit codes, and what `run` hands to the program it starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Iterator

import pytest

import remotec as remotec_package
from remotec import check, cli, defaults, protocol
from remotec.arguments import RUN, read_plainly
from remotec.client import Client
from remotec.parser import Parser

BUILT = pytest.mark.skipif(not os.access(cli.RUNNER, os.X_OK), reason="remotec-run isn't built")


def remotec(*arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "remotec", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    command = [sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("listening on 127.0.0.1:")
    yield line.split()[-1]
    process.terminate()
    assert process.wait(10) == 0


def test_default_port_is_the_protocols() -> None:
    assert cli.DEFAULT_PORT == protocol.DEFAULT_PORT


def test_version_verbose_names_each_part() -> None:
    said = remotec("--version", "-v").stdout
    assert said.startswith("remotec ")
    for part in ("python", "protocol", "fast path", "uvloop", "library", "remotec-run"):
        assert f"\n{part}" in said


@pytest.mark.parametrize("command", ["", "serve", "run", "lib", "check"])
def test_help_is_there_and_fits(command: str) -> None:
    done = remotec(*command.split(), "--help")
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 112


PLAIN = [
    ["--", "true"],
    ["true", "-s", "box"],
    ["-s", "box", "--remote", "/a", "--remote=/b=/c", "--local", "/d", "--", "cat", "--", "--stats"],
    ["--server=box:1", "--tier", "both", "--debug", "--stats", "--trace=a=b", "cat", "-n", "/x"],
    ["--max-stale", "0", "--cache-size=3", "--timeout", "2.5", "--fd-shift", "0", "--", "x"],
    ["--timeout=7", "--remote=", "--", "--", "x"],
]
RARE = [
    ["-sbox", "--", "x"],
    ["-s=box", "--", "x"],
    ["--fd-shift", "-1", "--", "x"],
    ["--remot", "/a", "--", "x"],
    ["--tier", "none", "--", "x"],
    ["--max-stale", "-1", "--", "x"],
    ["--cache-size", "x", "--", "x"],
    ["--timeout", "nan", "--", "x"],
    ["--stats=1", "--", "x"],
    ["--remote"],
    ["--help"],
]


@pytest.mark.parametrize("words", PLAIN)
def test_options_are_read_as_argparse_reads_them(words: list[str]) -> None:
    parser = Parser("run")
    parser.add_table(RUN)
    said, read = parser.parse_args(words), read_plainly(RUN, words)
    assert read is not None
    assert cli.command_of(said) == cli.command_of(read)
    assert {**vars(said), "command": 0} == {**vars(read), "command": 0}


@pytest.mark.parametrize("words", RARE)
def test_what_is_written_otherwise_is_argparses(words: list[str]) -> None:
    assert read_plainly(RUN, words) is None


def test_run_imports_little() -> None:
    """All of it is waited for by whoever runs something."""
    program = "from remotec import cli; cli.RUNNER = '/bin/true'; cli.run(['-s', '127.0.0.1', '--', 'true'])"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "remotec.cli" in imported
    assert not imported & {"argparse", "shutil", "signal", "socket", "remotec.protocol", "construct"}


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        ([], 2, "which command?"),
        (["nonsense"], 2, "invalid choice"),
        (["serve", "--nonsense"], 2, "unrecognized arguments"),
        (["run"], 125, "no COMMAND"),
        (["run", "--nonsense", "--", "true"], 125, "unrecognized arguments"),
        (["run", "--tier", "magic", "--", "true"], 125, "invalid choice"),
    ],
)
def test_wrong_arguments(arguments: list[str], status: int, message: str) -> None:
    done = remotec(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr and "Traceback" not in done.stderr


@BUILT
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--remote", "relative", "--", "true"], "'relative': a prefix is an absolute path"),
        (["--local", "/a:/b", "--", "true"], "a prefix is an absolute path without a colon"),
        (["-s", "host:99999", "--", "true"], "expected HOST[:PORT] or unix:PATH"),
        (["-s", "[::1", "--", "true"], "expected [V6]:PORT"),
        (["-s", "no-such-host.invalid", "--", "true"], "no-such-host.invalid: "),
    ],
)
def test_run_refuses_with_125_and_one_line(arguments: list[str], message: str) -> None:
    done = remotec("run", *arguments)
    assert (done.returncode, done.stdout) == (125, "")
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "server, expected",
    [
        ("127.0.0.1", "127.0.0.1:12345"),
        ("127.0.0.1:7", "127.0.0.1:7"),
        ("[::1]:7", "[::1]:7"),
        ("[::1]", "[::1]:12345"),
        ("::1", "[::1]:12345"),
        ("unix:/a/b", "unix:/a/b"),
    ],
)
def test_server_becomes_numeric(server: str, expected: str) -> None:
    assert cli.numeric(server) == expected


def test_a_name_with_several_addresses_becomes_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        resolve = socket.getaddrinfo

        def both(host: Any, *args: Any, **kwargs: Any) -> Any:
            return addresses if host == "both" else resolve(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", both)
        assert cli.numeric(f"both:{port}") == f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    "path, local, remote, expected",
    [
        ("/box/f", None, "/box=/srv", "remote as /srv/f"),
        ("/box", None, "/box=/srv", "remote as /srv"),
        ("/boxes", None, "/box=/srv", "local"),
        ("/box/a/../../etc/x", None, "/box=/srv", "local"),
        ("/usr/lib/x", "/usr/lib", None, "local"),
        ("/usr/library", "/usr/lib", None, "remote as /usr/library"),
        ("/data/private/x", "/data/private", "/data", "local"),
        ("/data/public/x", "/data/private", "/data", "remote as /data/public/x"),
        ("/a", "/", "/a=/", "remote as /"),
    ],
)
def test_check_says_where_a_path_goes(path: str, local: Any, remote: Any, expected: str) -> None:
    assert check.side(path, local, remote) == expected


def test_default_rules_keep_a_scripts_interpreter_local(tmp_path: Path) -> None:
    """A script of a venv needs the venv, and the installation that its interpreter links to."""
    base, venv = tmp_path / "python", tmp_path / "venv"
    for directory in (base / "bin", base / "lib", venv / "bin", venv / "lib"):
        directory.mkdir(parents=True)
    (base / "bin" / "python3").write_bytes(b"\x7fELF")
    (base / "bin" / "python3").chmod(0o755)
    (venv / "pyvenv.cfg").touch()
    (venv / "bin" / "python").symlink_to(base / "bin" / "python3")
    script = venv / "bin" / "tool"
    script.write_text(f"#!{venv}/bin/python\n")
    script.chmod(0o755)
    found = defaults.local_paths([str(script)])
    for needed in (venv / "bin", venv / "lib", venv / "pyvenv.cfg", base / "lib", base / "bin"):
        assert str(needed) in found
    assert str(tmp_path) not in found and str(venv) not in found
    assert {"/dev", "/proc/self"} <= set(found) and not {"/", "/etc", "/home", "/usr"} & set(found)


def test_default_rules_keep_a_version_managers_installation(tmp_path: Path) -> None:
    """A shim is a script that finds the program somewhere below."""
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims" / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "shims" / "tool").chmod(0o755)
    assert str(tmp_path) in defaults.local_paths([str(tmp_path / "shims" / "tool")])


def test_default_rules_know_what_a_first_line_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {
        "direct": "#!/bin/sh\n",
        "env": "#!/usr/bin/env -S LC_ALL=C sh -e\n",
        "empty": "#!\n",
        "none": "echo\n",
        "binary": "\0\0",
    }
    named = {}
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        named[name] = defaults._interpreter(str(tmp_path / name))
    assert named == {"direct": ["/bin/sh"], "env": ["/usr/bin/env", "sh"], "empty": [], "none": [], "binary": []}
    assert defaults._interpreter(str(tmp_path / "missing")) == []
    for i in range(9):  # links that lead on and on are followed only so far
        (tmp_path / f"link{i}").symlink_to(f"link{i + 1}" if i < 8 else "/bin/sh")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/libraries:relative")
    found = defaults.local_paths([str(tmp_path / "link0")])
    assert str(tmp_path / "libraries") in found and "relative" not in found
    assert defaults.local_paths(["no-such-program-anywhere"])


def test_an_installed_package_says_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no pyproject.toml above it."""
    monkeypatch.setattr(remotec_package, "__file__", "/nonexistent/remotec/__init__.py")
    monkeypatch.setattr(metadata, "version", lambda name: f"version of {name}")
    assert remotec_package.version() == "version of remotec"

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert remotec_package.version() == "unknown"


def test_check_reports_the_server(server: str) -> None:
    done = remotec("check", "-s", server, "--remote", "/box=/srv", "--path", "/box/f")
    assert "Traceback" not in done.stderr
    for part in ("version", "RTT", "MiB/s", "otherwise local", "/box/f  is  remote as /srv/f"):
        assert part in done.stdout


def test_check_says_unreachable_and_fails() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        done = remotec("check", "-s", f"127.0.0.1:{closed.getsockname()[1]}")
    assert done.returncode == 1 and "unreachable" in done.stdout and not done.stderr


def test_serve_ends_cleanly_on_each_signal() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        command = [sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout and process.stdout.readline().startswith("listening on ")
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")


def test_serve_refuses_a_public_address_and_says_how() -> None:
    done = remotec("serve", "--listen", "0.0.0.0:0")
    assert done.returncode == 1 and "--no-auth" in done.stderr and "Traceback" not in done.stderr


def test_client_raises_this_machines_errno(server: str) -> None:
    with Client(server) as client, pytest.raises(FileNotFoundError):
        client.call(protocol.READLINK, directory=protocol.NO_HANDLE, path=b"/no/such/file")


@BUILT
@pytest.mark.parametrize(
    "line, status",
    [("exit 7", 7), ("kill -9 $$", 137), ("/nonexistent/program", 127), ("/etc/passwd", 126)],
)
def test_exit_status_is_the_commands(server: str, line: str, status: int) -> None:
    assert remotec("run", "-s", server, "--remote", "/box=/", "--", "sh", "-c", line).returncode == status


@BUILT
@pytest.mark.parametrize("command, status", [("/nonexistent/program", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_run(server: str, command: str, status: int) -> None:
    done = remotec("run", "-s", server, "--remote", "/box=/", "--", command)
    assert done.returncode == status and command in done.stderr


@BUILT
def test_no_server_is_125_and_one_line() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        done = remotec("run", "-s", f"127.0.0.1:{closed.getsockname()[1]}", "--", "true")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("remotec: ") and done.stderr.count("\n") == 1


@BUILT
def test_arguments_arrive_as_they_are(server: str) -> None:
    words = ["-n", "--", "--help", "", "a b", "\udcff"]
    program = "import sys; print(ascii(sys.argv[1:]))"
    done = remotec("run", "-s", server, "--remote", "/box=/", sys.executable, "-c", program, *words)
    assert done.stdout == f"{ascii(words)}\n"


@BUILT
def test_signals_and_environment_are_a_plain_runs(server: str) -> None:
    """Python ignores SIGPIPE and sets LC_CTYPE; the command must see neither."""
    line = "grep -i '^sigign' /proc/self/status; env | grep ^LC_ | sort"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": ""}
    done = remotec("run", "-s", server, "--remote", "/box=/", "--", "sh", "-c", line, env=environment)
    plain = subprocess.run(["sh", "-c", line], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == plain.stdout


def test_lib_prints_a_file_or_says_why_not() -> None:
    done = remotec("lib")
    if os.path.exists(cli.LIBRARY):
        assert (done.returncode, done.stdout) == (0, cli.LIBRARY + "\n")
    else:
        assert done.returncode == 1 and "without a C compiler" in done.stderr

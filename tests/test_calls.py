# SPDX-License-Identifier: MIT
"""C and Go programs of our own that make each call in each form: dynamic, static, of another libc, of 32 bits."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest

from conftest import Same
from oracle import TIERS, Server, command, difference, shell

PROGRAMS = Path(__file__).parent / "c" / "programs"
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """build(source, compiler, *flags): the program, or the test is skipped where the compiler isn't there."""
    scratch = tmp_path_factory.mktemp("programs")

    def compiled(source: str, compiler: str, *flags: str) -> Path:
        if not shutil.which(compiler):
            pytest.skip(f"no {compiler}")
        target = scratch / f"{source}-{compiler}{''.join(flags)}"
        if not target.exists():
            command = [compiler, "-w", "-O1", *flags, "-o", str(target), str(PROGRAMS / f"{source}.c")]
            subprocess.run([*command, "-lrt", "-lpthread"], check=True)
        return target

    return compiled


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["text", "empty", "many", "missing", "loop"])
def test_every_form_of_every_call(same: Same, build: Build, name: str, tier: str) -> None:
    same(f"{build('every_form', 'gcc')} {{box}}/{name}", tier)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its system calls by number")
def test_streams_where_the_librarys_page_is_taken(same: Same, build: Build) -> None:
    """It leaves all to the supervisor, which would be asked for what it does itself."""
    page = re.search(r"RC_STUB_ADDRESS (0x[0-9a-f]+)", (PROGRAMS.parents[2] / "csrc" / "sys.h").read_text())
    assert page
    same(f"{build('stdio', 'gcc', f'-DPAGE_IS_TAKEN={page[1]}')} {{box}}", "both")


def test_every_form_with_a_pure_server(same: Same, build: Build) -> None:
    same(f"{build('every_form', 'gcc')} {{box}}/text", "preload", "pure")


@pytest.mark.parametrize("tier", TIERS)
def test_processes_threads_and_signals(same: Same, build: Build, tier: str) -> None:
    same(f"{build('processes', 'gcc')} {{box}}/lines", tier)


@pytest.mark.parametrize("tier", TIERS)
def test_small_reads_one_after_the_other(same: Same, build: Build, tier: str) -> None:
    same(f"{build('small_reads', 'gcc')} {{box}}", tier)


def test_small_reads_of_static_programs(same: Same, build: Build) -> None:
    same(f"{build('small_reads', 'gcc', '-static')} {{box}}", "supervisor")


@pytest.mark.parametrize("tier", TIERS)
def test_pointers_that_lead_nowhere(same: Same, build: Build, tier: str) -> None:
    same(f"{build('pointers', 'gcc')} {{box}}", tier)


@pytest.mark.parametrize("compiler", ["gcc", "i686-linux-gnu-gcc"])
def test_pointers_that_lead_nowhere_of_static_programs(same: Same, build: Build, compiler: str) -> None:
    same(f"{build('pointers', compiler, '-static')} {{box}}", "supervisor")


@pytest.fixture
def digits(tree: Path) -> Iterator[None]:
    (tree / "digits").mkdir()
    for i in range(3):
        (tree / "digits" / f"f{i}").write_text(str(i) * 2**20)
    with open(tree / "digits" / "huge", "wb") as huge:
        for i in range(32):
            huge.seek(i * 65536)
            huge.write((i + 1).to_bytes(8, sys.byteorder))
        huge.truncate(3 * 2**30)
    yield
    shutil.rmtree(tree / "digits")


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("tier", TIERS)
def test_careless_programs(same: Same, build: Build, tier: str) -> None:
    same(f"{build('careless', 'gcc')} {{box}}/digits", tier)


@pytest.fixture
def wide(tree: Path) -> Iterator[None]:
    """More entries than a page of READDIR's."""
    (tree / "wide").mkdir()
    for i in range(2500):
        (tree / "wide" / f"entry{i:04}").touch()
    yield
    shutil.rmtree(tree / "wide")


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("tier", TIERS)
def test_records_of_directories(same: Same, build: Build, tier: str) -> None:
    same(f"{build('records', 'gcc')} {{box}}/wide {{box}}/many", tier)


@pytest.mark.usefixtures("wide")
def test_records_of_directories_of_static_programs(same: Same, build: Build) -> None:
    same(f"{build('records', 'gcc', '-static')} {{box}}/wide {{box}}/many", "supervisor")


INTERRUPTS = "cd {{srv}}; touch lock; mkfifo waiting closed; {} {{box}} {{srv}}; rm waiting closed"


@pytest.mark.parametrize("tier", TIERS)
def test_calls_that_wait_are_interrupted_or_begun_again(same: Same, build: Build, tier: str) -> None:
    program = build("interrupts", "gcc")
    same(INTERRUPTS.format(program), tier)


def test_calls_of_static_programs_that_wait(same: Same, build: Build) -> None:
    program = build("interrupts", "i686-linux-gnu-gcc", "-static")
    same(INTERRUPTS.format(program), "supervisor")


@pytest.mark.parametrize("tier", TIERS)
def test_copies_into_what_takes_no_more_and_advice(same: Same, build: Build, tmp_path: Path, tier: str) -> None:
    same(f"{build('copies', 'gcc')} {{box}} {tmp_path}", tier)


@pytest.mark.parametrize("compiler", ["gcc", "i686-linux-gnu-gcc"])
def test_copies_and_advice_of_static_programs(same: Same, build: Build, tmp_path: Path, compiler: str) -> None:
    same(f"{build('copies', compiler, '-static')} {{box}} {tmp_path}", "supervisor")


# The fifo's writer waits for a word before it writes.
AIO = (
    "cd {{srv}}; mkfifo later go; "
    "{} {{box}} '(exec 3> {{srv}}/later; cat {{srv}}/go; printf 1234567 >&3) &' 'echo > {{srv}}/go'; rm later go"
)


@pytest.mark.parametrize("tier", TIERS)
def test_reads_that_go_on_meanwhile(same: Same, build: Build, tier: str) -> None:
    same(AIO.format(build("aio", "gcc")), tier)


def test_reads_that_go_on_meanwhile_of_static_programs(same: Same, build: Build) -> None:
    same(AIO.format(build("aio", "gcc", "-static")), "supervisor")


@pytest.mark.parametrize("tier", TIERS)
def test_calls_by_number(same: Same, build: Build, tier: str) -> None:
    same(f"{build('by_number', 'gcc')} {{box}}", tier)


def test_changes_by_number_are_refused(servers: Dict[str, Server], build: Build, tree: Path, tier: str) -> None:
    before = (tree / "text").stat()
    done = shell(f"{build('by_number', 'gcc')} {{box}} change", tree, command(servers["fast"].address, tree, tier))
    assert len(done.stdout.splitlines()) > 12
    assert {line.split(b" ", 1)[1] for line in done.stdout.splitlines()} == {b"-1 EROFS"}, done
    assert (tree / "text").stat() == before


def test_a_read_submitted_to_the_kernel_is_refused(
    servers: Dict[str, Server], build: Build, tree: Path, tier: str
) -> None:
    line = f"{build('by_number', 'gcc')} {{box}} submit"
    assert shell(line, tree).stdout == b"io_setup 0 \nio_submit 1 \n"
    done = shell(line, tree, command(servers["fast"].address, tree, tier))
    assert done.stdout == b"io_setup 0 \nio_submit -1 EINVAL\n", done


CATALOGUE = "printf '1 word\\n' | gencat {srv}/catalogue -; "


@pytest.mark.parametrize("tier", TIERS)
def test_calls_that_libc_makes_for_others(same: Same, build: Build, tier: str) -> None:
    if not shutil.which("gencat"):
        pytest.skip("no gencat")
    same(f"{CATALOGUE} {build('inside_libc', 'gcc')} {{box}}; rm {{srv}}/catalogue", tier)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What changes.c tries to change."""
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only root may mount")
    box = tmp_path_factory.mktemp("changes") / "box"
    (box / "dir").mkdir(parents=True)
    (box / "text").write_text("text\n")
    (box / "dir" / "file").write_text("file\n")
    for name, to in {"link": "text", "linkdir": "dir", "dangling": "nowhere", "loop": "loop"}.items():
        (box / name).symlink_to(to)
    os.mkfifo(box / "fifo")
    os.mknod(box / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(box / "socket"))
    (box.parent / "local").write_text("local\n")
    return box


@pytest.mark.parametrize("mode, tier, flags", [
    *(("fast", tier, []) for tier in TIERS), ("pure", "both", []), ("fast", "supervisor", ["-static"]),
])  # fmt: skip
def test_a_change_is_refused_as_by_a_read_only_mount(
    things: Path, servers: Dict[str, Server], tiers: Dict[str, str], build: Build, mode: str, tier: str,
    flags: "list[str]",
) -> None:  # fmt: skip
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    line = f"{build('changes', 'gcc', *flags)} {{box}} {things.parent / 'local'}"
    mounted = "mount --bind {box} {box} && mount -o remount,ro,bind {box} && exec " + line
    plain = shell(f"unshare -m sh -c '{mounted}'", things)
    remote = shell(line, things, command(servers[mode].address, things, tier))
    assert plain.stdout.count(b": EROFS\n") > 800
    assert remote == plain, difference(plain, remote)


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_spawned(same: Same, build: Build, tier: str) -> None:
    same(f"{build('spawns', 'gcc')} {{box}}", tier)


@pytest.mark.parametrize("tier", TIERS)
def test_executing(same: Same, build: Build, tier: str) -> None:
    same(f"{build('executes', 'gcc')} {{box}}", tier)


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc", "i686-linux-gnu-gcc"])
def test_executing_from_static_programs(same: Same, build: Build, compiler: str) -> None:
    same(f"{build('executes', compiler, '-static')} {{box}}", "supervisor")


WANDER = "cd {dir}; mkdir -p below locked; chmod 0 locked; touch only-local; {program} {{box}} {dir}"


@pytest.mark.parametrize("tier", TIERS)
def test_wandering(same: Same, build: Build, tmp_path: Path, tier: str) -> None:
    same(WANDER.format(dir=tmp_path, program=build("wander", "gcc")), tier)


@pytest.mark.parametrize("tier", TIERS[1:])
@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc", "i686-linux-gnu-gcc"])
def test_wandering_of_static_programs(
    same: Same, build: Build, tmp_path: Path, compiler: str, tier: str
) -> None:
    same(WANDER.format(dir=tmp_path, program=build("wander", compiler, "-static")), tier)


@pytest.mark.parametrize("tier", TIERS[1:])
@pytest.mark.parametrize(
    "compiler, flags",
    [("gcc", []), ("gcc", ["-static"]), ("musl-gcc", ["-static"]), ("i686-linux-gnu-gcc", ["-static"])],
)
def test_stdio_and_raw_calls(same: Same, build: Build, compiler: str, flags: "list[str]", tier: str) -> None:
    same(f"{build('stdio', compiler, *flags)} {{box}}", tier)


@pytest.mark.parametrize("tier", TIERS)
def test_a_program_with_a_sanitizer(same: Same, build: Build, tier: str) -> None:
    """Its runtime calls libc before libc has begun."""
    same(f"{build('stdio', 'gcc', '-DNO_RAW_CALLS', '-fsanitize=address', '-static-libasan')} {{box}}", tier)


@pytest.mark.parametrize("tier", TIERS)
def test_an_allocator_whose_first_call_starts_the_library(same: Same, build: Build, tier: str) -> None:
    """It can't be called again from there: by nothing that the library does when it starts."""
    library = build("allocator", "gcc", "-shared", "-fPIC")
    for preloaded in (f"$LD_PRELOAD:{library}", f"{library}:$LD_PRELOAD"):
        same(f"LD_PRELOAD={preloaded} READS={{box}}/link cat {{box}}/one; echo $?", tier)


def test_stdio_in_the_preload_tier(same: Same, build: Build) -> None:
    same(f"{build('stdio', 'gcc', '-DNO_RAW_CALLS')} {{box}}", "preload")


@pytest.mark.parametrize("tier", TIERS)
def test_a_remote_program_hears_of_itself(
    servers: Dict[str, Server], tiers: Dict[str, str], tmp_path: Path, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    box = tmp_path / "box"
    box.mkdir()
    source = str(PROGRAMS / "itself.c")
    shared = ["-shared"] if tier != "preload" else ["-c"]  # there the dynamic linker doesn't hear of it
    subprocess.run(["gcc", *shared, "-fPIC", "-DLIBRARY", "-o", box / "beside.so", source], check=True)
    link = ["-L.", "-l:beside.so", "-Wl,-rpath,$ORIGIN"]
    subprocess.run(["gcc", "-o", "itself", source, *link], cwd=box, check=True)
    plain = subprocess.run([box / "itself"], capture_output=True)
    away = box.rename(tmp_path / "away")
    run = [sys.executable, "-m", "remotec", "run", "-s", servers["fast"].address, "--tier", tier]
    done = subprocess.run([*run, "--remote", f"{box}={away}", "--", str(box / "itself")], capture_output=True)
    named = re.sub(rb", .*", b", 2560", plain.stdout)  # after the descriptor
    expected = named if tier == "supervisor" else plain.stdout
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", expected)


@pytest.mark.parametrize("tier", TIERS[1:])
def test_go(same: Same, tmp_path: Path, tier: str) -> None:
    if not shutil.which("go"):
        pytest.skip("no go")
    environment = {"HOME": str(tmp_path), "CGO_ENABLED": "0", "GO111MODULE": "off", "PATH": "/usr/bin:/bin"}
    program = tmp_path / "reader"
    root = subprocess.run(["go", "env", "GOROOT"], env=environment, capture_output=True, text=True).stdout.strip()
    if not Path(root, "src/io/fs").is_dir():
        pytest.skip("this Go has no os.ReadFile (it's older than 1.16)")
    source = str(PROGRAMS / "reader.go")
    subprocess.run(["go", "build", "-o", str(program), source], env=environment, check=True)
    same(f"{program} {{box}}", tier)


ATTRIBUTES_BY_O_PATH = """python3 -c '
import os
for name in ("text", "dir"):
    fd = os.open(f"{{box}}/{name}", os.O_PATH)
    for call in (lambda: os.getxattr(fd, "user.a"), lambda: os.listxattr(fd), lambda: os.fstatvfs(fd).f_namemax):
        try:
            print(call())
        except OSError as error:
            print(error)
'"""


@pytest.mark.parametrize("tier", TIERS)
def test_attributes_of_what_is_only_a_path(same: Same, tier: str) -> None:
    same(ATTRIBUTES_BY_O_PATH, tier)

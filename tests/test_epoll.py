# SPDX-License-Identifier: MIT
"""epoll of what may not be ready on the server: in every way, by programs of every kind, beside what is local."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Dict, Iterator

import pytest

from conftest import Same
from oracle import TIERS, command
from relay import CountingRelay

PROGRAMS = Path(__file__).parent / "c" / "programs"
MAKE = """
rm -f {srv}/waiting {srv}/other; mkfifo {srv}/waiting {srv}/other
ln -sf /dev/zero {srv}/zero; ln -sf /dev/null {srv}/null; ln -sf /dev/random {srv}/random
""".strip()


@pytest.fixture(autouse=True)
def no_fifo_stays(tree: Path) -> Iterator[None]:
    """In the tree that other tests walk."""
    yield
    for name in ("waiting", "other", "zero", "null", "random"):
        (tree / name).unlink(missing_ok=True)


def build(scratch: Path, compiler: str, *flags: str) -> Path:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    target = scratch / "program"
    words = [compiler, "-w", "-O1", *flags, "-o", str(target), str(PROGRAMS / "epolls.c"), "-lpthread"]
    subprocess.run(words, check=True)
    return target


@pytest.mark.parametrize("tier", TIERS)
def test_every_way_of_waiting(same: Same, tmp_path: Path, tier: str) -> None:
    same(f"{MAKE}; {build(tmp_path, 'gcc')} {{box}} {{srv}}", tier)


def test_every_way_with_a_pure_server(same: Same, tmp_path: Path) -> None:
    same(f"{MAKE}; {build(tmp_path, 'gcc')} {{box}} {{srv}}", "preload", "pure")


@pytest.mark.parametrize("compiler", ["gcc", "i686-linux-gnu-gcc"])
def test_every_way_of_static_programs(same: Same, tmp_path: Path, compiler: str) -> None:
    same(f"{MAKE}; {build(tmp_path, compiler, '-static')} {{box}} {{srv}}", "both")


# ---------------------------------------------------------------------------------------------------- event loops

LATER = "{ sleep 0.5; for i in 1 2 3; do sleep 0.1; echo $i; done; } > {srv}/waiting &"

SELECTORS = """
import os, selectors, socket, sys
fifo = open(sys.argv[1] + "/waiting", "rb", buffering=0, opener=lambda p, f: os.open(p, f | os.O_NONBLOCK))
near, far = socket.socketpair()
with selectors.EpollSelector() as selector:
    selector.register(fifo, selectors.EVENT_READ, "fifo")
    selector.register(near, selectors.EVENT_READ, "socket")
    far.send(b"x")
    print([(key.data, events) for key, events in selector.select(9)], near.recv(1))
    seen = b""
    while seen != b"1\\n2\\n3\\n":
        for key, events in selector.select(9):
            assert key.data == "fifo" and events == selectors.EVENT_READ
            seen += fifo.read(100) or b""
    print(seen, selector.unregister(fifo).data, selector.select(0.05))
"""

ASYNCIO = """
import asyncio, os, sys
async def main():
    loop = asyncio.get_running_loop()
    fifo = os.open(sys.argv[1] + "/waiting", os.O_RDONLY)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fifo, "rb"))
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.02)
    ticking = asyncio.create_task(tick())
    print([line async for line in reader], ticks > 5)
    ticking.cancel()
asyncio.run(main())
"""

NODE = """
const net = require('net'), fs = require('fs');
const fd = fs.openSync(process.argv[2] + '/waiting', fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
let ticks = 0;
const timer = setInterval(() => ticks++, 20);
let seen = '';
new net.Socket({ fd, readable: true, writable: false }).on('data', d => {
    seen += d;
    if (seen === '1\\n2\\n3\\n') { clearInterval(timer); console.log(seen, ticks > 5); process.exit(0); }
}).on('error', e => console.log(e.message));
"""

GO = """
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"time"
)

func main() {
	var group sync.WaitGroup
	read, write, _ := os.Pipe()
	group.Add(2)
	go func() {
		defer group.Done()
		line, err := bufio.NewReader(read).ReadString('\\n')
		fmt.Printf("%q %v\\n", line, err)
		write.Close()
	}()
	go func() {
		defer group.Done()
		file, err := os.Open(os.Args[1] + "/waiting")
		if err != nil {
			panic(err)
		}
		fmt.Println(file.SetReadDeadline(time.Now().Add(20 * time.Second)))
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			fmt.Println(lines.Text())
		}
		fmt.Println(lines.Err(), file.Close())
		fmt.Fprintln(write, "over")
	}()
	group.Wait()
	file, _ := os.OpenFile(os.Args[1]+"/other", os.O_RDONLY|0x800, 0)
	keep, _ := os.OpenFile(os.Args[2]+"/other", os.O_WRONLY, 0)
	fmt.Println(file.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
	_, err := file.Read(make([]byte, 9))
	fmt.Println(os.IsTimeout(err), file.SetReadDeadline(time.Time{}))
	go func() {
		time.Sleep(50 * time.Millisecond)
		file.Close()
	}()
	_, err = file.Read(make([]byte, 9))
	fmt.Println(err != nil, keep.Close())
}
"""


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("script", [SELECTORS, ASYNCIO], ids=["selectors", "asyncio"])
def test_event_loops_of_python(same: Same, tmp_path: Path, tier: str, script: str) -> None:
    (tmp_path / "script.py").write_text(script)
    same(f"{MAKE}; {LATER} python3 {tmp_path}/script.py {{box}} {{srv}}; wait", tier)


@pytest.mark.parametrize("tier", TIERS)
def test_event_loop_of_node(same: Same, tmp_path: Path, tier: str) -> None:
    if not shutil.which("node"):
        pytest.skip("no node")
    (tmp_path / "script.js").write_text(NODE)
    same(f"{MAKE}; {LATER} node {tmp_path}/script.js {{box}} {{srv}}; wait", tier)


@pytest.mark.parametrize("tier", TIERS[1:])
def test_event_loop_of_go(same: Same, tmp_path: Path, tier: str) -> None:
    if not shutil.which("go"):
        pytest.skip("no go")
    (tmp_path / "main.go").write_text(textwrap.dedent(GO))
    environment = {"HOME": str(tmp_path), "CGO_ENABLED": "0", "GO111MODULE": "off", "PATH": "/usr/bin:/bin"}
    words = ["go", "build", "-o", str(tmp_path / "program"), str(tmp_path / "main.go")]
    subprocess.run(words, env=environment, check=True)
    same(f"{MAKE}; {LATER} {tmp_path}/program {{box}} {{srv}}; wait", tier)


# --------------------------------------------------------------------------------------------------------- cost

COSTS = """
import os, select, sys
fifo = os.open("/box/pipe", os.O_RDONLY | os.O_NONBLOCK)
writer = os.open(sys.argv[1] + "/pipe", os.O_WRONLY)
local, other = os.pipe()
sets = select.epoll(), select.epoll()
for each in sets:
    each.register(local, select.EPOLLIN)
sets[0].register(fifo, select.EPOLLIN)
for _ in range({waits}):
    assert not sets[0].poll(0) and not sets[1].poll(0)
os.write(writer, b"x" * 9)
for _ in range({waits}):
    assert sets[0].poll(9) and not sets[1].poll(0)
for _ in range({reads}):
    os.read(fifo, 1)
sets[0].unregister(fifo)
os.write(1, b"done")
"""


@pytest.mark.parametrize("tier", TIERS)
def test_waiting_costs_no_round_trip_and_reading_one_more(
    relay: CountingRelay, tiers: Dict[str, str], tmp_path: Path, tier: str
) -> None:
    if tiers[tier]:
        pytest.skip(f"no {tier} tier here: {tiers[tier]}")
    os.mkfifo(tmp_path / "pipe")

    def polls(**numbers: int) -> "tuple[int, int]":
        relay.counts.clear()
        words = [sys.executable, "-S", "-c", COSTS.format(**numbers), str(tmp_path)]
        done = subprocess.run(
            command(relay.address, tmp_path, tier, "--local", "/") + words, capture_output=True, timeout=60
        )
        assert (done.stdout, done.stderr) == (b"done", b"")
        return relay.counts["POLL"], relay.counts["READ"]

    few, more, reads = polls(waits=1, reads=0), polls(waits=40, reads=0), polls(waits=1, reads=5)
    assert more == few
    assert reads[1] == 5 and reads[0] <= few[0] + 10  # what there is now; and to be told of what comes

# SPDX-License-Identifier: MIT
"""Real programs, plainly and through each tier."""

from __future__ import annotations

import pytest

from conftest import Same
from oracle import TIERS


def lines(text: str) -> "list[str]":
    """What is indented goes on the line before."""
    return text.strip().replace("\n    ", " ").splitlines()


READING = lines(r"""
cat {box}/text {box}/empty {box}/one | md5sum
head -c 1000 {box}/bin | md5sum; tail -c 1000 {box}/bin | md5sum; tail -n 3 {box}/text; head -n 2 {box}/text
dd if={box}/bin bs=1000 skip=7 count=3 2>/dev/null | md5sum; dd if={box}/bin bs=64k status=none | md5sum
od -A d -t x1 -N 64 {box}/bin; cmp {box}/text {box}/hard && cmp {box}/text {box}/bin
md5sum {box}/bin | cut -c1-32; sha256sum < {box}/bin; wc {box}/text {box}/lines; wc -c < {box}/sparse
cp {box}/bin /tmp/remotec-test.$$ && cmp /tmp/remotec-test.$$ {box}/bin && rm /tmp/remotec-test.$$
test -r {box}/text && test -e {box}/link && test -f {box}/up && test -s {box}/one && ! test -s {box}/empty; echo $?
[ {box}/text -nt {box}/many/f001 ]; echo $?; [ {box}/text -ef {box}/hard ]; echo $?; [ -p {box}/fifo ]; echo $?
stat -c '%n %s %b %f %h %i %u %g %a %Y %X %w' {box}/text {box}/link {box}/many {box}/fifo; stat -L -c %i {box}/link
sh -c 'cat < {box}/text' | md5sum; (cat; echo end) < {box}/one; cat {box}/text | head -1
bash -c 'exec 3<{box}/lines; read -u 3 a; read -u 3 b; echo $a $b; head -c 10 <&3; cat <&3 | md5sum'
exec 7<{box}/text; head -c 5 <&7; cat <&7 | md5sum; exec 7<&-
while read -r a b; do echo "$b"; done < {box}/many/f003; mapfile -t x < {box}/lines; echo ${#x[@]}
awk '{n += $1} END {print n}' {box}/lines; awk '{n += $1} END {print n}' < {box}/lines; sed -n 5p < {box}/text
grep -c 7 {box}/lines; grep -rl needle {box}/many | wc -l; sort -rn {box}/lines | head -3; cut -d' ' -f1 < {box}/text |
    tail -1
perl -ne 'print if $. == 9' {box}/text; perl -e 'open F, "<", "{box}/text"; seek F, 100, 0; print tell(F), scalar <F>'
python3 -c 'import os; d = os.open("{box}/bin", 0); print(os.fstat(d).st_size, os.lseek(d, 7, 0), os.read(d, 9),
    os.pread(d, 5, 99), os.lseek(d, -3, 2), os.read(d, 9), os.read(d, 9))'
python3 -c 'import os; d = os.open("{box}/bin", 0); a = [bytearray(5), bytearray(7)]; print(os.readv(d, a), a,
    os.preadv(d, a, 100), a); os.dup2(d, 9); print(os.read(9, 4)); os.close(d); print(os.read(9, 4))'
python3 -c 'print(open("{box}/text").read()[-99:], open("{box}/text", "rb").readlines()[77]); import io;
    print(len(io.open("{box}/bin", "rb").read()))'
python3 -c 'import os; f = os.open("{box}/sparse", 0); os.lseek(f, 3 << 30, 0); print(os.read(f, 10), os.lseek(f, 0,
    os.SEEK_DATA), os.lseek(f, 0, os.SEEK_HOLE), os.lseek(f, 0, 2), os.read(f, 1))'
python3 -c 'import subprocess; print(subprocess.run(["md5sum"], stdin=open("{box}/bin"), capture_output=True).stdout)'
python3 -c 'import os, hashlib, threading, glob; s = []; fs = sorted(glob.glob("{box}/many/*")); ts =
    [threading.Thread(target=lambda k: s.extend((f, hashlib.md5(open(f, "rb").read()).hexdigest()) for f in fs[k::32]),
    args=(k,)) for k in range(32)]; [t.start() for t in ts]; [t.join() for t in ts]; print(hash(tuple(sorted(s))) and
    sorted(x[1] for x in s))'
cat {box}/"with space" {box}/new$'\n'line {box}/caf$'\xe9'\ latin1 {box}/ünïcode
split -n 3 {box}/text /tmp/remotec-split.$$. && cat /tmp/remotec-split.$$.* | md5sum; rm /tmp/remotec-split.$$.*
cat <(cat {box}/text) {box}/one | md5sum; for i in 1 2 3 4; do md5sum < {box}/bin & done; wait
(sleep 0.2; echo late) > {srv}/fifo & cat {box}/fifo; wait
dd if={box}/bin iflag=direct bs=4096 count=9 status=none | md5sum; wc {box}/many; python3 -c 'import ctypes; c =
    ctypes.CDLL(None, use_errno=True); c.fopen.restype = ctypes.c_void_p; f = ctypes.c_void_p(c.fopen(b"{box}/many",
    b"r")); print(c.fgetc(f), c.ferror(f) != 0, ctypes.get_errno())'
strings {box}/elf | md5sum; xxd {box}/elf | tail -2; gzip -c < {box}/text | gzip -dc | md5sum; tac {box}/lines | head -2
""")

ERRORS = lines(r"""
cat {box}/missing; cat {box}/text/below; cat {box}/loop; cat {box}/dangling; cat {box}/many; ls {box}/missing/more
python3 -c 'import os; os.open("{box}/" + "n" * 300, 0)' 2>&1 | tail -1; python3 -c 'import os; os.open("{box}/" + "n/"
    * 3000, 0)' 2>&1 | tail -1
python3 -c 'import os; os.read(os.open("{box}/many", 0), 1)' 2>&1 | tail -1; python3 -c 'import os;
    os.pread(os.open("{box}/text", 0), 1, -1)' 2>&1 | tail -1
python3 -c 'import os; os.open("{box}/text", os.O_DIRECTORY)' 2>&1 | tail -1; python3 -c 'import os;
    os.open("{box}/link", os.O_NOFOLLOW)' 2>&1 | tail -1
python3 -c 'import os; os.lseek(os.open("{box}/text", 0), 0, 99)' 2>&1 | tail -1; python3 -c 'import os;
    os.write(os.open("{box}/text", 0), b"")' 2>&1 | tail -1
python3 -c 'import os; print(os.access("{box}/missing", 0), os.access("{box}/text", os.X_OK), os.access("{box}/elf",
    os.X_OK))'
python3 -c 'import ctypes, os; c = ctypes.CDLL(None, use_errno=True); print(c.read(os.open("{box}/text", 0),
    ctypes.c_void_p(8), 10), ctypes.get_errno())'
getfattr -d {box}/text; getfattr -n user.missing {box}/text; python3 -c 'import os; os.getxattr("{box}/text",
    "user.none")' 2>&1 | tail -1
""")

TREES = lines(r"""
ls -lA {box}; ls -f {box}/many | sort | md5sum; ls -ltu --full-time {box}/many | head -5; ls -liS {box}; ls -R {box}/sub
find {box} -printf '%P %y %m %s %n %l %TY-%Tm-%Td %T+\n' | sort; find {box} -xtype l | sort; find {box} -newer
    {box}/many/f001 -type f | sort | wc -l
find {box}/many -name 'f00*' -exec cat {} + | md5sum; find {box}/many -name f001 -execdir pwd \; ; find {box} -inum
    $(stat -c %i {box}/text) | sort
du -a --apparent-size {box}/many | sort -k2 | tail -3; du -s {box}/many; diff -r {box}/many {box}/repository; echo
    {box}/w* {box}/many/f00?
tar cf - -C {box} many --sort=name | tar tf - | md5sum; cp -a {box}/many /tmp/remotec-cp.$$ && diff -r {box}/many
    /tmp/remotec-cp.$$; rm -r /tmp/remotec-cp.$$
cd {box}/many && pwd && ls | head -2 && cat f001 && cd .. && cat link | md5sum; cd sub/deep && ls -d ../../text; pwd -P
cd {box} && find . | sort | md5sum; cd sub && python3 -c 'import os; print(os.getcwd()); os.chdir("..");
    print(os.getcwd()); os.chdir("/"); print(os.getcwd())'
cd {box} && python3 -c 'import subprocess; print(subprocess.run(["head", "-1", "text"], capture_output=True,
    close_fds=True))'; cd /usr && pwd
cd {box} && ulimit -Sn 5000 && python3 -c 'import ctypes, os; c = ctypes.CDLL(None);
    [(c.close(f), c.dup2(0, f)) for f in range(3, 4096)]; os.execlp("cat", "cat", "text")' | md5sum; head -n 1 text; pwd
realpath {box}/link {box}/sub/../many; readlink {box}/link; readlink -f {box}/sub/deep/../../link; readlink {box}/text
perl -MFile::Find -e 'find(sub { $n++ }, "{box}"); print $n'; python3 -c 'import os, glob, pathlib;
    print(len(list(os.walk("{box}"))), len(glob.glob("{box}/*/*")), sorted(os.listdir("{box}"))[:4])'
cd {box}/many && python3 -c 'import ctypes, os; c = ctypes.CDLL(None, use_errno=True); print([(c.chdir(each),
    ctypes.get_errno()) for each in (None, b"", b"no", b"/no", b"f001")], os.getcwd(), os.path.exists("f001"))'
rsync -a {box}/many/ /tmp/remotec-rs.$$ && ls /tmp/remotec-rs.$$ | wc -l; rm -r /tmp/remotec-rs.$$
python3 -c 'import os; f = os.open("{box}/many", os.O_DIRECTORY); print(os.stat("f001", dir_fd=f).st_size,
    os.open("f002", 0, dir_fd=f) > 0, len(os.listdir(f))); os.fchdir(f); print(len(os.listdir(".")))'
bash -c 'shopt -s globstar nullglob; a=({box}/**/f00*); echo ${#a[@]}'; python3 -B -c 'import sys; sys.path.insert(0,
    "{box}/package"); import module; print(module.X)'
git -C {box}/repository log --oneline | wc -l; git -C {box}/repository grep -c needle | head -3; git -C {box}/repository
    fsck
sqlite3 -readonly {box}/db 'select sum(a), sum(b) from t'; file {box}/elf {box}/text {box}/fifo {box}/link; readelf -h
    {box}/elf; nm -D {box}/elf | md5sum
python3 -c 'import mmap; f = open("{box}/bin", "rb"); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); print(len(m),
    m[:9], m[-9:], m.find(b"zz"))'
python3 -c 'import os; print(os.statvfs("{box}").f_namemax, os.pathconf("{box}", "PC_NAME_MAX"),
    os.pathconf("{box}", "PC_SYNC_IO"))'; stat -f -c '%T %s %l' {box}
python3 -c 'import os; a = os.open("{box}/bin", 0); b = os.memfd_create("x"); print(os.sendfile(b, a, 0, 100),
    os.pread(b, 3, 0), os.sendfile(b, a, None, 7), os.lseek(a, 0, 1)); r, w = os.pipe(); print(os.splice(a, w, 30),
    os.read(r, 99))'
flock -s {box}/text echo locked; python3 -c 'import fcntl, os; f = os.open("{box}/text", 0); fcntl.lockf(f,
    fcntl.LOCK_SH); print("shared"); fcntl.lockf(f, fcntl.LOCK_EX)' 2>&1 | tail -1
python3 -c 'import os, time, fcntl, termios; f = os.open("{box}/bin", 0); r, w = os.pipe(); p = os.fork();
    p or (os.sendfile(w, f, 0, 3000000), time.sleep(99)); os.close(w); n = lambda: int.from_bytes(fcntl.ioctl(r,
    termios.FIONREAD, bytes(4)), "little"); all(n() < 65536 and not time.sleep(0.05) for _ in range(400));
    os.kill(p, 9); os.waitpid(p, 0);
    print(sum(map(len, iter(lambda: os.read(r, 65536), b""))))'
python3 -c 'import os; f = os.open("{box}/bin", 0); os.splice(f, os.memfd_create("x"), 9)' 2>&1 | tail -1
""")

STATIC = lines(r"""
busybox cat {box}/text | md5sum; busybox wc {box}/lines; busybox md5sum < {box}/bin; busybox grep -c 7 {box}/lines
busybox head -n 2 {box}/text; busybox stat -c '%s %a %Y' {box}/sparse; busybox test -r {box}/text && echo yes; busybox
    ls {box}
busybox sh -c 'cat < {box}/text | wc -c; while read a b; do echo $b; done < {box}/many/f002'; busybox find {box} -type f
    | sort | tail -3
cd {box} && busybox cat one && busybox ls -l many | tail -1; busybox sh -c 'cd many && pwd && ls | wc -l && cd .. && cat
    one'
busybox cat {box}/missing; busybox dd if={box}/bin bs=64k skip=10 2>/dev/null | md5sum; busybox tar cf - -C {box} many |
    wc -c
""")

EXECUTED = lines(r"""
{box}/elf -d {box}/many; {box}/script a b; {box}/plain a; cd {box} && ./elf -d many && ./script q; env {box}/elf -d /usr
{box}/text; echo $?; {box}/many; echo $?; {box}/missing; echo $?; sh {box}/script a
PATH={box}:$PATH elf -d /usr; python3 -c 'import subprocess; print(subprocess.run(["{box}/script", "x"],
    capture_output=True).stdout)'
{box}/awk x; {box}/bad; echo $?; {box}/quiet; echo $?; cd {box}/sub; ../script up; env ../true; echo $?
find {box}/many -name f001 -exec {box}/elf {} \; ; perl -e 'system("{box}/elf -d /usr"); print `{box}/script b`'
""")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("line", READING + ERRORS + TREES)
def test_dynamic_programs(same: Same, line: str, tier: str) -> None:
    same(line, tier)


@pytest.mark.parametrize("line", READING[::2] + ERRORS[::2] + TREES[1::2])
def test_a_pure_python_server(same: Same, line: str) -> None:
    same(line, "preload", "pure")


@pytest.mark.parametrize("tier", TIERS[1:])
@pytest.mark.parametrize("line", STATIC)
def test_static_programs(same: Same, line: str, tier: str) -> None:
    same(line, tier)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("line", EXECUTED)
def test_programs_that_are_remote_themselves(same: Same, line: str, tier: str) -> None:
    same(line, tier)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "status", ["true", "false", "exit 77", "kill -9 $$", "kill -TERM $$", "/nonexistent", "/etc/passwd"]
)
def test_exit_status(same: Same, status: str, tier: str) -> None:
    same(f"({status}); echo $?", tier)

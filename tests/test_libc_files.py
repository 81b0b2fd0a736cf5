# SPDX-License-Identifier: MIT
"""What libc opens by calls of its own: users and groups, mount tables, temporary names, fts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Dict

from conftest import Same
from oracle import Server

PROGRAM = """
import ctypes, grp, os, pwd, sys
libc = ctypes.CDLL(None, use_errno=True)
print(pwd.getpwnam("visitor"), pwd.getpwuid(4242).pw_name, grp.getgrnam("visitors"), grp.getgrgid(4343).gr_name)
for look, key in ((pwd.getpwnam, "daemon"), (pwd.getpwuid, 1), (grp.getgrnam, "daemon"), (grp.getgrgid, 1)):
    try:
        print(look(key))
    except KeyError as error:
        print(error)
class Passwd(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("name", "password")] + [(i, ctypes.c_uint) for i in ("uid", "gid")]
for call, key in ((libc.getpwnam, b"visitor"), (libc.getpwuid, 4242), (libc.getpwnam, b"long"), (libc.getpwnam, b"-")):
    call.restype = ctypes.POINTER(Passwd)
    found = call(key)
    print(found.contents.name if found else None, found.contents.gid if found else "")
print([user.pw_name for user in pwd.getpwall()], [user.pw_uid for user in pwd.getpwall()])
print([group.gr_name for group in grp.getgrall()], os.getgrouplist("other", 7), os.getgrouplist("nobody", 7))
class Password(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("password", ctypes.c_char_p), ("changed", ctypes.c_long)]
libc.getspnam.restype = libc.getspent.restype = ctypes.POINTER(Password)
print(libc.getspnam(b"visitor").contents.password, bool(libc.getspnam(b"daemon")))
print([libc.getspent().contents.name for _ in range(2)], bool(libc.getspent()))
"""

REFUSED = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def tell(call, *arguments):
    result = getattr(libc, call)(*arguments)
    print(call, result, errno.errorcode.get(ctypes.get_errno()))
here = sys.argv[1].encode()
tell("mount", b"none", here, b"tmpfs", 0, None)
tell("umount", here)
tell("umount2", here, 0)
tell("swapon", here + b"/text", 0)
tell("swapoff", here + b"/text")
tell("acct", here + b"/text")
tell("chroot", here)
tell("fanotify_mark", -1, 1, 2, -100, here)
folder = os.open(here, os.O_RDONLY)
tell("fanotify_mark", -1, 1, ctypes.c_uint64(2), folder, None)
tell("mount", here, b"/nowhere", None, 4096, None)
tell("pivot_root", b"/nowhere", here)
tell("open_tree", -100, here, 0)
tell("open_tree", folder, b"", 0x1000)
tell("move_mount", -100, here, -100, b"/nowhere", 0)
tell("move_mount", -100, b"/nowhere", -100, here, 0)
tell("fspick", -100, here, 0)
tell("mount_setattr", -100, here, 0, None, 0)
tell("quotactl", 0x80000700, here + b"/text", 0, None)
device = ctypes.byref(ctypes.c_ulong())
tell("__xmknod", 0, here + b"/new", 0o100600, device)
tell("__xmknodat", 0, folder, b"new", 0o100600, device)
tell("__xmknodat", 0, folder, b"text", 0o100600, device)
"""

NAMES = r"""
python3 -c 'import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
for name, more in (("mkstemp", ()), ("mkostemp", (0,)), ("mkstemps", (0,)), ("mkstemp64", ()), ("mkdtemp", ())):
    for where in ("{box}/many", "{box}/missing"):
        path = ctypes.create_string_buffer(os.fsencode(where + "/XXXXXX"))
        print(name, getattr(c, name)(path, *more), ctypes.get_errno())'
ls -d {box}/many/??????
"""


def test_users_and_groups_are_the_servers(servers: Dict[str, Server], tmp_path: Path, tier: str) -> None:
    (tmp_path / "passwd").write_text(
        f"# a comment\nvisitor:x:4242:4343:A Visitor:/home/visitor:/bin/sh\nlong:x:5:6:{'x' * 5000}:/:/bin/sh\n"
    )
    (tmp_path / "group").write_text("visitors:x:4343:visitor,other\nfirst:x:4:\nmore:x:5:a,other\nagain:x:5:other\n")
    (tmp_path / "shadow").write_text("visitor:secret:100::::::\nsecond:*:200::::::\n")
    remotec = [sys.executable, "-m", "remotec", "run", "-s", servers["fast"].address, "--tier", tier]
    rules = [word for name in ("passwd", "group", "shadow") for word in ("--remote", f"/etc/{name}={tmp_path / name}")]
    done = subprocess.run(
        [*remotec, *rules, "--", "python3", "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "pwd.struct_passwd(pw_name='visitor', pw_passwd='x', pw_uid=4242, pw_gid=4343, pw_gecos='A Visitor', "
        "pw_dir='/home/visitor', pw_shell='/bin/sh') visitor "
        "grp.struct_group(gr_name='visitors', gr_passwd='x', gr_gid=4343, gr_mem=['visitor', 'other']) visitors",
        "\"getpwnam(): name not found: 'daemon'\"",
        "'getpwuid(): uid not found: 1'",
        "\"getgrnam(): name not found: 'daemon'\"",
        "'getgrgid(): gid not found: 1'",
        "b'visitor' 4343",
        "b'visitor' 4343",
        "b'long' 6",
        "None ",
        "['visitor', 'long'] [4242, 5]",
        "['visitors', 'first', 'more', 'again'] [7, 4343, 5, 5] [7]",
        "b'secret' False",
        "[b'visitor', b'second'] False",
    ]


def test_temporary_names_are_refused_as_by_a_read_only_mount(
    servers: Dict[str, Server], tree: Path, tier: str
) -> None:
    line = NAMES.replace("{box}", "/box")
    remotec = [sys.executable, "-m", "remotec", "run", "-s", servers["fast"].address, "--tier", tier]
    done = subprocess.run(
        [*remotec, "--remote", f"/box={tree}", "--", "sh", "-c", line], capture_output=True, text=True, timeout=60
    )
    results = {line.rsplit(" ", 2)[0]: [] for line in done.stdout.splitlines()}  # type: Dict[str, list[str]]
    for each in done.stdout.splitlines():
        results[each.rsplit(" ", 2)[0]].append(each.rsplit(" ", 2)[2])
    assert list(results.values()) == [["30", "2"]] * 5
    assert not list((tree / "many").glob("??????"))


def test_a_mount_table_is_the_servers(same: Same, tree: Path, tier: str) -> None:
    (tree / "table").write_text("what /where type rw,one 0 0\nmore /there kind ro 1 2\n")
    program = (
        "import ctypes; c = ctypes.CDLL(None); c.setmntent.restype = ctypes.c_void_p; "
        'f = ctypes.c_void_p(c.setmntent(b"{box}/table", b"r")); g = c.getmntent; '
        "g.restype = ctypes.POINTER(ctypes.c_char_p * 4); "
        "print(*(g(f).contents[:] for i in (1, 2)), bool(g(f)), c.endmntent(f))"
    )
    same(f"python3 -c '{program}'", tier)


def test_a_remote_file_is_not_mounted_nor_accounted_to(servers: Dict[str, Server], tree: Path, tier: str) -> None:
    remotec = [sys.executable, "-m", "remotec", "run", "-s", servers["fast"].address, "--tier", tier]
    words = [*remotec, "--remote", f"/box={tree}", "--", "python3", "-c", REFUSED, "/box"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n") == [
        "mount -1 ENOSYS", "umount -1 EINVAL", "umount2 -1 EINVAL", "swapon -1 EINVAL", "swapoff -1 EINVAL",
        "acct -1 EROFS", "chroot -1 ENOSYS", "fanotify_mark -1 ENOSYS",
        "fanotify_mark -1 ENOSYS", "mount -1 ENOSYS", "pivot_root -1 EINVAL", "open_tree -1 ENOSYS",
        "open_tree -1 ENOSYS", "move_mount -1 ENOSYS", "move_mount -1 ENOSYS", "fspick -1 EINVAL",
        "mount_setattr -1 EINVAL", "quotactl -1 ENOTBLK", "__xmknod -1 EROFS", "__xmknodat -1 EROFS",
        "__xmknodat -1 EEXIST", "",
    ]  # fmt: skip


def test_a_library_is_loaded_into_a_namespace(same: Same, tree: Path, tier: str) -> None:
    source = "int answer(void) { return 42; }"
    subprocess.run(["cc", "-shared", "-o", tree / "plugin.so", "-x", "c", "-"], input=source.encode(), check=True)
    program = (
        "import ctypes; c = ctypes.CDLL(None); c.dlmopen.restype = c.dlsym.restype = ctypes.c_void_p; "
        'h = c.dlmopen(ctypes.c_long(-1), b"{box}/plugin.so", 2); '
        'print(ctypes.CFUNCTYPE(ctypes.c_int)(c.dlsym(ctypes.c_void_p(h), b"answer"))()); '
        'print(c.dlmopen(ctypes.c_long(-1), b"{box}/missing.so", 2))'
    )
    same(f"python3 -c '{program}'", tier)


def test_a_library_that_only_this_machine_has_is_not_loaded(
    servers: Dict[str, Server], tree: Path, tmp_path: Path, tier: str
) -> None:
    subprocess.run(["cc", "-shared", "-o", tmp_path / "only.so", "-x", "c", "/dev/null"], check=True)
    remotec = [sys.executable, "-m", "remotec", "run", "-s", servers["fast"].address, "--tier", tier]
    program = "import ctypes, sys; c = ctypes.CDLL(None); print(c.dlopen(sys.argv[1].encode(), 2))"
    words = ["python3", "-c", program, f"{tmp_path}/only.so"]
    assert subprocess.run(words, capture_output=True, timeout=60).stdout != b"0\n"
    words = [*remotec, "--remote", f"{tmp_path}={tree}", "--", *words]
    assert subprocess.run(words, capture_output=True, timeout=60).stdout == b"0\n"

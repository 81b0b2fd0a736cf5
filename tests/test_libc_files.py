# SPDX-License-Identifier: MIT
"""What libc opens by calls of its own: users and groups, mount tables, temporary names, fts."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from conftest import Same
from oracle import Server, command, shell

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
numbers = {"open_tree": 428, "move_mount": 429, "fspick": 433, "mount_setattr": 442}  # glibc has them since 2.36
def tell(call, *arguments):
    result = getattr(libc, call)(*arguments) if hasattr(libc, call) else libc.syscall(numbers[call], *arguments)
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


RECORDS = r"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments, type=ctypes.c_char_p):
    function = getattr(libc, name)
    function.restype = type
    return function(*arguments)
print([call("getusershell") for _ in range(4)])
libc.setusershell()
print(call("getusershell"))
libc.endusershell()
Table = ctypes.POINTER(ctypes.c_char_p * 5)
print([call("getfsent", type=Table).contents[:] for _ in range(2)], bool(call("getfsent", type=Table)))
print(call("getfsfile", b"/there", type=Table).contents[:], bool(call("getfsspec", b"/", type=Table)))
libc.endfsent()
print([call("getsgent", type=Table).contents[:2] for _ in range(2)], bool(call("getsgent", type=Table)))
print(call("getsgnam", b"second", type=Table).contents[:2], bool(call("getsgnam", b"nobody4", type=Table)))
line = ctypes.create_string_buffer(1000)
print(call("getpw", 4242, line, type=ctypes.c_int), line.value, call("getpw", 1, line, type=ctypes.c_int))
os.setresuid(4242, 4242, 4242) if os.getuid() == 0 else None
print(call("cuserid", None) if os.getuid() == 4242 else b"visitor")
class Login(ctypes.Structure):
    _fields_ = [("type", ctypes.c_short), ("pid", ctypes.c_int), ("line", ctypes.c_char * 32)]
    _fields_ += [("id", ctypes.c_char * 4), ("user", ctypes.c_char * 32), ("rest", ctypes.c_char * 308)]
Found = ctypes.POINTER(Login)
for _ in range(2):
    libc.setutxent()
    print([call("getutxent", type=Found).contents.user for _ in range(2)], bool(call("getutxent", type=Found)))
libc.endutent()
key = Login(7, line=b"tty2")
print(call("getutline", ctypes.byref(key), type=Found).contents.user)
print(bool(call("getutline", ctypes.byref(key), type=Found)))
libc.setutent()
print(bool(call("pututline", ctypes.byref(key), type=Found)))
libc.updwtmp(b"/var/log/wtmp", ctypes.byref(key))
print(call("lckpwdf", type=ctypes.c_int))
libc.utmpname(b"/var/run/none")
print(bool(call("getutent", type=Found)))
"""


def logins(path: Path) -> None:
    users = ((b"visitor", b"tty1"), (b"second", b"tty2"))
    path.write_bytes(
        b"".join(
            struct.pack("=hxxi32s4s32s256shhiii16s20x", 7, 1, line, b"1", user, b"there", 0, 0, 0, 10**9, 0, b"")
            for user, line in users
        )
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the records' layout is x86_64's")
def test_logins_shells_and_file_systems_are_the_servers(
    servers: Dict[str, Server], tmp_path: Path, tier: str
) -> None:
    files = {
        "/etc/shells": "# shells\n/bin/one # the first\n  /bin/two\nthree\n/bin/four\n",
        "/etc/fstab": "# table\n/dev/x / ext4 defaults,ro 0 1\nwhat /there nfs rw,user 0 0\n",
        "/etc/gshadow": "first:!::\nsecond:word:a:b\n",
        "/etc/passwd": "visitor:x:4242:4343:A Visitor:/home/visitor:/bin/sh\n",
        "/etc/.pwd.lock": "",
        "/var/log/wtmp": "",
        "/var/run/utmp": "",
        "/var/run/none": None,
    }
    tmp_path.chmod(0o755)
    rules = []
    for name, text in files.items():
        path = tmp_path / name.strip("/").replace("/", "-")
        rules += ["--remote", f"{name}={path}"]
        if text is not None:
            path.write_text(text)
    logins(tmp_path / "var-run-utmp")
    remotec = [sys.executable, "-m", "remotec", "run", "-s", servers["fast"].address, "--tier", tier]
    done = subprocess.run(
        [*remotec, *rules, "--", "python3", "-c", RECORDS], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[b'/bin/one', b'/bin/two', b'/bin/four', None]",
        "b'/bin/one'",
        "[[b'/dev/x', b'/', b'ext4', b'defaults,ro', b'ro'], [b'what', b'/there', b'nfs', b'rw,user', b'rw']] False",
        "[b'what', b'/there', b'nfs', b'rw,user', b'rw'] False",
        "[[b'first', b'!'], [b'second', b'word']] False",
        "[b'second', b'word'] False",
        "0 b'visitor:x:4242:4343:A Visitor:/home/visitor:/bin/sh' -1",
        "b'visitor'",
        "[b'visitor', b'second'] False",
        "[b'visitor', b'second'] False",
        "b'second'",
        "False",
        "False",
        "-1",
        "False",
    ]
    assert (tmp_path / "var-log-wtmp").read_bytes() == b""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the records' layout is x86_64's")
def test_who_is_logged_in(same: Same, tree: Path, tier: str) -> None:
    logins(tree / "utmp")
    same("who {box}/utmp; users {box}/utmp; who {box}/missing; who {box}/empty; who {box}/utmp", tier)


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
    # A libc without it may have come with kernel headers that have no number of it for the supervisor's table.
    setattr_says = "EINVAL" if tier != "supervisor" or hasattr(ctypes.CDLL(None), "mount_setattr") else "ENOSYS"
    assert done.stdout.split("\n") == [
        "mount -1 ENOSYS", "umount -1 EINVAL", "umount2 -1 EINVAL", "swapon -1 EINVAL", "swapoff -1 EINVAL",
        "acct -1 EROFS", "chroot -1 ENOSYS", "fanotify_mark -1 ENOSYS",
        "fanotify_mark -1 ENOSYS", "mount -1 ENOSYS", "pivot_root -1 EINVAL", "open_tree -1 ENOSYS",
        "open_tree -1 ENOSYS", "move_mount -1 ENOSYS", "move_mount -1 ENOSYS", "fspick -1 EINVAL",
        f"mount_setattr -1 {setattr_says}", "quotactl -1 ENOTBLK", "__xmknod -1 EROFS",
        "__xmknodat -1 EROFS", "__xmknodat -1 EEXIST", "",
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


WORDS = r"""
import ctypes, os
libc = ctypes.CDLL(None)
class Words(ctypes.Structure):
    _fields_ = [("count", ctypes.c_size_t), ("words", ctypes.POINTER(ctypes.c_char_p)), ("first", ctypes.c_size_t)]
os.environb[b"PATTERN"] = b"{box}/*xt"
os.environb[b"PLAIN"] = b"{box}"
quoted = "'{box}/te*'", "/etc/pass[w]d a b"
for line in ("{box}/te*", "{box}/text", quoted[0], "$PLAIN/te?t", "$PATTERN", quoted[1], "$(echo {box}/t*)", "("):
    to = Words()
    result = libc.wordexp(line.encode(), ctypes.byref(to), 0)
    print(line, result, *(to.words[i] for i in range(to.count if not result else 0)))
"""


def test_words_with_patterns_of_remote_names(servers: Dict[str, Server], tree: Path, tier: str) -> None:
    line = f"python3 -c '{WORDS}'".replace("'{box}/te*'", '\\"{box}/te*\\"')
    plain, remote = shell(line, tree), shell(line, tree, command(servers["fast"].address, tree, tier))
    answers, expected = remote.stdout.splitlines(), plain.stdout.splitlines()
    assert len(answers) == len(expected) == 8, remote
    if tier == "preload":  # refused: libc would look for them here
        refused = [i for i, answer in enumerate(answers) if answer.split(b" b")[0].endswith(b" -1")]
        assert refused == [0, 2, 3, 4, 6]
        answers, expected = ([each[i] for i in (1, 5, 7)] for each in (answers, expected))
    assert answers == expected


FREE_NAMES = r"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for where in ("many", "missing", "text"):
    path = ctypes.create_string_buffer(os.fsencode("{box}/" + where + "/XXXXXX"))
    libc.mktemp(path)
    print(path.value[:-6], b"XX" in path.value, ctypes.get_errno() if not path.value else "")
print(len(os.fsdecode((libc.mktemp(path := ctypes.create_string_buffer(b"{box}/XXXXX")), path.value)[1])))
libc.tempnam.restype = ctypes.c_char_p
for where in ("many", "missing", "text"):
    path = libc.tempnam(os.fsencode("{box}/" + where), b"prefix")
    print(path[:-6])
"""


def test_names_of_what_is_not_there(same: Same, tier: str) -> None:
    same(f"unset TMPDIR; python3 -c '{FREE_NAMES}'", tier)

# SPDX-License-Identifier: MIT
"""A file system that can be made to hang: a minimal FUSE server of one directory, without libfuse."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import threading
from pathlib import Path
from typing import Collection, Dict, Optional, Tuple

_libc = ctypes.CDLL(None, use_errno=True)
_IN = struct.Struct("=IIQQIIII")  # fuse_in_header: len, opcode, unique, nodeid, uid, gid, pid, padding
_OUT = struct.Struct("=IiQ")
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, INIT, OPENDIR, READDIR, RELEASEDIR = 1, 2, 3, 14, 15, 18, 26, 27, 28, 29
BATCH_FORGET = 42
ROOT = 1
ENOENT, ENOSYS = 2, 38
MNT_FORCE, MNT_DETACH = 1, 2


class Stuck:
    """Mounted at `where`, holding `files`. While `flowing` is cleared it answers nothing, as a dead server wouldn't.

    `unlisted` are there for who asks, only. OSError: there can be no such mount here."""

    def __init__(self, where: Path, files: Dict[str, bytes], valid_s: int = 0, unlisted: Collection[str] = ()) -> None:
        self.where = where
        self.valid_s = valid_s  # how long the kernel may take names and attributes from its own memory
        self.files = list(files.items())
        self.unlisted = unlisted
        self.flowing = threading.Event()
        self.flowing.set()
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40755,user_id={os.getuid()},group_id={os.getgid()}"
        if _libc.mount(b"stuck", os.fsencode(where), b"fuse", 0, options.encode()):
            os.close(self.device)
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        os.stat(where)

    def close(self) -> None:
        """Whoever waits gets an error."""
        for flags in (MNT_FORCE, MNT_DETACH):  # the first breaks the connection, even where it's too busy to unmount
            _libc.umount2(os.fsencode(self.where), flags)
        self.flowing.set()
        self.thread.join()
        os.close(self.device)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self.device, 1 << 20)
            except OSError:
                return
            length, opcode, unique, node, *_ = _IN.unpack_from(request)
            self.flowing.wait()
            if opcode in (FORGET, BATCH_FORGET):
                continue
            error, payload = self._answer(opcode, node, request[_IN.size : length])
            try:
                os.write(self.device, _OUT.pack(_OUT.size + len(payload), -error, unique) + payload)
            except OSError:  # interrupted meanwhile, or aborted
                pass

    def _answer(self, opcode: int, node: int, body: bytes) -> Tuple[int, bytes]:
        if opcode == INIT:
            return 0, struct.pack("=IIIIHHIIHHI28x", 7, 31, 65536, 0, 8, 6, 65536, 1, 16, 0, 0)
        if opcode == LOOKUP:
            found = self._node(os.fsdecode(body.rstrip(b"\0")))
            if found is None:
                return ENOENT, b""
            return 0, struct.pack("=QQQQII", found, 0, self.valid_s, self.valid_s, 0, 0) + self._attributes(found)
        if opcode == GETATTR:
            return 0, struct.pack("=QII", self.valid_s, 0, 0) + self._attributes(node)
        if opcode in (OPEN, OPENDIR):
            return 0, struct.pack("=QII", 0, 0, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            return 0, self.files[node - 2][1][offset : offset + size]
        if opcode == READDIR:
            _, offset, _ = struct.unpack_from("=QQI", body)
            entries = b""
            for i, (name, _) in enumerate(self.files[offset:], offset):
                if name in self.unlisted:
                    continue
                raw = os.fsencode(name)
                entry = struct.pack("=QQII", i + 2, i + 1, len(raw), stat.S_IFREG >> 12) + raw
                entries += entry + bytes(-len(entry) % 8)
            return 0, entries
        if opcode in (RELEASE, RELEASEDIR):
            return 0, b""
        return ENOSYS, b""

    def _node(self, name: str) -> Optional[int]:
        names = [each for each, _ in self.files]
        return names.index(name) + 2 if name in names else None

    def _attributes(self, node: int) -> bytes:
        directory = node == ROOT
        size = 0 if directory else len(self.files[node - 2][1])
        mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
        owner = (os.getuid(), os.getgid())
        return _ATTR.pack(node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, *owner, 0, 4096, 0)

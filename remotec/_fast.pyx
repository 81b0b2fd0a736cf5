# cython: language_level=3, boundscheck=False, wraparound=False
# SPDX-License-Identifier: MIT
"""The hot path: receiving, decoding frames, reading files and walking trees, sending; without the GIL.

A `Link` owns one client's socket.  What isn't hot, is odd in any way, or would block (data that isn't in the page
cache, paths that aren't in memory or lead to a slow mount) goes to the same session.Connection and operations that the
pure server uses: nothing is done here that they wouldn't answer with the same bytes.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, ENOENT, ENOMEM, errno
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, memmove

import errno as errno_names
import logging
import os

from . import operations, protocol
from .mounts import SLOW as SLOW_MOUNT, Mounts
from .operations import Handle, fail
from .session import Connection

from .wire cimport *

log = logging.getLogger("remotec.server")

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_recv "recv"(int fd, void *buffer, size_t count, int flags)
    ssize_t c_send "send"(int fd, const void *buffer, size_t count, int flags)
    int c_shutdown "shutdown"(int fd, int how)
    enum: MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE, SHUT_RDWR

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)
    ssize_t readlinkat(int dirfd, const char *path, char *to, size_t size)

cdef extern from "<poll.h>" nogil:
    enum: POLLPRI, POLLOUT
    struct pollfd:
        int fd
        short events
    int c_poll "poll"(pollfd *polled, unsigned long count, int timeout_ms)

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int to, int file, int64_t *offset, size_t count)

cdef extern from "served.h" nogil:
    enum: WIRE_ENOENT
    enum: WIRE_O_NONBLOCK, WIRE_O_NOFOLLOW, WIRE_O_NOATIME, WIRE_O_NOCTTY, WIRE_RESOLVE_IN_ROOT
    enum: AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC
    enum: O_NONBLOCK, O_NOFOLLOW, O_NOATIME, O_NOCTTY
    enum: DIRENT_BYTES, LONGEST_PLACE
    uint16_t get16(const uint8_t *at)
    uint32_t get32(const uint8_t *at)
    uint64_t get64(const uint8_t *at)
    uint8_t *put16(uint8_t *at, uint16_t value)
    uint8_t *put32(uint8_t *at, uint32_t value)
    uint8_t *put64(uint8_t *at, uint64_t value)
    uint8_t *put_bytes(uint8_t *at, const void *bytes, uint32_t count)
    uint8_t *put_stat(uint8_t *at, int dirfd, const char *path, int flags, uint32_t mask)
    uint8_t *put_entries(uint8_t *to, int fd, int64_t offset, uint32_t most, uint32_t mask, size_t room,
                         uint8_t *buffer)
    ssize_t read_cached(int fd, void *to, size_t count, int64_t offset)
    int is_cached(int fd, uint64_t offset, uint64_t length)
    int64_t size_of(int fd)
    int open_resolved(const place *at, int flags)
    int look_at(place *at, int nofollow)
    ssize_t path_below(int root, int fd, char *to, size_t size)
    bint S_ISREG(uint32_t mode)
    int set_blocking(int fd)


def look(int dirfd, bytes path, int flags, uint64_t resolve):
    """operations.look."""
    cdef place at
    cdef int fd
    at.dirfd, at.path, at.resolve = dirfd, path, resolve
    fd = look_at(&at, flags & O_NOFOLLOW)
    if fd < 0:
        raise fail(-fd)
    c_close(fd)
    return at.mount


def entries(int fd, int64_t offset, uint32_t most, uint32_t mask, size_t room):
    """operations.entries; any thread may call it."""
    cdef uint8_t *buffer = <uint8_t *>malloc(DIRENT_BYTES)
    cdef uint8_t *reply = <uint8_t *>malloc(RC_READDIR_REPLY_SIZE + room + DIRENT_BYTES + RC_DIRECTORY_ENTRY_SIZE + 8
                                            + RC_STAT_SIZE)
    cdef uint8_t *end = NULL
    cdef int failed = ENOMEM
    try:
        if buffer and reply:
            with nogil:
                end = put_entries(reply, fd, offset, most, mask, room, buffer)
                failed = errno
        if not end:
            raise fail(failed)
        return PyBytes_FromStringAndSize(<char *>reply, end - reply)
    finally:
        free(buffer)
        free(reply)


cdef enum:
    FIRST_INPUT = 4096         # bytes; grows to the largest request, shrinks back when it is empty
    FIRST_OUTPUT = 8192
    SENDFILE_FROM = 32 * 1024  # bench/bench_read.py: below this a copy is cheaper than sendfile's set-up
    FLUSH_FROM = 64 * 1024
    LONGEST_HELLO = 8192       # session.py's
    LONGEST_LINK = 4096        # bytes that a symbolic link may hold
    LONGEST_WAIT_MS = 10       # of a thread for a socket to take more
    MOST_SPINS = 48            # polls of the socket before going back to the loop, while they pay

# What `process` and `receive` ended with.
cdef enum:
    MORE = 0      # nothing left to do until more comes
    PYTHON = 1    # the frame at input_start is for session.py
    BLOCKED = 2   # the socket takes no more
    GONE = -1     # close it


cdef inline uint8_t *put_header(
    uint8_t *at, uint32_t length, uint16_t operation, uint32_t request_id, uint16_t error=0
) noexcept nogil:
    at = put32(at, length)
    at = put16(at, operation)
    at = put16(at, error)
    at = put32(at, request_id)
    return put32(at, 0)


# What C may do with a handle; the rest Python judges.
cdef enum:
    QUICK = 1     # ask it: its mount answers at once
    READABLE = 2  # PREAD


cdef int SLOW = SLOW_MOUNT
cdef object SENDERS = -1  # the lane of threads that send; the others are numbers of mounts
cdef int PROCESSORS = len(os.sched_getaffinity(0))
cdef uint32_t ALL_STAT = operations.ALL_STAT
cdef bint can_look = operations.CAN_LOOK


cdef class Speeds:
    """mounts.Mounts where C finds them, for the loop only."""

    def __cinit__(self):
        self.mounts = Mounts()
        self.fd = self.mounts.fileno()
        self.take()

    def __dealloc__(self):
        free(self.known)

    def close(self):
        self.mounts.close()

    cdef int take(self) except -1:
        speeds = self.mounts.speeds
        cdef void *room = realloc(self.known, max(1, len(speeds)) * sizeof(Speed))
        if not room:
            raise MemoryError
        self.known = <Speed *>room
        self.count = 0
        for mount, speed in speeds.items():
            self.known[self.count] = Speed(mount, speed)
            self.count += 1
        return 0

    cdef void again(self) noexcept with gil:
        self.count = 0
        try:
            self.mounts.read()
            self.take()
        except (OSError, MemoryError):
            pass  # nothing is known to be quick

    cdef void refresh(self) noexcept nogil:
        """Before questions: the mount table may have changed."""
        cdef pollfd table
        table.fd, table.events = self.fd, POLLPRI
        if c_poll(&table, 1, 0) > 0:
            self.again()

    cdef int speed(self, uint64_t mount) noexcept nogil:
        """mounts.MEMORY, DISK or SLOW; what isn't known is slow."""
        cdef size_t i
        for i in range(self.count):
            if self.known[i].mount == mount:
                return self.known[i].speed
        return SLOW


cdef class HandleTable:
    """session.HandleTable with its descriptors where C finds them."""

    def __cinit__(self):
        self.handles = [None]
        self.unused = []
        self.size = 1
        self.grow()

    def __dealloc__(self):
        free(self.fds)
        free(self.generations)
        free(self.uses)

    cdef int grow(self) except -1:
        cdef Py_ssize_t capacity = max(16, self.capacity * 2), i
        cdef void *fds = realloc(self.fds, capacity * sizeof(int))
        if fds:
            self.fds = <int *>fds
        cdef void *generations = realloc(self.generations, capacity * sizeof(uint32_t))
        if generations:
            self.generations = <uint32_t *>generations
        cdef void *uses = realloc(self.uses, capacity)
        if uses:
            self.uses = <uint8_t *>uses
        if not fds or not generations or not uses:
            raise MemoryError
        for i in range(self.capacity, capacity):
            self.fds[i] = -1
            self.generations[i] = 0
            self.uses[i] = 0
        self.capacity = capacity
        return 0

    def __len__(self):
        return self.size - 1 - len(self.unused)

    def add(self, handle):
        cdef Py_ssize_t slot
        if len(self) >= RC_LIMIT_MAX_HANDLES:
            raise fail(errno_names.ENFILE)
        if self.unused:
            slot = self.unused.pop()
        else:
            if self.size == self.capacity:
                self.grow()
            slot = self.size
            self.size += 1
            self.handles.append(None)
        self.handles[slot] = handle
        self.fds[slot] = handle.fd
        self.uses[slot] = 0
        if handle.speed != SLOW_MOUNT:
            self.uses[slot] = QUICK
            if handle.kind == RC_KIND_POSITIONED and handle.flags & 3 != 1:
                self.uses[slot] |= READABLE
        return slot | (<uint64_t>self.generations[slot] << 32)

    def get(self, number):
        cdef uint32_t slot = number & 0xFFFFFFFF
        if slot < <size_t>self.size and self.fds[slot] >= 0 and self.generations[slot] == number >> 32:
            return self.handles[slot]
        raise fail(errno_names.EBADF)

    def remove(self, number):
        handle = self.get(number)
        cdef uint32_t slot = number & 0xFFFFFFFF
        self.fds[slot] = -1
        self.uses[slot] = 0
        self.generations[slot] = (self.generations[slot] + 1) & 0x7FFFFFFF
        self.handles[slot] = None
        self.unused.append(slot)
        return handle

    def numbers(self):
        return [i | (<uint64_t>self.generations[i] << 32) for i in range(1, self.size) if self.fds[i] >= 0]

    cdef int descriptor(self, uint64_t number, uint8_t uses) noexcept nogil:
        """The descriptor of a handle that may be used so; -1: Python's to judge."""
        cdef uint32_t slot = <uint32_t>number
        if slot >= self.size or self.generations[slot] != number >> 32 or self.uses[slot] & uses != uses:
            return -1
        return self.fds[slot]


cdef class Link:
    """One client's socket."""

    def __cinit__(self):
        self.fd = -1
        self.file = -1
        self.root_fd = -1

    def __init__(self, host, stream, allowed):
        self.host = host
        self.loop = host.loop
        self.speeds = host.speeds
        self.stream = stream
        self.fd = stream.fileno()
        self.connection = Connection(
            host.server, self.send, host.waiters.wait, allowed, host.workers.run, self.resume
        )
        self.tail = bytearray()
        self.reading = True
        self.loop.add_reader(self.fd, self.on_readable)

    def __dealloc__(self):
        free(self.input)
        free(self.output)

    # -------------------------------------------------------------------------------------------- C: moving bytes

    cdef int receive(self) noexcept nogil:
        """Receives once: MORE, BLOCKED (nothing there) or GONE."""
        cdef size_t size
        cdef void *larger
        cdef ssize_t got
        if self.input_start:
            memmove(self.input, self.input + self.input_start, self.input_end - self.input_start)
            self.input_end -= self.input_start
            self.input_start = 0
        if self.input_end == self.input_size:
            size = self.input_size * 2 if self.input_size else FIRST_INPUT
            if size > RC_HEADER_SIZE + RC_LIMIT_MAX_REQUEST:
                size = RC_HEADER_SIZE + RC_LIMIT_MAX_REQUEST
            larger = realloc(self.input, size)
            if not larger or size == self.input_size:
                return GONE
            self.input = <uint8_t *>larger
            self.input_size = size
        got = c_recv(self.fd, self.input + self.input_end, self.input_size - self.input_end, MSG_DONTWAIT)
        if got > 0:
            self.input_end += got
            return MORE
        if got < 0 and (errno == EAGAIN or errno == EINTR):
            return BLOCKED
        return GONE

    cdef uint8_t *reserve(self, size_t count) noexcept nogil:
        """Room for `count` bytes at the end of the output; NULL: no memory."""
        cdef size_t size = self.output_size
        cdef void *larger
        if self.output_end + count > size:
            if not size:
                size = FIRST_OUTPUT
            while size < self.output_end + count:
                size *= 2
            larger = realloc(self.output, size)
            if not larger:
                return NULL
            self.output = <uint8_t *>larger
            self.output_size = size
        return self.output + self.output_end

    cdef int flush(self) noexcept nogil:
        """Sends the output, then the file behind it and its further pieces: MORE, BLOCKED or GONE."""
        cdef ssize_t sent
        cdef int result, flags = MSG_DONTWAIT | MSG_NOSIGNAL
        if self.file >= 0:
            flags |= MSG_MORE
        while True:
            while self.output_start < self.output_end:
                sent = c_send(self.fd, self.output + self.output_start, self.output_end - self.output_start, flags)
                if sent < 0:
                    return BLOCKED if errno == EAGAIN or errno == EINTR else GONE
                self.output_start += sent
            self.output_start = self.output_end = 0
            if self.file < 0:
                return MORE
            result = self.send_file()
            if result != MORE:
                return result
            if self.first_piece == self.end_piece:
                self.forget_file()
                return MORE
            if not self.take_piece():
                return GONE

    cdef bint take_piece(self) noexcept nogil:
        cdef Piece *piece = &self.pieces[self.first_piece]
        cdef uint8_t *at = self.reserve(RC_HEADER_SIZE + 4)
        if not at:
            return False
        put32(put_header(at, 4 + piece.count, RC_OP_PREAD, piece.request_id), piece.count)
        self.output_end += RC_HEADER_SIZE + 4
        self.file_offset = piece.offset
        self.file_left = piece.count
        self.first_piece += 1
        return True

    cdef int send_on(self) noexcept nogil:
        """flush by a thread of its own, for which the socket only counts as blocked when it stays so."""
        cdef pollfd room
        cdef int result = self.flush()
        room.fd, room.events = self.fd, POLLOUT
        while result == BLOCKED and c_poll(&room, 1, LONGEST_WAIT_MS) > 0:
            result = self.flush()
        return result

    cdef int send_file(self) noexcept nogil:
        cdef ssize_t sent
        while self.file_left:
            sent = sendfile(self.fd, self.file, &self.file_offset, self.file_left)
            if sent > 0:
                self.file_left -= sent
            elif sent < 0 and (errno == EAGAIN or errno == EINTR):
                return BLOCKED
            else:
                return GONE  # cut off meanwhile: the header promised more (the client asks again)
        return MORE

    cdef void forget_file(self) noexcept nogil:
        if self.file_owned:
            c_close(self.file)
        self.file = -1
        self.file_owned = False
        self.first_piece = self.end_piece = 0

    cdef bint pending(self) noexcept nogil:
        return self.file >= 0 or self.output_start < self.output_end

    # -------------------------------------------------------------------------------------------- C: operations

    cdef int process(self) noexcept nogil:
        """Answers the hot requests at the front of the input; how that ended."""
        cdef uint8_t *at
        cdef uint32_t length, request_id, flags
        cdef uint16_t operation
        cdef int result
        self.mounts_known = False
        while self.input_end - self.input_start >= RC_HEADER_SIZE:
            at = self.input + self.input_start
            length = get32(at)
            if length > RC_LIMIT_MAX_REQUEST or (self.table is None and length > LONGEST_HELLO):
                return PYTHON  # to be refused
            if self.input_end - self.input_start - RC_HEADER_SIZE < length:
                break
            operation = get16(at + 4)
            request_id = get32(at + 8)
            flags = get32(at + 12)
            at += RC_HEADER_SIZE
            if self.table is None:
                return PYTHON  # before HELLO
            if operation == RC_OP_CLOSE and length == RC_CLOSE_REQUEST_SIZE and flags & ~RC_FRAME_ONE_WAY == 0:
                result = self.close_handle(at, request_id, flags)
            elif flags:
                return PYTHON
            elif operation == RC_OP_PREAD and length == RC_PREAD_REQUEST_SIZE:
                result = self.pread(at, request_id)
            elif operation == RC_OP_FSTAT and length == RC_FSTAT_REQUEST_SIZE:
                result = self.fstat(at, request_id)
            elif operation == RC_OP_OPEN and length > RC_OPEN_REQUEST_SIZE + 4:
                result = self.open(at, length, request_id)
            elif operation == RC_OP_STAT and length >= RC_STAT_REQUEST_SIZE + 4:
                result = self.stat(at, length, request_id)
            elif operation == RC_OP_READLINK and length > RC_READLINK_REQUEST_SIZE + 4:
                result = self.readlink(at, length, request_id)
            else:
                return PYTHON
            if result == PYTHON or result == GONE:
                return result
            self.requests += 1
            self.input_start += RC_HEADER_SIZE + length
            if result == BLOCKED:
                return BLOCKED
            if self.output_end > FLUSH_FROM:
                result = self.flush()
                if result != MORE:
                    return result
        return MORE

    cdef int pread(self, const uint8_t *request, uint32_t request_id) noexcept nogil:
        cdef int fd = self.table.descriptor(get64(request + RC_PREAD_REQUEST_handle), READABLE)
        cdef int64_t offset = <int64_t>get64(request + RC_PREAD_REQUEST_offset)
        cdef uint32_t count = get32(request + RC_PREAD_REQUEST_count)
        cdef uint8_t *at
        cdef ssize_t got
        if count > RC_LIMIT_MAX_DATA:
            count = RC_LIMIT_MAX_DATA
        if fd < 0 or offset < 0 or offset > INT64_MAX - <int64_t>count:
            return PYTHON
        if count >= SENDFILE_FROM:
            return self.pread_large(get64(request + RC_PREAD_REQUEST_handle), fd, request_id, offset, count)
        at = self.reserve(RC_HEADER_SIZE + 4 + count)
        if not at:
            return GONE
        got = read_cached(fd, at + RC_HEADER_SIZE + 4, count, offset)
        if got < 0:
            return PYTHON
        put32(put_header(at, 4 + <uint32_t>got, RC_OP_PREAD, request_id), <uint32_t>got)
        self.output_end += RC_HEADER_SIZE + 4 + got
        self.bytes_sent += got
        return MORE

    cdef int pread_large(
        self, uint64_t handle, int fd, uint32_t request_id, int64_t offset, uint32_t count
    ) noexcept nogil:
        cdef int64_t size = size_of(fd), left
        cdef uint8_t *at
        if size < 0:
            return PYTHON
        left = size - offset if size > offset else 0
        if left < count:
            count = <uint32_t>left
        if count and not is_cached(fd, offset, count):
            return PYTHON
        at = self.reserve(RC_HEADER_SIZE + 4)
        if not at:
            return GONE
        put32(put_header(at, 4 + count, RC_OP_PREAD, request_id), count)
        self.output_end += RC_HEADER_SIZE + 4
        self.bytes_sent += count
        if not count:
            return MORE
        self.file = fd
        self.file_handle = handle
        self.file_offset = offset
        self.file_left = count
        return self.flush()

    cdef void look_for_pieces(self) noexcept nogil:
        """Requests at the front of the input that go on in the file that is going out."""
        cdef uint8_t *at
        cdef int64_t offset, size = size_of(self.file)
        cdef uint32_t count
        while (
            self.end_piece < MOST_PIECES
            and self.input_end - self.input_start >= RC_HEADER_SIZE + RC_PREAD_REQUEST_SIZE
        ):
            at = self.input + self.input_start
            if get32(at) != RC_PREAD_REQUEST_SIZE or get16(at + 4) != RC_OP_PREAD or get32(at + 12):
                return
            offset = <int64_t>get64(at + RC_HEADER_SIZE + RC_PREAD_REQUEST_offset)
            count = get32(at + RC_HEADER_SIZE + RC_PREAD_REQUEST_count)
            if (
                get64(at + RC_HEADER_SIZE + RC_PREAD_REQUEST_handle) != self.file_handle
                or self.table.descriptor(self.file_handle, READABLE) < 0
                or count < SENDFILE_FROM
                or count > RC_LIMIT_MAX_DATA
                or offset < 0
                or size < count
                or offset > size - count
                or not is_cached(self.file, offset, count)
            ):
                return
            self.pieces[self.end_piece] = Piece(offset, count, get32(at + 8))
            self.end_piece += 1
            self.requests += 1
            self.bytes_sent += count
            self.input_start += RC_HEADER_SIZE + RC_PREAD_REQUEST_SIZE

    cdef int fstat(self, const uint8_t *request, uint32_t request_id) noexcept nogil:
        cdef int fd = self.table.descriptor(get64(request + RC_FSTAT_REQUEST_handle), QUICK)
        if fd < 0:
            return PYTHON
        return self.status(fd, 0, get32(request + RC_FSTAT_REQUEST_mask), RC_OP_FSTAT, request_id)

    cdef int status(
        self, int fd, int flags, uint32_t mask, uint16_t operation, uint32_t request_id
    ) noexcept nogil:
        """The reply of FSTAT and STAT."""
        cdef uint8_t *at = self.reserve(RC_HEADER_SIZE + RC_STAT_SIZE)
        if not at:
            return GONE
        if not put_stat(at + RC_HEADER_SIZE, fd, "", AT_EMPTY_PATH | flags, mask):
            return PYTHON
        put_header(at, RC_STAT_SIZE, operation, request_id)
        self.output_end += RC_HEADER_SIZE + RC_STAT_SIZE
        return MORE

    # ----------------------------------------------------------------------------------------- C: paths

    cdef int locate(
        self, place *at, char *room, uint64_t directory, const uint8_t *blob, uint32_t size
    ) noexcept nogil:
        """operations._starting_point for a request's last field, of `size` bytes; `room` is for LONGEST_PLACE."""
        cdef uint32_t length = get32(blob)
        cdef const uint8_t *path = blob + 4
        cdef ssize_t above = 0
        cdef int fd = AT_FDCWD
        if not can_look or length != size - 4 or not length or length >= RC_LIMIT_MAX_PATH:
            return PYTHON
        if memchr(path, 0, length):
            return PYTHON
        if directory:
            fd = self.table.descriptor(directory, 0)
            if fd < 0:
                return PYTHON
        at.dirfd, at.resolve, at.path = fd, 0, room
        if self.root_fd >= 0:
            at.dirfd, at.resolve = self.root_fd, WIRE_RESOLVE_IN_ROOT
            if directory and path[0] != c"/":
                above = path_below(self.root_fd, fd, room, RC_LIMIT_MAX_PATH)
                if above < 0:
                    return PYTHON
                room[above] = c"/"
                above += 1
        elif not directory and path[0] != c"/":
            room[0] = c"/"
            above = 1
        memcpy(room + above, path, length)
        room[above + length] = 0
        return MORE

    cdef int look(self, place *at, bint nofollow) noexcept nogil:
        """An O_PATH descriptor of what is there, or -errno; EAGAIN: somebody has to be waited for."""
        cdef int fd = look_at(at, nofollow)
        if fd < 0:
            return fd
        if not self.mounts_known:
            self.speeds.refresh()
            self.mounts_known = True
        if self.speeds.speed(at.mount) == SLOW:
            c_close(fd)
            return -EAGAIN
        return fd

    cdef int missing(self, int error, uint16_t operation, uint32_t request_id) noexcept nogil:
        """The reply that nothing is there; whatever else there is to say, Python says."""
        cdef uint8_t *at
        if error != ENOENT:
            return PYTHON
        at = self.reserve(RC_HEADER_SIZE + 6)
        if not at:
            return GONE
        memcpy(put_header(at, 6, operation, request_id, WIRE_ENOENT), <const char *>"ENOENT", 6)
        self.output_end += RC_HEADER_SIZE + 6
        return MORE

    cdef int stat(self, const uint8_t *request, uint32_t length, uint32_t request_id) noexcept nogil:
        cdef uint64_t directory = get64(request + RC_STAT_REQUEST_directory)
        cdef int flags = <int>get32(request + RC_STAT_REQUEST_flags), fd, result
        cdef int passed_on = AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC
        cdef uint32_t mask = get32(request + RC_STAT_REQUEST_mask)
        cdef char room[LONGEST_PLACE]
        cdef place at
        if flags & ~(passed_on | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            return PYTHON
        if length == RC_STAT_REQUEST_SIZE + 4:
            fd = self.table.descriptor(directory, QUICK)
            if fd < 0 or not flags & AT_EMPTY_PATH or get32(request + RC_STAT_REQUEST_SIZE):
                return PYTHON
            return self.status(fd, flags & passed_on, mask, RC_OP_STAT, request_id)
        result = self.locate(&at, room, directory, request + RC_STAT_REQUEST_SIZE, length - RC_STAT_REQUEST_SIZE)
        if result != MORE:
            return result
        fd = self.look(&at, flags & AT_SYMLINK_NOFOLLOW)
        if fd < 0:
            return self.missing(-fd, RC_OP_STAT, request_id)
        result = self.status(fd, flags & passed_on, mask, RC_OP_STAT, request_id)
        c_close(fd)
        return result

    cdef int readlink(self, const uint8_t *request, uint32_t length, uint32_t request_id) noexcept nogil:
        cdef uint64_t directory = get64(request + RC_READLINK_REQUEST_directory)
        cdef const uint8_t *path = request + RC_READLINK_REQUEST_SIZE
        cdef char room[LONGEST_PLACE]
        cdef ssize_t got
        cdef uint8_t *reply
        cdef place at
        cdef int fd, result = self.locate(&at, room, directory, path, length - RC_READLINK_REQUEST_SIZE)
        if result != MORE:
            return result
        fd = self.look(&at, True)
        if fd < 0:
            return self.missing(-fd, RC_OP_READLINK, request_id)
        reply = self.reserve(RC_HEADER_SIZE + 4 + LONGEST_LINK)
        got = readlinkat(fd, "", <char *>reply + RC_HEADER_SIZE + 4, LONGEST_LINK) if reply else -1
        c_close(fd)
        if not reply:
            return GONE
        if got < 0 or got == LONGEST_LINK:
            return PYTHON
        put32(put_header(reply, 4 + <uint32_t>got, RC_OP_READLINK, request_id), <uint32_t>got)
        self.output_end += RC_HEADER_SIZE + 4 + got
        return MORE

    cdef int open(self, const uint8_t *request, uint32_t length, uint32_t request_id) noexcept nogil:
        """Of a regular file that isn't empty, for reading."""
        cdef uint64_t directory = get64(request + RC_OPEN_REQUEST_directory)
        cdef uint32_t wire = get32(request + RC_OPEN_REQUEST_flags)
        cdef const uint8_t *path = request + RC_OPEN_REQUEST_SIZE
        cdef int flags = O_NOCTTY | O_NONBLOCK, fd, result
        cdef char room[LONGEST_PLACE]
        cdef place at
        cdef uint32_t prefetch = get32(request + RC_OPEN_REQUEST_prefetch)
        cdef bint leases = wire & RC_LEASE_WANTED_FOR_REST
        wire &= ~RC_LEASE_WANTED_FOR_REST
        if wire & ~(WIRE_O_NONBLOCK | WIRE_O_NOFOLLOW | WIRE_O_NOATIME | WIRE_O_NOCTTY):
            return PYTHON
        if get32(request + RC_OPEN_REQUEST_resolve):
            return PYTHON
        result = self.locate(&at, room, directory, path, length - RC_OPEN_REQUEST_SIZE)
        if result != MORE:
            return result
        fd = self.look(&at, wire & WIRE_O_NOFOLLOW)
        if fd < 0:
            return self.missing(-fd, RC_OP_OPEN, request_id)
        c_close(fd)
        if not S_ISREG(at.mode) or not at.size:  # which may be made up as it is read
            return PYTHON
        if leases and at.size > min(prefetch, <uint32_t>RC_LIMIT_MAX_PREFETCH):
            return PYTHON
        if wire & WIRE_O_NOFOLLOW:
            flags |= O_NOFOLLOW
        if wire & WIRE_O_NOATIME:
            flags |= O_NOATIME
        fd = open_resolved(&at, flags)
        if fd < 0:
            return PYTHON
        result = self.opened(fd, wire, prefetch, request_id)
        if result != MORE:
            c_close(fd)
        return result

    cdef int opened(self, int fd, uint32_t wire, uint32_t prefetch, uint32_t request_id) noexcept nogil:
        """operations._opened and _issue; the descriptor stays the caller's unless it ends with MORE."""
        cdef uint8_t stat[RC_STAT_SIZE]
        cdef uint64_t size, mount, number
        cdef uint32_t room = 0
        cdef ssize_t got = 0
        cdef uint8_t *reply
        cdef uint8_t *at
        cdef int speed
        if not put_stat(stat, fd, "", AT_EMPTY_PATH, ALL_STAT) or set_blocking(fd):
            return PYTHON
        size, mount = get64(stat + RC_STAT_size), get64(stat + RC_STAT_mnt_id)
        speed = self.speeds.speed(mount)
        if not S_ISREG(get32(stat + RC_STAT_mode)) or not size or speed == SLOW:
            return PYTHON  # something else since it was looked at
        if size <= prefetch and size <= RC_LIMIT_MAX_PREFETCH:
            room = <uint32_t>size
        reply = self.reserve(RC_HEADER_SIZE + RC_OPEN_REPLY_SIZE + 4 + room)
        if not reply:
            return GONE
        at = reply + RC_HEADER_SIZE
        if room:
            got = read_cached(fd, at + RC_OPEN_REPLY_SIZE + 4, room, 0)
            if got < 0 and errno != EAGAIN:
                return PYTHON
            if got < 0:
                got = 0
        number = self.issue(fd, wire, mount, speed)
        if not number:
            return PYTHON
        put32(put64(at + RC_OPEN_REPLY_handle, number), RC_KIND_POSITIONED)
        memcpy(at + RC_OPEN_REPLY_stat, stat, RC_STAT_SIZE)
        put32(at + RC_OPEN_REPLY_SIZE, <uint32_t>got)
        put_header(reply, RC_OPEN_REPLY_SIZE + 4 + <uint32_t>got, RC_OP_OPEN, request_id)
        self.output_end += RC_HEADER_SIZE + RC_OPEN_REPLY_SIZE + 4 + got
        return MORE

    cdef uint64_t issue(self, int fd, uint32_t flags, uint64_t mount, int speed) noexcept with gil:
        """The new handle's number; 0: there can't be one."""
        try:
            return self.table.add(Handle(fd, RC_KIND_POSITIONED, flags, self.connection.client, mount, speed))
        except (OSError, MemoryError):
            return 0

    cdef int close_handle(self, const uint8_t *request, uint32_t request_id, uint32_t flags) noexcept with gil:
        cdef uint8_t *at
        try:
            self.connection.session.close_handle(get64(request + RC_CLOSE_REQUEST_handle))
        except OSError:
            return PYTHON
        if not flags & RC_FRAME_ONE_WAY:
            at = self.reserve(RC_HEADER_SIZE)
            if not at:
                return GONE
            put_header(at, 0, RC_OP_CLOSE, request_id)
            self.output_end += RC_HEADER_SIZE
        return MORE

    # ------------------------------------------------------------------------------------------- Python: the loop

    def on_readable(self):
        cdef int result, tries
        with nogil:
            result = self.receive()
        while result == MORE and self.fd >= 0:
            self.work()
            if self.fd < 0 or not self.reading or self.pending() or self.busy:
                return
            with nogil:
                tries = self.spins
                result = self.receive()
                while result == BLOCKED and tries > 0:
                    tries -= 1
                    result = self.receive()
            self.spins = MOST_SPINS if result == MORE else self.spins // 2
        if result == GONE:
            self.close()
        elif self.output_size > FIRST_OUTPUT and not self.pending():
            self.free_output()

    cdef void free_output(self) noexcept nogil:
        """An idle connection costs little, whatever it has sent."""
        free(self.output)
        self.output = NULL
        self.output_size = 0

    cdef work(self):
        """Everything that the input has now."""
        cdef int result
        if self.busy:
            self.look_for_cancel()
        while self.fd >= 0 and not self.busy:
            with nogil:
                result = self.process()
                if result == MORE and self.output_end > self.output_start:
                    result = self.flush()
            if result == PYTHON:
                if not self.one_frame():
                    return
            elif result == BLOCKED:
                return self.wait_for_room()
            elif result == GONE:
                return self.close()
            else:
                if self.input_start == self.input_end and self.input_size > FIRST_INPUT:
                    free(self.input)
                    self.input = NULL
                    self.input_size = self.input_start = self.input_end = 0
                return

    cdef bint one_frame(self) except -1:
        """Hands the frame at the front to session.py; false: the connection is closing."""
        cdef uint8_t *at = self.input + self.input_start
        cdef uint32_t length = get32(at)
        try:
            self.connection.check_length(length)
            payload = PyBytes_FromStringAndSize(<char *>at + RC_HEADER_SIZE, length)
            operation, request_id, flags = get16(at + 4), get32(at + 8), get32(at + 12)
            self.input_start += RC_HEADER_SIZE + length
            self.account()
            reply = self.connection.handle(operation, request_id, flags, payload)
        except protocol.ProtocolError as error:
            log.info("closing a connection: %s", error)
            self.last = True
            self.send(error.last_words)
            if self.fd >= 0 and not self.writing:
                self.push()  # the replies before it
            if not self.pending() and not self.tail:
                self.close()
            return False
        if self.table is None and self.connection.session is not None:
            self.table = self.connection.session.handles
            if self.connection.session.root_fd is not None:
                self.root_fd = self.connection.session.root_fd
            if self.input_end > self.input_start:  # HELLO's reply goes with that of the request that came with it
                return self.put(reply)
        self.busy = self.connection.busy is not None
        self.send(reply)
        if self.busy:
            if self.fd >= 0 and not self.writing:
                self.push()  # the replies before it
            self.look_for_cancel()
        return self.fd >= 0 and not self.writing

    cdef look_for_cancel(self):
        """While a thread works for this connection: all else waits, as much as the input holds."""
        cdef char *at = <char *>self.input + self.input_start
        self.connection.cancels(PyBytes_FromStringAndSize(at, self.input_end - self.input_start))
        self.busy = self.connection.busy is not None
        if self.busy and self.reading and self.input_end - self.input_start == RC_HEADER_SIZE + RC_LIMIT_MAX_REQUEST:
            self.reading = False
            self.loop.remove_reader(self.fd)

    cdef account(self):
        self.host.server.requests += self.requests
        self.host.server.bytes += self.bytes_sent
        self.requests = self.bytes_sent = 0

    cdef wait_for_room(self):
        if self.file >= 0 and not self.file_owned:  # another connection may close the handle meanwhile
            try:
                self.file = os.dup(self.file)
            except OSError:
                return self.close()
            self.file_owned = True
        if self.reading:
            self.reading = False
            self.loop.remove_reader(self.fd)
        if self.writing:
            return
        if self.file >= 0:
            self.host.sending.add(self)
            if len(self.host.sending) > 1 and self.host.workers.running(SENDERS) < PROCESSORS - 1:
                return self.send_away()
        self.await_writable()

    cdef await_writable(self):
        self.writing = True
        self.loop.add_writer(self.fd, self.on_writable)

    cdef send_away(self):
        """Several connections are at this: the other processors do it too."""
        self.look_for_pieces()
        self.away = self.writing = True
        self.host.workers.run(SENDERS, self.by_thread, self.sent)

    def by_thread(self):
        cdef int result
        with nogil:
            result = self.send_on()
        return result

    def sent(self, result, error):
        self.away = self.writing = False
        if self.gone or error or result == GONE:
            return self.close()
        if result == BLOCKED:
            self.await_writable()
        else:
            self.written()

    def on_writable(self):
        cdef int result
        with nogil:
            result = self.flush()
        if result == GONE:
            return self.close()
        if result != BLOCKED:
            self.written()

    cdef written(self):
        """All that had to wait for room has gone out."""
        if self.tail:
            data, self.tail = self.tail, bytearray()
            self.send(bytes(data))
            if self.fd < 0 or self.pending():
                return
        self.writing = False
        self.host.sending.discard(self)
        self.loop.remove_writer(self.fd)
        if self.last:
            return self.close()
        if self.output_size > FIRST_OUTPUT and not self.pending():
            self.free_output()
        self.go_on()

    cdef go_on(self):
        """Reads again, after what had come before the connection was paused."""
        if not self.reading:
            self.reading = True
            self.loop.add_reader(self.fd, self.on_readable)
        if self.input_end > self.input_start:
            self.work()

    def resume(self):
        """The connection isn't busy any more."""
        self.busy = False
        if self.fd >= 0 and not self.away and not self.pending() and not self.last:
            self.go_on()

    def send(self, data):
        """Sends a whole reply after those before it."""
        if self.fd < 0 or not data:
            return
        if self.away or self.file >= 0:  # behind the file that is going out
            self.tail += data
            return
        if self.put(data):
            self.push()

    cdef bint put(self, data) except -1:
        """Behind what is to be sent; false: the connection is closing."""
        cdef const uint8_t *bytes_at = data
        cdef size_t count = len(data)
        cdef uint8_t *at = self.reserve(count)
        if not at:
            self.close()
            return False
        memcpy(at, bytes_at, count)
        self.output_end += count
        return True

    cdef push(self):
        """Sends what there is; when the socket takes no more, the rest waits."""
        cdef int result
        with nogil:
            result = self.flush()
        if result == BLOCKED:
            self.wait_for_room()
        elif result == GONE:
            self.close()
        elif self.output_size > FLUSH_FROM * 2 and not self.pending():
            self.free_output()

    def close(self):
        if self.fd < 0:
            return
        if self.away:
            self.gone = True
            c_shutdown(self.fd, SHUT_RDWR)
            return
        self.account()
        self.host.sending.discard(self)
        self.loop.remove_reader(self.fd)
        self.loop.remove_writer(self.fd)
        self.fd = -1
        self.forget_file()
        self.output_start = self.output_end = 0
        self.stream.close()
        self.host.gone(self)

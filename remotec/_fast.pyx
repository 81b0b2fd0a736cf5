# cython: language_level=3, boundscheck=False, wraparound=False
# SPDX-License-Identifier: MIT
"""The hot path: receiving, decoding frames, PREAD and FSTAT, sending; without the GIL or a Python object a request.

A `Link` owns one client's socket.  What isn't hot, or would block (data that isn't in the page cache), goes to the same
session.Connection and operations that the pure server uses.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

import errno as errno_names
import logging
import os

from . import protocol
from .mounts import SLOW
from .operations import fail
from .session import Connection

from .wire cimport *

log = logging.getLogger("remotec.server")

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_recv "recv"(int fd, void *buffer, size_t count, int flags)
    ssize_t c_send "send"(int fd, const void *buffer, size_t count, int flags)
    enum: MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int to, int file, int64_t *offset, size_t count)

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <unistd.h>
    #ifndef RWF_NOWAIT
    #define RWF_NOWAIT 8
    #endif
    #ifndef SYS_cachestat
    #define SYS_cachestat 451
    #endif

    static inline uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
    static inline uint32_t get32(const uint8_t *at)
    { return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]; }
    static inline uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) << 32 | get32(at + 4); }
    static inline uint8_t *put16(uint8_t *at, uint16_t v) { at[0] = v >> 8; at[1] = (uint8_t)v; return at + 2; }
    static inline uint8_t *put32(uint8_t *at, uint32_t v) { return put16(put16(at, v >> 16), (uint16_t)v); }
    static inline uint8_t *put64(uint8_t *at, uint64_t v) { return put32(put32(at, v >> 32), (uint32_t)v); }
    static inline uint8_t *put_time(uint8_t *at, int64_t sec, uint32_t nsec)
    { return put32(put64(at, (uint64_t)sec), nsec); }

    struct rc_range { uint64_t offset, length; };
    struct rc_cached { uint64_t cached, dirty, writeback, evicted, recently_evicted; };

    static inline int is_cached(int fd, uint64_t offset, uint64_t length)
    {
        struct rc_range range = { offset, length };
        struct rc_cached found;
        uint64_t pages = ((offset + length + 4095) >> 12) - (offset >> 12);

        if (syscall(SYS_cachestat, fd, &range, &found, 0))
            return 0;
        return found.cached + 1 >= pages;  /* pages may be larger than 4096 */
    }

    /* What is in the page cache of the wanted range; EAGAIN where some isn't and reading would wait for a disk. */
    static inline ssize_t read_cached(int fd, void *to, size_t count, int64_t offset)
    {
        struct iovec part = { to, count };
        struct stat st;
        ssize_t got = preadv2(fd, &part, 1, offset, RWF_NOWAIT);

        if (got < 0 && errno == EOPNOTSUPP) {  /* tmpfs, and others */
            if (fstat(fd, &st))
                return -1;
            if (offset < st.st_size && !is_cached(fd, offset, count < (uint64_t)(st.st_size - offset)
                                                              ? count : (uint64_t)(st.st_size - offset))) {
                errno = EAGAIN;
                return -1;
            }
            return pread(fd, to, count, offset);
        }
        if (got >= 0 && (size_t)got < count) {  /* the end of the file, or of what is cached */
            if (fstat(fd, &st))
                return -1;
            if (offset + got < st.st_size) {
                errno = EAGAIN;
                return -1;
            }
        }
        return got;
    }

    #ifndef SYS_openat2
    #define SYS_openat2 437
    #endif

    /* The mount where a path leads, or -errno: without waiting for any file system. */
    static inline int64_t mount_of(int dirfd, const char *path, int flags, uint64_t resolve)
    {
        struct { uint64_t flags, mode, resolve; } how = { (unsigned)flags | O_PATH | O_CLOEXEC, 0, resolve | 0x20 };
        struct statx st;
        uint64_t mount;
        int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how), failed;

        if (fd < 0)
            return -errno;
        failed = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0x1000, &st) ? errno : 0;
        close(fd);
        memcpy(&mount, (uint8_t *)&st + 0x90, 8);
        return failed ? -failed : (int64_t)mount;
    }

    static inline int64_t size_of(int fd)
    {
        struct stat st;
        return fstat(fd, &st) ? -1 : (int64_t)st.st_size;
    }

    /* A Stat layout; its end, or NULL with errno. */
    static inline uint8_t *put_stat(uint8_t *at, int fd, uint32_t mask)
    {
        struct statx st;

        memset(&st, 0, sizeof st);
        if (statx(fd, "", AT_EMPTY_PATH, mask, &st))
            return NULL;
        at = put32(put32(at, st.stx_mask), st.stx_blksize);
        at = put64(put64(at, st.stx_attributes), st.stx_attributes_mask);
        at = put32(put32(put32(put32(at, st.stx_nlink), st.stx_uid), st.stx_gid), st.stx_mode);
        at = put64(put64(put64(at, st.stx_ino), st.stx_size), st.stx_blocks);
        at = put_time(at, st.stx_atime.tv_sec, st.stx_atime.tv_nsec);
        at = put_time(at, st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
        at = put_time(at, st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec);
        at = put_time(at, st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec);
        at = put32(put32(put32(put32(at, st.stx_rdev_major), st.stx_rdev_minor), st.stx_dev_major), st.stx_dev_minor);
        {
            uint64_t mnt_id, subvol;
            uint32_t mem, offset;
            /* fields that older headers lack, at the kernel's own offsets */
            memcpy(&mnt_id, (uint8_t *)&st + 0x90, 8);
            memcpy(&mem, (uint8_t *)&st + 0x98, 4);
            memcpy(&offset, (uint8_t *)&st + 0x9c, 4);
            memcpy(&subvol, (uint8_t *)&st + 0xa0, 8);
            at = put64(put32(put32(put64(at, mnt_id), mem), offset), subvol);
        }
        return at;
    }
    """
    uint16_t get16(const uint8_t *at) nogil
    uint32_t get32(const uint8_t *at) nogil
    uint64_t get64(const uint8_t *at) nogil
    uint8_t *put16(uint8_t *at, uint16_t value) nogil
    uint8_t *put32(uint8_t *at, uint32_t value) nogil
    uint8_t *put64(uint8_t *at, uint64_t value) nogil
    uint8_t *put_stat(uint8_t *at, int fd, uint32_t mask) nogil
    ssize_t read_cached(int fd, void *to, size_t count, int64_t offset) nogil
    int is_cached(int fd, uint64_t offset, uint64_t length) nogil
    int64_t size_of(int fd) nogil
    int64_t mount_of(int dirfd, const char *path, int flags, uint64_t resolve) nogil


def look(int dirfd, bytes path, int flags, uint64_t resolve):
    """operations.look."""
    cdef int64_t mount = mount_of(dirfd, path, flags, resolve)
    if mount < 0:
        raise fail(-mount)
    return mount


cdef enum:
    FIRST_INPUT = 4096         # bytes; grows to the largest request, shrinks back when it is empty
    FIRST_OUTPUT = 8192
    SENDFILE_FROM = 32 * 1024  # bench/bench_read.py: below this a copy is cheaper than sendfile's set-up
    FLUSH_FROM = 64 * 1024
    LONGEST_HELLO = 8192       # session.py's
    MOST_SPINS = 48            # polls of the socket before going back to the loop, while they pay

# What `process` and `receive` ended with.
cdef enum:
    MORE = 0      # nothing left to do until more comes
    PYTHON = 1    # the frame at input_start is for session.py
    BLOCKED = 2   # the socket takes no more
    GONE = -1     # close it


cdef inline uint8_t *put_header(uint8_t *at, uint32_t length, uint16_t operation, uint32_t request_id) noexcept nogil:
    at = put32(at, length)
    at = put16(at, operation)
    at = put16(at, 0)
    at = put32(at, request_id)
    return put32(at, 0)


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
        free(self.readable)

    cdef int grow(self) except -1:
        cdef Py_ssize_t capacity = max(16, self.capacity * 2), i
        cdef void *fds = realloc(self.fds, capacity * sizeof(int))
        if fds:
            self.fds = <int *>fds
        cdef void *generations = realloc(self.generations, capacity * sizeof(uint32_t))
        if generations:
            self.generations = <uint32_t *>generations
        cdef void *readable = realloc(self.readable, capacity)
        if readable:
            self.readable = <uint8_t *>readable
        if not fds or not generations or not readable:
            raise MemoryError
        for i in range(self.capacity, capacity):
            self.fds[i] = -1
            self.generations[i] = 0
            self.readable[i] = 0
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
        self.readable[slot] = handle.kind == RC_KIND_POSITIONED and handle.flags & 3 != 1 and handle.speed != SLOW
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
        self.readable[slot] = 0
        self.generations[slot] = (self.generations[slot] + 1) & 0x7FFFFFFF
        self.handles[slot] = None
        self.unused.append(slot)
        return handle

    def numbers(self):
        return [i | (<uint64_t>self.generations[i] << 32) for i in range(1, self.size) if self.fds[i] >= 0]

    cdef int descriptor(self, uint64_t number) noexcept nogil:
        """The descriptor of a handle that PREAD may read; -1: anything else, which Python judges."""
        cdef uint32_t slot = <uint32_t>number
        if slot >= self.size or self.generations[slot] != number >> 32 or not self.readable[slot]:
            return -1
        return self.fds[slot]


cdef class Link:
    """One client's socket."""

    def __cinit__(self):
        self.fd = -1
        self.file = -1

    def __init__(self, host, stream, allowed):
        self.host = host
        self.loop = host.loop
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
        """Sends the output, then the file behind it: MORE, BLOCKED or GONE."""
        cdef ssize_t sent
        cdef int flags = MSG_DONTWAIT | MSG_NOSIGNAL
        if self.file >= 0:
            flags |= MSG_MORE
        while self.output_start < self.output_end:
            sent = c_send(self.fd, self.output + self.output_start, self.output_end - self.output_start, flags)
            if sent < 0:
                return BLOCKED if errno == EAGAIN or errno == EINTR else GONE
            self.output_start += sent
        self.output_start = self.output_end = 0
        return self.send_file() if self.file >= 0 else MORE

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
        self.forget_file()
        return MORE

    cdef void forget_file(self) noexcept nogil:
        if self.file_owned:
            c_close(self.file)
        self.file = -1
        self.file_owned = False

    cdef bint pending(self) noexcept nogil:
        return self.file >= 0 or self.output_start < self.output_end

    # -------------------------------------------------------------------------------------------- C: operations

    cdef int process(self) noexcept nogil:
        """Answers the hot requests at the front of the input; how that ended."""
        cdef uint8_t *at
        cdef uint32_t length, request_id
        cdef uint16_t operation
        cdef int result
        while self.input_end - self.input_start >= RC_HEADER_SIZE:
            at = self.input + self.input_start
            length = get32(at)
            if length > RC_LIMIT_MAX_REQUEST or (self.table is None and length > LONGEST_HELLO):
                return PYTHON  # to be refused
            if self.input_end - self.input_start - RC_HEADER_SIZE < length:
                break
            operation = get16(at + 4)
            request_id = get32(at + 8)
            if self.table is None or get32(at + 12):
                return PYTHON  # before HELLO, or with flags
            if operation == RC_OP_PREAD and length == RC_PREAD_REQUEST_SIZE:
                result = self.pread(at + RC_HEADER_SIZE, request_id)
            elif operation == RC_OP_FSTAT and length == RC_FSTAT_REQUEST_SIZE:
                result = self.fstat(at + RC_HEADER_SIZE, request_id)
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
        cdef int fd = self.table.descriptor(get64(request + RC_PREAD_REQUEST_handle))
        cdef int64_t offset = <int64_t>get64(request + RC_PREAD_REQUEST_offset)
        cdef uint32_t count = get32(request + RC_PREAD_REQUEST_count)
        cdef uint8_t *at
        cdef ssize_t got
        if count > RC_LIMIT_MAX_DATA:
            count = RC_LIMIT_MAX_DATA
        if fd < 0 or offset < 0 or offset > INT64_MAX - <int64_t>count:
            return PYTHON
        if count >= SENDFILE_FROM:
            return self.pread_large(fd, request_id, offset, count)
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

    cdef int pread_large(self, int fd, uint32_t request_id, int64_t offset, uint32_t count) noexcept nogil:
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
        self.file_offset = offset
        self.file_left = count
        return self.flush()

    cdef int fstat(self, const uint8_t *request, uint32_t request_id) noexcept nogil:
        cdef int fd = self.table.descriptor(get64(request + RC_FSTAT_REQUEST_handle))
        cdef uint8_t *at
        if fd < 0:
            return PYTHON
        at = self.reserve(RC_HEADER_SIZE + RC_STAT_SIZE)
        if not at:
            return GONE
        if not put_stat(at + RC_HEADER_SIZE, fd, get32(request + RC_FSTAT_REQUEST_mask)):
            return PYTHON
        put_header(at, RC_STAT_SIZE, RC_OP_FSTAT, request_id)
        self.output_end += RC_HEADER_SIZE + RC_STAT_SIZE
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
        if not self.writing:
            self.writing = True
            self.loop.add_writer(self.fd, self.on_writable)
        if self.reading:
            self.reading = False
            self.loop.remove_reader(self.fd)

    def on_writable(self):
        cdef int result
        with nogil:
            result = self.flush()
        if result == GONE:
            return self.close()
        if result == BLOCKED:
            return
        if self.tail:
            data, self.tail = self.tail, bytearray()
            self.send(bytes(data))
            if self.fd < 0 or self.pending():
                return
        self.writing = False
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
        if self.fd >= 0 and not self.pending() and not self.last:
            self.go_on()

    def send(self, data):
        """Sends a whole reply after those before it."""
        cdef uint8_t *at
        cdef const uint8_t *bytes_at
        cdef size_t count = len(data)
        if self.fd < 0 or not count:
            return
        if self.file >= 0:  # behind the file that is going out
            self.tail += data
            return
        at = self.reserve(count)
        if not at:
            return self.close()
        bytes_at = data
        memcpy(at, bytes_at, count)
        self.output_end += count
        self.push()

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
        self.account()
        self.loop.remove_reader(self.fd)
        self.loop.remove_writer(self.fd)
        self.fd = -1
        self.forget_file()
        self.output_start = self.output_end = 0
        self.stream.close()
        self.host.gone(self)

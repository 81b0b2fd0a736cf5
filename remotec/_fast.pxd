# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "served.h":
    struct place:
        int dirfd
        const char *path
        uint64_t resolve, mount, size
        uint32_t mode


cdef struct Speed:
    uint64_t mount
    int speed


cdef class Speeds:
    cdef object mounts
    cdef int fd
    cdef Speed *known
    cdef size_t count

    cdef int take(self) except -1
    cdef void again(self) noexcept with gil
    cdef void refresh(self) noexcept nogil
    cdef int speed(self, uint64_t mount) noexcept nogil


cdef class HandleTable:
    cdef int *fds
    cdef uint32_t *generations
    cdef uint8_t *uses
    cdef Py_ssize_t size, capacity
    cdef list handles, unused

    cdef int grow(self) except -1
    cdef int descriptor(self, uint64_t number, uint8_t uses) noexcept nogil


cdef struct Piece:
    int64_t offset
    uint32_t count, request_id


cdef enum:
    MOST_PIECES = 16


cdef class Link:
    cdef readonly object connection
    cdef object host, loop, stream, tail
    cdef HandleTable table
    cdef Speeds speeds
    cdef int fd, file, spins, root_fd
    cdef int64_t file_offset
    cdef size_t file_left
    cdef uint64_t file_handle
    cdef Piece pieces[MOST_PIECES]  # of the same file, which go out after it
    cdef int first_piece, end_piece
    cdef uint8_t *input
    cdef uint8_t *output
    cdef size_t input_size, input_start, input_end, output_size, output_start, output_end
    cdef bint reading, writing, last, file_owned, busy
    cdef bint away, gone  # a thread sends: nothing here may be touched but `tail`; it was closed meanwhile
    cdef bint mounts_known  # to `speeds`, for the requests that are being processed
    cdef uint64_t requests, bytes_sent

    cdef int receive(self) noexcept nogil
    cdef int process(self) noexcept nogil
    cdef int pread(self, const uint8_t *request, uint32_t request_id) noexcept nogil
    cdef int pread_large(
        self, uint64_t handle, int fd, uint32_t request_id, int64_t offset, uint32_t count
    ) noexcept nogil
    cdef int fstat(self, const uint8_t *request, uint32_t request_id) noexcept nogil
    cdef int status(self, int fd, int flags, uint32_t mask, uint16_t operation, uint32_t request_id) noexcept nogil
    cdef int locate(
        self, place *at, char *room, uint64_t directory, const uint8_t *blob, uint32_t size
    ) noexcept nogil
    cdef int look(self, place *at, bint nofollow) noexcept nogil
    cdef int missing(self, int error, uint16_t operation, uint32_t request_id) noexcept nogil
    cdef int stat(self, const uint8_t *request, uint32_t length, uint32_t request_id) noexcept nogil
    cdef int readlink(self, const uint8_t *request, uint32_t length, uint32_t request_id) noexcept nogil
    cdef int open(self, const uint8_t *request, uint32_t length, uint32_t request_id) noexcept nogil
    cdef int opened(self, int fd, uint32_t wire, uint32_t prefetch, uint32_t request_id) noexcept nogil
    cdef uint64_t issue(self, int fd, uint32_t flags, uint64_t mount, int speed) noexcept with gil
    cdef int close_handle(self, const uint8_t *request, uint32_t request_id, uint32_t flags) noexcept with gil
    cdef uint8_t *reserve(self, size_t count) noexcept nogil
    cdef int flush(self) noexcept nogil
    cdef int send_file(self) noexcept nogil
    cdef int send_on(self) noexcept nogil
    cdef void look_for_pieces(self) noexcept nogil
    cdef bint take_piece(self) noexcept nogil
    cdef void forget_file(self) noexcept nogil
    cdef void free_output(self) noexcept nogil
    cdef bint pending(self) noexcept nogil

    cdef work(self)
    cdef bint one_frame(self) except -1
    cdef account(self)
    cdef look_for_cancel(self)
    cdef bint put(self, data) except -1
    cdef push(self)
    cdef wait_for_room(self)
    cdef await_writable(self)
    cdef send_away(self)
    cdef written(self)
    cdef go_on(self)

# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef class HandleTable:
    cdef int *fds
    cdef uint32_t *generations
    cdef uint8_t *readable
    cdef Py_ssize_t size, capacity
    cdef list handles, unused

    cdef int grow(self) except -1
    cdef int descriptor(self, uint64_t number) noexcept nogil


cdef class Link:
    cdef readonly object connection
    cdef object host, loop, stream, tail
    cdef HandleTable table
    cdef int fd, file, spins
    cdef int64_t file_offset
    cdef size_t file_left
    cdef uint8_t *input
    cdef uint8_t *output
    cdef size_t input_size, input_start, input_end, output_size, output_start, output_end
    cdef bint reading, writing, last, file_owned, busy
    cdef uint64_t requests, bytes_sent

    cdef int receive(self) noexcept nogil
    cdef int process(self) noexcept nogil
    cdef int pread(self, const uint8_t *request, uint32_t request_id) noexcept nogil
    cdef int pread_large(self, int fd, uint32_t request_id, int64_t offset, uint32_t count) noexcept nogil
    cdef int fstat(self, const uint8_t *request, uint32_t request_id) noexcept nogil
    cdef uint8_t *reserve(self, size_t count) noexcept nogil
    cdef int flush(self) noexcept nogil
    cdef int send_file(self) noexcept nogil
    cdef void forget_file(self) noexcept nogil
    cdef void free_output(self) noexcept nogil
    cdef bint pending(self) noexcept nogil

    cdef work(self)
    cdef bint one_frame(self) except -1
    cdef account(self)
    cdef look_for_cancel(self)
    cdef push(self)
    cdef wait_for_room(self)
    cdef go_on(self)

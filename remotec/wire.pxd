# SPDX-License-Identifier: MIT
"""The protocol's numbers, under the names that C has for them."""

cdef extern from "protocol.h" nogil:
    enum:
        RC_HEADER_SIZE
        RC_FRAME_ONE_WAY
        RC_LIMIT_MAX_REQUEST
        RC_LIMIT_MAX_DATA
        RC_LIMIT_MAX_HANDLES
        RC_KIND_POSITIONED
        RC_OP_PREAD
        RC_OP_FSTAT
        RC_OP_LSEEK
        RC_PREAD_REQUEST_SIZE
        RC_PREAD_REQUEST_handle
        RC_PREAD_REQUEST_offset
        RC_PREAD_REQUEST_count
        RC_FSTAT_REQUEST_SIZE
        RC_FSTAT_REQUEST_handle
        RC_FSTAT_REQUEST_mask
        RC_LSEEK_REQUEST_SIZE
        RC_STAT_SIZE

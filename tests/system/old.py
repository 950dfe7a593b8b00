# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program that finds an older kernel than there is: a filter refuses what that did not have yet."""

import ctypes
import errno
import os
import struct

from agent import check, libc
from harness import Skip

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
# linux/filter.h: load a word, and, jump if equal, jump if any bit is set, return
LOAD, AND, EQUAL, RETURN = 0x20, 0x54, 0x15, 0x06
# The machine's ioctl(2) and getsockopt(2).
CALLS = {"x86_64": (16, 55), "aarch64": (29, 209)}
# By the low half of their numbers: NS_GET_PID_FROM_PIDNS and its like (6.11), PIDFD_GET_INFO (6.13).
IOCTLS = (0xB706, 0xB707, 0xB708, 0xB709, 0xFF0B)
SO_PEERPIDFD = 77  # 6.5


def program(ioctl, getsockopt):
    """seccomp(2): nr at 0, the arguments from 16 on."""
    ioctls = [(LOAD, 0, 0, 24), (AND, 0, 0, 0xFFFF)]
    ioctls += [(EQUAL, len(IOCTLS) - i, 0, number) for i, number in enumerate(IOCTLS)]
    ioctls += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE | errno.ENOTTY)]
    return [(LOAD, 0, 0, 0), (EQUAL, 0, len(ioctls), ioctl), *ioctls,
            (EQUAL, 0, 3, getsockopt), (LOAD, 0, 0, 32), (EQUAL, 0, 1, SO_PEERPIDFD),
            (RETURN, 0, 0, REFUSE | errno.ENOPROTOOPT), (RETURN, 0, 0, ALLOW)]


def kernel():
    """To be called in the new process; its children find the same. The machine must be known."""
    calls = CALLS.get(os.uname().machine)
    if not calls:
        raise Skip("the filter is not written for this machine")
    code = b"".join(struct.pack("=HBBI", *row) for row in program(*calls))

    def become():
        text = ctypes.create_string_buffer(code, len(code))
        filter_of = struct.pack("@HP", len(code) // 8, ctypes.addressof(text))
        check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_of, 0, 0), "an older kernel")
    return become

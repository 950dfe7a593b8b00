# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device programs as other managers of containers attach them, by bpf(2) alone."""

import ctypes
import os
import struct

from agent import check, libc

SYS_bpf = {"x86_64": 321, "aarch64": 280, "riscv64": 280}.get(os.uname().machine, 321)
PROG_LOAD, PROG_ATTACH, PROG_DETACH, PROG_GET_FD_BY_ID, PROG_QUERY = 5, 8, 9, 13, 16
CGROUP_DEVICE_PROGRAM, CGROUP_DEVICE = 15, 6
PLAIN, OVERRIDE, MULTI = 0, 1, 2
LOAD, NOT_EQUAL, MOVE, CALL, EXIT = 0x61, 0x55, 0xb7, 0x85, 0x95


def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes, 144)
    result = libc.syscall(SYS_bpf, command, ctypes.byref(attributes), 144)
    return check(result, f"bpf {command}") or result, attributes.raw


def instruction(code, to=0, offset=0, value=0):
    return struct.pack("=BBhi", code, to, offset, value)


def denies(major, minor):
    """Everything but one device."""
    return b"".join((
        instruction(LOAD, 2 | 1 << 4, 4), instruction(NOT_EQUAL, 2, 4, major),
        instruction(LOAD, 2 | 1 << 4, 8), instruction(NOT_EQUAL, 2, 2, minor),
        instruction(MOVE, 0, 0, 0), instruction(EXIT),
        instruction(MOVE, 0, 0, 1), instruction(EXIT)))


def secret():
    """All, after asking the kernel for what nobody can read out of the program."""
    return instruction(CALL, value=7) + instruction(MOVE, 0, 0, 1) + instruction(EXIT)


def load(instructions, name="other"):
    text, licence = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"GPL")
    fd, _ = bpf(PROG_LOAD, struct.pack(
        "=IIQQIIQII16s", CGROUP_DEVICE_PROGRAM, len(instructions) // 8, ctypes.addressof(text),
        ctypes.addressof(licence), 0, 0, 0, 0, 0, name.encode()))
    return fd


def attach(place, instructions, flags=MULTI, name="other"):
    """To the cgroup of a directory; it stays until the cgroup goes, or detach()."""
    program, directory = load(instructions, name), os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        bpf(PROG_ATTACH, struct.pack("=IIII", directory, program, CGROUP_DEVICE, flags))
    finally:
        os.close(directory)
        os.close(program)


def attached(place):
    """(flags, ids)"""
    ids = (ctypes.c_uint32 * 64)()
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _, answer = bpf(PROG_QUERY, struct.pack("=IIIIQI", directory, CGROUP_DEVICE, 0, 0,
                                                ctypes.addressof(ids), len(ids)))
    finally:
        os.close(directory)
    return struct.unpack_from("=I", answer, 12)[0], list(ids[:struct.unpack_from("=I", answer, 24)[0]])


def detach(place):
    """Whatever is attached to the cgroup itself."""
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in attached(place)[1]:
            program, _ = bpf(PROG_GET_FD_BY_ID, struct.pack("=I", number))
            bpf(PROG_DETACH, struct.pack("=III", directory, program, CGROUP_DEVICE))
            os.close(program)
    finally:
        os.close(directory)

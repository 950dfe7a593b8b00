# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of device rules share: nodes of devices in a tmpfs of their own, and processes that try them."""

import ctypes
import errno
import os
import random
import stat
import struct

import wire
from agent import check, libc
from cgroups import PURE
from harness import Skip

# What SetValue says where v1's file would give this error.
REFUSED = {errno.EINVAL: "VALUE_REFUSED", errno.EPERM: "VALUE_WIDER"}
MS_NOSUID, MNT_DETACH = 2, 2
PR_SET_PDEATHSIG, SIGKILL = 1, 9
# Opening these does nothing. Of the others it is only asked whether they could be.
HARMLESS = (("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9))
ASKED = (("c", 5, 3), ("b", 1, 3), ("b", 5, 5))
OPENS = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
MODES = {"": os.F_OK, "r": os.R_OK, "w": os.W_OK, "rw": os.R_OK | os.W_OK}


def start(w, *options):
    """The daemon, with v2 for devices."""
    w.start(*(() if PURE else ("-M", "devices")), *options)
    if "host" in w.clients:
        w.host().reconnect()
    if not any("devices" in entry.split(",") for entry in w.host().ListControllers()):
        raise Skip("this kernel takes no device programs")
    return w.host()


def name_of(device):
    kind, major, minor = device
    return f"{kind}{major}:{minor}"


class Nodes:
    """Nodes of these devices, where device files count."""

    def __init__(self, directory, devices=HARMLESS + ASKED):
        self.at = os.path.join(directory, "nodes")
        os.mkdir(self.at)
        check(libc.mount(b"tmpfs", self.at.encode(), b"tmpfs", ctypes.c_ulong(MS_NOSUID), b"mode=755"), "mount")
        for device in devices:
            make_node(os.path.join(self.at, name_of(device)), device)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        check(libc.umount2(self.at.encode(), MNT_DETACH), "umount")
        os.rmdir(self.at)


def make_node(path, device):
    kind, major, minor = device
    os.mknod(path, 0o600 | (stat.S_IFCHR if kind == "c" else stat.S_IFBLK), os.makedev(major, minor))


def may(at, device, access):
    """The kernel's verdict; "" asks whether it is there."""
    path = os.path.join(at, name_of(device))
    if access == "m":
        return may_make(f"{path}-{os.getpid()}", device)
    if access == "" or device not in HARMLESS:
        return os.access(path, MODES[access])
    try:
        os.close(os.open(path, OPENS[access] | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return False
    return True


def may_make(path, device):
    try:
        make_node(path, device)
    except PermissionError:
        return False
    os.unlink(path)
    return True


class Opener:
    """A process that tries what it is asked to: numbers of (device, access) in `tries`."""

    def __init__(self, at, tries):
        self.ask, asked = os.pipe(), os.pipe()
        self.answers = asked[0]
        self.pid = os.fork()
        if self.pid == 0:
            libc.prctl(PR_SET_PDEATHSIG, SIGKILL)
            while wanted := os.read(self.ask[0], 4096):
                os.write(asked[1], bytes(may(at, *tries[i]) for i in wanted))
            os._exit(0)
        os.close(self.ask[0])
        os.close(asked[1])
        self.ask = self.ask[1]

    def start(self, wanted):
        os.write(self.ask, bytes(wanted))

    def finish(self):
        return os.read(self.answers, 4096)

    def close(self):
        os.kill(self.pid, SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.ask)
        os.close(self.answers)


class Rush:
    """A connection that sends many calls at once. Of a reply only its first string counts."""

    def __init__(self, address):
        self.bus, self.heads, self.sent = wire.Bus(address), {}, 0

    def head(self, member, count):
        if member not in self.heads:
            whole = wire.build(0, member, "s" * count, [""] * count)
            self.heads[member] = bytearray(whole[:len(whole) - (8 * count - 3)])
        return self.heads[member]

    def call(self, member, *args):
        """The bytes of one call."""
        body = bytearray()
        for arg in args:
            raw = arg.encode()
            body += bytes(-len(body) % 4) + struct.pack("<I", len(raw)) + raw + b"\0"
        head = self.head(member, len(args))
        self.sent += 1
        struct.pack_into("<II", head, 4, len(body), self.sent)
        return bytes(head) + bytes(body)

    def reply(self):
        """(is it no error, text)"""
        bus = self.bus
        while len(bus.data) < 16:
            bus.receive()
        body, _, fields = struct.unpack_from("<III", bus.data, 4)
        start = 16 + fields + -fields % 8
        while len(bus.data) < start + body:
            bus.receive()
        good, text = bus.data[1] == wire.RETURN, ""
        # The number that Create gives is four bytes, a string has more.
        if body > 4:
            size, = struct.unpack_from("<I", bus.data, start)
            text = bus.data[start + 4:start + 4 + size].decode()
        bus.data = bus.data[start + body:]
        return good, text

    def send(self, calls):
        self.bus.send(b"".join(calls))

    def close(self):
        self.bus.close()


def draw_rule(rng):
    """A rule in the format of v1's files, for devices that have to do with one another."""
    kind = rng.choice("cccb")
    # The kernel takes numbers that no device has; 4097 is 1 in the bits that a device has.
    major = rng.choice(("1", "1", "1", "5", "*", "4097"))
    minor = rng.choice(("3", "3", "5", "8", "*", "*", "1048579"))
    access = rng.choice(("r", "w", "m", "rw", "rm", "wm", "rwm", "rwm"))
    return f"{kind} {major}:{minor} {access}"


MALFORMED = ("c 1:3", "c  1:3 r", "x 1:3 r", "c 1:3 rwx", "c 1:3 rr", " c 1:3 r", "c 1:x r", "c 1: r", "c:1:3 r",
             "c 1:3 rwmr", "c 4294967295:3 r", "c 1:99999999999 r", "c -1:3 r", "ab", "c\t1:3\tr", "c 01:003 w",
             "c 1:3 r\n", "c 1:3 \nx", "c 1:3 m ", "*:* rwm", "c 1:3 r w", "c 4294967296:1 r")


def draw_value(rng):
    what = rng.random()
    if what < 0.05:
        return rng.choice(MALFORMED)
    if what < 0.12:
        return "a"
    return draw_rule(rng)


def seeded(what):
    """The same each time."""
    return random.Random(f"devices {what}")

# SPDX-License-Identifier: LGPL-2.1-or-later
"""A FUSE file system of one file, of which neither a read nor a flush is ever answered: whoever touches its
memory, or closes it, waits for ever.

A container's root can mount one. It speaks the kernel's protocol (linux/fuse.h) by itself. Whoever waits
goes on with an error once the server has ended.
"""

import errno
import os
import signal
import stat
import struct

import agent

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT = 1, 2, 3, 14, 15, 18, 25, 26
INTERRUPT, BATCH_FORGET = 36, 42
SILENT = (FORGET, READ, FLUSH, INTERRUPT, BATCH_FORGET)
SIZE = 4096
HEAD = struct.Struct("=IIQQIIIHH")
MAJOR, MINOR = 7, 31
NAME = b"f"


def device(directory):
    """On the host: a device node that the root of a container may open, where none can be made inside.
    In the container, because the kernel wants it opened in the user namespace that mounts."""
    os.mkdir(directory)
    agent.mount("tmpfs", directory, "tmpfs")
    os.mknod(f"{directory}/fuse", 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(f"{directory}/fuse", 0o666)


def forget(directory):
    agent.check(agent.libc.umount2(directory.encode(), 2), "umount")


def attributes(node):
    mode = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o666
    return struct.pack("=6Q10I", node, SIZE, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(code, node, body):
    """The body of an answer, or an errno."""
    if code == INIT:
        return struct.pack("=4IHHIIHHI28x", MAJOR, MINOR, 65536, 0, 16, 12, 65536, 1, 0, 0, 0)
    if code == LOOKUP:
        if body.rstrip(b"\0") != NAME:
            return errno.ENOENT
        return struct.pack("=4Q2I", 2, 0, 3600, 3600, 0, 0) + attributes(2)
    if code == GETATTR:
        return struct.pack("=QII", 3600, 0, 0) + attributes(node)
    if code == OPEN:
        return struct.pack("=QII", 1, 0, 0)
    if code == RELEASE:
        return b""
    return errno.ENOSYS


def serve(fd):
    while True:
        try:
            data = os.read(fd, 1 << 17)
        except InterruptedError:
            continue
        except OSError:
            return
        _, code, unique, node, *_ = HEAD.unpack_from(data)
        if code in SILENT:
            continue
        body = answer(code, node, data[HEAD.size:])
        number = 0 if isinstance(body, bytes) else -body
        body = body if isinstance(body, bytes) else b""
        os.write(fd, struct.pack("=IiQ", 16 + len(body), number, unique) + body)


def start(node, directory):
    """In a container's root: mounts it, and gives an open fd of its file."""
    fd = os.open(node, os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
    agent.check(agent.libc.mount(b"none", directory.encode(), b"fuse", agent.ctypes.c_ulong(6),
                                 options.encode()), "mount fuse")
    pid = os.fork()
    if pid == 0:
        os.dup2(fd, 0)
        os.closerange(3, 4096)
        serve(0)
        os._exit(0)
    os.close(fd)
    agent.here["fuse server"] = pid
    agent.here["fuse"] = os.open(f"{directory}/{NAME.decode()}", os.O_RDWR)
    return agent.here["fuse"]


def stop():
    """Ends the server, and with it all waiting."""
    pid = agent.here.pop("fuse server")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

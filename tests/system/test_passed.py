# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets that are passed, and lead to somebody else, or are held by their sender; and no porters."""

import ctypes
import mmap
import os
import socket
import struct
import threading

import agent
import fuse
import scm
import wire
import world
from agent import wait_until
from harness import needs, test
from scm import credentials

READ = 15  # of linux/fuse.h


@test
def test_scm_speaks_to_nobody_else(w):
    """A datagram socket that is connected to a third party: what the client chooses must not reach him
    with the daemon's credentials."""
    needs("memory")
    third = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    third.bind(w.directory + "/notify")
    os.chmod(w.directory + "/notify", 0o777)
    third.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    user = w.user(1000)
    user.Create("memory", "STOPPING=1")
    user.run(speak_through, w.daemon.socket, w.directory + "/notify")
    third.setblocking(False)
    try:
        got = third.recvmsg(4096, 256)
    except BlockingIOError:
        return
    raise AssertionError(f"the third party got {got}")


def speak_through(address, path):
    passed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    passed.bind(b"\0" + os.urandom(8).hex().encode())
    helper = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    helper.connect(passed.getsockname())
    passed.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    for _ in range(2):
        scm.send_with(helper, b"p", credentials())
    passed.connect(path)  # what waits in its queue stays: it had no peer before
    bus = wire.Bus(address, fds=True)
    bus.call("MovePid", "memory", "STOPPING=1", os.getpid())
    serial = scm.send_call(bus, "GetPidCgroupAbs", ["memory"], [passed.fileno()])
    try:
        bus.answer(serial).value()
        wire.Bus(address).call("Ping", 1)
        bus.call("GetValue", "memory", "", "cgroup.procs")
    except (wire.DBusError, wire.Dropped):
        pass


@test
def test_scm_reconnected(w):
    """A socketpair's end that is connected elsewhere while its result waits: text comes from a process
    whose credentials mean nothing."""
    needs("memory")
    third = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    third.bind(w.directory + "/notify")
    os.chmod(w.directory + "/notify", 0o777)
    third.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    user = w.user(1000)
    user.Create("memory", "WATCHDOG=trigger")
    user.run(reconnect, w.daemon.socket, w.directory + "/notify")
    third.setblocking(False)
    while True:
        try:
            data, control, _, _ = third.recvmsg(4096, 256)
        except BlockingIOError:
            break
        for _, kind, payload in control:
            if kind == socket.SCM_CREDENTIALS and b"WATCHDOG" in data:
                pid, uid, gid = scm.UCRED.unpack(payload)
                assert pid != w.daemon.pid and uid and gid, f"{data} came from {pid} {uid} {gid}"


def reconnect(address, path):
    """Fills the passed end's way out, so that the result waits, and then leads it elsewhere."""
    bus = wire.Bus(address, fds=True)
    exchange = scm.Exchange(bus, "ListChildren", "memory", "", kind="dgram")
    passed = exchange.theirs.dup()
    passed.setblocking(False)
    try:
        exchange.begun()
        exchange.turn()
        try:
            while True:
                passed.send(bytes(16384))
        except BlockingIOError:
            pass
        exchange.send(credentials())
        bus.call("GetTasks", "memory", "")  # so the exchange has gone on
        passed.connect(path)
        exchange.ours.setblocking(False)
        try:
            while True:
                exchange.ours.recv(1 << 16)
        except BlockingIOError:
            pass
        bus.call("GetTasks", "memory", "")
    except (scm.Refused, wire.DBusError, wire.Dropped):
        pass


@test
def test_t60_socket_locked(w):
    """Its sender holds the lock of the passed socket, for as long as a filter for it is copied from
    memory that never comes. Others are served, and the daemon can be ended."""
    needs("memory")
    node, at = f"{w.directory}/dev", f"{w.directory}/mnt"
    os.mkdir(at)
    w.host_agent.run(fuse.device, node)
    hostile, quiet = w.container(), w.user(1000)
    quiet.Ping(1)
    try:
        hostile.run(start_unreadable, f"{node}/fuse", at)
        hostile.run(lock_socket)
        hostile.run(pass_locked, w.daemon.socket)
        for _ in range(20):
            quiet.Ping(1)
            quiet.ListControllers()
        scm.Client(quiet).ListKeys("memory", "")
        w.daemon.stop()
    finally:
        hostile.run(fuse.stop)
        w.host_agent.run(fuse.forget, node)


def start_unreadable(node, directory):
    fuse.SILENT = (*fuse.SILENT, READ)
    whole = fuse.attributes
    fuse.attributes = lambda n: (lambda a: a[:8] + struct.pack("=Q", mmap.PAGESIZE) + a[16:])(whole(n))
    fuse.start(node, directory)


def lock_socket():
    """SO_ATTACH_FILTER copies the program under the socket's lock."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    memory = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_PRIVATE, agent.here["fuse"], 0)
    program = struct.pack("=H6xQ", 1, memory)
    pair = socket.socketpair()

    def attach():
        agent.here["locking"] = threading.get_native_id()
        libc.setsockopt(pair[1].fileno(), socket.SOL_SOCKET, 26, program, len(program))
        agent.here["locking"] = None

    agent.here["locking"], agent.here["pair"] = 0, pair
    threading.Thread(target=attach, daemon=True).start()
    wait_until(lambda: agent.here["locking"] and world.read(
        f"/proc/self/task/{agent.here['locking']}/stat").rpartition(")")[2].split()[0] in "DS", "it waits")


def pass_locked(address):
    agent.here["locked"] = bus = wire.Bus(address, fds=True)
    scm.send_call(bus, "ListKeys", ["memory", ""], [agent.here["pair"][1].fileno()])


@test
def test_no_task_for_a_porter(w):
    """Where the kernel lets the daemon fork no more, calls with a socket are refused, and others not."""
    needs("memory", "pids")
    world.make("pids", "daemon")
    family = [w.daemon.pid, *children(w.daemon.pid)]
    for pid in family:
        world.put("pids", "daemon", pid)
    user = w.user(1000)
    user.ListKeys("memory", "")
    world.write(world.where("pids", "daemon") + "/pids.max", world.read(
        world.where("pids", "daemon") + "/pids.current"))
    client = scm.Client(user)
    try:
        client.ListKeys("memory", "")
    except (wire.Dropped, wire.DBusError, scm.Refused):
        pass
    else:
        raise AssertionError("there was a porter all the same")
    user.ListKeys("memory", "")
    world.write(world.where("pids", "daemon") + "/pids.max", "max")
    scm.Client(user).ListKeys("memory", "")
    for pid in [*family, *children(w.daemon.pid)]:
        try:
            world.put("pids", "", pid)
        except ProcessLookupError:
            pass


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as pids:
        return [int(pid) for pid in pids.read().split()]

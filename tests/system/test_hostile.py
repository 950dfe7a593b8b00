# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients that mean harm, with what can hold up whoever touches it, and by their number.

Of the cases 50 to 60 of those that speak the transport those that are short are in test_transport.py,
and those of an exchange of credentials in test_scm.py.
"""

import os
import re
import resource
import select
import signal
import socket
import struct
import threading
import time

import agent
import fuse
import scm
import wire
import world
from agent import wait_until
from harness import Skip, bare, each, equal, needs, test

PING = wire.build(1, "Ping", "i", (1,))
AUTH = b"\0AUTH ANONYMOUS 78\r\n"
MEMORY_MAX = 40960  # kB


# Things that a client passes. Each gives an fd that nothing here closes: that would wait too.

def of_fuse():
    return agent.here["fuse"]


def lingering():
    """A TCP socket that waits ten minutes for its peer when its last reference goes."""
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    agent.here.setdefault("tcp", []).extend((listener, theirs))
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(65536))
    except BlockingIOError:
        pass
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
    return ours.detach()


def device():
    return os.open("/dev/null", os.O_RDWR)


def directory():
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY)


# What else refers to it is gone before the daemon has it.
LAST_IN_FLIGHT = (lingering, device, directory)


def let_go_of(fds, make):
    """Closes them where they are to be the last. Whoever really has the last waits: not we."""
    if make in LAST_IN_FLIGHT:
        threading.Thread(target=lambda: [os.close(fd) for fd in fds], daemon=True).start()


def give(sock, data, make, count=1):
    fds = [make() for _ in range(count)]
    try:
        socket.send_fds(sock, [data], fds)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except PermissionError:
        # Since 6.16 the kernel refuses them for the daemon until they are negotiated.
        sock.shutdown(socket.SHUT_RDWR)
    let_go_of(fds, make)


def dropped(bus):
    """Reads until the end; False if an answer comes instead."""
    try:
        while True:
            bus.receive()
            if b"\0" in bus.data:
                return False
    except wire.Dropped:
        return True


# Where it is passed. Each gives True if the sender was dropped.

def in_auth(address, make):
    bus = wire.Bus(address, login=False)
    give(bus.socket, AUTH, make)
    return dropped(bus)


def amid_auth(address, make):
    bus = wire.Bus(address, login=False)
    bus.send(AUTH)
    give(bus.socket, b"BEG", make)
    return dropped(bus)


def in_call(address, make):
    bus = wire.Bus(address, fds=True)
    give(bus.socket, wire.build(1, "Ping", "i", (1,), extra=[(9, "u", 1)]), make)
    return dropped(bus)


def without_leave(address, make):
    """fd passing was not negotiated."""
    bus = wire.Bus(address)
    give(bus.socket, PING, make)
    return dropped(bus)


def behind_calls(address, make):
    bus = wire.Bus(address, fds=True)
    give(bus.socket, PING * 3 + PING[:20], make)
    try:
        while True:
            bus.receive()
    except wire.Dropped:
        return True


def on_last_byte(address, make):
    bus = wire.Bus(address, fds=True)
    bus.send(PING[:-1])
    give(bus.socket, PING[-1:], make)
    return dropped(bus)


def on_first_byte(address, make):
    """And nothing more: the message does not even begin to be one."""
    bus = wire.Bus(address, fds=True)
    give(bus.socket, PING[:1], make)
    return dropped(bus)


def four_of_253(address, make):
    """On four pieces of a message that is not finished."""
    bus = wire.Bus(address, fds=True)
    for at in range(0, 16, 4):
        give(bus.socket, PING[at:at + 4], make, 253)
    return dropped(bus)


def a_hundred_pieces(address, make):
    bus = wire.Bus(address, fds=True)
    for at in range(len(PING) - 1):
        give(bus.socket, PING[at:at + 1], make)
    return dropped(bus)


def and_gone(address, make):
    """The sender does not wait to be dropped."""
    for data in (PING, PING[:9], AUTH):
        bus = wire.Bus(address, fds=True) if data != AUTH else wire.Bus(address, login=False)
        give(bus.socket, data, make)
        bus.close()
    return True


def as_socket(address, make):
    """In the place of the socket of an Scm call."""
    bus = wire.Bus(address, fds=True)
    message = wire.build(1, "CreateScm", "ssh", ("memory", "x", 0), extra=[(9, "u", 1)])
    give(bus.socket, message, make)
    return dropped(bus)


def with_credentials(address, make):
    """Beside the byte that an exchange waits for. Who did so may be refused further exchanges."""
    bus = wire.Bus(address, fds=True)
    exchange = scm.Exchange(bus, "Create", "memory", "hostile")
    fd = make()
    try:
        exchange.begun()
        exchange.turn()
        scm.send_with(exchange.ours, b"p", scm.credentials(), [fd])
        let_go_of([fd], make)
        exchange.result()
        return False
    except (scm.Refused, wire.DBusError, wire.Dropped, ConnectionResetError, BrokenPipeError):
        return True
    finally:
        exchange.ours.close()
        bus.close()


def in_passed_queue(address, make):
    """Waiting in the queue of the socket that is passed, before the daemon asks for anything."""
    bus = wire.Bus(address, fds=True)
    ours, theirs = socket.socketpair()
    give(ours, b"p", make)
    exchange = scm.Exchange(bus, "Create", "memory", "hostile", pair=(ours, theirs))
    try:
        exchange.begun()
        ours.close()
        bus.call("Ping", 1)
    except (wire.Dropped, wire.DBusError):
        pass
    finally:
        exchange.close()
        bus.close()
    return True


WAYS = [f.__name__ for f in (in_auth, amid_auth, in_call, without_leave, behind_calls, on_last_byte,
                             on_first_byte, as_socket, with_credentials, in_passed_queue, and_gone)]


def attempts(address, way, make, times):
    """How often the sender was dropped."""
    return sum(globals()[way](address, globals()[make]) for _ in range(times))


def others_are_served(w, hostile):
    """Nobody else notices, not even the hostile one's own container."""
    quiet = (w.host(), w.user(1000), w.container("c9", base=300000), w.inner_user(hostile))
    for client in quiet:
        client.Ping(1)
        client.ListControllers()
    for client in quiet[:3]:
        scm.Client(client).ListKeys("memory", "")


def patient(w):
    """On a slow machine too, it is for what they did that they are dropped, and nobody else is."""
    needs("memory")
    w.restart("--scm-timeout", "60", "--auth-timeout", "120")


def try_all(w, hostile, way, make, times=3):
    others_are_served(w, hostile)
    equal(hostile.run(attempts, w.daemon.socket, way, make, times), times, "dropped")
    others_are_served(w, hostile)


def descendants(pid):
    """The daemon's other processes."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(world.read(f"/proc/{entry}/stat").rpartition(")")[2].split()[1]) in (
                    pid, *found):
                found.append(int(entry))
        except OSError:
            pass
    return found


def is_alive(pid):
    try:
        return world.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def alive(pids):
    return [pid for pid in pids if is_alive(pid)]


@each(*WAYS)
def test_t50_fuse(w, way):
    """An fd of a file system that its sender does not answer for: who closes it waits for ever. The
    daemon can still be ended."""
    patient(w)
    node, at = f"{w.directory}/dev", f"{w.directory}/mnt"
    os.mkdir(at)
    w.host_agent.run(fuse.device, node)
    hostile = w.container()
    # Before there is the fd: a child of whoever has it would wait when it closes its copy.
    others_are_served(w, hostile)
    try:
        hostile.run(fuse.start, f"{node}/fuse", at)
        try_all(w, hostile, way, "of_fuse")
        family = descendants(w.daemon.pid)
        w.daemon.stop()
    finally:
        hostile.run(fuse.stop)
        w.host_agent.run(fuse.forget, node)
    wait_until(lambda: not alive(family), "the daemon's other processes have ended")


@each(*WAYS)
def test_t50_lingering(w, way):
    """The last reference to a TCP socket that lingers."""
    patient(w)
    hostile = w.container()
    try_all(w, hostile, way, "lingering")
    family = descendants(w.daemon.pid)
    w.daemon.stop()
    wait_until(lambda: not alive(family), "the daemon's other processes have ended")


@each(*[(way, make) for way in WAYS for make in ("device", "directory")])
def test_t50_things(w, way, make):
    patient(w)
    try_all(w, w.container(), way, make, times=1)


@each(*[(way, make) for way in ("four_of_253", "a_hundred_pieces")
        for make in ("lingering", "device", "directory")])
def test_t51_pieces(w, way, make):
    """Each piece of a message carries fds, and the message does not end."""
    patient(w)
    hostile = w.container()
    hostile.run(more_files, 4096)
    try_all(w, hostile, way, make, times=1)


@test
def test_t51_fuse_pieces(w):
    patient(w)
    node, at = f"{w.directory}/dev", f"{w.directory}/mnt"
    os.mkdir(at)
    w.host_agent.run(fuse.device, node)
    hostile = w.container()
    # Before there is the fd: a child of whoever has it would wait when it closes its copy.
    others_are_served(w, hostile)
    hostile.run(more_files, 4096)
    try:
        hostile.run(fuse.start, f"{node}/fuse", at)
        for way in ("four_of_253", "a_hundred_pieces"):
            try_all(w, hostile, way, "of_fuse", times=2)
        w.daemon.stop()
    finally:
        hostile.run(fuse.stop)
        w.host_agent.run(fuse.forget, node)


def more_files(count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        count = min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


# By their number.

def hold(address, count):
    """Connects as often as it can; how many are had."""
    held = agent.here.setdefault("held", [])
    more_files(count + 256)
    for _ in range(count):
        try:
            held.append(wire.Bus(address, timeout=60))
        except (wire.Dropped, OSError):
            pass
    return len(held)


def let_go():
    for bus in agent.here.pop("held", []):
        bus.close()


def cpu_ticks(pid):
    fields = world.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@test
def test_t55_no_fds(w):
    """All fds are taken: who comes then sees an end, who was there goes on, and nothing spins."""
    host, user = w.host(), w.user(1000)
    for client in (host, user):
        client.ListControllers()
        client.Ping(1)
    fds = w.daemon.fds()
    hard = resource.prlimit(w.daemon.pid, resource.RLIMIT_NOFILE)[1]
    numbers = [int(n) for n in os.listdir(f"/proc/{w.daemon.pid}/fd")]
    resource.prlimit(w.daemon.pid, resource.RLIMIT_NOFILE, (max(numbers) + 41, hard))
    holder = w.host_agent.spawn("holder", uid=2000)
    got = holder.run(hold, w.daemon.socket, 60)
    assert 0 < got < 60, got
    # One that waits to be accepted, for as long as it likes to.
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(64)]
    for sock in waiting:
        sock.settimeout(60)
        sock.connect(w.daemon.socket)
    before, began = cpu_ticks(w.daemon.pid), time.monotonic()
    while time.monotonic() < began + 1:
        host.Ping(1)
        user.Ping(1)
        time.sleep(0.01)
    used = (cpu_ticks(w.daemon.pid) - before) / os.sysconf("SC_CLK_TCK")
    assert used < 0.5, f"{used} s of processor time in a second"
    for sock in waiting:
        sock.close()
    holder.run(let_go)
    wait_until(lambda: newcomer_is_served(w), "newcomers are served again")
    holder.close()
    w.same_fds(fds, "all fds taken")
    host.Ping(1)


def newcomer_is_served(w):
    try:
        bus = wire.Bus(w.daemon.socket)
        bus.call("Ping", 1)
        bus.close()
        return True
    except (wire.Dropped, OSError):
        return False


@bare
def test_t55_few_from_the_start(w):
    """Started where there are hardly any fds: fewer clients, and these are served."""
    w.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    host = w.host()
    holder = w.host_agent.spawn("holder", uid=2000)
    holder.run(hold, w.daemon.socket, 300)
    host.Ping(1)
    host.ListControllers()
    w.user(1000).ListControllers()
    holder.close()


# What the hostile ones of the crowd do, each in a process with many connections, until it is ended.

def ready(told, count):
    os.write(told, struct.pack("I", count))


def flood(address, count, told):
    """Calls as fast as they can be written, answers read and thrown away."""
    buses = {}
    poll = select.poll()

    def join():
        bus = wire.Bus(address)
        bus.socket.setblocking(False)
        buses[bus.socket.fileno()] = [bus, b""]
        poll.register(bus.socket, select.POLLIN | select.POLLOUT)
    for _ in range(count):
        join()
    ready(told, count)
    while True:
        for fd, event in poll.poll():
            bus, left = buses[fd]
            try:
                if event & select.POLLIN:
                    bus.socket.recv(65536)
                left = left or PING * 64
                if event & select.POLLOUT:
                    left = left[bus.socket.send(left):]
                buses[fd][1] = left
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(fd)
                del buses[fd]
                join()


def never_read(address, count, told):
    message = wire.build(1, "Introspect", interface="org.freedesktop.DBus.Introspectable")
    buses = []
    for _ in range(count):
        buses.append(wire.Bus(address))
        buses[-1].socket.setblocking(False)
    ready(told, count)
    while True:
        for i, bus in enumerate(buses):
            try:
                while bus.socket.send(message) == len(message):
                    pass
            except BlockingIOError:
                pass
            except OSError:
                buses[i] = wire.Bus(address)
                buses[i].socket.setblocking(False)
        time.sleep(0.05)


HALVES = (b"", b"\0", b"\0AUTH EXT", b"\0AUTH ANONYMOUS 78\r\nBEGIN",
          b"\0AUTH ANONYMOUS 78\r\nBEGIN\r\n" + PING[:9], b"\0AUTH ANONYMOUS 78\r\nBEGIN\r\n" + PING[:-1])


def half_open(address, count, told):
    """Stop in the middle, and come back when they are dropped."""
    poll, socks = select.poll(), {}

    def join(i):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
        sock.sendall(HALVES[i % len(HALVES)])
        socks[sock.fileno()] = (sock, i)
        poll.register(sock, select.POLLIN)
    for i in range(count):
        join(i)
    ready(told, count)
    while True:
        for fd, _ in poll.poll():
            sock, i = socks[fd]
            try:
                if sock.recv(4096):
                    continue
            except OSError:
                pass
            poll.unregister(fd)
            del socks[fd]
            sock.close()
            join(i)


def idle(address, count, told):
    buses = [wire.Bus(address) for _ in range(count)]
    ready(told, len(buses))
    while True:
        signal.pause()


CROWD = ((flood, 16, 2100), (flood, 16, 2101), (flood, 16, 2102), (flood, 16, 2103),
         (never_read, 200, 2104), (half_open, 500, 2105), (idle, 1000, 2106), (idle, 1000, 2107))


def crowd_start(address):
    """In the host's agent: all of them; returns once they are there."""
    pids = agent.here["crowd"] = []
    told, tell = os.pipe()
    for run, count, uid in CROWD:
        pid = os.fork()
        if pid == 0:
            try:
                agent.libc.prctl(agent.PR_SET_PDEATHSIG, signal.SIGKILL)
                more_files(4096)
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                run(address, count, tell)
            finally:
                os._exit(1)
        pids.append(pid)
    os.close(tell)
    there = sum(struct.unpack("I", os.read(told, 4))[0] for _ in CROWD)
    os.close(told)
    return there


def crowd_end():
    """How many had not ended by themselves."""
    left = 0
    for pid in agent.here.pop("crowd"):
        left += os.waitpid(pid, os.WNOHANG) == (0, 0)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    return left


def ping_often(count):
    bus = agent.here["bus"]
    for _ in range(count):
        bus.call("Ping", 1)
        bus.call("ListControllers")
        time.sleep(0.002)
    return count


def anonymous_memory(pid):
    """kB"""
    return int(re.search(r"RssAnon:\s+(\d+)", world.read(f"/proc/{pid}/status"))[1])


@test
def test_t53_t54_t55_crowd(w):
    """Floods, never-readers, half-open and idle ones at once: a quiet client is served, and all that
    they took is given back."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 12000:
        raise Skip(f"RLIMIT_NOFILE is {hard} here")
    quiet = w.container()
    equal(quiet.run(ping_often, 20), 20)
    fds, before = w.daemon.fds(), anonymous_memory(w.daemon.pid)
    sanitized = "asan" in world.read(f"/proc/{w.daemon.pid}/maps")
    equal(w.host_agent.run(crowd_start, w.daemon.socket), 64 + 200 + 500 + 2000)
    peak = 0
    for _ in range(20):
        equal(quiet.run(ping_often, 25), 25)
        peak = max(peak, anonymous_memory(w.daemon.pid))
    equal(w.host_agent.run(crowd_end), len(CROWD))
    equal(quiet.run(ping_often, 20), 20)
    w.same_fds(fds, "the crowd")
    if not sanitized:
        assert peak < MEMORY_MAX, f"{peak} kB"
        wait_until(lambda: anonymous_memory(w.daemon.pid) < before + 2048,
                   f"memory is given back: {before} kB before, {peak} kB meanwhile")

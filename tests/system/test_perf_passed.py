# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is passed for something else: an event or a listener where a socket belongs, and the reverse; and
workers that end."""

import fcntl
import os
import signal
import socket
import struct
import termios

import agent
import perf
import scm
import wire
from agent import wait_until
from harness import Skip, equal, test
from test_hostile import descendants
from test_perf import give, inside, is_served, named, neighbour, open_clocks, spin_and_read
from world import REASONS


def why(call):
    try:
        call()
    except wire.DBusError as error:
        return next((token for token, text in REASONS.items() if text in error.message), error.message)
    except wire.Dropped:
        return "dropped"
    return None


def listener_of_child():
    """A listener that has a user, without a filter of our own."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            socket.send_fds(theirs, [b"l"], [perf.listener()])
            signal.pause()
        finally:
            os._exit(1)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    agent.here.setdefault("listening", []).append(pid)
    return fds[0]


def own_event():
    return perf.open_event(perf.attr(perf.SOFTWARE, perf.TASK_CLOCK, "exclude_kernel"))


def exchange(address, fd):
    """A call that takes a socket."""
    bus = wire.Bus(address, fds=True)
    try:
        serial = scm.send_call(bus, "GetPidCgroup", ("all",), [fd])
        return bus.answer(serial).value()
    finally:
        bus.close()


def group(address, fd, flags=perf.CLOEXEC):
    bus = perf.FdBus(address)
    try:
        return bus.call_with("OpenPerfEvent", "ayiiht", (bytes(perf.attr()), -1, 0, 0, flags), [fd])
    finally:
        bus.close()


def passed(address):
    """{what: why it was refused}"""
    event, listener = own_event(), listener_of_child()
    one, other = socket.socketpair()
    try:
        return {
            "event as socket": why(lambda: exchange(address, event)),
            "listener as socket": why(lambda: exchange(address, listener)),
            "listener as group": why(lambda: group(address, listener)),
            "listener as no group": why(lambda: group(address, listener, perf.CLOEXEC | perf.NO_GROUP)),
            "socket as group": why(lambda: group(address, one.fileno())),
            "event as listener": why(lambda: perf.attach(address, event)),
            "socket as listener": why(lambda: perf.attach(address, one.fileno())),
            "name of an event": why(lambda: group(address, name_of(event))),
        }
    finally:
        for pid in agent.here.pop("listening"):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(event)
        os.close(listener)
        one.close()
        other.close()


def name_of(fd):
    return os.open(f"/proc/self/fd/{fd}", os.O_PATH)


@test
def test_perf_passed(w):
    if perf.paranoid() > 2:
        raise Skip("this kernel opens nothing for those without a grant")
    give(w)
    other = neighbour(w)
    one = w.container()
    one.run(os.getpid)
    before = held(w)
    equal(one.run(passed, w.daemon.socket), {
        "event as socket": "SCM_SOCKET",
        "listener as socket": "SCM_SOCKET",
        "listener as group": "PERF_GROUP",
        "listener as no group": "PERF_GROUP",
        "socket as group": "PERF_GROUP",
        "event as listener": "PERF_LISTENER",
        "socket as listener": "PERF_LISTENER",
        "name of an event": "dropped",
    })
    is_served(other)
    wait_until(lambda: held(w) <= before, "nothing of it is held")


def held(w):
    """Events and listeners."""
    return sum("perf_event" in fd or "seccomp" in fd for fd in w.daemon.fds())


def workers(w):
    return named(descendants(w.daemon.pid), "cgmd-perf")


@test
def test_perf_worker_killed(w):
    """Another takes its place; what was opened goes on."""
    give(w)
    before = workers(w)
    one = inside(w, "root")
    is_served(one)
    fds = one.run(open_clocks)
    for _ in range(3):
        own = workers(w) - before
        equal(len(own), 1, own)
        os.kill(own.pop(), signal.SIGKILL)
        is_served(one)
    assert one.run(spin_and_read, fds) > 0


@test
def test_perf_listener_ends(w):
    """A worker ends with the last who is filtered, and the broker when nobody asks."""
    give(w)
    before, fds = workers(w), held(w)
    one = inside(w, "root")
    is_served(one)
    assert workers(w) - before, "no worker"
    one.agent.close()
    wait_until(lambda: not workers(w) - before, "the worker has ended")
    wait_until(lambda: held(w) <= fds, "nothing of it is held")


UNREAD_MAX = 64


def ask_for(bus, n):
    """Calls whose answers nobody reads yet; their serials."""
    one, other = socket.socketpair()
    serials = []
    for _ in range(n):
        serials.append(bus.next_serial())
        data = wire.build(serials[-1], "OpenPerfEvent", "ayiiht",
                          (bytes(perf.attr()), -1, 0, 0, perf.CLOEXEC | perf.NO_GROUP), path=wire.NATIVE_PATH,
                          interface=wire.NATIVE_INTERFACE, extra=[(9, "u", 1)])
        socket.send_fds(bus.socket, [data], [one.fileno()])
    one.close()
    other.close()
    return serials


def unread(bus):
    """Bytes."""
    return struct.unpack("i", fcntl.ioctl(bus.socket, termios.FIONREAD, bytes(4)))[0]


def hoard(address):
    """On several connections, of which the first has ended for the daemon, but not for us: how many of the second's
    came, why others were refused. All that is read makes room again."""
    first, second, last = (perf.FdBus(address) for _ in range(3))
    # An answer comes in one piece.
    serial, = ask_for(last, 1)
    wait_until(lambda: unread(last), "an answer")
    size = unread(last)
    last.answer(serial)
    # What is read no longer counts once its connection asks again: one counts here.
    equal(why(lambda: group_by(last)), None)
    asked = ask_for(first, UNREAD_MAX // 2)
    wait_until(lambda: unread(first) >= size * len(asked), "all answers")
    first.socket.shutdown(socket.SHUT_WR)
    # Nobody else may ask before the account is full: whoever has one may always have another in its place.
    more = ask_for(second, UNREAD_MAX // 2 - 1)
    wait_until(lambda: unread(second) >= size * len(more), "all answers of the second")
    fresh = perf.FdBus(address)
    equal(why(lambda: group_by(fresh)), "QUOTA")
    more += ask_for(second, 1)
    wait_until(lambda: unread(second) > size * (len(more) - 1), "a refusal")
    equal(why(lambda: group_by(fresh)), "QUOTA")
    for one in asked:
        first.answer(one).value()
    told = [why(lambda one=one: second.answer(one).value()) for one in more]
    wait_until(lambda: why(lambda: group_by(fresh)) is None, "an answer once all is read")
    for bus in (first, second, last, fresh):
        bus.close()
        for fd in bus.fds:
            os.close(fd)
    return told.count(None), set(told) - {None}


def group_by(bus):
    one, other = socket.socketpair()
    try:
        return bus.call_with("OpenPerfEvent", "ayiiht",
                             (bytes(perf.attr()), -1, 0, 0, perf.CLOEXEC | perf.NO_GROUP), [one.fileno()])
    finally:
        one.close()
        other.close()


@test
def test_perf_unread(w):
    """Events that nobody reads are few, also where the connection has ended; others have theirs."""
    w.restart("--perf-events-max", "4096")
    give(w)
    other = neighbour(w)
    n, refused = w.container().run(hoard, w.daemon.socket)
    equal(n, UNREAD_MAX // 2 - 1)
    equal(refused, {"QUOTA"})
    is_served(other)

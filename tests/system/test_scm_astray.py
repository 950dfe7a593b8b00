# SPDX-License-Identifier: LGPL-2.1-or-later
"""Scm calls of clients that leave the path: THREATS 60, and what may be passed as a socket. Each gets a
daemon with the shortest time-out."""

import fcntl
import os
import socket

import harness
import scm
import wire
import world
from harness import equal, needs
from scm import Refused
from test_scm import KINDS, LIMIT, trees

INVALID = "org.freedesktop.DBus.Error.InvalidArgs"


def survives(w, act, *args):
    """Others are served meanwhile and afterwards, nothing changes, nothing is left behind."""
    w.start("--scm-timeout", "1")
    other, hostile = w.host(), w.container()
    scm.Client(hostile).Create("memory", "")
    scm.Client(other).GetValue("memory", "c1", LIMIT)
    other.GetValue("memory", "c1", LIMIT)
    hostile.run(world.close_bus, "scm")
    fds, before = w.daemon.fds(), world.snapshot(trees())
    hostile.agent.start(act, w.daemon.socket, *args)
    for _ in range(20):
        other.GetValue("memory", "c1", LIMIT)
    result = hostile.agent.finish()
    scm.Client(other).GetValue("memory", "c1", LIMIT)
    w.same_fds(fds, act.__name__)
    equal(world.difference(before, world.snapshot(trees())), [])
    again = scm.Client(hostile)
    equal(again.Create("memory", "after"), -1)
    return result


def hostile(number="scm", names=KINDS):
    """A test, for each of these, out of a function that runs in the container: true if all is well."""
    def register(function):
        def check(w, name):
            needs("memory")
            assert survives(w, function, name), "it was carried out"
        for name in names:
            harness.add(function, f"test_{number}_{function.__name__}[{name}]",
                        lambda w, name=name: check(w, name))
        return function
    return register


def begin(address, kind, member="Create", *args, **how):
    bus = wire.Bus(address, fds=True)
    exchange = scm.Exchange(bus, member, *(args or ("memory", "hostile")), kind=kind, **how)
    exchange.begun()
    exchange.turn()
    return bus, exchange


def no(exchange):
    """The exchange ends without being carried out: refused, closed, or silent for good."""
    # Where a silence is as good as a refusal it is not waited for as long.
    exchange.ours.settimeout(5 if exchange.kind == "dgram" else scm.SECONDS)
    try:
        exchange.result()
        return False
    except (Refused, ConnectionResetError, BrokenPipeError):
        return True
    except TimeoutError:
        return exchange.kind == "dgram"


@hostile("t60")
def never_answers(address, kind):
    _, exchange = begin(address, kind)
    return no(exchange)


@hostile("t60")
def never_sends_the_victim(address, kind):
    _, exchange = begin(address, kind, "MovePid", "memory", "hostile")
    exchange.send(scm.credentials())
    exchange.turn()
    return no(exchange)


@hostile()
def end_at_once(address, kind):
    _, exchange = begin(address, kind)
    exchange.close()
    return True


@hostile()
def end_midway(address, kind):
    _, exchange = begin(address, kind, "MovePid", "memory", "hostile")
    exchange.send(scm.credentials())
    exchange.close()
    return True


@hostile()
def shut_down(address, kind):
    _, exchange = begin(address, kind)
    exchange.ours.shutdown(socket.SHUT_RDWR)
    exchange.close()
    return True


@hostile()
def nothing_as_byte(address, kind):
    _, exchange = begin(address, kind)
    exchange.ours.send(b"")
    return no(exchange)


@hostile()
def fd_with_the_byte(address, kind):
    """Fds sent along with the credentials."""
    _, exchange = begin(address, kind)
    with open("/dev/null") as null:
        scm.send_with(exchange.ours, b"p", scm.credentials(), [null.fileno()] * 100)
    return no(exchange)


@hostile("t60")
def no_passcred(address, kind):
    """SO_PASSCRED is switched off behind the daemon's back."""
    bus = wire.Bus(address, fds=True)
    exchange = scm.Exchange(bus, "Create", "memory", "", kind=kind)
    dup = exchange.theirs.dup()
    exchange.begun()
    exchange.turn()
    dup.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    exchange.send(scm.credentials())
    no(exchange)
    return True


@hostile("t60")
def blocking(address, kind):
    """O_NONBLOCK is cleared on the description that both have, and nothing is sent."""
    bus = wire.Bus(address, fds=True)
    exchange = scm.Exchange(bus, "Create", "memory", "hostile", kind=kind)
    dup = exchange.theirs.dup()
    exchange.begun()
    fcntl.fcntl(dup, fcntl.F_SETFL, fcntl.fcntl(dup, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    exchange.turn()
    return no(exchange)


def fill(end):
    """Until it takes no more."""
    count = 0
    end.setblocking(False)
    try:
        while True:
            end.send(b"x" * 64)
            count += 1
    except BlockingIOError:
        return count
    finally:
        end.setblocking(True)


@hostile("t60")
def refills_before(address, kind):
    """The buffer is full before the daemon's first byte, and stays so."""
    pair = socket.socketpair(socket.AF_UNIX, scm.TYPES[kind])
    fill(pair[1])
    bus = wire.Bus(address, fds=True)
    scm.Exchange(bus, "Create", "memory", "hostile", pair=pair, kind=kind)
    return served_or_dropped(bus)


@hostile("t60")
def refills_midway(address, kind):
    """The buffer is filled again where the result should go."""
    bus = wire.Bus(address, fds=True)
    exchange = scm.Exchange(bus, "GetTasksRecursive", "memory", "", kind=kind)
    dup = exchange.theirs.dup()
    exchange.begun()
    exchange.turn()
    fill(dup)
    exchange.send(scm.credentials())
    return served_or_dropped(bus)


def served_or_dropped(bus):
    """The connection is served on, or was dropped."""
    try:
        serial = bus.start("Ping", 1)
        while bus.message().fields.get("serial") != serial:
            pass
    except wire.Dropped:
        pass
    return True


@hostile()
def bus_closed_midway(address, kind):
    """The D-Bus connection ends, the exchange goes on: it is carried out or not, and nothing is left."""
    bus, exchange = begin(address, kind, "GetValue", "memory", "", LIMIT)
    bus.close()
    try:
        exchange.send(scm.credentials())
        exchange.ours.settimeout(2)
        exchange.record()
    except (BrokenPipeError, ConnectionResetError, TimeoutError, ConnectionRefusedError):
        pass
    return True


@hostile()
def both_closed(address, kind):
    bus, exchange = begin(address, kind)
    bus.close()
    exchange.close()
    return True


@hostile()
def many_at_once(address, kind):
    """Exchanges that nobody goes on with, on one connection and on many."""
    buses = [wire.Bus(address, fds=True) for _ in range(20)]
    pending = [scm.Exchange(bus, "Create", "memory", "hostile", kind=kind)
               for bus in buses for _ in range(5)]
    for bus in buses[:10]:
        bus.close()
    for exchange in pending:
        exchange.close()
    return True


def drop_or_error(bus, serial):
    """No socket, no call: an error, or the end of the connection."""
    try:
        reply = bus.answer(serial)
        return reply.kind == wire.ERROR and reply.fields["error"] == INVALID
    except wire.Dropped:
        return True
    finally:
        bus.close()


def passes(address, make, count=1, announced=None, **how):
    """A call with these fds and no more."""
    bus = wire.Bus(address, fds=True)
    things = [make() for _ in range(count)]
    fds = [thing if isinstance(thing, int) else thing.fileno() for thing in things]
    serial = scm.send_call(bus, "Create", ["memory", "hostile"], fds, announced=announced, **how)
    for fd in fds:
        if isinstance(things[0], int):
            os.close(fd)
    return drop_or_error(bus, serial)


def tcp_listener():
    listener = socket.socket(socket.AF_INET)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def unix_listener():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(b"\0" + os.urandom(8).hex().encode())
    listener.listen()
    return listener


def half_a_pair():
    return socket.socketpair()[0]


THINGS = {
    "null": lambda: os.open("/dev/null", os.O_RDWR),
    "directory": lambda: os.open("/", os.O_RDONLY),
    "path": lambda: os.open("/", os.O_PATH),
    "pipe": lambda: os.pipe()[0],
    "memfd": lambda: os.memfd_create("x"),
    "eventfd": lambda: os.eventfd(0),
    "inet": lambda: socket.socket(socket.AF_INET),
    "inet listener": tcp_listener,
    "inet6": lambda: socket.socket(socket.AF_INET6),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
}


@hostile(names=THINGS)
def passes_other_things(address, name):
    """What is no socket of AF_UNIX."""
    return passes(address, THINGS[name])


SOCKETS = {"listener": unix_listener, "orphan": half_a_pair,
           "stream": lambda: socket.socket(socket.AF_UNIX),
           "dgram": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)}


@hostile(names=SOCKETS)
def passes_unconnected(address, name):
    bus = wire.Bus(address, fds=True)
    thing = SOCKETS[name]()
    scm.send_call(bus, "Create", ["memory", "hostile"], [thing.fileno()])
    return served_or_dropped(bus)


# How many are passed, and how many are announced.
COUNTS = {"two": (2, None), "sixteen": (16, None), "253": (253, None), "none": (0, 1),
          "none announced": (0, 0), "too few": (1, 2), "too many": (2, 1), "not announced": (1, 0)}


@hostile(names=COUNTS)
def passes_another_number(address, name):
    return passes(address, half_a_pair().dup, *COUNTS[name])


@hostile(names=("7", "4294967295"))
def names_another_index(address, name):
    bus = wire.Bus(address, fds=True)
    ours, theirs = socket.socketpair()
    serial = scm.send_call(bus, "Create", ["memory", "hostile", int(name)], [theirs.fileno()])
    ours.settimeout(5)
    return drop_or_error(bus, serial)


@hostile(names=("Create", "Ping", "Introspect"))
def passes_to_others(address, name):
    """A socket with a call that takes none: served without it, an error, or the end."""
    bus = wire.Bus(address, fds=True)
    _, theirs = socket.socketpair()
    if name == "Create":
        scm.send_call(bus, name, ["memory", ""], [theirs.fileno()], twin=name, signature="ss")
    else:
        scm.send_call(bus, "Create", [1] if name == "Ping" else [], [theirs.fileno()], twin=name,
                      signature="i" if name == "Ping" else "")
    return served_or_dropped(bus)

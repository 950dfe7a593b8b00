# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who asks for perf events and means harm: by what it passes for a listener, by how many and how often, and by
when it goes away."""

import errno
import os
import signal
import socket
import time

import agent
import fuse
import perf
import wire
from agent import libc, wait_until
from harness import bare, each, equal, test
from test_devices import make_all
from test_perf import give, inside, is_served, neighbour
from world import BASE, REASONS

ACCEPTED = "accepted"


def refused_as(address, fd):
    """AttachPerfListener of it: why not."""
    try:
        perf.attach(address, fd)
    except wire.DBusError as error:
        return next((token for token, text in REASONS.items() if text in error.message), error.message)
    except wire.Dropped:
        return "dropped"
    return ACCEPTED


def of_kind(kind):
    if kind == "eventfd":
        return os.eventfd(0)
    if kind == "socket":
        return socket.socketpair()[0].detach()
    if kind == "event":
        fd = perf.open_event(perf.attr(perf.SOFTWARE, 0, "exclude_kernel"))
        # None is to be had where the kernel opens nothing for those without a grant.
        return fd if fd >= 0 else os.eventfd(0)
    if kind == "pidfd":
        return os.pidfd_open(os.getpid())
    if kind == "file":
        return os.memfd_create("x")
    if kind == "fuse":
        return agent.here["fuse"]
    return os.open("/dev/null", os.O_RDWR)


def attach_kind(address, kind):
    fd = of_kind(kind)
    result = refused_as(address, fd)
    if kind != "fuse":
        os.close(fd)
    return result


@test
def test_perf_no_listener(w):
    perf.need()
    other = neighbour(w)
    node, at = f"{w.directory}/dev", f"{w.directory}/mnt"
    os.mkdir(at)
    w.host_agent.run(fuse.device, node)
    one = w.container()
    try:
        one.run(fuse.start, f"{node}/fuse", at)
        for kind in ("eventfd", "socket", "event", "pidfd", "file", "device", "fuse"):
            assert one.run(attach_kind, w.daemon.socket, kind) in ("PERF_LISTENER", "dropped"), kind
            is_served(other, 1)
    finally:
        one.run(fuse.stop)
        w.host_agent.run(fuse.forget, node)


def fork_listener():
    """A child under a filter of its own, which then calls and tells what came; its listener is ours."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            fd = perf.listener()
            socket.send_fds(theirs, [b"l"], [fd])
            os.close(fd)
            theirs.recv(1)
            theirs.send(str(perf.try_event(pid=-1, cpu=0)).encode())
            theirs.recv(1)
        finally:
            os._exit(0)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    return pid, ours, fds[0]


def listen_below(address):
    """In a container that is filtered: nobody below can have a listener besides."""
    try:
        perf.listener()
    except OSError as error:
        return errno.errorcode[error.errno]
    return 0


def give_listener(at):
    """Sends its own listener over a socket of that path, and then calls."""
    fd = perf.listener()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(at)
    socket.send_fds(sock, [b"l"], [fd])
    os.close(fd)
    sock.recv(1)
    return perf.try_event(pid=-1, cpu=0)


def wait_for_listener(at):
    server = agent.here["server"] = socket.socket(socket.AF_UNIX)
    server.bind(at)
    os.chmod(at, 0o777)
    server.listen()


def take_listener(address):
    """What somebody else has, attached by us."""
    conn, _ = agent.here["server"].accept()
    _, fds, _, _ = socket.recv_fds(conn, 1, 1)
    result = refused_as(address, fds[0])
    os.close(fds[0])
    conn.send(b"g")
    return result


@test
def test_perf_foreign_listener(w):
    """Who attaches it is of no account: each call is judged by who makes it."""
    perf.need()
    give(w)
    at = f"{w.directory}/out"
    os.mkdir(at)
    os.chmod(at, 0o777)
    granted, bare_one = w.container("c1"), w.container("c2", base=300000)
    granted.run(wait_for_listener, f"{at}/s")
    bare_one.agent.start(give_listener, f"{at}/s")
    equal(granted.run(take_listener, w.daemon.socket), ACCEPTED)
    equal(bare_one.agent.finish(), "EACCES")
    # And the other way round.
    bare_two = w.container("c3", base=400000)
    bare_two.run(wait_for_listener, f"{at}/t")
    granted.agent.start(give_listener, f"{at}/t")
    equal(bare_two.run(take_listener, w.daemon.socket), ACCEPTED)
    equal(granted.agent.finish(), 0)


@test
def test_perf_nested_listener(w):
    """A container in a filtered one has no listener of its own; the outer one's answers by its own grant."""
    perf.need()
    make_all("c1", BASE)
    make_all("c1/c2", 101000)
    w.host().GrantPerf("/c1/c2", ["cpu"])
    one = w.container("c1")
    one.run(perf.trap, w.daemon.socket)
    two = w.container("c1/c2", 101000, one, 1000, 60000)
    equal(two.run(listen_below, w.daemon.socket), "EBUSY")
    equal(two.run(perf.try_event, pid=-1, cpu=0), 0)
    equal(one.run(perf.try_event, pid=-1, cpu=0), "EACCES")


def hold_listeners(address, count):
    """As many filtered children; what came of each."""
    held, came = agent.here.setdefault("listeners", []), []
    for _ in range(count):
        pid, sock, fd = fork_listener()
        came.append(refused_as(address, fd))
        os.close(fd)
        held.append((pid, sock))
    return came


def call_of_each():
    """Those whose listener nobody has get ENOSYS."""
    found = []
    for _, sock in agent.here["listeners"]:
        sock.settimeout(60)
        sock.send(b"g")
        found.append(sock.recv(16).decode())
    return found


def end_listeners():
    for pid, sock in agent.here.pop("listeners"):
        sock.close()
        agent.end_task(pid)


@bare
def test_perf_many_listeners(w):
    """So many for each account, and when their processes have gone, as many again. Nobody else's count."""
    perf.need()
    w.start("--perf-listeners-max", "8")
    other = neighbour(w)
    give(w)
    one = w.container()
    fds = w.daemon.fds()
    for _ in range(2):
        came = one.run(hold_listeners, w.daemon.socket, 12)
        equal(came[:8], [ACCEPTED] * 8)
        assert all(why not in (ACCEPTED, "dropped") for why in came[8:]), came
        equal(one.run(call_of_each), ["0"] * 8 + ["ENOSYS"] * 4)
        is_served(other)
        one.run(end_listeners)
        wait_until(lambda: one.run(again, w.daemon.socket), "there is room again")
    w.same_fds(fds, "listeners that came and went")


def again(address):
    """Is there room for eight?"""
    came = hold_listeners(address, 8)
    end_listeners()
    return came == [ACCEPTED] * 8


# How often, and how long.

def call_for_ever():
    libc.prctl(agent.PR_SET_PDEATHSIG, signal.SIGKILL)
    while True:
        perf.try_event(pid=-1, cpu=0)


def fork_floods(count):
    pids = agent.here["floods"] = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            call_for_ever()
        pids.append(pid)


def end_floods():
    for pid in agent.here.pop("floods"):
        agent.end_task(pid)


@test
def test_perf_flood(w):
    """Eight processes that do nothing else; a neighbour, and the daemon's other clients, go on."""
    perf.need()
    other = neighbour(w)
    give(w)
    one = inside(w, "root")
    one.run(fork_floods, 8)
    is_served(other, 200)
    w.host().Ping(1)
    # Its own other processes too: nothing is refused, they wait.
    is_served(one, 3)
    one.run(end_floods)
    is_served(one)


@bare
def test_perf_rate(w):
    """Who asks too often waits, and is not refused."""
    perf.need()
    w.start("--perf-rate", "100")
    give(w)
    one = inside(w, "root")
    is_served(one, 50)


def storm(times, interval, flags):
    """Calls while a timer interrupts them; how many were answered."""
    def nothing(*_):
        pass
    signal.signal(signal.SIGALRM, nothing)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, interval, interval)
    try:
        return sum(perf.try_event(pid=-1, cpu=0, **flags) == 0 for _ in range(times))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@each(("killable", 0.001), ("killable", 0.02), ("interruptible", 0.02))
def test_perf_storm(w, how, interval):
    """Signals come all the time, to callers that wait: they get on all the same."""
    perf.need()
    give(w)
    one = w.container()
    one.run(perf.trap, w.daemon.socket,
            flags=perf.NEW_LISTENER | (perf.WAIT_KILLABLE if how == "killable" else 0))
    equal(one.run(storm, 100, interval, {}), 100)


def die_midway(times):
    """Processes that are ended while they wait."""
    for i in range(times):
        pid = os.fork()
        if pid == 0:
            while True:
                perf.open_event(pid=-1, cpu=0)
        time.sleep(0.0005 * (i % 8))
        agent.end_task(pid)


def exit_threads(times):
    """The same by a whole thread group, from another of its threads."""
    import threading
    for _ in range(times):
        pid = os.fork()
        if pid == 0:
            threading.Thread(target=call_for_ever, daemon=True).start()
            time.sleep(0.001)
            os._exit(0)
        os.waitpid(pid, 0)


@bare
def test_perf_exit_midway(w):
    """Whoever goes while it waits leaves nothing behind: no fd, no event that still counts as open."""
    perf.need()
    w.start("--perf-events-max", "16")
    other = neighbour(w)
    give(w)
    one = inside(w, "root")
    is_served(one)
    fds = w.daemon.fds()
    one.run(die_midway, 30)
    one.run(exit_threads, 10)
    wait_until(lambda: one.run(perf.try_event, pid=-1, cpu=0) == 0, "what has gone is not counted")
    is_served(one)
    is_served(other)
    w.same_fds(fds, "callers that went")


@bare
def test_perf_many_events(w):
    """So many for each CPU; each that is closed may be opened again."""
    perf.need()
    w.start("--perf-events-max", "8")
    give(w)
    one = inside(w, "root")
    cpu = min(perf.cpus())
    for _ in range(2):
        fds = one.run(open_many, cpu, 12)
        equal([fd >= 0 for fd in fds], [True] * 8 + [False] * 4)
        equal(set(fds[8:]), {-errno.EMFILE})
        if len(perf.cpus()) > 1:
            equal(one.run(perf.try_event, pid=-1, cpu=max(perf.cpus())), 0)
        one.run(close_all, fds[:8])
        wait_until(lambda: one.run(perf.try_event, pid=-1, cpu=cpu) == 0, "there is room again")


def open_many(cpu, count):
    return [perf.open_event(pid=-1, cpu=cpu) for _ in range(count)]


def close_all(fds):
    for fd in fds:
        os.close(fd)


@bare
def test_perf_many_nested(w):
    """Who nests scopes in one another does not have as many events more with each."""
    perf.need()
    w.start("--perf-events-max", "8")
    give(w)
    make_all("c1/c2", 101000)
    make_all("c1/c2/c3", 102000)
    one = w.container("c1")
    two = w.container("c1/c2", 101000, one, 1000, 60000)
    three = w.container("c1/c2/c3", 102000, two, 1000, 50000)
    for client, some in ((one, 8), (two, 8), (three, 0)):
        client.run(perf.trap, w.daemon.socket)
        equal([fd >= 0 for fd in client.run(open_many, min(perf.cpus()), 9)], [i < some for i in range(9)])

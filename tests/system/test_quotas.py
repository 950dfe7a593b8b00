# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one client, or all of a container, can take from others: connections, threads, memory."""

import mmap
import os
import resource
import signal
import struct

import agent
import wire
import world
from agent import wait_until
from harness import Skip, bare, equal, needs, test
from world import read, where

WIDE = 200


def make_children(path, count, width=WIDE):
    for i in range(count):
        os.mkdir(f"{path}/{i:06d}".ljust(len(path) + 1 + width, "x"))


def remove_children(path):
    for entry in os.scandir(path):
        if entry.is_dir():
            os.rmdir(entry.path)


def files_limit(count):
    """The soft limit raised for this process; Skip where the hard one is lower."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < count:
        raise Skip(f"RLIMIT_NOFILE is {hard} here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def hold(address, count):
    """How many connections are had, of those that are tried."""
    held = agent.here.setdefault("held", [])
    for _ in range(count):
        try:
            held.append(wire.Bus(address))
        except (wire.Dropped, OSError):
            pass
    return len(held)


def ping_held():
    for bus in agent.here["held"]:
        bus.call("Ping", 1)
    return len(agent.here["held"])


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def hog_one(address, slot, calls, connections):
    """Calls for ever on its connections; counts the answers in its slot."""
    buses = []
    for _ in range(connections):
        try:
            buses.append(wire.Bus(address, timeout=600))
        except (wire.Dropped, OSError):
            pass
    memory, at = slot
    memory[at + 4:at + 8] = struct.pack("I", len(buses))
    answers = 0
    memory[at + 8] = 1
    while calls and buses:
        for bus in buses:
            bus.call(*calls)
            answers += 1
            memory[at:at + 4] = struct.pack("I", answers)
    while True:
        signal.pause()


def hogs_start(address, first, count, calls, connections):
    """`count` processes of as many uids."""
    memory = mmap.mmap(-1, 12 * count)
    pids = agent.here["hogs"] = []
    agent.here["slots"] = memory
    for i in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                become(first + i)
                hog_one(address, (memory, 12 * i), calls, connections)
            finally:
                os._exit(1)
        pids.append(pid)
    wait_until(lambda: all(memory[12 * i + 8] for i in range(count)), "the hogs are there", 60)


def hogs_count(field):
    memory = agent.here["slots"]
    return sum(struct.unpack_from("III", memory, at)[field] for at in range(0, len(memory), 12))


def hogs_end():
    """Ends them; how many had not ended by themselves."""
    alive = 0
    for pid in agent.here.pop("hogs"):
        alive += os.waitpid(pid, os.WNOHANG) == (0, 0)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    return alive


@test
def test_long_lists(w):
    """Many children are listed by a worker, in order; too many are an error."""
    needs("freezer")
    client = w.container()
    path = where("freezer", "c1")
    client.run(make_children, path, 1000)
    names = client.ListChildren("freezer", "")
    equal(len(names), 1000)
    equal(names, sorted(names))
    client.run(remove_children, path)
    client.run(make_children, path, 1400)
    client.refused("MANY_ENTRIES", "ListChildren", "freezer", "")
    client.run(remove_children, path)
    equal(client.ListChildren("freezer", ""), [])


def call_and_never_read(address, connections, calls):
    buses = agent.here["unread"] = []
    for _ in range(connections):
        bus = wire.Bus(address)
        buses.append(bus)
        try:
            for _ in range(calls):
                bus.start("ListChildren", "freezer", "")
        except wire.Dropped:
            pass


def unread_end():
    """All were dropped: each ends, after what was in the socket."""
    for bus in agent.here["unread"]:
        try:
            while True:
                bus.receive()
        except wire.Dropped:
            bus.close()
    return len(agent.here.pop("unread"))


def resident(pid):
    return int(read(f"/proc/{pid}/statm").split()[1]) * resource.getpagesize()


@test
def test_t53_large_answers_unread(w):
    """A hundred connections that never read long lists: bounded in all, then dropped; others are served."""
    needs("freezer", "memory")
    client, host = w.container(), w.host()
    path = where("freezer", "c1")
    client.run(make_children, path, 1200)
    host.GetValue("memory", "c1", "memory.limit_in_bytes")
    fds, before = w.daemon.fds(), resident(w.daemon.pid)
    client.run(call_and_never_read, w.daemon.socket, 100, 16)
    wait_until(lambda: "unread answers" in w.daemon.log(), "a connection over the quota is dropped", 60)
    for _ in range(20):
        host.GetValue("memory", "c1", "memory.limit_in_bytes")
    grown = resident(w.daemon.pid) - before
    if "asan" not in read(f"/proc/{w.daemon.pid}/maps"):
        assert grown < 40 << 20, f"{grown >> 20} MiB more"
    w.same_fds(fds, "all that did not read are dropped")
    equal(client.run(unread_end), 100)
    client.run(remove_children, path)
    client.Ping(1)


@test
def test_threads_of_one_container(w):
    """However many uids of a container walk large trees, host root's blocking calls go on."""
    needs("freezer", "memory")
    client, host = w.container(), w.host()
    path = where("freezer", "c1")
    world.make("memory", "x")
    client.run(make_children, path, 4000, 6)
    client.run(hogs_start, w.daemon.socket, 1, 30, ("GetTasksRecursive", "freezer", ""), 1)
    wait_until(lambda: client.run(hogs_count, 0) > 0, "the first answer", 120)
    before = client.run(hogs_count, 0)
    for i in range(10):
        host.SetValue("memory", "x", "memory.limit_in_bytes", str(64 << 20))
    during = client.run(hogs_count, 0) - before
    # Were host root's calls to wait for their turn, more than 200 would have gone before.
    assert during < 100, f"{during} calls of a container went before 10 of host root"
    equal(client.run(hogs_end), 30)
    client.run(remove_children, path)
    client.Ping(1)


@bare
def test_connections_of_one_container(w):
    """A container is one account, with a quarter; the last places are host root's, and twelve before
    them are for those who have less than 16."""
    w.start("--max-clients", "200")
    client = w.container()
    client.run(hogs_start, w.daemon.socket, 1, 6, None, 20)
    # The container's first connection is the fiftieth.
    equal(client.run(hogs_count, 1), 49)
    holders = [w.host_agent.spawn(f"holder {i}", uid=2000 + i) for i in range(4)]
    equal([h.run(hold, w.daemon.socket, 60) for h in holders], [50, 38, 12, 0])
    equal(w.host_agent.run(hold, w.daemon.socket, 60), 50)
    equal(w.host_agent.run(ping_held), 50)
    equal(client.run(hogs_end), 6)
    for holder in holders:
        holder.close()
    client.Ping(1)
    assert 'METHOD="connect"' in w.daemon.log(), w.daemon.log()


@bare
def test_fds_of_one_container(w):
    """Where the limit on open files is low, fewer connections are taken, and host root has its own."""
    w.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8000, 8000)))
    client = w.container()
    client.run(hogs_start, w.daemon.socket, 1, 6, None, 400)
    got = client.run(hogs_count, 1)
    assert 0 < got <= 2400
    host = w.host()
    host.Ping(1)
    equal(w.host_agent.run(hold, w.daemon.socket, 50), 50)
    w.user(1000).Ping(1)
    client.run(hogs_end)


@test
def test_two_thousand_connections_of_host_root(w):
    """No account's share binds host root: 2,000 connections of one uid, while others are served."""
    user = w.user(1000)
    fds = w.daemon.fds()
    holder = w.host_agent.spawn("holder")
    holder.run(files_limit, 4096)
    equal(holder.run(hold, w.daemon.socket, 2000), 2000)
    user.Ping(1)
    w.container().Ping(1)
    equal(holder.run(ping_held), 2000)
    holder.close()
    w.container().agent.run(world.close_bus)
    w.same_fds(fds, "the connections")


@bare
def test_container_without_user_namespace(w):
    """It is one account, whatever namespaces and uids it takes on besides."""
    w.start("--max-clients", "64", "--max-clients-per-uid", "8")
    address = w.daemon.socket
    outer = w.once("outer", lambda: w.host_agent.spawn(
        "outer", w.placer("outer", 0), pid=True, mnt=True, cgroup=True))
    inner = [w.once(f"inner{i}", lambda: outer.agent.spawn(
        f"inner{i}", user=True, pid=True, mnt=True, maps=[(0, 1000 * i, 1000)])) for i in (1, 2)]
    user = w.once("its user", lambda: outer.agent.spawn("its user", uid=1000))
    # Each has one already.
    equal(inner[0].run(hold, address, 8), 4)
    for other in (outer, inner[1], user):
        equal(other.run(hold, address, 2), 0)
    equal(w.user(1000).run(hold, address, 2), 2)
    equal(w.host().run(hold, address, 2), 2)

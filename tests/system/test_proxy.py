# SPDX-License-Identifier: LGPL-2.1-or-later
"""A proxy in between, and two: calls in the name of others, at each level of nesting."""

import os

import agent
import proxy
import scm
import wire
import world
from harness import each, equal, needs, test
from test_scm import become_weak, trees
from world import place_of, tasks, where

LIMIT = "memory.limit_in_bytes"


class Behind:
    """A client that talks to a proxy: plain calls, or Scm ones over one type of socket."""

    def __init__(self, client, address, kind=None):
        self.agent, self.kind = client.agent, kind
        if kind:
            self.scm = scm.Client(client, kind, address)
        else:
            self.agent.run(connect, address)

    def __getattr__(self, member):
        if member not in wire.SIGNATURES:
            raise AttributeError(member)
        if self.kind and member in scm.TWINS:
            return getattr(self.scm, member)
        return lambda *args, **how: self.agent.run(world.call_on, "behind", member, *args, **how)

    def run(self, function, *args, **how):
        return self.agent.run(function, *args, **how)

    def refused(self, member, *args):
        """Refused, and nothing changes."""
        before = world.snapshot(trees())
        try:
            value = getattr(self, member)(*args)
        except (scm.Refused, wire.DBusError) as error:
            assert isinstance(error, scm.Refused) or error.name.endswith(".InvalidArgs"), error
        else:
            raise AssertionError(f"{member}{args} was not refused: {value!r}")
        equal(world.difference(before, world.snapshot(trees())), [])


def connect(address):
    # The proxy looks at our namespaces, which those of a process that is not dumpable hide.
    agent.libc.prctl(4, 1)
    world.connect(address, "behind")


# Through one proxy in c1, or through another one in c1/c2 first; the client is that container's.
WAYS = ("plain", "dgram", "stream", "seqpacket")


def proxies(w, depth):
    """(socket, client, its cgroup, its uid on the host)"""
    one = w.container()
    first = proxy.start(w, one, w.daemon.socket, "outer")
    if depth == "one proxy":
        return first, one, "c1", 100000
    two = w.container("c1/c2", 101000, one, 1000, 60000)
    if depth == "nested client":
        return first, two, "c1/c2", 101000
    return proxy.start(w, two, first, "inner", 101000, "seqpacket"), two, "c1/c2", 101000


@each(*[(depth, way) for depth in ("one proxy", "nested client", "two proxies") for way in WAYS])
def test_proxy_cycle(w, depth, way):
    """Every method; a nested client's plain calls are passed on where they carry no numbers."""
    needs("memory", "pids")
    socket, plain, base, uid = proxies(w, depth)
    client = Behind(plain, socket, None if way == "plain" else way)
    numbers = depth != "nested client" or way != "plain"
    equal(client.Create("memory", "x/y"), -1)
    equal(client.Create("memory", "x/y"), 1)
    status = os.stat(where("memory", f"{base}/x/y"))
    equal((status.st_uid, status.st_gid), (uid, uid))
    equal(client.ListChildren("memory", "x"), ["y"])
    equal(client.ListChildren("memory", "x/y"), [])
    client.SetValue("memory", "x", LIMIT, "8388608")
    equal(client.GetValue("memory", "x", LIMIT), "8388608")
    equal(sorted(map(tuple, client.ListKeys("memory", "x"))), sorted(plain.ListKeys("memory", "x")))
    if numbers:
        move(client, base, place_in_scope(depth))
        client.Chown("memory", "x", 7, 8)
        status = os.stat(where("memory", f"{base}/x"))
        equal((status.st_uid, status.st_gid), (uid + 7, uid + 8))
    else:
        for member, *args in (("MovePid", "memory", "x", 1), ("GetPidCgroup", "memory", 1),
                              ("GetTasks", "memory", ""), ("Chown", "memory", "x", 7, 8)):
            client.refused(member, *args)
    client.Chmod("memory", "x", "", 0o750)
    equal(os.stat(where("memory", f"{base}/x")).st_mode & 0o7777, 0o750)
    client.RemoveOnEmpty("memory", "x/y")
    client.Prune("memory", "x")
    agent.wait_until(lambda: not os.path.exists(where("memory", f"{base}/x")), "x is pruned")
    client.Create("memory,pids", "z")
    equal(client.Remove("all", "z", 1), 1)
    equal(client.Remove("all", "z", 1), -1)


def place_in_scope(depth):
    """Where the client's cgroup lies in the scope of the one that the daemon sees: the outer proxy."""
    return "" if depth == "one proxy" else "/c2"


def move(client, base, prefix):
    pid = client.run(agent.fork_task)
    client.MovePid("memory", "x/y", pid)
    inside, = tasks("memory", f"{base}/x/y")
    equal(client.GetTasks("memory", "x/y"), [pid])
    equal(client.GetTasksRecursive("memory", "x"), [pid])
    equal(client.GetPidCgroup("memory", pid), "x/y")
    equal(client.GetPidCgroupAbs("memory", pid), f"{prefix}/x/y")
    client.MovePidAbs("memory", f"{prefix}/x", pid)
    equal(place_of(inside, "memory"), f"/{base}/x")
    client.MovePidAbs("memory", prefix or "/", pid)
    equal(place_of(inside, "memory"), f"/{base}")
    client.run(agent.end_task, pid)


@each("plain", "stream")
def test_proxy_others(w, way):
    """Ping, ListControllers and the property are the same behind a proxy."""
    socket, plain, *_ = proxies(w, "two proxies")
    client = Behind(plain, socket)
    equal(client.Ping(1), None)
    equal(client.ListControllers(), plain.ListControllers())
    equal(client.run(world.call_on, "behind", "Get", wire.INTERFACE, "api_version", signature="ss",
                     interface="org.freedesktop.DBus.Properties"), 10)


@each(*[(depth, way) for depth in ("one proxy", "two proxies") for way in ("plain", "stream")])
def test_proxy_gives_no_more(w, depth, way):
    """What is refused directly is refused through proxies, to root and to plain users."""
    needs("memory")
    socket, root, base, uid = proxies(w, depth)
    way = None if way == "plain" else way
    user = w.inner_user(root, 500, f"{base}/u500", uid)
    world.make("memory", "elsewhere", 100000)
    world.make("memory", f"{base}/hosts/x", 0)
    pid = root.run(agent.fork_task)
    client = Behind(root, socket, way)
    for member, *args in (
            ("SetValue", "memory", "", LIMIT, "-1"), ("SetValue", "memory", "hosts/x", LIMIT, "1"),
            ("Chown", "memory", "", 1, 1), ("Chown", "memory", "hosts", 0, 0),
            ("Chmod", "memory", "", "", 0o777), ("Create", "memory", "hosts/y"),
            ("Create", "memory", "../x"), ("MovePid", "memory", "hosts", pid),
            ("MovePidAbs", "memory", "/elsewhere", pid), ("MovePidAbs", "memory", "/..", pid),
            ("GetValue", "memory", "/elsewhere", LIMIT), ("ListChildren", "memory", "/elsewhere"),
            ("GetTasks", "memory", "/elsewhere"), ("Remove", "memory", "hosts/x", 1),
            ("RemoveOnEmpty", "memory", ""), ("Prune", "memory", "hosts")):
        client.refused(member, *args)
    client = Behind(user, socket, way)
    equal(client.Create("memory", "x"), -1)
    equal(os.stat(where("memory", f"{base}/u500/x")).st_uid, uid + 500)
    for member, *args in (
            ("Chown", "memory", "x", 0, 0), ("Chmod", "memory", "", "", 0o777),
            ("SetValue", "memory", "", LIMIT, "-1"), ("MovePid", "memory", "x", 1),
            ("MovePidAbs", "memory", "/", user.run(os.getpid))):
        client.refused(member, *args)


@each("plain", "stream")
def test_proxy_scope_is_the_lesser(w, way):
    """A proxy whose scope does not hold its client can do nothing for it; else both scopes bind."""
    needs("memory")
    way = None if way == "plain" else way
    root = w.container()
    world.make("memory", "c1/proxy", 100000)
    world.make("memory", "c1/beside", 100000)
    deep = w.once("deep", lambda: root.agent.spawn("deep", w.placer("c1/proxy", 100000), cgroup=True))
    socket = proxy.start(w, deep, w.daemon.socket)
    client = Behind(root, socket, way)
    for member, *args in (("Create", "memory", "x"), ("GetValue", "memory", "", LIMIT),
                          ("GetTasks", "memory", ""), ("MovePidAbs", "memory", "/", 1)):
        client.refused(member, *args)
    below = w.once("below", lambda: root.agent.spawn("below", w.placer("c1/proxy/below", 100000)))
    pid = below.run(os.getpid)
    client = Behind(below, socket, way)
    equal(client.Create("memory", "x"), -1)
    assert os.path.isdir(where("memory", "c1/proxy/below/x"))
    client.SetValue("memory", "x", LIMIT, "8388608")
    client.refused("MovePidAbs", "memory", "/../beside", pid)
    client.refused("MovePidAbs", "memory", "/beside", pid)
    client.refused("GetValue", "memory", "/beside", LIMIT)
    equal(client.GetPidCgroupAbs("memory", pid), "/below")
    client.refused("GetPidCgroupAbs", "memory", 1)
    client.MovePidAbs("memory", "/", pid)
    equal(place_of(below.agent.pid, "memory"), "/c1/proxy")


@test
def test_proxy_cgroup_is_the_top(w):
    """Where the proxy has no cgroup namespace of its own, the paths of the Abs calls start at its cgroup."""
    needs("memory")
    root = w.container()
    world.make("memory", "c1/proxy", 100000)
    deep = w.once("deep", lambda: root.agent.spawn("deep", w.placer("c1/proxy", 100000)))
    below = w.once("below", lambda: root.agent.spawn("below", w.placer("c1/proxy/below", 100000)))
    pid, other = below.run(os.getpid), root.run(agent.fork_task)
    for way in (None, "stream"):
        client = Behind(below, proxy.start(w, deep, w.daemon.socket, f"proxy {way}"), way)
        equal(client.GetPidCgroupAbs("memory", pid), "/below")
        client.MovePidAbs("memory", "/", pid)
        equal(place_of(below.agent.pid, "memory"), "/c1/proxy")
        client.MovePidAbs("memory", "/below", pid)
        equal(place_of(below.agent.pid, "memory"), "/c1/proxy/below")
        # What is inside the scope and outside the proxy's cgroup does not exist for them.
        client.refused("GetPidCgroupAbs", "memory", 1)
        client.refused("MovePidAbs", "memory", "/below", other)


@each("plain", "stream")
def test_proxy_absolute_paths(w, way):
    """Of reads: from the top that the client's namespace shows, to below the proxy's current cgroup."""
    needs("memory")
    root = w.container()
    user = w.inner_user(root)
    world.make("memory", "c1/beside/x", 100000)
    for member, *args in (("GetValue", LIMIT), ("ListChildren",), ("GetTasks",), ("ListKeys",)):
        user.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), member, "memory", "/beside", *args)
    client = Behind(user, proxy.start(w, root, w.daemon.socket), None if way == "plain" else way)
    equal(client.ListChildren("memory", "/beside"), ["x"])
    equal(client.GetTasks("memory", "/beside"), [])
    client.GetValue("memory", "/beside", LIMIT)
    client.refused("SetValue", "memory", "/beside/x", LIMIT, "8388608")
    client.refused("GetValue", "memory", "/../c1", LIMIT)
    os.chmod(where("memory", "c1/beside"), 0o700)
    client.refused("GetValue", "memory", "/beside", LIMIT)
    client.refused("ListChildren", "memory", "/beside")


@test
def test_proxy_not_root(w):
    """A proxy that is not root in its user namespace speaks for nobody, whatever the kernel lets it send."""
    needs("memory")
    root = w.container()
    weak = w.once("weak", lambda: root.agent.spawn("weak", w.placer("c1/weak", 101000)))
    weak.run(become_weak, 1000)
    socket = proxy.start(w, weak, w.daemon.socket, "weak", 101000)
    for client in (Behind(root, socket), Behind(root, socket, "stream")):
        for member, *args in (("Create", "memory", "x"), ("GetValue", "memory", "", LIMIT),
                              ("ListChildren", "memory", ""), ("GetTasks", "memory", "")):
            client.refused(member, *args)


@test
def test_proxy_of_a_user(w):
    """Without capabilities not even the kernel lets it speak for others."""
    needs("memory")
    root = w.container()
    user = w.inner_user(root)
    socket = proxy.start(w, user, w.daemon.socket, "user", 101000)
    for client in (Behind(root, socket), Behind(root, socket, "dgram")):
        client.refused("Create", "memory", "x")
        client.refused("GetValue", "memory", "", LIMIT)


@test
def test_proxy_for_a_stranger(w):
    """Whoever is not of the proxy's user namespace, or stands outside its cgroup, gets nothing from it."""
    needs("memory")
    root = w.container()
    socket = proxy.start(w, root, w.daemon.socket)
    other = w.container("c9", 300000)
    for stranger in (other, w.user(1000), w.host()):
        for client in (Behind(stranger, socket), Behind(stranger, socket, "stream")):
            client.refused("Create", "memory", "stolen")
            client.refused("GetValue", "memory", "", LIMIT)
            client.refused("GetTasks", "memory", "")
    pid = root.run(os.getpid)
    mapped = w.once("mapped", lambda: w.host_agent.spawn("mapped", w.placer("m", 105000), uid=105000))
    equal(pid, 1)
    for client in (Behind(mapped, socket), Behind(mapped, socket, "stream")):
        client.refused("Create", "memory", "x")


@test
def test_proxy_ends(w):
    """A proxy that dies amid its clients' calls leaves nothing in the daemon."""
    needs("memory")
    root, host = w.container(), w.host()
    scm.Client(root).GetValue("memory", "", LIMIT)
    scm.Client(host).GetValue("memory", "c1", LIMIT)
    host.Ping(1)
    root.run(world.close_bus, "scm")
    fds = w.daemon.fds()
    for i in range(5):
        socket = proxy.start(w, root, w.daemon.socket, f"proxy{i}")
        client = Behind(root, socket)
        equal(client.Create("memory", f"x{i}"), -1)
        root.run(begin_and_leave, socket)
        root.run(proxy.end)
        root.run(world.close_bus, "behind")
        host.Ping(1)
    w.same_fds(fds, "proxies that died")


def begin_and_leave(address):
    bus = wire.Bus(address, fds=True)
    exchanges = [scm.Exchange(bus, "GetValue", "memory", "", LIMIT) for _ in range(3)]
    for exchange in exchanges:
        exchange.send(scm.credentials())
    agent.here["left"] = (bus, exchanges)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each method on each kind of hierarchy, for each kind of client."""

import os
import re
import stat

import agent
import world
from harness import each, equal, needs, only_v1, only_v2, test
from cgroups import available, enable
from world import place_of, put, read, stored, tasks, where

KINDS = ("memory", "pids", "freezer", "cpuset", "devices", "cpu", "cpuacct", "blkio",
         "name=systemd", "unified")
# A limit of each kind, and what it reads afterwards.
LIMITS = {"memory": ("memory.limit_in_bytes", "10485760"), "pids": ("pids.max", "7"),
          "freezer": ("freezer.state", "FROZEN"), "cpuset": ("cpuset.cpus", "0"),
          "cpu": ("cpu.shares", "512"), "cpuacct": ("cgroup.clone_children", "1"),
          "blkio": ("cgroup.clone_children", "1"),
          "name=systemd": ("cgroup.clone_children", "1"), "unified": ("cgroup.max.depth", "3")}
if world.PURE:
    # These have none of their own there.
    LIMITS |= dict.fromkeys(("cpuacct", "blkio"), LIMITS["unified"])
# What Create keeps for the host: what runs a program, and what a level below may not widen (78).
HOSTS = re.compile(r"^notify_on_release$|^release_agent$|^blkio\.throttle\.|prio|qos")


def client_of(w, who):
    """(client, its cgroup, its uid on the host, the most another id may be there)"""
    if who == "host root":
        return w.host(), "", 0
    if who == "host user":
        return w.user(1000), "u1000", 1000
    if who == "container root":
        return w.container(), "c1", 100000
    if who == "container user":
        return w.inner_user(w.container()), "c1/u1000", 101000
    one, two, three = w.nested()
    return (two, "c1/c2", 101000) if who == "nested root" else (three, "c1/c2/c3", 102000)


CLIENTS = ("host root", "host user", "container root", "container user", "nested root",
           "three deep")


@each(*[(kind, who) for kind in KINDS for who in CLIENTS])
def test_cycle(w, kind, who):
    """Create, look, limit, move there and back, remove."""
    needs(kind)
    client, base, uid = client_of(w, who)
    equal(client.Create(kind, "x/y"), -1, "Create")
    equal(client.Create(kind, "x/y"), 1, "Create again")
    equal(client.Create(kind, ""), -1, "Create ''")
    made = where(kind, f"{base}/x/y")
    status = os.stat(made)
    equal((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)), (uid, uid, 0o755))
    equal({f: os.stat(f"{made}/{f}").st_uid for f in os.listdir(made) if not HOSTS.search(f)
           and os.stat(f"{made}/{f}").st_uid != uid}, {}, "files that were not given")
    equal(client.ListChildren(kind, "x"), ["y"])
    if kind in LIMITS:
        key, value = LIMITS[kind]
        client.SetValue(kind, "x/y", key, value)
        name, text = stored(key, value)
        equal(read(f"{made}/{name}").strip(), text)
        equal(client.GetValue(kind, "x/y", key), value)
        if value == "FROZEN":
            client.SetValue(kind, "x/y", key, "THAWED")
    move(client, kind, base)
    equal(client.Remove(kind, "x", 1), 1, "Remove")
    equal(client.Remove(kind, "x", 1), -1, "Remove again")
    assert not os.path.exists(where(kind, f"{base}/x"))


def move(client, kind, base):
    pid = client.run(agent.fork_task)
    client.MovePid(kind, "x/y", pid)
    inside, = tasks(kind, f"{base}/x/y")
    equal(client.GetTasks(kind, "x/y"), [pid])
    equal(client.GetTasksRecursive(kind, "x"), [pid])
    equal(client.GetTasks(kind, "x"), [])
    equal(client.GetPidCgroup(kind, pid), "x/y")
    absolute = client.GetPidCgroupAbs(kind, pid)
    assert absolute.startswith("/") and absolute.endswith("x/y"), absolute
    back = absolute.removesuffix("/x/y") or "/"
    client.MovePidAbs(kind, back, pid)
    equal(place_of(inside, kind), f"/{base}")
    equal(client.GetPidCgroup(kind, pid), "/")
    client.MovePid(kind, "x/y", pid)
    client.run(agent.end_task, pid)
    equal(client.GetTasks(kind, "x/y"), [])


def handed_over():
    """What goes with a cgroup to its new owner: the kernel's list, without what is no delegation."""
    try:
        files = set(read("/sys/kernel/cgroup/delegate").split())
    except OSError:
        files = set()
    return (files | set(world.DELEGATED)) - {"memory.reclaim"}


@each(*KINDS)
def test_chown(w, kind):
    """Hands over the directory and what delegates it, not the limits."""
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    client.Chown(kind, "x", 1000, 1001)
    made = where(kind, "c1/x")
    owners = {f: (os.stat(f"{made}/{f}").st_uid, os.stat(f"{made}/{f}").st_gid)
              for f in os.listdir(made)}
    for name, owner in owners.items():
        handed = name in handed_over()
        if handed or not HOSTS.search(name):
            equal(owner, (101000, 101001) if handed else (100000, 100000), name)
    equal((os.stat(made).st_uid, os.stat(made).st_gid), (101000, 101001))
    client.Chown(kind, "x", -1, 5)
    equal((os.stat(made).st_uid, os.stat(made).st_gid), (101000, 100005))


@each(*KINDS)
def test_chmod(w, kind):
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    client.Chmod(kind, "x", "", 0o700)
    equal(stat.S_IMODE(os.stat(where(kind, "c1/x")).st_mode), 0o700)
    client.Chmod(kind, "x", "", 0o777)
    equal(stat.S_IMODE(os.stat(where(kind, "c1/x")).st_mode), 0o775, "masked")


@each(*KINDS)
def test_list_keys(w, kind):
    """Ids as the caller has them, modes whole."""
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    made = where(kind, "c1/x")
    os.chown(f"{made}/cgroup.procs", 5, 6)
    keys = {name: (uid, gid, mode) for name, uid, gid, mode in client.ListKeys(kind, "x")}
    if world.PURE:
        # No files: see test_devices_v1.py.
        for name in ("allow", "deny", "list"):
            keys.pop(f"devices.{name}", None)
    equal(sorted(keys), sorted(f for f in os.listdir(made) if os.path.isfile(f"{made}/{f}")))
    unmapped = 2 ** 32 - 1
    for name, (uid, gid, mode) in keys.items():
        owner = os.stat(f"{made}/{name}").st_uid
        equal((uid, gid), (0, 0) if owner == 100000 else (unmapped, unmapped), name)
        equal(mode, os.stat(f"{made}/{name}").st_mode, name)


@each(*KINDS)
def test_list_children(w, kind):
    needs(kind)
    client = w.container()
    for name in ("b", "a", "a..b", "ü"):
        equal(client.Create(kind, name), -1)
    equal(sorted(client.ListChildren(kind, "")), sorted(["a", "a..b", "b", "ü"]))
    equal(client.ListChildren(kind, "a"), [])


@test
def test_devices_list(w):
    needs("devices")
    client = w.container()
    client.Create("devices", "x")
    client.SetValue("devices", "x", "devices.deny", "a")
    client.SetValue("devices", "x", "devices.allow", "c 1:3 rwm")
    equal(client.GetValue("devices", "x", "devices.list"), "c 1:3 rwm")


@test
def test_freeze_unified(w):
    needs("unified")
    client = w.container()
    client.Create("unified", "x")
    pid = client.run(agent.fork_task)
    client.MovePid("unified", "x", pid)
    client.SetValue("unified", "x", "cgroup.freeze", "1")
    agent.wait_until(lambda: "frozen 1" in client.GetValue("unified", "x", "cgroup.events"),
                     "the cgroup is frozen")
    client.SetValue("unified", "x", "cgroup.freeze", "0")


@test
def test_many_tasks(w):
    """2,000 tasks, in the caller's own numbers, and texts longer than a page read to the end (46)."""
    needs("pids", "memory")
    client = w.container()
    client.Create("memory", "many/more")
    parent = client.run(agent.fork_parent)
    client.MovePid("memory", "many/more", parent)
    mine = sorted([parent, *client.run(agent.fork_many, 2000)])
    equal(client.GetTasks("memory", "many/more"), mine)
    equal(client.GetTasksRecursive("memory", "many"), mine)
    equal(client.GetTasksRecursive("all", "many"), mine)
    host = w.host().GetTasks("memory", "c1/many/more")
    equal(host, tasks("memory", "c1/many/more"))
    text = client.GetValue("memory", "many/more", "cgroup.procs")
    assert len(text) > 8192, len(text)
    equal(sorted(int(line) for line in text.split()), mine)


@test
def test_all_and_lists(w):
    """`all` and comma lists, for the calls that take them."""
    needs("memory", "pids", "unified")
    client, apart = w.container(), not world.PURE
    kinds = [k for k in KINDS if world.have(k)]
    equal(client.Create("all", "x"), -1)
    equal([k for k in kinds if not os.path.isdir(where(k, "c1/x"))], [])
    equal(client.Create("all", "x"), 1)
    client.Chown("all", "x", 7, 7)
    equal({os.stat(where(k, "c1/x")).st_uid for k in kinds}, {100007})
    client.Chmod("all", "x", "", 0o711)
    equal({stat.S_IMODE(os.stat(where(k, "c1/x")).st_mode) for k in kinds}, {0o711})
    client.Chmod("all", "x", "", 0o755)
    pid = client.run(agent.fork_task)
    client.MovePid("all", "x", pid)
    equal({client.GetPidCgroup(k, pid) for k in kinds}, {"x"})
    client.MovePidAbs("memory,pids", "/", pid)
    equal([client.GetPidCgroup(k, pid) for k in ("memory", "pids", "unified")],
          ["/", "/", "x" if apart else "/"])
    equal(client.GetTasksRecursive("memory,unified", "x"), [pid] if apart else [])
    client.MovePid("all", "x", pid)
    client.run(agent.end_task, pid)
    equal(client.Remove("memory,pids", "x", 0), 1)
    equal([os.path.isdir(where(k, "c1/x")) for k in ("memory", "pids", "unified")],
          [False, False, apart])
    equal(client.Remove("all", "x", 1), 1 if apart else -1)
    client.refused("CONTROLLER_MANY", "GetValue", "memory,pids", "", "tasks")
    client.refused("CONTROLLER_MANY", "ListChildren", "all", "")
    client.refused("CONTROLLER_UNKNOWN", "Create", "nosuch", "x")


@test
def test_list_with_denials(w):
    """A denial in a list is passed over."""
    only_v1("cgroups of one path that belong to different users")
    needs("memory", "pids")
    client = w.container()
    for kind in ("memory", "pids"):
        world.make(kind, "c1/locked", 0)
    os.chown(where("pids", "c1/locked"), 100000, 100000)
    client.Create("memory,pids", "locked/x")
    equal([os.path.isdir(where(k, "c1/locked/x")) for k in ("memory", "pids")], [False, True])


@test
def test_list_all_denied(w):
    """What is denied everywhere is a failure."""
    needs("memory", "pids")
    client = w.container()
    for kind in ("memory", "pids"):
        world.make(kind, "c1/locked", 0)
    client.refused("NO_WRITE", "Create", "memory,pids", "locked/x")
    client.refused("NO_WRITE", "Create", "pids,memory", "locked/x")


@test
def test_list_controllers(w):
    """One entry a hierarchy, for everybody the same."""
    got = w.container().ListControllers()
    equal(w.host().ListControllers(), got)
    for kind in ("memory", "pids", "freezer", "cpuset", "devices", "cpu", "cpuacct", "blkio",
                 "name=systemd", "unified"):
        if world.have(kind):
            assert any(kind in entry.split(",") for entry in got), (kind, got)
    equal(len(got), len(set(got)))


@test
def test_list_controllers_v2(w):
    """One entry: the kernel's names, and v1's for what has none of its own or another."""
    only_v2("one hierarchy for all controllers")
    entry, = w.container().ListControllers()
    names = entry.split(",")
    equal(names[0], "unified")
    equal(names[1:len(available()) + 1], available())
    equal(sorted(set(names) & {"freezer", "cpuacct", "blkio", "perf_event", "devices"}),
          ["blkio", "cpuacct", "devices", "freezer", "perf_event"])


@test
def test_controller_names(w):
    """v2 answers to `unified` and to the controllers that it has."""
    needs("unified")
    host = w.host()
    equal(host.Create("unified", "n1"), -1)
    assert os.path.isdir(where("unified", "n1"))
    for name in available() if world.PURE else ():
        equal(host.Create(name, f"n-{name}"), -1)
        assert name in read(where("unified", f"n-{name}") + "/cgroup.controllers").split()


@test
def test_controller_name_of_v1(w):
    """v1's named hierarchy answers to its name."""
    needs("name=systemd")
    host = w.host()
    equal(host.Create("name=systemd", "n2"), -1)
    assert os.path.isdir(where("systemd", "n2"))


@test
def test_get_value(w):
    """Trailing newlines go, absolute paths start at the top that the caller's namespace shows."""
    needs("memory", "unified")
    client = w.container()
    client.Create("memory", "x")
    client.SetValue("memory", "x", "memory.limit_in_bytes", "8388608")
    equal(client.GetValue("memory", "/x", "memory.limit_in_bytes"), "8388608")
    equal(client.GetValue("memory", "//x/./", "memory.limit_in_bytes"), "8388608")
    client.SetValue("memory", "/x", "memory.limit_in_bytes", "")
    equal(client.GetValue("memory", "x", "memory.limit_in_bytes"), "8388608", "'' is a no-op")
    assert "\n" in client.GetValue("memory", "x", "memory.stat")
    equal(client.GetValue("unified", "", "cgroup.type"), "domain")


@test
def test_absolute_paths_stay_below_own(w):
    """In a plain call the result lies in or below the caller's current cgroup, for host root too."""
    needs("memory")
    world.make("memory", "a/x", 0)
    world.make("memory", "a/y", 0)
    host = w.host_agent.spawn("moved", w.placer("a/x", 0, ["memory"]))
    client = world.Client(w, host)
    client.GetValue("memory", "/a/x", "memory.limit_in_bytes")
    client.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), "GetValue", "memory", "/a/y",
                   "memory.limit_in_bytes")


@each("memory", "unified")
def test_base_drops_leaf(w, kind):
    """An init that moved into a leaf still manages its container."""
    needs(kind)
    client = w.container()
    world.make(kind, "c1/init.scope", 100000)
    put(kind, "c1/init.scope", client.agent.pid)
    equal(client.Create(kind, "x"), -1)
    assert os.path.isdir(where(kind, "c1/x"))
    equal(client.GetPidCgroupAbs(kind, 1), "/init.scope")
    key, value = LIMITS[kind]
    client.SetValue(kind, "x", key, value)
    equal(client.GetValue(kind, "x", key), value)
    pid = client.run(agent.fork_task)
    client.MovePidAbs(kind, "/x", pid)
    equal(client.GetTasks(kind, "x"), [pid])


@test
def test_move_down_and_missing(w):
    needs("memory")
    client = w.container()
    client.refused("CGROUP_MISSING", "MovePid", "memory", "nosuch", 1)
    client.refused("PATH_ABSOLUTE", "MovePid", "memory", "/", 1)
    client.Create("memory", "x")
    client.refused("TASK_MISSING", "MovePid", "memory", "x", 999999)
    client.refused("TASK_MISSING", "MovePid", "memory", "x", 0)
    client.refused("TASK_MISSING", "MovePid", "memory", "x", -1)
    client.refused("CGROUP_MISSING", "GetTasks", "memory", "nosuch")
    client.refused("CGROUP_MISSING", "ListChildren", "memory", "nosuch")
    client.refused("CGROUP_MISSING", "ListKeys", "memory", "nosuch")
    client.refused("CGROUP_MISSING", "RemoveOnEmpty", "memory", "nosuch")
    client.refused("KEY_MISSING", "GetValue", "memory", "x", "memory.nosuch")


@each("memory", "unified")
def test_remove(w, kind):
    """Busy ones stay; '' takes the children of the caller's own."""
    needs(kind)
    client = w.container()
    client.Create(kind, "x/y/z")
    client.Create(kind, "v")
    client.refused("BUSY", "Remove", kind, "x", 0)
    pid = client.run(agent.fork_task)
    client.MovePid(kind, "x/y", pid)
    client.refused("BUSY", "Remove", kind, "x/y", 0)
    client.run(agent.end_task, pid)
    equal(client.Remove(kind, "x/y/z", 0), 1)
    client.Remove(kind, "", 1)
    equal(client.ListChildren(kind, ""), [])


@test
def test_modes_decide(w):
    """Mode bits and supplementary groups decide Create, Remove and reads."""
    needs("memory")
    path = world.make("memory", "u1000/g", 0, 4242)
    os.chmod(path, 0o770)
    member = w.user(1000, groups=[4242])
    stranger = w.user(1001, "u1000/s", 1001)
    if world.PURE:
        # A mode lets nobody enable a controller: whoever shares a cgroup does it for all.
        member.refused("LEVEL_PRIVILEGE", "Create", "memory", "g/x")
        enable(path, ["memory"])
    equal(member.Create("memory", "g/x"), -1)
    equal(member.Remove("memory", "g/x", 1), 1)
    host = w.host_agent.spawn("other", w.placer("u1000", 1000), uid=1002)
    other = world.Client(w, host)
    other.refused(("NO_SEARCH", "NO_READ", "NO_WRITE", "CGROUP_OUTSIDE"),
                  "Create", "memory", "g/x")
    other.refused(("NO_SEARCH", "NO_READ", "CGROUP_OUTSIDE"), "GetTasks", "memory", "g")
    stranger.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), "GetTasks", "memory", "/u1000/g")

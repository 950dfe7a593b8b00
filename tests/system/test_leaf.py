# SPDX-License-Identifier: LGPL-2.1-or-later
"""The leaf of a cgroup of v2: to the outside it is none, its tasks are its parent's."""

import os
import signal

import agent
import cgroups
import proxy
import scm
import world
from cgroups import LEAF, MARK
from harness import each, equal, needs, only_v2, test
from world import read, where, write

KIND = "unified"


def procs(path):
    """Those of this very cgroup."""
    return sorted(int(line) for line in read(where(KIND, path) + "/cgroup.procs").split())


def numbers(text):
    return [int(line) for line in text.split()]


def leaf_of(path):
    cgroups.leaf_of(where(KIND, path))
    return f"{path}/{LEAF}"


def moved(client, path):
    """A task that a call puts there; its number as the client has it."""
    pid = client.run(agent.fork_task)
    client.MovePid(KIND, path, pid)
    return pid


def gone(path):
    agent.wait_until(lambda: not os.path.exists(where(KIND, path)), f"{path} goes")


def is_there(path):
    return os.path.isdir(where(KIND, path))


def emptied(path):
    """What was killed is counted a little longer."""
    agent.wait_until(lambda: "populated 0" in read(where(KIND, path) + "/cgroup.events"),
                     f"{path} is empty")


@test
def test_leaf_tasks_are_the_parents(w):
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x/y")
    own = moved(client, "x")
    leaf = leaf_of("c1/x")
    other = moved(client, "x")
    equal([len(procs("c1/x")), len(procs(leaf))], [1, 1], "a task goes into the leaf that is there")
    both = sorted([own, other])
    equal(client.GetTasks(KIND, "x"), both)
    equal(client.GetTasksRecursive(KIND, "x"), both)
    for key in ("cgroup.procs", "cgroup.threads", "tasks"):
        equal(numbers(client.GetValue(KIND, "x", key)), both, key)
    for pid in both:
        equal(client.GetPidCgroup(KIND, pid), "x")
        equal(client.GetPidCgroupAbs(KIND, pid), "/x")
    equal(client.ListChildren(KIND, "x"), ["y"])
    # Down, to the same again, and up.
    for pid in both:
        client.MovePid(KIND, "x/y", pid)
        equal(client.GetPidCgroupAbs(KIND, pid), "/x/y")
        client.MovePid(KIND, "x", pid)
        client.MovePid(KIND, "x", pid)
        equal(client.GetPidCgroupAbs(KIND, pid), "/x")
    equal(procs("c1/x"), [])
    client.MovePidAbs(KIND, "/", own)
    equal(client.GetTasks(KIND, "x"), [other])
    client.run(agent.end_task, other)
    emptied("c1/x")
    equal(client.GetTasks(KIND, "x"), [])


@test
def test_leaf_has_no_name(w):
    """What a path names as a leaf does not exist, in all methods."""
    needs(KIND)
    client, host = w.container(), w.host()
    client.Create(KIND, "x")
    leaf_of("c1/x")
    os.mkdir(where(KIND, f"c1/x/{LEAF}/below"))
    pid = moved(client, "x")
    for who, top in ((client, "x"), (host, "/c1/x")):
        for path in (f"{top}/{LEAF}", f"{top}/{LEAF}/below"):
            for member, *args in (("GetTasks",), ("GetTasksRecursive",), ("ListChildren",), ("ListKeys",),
                                  ("GetValue", "cgroup.procs"), ("SetValue", "cgroup.max.depth", "1"),
                                  ("Chown", 0, 0), ("Chmod", "", 0o755), ("RemoveOnEmpty",), ("Prune",)):
                who.refused("CGROUP_MISSING", member, KIND, path, *args)
            who.refused("NAME_RESERVED", "Create", KIND, path)
            equal(who.Remove(KIND, path, 1), -1)
    client.refused("CGROUP_MISSING", "MovePid", KIND, f"x/{LEAF}", pid)
    client.refused("CGROUP_MISSING", "MovePidAbs", KIND, f"/x/{LEAF}", pid)
    assert is_there(f"c1/x/{LEAF}/below")


@test
def test_leaf_is_chowned_with_its_parent(w):
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x")
    leaf = where(KIND, leaf_of("c1/x"))
    client.Chown(KIND, "x", 1000, 1001)
    for path in (leaf, f"{leaf}/cgroup.procs", f"{leaf}/cgroup.subtree_control"):
        equal([os.stat(path).st_uid, os.stat(path).st_gid], [101000, 101001], path)
    equal(os.stat(f"{leaf}/cgroup.max.depth").st_uid, 0)


@test
def test_leaf_is_read_as_its_parent(w):
    """Whoever may read the cgroup may read its leaf, whatever that has for a mode."""
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x")
    leaf = where(KIND, leaf_of("c1/x"))
    os.chmod(leaf, 0o700)
    os.chmod(f"{leaf}/cgroup.procs", 0o600)
    moved(client, "x")
    pids = procs(f"c1/x/{LEAF}")
    user = w.user(1000, "c1")
    equal(user.GetTasks(KIND, "x"), pids)
    equal(user.GetTasksRecursive(KIND, "x"), pids)
    equal(numbers(user.GetValue(KIND, "x", "cgroup.procs")), pids)
    os.chmod(where(KIND, "c1/x"), 0o700)
    for member, *args in (("GetTasks",), ("GetTasksRecursive",), ("GetValue", "cgroup.procs")):
        user.refused(("NO_SEARCH", "NO_READ"), member, KIND, "x", *args)


#
# Removing.
#

@test
def test_leaf_goes_with_remove(w):
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x")
    leaf_of("c1/x")
    pid = moved(client, "x")
    client.refused("BUSY", "Remove", KIND, "x", 0)
    client.refused("BUSY", "Remove", KIND, "x", 1)
    client.run(agent.end_task, pid)
    emptied("c1/x")
    equal(client.Remove(KIND, "x", 0), 1)
    assert not is_there("c1/x")
    # Whoever may take the cgroup out of its parent need not have a right in it.
    for recursive in (0, 1):
        client.Create(KIND, "x")
        leaf_of("c1/x")
        for path in (f"c1/x/{LEAF}", "c1/x"):
            os.chown(where(KIND, path), 200000, 200000)
        equal(client.Remove(KIND, "x", recursive), 1)
        assert not is_there("c1/x")


@test
def test_leaf_in_trees(w):
    """Whole trees with leaves at each level; nothing goes while one is in use."""
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x/y/z")
    for path in ("c1/x", "c1/x/y", "c1/x/y/z"):
        leaf_of(path)
    pid = moved(client, "x/y")
    client.refused("BUSY", "Remove", KIND, "x", 1)
    client.run(agent.end_task, pid)
    emptied("c1/x")
    client.refused("BUSY", "Remove", KIND, "x", 0)
    equal(client.Remove(KIND, "x", 1), 1)
    assert not is_there("c1/x")


@test
def test_leaf_of_the_base_stays(w):
    """'' empties the base, and in the base's own leaf stands who asks."""
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x/y")
    leaf_of("c1/x")
    leaf = leaf_of("c1")
    write(where(KIND, leaf) + "/cgroup.procs", client.agent.pid)
    equal(client.Remove(KIND, "", 1), 1)
    equal(os.path.isdir(where(KIND, "c1/x")), False)
    equal(procs(leaf), [client.agent.pid])
    client.Create(KIND, "x")
    client.Prune(KIND, "")
    assert not is_there("c1/x")
    equal(procs(leaf), [client.agent.pid])
    assert is_there("c1")


@each("TERM", "KILL", None)
def test_leaf_and_remove_on_empty(w, how):
    """A cgroup whose tasks are in its leaf goes when they have; over a restart too, even if the last
    leaves while nobody watches."""
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x/y")
    leaf_of("c1/x/y")
    pid = moved(client, "x/y")
    client.RemoveOnEmpty(KIND, "x/y")
    client.RemoveOnEmpty(KIND, "x")
    client.Ping(1)
    assert is_there("c1/x/y")
    if how:
        os.kill(w.daemon.pid, getattr(signal, "SIG" + how))
        w.daemon.process.wait()
        client.run(agent.end_task, pid)
        emptied("c1/x")
        w.restart()
    else:
        client.run(agent.end_task, pid)
    gone("c1/x")


@test
def test_leaf_empty_from_the_beginning(w):
    """A cgroup that was empty when it was marked stays, with its leaf, until it has had a task."""
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x")
    client.Create(KIND, "sign")
    leaf_of("c1/x")
    client.RemoveOnEmpty(KIND, "x")
    pid = moved(client, "sign")
    client.RemoveOnEmpty(KIND, "sign")
    client.run(agent.end_task, pid)
    gone("c1/sign")
    assert is_there(f"c1/x/{LEAF}")
    pid = moved(client, "x")
    client.run(agent.end_task, pid)
    gone("c1/x")


@test
def test_leaf_and_prune(w):
    """Prune takes empty leaves along, and marks the cgroup of a busy one, not the leaf."""
    needs(KIND)
    client = w.container()
    for name in ("x", "x/empty", "x/busy"):
        client.Create(KIND, name)
        leaf_of(f"c1/{name}")
    pid = moved(client, "x/busy")
    client.Prune(KIND, "x")
    assert not is_there("c1/x/empty")
    equal(procs(f"c1/x/busy/{LEAF}") != [], True)
    equal("trusted.cgmd.release" in os.listxattr(where(KIND, "c1/x/busy")), True)
    equal("trusted.cgmd.release" in os.listxattr(where(KIND, f"c1/x/busy/{LEAF}")), False)
    client.run(agent.end_task, pid)
    gone("c1/x")


@test
def test_leaf_is_not_scanned(w):
    """A leaf that was marked when it was none is not removed under its parent."""
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x")
    client.Create(KIND, "sign")
    for path in (leaf_of("c1/x"), "c1/sign"):
        at = where(KIND, path)
        os.setxattr(at, "trusted.cgmd.release", str(os.stat(at).st_ino).encode())
    w.restart()
    gone("c1/sign")
    assert is_there(f"c1/x/{LEAF}")


#
# Who stands in one.
#

@test
def test_leaf_init_manages_its_container(w):
    needs(KIND)
    client = w.container()
    leaf = leaf_of("c1")
    write(where(KIND, leaf) + "/cgroup.procs", client.agent.pid)
    equal(client.Create(KIND, "x"), -1)
    assert is_there("c1/x")
    equal(client.GetPidCgroup(KIND, 1), "/")
    equal(client.GetPidCgroupAbs(KIND, 1), "/")
    equal(client.GetTasks(KIND, ""), [1])
    client.refused("SCOPE_ROOT", "SetValue", KIND, "", "cgroup.max.depth", "3")
    client.SetValue(KIND, "x", "cgroup.max.depth", "3")
    client.MovePid(KIND, "x", 1)
    client.MovePidAbs(KIND, "/", 1)
    equal(procs(leaf), [client.agent.pid])


@test
def test_leaf_of_a_user(w):
    """A user whose tasks were moved to the leaf of his cgroup has the scope and base that he had."""
    needs(KIND)
    alice = w.user(1000, "a")
    alice.Create(KIND, "before")
    leaf = leaf_of("a")
    write(where(KIND, leaf) + "/cgroup.procs", alice.agent.pid)
    alice.Create(KIND, "x")
    assert is_there("a/x")
    equal(alice.ListChildren(KIND, ""), ["before", "x"])
    own = alice.run(os.getpid)
    equal(alice.GetPidCgroup(KIND, own), "/")
    equal(alice.GetPidCgroupAbs(KIND, own), "/")
    equal(alice.GetTasks(KIND, ""), [own])
    alice.MovePidAbs(KIND, "/x", own)
    alice.MovePidAbs(KIND, "/", own)
    equal(procs(leaf), [own])
    alice.refused("SCOPE_ROOT", "SetValue", KIND, "", "cgroup.max.depth", "3")


@test
def test_leaf_without_a_right(w):
    """Nor does somebody without any right over the cgroup lose or win by standing in its leaf."""
    needs(KIND)
    user = w.user(1000, "a/b", owner=0)
    own = user.run(os.getpid)

    def seen():
        user.refused("NO_WRITE", "Create", KIND, "x")
        user.refused(("CGROUP_MISSING", "CGROUP_OUTSIDE"), "GetTasks", KIND, "/c")
        user.refused("NO_PRIVILEGE", "MovePid", KIND, "", own)
        return [user.GetPidCgroup(KIND, own), user.GetPidCgroupAbs(KIND, own),
                user.GetTasks(KIND, ""), user.ListChildren(KIND, "")]
    world.make(KIND, "a/c", 0)
    before = seen()
    write(where(KIND, leaf_of("a/b")) + "/cgroup.procs", own)
    equal(seen(), before)


@test
def test_leaf_as_root_of_a_namespace(w):
    """A cgroup namespace that was made in a leaf has its top at the parent; nothing above opens, not
    even for who owns it, and not once its init has gone elsewhere."""
    needs(KIND)
    for path in ("group", "group/c1"):
        world.make(KIND, path, 100000)
    leaf_of("group/c1")
    client = w.container(f"group/c1/{LEAF}")
    equal(client.GetPidCgroupAbs(KIND, 1), "/")
    equal(client.Create(KIND, "x"), -1)
    assert is_there("group/c1/x")
    client.refused("SCOPE_ROOT", "SetValue", KIND, "/", "cgroup.max.depth", "3")
    client.refused(("CGROUP_MISSING", "CGROUP_OUTSIDE"), "MovePidAbs", KIND, "/c1", 1)
    client.MovePid(KIND, "x", 1)
    equal(procs("group/c1/x"), [client.agent.pid])
    equal(client.GetPidCgroupAbs(KIND, 1), "/x")
    equal(client.GetTasks(KIND, "/x"), [1])
    client.refused(("CGROUP_MISSING", "CGROUP_OUTSIDE"), "MovePidAbs", KIND, "/c1", 1)
    client.MovePidAbs(KIND, "/", 1)
    equal(procs(f"group/c1/{LEAF}"), [client.agent.pid])
    equal(procs("group"), [])


@each("dgram", "seqpacket")
def test_leaf_and_proxies(w, kind):
    """The requestor in a leaf, the proxy in one, the victim in one."""
    needs(KIND)
    client = w.container()
    address = proxy.start(w, client, w.daemon.socket, kind=kind)
    leaf = leaf_of("c1")
    write(where(KIND, leaf) + "/cgroup.procs", client.agent.pid)
    behind = scm.Client(client, kind, address)
    equal(behind.Create(KIND, "x"), -1)
    leaf_of("c1/x")
    pid = client.run(agent.fork_task)
    behind.MovePid(KIND, "x", pid)
    equal(len(procs(f"c1/x/{LEAF}")), 1)
    equal(behind.GetPidCgroup(KIND, pid), "x")
    equal(behind.GetTasks(KIND, "x"), [pid])
    equal(behind.ListChildren(KIND, ""), ["x"])
    behind.refused("GetTasks", KIND, f"x/{LEAF}")
    behind.refused("Remove", KIND, "x", 1)
    client.run(agent.end_task, pid)
    emptied("c1/x")
    equal(behind.Remove(KIND, "x", 0), 1)


#
# What is none.
#

@each("unmarked", "copied mark", "own mark")
def test_leaf_forged(w, kind):
    """What a container makes under that name is a cgroup like any other."""
    needs(KIND)
    client = w.container()
    client.Create(KIND, "x")
    forged = where(KIND, f"c1/x/{LEAF}")
    client.run(os.mkdir, forged)
    if kind == "copied mark":
        os.setxattr(forged, MARK, str(os.stat(where(KIND, leaf_of("c1"))).st_ino).encode())
    elif kind == "own mark":
        try:
            client.run(os.setxattr, forged, MARK, str(os.stat(forged).st_ino).encode())
        except PermissionError:
            pass
        else:
            raise AssertionError("a container can write trusted attributes")
    pid = moved(client, "x")
    inner = client.run(agent.fork_task)
    client.MovePid(KIND, f"x/{LEAF}", inner)
    equal(client.ListChildren(KIND, "x"), [LEAF])
    equal(client.GetTasks(KIND, "x"), [pid])
    equal(client.GetTasks(KIND, f"x/{LEAF}"), [inner])
    equal(client.GetTasksRecursive(KIND, "x"), sorted([pid, inner]))
    equal(numbers(client.GetValue(KIND, "x", "cgroup.procs")), [pid])
    equal(client.GetPidCgroupAbs(KIND, inner), f"/x/{LEAF}")
    client.run(agent.end_task, pid)
    client.run(agent.end_task, inner)
    emptied("c1/x")
    client.refused("BUSY", "Remove", KIND, "x", 0)
    equal(client.Remove(KIND, "x", 1), 1)


@test
def test_leaf_forged_gives_no_scope(w):
    """A host's container in a cgroup of that name, which nobody marked, ends there."""
    needs(KIND)
    world.make(KIND, "group", 100000)
    client = w.container(f"group/{LEAF}")
    equal(client.GetPidCgroupAbs(KIND, 1), "/")
    equal(client.Create(KIND, "x"), -1)
    assert is_there(f"group/{LEAF}/x")
    client.MovePid(KIND, "x", 1)
    equal(client.GetPidCgroupAbs(KIND, 1), "/x")


#
# Cgroups that can hold no tasks.
#

def controlled(w, controller):
    """A user in c1, of which a controller is enabled for the children of c1/x. Beside tasks the kernel
    enables that one too, but then the children cannot hold any."""
    only_v2("controllers to enable")
    needs(controller)
    client = w.user(1000, "c1")
    client.Create(KIND, "x")
    cgroups.evacuate(where(KIND, "c1"))
    cgroups.enable(where(KIND, "c1/x"), [cgroups.V2_NAMES[controller]])
    return client


@each("pids", "memory")
def test_leaf_is_made_for_a_move(w, controller):
    client = controlled(w, controller)
    pid = moved(client, "x")
    leaf = where(KIND, f"c1/x/{LEAF}")
    assert cgroups.is_leaf(leaf)
    above = os.stat(where(KIND, "c1/x"))
    for path in (leaf, f"{leaf}/cgroup.procs"):
        equal([os.stat(path).st_uid, os.stat(path).st_gid], [above.st_uid, above.st_gid], path)
    equal(os.stat(f"{leaf}/{controller}.max").st_uid, 0)
    equal(os.stat(leaf).st_mode, above.st_mode)
    equal(client.GetTasks(KIND, "x"), [pid])
    equal(client.ListChildren(KIND, "x"), [])
    equal(client.GetPidCgroupAbs(KIND, pid), "/x")
    client.Create(KIND, "x/y")
    client.MovePid(KIND, "x/y", pid)
    equal(client.GetPidCgroupAbs(KIND, pid), "/x/y")
    # A whole tree of which controllers are enabled goes as any other.
    client.run(agent.end_task, pid)
    emptied("c1/x")
    client.Create(KIND, "x/y/z")
    cgroups.enable(where(KIND, "c1/x/y"), [controller])
    equal(client.Remove(KIND, "x", 1), 1)
    assert not is_there("c1/x")


@test
def test_leaf_cannot_be_made(w):
    """No room for one, and somebody else's cgroup under the name: refused, and nothing changes."""
    client = controlled(w, "pids")
    pid = client.run(agent.fork_task)
    write(where(KIND, "c1/x") + "/cgroup.max.descendants", "0")
    client.refused("TREE_FULL", "MovePid", KIND, "x", pid)
    write(where(KIND, "c1/x") + "/cgroup.max.descendants", "max")
    client.run(os.mkdir, where(KIND, f"c1/x/{LEAF}"))
    client.run(os.mkdir, where(KIND, f"c1/x/{LEAF}/below"))
    client.refused("BUSY", "MovePid", KIND, "x", pid)
    client.run(os.rmdir, where(KIND, f"c1/x/{LEAF}/below"))
    client.MovePid(KIND, "x", pid)
    assert cgroups.is_leaf(where(KIND, f"c1/x/{LEAF}"))


@test
def test_leaf_is_not_made_for_systemd(w):
    """In what systemd manages nothing is made, unless it has delegated it."""
    only_v2("controllers to enable")
    needs("memory")
    at = world.make("memory", "app.slice/below")
    at = os.path.dirname(at)
    host = w.host()
    pid = host.run(agent.fork_task)
    os.makedirs("/run/systemd/system")
    try:
        host.refused("LEVEL_SYSTEMD", "MovePid", KIND, "app.slice", pid)
        os.setxattr(at, "trusted.delegate", b"1")
        host.MovePid(KIND, "app.slice", pid)
    finally:
        os.removedirs("/run/systemd/system")
    assert cgroups.is_leaf(f"{at}/{LEAF}")
    host.run(agent.end_task, pid)

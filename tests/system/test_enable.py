# SPDX-License-Identifier: LGPL-2.1-or-later
"""Controllers on the way to a new cgroup of v2, and tasks that are moved out of the way for them."""

import os

import agent
import wire
import world
from agent import wait_until
from cgroups import LEAF, hand_over
from harness import equal, needs, only_v2, test
from world import place_of, put, read, tasks, where, write


def gives(path):
    return read(where("memory", path) + "/cgroup.subtree_control").split()


def has(path):
    return read(where("memory", path) + "/cgroup.controllers").split()


def in_leaf(path):
    return sorted(int(pid) for pid in read(where("memory", f"{path}/{LEAF}/cgroup.procs")).split())


def own(path):
    return read(where("memory", path) + "/cgroup.procs").split()


def fork_many(count):
    return [agent.fork_task() for _ in range(count)]


def ready(*controllers):
    only_v2("controllers that are enabled level by level")
    needs(*controllers)


@test
def test_enable_on_the_way(w):
    """The first Create makes room by itself; what is created has the controllers and is the caller's."""
    ready("memory", "pids")
    client = w.container("c1")
    others = client.run(fork_many, 3)
    equal(client.Create("memory", "a/b"), -1)
    equal([gives("c1"), gives("c1/a"), gives("c1/a/b")], [["memory"], ["memory"], []])
    equal([own("c1"), len(in_leaf("c1"))], [[], 4])
    equal(os.stat(where("memory", "c1/a/b/memory.max")).st_uid, 100000)
    # To the outside nobody has moved.
    equal(client.GetPidCgroup("memory", others[0]), "/")
    equal(sorted(client.GetTasks("memory", ""))[-3:], sorted(others))
    equal(client.ListChildren("memory", ""), ["a"])


@test
def test_enable_existed(w):
    """A cgroup is new to a controller that was not enabled for it, and gets its files."""
    ready("memory", "pids")
    client = w.container("c1")
    equal([client.Create("memory", "x"), client.Create("memory", "x"), client.Create("unified", "x")],
          [-1, 1, 1])
    equal([client.Create("pids", "x"), client.Create("pids", "x"), client.Create("memory,pids", "x")],
          [-1, 1, 1])
    equal(sorted(gives("c1")), ["memory", "pids"])
    equal(os.stat(where("pids", "c1/x/pids.max")).st_uid, 100000)
    client.SetValue("pids", "x", "pids.max", "7")
    equal(client.GetValue("pids", "x", "pids.max"), "7")


@test
def test_enable_all_is_what_can_be_had(w):
    ready("memory", "pids", "cpu")
    client = w.container("c1")
    equal(client.Create("all", "x"), -1)
    equal([sorted(has("c1/x")), client.Create("all", "x")], [sorted(has("c1")), 1])
    # A cgroup that somebody else's rule leaves without: it is made all the same.
    poor = w.container("c2", base=300000)
    host_task = w.host().run(agent.fork_task)
    write(where("memory", "c2/cgroup.procs"), host_task)
    equal(poor.Create("all", "x"), -1)
    equal([has("c2/x"), gives("c2"), host_task in tasks("memory", "c2")], [[], [], True])
    assert not os.path.exists(where("memory", f"c2/{LEAF}"))
    listed = next(name for name in poor.ListControllers() if name.startswith("unified"))
    equal(poor.Create(listed, "y"), -1)


@test
def test_enable_moves_only_what_the_caller_may_move(w):
    """One task of somebody else, and everything stays as it was."""
    ready("memory")
    client = w.container("c1")
    client.run(fork_many, 2)
    host_task = w.host().run(agent.fork_task)
    write(where("memory", "c1/cgroup.procs"), host_task)
    message = client.refused("LEVEL_BUSY", "Create", "memory", "x")
    assert "memory in your own cgroup" in message, message
    w.host().run(agent.end_task, host_task)
    equal(client.Create("memory", "x"), -1)

    alice = w.user(1000)
    bob = w.host().run(agent.fork_task, (1001, 1001, 1001))
    write(where("memory", "u1000/cgroup.procs"), bob)
    alice.refused("LEVEL_BUSY", "Create", "memory", "x")
    w.host().run(agent.end_task, bob)
    # A task that has the caller's uid and yet is not his: a saved uid of somebody else.
    saved = w.host().run(agent.fork_task, (1000, 1000, 0))
    write(where("memory", "u1000/cgroup.procs"), saved)
    alice.refused("LEVEL_BUSY", "Create", "memory", "x")
    w.host().run(agent.end_task, saved)
    equal(alice.Create("memory", "x"), -1)


@test
def test_enable_moves_what_lives_below(w):
    """Tasks of a nested container and of the container's users are the container root's to move; those
    of a container beside it, with the same ids, are not."""
    ready("memory")
    client = w.container("c1")
    inner = w.inner_user(client, 1000, path="c1")
    nested = w.container("c1/n", 101000, client, 1000, 60000)
    put("memory", "c1", nested.agent.pid)
    equal(client.Create("memory", "x"), -1)
    assert {inner.agent.pid, nested.agent.pid} <= set(in_leaf("c1"))

    one, two = w.container("c2"), w.container("c3")
    put("memory", "c2", two.agent.pid)
    one.refused("LEVEL_BUSY", "Create", "memory", "x")
    equal(place_of(two.agent.pid, "memory"), "/c2")


@test
def test_enable_names_the_level(w):
    ready("memory", "pids")
    client = w.container("c1")
    client.Create("unified", "a/b/c")
    at = where("memory", "c1/a/b")
    os.chown(at, 0, 0)
    os.chmod(at, 0o777)
    message = client.refused("LEVEL_PRIVILEGE", "Create", "memory,pids", "a/b/x")
    assert "memory pids in a/b)" in message, message
    message = client.refused("LEVEL_PRIVILEGE", "Create", "pids", "a/b/c")
    assert "pids in a/b)" in message, message
    # What is above the scope is not named.
    top = where("memory", "poor")
    os.mkdir(top)
    os.mkdir(top + "/u")
    os.chown(top + "/u", 1000, 1000)
    hand_over(top + "/u", 1000, 1000)
    alice = w.user(1000, path="poor/u")
    message = alice.refused("LEVEL_ABOVE", "Create", "memory", "x")
    assert "(memory in your own cgroup)" in message and "poor" not in message, message


@test
def test_enable_threaded(w):
    ready("memory", "cpu")
    client = w.container("c1")
    client.Create("unified", "d/t")
    client.SetValue("unified", "d/t", "cgroup.type", "threaded")
    message = client.refused("LEVEL_THREADED", "Create", "memory", "d/t/x")
    assert "memory in d" in message, message
    message = client.refused("LEVEL_THREADED", "Create", "memory", "d/x")
    # What works with threads does there.
    equal([client.Create("cpu", "d/x"), gives("c1/d")], [-1, ["cpu"]])


@test
def test_enable_does_not_make_thread_roots(w):
    """The kernel enables pids beside tasks, and the children are of no use then."""
    ready("pids")
    client = w.container("c1")
    equal(client.Create("pids", "x"), -1)
    equal([read(where("pids", path + "/cgroup.type")).strip() for path in ("c1", "c1/x")],
          ["domain", "domain"])
    client.MovePid("pids", "x", client.run(agent.fork_task))


@test
def test_enable_respects_the_size_of_the_tree(w):
    ready("memory")
    client = w.container("c1")
    client.Create("memory", "a/b")
    client.SetValue("unified", "a", "cgroup.max.descendants", "2")
    equal(client.Create("memory", "a/c"), -1)
    message = client.refused("TREE_FULL", "Create", "memory", "a/d")
    assert "(cgroup.max.descendants is 2 in a)" in message, message
    client.SetValue("unified", "a", "cgroup.max.descendants", "max")
    client.SetValue("unified", "a", "cgroup.max.depth", "2")
    message = client.refused("TREE_FULL", "Create", "memory", "a/b/c/d")
    assert "(cgroup.max.depth is 2 in a)" in message, message
    equal([os.path.exists(where("memory", "c1/a/b/c")), gives("c1/a/b")], [False, []])


@test
def test_enable_leaves_systemd_alone(w):
    """A unit without Delegate= is systemd's, to host root too."""
    ready("memory")
    other = w.container("c1")
    os.makedirs("/run/systemd/system", exist_ok=True)
    at = where("memory", "plain.service")
    os.mkdir(at)
    os.setxattr(at, "trusted.invocation_id", b"0123456789abcdef0123456789abcdef")
    root = w.user(0, path="plain.service", owner=0)
    try:
        root.refused("LEVEL_SYSTEMD", "Create", "memory", "x")
        equal(root.Create("unified", "y"), -1)
        os.setxattr(at, "trusted.delegate", b"1")
        equal(root.Create("memory", "x"), -1)
        equal([gives("plain.service"), own("plain.service")], [["memory"], []])
        # Whose cgroup systemd gave away is served as ever.
        equal(other.Create("memory", "x"), -1)
    finally:
        os.rmdir("/run/systemd/system")


@test
def test_enable_survives_the_daemon(w):
    """Ended in the middle of moving many tasks, it goes on where it was."""
    ready("memory")
    client = w.container("c1")
    pids = client.run(fork_many, 150)
    client.agent.start(world.call_on, "bus", "Create", "memory", "x")
    wait_until(lambda: os.path.exists(where("memory", f"c1/{LEAF}")) and in_leaf("c1"), "it moves tasks")
    w.daemon.kill()
    try:
        client.agent.finish()
    except wire.Dropped:
        pass
    w.start()
    client.reconnect()
    equal(len(set(client.GetTasks("memory", "")) & set(pids)), 150)
    client.Create("memory", "x")
    equal([gives("c1"), own("c1"), len(set(client.GetTasks("memory", "")) & set(pids))],
          [["memory"], [], 150])


@test
def test_enable_for_a_caller_in_the_leaf(w):
    """Who was moved to the leaf, and who comes later, stands where the cgroup stands."""
    ready("memory", "pids")
    for client in (w.container("c1"), w.user(1000)):
        client.Create("memory", "x")
        equal(client.Create("pids", "x/y"), -1)
        equal(client.GetPidCgroup("memory", client.agent.inner_pid), "/")
        client.MovePid("memory", "x/y", client.run(agent.fork_task))
        client.SetValue("memory", "x", "memory.max", "100000000")
        client.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE"), "SetValue", "memory", "", "memory.max", "1")
        # Its own cgroup is not where it can be put any more, but its leaf is.
        client.MovePid("memory", "x", client.agent.inner_pid)
        client.MovePidAbs("memory", "/", client.agent.inner_pid)
        assert client.agent.pid in in_leaf(place_of(client.agent.pid, "memory").strip("/"))

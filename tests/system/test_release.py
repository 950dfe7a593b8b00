# SPDX-License-Identifier: LGPL-2.1-or-later
"""RemoveOnEmpty and Prune, without the host's release_agent and over restarts."""

import os

import agent
import wire
import world
from harness import each, equal, needs, test
from world import read, where

KINDS = ("memory", "name=systemd", "unified")
MARKS = 4096  # of one account


def gone(kind, path):
    agent.wait_until(lambda: not os.path.exists(where(kind, path)), f"{path} goes when it is empty")


def filled(client, kind, path):
    """A cgroup with one task in it."""
    client.Create(kind, path)
    pid = client.run(agent.fork_task)
    client.MovePid(kind, path, pid)
    return pid


def inotify_watches(pid):
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            found += read(f"/proc/{pid}/fdinfo/{fd}").count("inotify wd:")
        except FileNotFoundError:
            pass  # it looks at its cgroups meanwhile
    return found


def release_files(kind):
    top = where(kind)
    return {f"{path}/{name}": read(f"{path}/{name}") for path in world.directories(top)
            for name in ("notify_on_release", "release_agent") if os.path.exists(f"{path}/{name}")}


@each(*KINDS)
def test_remove_on_empty(w, kind):
    needs(kind)
    client = w.container()
    pid = filled(client, kind, "x")
    second = client.run(agent.fork_task)
    client.MovePid(kind, "x", second)
    stays = filled(client, kind, "stays")
    before = release_files(kind)
    client.RemoveOnEmpty(kind, "x")
    client.run(agent.end_task, pid)
    client.Ping(1)
    assert os.path.isdir(where(kind, "c1/x")), "it still has a task"
    equal(release_files(kind), before, "release_agent and notify_on_release")
    client.run(agent.end_task, second)
    gone(kind, "c1/x")
    client.run(agent.end_task, stays)
    client.Ping(1)
    assert os.path.isdir(where(kind, "c1/stays"))


@each(*KINDS)
def test_remove_on_empty_when_moved_out(w, kind):
    """A last task that leaves without ending empties it too."""
    needs(kind)
    client = w.container()
    pid = filled(client, kind, "x")
    client.RemoveOnEmpty(kind, "x")
    client.MovePidAbs(kind, "/", pid)
    gone(kind, "c1/x")


@each(*KINDS)
def test_remove_on_empty_waits_for_children(w, kind):
    """A cgroup with children is in use; what is made in it later is not lost."""
    needs(kind)
    client = w.container()
    pid = filled(client, kind, "x")
    client.RemoveOnEmpty(kind, "x")
    inner = filled(client, kind, "x/in")
    client.run(agent.end_task, pid)
    client.Ping(1)
    assert os.path.isdir(where(kind, "c1/x/in"))
    client.run(agent.end_task, inner)
    client.Remove(kind, "x", 1)


@each(*[(kind, how) for kind in KINDS for how in ("TERM", "KILL")])
def test_remove_on_empty_over_restart(w, kind, how):
    """What was asked of one daemon is done by the next."""
    needs(kind)
    client = w.container()
    during, after = filled(client, kind, "during"), filled(client, kind, "after")
    client.RemoveOnEmpty(kind, "during")
    client.RemoveOnEmpty(kind, "after")
    if how == "TERM":
        w.daemon.stop()
    else:
        w.daemon.kill()
    client.run(agent.end_task, during)
    assert os.path.isdir(where(kind, "c1/during"))
    w.start()
    gone(kind, "c1/during")
    assert os.path.isdir(where(kind, "c1/after"))
    client.run(agent.end_task, after)
    gone(kind, "c1/after")


@each(*KINDS)
def test_new_cgroup_inherits_no_release(w, kind):
    """A cgroup of the same name that is made later has nothing of the old one's mark."""
    needs(kind)
    client = w.container()
    pid = filled(client, kind, "x")
    client.RemoveOnEmpty(kind, "x")
    client.run(agent.end_task, pid)
    gone(kind, "c1/x")
    pid = filled(client, kind, "x")
    w.restart()
    client.reconnect()
    client.run(agent.end_task, pid)
    client.Ping(1)
    equal(client.GetTasks(kind, "x"), [])
    assert os.path.isdir(where(kind, "c1/x"))


@each(*KINDS)
def test_prune(w, kind):
    """Takes what is empty, leaves what is busy until it is empty, and succeeds."""
    needs(kind)
    client = w.container()
    client.Create(kind, "p/a/b")
    client.Create(kind, "p/c")
    pid = filled(client, kind, "p/busy/in")
    client.Prune(kind, "p")
    agent.wait_until(lambda: client.ListChildren(kind, "p") == ["busy"], "the empty ones are gone")
    equal(client.GetTasks(kind, "p/busy/in"), [pid])
    client.run(agent.end_task, pid)
    gone(kind, "c1/p/busy")


@test
def test_remove_on_empty_rights(w):
    """Needs write on the directory, and never takes the caller's own root."""
    needs("memory")
    one, two, _ = w.nested()
    one.refused("SCOPE_ROOT", "RemoveOnEmpty", "memory", "")
    two.refused(("SCOPE_ROOT", "NO_WRITE"), "RemoveOnEmpty", "memory", "")
    world.make("memory", "c1/host/x", 0)
    one.refused("NO_WRITE", "RemoveOnEmpty", "memory", "host/x")


def mark_all(kind, names):
    """Asks on one connection, some at a time; the names that were refused."""
    bus, refused = agent.here["bus"], []
    for first in range(0, len(names), 16):
        some = names[first:first + 16]
        for name, serial in [(name, bus.start("RemoveOnEmpty", kind, name)) for name in some]:
            try:
                bus.answer(serial).value()
            except wire.DBusError as error:
                assert world.REASONS["QUOTA"] in error.message, error
                refused.append(name)
    return refused


def is_marked(kind, path):
    return "trusted.cgmd.release" in os.listxattr(where(kind, path))


def make_many(kind, path, names, uid):
    for name in names:
        os.mkdir(where(kind, f"{path}/{name}"))
        os.chown(where(kind, f"{path}/{name}"), uid, uid)


@each("freezer", "unified")
def test_remove_on_empty_quota(w, kind):
    """One container's marks end at its quota, over a restart too; the others' do not notice."""
    needs(kind)
    client, other = w.container(), w.container("c2", base=300000)
    names = [f"n{i}" for i in range(MARKS + 20)]
    make_many(kind, "c1", names, world.BASE)
    equal(client.run(mark_all, kind, names), names[MARKS:])
    assert is_marked(kind, f"c1/{names[0]}")
    assert not is_marked(kind, f"c1/{names[MARKS]}"), "a refused mark stays"
    pid = filled(other, kind, "x")
    other.RemoveOnEmpty(kind, "x")
    w.host().RemoveOnEmpty(kind, f"/c1/{names[-1]}")
    equal(inotify_watches(w.daemon.pid), MARKS if kind == "unified" or world.PURE else 0,
          "watches of the kernel's")
    other.run(agent.end_task, pid)
    gone(kind, "c2/x")

    # The next daemon finds what was marked, all of it empty, and nothing of what was refused.
    w.restart()
    agent.wait_until(lambda: not any(os.path.exists(where(kind, f"c1/{name}"))
                                     for name in names[:MARKS] + names[-1:]), "the marked ones go")
    assert all(os.path.exists(where(kind, f"c1/{name}")) for name in names[MARKS:-1])

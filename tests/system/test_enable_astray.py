# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes wrong while controllers are enabled: clients that leave, tasks that are elsewhere by now."""

import os
import signal

import agent
import scm
import world
from agent import wait_until
from cgroups import LEAF, is_leaf, leaf_of
from harness import each, equal, needs, only_v1, only_v2, test
from test_enable import fork_many, gives, in_leaf, own
from test_identity import leaderless_task
from world import place_of, read, where, write

MANY = 400


def ready(*controllers):
    only_v2("controllers that are enabled level by level")
    needs(*controllers)


def ask(member, *args):
    """Sends a call, whose answer nobody waits for."""
    agent.here["bus"].start(member, *args)


def ask_scm(address, member, *args):
    """The same over a socket that was passed, of which only our end is kept."""
    scm.connect(address)
    exchange = scm.Exchange(agent.here["scm"], member, *args, kind="seqpacket")
    exchange.begun()
    exchange.turn()
    exchange.send(scm.credentials())
    agent.here["exchange"] = exchange


def begins(path):
    wait_until(lambda: os.path.exists(where("memory", f"{path}/{LEAF}")) and in_leaf(path), "it moves tasks")


def settles(path):
    """Either all or nothing is done; a call of somebody else then finds a daemon that works."""
    wait_until(lambda: gives(path) == ["memory"] or
               not os.path.exists(where("memory", f"{path}/{LEAF}")), "it is done or undone")
    equal([len(own(path)) > 0, os.path.exists(where("memory", f"{path}/{LEAF}"))],
          [gives(path) == [], gives(path) == ["memory"]])


@each("closes", "ends", "closes, by scm")
def test_enable_for_a_client_that_leaves(w, how):
    """Its tasks are still being moved when the client has closed its connection, or has ended."""
    ready("memory")
    alice = w.user(1000)
    alice.run(fork_many, MANY)
    if "scm" in how:
        alice.run(ask_scm, w.daemon.socket, "Create", "memory", "x")
    else:
        alice.run(ask, "Create", "memory", "x")
    begins("u1000")
    if how == "ends":
        os.kill(alice.agent.pid, signal.SIGKILL)
    else:
        alice.run(world.close_bus, "scm" if "scm" in how else "bus")
    settles("u1000")
    w.host().Ping(1)


@test
def test_enable_while_the_daemon_ends(w):
    """The worker that moves tasks goes on for a moment when the peers are gone."""
    ready("memory")
    alice = w.user(1000)
    alice.run(fork_many, MANY)
    alice.run(ask, "Create", "memory", "x")
    begins("u1000")
    w.restart()
    settles("u1000")


@test
def test_enable_does_not_fetch_threads_back(w):
    """cgroup.procs lists a dead main thread where it died; its other threads may be anywhere by now."""
    ready("memory")
    client = w.container()
    client.run(leaderless_task)
    pid, = set(own("c1")) - {str(client.agent.pid)}
    thread, = set(os.listdir(f"/proc/{pid}/task")) - {pid}
    # Where they are in the way they are as good as a task that the caller may not move.
    client.refused("LEVEL_BUSY", "Create", "memory", "x")
    write(world.make("memory", "jail") + "/cgroup.procs", pid)
    jailed = read(f"/proc/{pid}/task/{thread}/cgroup")
    equal([jailed, pid in own("c1")], ["0::/jail\n", True])
    equal(client.Create("memory", "x"), -1)
    equal(read(f"/proc/{pid}/task/{thread}/cgroup"), jailed)


@test
def test_enable_leaves_what_was_moved_away(w):
    """Somebody puts a task elsewhere while others are being moved to the leaf."""
    ready("memory")
    client = w.container()
    client.run(fork_many, MANY)
    world.make("memory", "jail")
    last = own("c1")[-1]
    client.agent.start(world.call_on, "bus", "Create", "memory", "x")
    begins("c1")
    write(where("memory", "jail/cgroup.procs"), last)
    client.agent.finish()
    equal(place_of(last, "memory"), "/jail")


@test
def test_enable_without_room_for_a_leaf(w):
    ready("memory")
    client = w.container()
    write(where("memory", "c1/cgroup.max.descendants"), "0")
    message = client.refused("TREE_FULL", "Create", "memory", "x")
    assert "memory in your own cgroup" in message, message


@test
def test_enable_nothing_of_other_hierarchies(w):
    """Of a list each hierarchy has its own part to do."""
    only_v1("a hierarchy beside the one of v2")
    needs("unified", "memory")
    client = w.container()
    equal(client.Create("memory,unified", "x"), -1)
    assert all(os.path.isdir(where(kind, "c1/x")) for kind in ("memory", "unified"))


@test
def test_refused_remove_leaves_the_leaf(w):
    """Tasks beside an empty leaf: the cgroup stays, and so does all that is in it."""
    needs("unified")
    client = w.container()
    client.Create("unified", "x")
    client.MovePid("unified", "x", client.run(agent.fork_task))
    leaf = leaf_of(where("unified", "c1/x"))
    client.refused("BUSY", "Remove", "unified", "x", 0)
    assert os.path.isdir(leaf)


@test
def test_enable_takes_no_container_for_a_leaf(w):
    """Whatever its mode, what holds tasks under the leaf's name is a cgroup like any other."""
    ready("memory")
    client = w.container()
    forged = where("memory", f"c1/{LEAF}")
    client.run(os.mkdir, forged)
    client.run(os.mkdir, f"{forged}/below")
    client.MovePid("unified", f"{LEAF}/below", client.run(agent.fork_task))
    client.run(os.chmod, forged, 0)
    client.refused("LEVEL_BUSY", "Create", "memory", "x")
    equal([is_leaf(forged), client.ListChildren("unified", "")], [False, [LEAF]])

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pure cgroup v2: what threatens its one hierarchy. What is enabled on the way to a new cgroup is tested in
test_enable.py, leaves in test_leaf.py, values in test_values.py."""

import ctypes
import os
import signal

import agent
import wire
import world
from agent import wait_until
from cgroups import CGROUP, available, enabled
from harness import Skip, bare, each, equal, needs, only_v2, test
from world import read, where, write

MS_REMOUNT = 32
# Keys by which whoever may write them reaches tasks, programs, or what lies above.
NOBODYS = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "cgroup.kill",
           "cgroup.events", "cgroup.stat", "memory.reclaim", "memory.pressure", "cpu.pressure",
           "io.pressure", "cgroup.pressure", "memory.current", "memory.events", "memory.stat", "cpu.stat",
           "pids.current", "release_agent", "notify_on_release", "cgroup.event_control")


def comets(count):
    """Processes that fork and end, for ever: each is there for a moment only."""
    for _ in range(count):
        if os.fork() == 0:
            while True:
                try:
                    if os.fork():
                        os._exit(0)
                except OSError:
                    pass


def end_all():
    """Everything else in this pid namespace, of which we are the first process."""
    os.kill(-1, signal.SIGKILL)
    try:
        while os.waitpid(-1, 0)[0]:
            pass
    except ChildProcessError:
        pass


@each(1, 8)
def test_t48_forks_meanwhile(w, count):
    """Tasks that fork while they are moved: all of them are, or it ends, says so and is undone."""
    only_v2("tasks that are moved out of the way of controllers")
    needs("memory", "pids")
    client, other = w.container(), w.host()
    write(where("pids", "c1") + "/pids.max", 64)
    mine = client.run(agent.fork_task)
    client.run(comets, count)
    done = 0
    for i in range(4):
        client.agent.start(world.call_on, "bus", "Create", "memory", f"x{i}")
        other.Ping(1)
        try:
            equal(client.agent.finish(), -1)
            done += 1
        except wire.DBusError as error:
            assert world.REASONS["LEVEL_FORKS"] in error.message, error
            assert not os.path.exists(where("memory", f"c1/x{i}"))
        gives = read(where("memory", "c1") + "/cgroup.subtree_control").split()
        equal(gives, ["memory"] if done else [])
        own = read(where("memory", "c1") + "/cgroup.procs").split()
        if done:
            equal(own, [])
        else:
            # Who stands still is back. Of what forks on, some may stay in the leaf, which is nobody else's.
            assert str(client.agent.pid) in own, own
        equal(client.GetPidCgroup("memory", mine), "/")
    client.run(end_all)
    equal(client.Create("memory", "y"), -1)
    equal(client.GetTasks("memory", ""), [1])


@each("one", "two", "three", "user", "host")
def test_t41_keys_for_nobody_v2(w, who):
    """On the own cgroup and on those below it, by whichever controller's name."""
    only_v2("these files")
    needs("memory")
    one, two, three = w.nested()
    client = {"one": one, "two": two, "three": three, "user": None, "host": w.host()}[who]
    client = client or w.inner_user(one)
    client.Create("all", "x")
    for key in NOBODYS:
        for kind, path in (("memory", "x"), ("unified", "x"), ("freezer", "")):
            client.refused(("KEY_NEVER", "KEY_UNLISTED", "KEY_HOST_ONLY", "KEY_MISSING", "KEY_MAPPING",
                            "SCOPE_ROOT", "PARENT_PRIVILEGE"), "SetValue", kind, path, key, "1")


@test
def test_controllers_that_are_not_there(w):
    """Names of nothing, of v1's that v2 has nothing for, and of other spellings; alone and in lists."""
    only_v2("no hierarchies of v1")
    client = w.container()
    for name in ("nosuch", "name=systemd", "net_cls", "debug", "Memory", "mem", "cgroup", ".", "memory ",
                 "unified,nosuch", "memory,net_cls", "net_prio,memory"):
        for method, rest in (("Create", ("x",)), ("Remove", ("x", 1)), ("GetTasks", ("",)),
                             ("SetValue", ("x", "memory.limit_in_bytes", "1")), ("MovePid", ("x", 1))):
            client.refused(("CONTROLLER_UNKNOWN", "CONTROLLER_MANY"), method, name, *rest)


@test
def test_controller_that_the_host_withholds(w):
    """What the host gives to nobody below cannot be had: an error that says where, and for `all` without."""
    only_v2("controllers that are enabled level by level")
    needs("memory", "pids")
    os.mkdir(where("memory", "poor"))
    world.write(f"{CGROUP}/cgroup.subtree_control", "+pids")
    for path, uid in (("poor", 0), ("poor/c", world.BASE)):
        at = where("memory", path)
        if not os.path.isdir(at):
            write(where("memory", "poor") + "/cgroup.subtree_control", "+pids")
            os.mkdir(at)
        os.chown(at, uid, uid)
        for name in world.DELEGATED[::2] + ("cgroup.subtree_control",):
            os.chown(f"{at}/{name}", uid, uid)
    client = w.container("poor/c")
    equal(read(where("memory", "poor/c") + "/cgroup.controllers").split(), ["pids"])
    message = client.refused("LEVEL_ABOVE", "Create", "memory", "x")
    assert "poor" not in message, message
    client.refused("LEVEL_ABOVE", "Create", "pids,memory", "x")
    equal(client.Create("pids", "x"), -1)
    equal(client.Create("all", "x"), 1)
    equal(client.Create("all", "y"), -1)
    equal(read(where("memory", "poor/c/y") + "/cgroup.controllers").split(), ["pids"])
    client.refused("KEY_OFF", "SetValue", "memory", "x", "memory.limit_in_bytes", "1048576")
    client.SetValue("pids", "x", "pids.max", "5")


def remount(options):
    """With these and no others; mount(8) would keep those that there are."""
    agent.check(agent.libc.mount(b"none", CGROUP.encode(), None, ctypes.c_ulong(MS_REMOUNT), options.encode()),
                "remount")


@bare
def test_nsdelegate_is_respected(w):
    """Where the mount has it, the kernel holds container roots to their cgroup; we too, and it stays."""
    only_v2("options of the one mount")
    needs("memory")
    if not world.cage.in_machine():
        raise Skip("the options are the whole host's, and this is no throw-away machine")
    remount("nsdelegate")
    try:
        before = read("/proc/self/mountinfo")
        assert "nsdelegate" in before
        w.start()
        one, two, three = w.nested()
        for client in (one, two, three):
            equal(client.Create("memory", "x/y"), -1)
            client.SetValue("memory", "x", "memory.limit_in_bytes", "8388608")
            equal(client.GetValue("memory", "x", "memory.limit_in_bytes"), "8388608")
            pid = client.run(agent.fork_task)
            client.MovePid("memory", "x/y", pid)
            client.MovePidAbs("memory", "/", pid)
            for path in ("", "/"):
                client.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE"), "SetValue", "memory", path,
                               "memory.limit_in_bytes", "-1")
        # A task that was moved out of its namespace's root stands outside, to kernel and daemon alike.
        world.make("memory", "outside", world.BASE)
        world.put("memory", "outside", three.agent.pid)
        three.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), "ListChildren", "memory", "/c1")
        equal(read("/proc/self/mountinfo"), before)
    finally:
        remount("")
    assert "nsdelegate" not in read("/proc/self/mountinfo")


@test
def test_top_is_as_it_was(w):
    """What is enabled at the top for a container stays for the others; nothing is that nobody asked for."""
    only_v2("controllers that are enabled level by level")
    needs("memory")
    host = w.host()
    before = enabled()
    assert "memory" not in before or not world.cage.in_machine(), before
    host.Create("freezer", "x")
    equal(enabled(), before)
    host.Create("memory", "y")
    equal(sorted(enabled()), sorted({*before, "memory"}))
    host.Remove("memory", "y", 1)
    equal(sorted(enabled()), sorted({*before, "memory"}))
    host.Create("all", "z")
    equal(sorted(enabled()), sorted(available()))


@each("x", "x/y")
def test_removed_with_controllers(w, busy):
    """A tree that has controllers enabled at each level and tasks somewhere: refused whole or gone whole."""
    only_v2("controllers that are enabled level by level")
    needs("memory", "pids")
    client = w.container()
    client.Create("all", "x/y/z")
    pid = client.run(agent.fork_task)
    client.MovePid("memory", busy, pid)
    client.refused("BUSY", "Remove", "memory", "x", 0)
    client.refused("BUSY", "Remove", "memory", busy, 0)
    client.run(agent.end_task, pid)
    wait_until(lambda: not world.tasks("memory", f"c1/{busy}"), "it has ended")
    equal(client.Remove("all", "x", 1), 1)
    equal(client.ListChildren("memory", ""), [])

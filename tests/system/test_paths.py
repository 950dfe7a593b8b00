# SPDX-License-Identifier: LGPL-2.1-or-later
"""What may be named: THREATS, Paths."""

import os
import signal
import time

import agent
import wire
import world
from harness import each, equal, needs, only_v1, test
from world import place_of, put, read, snapshot, stored, tasks, where

TAKES_PATH = (("Create", ()), ("Chown", (0, 0)), ("Chmod", ("", 0o755)), ("MovePid", (1,)),
              ("MovePidAbs", (1,)), ("GetValue", ("tasks",)), ("SetValue", ("cpu.shares", "2")),
              ("Remove", (1,)), ("GetTasks", ()), ("GetTasksRecursive", ()), ("ListChildren", ()),
              ("ListKeys", ()), ("RemoveOnEmpty", ()), ("Prune", ()))


@each(*[method for method, _ in TAKES_PATH])
def test_t1_dotdot(w, method):
    """`..` as a component is refused, wherever it stands; as part of a name it is fine."""
    needs("memory")
    client, rest = w.container(), dict(TAKES_PATH)[method]
    world.make("memory", "sibling", 100000)
    for path in ("..", "../sibling", "a/../../sibling", "x/..", "/..", "/../sibling", "./../x"):
        client.refused("PATH_DOTDOT", method, "memory", path, *rest)


@each("memory", "unified")
def test_t1_folding(w, kind):
    """'', `.`, `//` and a trailing `/` are folded."""
    needs(kind)
    client = w.container()
    equal(client.Create(kind, ""), -1)
    equal(client.Create(kind, "."), -1)
    equal(client.Create(kind, "./a//b/"), -1)
    equal(client.ListChildren(kind, "a"), ["b"])
    equal(client.Create(kind, "/c"), -1)
    assert os.path.isdir(where(kind, "c1/c"))
    for name in ("a..b", "...", "..x", "x y"):
        equal(client.Create(kind, name), -1)


@each("memory", "unified")
def test_t2_control_characters(w, kind):
    needs(kind)
    client = w.container()
    for name in ("a\nb", "\x1b[2J", "a\x7f", "\t"):
        message = client.refused("PATH_CONTROL", "Create", kind, name)
        assert not any(ord(c) < 32 or ord(c) == 127 for c in message), repr(message)
        client.refused(("PATH_CONTROL", "KEY_NAME"), "SetValue", kind, "", name, "1")


@each(b"a\0b", b"a\xff\xfeb", b"\xed\xa0\x80", b"\xc0\xaf")
def test_t2_raw_strings(w, name):
    """NUL and what is not UTF-8: an error or the end of that connection; nobody else notices."""
    needs("memory")
    client, other = w.container(), w.host()
    before, fds = snapshot(), None
    client.agent.run(world.connect, w.daemon.socket, key="raw")
    try:
        value = client.agent.run(world.call_on, "raw", "Create", "memory", name)
    except (wire.DBusError, wire.Dropped):
        pass
    else:
        raise AssertionError(f"created: {value}")
    equal(world.difference(before, snapshot()), [])
    client.agent.run(world.close_bus, "raw")
    other.Ping(1)
    client.Ping(1)


@each("memory", "unified")
def test_t3_long_names(w, kind):
    needs(kind)
    client = w.container()
    equal(client.Create(kind, "n" * 255), -1)
    equal(client.ListChildren(kind, ""), ["n" * 255])
    for size in (256, 1000, 4094):
        client.refused("NAME_LENGTH", "Create", kind, "n" * size)
    client.refused("PATH_LENGTH", "Create", kind, "/".join(["n" * 200] * 30))
    client.refused(("PATH_LENGTH", "NAME_LENGTH"), "Create", kind, "n" * 5000)
    client.refused(("PATH_DEPTH", "TREE_DEPTH"), "Create", kind, "/".join(["d"] * 70))


@each("memory", "unified")
def test_t5_reserved_names(w, kind):
    needs(kind)
    client = w.container()
    for name in ("cgroup.procs", "tasks", "cgroup.x", "memory.x", "pids.max", "cpu.x", "devices.x",
                 "hugetlb.x", "notify_on_release", "release_agent", ".cgm_leaf", ".cgm_x"):
        client.refused("NAME_RESERVED", "Create", kind, name)
        client.refused("NAME_RESERVED", "Create", kind, f"a/{name}")


@test
def test_t6_keys(w):
    """A key is one component and a file of that cgroup."""
    needs("memory")
    client = w.container()
    client.Create("memory", "x/y")
    world.make("memory", "other", 100000)
    fifo = f"{w.directory}/fifo"
    os.mkfifo(fifo, 0o666)
    os.chmod(w.directory, 0o755)
    for key in ("../memory.limit_in_bytes", "../../other/memory.limit_in_bytes", "y/tasks", "/etc/passwd",
                "..", ".", "", "../" * 8 + fifo.lstrip("/")):
        client.refused("KEY_NAME", "GetValue", "memory", "x", key)
        client.refused("KEY_NAME", "SetValue", "memory", "x", key, "1")
    client.refused(("KEY_NOT_FILE", "KEY_MISSING"), "GetValue", "memory", "x", "y")
    client.refused(("KEY_NOT_FILE", "KEY_UNLISTED", "KEY_MISSING"), "SetValue", "memory", "x", "y", "1")
    client.refused(("KEY_NAME", "CHMOD_FILE"), "Chmod", "memory", "x", "../tasks", 0o666)


def swap_forever(parent, one, two):
    """A child that exchanges two cgroups by renaming, over and over."""
    pid = os.fork()
    if pid == 0:
        os.chdir(parent)
        while True:
            for source, target in ((one, "t"), (two, one), ("t", two)):
                try:
                    os.rename(source, target)
                except OSError:
                    pass
    return pid


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


@test
def test_t8_rename_during_set_value(w):
    """Only what was judged is written: a parent that is exchanged for root's changes nothing there."""
    only_v1("cgroups that can be renamed")
    needs("memory")
    client = w.container()
    for name, uid in (("p", 100000), ("q", 0)):
        world.make("memory", f"c1/{name}", uid)
        world.make("memory", f"c1/{name}/x", uid)
    guarded = os.open(where("memory", "c1/q/x"), os.O_RDONLY | os.O_DIRECTORY)
    judged = os.open(where("memory", "c1/p/x"), os.O_RDONLY | os.O_DIRECTORY)
    before = read(f"/proc/self/fd/{guarded}/memory.limit_in_bytes")
    swapper = swap_forever(where("memory", "c1"), "p", "q")
    try:
        done = client.run(set_many, "p/x", 3000)
    finally:
        end(swapper)
    assert done > 0, "no call went through"
    equal(read(f"/proc/self/fd/{guarded}/memory.limit_in_bytes"), before)
    equal(read(f"/proc/self/fd/{judged}/memory.limit_in_bytes").strip(), "4194304")
    os.close(guarded)
    os.close(judged)


def set_many(path, times):
    done = 0
    for _ in range(times):
        try:
            agent.here["bus"].call("SetValue", "memory", path, "memory.limit_in_bytes", "4194304")
            done += 1
        except wire.DBusError:
            pass
    return done


@test
def test_t8_rename_during_move(w):
    """A task is only ever moved to the cgroup that was judged."""
    only_v1("cgroups that can be renamed")
    needs("memory")
    client = w.container()
    world.make("memory", "c1/p", 100000)
    world.make("memory", "c1/q", 0)
    guarded = os.open(where("memory", "c1/q"), os.O_RDONLY | os.O_DIRECTORY)
    pid = client.run(agent.fork_task)
    swapper = swap_forever(where("memory", "c1"), "p", "q")
    try:
        for _ in range(20):
            client.run(move_many, pid, 50)
            equal(read(f"/proc/self/fd/{guarded}/cgroup.procs"), "")
    finally:
        end(swapper)
    os.close(guarded)


def move_many(pid, times):
    for _ in range(times):
        try:
            agent.here["bus"].call("MovePid", "memory", "p", pid)
        except wire.DBusError:
            pass


@test
def test_t9_same_name_again(w):
    """A cgroup that is removed and made again between check and use: done, or said to be missing."""
    needs("memory")
    client = w.container()
    world.make("memory", "c1/p/x", 100000)
    world.make("memory", "c1/p", 100000)
    pid = os.fork()
    if pid == 0:
        os.chdir(where("memory", "c1/p"))
        while True:
            for act in (os.mkdir, os.rmdir):
                try:
                    act("x")
                except OSError:
                    pass
    try:
        wrong = client.run(set_and_collect, "p/x", 2000)
    finally:
        end(pid)
    allowed = [world.REASONS[r] for r in ("CGROUP_MISSING", "KEY_MISSING")]
    equal([m for m in wrong if not any(a in m for a in allowed)][:3], [])


def replace_forever(path, owners, key):
    """A child that removes a cgroup with one in it and makes them anew, each time for the next of these
    owners. It ends when a limit was set where root had them."""
    pid = os.fork()
    if pid == 0:
        while True:
            for owner in owners:
                replace_once(path, owner, key)
    return pid


def replace_once(path, owner, key):
    try:
        os.mkdir(path)
        os.chown(path, owner, owner)
        if world.PURE:
            world.write(f"{path}/cgroup.subtree_control", "+memory")
        os.mkdir(f"{path}/x")
        time.sleep(0.001)
        if owner == 0 and read(f"{path}/x/{key}").strip() == "4194304":
            os._exit(1)
    except OSError:
        pass
    for at in (f"{path}/x", path):
        try:
            os.rmdir(at)
        except OSError:
            pass


@test
def test_t9_same_name_for_another(w):
    """A parent that is removed, and made again as root's, between check and use: what is root's stays."""
    needs("memory")
    client = w.container()
    world.make("memory", "c1/p/x", 100000)
    for path in ("c1/p/x", "c1/p"):
        os.rmdir(where("memory", path))
    key, _ = stored("memory.limit_in_bytes")
    replacer = replace_forever(where("memory", "c1/p"), (100000, 0), key)
    try:
        wrong = client.run(set_and_collect, "p/x", 2000)
        equal(os.waitpid(replacer, os.WNOHANG), (0, 0), "root's limit was set")
    finally:
        end(replacer)
    assert len(wrong) < 2000, "no call went through"
    allowed = [world.REASONS[r] for r in ("CGROUP_MISSING", "KEY_MISSING", "PARENT_PRIVILEGE")]
    equal([m for m in wrong if not any(a in m for a in allowed)][:3], [])


def set_and_collect(path, times):
    messages = []
    for _ in range(times):
        try:
            agent.here["bus"].call("SetValue", "memory", path, "memory.limit_in_bytes", "4194304")
        except wire.DBusError as error:
            messages.append(error.message)
    return messages


@test
def test_t11_ancestor_at_the_limit(w):
    """A cgroup whose path the kernel cuts off cannot be told: nothing is granted from there."""
    needs("freezer")
    client = w.container()
    fd = os.open(where("freezer", "c1"), os.O_RDONLY | os.O_DIRECTORY)
    depth = 0
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=fd)
        below = os.open("d" * 250, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd, depth = below, depth + 1
    os.fchown(fd, 100000, 100000)
    procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd)
    os.write(procs, str(client.agent.pid).encode())
    os.close(procs)
    try:
        for method, rest in TAKES_PATH:
            if method not in ("SetValue", "MovePid", "MovePidAbs"):
                expect_place(client, method, "freezer", "x", *rest)
        equal(os.listdir(fd) and [n for n in os.listdir(fd) if os.path.isdir(n)], [])
    finally:
        put("freezer", "c1", client.agent.pid)
        for _ in range(depth):
            up = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            os.rmdir("d" * 250, dir_fd=up)
            fd = up
        os.close(fd)


def expect_place(client, method, *args):
    try:
        value = getattr(client, method)(*args)
    except wire.DBusError as error:
        assert world.REASONS["REQUESTOR_PLACE"] in error.message, f"{method}: {error}"
    else:
        raise AssertionError(f"{method} was granted: {value!r}")


@test
def test_t12_deep_tree(w):
    """3,000 deep: removed without recursion and with few fds."""
    needs("freezer")
    client = w.container()
    client.Create("freezer", "deep")
    fd = os.open(where("freezer", "c1/deep"), os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.fchown(below, 100000, 100000)
        os.close(fd)
        fd = below
    os.close(fd)
    fds = w.daemon.fds()
    equal(client.Remove("freezer", "deep", 1), 1)
    equal(client.ListChildren("freezer", ""), [])
    w.same_fds(fds, "Remove")


@each("memory", "unified")
def test_t12_depth_limit(w, kind):
    """The resulting depth counts, not the depth of the call."""
    needs(kind)
    client = w.container()
    equal(client.Create(kind, "/".join("d" * 8)), -1)
    client.refused("TREE_DEPTH", "Create", kind, "/".join("d" * 16))
    equal(client.Create(kind, "/".join("d" * 15)), -1, "15 below c1 make 16")


@test
def test_victim_ends_midway(w):
    """Tasks that end while they are moved: moved or missing, and the daemon lives."""
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    messages = client.run(move_the_dying, 300)
    allowed = [world.REASONS[r] for r in ("TASK_MISSING", "TASK_ENDED")]
    equal([m for m in messages if not any(a in m for a in allowed)][:3], [])
    equal(tasks("memory", "c1/x"), [])
    assert place_of(client.agent.pid, "memory") == "/c1"


def move_the_dying(times):
    messages = []
    for i in range(times):
        pid = os.fork()
        if pid == 0:
            time.sleep(0.0001 * (i % 8))
            os._exit(0)
        try:
            agent.here["bus"].call("MovePid", "memory", "x", pid)
        except wire.DBusError as error:
            messages.append(error.message)
        os.waitpid(pid, 0)
    return messages

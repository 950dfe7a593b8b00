# SPDX-License-Identifier: LGPL-2.1-or-later
"""What may be done to cgroups and tasks: THREATS, Cgroups, and 74, 78."""

import os
import re
import subprocess

import agent
import wire
import world
from harness import Skip, each, equal, needs, only_v1, test
from world import place_of, put, read, tasks, where, write

OUTSIDE = ("CGROUP_MISSING", "CGROUP_OUTSIDE")
NO_TASK = ("TASK_MISSING", "TASK_OUTSIDE", "TASK_USERNS", "TASK_IDS")
UNSET = ("KEY_NEVER", "KEY_UNLISTED", "KEY_HOST_ONLY", "KEY_MISSING")
OWN_LIMITS = (("memory", "memory.limit_in_bytes", "9223372036854771712"), ("pids", "pids.max", "max"),
              ("cpuset", "cpuset.cpus", "0"), ("cpu", "cpu.shares", "1024"),
              ("devices", "devices.allow", "a"), ("freezer", "freezer.state", "FROZEN"),
              ("unified", "cgroup.max.depth", "max"), ("unified", "cgroup.freeze", "1"))


@test
def test_t32_own_scope_in_each_hierarchy(w):
    """A requestor that is elsewhere in each hierarchy has a scope of its own in each."""
    only_v1("several hierarchies")
    needs("memory", "pids")
    for kind, path in (("memory", "one"), ("pids", "two")):
        world.make(kind, path, 100000)

    def place(pid):
        for kind, path in (("memory", "one"), ("pids", "two")):
            put(kind, path, pid)
    client = w.once("split", lambda: w.host_agent.spawn(
        "split", place, user=True, pid=True, mnt=True, cgroup=True, maps=[(0, 100000, 65536)]))
    equal(client.Create("memory,pids", "x"), -1)
    equal([os.path.isdir(where(*p)) for p in (("memory", "one/x"), ("pids", "two/x"),
                                              ("memory", "two"), ("pids", "one"))],
          [True, True, False, False])
    client.refused(OUTSIDE, "GetTasks", "pids", "/one")


@test
def test_t32_judged_before_the_first_write(w):
    """What fails for a reason of its words fails before any hierarchy is written."""
    needs("memory", "pids")
    client = w.container()
    client.refused("CONTROLLER_UNKNOWN", "Create", "memory,nosuch", "x")
    client.refused("NAME_RESERVED", "Create", "memory,pids", "x/tasks")
    client.refused("PATH_DOTDOT", "Create", "all", "x/../y")
    pid = client.run(agent.fork_task)
    client.refused("TASK_MISSING", "MovePid", "all", "", 999999)
    client.run(agent.end_task, pid)


@each("memory", "freezer")
def test_t33_moves_itself_meanwhile(w, kind):
    """A requestor that is moved up and down while it calls: what it does lands in one of the two."""
    if kind == "memory":
        only_v1("memory's limits beside tasks, so that one can be moved back")
    needs(kind)
    client = w.container()
    world.make(kind, "c1/in", 100000)
    hopper = w.host_agent.spawn("hopper")
    hopper.start(hop, client.agent.pid, where(kind, "c1"), where(kind, "c1/in"), 60000)
    client.run(create_and_remove, kind, 300)
    hopper.channel.close()
    hopper.channel = None
    os.kill(hopper.pid, 9)
    left = {os.path.relpath(p, where(kind)) for top in world.below_tops() if top.startswith(where(kind))
            for p in world.directories(top)}
    assert left <= {"c1", "c1/in", "c1/z", "c1/in/z"}, left


def hop(pid, one, two, times):
    for _ in range(times):
        for path in (one, two):
            with open(f"{path}/cgroup.procs", "w") as procs:
                procs.write(str(pid))


def create_and_remove(kind, times):
    for _ in range(times):
        for member, args in (("Create", (kind, "z")), ("Remove", (kind, "z", 1))):
            try:
                agent.here["bus"].call(member, *args)
            except wire.DBusError:
                pass


def kernel_thread():
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) > 2:
            try:
                if "\nKthread:\t1" in read(f"/proc/{entry}/status"):
                    return int(entry)
            except OSError:
                pass
    return None


@test
def test_t35_tasks_of_others(w):
    """A host's task, process 1, the daemon, a kernel thread, a task of outside: not to be moved."""
    needs("freezer")
    client = w.container("c1", 100000, pid=False)
    user = w.user(1000)
    client.Create("all", "x")
    user.Create("all", "x")
    root_task = w.host_agent.run(agent.fork_task)
    user_task = w.host_agent.run(agent.fork_task, (1001, 1001, 1001))
    other = w.container("c2", 100000, pid=False)
    other_task = other.run(agent.fork_task)
    # The strangers first: what would grant these must not be tried on process 1.
    for kind in filter(world.have, ("name=systemd", "freezer")):
        for pid in (root_task, user_task, other_task, w.daemon.pid, kernel_thread(), 1):
            if pid is None:
                continue
            for someone in (client, user):
                someone.refused(NO_TASK, "MovePid", kind, "x", pid)
                someone.refused(NO_TASK, "MovePidAbs", kind, "/x", pid)
                someone.refused(NO_TASK, "GetPidCgroup", kind, pid)
                someone.refused(NO_TASK, "GetPidCgroupAbs", kind, pid)


@test
def test_t35_numbers_of_another_namespace(w):
    """A pid means what it means to the caller; the host's number of a task is nothing inside."""
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    task = w.host_agent.run(agent.fork_task)
    client.refused(NO_TASK, "MovePid", "memory", "x", task)
    client.refused(NO_TASK, "MovePid", "memory", "x", w.daemon.pid)


@test
def test_t35_task_of_root_inside_scope(w):
    """A task that host root attached to a container's cgroup is not the container's."""
    needs("memory")
    client = w.container("c1", 100000, pid=False)
    client.Create("memory", "x")
    task = w.host_agent.run(agent.fork_task)
    w.placer("c1")(task)
    client.refused(("TASK_USERNS", "TASK_IDS"), "MovePid", "memory", "x", task)


@each(*OWN_LIMITS)
def test_t36_nested_lifts_own_limit(w, kind, key, value):
    """Nobody changes a limit that was set on him: not '', not '/', not by another user namespace."""
    needs(kind)
    one, two, three = w.nested()
    user = w.inner_user(one)
    sharing = world.Client(w, one.agent.spawn("user namespace only", w.placer("c1/in", 101000),
                                              user=True, maps=[(0, 1000, 60000)]))
    for client in (one, two, three, user, sharing):
        for path in ("", "/", "."):
            client.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE", *OUTSIDE),
                           "SetValue", kind, path, key, value)
    two.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE", *OUTSIDE), "SetValue", kind, "/c1/c2", key, value)


@test
def test_t36_parent_limits_child(w):
    """Who has the parent sets the child's limits, whoever owns the child."""
    needs("memory", "pids", "unified")
    one, two, _ = w.nested()
    one.SetValue("memory", "c2", "memory.limit_in_bytes", "536870912")
    equal(two.GetValue("memory", "", "memory.limit_in_bytes"), "536870912")
    equal(world.value_in("memory", "c1/c2", "memory.limit_in_bytes"), "536870912")
    one.SetValue("pids", "c2", "pids.max", "100")
    two.SetValue("pids", "c3", "pids.max", "50")
    one.SetValue("unified", "c2/c3", "cgroup.max.depth", "4")


@test
def test_t37_threaded(w):
    """Threaded and invalid types of v2 give a clear error."""
    needs("unified")
    client = w.container()
    client.Create("unified", "top/thread")
    client.Create("unified", "top/invalid")
    write(where("unified", "c1/top/thread") + "/cgroup.type", "threaded")
    equal(read(where("unified", "c1/top/invalid") + "/cgroup.type").strip(), "domain invalid")
    pid = client.run(agent.fork_task)
    client.refused("THREADED", "GetTasks", "unified", "top/thread")
    client.refused("THREADED", "GetValue", "unified", "top/thread", "cgroup.procs")
    client.refused("THREADED", "MovePid", "unified", "top/invalid", pid)
    # Of a threaded one's processes the domain above is the one to ask, and its threads are its own.
    client.MovePid("unified", "top", pid)
    client.run(write, where("unified", "c1/top/thread") + "/cgroup.threads", pid)
    equal(client.GetTasks("unified", "top"), [pid])
    equal(client.GetValue("unified", "top/thread", "cgroup.threads"), str(pid))
    equal(client.GetTasksRecursive("unified", "top"), [pid])
    client.run(agent.end_task, pid)


@test
def test_t40_direct_modes(w):
    """Limits and delegation files keep their mode; the own root keeps its owner and mode."""
    needs("memory", "unified")
    client = w.container()
    kinds = list(filter(world.have, ("memory", "devices", "unified")))
    for kind in kinds:
        client.Create(kind, "x")
    for kind, names in (("memory", ("memory.limit_in_bytes", "tasks", "cgroup.procs", "release_agent",
                                    "notify_on_release", "cgroup.event_control")),
                        ("devices", ("devices.allow", "devices.deny")),
                        ("unified", ("cgroup.subtree_control", "cgroup.threads", "cgroup.max.depth",
                                     "cgroup.procs", "memory.max", "memory.reclaim"))):
        for name in names if kind in kinds else ():
            for path in ("x", ""):
                client.refused(("CHMOD_FILE", "KEY_MISSING"), "Chmod", kind, path, name, 0o666)
    client.refused("SCOPE_ROOT", "Chmod", "memory", "", "", 0o777)
    client.refused("SCOPE_ROOT", "Chown", "memory", "/", 0, 0)
    client.refused("MODE", "Chmod", "memory", "x", "", 0o10000)
    client.refused("MODE", "Chmod", "memory", "x", "", -1)
    client.refused(("CHMOD_FILE", "KEY_NAME"), "Chmod", "memory", "x", "..", 0o777)
    client.refused(("CHMOD_FILE", "KEY_NAME"), "Chmod", "memory", "x", "../tasks", 0o777)


@test
def test_t41_keys_for_nobody(w):
    """What runs programs, holds fds or pids is set for nobody."""
    needs("memory", "unified")
    client, host = w.container(), w.host()
    client.Create("memory", "x")
    client.Create("unified", "x")
    before = world.snapshot()
    for kind, keys in (
            ("memory", ("release_agent", "notify_on_release", "cgroup.event_control", "tasks",
                        "cgroup.procs", "memory.force_empty", "memory.pressure_level", "memory.stat")),
            ("unified", ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "memory.pressure",
                         "cpu.pressure", "io.pressure", "cgroup.kill", "memory.reclaim",
                         "cgroup.events"))):
        for key in keys:
            client.refused(UNSET, "SetValue", kind, "x", key, "1")
            host.refused(UNSET, "SetValue", kind, "c1/x", key, "1")
    equal(world.difference(before, world.snapshot()), [])


@test
def test_t42_devices_wider_than_the_parent(w):
    needs("devices")
    client = w.container()
    client.Create("devices", "p/x")
    client.SetValue("devices", "p", "devices.deny", "c 1:3 rwm")
    client.refused("VALUE_WIDER", "SetValue", "devices", "p/x", "devices.allow", "c 1:3 rwm")
    client.Create("devices", "q")
    client.SetValue("devices", "q", "devices.deny", "a")
    client.Create("devices", "q/x")
    client.refused("VALUE_WIDER", "SetValue", "devices", "q/x", "devices.allow", "a")
    client.refused("VALUE_WIDER", "SetValue", "devices", "q/x", "devices.allow", "c 1:3 r")


@test
def test_t43_no_fds_are_given(w):
    """No answer carries a file descriptor, also where the client would take some."""
    needs("memory")
    client = w.container()
    client.reconnect(fds=True)
    client.Create("memory", "x")
    client.ListKeys("memory", "x")
    client.GetValue("memory", "x", "cgroup.procs")
    equal(client.run(fds_received), 0)


def fds_received():
    return agent.here["bus"].got_fds


@test
def test_t44_freezing_others(w):
    """An ancestor is not frozen by who is in it; nor is a task moved that is not the caller's."""
    needs("freezer", "unified")
    one, two, _ = w.nested()
    for client in (one, two):
        client.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE"), "SetValue", "freezer", "", "freezer.state",
                       "FROZEN")
        client.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE"), "SetValue", "unified", "", "cgroup.freeze",
                       "1")
    two.Create("freezer", "cold")
    two.SetValue("freezer", "cold", "freezer.state", "FROZEN")
    pid = one.run(agent.fork_task)
    two.refused(NO_TASK, "MovePid", "freezer", "cold", pid)
    two.SetValue("freezer", "cold", "freezer.state", "THAWED")


@test
def test_t46_long_values(w):
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    for size in (4096, 5000, 30000):
        client.refused("VALUE_LENGTH", "SetValue", "memory", "x", "memory.limit_in_bytes", "1" * size)
    client.refused(("VALUE_REFUSED", "VALUE_FORMAT"), "SetValue", "memory", "x", "memory.limit_in_bytes",
                   "nonsense")


def fill(size):
    """A child that holds this much memory in the cgroup that it is put into before it is told to."""
    told, tell = os.pipe()
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(told, 1)
        block = bytearray(size)
        for i in range(0, size, 4096):
            block[i] = 1
        os.write(done, b"d")
        os.read(told, 1)
        os._exit(0)
    agent.here["fill"] = (tell, ready)
    return pid


def fill_now():
    tell, ready = agent.here["fill"]
    os.write(tell, b"g")
    os.read(ready, 1)


@test
def test_t47_limit_below_usage(w):
    """A limit far below usage may take its time; others are answered before it is done. v1 refuses it,
    on v2 it holds and the task is killed."""
    needs("memory")
    client, other = w.container(), w.host()
    client.Create("memory", "x")
    pid = client.run(fill, 256 << 20)
    client.MovePid("memory", "x", pid)
    client.run(fill_now)
    client.agent.start(world.call_on, "bus", "SetValue", "memory", "x", "memory.limit_in_bytes",
                       "1048576")
    for _ in range(100):
        other.Ping(1)
    try:
        client.agent.finish()
    except wire.DBusError as error:
        assert any(world.REASONS[r] in error.message for r in ("BUSY", "VALUE_REFUSED", "KERNEL")), error
        assert not world.PURE, error
    else:
        equal(client.GetValue("memory", "x", "memory.limit_in_bytes"), "1048576")
    client.run(agent.end_task, pid)


@test
def test_t49_parallel_lists(w):
    """Many callers list many tasks at once; another client is served between."""
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    pids = sorted(client.run(agent.fork_task) for _ in range(200))
    for pid in pids:
        client.MovePid("memory", "x", pid)
    users = [world.Client(w, client.agent.spawn(f"reader {i}", w.placer("c1"))) for i in range(8)]
    for user in users:
        user.agent.start(list_often, 100)
    for _ in range(50):
        w.host().Ping(1)
    for user in users:
        equal(user.agent.finish(), [pids])


def list_often(times):
    return [list(t) for t in {tuple(agent.here["bus"].call("GetTasks", "memory", "x"))
                              for _ in range(times)}]


@each("memory", "unified")
def test_t74_plain_user_stays_limited(w, kind):
    """A plain user cannot leave the cgroup that the container's root put him in for another of his."""
    needs(kind)
    one = w.container()
    one.Create(kind, "limited/own")
    one.Create(kind, "free/own")
    one.Chown(kind, "limited/own", 1000, 1000)
    one.Chown(kind, "free/own", 1000, 1000)
    user = w.inner_user(one, 1000, "c1/limited/own")
    pid = user.run(agent.fork_task)
    user.refused("MOVE_ANCESTOR", "MovePidAbs", kind, "/free/own", pid)
    user.refused(("NO_PRIVILEGE", "MOVE_ANCESTOR"), "MovePidAbs", kind, "/", pid)
    user.Create(kind, "below")
    user.MovePid(kind, "below", pid)
    user.MovePidAbs(kind, "/limited/own", pid)
    inner = one.GetTasks(kind, "limited/own")
    assert pid in inner
    one.MovePidAbs(kind, "/free/own", pid)
    equal(place_of(max(tasks(kind, "c1/free/own")), kind), "/c1/free/own")
    one.MovePidAbs(kind, "/limited/own", pid)


@test
def test_sibling_by_prefix(w):
    """Scope is judged by components: /c1b is no child of /c1."""
    needs("memory", "unified")
    for kind in ("memory", "unified"):
        world.make(kind, "c1b", 100000)
    client = w.container()
    same_ids = w.container("c1b", 100000, pid=False)
    pid = same_ids.run(agent.fork_task)
    for kind in ("memory", "unified"):
        client.refused(OUTSIDE, "GetTasks", kind, "/c1b")
        client.refused(OUTSIDE, "MovePidAbs", kind, "/c1b", 1)
        client.refused(OUTSIDE, "ListChildren", kind, "/../c1b".replace("..", "."))
    shared = w.container("c5", 100000, pid=False)
    shared.Create("memory", "x")
    shared.refused(NO_TASK, "MovePid", "memory", "x", pid)
    shared.refused(NO_TASK, "GetPidCgroup", "memory", pid)


def disk():
    """major:minor of a block device that takes throttling, with the file system to try it on."""
    for name in sorted(os.listdir("/sys/block")):
        if not re.match(r"loop|ram|zram|sr|dm", name):
            return read(f"/sys/block/{name}/dev").strip()
    raise Skip("no block device to throttle here")


@test
def test_t78_throttle(w):
    """v1 blkio.throttle binds one level only: Create takes it along, and it is only narrowed."""
    only_v1("limits that bind one level only")
    needs("blkio")
    key, device = "blkio.throttle.read_bps_device", disk()
    world.make("blkio", "c1", 100000)
    write(where("blkio", "c1") + "/" + key, f"{device} 1048576")
    client = w.container()
    equal(client.Create("blkio", "x/y"), -1)
    equal(client.GetValue("blkio", "x/y", key), f"{device} 1048576")
    client.refused("VALUE_WIDER", "SetValue", "blkio", "x/y", key, f"{device} 2097152")
    client.refused("VALUE_WIDER", "SetValue", "blkio", "x", key, f"{device} 0")
    # The kernel cuts numbers to 12 and 20 bits, one over the other: these are the same device.
    major, minor = (int(part) for part in device.split(":"))
    for same in (f"0:{major << 20 | minor}", f"{major + 4096}:{minor}"):
        client.refused("VALUE_REFUSED", "SetValue", "blkio", "x/y", key, f"{same} 2097152")
        client.refused("VALUE_FORMAT", "SetValue", "blkio", "x/y", "io.max", f"{same} rbps=2097152")
    equal(client.GetValue("blkio", "x/y", key), f"{device} 1048576")
    client.SetValue("blkio", "x/y", key, f"{device} 524288")
    equal(client.GetValue("blkio", "x/y", key), f"{device} 524288")
    client.SetValue("blkio", "x/y", key, f"{device} 1048576")
    # Given away, the file could be written directly and past all this.
    equal({os.stat(where("blkio", f"c1/{p}") + "/" + key).st_uid for p in ("x", "x/y")}, {0})


@test
def test_hierarchy_unmounted_midway(w):
    """The daemon holds a hierarchy by its root: what is unmounted over its head goes on, for all."""
    needs("freezer", "memory")
    client = w.container()
    client.Create("freezer", "x")
    top, kept = where("freezer"), f"{w.directory}/kept"
    os.mkdir(kept)
    # v1 is mounted anew. v2, whose mount has options for the whole host, is kept elsewhere.
    again = ["-t", "cgroup", "-o", "freezer", "cgroup", top]
    if world.PURE:
        subprocess.run(["mount", "--bind", top, kept], check=True)
        again = ["--bind", kept, top]
    subprocess.run(["umount", "-l", top], check=True)
    try:
        client.Create("freezer", "x/y")
        equal(client.ListChildren("freezer", "x"), ["y"])
        for kind in ("freezer", "memory"):
            try:
                raise AssertionError(f"there is no z: {client.ListChildren(kind, 'z')}")
            except wire.DBusError as error:
                assert world.REASONS["CGROUP_MISSING"] in error.message, error
        client.Create("memory", "x")
        w.host().Ping(1)
    finally:
        subprocess.run(["mount", *again], check=True)
        if world.PURE:
            subprocess.run(["umount", kept], check=True)
    assert os.path.isdir(where("freezer", "c1/x/y"))


def enter_depth(top, levels):
    """Moves itself into a chain of its own making."""
    os.chdir(top)
    for _ in range(levels):
        os.mkdir("d")
        os.chdir("d")
    with open("cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))


@test
def test_lists_pass_over_what_cannot_be_told(w):
    """A requestor that stands too deep in one hierarchy is served in the others of a list."""
    only_v1("several hierarchies")
    needs("memory", "freezer")
    client = w.container()
    client.Create("memory", "x/y")
    client.run(enter_depth, where("freezer", "c1"), 140)
    client.refused("REQUESTOR_PLACE", "ListChildren", "freezer", "")
    for recursive in (0, 1):
        equal(client.Remove("memory,freezer", "nope", recursive), -1)
        equal(client.Remove("freezer,memory", "nope", recursive), -1)
    equal(client.Remove("memory,freezer", "x", 1), 1)
    client.Prune("memory,freezer", "")
    client.GetTasksRecursive("memory,freezer", "")

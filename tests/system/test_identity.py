# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who is asking: THREATS, Identity, and 73, 75, 77."""

import ctypes
import os
import shutil
import signal
import socket
import struct
import threading

import agent
import wire
import world
from harness import Skip, each, equal, needs, only_v1, test
from world import put, where

GONE = ("REQUESTOR_GONE", "REQUESTOR_CHANGED")
NO_RIGHT = ("NO_PRIVILEGE", "PARENT_PRIVILEGE", "NO_WRITE", "CGROUP_OUTSIDE", "SCOPE_ROOT")
NO_TASK = ("TASK_MISSING", "TASK_OUTSIDE", "TASK_USERNS", "TASK_IDS")


@each("memory", "unified")
def test_t13_root_owned_cgroup(w, kind):
    """A container's root has no right over what its host's root owns, and has over mapped owners'."""
    needs(kind)
    client = w.container()
    key, value = ("memory.limit_in_bytes", "8388608") if kind == "memory" else ("cgroup.max.depth", "2")
    world.make(kind, "c1/host/x", 0)
    pid = client.run(agent.fork_task)
    client.refused("PARENT_PRIVILEGE", "SetValue", kind, "host/x", key, value)
    client.refused("NO_PRIVILEGE", "Chown", kind, "host", 0, 0)
    client.refused("NO_PRIVILEGE", "Chmod", kind, "host", "", 0o777)
    client.refused("NO_PRIVILEGE", "MovePid", kind, "host", pid)
    client.refused("NO_WRITE", "Create", kind, "host/y")
    client.refused("NO_WRITE", "Remove", kind, "host/x", 1)
    client.refused("NO_WRITE", "RemoveOnEmpty", kind, "host/x")
    client.refused("NO_WRITE", "Prune", kind, "host")
    world.make(kind, "c1/mapped/x", 104321)
    os.chown(where(kind, "c1/mapped"), 104321, 104321)
    client.SetValue(kind, "mapped/x", key, value)
    client.MovePid(kind, "mapped", pid)
    client.Chown(kind, "mapped", 0, 0)
    client.run(agent.end_task, pid)


@test
def test_t13_group_unmapped(w):
    """Owner *and* group must be mapped."""
    needs("memory")
    client = w.container()
    world.make("memory", "c1/half", 105000, 0)
    client.refused("NO_PRIVILEGE", "Chown", "memory", "half", 0, 0)


@test
def test_chown_ids(w):
    """Unmapped ids are refused, a plain user may not give away, the own root stays."""
    needs("memory")
    client = w.container()
    user = w.inner_user(client)
    client.Create("memory", "x")
    user.Create("memory", "x")
    client.refused("UID_UNMAPPED", "Chown", "memory", "x", 65536, 0)
    client.refused("GID_UNMAPPED", "Chown", "memory", "x", 0, 70000)
    client.refused(("ID", "UID_UNMAPPED"), "Chown", "memory", "x", -2, 0)
    client.refused("SCOPE_ROOT", "Chown", "memory", "", 5, 5)
    user.refused("NOT_NS_ROOT", "Chown", "memory", "x", 1000, 1000)
    user.refused("NOT_NS_ROOT", "Chmod", "memory", "x", "", 0o755)
    w.user(1000).refused("NOT_NS_ROOT", "Chown", "memory", "", 0, 0)


@test
def test_t15_empty_uid_map(w):
    """Without a map: the rights of the same uid, no more."""
    needs("memory")
    client = w.once("empty", lambda: w.host_agent.spawn(
        "empty map", w.placer("u1000", 1000), user=True, owner=1000))
    equal(client.Create("memory", "x"), -1)
    equal(os.stat(where("memory", "u1000/x")).st_uid, 1000)
    client.SetValue("memory", "x", "memory.limit_in_bytes", "8388608")
    client.refused(("NOT_NS_ROOT", "UID_UNMAPPED"), "Chown", "memory", "x", 0, 0)
    world.make("memory", "u1000/other", 1001)
    client.refused(NO_RIGHT, "Create", "memory", "other/y")


@test
def test_t16_map_written_after_connect(w):
    """The map is read when it is used."""
    needs("memory")
    child = w.host_agent.spawn("late map", w.placer("u1000", 1000), user=True, owner=1000)
    client = world.Client(w, child)
    client.Create("memory", "x")
    client.refused(("NOT_NS_ROOT", "UID_UNMAPPED"), "Chown", "memory", "x", 0, 0)
    w.host_agent.run(agent.write_maps, child.pid, [(0, 1000, 1), (1, 300000, 1000)])
    client.Chown("memory", "x", 5, 5)
    equal(os.stat(where("memory", "u1000/x")).st_uid, 300004)


@test
def test_many_extents(w):
    """A uid_map of 340 extents, longer than one page, nested once more."""
    needs("memory")
    maps = [(0, 100000, 10)] + [(10 + 2 * i, 5000 + 3 * i, 2) for i in range(339)]
    client = w.container("wide", 100000, maps=maps)
    client.Create("memory", "x")
    client.Chown("memory", "x", 10 + 2 * 338 + 1, 11)
    status = os.stat(where("memory", "wide/x"))
    equal((status.st_uid, status.st_gid), (5000 + 3 * 338 + 1, 5001))
    client.refused("UID_UNMAPPED", "Chown", "memory", "x", 10 + 2 * 339, 0)
    inner = w.container("wide/in", 5000, client,
                        maps=[(2 * i, 10 + 2 * i, 2) for i in range(300)])
    inner.Create("memory", "y")
    inner.Chown("memory", "y", 599, -1)
    equal(os.stat(where("memory", "wide/in/y")).st_uid, 5000 + 3 * 299 + 1)


@test
def test_t18_nested_user_namespaces(w):
    """Host ids are compared; a grandchild cannot touch what its own map does not have."""
    needs("memory")
    one, two, three = w.nested()
    one.Create("memory", "c2/upper")
    pid = one.run(agent.fork_task)
    two.refused(("NO_PRIVILEGE", "UID_UNMAPPED"), "Chown", "memory", "upper", 0, 0)
    two.refused("UID_UNMAPPED", "Chown", "memory", "c3", 60001, 0)
    two.refused(NO_RIGHT, "Create", "memory", "upper/x")
    two.refused(NO_TASK, "MovePid", "memory", "c3", pid)
    three.Create("memory", "x")
    three.refused("UID_UNMAPPED", "Chown", "memory", "x", 50000, 0)
    three.Chown("memory", "x", 49999, 49999)
    equal(os.stat(where("memory", "c1/c2/c3/x")).st_uid, 102000 + 49999)
    one.run(agent.end_task, pid)
    equal(one.GetValue("memory", "c2/c3/x", "memory.limit_in_bytes"),
          three.GetValue("memory", "x", "memory.limit_in_bytes"))


def connect_and_exec(address, command):
    """A child connects, hands its connection back and becomes another program."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        bus = wire.Bus(address)
        socket.send_fds(theirs, [b"x"], [bus.socket.fileno()])
        theirs.recv(1)
        os.execv(command[0], command)
    theirs.close()
    adopt(ours)
    ours.send(b"g")
    ours.recv(1)
    ours.close()
    return pid


def adopt(channel, key="passed"):
    """Takes over a connection that another process made."""
    _, fds, _, _ = socket.recv_fds(channel, 1, 1)
    bus = wire.Bus.__new__(wire.Bus)
    bus.socket = socket.socket(fileno=fds[0])
    bus.socket.settimeout(60)
    bus.serial, bus.data, bus.got_fds = 1000, b"", 0
    agent.here[key] = bus


def passed(client):
    """A client that speaks over the adopted connection."""
    other = world.Client.__new__(world.Client)
    other.world, other.agent = client.world, client.agent
    other.__class__ = PassedClient
    return other


class PassedClient(world.Client):
    def __getattr__(self, member):
        if member not in wire.SIGNATURES:
            raise AttributeError(member)
        return lambda *args, **how: self.agent.run(world.call_on, "passed", member, *args, **how)


@test
def test_t20_setuid_program(w):
    """Who connected and then became another uid by a setuid program has no rights."""
    needs("memory")
    client = w.user(1000)
    program = f"{w.directory}/suid-sleep"
    shutil.copy("/usr/bin/sleep", program)
    os.chmod(program, 0o4755)
    pid = client.run(connect_and_exec, w.daemon.socket, [program, "1000"])
    agent.wait_until(lambda: uids(pid)[1] == 0, "the program is setuid")
    passed(client).refused(GONE, "Create", "memory", "x")
    os.kill(pid, signal.SIGKILL)


def uids(pid):
    with open(f"/proc/{pid}/status") as status:
        return next([int(n) for n in line.split()[1:]] for line in status if line.startswith("Uid:"))


@test
def test_t21_owner_without_root(w):
    """All capabilities in a user namespace, but no uid 0 there: not root."""
    needs("memory")
    client = w.once("norootns", lambda: w.host_agent.spawn(
        "no root", w.placer("u1000", 1000), user=True, owner=1000, maps=[(5, 1000, 1)], root=False))
    client.Create("memory", "x")
    client.refused("NOT_NS_ROOT", "Chown", "memory", "x", 5, 5)


def clone_with_pid(pid):
    """A child with this pid, or None where the kernel does not let us choose."""
    wanted = (ctypes.c_int * 1)(pid)
    args = (ctypes.c_uint64 * 11)()
    args[4] = signal.SIGCHLD
    args[8], args[9] = ctypes.addressof(wanted), 1
    got = agent.libc.syscall(435, args, 88)
    if got == 0:
        while True:
            signal.pause()
    return got if got > 0 else None


def connect_and_end(address):
    """A child connects, hands its connection back and ends; its pid."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        bus = wire.Bus(address)
        bus.call("Ping", 1)
        socket.send_fds(theirs, [b"x"], [bus.socket.fileno()])
        os._exit(0)
    theirs.close()
    adopt(ours)
    ours.close()
    os.waitpid(pid, 0)
    return pid


@test
def test_t23_recycled_pid(w):
    """A dead client's connection has no rights, also when its pid is somebody else's now."""
    needs("memory")
    client = w.host()
    pid = client.run(connect_and_end, w.daemon.socket)
    passed(client).refused(GONE, "Create", "memory", "x")
    pid = client.run(connect_and_end, w.daemon.socket)
    if client.run(clone_with_pid, pid) != pid:
        raise Skip("this kernel or its configuration does not let us choose a pid (clone3)")
    passed(client).refused(GONE, "Create", "memory", "x")
    os.kill(pid, signal.SIGKILL)


def live_on_without_leader(address, calls):
    """A process whose main thread ends after it connected; a second thread calls and reports."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        bus = wire.Bus(address)

        def second():
            agent.wait_until(lambda: "Z (zombie)" in world.read(f"/proc/{os.getpid()}/status"),
                             "the leader is dead")
            answers = []
            for member, args in calls:
                try:
                    answers.append(repr(bus.call(member, *args)))
                except (wire.DBusError, wire.Dropped) as error:
                    answers.append(str(error))
            os.write(write_end, "\n".join(answers).encode())
            os._exit(0)
        threading.Thread(target=second).start()
        agent.libc.syscall(60, 0)
    os.close(write_end)
    text = b""
    while part := os.read(read_end, 65536):
        text += part
    os.close(read_end)
    os.waitpid(pid, 0)
    return text.decode().split("\n")


@test
def test_t24_dead_leader_requestor(w):
    """The main thread is dead, another calls: its cgroup cannot be believed."""
    needs("memory", "unified")
    client = w.container()
    before = world.snapshot()
    answers = client.run(live_on_without_leader, w.daemon.socket,
                         [("Create", ("memory", "x")), ("Create", ("unified", "x")),
                          ("GetTasks", ("memory", ""))])
    for answer in answers:
        assert any(world.REASONS[r] in answer for r in (*GONE, "REQUESTOR_PLACE")), answer
    equal(len(answers), 3)
    equal(world.difference(before, world.snapshot()), [])


def leaderless_task():
    """A task whose main thread is dead and whose other thread waits."""
    pid = os.fork()
    if pid == 0:
        threading.Thread(target=signal.pause).start()
        agent.libc.syscall(60, 0)
    agent.wait_until(lambda: "Z (zombie)" in world.read(f"/proc/{pid}/status"), "the leader is dead")
    return pid


@each("memory", "unified")
def test_fact3_dead_leader_victim(w, kind):
    """A task whose leader is dead is not there to be moved or found."""
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    pid = client.run(leaderless_task)
    client.refused(("TASK_MISSING", "TASK_ENDED"), "MovePid", kind, "x", pid)
    client.refused(("TASK_MISSING", "TASK_ENDED"), "GetPidCgroup", kind, pid)
    client.refused(("TASK_MISSING", "TASK_ENDED"), "GetPidCgroupAbs", kind, pid)
    client.run(os.kill, pid, signal.SIGKILL)


def connect_and_send(address, path):
    """Connects and hands the connection to whoever listens at `path`."""
    bus = wire.Bus(address)
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        socket.send_fds(channel, [b"x"], [bus.socket.fileno()])


def listen_at(path):
    agent.here["listener"] = socket.socket(socket.AF_UNIX)
    agent.here["listener"].bind(path)
    agent.here["listener"].listen()
    os.chmod(path, 0o777)


def accept_and_adopt():
    channel, _ = agent.here["listener"].accept()
    adopt(channel)


@test
def test_t25_passed_connection(w):
    """A connection that is handed on has the rights of who made it."""
    needs("memory")
    one, host = w.container(), w.host()
    os.chmod(w.directory, 0o777)
    host.run(listen_at, f"{w.directory}/hand")
    one.run(connect_and_send, w.daemon.socket, f"{w.directory}/hand")
    host.run(accept_and_adopt)
    through = passed(host)
    equal(through.Create("memory", "x"), -1)
    assert os.path.isdir(where("memory", "c1/x"))
    equal(os.stat(where("memory", "c1/x")).st_uid, 100000)
    through.refused("SCOPE_ROOT", "SetValue", "memory", "", "memory.limit_in_bytes", "-1")
    through.refused("UID_UNMAPPED", "Chown", "memory", "x", 70000, 0)


@test
def test_t26_socket_in_another_container(w):
    """The socket's directory, bind-mounted into two containers: each is judged by its own peer."""
    needs("memory")
    one, two = w.container("c1", 100000), w.container("other", 300000)
    os.mkdir(f"{w.directory}/inside", 0o755)
    for client in (one, two):
        client.run(agent.mount, w.directory, f"{w.directory}/inside", None, agent.MS_BIND)
        client.run(world.connect, f"{w.directory}/inside/socket")
        client.Create("memory", "x")
    equal([os.stat(where("memory", f"{c}/x")).st_uid for c in ("c1", "other")], [100000, 300000])
    two.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), "GetTasks", "memory", "/c1")


@each("memory", "unified")
def test_t30_dead_victim(w, kind):
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    pid = client.run(agent.zombie)
    client.refused(("TASK_MISSING", "TASK_ENDED"), "MovePid", kind, "x", pid)
    client.run(os.waitpid, pid, 0)
    client.refused("TASK_MISSING", "MovePid", kind, "x", pid)


@test
def test_t31_setuid_victim(w):
    """Real, effective and saved uid must all be the caller's, or mapped."""
    needs("memory")
    one = w.container()
    user = w.inner_user(one)
    user.Create("memory", "x")
    place = w.placer("c1/u1000")
    for ids in ((1000, 1000, 0), (1000, 0, 1000), (0, 1000, 1000)):
        inner = one.run(agent.fork_task, ids)
        outer = find_inside(inner, one)
        place(outer)
        user.refused("TASK_IDS", "MovePid", "memory", "x", inner)
        one.run(agent.end_task, inner)
    inner = one.run(agent.fork_task, (1000, 1000, 1000))
    place(find_inside(inner, one))
    user.MovePid("memory", "x", inner)
    one.run(agent.end_task, inner)
    shared = w.container("c4", 100000, pid=False)
    shared.Create("memory", "x")
    outer = w.host_agent.run(agent.fork_task, (100000, 100000, 0))
    w.placer("c4")(outer)
    shared.refused(("TASK_IDS", "TASK_USERNS"), "MovePid", "memory", "x", outer)


def find_inside(inner, client):
    """The host's number of a task of a container."""
    mark = os.readlink(f"/proc/{client.agent.pid}/ns/pid")
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == mark:
                status = world.read(f"/proc/{entry}/status")
                if int(status.split("NSpid:")[1].split("\n")[0].split()[-1]) == inner:
                    return int(entry)
        except OSError:
            pass
    raise AssertionError(f"no task {inner}")


def drop_capabilities():
    """Empties the effective and permitted sets (capset(2))."""
    head = struct.pack("=Ii", 0x20080522, 0)
    agent.check(agent.libc.capset(head, struct.pack("=6I", *[0] * 6)), "capset")


@test
def test_root_without_capabilities(w):
    """A root that dropped its capabilities does not get them back here."""
    needs("memory")
    one = w.container()
    one.Create("memory", "x")
    world.make("memory", "c1/mapped", 104321)
    one.run(drop_capabilities)
    one.refused("NOT_NS_ROOT", "Chown", "memory", "x", 5, 5)
    one.refused(("NO_PRIVILEGE", "NO_WRITE"), "Create", "memory", "mapped/y")
    host = world.Client(w, w.host_agent.spawn("weak", w.placer("weak", 0)))
    host.run(drop_capabilities)
    host.Create("memory", "x")
    host.refused("NOT_NS_ROOT", "Chown", "memory", "x", 5, 5)
    host.refused(("CGROUP_MISSING", "CGROUP_OUTSIDE", "NO_PRIVILEGE"),
                 "GetTasks", "memory", "/c1")


@each(("pid", "mnt", "cgroup"), ("cgroup",), ("pid", "mnt"), ("user",))
def test_t73_uid_0_is_not_host_root(w, *namespaces):
    """uid 0 in any namespace but the daemon's own is at most root there."""
    needs("memory", "pids")
    how = {name: True for name in namespaces}
    if "user" in how:
        how["maps"] = [(0, 0, 4294967295)]
    world.make("memory", "victim", 0)
    client = w.once("docker", lambda: w.host_agent.spawn("docker", w.placer("docker", 0), **how))
    client.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE"), "SetValue", "memory", "",
                   "memory.limit_in_bytes", "-1")
    client.refused(("CGROUP_MISSING", "CGROUP_OUTSIDE"), "GetTasks", "memory", "/victim")
    client.refused(("CGROUP_MISSING", "CGROUP_OUTSIDE"), "MovePidAbs", "memory", "/victim",
                   client.run(os.getpid))
    bystander = w.host_agent.run(agent.fork_task)
    client.Create("memory", "x")
    client.refused(NO_TASK, "MovePid", "memory", "x", bystander)
    client.refused(NO_TASK, "GetPidCgroupAbs", "memory", bystander)


@test
def test_t75_identity_mapped_child(w):
    """A user namespace with an identity map has no right over its parent's tasks."""
    needs("memory")
    one = w.container()
    child = one.agent.spawn("identity", w.placer("c1"), user=True, maps=[(0, 0, 65536)])
    client = world.Client(w, child)
    pid = one.run(agent.fork_task)
    one.Create("memory", "x")
    client.refused("TASK_USERNS", "MovePid", "memory", "x", pid)
    own = client.run(agent.fork_task)
    client.MovePid("memory", "x", own)
    one.MovePidAbs("memory", "/", own)
    one.run(agent.end_task, pid)


@each("init", "init.scope", ".cgm_leaf")
def test_t77_misleading_names(w, name):
    """A container that its host named like a leaf gets no wider scope."""
    needs("memory", "unified")
    for kind in ("memory", "unified"):
        world.make(kind, "group", 0)
    client = w.container(f"group/{name}", 100000)
    for kind in ("memory", "unified"):
        equal(client.Create(kind, "y"), 1 if world.PURE and kind == "unified" else -1)
        assert os.path.isdir(where(kind, f"group/{name}/y"))
        assert not os.path.isdir(where(kind, "group/y"))
        equal(client.GetPidCgroupAbs(kind, 1), "/")
    plain = w.user(1000, f"plain/{name}")
    plain.Create("memory", "y")
    assert os.path.isdir(where("memory", f"plain/{name}/y"))
    if name != ".cgm_leaf":
        top = w.user(1001, name)
        top.Create("memory", "y")
        assert os.path.isdir(where("memory", f"{name}/y"))


@test
def test_t34_moved_below_and_outside(w):
    """The root of the cgroup namespace bounds; whoever was moved out of it has its own cgroup only."""
    needs("memory")
    client = w.container()
    client.Create("memory", "sub/x")
    put("memory", "c1/sub", client.agent.pid)
    equal(client.GetPidCgroupAbs("memory", 1), "/sub")
    client.Create("memory", "y")
    assert os.path.isdir(where("memory", "c1/sub/y"))
    outside = world.make("memory", "outside/z", 0)
    put("memory", "outside", client.agent.pid)
    client.refused(NO_RIGHT, "Create", "memory", "y")
    client.refused((*NO_RIGHT, "CGROUP_MISSING"), "Remove", "memory", "z", 1)
    client.refused(("CGROUP_MISSING", "CGROUP_OUTSIDE"), "MovePidAbs", "memory", "/c1", 1)
    assert os.path.isdir(outside)


@test
def test_t34_misleading_binds(w):
    """What a container mounts over its cgroup file systems tells the daemon nothing."""
    needs("memory")
    client = w.container()
    world.make("memory", "other", 100000)
    client.Create("memory", "x")
    client.run(agent.mount, where("memory", "other"), where("memory"), None, agent.MS_BIND)
    client.run(agent.mount, "tmpfs", "/proc", "tmpfs")
    client.Create("memory", "y")
    assert os.path.isdir(where("memory", "c1/y"))
    equal(client.GetPidCgroupAbs("memory", 1), "/")


@each("memory", "freezer")
def test_fact6_hopping_task(w, kind):
    """A requestor that hops between its root and a repeat of it below never gets a wider scope."""
    if kind == "memory":
        only_v1("memory's limits beside tasks, so that one can be moved back")
    needs(kind)
    client = w.container("hop", 100000)
    client.Create(kind, "hop")
    client.Create(kind, "here")
    world.make(kind, "out", 100000)
    world.make(kind, "hop/out2", 100000)
    hopper = w.host_agent.spawn("hopper")
    hopper.start(hop, client.agent.pid, where(kind, "hop"), where(kind, "hop/hop"), 60000)
    seen, moved = client.run(look_while_hopping, kind, 1500)
    hopper.channel.close()
    hopper.channel = None
    os.kill(hopper.pid, signal.SIGKILL)
    assert set(seen) <= {"/", "/hop"}, seen
    equal(moved, [])
    equal(world.tasks(kind, "out"), [])


def hop(pid, one, two, times):
    for _ in range(times):
        for path in (one, two):
            with open(f"{path}/cgroup.procs", "w") as procs:
                procs.write(str(pid))


def look_while_hopping(kind, times):
    bus, seen, moved = agent.here["bus"], set(), []
    own = agent.fork_task()
    for _ in range(times):
        for member, args, into in (("GetPidCgroupAbs", (kind, 1), seen.add),
                                   ("MovePidAbs", (kind, "/out", own), moved.append)):
            try:
                into(bus.call(member, *args))
            except wire.DBusError:
                pass
    agent.end_task(own)
    return seen, moved

# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Scm calls: the twins of the methods, and whom they believe."""

import os
import stat
import time

import agent
import scm
import world
from harness import each, equal, needs, test
from world import place_of, put, read, tasks, where

KINDS = tuple(scm.TYPES)
LIMIT = "memory.limit_in_bytes"


def trees():
    """What no call but a client's changes: porters come and go beside the daemon, at the top."""
    return world.below_tops()


def client_of(w, who):
    """(client, its cgroup, its uid on the host)"""
    if who == "host root":
        return w.host(), "", 0
    if who == "container root":
        return w.container(), "c1", 100000
    _, two, three = w.nested()
    return (two, "c1/c2", 101000) if who == "nested root" else (three, "c1/c2/c3", 102000)


@each(*[(kind, who) for kind in KINDS for who in ("host root", "container root", "nested root",
                                                  "three deep")])
def test_scm_cycle(w, kind, who):
    """Each twin does what its method does, and says so over the socket."""
    needs("memory", "pids")
    plain, base, uid = client_of(w, who)
    client = scm.Client(plain, kind)
    equal(client.Create("memory", "x/y"), -1, "Create")
    equal(client.Create("memory", "x/y"), 1, "Create again")
    equal(os.stat(where("memory", f"{base}/x/y")).st_uid, uid)
    equal(client.ListChildren("memory", "x"), ["y"])
    equal(client.ListChildren("memory", "x/y"), [])
    equal(client.SetValue("memory", "x", LIMIT, "8388608"), None)
    equal(client.GetValue("memory", "x", LIMIT), "8388608")
    equal(client.GetValue("memory", "x", "cgroup.procs"), "")
    keys = client.ListKeys("memory", "x")
    equal(sorted(keys), sorted(plain.ListKeys("memory", "x")))
    move(client, base)
    equal(client.Chmod("memory", "x", "", 0o711), None)
    equal(stat.S_IMODE(os.stat(where("memory", f"{base}/x")).st_mode), 0o711)
    equal(client.Chown("memory", "x", 7, 8), None)
    status = os.stat(where("memory", f"{base}/x"))
    equal((status.st_uid, status.st_gid), (uid + 7, uid + 8))
    equal(client.RemoveOnEmpty("memory", "x/y"), None)
    equal(client.Prune("memory", "x"), None)
    agent.wait_until(lambda: not os.path.exists(where("memory", f"{base}/x")), "x is pruned")
    equal(client.Remove("memory", "x", 1), -1, "Remove what is gone")
    equal(client.Create("memory,pids", "z"), -1)
    equal(client.Remove("memory,pids", "z", 0), 1, "Remove")


def move(client, base):
    pid = client.run(agent.fork_task)
    equal(client.MovePid("memory", "x/y", pid), None)
    inside, = tasks("memory", f"{base}/x/y")
    equal(client.GetTasks("memory", "x/y"), [pid])
    equal(client.GetTasksRecursive("memory", "x"), [pid])
    equal(client.GetTasks("memory", "x"), [])
    equal(client.GetPidCgroup("memory", pid), "x/y")
    absolute = client.GetPidCgroupAbs("memory", pid)
    assert absolute.endswith("/x/y"), absolute
    client.MovePidAbs("memory", absolute.removesuffix("/x/y") or "/", pid)
    equal(place_of(inside, "memory"), f"/{base}")
    equal(client.GetPidCgroup("memory", pid), "/")
    client.run(agent.end_task, pid)


@each(*KINDS)
def test_scm_errors(w, kind):
    """'0', -1, an empty datagram; and nothing changes."""
    needs("memory")
    plain = w.container()
    client = scm.Client(plain, kind)
    plain.Create("memory", "x/y")
    pid = plain.run(agent.fork_task)
    plain.MovePid("memory", "x/y", pid)
    before = world.snapshot(trees())
    for _ in range(2):
        fds = w.daemon.fds()  # what it keeps of a client from its first call on is there then
        for member, *args in (
                ("Create", "memory", ".."), ("Create", "nosuch", "x"), ("Chown", "memory", "", 7, 7),
                ("Chown", "memory", "nosuch", 7, 7), ("Chmod", "memory", "x", "..", 0o777),
                ("GetPidCgroup", "nosuch", 1), ("GetPidCgroupAbs", "memory,pids", 1),
                ("MovePid", "memory", "nosuch", pid), ("MovePid", "memory", "/x", pid),
                ("MovePidAbs", "memory", "/..", pid), ("GetValue", "memory", "x", "nosuch"),
                ("GetValue", "memory", "..", LIMIT), ("SetValue", "memory", "", LIMIT, "1"),
                ("SetValue", "memory", "x", "tasks", str(pid)), ("Remove", "memory", "x", 0),
                ("Remove", "memory", "..", 1), ("GetTasks", "memory", "nosuch"),
                ("GetTasksRecursive", "nosuch", ""), ("ListChildren", "memory", "nosuch"),
                ("ListKeys", "memory", "../x"), ("RemoveOnEmpty", "memory", "nosuch"),
                ("Prune", "memory", "nosuch")):
            client.refused(member, *args)
    equal(world.difference(before, world.snapshot(trees())), [])
    w.same_fds(fds, "refused Scm calls")


@each(*KINDS)
def test_scm_2000_pids(w, kind):
    """All of 2,000 arrive, also when they are read one by one while others call."""
    needs("memory")
    plain, host = w.container(), w.host()
    client = scm.Client(plain, kind)
    plain.Create("memory", "many")
    parent = plain.run(agent.fork_parent)
    plain.MovePid("memory", "many", parent)
    mine = plain.run(agent.fork_many, 2000)
    equal(client.GetTasks("memory", "many"), sorted([parent, *mine]))
    client.agent.start(read_slowly, "scm", kind)
    for _ in range(50):
        host.Ping(1)
        host.GetValue("memory", "c1/many", LIMIT)
    equal(client.agent.finish(), sorted([parent, *mine]))


@test
def test_scm_pids_in_order(w):
    """By the numbers that the receiver sees, also where the host's are in another order."""
    needs("memory")
    plain = w.container()
    plain.Create("memory", "x")
    pids = plain.run(fork_numbered, (20000, 10000, 15000))
    for pid in pids:
        plain.MovePid("memory", "x", pid)
    equal(pids, [20001, 10001, 15001])
    equal(plain.GetTasks("memory", "x"), sorted(pids))
    equal(scm.Client(plain).GetTasks("memory", "x"), sorted(pids))


def fork_numbered(befores):
    pids = []
    for before in befores:
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(before))
        pids.append(agent.fork_task())
    return pids


def read_slowly(key, kind):
    exchange = scm.Exchange(agent.here[key], "GetTasks", "memory", "many", kind=kind)
    exchange.begun()
    exchange.turn()
    exchange.send(scm.credentials())
    found = []
    for _ in range(exchange.count()):
        found.append(exchange.exactly(1)[1][0])
        time.sleep(0.0005)
    exchange.close()
    return found


@test
def test_scm_tasks_out_of_sight(w):
    """A task that the requestor's pid namespace does not show is not listed, and has no number."""
    needs("memory")
    plain = w.container()
    plain.Create("memory", "x")
    mine, hosts = plain.run(agent.fork_task), w.host().run(agent.fork_task)
    plain.MovePid("memory", "x", mine)
    put("memory", "c1/x", hosts)
    equal(len(tasks("memory", "c1/x")), 2)
    for kind in KINDS:
        equal(scm.Client(plain, kind).GetTasks("memory", "x"), [mine], kind)
        equal(scm.Client(plain, kind).GetTasksRecursive("memory", ""),
              plain.GetTasksRecursive("memory", ""), kind)


@test
def test_scm_victim_of_a_nested_namespace(w):
    """A victim goes by credentials: in whose numbers, the kernel settles."""
    needs("memory")
    one, two, _ = w.nested()
    client, inner = scm.Client(one), scm.Client(two)
    pid = two.run(agent.fork_task)
    two.Create("memory", "x")
    equal(inner.MovePid("memory", "x", pid), None)
    host, = tasks("memory", "c1/c2/x")
    nspid = [line.split()[1:] for line in read(f"/proc/{host}/status").splitlines()
             if line.startswith("NSpid")][0]
    equal(int(nspid[-1]), pid)
    in_one = int(nspid[-2])
    equal(client.GetPidCgroup("memory", in_one), "c2/x")
    equal(client.MovePid("memory", "c2", in_one), None)
    equal(place_of(host, "memory"), "/c1/c2")
    equal(scm.Client(w.host()).GetPidCgroup("memory", host), "c1/c2")


@test
def test_scm_plain_user(w):
    """A plain user sends its own credentials, and moves itself."""
    needs("memory")
    for user, base in ((w.user(1000), "u1000"), (w.inner_user(w.container()), "c1/u1000")):
        client = scm.Client(user)
        equal(client.Create("memory", "x"), -1)
        client.refused("Chown", "memory", "x", 0, 0)
        client.refused("SetValue", "memory", "", LIMIT, "-1")
        client.refused("MovePid", "memory", "x", 1)
        equal(client.MovePid("memory", "x", user.run(os.getpid)), None)
        equal(tasks("memory", f"{base}/x"), [user.agent.pid])


@test
def test_scm_big_results(w):
    """Long lists and texts arrive whole."""
    needs("memory")
    plain = w.container()
    for i in range(300):
        os.mkdir(where("memory", f"c1/name-{i:03}-{'x' * 100}"))
    for kind in KINDS:
        client = scm.Client(plain, kind)
        equal(sorted(client.ListChildren("memory", "")), sorted(plain.ListChildren("memory", "")), kind)
        equal(client.GetValue("memory", "", "memory.numa_stat").count("\n"),
              plain.GetValue("memory", "", "memory.numa_stat").count("\n"), kind)


# Whom it believes.

def log_of(w, act):
    """What the daemon logs during this."""
    before = len(w.daemon.log())
    act()
    return w.daemon.log()[before:]


def not_believed(w, client, why, member, *args, **how):
    """Refused, for one of these reasons, and nothing changes."""
    before = world.snapshot(trees())
    log = log_of(w, lambda: client.refused(member, *args, **how))
    equal(world.difference(before, world.snapshot(trees())), [])
    why = (why,) if isinstance(why, str) else why
    assert any(f'"{reason}"' in log for reason in why), f"{member}Scm: {log!r}, not {why}"


def fork_as(uid):
    return agent.fork_task((uid, uid, uid))


@test
def test_t27_claimed_requestor(w):
    """Root of a user namespace speaks for its own, with the lesser rights of both."""
    needs("memory")
    root, user = w.container(), w.inner_user(w.container())
    client = scm.Client(root)
    pid = user.run(os.getpid)
    r = (pid, 1000, 1000)
    equal(client.Create("memory", "x", requestor=r), -1)
    equal(os.stat(where("memory", "c1/u1000/x")).st_uid, 101000)
    equal(client.ListChildren("memory", "", requestor=r), ["x"])
    equal(client.GetPidCgroup("memory", pid, requestor=r), "/")
    not_believed(w, client, "NOT_NS_ROOT", "Chown", "memory", "x", 5, 5, requestor=r)
    not_believed(w, client, ("PARENT_PRIVILEGE", "SCOPE_ROOT"), "SetValue", "memory", "", LIMIT,
                 "8388608", requestor=r)
    equal(client.MovePid("memory", "x", pid, requestor=r), None)


@test
def test_t27_lesser_of_both(w):
    """What the requestor may and who speaks for it may not is refused: here a group that is not mapped."""
    needs("memory")
    root, user = w.container(), w.inner_user(w.container())
    world.make("memory", "c1/u1000/half/x", 101000, 0)
    os.chown(where("memory", "c1/u1000/half"), 101000, 0)
    equal(scm.Client(user).SetValue("memory", "half/x", LIMIT, "8388608"), None)
    not_believed(w, scm.Client(root), "PARENT_PRIVILEGE", "SetValue", "memory", "half/x", LIMIT, "4194304",
                 requestor=(user.run(os.getpid), 1000, 1000))


@test
def test_t76_ids_that_are_not_the_process(w):
    """A pid goes with its own real ids: not with those of somebody else whom the sender maps too."""
    needs("memory")
    root = w.container()
    user = w.inner_user(root)
    client = scm.Client(root)
    pid = user.run(os.getpid)
    for ids in ((pid, 0, 0), (pid, 1000, 0), (pid, 0, 1000), (pid, 1001, 1001)):
        not_believed(w, client, "SPEAK_IDS", "Create", "memory", "x", requestor=ids)
    not_believed(w, client, "SPEAK_IDS", "Create", "memory", "x", requestor=(1, 1000, 1000))


@test
def test_t76_requestor_outside_the_scope(w):
    """A task of the container that stands in a cgroup elsewhere is nobody whom its root speaks for."""
    needs("memory")
    root = w.container()
    client = scm.Client(root)
    pid = root.run(fork_as, 1000)
    host = max(tasks("memory", "c1"))
    world.make("memory", "elsewhere", 101000)
    put("memory", "elsewhere", host)
    equal(tasks("memory", "elsewhere"), [host])
    before = world.snapshot(trees())
    for member, *args in (("Create", "memory", "x"), ("GetTasks", "memory", ""),
                          ("ListChildren", "memory", ""), ("GetValue", "memory", "", LIMIT)):
        client.refused(member, *args, requestor=(pid, 1000, 1000))
    equal(world.difference(before, world.snapshot(trees())), [])


@test
def test_t27_host_root_for_others(w):
    """Host root speaks for anybody, who gains nothing by it."""
    needs("memory")
    root, client = w.container(), scm.Client(w.host())
    r = (root.agent.pid, 100000, 100000)
    equal(client.Create("memory", "x", requestor=r), -1)
    equal(os.stat(where("memory", "c1/x")).st_uid, 100000)
    not_believed(w, client, ("SCOPE_ROOT", "PARENT_PRIVILEGE"), "SetValue", "memory", "", LIMIT, "8388608",
                 requestor=r)
    not_believed(w, client, "UID_UNMAPPED", "Chown", "memory", "x", 5, 5, requestor=r)
    equal(client.Chown("memory", "x", 100005, 100005, requestor=r), None)
    not_believed(w, client, ("TASK_MISSING", "TASK_OUTSIDE", "TASK_USERNS", "TASK_IDS"), "MovePid",
                 "memory", "x", os.getpid(), requestor=r)


def become_weak(uid):
    """Not root of the user namespace any more, but with all capabilities still."""
    agent.check(agent.libc.prctl(28, 1 << 2, 0, 0, 0), "SECBIT_NO_SETUID_FIXUP")
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


@test
def test_t27_capabilities_alone(w):
    """What the kernel lets it send, the daemon does not believe of who is not root there."""
    needs("memory")
    root = w.container()
    weak = w.once("weak", lambda: root.agent.spawn("weak", w.placer("c1/weak", 101000)))
    weak.run(become_weak, 1000)
    weak.reconnect()
    client = scm.Client(weak)
    equal(client.Create("memory", "own"), -1)
    not_believed(w, client, "SPEAK_ROOT", "Create", "memory", "x", requestor=(1, 0, 0))
    not_believed(w, client, "SPEAK_ROOT", "GetTasks", "memory", "", requestor=(1, 0, 0))


@test
def test_t24_dead_requestor(w):
    """Who has ended speaks no more, and nobody for him."""
    needs("memory")
    root = w.container()
    client = scm.Client(root)
    dead = root.run(agent.zombie)
    not_believed(w, client, ("REQUESTOR_GONE", "REQUESTOR_CHANGED", "SPEAK_MISSING", "SPEAK_IDS"),
                 "Create", "memory", "x", requestor=(dead, 0, 0))


@test
def test_scm_kernel_refuses(w):
    """What one has no right to claim never leaves: the exchange ends without a result."""
    needs("memory")
    user = w.inner_user(w.container())
    fds = w.daemon.fds()
    for kind in KINDS:
        client = scm.Client(user, kind)
        client.refused("Create", "memory", "x", requestor=(1, 0, 0))
        client.refused("MovePid", "memory", "", 1)
        client.refused("Chown", "memory", "", 0, 0)
        user.run(world.close_bus, "scm")
    w.same_fds(fds, "claims that the kernel refused")

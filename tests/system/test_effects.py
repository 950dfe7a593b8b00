# SPDX-License-Identifier: LGPL-2.1-or-later
"""A limit that is set by v1's name does the same to tasks on v1 and on v2."""

import errno
import mmap
import os
import signal
import struct
import time

import agent
from agent import wait_until
from harness import Skip, equal, needs, test

QUOTA, PERIOD = "2000", "20000"
MEGA = 1 << 20


# Functions to run in an agent.

def spin():
    """A child that counts as fast as it can, where this process sees it; it starts when told to."""
    counter, go = mmap.mmap(-1, 8), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go[1])
        os.read(go[0], 1)
        counted = 0
        while True:
            counted += 1
            counter[:8] = struct.pack("=Q", counted)
    os.close(go[0])
    agent.here.setdefault("counters", {})[pid] = (counter, go[1])
    return pid


def let_spin(pid):
    os.write(agent.here["counters"][pid][1], b"g")


def counted_by(pid):
    return struct.unpack("=Q", agent.here["counters"][pid][0][:8])[0]


def wait_counted(pid, more):
    """Until it has counted so much more."""
    goal = counted_by(pid) + more
    wait_until(lambda: counted_by(pid) >= goal, f"{pid} counts on", 60)


def pin(pid, cpu):
    os.sched_setaffinity(pid, {cpu})


def affinity(pid):
    return sorted(os.sched_getaffinity(pid))


def told(function, *args):
    """A child that waits to be told, calls this and ends with what it gives."""
    go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go[1])
        os.read(go[0], 1)
        os._exit(function(*args))
    os.close(go[0])
    agent.here.setdefault("told", {})[pid] = go[1]
    return pid


def tell(pid):
    """How it ended: a signal's number below 0, or its status."""
    os.write(agent.here["told"].pop(pid), b"g")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def touch(size):
    block = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for i in range(0, size, mmap.PAGESIZE):
        block[i] = 1
    return 0


def fork_many(most):
    """How many children it gets."""
    pids, forked = [], 0
    try:
        for _ in range(most):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            pids.append(pid)
    except OSError as error:
        if error.errno != errno.EAGAIN:
            return 255
    forked = len(pids)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return forked


def put_into(client, kind, path, function, *args):
    """A child of the client, in a cgroup of its own."""
    client.Create(kind, path)
    pid = client.run(function, *args)
    client.MovePid(kind, path, pid)
    equal(client.GetTasks(kind, path), [pid])
    return pid


def field(client, kind, path, key, name):
    for line in client.GetValue(kind, path, key).splitlines():
        if line.split()[0] == name:
            return int(line.split()[1])
    raise KeyError(name)


@test
def test_effect_cpu_quota(w):
    """Throttled with a quota, and not without."""
    needs("cpu")
    client = w.container()
    pid = put_into(client, "cpu", "x", spin)
    client.run(let_spin, pid)
    client.run(wait_counted, pid, 300000)
    equal(field(client, "cpu", "x", "cpu.stat", "nr_throttled"), 0, "without a quota")
    client.SetValue("cpu", "x", "cpu.cfs_period_us", PERIOD)
    client.SetValue("cpu", "x", "cpu.cfs_quota_us", QUOTA)
    equal([client.GetValue("cpu", "x", f"cpu.cfs_{k}_us") for k in ("quota", "period")], [QUOTA, PERIOD])
    wait_until(lambda: field(client, "cpu", "x", "cpu.stat", "nr_throttled") > 2, "is throttled")
    client.SetValue("cpu", "x", "cpu.cfs_quota_us", "-1")
    equal([client.GetValue("cpu", "x", f"cpu.cfs_{k}_us") for k in ("quota", "period")], ["-1", PERIOD])
    client.run(agent.end_task, pid)


@test
def test_effect_cpu_shares(w):
    """On one processor who has 64 times the shares comes much further."""
    needs("cpu")
    client = w.container()
    rich, poor = (put_into(client, "cpu", path, spin) for path in ("rich", "poor"))
    client.SetValue("cpu", "rich", "cpu.shares", "8192")
    client.SetValue("cpu", "poor", "cpu.shares", "128")
    equal([client.GetValue("cpu", p, "cpu.shares") for p in ("rich", "poor")], ["8192", "128"])
    cpu = client.run(affinity, rich)[0]
    for pid in (rich, poor):
        client.run(pin, pid, cpu)
    for pid in (poor, rich):
        client.run(let_spin, pid)
    client.run(wait_counted, rich, 100000)
    before = [client.run(counted_by, pid) for pid in (rich, poor)]
    client.run(wait_counted, rich, 2000000)
    after = [client.run(counted_by, pid) for pid in (rich, poor)]
    ahead, behind = after[0] - before[0], after[1] - before[1]
    assert ahead > 4 * behind, f"{ahead} with many shares, {behind} with few"
    for pid in (rich, poor):
        client.run(agent.end_task, pid)


@test
def test_effect_memory(w):
    """Killed above the limit, and not below."""
    needs("memory")
    client = w.container()
    pid = put_into(client, "memory", "x", told, touch, 8 * MEGA)
    client.SetValue("memory", "x", "memory.limit_in_bytes", str(32 * MEGA))
    try:
        client.SetValue("memory", "x", "memory.memsw.limit_in_bytes", str(33 * MEGA))
    except Exception as error:  # where the kernel does not count swap there is none that could help
        assert "no such key" in str(error), error
    equal(client.run(tell, pid), 0, "below the limit")
    pid = client.run(told, touch, 64 * MEGA)
    client.MovePid("memory", "x", pid)
    equal(client.run(tell, pid), -signal.SIGKILL, "above the limit")
    equal(field(client, "memory", "x", "memory.oom_control", "oom_kill"), 1)
    assert int(client.GetValue("memory", "x", "memory.failcnt")) > 0


@test
def test_effect_pids(w):
    """Refused a fork at the limit."""
    needs("pids")
    client = w.container()
    pid = put_into(client, "pids", "x", told, fork_many, 7)
    equal(client.run(tell, pid), 7, "without a limit")
    client.SetValue("pids", "x", "pids.max", "5")
    pid = client.run(told, fork_many, 7)
    client.MovePid("pids", "x", pid)
    equal(client.run(tell, pid), 4, "children, itself being the fifth")


@test
def test_effect_cpuset(w):
    """Bound to its processors, and free again."""
    needs("cpuset")
    client = w.container()
    pid = put_into(client, "cpuset", "x", agent.fork_task)
    cpus = client.run(affinity, pid)
    if len(cpus) < 2:
        raise Skip("there is one processor only, to which everything is bound")
    for cpu in cpus[:2]:
        client.SetValue("cpuset", "x", "cpuset.cpus", str(cpu))
        equal(client.run(affinity, pid), [cpu])
        equal(client.GetValue("cpuset", "x", "cpuset.effective_cpus"), str(cpu))
    client.run(agent.end_task, pid)


@test
def test_effect_freezer(w):
    """What is frozen does nothing while others do, and goes on when it is thawed."""
    needs("freezer")
    client = w.container()
    frozen = put_into(client, "freezer", "x", spin)
    other = put_into(client, "freezer", "y", spin)
    for pid in (frozen, other):
        client.run(let_spin, pid)
        client.run(wait_counted, pid, 1000)
    client.SetValue("freezer", "x", "freezer.state", "FROZEN")
    wait_until(lambda: client.GetValue("freezer", "x", "freezer.state") == "FROZEN", "is frozen")
    before = client.run(counted_by, frozen)
    client.run(wait_counted, other, 100000)
    equal(client.run(counted_by, frozen), before, "frozen")
    equal(client.GetValue("freezer", "y", "freezer.state"), "THAWED")
    client.SetValue("freezer", "x", "freezer.state", "THAWED")
    equal(client.GetValue("freezer", "x", "freezer.state"), "THAWED")
    client.run(wait_counted, frozen, 1000)
    for pid in (frozen, other):
        client.run(agent.end_task, pid)


@test
def test_effect_cpu_time(w):
    """cpuacct.usage counts what tasks use, in nanoseconds."""
    needs("cpuacct")
    client = w.container()
    pid = put_into(client, "cpuacct", "x", told, burn, 0.2)
    equal(client.run(tell, pid), 0)
    used = int(client.GetValue("cpuacct", "x", "cpuacct.usage"))
    assert 0.19e9 <= used < 60e9, used


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return 0

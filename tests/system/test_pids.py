# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers of processes between pid namespaces, as the kernel translates them and as older ones let us."""

import agent
import old
import scm
from harness import each, equal, needs
from world import place_of, read, tasks

MANY = 200
KERNELS = ("this kernel", "an older one")


def begin(w, which):
    if which != "this kernel":
        w.restart(preexec_fn=old.kernel())


def fork_tasks(count):
    return [agent.fork_task() for _ in range(count)]


def numbers(pid):
    """Of a process of ours, in each of its pid namespaces from ours on."""
    return [[int(number) for number in line.split()[1:]]
            for line in read(f"/proc/{pid}/status").splitlines() if line.startswith("NSpid")][0]


@each(*KERNELS)
def test_pids_many(w, which):
    """Processes of a nested container are moved and listed by its own numbers, and by each outer's."""
    needs("memory")
    begin(w, which)
    one, two, _ = w.nested()
    clients = [two, *[scm.Client(two, kind) for kind in scm.TYPES]]
    two.Create("memory", "x")
    mine = two.run(fork_tasks, MANY)
    for i, pid in enumerate(mine):
        clients[i % len(clients)].MovePid("memory", "x", pid)
    hosts = [numbers(pid) for pid in tasks("memory", "c1/c2/x")]
    equal(sorted(number[-1] for number in hosts), sorted(mine))
    for client in clients:
        equal(client.GetTasks("memory", "x"), sorted(mine))
        everything = client.GetTasksRecursive("memory", "")
        equal(everything, sorted({*everything, *mine, *two.GetTasks("memory", "")}))
    equal(sorted(map(int, two.GetValue("memory", "x", "cgroup.procs").split())), sorted(mine))
    equal(one.GetTasks("memory", "c2/x"), sorted(number[-2] for number in hosts))
    equal(scm.Client(one).GetTasks("memory", "c2/x"), sorted(number[-2] for number in hosts))
    equal(w.host().GetTasks("memory", "c1/c2/x"), sorted(number[0] for number in hosts))
    for pid in mine[:5]:
        equal(two.GetPidCgroup("memory", pid), "x")
        equal(scm.Client(two).GetPidCgroup("memory", pid), "x")


@each(*KERNELS)
def test_pids_out_of_sight(w, which):
    """What the caller's pid namespace does not show is no process, and is not listed."""
    needs("memory")
    begin(w, which)
    client = w.container()
    client.Create("memory", "x")
    mine, others = client.run(agent.fork_task), w.host().run(agent.fork_task)
    client.MovePid("memory", "x", mine)
    w.placer("c1/x", controllers=["memory"])(others)
    equal(len(tasks("memory", "c1/x")), 2)
    equal(client.GetTasks("memory", "x"), [mine])
    for kind in scm.TYPES:
        equal(scm.Client(client, kind).GetTasks("memory", "x"), [mine], kind)
    for pid in (others, w.daemon.pid, 4194304, 2147483647):
        client.refused(("TASK_MISSING",), "MovePid", "memory", "x", pid)
        client.refused(("TASK_MISSING",), "GetPidCgroup", "memory", pid)
    client.run(agent.end_task, mine)
    client.refused(("TASK_MISSING",), "MovePid", "memory", "x", mine)
    equal(client.GetTasks("memory", "x"), [])


@each(*KERNELS)
def test_pids_zombies(w, which):
    """A process that has ended cannot be moved, and a live one right after it can."""
    needs("memory")
    begin(w, which)
    client = w.container()
    client.Create("memory", "x")
    dead = client.run(agent.zombie)
    client.refused(("TASK_MISSING", "TASK_ENDED"), "MovePid", "memory", "x", dead)
    equal(client.GetTasks("memory", "x"), [])
    mine = client.run(agent.fork_task)
    client.MovePid("memory", "x", mine)
    host, = tasks("memory", "c1/x")
    equal(place_of(host, "memory"), "/c1/x")


@each(*KERNELS)
def test_pids_container_ends(w, which):
    """Nothing of the daemon's holds up the end of a container whose numbers it has just translated."""
    needs("memory")
    begin(w, which)
    client = w.container()
    client.Create("memory", "x")
    mine = client.run(fork_tasks, 20)
    for pid in mine:
        client.MovePid("memory", "x", pid)
    equal(client.GetTasks("memory", "x"), sorted(mine))
    first = client.agent.pid
    assert not ended(first)
    client.agent.close()
    agent.wait_until(lambda: tasks("memory", "c1/x") == [], "the container has ended")
    equal(w.host().GetTasks("memory", "c1/x"), [])
    # It is none before all others in its pid namespace have been waited for.
    agent.wait_until(lambda: ended(first), "its first process is a zombie")


def ended(pid):
    try:
        return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True

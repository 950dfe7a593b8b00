# SPDX-License-Identifier: LGPL-2.1-or-later
"""The gate of perf events, where perf_event_paranoid was lowered: in the throw-away machine alone."""

import perf
from agent import wait_until
from harness import Skip, bare, equal
from test_perf_grants import HIERARCHY
from world import cage, make

PARANOID = "/proc/sys/kernel/perf_event_paranoid"


def user_side():
    return perf.attr(perf.SOFTWARE, perf.TASK_CLOCK, "exclude_kernel", "exclude_hv")


def own():
    """An event of the caller's own, which the kernel refuses nobody."""
    return perf.try_event(user_side())


def all_of_a_cpu():
    return perf.try_event(user_side(), pid=-1, cpu=perf.cpus()[0])


def set_paranoid(level):
    with open(PARANOID, "w") as file:
        file.write(str(level))


def in_force(w):
    said = dict(w.host().ShowPerf())
    if said["gate"] != "in force":
        raise Skip(f"the gate is not in force: {said['gate']}")


@bare
def test_perf_gate_absent(w):
    """Without the option it is said how it is asked for."""
    perf.need()
    w.start()
    assert "--perf-gate" in dict(w.host().ShowPerf())["gate"]


@bare
def test_perf_gate(w):
    perf.need()
    w.start("--perf-gate")
    in_force(w)
    if not cage.in_machine():
        raise Skip("the host's perf_event_paranoid is left alone")
    before = perf.paranoid()
    try:
        set_paranoid(-1)
        gate_holds(w)
    finally:
        set_paranoid(before)


def gate_holds(w):
    host, one = w.host(), w.container()
    # The container's cgroup is /c1.
    equal((one.run(own), one.run(all_of_a_cpu)), ("EPERM", "EPERM"))
    equal((host.run(own), host.run(all_of_a_cpu)), (0, 0))
    host.GrantPerf("/c1", ["cpu"])
    wait_until(lambda: one.run(own) == 0, "the grant to be known")
    equal(one.run(all_of_a_cpu), 0)
    # A limit below.
    make(HIERARCHY, "c1/x")
    host.RevokePerf("/c1/x", ["cpu"], [])
    host.RevokePerf("/c1", ["cpu"], [])
    wait_until(lambda: one.run(own) == "EPERM", "the grant to be gone")
    # While there is no daemon it stays as it was, and the next one takes it over.
    w.daemon.kill()
    equal((one.run(own), host.run(own)), ("EPERM", 0))
    w.start("--perf-gate")
    host.reconnect()
    in_force(w)
    equal(one.run(own), "EPERM")
    host.GrantPerf("/c1", ["cpu"])
    wait_until(lambda: one.run(own) == 0, "the grant to be known to the next daemon")
    w.daemon.kill()
    equal(one.run(own), 0)
    # It is not asked for any more.
    w.start()
    host.reconnect()
    host.RevokePerf("/c1", ["cpu"], [])
    equal(one.run(own), 0)

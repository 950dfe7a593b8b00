# SPDX-License-Identifier: LGPL-2.1-or-later
"""Perf events where v1 has their controller: in the throw-away machine alone."""

import os
import subprocess

import perf
from agent import wait_until
from harness import Skip, bare, equal
from test_perf import is_served
from world import BASE, RANGE, cage, write


def mounted_in():
    """The number of its hierarchy, 0: v2's."""
    with open("/proc/cgroups") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("perf_event\t"))


def removed(path):
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


@bare
def test_perf_v1(w):
    """It is that hierarchy that counts; where it is none of the daemon's, that is said."""
    perf.need("perf")
    if not cage.in_machine():
        raise Skip("no hierarchy of a host is changed")
    if mounted_in():
        raise Skip("all tests of perf are of v1 here")
    at = f"{w.directory}/perf_event"
    os.mkdir(at)
    subprocess.run(["mount", "-t", "cgroup", "-o", "perf_event", "none", at], check=True)
    try:
        left_alone(w)
        used(w, at)
    finally:
        # The kernel may keep the hierarchy: nothing else of perf is tested in this machine after that.
        subprocess.run(["umount", "-l", at], check=True)


def left_alone(w):
    w.start("-M", "perf_event")
    host = w.host()
    said = dict(host.ShowPerf())
    equal(said["perf"], "off")
    assert "left alone (-M)" in said["why"], said
    assert "left alone (-M)" in host.refused("PERF_OFF", "GrantPerf", "/", ["cpu"])
    w.daemon.stop()


def used(w, at):
    os.mkdir(f"{at}/c1")
    place = w.placer("c1", BASE)

    def place_here_too(pid):
        place(pid)
        write(f"{at}/c1/cgroup.procs", pid)

    w.start()
    host = w.host()
    host.reconnect()
    equal(dict(host.ShowPerf())["hierarchy"], "perf_event")
    one = w.once("c1", lambda: w.host_agent.spawn("c1", place_here_too, user=True, pid=True, mnt=True, cgroup=True,
                                                  maps=[(0, BASE, RANGE)]))
    host.GrantPerf("/c1", ["cpu"])
    one.run(perf.trap, w.daemon.socket)
    is_served(one)
    found = one.run(perf.stat, "-a", "-e", "cpu-clock", command=perf.spinner(0.2))
    assert found["cpu-clock"] > 0, found
    host.RevokePerf("/c1", ["cpu"], [])
    equal(one.run(perf.try_event, pid=-1, cpu=0), "EACCES")
    one.agent.close()
    wait_until(lambda: removed(f"{at}/c1"), "nobody is in it")

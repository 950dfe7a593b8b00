# SPDX-License-Identifier: LGPL-2.1-or-later
"""Perf in containers: programs that know nothing of the daemon, with what was granted, and without."""

import errno
import os
import re

import agent
import perf
from harness import Skip, bare, each, equal, test
from world import BASE

# What perf says where the kernel gives EACCES or EPERM.
LIMITED = "Access to performance monitoring and observability operations is limited"
GPU_DENIED = "Failed to initialize PMU! (Permission denied)"


def denied_without(w):
    """Where containers are not let in by the kernel itself."""
    perf.need("perf")
    if perf.paranoid() < 2:
        raise Skip("this host has lowered perf_event_paranoid")


@bare
def test_perf_without(w):
    """What people report, in a container that nobody answers for."""
    denied_without(w)
    one = w.container()
    plain = w.inner_user(one)
    for client, *options in ((one, "stat", "-a"), (plain, "stat", "-a"), (plain, "stat", "-p", "1"),
                             (one, "record", "-o", "/dev/null", "-a"), (one, "top", "--stdio")):
        code, out, err = client.run(perf.program, ["perf", *options])
        assert code and LIMITED in out + err, (options, code, out, err)
    equal(one.run(perf.stat, "-a", "-e", "msr/tsc/"), {"msr/tsc/u": None})
    # Of its own tasks perf shows the user side alone, as long as the kernel lets it.
    if perf.paranoid() == 2:
        equal(one.run(perf.stat, "-e", "context-switches")["context-switches:u"], 0)


@bare
def test_perf_gpu_without(w):
    denied_without(w)
    perf.need("intel_gpu_top")
    tree, shim = perf.gpu_sysfs(f"{w.directory}/sys"), perf.gpu_shim(w.directory)
    code, out = w.container().run(perf.gpu_top, tree, shim)
    equal((code, out.strip()), (1, GPU_DENIED))
    # It is the container that is refused, not the tree: the host's root has it all.
    host = w.host_agent.spawn("host with a tree", mnt=True)
    assert "power" in gpu_report(host.run(perf.gpu_top, tree, shim))


def gpu_report(told):
    """The last of the reports; all of the GPU is in it."""
    code, out = told
    reports = perf.gpu_reports(out)
    assert len(reports) >= 2, (code, out)
    for engine in ("Render/3D/0", "Blitter/0", "Video/0"):
        assert {"busy", "wait", "sema"} <= set(reports[-1]["engines"].get(engine, ())), out
    assert {"frequency", "interrupts", "rc6"} <= set(reports[-1]), out
    return reports[-1]

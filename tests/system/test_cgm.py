# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command, in a container, against the real daemon."""

import os

import agent
import world
from harness import equal, needs, test
from world import where


def cgm(client, *words):
    program = os.path.join(os.environ["CGMD_BUILD"], "client/cgm")
    return client.run(agent.shell, [program, "--address", "unix:path=" + client.world.daemon.socket,
                                    *words])


@test
def test_cgm_verbs(w):
    """Every verb, its output and its status."""
    needs("memory")
    client = w.container()
    pid = str(client.run(agent.fork_task))
    steps = (
        (("ping",), ""), (("apiversion",), "10\n"),
        (("translate", "pids.max", "5"),
         "neutral  pids.max 5\nv1       pids.max 5\nv2       pids.max 5\n"),
        (("create", "memory", "x/y"), ""), (("create", "memory", "x/y"), "Path existed\n"),
        (("listchildren", "memory"), "x\n"), (("listchildren", "memory", "x"), "y\n"),
        (("setvalue", "memory", "x", "memory.limit_in_bytes", "8388608"), ""),
        (("getvalue", "memory", "x", "memory.limit_in_bytes"), "8388608\n"),
        (("movepid", "memory", "x/y", pid), ""), (("gettasks", "memory", "x/y"), pid + "\n"),
        (("gettasksrecursive", "memory", "x"), pid + "\n"), (("gettasks", "memory", "x"), ""),
        (("getpidcgroup", "memory", pid), "x/y\n"), (("getpidcgroupabs", "memory", pid), "/x/y\n"),
        (("movepidabs", "memory", "/x", pid), ""), (("getpidcgroup", "memory", pid), "x\n"),
        (("chown", "memory", "x/y", "1000", "-1"), ""), (("chmod", "memory", "x/y", "0700"), ""),
        (("movepidabs", "memory", "/", pid), ""), (("removeonempty", "memory", "x"), ""),
        (("prune", "memory", "x"), ""), (("remove", "memory", "x"), None),
        (("remove", "memory", "nosuch"), "Path did not exist\n"))
    for words, wanted in steps:
        code, out, err = cgm(client, *words)
        equal((code, err), (0, ""), " ".join(words))
        if wanted is not None:
            equal(out, wanted, " ".join(words))
    code, out, _ = cgm(client, "listcontrollers")
    assert code == 0 and "memory" in out.replace(",", " ").split(), out
    code, out, _ = cgm(client, "listkeys", "memory")
    assert code == 0 and "cgroup.procs 0 0 100644\n" in out, out


@test
def test_cgm_failures(w):
    """A refusal: the daemon's words on stderr, nothing on stdout, status 1."""
    needs("memory")
    client = w.container()
    cgm(client, "create", "memory", "x")
    for words, reason in (
            (("create", "memory", "../y"), "PATH_DOTDOT"),
            (("setvalue", "memory", "", "memory.limit_in_bytes", "-1"), "SCOPE_ROOT"),
            (("chown", "memory", "x", "70000", "0"), "UID_UNMAPPED"),
            (("movepid", "memory", "x", "999999"), "TASK_MISSING"),
            (("gettasks", "memory", "nosuch"), "CGROUP_MISSING")):
        code, out, err = cgm(client, *words)
        equal((code, out), (1, ""), " ".join(words))
        assert world.REASONS[reason] in err, err


@test
def test_cgm_strict_numbers(w):
    """Numbers that are none change nothing."""
    needs("memory")
    client = w.container()
    cgm(client, "create", "memory", "q")
    before = world.snapshot()
    for words in (("chown", "memory", "q", "x", "y"), ("chown", "memory", "q", "1x", "0"),
                  ("chmod", "memory", "q", "9"), ("movepid", "memory", "q", "1 "),
                  ("remove", "memory", "q", "yes"), ("create", "memory"), ("nosuch",), ()):
        code, out, err = cgm(client, *words)
        assert code != 0 and err and not out, (words, code, out, err)
    equal(world.difference(before, world.snapshot()), [])
    equal(cgm(client, "-h")[0], 0)
    equal(cgm(client, "create", "--help")[0], 0)
    assert os.path.isdir(where("memory", "c1/q"))

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of perf cgroups are granted: by whom, what comes from above, and what of that is told."""

import os
import signal

import world
from agent import wait_until
from harness import bare, equal, test
from world import BASE, make, where

# Perf events are in v2 where v1's controller is not mounted.
HIERARCHY = "perf_event" if os.path.isdir(f"{world.cgroups.CGROUP}/perf_event") else "unified"
NAME = "trusted.cgmd.perf"


def at(path):
    return where(HIERARCHY, path)


def have(client, path, *items):
    """Which of these CheckPerf says it has."""
    return [item for item in items if client.CheckPerf(path, item)[0]]


def listed(client, path):
    return sorted(tuple(line) for line in client.ListPerf(path))


def attribute(path):
    try:
        return os.getxattr(at(path), NAME).decode().split(" ", 1)[1]
    except OSError:
        return None


@test
def test_perf_grant(w):
    """Host root gives; what is below has it too."""
    host = w.host()
    make(HIERARCHY, "c1/x/y")
    equal(listed(host, "/c1"), [])
    equal(host.CheckPerf("/c1", "cpu"), (False, "", "denied: it was given neither to the cgroup nor to one above"))
    host.GrantPerf("/c1", ["cpu", "tracepoint:sched:sched_switch", "cpu"])
    equal(listed(host, "/c1/x/y"), [("cpu", "/c1", "given"), ("tracepoint:sched:sched_switch", "/c1", "given")])
    equal(host.CheckPerf("/c1/x/y", "cpu"), (True, "/c1", "allowed: it was given there"))
    equal(have(host, "/c1/x", "cpu", "kernel", "gpu", "pmu:msr"), ["cpu"])
    equal(attribute("c1"), "cpu tracepoint:sched:sched_switch")
    # More of it, and nearer.
    host.GrantPerf("/c1/x", ["kernel"])
    equal(host.CheckPerf("/c1/x/y", "cpu")[:2], (True, "/c1/x"))
    equal(have(host, "/c1", "cpu", "kernel"), ["cpu"])
    host.GrantPerf("/c1/x", [])
    # Back again, of what was given there and of what comes from above.
    host.RevokePerf("/c1/x", ["kernel", "cpu"], [])
    equal(have(host, "/c1/x/y", "cpu", "kernel"), [])
    equal(host.CheckPerf("/c1/x/y", "cpu"), (False, "/c1/x", "denied: it was limited there"))
    host.RevokePerf("/c1", ["cpu", "tracepoint:sched:sched_switch"], [("kill", ("b", False))])
    equal(listed(host, "/c1"), [])
    equal(attribute("c1"), None)


@test
def test_perf_grant_at_the_top(w):
    """The hierarchy's root is a cgroup as others: host root's."""
    host, one = w.host(), w.container()
    host.GrantPerf("/", ["cpu"])
    try:
        equal(one.CheckPerf("", "cpu"), (True, "", "allowed: by what is given above your scope"))
        equal(listed(one, ""), [("cpu", "", "given")])
        equal(listed(host, "/c1"), [("cpu", "/", "given")])
    finally:
        host.RevokePerf("/", ["cpu"], [])
    equal(have(one, "", "cpu"), [])


@test
def test_perf_grant_by_container(w):
    """Its root says what its children have of what it has, and no more; of its own it says nothing."""
    host, one = w.host(), w.container()
    for path in ("c1/x", "c1/x/y"):
        make(HIERARCHY, path, BASE)
    one.refused("PERF_WIDER", "GrantPerf", "x", ["cpu"])
    host.GrantPerf("/c1", ["cpu", "gpu"])
    one.RevokePerf("x", ["gpu"], [])
    equal(have(one, "x/y", "cpu", "gpu"), ["cpu"])
    equal(have(one, "", "cpu", "gpu"), ["cpu", "gpu"])
    equal(one.CheckPerf("x/y", "gpu"), (False, "/x", "denied: it was limited there"))
    equal(listed(one, "x"), [("cpu", "/", "given"), ("cpu", "/x", "limit"), ("gpu", "/", "given")])
    message = one.refused("PERF_WIDER", "GrantPerf", "x/y", ["cpu", "gpu"])
    assert "'gpu'" in message, message
    one.refused("PERF_WIDER", "GrantPerf", "x", ["power"])
    one.refused("PERF_WIDER", "GrantPerf", "x", ["kernel"])
    one.GrantPerf("x", ["gpu"])
    equal(have(one, "x/y", "cpu", "gpu"), ["cpu", "gpu"])
    one.RevokePerf("x", ["cpu", "gpu"], [])
    equal(have(one, "x/y", "cpu", "gpu"), [])
    equal(("none", "/x", "limit") in listed(one, "x"), True)
    for member, rest in (("GrantPerf", ()), ("RevokePerf", ([],))):
        one.refused("SCOPE_ROOT", member, "", ["cpu"], *rest)
        one.refused("SCOPE_ROOT", member, "/", ["cpu"], *rest)
        one.refused("CGROUP_MISSING", member, "/none", ["cpu"], *rest)
    # What is taken from above is gone below, whatever it says there; what comes back is limited as before.
    one.GrantPerf("x", ["cpu"])
    host.RevokePerf("/c1", ["cpu"], [])
    equal(have(one, "x/y", "cpu", "gpu"), [])
    host.GrantPerf("/c1", ["cpu"])
    equal(have(one, "x/y", "cpu", "gpu"), ["cpu"])
    # What host root gives in there stays, until who manages it takes it away.
    host.GrantPerf("/c1/x", ["power"])
    equal(have(one, "x", "power"), ["power"])
    equal(have(one, "", "power"), [])


@test
def test_perf_grant_by_user(w):
    """Only who may set limits may narrow."""
    host, one = w.host(), w.container()
    plain, outside = w.inner_user(one), w.user()
    host.GrantPerf("/c1", ["cpu"])
    make(HIERARCHY, "c1/u1000/x", BASE + 1000)
    plain.refused(("PARENT_PRIVILEGE", "SCOPE_ROOT"), "RevokePerf", "", ["cpu"], [])
    plain.refused("PERF_WIDER", "GrantPerf", "x", ["power"])
    plain.RevokePerf("x", ["cpu"], [])
    equal((have(plain, "", "cpu"), have(plain, "x", "cpu")), (["cpu"], []))
    # Another's is none of his business.
    outside.refused("CGROUP_MISSING", "ListPerf", "/c1")
    outside.refused("CGROUP_MISSING", "GrantPerf", "/c1", ["cpu"])
    outside.refused(("PARENT_PRIVILEGE", "SCOPE_ROOT"), "GrantPerf", "", ["cpu"])


@test
def test_perf_grant_nested(w):
    """Each in its own scope; what is above has no name there."""
    host = w.host()
    one, two, three = w.nested()
    host.GrantPerf("/c1", ["cpu", "gpu", "power"])
    one.RevokePerf("c2", ["power"], [])
    two.RevokePerf("c3", ["gpu"], [])
    equal([have(c, "", "cpu", "gpu", "power") for c in (one, two, three)],
          [["cpu", "gpu", "power"], ["cpu", "gpu"], ["cpu"]])
    two.refused("SCOPE_ROOT", "GrantPerf", "", ["power"])
    one.refused("PERF_WIDER", "GrantPerf", "c2/c3", ["power"])
    equal(listed(three, ""), [("cpu", "", "given"), ("cpu", "/", "limit")])
    equal(three.CheckPerf("", "power"), (False, "", "denied: it was given neither to the cgroup nor to one above"))
    equal(three.CheckPerf("", "gpu"), (False, "/", "denied: it was limited there"))
    equal(listed(one, "c2/c3"), [("cpu", "/", "given"), ("cpu", "/c2", "limit"), ("cpu", "/c2/c3", "limit"),
                                 ("gpu", "/", "given"), ("gpu", "/c2", "limit"), ("power", "/", "given")])


@test
def test_perf_grant_not_told(w):
    """What lies above the scope, and does not come down to it, is not told of."""
    host, one = w.host(), w.container("top/c1")
    host.GrantPerf("/top", ["cpu", "power"])
    host.GrantPerf("/top/c1", ["pmu:msr"])
    host.RevokePerf("/top", ["power"], [])
    host.GrantPerf("/", ["power"])
    try:
        host.RevokePerf("/top", ["power"], [])
        equal(listed(one, ""), [("cpu", "", "given"), ("pmu:msr", "/", "given")])
        equal(one.CheckPerf("", "power"), (False, "", "denied: it was given neither to the cgroup nor to one above"))
        equal(host.CheckPerf("/top/c1", "power"), (False, "/top", "denied: it was limited there"))
    finally:
        host.RevokePerf("/", ["power"], [])


@test
def test_perf_grant_lives_on(w):
    """With its cgroup, and no longer; whatever becomes of the daemon."""
    host = w.host()
    make(HIERARCHY, "c1/x")
    host.GrantPerf("/c1/x", ["cpu"])
    w.daemon.kill()
    w.start()
    host.reconnect()
    equal(listed(host, "/c1/x"), [("cpu", "/c1/x", "given")])
    os.rmdir(at("c1/x"))
    os.mkdir(at("c1/x"))
    equal(listed(host, "/c1/x"), [])
    # Nor does a copy of another's count.
    host.GrantPerf("/c1", ["cpu"])
    os.setxattr(at("c1/x"), NAME, os.getxattr(at("c1"), NAME))
    w.daemon.kill()
    w.start()
    host.reconnect()
    equal(listed(host, "/c1/x"), [("cpu", "/c1", "given")])


@test
def test_perf_grant_bad_items(w):
    host = w.host()
    make(HIERARCHY, "c1")
    for item in ("", "all", "CPU", "cpu ", "pmu:", "pmu:..", "pmu:a/b", "pmu:a b", "tracepoint:sched", "tracepoint::x",
                 "tracepoint:a:b:c", "pmu:" + "x" * 96, "|", "cpu|", "\n"):
        host.refused("PERF_ITEM", "GrantPerf", "/c1", ["cpu", item])
        host.refused("PERF_ITEM", "RevokePerf", "/c1", [item], [])
        host.refused("PERF_ITEM", "CheckPerf", "/c1", item)
    host.refused("PERF_MANY", "GrantPerf", "/c1", [f"pmu:p{n}" for n in range(65)])
    host.GrantPerf("/c1", [f"pmu:p{n}" for n in range(33)])
    host.refused("PERF_MANY", "GrantPerf", "/c1", [f"pmu:q{n}" for n in range(33)])
    equal(len(listed(host, "/c1")), 33)
    # Each would fit, but what comes from above and it together do not.
    make(HIERARCHY, "c1/x")
    host.refused("PERF_MANY", "GrantPerf", "/c1/x", [f"pmu:q{n}" for n in range(33)])
    host.refused("OPTION", "RevokePerf", "/c1", ["cpu"], [("force", ("b", True))])
    host.refused("OPTION", "RevokePerf", "/c1", ["cpu"], [("kill", ("u", 1))])
    host.refused("CGROUP_MISSING", "CheckPerf", "/none", "cpu")


@bare
def test_perf_grant_policy(w):
    """The policy file's are there without a call, as long as the file says so."""
    path = f"{w.directory}/policy.conf"

    def put(text):
        with open(path, "w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)

    put(f"[perf /c*]\ngrant = cpu gpu\n[perf /**]\nuid = {BASE}\ngrant = power\n")
    w.start("--policy", path)
    host, one = w.host(), w.container()
    make(HIERARCHY, "c1/x", BASE)
    make(HIERARCHY, "other")
    equal(have(one, "x", "cpu", "gpu", "power", "kernel"), ["cpu", "gpu", "power"])
    equal(have(host, "/other", "cpu", "power"), [])
    equal(one.CheckPerf("", "cpu"), (True, "/", "allowed: by the policy file"))
    equal(("power", "/x", "policy") in listed(one, "x"), True)
    # Among the holders could be whom a container may not end; and nothing else is done then.
    one.refused("PERF_HOST", "RevokePerf", "x", ["cpu"], [("kill", ("b", True))])
    equal(have(one, "x", "cpu", "gpu"), ["cpu", "gpu"])
    one.RevokePerf("x", ["cpu"], [])
    equal(have(one, "x", "cpu", "gpu"), ["gpu"])
    one.refused("PERF_WIDER", "GrantPerf", "x", ["kernel"])
    put("[perf /c1]\ngrant = kernel\n")
    before = len(w.daemon.log())
    os.kill(w.daemon.pid, signal.SIGHUP)
    wait_until(lambda: "1 sections" in w.daemon.log()[before:], "the policy file is read again")
    equal(have(host, "/c1", "cpu", "gpu", "power", "kernel"), ["cpu", "kernel"])



@test
def test_perf_revoke_says_what_remains(w):
    """Of what was opened, and of what the call cannot take."""
    host = w.host()
    make(HIERARCHY, "c1")
    host.GrantPerf("/c1", ["cpu"])
    report = dict(host.RevokePerf("/c1", ["cpu"], [("kill", ("b", True))]))
    equal({k: report.get(k) for k in ("disabled", "holders", "killed", "unknown")},
          dict.fromkeys(("disabled", "holders", "killed", "unknown"), "0"))
    assert "remains" in report and "policy" not in report, report


@bare
def test_perf_revoke_of_the_policy(w):
    path = f"{w.directory}/policy.conf"
    with open(path, "w") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write("[perf /c1]\ngrant = cpu gpu\n")
    w.start("--policy", path)
    host = w.host()
    make(HIERARCHY, "c1")
    equal(dict(host.RevokePerf("/c1", ["gpu", "power"], []))["policy"], "gpu")
    equal(have(host, "/c1", "cpu", "gpu"), ["cpu", "gpu"])


@test
def test_perf_show(w):
    """Host root sees all of it; others their own share."""
    host, one = w.host(), w.container()
    for client, whose in ((host, "everybody's"), (one, "yours")):
        shown = dict(client.ShowPerf())
        equal((shown["perf"], shown["whose"]), ("on", whose))
        equal([shown[k] for k in ("listeners", "events", "calls", "refused", "dropped")], ["0"] * 5)
        equal(shown["paranoid"], world.read("/proc/sys/kernel/perf_event_paranoid").strip())
        assert "mlock" in shown["note"] and "kept" in shown, shown
    assert "stuck" not in dict(one.ShowPerf())


@bare
def test_perf_off(w):
    """Grants are kept all the same; nothing is opened by them."""
    w.start("--perf=off")
    host = w.host()
    make(HIERARCHY, "c1")
    shown = dict(host.ShowPerf())
    equal((shown["perf"], shown["why"], "events" in shown), ("off", "turned off by --perf=off", False))
    host.GrantPerf("/c1", ["cpu"])
    equal(have(host, "/c1", "cpu"), ["cpu"])
    equal(host.RevokePerf("/c1", ["cpu"], []), [])
    equal(have(host, "/c1", "cpu"), [])

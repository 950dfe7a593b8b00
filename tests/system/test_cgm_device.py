# SPDX-License-Identifier: LGPL-2.1-or-later
"""cgm device and cgm gpu against the real daemon: what they print, and what their status says."""

import json
import os

import bpf
import world
from agent import wait_until
from harness import Skip, equal, test
from test_cgm import cgm
from world import REASONS

# The hierarchies that govern devices.
# On pure v2 both are the one hierarchy.
KINDS = [kind for kind in ("unified",) + (() if world.PURE else ("devices",)) if world.have(kind)]
NULL, FULL = "c 1:3", "c 1:7"
ALLOWED, DENIED, TROUBLE, UNKNOWN = 0, 1, 2, 3
VERDICTS = {ALLOWED: "allowed", DENIED: "denied", UNKNOWN: "unknown"}


def make_all(path, uid=0):
    for kind in KINDS:
        world.make(kind, path, uid)


def ok(client, *words):
    code, out, err = cgm(client, *words)
    equal((code, err), (0, ""), " ".join(words))
    return out


def rows(client, path):
    code, out, err = cgm(client, "--json", "device", "list", path)
    found = json.loads(out)
    equal((code, err), (0, "" if found else "cgm: note: no device rules are in force: every device is "
                       "allowed\n"), path)
    return found


def explain(client, path, device=NULL, access="rw"):
    """(status, whose rules they are by cgroup), said alike as text and as JSON."""
    code, out, err = cgm(client, "device", "explain", path, device, access)
    equal(err, "")
    lines = out.splitlines()
    assert lines[0].startswith(VERDICTS[code]), out
    again, out, _ = cgm(client, "--json", "device", "explain", path, device, access)
    told = json.loads(out)
    equal((again, told["verdict"], told["why"]), (code, VERDICTS[code], lines[0]))
    equal(sorted(told), ["cgroup", "verdict", "why"])
    if code == ALLOWED:
        equal((told["cgroup"], len(lines)), (None, 1))
    else:
        equal(lines[1:], ["cgroup " + (told["cgroup"] or "(above)")])
    return code, told["cgroup"]


@test
def test_cgm_device_rules(w):
    """Rules are set, added, listed, explained and taken away."""
    host = w.host()
    # cgroup v1 goes to "default deny" only without children
    make_all("x")
    equal(ok(host, "device", "set", "/x", "default deny", f"allow {NULL} rw", f"allow {FULL} r"), "")
    wanted = [{"rule": rule, "cgroup": "/x", "whose": "cgmd"} for rule in
              ("default deny", f"allow {NULL} rw", f"allow {FULL} r")]
    if not world.PURE:
        # cgroup v1 has rules of its own there
        equal([row for row in rows(host, "/x") if row["whose"] == "cgmd"], wanted)
    else:
        equal(rows(host, "/x"), wanted)
    make_all("x/y")
    lines = ok(host, "device", "list", "/x/y").splitlines()
    equal(lines[0].split(), ["RULE", "CGROUP", "WHOSE"])
    found = [line.split("  ") for line in lines[1:]]
    found = [[cell.strip() for cell in line if cell.strip()] for line in found]
    equal([line for line in found if line[2] == "cgmd"],
          [[row["rule"], "/x", "cgmd"] for row in wanted])
    for path in ("/x", "/x/y"):
        equal(explain(host, path), (ALLOWED, None))
        equal(explain(host, path, NULL, "rwm"), (DENIED, "/x"))
        equal(explain(host, path, FULL, "w"), (DENIED, "/x"))
    equal(ok(host, "device", "deny", "/x/y", NULL, "w"), "")
    equal((explain(host, "/x/y"), explain(host, "/x")), ((DENIED, "/x/y"), (ALLOWED, None)))
    equal(ok(host, "device", "allow", "/x", FULL, "w"), "")
    equal(explain(host, "/x", FULL), (ALLOWED, None))
    for kind in KINDS:
        os.rmdir(world.where(kind, "x/y"))
    # where the kernel may take a while to see that there are no children any more
    wait_until(lambda: cgm(host, "device", "clear", "/x")[0] == 0, "the rules to be gone")
    equal(ok(host, "--json", "device", "clear", "/x"), "[]\n")
    equal(explain(host, "/x", NULL, "rwm"), (ALLOWED, None))
    equal([row for row in rows(host, "/x") if row["whose"] == "cgmd"], [])


@test
def test_cgm_device_container(w):
    """A container sees what holds for it, not where it comes from; and narrows what is below."""
    host = w.host()
    make_all("c")
    ok(host, "device", "set", "/c", "default deny", f"allow {NULL} rw")
    client = w.container("c/c1")
    make_all("c/c1/x", 100000)
    equal(explain(client, ""), (ALLOWED, None))
    equal(explain(client, "", FULL), (DENIED, None))
    above = [row for row in rows(client, "/") if row["whose"] == "cgmd"]
    equal([(row["rule"], row["cgroup"]) for row in above],
          [("default deny", None), (f"allow {NULL} rw", None)])
    assert "  (above)  cgmd\n" in ok(client, "device", "list", ""), above
    equal(ok(client, "device", "set", "x", f"deny {NULL} w"), "")
    equal((explain(client, "x"), explain(client, "/x")), ((DENIED, "/x"), (DENIED, "/x")))
    equal(explain(host, "/c/c1/x"), (DENIED, "/c/c1/x"))
    for words, reason in ((("set", "", "default deny"), "SCOPE_ROOT"),
                          (("allow", "x", FULL, "r"), "DEVICE_WIDER")):
        code, out, err = cgm(client, "device", *words)
        equal((code, out), (1, ""), " ".join(words))
        assert REASONS[reason] in err, err


@test
def test_cgm_device_failures(w):
    """What fails ends with 1, and of explain, where that is an answer, with 2."""
    host = w.host()
    make_all("x")
    for words, reason in ((("nosuch", NULL), "CGROUP_MISSING"), (("../x", NULL), "PATH_DOTDOT"),
                          (("/x", "c 5000:1"), "DEVICE_NUMBER"), (("/x", "frob"), "DEVICE_NAME"),
                          (("/x", "/dev/pts"), "DEVICE_NODE"), (("/x", ""), "DEVICE_RULE")):
        for verb, status in (("explain", TROUBLE), ("deny", 1), ("allow", 1)):
            code, out, err = cgm(host, "device", verb, *words, "rw")
            equal((code, out), (status, ""), f"{verb} {words} {err}")
            assert REASONS[reason] in err, (verb, words, err)
    for rule, reason in (("allow frob rw", "DEVICE_NAME"), ("permit c 1:3 rw", "DEVICE_RULE"),
                         ("allow c 1:3", "DEVICE_ACCESS"), ("", "DEVICE_RULE")):
        code, out, err = cgm(host, "device", "set", "/x", "default deny", rule)
        equal((code, out), (1, ""), rule)
        assert REASONS[reason] in err, err
    equal([row for row in rows(host, "/x") if row["whose"] == "cgmd"], [])


@test
def test_cgm_device_usage(w):
    """A command line that makes no sense ends with 2, and changes nothing."""
    host = w.host()
    make_all("x")
    before = world.snapshot()
    for words in (("device",), ("device", "frob"), ("device", "list"), ("device", "list", "/x", "/x"),
                  ("device", "set", "/x"), ("device", "allow", "/x", NULL),
                  ("device", "allow", "/x", "c", "1:3", "rw"), ("device", "allow", "/x", NULL, "x"),
                  ("device", "explain", "/x", NULL), ("device", "explain", "/x", NULL, "rwx"),
                  ("device", "add", "--uid", "-1", "/x", NULL), ("device", "add", "--frob", "/x", NULL),
                  ("device", "deny", "--json", "/x", NULL, "r"), ("gpu",), ("gpu", "list", "x")):
        code, out, err = cgm(host, *words)
        equal((code, out), (TROUBLE, ""), " ".join(words))
        assert err.startswith("cgm: "), err
    for words in (("device", "--help"), ("help", "device"), ("gpu", "-h"), ("device", "add", "--help"),
                  ("help", "device", "explain")):
        assert ok(host, *words).startswith("usage: cgm "), words
    equal(world.difference(before, world.snapshot()), [])


@test
def test_cgm_device_names(w):
    """What names stand for, and GPUs if there are any."""
    host = w.host()
    equal(ok(host, "device", "resolve", "/dev/null"), "c 1:3 /dev/null\n")
    equal(json.loads(ok(host, "device", "resolve", "--json", "/dev/null")),
          [{"type": "c", "major": 1, "minor": 3, "node": "/dev/null"}])
    found = json.loads(ok(host, "device", "resolve", "--json", "oci-default"))
    assert {"type": "c", "major": None, "minor": None, "node": None} in found, found
    assert "c *:*\n" in ok(host, "device", "resolve", "oci-default")
    equal(cgm(host, "device", "resolve", "/dev/nosuch")[0], 1)
    code, out, err = cgm(host, "gpu", "list")
    gpus = json.loads(cgm(host, "--json", "gpu", "list")[1])
    if gpus:
        equal((code, err), (0, ""))
        equal(out.split("\n")[0].split(), ["ADDRESS", "ID", "DRIVER", "PMU", "REGION", "NODES"])
        equal(len(out.splitlines()), len(gpus) + 1)
    else:
        equal((code, out), (0, ""))
        assert err.startswith("cgm: note: there is no GPU"), err


@test
def test_cgm_device_others(w):
    """Programs of others: their rules, their verdicts, and that a cgroup which has one is not the one to
    set rules on."""
    host, note = w.host(), "cgm: note: on this cgroup itself is a program that is not cgmd's. "
    if not world.have("unified"):
        raise Skip("no cgroup v2 is mounted here")
    make_all("x/y/z")
    bpf.attach(world.where("unified", "x/y"), bpf.denies(1, 3))
    # it does not look at the type
    equal([(row["rule"], row["cgroup"]) for row in rows(host, "/x/y/z") if row["whose"] == "other"],
          [(rule, "/x/y") for rule in ("default allow", f"deny {NULL} rwm", "deny b 1:3 rwm")])
    equal(explain(host, "/x/y/z"), (DENIED, "/x/y"))
    equal(explain(host, "/x/y/z", FULL), (ALLOWED, None))
    for words in (("list", "/x/y"), ("set", "/x/y", f"deny {FULL} w"), ("deny", "/x/y", FULL, "w"),
                  ("clear", "/x/y")):
        code, _, err = cgm(host, "device", *words)
        assert code == 0 and err.startswith(note) and err.count("\n") == 1, (words, code, err)
    for words in (("list", "/x/y/z"), ("set", "/x/y/z", f"deny {FULL} w"), ("deny", "/x", FULL, "w")):
        code, _, err = cgm(host, "device", *words)
        equal((code, err), (0, ""), " ".join(words))
    ok(host, "device", "clear", "/x")
    ok(host, "device", "clear", "/x/y/z")
    bpf.attach(world.where("unified", "x"), bpf.secret())
    equal(explain(host, "/x/y", FULL), (UNKNOWN, "/x"))
    equal(explain(host, "/x/y"), (DENIED, "/x/y"))
    assert {"rule": "unknown", "cgroup": "/x", "whose": "other"} in rows(host, "/x/y/z")

# SPDX-License-Identifier: LGPL-2.1-or-later
"""cgm perf and cgm caps in containers, against the real daemon: what they print, what their status says, and
programs that know nothing of the daemon."""

import ctypes
import errno
import json
import os
import struct

import agent
import perf
from harness import Skip, bare, equal, test
from test_cgm import cgm
from world import BASE, make

HIERARCHY = "perf_event" if os.path.isdir("/sys/fs/cgroup/perf_event") else "unified"
ALLOWED, DENIED, TROUBLE, UNKNOWN = 0, 1, 2, 3
# What `perf stat -a` asks for.
EVENT = "cpu-clock"


def ok(client, *words):
    code, out, err = cgm(client, *words)
    equal((code, err), (0, ""), " ".join(words))
    return out


def program():
    return os.path.join(os.environ["CGMD_BUILD"], "client/cgm")


def told(answer):
    """(status, what explain told as JSON)."""
    code, out, err = answer
    equal(err, "")
    report = json.loads(out)
    equal({"allowed": ALLOWED, "denied": DENIED, "unknown": UNKNOWN}[report["verdict"]], code)
    return code, report


def explain(client, *words):
    return told(cgm(client, "--json", "perf", "explain", *words))


def states(report):
    """{layer: state}, of several calls the worst."""
    found = {}
    for row in report["layers"]:
        if found.get(row["layer"]) != "refuses":
            found[row["layer"]] = row["state"]
    return found


def denied_by_kernel():
    perf.need()
    if perf.paranoid() < 1:
        raise Skip("this host has lowered perf_event_paranoid")


@test
def test_cgm_perf_grants(w):
    """Given, listed, asked for and taken back; refused where it would be more than the container has."""
    host, one = w.host(), w.container()
    make(HIERARCHY, "c1/x", BASE)
    equal(cgm(one, "perf", "list", "x"), (0, "", "cgm: note: nothing of perf is granted here\n"))
    code, out, err = cgm(one, "perf", "check", "x", "cpu")
    equal((code, err), (DENIED, ""))
    assert out.startswith("denied: "), out
    equal(cgm(one, "perf", "check", "x", "nonsense")[:2], (TROUBLE, ""))
    equal(ok(host, "perf", "grant", "/c1", "cpu", "tracepoint:sched:sched_switch"), "")
    lines = ok(one, "perf", "list", "x").splitlines()
    equal([line.split() for line in lines], [["ITEM", "CGROUP", "WHOSE"], ["cpu", "/", "given"],
                                             ["tracepoint:sched:sched_switch", "/", "given"]])
    assert ok(one, "perf", "check", "x", "cpu").startswith("allowed"), "given"
    code, out, err = cgm(one, "perf", "grant", "x", "cpu", "power")
    equal((code, out), (1, ""))
    assert "'power'" in err, err
    code, out, err = cgm(host, "perf", "revoke", "/c1", "cpu", "--kill")
    equal((code, err), (0, ""))
    equal(cgm(one, "perf", "check", "x", "cpu")[0], DENIED)


@test
def test_cgm_perf_revoke(w):
    """It tells what it did, alike as lines and as JSON."""
    host = w.host()
    make(HIERARCHY, "c1", BASE)
    ok(host, "perf", "grant", "/c1", "cpu")
    report = json.loads(ok(host, "--json", "perf", "revoke", "/c1", "cpu"))
    assert {"disabled", "holders", "killed", "unknown"} <= set(report), report
    equal([line.split()[0] for line in ok(host, "perf", "revoke", "--kill", "/c1", "cpu").splitlines()], list(report))


@bare
def test_cgm_perf_show(w):
    """On or off, and why; explain sends there where a grant would not help."""
    denied_by_kernel()
    w.start()
    for client in (w.host(), w.container()):
        shown = json.loads(ok(client, "--json", "perf", "show"))
        equal((shown["perf"], shown["paranoid"]), ("on", str(perf.paranoid())))
        equal([line.split()[0] for line in ok(client, "perf", "show").splitlines()], list(shown))
    w.restart("--perf=off")
    one = w.container()
    one.reconnect()
    shown = json.loads(ok(one, "--json", "perf", "show"))
    equal(shown["perf"], "off")
    assert shown["why"], shown
    code, report = explain(one, EVENT)
    equal((code, states(report)["perf run"], report["command"]), (DENIED, "refuses", "cgm perf show"))


@bare
def test_cgm_perf_explain_without(w):
    """Where no daemon is: the level and the capability refuse, and the runtime is to be told."""
    denied_by_kernel()
    one = w.container()
    command = [program(), "--address", w.directory + "/none", "--json", "perf", "explain"]
    code, report = told(one.run(agent.shell, command))
    equal(code, DENIED)
    found = states(report)
    for layer in ("perf_event_open", "paranoid", "capability", "cgmd"):
        equal(found[layer], "refuses", layer)
    equal((found["seccomp"], found["lsm"], found["grant"]), ("passes", "passes", "unknown"))
    assert report["command"].startswith("cgm perf config "), report["command"]
    assert report["who"].startswith("root on the host"), report["who"]
    own = one.run(os.stat, "/proc/self/ns/user").st_ino
    assert any(f"user:[{own}]" in row["why"] for row in report["layers"]), report
    # On the host root may.
    code, report = told(agent.shell(command))
    equal((code, report["command"], report["who"]), (ALLOWED, None, None))
    # Questions without sense are no answers.
    for words in (["nosuch"], ["msr"], ["a", "b"]):
        code, out, err = one.run(agent.shell, [*command, *words])
        equal((code, out), (TROUBLE, ""), words)
        assert err.startswith("cgm: perf explain: "), err


@bare
def test_cgm_perf_explain_absent(w):
    """What the host does not have nobody can mend."""
    perf.need()
    one = w.container()
    for what in ("nosuch/x/", "gpu//" if not gpus() else "nosuch//"):
        code, report = told(one.run(agent.shell, [program(), "--address", w.directory + "/none", "--json", "perf",
                                                  "explain", what]))
        equal((code, states(report)["pmu"], report["command"]), (DENIED, "refuses", None), what)


def gpus():
    return [name for name in os.listdir(perf.PMUS) if name.startswith(("i915", "xe", "amdgpu"))]


@test
def test_cgm_perf_explain(w):
    """From a refusal to what mends it, one step after the other."""
    denied_by_kernel()
    host, one = w.host(), w.container()
    for client in (one, w.inner_user(one)):
        code, report = explain(client, EVENT)
        found = states(report)
        equal((code, found["cgmd"], found["grant"]), (DENIED, "passes", "refuses"))
        equal((report["item"], report["command"]), ("cpu", "cgm perf grant CGROUP cpu"))
    # Nor where calls are handed over, and the socket is out of reach: in a container of LXC's.
    code, report = told(cgm(one, "perf", "run", "--", program(), "--address", "/nonexistent", "--json", "perf",
                            "explain", EVENT))
    found = states(report)
    equal((code, found["seccomp"], found["cgmd"]), (DENIED, "passes", "refuses"))
    equal(report["command"], "cgm perf grant CGROUP cpu")
    ok(host, "perf", "grant", "/c1", "cpu")
    code, report = explain(one, EVENT)
    equal((code, states(report)["grant"], report["command"]), (DENIED, "passes", "cgm perf run -- PROGRAM"))
    assert report["who"].startswith("you"), report["who"]
    # Which is so.
    code, report = told(cgm(one, "perf", "run", "--", program(), "--address", "unix:path=" + w.daemon.socket,
                            "--json", "perf", "explain", EVENT))
    equal((code, states(report)["perf_event_open"], report["command"]), (ALLOWED, "passes", None))
    # A grant of something else is asked for by its name.
    code, report = explain(one, "msr/tsc/")
    if code != DENIED or report["item"] != "pmu:msr":
        raise AssertionError(report)


@test
def test_cgm_perf_explain_gpu(w):
    """What intel_gpu_top wants, by the PMU that sysfs shows."""
    denied_by_kernel()
    perf.need("intel_gpu_top")
    tree, one = perf.gpu_sysfs(f"{w.directory}/sys"), w.container()
    one.run(perf.gpu_show, tree)
    code, report = explain(one, "intel_gpu_top")
    needed = [row for row in report["attempts"] if row["needed"]]
    equal((code, report["item"], report["command"]), (DENIED, "gpu", "cgm perf grant CGROUP gpu"))
    equal([(row["event"], row["all_processes"], row["errno"]) for row in needed], [("gpu//", True, errno.EACCES)])
    equal(states(report)["pmu"], "passes")


def refuse(number, error):
    """In an agent: a filter as runtimes have by default, of it and of what it starts."""
    rules = ((perf.BPF_LD_W_ABS, 0, 0, 0), (perf.BPF_JEQ, 0, 1, number), (perf.BPF_RET, 0, 0, 0x50000 | error),
             (perf.BPF_RET, 0, 0, perf.RET_ALLOW))
    code = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    agent.check(agent.libc.prctl(perf.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    agent.check(agent.libc.syscall(ctypes.c_long(perf.NR_SECCOMP), ctypes.c_long(perf.SET_MODE_FILTER),
                                   ctypes.c_ulong(0), ctypes.byref(perf.Filter(len(rules), code))), "seccomp")


@test
def test_cgm_perf_explain_seccomp(w):
    """A runtime's own filter comes before all else: no grant would help."""
    denied_by_kernel()
    one = w.container()
    one.run(refuse, perf.NR_PERF, errno.EPERM)
    code, report = explain(one, EVENT)
    equal((code, states(report)["seccomp"]), (DENIED, "refuses"))
    equal({row["errno"] for row in report["attempts"]}, {errno.EPERM})
    assert report["command"].startswith("cgm perf config "), report


@test
def test_cgm_perf_run(w):
    """Programs as they are: root's and a plain user's of a container, and of one inside it."""
    denied_by_kernel()
    perf.need("perf")
    host, one = w.host(), w.container()
    plain, two = w.inner_user(one), w.container("c1/c2", 101000, one, 1000, 60000)
    command = ["perf", "run", "--", "perf", "stat", "-x,", "-a", "-e", EVENT, "--", "true"]
    for client in (one, plain, two):
        code, out, err = cgm(client, *command)
        assert code and "limited" in out + err, (code, out, err)
    ok(host, "perf", "grant", "/c1", "cpu")
    for client in (one, plain, two):
        code, out, err = cgm(client, *command)
        counts = perf.counts(err)
        assert code == 0 and counts.get(EVENT), (code, out, err)
    # Within one that is served already.
    code, out, err = cgm(one, "perf", "run", "--", program(), "--address", "/nonexistent", *command)
    assert code == 0 and perf.counts(err).get(EVENT), (code, out, err)


@test
def test_cgm_perf_run_fails(w):
    """The program is not run where the daemon does not answer, nor is another status mistaken for its own."""
    perf.need()
    one = w.container()
    for words, code, said in ((["--address", "/nonexistent", "perf", "run", "--", "echo", "x"], 1, "cannot connect"),
                              (["perf", "run", "--", "/nonexistent/x"], 127, "No such file"),
                              (["perf", "run", "--", "/"], 126, "denied"),
                              (["perf", "run", "--", "sh", "-c", "exit 7"], 7, "")):
        got, out, err = one.run(agent.shell, [program(), "--address", "unix:path=" + w.daemon.socket, *words])
        equal((got, out), (code, ""), words)
        assert said in err, err


@test
def test_cgm_perf_config(w):
    """What is printed is what a build installs."""
    for name in ("lxc", "proxmox", "oci"):
        with open(os.path.join(os.environ["CGMD_BUILD"], f"client/profiles/{name}.conf"), encoding="utf-8") as file:
            equal(ok(w.container(), "perf", "config", name), file.read(), name)
    equal(cgm(w.container(), "perf", "config", "other")[:2], (2, ""))


@bare
def test_cgm_caps(w):
    """Sets with the user namespace that they are of, in a container and on the host."""
    one = w.container()

    def caps(client, *words):
        """Of a shell, which knows its own number."""
        shell = "exec 2>&1; " + " ".join([program(), "--json", "caps", *words]) + "; status=$?; exit $status"
        code, out, _ = client.run(agent.shell, ["sh", "-c", shell])
        equal(code, 0, out)
        return json.loads(out)

    own = one.run(os.stat, "/proc/self/ns/user").st_ino
    for found in (caps(one), caps(one, "$$")):
        equal([ns["inode"] for ns in found["user_namespaces"]], [own])
        equal(sorted(found["sets"]), ["ambient", "bounding", "effective", "inheritable", "permitted"])
        equal({row["user_namespace"] for row in found["sets"].values()}, {own})
        assert "cap_sys_admin" in found["sets"]["effective"]["capabilities"], found
        equal(found["counts_for_perf"], False)
    shell, *below = caps(one, "--recursive", "$$")
    assert any(row["name"] == "cgm" and row["parent"] == shell["pid"] for row in below), below
    plain = caps(w.inner_user(one))
    equal((plain["sets"]["effective"]["capabilities"], plain["uid"]["effective"]), ([], 1000))
    found = json.loads(agent.shell([program(), "--json", "caps"])[1])
    equal((found["counts_for_perf"], found["user_namespaces"][0]["initial"]), (True, True))
    code, out, err = one.run(agent.shell, [program(), "caps", "2147483647"])
    equal((code, out, err), (1, "", "cgm: caps: there is no process 2147483647\n"))

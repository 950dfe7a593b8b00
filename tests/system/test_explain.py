# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is said of devices where others have attached programs, and where we have: the kernel's own verdict,
asked by a process in the cgroup. Nothing is opened: access(2) asks the same program."""

import errno
import itertools
import os
import stat

import agent
import bpf
import runtimes
from harness import Skip, each, equal, test
from runtimes import rule
from world import have, make, where

KIND = "unified"
NODES = "/run/explain"
ACCESSES = ("r", "w", "m", "rw", "rwm")
# By what their rules have, and what each runtime gives to every container, with those next to them.
MAJORS = {0: (1, 7), 1: (2, 3, 4, 5, 7, 8, 9, 10), 5: (0, 1, 2, 3), 7: (0, 3), 8: (0, 1, 16), 9: (7,),
          10: (199, 200, 201, 228, 229, 230, 232), 116: (0, 33), 135: (0,), 136: (0, 5, 1048575),
          137: (5,), 226: (0, 128, 129), 240: (6, 7, 8), 241: (7,), 259: (0, 7), 4095: (7, 1048575)}
DENY_ALL = rule(False, "rwm")
RULES = {
    "default": [DENY_ALL],
    "more": [DENY_ALL, rule(True, "rwm", "c", 10, 229), rule(True, "r", "c", 116), rule(True, "w", "c", 116, 33),
             rule(True, "rw", "b", 8), rule(True, "rm", "b", 7, 0), rule(True, "rwm", "c", None, 7)],
    "holes": [DENY_ALL, rule(True, "rwm", "c", 240), rule(False, "rwm", "c", 240, 7),
              rule(True, "rw", "c", 226), rule(False, "w", "c", 226, 128)],
    "all-but": [rule(True, "rwm"), rule(False, "rwm", "c", 10, 232), rule(False, "rwm", "b", 8, 0)],
}
# What is listed of those that are made by the first of these.
LISTED = {
    "crun": ["default deny", "allow c *:* m", "allow c 1:3 rwm", "allow c 1:5 rwm", "allow c 1:7-9 rwm",
             "allow c 5:0-2 rwm", "allow c 136:* rwm", "allow b *:* m"],
    "runc": ["default deny", "allow c *:* m", "allow c 1:3 rwm", "allow c 1:5 rwm", "allow c 1:7-9 rwm",
             "allow c 5:0 rwm", "allow c 5:2 rwm", "allow c 10:200 rwm", "allow c 136:* rwm",
             "allow b *:* m"],
}
# runc takes nothing out of what is allowed ("cannot punch hole"), for cgroup v1 could not.
CASES = [case for case in itertools.product(runtimes.RUNTIMES, RULES) if case != ("runc", "holes")]


def devices():
    return [(kind, major, minor) for kind in "cb" for major, minors in MAJORS.items() for minor in minors]


def node(kind, major, minor, name):
    os.mknod(name, 0o600 | (stat.S_IFCHR if kind == "c" else stat.S_IFBLK), os.makedev(major, minor))


def nodes():
    """In the host's agent, which may make them all."""
    os.mkdir(NODES)
    agent.mount("tmpfs", NODES, "tmpfs")
    for device in devices():
        node(*device, f"{NODES}/{'-'.join(map(str, device))}")


def permitted(function, *args):
    try:
        return function(*args) is not False
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        return False


def verdict(device, access):
    """The kernel's, of the process that asks."""
    name, other = f"{NODES}/{'-'.join(map(str, device))}", f"{NODES}/other"
    mode = (os.R_OK if "r" in access else 0) | (os.W_OK if "w" in access else 0)
    allowed = not mode or os.access(name, mode)
    if "m" in access:
        made = permitted(node, *device, other)
        allowed = allowed and made
        if made:
            os.unlink(other)
    return allowed


def verdicts(place):
    """In a child, which is put into the cgroup of a directory: of all devices and accesses."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with open(f"{place}/cgroup.procs", "w") as procs:
                procs.write("0")
            answer = bytes(verdict(*question) for question in itertools.product(devices(), ACCESSES))
            os.write(tell, answer)
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    with open(told, "rb") as pipe:
        answer = pipe.read()
    equal(os.waitpid(pid, 0)[1], 0)
    return list(map(bool, answer))


class Explained:
    """A cgroup of v2, what the kernel does with its devices, and what is said of it."""

    def __init__(self, w, path):
        self.host, self.path = w.host(), path
        if not have(KIND):
            raise Skip("no cgroup v2 is mounted here")
        if not os.path.isdir(NODES):
            self.host.run(nodes)

    def compare(self, who=None):
        """Every verdict; those that deny name the cgroup `who`. Returns how many of each there were."""
        kernel = self.host.run(verdicts, where(KIND, self.path))
        for (device, access), allowed in zip(itertools.product(devices(), ACCESSES), kernel):
            text = "{} {}:{}".format(*device)
            said, by, why = self.host.CheckDevice("/" + self.path, text, access)
            equal((said, why.split(":")[0]), (allowed, "allowed" if allowed else "denied"),
                  f"{text} {access} ({why})")
            if not allowed and who is not None:
                equal(by, who, f"{text} {access}")
        return kernel.count(True), kernel.count(False)

    def rules(self):
        return [text for text, _, _ in self.host.ListDevices("/" + self.path)]


@each(*CASES)
def test_explain_runtime(w, runtime, name):
    """What crun and runc have attached is answered as the kernel answers."""
    if runtimes.missing(runtime):
        raise Skip(runtimes.missing(runtime))
    cgroup = f"explain-{runtime}"
    explained = Explained(w, cgroup)
    container = runtimes.Container(w.directory, runtime, cgroup, RULES[name])
    try:
        assert bpf.attached(where(KIND, cgroup))[1], "it has attached no program"
        allowed, denied = explained.compare("/" + cgroup)
        assert allowed and denied, (allowed, denied)
        if name == "default":
            equal(explained.rules(), LISTED[runtime])
    finally:
        container.close()


@test
def test_explain_ours(w):
    """And so is what we have attached."""
    explained = Explained(w, "ours")
    make(KIND, "ours")
    for rules in (["default deny", "allow c 1:* rw", "deny c 1:5 w", "allow c *:7 m", "allow b 8:0-1 rwm"],
                  ["deny c 10:* rwm", "allow c 10:229 r", "deny b *:* m"]):
        explained.host.SetDevices("/ours", rules)
        allowed, denied = explained.compare("/ours")
        assert allowed and denied, (allowed, denied)


@test
def test_explain_both(w):
    """Of several cgroups the one that refuses is named, whoever it belongs to."""
    explained = Explained(w, "above/theirs/below")
    make(KIND, "above/theirs/below")
    explained.host.SetDevices("/above", ["deny c 1:5 rwm"])
    bpf.attach(where(KIND, "above/theirs"), bpf.denies(10, 229), name="theirs")
    explained.host.SetDevices("/above/theirs/below", ["deny b 8:* w"])
    explained.compare()
    for device, access, who in (("c 1:5", "r", "/above"), ("c 10:229", "m", "/above/theirs"),
                                ("b 8:0", "w", "/above/theirs/below"), ("b 8:0", "r", "")):
        allowed, by, why = explained.host.CheckDevice("/above/theirs/below", device, access)
        equal((allowed, by), (not who, who), why)
        assert "theirs" in why or who != "/above/theirs", why

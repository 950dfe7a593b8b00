# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device rules: who may set which, and that the kernel keeps them. On hybrid hosts in both hierarchies at
once. What is said of a device is compared with what an open of it says."""

import errno
import os
import stat
import time

import agent
import bpf
import wire
import world
from agent import wait_until
from cgroups import is_leaf, leaf_of
from harness import Skip, bare, each, equal, test
from world import PURE, have, make, read, where, write

# /dev/null, /dev/zero, /dev/full, /dev/random: nothing happens to whoever opens them.
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8)}
NULL, ZERO, FULL = "c 1:3", "c 1:5", "c 1:7"
KINDS = [kind for kind in ("unified",) + (() if PURE else ("devices",)) if have(kind)]
V1 = "devices" in KINDS and not PURE
# Beside what a test has of its own in /run, for as long as the cage is there.
NODES = "/run/nodes"
BPFFS = "/sys/fs/bpf"


def nodes():
    """In the host's agent: nodes on a tmpfs of the initial user namespace, which containers see too."""
    if os.path.isdir(NODES):
        return
    os.mkdir(NODES)
    agent.mount("tmpfs", NODES, "tmpfs")
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"{NODES}/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(f"{NODES}/{name}", 0o666)


def opens(path, flags=os.O_RDWR):
    """0, or why not."""
    try:
        os.close(os.open(path, flags | os.O_CLOEXEC))
    except OSError as error:
        return error.errno
    return 0


def enter(place):
    """This process, or into the leaf where the cgroup can hold none."""
    try:
        write(f"{place}/cgroup.procs", 0)
    except OSError as error:
        if not PURE or error.errno != errno.EBUSY:
            raise
        write(f"{leaf_of(place)}/cgroup.procs", 0)


def opens_in(places, path, flags=os.O_RDWR):
    """As a child of this process that is put into those cgroups first (by their directories)."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            for place in places:
                enter(place)
            code = opens(path, flags)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Devices:
    """What a test needs of its world; before there are containers, which take the nodes along."""

    def __init__(self, w):
        self.w, self.host = w, w.host()
        self.host.run(nodes)

    def opens(self, path, name, flags=os.O_RDWR):
        """Does a task of the host in the cgroup (as the cage names it) open it? The kernel's word."""
        code = self.host.run(opens_in, [where(k, path) for k in KINDS if os.path.isdir(where(k, path))],
                             f"{NODES}/{name}", flags)
        assert code in (0, errno.EPERM), (path, name, os.strerror(code))
        return code == 0

    def verdicts(self, path):
        return {name: self.opens(path, name) for name in DEVICES}

    def check(self, path, **wanted):
        """These and no others can be opened, and CheckDevice says so too."""
        equal(self.verdicts(path), {**dict.fromkeys(DEVICES, True), **wanted}, path)
        for name, (major, minor) in DEVICES.items():
            allowed, _, why = self.host.CheckDevice("/" + path, f"c {major}:{minor}", "rw")
            equal((allowed, why.split(":")[0]),
                  (wanted.get(name, True), "allowed" if wanted.get(name, True) else "denied"),
                  f"{path} {name} {why}")

    def only(self, path, *names):
        self.check(path, **{name: name in names for name in DEVICES})


def make_all(path, uid=0):
    for kind in KINDS:
        make(kind, path, uid)


def lines(client, path, kind="cgmd"):
    """The rules that cgmd's programs have there, as text."""
    return [rule for rule, _, whose in client.ListDevices(path) if whose == kind]


def state(w):
    """All rules of all cgroups, as the daemon and the kernel tell them."""
    found = {}
    for kind in KINDS:
        for path in world.directories(where(kind)):
            if is_leaf(path):
                continue
            if kind == "devices" and not PURE:
                found[path] = read(f"{path}/devices.list")
            else:
                found[path] = (bpf.attached(path), w.host().ListDevices(path.removeprefix(where(kind)) or "/"))
    return found


def refused(w, client, why, member, *args):
    """And nothing has changed."""
    before = state(w)
    message = client.refused(why, member, *args)
    equal(state(w), before, f"{member}{args}")
    return message


# What is set is what the kernel does, and what is listed.

@test
def test_device_set(w):
    d = Devices(w)
    make_all("x")
    d.check("x")
    equal(d.host.SetDevices("/x", [f"allow {NULL} rw", "allow c 1:5 rwm", "default deny"]), [])
    d.only("x", "null", "zero")
    equal(lines(d.host, "/x"), ["default deny", "allow c 1:3 rw", "allow c 1:5 rwm"])
    equal(d.host.ListDevices("/x")[0][1:], ("/x", "cgmd"))
    equal(d.host.SetDevices("/x", [f"deny {FULL} rwm"]), [])
    d.check("x", full=False)
    equal(lines(d.host, "/x"), ["default allow", "deny c 1:7 rwm"])
    equal(d.host.SetDevices("/x", []), [])
    d.check("x")
    equal(lines(d.host, "/x"), [])
    # Who allows something and says nothing of the rest means that alone.
    d.host.SetDevices("/x", [f"allow {NULL} rwm"])
    d.only("x", "null")


@test
def test_device_allow_deny(w):
    d = Devices(w)
    make_all("x")
    equal(d.host.AllowDevices("/x", NULL, "rwm"), [])
    equal(lines(d.host, "/x"), [])
    d.host.DenyDevices("/x", NULL, "rw")
    d.host.DenyDevices("/x", ZERO, "w")
    d.check("x", null=False, zero=False)
    equal(d.opens("x", "zero", os.O_RDONLY), True)
    equal(d.opens("x", "null", os.O_RDONLY), False)
    d.host.AllowDevices("/x", NULL, "r")
    equal(d.opens("x", "null", os.O_RDONLY), True)
    d.check("x", null=False, zero=False)
    d.host.AllowDevices("/x", NULL, "w")
    d.host.AllowDevices("/x", ZERO, "w")
    d.check("x")
    d.host.SetDevices("/x", ["default deny"])
    d.only("x")
    d.host.AllowDevices("/x", ZERO, "rwm")
    d.only("x", "zero")
    equal(lines(d.host, "/x"), ["default deny", "allow c 1:5 rwm"])
    d.host.DenyDevices("/x", ZERO, "rwm")
    d.only("x")


@test
def test_device_names(w):
    d = Devices(w)
    make_all("x")
    d.host.SetDevices("/x", ["allow /dev/null rw", "allow kvm rw", "allow oci-default rwm"])
    equal(lines(d.host, "/x"),
          ["default deny", "allow /dev/null rw", "allow kvm rw", "allow oci-default rwm"])
    d.check("x")
    equal(d.host.CheckDevice("/x", "kvm", "rw")[0], True)
    equal(d.host.CheckDevice("/x", "/dev/zero", "r")[0], True)
    equal(d.host.CheckDevice("/x", "b 7:0", "r")[0], False)
    equal(d.host.ResolveDevice("/dev/null"), [("c", 1, 3, "/dev/null")])
    equal(d.host.ResolveDevice("c 1:3"), [("c", 1, 3, "")])
    equal([row[:3] for row in d.host.ResolveDevice("snd")], [("c", 116, 2 ** 32 - 1)])


def wrong_rules():
    """(rule, why)"""
    return (("", "DEVICE_RULE"), ("allow", "DEVICE_RULE"), ("permit c 1:3 r", "DEVICE_RULE"),
            ("allow c 1:3 x", "DEVICE_ACCESS"), ("allow c 1:3 rr", "DEVICE_ACCESS"),
            ("allow c 4096:3 r", "DEVICE_NUMBER"), ("allow c 1:1048576 r", "DEVICE_NUMBER"),
            ("allow c 99999999999:1 r", "DEVICE_NUMBER"), ("allow nosuch r", "DEVICE_NAME"),
            ("allow gpu@0000:ff:1f.7 r", "DEVICE_MISSING"), ("allow /dev/no-such-node r", "DEVICE_MISSING"),
            ("allow /dev/fd r", "DEVICE_PATH"), ("allow /dev/stdin r", "DEVICE_PATH"),
            ("allow /dev/../etc/passwd r", ("DEVICE_NAME", "DEVICE_PATH")),
            ("allow /dev/pts r", ("DEVICE_NODE", "DEVICE_PATH")), ("allow /dev/shm r", ("DEVICE_NODE", "DEVICE_PATH")))


@test
def test_device_bad_input(w):
    d = Devices(w)
    make_all("x")
    d.host.SetDevices("/x", [f"allow {NULL} rwm", f"allow {ZERO} rwm"])
    for rule, why in wrong_rules():
        refused(w, d.host, why, "SetDevices", "/x", ["default deny", f"allow {NULL} rw", rule])
    for device, access, why in (("c 1", "r", "DEVICE_RULE"), (NULL, "", "DEVICE_ACCESS"),
                                ("", "r", ("DEVICE_NAME", "DEVICE_RULE")), ("/dev/fd", "r", "DEVICE_PATH")):
        for member in ("AllowDevices", "DenyDevices", "CheckDevice"):
            refused(w, d.host, why, member, "/x", device, access)
    refused(w, d.host, "SCOPE_ROOT", "SetDevices", "/", ["default deny"])
    refused(w, d.host, "CGROUP_MISSING", "SetDevices", "/y", ["default deny"])
    refused(w, d.host, "PATH_DOTDOT", "SetDevices", "/x/../x", ["default deny"])
    for name in ("nosuch", "/dev/no-such-node", "/dev/fd"):
        refused(w, d.host, ("DEVICE_NAME", "DEVICE_MISSING", "DEVICE_PATH"), "ResolveDevice", name)
    d.only("x", "null", "zero")


# Below others: never wider.

@test
def test_device_nested(w):
    d = Devices(w)
    make_all("c1", world.BASE)
    d.host.SetDevices("/c1", [f"allow {NULL} rwm", f"allow {ZERO} rwm", "allow all-mknod m"])
    one = w.container("c1")
    # What binds it is above it.
    refused(w, one, "SCOPE_ROOT", "AllowDevices", "/", FULL, "rw")
    refused(w, one, "SCOPE_ROOT", "SetDevices", "", [])
    refused(w, one, "CGROUP_MISSING", "SetDevices", "/x", ["default deny"])
    one.Create("all", "x")
    one.SetDevices("/x", [f"allow {NULL} rw"])
    d.only("c1/x", "null")
    d.only("c1", "null", "zero")
    equal([r for r in one.ListDevices("/x") if r[2] == "cgmd"],
          [("default deny", "/", "cgmd"), ("allow c 1:3 rwm", "/", "cgmd"), ("allow c 1:5 rwm", "/", "cgmd"),
           ("allow all-mknod m", "/", "cgmd"), ("default deny", "/x", "cgmd"), ("allow c 1:3 rw", "/x", "cgmd")])
    message = refused(w, one, "DEVICE_WIDER", "AllowDevices", "/x", FULL, "rw")
    assert "c1" not in message, message
    refused(w, one, "DEVICE_WIDER", "SetDevices", "/x", [f"allow {NULL} rw", f"allow {FULL} r"])
    refused(w, d.host, "DEVICE_WIDER", "AllowDevices", "/c1/x", FULL, "r")
    one.AllowDevices("/x", ZERO, "rw")
    d.only("c1/x", "null", "zero")
    # Where nothing is said, nothing is added.
    one.SetDevices("x", [f"deny {NULL} w"])
    d.only("c1/x", "zero")
    equal(d.opens("c1/x", "null", os.O_RDONLY), True)
    one.Create("all", "x/y")
    one.DenyDevices("x/y", ZERO, "rw")
    d.only("c1/x/y")
    equal(one.CheckDevice("x/y", ZERO, "r")[:2], (False, "/x/y"))
    equal(one.CheckDevice("x/y", FULL, "r")[:2], (False, "/"))
    # What is taken from the parent goes at once.
    d.host.DenyDevices("/c1", ZERO, "rw")
    d.only("c1/x")
    d.only("c1", "null")


@test
def test_device_three_deep(w):
    d = Devices(w)
    make_all("c1", world.BASE)
    d.host.SetDevices("/c1", [f"allow {n} rwm" for n in (NULL, ZERO, FULL)])
    one = w.container("c1")
    make_all("c1/c2", 101000)
    one.SetDevices("/c2", [f"allow {NULL} rwm", f"allow {ZERO} rwm"])
    two = w.container("c1/c2", 101000, one, 1000, 60000)
    two.Create("all", "x")
    refused(w, two, "SCOPE_ROOT", "AllowDevices", "/", FULL, "rw")
    refused(w, two, "DEVICE_WIDER", "AllowDevices", "/x", FULL, "rw")
    two.DenyDevices("/x", ZERO, "rwm")
    d.only("c1/c2/x", "null")
    d.only("c1/c2", "null", "zero")
    # A sibling's, and the one above's, are not even there.
    refused(w, two, "CGROUP_MISSING", "SetDevices", "/c2", ["default deny"])
    equal({row[1] for row in two.ListDevices("/x")}, {"", "/", "/x"})
    equal(two.CheckDevice("/x", "c 1:8", "r")[:2], (False, ""))
    user = w.inner_user(two, 1000, "c1/c2/u1000", 101000)
    refused(w, user, "PARENT_PRIVILEGE", "SetDevices", "", [f"allow {ZERO} rwm"])


def set_on(path, lists):
    """Until the daemon is gone."""
    try:
        while True:
            for rules in lists:
                agent.here["bus"].call("SetDevices", path, rules)
    except wire.Dropped:
        pass


@test
def test_device_hidden(w):
    """What its cgroup may not have answers as what does not exist."""
    d = Devices(w)
    make_all("c1", world.BASE)
    d.host.SetDevices("/c1", [f"allow {NULL} rw", "allow all-mknod m"])
    one = w.container("c1")
    one.Create("all", "x")
    equal(one.ResolveDevice("/dev/null"), [("c", 1, 3, "/dev/null")])
    said = set()
    for name in ("/dev/zero", "/dev/no-such-node", "/dev/fd", "/dev/shm", "gpu@0000:ff:1f.7"):
        said.add(refused(w, one, "DEVICE_MISSING", "ResolveDevice", name).replace(name, "NAME"))
        for member in ("AllowDevices", "DenyDevices", "CheckDevice"):
            refused(w, one, "DEVICE_MISSING", member, "/x", name, "r")
        refused(w, one, "DEVICE_MISSING", "SetDevices", "/x", [f"allow {name} r"])
    equal(len(said), 1)
    equal(one.ResolveDevice("fuse"), [])
    # Numbers are everybody's.
    equal(one.CheckDevice("/x", ZERO, "r")[:2], (False, "/"))
    for gpus in (one.ListGpus(), [g for g in one.ResolveDevice("gpu")]):
        equal(gpus, [])


def node_at(path, minor):
    """A node of /dev/null's kind at this path, in place of what is there, and an event as if it were new."""
    if os.path.lexists(path):
        os.unlink(path)
    if minor is None:
        return
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    write("/sys/class/mem/null/uevent", "add")


@test
def test_device_renumbered(w):
    """Rules with names follow the devices, and nothing else is touched."""
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    d = Devices(w)
    name = f"/dev/cgmd-test-{os.getpid()}"
    make("unified", "x")
    make("unified", "y")
    try:
        d.host.run(node_at, name, 5)
        d.host.SetDevices("/x", [f"allow {name} rw", f"allow {NULL} rw"])
        d.host.SetDevices("/y", [f"allow {ZERO} rw", f"allow {NULL} rw"])
        equal(d.host.CheckDevice("/x", ZERO, "rw")[0], True)
        listed = d.host.ListDevices("/x")
        d.host.run(node_at, name, 7)
        wait_until(lambda: d.host.CheckDevice("/x", FULL, "rw")[0], "the rule follows")
        equal(d.host.CheckDevice("/x", ZERO, "rw")[0], False)
        equal(d.host.CheckDevice("/x", NULL, "rw")[0], True)
        equal(d.host.ListDevices("/x"), listed)
        equal([d.host.CheckDevice("/y", n, "rw")[0] for n in (NULL, ZERO, FULL)], [True, True, False])
        # Also what happened while nobody was there.
        w.daemon.kill()
        d.host.run(node_at, name, 5)
        w.start()
        d.host.reconnect()
        equal(d.host.CheckDevice("/x", ZERO, "rw")[0], True)
        equal(d.host.CheckDevice("/x", FULL, "rw")[0], False)
    finally:
        d.host.run(node_at, name, None)


@test
def test_device_renumbered_many(w):
    """However many rules have names, others are answered before all have followed; and in the end all have."""
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    d = Devices(w)
    name, count = f"/dev/cgmd-many-{os.getpid()}", 60
    for i in range(count):
        make("unified", f"x{i}")

    def follows(i, device):
        return d.host.CheckDevice(f"/x{i}", device, "rw")[0]

    def some_before_others(minor, device):
        """Did anybody see that the ones had followed, and others not yet?"""
        d.host.run(node_at, name, minor)
        # Asked in the order in which they follow: if all did at once, none is seen to follow before the other.
        while not (some := [follows(i, device) for i in (count - 1, 0)]).count(True):
            pass
        return some == [True, False]

    try:
        d.host.run(node_at, name, 5)
        for i in range(count):
            d.host.SetDevices(f"/x{i}", [f"allow gpu:{n:05}x r" for n in range(1500)] + [f"allow {name} rw"])
        assert any(some_before_others(*at) for at in ((7, FULL), (5, ZERO)) * 10)
        d.host.run(node_at, name, 7)
        wait_until(lambda: all(follows(i, FULL) and not follows(i, ZERO) for i in range(count)), "all follow")
    finally:
        d.host.run(node_at, name, None)


@test
def test_device_list_too_long(w):
    """A list that is too long to be sent is refused, and the connection goes on."""
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    d = Devices(w)
    names = ["d" * 240] * 15
    os.makedirs(where("unified", "/".join(names)))
    paths = ["/" + "/".join(names[:i]) for i in (14, 15)]
    for path in paths:
        d.host.SetDevices(path, [f"deny c {i}:{i} r" for i in range(1000)])
    equal(len(d.host.ListDevices(paths[0])), 1001)
    refused(w, d.host, "MANY_ENTRIES", "ListDevices", paths[1])
    equal(d.host.CheckDevice(paths[1], "c 7:7", "r")[0], False)


# What the policy file grants.

def policy(w, text):
    """A policy file, and the options that name it."""
    path = f"{w.directory}/policy.conf"
    write(path, text)
    return ("--policy", path)


@bare
def test_device_granted(w):
    w.start(*policy(w, f"""[devices /lxc/c*]
uid = {world.BASE}
allow = c 1:7, /dev/random
access = rw
"""))
    d = Devices(w)
    for path, uid in (("lxc", 0), ("lxc/c1", world.BASE), ("lxc/c2", world.BASE)):
        make_all(path, uid)
        d.host.SetDevices("/" + path, [f"allow {NULL} rwm"])
    one = w.container("lxc/c1")
    d.only("lxc/c1", "null")
    # Neither what is not granted, nor more access, nor by another call.
    refused(w, one, "SCOPE_ROOT", "AllowDevices", "", ZERO, "rw")
    refused(w, one, "SCOPE_ROOT", "AllowDevices", "", FULL, "rwm")
    refused(w, one, "SCOPE_ROOT", "SetDevices", "", [f"allow {FULL} rw"])
    refused(w, one, "SCOPE_ROOT", "DenyDevices", "", FULL, "rw")
    # What is widened above is nobody's below to know.
    equal(one.AllowDevices("", FULL, "rw"), [])
    d.only("lxc/c1", "null", "full")
    d.only("lxc/c2", "null")
    d.only("lxc", "null", "full")
    assert "the rules of /lxc are wider now" in w.daemon.log(), w.daemon.log()
    one.AllowDevices("/", "/dev/random", "r")
    equal(d.opens("lxc/c1", "random", os.O_RDONLY), True)
    equal(d.opens("lxc/c1", "random", os.O_WRONLY), False)
    # Whom the section does not name.
    make_all("lxc/c3", 300000)
    other = w.container("lxc/c3", 300000)
    refused(w, other, "SCOPE_ROOT", "AllowDevices", "", FULL, "rw")
    make_all("lxc/d", world.BASE)
    refused(w, w.container("lxc/d"), "SCOPE_ROOT", "AllowDevices", "", FULL, "rw")


@bare
def test_device_granted_siblings(w):
    w.start(*policy(w, "[devices /p/x]\nallow = c 1:7\n"))
    d = Devices(w)
    make_all("p")
    d.host.SetDevices("/p", [f"allow {NULL} rwm"])
    for path in ("p/x", "p/y", "p/z"):
        make_all(path)
    widened = d.host.AllowDevices("/p/x", FULL, "rw")
    equal(set(widened), {"/p/y", "/p/z"})
    d.only("p", "null", "full")


@bare
def test_device_granted_not_others(w):
    """A program that is not cgmd's is not widened, and nothing is left half done."""
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    w.start(*policy(w, "[devices /p/**]\nallow = c 1:7\n"))
    d = Devices(w)
    make_all("p")
    d.host.SetDevices("/p", [f"allow {NULL} rwm"])
    make_all("p/q")
    make_all("p/q/x")
    bpf.attach(where("unified", "p/q"), bpf.denies(1, 7), name="theirs")
    message = refused(w, d.host, "DEVICE_WIDER", "AllowDevices", "/p/q/x", FULL, "rw")
    assert "theirs in /p/q" in message, message
    d.only("p/q/x", "null")


# Programs of others.

@each("multi", "override", "plain")
def test_device_others(w, how):
    """Above: what it denies, cgmd does not promise; what would be replaced, it leaves."""
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    d = Devices(w)
    make_all("p")
    make_all("p/x")
    bpf.attach(where("unified", "p"), bpf.denies(1, 7), getattr(bpf, how.upper()), "theirs")
    d.check("p/x", full=False)
    theirs = [row for row in d.host.ListDevices("/p/x") if row[1:] == ("/p", "theirs")]
    equal(theirs[0][0], "default allow")
    assert ("deny c 1:7 rwm", "/p", "theirs") in theirs, theirs
    allowed, who, why = d.host.CheckDevice("/p/x", FULL, "r")
    equal((allowed, who), (False, "/p"))
    assert why.startswith("denied:") and "theirs" in why, why
    if how == "multi":
        message = refused(w, d.host, "DEVICE_WIDER", "AllowDevices", "/p/x", FULL, "r")
        assert "theirs" in message and "/p" in message, message
        d.host.DenyDevices("/p/x", NULL, "rwm")
        d.check("p/x", full=False, null=False)
        d.host.DenyDevices("/p", ZERO, "rwm")
        d.check("p/x", full=False, null=False, zero=False)
        d.check("p", full=False, zero=False)
    else:
        for path in ("/p/x", "/p"):
            message = refused(w, d.host, "DEVICE_OVERRIDE", "DenyDevices", path, NULL, "rwm")
            assert "/p" in message, message
        d.check("p/x", full=False)


@test
def test_device_unknown(w):
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    d = Devices(w)
    make_all("p")
    bpf.attach(where("unified", "p"), bpf.secret(), name="secret")
    equal([row for row in d.host.ListDevices("/p") if row[2] == "secret"], [("unknown", "/p", "secret")])
    allowed, who, why = d.host.CheckDevice("/p", NULL, "rw")
    equal((allowed, who), (False, "/p"))
    assert why.startswith("unknown:") and "secret" in why, why
    # What is denied for sure is no secret.
    d.host.DenyDevices("/p", NULL, "rwm")
    allowed, who, why = d.host.CheckDevice("/p", NULL, "rw")
    assert why.startswith("denied:"), why


# The daemon comes and goes.

def watch_opens(places, sure):
    """A child in the cgroups that opens nodes until it is told to stop; it notes what is not as `sure` says."""
    stop, told = os.pipe()
    answer, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        for place in places:
            enter(place)
        os.close(told)
        os.set_blocking(stop, False)
        wrong, count = [], 0
        while True:
            for name, wanted in sure.items():
                code = opens(f"{NODES}/{name}")
                if code != wanted:
                    wrong.append((name, code))
                count += 1
            try:
                if os.read(stop, 1) == b"":
                    break
            except BlockingIOError:
                pass
        os.write(said, f"{count} {len(wrong)} {wrong[:5]}".encode())
        os._exit(0)
    os.close(stop)
    os.close(said)
    agent.here["watch"] = pid, told, answer


def watched():
    pid, told, answer = agent.here.pop("watch")
    os.close(told)
    os.waitpid(pid, 0)
    text = os.read(answer, 4096).decode()
    os.close(answer)
    return text


def told(w):
    """As state(), without the programs' numbers: those that are not pinned are made anew."""
    return {path: (rules[0][0], len(rules[0][1]), rules[1]) if isinstance(rules, tuple) else rules
            for path, rules in state(w).items()}


def restarts(w, *options):
    """At no moment is anything answered otherwise, and all is listed as before."""
    w.start(*options)
    d = Devices(w)
    make_all("x")
    make_all("x/y")
    d.host.SetDevices("/x/y", [f"deny {FULL} rwm", "deny kvm rw"])
    make_all("z")
    d.host.SetDevices("/z", [f"allow {NULL} rwm", "allow /dev/zero rw"])
    before = told(w)
    sure = {"null": 0, "zero": 0, "full": errno.EPERM, "random": errno.EPERM}
    d.host.run(watch_opens, [where(k, "z") for k in KINDS], sure)
    try:
        for _ in range(3):
            w.daemon.kill()
            w.start(*options)
            d.host.reconnect()
            equal(told(w), before)
            # Rules that go to a larger policy, and back.
            d.host.SetDevices("/z", [f"allow {NULL} rwm", "allow /dev/zero rw",
                                     *(f"allow c {major}:1 rw" for major in range(200, 300))])
            d.host.SetDevices("/z", [f"allow {NULL} rwm", "allow /dev/zero rw"])
    finally:
        said = d.host.run(watched).split(" ", 2)
    assert int(said[0]) > 100 and said[1] == "0", said
    d.only("z", "null", "zero")
    d.check("x/y", full=False)


@bare
def test_device_restart(w):
    restarts(w)


@bare
def test_device_restart_direct(w):
    """Without pins the programs are others' after a restart, and taken over."""
    restarts(w, "--bpffs", "/run")


@bare
def test_device_restart_programs(w):
    restarts(w, "--device-programs", "programs")


@bare
def test_device_restart_killed(w):
    """Killed while it works: what is there then is one of the lists of rules, whole."""
    w.start()
    d = Devices(w)
    make_all("x")
    lists = ([f"allow {NULL} rwm", "allow c 1:8 rw"], [f"allow {NULL} rwm", f"allow {ZERO} rw"])
    for turn in range(8):
        for rules in lists:
            d.host.SetDevices("/x", rules)
        d.host.agent.start(set_on, "/x", lists)
        time.sleep(0.005 * turn)
        w.daemon.kill()
        d.host.agent.finish()
        w.start()
        d.host.reconnect()
        listed = lines(d.host, "/x")
        if "unified" in KINDS:
            assert listed in [["default deny", *rules] for rules in lists], listed
        d.host.SetDevices("/x", lists[0])
        d.only("x", "null", "random")


def drop_pins():
    """Ends the links, and with them what they attach."""
    for name in os.listdir(f"{BPFFS}/cgmd/links"):
        os.unlink(f"{BPFFS}/cgmd/links/{name}")


def drift(w, *options):
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    w.start(*options)
    d = Devices(w)
    make_all("x")
    d.host.SetDevices("/x", [f"allow {NULL} rwm"])
    before = told(w)
    number = bpf.attached(where("unified", "x"))[1]
    equal(len(number), 1)
    yield
    wait_until(lambda: "device rules of /x were taken away" in w.daemon.log(), "it is seen")
    equal(bpf.attached(where("unified", "x")), (bpf.MULTI, number))
    equal(told(w), before)
    d.only("x", "null")


@bare
def test_device_drift_direct(w):
    for _ in drift(w, "--bpffs", "/run"):
        bpf.detach(where("unified", "x"))


@bare
def test_device_drift_pinned(w):
    for _ in drift(w):
        drop_pins()


@bare
def test_device_drift_before_a_call(w):
    """Whoever calls before it is seen finds, and changes, what there was."""
    if "unified" not in KINDS:
        raise Skip("no cgroup v2")
    w.start("--bpffs", "/run")
    d = Devices(w)
    make_all("x")
    d.host.SetDevices("/x", [f"allow {NULL} rwm"])
    rules = ["default deny", "allow c 1:3 rwm"]
    bpf.detach(where("unified", "x"))
    equal(lines(d.host, "/x"), rules)
    bpf.detach(where("unified", "x"))
    equal(d.host.CheckDevice("/x", FULL, "r")[0], False)
    bpf.detach(where("unified", "x"))
    d.host.AllowDevices("/x", ZERO, "rw")
    equal(lines(d.host, "/x"), rules + ["allow c 1:5 rw"])
    bpf.detach(where("unified", "x"))
    d.host.DenyDevices("/x", ZERO, "rw")
    d.only("x", "null")


@test
def test_device_removed(w):
    """A new cgroup of an old name has nothing of it."""
    d = Devices(w)
    for _ in range(3):
        make_all("x")
        d.check("x")
        d.host.SetDevices("/x", [f"allow {NULL} rwm"])
        d.only("x", "null")
        for kind in KINDS:
            os.rmdir(where(kind, "x"))
    make_all("x")
    equal(lines(d.host, "/x"), [])


# Both hierarchies.

@test
def test_device_in_step(w):
    if len(KINDS) < 2:
        raise Skip("one hierarchy governs devices here")
    d = Devices(w)
    make_all("x")
    d.host.SetDevices("/x", [f"allow {NULL} rw", f"allow {ZERO} r"])
    listed = where("devices", "x") + "/devices.list"
    equal(sorted(read(listed).splitlines()), ["c 1:3 rw", "c 1:5 r"])
    d.host.AllowDevices("/x", FULL, "rwm")
    d.host.DenyDevices("/x", NULL, "w")
    equal(sorted(read(listed).splitlines()), ["c 1:3 r", "c 1:5 r", "c 1:7 rwm"])
    equal([r for r in d.host.ListDevices("/x") if r[2] == "v1"],
          [("default deny", "/x", "v1"), *((f"allow {line}", "/x", "v1") for line in read(listed).splitlines())])
    # One that is only in one of them.
    make("devices", "only")
    d.host.SetDevices("/only", [f"allow {NULL} rw"])
    equal(read(where("devices", "only") + "/devices.list"), "c 1:3 rw\n")
    make("unified", "other")
    d.host.SetDevices("/other", [f"allow {NULL} rw"])
    equal(lines(d.host, "/other"), ["default deny", "allow c 1:3 rw"])


@bare
def test_device_v1_alone(w):
    """v1 does not show what it denies where it allows the rest: then nobody says that all is allowed."""
    if not V1:
        raise Skip("no devices controller of cgroup v1")
    w.start("--device-programs", "off")
    host = w.host()
    make("devices", "x")
    equal(host.CheckDevice("/x", FULL, "rw")[0], True)
    equal(host.ListDevices("/x"), [("default allow", "/x", "v1")])
    host.DenyDevices("/x", FULL, "rwm")
    make("devices", "x/y")
    for path in ("/x", "/x/y"):
        allowed, who, why = host.CheckDevice(path, FULL, "rw")
        equal((allowed, who, why.split(":")[0]), (False, path, "unknown"))
        assert ("unknown", path, "v1") in host.ListDevices(path), host.ListDevices(path)
    host.SetDevices("/x/y", [f"allow {NULL} rwm"])
    equal(host.CheckDevice("/x/y", NULL, "rw")[0], True)
    equal(host.CheckDevice("/x/y", FULL, "rw")[2].split(":")[0], "denied")
    equal(host.ListDevices("/x/y"), [("default deny", "/x/y", "v1"), ("allow c 1:3 rwm", "/x/y", "v1")])
    # As SetValue does it.
    make("devices", "z")
    host.SetValue("devices", "/z", "devices.deny", "c 1:7 rwm")
    equal(host.CheckDevice("/z", FULL, "rw")[2].split(":")[0], "unknown")


@test
def test_device_undone(w):
    """What one hierarchy refuses is not done in the other."""
    if len(KINDS) < 2:
        raise Skip("one hierarchy governs devices here")
    d = Devices(w)
    make_all("x")
    make_all("x/y")
    # v1 turns from all to some only without children.
    refused(w, d.host, "BUSY", "SetDevices", "/x", [f"allow {NULL} rwm"])
    d.host.SetDevices("/x/y", [f"allow {NULL} rwm"])
    # A hole in what is allowed.
    d.host.SetDevices("/x/y", ["allow c 1:* rwm"])
    refused(w, d.host, "DEVICE_V1", "DenyDevices", "/x/y", NULL, "rwm")
    # What v1 denies and does not show is known when it is written.
    write(where("devices", "x") + "/devices.deny", "c 1:8 w")
    d.host.SetDevices("/x/y", [f"allow {NULL} rwm"])
    refused(w, d.host, "DEVICE_WIDER", "AllowDevices", "/x/y", "c 1:8", "rw")
    d.only("x/y", "null")

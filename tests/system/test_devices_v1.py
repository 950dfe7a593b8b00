# SPDX-License-Identifier: LGPL-2.1-or-later
"""devices.allow, devices.deny and devices.list of v1 on cgroup v2: what DEVICES.md says of v1, row by row, and
the same as this host's own v1 controller does, where it has one. There the daemon is told to leave that alone."""

import errno
import itertools
import os

import agent
import bpf
import devices
import wire
import world
from devices import ASKED, HARMLESS, REFUSED, Nodes, Opener, Rush, start
from harness import Skip, bare, equal
from world import PURE, REASONS, read, where, write

NULL, ZERO, FULL = HARMLESS[:3]
ALL = "a *:* rwm"


class OnV2:
    """Through the daemon."""

    def __init__(self, client):
        self.client = client

    def make(self, path):
        self.client.Create("devices", path)

    def write(self, path, key, value):
        try:
            self.client.SetValue("devices", path, "devices." + key, value)
        except wire.DBusError as error:
            return next((code for code, token in REFUSED.items() if REASONS[token] in error.message),
                        error.message)
        return 0

    def list(self, path):
        return self.client.GetValue("devices", path, "devices.list").splitlines()

    def put(self, path, pid):
        world.put("unified", path, pid)

    def at(self, path):
        return where("unified", path)


class OnV1:
    """The kernel's own files."""

    def make(self, path):
        os.mkdir(where("devices", path))

    def write(self, path, key, value):
        try:
            write(f"{where('devices', path)}/devices.{key}", value)
        except OSError as error:
            return error.errno
        return 0

    def list(self, path):
        return read(where("devices", path) + "/devices.list").splitlines()

    def put(self, path, pid):
        world.put("devices", path, pid)

    def at(self, path):
        return where("devices", path)


def backends(client):
    """What a row is tried on; the kernel's own first, which shows that the row is right."""
    v1 = [OnV1()] if not PURE and world.have("devices") else []
    return [*v1, OnV2(client)]


# What each row does: makes cgroups, allows and denies (an errno where that is refused), and then what the
# lists are and what may be done.
ROWS = {
    "a new one has all": ["make p", ("list", "p", [ALL])],
    "a child copies its parent": [
        "make p", "deny p a", "allow p c 1:3 rw", "allow p b *:5 m", "make p/c",
        ("list", "p/c", ["c 1:3 rw", "b *:5 m"])],
    "and is not changed by what is allowed afterwards": [
        "make p", "deny p a", "allow p c 1:3 rw", "make p/c", "allow p c 1:5 r",
        ("list", "p", ["c 1:3 rw", "c 1:5 r"]), ("list", "p/c", ["c 1:3 rw"]),
        ("may", "p", ZERO, "r", True), ("may", "p/c", ZERO, "r", False), ("may", "p/c", NULL, "r", True)],
    "nor is what is below": [
        "make p", "deny p a", "allow p c 1:3 rw", "make p/c", "make p/c/g", "allow p c 1:5 r",
        ("list", "p/c/g", ["c 1:3 rw"]), "allow p/c c 1:5 r", ("list", "p/c", ["c 1:3 rw", "c 1:5 r"]),
        ("list", "p/c/g", ["c 1:3 rw"]), ("may", "p/c/g", ZERO, "r", False)],
    "also where all but some is allowed": [
        "make p", "deny p c 1:3 r", "make p/c", "allow p c 1:3 r", ("list", "p/c", [ALL]),
        ("may", "p", NULL, "r", True), ("may", "p/c", NULL, "r", False), ("may", "p/c", NULL, "w", True),
        "allow p/c c 1:3 r", ("may", "p/c", NULL, "r", True)],
    "one made afterwards has it": [
        "make p", "deny p a", "make p/c", "allow p c 1:5 r", "make p/d", ("list", "p/c", []),
        ("list", "p/d", ["c 1:5 r"])],

    "what the parser takes": [
        "make p", "deny p a", ("allow", "p", " \t c 1:3 r \n", 0), ("allow", "p", "c 01:005 w", 0),
        ("allow", "p", "c *:* m", 0), ("allow", "p", "b 8:*\tmr", 0), ("allow", "p", "c 1:7 rr", 0),
        ("list", "p", ["c 1:3 r", "c 1:5 w", "c *:* m", "b 8:* rm", "c 1:7 r"])],
    "and what not": ["make p", "deny p a"] + [
        ("allow", "p", value, errno.EINVAL)
        for value in ("x 1:3 r", "c 1:3", "c  1:3 r", "c 1:3  r", "c 1 3 r", "c 1: r", "c :3 r", "c -1:3 r",
                      "c 1:3 x", "c 1:3 rx", "c1:3 r", "*:* r", "c 0x1:3 r", "c 1:99999999999 r")] + [
        ("list", "p", [])],
    "anything that begins with a is all": [
        "make p", "deny p able", ("list", "p", []), "allow p a *:* rwm", ("list", "p", [ALL])],

    "a: not while there are children": [
        "make p", "make p/c", ("deny", "p", "a", errno.EINVAL), ("allow", "p", "a", errno.EINVAL),
        ("list", "p", [ALL])],
    "allow a: only where the parent allows": [
        "make p", "deny p a", "make p/c", ("allow", "p/c", "a", errno.EPERM), ("list", "p/c", [])],
    "allow a: with the parent's exceptions": [
        "make p", "deny p c 1:3 w", "make p/c", "deny p/c a", ("list", "p/c", []), "allow p/c a",
        ("list", "p/c", [ALL]), ("may", "p/c", NULL, "w", False), ("may", "p/c", NULL, "r", True),
        ("may", "p/c", ZERO, "rw", True)],
    "deny a: nothing is left": [
        "make p", "deny p c 1:3 w", "deny p a", ("list", "p", []), ("may", "p", NULL, "r", False),
        ("may", "p", NULL, "", False), ("may", "p", NULL, "m", False)],

    "allow, where all else is allowed: not what the parent denies in part": [
        "make p", "deny p c 1:3 w", "make p/c", ("allow", "p/c", "c 1:* rw", errno.EPERM),
        ("allow", "p/c", "c *:3 w", errno.EPERM), ("allow", "p/c", "c 1:3 w", errno.EPERM),
        ("allow", "p/c", "c 1:3 r", 0), ("may", "p/c", NULL, "w", False)],
    "allow, there: takes back the very same": [
        "make p", "deny p c 1:3 rw", "deny p c 1:* m", "allow p c 1:3 w", ("may", "p", NULL, "w", True),
        ("may", "p", NULL, "r", False), ("may", "p", NULL, "rw", False), "allow p c 1:3 m",
        ("may", "p", NULL, "m", False), "allow p c 1:* m", ("may", "p", NULL, "m", True)],
    "allow, there: what is not denied": ["make p", ("allow", "p", "c 1:3 r", 0), ("list", "p", [ALL])],
    "allow, where all else is denied: one of the parent's must have all of it": [
        "make p", "deny p a", "allow p c 1:* r", "allow p c 1:3 w", "make p/c", "deny p/c c 1:* r",
        "deny p/c c 1:3 w", ("list", "p/c", []), ("allow", "p/c", "c 1:3 rw", errno.EPERM),
        ("allow", "p/c", "c *:3 r", errno.EPERM), ("allow", "p/c", "c 1:5 w", errno.EPERM),
        ("allow", "p/c", "b 1:3 r", errno.EPERM), ("allow", "p/c", "c 1:3 r", 0), ("allow", "p/c", "c 1:3 w", 0),
        ("list", "p/c", ["c 1:3 rw"])],
    "allow, there, below one that allows: not what it denies in part": [
        "make p", "deny p c 1:3 w", "make p/c", "deny p/c a", ("allow", "p/c", "c 1:* w", errno.EPERM),
        ("allow", "p/c", "c *:* rwm", errno.EPERM), ("allow", "p/c", "c 1:* r", 0), ("allow", "p/c", "c 1:5 w", 0),
        ("list", "p/c", ["c 1:* r", "c 1:5 w"])],
    "allow, there: adds to an equal one": [
        "make p", "deny p a", "allow p c 1:3 r", "allow p c 1:* w", "allow p c 1:3 m",
        ("list", "p", ["c 1:3 rm", "c 1:* w"])],

    "deny, where all else is denied: takes from the very same": [
        "make p", "deny p a", "allow p c 1:3 rwm", "allow p c 1:5 r", "deny p c 1:3 wm", "deny p c 1:5 r",
        ("list", "p", ["c 1:3 r"])],
    "deny, there: makes no hole": [
        "make p", "deny p a", "allow p c 1:* rw", ("deny", "p", "c 1:3 w", 0), ("list", "p", ["c 1:* rw"]),
        ("may", "p", NULL, "w", True)],
    "deny, where all else is allowed: adds": [
        "make p", "deny p c 1:3 w", "deny p c 1:3 r", ("list", "p", [ALL]), ("may", "p", NULL, "r", False),
        ("may", "p", NULL, "w", False), ("may", "p", NULL, "m", True), ("may", "p", NULL, "", True)],
    "deny reaches down, where both allow": [
        "make p", "make p/c", "deny p/c c 1:5 r", "make p/c/g", "deny p c 1:3 w", "allow p c 1:3 w",
        ("may", "p", NULL, "w", True), ("may", "p/c", NULL, "w", False), ("may", "p/c/g", NULL, "w", False),
        ("may", "p/c", ZERO, "r", False)],
    "deny reaches down, where the child denies": [
        "make p", "make p/c", "deny p/c a", "allow p/c c 1:3 rw", "allow p/c c 1:5 r", "make p/c/g",
        "deny p c 1:3 w", ("list", "p/c", ["c 1:3 r", "c 1:5 r"]), ("list", "p/c/g", ["c 1:3 r", "c 1:5 r"]),
        "deny p c 1:* r", ("list", "p/c", []), ("list", "p/c/g", [])],
    "deny drops whole what the parent no longer has": [
        "make p", "deny p a", "allow p c 1:* rw", "make p/c", "allow p/c c 1:3 rw", "make p/c/g",
        "deny p c 1:* w", ("list", "p", ["c 1:* r"]), ("list", "p/c", ["c 1:* r"]), ("list", "p/c/g", ["c 1:* r"])],
    "deny reaches down also where it changes nothing itself": [
        "make p", "deny p a", "allow p c 1:* rw", "make p/c", "allow p/c c 1:3 rw", "deny p c 1:3 w",
        ("list", "p", ["c 1:* rw"]), ("list", "p/c", ["c 1:* rw", "c 1:3 r"])],

    "the list: r, w, m": ["make p", "deny p a", "allow p c 1:3 mwr", "allow p b *:* wr",
                          ("list", "p", ["c 1:3 rwm", "b *:* rw"])],
    "a check: any overlap denies": [
        "make p", "deny p c *:3 w", ("may", "p", NULL, "rw", False), ("may", "p", NULL, "r", True),
        ("may", "p", ("c", 5, 3), "w", False), ("may", "p", ("b", 1, 3), "w", True)],
    "a check: one must have it all": [
        "make p", "deny p a", "allow p c 1:* r", "allow p c 1:3 w", ("may", "p", NULL, "r", True),
        ("may", "p", NULL, "w", True), ("may", "p", NULL, "rw", False), ("may", "p", NULL, "", True),
        ("may", "p", ("c", 5, 3), "", False)],
    "a child may join what its parent has in parts": [
        "make p", "deny p a", "allow p c 1:* r", "allow p c 1:3 w", "make p/c", "allow p/c c 1:3 r",
        ("list", "p/c", ["c 1:* r", "c 1:3 rw"]), ("may", "p/c", NULL, "r", True), ("may", "p/c", NULL, "w", True),
        ("may on v1 alone", "p/c", NULL, "rw", True)],
    "exempt: 0:0": ["make p", "deny p a", ("make 0:0", "p")],
    "numbers that no device has": [
        "make p", "deny p a", "allow p c 4097:3 rwm", "allow p c 1:1048579 rwm",
        ("list", "p", ["c 4097:3 rwm", "c 1:1048579 rwm"]), ("may", "p", NULL, "r", False)],
}


def step_run(on, opener, step):
    if isinstance(step, str):
        verb, _, rest = step.partition(" ")
        if verb == "make":
            on.make(rest)
            return
        path, _, value = rest.partition(" ")
        step = (verb, path, value, 0)
    if step[0] in ("allow", "deny"):
        _, path, value, wanted = step
        equal(on.write(path, step[0], value), wanted, f"{type(on).__name__}: {step[0]} {path} {value!r}")
    elif step[0] == "list":
        equal(on.list(step[1]), step[2], f"{type(on).__name__}: {step[1]}")
    elif step[0].startswith("may"):
        _, path, device, access, wanted = step
        # Where the cgroups above are asked, too: the one verdict that is another.
        wanted = wanted if step[0] == "may" or isinstance(on, OnV1) else not wanted
        on.put(path, opener.pid)
        equal(opener.may(device, access), wanted, f"{type(on).__name__}: {path}, {device} {access}")
    else:
        on.put(step[1], opener.pid)
        assert opener.may(("c", 0, 0), "m"), type(on).__name__


class Trier(Opener):
    """An opener that is asked for one thing at a time."""
    DEVICES = (*HARMLESS, *ASKED, ("c", 0, 0))
    TRIES = [(device, access) for device in DEVICES for access in ("", "r", "w", "rw", "m")]

    def __init__(self, at):
        super().__init__(at, self.TRIES)

    def may(self, device, access):
        self.start([self.TRIES.index((device, access))])
        return bool(self.finish()[0])


def rows_run(w, *options):
    client = start(w, *options)
    with Nodes(w.directory) as nodes:
        opener = Trier(nodes.at)
        try:
            for title, steps in ROWS.items():
                for on in backends(client):
                    try:
                        for step in steps:
                            step_run(on, opener, step)
                    except AssertionError as error:
                        raise AssertionError(f"{title}: {error}") from None
                    clear(on, opener)
        finally:
            opener.close()


@bare
def test_devices_v1_rows(w):
    """Each row on the kernel's own controller, where there is one, and on v2."""
    rows_run(w)


@bare
def test_devices_v1_rows_programs(w):
    """The same where there is a program for each policy."""
    rows_run(w, "--device-programs", "programs")


def clear(on, opener):
    on.put("", opener.pid)
    for path in reversed(world.directories(on.at("p"))):
        os.rmdir(path)


def lines(client, path):
    return client.GetValue("devices", path, "devices.list").splitlines()


def own_rules(path):
    """Does the cgroup have a program of its own?"""
    return bool(bpf.attached(where("unified", path))[1])


@bare
def test_devices_v1_names(w):
    """v2 answers to v1's name of the controller and of the files, and they are listed as v1's would be."""
    host = start(w)
    equal(host.Create("devices", "x"), -1)
    assert os.path.isdir(where("unified", "x"))
    pid = host.run(agent.fork_task)
    host.MovePid("devices", "x", pid)
    equal(host.GetPidCgroup("devices", pid), "x")
    equal(host.GetTasks("devices", "x"), [pid])
    host.SetValue("devices", "x", "devices_blacklist", "a")
    host.SetValue("unified", "x", "devices.allow", "c 1:3 r")
    host.SetValue("devices", "x", "devices_whitelist", "c 1:5 w")
    for key in ("devices.list", "devices_list"):
        equal(host.GetValue("unified", "x", key), "c 1:3 r\nc 1:5 w")
    os.chown(where("unified", "x"), 1000, 1001)
    equal([key for key in host.ListKeys("unified", "x") if key[0].startswith("devices.")],
          [("devices.allow", 1000, 1001, 0o100200), ("devices.deny", 1000, 1001, 0o100200),
           ("devices.list", 1000, 1001, 0o100444)])
    equal(host.GetValue("devices", "/", "devices.list"), ALL)
    host.run(agent.end_task, pid)


@bare
def test_devices_v1_not_here(w):
    """Where v1 has the controller, v2 has it not, and says which."""
    if PURE or not world.have("devices"):
        raise Skip("no devices controller of v1 here")
    w.start()
    host = w.host()
    host.Create("unified", "x")
    for method, key, more in (("GetValue", "devices.list", ()), ("SetValue", "devices.deny", ("a",))):
        assert "another hierarchy" in host.refused("KEY_MAPPING", method, "unified", "x", key, *more)
    assert not [key for key in host.ListKeys("unified", "x") if key[0].startswith("devices.")]


@bare
def test_devices_v1_off(w):
    w.start(*(() if PURE else ("-M", "devices")), "--device-programs", "off")
    host = w.host()
    host.Create("unified", "x")
    host.refused("CONTROLLER_UNKNOWN", "Create", "devices", "y")
    host.refused("KEY_MAPPING", "GetValue", "unified", "x", "devices.list")


@bare
def test_devices_v1_rights(w):
    """As limits: nobody changes what binds him, and a container narrows its own as it likes."""
    host = start(w)
    client = w.container()
    client.Create("devices", "x")
    for key in ("devices.allow", "devices.deny"):
        client.refused("SCOPE_ROOT", "SetValue", "devices", "", key, "c 1:3 r")
        w.user().refused("NO_READ", "GetValue", "devices", "", key)
    client.refused("KEY_UNLISTED", "SetValue", "devices", "x", "devices.list", "a")
    host.SetValue("devices", "c1", "devices.deny", "c 1:3 rw")
    client.refused("VALUE_WIDER", "SetValue", "devices", "x", "devices.allow", "c 1:* r")
    client.SetValue("devices", "x", "devices.deny", "a")
    client.SetValue("devices", "x", "devices.allow", "c 1:3 m")
    equal(lines(client, "x"), ["c 1:3 m"])
    client.refused("VALUE_WIDER", "SetValue", "devices", "x", "devices.allow", "c *:* r")
    client.refused("VALUE_REFUSED", "SetValue", "devices", "x", "devices.allow", "c 1:3")
    client.Create("devices", "x/y")
    assert "children" in client.refused("VALUE_REFUSED", "SetValue", "devices", "x", "devices.allow", "a")
    user = w.inner_user(client, path="c1/u")
    user.refused("PARENT_PRIVILEGE", "SetValue", "devices", "", "devices.deny", "c 1:3 r")
    other = w.user()
    equal(lines(other, ""), [ALL])
    other.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), "GetValue", "devices", "/c1", "devices.list")


@bare
def test_devices_v1_leaf(w):
    """A leaf is no child, and has what its cgroup has."""
    host = start(w)
    host.Create("devices", "p")
    leaf = world.cgroups.leaf_of(where("unified", "p"))
    host.SetValue("devices", "p", "devices.deny", "a")
    with Nodes(w.directory) as nodes:
        opener = Trier(nodes.at)
        try:
            write(leaf + "/cgroup.procs", opener.pid)
            assert not opener.may(NULL, "r")
            host.SetValue("devices", "p", "devices.allow", "c 1:3 r")
            assert opener.may(NULL, "r") and not opener.may(NULL, "w")
            assert not own_rules("p/.cgm_leaf")
            host.SetValue("devices", "p", "devices.allow", "a")
            assert opener.may(ZERO, "rw")
            world.put("unified", "", opener.pid)
        finally:
            opener.close()


@bare
def test_devices_v1_of_people(w):
    """Rules that were written by people are v1's state where v1 could have it, and below hold as they are."""
    host = start(w)
    host.Create("devices", "p/c")
    host.SetDevices("/p", ["default deny", "allow c 1:* rw", "allow fuse rwm"])
    equal(lines(host, "p"), ["c 1:* rw", "c 10:229 rwm"])
    equal(lines(host, "p/c"), ["c 1:* rw", "c 10:229 rwm"])
    host.refused("VALUE_WIDER", "SetValue", "devices", "p/c", "devices.allow", "c 5:5 r")
    host.SetValue("devices", "p", "devices.allow", "c 5:5 r")
    equal(lines(host, "p"), ["c 1:* rw", "c 10:229 rwm", "c 5:5 r"])
    equal(lines(host, "p/c"), ["c 1:* rw", "c 10:229 rwm"])
    # A hole, which v1 cannot have.
    host.SetDevices("/p/c", ["default deny", "allow c 1:* rw", "deny c 1:3 w"])
    host.Create("devices", "p/c/g")
    for path in ("p/c", "p/c/g"):
        for method, key, more in (("GetValue", "devices.list", ()), ("SetValue", "devices.deny", ("c 1:3 r",))):
            assert "cgm device" in host.refused("KEY_MAPPING", method, "devices", path, key, *more)
    before = host.ListDevices("/p/c")
    host.SetValue("devices", "p", "devices.deny", "c 1:* r")
    equal([r for r in host.ListDevices("/p/c") if r[1] == "/p/c"], [r for r in before if r[1] == "/p/c"])
    equal(host.CheckDevice("/p/c", "c 1:3", "r")[0], False)


def make_many(path, count):
    for i in range(count):
        os.mkdir(f"{path}/{i}")


@bare
def test_devices_v1_many_children(w):
    """Each child gets a copy of what its parent had; there is an end to what a container has copied at once."""
    host = start(w)
    one = w.container()
    one.Create("devices", "x")
    # As large as a policy can be.
    one.SetDevices("/x", ["default deny"] + [f"allow c {i}:{i} {'rw'[i % 2]}" for i in range(1500)])
    one.run(make_many, where("unified", "c1/x"), 1100)
    before = lines(one, "x")
    one.refused("DEVICE_MANY", "SetValue", "devices", "x", "devices.allow", "c 1600:3 r")
    equal(lines(one, "x"), before)
    assert not own_rules("c1/x/0")
    host.SetValue("devices", "c1/x", "devices.allow", "c 1600:3 r")
    equal(lines(one, "x"), [*before, "c 1600:3 r"])
    equal([lines(one, f"x/{i}") == before for i in (0, 1099)], [True, True])
    assert own_rules("c1/x/0")


@bare
def test_devices_v1_quota(w):
    """What the policies of a container may take together has an end, for whoever it asks; and it can make room."""
    host = start(w)
    one = w.container()
    for path, count in (("x", 1000), ("y", 50)):
        one.Create("devices", path)
        one.SetDevices(f"/{path}", ["default deny"] + [f"allow c {i}:{i} {'rw'[i % 2]}" for i in range(1500)])
        one.run(make_many, where("unified", f"c1/{path}"), count)
        one.SetValue("devices", path, "devices.allow", "c 1600:3 r")
    one.refused("QUOTA", "SetValue", "devices", "y/3", "devices.deny", "c 1:1 w")
    one.run(make_many, where("unified", "c1/y/3"), 1)
    assert "quota" in refused_native(one, "SetDevices", "/y/3/0", ["deny c 1:1 w"])
    host.SetDevices("/c1/y/3", ["deny c 1:1 w"])
    for i in range(30):
        one.SetDevices(f"/y/{i}", [])
    one.SetDevices("/y/3/0", ["deny c 1:1 w"])


def refused_native(client, member, *args):
    try:
        client.run(call_native, member, args)
    except wire.DBusError as error:
        return error.message
    return ""


def call_native(member, args):
    agent.here["bus"].call(member, *args)


@bare
def test_devices_v1_restart(w):
    """Killed and started again, it knows all of it; what was its own is in force all the time."""
    host = start(w)
    for path, value in (("p", "a"), ("p/c", "c 1:3 w"), ("q", "c 1:5 rw")):
        host.Create("devices", path)
        host.SetValue("devices", path, "devices.deny", value)
        if path == "p":
            host.SetValue("devices", path, "devices.allow", "c 1:3 rw")
    equal(lines(host, "p/c"), ["c 1:3 r"])
    with Nodes(w.directory) as nodes:
        opener = Trier(nodes.at)
        try:
            world.put("unified", "p/c", opener.pid)
            w.daemon.kill()
            assert opener.may(NULL, "r") and not opener.may(NULL, "w") and not opener.may(ZERO, "r")
            start(w)
            equal([lines(host, path) for path in ("p", "p/c", "q")], [["c 1:3 rw"], ["c 1:3 r"], [ALL]])
            host.SetValue("devices", "p", "devices.deny", "c 1:3 r")
            equal(lines(host, "p/c"), [])
            assert not opener.may(NULL, "r")
            world.put("unified", "", opener.pid)
        finally:
            opener.close()


@bare
def test_devices_v1_below_override(w):
    """Nothing is attached where it would replace what is attached above."""
    host = start(w)
    host.Create("devices", "p/c")
    bpf.attach(where("unified", "p"), bpf.denies(1, 3), bpf.OVERRIDE)
    for path in ("p", "p/c"):
        host.refused("DEVICE_OVERRIDE", "SetValue", "devices", path, "devices.deny", "c 1:5 r")
    bpf.detach(where("unified", "p"))
    # Others' programs that stay in force do not matter.
    bpf.attach(where("unified", "p"), bpf.denies(1, 3))
    host.SetValue("devices", "p/c", "devices.deny", "c 1:5 r")
    equal(host.CheckDevice("/p/c", "c 1:3", "r")[0], False)
    equal(host.CheckDevice("/p/c", "c 1:5", "r")[0], False)
    equal(host.CheckDevice("/p/c", "c 1:7", "r")[0], True)


@bare
def test_devices_v1_undone(w):
    """A child to which nothing can be attached: what was attached to the others before goes again."""
    host = start(w)
    host.Create("devices", "p")
    host.SetValue("devices", "p", "devices.deny", "a")
    children = [f"p/c{i}" for i in range(8)]
    for path in children:
        host.Create("devices", path)
    # In the order of the directory, which is the order of the writes.
    last = "p/" + [entry for entry in os.listdir(where("unified", "p")) if f"p/{entry}" in children][-1]
    bpf.attach(where("unified", last), bpf.denies(1, 7), bpf.OVERRIDE)
    host.refused("DEVICE_OVERRIDE", "SetValue", "devices", "p", "devices.allow", "c 1:3 r")
    equal([path for path in children if own_rules(path)], [last])
    equal([lines(host, path) for path in ("p", *children)], [[]] * 9)
    bpf.detach(where("unified", last))
    host.SetValue("devices", "p", "devices.allow", "c 1:3 r")
    equal([path for path in children if own_rules(path)], children)
    equal([lines(host, path) for path in ("p", *children)], [["c 1:3 r"]] + [[]] * 8)


@bare
def test_devices_v1_many_rules(w):
    """What is more than a policy holds is refused, and changes nothing."""
    host = start(w)
    host.Create("devices", "p")
    host.SetValue("devices", "p", "devices.deny", "a")
    rush = Rush(w.daemon.socket)
    host.SetDevices("/p", ["default deny"] + [f"allow c {7 * i % 4096}:{i} r" for i in range(2040)])
    before = lines(host, "p")
    equal(len(before), 2040)
    more = [f"c 8:{i} r" for i in range(8)]
    for rule in more:
        host.SetValue("devices", "p", "devices.allow", rule)
    host.refused("DEVICE_MANY", "SetValue", "devices", "p", "devices.allow", "c 9:9 r")
    equal(lines(host, "p"), before + more)
    host.SetValue("devices", "p", "devices.allow", "c 8:0 w")
    host.SetValue("devices", "p", "devices.deny", before[0])
    equal(lines(host, "p"), before[1:] + ["c 8:0 rw"] + more[1:])


def deny_in(address, path, values):
    """Denies each; its own process, for all at the same time."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            rush = Rush(address)
            rush.send([rush.call("SetValue", "devices", path, "devices.deny", value) for value in values])
            code = 0 if all(rush.reply()[0] for _ in values) else 2
        finally:
            os._exit(code)
    return pid


@bare
def test_devices_v1_at_once(w):
    """What several deny at the same time, above and below, is all denied."""
    host = start(w)
    rules = [f"c 200:{i} rw" for i in range(60)]
    for path in ("p", "p/c", "p/c/g"):
        host.Create("devices", path)
        if path == "p":
            host.SetValue("devices", path, "devices.deny", "a")
            for rule in rules:
                host.SetValue("devices", path, "devices.allow", rule)
        else:
            # One of its own: allows are no changes, or would be refused.
            host.SetValue("devices", path, "devices.deny", rules[-1])
    pids = [deny_in(w.daemon.socket, path, rules[i:57:3]) for i, path in enumerate(("p", "p/c", "p/c/g"))]
    equal([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids], [0, 0, 0])
    for depth, path in enumerate(("p", "p/c", "p/c/g")):
        gone = {i for start_at in range(depth + 1) for i in range(start_at, 57, 3)} | ({59} if depth else set())
        equal(lines(host, path), [rule for i, rule in enumerate(rules) if i not in gone], path)


def let_in(at, stop):
    """Tries until it is told to stop."""
    for tried in itertools.count():
        if devices.may(at, NULL, "r"):
            return True
        try:
            if tried % 16 == 0 and os.read(stop, 1):
                return False
        except BlockingIOError:
            pass


@bare
def test_devices_v1_never_wider(w):
    """While its parent is allowed more, a child that follows has at no moment more than before."""
    host, seen = start(w), 0
    host.Create("devices", "p")
    host.SetValue("devices", "p", "devices.deny", "a")
    with Nodes(w.directory) as nodes:
        stop, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                os.read(stop, 1)
                os.set_blocking(stop, False)
                code = 1 if let_in(nodes.at, stop) else 0
            finally:
                os._exit(code)
        world.put("unified", "p", pid)
        os.write(told, b"g")
        for i in range(12):
            # The more there are, the longer it takes; this is in the one that is written last.
            for j in range(40):
                os.mkdir(where("unified", f"p/c{i}-{j}"))
            names = [f"p/{name}" for name in os.listdir(where("unified", "p")) if name.startswith(f"c{i}-")]
            world.put("unified", names[-1], pid)
            host.SetValue("devices", "p", "devices.allow", "c 1:3 r")
            host.SetValue("devices", "p", "devices.deny", "c 1:3 r")
            seen += sum(map(own_rules, names))
            world.put("unified", "p", pid)
            for name in names:
                os.rmdir(where("unified", name))
        os.write(told, b"s")
        equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, "was let in")
        os.close(stop)
        os.close(told)
    equal(seen, 12 * 40)

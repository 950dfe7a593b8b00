# SPDX-License-Identifier: LGPL-2.1-or-later
"""Devices for containers that run already: AddDevice allows one and puts its node into the container's
/dev; RemoveDevice takes both back. The host's own nodes stay as they are."""

import errno
import os
import stat

import agent
import wire
from agent import wait_until
from harness import bare, equal, test
from test_devices import KINDS, V1, lines, make_all, opens, policy
from world import BASE, REASONS, read, where

RULES = ["default deny", "allow c 1:3 rw", "allow c 1:8 r", "allow c 1:9 r"]
ZERO, FULL = "c 1:5", "c 1:7"


def own_dev():
    """In a container: a /dev of its own."""
    agent.mount("tmpfs", "/dev", "tmpfs")
    os.chmod("/dev", 0o755)


def look(path):
    try:
        st = os.lstat(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    return stat.filemode(st.st_mode), st.st_uid, st.st_gid, os.major(st.st_rdev), os.minor(st.st_rdev)


def fill(path):
    with open(path, "w") as file:
        file.write("x")


def container(w, *path, **how):
    """Below a cgroup with rules of the host's."""
    # On v1 only a cgroup without children goes from all devices to some.
    make_all("out")
    w.host().SetDevices("/out", RULES + [f"allow {ZERO} rw", f"allow {FULL} rw"])
    make_all("out/c1", BASE)
    w.host().SetDevices("/out/c1", RULES)
    one = w.container("out/c1")
    one.run(own_dev)
    return one


def rules_of(w, path):
    """What the kernel has, of all hierarchies."""
    return lines(w.host(), "/" + path), V1 and read(f"{where('devices', path)}/devices.list")


@test
def test_device_add(w):
    one = container(w)
    before = look("/dev/zero"), rules_of(w, "out/c1")
    equal(one.run(opens, "/dev/zero"), errno.ENOENT)
    equal(w.host().AddDevice("/out/c1", ZERO, "rw", [("path", ("s", "zero"))]), "/dev/zero")
    equal(one.run(opens, "/dev/zero"), 0)
    equal(one.run(look, "/dev/zero"), ("crw-rw----", 0, 0, 1, 5))
    equal(w.host().CheckDevice("/out/c1", ZERO, "rw")[0], True)
    # Another, as it was asked for; and by its path, with what the host's node has
    equal(w.host().AddDevice("/out/c1", "/dev/full", "rw", [
        ("uid", ("u", BASE + 7)), ("gid", ("u", BASE + 8)), ("mode", ("u", 0o604))]), "/dev/full")
    equal(one.run(look, "/dev/full"), ("crw----r--", 7, 8, 1, 7))
    w.host().RemoveDevice("/out/c1", "/dev/full")
    equal(one.run(look, "/dev/full"), "ENOENT")
    w.host().RemoveDevice("/out/c1", ZERO)
    equal(one.run(look, "/dev/zero"), "ENOENT")
    equal(w.host().CheckDevice("/out/c1", ZERO, "rw")[0], False)
    equal(w.host().CheckDevice("/out/c1", FULL, "rw")[0], False)
    equal(w.host().CheckDevice("/out/c1", "c 1:3", "rw")[0], True)
    equal(look("/dev/zero"), before[0])
    # Nothing there to remove: still denied, and no error.
    w.host().RemoveDevice("/out/c1", ZERO)


@test
def test_device_add_subdirectory(w):
    one = container(w)
    equal(w.host().AddDevice("/out/c1", ZERO, "r", [("path", ("s", "/dev/some/where/z"))]), "/dev/some/where/z")
    equal(one.run(opens, "/dev/some/where/z", os.O_RDONLY), 0)
    equal(one.run(opens, "/dev/some/where/z", os.O_RDWR), errno.EPERM)
    w.host().RemoveDevice("/out/c1", ZERO)
    equal(one.run(look, "/dev/some/where/z"), "ENOENT")


@test
def test_device_add_fails_whole(w):
    """What cannot be given is not allowed either."""
    one = container(w)
    one.run(fill, "/dev/there")
    before = rules_of(w, "out/c1")
    for why, options, cgroup, device in (
            ("NODE_EXISTS", [("path", ("s", "there"))], "/out/c1", ZERO),
            ("NODE_PATH", [("path", ("s", "../x"))], "/out/c1", ZERO),
            ("NODE_PATH", [("path", ("s", "there/x"))], "/out/c1", ZERO),
            ("MODE", [("path", ("s", "x")), ("mode", ("u", 0o1777))], "/out/c1", ZERO),
            ("NODE_NONE", [], "/out/c1", ZERO),
            ("DEVICE_WIDER", [("path", ("s", "x"))], "/out/c1", "c 1:11")):
        w.host().refused(why, "AddDevice", cgroup, device, "rw", options)
        equal(rules_of(w, "out/c1"), before, f"{why} {device}")
    equal(one.run(os.listdir, "/dev"), ["there"])


@test
def test_device_add_nobody(w):
    make_all("empty")
    w.host().refused("NODE_NOBODY", "AddDevice", "/empty", ZERO, "rw", [("path", ("s", "z"))])
    equal(lines(w.host(), "/empty"), [])


@bare
def test_device_add_rights(w):
    """A container's root gives to what it runs itself, from what it has, what the policy file grants."""
    w.start(*policy(w, "[devices /out/c1/c2]\nallow = c 1:3\naccess = rw\n"
                         "[devices /out/c1/c3]\nallow = c 1:3\naccess = r\n"))
    one = container(w)
    options = [("path", ("s", "z"))]
    one.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE"), "AddDevice", "/", ZERO, "rw", options)
    make_all("out/c1/c2", 101000)
    one.SetDevices("/c2", ["default deny", "allow c 1:8 r"])
    two = w.container("out/c1/c2", 101000, one, 1000, 60000)
    two.run(own_dev)
    one.refused("DEVICE_WIDER", "AddDevice", "/c2", ZERO, "rw", options)
    equal(one.AddDevice("/c2", "c 1:3", "rw", [("path", ("s", "null")), ("uid", ("u", 1005)),
                                              ("mode", ("u", 0o600))]), "/dev/null")
    equal(two.run(look, "/dev/null"), ("crw-------", 5, 0, 1, 3))
    equal(two.run(opens, "/dev/null"), 0)
    one.refused("UID_UNMAPPED", "AddDevice", "/c2", "c 1:3", "rw", [("path", ("s", "n")), ("uid", ("u", 70000))])
    # Its own /dev has nothing of that.
    equal(one.run(look, "/dev/null"), "ENOENT")
    one.RemoveDevice("/c2", "c 1:3")
    equal(two.run(look, "/dev/null"), "ENOENT")
    # What is not granted to be written has no node, for its owner would write all the same.
    make_all("out/c1/c3", 101000)
    three = w.container("out/c1/c3", 101000, one, 1000, 60000)
    three.run(own_dev)
    one.refused("NODE_RIGHT", "AddDevice", "/c3", "c 1:3", "r", options)
    one.refused("NODE_RIGHT", "AddDevice", "/c3", "c 1:8", "r", options)


@test
def test_device_add_is_no_way_round_modes(w):
    """Where no rules say which devices may be had, the host's nodes and their owners do."""
    path = f"{w.directory}/disk"
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    user, one = w.user(1000, "u1"), w.container("c1")
    make_all("u1/x", 1000)
    make_all("c1/c2", 101000)
    mine = w.host_agent.spawn("u1/x", w.placer("u1/x", 1000), user=True, mnt=True, owner=1000,
                              maps=[(0, 1000, 1)])
    two = w.container("c1/c2", 101000, one, 1000, 60000)
    mine.run(own_dev)
    two.run(own_dev)
    for client, cgroup, inside in ((user, "/x", mine), (one, "/c2", two)):
        equal(client.run(opens, path), errno.EACCES)
        for device in (ZERO, "/dev/zero"):
            client.refused("NODE_RIGHT", "AddDevice", cgroup, device, "rw", [("path", ("s", "z"))])
        equal(inside.run(os.listdir, "/dev"), [])


@test
def test_device_add_host_dev(w):
    """Who sees the host's /dev needs no node."""
    make_all("plain")
    user = w.user(1000, "plain/u")
    w.host().refused("NODE_HOST", "AddDevice", "/plain/u", "/dev/zero", "rw", [])
    w.host().AllowDevices("/plain/u", "/dev/zero", "rw")
    equal(user.run(opens, "/dev/zero"), 0)


def theirs():
    """On the host: a directory that is shown to a container as its /dev."""
    os.makedirs("/run/theirs", exist_ok=True)
    agent.mount("tmpfs", "/run/theirs", "tmpfs")


def bind_theirs():
    agent.mount("/run/theirs", "/dev", flags=agent.MS_BIND)


@bare
def test_device_add_not_its_own_dev(w):
    """Nothing is made in a directory of the host, whoever asks, that the container could not make."""
    w.start(*policy(w, "[devices /c1]\nallow = c 1:5\n"))
    make_all("c1", BASE)
    w.host().SetDevices("/c1", RULES)
    w.host().run(theirs)
    one = w.container("c1")
    before = os.listdir("/dev")
    options = [("path", ("s", "cgmd-test"))]
    for client, cgroup in ((one, "/"), (w.host(), "/c1")):
        client.refused("NODE_HOST", "AddDevice", cgroup, ZERO, "rw", options)
    one.run(bind_theirs)
    for client, cgroup in ((one, "/"), (w.host(), "/c1")):
        client.refused("NODE_FOREIGN", "AddDevice", cgroup, ZERO, "rw", options)
    equal(w.host().run(os.listdir, "/run/theirs"), [])
    equal(os.listdir("/dev"), before)


@bare
def test_device_add_granted(w):
    """What the policy file grants a container adds to itself, and takes from itself."""
    w.start(*policy(w, "[devices /out/c1]\nallow = c 1:5\naccess = rw\n"))
    one = container(w)
    one.refused(("SCOPE_ROOT", "PARENT_PRIVILEGE"), "AddDevice", "/", FULL, "rw", [("path", ("s", "f"))])
    equal(one.AddDevice("/", ZERO, "rw", [("path", ("s", "z"))]), "/dev/z")
    equal(one.run(opens, "/dev/z"), 0)
    equal(one.run(look, "/dev/z"), ("crw-rw----", 0, 0, 1, 5))
    w.host().RemoveDevice("/out/c1", ZERO)
    equal(one.run(look, "/dev/z"), "ENOENT")


@test
def test_device_add_two_containers(w):
    """The outermost container of the cgroup is meant, and a second call goes there too."""
    one = container(w)
    make_all("out/c1/c2", 101000)
    two = w.container("out/c1/c2", 101000, one, 1000, 60000)
    two.run(own_dev)
    for mode in (0o600, 0o666):
        w.host().AddDevice("/out/c1", ZERO, "rw", [("path", ("s", "z")), ("mode", ("u", mode))])
        equal(one.run(look, "/dev/z"), (stat.filemode(stat.S_IFCHR | mode), 0, 0, 1, 5))
        equal(two.run(look, "/dev/z"), "ENOENT")
    equal(one.run(os.listdir, "/dev"), ["z"])
    w.host().RemoveDevice("/out/c1", ZERO)
    equal(one.run(os.listdir, "/dev"), [])


def fails_to_add(socket, times):
    """In a container: what adds on a worker, and takes back what it has widened."""
    bus, refused = wire.Bus(socket), 0
    for _ in range(times):
        try:
            bus.call("AddDevice", "/", ZERO, "rw", [("path", ("s", "there"))])
        except wire.DBusError:
            refused += 1
    bus.close()
    return refused


@bare
def test_device_add_takes_nothing_back_of_others(w):
    """What is denied while a node is being added stays denied when that fails."""
    w.start(*policy(w, "[devices /out/c1]\nallow = c 1:5\n"))
    one = container(w)
    one.run(fill, "/dev/there")

    def change(method, *args):
        """Whoever is just changing rules there goes first, and soon ends."""
        try:
            getattr(w.host(), method)("/out", *args)
        except wire.DBusError as error:
            assert REASONS["DEVICE_BUSY"] in error.message, error
            return False
        return True

    change("DenyDevices", ZERO, "rw")
    one.agent.start(fails_to_add, w.daemon.socket, 300)
    for _ in range(100):
        change("AllowDevices", FULL, "rw")
        wait_until(lambda: change("DenyDevices", FULL, "rw"), "it is denied")
        for _ in range(10):
            # Here alone, for v1 may deny it too.
            equal([line for line in lines(w.host(), "/out") if FULL in line][-1:], [f"deny {FULL} rw"])
    equal(one.agent.finish(), 300)
    equal([line for line in lines(w.host(), "/out") if FULL in line][-1:], [f"deny {FULL} rw"])

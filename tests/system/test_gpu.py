# SPDX-License-Identifier: LGPL-2.1-or-later
"""GPUs by name: what ListGpus and ResolveDevice tell is what sysfs and /dev have, and rules by name follow a
card to other numbers. On the GPUs of this host; in the virtual machine on virtio-gpu and vgem, which are
loaded anew in either order."""

import glob
import os
import re
import stat
import subprocess

from agent import wait_until
from harness import Skip, equal, test
from test_devices import KINDS, make_all, opens_in
from world import cage, where

VIRTIO, VGEM = "0000:00:03.0", "vgem"
NODES = re.compile(r"/dev/dri/(card|renderD)\d+$")


def need_machine():
    if not cage.in_machine():
        raise Skip("only the virtual machine may load and unload drivers")


def modprobe(*args):
    subprocess.run(["modprobe", *args], check=True, capture_output=True)


def load(*modules):
    """In the machine: these two, in this order, which gives them their numbers."""
    modprobe("-r", "vgem")
    modprobe("-r", "virtio-gpu")
    for module in modules:
        modprobe(module)


def gpus(w):
    """{address: the rest of ListGpus' row}"""
    if cage.in_machine():
        load("virtio-gpu", "vgem")
    elif not glob.glob("/sys/class/drm/card*"):
        raise Skip("this host has no GPU")
    rows = w.host().ListGpus()
    equal([r[0] for r in rows], sorted(r[0] for r in rows))
    return {row[0]: row[1:] for row in rows}


def entry(node):
    """A node as ResolveDevice has it."""
    number = os.stat(node).st_rdev
    assert stat.S_ISCHR(os.stat(node).st_mode), node
    return ("c", os.major(number), os.minor(number), node)


def drm(pattern="*"):
    """The kernel's own list: nodes of /dev, and their device's directory in sysfs."""
    found = {}
    for path in glob.glob("/sys/class/drm/" + pattern):
        name = os.path.basename(path)
        node = "/dev/dri/" + name
        if not NODES.match(node):
            continue
        with open(path + "/dev") as numbers:
            equal("{1}:{2}".format(*entry(node)), numbers.read().strip(), node)
        found[node] = os.path.realpath(path + "/device")
    return found


def resolve(client, name):
    return sorted(tuple(row) for row in client.ResolveDevice(name))


def of(nodes):
    return sorted(entry(node) for node in nodes)


def opens(w, path, node):
    """Does a task in the cgroup open it? The kernel's word."""
    code = w.host().run(opens_in, [where(kind, path) for kind in KINDS], node)
    assert code in (0, 1), (path, node, os.strerror(code))
    return code == 0


def may(w, path, **wanted):
    """Which of the cards' nodes can be opened, by the words for them; CheckDevice says the same."""
    for node, allowed in wanted.items():
        node = "/dev/dri/" + node
        equal(opens(w, path, node), allowed, node)
        equal(w.host().CheckDevice("/" + path, node, "rw")[0], allowed, node)


@test
def test_gpu_list(w):
    """Each node of DRM is one card's, and each card's nodes are one device's."""
    listed, there, seen = gpus(w), drm(), []
    for address, (identity, driver, pmu, region, nodes) in listed.items():
        assert address and driver, (address, driver)
        devices = {there[n] for n in nodes if n in there}
        assert len(devices) <= 1, (address, devices)
        for device in devices:
            assert address in device.split("/"), (address, device)
            if re.match(r"[0-9a-f]+:[0-9a-f]{2}:[0-9a-f]{2}\.\d$", address):
                with open(f"/sys/bus/pci/devices/{address}/vendor") as vendor:
                    equal(identity.split(":")[0], vendor.read().strip()[2:])
        assert not pmu or os.path.exists("/sys/bus/event_source/devices/" + pmu), pmu
        assert not region or region.startswith(f"drm/{address}/"), region
        seen += [n for n in nodes if n in there]
    equal(sorted(seen), sorted(there))
    if cage.in_machine():
        equal(listed, {VIRTIO: ("1af4:1050", "virtio_gpu", "", "", ["/dev/dri/card0", "/dev/dri/renderD128"]),
                       VGEM: ("", "vgem", "", "", ["/dev/dri/card1", "/dev/dri/renderD129"])})


@test
def test_gpu_names(w):
    listed = gpus(w)
    host, drivers = w.host(), {}
    everything = {n for row in listed.values() for n in row[4]}
    equal([r for r in resolve(host, "gpu") if r[3]], of(everything))
    equal(resolve(host, "gpu:render"), of(drm("renderD*")))
    for address, (_, driver, _, _, nodes) in listed.items():
        drivers.setdefault(driver, set()).update(nodes)
        render = [n for n in nodes if "renderD" in n]
        equal([r for r in resolve(host, "gpu@" + address) if r[3]], of(nodes), address)
        if render:
            equal(resolve(host, f"gpu@{address}:render"), of(render), address)
        for node in nodes:
            equal(resolve(host, node), [entry(node)])
    for driver, nodes in drivers.items():
        equal([r for r in resolve(host, "gpu:" + driver) if r[3]], of(nodes), driver)
    for name in ("gpu@0000:ff:1f.7", "gpu@0000:ff:1f.7:render", "/dev/dri/card99"):
        host.refused("DEVICE_MISSING", "ResolveDevice", name)


@test
def test_gpu_rules(w):
    """Render nodes alone: what a container needs to compute, and not the screen."""
    gpus(w)
    make_all("x")
    if not drm("renderD*") or not drm("card*"):
        raise Skip("no GPU here has a card node and a render node")
    card, render = (os.path.basename(sorted(drm(kind))[0]) for kind in ("card*", "renderD*"))
    may(w, "x", **{card: True, render: True})
    w.host().SetDevices("/x", ["default deny", "allow gpu:render rw"])
    may(w, "x", **{card: False, render: True})
    w.host().SetDevices("/x", ["deny gpu rwm"])
    may(w, "x", **{card: False, render: False})
    w.host().SetDevices("/x", [])
    may(w, "x", **{card: True, render: True})


@test
def test_gpu_renumbered(w):
    """The rule is the card's, not the number's: it follows at once where someone asks, and by itself where
    nobody does. While the card is away, its number is nobody's."""
    need_machine()
    gpus(w)
    make_all("x")
    w.host().SetDevices("/x", ["default deny", "allow gpu@vgem rw"])
    may(w, "x", card0=False, renderD128=False, card1=True, renderD129=True)
    if "unified" not in KINDS:
        raise Skip("v1 keeps no names")
    load("vgem", "virtio-gpu")
    wait_until(lambda: opens(w, "x", "/dev/dri/card0"), "the rule to follow the card")
    may(w, "x", card0=True, renderD128=True, card1=False, renderD129=False)
    equal(resolve(w.host(), "gpu@vgem"), of(["/dev/dri/card0", "/dev/dri/renderD128"]))
    # The number that was its own is another's now.
    load("virtio-gpu")
    wait_until(lambda: not opens(w, "x", "/dev/dri/card0"), "the rule to let go of the number")
    may(w, "x", card0=False, renderD128=False)
    w.host().refused("DEVICE_MISSING", "ResolveDevice", "gpu@vgem")
    equal([rule for rule, _, _ in w.host().ListDevices("/x")], ["default deny", "allow gpu@vgem rw"])
    modprobe("vgem")
    wait_until(lambda: opens(w, "x", "/dev/dri/card1"), "the rule to find the card again")
    may(w, "x", card0=False, renderD128=False, card1=True, renderD129=True)


@test
def test_gpu_container(w):
    """A container sees the one card that it may have; the other does not exist for it."""
    need_machine()
    gpus(w)
    client = w.container("c1")
    equal(len(client.ListGpus()), 2)
    w.host().SetDevices("/c1", ["allow oci-default rwm", "allow gpu@vgem:render rwm", "default deny"])
    equal(client.ListGpus(), [("vgem", "", "vgem", "", "", ["/dev/dri/renderD129"])])
    equal(resolve(client, "gpu"), of(["/dev/dri/renderD129"]))
    equal(resolve(client, "gpu@vgem"), of(["/dev/dri/renderD129"]))
    for name in ("gpu@" + VIRTIO, "gpu@0000:ff:1f.7", "/dev/dri/card0"):
        client.refused("DEVICE_MISSING", "ResolveDevice", name)
    equal(len(w.host().ListGpus()), 2)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""The policy file: when it is read, and what of it counts. What it grants is tested with device calls."""

import os
import re
import signal

import world
from agent import wait_until
from harness import bare, equal

EXAMPLE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../daemon/policy.conf.example")
GOOD = "[devices /a]\nallow = fuse\n[devices /b]\nallow = kvm\n"


def put(path, text, mode=0o644):
    with open(path, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)


def reload(w, expected):
    """SIGHUP, and what comes to the log by it."""
    before = len(w.daemon.log())
    os.kill(w.daemon.pid, signal.SIGHUP)
    wait_until(lambda: expected in w.daemon.log()[before:], expected)
    w.host().Ping(1)


@bare
def test_policy_is_read_again(w):
    """At the start and at SIGHUP; what is wrong is told by its line, and the daemon goes on."""
    path = f"{w.directory}/policy.conf"
    put(path, GOOD)
    w.start("--policy", path)
    assert f"{path}: 2 sections" in w.daemon.log(), w.daemon.log()
    put(path, GOOD + "[devices /c]\nallow = kvm\n")
    reload(w, f"{path}: 3 sections")
    put(path, GOOD + "[devices c]\nallow = kvm\n")
    reload(w, f"{path}:5: a pattern begins with /")
    put(path, GOOD, 0o666)
    reload(w, f"{path}: others may write it")
    put(path, GOOD)
    reload(w, f"{path}: 2 sections")


@bare
def test_policy_that_does_not_count(w):
    """The daemon starts without what it cannot take, and says so once."""
    path = f"{w.directory}/policy.conf"
    put(path, GOOD)
    os.chown(path, 65534, 0)
    w.start("--policy", path)
    equal(w.daemon.log().count(path), 1, w.daemon.log())
    assert f"{path}: it does not belong to root" in w.daemon.log(), w.daemon.log()
    w.host().Ping(1)


@bare
def test_policy_example(w):
    """The example that is installed is one that counts."""
    path = f"{w.directory}/policy.conf"
    put(path, world.read(EXAMPLE))
    w.start("--policy", path)
    assert re.search(f"{path}: [1-9] sections", w.daemon.log()), w.daemon.log()


@bare
def test_policy_missing(w):
    """No file grants nothing, and is nothing to talk about."""
    w.start("--policy", f"{w.directory}/policy.conf")
    assert "policy" not in w.daemon.log(), w.daemon.log()

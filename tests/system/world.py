# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test stands in: the cage's hierarchies, a daemon of its own, and clients."""

import collections
import os
import re
import select
import signal
import subprocess
import tempfile
import types

import agent
import cgroups
import wire
from agent import wait_until
# Tests find all of it here.
from cgroups import (CONTROLLERS, DELEGATED, PURE, below_tops, difference, directories,  # noqa: F401
                     have, make, place_of, put, read, snapshot, stored, tasks, tasks_at, tops,
                     value_in, where, write)

SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:")
BASE, RANGE = 100000, 65536


# The cage is a program; how it takes down what is deeper than a path can be long is wanted here too.
cage = types.ModuleType("cage")
with open(os.path.join(os.path.dirname(__file__), "cage")) as program:
    exec(compile(program.read(), "cage", "exec"), cage.__dict__)  # pylint: disable=exec-used


def rows(path, pattern):
    with open(os.path.join(os.path.dirname(__file__), "../..", path)) as lines:
        return re.findall(pattern, lines.read(), re.MULTILINE)


def reasons():
    """token: what the message says."""
    return {token: why for token, _, why in rows(
        "policy/reasons.def", r'^REASON\((\w+),\s*KIND_(\w+),\s*\w+,\s*"([^"]*)"')}


def errors():
    """token: the name of the error of the native interface."""
    names = {kind: "org.cgmd1.Error." + name
             for kind, name in rows("dbus/errors.def", r"^ERROR\((\w+),\s*(\w+),")}
    return {token: names.get(kind) for token, kind in rows(
        "policy/reasons.def", r"^REASON\((\w+),\s*KIND_(\w+),")}


REASONS, ERRORS = reasons(), errors()


class Daemon:
    """A running cgmd."""

    def __init__(self, program, directory, *options, sockets=None, env=None, pass_fds=(), **how):
        self.sockets = sockets or [f"{directory}/socket"]
        self.log_path = f"{directory}/log"
        self.ended = False
        ready, told = os.pipe()
        command = [*program, "--ready-fd", str(told), *options]
        for path in self.sockets:
            command += ["--socket", path]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                pass_fds=(told, *pass_fds), env={**os.environ, **(env or {})}, **how)
        os.close(told)
        try:
            if not select.select([ready], [], [], 60)[0] or not os.read(ready, 64):
                raise AssertionError("the daemon did not become ready: " + self.log())
        finally:
            os.close(ready)
        self.socket, self.pid = self.sockets[0], self.process.pid

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def fds(self):
        """Where its fds lead, without the numbers of sockets."""
        found = []
        for entry in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found.append(re.sub(r"\d+", "N", os.readlink(f"/proc/{self.pid}/fd/{entry}")))
            except FileNotFoundError:
                pass
        return sorted(found)

    def kill(self):
        self.ended = True
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as an administrator does; it must end cleanly."""
        self.ended, killed = True, self.process.returncode == -signal.SIGKILL
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the daemon did not end on SIGTERM: " + self.log()) from None
        log = self.log()
        assert not SANITIZER.search(log), "sanitizer: " + log
        assert code == 0 or killed, f"the daemon ended with {code}: {log[-2000:]}"


# Functions to run in an agent.

def connect(address, key="bus", **how):
    agent.here[key] = wire.Bus(address, **how)


def call_on(key, member, *args, **how):
    return agent.here[key].call(member, *args, **how)


def close_bus(key="bus"):
    agent.here.pop(key).close()


class Client:
    """An agent with a connection to the daemon, if there is one."""

    def __init__(self, world, handle):
        self.world, self.agent = world, handle
        if world.daemon:
            self.reconnect()

    def reconnect(self, **how):
        self.agent.run(connect, self.world.daemon.socket, **how)

    def __getattr__(self, member):
        """client.Create("memory", "x")"""
        if member not in wire.SIGNATURES and member not in wire.NATIVE:
            raise AttributeError(member)
        return lambda *args, **how: self.agent.run(call_on, "bus", member, *args, **how)

    def run(self, function, *args, **how):
        return self.agent.run(function, *args, **how)

    def refused(self, why, member, *args, **how):
        """The call fails with one of these reasons, and changes nothing."""
        fds = self.world.daemon.fds()
        message = self.refused_once(why, member, *args, **how)
        # What the daemon keeps of a connection from its first call on is not there twice.
        if self.world.daemon.fds() != fds:
            fds = self.world.daemon.fds()
            self.refused_once(why, member, *args, **how)
            self.world.same_fds(fds, f"{member}{args}")
        return message

    def refused_once(self, why, member, *args, **how):
        before = snapshot()
        why = (why,) if isinstance(why, str) else why
        try:
            value = getattr(self, member)(*args, **how)
        except wire.DBusError as error:
            got = error
        else:
            raise AssertionError(f"{member}{args} was not refused: {value!r}")
        found = [w for w in why if REASONS[w] in got.message]
        assert found, f"{member}{args}: {got}, not {why}"
        name = ERRORS[found[0]] if member in wire.NATIVE else "org.freedesktop.DBus.Error.InvalidArgs"
        assert got.name == name, f"{member}{args}: {got}, not {name}"
        changed = difference(before, snapshot())
        assert not changed, f"{member}{args} was refused and changed: " + "; ".join(changed[:5])
        return got.message


class World:
    """One test's daemon and clients; everything is taken down in the end."""

    def __init__(self, program):
        self.program = [program]
        with open(program, "rb") as binary:
            self.sanitized = b"__asan_init" in binary.read()
            if self.sanitized:
                # The leak check at the end needs system calls that the sandbox denies.
                self.program.append("--no-sandbox")
        self.directory = tempfile.mkdtemp(prefix="world-", dir="/run")
        os.chmod(self.directory, 0o755)
        self.daemon = None
        self.host_agent = agent.host_agent()
        self.clients = {}
        self.enabled = cgroups.enabled()

    def start(self, *options, **how):
        """With a time-out for exchanges that no slow machine reaches, unless it is what is tested."""
        if "--scm-timeout" not in options:
            options += ("--scm-timeout", "60")
        self.daemon = Daemon(self.program, self.directory, *options, **how)
        return self.daemon

    def restart(self, *options, **how):
        self.daemon.stop()
        return self.start(*options, **how)

    def same_fds(self, before, what):
        """No more fds than before; fewer are none leaked (one may just be on its way to be closed)."""
        before_counted = collections.Counter(before)
        try:
            wait_until(lambda: not collections.Counter(self.daemon.fds()) - before_counted, "the same fds")
        except AssertionError:
            raise AssertionError(f"{what}: fds were {before}, are {self.daemon.fds()}") from None

    def host(self):
        return self.once("host", lambda: self.host_agent)

    def once(self, name, maker):
        if name not in self.clients:
            self.clients[name] = Client(self, maker())
        return self.clients[name]

    def placer(self, path, owner=None, controllers=None):
        def place(pid):
            for controller in ["all"] if PURE else filter(have, controllers or CONTROLLERS):
                if not os.path.isdir(where(controller, path)):
                    make(controller, path, owner)
                put(controller, path, pid)
        return place

    def user(self, uid=1000, path=None, owner=None, **options):
        """A plain user of the host, in a cgroup of its own."""
        path = path or f"u{uid}"
        return self.once(f"u{uid}:{path}", lambda: self.host_agent.spawn(
            f"uid {uid}", self.placer(path, uid if owner is None else owner), uid=uid, **options))

    def container(self, path="c1", base=BASE, parent=None, first=0, size=RANGE, **options):
        """Root of a container in the cgroup `path` (as the cage names it), which it owns. In a parent,
        `first` is the id there that becomes its 0 and `base` is what that is on the host."""
        how = {"user": True, "pid": True, "mnt": True, "cgroup": True,
               "maps": [(0, first if parent else base, size)], **options}
        above = parent.agent if parent else self.host_agent
        return self.once(path, lambda: above.spawn(path, self.placer(path, base), **how))

    def nested(self):
        """Three containers in each other: c1, c1/c2, c1/c2/c3, roots 100000, 101000, 102000."""
        one = self.container("c1")
        two = self.container("c1/c2", 101000, one, 1000, 60000)
        three = self.container("c1/c2/c3", 102000, two, 1000, 50000)
        return one, two, three

    def inner_user(self, container, uid=1000, path=None, base=BASE, **options):
        """A plain user of a container, in a cgroup of its own."""
        path = path or f"{container.agent.name}/u{uid}"
        return self.once(path, lambda: container.agent.spawn(
            f"{path} uid {uid}", self.placer(path, base + uid), uid=uid, **options))

    def close(self):
        """Ends all; the daemon must end well and the tree be as it was before the test."""
        try:
            if self.daemon and self.daemon.process.poll() is not None and not self.daemon.ended:
                raise AssertionError(f"the daemon died: {self.daemon.log()[-3000:]}")
            if self.daemon:
                self.daemon.stop()
        finally:
            if self.daemon and self.daemon.process.poll() is None:
                self.daemon.kill()
            self.host_agent.close()
            self.clean()
            # One that ends in the next test's time would be a change that somebody there made.
            wait_until(agent.end_children, "the test's processes are gone", 60)
            subprocess.run(["rm", "-rf", self.directory], check=False)

    def clean(self):
        def emptied():
            agent.reap()
            left = below_tops()
            for path in left:
                for pid in [p for below in directories(path) for p in tasks_at(below)]:
                    cage.thaw(path)
                    if pid not in (0, 1, os.getpid()):
                        try:
                            os.kill(pid, signal.SIGKILL)
                        except ProcessLookupError:
                            pass
                cage.remove_deep(path)
            return not left
        wait_until(emptied, "the test's cgroups are gone", 60)
        cgroups.disable_but(self.enabled)

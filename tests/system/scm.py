# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Scm calls: a client's half of the exchange, step by step so that a test can leave the path."""

import array
import os
import socket
import struct

import agent
import wire

TYPES = {"dgram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}
# How many trailing arguments go as the victim's credentials, and what comes as the result.
TWINS = {
    "Create": (0, "existed"), "Chown": (2, "done"), "Chmod": (0, "done"), "GetPidCgroup": (1, "text"),
    "GetPidCgroupAbs": (1, "text"), "MovePid": (1, "done"), "MovePidAbs": (1, "done"),
    "GetValue": (0, "text"), "SetValue": (0, "done"), "Remove": (0, "existed"), "GetTasks": (0, "pids"),
    "GetTasksRecursive": (0, "pids"), "ListChildren": (0, "names"), "RemoveOnEmpty": (0, "done"),
    "Prune": (0, "done"), "ListKeys": (0, "keys"),
}
RECORD_MAX = 1 << 20
UCRED = struct.Struct("=iII")
SECONDS = 60


class Refused(Exception):
    """A result that says no: '0', -1 or nothing."""


class KernelRefused(Refused):
    """The kernel does not let us send these credentials."""


def signature_of(member):
    """Of the twin."""
    ids, _ = TWINS[member]
    whole = wire.SIGNATURES[member]
    return whole[:len(whole) - ids] + "h"


def credentials(pid=None, uid=None, gid=None):
    return (os.getpid() if pid is None else pid, os.geteuid() if uid is None else uid,
            os.getegid() if gid is None else gid)


def send_with(end, data, creds=None, fds=()):
    """One message with credentials, and perhaps fds too."""
    control = []
    if creds is not None:
        control.append((socket.SOL_SOCKET, socket.SCM_CREDENTIALS, UCRED.pack(*creds)))
    if fds:
        control.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds)))
    try:
        end.sendmsg([data], control)
    except (ProcessLookupError, PermissionError) as error:
        raise KernelRefused(str(error)) from None
    except OSError as error:
        if error.errno != 22 or creds is None:
            raise
        raise KernelRefused(str(error)) from None


class Exchange:
    """A call whose first D-Bus half is done: ours is the end that the rest goes over."""

    def __init__(self, bus, member, *args, kind="stream", fds=None, pair=None, **how):
        self.member, self.kind = member, kind
        self.ids, self.result_kind = TWINS[member]
        self.ours, self.theirs = pair or socket.socketpair(socket.AF_UNIX, TYPES[kind])
        self.ours.settimeout(SECONDS)
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.serial = send_call(bus, member, args, [self.theirs.fileno()] if fds is None else fds, **how)
        self.bus = bus

    def begun(self):
        """The empty D-Bus reply, which comes when the first '1' is on the socket."""
        value = self.bus.answer(self.serial).value()
        assert value is None, f"{self.member}Scm gave {value!r}"
        self.theirs.close()

    def record(self, size=RECORD_MAX):
        """(bytes, sender's credentials): one record, or what there is of a stream."""
        data, control, flags, _ = self.ours.recvmsg(size, socket.CMSG_SPACE(UCRED.size))
        assert not flags & socket.MSG_TRUNC, f"{self.member}Scm: a record longer than {size}"
        creds = None
        for _, kind, payload in control:
            if kind == socket.SCM_CREDENTIALS:
                creds = UCRED.unpack(payload)
        return data, creds

    def exactly(self, size):
        data, creds = self.record(size)
        while self.kind == "stream" and 0 < len(data) < size:
            more, _ = self.record(size - len(data))
            assert more, f"{self.member}Scm: the end, after {data!r}"
            data += more
        if not data:
            raise Refused("nothing")
        assert len(data) == size, f"{self.member}Scm: {data!r}, not {size} bytes"
        return data, creds

    def turn(self):
        """Waits for the '1' that asks for credentials."""
        data, _ = self.exactly(1)
        if data == b"0":
            raise Refused("'0'")
        assert data == b"1", f"{self.member}Scm: {data!r} to ask for credentials"

    def send(self, creds):
        try:
            send_with(self.ours, b"p", creds)
        except KernelRefused:
            # Who waits for it learns at once that nothing will come.
            if self.kind == "dgram":
                self.ours.send(b"")
            raise

    def result(self):
        """What the plain call would give."""
        value = getattr(self, self.result_kind)()
        self.ended()
        return value

    def ended(self):
        """Nothing follows; where it can be seen, the daemon has closed its end."""
        if self.kind != "dgram":
            assert self.record(1)[0] == b"", f"{self.member}Scm: something follows the result"
            return
        self.ours.setblocking(False)
        try:
            assert not self.record(), f"{self.member}Scm: something follows the result"
        except BlockingIOError:
            pass

    def done(self):
        data, _ = self.exactly(1)
        if data == b"0":
            raise Refused("'0'")
        assert data == b"1", f"{self.member}Scm: the result {data!r}"

    def existed(self):
        data, _ = self.exactly(1)
        if data == b"0":
            raise Refused("'0'")
        assert data in (b"1", b"2"), f"{self.member}Scm: the result {data!r}"
        return 1 if data == b"2" else -1

    def text(self):
        data, _ = self.record()
        while self.kind == "stream" and data and not data.endswith(b"\0"):
            more, _ = self.record()
            assert more, f"{self.member}Scm: the end, after {data!r}"
            data += more
        if not data:
            raise Refused("nothing")
        assert data.index(b"\0") == len(data) - 1, f"{self.member}Scm: the text {data!r}"
        return data[:-1].decode()

    def count(self):
        number, = struct.unpack("=i", self.exactly(4)[0])
        if number < 0:
            raise Refused(str(number))
        return number

    def pids(self):
        return [self.exactly(1)[1][0] for _ in range(self.count())]

    def names(self):
        count = self.count()
        if not count:
            # A length of 0 may follow or not.
            if self.kind == "stream" or self.kind == "seqpacket":
                data, _ = self.record(4)
                assert data in (b"", bytes(4)), f"{self.member}Scm: {data!r} after none"
            else:
                self.ended = lambda: None
            return []
        size, = struct.unpack("=I", self.exactly(4)[0])
        names = self.exactly(size)[0].decode().removesuffix("\0").split("\0")
        assert len(names) == count, f"{self.member}Scm: {names} are not {count}"
        return names

    def keys(self):
        rows = [name.removesuffix("\n").split("\n") for name in self.names()]
        return [(name, int(uid) % 2 ** 32, int(gid) % 2 ** 32, int(mode)) for name, uid, gid, mode in rows]

    def close(self):
        self.ours.close()
        self.theirs.close()


def send_call(bus, member, args, fds, twin=None, signature=None, announced=None):
    """The D-Bus call alone; gives its serial."""
    serial = bus.next_serial()
    signature = signature_of(member) if signature is None else signature
    values = [*args, 0] if len(args) < len(wire.types_of(signature)) else args
    announced = len(fds) if announced is None else announced
    message = wire.build(serial, twin or member + "Scm", signature, values,
                         extra=[(9, "u", announced)] if announced else [])
    send_with(bus.socket, message, fds=fds)
    return serial


def call(bus, member, *args, kind="stream", requestor=None, victim=None):
    """The whole exchange, with the arguments of the plain call: its value, Refused, or DBusError."""
    ids, _ = TWINS[member]
    args, trailing = args[:len(args) - ids], args[len(args) - ids:]
    exchange = Exchange(bus, member, *args, kind=kind)
    try:
        exchange.begun()
        exchange.turn()
        exchange.send(requestor or credentials())
        if ids:
            exchange.turn()
            exchange.send(victim or (credentials(pid=trailing[0]) if ids == 1
                                     else credentials(None, *trailing)))
        return exchange.result()
    finally:
        exchange.close()


# Functions to run in an agent.

def connect(address, key="scm"):
    agent.here[key] = wire.Bus(address, fds=True)
    return agent.here[key].negotiated


def call_on(key, member, *args, **how):
    return call(agent.here[key], member, *args, **how)


class Client:
    """Like world.Client, by Scm calls over one type of socket: client.Create("memory", "x")."""

    def __init__(self, client, kind="stream", address=None):
        self.agent, self.kind, self.key = client.agent, kind, "scm"
        self.agent.run(connect, address or client.world.daemon.socket, self.key)

    def __getattr__(self, member):
        if member not in TWINS:
            raise AttributeError(member)
        return lambda *args, **how: self.agent.run(call_on, self.key, member, *args,
                                                   **{"kind": self.kind, **how})

    def run(self, function, *args, **how):
        return self.agent.run(function, *args, **how)

    def refused(self, member, *args, **how):
        """The exchange ends in a no."""
        try:
            value = getattr(self, member)(*args, **how)
        except Refused:
            return
        raise AssertionError(f"{member}Scm{args} was not refused: {value!r}")

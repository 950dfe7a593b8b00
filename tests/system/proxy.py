# SPDX-License-Identifier: LGPL-2.1-or-later
"""A proxy as containers of the old interface have it: it answers on a socket of its own, plain calls and
Scm ones, and passes each on as an Scm call in the name of who called it. It decides nothing but what it
cannot translate: numbers of another namespace, which a plain call carries as such.

One thread for a connection; it is for tests, and bounds nothing."""

import array
import os
import socket
import struct
import threading

import agent
import scm
import wire

ERROR = "org.freedesktop.DBus.Error."
STANDARD = "org.freedesktop.DBus."
with open(os.path.join(os.path.dirname(__file__), "../../dbus/org.linuxcontainers.cgmanager0_0.xml")) as xml:
    DOCUMENT = xml.read()
OUT = {"existed": "i", "done": "", "text": "s", "pids": "ai", "names": "as", "keys": "a(suuu)"}


class Failed(Exception):
    """(error name, message)"""


class Call:
    """One call that came."""

    def __init__(self, raw, take_fds):
        endian = "<" if raw[:1] == b"l" else ">"
        self.kind, self.flags = raw[1], raw[2]
        self.serial, size = struct.unpack_from(endian + "II", raw, 8)
        head = wire.Decoder(raw, endian)
        head.at = 12
        fields = {wire.FIELDS.get(code, code): value for code, value in head.get("a(yv)")}
        self.path, self.interface = fields.get("path"), fields.get("interface")
        self.member, self.signature = fields.get("member"), fields.get("signature", "")
        body = wire.Decoder(raw[16 + size + -size % 8:], endian)
        self.args = [body.get(kind) for kind in wire.types_of(self.signature)]
        self.fds = take_fds(fields.get("fds", 0))


def same_namespace(pid, kind):
    """A plain call's numbers are the caller's; we can pass them on only where they are ours too."""
    def identity(who):
        status = os.stat(f"/proc/{who}/ns/{kind}")
        return status.st_dev, status.st_ino
    try:
        return identity(pid) == identity("self")
    except OSError:
        return False


class Connection:
    """A client of ours, and our own connection upwards for it."""

    def __init__(self, channel, upstream, kind):
        self.channel, self.upstream, self.kind = channel, upstream, kind
        self.data, self.fds = b"", []
        self.who = scm.UCRED.unpack(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.bus = None

    def serve(self):
        try:
            self.login()
            while True:
                self.answer(self.next_call())
        except (EOFError, OSError, wire.Dropped):
            pass
        finally:
            self.channel.close()
            for fd in self.fds:
                os.close(fd)
            if self.bus:
                self.bus.close()

    def receive(self):
        data, control, _, _ = self.channel.recvmsg(65536, socket.CMSG_SPACE(16 * 4))
        for _, kind, payload in control:
            if kind == socket.SCM_RIGHTS:
                self.fds += array.array("i", payload)
        if not data:
            raise EOFError
        self.data += data

    def line(self):
        while b"\r\n" not in self.data:
            self.receive()
        line, self.data = self.data.split(b"\r\n", 1)
        return line.lstrip(b"\0").decode()

    def login(self):
        while True:
            line = self.line()
            if line == "BEGIN":
                return
            if line in ("AUTH EXTERNAL", "AUTH ANONYMOUS"):
                said = "DATA"
            elif line.startswith(("AUTH EXTERNAL ", "AUTH ANONYMOUS ", "DATA")):
                said = "OK " + "0123456789abcdef" * 2
            elif line.startswith("AUTH"):
                said = "REJECTED EXTERNAL ANONYMOUS"
            else:
                said = "AGREE_UNIX_FD" if line == "NEGOTIATE_UNIX_FD" else "ERROR"
            self.channel.sendall(said.encode() + b"\r\n")

    def take_fds(self, count):
        taken, self.fds = self.fds[:count], self.fds[count:]
        return taken

    def next_call(self):
        while len(self.data) < 16:
            self.receive()
        endian = "<" if self.data[:1] == b"l" else ">"
        body, _, fields = struct.unpack_from(endian + "III", self.data, 4)
        size = 16 + fields + -fields % 8 + body
        while len(self.data) < size:
            self.receive()
        raw, self.data = self.data[:size], self.data[size:]
        return Call(raw, self.take_fds)

    def reply(self, call, signature, *values):
        if call.flags & wire.NO_REPLY:
            return
        self.channel.sendall(message(wire.RETURN, signature, values, [(5, ("u", call.serial))]))

    def fail(self, call, name, text):
        if call.flags & wire.NO_REPLY:
            return
        self.channel.sendall(message(wire.ERROR, "s", [text], [
            (4, ("s", ERROR + name)), (5, ("u", call.serial))]))

    def answer(self, call):
        try:
            if call.kind == wire.CALL:
                self.dispatch(call)
        except Failed as failure:
            self.fail(call, *failure.args)
        except scm.Refused as refusal:
            self.fail(call, "InvalidArgs", f"{call.member}: refused: {refusal}")
        except wire.DBusError as error:
            self.fail(call, error.name.removeprefix(ERROR), error.message)
        finally:
            for fd in call.fds:
                os.close(fd)

    def dispatch(self, call):
        ours = call.path == wire.PATH and call.interface in (None, wire.INTERFACE)
        member = call.member.removesuffix("Scm")
        if ours and call.member in wire.SIGNATURES:
            check_signature(call, wire.SIGNATURES[call.member])
            self.plain(call)
        elif ours and call.member != member and member in scm.TWINS:
            check_signature(call, scm.signature_of(member))
            self.twin(call, member)
        else:
            self.standard(call)

    def standard(self, call):
        here = call.path == wire.PATH
        asked = ((call.interface or "").removeprefix(STANDARD), call.member)
        if asked == ("Peer", "Ping"):
            self.reply(call, "")
        elif asked == ("Introspectable", "Introspect") and (here or call.path == "/"):
            check_signature(call, "")
            self.reply(call, "s", DOCUMENT if here else '<node><node name="org"/></node>')
        elif asked == ("Properties", "Get") and here:
            check_signature(call, "ss")
            if call.args != [wire.INTERFACE, "api_version"]:
                raise Failed("UnknownMethod", "there is no such property")
            self.reply(call, "v", ("i", 10))
        elif asked == ("Properties", "GetAll") and here:
            check_signature(call, "s")
            self.reply(call, "a{sv}", [("api_version", ("i", 10))])
        else:
            raise Failed("UnknownMethod", f"there is no {call.member} here")

    def connect(self):
        if not self.bus:
            self.bus = wire.Bus(self.upstream, fds=True)
        return self.bus

    def plain(self, call):
        member = call.member
        if member in ("Ping", "ListControllers"):
            value = self.connect().call(member, *call.args)
            self.reply(call, "as" if member == "ListControllers" else "", *([value] if value is not None
                                                                            else []))
            return
        ids, result = scm.TWINS[member]
        if (ids == 1 or result == "pids") and not same_namespace(self.who[0], "pid"):
            raise Failed("InvalidArgs", f"{member}: you are in another pid namespace; use the Scm call")
        if ids == 2 and not same_namespace(self.who[0], "user"):
            raise Failed("InvalidArgs", f"{member}: you are in another user namespace; use the Scm call")
        victim = None
        if ids == 1:
            victim = (call.args[-1], 0, 0)
        elif ids == 2:
            victim = (os.getpid(), call.args[-2] % 2 ** 32, call.args[-1] % 2 ** 32)
        value = scm.call(self.connect(), member, *call.args, kind=self.kind, requestor=self.who,
                         victim=victim)
        self.reply(call, OUT[result], *([value] if OUT[result] else []))

    def twin(self, call, member):
        """The client's exchange first, then the same upwards with what the kernel made of it."""
        if len(call.fds) != 1:
            raise Failed("InvalidArgs", f"{call.member}: one socket is needed")
        with socket.socket(fileno=os.dup(call.fds[0])) as theirs:
            try:
                theirs.settimeout(10)
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                theirs.send(b"1")
            except OSError as error:
                raise Failed("InvalidArgs", f"{call.member}: the socket: {error}") from None
            self.reply(call, "")
            try:
                self.pass_on(call, member, theirs)
            except OSError:
                pass

    def pass_on(self, call, member, theirs):
        ids, result = scm.TWINS[member]
        try:
            who = receive_credentials(theirs)
            victim = None
            if ids:
                theirs.send(b"1")
                victim = receive_credentials(theirs)
            args = [*call.args[:-1], *[0] * ids]
            value = scm.call(self.connect(), member, *args, kind=self.kind, requestor=who, victim=victim)
        except (scm.Refused, wire.DBusError):
            write_refusal(theirs, result)
        else:
            write_result(theirs, result, value)


def check_signature(call, wanted):
    if call.signature != wanted:
        raise Failed("InvalidArgs", f"{call.member}: the signature is '{wanted}', not '{call.signature}'")


def message(kind, signature, values, fields):
    """Little-endian, whatever the client speaks."""
    body = wire.Encoder()
    for inner, value in zip(wire.types_of(signature), values):
        body.put(inner, value)
    if signature:
        fields = [*fields, (8, ("g", signature))]
    head = wire.Encoder()
    head.data += struct.pack("<4BII", ord("l"), kind, wire.NO_REPLY, 1, len(body.data), 1)
    head.put("a(yv)", fields)
    head.pad(8)
    return bytes(head.data + body.data)


def receive_credentials(theirs):
    data, control, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(scm.UCRED.size))
    for _, kind, payload in control:
        if data and kind == socket.SCM_CREDENTIALS:
            return scm.UCRED.unpack(payload)
    raise scm.Refused("no credentials came")


def write_refusal(theirs, result):
    if result in ("done", "existed"):
        theirs.send(b"0")
    elif result == "text":
        theirs.send(b"")
    else:
        theirs.send(struct.pack("=i", -1))


def write_result(theirs, result, value):
    if result == "done":
        theirs.send(b"1")
    elif result == "existed":
        theirs.send(b"2" if value == 1 else b"1")
    elif result == "text":
        theirs.sendall(value.encode() + b"\0")
    else:
        theirs.send(struct.pack("=i", len(value)))
        if result == "pids":
            for pid in value:
                scm.send_with(theirs, b"p", (pid, os.geteuid(), os.getegid()))
            return
        if result == "keys":
            value = ["{}\n{}\n{}\n{}\n".format(*row) for row in value]
        text = "\0".join(value).encode()
        if text:
            theirs.send(struct.pack("=I", len(text)))
            theirs.sendall(text)


def accept_for_ever(listener, upstream, kind):
    while True:
        channel, _ = listener.accept()
        connection = Connection(channel, upstream, kind)
        threading.Thread(target=connection.serve, daemon=True).start()


# Functions to run in an agent.

def begin(path, upstream, kind, become=None):
    """A proxy in a process of its own, which listens when this returns. become() is run in it first."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o777)
    listener.listen(64)
    pid = os.fork()
    if pid == 0:
        try:
            agent.libc.prctl(agent.PR_SET_PDEATHSIG, 9)
            if become:
                become()
            accept_for_ever(listener, upstream, kind)
        finally:
            os._exit(1)
    listener.close()
    agent.here["proxy"] = pid


def end():
    agent.end_task(agent.here.pop("proxy"))


def start(world, container, upstream, name="proxy", owner=100000, kind="dgram", become=None):
    """A proxy of this container's root, `owner` on the host; gives the path of its socket."""
    directory = f"{world.directory}/{name}"
    os.mkdir(directory)
    os.chown(directory, owner, owner)
    container.agent.run(begin, f"{directory}/socket", upstream, kind, become)
    return f"{directory}/socket"

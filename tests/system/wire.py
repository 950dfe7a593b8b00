# SPDX-License-Identifier: LGPL-2.1-or-later
"""A D-Bus client small enough to lie with: every byte of a message can be chosen by the test."""

import array
import os
import re
import socket
import struct

PATH = "/org/linuxcontainers/cgmanager"
INTERFACE = "org.linuxcontainers.cgmanager0_0"
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
NO_REPLY = 1
FIELDS = {1: "path", 2: "interface", 3: "member", 4: "error", 5: "serial", 6: "destination",
          7: "sender", 8: "signature", 9: "fds"}
FIELD_TYPES = {1: "o", 2: "s", 3: "s", 4: "s", 5: "u", 6: "s", 7: "s", 8: "g", 9: "u"}
FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q",
         "d": "d", "h": "I"}
ALIGN = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "b": 4, "i": 4, "u": 4, "h": 4, "s": 4, "o": 4,
         "a": 4, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}

# What each method takes, so that a test names only the values.
SIGNATURES = {
    "Ping": "i", "Create": "ss", "Chown": "ssii", "Chmod": "sssi", "GetPidCgroup": "si",
    "GetPidCgroupAbs": "si", "MovePid": "ssi", "MovePidAbs": "ssi", "GetValue": "sss",
    "SetValue": "ssss", "Remove": "ssi", "GetTasks": "ss", "GetTasksRecursive": "ss",
    "ListChildren": "ss", "RemoveOnEmpty": "ss", "Prune": "ss", "ListControllers": "",
    "ListKeys": "ss",
}

# The native interface, at an object of its own.
NATIVE_PATH, NATIVE_INTERFACE = "/org/cgmd1", "org.cgmd1.Manager"
NATIVE = {
    "SetDevices": "sas", "AllowDevices": "sss", "DenyDevices": "sss", "ListDevices": "s",
    "CheckDevice": "sss", "ResolveDevice": "s", "AddDevice": "sssa{sv}", "RemoveDevice": "ss",
    "ListGpus": "", "GrantPerf": "sas", "RevokePerf": "sasa{sv}", "ListPerf": "s", "CheckPerf": "ss", "ShowPerf": "",
    "OpenPerfEvent": "ayiiht", "AttachPerfListener": "h",
}


class DBusError(Exception):
    """An error reply: its name and its message."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message

    def __reduce__(self):
        return (DBusError, (self.name, self.message))


class Dropped(Exception):
    """The daemon closed the connection."""


def types_of(signature):
    """The complete types of a signature, one by one."""
    found, i = [], 0
    while i < len(signature):
        start = i
        while signature[i] == "a":
            i += 1
        if signature[i] in "({":
            depth = 0
            while True:
                depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[i], 0)
                i += 1
                if depth == 0:
                    break
        else:
            i += 1
        found.append(signature[start:i])
    return found


class Encoder:
    def __init__(self, endian="<"):
        self.endian, self.data = endian, bytearray()

    def pad(self, size):
        self.data += bytes(-len(self.data) % size)

    def put(self, kind, value):
        head = kind[0]
        self.pad(ALIGN[head])
        if head in FIXED:
            self.data += struct.pack(self.endian + FIXED[head], value)
        elif head in "sog":
            raw = value if isinstance(value, bytes) else value.encode()
            self.data += struct.pack(self.endian + ("B" if head == "g" else "I"), len(raw))
            self.data += raw + b"\0"
        elif head == "v":
            self.put("g", value[0])
            self.put(value[0], value[1])
        elif head in "({":
            for inner, item in zip(types_of(kind[1:-1]), value):
                self.put(inner, item)
        else:
            self.put_array(kind[1:], value)

    def put_array(self, inner, items):
        at = len(self.data)
        self.data += bytes(4)
        self.pad(ALIGN[inner[0]])
        start = len(self.data)
        for item in items:
            self.put(inner, item)
        struct.pack_into(self.endian + "I", self.data, at, len(self.data) - start)


class Decoder:
    def __init__(self, data, endian):
        self.data, self.endian, self.at = data, endian, 0

    def get(self, kind):
        head = kind[0]
        self.at += -self.at % ALIGN[head]
        if head in FIXED:
            return self.fixed(FIXED[head])
        if head in "sog":
            size = self.fixed("B" if head == "g" else "I")
            value = self.data[self.at:self.at + size].decode()
            self.at += size + 1
            return value
        if head == "v":
            return self.get(self.get("g"))
        if head in "({":
            return tuple(self.get(inner) for inner in types_of(kind[1:-1]))
        size = self.fixed("I")
        self.at += -self.at % ALIGN[kind[1]]
        end, items = self.at + size, []
        while self.at < end:
            items.append(self.get(kind[1:]))
        return items

    def fixed(self, code):
        value, = struct.unpack_from(self.endian + code, self.data, self.at)
        self.at += struct.calcsize(code)
        return value


def build(serial, member, signature="", args=(), *, path=PATH, interface=INTERFACE, kind=CALL,
          flags=0, endian="<", extra=()):
    """One message as bytes. `extra` are more header fields, (code, type, value)."""
    body = Encoder(endian)
    for inner, value in zip(types_of(signature), args):
        body.put(inner, value)
    fields = [(1, ("o", path)), (3, ("s", member))]
    if interface is not None:
        fields.append((2, ("s", interface)))
    if signature:
        fields.append((8, ("g", signature)))
    fields += [(code, (inner, value)) for code, inner, value in extra]
    head = Encoder(endian)
    for inner, value in zip("yyyyuu", (ord("l" if endian == "<" else "B"), kind, flags, 1,
                                       len(body.data), serial)):
        head.put(inner, value)
    head.put("a(yv)", fields)
    head.pad(8)
    return bytes(head.data + body.data)


class Reply:
    def __init__(self, kind, fields, body):
        self.kind, self.fields, self.body = kind, fields, body

    def value(self):
        if self.kind == ERROR:
            raise DBusError(self.fields.get("error"), self.body[0] if self.body else "")
        if not self.body:
            return None
        return self.body[0] if len(self.body) == 1 else tuple(self.body)


class Bus:
    """One connection."""

    def __init__(self, address, mechanism="EXTERNAL", uid=None, fds=False, timeout=60, login=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.serial, self.data, self.got_fds = 0, b"", 0
        if login:
            self.login(mechanism, os.getuid() if uid is None else uid, fds)

    def login(self, mechanism, uid, fds):
        proof = str(uid).encode().hex() if mechanism == "EXTERNAL" else "78"
        self.send(b"\0" + f"AUTH {mechanism} {proof}\r\n".encode())
        answer = self.line()
        if not re.match(r"OK [0-9a-f]{32}$", answer):
            raise DBusError("auth", answer)
        if fds:
            self.send(b"NEGOTIATE_UNIX_FD\r\n")
            self.negotiated = self.line()
        self.send(b"BEGIN\r\n")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Dropped(str(error)) from None

    def receive(self):
        """More bytes; counts the fds that came with them and closes them."""
        try:
            data, anc, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(253 * 4))
        except ConnectionResetError as error:
            raise Dropped(str(error)) from None
        for level, kind, payload in anc:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i", payload[:len(payload) - len(payload) % 4])
                self.got_fds += len(fds)
                for fd in fds:
                    os.close(fd)
        if not data:
            raise Dropped("end of file")
        self.data += data

    def line(self):
        while b"\r\n" not in self.data:
            self.receive()
        line, self.data = self.data.split(b"\r\n", 1)
        return line.decode()

    def next_serial(self):
        self.serial += 1
        return self.serial

    def message(self):
        """The next message."""
        while True:
            if len(self.data) >= 16:
                endian = "<" if self.data[:1] == b"l" else ">"
                body_size, _, fields_size = struct.unpack_from(endian + "III", self.data, 4)
                start = 16 + fields_size + -fields_size % 8
                if len(self.data) >= start + body_size:
                    break
            self.receive()
        raw, self.data = self.data[:start + body_size], self.data[start + body_size:]
        head = Decoder(raw[:16 + fields_size], endian)
        head.at = 12
        fields = {FIELDS.get(code, code): value for code, value in head.get("a(yv)")}
        body = Decoder(raw[start:], endian)
        return Reply(raw[1], fields, [body.get(t) for t in types_of(fields.get("signature", ""))])

    def answer(self, serial):
        while True:
            reply = self.message()
            if reply.fields.get("serial") == serial:
                return reply

    def start(self, member, *args, signature=None, **how):
        """Sends a call and gives its serial."""
        serial = self.next_serial()
        if member in NATIVE:
            how = {"path": NATIVE_PATH, "interface": NATIVE_INTERFACE, **how}
        if signature is None:
            signature = SIGNATURES.get(member) or NATIVE.get(member, "")
        self.send(build(serial, member, signature, args, **how))
        return serial

    def call(self, member, *args, **how):
        """The value of the reply, or DBusError, or Dropped."""
        return self.answer(self.start(member, *args, **how)).value()

    def close(self):
        self.socket.close()

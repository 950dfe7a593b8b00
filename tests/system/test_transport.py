# SPDX-License-Identifier: LGPL-2.1-or-later
"""The wire: THREATS, Transport, and what generic clients ask."""

import os
import re
import socket
import struct
import xml.etree.ElementTree

import agent
import wire
import world
from harness import Skip, each, equal, needs, test

PREFIX = "org.freedesktop.DBus."
INVALID, UNKNOWN = PREFIX + "Error.InvalidArgs", PREFIX + "Error.UnknownMethod"


def error_of(client, member, *args, **how):
    try:
        value = client.run(world.call_on, "bus", member, *args, **how)
    except wire.DBusError as error:
        return error.name
    raise AssertionError(f"{member}{args} was not refused: {value!r}")


def ask(client, interface, member, signature="", *args, path=wire.PATH):
    return client.run(world.call_on, "bus", member, *args, signature=signature,
                      interface=PREFIX + interface, path=path)


@each("EXTERNAL", "ANONYMOUS")
def test_mechanisms(w, mechanism):
    """Both are taken; rights come from the kernel's credentials alone."""
    needs("memory")
    for client, at in ((w.container(), "c1/x"), (w.host(), "x")):
        client.reconnect(mechanism=mechanism)
        client.Create("memory", "x")
        assert os.path.isdir(world.where("memory", at))


@test
def test_claimed_uid(w):
    """A uid that is claimed in EXTERNAL is neither believed nor a reason to refuse."""
    needs("memory")
    client = w.user(1000)
    client.reconnect(uid=0)
    client.refused("NOT_NS_ROOT", "Chown", "memory", "", 0, 0)
    client.refused("SCOPE_ROOT", "SetValue", "memory", "", "memory.limit_in_bytes", "-1")


@test
def test_peer_and_properties(w):
    client = w.container()
    for path in (wire.PATH, "/", "/somewhere"):
        equal(ask(client, "Peer", "Ping", path=path), None)
    equal(ask(client, "Properties", "Get", "ss", wire.INTERFACE, "api_version"), 10)
    equal(dict(ask(client, "Properties", "GetAll", "s", wire.INTERFACE)), {"api_version": 10})
    equal(error_of(client, "Get", wire.INTERFACE, "nosuch", signature="ss",
                   interface=PREFIX + "Properties"), UNKNOWN)
    assert error_of(client, "Set", wire.INTERFACE, "api_version", ("i", 11), signature="ssv",
                    interface=PREFIX + "Properties").startswith(PREFIX)


@test
def test_machine_id(w):
    """A container learns nothing of the host by GetMachineId."""
    try:
        host = world.read("/etc/machine-id").strip()
    except FileNotFoundError:
        host = "none"
    for client in (w.container(), w.inner_user(w.container()), w.user(1000)):
        try:
            got = ask(client, "Peer", "GetMachineId")
        except wire.DBusError as error:
            got = error.message
        assert not host or host not in got, got
        assert not re.search("[0-9a-f]{32}", got), got


@test
def test_introspect(w):
    """Every method with its signature, as the contract has it; the tree leads there from the root."""
    client = w.container()
    top = ask(client, "Introspectable", "Introspect", path="/")
    assert 'name="org' in top, top
    tree = xml.etree.ElementTree.fromstring(ask(client, "Introspectable", "Introspect"))
    ours = next(i for i in tree if i.get("name") == wire.INTERFACE)
    methods = {m.get("name"): "".join(a.get("type") for a in m if a.get("direction") != "out")
               for m in ours if m.tag == "method"}
    equal({name: methods.get(name) for name in wire.SIGNATURES}, wire.SIGNATURES)
    answers = {m.get("name"): "".join(a.get("type") for a in m if a.get("direction") == "out")
               for m in ours if m.tag == "method"}
    equal([answers[n] for n in ("Create", "GetTasks", "ListKeys", "GetValue", "ListChildren")],
          ["i", "ai", "a(suuu)", "s", "as"])
    equal([(p.get("name"), p.get("type")) for p in ours if p.tag == "property"], [("api_version", "i")])


@each(*wire.SIGNATURES)
def test_wrong_signature(w, member):
    client = w.host()
    right = wire.SIGNATURES[member]
    for signature, args in (("x", (1,)), ("as", (["a"],)), ("sssssss", ["a"] * 7),
                            ("v", (("s", "a"),))):
        equal(error_of(client, member, *args, signature=signature), INVALID, signature)
    if right:
        equal(error_of(client, member, signature=""), INVALID)


@test
def test_unknown(w):
    client = w.container()
    equal(error_of(client, "Nosuch", signature=""), UNKNOWN)
    equal(error_of(client, "Ping", 1, path="/org/other"), UNKNOWN)
    equal(error_of(client, "Ping", 1, interface="org.other.Interface"), UNKNOWN)
    equal(error_of(client, "ping", 1, signature="i"), UNKNOWN)
    equal(error_of(client, "Introspect", signature="", path="/nosuch",
                   interface=PREFIX + "Introspectable"), UNKNOWN)


@test
def test_interface_may_be_omitted(w):
    needs("memory")
    client = w.container()
    equal(client.Ping(1, interface=None), None)
    equal(client.Create("memory", "x", interface=None), -1)


@test
def test_no_reply_wanted(w):
    """A call that wants no reply gets none, and is done."""
    needs("memory")
    client = w.container()
    equal(client.run(call_without_reply), [2])
    assert os.path.isdir(world.where("memory", "c1/x"))


def call_without_reply():
    bus = agent.here["bus"]
    for member, args in (("Create", ("memory", "x")), ("Create", ("memory", "..")), ("Nosuch", ())):
        bus.send(wire.build(bus.next_serial(), member, wire.SIGNATURES.get(member, ""), args,
                            flags=wire.NO_REPLY))
    last = bus.start("Ping", 1)
    kinds = []
    while True:
        reply = bus.message()
        kinds.append(reply.kind)
        if reply.fields["serial"] == last:
            return kinds


@test
def test_order_is_kept(w):
    """Many calls in one write: answered in their order, the slow ones too."""
    needs("memory", "freezer")
    client = w.container()
    equal(client.run(many_at_once, 60), list(range(60)))


def many_at_once(count):
    bus = agent.here["bus"]
    calls = []
    for i in range(count):
        member, args = (("Create", ("memory", f"n{i}")), ("Remove", ("memory", f"n{i - 1}", 1)),
                        ("SetValue", ("memory", "n", "memory.limit_in_bytes", "8388608")))[i % 3]
        calls.append(wire.build(i + 1, member, wire.SIGNATURES[member], args))
    bus.send(b"".join(calls))
    return [bus.message().fields["serial"] - 1 for _ in range(count)]


@each(">", "<")
def test_t58_endian(w, endian):
    needs("memory")
    client = w.container()
    equal(client.Create("memory", "x", endian=endian), -1)
    equal(client.Chown("memory", "x", -1, 7, endian=endian), None)
    equal(client.GetTasks("memory", "x", endian=endian), [])
    assert client.ListKeys("memory", "x", endian=endian)
    equal(error_of(client, "Create", "memory", "..", endian=endian), INVALID)


def survives(w, act):
    """Something hostile on a connection of its own; others are served, and nothing leaks."""
    other, hostile = w.host(), w.container()
    other.Ping(1)
    fds, before = w.daemon.fds(), world.snapshot()
    result = hostile.run(act, w.daemon.socket)
    other.Ping(1)
    w.same_fds(fds, act.__name__)
    equal(world.difference(before, world.snapshot()), [])
    return result


def dropped(bus):
    """Reads until the end; False if an answer to the last message comes instead."""
    try:
        while True:
            bus.message()
    except wire.Dropped:
        return True
    finally:
        bus.close()


def attempt(address, data, **how):
    bus = wire.Bus(address, **how)
    try:
        bus.send(data)
    except wire.Dropped:
        return True
    return dropped(bus)


def send_fd_in_call(address):
    bus = wire.Bus(address, fds=True)
    message = wire.build(1, "Ping", "i", (1,), extra=[(9, "u", 1)])
    with open("/dev/null") as null:
        socket.send_fds(bus.socket, [message], [null.fileno()])
    return dropped(bus)


def send_fd_on_last_byte(address):
    bus = wire.Bus(address, fds=True)
    message = wire.build(1, "Ping", "i", (1,))
    bus.send(message[:-1])
    with open("/dev/null") as null:
        socket.send_fds(bus.socket, [message[-1:]], [null.fileno()])
    return dropped(bus)


def send_fd_in_auth(address):
    bus = wire.Bus(address, login=False)
    try:
        with open("/dev/null") as null:
            socket.send_fds(bus.socket, [b"\0AUTH ANONYMOUS 78\r\n"], [null.fileno()])
        bus.line()
        bus.send(b"BEGIN\r\n")
        bus.call("Ping", 1)
        return False
    except (wire.Dropped, PermissionError):
        # The latter since 6.16: by the kernel, for the daemon.
        return True
    finally:
        bus.close()


def send_many_fds(address):
    bus = wire.Bus(address, fds=True)
    message = wire.build(1, "Ping", "i", (1,))
    with open("/dev/null") as null:
        for part in (message[:4], message[4:8], message[8:12], message[12:16]):
            try:
                socket.send_fds(bus.socket, [part], [null.fileno()] * 253)
            except (BrokenPipeError, ConnectionResetError):
                break
    return dropped(bus)


@each(send_fd_in_call.__name__, send_fd_on_last_byte.__name__, send_fd_in_auth.__name__,
      send_many_fds.__name__)
def test_t50_t51_fds(w, name):
    """A message with fds ends its connection before they are received."""
    assert survives(w, globals()[name]), "was not dropped"


def announce_128_mib(address):
    head = struct.pack("<4B3I", ord("l"), wire.CALL, 0, 1, 128 << 20, 1, 64)
    return attempt(address, head)


def announce_64_mib_of_fields(address):
    head = struct.pack("<4B3I", ord("l"), wire.CALL, 0, 1, 0, 1, 64 << 20)
    return attempt(address, head)


def garbage_as_auth(address):
    return attempt(address, b"\0" + b"x" * 65536, login=False)


def auth_without_nul(address):
    return attempt(address, b"AUTH EXTERNAL 30\r\nBEGIN\r\n", login=False)


def garbage_as_message(address):
    return attempt(address, b"GET / HTTP/1.1\r\n\r\n" * 10)


def long_object_path(address):
    return answers_or_drops(
        address, wire.build(1, "Ping", "i", (1,), path="/" + "a" * 65000 + "/b" * 100))


def wrong_protocol_version(address):
    message = bytearray(wire.build(1, "Ping", "i", (1,)))
    message[3] = 9
    return attempt(address, bytes(message))


@each(*[f.__name__ for f in (announce_128_mib, announce_64_mib_of_fields, garbage_as_auth,
                             auth_without_nul, garbage_as_message, wrong_protocol_version)])
def test_t52_t57_t58_dropped(w, name):
    assert survives(w, globals()[name]), "was not dropped"


def deep_variants(address):
    value = ("s", "x")
    for _ in range(65):
        value = ("v", value)
    return answers_or_drops(address, wire.build(1, "Ping", "v", (value,)))


def bad_fd_index(address):
    return answers_or_drops(address, wire.build(1, "Ping", "h", (7,)))


def serial_zero(address):
    return answers_or_drops(address, wire.build(0, "Ping", "i", (1,)))


def truncated_body(address):
    message = bytearray(wire.build(1, "Create", "ss", ("memory", "t58")))
    message[-12] = 0xff
    return answers_or_drops(address, bytes(message))


def answers_or_drops(address, data):
    """An error, or the end of the connection; what comes after it is served if it still is there."""
    bus = wire.Bus(address)
    try:
        bus.send(data)
        bus.send(wire.build(77, "Ping", "i", (1,)))
        while True:
            reply = bus.message()
            if reply.fields.get("serial") == 77:
                return reply.kind == wire.RETURN
            if reply.kind != wire.ERROR:
                return False
    except wire.Dropped:
        return True
    finally:
        bus.close()


@each(*[f.__name__ for f in (long_object_path, deep_variants, bad_fd_index, serial_zero, truncated_body,
                             long_object_path)])
def test_t58_malformed(w, name):
    assert survives(w, globals()[name])


def in_one_write(address):
    bus = wire.Bus(address, login=False)
    bus.send(b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
             + wire.build(1, "Ping", "i", (1,)) + wire.build(2, "ListControllers"))
    assert bus.line().startswith("OK ")
    bus.line()
    kinds = [bus.message().kind for _ in range(2)]
    bus.close()
    return kinds


def byte_by_byte(address):
    bus = wire.Bus(address, login=False)
    for byte in (b"\0AUTH ANONYMOUS 78\r\nBEGIN\r\n" + wire.build(1, "Ping", "i", (1,))
                 + wire.build(2, "ListControllers")):
        bus.send(bytes([byte]))
    assert bus.line().startswith("OK ")
    kinds = [bus.message().kind for _ in range(2)]
    bus.close()
    return kinds


def begin_with_half_a_call(address):
    bus = wire.Bus(address, login=False)
    message = wire.build(1, "Ping", "i", (1,)) + wire.build(2, "Ping", "i", (1,))
    bus.send(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n" + message[:7])
    assert bus.line().startswith("OK ")
    bus.send(message[7:])
    kinds = [bus.message().kind for _ in range(2)]
    bus.close()
    return kinds


@each(in_one_write.__name__, byte_by_byte.__name__, begin_with_half_a_call.__name__)
def test_t56_pipelined(w, name):
    equal(survives(w, globals()[name]), [wire.RETURN, wire.RETURN])


def stay_silent(address):
    """Four clients that do not authenticate: how many were dropped."""
    buses = [wire.Bus(address, login=False, timeout=30) for _ in range(4)]
    for bus, data in zip(buses, (b"", b"\0", b"\0AUTH EXTERNAL 30\r\n", b"\0AUTH ANONYMOUS")):
        if data:
            bus.send(data)
    return sum(dropped_quietly(bus) for bus in buses)


def dropped_quietly(bus):
    try:
        while True:
            bus.receive()
    except wire.Dropped:
        return True
    except TimeoutError:
        return False
    finally:
        bus.close()


@test
def test_t54_silent(w):
    """Who does not authenticate is dropped."""
    equal(survives(w, stay_silent), 4)


def half_a_message(address):
    bus = wire.Bus(address, timeout=30)
    bus.send(wire.build(1, "Ping", "i", (1,))[:20])
    return dropped_quietly(bus)


@test
def test_t54_half_a_message(w):
    assert survives(w, half_a_message)


def never_read(address):
    """Calls without reading an answer, until the daemon has had enough."""
    bus = wire.Bus(address, timeout=30)
    message = wire.build(1, "Introspect", interface=PREFIX + "Introspectable")
    try:
        for _ in range(200000):
            bus.send(message)
    except wire.Dropped:
        return "dropped"
    except TimeoutError:
        return "paused"
    finally:
        bus.close()
    return "swallowed all"


def private_memory(pid):
    return sum(int(n) for n in re.findall(r"Private_\w+:\s+(\d+)", world.read(f"/proc/{pid}/smaps_rollup")))


@test
def test_t53_never_reading(w):
    """A client that never reads costs little, and is dropped."""
    before = private_memory(w.daemon.pid)
    w.host().Ping(1)
    equal(survives(w, never_read), "dropped")
    if "asan" not in open(f"/proc/{w.daemon.pid}/maps").read():
        grown = private_memory(w.daemon.pid) - before
        assert grown < 2048, f"{grown} KiB more"


def connect_many(address, count):
    """How many connections one uid gets until it is refused."""
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, count + 64))
    held = []
    try:
        for _ in range(count):
            bus = wire.Bus(address, login=False, timeout=5)
            held.append(bus)
            if len(held) % 64 == 0 and not all(is_open(b) for b in held[-64:]):
                break
    except (OSError, wire.Dropped):
        pass
    got = len(held)
    for bus in held:
        bus.close()
    return got


def is_open(bus):
    try:
        return bus.socket.recv(1, socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@test
def test_t55_too_many_connections(w):
    """One uid's connections are bounded; others are served meanwhile and afterwards."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 12000:
        raise Skip(f"RLIMIT_NOFILE is {hard} here")
    user, host = w.user(1000), w.host()
    fds = w.daemon.fds()
    user.agent.start(connect_many, w.daemon.socket, 10000)
    for _ in range(50):
        host.Ping(1)
    got = user.agent.finish()
    assert got < 10000, f"one uid got {got} connections"
    host.Ping(1)
    w.same_fds(fds, "the connections")
    user.Ping(1)


@test
def test_two_thousand_connections(w):
    """2,000 connections are held while others are served."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 4096:
        raise Skip(f"RLIMIT_NOFILE is {hard} here")
    host = w.host()
    fds = w.daemon.fds()
    held = []
    for i in range(20):
        held.append(w.host_agent.spawn(f"holder {i}", uid=2000 + i))
    for holder in held:
        holder.run(hold, w.daemon.socket, 100)
    host.Ping(1)
    for holder in held:
        equal(holder.run(ping_all), 100)
    for holder in held:
        holder.close()
    w.same_fds(fds, "the connections")


def hold(address, count):
    agent.here["held"] = [wire.Bus(address) for _ in range(count)]


def ping_all():
    for bus in agent.here["held"]:
        bus.call("Ping", 1)
    return len(agent.here["held"])

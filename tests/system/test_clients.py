# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients that are made for a message bus, as they are: from the host and from containers."""

import json
import re
import shutil
import textwrap

import agent
import wire
import world
from harness import Skip, each, equal, needs, test

NAME, PATH, INTERFACE = "org.linuxcontainers.cgmanager", wire.PATH, wire.INTERFACE
# The same service by its other name, and its other object.
NATIVE, NATIVE_PATH = "org.cgmd1", "/org/cgmd1"
BUS, BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
PYTHON = "/usr/bin/python3"
WHO = ("host", "user", "container", "inner user")


def client_of(w, who):
    return {"host": w.host, "user": w.user, "container": w.container,
            "inner user": lambda: w.inner_user(w.container())}[who]()


class Tool:
    """A command, run as one of WHO; `$A` in its arguments is the daemon's address."""

    def __init__(self, w, who, program, *first):
        if not shutil.which(program):
            raise Skip(f"there is no {program} here")
        self.client, self.first = client_of(w, who), [program, *first]
        self.address = f"unix:path={w.daemon.socket}"

    def run(self, *words):
        command = [word.replace("$A", self.address) for word in (*self.first, *words)]
        return self.client.run(agent.shell, command)

    def gives(self, *words):
        code, out, err = self.run(*words)
        equal((code, err), (0, ""), f"{words}: {out}")
        return out

    def refuses(self, text, *words):
        code, out, err = self.run(*words)
        assert code != 0 and text in err, f"{words}: {code} {out!r} {err!r}, not {text!r}"


def busctl(w, who):
    return Tool(w, who, "busctl", "--address=$A")


# Refused to everybody in the same way: what must arrive is the daemon's text.
NO_KEY = ("memory", "", "no.such.key")
NO_KEY_TEXT = "GetValue memory: no.such.key: " + world.REASONS["KEY_MISSING"]


def named(text):
    """The controllers of a list, an entry of which may name several."""
    return re.findall(r"[\w=]+", text)


@each(*WHO)
def test_busctl_call(w, who):
    needs("memory")
    call = ("call", NAME, PATH, INTERFACE)
    tool = busctl(w, who)
    equal(tool.gives(*call, "Ping", "i", "3"), "")
    equal(tool.gives("call", ":1.0", PATH, INTERFACE, "Create", "ss", "memory", "job"), "i -1\n")
    equal(tool.gives(*call, "ListChildren", "ss", "memory", ""), 'as 1 "job"\n')
    equal(tool.gives(*call, "Create", "ss", "memory", "job"), "i 1\n")
    assert "memory" in named(tool.gives(*call, "ListControllers"))
    tool.refuses(NO_KEY_TEXT, *call, "GetValue", "sss", *NO_KEY)
    tool.refuses("the signature 'i'", *call, "Ping", "s", "x")
    tool.refuses("There is no Nosuch", *call, "Nosuch")
    tool.refuses("one service here, " + NAME, "call", "org.other", PATH, INTERFACE, "Ping", "i", "3")


@each(*WHO)
def test_busctl_introspect(w, who):
    tool = busctl(w, who)
    shown = [line.split() for line in tool.gives("introspect", NAME, PATH).splitlines()]
    assert [".GetValue", "method", "sss", "s", "-"] in shown, shown
    assert [".api_version", "property", "i", "10", "const"] in shown, shown
    shown = [line.split() for line in tool.gives("introspect", BUS, BUS_PATH).splitlines()]
    assert [".GetConnectionCredentials", "method", "s", "a{sv}", "-"] in shown, shown
    assert [".Features", "property", "as", "0", "emits-change"] in shown, shown
    tool.refuses("There is no Introspect at object /nosuch", "introspect", NAME, "/nosuch")


@each(*WHO)
def test_busctl_property(w, who):
    tool = busctl(w, who)
    of = (NAME, PATH, INTERFACE)
    equal(tool.gives("get-property", *of, "api_version"), "i 10\n")
    tool.refuses("no such property", "get-property", *of, "nosuch")
    tool.refuses("cannot be changed", "set-property", *of, "api_version", "i", "11")


@each(*WHO)
def test_busctl_tree(w, who):
    tool = busctl(w, who)
    equal(re.findall("/[/a-zA-Z0-9]+", tool.gives("tree", "--list", NAME)),
          ["/org", NATIVE_PATH, "/org/linuxcontainers", PATH])
    every = tool.gives("tree")
    for part in (f"Service {NAME}:", PATH, f"Service {BUS}:", BUS_PATH):
        assert part in every, every


@each(*WHO)
def test_busctl_list(w, who):
    """The service, the bus and the client itself; its ids are those that it has where it is."""
    rows = json.loads(busctl(w, who).gives("list", "--json=short"))
    equal(sorted(r["name"] for r in rows if not re.match(r":1\.[1-9]", r["name"])), [":1.0", NATIVE, BUS, NAME])
    own, = (r for r in rows if re.match(r":1\.[1-9]", r["name"]))
    equal(own["process"], "busctl")
    others = [r["pid"] for r in rows if r is not own]
    equal(others, [w.daemon.pid if who in ("host", "user") else None] * 4)


@each(*WHO)
def test_busctl_status(w, who):
    tool = busctl(w, who)
    assert f"BusAddress={tool.address}" in tool.gives("status")
    if who in ("host", "user"):
        assert f"PID={w.daemon.pid}\n" in tool.gives("status", NAME)
    else:
        # To busctl what has no pid has no status, whatever else there is.
        tool.refuses("Failed to get credentials", "status", NAME)


@each(*WHO)
def test_busctl_cannot(w, who):
    """There is nothing to watch, and it says so."""
    busctl(w, who).refuses("BecomeMonitor: there is nothing to watch", "monitor")


@each(*WHO)
def test_signals_go_nowhere(w, who):
    """They are taken, and nothing comes of them."""
    equal(busctl(w, who).gives("emit", "/a", "b.c", "d"), "")
    equal(Tool(w, who, "gdbus").gives("emit", "--address", "$A", "--object-path", "/a", "--signal", "b.c.d"), "")
    equal(Tool(w, who, "dbus-send").gives("--bus=$A", "--type=signal", "/a", "b.c.d"), "")
    equal(busctl(w, who).gives("call", NAME, PATH, INTERFACE, "Ping", "i", "3"), "")


@each(*WHO)
def test_gdbus(w, who):
    needs("memory")
    tool = Tool(w, who, "gdbus")
    to = ("--address", "$A", "--dest", NAME, "--object-path")
    call = ("call", *to, PATH, "--method")
    equal(tool.gives(*call, f"{INTERFACE}.Ping", "3"), "()\n")
    equal(tool.gives(*call, f"{INTERFACE}.Create", "memory", "job"), "(-1,)\n")
    equal(tool.gives(*call, f"{INTERFACE}.ListChildren", "memory", ""), "(['job'],)\n")
    equal(tool.gives(*call, f"{BUS}.Properties.Get", INTERFACE, "api_version"), "(<10>,)\n")
    tool.refuses(NO_KEY_TEXT, *call, f"{INTERFACE}.GetValue", *NO_KEY)
    assert "api_version = 10" in tool.gives("introspect", *to, PATH)
    assert f"node {PATH}" in tool.gives("introspect", *to, "/", "--recurse")
    equal(tool.gives("wait", "--address", "$A", "--timeout", "20", NAME), "")


@each(*WHO)
def test_dbus_send(w, who):
    needs("memory")
    for to in (("--address=$A", f"--dest={NAME}"), ("--bus=$A", f"--dest={NAME}"), ("--peer=$A",)):
        tool = Tool(w, who, "dbus-send", *to, "--print-reply=literal", PATH)
        assert "memory" in named(tool.gives(f"{INTERFACE}.ListControllers"))
        equal(tool.gives(f"{INTERFACE}.Ping", "int32:3").strip(), "")
        key = [f"string:{word}" for word in NO_KEY]
        tool.refuses(NO_KEY_TEXT, f"{INTERFACE}.GetValue", *key)
    tool = Tool(w, who, "dbus-send", "--bus=$A", f"--dest={BUS}", "--print-reply", BUS_PATH)
    assert f'string "{NAME}"' in tool.gives(f"{BUS}.ListNames")
    tool.refuses("names are not given", f"{BUS}.RequestName", "string:a.b", "uint32:0")


def python(w, who, module, program):
    """Runs it with Debian's Python, which has the bindings; N, P, I and A are there."""
    if Tool(w, who, PYTHON, "-c").run(f"import {module}")[0] != 0:
        raise Skip(f"there is no {module} for {PYTHON}")
    names = f"N, P, I, A = {NAME!r}, {PATH!r}, {INTERFACE!r}, '$A'\n"
    equal(Tool(w, who, PYTHON, "-c").gives(names + textwrap.dedent(program)), "well\n")


@each(*WHO)
def test_python_dbus(w, who):
    """On a bus, and peer to peer."""
    needs("memory")
    python(w, who, "dbus", f"""
        import dbus, dbus.bus, dbus.connection
        bus = dbus.bus.BusConnection(A)
        assert bus.get_name_owner(N) == ":1.0"
        try:
            bus.request_name("a.b")
        except dbus.DBusException as error:
            assert "names are not given" in str(error), error
        for there in (bus.get_object(N, P),
                      dbus.connection.Connection(A).get_object(object_path=P)):
            there = dbus.Interface(there, I)
            there.Ping(dbus.Int32(3))
            assert "memory" in ",".join(there.ListControllers()).split(",")
            there.Create("memory", "job")
            try:
                there.GetValue(*{NO_KEY!r})
            except dbus.DBusException as error:
                assert error.get_dbus_name().endswith("InvalidArgs")
                assert {NO_KEY_TEXT!r} in str(error), error
        try:
            bus.call_blocking("org.other", P, I, "Ping", "i", [3])
        except dbus.DBusException as error:
            assert error.get_dbus_name().endswith("ServiceUnknown")
        print("well")
        """)


@each(*WHO)
def test_python_gio(w, who):
    """GDBus: its proxies follow names, and cache properties."""
    needs("memory")
    python(w, who, "gi", f"""
        from gi.repository import Gio, GLib
        flags = Gio.DBusConnectionFlags
        for more, name in ((flags.MESSAGE_BUS_CONNECTION, N), (flags.NONE, None)):
            connection = Gio.DBusConnection.new_for_address_sync(
                A, flags.AUTHENTICATION_CLIENT | more, None, None)
            proxy = Gio.DBusProxy.new_sync(connection, 0, None, name, P, I, None)
            assert proxy.get_name_owner() == (":1.0" if name else None), proxy.get_name_owner()
            assert proxy.get_cached_property("api_version").unpack() == 10
            proxy.Ping("(i)", 3)
            assert "memory" in ",".join(proxy.ListControllers()).split(",")
            try:
                proxy.GetValue("(sss)", *{NO_KEY!r})
            except GLib.Error as error:
                assert {NO_KEY_TEXT!r} in error.message, error
        print("well")
        """)


@each(*WHO)
def test_python_jeepney(w, who):
    needs("memory")
    python(w, who, "jeepney", f"""
        from jeepney import DBusAddress, DBusErrorResponse, new_method_call
        from jeepney.io.blocking import open_dbus_connection
        from jeepney.wrappers import unwrap_msg
        connection = open_dbus_connection(bus=A)
        def call(*what):
            message = new_method_call(DBusAddress(P, bus_name=N, interface=I), *what)
            return unwrap_msg(connection.send_and_get_reply(message))
        assert connection.unique_name.startswith(":1.")
        call("Ping", "i", (3,))
        assert "memory" in ",".join(call("ListControllers")[0]).split(",")
        try:
            call("GetValue", "sss", {NO_KEY!r})
        except DBusErrorResponse as error:
            assert {NO_KEY_TEXT!r} in error.data[0], error
        print("well")
        """)


# What the tools do not ask by themselves.

def on_bus(key, member, signature="", *args, destination=BUS, interface=BUS, path=BUS_PATH):
    """(sender, value) of the answer."""
    bus = agent.here[key]
    reply = bus.answer(bus.start(member, *args, signature=signature, interface=interface, path=path,
                                 extra=[(6, "s", destination)]))
    return reply.fields.get("sender"), reply.value()


def ask(client, member, *args, key="bus", **how):
    return client.run(on_bus, key, member, "s" * len(args), *args, **how)[1]


def error_of(client, member, *args, **how):
    try:
        value = ask(client, member, *args, **how)
    except wire.DBusError as error:
        return error.name.removeprefix(BUS + ".Error.")
    raise AssertionError(f"{member}{args} was not refused: {value!r}")


def ids(client, name):
    """(uid, pid), None where it is not told; the calls agree with each other."""
    found = []
    told = dict(ask(client, "GetConnectionCredentials", name))
    for member, key, error in (("GetConnectionUnixUser", "UnixUserID", "Failed"),
                               ("GetConnectionUnixProcessID", "ProcessID", "UnixProcessIdUnknown")):
        if key in told:
            equal(ask(client, member, name), told[key])
        else:
            equal(error_of(client, member, name), error)
        found.append(told.pop(key, None))
    equal(told, {})
    return tuple(found)


@test
def test_ids(w):
    """Each learns its own as its namespaces have them, and the daemon's where they have it."""
    one, two, three = w.nested()
    for client, uid, daemon in ((w.host(), 0, (0, w.daemon.pid)),
                                (w.user(1000), 1000, (0, w.daemon.pid)),
                                (one, 0, (None, None)), (two, 0, (None, None)),
                                (three, 0, (None, None)),
                                (w.inner_user(one), 1000, (None, None))):
        own = ask(client, "Hello")
        equal(ids(client, own), (uid, client.agent.inner_pid))
        for name in (BUS, NAME, NATIVE, ":1.0"):
            equal(ids(client, name), daemon)
        equal(error_of(client, "GetConnectionCredentials", ":1.77"), "NameHasNoOwner")


@test
def test_ids_unmapped(w):
    """A uid that the client's user namespace does not map is not told, nor is the overflow id."""
    stranger = w.once("unmapped", lambda: w.host_agent.spawn(
        "unmapped", w.placer("u3000", 3000), user=True, owner=3000))
    equal(ids(stranger, ask(stranger, "Hello")), (None, stranger.agent.inner_pid))
    equal(ids(stranger, NAME), (None, w.daemon.pid))


@test
def test_alone_on_the_bus(w):
    """Nothing tells of other clients: not whether they are, nor how many."""
    host, other = w.host(), w.container()
    theirs = ask(host, "Hello")
    own = ask(other, "Hello")
    assert own != theirs and not own.startswith(":1.0"), (own, theirs)
    equal(sorted(ask(other, "ListNames")), sorted([BUS, NAME, NATIVE, ":1.0", own]))
    for name in (theirs, ":1.1", "a.b"):
        equal(ask(other, "NameHasOwner", name), 0)
        equal(error_of(other, "GetNameOwner", name), "NameHasNoOwner")
        equal(error_of(other, "GetConnectionUnixProcessID", name), "NameHasNoOwner")
        equal(error_of(other, "Ping", destination=name, interface=BUS + ".Peer"), "ServiceUnknown")
    equal(error_of(other, "Hello"), "Failed")
    equal(ask(other, "NameHasOwner", own), 1)
    # A new connection is a new one.
    other.run(world.connect, w.daemon.socket, "again")
    assert ask(other, "Hello", key="again") not in (own, theirs)
    other.run(world.close_bus, "again")


@test
def test_bus_id(w):
    """The same for all and as authentication has it."""
    equal(ask(w.host(), "GetId"), ask(w.container(), "GetId"))
    assert re.fullmatch("[0-9a-f]{32}", ask(w.host(), "GetId"))


@test
def test_sender(w):
    """Who names a destination gets a sender, as on a bus; who names none gets none."""
    client = w.container()
    here = {"interface": BUS + ".Peer", "path": PATH}
    equal(client.run(on_bus, "bus", "Ping", destination=NAME, **here), (":1.0", None))
    equal(client.run(on_bus, "bus", "Ping", destination=BUS, **here), (BUS, None))
    equal(client.run(sender_of_plain, "bus"), None)


def sender_of_plain(key):
    bus = agent.here[key]
    return bus.answer(bus.start("Ping", 3)).fields.get("sender")


@test
def test_many_hellos(w):
    """All that it takes is given back."""
    client = w.container()
    fds = w.daemon.fds()
    client.run(many_hellos, w.daemon.socket, 200)
    w.same_fds(fds, "200 clients that said Hello")


def many_hellos(address, n):
    buses = [wire.Bus(address) for _ in range(n)]
    names = set()
    for bus in buses:
        agent.here["one"] = bus
        names.add(on_bus("one", "Hello")[1])
        on_bus("one", "AddMatch", "s", "type='signal'" + "x" * 1000)
    for bus in buses:
        bus.close()
    del agent.here["one"]
    assert len(names) == n, names

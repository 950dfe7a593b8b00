# SPDX-License-Identifier: LGPL-2.1-or-later
"""The native interface, org.cgmd1.Manager at /org/cgmd1: how it is asked, and by what name it refuses."""

import os
import re
import subprocess
import textwrap
import xml.etree.ElementTree

import wire
import world
from harness import Skip, bare, each, equal, needs, test
from test_clients import BUS, PYTHON, WHO, Tool, busctl, client_of
from test_clients import NAME as OLD_NAME
from world import PURE, REASONS, where

NAME, PATH, INTERFACE = "org.cgmd1", wire.NATIVE_PATH, wire.NATIVE_INTERFACE
PROPERTIES = BUS + ".Properties"
INVALID, UNKNOWN = BUS + ".Error.InvalidArgs", BUS + ".Error.UnknownMethod"
RULES_MAX = 2048
# Refused to everybody in the same way, with and without a cgroup there.
DOTDOT = "ListDevices ../x: " + REASONS["PATH_DOTDOT"]


def ask(client, member, *args, signature=None, path=PATH, interface=PROPERTIES):
    return client.run(world.call_on, "bus", member, *args, path=path, interface=interface,
                      signature="s" * len(args) if signature is None else signature)


def error_of(client, member, *args, **how):
    try:
        value = ask(client, member, *args, **how)
    except wire.DBusError as error:
        return error
    raise AssertionError(f"{member}{args} was not refused: {value!r}")


def refusal(client, member, *args, **how):
    """(name, message)"""
    error = error_of(client, member, *args, interface=INTERFACE, **how)
    return error.name, error.message


def is_there(client, path):
    """Does a native call find the cgroup? Nothing else about it is asked."""
    try:
        client.ListDevices(path)
    except wire.DBusError as error:
        return error.name != "org.cgmd1.Error.NotFound"
    return True


def kinds():
    """Hierarchies that govern devices, as the tests make cgroups in them."""
    return [kind for kind in (() if PURE else ("devices",)) + ("unified",) if world.have(kind)]


# How it is asked.

@each((wire.PATH, wire.INTERFACE), (PATH, INTERFACE))
def test_interface_as_installed(w, path, interface):
    """What the daemon shows is what dbus/INTERFACE.xml says, to the last argument."""
    def whole(text):
        tree = xml.etree.ElementTree.fromstring(text)
        found = [node for node in tree if node.get("name") == interface]
        assert len(found) == 1, text
        return xml.etree.ElementTree.canonicalize(
            xml.etree.ElementTree.tostring(found[0]), strip_text=True)
    live = ask(w.container(), "Introspect", path=path, interface=BUS + ".Introspectable")
    installed = os.path.join(os.path.dirname(__file__), "../../dbus", interface + ".xml")
    equal(whole(live), whole(world.read(installed)))
    other = INTERFACE if path == wire.PATH else wire.INTERFACE
    assert f'name="{other}"' not in live, live


@test
def test_tree(w):
    """Both objects are found from the top, and nothing is where there is none."""
    client = w.user()

    def children(path):
        text = ask(client, "Introspect", path=path, interface=BUS + ".Introspectable")
        return [n.get("name") for n in xml.etree.ElementTree.fromstring(text) if n.tag == "node"]
    equal(children("/"), ["org"])
    equal(sorted(children("/org")), ["cgmd1", "linuxcontainers"])
    equal(children("/org/linuxcontainers"), ["cgmanager"])
    equal(children(PATH), [])
    for path in ("/org/cgmd", "/org/cgmd1/x", "/org/cgmd12"):
        equal(error_of(client, "Introspect", path=path, interface=BUS + ".Introspectable").name, UNKNOWN)


@test
def test_signatures(w):
    """Every method takes what the contract says, and nothing else."""
    client = w.host()
    text = ask(client, "Introspect", interface=BUS + ".Introspectable")
    ours, = (i for i in xml.etree.ElementTree.fromstring(text) if i.get("name") == INTERFACE)
    methods = {m.get("name"): "".join(a.get("type") for a in m if a.get("direction") == "in")
               for m in ours if m.tag == "method"}
    equal(methods, wire.NATIVE)
    for member, right in wire.NATIVE.items():
        for signature, args in (("x", (1,)), ("as", (["a"],)), ("ssssss", ["a"] * 6), ("v", (("s", "a"),))):
            name, message = refusal(client, member, *args, signature=signature)
            equal(name, INVALID, f"{member} {signature}")
            assert f"'{right}'" in message, message


@test
def test_elsewhere(w):
    """A method is at its own object and interface alone, and has no twin."""
    client = w.container()
    for member, how in (("ListDevices", {"path": wire.PATH}),
                        ("ListDevices", {"interface": wire.INTERFACE}),
                        ("ListDevices", {"path": wire.PATH, "interface": wire.INTERFACE}),
                        ("ListDevicesScm", {"interface": INTERFACE}),
                        ("Ping", {"interface": wire.INTERFACE}),
                        ("Ping", {"interface": INTERFACE})):
        error = error_of(client, member, "", **{"path": PATH, "interface": INTERFACE, **how})
        equal(error.name, UNKNOWN, f"{member} {how}")
    # Without an interface the object tells.
    error = error_of(client, "ListDevices", "../x", interface=None)
    equal(error.name, "org.cgmd1.Error.InvalidArgs")


@each(*WHO)
def test_busctl(w, who):
    tool = busctl(w, who)
    for name in (NAME, OLD_NAME, ":1.0"):
        tool.refuses(DOTDOT, "call", name, PATH, INTERFACE, "ListDevices", "s", "../x")
    call = ("call", NAME, PATH, INTERFACE)
    tool.refuses(REASONS["PATH_DOTDOT"], *call, "SetDevices", "sas", "../x", "1", "default deny")
    tool.refuses(REASONS["OPTION"], *call, "AddDevice", "sssa{sv}", "a", "fuse", "rw", "1", "x", "u", "1")
    tool.refuses(REASONS["PATH_DOTDOT"], *call, "AddDevice", "sssa{sv}", "../x", "fuse", "rw",
                 "2", "mode", "u", "432", "path", "s", "f")
    equal(tool.gives("get-property", NAME, PATH, INTERFACE, "Version"), f's "{version(w)}"\n')
    tool.refuses("cannot be changed", "set-property", NAME, PATH, INTERFACE, "Version", "s", "2")
    tool.refuses("no such property", "get-property", NAME, PATH, INTERFACE, "api_version")
    shown = [line.split() for line in tool.gives("introspect", NAME, PATH).splitlines()]
    assert [".ListGpus", "method", "-", "a(sssssas)", "-"] in shown, shown
    assert [".CheckDevice", "method", "sss", "bss", "-"] in shown, shown


@each(*WHO)
def test_gdbus_native(w, who):
    tool = Tool(w, who, "gdbus")
    to = ("--address", "$A", "--dest", NAME, "--object-path", PATH)
    call = ("call", *to, "--method")
    tool.refuses(f"org.cgmd1.Error.InvalidArgs: {DOTDOT}", *call, f"{INTERFACE}.ListDevices", "../x")
    tool.refuses(REASONS["PATH_DOTDOT"], *call, f"{INTERFACE}.SetDevices", "../x", "['default deny']")
    equal(tool.gives(*call, f"{PROPERTIES}.Get", INTERFACE, "Version"), f"(<'{version(w)}'>,)\n")
    assert "readonly a{ss} Scope = " in tool.gives("introspect", *to)
    equal(tool.gives("wait", "--address", "$A", "--timeout", "20", NAME), "")


@each(*WHO)
def test_dbus_send_native(w, who):
    for to in (("--address=$A", f"--dest={NAME}"), ("--bus=$A", f"--dest={NAME}"), ("--peer=$A",)):
        tool = Tool(w, who, "dbus-send", *to, "--print-reply", PATH)
        tool.refuses(DOTDOT, f"{INTERFACE}.ListDevices", "string:../x")
        tool.refuses(REASONS["PATH_DOTDOT"], f"{INTERFACE}.SetDevices", "string:../x",
                     "array:string:default deny,allow a rwm")
        assert f'"{version(w)}"' in tool.gives(f"{PROPERTIES}.Get", f"string:{INTERFACE}", "string:Version")


@each(*WHO)
def test_jeepney(w, who):
    tool = Tool(w, who, PYTHON, "-c")
    if tool.run("import jeepney")[0] != 0:
        raise Skip(f"there is no jeepney for {PYTHON}")
    equal(tool.gives(textwrap.dedent(f"""
        from jeepney import DBusAddress, DBusErrorResponse, Properties, new_method_call
        from jeepney.io.blocking import open_dbus_connection
        from jeepney.wrappers import unwrap_msg
        connection = open_dbus_connection(bus="$A")
        address = DBusAddress({PATH!r}, bus_name={NAME!r}, interface={INTERFACE!r})
        def call(message):
            return unwrap_msg(connection.send_and_get_reply(message))
        every = dict(call(Properties(address).get_all())[0])
        assert every["Version"] == ("s", {version(w)!r}), every
        assert every["Scope"][0] == "a{{ss}}", every
        for signature, *what in (("s", "ListDevices", ("../x",)),
                                 ("sas", "SetDevices", ("../x", ["default deny"])),
                                 ("sssa{{sv}}", "AddDevice", ("../x", "fuse", "rw", {{"uid": ("u", 5)}}))):
            try:
                call(new_method_call(address, what[0], signature, what[1]))
            except DBusErrorResponse as error:
                assert error.name == "org.cgmd1.Error.InvalidArgs", error
                assert {REASONS["PATH_DOTDOT"]!r} in error.data[0], error
            else:
                raise AssertionError(what)
        print("well")
        """)), "well\n")


# Properties.

def version(w):
    out = subprocess.run([w.program[0], "--version"], capture_output=True, text=True, check=True).stdout
    return out.split()[1]


@each(*WHO)
def test_properties(w, who):
    client = client_of(w, who)
    every = dict(ask(client, "GetAll", INTERFACE))
    equal(sorted(every), ["Features", "Layout", "Scope", "Version"])
    for name, value in every.items():
        equal(ask(client, "Get", INTERFACE, name), value, name)
    equal(ask(client, "GetAll", ""), list(every.items()))
    equal(ask(client, "GetAll", "org.other"), [])
    equal(every["Version"], version(w))
    equal(every["Layout"], "v2" if PURE else "hybrid" if world.have("unified") else "v1")
    equal("devices-v1" in every["Features"], world.have("devices") and not PURE)


@bare
def test_features(w):
    """What runs is what is told."""
    def features(*options):
        w.start(*options)
        told = ask(w.host(), "Get", INTERFACE, "Features")
        w.daemon.stop()
        w.clients.clear()
        return told
    v1 = ["devices-v1"] if world.have("devices") and not PURE else []
    v2 = ["devices-v2"] if world.have("unified") else []
    rest = ["gpu"] + ["perf"] * os.path.exists("/proc/sys/kernel/perf_event_paranoid")
    equal(features("--device-programs", "off"), v1 + rest)
    equal(features("--device-programs", "programs"), v1 + v2 + ["devices-programs"] * len(v2) + rest)
    equal(features("--device-programs", "storage"), v1 + v2 + rest)
    equal(features("--device-programs", "off", "--perf=off"), v1 + ["gpu"])
    assert features()[:len(v1 + v2)] == v1 + v2
    if v1:
        equal(features("-M", "devices", "--device-programs", "off"), rest)


@bare
def test_no_hierarchy_of_devices(w):
    """Where nothing governs them, that and why is told to who wants to change something."""
    w.start("--device-programs", "off", *([] if PURE else ["-M", "devices"]))
    client = w.container()
    message = client.refused("DEVICES_OFF", "SetDevices", "", ["default deny"])
    assert "--device-programs=off" in message or "cgroup v2" in message, message


@test
def test_properties_refused(w):
    client = w.container()
    for interface, name in ((INTERFACE, "version"), (INTERFACE, ""), (INTERFACE, "api_version"),
                            (wire.INTERFACE, "Version"), (wire.INTERFACE, "api_version"), ("", "api_version")):
        error = error_of(client, "Get", interface, name)
        equal(error.name, UNKNOWN, f"{interface}.{name}")
        assert "Version Features Layout Scope" in error.message, error
    equal(error_of(client, "Get", INTERFACE, "Version", path=wire.PATH).name, UNKNOWN)
    equal(error_of(client, "Get", INTERFACE, "Version", path="/org").name, UNKNOWN)
    for name in ("Version", "Features", "Layout", "Scope"):
        error = error_of(client, "Set", INTERFACE, name, ("s", "x"), signature="ssv")
        equal(error.name, BUS + ".Error.PropertyReadOnly", name)
    equal(error_of(client, "Set", INTERFACE, "x", ("s", "x"), signature="ssv").name, UNKNOWN)
    equal(error_of(client, "Get", INTERFACE).name, INVALID)


def located(client):
    """The same by the old interface: {hierarchy: path}."""
    found = {}
    for name in client.ListControllers():
        try:
            found[name] = client.GetPidCgroupAbs(name.split(",")[0], client.agent.inner_pid)
        except wire.DBusError:
            pass
    return found


@test
def test_scope(w):
    """Where the client is, seen from the top of what it may see: in each hierarchy its own."""
    one, two, _ = w.nested()
    clients = [w.host(), w.user(1000), w.user(1001, "u1001/a", 1001), one, two, w.inner_user(one)]
    for client in clients:
        scope = dict(ask(client, "Get", INTERFACE, "Scope"))
        equal(scope, located(client), client.agent.name)
        assert scope, client.agent.name
    equal(set(dict(ask(one, "Get", INTERFACE, "Scope")).values()), {"/"})
    equal(set(dict(ask(w.inner_user(one), "Get", INTERFACE, "Scope")).values()), {"/u1000"})


@test
def test_scope_of_stranger(w):
    """uid 0 outside the host's own namespaces has none at the top, and learns of none."""
    stranger = w.once("stranger", lambda: w.host_agent.spawn(
        "stranger", w.placer("d1", 0, ["pids"] if not PURE else None), pid=True, mnt=True))
    scope = dict(ask(stranger, "Get", INTERFACE, "Scope"))
    equal(scope, located(stranger))
    if not PURE:
        equal([name for name in scope if name != "pids"], [])


@test
def test_scope_follows(w):
    """It is asked for, not remembered."""
    needs("memory")
    client = w.user(1000)
    before = dict(ask(client, "Get", INTERFACE, "Scope"))
    client.Create("all", "deeper")
    client.MovePid("memory", "deeper", client.agent.inner_pid)
    after = dict(ask(client, "Get", INTERFACE, "Scope"))
    equal({name for name in after if after[name] != before[name]},
          {name for name in after if "memory" in name.split(",") or PURE})
    equal(after, located(client))


# By what name it refuses.

@test
def test_error_names(w):
    """The kind of the reason, where the old interface has one name for all."""
    client, user = w.container(), w.user()
    client.refused("PATH_DOTDOT", "ListDevices", "..")
    client.refused("PATH_CONTROL", "CheckDevice", "a\nb", "fuse", "r")
    client.refused("CGROUP_MISSING", "ListDevices", "nosuch")
    client.refused("CGROUP_MISSING", "ListDevices", "/nosuch")
    client.refused("CGROUP_MISSING", "CheckDevice", "nosuch", "fuse", "r")
    client.refused("PATH_DEPTH", "ListDevices", "a/" * 65)
    client.refused("DEVICE_MANY", "SetDevices", "", ["default deny"] * (RULES_MAX + 1))
    for kind in kinds():
        os.chmod(world.make(kind, "u1000/closed", 1234), 0o700)
    user.refused(("NO_READ", "NO_SEARCH"), "ListDevices", "closed")
    equal(refusal(user, "ListDevices", "closed")[0], "org.cgmd1.Error.AccessDenied")


@test
def test_messages(w):
    """They begin with the words of the call."""
    client = w.container()
    for member, args, words in (("ListDevices", ("no/such",), "no/such"),
                                ("CheckDevice", ("no/such", "gpu:render", "rw"), "no/such gpu:render rw"),
                                ("CheckDevice", ("..", "c 1:3", "r"), ".. c 1:3 r"),
                                ("SetDevices", ("../x", ["default deny"]), "../x"),
                                ("RemoveDevice", ("../x", "fuse"), "../x fuse")):
        _, message = refusal(client, member, *args, signature=wire.NATIVE[member])
        assert message.startswith(f"{member} {words}: "), message


@test
def test_options(w):
    """What is no option, or not of its type, is named; nothing of the call is done."""
    client = w.container()
    for options, named in (([("owner", ("u", 1))], "'owner' is none of them"),
                           ([("UID", ("u", 1))], "'UID' is none of them"),
                           ([("", ("u", 1))], "'' is none of them"),
                           ([("uid", ("i", 1))], "'uid' must be a 'u'"),
                           ([("uid", ("s", "1"))], "'uid' must be a 'u'"),
                           ([("mode", ("v", ("u", 1)))], "'mode' must be a 'u'"),
                           ([("path", ("o", "/x"))], "'path' must be a string"),
                           ([("path", ("as", ["x"]))], "'path' must be a string"),
                           ([("uid", ("u", 1)), ("gid", ("u", 1)), ("uid", ("u", 1))], "'uid' is there twice"),
                           ([("x" * 5000, ("u", 1))], "'xxx"),
                           ([("a\x1b[2Jb", ("u", 1))], "'a?[2Jb'")):
        message = client.refused("OPTION", "AddDevice", "a", "fuse", "rw", options)
        assert named in message, message
        assert len(message) < 1100 and not re.search("[\0-\x1f]", message), message
    # Well-formed ones get as far as the path.
    client.refused("PATH_DOTDOT", "AddDevice", "..", "fuse", "rw", [])
    client.refused("PATH_DOTDOT", "AddDevice", "..", "fuse", "rw", [
        ("uid", ("u", 0)), ("gid", ("u", 2 ** 32 - 1)), ("mode", ("u", 0o660)), ("path", ("s", ""))])


@each(0, 1, RULES_MAX, RULES_MAX + 1, 8000)
def test_many_rules(w, n):
    """As many as a policy holds are taken apart; one more is refused before anything is looked at."""
    client = w.container()
    client.refused("PATH_DOTDOT" if n <= RULES_MAX else "DEVICE_MANY", "SetDevices", "..",
                   ["a"] * n)


@test
def test_rules_over_a_message(w):
    """A message of over 64 KiB ends the connection, and nobody else notices."""
    client, other = w.container(), w.user()
    client.agent.run(world.connect, w.daemon.socket, key="big")
    try:
        client.agent.run(world.call_on, "big", "SetDevices", "..", ["x" * 60] * 1500)
    except wire.Dropped:
        pass
    else:
        raise AssertionError("it was answered")
    client.agent.run(world.close_bus, "big")
    other.refused("PATH_DOTDOT", "ListDevices", "..")


# What a path names, and where.

@test
def test_paths(w):
    """Relative from the caller's own cgroup, absolute from the top of its scope."""
    for kind in kinds():
        for path, uid in (("c1/x", 100000), ("c1/u1000/y", 101000), ("beside", 0), ("u1000/z", 1000)):
            world.make(kind, path, uid)
    one = w.container()
    inner, user, host = w.inner_user(one), w.user(), w.host()
    rows = ((one, "", True), (one, ".", True), (one, "/", True), (one, "x", True), (one, "/x", True),
            (one, "c1", False), (one, "/c1", False), (one, "/beside", False), (one, "beside", False),
            (inner, "", True), (inner, "y", True), (inner, "x", False), (inner, "/x", True),
            (inner, "/u1000/y", True), (inner, "u1000", False), (inner, "/y", False),
            (user, "z", True), (user, "/z", True), (user, "/u1000", False), (user, "/beside", False),
            (host, "c1/x", True), (host, "/c1/x", True), (host, "/beside", True), (host, "/nosuch", False))
    for client, path, there in rows:
        equal(is_there(client, path), there, f"{client.agent.name} {path!r}")


@test
def test_one_hierarchy(w):
    """A cgroup that only one of them has is found there, and refused where that refuses."""
    if len(kinds()) < 2:
        raise Skip("one hierarchy governs devices here")
    client, user = w.container(), w.user()
    for kind in kinds():
        world.make(kind, f"c1/only-{kind}", 100000)
        equal(is_there(client, f"only-{kind}"), True)
        closed = world.make(kind, f"u1000/closed-{kind}", 1234)
        os.chmod(closed, 0o700)
        user.refused(("NO_READ", "NO_SEARCH"), "ListDevices", f"closed-{kind}")
    # What both have is refused if one refuses, which is told.
    for kind in kinds():
        for each_kind in kinds():
            at = world.make(each_kind, f"u1000/half-{kind}", 1000)
            os.chmod(at, 0o755)
            if each_kind == kind:
                os.chown(at, 1234, 1234)
                os.chmod(at, 0o700)
        message = user.refused(("NO_READ", "NO_SEARCH"), "ListDevices", f"half-{kind}")
        assert f"(in {kind}" in message, message


@test
def test_not_put_there(w):
    """A hierarchy in which nobody has put the caller has nothing to say to it."""
    if len(kinds()) < 2:
        raise Skip("one hierarchy governs devices here")
    client = w.once("one", lambda: w.host_agent.spawn(
        "one", w.placer("p1", 100000, ["devices"]), user=True, pid=True, mnt=True, cgroup=True,
        maps=[(0, 100000, 65536)]))
    os.chmod(world.make("unified", "x", 0), 0o700)
    world.make("devices", "p1/x", 100000)
    equal(is_there(client, "x"), True)
    assert refusal_of_list(client, "x") != "org.cgmd1.Error.AccessDenied"


def refusal_of_list(client, path):
    try:
        client.ListDevices(path)
    except wire.DBusError as error:
        return error.name
    return None

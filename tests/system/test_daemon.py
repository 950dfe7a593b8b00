# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the daemon starts, ends, and shares the host with another of its kind."""

import os
import signal
import socket
import stat
import subprocess

import agent
import wire
import world
from harness import bare, equal, needs, only_v1, only_v2, test
from world import read, where


def ping(path):
    bus = wire.Bus(path)
    bus.call("Ping", 1)
    bus.close()


@bare
def test_sockets(w):
    """--socket may be repeated; the directory is made, the socket is for everybody."""
    paths = [f"{w.directory}/{name}/socket" for name in ("a", "b")]
    w.start(sockets=paths)
    for path in paths:
        ping(path)
        equal(stat.S_IMODE(os.stat(path).st_mode) & 0o666, 0o666)
    w.daemon.stop()
    equal([p for p in paths if os.path.exists(p)], [], "removed in the end")


@bare
def test_default_sockets(w):
    """Without --socket: /run/cgmd/socket, and cgmanager's where /sys/fs/cgroup is a tmpfs."""
    ready, told = os.pipe()
    with open(f"{w.directory}/log", "wb") as log:
        process = subprocess.Popen([*w.program, "--ready-fd", str(told)], pass_fds=(told,), stdout=log,
                                   stderr=log)
    os.close(told)
    assert os.read(ready, 1), read(f"{w.directory}/log")
    os.close(ready)
    try:
        ping("/run/cgmd/socket")
        if world.PURE:
            assert not os.path.exists("/sys/fs/cgroup/cgmanager"), "that is no place for a socket"
        else:
            ping("/sys/fs/cgroup/cgmanager/sock")
    finally:
        process.terminate()
        code = process.wait(60)
    equal(code, 0)
    if os.path.isdir("/sys/fs/cgroup/cgmanager"):
        os.rmdir("/sys/fs/cgroup/cgmanager")


@bare
def test_listen_fds(w):
    """Inherited sockets are served, and left to whoever made them."""
    path = f"{w.directory}/inherited"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    script = 'exec 3<&%d; export LISTEN_PID=$$; exec "$@"' % listener.fileno()
    log, ready = f"{w.directory}/log", os.pipe()
    with open(log, "wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", script, "sh", *w.program, "--ready-fd", str(ready[1])],
            pass_fds=(listener.fileno(), ready[1]), stdout=out, stderr=out,
            env={**os.environ, "LISTEN_FDS": "1"})
    os.close(ready[1])
    try:
        assert os.read(ready[0], 1), read(log)
        ping(path)
    finally:
        process.terminate()
        code = process.wait(60)
    equal(code, 0)
    assert os.path.exists(path)
    listener.close()


@bare
def test_notify(w):
    """sd_notify: READY=1 once it answers, STOPPING=1 in the end."""
    path = f"{w.directory}/notify"
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(path)
    notify.settimeout(30)
    w.start(env={"NOTIFY_SOCKET": path})
    assert b"READY=1" in notify.recv(4096)
    ping(w.daemon.socket)
    notify.close()


@bare
def test_answers_when_ready(w):
    """Once it has said that it is ready, the first connect is answered."""
    for _ in range(5):
        w.start()
        ping(w.daemon.socket)
        w.daemon.stop()


@bare
def test_pidfile(w):
    path = f"{w.directory}/pid"
    w.start("--pidfile", path)
    equal(read(path).strip(), str(w.daemon.pid))
    w.daemon.stop()
    assert not os.path.exists(path), "the pid file is left"


@bare
def test_daemon_option(w):
    """--daemon returns when the daemon answers; the pid file names it."""
    path, address = f"{w.directory}/pid", f"{w.directory}/socket"
    done = subprocess.run([*w.program, "--daemon", "--pidfile", path, "--socket", address], timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False)
    equal(done.returncode, 0)
    pid = int(read(path))
    try:
        ping(address)
        equal(os.getsid(pid), os.getsid(pid))
        assert os.getsid(pid) != os.getsid(0), "still in our session"
    finally:
        os.kill(pid, signal.SIGTERM)
    agent.wait_until(lambda: not os.path.exists(address) and ended(pid), "it ends on SIGTERM")


def ended(pid):
    agent.reap()
    return not os.path.isdir(f"/proc/{pid}")


@test
def test_second_instance(w):
    """A second one says so and leaves the first alone."""
    client = w.container()
    done = subprocess.run([*w.program, "--socket", w.daemon.socket], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr.strip(), "said nothing"
    client.Ping(1)
    ping(w.daemon.socket)


@bare
def test_stale_socket(w):
    """What a killed one left behind is replaced."""
    w.start()
    w.daemon.kill()
    assert os.path.exists(w.daemon.socket)
    w.start()
    ping(w.daemon.socket)


@bare
def test_file_in_the_way(w):
    """What is no socket is not replaced."""
    path = f"{w.directory}/file"
    world.write(path, "precious")
    done = subprocess.run([*w.program, "--socket", path], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode != 0 and done.stderr.strip(), (done.returncode, done.stderr)
    equal(read(path), "precious")


@bare
def test_mount_what_nobody_has_mounted(w):
    """-m: managed though no path shows it."""
    needs("name=systemd")
    top = where("name=systemd")
    subprocess.run(["umount", "-l", top], check=True)
    try:
        before = read("/proc/self/mountinfo")
        w.start("-m", "name=systemd")
        client = w.host()
        assert "name=systemd" in client.ListControllers()
        client.Create("name=systemd", "m/n")
        equal(client.ListChildren("name=systemd", "m"), ["n"])
        equal(read("/proc/self/mountinfo"), before)
    finally:
        subprocess.run(["mount", "-t", "cgroup", "-o", "none,name=systemd", "cgroup", top], check=True)
    assert os.path.isdir(where("name=systemd", "m/n"))


@bare
def test_leave_controllers_alone(w):
    """-M: these hierarchies are not managed."""
    only_v1("several hierarchies")
    needs("memory", "pids")
    w.start("-M", "memory,freezer")
    client = w.container()
    names = {n for entry in client.ListControllers() for n in entry.split(",")}
    assert not names & {"memory", "freezer"} and "pids" in names, names
    client.refused("CONTROLLER_UNKNOWN", "Create", "memory", "x")
    client.Create("all", "x")
    equal([os.path.isdir(world.where(c, "c1/x")) for c in ("memory", "pids")], [False, True])


@bare
def test_leave_v2_alone(w):
    """-M unified: nothing is left to manage, so it does not start, and says why."""
    only_v2("one hierarchy")
    done = subprocess.run([*w.program, "--socket", f"{w.directory}/socket", "-M", "unified"], timeout=60,
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "no cgroup hierarchy" in done.stderr, (done.returncode, done.stderr)


@bare
def test_v2_options_stay(w):
    """The mount of v2 has options for the whole host: the daemon leaves them as they were, and no
    namespace that it looks into changes them."""
    only_v2("options of the one mount")
    before = read("/proc/self/mountinfo")
    w.start()
    one, _, three = w.nested()
    for client in (one, three, w.user(1000), w.host()):
        client.Create("all", "x")
        client.GetTasksRecursive("all", "")
    w.daemon.stop()
    equal(read("/proc/self/mountinfo"), before)


@bare
def test_max_depth(w):
    needs("memory")
    w.start("--max-depth", "3")
    client = w.container()
    equal(client.Create("memory", "a/b"), -1)
    client.refused("TREE_DEPTH", "Create", "memory", "a/b/c")


@bare
def test_bad_options(w):
    """What it does not understand it does not start with, and says so."""
    for options in (["--nosuch"], ["--max-depth", "x"], ["--max-depth"], ["--ready-fd", "x"], ["word"]):
        done = subprocess.run([*w.program, *options], capture_output=True, text=True, timeout=60,
                              check=False)
        assert done.returncode != 0 and done.stderr.strip(), options
    for option in ("--help", "--version"):
        done = subprocess.run([*w.program, option], capture_output=True, text=True, timeout=60,
                              check=False)
        equal((done.returncode, bool(done.stdout.strip())), (0, True), option)


@bare
def test_ends_while_clients_are_connected(w):
    """SIGTERM and SIGINT end it cleanly with clients connected; they see the end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        w.start()
        buses = [wire.Bus(w.daemon.socket) for _ in range(5)]
        buses[0].call("Ping", 1)
        os.kill(w.daemon.pid, number)
        w.daemon.stop()
        for bus in buses:
            try:
                bus.receive()
            except wire.Dropped:
                pass
            bus.close()


@test
def test_denial_is_logged_once(w):
    """One line for each denial, with its fields."""
    needs("memory")
    client = w.container()
    before = len(w.daemon.log())
    client.refused_once("SCOPE_ROOT", "SetValue", "memory", "", "memory.limit_in_bytes", "-1")
    text = w.daemon.log()[before:]
    lines = [line for line in text.splitlines() if "SetValue" in line]
    equal(len(lines), 1, text)
    for field in (str(client.agent.pid), "100000", "SCOPE_ROOT"):
        assert field in lines[0], lines[0]


@test
def test_helpers_stay_in_the_daemons_cgroup(w):
    """All its processes are in one cgroup, and end with it."""
    mine = [int(p) for p in os.listdir("/proc") if p.isdigit() and parent(int(p)) == w.daemon.pid]
    for pid in mine:
        equal(read(f"/proc/{pid}/cgroup"), read(f"/proc/{w.daemon.pid}/cgroup"))
    w.daemon.stop()
    agent.wait_until(lambda: all(ended(p) for p in mine), "the helpers end")


def parent(pid):
    try:
        return int(read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


@bare
def test_helpers_end_with_a_killed_daemon(w):
    w.start()
    mine = [int(p) for p in os.listdir("/proc") if p.isdigit() and parent(int(p)) == w.daemon.pid]
    w.daemon.kill()
    agent.wait_until(lambda: all(ended(p) for p in mine), "the helpers end")
    w.start()

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Perf in containers of real runtimes, with the configuration that is shipped for them."""

import ctypes
import errno
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

import perf
import runtimes
from agent import check, libc, wait_until
from harness import Skip, bare, each_bare, equal
from test_perf_grants import HIERARCHY
from world import BASE, RANGE, make

SOURCES = os.path.join(os.path.dirname(__file__), "../../client/profiles")
KEYCTL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall({"x86_64": 250}.get(os.uname().machine, 219), 0, -3, 0)
print("keyctl:", errno.errorcode[ctypes.get_errno()])
"""
# What the program in the container says: which errno, or that the event counts.
ASK = """
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
cpu = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, [cpu])
attr = bytearray(struct.pack("=IIQ", 1, 112, 1) + bytes(96))
fd = libc.syscall(%d, (ctypes.c_char * 112).from_buffer(attr), -1, cpu, -1, 8)
if fd < 0:
    print("perf:", errno.errorcode[ctypes.get_errno()])
else:
    for i in range(1000000): pass
    print("perf:", "counts" if struct.unpack("=Q", os.read(fd, 8))[0] > 0 else "silent")
""" % (perf.NR_PERF or 0)
PYTHON = ["/usr/bin/python3", "-SIc", ASK]


def said(text):
    return re.findall(r"^perf: (\w+)", text, re.MULTILINE)


def unprivileged(config):
    """With a user namespace, and the profile handed to the daemon as `cgm perf config oci` says."""
    config["linux"]["namespaces"].append({"type": "user"})
    ids = [{"containerID": 0, "hostID": BASE, "size": RANGE}]
    config["linux"].update(uidMappings=ids, gidMappings=ids)
    made = subprocess.run(["jq", "-f", f"{SOURCES}/oci.jq"], input=json.dumps(config), text=True,
                          stdout=subprocess.PIPE, check=True)
    return json.loads(made.stdout)


def need_runtime(*programs):
    perf.need(*programs)
    if perf.paranoid() < 2:
        raise Skip("this host has lowered perf_event_paranoid")


def unprivileged_runc(config):
    """The same for one that does not know all flags yet."""
    config = unprivileged(config)
    config["linux"]["seccomp"]["flags"] = []
    return config


CHANGES = {"crun": unprivileged, "runc": unprivileged_runc}


@each_bare(*CHANGES)
def test_perf_oci(w, runtime):
    """Without a grant, with one, and with none again: what is started there, each with a listener of its own."""
    need_runtime("jq", "perf")
    if runtimes.missing(runtime):
        raise Skip(runtimes.missing(runtime))
    w.start()
    host, cgroup = w.host(), f"perf-{os.getpid()}"
    container = runtimes.Container(w.directory, runtime, cgroup, [runtimes.rule(True, "rwm")], CHANGES[runtime])
    try:
        equal(said(container.run("exec", cgroup, *PYTHON)), ["EACCES"])
        host.GrantPerf(f"/{cgroup}", ["cpu"])
        equal(said(container.run("exec", cgroup, *PYTHON)), ["counts"])
        text = container.run("exec", cgroup, "perf", "stat", "-a", "-x,", "-e", "task-clock", "sleep", "0.1")
        assert perf.counts(text).get("task-clock") is not None, text
        host.RevokePerf(f"/{cgroup}", ["cpu"], [])
        equal(said(container.run("exec", cgroup, *PYTHON)), ["EACCES"])
    finally:
        container.close()


# Asks again whenever there is a new file to be asked by, and leaves the answer in it.
ASK_AGAIN = """
import subprocess, sys, time
for turn in range(1000):
    path = f"/out/{turn}"
    while not os.path.exists(path):
        time.sleep(0.01)
        if os.path.exists("/out/end"):
            sys.exit()
    said = subprocess.run([sys.executable, "-SIc", ASK], stdout=subprocess.PIPE).stdout
    with open(path, "wb") as file:
        file.write(said)
"""


class Asker:
    """A program that runs in a container all the time, by a directory that both sides see."""

    def __init__(self, directory):
        self.directory, self.turn = directory, 0
        os.makedirs(directory, exist_ok=True)
        os.chown(directory, BASE, BASE)
        self.command = ["/usr/bin/python3", "-SIc", f"import os\nASK = {ASK!r}\n{ASK_AGAIN}"]

    def begin(self):
        self.path = f"{self.directory}/{self.turn}"
        self.turn += 1
        with open(self.path, "w"):
            os.chown(self.path, BASE, BASE)

    def answer(self):
        wait_until(lambda: os.path.getsize(self.path) > 0, "an answer from the container")
        with open(self.path) as file:
            return said(file.read())

    def ask(self):
        self.begin()
        return self.answer()

    def end(self):
        with open(f"{self.directory}/end", "w"):
            pass


@bare
def test_perf_oci_kept(w):
    """The listener of what runs outlives a killed daemon."""
    need_runtime("crun", "jq")
    if runtimes.missing("crun"):
        raise Skip(runtimes.missing("crun"))
    asker = Asker(f"{w.directory}/out")

    def change(config):
        config["process"]["args"] = asker.command
        config["mounts"].append({"destination": "/out", "type": "bind", "source": asker.directory,
                                 "options": ["bind"]})
        os.makedirs(f"{config['root']['path']}/out")
        return unprivileged(config)

    w.start()
    host, cgroup = w.host(), f"perf-{os.getpid()}"
    container = runtimes.Container(w.directory, "crun", cgroup, [runtimes.rule(True, "rwm")], change)
    try:
        host.GrantPerf(f"/{cgroup}", ["cpu"])
        equal(asker.ask(), ["counts"])
        w.daemon.kill()
        # Asked while there is nobody, answered by the next one.
        asker.begin()
        w.start()
        equal(asker.answer(), ["counts"])
        equal(asker.ask(), ["counts"])
    finally:
        container.close()


class Lxc:
    """A container of LXC's with little more than a user namespace, and the two lines that are shipped."""

    def __init__(self, w, cgroup, profile="lxc"):
        self.directory, self.name = f"{w.directory}/lxc", f"perf{os.getpid()}"
        root = f"{self.directory}/root"
        for name in ("usr", "proc", "dev", "sys", "out"):
            os.makedirs(f"{root}/{name}")
        for name in ("bin", "lib", "lib64"):
            if os.path.exists(f"/{name}"):
                os.symlink(f"usr/{name}", f"{root}/{name}")
        for name in ("", "dev", "out"):
            os.chown(f"{root}/{name}", BASE, BASE)
        lines = [f"lxc.uts.name = {self.name}", f"lxc.rootfs.path = dir:{root}",
                 f"lxc.idmap = u 0 {BASE} {RANGE}", f"lxc.idmap = g 0 {BASE} {RANGE}",
                 # By the cgroup of process 1 it is not told where the cage is.
                 "lxc.cgroup.relative = 1", "lxc.net.0.type = empty", "lxc.autodev = 0", "lxc.tty.max = 0", "lxc.pty.max = 8",
                 "lxc.mount.auto = proc", "lxc.mount.entry = /usr usr none ro,rbind 0 0",
                 "lxc.apparmor.profile = unconfined", f"lxc.cgroup.dir.container = {cgroup}",
                 f"lxc.cgroup.dir.monitor = {cgroup}-monitor"]
        with open(f"{self.directory}/config", "w") as file:
            file.write("\n".join([*lines, self.shipped(profile)]))

    @staticmethod
    def shipped(profile):
        """What `cgm perf config lxc` shows, where it is not installed yet; with the profile of that name."""
        profiles = os.path.join(os.environ["CGMD_BUILD"], "client/profiles")
        with open(f"{profiles}/lxc.conf") as file:
            return re.sub(r"(?m)(?<=^lxc\.seccomp\.profile = ).*", f"{profiles}/{profile}.seccomp", file.read())

    def run(self, *command):
        """What a command says that runs as its init."""
        done = self.start(command)
        out, _ = done.communicate(timeout=120)
        try:
            with open(f"{self.directory}/root/out/said") as file:
                return file.read()
        except FileNotFoundError:
            with open(f"{self.directory}/log") as file:
                raise AssertionError(f"lxc-start: {out} {file.read()[-3000:]}") from None

    def start(self, command):
        """Ends with it."""
        shell = ["/bin/sh", "-c", 'PATH=/usr/bin exec "$@" >/out/said 2>&1', "sh", *command]
        # Without newuidmap it writes the maps by itself, whatever /etc/subuid says.
        return subprocess.Popen([shutil.which("lxc-start"), "-F", "-n", self.name, "-P", self.directory, "-f",
                                 f"{self.directory}/config", "-l", "INFO", "-o", f"{self.directory}/log", "--", *shell],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env={**os.environ, "PATH": "/nonexistent"})


@bare
def test_perf_lxc(w):
    need_runtime("lxc-start", "perf")
    w.start()
    host = w.host()
    lxc = Lxc(w, "c1/lxc")
    equal(said(lxc.run(*PYTHON)), ["EACCES"])
    host.GrantPerf("/c1", ["cpu"])
    equal(said(lxc.run(*PYTHON)), ["counts"])
    text = lxc.run("perf", "stat", "-a", "-x,", "-e", "task-clock", "sleep", "0.1")
    assert perf.counts(text).get("task-clock") is not None, text


@bare
def test_perf_lxc_reconnects(w):
    """It keeps its listener, and connects to the next daemon; in between calls fail, and nobody waits."""
    need_runtime("lxc-start")
    w.start()
    make(HIERARCHY, "c1")
    w.host().GrantPerf("/c1", ["cpu"])
    lxc = Lxc(w, "c1/lxc")
    asker = Asker(f"{lxc.directory}/root/out")
    with lxc.start(asker.command) as running:
        try:
            equal(asker.ask(), ["counts"])
            w.daemon.kill()
            equal(asker.ask(), ["ENOSYS"])
            w.start()
            equal(asker.ask(), ["counts"])
        finally:
            asker.end()


# Three devices: what the next proxy said of each.
MAKE_NODES = """
import errno, os, stat
for name in "abc":
    try:
        os.mknod("/out/" + name, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        print("node:", "made" if os.path.exists("/out/" + name) else "answered")
    except OSError as error:
        print("node:", errno.errorcode[error.errno])
"""
CALL, RESPONSE = struct.Struct("=QiiHHHHQ80s24s"), struct.Struct("=QqiI")
CONTINUE = 1


class NextProxy(threading.Thread):
    """As Proxmox's: one answer (errno, flags) for each message that comes."""

    def __init__(self, path, *answers):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(path)
        self.socket.listen()
        self.answers, self.seen = answers, []
        self.start()

    def run(self):
        connection, _ = self.socket.accept()
        for number, flags in self.answers:
            data, fds, _, _ = socket.recv_fds(connection, 4096, 8)
            *head, cookie, notif, _ = CALL.unpack_from(data)
            self.seen.append((len(fds), data[CALL.size:]))
            for fd in fds:
                os.close(fd)
            answer = RESPONSE.pack(struct.unpack_from("=Q", notif)[0], 0, -number, flags)
            connection.send(CALL.pack(*head, 0, notif, answer))


@bare
def test_perf_lxc_next(w):
    """Proxmox with features mknod=1: devices are made by its own proxy, perf events by the daemon."""
    need_runtime("lxc-start")
    path = f"{w.directory}/next"
    proxy = NextProxy(path, (errno.EEXIST, 0), (0, 0), (0, CONTINUE))
    w.start("--lxc-next", path)
    make(HIERARCHY, "c1")
    w.host().GrantPerf("/c1", ["cpu"])
    lxc = Lxc(w, "c1/lxc", "proxmox-mknod")
    with open(f"{lxc.directory}/config", "a") as config:
        config.write("lxc.seccomp.notify.cookie = 100\n")
    text = lxc.run("/usr/bin/python3", "-SIc", MAKE_NODES + ASK)
    # In the end it was up to the kernel, which makes no devices in user namespaces.
    equal(re.findall(r"node: (\w+)", text), ["EEXIST", "answered", "EPERM"])
    equal(said(text), ["counts"])
    equal(proxy.seen, [(3, b"100")] * 3)
    text = lxc.run("/usr/bin/python3", "-SIc", "import os\n" + KEYCTL)
    equal(re.findall(r"keyctl: (\w+)", text), ["ENOSYS"])


@bare
def test_perf_lxc_no_next(w):
    """It is not there: ENOSYS, and nobody waits."""
    need_runtime("lxc-start")
    w.start("--lxc-next", f"{w.directory}/nobody")
    lxc = Lxc(w, "c1/lxc", "proxmox-keyctl-mknod")
    equal(re.findall(r"node: (\w+)", lxc.run("/usr/bin/python3", "-SIc", MAKE_NODES)), ["ENOSYS"] * 3)


def forged(path, tid, init, nr=perf.NR_PERF, size=None, fds=3):
    """In an agent: what is answered to a packet as LXC sends them, with a listener of one's own; None: it was
    dropped."""
    told, tell = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            tell.send(forge(path, tid, init, nr, size, fds).encode())
        except Exception as error:
            tell.send(repr(error).encode())
        finally:
            os._exit(0)
    tell.close()
    os.waitpid(pid, 0)
    return told.recv(1000).decode()


def forge(path, tid, init, nr, size, fds):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(30)
    connection.connect(path)
    handed = [os.open("/proc/self", os.O_RDONLY), os.open("/dev/null", os.O_RDWR), perf.listener(), 0][:fds]
    notif = struct.pack("=QIIiIQ6Q", 5, tid, 0, nr, perf.ARCH, 0, 0, 0, 0, 0, 0, 0)
    packet = CALL.pack(0, init, init, 80, 24, 64, 0, 0, notif, RESPONSE.pack(5, 0, 0, 0))
    socket.send_fds(connection, [packet[:size]], handed)
    try:
        answer = connection.recv(1000)
    except ConnectionResetError:
        answer = b""
    return errno.errorcode[-RESPONSE.unpack_from(answer, 112)[2]] if answer else "dropped"


@bare
def test_perf_lxc_forged(w):
    """A container speaks for nobody: not for the host, not for another, not by another's numbers for itself."""
    perf.need()
    path = f"{w.directory}/next"
    proxy = NextProxy(path)
    w.start("--lxc-next", path)
    host, one, two = w.host(), w.container(), w.container("c2")
    host.GrantPerf("/c1", ["cpu"])
    host.GrantPerf("/c2", ["cpu"])
    lxc = "/run/cgmd/lxc.sock"
    for tid in (1, os.getpid(), w.daemon.pid, two.agent.pid, one.agent.pid):
        equal(one.run(forged, lxc, tid, one.agent.pid), "ENOSYS", tid)
    # To the next proxy it would speak with the daemon's rights.
    equal(one.run(forged, lxc, one.agent.pid, one.agent.pid, 133), "ENOSYS")
    equal(proxy.seen, [])
    # Half of one, and one with too few or too many fds.
    equal(host.run(forged, lxc, 1, 1, size=100), "dropped")
    equal(host.run(forged, lxc, 1, 1, fds=2), "dropped")
    equal(host.run(forged, lxc, 1, 1, fds=4), "dropped")
    said = dict(host.ShowPerf())
    equal(int(said["events"]), 0)
    assert "perf" in w.daemon.log(), w.daemon.log()


NOTIF_RECV, NOTIF_SEND, PR_SET_DUMPABLE = 0xc0502100, 0xc0182101, 4
NEWUSER, NEWPID = 0x10000000, 0x20000000


def rootless_init(sock):
    """What a container's init says of an event of all of a CPU."""
    fd = perf.listener()
    socket.send_fds(sock, [b"listener"], [fd])
    os.close(fd)
    sock.send(str(perf.try_event(perf.attr(perf.SOFTWARE, perf.TASK_CLOCK), pid=-1, cpu=perf.cpus()[0])).encode())


def rootless_child(sock):
    """In user and pid namespaces of its own."""
    uid, gid = os.getuid(), os.getgid()
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    check(libc.unshare(NEWUSER | NEWPID), "unshare")
    for name, text in (("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    pid = os.fork()
    if pid == 0:
        rootless_init(sock)
    else:
        os.waitpid(pid, 0)


def rootless(path):
    """In an agent of a plain user: does for a container of its own what LXC's monitor does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            rootless_child(theirs)
        except Exception as error:
            theirs.send(repr(error).encode())
        finally:
            os._exit(0)
    theirs.close()
    text, fds, _, _ = socket.recv_fds(ours, 1000, 1)
    if not fds:
        raise AssertionError(text)
    listener, = fds
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    notif = ctypes.create_string_buffer(80)
    check(libc.ioctl(listener, ctypes.c_ulong(NOTIF_RECV), notif), "receiving a notification")
    number, tid = struct.unpack_from("=QI", notif)
    handed = [os.open("/proc/self", os.O_RDONLY), os.open("/dev/null", os.O_RDWR), listener]
    packet = CALL.pack(0, os.getpid(), tid, 80, 24, 64, 0, 0, notif.raw, RESPONSE.pack(number, 0, 0, 0))
    socket.send_fds(connection, [packet], handed)
    answer = connection.recv(1000)[112:]
    check(libc.ioctl(listener, ctypes.c_ulong(NOTIF_SEND), ctypes.create_string_buffer(answer, 24)), "answering")
    try:
        return ours.recv(100).decode()
    finally:
        os.waitpid(pid, 0)
        for fd in handed:
            os.close(fd)


@bare
def test_perf_lxc_of_user(w):
    """A user's own LXC: who made the container may speak for it, with no right of his own."""
    perf.need()
    if perf.paranoid() < 2:
        raise Skip("this host has lowered perf_event_paranoid")
    w.start()
    host, user = w.host(), w.user()
    lxc = "/run/cgmd/lxc.sock"
    equal(user.run(rootless, lxc), "EACCES")
    host.GrantPerf("/u1000", ["cpu"])
    equal(user.run(rootless, lxc), "0")

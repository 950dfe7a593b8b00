# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes that act for a test in other namespaces and under other ids.

An Agent here is the handle on a process there: run(function, ...) calls a function of a test module in
it. It is forked, never executed, so every module is loaded already; functions go by name. Agents fork
agents, so namespaces nest to any depth. The host's pid of each is told by the kernel (SO_PASSCRED).
"""

import ctypes
import gc
import os
import pickle
import signal
import socket
import struct
import sys
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWCGROUP = 0x00020000, 0x02000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWIPC = 0x10000000, 0x20000000, 0x08000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

# What functions that run in an agent keep between two runs.
here = {}


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags):
    check(libc.unshare(flags), "unshare")


def mount(source, target, kind=None, flags=0):
    check(libc.mount(source.encode(), target.encode(), kind.encode() if kind else None,
                     ctypes.c_ulong(flags), None), f"mount on {target}")


def put(channel, value, fd=None):
    data = pickle.dumps(value)
    head = struct.pack("=Q", len(data))
    if fd is None:
        channel.sendall(head)
    else:
        socket.send_fds(channel, [head], [fd])
    channel.sendall(data)


def get(channel):
    """(value, fd or None, host pid of the sender or None); raises EOFError at the end."""
    head, anc, _, _ = channel.recvmsg(8, 256)
    if len(head) < 8:
        raise EOFError
    fd = pid = None
    for _, kind, payload in anc:
        if kind == socket.SCM_RIGHTS:
            fd, = struct.unpack("i", payload[:4])
        elif kind == socket.SCM_CREDENTIALS:
            pid, = struct.unpack_from("i", payload)
    size, data = struct.unpack("=Q", head)[0], b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return pickle.loads(data), fd, pid


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def children():
    """A pid in the list is nobody else's before it is reaped."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parent = stat.read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.append(int(entry))
    return found


def end_children():
    """Ends what is left of us; their children are ours then. True if none is left."""
    reap()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    return False


def serve(channel):
    """The agent's life: runs what it is told until the handle goes away."""
    while True:
        try:
            (function, args, how), fd, _ = get(channel)
        except (EOFError, OSError):
            os._exit(0)
        try:
            if fd is not None:
                how["fd"] = fd
            answer = (True, function(*args, **how))
        except BaseException as error:  # whatever it is, it belongs to the test, not to us
            answer = (False, error, traceback.format_exc())
        try:
            put(channel, answer)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)


def become(options):
    """In the new process, once it has been put into its cgroups."""
    flags = 0
    if options.get("mnt"):
        flags |= CLONE_NEWNS
    if options.get("cgroup"):
        flags |= CLONE_NEWCGROUP
    if flags:
        unshare(flags)
    if options.get("mnt"):
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        if options.get("pid"):
            mount("proc", "/proc", "proc")
    if options.get("uid") is not None:
        uid, gid = options["uid"], options.get("gid", options["uid"])
        os.setgroups(options.get("groups", []))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def enter_namespaces(options, to_parent, from_parent):
    """User namespace with its maps, then the pid namespace for the next fork."""
    if options.get("owner") is not None:
        os.setresgid(*[options["owner"]] * 3)
        os.setresuid(*[options["owner"]] * 3)
    if options.get("user"):
        unshare(CLONE_NEWUSER)
        # A changed uid makes a process undumpable, and then /proc/PID is the real root's.
        libc.prctl(4, 1)
        os.write(to_parent, b"u")
        os.read(from_parent, 1)
        if options.get("maps") and options.get("root", True):
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
    if options.get("pid"):
        unshare(CLONE_NEWPID)


def last_step(channel, options):
    """The process that will be the agent."""
    libc.prctl(PR_SET_PDEATHSIG, 0)
    try:
        put(channel, "hello")
        get(channel)
        become(options)
        put(channel, "ready")
    except BaseException as error:
        put(channel, error)
        os._exit(1)
    serve(channel)


def write_maps(pid, maps):
    for name, lines in (("uid_map", maps), ("gid_map", maps)):
        with open(f"/proc/{pid}/{name}", "w") as target:
            target.write("".join(f"{inside} {outside} {count}\n" for inside, outside, count in lines))


def spawn_here(options, fd):
    """In the parent agent: makes the process that will be the new agent at `fd`."""
    channel = socket.socket(fileno=fd)
    up, down = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            enter_namespaces(options, up[1], down[0])
            if os.fork() == 0:
                # What has an fd closes it now, or never: later its number may be another's.
                here.clear()
                gc.collect()
                gc.freeze()
                os.closerange(3, channel.fileno())
                os.closerange(channel.fileno() + 1, 4096)
                last_step(channel, options)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    for unused in (up[1], down[0]):
        os.close(unused)
    try:
        # Only who makes a user namespace waits for its maps; others may be gone by now.
        if options.get("user"):
            if os.read(up[0], 1) and options.get("maps"):
                write_maps(pid, options["maps"])
            os.write(down[1], b"m")
    finally:
        os.close(up[0])
        os.close(down[1])
        channel.close()
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise RuntimeError("a new agent could not enter its namespaces")


class Agent:
    """The handle."""

    def __init__(self, channel, name):
        self.channel, self.name, self.children = channel, name, []
        # A bound only: an agent that was frozen by a fault must not hold up the tests for ever.
        channel.settimeout(600)
        hello, _, self.pid = get(channel)
        if hello != "hello":
            raise hello

    def go(self):
        put(self.channel, "go")
        answer, _, _ = get(self.channel)
        if answer != "ready":
            raise answer
        self.inner_pid = self.run(os.getpid)

    def run(self, function, *args, **how):
        put(self.channel, (function, args, how))
        answer = get(self.channel)[0]
        if answer[0]:
            return answer[1]
        answer[1].add_note(f"in {self.name}: {answer[2]}") if hasattr(answer[1], "add_note") else None
        raise answer[1]

    def start(self, function, *args, **how):
        """Like run, but the answer is fetched by finish()."""
        put(self.channel, (function, args, how))

    def finish(self):
        answer = get(self.channel)[0]
        if not answer[0]:
            raise answer[1]
        return answer[1]

    def spawn(self, name, place=None, **options):
        """A new agent made by this one. Options: user, pid, mnt, cgroup (new namespaces), maps (of the
        user namespace), uid, gid, groups (to become in the end), owner (who makes the user namespace).
        place(pid) is called with its host pid before it enters mount and cgroup namespaces."""
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs:
            put(self.channel, (spawn_here, (options,), {}), theirs.fileno())
            answer = get(self.channel)[0]
        if not answer[0]:
            raise answer[1]
        child = Agent(ours, name)
        self.children.append(child)
        if place:
            place(child.pid)
        child.go()
        return child

    def close(self):
        for child in self.children:
            child.close()
        self.children = []
        if self.channel:
            # pid 1 of a namespace takes everything in it along; others end by themselves.
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.channel.close()
            self.channel = None


def host_agent():
    """The first agent: root, in the namespaces of the test itself."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sys.stdout.flush()
    if os.fork() == 0:
        ours.close()
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        here.clear()
        last_step(theirs, {})
    theirs.close()
    agent = Agent(ours, "host")
    agent.go()
    return agent


# Functions to run in an agent.

def fork_task(uids=None, gid=None):
    """A child that only waits; its pid as this process sees it."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        for channel in (told, ready):
            os.set_inheritable(channel, False)
        if uids is not None:
            os.setgroups([])
            os.setresgid(*[uids[0] if gid is None else gid] * 3)
            os.setresuid(*uids)
        os.write(told, b"r")
        os.closerange(0, 4096)
        while True:
            signal.pause()
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    return pid


def end_task(pid):
    os.kill(pid, signal.SIGKILL)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def fork_parent():
    """A shell that forks when it is told to; its children are small, and wait until this process ends."""
    import subprocess
    script = "exec 3<&0; read n; while [ $n -gt 0 ]; do (read x <&3) & echo $!; n=$((n - 1)); done; wait"
    here["fork"] = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return here["fork"].pid


def fork_many(count):
    here["fork"].stdin.write(b"%d\n" % count)
    here["fork"].stdin.flush()
    return [int(here["fork"].stdout.readline()) for _ in range(count)]


def zombie():
    """A child that has ended and is not waited for."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def own_cgroups():
    with open("/proc/self/cgroup") as lines:
        return lines.read()


def shell(command):
    """(exit code, stdout, stderr) of a command."""
    import subprocess
    done = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=600)
    return done.returncode, done.stdout, done.stderr


def wait_until(condition, what, seconds=120):
    """Waits for a condition; the time is only a bound."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen: {what}")
        time.sleep(0.005)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who asks for perf events and means harm: by what the call's memory holds, and by what it names. By
how often they ask, and by what they pass for a listener: test_perf_crowd.py."""

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct
import time

import agent
import fuse
import perf
from agent import libc
from harness import Skip, bare, equal, test
from test_devices import make_all
from test_perf import give, inside, is_served, neighbour
from world import BASE, where

# What the memory holds.

def of_shared(data):
    """An attr in memory that other processes share."""
    memory = mmap.mmap(-1, 4096)
    memory[:len(data)] = bytes(data)
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))


def flip(memory, at, one, two):
    """A process that writes one or the other there, all the time."""
    pid = os.fork()
    if pid == 0:
        libc.prctl(agent.PR_SET_PDEATHSIG, signal.SIGKILL)
        field = ctypes.c_uint32.from_buffer(memory, at)
        while True:
            field.value = one
            field.value = two
    return pid


def race(times, allowed, forbidden):
    """{what came: how often} for an attr whose type changes meanwhile between cpu-clock and the processor's own
    clock, which runs faster."""
    memory, address = of_shared(perf.attr(allowed))
    flipper = flip(memory, 0, allowed, forbidden)
    found = {"ours": 0, "forbidden": 0, "refused": 0}
    cpu = min(perf.cpus())
    os.sched_setaffinity(0, [cpu])
    try:
        for _ in range(times):
            begun = time.monotonic_ns()
            fd = perf.open_at(address, -1, cpu)
            if fd < 0:
                assert -fd in (errno.EACCES, errno.EPERM), errno.errorcode[-fd]
                found["refused"] += 1
                continue
            opened = time.monotonic_ns()
            while time.monotonic_ns() - opened < 4 * (opened - begun):
                pass
            value = perf.value_of(fd)
            found["forbidden" if value > time.monotonic_ns() - begun else "ours"] += 1
            os.close(fd)
    finally:
        agent.end_task(flipper)
        os.sched_setaffinity(0, range(os.cpu_count()))
    return found


def clock_is_faster():
    """Is the processor's own clock so much faster that it can be told?"""
    cpu = min(perf.cpus())
    os.sched_setaffinity(0, [cpu])
    begun = time.monotonic_ns()
    fd = perf.open_event(perf.attr(perf.pmu_type("msr"), 0), -1, cpu)
    perf.spin(time.process_time() + 0.01)
    value = perf.value_of(fd)
    os.close(fd)
    os.sched_setaffinity(0, range(os.cpu_count()))
    return value > 1.3 * (time.monotonic_ns() - begun)


@test
def test_perf_flipped(w):
    """What was judged is what is opened, whatever is written meanwhile."""
    perf.need()
    if not w.host_agent.run(clock_is_faster):
        raise Skip("the clocks of this processor cannot be told apart")
    give(w)
    one = inside(w, "root")
    forbidden = perf.pmu_type("msr")
    for _ in range(10):
        found = one.run(race, 1000, perf.SOFTWARE, forbidden)
        equal(found["forbidden"], 0, found)
        if found["ours"] and found["refused"]:
            break
    assert found["ours"] and found["refused"], found
    # The test can tell, but where it is not left to run: with a grant it is there.
    w.host().GrantPerf("/c1", ["pmu:msr"])
    for _ in range(20):
        found = one.run(race, 50, forbidden, forbidden)
        equal(found["refused"], 0, found)
        if found["forbidden"] > 25:
            break
    assert found["forbidden"] > 25, found


def at_address(address, **how):
    fd = perf.open_at(address, **how)
    if fd >= 0:
        os.close(fd)
        return 0
    return errno.errorcode[-fd]


def of_nowhere():
    """Beside what is mapped, across its end, and where nothing may be read."""
    memory = mmap.mmap(-1, 8192)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    agent.check(libc.mprotect(ctypes.c_void_p(begin + 4096), ctypes.c_size_t(4096), 0), "mprotect")
    found = [at_address(address, pid=-1, cpu=0) for address in (0, 8, begin + 4096, 1 << 47, (1 << 64) - 64)]
    memory[4064:4096] = bytes(perf.attr())[:32]
    found.append(at_address(begin + 4064, pid=-1, cpu=0))
    return found


@test
def test_perf_no_memory(w):
    perf.need()
    give(w)
    one = inside(w, "root")
    equal(one.run(of_nowhere), ["EFAULT"] * 6)
    is_served(one)


def of_fuse():
    memory = mmap.mmap(agent.here["fuse"], 4096, mmap.MAP_PRIVATE)
    result = at_address(ctypes.addressof(ctypes.c_char.from_buffer(memory)), pid=-1, cpu=0)
    agent.here["of fuse"] = memory
    return result


@test
def test_perf_fuse(w):
    """Memory of a file whose server never answers: who reads it for the container does not wait for it."""
    perf.need()
    other = neighbour(w)
    give(w)
    node, at = f"{w.directory}/dev", f"{w.directory}/mnt"
    os.mkdir(at)
    w.host_agent.run(fuse.device, node)
    one = inside(w, "root")
    try:
        one.run(fuse.start, f"{node}/fuse", at)
        one.agent.start(of_fuse)
        is_served(other)
        assert one.agent.finish() in ("EFAULT", "EIO", "ETIMEDOUT")
        is_served(one)
    finally:
        one.run(fuse.stop)
        w.host_agent.run(fuse.forget, node)


UFFD_NR, UFFD_API, UFFD_REGISTER, UFFD_COPY = {"x86_64": 323, "aarch64": 282}.get(
    perf.MACHINE), 0xc018aa3f, 0xc020aa00, 0xc028aa03
USER_MODE_ONLY = 1
PR_SET_DUMPABLE = 4


def missing_page(flags):
    """Memory that somebody has to fill whenever it is touched: (fd of who may, address)."""
    fd = libc.syscall(ctypes.c_long(UFFD_NR), ctypes.c_long(os.O_CLOEXEC | flags))
    agent.check(fd, "userfaultfd")
    fcntl.ioctl(fd, UFFD_API, bytearray(struct.pack("=QQQ", 0xaa, 0, 0)))
    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(fd, UFFD_REGISTER, bytearray(struct.pack("=QQQQ", address, 4096, 1, 0)))
    agent.here["missing"] = (fd, memory)
    return fd, address


def fill(fd, address, data):
    page = ctypes.create_string_buffer(bytes(data) + bytes(4096 - len(data)), 4096)
    fcntl.ioctl(fd, UFFD_COPY, bytearray(struct.pack("=QQQQq", address, ctypes.addressof(page), 4096, 0, 0)))


def of_missing(flags):
    _, address = missing_page(flags)
    return at_address(address, pid=-1, cpu=0)


@test
def test_perf_userfault(w):
    """The same, by what a container's root may have of userfaultfd."""
    perf.need()
    other = neighbour(w)
    give(w)
    one = inside(w, "root")
    one.agent.start(of_missing, USER_MODE_ONLY)
    is_served(other)
    assert one.agent.finish() in ("EFAULT", "ETIMEDOUT")
    is_served(one)


@test
def test_perf_userfault_wholly(w):
    """And by what only the host's root has, or everybody where vm.unprivileged_userfaultfd is 1: whoever
    reads it waits, until it is ended."""
    perf.need()
    other = neighbour(w)
    give(w)
    one = w.once("held", lambda: w.host_agent.spawn("held", w.placer("c1", BASE)))
    one.run(perf.trap, w.daemon.socket)
    is_served(one)
    one.agent.start(of_missing, 0)
    is_served(other, 20)
    assert one.agent.finish() in ("EFAULT", "ETIMEDOUT", "EINTR")
    is_served(one)
    is_served(other)


def with_bytes(data, **at):
    data = bytearray(data)
    for key, value in at.items():
        data[int(key[2:])] = value
    return data


# Calls that the kernel judges by itself: (attr, further arguments).
CALLS = [
    (perf.attr(), {}),
    (perf.attr(perf.SOFTWARE, perf.TASK_CLOCK, "exclude_kernel"), {}),
    (perf.attr(perf.SOFTWARE, perf.TASK_CLOCK, "exclude_kernel", "inherit", "disabled"), {}),
    (perf.attr(perf.SOFTWARE, perf.CPU_CLOCK, "exclude_kernel", "freq", period=100, sample_type=7), {}),
    (perf.attr(perf.SOFTWARE, perf.CPU_CLOCK, "freq", period=100, sample_type=7), {}),
    (perf.attr(perf.SOFTWARE, 999, "exclude_kernel"), {}),
    (perf.attr(perf.HARDWARE, 0, "exclude_kernel"), {}),
    (perf.attr(perf.CACHE, 0, "exclude_kernel"), {}),
    (perf.attr(perf.RAW, 0x3c, "exclude_kernel"), {}),
    (perf.attr(perf.TRACEPOINT, 1), {}),
    (perf.attr(77, 0, "exclude_kernel"), {}),
    (perf.attr(perf.BREAKPOINT, 0, "exclude_kernel", bp_type=3, config1=4096, config2=4), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", sample_type=1 << 60), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", read_format=1 << 60), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", "freq", period=1 << 62), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", branch=1 << 60, sample_type=1 << 11), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", reserved_2=1), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", bits=1 << 63 | 32), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", "use_clockid", clockid=99), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=1), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=63), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=perf.VER0), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=68), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=perf.VER8), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=4096), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=4097), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=1 << 31), {}),
    (with_bytes(perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=4096), at4095=1), {}),
    (with_bytes(perf.attr(perf.SOFTWARE, 0, "exclude_kernel", size=200), at180=1), {}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"flags": 1 << 31}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"flags": perf.OUTPUT}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"group": 4095}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"group": 0}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"group": -7}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"cpu": 4095}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"cpu": -7}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"pid": -1}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"pid": -7}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"pid": 1 << 22}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"pid": -1, "cpu": 0}),
    (perf.attr(perf.SOFTWARE, 0, "exclude_kernel"), {"pid": 4095, "cpu": 0, "flags": perf.PID_CGROUP}),
]


# Which field a kernel looks at first is no promise: where more than one is wrong, any refusal will do.
def try_all(calls, dumpable):
    # 1: as a program is that was executed; 0: one with capabilities of its file.
    libc.prctl(PR_SET_DUMPABLE, dumpable)
    return [perf.try_event(bytearray(data), **how) for data, how in calls]


@test
def test_perf_as_the_kernel(w):
    """Without a grant each call ends as it does without a listener."""
    perf.need()
    if perf.paranoid() < 2:
        raise Skip("this host has lowered perf_event_paranoid")
    # At 3 Debian's kernels refuse all of these before they look at them.
    if perf.paranoid() > 2:
        raise Skip("this kernel opens nothing for those without a grant")
    untrapped = w.container("c2", base=300000)
    one = inside(w, "root")
    for dumpable in (1, 0):
        wanted = untrapped.run(try_all, CALLS, dumpable)
        got = one.run(try_all, CALLS, dumpable)
        wrong = [(CALLS[i][1], bytes(CALLS[i][0]).hex().rstrip("0"), got[i], wanted[i])
                 for i in range(len(CALLS)) if got[i] != wanted[i]]
        assert not wrong, (dumpable, wrong)
        assert 0 in wanted and "EACCES" in wanted and "E2BIG" in wanted, wanted


# What is never opened, whatever is granted.

NEVER = [
    perf.attr(perf.SOFTWARE, 0, "exclude_kernel", "sigtrap", "remove_on_exec"),
    perf.attr(perf.SOFTWARE, 0, "exclude_kernel", "aux_output"),
    perf.attr(perf.SOFTWARE, 0, "ksymbol"), perf.attr(perf.SOFTWARE, 0, "bpf_event"),
    perf.attr(perf.SOFTWARE, 0, "text_poke"),
    perf.attr(perf.SOFTWARE, 0, "exclude_kernel", sample_type=perf.SAMPLE_PHYS_ADDR, period=100000),
    perf.attr(perf.SOFTWARE, 0, "exclude_kernel", sample_type=perf.SAMPLE_REGS_INTR, regs_intr=1, period=100000),
    perf.attr(perf.SOFTWARE, 0, "exclude_kernel", sample_type=perf.SAMPLE_RAW, period=100000),
    perf.attr(perf.TRACEPOINT, 1), perf.attr(perf.BREAKPOINT, 0, bp_type=3, config1=4096, config2=4),
    perf.attr(perf.SOFTWARE, 0, bits=1 << 63), perf.attr(perf.SOFTWARE, 0, bits=1 << 38),
    with_bytes(perf.attr(size=4096), at2000=1),
]


@test
def test_perf_never(w):
    perf.need()
    give(w, "c1", "cpu", "kernel", "gpu", "power")
    one = inside(w, "root")
    for data in NEVER:
        for pid in (-1, 0):
            got = one.run(perf.try_event, bytearray(data), pid=pid, cpu=0)
            assert got != 0, (bytes(data).hex(), pid)
    is_served(one)


@test
def test_perf_other_pmus(w):
    """A PMU by its type in the upper half of a config, as hybrid processors have it, or by itself."""
    perf.need()
    give(w, "c1", "cpu", "kernel")
    one = inside(w, "root")
    types = sorted(perf.pmu_type(name) for name in os.listdir(perf.PMUS))
    for number in types:
        for kind in (perf.HARDWARE, perf.CACHE):
            got = one.run(perf.try_event, perf.attr(kind, number << 32), pid=-1, cpu=0)
            assert number in (perf.HARDWARE, perf.RAW) or got != 0, (kind, number, got)
        if number not in (perf.SOFTWARE, perf.HARDWARE, perf.CACHE):
            assert one.run(perf.try_event, perf.attr(number, 0), pid=-1, cpu=0) != 0, number
    # Types that no PMU has.
    for number in (max(types) + 1, 1 << 31, (1 << 32) - 1):
        assert one.run(perf.try_event, perf.attr(number, 0), pid=-1, cpu=0) != 0, number


# Whom it names.

@test
def test_perf_foreign_pid(w):
    """As far as its own eyes reach, and as a debugger could."""
    perf.need()
    give(w)
    one = inside(w, "root")
    plain = w.inner_user(one)
    other = w.inner_user(one, 1001)
    data = perf.attr(perf.SOFTWARE, perf.TASK_CLOCK)
    equal(plain.run(perf.try_event, data, pid=plain.agent.inner_pid), 0)
    roots, others = one.run(perf.run_on), other.run(perf.run_on)
    for pid in (roots, others):
        assert plain.run(perf.try_event, data, pid=pid) in ("EACCES", "EPERM"), pid
        equal(one.run(perf.try_event, data, pid=pid), 0)
    other.run(perf.burnt)
    one.run(perf.burnt)
    # By the numbers of its own namespace alone.
    here = w.host_agent.inner_pid
    equal(one.run(perf.try_event, data, pid=here if here > 1000 else 1 << 21), "ESRCH")
    equal(one.run(perf.try_event, data, pid=-2), "ESRCH")


def of_cgroup(path, **how):
    """An event of a cgroup by its directory."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return perf.try_event(pid=fd, cpu=0, flags=perf.PID_CGROUP, **how)
    finally:
        os.close(fd)


@test
def test_perf_foreign_cgroup(w):
    perf.need()
    make_all("c1", BASE)
    make_all("c1/c2", BASE)
    make_all("c1x", BASE)
    give(w)
    one = inside(w, "root")
    at = where("unified")
    for path, wanted in (("c1", 0), ("c1/c2", 0), ("c1x", "EACCES"), ("", "EACCES")):
        equal(one.run(of_cgroup, os.path.join(at, path)), wanted, path)
    # What is no cgroup.
    for path in ("/", f"{at}/c1/cgroup.procs", "/proc/self/status"):
        assert one.run(of_cgroup, path) in ("EBADF", "EACCES"), path
    equal(one.run(perf.try_event, pid=1000, cpu=0, flags=perf.PID_CGROUP), "EBADF")


# A daemon that is killed with a notification in its hand.

def page_later(seconds):
    """The call of a page that comes when so much time has gone, from another process."""
    fd, address = missing_page(0)
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)
        fill(fd, address, perf.attr())
        os._exit(0)
    result = at_address(address, pid=-1, cpu=0)
    os.waitpid(pid, 0)
    return result


@bare
def test_perf_killed_in_hand(w):
    """It was taken and not answered; the next daemon has it from the registry."""
    perf.need()
    options = ("--perf-keeper", f"{w.directory}/keeper/socket")
    w.start(*options)
    give(w)
    one = w.once("held", lambda: w.host_agent.spawn("held", w.placer("c1", BASE)))
    one.run(perf.trap, w.daemon.socket)
    is_served(one)
    one.agent.start(page_later, 0.7)
    time.sleep(0.3)
    w.daemon.kill()
    w.start(*options)
    assert one.agent.finish() in (0, "EFAULT", "ETIMEDOUT")
    is_served(one)

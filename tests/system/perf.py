# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of perf share: perf_event_open(2) as bytes, filters that trap it, Debian's perf and intel_gpu_top
in containers, and load that can be told from other load."""

import ctypes
import errno
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

import agent
import wire
from agent import libc
from cgroups import read, where
from harness import Skip

MACHINE = os.uname().machine
NR_PERF, NR_SECCOMP, ARCH = {"x86_64": (298, 317, 0xc000003e), "aarch64": (241, 277, 0xc00000b7)}.get(
    MACHINE, (None, None, None))

# struct perf_event_attr up to config3.
FIELDS = struct.Struct("=IIQQQQQIIQQQQIiQIHHIIQQ")
NAMES = ("type", "size", "config", "period", "sample_type", "read_format", "bits", "wakeup", "bp_type", "config1",
         "config2", "branch", "regs_user", "stack_user", "clockid", "regs_intr", "aux_watermark", "max_stack",
         "reserved_2", "aux_sample_size", "reserved_3", "sig_data", "config3")
VER0, VER7, VER8 = 64, 128, FIELDS.size
BITS = {name: 1 << at for at, name in enumerate(
    "disabled inherit pinned exclusive exclude_user exclude_kernel exclude_hv exclude_idle mmap comm freq inherit_stat "
    "enable_on_exec task watermark precise precise2 mmap_data sample_id_all exclude_host exclude_guest "
    "exclude_callchain_kernel exclude_callchain_user mmap2 comm_exec use_clockid context_switch write_backward "
    "namespaces ksymbol bpf_event aux_output cgroup text_poke build_id inherit_thread remove_on_exec sigtrap".split())}
HARDWARE, SOFTWARE, TRACEPOINT, CACHE, RAW, BREAKPOINT = range(6)
CPU_CLOCK, TASK_CLOCK, PAGE_FAULTS, CONTEXT_SWITCHES = 0, 1, 2, 3
SAMPLE_IP, SAMPLE_TID, SAMPLE_TIME, SAMPLE_RAW, SAMPLE_REGS_INTR = 1, 2, 4, 1 << 10, 1 << 18
SAMPLE_PHYS_ADDR = 1 << 19
TIME_ENABLED, TIME_RUNNING, ID, GROUP = 1, 2, 4, 8
NO_GROUP, OUTPUT, PID_CGROUP, CLOEXEC = 1, 2, 4, 8
IOC_ENABLE, IOC_DISABLE, IOC_ID = 0x2400, 0x2401, 0x80082407
PMUS = "/sys/bus/event_source/devices"


def need(*programs):
    """The kernel's perf events, denied to containers, and these programs."""
    if NR_PERF is None:
        raise Skip(f"not written for {MACHINE}")
    if not os.path.exists("/proc/sys/kernel/perf_event_paranoid"):
        raise Skip("this kernel has no perf events")
    for program in programs:
        if agent.shell(["which", program])[0]:
            raise Skip(f"there is no {program}")


def paranoid():
    return int(read("/proc/sys/kernel/perf_event_paranoid"))


def pmu_type(name):
    try:
        return int(read(f"{PMUS}/{name}/type"))
    except FileNotFoundError:
        raise Skip(f"this host has no PMU {name}") from None


# The system call.

def attr(kind=SOFTWARE, config=CPU_CLOCK, *bits, size=VER7, **fields):
    """struct perf_event_attr; bits by name."""
    values = {"type": kind, "size": size, "config": config, "bits": sum(BITS[name] for name in bits), **fields}
    assert set(values) <= set(NAMES), values
    data = FIELDS.pack(*(values.get(name, 0) for name in NAMES))
    # More than a page the kernel does not read.
    return bytearray(data[:size] if size < len(data) else data + bytes(min(size, 1 << 16) - len(data)))


def open_at(address, pid=0, cpu=-1, group=-1, flags=CLOEXEC):
    """perf_event_open of an attr at an address; an fd, or a negative errno."""
    fd = libc.syscall(ctypes.c_long(NR_PERF), ctypes.c_void_p(address), ctypes.c_long(pid), ctypes.c_long(cpu),
                      ctypes.c_long(group), ctypes.c_ulong(flags))
    return fd if fd >= 0 else -ctypes.get_errno()


def open_event(data=None, pid=0, cpu=-1, group=-1, flags=CLOEXEC):
    data = attr() if data is None else data
    buffer = (ctypes.c_char * len(data)).from_buffer(data)
    return open_at(ctypes.addressof(buffer), pid, cpu, group, flags)


def try_event(*args, **how):
    """0 or an errno's name; nothing stays open."""
    fd = open_event(*args, **how)
    if fd >= 0:
        os.close(fd)
        return 0
    return errno.errorcode[-fd]


def value_of(fd):
    return struct.unpack_from("=Q", os.read(fd, 256))[0]


def event_id(fd):
    value = ctypes.c_uint64()
    agent.check(libc.ioctl(fd, ctypes.c_ulong(IOC_ID), ctypes.byref(value)), "PERF_EVENT_IOC_ID")
    return value.value


def cpus():
    return sorted(os.sched_getaffinity(0))


# Filters.

BPF_LD_W_ABS, BPF_JEQ, BPF_RET = 0x20, 0x15, 0x06
RET_ALLOW, RET_NOTIFY = 0x7fff0000, 0x7fc00000
NEW_LISTENER, WAIT_KILLABLE = 1 << 3, 1 << 5
PR_SET_NAME, PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER = 15, 38, 1


class Filter(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def listener(flags=NEW_LISTENER | WAIT_KILLABLE, numbers=None):
    """Traps perf_event_open of this thread and what it makes; gives the listener."""
    numbers = [NR_PERF] if numbers is None else numbers
    rules = [(BPF_LD_W_ABS, 0, 0, 4), (BPF_JEQ, 1, 0, ARCH), (BPF_RET, 0, 0, RET_ALLOW), (BPF_LD_W_ABS, 0, 0, 0)]
    for at, number in enumerate(numbers):
        rules.append((BPF_JEQ, len(numbers) - at, 0, number))
    rules += [(BPF_RET, 0, 0, RET_ALLOW), (BPF_RET, 0, 0, RET_NOTIFY)]
    code = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    fd = libc.syscall(ctypes.c_long(NR_SECCOMP), ctypes.c_long(SET_MODE_FILTER), ctypes.c_ulong(flags),
                      ctypes.byref(Filter(len(rules), code)))
    agent.check(fd, "seccomp")
    return fd


class FdBus(wire.Bus):
    """Keeps the fds that come."""

    def __init__(self, address, **how):
        self.fds = []
        super().__init__(address, fds=True, **how)

    def receive(self):
        data, fds, _, _ = socket.recv_fds(self.socket, 65536, 16)
        self.fds += fds
        if not data:
            raise wire.Dropped("end of file")
        self.data += data

    def call_with(self, member, signature, args, fds=()):
        """The value of the reply; fds go along."""
        serial = self.next_serial()
        extra = [(9, "u", len(fds))] if fds else []
        data = wire.build(serial, member, signature, args, path=wire.NATIVE_PATH,
                          interface=wire.NATIVE_INTERFACE, extra=extra)
        try:
            socket.send_fds(self.socket, [data], list(fds))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise wire.Dropped(str(error)) from None
        return self.answer(serial).value()


def attach(address, fd):
    """AttachPerfListener."""
    bus = FdBus(address)
    try:
        return bus.call_with("AttachPerfListener", "h", (0,), [fd])
    finally:
        bus.close()


def trap(address, **how):
    """In an agent: what it and all that it makes from now on call perf_event_open for goes to the daemon."""
    fd = listener(**how)
    attach(address, fd)
    os.close(fd)


def open_by_call(address, data, pid=0, cpu=-1, group=None, flags=CLOEXEC):
    """OpenPerfEvent: an fd. Raises DBusError."""
    bus, placeholder = FdBus(address), None
    try:
        if group is None:
            placeholder, other = socket.socketpair()
            other.close()
            flags |= NO_GROUP
        bus.call_with("OpenPerfEvent", "ayiiht", (bytes(data), pid, cpu, 0, flags),
                      [placeholder.fileno() if placeholder else group])
        fd, = bus.fds
        return fd
    finally:
        bus.close()
        if placeholder:
            placeholder.close()


# Programs.

ENVIRONMENT = {**os.environ, "LC_ALL": "C", "PAGER": "cat", "PERF_PAGER": "cat", "HOME": "/nonexistent"}


def program(command, seconds=300, env=None, **how):
    """In an agent: (exit code, stdout, stderr)."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True, env={**ENVIRONMENT, **(env or {})}, start_new_session=True, **how) as running:
        try:
            out, err = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            out, err = running.communicate()
            raise AssertionError(f"{command} did not end: {out[-1000:]} {err[-1000:]}") from None
    return running.returncode, out, err


def until(command, enough, seconds=300, env=None):
    """In an agent: (exit code, output) of a program that shows things again and again; it is interrupted when
    what it has said is enough (by enough(text)), or it takes too long."""
    keep, other = os.pipe()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=keep,
                          env={**ENVIRONMENT, **(env or {})}, start_new_session=True) as running:
        said, deadline = b"", time.monotonic() + seconds
        while not enough(said.decode(errors="replace")) and time.monotonic() < deadline:
            if select.select([running.stdout], [], [], 0.5)[0]:
                part = os.read(running.stdout.fileno(), 65536)
                said += part
                if not part:
                    break
        os.killpg(running.pid, signal.SIGKILL) if running.poll() is None else None
    os.close(keep)
    os.close(other)
    return running.returncode, said.decode(errors="replace")


def counts(text):
    """Of perf stat -x,: {event: number, or None where it says that there is none}"""
    found = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) >= 5:
            found[fields[2]] = None if fields[0].startswith("<") else float(fields[0])
    return found


def stat(*options, command=("true",), **how):
    """In an agent: {event: number}, by perf stat."""
    code, out, err = program(["perf", "stat", "-x,", *options, "--", *command], **how)
    if code:
        raise AssertionError(f"perf stat {options} ended with {code}: {out}{err}")
    return counts(err)


def samples(path):
    """In an agent: [(comm, pid)] of what perf record wrote."""
    code, out, err = program(["perf", "script", "-i", path, "-F", "comm,pid"])
    if code:
        raise AssertionError(f"perf script ended with {code}: {err}")
    found = [re.match(r"\s*(.*?)\s+(-?\d+)\s*$", line) for line in out.splitlines() if line.strip()]
    assert all(found), out[:2000]
    return [(match[1], int(match[2])) for match in found]


def events_of(path):
    """In an agent: the events' names, as perf made them."""
    code, out, err = program(["perf", "evlist", "-i", path])
    if code:
        raise AssertionError(f"perf evlist ended with {code}: {err}")
    return out.split()


def report(path):
    """In an agent: {comm: percent} by perf report."""
    code, out, err = program(["perf", "report", "-i", path, "--stdio", "--no-children", "-g", "none", "--sort", "comm"])
    if code:
        raise AssertionError(f"perf report ended with {code}: {err}")
    return {match[2]: float(match[1]) for match in re.finditer(r"^\s*([\d.]+)%\s+(\S+)\s*$", out, re.MULTILINE)}


# Load.

def spin(seconds):
    """Uses so much processor time; how much it was, with all that this process had used before."""
    while (used := time.process_time()) < seconds:
        for _ in range(2000):
            pass
    return used


# A program of its own: it says what of the processor it has used, by the kernel's account, and its pid.
SPIN = ("import time, os\nwhile (t := time.process_time()) < %g:\n for _ in range(2000): pass\n"
        "print(os.getpid(), t)")


def spinner(seconds, name="perf-inside"):
    """The command of one, called so."""
    return ["/usr/bin/python3", "-SIc", f"open('/proc/self/comm', 'w').write({name!r})\n" + SPIN % seconds]


def run_on(name="perf-inside"):
    """In an agent: a program that keeps a CPU busy until burnt(); its pid. Unlike what is only forked it may be
    looked at as a debugger does by whoever has its ids."""
    with subprocess.Popen(spinner(1e6, name), stdout=subprocess.DEVNULL) as running:
        agent.here.setdefault("burners", []).append(running.pid)
        running.returncode = 0
    return running.pid


def burn(name="perf-outside"):
    """In an agent: a process that keeps one CPU busy until burnt()."""
    pid = os.fork()
    if pid == 0:
        libc.prctl(agent.PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(PR_SET_NAME, name.encode())
        os.sched_setaffinity(0, [min(cpus())])
        while True:
            pass
    agent.here.setdefault("burners", []).append(pid)


def burnt():
    """Ends them."""
    for pid in agent.here.pop("burners", []):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def usage(path):
    """ns of processor time that a cgroup has used, by its own account."""
    return int(re.search(r"usage_usec (\d+)", read(f"{where('unified', path)}/cpu.stat"))[1]) * 1000


# A GPU that is not here.

# The PMU of the GPU has the type of one which this host has, of whose events number 0 alone is sure to be there.
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <sys/syscall.h>

long syscall(long number, ...)
{
	long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"), arg[6];
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_perf_event_open && ((struct perf_event_attr *)arg[0])->type == %d)
		((struct perf_event_attr *)arg[0])->config = 0;
	return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
"""
PCI, SLOT = "devices/pci0000:00", "0000:00:02.0"
NODES = {"card0": 0, "renderD128": 128}
ENGINES = {"rcs0": 0, "bcs0": 1, "vcs0": 2}
SAMPLES = {"busy": 0, "wait": 1, "sema": 2}
REAL_PMU = "msr"


def put_file(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text + "\n")


def put_link(target, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(os.path.relpath(target, os.path.dirname(path)), path)


def gpu_sysfs(top):
    """A sysfs with an Intel GPU whose PMU is another one of this host, and whose power is cpu-clock."""
    card = f"{top}/{PCI}/{SLOT}"
    put_file(f"{card}/vendor", "0x8086")
    put_file(f"{card}/device", "0x9bc5")
    put_file(f"{card}/uevent", "DRIVER=i915\nPCI_CLASS=30000\nPCI_ID=8086:9BC5\nPCI_SUBSYS_ID=8086:2212\n"
             f"PCI_SLOT_NAME={SLOT}")
    os.makedirs(f"{top}/bus/pci/drivers/i915")
    put_link(f"{top}/bus/pci", f"{card}/subsystem")
    put_link(f"{top}/bus/pci/drivers/i915", f"{card}/driver")
    put_link(card, f"{top}/bus/pci/devices/{SLOT}")
    for name, minor in NODES.items():
        node = f"{card}/drm/{name}"
        put_file(f"{node}/dev", f"226:{minor}")
        put_file(f"{node}/uevent", f"MAJOR=226\nMINOR={minor}\nDEVNAME=dri/{name}\nDEVTYPE=drm_minor")
        put_link(card, f"{node}/device")
        put_link(f"{top}/class/drm", f"{node}/subsystem")
        put_link(node, f"{top}/class/drm/{name}")
        put_link(node, f"{top}/dev/char/226:{minor}")
    events = {f"{engine}-{what}": f"config={kind << 12 | sample:#x}"
              for engine, kind in ENGINES.items() for what, sample in SAMPLES.items()}
    gpu_pmu(top, "i915", pmu_type(REAL_PMU), events, "0")
    gpu_pmu(top, "power", SOFTWARE, {"energy-gpu": "event=0x00", "energy-pkg": "event=0x00"})
    gpu_pmu(top, "software", SOFTWARE, {})
    return top


def gpu_pmu(top, name, number, events, cpumask=None):
    at = f"{top}/devices/{name}"
    put_file(f"{at}/type", str(number))
    if cpumask is not None:
        put_file(f"{at}/cpumask", cpumask)
    for event, config in events.items():
        put_file(f"{at}/events/{event}", config)
        put_file(f"{at}/events/{event}.unit", "Joules" if name == "power" else "ns")
        put_file(f"{at}/events/{event}.scale", "1")
    put_file(f"{at}/format/event", "config:0-63")
    put_link(at, f"{top}/bus/event_source/devices/{name}")


def gpu_shim(directory):
    path = f"{directory}/gpu-shim.so"
    if agent.shell(["which", "cc"])[0]:
        raise Skip("there is no cc")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], input=SHIM % pmu_type(REAL_PMU),
                   text=True, check=True)
    return path


def gpu_show(sysfs):
    """In an agent with a mount namespace of its own."""
    agent.mount(sysfs, "/sys", flags=agent.MS_BIND | agent.MS_REC)


def gpu_top(shim):
    """In an agent that is shown such a sysfs: (exit code, output) of intel_gpu_top -J."""
    return until(["intel_gpu_top", "-J", "-s", "100"], gpu_enough,
                 env={"SYSTEMD_DEVICE_VERIFY_SYSFS": "0", "LD_PRELOAD": shim})


def gpu_enough(text):
    return len(gpu_reports(text)) >= 3


def gpu_reports(text):
    """intel_gpu_top's JSON: objects with commas between, the last perhaps cut off."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (begin := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, begin)
        except ValueError:
            break
        found.append(value)
    return found

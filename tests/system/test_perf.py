# SPDX-License-Identifier: LGPL-2.1-or-later
"""Perf in containers: programs that know nothing of the daemon, with what was granted and without."""

import os
import signal
import time

import agent
import perf
import wire
from agent import wait_until
from harness import Skip, bare, each, each_bare, equal, test
from test_devices import make_all, policy
from test_hostile import alive, descendants
from world import BASE, REASONS, read

# What perf says where the kernel gives EACCES or EPERM.
LIMITED = "Access to performance monitoring and observability operations is limited"
GPU_DENIED = "Failed to initialize PMU! (Permission denied)"
# Others' load is not ours to stop: what is measured is measured again.
TRIES = 5


def denied_without(w):
    """Where containers are not let in by the kernel itself."""
    perf.need("perf")
    if perf.paranoid() < 2:
        raise Skip("this host has lowered perf_event_paranoid")


@bare
def test_perf_without(w):
    """What people report, in a container that nobody answers for."""
    denied_without(w)
    one = w.container()
    plain = w.inner_user(one)
    for client, *options in ((one, "stat", "-a", "true"), (plain, "stat", "-a", "true"),
                             (plain, "stat", "-p", "1", "true"),
                             (one, "record", "-o", "/dev/null", "-a", "true"), (one, "top", "--stdio")):
        code, out, err = client.run(perf.program, ["perf", *options])
        assert code and LIMITED in out + err, (options, code, out, err)
    # Debian's level of 3 refuses even to be asked.
    if perf.paranoid() == 2:
        equal(one.run(perf.stat, "-a", "-e", "msr/tsc/"), {"msr/tsc/u": None})
    else:
        code, out, err = one.run(perf.program, ["perf", "stat", "-a", "-e", "msr/tsc/", "true"])
        assert code and LIMITED in out + err, (code, out, err)
    # Of its own tasks perf shows the user side alone, as long as the kernel lets it.
    if perf.paranoid() == 2:
        equal(one.run(perf.stat, "-e", "context-switches")["context-switches:u"], 0)


@bare
def test_perf_gpu_without(w):
    denied_without(w)
    perf.need("intel_gpu_top")
    tree, shim = perf.gpu_sysfs(f"{w.directory}/sys"), perf.gpu_shim(w.directory)
    one, host = w.container(), w.host_agent.spawn("host with a tree", mnt=True)
    for each_agent in (one, host):
        each_agent.run(perf.gpu_show, tree)
    code, out = one.run(perf.gpu_top, shim)
    equal((code, out.strip()), (1, GPU_DENIED))
    # It is the container that is refused, not the tree: the host's root has it all.
    assert "power" in gpu_report(host.run(perf.gpu_top, shim))


def gpu_report(told):
    """The last of the reports; all of the GPU is in it."""
    code, out = told
    reports = perf.gpu_reports(out)
    assert len(reports) >= 2, (code, out)
    for engine in ("Render/3D/0", "Blitter/0", "Video/0"):
        assert {"busy", "wait", "sema"} <= set(reports[-1]["engines"].get(engine, ())), out
    assert {"frequency", "interrupts", "rc6"} <= set(reports[-1]), out
    return reports[-1]


# With it. Who it is that asks:

def root(w):
    return w.container("c1")


def plain(w):
    return w.inner_user(root(w))


def nested(w):
    """A listener of its own."""
    return w.container("c1/c2", 101000, root(w), 1000, 60000)


def below(w):
    """Served by the listener of the container that it is in."""
    root(w).run(perf.trap, w.daemon.socket)
    return nested(w)


WHO = ("root", "plain", "nested", "below")


def give(w, path="c1", *items):
    """A cgroup with a grant."""
    perf.need("perf")
    make_all(path, BASE)
    w.host().GrantPerf("/" + path, list(items or ("cpu",)))


def inside(w, who):
    client = globals()[who](w)
    if who != "below":
        client.run(perf.trap, w.daemon.socket)
    return client


def neighbour(w):
    """Somebody else's container, which is to be served."""
    make_all("c9", 300000)
    w.host().GrantPerf("/c9", ["cpu"])
    one = w.container("c9", base=300000)
    one.run(perf.trap, w.daemon.socket)
    return one


def is_served(client, times=3):
    for _ in range(times):
        equal(client.run(perf.try_event, pid=-1, cpu=0), 0)


def folder(w):
    """Where anybody may write."""
    at = f"{w.directory}/out"
    os.mkdir(at)
    os.chmod(at, 0o777)
    return at


def near(measured, used):
    return used * 0.9 <= measured <= used * 1.1


@test
def test_perf_not_granted(w):
    """A listener alone opens nothing that the kernel would not have opened."""
    denied_without(w)
    one = inside(w, "root")
    code, out, err = one.run(perf.program, ["perf", "stat", "-a", "true"])
    assert code and LIMITED in out + err, (code, out, err)
    equal(one.run(perf.try_event, pid=-1, cpu=0), "EACCES")
    # Where Debian's kernels have it at 3, not even that.
    if perf.paranoid() == 2:
        assert one.run(perf.stat, "-e", "page-faults")["page-faults:u"] > 0


@each(*WHO)
def test_perf_stat_all(w, who):
    """System-wide is what is in the container, as many processor time as it has used itself, and no more."""
    give(w)
    client = inside(w, who)
    w.host_agent.run(perf.burn)
    seen = []
    # What perf itself uses counts too: the longer it takes, the less of all.
    for doubled in range(TRIES):
        code, out, err = client.run(perf.program, [
            "perf", "stat", "-x,", "-a", "-e", "cpu-clock,context-switches", "--", *perf.spinner(0.25 * 2**doubled)])
        equal(code, 0, err)
        found, used = perf.counts(err), float(out.split()[1]) * 1000
        assert found["context-switches"] > 0, err
        seen.append((found["cpu-clock"], used))
        if near(*seen[-1]):
            break
    w.host_agent.run(perf.burnt)
    assert near(*seen[-1]), f"cpu-clock and what was used, in ms: {seen}"


@each(*WHO)
def test_perf_stat(w, who):
    """A command, and a process that runs."""
    give(w)
    client = inside(w, who)
    found = client.run(perf.stat, "-e", "task-clock,page-faults,context-switches", command=perf.spinner(0.1))
    assert found["task-clock"] >= 90 and found["page-faults"] > 0, found
    pid = client.run(perf.run_on)
    for names in ("task-clock", "task-clock,page-faults"):
        found = client.run(perf.stat, "-e", names, "-p", str(pid), command=("sleep", "0.2"))
        assert found["task-clock"] > 0, found
    client.run(perf.burnt)


@each(*[(who, items) for who in WHO for items in ("cpu", "kernel")])
def test_perf_record(w, who, items):
    """Samples name the container's tasks, by the numbers that they have there, and nobody else's."""
    give(w, "c1", items)
    client, at = inside(w, who), folder(w)
    w.host_agent.run(perf.burn)
    # As another than root perf does not even ask for the kernel's side, but where it is told to.
    options = (["-g"] if items == "kernel" else []) + (["-e", "cpu-clock"] if who == "plain" else [])
    code, out, err = client.run(perf.program, [
        "perf", "record", "-o", f"{at}/data", "-a", "-F", "500", *options, "--", *perf.spinner(0.3)])
    w.host_agent.run(perf.burnt)
    equal(code, 0, err)
    samples = client.run(perf.samples, f"{at}/data")
    pid = int(out.split()[0])
    ours = [sample for sample in samples if sample == ("perf-inside", pid)]
    assert len(ours) > 20, (pid, samples[:20], len(samples))
    # perf itself, and what it runs before that is another program.
    others = {sample for sample in samples if sample[1] != pid}
    assert all(comm in ("perf", "perf-exec", "python3") and number > 0 for comm, number in others), others
    shares = client.run(perf.report, f"{at}/data")
    # The interpreter's start is most of it where the processor is emulated.
    spun = {comm: share for comm, share in shares.items() if comm != "python3"}
    assert max(spun, key=spun.get) == "perf-inside" and "perf-outside" not in shares, shares
    # Who may not see the kernel's side is told so by the event's name.
    event = client.run(perf.events_of, f"{at}/data")[0]
    equal("u" in event.partition(":")[2], items == "cpu", event)


def shows_inside(text):
    return "perf-inside" in text


@test
def test_perf_top(w):
    """What is shown as it happens, the container's alone."""
    give(w, "c1", "kernel")
    one = inside(w, "root")
    one.run(perf.burn, "perf-inside")
    w.host_agent.run(perf.burn)
    _, out = one.run(perf.until, ["stdbuf", "-o0", "perf", "top", "--stdio", "-d", "1", "--sort", "comm"], shows_inside)
    w.host_agent.run(perf.burnt)
    one.run(perf.burnt)
    assert "perf-inside" in out and "perf-outside" not in out, out[-3000:]


@each(*WHO)
def test_perf_pmu(w, who):
    """A PMU that is granted by its name."""
    perf.pmu_type("msr")
    give(w, "c1", "pmu:msr")
    client = inside(w, who)
    for options in (("-a",), ()):
        found = client.run(perf.stat, *options, "-e", "msr/tsc/")
        assert found["msr/tsc/"] > 0, found
    # It is that alone, and not in the upper half of what is another PMU's.
    denied = client.run(perf.try_event, pid=-1, cpu=0)
    equal(denied, "EACCES")
    w.host().RevokePerf("/c1", ["pmu:msr"], [])
    equal(client.run(perf.try_event, perf.attr(perf.pmu_type("msr"), 0), pid=-1, cpu=0), "EACCES")


# A GPU.

# What the daemon has as /sys: that GPU, and of the host's what is no device.
SHOW = ('tree=$0; for d in fs kernel module; do [ -d /sys/$d ] || continue; mkdir -p $tree/$d && '
        'mount --rbind /sys/$d $tree/$d || exit; done; mount --rbind $tree /sys && exec "$@"')


def start_with_gpu(w, items):
    perf.need("intel_gpu_top")
    tree, shim = perf.gpu_sysfs(f"{w.directory}/daemon-sys"), perf.gpu_shim(w.directory)
    w.program = ["unshare", "-m", "sh", "-c", SHOW, tree, *w.program]
    w.start()
    give(w, "c1", *items)
    return perf.gpu_sysfs(f"{w.directory}/sys"), shim


@each_bare("root", "plain", "nested")
def test_perf_gpu(w, who):
    """intel_gpu_top, and what it does without: the processor's power was not granted."""
    tree, shim = start_with_gpu(w, ["pmu:i915"])
    client = globals()[who](w)
    (root(w) if who == "plain" else client).run(perf.gpu_show, tree)
    client.run(perf.trap, w.daemon.socket)
    report = gpu_report(client.run(perf.gpu_top, shim))
    assert "power" not in report, report
    w.host().GrantPerf("/c1", ["cpu"])
    assert "power" in gpu_report(client.run(perf.gpu_top, shim))


@bare
def test_perf_gpu_item(w):
    """`gpu`: the PMUs of the GPUs that the device rules leave to the cgroup."""
    tree, shim = start_with_gpu(w, ["gpu"])
    one = root(w)
    one.run(perf.gpu_show, tree)
    one.run(perf.trap, w.daemon.socket)
    gpu_report(one.run(perf.gpu_top, shim))
    equal(one.run(perf.try_event, perf.attr(perf.pmu_type(perf.REAL_PMU), 0), pid=-1, cpu=0), 0)
    w.host().DenyDevices("/c1", "c 226:*", "rwm")
    code, out = one.run(perf.gpu_top, shim)
    equal((code, out.strip()), (1, GPU_DENIED))


# Who gives, and how long it lasts.

@bare
def test_perf_policy_file(w):
    w.start(*policy(w, f"[perf /c1]\ngrant = cpu\n[perf /c2]\ngrant = cpu\nuid = {BASE}\n"
                     f"[perf /c3]\ngrant = cpu\nuid = {BASE + 1}\n"))
    for path, wanted in (("c1", 0), ("c2", 0), ("c3", "EACCES"), ("c4", "EACCES")):
        one = w.container(path)
        one.run(perf.trap, w.daemon.socket)
        equal(one.run(perf.try_event, pid=-1, cpu=0), wanted, path)


@test
def test_perf_scope(w):
    """Inherited downwards; each container below sees what is below itself, and no grant reaches beside it."""
    make_all("c1", BASE)
    give(w, "c1/c2")
    one, two = w.container("c1"), nested(w)
    three = w.container("c1/c2/c3", 102000, two, 1000, 50000)
    for client in (one, three):
        client.run(perf.trap, w.daemon.socket)
    equal(one.run(perf.try_event, pid=-1, cpu=0), "EACCES")
    used, events = perf.usage("c1/c2/c3"), three.run(open_clocks)
    two.run(perf.burn, "perf-beside")
    time.sleep(0.3)
    counted = sum(three.run(read_clocks, events))
    used = perf.usage("c1/c2/c3") - used
    two.run(perf.burnt)
    assert counted <= used, (counted, used)
    assert three.run(spin_and_read, events) > 50e6


def open_clocks(count=1, **how):
    """cpu-clock of all CPUs: fds."""
    found = [perf.open_event(perf.attr(), -1, cpu, **how) for cpu in perf.cpus() for _ in range(count)]
    assert min(found) >= 0, found
    return found


def read_clocks(fds):
    return [perf.value_of(fd) for fd in fds]


def spin_and_read(fds, seconds=0.1):
    before = sum(read_clocks(fds))
    perf.spin(time.process_time() + seconds)
    return sum(read_clocks(fds)) - before


@test
def test_perf_revoke(w):
    """New events are refused, those that are open stop; whoever holds one might enable it again."""
    give(w)
    one = inside(w, "root")
    fds = one.run(open_clocks)
    assert one.run(spin_and_read, fds) > 50e6
    told = dict(w.host().RevokePerf("/c1", ["cpu"], []))
    equal((told["disabled"], told["holders"], told["killed"]), (str(len(fds)), "1", "0"), told)
    assert "1" in told["remains"], told
    equal(one.run(perf.try_event, pid=-1, cpu=0), "EACCES")
    equal(one.run(spin_and_read, fds), 0)
    # Nothing is left to be revoked, and nobody was hurt.
    told = dict(w.host().RevokePerf("/c1", ["cpu"], []))
    equal(told["killed"], "0", told)
    w.host().GrantPerf("/c1", ["cpu"])
    equal(one.run(perf.try_event, pid=-1, cpu=0), 0)


@test
def test_perf_revoke_kill(w):
    """Of those in the cgroup only who holds an event ends."""
    give(w)
    one = inside(w, "root")
    innocent, holder = one.run(agent.fork_task), one.run(fork_holder)
    told = dict(w.host().RevokePerf("/c1", ["cpu"], [("kill", ("b", True))]))
    equal((told["holders"], told["killed"]), ("1", "1"), told)
    equal(one.run(wait_for, holder), signal.SIGKILL)
    equal(one.run(os.waitpid, innocent, os.WNOHANG), (0, 0))
    one.run(agent.end_task, innocent)


def fork_holder():
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            open_clocks()
            os.write(told, b"r")
            signal.pause()
        finally:
            os._exit(1)
    os.close(told)
    assert os.read(ready, 1)
    os.close(ready)
    return pid


def wait_for(pid):
    return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# A call instead of a filter.

@each("root", "plain", "nested")
def test_perf_call(w, who):
    """OpenPerfEvent."""
    give(w)
    client = globals()[who](w)
    assert client.run(spin_by_call, w.daemon.socket) > 50e6
    equal(client.run(group_by_call, w.daemon.socket), 2)
    for data, pid, cpu, flags, why in (
            (perf.attr(perf.TRACEPOINT, 1), -1, 0, 0, "PERF_GRANT"), (perf.attr()[:40], -1, 0, 0, "PERF_ATTR"),
            (b"", -1, 0, 0, "PERF_ATTR"), (bytes(5000), -1, 0, 0, "PERF_ATTR"),
            (perf.attr(), -1, 0, 1 << 40, "PERF_FLAGS")):
        equal(client.run(call_error, w.daemon.socket, bytes(data), pid, cpu, flags), why, (len(data), flags))


def spin_by_call(address):
    fds = [perf.open_by_call(address, perf.attr(), -1, cpu) for cpu in perf.cpus()]
    used = spin_and_read(fds)
    for fd in fds:
        os.close(fd)
    return used


def group_by_call(address):
    """How many events the group has."""
    data = perf.attr(read_format=perf.GROUP)
    leader = perf.open_by_call(address, data, -1, 0)
    perf.open_by_call(address, perf.attr(config=perf.PAGE_FAULTS), -1, 0, group=leader)
    return perf.value_of(leader)


def call_error(address, *args):
    try:
        perf.open_by_call(address, args[0], args[1], args[2], flags=args[3])
    except wire.DBusError as error:
        return next((token for token, text in REASONS.items() if text in error.message), error.message)
    return None


# The daemon goes and comes back.

def named(pids, name):
    """Those of the processes that are called so."""
    found = set()
    for pid in pids:
        try:
            if read(f"/proc/{pid}/comm").strip() == name:
                found.add(pid)
        except OSError:
            pass
    return found


def family_of(w):
    """What the daemon has forked, but whoever is to outlive it."""
    family = set(descendants(w.daemon.pid))
    return family - named(family, "cgmd-keeper")


def pause(pids, signal_number):
    for pid in pids:
        os.kill(pid, signal_number)


@bare
def test_perf_outage(w):
    """While no daemon is there calls wait; whoever comes next answers them."""
    options = ("--perf-keeper", f"{w.directory}/keeper/socket")
    w.start(*options)
    give(w)
    one = inside(w, "root")
    fds = one.run(open_clocks)
    w.daemon.kill()
    one.agent.start(perf.try_event, pid=-1, cpu=0)
    # What was opened goes on.
    time.sleep(0.2)
    w.start(*options)
    equal(one.agent.finish(), 0)
    assert one.run(spin_and_read, fds) > 50e6
    w.restart(*options)
    equal(one.run(perf.try_event, pid=-1, cpu=0), 0)
    w.host().reconnect()
    told = dict(w.host().RevokePerf("/c1", ["cpu"], []))
    equal(told["disabled"], str(len(fds)), told)


# With pids, so that it is opened in the container's pid namespace, by who has to be forked for that.
SAMPLING = {"period": 1000000, "sample_type": perf.SAMPLE_IP | perf.SAMPLE_TID}


@each_bare("cgmd-perf", "cgmd-spawner")
def test_perf_killed_midway(w, who):
    """The daemon is killed while a call is being answered: before it was taken, or when it was already. Its
    successor answers it."""
    options = ("--perf-keeper", f"{w.directory}/keeper/socket")
    w.start(*options)
    give(w)
    one = inside(w, "root")
    for _ in range(3):
        # The call has what is made for each container made.
        equal(one.run(perf.try_event, pid=-1, cpu=0), 0)
        family = family_of(w)
        stopped = named(family, who)
        assert stopped, who
        pause(stopped, signal.SIGSTOP)
        one.agent.start(perf.try_event, perf.attr(perf.SOFTWARE, 0, "exclude_kernel", **SAMPLING), pid=-1, cpu=0)
        time.sleep(0.05)
        w.daemon.kill()
        pause(alive(stopped), signal.SIGCONT)
        w.start(*options)
        equal(one.agent.finish(), 0)
        wait_until(lambda: not alive(family), "what was the old daemon's has ended")


@bare
def test_perf_off(w):
    """Nobody waits for what is off."""
    perf.need("perf")
    w.start("--perf", "off")
    make_all("c1", BASE)
    one = w.container()
    try:
        one.run(perf.trap, w.daemon.socket)
    except wire.DBusError as error:
        assert "perf access is off" in error.message, error
    else:
        raise AssertionError("a listener was taken")

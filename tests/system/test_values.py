# SPDX-License-Identifier: LGPL-2.1-or-later
"""GetValue and SetValue by v1's, v2's, neutral and the 2013 proposal's names, wherever they run."""

import os
import re

import agent
import wire
import world
from harness import Skip, each, equal, needs, only_v1, only_v2, test
from world import PURE, read, where, write

MEGA = 1 << 20
# One setting each: the controller, and what each name takes for it and says of it.
SETTINGS = (
    ("memory", {"memory.limit_in_bytes": str(64 * MEGA), "memory.max": str(64 * MEGA),
                "memory.limit": str(64 * MEGA)}),
    ("memory", {"memory.soft_limit_in_bytes": str(32 * MEGA), "memory.high": str(32 * MEGA),
                "memory.soft_limit": str(32 * MEGA)}),
    ("pids", {"pids.max": "7"}),
    ("cpu", {"cpu.cfs_quota_us": "50000", "cpu.max": "50000 100000", "cpus_number": "0.5"}),
    ("cpu", {"cpu.shares": "1024", "cpu.weight": "100"}),
    ("cpu", {"cpu.idle": "1"}),
    ("cpuset", {"cpuset.cpus": "0", "cpus_allowed": "0"}),
    ("cpuset", {"cpuset.mems": "0"}),
    ("freezer", {"freezer.state": "FROZEN", "cgroup.freeze": "1", "freeze": "1"}),
    ("freezer", {"freezer.state": "THAWED", "cgroup.freeze": "0", "freeze": "0"}),
)
NEVER = ("tasks", "cgroup.procs", "cgroup.threads", "release_agent", "notify_on_release",
         "cgroup.event_control", "cgroup.kill", "memory.force_empty", "memory.reclaim",
         "memory.pressure", "memory.pressure_level", "io.pressure", "cgroup.pressure")
READ_ONLY = ("memory.usage_in_bytes", "memory.current", "memory.stat", "cpu.stat", "io.stat",
             "pids.current", "cpuset.effective_cpus", "cpuset.cpus.effective", "cgroup.events",
             "memory.numa_stat", "cgroup.subtree_control", "no.such_key")
# What has no counterpart, and a word of why.
V1_ONLY = (("memory", "memory.swappiness", "60", "swappiness"), ("cpu", "cpu.rt_runtime_us", "0", "real-time"),
           ("cpuset", "cpuset.memory_migrate", "1", "pages"))
V2_ONLY = (("memory", "memory.low", "4096", "protects"), ("memory", "memory.oom.group", "1", "kills"),
           ("freezer", "cgroup.max.depth", "3", "tree"))


def native(kind, path, names):
    """The name that is a file here."""
    return [n for n in names if os.path.exists(f"{where(kind, path)}/{n}")][0]


def fresh(client, kind, path):
    client.Remove(kind, path, 1)
    client.Create(kind, path)


@each(*range(len(SETTINGS)))
def test_names(w, row):
    """What is set by one name is read by each, in the format of the name, and is what the kernel has."""
    kind, names = SETTINGS[row]
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    if not any(os.path.exists(f"{where(kind, 'c1/x')}/{name}") for name in names):
        raise Skip(f"this kernel has none of {', '.join(names)}")
    for name, value in names.items():
        fresh(client, kind, "x")
        client.SetValue(kind, "x", name, value)
        file = native(kind, "c1/x", names)
        equal({n: client.GetValue(kind, "x", n) for n in names}, names, f"set as {name}")
        got = read(f"{where(kind, 'c1/x')}/{file}").strip()
        equal(got, names[file], f"{file}, set as {name}")


@each("memory", "pids", "cpu", "cpuset", "cpuacct", "freezer", "blkio", "unified")
def test_own_files_read_as_they_are(w, kind):
    """A name that is a file here says what the file says."""
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    at = where(kind, "c1/x")
    seen = 0
    for name, _, _, mode in client.ListKeys(kind, "x"):
        if not mode & 0o400 or world.cgroups.VOLATILE.search(name) or name == "memory.stat":
            continue
        try:
            equal(client.GetValue(kind, "x", name), read(f"{at}/{name}").rstrip("\n"), name)
        except OSError:
            continue  # the kernel does not let it be read, or not here
        seen += 1
    assert seen > 1, seen


@test
def test_unlimited(w):
    """No limit has each name's own word for it."""
    needs("memory", "pids", "cpu")
    client = w.container()
    client.Create("memory,pids,cpu", "x")
    client.SetValue("memory", "x", "memory.limit_in_bytes", str(MEGA))
    client.SetValue("memory", "x", "memory.limit_in_bytes", "-1")
    equal(client.GetValue("memory", "x", "memory.max"), "max")
    equal(client.GetValue("memory", "x", "memory.limit_in_bytes"), "9223372036854771712")
    client.SetValue("memory", "x", "memory.max", str(MEGA))
    client.SetValue("memory", "x", "memory.max", "max")
    equal(client.GetValue("memory", "x", "memory.limit_in_bytes"), "9223372036854771712")
    client.SetValue("cpu", "x", "cpu.cfs_quota_us", "20000")
    client.SetValue("cpu", "x", "cpu.cfs_quota_us", "-1")
    equal(client.GetValue("cpu", "x", "cpu.max"), "max 100000")
    client.SetValue("cpu", "x", "cpu.max", "20000 50000")
    equal([client.GetValue("cpu", "x", f"cpu.cfs_{k}_us") for k in ("quota", "period")], ["20000", "50000"])
    client.SetValue("cpu", "x", "cpu.max", "max")
    equal(client.GetValue("cpu", "x", "cpu.cfs_quota_us"), "-1")


@test
def test_shares(w):
    """cpu.shares says what was set by that name, for as long as it holds."""
    needs("cpu")
    client = w.container()
    client.Create("cpu", "x")
    for value, says, weight in (("2000", "2000", "170"), ("1995", "1995", "170"), ("100", "100", "17"),
                                ("1", "2", "1"), ("1000000", "262144", "10000"), ("512", "512", "59")):
        client.SetValue("cpu", "x", "cpu.shares", value)
        equal(client.GetValue("cpu", "x", "cpu.shares"), says)
        equal(client.GetValue("cpu", "x", "cpu.weight"), weight, f"of {value} shares")
    client.SetValue("cpu", "x", "cpu.weight", "100")
    equal(client.GetValue("cpu", "x", "cpu.weight"), "100")
    shares = int(client.GetValue("cpu", "x", "cpu.shares"))
    assert 1000 < shares <= 1024, shares
    client.refused(("VALUE_REFUSED", "VALUE_FORMAT"), "SetValue", "cpu", "x", "cpu.shares", "many")
    equal(int(client.GetValue("cpu", "x", "cpu.shares")), shares)


@test
def test_shares_outlive_the_daemon(w):
    needs("cpu")
    client = w.container()
    client.Create("cpu", "x")
    client.SetValue("cpu", "x", "cpu.shares", "2001")
    w.daemon.kill()
    w.start()
    client.reconnect()
    equal(client.GetValue("cpu", "x", "cpu.shares"), "2001")


def limits(client):
    return [client.GetValue("memory", "x", f"memory.{k}limit_in_bytes") for k in ("", "memsw.")]


@test
def test_memory_and_swap(w):
    """The two limits of v1 hold each other, in both orders; a contradiction changes nothing."""
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    try:
        client.GetValue("memory", "x", "memory.memsw.limit_in_bytes")
    except wire.DBusError as error:
        raise Skip("the kernel does not limit swap here") from error
    wrong = ("VALUE_REFUSED", "VALUE_FORMAT")
    one, two, three = (str(n * 16 * MEGA) for n in (1, 2, 3))
    # There is none without the other.
    client.refused(wrong, "SetValue", "memory", "x", "memory.memsw.limit_in_bytes", one)
    client.SetValue("memory", "x", "memory.limit_in_bytes", two)
    client.refused(wrong, "SetValue", "memory", "x", "memory.memsw.limit_in_bytes", one)
    client.SetValue("memory", "x", "memory.memsw.limit_in_bytes", three)
    equal(limits(client), [two, three])
    equal([client.GetValue("memory", "x", k) for k in ("memory.max", "memory.swap.max")], [two, one])
    client.refused(wrong, "SetValue", "memory", "x", "memory.limit_in_bytes", str(64 * MEGA))
    equal(limits(client), [two, three])
    client.SetValue("memory", "x", "memory.memsw.limit_in_bytes", two)
    equal(client.GetValue("memory", "x", "memory.swap.max"), "0")
    client.SetValue("memory", "x", "memory.swap.max", one)
    equal(limits(client), [two, three])
    client.SetValue("memory", "x", "memory.swap.max", "0")
    equal(limits(client), [two, two])


@each(*NEVER)
def test_never_by_any_name(w, key):
    """What is written for nobody is not written by way of what it corresponds to."""
    needs("memory")
    host, client = w.host(), w.container()
    client.Create("memory", "x")
    for value in ("1", "max", "0", "/bin/true"):
        client.refused("KEY_NEVER", "SetValue", "memory", "x", key, value)
    host.refused("KEY_NEVER", "SetValue", "memory", "c1/x", key, "1")


@each(*READ_ONLY)
def test_read_only_by_any_name(w, key):
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    client.refused("KEY_UNLISTED", "SetValue", "memory", "x", key, "1")
    w.host().refused("KEY_UNLISTED", "SetValue", "memory", "c1/x", key, "1")


@each(*V1_ONLY)
def test_v1_only(w, kind, key, value, why):
    """What v2 does not have is refused there, and the row tells why."""
    only_v2("refusals of what v2 does not have")
    client = w.container()
    client.Create("memory", "x")
    client.Create(kind, "x")
    assert why in client.refused("KEY_MAPPING", "SetValue", kind, "x", key, value)
    assert why in client.refused("KEY_MAPPING", "GetValue", kind, "x", key)


@each(*V2_ONLY)
def test_v2_only(w, kind, key, value, why):
    only_v1("refusals of what v1 does not have")
    needs(kind)
    client = w.container()
    client.Create(kind, "x")
    assert why in client.refused("KEY_MAPPING", "SetValue", kind, "x", key, value)
    assert why in client.refused("KEY_MAPPING", "GetValue", kind, "x", key)


@each("memory.max", "memory.limit_in_bytes")
def test_values_that_nothing_takes(w, key):
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    for value in ("many", "-5", "1 2", "1\n2", "0x", "/dev/null", "max max"):
        client.refused(("VALUE_REFUSED", "VALUE_FORMAT"), "SetValue", "memory", "x", key, value)


@test
def test_limits_keep_their_scope(w):
    """By any name nobody sets what binds himself, or his neighbour; what is outside is not told of."""
    needs("memory", "cpu")
    client, other = w.container(), w.container("c2", 200000)
    client.Create("memory,cpu", "x")
    user = w.inner_user(client, path="c1/x/u")
    for kind, key, value in (("memory", "memory.max", "max"), ("memory", "memory.limit", "1"),
                             ("cpu", "cpu.max", "max"), ("cpu", "cpu.weight", "10000"),
                             ("cpu", "cpu.shares", "262144")):
        client.refused("SCOPE_ROOT", "SetValue", kind, "", key, value)
        client.refused("SCOPE_ROOT", "SetValue", kind, "/", key, value)
        user.refused(("PARENT_PRIVILEGE", "SCOPE_ROOT"), "SetValue", kind, "", key, value)
        other.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), "SetValue", kind, "/c1/x", key, value)
        other.refused(("CGROUP_OUTSIDE", "CGROUP_MISSING"), "GetValue", kind, "/c1/x", key)
        w.host().SetValue(kind, "c1", key, value if value != "1" else str(512 * MEGA))


@test
def test_each_file_is_judged(w):
    """Who may not read one of the files gets nothing that was made of them."""
    needs("cpu")
    client = w.container()
    client.Create("cpu", "x")
    at = where("cpu", "c1/x")
    key, file = ("cpu.cfs_quota_us", "cpu.max") if PURE else ("cpu.max", "cpu.cfs_period_us")
    equal(client.GetValue("cpu", "x", key), "-1" if PURE else "max 100000")
    os.chown(f"{at}/{file}", 0, 0)
    os.chmod(f"{at}/{file}", 0o600)
    client.refused("NO_READ", "GetValue", "cpu", "x", key)
    w.host().GetValue("cpu", "c1/x", key)
    # To set it is another right.
    client.SetValue("cpu", "x", "cpu.max", "50000 100000")


@test
def test_what_was_written_is_taken_back(w):
    """Of two files the second is refused: the first is as it was."""
    only_v1("a quota and a period in two files")
    needs("cpu")
    client = w.container()
    client.Create("cpu", "x/y")
    client.SetValue("cpu", "x", "cpu.max", "50000 100000")
    client.SetValue("cpu", "x/y", "cpu.max", "20000 100000")
    # More than the level above has; the period by itself would do.
    message = client.refused("VALUE_REFUSED", "SetValue", "cpu", "x/y", "cpu.max", "150000 200000")
    assert "cpu.cfs_" in message, message
    equal(client.GetValue("cpu", "x/y", "cpu.max"), "20000 100000")
    client.SetValue("cpu", "x/y", "cpu.max", "100000 200000")
    equal(client.GetValue("cpu", "x/y", "cpu.max"), "100000 200000")


@test
def test_controller_not_enabled(w):
    """On v2 a key whose controller the cgroup lacks says so; one that is not there at all does not."""
    only_v2("controllers that are not enabled")
    client = w.container()
    client.Create("freezer", "x")
    assert not os.path.exists(where("memory", "c1/x/memory.max"))
    for key in ("memory.limit_in_bytes", "memory.max", "memory.limit"):
        assert "memory" in client.refused("KEY_OFF", "SetValue", "freezer", "x", key, str(MEGA))
        client.refused("KEY_OFF", "GetValue", "freezer", "x", key)
    client.refused("KEY_OFF", "GetValue", "freezer", "x", "cpu.shares")
    client.refused("KEY_OFF", "SetValue", "freezer", "x", "pids.max", "5")
    client.refused("KEY_MISSING", "GetValue", "freezer", "x", "cgroup.nosuch")
    client.refused("KEY_MISSING", "GetValue", "freezer", "x", "dmem.max")
    equal(client.Create("memory", "x"), -1)
    client.SetValue("memory", "x", "memory.limit_in_bytes", str(MEGA))
    client.refused("KEY_MISSING", "GetValue", "memory", "x", "memory.nosuch")


@test
def test_systemd_sets_its_own_limits(w):
    """On v2 what systemd manages is not written to by others, host root too, unless it delegates it."""
    needs("unified")
    at, host = world.make("unified", "plain.service"), w.host()
    os.setxattr(at, "trusted.invocation_id", b"0123456789abcdef0123456789abcdef")
    os.makedirs("/run/systemd/system")
    try:
        for key, value in (("cgroup.max.depth", "5"), ("tree.max_depth", "5"), ("freezer.state", "FROZEN")):
            host.refused("LEVEL_SYSTEMD", "SetValue", "unified", "plain.service", key, value)
        equal(host.GetValue("unified", "plain.service", "cgroup.max.depth"), "max")
        os.setxattr(at, "trusted.delegate", b"1")
        host.SetValue("unified", "plain.service", "cgroup.max.depth", "5")
        equal(read(f"{at}/cgroup.max.depth"), "5\n")
    finally:
        os.removedirs("/run/systemd/system")


@test
def test_another_controllers_hierarchy(w):
    """A key is one of the controller that is named, by whatever name."""
    only_v1("a hierarchy for each controller")
    needs("memory", "cpu")
    client = w.container()
    client.Create("memory,cpu", "x")
    for key in ("cpu.shares", "cpu.weight", "cpu.max"):
        client.refused("KEY_MISSING", "GetValue", "memory", "x", key)
        client.refused("KEY_MISSING", "SetValue", "memory", "x", key, "100")


@test
def test_task_lists(w):
    """Tasks are listed by the names of both, in the reader's own numbers."""
    needs("memory")
    client = w.container()
    client.Create("memory", "x")
    pid = client.run(agent.fork_task)
    client.MovePid("memory", "x", pid)
    equal({k: client.GetValue("memory", "x", k) for k in ("tasks", "cgroup.procs", "cgroup.threads")},
          {k: str(pid) for k in ("tasks", "cgroup.procs", "cgroup.threads")})
    client.run(agent.end_task, pid)
    equal(client.GetValue("memory", "x", "tasks"), "")


def block_device():
    """(name, major:minor) of one that takes limits."""
    names = sorted(os.listdir("/sys/block"), key=lambda n: (re.match(r"loop|ram|zram|sr|dm", n) is not None, n))
    for name in names:
        if not name.startswith(("zram", "sr", "dm")):
            return name, read(f"/sys/block/{name}/dev").strip()
    raise Skip("no block device to throttle here")


@test
def test_devices(w):
    """Limits of a block device by all names, and of none that is not there."""
    needs("blkio")
    client, (_, device) = w.container(), block_device()
    client.Create("blkio", "x")
    client.SetValue("blkio", "x", "blkio.throttle.read_bps_device", f"{device} {MEGA}")
    equal(client.GetValue("blkio", "x", "io.max"), f"{device} rbps={MEGA} wbps=max riops=max wiops=max")
    client.SetValue("blkio", "x", "io.max", f"{device} wiops=100 rbps=524288")
    equal({k: client.GetValue("blkio", "x", f"blkio.throttle.{k}_device")
           for k in ("read_bps", "write_bps", "read_iops", "write_iops")},
          {"read_bps": f"{device} 524288", "write_bps": "", "read_iops": "", "write_iops": f"{device} 100"})
    for value in ("999:0 rbps=5000000", "999:0 wiops=100"):
        client.refused("VALUE_DEVICE", "SetValue", "blkio", "x", "io.max", value)
    for key in ("read_bps", "write_iops"):
        client.refused("VALUE_DEVICE", "SetValue", "blkio", "x", f"blkio.throttle.{key}_device", "999:0 5000")
    for value in (f"{device}", "rbps=1", f"{device} rbps=many", f"{device} nosuch=1", "x"):
        client.refused(("VALUE_REFUSED", "VALUE_FORMAT"), "SetValue", "blkio", "x", "io.max", value)


@test
def test_devices_by_path(w):
    """A path below /dev is looked up for host root alone; others do not learn what is there."""
    needs("blkio")
    client, host, (name, device) = w.container(), w.host(), block_device()
    client.Create("blkio", "x")
    if not os.path.exists(f"/dev/{name}"):
        raise Skip(f"no /dev/{name}")
    told = {client.refused("VALUE_DEVICE", "SetValue", "blkio", "x", "io.max", f"{path} rbps={MEGA}")
            for path in (f"/dev/{name}", "/dev/no-such-device", "/dev/null")}
    equal(len(told), 1, "answers")
    for path in ("/dev/no-such-device", "/dev/null", f"/dev/../dev/{name}", "/dev/stdin", "/dev/"):
        host.refused(("VALUE_DEVICE", "VALUE_FORMAT"), "SetValue", "blkio", "c1/x", "io.max",
                     f"{path} rbps={MEGA}")
    host.SetValue("blkio", "c1/x", "io.max", f"/dev/{name} rbps={MEGA}")
    assert f"{device} rbps={MEGA}" in client.GetValue("blkio", "x", "io.max")


@test
def test_throttle_by_any_name(w):
    """v1's throttling, which binds one level only, is not widened by v2's name either."""
    only_v1("limits that are not hierarchical")
    needs("blkio")
    _, device = block_device()
    world.make("blkio", "c1", 100000)
    write(where("blkio", "c1") + "/blkio.throttle.read_bps_device", f"{device} {MEGA}")
    client = w.container()
    client.Create("blkio", "x")
    for value in (f"rbps={2 * MEGA}", "rbps=max", f"wbps=1000 rbps={2 * MEGA}", f"rbps={2 * MEGA} wiops=5"):
        client.refused("VALUE_WIDER", "SetValue", "blkio", "x", "io.max", f"{device} {value}")
    client.SetValue("blkio", "x", "io.max", f"{device} rbps={MEGA // 2} wiops=5")
    equal(client.GetValue("blkio", "x", "io.max"), f"{device} rbps={MEGA // 2} wbps=max riops=max wiops=5")

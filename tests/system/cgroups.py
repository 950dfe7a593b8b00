# SPDX-License-Identifier: LGPL-2.1-or-later
"""The trees that the cage shows: on v1's hierarchies each controller has its own, on pure v2 they share one.

Tests name controllers and keys as old clients do, by v1's names, wherever they run.
"""

import errno
import functools
import os
import re
import stat

CGROUP = "/sys/fs/cgroup"
PURE = os.path.exists(f"{CGROUP}/cgroup.controllers")
# As a call names them, and the directory that has them.
CONTROLLERS = {"memory": "memory", "pids": "pids", "freezer": "freezer", "cpuset": "cpuset",
               "devices": "devices", "cpu": "cpu", "cpuacct": "cpuacct", "blkio": "blkio",
               "name=systemd": "systemd", "unified": "unified"}
# As v2 calls them; None: part of every cgroup there, with nothing to enable, or of programs the daemon's.
V2_NAMES = {"memory": "memory", "pids": "pids", "cpuset": "cpuset", "cpu": "cpu", "blkio": "io",
            "freezer": None, "cpuacct": None, "devices": None, "unified": None}
# What v1's keys are on v2: the file, and the values that are written in another way.
V2_KEYS = {"memory.limit_in_bytes": ("memory.max", {"-1": "max", "9223372036854771712": "max"}),
           "cpu.shares": ("cpu.weight", {"512": "59", "1024": "100", "2048": "174"}),
           "freezer.state": ("cgroup.freeze", {"FROZEN": "1", "THAWED": "0"})}
# v2 files that a delegated cgroup has with the new owner; v1 has the first and `tasks`.
DELEGATED = ("cgroup.procs", "tasks", "cgroup.threads", "cgroup.subtree_control")
# Where the daemon keeps the tasks of a cgroup of v2 that cannot hold any itself, and its mark.
LEAF, MARK = ".cgm_leaf", "trusted.cgmd.leaf"
# Of the flags in /proc/PID/stat (include/linux/sched.h): set before the task leaves its cgroups.
PF_EXITING = 0x4
# Files that are writable and yet change by themselves.
VOLATILE = re.compile(r"usage|failcnt|pressure|max_usage|cgroup\.(procs|threads|kill|event)|^tasks$|"
                      r"reclaim|force_empty|reset_stats|io_service|\.stat|effective|peak|\.swap\.")


def read(path):
    with open(path) as source:
        return source.read()


def write(path, value):
    with open(path, "w") as target:
        target.write(str(value))


def available():
    """What the top of v2 has to give."""
    return read(f"{CGROUP}/cgroup.controllers").split()


def have(controller):
    if PURE:
        name = V2_NAMES.get(controller, controller)
        return controller in V2_NAMES and (name is None or name in available())
    return os.path.isdir(f"{CGROUP}/{CONTROLLERS.get(controller, controller)}")


def where(controller, path=""):
    top = CGROUP if PURE else os.path.join(CGROUP, CONTROLLERS.get(controller, controller))
    return os.path.join(top, path.strip("/")).rstrip("/")


def tops():
    """The top of each hierarchy."""
    return list(dict.fromkeys(where(c) for c in CONTROLLERS if have(c)))


def below_tops():
    """The cgroups right below, but for the one that a cage puts its own processes into."""
    return [f"{top}/{name}" for top in tops() for name in os.listdir(top)
            if os.path.isdir(f"{top}/{name}") and name != LEAF]


def is_leaf(path):
    """Is it one of the daemon's, and not just of that name?"""
    try:
        return os.path.basename(path) == LEAF and (
            os.getxattr(path, MARK) == str(os.stat(path).st_ino).encode())
    except OSError:
        return False


def hand_over(at, uid, gid):
    for key in DELEGATED:
        if os.path.exists(f"{at}/{key}"):
            os.chown(f"{at}/{key}", uid, gid)


def leaf_of(at):
    """The leaf of a cgroup, made as the daemon makes it where there is none."""
    leaf, owner = f"{at}/{LEAF}", os.stat(at)
    if not os.path.isdir(leaf):
        os.mkdir(leaf)
        os.setxattr(leaf, MARK, str(os.stat(leaf).st_ino).encode())
        os.chown(leaf, owner.st_uid, owner.st_gid)
        hand_over(leaf, owner.st_uid, owner.st_gid)
    return leaf


def evacuate(at):
    """Moves the tasks of a cgroup into its leaf: v2 has no controllers beside tasks."""
    leaf = leaf_of(at)
    while pids := read(f"{at}/cgroup.procs").split():
        for pid in pids:
            try:
                write(f"{leaf}/cgroup.procs", pid)
            except ProcessLookupError:
                pass


def enable(at, names):
    """Controllers for the children of a cgroup of v2, and for those above on the way."""
    if at != CGROUP:
        enable(os.path.dirname(at), names)
    missing = set(names) & set(read(f"{at}/cgroup.controllers").split()) - set(
        read(f"{at}/cgroup.subtree_control").split())
    if not missing:
        return
    # Tasks beside threaded controllers would make it the root of threads, and no domain of what is below.
    if at != CGROUP and read(f"{at}/cgroup.procs").strip():
        evacuate(at)
    write(f"{at}/cgroup.subtree_control", " ".join("+" + name for name in sorted(missing)))


def enabled():
    """What the top of v2 gives to its children now."""
    return read(f"{CGROUP}/cgroup.subtree_control").split() if PURE else []


def disable_but(names):
    """Takes the rest back from the children of the top, where there are none."""
    rest = sorted(set(enabled()) - set(names))
    if rest:
        write(f"{CGROUP}/cgroup.subtree_control", " ".join("-" + name for name in rest))


def make(controller, path, uid=0, gid=None, delegate=True):
    """A cgroup as the host's container manager would make it, owned by uid; ancestors are root's. Each
    at the top has all that there is, one further down the controller alone, or "all"."""
    at = where(controller)
    for name in path.strip("/").split("/"):
        above, at = at, os.path.join(at, name)
        if PURE:
            wanted = available() if controller == "all" or above == CGROUP else [V2_NAMES[controller]]
            enable(above, wanted)
        if os.path.isdir(at):
            continue
        os.mkdir(at)
        if controller == "cpuset" and not PURE:
            for key in ("cpuset.cpus", "cpuset.mems"):
                write(f"{at}/{key}", read(f"{above}/{key}").strip())
    gid = uid if gid is None else gid
    os.chown(at, uid, gid)
    if delegate:
        hand_over(at, uid, gid)
    return at


def put(controller, path, pid):
    """Puts a process into a cgroup, or into its leaf where it can hold none."""
    at = where(controller, path)
    try:
        write(f"{at}/cgroup.procs", pid)
    except OSError as error:
        if not PURE or error.errno != errno.EBUSY:
            raise
        write(f"{leaf_of(at)}/cgroup.procs", pid)


def tasks(controller, path):
    at = where(controller, path)
    found = [int(line) for line in read(f"{at}/cgroup.procs").split()]
    if PURE and is_leaf(f"{at}/{LEAF}"):
        found += [int(line) for line in read(f"{at}/{LEAF}/cgroup.procs").split()]
    return sorted(found)


def place_of(pid, controller):
    """The cgroup of a task, as the cage shows it; a leaf is its parent."""
    name = CONTROLLERS.get(controller, controller)
    for line in read(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names == "" and (PURE or name == "unified"):
            return os.path.dirname(path) if is_leaf(CGROUP + path) else path
        if names.removeprefix("name=") == name and names:
            return path
    raise KeyError(controller)


def stored(key, value=None):
    """(file, text): where the kernel of this host has what is set as `key`, and as what."""
    if not PURE or key not in V2_KEYS:
        return key, value
    name, texts = V2_KEYS[key]
    return name, texts.get(value, value)


def value_in(controller, path, key):
    """What the kernel has, as it has it."""
    return read(os.path.join(where(controller, path), stored(key)[0])).strip()


def directories(top):
    """Every directory below `top` with it, parents first, as far as a path reaches."""
    found, stack = [], [top]
    while stack:
        path = stack.pop()
        found.append(path)
        try:
            with os.scandir(path) as entries:
                stack += [e.path for e in entries
                          if e.is_dir(follow_symlinks=False) and len(e.path) < 3500]
        except OSError:
            pass
    return found


def snapshot(of=None):
    """All that a refusal must leave as it was: stat of every file, values, members (those that were there from
    the first hierarchy on)."""
    seen, there = {}, set(os.listdir("/proc"))
    for top in of or tops():
        for path in directories(top):
            for entry in os.scandir(path):
                status = entry.stat(follow_symlinks=False)
                value = None
                if entry.name == "cgroup.procs":
                    # Of pure v2's top, the kernel's and the daemon's own come and go.
                    value = None if PURE and path in (top, f"{top}/{LEAF}") else members(entry.path, there)
                elif status.st_mode & stat.S_IWUSR and is_kept(entry.name) and (
                        stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IRUSR):
                    value = value_of(entry.path)
                seen[entry.path] = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, value)
    return seen


def members(path, there):
    """Of those; at the top without the helpers that a daemon has in pid namespaces, which come and go beside it."""
    try:
        pids = [pid for pid in read(path).split() if pid in there]
    except OSError:
        return None
    if os.path.dirname(path) in tops():
        pids = [pid for pid in pids if not is_helper(pid)]
    return tuple(sorted(pids))


def is_helper(pid):
    """Or has just ended."""
    try:
        return read(f"/proc/{pid}/comm") == "cgmd-pidns\n"
    except OSError:
        return True


def value_of(path):
    """As bytes, and without a file object: there are hundreds in a snapshot, and many snapshots."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        return error.errno
    try:
        return os.read(fd, 65536)
    except OSError as error:
        return error.errno
    finally:
        os.close(fd)


@functools.lru_cache(maxsize=None)
def is_kept(name):
    return not VOLATILE.search(name)


def everybody(seen):
    return {pid for *_, value in seen.values() if isinstance(value, tuple) for pid in value}


def is_ending(pid):
    """Or has ended."""
    try:
        flags = int(read(f"/proc/{pid}/stat").rpartition(")")[2].split()[6])
    except OSError:
        return True
    return bool(flags & PF_EXITING)


def difference(before, after):
    """Of processes those count that were there before and after, and still are: who ends while the hierarchies are
    read is in some of them. On a loaded machine others end late, and a call that is refused makes none."""
    stay = {pid for pid in everybody(before) & everybody(after) if not is_ending(pid)}

    def what(seen, path):
        *rest, value = seen.get(path, (None,))
        return (*rest, tuple(pid for pid in value if pid in stay) if isinstance(value, tuple) else value)

    return [f"{path}: {before.get(path)} became {after.get(path)}"
            for path in sorted(set(before) | set(after)) if what(before, path) != what(after, path)]


def tasks_at(path):
    for key in ("cgroup.procs", "cgroup.threads"):
        try:
            return [int(line) for line in read(f"{path}/{key}").split()]
        except OSError:
            pass
    return []

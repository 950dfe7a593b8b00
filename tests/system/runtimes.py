# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers by crun and runc, for the device programs that they attach to their cgroups of v2."""

import json
import os
import resource
import shutil
import subprocess

from agent import libc, wait_until
from cgroups import PURE, where

# Each by the way in which it takes cgroups as they are, without systemd.
RUNTIMES = {"crun": ["crun", "--cgroup-manager=cgroupfs"], "runc": ["runc"]}
# What they want to be at /sys/fs/cgroup; on hybrid hosts it is elsewhere.
SHOW = 'mount --make-rprivate / && mount --bind "$0" /sys/fs/cgroup && exec "$@"'
# crun gives up where it cannot raise a limit that no kernel since 5.11 asks for.
NO_LIMIT = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>
int setrlimit(__rlimit_resource_t which, const struct rlimit *limit)
{
	int (*next)(__rlimit_resource_t, const struct rlimit *) = dlsym(RTLD_NEXT, "setrlimit");
	return which == RLIMIT_MEMLOCK ? 0 : next(which, limit);
}
"""


def missing(runtime):
    """What is missing to run it; None."""
    if not shutil.which(runtime):
        return f"there is no {runtime}"
    if runtime == "crun" and not may_raise() and not shutil.which("cc"):
        return "crun wants to raise a limit that this host does not let it raise"
    return None


def may_raise():
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY:
        return True
    with open("/proc/self/status") as status:
        caps = next(line for line in status if line.startswith("CapEff"))
    return bool(int(caps.split()[1], 16) >> 24 & 1)


def rule(allow, access, kind=None, major=None, minor=None):
    found = {"allow": allow, "access": access, "type": kind, "major": major, "minor": minor}
    return {key: value for key, value in found.items() if value is not None}


def bundle(directory, cgroup, rules, change):
    """A container of its own mounts and little else that sleeps; change() alters its configuration."""
    root = f"{directory}/root"
    for name in ("usr", "proc", "dev", "sys"):
        os.makedirs(f"{root}/{name}")
    for name in ("bin", "lib", "lib64"):
        if os.path.exists(f"/{name}"):
            os.symlink(f"usr/{name}", f"{root}/{name}")
    config = {
        "ociVersion": "1.0.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sleep", "600"], "cwd": "/",
                    "env": ["PATH=/usr/bin"]},
        "root": {"path": root, "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                   {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}],
                  "cgroupsPath": f"/{cgroup}", "resources": {"devices": rules}},
    }
    with open(f"{directory}/config.json", "w") as file:
        json.dump(change(config), file)


class Container:
    """Runs until close()."""

    def __init__(self, directory, runtime, cgroup, rules, change=lambda config: config):
        self.directory, self.cgroup = f"{directory}/{runtime}", cgroup
        self.command = [*RUNTIMES[runtime], "--root", f"{self.directory}/state"]
        os.makedirs(self.directory)
        bundle(self.directory, cgroup, rules, change)
        self.environment = dict(os.environ)
        if runtime == "crun" and not may_raise():
            self.environment["LD_PRELOAD"] = self.no_limit()
        self.run("run", "--detach", "--bundle", self.directory, cgroup)

    def no_limit(self):
        library = f"{self.directory}/no-limit.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=NO_LIMIT,
                       text=True, check=True)
        return library

    def run(self, *words):
        """What it prints; it must succeed."""
        command = [*self.command, *words]
        if not PURE:
            command = ["unshare", "-m", "sh", "-c", SHOW, where("unified", ""), *command]
        with open(f"{self.directory}/log", "w+") as log:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  env=self.environment, timeout=300).returncode
            log.seek(0)
            text = log.read()
        assert code == 0, f"{' '.join(words[:2])}: {text}"
        return text

    def close(self):
        self.run("delete", "--force", self.cgroup)
        place = where("unified", self.cgroup)
        if os.path.isdir(place):
            wait_until(lambda: "populated 0" in open(f"{place}/cgroup.events").read(), "an empty cgroup")
            os.rmdir(place)
        shutil.rmtree(self.directory)

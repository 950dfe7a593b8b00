# SPDX-License-Identifier: LGPL-2.1-or-later
"""devices.allow, devices.deny and devices.list on cgroup v2 beside this host's own v1 controller: whatever is
written, the same errors, the same lists, the same verdicts."""

import os

import world
from devices import ASKED, HARMLESS, REFUSED, Nodes, Opener, Rush, draw_value, seeded, start
from harness import Skip, bare, equal
from world import PURE, REASONS, read, where

SEQUENCES = 5000
DEPTHS = ("", "/c", "/c/g")
# Each device that there is a node of, with every request that the kernel makes.
TRIES = [(device, access) for device in HARMLESS + ASKED for access in ("", "r", "w", "rw", "m")]


def draw_sequence(seed):
    """(kind, number of the cgroup, value): first the topmost alone, then with a child, then with its child."""
    rng, steps = seeded(seed), []
    for depth in range(len(DEPTHS)):
        steps.append(("make", depth, None))
        # For a child that differs from its parent from its first moment on.
        if rng.random() < (0.6 if depth == 0 else 0.25):
            steps.append(("deny", depth, "a"))
        for _ in range(rng.randint(0, 4)):
            key = "allow" if rng.random() < 0.6 else "deny"
            steps.append((key, rng.randint(0, depth), draw_value(rng)))
    return steps


def run_on_v1(name, steps):
    """What the kernel's files answer, and the lists in the end."""
    answers = []
    tops = [where("devices", name + depth) for depth in DEPTHS]
    for kind, number, value in steps:
        if kind == "make":
            os.mkdir(tops[number])
            continue
        try:
            fd = os.open(f"{tops[number]}/devices.{kind}", os.O_WRONLY)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
            answers.append(None)
        except OSError as error:
            answers.append(REFUSED[error.errno])
    return answers, [read(top + "/devices.list").rstrip("\n") for top in tops]


def start_on_v2(rush, name, steps):
    """The same through the daemon: all calls at once, for it keeps their order."""
    calls = []
    for kind, number, value in steps:
        path = name + DEPTHS[number]
        calls.append(rush.call("Create", "devices", path) if kind == "make" else
                     rush.call("SetValue", "devices", path, f"devices.{kind}", value))
    calls += [rush.call("GetValue", "devices", name + depth, "devices.list") for depth in DEPTHS]
    rush.send(calls)


def finish_on_v2(rush, steps):
    answers = []
    for kind, _, _ in steps:
        good, text = rush.reply()
        if kind == "make":
            assert good, text
        elif good:
            answers.append(None)
        else:
            answers.append(next((t for t in REFUSED.values() if REASONS[t] in text), text))
    return answers, [rush.reply()[1] for _ in DEPTHS]


class Pair:
    """An opener on each: one is in a cgroup of v1, the other in the same of v2."""

    def __init__(self, at):
        self.v1, self.v2 = Opener(at, TRIES), Opener(at, TRIES)

    def move(self, path):
        world.put("devices", path, self.v1.pid)
        world.put("unified", path, self.v2.pid)

    def compare(self, path, wanted):
        self.move(path)
        for opener in (self.v1, self.v2):
            opener.start(wanted)
        v1, v2 = self.v1.finish(), self.v2.finish()
        equal([(TRIES[number], bool(verdict)) for number, verdict in zip(wanted, v2)],
              [(TRIES[number], bool(verdict)) for number, verdict in zip(wanted, v1)], path)
        return v1

    def close(self):
        self.v1.close()
        self.v2.close()


def remove(name):
    for depth in reversed(DEPTHS):
        os.rmdir(where("devices", name + depth))
        os.rmdir(where("unified", name + depth))


@bare
def test_devices_v1_like_the_kernel(w):
    """Random sequences on the kernel's v1 controller and through the daemon on v2: the same errors, the same
    lists, and the same verdicts."""
    start(w)
    if PURE or not world.have("devices"):
        raise Skip("no devices controller of v1 to compare with")
    # Sanitizers look for other faults than it does, and take many times as long.
    sequences = SEQUENCES // 10 if w.sanitized else SEQUENCES
    rush, refused, opened = Rush(w.daemon.socket), 0, [0, 0]
    with Nodes(w.directory) as nodes:
        pair, after = Pair(nodes.at), draw_sequence(0)
        start_on_v2(rush, "d0", after)
        try:
            for number in range(sequences):
                name, steps, what = f"d{number}", after, f"sequence {number}, {after}"
                v1, v2 = run_on_v1(name, steps), finish_on_v2(rush, steps)
                # The daemon has the next to do meanwhile.
                after = draw_sequence(number + 1)
                start_on_v2(rush, f"d{number + 1}", after)
                equal(v2, v1, what)
                rng = seeded(f"tries {number}")
                path, wanted = name + rng.choice(DEPTHS), rng.sample(range(len(TRIES)), 20)
                try:
                    verdicts = pair.compare(path, wanted)
                except AssertionError as error:
                    raise AssertionError(f"{what}: {error}") from None
                if number > 0:
                    remove(f"d{number - 1}")
                refused += sum(answer is not None for answer in v1[0])
                for verdict in verdicts:
                    opened[verdict] += 1
            finish_on_v2(rush, after)
            pair.move("")
            remove(name)
        finally:
            pair.close()
            rush.close()
    # Or it has compared nothing.
    assert refused > sequences and min(opened) > sequences, (refused, opened)

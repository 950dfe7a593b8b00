# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which tests there are, and how they are run: one line each, `ok`, `FAIL` or `skip`."""

import os
import resource
import sys
import time
import traceback

import world

tests = []
# What the tests with many connections need.
FILES_MAX = 20000


class Skip(Exception):
    """What the test needs is not here; the text says what."""


def add(function, name, run):
    """By the file it stands in, for files import one another."""
    tests.append((name, function.__module__, run))


def test(function):
    """A test: called with a World whose daemon runs."""
    add(function, function.__name__, lambda w: (w.start(), function(w)))
    return function


def bare(function):
    """A test that starts the daemon by itself."""
    add(function, function.__name__, function)
    return function


def each(*values):
    """A test for each of these, which it gets as further arguments."""
    return each_of(values, lambda w: w.start())


def each_bare(*values):
    """The same for one that starts the daemon by itself."""
    return each_of(values, lambda w: None)


def each_of(values, start):
    def register(function):
        for value in values:
            value = value if isinstance(value, tuple) else (value,)
            name = f"{function.__name__}[{','.join(str(v) for v in value)}]"
            add(function, name, lambda w, value=value: (start(w), function(w, *value)))
        return function
    return register


def needs(*controllers):
    for controller in controllers:
        if not world.have(controller):
            raise Skip(f"the cgroup v2 here has no {controller}" if world.PURE else
                       f"no {controller} hierarchy is mounted here")


def only_v1(what):
    """For a test of what v2 does not have; the text says what."""
    if world.PURE:
        raise Skip(f"only cgroup v1 has {what}")


def only_v2(what):
    if not world.PURE:
        raise Skip(f"only pure cgroup v2 has {what}")


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}{': ' if what else ''}{got!r}, not {wanted!r}"


def where_from(error):
    """The last places on the way to it."""
    return " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}"
                      for frame in reversed(traceback.extract_tb(error.__traceback__)[-3:]))


def run_one(program, name, function, verbose):
    started, why = time.monotonic(), None
    kind = "ok"
    here = None
    try:
        here = world.World(program)
        function(here)
    except Skip as skip:
        kind, why = "skip", str(skip)
    except Exception as error:
        kind, why = "FAIL", f"{type(error).__name__}: {error} ({where_from(error)})"
        if verbose:
            traceback.print_exc()
            print(here.daemon.log() if here and here.daemon else "", file=sys.stderr)
    try:
        if here:
            here.close()
    except Exception as error:
        kind, why = "FAIL", (why + "; and then " if why else "") + f"{type(error).__name__}: {error}"
    line = f"{kind} {name}" + (": " + " ".join(why.split())[:1500] if why else "")
    if verbose:
        line += f" ({time.monotonic() - started:.2f} s)"
    print(line, flush=True)
    return kind


def chosen(words, shard, shards, omit=()):
    """The tests whose names hold one of the words, all if there are none, but for those of a file, or whose names
    begin so, that is to be left out; and of these every so many."""
    found = [(name, function) for name, module, function in tests
             if module not in omit and not name.startswith(tuple(omit))
             and (not words or any(word in name for word in words))]
    return found[shard - 1::shards]


def more_files():
    """Raises the hard limit on open files where it is lower and we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_MAX:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, FILES_MAX))
        except (ValueError, PermissionError):
            pass


def main(program, those, verbose):
    os.umask(0o022)
    more_files()
    count = {"ok": 0, "FAIL": 0, "skip": 0}
    for name, function in those:
        count[run_one(program, name, function, verbose)] += 1
    print(f"{count['ok']} passed, {count['FAIL']} failed, {count['skip']} skipped")
    return 1 if count["FAIL"] else 0

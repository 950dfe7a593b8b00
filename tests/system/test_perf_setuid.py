# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who becomes somebody else while perf events are opened for him, or of him, by a program that is setuid."""

import os
import shutil
import signal
import socket

import agent
import perf
import wire
from agent import libc
from harness import Skip, equal, test

TRIES = 150


def setuid_copy(w, program, uid):
    """Where everybody may execute it."""
    found = shutil.which(program)
    if not found:
        raise Skip(f"there is no {program}")
    path = f"{w.directory}/{program}"
    shutil.copy(found, path)
    os.chown(path, uid, uid)
    os.chmod(path, 0o4755)
    return path


def ask_and_become(address, shell, told):
    """Asks for what it may not have, and is somebody else the moment after; the connection is another's, too."""
    bus = perf.FdBus(address)
    placeholder, _ = socket.socketpair()
    data = perf.attr(perf.SOFTWARE, perf.CPU_CLOCK)
    message = wire.build(bus.next_serial(), "OpenPerfEvent", "ayiiht",
                         (bytes(data), -1, 0, 0, perf.NO_GROUP | perf.CLOEXEC), path=wire.NATIVE_PATH,
                         interface=wire.NATIVE_INTERFACE, extra=[(9, "u", 1)])
    socket.send_fds(told, [b"x"], [bus.socket.fileno()])
    socket.send_fds(bus.socket, [message], [placeholder.fileno()])
    os.execv(shell, [shell, "-c", "read x"])


def answers_to_another(address, shell, times):
    found = {"refused": 0, "opened": 0}
    for _ in range(times):
        mine, told = socket.socketpair()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            libc.prctl(agent.PR_SET_PDEATHSIG, signal.SIGKILL)
            os.dup2(read, 0)
            os.close(write)
            ask_and_become(address, shell, told)
        os.close(read)
        _, (fd,), _, _ = socket.recv_fds(mine, 10, 1)
        with socket.socket(fileno=fd) as connection:
            connection.settimeout(60)
            _, fds, _, _ = socket.recv_fds(connection, 65536, 16)
        found["opened" if fds else "refused"] += 1
        for event in fds:
            os.close(event)
        os.close(write)
        os.waitpid(pid, 0)
        mine.close()
        told.close()
    return found


@test
def test_perf_by_setuid(w):
    """Nothing is opened with the rights of a program that the caller executed after he asked. This one has given
    them up when the answer comes."""
    perf.need()
    if perf.paranoid() < 1:
        raise Skip("everybody may open what is asked for")
    shell = setuid_copy(w, "bash", 0)
    found = w.user().run(answers_to_another, w.daemon.socket, shell, TRIES)
    equal(found["opened"], 0, found)

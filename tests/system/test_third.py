# SPDX-License-Identifier: LGPL-2.1-or-later
"""Put into tests/system/test_scm_astray.py (or run as tests/system/test_third.py): fails before the fix."""
import os
import socket

import scm
import wire
from harness import needs, test
from scm import credentials


@test
def test_scm_speaks_to_nobody_else(w):
    """A datagram socket that is connected to a third party: cgmd's own credentials must not reach him."""
    needs("memory")
    third = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    third.bind(w.directory + "/notify")
    os.chmod(w.directory + "/notify", 0o777)
    third.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    user = w.user(1000)
    user.Create("memory", "STOPPING=1")
    user.run(speak_through, w.daemon.socket, w.directory + "/notify")
    third.settimeout(2)
    got = []
    try:
        while True:
            data, control, _, _ = third.recvmsg(4096, 256)
            got.append((data, [scm.UCRED.unpack(p) for _, k, p in control if k == socket.SCM_CREDENTIALS]))
    except TimeoutError:
        pass
    assert not got, f"the daemon is {w.daemon.pid}, and the third party got {got}"


def speak_through(address, path):
    passed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    passed.bind(b"\0" + os.urandom(8).hex().encode())
    helper = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    helper.connect(passed.getsockname())
    passed.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    for _ in range(2):
        scm.send_with(helper, b"p", credentials())
    passed.connect(path)  # what waits in its queue stays: it had no peer before
    bus = wire.Bus(address, fds=True)
    bus.call("MovePid", "memory", "STOPPING=1", os.getpid())
    serial = scm.send_call(bus, "GetPidCgroupAbs", ["memory"], [passed.fileno()])
    try:
        bus.answer(serial).value()
        wire.Bus(address).call("Ping", 1)
        bus.call("GetValue", "memory", "", "cgroup.procs")
    except (wire.DBusError, wire.Dropped):
        pass

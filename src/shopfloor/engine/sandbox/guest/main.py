"""Where the exec server starts, and what it tells about itself first."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from shopfloor.engine.sandbox.guest import kernel
from shopfloor.engine.sandbox.guest.server import Server


def main() -> None:
    """Arguments: the workspace's path, the lifetime in seconds; with a way out, a port and the socket it leads to."""
    kernel.hide()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # for process 1: ignored when it comes from inside
    os.umask(0o022)
    root, lifetime_s = sys.argv[1], float(sys.argv[2])
    server = Server(root, lifetime_s)
    if len(sys.argv) > 3:  # noqa: PLR2004 - see above
        from shopfloor.engine.sandbox.guest import bridge  # most sandboxes have none, and sockets take time to import

        listener = bridge.listen(int(sys.argv[3]))
        server.keep_bridge(lambda: bridge.start(listener, sys.argv[4]))
    server.serve(_hello(root))


def _hello(root: str) -> dict[str, Any]:
    """What is enforced as seen from inside: the host compares it with what it asked for."""
    status = _status()
    workspace, tmp = os.statvfs(root), os.statvfs("/tmp")  # noqa: S108 - the sandbox's own tmpfs
    with open("/proc/net/dev", encoding="ascii") as file:  # noqa: PTH123 - pathlib would double the start-up time
        interfaces = [line.split(":")[0].strip() for line in file if ":" in line]
    return {
        "id": 0,
        "ev": "hello",
        "pid": os.getpid(),
        "uid": os.getuid(),
        "seccomp": int(status.get("Seccomp", -1)),
        "no_new_privs": int(status.get("NoNewPrivs", -1)),
        "capabilities": [status.get(name, "") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "root_read_only": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "workspace_bytes": workspace.f_blocks * workspace.f_frsize,
        "workspace_inodes": workspace.f_files,
        "tmp_bytes": tmp.f_blocks * tmp.f_frsize,
        "tmp_inodes": tmp.f_files,
        "interfaces": interfaces,
        "probe_errno": kernel.probe_errno(),
        "python": sys.version.split()[0],
    }


def _status() -> dict[str, str]:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
        pairs = (line.partition(":") for line in file)
        return {key: value.strip() for key, _, value in pairs}

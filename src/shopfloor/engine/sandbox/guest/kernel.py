"""What the standard library does not offer of the kernel: openat2, sub-reapers, the tree of processes."""

from __future__ import annotations

import collections
import ctypes
import errno
import fcntl
import os
import select
import signal
import stat
import struct
import time
from collections.abc import Iterator

RESOLVE_BENEATH = 0x08  # linux/openat2.h
RESOLVE_NO_MAGICLINKS = 0x02
PR_SET_DUMPABLE = 4  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
SYS_OPENAT2 = 437  # the same number on every architecture
SYS_LOOKUP_DCOOKIE = {"x86_64": 212, "aarch64": 18}
KILL_S = 2.0  # to kill the processes of one command, before the host is asked to kill the sandbox

_LIBC = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """A file operation that can not be done; `kind` is path, missing, full, large or failed."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def refused(error: Exception) -> Refused:
    """What an error means for the one who asked."""
    if isinstance(error, Refused):
        return error
    if not isinstance(error, OSError):  # a NUL byte, or text that is no name in any encoding
        return Refused("path", str(error))
    name = os.fsdecode(error.filename) + ": " if isinstance(error.filename, (str, bytes)) else ""
    detail = name + (error.strerror or str(error))
    kinds = {
        "path": (errno.EXDEV, errno.ELOOP),
        "missing": (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG),
        "full": (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    }
    for kind, numbers in kinds.items():
        if error.errno in numbers:
            return Refused(kind, detail)
    return Refused("failed", detail)


def open_beneath(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` below the folder `root`; the kernel refuses any way out. Source: openat2(2)."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path)
    for _ in range(16):
        fd: int = _LIBC.syscall(SYS_OPENAT2, root, name, how, len(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EPERM):
            return _walk_beneath(root, path, flags, mode)
        if number != errno.EAGAIN:  # EAGAIN: somebody renames meanwhile and the kernel could not be sure
            raise OSError(number, os.strerror(number), path)
    raise Refused("path", path + " changes while it is opened")


def _walk_beneath(root: int, path: str, flags: int, mode: int) -> int:
    """As open_beneath where the kernel has no openat2: part by part, and no link at all is followed."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or path.startswith("/"):
        raise Refused("path", path + " leads outside the workspace")
    at = os.dup(root)
    for number, part in enumerate(parts or ["."]):
        how = flags if number >= len(parts) - 1 else os.O_PATH | os.O_DIRECTORY
        try:
            found = os.open(part, how | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
        finally:
            os.close(at)
        if stat.S_ISLNK(os.fstat(found).st_mode):
            os.close(found)
            raise Refused("path", path + " passes through a link")
        at = found
    return at


def hide() -> None:
    """No process of the same user may trace this one or read its memory."""
    _LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def show() -> None:
    """Undo `hide` in a child that is about to become somebody else's program."""
    _LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def become_subreaper() -> None:
    """Orphans below this process come to it instead of to process 1. Source: prctl(2)."""
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def probe_errno() -> int:
    """The error of a call that our seccomp profile answers in its own way; -1 on an unknown architecture."""
    number = SYS_LOOKUP_DCOOKIE.get(os.uname().machine)
    if number is None:
        return -1
    _LIBC.syscall(number, 0, 0, 0, 0)
    return ctypes.get_errno()


def processes() -> Iterator[tuple[int, int, bytes]]:
    """(pid, parent, state) of every process that can be seen."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the server's start-up time
        if not name.isdigit():
            continue
        try:
            with open("/proc/" + name + "/stat", "rb") as file:  # noqa: PTH123 - as above
                words = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if len(words) > 1:
            yield int(name), int(words[1]), words[0]


def dead_children() -> Iterator[tuple[int, int]]:
    """(pid, wait status) of every child that ended, which is with that forgotten by the kernel."""
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, code


def kill_below(root: int) -> bool:
    """Kill all below `root`, then `root`; stopped first, so that no fork bomb outruns it. False: some are left."""
    until = time.monotonic() + KILL_S
    while True:
        alive = _living_below(root)
        if not alive:
            break
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                _signal(pid, number)
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    _signal(root, signal.SIGKILL)
    return True


def kill_strays(kept: set[int]) -> None:
    """Kill the children of this process that are nobody's."""
    for pid, parent, state in list(processes()):
        if parent == os.getpid() and pid not in kept and state != b"Z":
            kill_below(pid)


def _living_below(root: int) -> list[int]:
    children: dict[int, list[int]] = collections.defaultdict(list)
    dead: set[int] = set()
    for pid, parent, state in processes():
        children[parent].append(pid)
        if state in (b"Z", b"X"):
            dead.add(pid)
    found: list[int] = []
    pending = [root]
    while pending:
        below = children.pop(pending.pop(), [])
        found += below
        pending += below
    return [pid for pid in found if pid not in dead]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def nonblocking(fd: int) -> None:
    """Reads and writes on it answer at once."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


def readable(fd: int) -> bool:
    """There is data to read now; the end of file alone does not count."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(0))


def drain(fd: int) -> None:
    """Throw away what is in a non-blocking pipe."""
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        return

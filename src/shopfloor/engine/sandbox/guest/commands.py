"""One command: a supervisor that adopts all its orphans, and the leader that becomes the program."""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import Any

from shopfloor.engine.sandbox.guest import kernel

Header = dict[str, Any]  # the JSON object in front of a frame

OOM_SCORE = b"900"  # when memory runs out a command dies, not the server


class Command:
    """A running command. `out` and `status` are the reading ends of its pipes, -1 once closed."""

    def __init__(self, header: Header, stdin: int, cwd: int) -> None:
        self.ident: int = header["id"]
        self.started = time.monotonic()
        self.deadline: float = self.started + header["timeout_s"]
        self.unacked = 0  # bytes sent that the host has not taken yet
        self.listening = False
        self.linger: float | None = None  # set at its end: until when late output is waited for
        self.ending: Header | None = None
        argv: list[str] = ["bash", "-c", header["shell"]] if "shell" in header else header["argv"]
        self.out, out = os.pipe()
        self.status, status = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _supervise(argv, dict(os.environ, **header["env"]), cwd, (stdin, out, status))
            finally:
                os._exit(1)
        for fd in (out, status, stdin, cwd):
            os.close(fd)
        kernel.nonblocking(self.out)
        kernel.nonblocking(self.status)

    def read_status(self) -> Header:
        """How its leader ended; the supervisor writes `exit <code>`, `signal <number>` or `exec <errno>` once."""
        try:
            words = os.read(self.status, 256).decode().split()
        except BlockingIOError:
            return {}
        if not words:  # the supervisor was killed from inside
            return {"signal": int(signal.SIGKILL), "stray": True}
        if words[0] == "exec":
            return {"error": os.strerror(int(words[1]))}
        return {words[0]: int(words[1])}


def _supervise(argv: list[str], env: dict[str, str], cwd: int, pipes: tuple[int, int, int]) -> None:
    """Start the leader, say how it ended, then stay while anything it started lives: its orphans come here."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    kernel.become_subreaper()
    status = pipes[2]
    try:
        leader = _spawn(argv, env, cwd, pipes)
    except (OSError, ValueError) as error:
        os.write(status, b"exec %d\n" % (getattr(error, "errno", None) or errno.EINVAL))
        os._exit(0)
    os.closerange(0, status)
    os.closerange(status + 1, 4096)
    while True:
        try:
            pid, code = os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)
        if pid == leader:
            words = b"signal %d\n" % os.WTERMSIG(code) if os.WIFSIGNALED(code) else b"exit %d\n" % os.WEXITSTATUS(code)
            os.write(status, words)
            os.close(status)


def _spawn(argv: list[str], env: dict[str, str], cwd: int, pipes: tuple[int, int, int]) -> int:
    """The leader, in a session of its own. posix_spawn shares memory until exec: a second fork would copy it."""
    os.fchdir(cwd)
    for source, target in ((pipes[0], 0), (pipes[1], 1), (pipes[1], 2)):
        os.dup2(source, target)  # from here on the server's own streams can't be reached through this process
    kernel.show()
    try:
        with open("/proc/self/oom_score_adj", "wb") as score:  # noqa: PTH123 - pathlib would double the start-up time
            score.write(OOM_SCORE)
    except OSError:  # a runtime without it decides by itself
        pass
    kernel.hide()
    os.environ["PATH"] = env.get("PATH", os.defpath)  # where posix_spawnp searches
    return os.posix_spawnp(argv[0], argv, env, setsid=True, setsigdef=[signal.SIGPIPE])


def stdin_of(data: bytes) -> int:
    """A descriptor to read `data` from: memory without a name, so that no pipe can fill up."""
    if not data:
        return os.open("/dev/null", os.O_RDONLY)
    fd = os.memfd_create("stdin")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd

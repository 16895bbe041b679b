"""From a port on the sandbox's own loopback to the proxy's unix socket: programs speak to proxies over TCP only.

It decides nothing. Whoever is in the sandbox may kill it or pass it by: the proxy outside checks everything.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket

CHUNK = 1 << 15
PAIRS = 64  # as many as the proxy serves at once; more wait in the port's queue
IN, OUT = select.POLLIN, select.POLLOUT


def listen(port: int) -> socket.socket:
    """The port, taken before anything else runs in the sandbox."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    listener.setblocking(False)
    return listener


def start(listener: socket.socket, path: str) -> int:
    """Serve in a child, so that no flood of bytes can hold up the exec server; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _keep_only(listener.fileno())
        Bridge(listener, path).serve()
    finally:
        os._exit(1)


def _keep_only(fd: int) -> None:
    """Above all not the exec server's own stdin and stdout."""
    null = os.open("/dev/null", os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(null, each)
    os.closerange(3, fd)
    os.closerange(fd + 1, 4096)


class End:
    """One socket of a pair. `waiting` is to be written to it before its other end is read again."""

    other: End

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.waiting = b""
        self.ended = False  # nothing more comes from it
        self.deaf = False  # it takes nothing more
        self.shut = False  # it was told that nothing more is written

    def fill(self) -> None:
        """Read one piece for the other end."""
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and not self.other.deaf:
            self.other.waiting = data
            self.other.flush()
        self.ended = self.ended or not data

    def flush(self) -> None:
        """Write what waits, then the end of the other side if it has come."""
        try:
            self.waiting = self.waiting[self.sock.send(self.waiting) :] if self.waiting else b""
        except BlockingIOError:
            return
        except OSError:
            self.deaf, self.waiting = True, b""

    def finish(self) -> None:
        """Pass on the end of the other side, once."""
        if self.other.ended and not self.waiting and not self.shut:
            self.shut = True
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    def wants(self) -> int:
        """The events it waits for."""
        return (0 if self.ended or self.other.waiting else IN) | (OUT if self.waiting else 0)


class Bridge:
    """One thread, one poll."""

    def __init__(self, listener: socket.socket, path: str) -> None:
        self.listener = listener
        self.path = path
        self.ends: dict[int, End] = {}
        self.poll = select.poll()

    def serve(self) -> None:
        """For ever."""
        self.poll.register(self.listener.fileno(), IN)
        while True:
            for fd, event in self.poll.poll():
                if fd == self.listener.fileno():
                    self.accept()
                elif fd in self.ends:
                    self.attend(self.ends[fd], event)

    def accept(self) -> None:
        """One more pair, or nothing when the proxy does not answer."""
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        proxy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        proxy.setblocking(False)
        try:
            proxy.connect(self.path)
        except OSError:
            client.close()
            proxy.close()
            return
        here, there = End(client), End(proxy)
        here.other, there.other = there, here
        for end in (here, there):
            self.ends[end.fd] = end
            self.poll.register(end.fd, IN)
        if len(self.ends) >= 2 * PAIRS:
            self.poll.unregister(self.listener.fileno())

    def attend(self, end: End, event: int) -> None:
        """Move what can be moved; a pair ends when nothing can come from either side."""
        if event & OUT:
            end.flush()
        if event & ~OUT and not end.ended and not end.other.waiting:
            end.fill()
        pair = (end, end.other)
        for each in pair:
            each.finish()
        if all(each.ended and not each.waiting for each in pair):
            self.close(pair)
            return
        for each in pair:
            self.watch(each)

    def watch(self, end: End) -> None:
        """A descriptor that waits for nothing is not polled: it would report its hang-up again and again."""
        with contextlib.suppress(KeyError):
            self.poll.unregister(end.fd)
        if end.wants():
            self.poll.register(end.fd, end.wants())

    def close(self, pair: tuple[End, End]) -> None:
        """Make room for another."""
        full = len(self.ends) >= 2 * PAIRS
        for end in pair:
            del self.ends[end.fd]
            with contextlib.suppress(KeyError):
                self.poll.unregister(end.fd)
            end.sock.close()
        if full:
            self.poll.register(self.listener.fileno(), IN)

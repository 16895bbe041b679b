"""The loop of the exec server: frames in, commands' output and file contents out, children reaped, deadlines kept."""

from __future__ import annotations

import collections
import json
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from shopfloor.engine.sandbox.guest import kernel
from shopfloor.engine.sandbox.guest.commands import Command, stdin_of
from shopfloor.engine.sandbox.guest.files import Tree, Upload
from shopfloor.engine.sandbox.guest.kernel import Refused

Header = dict[str, Any]

FRAME_MAX = 1 << 20  # bytes of header and payload together
CHUNK = 1 << 16  # bytes read at once from a command
WINDOW = 1 << 20  # bytes of one answer that may be on their way
FRAME_COST = 256  # what each frame counts besides its payload: tiny ones must not pile up at the host
OUT_HIGH = 1 << 20  # bytes waiting for stdout above which nothing new is made
LINGER_S = 0.1  # after the end of a command, for what its last children still write
MEASURES = struct.Struct(">II")  # bytes of header and payload together, bytes of the header


class Task:
    """A file operation under way. `unacked` counts what the host has not taken yet."""

    def __init__(self) -> None:
        self.unacked = 0
        self.slices: Iterator[None] = iter(())


class Server:
    """One thread, one poll."""

    def __init__(self, root: str, lifetime_s: float) -> None:
        self.dies_at = time.monotonic() + lifetime_s
        self.tree = Tree(root)
        self.inbox = bytearray()
        self.outbox: collections.deque[memoryview] = collections.deque()
        self.out_bytes = 0
        self.commands: dict[int, Command] = {}
        self.outputs: dict[int, Command] = {}  # by descriptor
        self.statuses: dict[int, Command] = {}
        self.drains: set[int] = set()  # output held open by what a finished command left running
        self.supervisors: set[int] = set()
        self.uploads: dict[int, Upload] = {}
        self.tasks: dict[int, Task] = {}
        self.bridge = 0  # its process
        self.start_bridge: Callable[[], int] = int
        self.verbs: dict[str, Callable[[Header, bytes], None]] = {
            "ping": lambda header, _: self.send({"id": header["id"], "ev": "pong"}),
            "run": self.start,
            "ack": self.acknowledge,
            "kill": self.cancel,
            "lifetime": self.extend,
            "read": lambda header, _: self.begin_task(header, self.tree.read),
            "get": lambda header, _: self.begin_task(header, self.tree.get),
            "list": lambda header, _: self.begin_task(header, self.tree.list),
            "put": self.begin_upload,
            "chunk": self.add_to_upload,
            "commit": self.end_upload,
            "write": self.write,
            "delete": self.delete,
        }
        self.poll = select.poll()
        self.woken, wake = os.pipe()
        for fd in (0, 1, self.woken, wake):
            kernel.nonblocking(fd)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _heard)

    def serve(self, hello: Header) -> None:
        """Until stdin ends or the lifetime has passed."""
        self.poll.register(0, select.POLLIN)
        self.poll.register(self.woken, select.POLLIN)
        self.send(hello)
        while time.monotonic() < self.dies_at:
            for fd, _ in self.poll.poll(self.wait_ms()):
                if fd == 0 and not self.receive():
                    return
                self.attend(fd)
            self.pass_deadlines()
            self.work()

    def keep_bridge(self, start: Callable[[], int]) -> None:
        """Run the way to the proxy, and again whenever it dies: see bridge.py."""
        self.start_bridge, self.bridge = start, start()

    def wait_ms(self) -> int:
        """How long nothing is due."""
        if self.out_bytes < OUT_HIGH and any(task.unacked < WINDOW for task in self.tasks.values()):
            return 0
        due = [self.dies_at]
        for command in self.commands.values():
            due.append(command.deadline)
            if command.linger is not None and command.unacked < WINDOW:
                due.append(command.linger)
        return max(0, int((min(due) - time.monotonic()) * 1000) + 1)

    def attend(self, fd: int) -> None:
        """Do what a ready descriptor asks for."""
        if fd == 1:
            self.flush()
        elif fd == self.woken:
            kernel.drain(fd)
            self.reap()
        elif fd in self.outputs:
            self.output(self.outputs[fd])
        elif fd in self.statuses:
            self.ended(self.statuses[fd])
        elif fd in self.drains:
            self.discard(fd)

    def receive(self) -> bool:
        """Take what came in; False at its end or at a frame that breaks the bounds."""
        try:
            data = os.read(0, 1 << 18)
        except BlockingIOError:
            return True
        self.inbox += data
        while len(self.inbox) >= MEASURES.size:
            size, head = MEASURES.unpack_from(self.inbox)
            if size > FRAME_MAX or head > size:
                return False
            end = MEASURES.size + size
            if len(self.inbox) < end:
                break
            header = json.loads(self.inbox[MEASURES.size : MEASURES.size + head])
            payload = bytes(self.inbox[MEASURES.size + head : end])
            del self.inbox[:end]
            self.handle(header, payload)
        return bool(data)

    def handle(self, header: Header, payload: bytes) -> None:
        """Do one thing that was asked for, or say why not."""
        try:
            self.verbs[header["op"]](header, payload)
        except (Refused, OSError, ValueError) as error:
            self.fail(header["id"], error)

    def fail(self, ident: int, error: Exception) -> None:
        """Tell why `ident` can not be served."""
        upload = self.uploads.pop(ident, None)
        if upload is not None:
            upload.abort()
        reason = kernel.refused(error)
        self.send({"id": ident, "ev": "error", "kind": reason.kind, "detail": reason.detail})

    def send(self, header: Header, payload: bytes = b"") -> None:
        """Queue a frame and write what fits."""
        head = json.dumps(header).encode()
        frame = MEASURES.pack(len(head) + len(payload), len(head)) + head + payload
        self.outbox.append(memoryview(frame))
        self.out_bytes += len(frame)
        if len(self.outbox) == 1:
            self.flush()

    def flush(self) -> None:
        """Write until stdout is full; then wait for room."""
        before = self.out_bytes
        while self.outbox:
            try:
                done = os.write(1, self.outbox[0])
            except BlockingIOError:
                self.poll.register(1, select.POLLOUT)
                break
            self.out_bytes -= done
            if done == len(self.outbox[0]):
                self.outbox.popleft()
            else:
                self.outbox[0] = self.outbox[0][done:]
        else:
            self.stop_watching(1)
        if self.out_bytes < OUT_HIGH <= before:
            for command in self.commands.values():
                self.listen(command)

    def stop_watching(self, fd: int) -> None:
        """No more events of it."""
        try:
            self.poll.unregister(fd)
        except KeyError:
            return

    def begin_task(
        self, header: Header, make: Callable[[Header, Callable[[Header, bytes], None]], Iterator[None]]
    ) -> None:
        """Work done in slices, between which commands are served."""
        task = Task()

        def send(answer: Header, payload: bytes) -> None:
            task.unacked += len(payload) + FRAME_COST
            self.send(answer, payload)

        task.slices = make(header, send)
        self.tasks[header["id"]] = task

    def work(self) -> None:
        """One slice of each task whose answers the host has room for."""
        for ident, task in list(self.tasks.items()):
            if self.out_bytes >= OUT_HIGH or task.unacked >= WINDOW:
                continue
            try:
                next(task.slices)
            except StopIteration:
                del self.tasks[ident]
            except (Refused, OSError, ValueError) as error:
                del self.tasks[ident]
                self.fail(ident, error)

    # commands

    def start(self, header: Header, stdin: bytes) -> None:
        """Run a command."""
        cwd = self.tree.open(header["cwd"], os.O_PATH | os.O_DIRECTORY)
        source = self.tree.regular(header["stdin"]) if "stdin" in header else stdin_of(stdin)
        command = Command(header, source, cwd)
        self.supervisors.add(command.pid)
        self.commands[command.ident] = command
        self.outputs[command.out] = command
        self.statuses[command.status] = command
        self.poll.register(command.status, select.POLLIN)
        self.listen(command)

    def listen(self, command: Command) -> None:
        """Read its output only while the host has room for it: this is the back-pressure."""
        wanted = command.out >= 0 and command.unacked < WINDOW and self.out_bytes < OUT_HIGH
        if wanted and not command.listening:
            self.poll.register(command.out, select.POLLIN)
        elif command.listening and not wanted:
            self.stop_watching(command.out)
        command.listening = wanted

    def acknowledge(self, header: Header, _: bytes) -> None:
        """The host has taken so many bytes of a command's output."""
        command, task = self.commands.get(header["id"]), self.tasks.get(header["id"])
        if command is not None:
            command.unacked -= header["bytes"]
            self.listen(command)
        elif task is not None:
            task.unacked -= header["bytes"]

    def output(self, command: Command) -> None:
        """Pass on one chunk; its end, once the leader has ended too, ends the command."""
        try:
            data = os.read(command.out, CHUNK)
        except BlockingIOError:
            return
        if data:
            command.unacked += len(data) + FRAME_COST
            self.send({"id": command.ident, "ev": "out"}, data)
            self.listen(command)
            return
        os.close(self.release_output(command))
        if command.ending is not None:
            self.finish(command)

    def release_output(self, command: Command) -> int:
        """Its output is read no more; the descriptor, still open."""
        fd, command.out = command.out, -1
        self.stop_watching(fd)
        command.listening = False
        self.outputs.pop(fd, None)
        return fd

    def release_status(self, command: Command) -> None:
        """Its status pipe is closed."""
        fd, command.status = command.status, -1
        if fd >= 0:
            self.stop_watching(fd)
            self.statuses.pop(fd, None)
            os.close(fd)

    def ended(self, command: Command) -> None:
        """Its leader ended; what is left in the pipe still comes."""
        ending = command.read_status()
        if not ending:
            return
        self.release_status(command)
        if ending.pop("stray", False):
            kernel.kill_strays({*self.supervisors, self.bridge})
        command.ending = ending
        if command.out < 0:
            self.finish(command)
        else:
            command.linger = time.monotonic() + LINGER_S

    def finish(self, command: Command, **more: object) -> None:
        """Say how it ended; what it left running may go on, its output is thrown away."""
        del self.commands[command.ident]
        self.release_status(command)
        if command.out >= 0:
            fd = self.release_output(command)
            self.drains.add(fd)
            self.poll.register(fd, select.POLLIN)
        ending = dict(command.ending or {"signal": int(signal.SIGKILL)}, **more)
        seconds = time.monotonic() - command.started
        self.send(dict(ending, id=command.ident, ev="end", seconds=seconds))

    def discard(self, fd: int) -> None:
        """Read and forget."""
        try:
            if os.read(fd, CHUNK):
                return
        except BlockingIOError:
            return
        self.drains.discard(fd)
        self.stop_watching(fd)
        os.close(fd)

    def pass_deadlines(self) -> None:
        """Kill what had its time; end what ended and writes no more."""
        now = time.monotonic()
        for command in list(self.commands.values()):
            if now >= command.deadline:
                self.kill(command, timed_out=True)
            elif command.linger is not None and now >= command.linger and command.unacked < WINDOW:
                if kernel.readable(command.out):
                    command.linger = now + LINGER_S / 10
                else:
                    self.finish(command)

    def cancel(self, header: Header, _: bytes) -> None:
        """Stop whatever `id` is."""
        ident = header["id"]
        if ident in self.commands:
            self.kill(self.commands[ident], cancelled=True)
        elif ident in self.uploads:
            self.uploads.pop(ident).abort()
        else:
            self.tasks.pop(ident, None)

    def kill(self, command: Command, **why: object) -> None:
        """Kill all it started, sessions of their own included: all of them are below its supervisor."""
        gone = kernel.kill_below(command.pid)
        while command.out >= 0 and command.unacked < WINDOW and kernel.readable(command.out):
            self.output(command)
        if command.ident in self.commands:
            command.ending = {"signal": int(signal.SIGKILL)}
            self.finish(command, stuck=not gone, **why)

    def reap(self) -> None:
        """Collect the dead; a supervisor that was killed from inside takes what it watched over with it."""
        stray = False
        for pid, code in kernel.dead_children():
            if pid == self.bridge:  # also what `pkill python` inside hits
                self.bridge = self.start_bridge()
            elif pid in self.supervisors:
                self.supervisors.discard(pid)
                stray = stray or os.WIFSIGNALED(code)
        if stray:
            kernel.kill_strays({*self.supervisors, self.bridge})

    def extend(self, header: Header, _: bytes) -> None:
        """A new lifetime, from now."""
        self.dies_at = time.monotonic() + header["seconds"]
        self.send({"id": header["id"], "ev": "end"})

    # files

    def write(self, header: Header, payload: bytes) -> None:
        """A small file in one frame."""
        self.begin_upload(header, b"")
        self.uploads[header["id"]].add(payload)
        self.end_upload(header, b"")

    def begin_upload(self, header: Header, _: bytes) -> None:
        """A file follows in chunks."""
        self.uploads[header["id"]] = Upload(self.tree, header["path"], executable=header.get("executable"))

    def add_to_upload(self, header: Header, payload: bytes) -> None:
        """The next chunk; none is missed after a failure that was told."""
        if header["id"] in self.uploads:
            self.uploads[header["id"]].add(payload)
            self.send({"id": header["id"], "ev": "ack"})

    def end_upload(self, header: Header, _: bytes) -> None:
        """The file is whole."""
        if header["id"] in self.uploads:
            size = self.uploads[header["id"]].commit()
            del self.uploads[header["id"]]
            self.send({"id": header["id"], "ev": "end", "size": size})

    def delete(self, header: Header, _: bytes) -> None:
        """Remove a file or link."""
        self.tree.delete(header["path"])
        self.send({"id": header["id"], "ev": "end"})


def _heard(_number: int, _frame: object) -> None:
    """A child ended; the wake-up pipe has told the loop already."""

"""A fake workspace on a plain folder: commands run on this very host with no isolation at all, so for tests only."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import signal
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

from shopfloor.base.errors import TooLarge
from shopfloor.engine.workspace import (
    CommandResult,
    DiskFull,
    FileContent,
    FileEntry,
    FileKind,
    FileMissing,
    Listing,
    OutputSink,
    PathRefused,
    WorkspaceLost,
)

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK_BYTES = 65_536
_MARK = "SHOPFLOOR_FAKE_COMMAND"  # in the environment of everything a command starts, `setsid` or not
_DRAIN_S = 0.2  # for output that is still in the pipe when a command left a child in the background


class FolderWorkspace:
    """A Workspace whose root is `path`. `/tmp` is the host's own: name files there uniquely.

    `disk_limit_bytes` makes writing raise DiskFull; `lose()` makes everything raise WorkspaceLost, as a killed
    sandbox does. Commands see a small clean environment: PATH, HOME, LANG, and what the caller gives.
    """

    def __init__(self, path: Path, *, disk_limit_bytes: int | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._root = path.resolve()
        self._home = self._root.parent / f".home-of-{self._root.name}"
        self._home.mkdir(exist_ok=True)
        self._disk_limit_bytes = disk_limit_bytes
        self._lost = False

    @property
    def root(self) -> str:
        """The folder, absolute."""
        return str(self._root)

    def lose(self) -> None:
        """From now on every method raises WorkspaceLost."""
        self._lost = True

    async def run(
        self,
        command: str | list[str],
        *,
        timeout_s: float,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        max_output_bytes: int = 1_048_576,
        on_output: OutputSink | None = None,
    ) -> CommandResult:
        """Run a command on the host; see Workspace.run."""
        folder = await self._in_thread(self._existing, cwd)
        mark = uuid4().hex
        started = time.monotonic()
        read_end, write_end = os.pipe()  # our own: `wait()` would wait for a pipe that a background child holds open
        try:
            process = await asyncio.create_subprocess_exec(
                *(["bash", "-c", command] if isinstance(command, str) else command),
                cwd=folder,
                env=self._environment(env) | {_MARK: mark},
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except OSError as error:
            os.close(read_end)
            return CommandResult(127, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os.close(write_end)
        seen = _HeadAndTail(max_output_bytes)
        timed_out = False
        finished = False
        try:
            async with asyncio.timeout(timeout_s):
                await _converse(process, read_end, stdin, seen, on_output)
            finished = True
        except TimeoutError:
            timed_out = True
        finally:
            if not finished:
                _kill_marked(process.pid, mark)
                await asyncio.shield(process.wait())
        code = process.returncode
        killed = timed_out or code is None or code < 0
        return CommandResult(
            exit_code=None if killed else code,
            output=seen.head + seen.tail,
            elided_bytes=seen.elided_bytes,
            total_bytes=seen.total_bytes,
            timed_out=timed_out,
            duration_s=time.monotonic() - started,
            signal=-code if code is not None and code < 0 else None,
            head_bytes=len(seen.head),
        )

    async def read_file(self, path: str, *, offset: int = 0, limit_bytes: int = 1_048_576) -> FileContent:
        """See Workspace.read_file."""
        return await self._in_thread(self._read, path, offset, limit_bytes)

    async def write_file(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """See Workspace.write_file."""
        await self._in_thread(self._write, path, data, executable)

    async def delete_file(self, path: str) -> None:
        """See Workspace.delete_file."""
        await self._in_thread(self._delete, path)

    async def list_files(self, path: str = ".", *, depth: int = 1, limit: int = 1_000) -> Listing:
        """See Workspace.list_files."""
        return await self._in_thread(self._list, path, depth, limit)

    async def put(self, path: str, chunks: AsyncIterator[bytes]) -> int:
        """See Workspace.put."""
        target = await self._in_thread(self._inside, path, tmp=True)
        await self._in_thread(_make_folders, target.parent)
        partial = target.with_name(f".put-{uuid4().hex}")
        size_bytes = 0
        try:
            with partial.open("xb") as file:
                async for chunk in chunks:
                    self._refuse_when_full(len(chunk))
                    file.write(chunk)
                    size_bytes += len(chunk)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return size_bytes

    async def get(self, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        """See Workspace.get."""
        target = await self._in_thread(self._inside, path, tmp=True)
        given = 0
        with os.fdopen(_open_regular(target, path), "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                given += len(chunk)
                if given > max_bytes:
                    raise TooLarge(f"{path} is larger than the {max_bytes} bytes that may leave the workspace.")
                yield chunk

    async def _in_thread(self, act: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._lost:
            raise WorkspaceLost("The sandbox is gone. Start a new run: it goes on from the journal.")
        return await asyncio.to_thread(act, *args, **kwargs)

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        own = {"PATH": os.environ["PATH"], "HOME": str(self._home), "LANG": "C.UTF-8"}
        return own | dict(env or {})

    def _inside(self, path: str, *, tmp: bool = False) -> Path:
        """Where `path` really is. Raises: PathRefused."""
        below = Path("/tmp").resolve() if tmp and path.startswith("/tmp/") else self._root  # noqa: S108 - the port names it
        if "\0" in path or (path.startswith("/") and below == self._root):
            raise PathRefused(f"{path!r} is not a path relative to the workspace.")
        real = Path(os.path.realpath(below / path))
        if not real.is_relative_to(below):
            raise PathRefused(f"{path!r} leads outside the workspace.")
        return real

    def _existing(self, path: str) -> Path:
        folder = self._inside(path)
        if not folder.is_dir():
            raise FileMissing(f"{path!r} is not a folder of the workspace.")
        return folder

    def _read(self, path: str, offset: int, limit_bytes: int) -> FileContent:
        with os.fdopen(_open_regular(self._inside(path), path), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = file.tell()
            file.seek(offset)
            return FileContent(file.read(limit_bytes), size_bytes, digest)

    def _write(self, path: str, data: bytes, executable: bool | None) -> None:  # noqa: FBT001 - the port's own name
        target = self._inside(path)
        if target.is_dir():
            raise FileMissing(f"{path!r} is a folder, not a file.")
        _make_folders(target.parent)
        self._refuse_when_full(len(data))
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        if executable is not None:
            mode = mode | 0o111 if executable else mode & ~0o111
        descriptor, partial = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(partial).chmod(mode)
        Path(partial).replace(target)

    def _delete(self, path: str) -> None:
        target = self._inside(os.path.dirname(path) or ".") / os.path.basename(path)  # noqa: PTH119, PTH120 - of the text: the link itself goes, not what it names
        if target.name in {"", ".", ".."}:
            raise PathRefused(f"{path!r} is not the name of a file.")
        try:
            target.unlink()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise FileMissing(f"There is no file {path!r}.") from error

    def _list(self, path: str, depth: int, limit: int) -> Listing:
        entries = sorted(self._walk(self._existing(path), depth), key=lambda entry: entry.path)
        return Listing(entries[:limit], truncated=len(entries) > limit)

    def _walk(self, folder: Path, depth: int) -> list[FileEntry]:
        found: list[FileEntry] = []
        for item in folder.iterdir():
            if item.name == ".git":
                continue
            status = item.lstat()
            kind = _kind(status.st_mode)
            size_bytes = status.st_size if kind == "file" else 0
            found.append(FileEntry(item.relative_to(self._root).as_posix(), kind, size_bytes))
            if kind == "directory" and depth > 1:
                found += self._walk(item, depth - 1)
        return found

    def _refuse_when_full(self, more_bytes: int) -> None:
        if self._disk_limit_bytes is None:
            return
        used = sum(item.lstat().st_size for item in self._root.rglob("*") if not item.is_dir())
        if used + more_bytes > self._disk_limit_bytes:
            raise DiskFull(f"The workspace holds at most {self._disk_limit_bytes} bytes. Delete files you don't need.")


class _HeadAndTail:
    """At most `limit_bytes` of a stream: its first half, then its last."""

    def __init__(self, limit_bytes: int) -> None:
        self._head_limit = limit_bytes - limit_bytes // 2
        self._tail_limit = limit_bytes // 2
        self.head = b""
        self.tail = b""
        self.total_bytes = 0

    @property
    def elided_bytes(self) -> int:
        return self.total_bytes - len(self.head) - len(self.tail)

    def add(self, chunk: bytes) -> None:
        self.total_bytes += len(chunk)
        room = self._head_limit - len(self.head)
        self.head += chunk[:room]
        rest = self.tail + chunk[room:]
        self.tail = rest[len(rest) - self._tail_limit :] if len(rest) > self._tail_limit else rest


async def _converse(
    process: asyncio.subprocess.Process,
    read_end: int,
    stdin: bytes | None,
    seen: _HeadAndTail,
    on_output: OutputSink | None,
) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read_end, "rb"))
    try:
        async with asyncio.TaskGroup() as group:
            if stdin is not None:
                group.create_task(_feed(process, stdin))
            reading = group.create_task(_collect(reader, seen, on_output))
            await process.wait()
            await asyncio.wait([reading], timeout=_DRAIN_S)
            reading.cancel()
    finally:
        transport.close()


async def _feed(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read its input
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _collect(reader: asyncio.StreamReader, seen: _HeadAndTail, on_output: OutputSink | None) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        seen.add(chunk)
        if on_output is not None:
            await on_output(chunk)


def _kill_marked(group: int, mark: str) -> None:
    """Kill the command's process group and whatever of its descendants left it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    wanted = f"{_MARK}={mark}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)


def _open_regular(target: Path, path: str) -> int:
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}:
            raise
        raise FileMissing(f"There is no file {path!r}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileMissing(f"{path!r} is not a regular file.")
    return descriptor


def _make_folders(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise FileMissing(f"{folder.name!r} is a file, not a folder.") from error


def _kind(mode: int) -> FileKind:
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_ISDIR(mode):
        return "directory"
    return "file" if stat.S_ISREG(mode) else "other"

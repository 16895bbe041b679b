"""The port through which everything reaches an agent's files and commands: paths are relative to its root."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from shopfloor.base.errors import ShopfloorError

OutputSink = Callable[[bytes], Awaitable[None]]
FileKind = Literal["file", "directory", "symlink", "other"]


class WorkspaceError(ShopfloorError):
    """A file or command inside the workspace could not be served; the model may act on it."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The workspace could not do this"


class PathRefused(WorkspaceError):
    """The path names something outside the workspace, by `..`, an absolute path or a link."""

    title: ClassVar[str] = "The path leads outside the workspace"


class FileMissing(WorkspaceError):
    """There is no file there, or it is not of the kind asked for."""

    title: ClassVar[str] = "No such file"


class DiskFull(WorkspaceError):
    """The workspace's disk limit is reached."""

    title: ClassVar[str] = "The workspace is full"


class WorkspaceLost(ShopfloorError):
    """The sandbox behind the workspace is gone (killed, engine restarted); a new run may go on from the journal."""

    status: ClassVar[int] = 503
    title: ClassVar[str] = "The sandbox is gone"
    retryable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `output` is stdout and stderr as they came, bounded: its head, then its tail."""

    exit_code: int | None  # None: it was killed (time limit, cancel, memory)
    output: bytes
    elided_bytes: int = 0  # left out between head and tail
    total_bytes: int = 0  # written by the command in all
    timed_out: bool = False
    duration_s: float = 0.0
    signal: int | None = None
    head_bytes: int = 0  # where in `output` the cut is, if elided_bytes > 0

    @property
    def ok(self) -> bool:
        """It ended by itself with status 0."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class FileContent:
    """A part of a file. `digest` is the SHA-256 of the whole file, in hex."""

    data: bytes
    size_bytes: int  # of the whole file
    digest: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One line of a listing; `path` is relative to the workspace, with `/`."""

    path: str
    kind: FileKind
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """Files below a folder, sorted by path; `truncated` says that the limit cut it."""

    entries: list[FileEntry] = field(default_factory=list[FileEntry])
    truncated: bool = False


class Workspace(Protocol):
    """An agent's working tree and its command line. Nothing it returns is trusted.

    Every path is text relative to the root; a path that leads outside raises PathRefused.
    Every method raises WorkspaceLost when what is behind it is gone.
    """

    @property
    def root(self) -> str:
        """The absolute path of the working tree as its commands see it, e.g. `/workspace`."""
        ...

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
        """Run a command to its end or its time limit; text runs in `bash -c`, a list runs as it is.

        On time-out or cancellation the whole process group is killed, `setsid` children included.
        `on_output` gets every chunk in order, also what `output` leaves out.
        """
        ...

    async def read_file(self, path: str, *, offset: int = 0, limit_bytes: int = 1_048_576) -> FileContent:
        """Up to `limit_bytes` from `offset`. Raises: FileMissing, PathRefused."""
        ...

    async def write_file(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """Replace or create a file, its folders included, in one rename. Raises: PathRefused, DiskFull."""
        ...

    async def delete_file(self, path: str) -> None:
        """Remove a file or link. Raises: FileMissing, PathRefused."""
        ...

    async def list_files(self, path: str = ".", *, depth: int = 1, limit: int = 1_000) -> Listing:
        """What is below a folder, `.git` left out, links not followed. Raises: FileMissing, PathRefused."""
        ...

    async def put(self, path: str, chunks: AsyncIterator[bytes]) -> int:
        """Stream a file in, of any size; its bytes. A path below `/tmp` is allowed here and in `get`."""
        ...

    def get(self, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        """Stream a file out. Raises: FileMissing; TooLarge once it passes `max_bytes`."""
        ...

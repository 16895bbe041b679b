"""A workspace without an exec server, for images that have no Python: each operation is a `docker exec` of `sh`.

Slower (some 100 ms each) and weaker: a child with a session of its own outlives its command's time limit, until the
sandbox ends; a cancelled command ends the sandbox. The sandbox's isolation says so in its notes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from shopfloor.base.errors import TooLarge
from shopfloor.engine.sandbox.attach import Streams, attach_exec
from shopfloor.engine.sandbox.engine import Engine
from shopfloor.engine.sandbox.port import SandboxUnavailable
from shopfloor.engine.sandbox.transcript import Transcript
from shopfloor.engine.workspace import (
    CommandResult,
    DiskFull,
    FileContent,
    FileEntry,
    FileMissing,
    Listing,
    OutputSink,
    PathRefused,
    WorkspaceError,
    WorkspaceLost,
)

_ROOT: Final = "/workspace"
_LIMIT_S: Final = 60.0  # for a file operation
_KILLED: Final = 137  # 128 + SIGKILL: how `timeout -s KILL` ends
_OUTSIDE, _MISSING = 65, 66  # exit codes of our own scripts
_ERRORS: Final[dict[int, type[WorkspaceError]]] = {_OUTSIDE: PathRefused, _MISSING: FileMissing}
# $1 is the path; what it leads to has to be below the root that $0 names.
_RESOLVE: Final = (
    'd=$(dirname -- "$1"); mkdir -p -- "$d" 2>/dev/null; p=$(readlink -f -- "$1") || exit 66; '
    'case "$p" in "$0"|"$0"/*|/tmp/*) ;; *) exit 65;; esac; '
)
_READ: Final = _RESOLVE + '[ -f "$p" ] || exit 66; cat -- "$p"'
_DIGEST: Final = _RESOLVE + '[ -f "$p" ] || exit 66; stat -c %s -- "$p"; sha256sum < "$p"'
_WRITE: Final = _RESOLVE + (
    '[ -d "$p" ] && exit 66; t="$p.shopfloor-$$"; cat > "$t" && mv -- "$t" "$p" || { rm -f "$t"; exit 1; }'
)
_DELETE: Final = (
    'p=$(readlink -f -- "$(dirname -- "$1")") || exit 66; case "$p" in "$0"|"$0"/*) ;; *) exit 65;; esac; '
    '[ -d "$1" ] && [ ! -L "$1" ] && exit 66; rm -- "$1" || exit 66'
)
_LIST: Final = _RESOLVE + (
    '[ -d "$p" ] || exit 66; cd -- "$1" && '
    'find . -mindepth 1 -maxdepth "$2" -name .git -prune -o -exec sh -c \'for f do '
    'if [ -L "$f" ]; then k=symlink s=0; elif [ -d "$f" ]; then k=directory s=0; elif [ -f "$f" ]; then k=file '
    's=$(stat -c %s "$f"); else k=other s=0; fi; printf "%s %s %s\\0" $k $s "$f"; done\' sh {} +'
)


class ExecWorkspace:
    """See Workspace."""

    def __init__(self, engine: Engine, container: str, env: Mapping[str, str]) -> None:
        self._engine = engine
        self._container = container
        self._env = dict(env)

    @property
    def root(self) -> str:
        """Where commands start."""
        return _ROOT

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
        """See Workspace; `sh` stands in for bash where there is none."""
        shell = 'if command -v bash >/dev/null; then exec bash -c "$0"; else exec sh -c "$0"; fi'
        argv = ["sh", "-c", shell, command] if isinstance(command, str) else command
        limited = ["timeout", "-s", "KILL", str(max(1, round(timeout_s))), *argv]
        path = cwd if cwd.startswith("/") else f"{_ROOT}/{cwd}"
        transcript = Transcript(max_output_bytes)
        loop = asyncio.get_running_loop()
        started = loop.time()
        code = await self._exec(
            limited, path, {**self._env, **(env or {})}, stdin or b"", transcript, on_output, timeout_s + 10
        )
        duration_s = loop.time() - started
        timed_out = code == _KILLED and duration_s >= timeout_s
        killed = code == _KILLED
        return transcript.result(
            exit_code=None if killed else code, signal=9 if killed else None, timed_out=timed_out, duration_s=duration_s
        )

    async def read_file(self, path: str, *, offset: int = 0, limit_bytes: int = 1_048_576) -> FileContent:
        """See Workspace."""
        size, digest = (await self._script(_DIGEST, path)).split()[:2]
        parts: list[bytes] = []
        seen = 0

        async def keep(piece: bytes) -> None:
            nonlocal seen
            parts.append(piece[max(0, offset - seen) : max(0, offset + limit_bytes - seen)])
            seen += len(piece)

        await self._script(_READ, path, sink=keep)
        return FileContent(b"".join(parts), size_bytes=int(size), digest=digest.decode())

    async def write_file(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """See Workspace."""
        await self._script(_WRITE, path, stdin=data)
        if executable is not None:
            await self._script(_RESOLVE + 'chmod "$2" -- "$p"', path, "755" if executable else "644")

    async def delete_file(self, path: str) -> None:
        """See Workspace."""
        await self._script(_DELETE, path)

    async def list_files(self, path: str = ".", *, depth: int = 1, limit: int = 1_000) -> Listing:
        """See Workspace."""
        rows = (await self._script(_LIST, path, str(depth))).split(b"\0")
        prefix = "" if path in {".", ""} else path.rstrip("/") + "/"
        entries: list[FileEntry] = []
        for row in rows:
            entry = _entry(row.decode("utf-8", "backslashreplace"), prefix)
            if entry is not None:
                entries.append(entry)
        entries.sort(key=lambda entry: entry.path)
        return Listing(entries[:limit], truncated=len(entries) > limit)

    async def put(self, path: str, chunks: AsyncIterator[bytes]) -> int:
        """See Workspace; the whole file is held in memory on its way."""
        data = b"".join([chunk async for chunk in chunks])
        await self._script(_WRITE, path, stdin=data)
        return len(data)

    async def get(self, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        """See Workspace; in pieces of at most `max_bytes` read at once."""
        content = await self.read_file(path, limit_bytes=max_bytes)
        if content.size_bytes > max_bytes:
            raise TooLarge(f"{path} is larger than {max_bytes} bytes", path=path, limit_bytes=max_bytes)
        yield content.data

    async def _script(
        self, script: str, path: str, *more: str, stdin: bytes = b"", sink: OutputSink | None = None
    ) -> bytes:
        transcript = Transcript(0 if sink else 1 << 24)
        argv = ["sh", "-c", script, _ROOT, path if path.startswith("/") else f"./{path}", *more]
        code = await self._exec(argv, _ROOT, self._env, stdin, transcript, sink, _LIMIT_S)
        output = transcript.result(exit_code=code, signal=None, timed_out=False, duration_s=0.0).output
        if code in _ERRORS:
            raise _ERRORS[code](f"{path}: {'outside the workspace' if code == _OUTSIDE else 'no such file'}", path=path)
        if code:
            text = output.decode("utf-8", "replace")[-500:]
            error = DiskFull if "No space left" in text else WorkspaceError
            raise error(f"{path}: {text}", path=path)
        return output

    async def _exec(
        self, argv: list[str], cwd: str, env: Mapping[str, str], stdin: bytes, transcript: Transcript,
        sink: OutputSink | None, limit_s: float,
    ) -> int:  # fmt: skip
        try:
            ident = await self._engine.exec_id(
                self._container, {"cmd": argv, "cwd": cwd, "env": dict(env), "stdin": True}
            )
            streams = await attach_exec(self._engine.url, ident, timeout_s=limit_s)
        except SandboxUnavailable as error:
            raise WorkspaceLost(f"the sandbox is gone: {error.detail}") from error
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(_feed(streams, stdin), _collect(streams, transcript, sink))
        except (TimeoutError, asyncio.CancelledError):
            await self._engine.kill(self._container)  # nothing less is sure to end the command
            raise
        finally:
            streams.close()
        status = await self._engine.exec_status(ident)
        if status.get("ExitCode") is None:
            raise WorkspaceLost("the sandbox is gone: its engine does not know how the command ended")
        return int(status["ExitCode"])


async def _feed(streams: Streams, data: bytes) -> None:
    for start in range(0, len(data), 1 << 16):
        streams.write(data[start : start + (1 << 16)])
        await streams.drain()
    streams.end_input()


async def _collect(streams: Streams, transcript: Transcript, sink: OutputSink | None) -> None:
    while (piece := await streams.read()) is not None:
        transcript.add(piece[1])
        if sink is not None:
            await sink(piece[1])


def _entry(row: str, prefix: str) -> FileEntry | None:
    """A line of `_LIST`: kind, size, name. None: it is none."""
    match row.split(" ", 2):
        case ["file" | "directory" | "symlink" | "other" as kind, size, name] if size.isdigit():
            return FileEntry(prefix + name.removeprefix("./"), kind, int(size))
        case _:
            return None

"""A workspace behind an exec server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NoReturn, cast

from shopfloor.base.errors import TooLarge
from shopfloor.engine.sandbox.channel import Answer, Channel
from shopfloor.engine.sandbox.frames import PAYLOAD_MAX
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
)

ROOT: Final = "/workspace"
_LATE_S: Final = 10.0  # after a command's own limit, for the server to kill it; then the sandbox goes
_DEPTH_MAX: Final = 64
_LIST_MAX: Final = 100_000
_IN_FLIGHT: Final = 4  # chunks of an upload sent before the first is acknowledged
_PIECE: Final = 1 << 18
_REFUSALS: Final[dict[str, type[WorkspaceError | TooLarge]]] = {
    "path": PathRefused,
    "missing": FileMissing,
    "full": DiskFull,
    "large": TooLarge,
}


class ServedWorkspace:
    """Commands and files over one channel."""

    def __init__(self, channel: Channel, env: Mapping[str, str]) -> None:
        self._channel = channel
        self.env = dict(env)  # of every command
        self._uploads = 0

    @property
    def root(self) -> str:
        """Where commands start."""
        return ROOT

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
        """See Workspace."""
        what = {"shell": command} if isinstance(command, str) else {"argv": command}
        header: dict[str, Any] = {"op": "run", **what, "cwd": cwd, "timeout_s": timeout_s}
        header["env"] = {**self.env, **(env or {})}
        payload = stdin or b""
        if len(payload) + len(json.dumps(header)) > PAYLOAD_MAX:
            header["stdin"], payload = await self._set_aside(payload), b""
        transcript = Transcript(max_output_bytes)
        async with self._channel.request(header, payload) as answer:
            try:
                ending = await self._follow(answer, transcript, timeout_s, on_output)
            except asyncio.CancelledError:
                await self._stop(answer)
                raise
        return _result(ending, transcript)

    async def _follow(
        self, answer: Answer, transcript: Transcript, timeout_s: float, on_output: OutputSink | None
    ) -> dict[str, Any]:
        """The frame that ends the command; its output goes to the transcript and the sink."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + timeout_s + _LATE_S
        while True:
            try:
                async with asyncio.timeout_at(latest):
                    header, payload = await answer.take()
            except TimeoutError:
                self._channel.lose("a command could not be ended at its time limit")
                continue
            if header["ev"] != "out":
                return header
            transcript.add(payload)
            if on_output is not None:
                await on_output(payload)

    async def _stop(self, answer: Answer) -> None:
        """Kill the command and wait until it is dead; if that can't be had, the sandbox goes."""
        self._channel.post({"op": "kill", "id": answer.ident})
        try:
            async with asyncio.timeout(_LATE_S):
                while (await answer.take())[0]["ev"] == "out":
                    continue
        except TimeoutError:
            self._channel.lose("a cancelled command could not be ended")

    async def _set_aside(self, data: bytes) -> str:
        """A large stdin goes by way of a file."""
        self._uploads += 1
        path = f"/tmp/.stdin-{self._uploads}"  # noqa: S108 - the sandbox's own tmpfs

        async def pieces() -> AsyncIterator[bytes]:
            yield data

        await self.put(path, pieces())
        return path

    async def read_file(self, path: str, *, offset: int = 0, limit_bytes: int = 1_048_576) -> FileContent:
        """See Workspace."""
        header = {"op": "read", "path": self._inside(path), "offset": offset, "limit": limit_bytes}
        parts: list[bytes] = []
        async with self._channel.request(header) as answer:
            while True:
                frame, payload = await answer.take()
                parts.append(payload)
                if frame["ev"] != "data":
                    break
        _check(frame, path)
        data = b"".join(parts)[:limit_bytes]
        return FileContent(data, size_bytes=_number(frame, "size"), digest=str(frame.get("digest", ""))[:64])

    async def write_file(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """See Workspace."""
        inside = self._inside(path)
        if len(data) > PAYLOAD_MAX:
            await self._upload(inside, _pieces(data), executable)
            return
        async with self._channel.request({"op": "write", "path": inside, "executable": executable}, data) as answer:
            _check((await answer.take())[0], path)

    async def delete_file(self, path: str) -> None:
        """See Workspace."""
        async with self._channel.request({"op": "delete", "path": self._inside(path)}) as answer:
            _check((await answer.take())[0], path)

    async def list_files(self, path: str = ".", *, depth: int = 1, limit: int = 1_000) -> Listing:
        """See Workspace."""
        limit = min(limit, _LIST_MAX)
        header = {"op": "list", "path": self._inside(path), "depth": min(depth, _DEPTH_MAX), "limit": limit}
        entries: list[FileEntry] = []
        async with self._channel.request(header) as answer:
            while (taken := await answer.take())[0]["ev"] == "data":
                entries += _entries(taken[1])
        _check(taken[0], path)
        entries.sort(key=lambda entry: entry.path)
        return Listing(entries[:limit], truncated=bool(taken[0].get("truncated")))

    async def put(self, path: str, chunks: AsyncIterator[bytes]) -> int:
        """See Workspace."""
        return await self._upload(path, chunks, None)

    async def get(self, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        """See Workspace."""
        left = max_bytes
        async with self._channel.request({"op": "get", "path": path, "limit": max_bytes}) as answer:
            while (taken := await answer.take())[0]["ev"] == "data":
                left -= len(taken[1])
                if left < 0:
                    raise TooLarge(f"{path} is larger than {max_bytes} bytes", path=path, limit_bytes=max_bytes)
                yield taken[1]
        _check(taken[0], path)

    async def _upload(self, path: str, chunks: AsyncIterator[bytes], executable: bool | None) -> int:  # noqa: FBT001 - None: as it is
        async with self._channel.request({"op": "put", "path": path, "executable": executable}) as answer:
            waiting = 0
            async for chunk in chunks:
                for start in range(0, len(chunk), _PIECE):
                    await self._channel.send({"op": "chunk", "id": answer.ident}, chunk[start : start + _PIECE])
                    waiting += 1
                    if waiting >= _IN_FLIGHT:
                        _check((await answer.take())[0], path)
                        waiting -= 1
            await self._channel.send({"op": "commit", "id": answer.ident})
            while True:
                frame, _ = await answer.take()
                _check(frame, path)
                if frame["ev"] == "end":
                    return _number(frame, "size")

    def _inside(self, path: str) -> str:
        """`/tmp` is for `put` and `get` only."""
        if path.startswith("/") and path != ROOT and not path.startswith(ROOT + "/"):
            raise PathRefused(f"{path} is outside the workspace: name it relative to {ROOT}", path=path)
        return path


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _check(frame: dict[str, Any], path: str) -> None:
    if frame["ev"] == "error":
        _refuse(frame, path)


def _refuse(frame: dict[str, Any], path: str) -> NoReturn:
    error = _REFUSALS.get(str(frame.get("kind")), WorkspaceError)
    raise error(str(frame.get("detail", "it failed"))[:1000], path=path)


def _result(ending: dict[str, Any], transcript: Transcript) -> CommandResult:
    if ending["ev"] == "error":
        _refuse(ending, ".")
    if "error" in ending:  # the program could not be started: as a shell would say it
        transcript.add(f"{ending['error']}\n".encode())
        ending = {**ending, "exit": 127}
    exit_code, killed_by = ending.get("exit"), ending.get("signal")
    return transcript.result(
        exit_code=exit_code if isinstance(exit_code, int) else None,
        signal=killed_by if isinstance(killed_by, int) else None,
        timed_out=bool(ending.get("timed_out")),
        duration_s=float(ending.get("seconds") or 0.0),
    )


def _number(frame: dict[str, Any], key: str) -> int:
    value = frame.get(key)
    return value if isinstance(value, int) and value >= 0 else 0


def _entries(payload: bytes) -> list[FileEntry]:
    """Rows of a listing, `[path, kind, size]`; what does not look like one is left out."""
    try:
        rows = cast("list[Any]", json.loads(payload))
        return [entry for row in rows if (entry := _entry(row)) is not None]
    except (ValueError, TypeError, RecursionError):
        return []


def _entry(row: Any) -> FileEntry | None:
    match row:
        case [str(path), "file" | "directory" | "symlink" | "other" as kind, int(size)]:
            return FileEntry(path, kind, size)
        case _:
            return None

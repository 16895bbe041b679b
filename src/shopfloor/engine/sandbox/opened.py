"""A sandbox in use: a workspace, what is enforced on it, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from shopfloor.engine.sandbox.port import Isolation
from shopfloor.engine.workspace import CommandResult, FileContent, Listing, OutputSink, Workspace


class OpenSandbox:
    """See Sandbox. Every call goes to the workspace behind it."""

    def __init__(
        self, name: str, ident: str, workspace: Workspace, isolation: Isolation, close: Callable[[], Awaitable[None]]
    ) -> None:
        self.name = name  # the container's name: `sf-<install>-<hex>`
        self._id = ident
        self._workspace = workspace
        self._isolation = isolation
        self._close = close
        self.after_close: Callable[[], None] | None = None  # called once

    @property
    def id(self) -> str:
        """The engine's id of its container."""
        return self._id

    @property
    def isolation(self) -> Isolation:
        """What is enforced on it."""
        return self._isolation

    @property
    def root(self) -> str:
        """See Workspace."""
        return self._workspace.root

    async def aclose(self) -> None:
        """Kill and remove it and its disk."""
        after, self.after_close = self.after_close, None
        if after is not None:
            after()
        await self._close()

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
        return await self._workspace.run(
            command,
            timeout_s=timeout_s,
            cwd=cwd,
            env=env,
            stdin=stdin,
            max_output_bytes=max_output_bytes,
            on_output=on_output,
        )

    async def read_file(self, path: str, *, offset: int = 0, limit_bytes: int = 1_048_576) -> FileContent:
        """See Workspace."""
        return await self._workspace.read_file(path, offset=offset, limit_bytes=limit_bytes)

    async def write_file(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """See Workspace."""
        await self._workspace.write_file(path, data, executable=executable)

    async def delete_file(self, path: str) -> None:
        """See Workspace."""
        await self._workspace.delete_file(path)

    async def list_files(self, path: str = ".", *, depth: int = 1, limit: int = 1_000) -> Listing:
        """See Workspace."""
        return await self._workspace.list_files(path, depth=depth, limit=limit)

    async def put(self, path: str, chunks: AsyncIterator[bytes]) -> int:
        """See Workspace."""
        return await self._workspace.put(path, chunks)

    def get(self, path: str, *, max_bytes: int) -> AsyncIterator[bytes]:
        """See Workspace."""
        return self._workspace.get(path, max_bytes=max_bytes)

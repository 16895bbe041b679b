from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.registry import all_tools
from shopfloor.engine.tools.result import ToolResult
from shopfloor.testing.folder_workspace import FolderWorkspace

Use = Callable[..., Awaitable[ToolResult]]


class KeptArtifacts:
    """Keeps how long each artifact was, and its first bytes."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.heads: dict[str, bytes] = {}

    async def save(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        self.sizes[name], self.heads[name] = 0, b""
        async for chunk in chunks:
            self.sizes[name] += len(chunk)
            self.heads[name] = (self.heads[name] + chunk)[:100]
        return f"artifact:{name}"


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace(tmp_path / "work")


@pytest.fixture
def artifacts() -> KeptArtifacts:
    return KeptArtifacts()


@pytest.fixture
def context(workspace: FolderWorkspace, artifacts: KeptArtifacts) -> ToolContext:
    return ToolContext(workspace=workspace, artifacts=artifacts, call_id="c1")


@pytest.fixture
def use(context: ToolContext) -> Use:
    """Call a tool as the loop does: use("shell", command="ls"). The text is shown where a test fails."""

    async def call(tool: str, *, within: ToolContext = context, **arguments: Any) -> ToolResult:
        result = await all_tools()[tool].invoke(arguments, within)
        within.absorb(result)
        return result

    return call

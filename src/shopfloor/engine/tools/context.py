"""What a tool call is given: the workspace, the policy, and what the run remembers between calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from shopfloor.engine.tools.policy import ToolPolicy
from shopfloor.engine.tools.result import ToolResult
from shopfloor.engine.workspace import Workspace


class Artifacts(Protocol):
    """Where output goes that is too long for a model."""

    async def save(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Keep a stream under `name`; the artifact's id, which people and later calls can open."""
        ...


class NoArtifacts:
    """For runs that keep nothing: the stream is read and dropped."""

    async def save(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """An empty id: there is nothing to open."""
        del name
        async for _ in chunks:
            pass
        return ""


Note = Callable[[str, dict[str, Any]], Awaitable[None]]  # kind and data of one event for those who watch
Delegate = Callable[[str, str, str, tuple[str, ...]], Awaitable[ToolResult]]  # call id, agent, task, tools


async def no_note(kind: str, data: dict[str, Any]) -> None:
    """For runs that nobody watches."""
    del kind, data


@dataclass(kw_only=True)
class ToolContext:
    """One agent run's tools' surroundings. What it remembers is rebuilt from recorded results on resume."""

    workspace: Workspace
    policy: ToolPolicy = field(default_factory=ToolPolicy)
    artifacts: Artifacts = field(default_factory=NoArtifacts)
    checks: tuple[str, ...] = ()  # the job's own checks, which `run_tests` runs when no command is named
    base_ref: str = "HEAD"  # what `git_diff` compares with
    note: Note = no_note
    delegate: Delegate | None = None
    call_id: str = ""  # of the call in hand
    seen: dict[str, str] = field(default_factory=dict[str, str])  # path -> digest the model last saw

    def absorb(self, result: ToolResult) -> None:
        """Remember what a result, fresh or recorded, says about files."""
        self.seen.update(result.seen)
        for path in result.forgotten:
            self.seen.pop(path, None)

    def for_call(self, call_id: str) -> ToolContext:
        """The same surroundings for one call; what is remembered is shared."""
        return replace(self, call_id=call_id)

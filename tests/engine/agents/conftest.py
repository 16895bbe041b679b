from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shopfloor.engine.agents.loop import run_agent
from shopfloor.engine.agents.outcome import AgentResult
from shopfloor.engine.agents.registry import find_agent
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.agents.task import AgentLimits, AgentTask
from shopfloor.engine.tools.context import ToolContext
from shopfloor.testing.folder_workspace import FolderWorkspace
from shopfloor.testing.memory_journal import MemoryJournal
from shopfloor.testing.scripted_model import Reply, ScriptedModel

Run = Callable[..., Awaitable[AgentResult]]


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace(tmp_path / "work")


@pytest.fixture
def run(workspace: FolderWorkspace) -> Run:
    """Run a script as an agent in `workspace`: run(script, spec=..., journal=..., limits=..., tools=...)."""

    async def run_script(
        script: list[Reply] | ScriptedModel,
        *,
        spec: AgentSpec | str = "coding",
        task: str = "Make it work.",
        journal: MemoryJournal | None = None,
        limits: AgentLimits | None = None,
        tools: ToolContext | None = None,
        **more: Any,
    ) -> AgentResult:
        model = script if isinstance(script, ScriptedModel) else ScriptedModel(script)
        return await run_agent(
            find_agent(spec) if isinstance(spec, str) else spec,
            AgentTask(task),
            model=model,
            journal=journal or MemoryJournal(),
            tools=tools or ToolContext(workspace=workspace),
            limits=limits,
            **more,
        )

    return run_script

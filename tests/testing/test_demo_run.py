"""The demo without a sandbox: real loop, real tools, real provider clients over HTTP, a plain folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from shopfloor.engine.agents.loop import run_agent
from shopfloor.engine.agents.outcome import AgentResult, Ending
from shopfloor.engine.agents.registry import find_agent
from shopfloor.engine.agents.task import AgentTask
from shopfloor.engine.tools.context import ToolContext
from shopfloor.testing import sample_project
from shopfloor.testing.folder_workspace import FolderWorkspace
from shopfloor.testing.memory_journal import JournalStore, Killed, MemoryJournal
from shopfloor.testing.mock_provider import Server, load, serve

KEY = "sk-mock-not-a-secret"
MOST_KILLS = 40


def model_at(server: Server, dialect: str) -> Any:
    if dialect == "openai":
        return OpenAIChatModel("mock-coder", provider=OpenAIProvider(base_url=server.openai_url, api_key=KEY))
    return AnthropicModel("claude-mock", provider=AnthropicProvider(base_url=server.url, api_key=KEY))


async def demo(server: Server, dialect: str, folder: Path, journal: MemoryJournal) -> AgentResult:
    return await run_agent(
        find_agent("coding"),
        AgentTask(sample_project.TASK, checks=(sample_project.CHECK,)),
        model=model_at(server, dialect),
        journal=journal,
        tools=ToolContext(workspace=FolderWorkspace(folder), checks=(sample_project.CHECK,)),
    )


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_the_demo_repairs_the_sample_project(tmp_path, dialect):
    sample_project.create(tmp_path / "repo")
    async with serve(load("demo").at_full_speed()) as server:
        result = await demo(server, dialect, tmp_path / "repo", MemoryJournal())
        bill = server.bill()
    assert (result.ending, result.turns) == (Ending.FINISHED, 7)
    assert "round(" not in (tmp_path / "repo" / sample_project.FIXED_FILE).read_text()
    assert [(entry.turn, entry.place) for entry in bill.billed] == [(n, f"repair[{n}]") for n in range(7)]
    assert 20_000_000 < bill.cost_nanos < 90_000_000  # two to nine cents


async def test_killed_again_and_again_nothing_finished_is_paid_again(tmp_path):
    sample_project.create(tmp_path / "repo")
    store, result, kills = JournalStore(), None, 0
    async with serve(load("demo").at_full_speed()) as server:
        while result is None and kills < MOST_KILLS:
            journal = MemoryJournal(store, kill_at=2 + kills % 6)  # 2 alone would never get past calls side by side
            try:
                result = await demo(server, "openai", tmp_path / "repo", journal)
            except Killed:
                kills += 1
        bill = server.bill()
    assert result is not None
    assert result.ending is Ending.FINISHED
    assert [entry.turn for entry in bill.billed] == list(range(7))
    assert bill.paid_again() == []
    assert kills >= 5

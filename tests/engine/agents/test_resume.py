from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart

from shopfloor.engine.agents.loop import run_agent
from shopfloor.engine.agents.outcome import AgentResult, Ending
from shopfloor.engine.agents.registry import find_agent
from shopfloor.engine.agents.task import AgentLimits, AgentTask
from shopfloor.engine.providers.port import ContextTooLong, ProviderOverloaded
from shopfloor.engine.tools.context import ToolContext
from shopfloor.testing.folder_workspace import FolderWorkspace
from shopfloor.testing.memory_journal import Call, JournalStore, Killed, MemoryJournal
from shopfloor.testing.scripted_model import ScriptedModel, call, finish, reply, say

SCRIPT = [
    reply(
        call("update_plan", {"steps": [{"step": "look", "status": "in_progress"}]}), call("read_file", {"path": "a.py"})
    ),
    reply(
        call("read_file", {"path": "b.py"}),
        call("edit_file", {"path": "a.py", "old": "= 1", "new": "= 2"}),
        call("shell", {"command": "echo run >> log; cat a.py"}),
        call("list_files", {}),
    ),
    say("I think I am done."),
    reply(call("nothing_of_the_kind", {"a": 1}), call("shell", '{"command": ')),
    reply(call("edit_file", {"path": "a.py", "old": "= 2", "new": "= 3"}, id="same-id"), input_tokens=3_200),
    ContextTooLong("at most 4,000 tokens"),
    reply(call("delegate", {"agent": "review", "task": "Look at a.py"})),
    reply(call("read_file", {"path": "a.py"})),  # the reviewer's
    finish(verdict="approve", summary="fine"),
    reply(call("shell", {"command": "echo run >> log"}, id="same-id")),  # an id used before
    finish(summary=7),  # does not fit
    finish(summary="done", changes=[{"path": "a.py", "what": "counts to 3"}]),
]


class World:
    """A workspace with snapshots, as the real journal keeps them: a call that was under way leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.saved = folder, folder.with_name("saved")
        self.workspace = FolderWorkspace(folder)
        (folder / "a.py").write_text("x = 1\n")
        (folder / "b.py").write_text("import a\n")
        (folder / "AGENTS.md").write_text("Use tabs.\n")
        self.store = JournalStore()
        self.model = ScriptedModel(SCRIPT)

    async def snapshot(self) -> None:
        shutil.rmtree(self.saved, ignore_errors=True)
        shutil.copytree(self.folder, self.saved)

    def restore(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.saved, self.folder)

    async def run(self, kill_at: int | None = None) -> tuple[AgentResult, MemoryJournal]:
        journal = MemoryJournal(self.store, kill_at=kill_at, snapshot=self.snapshot)
        result = await run_agent(
            find_agent("coding"),
            AgentTask("Make it count to 3."),
            model=self.model,
            journal=journal,
            tools=ToolContext(workspace=self.workspace),
            limits=AgentLimits(turns=30, context_tokens=4_000),
        )
        return result, journal


async def whole_run(folder: Path) -> tuple[World, AgentResult, int]:
    world = World(folder)
    await world.snapshot()
    result, journal = await world.run()
    return world, result, journal.boundaries


async def test_a_run_without_kills_uses_every_entry_of_the_script(tmp_path: Path) -> None:
    world, result, boundaries = await whole_run(tmp_path / "work")
    assert (result.ending, world.model.asked) == (Ending.FINISHED, len(SCRIPT))
    assert result.output == {
        "summary": "done",
        "changes": [{"path": "a.py", "what": "counts to 3"}],
        "tests": [],
        "risks": [],
    }
    assert (world.folder / "log").read_text() == "run\nrun\n"
    assert result.facts["compactions"] >= 1
    assert boundaries > 40


@pytest.mark.slow
async def test_killed_at_any_boundary_a_resumed_run_ends_the_same_and_repeats_nothing(tmp_path: Path) -> None:
    _, _, boundaries = await whole_run(tmp_path / "work")
    await kill_at_each(range(1, boundaries + 1), tmp_path)


async def test_killed_at_one_in_seven_boundaries_a_resumed_run_ends_the_same(tmp_path: Path) -> None:
    _, _, boundaries = await whole_run(tmp_path / "work")
    await kill_at_each(range(2, boundaries + 1, 7), tmp_path)


async def kill_at_each(boundaries: range, folder: Path) -> None:
    reference, expected, _ = await whole_run(folder / "reference" / "work")
    for kill_at in boundaries:
        world = World(folder / str(kill_at) / "work")
        await world.snapshot()
        with pytest.raises(Killed):
            await world.run(kill_at)
        world.restore()
        result, _ = await world.run()
        assert result == expected, f"killed at boundary {kill_at}"
        assert world.store.mismatches == [], f"killed at boundary {kill_at}"
        assert Counter(world.store.finished) == Counter(reference.store.finished), f"killed at boundary {kill_at}"
        assert world.model.asked == len(SCRIPT), f"killed at boundary {kill_at}"
        assert (world.folder / "log").read_text() == "run\nrun\n", f"killed at boundary {kill_at}"
        assert (world.folder / "a.py").read_text() == "x = 3\n", f"killed at boundary {kill_at}"


async def test_killed_at_every_boundary_in_turn_it_still_ends_the_same(tmp_path: Path) -> None:
    _, expected, _ = await whole_run(tmp_path / "reference" / "work")
    world = World(tmp_path / "other" / "work")
    await world.snapshot()
    kills = 0
    while True:
        try:
            result, _ = await world.run(kill_at=3)  # each life gets one call done, of two at once
        except Killed:
            kills += 1
            world.restore()
            continue
        break
    assert result == expected
    assert kills > 20
    assert world.model.asked == len(SCRIPT)


async def test_a_provider_that_fails_leaves_a_run_that_goes_on_where_it_was(tmp_path: Path) -> None:
    world = World(tmp_path / "work")
    await world.snapshot()
    world.model.script.insert(2, ProviderOverloaded("busy", retry_after_s=3))
    with pytest.raises(ProviderOverloaded):
        await world.run()
    result, _ = await world.run()
    assert result.ending is Ending.FINISHED
    assert max(Counter(world.store.finished).values()) == 1


async def test_a_finished_run_is_replayed_without_any_call(tmp_path: Path) -> None:
    world, expected, _ = await whole_run(tmp_path / "work")
    made: list[Call] = list(world.store.made)
    result, _ = await world.run()
    assert result == expected
    assert world.store.made == made


async def test_an_edit_after_a_resume_knows_what_was_read_before_it(tmp_path: Path) -> None:
    world = World(tmp_path / "work")
    await world.snapshot()
    with pytest.raises(Killed):
        await world.run(kill_at=8)  # guidance, turn 1, plan and read are done
    await world.run()
    assert not [text for text in results_of(world.model.requests[-1]) if "read a.py first" in text]


def results_of(messages: list[ModelMessage]) -> list[str]:
    return [
        str(part.content)
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]

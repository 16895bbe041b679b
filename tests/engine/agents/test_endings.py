from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from shopfloor.engine.agents.outcome import Ending
from shopfloor.engine.agents.task import AgentLimits
from shopfloor.engine.providers.port import ContextTooLong, CostLimitReached, ProviderTimeout
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.workspace import WorkspaceLost
from shopfloor.testing.folder_workspace import FolderWorkspace
from shopfloor.testing.memory_journal import MemoryJournal
from shopfloor.testing.scripted_model import ScriptedModel, call, finish, reply, say

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class StandingClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None:
        del delay_s
        raise AssertionError("a loop that waits for nothing never sleeps")


def look(number: int) -> ModelResponse:
    return reply(call("list_files", {"depth": number % 10 + 1, "limit": number + 1}))


def prompts(model: ScriptedModel) -> list[str]:
    """What was said to the agent after the task."""
    return [
        str(part.content)
        for message in model.requests[-1]
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, UserPromptPart) and "<task>" not in str(part.content)
    ]


async def test_turns_run_out_after_a_warning(run: Any) -> None:
    model = ScriptedModel([look(n) for n in range(30)])
    result = await run(model, limits=AgentLimits(turns=10))
    assert (result.ending, result.turns, model.asked) == (Ending.TURN_LIMIT, 10, 10)
    assert [text for text in prompts(model) if "Only 3 more replies" in text]


async def test_a_run_may_use_its_last_turn_to_finish(run: Any) -> None:
    assert (await run([look(1), finish(summary="x")], limits=AgentLimits(turns=2))).ending is Ending.FINISHED


async def test_money_runs_out(run: Any) -> None:
    result = await run([look(1), CostLimitReached("the job's $1.00 are spent")])
    assert (result.ending, result.detail, result.tool_calls) == (Ending.COST_LIMIT, "the job's $1.00 are spent", 1)


async def test_time_runs_out_between_two_calls(run: Any) -> None:
    clock = StandingClock()

    def late(messages: object) -> ModelResponse:
        clock.time += timedelta(hours=1)
        return look(2)

    model = ScriptedModel([look(1), late, look(3)])
    result = await run(model, clock=clock, limits=AgentLimits(deadline=NOW + timedelta(minutes=1)))
    assert (result.ending, model.asked) == (Ending.TIME_LIMIT, 2)


async def test_time_runs_out_in_the_middle_of_a_command(run: Any) -> None:
    limits = AgentLimits(deadline=NOW + timedelta(seconds=0.3))
    journal = MemoryJournal()
    script = [reply(call("shell", {"command": "sleep 30"})), finish(summary="x")]
    result = await asyncio.wait_for(run(script, clock=StandingClock(), limits=limits, journal=journal), timeout=20)
    assert result.ending is Ending.TIME_LIMIT
    assert "shell" not in [made.tool for made in journal.store.finished]


async def test_after_the_deadline_recorded_turns_are_still_read(run: Any) -> None:
    journal = MemoryJournal()
    script = ScriptedModel([look(1), finish(summary="x")])
    await run(script, journal=journal)
    late = AgentLimits(deadline=NOW - timedelta(hours=1))
    result = await run(script, journal=MemoryJournal(journal.store), clock=StandingClock(), limits=late)
    assert (result.ending, script.asked) == (Ending.FINISHED, 2)


async def test_words_are_reminded_once_and_then_end_the_run(run: Any) -> None:
    model = ScriptedModel([say("All done!"), say("Really, I am done.")])
    result = await run(model)
    assert result.ending is Ending.REFUSED
    assert "Really, I am done." in result.detail
    assert [text for text in prompts(model) if "call `finish`" in text]


async def test_words_followed_by_work_are_forgiven(run: Any) -> None:
    result = await run([say("Let me look."), look(1), say("Done."), finish(summary="x")])
    assert result.ending is Ending.FINISHED


async def test_a_filtered_reply_is_a_refusal(run: Any) -> None:
    filtered = ModelResponse(parts=[TextPart("I can't help with that.")], finish_reason="content_filter")
    result = await run([filtered])
    assert (result.ending, "I can't help with that." in result.detail) == (Ending.REFUSED, True)


async def test_empty_replies_end_the_run(run: Any) -> None:
    result = await run([ModelResponse(parts=[])])
    assert result.ending is Ending.REFUSED


async def test_the_same_call_again_and_again_is_nudged_then_stopped(run: Any) -> None:
    model = ScriptedModel([reply(call("list_files", {}))])
    journal = MemoryJournal()
    result = await run(model, journal=journal)
    assert result.ending is Ending.STUCK
    assert "list_files 4 times in a row" in result.detail
    assert model.asked == 8  # four, a nudge, four
    assert [kind for kind, _ in journal.store.notes] == ["agent.nudged"]
    assert [text for text in prompts(model) if "going in circles" in text]


@pytest.mark.parametrize(
    "mistake",
    [call("no_such_tool", {"a": 1}), call("shell", '{"command": "'), call("shell", {"cmd": "ls"}), call("finish", {})],
    ids=["unknown tool", "cut-off arguments", "wrong arguments", "wrong output"],
)
async def test_mistakes_are_told_and_count_towards_stuck(mistake: Any, run: Any) -> None:
    model = ScriptedModel([reply(mistake)])
    result = await run(model)
    assert (result.ending, model.asked) == (Ending.STUCK, 6)
    assert f"{mistake.tool_name} 3 times in a row and got the same error" in result.detail


async def test_a_mistake_is_answered_so_that_the_next_reply_can_be_right(run: Any) -> None:
    model = ScriptedModel([reply(call("shel", {}), call("grep", '["x"]')), finish(summary="x")])
    assert (await run(model)).ending is Ending.FINISHED
    answers = [str(getattr(part, "content", "")) for part in model.requests[-1][-1].parts]
    assert "Unknown tool name: 'shel'" in answers[0]
    assert "'shell'" in answers[0]
    assert "The arguments of grep are not a JSON object" in answers[1]


@pytest.mark.parametrize("error", [ProviderTimeout("no answer"), WorkspaceLost("gone")])
async def test_failures_of_the_platform_rise_to_the_caller(error: Exception, run: Any) -> None:
    with pytest.raises(type(error)):
        await run([look(1), error])


async def test_a_sandbox_that_dies_under_a_tool_rises_to_the_caller(run: Any, workspace: FolderWorkspace) -> None:
    def lose(messages: object) -> ModelResponse:
        workspace.lose()
        return reply(call("list_files", {}), call("read_file", {"path": "a"}))

    with pytest.raises(WorkspaceLost):
        await run([look(1), lose])


async def test_cancelling_is_not_swallowed(run: Any, workspace: FolderWorkspace) -> None:
    script = [reply(call("shell", {"command": "touch began; sleep 60"}))]
    task = asyncio.create_task(run(script, tools=ToolContext(workspace=workspace)))
    for _ in range(400):
        if [entry for entry in (await workspace.list_files()).entries if entry.path == "began"]:
            break
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, timeout=10)


async def test_a_conversation_that_no_shortening_helps_says_so(run: Any) -> None:
    with pytest.raises(ContextTooLong, match="a larger window is needed"):
        await run([look(1), *(ContextTooLong("at most 10 tokens") for _ in range(5))])


async def test_a_task_of_a_megabyte_is_bounded_and_said_to_be(run: Any) -> None:
    model = ScriptedModel([finish(summary="x")])
    assert (await run(model, task="é漢🙂" * 350_000)).ending is Ending.FINISHED
    told = str(model.requests[0][0].parts[0].content)  # pyright: ignore[reportAttributeAccessIssue]
    assert len(told) < 210_000
    assert "the task was longer than an agent is given" in told

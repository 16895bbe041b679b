from __future__ import annotations

from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ToolCallPart, ToolReturnPart

from shopfloor.engine.agents.compaction import SUMMARY_MARK
from shopfloor.engine.agents.outcome import Ending
from shopfloor.engine.agents.task import AgentLimits
from shopfloor.engine.providers.port import ContextTooLong
from shopfloor.testing.memory_journal import MemoryJournal
from shopfloor.testing.scripted_model import ScriptedModel, call, finish, reply


def shout(number: int, chars: int) -> Any:
    return reply(call("shell", {"command": f"head -c {chars} /dev/zero | tr '\\0' x; echo {number}"}))


def pairs(messages: list[ModelMessage]) -> tuple[set[str], set[str]]:
    """Ids of calls, and of results."""
    parts = [part for message in messages for part in message.parts]
    calls = {part.tool_call_id for part in parts if isinstance(part, ToolCallPart)}
    return calls, {part.tool_call_id for part in parts if isinstance(part, ToolReturnPart)}


def texts(messages: list[ModelMessage]) -> str:
    return "\n".join(str(getattr(part, "content", "")) for message in messages for part in message.parts)


async def test_old_results_are_cleared_at_seventy_per_cent_of_the_window(run: Any) -> None:
    model = ScriptedModel([*(shout(n, 4_000) for n in range(11)), finish(summary="x")], counts=True)
    result = await run(model, limits=AgentLimits(context_tokens=14_000))
    assert (result.ending, result.facts["compactions"]) == (Ending.FINISHED, 1)
    before, after = texts(model.requests[9]), texts(model.requests[10])
    assert "cleared to save room" not in before
    assert after.count("cleared to save room: 4,0") == 6  # ten, of which the newest four fit their share
    calls, results = pairs(model.requests[-1])
    assert calls == results
    assert len(calls) == 11


def write(number: int, chars: int) -> Any:
    return reply(call("write_file", {"path": f"f{number}", "content": "x" * chars}))


async def test_what_clearing_does_not_fit_is_summarised_and_the_task_stays(run: Any) -> None:
    script = [*(write(n, 4_000) for n in range(9)), finish(summary="x")]
    model = ScriptedModel(script, summary="Goal: write. Done: some files.", counts=True)
    journal = MemoryJournal()
    result = await run(model, limits=AgentLimits(context_tokens=9_500), task="Write!", journal=journal)
    assert result.ending is Ending.FINISHED
    last = model.requests[-1]
    assert "Write!" in texts(last[:1])
    assert SUMMARY_MARK in texts(last[:1])
    assert "Done: some files." in texts(last[:1])
    assert pairs(last)[0] == pairs(last)[1]
    assert [call.scope for call in journal.store.finished if call.scope] == ["compaction-1"]
    assert [data["how"] for kind, data in journal.store.notes if kind == "agent.compacted"] == ["summarised"]


async def test_a_second_summary_carries_on_the_first_and_replaces_it(run: Any) -> None:
    script = [*(write(n, 6_000) for n in range(24)), finish(summary="x")]
    model = ScriptedModel(script, summary="Notes, one set of them.", counts=True)
    result = await run(model, limits=AgentLimits(context_tokens=9_500))
    assert 1 < result.facts["compactions"] < 12
    assert texts(model.requests[-1]).count(SUMMARY_MARK) == 1
    asked = [texts(request) for request in model.requests if "<log>" in texts(request)]
    assert "Notes, one set of them." in asked[1]


async def test_newest_results_that_fill_the_window_alone_are_cleared_too(run: Any) -> None:
    model = ScriptedModel([*(shout(n, 16_000) for n in range(9)), finish(summary="x")], counts=True)
    assert (await run(model, limits=AgentLimits(context_tokens=16_000))).ending is Ending.FINISHED
    assert max(len(texts(request)) for request in model.requests) < 4 * 16_000


async def test_compactions_have_a_limit(run: Any) -> None:
    script = [*(shout(n, 6_000) for n in range(20)), finish(summary="x")]
    model = ScriptedModel(script, counts=True)
    result = await run(model, limits=AgentLimits(context_tokens=9_500, compactions=2))
    assert (result.ending, result.facts["compactions"]) == (Ending.FINISHED, 2)


async def test_when_the_provider_says_too_long_the_conversation_is_shortened_and_goes_on(run: Any) -> None:
    script = [*(shout(n, 3_000) for n in range(5)), ContextTooLong("at most 2,000 tokens"), finish(summary="x")]
    model = ScriptedModel(script)
    result = await run(model)
    assert (result.ending, result.facts["compactions"]) == (Ending.FINISHED, 1)
    assert len(texts(model.requests[-1])) < len(texts(model.requests[-3])) / 2
    assert isinstance(model.requests[-1][-1], ModelRequest)
    assert "was shortened" in texts(model.requests[-1][-1:])


async def test_when_no_model_can_summarise_the_calls_themselves_are_listed(run: Any) -> None:
    class NoSummary(ScriptedModel):
        async def request(self, messages: Any, model_settings: Any, model_request_parameters: Any) -> Any:
            if not model_request_parameters.output_tools:
                raise ContextTooLong("at most 1 token")
            return await super().request(messages, model_settings, model_request_parameters)

    script = [*(shout(n, 3_000) for n in range(5)), ContextTooLong("at most 2,000 tokens"), finish(summary="x")]
    model = NoSummary(script)
    assert (await run(model)).ending is Ending.FINISHED
    assert "Calls made so far" in texts(model.requests[-1])

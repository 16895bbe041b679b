from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart

from shopfloor.engine.agents.outcome import Ending
from shopfloor.engine.agents.spec import AgentSpec, parse_spec
from shopfloor.engine.agents.task import AgentLimits
from shopfloor.engine.providers.port import ContextTooLong, CostLimitReached
from shopfloor.testing.folder_workspace import FolderWorkspace
from shopfloor.testing.memory_journal import MemoryJournal
from shopfloor.testing.scripted_model import ScriptedModel, call, finish, reply

REVIEWED = finish(verdict="approve", summary="I looked.")


def boss(tools: str = "delegate, read_file, list_files, grep, git_diff", delegates: str = "review") -> AgentSpec:
    text = f"name: boss\ndescription: d\ninstructions: i\ntools: [{tools}]\ndelegates: [{delegates}]"
    return parse_spec(text, source="boss")


def ask(agent: str = "review", **more: Any) -> Any:
    return call("delegate", {"agent": agent, "task": "Look at it.", **more})


def answers(messages: list[ModelMessage]) -> list[str]:
    last = messages[-1]
    assert isinstance(last, ModelRequest)
    return [str(part.content) for part in last.parts if isinstance(part, ToolReturnPart)]


async def test_a_delegated_agent_has_its_own_conversation_and_journal(run: Any) -> None:
    journal = MemoryJournal()
    model = ScriptedModel([reply(ask()), reply(call("list_files", {})), REVIEWED, finish(summary="x")])
    result = await run(model, spec=boss(), journal=journal, task="The whole.")
    assert result.ending is Ending.FINISHED
    assert '"verdict": "approve"' in answers(model.requests[-1])[0]
    assert "The whole." not in str(model.requests[1])
    scopes = {(made.scope, made.tool) for made in journal.store.finished if made.tool in {"delegate", "list_files"}}
    assert scopes == {("", "delegate"), (ask().tool_call_id, "list_files")}


async def test_a_delegated_agent_gets_no_tool_that_its_principal_lacks(run: Any) -> None:
    model = ScriptedModel([reply(ask("coding")), finish(summary="done"), finish(summary="x")])
    await run(model, spec=boss(delegates="coding"))
    names = [{tool.name for tool in info.function_tools} for info in model.infos]
    assert names[1] == {"read_file", "list_files", "grep", "git_diff", "delegate"}
    await run(control := ScriptedModel(model.script), spec=boss("delegate, read_file, shell", "coding"))
    assert "shell" in {tool.name for tool in control.infos[1].function_tools}


async def test_tools_asked_for_narrow_it_further_and_strange_ones_are_refused(run: Any) -> None:
    model = ScriptedModel([reply(ask(tools=["shell"])), reply(ask(tools=["grep"])), REVIEWED, finish(summary="x")])
    await run(model, spec=boss())
    assert "review has no tool shell; it has read_file" in answers(model.requests[1])[0]
    assert {tool.name for tool in model.infos[2].function_tools} == {"grep"}


async def test_the_policy_of_the_principal_holds_for_the_delegated_agent(run: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("keep.txt", b"k")
    spec = parse_spec(
        "name: boss\ndescription: d\ninstructions: i\ntools: [delegate, write_file]\ndelegates: [coding]\n"
        "policy: {writable: [docs/**]}",
        source="boss",
    )
    script = [
        reply(ask("coding")),
        reply(
            call("write_file", {"path": "a.py", "content": "x"}),
            call("write_file", {"path": "docs/a.md", "content": "x"}),
        ),
        finish(summary="done"),
        finish(summary="x"),
    ]
    model = ScriptedModel(script)
    await run(model, spec=spec)
    refused, written = answers(model.requests[2])
    assert "a.py may not be written; allowed: docs/**" in refused
    assert "Created docs/a.md" in written


async def test_depth_and_number_are_bounded(run: Any) -> None:
    deep = ScriptedModel([reply(ask("coding")), reply(ask("review")), finish(summary="a"), finish(summary="b")])
    await run(deep, spec=boss(delegates="coding"), limits=AgentLimits(depth=1))
    assert "delegate" not in {tool.name for tool in deep.infos[1].function_tools}
    wide = ScriptedModel(
        [reply(ask()), REVIEWED, reply(call("delegate", {"agent": "review", "task": "Again."})), finish(summary="x")]
    )
    await run(wide, spec=boss(), limits=AgentLimits(delegations=1))
    assert "has delegated 1 times, which is its limit" in answers(wide.requests[-1])[0]


async def test_an_agent_that_is_not_among_the_delegates_is_refused(run: Any) -> None:
    model = ScriptedModel([reply(ask("deployment")), finish(summary="x")])
    await run(model, spec=boss())
    assert "'deployment' is not one of the agents this one may delegate to: review" in answers(model.requests[-1])[0]


async def test_agents_of_ones_own_can_be_delegated_to_and_missing_ones_are_told(run: Any) -> None:
    helper = parse_spec("name: mine\ndescription: d\ninstructions: i\ntools: [grep]", source="mine")
    spec = boss(delegates="mine, gone")
    model = ScriptedModel([reply(ask("mine"), ask("gone")), finish(summary="looked"), finish(summary="x")])
    result = await run(model, spec=spec, agents={"mine": helper})
    assert result.ending is Ending.FINISHED
    found, missing = answers(model.requests[-1])
    assert '"summary": "looked"' in found
    assert "there is no agent 'gone' here" in missing


async def test_a_conversation_too_long_for_a_delegate_is_its_principals_to_handle(run: Any) -> None:
    script = [reply(ask()), *(ContextTooLong("at most 10 tokens") for _ in range(3)), finish(summary="x")]
    model = ScriptedModel(script)
    assert (await run(model, spec=boss())).ending is Ending.FINISHED
    assert "work is too long for its model" in answers(model.requests[-1])[0]


async def test_a_delegated_agent_that_does_not_finish_is_an_error_for_its_principal(run: Any) -> None:
    model = ScriptedModel([reply(ask()), reply(call("list_files", {})), finish(verdict="approve", summary="late")])
    limits = AgentLimits(turns=3)

    def too_many(messages: list[ModelMessage]) -> Any:
        return reply(call("list_files", {"limit": len(messages)}))

    model.script = [reply(ask()), too_many, too_many, too_many, finish(summary="x")]
    result = await run(model, spec=boss(), limits=limits)
    assert result.ending is Ending.FINISHED
    assert "The review agent did not finish (turn-limit)" in answers(model.requests[-1])[0]


async def test_the_purse_is_shared(run: Any) -> None:
    script = [reply(ask()), CostLimitReached("spent"), CostLimitReached("spent")]
    result = await run(script, spec=boss())
    assert result.ending is Ending.COST_LIMIT


async def test_readers_work_side_by_side_and_writers_one_after_the_other(run: Any) -> None:
    for agent, together in (("review", 2), ("coding", 1)):
        gauge = Gauge([reply(ask(agent, task="One."), ask(agent, task="Two.")), finish(summary="x")])
        spec = boss("delegate, read_file, write_file", agent)
        result = await run(gauge, spec=spec, model_for=lambda _, gauge=gauge: gauge.worker)
        assert (result.ending, gauge.worker.most) == (Ending.FINISHED, together), agent


class Gauge(ScriptedModel):
    """The principal's model, with one for its delegates that counts how many of them run at once."""

    def __init__(self, script: list[Any]) -> None:
        super().__init__(script)
        self.worker = Counting()


class Counting(ScriptedModel):
    def __init__(self) -> None:
        super().__init__([finish(summary="done")])
        self.now = self.most = 0

    async def request(self, messages: Any, model_settings: Any, model_request_parameters: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        with contextlib.suppress(TimeoutError):  # time for another one to come, if it may
            async with asyncio.timeout(1.0):
                while self.now < 2 and self.most < 2:  # noqa: ASYNC110 - nothing to wait for but the other one
                    await asyncio.sleep(0.001)
        reviewer = "verdict" in str(model_request_parameters.output_tools)
        self.script = [REVIEWED if reviewer else finish(summary="done")]
        answer = await super().request(messages, model_settings, model_request_parameters)
        self.now -= 1
        return answer

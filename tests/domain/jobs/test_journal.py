"""The journal: what is recorded is not done again, what was in flight is, and watchers see it as it happens."""

from __future__ import annotations

import asyncio
from typing import Any

from shopfloor.engine.agents.journal import Json


class Tool:
    """Counts how often it ran."""

    def __init__(self, tree: Any = None, result: Json | None = None) -> None:
        self.ran = 0
        self._tree = tree
        self._result: Json = result or {"out": "done"}

    async def __call__(self) -> Json:
        self.ran += 1
        if self._tree is not None:
            self._tree.changed = True
        return self._result


async def test_a_recorded_result_comes_back_on_another_worker_without_running(make_job, claim, resume, journal_of):
    lease = await claim((await make_job()).id)
    first, second = Tool(), Tool(result={"out": "other"})
    await (await journal_of(lease)).tool_result(1, "c1", "shell", {"cmd": "ls"}, "none", first)
    journal = await journal_of(await resume(lease.job_id))
    assert await journal.tool_result(1, "c1", "shell", {"cmd": "ls"}, "none", second) == {"out": "done"}
    assert (first.ran, second.ran) == (1, 0)


async def test_a_call_in_flight_at_the_kill_is_unknown_then_made_again(
    make_job, claim, resume, journal_of, steps_of, lose
):
    lease = await claim((await make_job()).id)
    journal = await journal_of(lease)
    await journal._intend(1, "tool", "c1", "shell", {}, "tree", lines=[("tool.started", {})])
    await lose(lease.job_id)
    assert [(step.state, step.attempt) for step in await steps_of(lease.job_id)] == [("unknown", 1)]
    again = Tool()
    await (await journal_of(await claim(lease.job_id, "w2"))).tool_result(1, "c1", "shell", {}, "tree", again)
    assert again.ran == 1
    assert [(step.state, step.attempt) for step in await steps_of(lease.job_id)] == [("done", 2)]


async def test_only_a_call_that_changed_the_tree_carries_a_snapshot(make_job, claim, journal_of, tree, steps_of):
    journal = await journal_of(await claim((await make_job()).id))
    await journal.tool_result(1, "wrote", "write_file", {}, "tree", Tool(tree))
    await journal.tool_result(1, "looked", "shell", {}, "tree", Tool())
    await journal.tool_result(1, "read", "read_file", {}, "none", Tool(tree))
    steps = await steps_of(journal._lease.job_id)
    assert {step.key: step.snapshot_sha for step in steps} == {"wrote": "commit-1", "looked": None, "read": None}


async def test_a_step_is_not_done_when_its_snapshot_cannot_be_stored(make_job, claim, journal_of, tree, steps_of):
    class Full(OSError):
        pass

    async def refuse() -> None:
        raise Full

    journal = await journal_of(await claim((await make_job()).id))
    tree.take = refuse
    done = await asyncio.gather(journal.tool_result(1, "c", "shell", {}, "tree", Tool()), return_exceptions=True)
    assert isinstance(done[0], Full)
    assert [step.state for step in await steps_of(journal._lease.job_id)] == ["intended"]


async def test_output_that_postgresql_cannot_store_is_recorded_all_the_same(make_job, claim, resume, journal_of):
    lease = await claim((await make_job()).id)
    binary = Tool(result={"out": "\x7fELF\x00\x00 \udcff"})
    await (await journal_of(lease)).tool_result(1, "c1", "shell", {"cmd": "cat a\x00"}, "none", binary)
    journal = await journal_of(await resume(lease.job_id))
    replaced = "\x7fELF\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"
    assert await journal.tool_result(1, "c1", "shell", {}, "none", binary) == {"out": replaced}
    assert binary.ran == 1


async def test_watchers_see_replies_calls_and_the_agent_they_belong_to(make_job, claim, journal_of, events_of):
    journal = await journal_of(await claim((await make_job()).id))

    async def reply() -> Json:
        call = {"part_kind": "tool-call", "tool_call_id": "c1", "tool_name": "shell"}
        return {"model_name": "small", "parts": [{"part_kind": "text", "content": "Looking"}, call]}

    await journal.model_reply(1, {}, reply)
    await journal.child("c9").tool_result(1, "c1", "shell", {"cmd": "ls"}, "none", Tool())
    await journal.child("c9").child("c8").note("plan.updated", {"steps": 2})
    told = [(event.kind, event.data) for event in (await events_of(journal._lease.job_id))[2:]]
    where = {"turn": 1, "scope": "c9", "call": "c1", "tool": "shell"}
    calls = [{"call": "c1", "tool": "shell"}]
    assert told == [
        (
            "model.replied",
            {"turn": 1, "model": "small", "text": "Looking", "calls": calls, "cost_nanos": 0, "usage": {}},
        ),
        ("tool.started", {**where, "arguments": {"cmd": "ls"}}),
        ("tool.finished", {**where, "result": {"out": "done"}}),
        ("plan.updated", {"scope": "c9/c8", "steps": 2}),
    ]

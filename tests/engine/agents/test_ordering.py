from __future__ import annotations

import asyncio
from typing import Any

from shopfloor.engine.agents.journal import Effects
from shopfloor.engine.agents.ordering import CallOrder
from shopfloor.testing.folder_workspace import FolderWorkspace
from shopfloor.testing.memory_journal import MemoryJournal
from shopfloor.testing.scripted_model import ScriptedModel, call, finish, reply


async def test_calls_with_effects_run_one_at_a_time_in_the_order_asked() -> None:
    order, running, log = CallOrder(), 0, list[int]()

    async def write(number: int) -> None:
        nonlocal running
        async with order.turn("tree"):
            running += 1
            assert running == 1
            for _ in range(10 - number):
                await asyncio.sleep(0)
            log.append(number)
            running -= 1

    await asyncio.gather(*(write(number) for number in range(10)))
    assert log == list(range(10))


async def test_calls_without_effects_run_side_by_side_even_while_one_writes() -> None:
    order, gate = CallOrder(), asyncio.Barrier(5)

    async def at_once(effects: Effects) -> None:
        async with order.turn(effects):
            await asyncio.wait_for(gate.wait(), timeout=5)

    await asyncio.gather(at_once("tree"), *(at_once("none") for _ in range(4)))


async def test_a_write_that_fails_or_is_cancelled_frees_the_next() -> None:
    order = CallOrder()

    async def never() -> None:
        async with order.turn("tree"):
            await asyncio.Event().wait()

    task = asyncio.create_task(never())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5), order.turn("tree"):
        pass


async def test_in_one_reply_reads_see_the_writes_before_them_and_not_those_after(
    run: Any, workspace: FolderWorkspace
) -> None:
    await workspace.write_file("a", b"0\n")
    script = [
        reply(
            call("read_file", {"path": "a"}, id="1"),
            call("shell", {"command": "sleep 0.1; echo 1 >> a"}, id="2"),
            call("read_file", {"path": "a"}, id="3"),
            call("shell", {"command": "echo 2 >> a"}, id="4"),
            call("edit_file", {"path": "a", "old": "1", "new": "one"}, id="5"),
            call("read_file", {"path": "a"}, id="6"),
        ),
        finish(summary="x"),
    ]
    model, journal = ScriptedModel(script), MemoryJournal()
    await run(model, journal=journal)
    results = [str(getattr(part, "content", "")).split() for part in model.requests[-1][-1].parts]
    assert (results[0], results[2]) == (["1", "0"], ["1", "0", "2", "1"])
    assert "changed since it was read" in " ".join(results[4])  # the shell wrote it: reading again is asked for
    assert results[5] == ["1", "0", "2", "1", "3", "2"]
    assert [made.key for made in journal.store.finished if made.turn == 1 and made.tool] == list("123456")


async def test_reads_of_one_reply_run_side_by_side(run: Any, workspace: FolderWorkspace) -> None:
    gate = asyncio.Barrier(3)

    class Meeting(MemoryJournal):
        async def tool_result(self, turn: int, *call: Any) -> Any:
            if turn == 1:
                await asyncio.wait_for(gate.wait(), timeout=10)
            return await super().tool_result(turn, *call)

    await workspace.write_file("a", b"0\n")
    reads = [
        call("read_file", {"path": "a"}, id="1"),
        call("grep", {"pattern": "0"}, id="2"),
        call("list_files", {}, id="3"),
    ]
    result = await run([reply(*reads), finish(summary="x")], journal=Meeting())
    assert result.tool_calls == 3

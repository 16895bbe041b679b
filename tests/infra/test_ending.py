"""A background task that is ended is over, also when it lost its first cancellation."""

from __future__ import annotations

import asyncio

from shopfloor.infra.ending import end


async def test_a_task_that_loses_its_first_cancellation_is_cancelled_again():
    lost = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()  # what `wait_for` does when its wait ends in the same moment
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end(task)
    assert lost.is_set()
    assert task.cancelled()


async def test_tasks_that_failed_or_ended_are_let_be():
    async def fail() -> None:
        raise ValueError("seen")

    async def nothing() -> None:
        return

    tasks = [asyncio.create_task(fail()), asyncio.create_task(nothing())]
    await asyncio.wait(tasks)
    await end(*tasks)
    assert [task.cancelled() for task in tasks] == [False, False]
    await end()

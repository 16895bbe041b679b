"""A coroutine's first step without a task, and the rest in one."""

import asyncio

import pytest

from shopfloor.infra.first_step import first_step


async def test_what_does_not_wait_is_done_at_once():
    done = []

    async def write():
        done.append("written")

    assert first_step(write()) is None
    assert done == ["written"]


async def test_what_waits_goes_on_in_the_task_that_awaits_the_rest():
    gate, done = asyncio.Event(), []

    async def write():
        done.append("begun")
        await gate.wait()
        await asyncio.sleep(0)
        done.append("written")

    rest = first_step(write())
    finishing = asyncio.create_task(asyncio.wait_for(rest, 1))
    await asyncio.sleep(0.01)
    assert done == ["begun"]
    gate.set()
    await finishing
    assert done == ["begun", "written"]


async def test_a_wait_that_ends_before_the_rest_is_awaited_is_no_matter():
    gate = asyncio.Event()
    rest = first_step(gate.wait())
    gate.set()
    await rest


async def test_errors_come_out_where_they_happen():
    gate = asyncio.Event()

    async def fail_at_once():
        raise ConnectionError("now")

    async def fail_later():
        await gate.wait()
        raise ConnectionError("later")

    with pytest.raises(ConnectionError, match="now"):
        first_step(fail_at_once())
    rest = first_step(fail_later())
    gate.set()
    with pytest.raises(ConnectionError, match="later"):
        await rest


async def test_a_cancelled_task_cancels_the_coroutine_too():
    seen = []

    async def write():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    rest = first_step(write())

    async def finish():
        await rest

    task = asyncio.create_task(finish())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_a_rest_given_up_is_closed():
    seen = []

    async def write():
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("closed")

    first_step(write()).close()
    assert seen == ["closed"]

"""The stream of a job: no gap and no change of order, for writers at once and for a reader beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.events import Once, emit
from shopfloor.infra.tx import Store, begin


async def test_a_polling_reader_beside_20_writers_sees_every_event_once_in_order(
    make_job, store: Store, owner: Principal
):
    job = await make_job()
    writing = True

    async def write(writer: int) -> None:
        for number in range(15):
            async with begin(store, owner) as tx:
                lines = [("note", {"writer": writer, "number": number, "part": part}) for part in range(writer % 3 + 1)]
                await emit(tx, job.id, *lines)

    async def read() -> list[tuple[int, dict[str, Any]]]:
        seen: list[tuple[int, dict[str, Any]]] = []
        while True:
            last_round = not writing
            async with begin(store, owner) as tx:
                page = await jobs.events(tx, job.id, after=seen[-1][0] if seen else 1, limit=7)
            seen += [(event.seq, event.data) for event in page]
            if last_round and not page:
                return seen

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.gather(*(write(n) for n in range(20)))
    writing = False
    for seen in await asyncio.gather(*readers):
        assert [seq for seq, _ in seen] == list(range(2, len(seen) + 2))
        assert len(seen) == sum((n % 3 + 1) * 15 for n in range(20))
        for writer in range(20):
            mine = [(data["number"], data["part"]) for _, data in seen if data["writer"] == writer]
            assert mine == sorted(mine)


async def test_events_of_a_transaction_that_fails_leave_no_gap(make_job, store: Store, owner: Principal, events_of):
    job = await make_job()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the failure comes after the write
        async with begin(store, owner) as tx:
            await emit(tx, job.id, ("lost", {}), ("lost", {}))
            _ = 1 / 0
    async with begin(store, owner) as tx:
        assert await emit(tx, job.id, ("kept", {})) == 2
    assert [(event.seq, event.kind) for event in await events_of(job.id)] == [(1, "job.queued"), (2, "kept")]


async def test_what_postgresql_cannot_store_is_replaced(make_job, store: Store, owner: Principal, events_of):
    job = await make_job()
    odd = {"a\x00": ["\ud800x", "\\u0000 stays", "😀"], "n": None, "f": 1.5, "b": True}
    async with begin(store, owner) as tx:
        await emit(tx, job.id, ("odd", odd))
    assert (await events_of(job.id))[-1].data == {
        "a\N{REPLACEMENT CHARACTER}": ["\N{REPLACEMENT CHARACTER}x", "\\u0000 stays", "😀"],
        "n": None,
        "f": 1.5,
        "b": True,
    }


async def test_lines_whose_commits_answer_was_lost_are_not_added_again(
    make_job, store: Store, owner: Principal, events_of
):
    job = await make_job()
    lines = Once(("said", {"n": 1}), ("said", {"n": 2}))
    for _ in range(3):  # as `perform` does: each try in a transaction of its own
        async with begin(store, owner) as tx:
            await lines.emit(tx, job.id)
    assert [event.data for event in await events_of(job.id) if event.kind == "said"] == [{"n": 1}, {"n": 2}]


async def test_lines_of_a_try_that_was_rolled_back_are_added_by_the_next(
    make_job, store: Store, owner: Principal, events_of
):
    job, lines = await make_job(), Once(("said", {}))

    async def fail() -> None:
        async with begin(store, owner) as tx:
            await lines.emit(tx, job.id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with begin(store, owner) as tx:
        await lines.emit(tx, job.id)
    assert [event.seq for event in await events_of(job.id)] == [1, 2]

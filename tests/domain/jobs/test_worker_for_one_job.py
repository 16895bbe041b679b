"""A worker that is there for one job: it takes that one, and leaves everything else to the workers to come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

import pytest

from ledgers import ledger_of
from shopfloor.domain.jobs import lease
from shopfloor.domain.jobs.dispatch import Dispatcher
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.jobs.worker import Worker
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, begin, begin_system

SETTINGS = JobsSettings(slots=2, heartbeat_s=0.2, sweep_s=0.2)
Working = Callable[..., AbstractAsyncContextManager[asyncio.Queue[UUID]]]


@pytest.fixture
def working(store: Store) -> Working:
    """A worker whose jobs succeed at once; yields those it has run, in order."""

    @asynccontextmanager
    async def work(name: str, only: UUID | None = None) -> AsyncIterator[asyncio.Queue[UUID]]:
        ran = asyncio.Queue[UUID]()

        async def execute(held: lease.Lease, cancel: asyncio.Event) -> None:
            del cancel
            async with begin(store, held.principal) as tx:
                await lease.finish(tx, held, lease.Result(lease.State.SUCCEEDED, "finished"))
            ran.put_nowait(held.job_id)

        own = Store(store.database)  # a process of its own: its queue knows its own tasks
        dispatcher = Dispatcher(own, SETTINGS, Notifier(own.database), chance=random.Random(1), ledger=ledger_of(own))
        worker = Worker(name, own, SETTINGS, Notifier(own.database), dispatcher, execute, only=only)
        running, sweeps = asyncio.create_task(worker.run()), asyncio.create_task(dispatcher.run())
        try:
            yield ran
        finally:
            worker.stop()
            await running
            sweeps.cancel()
            await asyncio.wait({sweeps})

    return work


async def test_it_runs_its_own_job_and_the_others_wait_for_a_worker_of_theirs(make_job, admit, look, working: Working):
    before, mine, after = [await make_job() for _ in range(3)]
    assert await admit() == [before.id, mine.id, after.id], "all are on the queue"

    async with working("one", only=mine.id) as ran:
        assert await _next(ran) == mine.id
        assert (await look(mine.id)).state == "succeeded"
    assert ran.empty()
    assert [(await look(each.id)).state for each in (before, after)] == ["queued", "queued"]

    async with working("every") as ran:
        assert {await _next(ran), await _next(ran)} == {before.id, after.id}


async def test_a_line_that_nobody_works_on_does_not_keep_it_waiting(make_job, make_project, admit, working: Working):
    await make_project("narrow", most=1)
    stuck, mine = [await make_job(project="narrow") for _ in range(2)]
    assert await admit() == [stuck.id], "the project has room for one, and nobody runs it"

    async with working("one", only=mine.id) as ran:
        assert await _next(ran) == mine.id


async def test_the_bound_of_what_runs_holds_for_it_too(make_job, make_project, claim, store: Store, working: Working):
    await make_project("narrow", most=1)
    first, mine = [await make_job(project="narrow") for _ in range(2)]
    running = await claim(first.id)

    async with working("one", only=mine.id) as ran:
        await _looked_twice(store)
        assert ran.empty()
        async with begin(store, running.principal) as tx:
            await lease.finish(tx, running, lease.Result(lease.State.FAILED, "stuck"))
        assert await _next(ran) == mine.id


async def _next(ran: asyncio.Queue[UUID]) -> UUID:
    async with asyncio.timeout(20):
        return await ran.get()


async def _looked_twice(store: Store) -> None:
    """Longer than it takes between two looks, by the database's clock."""
    async with begin_system(store) as tx:
        await tx.one("select pg_sleep(1.1)")

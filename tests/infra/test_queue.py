"""The queue on a real PostgreSQL: tasks run, commit with their rows, and come back from dead workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shopfloor.base.principal import Principal
from shopfloor.infra.tx import Store, begin, begin_system


@asynccontextmanager
async def working(store: Store, name: str = "worker-1") -> AsyncIterator[None]:
    """A worker of the default queue for as long as the block lasts."""
    work = asyncio.create_task(store.services.queue.work(store.database, queues=["default"], name=name, concurrency=2))
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_a_deferred_task_is_run_by_a_worker_that_listens(store: Store, owner: Principal):
    ran: asyncio.Queue[str] = asyncio.Queue()

    async def greet(name: str) -> None:
        await ran.put(name)

    store.services.queue.task("greet", greet)
    async with working(store):
        async with begin(store, owner) as tx:
            await tx.defer("greet", name="first")
        assert await asyncio.wait_for(ran.get(), 10) == "first"
        async with begin(store, owner) as tx:
            await tx.defer("greet", name="Grüße, 世界")
        assert await asyncio.wait_for(ran.get(), 10) == "Grüße, 世界"


async def test_urgent_tasks_go_first(store: Store, owner: Principal):
    ran: list[int] = []
    done = asyncio.Event()

    async def note(number: int) -> None:
        ran.append(number)
        if len(ran) == 3:
            done.set()

    store.services.queue.task("note", note)
    async with begin(store, owner) as tx:
        for priority in (0, 5, 9):
            await tx.defer("note", priority=priority, number=priority)
    work = asyncio.create_task(store.services.queue.work(store.database, queues=["default"], name="one", concurrency=1))
    await asyncio.wait_for(done.wait(), 10)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert ran == [9, 5, 0]


async def test_a_task_that_fails_is_tried_again_as_often_as_it_may(store: Store, owner: Principal):
    tries: list[int] = []
    done = asyncio.Event()

    async def flaky() -> None:
        tries.append(1)
        if len(tries) == 2:
            done.set()
            return
        raise ConnectionError

    store.services.queue.task("flaky", flaky, attempts=3)
    async with begin(store, owner) as tx:
        await tx.defer("flaky")
    async with working(store):
        await asyncio.wait_for(done.wait(), 20)
    assert len(tries) == 2


async def test_the_task_of_a_worker_that_fell_silent_is_run_by_another(store: Store, owner: Principal):
    ran = asyncio.Event()

    async def once() -> None:
        ran.set()

    store.services.queue.task("once", once)
    async with begin(store, owner) as tx:
        await tx.defer("once")
    async with begin_system(store) as tx:  # a worker took it, and was silent for a minute
        await tx.execute(
            "with dead as (insert into procrastinate_workers (last_heartbeat) values (now() - interval '1 minute') "
            "returning id) update procrastinate_jobs set status = 'doing', worker_id = dead.id from dead"
        )
    assert await store.services.queue.rescue(store.database) == 1
    assert await store.services.queue.rescue(store.database) == 0
    async with working(store):
        await asyncio.wait_for(ran.wait(), 10)


async def test_a_rescue_leaves_the_worker_of_its_own_process_working(store: Store, owner: Principal):
    ran: asyncio.Queue[int] = asyncio.Queue()

    async def note(number: int) -> None:
        await ran.put(number)

    store.services.queue.task("note", note)
    async with working(store):
        for number in range(3):
            await store.services.queue.rescue(store.database)
            async with begin(store, owner) as tx:
                await tx.defer("note", number=number)
            assert await asyncio.wait_for(ran.get(), 10) == number


async def test_a_cancelled_worker_cancels_what_it_runs_at_once(store: Store, owner: Principal):
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    store.services.queue.task("hang", hang)
    async with begin(store, owner) as tx:
        await tx.defer("hang")
    async with working(store):
        await asyncio.wait_for(started.wait(), 10)
    assert cancelled.is_set()

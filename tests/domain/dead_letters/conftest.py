"""Tasks that fail, workers that die, and this room's routes on an application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI

from domain.jobs.conftest import admit, claim, desk, journal_of, look, lose, make_job, registered, tree  # noqa: F401
from shopfloor.domain.dead_letters import api, collect
from shopfloor.domain.jobs.submit import Desk
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, begin, begin_system


@dataclass
class Pokes:
    """A dispatcher that is only poked; a fake."""

    count: int = 0

    def poke(self) -> None:
        self.count += 1


@pytest.fixture
def app(app: FastAPI, store: Store, desk: Desk) -> FastAPI:  # noqa: F811
    app.include_router(api.router)
    state = app.state.shopfloor
    names = ("store", "sealer", "ring", "edge", "blobs", "providers", "accounts", "identity")
    more = {"desk": desk, "dispatcher": Pokes(), "notifier": Notifier(store.database)}
    app.state.shopfloor = type("State", (), {**{name: getattr(state, name) for name in names}, **more})
    return app


@pytest.fixture
def work_off(store: Store) -> Callable[[], Awaitable[None]]:
    """A worker at work until nothing is left to do; the pauses between attempts are left out."""

    async def until_done() -> None:
        work = asyncio.create_task(
            store.services.queue.work(store.database, queues=["default"], name="worker-1", concurrency=2)
        )
        try:
            async with asyncio.timeout(60):
                while True:
                    async with begin_system(store) as tx:
                        await tx.execute("update procrastinate_jobs set scheduled_at = null where status = 'todo'")
                        left = await tx.one("select 1 from procrastinate_jobs where status in ('todo', 'doing')")
                    if left is None:
                        return
                    await asyncio.sleep(0.05)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    return until_done


@pytest.fixture
def fall_silent(store: Store) -> Callable[[], Awaitable[None]]:
    """A worker takes every task there is, and dies: its last word was a minute ago."""

    async def take_and_die() -> None:
        async with begin_system(store) as tx:
            await tx.execute(
                "with dead as (insert into procrastinate_workers (last_heartbeat) values "
                "(now() - interval '1 minute') returning id) update procrastinate_jobs set status = 'doing', "
                "worker_id = dead.id from dead where status = 'todo'"
            )

    return take_and_die


@pytest.fixture
def letters(store: Store, owner: Any) -> Callable[[], Awaitable[list[Any]]]:
    """Collect, then every letter of the owner's organization, oldest first."""

    async def read() -> list[Any]:
        await collect.collect(store)
        async with begin(store, owner) as tx:
            return await tx.all("select * from dead_letters order by id")

    return read

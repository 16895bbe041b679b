"""A statement that takes too long is a database that is away: nothing of it is done, and it may be asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shopfloor.base.principal import Principal
from shopfloor.infra.database import Database, DatabaseBusy, DatabaseSettings, DatabaseUnavailable, urls_of
from shopfloor.infra.tx import Store, Tx, begin, begin_system, perform


@pytest.fixture
async def impatient(database_url: str) -> AsyncIterator[Store]:
    """Pools whose statements may take a fifth of a second."""
    settings = DatabaseSettings(url=database_url, statement_timeout_s=0.2)
    database = Database(urls_of(settings), settings)
    await database.open()
    yield Store(database)
    await database.aclose()


async def test_a_statement_over_its_limit_can_be_asked_again(impatient: Store):
    with pytest.raises(DatabaseBusy) as caught:
        async with begin_system(impatient) as tx:
            await tx.one("select pg_sleep(5)")
    assert caught.value.retryable


async def test_a_server_that_no_longer_keeps_its_own_limits_is_not_waited_for_for_ever(store: Store):
    async with begin_system(store) as tx:
        await tx.one("select pg_sleep(0.2)")  # the control: within the limit
    connections = []

    async def ask() -> None:
        async with begin_system(store) as tx:
            connections.append(tx.connection)
            tx.connection.answer_s = 0.2  # type: ignore[attr-defined]
            await tx.one("select pg_sleep(60)")

    with pytest.raises(DatabaseUnavailable):
        await ask()
    assert connections[0].closed
    async with begin_system(store) as tx:
        assert await tx.one("select 1 as n") == {"n": 1}


async def test_work_that_was_blocked_for_a_moment_goes_on_by_itself(impatient: Store, store: Store, owner: Principal):
    tries = 0

    async def rename(tx: Tx) -> int:
        nonlocal tries
        tries += 1
        return await tx.execute("update projects set name = 'Renamed'")

    async def let_go_at_the_second_try() -> int:
        async with begin(store, owner) as blocking:
            await blocking.execute("update projects set name = 'Held'")
            with pytest.raises(DatabaseBusy):
                await perform(impatient, owner, rename, patience_s=0)
        return await perform(impatient, owner, rename, patience_s=10)

    assert await let_go_at_the_second_try() == 1
    assert tries == 2

"""Questions of one round trip: the same walls between tenants, nothing can be changed, nothing stays behind."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.database import DatabaseBusy
from shopfloor.infra.tx import Store, begin, reading

STRANGER = Principal("user", new_id(), new_id(), frozenset({"*"}))
SEEN = "select current_setting('app.organization_id', true) as organization_id"


async def test_a_question_sees_its_organization_and_no_other(store: Store, owner: Principal):
    async with reading(store, owner) as tx:
        assert await tx.all("select name from projects") == [{"name": "Default"}]
        assert await tx.one("select count(*) as n from projects where name = %s", ("Default",)) == {"n": 1}
    async with reading(store, STRANGER) as tx:
        assert await tx.all("select name from projects") == []


async def test_what_a_question_could_see_ends_with_it(store: Store, owner: Principal):
    async with reading(store, owner) as tx:
        for _ in range(5):  # prepared from the third on
            assert await tx.one(SEEN) == {"organization_id": str(owner.organization_id)}
        raw = await tx.connection.execute(SEEN)
        assert await raw.fetchone() == {"organization_id": ""}
        raw = await tx.connection.execute("select name from projects")
        assert await raw.fetchall() == []
        assert tx.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_tenants_that_share_connections_never_see_each_other(store: Store, owner: Principal):
    async def ask(principal: Principal) -> int:
        async with reading(store, principal) as tx:
            return len(await tx.all("select id from projects"))

    found = await asyncio.gather(*(ask(owner if n % 2 else STRANGER) for n in range(200)))
    assert found == [n % 2 for n in range(200)]


async def test_the_server_refuses_a_change(store: Store, owner: Principal):
    async with reading(store, owner) as tx:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await tx.execute("update projects set name = 'Renamed'")
    async with begin(store, owner) as tx:  # the positive control
        assert await tx.execute("update projects set name = 'Renamed'") == 1


async def test_a_question_that_fails_spoils_no_other(store: Store, owner: Principal):
    async with reading(store, owner) as tx:
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await tx.one("select 1 / (select count(*) from projects where name = 'Nothing') as n")
            assert await tx.one("select count(*) as n from projects") == {"n": 1}


async def test_a_question_that_takes_too_long_says_so(store: Store, owner: Principal):
    async def ask() -> None:
        async with reading(store, owner) as tx:
            await tx.one("select set_config('statement_timeout', '20', false)")
            await tx.one("select pg_sleep(20)")

    with pytest.raises(DatabaseBusy):
        await ask()


async def test_a_cancelled_question_leaves_nothing_behind(store: Store, owner: Principal):
    async def ask() -> None:
        async with reading(store, owner) as tx:
            await tx.one("select pg_sleep(20)")

    asking = asyncio.create_task(ask())
    sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    async with await psycopg.AsyncConnection.connect(store.database.urls.owner or "", autocommit=True) as admin:
        while await (await admin.execute(sleeps)).fetchone() == (0,):
            pass
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await (await admin.execute(sleeps)).fetchone() == (0,)
    async with reading(store, owner) as tx:
        assert await tx.one("select count(*) as n from projects") == {"n": 1}


async def test_nothing_is_recorded_or_deferred_while_reading(store: Store, owner: Principal):
    async with reading(store, owner) as tx:
        with pytest.raises(TypeError, match="use begin"):
            await tx.record("project.changed", "project", new_id())
        with pytest.raises(TypeError, match="use begin"):
            await tx.defer("task")


async def test_a_connection_that_broke_in_the_pool_is_replaced_before_anybody_gets_it(store: Store, owner: Principal):
    async with reading(store, owner) as tx:
        first = await tx.one("select pg_backend_pid() as pid")
    async with begin(store, owner) as tx:
        assert await tx.one("select pg_backend_pid() as pid") == first  # the positive control: it is the same one
    assert first is not None
    with psycopg.connect(store.database.urls.owner or "", autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(%s, 5000)", (first["pid"],))
    async with reading(store, owner) as tx:
        second = await tx.one("select pg_backend_pid() as pid")
    assert second != first

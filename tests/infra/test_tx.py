"""The unit of work and the tenants' walls, on a real PostgreSQL."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.tx import Store, begin, begin_system, perform

STRANGER = Principal("user", new_id(), new_id(), frozenset({"*"}))


async def test_what_a_block_wrote_is_there_after_it(store: Store, owner: Principal):
    async with begin(store, owner) as tx:
        await tx.execute("update projects set name = 'Renamed'")
    async with begin(store, owner) as tx:
        assert await tx.all("select name from projects") == [{"name": "Renamed"}]


async def test_an_error_leaves_nothing_behind(store: Store, owner: Principal):
    async def fail_halfway() -> None:
        async with begin(store, owner) as tx:
            await tx.execute("update projects set name = 'Renamed'")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_halfway()
    async with begin(store, owner) as tx:
        assert await tx.all("select name from projects") == [{"name": "Default"}]


async def test_after_commit_runs_only_after_a_commit(store: Store, owner: Principal):
    told: list[str] = []

    async def fail() -> None:
        async with begin(store, owner) as tx:
            tx.after_commit(lambda: told.append("lost"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with begin(store, owner) as tx:
        tx.after_commit(lambda: told.append("kept"))
    assert told == ["kept"]


async def test_another_organization_sees_no_row_of_any_table(store: Store, owner: Principal):
    tables = await _tables(store)
    async with begin(store, owner) as tx:
        assert await tx.all("select id from projects")  # the positive control
    async with begin(store, STRANGER) as tx:
        for table in tables:
            assert await tx.all(f"select * from {table}") == [], table


async def test_another_organizations_rows_cannot_be_written(store: Store, owner: Principal):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with begin(store, STRANGER) as tx:
            await tx.execute(
                "insert into projects (id, organization_id, slug, name) values (%s, %s, 'x', 'x')",
                (new_id(), owner.organization_id),
            )
    async with begin(store, STRANGER) as tx:
        assert await tx.execute("update projects set name = 'stolen'") == 0


async def test_every_table_of_ours_forces_row_level_security_and_the_roles_own_none(store: Store):
    async with begin_system(store) as tx:
        rows = await tx.all(
            "select c.relname, c.relrowsecurity and c.relforcerowsecurity as forced, "
            "pg_get_userbyid(c.relowner) as owner, "
            "exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organization_id') as scoped "
            "from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' "
            "and n.nspname = 'public' and c.relname not like 'procrastinate%%' and c.relname <> 'alembic_version'",
            (),
        )
        roles = await tx.all(
            "select rolname, rolsuper, rolbypassrls from pg_roles where rolname like 'shopfloor%%'", ()
        )
    assert len(rows) >= 13
    assert [row for row in rows if not (row["forced"] and row["scoped"])] == []
    assert not any(row["owner"].startswith("shopfloor") for row in rows)
    assert roles
    assert not any(row["rolsuper"] or row["rolbypassrls"] for row in roles)


async def test_the_organization_does_not_stay_set_on_the_pools_connection(store: Store, owner: Principal):
    async with begin(store, owner):
        pass
    async with store.database.app.connection() as connection:
        cursor = await connection.execute("select count(*) as n from projects")
        assert await cursor.fetchone() == {"n": 0}


async def test_work_goes_on_after_its_connections_were_cut(store: Store, owner: Principal, postgres: str):
    async with begin(store, owner):
        pass
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename like 'shopfloor%'")
    projects = await perform(store, owner, lambda tx: tx.all("select slug from projects"), patience_s=10)
    assert projects == [{"slug": "default"}]


async def test_a_deferred_task_is_on_the_queue_only_when_the_block_commits(store: Store, owner: Principal):
    async def nothing() -> None: ...

    async def defer_and_fail() -> None:
        async with begin(store, owner) as tx:
            await tx.defer("nothing")
            raise asyncio.CancelledError

    store.services.queue.task("nothing", nothing)
    with pytest.raises(asyncio.CancelledError):
        await defer_and_fail()
    async with begin(store, owner) as tx:
        await tx.defer("nothing")
    async with begin_system(store) as tx:
        assert await tx.all("select task_name, status from procrastinate_jobs") == [
            {"task_name": "nothing", "status": "todo"}
        ]


async def _tables(store: Store) -> list[str]:
    async with begin_system(store) as tx:
        rows = await tx.all("select table_name from information_schema.columns where column_name = 'organization_id'")
    return [row["table_name"] for row in rows]

"""The database fails at each statement in turn: what is being made or changed is there as a whole, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from domain.access.people_fixtures import join
from shopfloor.base.principal import Principal
from shopfloor.domain.access import organizations, people, project_grants, projects, roles, teams
from shopfloor.domain.access.events import MemberDisabled
from shopfloor.infra.database import DatabaseUnavailable
from shopfloor.infra.queue import Queue
from shopfloor.infra.record import Entry
from shopfloor.infra.tx import Services, Store, Tx, begin, begin_system

Flow = Callable[[Tx], Awaitable[Any]]
TASK = "follow"


class _FailingConnection:
    """A real connection whose n-th statement fails as one does when the server goes away."""

    def __init__(self, connection: Any, at: int) -> None:
        self._connection = connection
        self._left = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, *statement: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            raise psycopg.OperationalError("the connection is gone")
        return await self._connection.execute(*statement, **options)


class FailingStore(Store):
    """A store whose transactions fail at their n-th statement."""

    def __init__(self, store: Store, at: int) -> None:
        super().__init__(store.database, store.services)
        self.database = _FailingDatabase(store, at)  # type: ignore[assignment]


class _FailingDatabase:
    def __init__(self, store: Store, at: int) -> None:
        self._store = store
        self._at = at
        self.app = self

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        async with self._store.database.app.connection() as connection:
            yield _FailingConnection(connection, self._at)


async def _recorded(tx: Tx, entry: Entry) -> None:
    """As the audit room does: a row in the same transaction."""
    await tx.execute("insert into recorded (action) values (%s)", (entry.action,))


@pytest.fixture
async def followed(store: Store, database_url: str) -> Store:
    """A store with a record of changes and a subscriber of what is published."""

    async def follow(**_: Any) -> None: ...

    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("create table recorded (action text not null)")
        admin.execute("grant all on recorded to shopfloor_app, shopfloor_system")
    services = Services(Queue(), recorder=_recorded)
    services.queue.task(TASK, follow)
    services.subscriptions.subscribe(MemberDisabled, TASK, lambda event: {"user_id": str(event.user_id)})
    return Store(store.database, services)


async def _everything(store: Store, database_url: str) -> str:
    """A fingerprint of every row of every table, queue included."""
    del store
    digest = hashlib.sha256()
    with psycopg.connect(database_url, autocommit=True) as admin:
        tables = admin.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
        for (table,) in tables:
            for row in admin.execute(f"select t::text from {table} t order by 1").fetchall():  # type: ignore[arg-type]
                digest.update(f"{table}{row[0]}".encode())
    return digest.hexdigest()


async def _make_organization(tx: Tx) -> None:
    await organizations.create_organization(tx, "Acme", "acme", "boss@example.org")


async def _disable(tx: Tx) -> None:
    await people.disable_member(tx, await _somebody(tx))


async def _give_role(tx: Tx) -> None:
    await people.change_member(tx, await _somebody(tx), {"role": "special"})


async def _change_role(tx: Tx) -> None:
    await roles.change_role(tx, await roles.find_role(tx, "special"), {"permissions": ["job.read"]})


async def _remove_team(tx: Tx) -> None:
    await teams.remove_team(tx, await teams.find_team(tx, "web"))


async def _make_project(tx: Tx) -> None:
    place = await projects.create_project(tx, slug="new", name="New", fields={"visibility": "team"})
    await project_grants.put_grant(tx, place, await _somebody(tx), "viewer")


async def _somebody(tx: Tx) -> Any:
    row = await tx.one("select id from users where role = 'developer'")
    assert row is not None
    return row["id"]


FLOWS: dict[str, tuple[Flow, int]] = {  # and how many statements it takes at least
    "make an organization": (_make_organization, 8),
    "disable a member": (_disable, 6),
    "give a role": (_give_role, 6),
    "change a role": (_change_role, 4),
    "remove a team": (_remove_team, 4),
    "make a project with a grant": (_make_project, 8),
}


@pytest.mark.parametrize("name", FLOWS)
async def test_whatever_statement_fails_nothing_partial_stays(
    name: str, followed: Store, clients, owner: Principal, database_url: str
):
    flow, least = FLOWS[name]
    somebody = await join(clients, owner.organization_id, "developer")
    async with begin(followed, owner) as tx:
        await roles.create_role(tx, name="special", description="", base="viewer", permissions=frozenset())
        team = await teams.create_team(tx, slug="web", name="Web", description="", role="developer")
        await teams.put_team_member(tx, team, somebody.id, "member")
        default = await projects.find_project(tx, "default")
        await project_grants.put_grant(tx, default, team.id, "viewer")
    before = await _everything(followed, database_url)

    failed_at = 0
    while True:
        try:
            async with begin(FailingStore(followed, failed_at + 1), owner) as tx:
                await flow(tx)
        except DatabaseUnavailable:
            failed_at += 1
            assert await _everything(followed, database_url) == before, f"after statement {failed_at}"
        else:
            break
    assert failed_at >= least  # the positive control: it was broken off in the middle, and the last try went through
    assert await _everything(followed, database_url) != before


async def test_what_was_recorded_and_deferred_commits_with_the_change(followed: Store, clients, owner: Principal):
    await join(clients, owner.organization_id, "developer")
    async with begin(followed, owner) as tx:
        await _disable(tx)
    async with begin_system(followed) as tx:
        assert await tx.all("select action from recorded") == [{"action": "member.disabled"}]
        assert await tx.all("select task_name from procrastinate_jobs") == [{"task_name": TASK}]


async def test_a_record_that_can_not_be_kept_undoes_the_change(store: Store, clients, owner: Principal):
    async def refuse(tx: Tx, entry: Entry) -> None:
        raise DatabaseUnavailable(f"No room for {entry.action} of {entry.target_id} in {tx.organization_id}.")

    somebody = await join(clients, owner.organization_id, "developer")
    with pytest.raises(DatabaseUnavailable):
        async with begin(Store(store.database, Services(recorder=refuse)), owner) as tx:
            await people.disable_member(tx, somebody.id)
    assert (await somebody.http.get("/api/v1/me")).status_code == 200

"""A failure at each statement of each flow: either all of it happened, or nothing did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from shopfloor.base.ids import new_id
from shopfloor.domain.access import api_keys
from shopfloor.domain.access.first_start import first_start, local_owner
from shopfloor.domain.access.secret_text import hash_of
from shopfloor.domain.accounts import invitations, new_password, one_time, sessions, set_up, signing
from shopfloor.domain.accounts import refresh as refreshing
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.domain.accounts.models import Person
from shopfloor.domain.accounts.people import acting_as, by_id
from shopfloor.domain.accounts.settings import AccountsSettings
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.mail import MailSettings
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin, begin_system
from signed_in import PASSWORDS, People

NEW = "another fake sentence entirely"
TABLES = (
    "users", "sessions", "refresh_tokens", "one_time_tokens", "invitations", "signing_keys", "api_keys", "mails",
    "procrastinate_jobs",
)  # fmt: skip


class Broken(Exception):
    """What the fuse raises."""


class Fused(psycopg.AsyncConnection[DictRow]):
    """A real connection that fails at the statement it is told to."""

    left: int | None = None  # statements until then; None: none fails

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        if Fused.left is not None and arguments[0]:  # the pool asks with an empty one whether it is still there
            Fused.left -= 1
            if Fused.left < 0:
                raise Broken
        return await super().execute(*arguments, **options)


@pytest.fixture
async def fused(database_url: str) -> AsyncIterator[AccountsDesk]:
    settings = DatabaseSettings(url=database_url)
    database = Database(urls_of(settings), settings)
    for pool in (database.app, database.system):
        pool.connection_class = Fused
    await database.open()
    store, sealer = Store(database), MasterKeySealer(bytes(range(32)))
    mail = MailSettings(host="mail.example.org", sender="shopfloor@example.org")
    yield AccountsDesk(store, sealer, AccountsSettings(), mail, PASSWORDS)
    Fused.left = None
    await database.aclose()


Flow = Callable[[], Awaitable[object]]


async def _person(desk: AccountsDesk) -> Person:
    owner = await local_owner(desk.store)
    who = await People(desk.store, desk, owner).new()
    async with begin(desk.store, owner) as tx:
        person = await by_id(tx, who.id)
    assert person is not None
    return person


async def _set_up(desk: AccountsDesk) -> Flow:
    token = await set_up.new_setup_token(desk.store)
    return lambda: set_up.set_up(desk, token, name="First", email="first@example.org", password=NEW)


async def _accept(desk: AccountsDesk) -> Flow:
    token = "fake-invitation-token-of-43-characters-long"
    owner = await local_owner(desk.store)
    async with begin(desk.store, owner) as tx:
        await tx.execute(
            "insert into invitations (id, organization_id, email, role, invited_by, token_hash, created_at, expires_at)"
            " values (%s, %s, 'new@example.org', 'viewer', %s, %s, now(), now() + interval '1 day')",
            (new_id(), owner.organization_id, owner.id, hash_of(token)),
        )
    return lambda: invitations.accept_invitation(desk, token, name="New", password=NEW, kind="token")


async def _invite(desk: AccountsDesk) -> Flow:
    owner = await local_owner(desk.store)

    async def flow() -> None:
        async with begin(desk.store, owner) as tx:
            await invitations.invite(tx, desk, email="new@example.org", role="viewer", base_url="https://x")

    return flow


async def _reset(desk: AccountsDesk) -> Flow:
    person = await _person(desk)
    async with begin(desk.store, acting_as(person.organization_id, person.id)) as tx:
        await sessions.open_session(tx, person, methods=["password"], kind="token")
        token, _ = await one_time.issue(tx, "reset", person.id)
    return lambda: new_password.reset_password(desk, token, NEW)


async def _everywhere(desk: AccountsDesk) -> Flow:
    person = await _person(desk)
    principal = acting_as(person.organization_id, person.id)
    async with begin(desk.store, principal) as tx:
        for _ in range(3):
            await sessions.open_session(tx, person, methods=["password"], kind="token")
        await one_time.issue(tx, "second-factor", person.id)

    async def flow() -> None:
        async with begin(desk.store, principal) as tx:
            await sessions.end_sessions(tx, person.id, why="signed out everywhere")

    return flow


async def _refresh(desk: AccountsDesk) -> Flow:
    person = await _person(desk)
    async with begin(desk.store, acting_as(person.organization_id, person.id)) as tx:
        opened = await sessions.open_session(tx, person, methods=["password"], kind="token")
    return lambda: refreshing.refresh(desk, opened.refresh_token or "")


async def _rotate_signing(desk: AccountsDesk) -> Flow:
    await signing.rotate_signing_key(desk.store, desk.sealer)
    return lambda: signing.rotate_signing_key(desk.store, desk.sealer)


async def _rotate_key(desk: AccountsDesk) -> Flow:
    owner = await local_owner(desk.store)
    async with begin(desk.store, owner) as tx:
        wanted = api_keys.NewKey(name="ci", permissions=frozenset({"job.read"}))
        key, _ = await api_keys.create_key(tx, desk.sealer, wanted)

    async def flow() -> None:
        async with begin(desk.store, owner) as tx:
            await api_keys.rotate_key(tx, desk.sealer, key.id, overlap=timedelta(hours=1))

    return flow


FLOWS = {
    "set-up": _set_up, "invite": _invite, "invite-accept": _accept, "reset": _reset, "refresh": _refresh,
    "sign-out-everywhere": _everywhere, "rotate the signing key": _rotate_signing, "rotate an API key": _rotate_key,
}  # fmt: skip


@pytest.mark.parametrize("name", FLOWS)
async def test_a_failure_at_any_statement_leaves_nothing_partial(fused: AccountsDesk, name: str):
    await first_start(fused.store, fused.sealer)
    flow = await FLOWS[name](fused)
    before = await _state(fused.store)
    failures = 0
    while True:
        Fused.left = failures
        try:
            await flow()
        except Broken:
            failures += 1
            Fused.left = None
            now = await _state(fused.store)
            if now != before:  # a statement after the commit: then the flow is whole, and its link used up
                break
        else:
            Fused.left = None
            break
        assert failures < 100
    assert failures >= 3  # it did fail on its way
    after = await _state(fused.store)
    assert after != before
    if name == "reset":
        async with begin_system(fused.store) as tx:
            left = await tx.one(
                "select (select count(*) from sessions where revoked_at is null) as sessions, "
                "(select count(*) from one_time_tokens where used_at is null) as tokens"
            )
        assert left == {"sessions": 0, "tokens": 0}


async def _state(store: Store) -> dict[str, str]:
    """Every row of these tables."""
    state: dict[str, str] = {}
    async with begin_system(store) as tx:
        for table in TABLES:
            cursor = await tx.connection.execute(
                f"select string_agg(t::text, '|' order by t::text) as it from {table} t"
            )
            row = await cursor.fetchone()
            assert row is not None
            state[table] = row["it"] or ""
    return state

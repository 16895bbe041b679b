"""Who a person is to this room: found before anybody is signed in, and acted for once it is known who it is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shopfloor.base.principal import Principal
from shopfloor.domain.accounts.models import Person
from shopfloor.infra.tx import Store, Tx, begin_system

_PERSON = "id, organization_id, email, name, role, created_at, disabled_at, password_hash, email_verified_at"


def acting(person: Person) -> Principal:
    """The person, allowed nothing: for the changes that signing in makes to their own rows."""
    return acting_as(person.organization_id, person.id)


def acting_as(organization_id: UUID, user_id: UUID) -> Principal:
    """As `acting`, by ids."""
    return Principal("user", user_id, organization_id, user_id=user_id)


def normal_email(text: str) -> str:
    """As addresses are compared: without spaces around, in small letters."""
    return text.strip().lower()


async def by_email(store: Store, email: str, organization_id: UUID | None) -> Person | None:
    """Who signs in with this address: of the organization named, else the oldest account of that address."""
    async with begin_system(store) as tx:
        row = await tx.one(
            f"select {_PERSON} from users where lower(email) = %s and (%s::uuid is null or organization_id = %s) "
            "order by created_at limit 1",
            (normal_email(email), organization_id, organization_id),
        )
    return _person(row)


async def all_by_email(store: Store, email: str) -> list[Person]:
    """Every account of an address, one an organization; a mail goes to each."""
    async with begin_system(store) as tx:
        rows = await tx.all(
            f"select {_PERSON} from users where lower(email) = %s order by created_at limit 20",
            (normal_email(email),),
        )
    return [Person(**row) for row in rows]


async def by_id(tx: Tx, user_id: UUID, *, lock: bool = False) -> Person | None:
    """One person of the transaction's organization; with `lock` nobody else changes them until the commit."""
    if lock:
        row = await tx.one(f"select {_PERSON} from users where id = %s for no key update", (user_id,))
    else:
        row = await tx.one(f"select {_PERSON} from users where id = %s", (user_id,))
    return _person(row)


async def has_email(tx: Tx, email: str) -> bool:
    """Whether somebody of the organization has this address."""
    found = await tx.one(
        "select 1 from users where organization_id = %s and lower(email) = %s",
        (tx.organization_id, normal_email(email)),
    )
    return found is not None


def _person(row: Any) -> Person | None:
    return Person(**row) if row else None

"""A person's own account."""

from __future__ import annotations

from shopfloor.base.errors import NotFound
from shopfloor.domain.accounts.models import Person
from shopfloor.domain.accounts.people import by_id
from shopfloor.infra.tx import Tx


async def own(tx: Tx) -> Person:
    """Of the principal's person. Raises: NotFound for a principal that nobody stands behind."""
    person = await by_id(tx, tx.principal.user_id) if tx.principal.user_id else None
    if person is None:
        raise NotFound("Nobody stands behind this request. Sign in as a person, or with a person's key.")
    return person


async def change(tx: Tx, *, name: str | None) -> Person:
    """It with another name."""
    person = await own(tx)
    if name is not None and name != person.name:
        await tx.execute("update users set name = %s where id = %s", (name, person.id))
        await tx.record("profile.changed", "user", person.id, after={"fields": ["name"]})
    return await own(tx)

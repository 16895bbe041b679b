"""Signing in with address and password: the same answer and the same work whoever is asked for."""

from __future__ import annotations

from uuid import UUID

from shopfloor.base.ids import NIL
from shopfloor.domain.accounts import throttle
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.domain.accounts.errors import SignInRefused
from shopfloor.domain.accounts.models import Pending, Person, SessionKind, Signed
from shopfloor.domain.accounts.people import acting, acting_as, by_email
from shopfloor.domain.accounts.sign_in import REFUSAL, finish_first_factor
from shopfloor.infra.tx import Tx, begin


async def sign_in(
    desk: AccountsDesk, email: str, password: str, *, organization_id: UUID | None = None, kind: SessionKind = "browser"
) -> Signed | Pending:
    """A session, or the challenge for a second factor.

    Raises: SignInRefused, whatever was wrong; TooManyAttempts, for an account that doesn't exist too.
    """
    await throttle.count_attempt(desk.store, email)
    person = await by_email(desk.store, email, organization_id)
    able = person is not None and person.disabled_at is None
    stored = person.password_hash if person is not None and able else None
    right = await desk.passwords.verify(stored, password)  # no transaction is open while it works
    if person is None or not right:
        await _note_failure(desk, person)
        raise SignInRefused(REFUSAL)
    fresh = await desk.passwords.hash(password) if desk.passwords.is_outdated(stored or "") else None
    async with begin(desk.store, acting(person)) as tx:
        if fresh is not None:
            await _rehash(tx, person, fresh)
        signed = await finish_first_factor(tx, person, method="password", strong=False, kind=kind, lengths=desk.lengths)
    await throttle.forgive(desk.store, email)
    return signed


async def _note_failure(desk: AccountsDesk, person: Person | None) -> None:
    """By id: what was typed may be a password in the wrong field. For nobody a transaction, too: it takes its time."""
    async with begin(desk.store, acting(person) if person is not None else acting_as(NIL, NIL)) as tx:
        if person is not None:
            await tx.record("sign-in.failed", "user", person.id, after={"at": "password"}, result="refused")
        else:
            await tx.one("select 1 from users where id = %s", (NIL,))


async def _rehash(tx: Tx, person: Person, fresh: str) -> None:
    """The same password under today's parameters, unless it was changed meanwhile."""
    await tx.execute(
        "update users set password_hash = %s where id = %s and password_hash = %s",
        (fresh, person.id, person.password_hash),
    )

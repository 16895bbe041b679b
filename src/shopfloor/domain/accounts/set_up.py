"""The first person of an organization: a one-time link that whoever started it hands over, or opens themselves."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shopfloor.domain.accounts import one_time
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.domain.accounts.errors import EmailTaken, LinkNotValid
from shopfloor.domain.accounts.models import Pending, SessionKind, Signed
from shopfloor.domain.accounts.new_password import set_password
from shopfloor.domain.accounts.passwords import refuse_weak
from shopfloor.domain.accounts.people import acting_as, by_id, has_email, normal_email
from shopfloor.domain.accounts.sessions import end_sessions
from shopfloor.domain.accounts.sign_in import finish_first_factor
from shopfloor.infra.mail import checked_email
from shopfloor.infra.tx import Store, Tx, begin, begin_system

_FIRST_LINK_LOCK = 0x5F0F_5E70  # of many processes that start one prints it; the number is ours


async def setup_token(tx: Tx, user_id: UUID, *, organization_id: UUID | None = None) -> str:
    """A new owner's token, good for 72 hours; the ones before it are void. The system names the organization."""
    await one_time.withdraw(tx, user_id, "setup")
    text, _ = await one_time.issue(tx, "setup", user_id, organization_id=organization_id)
    await tx.record("setup-link.made", "user", user_id, organization_id=organization_id)
    return text


async def first_setup_token(store: Store) -> str | None:
    """For the first owner, once: None if one was ever made, or they have a password."""
    async with begin_system(store) as tx:
        await tx.execute("select pg_advisory_xact_lock(%s)", (_FIRST_LINK_LOCK,))
        owner = await _first_owner(tx)
        made = await tx.one("select 1 from one_time_tokens where user_id = %s and purpose = 'setup'", (owner["id"],))
        if made or owner["password_hash"] is not None:
            return None
        return await setup_token(tx, owner["id"], organization_id=owner["organization_id"])


async def new_setup_token(store: Store) -> str:
    """For the first owner, asked for on the machine of the database itself: the one before it is void."""
    async with begin_system(store) as tx:
        owner = await _first_owner(tx)
        return await setup_token(tx, owner["id"], organization_id=owner["organization_id"])


async def set_up(
    desk: AccountsDesk, text: str, *, name: str, email: str, password: str, kind: SessionKind = "browser"
) -> Signed | Pending:
    """The owner's name, address and password, and a session; the link is used up, older sessions are over.

    Raises: LinkNotValid, InvalidInput, PasswordTooWeak, EmailTaken.
    """
    token = await one_time.find(desk.store, "setup", text)
    email = checked_email(email)
    refuse_weak(password, own=(email, name))
    hashed = await desk.passwords.hash(password)
    async with begin(desk.store, acting_as(token.organization_id, token.user_id)) as tx:
        await one_time.use(tx, token)
        person = await by_id(tx, token.user_id, lock=True)
        if person is None:
            raise LinkNotValid("The account of this link is gone. Make a new link with `shopfloor setup-link`.")
        if email != normal_email(person.email) and await has_email(tx, email):
            raise EmailTaken("Somebody of this organization has this address. Use another one.")
        await tx.execute(
            "update users set name = %s, email = %s, email_verified_at = null where id = %s",
            (name, email, person.id),
        )
        await set_password(tx, person, hashed)
        await end_sessions(tx, person.id, why="set up anew")
        await tx.record("account.set-up", "user", person.id)
        return await finish_first_factor(tx, person, method="password", strong=False, kind=kind, lengths=desk.lengths)


async def _first_owner(tx: Tx) -> dict[str, Any]:
    row = await tx.one(
        "select id, organization_id, password_hash from users where role = 'owner' order by created_at, id limit 1"
    )
    assert row is not None, "first_start() has run"
    return row

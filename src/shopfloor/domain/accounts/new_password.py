"""Another password: changed by who knows the present one, or chosen anew by who reads the address's mail."""

from __future__ import annotations

from shopfloor.base.principal import Principal
from shopfloor.domain.accounts import letters, one_time, throttle
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.domain.accounts.errors import LinkNotValid, SignInRefused
from shopfloor.domain.accounts.models import Person
from shopfloor.domain.accounts.passwords import refuse_weak
from shopfloor.domain.accounts.people import acting, acting_as, all_by_email, by_id
from shopfloor.domain.accounts.sessions import end_sessions, require_fresh
from shopfloor.infra.mail import send_later
from shopfloor.infra.tx import Tx, begin


async def change_password(desk: AccountsDesk, principal: Principal, *, present: str | None, new: str) -> None:
    """From the commit on the new one counts, and every other session of the person is over.

    Raises: FreshSignInNeeded, SignInRefused for a wrong present one, PasswordTooWeak, TooManyAttempts.
    """
    assert principal.user_id is not None
    async with begin(desk.store, principal) as tx:
        require_fresh(tx)
        person = await by_id(tx, principal.user_id)
    assert person is not None
    refuse_weak(new, own=(person.email, person.name))
    if person.password_hash is not None:
        await throttle.count_attempt(desk.store, str(person.id))
        if not await desk.passwords.verify(person.password_hash, present or ""):
            raise SignInRefused("The present password is wrong. Type it again, or ask for a new one by mail.")
        await throttle.forgive(desk.store, str(person.id))
    hashed = await desk.passwords.hash(new)
    async with begin(desk.store, principal) as tx:
        await set_password(tx, person, hashed)
        await end_sessions(tx, person.id, why="password changed", but=principal.session_id)
        await one_time.withdraw(tx, person.id, "reset", "setup")
        await _say_so(tx, desk, person)


async def count_request(desk: AccountsDesk, email: str) -> None:
    """Nobody's mailbox is flooded from here. Raises: TooManyAttempts."""
    await throttle.count_attempt(desk.store, f"forgot {email}")


async def forget_password(desk: AccountsDesk, email: str, *, base_url: str) -> None:
    """A link by mail to each account of this address, good for 30 minutes.

    Called after the answer went out, so that its time tells nobody whether there is such an account.
    """
    for person in await all_by_email(desk.store, email):
        if person.disabled_at is not None or not desk.mail.host:
            continue
        async with begin(desk.store, acting(person)) as tx:
            await one_time.withdraw(tx, person.id, "reset")
            text, _ = await one_time.issue(tx, "reset", person.id)
            letter = letters.reset(person.email, link=f"{base_url}/reset#{text}")
            await send_later(tx, desk.sealer, desk.mail, "reset", letter)
            await tx.record("password-reset.requested", "user", person.id)


async def reset_password(desk: AccountsDesk, text: str, new: str) -> None:
    """The new password of who holds the link; every session and every other link of theirs is over.

    Whoever reads the mail has shown that the address is theirs; a link handed over shows nothing.
    Raises: LinkNotValid, PasswordTooWeak.
    """
    token = await one_time.find(desk.store, "reset", text)
    principal = acting_as(token.organization_id, token.user_id)
    async with begin(desk.store, principal) as tx:
        person = await by_id(tx, token.user_id)
    if person is None:
        raise LinkNotValid("The account of this link is gone. Ask an admin of your organization.")
    refuse_weak(new, own=(person.email, person.name))
    hashed = await desk.passwords.hash(new)
    async with begin(desk.store, principal) as tx:
        await one_time.use(tx, token)
        await set_password(tx, person, hashed)
        if not token.data.get("handed_over"):
            await _verified(tx, person)
        await end_sessions(tx, person.id, why="password reset")
        await one_time.withdraw(tx, person.id, "reset", "setup")
        await _say_so(tx, desk, person)
    await throttle.forgive(desk.store, person.email)


async def request_verification(desk: AccountsDesk, principal: Principal, *, base_url: str) -> bool:
    """A link to the person's own address. False: no SMTP server is set."""
    assert principal.user_id is not None
    await throttle.count_attempt(desk.store, f"verify {principal.user_id}")
    async with begin(desk.store, principal) as tx:
        person = await by_id(tx, principal.user_id)
        assert person is not None
        if not desk.mail.host:
            return False
        await one_time.withdraw(tx, person.id, "verify")
        text, _ = await one_time.issue(tx, "verify", person.id, data={"email": person.email})
        letter = letters.verification(person.email, link=f"{base_url}/verify#{text}")
        await tx.record("email.verification-requested", "user", person.id)
        return await send_later(tx, desk.sealer, desk.mail, "verify", letter)


async def verify_email(desk: AccountsDesk, text: str) -> None:
    """The address of who holds the link is theirs. Raises: LinkNotValid, also when the address changed meanwhile."""
    token = await one_time.find(desk.store, "verify", text)
    async with begin(desk.store, acting_as(token.organization_id, token.user_id)) as tx:
        person = await by_id(tx, token.user_id, lock=True)
        if person is None or person.email != token.data["email"]:
            raise LinkNotValid("The address was changed since this link was sent. Ask for a new one.")
        await one_time.use(tx, token)
        await _verified(tx, person)


async def set_password(tx: Tx, person: Person, hashed: str) -> None:
    """Its hash, and a line in the record."""
    await tx.execute(
        "update users set password_hash = %s, password_changed_at = %s where id = %s",
        (hashed, tx.clock.now(), person.id),
    )
    await tx.record("password.changed", "user", person.id)


async def _verified(tx: Tx, person: Person) -> None:
    if person.email_verified_at is None:
        await tx.execute("update users set email_verified_at = %s where id = %s", (tx.clock.now(), person.id))
        await tx.record("email.verified", "user", person.id)


async def _say_so(tx: Tx, desk: AccountsDesk, person: Person) -> None:
    if person.email_verified_at is not None:
        await send_later(tx, desk.sealer, desk.mail, "password-changed", letters.password_changed(person.email))

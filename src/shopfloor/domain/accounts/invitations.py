"""Invitations: an address and a role, a link that holds for a week, and the account that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import psycopg

from shopfloor.base.errors import InvalidInput, PermissionDenied
from shopfloor.base.ids import new_id
from shopfloor.domain.access.ceiling import check_may_give
from shopfloor.domain.access.errors import RoleUnknown
from shopfloor.domain.access.secret_text import hash_of, looks_like_one, new_secret
from shopfloor.domain.access.teams import join_teams, teams_to_join
from shopfloor.domain.accounts import letters
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.domain.accounts.errors import EmailTaken, InvitationUnknown, LinkNotValid, RoleTooHigh
from shopfloor.domain.accounts.models import Invitation, Pending, SessionKind, Signed
from shopfloor.domain.accounts.passwords import refuse_weak
from shopfloor.domain.accounts.people import acting_as, by_id, has_email
from shopfloor.domain.accounts.sign_in import finish_first_factor
from shopfloor.infra.mail import checked_email, send_later
from shopfloor.infra.tx import Tx, begin, begin_system

LIFE: Final = timedelta(days=7)
_INVITATION: Final = "id, email, role, invited_by, created_at, expires_at, accepted_at, withdrawn_at, team_ids"


@dataclass(frozen=True, slots=True)
class Invited:
    """A new invitation; `link` only where no mail went out, for the inviter to pass on."""

    invitation: Invitation
    link: str | None = field(repr=False)


async def invite(
    tx: Tx, desk: AccountsDesk, *, email: str, role: str, base_url: str, teams: Sequence[str] = ()
) -> Invited:
    """A link to the address, by mail if SMTP is set; an earlier one to the same address is void.

    `teams`: slugs or ids of those joined with it. Raises: PermissionDenied, RoleTooHigh, InvalidInput, EmailTaken,
    TeamUnknown.
    """
    tx.require("member.edit")
    email = checked_email(email)
    await _refuse_above(tx, role)
    team_ids = await teams_to_join(tx, teams)
    if tx.principal.user_id is None:
        raise InvalidInput("Nobody stands behind this: sign in as a person, or with a person's key.")
    if await has_email(tx, email):
        raise EmailTaken("Somebody of this organization has this address already. GET /api/v1/members lists them.")
    await tx.execute(
        "update invitations set withdrawn_at = %s where organization_id = %s and email = %s "
        "and accepted_at is null and withdrawn_at is null",
        (tx.clock.now(), tx.organization_id, email),
    )
    invitation_id, text, now = new_id(), new_secret(), tx.clock.now()
    await tx.execute(
        "insert into invitations (id, organization_id, email, role, team_ids, invited_by, token_hash, created_at, "
        "expires_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            invitation_id, tx.organization_id, email, role, team_ids, tx.principal.user_id, hash_of(text), now,
            now + LIFE,
        ),
    )  # fmt: skip
    what = {"role": role} | ({"team_ids": [str(each) for each in team_ids]} if team_ids else {})
    await tx.record("invitation.made", "invitation", invitation_id, after=what)
    link = f"{base_url}/invitation#{text}"
    letter = letters.invitation(email, organization=await _organization_name(tx), link=link)
    mailed = await send_later(tx, desk.sealer, desk.mail, "invitation", letter)
    await tx.execute("update invitations set mailed = %s where id = %s", (mailed, invitation_id))
    return Invited(await find_invitation(tx, invitation_id), None if mailed else link)


async def list_invitations(tx: Tx, *, after: UUID | None, limit: int) -> list[Invitation]:
    """Oldest first; accepted and withdrawn ones too."""
    tx.require("member.edit")
    rows = await tx.all(
        f"select {_INVITATION} from invitations where organization_id = %s and (%s::uuid is null or id > %s) "
        "order by id limit %s",
        (tx.organization_id, after, after, limit),
    )
    return [Invitation(**row) for row in rows]


async def find_invitation(tx: Tx, invitation_id: UUID) -> Invitation:
    """Raises: InvitationUnknown, PermissionDenied."""
    tx.require("member.edit")
    row = await tx.one(f"select {_INVITATION} from invitations where id = %s", (invitation_id,))
    if row is None:
        raise InvitationUnknown(f"There is no invitation {invitation_id}. GET /api/v1/invitations lists them.")
    return Invitation(**row)


async def withdraw_invitation(tx: Tx, invitation_id: UUID) -> None:
    """Its link is void. One that was accepted or withdrawn stays as it is. Raises: InvitationUnknown."""
    await find_invitation(tx, invitation_id)
    withdrawn = await tx.execute(
        "update invitations set withdrawn_at = %s where id = %s and accepted_at is null and withdrawn_at is null",
        (tx.clock.now(), invitation_id),
    )
    if withdrawn:
        await tx.record("invitation.withdrawn", "invitation", invitation_id)


async def accept_invitation(
    desk: AccountsDesk, text: str, *, name: str, password: str, kind: SessionKind = "browser"
) -> Signed | Pending:
    """The new account, signed in; whoever reads the mail has shown that the address is theirs.

    Raises: LinkNotValid, also when the inviter may no longer give the role; PasswordTooWeak, EmailTaken.
    """
    found = await _find(desk, text)
    refuse_weak(password, own=(found["email"], name))
    hashed = await desk.passwords.hash(password)
    user_id = new_id()
    async with begin(desk.store, acting_as(found["organization_id"], user_id)) as tx:
        now = tx.clock.now()
        await _refuse_orphan(tx, found)
        try:
            await tx.execute(
                "insert into users (id, organization_id, email, name, role, password_hash, password_changed_at, "
                "email_verified_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    user_id, tx.organization_id, found["email"], name, found["role"], hashed, now,
                    now if found["mailed"] else None,
                ),
            )  # fmt: skip
        except psycopg.errors.UniqueViolation as error:
            raise EmailTaken("Somebody of this organization has this address already. Sign in with it.") from error
        used = await tx.execute(
            "update invitations set accepted_at = %s, user_id = %s where id = %s and accepted_at is null "
            "and withdrawn_at is null and expires_at > %s",
            (now, user_id, found["id"], now),
        )
        if used != 1:
            raise LinkNotValid(_NOT_VALID)
        await join_teams(tx, user_id, found["team_ids"])
        await tx.record("invitation.accepted", "invitation", found["id"], after={"user_id": str(user_id)})
        person = await by_id(tx, user_id)
        assert person is not None
        return await finish_first_factor(tx, person, method="password", strong=False, kind=kind, lengths=desk.lengths)


async def _find(desk: AccountsDesk, text: str) -> Mapping[str, Any]:
    if looks_like_one(text):
        async with begin_system(desk.store) as tx:
            row = await tx.one(
                "select id, organization_id, email, role, team_ids, invited_by, mailed from invitations "
                "where token_hash = %s and accepted_at is null and withdrawn_at is null and expires_at > %s",
                (hash_of(text), tx.clock.now()),
            )
        if row is not None:
            return row
    raise LinkNotValid(_NOT_VALID)


async def _refuse_above(tx: Tx, role: str) -> None:
    """Raises: InvalidInput for a role that there isn't; RoleTooHigh for one that holds more than its giver."""
    try:
        await check_may_give(tx, role)
    except RoleUnknown as error:
        raise InvalidInput(error.detail, role=role) from error
    except PermissionDenied as error:
        raise RoleTooHigh(
            f"Nobody gives more than they have: {role} may more than you. Choose a lower role, or ask an owner.",
            role=role, lacking=error.facts.get("lacking"),
        ) from error  # fmt: skip


async def _refuse_orphan(tx: Tx, found: Mapping[str, Any]) -> None:
    """An invitation counts for as much as its maker is today. Raises: LinkNotValid."""
    inviter = await by_id(tx, found["invited_by"])
    if inviter is None or inviter.disabled_at is not None:
        raise LinkNotValid("Whoever made this invitation can't invite any more. Ask an admin for a new one.")


async def _organization_name(tx: Tx) -> str:
    row = await tx.one("select name from organizations where id = %s", (tx.organization_id,))
    assert row is not None
    return row["name"]


_NOT_VALID = "The invitation is wrong, was used, withdrawn, or is older than 7 days. Ask an admin for a new one."

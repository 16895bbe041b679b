"""Links handed over where no mail goes: to a member for a new password, to the owner of a new organization."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shopfloor.base.errors import InvalidInput
from shopfloor.domain.access import store, store_people
from shopfloor.domain.access.ceiling import check_may_give, lacking_of
from shopfloor.domain.access.errors import MemberUnknown
from shopfloor.domain.access.grants import rights_of
from shopfloor.domain.accounts import one_time
from shopfloor.domain.accounts.errors import OrganizationInUse, OrganizationUnknown, RoleTooHigh
from shopfloor.infra.tx import Tx

_LIFE: Final = timedelta(hours=72)  # passed on by hand, so longer than what goes by mail


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A link to pass on, shown this once."""

    link: str = field(repr=False)
    expires_at: datetime


async def link_for_member(tx: Tx, user_id: UUID, *, base_url: str) -> HandedOver:
    """With it a member chooses a new password; their address and second factors stay. The one before it is void.

    Raises: MemberUnknown; PermissionDenied, RoleTooHigh for somebody who may more; InvalidInput for whom it is not for.
    """
    tx.require("member.edit")
    member = await store_people.member(tx, user_id, lock=True)
    if member is None:
        raise MemberUnknown(f"There is no member {user_id}. GET /api/v1/members lists them.")
    if user_id == tx.principal.user_id:
        raise InvalidInput("This is yourself: change your own password with POST /api/v1/auth/password.")
    if member.kind != "person":
        raise InvalidInput("A service account has no password. Make a key for it: POST /api/v1/api-keys.")
    if member.disabled_at is not None:
        raise InvalidInput(f"{member.name} is disabled. Enable them first: POST /api/v1/members/{user_id}/enable.")
    await check_may_give(tx, member.role)
    await _refuse_above_in_projects(tx, user_id, member.role)
    await one_time.withdraw(tx, user_id, "reset")
    text, ends = await one_time.issue(tx, "reset", user_id, data={"handed_over": True}, life=_LIFE)
    await tx.record("password-link.made", "user", user_id)
    return HandedOver(f"{base_url}/reset#{text}", ends)


async def link_for_owner(tx: Tx, organization_id: UUID, *, base_url: str) -> HandedOver:
    """With it the owner of an organization where nobody has signed in yet sets name, address and password.

    Raises: PermissionDenied, OrganizationUnknown; OrganizationInUse, since nobody enters another organization by this.
    """
    tx.require("organization.create")
    if organization_id == tx.organization_id:
        raise OrganizationInUse("This is your own: invite people, or run `shopfloor setup-link` where its database is.")
    async with store.inside(tx, organization_id):
        people = await tx.all(
            "select id, role, password_hash is not null or signed_in_at is not null as used from users "
            "where organization_id = %s and kind = 'person' order by created_at, id for no key update",
            (organization_id,),
        )
        if not people:
            raise OrganizationUnknown(
                f"There is no organization {organization_id}. GET /api/v1/organizations lists them."
            )
        if any(each["used"] for each in people):
            raise OrganizationInUse("Somebody of it has signed in already: ask its own owners and admins for a link.")
        owner_id = next(each["id"] for each in people if each["role"] == "owner")
        await one_time.withdraw(tx, owner_id, "setup")
        text, ends = await one_time.issue(tx, "setup", owner_id, organization_id=organization_id)
    await tx.record("setup-link.made", "organization", organization_id, after={"user_id": str(owner_id)})
    return HandedOver(f"{base_url}/setup#{text}", ends)


async def _refuse_above_in_projects(tx: Tx, user_id: UUID, role: str) -> None:
    """Who gets the link gets whatever the member may, in each project. Raises: RoleTooHigh."""
    rights = await rights_of(tx, user_id, role)
    for project_id, permissions in rights.project_permissions.items():
        lacking = lacking_of(tx, permissions, project_id)
        if lacking:
            raise RoleTooHigh(
                f"In the project {project_id} they may more than you: {', '.join(lacking)}. Ask who may as much.",
                permission=lacking[0], lacking=lacking,
            )  # fmt: skip

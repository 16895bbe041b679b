"""Members of an organization, people and service accounts: what they may, and when they may nothing any more."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id
from shopfloor.domain.access import store_people as store
from shopfloor.domain.access.ceiling import check_may_give
from shopfloor.domain.access.errors import LastOwner, MemberInUse, MemberUnknown
from shopfloor.domain.access.events import MemberDisabled
from shopfloor.domain.access.models import Member
from shopfloor.infra.tx import Tx


async def list_members(tx: Tx, *, filters: dict[str, Any], after: UUID | None, limit: int) -> list[Member]:
    """Oldest first. Filters: role, kind, active."""
    tx.require("member.read")
    return await store.members(tx, filters=filters, after=after, limit=limit)


async def find_member(tx: Tx, user_id: UUID) -> Member:
    """Raises: MemberUnknown, PermissionDenied."""
    tx.require("member.read")
    return _there(await store.member(tx, user_id), user_id)


async def change_member(tx: Tx, user_id: UUID, fields: dict[str, Any]) -> Member:
    """Another `name` or `role`. Raises: MemberUnknown, LastOwner, RoleUnknown, PermissionDenied."""
    member = await _to_change(tx, user_id, leaves=fields.get("role", "owner") != "owner")
    role = fields.get("role", member.role)
    if role != member.role:
        _check_kind(member.kind, role)
        await check_may_give(tx, role)
    await store.change_member(tx, user_id, name=fields.get("name", member.name), role=role)
    before = {"role": member.role} if role != member.role else {}
    await tx.record("member.changed", "member", user_id, before=before, after={"role": role} if before else {})
    return await find_member(tx, user_id)


async def disable_member(tx: Tx, user_id: UUID) -> Member:
    """From the commit on they may nothing, whatever they hold; their jobs are cancelled. Twice changes nothing.

    Raises: MemberUnknown, LastOwner, PermissionDenied.
    """
    member = await _to_change(tx, user_id, leaves=True)
    if member.disabled_at is None:
        await store.set_disabled(tx, user_id, disabled=True)
        await tx.record("member.disabled", "member", user_id)
        await tx.publish(MemberDisabled(tx.organization_id, user_id))
        tx.wake(f"access:{tx.organization_id}")  # open streams are asked again at once
    return await find_member(tx, user_id)


async def enable_member(tx: Tx, user_id: UUID) -> Member:
    """They may again what they might. Twice changes nothing. Raises: MemberUnknown, PermissionDenied."""
    member = await _to_change(tx, user_id, leaves=False)
    if member.disabled_at is not None:
        await store.set_disabled(tx, user_id, disabled=False)
        await tx.record("member.enabled", "member", user_id)
    return await find_member(tx, user_id)


async def remove_member(tx: Tx, user_id: UUID) -> None:
    """Delete somebody who has no history. Raises: MemberUnknown, MemberInUse, LastOwner, PermissionDenied."""
    member = await _to_change(tx, user_id, leaves=True)
    why = f"Something still names {member.name}: jobs, keys or projects. Disable them instead: POST .../disable."
    if await store.has_jobs(tx, user_id):
        raise MemberInUse(why)
    try:
        await store.delete_member(tx, user_id)
    except psycopg.errors.ForeignKeyViolation as error:
        raise MemberInUse(why) from error
    await tx.record("member.removed", "member", user_id, before={"kind": member.kind, "role": member.role})


async def create_service_account(tx: Tx, *, name: str, role: str) -> Member:
    """An account for programs, that can't sign in: keys are made for it. Raises: RoleUnknown, PermissionDenied."""
    tx.require("member.edit")
    _check_kind("service", role)
    await check_may_give(tx, role)
    user_id = new_id()
    # It has no mailbox. Source: RFC 6761, section 6.4: nothing is ever delivered to .invalid
    await store.add_member(tx, user_id, email=f"{user_id}@service.invalid", name=name, kind="service", role=role)
    await tx.record("member.added", "member", user_id, after={"kind": "service", "role": role})
    return await find_member(tx, user_id)


async def _to_change(tx: Tx, user_id: UUID, *, leaves: bool) -> Member:
    """Somebody who may be changed, locked. `leaves`: the change would make an owner no owner."""
    tx.require("member.edit")
    owners = await store.lock_owners(
        tx
    )  # before the one row, everybody alike: two who unmake each other don't deadlock
    member = _there(await store.member(tx, user_id, lock=True), user_id)
    await check_may_give(tx, member.role)
    if leaves and owners == {user_id}:
        raise LastOwner(
            f"{member.name} is the organization's last owner. Make somebody else an owner first.", user_id=str(user_id)
        )
    return member


def _check_kind(kind: str, role: str) -> None:
    if kind == "service" and role == "owner":
        raise InvalidInput("A service account can't be an owner: name a role that programs need, e.g. developer.")


def _there(member: Member | None, user_id: UUID) -> Member:
    if member is None:
        raise MemberUnknown(f"There is no member {user_id}. GET /api/v1/members lists them.")
    return member

"""Organizations: the principal's own, and further ones on the same installation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.domain.access import store
from shopfloor.domain.access import store_people as people
from shopfloor.domain.access.errors import NameTaken
from shopfloor.domain.access.models import Member, Organization
from shopfloor.infra.tx import Tx


async def find_organization(tx: Tx) -> Organization:
    """The principal's own. Raises: PermissionDenied."""
    tx.require("organization.read")
    return await store.organization(tx)


async def change_organization(tx: Tx, organization: Organization, fields: dict[str, Any]) -> Organization:
    """It with these fields changed. Raises: PermissionDenied, PreconditionFailed if somebody was faster."""
    tx.require("organization.edit")
    if fields and not await store.change_organization(tx, organization, fields=fields):
        raise PreconditionFailed("Somebody changed it at the same moment. Read it again, then repeat this.")
    before = {name: getattr(organization, name) for name in fields}
    if fields:
        await tx.record("organization.changed", "organization", organization.id, before=before, after=fields)
    return await store.organization(tx)


async def list_organizations(tx: Tx, *, after: UUID | None, limit: int) -> list[Organization]:
    """Every one of the installation, oldest first: a transaction of the system, for who may make organizations."""
    return await store.organizations(tx, after=after, limit=limit)


async def create_organization(tx: Tx, name: str, slug: str, owner_email: str) -> tuple[Organization, Member]:
    """A new tenant with its owner, who can't sign in yet, and nothing else. Raises: NameTaken, PermissionDenied."""
    tx.require("organization.create")
    organization_id, owner_id = new_id(), new_id()
    async with store.inside(tx, organization_id):
        if not await store.add_organization(tx, organization_id, slug=slug, name=name):
            raise NameTaken(f"There is an organization {slug!r} already. Choose another slug.")
        await people.add_first_owner(tx, owner_id, organization_id, email=owner_email)
        made = await store.organization_by_id(tx, organization_id)
        owner = await people.member(tx, owner_id)
    assert made is not None
    assert owner is not None
    await tx.record("organization.created", "organization", organization_id, after={"slug": slug})
    return made, owner

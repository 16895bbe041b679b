"""The organization itself: its name and how much it may run at once."""

from __future__ import annotations

from typing import Any

from shopfloor.base.errors import PreconditionFailed
from shopfloor.domain.access import store
from shopfloor.domain.access.models import Organization
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

"""Grants: the role that a person or a team has in one project."""

from __future__ import annotations

from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.access import store_grants as store
from shopfloor.domain.access import store_people as people
from shopfloor.domain.access.ceiling import check_may_give
from shopfloor.domain.access.errors import GrantUnknown
from shopfloor.domain.access.models import Grant, Project
from shopfloor.infra.tx import Tx


async def list_grants(tx: Tx, project: Project, *, after: UUID | None, limit: int) -> list[Grant]:
    """Oldest first."""
    tx.require("project.read", project.id)
    return await store.grants(tx, project.id, after=after, limit=limit)


async def put_grant(tx: Tx, project: Project, holder_id: UUID, role: str) -> Grant:
    """Give a person or a team `role` in the project, in place of the one they have there.

    Raises: GrantUnknown when nobody has this id, RoleUnknown, PermissionDenied for more than one has there.
    """
    tx.require("project.grant", project.id)
    user_id, team_id = await _holder(tx, holder_id)
    await check_may_give(tx, role, project.id)
    before = None
    if not await store.add_grant(tx, new_id(), project.id, user_id=user_id, team_id=team_id, role=role):
        before = await store.grant(tx, project.id, user_id=user_id, team_id=team_id)
    if before is not None:
        await check_may_give(tx, before.role, project.id)
        await store.change_grant(tx, before.id, role)
    await tx.record(
        "grant.given", "project", project.id, before={"role": before.role} if before else None,
        after={"role": role, "to": str(holder_id)}, project_id=project.id,
    )  # fmt: skip
    found = await store.grant(tx, project.id, user_id=user_id, team_id=team_id)
    assert found is not None
    return found


async def remove_grant(tx: Tx, project: Project, holder_id: UUID) -> None:
    """Take it back. Raises: GrantUnknown, PermissionDenied."""
    tx.require("project.grant", project.id)
    user_id, team_id = await _holder(tx, holder_id)
    found = await store.grant(tx, project.id, user_id=user_id, team_id=team_id)
    if found is None:
        raise GrantUnknown(f"{holder_id} has no grant in the project {project.slug}.")
    await check_may_give(tx, found.role, project.id)
    await store.delete_grant(tx, found.id)
    before = {"role": found.role, "to": str(holder_id)}
    await tx.record("grant.revoked", "project", project.id, before=before, project_id=project.id)


async def _holder(tx: Tx, holder_id: UUID) -> tuple[UUID | None, UUID | None]:
    """(user, team): one of them."""
    if await people.member(tx, holder_id) is not None:
        return holder_id, None
    if await people.team_by(tx, holder_id) is not None:
        return None, holder_id
    raise GrantUnknown(
        f"There is neither a member nor a team {holder_id}. GET /api/v1/members and /api/v1/teams list them."
    )

"""Every query about grants in projects, inside the organization of the transaction's principal."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from shopfloor.domain.access.models import Grant
from shopfloor.infra.tx import Tx

_GRANT: LiteralString = "id, project_id, user_id, team_id, role, created_at"


async def grants(tx: Tx, project_id: UUID, *, after: UUID | None, limit: int) -> list[Grant]:
    """Of one project, oldest first."""
    rows = await tx.all(
        f"select {_GRANT} from project_grants where organization_id = %s and project_id = %s "
        "and (%s::uuid is null or id > %s) order by id limit %s",
        (tx.organization_id, project_id, after, after, limit),
    )
    return [Grant(**row) for row in rows]


async def grant(tx: Tx, project_id: UUID, *, user_id: UUID | None, team_id: UUID | None) -> Grant | None:
    """The one that this person or this team has; locked until the commit."""
    row = await tx.one(
        f"select {_GRANT} from project_grants where organization_id = %s and project_id = %s "
        "and (user_id = %s or team_id = %s) for no key update",
        (tx.organization_id, project_id, user_id, team_id),
    )
    return Grant(**row) if row else None


async def add_grant(
    tx: Tx, grant_id: UUID, project_id: UUID, *, user_id: UUID | None, team_id: UUID | None, role: str
) -> bool:
    """False when there is one already."""
    added = await tx.execute(
        "insert into project_grants (id, organization_id, project_id, user_id, team_id, role) "
        "values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
        (grant_id, tx.organization_id, project_id, user_id, team_id, role),
    )
    return added == 1


async def change_grant(tx: Tx, grant_id: UUID, role: str) -> None:
    """Another role."""
    await tx.execute("update project_grants set role = %s where id = %s", (role, grant_id))


async def delete_grant(tx: Tx, grant_id: UUID) -> None:
    """It ends with the commit."""
    await tx.execute("delete from project_grants where id = %s", (grant_id,))

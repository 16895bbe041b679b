"""Nobody gives what he doesn't have: which roles somebody may give to others, and take from them."""

from __future__ import annotations

from uuid import UUID

from shopfloor.base.errors import PermissionDenied
from shopfloor.domain.access import store_people as store
from shopfloor.domain.access.errors import RoleUnknown
from shopfloor.domain.access.permissions import IN_PROJECTS, OF_THE_OPERATOR, ROLES, permissions_of
from shopfloor.infra.tx import Tx


async def permissions_in(tx: Tx, role: str) -> frozenset[str]:
    """What a role holds; one of the organization's own stays until the commit. Raises: RoleUnknown."""
    if role in ROLES:
        return ROLES[role]
    own = await store.role(tx, role, lock=True)
    if own is None:
        raise RoleUnknown(f"There is no role {role!r}. GET /api/v1/roles lists them.", role=role)
    return permissions_of(role, own.permissions)


async def check_may_give(tx: Tx, role: str, project_id: UUID | None = None, *, in_projects: bool = False) -> None:
    """Whether the principal may give `role`, or take it away: in the organization, or in one project.

    `in_projects`: what it counts for in projects alone, as a team's. Raises: RoleUnknown, PermissionDenied.
    """
    needed = await permissions_in(tx, role)
    if project_id is not None or in_projects:
        needed &= IN_PROJECTS
    lacking = lacking_of(tx, needed, project_id)
    if lacking:
        raise PermissionDenied(
            f"The role {role} holds more than you do: {', '.join(lacking)}. Nobody gives, takes or changes a role "
            "above his own: ask somebody who has these permissions.",
            permission=lacking[0], lacking=lacking, role=role,
        )  # fmt: skip


def lacking_of(tx: Tx, needed: frozenset[str], project_id: UUID | None = None) -> list[str]:
    """What of `needed` the principal doesn't have itself."""
    if tx.principal.allows("owner.edit"):  # outside the operator's organization an owner has nothing of these either
        needed -= OF_THE_OPERATOR
    return sorted(each for each in needed if not tx.principal.allows(each, project_id))

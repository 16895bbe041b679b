"""What a person may do today, and where: asked at every request, so that a change counts from its commit on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from shopfloor.domain.access.permissions import ROLES
from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one user: in the whole organization, and in single projects beyond that."""

    permissions: frozenset[str]
    project_permissions: Mapping[UUID, frozenset[str]] = field(default_factory=dict[UUID, frozenset[str]])


async def rights_of(tx: Tx, user_id: UUID, role: str) -> Rights:
    """The rights of a user whose role in the organization is `role`; `tx` may be the system's."""
    del tx, user_id
    return Rights(ROLES.get(role, frozenset()))

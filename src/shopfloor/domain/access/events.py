"""What this room publishes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class MemberDisabled:
    """Somebody may nothing any more: what runs in their name ends."""

    organization_id: UUID
    user_id: UUID

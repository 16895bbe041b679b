"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

Kind = Literal["generic", "git"]


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret; its value only ever leaves the row sealed."""

    id: UUID
    project_id: UUID | None  # None: of the whole organization
    name: str
    kind: Kind
    host: str | None  # of a git secret
    username: str | None
    sealed_value: bytes = field(repr=False)
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None  # exact to a minute

"""The record of who did what: what every change says of itself, in its own transaction. The audit room keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from shopfloor.base.errors import Unavailable


class RecordUnavailable(Unavailable):
    """The record of who did what can't be written, so nothing is changed; reads go on."""

    title: ClassVar[str] = "The record can't be written"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, or one sensitive read. Values are JSON; secrets never stand in them."""

    action: str  # `project.changed`: what happened, in the past tense
    target_kind: str  # `project`
    target_id: str
    before: Mapping[str, Any] | None = None  # only the fields that changed
    after: Mapping[str, Any] | None = None
    project_id: UUID | None = None
    result: str = "done"  # or `refused`
    organization_id: UUID | None = None  # None: the principal's; the system names it

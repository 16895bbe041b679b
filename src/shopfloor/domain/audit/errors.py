"""What can go wrong in this room, besides `infra.record.RecordUnavailable`."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, NotFound


class AuditEntryNotFound(NotFound):
    """No entry has this id, or not in this organization."""

    title: ClassVar[str] = "There is no such entry"


class RestoreUnfounded(Conflict):
    """A restore is noted at a size that the log never had."""

    title: ClassVar[str] = "The log is not that long"

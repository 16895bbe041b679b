"""What can go wrong in this room."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, NotFound


class DeadLetterUnknown(NotFound):
    """No dead letter has this id, or not for this principal."""

    title: ClassVar[str] = "There is no such dead letter"


class DeadLetterSettled(Conflict):
    """Somebody has requeued or discarded it already; that is never done twice."""

    title: ClassVar[str] = "The dead letter is settled already"

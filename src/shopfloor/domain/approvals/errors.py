"""What can go wrong with an approval, for people and programs."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, NotFound, ShopfloorError


class ApprovalUnknown(NotFound):
    """No such approval in this organization, or none that this principal may see."""

    title: ClassVar[str] = "No such approval"


class ApprovalDecided(Conflict):
    """Somebody has answered already, or the job has ended: an answer never changes."""

    title: ClassVar[str] = "This has been answered already"


class OwnApproval(ShopfloorError):
    """Whoever submitted a job doesn't decide what it may do, where the project says so."""

    status: ClassVar[int] = 403
    title: ClassVar[str] = "Somebody else has to decide this"

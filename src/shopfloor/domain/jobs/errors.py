"""What can go wrong with a job, for people and programs."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, InvalidInput, NotFound, ShopfloorError


class JobNotFound(NotFound):
    """No such job in this organization."""

    title: ClassVar[str] = "No such job"


class JobEnded(Conflict):
    """The job has ended; ended jobs never change."""

    title: ClassVar[str] = "The job's state does not allow this"


class IdempotencyKeyReused(Conflict):
    """The same Idempotency-Key came with other parameters."""

    title: ClassVar[str] = "The Idempotency-Key was used for another request"


class ProjectOutOfReach(InvalidInput):
    """A request names a project that isn't there, or not for this principal."""

    title: ClassVar[str] = "No such project to work in"


class ProjectClosed(Conflict):
    """The project is paused, completed or archived: it takes no new jobs."""

    title: ClassVar[str] = "The project takes no new jobs"


class TurnUnknown(InvalidInput):
    """The job has no such finished turn to fork from."""

    title: ClassVar[str] = "No such turn"


class LeaseLost(ShopfloorError):
    """This run no longer owns its job: another worker goes on with it. Nothing more may be written."""

    status: ClassVar[int] = 409
    title: ClassVar[str] = "The run no longer owns its job"


class ReplayDiverged(ShopfloorError):
    """The replayed agent asked for something that the record does not hold."""

    status: ClassVar[int] = 409
    title: ClassVar[str] = "The replay left the record"

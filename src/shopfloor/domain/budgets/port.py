"""What the ledger is asked and what it tells: the words that other rooms share with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol
from uuid import UUID

from shopfloor.engine.providers.port import CostLimitReached
from shopfloor.infra.tx import Tx

Scope = Literal["organization", "team", "project", "user", "agent"]
Period = Literal["day", "week", "month", "total"]
BookingKind = Literal["spend", "unknown", "adjustment"]


@dataclass(frozen=True, slots=True)
class Charge:
    """Whom a call is for: by this its budgets are found, and its cost is added up."""

    organization_id: UUID
    project_id: UUID
    team_id: UUID | None  # of the project
    user_id: UUID | None  # who submitted the job
    agent: str
    job_id: UUID
    run_id: UUID
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Booking:
    """Money that became spent, or came back by a correction."""

    hold_id: UUID
    charge: Charge
    provider: str  # the organization's name for it
    model: str
    kind: BookingKind
    cost_nanos: int  # signed: a correction may be negative
    usage: Mapping[str, int]  # tokens by class, as engine/providers/port.py::Usage names them; signed like the cost
    calls: int  # 1; 0 for an adjustment
    at: datetime


Booked = Callable[[Tx, Sequence[Booking]], Awaitable[None]]
"""Who adds up what was spent, in the ledger's own commit: it must be quick, set-based and raise nothing of its own."""


@dataclass(frozen=True, slots=True)
class BudgetAlerted:
    """Published once per budget, period and threshold, with the commit that reached it."""

    organization_id: UUID
    alert_id: UUID


@dataclass(frozen=True, slots=True)
class BudgetPaused:
    """Published when a period can't pay for what is asked of it, and its scope stops starting work."""

    organization_id: UUID
    period_id: UUID


@dataclass(frozen=True, slots=True)
class BudgetResumed:
    """Published when a paused period has room again: a raise, a new limit, a correction."""

    organization_id: UUID
    period_id: UUID


@dataclass(frozen=True, slots=True)
class Ask:
    """Money to be set aside for one request, on every level at once."""

    hold_id: UUID
    charge: Charge
    scope: str  # of the journal: "" or the delegated agent's
    turn: int
    attempt: int
    provider: str
    model: str  # `provider/model`
    amount_nanos: int  # no bill can be higher
    job_limit_nanos: int  # the job's own level
    price_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """How a hold ends. Of an unknown one, a later bill is a correction; all else is closed once."""

    hold_id: UUID
    job_id: UUID
    state: Literal["settled", "released", "unknown"]
    cost_nanos: int | None = None  # None: nothing if released, the whole bound if unknown
    usage: Mapping[str, int] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class JobMoney:
    """A job's row, locked."""

    cost_nanos: int
    held_nanos: int


@dataclass(frozen=True, slots=True)
class JobChange:
    """What is added to a job's row, in nano-USD and tokens by class."""

    job_id: UUID
    held_nanos: int
    cost_nanos: int
    unknown_nanos: int
    usage: Mapping[str, int]
    holds: int  # how many of them were made: the money it waited for is there


class JobBooks(Protocol):
    """The room whose jobs pay. Everybody locks in this order: runs, jobs, budget periods, holds; each by id."""

    async def lock(
        self, tx: Tx, run_ids: Sequence[UUID], job_ids: Sequence[UUID]
    ) -> tuple[set[UUID], dict[UUID, JobMoney]]:
        """Which of these runs still own their job, kept so until the commit; and the jobs' rows, locked."""
        ...

    async def write(self, tx: Tx, changes: Sequence[JobChange]) -> None:
        """Add these to the rows, in one statement."""
        ...

    async def check(self, tx: Tx) -> list[str]:
        """What of the jobs' money doesn't agree with their holds, a sentence each."""
        ...


class BudgetExhausted(CostLimitReached):
    """A budget can't pay for the next call now, so it wasn't made: the job waits for the budget.

    Facts: `available_nanos`, what a smaller call could hold; budget, scope, period, limit, spent, when it renews.
    """

    title: ClassVar[str] = "The budget does not pay for the next call"
    retryable: ClassVar[bool] = True


class RunOver(Exception):
    """The run that asks for money no longer owns its job. The jobs room says so in its own words."""

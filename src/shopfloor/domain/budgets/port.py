"""What the ledger is asked and what it tells: the words that other rooms share with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

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

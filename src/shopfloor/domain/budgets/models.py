"""The rows of this room that people see, as the queries return them. Amounts are nano-USD."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shopfloor.domain.budgets.port import Period, Scope


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a scope may spend in each period."""

    id: UUID
    scope_type: Scope
    scope_id: str  # an id as text; of an agent, its name
    project_id: UUID | None  # of a project's budget: who may read it
    period: Period
    time_zone: str  # IANA; where its days begin
    limit_nanos: int
    hard: bool  # a soft one alerts, and refuses nothing
    thresholds: list[int]  # per cent of the limit
    auto_pause: bool
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class BudgetRaise:
    """More money for a while, on top of the limit."""

    id: UUID
    budget_id: UUID
    amount_nanos: int
    reason: str
    created_by: UUID
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None  # ended early


@dataclass(frozen=True, slots=True)
class BudgetPeriod:
    """What one budget came to in one day, week, month, or in all."""

    id: UUID
    budget_id: UUID
    starts_at: datetime
    ends_at: datetime | None  # None: never, of a budget in total
    spent_nanos: int
    held_nanos: int
    unknown_nanos: int  # part of spent: calls whose bill is not known, at their upper bound
    carried_nanos: int  # part of spent: what was spent before the budget was made
    calls: int
    over_nanos: int
    paused_at: datetime | None
    paused_because: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """A threshold that was reached."""

    id: UUID
    budget_id: UUID
    period_id: UUID
    threshold: int
    spent_nanos: int
    limit_nanos: int
    created_at: datetime

"""A budget as it stands now: its period, its raises, what is left, why it is paused, what the month will come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from shopfloor.domain.budgets import store_budgets as store
from shopfloor.domain.budgets.forecast import DAYS, Forecast, forecast
from shopfloor.domain.budgets.models import Budget, BudgetPeriod
from shopfloor.domain.budgets.periods import period_bounds
from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget and its present period; `period` None: nothing was asked of it yet."""

    budget: Budget
    name: str  # of the scope, as people call it
    starts_at: datetime
    ends_at: datetime | None
    period: BudgetPeriod | None
    raised_nanos: int

    @property
    def spent_nanos(self) -> int:
        """In the present period."""
        return self.period.spent_nanos if self.period else 0

    @property
    def held_nanos(self) -> int:
        """Set aside for calls that are out."""
        return self.period.held_nanos if self.period else 0

    @property
    def limit_nanos(self) -> int:
        """With what it is raised by."""
        return self.budget.limit_nanos + self.raised_nanos

    @property
    def left_nanos(self) -> int:
        """What a call may still ask for; negative when more was spent than is allowed now."""
        return self.limit_nanos - self.spent_nanos - self.held_nanos

    @property
    def percent(self) -> float | None:
        """Of the limit that is spent; None: of a limit of nothing."""
        return round(100 * self.spent_nanos / self.limit_nanos, 2) if self.limit_nanos else None


async def list_budgets(
    tx: Tx, *, scope_type: str | None, scope_id: str | None, paused: bool | None, after: UUID | None, limit: int
) -> list[BudgetState]:
    """Oldest first, those that the principal may read."""
    rows = await store.budgets(tx, scope_type=scope_type, scope_id=scope_id, paused=paused, after=after, limit=limit)
    return await states_of(tx, rows)


async def states_of(tx: Tx, rows: Sequence[Budget]) -> list[BudgetState]:
    """Each as it stands now, in their order."""
    now = tx.clock.now()
    bounds = {row.id: period_bounds(row.period, row.time_zone, now) for row in rows}
    periods = await store.periods_at(tx, [(budget_id, start) for budget_id, (start, _) in bounds.items()])
    raised = await store.raised(tx, bounds)
    names = await store.names_of(tx, {(row.scope_type, row.scope_id) for row in rows})
    return [
        BudgetState(
            row, names.get((row.scope_type, row.scope_id), row.scope_id), *bounds[row.id], periods.get(row.id),
            raised.get(row.id, 0),
        )
        for row in rows
    ]  # fmt: skip


_PAST: dict[tuple[UUID, str], tuple[date, dict[str, int]]] = {}  # days that are over, of budgets lately looked at
_MOST_PAST: Final = 5_000


async def forecast_of(tx: Tx, state: BudgetState) -> Forecast:
    """Of the present month of the budget's scope. A limit is reached in it only where its period is the month."""
    budget, now = state.budget, tx.clock.now()
    today_start, _ = period_bounds("day", budget.time_zone, now)
    month_end = period_bounds("month", budget.time_zone, now)[1]
    assert month_end is not None
    today = now.astimezone(ZoneInfo(budget.time_zone)).date()
    past = await _past_days(tx, budget, today, today_start)
    spent_today = sum((await store.spent_by_day(tx, budget, today_start, now)).values())
    this_month = sum(nanos for day, nanos in past.items() if day >= today.replace(day=1).isoformat())
    of_month = budget.period == "month"
    return forecast(
        [past.get((today - timedelta(days=back)).isoformat(), 0) for back in range(DAYS, 0, -1)],
        spent_nanos=state.spent_nanos if of_month else this_month + spent_today,
        today_nanos=spent_today,
        now=now,
        month_ends_at=month_end,
        limit_nanos=state.limit_nanos if of_month else None,
        elapsed_days=(now - today_start) / timedelta(days=1),
    )


async def _past_days(tx: Tx, budget: Budget, today: date, today_start: datetime) -> dict[str, int]:
    """Nano-USD by day, of the last 31 days. Added up once a day and process: a month may hold a million calls.

    A bill that is corrected later moves a forecast from the next day on; what is spent is always the ledger's.
    """
    key = budget.id, budget.time_zone
    known = _PAST.get(key)
    if known is not None and known[0] == today:
        return known[1]
    if len(_PAST) >= _MOST_PAST:
        _PAST.clear()
    days = await store.spent_by_day(tx, budget, today_start - timedelta(days=32), today_start)
    _PAST[key] = today, days
    return days


def why_paused(state: BudgetState) -> dict[str, object] | None:
    """Facts for whoever asks why nothing starts, and what to do; None: it isn't paused."""
    period = state.period
    if period is None or period.paused_at is None:
        return None
    until = f" until {state.ends_at.isoformat()}, when its next {state.budget.period} begins" if state.ends_at else ""
    return {
        **(period.paused_because or {}),
        "what_to_do": (
            f"Give it more for a while with POST /api/v1/budgets/{state.budget.id}/raises (shopfloor budget raise), "
            f"raise its limit, or wait{until}. Jobs that wait go on by themselves. What was paused for another reason "
            "than its limit goes on by POST .../resume (shopfloor budget resume)."
        ),
    }

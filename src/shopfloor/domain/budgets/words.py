"""What people are told of a budget: that it reached a threshold, that it was paused, that it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from shopfloor.base.money import format_usd
from shopfloor.domain.budgets import store_budgets as store
from shopfloor.domain.budgets.models import Budget, BudgetPeriod
from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell; `data` is for programs, and holds no secret."""

    kind: str
    title: str
    body: str
    data: dict[str, Any]
    project_id: UUID | None


async def alerted(tx: Tx, alert_id: UUID) -> Told | None:
    """None: the budget is gone."""
    alert = await store.alert(tx, alert_id)
    budget = await store.budget_even_deleted(tx, alert.budget_id) if alert else None
    period = await store.period(tx, alert.period_id) if alert else None
    if alert is None or budget is None or period is None or budget.deleted_at is not None:
        return None
    named = await _named(tx, budget)
    spent, limit = format_usd(alert.spent_nanos), format_usd(alert.limit_nanos)
    body = (
        f"{spent} of {limit} is spent: {alert.threshold} % of the {budget.period} budget of {named} is reached. "
        f"{_until(budget, period)}"
    )
    what = (
        " A call that doesn't fit is not made, and its job waits."
        if budget.hard
        else " Nothing is refused: it is soft."
    )
    data = _data(budget, period, named) | {
        "alert_id": str(alert.id), "threshold": alert.threshold, "spent_nanos": alert.spent_nanos,
        "limit_nanos": alert.limit_nanos, "reached_at": alert.created_at.isoformat(),
    }  # fmt: skip
    title = f"{alert.threshold} % of the {budget.period} budget of {named} is spent"
    return Told("budget.alert", title, body + what, data, budget.project_id)


async def paused(tx: Tx, period_id: UUID) -> Told | None:
    """None: it goes on already, or is gone."""
    period = await store.period(tx, period_id)
    budget = await store.budget_even_deleted(tx, period.budget_id) if period else None
    if period is None or budget is None or budget.deleted_at is not None or period.paused_at is None:
        return None
    named = await _named(tx, budget)
    limit = budget.limit_nanos + (await store.raised(tx, [budget.id])).get(budget.id, 0)
    body = (
        f"The {budget.period} budget of {named} can't pay for the next call: {format_usd(period.spent_nanos)} is "
        f"spent of {format_usd(limit)}. Its jobs wait, and go on by themselves as "
        f"soon as there is room.\n\nGive it more for a while with `shopfloor budget raise {budget.id}`, raise its "
        f"limit with `shopfloor budget edit {budget.id}`, or wait. {_until(budget, period)}"
    )
    data = _data(budget, period, named) | {"paused_at": period.paused_at.isoformat(), "because": period.paused_because}
    return Told("budget.paused", f"Paused: the {budget.period} budget of {named}", body, data, budget.project_id)


async def resumed(tx: Tx, period_id: UUID) -> Told | None:
    """None: it is paused again, or gone."""
    period = await store.period(tx, period_id)
    budget = await store.budget_even_deleted(tx, period.budget_id) if period else None
    if period is None or budget is None or budget.deleted_at is not None or period.paused_at is not None:
        return None
    named = await _named(tx, budget)
    body = f"The {budget.period} budget of {named} has room again. Jobs that waited for it go on, in their order."
    title = f"Goes on: the {budget.period} budget of {named}"
    return Told("budget.resumed", title, body, _data(budget, period, named), budget.project_id)


async def _named(tx: Tx, budget: Budget) -> str:
    names = await store.names_of(tx, [(budget.scope_type, budget.scope_id)])
    return f"{budget.scope_type} {names.get((budget.scope_type, budget.scope_id), budget.scope_id)}"


def _data(budget: Budget, period: BudgetPeriod, named: str) -> dict[str, Any]:
    return {
        "budget_id": str(budget.id), "scope": {"type": budget.scope_type, "id": budget.scope_id, "name": named},
        "period": budget.period, "period_starts_at": period.starts_at.isoformat(),
        "period_ends_at": period.ends_at.isoformat() if period.ends_at else None,
        "hard": budget.hard,
    }  # fmt: skip


def _until(budget: Budget, period: BudgetPeriod) -> str:
    if period.ends_at is None:
        return "It doesn't renew by itself."
    return f"It renews at {local(period.ends_at, budget.time_zone)}."


def local(at: datetime, time_zone: str) -> str:
    """`2026-03-01 00:00 Europe/Berlin`."""
    return f"{at.astimezone(ZoneInfo(time_zone)):%Y-%m-%d %H:%M} {time_zone}"

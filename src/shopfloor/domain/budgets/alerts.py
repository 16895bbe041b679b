"""Thresholds that a budget has reached, and what follows for a scope that was paused, when the budget itself changes.

What calls spend is watched by the ledger, in the commit that books them.
"""

from __future__ import annotations

from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.budgets import store_budgets as store
from shopfloor.domain.budgets.models import Budget, BudgetAlert, BudgetPeriod
from shopfloor.domain.budgets.port import BudgetAlerted, BudgetResumed
from shopfloor.infra.tx import Tx


def reached(thresholds: list[int], spent_nanos: int, limit_nanos: int) -> list[int]:
    """Which of these per cents of the limit are spent. Of a limit of nothing every one is, once something is spent."""
    return [each for each in sorted(thresholds) if spent_nanos and spent_nanos * 100 >= each * limit_nanos]


async def look_again(tx: Tx, budget: Budget, period: BudgetPeriod) -> None:
    """After a change: alerts for thresholds that are reached now, and an end to a pause if there is room again."""
    limit = budget.limit_nanos + (await store.raised(tx, [budget.id])).get(budget.id, 0)
    for threshold in reached(budget.thresholds, period.spent_nanos, limit):
        row = BudgetAlert(new_id(), budget.id, period.id, threshold, period.spent_nanos, limit, tx.clock.now())
        if await store.add_alert(tx, row):
            await tx.publish(BudgetAlerted(tx.organization_id, row.id))
    if period.paused_at is not None and _has_room(budget, period, limit) and await store.resume(tx, period.id):
        await tx.publish(BudgetResumed(tx.organization_id, period.id))


def _has_room(budget: Budget, period: BudgetPeriod, limit_nanos: int) -> bool:
    """For the call that the pause was made for; of a pause for another reason, for any."""
    if not budget.hard or not budget.auto_pause:
        return True
    asked = (period.paused_because or {}).get("asked_nanos", 1)
    return limit_nanos - period.spent_nanos >= asked


async def list_alerts(tx: Tx, *, budget_id: UUID | None, before: UUID | None, limit: int) -> list[BudgetAlert]:
    """Newest first, of one budget or of all that the principal may read."""
    return await store.alerts(tx, budget_id=budget_id, before=before, limit=limit)

"""Alerts and pauses: what follows in the same commit when a period's money is spent, or doesn't pay for a call."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.base.money import format_usd
from shopfloor.domain.budgets.alerts import reached
from shopfloor.domain.budgets.batch import Books, OverBudget, PeriodBook
from shopfloor.domain.budgets.port import Ask, BudgetAlerted, BudgetExhausted, BudgetPaused, BudgetResumed
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

_WAITED_FOR: Final = timedelta(seconds=60)  # a mark that somebody waits counts so long
_NOW_LEFT: LiteralString = (
    "b.limit_nanos + coalesce((select sum(r.amount_nanos) from budget_raises r where r.budget_id = b.id "
    "and r.ended_at is null and r.expires_at > %(at)s), 0)::bigint - p.spent_nanos"
)


async def follow(tx: Tx, books: Books) -> None:
    """After the books are written: alerts for what is reached, a pause for a bill over its hold, a word to waiters."""
    for period in sorted(books.periods.values(), key=lambda each: each.id):
        if not period.changed:
            continue
        for threshold in reached(period.thresholds, period.spent_nanos, period.limit_nanos):
            if threshold not in period.alerted:
                await _alert(tx, period, threshold)
        if period.overrun is not None and period.hard and period.auto_pause and not period.paused:
            await _pause_overrun(tx, period, period.overrun)
        if period.wanted_at is not None and books.at - period.wanted_at < _WAITED_FOR and books.closed:
            tx.wake(f"budget:{period.budget_id}")


async def _alert(tx: Tx, period: PeriodBook, threshold: int) -> None:
    alert_id = new_id()
    added = await tx.execute(
        "insert into budget_alerts (id, organization_id, budget_id, period_id, threshold, spent_nanos, limit_nanos, "
        "created_at) values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (period_id, threshold) do nothing",
        (
            alert_id, tx.organization_id, period.budget_id, period.id, threshold, period.spent_nanos,
            period.limit_nanos, tx.clock.now(),
        ),
    )  # fmt: skip
    if added:
        await tx.publish(BudgetAlerted(tx.organization_id, alert_id))


async def _pause_overrun(tx: Tx, period: PeriodBook, overrun: tuple[int, int]) -> None:
    bound, bill = overrun
    because = {
        "reason": "bill-over-hold",
        "detail": f"A call was billed {format_usd(bill)} though it was to cost {format_usd(bound)} at most: check the "
        "price of its model before more is spent.",
        "bound_nanos": bound, "bill_nanos": bill,
    }  # fmt: skip
    await _set_pause(tx, period.id, because)


async def pause_exhausted(tx: Tx, error: BudgetExhausted) -> None:
    """The scope starts no more work: a call of it can't be paid though nothing else were held. Twice changes nothing.

    In the transaction that lets the job wait, after its run and job are locked.
    """
    period_id, asked = error.facts.get("period_id"), error.facts.get("bound_nanos")
    if not error.facts.get("exhausted") or not isinstance(period_id, str):
        return
    row = await tx.one(
        f"select p.id, {_NOW_LEFT} as left from budget_periods p join budgets b on b.id = p.budget_id "
        "where p.id = %(id)s and p.paused_at is null and b.hard and b.auto_pause and b.deleted_at is null "
        "and (p.ends_at is null or p.ends_at > %(at)s) for no key update of p",
        {"id": UUID(period_id), "at": tx.clock.now()},
    )
    if row is None or not isinstance(asked, int) or row["left"] >= asked:
        return
    because = {
        "reason": "exhausted",
        "detail": f"A call may cost {format_usd(asked)}, {format_usd(max(0, row['left']))} are left.",
        "asked_nanos": asked, "left_nanos": row["left"],
    }  # fmt: skip
    await _set_pause(tx, row["id"], because)


async def _set_pause(tx: Tx, period_id: UUID, because: dict[str, Any]) -> None:
    paused = await tx.execute(
        "update budget_periods set paused_at = %s, paused_because = %s where id = %s and paused_at is null",
        (tx.clock.now(), jsonb(because), period_id),
    )
    if paused:
        await tx.publish(BudgetPaused(tx.organization_id, period_id))


_RESUMABLE: LiteralString = (
    "update budget_periods set paused_at = null, paused_because = null where id in ("
    "select p.id from budget_periods p join budgets b on b.id = p.budget_id where p.paused_at is not null "
    "and (p.ends_at <= %(at)s or b.deleted_at is not null or not b.hard or not b.auto_pause "
    f"or (p.paused_because->>'asked_nanos')::bigint <= {_NOW_LEFT}) "
    "order by p.id limit 100 for no key update of p skip locked) returning id, organization_id"
)


async def resume_where_room(tx: Tx) -> int:
    """End the pauses whose period is over or has room again (a system transaction); how many."""
    rows = await tx.all(_RESUMABLE, {"at": tx.clock.now()})
    for row in rows:
        await tx.publish(BudgetResumed(row["organization_id"], row["id"]))
    return len(rows)


def refusal(ask: Ask, over: OverBudget) -> BudgetExhausted:
    """What the caller is told: which budget, what is left of it, when there is more, what to do."""
    period = over.period
    named = f"The {period.scope_type}'s budget for the {period.period}" if period.period != "total" else (
        f"The {period.scope_type}'s budget in total"
    )  # fmt: skip
    renews = f" It renews at {period.ends_at:%Y-%m-%d %H:%M} UTC." if period.ends_at else ""
    held = "" if over.for_good else f", {format_usd(period.held_nanos)} of it held for calls in flight"
    return BudgetExhausted(
        f"{named} has {format_usd(max(0, period.left_nanos))} of {format_usd(period.limit_nanos)} left{held}; the next "
        f"call may cost {format_usd(ask.amount_nanos)}. The job waits and goes on by itself: raise the budget with "
        f"`shopfloor budget raise {period.budget_id}` or wait.{renews}",
        available_nanos=over.available_nanos,
        bound_nanos=ask.amount_nanos,
        exhausted=over.for_good,
        budget_id=str(period.budget_id),
        period_id=str(period.id),
        scope={"type": period.scope_type, "id": period.scope_id},
        period=period.period,
        limit_nanos=period.limit_nanos,
        spent_nanos=period.spent_nanos,
        held_nanos=period.held_nanos,
        renews_at=period.ends_at.isoformat() if period.ends_at else None,
    )

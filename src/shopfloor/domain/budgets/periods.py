"""Which period an instant falls into, its row, and the lock that keeps a new budget and calls in flight apart."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from shopfloor.base.ids import new_id
from shopfloor.domain.budgets.models import Budget, BudgetPeriod
from shopfloor.domain.budgets.port import Period
from shopfloor.infra.tx import Tx

FROM_THE_START: Final = datetime(1970, 1, 1, tzinfo=UTC)  # of what a budget in total counts

PERIOD_COLUMNS: Final = (
    "id, budget_id, starts_at, ends_at, spent_nanos, held_nanos, unknown_nanos, carried_nanos, calls, over_nanos, "
    "paused_at, paused_because"
)
_BOOKS: Final = 0x62756467  # the first half of the advisory lock's key; the second is the organization's


def period_bounds(period: Period, time_zone: str, at: datetime) -> tuple[datetime, datetime | None]:
    """When the period that holds `at` starts, and the instant it ends before, in UTC; None: never.

    A day lasts from one local midnight to the next, so 23 to 25 hours where clocks change; weeks begin on Monday
    (ISO 8601). Raises: zoneinfo.ZoneInfoNotFoundError.
    """
    if period == "total":
        return FROM_THE_START, None
    zone = ZoneInfo(time_zone)
    first = _first_day(period, at.astimezone(zone).date())
    start, end = _midnight(first, zone), _midnight(_next_first(period, first), zone)
    # Clocks that went back over midnight show yesterday's date again: the new day, once begun, goes on.
    return (end, _midnight(_next_first(period, _next_first(period, first)), zone)) if end <= at else (start, end)


def _first_day(period: Period, day: date) -> date:
    match period:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def _next_first(period: Period, first: date) -> date:
    match period:
        case "week":
            return first + timedelta(days=7)
        case "month":
            return (first + timedelta(days=31)).replace(day=1)
        case _:
            return first + timedelta(days=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day: the jump where midnight is skipped, its first time where it comes twice.

    Source: PEP 495, `fold=0` reads both that way.
    """
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


async def ensure_period(tx: Tx, budget: Budget, at: datetime) -> BudgetPeriod:
    """The row of the budget's period that holds `at`, made empty if there is none yet. It isn't locked.

    `change.py` makes the first one with what was spent before the budget was there; later ones begin at nothing.
    """
    starts_at, ends_at = period_bounds(budget.period, budget.time_zone, at)
    await tx.execute(
        "insert into budget_periods (id, organization_id, budget_id, starts_at, ends_at) "
        "select %s, organization_id, id, %s, %s from budgets where id = %s "
        "on conflict (budget_id, starts_at) do nothing",
        (new_id(), starts_at, ends_at, budget.id),
    )
    row = await tx.one(
        f"select {PERIOD_COLUMNS} from budget_periods where budget_id = %s and starts_at = %s", (budget.id, starts_at)
    )
    assert row is not None
    return BudgetPeriod(**row)


async def share_books(tx: Tx, organization_id: UUID) -> None:
    """Before the budgets of a call are looked up: until this transaction ends, none is made and none changes.

    A statement of its own, before the one that reads budgets: that one then sees every budget made so far.
    """
    await tx.execute("select pg_advisory_xact_lock_shared(%s, hashtext(%s))", (_BOOKS, str(organization_id)))


async def close_books(tx: Tx, organization_id: UUID) -> None:
    """Before a budget is made or its periods change: waits for the transactions that move money, and holds up others.

    What was spent is added up then, and each hold that is still open is tied to the new period (`holds.period_ids`),
    so that it is booked there too: nothing is missed and nothing counts twice. Taken before any row is locked.
    """
    await tx.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (_BOOKS, str(organization_id)))

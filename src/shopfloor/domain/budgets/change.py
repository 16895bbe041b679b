"""What people do with budgets: make one, change it, remove it. Each time the books are closed for a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from shopfloor.base.errors import InvalidInput, NotFound, PreconditionFailed
from shopfloor.base.ids import new_id, parse_id
from shopfloor.domain.access import store_people as people
from shopfloor.domain.access.projects import find_project
from shopfloor.domain.access.teams import find_team
from shopfloor.domain.budgets import store_budgets as store
from shopfloor.domain.budgets.alerts import look_again
from shopfloor.domain.budgets.errors import BudgetExists, BudgetUnknown, ScopeUnknown
from shopfloor.domain.budgets.models import Budget, BudgetPeriod
from shopfloor.domain.budgets.periods import close_books, ensure_period, period_bounds
from shopfloor.domain.budgets.port import BudgetResumed, Period, Scope
from shopfloor.infra.tx import Tx

WAKE = "budgets"  # who waits for money looks again


@dataclass(frozen=True, slots=True)
class NewBudget:
    """What a budget is to be."""

    scope_type: Scope
    scope_id: str | None  # None: the organization itself
    period: Period
    limit_nanos: int
    hard: bool
    time_zone: str | None = None  # None: the organization's
    thresholds: tuple[int, ...] = (80, 90, 95, 100)
    auto_pause: bool = True


async def create_budget(tx: Tx, new: NewBudget, *, agents: Callable[[], list[str]]) -> Budget:
    """It counts what its scope has spent in the present period already, and the calls in flight.

    Raises: ScopeUnknown, BudgetExists, InvalidInput, PermissionDenied.
    """
    tx.require("budget.edit")
    zone = _zone(new.time_zone or await _organization_zone(tx))
    scope_id, project_id = await _scope(tx, new, agents)
    now = tx.clock.now()
    row = Budget(
        id=new_id(),
        scope_type=new.scope_type,
        scope_id=scope_id,
        project_id=project_id,
        period=new.period,
        time_zone=zone,
        limit_nanos=new.limit_nanos,
        hard=new.hard,
        thresholds=sorted(set(new.thresholds)),
        auto_pause=new.auto_pause,
        version=1,
        created_by=tx.principal.user_id or tx.principal.id,
        created_at=now,
        updated_at=now,
        deleted_at=None,
    )
    await close_books(tx, tx.organization_id)
    if not await store.add_budget(tx, row):
        same = await store.same_budget(tx, row.scope_type, row.scope_id, row.period)
        raise BudgetExists(
            f"This {row.scope_type} has a budget for the {row.period} already: {same}. Change that one with PATCH, or "
            "give it more for a while with a raise.",
            budget_id=str(same),
        )
    period = await _count(tx, row)
    after = _told(row) | {"spent_nanos": period.spent_nanos}
    await tx.record("budget.created", "budget", row.id, after=after, project_id=project_id)
    await look_again(tx, row, period)
    tx.wake(WAKE)
    return row


async def find_budget(tx: Tx, budget_id: UUID, *, lock: bool = False) -> Budget:
    """Raises: BudgetUnknown."""
    found = await store.budget(tx, budget_id, lock=lock)
    if found is None:
        raise BudgetUnknown(
            f"There is no budget {budget_id}, or none that you may see. GET /api/v1/budgets lists them."
        )
    return found


async def change_budget(tx: Tx, budget: Budget, given: Mapping[str, Any]) -> Budget:
    """It with these fields changed. Another time zone counts the present period anew, from its new midnight.

    Raises: InvalidInput, PermissionDenied, PreconditionFailed.
    """
    tx.require("budget.edit")
    changed = replace(budget, **given)
    changed = replace(changed, time_zone=_zone(changed.time_zone), thresholds=sorted(set(changed.thresholds)))
    if changed == budget:
        return budget
    await close_books(tx, tx.organization_id)
    if not await store.write_budget(tx, changed):
        raise PreconditionFailed("Somebody changed the budget at the same moment. Read it again, then repeat this.")
    before, after = _told(budget), _told(changed)
    differs = [name for name in before if before[name] != after[name]]
    await tx.record(
        "budget.changed", "budget", budget.id,
        before={name: before[name] for name in differs}, after={name: after[name] for name in differs},
        project_id=budget.project_id,
    )  # fmt: skip
    if changed.time_zone != budget.time_zone:
        period = await _count(tx, changed)
        await store.resume_others(tx, budget.id, period.id)  # the days of the zone before count no more
    else:
        period = await ensure_period(tx, changed, tx.clock.now())
    await look_again(tx, changed, period)
    tx.wake(WAKE)
    return await find_budget(tx, budget.id)


async def resume_budget(tx: Tx, budget: Budget) -> None:
    """End its pause by hand: after a bill that was higher than its hold, once its price is right.

    It isn't paused: nothing happens. A call that still can't be paid pauses it again. Raises: PermissionDenied.
    """
    tx.require("budget.edit")
    period = await ensure_period(tx, budget, tx.clock.now())
    if await store.resume(tx, period.id):
        before = {"paused_because": period.paused_because}
        await tx.record("budget.resumed", "budget", budget.id, before=before, project_id=budget.project_id)
        await tx.publish(BudgetResumed(tx.organization_id, period.id))
        tx.wake(WAKE)


async def remove_budget(tx: Tx, budget: Budget) -> None:
    """From the next call on nothing is held against it; its history stays. Raises: PermissionDenied."""
    tx.require("budget.edit")
    await close_books(tx, tx.organization_id)
    if not await store.delete_budget(tx, budget):
        raise PreconditionFailed("Somebody changed the budget at the same moment. Read it again, then repeat this.")
    await tx.record("budget.removed", "budget", budget.id, before=_told(budget), project_id=budget.project_id)
    tx.wake(WAKE)


async def _count(tx: Tx, budget: Budget) -> BudgetPeriod:
    """The present period, with what was spent in it whoever watched. The books are closed."""
    now = tx.clock.now()
    period = await ensure_period(tx, budget, now)
    starts_at, ends_at = period_bounds(budget.period, budget.time_zone, now)
    await store.count_from_holds(tx, budget, period.id, starts_at, ends_at)
    found = await store.period(tx, period.id)
    assert found is not None
    return found


async def _organization_zone(tx: Tx) -> str:
    row = await tx.one("select time_zone from organizations where id = %s", (tx.organization_id,))
    assert row is not None
    return str(row["time_zone"])


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise InvalidInput(
            f"There is no time zone {name!r}. Write an IANA name, e.g. Europe/Berlin or UTC.", time_zone=name
        )
    return name


async def _scope(tx: Tx, new: NewBudget, agents: Callable[[], list[str]]) -> tuple[str, UUID | None]:
    """The scope's id as it is stored, and the project whose readers may read it. Raises: ScopeUnknown."""
    kind, name = new.scope_type, new.scope_id
    if kind == "organization":
        if name is not None and parse_id(name) != tx.organization_id:
            raise ScopeUnknown("A budget of an organization is your own organization's: leave scope.id out.")
        return str(tx.organization_id), None
    if name is None:
        raise ScopeUnknown(f"Name which {kind} the budget is for in scope.id.")
    try:
        match kind:
            case "project":
                project_id = (await find_project(tx, name)).id
                return str(project_id), project_id
            case "team":
                return str((await find_team(tx, name)).id), None
            case "user":
                return str(await _user(tx, name)), None
            case "agent":
                if name not in agents():
                    raise ScopeUnknown(f"There is no agent {name!r}. There are: {', '.join(agents())}.", agent=name)
                return name, None
    except NotFound as error:
        raise ScopeUnknown(error.detail) from error


async def _user(tx: Tx, name: str) -> UUID:
    user_id = parse_id(name)
    if user_id is None:
        row = await tx.one(
            "select id from users where organization_id = %s and lower(email) = lower(%s)", (tx.organization_id, name)
        )
        user_id = row["id"] if row else None
    if user_id is None or await people.member(tx, user_id) is None:
        raise ScopeUnknown(f"There is no member {name!r}. GET /api/v1/members lists them; give an id or an address.")
    return user_id


def _told(row: Budget) -> dict[str, Any]:
    names = ("scope_type", "scope_id", "period", "time_zone", "limit_nanos", "hard", "thresholds", "auto_pause")
    return {name: getattr(row, name) for name in names}

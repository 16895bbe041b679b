"""Every query about budgets as people see them, always inside the organization of the transaction's principal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from shopfloor.domain.budgets.models import Budget, BudgetAlert, BudgetPeriod, BudgetRaise
from shopfloor.domain.budgets.periods import PERIOD_COLUMNS
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

_BUDGET: Final = (
    "id, scope_type, scope_id, project_id, period, time_zone, limit_nanos, hard, thresholds, auto_pause, version, "
    "created_by, created_at, updated_at, deleted_at"
)
_RAISE: Final = "id, budget_id, amount_nanos, reason, created_by, created_at, expires_at, ended_at"
_ALERT: Final = "id, budget_id, period_id, threshold, spent_nanos, limit_nanos, created_at"
_PAUSED: LiteralString = (
    "exists (select from budget_periods p where p.organization_id = b.organization_id and p.budget_id = b.id "
    "and p.paused_at is not null and p.starts_at <= %(now)s and (p.ends_at is null or p.ends_at > %(now)s))"
)
# Of a budget's scope, among the holds. An agent's name and the ids are texts in `scope_id`.
OF_SCOPE: Final[dict[str, LiteralString]] = {
    "organization": "true",
    "team": "team_id = %(scope_id)s::uuid",
    "project": "project_id = %(scope_id)s::uuid",
    "user": "user_id = %(scope_id)s::uuid",
    "agent": "agent = %(scope_id)s",
}


async def budget(tx: Tx, budget_id: UUID, *, lock: bool = False) -> Budget | None:
    """By id, if it is not deleted and the principal may read it."""
    places = tx.projects_where("budget.read")
    last: LiteralString = " for no key update" if lock else ""
    row = await tx.one(
        f"select {_BUDGET} from budgets where id = %s and deleted_at is null "
        f"and (%s::uuid[] is null or project_id = any(%s)){last}",
        (budget_id, places, places),
    )
    return Budget(**row) if row else None


async def budgets(
    tx: Tx, *, scope_type: str | None, scope_id: str | None, paused: bool | None, after: UUID | None, limit: int
) -> list[Budget]:
    """Oldest first; to who may read single projects, only theirs."""
    where: LiteralString = ""
    if scope_type is not None:
        where += " and b.scope_type = %(scope_type)s"
    if scope_id is not None:
        where += " and b.scope_id = %(scope_id)s"
    if paused is not None:
        where += f" and {_PAUSED}" if paused else f" and not {_PAUSED}"
    rows = await tx.all(
        f"select {_BUDGET} from budgets b where b.organization_id = %(organization)s and b.deleted_at is null "
        "and (%(after)s::uuid is null or b.id > %(after)s) "
        f"and (%(places)s::uuid[] is null or b.project_id = any(%(places)s)){where} order by b.id limit %(limit)s",
        {
            "organization": tx.organization_id, "after": after, "places": tx.projects_where("budget.read"),
            "scope_type": scope_type, "scope_id": scope_id, "now": tx.clock.now(), "limit": limit,
        },
    )  # fmt: skip
    return [Budget(**row) for row in rows]


async def same_budget(tx: Tx, scope_type: str, scope_id: str, period: str) -> UUID | None:
    """The budget that this scope has for this period."""
    row = await tx.one(
        "select id from budgets where organization_id = %s and scope_type = %s and scope_id = %s and period = %s "
        "and deleted_at is null",
        (tx.organization_id, scope_type, scope_id, period),
    )
    return row["id"] if row else None


async def add_budget(tx: Tx, row: Budget) -> bool:
    """False when the scope has one for this period."""
    added = await tx.execute(
        "insert into budgets (id, organization_id, scope_type, scope_id, project_id, period, time_zone, limit_nanos, "
        "hard, thresholds, auto_pause, created_by, created_at, updated_at) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "on conflict (organization_id, scope_type, scope_id, period) where deleted_at is null do nothing",
        (
            row.id, tx.organization_id, row.scope_type, row.scope_id, row.project_id, row.period, row.time_zone,
            row.limit_nanos, row.hard, row.thresholds, row.auto_pause, row.created_by, row.created_at, row.updated_at,
        ),
    )  # fmt: skip
    return added == 1


async def write_budget(tx: Tx, row: Budget) -> bool:
    """What may change of `row`. False when it has changed since `row` was read."""
    changed = await tx.execute(
        "update budgets set time_zone = %s, limit_nanos = %s, hard = %s, thresholds = %s, auto_pause = %s, "
        "version = version + 1, updated_at = %s where id = %s and version = %s and deleted_at is null",
        (
            row.time_zone, row.limit_nanos, row.hard, row.thresholds, row.auto_pause, tx.clock.now(), row.id,
            row.version,
        ),
    )  # fmt: skip
    return changed == 1


async def delete_budget(tx: Tx, row: Budget) -> bool:
    """Its history stays. False when it has changed since `row` was read."""
    now = tx.clock.now()
    gone = await tx.execute(
        "update budgets set deleted_at = %s, updated_at = %s, version = version + 1 "
        "where id = %s and version = %s and deleted_at is null",
        (now, now, row.id, row.version),
    )
    return gone == 1


async def periods_at(tx: Tx, starts: Sequence[tuple[UUID, datetime]]) -> dict[UUID, BudgetPeriod]:
    """The periods that start then, by budget. One that nothing was spent in yet has no row."""
    rows = await tx.all(
        f"select {PERIOD_COLUMNS} from budget_periods where organization_id = %s "
        "and (budget_id, starts_at) in (select * from unnest(%s::uuid[], %s::timestamptz[]))",
        (tx.organization_id, [each for each, _ in starts], [at for _, at in starts]),
    )
    return {row["budget_id"]: BudgetPeriod(**row) for row in rows}


async def raised(tx: Tx, budget_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Nano-USD of open raises, by budget."""
    rows = await tx.all(
        "select budget_id, sum(amount_nanos)::bigint as nanos from budget_raises where organization_id = %s "
        "and budget_id = any(%s) and ended_at is null and expires_at > %s group by budget_id",
        (tx.organization_id, list(budget_ids), tx.clock.now()),
    )
    return {row["budget_id"]: row["nanos"] for row in rows}


async def add_raise(tx: Tx, row: BudgetRaise) -> None:
    """A new one."""
    await tx.execute(
        "insert into budget_raises (id, organization_id, budget_id, amount_nanos, reason, created_by, created_at, "
        "expires_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            row.id, tx.organization_id, row.budget_id, row.amount_nanos, row.reason, row.created_by, row.created_at,
            row.expires_at,
        ),
    )  # fmt: skip


async def a_raise(tx: Tx, budget_id: UUID, raise_id: UUID) -> BudgetRaise | None:
    """By id."""
    row = await tx.one(f"select {_RAISE} from budget_raises where id = %s and budget_id = %s", (raise_id, budget_id))
    return BudgetRaise(**row) if row else None


async def raises(
    tx: Tx, budget_id: UUID, *, before: UUID | None, limit: int, only_open: bool = False
) -> list[BudgetRaise]:
    """Newest first."""
    rows = await tx.all(
        f"select {_RAISE} from budget_raises where organization_id = %s and budget_id = %s "
        "and (%s::uuid is null or id < %s) and (not %s or (ended_at is null and expires_at > %s)) "
        "order by id desc limit %s",
        (tx.organization_id, budget_id, before, before, only_open, tx.clock.now(), limit),
    )
    return [BudgetRaise(**row) for row in rows]


async def end_raise(tx: Tx, raise_id: UUID) -> bool:
    """False when it is over already."""
    now = tx.clock.now()
    ended = await tx.execute(
        "update budget_raises set ended_at = %s where id = %s and ended_at is null and expires_at > %s",
        (now, raise_id, now),
    )
    return ended == 1


async def alerts(tx: Tx, *, budget_id: UUID | None, before: UUID | None, limit: int) -> list[BudgetAlert]:
    """Newest first: of one budget, or of all that the principal may read."""
    if budget_id is not None:
        rows = await tx.all(
            f"select {_ALERT} from budget_alerts where organization_id = %s and budget_id = %s "
            "and (%s::uuid is null or id < %s) order by id desc limit %s",
            (tx.organization_id, budget_id, before, before, limit),
        )
        return [BudgetAlert(**row) for row in rows]
    places = tx.projects_where("budget.read")
    columns: LiteralString = ", ".join(f"a.{name}" for name in _ALERT.split(", "))
    rows = await tx.all(
        f"select {columns} from budget_alerts a where a.organization_id = %s and (%s::uuid is null or a.id < %s) "
        "and exists (select from budgets b where b.id = a.budget_id "
        "and (%s::uuid[] is null or b.project_id = any(%s))) order by a.id desc limit %s",
        (tx.organization_id, before, before, places, places, limit),
    )
    return [BudgetAlert(**row) for row in rows]


async def alert(tx: Tx, alert_id: UUID) -> BudgetAlert | None:
    """By id."""
    row = await tx.one(f"select {_ALERT} from budget_alerts where id = %s", (alert_id,))
    return BudgetAlert(**row) if row else None


async def period(tx: Tx, period_id: UUID) -> BudgetPeriod | None:
    """By id."""
    row = await tx.one(f"select {PERIOD_COLUMNS} from budget_periods where id = %s", (period_id,))
    return BudgetPeriod(**row) if row else None


async def budget_even_deleted(tx: Tx, budget_id: UUID) -> Budget | None:
    """By id, for the platform itself."""
    row = await tx.one(f"select {_BUDGET} from budgets where id = %s", (budget_id,))
    return Budget(**row) if row else None


async def spent_by_day(tx: Tx, of: Budget, since: datetime, until: datetime) -> dict[str, int]:
    """Nano-USD of calls made in `since <= at < until`, by local day (ISO) of the budget's time zone."""
    rows = await tx.all(
        "select (held_at at time zone %(zone)s)::date::text as day, sum(cost_nanos)::bigint as nanos from holds "
        f"where organization_id = %(organization)s and {OF_SCOPE[of.scope_type]} and held_at >= %(since)s "
        "and held_at < %(until)s and state in ('settled', 'unknown') group by 1",
        {
            "zone": of.time_zone, "organization": tx.organization_id, "scope_id": of.scope_id, "since": since,
            "until": until,
        },
    )  # fmt: skip
    return {row["day"]: row["nanos"] for row in rows}


async def count_from_holds(tx: Tx, of: Budget, period_id: UUID, since: datetime, until: datetime | None) -> None:
    """Make the period's figures those of the holds made in it, and tie to it those whose cost may still change.

    The books are closed meanwhile. `carried_nanos` is what the ledger's entries of this period don't say.
    """
    values: dict[str, Any] = {
        "period": period_id, "organization": tx.organization_id, "scope_id": of.scope_id, "since": since,
        "until": until,
    }  # fmt: skip
    mine: LiteralString = (
        f"organization_id = %(organization)s and {OF_SCOPE[of.scope_type]} and held_at >= %(since)s "
        "and (%(until)s::timestamptz is null or held_at < %(until)s)"
    )
    await tx.execute(
        "update budget_periods set spent_nanos = now_.spent, held_nanos = now_.held, unknown_nanos = now_.unknown, "
        "calls = now_.calls, carried_nanos = carried_nanos + now_.spent - spent_nanos from (select "
        "coalesce(sum(cost_nanos) filter (where state in ('settled', 'unknown')), 0)::bigint as spent, "
        "coalesce(sum(bound_nanos) filter (where state = 'held'), 0)::bigint as held, "
        "coalesce(sum(cost_nanos) filter (where state = 'unknown'), 0)::bigint as unknown, "
        f"count(*) filter (where state in ('settled', 'unknown')) as calls from holds where {mine}) now_ "
        "where id = %(period)s",
        values,
    )
    await tx.execute(
        f"update holds set period_ids = period_ids || %(period)s::uuid where {mine} "
        "and state in ('held', 'unknown') and not period_ids @> array[%(period)s::uuid]",
        values,
    )


async def names_of(tx: Tx, scopes: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What people call each scope: slugs of projects and teams, addresses of users."""
    found: dict[tuple[str, str], str] = {}
    wanted = list(scopes)
    for kind, query in _NAMES.items():
        ids = [UUID(each) for scope, each in wanted if scope == kind]
        if ids:
            for row in await tx.all(query, (ids,)):
                found[kind, str(row["id"])] = row["name"]
    return found


_NAMES: dict[str, LiteralString] = {
    "project": "select id, slug as name from projects where id = any(%s)",
    "team": "select id, slug as name from teams where id = any(%s)",
    "user": "select id, email as name from users where id = any(%s)",
    "organization": "select id, name from organizations where id = any(%s)",
}


async def remembered_raise(tx: Tx, key: str) -> tuple[bytes, UUID] | None:
    """The request's digest and the raise that this Idempotency-Key made."""
    row = await tx.one(
        "select request_digest, body from idempotency_keys where principal_id = %s and route = 'budget-raises' "
        "and key = %s",
        (tx.principal.id, key),
    )
    return (bytes(row["request_digest"]), UUID(row["body"]["raise_id"])) if row else None


async def remember_raise(tx: Tx, key: str, digest: bytes, raise_id: UUID) -> bool:
    """False when another request with this key was faster; ours waited for its commit."""
    added = await tx.execute(
        "insert into idempotency_keys (organization_id, principal_id, route, key, request_digest, status, body) "
        "values (%s, %s, 'budget-raises', %s, %s, 201, %s) on conflict do nothing",
        (tx.organization_id, tx.principal.id, key, digest, jsonb({"raise_id": str(raise_id)})),
    )
    return added == 1


async def resume(tx: Tx, period_id: UUID) -> bool:
    """The period is no longer paused. False when it wasn't."""
    resumed = await tx.execute(
        "update budget_periods set paused_at = null, paused_because = null where id = %s and paused_at is not null",
        (period_id,),
    )
    return resumed == 1


async def resume_others(tx: Tx, budget_id: UUID, period_id: UUID) -> None:
    """No period of the budget but this one is paused."""
    await tx.execute(
        "update budget_periods set paused_at = null, paused_because = null where organization_id = %s "
        "and budget_id = %s and id <> %s and paused_at is not null",
        (tx.organization_id, budget_id, period_id),
    )


async def add_alert(tx: Tx, row: BudgetAlert) -> bool:
    """False when this threshold was told in this period already."""
    added = await tx.execute(
        "insert into budget_alerts (id, organization_id, budget_id, period_id, threshold, spent_nanos, limit_nanos, "
        "created_at) values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (period_id, threshold) do nothing",
        (
            row.id, tx.organization_id, row.budget_id, row.period_id, row.threshold, row.spent_nanos, row.limit_nanos,
            row.created_at,
        ),
    )  # fmt: skip
    return added == 1

"""The ledger's statements: each reads or writes a whole batch, inside the organization of the transaction's principal.

Locked in this order: runs and jobs (by the room whose jobs pay), budget periods, holds; each by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.budgets.batch import Books, HoldRow, PeriodBook, scopes_of
from shopfloor.domain.budgets.periods import period_bounds
from shopfloor.domain.budgets.port import Ask, Charge, Closing
from shopfloor.infra.json_column import jsonb, jsonb_or_null
from shopfloor.infra.tx import Tx

_WANTED_AGAIN: Final = timedelta(seconds=5)  # a period's mark that somebody waits is set anew after so long

_BUDGETS: LiteralString = (
    "select b.id, b.scope_type, b.scope_id, b.period, b.time_zone from budgets b "
    "where b.organization_id = %s and b.deleted_at is null "
    "and (b.scope_type, b.scope_id) in (select * from unnest(%s::text[], %s::text[]))"
)
_LOCKED: LiteralString = (
    "select p.id, b.id as budget_id, b.scope_type, b.scope_id, b.period, b.hard, b.auto_pause, b.thresholds, "
    "b.limit_nanos + coalesce((select sum(r.amount_nanos) from budget_raises r where r.budget_id = b.id "
    "and r.ended_at is null and r.expires_at > %(at)s), 0)::bigint as limit_nanos, p.starts_at, p.ends_at, "
    "p.spent_nanos, p.held_nanos, p.unknown_nanos, p.calls, p.over_nanos, p.paused_at is not null as paused, "
    "p.wanted_at, array(select a.threshold from budget_alerts a where a.period_id = p.id) as alerted "
    "from budget_periods p join budgets b on b.id = p.budget_id "
    "where p.organization_id = %(organization)s and p.id in ("
    "select id from budget_periods where (budget_id, starts_at) in "
    "(select * from unnest(%(budgets)s::uuid[], %(starts)s::timestamptz[])) "
    "union select unnest(%(ids)s::uuid[])) order by p.id for no key update of p"
)
_MAKE_PERIODS: LiteralString = (
    "insert into budget_periods (id, organization_id, budget_id, starts_at, ends_at) "
    "select id, %(organization)s, budget_id, starts_at, ends_at from unnest(%(new)s::uuid[], %(budgets)s::uuid[], "
    "%(starts)s::timestamptz[], %(ends)s::timestamptz[]) as made(id, budget_id, starts_at, ends_at) "
    "order by budget_id on conflict (budget_id, starts_at) do nothing"
)
_HOLDS: LiteralString = (
    "select id, organization_id, job_id, run_id, project_id, team_id, user_id, agent, labels, state, bound_nanos, "
    "cost_nanos, provider, model, price_id, period_ids from holds where id = any(%s) order by id{lock}"
)
_WRITE: LiteralString = """
with closed as (
  update holds h set state = c.state, cost_nanos = c.cost, usage = c.usage, reason = coalesce(c.reason, h.reason),
    ended_at = %(at)s
  from unnest(%(c_id)s::uuid[], %(c_state)s::text[], %(c_cost)s::bigint[], %(c_usage)s::jsonb[], %(c_reason)s::text[])
    as c(id, state, cost, usage, reason)
  where h.id = c.id
), made as (
  insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, bound_nanos, project_id,
    team_id, user_id, agent, provider, labels, price_id, period_ids, held_at)
  select id, %(organization)s, job_id, run_id, scope, turn, attempt, model, 'held', bound, project_id, team_id, user_id,
    agent, provider, labels, price_id, periods::uuid[], %(at)s
  from unnest(%(h_id)s::uuid[], %(h_job)s::uuid[], %(h_run)s::uuid[], %(h_scope)s::text[], %(h_turn)s::int[],
    %(h_attempt)s::int[], %(h_model)s::text[], %(h_bound)s::bigint[], %(h_project)s::uuid[], %(h_team)s::uuid[],
    %(h_user)s::uuid[], %(h_agent)s::text[], %(h_provider)s::text[], %(h_labels)s::jsonb[], %(h_price)s::uuid[],
    %(h_periods)s::text[]) as m(id, job_id, run_id, scope, turn, attempt, model, bound, project_id, team_id, user_id,
    agent, provider, labels, price_id, periods)
), moved as (
  update budget_periods p set spent_nanos = m.spent, held_nanos = m.held, unknown_nanos = m.unknown, calls = m.calls,
    over_nanos = m.over, wanted_at = m.wanted
  from unnest(%(p_id)s::uuid[], %(p_spent)s::bigint[], %(p_held)s::bigint[], %(p_unknown)s::bigint[],
    %(p_calls)s::bigint[], %(p_over)s::bigint[], %(p_wanted)s::timestamptz[])
    as m(id, spent, held, unknown, calls, over, wanted)
  where p.id = m.id
)
insert into ledger_entries (organization_id, hold_id, job_id, kind, debit, credit, amount_nanos, period_ids, price_id,
  reason, at)
select %(organization)s, hold_id, job_id, kind, debit, credit, amount, periods::uuid[], price_id, reason, %(at)s
from unnest(%(e_hold)s::uuid[], %(e_job)s::uuid[], %(e_kind)s::text[], %(e_debit)s::text[], %(e_credit)s::text[],
  %(e_amount)s::bigint[], %(e_periods)s::text[], %(e_price)s::uuid[], %(e_reason)s::text[])
  as e(hold_id, job_id, kind, debit, credit, amount, periods, price_id, reason)
"""


async def read_periods(tx: Tx, books: Books, asks: Iterable[Ask], ids: Iterable[UUID]) -> None:
    """Lock the present periods of everything that `asks` are held against, and those of `ids`, in the order of ids.

    A period that nobody has used yet is made.
    """
    organization_id, at = tx.organization_id, books.at
    scopes = sorted({scope for ask in asks for scope in scopes_of(ask.charge)})
    budgets: list[dict[str, Any]] = []
    if scopes:
        wanted = ([kind for kind, _ in scopes], [name for _, name in scopes])
        budgets = await tx.all(_BUDGETS, (organization_id, *wanted))
    bounds = [_bounds(row, at) for row in budgets]
    values: dict[str, Any] = {
        "organization": organization_id, "at": at, "budgets": [row["id"] for row in budgets],
        "starts": [start for start, _ in bounds], "ends": [end for _, end in bounds], "ids": sorted(set(ids)),
    }  # fmt: skip
    if not budgets and not values["ids"]:
        return
    current = {row["id"]: start for row, (start, _) in zip(budgets, bounds, strict=True)}
    rows = await tx.all(_LOCKED, values)
    if len([row for row in rows if current.get(row["budget_id"]) == row["starts_at"]]) < len(budgets):
        await tx.execute(_MAKE_PERIODS, values | {"new": [new_id() for _ in budgets]})
        rows = await tx.all(_LOCKED, values)
    for row in rows:
        period = PeriodBook(**row)
        books.periods[period.id] = period
        if current.get(period.budget_id) == period.starts_at:
            books.current.setdefault((period.scope_type, period.scope_id), []).append(period)


_known_bounds: dict[tuple[str, str], tuple[datetime, datetime | None]] = {}  # a handful: one a zone and kind of period


def _bounds(row: dict[str, Any], at: datetime) -> tuple[datetime, datetime | None]:
    key = row["period"], row["time_zone"]
    known = _known_bounds.get(key)
    if known is None or not (known[0] <= at and (known[1] is None or at < known[1])):
        known = _known_bounds[key] = period_bounds(row["period"], row["time_zone"], at)
    return known


async def periods_of_holds(tx: Tx, closings: Sequence[Closing]) -> set[UUID]:
    """Where the holds to be closed are counted. Not locked: while the books are shared, none is added."""
    ids = sorted({closing.hold_id for closing in closings})
    rows = await tx.all("select period_ids from holds where id = any(%s) and state in ('held', 'unknown')", (ids,))
    return {each for row in rows for each in row["period_ids"]}


async def read_holds(tx: Tx, books: Books, closings: Sequence[Closing]) -> None:
    """Lock the holds to be closed."""
    rows = await tx.all(_HOLDS.format(lock=" for no key update"), (sorted({each.hold_id for each in closings}),))
    for row in rows:
        charge = Charge(
            row["organization_id"], row["project_id"], row["team_id"], row["user_id"], row["agent"] or "",
            row["job_id"], row["run_id"], row["labels"],
        )  # fmt: skip
        books.holds[row["id"]] = HoldRow(
            row["id"], row["state"], row["bound_nanos"], row["cost_nanos"], charge, row["provider"] or "",
            row["model"], row["price_id"], tuple(row["period_ids"]),
        )  # fmt: skip


async def known_holds(tx: Tx, asks: Sequence[Ask]) -> set[UUID]:
    """Those that are held already: the answer to an earlier commit was lost."""
    rows = await tx.all("select id from holds where id = any(%s)", ([ask.hold_id for ask in asks],))
    return {row["id"] for row in rows}


async def write(tx: Tx, books: Books) -> None:
    """Holds, periods and entries, in one statement."""
    made, closed, entries = books.made, books.closed, books.entries
    periods = [period for period in books.periods.values() if _mark(period, books.at)]
    if not (made or closed or entries or periods):
        return
    await tx.execute(
        _WRITE,
        {
            "organization": tx.organization_id, "at": books.at,
            "c_id": [each.hold_id for each in closed], "c_state": [each.state for each in closed],
            "c_cost": [each.cost_nanos for each in closed],
            "c_usage": [jsonb_or_null(dict(each.usage)) if each.usage else None for each in closed],
            "c_reason": [each.reason for each in closed],
            "h_id": [ask.hold_id for ask, _ in made], "h_job": [ask.charge.job_id for ask, _ in made],
            "h_run": [ask.charge.run_id for ask, _ in made], "h_scope": [ask.scope for ask, _ in made],
            "h_turn": [ask.turn for ask, _ in made], "h_attempt": [ask.attempt for ask, _ in made],
            "h_model": [ask.model for ask, _ in made], "h_bound": [ask.amount_nanos for ask, _ in made],
            "h_project": [ask.charge.project_id for ask, _ in made], "h_team": [ask.charge.team_id for ask, _ in made],
            "h_user": [ask.charge.user_id for ask, _ in made], "h_agent": [ask.charge.agent for ask, _ in made],
            "h_provider": [ask.provider for ask, _ in made],
            "h_labels": [jsonb(dict(ask.charge.labels)) for ask, _ in made],
            "h_price": [ask.price_id for ask, _ in made], "h_periods": [_array(ids) for _, ids in made],
            "p_id": [each.id for each in periods], "p_spent": [each.spent_nanos for each in periods],
            "p_held": [each.held_nanos for each in periods], "p_unknown": [each.unknown_nanos for each in periods],
            "p_calls": [each.calls for each in periods], "p_over": [each.over_nanos for each in periods],
            "p_wanted": [each.wanted_at for each in periods],
            "e_hold": [each.hold_id for each in entries], "e_job": [each.job_id for each in entries],
            "e_kind": [each.kind for each in entries], "e_debit": [each.debit for each in entries],
            "e_credit": [each.credit for each in entries], "e_amount": [each.amount_nanos for each in entries],
            "e_periods": [_array(each.period_ids) for each in entries], "e_price": [each.price_id for each in entries],
            "e_reason": [each.reason for each in entries],
        },
    )  # fmt: skip


def _mark(period: PeriodBook, at: datetime) -> bool:
    """Whether its row is to be written; who waits is noted, so that other processes tell of the room they make."""
    if period.wanted and (period.wanted_at is None or at - period.wanted_at > _WANTED_AGAIN):
        period.wanted_at = at
        return True
    return period.changed


def _array(ids: Sequence[UUID]) -> str:
    """As PostgreSQL writes an array: unnest takes apart one level only where all are of one length."""
    return "{" + ",".join(map(str, ids)) + "}"

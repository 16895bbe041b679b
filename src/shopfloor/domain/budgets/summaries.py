"""What was spent in a day or a week, and how the budgets stand: the figures, and the same as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Final, LiteralString

from shopfloor.base.money import format_usd
from shopfloor.domain.budgets import store_budgets as store
from shopfloor.domain.budgets.state import BudgetState, states_of
from shopfloor.domain.budgets.words import local
from shopfloor.infra.tx import Tx

_MOST: Final = 10  # lines of each table


@dataclass(frozen=True, slots=True)
class Line:
    """Something money was spent on."""

    name: str
    nanos: int
    calls: int


@dataclass(frozen=True, slots=True)
class AlertLine:
    """A threshold that was reached in the window."""

    budget: str
    threshold: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one window. Money is nano-USD."""

    organization: str
    title: str  # `2026-03-01`, or the first and the last day
    starts_at: datetime
    ends_at: datetime
    time_zone: str
    spent_nanos: int
    before_nanos: int  # in as long a time before
    unknown_nanos: int
    calls: int
    projects: Sequence[Line]
    models: Sequence[Line]
    jobs: Sequence[Line]
    budgets: Sequence[BudgetState]
    alerts: Sequence[AlertLine]


async def gather(tx: Tx, *, title: str, starts_at: datetime, ends_at: datetime, time_zone: str) -> Summary:
    """Calls count in the window in which they were made. Ten lines of each kind at most, the dearest first."""
    window: dict[str, object] = {
        "organization": tx.organization_id,
        "since": starts_at,
        "until": ends_at,
        "most": _MOST,
    }
    whole = await tx.one(
        "select coalesce(sum(cost_nanos) filter (where held_at >= %(since)s), 0)::bigint as spent, "
        "coalesce(sum(cost_nanos) filter (where held_at < %(since)s), 0)::bigint as before, "
        "coalesce(sum(cost_nanos) filter (where held_at >= %(since)s and state = 'unknown'), 0)::bigint as unknown, "
        "count(*) filter (where held_at >= %(since)s) as calls from holds where organization_id = %(organization)s "
        "and held_at >= %(earlier)s and held_at < %(until)s and state in ('settled', 'unknown')",
        window | {"earlier": starts_at - (ends_at - starts_at)},
    )
    assert whole is not None
    rows = await store.budgets(tx, scope_type=None, scope_id=None, paused=None, after=None, limit=200)
    states = sorted(await states_of(tx, rows), key=lambda each: -(each.percent or 0))
    alerts = await tx.all(
        "select b.scope_type, b.scope_id, b.period, a.threshold, a.created_at from budget_alerts a "
        "join budgets b on b.id = a.budget_id where a.organization_id = %(organization)s "
        "and a.created_at >= %(since)s and a.created_at < %(until)s order by a.id limit 50",
        window,
    )
    names = await store.names_of(tx, {(row["scope_type"], row["scope_id"]) for row in alerts})
    organization = await tx.one("select name from organizations where id = %s", (tx.organization_id,))
    assert organization is not None
    return Summary(
        organization=organization["name"],
        title=title,
        starts_at=starts_at,
        ends_at=ends_at,
        time_zone=time_zone,
        spent_nanos=whole["spent"],
        before_nanos=whole["before"],
        unknown_nanos=whole["unknown"],
        calls=whole["calls"],
        projects=await _lines(tx, _BY_PROJECT, window),
        models=await _lines(tx, _BY_MODEL, window),
        jobs=await _lines(tx, _BY_JOB, window),
        budgets=states[:_MOST],
        alerts=[
            AlertLine(
                f"{row['scope_type']} {names.get((row['scope_type'], row['scope_id']), row['scope_id'])}, "
                f"{row['period']}",
                row["threshold"],
                row["created_at"],
            )
            for row in alerts
        ],
    )


_SUMS: LiteralString = "sum(h.cost_nanos)::bigint as nanos, count(*) as calls from holds h"
_WHERE: LiteralString = (
    " where h.organization_id = %(organization)s and h.held_at >= %(since)s and h.held_at < %(until)s "
    "and h.state in ('settled', 'unknown') group by 1 order by nanos desc, 1 limit %(most)s"
)
_BY_PROJECT: LiteralString = (
    f"select coalesce(p.slug, 'other projects') as name, {_SUMS} left join projects p on p.id = h.project_id{_WHERE}"
)
_BY_MODEL: LiteralString = f"select h.model as name, {_SUMS}{_WHERE}"
_BY_JOB: LiteralString = (  # jobs of projects that the reader may not see stay out; in the sums they count
    f"select h.job_id::text || coalesce(' (' || h.agent || ')', '') as name, {_SUMS} "
    f"join projects p on p.id = h.project_id{_WHERE}"
)


async def _lines(tx: Tx, query: LiteralString, window: dict[str, object]) -> list[Line]:
    return [Line(row["name"], row["nanos"], row["calls"]) for row in await tx.all(query, window)]


def subject(found: Summary) -> str:
    """Of the mail."""
    return f"{found.organization}: {format_usd(found.spent_nanos)} spent, {found.title}"


def as_text(found: Summary) -> str:
    """For people who read mail as text, and for terminals."""
    parts = [_first_lines(found)]
    for heading, rows in _tables(found):
        width = max(len(row[0]) for row in rows)
        parts.append("\n".join([heading, *(f"  {row[0]:<{width}}  {'  '.join(row[1:])}" for row in rows)]))
    return "\n\n".join(parts)


def as_html(found: Summary) -> str:
    """The same as a page without pictures, scripts or links to follow. Every text is escaped."""
    parts = [f"<p>{escape(each)}</p>" for each in _first_lines(found).split("\n")]
    for heading, rows in _tables(found):
        cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        parts.append(f'<h2>{escape(heading)}</h2><table cellpadding="4">{cells}</table>')
    title = f"<title>{escape(subject(found))}</title>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{title}</head><body>{"".join(parts)}</body></html>'
    )


def _first_lines(found: Summary) -> str:
    last = local(found.ends_at - timedelta(minutes=1), found.time_zone)
    spent, before = format_usd(found.spent_nanos), format_usd(found.before_nanos)
    lines = [
        f"{found.organization}, {local(found.starts_at, found.time_zone)} to {last}",
        f"{spent} spent in {found.calls:,} calls; {before} in the same time before.",
    ]
    if found.unknown_nanos:
        lines.append(f"Of it {format_usd(found.unknown_nanos)} for calls of unknown fate, at the most they can cost.")
    return "\n".join(lines)


def _tables(found: Summary) -> list[tuple[str, list[list[str]]]]:
    """Headings and rows of text; a table without rows is left out."""
    spent = [("Projects", found.projects), ("Models", found.models), ("Dearest jobs", found.jobs)]
    tables = [
        (heading, [[line.name, format_usd(line.nanos), f"{line.calls:,} calls"] for line in lines])
        for heading, lines in spent
    ]
    tables.append(("Budgets now", [_budget_row(each) for each in found.budgets]))
    alerts = [[each.budget, f"{each.threshold} %", local(each.at, found.time_zone)] for each in found.alerts]
    tables.append(("Alerts", alerts))
    return [(heading, rows) for heading, rows in tables if rows]


def _budget_row(each: BudgetState) -> list[str]:
    paused = each.period is not None and each.period.paused_at is not None
    return [
        f"{each.budget.scope_type} {each.name}, {each.budget.period}",
        f"{format_usd(each.spent_nanos)} of {format_usd(each.limit_nanos)}",
        "" if each.percent is None else f"{each.percent:g} %",
        "paused" if paused else "",
    ]

"""Every booking, call by call, as an export has it: page by page, so that memory stays flat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, LiteralString
from uuid import UUID

from shopfloor.base.principal import Principal
from shopfloor.domain.usage.check import A_CALL, BOOKED, MODEL, SIGNED
from shopfloor.domain.usage.models import Call
from shopfloor.infra.tx import Store, Tx, begin

PAGE: Final = 1_000  # bookings of one transaction

# Through `projects`: what a person can't see of them, they don't see here.
_CALLS: Final[LiteralString] = (
    f"select e.id as entry_id, e.at, h.held_at as called_at, e.kind, ({SIGNED})::bigint as cost_nanos, "
    f"e.hold_id, e.job_id, h.project_id, p.slug as project, h.team_id, h.user_id, h.agent, h.provider, "
    f"{MODEL} as model, case when {A_CALL} then coalesce(h.usage, '{{}}') else '{{}}' end as usage, "
    "h.labels, coalesce(e.price_id, h.price_id) as price_id "
    "from ledger_entries e join holds h on h.id = e.hold_id join projects p on p.id = h.project_id "
    f"where e.organization_id = %(organization)s and {BOOKED} and e.at < %(until)s "
    "and (%(projects)s::uuid[] is null or h.project_id = any(%(projects)s)) "
    "and (e.at, e.id) > (%(at)s::timestamptz, %(entry)s::bigint) order by e.at, e.id limit %(limit)s"
)


@dataclass(frozen=True, slots=True)
class Span:
    """From the start of one day to the end of another, where the organization is."""

    start: datetime
    until: datetime  # excluded
    projects: list[UUID] | None  # None: all that the asker may see
    zone: str


async def span_of(tx: Tx, first: date, last: date, *, zone: str, projects: list[UUID] | None) -> Span:
    """The moments between which the days lie."""
    row = await tx.one(
        "select %s::date::timestamp at time zone %s as start, (%s::date + 1)::timestamp at time zone %s as until",
        (first, zone, last, zone),
    )
    assert row is not None
    return Span(row["start"], row["until"], projects, zone)


async def page_of_calls(tx: Tx, span: Span, *, after: tuple[datetime, int] | None, limit: int = PAGE) -> list[Call]:
    """In the order they were booked."""
    at, entry = after or (span.start, -1)
    rows = await tx.all(
        _CALLS,
        {
            "organization": tx.organization_id, "until": span.until, "projects": span.projects, "at": at,
            "entry": entry, "limit": limit,
        },
    )  # fmt: skip
    return [Call(**row) for row in rows]


async def calls(store: Store, principal: Principal, span: Span, *, size: int = PAGE) -> AsyncIterator[list[Call]]:
    """All pages of `size` bookings, each a transaction of its own; the first one also when it is empty."""
    after: tuple[datetime, int] | None = None
    while True:
        async with begin(store, principal) as tx:
            page = await page_of_calls(tx, span, after=after, limit=size)
        yield page
        if len(page) < size:
            return
        after = (page[-1].at, page[-1].entry_id)

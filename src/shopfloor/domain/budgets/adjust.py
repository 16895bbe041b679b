"""Corrections of what calls cost: new entries in the ledger, never a change of one, and every sum moved with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString
from uuid import UUID

from shopfloor.domain.budgets.periods import share_books
from shopfloor.domain.budgets.port import Booked, Booking, Charge
from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class Correction:
    """What a settled call should have cost, by which price."""

    hold_id: UUID
    cost_nanos: int
    price_id: UUID | None
    reason: str


# In the order that everything here is locked in: jobs, budget periods, holds; within each by id.
_LOCK_JOBS: Final[LiteralString] = (
    "select 1 from jobs where id in (select job_id from holds where id = any(%s)) order by id for no key update"
)
_LOCK_PERIODS: Final[LiteralString] = (
    "select 1 from budget_periods where id in (select unnest(period_ids) from holds where id = any(%s)) "
    "order by id for no key update"
)
_HOLDS: Final[LiteralString] = (
    "select h.id, h.job_id, h.run_id, h.project_id, h.team_id, h.user_id, h.agent, h.provider, h.labels, h.period_ids, "
    "case when starts_with(h.model, h.provider || '/') then substr(h.model, length(h.provider) + 2) else h.model end "
    "as model, h.cost_nanos from holds h where h.id = any(%s) and h.state = 'settled' and h.provider is not null "
    "order by h.id for no key update"
)
_MOVED: Final[LiteralString] = (
    "with moved as (select * from unnest(%(hold)s::uuid[], %(delta)s::bigint[]) as m(hold_id, delta)) "
)
_JOBS: Final[LiteralString] = (
    _MOVED + "update jobs j set cost_nanos = j.cost_nanos + d.delta, version = j.version + 1, updated_at = now() from "
    "(select h.job_id, sum(m.delta)::bigint as delta from moved m join holds h on h.id = m.hold_id group by 1) d "
    "where j.id = d.job_id"
)
_PERIODS: Final[LiteralString] = (
    _MOVED + "update budget_periods p set spent_nanos = p.spent_nanos + d.delta from (select each.period_id, "
    "sum(m.delta)::bigint as delta from moved m join holds h on h.id = m.hold_id cross join lateral "
    "unnest(h.period_ids) as each(period_id) group by 1) d where p.id = d.period_id"
)
_CORRECTED: Final[LiteralString] = (
    _MOVED + "update holds h set cost_nanos = h.cost_nanos + m.delta from moved m where h.id = m.hold_id"
)
_ENTRIES: Final[LiteralString] = (
    "insert into ledger_entries (organization_id, hold_id, job_id, kind, debit, credit, amount_nanos, period_ids, "
    "price_id, reason, at) select h.organization_id, h.id, h.job_id, 'adjustment', "
    "case when m.delta > 0 then 'spent' else 'available' end, case when m.delta > 0 then 'available' else 'spent' end, "
    "abs(m.delta), h.period_ids, m.price_id, m.reason, %(at)s from "
    "unnest(%(hold)s::uuid[], %(delta)s::bigint[], %(price)s::uuid[], %(reason)s::text[]) "
    "as m(hold_id, delta, price_id, reason) join holds h on h.id = m.hold_id order by h.id"
)


async def adjust(tx: Tx, corrections: Sequence[Correction], booked: Sequence[Booked]) -> list[Booking]:
    """Book the difference to each call's cost as it stands by now; what was booked, without calls that were right.

    Only settled calls: a call of unknown cost is corrected by its bill. Twice changes nothing the second time.
    """
    wanted = {each.hold_id: each for each in corrections}
    ids = sorted(wanted)
    await share_books(tx, tx.organization_id)
    await tx.all(_LOCK_JOBS, (ids,))
    await tx.all(_LOCK_PERIODS, (ids,))
    rows = [row for row in await tx.all(_HOLDS, (ids,)) if row["cost_nanos"] != wanted[row["id"]].cost_nanos]
    if not rows:
        return []
    now = tx.clock.now()
    deltas = [wanted[row["id"]].cost_nanos - row["cost_nanos"] for row in rows]
    moved = {
        "hold": [row["id"] for row in rows], "delta": deltas, "at": now,
        "price": [wanted[row["id"]].price_id for row in rows], "reason": [wanted[row["id"]].reason for row in rows],
    }  # fmt: skip
    for statement in (_JOBS, _PERIODS, _CORRECTED, _ENTRIES):
        await tx.execute(statement, moved)
    bookings = [
        Booking(
            row["id"],
            Charge(
                tx.organization_id, row["project_id"], row["team_id"], row["user_id"], row["agent"], row["job_id"],
                row["run_id"], row["labels"],
            ),
            row["provider"], row["model"], "adjustment", delta, {}, 0, now,
        )
        for row, delta in zip(rows, deltas, strict=True)
    ]  # fmt: skip
    for add_up in booked:
        await add_up(tx, bookings)
    tx.wake("budgets")  # less may have been owed
    return bookings

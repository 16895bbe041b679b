"""The jobs' side of the ledger: their rows in its commits, the holds that dead runs left, and whether all adds up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from shopfloor.domain.budgets.port import Closing, JobChange, JobMoney
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

_BATCH = 200


class JobsOfLedger:
    """Implements domain/budgets/port.py::JobBooks."""

    async def lock(
        self, tx: Tx, run_ids: Sequence[UUID], job_ids: Sequence[UUID]
    ) -> tuple[set[UUID], dict[UUID, JobMoney]]:
        """See domain/budgets/port.py::JobBooks.lock."""
        live: set[UUID] = set()
        if run_ids:
            # A key share: heart-beats go on beside it, a rescue waits.
            rows = await tx.all(
                "select id from runs where id = any(%s) and state = 'running' order by id for key share", (run_ids,)
            )
            live = {row["id"] for row in rows}
        rows = await tx.all(
            "select id, cost_nanos, held_nanos from jobs where id = any(%s) order by id for no key update", (job_ids,)
        )
        return live, {row["id"]: JobMoney(row["cost_nanos"], row["held_nanos"]) for row in rows}

    async def write(self, tx: Tx, changes: Sequence[JobChange]) -> None:
        """See domain/budgets/port.py::JobBooks.write."""
        await tx.execute(
            _WRITE,
            (
                [each.job_id for each in changes], [each.held_nanos for each in changes],
                [each.cost_nanos for each in changes], [each.unknown_nanos for each in changes],
                [jsonb(dict(each.usage)) for each in changes], [each.holds for each in changes],
            ),
        )  # fmt: skip

    async def check(self, tx: Tx) -> list[str]:
        """See domain/budgets/port.py::JobBooks.check."""
        rows = await tx.all(_CHECK, (tx.organization_id,))
        return [
            f"Job {row['id']}: {name}_nanos is {row[name]}, its holds say {row[f'of_holds_{name}']}."
            for row in rows
            for name in ("cost", "held", "unknown")
            if row[name] != row[f"of_holds_{name}"]
        ]


_WRITE: LiteralString = """
update jobs j set held_nanos = j.held_nanos + c.held, cost_nanos = j.cost_nanos + c.cost,
  unknown_nanos = j.unknown_nanos + c.unknown, version = j.version + 1,
  needs_nanos = case when c.holds > 0 then null else j.needs_nanos end,
  usage = case when c.usage = '{}' then j.usage else (select coalesce(jsonb_object_agg(key, n), '{}') from (
    select key, sum(value::bigint) as n from (
      select * from jsonb_each_text(j.usage) union all select * from jsonb_each_text(c.usage)) both_
    group by key) summed) end
from unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::jsonb[], %s::int[])
  as c(id, held, cost, unknown, usage, holds)
where j.id = c.id
"""

_CHECK: LiteralString = """
select * from (
  select j.id, j.cost_nanos as cost, j.held_nanos as held, j.unknown_nanos as unknown,
    coalesce(sum(h.cost_nanos) filter (where h.state in ('settled', 'unknown')), 0)::bigint as of_holds_cost,
    coalesce(sum(h.bound_nanos) filter (where h.state = 'held'), 0)::bigint as of_holds_held,
    coalesce(sum(h.cost_nanos) filter (where h.state = 'unknown'), 0)::bigint as of_holds_unknown
  from jobs j left join holds h on h.job_id = j.id where j.organization_id = %s group by j.id
) sums where (cost, held, unknown) is distinct from (of_holds_cost, of_holds_held, of_holds_unknown)
order by id limit 100
"""

# A bill that the journal recorded with its step is settled at its cost; nothing is known of the others.
_LEFT: LiteralString = """
select h.organization_id, h.id, h.job_id, b.cost_nanos, b.usage
from holds h join runs r on r.id = h.run_id
left join lateral (
  select bill.cost_nanos, bill.usage from steps s
  cross join jsonb_to_recordset(s.bills) as bill(hold uuid, cost_nanos bigint, usage jsonb)
  where s.job_id = h.job_id and s.scope = h.scope and s.turn = h.turn and s.kind = 'model' and s.state = 'done'
    and bill.hold = h.id limit 1
) b on true
where h.state = 'held' and r.state <> 'running' order by h.id limit %s
"""


async def left_by_dead_runs(tx: Tx) -> dict[UUID, list[Closing]]:
    """How the open holds of runs that are over are to be closed, by organization (a system transaction).

    A run that is over writes nothing more: what its journal says of them is final.
    """
    found: dict[UUID, list[Closing]] = {}
    for row in await tx.all(_LEFT, (_BATCH,)):
        known = row["cost_nanos"] is not None
        closing = Closing(
            row["id"],
            row["job_id"],
            "settled" if known else "unknown",
            row["cost_nanos"],
            row["usage"],
            None if known else "the run ended while the call was in flight",
        )
        found.setdefault(row["organization_id"], []).append(closing)
    return found

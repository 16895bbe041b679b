"""Who pays for a job's model calls: each is held within the job's cost limit before it leaves, and booked once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, LiteralString
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.jobs.dispatch import lock_books
from shopfloor.domain.jobs.lease import Lease, hold_fast
from shopfloor.engine.providers.port import Attempt, CostLimitReached, Usage
from shopfloor.infra.json_column import jsonb, jsonb_or_null
from shopfloor.infra.tx import Store, Tx, perform

_PATIENCE_S = 120.0  # for a database that is away


@dataclass(frozen=True, slots=True)
class Bill:
    """What one settled call cost."""

    hold: object
    cost_nanos: int
    usage: dict[str, int]


@dataclass(slots=True)
class Turn:
    """The journaled turn in hand, and what its calls have cost so far."""

    number: int
    scope: str = ""
    nanos: int = 0
    usage: dict[str, int] = field(default_factory=dict[str, int])
    bills: list[Bill] = field(default_factory=list[Bill])


turn_in_hand: ContextVar[Turn] = ContextVar("turn_in_hand")


class JobMeter:
    """Implements engine/providers/port.py::Meter for one run of one job."""

    def __init__(self, store: Store, lease: Lease, *, agent_limit_nanos: int | None = None) -> None:
        self._store = store
        self._lease = lease
        limit = lease.job.limit().cost_nanos
        self._limit_nanos = limit if agent_limit_nanos is None else min(limit, agent_limit_nanos)

    async def hold(self, attempt: Attempt) -> object:
        """Set the attempt's bound aside within the job's cost limit. Raises: CostLimitReached."""
        hold_id = new_id()
        limit = self._limit_nanos
        turn = turn_in_hand.get()

        async def work(tx: Tx) -> None:
            await hold_fast(tx, self._lease)
            if await tx.one("select 1 from holds where id = %s", (hold_id,)):
                return  # the answer to our first commit was lost
            row = await tx.one(
                "update jobs set held_nanos = held_nanos + %(bound)s where id = %(id)s "
                "and cost_nanos + held_nanos + %(bound)s <= %(limit)s returning 1",
                {"bound": attempt.bound_nanos, "id": self._lease.job_id, "limit": limit},
            )
            if row is None:
                left = await tx.one(
                    "select cost_nanos + held_nanos as n from jobs where id = %s", (self._lease.job_id,)
                )
                raise CostLimitReached(
                    "The next model call could pass the job's cost limit, so it was not made. Raise limits.cost_usd "
                    "and fork the job to go on from here.",
                    limit_nanos=limit,
                    bound_nanos=attempt.bound_nanos,
                    available_nanos=max(0, limit - int(left["n"])) if left else 0,
                )
            await tx.execute(
                "insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, "
                "bound_nanos) values (%s, %s, %s, %s, %s, %s, %s, %s, 'held', %s)",
                (
                    hold_id, tx.organization_id, self._lease.job_id, self._lease.run_id, turn.scope, turn.number,
                    attempt.number, str(attempt.model), attempt.bound_nanos,
                ),
            )  # fmt: skip

        await self._write(work)
        return hold_id

    async def settle(self, hold: object, usage: Usage, cost_nanos: int) -> None:
        """The reply came. It is booked in the commit that records it: a reply that is lost is booked as unknown."""
        turn = turn_in_hand.get()
        counts = {name: value for name, value in asdict(usage).items() if value}
        turn.bills.append(Bill(hold, cost_nanos, counts))
        turn.nanos += cost_nanos
        for name, count in counts.items():
            turn.usage[name] = turn.usage.get(name, 0) + count

    async def release(self, hold: object, reason: str) -> None:
        """The provider certainly did not bill it."""
        await self._write(lambda tx: close_hold(tx, self._lease.job_id, hold, "released", 0, None, reason))

    async def unknown(self, hold: object, reason: str) -> None:
        """It may have been billed: booked at its bound until corrected."""
        await self._write(lambda tx: close_hold(tx, self._lease.job_id, hold, "unknown", None, None, reason))

    async def _write(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        return await perform(self._store, self._lease.principal, work, patience_s=_PATIENCE_S)


async def book(tx: Tx, job_id: UUID, turn: Turn) -> None:
    """Book the bills of a turn, in the transaction that records its reply."""
    for bill in turn.bills:
        await close_hold(tx, job_id, bill.hold, "settled", bill.cost_nanos, bill.usage, None)


_SUMMED: LiteralString = (
    "(select coalesce(jsonb_object_agg(key, n), '{}') from (select key, sum(value::bigint) as n from ("
    "select * from jsonb_each_text(usage) union all select * from jsonb_each_text(%(usage)s)) both_ "
    "group by key) summed)"
)


async def close_hold(
    tx: Tx,
    job_id: UUID,
    hold: object,
    state: str,
    cost_nanos: int | None,
    usage: dict[str, int] | None,
    reason: str | None,
) -> None:
    """Close an open hold, once, and move its money to what the job has cost; `cost_nanos` None: at its bound."""
    # Money is booked whoever holds the lease by now: it was spent. Only an open hold is closed, so once.
    await lock_books(tx, job_id)
    row = await tx.one(
        "update holds set state = %s, cost_nanos = coalesce(%s, bound_nanos), usage = %s, reason = %s, "
        "ended_at = now() where id = %s and state = 'held' returning bound_nanos, cost_nanos",
        (state, cost_nanos, jsonb_or_null(usage), reason, hold),
    )
    if row is None:
        await _correct(tx, job_id, hold, state, cost_nanos, usage)
        return
    await tx.execute(
        "update jobs set held_nanos = held_nanos - %(bound)s, cost_nanos = cost_nanos + %(cost)s, "
        f"unknown_nanos = unknown_nanos + %(unknown)s, version = version + 1, usage = {_SUMMED} where id = %(id)s",
        {
            "bound": row["bound_nanos"], "cost": row["cost_nanos"], "usage": jsonb(usage or {}),
            "unknown": row["cost_nanos"] if state == "unknown" else 0, "id": job_id,
        },
    )  # fmt: skip


async def _correct(
    tx: Tx, job_id: UUID, hold: object, state: str, cost_nanos: int | None, usage: dict[str, int] | None
) -> None:
    """The reply came after the run was given up and its hold booked at the bound: now its cost is known."""
    if state == "unknown" or cost_nanos is None:
        return
    row = await tx.one(
        "with before as (select cost_nanos from holds where id = %(id)s and state = 'unknown' for update) "
        "update holds h set state = %(state)s, cost_nanos = %(cost)s, usage = %(usage)s from before "
        "where h.id = %(id)s returning before.cost_nanos",
        {"id": hold, "state": state, "cost": cost_nanos, "usage": jsonb_or_null(usage)},
    )
    if row is not None:
        await tx.execute(
            "update jobs set cost_nanos = cost_nanos - %(was)s + %(cost)s, unknown_nanos = unknown_nanos - %(was)s, "
            "version = version + 1, "
            f"usage = {_SUMMED} where id = %(id)s",
            {"was": row["cost_nanos"], "cost": cost_nanos, "usage": jsonb(usage or {}), "id": job_id},
        )

"""Who pays for a job's model calls: each is held in the ledger before it leaves, and settled once.

A bill is recorded in the commit of the reply it is for, and settled after it: whoever finds the run dead in between
settles it at its true cost (books.py), and books what is not known at its bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, cast
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.budgets.port import Ask, Charge, Closing, RunOver
from shopfloor.domain.jobs.lease import Lease, lease_lost
from shopfloor.engine.providers.port import Attempt, Usage


@dataclass(frozen=True, slots=True)
class Bill:
    """What one settled call cost."""

    hold: UUID
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
    meter: JobMeter | None = None  # who has held for it

    def recorded(self) -> list[dict[str, Any]] | None:
        """The bills as the step keeps them."""
        return [
            {"hold": str(bill.hold), "cost_nanos": bill.cost_nanos, "usage": bill.usage} for bill in self.bills
        ] or None

    async def settle(self) -> None:
        """Book the bills. Twice changes nothing the second time."""
        if self.bills and self.meter is not None:
            await self.meter.book(self.bills)


turn_in_hand: ContextVar[Turn] = ContextVar("turn_in_hand")


class JobMeter:
    """Implements engine/providers/port.py::Meter for one run of one job."""

    def __init__(self, ledger: Ledger, lease: Lease, *, agent_limit_nanos: int | None = None) -> None:
        self._ledger = ledger
        self._lease = lease
        limit = lease.job.limit().cost_nanos
        self._limit_nanos = limit if agent_limit_nanos is None else min(limit, agent_limit_nanos)
        job = lease.job
        self._charge = Charge(
            job.organization_id, job.project_id, lease.team_id, lease.user_id, job.agent, job.id, lease.run_id,
            job.labels,
        )  # fmt: skip

    async def hold(self, attempt: Attempt) -> object:
        """Set the attempt's bound aside: in the job's cost limit and each budget it counts in. May wait in line.

        Raises: CostLimitReached; BudgetExhausted, a kind of it, for which the job waits; LeaseLost.
        """
        turn = turn_in_hand.get()
        turn.meter = self
        ask = Ask(
            new_id(), self._charge, turn.scope, turn.number, attempt.number, attempt.model.provider,
            str(attempt.model), attempt.bound_nanos, self._limit_nanos,
            cast("UUID | None", getattr(attempt, "price_id", None)),
        )  # fmt: skip
        try:
            await self._ledger.hold(ask)
        except RunOver:
            raise lease_lost(self._lease) from None
        return ask.hold_id

    async def settle(self, hold: object, usage: Usage, cost_nanos: int) -> None:
        """The reply came. It is booked once it is recorded: a reply that is lost is booked as unknown."""
        turn = turn_in_hand.get()
        turn.meter = self
        counts = {name: value for name, value in asdict(usage).items() if value}
        turn.bills.append(Bill(cast("UUID", hold), cost_nanos, counts))
        turn.nanos += cost_nanos
        for name, count in counts.items():
            turn.usage[name] = turn.usage.get(name, 0) + count

    async def release(self, hold: object, reason: str) -> None:
        """The provider certainly did not bill it."""
        await self._close(Closing(cast("UUID", hold), self._lease.job_id, "released", reason=reason))

    async def unknown(self, hold: object, reason: str) -> None:
        """It may have been billed: booked at its bound until corrected."""
        await self._close(Closing(cast("UUID", hold), self._lease.job_id, "unknown", reason=reason))

    async def book(self, bills: Sequence[Bill]) -> None:
        """Settle what was billed, whoever owns the job by now: it was spent."""
        job_id = self._lease.job_id
        await self._close(*(Closing(bill.hold, job_id, "settled", bill.cost_nanos, bill.usage) for bill in bills))

    async def _close(self, *closings: Closing) -> None:
        await self._ledger.close(self._charge.organization_id, closings)

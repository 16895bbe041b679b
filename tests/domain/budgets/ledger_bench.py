"""A running job with budgets above it, and short words for what a ledger is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ledgers import ledger_of
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.budgets.port import Ask, Charge, Closing
from shopfloor.infra.tx import Store, begin, begin_system

PLENTY = 10**12


@dataclass
class Money:
    """One organization's books. Amounts are nano-USD."""

    store: Store
    owner: Principal
    project_id: UUID
    charges: list[Charge] = field(default_factory=list[Charge])

    def ledger(self, **settings: Any) -> Ledger:
        """Another process's."""
        return ledger_of(self.store, **settings)

    async def job(self) -> Charge:
        """A running job of the project."""
        job_id, run_id = new_id(), new_id()
        async with begin(self.store, self.owner) as tx:
            await tx.execute(
                "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, "
                "admitted_at, runs) values (%s, %s, %s, 'coding', 'x', 'mock/x', '{}', %s, 'running', now(), 1)",
                (job_id, tx.organization_id, self.project_id, self.owner.id),
            )
            await tx.execute(
                "insert into runs (id, organization_id, job_id, fence, worker) values (%s, %s, %s, 1, 'w')",
                (run_id, tx.organization_id, job_id),
            )
        charge = Charge(self.owner.organization_id, self.project_id, None, self.owner.user_id, "coding", job_id, run_id)
        self.charges.append(charge)
        return charge

    async def budget(
        self, limit: int, *, scope: str = "project", period: str = "month", hard: bool = True, zone: str = "UTC"
    ) -> UUID:
        """Its id. It starts empty."""
        ids = {"project": self.project_id, "organization": self.owner.organization_id, "user": self.owner.user_id}
        budget_id = new_id()
        async with begin(self.store, self.owner) as tx:
            await tx.execute(
                "insert into budgets (id, organization_id, scope_type, scope_id, project_id, period, time_zone, "
                "limit_nanos, hard, thresholds, auto_pause, created_by) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, '{80,90,100}', true, %s)",
                (
                    budget_id, tx.organization_id, scope, str(ids.get(scope, "coding")),
                    self.project_id if scope == "project" else None, period, zone, limit, hard, self.owner.id,
                ),
            )  # fmt: skip
        return budget_id

    async def period(self, budget_id: UUID) -> dict[str, Any]:
        """The newest period's row."""
        async with begin(self.store, self.owner) as tx:
            row = await tx.one(
                "select * from budget_periods where budget_id = %s order by starts_at desc limit 1", (budget_id,)
            )
        assert row is not None
        return row

    async def alerts(self) -> list[int]:
        async with begin(self.store, self.owner) as tx:
            return [row["threshold"] for row in await tx.all("select threshold from budget_alerts order by threshold")]

    async def wrong(self) -> list[str]:
        """What doesn't add up."""
        async with begin(self.store, self.owner) as tx:
            return await self.ledger().check(tx)

    async def lose(self, charge: Charge) -> None:
        """Its worker fell silent."""
        async with begin_system(self.store) as tx:
            await tx.execute(
                "update runs set state = 'lost', ended_at = now(), ending = 'lost' where id = %s", (charge.run_id,)
            )


def ask(charge: Charge, amount: int, *, limit: int = PLENTY) -> Ask:
    return Ask(new_id(), charge, "", 1, 1, "mock", "mock/x", amount, limit)


async def settle(ledger: Ledger, held: Ask, cost: int) -> None:
    await ledger.close(
        held.charge.organization_id, [Closing(held.hold_id, held.charge.job_id, "settled", cost, {"requests": 1})]
    )


async def release(ledger: Ledger, held: Ask) -> None:
    await ledger.close(held.charge.organization_id, [Closing(held.hold_id, held.charge.job_id, "released")])


async def unknown(ledger: Ledger, held: Ask) -> None:
    await ledger.close(held.charge.organization_id, [Closing(held.hold_id, held.charge.job_id, "unknown")])

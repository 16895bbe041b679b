"""Calls that were paid, as the ledger leaves them: what tests of budgets and of notifications start from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.tx import Store, begin

USD = 1_000_000_000


@dataclass(frozen=True)
class Calls:
    """Makes calls of a job of the default project."""

    store: Store
    owner: Principal
    project_id: UUID
    job_id: UUID
    run_id: UUID

    async def make(
        self, nanos: int, *, at: datetime | None = None, state: str = "settled", agent: str = "coding",
        model: str = "mock/small", period_ids: list[UUID] | None = None, job_id: UUID | None = None,
    ) -> UUID:  # fmt: skip
        hold_id = new_id()
        async with begin(self.store, self.owner) as tx:
            await tx.execute(
                "insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, "
                "bound_nanos, cost_nanos, held_at, project_id, user_id, agent, provider, period_ids) values "
                "(%s, %s, %s, %s, '', 1, 1, %s, %s, %s, %s, %s, %s, %s, %s, 'mock', %s)",
                (
                    hold_id, tx.organization_id, job_id or self.job_id, self.run_id, model, state, nanos,
                    0 if state in {"held", "released"} else nanos, at or tx.clock.now(), self.project_id,
                    self.owner.user_id, agent, period_ids or [],
                ),
            )  # fmt: skip
        return hold_id


@pytest.fixture
async def calls(store: Store, owner: Principal) -> Calls:
    job_id, run_id = new_id(), new_id()
    async with begin(store, owner) as tx:
        row = await tx.one("select id from projects where slug = 'default'")
        assert row is not None
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, "
            "finished_at) values (%s, %s, %s, 'coding', 'Fix the test', 'mock/small', '{}', %s, 'succeeded', now())",
            (job_id, owner.organization_id, row["id"], owner.id),
        )
        await tx.execute(
            "insert into runs (id, organization_id, job_id, fence, worker, state, ended_at) "
            "values (%s, %s, %s, 1, 'w', 'ended', now())",
            (run_id, owner.organization_id, job_id),
        )
    return Calls(store, owner, row["id"], job_id, run_id)

"""A budget that is made while calls are under way misses none of them, and counts none twice."""

from __future__ import annotations

import asyncio

from shopfloor.base.ids import new_id
from shopfloor.domain.budgets.change import NewBudget, create_budget
from shopfloor.domain.budgets.periods import share_books
from shopfloor.infra.tx import begin

USD = 1_000_000_000


async def test_a_call_that_is_being_booked_is_waited_for(store, owner, calls):
    new = NewBudget("organization", None, "month", 10 * USD, hard=True)
    making = asyncio.Event()

    async def make() -> None:
        async with begin(store, owner) as tx:
            making.set()
            await create_budget(tx, new, agents=list)

    async with begin(store, owner) as tx:
        await share_books(tx, owner.organization_id)
        assert await tx.all("select id from budgets") == []  # the ledger found no budget to hold against
        made = asyncio.create_task(make())
        await making.wait()
        waiting = None
        while waiting is None:  # until the other one stands at the lock
            waiting = await tx.one("select 1 from pg_locks where locktype = 'advisory' and not granted")
        await tx.execute(
            "insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, bound_nanos, "
            "project_id, agent) values (%s, %s, %s, %s, '', 1, 1, 'mock/small', 'held', %s, %s, 'coding')",
            (new_id(), owner.organization_id, calls.job_id, calls.run_id, USD, calls.project_id),
        )
        assert not made.done()
    await made
    async with begin(store, owner) as tx:
        row = await tx.one("select id, held_nanos from budget_periods")
        hold = await tx.one("select period_ids from holds")
    assert row is not None
    assert hold is not None
    assert (row["held_nanos"], hold["period_ids"]) == (USD, [row["id"]])


async def test_two_that_book_do_not_wait_for_each_other(store, owner):
    async with begin(store, owner) as one, begin(store, owner) as other:
        await share_books(one, owner.organization_id)
        await share_books(other, owner.organization_id)
        row = await one.one("select count(*) as n from pg_locks where locktype = 'advisory' and granted")
    assert row is not None
    assert row["n"] == 2


async def test_two_budgets_of_one_scope_made_at_once_are_one(client, make_budget):
    answers = await asyncio.gather(*(make_budget() for _ in range(5)))
    assert sorted(each.status_code for each in answers) == [201, 409, 409, 409, 409]
    assert len((await client.get("/api/v1/budgets")).json()["items"]) == 1

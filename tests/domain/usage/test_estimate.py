"""Estimates come from the narrowest level with enough jobs, and tell how well they would have held."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.usage.conftest import MakeProject, Paid, Pay
from shopfloor.base.errors import PermissionDenied
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.usage.estimate import FEWEST, Range, Sample, calibration, estimate, estimated
from shopfloor.infra.tx import Store, begin


@pytest.fixture
async def shop(make_project: MakeProject) -> UUID:
    return await make_project("shop")


async def test_the_narrowest_level_with_enough_jobs_answers(store: Store, owner: Principal, pay: Pay, shop: UUID):
    async def level(agent: str = "coding") -> tuple[str, int]:
        async with begin(store, owner) as tx:
            await tx.execute("update jobs set turns = 1")  # each got a reply
            found = await estimate(tx, project_id=shop, agent=agent, model="mock/small", task_chars=None)
        return found.level, found.samples

    assert await level() == ("none", 0)
    await pay(Paid(agent="review", model="large"))
    assert await level() == ("organization", 1)
    await pay(*(Paid() for _ in range(FEWEST)))
    assert await level() == ("agent-model", FEWEST)
    await pay(*(Paid(project="shop") for _ in range(FEWEST)))
    assert await level() == ("project-agent-model", FEWEST)
    assert await level("testing") == ("organization", 2 * FEWEST + 1)


async def test_an_estimate_is_made_of_cost_tokens_and_time(store: Store, owner: Principal, pay: Pay, shop: UUID):
    usage = {"input_tokens": 100, "output_tokens": 10, "requests": 3}
    await pay(*(Paid(project="shop", cost=cost * 1_000, usage=usage) for cost in range(1, 11)))
    async with begin(store, owner) as tx:
        await tx.execute("update jobs set turns = 1")
        found = await estimate(tx, project_id=shop, agent="coding", model="mock/small", task_chars=6)
    assert (found.cost_nanos, found.tokens) == (Range(5_000, 9_000), Range(110, 110))
    assert found.duration_s == Range(60, 60)


async def test_jobs_that_the_asker_may_not_see_are_not_looked_at(store: Store, owner: Principal, pay: Pay, shop: UUID):
    await pay(*(Paid(project="shop") for _ in range(FEWEST)))
    nowhere = Principal("key", new_id(), owner.organization_id, frozenset({"usage.read"}), frozenset({new_id()}))
    async with begin(store, owner) as tx:
        await tx.execute("update jobs set turns = 1")
        assert (await estimate(tx, project_id=None, agent=None, model=None, task_chars=None)).samples == FEWEST
    async with begin(store, nowhere) as tx:
        assert (await estimate(tx, project_id=None, agent=None, model=None, task_chars=None)).samples == 0
        with pytest.raises(PermissionDenied):
            await estimate(tx, project_id=shop, agent=None, model=None, task_chars=None)


def _samples(costs: list[int], chars: int = 10) -> list[Sample]:
    return [Sample(cost, 1.0, chars, cost) for cost in costs]


def test_tasks_of_like_length_are_asked_first():
    short, long = _samples([1] * 100, chars=10), _samples([1_000] * 100, chars=10_000)
    assert estimated("organization", [*short, *long], 12).cost_nanos == Range(1, 1)
    assert estimated("organization", [*short, *long], 9_000).cost_nanos == Range(1_000, 1_000)


def test_jobs_that_are_alike_hold_their_estimates_and_ones_that_grow_break_them():
    chance = random.Random(11)
    alike = _samples([chance.randrange(1_000) for _ in range(400)])
    found = calibration(alike)
    assert found.tested == 100
    assert found.p90_held is not None
    assert 0.8 <= found.p90_held <= 0.98
    growing = _samples(sorted(range(1, 201), reverse=True))  # newest first: each dearer than all before it
    assert calibration(growing).p90_held == 0.0


@given(st.lists(st.integers(0, 10**12), max_size=60))
def test_an_estimate_only_names_costs_that_occurred(costs: list[int]):
    found = estimated("organization", _samples(costs), None)
    if not costs:
        assert found.cost_nanos is None
        return
    assert found.cost_nanos is not None
    assert {found.cost_nanos.p50, found.cost_nanos.p90} <= set(costs)
    assert sum(cost <= found.cost_nanos.p90 for cost in costs) >= 0.9 * len(costs)
    assert found.calibration.tested == max(0, min(100, len(costs) - FEWEST))

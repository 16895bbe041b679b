"""Re-rating books differences as adjustments, once, and every sum moves with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.usage.conftest import NOON, Paid, Pay
from shopfloor.base.errors import PermissionDenied
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.models.prices import NewPrice, add_price
from shopfloor.domain.models.providers import NewProvider, add_provider
from shopfloor.domain.usage.add_up import add_up
from shopfloor.domain.usage.check import check
from shopfloor.domain.usage.rerate import Asked, Rerated, rerate
from shopfloor.engine.providers.port import ModelRef
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin

SMALL = ModelRef("mock", "small")
WEEK = Asked(NOON - timedelta(days=3), NOON + timedelta(days=4))
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def priced(store: Store, owner: Principal, sealer: MasterKeySealer) -> None:
    """1 USD a million in, 10 out: a call of 100 in and 10 out costs 200,000 nanos."""
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("mock", "mock", base_url="http://127.0.0.1:9/v1"))
        await add_price(tx, SMALL, NewPrice({"input": 1_000_000, "output": 10_000_000}, valid_from=LONG_AGO))


async def _again(store: Store, owner: Principal, asked: Asked = WEEK) -> Rerated:
    return await rerate(store, owner, asked, booked=[add_up])


async def _entries(store: Store, owner: Principal) -> list[tuple[str, str, int]]:
    async with begin(store, owner) as tx:
        rows = await tx.all("select kind, debit, amount_nanos from ledger_entries order by id")
    return [(row["kind"], row["debit"], row["amount_nanos"]) for row in rows]


async def _period(store: Store, owner: Principal, hold: UUID, spent: int) -> UUID:
    """A budget's period that the hold is counted in."""
    budget, period = new_id(), new_id()
    async with begin(store, owner) as tx:
        await tx.execute(
            "insert into budgets (id, organization_id, scope_type, scope_id, period, time_zone, limit_nanos, hard, "
            "thresholds, auto_pause, created_by) values (%s, %s, 'agent', 'coding', 'month', 'UTC', 1000000000, true, "
            "'{}', true, %s)",
            (budget, tx.organization_id, new_id()),
        )
        await tx.execute(
            "insert into budget_periods (id, organization_id, budget_id, starts_at, spent_nanos) "
            "values (%s, %s, %s, now(), %s)",
            (period, tx.organization_id, budget, spent),
        )
        await tx.execute("update holds set period_ids = %s where id = %s", ([period], hold))
    return period


async def test_calls_at_their_price_stay_as_they_are(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=200_000))
    done = await _again(store, owner)
    assert (done.calls, done.changed, done.delta_nanos, done.unpriced) == (1, 0, 0, {})
    assert len(await _entries(store, owner)) == 1


async def test_a_price_that_was_wrong_is_put_right_in_entry_job_period_and_sums(
    store: Store, owner: Principal, pay: Pay
):
    [hold] = await pay(Paid(cost=200_000, labels={"ticket": "A-1"}))
    period = await _period(store, owner, hold, 200_000)
    async with begin(store, owner) as tx:
        price = await add_price(tx, SMALL, NewPrice({"input": 3_000_000}, valid_from=NOON - timedelta(days=1)))
    done = await _again(store, owner)
    assert (done.changed, done.delta_nanos) == (1, 200_000)
    assert await _entries(store, owner) == [("spend", "spent", 200_000), ("adjustment", "spent", 200_000)]
    async with begin(store, owner) as tx:
        row = await tx.one(
            "select h.cost_nanos as hold, j.cost_nanos as job, p.spent_nanos as period, "
            "(select sum(cost_nanos) from usage_daily) as daily, (select sum(cost_nanos) from usage_labels_daily) "
            "as label, e.price_id, e.period_ids from holds h join jobs j on j.id = h.job_id, budget_periods p, "
            "ledger_entries e where e.kind = 'adjustment'"
        )
    assert row == {
        "hold": 400_000, "job": 400_000, "period": 400_000, "daily": 400_000, "label": 400_000, "price_id": price.id,
        "period_ids": [period],
    }  # fmt: skip
    assert (await check(store, owner)).differences == []


async def test_what_was_too_dear_comes_back(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=900_000))
    done = await _again(store, owner)
    assert (done.changed, done.delta_nanos) == (1, -700_000)
    assert (await _entries(store, owner))[1] == ("adjustment", "available", 700_000)
    assert (await check(store, owner)).usage_nanos == 200_000


async def test_rating_anew_twice_and_at_the_same_time_books_once(store: Store, owner: Principal, pay: Pay):
    await pay(*(Paid(cost=1) for _ in range(12)))
    done = await asyncio.gather(*(_again(store, owner) for _ in range(4)))
    assert sum(each.changed for each in done) == 12
    assert (await _again(store, owner)).changed == 0
    assert (await check(store, owner)).usage_nanos == 12 * 200_000


async def test_each_call_is_rated_by_the_price_of_its_own_time(store: Store, owner: Principal, pay: Pay):
    async with begin(store, owner) as tx:
        await add_price(tx, SMALL, NewPrice({"input": 2_000_000}, valid_from=NOON))
    await pay(*(Paid(cost=0, at=NOON + timedelta(seconds=n)) for n in (-1, 0, 1)))
    await _again(store, owner)
    async with begin(store, owner) as tx:
        rows = await tx.all("select cost_nanos from holds order by held_at")
    assert [row["cost_nanos"] for row in rows] == [200_000, 300_000, 300_000]


async def test_only_the_span_and_the_model_that_are_asked_for_are_rated(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=1), Paid(cost=1, at=NOON + timedelta(days=4)), Paid(cost=1, model="large"))
    async with begin(store, owner) as tx:
        await add_price(tx, ModelRef("mock", "l*"), NewPrice({"input": 1, "output": 1}, valid_from=LONG_AGO))
    done = await _again(store, owner, replace(WEEK, model="small"))
    assert (done.calls, done.changed) == (1, 1)
    done = await _again(store, owner, WEEK)
    assert (done.calls, done.changed) == (2, 0)  # 110 picos are a nano


async def test_a_dry_run_only_says_what_would_be_booked(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=1))
    done = await _again(store, owner, replace(WEEK, dry_run=True))
    assert (done.changed, done.delta_nanos) == (1, 199_999)
    assert len(await _entries(store, owner)) == 1


async def test_a_model_without_a_price_is_named_and_left_alone(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=77, model="large"), Paid(cost=1))
    done = await _again(store, owner)
    assert (done.calls, done.changed) == (2, 1)
    assert "shopfloor price set mock/large" in done.unpriced["mock/large"]


async def test_calls_of_unknown_cost_wait_for_their_bill(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=500, kind="unknown"))
    assert (await _again(store, owner)).calls == 0


async def test_private_projects_are_rated_too(store: Store, owner: Principal, pay: Pay, make_project: Any):
    await make_project("secret")
    await pay(Paid(cost=1, project="secret"))
    async with begin(store, owner) as tx:
        await tx.execute("update projects set visibility = 'private' where slug = 'secret'")
    outsider = replace(owner, user_id=new_id())
    assert (await _again(store, outsider)).changed == 1
    async with begin(store, owner) as tx:
        row = await tx.one("select sum(cost_nanos)::bigint as job from jobs")
    assert row == {"job": 200_000}


async def test_who_may_not_set_prices_rates_nothing(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=1))
    with pytest.raises(PermissionDenied):
        await _again(store, replace(owner, permissions=frozenset({"price.read", "usage.read"})))

"""The sums by day are the ledger's to the nano-dollar, whatever was booked, by however many at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from domain.usage.conftest import NOON, Paid, Pay
from shopfloor.base.errors import PermissionDenied
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.usage.calls import page_of_calls, span_of
from shopfloor.domain.usage.check import check, rebuild
from shopfloor.infra.tx import Store, begin


async def _sums(store: Store, owner: Principal, table: str = "usage_daily") -> list[dict[str, object]]:
    async with begin(store, owner) as tx:
        found = await tx.all(f"select * from {table} order by day, {table}::text")  # type: ignore[arg-type]
    return [dict(row) for row in found]


async def test_calls_of_one_combination_and_day_are_one_row(store: Store, owner: Principal, pay: Pay):
    usage = {"input_tokens": 7, "cache_write_5m_tokens": 2, "cache_write_1h_tokens": 3, "audio_output_tokens": 4}
    await pay(Paid(cost=5, usage=usage), Paid(cost=6, usage=usage))
    await pay(Paid(cost=7, usage={}, kind="unknown"))
    [row] = await _sums(store, owner)
    told = {name: row[name] for name in ("day", "agent", "provider", "model", "calls", "cost_nanos", "unknown_nanos")}
    assert told == {
        "day": date(2026, 11, 10), "agent": "coding", "provider": "mock", "model": "small", "calls": 3,
        "cost_nanos": 18, "unknown_nanos": 7,
    }  # fmt: skip
    assert (row["input_tokens"], row["cache_write_tokens"], row["audio_tokens"]) == (14, 10, 8)


async def test_a_correction_counts_on_the_day_of_its_booking_and_is_no_call(store: Store, owner: Principal, pay: Pay):
    [hold] = await pay(Paid(cost=100))
    await pay(Paid(cost=-40, kind="adjustment", hold_id=hold, at=NOON + timedelta(days=3)))
    rows = await _sums(store, owner)
    assert [(row["day"], row["calls"], row["cost_nanos"], row["adjusted_nanos"]) for row in rows] == [
        (date(2026, 11, 10), 1, 100, 0),
        (date(2026, 11, 13), 0, -40, -40),
    ]
    assert (await check(store, owner)).differences == []


@pytest.mark.parametrize(("cost", "over"), [(0, 0), (100, 40), (40, 40)])
async def test_a_free_call_and_one_above_its_hold_are_one_call_each(
    store: Store, owner: Principal, pay: Pay, cost: int, over: int
):
    await pay(Paid(cost=cost, over=over, labels={"ticket": "A-1"}))
    found = await check(store, owner)
    assert (found.differences, found.calls, found.usage_nanos) == ([], 1, cost)
    before = await _sums(store, owner), await _sums(store, owner, "usage_labels_daily")
    await rebuild(store, owner)
    assert (await _sums(store, owner), await _sums(store, owner, "usage_labels_daily")) == before
    async with begin(store, owner) as tx:
        span = await span_of(tx, date(2026, 11, 1), date(2026, 11, 30), zone="UTC", projects=None)
        rows = await page_of_calls(tx, span, after=None)
    assert sum(row.cost_nanos for row in rows) == cost
    assert sum(row.usage.get("input_tokens", 0) for row in rows) == 100


async def test_each_label_of_a_job_is_added_up(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=5, labels={"ticket": "A-1", "kind": "bug"}), Paid(cost=6, labels={"ticket": "A-1"}))
    rows = await _sums(store, owner, "usage_labels_daily")
    assert {(row["name"], row["value"]): row["cost_nanos"] for row in rows} == {
        ("kind", "bug"): 5,
        ("ticket", "A-1"): 11,
    }


async def test_a_day_begins_where_the_organization_is(store: Store, owner: Principal, pay: Pay, database_url: str):
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("update organizations set time_zone = 'Pacific/Auckland'")
    await pay(Paid(at=datetime(2026, 11, 10, 10, 59, 59, tzinfo=UTC)), Paid(at=datetime(2026, 11, 10, 11, tzinfo=UTC)))
    assert [row["day"] for row in await _sums(store, owner)] == [date(2026, 11, 10), date(2026, 11, 11)]


async def test_processes_that_add_up_the_same_days_in_other_orders_neither_deadlock_nor_lose_a_nano(
    store: Store, owner: Principal, pay: Pay
):
    chance = random.Random(7)
    users = [None, new_id(), new_id()]
    calls = [
        Paid(
            cost=chance.randrange(1, 10**9), user_id=chance.choice(users), agent=chance.choice(["coding", "review"]),
            at=NOON + timedelta(days=chance.randrange(3)), labels={"ticket": chance.choice("abc"), "x": "y"},
        )
        for _ in range(120)
    ]  # fmt: skip
    batches = [chance.sample(calls, 10) for _ in range(24)]
    await asyncio.gather(*(pay(*batch) for batch in batches))
    found = await check(store, owner)
    assert found.differences == []
    assert found.usage_nanos == found.ledger_nanos == sum(call.cost for batch in batches for call in batch)
    assert found.calls == 240


async def test_a_booking_that_was_not_added_up_is_found_and_made_good(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=5, labels={"ticket": "A-1"}), Paid(cost=6))
    before, labels = await _sums(store, owner), await _sums(store, owner, "usage_labels_daily")
    [hold] = await pay(Paid(cost=8, adds_up=False))
    await pay(Paid(cost=-3, kind="adjustment", hold_id=hold, adds_up=False))
    found = await check(store, owner)
    assert [(each.calls, each.cost_nanos) for each in found.differences] == [(1, 5)]
    assert (found.ledger_nanos, found.usage_nanos) == (16, 11)
    assert await rebuild(store, owner) == 1
    assert (await check(store, owner)).differences == []
    [row] = await _sums(store, owner)
    assert (row["calls"], row["cost_nanos"], row["adjusted_nanos"]) == (3, 16, -3)
    assert row["input_tokens"] == 300
    assert len(before) == 1
    assert await _sums(store, owner, "usage_labels_daily") == labels


async def test_a_rebuild_and_bookings_at_the_same_time_lose_nothing(store: Store, owner: Principal, pay: Pay):
    calls = [Paid(cost=n) for n in range(1, 21)]
    await pay(*calls)
    await asyncio.gather(
        *(pay(replace(call, cost=call.cost * 10)) for call in calls), *(rebuild(store, owner) for _ in "ab")
    )
    found = await check(store, owner)
    assert (found.differences, found.usage_nanos) == ([], 210 + 2_100)


async def test_a_person_who_sees_no_private_project_still_rebuilds_the_whole(store: Store, owner: Principal, pay: Pay):
    await pay(Paid(cost=5))
    narrow = replace(owner, project_ids=frozenset({new_id()}))
    assert await rebuild(store, narrow) == 1
    assert (await check(store, narrow)).usage_nanos == 5


@pytest.mark.parametrize("verb", [check, rebuild])
async def test_who_may_not_is_refused(store: Store, owner: Principal, verb: Callable[..., Awaitable[object]]):
    with pytest.raises(PermissionDenied):
        await verb(store, replace(owner, permissions=frozenset({"usage.read"})))

"""The job's money: held before a call, booked once, never more held than the limit, always adding up."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from ledgers import ledger_of
from shopfloor.base.ids import new_id
from shopfloor.domain.jobs.dispatch import close_left
from shopfloor.domain.jobs.lease import Result, finish, give_back
from shopfloor.domain.jobs.lifecycle import State
from shopfloor.domain.jobs.meter import JobMeter, Turn, turn_in_hand
from shopfloor.engine.providers.port import CostLimitReached, Usage
from shopfloor.infra.tx import Store, begin

USAGE = Usage(input_tokens=10, output_tokens=5)


@pytest.fixture
async def live(make_job, claim) -> Any:
    """A lease of a job that may cost 1,000 nanos."""
    turn_in_hand.set(Turn(1))
    return await claim((await make_job(limits={"cost_nanos": 1_000})).id)


async def test_64_parallel_calls_never_hold_more_than_the_limit(live, store: Store, attempt, books):
    meter = JobMeter(ledger_of(store), live)
    done = await asyncio.gather(*(meter.hold(attempt(30)) for _ in range(64)), return_exceptions=True)
    refused = [each for each in done if isinstance(each, CostLimitReached)]
    assert len(done) - len(refused) == 33
    assert len(refused) == 31
    assert await books(live.job_id) == {"cost": 0, "held": 990, "unknown": 0}


async def test_a_refusal_says_what_would_still_fit(live, store: Store, attempt):
    turn_in_hand.set(Turn(1))
    meter = JobMeter(ledger_of(store), live)
    await meter.hold(attempt(900))
    with pytest.raises(CostLimitReached) as refused:
        await meter.hold(attempt(101))
    assert refused.value.facts == {"limit_nanos": 1_000, "bound_nanos": 101, "available_nanos": 100}
    await meter.hold(attempt(100))


async def test_a_released_hold_costs_nothing_and_frees_its_money(live, store: Store, attempt, books):
    turn_in_hand.set(Turn(1))
    meter = JobMeter(ledger_of(store), live)
    hold = await meter.hold(attempt(1_000))
    await meter.release(hold, "refused")
    await meter.release(hold, "refused")
    assert await books(live.job_id) == {"cost": 0, "held": 0, "unknown": 0}
    await meter.hold(attempt(1_000))


async def test_a_call_of_unknown_fate_is_booked_at_its_bound_once(live, store: Store, attempt, books):
    turn_in_hand.set(Turn(1))
    meter = JobMeter(ledger_of(store), live)
    hold = await meter.hold(attempt(400))
    for _ in range(2):
        await meter.unknown(hold, "cut")
    assert await books(live.job_id) == {"cost": 400, "held": 0, "unknown": 400}
    await meter.release(hold, "it was never billed")
    assert await books(live.job_id) == {"cost": 0, "held": 0, "unknown": 0}


async def test_a_reply_that_comes_after_the_rescue_corrects_the_bound(live, store, attempt, books, resume, look):
    turn_in_hand.set(turn := Turn(1))
    meter = JobMeter(ledger_of(store), live)
    hold = await meter.hold(attempt(400))
    await resume(live.job_id)
    assert await books(live.job_id) == {"cost": 400, "held": 0, "unknown": 400}
    await meter.settle(hold, USAGE, 70)
    for _ in range(2):
        await turn.settle()
    assert await books(live.job_id) == {"cost": 70, "held": 0, "unknown": 0}
    assert (await look(live.job_id)).usage == {"input_tokens": 10, "output_tokens": 5, "requests": 1}


async def test_a_bill_over_its_hold_is_booked_as_it_is(live, store: Store, attempt, books):
    turn_in_hand.set(turn := Turn(1))
    meter = JobMeter(ledger_of(store), live)
    hold = await meter.hold(attempt(100))
    await meter.settle(hold, USAGE, 1_200)
    await turn.settle()
    assert await books(live.job_id) == {"cost": 1_200, "held": 0, "unknown": 0}
    with pytest.raises(CostLimitReached) as refused:
        await meter.hold(attempt(1))
    assert refused.value.facts["available_nanos"] == 0


async def test_a_reply_thrown_away_is_paid_all_the_same(live, store: Store, attempt, books, journal_of, steps_of):
    journal, meter = await journal_of(live), JobMeter(ledger_of(store), live)

    async def call() -> dict[str, Any]:
        await meter.settle(await meter.hold(attempt(100)), USAGE, 60)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await journal.model_reply(1, {}, call)
    assert await books(live.job_id) == {"cost": 60, "held": 0, "unknown": 0}
    assert [step.state for step in await steps_of(live.job_id)] == ["intended"]


async def test_two_calls_of_one_turn_are_added_up(live, store: Store, attempt, books, journal_of, steps_of, look):
    journal, meter = await journal_of(live), JobMeter(ledger_of(store), live)

    async def call() -> dict[str, Any]:
        for number in (1, 2):
            await meter.settle(await meter.hold(attempt(100, number)), USAGE, 60)
        return {"parts": []}

    await journal.model_reply(1, {}, call)
    both = {"input_tokens": 20, "output_tokens": 10, "requests": 2}
    assert [(step.cost_nanos, step.usage) for step in await steps_of(live.job_id)] == [(120, both)]
    assert (await look(live.job_id)).usage == both
    assert await books(live.job_id) == {"cost": 120, "held": 0, "unknown": 0}


@pytest.mark.parametrize("seed", range(8))
async def test_the_books_add_up_whatever_happens_in_which_order(
    seed: int, make_job, claim, resume, store: Store, attempt, books
):
    """Holds, bills, releases, losses of the lease and late bills at random, several at once; checked at each stage."""
    chance = random.Random(seed)
    live = await claim((await make_job(limits={"cost_nanos": 2_000})).id)
    open_: list[tuple[JobMeter, Turn, object, int]] = []
    billed = 0

    async def hold(meter: JobMeter, turn: Turn, bound: int) -> None:
        turn_in_hand.set(turn)
        with suppress(CostLimitReached):
            open_.append((meter, turn, await meter.hold(attempt(bound)), bound))

    async def end(meter: JobMeter, turn: Turn, id_: object, bound: int) -> None:
        nonlocal billed
        turn_in_hand.set(turn)
        how = chance.choice(["settle", "settle", "release", "unknown", "nothing"])
        if how == "settle":
            cost = chance.randint(0, bound)
            await meter.settle(id_, USAGE, cost)
            for _ in range(chance.randint(1, 2)):
                await turn.settle()
            billed += cost
        elif how == "release":
            await meter.release(id_, "refused")
        elif how == "unknown":
            await meter.unknown(id_, "cut")

    for _ in range(4):
        meter = JobMeter(ledger_of(store), live)
        await asyncio.gather(*(hold(meter, Turn(n), chance.randint(1, 600)) for n in range(chance.randint(1, 6))))
        found = await books(live.job_id)
        assert found["cost"] + found["held"] <= 2_000
        chance.shuffle(open_)
        now, open_ = open_[: len(open_) // 2 + 1], open_[len(open_) // 2 + 1 :]
        late = asyncio.gather(*(end(*each) for each in now))
        if chance.random() < 0.5:
            live, _ = await asyncio.gather(resume(live.job_id, str(new_id())), late)
        else:
            await late
        found = await books(live.job_id)
        assert billed <= found["cost"] - found["unknown"]
    async with begin(store, live.principal) as tx:
        await (finish(tx, live, Result(State.FAILED, "stuck")) if seed % 2 else give_back(tx, live, "bye"))
    await close_left(store, ledger_of(store))
    assert (await books(live.job_id))["held"] == 0

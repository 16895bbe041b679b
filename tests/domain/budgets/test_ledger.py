"""The ledger: held on every level at once, never beyond a limit, in the order of asking, booked once."""

from __future__ import annotations

import asyncio
import random

import pytest

from domain.budgets.ledger_bench import Money, ask, release, settle, unknown
from shopfloor.base.principal import Principal
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.budgets.port import Ask, BudgetExhausted, Closing, RunOver
from shopfloor.domain.jobs.dispatch import close_left
from shopfloor.engine.providers.port import CostLimitReached
from shopfloor.infra.tx import Store, begin


@pytest.fixture
async def money(store: Store, owner: Principal) -> Money:
    async with begin(store, owner) as tx:
        row = await tx.one("select id from projects where slug = 'default'")
    assert row is not None
    return Money(store, owner, row["id"])


async def test_a_call_is_held_on_every_level_and_settled_at_its_cost(money: Money):
    budgets = [await money.budget(100, scope=scope) for scope in ("organization", "project", "user", "agent")]
    ledger, charge = money.ledger(), await money.job()
    held = ask(charge, 60)
    await ledger.hold(held)
    assert [(await money.period(each))["held_nanos"] for each in budgets] == [60] * 4
    await settle(ledger, held, 25)
    rows = [await money.period(each) for each in budgets]
    assert [(row["spent_nanos"], row["held_nanos"], row["calls"]) for row in rows] == [(25, 0, 1)] * 4
    assert await money.wrong() == []


async def test_the_tightest_level_decides_and_says_what_would_fit(money: Money):
    await money.budget(1_000, scope="organization")
    tight = await money.budget(50, scope="project", period="day")
    ledger, charge = money.ledger(), await money.job()
    with pytest.raises(BudgetExhausted) as refused:
        await ledger.hold(ask(charge, 51))
    facts = refused.value.facts
    assert (facts["available_nanos"], facts["budget_id"], facts["period"]) == (50, str(tight), "day")
    assert facts["renews_at"] is not None
    assert (await money.period(tight))["held_nanos"] == 0, "nothing is held anywhere for a call that isn't made"
    await ledger.hold(ask(charge, 50))


async def test_two_processes_with_64_clients_never_pass_the_limit(money: Money):
    budget = await money.budget(1_000)
    ledgers = [money.ledger(hold_wait_s=0.3, look_again_s=0.05) for _ in range(2)]
    charge = await money.job()
    asked = [ask(charge, 30) for _ in range(64)]
    done = await asyncio.gather(
        *(ledgers[number % 2].hold(each) for number, each in enumerate(asked)), return_exceptions=True
    )
    held = [each for each, answer in zip(asked, done, strict=True) if answer is None]
    assert {type(answer) for answer in done} == {type(None), BudgetExhausted}
    assert len(held) == 33
    assert (await money.period(budget))["held_nanos"] == 990
    await asyncio.gather(*(settle(ledgers[number % 2], each, 30) for number, each in enumerate(held)))
    assert (await money.period(budget))["spent_nanos"] == 990
    assert await money.wrong() == []


async def test_who_does_not_fit_waits_until_money_comes_back_from_another_process(money: Money):
    await money.budget(100)
    here, there, charge = money.ledger(hold_wait_s=20, look_again_s=0.05), money.ledger(), await money.job()
    first, second = ask(charge, 80), ask(charge, 60)
    await there.hold(first)
    waiting = asyncio.create_task(here.hold(second))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done, "40 of 60 are free"
    await settle(there, first, 10)
    async with asyncio.timeout(10):
        await waiting


async def test_a_small_call_does_not_pass_a_large_one_that_waits(money: Money):
    await money.budget(100)
    ledger, charge = money.ledger(hold_wait_s=20, look_again_s=0.05), await money.job()
    first, large, small = ask(charge, 50), ask(charge, 90), ask(charge, 5)
    await ledger.hold(first)
    order: list[str] = []

    async def hold(name: str, what: object) -> None:
        await ledger.hold(what)  # type: ignore[arg-type]
        order.append(name)

    waiting = [asyncio.create_task(hold("large", large))]
    await asyncio.wait(waiting, timeout=0.2)
    waiting.append(asyncio.create_task(hold("small", small)))
    await asyncio.wait(waiting, timeout=0.2)
    assert order == [], "5 of 50 free would fit, but somebody was before"
    await release(ledger, first)
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    assert order == ["large", "small"]


async def test_who_waits_too_long_is_refused_and_leaves_nothing_held(money: Money):
    budget = await money.budget(100)
    ledger, charge = money.ledger(hold_wait_s=0.2, look_again_s=0.05), await money.job()
    await ledger.hold(ask(charge, 80))
    with pytest.raises(BudgetExhausted) as refused:
        await ledger.hold(ask(charge, 60))
    assert refused.value.facts["exhausted"] is False
    assert (await money.period(budget))["held_nanos"] == 80


async def test_who_gives_up_waiting_leaves_the_line(money: Money):
    budget = await money.budget(100)
    ledger, charge = money.ledger(hold_wait_s=20, look_again_s=0.05), await money.job()
    first, second = ask(charge, 90), ask(charge, 20)
    await ledger.hold(first)
    waiting = asyncio.create_task(ledger.hold(second))
    await asyncio.wait({waiting}, timeout=0.2)
    waiting.cancel()
    await asyncio.wait({waiting})
    await release(ledger, first)
    await ledger.hold(ask(charge, 100))
    assert (await money.period(budget))["held_nanos"] == 100


async def test_closing_twice_or_in_two_ways_counts_the_first(money: Money):
    budget = await money.budget(1_000)
    ledger, charge = money.ledger(), await money.job()
    held = ask(charge, 100)
    await ledger.hold(held)
    for _ in range(2):
        await settle(ledger, held, 40)
        await release(ledger, held)
        await unknown(ledger, held)
    assert (await money.period(budget))["spent_nanos"] == 40
    assert await money.wrong() == []


async def test_an_unknown_call_counts_at_its_bound_until_its_bill_corrects_it(money: Money):
    budget = await money.budget(1_000)
    ledger, charge = money.ledger(), await money.job()
    held = ask(charge, 100)
    await ledger.hold(held)
    await unknown(ledger, held)
    row = await money.period(budget)
    assert (row["spent_nanos"], row["unknown_nanos"]) == (100, 100)
    await settle(ledger, held, 30)
    row = await money.period(budget)
    assert (row["spent_nanos"], row["unknown_nanos"]) == (30, 0)
    assert await money.wrong() == []


async def test_a_soft_budget_counts_and_alerts_and_refuses_nothing(money: Money):
    budget = await money.budget(100, hard=False)
    ledger, charge = money.ledger(), await money.job()
    held = ask(charge, 500)
    await ledger.hold(held)
    await settle(ledger, held, 500)
    assert (await money.period(budget))["spent_nanos"] == 500
    assert await money.alerts() == [80, 90, 100]


async def test_each_threshold_is_told_once_a_period_whoever_reaches_it(money: Money):
    await money.budget(100)
    ledgers, charge = [money.ledger(), money.ledger()], await money.job()
    for number in range(10):
        held = ask(charge, 10)
        await ledgers[number % 2].hold(held)
        await settle(ledgers[number % 2], held, 10)
    assert await money.alerts() == [80, 90, 100]


async def test_the_jobs_own_limit_refuses_at_once_and_pauses_nothing(money: Money):
    budget = await money.budget(1_000)
    ledger, charge = money.ledger(), await money.job()
    with pytest.raises(CostLimitReached) as refused:
        await ledger.hold(ask(charge, 60, limit=50))
    assert not isinstance(refused.value, BudgetExhausted)
    assert refused.value.facts["available_nanos"] == 50
    await ledger.hold(ask(charge, 50, limit=50))
    assert (await money.period(budget))["held_nanos"] == 50


async def test_a_run_that_was_taken_over_holds_nothing_more_and_its_calls_are_booked_at_their_bound(money: Money):
    budget = await money.budget(1_000)
    ledger, charge = money.ledger(), await money.job()
    await ledger.hold(ask(charge, 100))
    await money.lose(charge)
    with pytest.raises(RunOver):
        await ledger.hold(ask(charge, 100))
    await close_left(money.store, money.ledger())
    await close_left(money.store, money.ledger())
    row = await money.period(budget)
    assert (row["spent_nanos"], row["held_nanos"], row["unknown_nanos"]) == (100, 0, 100)
    assert await money.wrong() == []


async def test_a_bill_over_its_hold_is_booked_counted_and_pauses_the_scope(money: Money):
    budget = await money.budget(1_000)
    ledger, charge = money.ledger(), await money.job()
    held = ask(charge, 10)
    await ledger.hold(held)
    await settle(ledger, held, 40)
    row = await money.period(budget)
    assert (row["spent_nanos"], row["over_nanos"], row["paused_because"]["reason"]) == (40, 30, "bill-over-hold")
    assert await money.wrong() == []


async def test_the_check_finds_what_was_bent(money: Money):
    """The positive control of all the checks above."""
    await money.budget(1_000)
    ledger, charge = money.ledger(), await money.job()
    held = ask(charge, 100)
    await ledger.hold(held)
    await settle(ledger, held, 40)
    bends = (
        "update budget_periods set spent_nanos = spent_nanos + 1",
        "update budget_periods set held_nanos = held_nanos + 1",
        "update holds set cost_nanos = cost_nanos + 1",
        "update jobs set cost_nanos = cost_nanos + 1",
        (
            "insert into ledger_entries (organization_id, hold_id, job_id, kind, debit, credit, amount_nanos, "
            "period_ids) select organization_id, hold_id, job_id, 'spend', 'spent', 'available', 1, period_ids "
            "from ledger_entries limit 1"
        ),
    )
    for bend in bends:
        async with begin(money.store, money.owner) as tx:
            await tx.execute(bend)
            assert await ledger.check(tx) != [], bend
            await tx.connection.execute("rollback; begin")  # as it was
            await tx.execute("select set_config('app.organization_id', %s, true)", (str(tx.organization_id),))
    assert await money.wrong() == []


async def _end_somehow(money: Money, ledgers: list[Ledger], held: Ask, chance: random.Random) -> int:
    """One of the ways a call can end; what the provider billed and we know of."""
    ledger, cost = chance.choice(ledgers), chance.randint(0, held.amount_nanos)
    match chance.choice(["settle", "settle", "release", "unknown", "late", "silent"]):
        case "settle":
            await asyncio.gather(*(settle(each, held, cost) for each in ledgers))  # told by both
            return cost
        case "release":
            await release(ledger, held)
        case "unknown":
            await unknown(ledger, held)
        case "late":
            await unknown(ledger, held)
            await settle(ledger, held, cost)
            return cost
        case _:
            await money.lose(held.charge)
            await close_left(money.store, ledger)
    return 0


async def _spend(money: Money, ledgers: list[Ledger], chance: random.Random) -> int:
    """A job with a few calls, some of which nobody waits for to the end."""
    charge, billed = await money.job(), 0
    for _ in range(6):
        held = ask(charge, chance.randint(1, 120))
        try:
            async with asyncio.timeout(chance.choice([None, 0.05])):
                await chance.choice(ledgers).hold(held)
        except RunOver:
            break
        except (BudgetExhausted, TimeoutError):
            continue
        billed += await _end_somehow(money, ledgers, held, chance)
    return billed


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_in_which_order_the_books_add_up_and_no_limit_is_passed(money: Money, seed: int):
    """Two processes, random calls, endings, cancels, workers that fall silent, and a limit that is raised."""
    chance = random.Random(seed)
    budgets = [await money.budget(chance.randint(200, 900), scope=scope) for scope in ("organization", "project")]
    ledgers = [money.ledger(hold_wait_s=0.3, look_again_s=0.02, batch=chance.choice([1, 3, 256])) for _ in range(2)]

    async def more() -> int:
        await asyncio.sleep(chance.uniform(0, 0.2))
        async with begin(money.store, money.owner) as tx:
            await tx.execute("update budgets set limit_nanos = limit_nanos + 100 where id = any(%s)", (budgets,))
        for ledger in ledgers:
            ledger.woken("budgets")
        return 0

    async with asyncio.timeout(60):
        billed = sum(await asyncio.gather(*(_spend(money, ledgers, chance) for _ in range(8)), more()))
    for charge in money.charges:
        await money.lose(charge)
    for ledger in ledgers:
        await ledger.aclose()
    await close_left(money.store, money.ledger())

    assert await money.wrong() == []
    async with begin(money.store, money.owner) as tx:
        rows = await tx.all(
            "select p.spent_nanos, p.held_nanos, b.limit_nanos from budget_periods p join budgets b "
            "on b.id = p.budget_id"
        )
        booked = await tx.one(
            "select coalesce(sum(cost_nanos) filter (where state = 'settled'), 0)::bigint as nanos from holds"
        )
    assert booked is not None
    assert booked["nanos"] == billed, "each bill is booked once"
    assert [row for row in rows if row["held_nanos"] or row["spent_nanos"] > row["limit_nanos"]] == []


async def test_a_closing_that_nobody_waits_for_any_more_is_booked_all_the_same(money: Money):
    budget = await money.budget(1_000)
    ledger, charge = money.ledger(), await money.job()
    held = ask(charge, 100)
    await ledger.hold(held)
    closing = asyncio.create_task(
        ledger.close(charge.organization_id, [Closing(held.hold_id, charge.job_id, "settled", 40)])
    )
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    await ledger.aclose()
    assert (await money.period(budget))["spent_nanos"] == 40

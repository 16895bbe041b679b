"""Calls of real jobs against real budgets: every level at once, in line, closed once, and always adding up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from ledgers import ledger_of
from shopfloor.base.ids import new_id
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.budgets.pausing import pause_exhausted, resume_where_room
from shopfloor.domain.budgets.port import BudgetExhausted
from shopfloor.domain.jobs.budget_waits import set_aside, wake_for_budgets
from shopfloor.domain.jobs.dispatch import close_left
from shopfloor.domain.jobs.lease import Lease, park
from shopfloor.domain.jobs.lifecycle import WaitingReason
from shopfloor.domain.jobs.meter import JobMeter, Turn, turn_in_hand
from shopfloor.engine.providers.port import Usage
from shopfloor.infra.tx import Store, begin, begin_system

USAGE = Usage(input_tokens=10, output_tokens=5)
Budget = Callable[..., Awaitable[UUID]]


@pytest.fixture
def budget(store: Store, owner) -> Budget:
    """A monthly budget of the organization, or of another scope; its id."""

    async def make(limit: int, scope: str = "organization", scope_id: str | None = None, **fields: Any) -> UUID:
        budget_id = new_id()
        values = {"hard": True, "auto_pause": True, "period": "month", **fields}
        async with begin(store, owner) as tx:
            project = await tx.one("select id from projects where slug = 'default'")
            assert project is not None
            project_id = project["id"] if scope == "project" else None
            await tx.execute(
                "insert into budgets (id, organization_id, scope_type, scope_id, project_id, period, time_zone, "
                "limit_nanos, hard, thresholds, auto_pause, created_by) "
                "values (%s, %s, %s, %s, %s, %s, 'Europe/Berlin', %s, %s, '{80,90,95,100}', %s, %s)",
                (
                    budget_id, owner.organization_id, scope,
                    scope_id or str(project_id or owner.organization_id), project_id, values["period"], limit,
                    values["hard"], values["auto_pause"], owner.id,
                ),
            )  # fmt: skip
        return budget_id

    return make


@pytest.fixture
def period(store: Store, owner):
    """The sums of a budget's one period."""

    async def read(budget_id: UUID) -> dict[str, int]:
        async with begin(store, owner) as tx:
            row = await tx.one(
                "select spent_nanos as spent, held_nanos as held, unknown_nanos as unknown from budget_periods "
                "where budget_id = %s",
                (budget_id,),
            )
        return dict(row or {})

    return read


@pytest.fixture
def adds_up(store: Store, owner):
    """The check that `shopfloor ledger check` runs finds nothing."""

    async def check() -> None:
        async with begin(store, owner) as tx:
            assert await ledger_of(store).check(tx) == []

    return check


@pytest.fixture
async def live(make_job, claim) -> Lease:
    """A run of a job whose own limit is far away."""
    turn_in_hand.set(Turn(1))
    return await claim((await make_job(limits={"cost_nanos": 1_000_000})).id)


async def paid(meter: JobMeter, attempt: Any, bound: int, cost: int) -> None:
    turn_in_hand.set(turn := Turn(1))
    await meter.settle(await meter.hold(attempt(bound)), USAGE, cost)
    await turn.settle()


async def test_a_call_is_held_and_booked_on_every_level_at_once(live, store: Store, attempt, budget, period, adds_up):
    budgets = [
        await budget(1_000, "organization"),
        await budget(1_000, "project"),
        await budget(1_000, "agent", "coding"),
    ]
    budgets.append(await budget(1_000, "user", str(live.user_id)))
    other = await budget(1_000, "agent", "review")
    turn_in_hand.set(turn := Turn(1))
    meter = JobMeter(ledger_of(store), live)
    hold = await meter.hold(attempt(300))
    assert [await period(each) for each in budgets] == [{"spent": 0, "held": 300, "unknown": 0}] * 4
    await meter.settle(hold, USAGE, 120)
    for _ in range(2):
        await turn.settle()
    assert [await period(each) for each in budgets] == [{"spent": 120, "held": 0, "unknown": 0}] * 4
    assert await period(other) == {}
    await adds_up()


async def test_a_spent_budget_refuses_the_next_call_and_says_which_and_what_is_left(live, store, attempt, budget):
    await budget(5_000, "organization")
    tight = await budget(1_000, "project")
    meter = JobMeter(ledger_of(store), live)
    await paid(meter, attempt, 700, 700)
    with pytest.raises(BudgetExhausted) as refused:
        await meter.hold(attempt(301))
    facts = refused.value.facts
    assert (facts["budget_id"], facts["available_nanos"], facts["exhausted"]) == (str(tight), 300, True)
    await meter.hold(attempt(300))


async def test_a_soft_budget_counts_and_refuses_nothing(live, store, attempt, budget, period):
    soft = await budget(100, hard=False)
    await paid(JobMeter(ledger_of(store), live), attempt, 700, 700)
    assert await period(soft) == {"spent": 700, "held": 0, "unknown": 0}


async def test_who_does_not_fit_waits_in_line_and_no_smaller_one_passes(live, store, attempt, budget):
    await budget(1_000)
    meter = JobMeter(ledger_of(store, look_again_s=0.05), live)
    first = await meter.hold(attempt(900))
    done: list[str] = []

    async def ask(name: str, bound: int) -> None:
        turn_in_hand.set(Turn(1))
        await meter.hold(attempt(bound))
        done.append(name)

    large = asyncio.create_task(ask("large", 600))
    await asyncio.sleep(0)
    small = asyncio.create_task(ask("small", 50))
    await asyncio.wait({large, small}, timeout=0.3)
    assert done == []  # the small one would fit
    await meter.release(first, "refused")
    await asyncio.wait_for(asyncio.gather(large, small), 10)
    assert done == ["large", "small"]


async def test_room_that_another_process_makes_is_seen(live, store, attempt, budget):
    await budget(1_000)
    here, there = (JobMeter(ledger_of(store, look_again_s=0.05), live) for _ in range(2))
    hold = await there.hold(attempt(900))
    waiting = asyncio.create_task(here.hold(attempt(500)))
    await there.release(hold, "refused")
    await asyncio.wait_for(waiting, 10)


async def test_a_wait_has_an_end_and_the_job_learns_what_holds_it_up(live, store, attempt, budget):
    await budget(1_000)
    meter = JobMeter(ledger_of(store, hold_wait_s=0.05), live)
    await meter.hold(attempt(900))
    with pytest.raises(BudgetExhausted) as refused:
        await meter.hold(attempt(500))
    assert (refused.value.facts["exhausted"], refused.value.facts["held_nanos"]) == (False, 900)


async def test_a_cancelled_wait_leaves_no_hold(live, store, attempt, budget, period, adds_up):
    of = await budget(1_000)
    meter = JobMeter(ledger_of(store, look_again_s=0.05), live)
    first = await meter.hold(attempt(900))
    waiting = asyncio.create_task(meter.hold(attempt(500)))
    await asyncio.wait({waiting}, timeout=0.1)
    waiting.cancel()
    await asyncio.wait({waiting})
    await meter.release(first, "refused")
    await meter.hold(attempt(1_000))
    assert await period(of) == {"spent": 0, "held": 1_000, "unknown": 0}
    await adds_up()


async def test_200_calls_through_two_processes_never_pass_the_budget(live, store, attempt, budget, period, adds_up):
    of = await budget(10_000)
    meters = [JobMeter(ledger_of(store, look_again_s=0.05, hold_wait_s=60), live) for _ in range(2)]
    refused = 0

    async def call(number: int) -> None:
        nonlocal refused
        try:
            await paid(meters[number % 2], attempt, 400, 100)
        except BudgetExhausted:
            refused += 1

    await asyncio.gather(*(call(number) for number in range(200)))
    found = await period(of)
    assert found["held"] == 0
    assert 9_600 <= found["spent"] <= 10_000
    assert found["spent"] == (200 - refused) * 100
    await adds_up()


async def test_alerts_come_once_for_each_threshold(live, store, attempt, budget, owner):
    await budget(1_000)
    meter = JobMeter(ledger_of(store), live)
    for _ in range(97):
        await paid(meter, attempt, 10, 10)
    async with begin(store, owner) as tx:
        rows = await tx.all("select threshold from budget_alerts order by threshold")
    assert [row["threshold"] for row in rows] == [80, 90, 95]


async def test_a_bill_over_its_hold_is_booked_counted_and_pauses_the_scope(
    live, store, attempt, budget, owner, adds_up
):
    of = await budget(1_000)
    await paid(JobMeter(ledger_of(store), live), attempt, 10, 25)
    async with begin(store, owner) as tx:
        row = await tx.one(
            "select spent_nanos, over_nanos, paused_because->>'reason' as why from budget_periods where budget_id = %s",
            (of,),
        )
    assert row == {"spent_nanos": 25, "over_nanos": 15, "why": "bill-over-hold"}
    await adds_up()


async def test_waiting_jobs_go_on_in_order_and_only_as_many_as_have_room(
    make_job, claim, store, attempt, budget, owner, look, admit
):
    of = await budget(1_000)
    jobs = [await make_job(limits={"cost_nanos": 1_000_000}) for _ in range(3)]
    late = [await make_job() for _ in range(2)]
    async with begin(store, owner) as tx:
        await tx.execute(
            "update jobs set not_before = now() + interval '1 hour' where id = any(%s)", ([j.id for j in late],)
        )
    leases = [await claim(job.id) for job in jobs]
    ledger = ledger_of(store)
    turn_in_hand.set(turn := Turn(1))
    first = JobMeter(ledger, leases[0])
    await first.settle(await first.hold(attempt(800)), USAGE, 800)
    await turn.settle()
    for lease in leases:
        with pytest.raises(BudgetExhausted) as refused:
            await JobMeter(ledger, lease).hold(attempt(300))
        async with begin(store, lease.principal) as tx:
            needs = refused.value.facts["bound_nanos"]
            await park(tx, lease, WaitingReason.BUDGET, wait_s=0, error=refused.value, needs_nanos=needs)
            await pause_exhausted(tx, refused.value)
    assert {(await look(job.id)).waiting_reason for job in jobs} == {"budget"}

    async def round_() -> list[UUID]:
        async with begin_system(store) as tx:
            await resume_where_room(tx)
            await set_aside(tx)
            return await wake_for_budgets(tx)

    assert await round_() == []
    assert {(await look(job.id)).waiting_reason for job in late} == {"budget"}  # its scope is paused
    because = (await look(late[0].id)).waiting_because
    assert because is not None
    assert "raise the budget" in because["detail"]
    async with begin(store, owner) as tx:
        await tx.execute("update budgets set limit_nanos = 1_400 where id = %s", (of,))
    assert await round_() == [jobs[0].id, jobs[1].id]
    assert await round_() == []  # what they need is promised to them


@pytest.mark.parametrize("seed", range(6))
async def test_everything_adds_up_whatever_happens_in_which_order(
    seed: int, make_job, claim, resume, lose, store: Store, attempt, budget, adds_up, period
):
    """Two processes, three levels; bills, releases, losses of the lease and late bills at random."""
    chance = random.Random(seed)
    levels = [await budget(3_000), await budget(2_500, "project"), await budget(2_000, "agent", "coding", period="day")]
    live = await claim((await make_job(limits={"cost_nanos": 1_000_000})).id)
    ledgers = [ledger_of(store, look_again_s=0.02, hold_wait_s=0.1) for _ in range(2)]
    open_: list[tuple[JobMeter, object, int]] = []

    async def hold(ledger: Ledger, bound: int) -> None:
        turn_in_hand.set(Turn(1))
        with suppress(BudgetExhausted):
            meter = JobMeter(ledger, live)
            open_.append((meter, await meter.hold(attempt(bound)), bound))

    async def end(meter: JobMeter, id_: object, bound: int) -> None:
        turn_in_hand.set(turn := Turn(1))
        for how in chance.sample(["settle", "release", "unknown", "nothing"], chance.randint(1, 2)):
            if how == "settle":
                await meter.settle(id_, USAGE, chance.randint(0, bound))
                await turn.settle()
            elif how == "release":
                await meter.release(id_, "refused")
            elif how == "unknown":
                await meter.unknown(id_, "cut")

    for _ in range(4):
        await asyncio.gather(*(hold(chance.choice(ledgers), chance.randint(1, 700)) for _ in range(8)))
        for level, limit in zip(levels, (3_000, 2_500, 2_000), strict=True):
            found = await period(level)
            assert found["spent"] + found["held"] <= limit
        chance.shuffle(open_)
        now, open_ = open_[: len(open_) // 2 + 1], open_[len(open_) // 2 + 1 :]
        late = asyncio.gather(*(end(*each) for each in now))
        if chance.random() < 0.5:
            live, _ = await asyncio.gather(resume(live.job_id, str(new_id())), late)
        else:
            await late
        await adds_up()
    await lose(live.job_id)
    await close_left(store, ledgers[0])
    assert [(await period(level))["held"] for level in levels] == [0, 0, 0]
    await adds_up()


async def test_the_check_sees_what_does_not_add_up(live, store, attempt, budget, owner):
    """The positive control."""
    of = await budget(1_000)
    meter = JobMeter(ledger_of(store), live)
    await paid(meter, attempt, 100, 60)
    await meter.hold(attempt(100))
    for spoil in (
        "update budget_periods set held_nanos = held_nanos + 1 where budget_id = %s",
        "update budget_periods set spent_nanos = spent_nanos + 1 where budget_id = %s",
        "update jobs set cost_nanos = cost_nanos + 1 where %s::uuid is not null",
        "update holds set cost_nanos = cost_nanos + 1 where state = 'settled' and %s::uuid is not null",
    ):
        with suppress(_Undone):
            async with begin(store, owner) as tx:
                assert await ledger_of(store).check(tx) == []
                await tx.execute(spoil, (of,))
                found = await ledger_of(store).check(tx)
                raise _Undone
        assert found, spoil


class _Undone(Exception):
    """Takes the spoiling back."""

"""Leases: one worker at a time, and nothing from a worker whose lease is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ledgers import ledger_of
from shopfloor.base.errors import ShopfloorError
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch, lease
from shopfloor.domain.jobs.control import cancel
from shopfloor.domain.jobs.errors import JobEnded, LeaseLost
from shopfloor.domain.jobs.journal import JobJournal, Record
from shopfloor.domain.jobs.lease import Lease, Result, beat, finish, give_back, hold_fast, park, try_again
from shopfloor.domain.jobs.lifecycle import State, WaitingReason
from shopfloor.domain.jobs.meter import JobMeter, Turn, turn_in_hand
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.tx import Store, Tx, begin, begin_system

CHANCE = random.Random(1)
BROKEN = ShopfloorError("the engine is gone")


async def test_of_two_workers_that_claim_a_job_one_gets_it(make_job, admit, store: Store, owner: Principal):
    job = await make_job()
    await admit()

    async def take(worker: str) -> Lease | None:
        async with begin(store, lease.worker_principal(owner.organization_id, worker)) as tx:
            return await lease.claim(tx, job.id, worker=worker)

    taken = await asyncio.gather(*(take(f"worker-{n}") for n in range(8)))
    assert [each.fence for each in taken if each is not None] == [1]


async def test_a_claim_whose_answer_was_lost_is_the_same_lease_when_asked_again(
    make_job, admit, store: Store, owner: Principal
):
    job, run_id = await make_job(), uuid4()
    await admit()

    async def take() -> Lease | None:
        async with begin(store, lease.worker_principal(owner.organization_id, "worker-1")) as tx:
            return await lease.claim(tx, job.id, worker="worker-1", run_id=run_id)

    first, again = await take(), await take()
    assert first is not None
    assert again is not None
    assert (first.run_id, first.fence) == (again.run_id, again.fence) == (run_id, 1)


async def test_a_job_that_was_not_admitted_cannot_be_claimed(make_job, store: Store, owner: Principal):
    job = await make_job()
    async with begin(store, owner) as tx:
        assert await lease.claim(tx, job.id, worker="worker-1") is None


async def test_another_organizations_worker_cannot_claim(make_job, admit, make_organization, store: Store):
    job = await make_job()
    await admit()
    other = await make_organization()
    async with begin(store, lease.worker_principal(other.organization_id, "w")) as tx:
        assert await lease.claim(tx, job.id, worker="w") is None


async def test_a_heartbeat_tells_which_runs_are_ours_and_which_to_cancel(make_job, claim, lose, store: Store, owner):
    mine, stopped, lost = [await claim((await make_job()).id) for _ in range(3)]
    async with begin(store, owner) as tx:
        await cancel(tx, stopped.job_id)
    await lose(lost.job_id)  # also takes the others, so they are claimed anew
    mine = await claim(mine.job_id, "worker-1")
    async with begin_system(store) as tx:
        assert await beat(tx, [mine.run_id, lost.run_id, uuid4()]) == {mine.run_id: False}
    async with begin(store, owner) as tx:
        await cancel(tx, mine.job_id)
    async with begin_system(store) as tx:
        assert await beat(tx, [mine.run_id]) == {mine.run_id: True}


async def test_a_silent_workers_job_goes_to_another_with_a_higher_fence(make_job, claim, resume, look, events_of):
    job = await make_job()
    first = await claim(job.id, "worker-1")
    second = await resume(job.id, "worker-2")
    assert (first.fence, second.fence) == (1, 2)
    now = await look(job.id)
    assert (now.state, now.crashes, now.runs) == ("running", 1, 2)
    assert now.spent_s == pytest.approx(3_600, abs=5)  # from the claim to the last heart-beat
    kinds = [event.kind for event in await events_of(job.id)]
    assert kinds == ["job.queued", "job.running", "run.lost", "job.queued", "job.running"]


def _writes(stale: Lease, journal: JobJournal, store: Store) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every kind of write that a run makes."""

    async def in_tx(work: Callable[[Tx], Awaitable[Any]]) -> None:
        async with begin(store, stale.principal) as tx:
            await work(tx)

    async def reply() -> dict[str, Any]:
        raise AssertionError("a stale worker made a call")

    async def hold() -> None:
        turn_in_hand.set(Turn(1))
        from_provider = JobMeter(ledger_of(store), stale)
        await from_provider.hold(_attempt())

    return {
        "intend a model call": lambda: journal.model_reply(9, {}, reply),
        "intend a tool call": lambda: journal.tool_result(9, "c", "shell", {}, "tree", reply),
        "a result": lambda: journal._done(
            1, "tool", "open", {"ok": 1}, paid=None, snapshot=None, lines=[("tool.finished", {})]
        ),
        "a note": lambda: journal.note("plan.updated", {}),
        "a hold": hold,
        "finish": lambda: in_tx(lambda tx: finish(tx, stale, Result(State.SUCCEEDED, "finished"))),
        "park": lambda: in_tx(lambda tx: park(tx, stale, WaitingReason.PROVIDER, wait_s=1, error=BROKEN)),
        "give back": lambda: in_tx(lambda tx: give_back(tx, stale, "bye")),
        "try again": lambda: in_tx(lambda tx: try_again(tx, stale, BROKEN, JobsSettings(), chance=CHANCE)),
    }


def _attempt() -> Any:
    from shopfloor.engine.providers.port import Attempt, ModelRef

    return Attempt(ModelRef("mock", "small"), 1, 10, 10)


KINDS = ["intend a model call", "intend a tool call", "a result", "a note", "a hold", "finish", "park"]


@pytest.mark.parametrize("kind", [*KINDS, "give back", "try again"])
async def test_a_stale_worker_writes_nothing(kind: str, make_job, claim, resume, journal_of, store: Store, lose):
    job = await make_job()
    stale = await claim(job.id)
    journal = await journal_of(stale, record=Record())
    await journal._intend(1, "tool", "open", "shell", {}, "tree")
    await resume(job.id)
    before = await _everything(store, job.id)
    with pytest.raises(LeaseLost):
        await _writes(stale, journal, store)[kind]()
    assert await _everything(store, job.id) == before


@pytest.mark.parametrize("kind", ["a result", "a note", "a hold", "finish", "park", "give back", "try again"])
async def test_the_owner_of_the_lease_can_make_those_writes(kind: str, make_job, claim, journal_of, store: Store):
    job = await make_job()
    live = await claim(job.id)
    journal = await journal_of(live, record=Record())
    await journal._intend(1, "tool", "open", "shell", {}, "tree")
    before = await _everything(store, job.id)
    await _writes(live, journal, store)[kind]()
    assert await _everything(store, job.id) != before


async def test_a_rescue_passes_over_a_run_that_is_writing(make_job, claim, desk, store: Store, look):
    job = await make_job()
    live = await claim(job.id)
    async with begin_system(store) as tx:
        await tx.execute("update runs set heartbeat_at = now() - interval '1 hour'")
    settings = desk.settings.model_copy(update={"heartbeat_limit_s": 0.001})
    async with begin(store, live.principal) as writing:
        await hold_fast(writing, live)
        async with begin_system(store) as tx:
            assert await dispatch.rescue(tx, settings, chance=CHANCE) == []
    async with begin_system(store) as tx:
        assert await dispatch.rescue(tx, settings, chance=CHANCE) == [job.id]
    assert (await look(job.id)).state == "queued"


async def test_a_write_that_meets_a_rescue_waits_for_it_and_is_refused(make_job, claim, desk, store: Store, events_of):
    job = await make_job()
    stale = await claim(job.id)
    async with begin_system(store) as tx:
        await tx.execute("update runs set heartbeat_at = now() - interval '1 hour'")
    settings = desk.settings.model_copy(update={"heartbeat_limit_s": 0.001})

    async def write() -> None:
        async with begin(store, stale.principal) as tx:
            await give_back(tx, stale, "too late")

    async with begin_system(store) as tx:
        assert await dispatch.rescue(tx, settings, chance=CHANCE) == [job.id]
        writing = asyncio.create_task(write())
        await _until_somebody_waits_for_a_lock(store)
    with pytest.raises(LeaseLost):
        await writing
    assert "run.lost" in [event.kind for event in await events_of(job.id)]


async def test_heartbeats_do_not_wait_for_a_write_in_flight(make_job, claim, store: Store):
    live = await claim((await make_job()).id)
    async with begin(store, live.principal) as writing:
        await hold_fast(writing, live)
        async with begin_system(store) as tx:
            await tx.execute("set local lock_timeout = '500ms'")
            assert await beat(tx, [live.run_id]) == {live.run_id: False}


async def test_a_run_ends_beside_its_own_last_events_without_deadlock(make_job, claim, journal_of, store: Store, look):
    for _ in range(15):
        job = await make_job()
        live = await claim(job.id)
        journal = await journal_of(live)
        writes = [journal.note("tool.output", {"n": n}) for n in range(6)]

        async def end(live: Lease = live) -> None:
            async with begin(store, live.principal) as tx:
                await try_again(tx, live, BROKEN, JobsSettings(), chance=CHANCE)

        done = await asyncio.gather(*writes[:3], end(), *writes[3:], return_exceptions=True)
        assert [each for each in done if isinstance(each, Exception) and not isinstance(each, LeaseLost)] == []
        assert (await look(job.id)).state == "queued"


async def test_a_pause_of_five_seconds_is_not_taken_for_death(make_job, claim, desk, store: Store, look):
    live = await claim((await make_job()).id)
    async with begin_system(store) as tx:
        await tx.execute("update runs set heartbeat_at = now() - make_interval(secs => 5)")
        assert await dispatch.rescue(tx, JobsSettings(), chance=CHANCE) == []
    assert (await look(live.job_id)).state == "running"


async def test_a_database_that_has_just_started_calls_nobody_dead(make_job, claim, desk, store: Store):
    await claim((await make_job()).id)
    async with begin_system(store) as tx:
        await tx.execute("update runs set heartbeat_at = '2000-01-01'")
        started = await tx.one("select extract(epoch from now() - pg_postmaster_start_time())::float8 as s")
        assert started is not None
        longer = desk.settings.model_copy(update={"heartbeat_limit_s": started["s"] + 60})
        shorter = desk.settings.model_copy(update={"heartbeat_limit_s": started["s"] / 2})
        assert await dispatch.rescue(tx, longer, chance=CHANCE) == []
        assert len(await dispatch.rescue(tx, shorter, chance=CHANCE)) == 1


async def test_a_job_is_dead_after_its_last_crash_and_keeps_why(make_job, claim, lose, look, desk, events_of):
    job = await make_job()
    for _ in range(desk.settings.max_crashes):
        await claim(job.id)
        await lose(job.id)
    dead = await look(job.id)
    assert (dead.state, dead.crashes, dead.ending) == ("dead", 5, "dead")
    assert dead.error is not None
    assert dead.error["code"] == "worker-lost"
    assert [event.kind for event in await events_of(job.id)][-2:] == ["run.lost", "job.dead"]


async def test_a_job_that_was_to_be_cancelled_is_cancelled_when_its_worker_dies(
    make_job, claim, lose, look, store: Store, owner
):
    job = await make_job()
    await claim(job.id)
    async with begin(store, owner) as tx:
        await cancel(tx, job.id)
    await lose(job.id)
    assert (await look(job.id)).state == "cancelled"


async def test_a_job_given_back_is_queued_at_once_and_counts_no_crash(make_job, claim, store: Store, look):
    job = await make_job()
    live = await claim(job.id)
    async with begin(store, live.principal) as tx:
        assert await give_back(tx, live, "worker-1 shuts down") == State.QUEUED
    now = await look(job.id)
    assert (now.state, now.crashes, now.failures, now.admitted_at) == ("queued", 0, 0, None)
    assert (await claim(job.id, "worker-2")).fence == 2


@pytest.mark.parametrize("kind", ["park", "give back", "try again"])
async def test_a_job_somebody_cancelled_neither_waits_nor_runs_again(
    kind: str, make_job, claim, journal_of, store: Store, owner, look
):
    job = await make_job()
    live = await claim(job.id)
    async with begin(store, owner) as tx:
        await cancel(tx, job.id)
    await _writes(live, await journal_of(live), store)[kind]()
    now = await look(job.id)
    assert (now.state, now.ending, now.waiting_reason) == ("cancelled", "cancelled", None)


async def test_a_part_that_keeps_failing_makes_the_job_dead(make_job, claim, store: Store, look, desk):
    job = await make_job()
    states = []
    for _ in range(desk.settings.max_failures):
        async with begin_system(store) as tx:
            await tx.execute("update jobs set not_before = null")
        live = await claim(job.id)
        async with begin(store, live.principal) as tx:
            states.append(await try_again(tx, live, BROKEN, desk.settings, chance=CHANCE))
    assert states == [State.QUEUED] * 4 + [State.DEAD]
    now = await look(job.id)
    assert (now.state, now.failures, now.crashes) == ("dead", 5, 0)
    assert now.error is not None
    assert now.error["detail"] == "the engine is gone"


async def test_a_parked_job_is_woken_when_its_wait_is_over(make_job, claim, store: Store, look, events_of):
    job = await make_job()
    live = await claim(job.id)
    async with begin(store, live.principal) as tx:
        assert await park(tx, live, WaitingReason.PROVIDER, wait_s=60, error=BROKEN) == State.WAITING
    async with begin_system(store) as tx:
        assert await dispatch.wake(tx) == []
        await tx.execute("update jobs set not_before = now()")
    async with begin_system(store) as tx:
        assert await dispatch.wake(tx) == [job.id]
    now = await look(job.id)
    assert (now.state, now.waiting_reason, now.admitted_at) == ("queued", None, None)
    kinds = [event.kind for event in await events_of(job.id)]
    assert kinds == ["job.queued", "job.running", "job.waiting", "job.queued"]


async def test_an_ended_job_does_not_end_again(make_job, claim, store: Store):
    live = await claim((await make_job()).id)
    async with begin(store, live.principal) as tx:
        await finish(tx, live, Result(State.FAILED, "stuck"))
    with pytest.raises(LeaseLost):
        async with begin(store, live.principal) as tx:
            await finish(tx, live, Result(State.SUCCEEDED, "finished"))


async def test_a_run_cannot_end_a_job_in_a_state_that_is_no_end(make_job, claim, store: Store, look):
    live = await claim((await make_job()).id)
    with pytest.raises(JobEnded):
        async with begin(store, live.principal) as tx:
            await finish(tx, live, Result(State.RUNNING, "finished"))
    with pytest.raises(psycopg.errors.CheckViolation):  # legal as a move, but it isn't an end: the table refuses
        async with begin(store, live.principal) as tx:
            await finish(tx, live, Result(State.QUEUED, "finished"))
    assert (await look(live.job_id)).state == "running"


async def _everything(store: Store, job_id: Any) -> dict[str, list[dict[str, Any]]]:
    tables = {"jobs": "id", "runs": "job_id", "steps": "job_id", "holds": "job_id", "events": "job_id"}
    async with begin_system(store) as tx:
        return {
            table: await tx.all(f"select * from {table} where {column} = %s order by 1, 2, 3", (job_id,))  # type: ignore[arg-type]
            for table, column in tables.items()
        }


async def _until_somebody_waits_for_a_lock(store: Store) -> None:
    async with asyncio.timeout(10):
        while True:
            async with begin_system(store) as tx:
                if await tx.one("select 1 from pg_locks where not granted"):
                    return
            await asyncio.sleep(0.01)

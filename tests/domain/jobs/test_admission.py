"""Whose turn it is: bounds that hold under parallel sweeps, priority, fair shares, and no admitted job lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from ledgers import ledger_of
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch, lease
from shopfloor.domain.jobs.dispatch import Dispatcher, Sweep
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, begin, begin_system


async def _active(store: Store) -> list[dict[str, Any]]:
    async with begin_system(store) as tx:
        return await tx.all(
            "select organization_id, project_id, priority from jobs where state = 'running' or admitted_at is not null"
        )


async def test_bounds_hold_while_eight_processes_admit_and_claim(
    make_job, make_organization, make_project, store: Store, owner: Principal, desk
):
    other = await make_organization(most=3, project_most=10)
    narrow = await make_project("narrow", most=2)
    for _ in range(8):
        await make_job(project="narrow")
        await make_job(by=other)
        await make_job()
    limits = desk.settings.model_copy(update={"max_admitted": 12})
    worst = Counter[Any]()

    async def process(name: str) -> None:
        for _ in range(6):
            async with begin_system(store) as tx:
                admitted = await dispatch.admit(tx, limits)
            for job_id in admitted[::2]:
                for who in (owner, other):
                    async with begin(store, lease.worker_principal(who.organization_id, name)) as tx:
                        await lease.claim(tx, job_id, worker=name)
            active = await _active(store)
            worst["all"] = max(worst["all"], len(active))
            for column in ("organization_id", "project_id"):
                for key, count in Counter(row[column] for row in active).items():
                    worst[key] = max(worst[key], count)

    await asyncio.gather(*(process(f"worker-{n}") for n in range(8)))
    assert worst[narrow] == 2
    assert worst[other.organization_id] == 3
    assert worst["all"] == 12


async def test_an_ended_job_makes_room_for_the_next(make_job, admit, claim, make_project, store: Store):
    await make_project("one", most=1)
    first, second = [await make_job(project="one") for _ in range(2)]
    assert await admit() == [first.id]
    assert await admit() == []
    running = await claim(first.id)
    assert await admit() == []
    async with begin(store, running.principal) as tx:
        await lease.finish(tx, running, lease.Result(lease.State.FAILED, "stuck"))
    assert await admit() == [second.id]


async def test_the_urgent_go_first_then_who_came_first(make_job, admit):
    low, high, later = await make_job(priority=1), await make_job(priority=9), await make_job(priority=1)
    assert await admit() == [high.id, low.id, later.id]


async def test_a_job_that_is_to_wait_is_passed_over(make_job, admit, store: Store):
    waits, goes = await make_job(priority=9), await make_job()
    async with begin_system(store) as tx:
        await tx.execute("update jobs set not_before = now() + interval '1 hour' where id = %s", (waits.id,))
    assert await admit() == [goes.id]
    async with begin_system(store) as tx:
        await tx.execute("update jobs set not_before = now() - interval '1 second' where id = %s", (waits.id,))
    assert await admit() == [waits.id]


async def test_a_paused_projects_jobs_wait_until_it_goes_on(make_job, admit, store: Store, owner: Principal):
    job = await make_job()
    async with begin(store, owner) as tx:
        await tx.execute("update projects set status = 'paused'")
    assert await admit() == []
    async with begin(store, owner) as tx:
        await tx.execute("update projects set status = 'active'")
    assert await admit() == [job.id]


async def test_a_long_line_of_one_organization_does_not_keep_another_waiting(make_job, admit, make_organization):
    other = await make_organization()
    mine = [await make_job() for _ in range(10)]
    theirs = [await make_job(by=other) for _ in range(3)]
    admitted = await admit(max_admitted=6)
    assert sorted(admitted) == sorted([*mine[:3], *theirs][k].id for k in range(6))


LINES = random.Random(11)


@pytest.mark.parametrize(
    ("lines", "room"),
    [([LINES.randint(0, 6) for _ in range(4)], LINES.randint(1, 12)) for _ in range(12)],
)
async def test_shares_differ_by_at_most_one_while_somebody_waits(
    lines: list[int], room: int, make_job, make_organization, make_project, admit, store: Store, owner: Principal
):
    """Two organizations with two projects each; `lines` are how many jobs wait in each project."""
    other = await make_organization()
    places = [(by, slug) for by in (owner, other) for slug in ("one", "two")]
    ids = [await make_project(slug, by=by) for by, slug in places]
    for (by, slug), line in zip(places, lines, strict=True):
        for _ in range(line):
            await make_job(by=by, project=slug)
    await admit(max_admitted=room)

    found = Counter(row["project_id"] for row in await _active(store))
    counts = [found[project_id] for project_id in ids]
    assert sum(counts) == min(room, sum(lines))
    organizations = [(sum(counts[:2]), sum(lines[:2])), (sum(counts[2:]), sum(lines[2:]))]
    projects = [list(zip(counts[k : k + 2], lines[k : k + 2], strict=True)) for k in (0, 2)]
    for group in (organizations, *projects):
        for got, line in group:
            if got < line:  # whoever still waits has at most one less than anybody beside it
                assert all(got >= beside - 1 for beside, _ in group)


async def test_an_admitted_job_is_on_the_queue_or_neither_is(make_job, desk, store: Store, look):
    job = await make_job()
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012 - the crash comes after the work
        async with begin_system(store) as tx:
            assert await dispatch.admit(tx, desk.settings) == [job.id]
            raise asyncio.CancelledError
    assert (await look(job.id)).admitted_at is None
    assert await _tasks(store) == []
    async with begin_system(store) as tx:
        await dispatch.admit(tx, desk.settings)
    assert (await look(job.id)).admitted_at is not None
    assert await _tasks(store) == [str(job.id)]


async def test_a_job_whose_task_is_gone_is_admitted_anew(make_job, admit, store: Store, look):
    job, waits = await make_job(), await make_job()
    await admit()
    async with begin_system(store) as tx:  # one task was taken by a worker that died before it claimed the job
        await tx.execute("update procrastinate_jobs set status = 'doing' where args->>'job_id' = %s", (str(job.id),))
        assert await dispatch.readmit(tx) == []  # it may be about to claim
        await tx.execute("update jobs set admitted_at = now() - interval '1 minute'")
    async with begin_system(store) as tx:
        assert await dispatch.readmit(tx) == [job.id]
    assert await admit() == [job.id]
    assert (await look(waits.id)).admitted_at is not None


async def test_a_running_job_is_not_admitted_anew(make_job, claim, store: Store):
    live = await claim((await make_job()).id)
    async with begin_system(store) as tx:
        await tx.execute("delete from procrastinate_jobs")
        await tx.execute("update jobs set admitted_at = now() - interval '1 hour'")
        assert await dispatch.readmit(tx) == []
    assert live.fence == 1


class _Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> Any:
        return datetime.now(UTC)  # of budgets' periods; whether a worker lives is asked of the database

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        self.at += delay_s


async def test_a_dispatcher_that_was_away_lets_workers_be_heard_first(make_job, claim, store: Store, desk, look):
    live = await claim((await make_job()).id)
    clock = store.services.clock = _Hands()
    limits = desk.settings.model_copy(update={"heartbeat_limit_s": 0.5})  # the test's server is up for longer
    dispatcher = Dispatcher(store, limits, Notifier(store.database), chance=random.Random(1), ledger=ledger_of(store))
    async with begin_system(store) as tx:
        await tx.execute("update runs set heartbeat_at = now() + interval '1 hour'")
    assert (await dispatcher.sweep()).rescued == 0
    clock.at += 100  # the process was frozen, or the database away: nobody could be heard
    async with begin_system(store) as tx:
        await tx.execute("update runs set heartbeat_at = now() - interval '1 hour'")
    assert (await dispatcher.sweep()).rescued == 0
    assert (await look(live.job_id)).state == "running"
    clock.at += 0.6
    assert (await dispatcher.sweep()).rescued == 1


async def test_a_sweep_does_all_of_it(make_job, store: Store, desk):
    await make_job()
    dispatcher = Dispatcher(
        store, desk.settings, Notifier(store.database), chance=random.Random(1), ledger=ledger_of(store)
    )
    assert await dispatcher.sweep() == Sweep(admitted=1)
    assert await dispatcher.sweep() == Sweep()


async def test_the_loop_sweeps_when_poked_and_ends_when_cancelled(make_job, store: Store, look):
    slow = JobsSettings(default_model="mock/small", sweep_s=60)
    dispatcher = Dispatcher(store, slow, Notifier(store.database), chance=random.Random(1), ledger=ledger_of(store))
    looping = asyncio.create_task(dispatcher.run())
    try:
        job = await make_job()
        async with asyncio.timeout(10):
            while (await look(job.id)).admitted_at is None:
                dispatcher.poke()
                await asyncio.sleep(0.01)
    finally:
        looping.cancel()
        done = await asyncio.gather(looping, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)


async def _tasks(store: Store) -> list[str]:
    async with begin_system(store) as tx:
        rows = await tx.all("select args->>'job_id' as job_id from procrastinate_jobs where status = 'todo'")
    return [row["job_id"] for row in rows]


async def _set_status(store: Store, owner: Principal, status: str) -> None:
    async with begin(store, owner) as tx:
        await tx.execute("update projects set status = %s where slug = 'default'", (status,))


async def test_what_is_queued_in_a_paused_project_waits_and_goes_on_when_it_is_active_again(
    make_job, admit, store: Store, owner: Principal
):
    first, second = (await make_job()).id, (await make_job()).id
    await _set_status(store, owner, "paused")
    assert await admit() == []
    await _set_status(store, owner, "active")
    assert await admit() == [first, second]


async def test_a_job_that_was_admitted_before_its_project_was_paused_is_not_claimed(
    make_job, admit, store: Store, owner: Principal
):
    job_id = (await make_job()).id
    assert await admit() == [job_id]
    worker = lease.worker_principal(owner.organization_id, "worker-1")
    await _set_status(store, owner, "paused")
    async with begin(store, worker) as tx:
        assert await lease.claim(tx, job_id, worker="worker-1") is None
    await _set_status(store, owner, "active")
    async with begin(store, worker) as tx:
        assert await lease.claim(tx, job_id, worker="worker-1") is not None

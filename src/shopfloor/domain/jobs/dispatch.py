"""What decides which job runs next, brings back jobs whose worker died, and wakes those that waited long enough."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from shopfloor.base.errors import Unavailable
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.budgets.pausing import resume_where_room
from shopfloor.domain.jobs import metrics
from shopfloor.domain.jobs.books import left_by_dead_runs
from shopfloor.domain.jobs.budget_waits import set_aside, wake_for_budgets
from shopfloor.domain.jobs.events import JobFinished, emit
from shopfloor.domain.jobs.lifecycle import State, pause_s, state_after_crash
from shopfloor.domain.jobs.provider_waits import wake_for_providers
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, begin_system

log = structlog.get_logger(__name__)

RUN_TASK = "jobs.run"
RUN_QUEUE = "jobs"
ADMISSION_LOCK = 0x5F0F_1006  # one process admits at a time; the number is ours
_COUNT_S = 10.0  # between two counts of open jobs for /metrics
_BATCH = 50
_UNCLAIMED_S = 30.0  # after which an admitted job whose task is gone is admitted anew
_TASKS_RESCUE_S = 10.0  # how often each process looks for tasks of dead workers
_OLD_KEYS = 1_000  # forgotten per sweep at most


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one round did."""

    admitted: int = 0
    rescued: int = 0
    woken: int = 0
    readmitted: int = 0


class Dispatcher:
    """The loop in every process that admits when poked, and does a whole sweep each `sweep_s`."""

    def __init__(
        self, store: Store, settings: JobsSettings, notifier: Notifier, *, chance: random.Random, ledger: Ledger
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._notifier = notifier
        self._chance = chance
        self._poked = asyncio.Event()
        self._swept_at: float | None = None
        self._no_rescue_before = 0.0
        self._rescued_tasks_at: float | None = None
        self._counted_at: float | None = None

    def poke(self) -> None:
        """Something may be ready to be admitted."""
        self._poked.set()

    async def run(self) -> None:
        """Sweep until cancelled. A database that is away is waited for."""
        while True:
            try:
                # A job that has just come starts at once; looking for lost ones before it took as long as all the rest.
                await self._admit()
                if self._until_sweep_s() == 0:
                    await self.sweep()
            except Unavailable as error:
                log.warning("dispatch.waits", error=error.detail)
            # Not wait_for: on Python 3.11 it drops a cancellation that comes together with the poke.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_sweep_s() or self._settings.sweep_s):
                    await self._poked.wait()
            self._poked.clear()

    def _until_sweep_s(self) -> float:
        if self._swept_at is None:
            return 0.0
        return max(0.0, self._swept_at + self._settings.sweep_s - self._store.services.clock.monotonic())

    async def sweep(self) -> Sweep:
        """One round: rescue, wake, readmit, admit."""
        async with begin_system(self._store) as tx:
            rescued = await rescue(tx, self._settings, chance=self._chance) if self._sees_clearly() else []
            await resume_where_room(tx)
            woken = [*await wake(tx), *await wake_for_budgets(tx)]
            readmitted = await readmit(tx)
            await forget_keys(tx, self._settings)
            tx.after_commit(lambda: self._tell(rescued + woken))
            tx.after_commit(lambda: metrics.LOST.inc(len(rescued)))
        await close_left(self._store, self._ledger)
        admitted = await self._admit()
        await self._rescue_tasks()
        await self._count()
        self._swept_at = self._store.services.clock.monotonic()
        return Sweep(len(admitted), len(rescued), len(woken), len(readmitted))

    async def _admit(self) -> list[UUID]:
        async with begin_system(self._store) as tx:
            aside = await set_aside(tx)
            admitted = await admit(tx, self._settings)
            tx.after_commit(lambda: self._tell(aside + admitted))
        return admitted

    def _sees_clearly(self) -> bool:
        """Whether silence means death: after a gap of our own, workers get the time to be heard again."""
        now = self._store.services.clock.monotonic()
        limit_s = self._settings.heartbeat_limit_s
        if self._swept_at is not None and now - self._swept_at > max(limit_s / 2, 2 * self._settings.sweep_s):
            self._no_rescue_before = now + limit_s
        return now >= self._no_rescue_before

    async def _rescue_tasks(self) -> None:
        now = self._store.services.clock.monotonic()
        if self._rescued_tasks_at is None or now - self._rescued_tasks_at >= _TASKS_RESCUE_S:
            self._rescued_tasks_at = now
            await self._store.services.queue.rescue(self._store.database)

    async def _count(self) -> None:
        now = self._store.services.clock.monotonic()
        if self._counted_at is None or now - self._counted_at >= _COUNT_S:
            self._counted_at = now
            async with begin_system(self._store) as tx:
                await metrics.count_open(tx)

    def _tell(self, job_ids: list[UUID]) -> None:
        for job_id in job_ids:
            self._notifier.wake(f"job:{job_id}")


async def close_left(store: Store, ledger: Ledger) -> int:
    """Close the holds that runs left open which are over; how many. The ledger books them, and nobody else."""
    async with begin_system(store) as tx:
        left = await left_by_dead_runs(tx)
    for organization_id, closings in left.items():
        await ledger.close(organization_id, closings)
    return sum(len(closings) for closings in left.values())


async def admit(tx: Tx, settings: JobsSettings) -> list[UUID]:
    """Put the jobs whose turn it is on the queue, in this transaction.

    Order: the organization with the smallest share of what runs; within it priority, then the project with the
    smallest share, then first come first served. Bounded per project, per organization, and over all. On the queue the
    order of admission counts: no priority of one organization passes another's job.
    """
    # In the index's order: without one the planner reads the table from its start, all the old jobs first.
    if not await tx.one(
        "select 1 from jobs where state = 'queued' and admitted_at is null "
        "order by project_id, priority desc, id limit 1"
    ):
        return []
    if not await tx.one("select 1 where pg_try_advisory_xact_lock(%s)", (ADMISSION_LOCK,)):
        return []  # somebody else is at it, and sees what we see
    admitted: list[UUID] = []
    for _ in range(_BATCH):
        row = await tx.one(_NEXT, {"max_admitted": settings.max_admitted})
        if row is None:
            break
        await tx.execute(
            "update jobs set admitted_at = now(), updated_at = now(), version = version + 1 where id = %s", (row["id"],)
        )
        await tx.defer(RUN_TASK, queue=RUN_QUEUE, job_id=str(row["id"]), organization_id=str(row["organization_id"]))
        admitted.append(row["id"])
    return admitted


# The head of each project's line is enough: 100,000 queued jobs cost what one per project costs.
_NEXT = """
with active as materialized (
  select organization_id, project_id, count(*) as n from jobs
  where state = 'running' or (state = 'queued' and admitted_at is not null) group by organization_id, project_id
), per_organization as (select organization_id, sum(n) as n from active group by organization_id)
select head.id, head.organization_id, head.priority
from projects p
join organizations o on o.id = p.organization_id
left join active a on a.project_id = p.id
left join per_organization po on po.organization_id = p.organization_id
cross join lateral (
  select j.id, j.organization_id, j.priority from jobs j
  where j.project_id = p.id and j.organization_id = p.organization_id
    and j.state = 'queued' and j.admitted_at is null and (j.not_before is null or j.not_before <= now())
  order by j.priority desc, j.id limit 1
) head
where p.status = 'active' and coalesce(a.n, 0) < p.max_running_jobs and coalesce(po.n, 0) < o.max_running_jobs
  and (select coalesce(sum(n), 0) from active) < %(max_admitted)s
order by coalesce(po.n, 0), head.priority desc, coalesce(a.n, 0), head.id
limit 1
"""


async def rescue(tx: Tx, settings: JobsSettings, *, chance: random.Random) -> list[UUID]:
    """Take the jobs back whose run has been silent for too long: queued again with a pause, or dead.

    A database that has just come back heard nobody: its own start counts as everybody's heart-beat.
    """
    lost = await tx.all(
        "update runs set state = 'lost', ended_at = now(), ending = 'lost' where id in ("
        "select id from runs where state = 'running' and heartbeat_at < now() - make_interval(secs => %(limit)s) "
        "and pg_postmaster_start_time() < now() - make_interval(secs => %(limit)s) "
        "order by heartbeat_at limit %(batch)s for update skip locked) "
        "returning id, job_id, worker, extract(epoch from heartbeat_at - claimed_at)::float8 as spent_s",
        {"limit": settings.heartbeat_limit_s, "batch": _BATCH},
    )
    for run in lost:
        await _take_back(tx, run, settings, chance)
    return [run["job_id"] for run in lost]


async def _take_back(tx: Tx, run: dict[str, Any], settings: JobsSettings, chance: random.Random) -> None:
    row = await tx.one(
        "select crashes, organization_id, cancel_requested_at from jobs where id = %s for no key update",
        (run["job_id"],),
    )
    assert row is not None
    crashes = row["crashes"] + 1
    await leave_steps(tx, run["id"])
    if row["cancel_requested_at"] is not None:
        state = State.CANCELLED
    else:
        state = state_after_crash(crashes, limit=settings.max_crashes)
    # The first crash is as a rule the machine's, not the job's: it goes on at once.
    wait_s = 0.0 if crashes == 1 else pause_s(crashes - 1, chance=chance)
    error = {
        "code": "worker-lost",
        "title": "The worker died",
        "detail": f"The worker {run['worker']} fell silent while it ran this job; that was crash {crashes} of at most "
        f"{settings.max_crashes}.",
    }
    await tx.execute(
        "update jobs set state = %(state)s, crashes = %(crashes)s, admitted_at = null, updated_at = now(), "
        "spent_s = spent_s + %(spent_s)s, "
        "version = version + 1, not_before = now() + make_interval(secs => %(wait_s)s), "
        "finished_at = case when %(ended)s then now() end, error = case when %(state)s = 'dead' then %(error)s "
        "else error end, ending = case when %(ended)s then %(state)s end where id = %(id)s",
        {
            "state": state.value, "crashes": crashes, "wait_s": wait_s, "ended": state is not State.QUEUED,
            "error": jsonb(error), "id": run["job_id"], "spent_s": run["spent_s"],
        },
    )  # fmt: skip
    await emit(tx, run["job_id"], ("run.lost", {"worker": run["worker"], "crashes": crashes}), _after(state, error))
    if state is not State.QUEUED:
        await tx.publish(JobFinished(row["organization_id"], run["job_id"], state.value))


async def leave_steps(tx: Tx, run_id: UUID) -> None:
    """What a run that ends had begun is of unknown fate. Its open holds are closed by the ledger (books.py)."""
    await tx.execute("update steps set state = 'unknown' where run_id = %s and state = 'intended'", (run_id,))


async def wake(tx: Tx) -> list[UUID]:
    """Queue the jobs again whose provider can be called, or that have waited as long as they were to."""
    return await wake_for_providers(tx)


async def readmit(tx: Tx, *, after_s: float = _UNCLAIMED_S) -> list[UUID]:
    """Let the jobs be admitted again whose task was lost before anybody claimed them: its worker died in between.

    A late claim by the first task does no harm: of two, one wins.
    """
    rows = await tx.all(
        "update jobs set admitted_at = null, updated_at = now(), version = version + 1 where id in ("
        "select j.id from jobs j where j.state = 'queued' and j.admitted_at is not null "
        "and j.admitted_at < now() - make_interval(secs => %s) and not exists (select from procrastinate_jobs t "
        "where t.status = 'todo' and t.queue_name = %s and t.args->>'job_id' = j.id::text) "
        "limit %s for no key update skip locked) returning id",
        (after_s, RUN_QUEUE, _BATCH),
    )
    return [row["id"] for row in rows]


async def forget_keys(tx: Tx, settings: JobsSettings) -> int:
    """Delete Idempotency-Keys that are older than they are promised to last; how many."""
    return await tx.execute(
        "delete from idempotency_keys where ctid = any(array(select ctid from idempotency_keys "
        "where created_at < now() - make_interval(hours => %s) limit %s))",
        (settings.idempotency_hours, _OLD_KEYS),
    )


def _after(state: State, error: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if state is State.QUEUED:
        return "job.queued", {"why": "its worker died"}
    return f"job.{state.value}", {"error": error} if state is State.DEAD else {}

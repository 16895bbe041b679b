"""A worker's hold on a job: claim it, keep it by heart-beats, give it back or end it. A lost lease writes nothing."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import metrics, store
from shopfloor.domain.jobs.dispatch import leave_steps
from shopfloor.domain.jobs.errors import LeaseLost
from shopfloor.domain.jobs.events import JobFinished, emit
from shopfloor.domain.jobs.lifecycle import State, WaitingReason, check_move, pause_s
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.engine.agents.outcome import Ending
from shopfloor.infra.json_column import jsonb_or_null
from shopfloor.infra.tx import Tx

_FAILURE_PAUSE_S = 5.0  # an engine that restarts is back within a minute
_LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's run of one job. `job` is as it was when claimed."""

    run_id: UUID
    job: Job
    fence: int
    principal: Principal
    team_id: UUID | None = None  # of the project
    user_id: UUID | None = None  # who submitted the job, also by a key

    @property
    def job_id(self) -> UUID:
        """The job's."""
        return self.job.id


@dataclass(frozen=True, slots=True)
class Result:
    """What a job ends with. Every field that is None leaves what is stored."""

    state: State
    ending: str
    verified: bool | None = None
    error: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    check_results: list[dict[str, Any]] | None = None
    result_commit: str | None = None
    changes: list[dict[str, Any]] | None = None
    patch_digest: str | None = None
    pushed: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


def worker_principal(organization_id: UUID, worker: str) -> Principal:
    """Who a worker acts as: bound to the organization of the job it runs."""
    return Principal("worker", UUID(int=0), organization_id, frozenset({"*"}), name=f"worker {worker}")


async def claim(tx: Tx, job_id: UUID, *, worker: str, run_id: UUID | None = None) -> Lease | None:
    """The lease, or None if the job isn't there to be claimed (any more): a task that runs twice changes nothing.

    With the `run_id` of a try whose commit's answer was lost, that try's lease.
    """
    run_id = run_id or new_id()
    mine = await tx.one("select fence from runs where id = %s and state = 'running'", (run_id,))
    if mine is not None:
        return await _lease(tx, run_id, job_id, mine["fence"])
    row = await tx.one(
        "update jobs set state = 'running', runs = runs + 1, started_at = coalesce(started_at, now()), "
        "not_before = null, updated_at = now(), version = version + 1 "
        "where id = %s and state = 'queued' and admitted_at is not null "
        # Paused since it was admitted: no new runs. `readmit` lets it wait for its turn again.
        "and exists (select 1 from projects p where p.id = project_id and p.status = 'active') returning runs",
        (job_id,),
    )
    if row is None:
        return None
    await tx.execute(
        "insert into runs (id, organization_id, job_id, fence, worker) values (%s, %s, %s, %s, %s)",
        (run_id, tx.organization_id, job_id, row["runs"], worker),
    )
    await emit(tx, job_id, ("job.running", {"run": row["runs"], "worker": worker}))
    return await _lease(tx, run_id, job_id, row["runs"])


async def _lease(tx: Tx, run_id: UUID, job_id: UUID, fence: int) -> Lease:
    job = await store.job(tx, job_id)
    payer = await store.payer(tx, job)
    return Lease(run_id, job, fence, tx.principal, *payer)


async def hold_fast(tx: Tx, lease: Lease) -> None:
    """The fence. Within this transaction nobody can take the job over; what it writes counts or nothing does.

    Raises: LeaseLost.
    """
    # A key share: heart-beats go on beside it, rescue's `for update` does not.
    if not await tx.one("select 1 from runs where id = %s and state = 'running' for key share", (lease.run_id,)):
        raise lease_lost(lease)


def lease_lost(lease: Lease) -> LeaseLost:
    """What a run is told that no longer owns its job."""
    return LeaseLost(
        f"Run {lease.fence} of job {lease.job_id} was taken over: it writes nothing more.", fence=lease.fence
    )


async def beat(tx: Tx, run_ids: Collection[UUID]) -> dict[UUID, bool]:
    """Say that these runs live (a system transaction). Those still ours, and whether each is to be cancelled."""
    rows = await tx.all(
        "update runs r set heartbeat_at = now() from jobs j where r.id = any(%s) and r.state = 'running' "
        "and j.id = r.job_id returning r.id, j.cancel_requested_at is not null as cancel",
        (list(run_ids),),
    )
    return {row["id"]: row["cancel"] for row in rows}


async def finish(tx: Tx, lease: Lease, result: Result) -> None:
    """End the job: its terminal state, its result, the event and JobFinished in one commit. Raises: LeaseLost."""
    if await tx.one(
        "select 1 from runs where id = %s and state = 'ended' and ending = %s", (lease.run_id, result.ending)
    ):
        return  # the answer to our first commit was lost
    await _last_write(tx, lease)
    await _leave(tx, lease, result.ending, result.error)
    check_move(State.RUNNING, result.state)
    await tx.execute(
        "update jobs set state = %(state)s, ending = %(ending)s, verified = %(verified)s, error = %(error)s, "
        "output = coalesce(%(output)s, output), check_results = coalesce(%(check_results)s, check_results), "
        "result_commit = coalesce(%(result_commit)s, result_commit), changes = coalesce(%(changes)s, changes), "
        "patch_digest = coalesce(%(patch_digest)s, patch_digest), pushed = coalesce(%(pushed)s, pushed), "
        "finished_at = now(), updated_at = now(), version = version + 1, waiting_reason = null, "
        "spent_s = spent_s + (select extract(epoch from now() - claimed_at) from runs where id = %(run_id)s) "
        "where id = %(id)s",
        {
            "state": result.state.value,
            "ending": result.ending,
            "verified": result.verified,
            "error": jsonb_or_null(result.error),
            "output": jsonb_or_null(result.output),
            "check_results": jsonb_or_null(result.check_results),
            "result_commit": result.result_commit,
            "changes": jsonb_or_null(result.changes),
            "patch_digest": result.patch_digest,
            "pushed": jsonb_or_null(result.pushed),
            "id": lease.job_id,
            "run_id": lease.run_id,
        },
    )
    told = {"ending": result.ending, "verified": result.verified, "error": result.error, **result.facts}
    await emit(tx, lease.job_id, (f"job.{result.state.value}", told))
    await tx.publish(JobFinished(tx.organization_id, lease.job_id, result.state.value))
    tx.after_commit(lambda: metrics.ENDED.labels(result.state.value, result.ending).inc())


async def park(
    tx: Tx, lease: Lease, reason: WaitingReason, *, wait_s: float, error: ShopfloorError, needs_nanos: int | None = None
) -> State:
    """Let the job wait; it goes on from its journal by itself. Where it stands now: waiting, or cancelled.

    For a budget, `needs_nanos` is what its next call has to hold.

    Raises: LeaseLost.
    """
    if await _end_if_cancelled(tx, lease):
        return State.CANCELLED
    await _leave(tx, lease, "parked", error.as_dict())
    await _requeue(tx, lease, State.WAITING, reason=reason, wait_s=wait_s)
    await tx.execute(
        "update jobs set waiting_because = %s, needs_nanos = %s where id = %s",
        (jsonb_or_null(because_of(error)), needs_nanos, lease.job_id),
    )
    told = {"reason": reason.value, "wait_s": round(wait_s, 1), "error": error.as_dict()}
    await emit(tx, lease.job_id, ("job.waiting", told))
    return State.WAITING


def because_of(error: ShopfloorError) -> dict[str, Any]:
    """Why a job waits, as its row and whoever asks get it."""
    return {"code": error.code(), "detail": error.detail, **error.facts}


async def parked_in_a_row(tx: Tx, lease: Lease) -> tuple[int, float]:
    """How many runs of the job ended parked since a model last answered it, and for how many seconds it has waited."""
    row = await tx.one(
        "select count(*) as n, coalesce(extract(epoch from now() - min(ended_at)), 0)::float8 as waited_s from runs "
        "where job_id = %(id)s and ending = 'parked' and ended_at > coalesce("
        "(select max(done_at) from steps where job_id = %(id)s and kind = 'model'), '-infinity')",
        {"id": lease.job_id},
    )
    assert row is not None
    return int(row["n"]), float(row["waited_s"])


async def give_back(tx: Tx, lease: Lease, why: str) -> State:
    """Put the job back at once, at no fault of its own: this worker shuts down. Queued, or cancelled if it was to be.

    Raises: LeaseLost.
    """
    if await _end_if_cancelled(tx, lease):
        return State.CANCELLED
    await _leave(tx, lease, "given-back", None)
    await _requeue(tx, lease, State.QUEUED, reason=None, wait_s=0)
    await emit(tx, lease.job_id, ("job.queued", {"why": why}))
    return State.QUEUED


async def try_again(
    tx: Tx, lease: Lease, error: ShopfloorError, settings: JobsSettings, *, chance: random.Random
) -> State:
    """A part of ours failed in a way that may pass: queue the job again with a pause, or it is dead."""
    if await _end_if_cancelled(tx, lease):
        return State.CANCELLED
    row = await tx.one("update jobs set failures = failures + 1 where id = %s returning failures", (lease.job_id,))
    assert row is not None
    failures = int(row["failures"])
    if failures >= settings.max_failures:
        await finish(tx, lease, Result(State.DEAD, "failed-too-often", error=error.as_dict()))
        return State.DEAD
    await _leave(tx, lease, "failed", error.as_dict())
    wait_s = pause_s(failures, base_s=_FAILURE_PAUSE_S, longest_s=_LONGEST_PAUSE_S, chance=chance)
    await _requeue(tx, lease, State.QUEUED, reason=None, wait_s=wait_s)
    told = {"error": error.as_dict(), "failures": failures, "wait_s": round(wait_s, 1)}
    await emit(tx, lease.job_id, ("run.failed", told), ("job.queued", {"why": "a part of the platform failed"}))
    return State.QUEUED


async def _last_write(tx: Tx, lease: Lease) -> bool:
    """The fence of a run that ends: its other writes are waited for. Whether the job is to be cancelled.

    Raises: LeaseLost.
    """
    if not await tx.one("select 1 from runs where id = %s and state = 'running' for update", (lease.run_id,)):
        raise lease_lost(lease)
    row = await tx.one("select cancel_requested_at from jobs where id = %s for no key update", (lease.job_id,))
    return row is not None and row["cancel_requested_at"] is not None


async def _end_if_cancelled(tx: Tx, lease: Lease) -> bool:
    """A job that somebody has cancelled is not queued again and does not wait. Raises: LeaseLost."""
    if not await _last_write(tx, lease):
        return False
    await finish(tx, lease, Result(State.CANCELLED, Ending.CANCELLED.value))
    return True


async def _leave(tx: Tx, lease: Lease, ending: str, error: dict[str, Any] | None) -> None:
    await leave_steps(tx, lease.run_id)
    await tx.execute(
        "update runs set state = 'ended', ended_at = now(), ending = %s, error = %s where id = %s",
        (ending, jsonb_or_null(error), lease.run_id),
    )


async def _requeue(tx: Tx, lease: Lease, state: State, *, reason: WaitingReason | None, wait_s: float) -> None:
    check_move(State.RUNNING, state)
    await tx.execute(
        "update jobs set state = %s, waiting_reason = %s, admitted_at = null, updated_at = now(), "
        "version = version + 1, not_before = now() + make_interval(secs => %s), "
        "spent_s = spent_s + (select extract(epoch from now() - claimed_at) from runs where id = %s) where id = %s",
        (state.value, reason.value if reason else None, wait_s, lease.run_id, lease.job_id),
    )

"""How a run ends when its story does not: cancelled, failed, waiting, or queued again; the diff is kept each time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import structlog

from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.budgets.pausing import pause_exhausted
from shopfloor.domain.budgets.port import BudgetExhausted
from shopfloor.domain.jobs import lease as leases
from shopfloor.domain.jobs import provider_waits
from shopfloor.domain.jobs.bench import Case
from shopfloor.domain.jobs.errors import LeaseLost
from shopfloor.domain.jobs.keep import Keeper
from shopfloor.domain.jobs.lease import Result
from shopfloor.domain.jobs.lifecycle import State, WaitingReason, pause_s
from shopfloor.domain.jobs.tree import JobTree, changes_of
from shopfloor.engine.agents.outcome import Ending
from shopfloor.engine.workspace import WorkspaceError, WorkspaceLost
from shopfloor.infra.database import DatabaseUnavailable
from shopfloor.infra.tx import Tx

log = structlog.get_logger(__name__)

_LAST_SNAPSHOT_S = 1.0  # after a cancel: what the agent was at is kept if that is quick


async def product(case: Case, tree: JobTree) -> dict[str, Any]:
    """The diff as the platform sees it, kept at every ending."""
    found = await tree.diff(max_patch_bytes=case.bench.settings.patch_bytes)
    digest, size_bytes = await tree.save_patch()
    if not found.empty:
        keeper = Keeper(case.bench.store, case.bench.blobs, case.lease)
        await keeper.add("changes.patch", "text/x-diff", digest, size_bytes)
    return {
        "result_commit": tree.head,
        "changes": changes_of(found),
        "patch_digest": digest,
        "facts": {"files": len(found.files)},
    }


async def result_of_cancelled(case: Case) -> Result:
    """What a cancelled job ends with: what was done so far is kept."""
    return Result(State.CANCELLED, Ending.CANCELLED.value, **await _saved(case))


async def end_failed(case: Case, error: ShopfloorError) -> None:
    """End the job as failed, with the reason and what was done so far."""
    result = Result(State.FAILED, error.code(), error=error.as_dict(), **await _saved(case))
    await case.write(lambda tx: leases.finish(tx, case.lease, result))


async def queue_again(case: Case, error: ShopfloorError) -> None:
    """A part of ours failed: the job goes on from its journal after a pause, or is dead."""
    bench = case.bench
    await case.write(lambda tx: leases.try_again(tx, case.lease, error, bench.settings, chance=bench.chance))


async def wait_for_provider(case: Case, error: ShopfloorError) -> None:
    """Park the job, longer each time, until its provider answers or its patience ends."""
    settings = case.bench.settings
    parked, waited_s = await case.write(lambda tx: leases.parked_in_a_row(tx, case.lease))
    if waited_s > settings.provider_patience_s:
        await end_failed(case, error)
        return
    asked_s = error.facts.get("retry_after_s")
    floor_s = float(asked_s) if isinstance(asked_s, int | float) else 1.0
    jitter_s = pause_s(parked + 1, base_s=2.0, longest_s=settings.provider_pause_longest_s, chance=case.bench.chance)
    wait_s = min(floor_s + jitter_s, settings.provider_pause_longest_s)
    models = error.facts.get("models")
    waiting_on = cast("list[str]", models) if isinstance(models, list) else []

    async def park(tx: Tx) -> None:
        await leases.park(tx, case.lease, WaitingReason.PROVIDER, wait_s=wait_s, error=error)
        patience_s = settings.provider_patience_s - waited_s
        await provider_waits.note(tx, case.lease.job_id, waiting_on, patience_s=patience_s)

    await case.write(park)


async def wait_for_budget(case: Case, error: BudgetExhausted) -> None:
    """Park the job until its budget has room for its next call. It never fails for a budget."""
    needs = error.facts.get("bound_nanos")

    async def park(tx: Tx) -> None:
        state = await leases.park(
            tx, case.lease, WaitingReason.BUDGET, wait_s=0, error=error,
            needs_nanos=needs if isinstance(needs, int) else None,
        )  # fmt: skip
        if state is State.WAITING:
            await pause_exhausted(tx, error)

    await case.write(park)


async def _saved(case: Case) -> dict[str, Any]:
    """What could be saved of a run that ends before its time. The ending is recorded whatever becomes of it."""
    await last_snapshot(case)
    if case.tree is None:
        return {}
    try:
        return await product(case, case.tree)
    except (LeaseLost, DatabaseUnavailable):
        raise
    except (ShopfloorError, OSError):
        log.exception("run.product_lost", job_id=str(case.lease.job_id))
        return {}


async def last_snapshot(case: Case, *, needed: bool = False) -> None:
    """What changed since the last tool call, if it can be had quickly; what can't is the last recorded state.

    If it is `needed` it takes its time, and whatever goes wrong rises: a result that leaves out what its agent did is
    none.
    """
    if case.tree is None or case.sandbox is None:
        return
    if needed:
        await case.tree.take(case.sandbox)
        return
    try:
        async with asyncio.timeout(_LAST_SNAPSHOT_S):
            await case.tree.take(case.sandbox)
    except (TimeoutError, WorkspaceError, WorkspaceLost):
        log.warning("run.last_snapshot_left_out", job_id=str(case.lease.job_id))
    except (ShopfloorError, OSError):
        log.warning("run.last_snapshot_failed", job_id=str(case.lease.job_id), exc_info=True)

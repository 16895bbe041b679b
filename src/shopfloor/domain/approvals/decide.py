"""Find what waits for a person, and answer it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import structlog

from shopfloor.base.clock import Clock
from shopfloor.base.errors import Unavailable
from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.approvals import store
from shopfloor.domain.approvals.errors import ApprovalDecided, ApprovalUnknown, OwnApproval
from shopfloor.domain.approvals.models import Approval
from shopfloor.domain.jobs import control
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.events import JobFinished, emit
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, begin, begin_system, perform

WITHDRAW_TASK = "approvals.withdraw"
_SWEEP_S = 5.0  # how late an approval may expire
_BATCH = 50

log = structlog.get_logger(__name__)

Verdict = Literal["approved", "rejected"]


async def find_approval(tx: Tx, approval_id: UUID) -> Approval:
    """Raises: ApprovalUnknown, also for one of a project that the principal may not see."""
    return _visible(tx, await store.approval(tx, approval_id), f"There is no approval {approval_id}")


async def newest_of_job(tx: Tx, job_id: UUID) -> Approval:
    """What a job waits for. Raises: JobNotFound; ApprovalUnknown when it waits for nobody."""
    await jobs.readable_job(tx, job_id)
    rows = await store.approvals(
        tx, filters={"job_id": job_id, "state": "pending"}, project_ids=None, before=None, limit=1
    )
    return _visible(tx, rows[0] if rows else None, f"Job {job_id} waits for no approval")


async def answer(
    tx: Tx, approval_id: UUID, verdict: Verdict, *, remember: bool = False, reason: str | None = None
) -> Approval:
    """Say yes or no; the job goes on with the answer once nothing else of it waits.

    Raises: ApprovalUnknown, ApprovalDecided, OwnApproval, PermissionDenied.
    """
    found = _visible(tx, await store.approval(tx, approval_id, lock=True), f"There is no approval {approval_id}")
    tx.require("job.approve", found.project_id)
    if found.state != "pending":
        raise ApprovalDecided(f"This is {found.state} already: an answer never changes.", state=found.state)
    job = await jobs.job(tx, found.job_id)
    me = tx.principal.user_id or tx.principal.id
    if job.rules().by_others and await store.submitter_of(tx, found.job_id) in {me, tx.principal.id}:
        raise OwnApproval(
            "You submitted this job, and its project wants somebody else to decide what it may do. Ask a colleague."
        )
    await store.decide(tx, approval_id, verdict, remember=remember, reason=reason, by=(me, tx.principal.name))
    await tx.record(
        f"approval.{verdict}", "approval", approval_id, before={"state": found.state},
        after={"state": verdict, "job": found.job_id, "what": found.summary, "remember": remember, "reason": reason},
        project_id=found.project_id,
    )  # fmt: skip
    await _told(tx, found, verdict, by=tx.principal.name, reason=reason)
    return await find_approval(tx, approval_id)


async def withdraw_of(shop: Store, organization_id: UUID, job_id: UUID) -> None:
    """The queue's task after a job's end: what it asked for needs no answer any more."""
    await perform(shop, _system(organization_id), lambda tx: store.withdraw(tx, job_id))


def arguments_of(event: JobFinished) -> dict[str, str]:
    """What that task is called with."""
    return {"organization_id": str(event.organization_id), "job_id": str(event.job_id)}


async def expire(shop: Store, notifier: Notifier) -> int:
    """Close what nobody answered in time; its jobs go on without it. How many."""
    async with begin_system(shop) as tx:
        late = await store.due(tx, _BATCH)
    for organization_id, approval_id in late:
        async with begin(shop, _system(organization_id)) as tx:
            found = await store.approval(tx, approval_id, lock=True)
            if found is None or not await store.decide(
                tx, approval_id, "expired", remember=False, reason=None, by=(None, None)
            ):
                continue
            await _told(tx, found, "expired", by="nobody", reason=None)
        notifier.wake(f"job:{found.job_id}")
        notifier.wake("admit")
    return len(late)


async def keep_expiring(shop: Store, notifier: Notifier, clock: Clock) -> None:
    """Until cancelled."""
    while True:
        try:
            await expire(shop, notifier)
        except Unavailable as error:
            log.warning("approvals.wait", error=error.detail)
        await clock.sleep(_SWEEP_S)


async def _told(tx: Tx, approval: Approval, state: str, *, by: str, reason: str | None) -> None:
    """The line in the job's stream, and the job queued again unless something else of it waits."""
    line = {"approval": str(approval.id), "state": state, "summary": approval.summary, "by": by, "reason": reason}
    await emit(tx, approval.job_id, ("approval.decided", line))
    if not await store.lock_pending(tx, approval.job_id):
        await control.go_on(tx, approval.job_id, f"{approval.summary} was {state}")


def _visible(tx: Tx, approval: Approval | None, what: str) -> Approval:
    if approval is None or not tx.principal.allows("job.read", approval.project_id):
        raise ApprovalUnknown(f"{what}, or none that you may see. `shopfloor approval list` shows what waits.")
    return approval


def _system(organization_id: UUID) -> Principal:
    return Principal("system", NIL, organization_id, frozenset({"*"}), name="system")

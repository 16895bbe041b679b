"""This room over HTTP. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.approvals import decide, store
from shopfloor.domain.approvals.decide import Verdict
from shopfloor.domain.approvals.errors import ApprovalDecided, ApprovalUnknown, OwnApproval
from shopfloor.domain.approvals.models import Approval, ApprovalState
from shopfloor.domain.approvals.schemas import ApprovalReply, No, Yes, approval_reply
from shopfloor.domain.jobs.dispatch import Dispatcher
from shopfloor.domain.jobs.errors import JobNotFound
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1", tags=["approvals"])

_APPROVALS = Keyset("approvals", UUID)

Reader = Annotated[Principal, Depends(Require("job.read"))]
Approver = Annotated[Principal, Depends(Require("job.approve"))]
_REFUSALS = problems(ApprovalUnknown, ApprovalDecided, OwnApproval)
_OF_JOB = problems(JobNotFound, ApprovalUnknown, ApprovalDecided, OwnApproval)


class ApprovalsState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    notifier: Notifier
    dispatcher: Dispatcher


def _state(request: Request) -> ApprovalsState:
    return cast("ApprovalsState", request.app.state.shopfloor)


@router.get("/approvals", summary="List approvals")
async def list_approvals(
    request: Request,
    principal: Reader,
    state: Annotated[ApprovalState | None, Query(description="`pending`: what waits for somebody now.")] = None,
    job: Annotated[UUID | None, Query(description="Only of this job.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[ApprovalReply]:
    """What was asked in the projects you may see, newest first."""
    filters: dict[str, Any] = {"state": state, "job_id": job}
    keys = _APPROVALS.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        before = cast("UUID", keys[0]) if keys else None
        places = tx.projects_where("job.read")
        rows = await store.approvals(tx, filters=filters, project_ids=places, before=before, limit=limit + 1)
    items, following = _APPROVALS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[approval_reply(row) for row in items], next_cursor=following)


@router.get("/approvals/{approval_id}", responses=problems(ApprovalUnknown), summary="One approval")
async def get_approval(request: Request, approval_id: UUID, principal: Reader) -> ApprovalReply:
    """What was asked, by which job, and the answer."""
    async with begin(_state(request).store, principal) as tx:
        return approval_reply(await decide.find_approval(tx, approval_id))


@router.post("/approvals/{approval_id}/approve", responses=_REFUSALS, summary="Say yes")
async def post_approve(
    request: Request, approval_id: UUID, principal: Approver, yes: Yes | None = None
) -> ApprovalReply:
    """The job goes on and does it. An answer never changes."""
    return await _answer(request, principal, approval_id, "approved", yes or Yes())


@router.post("/approvals/{approval_id}/reject", responses=_REFUSALS, summary="Say no")
async def post_reject(request: Request, approval_id: UUID, principal: Approver, no: No | None = None) -> ApprovalReply:
    """The job goes on without it; its agent is told the reason."""
    return await _answer(request, principal, approval_id, "rejected", no or No())


@router.post("/jobs/{job_id}/approve", tags=["jobs"], responses=_OF_JOB, summary="Say yes to what it waits for")
async def post_job_approve(
    request: Request, job_id: UUID, principal: Approver, yes: Yes | None = None
) -> ApprovalReply:
    """Approve what the job waits for: its newest unanswered question."""
    return await _answer(request, principal, await _waiting(request, principal, job_id), "approved", yes or Yes())


@router.post("/jobs/{job_id}/reject", tags=["jobs"], responses=_OF_JOB, summary="Say no to what it waits for")
async def post_job_reject(request: Request, job_id: UUID, principal: Approver, no: No | None = None) -> ApprovalReply:
    """Reject what the job waits for: its newest unanswered question."""
    return await _answer(request, principal, await _waiting(request, principal, job_id), "rejected", no or No())


async def _waiting(request: Request, principal: Principal, job_id: UUID) -> UUID:
    async with begin(_state(request).store, principal) as tx:
        return (await decide.newest_of_job(tx, job_id)).id


async def _answer(
    request: Request, principal: Principal, approval_id: UUID, verdict: Verdict, said: Yes | No
) -> ApprovalReply:
    state = _state(request)
    async with begin(state.store, principal) as tx:
        found = await decide.answer(
            tx, approval_id, verdict, remember=isinstance(said, Yes) and said.remember, reason=said.reason
        )
        tx.after_commit(lambda: _goes_on(state, found))
    return approval_reply(found)


def _goes_on(state: ApprovalsState, found: Approval) -> None:
    state.dispatcher.poke()
    state.notifier.wake("admit")
    state.notifier.wake(f"job:{found.job_id}")

"""This room over HTTP: see what was given up, try it again, or discard it. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.access.projects import ProjectUnknown
from shopfloor.domain.access.replies import versioned
from shopfloor.domain.dead_letters import settle
from shopfloor.domain.dead_letters.bulk import settle_each
from shopfloor.domain.dead_letters.errors import DeadLetterSettled, DeadLetterUnknown
from shopfloor.domain.dead_letters.models import DeadLetter, Kind, LetterState
from shopfloor.domain.dead_letters.schemas import (
    DeadLetterReply,
    DeadLetterSummary,
    DiscardMany,
    DiscardRequest,
    RequeueRequest,
    SettledReply,
    Which,
    letter_reply,
    settled_reply,
    summary,
)
from shopfloor.domain.dead_letters.settle import Changes, Filters
from shopfloor.domain.jobs.dispatch import Dispatcher
from shopfloor.domain.jobs.errors import ProjectClosed
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.submit import Desk
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, begin
from shopfloor.infra.web.etags import cache_headers, etag_of, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead-letters"])

_LETTERS = Keyset("dead letters", UUID)

Reader = Annotated[Principal, Depends(Require("deadletter.read"))]
Editor = Annotated[Principal, Depends(Require("deadletter.edit"))]


class DeadLettersState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    desk: Desk
    dispatcher: Dispatcher
    notifier: Notifier


def _state(request: Request) -> DeadLettersState:
    return cast("DeadLettersState", request.app.state.shopfloor)


@router.get("", summary="List dead letters", responses=problems(ProjectUnknown))
async def list_dead_letters(
    request: Request,
    principal: Reader,
    state: Annotated[LetterState | None, Query(description="Only in this state.")] = None,
    kind: Annotated[Kind | None, Query(description="Only jobs, or only tasks.")] = None,
    task: Annotated[str | None, Query(max_length=128, description="Only of this task, e.g. `mail.send`.")] = None,
    project: Annotated[str | None, Query(max_length=64, description="Only of this project: id or slug.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[DeadLetterSummary]:
    """What the platform has given up, newest first."""
    filters = {"state": state, "kind": kind, "task": task, "project": project}
    keys = _LETTERS.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        rows = await settle.list_letters(
            tx, Filters(kind, task, project), state=state, before=cast("UUID", keys[0]) if keys else None,
            limit=limit + 1,
        )  # fmt: skip
    items, following = _LETTERS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[summary(row) for row in items], next_cursor=following)


@router.post("/requeue", summary="Try many again", responses=problems(ProjectUnknown))
async def post_requeue_many(request: Request, principal: Editor, many: Which) -> SettledReply:
    """Up to 100, each by itself: what is refused is told, and the others are done."""
    state = _state(request)

    async def again(tx: Tx, letter_id: UUID) -> DeadLetter:
        letter, job = await settle.requeue(tx, state.desk, letter_id, Changes())
        _wake(tx, state, job)
        return letter

    return settled_reply(await settle_each(state.store, principal, many.which(), again))


@router.post("/discard", summary="Discard many", responses=problems(ProjectUnknown))
async def post_discard_many(request: Request, principal: Editor, many: DiscardMany) -> SettledReply:
    """Up to 100, each by itself, with one reason for all."""

    async def away(tx: Tx, letter_id: UUID) -> DeadLetter:
        return await settle.discard(tx, letter_id, many.reason)

    return settled_reply(await settle_each(_state(request).store, principal, many.which(), away))


@router.get(
    "/{letter_id}", response_model=DeadLetterReply, summary="One dead letter", responses=problems(DeadLetterUnknown)
)
async def get_dead_letter(request: Request, response: Response, letter_id: UUID, principal: Reader) -> Any:
    """Why it was given up, each attempt, and what it was about, without secrets."""
    async with begin(_state(request).store, principal) as tx:
        letter = await settle.find_letter(tx, letter_id)
    return versioned(request, response, letter.version, letter_reply(letter))


@router.post(
    "/{letter_id}/requeue",
    summary="Try it again",
    responses=problems(DeadLetterUnknown, DeadLetterSettled, ProjectClosed, PreconditionFailed),
)
async def post_requeue(
    request: Request, response: Response, letter_id: UUID, principal: Editor, how: RequeueRequest
) -> DeadLetterReply:
    """The same, or changed. A job goes on as a new one from its last finished turn; a letter is requeued once."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        found = await settle.find_letter(tx, letter_id)
        require_match(request, etag_of(found.version), optional=True)
        letter, job = await settle.requeue(tx, state.desk, letter_id, how.changes())
        _wake(tx, state, job)
    response.headers.update(cache_headers(etag_of(letter.version)))
    return letter_reply(letter)


@router.post(
    "/{letter_id}/discard",
    summary="Discard it",
    responses=problems(DeadLetterUnknown, DeadLetterSettled, PreconditionFailed),
)
async def post_discard(
    request: Request, response: Response, letter_id: UUID, principal: Editor, why: DiscardRequest
) -> DeadLetterReply:
    """It is never tried again. It stays in the list, with the reason."""
    async with begin(_state(request).store, principal) as tx:
        found = await settle.find_letter(tx, letter_id)
        require_match(request, etag_of(found.version), optional=True)
        letter = await settle.discard(tx, letter_id, why.reason)
    response.headers.update(cache_headers(etag_of(letter.version)))
    return letter_reply(letter)


def _wake(tx: Tx, state: DeadLettersState, job: Job | None) -> None:
    if job is None:
        return

    def wake() -> None:
        state.dispatcher.poke()
        state.notifier.wake("admit")
        state.notifier.wake(f"job:{job.id}")

    tx.after_commit(wake)

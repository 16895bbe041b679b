"""This room over HTTP. Parse, call, shape: no rule and no query stands here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response, WebSocket
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse

from shopfloor.base.errors import NotFound, NotSignedIn, PermissionDenied
from shopfloor.base.ids import parse_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access import store as access
from shopfloor.domain.access.http import Require, authenticated_still, permitted
from shopfloor.domain.access.models import Project
from shopfloor.domain.artifacts.download import opened
from shopfloor.domain.jobs import control, store
from shopfloor.domain.jobs.dispatch import Dispatcher
from shopfloor.domain.jobs.errors import (
    IdempotencyKeyReused,
    JobEnded,
    JobNotFound,
    ProjectClosed,
    ProjectOutOfReach,
    TurnUnknown,
)
from shopfloor.domain.jobs.lifecycle import State
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.schemas import (
    EventsReply,
    ForkRequest,
    JobReply,
    JobSubmission,
    RetryRequest,
    RunReply,
    StepReply,
    UsageReply,
    event_reply,
    job_json,
    job_reply,
    run_reply,
    step_reply,
    usd,
)
from shopfloor.domain.jobs.submit import Desk, submit
from shopfloor.infra.blobs import BlobStore
from shopfloor.infra.live import LiveFeed
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, begin, reading
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified
from shopfloor.infra.web.idempotency import idempotency_key
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page
from shopfloor.infra.web.streams import event_stream, place_asked_for, wants_event_stream, websocket_events

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

_JOBS = Keyset("jobs", UUID)
_STEPS = Keyset("steps", UUID)

_READ = Require("job.read")

Reader = Annotated[Principal, Depends(_READ)]
Submitter = Annotated[Principal, Depends(Require("job.submit"))]
Canceller = Annotated[Principal, Depends(Require("job.cancel"))]
Retrier = Annotated[Principal, Depends(Require("job.retry"))]


class JobsState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    blobs: BlobStore
    notifier: Notifier
    dispatcher: Dispatcher
    desk: Desk
    live: LiveFeed
    allowed_origins: tuple[str, ...]


def _state(connection: HTTPConnection) -> JobsState:
    return cast("JobsState", connection.app.state.shopfloor)


@router.post(
    "",
    status_code=202,
    responses=problems(ProjectOutOfReach, ProjectClosed, IdempotencyKeyReused),
    summary="Submit a job",
)
async def post_job(request: Request, response: Response, new: JobSubmission, principal: Submitter) -> JobReply:
    """Queue a task. With an `Idempotency-Key` the same request gives the same job for 24 hours."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        job, _ = await submit(tx, state.desk, new.as_submission(), idempotency_key=idempotency_key(request))
        tx.after_commit(lambda: _queued(state, job))
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job_reply(job)


@router.get("", summary="List jobs")
async def list_jobs(  # noqa: PLR0917 - each is one query parameter
    request: Request,
    principal: Reader,
    state: Annotated[list[State] | None, Query(max_length=7, description="Only in these states.")] = None,
    project: Annotated[str | None, Query(max_length=64, description="Id or slug.")] = None,
    agent: Annotated[str | None, Query(max_length=100)] = None,
    label: Annotated[str | None, Query(max_length=263, description="`name=value`.")] = None,
    parent: Annotated[UUID | None, Query(description="Only what was made from this job.")] = None,
    since: Annotated[datetime | None, Query(description="Made at this time or later.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[JobReply]:
    """The jobs you may see, newest first."""
    filters: dict[str, Any] = {
        "state": sorted(state) if state else None, "project": project, "agent": agent, "label": label,
        "parent_id": parent, "since": since,
    }  # fmt: skip
    keys = _JOBS.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        wanted = filters | {"project_id": await _project_id(tx, project), "label": _label(label)}
        after = cast("UUID", keys[0]) if keys else None
        rows = await store.jobs(tx, filters=wanted, after=after, limit=limit + 1)
    items, following = _JOBS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[job_reply(row) for row in items], next_cursor=following)


async def get_job(request: Request, job_id: UUID, principal: Reader) -> Response:
    """One job. With `If-None-Match`: 304 while nothing changed."""
    async with reading(_state(request).store, principal) as tx:
        job = await store.readable_job(tx, job_id)
    etag = etag_of(job.version, variant=str(job.last_seq))
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    return Response(job_json(job), headers=cache_headers(etag), media_type="application/json")


class _OneJob(APIRoute):
    """The route that clients ask all the time: FastAPI documents it and answers what is unusual.

    Solving the dependencies and checking our own answer took longer than the query.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Straight to the verb; an id that isn't written the usual way, or any query, takes the usual way."""
        usual = super().get_route_handler()

        async def handle(request: Request) -> Response:
            job_id = parse_id(request.path_params["job_id"])
            if job_id is None or request.scope["query_string"]:  # there its parameters are looked at
                return await usual(request)
            if request.app.dependency_overrides:  # the command line signs in by one
                return await usual(request)
            return await get_job(request, job_id, await permitted(request, _READ))

        return handle


router.add_api_route(
    "/{job_id}",
    get_job,
    response_model=JobReply,
    responses=problems(JobNotFound),
    summary="One job",
    route_class_override=_OneJob,
)


@router.get("/{job_id}/events", response_model=EventsReply, responses=problems(JobNotFound), summary="Its events")
async def get_events(
    request: Request,
    job_id: UUID,
    principal: Reader,
    after: Annotated[str | None, Query(max_length=19, description="Events with a higher `seq` only.")] = None,
    limit: Limit = 200,
) -> Any:
    """Its events in order. With `Accept: text/event-stream` a live stream that resumes by `Last-Event-ID`."""
    state = _state(request)
    start = place_asked_for(request.headers, after)
    async with begin(state.store, principal) as tx:
        job = await store.readable_job(tx, job_id)
        if not wants_event_stream(request):
            events = await store.events(tx, job_id, after=start, limit=limit)
            return EventsReply(items=[event_reply(event) for event in events], last_seq=job.last_seq)
    return await event_stream(
        state.live.subscribe(
            job_id, start, authorized=_still(request, principal, job_id), group=principal.organization_id
        )
    )


@router.websocket("/{job_id}/stream")
async def stream(websocket: WebSocket, job_id: UUID, principal: Reader) -> None:
    """The same stream as a WebSocket: `{seq, kind, data, at}`; start with `?after=n` or by sending `{"after": n}`."""
    state = _state(websocket)
    async with begin(state.store, principal) as tx:
        await store.readable_job(tx, job_id)
    await websocket_events(
        websocket,
        lambda after: state.live.subscribe(
            job_id, after, authorized=_still(websocket, principal, job_id), group=principal.organization_id
        ),
        allowed_origins=state.allowed_origins,
    )


@router.get("/{job_id}/runs", responses=problems(JobNotFound), summary="Its runs")
async def get_runs(request: Request, job_id: UUID, principal: Reader) -> list[RunReply]:
    """Each attempt by a worker, oldest first."""
    async with begin(_state(request).store, principal) as tx:
        await store.readable_job(tx, job_id)
        return [run_reply(run) for run in await store.runs(tx, job_id)]


@router.get("/{job_id}/steps", responses=problems(JobNotFound), summary="Its journal")
async def get_steps(
    request: Request, job_id: UUID, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[StepReply]:
    """Each model reply and tool call, in the order they were intended."""
    about = {"job": job_id}
    keys = _STEPS.read(cursor, filters=about)
    async with begin(_state(request).store, principal) as tx:
        await store.readable_job(tx, job_id)
        after = cast("UUID", keys[0]) if keys else None
        rows = await store.steps(tx, job_id, after=after, limit=limit + 1)
    items, following = _STEPS.page(rows, limit, keys=lambda row: (row.id,), filters=about)
    return Page(items=[step_reply(row) for row in items], next_cursor=following)


@router.get(
    "/{job_id}/diff",
    responses={200: {"content": {"text/x-diff": {}}, "description": "For `git apply`."}, **problems(JobNotFound)},
    response_class=Response,
    summary="Its diff",
)
async def get_diff(request: Request, job_id: UUID, principal: Reader) -> Response:
    """What the job changed, made by the platform from the result. Empty while there is none."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        job = await store.readable_job(tx, job_id)
        await tx.record_read("job.diff-read", "job", job_id, project_id=job.project_id)
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization, Cookie",
    }
    if job.patch_digest is None:
        return Response(b"", media_type="text/x-diff", headers=headers)
    return StreamingResponse(
        await opened(state.blobs, job.patch_digest, None), media_type="text/x-diff", headers=headers
    )


@router.get("/{job_id}/usage", responses=problems(JobNotFound), summary="What it used")
async def get_usage(request: Request, job_id: UUID, principal: Reader) -> UsageReply:
    """Cost and tokens, in all and call by call."""
    async with begin(_state(request).store, principal) as tx:
        job = await store.readable_job(tx, job_id)
        calls = await store.calls(tx, job_id)
    return UsageReply(
        cost_usd=usd(job.cost_nanos),
        cost_nanos=job.cost_nanos,
        held_nanos=job.held_nanos,
        unknown_nanos=job.unknown_nanos,
        usage=job.usage,
        calls=cast("Any", calls),
    )


@router.post("/{job_id}/cancel", status_code=202, responses=problems(JobNotFound, JobEnded), summary="Cancel it")
async def post_cancel(request: Request, job_id: UUID, principal: Canceller) -> JobReply:
    """Cancel it; a running job ends within two seconds and keeps its diff."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        job = await control.cancel(tx, job_id)
        tx.after_commit(lambda: state.notifier.wake(f"cancel:{job_id}"))
        tx.after_commit(lambda: state.notifier.wake(f"job:{job_id}"))
    return job_reply(job)


@router.post("/{job_id}/retry", status_code=202, responses=problems(JobNotFound, JobEnded), summary="Do it again")
async def post_retry(request: Request, job_id: UUID, principal: Retrier, how: RetryRequest | None = None) -> JobReply:
    """A new job that asks the same, or a replay from its recorded replies."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        job = await (control.replay(tx, job_id) if how and how.mode == "replay" else control.retry(tx, job_id))
        tx.after_commit(lambda: _queued(state, job))
    return job_reply(job)


@router.post("/{job_id}/fork", status_code=202, responses=problems(JobNotFound, TurnUnknown), summary="Fork it")
async def post_fork(request: Request, job_id: UUID, principal: Submitter, how: ForkRequest) -> JobReply:
    """A new job that goes on from before a turn of this one, at no cost for what was finished by then."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        job = await control.fork(tx, state.desk, job_id, before_turn=how.before_turn, changes=how.changes())
        tx.after_commit(lambda: _queued(state, job))
    return job_reply(job)


async def _project_id(tx: Tx, name: str | None) -> list[UUID] | None:
    """The projects to list: the one named, or those the principal is limited to, or all (None)."""
    if name is not None:
        project: Project | None = await access.project_by(tx, parse_id(name) or name)
        if project is None or not tx.principal.allows("job.read", project.id):
            raise ProjectOutOfReach(f"There is no project {name!r} in your organization, or none you may see.")
        return [project.id]
    return tx.projects_where("job.read")


def _label(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    name, _, value = text.partition("=")
    return {name: value}


def _still(connection: HTTPConnection, principal: Principal, job_id: UUID) -> Any:
    """Asked again while a stream is open: whether key, session and person go on, and may still see the job."""

    async def check() -> bool:
        state = _state(connection)
        try:
            async with begin(state.store, await authenticated_still(connection, principal)) as tx:
                await store.readable_job(tx, job_id)
        except (NotSignedIn, PermissionDenied, NotFound):
            return False
        return True

    return check


def _queued(state: JobsState, job: Job) -> None:
    state.dispatcher.poke()
    state.notifier.wake("admit")
    state.notifier.wake(f"job:{job.id}")

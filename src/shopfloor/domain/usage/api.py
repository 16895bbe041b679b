"""This room over HTTP: reports, exports, estimates, the check against the ledger, and re-rating. Parse, call, shape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import StreamingResponse

from shopfloor.base.errors import InvalidInput
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.access.projects import ProjectUnknown, find_project
from shopfloor.domain.budgets.port import Booked
from shopfloor.domain.usage import check as checks
from shopfloor.domain.usage import report as reports
from shopfloor.domain.usage.add_up import add_up
from shopfloor.domain.usage.calls import calls, span_of
from shopfloor.domain.usage.estimate import estimate
from shopfloor.domain.usage.focus import Account
from shopfloor.domain.usage.formats import MEDIA_TYPES, Format, written
from shopfloor.domain.usage.price_check import check_prices
from shopfloor.domain.usage.report import Question
from shopfloor.domain.usage.rerate import rerate
from shopfloor.domain.usage.schemas import (
    CheckReply,
    EstimateReply,
    FindingReply,
    PriceCheckReply,
    RebuiltReply,
    ReportReply,
    RerateReply,
    RerateRequest,
    check_reply,
    estimate_reply,
    line_reply,
    rerate_reply,
    sums_reply,
)
from shopfloor.infra.tx import Store, Tx, begin
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit

router = APIRouter(prefix="/api/v1")

_LINES = Keyset("usage", int, int, str)
_RERATED = Keyset("rerated", datetime, UUID)
_BOOKED: Sequence[Booked] = (add_up,)

Reader = Annotated[Principal, Depends(Require("usage.read"))]
Auditor = Annotated[Principal, Depends(Require("audit.read", whole_organization=True))]
Keeper = Annotated[Principal, Depends(Require("budget.edit", whole_organization=True))]
PriceReader = Annotated[Principal, Depends(Require("price.read"))]
PriceEditor = Annotated[Principal, Depends(Require("price.edit", whole_organization=True))]

Grouping = Annotated[
    list[str],
    Query(
        max_length=10,
        description="Some of day, week, month, project, team, user, agent, provider, model, or one label as "
        "`label:NAME`; several with commas. Left out: the whole organization in one line.",
    ),
]
From = Annotated[date | None, Query(alias="from", description="The first day. Left out: the month's first.")]
To = Annotated[date | None, Query(description="The last day, included. Left out: today.")]
OfProject = Annotated[str | None, Query(max_length=64, description="Only of this project: id or slug.")]
Name = Annotated[str | None, Query(max_length=200)]


class UsageState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    @property
    def store(self) -> Store:
        """Open pools."""
        ...


def _store(request: Request) -> Store:
    return cast("UsageState", request.app.state.shopfloor).store


@router.get("/usage", tags=["usage"], responses=problems(ProjectUnknown), summary="Report usage")
async def get_usage(  # noqa: PLR0917 - each is one parameter of the query
    request: Request,
    principal: Reader,
    group_by: Grouping = [],  # noqa: B006 - FastAPI copies it
    first: From = None,
    to: To = None,
    project: OfProject = None,
    team: UUID | None = None,
    user: UUID | None = None,
    agent: Name = None,
    provider: Name = None,
    model: Name = None,
    label: Annotated[str | None, Query(max_length=263, description="Only of jobs with this: `name=value`.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> ReportReply:
    """What was used on these days, in the projects you may see, the dearest first; every nano-dollar of the ledger."""
    named: dict[str, Any] = {"team": team, "user": user, "agent": agent, "provider": provider, "model": model}
    filters = {name: value for name, value in named.items() if value is not None}
    keys = reports.grouped_by(group_by)
    about = {"by": keys, "first": first, "to": to, "project": project, "label": label, **filters}
    after = _LINES.read(cursor, filters=about)
    async with begin(_store(request), principal) as tx:
        start, end = await _days(tx, first, to)
        places = await reports.places(tx, project)
        question = Question(keys, start, end, places, filters, _label(label))
        rows = await reports.report(tx, question, after=cast("reports.Place | None", after), limit=limit + 1)
        total = await reports.total(tx, question)
        zone = await reports.time_zone(tx)
    items, following = _LINES.page(
        rows, limit, keys=lambda row: (row.day_number, row.cost_nanos, row.digest), filters=about
    )
    return ReportReply(
        items=[line_reply(row) for row in items],
        next_cursor=following,
        total=sums_reply(total),
        first=start,
        last=end,
        time_zone=zone,
    )


@router.get(
    "/usage/export",
    tags=["usage"],
    response_class=StreamingResponse,
    responses={
        200: {"content": {kind.split(";")[0]: {} for kind in MEDIA_TYPES.values()}, "description": "The file."},
        **problems(ProjectUnknown),
    },
    summary="Export call by call",
)
async def get_export(
    request: Request,
    principal: Reader,
    form: Annotated[
        Format, Query(alias="format", description="`focus`: CSV with the columns of FOCUS 1.2, cost and usage.")
    ] = "csv",
    first: From = None,
    to: To = None,
    project: OfProject = None,
) -> StreamingResponse:
    """Every booking of these days in the projects you may see, in order, as it comes from the ledger."""
    store = _store(request)
    async with begin(store, principal) as tx:
        start, end = await _days(tx, first, to)
        question = Question((), start, end)
        reports.check_question(question)
        places = await reports.places(tx, project)
        span = await span_of(tx, start, end, zone=await reports.time_zone(tx), projects=places)
        account = Account(tx.organization_id, await _organization(tx), span.zone)
        told = {"format": form, "from": start, "to": end, "project": project}
        await tx.record_read("usage.exported", "usage", "calls", after=told)
    pieces = written(calls(store, principal, span), form, account)
    begun = await anext(pieces)  # what can't be read is known before any header is sent
    ending = {"focus": "focus.csv"}.get(form, form)
    name = f"usage-{start}-{end}.{ending}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_chained(begun, pieces), media_type=MEDIA_TYPES[form], headers=headers)


@router.get("/usage/estimate", tags=["usage"], responses=problems(ProjectUnknown), summary="Estimate a job")
async def get_estimate(
    request: Request,
    principal: Reader,
    project: OfProject = None,
    agent: Name = None,
    model: Name = None,
    task_chars: Annotated[int | None, Query(ge=0, le=10_000_000, description="How long the task's text is.")] = None,
) -> EstimateReply:
    """What a job is likely to cost and take, from similar ones that ended, and how well such estimates have held."""
    async with begin(_store(request), principal) as tx:
        place = None if project is None else (await find_project(tx, project)).id
        found = await estimate(tx, project_id=place, agent=agent, model=model, task_chars=task_chars)
    return estimate_reply(found)


@router.get("/usage/check", tags=["usage"], summary="Compare usage with the ledger")
async def get_check(request: Request, principal: Auditor) -> CheckReply:
    """Every day's sums against the ledger's entries. Over millions of calls this takes seconds."""
    return check_reply(await checks.check(_store(request), principal))


@router.post("/usage/rebuild", tags=["usage"], summary="Make the sums anew")
async def post_rebuild(request: Request, principal: Keeper) -> RebuiltReply:
    """From the ledger, by the days of the time zone that holds now: needed once after that changed."""
    return RebuiltReply(rows=await checks.rebuild(_store(request), principal))


@router.get("/prices/check", tags=["prices"], summary="Check prices")
async def get_price_check(request: Request, principal: PriceReader) -> PriceCheckReply:
    """Models in use without a price, with one of nothing, or with one that the price list has left behind."""
    async with begin(_store(request), principal) as tx:
        count, found = await check_prices(tx)
    return PriceCheckReply(models=count, findings=[FindingReply(**asdict(each)) for each in found])


@router.post("/prices/rerate", tags=["prices"], summary="Rate calls anew")
async def post_rerate(request: Request, asked: RerateRequest, principal: PriceEditor) -> RerateReply:
    """By the prices that are set for their time by now. Differences are booked as adjustments, entries never changed.

    Up to 20,000 calls a request; repeating one books nothing twice.
    """
    about = {"from": asked.start, "to": asked.until, "provider": asked.provider, "model": asked.model}
    after = cast("tuple[datetime, UUID] | None", _RERATED.read(asked.cursor, filters=about))
    done = await rerate(_store(request), principal, asked.asked(), booked=_BOOKED, after=after)
    return rerate_reply(done, None if done.more is None else _RERATED.cursor(done.more, filters=about))


async def _days(tx: Tx, first: date | None, to: date | None) -> tuple[date, date]:
    """From the month's first to today, where nothing else is asked for."""
    end = to or await reports.today(tx)
    return first or end.replace(day=1), end


async def _organization(tx: Tx) -> str:
    row = await tx.one("select name from organizations where id = %s", (tx.organization_id,))
    return str(row["name"]) if row else ""


def _label(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidInput(f"{text!r} is no label: write name=value.")
    return name, value


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece

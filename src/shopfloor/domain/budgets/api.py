"""Budgets over HTTP: set, list, look, change, raise for a while, alerts. Parse, call, shape."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.money import nanos_from_usd
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.access.replies import after_id
from shopfloor.domain.budgets import alerts, change, raises, state
from shopfloor.domain.budgets import store_budgets as store
from shopfloor.domain.budgets.errors import BudgetExists, RaiseKeyReused, RaiseUnknown
from shopfloor.domain.budgets.models import Budget
from shopfloor.domain.budgets.port import Scope
from shopfloor.domain.budgets.schemas import (
    AlertReply,
    BudgetChange,
    BudgetDetail,
    BudgetNew,
    BudgetReply,
    RaiseNew,
    RaiseReply,
    alert_reply,
    budget_detail,
    budget_reply,
    given_fields,
    new_budget,
    raise_reply,
)
from shopfloor.infra.tx import Store, Tx, begin
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.idempotency import idempotency_key
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1/budgets", tags=["budgets"])

_BUDGETS = Keyset("budgets", UUID)
_ALERTS = Keyset("budget alerts", UUID)
_RAISES = Keyset("budget raises", UUID)
_MOST_OPEN_RAISES = 100

Reader = Annotated[Principal, Depends(Require("budget.read"))]
Editor = Annotated[Principal, Depends(Require("budget.edit", whole_organization=True))]


class AgentNames(Protocol):
    """Who knows which agents there are."""

    @property
    def agents(self) -> Any:
        """Gives their names."""
        ...


class BudgetsState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    desk: AgentNames


def _state(request: Request) -> BudgetsState:
    return cast("BudgetsState", request.app.state.shopfloor)


@router.get("")
async def list_budgets(
    request: Request,
    principal: Reader,
    scope: Annotated[Scope | None, Query(description="Only of this kind of scope.")] = None,
    scope_id: Annotated[
        str | None, Query(min_length=1, max_length=254, description="As `scope.id` in replies.")
    ] = None,
    paused: Annotated[bool | None, Query(description="Only those that are paused, or that aren't.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[BudgetReply]:
    """Budgets and how they stand, oldest first; to who may read single projects, only theirs."""
    filters = {"scope": scope, "scope_id": scope_id, "paused": paused}
    keys = _BUDGETS.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        rows = await state.list_budgets(
            tx, scope_type=scope, scope_id=scope_id, paused=paused, after=after_id(keys), limit=limit + 1
        )
    items, following = _BUDGETS.page(rows, limit, keys=lambda row: (row.budget.id,), filters=filters)
    return Page(items=[budget_reply(row) for row in items], next_cursor=following)


@router.post("", status_code=201, responses=problems(BudgetExists))
async def post_budget(request: Request, response: Response, new: BudgetNew, principal: Editor) -> BudgetDetail:
    """Set a budget. What its scope has spent in the present period counts from the start."""
    parts = _state(request)
    async with begin(parts.store, principal) as tx:
        made = await change.create_budget(tx, new_budget(new), agents=parts.desk.agents)
        detail = await _detail(tx, made)
    response.headers.update({"Location": f"/api/v1/budgets/{made.id}", **cache_headers(_tag(detail))})
    return detail


@router.get("/alerts", summary="Alerts of every budget")
async def list_all_alerts(
    request: Request, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[AlertReply]:
    """Thresholds that were reached, newest first."""
    return await _alerts(request, principal, None, limit, cursor)


@router.get("/{budget_id}", response_model=BudgetDetail)
async def get_budget(request: Request, response: Response, budget_id: UUID, principal: Reader) -> Any:
    """One budget: limit, raises, what is spent, held and left, why it is paused, and the forecast of the month.

    A change asks by `If-Match` for what was set alone: figures that went on changing meanwhile don't stand against it.
    """
    async with begin(_state(request).store, principal) as tx:
        found = await change.find_budget(tx, budget_id)
        detail = await _detail(tx, found)
    etag = _tag(detail)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or detail


@router.patch("/{budget_id}", responses=problems(PreconditionFailed))
async def patch_budget(
    request: Request, response: Response, budget_id: UUID, body: BudgetChange, principal: Editor
) -> BudgetDetail:
    """Change it; jobs that wait for money look again at once. With `If-Match`: only if nobody changed it since."""
    async with begin(_state(request).store, principal) as tx:
        found = await change.find_budget(tx, budget_id)
        require_match(request, etag_of(found.version), optional=True, any_variant=True)
        changed = await change.change_budget(tx, found, given_fields(body))
        detail = await _detail(tx, changed)
    response.headers.update(cache_headers(_tag(detail)))
    return detail


@router.delete("/{budget_id}", status_code=204, responses=problems(PreconditionFailed))
async def delete_budget(request: Request, budget_id: UUID, principal: Editor) -> None:
    """Remove it; nothing is refused for it any more. Its alerts and periods stay on record."""
    async with begin(_state(request).store, principal) as tx:
        found = await change.find_budget(tx, budget_id)
        require_match(request, etag_of(found.version), optional=True, any_variant=True)
        await change.remove_budget(tx, found)


@router.post("/{budget_id}/resume")
async def post_resume(request: Request, response: Response, budget_id: UUID, principal: Editor) -> BudgetDetail:
    """End its pause by hand. It isn't paused: nothing happens. A call that can't be paid pauses it again."""
    async with begin(_state(request).store, principal) as tx:
        found = await change.find_budget(tx, budget_id)
        await change.resume_budget(tx, found)
        detail = await _detail(tx, found)
    response.headers.update(cache_headers(_tag(detail)))
    return detail


@router.get("/{budget_id}/alerts")
async def list_alerts(
    request: Request, budget_id: UUID, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[AlertReply]:
    """Thresholds that this budget reached, newest first."""
    return await _alerts(request, principal, budget_id, limit, cursor)


@router.get("/{budget_id}/raises")
async def list_raises(
    request: Request, budget_id: UUID, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[RaiseReply]:
    """Its raises, newest first, those that are over included."""
    filters = {"budget": str(budget_id)}
    keys = _RAISES.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        found = await change.find_budget(tx, budget_id)
        rows = await raises.list_raises(tx, found, before=after_id(keys), limit=limit + 1)
    items, following = _RAISES.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[raise_reply(row) for row in items], next_cursor=following)


@router.post("/{budget_id}/raises", status_code=201, responses=problems(RaiseKeyReused))
async def post_raise(request: Request, budget_id: UUID, new: RaiseNew, principal: Editor) -> RaiseReply:
    """More money until it expires; jobs that wait go on at once. Repeating it is safe with an `Idempotency-Key`."""
    async with begin(_state(request).store, principal) as tx:
        found = await change.find_budget(tx, budget_id)
        made = await raises.raise_budget(
            tx, found, amount_nanos=nanos_from_usd(new.amount_usd), reason=new.reason, expires_at=new.expires_at,
            for_hours=new.for_hours, key=idempotency_key(request),
        )  # fmt: skip
    return raise_reply(made)


@router.post("/{budget_id}/raises/{raise_id}/end", responses=problems(RaiseUnknown))
async def post_raise_end(request: Request, budget_id: UUID, raise_id: UUID, principal: Editor) -> RaiseReply:
    """End it early. It is over already: nothing happens."""
    async with begin(_state(request).store, principal) as tx:
        found = await change.find_budget(tx, budget_id)
        return raise_reply(await raises.end_raise(tx, found, raise_id))


def _tag(detail: BudgetDetail) -> str:
    """Of the version and of the figures."""
    return etag_of(detail.version, variant=hashlib.sha256(detail.model_dump_json().encode()).hexdigest()[:16])


async def _detail(tx: Tx, budget: Budget) -> BudgetDetail:
    [now] = await state.states_of(tx, [budget])
    open_ = await store.raises(tx, budget.id, before=None, limit=_MOST_OPEN_RAISES, only_open=True)
    return budget_detail(now, open_, await state.forecast_of(tx, now))


async def _alerts(
    request: Request, principal: Principal, budget_id: UUID | None, limit: int, cursor: str | None
) -> Page[AlertReply]:
    filters = {"budget": str(budget_id)}
    keys = _ALERTS.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        if budget_id is not None:
            await change.find_budget(tx, budget_id)
        rows = await alerts.list_alerts(tx, budget_id=budget_id, before=after_id(keys), limit=limit + 1)
    items, following = _ALERTS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[alert_reply(row) for row in items], next_cursor=following)

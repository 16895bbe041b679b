"""How a provider does, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.models import health
from shopfloor.domain.models.breakers import StoredBreaker
from shopfloor.domain.models.errors import ProviderNotFound
from shopfloor.domain.models.schemas import LimitsReply, ProviderStatus
from shopfloor.engine.providers.breaker import BreakerState
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.json_body import Reply
from shopfloor.infra.web.openapi import problems

Reader = Annotated[Principal, Depends(Require("provider.read"))]

router = APIRouter(prefix="/api/v1")


class FailureReply(Reply):
    """Why a call failed."""

    code: str
    detail: str


class BreakerReply(Reply):
    """Whether one model of the provider is called just now."""

    model: str = Field(description="`provider/model`, as jobs name it.")
    credential: str = Field(description="Tells one key from the next; it is not part of the key.")
    state: BreakerState = Field(description="open: not called. half-open: one call tries it.")
    since: datetime | None = Field(description="When it opened or closed last; null: it never opened.")
    open_until: datetime | None
    openings: int = Field(description="In a row; each stays open for longer.")
    calls: int = Field(description="Of the last minute, about.")
    failures: int
    last_failure_at: datetime | None
    last_failure: FailureReply | None


class UsedReply(Reply):
    """What the calls under the provider's limits use, over all workers; zeros if it has no limits."""

    in_flight: int
    requests_last_minute: int
    tokens_last_minute: int


class ProviderHealthReply(Reply):
    """How a provider does."""

    status: ProviderStatus
    breakers: list[BreakerReply]
    limits: LimitsReply
    used: UsedReply


@router.get("/providers/{provider_id}/health", tags=["providers"], responses=problems(ProviderNotFound))
async def get_provider_health(request: Request, provider_id: UUID, principal: Reader) -> ProviderHealthReply:
    """Which models are called and which are left alone because they failed, and how much of the limits is used."""
    async with begin(_store(request), principal) as tx:
        found = await health.provider_health(tx, provider_id)
        now = tx.clock.now()
    shown = [_breaker(each, now) for each in found.breakers]
    return ProviderHealthReply(
        status="ok" if all(each.state == "closed" for each in shown) else "degraded",
        breakers=shown,
        limits=LimitsReply.model_validate(found.provider.call_limits),
        used=UsedReply(
            in_flight=found.used.in_flight,
            requests_last_minute=found.used.requests,
            tokens_last_minute=found.used.tokens,
        ),
    )


def _store(request: Request) -> Store:
    return cast("Store", request.app.state.shopfloor.store)


def _breaker(row: StoredBreaker, now: datetime) -> BreakerReply:
    return BreakerReply(
        model=row.ref,
        credential=row.credential,
        state=row.state(now),
        since=row.opened_at if row.open_until else row.closed_at,
        open_until=row.open_until,
        openings=row.openings,
        calls=row.calls + row.calls_before,
        failures=row.failures + row.failures_before,
        last_failure_at=row.last_failure_at,
        last_failure=FailureReply.model_validate(row.last_error) if row.last_error else None,
    )

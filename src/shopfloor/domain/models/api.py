"""This room over HTTP: providers, their models, prices. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.models import breakers, listing, prices, providers
from shopfloor.domain.models.api_health import router as health
from shopfloor.domain.models.errors import ProviderNameTaken, ProviderUnknown
from shopfloor.domain.models.providers import ProviderDesk
from shopfloor.domain.models.schemas import (
    ModelReply,
    ModelsPage,
    PriceNew,
    PriceReply,
    ProviderDown,
    ProviderListed,
    ProviderNew,
    ProviderPatch,
    ProviderReply,
    ProviderTest,
    ProviderTestReply,
    TestError,
    new_price,
    new_provider,
    price_reply,
    provider_change,
    provider_listed,
    provider_reply,
)
from shopfloor.engine.providers.port import ModelRef
from shopfloor.infra.outbound import HostUnknown, HostUnresolved, UrlRefused
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1")
ROUTERS = (router, health)

_PROVIDERS = Keyset("providers", str)
_MODELS = Keyset("models", str, str)
_PRICES = Keyset("prices", UUID)

ProviderReader = Annotated[Principal, Depends(Require("provider.read"))]
ProviderEditor = Annotated[Principal, Depends(Require("provider.edit", whole_organization=True))]
PriceReader = Annotated[Principal, Depends(Require("price.read"))]
PriceEditor = Annotated[Principal, Depends(Require("price.edit", whole_organization=True))]
ProviderFilter = Annotated[str | None, Query(max_length=63, description="Only of the provider of this name.")]
ModelFilter = Annotated[str | None, Query(max_length=200, description="Only of this model.")]


class ModelsState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    sealer: Sealer
    providers: ProviderDesk


def _state(request: Request) -> ModelsState:
    return cast("ModelsState", request.app.state.shopfloor)


@router.get("/providers", tags=["providers"])
async def list_providers(
    request: Request, principal: ProviderReader, limit: Limit = 50, cursor: CursorText = None
) -> Page[ProviderListed]:
    """The organization's providers by name, without their keys; `degraded`: a model of it is left alone just now."""
    keys = _PROVIDERS.read(cursor)
    async with begin(_state(request).store, principal) as tx:
        rows = await providers.list_providers(tx, after=cast("str", keys[0]) if keys else None, limit=limit + 1)
        ill = await breakers.not_closed(tx, [row.id for row in rows])
    items, following = _PROVIDERS.page(rows, limit, keys=lambda row: (row.name,))
    return Page(items=[provider_listed(row, healthy=row.id not in ill) for row in items], next_cursor=following)


@router.post(
    "/providers",
    tags=["providers"],
    status_code=201,
    responses=problems(ProviderNameTaken, UrlRefused, HostUnknown, HostUnresolved),
)
async def post_provider(
    request: Request, response: Response, new: ProviderNew, principal: ProviderEditor
) -> ProviderReply:
    """Add a provider. Its key is stored encrypted and never shown again."""
    state = _state(request)
    await state.providers.check_address(new.base_url)
    async with begin(state.store, principal) as tx:
        provider = await providers.add_provider(tx, state.sealer, new_provider(new))
    response.headers.update(
        {"Location": f"/api/v1/providers/{provider.id}", **cache_headers(etag_of(provider.version))}
    )
    return provider_reply(provider)


@router.get("/providers/{provider_id}", tags=["providers"], response_model=ProviderReply)
async def get_provider(request: Request, response: Response, provider_id: UUID, principal: ProviderReader) -> Any:
    """One provider, without its key."""
    async with begin(_state(request).store, principal) as tx:
        provider = await providers.find_provider(tx, provider_id)
    etag = etag_of(provider.version)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or provider_reply(provider)


@router.patch(
    "/providers/{provider_id}",
    tags=["providers"],
    responses=problems(PreconditionFailed, UrlRefused, HostUnknown, HostUnresolved),
)
async def patch_provider(
    request: Request, response: Response, provider_id: UUID, change: ProviderPatch, principal: ProviderEditor
) -> ProviderReply:
    """Change a provider: a new key, other models. With `If-Match`: only if nobody changed it since."""
    state = _state(request)
    await state.providers.check_address(change.base_url)
    async with begin(state.store, principal) as tx:
        provider = await providers.find_provider(tx, provider_id)
        require_match(request, etag_of(provider.version), optional=True)
        changed = await providers.change_provider(tx, state.sealer, provider, provider_change(change))
    response.headers.update(cache_headers(etag_of(changed.version)))
    return provider_reply(changed)


@router.delete("/providers/{provider_id}", tags=["providers"], status_code=204, responses=problems(PreconditionFailed))
async def delete_provider(request: Request, provider_id: UUID, principal: ProviderEditor) -> None:
    """Remove a provider and its key. Its prices stay, for the record."""
    async with begin(_state(request).store, principal) as tx:
        provider = await providers.find_provider(tx, provider_id)
        require_match(request, etag_of(provider.version), optional=True)
        await providers.remove_provider(tx, provider)


@router.post("/providers/{provider_id}/test", tags=["providers"])
async def post_provider_test(
    request: Request, provider_id: UUID, test: ProviderTest, principal: ProviderEditor
) -> ProviderTestReply:
    """Try the key and the address, and a model if one is named. That a provider refuses is told in `error`."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        provider = await providers.find_provider(tx, provider_id)
        source = listing.Source(provider, await providers.open_credentials(tx, state.sealer, provider))
        await tx.record("provider.tested", "provider", provider_id, after={"model": test.model})
    result = await listing.try_out(state.providers, source, test.model)
    return ProviderTestReply(
        ok=result.ok,
        model=test.model,
        latency_s=round(result.latency_s, 3),
        total_tokens=result.usage.total_tokens if result.usage else None,
        error=TestError(code=result.error.code(), detail=result.error.detail) if result.error else None,
    )


@router.get("/models", tags=["models"])
async def list_models(
    request: Request,
    principal: ProviderReader,
    provider: ProviderFilter = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> ModelsPage:
    """The models that a job can name. Providers' own lists are asked for at most every ten minutes."""
    state = _state(request)
    filters = {"provider": provider}
    keys = _MODELS.read(cursor, filters=filters)
    async with begin(state.store, principal) as tx:
        asked = await listing.sources(tx, state.sealer, only=provider)
    found = await listing.listing(state.providers, asked)
    rest = [each for each in found.models if keys is None or (each[0].provider.name, each[1].name) > keys]
    items, following = _MODELS.page(
        rest[: limit + 1], limit, keys=lambda each: (each[0].provider.name, each[1].name), filters=filters
    )
    async with begin(state.store, principal) as tx:
        priced = await listing.priced(tx, items)
    return ModelsPage(
        items=[
            ModelReply(
                ref=f"{source.provider.name}/{model.name}",
                provider=source.provider.name,
                model=model.name,
                context_tokens=model.context_tokens,
                max_output_tokens=model.max_output_tokens,
                priced=(source.provider.name, model.name) in priced,
            )
            for source, model in items
        ],
        next_cursor=following,
        unavailable=[
            ProviderDown(provider=name, code=why.code(), detail=why.detail) for name, why in found.unavailable
        ],
    )


@router.get("/prices", tags=["prices"])
async def list_prices(
    request: Request,
    principal: PriceReader,
    provider: ProviderFilter = None,
    model: ModelFilter = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[PriceReply]:
    """Every price that was set or taken over from the price list, newest first."""
    filters = {"provider": provider, "model": model}
    keys = _PRICES.read(cursor, filters=filters)
    before = cast("UUID", keys[0]) if keys else None
    async with begin(_state(request).store, principal) as tx:
        rows = await prices.list_prices(tx, before=before, limit=limit + 1, provider=provider, model=model)
    items, following = _PRICES.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[price_reply(row) for row in items], next_cursor=following)


@router.post("/prices", tags=["prices"], status_code=201, responses=problems(ProviderUnknown))
async def post_price(request: Request, new: PriceNew, principal: PriceEditor) -> PriceReply:
    """Set one unit's price, or multiply all; the answer is the whole price from `valid_from` on. Earlier rows stay."""
    ref = ModelRef(new.provider, new.model)
    async with begin(_state(request).store, principal) as tx:
        return price_reply(await prices.add_price(tx, ref, new_price(new)))

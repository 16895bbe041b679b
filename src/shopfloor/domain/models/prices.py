"""Prices: what holds now, and how an organization sets its own. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from shopfloor.domain.models import store
from shopfloor.domain.models.models import PriceRow
from shopfloor.domain.models.providers import unknown_provider
from shopfloor.engine.providers.port import Credentials, ModelRef, Price, PriceUnknown, Unit
from shopfloor.engine.providers.seed import how_to_set_a_price, seeded
from shopfloor.infra.tx import Tx


async def price_in_force(tx: Tx, credentials: Credentials, model: str, at: datetime | None = None) -> Price:
    """The price of one model at `at` (now): the organization's own, else the seed's, which is then recorded.

    A self-hosted model is never priced by the seed, whatever its name. Raises: PriceUnknown, saying how to set it.
    """
    at = at or tx.clock.now()
    ref = ModelRef(credentials.name, model)
    own = await store.own_price(tx, ref, at)
    price = own.as_price() if own else await _seeded(tx, credentials, ref, at)
    missing = [unit for unit in ("input", "output") if unit not in price.picos]
    if missing:
        raise PriceUnknown(
            f"The price of {ref} names no {' and no '.join(missing)}. {how_to_set_a_price(ref.provider, model)}",
            provider=ref.provider, model=model, missing=missing,
        )  # fmt: skip
    return price


async def set_price(
    tx: Tx, ref: ModelRef, picos: Mapping[Unit, int], *, valid_from: datetime | None = None
) -> PriceRow:
    """A new row: what holds at `valid_from` (now) with these units replaced, in pico-USD per unit.

    A unit that is set loses its tiers: it costs the same at every length. Raises: PermissionDenied, ProviderUnknown.
    """
    tx.require("price.edit")
    await store.lock_prices(tx, ref)
    valid_from = valid_from or tx.clock.now()
    base = await _base(tx, ref, valid_from)
    replaced = (
        (above, {unit: each for unit, each in rates.items() if unit not in picos}) for above, rates in base.tiers
    )
    changed = replace(
        base,
        picos={**base.picos, **picos},
        tiers=tuple((above, rates) for above, rates in replaced if rates),
        valid_from=valid_from,
        source=store.OWN,
    )
    row = await store.add_price(tx, ref, changed)
    told = {"provider": ref.provider, "model": ref.model, "picos": dict(picos), "valid_from": valid_from}
    await tx.record("price.set", "price", row.id, after=told)
    return row


async def list_prices(
    tx: Tx, *, before: UUID | None, limit: int, provider: str | None = None, model: str | None = None
) -> list[PriceRow]:
    """Every row, newest first. Raises: PermissionDenied."""
    tx.require("price.read")
    return await store.prices(tx, provider=provider, model=model, before=before, limit=limit)


async def _base(tx: Tx, ref: ModelRef, at: datetime) -> Price:
    """What an own price starts from, so that setting one unit leaves the others as they are."""
    own = await store.own_price(tx, ref, at)
    if own is not None:
        return own.as_price()
    provider = (await store.providers_named(tx, [ref.provider])).get(ref.provider)
    if provider is None:
        raise await unknown_provider(tx, ref)
    try:
        return seeded(Credentials(provider.name, provider.kind, "", provider.base_url), ref.model, at).price
    except PriceUnknown:
        return Price(ref.model, {}, at, store.OWN)


async def _seeded(tx: Tx, credentials: Credentials, ref: ModelRef, at: datetime) -> Price:
    """The seed's price at `at`. A row says which; an upgrade or a date that brings another price adds the next row."""
    price = replace(seeded(credentials, ref.model, at).price, model=ref.model)
    if await _is_news(tx, ref, price, at):
        await store.lock_prices(tx, ref)
        if await _is_news(tx, ref, price, at):  # nobody was faster
            await store.add_price(tx, ref, price)
    return price


async def _is_news(tx: Tx, ref: ModelRef, price: Price, at: datetime) -> bool:
    recorded = await store.recorded_seed(tx, ref, at)
    return recorded is None or recorded.as_price() != price

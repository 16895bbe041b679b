"""Prices: what holds now, and how an organization sets its own. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from uuid import UUID

from shopfloor.base.errors import InvalidInput
from shopfloor.domain.models import store
from shopfloor.domain.models.models import PriceRow
from shopfloor.domain.models.providers import unknown_provider
from shopfloor.engine.providers.port import Credentials, ModelRef, Price, PriceUnknown, ServiceTier, Unit
from shopfloor.engine.providers.pricing import at_service_tier
from shopfloor.engine.providers.seed import dates, how_to_set_a_price, seeded
from shopfloor.engine.providers.service_tiers import published_variants, scaled
from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class NewPrice:
    """What to set. Either prices of units, or all that holds `times` a factor."""

    picos: Mapping[Unit, int]  # pico-USD per unit
    times: Fraction | None = None
    above_input_tokens: int | None = None  # None: whatever the length; these units lose their tiers
    valid_from: datetime | None = None  # None: now
    service_tier: ServiceTier = "standard"
    region: str | None = None  # None: wherever nothing else is set


async def price_in_force(
    tx: Tx, credentials: Credentials, model: str, at: datetime | None = None, *, record: bool = True
) -> Price:
    """The price of one model at `at` (now), with those of its other service tiers in `variants`.

    The organization's own goes first: for the provider's region before everywhere, for the model before a pattern of
    its name. Else the seed's, which is then recorded (unless `record` is False); a self-hosted model is never priced by
    the seed, whatever its name. Raises: PriceUnknown, saying how to set it.
    """
    at = at or tx.clock.now()
    ref = ModelRef(credentials.name, model)
    own = await _own(tx, ref, at, region=credentials.region)
    price = own or await _seeded(tx, credentials, ref, at, record=record)
    missing = [unit for unit in ("input", "output") if unit not in price.picos]
    if missing:
        raise PriceUnknown(
            f"The price of {ref} names no {' and no '.join(missing)}. {how_to_set_a_price(ref.provider, model)}",
            provider=ref.provider, model=model, missing=missing,
        )  # fmt: skip
    published = () if own else published_variants(credentials.kind, price)
    set_here = [row.as_price() for row in await store.other_tiers(tx, ref, at, credentials.region)]
    return replace(price, variants=_first_of_each_tier([*set_here, *published]))


async def at_the_tier_of(tx: Tx, standard: Price, held_by: UUID | None) -> Price:
    """`standard`, or its variant for the service tier of the price that a call was held by."""
    row = await store.price(tx, held_by) if held_by is not None else None
    return at_service_tier(standard, row.service_tier) if row else standard


async def dates_of_prices(tx: Tx, credentials: Mapping[str, Credentials]) -> list[datetime]:
    """Each moment at which a price of these providers may change, in order."""
    found = {each for who in credentials.values() for each in dates(who.kind)}
    return sorted(found.union(await store.price_dates(tx, sorted(credentials))))


async def set_price(
    tx: Tx,
    ref: ModelRef,
    picos: Mapping[Unit, int],
    *,
    valid_from: datetime | None = None,
) -> PriceRow:
    """As `add_price`, for units that cost the same at every length, at the standard tier, everywhere."""
    return await add_price(tx, ref, NewPrice(picos, valid_from=valid_from))


async def add_price(tx: Tx, ref: ModelRef, new: NewPrice) -> PriceRow:
    """A new row: what holds at `valid_from` with these units replaced.

    `ref.model` may be a pattern (`gpt-5*`): it holds for models that nothing narrower is set for.
    Raises: PermissionDenied, ProviderUnknown, InvalidInput.
    """
    tx.require("price.edit")
    await store.lock_prices(tx, ref)
    valid_from = new.valid_from or tx.clock.now()
    base = await _base(tx, ref, new, valid_from)
    changed = _scaled(ref, base, new.times) if new.times is not None else _changed(base, new)
    whole = replace(
        changed, valid_from=valid_from, source=store.OWN, service_tier=new.service_tier, region=new.region, variants=()
    )
    row = await store.add_price(tx, ref, whole)
    told = {
        "provider": ref.provider, "model": ref.model, "picos": dict(new.picos), "valid_from": valid_from,
        "times": None if new.times is None else str(new.times), "above_input_tokens": new.above_input_tokens,
        "service_tier": new.service_tier, "region": new.region,
    }  # fmt: skip
    await tx.record("price.set", "price", row.id, after={name: each for name, each in told.items() if each is not None})
    return row


async def list_prices(
    tx: Tx, *, before: UUID | None, limit: int, provider: str | None = None, model: str | None = None
) -> list[PriceRow]:
    """Every row, newest first. Raises: PermissionDenied."""
    tx.require("price.read")
    return await store.prices(tx, provider=provider, model=model, before=before, limit=limit)


def _changed(base: Price, new: NewPrice) -> Price:
    """A unit that is set loses its tiers, unless it is set for one."""
    if new.above_input_tokens is not None:
        tiers = {above: dict(rates) for above, rates in base.tiers}
        tiers[new.above_input_tokens] = tiers.get(new.above_input_tokens, {}) | dict(new.picos)
        return replace(base, tiers=tuple(sorted(tiers.items())))
    replaced = (
        (above, {unit: each for unit, each in rates.items() if unit not in new.picos}) for above, rates in base.tiers
    )
    return replace(
        base, picos={**base.picos, **new.picos}, tiers=tuple((above, rates) for above, rates in replaced if rates)
    )


def _scaled(ref: ModelRef, base: Price, times: Fraction) -> Price:
    if not base.picos:
        raise InvalidInput(f"No price of {ref} holds yet that could be multiplied: set its input and output first.")
    return scaled(base, times)


async def _base(tx: Tx, ref: ModelRef, new: NewPrice, at: datetime) -> Price:
    """What an own price starts from, so that setting one unit leaves the others as they are."""
    same = await store.own_price(tx, ref, at, service_tier=new.service_tier, region=new.region)
    if same is not None and new.times is None:
        return same.as_price()
    provider = (await store.providers_named(tx, [ref.provider])).get(ref.provider)
    own = await _own(tx, ref, at, region=new.region)
    if own is not None:
        return own
    if provider is None:
        raise await unknown_provider(tx, ref)
    who = Credentials(provider.name, provider.kind, "", provider.base_url)
    try:
        standard = replace(seeded(who, ref.model, at).price, id=None)
    except PriceUnknown:
        return Price(ref.model, {}, at, store.OWN)
    at_tier = replace(standard, variants=published_variants(provider.kind, standard))
    return standard if new.times is not None else at_service_tier(at_tier, new.service_tier)


async def _own(tx: Tx, ref: ModelRef, at: datetime, *, region: str | None) -> Price | None:
    """The narrowest own price of the standard tier: model and region, model, longest pattern and region, pattern."""
    for place in dict.fromkeys((region, None)):
        row = await store.own_price(tx, ref, at, region=place)
        if row is not None:
            return row.as_price()
    if "*" in ref.model:
        return None
    matching = [
        row for row in await store.own_patterns(tx, ref.provider, at)
        if row.service_tier == "standard" and row.region in {region, None} and row.covers(ref.model)
    ]  # fmt: skip
    if not matching:
        return None
    best = max(matching, key=lambda row: (len(row.model), row.region is not None, row.valid_from, row.created_at))
    return replace(best.as_price(), model=ref.model)


async def _seeded(tx: Tx, credentials: Credentials, ref: ModelRef, at: datetime, *, record: bool) -> Price:
    """The seed's price at `at`. A row says which; an upgrade or a date that brings another price adds the next row."""
    price = replace(seeded(credentials, ref.model, at).price, model=ref.model)
    if not record:
        return price
    recorded = await store.recorded_seed(tx, ref, at)
    if recorded is None or recorded.as_price() != price:
        await store.lock_prices(tx, ref)
        recorded = await store.recorded_seed(tx, ref, at)
        if recorded is None or recorded.as_price() != price:  # nobody was faster
            recorded = await store.add_price(tx, ref, price)
    return recorded.as_price()


def _first_of_each_tier(found: list[Price]) -> tuple[Price, ...]:
    tiers: dict[str, Price] = {}
    for price in found:
        tiers.setdefault(price.service_tier, price)
    return tuple(tiers.values())

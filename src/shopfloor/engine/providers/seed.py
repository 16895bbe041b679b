"""Prices for a first start, from the pinned genai-prices package, as dated integer rows.

A row is only offered for a provider's own service: a model that somebody serves himself under a public name costs him
something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from urllib.parse import urlsplit

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices

from shopfloor.base.money import picos_per_unit
from shopfloor.engine.providers.port import Credentials, Price, PriceUnknown, ProviderKind, Unit

_CATALOGUES: dict[ProviderKind, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "xai": "x-ai",
    "groq": "groq",
    "mistral": "mistral",
    "bedrock": "aws",
    "openrouter": "openrouter",
}
_UNITS: dict[str, Unit] = {
    "input_mtok": "input",
    "cache_read_mtok": "cache-read",
    "cache_write_mtok": "cache-write-5m",
    "cache_write_1h_mtok": "cache-write-1h",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio-input",
    "output_audio_mtok": "audio-output",
}
_ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)  # before any of the models existed


@dataclass(frozen=True, slots=True)
class SeededModel:
    """What the seed knows of one model."""

    price: Price
    context_tokens: int | None  # None: not recorded


def seeded(credentials: Credentials, model: str, at: datetime) -> SeededModel:
    """The seed's price of `model` at a provider's own service, in force at `at`.

    Raises: PriceUnknown for models it doesn't know, and always for self-hosted services, whatever the model's name.
    """
    found = _find(credentials, model)
    if found is None:
        raise PriceUnknown(how_to_set_a_price(credentials.name, model), provider=credentials.name, model=model)
    in_force = [price for price in _dated(found, model) if price.valid_from <= at]
    if not in_force:
        raise PriceUnknown(how_to_set_a_price(credentials.name, model), provider=credentials.name, model=model)
    return SeededModel(max(in_force, key=_newest_then_dearest), found.context_window)


def seed_rows(kind: ProviderKind) -> Iterator[Price]:
    """Every model and date the seed knows for a kind of provider; nothing for kinds that are self-hosted."""
    if kind not in _CATALOGUES:
        return
    for found in _catalogue(kind).models:
        yield from _dated(found, found.id)


@cache
def dates(kind: ProviderKind) -> frozenset[datetime]:
    """Each date from which a price of the seed holds for some model of this kind."""
    return frozenset(row.valid_from for row in seed_rows(kind))


def how_to_set_a_price(provider: str, model: str) -> str:
    """What to type when a model has no price, in USD per million tokens."""
    return (
        f"No price is known for {provider}/{model}, so its cost can't be limited and it isn't called. "
        f"Set it in USD per million tokens: shopfloor price set {provider}/{model} --input 3.00 --output 15.00 "
        f'(or POST /api/v1/prices {{"provider": "{provider}", "model": "{model}", "unit": "input", '
        f'"usd_per_million": "3.00"}}, and the same for "output"); 0 if it is free'
    )


def _find(credentials: Credentials, model: str) -> ModelInfo | None:
    if credentials.kind not in _CATALOGUES or not _is_own_service(credentials):
        return None
    try:
        _, found = get_snapshot().find_provider_model(model, None, _CATALOGUES[credentials.kind], None)
    except LookupError:
        return None
    return found


def _is_own_service(credentials: Credentials) -> bool:
    """Judged by the whole host: genai-prices' patterns only look at how an address begins."""
    if credentials.base_url is None:
        return True
    host = urlsplit(credentials.base_url).hostname
    return re.fullmatch(f"(?:{_catalogue(credentials.kind).api_pattern})/?", f"https://{host}/") is not None


def _catalogue(kind: ProviderKind) -> Provider:
    return next(provider for provider in get_snapshot().providers if provider.id == _CATALOGUES[kind])


def _dated(found: ModelInfo, model: str) -> list[Price]:
    conditions = [ConditionalPrice(prices=found.prices)] if isinstance(found.prices, ModelPrice) else found.prices
    rows = (_row(model, condition.prices, _start(condition)) for condition in conditions)
    return [row for row in rows if "input" in row.picos and "output" in row.picos]


def _start(condition: ConditionalPrice) -> datetime:
    if isinstance(condition.constraint, StartDateConstraint):
        return datetime.combine(condition.constraint.start_date, time(), tzinfo=UTC)
    return _ALWAYS


def _newest_then_dearest(price: Price) -> tuple[datetime, int]:
    """Of prices that hold by the time of day, the dearest: the hold must cover it."""
    return price.valid_from, price.picos["output"]


def _row(model: str, prices: ModelPrice, valid_from: datetime) -> Price:
    listed = {key: value for key, value in vars(prices).items() if value is not None}
    picos: dict[Unit, int] = {unit: picos_per_unit(_base(listed[key])) for key, unit in _UNITS.items() if key in listed}
    if per_thousand := listed.get("requests_kcount"):
        picos["request"] = picos_per_unit(_base(per_thousand) * 1000)
    return Price(
        model=model,
        picos=picos,
        valid_from=valid_from,
        source=_source(),
        tiers=tuple(sorted(_tiers(listed).items())),
    )


@cache
def _source() -> str:
    return f"genai-prices {version('genai-prices')}"


def _tiers(listed: Mapping[str, Decimal | TieredPrices]) -> dict[int, dict[Unit, int]]:
    """Threshold -> the prices that replace the base above it. A class without that threshold keeps its tier below."""
    tiered: dict[Unit, TieredPrices] = {
        _UNITS[key]: value for key, value in listed.items() if key in _UNITS and isinstance(value, TieredPrices)
    }
    thresholds = {tier.start for price in tiered.values() for tier in price.tiers}
    return {above: {unit: _price_above(price, above) for unit, price in tiered.items()} for above in thresholds}


def _price_above(price: TieredPrices, above: int) -> int:
    reached = [tier.price for tier in price.tiers if tier.start <= above]
    return picos_per_unit(reached[-1] if reached else price.base)


def _base(price: Decimal | TieredPrices) -> Decimal:
    return price.base if isinstance(price, TieredPrices) else price

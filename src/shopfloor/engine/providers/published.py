"""What the providers' own price pages said on a day: the list we seed from is checked against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from importlib.resources import files
from typing import Any, cast

import orjson

from shopfloor.base.money import picos_per_unit
from shopfloor.engine.providers.port import Credentials, Price, PriceUnknown, ProviderKind, ServiceTier, Unit
from shopfloor.engine.providers.seed import seeded
from shopfloor.engine.providers.service_tiers import published_variants


@dataclass(frozen=True, slots=True)
class Published:
    """One line of a price page."""

    kind: ProviderKind
    model: str
    service_tier: ServiceTier
    above_input_tokens: int | None  # None: the plain price; else the one for longer inputs
    picos: Mapping[Unit, int]
    page: str
    read: date  # when


@cache
def published() -> tuple[Published, ...]:
    """Every line that is recorded."""
    file = files("shopfloor.engine.providers") / "published.json"
    pages = cast("list[dict[str, Any]]", orjson.loads(file.read_bytes()))
    return tuple(
        Published(
            page["kind"],
            line["model"],
            line.get("service_tier", "standard"),
            line.get("above_input_tokens"),
            {unit: picos_per_unit(usd) for unit, usd in line["usd_per_million"].items()},
            page["page"],
            date.fromisoformat(page["read"]),
        )
        for page in pages
        for line in page["lines"]
    )


def differences(kind: ProviderKind, price: Price) -> Iterator[str]:
    """What a price says otherwise than its provider's page did, one sentence a unit."""
    for line in published():
        if (line.kind, line.model) == (kind, price.model):
            yield from _against(line, price)


def cross_check() -> list[str]:
    """The seed against every recorded line, at the day the page was read; what doesn't agree, one sentence each."""
    found: list[str] = []
    for line in published():
        at = datetime.combine(line.read, time(23, 59), tzinfo=UTC)
        try:
            price = seeded(Credentials(line.kind, line.kind, ""), line.model, at).price
        except PriceUnknown:
            found.append(f"{line.kind}/{line.model}: {line.page} has a price, the seed has none.")
            continue
        found += _against(line, price)
    return found


def _against(line: Published, price: Price) -> Iterator[str]:
    variants = {each.service_tier: each for each in (price, *published_variants(line.kind, price))}
    ours = variants.get(line.service_tier)
    if ours is None:
        return  # a tier that the seed doesn't tell: it is set by hand
    rates = ours.picos if line.above_input_tokens is None else dict(ours.tiers).get(line.above_input_tokens, {})
    for unit, picos in line.picos.items():
        if rates.get(unit) != picos:
            above = "" if line.above_input_tokens is None else f" above {line.above_input_tokens:,} input tokens"
            said = "nothing" if unit not in rates else f"{rates[unit] / 1e6:g} USD"
            yield (
                f"{line.kind}/{line.model}, {line.service_tier}, {unit}{above}: {line.page} said {picos / 1e6:g} USD a "
                f"million on {line.read}, {price.source} says {said}."
            )

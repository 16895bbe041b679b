"""What providers publish of other service tiers and places than the plain price: a part or a multiple of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Final

from shopfloor.engine.providers.port import Price, ProviderKind, ServiceTier, Unit

# Each for every model that a provider offers at the tier. Source: OpenAI, "Batch API" and "Flex processing" (batch
# rates); Anthropic, "Pricing", batch processing; Google, "Optimization" (ai.google.dev/gemini-api/docs/optimization:
# flex and batch half, priority 75 to 100 % more). A priority price is no fixed multiple anywhere: it has to be set.
MULTIPLES: Final[Mapping[ProviderKind, Mapping[ServiceTier, Fraction]]] = {
    "openai": {"batch": Fraction(1, 2), "flex": Fraction(1, 2)},
    "anthropic": {"batch": Fraction(1, 2)},
    "google": {"batch": Fraction(1, 2), "flex": Fraction(1, 2)},
}
_FEES: Final[frozenset[Unit]] = frozenset({"request", "tool-call"})
# Whether Google halves the price of cached tokens, its page doesn't say in words: rather a token dearer than unpaid.
_PLAIN: Final[Mapping[ProviderKind, frozenset[Unit]]] = {"google": frozenset({"cache-read"})}


def published_variants(kind: ProviderKind, price: Price) -> tuple[Price, ...]:
    """A provider's own price at the other tiers that it publishes as a part of the plain one."""
    return tuple(
        replace(scaled(price, multiple, plain=_PLAIN.get(kind, frozenset())), service_tier=tier)
        for tier, multiple in MULTIPLES.get(kind, {}).items()
    )


def scaled(price: Price, multiple: Fraction, *, plain: frozenset[Unit] = frozenset()) -> Price:
    """Every class of tokens at `multiple` of its price, rounded up to the pico-dollar; `plain` ones and fees stay."""
    tiers = tuple((above, _scaled(rates, multiple, plain)) for above, rates in price.tiers)
    return replace(price, picos=_scaled(price.picos, multiple, plain), tiers=tiers, variants=(), id=None)


def _scaled(rates: Mapping[Unit, int], multiple: Fraction, plain: frozenset[Unit]) -> dict[Unit, int]:
    return {unit: each if unit in _FEES | plain else ceil(each * multiple) for unit, each in rates.items()}

"""What a call cost, and what it can cost at most. Pure; money is integers, rounded up once per call."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from shopfloor.base.money import PICOS_PER_NANO, nanos_from_picos
from shopfloor.engine.providers.port import Price, PriceUnknown, ServiceTier, Unit, Usage

# A class without its own price is billed as the first of these that has one. Providers without a separate price for
# cached or audio tokens bill them as plain input; reasoning is billed as output by every provider of the catalogue.
_RELATIVES: dict[Unit, tuple[Unit, ...]] = {
    "input": (),
    "cache-read": ("input",),
    "cache-write-5m": ("input",),
    "cache-write-1h": ("cache-write-5m", "input"),
    "audio-input": ("input",),
    "output": (),
    "reasoning": ("output",),
    "audio-output": ("output",),
}
_INPUT_UNITS: frozenset[Unit] = frozenset({"input", "cache-read", "cache-write-5m", "cache-write-1h", "audio-input"})
_OUTPUT_UNITS: frozenset[Unit] = frozenset({"output", "reasoning", "audio-output"})
# What an agent's request can use: it carries text, and asks for the five-minute cache. The one-hour cache and audio
# have to be asked for by settings that `catalogue` never sends.
TEXT_CLASSES: frozenset[Unit] = frozenset({"input", "cache-read", "cache-write-5m", "output", "reasoning"})

_UNLIMITED = 2**31  # tokens; no provider offers more


def cost_nanos(usage: Usage, price: Price) -> int:
    """Nano-USD of one call: every class at its price in the tier that the call's whole input falls in, rounded up.

    A tier's price holds for all tokens of the call, not only those above the threshold: that is how Anthropic, Google,
    OpenAI and xAI bill long contexts. Source: their pricing pages; genai-prices, `TieredPrices`.
    """
    counts = _counts(usage)
    rates = _rates_at(price, sum(counts[unit] for unit in _INPUT_UNITS))
    picos = sum(count * _rate(rates, unit, price.model) for unit, count in counts.items() if count)
    fees = usage.requests * rates.get("request", 0) + usage.tool_calls * rates.get("tool-call", 0)
    return nanos_from_picos(picos + fees)


def at_service_tier(price: Price, tier: ServiceTier) -> Price:
    """The price of the same model where the provider says that it served the call at `tier`.

    A tier that nobody has priced is billed at what was held for it: the standard price.
    """
    return next((each for each in price.variants if each.service_tier == tier), price)


def bound_nanos(
    price: Price, input_tokens: int, max_output_tokens: int, *, classes: Collection[Unit] = TEXT_CLASSES
) -> int:
    """Nano-USD that one call with at most `input_tokens` in and `max_output_tokens` out can't exceed.

    Every token at the dearest of the `classes` that the request can use, in the dearest tier that the input can reach.
    """
    fixed, per_token = _dearest(price, input_tokens, classes)
    return nanos_from_picos(fixed + max_output_tokens * per_token)


def affordable_output(price: Price, input_tokens: int, nanos: int, *, classes: Collection[Unit] = TEXT_CLASSES) -> int:
    """The most output tokens whose bound stays within `nanos`; 0 if not even the input does."""
    fixed, per_token = _dearest(price, input_tokens, classes)
    left = nanos * PICOS_PER_NANO - fixed
    if left < 0:
        return 0
    return left // per_token if per_token else _UNLIMITED


def _dearest(price: Price, input_tokens: int, classes: Collection[Unit]) -> tuple[int, int]:
    """Pico-USD for the input and the request at most, and for each output token at most."""
    reachable = [price.picos, *(_rates_at(price, above + 1) for above, _ in price.tiers if above < input_tokens)]
    inputs, outputs = _INPUT_UNITS.intersection(classes), _OUTPUT_UNITS.intersection(classes)
    dearest_input = max(_rate(rates, unit, price.model) for rates in reachable for unit in inputs)
    dearest_output = max(_rate(rates, unit, price.model) for rates in reachable for unit in outputs)
    return input_tokens * dearest_input + max(rates.get("request", 0) for rates in reachable), dearest_output


def _counts(usage: Usage) -> dict[Unit, int]:
    return {
        "input": usage.input_tokens,
        "cache-read": usage.cache_read_tokens,
        "cache-write-5m": usage.cache_write_5m_tokens,
        "cache-write-1h": usage.cache_write_1h_tokens,
        "audio-input": usage.audio_input_tokens,
        "output": usage.output_tokens,
        "reasoning": usage.reasoning_tokens,
        "audio-output": usage.audio_output_tokens,
    }


def _rates_at(price: Price, total_input_tokens: int) -> Mapping[Unit, int]:
    in_force = dict(price.picos)
    for above, rates in sorted(price.tiers, key=lambda tier: tier[0]):
        if total_input_tokens > above:
            in_force.update(rates)
    return in_force


def _rate(rates: Mapping[Unit, int], unit: Unit, model: str) -> int:
    for candidate in (unit, *_RELATIVES[unit]):
        if candidate in rates:
            return rates[candidate]
    missing = (unit, *_RELATIVES[unit])[-1]
    raise PriceUnknown(
        f"The price of {model} names no {missing!r}: set both input and output, 0 if they are free",
        model=model,
        unit=missing,
    )

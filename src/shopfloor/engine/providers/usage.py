"""From what a provider reported to disjoint classes of tokens, so that nothing is billed twice or left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_ai.usage import RequestUsage

from shopfloor.engine.providers.port import ServiceTier, Usage

# What providers call the tier that they served a call at. Source: OpenAI's API reference, `service_tier` of a chat
# completion (`default` is standard, `scale` is paid ahead by contract); Anthropic's, `usage.service_tier`; Google's
# header `x-gemini-service-tier`.
_SERVICE_TIERS: Mapping[str, ServiceTier] = {
    "default": "standard", "standard": "standard", "on_demand": "standard", "scale": "standard",
    "batch": "batch", "flex": "flex", "priority": "priority",
}  # fmt: skip
# Calls of the provider's own tools that are billed one by one, as Pydantic AI passes them on.
_TOOL_CALLS = ("web_search_requests",)


@dataclass(frozen=True, slots=True)
class Measured:
    """One reply's usage. `adds_up` is False if the provider's own numbers contradict each other."""

    usage: Usage
    adds_up: bool


def measure(raw: RequestUsage) -> Measured | None:
    """Disjoint classes of one reply, or None if the provider reported no usage.

    Pydantic AI hands over nested totals for every provider: cache and audio tokens are parts of `input_tokens`,
    reasoning and audio of `output_tokens`. What Anthropic and Bedrock (cache) and Google and xAI (thoughts) report
    beside their totals is in those totals by then. Source: `pydantic_ai.usage.UsageBase`, its field docstrings.

    Where parts exceed their total, each part counts as reported: rather a token too many than one unpaid.
    """
    if not raw.input_tokens and not raw.output_tokens:
        return None  # a reply always has some of both: nothing reported, or something nobody could read
    parts = Usage(
        cache_read_tokens=_natural(raw.cache_read_tokens),
        cache_write_1h_tokens=_natural(raw.cache_write_1h_tokens),
        cache_write_5m_tokens=_natural(raw.cache_write_tokens - raw.cache_write_1h_tokens),
        audio_input_tokens=_natural(raw.input_audio_tokens - raw.cache_audio_read_tokens),
        reasoning_tokens=_natural(raw.output_reasoning_tokens),
        audio_output_tokens=_natural(raw.output_audio_tokens),
    )
    input_parts = (
        parts.cache_read_tokens + parts.cache_write_5m_tokens + parts.cache_write_1h_tokens + parts.audio_input_tokens
    )
    output_parts = parts.reasoning_tokens + parts.audio_output_tokens
    usage = Usage(
        input_tokens=_natural(raw.input_tokens - input_parts),
        cache_read_tokens=parts.cache_read_tokens,
        cache_write_5m_tokens=parts.cache_write_5m_tokens,
        cache_write_1h_tokens=parts.cache_write_1h_tokens,
        output_tokens=_natural(raw.output_tokens - output_parts),
        reasoning_tokens=parts.reasoning_tokens,
        audio_input_tokens=parts.audio_input_tokens,
        audio_output_tokens=parts.audio_output_tokens,
        tool_calls=sum(_natural(raw.details.get(name, 0)) for name in _TOOL_CALLS),
    )
    return Measured(usage, adds_up=usage.total_tokens == raw.input_tokens + raw.output_tokens)


def service_tier(provider_details: Mapping[str, Any] | None) -> ServiceTier:
    """The tier that a reply says it was served at (`ModelResponse.provider_details`); standard if it doesn't say.

    A name that nobody knows here is taken for standard: the bound was held at that.
    """
    said = (provider_details or {}).get("service_tier")
    return _SERVICE_TIERS.get(str(said).lower(), "standard")


def _natural(tokens: int) -> int:
    return max(tokens, 0)

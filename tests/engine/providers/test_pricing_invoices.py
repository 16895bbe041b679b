"""Golden invoices: prices from the providers' own pages, sums worked by hand, replies as their wires have them.

The figures are those of src/shopfloor/engine/providers/published.json, with the pages' addresses; here they stand once
more in words, so that nothing of the platform takes part in the sum that it is checked against.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.usage import RequestUsage

from shopfloor.engine.providers.catalogue import connect
from shopfloor.engine.providers.port import Credentials, Price, ProviderKind, ServiceTier, Usage
from shopfloor.engine.providers.pricing import at_service_tier, cost_nanos
from shopfloor.engine.providers.published import cross_check, differences, published
from shopfloor.engine.providers.seed import seeded
from shopfloor.engine.providers.service_tiers import published_variants
from shopfloor.engine.providers.usage import measure, service_tier
from shopfloor.testing.mock_provider import serve
from shopfloor.testing.mock_provider.scenario import Scenario

TODAY = datetime(2026, 11, 25, tzinfo=UTC)
ADDRESSES: dict[ProviderKind, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}


def price_of(kind: ProviderKind, model: str, tier: ServiceTier = "standard") -> Price:
    price = seeded(Credentials(kind, kind, "k"), model, TODAY).price
    if tier == "standard":
        return price
    [found] = [each for each in published_variants(kind, price) if each.service_tier == tier]
    return found


def used(kind: ProviderKind, usage: dict[str, Any]) -> Usage:
    """From the provider's own words to disjoint classes, as a call does it."""
    google = kind == "google"
    raw = RequestUsage.extract(
        {"model": "m", "usageMetadata" if google else "usage": usage},
        provider=kind, provider_url=ADDRESSES[kind], provider_fallback=kind,
        api_flavor="chat" if kind == "openai" else "default",
    )  # fmt: skip
    measured = measure(raw)
    assert measured is not None
    assert measured.adds_up
    return measured.usage


def openai(prompt: int, cached: int, completion: int, reasoning: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }  # fmt: skip


def anthropic(plain: int, read: int, five_minutes: int, hour: int, output: int) -> dict[str, Any]:
    return {
        "input_tokens": plain, "cache_read_input_tokens": read, "cache_creation_input_tokens": five_minutes + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": output,
    }  # fmt: skip


def google(prompt: int, cached: int, candidates: int, thoughts: int) -> dict[str, Any]:
    return {
        "promptTokenCount": prompt, "cachedContentTokenCount": cached, "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
    }  # fmt: skip


INVOICES: list[tuple[str, ProviderKind, str, ServiceTier, dict[str, Any], int]] = [
    # GPT-5.4: 2.50 USD a million in, 0.25 cached, 15.00 out. 20,000 x 2.50 + 80,000 x 0.25 + 4,000 x 15.00
    # = 50,000 + 20,000 + 60,000 micro-USD = 0.130000 USD. Of the 4,000 out, 3,000 were reasoning: at the same price.
    ("cached input", "openai", "gpt-5.4", "standard", openai(100_000, 80_000, 4_000, 3_000), 130_000_000),
    # The same above 272,000 tokens in: 5.00, 0.50 and 22.50 for all of it.
    # 200,000 x 5.00 + 100,000 x 0.50 + 1,000 x 22.50 = 1,000,000 + 50,000 + 22,500 micro-USD = 1.072500 USD.
    ("long context", "openai", "gpt-5.4", "standard", openai(300_000, 100_000, 1_000, 0), 1_072_500_000),
    # At the threshold itself all cost the plain price: 272,000 x 2.50 = 0.68 USD.
    ("at the threshold", "openai", "gpt-5.4", "standard", openai(272_000, 0, 0, 0), 680_000_000),
    # Half of the first by batch: 0.065 USD, and by flex.
    ("batch", "openai", "gpt-5.4", "batch", openai(100_000, 80_000, 4_000, 3_000), 65_000_000),
    ("flex", "openai", "gpt-5.4", "flex", openai(100_000, 80_000, 4_000, 3_000), 65_000_000),
    # GPT-5.4 nano: 0.20, 0.02, 1.25. One token of each: 0.20 + 0.02 + 1.25 = 1.47 micro-USD = 1,470 nano-USD.
    ("single tokens", "openai", "gpt-5.4-nano", "standard", openai(2, 1, 1, 0), 1_470),
    # Claude Sonnet 4.6: 3 in, 0.30 read, 3.75 for five minutes, 6 for an hour, 15 out.
    # 1,000 x 3 + 50,000 x 0.30 + 10,000 x 3.75 + 2,000 x 6 + 800 x 15
    # = 3,000 + 15,000 + 37,500 + 12,000 + 12,000 micro-USD = 0.079500 USD.
    ("caches", "anthropic", "claude-sonnet-4-6", "standard", anthropic(1_000, 50_000, 10_000, 2_000, 800), 79_500_000),
    # Batch halves every class: 0.03975 USD.
    ("batch", "anthropic", "claude-sonnet-4-6", "batch", anthropic(1_000, 50_000, 10_000, 2_000, 800), 39_750_000),
    # Claude Opus 4.8: 5 in, 25 out; no dearer above 200,000. 900,000 x 5 + 10,000 x 25 = 4.75 USD.
    ("long context", "anthropic", "claude-opus-4-8", "standard", anthropic(900_000, 0, 0, 0, 10_000), 4_750_000_000),
    # Claude Haiku 4.5: 1 in, 0.10 read, 5 out. 7 x 1 + 13 x 0.10 + 3 x 5 = 23.3 micro-USD.
    ("small", "anthropic", "claude-haiku-4-5", "standard", anthropic(7, 13, 0, 0, 3), 23_300),
    # Gemini 2.5 Pro: 1.25 in, 0.125 cached, 10 out with thoughts. 100,000 x 1.25 + 50,000 x 0.125 + 3,000 x 10
    # = 125,000 + 6,250 + 30,000 micro-USD = 0.161250 USD.
    ("thoughts", "google", "gemini-2.5-pro", "standard", google(150_000, 50_000, 1_000, 2_000), 161_250_000),
    # Above 200,000 tokens in: 2.50, 0.25 and 15. 200,001 x 2.50 + 0 + 1,000 x 15 = 0.5150025 USD.
    ("long context", "google", "gemini-2.5-pro", "standard", google(200_001, 0, 1_000, 0), 515_002_500),
    # By batch half of it in and out, cached tokens at their plain price: 100,000 x 0.625 + 50,000 x 0.125 + 3,000 x 5
    # = 62,500 + 6,250 + 15,000 micro-USD = 0.083750 USD.
    ("batch", "google", "gemini-2.5-pro", "batch", google(150_000, 50_000, 1_000, 2_000), 83_750_000),
    # Gemini 3.8 Flash costs 0.75 and 3.75 until the end of 2026: 4,000 x 0.75 + 200 x 3.75 = 3,750 micro-USD.
    ("dated", "google", "gemini-3.8-flash", "standard", google(4_000, 0, 200, 0), 3_750_000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "model", "tier", "usage", "nanos"),
    [row[1:] for row in INVOICES],
    ids=[f"{row[1]}, {row[0]}" for row in INVOICES],
)
def test_a_call_costs_what_the_price_page_says(
    kind: ProviderKind, model: str, tier: ServiceTier, usage: dict[str, Any], nanos: int
):
    assert cost_nanos(used(kind, usage), price_of(kind, model, tier)) == nanos


def test_the_same_model_costs_more_from_the_day_that_is_announced():
    """Gemini 3.8 Flash, from 2027 on: 1.50 and 7.50."""
    later = seeded(Credentials("google", "google", "k"), "gemini-3.8-flash", datetime(2027, 1, 1, tzinfo=UTC)).price
    assert cost_nanos(used("google", google(4_000, 0, 200, 0)), later) == 7_500_000


def test_calls_of_a_providers_tool_are_billed_one_by_one():
    """Anthropic's web search: 10 USD for 1,000 searches, beside the tokens."""
    usage = anthropic(100, 0, 0, 0, 10) | {"server_tool_use": {"web_search_requests": 3}}
    raw = RequestUsage(input_tokens=100, output_tokens=10, details={"web_search_requests": 3})
    measured = measure(raw)
    assert measured is not None
    assert measured.usage.tool_calls == 3
    plain = price_of("anthropic", "claude-haiku-4-5")
    priced = Price(plain.model, {**plain.picos, "tool-call": 10_000_000_000}, TODAY, "organization")
    assert cost_nanos(measured.usage, priced) == cost_nanos(used("anthropic", usage), plain) + 30_000_000


def test_a_call_is_rated_at_the_tier_that_the_reply_names():
    standard = price_of("openai", "gpt-5.4")
    both = Price(
        standard.model, standard.picos, TODAY, standard.source, standard.tiers,
        variants=published_variants("openai", standard),
    )  # fmt: skip
    usage = used("openai", openai(100_000, 80_000, 4_000, 3_000))

    def cost(said: str | None) -> int:
        return cost_nanos(usage, at_service_tier(both, service_tier({"service_tier": said})))

    assert (cost("default"), cost("flex"), cost("FLEX"), cost(None)) == (
        130_000_000, 65_000_000, 65_000_000, 130_000_000,
    )  # fmt: skip
    # Nobody has set what priority costs: rather the plain price, which was held, than a guess.
    assert (cost("priority"), cost("something-new")) == (130_000_000, 130_000_000)


@pytest.mark.parametrize("kind", ["openai-compatible", "anthropic"])
async def test_a_streamed_call_costs_what_the_provider_bills_for_it(kind: ProviderKind):
    """Through each of the two wires of the mock provider, whose own bill is made apart from the platform's sums."""
    scenario = Scenario.model_validate(
        {
            "prices": {"m": {"input": "3", "output": "15", "cache_read": "0.3"}},
            "replies": [
                {"text": "a streamed reply of some words", "usage": {"input": 1_234, "cache_read": 5_000, "output": 77}}
            ],
        }
    )
    async with serve(scenario) as server:
        url = server.url if kind == "anthropic" else server.openai_url
        connection = connect(Credentials("p", kind, "sk-mock-EXAMPLE", url), "m", timeout_s=10.0)
        try:
            messages: list[ModelMessage] = [ModelRequest.user_text_prompt("hello")]
            async with (
                asyncio.timeout(10),
                connection.model.request_stream(messages, {"max_tokens": 100}, ModelRequestParameters()) as stream,
            ):
                async for _ in stream:
                    pass
                measured = measure(stream.get().usage)
        finally:
            await connection.close()
        [entry] = server.bill().entries
    assert entry.stream
    assert measured is not None
    # 1,234 x 3 + 5,000 x 0.30 + 77 x 15 = 3,702 + 1,500 + 1,155 micro-USD
    price = Price("m", {"input": 3_000_000, "cache-read": 300_000, "output": 15_000_000}, TODAY, "test")
    assert cost_nanos(measured.usage, price) == entry.cost_nanos == 6_357_000


def test_the_seed_says_what_the_recorded_pages_said():
    assert cross_check() == []
    assert {line.kind for line in published()} == {"openai", "anthropic", "google"}


def test_a_seed_that_says_something_else_is_found():
    wrong = Price("gpt-5.4", {"input": 2_500_000, "cache-read": 1, "output": 15_000_000}, TODAY, "genai-prices 9.9")
    [told] = differences("openai", wrong)
    assert "cache-read" in told
    assert "0.25 USD a million on 2026-05-04" in told
    assert "genai-prices 9.9" in told

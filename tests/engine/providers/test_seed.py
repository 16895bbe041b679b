from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint
from genai_prices.types import Usage as ListedUsage

from engine.providers.doubles import NOW
from shopfloor.engine.providers import seed
from shopfloor.engine.providers.catalogue import kinds
from shopfloor.engine.providers.port import Credentials, PriceUnknown, ProviderKind, Usage
from shopfloor.engine.providers.pricing import cost_nanos
from shopfloor.engine.providers.seed import seed_rows, seeded

HOSTED: list[tuple[ProviderKind, str]] = [
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-5"),
    ("google", "gemini-2.5-pro"),
    ("xai", "grok-4"),
    ("groq", "openai/gpt-oss-120b"),
    ("mistral", "mistral-large-latest"),
    ("bedrock", "anthropic.claude-sonnet-4-20250514-v1:0"),
    ("openrouter", "anthropic/claude-sonnet-4"),
]


@pytest.mark.parametrize(("kind", "model"), HOSTED)
@pytest.mark.parametrize("input_tokens", [10_000, 300_000])
def test_our_integer_bill_is_what_genai_prices_reckons(kind: ProviderKind, model: str, input_tokens: int):
    found = seeded(Credentials("main", kind, "k"), model, NOW)
    listed = seed._find(Credentials("main", kind, "k"), model)
    assert listed is not None
    provider = seed._catalogue(kind)
    theirs = listed.calc_price(
        ListedUsage(input_tokens=input_tokens, cache_read_tokens=4_000, output_tokens=2_000),
        provider,
        genai_request_timestamp=NOW,
    ).total_price
    ours = cost_nanos(
        Usage(input_tokens=input_tokens - 4_000, cache_read_tokens=4_000, output_tokens=2_000), found.price
    )
    assert Decimal(ours) == theirs * 1_000_000_000
    assert found.price.source.startswith("genai-prices ")


@pytest.mark.parametrize("kind", ["openai-compatible", "mock"])
def test_a_self_hosted_model_is_never_priced_by_its_public_name(kind: ProviderKind):
    with pytest.raises(PriceUnknown):
        seeded(Credentials("box", kind, "", "http://127.0.0.1:11434/v1"), "gpt-5", NOW)
    assert list(seed_rows(kind)) == []


def test_a_proxy_under_a_public_kind_is_not_priced_either():
    with pytest.raises(PriceUnknown):
        seeded(Credentials("proxy", "openai", "k", "http://127.0.0.1:4000/v1"), "gpt-5", NOW)
    assert seeded(Credentials("own", "openai", "k", "https://api.openai.com/v1"), "gpt-5", NOW)


def test_a_look_alike_of_the_services_address_is_not_the_service():
    with pytest.raises(PriceUnknown):
        seeded(Credentials("x", "openai", "k", "https://api.openai.com.evil.example/v1"), "gpt-5", NOW)


def test_an_unknown_model_says_exactly_what_to_type():
    with pytest.raises(PriceUnknown) as caught:
        seeded(Credentials("main", "anthropic", "k"), "claude-next-year", NOW)
    assert "shopfloor price set main/claude-next-year --input 3.00 --output 15.00" in caught.value.detail
    assert "POST /api/v1/prices" in caught.value.detail


def test_a_price_is_in_force_from_its_date_on():
    def at(dollars: str, start: date | None) -> ConditionalPrice:
        constraint = StartDateConstraint(start_date=start) if start else None
        return ConditionalPrice(constraint, prices=ModelPrice(input_mtok=Decimal(dollars), output_mtok=Decimal(1)))

    info = ModelInfo("m", ClauseEquals("m"), prices=[at("2", None), at("1", date(2026, 6, 1))])
    rows = seed._dated(info, "m")
    assert [(row.picos["input"], row.valid_from) for row in rows] == [
        (2_000_000, datetime(2020, 1, 1, tzinfo=UTC)),
        (1_000_000, datetime(2026, 6, 1, tzinfo=UTC)),
    ]


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind not in ("openai-compatible", "mock")])
def test_every_row_of_a_hosted_kind_can_bill_a_call(kind: ProviderKind):
    rows = list(seed_rows(kind))
    assert len(rows) > 10
    for row in rows:
        assert cost_nanos(Usage(input_tokens=1_000, output_tokens=1_000), row) >= 0
        assert row.valid_from.tzinfo is UTC

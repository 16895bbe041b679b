from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.providers.doubles import NOW, PICOS
from shopfloor.engine.providers.port import Price, PriceUnknown, Usage
from shopfloor.engine.providers.pricing import affordable_output, bound_nanos, cost_nanos

FLAT = Price("m", dict(PICOS), NOW, "test")
TIERED = Price("m", dict(PICOS), NOW, "test", tiers=((200_000, {"input": 6_000_000, "output": 22_500_000}),))


def test_every_class_is_billed_at_its_own_price():
    usage = Usage(
        input_tokens=1_000,
        cache_read_tokens=10_000,
        cache_write_5m_tokens=2_000,
        cache_write_1h_tokens=500,
        output_tokens=300,
        reasoning_tokens=200,
    )
    # 1,000 x 3 + 10,000 x 0.3 + 2,000 x 3.75 + 500 x 6 + 300 x 15 + 200 x 15 micro-USD
    assert cost_nanos(usage, FLAT) == 24_000_000


def test_a_fraction_of_a_nano_dollar_is_booked_as_a_whole_one():
    tiny = Price("m", {"input": 1, "output": 1}, NOW, "test")
    assert cost_nanos(Usage(input_tokens=1), tiny) == 1


def test_above_a_threshold_all_tokens_cost_the_tiers_price():
    at, above = Usage(input_tokens=200_000), Usage(input_tokens=200_000, cache_read_tokens=1)
    assert cost_nanos(at, TIERED) == 600_000_000
    assert cost_nanos(above, TIERED) == 1_200_000_300


def test_a_higher_tier_keeps_what_a_lower_one_replaced():
    price = Price(
        "m", {"input": 1_000, "output": 1_000}, NOW, "test", ((10, {"output": 2_000}), (20, {"input": 3_000}))
    )
    assert cost_nanos(Usage(input_tokens=30, output_tokens=1), price) == 92


def test_reasoning_without_a_price_of_its_own_costs_what_output_does():
    assert cost_nanos(Usage(reasoning_tokens=10), FLAT) == cost_nanos(Usage(output_tokens=10), FLAT)
    assert cost_nanos(Usage(reasoning_tokens=10), Price("m", {**PICOS, "reasoning": 1_000}, NOW, "test")) == 10


def test_a_price_per_request_is_added():
    assert cost_nanos(Usage(), Price("m", {**PICOS, "request": 5_000_000}, NOW, "test")) == 5_000


def test_a_price_without_output_is_refused():
    with pytest.raises(PriceUnknown, match="names no 'output'"):
        bound_nanos(Price("m", {"input": 1}, NOW, "test"), 10, 10)


tokens = st.integers(0, 400_000)


@given(tokens, tokens, tokens, tokens, tokens, st.integers(0, 10_000))
def test_no_bill_passes_its_bound(plain: int, read: int, write: int, output: int, reasoning: int, per_request: int):
    price = Price("m", {**PICOS, "request": per_request}, NOW, "test", TIERED.tiers)
    usage = Usage(
        input_tokens=plain,
        cache_read_tokens=read,
        cache_write_5m_tokens=write,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )
    assert cost_nanos(usage, price) <= bound_nanos(price, plain + read + write, output + reasoning)


@given(st.integers(0, 300_000), st.integers(0, 10**10))
def test_an_affordable_reply_fits_the_money_and_one_token_more_does_not(input_tokens: int, nanos: int):
    fits = affordable_output(TIERED, input_tokens, nanos)
    assert fits == 0 or bound_nanos(TIERED, input_tokens, fits) <= nanos
    assert bound_nanos(TIERED, input_tokens, fits + 1) > nanos


def test_a_free_model_affords_any_reply():
    assert affordable_output(Price("m", {"input": 0, "output": 0}, NOW, "test"), 10**6, 0) > 10**9

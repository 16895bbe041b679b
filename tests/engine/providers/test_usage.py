"""Golden replies as the providers document them, read by Pydantic AI's own mapping, down to disjoint classes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.usage import RequestUsage

from shopfloor.engine.providers.port import Usage
from shopfloor.engine.providers.usage import Measured, measure


def read(provider: str, url: str, usage: dict[str, Any], flavor: str = "chat", root: str = "usage") -> Measured | None:
    raw = RequestUsage.extract(
        {"model": "m", root: usage}, provider=provider, provider_url=url, provider_fallback=provider, api_flavor=flavor
    )
    return measure(raw)


def test_anthropic_counts_cache_beside_input_and_tells_both_lifetimes_apart():
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 1_000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 50,
    }
    assert read("anthropic", "https://api.anthropic.com", usage, "default") == Measured(
        Usage(
            input_tokens=100,
            cache_read_tokens=1_000,
            cache_write_5m_tokens=200,
            cache_write_1h_tokens=100,
            output_tokens=50,
        ),
        adds_up=True,
    )


def test_openai_counts_cached_and_reasoning_inside_its_totals():
    usage = {
        "prompt_tokens": 2_000,
        "completion_tokens": 700,
        "total_tokens": 2_700,
        "prompt_tokens_details": {"cached_tokens": 1_500, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 600},
    }
    assert read("openai", "https://api.openai.com/v1", usage) == Measured(
        Usage(input_tokens=500, cache_read_tokens=1_500, output_tokens=100, reasoning_tokens=600), adds_up=True
    )


def test_xai_counts_reasoning_beside_completion():
    usage = {
        "prompt_tokens": 10_120,
        "completion_tokens": 1_499,
        "total_tokens": 14_428,
        "prompt_tokens_details": {"cached_tokens": 128},
        "completion_tokens_details": {"reasoning_tokens": 2_809},
    }
    measured = read("x-ai", "https://api.x.ai/v1", usage)
    assert measured is not None
    assert measured.usage == Usage(
        input_tokens=9_992, cache_read_tokens=128, output_tokens=1_499, reasoning_tokens=2_809
    )
    assert measured.usage.total_tokens == 14_428


def test_google_counts_thoughts_beside_candidates():
    usage = {
        "promptTokenCount": 900,
        "cachedContentTokenCount": 400,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 70,
    }
    url = "https://generativelanguage.googleapis.com"
    assert read("google", url, usage, "default", "usageMetadata") == Measured(
        Usage(input_tokens=500, cache_read_tokens=400, output_tokens=30, reasoning_tokens=70), adds_up=True
    )


def test_bedrock_counts_cache_beside_input():
    usage = {"inputTokens": 10, "cacheReadInputTokens": 90, "cacheWriteInputTokens": 40, "outputTokens": 5}
    url = "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert read("bedrock", url, usage, "default") == Measured(
        Usage(input_tokens=10, cache_read_tokens=90, cache_write_5m_tokens=40, output_tokens=5), adds_up=True
    )


def test_audio_is_a_class_of_its_own_on_both_sides():
    raw = RequestUsage(
        input_tokens=100,
        input_audio_tokens=40,
        cache_read_tokens=30,
        cache_audio_read_tokens=10,
        output_tokens=50,
        output_audio_tokens=20,
    )
    assert measure(raw) == Measured(
        Usage(input_tokens=40, cache_read_tokens=30, audio_input_tokens=30, output_tokens=30, audio_output_tokens=20),
        adds_up=True,
    )


@pytest.mark.parametrize("raw", [RequestUsage(), RequestUsage(unmeasured_requests=1)])
def test_no_usage_is_not_taken_for_a_free_call(raw: RequestUsage):
    assert measure(raw) is None


def test_parts_above_their_total_are_all_counted_and_reported_as_odd():
    measured = measure(RequestUsage(input_tokens=10, cache_read_tokens=25, output_tokens=5))
    assert measured == Measured(Usage(cache_read_tokens=25, output_tokens=5), adds_up=False)


count = st.integers(-5, 1_000)


@given(count, count, count, count, count, count)
def test_nothing_reported_is_lost_and_nothing_negative_comes_out(
    total: int, read_: int, write: int, hour: int, output: int, reasoning: int
):
    raw = RequestUsage(
        input_tokens=total,
        cache_read_tokens=read_,
        cache_write_tokens=write,
        cache_write_1h_tokens=hour,
        output_tokens=output,
        output_reasoning_tokens=reasoning,
    )
    measured = measure(raw)
    if measured is None:
        assert total == output == 0
        return
    usage = measured.usage
    assert usage.total_tokens >= total + output
    assert min(usage.input_tokens, usage.cache_write_5m_tokens, usage.output_tokens) >= 0

"""Limits: what fits what is configured, and what a provider's headers say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shopfloor.engine.providers.limits import CallLimits, Learned, Used, reset_s, wait_for

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2026-11-25T12:00:01Z",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2026-11-25T12:00:30Z",
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0), ("6m0s", 360.0), ("120ms", 0.12), ("1h2m3.5s", 3723.5), ("17", 17.0), ("0s", 0.0),
        ("2026-11-25T12:00:30Z", 30.0), ("2026-11-25T11:59:00Z", 0.0),
        ("", None), ("soon", None), ("99999999", None), ("2026-99-99T00:00:00Z", None), ("-5s", None),
    ],
)  # fmt: skip
def test_a_reset_is_read_in_each_of_its_forms(text: str, seconds: float | None):
    assert reset_s(text, NOW) == seconds


@pytest.mark.parametrize(("headers", "wait_s"), [(OPENAI, 1.0), (ANTHROPIC, 30.0), ({}, 0.0)])
def test_what_headers_say_is_waited_for(headers: dict[str, str], wait_s: float):
    learned = Learned()
    learned.hear(headers, now=NOW, monotonic=100.0)
    assert learned.wait_s(10, monotonic=100.0) == wait_s
    assert learned.wait_s(10, monotonic=100.0 + wait_s) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-remaining-requests": "none", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9999999h"},
        {"x-ratelimit-remaining-requests": "0"},
    ],
)
def test_headers_that_nobody_can_believe_are_passed_over(headers: dict[str, str]):
    learned = Learned()
    learned.hear(headers, now=NOW, monotonic=0.0)
    assert learned.wait_s(10, monotonic=0.0) == 0


def test_calls_that_left_since_count_against_what_was_left():
    learned = Learned()
    learned.hear({**OPENAI, "x-ratelimit-remaining-requests": "2"}, now=NOW, monotonic=0.0)
    waits = []
    for _ in range(3):
        waits.append(learned.wait_s(10, monotonic=0.0))
        learned.spend(10)
    assert waits == [0, 0, 1]


def test_a_rest_that_the_provider_asked_for_is_kept():
    learned = Learned()
    learned.rest(5, monotonic=10.0)
    learned.rest(1, monotonic=10.0)
    assert learned.wait_s(0, monotonic=12.0) == 3


@pytest.mark.parametrize(
    ("limits", "used", "wait_s"),
    [
        (CallLimits(), Used(1_000, 1_000, 10**9, 1), None),
        (CallLimits(concurrency=2), Used(in_flight=1), None),
        (CallLimits(concurrency=2), Used(in_flight=2), 1.0),
        (CallLimits(requests_per_minute=3), Used(requests=2, oldest_s=50), None),
        (CallLimits(requests_per_minute=3), Used(requests=3, oldest_s=50), 10.0),
        (CallLimits(tokens_per_minute=1_000), Used(requests=1, tokens=900, oldest_s=10), None),
        (CallLimits(tokens_per_minute=1_000), Used(requests=1, tokens=901, oldest_s=10), 50.0),
        (CallLimits(tokens_per_minute=10), Used(), None),  # larger than the whole limit: alone it may go
    ],
)
def test_a_call_waits_only_where_a_limit_is_used_up(limits: CallLimits, used: Used, wait_s: float | None):
    assert wait_for(limits, used, tokens=100) == wait_s

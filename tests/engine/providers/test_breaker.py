"""The breaker's rules, without a clock or a database."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from shopfloor.base.errors import ShopfloorError
from shopfloor.engine.providers.breaker import (
    Breaker,
    BreakerPolicy,
    Calls,
    after,
    is_providers_failure,
    open_s,
    probe_given_back,
    probing,
)
from shopfloor.engine.providers.port import (
    ContextTooLong,
    ModelUnknown,
    ProviderError,
    ProviderOverloaded,
    ProviderRefused,
    ProviderTimeout,
)

T0 = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
POLICY = BreakerPolicy(window_s=60, least_calls=4, failure_ratio=0.5, open_s=10, open_longest_s=80)
CHANCE = random.Random(1)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def told(breaker: Breaker, *, ok: int = 0, bad: int = 0, s: float = 0, probe: bool = False, wait: float = 0) -> Breaker:
    return after(breaker, Calls(ok, bad, wait), POLICY, now=at(s), chance=CHANCE, probe=probe)


def opened(s: float = 0) -> Breaker:
    return told(Breaker(T0), bad=4, s=s)


def test_it_opens_when_half_of_enough_calls_failed():
    assert told(told(Breaker(T0), ok=2), bad=2).state(T0) == "open"
    assert told(told(Breaker(T0), ok=3), bad=2).state(T0) == "closed"


def test_fewer_calls_than_the_least_say_nothing():
    assert told(Breaker(T0), bad=3).state(T0) == "closed"
    assert told(told(Breaker(T0), bad=3), bad=1).state(T0) == "open"


def test_failures_older_than_the_window_are_forgotten_and_younger_ones_are_not():
    three = told(Breaker(T0), bad=3)
    assert told(three, bad=1, s=59).state(at(59)) == "open"
    assert told(three, bad=1, s=61).state(at(61)) == "closed"


def test_an_answer_alone_never_opens_it():
    assert told(told(Breaker(T0), bad=3), ok=1).state(T0) == "closed"


def test_it_is_half_open_after_its_time_and_one_probe_is_to_be_had():
    breaker = opened()
    assert breaker.open_until is not None
    assert probing(breaker, POLICY, now=breaker.open_until - timedelta(milliseconds=1)) is None
    later = breaker.open_until
    assert breaker.state(later) == "half-open"
    tried = probing(breaker, POLICY, now=later)
    assert tried is not None
    assert probing(tried, POLICY, now=later) is None
    assert probing(probe_given_back(tried), POLICY, now=later) is not None


def test_a_probe_whose_worker_died_is_to_be_had_again():
    tried = probing(opened(), POLICY, now=at(20))
    assert tried is not None
    assert probing(tried, POLICY, now=at(20 + POLICY.probe_s)) is not None


def test_an_answered_probe_closes_it_and_what_was_counted_is_forgotten():
    closed = told(opened(), ok=1, s=20, probe=True)
    assert (closed.state(at(20)), closed.openings, closed.failures, closed.closed_at) == ("closed", 0, 0, at(20))
    assert told(closed, bad=3, s=21).state(at(21)) == "closed"


def test_a_failed_probe_opens_it_for_twice_as_long():
    breaker, stays = opened(), []
    for n in range(5):
        now = at(1_000 * (n + 1))
        breaker = told(breaker, bad=1, s=1_000 * (n + 1), probe=True)
        assert breaker.open_until is not None
        stays.append((breaker.open_until - now).total_seconds())
    for stay, ceiling in zip(stays, [20, 40, 80, 80, 80], strict=True):
        assert ceiling / 2 <= stay <= ceiling
    assert breaker.opened_at == T0  # how long it has been down


def test_calls_that_left_before_it_opened_change_nothing():
    breaker = opened()
    assert told(breaker, ok=5, s=1) == breaker
    assert told(breaker, bad=5, s=1) == breaker


def test_it_stays_open_at_least_as_long_as_the_provider_asked_for():
    breaker = told(Breaker(T0), bad=4, wait=900)
    assert breaker.open_until is not None
    assert (breaker.open_until - T0).total_seconds() == 900
    assert open_s(1, POLICY, asked_wait_s=1, chance=CHANCE) >= 5


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ProviderOverloaded("x", http_status=429), True),
        (ProviderOverloaded("x", http_status=529), True),
        (ProviderError("x", http_status=500), True),
        (ProviderTimeout("x"), True),
        (ProviderError("cut"), True),
        (ProviderError("x", http_status=418), False),
        (ProviderRefused("x", reason="key", http_status=401), False),
        (ContextTooLong("x", http_status=400), False),
        (ModelUnknown("x", http_status=404), False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else f"{value.code()} {value.facts}",
)
def test_only_the_providers_own_failures_count(error: ShopfloorError, counts: bool):
    assert is_providers_failure(error) is counts

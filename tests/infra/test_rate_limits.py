"""Sliding windows: exact whatever the order, together or not at all, and bounded in memory."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.infra.rate_limits import Count, MemoryWindows, Quota, Window, fits, levels, used, wait_ms


class StillClock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.elapsed_s = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.elapsed_s

    async def sleep(self, delay_s: float) -> None:
        self.elapsed_s += delay_s


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def counters(clock: StillClock) -> MemoryWindows:
    return MemoryWindows(clock)


def window(limit: int, subject: str = "one", name: str = "key") -> Window:
    return Window(Quota(name, limit), subject)


def passes(counters: MemoryWindows, *windows: Window, times: int = 1) -> int:
    """How many of `times` requests pass."""
    return sum(not any(level.wait_s for level in levels(windows, counters.take(windows))) for _ in range(times))


def test_as_many_pass_as_the_limit_says_and_no_other(counters: MemoryWindows):
    assert passes(counters, window(5), times=12) == 5


def test_subjects_and_quotas_do_not_count_for_each_other(counters: MemoryWindows):
    assert passes(counters, window(1)) == 1
    assert passes(counters, window(1, "two")) == 1
    assert passes(counters, window(1, name="user")) == 1
    assert passes(counters, window(1)) == 0


def test_a_request_that_one_window_refuses_counts_in_none(counters: MemoryWindows):
    assert passes(counters, window(1, name="user"), window(100), times=50) == 1
    assert passes(counters, window(100), times=200) == 99


def test_room_comes_back_evenly_once_the_window_has_passed(counters: MemoryWindows, clock: StillClock):
    assert passes(counters, window(60), times=60) == 60
    clock.elapsed_s += 59.9
    assert passes(counters, window(60)) == 0
    clock.elapsed_s += 0.1 + 30  # half of them have slid out
    assert passes(counters, window(60), times=60) == 30
    clock.elapsed_s += 120
    assert passes(counters, window(60), times=70) == 60


def test_the_level_tells_what_is_left_and_when_to_come_again(counters: MemoryWindows, clock: StillClock):
    one = [window(2)]
    first = levels(one, counters.take(one))[0]
    assert (first.remaining, first.reset_s, first.wait_s) == (1, 60.0, 0.0)
    clock.elapsed_s += 20
    assert levels(one, counters.take(one))[0].remaining == 0
    refused = levels(one, counters.take(one))[0]
    assert (refused.remaining, refused.reset_s, refused.wait_s) == (0, 40.0, 70.0)
    clock.elapsed_s += 69.9
    assert passes(counters, *one) == 0
    clock.elapsed_s += 0.1
    assert passes(counters, *one) == 1


COUNTS = st.builds(
    Count, current=st.integers(0, 2_000), previous=st.integers(0, 2_000), elapsed_ms=st.integers(0, 59_999)
)


@given(st.integers(1, 1_000), COUNTS)
def test_whoever_waits_as_told_passes_and_a_millisecond_earlier_does_not(limit: int, count: Count):
    quota = Quota("key", limit)
    wait = wait_ms(quota, count)
    assert (wait == 0) is fits(quota, count)
    assert fits(quota, _later(count, wait))
    if wait:
        assert not fits(quota, _later(count, wait - 1))


@given(COUNTS)
def test_what_is_used_never_grows_by_waiting(count: Count):
    quota = Quota("key", 100)
    amounts = [used(quota, _later(count, ms)) for ms in range(0, 130_000, 997)]
    assert amounts == sorted(amounts, reverse=True)


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 4)), max_size=60))
def test_never_more_than_twice_the_limit_starts_within_a_window(steps: list[tuple[int, int]]):
    clock = StillClock()
    counters, passed = MemoryWindows(clock), list[float]()
    for pause_ms, times in steps:
        clock.elapsed_s += pause_ms / 1_000
        passed += [clock.elapsed_s] * passes(counters, window(3), times=times)
    for start in passed:
        assert sum(start <= each < start + 60 for each in passed) <= 6


def test_counters_that_nobody_asks_for_any_more_cost_no_memory(counters: MemoryWindows, clock: StillClock):
    for generation in range(4):
        for number in range(1_000):
            counters.take([window(5, f"{generation}/{number}")])
        clock.elapsed_s += 121
    assert len(counters) <= 2_000
    clock.elapsed_s += 1_000
    counters.take([window(5)])
    assert len(counters) == 1


def test_a_counter_in_use_lives_through_the_change_of_generations(counters: MemoryWindows, clock: StillClock):
    clock.elapsed_s += 119
    assert passes(counters, window(2), times=2) == 2
    clock.elapsed_s += 2
    assert passes(counters, window(2)) == 0


def _later(count: Count, wait_ms: int) -> Count:
    """The same counter, `wait_ms` on."""
    current, previous, elapsed = count.current, count.previous, count.elapsed_ms + wait_ms
    for _ in range(2):
        if elapsed >= 60_000:
            current, previous, elapsed = 0, current, elapsed - 60_000
    return Count(0, 0, 0) if elapsed >= 60_000 else Count(current, previous, elapsed)

"""The forecast of the month, worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shopfloor.domain.budgets.forecast import forecast

NOW = datetime(2026, 6, 21, tzinfo=UTC)
END = datetime(2026, 7, 1, tzinfo=UTC)  # ten days ahead


def test_an_even_rate_goes_on():
    found = forecast([0] * 8 + [100] * 20, spent_nanos=2_000, today_nanos=0, now=NOW, month_ends_at=END)
    assert (found.expected_nanos, found.low_nanos, found.high_nanos) == (3_000, 3_000, 3_000)
    assert (found.daily_nanos, found.days, found.confident) == (100, 20, True)


def test_the_last_days_weigh_more():
    # Weights 1, 2^(-1/7), ... : the mean of seven days of 0 and then seven of 100 is 100 / (1 + 1/2).
    found = forecast([1] + [0] * 6 + [100] * 7, spent_nanos=700, today_nanos=0, now=NOW, month_ends_at=END)
    assert abs(found.daily_nanos - 67) <= 1
    assert found.low_nanos < found.expected_nanos < found.high_nanos


def test_days_that_vary_widen_the_range_by_the_normal_quantile():
    # Two days of 0 and 200 that weigh w = 2^(-1/7) and 1: mean 200 / (1 + w), deviation 200 * sqrt(w) / (1 + w).
    weight = 0.5 ** (1 / 7)
    mean, deviation = 200 / (1 + weight), 200 * weight**0.5 / (1 + weight)
    found = forecast([1, 200], spent_nanos=5_000, today_nanos=0, now=NOW, month_ends_at=END)
    assert abs(found.expected_nanos - (5_000 + 10 * mean)) <= 6
    assert abs(found.high_nanos - found.expected_nanos - 1.2816 * deviation * 10**0.5) <= 6
    assert found.confident is False


def test_on_the_first_day_todays_rate_is_all_there_is():
    found = forecast(
        [0] * 28, spent_nanos=50, today_nanos=50, now=NOW + timedelta(hours=12), month_ends_at=END, elapsed_days=0.5
    )
    assert (found.daily_nanos, found.expected_nanos, found.days) == (100, 50 + 950, 0)


def test_nothing_spent_is_nothing_expected():
    found = forecast([0] * 28, spent_nanos=0, today_nanos=0, now=NOW, month_ends_at=END, limit_nanos=5)
    assert (found.expected_nanos, found.high_nanos, found.limit_reached_at) == (0, 0, None)


def test_it_says_when_the_limit_is_reached():
    days = [100] * 20
    reached = forecast(days, spent_nanos=2_000, today_nanos=0, now=NOW, month_ends_at=END, limit_nanos=2_450)
    assert reached.limit_reached_at == NOW + timedelta(days=4.5)
    past = forecast(days, spent_nanos=2_000, today_nanos=0, now=NOW, month_ends_at=END, limit_nanos=1_999)
    assert past.limit_reached_at == NOW
    later = forecast(days, spent_nanos=2_000, today_nanos=0, now=NOW, month_ends_at=END, limit_nanos=3_001)
    assert later.limit_reached_at is None


@given(
    days=st.lists(st.integers(0, 10**15), max_size=60),
    spent=st.integers(0, 10**17),
    now=st.integers(0, 30 * 24).map(lambda hours: datetime(2026, 6, 1, tzinfo=UTC) + timedelta(hours=hours)),
)
def test_it_never_falls_below_what_is_spent_and_stays_in_order(days: list[int], spent: int, now: datetime):
    found = forecast(days, spent_nanos=spent, today_nanos=0, now=now, month_ends_at=END)
    assert spent <= found.low_nanos <= found.expected_nanos <= found.high_nanos

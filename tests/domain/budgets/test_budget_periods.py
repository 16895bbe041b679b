"""Days, weeks and months where people live: clocks that change, midnights that are skipped or come twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.domain.budgets.periods import FROM_THE_START, period_bounds

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "America/Havana", "Africa/Cairo", "Asia/Beirut",
    "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns",
]  # fmt: skip


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "zone", "at", "start", "end"),
    [
        ("day", "UTC", "2026-03-10T23:59:59", "2026-03-10T00:00", "2026-03-11T00:00"),
        ("week", "UTC", "2026-03-10T12:00", "2026-03-09T00:00", "2026-03-16T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        # In Berlin clocks went forward on 2026-03-29 and go back on 2026-10-25.
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("month", "Europe/Berlin", "2026-03-31T23:00", "2026-03-31T22:00", "2026-04-30T22:00"),
        # Havana goes back from 01:00 to 00:00: midnight comes twice, and the day begins the first time.
        ("day", "America/Havana", "2026-11-01T04:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("day", "America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        # Cairo goes forward from 00:00 to 01:00: the day begins at the jump.
        ("day", "Africa/Cairo", "2026-04-23T22:30", "2026-04-23T22:00", "2026-04-24T21:00"),
        # Samoa had no 2011-12-30.
        ("day", "Pacific/Apia", "2011-12-30T10:30", "2011-12-30T10:00", "2011-12-31T10:00"),
        # St. John's went back from 00:01 to 23:01 of the day before.
        ("day", "America/St_Johns", "2010-11-07T02:31:30", "2010-11-07T02:30", "2010-11-08T03:30"),
    ],
)
def test_a_period_begins_and_ends_at_local_midnight(period: str, zone: str, at: str, start: str, end: str):
    assert period_bounds(period, zone, utc(at)) == (utc(start), utc(end))  # type: ignore[arg-type]


def test_in_total_never_ends():
    assert period_bounds("total", "Europe/Berlin", utc("2026-03-29T12:00")) == (FROM_THE_START, None)


@given(
    period=st.sampled_from(["day", "week", "month"]),
    zone=st.sampled_from(ZONES),
    at=st.integers(1_100_000_000, 2_200_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
def test_periods_hold_their_instants_and_leave_no_gap(period: str, zone: str, at: datetime):
    start, end = period_bounds(period, zone, at)  # type: ignore[arg-type]
    assert end is not None
    assert start <= at < end
    assert period_bounds(period, zone, start) == (start, end)  # type: ignore[arg-type]
    assert period_bounds(period, zone, end - timedelta(microseconds=1)) == (start, end)  # type: ignore[arg-type]
    assert period_bounds(period, zone, end)[0] == end  # type: ignore[arg-type]

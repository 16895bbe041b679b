"""What a scope will have spent by the end of the month, from what it spent so far. Pure.

`expected` is what is spent plus, for the rest of the month, the rate of the last days: a mean of the whole days since
the scope's first spending, four weeks at most, in which a day counts half as much as one a week later. `low` and
`high` hold four of five months if days vary as they did: 1.2816 standard deviations of a sum of that many independent
days, never below what is spent. With fewer than three whole days of history there is no telling: `confident` is false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DAYS: Final = 28  # of history, at most
_HALF_LIFE_DAYS: Final = 7.0
_FOUR_OF_FIVE: Final = 1.2816  # the normal distribution's 90th percentile: a tenth lies above, a tenth below
_ENOUGH_DAYS: Final = 3
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Nano-USD by the end of the month."""

    month_ends_at: datetime
    spent_nanos: int
    expected_nanos: int
    low_nanos: int
    high_nanos: int
    daily_nanos: int  # the weighted rate
    days: int  # whole days of history behind it
    confident: bool
    limit_reached_at: datetime | None  # at the expected rate; None: not this month


def forecast(
    days: Sequence[int],
    *,
    spent_nanos: int,
    today_nanos: int,
    now: datetime,
    month_ends_at: datetime,
    limit_nanos: int | None = None,
    elapsed_days: float = 1.0,
) -> Forecast:
    """`days` are the whole days before today, the oldest first, in nano-USD; leading days without spending don't count.

    `elapsed_days` is how much of today is over: where there is no history yet, today's rate is all there is.
    """
    history = _since_first(days)
    rate, deviation = _weighted(history) if history else (today_nanos / max(elapsed_days, 1 / 24), 0.0)
    left = max(0.0, (month_ends_at - now) / _DAY)
    expected = spent_nanos + rate * left
    margin = _FOUR_OF_FIVE * deviation * math.sqrt(left)
    return Forecast(
        month_ends_at=month_ends_at,
        spent_nanos=spent_nanos,
        expected_nanos=round(expected),
        low_nanos=max(spent_nanos, round(expected - margin)),
        high_nanos=round(expected + margin),
        daily_nanos=round(rate),
        days=len(history),
        confident=len(history) >= _ENOUGH_DAYS,
        limit_reached_at=_when(limit_nanos, spent_nanos, rate, now, month_ends_at),
    )


def _since_first(days: Sequence[int]) -> Sequence[int]:
    first = next((at for at, nanos in enumerate(days) if nanos), len(days))
    return days[first:][-DAYS:]


def _weighted(history: Sequence[int]) -> tuple[float, float]:
    """The mean of a day and its standard deviation."""
    weights = [0.5 ** ((len(history) - 1 - at) / _HALF_LIFE_DAYS) for at in range(len(history))]
    total = sum(weights)
    mean = sum(weight * nanos for weight, nanos in zip(weights, history, strict=True)) / total
    variance = sum(weight * (nanos - mean) ** 2 for weight, nanos in zip(weights, history, strict=True)) / total
    return mean, math.sqrt(variance)


def _when(limit: int | None, spent: int, rate: float, now: datetime, month_ends_at: datetime) -> datetime | None:
    if limit is None:
        return None
    if spent >= limit:
        return now
    at = now + min((limit - spent) / rate, 366.0) * _DAY if rate > 0 else month_ends_at
    return at if at < month_ends_at else None

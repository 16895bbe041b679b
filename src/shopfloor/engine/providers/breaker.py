"""When a provider's model is left alone for a while, and how it is tried again. Pure: times come in, decisions go out.

closed -> open when too many of its last calls failed; open -> half-open when its time is over: one call over all
workers tries it; half-open -> closed when that call is answered, else open again, for longer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shopfloor.base.errors import ShopfloorError

BreakerState = Literal["closed", "open", "half-open"]

_SERVER_ERROR = 500
_BUSY = frozenset({408, 425, 429})  # of the statuses below 500: the server's own trouble, not our request's


class BreakerPolicy(BaseModel):
    """When a breaker opens, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_s: float = Field(default=60.0, gt=0)  # the calls that count
    least_calls: int = Field(default=5, ge=1)  # fewer in the window say nothing
    failure_ratio: float = Field(default=0.5, gt=0, le=1)  # of them failed: it opens
    open_s: float = Field(default=10.0, gt=0)  # the first time; doubled at each failed probe
    open_longest_s: float = Field(default=300.0, gt=0)  # unless the provider asks for more
    probe_s: float = Field(default=660.0, gt=0)  # after which a probe whose worker died no longer counts


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one model at one provider with one credential. Calls are counted in two halves of the window."""

    half_started_at: datetime
    calls: int = 0  # in the present half
    failures: int = 0
    calls_before: int = 0  # in the half before
    failures_before: int = 0
    openings: int = 0  # in a row
    opened_at: datetime | None = None
    open_until: datetime | None = None  # None: closed
    probe_until: datetime | None = None  # a probe is under way, at most until then
    closed_at: datetime | None = None  # when it last closed

    def state(self, now: datetime) -> BreakerState:
        """Where it stands at `now`."""
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half-open"


@dataclass(frozen=True, slots=True)
class Calls:
    """What a worker has seen since it last told. `asked_wait_s` is the longest wait that a provider asked for."""

    answered: int = 0
    failed: int = 0
    asked_wait_s: float = 0.0


def is_providers_failure(error: ShopfloorError) -> bool:
    """Whether a failed call speaks against the provider: overload, outage, time-out, cut. A refusal is an answer."""
    status = error.facts.get("http_status")
    theirs = not isinstance(status, int) or status >= _SERVER_ERROR or status in _BUSY
    return error.retryable and theirs


def after(
    breaker: Breaker, calls: Calls, policy: BreakerPolicy, *, now: datetime, chance: random.Random, probe: bool = False
) -> Breaker:
    """The breaker once `calls` are counted. `probe`: they are the one call that tried a half-open one.

    Calls that left before it opened and end while it is open change nothing: they say what is known.
    """
    if breaker.open_until is not None:
        if not probe:
            return breaker
        return _closed(breaker, now) if calls.answered else _opened(breaker, calls, policy, now, chance)
    counted = _counted(breaker, calls, policy, now)
    total = counted.calls + counted.calls_before
    failures = counted.failures + counted.failures_before
    if calls.failed and total >= policy.least_calls and failures >= policy.failure_ratio * total:
        return _opened(counted, calls, policy, now, chance)
    return counted


def probing(breaker: Breaker, policy: BreakerPolicy, *, now: datetime) -> Breaker | None:
    """The half-open breaker with its one probe taken; None if it isn't to be had."""
    taken = breaker.probe_until is not None and now < breaker.probe_until
    if breaker.state(now) != "half-open" or taken:
        return None
    return replace(breaker, probe_until=now + timedelta(seconds=policy.probe_s))


def probe_given_back(breaker: Breaker) -> Breaker:
    """As before the probe: its call was never made, or was broken off by us."""
    return replace(breaker, probe_until=None)


def open_s(openings: int, policy: BreakerPolicy, *, asked_wait_s: float, chance: random.Random) -> float:
    """Seconds to stay open at the `openings`-th opening in a row (1-based): exponential with equal jitter.

    Never less than the provider asked for. Source: AWS Architecture Blog, 'Exponential Backoff And Jitter'.
    """
    ceiling = min(policy.open_longest_s, policy.open_s * 2 ** min(openings - 1, 30))
    return max(asked_wait_s, ceiling * chance.uniform(0.5, 1.0))


def as_columns(breaker: Breaker) -> dict[str, Any]:
    """Field by field, for a store."""
    return {name: getattr(breaker, name) for name in Breaker.__dataclass_fields__}


def _counted(breaker: Breaker, calls: Calls, policy: BreakerPolicy, now: datetime) -> Breaker:
    half = timedelta(seconds=policy.window_s / 2)
    age = now - breaker.half_started_at
    if age >= 2 * half:
        breaker = Breaker(now, openings=breaker.openings, closed_at=breaker.closed_at, opened_at=breaker.opened_at)
    elif age >= half:
        breaker = replace(
            breaker,
            half_started_at=now, calls=0, failures=0, calls_before=breaker.calls, failures_before=breaker.failures,
        )  # fmt: skip
    return replace(
        breaker,
        calls=breaker.calls + calls.answered + calls.failed,
        failures=breaker.failures + calls.failed,
    )


def _opened(breaker: Breaker, calls: Calls, policy: BreakerPolicy, now: datetime, chance: random.Random) -> Breaker:
    openings = breaker.openings + 1
    stay_s = open_s(openings, policy, asked_wait_s=calls.asked_wait_s, chance=chance)
    return replace(
        breaker,
        openings=openings,
        opened_at=breaker.opened_at if breaker.open_until else now,
        open_until=now + timedelta(seconds=stay_s),
        probe_until=None,
    )


def _closed(breaker: Breaker, now: datetime) -> Breaker:
    return Breaker(now, opened_at=breaker.opened_at, closed_at=now)

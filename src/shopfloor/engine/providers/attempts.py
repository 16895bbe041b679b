"""When to try again, where, and how long to wait. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from shopfloor.base.errors import ShopfloorError
from shopfloor.engine.providers.gate import ProviderCrowded, ProviderResting
from shopfloor.engine.providers.port import ProviderError, ProviderRefused

Verdict = Literal["retry", "fail-over", "raise"]


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Bounds of one turn's calls."""

    timeout_s: float = 600.0  # one attempt
    attempts: int = 3  # per candidate
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    wait_cap_s: float = 60.0  # a provider that asks for more is left for the next candidate, or the job is parked
    limit_wait_s: float = 30.0  # for room within a provider's limits, before the next candidate or parking
    limit_wait_with_fallback_s: float = 2.0  # the same while another candidate could be asked instead


def verdict(error: ShopfloorError, attempt: int, policy: CallPolicy, *, fallback: bool = False) -> Verdict:
    """What follows attempt `attempt` (1-based) at one candidate. `fallback`: another one is there that may answer."""
    if isinstance(error, ProviderRefused):
        return "raise" if error.facts.get("reason") == "request" else "fail-over"
    if not error.retryable:
        return "raise"
    if fallback or isinstance(error, ProviderResting | ProviderCrowded):
        return "fail-over"  # waiting here would cost time that the next one doesn't
    asked = asked_wait_s(error)
    if attempt >= policy.attempts or (asked is not None and asked > policy.wait_cap_s):
        return "fail-over"
    return "retry"


def wait_s(error: ShopfloorError, attempt: int, policy: CallPolicy, rng: random.Random) -> float:
    """Seconds before the attempt after `attempt`, with full jitter; never less than the provider asked for.

    Source: AWS Builders' Library, 'Timeouts, retries, and backoff with jitter'.
    """
    ceiling = min(policy.backoff_cap_s, policy.backoff_base_s * 2 ** (attempt - 1))
    return (asked_wait_s(error) or 0.0) + rng.uniform(0, ceiling)


def asked_wait_s(error: ShopfloorError) -> float | None:
    """What the provider asked for, if it did."""
    asked = error.facts.get("retry_after_s") if isinstance(error, ProviderError) else None
    return asked if isinstance(asked, float) else None

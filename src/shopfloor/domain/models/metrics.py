"""What this room counts for `/metrics`."""

from __future__ import annotations

from shopfloor.infra.metrics import counter, gauge, histogram

BREAKERS = gauge(
    "shopfloor_provider_breakers", "Models of providers that are left alone, over all organizations.", ["state"]
)
BREAKER_CHANGES = counter(
    "shopfloor_provider_breaker_changes_total", "Breakers that this process opened or closed.", ["model", "to"]
)
BREAKER_REFUSED = counter(
    "shopfloor_provider_breaker_refused_total", "Calls not made because a breaker was open.", ["model"]
)
LIMIT_WAIT = histogram("shopfloor_provider_limit_wait_seconds", "Calls' wait for room within a provider's limits.")

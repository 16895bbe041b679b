"""How a provider does: its models' breakers, what its limits have used, and over the installation for /healthz."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from shopfloor.domain.models import breakers, limits, metrics
from shopfloor.domain.models.breakers import StoredBreaker
from shopfloor.domain.models.models import Provider
from shopfloor.domain.models.providers import find_provider
from shopfloor.engine.providers.limits import Used
from shopfloor.infra.tx import Store, Tx, asking_system
from shopfloor.infra.web.health import Degraded


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """One provider and what is known of it."""

    provider: Provider
    breakers: list[StoredBreaker]  # of models that were called
    used: Used


async def provider_health(tx: Tx, provider_id: UUID) -> ProviderHealth:
    """Raises: ProviderNotFound, PermissionDenied."""
    provider = await find_provider(tx, provider_id)
    return ProviderHealth(provider, await breakers.of_provider(tx, provider_id), await limits.used(tx, provider_id))


async def providers_answer(store: Store) -> str:
    """For /healthz, which is everybody's: how many, not whose. Raises: Degraded."""
    async with asking_system(store) as tx:
        found = await breakers.open_ones(tx)
    waiting = sum(each.left_s > 0 for each in found)
    metrics.BREAKERS.labels("open").set(waiting)
    metrics.BREAKERS.labels("half-open").set(len(found) - waiting)
    if found:
        raise Degraded(
            f"{len(found)} model(s) of providers fail and are left alone for a while. Jobs go to the next model of "
            "their chain or wait. GET /api/v1/providers/{id}/health shows which"
        )
    return ""

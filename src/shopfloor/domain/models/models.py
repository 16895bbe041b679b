"""The rows of this room, as the queries return them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from shopfloor.engine.providers.limits import CallLimits
from shopfloor.engine.providers.port import Price, ProviderKind, ServiceTier, Unit

Origin = Literal["api", "environment"]


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that an organization allows of a provider, with what the provider itself may not tell."""

    name: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider as one organization has set it up."""

    id: UUID
    name: str
    kind: ProviderKind
    base_url: str | None
    region: str | None
    sealed_key: bytes | None = field(repr=False)
    models: list[dict[str, Any]]  # OfferedModel as JSON. Empty: whatever the provider offers
    origin: Origin
    limits: dict[str, int]  # CallLimits as JSON: only what is set
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def offered(self) -> list[OfferedModel]:
        """`models`, typed."""
        return [OfferedModel(**model) for model in self.models]

    @property
    def call_limits(self) -> CallLimits:
        """`limits`, typed."""
        return CallLimits(**self.limits)


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One dated price. Rows are only ever added."""

    id: UUID
    provider: str
    model: str  # or a pattern of the organization's own: `gpt-5*`
    service_tier: ServiceTier
    region: str | None  # of the provider; None: wherever nothing else is set
    picos: dict[Unit, int]  # pico-USD per unit
    tiers: list[tuple[int, dict[Unit, int]]]  # above this many input tokens in all: prices that replace
    valid_from: datetime
    source: str  # `organization`, or the seed and its version
    created_at: datetime

    def covers(self, model: str) -> bool:
        """Whether `model` is meant: each `*` of a pattern stands for any characters, everything else for itself."""
        return covers(self.model, model)

    def as_price(self) -> Price:
        """As the engine takes it."""
        tiers = tuple((above, rates) for above, rates in self.tiers)
        return Price(
            self.model, self.picos, self.valid_from, self.source, tiers, self.service_tier, self.region, id=self.id
        )


def covers(pattern: str, model: str) -> bool:
    """Whether a model's name is `pattern`, or fits it."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), model) is not None

"""What stands between a chain and a provider: breakers and limits, shared with whoever else calls it.

The chain asks before each call and says after it how it went. The platform's own gate is `domain/models/gate.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol
from uuid import UUID

from shopfloor.base.errors import ShopfloorError
from shopfloor.engine.providers.limits import CallLimits
from shopfloor.engine.providers.port import ProviderError, ProviderOverloaded

Change = Literal["opened", "closed"]


class ProviderResting(ProviderError):
    """Too many of its last calls failed, so it is left alone for a while; `facts['retry_after_s']` says how long."""

    title: ClassVar[str] = "The model provider is left alone for a while"


class ProviderCrowded(ProviderOverloaded):
    """The provider's limits leave no room for another call in time; `facts['retry_after_s']` says when to ask again."""

    title: ClassVar[str] = "The model provider's limits are used up"


@dataclass(frozen=True, slots=True)
class Lane:
    """What breakers and limits are kept for: a model at a provider, called with one credential."""

    organization_id: UUID
    provider_id: UUID
    provider: str  # its name
    model: str
    credential: str  # tells one key from the next; not the key
    limits: CallLimits = field(default_factory=CallLimits)

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Pass:
    """A call that may be made. It is handed back when the call has ended, whatever became of it."""

    lane: Lane
    probe: bool = False  # it tries a half-open breaker
    ticket: UUID | None = None  # its place within the configured limits
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: answered (a refusal is an answer), or why not; neither: it was never made, or broken off."""

    answered: bool = False
    error: ShopfloorError | None = None
    tokens: int | None = None  # what it used, if that is known


class Gate(Protocol):
    """Who may call what, when."""

    def rests_s(self, lane: Lane) -> float:
        """How long the lane is left alone still, as far as is known here; 0: it may be called. No waiting, no I/O."""
        ...

    async def enter(self, lane: Lane, *, tokens: int, patience_s: float) -> Pass:
        """May wait in order, up to `patience_s`. Raises: ProviderResting, ProviderCrowded."""
        ...

    async def leave(self, taken: Pass, ended: Ended) -> Change | None:
        """Hand the pass back; whether that opened or closed the breaker. A store that is away is no error here."""
        ...

    def hear(self, lane: Lane, headers: Mapping[str, str]) -> None:
        """The headers of an answer, whose limits are kept from now on."""
        ...

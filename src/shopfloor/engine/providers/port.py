"""The port of the providers: what a model is, what a call used, what it cost, and who pays for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol

from shopfloor.base.errors import InvalidInput, ShopfloorError, Unavailable

ProviderKind = Literal[
    "openai", "anthropic", "google", "xai", "groq", "mistral", "bedrock", "openrouter", "openai-compatible", "mock"
]
Unit = Literal[
    "input",
    "cache-read",
    "cache-write-5m",
    "cache-write-1h",
    "output",
    "reasoning",
    "audio-input",
    "audio-output",
    "request",
    "tool-call",
]
ServiceTier = Literal["standard", "batch", "flex", "priority"]


@dataclass(frozen=True, slots=True)
class ModelRef:
    """`provider/model`. The provider is the name an organization gave it; the model may hold further slashes."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Raises: InvalidInput if it is not `provider/model`."""
        provider, slash, model = text.strip().partition("/")
        if not (provider and slash and model):
            raise InvalidInput(
                f"{text!r} is not a model: write it as provider/model, e.g. anthropic/claude-sonnet-5", model=text
            )
        return cls(provider, model)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call in disjoint classes: each token is in exactly one of them."""

    input_tokens: int = 0  # uncached
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0  # without reasoning
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    requests: int = 1
    tool_calls: int = 0  # of the provider's own tools that it bills by the call, such as a web search

    @property
    def total_tokens(self) -> int:
        """All classes."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
            + self.output_tokens
            + self.reasoning_tokens
            + self.audio_input_tokens
            + self.audio_output_tokens
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """What reaches a provider for one organization. Never logged: `repr` leaves the key out."""

    name: str  # the organization's name for it, the first half of a ModelRef
    kind: ProviderKind
    api_key: str
    base_url: str | None = None
    region: str | None = None  # bedrock

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r}, kind={self.kind!r}, base_url={self.base_url!r})"


@dataclass(frozen=True, slots=True)
class Price:
    """Pico-USD per unit for one model at one time; tiers by context size.

    `input` and `output` are needed. A class without its own price costs what its nearest relative does (see `pricing`).
    """

    model: str
    picos: dict[Unit, int]
    valid_from: datetime
    source: str  # "organization", or the seed and its version
    tiers: tuple[tuple[int, dict[Unit, int]], ...] = ()  # (above this many input tokens in all, prices that replace)
    service_tier: ServiceTier = "standard"
    region: str | None = None  # None: wherever nothing else is set
    variants: tuple[Price, ...] = field(default=(), compare=False)  # the same model at other service tiers
    id: object | None = field(default=None, compare=False)  # of the row that says so


class PriceUnknown(InvalidInput):
    """No price is known for this model, so its cost can't be bounded and it isn't called."""

    title: ClassVar[str] = "The model has no price"


class ModelUnknown(InvalidInput):
    """The provider does not offer this model to this key."""

    title: ClassVar[str] = "Unknown model"


class ProviderError(Unavailable):
    """The provider failed in a way that a later call may not."""

    title: ClassVar[str] = "The model provider failed"


class ProviderOverloaded(ProviderError):
    """429, 529 or 503: `facts['retry_after_s']` holds what the provider asked for, if it did."""

    title: ClassVar[str] = "The model provider is overloaded or limits this key"


class ProviderTimeout(ProviderError):
    """No answer within the time limit of a model call."""

    title: ClassVar[str] = "The model provider did not answer in time"


class ProviderRefused(ShopfloorError):
    """The provider refuses for good; `facts['reason']` says what: `key`, `money` or `request`."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The model provider refuses"


class ContextTooLong(ShopfloorError):
    """The conversation no longer fits the model's context; the loop compacts and goes on."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The conversation is too long for the model"


class CostLimitReached(ShopfloorError):
    """The next call could pass the job's cost limit or a budget, so it isn't made."""

    status: ClassVar[int] = 402
    title: ClassVar[str] = "The cost limit is reached"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that is about to leave."""

    model: ModelRef
    number: int  # 1-based, within one turn
    bound_nanos: int  # no bill for it can be higher
    max_output_tokens: int
    price_id: object | None = None  # of the row by which it is rated


HoldId = object


class Meter(Protocol):
    """Who pays: money is held before a request leaves, and settled once when its fate is known."""

    async def hold(self, attempt: Attempt) -> HoldId:
        """Set `bound_nanos` aside. May wait in order.

        Raises: CostLimitReached; with `facts['available_nanos']` if a smaller bound would fit at this moment.
        """
        ...

    async def settle(self, hold: HoldId, usage: Usage, cost_nanos: int) -> None:
        """The reply came: book what it cost, free the rest."""
        ...

    async def release(self, hold: HoldId, reason: str) -> None:
        """The provider certainly did not bill it (it never left, or was refused with an error status)."""
        ...

    async def unknown(self, hold: HoldId, reason: str) -> None:
        """It may have been billed (time-out, cut connection, cancel, kill): book the bound until corrected."""
        ...

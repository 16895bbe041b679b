"""What goes in and out of this room over HTTP. Keys only ever go in."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from shopfloor.base.money import picos_per_unit
from shopfloor.domain.models.models import OfferedModel, Origin, PriceRow, Provider
from shopfloor.domain.models.prices import NewPrice
from shopfloor.domain.models.providers import NewProvider, ProviderChange
from shopfloor.engine.providers.limits import CallLimits
from shopfloor.engine.providers.port import ProviderKind, ServiceTier, Unit
from shopfloor.infra.web.json_body import Body, Reply
from shopfloor.infra.web.wording import worded

_PROVIDER = "Write 1 to 63 lower-case letters, digits, dots, underscores and hyphens, a letter or digit first."
_MODEL = "Write 1 to 200 characters without spaces and commas."
ProviderName = Annotated[str, StringConstraints(pattern=worded(r"^[a-z0-9][a-z0-9._-]{0,62}$", _PROVIDER))]
ModelName = Annotated[str, StringConstraints(pattern=worded(r"^[^\s,]{1,200}$", _MODEL))]
Url = Annotated[str, StringConstraints(min_length=8, max_length=2_048)]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{2,40}$")]
Key = Annotated[SecretStr, Field(min_length=1, max_length=8_192)]
_BY_CALL = {"request", "tool-call"}
_MOST_A_TOKEN = 1_000_000  # USD a million
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]

ProviderStatus = Literal["ok", "degraded"]

_PICOS_PER_USD_A_MILLION = 1_000_000


class ModelSetting(Body):
    """A model to allow, with its sizes where the provider doesn't tell them."""

    name: ModelName
    context_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None


class LimitsBody(Body):
    """How many calls at once, and how much in a minute, over all workers. Null: no limit of your own."""

    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = None
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1, le=10_000_000_000)] | None = None


class LimitsReply(Reply):
    """The limits of an organization's own at a provider."""

    concurrency: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None


class ProviderNew(Body):
    """A provider to add."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "anthropic", "kind": "anthropic", "api_key": "sk-ant-EXAMPLE"},
                {
                    "name": "local",
                    "kind": "openai-compatible",
                    "base_url": "http://127.0.0.1:11434/v1",
                    "models": [{"name": "qwen3-coder:30b", "context_tokens": 65536}],
                },
            ]
        }
    )

    name: ProviderName = Field(description="The first half of `provider/model`; it never changes.")
    kind: ProviderKind
    api_key: Key | None = Field(default=None, description="Stored encrypted, never shown again.")
    base_url: Url | None = Field(default=None, description="Null: the provider's own public service.")
    region: Region | None = Field(default=None, description="For bedrock.")
    models: list[ModelName | ModelSetting] = Field(
        default=[], max_length=500, description="If not empty, only these may be used."
    )
    limits: LimitsBody = LimitsBody()


class ProviderPatch(Body):
    """What to change. What is left out stays; a new `base_url` needs the `api_key` in the same request."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"api_key": "sk-ant-EXAMPLE"}]})

    api_key: Key | None = None
    base_url: Url | None = None
    region: Region | None = None
    models: list[ModelName | ModelSetting] = Field(default=[], max_length=500)
    limits: LimitsBody = Field(default=LimitsBody(), description="As a whole: what it leaves out has no limit.")


class ModelSettingReply(Reply):
    """A model that is allowed."""

    name: str
    context_tokens: int | None
    max_output_tokens: int | None


class ProviderReply(Reply):
    """A provider as it is set up. Its key is never part of an answer."""

    id: UUID
    name: str
    kind: ProviderKind
    base_url: str | None
    region: str | None
    key_set: bool
    models: list[ModelSettingReply]
    limits: LimitsReply
    origin: Origin
    version: int
    created_at: datetime
    updated_at: datetime


class ProviderListed(ProviderReply):
    """A provider in the list, with how it does."""

    health: ProviderStatus


class ProviderTest(Body):
    """What to try. Without a model only the key and the address are tried, which costs nothing."""

    model: ModelName | None = Field(default=None, description="One short message is sent to it, at its price.")


class TestError(Reply):
    """Why it failed, and what to do."""

    code: str
    detail: str


class ProviderTestReply(Reply):
    """How the test went. A provider that refuses is an answer, not an error."""

    ok: bool
    model: str | None
    latency_s: float
    total_tokens: int | None = Field(description="What the test call used; null if none was made or nothing reported.")
    error: TestError | None


class ModelReply(Reply):
    """A model that can be named in a job."""

    ref: str = Field(description="`provider/model`, as jobs and projects name it.")
    provider: str
    model: str
    context_tokens: int | None
    max_output_tokens: int | None
    priced: bool = Field(description="False: set a price first, else a job that names it is refused.")


class ProviderDown(Reply):
    """A provider whose list could not be had."""

    provider: str
    code: str
    detail: str


class ModelsPage(Reply):
    """Models by provider and name. `unavailable` names the providers that are missing from the list, and why."""

    items: list[ModelReply]
    next_cursor: str | None = None
    unavailable: list[ProviderDown]


class PriceNew(Body):
    """One unit's price of one model, or a multiple of all that holds; other units stay as they are."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"provider": "local", "model": "qwen3-coder:30b", "unit": "input", "usd_per_million": "0.10"}]
        }
    )

    provider: ProviderName
    model: ModelName = Field(description="A name, or a pattern for models that nothing narrower is set for: `gpt-5*`.")
    unit: Unit | None = Field(
        default=None, description="`request` is by request, `tool-call` by call of a provider's tool, others by token."
    )
    usd_per_million: Decimal | None = Field(
        default=None, ge=0, le=10_000_000_000, max_digits=16, decimal_places=6, description="0 if it is free."
    )
    times: Decimal | None = Field(
        default=None, gt=0, le=1_000, max_digits=10, decimal_places=6,
        description="In place of unit and price: every token's price that holds, times this. E.g. 1.1 for a region.",
    )  # fmt: skip
    above_input_tokens: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Only of calls with more input than this. Null: at any length."
    )
    valid_from: AwareDatetime | None = Field(default=None, description="Null: from now on.")
    service_tier: ServiceTier = "standard"
    region: Region | None = Field(default=None, description="Of the provider. Null: wherever nothing else is set.")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        by_unit = (self.unit is not None, self.usd_per_million is not None)
        if all(by_unit) == (self.times is not None) or any(by_unit) != all(by_unit):
            raise ValueError("name unit and usd_per_million, or times")
        if self.unit not in _BY_CALL and self.usd_per_million is not None and self.usd_per_million > _MOST_A_TOKEN:
            raise ValueError("a token costs 1 USD at most: usd_per_million is the price of a million of them")
        if self.times is not None and self.above_input_tokens is not None:
            raise ValueError("times holds at every length: leave out above_input_tokens")
        return self


class TierReply(Reply):
    """Prices that replace the others above a length."""

    above_input_tokens: int
    usd_per_million: dict[Unit, str]


class PriceReply(Reply):
    """One dated price of one model."""

    id: UUID
    provider: str
    model: str
    service_tier: ServiceTier
    region: str | None
    usd_per_million: dict[Unit, str]
    tiers: list[TierReply]
    valid_from: datetime
    source: str = Field(description="`organization`, or the price list and its version.")
    created_at: datetime


def new_provider(body: ProviderNew) -> NewProvider:
    """As the room takes it."""
    key = body.api_key.get_secret_value() if body.api_key else None
    models, limits = _offered(body.models), _limits(body.limits)
    return NewProvider(body.name, body.kind, key, body.base_url, body.region, models, limits)


def provider_change(body: ProviderPatch) -> ProviderChange:
    """As the room takes it."""
    key = body.api_key.get_secret_value() if body.api_key else None
    models, limits = _offered(body.models), _limits(body.limits)
    return ProviderChange(frozenset(body.model_fields_set), key, body.base_url, body.region, models, limits)


def provider_reply(provider: Provider) -> ProviderReply:
    """As HTTP shows it."""
    return ProviderReply(
        id=provider.id,
        name=provider.name,
        kind=provider.kind,
        base_url=provider.base_url,
        region=provider.region,
        key_set=provider.sealed_key is not None,
        models=[ModelSettingReply.model_validate(model) for model in provider.offered],
        limits=LimitsReply.model_validate(provider.call_limits),
        origin=provider.origin,
        version=provider.version,
        created_at=provider.created_at,
        updated_at=provider.updated_at,
    )


def new_price(body: PriceNew) -> NewPrice:
    """As the room takes it."""
    picos: dict[Unit, int] = {}
    if body.unit is not None and body.usd_per_million is not None:
        picos[body.unit] = picos_per_unit(body.usd_per_million)
    times = None if body.times is None else Fraction(body.times)
    return NewPrice(picos, times, body.above_input_tokens, body.valid_from, body.service_tier, body.region)


def price_reply(row: PriceRow) -> PriceReply:
    """As HTTP shows it."""
    return PriceReply(
        id=row.id,
        provider=row.provider,
        model=row.model,
        service_tier=row.service_tier,
        region=row.region,
        usd_per_million=_usd(row.picos),
        tiers=[TierReply(above_input_tokens=above, usd_per_million=_usd(rates)) for above, rates in row.tiers],
        valid_from=row.valid_from,
        source=row.source,
        created_at=row.created_at,
    )


def _usd(picos: dict[Unit, int]) -> dict[Unit, str]:
    return {unit: f"{Decimal(each) / _PICOS_PER_USD_A_MILLION:f}" for unit, each in picos.items()}


def provider_listed(provider: Provider, *, healthy: bool) -> ProviderListed:
    """As the list shows it."""
    return ProviderListed(**provider_reply(provider).model_dump(), health="ok" if healthy else "degraded")


def _limits(body: LimitsBody) -> CallLimits:
    return CallLimits(**body.model_dump())


def _offered(models: list[str | ModelSetting]) -> tuple[OfferedModel, ...]:
    return tuple(
        OfferedModel(model) if isinstance(model, str) else OfferedModel(**model.model_dump()) for model in models
    )

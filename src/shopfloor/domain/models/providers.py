"""Providers: add, change, remove, and open the key of one for a call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from shopfloor.base.clock import Clock
from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.domain.models import breakers, store
from shopfloor.domain.models.errors import ProviderNameTaken, ProviderNotFound, ProviderUnknown
from shopfloor.domain.models.models import OfferedModel, Origin, Provider
from shopfloor.engine.providers.catalogue import credentials_from_env, environment_variables, kinds
from shopfloor.engine.providers.http_client import Transport
from shopfloor.engine.providers.limits import CallLimits
from shopfloor.engine.providers.model_list import ModelLists
from shopfloor.engine.providers.port import Credentials, ModelRef, ProviderKind
from shopfloor.infra.outbound import GuardedTransport, OutboundLimits, OutboundRules, check_url
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.secrets.port import Sealer
from shopfloor.infra.tx import Tx

KEYLESS: Final[frozenset[ProviderKind]] = frozenset({"openai-compatible", "mock"})
_MOST_NAMED = 20  # in an error text
_NAMED_BY_ENVIRONMENT: Final = {*kinds(), "ollama"}  # one name a key, although some keys answer to two
_KEYS: Final = register_sealed("providers", "sealed_key")
SELF_HOSTED: Final[frozenset[ProviderKind]] = frozenset({"openai-compatible", "mock"})


@dataclass(frozen=True, slots=True)
class ProviderDesk:
    """How this installation reaches providers. One a process."""

    rules: OutboundRules
    lists: ModelLists
    clock: Clock
    limits: OutboundLimits = field(default_factory=OutboundLimits)

    @property
    def transport(self) -> Transport:
        """Carries every request to a provider whose address a user may have given."""
        return lambda: GuardedTransport(self.rules, self.limits)

    async def check_address(self, base_url: str | None) -> None:
        """Before a transaction begins: it asks the name service. Raises: UrlRefused, HostUnknown, HostUnresolved."""
        if base_url is not None:
            await check_url(base_url, self.rules)


@dataclass(frozen=True, slots=True)
class NewProvider:
    """A provider to add. `repr` leaves the key out."""

    name: str
    kind: ProviderKind
    api_key: str | None = None
    base_url: str | None = None
    region: str | None = None  # bedrock
    models: tuple[OfferedModel, ...] = ()
    limits: CallLimits = field(default_factory=CallLimits)

    def __repr__(self) -> str:
        return f"NewProvider(name={self.name!r}, kind={self.kind!r}, base_url={self.base_url!r})"


@dataclass(frozen=True, slots=True)
class ProviderChange:
    """Fields to change; what isn't named in `given` stays."""

    given: frozenset[str]
    api_key: str | None = None
    base_url: str | None = None
    region: str | None = None
    models: tuple[OfferedModel, ...] = ()
    limits: CallLimits = field(default_factory=CallLimits)

    def __repr__(self) -> str:
        return f"ProviderChange(given={sorted(self.given)})"


def provider_desk(*, allow_private: bool, clock: Clock, list_ttl_s: float = 600.0) -> ProviderDesk:
    """Public addresses over TLS only, unless `allow_private`: then also private ones, and plain HTTP."""
    schemes = frozenset({"https", "http"} if allow_private else {"https"})
    return ProviderDesk(
        OutboundRules(schemes, allow_private=allow_private), ModelLists(clock=clock, ttl_s=list_ttl_s), clock
    )


async def add_provider(tx: Tx, sealer: Sealer, new: NewProvider, *, origin: Origin = "api") -> Provider:
    """The new provider; its address was checked before. It takes the place of one that `run` made by itself.

    Raises: PermissionDenied, InvalidInput, ProviderNameTaken.
    """
    tx.require("provider.edit")
    _refuse_missing(new.kind, new.name, has_key=bool(new.api_key), base_url=new.base_url, region=new.region)
    provider_id, now = new_id(), tx.clock.now()
    row = Provider(
        id=provider_id,
        name=new.name,
        kind=new.kind,
        base_url=new.base_url,
        region=new.region,
        sealed_key=await _sealed(tx, sealer, provider_id, new.api_key),
        models=store.as_json(new.models),
        origin=origin,
        limits=_set_limits(new.limits),
        version=1,
        created_at=now,
        updated_at=now,
    )
    if origin == "api":
        await store.forget_environment(tx, new.name)
    if not await store.add_provider(tx, row):
        raise ProviderNameTaken(
            f"There is a provider {new.name!r} already. Choose another name, or change that one with PATCH."
        )
    await tx.record("provider.added", "provider", provider_id, after={**_told(row), "origin": origin})
    return await find_provider(tx, provider_id)


async def find_provider(tx: Tx, provider_id: UUID) -> Provider:
    """Raises: ProviderNotFound, PermissionDenied."""
    tx.require("provider.read")
    found = await store.provider(tx, provider_id)
    if found is None:
        raise ProviderNotFound(f"There is no provider {provider_id}. GET /api/v1/providers lists yours.")
    return found


async def list_providers(tx: Tx, *, after: str | None, limit: int) -> list[Provider]:
    """By name. Raises: PermissionDenied."""
    tx.require("provider.read")
    return await store.providers(tx, after=after, limit=limit)


async def change_provider(tx: Tx, sealer: Sealer, provider: Provider, change: ProviderChange) -> Provider:
    """It with these fields changed; a new address was checked before.

    Raises: PermissionDenied, PreconditionFailed if somebody was faster, InvalidInput: a new address needs the key anew,
    else whoever may edit providers could have a stored key sent to a server of his own.
    """
    tx.require("provider.edit")
    changed = await _changed(tx, sealer, provider, change)
    if not await store.write_provider(tx, changed):
        raise PreconditionFailed("Somebody changed the provider at the same moment. Read it again, then repeat this.")
    if (provider.sealed_key, provider.base_url) != (changed.sealed_key, changed.base_url):
        await breakers.forget(tx, provider.id)
    before, after = _told(provider), _told(changed)
    if provider.sealed_key != changed.sealed_key:
        after["credential"] = "replaced" if changed.sealed_key else "removed"
    await tx.record("provider.changed", "provider", provider.id, before=before, after=after)
    return await find_provider(tx, provider.id)


async def remove_provider(tx: Tx, provider: Provider) -> None:
    """Remove it and its key. Jobs that name it fail when they call it next. Raises: PermissionDenied."""
    tx.require("provider.edit")
    await store.delete_provider(tx, provider.id)
    await tx.record("provider.removed", "provider", provider.id, before=_told(provider))


async def open_credentials(tx: Tx, sealer: Sealer, provider: Provider) -> Credentials:
    """What calls it. From here on the key is struck out of logs and answers. Raises: SealBroken."""
    key = ""
    if provider.sealed_key is not None:
        key = await sealer.open(tx, tx.organization_id, _KEYS.place(provider.id), provider.sealed_key)
        REDACTOR.remember(key)
    return Credentials(provider.name, provider.kind, key, provider.base_url, provider.region)


async def unknown_provider(tx: Tx, ref: ModelRef) -> ProviderUnknown:
    """The error to raise for a model whose provider the organization doesn't have."""
    known = [provider.name for provider in await store.providers(tx, after=None, limit=_MOST_NAMED + 1)]
    there_are = f"There are: {listed(known)}" if known else "There is none yet"
    return ProviderUnknown(
        f"No provider is named {ref.provider!r}. {there_are}. Add one with `shopfloor provider add {ref.provider} ...` "
        "or POST /api/v1/providers.",
        provider=ref.provider, known=known[:_MOST_NAMED],
    )  # fmt: skip


def listed(names: list[str]) -> str:
    """Names for an error text, not too many."""
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")


async def ensure_env_providers(
    tx: Tx, sealer: Sealer, environ: Mapping[str, str], *, wanted: Collection[str] = ()
) -> list[str]:
    """Provider rows for the keys that a person's environment holds; the names of those written.

    A provider that was added through the API is never touched; one from the environment follows it. `wanted` are
    providers that the person has named: one that isn't there yet and can't be made from the environment is an error.
    Raises: PermissionDenied, InvalidInput that names the variable to set.
    """
    found = _from_environment(environ)
    known = await store.providers_named(tx, [*found, *wanted])
    found |= {name: credentials_from_env(name, environ) for name in wanted if name not in known and name not in found}
    return [name for name, credentials in found.items() if await _follow(tx, sealer, known.get(name), credentials)]


def _from_environment(environ: Mapping[str, str]) -> dict[str, Credentials]:
    """Only what the environment names: an address that nobody set (Ollama's default) makes no provider."""
    found: dict[str, Credentials] = {}
    for name, variables in environment_variables().items():
        if name in _NAMED_BY_ENVIRONMENT and any(environ.get(variable) for variable in variables):
            try:
                found[name] = credentials_from_env(name, environ)
            except InvalidInput:
                continue  # half set, e.g. AWS_REGION alone: nothing this environment can call
    return found


async def _follow(tx: Tx, sealer: Sealer, known: Provider | None, now: Credentials) -> bool:
    new = NewProvider(now.name, now.kind, now.api_key or None, now.base_url, now.region)
    if known is None:
        await add_provider(tx, sealer, new, origin="environment")
        return True
    if known.origin != "environment" or await open_credentials(tx, sealer, known) == now:
        return False
    fields = frozenset({"api_key", "base_url", "region"})
    change = ProviderChange(fields, new.api_key, new.base_url, new.region)
    await change_provider(tx, sealer, known, change)
    return True


async def _changed(tx: Tx, sealer: Sealer, provider: Provider, change: ProviderChange) -> Provider:
    base_url = change.base_url if "base_url" in change.given else provider.base_url
    region = change.region if "region" in change.given else provider.region
    sealed_key = provider.sealed_key
    if "api_key" in change.given:
        sealed_key = await _sealed(tx, sealer, provider.id, change.api_key)
    elif base_url != provider.base_url and sealed_key is not None:
        raise InvalidInput(
            "A new base_url needs the api_key in the same request: a stored key isn't sent to another address. "
            'Send both, or "api_key": null if the new one takes none.'
        )
    _refuse_missing(provider.kind, provider.name, has_key=sealed_key is not None, base_url=base_url, region=region)
    models = store.as_json(change.models) if "models" in change.given else provider.models
    limits = _set_limits(change.limits) if "limits" in change.given else provider.limits
    return replace(provider, base_url=base_url, region=region, sealed_key=sealed_key, models=models, limits=limits)


def _set_limits(limits: CallLimits) -> dict[str, int]:
    return {name: value for name, value in asdict(limits).items() if value is not None}


def _refuse_missing(kind: ProviderKind, name: str, *, has_key: bool, base_url: str | None, region: str | None) -> None:
    if kind not in KEYLESS and not has_key:
        raise InvalidInput(f"A provider of kind {kind} needs an api_key.", provider=name)
    if kind in SELF_HOSTED and base_url is None:
        raise InvalidInput(
            f"A provider of kind {kind} needs a base_url, e.g. http://127.0.0.1:11434/v1 (private addresses need "
            "SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE=true).",
            provider=name,
        )
    if kind == "bedrock" and region is None:
        raise InvalidInput("A provider of kind bedrock needs a region, e.g. eu-central-1.", provider=name)


async def _sealed(tx: Tx, sealer: Sealer, provider_id: UUID, api_key: str | None) -> bytes | None:
    if not api_key:
        return None
    REDACTOR.remember(api_key)
    return await sealer.seal(tx, tx.organization_id, _KEYS.place(provider_id), api_key)


def _told(provider: Provider) -> dict[str, Any]:
    """For the record: everything but the key."""
    return {name: getattr(provider, name) for name in ("name", "kind", "base_url", "region", "models", "limits")}

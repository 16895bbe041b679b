"""Which models can be named in a job: what is set up, else what each provider itself lists."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.models import store
from shopfloor.domain.models.models import OfferedModel, Provider, covers
from shopfloor.domain.models.providers import ProviderDesk, open_credentials
from shopfloor.engine.providers.port import Credentials, PriceUnknown
from shopfloor.engine.providers.probe import Probe, probe
from shopfloor.engine.providers.seed import seeded
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Tx

_MOST_PROVIDERS = 200


@dataclass(frozen=True, slots=True)
class Source:
    """A provider, ready to be asked outside the transaction."""

    provider: Provider
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Listing:
    """All models of some providers, by provider and name, and the providers that did not answer."""

    models: list[tuple[Source, OfferedModel]]
    unavailable: list[tuple[str, ShopfloorError]]


async def sources(tx: Tx, sealer: Sealer, *, only: str | None = None) -> list[Source]:
    """Every provider, or the one of this name. Raises: PermissionDenied."""
    tx.require("provider.read")
    if only is None:
        found = await store.providers(tx, after=None, limit=_MOST_PROVIDERS)
    else:
        found = list((await store.providers_named(tx, [only])).values())
    return [Source(provider, await open_credentials(tx, sealer, provider)) for provider in found]


async def listing(desk: ProviderDesk, asked: list[Source]) -> Listing:
    """Ask all at once; no transaction is open. One that is down leaves the others' models."""
    answers = await asyncio.gather(*(_models_of(desk, source) for source in asked))
    models = [
        (source, model)
        for source, answer in zip(asked, answers, strict=True)
        if not isinstance(answer, ShopfloorError)
        for model in answer
    ]
    down = [
        (source.provider.name, answer)
        for source, answer in zip(asked, answers, strict=True)
        if isinstance(answer, ShopfloorError)
    ]
    return Listing(sorted(models, key=lambda each: (each[0].provider.name, each[1].name)), down)


async def try_out(desk: ProviderDesk, source: Source, model: str | None) -> Probe:
    """A test call to `model`; without one only the list of models is asked for, which costs nothing."""
    clock = desk.clock
    if model is not None:
        return await probe(source.credentials, model, clock=clock, transport=desk.transport)
    started = clock.monotonic()
    try:
        await desk.lists.of(source.credentials, transport=desk.transport, fresh=True)
    except ShopfloorError as error:
        return Probe(ok=False, latency_s=clock.monotonic() - started, error=error)
    return Probe(ok=True, latency_s=clock.monotonic() - started)


async def priced(tx: Tx, models: list[tuple[Source, OfferedModel]]) -> set[tuple[str, str]]:
    """Which of these have a price in force: `(provider, model)`."""
    own = await store.own_priced(tx, sorted({source.provider.name for source, _ in models}))
    return {
        (source.provider.name, model.name)
        for source, model in models
        if any(source.provider.name == provider and covers(name, model.name) for provider, name in own)
        or _in_seed(tx, source.credentials, model.name)
    }


async def _models_of(desk: ProviderDesk, source: Source) -> list[OfferedModel] | ShopfloorError:
    if source.provider.models:
        return source.provider.offered
    try:
        found = await desk.lists.of(source.credentials, transport=desk.transport)
    except ShopfloorError as error:
        return error
    return [OfferedModel(model.id, model.context_tokens, model.max_output_tokens) for model in found]


def _in_seed(tx: Tx, credentials: Credentials, model: str) -> bool:
    try:
        seeded(credentials, model, tx.clock.now())
    except PriceUnknown:
        return False
    return True

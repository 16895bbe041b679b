"""From a model's name to what can call it: credentials opened, price in force, sizes known."""

from __future__ import annotations

from collections.abc import Sequence

from shopfloor.domain.models import store
from shopfloor.domain.models.errors import ModelNotOffered
from shopfloor.domain.models.gate import credential_print
from shopfloor.domain.models.models import OfferedModel, Provider
from shopfloor.domain.models.prices import price_in_force
from shopfloor.domain.models.providers import listed, open_credentials, unknown_provider
from shopfloor.engine.providers.chain import Candidate, default_max_output
from shopfloor.engine.providers.gate import Lane
from shopfloor.engine.providers.port import Credentials, ModelRef, PriceUnknown
from shopfloor.engine.providers.profiles import ModelProfiles
from shopfloor.engine.providers.seed import seeded
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Tx


async def candidates(tx: Tx, sealer: Sealer, refs: Sequence[ModelRef]) -> list[Candidate]:
    """One candidate a model, in the same order.

    Raises: ProviderUnknown, ModelNotOffered, PriceUnknown, SealBroken; each says what to do.
    """
    named = await store.providers_named(tx, sorted({ref.provider for ref in refs}))
    return [await _candidate(tx, sealer, named, ref) for ref in refs]


async def check_models(tx: Tx, sealer: Sealer, text: str, profiles: ModelProfiles | None = None) -> list[ModelRef]:
    """The models that `text` names, each known, allowed and priced: what submission asks. Raises: as `candidates`."""
    refs = model_refs(text, profiles)
    await candidates(tx, sealer, refs)
    return refs


def model_refs(text: str, profiles: ModelProfiles | None = None) -> list[ModelRef]:
    """`provider/model` or a profile's name, fall-backs after commas. Raises: InvalidInput."""
    first, *fallbacks = [part.strip() for part in text.split(",")]
    return (profiles or ModelProfiles()).resolve(first, fallbacks=fallbacks)


async def _candidate(tx: Tx, sealer: Sealer, named: dict[str, Provider], ref: ModelRef) -> Candidate:
    provider = named.get(ref.provider)
    if provider is None:
        raise await unknown_provider(tx, ref)
    allowed = _allowed(provider, ref)
    credentials = await open_credentials(tx, sealer, provider)
    price = await price_in_force(tx, credentials, ref.model)
    context_tokens = allowed.context_tokens or _context_in_seed(tx, credentials, ref.model)
    max_output_tokens = allowed.max_output_tokens or default_max_output(context_tokens)
    lane = Lane(
        tx.organization_id, provider.id, provider.name, ref.model,
        credential_print(provider.id, credentials.api_key), provider.call_limits,
    )  # fmt: skip
    return Candidate(ref, credentials, price, context_tokens, max_output_tokens, lane)


def _allowed(provider: Provider, ref: ModelRef) -> OfferedModel:
    if not provider.models:
        return OfferedModel(ref.model)
    offered = {model.name: model for model in provider.offered}
    if ref.model not in offered:
        raise ModelNotOffered(
            f"The provider {provider.name} is set up for {listed(list(offered))} only, not for {ref.model}. Name one "
            "of these, or add the model: PATCH /api/v1/providers/{id} with `models`.",
            provider=provider.name, model=ref.model,
        )  # fmt: skip
    return offered[ref.model]


def _context_in_seed(tx: Tx, credentials: Credentials, model: str) -> int | None:
    try:
        return seeded(credentials, model, tx.clock.now()).context_tokens
    except PriceUnknown:
        return None

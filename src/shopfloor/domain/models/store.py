"""Every query of this room, always inside the organization of the transaction's principal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shopfloor.base.ids import new_id
from shopfloor.domain.models.models import OfferedModel, PriceRow, Provider
from shopfloor.engine.providers.port import ModelRef, Price, ServiceTier
from shopfloor.infra.tx import Tx

OWN = "organization"  # the source of a price that the organization set itself
_MOST_PATTERNS = 200

_PROVIDER = "id, name, kind, base_url, region, sealed_key, models, origin, limits, version, created_at, updated_at"
_PRICE = "id, provider, model, service_tier, region, picos, tiers, valid_from, source, created_at"


async def provider(tx: Tx, provider_id: UUID) -> Provider | None:
    """By id."""
    row = await tx.one(f"select {_PROVIDER} from providers where id = %s", (provider_id,))
    return Provider(**row) if row else None


async def providers_named(tx: Tx, names: Sequence[str]) -> dict[str, Provider]:
    """Those of these names, by name."""
    rows = await tx.all(
        f"select {_PROVIDER} from providers where organization_id = %s and name = any(%s)",
        (tx.organization_id, list(names)),
    )
    return {row["name"]: Provider(**row) for row in rows}


async def providers(tx: Tx, *, after: str | None, limit: int) -> list[Provider]:
    """By name."""
    rows = await tx.all(
        f"select {_PROVIDER} from providers where organization_id = %s and (%s::text is null or name > %s) "
        "order by name limit %s",
        (tx.organization_id, after, after, limit),
    )
    return [Provider(**row) for row in rows]


async def add_provider(tx: Tx, new: Provider) -> bool:
    """False when the name is taken."""
    added = await tx.execute(
        "insert into providers (id, organization_id, name, kind, base_url, region, sealed_key, models, origin, limits) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (organization_id, name) do nothing",
        (
            new.id, tx.organization_id, new.name, new.kind, new.base_url, new.region, new.sealed_key,
            Jsonb(new.models), new.origin, Jsonb(new.limits),
        ),
    )  # fmt: skip
    return added == 1


async def forget_environment(tx: Tx, name: str) -> None:
    """Remove the provider of this name if a person's environment made it: nobody has set it up."""
    await tx.execute(
        "delete from providers where organization_id = %s and name = %s and origin = 'environment'",
        (tx.organization_id, name),
    )


async def write_provider(tx: Tx, changed: Provider) -> bool:
    """Write what may change; False when it is no longer the version that `changed` was read at."""
    written = await tx.execute(
        "update providers set base_url = %s, region = %s, sealed_key = %s, models = %s, origin = %s, limits = %s, "
        "version = version + 1, updated_at = now() where id = %s and version = %s",
        (
            changed.base_url, changed.region, changed.sealed_key, Jsonb(changed.models), changed.origin,
            Jsonb(changed.limits), changed.id, changed.version,
        ),
    )  # fmt: skip
    return written == 1


async def delete_provider(tx: Tx, provider_id: UUID) -> None:
    """Its sealed key goes with it; prices stay, for the record."""
    await tx.execute("delete from providers where id = %s", (provider_id,))


async def lock_prices(tx: Tx, ref: ModelRef) -> None:
    """Until the end of the transaction nobody else adds a price for this model."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"price {tx.organization_id} {ref}",))


async def own_price(
    tx: Tx, ref: ModelRef, at: datetime, *, service_tier: ServiceTier = "standard", region: str | None = None
) -> PriceRow | None:
    """The organization's own row for exactly these, in force at `at`: the newest start, then the newest row."""
    row = await tx.one(
        f"select {_PRICE} from prices where organization_id = %s and provider = %s and model = %s and valid_from <= %s "
        "and source = %s and service_tier = %s and region is not distinct from %s "
        "order by valid_from desc, created_at desc limit 1",
        (tx.organization_id, ref.provider, ref.model, at, OWN, service_tier, region),
    )
    return PriceRow(**row) if row else None


async def own_patterns(tx: Tx, provider: str, at: datetime) -> list[PriceRow]:
    """The organization's own rows for patterns of model names, in force at `at`, the newest start first."""
    rows = await tx.all(
        f"select {_PRICE} from prices where organization_id = %s and provider = %s and position('*' in model) > 0 "
        "and valid_from <= %s order by valid_from desc, created_at desc limit %s",
        (tx.organization_id, provider, at, _MOST_PATTERNS),
    )
    return [PriceRow(**row) for row in rows]


async def other_tiers(tx: Tx, ref: ModelRef, at: datetime, region: str | None) -> list[PriceRow]:
    """The organization's own rows for other service tiers than the standard, the newest start first."""
    rows = await tx.all(
        f"select {_PRICE} from prices where organization_id = %s and provider = %s and model = %s and valid_from <= %s "
        "and service_tier <> 'standard' and (region is null or region = %s) "
        "order by valid_from desc, created_at desc limit %s",
        (tx.organization_id, ref.provider, ref.model, at, region, _MOST_PATTERNS),
    )
    return [PriceRow(**row) for row in rows]


async def price(tx: Tx, price_id: UUID) -> PriceRow | None:
    """By id."""
    row = await tx.one(f"select {_PRICE} from prices where id = %s", (price_id,))
    return PriceRow(**row) if row else None


async def price_dates(tx: Tx, providers: Sequence[str]) -> list[datetime]:
    """Each date from which a price of these providers holds."""
    rows = await tx.all(
        "select distinct valid_from from prices where organization_id = %s and provider = any(%s) order by 1",
        (tx.organization_id, list(providers)),
    )
    return [row["valid_from"] for row in rows]


async def own_priced(tx: Tx, providers: Sequence[str]) -> set[tuple[str, str]]:
    """`(provider, model or pattern)` of what the organization has priced itself, whole: input and output."""
    rows = await tx.all(
        "select distinct provider, model from prices where organization_id = %s and provider = any(%s) "
        "and valid_from <= now() and source = %s and service_tier = 'standard' "
        "and picos ? 'input' and picos ? 'output'",
        (tx.organization_id, list(providers), OWN),
    )
    return {(row["provider"], row["model"]) for row in rows}


async def recorded_seed(tx: Tx, ref: ModelRef, at: datetime) -> PriceRow | None:
    """The row that was last taken over from a seed, of those in force at `at`."""
    row = await tx.one(
        f"select {_PRICE} from prices where organization_id = %s and provider = %s and model = %s and valid_from <= %s "
        "and source <> %s order by created_at desc limit 1",
        (tx.organization_id, ref.provider, ref.model, at, OWN),
    )
    return PriceRow(**row) if row else None


async def add_price(tx: Tx, ref: ModelRef, price: Price) -> PriceRow:
    """The new row. Several within one transaction keep their order: hence not now()."""
    row = await tx.one(
        "insert into prices (id, organization_id, provider, model, picos, tiers, valid_from, source, service_tier, "
        f"region, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp()) returning {_PRICE}",
        (
            new_id(), tx.organization_id, ref.provider, ref.model, Jsonb(price.picos), Jsonb(price.tiers),
            price.valid_from, price.source, price.service_tier, price.region,
        ),
    )  # fmt: skip
    assert row is not None
    return PriceRow(**row)


async def prices(tx: Tx, *, provider: str | None, model: str | None, before: UUID | None, limit: int) -> list[PriceRow]:
    """Newest first."""
    rows = await tx.all(
        f"select {_PRICE} from prices where organization_id = %s and (%s::uuid is null or id < %s) "
        "and (%s::text is null or provider = %s) and (%s::text is null or model = %s) order by id desc limit %s",
        (tx.organization_id, before, before, provider, provider, model, model, limit),
    )
    return [PriceRow(**row) for row in rows]


def as_json(models: Sequence[OfferedModel]) -> list[dict[str, Any]]:
    """As the column has them: only what is set."""
    return [{name: value for name, value in asdict(model).items() if value is not None} for model in models]

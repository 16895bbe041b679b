"""Identity providers of an organization: add, change, remove; the client secret goes in and never out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from shopfloor.base.errors import PermissionDenied, PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.domain.accounts import oidc_store, store_factors
from shopfloor.domain.accounts.oidc_client import Client
from shopfloor.domain.accounts.oidc_errors import IdentityProviderNameTaken, IdentityProviderUnknown
from shopfloor.domain.accounts.oidc_models import IdentityProvider
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.tx import Tx

_SECRETS: Final = register_sealed("identity_providers", "sealed_secret")
_ANYBODY_MAY_SET: Final = frozenset({"viewer", "developer"})  # default roles; the others are an owner's to give
_SHOWN: Final = (
    "issuer", "client_id", "scopes", "default_role", "makes_accounts", "counts_as_second_factor", "enabled",
)  # fmt: skip


async def add_provider(tx: Tx, sealer: Sealer, new: Mapping[str, Any]) -> IdentityProvider:
    """`new` has the columns, and `client_secret`. Raises: PermissionDenied, IdentityProviderNameTaken."""
    tx.require("organization.edit")
    await _refuse_high_role(tx, new["default_role"])
    provider_id = new_id()
    fields = {**new, "sealed_secret": await _sealed(tx, sealer, provider_id, new.get("client_secret"))}
    if not await oidc_store.add_provider(tx, provider_id, fields):
        raise IdentityProviderNameTaken(
            f"There is an identity provider {new['name']!r} already. Choose another name, or change that one."
        )
    added = await find_provider(tx, provider_id)
    facts = {"name": added.name, **_plain(added)}
    await tx.record("identity-provider.added", "identity_provider", added.id, after=facts)
    return added


async def find_provider(tx: Tx, provider_id: UUID) -> IdentityProvider:
    """Raises: PermissionDenied, IdentityProviderUnknown."""
    tx.require("organization.edit")
    found = await oidc_store.provider(tx, provider_id)
    if found is None:
        raise IdentityProviderUnknown(
            f"There is no identity provider {provider_id}. GET /api/v1/identity-providers lists yours."
        )
    return found


async def list_providers(tx: Tx, *, after: str | None, limit: int) -> list[IdentityProvider]:
    """By name. Raises: PermissionDenied."""
    tx.require("organization.edit")
    return await oidc_store.providers(tx, after=after, limit=limit)


async def change_provider(
    tx: Tx, sealer: Sealer, provider: IdentityProvider, change: Mapping[str, Any]
) -> IdentityProvider:
    """It with these fields changed.

    Another issuer starts without the old client secret: else it would be sent to a server of whoever changes it.
    Raises: PermissionDenied, PreconditionFailed.
    """
    tx.require("organization.edit")
    if "default_role" in change and change["default_role"] != provider.default_role:
        await _refuse_high_role(tx, change["default_role"])
    sealed = provider.sealed_secret
    if "client_secret" in change:
        sealed = await _sealed(tx, sealer, provider.id, change["client_secret"])
    elif change.get("issuer", provider.issuer) != provider.issuer:
        sealed = None
    fields = {**{name: getattr(provider, name) for name in _SHOWN}, **change, "sealed_secret": sealed}
    if not await oidc_store.change_provider(tx, provider, fields):
        raise PreconditionFailed("Somebody changed it at the same moment. Read it again, then repeat this.")
    changed = await find_provider(tx, provider.id)
    before, after = _plain(provider), _plain(changed)
    names = [name for name in after if before[name] != after[name]]
    await tx.record(
        "identity-provider.changed", "identity_provider", provider.id,
        before={name: before[name] for name in names},
        after={**{name: after[name] for name in names}, "secret_replaced": sealed != provider.sealed_secret},
    )  # fmt: skip
    return changed


async def remove_provider(tx: Tx, provider: IdentityProvider) -> None:
    """With the identities it vouched for; their people sign in another way. Raises: PermissionDenied."""
    tx.require("organization.edit")
    await oidc_store.remove_provider(tx, provider.id)
    await tx.record(
        "identity-provider.removed", "identity_provider", provider.id,
        before={"name": provider.name, **_plain(provider)},
    )  # fmt: skip


async def client_of(tx: Tx, sealer: Sealer, provider: IdentityProvider) -> Client:
    """Who we are to it. From here on the secret is struck out of logs and answers. Raises: SealBroken."""
    if provider.sealed_secret is None:
        return Client(provider.client_id, None)
    secret = await store_factors.opened(tx, sealer, _SECRETS.place(provider.id), provider.sealed_secret)
    _strike_out(secret)
    return Client(provider.client_id, secret)


async def _refuse_high_role(tx: Tx, role: str) -> None:
    """Who makes accounts for others can't make them mightier than developers, unless it is an owner."""
    if role in _ANYBODY_MAY_SET:
        return
    actor = await store_factors.person(tx, tx.principal.user_id) if tx.principal.user_id else None
    if actor is None or actor["role"] != "owner":
        raise PermissionDenied(
            f"The default role {role!r} is above developer: an owner can set it. Choose viewer or developer.",
            permission="organization.edit",
        )


async def _sealed(tx: Tx, sealer: Sealer, provider_id: UUID, secret: str | None) -> bytes | None:
    if not secret:
        return None
    _strike_out(secret)
    return await store_factors.sealed(tx, sealer, _SECRETS.place(provider_id), secret)


def _plain(provider: IdentityProvider) -> dict[str, Any]:
    return {name: getattr(provider, name) for name in _SHOWN}


@lru_cache(maxsize=512)
def _strike_out(secret: str) -> None:
    """Once a process: each new secret compiles the redactor's pattern anew."""
    REDACTOR.remember(secret)

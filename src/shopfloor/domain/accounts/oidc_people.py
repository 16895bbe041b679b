"""From what a provider says to the person it says it of: known, linked, new, or not welcome."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from shopfloor.base.errors import Conflict, NotFound
from shopfloor.base.ids import new_id
from shopfloor.domain.accounts import oidc_store, store_factors
from shopfloor.domain.accounts.oidc_domains import domain_of
from shopfloor.domain.accounts.oidc_errors import (
    IdentityNotWelcome,
    IdentityProviderUnknown,
    IdentityTaken,
    LastWayInKept,
)
from shopfloor.domain.accounts.oidc_models import Identity, IdentityProvider
from shopfloor.domain.accounts.oidc_tokens import Claims
from shopfloor.infra.tx import Tx

log = structlog.get_logger(__name__)

_NOT_WELCOME = (
    "The provider knows you, but no account here is linked to you. Sign in as you did before and link it under "
    "POST /api/v1/me/identities, or ask an admin for an invitation."
)
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who comes in, and what has to be written for that."""

    user_id: UUID
    known: Identity | None  # None: to be linked
    makes: bool = False  # the account is new
    email: str = ""


async def recognize(tx: Tx, provider: IdentityProvider, claims: Claims) -> Arrival:
    """Whose these claims are; nothing is written. Raises: IdentityNotWelcome.

    By issuer and subject alone: an address changes hands. Only where the organization has proved the address's domain
    and the provider has verified the address may it make an account, or, if the policy says so, take one over.
    """
    known = await oidc_store.identity(tx, provider.id, claims.issuer, claims.subject)
    if known is not None:
        return Arrival(known.user_id, known)
    email = await _own_address(tx, claims)
    if email is None:
        raise _not_welcome(provider, "its address is not verified, or of a domain that the organization has not proved")
    there = await oidc_store.user_by_email(tx, email)
    if there is not None:
        policy = await store_factors.policy(tx, tx.organization_id)
        if not policy.link_by_verified_domain:
            raise _not_welcome(provider, "an account has its address, and is linked by its owner alone")
        return Arrival(there["id"], None, email=email)
    if not provider.makes_accounts:
        raise _not_welcome(provider, "the provider makes no accounts")
    return Arrival(new_id(), None, makes=True, email=email)


async def admit(tx: Tx, provider: IdentityProvider, claims: Claims, arrival: Arrival) -> None:
    """Write what `recognize` found; `tx` is one of the person's own. Raises: Conflict where somebody was faster."""
    if arrival.known is not None:
        await oidc_store.note_use(tx, arrival.known.id)
        return
    if arrival.makes:
        name = " ".join((claims.name or arrival.email).split())[:_LONGEST_NAME]
        if not await oidc_store.add_user(
            tx, arrival.user_id, email=arrival.email, name=name, role=provider.default_role
        ):
            raise Conflict("Somebody took this address at the same moment. Sign in again.")
        facts = {"role": provider.default_role, "identity_provider_id": str(provider.id)}
        await tx.record("member.joined", "user", arrival.user_id, after=facts)
    await link(tx, provider, claims, arrival.user_id)


async def link(tx: Tx, provider: IdentityProvider, claims: Claims, user_id: UUID) -> None:
    """From now on these claims are this person. Raises: IdentityTaken when they are another's."""
    if not await oidc_store.add_identity(tx, user_id, provider.id, claims.issuer, claims.subject):
        known = await oidc_store.identity(tx, provider.id, claims.issuer, claims.subject)
        if known is None or known.user_id != user_id:
            raise IdentityTaken(
                "This identity signs in to another account here. Sign in to that one and remove it there, or use "
                "another identity."
            )
        return
    await tx.record("identity.linked", "user", user_id, after={"identity_provider_id": str(provider.id)})


async def require_own(tx: Tx, provider_id: UUID) -> None:
    """Raises: IdentityProviderUnknown for one of another organization, or one that is switched off."""
    found = await oidc_store.provider(tx, provider_id)
    if found is None or not found.enabled:
        raise IdentityProviderUnknown(f"There is no identity provider {provider_id} here. Ask an admin for its id.")


async def list_identities(tx: Tx, user_id: UUID) -> list[Identity]:
    """A person's own."""
    return await oidc_store.identities(tx, user_id)


async def unlink(tx: Tx, user_id: UUID, identity_id: UUID) -> None:
    """It signs nobody in any more. Raises: NotFound, LastWayInKept."""
    if not await oidc_store.remove_identity(tx, user_id, identity_id):
        raise NotFound(f"You have no identity {identity_id}. GET /api/v1/me/identities lists yours.")
    if not await oidc_store.has_way_in(tx, user_id):
        raise LastWayInKept(
            "You have no password, passkey or other identity: without this one you could not sign in any more. Set a "
            "password or add a passkey first."
        )
    await tx.record("identity.unlinked", "user", user_id, before={"identity_id": str(identity_id)})


async def _own_address(tx: Tx, claims: Claims) -> str | None:
    """The verified address of a proved domain."""
    domain = domain_of(claims.email) if claims.email and claims.email_verified else None
    if domain is None:
        return None
    found = await oidc_store.domain_named(tx, domain)
    return (claims.email or "").lower() if found is not None and found.verified_at is not None else None


def _not_welcome(provider: IdentityProvider, why: str) -> IdentityNotWelcome:
    """The reason is for the log: the answer doesn't tell which accounts there are."""
    log.info("identity.not_welcome", identity_provider_id=str(provider.id), why=why)
    return IdentityNotWelcome(_NOT_WELCOME)

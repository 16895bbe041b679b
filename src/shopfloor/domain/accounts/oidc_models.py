"""The rows behind single sign-on, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """Somebody who vouches for people of one organization."""

    id: UUID
    name: str
    issuer: str  # to the letter as it writes it
    client_id: str
    sealed_secret: bytes | None = field(repr=False)  # None: a public client
    scopes: list[str]
    default_role: str  # of accounts that are made at the first sign-in
    makes_accounts: bool  # for people of a verified domain who have none
    counts_as_second_factor: bool  # when it says that it asked for one
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """What a provider calls a person: issuer and subject, which never change hands. An address may."""

    id: UUID
    user_id: UUID
    provider_id: UUID
    issuer: str
    subject: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class VerifiedDomain:
    """A domain of mail addresses that an organization has proved to be its own, or is about to."""

    id: UUID
    domain: str
    token: str
    verified_by: str | None  # `dns`, `operator`
    verified_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Flow:
    """A browser that was sent to a provider and has to come back, once."""

    organization_id: UUID
    provider_id: UUID
    browser_hash: bytes
    return_to: str
    link_session_id: UUID | None  # of who links the identity to an account; None: a sign-in
    ends_at: datetime

"""The rows behind second factors and sign-in policies, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

FactorKind = Literal["totp", "passkey", "recovery"]


@dataclass(frozen=True, slots=True)
class TotpSecret:
    """What a person's authenticator app shares with us."""

    user_id: UUID
    sealed_secret: bytes = field(repr=False)
    last_step: int  # the newest 30 seconds whose code was used: none older passes
    created_at: datetime
    confirmed_at: datetime | None  # None: the app has not shown yet that it has the secret


@dataclass(frozen=True, slots=True)
class Passkey:
    """A key pair whose private half never leaves its owner's device."""

    id: UUID
    user_id: UUID
    name: str
    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    aaguid: str
    backed_up: bool
    transports: list[str]
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class SignInPolicy:
    """What an organization asks of those who sign in to it."""

    mfa_required: bool = False
    mfa_required_since: datetime | None = None
    mfa_grace_days: int = 0  # how long a member may go on without a second factor, from then or from joining
    password_allowed: bool = True
    link_by_verified_domain: bool = False  # an account is taken over by whoever the provider says has its address
    session_idle_s: int | None = None  # None: the installation's
    session_absolute_s: int | None = None
    version: int = 0  # 0: never set

    def asks_for_factor(self, joined_at: datetime, now: datetime) -> bool:
        """Whether somebody who joined then has to have a second factor now."""
        if not self.mfa_required or self.mfa_required_since is None:
            return False
        return now >= max(self.mfa_required_since, joined_at) + timedelta(days=self.mfa_grace_days)


@dataclass(frozen=True, slots=True)
class Standing:
    """Which second factors a person has, and whether one is asked of them."""

    enrolled: frozenset[FactorKind]
    required: bool  # by the organization, today

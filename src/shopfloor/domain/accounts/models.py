"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

SessionKind = Literal["browser", "token"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in to one organization."""

    id: UUID
    organization_id: UUID
    email: str
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    password_hash: str | None = field(repr=False)
    email_verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in that goes on. Its secret is not known."""

    id: UUID
    user_id: UUID
    kind: str
    methods: list[str]
    restricted: bool
    address: str
    agent: str
    created_at: datetime
    signed_in_at: datetime
    last_seen_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A new session with its secrets, which can't be had again."""

    id: UUID
    organization_id: UUID
    user_id: UUID
    kind: SessionKind
    restricted: bool
    ends_at: datetime
    secret: str = field(repr=False)  # of the cookie; unused where there is a refresh token
    refresh_token: str | None = field(repr=False)  # kind `token` only


@dataclass(frozen=True, slots=True)
class Signed:
    """Who it is was proved as far as the organization asks for it."""

    session: OpenedSession


@dataclass(frozen=True, slots=True)
class Pending:
    """The first factor was right; `POST /auth/second-factor` wants the second one with this challenge."""

    challenge: str = field(repr=False)
    kinds: tuple[str, ...]  # `totp`, `recovery`, `passkey`: those the person has
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody who may come in, until it ends."""

    id: UUID
    email: str
    role: str
    invited_by: UUID
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    withdrawn_at: datetime | None
    team_ids: list[UUID]  # joined with it, as far as they are still there

"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

ChannelKind = Literal["email", "webhook"]
Summaries = Literal["daily", "weekly"]
DeliveryState = Literal["pending", "retrying", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Where notifications go: an e-mail address or a webhook."""

    id: UUID
    kind: ChannelKind
    address: str  # an e-mail address, or a URL
    sealed_secret: bytes | None = field(repr=False)  # signs a webhook's messages
    events: list[str]
    summaries: Summaries | None
    next_summary_at: datetime | None
    disabled_at: datetime | None
    disabled_because: str | None
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Notification:
    """Something that was told."""

    id: UUID
    project_id: UUID | None  # None: of the organization
    channel_id: UUID | None  # None: to everybody; else to this channel alone
    kind: str
    key: str  # what makes two tellings the same one
    title: str
    body: str
    html: str | None  # for mails that are more than sentences
    data: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way to one channel."""

    id: UUID
    notification_id: UUID
    channel_id: UUID
    state: DeliveryState
    attempts: int
    last_status: int | None  # of a webhook's answer
    last_error: str | None
    last_excerpt: str | None  # of what a webhook answered
    created_at: datetime
    attempted_at: datetime | None
    delivered_at: datetime | None

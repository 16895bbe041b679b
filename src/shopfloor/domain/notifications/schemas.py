"""What goes in and out of this room over HTTP. A secret goes out once, where it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from shopfloor.domain.notifications.models import (
    Channel,
    ChannelKind,
    Delivery,
    DeliveryState,
    Notification,
    Summaries,
)
from shopfloor.infra.web.json_body import Body, Reply

Event = Literal["budget.alert", "budget.paused", "budget.resumed", "approval.asked", "deadletter.added"]
Events = Annotated[list[Event], Field(max_length=50)]


class ChannelNew(Body):
    """Where notifications are to go."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "webhook", "url": "https://hooks.example.com/shopfloor", "events": ["budget.alert"]},
                {"kind": "email", "address": "ops@example.com", "events": ["budget.paused"], "summaries": "daily"},
            ]
        }
    )

    kind: ChannelKind
    address: Annotated[str, StringConstraints(min_length=3, max_length=254)] | None = Field(
        default=None, description="Of an email channel."
    )
    url: Annotated[str, StringConstraints(min_length=8, max_length=2_048)] | None = Field(
        default=None, description="Of a webhook."
    )
    events: Events
    summaries: Summaries | None = Field(default=None, description="Of what was spent, by mail.")


class ChannelChange(Body):
    """What to change. What is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    events: Events = Field(default=[])
    summaries: Summaries | None = None
    enabled: bool = True


class ChannelReply(Reply):
    """A channel."""

    id: UUID
    kind: ChannelKind
    address: str = Field(description="An e-mail address, or a webhook's URL.")
    events: list[str]
    summaries: Summaries | None
    next_summary_at: datetime | None
    enabled: bool
    disabled_because: str | None
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime


class ChannelMade(ChannelReply):
    """A channel, and the secret of a webhook: shown this once."""

    secret: str | None = Field(description="`whsec_...`: with it your program checks each message's signature.")


class DeliveryReply(Reply):
    """One notification on its way to one channel."""

    id: UUID
    notification_id: UUID
    channel_id: UUID
    state: DeliveryState
    attempts: int
    last_status: int | None = Field(description="What a webhook answered.")
    last_error: str | None
    last_excerpt: str | None = Field(description="The beginning of what a webhook answered.")
    created_at: datetime
    attempted_at: datetime | None
    delivered_at: datetime | None


class NotificationReply(Reply):
    """Something that was told."""

    id: UUID
    kind: str
    title: str
    body: str
    project_id: UUID | None
    data: dict[str, Any]
    created_at: datetime
    read_at: datetime | None = Field(description="By you; null: unread.")


class ReadReply(Reply):
    """What came of it."""

    read: int = Field(description="How many were unread before.")


class SummaryPreview(Reply):
    """A summary as it would be mailed."""

    subject: str
    text: str
    html: str
    starts_at: datetime
    ends_at: datetime
    time_zone: str


def channel_reply(row: Channel) -> ChannelReply:
    """As HTTP shows it."""
    return ChannelReply(**_shown(row))


def channel_made(row: Channel, secret: str | None) -> ChannelMade:
    """As HTTP shows it once."""
    return ChannelMade(**_shown(row), secret=secret)


def delivery_reply(row: Delivery) -> DeliveryReply:
    """As HTTP shows it."""
    return DeliveryReply(**{name: getattr(row, name) for name in DeliveryReply.model_fields})


def notification_reply(row: Notification, read_at: datetime | None) -> NotificationReply:
    """As HTTP shows it."""
    same = {name: getattr(row, name) for name in NotificationReply.model_fields if name != "read_at"}
    return NotificationReply(**same, read_at=read_at)


def _shown(row: Channel) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ChannelReply.model_fields if name != "enabled"} | {
        "enabled": row.disabled_at is None
    }

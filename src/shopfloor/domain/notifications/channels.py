"""Where notifications go: make a channel, change it, try it, send something again, remove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.domain.notifications import store
from shopfloor.domain.notifications.errors import (
    ChannelExists,
    ChannelUnknown,
    DeliveryUnknown,
    NoMailServer,
    TooManyChannels,
)
from shopfloor.domain.notifications.models import Channel, ChannelKind, Delivery, Summaries
from shopfloor.domain.notifications.notify import Notice, notify, send_later
from shopfloor.domain.notifications.settings import NotificationsSettings
from shopfloor.domain.notifications.signing import new_secret
from shopfloor.domain.notifications.summaries import Compose, next_due
from shopfloor.domain.notifications.webhook import check_url
from shopfloor.infra.mail import MailSettings, checked_email
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.tx import Tx

EVENTS: Final = ("budget.alert", "budget.paused", "budget.resumed", "approval.asked", "deadletter.added")
SECRETS: Final = register_sealed("notification_channels", "sealed_secret")
_MOST_CHANNELS: Final = 100  # each event goes over every one of them


@dataclass(frozen=True, slots=True)
class NotificationDesk:
    """What channels are checked against. One a process."""

    sealer: Sealer = field(repr=False)
    mail: MailSettings
    settings: NotificationsSettings
    compose: Compose  # writes summaries


async def create_channel(
    tx: Tx, desk: NotificationDesk, kind: ChannelKind, address: str, events: Sequence[str],
    summaries: Summaries | None = None,
) -> tuple[Channel, str | None]:  # fmt: skip
    """The channel, and the secret that signs a webhook's messages, shown this once.

    Raises: UrlRefused, InvalidInput, NoMailServer, ChannelExists, TooManyChannels, PermissionDenied.
    """
    tx.require("notification.edit")
    address = _checked(desk, kind, address, summaries)
    if await store.how_many_channels(tx) >= _MOST_CHANNELS:
        raise TooManyChannels(f"There are {_MOST_CHANNELS} channels already. Remove one that nobody needs.")
    channel_id, now = new_id(), tx.clock.now()
    secret = new_secret() if kind == "webhook" else None
    row = Channel(
        id=channel_id,
        kind=kind,
        address=address,
        sealed_secret=await _sealed(tx, desk, channel_id, secret) if secret else None,
        events=sorted(set(events)),
        summaries=summaries,
        next_summary_at=next_due(summaries, await store.time_zone(tx), now) if summaries else None,
        disabled_at=None,
        disabled_because=None,
        version=1,
        created_by=tx.principal.user_id or tx.principal.id,
        created_at=now,
        updated_at=now,
    )
    if not await store.add_channel(tx, row):
        raise ChannelExists(f"There is a channel to this {kind} already. Change that one, or remove it first.")
    await tx.record("notification-channel.added", "notification-channel", channel_id, after=_told(row))
    return row, secret


async def list_channels(tx: Tx, *, after: UUID | None, limit: int) -> list[Channel]:
    """Oldest first. Raises: PermissionDenied."""
    tx.require("notification.edit")
    return await store.channels(tx, after=after, limit=limit)


async def find_channel(tx: Tx, channel_id: UUID) -> Channel:
    """Raises: ChannelUnknown, PermissionDenied."""
    tx.require("notification.edit")
    found = await store.channel(tx, channel_id)
    if found is None:
        raise ChannelUnknown(f"There is no channel {channel_id}. GET /api/v1/notifications/channels lists them.")
    return found


async def change_channel(tx: Tx, channel: Channel, given: Mapping[str, Any]) -> Channel:
    """It with other events or summaries, or switched on or off. Raises: InvalidInput, PreconditionFailed."""
    changed = channel
    if "events" in given:
        changed = replace(changed, events=sorted(set(given["events"])))
    if "summaries" in given and given["summaries"] != channel.summaries:
        changed = replace(changed, summaries=given["summaries"], next_summary_at=None)
        if changed.summaries is not None:
            _only_by_mail(changed.kind)
            due = next_due(changed.summaries, await store.time_zone(tx), tx.clock.now())
            changed = replace(changed, next_summary_at=due)
    if "enabled" in given and given["enabled"] != (channel.disabled_at is None):
        off = (None, None) if given["enabled"] else (tx.clock.now(), "Somebody switched it off.")
        changed = replace(changed, disabled_at=off[0], disabled_because=off[1])
    if changed == channel:
        return channel
    await _write(tx, changed)
    await tx.record(
        "notification-channel.changed", "notification-channel", channel.id,
        before=_told(channel), after=_told(changed),
    )  # fmt: skip
    return await find_channel(tx, channel.id)


async def rotate_secret(tx: Tx, desk: NotificationDesk, channel: Channel) -> tuple[Channel, str]:
    """A new secret, shown this once; the one before signs nothing any more. Raises: InvalidInput."""
    if channel.kind != "webhook":
        raise InvalidInput("Only a webhook's messages are signed: this channel sends mails.")
    secret = new_secret()
    await _write(tx, replace(channel, sealed_secret=await _sealed(tx, desk, channel.id, secret)))
    await tx.record("notification-channel.secret-rotated", "notification-channel", channel.id)
    return await find_channel(tx, channel.id), secret


async def remove_channel(tx: Tx, channel: Channel) -> None:
    """With the log of its deliveries."""
    await store.delete_channel(tx, channel.id)
    await tx.record("notification-channel.removed", "notification-channel", channel.id, before=_told(channel))


async def try_channel(tx: Tx, channel: Channel) -> Delivery:
    """A test message is on its way; its delivery says how it went."""
    notice = Notice(
        "channel.test", f"test:{new_id()}", "A test from Shopfloor",
        "This is a test: notifications of your organization arrive here.",
    )  # fmt: skip
    [delivery_id] = await notify(tx, notice, channel_id=channel.id)
    await tx.record("notification-channel.tried", "notification-channel", channel.id)
    return await find_delivery(tx, channel, delivery_id)


async def find_delivery(tx: Tx, channel: Channel, delivery_id: UUID) -> Delivery:
    """Raises: DeliveryUnknown."""
    found = await store.delivery(tx, delivery_id)
    if found is None or found.channel_id != channel.id:
        raise DeliveryUnknown(f"The channel has no delivery {delivery_id}.")
    return found


async def redeliver(tx: Tx, channel: Channel, delivery_id: UUID) -> Delivery:
    """Send it once more, under the same id. It is on its way as it is: nothing happens."""
    found = await find_delivery(tx, channel, delivery_id)
    if await store.once_more(tx, found.id):
        await send_later(tx, found.id)
        await tx.record(
            "notification-channel.redelivered", "notification-channel", channel.id, after={"delivery_id": str(found.id)}
        )
    return await find_delivery(tx, channel, delivery_id)


async def _write(tx: Tx, channel: Channel) -> None:
    if not await store.write_channel(tx, channel):
        raise PreconditionFailed("Somebody changed the channel at the same moment. Read it again, then repeat this.")


def _checked(desk: NotificationDesk, kind: ChannelKind, address: str, summaries: Summaries | None) -> str:
    if kind == "webhook":
        if summaries is not None:
            _only_by_mail(kind)
        return check_url(desk.settings, address)
    if not desk.mail.host:
        raise NoMailServer("This installation sends no mail: who runs it sets SHOPFLOOR_MAIL__HOST first.")
    return checked_email(address)


def _only_by_mail(kind: ChannelKind) -> None:
    if kind != "email":
        raise InvalidInput("Summaries go by mail: make a channel of the kind email for them.")


async def _sealed(tx: Tx, desk: NotificationDesk, channel_id: UUID, secret: str) -> bytes:
    REDACTOR.remember(secret)
    return await desk.sealer.seal(tx, tx.organization_id, SECRETS.place(channel_id), secret)


def _told(row: Channel) -> dict[str, Any]:
    return {
        "kind": row.kind, "address": row.address, "events": row.events, "summaries": row.summaries,
        "enabled": row.disabled_at is None,
    }  # fmt: skip

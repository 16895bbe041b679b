"""Every query of this room, always inside the organization of the transaction's principal."""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from shopfloor.domain.notifications.models import Channel, Delivery, DeliveryState, Notification
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

_CHANNEL: Final = (
    "id, kind, address, sealed_secret, events, summaries, next_summary_at, disabled_at, disabled_because, version, "
    "created_by, created_at, updated_at"
)
_NOTIFICATION: Final = "id, project_id, channel_id, kind, key, title, body, html, data, created_at"
_DELIVERY: Final = (
    "id, notification_id, channel_id, state, attempts, last_status, last_error, last_excerpt, created_at, "
    "attempted_at, delivered_at"
)


async def channels(tx: Tx, *, after: UUID | None, limit: int) -> list[Channel]:
    """Oldest first."""
    rows = await tx.all(
        f"select {_CHANNEL} from notification_channels where organization_id = %s and (%s::uuid is null or id > %s) "
        "order by id limit %s",
        (tx.organization_id, after, after, limit),
    )
    return [Channel(**row) for row in rows]


async def channel(tx: Tx, channel_id: UUID) -> Channel | None:
    """By id."""
    row = await tx.one(f"select {_CHANNEL} from notification_channels where id = %s", (channel_id,))
    return Channel(**row) if row else None


async def due_channel(tx: Tx, channel_id: UUID) -> Channel | None:
    """If its summary is due and nobody else is at it; nobody is until the commit."""
    row = await tx.one(
        f"select {_CHANNEL} from notification_channels where id = %s and next_summary_at <= %s "
        "and disabled_at is null for no key update skip locked",
        (channel_id, tx.clock.now()),
    )
    return Channel(**row) if row else None


async def channels_for(tx: Tx, event: str) -> list[UUID]:
    """Those that want to hear of it and are on."""
    rows = await tx.all(
        "select id from notification_channels where organization_id = %s and %s = any(events) "
        "and disabled_at is null order by id",
        (tx.organization_id, event),
    )
    return [row["id"] for row in rows]


async def how_many_channels(tx: Tx) -> int:
    """Of the organization."""
    row = await tx.one(
        "select count(*) as n from notification_channels where organization_id = %s", (tx.organization_id,)
    )
    return row["n"] if row else 0


async def add_channel(tx: Tx, row: Channel) -> bool:
    """False when there is one to this address."""
    added = await tx.execute(
        "insert into notification_channels (id, organization_id, kind, address, sealed_secret, events, summaries, "
        "next_summary_at, created_by, created_at, updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "on conflict (organization_id, kind, address) do nothing",
        (
            row.id, tx.organization_id, row.kind, row.address, row.sealed_secret, row.events, row.summaries,
            row.next_summary_at, row.created_by, row.created_at, row.updated_at,
        ),
    )  # fmt: skip
    return added == 1


async def write_channel(tx: Tx, row: Channel) -> bool:
    """What may change of `row`. False when it has changed since `row` was read."""
    changed = await tx.execute(
        "update notification_channels set sealed_secret = %s, events = %s, summaries = %s, next_summary_at = %s, "
        "disabled_at = %s, disabled_because = %s, version = version + 1, updated_at = %s "
        "where id = %s and version = %s",
        (
            row.sealed_secret, row.events, row.summaries, row.next_summary_at, row.disabled_at, row.disabled_because,
            tx.clock.now(), row.id, row.version,
        ),
    )  # fmt: skip
    return changed == 1


async def switch_off(tx: Tx, channel_id: UUID, because: str) -> bool:
    """Nothing goes over it until somebody switches it on. False: it was off already."""
    changed = await tx.execute(
        "update notification_channels set disabled_at = %s, disabled_because = %s, version = version + 1 "
        "where id = %s and disabled_at is null",
        (tx.clock.now(), because, channel_id),
    )
    return changed == 1


async def next_summary(tx: Tx, channel_id: UUID, at: datetime) -> None:
    """When the channel's next summary is due."""
    await tx.execute("update notification_channels set next_summary_at = %s where id = %s", (at, channel_id))


async def delete_channel(tx: Tx, channel_id: UUID) -> None:
    """With its deliveries."""
    await tx.execute("delete from notification_channels where id = %s", (channel_id,))


async def add_notification(tx: Tx, row: Notification) -> bool:
    """False when it was told already."""
    added = await tx.execute(
        "insert into notifications (id, organization_id, project_id, channel_id, kind, key, title, body, html, data, "
        "created_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (organization_id, key) do nothing",
        (
            row.id, tx.organization_id, row.project_id, row.channel_id, row.kind, row.key, row.title, row.body,
            row.html, jsonb(row.data), row.created_at,
        ),
    )  # fmt: skip
    return added == 1


async def notification(tx: Tx, notification_id: UUID) -> Notification | None:
    """By id, for the platform itself."""
    row = await tx.one(f"select {_NOTIFICATION} from notifications where id = %s", (notification_id,))
    return Notification(**row) if row else None


async def add_delivery(tx: Tx, delivery_id: UUID, notification_id: UUID, channel_id: UUID) -> bool:
    """False when this channel gets this notification already."""
    added = await tx.execute(
        "insert into notification_deliveries (id, organization_id, notification_id, channel_id, state, created_at) "
        "values (%s, %s, %s, %s, 'pending', %s) on conflict (channel_id, notification_id) do nothing",
        (delivery_id, tx.organization_id, notification_id, channel_id, tx.clock.now()),
    )
    return added == 1


async def delivery(tx: Tx, delivery_id: UUID) -> Delivery | None:
    """By id."""
    row = await tx.one(f"select {_DELIVERY} from notification_deliveries where id = %s", (delivery_id,))
    return Delivery(**row) if row else None


async def deliveries(tx: Tx, channel_id: UUID, *, before: UUID | None, limit: int) -> list[Delivery]:
    """Of one channel, newest first."""
    rows = await tx.all(
        f"select {_DELIVERY} from notification_deliveries where organization_id = %s and channel_id = %s "
        "and (%s::uuid is null or id < %s) order by id desc limit %s",
        (tx.organization_id, channel_id, before, before, limit),
    )
    return [Delivery(**row) for row in rows]


async def attempted(
    tx: Tx, row: Delivery, state: DeliveryState, *, status: int | None, error: str | None, excerpt: str | None
) -> None:
    """How an attempt went. What was delivered meanwhile stays delivered."""
    now = tx.clock.now()
    await tx.execute(
        "update notification_deliveries set state = %s, attempts = %s, last_status = %s, last_error = %s, "
        "last_excerpt = %s, attempted_at = %s, delivered_at = %s where id = %s and state in ('pending', 'retrying')",
        (
            state, row.attempts + 1, status, error, excerpt, now, now if state == "delivered" else None, row.id,
        ),
    )  # fmt: skip


async def once_more(tx: Tx, delivery_id: UUID) -> bool:
    """Pending again. False: it is on its way as it is."""
    changed = await tx.execute(
        "update notification_deliveries set state = 'pending', attempts = 0 where id = %s "
        "and state in ('delivered', 'failed')",
        (delivery_id,),
    )
    return changed == 1


_SEEN: LiteralString = (
    "n.organization_id = %(organization)s and n.channel_id is null "
    "and (%(places)s::uuid[] is null or n.project_id = any(%(places)s))"
)


async def inbox(
    tx: Tx, user_id: UUID | None, *, unread: bool | None, before: UUID | None, limit: int
) -> list[tuple[Notification, datetime | None]]:
    """What the principal may read, newest first, and when `user_id` read it."""
    where: LiteralString = ""
    if unread is not None:
        where = " and r.read_at is null" if unread else " and r.read_at is not null"
    columns: LiteralString = ", ".join(f"n.{name}" for name in _NOTIFICATION.split(", "))
    rows = await tx.all(
        f"select {columns}, r.read_at from notifications n left join notification_reads r "
        f"on r.user_id = %(user)s and r.notification_id = n.id where {_SEEN} "
        f"and (%(before)s::uuid is null or n.id < %(before)s){where} order by n.id desc limit %(limit)s",
        {
            "user": user_id, "organization": tx.organization_id, "places": tx.projects_where("notification.read"),
            "before": before, "limit": limit,
        },
    )  # fmt: skip
    return [(Notification(**row), read_at) for row in rows for read_at in [row.pop("read_at")]]


async def mark_read(tx: Tx, user_id: UUID, up_to: UUID, *, alone: bool) -> int:
    """That `user_id` has read `up_to`, and with `alone` false all before it; how many are newly read."""
    which: LiteralString = "n.id = %(up_to)s" if alone else "n.id <= %(up_to)s"
    return await tx.execute(
        "insert into notification_reads (organization_id, user_id, notification_id, read_at) "
        f"select n.organization_id, %(user)s, n.id, %(now)s from notifications n where {_SEEN} and {which} "
        "on conflict do nothing",
        {
            "user": user_id, "organization": tx.organization_id, "places": tx.projects_where("notification.read"),
            "up_to": up_to, "now": tx.clock.now(),
        },
    )  # fmt: skip


async def readable(tx: Tx, notification_id: UUID) -> bool:
    """Whether there is such a notification that the principal may read."""
    row = await tx.one(
        f"select 1 from notifications n where {_SEEN} and n.id = %(id)s",
        {"organization": tx.organization_id, "places": tx.projects_where("notification.read"), "id": notification_id},
    )
    return row is not None


async def time_zone(tx: Tx) -> str:
    """The organization's."""
    row = await tx.one("select time_zone from organizations where id = %s", (tx.organization_id,))
    assert row is not None
    return str(row["time_zone"])

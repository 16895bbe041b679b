"""Telling something: one notification, one delivery for each channel that wants it, in one commit, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.notifications import store
from shopfloor.domain.notifications.models import Notification
from shopfloor.infra.tx import Store, Tx, begin_system

TASK: Final = "notifications.deliver"
_KEPT: Final = timedelta(days=180)
_MOST_TITLE_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told. `data` holds no secret: it goes to webhooks as it is."""

    kind: str  # `budget.alert`
    key: str  # the same key is told once
    title: str
    body: str
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    project_id: UUID | None = None
    html: str | None = None


async def notify(tx: Tx, notice: Notice, *, channel_id: UUID | None = None) -> list[UUID]:
    """The deliveries that were put on the queue: to `channel_id` alone, else to each channel that wants such events.

    Told already: none, and nothing happens.
    """
    row = Notification(
        id=new_id(),
        project_id=notice.project_id,
        channel_id=channel_id,
        kind=notice.kind,
        key=notice.key,
        title=" ".join(notice.title.split())[:_MOST_TITLE_CHARS],
        body=notice.body,
        html=notice.html,
        data=notice.data,
        created_at=tx.clock.now(),
    )
    if not await store.add_notification(tx, row):
        return []
    channels = [channel_id] if channel_id else await store.channels_for(tx, notice.kind)
    made: list[UUID] = []
    for each in channels:
        delivery_id = new_id()
        if await store.add_delivery(tx, delivery_id, row.id, each):
            await send_later(tx, delivery_id)
            made.append(delivery_id)
    if channel_id is None:
        tx.wake("notifications")
    return made


async def send_later(tx: Tx, delivery_id: UUID) -> None:
    """Put a delivery on the queue, in this transaction."""
    await tx.defer(TASK, delivery_id=str(delivery_id), organization_id=str(tx.organization_id))


async def forget_old(store: Store) -> int:
    """What was told half a year ago goes, with its deliveries; how many. A second time changes nothing."""
    async with begin_system(store) as tx:
        return await tx.execute("delete from notifications where created_at < %s", (tx.clock.now() - _KEPT,))

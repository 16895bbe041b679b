"""Whose day or week is over: each channel's summary is sent once, in the morning of the organization's time zone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.notifications import store
from shopfloor.domain.notifications.models import Summaries
from shopfloor.domain.notifications.notify import Notice, notify
from shopfloor.infra.tx import Store, Tx, begin, begin_system

MORNING: Final = time_of_day(7)
_MOST_AT_ONCE: Final = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """The whole local days that a summary is about."""

    summaries: Summaries
    first: date
    last: date  # included
    time_zone: str
    starts_at: datetime
    ends_at: datetime


Compose = Callable[[Tx, Window], Awaitable[tuple[str, str, str]]]
"""Title, text and HTML of a summary, written by who knows the figures."""


def newest_window(summaries: Summaries, time_zone: str, now: datetime) -> Window:
    """The last day, or Monday to Sunday, that is over."""
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    after = today if summaries == "daily" else today - timedelta(days=today.weekday())
    first = after - timedelta(days=1 if summaries == "daily" else 7)
    return Window(
        summaries, first, after - timedelta(days=1), time_zone, _at(first, time_of_day(0), zone),
        _at(after, time_of_day(0), zone),
    )  # fmt: skip


def next_due(summaries: Summaries, time_zone: str, now: datetime) -> datetime:
    """The next morning, or Monday morning, after `now`."""
    zone = ZoneInfo(time_zone)
    day = now.astimezone(zone).date()
    while True:
        at = _at(day, MORNING, zone)
        if at > now and (summaries == "daily" or day.weekday() == 0):
            return at
        day += timedelta(days=1)


def _at(day: date, time: time_of_day, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time, tzinfo=zone).astimezone(UTC)


async def send_due(database: Store, compose: Compose) -> int:
    """Put every summary that is due on the queue; how many. After an outage only the newest, not one a day missed.

    Two workers at it share the channels; a second time changes nothing.
    """
    async with begin_system(database) as tx:
        rows = await tx.all(
            "select id, organization_id from notification_channels where next_summary_at <= %s "
            "and disabled_at is null order by next_summary_at limit %s",
            (tx.clock.now(), _MOST_AT_ONCE),
        )
    sent = 0
    for row in rows:
        try:
            sent += await _send(database, row["organization_id"], row["id"], compose)
        except ShopfloorError as error:  # one organization's trouble is not the next one's
            log.warning("summary.not-made", channel_id=str(row["id"]), code=error.code(), why=error.detail)
    return sent


async def _send(database: Store, organization_id: UUID, channel_id: UUID, compose: Compose) -> bool:
    principal = Principal("system", NIL, organization_id, frozenset({"*"}), name="summaries")
    async with begin(database, principal) as tx:
        channel = await store.due_channel(tx, channel_id)
        if channel is None or channel.summaries is None:
            return False
        zone, now = await store.time_zone(tx), tx.clock.now()
        window = newest_window(channel.summaries, zone, now)
        title, text, html = await compose(tx, window)
        key = f"summary:{channel_id}:{channel.summaries}:{window.first}"
        data = {"first": str(window.first), "last": str(window.last), "time_zone": zone}
        notice = Notice("budget.summary", key, title, text, data, html=html)
        made = await notify(tx, notice, channel_id=channel_id)
        await store.next_summary(tx, channel_id, next_due(channel.summaries, zone, now))
        return bool(made)

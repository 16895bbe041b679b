"""Notifications over HTTP: what was told, what one has read, and the channels it goes over. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.base.principal import Principal, missing
from shopfloor.domain.access.http import SIGNED_IN, Require
from shopfloor.domain.access.replies import after_id, given
from shopfloor.domain.notifications import channels, store
from shopfloor.domain.notifications.channels import NotificationDesk
from shopfloor.domain.notifications.errors import (
    ChannelExists,
    DeliveryUnknown,
    NoMailServer,
    NotificationUnknown,
    TooManyChannels,
)
from shopfloor.domain.notifications.models import Summaries
from shopfloor.domain.notifications.schemas import (
    ChannelChange,
    ChannelMade,
    ChannelNew,
    ChannelReply,
    DeliveryReply,
    NotificationReply,
    ReadReply,
    SummaryPreview,
    channel_made,
    channel_reply,
    delivery_reply,
    notification_reply,
)
from shopfloor.domain.notifications.summaries import newest_window
from shopfloor.infra.outbound import UrlRefused
from shopfloor.infra.secrets.port import MasterKeysAway
from shopfloor.infra.tx import Store, Tx, begin
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1/notifications", tags=["notifications"])

_NOTIFICATIONS = Keyset("notifications", UUID)
_CHANNELS = Keyset("notification channels", UUID)
_DELIVERIES = Keyset("notification deliveries", UUID)

Reader = Annotated[Principal, Depends(Require("notification.read"))]
Myself = Annotated[Principal, Depends(Require(SIGNED_IN))]
Overseer = Annotated[Principal, Depends(Require("budget.read", whole_organization=True))]
Editor = Annotated[Principal, Depends(Require("notification.edit", whole_organization=True))]


class NotificationsState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    notifications: NotificationDesk


def _state(request: Request) -> NotificationsState:
    return cast("NotificationsState", request.app.state.shopfloor)


@router.get("")
async def list_notifications(
    request: Request,
    principal: Reader,
    unread: Annotated[bool | None, Query(description="Only those you have not read yet, or have.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[NotificationReply]:
    """What was told, newest first; of a project to who may read it."""
    filters = {"unread": unread}
    keys = _NOTIFICATIONS.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        rows = await store.inbox(tx, principal.user_id, unread=unread, before=after_id(keys), limit=limit + 1)
    items, following = _NOTIFICATIONS.page(rows, limit, keys=lambda row: (row[0].id,), filters=filters)
    return Page(items=[notification_reply(*row) for row in items], next_cursor=following)


@router.put("/{notification_id}/read", status_code=204)
async def put_read(request: Request, notification_id: UUID, principal: Myself) -> None:
    """You have read this one. For yourself alone; twice changes nothing."""
    async with begin(_state(request).store, principal) as tx:
        await store.mark_read(tx, await _reader(tx, notification_id), notification_id, alone=True)


@router.put("/{notification_id}/read-up-to")
async def put_read_up_to(request: Request, notification_id: UUID, principal: Myself) -> ReadReply:
    """You have read this one and all before it. For yourself alone; twice changes nothing."""
    async with begin(_state(request).store, principal) as tx:
        reader = await _reader(tx, notification_id)
        return ReadReply(read=await store.mark_read(tx, reader, notification_id, alone=False))


async def _reader(tx: Tx, notification_id: UUID) -> UUID:
    """Whose mark it is. Raises: NotificationUnknown, PermissionDenied."""
    if tx.principal.user_id is None or not tx.principal.allows_somewhere("notification.read"):
        raise missing(tx.principal, "notification.read")
    if not await store.readable(tx, notification_id):
        raise NotificationUnknown(f"There is no notification {notification_id}, or none that you may see.")
    return tx.principal.user_id


@router.get("/summaries/daily", summary="What yesterday's summary says")
async def get_daily_summary(request: Request, principal: Overseer) -> SummaryPreview:
    """The summary of the last day that is over, as it is mailed; sent to nobody."""
    return await _summary(request, principal, "daily")


@router.get("/summaries/weekly", summary="What last week's summary says")
async def get_weekly_summary(request: Request, principal: Overseer) -> SummaryPreview:
    """The summary of the last Monday to Sunday that is over, as it is mailed; sent to nobody."""
    return await _summary(request, principal, "weekly")


async def _summary(request: Request, principal: Principal, summaries: Summaries) -> SummaryPreview:
    state = _state(request)
    async with begin(state.store, principal) as tx:
        window = newest_window(summaries, await store.time_zone(tx), tx.clock.now())
        title, text, html = await state.notifications.compose(tx, window)
    return SummaryPreview(
        subject=title, text=text, html=html, starts_at=window.starts_at, ends_at=window.ends_at,
        time_zone=window.time_zone,
    )  # fmt: skip


@router.get("/channels")
async def list_channels(
    request: Request, principal: Editor, limit: Limit = 50, cursor: CursorText = None
) -> Page[ChannelReply]:
    """Where notifications go, oldest first."""
    keys = _CHANNELS.read(cursor)
    async with begin(_state(request).store, principal) as tx:
        rows = await channels.list_channels(tx, after=after_id(keys), limit=limit + 1)
    items, following = _CHANNELS.page(rows, limit, keys=lambda row: (row.id,))
    return Page(items=[channel_reply(row) for row in items], next_cursor=following)


@router.post(
    "/channels",
    status_code=201,
    responses=problems(ChannelExists, TooManyChannels, NoMailServer, UrlRefused, MasterKeysAway),
)
async def post_channel(request: Request, response: Response, new: ChannelNew, principal: Editor) -> ChannelMade:
    """Send notifications to an address or a webhook. The secret that signs a webhook's messages is shown this once."""
    state = _state(request)
    wanted, other = (new.address, new.url) if new.kind == "email" else (new.url, new.address)
    if wanted is None or other is not None:
        raise InvalidInput("An email channel has an `address`, a webhook a `url`: send that one, and not the other.")
    async with begin(state.store, principal) as tx:
        made, secret = await channels.create_channel(
            tx, state.notifications, new.kind, wanted, new.events, new.summaries
        )
    place = f"/api/v1/notifications/channels/{made.id}"
    response.headers.update({"Location": place, "ETag": etag_of(made.version), "Cache-Control": "no-store"})
    return channel_made(made, secret)


@router.get("/channels/{channel_id}", response_model=ChannelReply)
async def get_channel(request: Request, response: Response, channel_id: UUID, principal: Editor) -> Any:
    """One channel."""
    async with begin(_state(request).store, principal) as tx:
        found = await channels.find_channel(tx, channel_id)
    etag = etag_of(found.version)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or channel_reply(found)


@router.patch("/channels/{channel_id}", responses=problems(PreconditionFailed))
async def patch_channel(
    request: Request, response: Response, channel_id: UUID, change: ChannelChange, principal: Editor
) -> ChannelReply:
    """Other events or summaries; on or off. With `If-Match`: only if nobody changed it since."""
    async with begin(_state(request).store, principal) as tx:
        found = await channels.find_channel(tx, channel_id)
        require_match(request, etag_of(found.version), optional=True)
        changed = await channels.change_channel(tx, found, given(change))
    response.headers.update(cache_headers(etag_of(changed.version)))
    return channel_reply(changed)


@router.delete("/channels/{channel_id}", status_code=204)
async def delete_channel(request: Request, channel_id: UUID, principal: Editor) -> None:
    """Remove it, and the log of its deliveries."""
    async with begin(_state(request).store, principal) as tx:
        await channels.remove_channel(tx, await channels.find_channel(tx, channel_id))


@router.post("/channels/{channel_id}/rotate-secret", responses=problems(PreconditionFailed, MasterKeysAway))
async def post_rotate_secret(request: Request, response: Response, channel_id: UUID, principal: Editor) -> ChannelMade:
    """A webhook's new secret, shown this once. The one before signs nothing any more."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        found = await channels.find_channel(tx, channel_id)
        changed, secret = await channels.rotate_secret(tx, state.notifications, found)
    response.headers.update({"ETag": etag_of(changed.version), "Cache-Control": "no-store"})
    return channel_made(changed, secret)


@router.post("/channels/{channel_id}/test", status_code=202)
async def post_test(request: Request, channel_id: UUID, principal: Editor) -> DeliveryReply:
    """Send a test message. Its delivery says how it went."""
    async with begin(_state(request).store, principal) as tx:
        found = await channels.find_channel(tx, channel_id)
        return delivery_reply(await channels.try_channel(tx, found))


@router.get("/channels/{channel_id}/deliveries")
async def list_deliveries(
    request: Request, channel_id: UUID, principal: Editor, limit: Limit = 50, cursor: CursorText = None
) -> Page[DeliveryReply]:
    """What went over the channel and how that went, newest first."""
    filters = {"channel": str(channel_id)}
    keys = _DELIVERIES.read(cursor, filters=filters)
    async with begin(_state(request).store, principal) as tx:
        found = await channels.find_channel(tx, channel_id)
        rows = await store.deliveries(tx, found.id, before=after_id(keys), limit=limit + 1)
    items, following = _DELIVERIES.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[delivery_reply(row) for row in items], next_cursor=following)


@router.post(
    "/channels/{channel_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=problems(DeliveryUnknown)
)
async def post_redeliver(request: Request, channel_id: UUID, delivery_id: UUID, principal: Editor) -> DeliveryReply:
    """Send it once more, under the same `webhook-id`."""
    async with begin(_state(request).store, principal) as tx:
        found = await channels.find_channel(tx, channel_id)
        return delivery_reply(await channels.redeliver(tx, found, delivery_id))

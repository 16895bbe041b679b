"""The queue's task: send one delivery to its channel, and write down how that went."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import format_datetime
from typing import Final
from uuid import UUID

import structlog

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.notifications import store, webhook
from shopfloor.domain.notifications.channels import SECRETS
from shopfloor.domain.notifications.errors import NotDelivered
from shopfloor.domain.notifications.letters import letter
from shopfloor.domain.notifications.models import Channel, Delivery, Notification
from shopfloor.domain.notifications.settings import NotificationsSettings
from shopfloor.domain.notifications.webhook import Answer
from shopfloor.infra.mail import MailNotSent, MailSettings, build, send
from shopfloor.infra.outbound import Resolver
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store, Tx, begin

ATTEMPTS: Final = 14  # with growing pauses: about four and a half hours
_OFF: Final = "The channel is switched off."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    """What deliveries are sent with. One a process."""

    store: Store
    sealer: Sealer
    mail: MailSettings
    settings: NotificationsSettings
    resolver: Resolver | None = None


async def deliver(sending: Sending, delivery_id: UUID, organization_id: UUID) -> None:
    """Sent already, or its channel is gone: nothing happens.

    A worker killed between the answer and the commit sends it again, under the same `webhook-id` or Message-ID.
    Raises: NotDelivered, so that the queue tries it again.
    """
    principal = Principal("system", NIL, organization_id, frozenset({"*"}), name="notifications")
    async with begin(sending.store, principal) as tx:
        row = await store.delivery(tx, delivery_id)
        if row is None or row.state not in {"pending", "retrying"}:
            return
        channel = await store.channel(tx, row.channel_id)
        told = await store.notification(tx, row.notification_id)
        assert channel is not None
        assert told is not None
        secret = await _opened(sending, tx, channel)
        timestamp = int(tx.clock.now().timestamp())
    if channel.disabled_at is not None:
        answer = Answer(taken=False, error=_OFF, again=False)
    elif channel.kind == "webhook":
        answer = await webhook.post(
            sending.settings, channel.address, secret, told, timestamp, resolver=sending.resolver
        )
    else:
        answer = await _mail(sending, channel, told, row)
    await _write_down(sending, principal, row, channel, answer)


async def _opened(sending: Sending, tx: Tx, channel: Channel) -> str:
    if channel.sealed_secret is None:
        return ""
    secret = await sending.sealer.open(tx, tx.organization_id, SECRETS.place(channel.id), bytes(channel.sealed_secret))
    REDACTOR.remember(secret)
    return secret


async def _mail(sending: Sending, channel: Channel, told: Notification, row: Delivery) -> Answer:
    if not sending.mail.host:
        return Answer(taken=False, error="No mail server is set: SHOPFLOOR_MAIL__HOST.", again=False)
    try:
        message = build(sending.mail, letter(channel.address, told), row.id)
        message["Date"] = format_datetime(told.created_at)
        await send(sending.mail, message)
    except MailNotSent as error:
        return Answer(taken=False, error=error.detail)
    except ShopfloorError as error:
        return Answer(taken=False, error=error.detail, again=False)
    return Answer(taken=True)


async def _write_down(sending: Sending, principal: Principal, row: Delivery, channel: Channel, answer: Answer) -> None:
    last = row.attempts + 1 >= ATTEMPTS
    state = "delivered" if answer.taken else "retrying" if answer.again and not last else "failed"
    async with begin(sending.store, principal) as tx:
        await store.attempted(tx, row, state, status=answer.status, error=answer.error, excerpt=answer.excerpt)
        if answer.gone and await store.switch_off(
            tx, channel.id, "The webhook answered 410 Gone: nobody listens there any more."
        ):
            await tx.record("notification-channel.switched-off", "notification-channel", channel.id)
    log.info("notification.attempted", delivery_id=str(row.id), state=state, status=answer.status)
    if not answer.taken and answer.again:
        raise NotDelivered(
            f"{answer.error} It is tried again; GET /api/v1/notifications/channels/{channel.id}/deliveries shows how "
            "it went.",
            delivery_id=str(row.id),
        )

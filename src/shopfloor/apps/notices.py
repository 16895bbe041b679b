"""What rooms publish, told by the notifications room: who listens to what, the queue's tasks, the daily summaries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import structlog

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import NIL, new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.approvals import store as approvals
from shopfloor.domain.approvals.models import ApprovalAsked
from shopfloor.domain.budgets import summaries as figures
from shopfloor.domain.budgets import words
from shopfloor.domain.budgets.port import BudgetAlerted, BudgetPaused, BudgetResumed
from shopfloor.domain.budgets.words import Told
from shopfloor.domain.dead_letters import store as dead_letters
from shopfloor.domain.dead_letters.events import DeadLetterAdded
from shopfloor.domain.notifications import notify
from shopfloor.domain.notifications.deliver import ATTEMPTS, Sending, deliver
from shopfloor.domain.notifications.notify import Notice
from shopfloor.domain.notifications.summaries import Window, send_due
from shopfloor.infra.bus import Subscriptions
from shopfloor.infra.tx import Store, Tx, begin

TASK: Final = "notices.tell"
_DUE_S: Final = 60.0

log = structlog.get_logger(__name__)


async def _approval_asked(tx: Tx, approval_id: UUID) -> Told | None:
    """None: somebody has answered already."""
    asked = await approvals.approval(tx, approval_id)
    if asked is None or asked.state != "pending":
        return None
    body = (
        f"Job {asked.job_id} waits until somebody says yes or no, at the latest at {asked.expires_at:%Y-%m-%d %H:%M} "
        f"UTC: {asked.summary}. Answer on the page, or with `shopfloor approval view {asked.id}`."
    )
    data = {"approval_id": str(asked.id), "job_id": str(asked.job_id), "tool": asked.tool}
    return Told("approval.asked", "A job waits for an approval", body, data, asked.project_id)


async def _letter_added(tx: Tx, letter_id: UUID) -> Told | None:
    """None: somebody has decided already."""
    letter = await dead_letters.letter(tx, letter_id)
    if letter is None or letter.state != "open":
        return None
    what = f"Job {letter.job_id}" if letter.kind == "job" else f"The task {letter.task}"
    body = (
        f"{what} was given up after its last attempt. Look, then send it on its way again or discard it: "
        f"`shopfloor dead-letter view {letter.id}`."
    )
    data = {"letter_id": str(letter.id), "kind": letter.kind, "task": letter.task}
    return Told("deadletter.added", f"{what} was given up", body, data, letter.project_id)


_WORDS: Final[dict[str, Callable[[Tx, UUID], Awaitable[Told | None]]]] = {
    "alerted": words.alerted,
    "paused": words.paused,
    "resumed": words.resumed,
    "asked": _approval_asked,
    "given up": _letter_added,
}


def subscribe(subscriptions: Subscriptions) -> None:
    """Each event is told once: its key is the alert's id, else one that is made with the event's own commit."""
    subscriptions.subscribe(
        BudgetAlerted, TASK, lambda event: _arguments("alerted", event.organization_id, event.alert_id, event.alert_id)
    )
    subscriptions.subscribe(
        BudgetPaused, TASK, lambda event: _arguments("paused", event.organization_id, event.period_id, new_id())
    )
    subscriptions.subscribe(
        BudgetResumed, TASK, lambda event: _arguments("resumed", event.organization_id, event.period_id, new_id())
    )

    subscriptions.subscribe(
        ApprovalAsked, TASK,
        lambda event: _arguments("asked", event.organization_id, event.approval_id, event.approval_id),
    )  # fmt: skip
    subscriptions.subscribe(
        DeadLetterAdded, TASK,
        lambda event: _arguments("given up", event.organization_id, event.letter_id, event.letter_id),
    )  # fmt: skip


def _arguments(what: str, organization_id: UUID, about: UUID, key: UUID) -> dict[str, Any]:
    return {"what": what, "organization_id": str(organization_id), "about": str(about), "key": str(key)}


def register(sending: Sending) -> None:
    """The queue's tasks of this subject, for workers."""
    queue = sending.store.services.queue

    async def tell(what: str, organization_id: str, about: str, key: str) -> None:
        await tell_of(sending.store, what, UUID(organization_id), UUID(about), UUID(key))

    async def send(delivery_id: str, organization_id: str) -> None:
        await deliver(sending, UUID(delivery_id), UUID(organization_id))

    queue.task(TASK, tell, attempts=5)
    queue.task(notify.TASK, send, attempts=ATTEMPTS)


async def tell_of(store: Store, what: str, organization_id: UUID, about: UUID, key: UUID) -> None:
    """Tell it to whoever wants to hear; a second time, or where it isn't so any more, nothing happens."""
    principal = Principal("system", NIL, organization_id, frozenset({"*"}), name="notifications")
    async with begin(store, principal) as tx:
        told = await _WORDS[what](tx, about)
        if told is not None:
            notice = Notice(told.kind, f"{told.kind}:{key}", told.title, told.body, told.data, told.project_id)
            await notify.notify(tx, notice)


async def send_summaries(store: Store) -> None:
    """Each minute, until cancelled: put the summaries that are due on the queue; and forget what is old."""
    while True:
        try:
            await send_due(store, compose)
            await notify.forget_old(store)
        except ShopfloorError as error:  # the database is away: the next minute finds what is due
            log.warning("summaries.delayed", code=error.code(), why=error.detail)
        await asyncio.sleep(_DUE_S)


async def compose(tx: Tx, window: Window) -> tuple[str, str, str]:
    """Title, text and HTML of a summary."""
    title = str(window.first) if window.first == window.last else f"{window.first} to {window.last}"
    found = await figures.gather(
        tx, title=title, starts_at=window.starts_at, ends_at=window.ends_at, time_zone=window.time_zone
    )
    return figures.subject(found), figures.as_text(found), figures.as_html(found)

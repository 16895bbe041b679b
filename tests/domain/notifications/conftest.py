"""Budgets and notifications behind HTTP, a real mail server, a real webhook, and a queue whose tasks tests run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from domain.accounts.moving_clock import MovingClock
from domain.budgets.paid_calls import calls  # noqa: F401 - a fixture
from domain.notifications.webhook_receiver import Receiver, receiving
from mail_server import Mailbox, mail_server
from shopfloor.apps import notices
from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.budgets import api as budgets_api
from shopfloor.domain.notifications import api as notifications_api
from shopfloor.domain.notifications.channels import NotificationDesk
from shopfloor.domain.notifications.deliver import Sending, deliver
from shopfloor.domain.notifications.settings import NotificationsSettings
from shopfloor.infra.mail import MailSettings
from shopfloor.infra.tx import Store, begin_system

SETTINGS = NotificationsSettings(allow_private=True, timeout_s=2)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def mail(mailbox: Mailbox) -> AsyncIterator[MailSettings]:
    async with mail_server(mailbox) as settings:
        yield settings


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def clock(store: Store) -> MovingClock:
    clock = MovingClock()
    store.services.clock = clock
    return clock


@pytest.fixture
def sending(store: Store, sealer: Any, mail: MailSettings) -> Sending:
    notices.subscribe(store.services.subscriptions)
    made = Sending(store, sealer, mail, SETTINGS)
    notices.register(made)
    return made


@pytest.fixture
def app(app: FastAPI, sealer: Any, mail: MailSettings, sending: Sending) -> FastAPI:
    app.include_router(budgets_api.router)
    app.include_router(notifications_api.router)
    state = app.state.shopfloor
    parts = {name: getattr(state, name) for name in type(state).__dataclass_fields__}
    desk = NotificationDesk(sealer, mail, SETTINGS, notices.compose)
    app.state.shopfloor = SimpleNamespace(**parts, desk=SimpleNamespace(agents=lambda: ["coding"]), notifications=desk)
    return app


@dataclass
class Queue:
    """Runs what is on the queue, as a worker does, until nothing is; a task that fails stays."""

    store: Store
    sending: Sending

    async def waiting(self) -> list[dict[str, Any]]:
        async with begin_system(self.store) as tx:
            return await tx.all("select id, task_name, args from procrastinate_jobs where status = 'todo' order by id")

    async def run(self, *, times: int = 1) -> list[str]:
        """The errors of those that failed; `times`: each runs so often, as after a kill."""
        failed: list[str] = []
        tried: set[int] = set()
        while tasks := [each for each in await self.waiting() if each["id"] not in tried]:
            for task in tasks:
                tried.add(task["id"])
                try:
                    for _ in range(times):
                        await self._task(task["task_name"], task["args"])
                except ShopfloorError as error:
                    failed.append(error.code())
                    continue
                async with begin_system(self.store) as tx:
                    await tx.execute("delete from procrastinate_jobs where id = %s", (task["id"],))
        return failed

    async def _task(self, name: str, args: dict[str, Any]) -> None:
        if name == notices.TASK:
            ids = [UUID(args[each]) for each in ("organization_id", "about", "key")]
            await notices.tell_of(self.store, args["what"], *ids)
        else:
            await deliver(self.sending, UUID(args["delivery_id"]), UUID(args["organization_id"]))


@pytest.fixture
def queue(store: Store, sending: Sending) -> Queue:
    return Queue(store, sending)


@pytest.fixture
def make_channel(client: httpx2.AsyncClient, webhook: Receiver):
    async def make(kind: str = "webhook", **fields: Any) -> dict[str, Any]:
        where = {"url": webhook.url} if kind == "webhook" else {"address": "ops@example.org"}
        body = {"kind": kind, "events": ["budget.alert", "budget.paused", "budget.resumed"]} | where | fields
        made = await client.post("/api/v1/notifications/channels", json=body)
        assert made.status_code == 201, made.text
        webhook.secret = made.json()["secret"] or webhook.secret
        return made.json()

    return make


@pytest.fixture
def deliveries(client: httpx2.AsyncClient):
    async def of(channel: dict[str, Any]) -> list[dict[str, Any]]:
        found = await client.get(f"/api/v1/notifications/channels/{channel['id']}/deliveries")
        return found.json()["items"]

    return of

"""What tenants.py needs of budgets, notifications and dead letters: examples, and bodies that a tenant may send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.json import Jsonb

from shopfloor.base.ids import new_id
from shopfloor.infra.tx import begin

if TYPE_CHECKING:
    from security.api.tenants import Tenant


async def a_budget(tenant: Tenant) -> str:
    """Of a project of its own: each scope has one for each period. It alerted, and is paused."""
    made = await tenant.client.post("/api/v1/budgets", json=await a_budget_body(tenant))
    assert made.status_code == 201, made.text
    async with begin(tenant.parts.store, tenant.principal) as tx:
        await tx.execute(
            "update budget_periods set paused_at = now(), paused_because = %s where budget_id = %s",
            (Jsonb({"asked_nanos": 10**15}), made.json()["id"]),
        )
        await tx.execute(
            "insert into budget_alerts (id, organization_id, budget_id, period_id, threshold, spent_nanos, "
            "limit_nanos) select %s, organization_id, budget_id, id, 80, 1, 1 from budget_periods where budget_id = %s",
            (new_id(), made.json()["id"]),
        )
    return str(made.json()["id"])


async def a_budget_body(tenant: Tenant) -> dict[str, Any]:
    slug = f"b-{new_id().hex[-12:]}"
    project = await tenant.client.post("/api/v1/projects", json={"slug": slug, "name": tenant.mark})
    assert project.status_code == 201, project.text
    return {"scope": {"type": "project", "id": slug}, "period": "month", "limit_usd": "1"}


async def a_notification(tenant: Tenant) -> str:
    told = new_id()
    async with begin(tenant.parts.store, tenant.principal) as tx:
        await tx.execute(
            "insert into notifications (id, organization_id, kind, key, title, body, data) "
            "values (%s, %s, 'budget.alert', %s, %s, %s, '{}')",
            (told, tenant.id, str(told), tenant.mark, tenant.mark),
        )
    return str(told)


async def a_delivery(tenant: Tenant) -> str:
    """Of the channel that was made last; it failed."""
    told, delivery = await a_notification(tenant), new_id()
    async with begin(tenant.parts.store, tenant.principal) as tx:
        await tx.execute(
            "insert into notification_deliveries (id, organization_id, notification_id, channel_id, state) "
            "select %s, organization_id, %s, id, 'failed' from notification_channels where organization_id = %s "
            "order by id desc limit 1",
            (delivery, told, tenant.id),
        )
    return str(delivery)


async def a_letter(tenant: Tenant) -> str:
    """A task that was given up. Past the product: only the system adds those."""
    letter, url = new_id(), tenant.parts.settings.database.url
    assert url is not None
    with psycopg.connect(url) as connection:
        connection.execute(
            "insert into dead_letters (id, organization_id, project_id, kind, task, queue, task_id, reason, history, "
            "attempts, payload) values (%s, %s, %s, 'task', 'of.a.test', 'default', %s, %s, '[]', 1, %s)",
            (
                letter, tenant.id, tenant.project_id, letter.int % 2**62,
                Jsonb({"code": "x", "title": "x", "detail": tenant.mark}), Jsonb({"what": tenant.mark}),
            ),
        )  # fmt: skip
    return str(letter)


EXAMPLES: dict[str, Callable[[Tenant], Awaitable[str]]] = {
    "budget_id": a_budget,
    "letter_id": a_letter,
    "notification_id": a_notification,
    "delivery_id": a_delivery,
}


BODIES: dict[str, Callable[[Tenant], Any]] = {
    "POST /api/v1/budgets": lambda _: {
        "scope": {"type": "organization"}, "period": "month", "limit_usd": "1", "time_zone": "UTC",
    },
    "POST /api/v1/budgets/{budget_id}/raises": lambda tenant: {
        "amount_usd": "1", "for_hours": 1, "reason": tenant.mark,
    },
    "POST /api/v1/notifications/channels": lambda tenant: {
        "kind": "webhook", "url": f"https://hooks.example.org/{tenant.mark}/{new_id()}", "events": ["budget.alert"],
    },
}  # fmt: skip

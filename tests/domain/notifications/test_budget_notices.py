"""From a budget's change to a mail and a webhook: each alert arrives once, whatever runs twice."""

from __future__ import annotations

import asyncio

from domain.budgets.paid_calls import USD
from shopfloor.domain.budgets.port import BudgetPaused
from shopfloor.infra.tx import begin

BUDGET = {"scope": {"type": "project", "id": "default"}, "period": "month", "limit_usd": "10"}


async def test_an_alert_reaches_page_mail_and_webhook_once(
    client, calls, make_channel, queue, mailbox, webhook, deliveries
):
    hook, mail = await make_channel(), await make_channel("email")
    await calls.make(9 * USD + USD // 4)
    budget = (await client.post("/api/v1/budgets", json=BUDGET)).json()
    assert await queue.run(times=2) == []
    assert [each["data"]["threshold"] for each in webhook.taken] == [80, 90]
    assert webhook.refused == []
    first = webhook.taken[0]
    assert (first["type"], first["data"]["budget_id"]) == ("budget.alert", budget["id"])
    assert (first["data"]["spent_nanos"], first["data"]["scope"]["name"]) == (9_250_000_000, "project default")
    assert sorted(str(each["subject"]) for each in mailbox.taken) == [
        "80 % of the month budget of project default is spent",
        "90 % of the month budget of project default is spent",
    ]
    assert {str(each["to"]) for each in mailbox.taken} == {"ops@example.org"}
    told = (await client.get("/api/v1/notifications")).json()["items"]
    assert [(each["kind"], each["data"]["threshold"]) for each in told] == [("budget.alert", 90), ("budget.alert", 80)]
    assert {each["project_id"] for each in told} == {budget["project_id"]}
    for channel in (hook, mail):
        assert [each["state"] for each in await deliveries(channel)] == ["delivered", "delivered"]

    await client.patch(f"/api/v1/budgets/{budget['id']}", json={"limit_usd": "10.01"})  # reached as before
    assert await queue.run() == []
    assert (len(webhook.taken), len(mailbox.taken)) == (2, 2)


async def test_a_real_worker_of_the_queue_sends_it(client, calls, make_channel, sending, store, webhook):
    await make_channel()
    await calls.make(8 * USD)
    work = asyncio.create_task(store.services.queue.work(store.database, queues=["default"], name="w", concurrency=2))
    try:
        await client.post("/api/v1/budgets", json=BUDGET)
        assert await asyncio.to_thread(webhook.arrived.wait, 20)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert [each["data"]["threshold"] for each in webhook.taken] == [80]


async def test_what_a_project_is_called_writes_no_html_and_no_header(client, calls, make_channel, queue, mailbox):
    await make_channel("email")
    await client.post("/api/v1/teams", json={"slug": "web", "name": "<b>Web</b>"})
    async with begin(calls.store, calls.owner) as tx:
        await tx.execute("update organizations set name = %s", ("<script>x</script>\nBcc: thief@example.net",))
    await calls.make(8 * USD)
    await client.post("/api/v1/budgets", json=BUDGET | {"scope": {"type": "organization"}})
    assert await queue.run() == []
    [taken] = mailbox.taken
    html = taken.get_body(("html",)).get_content()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert taken["bcc"] is None
    assert "thief@example.net" in taken["subject"]  # as text, on one line
    assert "Bcc: thief" in taken.get_body(("plain",)).get_content()


async def test_a_pause_is_told_with_what_to_do_and_so_is_its_end(
    client, calls, make_channel, queue, store, owner, webhook
):
    await make_channel()
    await calls.make(10 * USD)
    budget = (await client.post("/api/v1/budgets", json=BUDGET | {"thresholds": []})).json()
    async with begin(store, owner) as tx:
        row = await tx.one(
            "update budget_periods set paused_at = now(), paused_because = %s returning id", ('{"asked_nanos": 5}',)
        )
        assert row is not None
        await tx.publish(BudgetPaused(tx.organization_id, row["id"]))
    await queue.run(times=2)
    place = f"/api/v1/budgets/{budget['id']}"
    await client.post(f"{place}/raises", json={"amount_usd": "5", "for_hours": 1, "reason": "x"})
    await queue.run(times=2)
    assert [each["type"] for each in webhook.taken] == ["budget.paused", "budget.resumed"]
    assert webhook.taken[0]["data"]["because"] == {"asked_nanos": 5}
    assert f"shopfloor budget raise {budget['id']}" in webhook.taken[0]["data"]["text"]


async def test_a_pause_that_is_over_before_it_could_be_told_is_not_told(
    client, make_channel, queue, store, owner, webhook
):
    await make_channel()
    await client.post("/api/v1/budgets", json=BUDGET)
    async with begin(store, owner) as tx:
        row = await tx.one("select id from budget_periods")
        assert row is not None
        await tx.publish(BudgetPaused(tx.organization_id, row["id"]))
    await queue.run()
    assert webhook.taken == []


async def test_who_may_not_read_the_project_is_not_told_and_marks_are_each_ones_own(
    client, clients, calls, queue, owner
):
    await calls.make(8 * USD)
    await client.post("/api/v1/budgets", json=BUDGET)
    await client.post("/api/v1/budgets", json=BUDGET | {"scope": {"type": "organization"}})
    await client.post("/api/v1/projects", json={"slug": "bank", "name": "Bank"})
    await queue.run()
    bank = (await client.get("/api/v1/projects/bank")).json()["id"]
    other = await clients.with_key(owner.organization_id, project_ids=[bank])
    assert (await other.get("/api/v1/notifications")).json()["items"] == []
    whole, ours = (await client.get("/api/v1/notifications")).json()["items"]
    assert (whole["project_id"], whole["read_at"]) == (None, None)
    assert (await other.put(f"/api/v1/notifications/{ours['id']}/read")).status_code == 404

    assert (await client.put(f"/api/v1/notifications/{ours['id']}/read")).status_code == 204
    unread = (await client.get("/api/v1/notifications", params={"unread": True})).json()["items"]
    assert [each["id"] for each in unread] == [whole["id"]]
    read = (await client.get("/api/v1/notifications", params={"unread": False})).json()["items"]
    assert [each["id"] for each in read] == [ours["id"]]
    viewer = await clients.with_key(owner.organization_id)
    assert len((await viewer.get("/api/v1/notifications", params={"unread": True})).json()["items"]) == 2
    for left in (1, 0):
        answer = await client.put(f"/api/v1/notifications/{whole['id']}/read-up-to")
        assert answer.json() == {"read": left}

"""Channels: made, tried, signed, refused, switched off; and a webhook that doesn't behave."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import httpx2
import pytest

from shopfloor.base.ids import new_id
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.notifications.deliver import ATTEMPTS, deliver
from shopfloor.domain.notifications.settings import NotificationsSettings
from shopfloor.domain.notifications.signing import new_secret, signed_headers
from shopfloor.infra.mail import MailSettings
from shopfloor.infra.tx import begin, begin_system

CHANNELS = "/api/v1/notifications/channels"


async def a_test(client: httpx2.AsyncClient, channel: dict) -> dict:
    return (await client.post(f"{CHANNELS}/{channel['id']}/test")).json()


def test_a_signature_is_the_one_of_the_specification():
    """Source: Standard Webhooks 1.0.0, the example of the reference libraries' own tests."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_channel_lives_from_post_to_delete(client: httpx2.AsyncClient, make_channel, store):
    made = await make_channel()
    assert made["secret"].startswith("whsec_")
    place = f"{CHANNELS}/{made['id']}"
    found = await client.get(place)
    assert found.json() == {name: value for name, value in made.items() if name != "secret"}
    assert (await client.get(CHANNELS)).json()["items"] == [found.json()]
    async with begin_system(store) as tx:
        row = await tx.one("select sealed_secret from notification_channels")
    assert row is not None
    assert made["secret"].encode() not in bytes(row["sealed_secret"])
    again = await client.post(CHANNELS, json={"kind": "webhook", "url": made["address"], "events": []})
    assert (again.status_code, again.json()["code"]) == (409, "channel-exists")
    etag = {"If-Match": found.headers["etag"]}
    changed = await client.patch(place, json={"events": ["budget.alert"], "enabled": False}, headers=etag)
    assert (changed.json()["events"], changed.json()["enabled"]) == (["budget.alert"], False)
    assert (await client.patch(place, json={"enabled": True}, headers=etag)).status_code == 412
    assert (await client.patch(place, json={"summaries": "daily"})).status_code == 422
    assert (await client.delete(place)).status_code == 204
    assert (await client.get(place)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "webhook", "events": []},
        {"kind": "webhook", "url": "https://example.org/", "address": "a@example.org", "events": []},
        {"kind": "email", "url": "https://example.org/", "events": []},
        {"kind": "email", "address": "nobody", "events": []},
        {"kind": "email", "address": "a@example.org\nBcc: b@example.org", "events": []},
        {"kind": "webhook", "url": "ftp://example.org/", "events": []},
        {"kind": "webhook", "url": "https://user@example.org/", "events": []},
        {"kind": "webhook", "url": "http://169.254.169.254/latest", "events": []},
        {"kind": "webhook", "url": "https://example.org/", "events": ["everything"]},
        {"kind": "webhook", "url": "https://example.org/", "events": [], "summaries": "daily"},
        {"kind": "pigeon", "address": "a@example.org", "events": []},
    ],
)
async def test_what_makes_no_channel_is_refused(client: httpx2.AsyncClient, body: dict):
    assert (await client.post(CHANNELS, json=body)).status_code == 422


async def test_without_a_mail_server_no_mail_channel_is_made(client: httpx2.AsyncClient, app):
    app.state.shopfloor.notifications = replace(app.state.shopfloor.notifications, mail=MailSettings())
    refused = await client.post(CHANNELS, json={"kind": "email", "address": "a@example.org", "events": []})
    assert (refused.status_code, refused.json()["code"]) == (409, "no-mail-server")


async def test_a_webhook_on_a_private_address_is_not_reached_unless_that_is_allowed(
    client, make_channel, queue, webhook, deliveries
):
    channel = await make_channel()
    allowed = queue.sending
    queue.sending = replace(allowed, settings=NotificationsSettings())
    delivery = await a_test(client, channel)
    assert await queue.run() == []  # trying again is no use
    assert webhook.ids == []
    [found] = await deliveries(channel)
    assert (found["state"], found["attempts"]) == ("failed", 1)
    assert "http" in found["last_error"]
    queue.sending = allowed  # the positive control
    await client.post(f"{CHANNELS}/{channel['id']}/deliveries/{delivery['id']}/redeliver")
    await queue.run()
    assert len(webhook.taken) == 1


async def test_a_name_that_leads_to_a_private_address_is_not_reached(client, make_channel, queue, webhook, deliveries):
    channel = await make_channel(url="http://hooks.example.org:9/")

    async def resolve(host: str, port: int) -> list[str]:
        return ["169.254.169.254"]

    queue.sending = replace(queue.sending, resolver=resolve)
    await a_test(client, channel)
    assert await queue.run() == []
    [found] = await deliveries(channel)
    assert (found["state"], found["last_status"]) == ("failed", None)
    assert "169.254.169.254" in found["last_error"]


async def test_a_message_signed_by_another_secret_is_not_taken(client, make_channel, queue, webhook, deliveries):
    channel = await make_channel()
    webhook.secret = new_secret()
    await a_test(client, channel)
    assert await queue.run() == ["not-delivered"]
    assert webhook.refused == ["signature"]
    rotated = await client.post(f"{CHANNELS}/{channel['id']}/rotate-secret")
    webhook.secret = rotated.json()["secret"]
    assert await queue.run() == []
    assert [each["data"]["title"] for each in webhook.taken] == ["A test from Shopfloor"]
    [found] = await deliveries(channel)
    assert (found["state"], found["attempts"], found["last_status"]) == ("delivered", 2, 200)


async def test_a_webhook_that_fails_is_tried_again_under_the_same_id_until_it_takes_it(
    client, make_channel, queue, webhook, deliveries
):
    channel = await make_channel()
    webhook.answers = [(500, b"\x00oops " + b"x" * 2_000), (302, b""), (429, b"slowly"), (204, b"")]
    await a_test(client, channel)
    for status, state in ((500, "retrying"), (302, "retrying"), (429, "retrying")):
        assert await queue.run() == ["not-delivered"]
        [found] = await deliveries(channel)
        assert (found["last_status"], found["state"]) == (status, state)
        assert len(found["last_excerpt"]) <= 500
    assert await queue.run() == []
    assert len(set(webhook.ids)) == 1
    assert len(webhook.taken) == 1
    [found] = await deliveries(channel)
    assert (found["state"], found["attempts"], found["last_error"]) == ("delivered", 4, None)


async def test_a_webhook_that_hangs_is_given_up_after_its_time(client, make_channel, queue, webhook, deliveries):
    channel = await make_channel()
    webhook.hang = True
    await a_test(client, channel)
    assert await queue.run() == ["not-delivered"]
    [found] = await deliveries(channel)
    assert (found["state"], found["last_status"]) == ("retrying", None)
    webhook.hang = False
    webhook.free.set()
    assert await queue.run() == []
    assert len(webhook.taken) == 1


async def test_a_worker_that_dies_while_it_sends_leaves_it_to_the_next(
    client, make_channel, queue, webhook, deliveries, owner
):
    channel = await make_channel()
    webhook.hang = True
    delivery = await a_test(client, channel)
    sending = asyncio.create_task(deliver(queue.sending, UUID(delivery["id"]), owner.organization_id))
    assert await asyncio.to_thread(webhook.asked.wait, 10)
    sending.cancel()  # as a kill: nothing of it is written down any more
    await asyncio.gather(sending, return_exceptions=True)
    [found] = await deliveries(channel)
    assert (found["state"], found["attempts"]) == ("pending", 0)
    webhook.hang = False
    webhook.free.set()
    assert await queue.run(times=2) == []
    assert len(webhook.taken) == 1


async def test_a_worker_that_dies_before_it_can_write_down_the_answer_sends_it_under_the_same_id(
    client, make_channel, queue, webhook, deliveries, store, owner
):
    channel = await make_channel()
    delivery = await a_test(client, channel)
    async with begin(store, owner) as tx:  # who holds the row keeps the note from being written
        await tx.execute("update notification_deliveries set attempts = 0")
        sending = asyncio.create_task(deliver(queue.sending, UUID(delivery["id"]), owner.organization_id))
        assert await asyncio.to_thread(webhook.arrived.wait, 10)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert await queue.run() == []
    assert len(webhook.ids) == 2
    assert len(set(webhook.ids)) == 1
    [found] = await deliveries(channel)
    assert (found["state"], found["attempts"]) == ("delivered", 1)


async def test_after_its_last_attempt_a_delivery_has_failed_and_can_be_sent_again(
    client, make_channel, queue, webhook, deliveries
):
    channel = await make_channel()
    webhook.answers = [(500, b"no")]
    delivery = await a_test(client, channel)
    for _ in range(ATTEMPTS):
        assert await queue.run() == ["not-delivered"]
    [found] = await deliveries(channel)
    assert (found["state"], found["attempts"]) == ("failed", ATTEMPTS)
    assert await queue.run() == []  # a task that comes late sends nothing any more
    webhook.answers = [(200, b"ok")]
    place = f"{CHANNELS}/{channel['id']}/deliveries/{delivery['id']}/redeliver"
    assert (await client.post(place)).status_code == 202
    assert (await client.post(place)).status_code == 202  # on its way: nothing happens
    assert len(await queue.waiting()) == 1
    assert await queue.run() == []
    assert len(webhook.taken) == 1
    assert len(set(webhook.ids)) == 1


async def test_a_webhook_that_is_gone_is_switched_off(client, make_channel, queue, webhook, deliveries):
    channel = await make_channel()
    webhook.answers = [(410, b"moved away")]
    await a_test(client, channel)
    assert await queue.run() == []
    found = (await client.get(f"{CHANNELS}/{channel['id']}")).json()
    assert found["enabled"] is False
    assert "410" in found["disabled_because"]
    await a_test(client, channel)
    await queue.run()
    assert len(webhook.ids) == 1  # what is off is not asked
    on = await client.patch(f"{CHANNELS}/{channel['id']}", json={"enabled": True})
    assert (on.json()["enabled"], on.json()["disabled_because"]) == (True, None)


async def test_a_mail_server_that_refuses_is_asked_again(client, make_channel, queue, mailbox, deliveries):
    channel = await make_channel("email")
    mailbox.refusing = "451 not now"
    await a_test(client, channel)
    assert await queue.run() == ["not-delivered"]
    mailbox.refusing = ""
    assert await queue.run(times=2) == []
    assert [str(each["subject"]) for each in mailbox.taken] == ["A test from Shopfloor"]
    [found] = await deliveries(channel)
    assert (found["state"], found["attempts"]) == ("delivered", 2)
    assert str(mailbox.taken[0]["message-id"]) == f"<{found['id']}@example.org>"


async def test_channels_are_for_who_may_edit_them_in_the_whole_organization(
    client, clients, make_channel, owner, stranger
):
    channel = await make_channel()
    viewer = await clients.with_key(owner.organization_id, ROLES["viewer"], role="viewer")
    limited = await clients.with_key(owner.organization_id, project_ids=[new_id()])
    for who in (viewer, limited):
        assert (await who.get(CHANNELS)).status_code == 403
    assert (await stranger.get(f"{CHANNELS}/{channel['id']}")).status_code == 404
    assert (await stranger.post(f"{CHANNELS}/{channel['id']}/test")).status_code == 404
    unknown = await client.post(f"{CHANNELS}/{channel['id']}/deliveries/{new_id()}/redeliver")
    assert unknown.json()["code"] == "delivery-unknown"

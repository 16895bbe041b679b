"""Summaries of days and weeks: in the organization's morning, once, and after an outage only the newest."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from domain.budgets.paid_calls import USD
from shopfloor.apps import notices
from shopfloor.domain.notifications.summaries import newest_window, next_due, send_due
from shopfloor.infra.tx import begin

PREVIEW = "/api/v1/notifications/summaries/daily"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "zone", "now", "due"),
    [
        ("daily", "UTC", "2026-03-10T06:59", "2026-03-10T07:00"),
        ("daily", "UTC", "2026-03-10T07:00", "2026-03-11T07:00"),
        ("daily", "Europe/Berlin", "2026-03-28T07:00", "2026-03-29T05:00"),  # clocks went forward in between
        ("weekly", "UTC", "2026-03-09T06:00", "2026-03-09T07:00"),  # a Monday
        ("weekly", "UTC", "2026-03-09T07:00", "2026-03-16T07:00"),
        ("weekly", "Asia/Tokyo", "2026-03-08T21:59", "2026-03-08T22:00"),
    ],
)
def test_a_summary_is_due_in_the_morning(kind: str, zone: str, now: str, due: str):
    assert next_due(kind, zone, utc(now)) == utc(due)  # type: ignore[arg-type]


def test_a_summary_is_of_whole_days_that_are_over():
    day = newest_window("daily", "Europe/Berlin", utc("2026-03-30T05:00"))
    assert (day.first, day.last) == (date(2026, 3, 29), date(2026, 3, 29))
    assert (day.starts_at, day.ends_at) == (utc("2026-03-28T23:00"), utc("2026-03-29T22:00"))  # 23 hours
    week = newest_window("weekly", "UTC", utc("2026-03-11T07:00"))
    assert (week.first, week.last) == (date(2026, 3, 2), date(2026, 3, 8))


async def due(store) -> int:
    return await send_due(store, notices.compose)


async def test_a_day_is_told_once_in_its_morning(client, make_channel, calls, queue, store, clock, mailbox):
    await make_channel("email", summaries="daily", events=[])
    await calls.make(3 * USD)
    await calls.make(USD // 2, state="unknown", model="mock/large")
    assert await due(store) == 0
    clock.forward(days=1, hours=clock.now().hour * -1 + 7, minutes=1)
    assert [await due(store), await due(store)] == [1, 0]
    assert await queue.run(times=2) == []
    [taken] = mailbox.taken
    assert "$3.50 spent" in taken["subject"]
    text, html = (taken.get_body((kind,)).get_content() for kind in ("plain", "html"))
    for said in ("default", "mock/small", "mock/large", "$3.00", "2 calls", str(calls.job_id), "unknown fate"):
        assert said in text
        assert said in html
    assert (await client.get("/api/v1/notifications")).json()["items"] == []  # it is not told to everybody


async def test_after_an_outage_the_newest_is_sent_and_no_burst(make_channel, queue, store, clock, mailbox):
    await make_channel("email", summaries="daily", events=[])
    await make_channel("email", summaries="weekly", events=[], address="boss@example.org")
    clock.forward(days=30, hours=clock.now().hour * -1 + 8)
    assert [await due(store), await due(store)] == [2, 0]
    await queue.run()
    yesterday = (clock.now() - timedelta(days=1)).date()
    assert sorted(str(each["to"]) for each in mailbox.taken) == ["boss@example.org", "ops@example.org"]
    assert [str(yesterday) in each["subject"] for each in mailbox.taken if "ops@" in each["to"]] == [True]


async def test_two_workers_at_it_send_one(make_channel, queue, store, clock, mailbox):
    await make_channel("email", summaries="daily", events=[])
    clock.forward(days=2)
    assert sum(await asyncio.gather(*(due(store) for _ in range(4)))) == 1
    await queue.run()
    assert len(mailbox.taken) == 1


async def test_a_channel_that_is_off_gets_none(client, make_channel, store, clock):
    channel = await make_channel("email", summaries="daily", events=[])
    await client.patch(f"/api/v1/notifications/channels/{channel['id']}", json={"enabled": False})
    clock.forward(days=2)
    assert await due(store) == 0
    await client.patch(f"/api/v1/notifications/channels/{channel['id']}", json={"enabled": True})
    assert await due(store) == 1


async def test_days_are_those_of_the_organizations_time_zone(client, make_channel):
    changed = await client.patch("/api/v1/organizations/current", json={"time_zone": "Asia/Tokyo"})
    assert changed.json()["time_zone"] == "Asia/Tokyo"
    refused = await client.patch("/api/v1/organizations/current", json={"time_zone": "Asia/Nowhere"})
    assert refused.status_code == 422
    shown = (await client.get(PREVIEW)).json()
    assert shown["time_zone"] == "Asia/Tokyo"
    assert datetime.fromisoformat(shown["starts_at"]).hour == 15  # midnight in Tokyo
    channel = await make_channel("email", summaries="daily", events=[])
    assert datetime.fromisoformat(channel["next_summary_at"]).hour == 22  # seven in Tokyo


async def test_the_preview_shows_what_would_be_mailed_and_mails_nothing(
    client, calls, queue, mailbox, viewer, stranger
):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await calls.make(2 * USD, at=yesterday)
    await calls.make(5 * USD, at=yesterday - timedelta(days=1))
    await client.post("/api/v1/budgets", json={"scope": {"type": "organization"}, "period": "total", "limit_usd": "8"})
    shown = (await client.get(PREVIEW)).json()
    assert "$2.00 spent in 1 calls; $5.00 in the same time before." in shown["text"]
    assert "$7.00 of $8.00" in shown["text"]
    assert shown["html"].startswith("<!doctype html>")
    await queue.run()
    assert mailbox.taken == []
    assert (await viewer.get(PREVIEW)).status_code == 200
    assert "$2.00" not in (await stranger.get(PREVIEW)).json()["text"]


async def test_a_summary_of_a_hostile_name_writes_no_html(client, calls, store):
    async with begin(store, calls.owner) as tx:
        await tx.execute("update organizations set name = '<img src=x onerror=alert(1)>'")
    shown = (await client.get(PREVIEW)).json()
    assert "<img" not in shown["html"]
    assert "<img" in shown["text"]  # it is there, as text


async def test_a_summary_names_no_project_and_no_job_that_its_reader_may_not_see(client, calls, viewer):
    await calls.make(2 * USD, at=datetime.now(UTC) - timedelta(days=1))
    job = str(calls.job_id)
    assert job in (await viewer.get(PREVIEW)).json()["text"]
    await client.patch("/api/v1/projects/default", json={"visibility": "private"})
    shown = (await viewer.get(PREVIEW)).json()["text"]
    assert job not in shown
    assert "default" not in shown
    assert "$2.00 spent in 1 calls" in shown
    assert job in (await client.get(PREVIEW)).json()["text"]

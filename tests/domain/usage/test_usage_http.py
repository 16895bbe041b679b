"""Reports, exports and estimates over HTTP: what was booked, of what the asker may see."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from domain.conftest import Clients
from domain.usage.conftest import NOON, MakeProject, Paid, Pay
from shopfloor.base.principal import Principal
from shopfloor.domain.usage import api
from shopfloor.domain.usage.calls import calls, span_of
from shopfloor.infra.tx import Store, begin

DAYS = {"from": "2026-11-01", "to": "2026-11-30"}


@pytest.fixture(autouse=True)
def with_usage(app: FastAPI) -> None:
    app.include_router(api.router)


async def _report(client: httpx2.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get("/api/v1/usage", params=DAYS | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_without_groups_the_whole_organization_is_one_line(client: httpx2.AsyncClient, pay: Pay):
    await pay(Paid(cost=1_500_000_000), Paid(cost=1, model="large"), Paid(cost=9, at=NOON - timedelta(days=40)))
    found = await _report(client)
    [line] = found["items"]
    assert (line["cost_usd"], line["cost_nanos"], line["calls"]) == ("1.500000001", 1_500_000_001, 2)
    assert (line["input_tokens"], line["output_tokens"], line["model"], line["day"]) == (200, 20, None, None)
    assert found["total"]["cost_nanos"] == 1_500_000_001
    assert (found["first"], found["last"], found["time_zone"]) == ("2026-11-01", "2026-11-30", "UTC")


async def test_groups_are_named_and_the_dearest_comes_first(
    client: httpx2.AsyncClient, pay: Pay, make_project: MakeProject
):
    await make_project("shop")
    await pay(Paid(cost=5), Paid(cost=7, project="shop"), Paid(cost=1, project="shop"), Paid(cost=3, model="large"))
    lines = (await _report(client, group_by="project,model"))["items"]
    assert [(line["name"], line["model"], line["cost_nanos"]) for line in lines] == [
        ("Shop", "small", 8), ("Default", "small", 5), ("Default", "large", 3),
    ]  # fmt: skip
    assert [line["agent"] for line in lines] == [None] * 3


async def test_days_come_in_their_order(client: httpx2.AsyncClient, pay: Pay):
    await pay(*(Paid(cost=cost, at=NOON + timedelta(days=day)) for cost, day in ((1, 0), (9, 1), (5, 9))))
    by_day = (await _report(client, group_by="day"))["items"]
    assert [(line["day"], line["cost_nanos"]) for line in by_day] == [
        ("2026-11-10", 1), ("2026-11-11", 9), ("2026-11-19", 5),
    ]  # fmt: skip
    by_week = (await _report(client, group_by="week"))["items"]
    assert [(line["day"], line["cost_nanos"]) for line in by_week] == [("2026-11-09", 10), ("2026-11-16", 5)]
    by_month = (await _report(client, group_by="month"))["items"]
    assert [(line["day"], line["cost_nanos"]) for line in by_month] == [("2026-11-01", 15)]


async def test_pages_of_a_report_hold_each_line_once(client: httpx2.AsyncClient, pay: Pay):
    await pay(*(Paid(cost=n // 2, agent=f"agent-{n}") for n in range(9)))
    seen: list[str] = []
    cursor = None
    while True:
        page = await _report(client, group_by="agent", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [line["agent"] for line in page["items"]]
        assert page["total"]["calls"] == 9
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 9
    assert set(seen) == {f"agent-{n}" for n in range(9)}


async def test_a_label_is_a_group_and_a_filter(client: httpx2.AsyncClient, pay: Pay):
    await pay(
        Paid(cost=5, labels={"ticket": "A-1"}), Paid(cost=6, labels={"ticket": "B-2", "team": "x"}), Paid(cost=100)
    )
    lines = (await _report(client, group_by="label:ticket"))["items"]
    assert [(line["label"], line["cost_nanos"]) for line in lines] == [("B-2", 6), ("A-1", 5)]
    assert (await _report(client, label="ticket=A-1"))["total"]["cost_nanos"] == 5


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ({"group_by": "colour"}, "day, model, month"),
        ({"group_by": "day,week"}, "one of day, week and month"),
        ({"group_by": "label:a,label:b"}, "one label"),
        ({"group_by": "label:ticket,agent"}, "leave out agent"),
        ({"label": "ticket=1", "model": "x"}, "leave out model"),
        ({"label": "ticket"}, "name=value"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "isn't after"),
        ({"from": "2020-01-01"}, "1100 days"),
        ({"from": "9999-12-01", "to": "9999-12-31"}, "1970"),
        ({"from": "yesterday"}, "from"),
        ({"cursor": "AAAA"}, "cursor"),
    ],
)
async def test_what_can_not_be_answered_is_refused_with_what_can(
    client: httpx2.AsyncClient, query: dict[str, str], hint: str
):
    answer = await client.get("/api/v1/usage", params=DAYS | query)
    assert answer.status_code == 422
    assert hint in answer.text


async def test_nobody_sees_what_projects_cost_that_they_can_not_see(
    client: httpx2.AsyncClient, clients: Clients, owner: Principal, pay: Pay, make_project: MakeProject
):
    shop = await make_project("shop")
    await pay(Paid(cost=5), Paid(cost=7, project="shop", labels={"ticket": "A-1"}))
    narrow = await clients.with_key(owner.organization_id, project_ids=[shop])
    everything = (await _report(client, group_by="project"))["total"]["cost_nanos"]
    assert everything == 12  # the positive control
    answer = await narrow.get("/api/v1/usage", params=DAYS | {"group_by": "project"})
    assert [line["project_id"] for line in answer.json()["items"]] == [str(shop)]
    assert answer.json()["total"]["cost_nanos"] == 7
    export = await narrow.get("/api/v1/usage/export", params=DAYS | {"format": "json"})
    assert [row["project"] for row in export.json()] == ["shop"]
    refused = await narrow.get("/api/v1/usage", params=DAYS | {"project": "default"})
    assert refused.status_code in {403, 404}
    assert (await narrow.get("/api/v1/usage/check")).status_code == 403


async def test_other_organizations_use_is_not_seen(client: httpx2.AsyncClient, pay: Pay, stranger: httpx2.AsyncClient):
    await pay(Paid(cost=5))
    for who, cost, rows in ((client, 5, 1), (stranger, 0, 0)):
        assert (await _report(who))["total"]["cost_nanos"] == cost
        export = await who.get("/api/v1/usage/export", params=DAYS | {"format": "json"})
        assert len(export.json()) == rows


async def test_an_export_has_each_call_and_its_corrections(client: httpx2.AsyncClient, pay: Pay):
    [hold] = await pay(Paid(cost=1_000_000_001, labels={"ticket": "A-1"}))
    await pay(Paid(cost=-1, kind="adjustment", hold_id=hold, at=NOON + timedelta(minutes=1)))
    answer = await client.get("/api/v1/usage/export", params=DAYS)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-2026-11-01-2026-11-30.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["kind"], row["cost_usd"], row["input_tokens"]) for row in rows] == [
        ("spend", "1.000000001", "100"), ("adjustment", "-0.000000001", "0"),
    ]  # fmt: skip
    assert json.loads(rows[0]["labels"]) == {"ticket": "A-1"}
    assert [row["hold_id"] for row in rows] == [str(hold)] * 2
    found = (await client.get("/api/v1/usage/export", params=DAYS | {"format": "json"})).json()
    assert [row["cost_nanos"] for row in found] == [1_000_000_001, -1]


@pytest.mark.parametrize("size", [1, 7, 40, 41])
async def test_an_export_over_many_pages_is_whole_and_in_order(store: Store, owner: Principal, pay: Pay, size: int):
    await pay(*(Paid(cost=n, at=NOON + timedelta(minutes=n % 3)) for n in range(1, 41)))
    async with begin(store, owner) as tx:
        span = await span_of(tx, date(2026, 11, 1), date(2026, 11, 30), zone="UTC", projects=None)
    found = [call async for page in calls(store, owner, span, size=size) for call in page]
    assert sum(call.cost_nanos for call in found) == 820
    assert len({call.entry_id for call in found}) == 40
    assert [call.at for call in found] == sorted(call.at for call in found)


async def test_an_export_is_on_record(client: httpx2.AsyncClient, store: Store, owner: Principal, pay: Pay):
    await pay(Paid())
    told: list[str] = []

    async def keep(tx: object, entry: Any) -> None:
        del tx
        told.append(entry.action)

    store.services.recorder = keep
    assert (await client.get("/api/v1/usage/export", params=DAYS)).status_code == 200
    async with begin(store, owner):
        pass
    assert told == ["usage.exported"]


async def test_the_check_and_the_rebuild_over_http(client: httpx2.AsyncClient, pay: Pay):
    await pay(Paid(cost=5), Paid(cost=6, adds_up=False))
    found = (await client.get("/api/v1/usage/check")).json()
    assert (found["ok"], found["ledger_nanos"], found["usage_nanos"], found["calls"]) == (False, 11, 5, 2)
    assert found["differences"][0]["cost_nanos"] == 6
    assert (await client.post("/api/v1/usage/rebuild")).json() == {"rows": 1}
    assert (await client.get("/api/v1/usage/check")).json()["ok"] is True


async def test_an_estimate_before_any_job_says_that_there_is_nothing_to_go_by(client: httpx2.AsyncClient):
    found = (await client.get("/api/v1/usage/estimate", params={"agent": "coding"})).json()
    assert (found["level"], found["samples"], found["cost_usd"]) == ("none", 0, None)
    assert found["calibration"] == {"tested": 0, "p50_held": None, "p90_held": None}

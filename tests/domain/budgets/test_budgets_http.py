"""What people do with budgets: set, look, change, raise for a while, remove."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.permissions import ROLES
from shopfloor.infra.tx import Store, begin

USD = 1_000_000_000


async def test_a_budget_lives_from_post_to_delete(client: httpx2.AsyncClient, make_budget):
    made = await make_budget(scope={"type": "project", "id": "default"}, limit_usd="250.000000001", hard=True)
    assert made.status_code == 201, made.text
    said = made.json()
    assert (said["scope"]["type"], said["scope"]["name"], said["limit_usd"]) == ("project", "default", "250.000000001")
    assert (said["spent_usd"], said["left_usd"], said["percent"]) == ("0", "250.000000001", 0.0)
    assert (said["thresholds"], said["time_zone"], said["paused"]) == ([80, 90, 95, 100], "UTC", False)
    assert (await client.get(made.headers["location"])).json()["id"] == said["id"]
    listed = (await client.get("/api/v1/budgets", params={"scope": "project"})).json()["items"]
    assert [each["id"] for each in listed] == [said["id"]]
    assert (await client.get("/api/v1/budgets", params={"scope": "team"})).json()["items"] == []

    again = await make_budget(scope={"type": "project", "id": "default"})
    assert (again.status_code, again.json()["code"]) == (409, "budget-exists")
    assert again.json()["facts"]["budget_id"] == said["id"]
    weekly = await make_budget(scope={"type": "project", "id": "default"}, period="week")
    assert weekly.status_code == 201

    place, etag = made.headers["location"], {"If-Match": made.headers["etag"]}
    changed = await client.patch(place, json={"limit_usd": 0.5, "thresholds": [50, 50, 10]}, headers=etag)
    assert (changed.json()["limit_usd"], changed.json()["thresholds"]) == ("0.5", [10, 50])
    stale = await client.patch(place, json={"hard": False}, headers=etag)
    assert stale.status_code == 412
    assert (await client.delete(place, headers=etag)).status_code == 412
    assert (await client.delete(place, headers={"If-Match": changed.headers["etag"]})).status_code == 204
    assert (await client.get(place)).status_code == 404
    assert (await make_budget(scope={"type": "project", "id": "default"})).status_code == 201


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"limit_usd": "1.0000000001"}, "invalid-input"),
        ({"limit_usd": -1}, "invalid-input"),
        ({"limit_usd": "1e300"}, "invalid-input"),
        ({"limit_usd": "NaN"}, "invalid-input"),
        ({"period": "year"}, "invalid-input"),
        ({"time_zone": "Mars/Olympus"}, "invalid-input"),
        ({"time_zone": "../../etc/passwd"}, "invalid-input"),
        ({"thresholds": [0]}, "invalid-input"),
        ({"scope": {"type": "project"}}, "scope-unknown"),
        ({"scope": {"type": "project", "id": "nowhere"}}, "scope-unknown"),
        ({"scope": {"type": "team", "id": "nowhere"}}, "scope-unknown"),
        ({"scope": {"type": "user", "id": "nobody@example.org"}}, "scope-unknown"),
        ({"scope": {"type": "user", "id": str(new_id())}}, "scope-unknown"),
        ({"scope": {"type": "agent", "id": "codling"}}, "scope-unknown"),
        ({"scope": {"type": "organization", "id": str(new_id())}}, "scope-unknown"),
        ({"surprise": 1}, "invalid-input"),
    ],
)
async def test_what_makes_no_budget_is_refused_with_a_reason(make_budget, fields: dict, code: str):
    refused = await make_budget(**fields)
    assert (refused.status_code, refused.json()["code"]) == (422, code)


async def test_every_kind_of_scope_is_found_by_what_people_call_it(client: httpx2.AsyncClient, make_budget):
    await client.post("/api/v1/teams", json={"slug": "web", "name": "Web"})
    who = (await client.get("/api/v1/members")).json()["items"][0]["email"]
    scopes = {"organization": None, "project": "default", "team": "web", "user": who.upper(), "agent": "review"}
    for kind, name in scopes.items():
        made = await make_budget(scope={"type": kind} | ({"id": name} if name else {}))
        assert made.status_code == 201, made.text
        found = (await client.get("/api/v1/budgets", params={"scope": kind})).json()["items"]
        assert [each["scope"]["id"] for each in found] == [made.json()["scope"]["id"]]
        if name:
            assert made.json()["scope"]["name"].lower() == name.lower()


async def test_figures_that_went_on_changing_do_not_stand_against_a_change(client, make_budget, calls, store, owner):
    made = await make_budget()
    place = made.headers["location"]
    read = await client.get(place)
    assert (await client.get(place, headers={"If-None-Match": read.headers["etag"]})).status_code == 304
    async with begin(store, owner) as tx:
        await tx.execute("update budget_periods set spent_nanos = 5")
    again = await client.get(place, headers={"If-None-Match": read.headers["etag"]})
    assert (again.status_code, again.json()["spent_usd"]) == (200, "0.000000005")
    kept = {"If-Match": read.headers["etag"]}
    assert (await client.patch(place, json={"hard": False}, headers=kept)).status_code == 200
    assert (await client.patch(place, json={"hard": True}, headers=kept)).status_code == 412


async def test_a_budget_made_in_mid_month_counts_what_was_spent_and_what_is_out(make_budget, calls):
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    await calls.make(2 * USD, at=month)
    await calls.make(3 * USD, agent="review")
    await calls.make(USD // 2, state="unknown")
    await calls.make(USD // 4, state="held")
    await calls.make(7 * USD, state="released")
    await calls.make(9 * USD, at=month - timedelta(microseconds=1))  # last month's

    whole = (await make_budget(limit_usd="10")).json()
    assert (whole["spent_usd"], whole["held_usd"], whole["unknown_usd"]) == ("5.5", "0.25", "0.5")
    assert (whole["left_usd"], whole["percent"], whole["calls"]) == ("4.25", 55.0, 3)
    agent = (await make_budget(scope={"type": "agent", "id": "review"})).json()
    assert (agent["spent_usd"], agent["held_usd"]) == ("3", "0")
    total = (await make_budget(period="total")).json()
    assert total["spent_usd"] == "14.5"


async def test_a_call_that_is_out_is_tied_to_the_new_budget_once(make_budget, calls, store: Store, owner: Principal):
    before = new_id()
    out = await calls.make(USD, state="held", period_ids=[before])
    unsure = await calls.make(USD, state="unknown")
    done = await calls.make(USD)
    budget = (await make_budget()).json()
    async with begin(store, owner) as tx:
        period = await tx.one("select id, carried_nanos from budget_periods where budget_id = %s", (budget["id"],))
        rows = await tx.all("select id, period_ids from holds")
    assert period is not None
    ties = {row["id"]: row["period_ids"] for row in rows}
    assert ties == {out: [before, period["id"]], unsure: [period["id"]], done: []}
    assert period["carried_nanos"] == 2 * USD


async def test_another_time_zone_counts_from_its_own_midnight(client, make_budget, calls, store, owner):
    zone = "Pacific/Kiritimati"  # 14 hours ahead of UTC: its days begin ten hours before those of UTC do
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    theirs = midnight - timedelta(hours=14) if now.hour < 10 else midnight + timedelta(hours=10)
    await calls.make(USD, at=theirs)
    await calls.make(2 * USD, at=theirs - timedelta(microseconds=1))
    await calls.make(4 * USD)
    unzoned = {"scope": {"type": "organization"}, "period": "day", "limit_usd": "10"}
    made = await client.post("/api/v1/budgets", json=unzoned)
    moved = (await client.patch(made.headers["location"], json={"time_zone": zone})).json()
    assert moved["spent_usd"] == "5"
    assert datetime.fromisoformat(moved["period_starts_at"]) == theirs
    back = (await client.patch(made.headers["location"], json={"time_zone": "UTC"})).json()
    assert back["spent_usd"] == made.json()["spent_usd"]
    async with begin(store, owner) as tx:
        off = await tx.all("select 1 from budget_periods where spent_nanos <> carried_nanos")
    assert off == []  # no entry of the ledger yet: all of it is carried


async def test_a_raise_adds_room_until_it_ends(client: httpx2.AsyncClient, make_budget, calls):
    await calls.make(9 * USD)
    place = (await make_budget(limit_usd="10")).headers["location"]
    made = await client.post(f"{place}/raises", json={"amount_usd": "5", "for_hours": 24, "reason": "Release"})
    assert made.status_code == 201, made.text
    found = (await client.get(place)).json()
    assert (found["raised_usd"], found["left_usd"], found["percent"]) == ("5", "6", 60.0)
    assert found["raises"] == [made.json()]
    for _ in range(2):  # twice changes nothing
        ended = await client.post(f"{place}/raises/{made.json()['id']}/end")
        assert ended.json()["ended_at"] is not None
    found = (await client.get(place)).json()
    assert (found["raised_usd"], found["left_usd"], found["raises"]) == ("0", "1", [])
    assert (await client.get(f"{place}/raises")).json()["items"] == [ended.json()]
    assert (await client.post(f"{place}/raises/{new_id()}/end")).json()["code"] == "raise-unknown"


async def test_a_raise_that_is_over_counts_no_more(client, make_budget, store, owner):
    place = (await make_budget(limit_usd="10")).headers["location"]
    await client.post(f"{place}/raises", json={"amount_usd": "5", "for_hours": 1, "reason": "x"})
    assert (await client.get(place)).json()["raised_usd"] == "5"
    async with begin(store, owner) as tx:
        await tx.execute("update budget_raises set expires_at = now()")
    assert (await client.get(place)).json()["raised_usd"] == "0"


async def test_the_same_raise_asked_twice_is_one(client: httpx2.AsyncClient, make_budget):
    place = (await make_budget()).headers["location"]
    body, key = {"amount_usd": "5", "for_hours": 1, "reason": "x"}, {"Idempotency-Key": "k1"}
    first, second = [await client.post(f"{place}/raises", json=body, headers=key) for _ in range(2)]
    assert first.json() == second.json()
    assert (await client.get(place)).json()["raised_usd"] == "5"
    other = await client.post(f"{place}/raises", json=body | {"amount_usd": "6"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "raise-key-reused")
    await client.post(f"{place}/raises", json=body)  # the positive control: without the key it is another
    assert (await client.get(place)).json()["raised_usd"] == "10"


@pytest.mark.parametrize(
    "body",
    [
        {"amount_usd": "5", "reason": "x"},
        {"amount_usd": "5", "reason": "x", "for_hours": 1, "expires_at": "2999-01-01T00:00:00Z"},
        {"amount_usd": "5", "reason": "x", "expires_at": "2020-01-01T00:00:00Z"},
        {"amount_usd": "5", "reason": "x", "expires_at": "2999-01-01T00:00:00Z"},
        {"amount_usd": "0", "reason": "x", "for_hours": 1},
        {"amount_usd": "5", "reason": " ", "for_hours": 1},
    ],
)
async def test_a_raise_says_how_much_until_when_and_why(client: httpx2.AsyncClient, make_budget, body: dict):
    place = (await make_budget()).headers["location"]
    assert (await client.post(f"{place}/raises", json=body)).status_code == 422


async def test_a_limit_below_what_is_spent_alerts_at_once_and_only_once(client: httpx2.AsyncClient, make_budget, calls):
    await calls.make(9 * USD + USD // 4)
    place = (await make_budget(limit_usd="10")).headers["location"]
    alerts = (await client.get(f"{place}/alerts")).json()["items"]
    assert sorted(each["threshold"] for each in alerts) == [80, 90]
    assert {(each["spent_usd"], each["limit_usd"]) for each in alerts} == {("9.25", "10")}
    for limit in ("9.7", "9.7", "9"):
        await client.patch(place, json={"limit_usd": limit})
    alerts = (await client.get("/api/v1/budgets/alerts")).json()["items"]
    assert sorted(each["threshold"] for each in alerts) == [80, 90, 95, 100]


async def test_a_pause_ends_when_there_is_room_again(client, make_budget, calls, store, owner):
    await calls.make(10 * USD)
    place = (await make_budget(limit_usd="10")).headers["location"]
    async with begin(store, owner) as tx:
        await tx.execute("update budget_periods set paused_at = now(), paused_because = %s", ('{"asked_nanos": 5}',))
    found = (await client.get(place)).json()
    assert (found["paused"], found["paused_because"]["asked_nanos"]) == (True, 5)
    assert "raise" in found["paused_because"]["what_to_do"]
    assert len((await client.get("/api/v1/budgets", params={"paused": True})).json()["items"]) == 1
    assert (await client.get("/api/v1/budgets", params={"paused": False})).json()["items"] == []
    await client.patch(place, json={"limit_usd": "9"})  # no room: it stays
    assert (await client.get(place)).json()["paused"] is True
    await client.post(f"{place}/raises", json={"amount_usd": "5", "for_hours": 1, "reason": "x"})
    assert (await client.get(place)).json()["paused"] is False
    assert (await client.get("/api/v1/budgets", params={"paused": True})).json()["items"] == []


async def pause(store, owner, because: str) -> None:
    async with begin(store, owner) as tx:
        await tx.execute("update budget_periods set paused_at = now(), paused_because = %s", (because,))


async def test_a_pause_lasts_until_the_call_that_it_was_made_for_fits(client, make_budget, calls, store, owner):
    await calls.make(9 * USD)
    place = (await make_budget(limit_usd="10")).headers["location"]
    await pause(store, owner, '{"asked_nanos": 3000000000}')
    await client.patch(place, json={"limit_usd": "11.9"})
    assert (await client.get(place)).json()["paused"] is True
    await client.patch(place, json={"limit_usd": "12"})
    assert (await client.get(place)).json()["paused"] is False


async def test_a_pause_is_ended_by_hand_by_who_may(client, viewer, make_budget, store, owner):
    place = (await make_budget()).headers["location"]
    await pause(store, owner, '{"reason": "bill-over-hold"}')
    assert (await viewer.post(f"{place}/resume")).status_code == 403
    assert (await client.get(place)).json()["paused"] is True
    for _ in range(2):
        assert (await client.post(f"{place}/resume")).json()["paused"] is False


async def test_a_pause_of_the_zone_before_is_over_with_it(client, make_budget, store, owner):
    place = (await make_budget(period="day")).headers["location"]
    await pause(store, owner, '{"asked_nanos": 1}')
    await client.patch(place, json={"time_zone": "Asia/Kathmandu"})  # five hours and three quarters ahead
    assert (await client.get("/api/v1/budgets", params={"paused": True})).json()["items"] == []


async def test_each_change_is_woken_for_and_on_record(client, make_budget, store: Store, owner):
    woken: list[str] = []
    store.services.wake = woken.append
    recorded: list[tuple[str, object]] = []

    async def keep(tx, entry):
        recorded.append((entry.action, entry.after or entry.before))

    store.services.recorder = keep
    place = (await make_budget()).headers["location"]
    await client.patch(place, json={"limit_usd": "11"})
    made = await client.post(f"{place}/raises", json={"amount_usd": "5", "for_hours": 1, "reason": "x"})
    await client.post(f"{place}/raises/{made.json()['id']}/end")
    await client.patch(place, json={"limit_usd": "11"})  # as it is: nothing happens
    await pause(store, owner, '{"reason": "bill-over-hold"}')
    await client.post(f"{place}/resume")
    await client.delete(place)
    assert woken == ["budgets"] * 6
    assert [action for action, _ in recorded] == [
        "budget.created", "budget.changed", "budget.raised", "budget.raise-ended", "budget.resumed", "budget.removed",
    ]  # fmt: skip
    assert recorded[1][1] == {"limit_nanos": 11 * USD}


async def test_a_budget_of_a_project_is_read_by_who_may_read_the_project(client, clients, make_budget, owner, stranger):
    await client.post("/api/v1/projects", json={"slug": "bank", "name": "Bank"})
    whole = await make_budget()
    bank = await make_budget(scope={"type": "project", "id": "bank"})
    default = await make_budget(scope={"type": "project", "id": "default"})
    places = [each.headers["location"] for each in (whole, bank, default)]
    limited = await clients.with_key(owner.organization_id, project_ids=[bank.json()["project_id"]])
    assert [(await limited.get(place)).status_code for place in places] == [404, 200, 404]
    assert [each["id"] for each in (await limited.get("/api/v1/budgets")).json()["items"]] == [bank.json()["id"]]
    assert (await limited.patch(places[1], json={"limit_usd": "1000"})).status_code == 403
    viewer = await clients.with_key(owner.organization_id, ROLES["viewer"], role="viewer")
    assert [(await viewer.get(place)).status_code for place in places] == [200, 200, 200]
    assert (await viewer.post(f"{places[0]}/raises", json={})).status_code in {403, 422}
    await client.patch("/api/v1/projects/bank", json={"visibility": "private"})
    assert [(await viewer.get(place)).status_code for place in places] == [200, 404, 200]
    assert [(await stranger.get(place)).status_code for place in places] == [404, 404, 404]


async def test_a_project_without_jobs_goes_with_its_budget(client: httpx2.AsyncClient, make_budget):
    await client.post("/api/v1/projects", json={"slug": "bank", "name": "Bank"})
    made = await make_budget(scope={"type": "project", "id": "bank"})
    assert (await client.delete("/api/v1/projects/bank")).status_code == 204
    assert (await client.get(made.headers["location"])).status_code == 404


async def test_lists_come_in_pages(client: httpx2.AsyncClient, make_budget):
    made = [(await make_budget(period=period)).json()["id"] for period in ("day", "week", "month", "total")]
    first = (await client.get("/api/v1/budgets", params={"limit": 3})).json()
    rest = (await client.get("/api/v1/budgets", params={"cursor": first["next_cursor"]})).json()
    assert [each["id"] for each in first["items"] + rest["items"]] == made


async def test_the_forecast_goes_on_from_what_the_scope_spent(client, make_budget, calls):
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(1, 6):
        await calls.make(USD, at=midnight - timedelta(days=back) + timedelta(hours=1))
    made = await make_budget(scope={"type": "agent", "id": "coding"}, period="day")
    found = made.json()["forecast"]
    assert (found["daily_usd"], found["days"], found["confident"]) == ("1", 5, True)
    assert found["spent_usd"] == str(min(5, now.day - 1))
    left = (datetime.fromisoformat(found["month_ends_at"]) - now) / timedelta(days=1)
    assert abs(float(found["expected_usd"]) - min(5, now.day - 1) - left) < 0.01
    month = (await make_budget(limit_usd="1000")).json()
    assert month["forecast"]["spent_usd"] == month["spent_usd"] == str(min(5, now.day - 1))


async def test_a_hidden_project_counts_in_the_budget_of_the_whole_whoever_makes_it(client, clients, calls, owner):
    await calls.make(2 * USD)
    manager = await clients.with_key(owner.organization_id, ROLES["manager"], role="manager")
    assert (await client.patch("/api/v1/projects/default", json={"visibility": "private"})).status_code == 200
    assert (await manager.get("/api/v1/projects/default")).status_code == 404
    body = {"scope": {"type": "organization"}, "period": "month", "limit_usd": "10"}
    assert (await manager.post("/api/v1/budgets", json=body)).json()["spent_usd"] == "2"

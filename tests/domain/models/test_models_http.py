"""Providers, models and prices over HTTP, on a real database and a real provider's wire."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.models.breakers import report
from shopfloor.domain.models.providers import provider_desk
from shopfloor.engine.providers.breaker import BreakerPolicy, Calls
from shopfloor.engine.providers.gate import Lane
from shopfloor.engine.providers.port import ProviderError
from shopfloor.infra.tx import Store, begin, begin_system
from shopfloor.testing.mock_provider import Server, serve

KEY = "sk-mock-EXAMPLE-of-a-key-nobody-may-see"
ANTHROPIC = {"name": "anthropic", "kind": "anthropic", "api_key": KEY}


@pytest.fixture
async def mock(tmp_path: Path) -> AsyncIterator[Server]:
    async with serve() as server:
        yield server


async def _add(client: httpx2.AsyncClient, **fields: object) -> dict[str, object]:
    answer = await client.post("/api/v1/providers", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def _price(client: httpx2.AsyncClient, provider: str, model: str, unit: str, usd: str) -> httpx2.Response:
    body = {"provider": provider, "model": model, "unit": unit, "usd_per_million": usd}
    return await client.post("/api/v1/prices", json=body)


async def test_a_provider_lives_from_post_to_delete(client: httpx2.AsyncClient):
    made = await client.post("/api/v1/providers", json=ANTHROPIC)
    assert made.status_code == 201, made.text
    provider = made.json()
    assert provider == {
        "id": provider["id"], "name": "anthropic", "kind": "anthropic", "base_url": None, "region": None,
        "key_set": True, "models": [],
        "limits": {"concurrency": None, "requests_per_minute": None, "tokens_per_minute": None},
        "origin": "api", "version": 1, "created_at": provider["created_at"],
        "updated_at": provider["updated_at"],
    }  # fmt: skip
    place = made.headers["location"]
    assert (await client.get(place)).json() == provider
    models = [{"name": "claude-x", "context_tokens": 1000, "max_output_tokens": None}]
    changed = (await client.patch(place, json={"models": models})).json()
    assert (changed["models"], changed["version"]) == (models, 2)
    assert (await client.delete(place)).status_code == 204
    assert (await client.get(place)).status_code == 404


async def test_limits_are_set_as_a_whole_and_shown_with_what_they_have_used(client: httpx2.AsyncClient):
    made = await client.post("/api/v1/providers", json=ANTHROPIC | {"limits": {"concurrency": 4}})
    place = made.headers["location"]
    none = {"concurrency": None, "requests_per_minute": None, "tokens_per_minute": None}
    assert made.json()["limits"] == none | {"concurrency": 4}
    changed = await client.patch(place, json={"limits": {"requests_per_minute": 60}})
    assert changed.json()["limits"] == none | {"requests_per_minute": 60}
    assert (await client.patch(place, json={"region": None})).json()["limits"] == none | {"requests_per_minute": 60}
    assert (await client.get(f"{place}/health")).json() == {
        "status": "ok", "breakers": [], "limits": none | {"requests_per_minute": 60},
        "used": {"in_flight": 0, "requests_last_minute": 0, "tokens_last_minute": 0},
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"requests_per_minute": -1}, {"burst": 3}, {"concurrency": 1.5}])
async def test_a_limit_that_makes_no_sense_is_refused(client: httpx2.AsyncClient, wrong: dict[str, object]):
    assert (await client.post("/api/v1/providers", json=ANTHROPIC | {"limits": wrong})).status_code == 422


async def test_an_open_breaker_is_seen_in_the_list_and_in_the_providers_health(
    client: httpx2.AsyncClient, store: Store, owner: Principal
):
    provider = await _add(client, **ANTHROPIC)
    await _add(client, **ANTHROPIC | {"name": "other"})
    lane = Lane(owner.organization_id, UUID(str(provider["id"])), "anthropic", "claude-x", "c0ffee00")
    policy = BreakerPolicy(least_calls=1, open_s=600, open_longest_s=600)
    async with begin(store, owner) as tx:
        why = ProviderError("anthropic/claude-x failed: 500", http_status=500)
        assert await report(tx, lane, Calls(failed=1), policy, chance=random.Random(1), error=why) == "opened"
    listed = (await client.get("/api/v1/providers")).json()["items"]
    assert [(each["name"], each["health"]) for each in listed] == [("anthropic", "degraded"), ("other", "ok")]
    health = (await client.get(f"/api/v1/providers/{provider['id']}/health")).json()
    assert health["status"] == "degraded"
    [shown] = health["breakers"]
    assert (shown["model"], shown["state"], shown["openings"], shown["failures"]) == (
        "anthropic/claude-x",
        "open",
        1,
        1,
    )
    assert shown["last_failure"] == {"code": "provider-error", "detail": "anthropic/claude-x failed: 500"}
    assert shown["open_until"] > shown["since"]


async def test_a_key_is_in_no_answer_no_log_and_not_readable_in_the_database(
    client: httpx2.AsyncClient, mock: Server, store: Store, capfd: pytest.CaptureFixture[str]
):
    made = await client.post("/api/v1/providers", json=ANTHROPIC | {"base_url": mock.url})
    place = made.headers["location"]
    answers = [
        made,
        await client.get(place),
        await client.get("/api/v1/providers"),
        await client.patch(place, json={"api_key": KEY + "2"}),
        await client.post(place + "/test", json={"model": "mock-x"}),
        await client.post(place + "/test", json={}),
        await client.get("/api/v1/models"),
        await client.post("/api/v1/providers", json=ANTHROPIC),
        await client.post("/api/v1/providers", json=ANTHROPIC | {"kind": "nonsense"}),
        await client.post("/api/v1/providers", json=ANTHROPIC | {"region": KEY}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 200, 200, 409, 422, 422]
    for answer in answers:
        assert KEY not in answer.text
        assert KEY[-6:] not in answer.text
    out, err = capfd.readouterr()
    assert "/api/v1/providers" in out + err  # the positive control: requests are logged
    assert KEY not in out + err
    async with begin_system(store) as tx:
        row = await tx.one("select providers::text as whole, sealed_key from providers")
    assert row is not None
    assert KEY.encode() not in row["sealed_key"]
    assert KEY not in row["whole"]


async def test_a_taken_name_is_a_conflict(client: httpx2.AsyncClient):
    await _add(client, **ANTHROPIC)
    answer = await client.post("/api/v1/providers", json=ANTHROPIC)
    assert (answer.status_code, answer.json()["code"]) == (409, "provider-name-taken")


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"name": "x", "kind": "anthropic"}, "api_key"),
        ({"name": "x", "kind": "openai-compatible"}, "base_url"),
        ({"name": "x", "kind": "bedrock", "api_key": KEY}, "region"),
    ],
)
async def test_what_a_kind_needs_is_asked_for_by_name(client: httpx2.AsyncClient, fields: dict[str, str], hint: str):
    answer = await client.post("/api/v1/providers", json=fields)
    assert (answer.status_code, hint in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("name", ["a/b", "A", "", "-a", "a b", "x" * 64])
async def test_a_name_that_could_not_stand_in_a_model_is_refused(client: httpx2.AsyncClient, name: str):
    answer = await client.post("/api/v1/providers", json=ANTHROPIC | {"name": name})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434/v1",
        "https://127.0.0.1/v1",
        "https://10.0.0.5/v1",
        "https://[::1]/v1",
        "https://169.254.169.254/latest",
        "https://0x7f000001/v1",
        "ftp://93.184.216.34/v1",
        "https://user:pw@93.184.216.34/v1",
    ],
)
async def test_a_private_or_odd_address_is_refused_unless_allowed(client: httpx2.AsyncClient, app: FastAPI, url: str):
    strict = provider_desk(allow_private=False, clock=SystemClock())
    app.state.shopfloor = dataclasses.replace(app.state.shopfloor, providers=strict)
    body = {"name": "local", "kind": "openai-compatible", "base_url": url}
    refused = await client.post("/api/v1/providers", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "url-refused"), refused.text
    good = await client.post("/api/v1/providers", json=body | {"base_url": "https://93.184.216.34/v1"})
    assert good.status_code == 201  # the positive control: a public address


async def test_the_metadata_service_is_refused_also_when_private_addresses_are_allowed(client: httpx2.AsyncClient):
    body = {"name": "x", "kind": "openai-compatible", "base_url": "http://169.254.169.254/v1"}
    assert (await client.post("/api/v1/providers", json=body)).status_code == 422


async def test_a_stored_key_is_not_sent_to_another_address(client: httpx2.AsyncClient, mock: Server):
    made = await client.post("/api/v1/providers", json=ANTHROPIC)
    place = made.headers["location"]
    alone = await client.patch(place, json={"base_url": mock.url})
    assert (alone.status_code, "api_key" in alone.json()["detail"]) == (422, True)
    both = await client.patch(place, json={"base_url": mock.url, "api_key": KEY})
    assert (both.status_code, both.json()["base_url"]) == (200, mock.url)


async def test_a_change_from_an_old_version_is_refused(client: httpx2.AsyncClient):
    made = await client.post("/api/v1/providers", json=ANTHROPIC)
    place, old = made.headers["location"], made.headers["etag"]
    assert (await client.get(place, headers={"If-None-Match": old})).status_code == 304
    assert (await client.patch(place, json={"models": ["a"]}, headers={"If-Match": old})).status_code == 200
    assert (await client.patch(place, json={"models": ["b"]}, headers={"If-Match": old})).status_code == 412
    assert (await client.delete(place, headers={"If-Match": old})).status_code == 412
    assert (await client.get(place)).json()["models"][0]["name"] == "a"


async def test_providers_come_in_pages_by_name(client: httpx2.AsyncClient):
    for name in ("c", "a", "b"):
        await _add(client, **ANTHROPIC | {"name": name})
    first = (await client.get("/api/v1/providers", params={"limit": 2})).json()
    second = (await client.get("/api/v1/providers", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["name"] for item in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None
    assert (await client.get("/api/v1/prices", params={"cursor": first["next_cursor"]})).status_code == 422


async def test_a_test_call_tells_how_it_went(client: httpx2.AsyncClient, mock: Server):
    made = await _add(client, name="m", kind="mock", api_key="sk-mock-test", base_url=mock.url)
    place = f"/api/v1/providers/{made['id']}/test"
    free = (await client.post(place, json={})).json()
    assert (free["ok"], free["total_tokens"], free["error"]) == (True, None, None)
    assert mock.bill().cost_nanos == 0
    called = (await client.post(place, json={"model": "mock-small"})).json()
    assert called["ok"], called
    assert called["total_tokens"] > 0


async def test_a_test_call_to_nothing_says_so_and_is_no_error_of_ours(client: httpx2.AsyncClient):
    made = await _add(client, name="gone", kind="mock", base_url="http://127.0.0.1:9")
    answer = await client.post(f"/api/v1/providers/{made['id']}/test", json={})
    assert answer.status_code == 200
    assert not answer.json()["ok"]
    assert answer.json()["error"]["code"] == "provider-error"


async def test_models_are_listed_across_providers_and_one_that_is_down_is_named(
    client: httpx2.AsyncClient, mock: Server
):
    await _add(client, name="m", kind="mock", api_key="sk-mock-test", base_url=mock.url)
    await _add(client, name="gone", kind="mock", base_url="http://127.0.0.1:9")
    await _add(client, **ANTHROPIC | {"models": ["claude-sonnet-4-5", "claude-of-nobody"]})
    page = (await client.get("/api/v1/models", params={"limit": 200})).json()
    priced = {item["ref"]: item["priced"] for item in page["items"]}
    assert priced["anthropic/claude-sonnet-4-5"]
    assert not priced["anthropic/claude-of-nobody"]
    assert [ref for ref in priced if ref.startswith("m/")]
    assert [(down["provider"], down["code"]) for down in page["unavailable"]] == [("gone", "provider-error")]

    one = (await client.get("/api/v1/models", params={"provider": "anthropic", "limit": 1})).json()
    two = (
        await client.get("/api/v1/models", params={"provider": "anthropic", "limit": 1, "cursor": one["next_cursor"]})
    ).json()
    assert [item["model"] for item in one["items"] + two["items"]] == ["claude-of-nobody", "claude-sonnet-4-5"]
    assert two["next_cursor"] is None


async def test_a_price_is_built_unit_by_unit_and_never_overwritten(client: httpx2.AsyncClient):
    await _add(client, name="local", kind="openai-compatible", base_url="http://127.0.0.1:9/v1")
    assert (await _price(client, "local", "llama", "input", "0.10")).status_code == 201
    second = await _price(client, "local", "llama", "output", "0.35")
    assert second.json()["usd_per_million"] == {"input": "0.1", "output": "0.35"}
    third = await _price(client, "local", "llama", "input", "0")
    assert third.json()["usd_per_million"] == {"input": "0", "output": "0.35"}
    rows = (await client.get("/api/v1/prices", params={"provider": "local", "model": "llama"})).json()["items"]
    assert len(rows) == 3
    assert {row["source"] for row in rows} == {"organization"}


async def test_an_own_price_for_one_unit_keeps_the_public_ones_for_the_others(client: httpx2.AsyncClient):
    await _add(client, **ANTHROPIC)
    answer = (await _price(client, "anthropic", "claude-sonnet-4-5", "input", "1.5")).json()
    assert answer["usd_per_million"]["input"] == "1.5"
    assert answer["usd_per_million"]["output"] == "15"
    assert all("input" not in tier["usd_per_million"] for tier in answer["tiers"])


async def test_a_price_for_a_provider_that_is_not_there_says_which_there_are(client: httpx2.AsyncClient):
    await _add(client, **ANTHROPIC)
    answer = await _price(client, "antropic", "x", "input", "1")
    assert (answer.status_code, answer.json()["code"]) == (422, "provider-unknown")
    assert "There are: anthropic" in answer.json()["detail"]


@pytest.mark.parametrize(
    "field", [{"usd_per_million": "-1"}, {"usd_per_million": "1e9"}, {"unit": "word"}, {"usd_per_million": "NaN"}]
)
async def test_a_price_that_does_not_fit_is_refused(client: httpx2.AsyncClient, field: dict[str, str]):
    await _add(client, **ANTHROPIC)
    body = {"provider": "anthropic", "model": "x", "unit": "input", "usd_per_million": "1"} | field
    assert (await client.post("/api/v1/prices", json=body)).status_code == 422


async def test_a_viewer_reads_and_is_refused_the_rest_by_name(client: httpx2.AsyncClient, viewer: httpx2.AsyncClient):
    provider = await _add(client, **ANTHROPIC)
    place = f"/api/v1/providers/{provider['id']}"
    for path in (place, "/api/v1/providers", "/api/v1/prices"):
        assert (await viewer.get(path)).status_code == 200
    for method, path, body, permission in [
        ("post", "/api/v1/providers", ANTHROPIC, "provider.edit"),
        ("patch", place, {"models": []}, "provider.edit"),
        ("delete", place, None, "provider.edit"),
        ("post", place + "/test", {}, "provider.edit"),
        (
            "post", "/api/v1/prices",
            {"provider": "anthropic", "model": "x", "unit": "input", "usd_per_million": "1"}, "price.edit",
        ),
    ]:  # fmt: skip
        answer = await viewer.request(method, path, **({} if body is None else {"json": body}))
        assert (answer.status_code, answer.json()["facts"]["permission"]) == (403, permission), (method, path)


async def test_a_key_limited_to_projects_does_not_change_what_all_projects_share(clients, client, owner: Principal):
    project = (await client.get("/api/v1/projects/default")).json()["id"]
    limited = await clients.with_key(owner.organization_id, project_ids=[project])
    assert (await limited.post("/api/v1/providers", json=ANTHROPIC)).status_code == 403
    assert (await limited.get("/api/v1/providers")).status_code == 200


async def test_another_organizations_ids_do_not_exist(client: httpx2.AsyncClient, stranger: httpx2.AsyncClient):
    provider = await _add(client, **ANTHROPIC)
    place = f"/api/v1/providers/{provider['id']}"
    for method, path, body in [
        ("get", place, None),
        ("patch", place, {"models": ["stolen"]}),
        ("delete", place, None),
        ("post", place + "/test", {}),
        ("get", f"/api/v1/providers/{new_id()}", None),
    ]:
        answer = await stranger.request(method, path, **({} if body is None else {"json": body}))
        assert answer.status_code == 404, (method, path)
    await _price(client, "anthropic", "x", "input", "1")
    for path in ("/api/v1/providers", "/api/v1/prices", "/api/v1/models"):
        assert (await stranger.get(path)).json()["items"] == []
    assert (await client.get(place)).json() == provider
    assert (await stranger.post("/api/v1/providers", json=ANTHROPIC)).status_code == 201


async def test_a_sealed_key_moved_to_another_row_does_not_open(
    client: httpx2.AsyncClient, mock: Server, store: Store, owner: Principal
):
    await _add(client, **ANTHROPIC | {"base_url": mock.url})
    other = await _add(client, **ANTHROPIC | {"name": "other", "base_url": mock.url})
    assert (await client.post(f"/api/v1/providers/{other['id']}/test", json={})).status_code == 200
    async with begin(store, owner) as tx:
        await tx.execute(
            "update providers set sealed_key = (select sealed_key from providers where name = 'anthropic') "
            "where name = 'other'"
        )
    answer = await client.post(f"/api/v1/providers/{other['id']}/test", json={})
    assert (answer.status_code, answer.json()["code"]) == (500, "seal-broken")

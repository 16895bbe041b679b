"""Every route that changes something is recorded, in the same transaction, or is refused where that can't be done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from psycopg.rows import dict_row

from shopfloor.apps.api import create_app
from shopfloor.apps.settings import Settings, load
from shopfloor.apps.wiring import Parts, open_parts

Json = dict[str, Any]
HEADERS = {"X-Request-Id": "request-of-the-route", "User-Agent": "route-test/1.0"}
ROUTES_WITHOUT_A_RECORD: dict[tuple[str, str], str] = {}  # a route and the reason why it changes nothing


@dataclass
class World:
    """An application with one of everything, and the owner's way around row-level security."""

    client: httpx2.AsyncClient
    admin: psycopg.Connection[Json]

    async def made(self, path: str, body: Json) -> str:
        answer = await self.client.post(f"/api/v1/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()["id"]

    async def job(self) -> str:
        """A queued job with a model that answers nowhere."""
        if not self.admin.execute("select 1 from providers").fetchone():
            await self.provider("nowhere")
            price = {"provider": "nowhere", "model": "m", "usd_per_million": 1}
            for unit in ("input", "output"):
                assert (await self.client.post("/api/v1/prices", json=price | {"unit": unit})).is_success
        return await self.made("jobs", {"task": "Fix it", "model": "nowhere/m"})

    async def ended(self) -> str:
        """A job that was cancelled."""
        job = await self.job()
        assert (await self.client.post(f"/api/v1/jobs/{job}/cancel")).is_success
        return job

    async def provider(self, name: str) -> str:
        address = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1"}
        return await self.made("providers", {"name": name, **address})

    async def project(self) -> str:
        return await self.made("projects", {"slug": "shop", "name": "Shop"})

    async def key(self) -> str:
        return await self.made("api-keys", {"name": "ci", "permissions": ["job.read"]})

    def organization(self) -> str:
        row = self.admin.execute("select id from organizations").fetchone()
        assert row is not None
        return str(row["id"])


Prepared = tuple[str, Json | None, str]  # path, body, target; an empty target: the answer's id


async def _cancel(world: World) -> Prepared:
    job = await world.job()
    return f"jobs/{job}/cancel", None, job


async def _submit(world: World) -> Prepared:
    await world.job()
    return "jobs", {"task": "Fix it", "model": "nowhere/m"}, ""


async def _retry(world: World) -> Prepared:
    return f"jobs/{await world.ended()}/retry", None, ""


async def _fork(world: World) -> Prepared:
    return f"jobs/{await world.ended()}/fork", {"before_turn": 1}, ""


async def _change_project(world: World) -> Prepared:
    project = await world.project()
    return f"projects/{project}", {"status": "paused"}, project


async def _remove_project(world: World) -> Prepared:
    project = await world.project()
    return f"projects/{project}", None, project


async def _revoke(world: World) -> Prepared:
    key = await world.key()
    return f"api-keys/{key}", None, key


async def _provider(world: World, *, what: str = "", body: Json | None = None) -> Prepared:
    provider = await world.provider("local")
    return f"providers/{provider}{what}", body, provider


async def _price(world: World) -> Prepared:
    await world.provider("local")
    return "prices", {"provider": "local", "model": "m", "unit": "input", "usd_per_million": 1}, ""


async def _restore(world: World) -> Prepared:
    await world.project()
    return "audit/restores", {"reason": "a disk was replaced"}, "log"


async def _plain(_: World, path: str, body: Json) -> Prepared:
    return path, body, ""


async def _organization(world: World) -> Prepared:
    return "organizations/current", {"name": "Works"}, world.organization()


CHANGED = ("projects", "organizations", "providers", "prices")
Prepare = Callable[[World], Awaitable[Prepared]]
# What a valid request to each route is, what it records, and the table whose row it touches (None: gone, or none).
REQUESTS: dict[tuple[str, str], tuple[Prepare, str, str | None]] = {
    ("POST", "/api/v1/jobs"): (_submit, "job.submitted", "jobs"),
    ("POST", "/api/v1/jobs/{job_id}/cancel"): (_cancel, "job.cancelled", "jobs"),
    ("POST", "/api/v1/jobs/{job_id}/retry"): (_retry, "job.retried", "jobs"),
    ("POST", "/api/v1/jobs/{job_id}/fork"): (_fork, "job.forked", "jobs"),
    ("POST", "/api/v1/projects"): (
        lambda world: _plain(world, "projects", {"slug": "shop", "name": "Shop"}), "project.created", "projects",
    ),
    ("PATCH", "/api/v1/projects/{project}"): (_change_project, "project.changed", "projects"),
    ("DELETE", "/api/v1/projects/{project}"): (_remove_project, "project.removed", None),
    ("PATCH", "/api/v1/organizations/current"): (_organization, "organization.changed", "organizations"),
    ("POST", "/api/v1/api-keys"): (
        lambda world: _plain(world, "api-keys", {"name": "ci", "permissions": ["job.read"]}), "key.created", "api_keys",
    ),
    ("DELETE", "/api/v1/api-keys/{key_id}"): (_revoke, "key.revoked", "api_keys"),
    ("POST", "/api/v1/providers"): (
        lambda world: _plain(world, "providers", {"name": "a", "kind": "anthropic", "api_key": "sk-fake-0123456789"}),
        "provider.added", "providers",
    ),
    ("PATCH", "/api/v1/providers/{provider_id}"): (
        lambda world: _provider(world, body={"api_key": "sk-fake-0123456789"}), "provider.changed", "providers",
    ),
    ("DELETE", "/api/v1/providers/{provider_id}"): (_provider, "provider.removed", None),
    ("POST", "/api/v1/providers/{provider_id}/test"): (
        lambda world: _provider(world, what="/test", body={}), "provider.tested", None,
    ),
    ("POST", "/api/v1/prices"): (_price, "price.set", "prices"),
    ("POST", "/api/v1/audit/restores"): (_restore, "audit.restored", None),
}  # fmt: skip


@pytest.fixture
def settings(home: Any, database_url: str) -> Settings:
    return load({"SHOPFLOOR_HOME": str(home)}, database={"url": database_url}, providers={"allow_private": True})


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    async with open_parts(settings) as opened:
        yield opened


@pytest.fixture
def app(parts: Parts) -> FastAPI:
    return create_app(parts)


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection[Json]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
async def world(app: FastAPI, parts: Parts, admin: psycopg.Connection[Json]) -> AsyncIterator[World]:
    headers = {"Authorization": f"Bearer {parts.new_key}"}
    transport = httpx2.ASGITransport(app=app, client=("192.0.2.17", 5_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield World(client, admin)


def changing(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of every route that may change something, as the document lists them."""
    return {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if method.upper() not in {"GET", "HEAD", "OPTIONS"}
    }


def recorded(admin: psycopg.Connection[Json], request_id: str) -> list[Json]:
    return admin.execute(
        "select e.*, o.address, o.agent from audit_entries e left join audit_origins o on o.entry_id = e.id "
        "where e.request_id = %s order by e.id",
        (request_id,),
    ).fetchall()


@pytest.mark.parametrize("route", REQUESTS, ids=" ".join)
async def test_a_change_is_recorded_with_who_what_and_from_where(world: World, route: tuple[str, str]):
    prepare, action, table = REQUESTS[route]
    path, body, target = await prepare(world)
    answer = await world.client.request(route[0], f"/api/v1/{path}", json=body, headers=HEADERS)
    assert answer.is_success, answer.text

    [entry] = recorded(world.admin, HEADERS["X-Request-Id"])
    key = world.admin.execute("select id, user_id from api_keys where name = 'first'").fetchone()
    assert key is not None
    assert (entry["action"], entry["result"], entry["target_id"]) == (action, "done", target or answer.json()["id"])
    assert (entry["actor_id"], entry["user_id"]) == (key["id"], key["user_id"])
    assert (entry["address"], entry["agent"]) == ("192.0.2.17", "route-test/1.0")
    assert "sk-fake" not in entry["leaf"]
    if table is not None:
        row = world.admin.execute(
            f"select xmin::text as xid from {table} where id = %s", (entry["target_id"],)
        ).fetchone()
        assert row is not None
        assert int(row["xid"]) == int(entry["xid"]) % 2**32, "in another transaction than the change"


@pytest.mark.parametrize("route", REQUESTS, ids=" ".join)
async def test_a_change_that_cannot_be_recorded_is_refused_and_leaves_nothing(world: World, route: tuple[str, str]):
    prepare, _, _ = REQUESTS[route]
    path, body, _ = await prepare(world)
    world.admin.execute("revoke insert on audit_entries from shopfloor_app")

    def all_rows() -> list[str]:
        # Of jobs what a request changes: beside it the dispatcher admits those that were there.
        texts = ["select (id, state, cancel_requested_at)::text as row from jobs order by 1"]
        texts += ["select (id, revoked_at)::text as row from api_keys order by 1"]
        texts += [f"select t::text as row from {table} t order by 1" for table in CHANGED]
        return [row["row"] for text in texts for row in world.admin.execute(text)]  # type: ignore[arg-type]

    before = all_rows()
    answer = await world.client.request(route[0], f"/api/v1/{path}", json=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (503, "record-unavailable")
    assert all_rows() == before
    assert (await world.client.get("/api/v1/projects")).status_code == 200
    assert (await world.client.get("/api/v1/audit")).status_code == 200


async def test_a_replay_and_a_second_cancel_are_recorded_as_what_they_are(world: World):
    job = await world.ended()
    replay = await world.client.post(f"/api/v1/jobs/{job}/retry", json={"mode": "replay"}, headers=HEADERS)
    again = await world.client.post(f"/api/v1/jobs/{job}/cancel", headers=HEADERS)
    assert (replay.status_code, again.status_code) == (202, 202)
    entries = recorded(world.admin, HEADERS["X-Request-Id"])
    assert [entry["action"] for entry in entries] == ["job.replayed"]  # cancelling twice changes nothing


SENSITIVE = {
    "jobs/{job}/diff": "job.diff-read",
    "audit": "audit.read",
    "audit/export": "audit.exported",
}


@pytest.mark.parametrize("path", SENSITIVE)
async def test_a_sensitive_read_is_recorded(world: World, path: str):
    answer = await world.client.get(f"/api/v1/{path.format(job=await world.job())}", headers=HEADERS)
    assert answer.is_success
    assert [entry["action"] for entry in recorded(world.admin, HEADERS["X-Request-Id"])] == [SENSITIVE[path]]


async def test_another_read_is_not_recorded(world: World):
    """The control of the test above."""
    assert (await world.client.get("/api/v1/projects", headers=HEADERS)).is_success
    assert recorded(world.admin, HEADERS["X-Request-Id"]) == []


async def test_a_refused_change_is_recorded_though_its_transaction_is_undone(world: World):
    made = await world.client.post(
        "/api/v1/api-keys", json={"name": "narrow", "permissions": ["job.read", "audit.read"]}
    )
    narrow = {"Authorization": f"Bearer {made.json()['key']}"}
    job = await world.job()
    answer = await world.client.post(f"/api/v1/jobs/{job}/cancel", headers={**HEADERS, **narrow})
    assert answer.status_code == 403
    [entry] = recorded(world.admin, HEADERS["X-Request-Id"])
    assert (entry["action"], entry["result"], entry["actor_id"]) == (
        "permission.refused",
        "refused",
        UUID(made.json()["id"]),
    )
    assert entry["target_id"] == "POST /api/v1/jobs/{job_id}/cancel"
    assert json.loads(entry["leaf"])["after"] == {"permission": "job.cancel", "path": {"job_id": job}}


async def test_a_flood_of_refusals_is_not_a_flood_of_entries_and_an_audit_that_is_gone_refuses_alike(world: World):
    made = await world.client.post("/api/v1/api-keys", json={"name": "narrow", "permissions": ["job.read"]})
    narrow = {"Authorization": f"Bearer {made.json()['key']}"}
    for _ in range(35):
        assert (
            await world.client.post("/api/v1/projects", json={"slug": "x", "name": "x"}, headers=narrow)
        ).status_code == 403
    kept = world.admin.execute("select count(*) as n from audit_entries where result = 'refused'").fetchone()
    assert kept == {"n": 30}
    world.admin.execute("revoke insert on audit_entries from shopfloor_app")
    assert (await world.client.delete("/api/v1/projects/default", headers=narrow)).status_code == 403


async def test_a_read_that_is_refused_is_not_recorded(world: World):
    made = await world.client.post("/api/v1/api-keys", json={"name": "narrow", "permissions": ["job.read"]})
    narrow = {"Authorization": f"Bearer {made.json()['key']}", **HEADERS}
    assert (await world.client.get("/api/v1/audit", headers=narrow)).status_code == 403
    assert recorded(world.admin, HEADERS["X-Request-Id"]) == []

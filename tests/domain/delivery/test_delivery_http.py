"""Environments, releases and sprints over HTTP, and the jobs that belong to them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.delivery import api as delivery_api
from shopfloor.infra.tx import Store, begin

NOUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "environments": ({"name": "live", "kind": "production", "protected": True}, {"kind": "staging"}),
    "releases": ({"name": "2.4.0", "status": "planned", "notes": "Checkout"}, {"status": "released"}),
    "sprints": (
        {"name": "12", "goal": "Checkout", "starts": "2026-03-02", "ends": "2026-03-13"},
        {"ends": "2026-03-20"},
    ),
}


@pytest.fixture
async def client(app: FastAPI, clients, owner: Principal) -> httpx2.AsyncClient:
    for router in delivery_api.ROUTERS:
        app.include_router(router)
    return await clients.with_key(owner.organization_id)


@pytest.fixture
def make_job(store: Store, owner: Principal):
    async def make(project: str = "default") -> UUID:
        job_id = new_id()
        async with begin(store, owner) as tx:
            await tx.execute(
                "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by) "
                """select %s, organization_id, id, 'coding', 'x', 'mock/x', """
                """'{"cost_nanos": 1, "turns": 1, "timeout_s": 10}', %s from projects where slug = %s""",
                (job_id, owner.id, project),
            )
        return job_id

    return make


@pytest.mark.parametrize("noun", NOUNS)
async def test_a_record_lives_from_post_to_delete(client: httpx2.AsyncClient, noun: str):
    new, change = NOUNS[noun]
    made = await client.post(f"/api/v1/{noun}", json={"project": "default", **new})
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in new} == new
    assert (await client.get(made.headers["location"])).json() == made.json()
    assert (await client.get(f"/api/v1/{noun}", params={"project": "default"})).json()["items"] == [made.json()]
    again = await client.post(f"/api/v1/{noun}", json={"project": "default", **new})
    assert (again.status_code, again.json()["code"]) == (409, "record-name-taken")

    changed = await client.patch(made.headers["location"], json=change, headers={"If-Match": made.headers["etag"]})
    assert changed.json() == made.json() | change | {"version": 2, "updated_at": changed.json()["updated_at"]}
    stale = await client.patch(made.headers["location"], json=change, headers={"If-Match": made.headers["etag"]})
    assert stale.status_code == 412
    other = await client.post(f"/api/v1/{noun}", json={"project": "default", **new, "name": "other"})
    renamed = await client.patch(other.headers["location"], json={"name": new["name"]})
    assert (renamed.status_code, renamed.json()["code"]) == (409, "record-name-taken")
    assert (await client.delete(made.headers["location"])).status_code == 204
    assert (await client.get(made.headers["location"])).status_code == 404


@pytest.mark.parametrize("noun", NOUNS)
async def test_jobs_are_tied_listed_and_untied_and_stay(client: httpx2.AsyncClient, make_job, noun: str):
    place = (await client.post(f"/api/v1/{noun}", json={"project": "default", **NOUNS[noun][0]})).headers["location"]
    first, second = await make_job(), await make_job()
    for job_id in (first, second, first):  # twice changes nothing
        assert (await client.put(f"{place}/jobs/{job_id}")).status_code == 204
    page = (await client.get(f"{place}/jobs", params={"limit": 1})).json()
    following = (await client.get(f"{place}/jobs", params={"cursor": page["next_cursor"]})).json()
    assert [each["id"] for each in page["items"] + following["items"]] == [str(second), str(first)]
    for _ in range(2):
        assert (await client.delete(f"{place}/jobs/{second}")).status_code == 204
    assert [each["id"] for each in (await client.get(f"{place}/jobs")).json()["items"]] == [str(first)]
    assert (await client.delete(place)).status_code == 204
    assert (await client.get("/api/v1/projects/default")).status_code == 200


async def test_a_job_of_another_project_is_not_tied(client: httpx2.AsyncClient, make_job):
    await client.post("/api/v1/projects", json={"slug": "bank", "name": "Bank"})
    job_id = await make_job("bank")
    place = (await client.post("/api/v1/releases", json={"project": "default", "name": "1"})).headers["location"]
    refused = await client.put(f"{place}/jobs/{job_id}")
    assert (refused.status_code, refused.json()["code"]) == (422, "job-of-another-project")
    assert (await client.put(f"{place}/jobs/{new_id()}")).status_code == 404


async def test_a_sprint_does_not_end_before_it_starts(client: httpx2.AsyncClient):
    new = NOUNS["sprints"][0]
    refused = await client.post("/api/v1/sprints", json={"project": "default", **new, "ends": "2026-03-01"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-input")
    made = await client.post("/api/v1/sprints", json={"project": "default", **new})
    assert (await client.patch(made.headers["location"], json={"starts": "2026-04-01"})).status_code == 422


async def test_who_sees_a_project_sees_its_records_and_no_others(client, clients, owner: Principal):
    await client.post("/api/v1/projects", json={"slug": "bank", "name": "Bank"})
    for project in ("default", "bank"):
        await client.post("/api/v1/releases", json={"project": project, "name": project})
    bank = (await client.get("/api/v1/projects/bank")).json()["id"]
    limited = await clients.with_key(owner.organization_id, project_ids=[bank])
    assert [each["name"] for each in (await limited.get("/api/v1/releases")).json()["items"]] == ["bank"]
    assert (await limited.get("/api/v1/releases", params={"project": "default"})).status_code == 404
    viewer = await clients.with_key(owner.organization_id, ROLES["viewer"], role="viewer")
    refused = await viewer.post("/api/v1/releases", json={"project": "bank", "name": "2"})
    assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "delivery.edit")
    await client.patch("/api/v1/projects/bank", json={"visibility": "private"})
    assert [each["name"] for each in (await viewer.get("/api/v1/releases")).json()["items"]] == ["default"]

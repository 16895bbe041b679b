"""The route that is asked all the time answers as FastAPI would, and refuses whom the others refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import psycopg
import pytest

from shopfloor.apps.api import create_app
from shopfloor.apps.wiring import Parts
from shopfloor.base.ids import new_id
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.schemas import JobReply, job_json, job_reply
from shopfloor.infra.tx import begin

_ADD = (
    "insert into jobs (id, organization_id, project_id, agent, task, model, limits, state, created_by, cost_nanos, "
    "usage, repo_url, verified, checks, labels, finished_at) "
    "select %s, p.organization_id, p.id, 'coding', 'Zażółć \U0001f600', 'mock/small', "
    """'{"cost_nanos": 5000000000, "turns": 100, "timeout_s": 3600}', 'succeeded', p.organization_id, %s, """
    """'{"input": 5}', %s, %s, '{"make test"}', '{"ticket": "A-1"}', now() from projects p"""
)


@pytest.fixture
async def job(parts: Parts) -> Job:
    return await _add(parts, 1_234_567, "https://git.example.org/a.git")


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=create_app(parts))
    headers = {"Authorization": f"Bearer {parts.new_key}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("cost_nanos", "repo_url"), [(0, None), (1, None), (10**15 + 7, "https://git.example.org/a.git")]
)
async def test_its_json_is_that_of_the_documented_reply(parts: Parts, cost_nanos: int, repo_url: str | None):
    job = await _add(parts, cost_nanos, repo_url)
    assert JobReply.model_validate_json(job_json(job)) == job_reply(job)
    reply = JobReply.model_validate_json(job_reply(job).model_dump_json())
    assert reply.model_dump_json() == JobReply.model_validate_json(job_json(job)).model_dump_json()
    assert httpx2.Response(200, content=job_json(job)).json() == job_reply(job).model_dump(mode="json")


async def test_it_answers_with_the_job_its_version_and_what_is_left(client: httpx2.AsyncClient, job: Job):
    answer = await client.get(f"/api/v1/jobs/{job.id}")
    assert (answer.status_code, answer.json()) == (200, job_reply(job).model_dump(mode="json"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert '"key";r=' in answer.headers["ratelimit"]
    again = await client.get(f"/api/v1/jobs/{job.id}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_an_id_is_read_or_refused_as_everywhere(client: httpx2.AsyncClient, job: Job):
    for text in (str(job.id).upper(), job.id.hex, f"urn:uuid:{job.id}"):
        assert (await client.get(f"/api/v1/jobs/{text}")).json()["id"] == str(job.id)
    refused = await client.get("/api/v1/jobs/nothing")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/job_id")
    assert (await client.get(f"/api/v1/jobs/{new_id()}")).json()["code"] == "job-not-found"


async def test_what_is_unusual_takes_the_usual_way(client: httpx2.AsyncClient, job: Job):
    refused = await client.get(f"/api/v1/jobs/{job.id}", params={"colour": "red"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/colour")
    assert (await client.get(f"/api/v1/jobs/{job.id}/")).status_code in {307, 404}
    assert (await client.delete(f"/api/v1/jobs/{job.id}")).status_code == 405


async def test_a_parameter_is_refused_as_everywhere(client: httpx2.AsyncClient, job: Job):
    for query in ("admin=1", "=1", "job_id=1&job_id=2", "a=%00"):
        assert (await client.get(f"/api/v1/jobs/{job.id}?{query}")).status_code == 422
    assert (await client.get(f"/api/v1/jobs/{job.id}?")).json()["id"] == str(job.id)  # the positive control


async def test_it_refuses_whom_the_others_refuse(parts: Parts, client: httpx2.AsyncClient, job: Job):
    path = f"/api/v1/jobs/{job.id}"
    made = await client.post("/api/v1/api-keys", json={"name": "narrow", "permissions": ["project.read"]})
    narrow = {"Authorization": f"Bearer {made.json()['key']}"}
    refused = await client.get(path, headers=narrow)
    assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "job.read")
    for sent in ("", "Bearer nothing", f"Basic {parts.new_key}", f"Bearer {str(parts.new_key)[:-1]}"):
        assert (await client.get(path, headers={"Authorization": sent})).status_code == 401
    twice = [("Authorization", f"Bearer {parts.new_key}"), ("Authorization", f"Bearer {parts.new_key}")]
    client.headers.pop("Authorization")
    assert (await client.get(path, headers=twice)).status_code == 401
    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, headers=twice[:1])).status_code == 200  # the positive control


async def test_another_organizations_job_is_not_there(parts: Parts, client: httpx2.AsyncClient, job: Job):
    organization_id, project_id, foreign = new_id(), new_id(), new_id()
    with psycopg.connect(parts.settings.database.url or "", autocommit=True) as admin:
        admin.execute("insert into organizations (id, name) values (%s, 'Other')", (organization_id,))
        admin.execute(
            "insert into projects (id, organization_id, slug, name) values (%s, %s, 'other', 'Other')",
            (project_id, organization_id),
        )
        admin.execute(_ADD + " where p.id = %s", (foreign, 1, None, True, project_id))
    assert (await client.get(f"/api/v1/jobs/{foreign}")).json()["code"] == "job-not-found"
    assert (await client.get(f"/api/v1/jobs/{job.id}")).status_code == 200  # the positive control


async def test_a_revoked_key_and_a_disabled_person_are_refused_at_the_next_request(
    parts: Parts, client: httpx2.AsyncClient, job: Job
):
    path = f"/api/v1/jobs/{job.id}"
    made = (await client.post("/api/v1/api-keys", json={"name": "ci", "permissions": ["job.read"]})).json()
    own = {"Authorization": f"Bearer {made['key']}"}
    answers = await asyncio.gather(*(client.get(path, headers=own) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    await client.delete(f"/api/v1/api-keys/{made['id']}")
    assert (await client.get(path, headers=own)).status_code == 401
    assert (await client.get(path)).status_code == 200
    with psycopg.connect(parts.settings.database.url or "", autocommit=True) as admin:
        admin.execute("update users set disabled_at = now()")
    assert (await client.get(path)).status_code == 401


async def _add(parts: Parts, cost_nanos: int, repo_url: str | None) -> Job:
    owner, job_id = await local_owner(parts.store), new_id()
    async with begin(parts.store, owner) as tx:
        await tx.execute(_ADD, (job_id, cost_nanos, repo_url, True))
        return await jobs.job(tx, job_id)

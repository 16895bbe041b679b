"""The whole application: no route is open, each names its permission, and the document says all of it."""

from __future__ import annotations

import re

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.apps.api import create_app
from shopfloor.apps.wiring import Parts
from shopfloor.domain.access.permissions import EVERY

OPEN = {
    "get /livez",
    "get /readyz",
    "get /.well-known/jwks.json",
    "post /api/v1/auth/setup",
    "post /api/v1/auth/sign-in",
    "post /api/v1/auth/second-factor",
    "post /api/v1/auth/token/refresh",
    "post /api/v1/auth/password/forgot",
    "post /api/v1/auth/password/reset",
    "post /api/v1/auth/email/verify",
    "post /api/v1/auth/invitations/accept",
    "get /api/v1/auth/oidc/{provider_id}/start",
    "get /api/v1/auth/oidc/callback",
    "post /api/v1/auth/passkeys/options",
    "post /api/v1/auth/passkeys/sign-in",
}


@pytest.fixture
def app(parts: Parts) -> FastAPI:
    return create_app(parts)


@pytest.fixture
def client(app: FastAPI, parts: Parts) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {parts.new_key}"}
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost", headers=headers)


async def test_every_route_but_those_to_get_in_refuses_a_request_without_a_key(app: FastAPI):
    document = app.openapi()
    stranger = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost")
    answers: dict[str, int] = {}
    for path, methods in document["paths"].items():
        for method in methods:
            place = re.sub(r"\{\w+\}", "019a0000-0000-7000-8000-000000000000", path)
            answers[f"{method} {path}"] = (await stranger.request(method.upper(), place)).status_code

    assert len(answers) > 30
    assert {place for place, status in answers.items() if status != 401} <= OPEN
    unsigned = {
        f"{method} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "security" not in operation
    }
    assert unsigned == OPEN
    assert (await stranger.get("/openapi.json")).status_code == 401
    assert (await stranger.get("/docs")).status_code in {401, 404}


async def test_a_key_that_may_nothing_passes_no_route_but_its_own(app: FastAPI, client: httpx2.AsyncClient):
    made = await client.post("/api/v1/api-keys", json={"name": "narrow", "permissions": ["audit.read"]})
    narrow = {"Authorization": f"Bearer {made.json()['key']}"}
    for path in (
        "jobs",
        "projects",
        "providers",
        "models",
        "prices",
        "agents",
        "system",
        "api-keys",
        "organizations/current",
    ):
        refused = await client.get(f"/api/v1/{path}", headers=narrow)
        assert (path, refused.status_code) == (path, 403)
        assert refused.json()["facts"]["permission"] in EVERY
    assert (await client.get("/api/v1/me", headers=narrow)).status_code == 200


async def test_the_document_is_whole(app: FastAPI, client: httpx2.AsyncClient):
    document = (await client.get("/openapi.json")).json()

    assert (document["openapi"][:2], document["info"]["title"]) == ("3.", "Shopfloor")
    assert document["components"]["securitySchemes"]["api-key"]["scheme"] == "bearer"
    tags = {tag["name"] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            place = f"{method} {path}"
            assert operation.get("summary"), place
            assert set(operation.get("tags", [])) <= tags, place
            if place not in OPEN:
                assert operation["security"] == [{"api-key": []}], place
                assert "401" in operation["responses"], place
    references = _references(document)
    assert references
    assert [each for each in references if not _there(document, each)] == []


async def test_agents_and_the_system_are_served(client: httpx2.AsyncClient):
    agents = (await client.get("/api/v1/agents")).json()["items"]
    assert {"architect", "coding", "testing", "review", "deployment", "monitoring", "planner"} <= {
        a["name"] for a in agents
    }
    coding = (await client.get("/api/v1/agents/coding")).json()
    assert "instructions" in coding
    assert coding["output"]["type"] == "object"
    unknown = await client.get("/api/v1/agents/nobody")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert (await client.get("/api/v1/system")).json()["database"] == "external"


async def test_the_first_key_is_kept_for_its_owner_alone(parts: Parts):
    file = parts.settings.admin_key_file
    assert file.read_text() == f"{parts.new_key}\n"
    assert file.stat().st_mode & 0o777 == 0o600


def _references(value: object) -> set[str]:
    match value:
        case dict():
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(_references(each) for each in value.values()))
        case list():
            return set().union(*(_references(each) for each in value))
        case _:
            return set()


def _there(document: dict, reference: str) -> bool:
    place: object = document
    for step in reference.removeprefix("#/").split("/"):
        place = place.get(step) if isinstance(place, dict) else None
    return place is not None

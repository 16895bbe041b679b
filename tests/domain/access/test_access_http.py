"""Who may what, over HTTP, on a real database."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access import projects
from shopfloor.domain.access.permissions import EVERY, ROLES
from shopfloor.infra.tx import Store, begin

SETTINGS = {
    "agent": "coding",
    "model": "anthropic/claude-sonnet-5,openai/gpt-5",
    "checks": ["pytest -q"],
    "limits": {"cost_usd": "2.5", "turns": 80, "timeout_s": 1800},
    "network": ["packages.example.com:443", "*.example.org"],
    "environment": {
        "image": "registry.example.org/ci@sha256:" + "a" * 64,
        "setup": ["pip install -e ."],
        "lock_files": ["pyproject.toml"],
    },
    "approvals": {"tools": [], "commands": ["git push*"], "push": True, "by_others": False, "expires_after_s": 3600},
    "repository_hosts": ["github.com"],
}


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer sf_live_x", "Basic c2Y6c2Y=", "Bearer sf_live_AAAAAAAAAAAA_" + "A" * 38, "bearer \t"],
)
async def test_a_request_without_a_valid_key_is_refused_and_says_how_to_sign_in(clients, owner, header: str | None):
    answer = await clients.with_header(header).get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "not-signed-in"
    assert "in the Authorization header, as a Bearer token" in answer.json()["detail"]


async def test_two_authorization_headers_are_refused(client: httpx2.AsyncClient):
    mine = client.headers["authorization"]
    answer = await client.get("/api/v1/me", headers=[("Authorization", mine), ("Authorization", "Bearer other")])
    assert answer.status_code == 401


async def test_no_route_answers_without_a_key(app: FastAPI, clients, owner: Principal):
    nobody = clients.with_header(None)
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            if "security" not in operation:
                continue  # tests/apps/test_api_app.py lists those
            answer = await nobody.request(method, path.replace("{", "").replace("}", ""), json={})
            assert answer.status_code == 401, (method, path)


async def test_me_says_who_the_key_speaks_for(client: httpx2.AsyncClient, owner: Principal):
    me = (await client.get("/api/v1/me")).json()
    assert me == {
        "kind": "key", "id": me["id"], "name": "key owner", "organization_id": str(owner.organization_id),
        "project_ids": None,
    }  # fmt: skip


async def test_permissions_are_those_of_the_key_and_no_more_than_of_its_person(clients, owner: Principal):
    client = await clients.with_key(owner.organization_id, EVERY, role="viewer")
    assert (await client.get("/api/v1/me/permissions")).json() == {
        "permissions": sorted(ROLES["viewer"]),
        "project_ids": None,
        "sources": [{"kind": "role", "role": "viewer", "team_id": None}],
        "projects": [],
    }


async def test_a_key_without_any_permission_may_still_ask_who_it_is(clients, owner: Principal):
    client = await clients.with_key(owner.organization_id, [])
    assert (await client.get("/api/v1/me")).status_code == 200
    assert (await client.get("/api/v1/projects")).status_code == 403


async def test_an_organization_is_read_and_changed(client: httpx2.AsyncClient, owner: Principal):
    before = await client.get("/api/v1/organizations/current")
    assert before.json()["name"] == "Default"
    changed = await client.patch(
        "/api/v1/organizations/current", json={"max_running_jobs": 3}, headers={"If-Match": before.headers["etag"]}
    )
    assert changed.json() == before.json() | {"max_running_jobs": 3, "version": 2}
    assert changed.headers["etag"].startswith('"2-')
    stale = await client.patch(
        "/api/v1/organizations/current", json={"name": "Late"}, headers={"If-Match": before.headers["etag"]}
    )
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition-failed")


async def test_a_project_lives_from_post_to_delete(client: httpx2.AsyncClient):
    made = await client.post("/api/v1/projects", json={"slug": "shop", "name": "Web shop", "settings": SETTINGS})
    assert made.status_code == 201, made.text
    project = made.json()
    assert project["settings"] == SETTINGS
    assert made.headers["location"] == f"/api/v1/projects/{project['id']}"
    assert (await client.get(made.headers["location"])).json() == project
    assert (await client.get("/api/v1/projects/shop")).json() == project

    changed = await client.patch("/api/v1/projects/shop", json={"status": "paused", "priority": 5})
    assert changed.json() == project | {
        "status": "paused", "priority": 5, "version": 2, "updated_at": changed.json()["updated_at"],
    }  # fmt: skip
    assert (await client.delete("/api/v1/projects/shop")).status_code == 204
    assert (await client.get("/api/v1/projects/shop")).status_code == 404


async def test_settings_are_stored_as_the_jobs_room_reads_them(client, store: Store, owner: Principal):
    await client.post("/api/v1/projects", json={"slug": "shop", "name": "Shop", "settings": SETTINGS})
    async with begin(store, owner) as tx:
        row = await tx.one("select settings from projects where slug = 'shop'")
    assert row is not None
    assert row["settings"]["limits"] == {"cost_nanos": 2_500_000_000, "turns": 80, "timeout_s": 1800}


async def test_a_client_whose_copy_is_the_newest_gets_304(client: httpx2.AsyncClient):
    first = await client.get("/api/v1/projects/default")
    again = await client.get("/api/v1/projects/default", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await client.patch("/api/v1/projects/default", json={"name": "New"})
    fresh = await client.get("/api/v1/projects/default", headers={"If-None-Match": first.headers["etag"]})
    assert (fresh.status_code, fresh.json()["name"]) == (200, "New")


async def test_a_change_from_an_old_version_is_refused_and_loses_nothing(client: httpx2.AsyncClient):
    old = (await client.get("/api/v1/projects/default")).headers["etag"]
    await client.patch("/api/v1/projects/default", json={"name": "First"}, headers={"If-Match": old})
    late = await client.patch("/api/v1/projects/default", json={"name": "Second"}, headers={"If-Match": old})
    assert (late.status_code, late.json()["code"]) == (412, "precondition-failed")
    assert (await client.delete("/api/v1/projects/default", headers={"If-Match": old})).status_code == 412
    assert (await client.get("/api/v1/projects/default")).json()["name"] == "First"


async def test_a_taken_slug_is_a_conflict(client: httpx2.AsyncClient):
    answer = await client.post("/api/v1/projects", json={"slug": "default", "name": "Again"})
    assert (answer.status_code, answer.json()["code"]) == (409, "project-name-taken")


async def test_a_project_with_jobs_is_not_deleted(client: httpx2.AsyncClient, store: Store, owner: Principal):
    async with begin(store, owner) as tx:
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by) "
            "select %s, organization_id, id, 'coding', 'x', 'mock/x', '{}', %s from projects",
            (new_id(), owner.id),
        )
    answer = await client.delete("/api/v1/projects/default")
    assert (answer.status_code, answer.json()["code"]) == (409, "project-in-use")
    assert "archived" in answer.json()["detail"]
    assert (await client.get("/api/v1/projects/default")).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"unknown": 1},
        {"model": "no-provider"},
        {"model": "a/b,c"},
        {"limits": {"cost_usd": "0"}},
        {"limits": {"cost_usd": "1e9"}},
        {"limits": {"turns": "80"}},
        {"network": ["https://example.org"]},
        {"network": ["example.org:0"]},
        {"network": ["example.org:99999"]},
        {"network": ["*"]},
        {"environment": {"image": "python:3.12"}},
        {"environment": {"lock_files": ["../secret"]}},
        {"environment": {"lock_files": ["/etc/passwd"]}},
        {"repository_hosts": ["a b"]},
        {"checks": [""]},
        {"checks": ["x\u0000"]},
    ],
)
async def test_settings_that_do_not_fit_are_refused_by_name(client: httpx2.AsyncClient, settings: dict[str, object]):
    answer = await client.patch("/api/v1/projects/default", json={"settings": settings})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")
    assert (await client.get("/api/v1/projects/default")).json()["version"] == 1


@pytest.mark.parametrize(
    "field", ["id", "organization_id", "version", "created_at", "slug"], ids=lambda field: f"not-{field}"
)
async def test_a_field_that_is_not_the_clients_to_set_is_refused(client: httpx2.AsyncClient, field: str):
    answer = await client.patch("/api/v1/projects/default", json={field: "x"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{field}")


async def test_a_slug_written_like_an_id_is_refused(client: httpx2.AsyncClient):
    answer = await client.post("/api/v1/projects", json={"slug": str(new_id()), "name": "x"})
    assert answer.status_code == 422


async def test_projects_come_in_pages_without_gap_or_repetition(client: httpx2.AsyncClient):
    for number in range(4):
        await client.post("/api/v1/projects", json={"slug": f"p{number}", "name": "P"})
    seen, cursor = [], None
    while True:
        page = (
            await client.get("/api/v1/projects", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        ).json()
        seen += [item["slug"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["default", "p0", "p1", "p2", "p3"]


async def test_a_tampered_cursor_is_refused(client: httpx2.AsyncClient):
    for number in range(2):
        await client.post("/api/v1/projects", json={"slug": f"p{number}", "name": "P"})
    cursor = (await client.get("/api/v1/projects", params={"limit": 1})).json()["next_cursor"]
    assert (await client.get("/api/v1/projects", params={"cursor": cursor})).status_code == 200
    for forged in (cursor[:-2] + "AA", "AAAA", "not base64!", cursor + "A" * 2_000):
        assert (await client.get("/api/v1/projects", params={"cursor": forged})).status_code == 422, forged
    answer = await client.get("/api/v1/projects", params={"cursor": cursor, "status": "paused"})
    assert answer.status_code == 422


async def test_a_viewer_is_refused_with_the_missing_permission_named(viewer: httpx2.AsyncClient):
    refused = {
        ("post", "/api/v1/projects"): "project.edit",
        ("patch", "/api/v1/projects/default"): "project.edit",
        ("delete", "/api/v1/projects/default"): "project.edit",
        ("patch", "/api/v1/organizations/current"): "organization.edit",
        ("get", "/api/v1/api-keys"): "key.edit",
        ("post", "/api/v1/api-keys"): "key.edit",
        ("get", f"/api/v1/api-keys/{new_id()}"): "key.edit",
        ("delete", f"/api/v1/api-keys/{new_id()}"): "key.edit",
    }
    bodies = {
        "/api/v1/projects": {"slug": "x", "name": "x"},
        "/api/v1/api-keys": {"name": "x", "permissions": ["job.read"]},
    }
    for (method, path), permission in refused.items():
        body = {"json": bodies.get(path, {})} if method in {"post", "patch"} else {}
        answer = await viewer.request(method, path, **body)
        assert answer.status_code == 403, (method, path, answer.text)
        assert answer.json()["facts"]["permission"] == permission
    assert (await viewer.get("/api/v1/projects/default")).status_code == 200


async def test_another_organizations_ids_do_not_exist(client: httpx2.AsyncClient, stranger: httpx2.AsyncClient):
    project = (await client.get("/api/v1/projects/default")).json()["id"]
    key = (await client.get("/api/v1/api-keys")).json()["items"][0]["id"]
    for method, path in [
        ("get", f"/api/v1/projects/{project}"),
        ("patch", f"/api/v1/projects/{project}"),
        ("delete", f"/api/v1/projects/{project}"),
        ("get", "/api/v1/projects/default"),
        ("get", f"/api/v1/api-keys/{key}"),
        ("delete", f"/api/v1/api-keys/{key}"),
    ]:
        body = {"json": {"name": "stolen"}} if method == "patch" else {}
        assert (await stranger.request(method, path, **body)).status_code == 404, (method, path)
    assert (await stranger.get("/api/v1/projects")).json()["items"] == []
    assert (await client.get("/api/v1/projects/default")).json()["name"] == "Default"
    assert (await client.get(f"/api/v1/api-keys/{key}")).json()["revoked_at"] is None


async def test_a_key_limited_to_a_project_sees_only_that_one(client: httpx2.AsyncClient, clients, owner: Principal):
    made = (await client.post("/api/v1/projects", json={"slug": "mine", "name": "Mine"})).json()
    limited = await clients.with_key(owner.organization_id, project_ids=[made["id"]])
    assert [item["slug"] for item in (await limited.get("/api/v1/projects")).json()["items"]] == ["mine"]
    assert (await limited.get("/api/v1/projects/mine")).status_code == 200
    assert (await limited.get("/api/v1/projects/default")).status_code == 404
    assert (await limited.patch("/api/v1/projects/default", json={"name": "x"})).status_code == 404
    assert (await limited.post("/api/v1/projects", json={"slug": "x", "name": "x"})).status_code == 403
    assert (await limited.patch("/api/v1/organizations/current", json={"name": "x"})).status_code == 403


async def test_a_key_is_shown_once_and_works_until_it_is_revoked(client: httpx2.AsyncClient, clients):
    made = await client.post("/api/v1/api-keys", json={"name": "ci", "permissions": ["project.read"]})
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    text, key_id = made.json()["key"], made.json()["id"]
    holder = clients.with_header(f"Bearer {text}")
    assert (await holder.get("/api/v1/projects/default")).status_code == 200
    assert (await holder.get("/api/v1/api-keys")).status_code == 403

    shown = await client.get(f"/api/v1/api-keys/{key_id}")
    listed = await client.get("/api/v1/api-keys")
    assert shown.json()["last_used_at"] is not None
    for answer in (shown, listed):
        assert text not in answer.text
        assert text.rsplit("_", 1)[1][:20] not in answer.text

    assert (await client.delete(f"/api/v1/api-keys/{key_id}")).status_code == 204
    assert (await client.delete(f"/api/v1/api-keys/{key_id}")).status_code == 204
    assert (await holder.get("/api/v1/projects/default")).status_code == 401


async def test_a_key_made_by_a_key_belongs_to_the_same_person(client: httpx2.AsyncClient, clients):
    made = (await client.post("/api/v1/api-keys", json={"name": "a", "permissions": ["key.edit"]})).json()
    child = clients.with_header(f"Bearer {made['key']}")
    grandchild = (await child.post("/api/v1/api-keys", json={"name": "b", "permissions": ["key.edit"]})).json()
    assert grandchild["user_id"] == made["user_id"]


async def test_a_key_cannot_give_more_than_it_has(clients, owner: Principal):
    maker = await clients.with_key(owner.organization_id, ["key.edit", "job.read"])
    answer = await maker.post("/api/v1/api-keys", json={"name": "x", "permissions": ["job.read", "provider.edit"]})
    assert (answer.status_code, answer.json()["facts"]["lacking"]) == (403, ["provider.edit"])
    unknown = await maker.post("/api/v1/api-keys", json={"name": "x", "permissions": ["*"]})
    assert unknown.status_code == 422


async def test_a_limited_key_makes_only_keys_limited_to_the_same_projects(clients, client, owner: Principal):
    mine = (await client.post("/api/v1/projects", json={"slug": "mine", "name": "Mine"})).json()["id"]
    other = (await client.get("/api/v1/projects/default")).json()["id"]
    limited = await clients.with_key(owner.organization_id, project_ids=[mine])
    child = await limited.post("/api/v1/api-keys", json={"name": "x", "permissions": ["job.read"]})
    assert child.json()["project_ids"] == [mine]
    wider = {"name": "x", "permissions": ["job.read"], "project_ids": [mine, other]}
    assert (await limited.post("/api/v1/api-keys", json=wider)).status_code == 422
    assert len((await limited.get("/api/v1/api-keys")).json()["items"]) == 2
    assert len((await client.get("/api/v1/api-keys")).json()["items"]) == 4


async def test_an_expiry_must_lie_ahead_and_ends_the_key(client: httpx2.AsyncClient, clients, store: Store, owner):
    now = datetime.now(UTC)
    for bad in (now - timedelta(minutes=1), now + timedelta(days=9_999)):
        body = {"name": "x", "permissions": ["job.read"], "expires_at": bad.isoformat()}
        assert (await client.post("/api/v1/api-keys", json=body)).status_code == 422
    body = {"name": "x", "permissions": ["project.read"], "expires_at": (now + timedelta(hours=1)).isoformat()}
    made = (await client.post("/api/v1/api-keys", json=body)).json()
    holder = clients.with_header(f"Bearer {made['key']}")
    assert (await holder.get("/api/v1/projects")).status_code == 200
    async with begin(store, owner) as tx:
        await tx.execute("update api_keys set expires_at = now() - interval '1 second' where id = %s", (made["id"],))
    assert (await holder.get("/api/v1/projects")).status_code == 401


async def test_a_key_that_expires_makes_none_that_outlives_it(client: httpx2.AsyncClient, clients):
    end = datetime.now(UTC) + timedelta(hours=1)
    body = {"name": "x", "permissions": ["key.edit"], "expires_at": end.isoformat()}
    made = (await client.post("/api/v1/api-keys", json=body)).json()
    holder = clients.with_header(f"Bearer {made['key']}")
    longer = {**body, "expires_at": (end + timedelta(seconds=1)).isoformat()}
    refused = await holder.post("/api/v1/api-keys", json=longer)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission-denied")
    shorter = (end - timedelta(minutes=1)).replace(microsecond=0)
    child = await holder.post("/api/v1/api-keys", json={**body, "expires_at": shorter.isoformat()})
    assert datetime.fromisoformat(child.json()["expires_at"]) == shorter
    endless = await holder.post("/api/v1/api-keys", json={**body, "expires_at": None})
    assert endless.json()["expires_at"] == made["expires_at"]


async def test_no_key_appears_in_a_log(client: httpx2.AsyncClient, clients, capfd: pytest.CaptureFixture[str]):
    made = (await client.post("/api/v1/api-keys", json={"name": "ci", "permissions": ["project.read"]})).json()
    holder = clients.with_header(f"Bearer {made['key']}")
    await holder.get("/api/v1/projects/default")
    await holder.post("/api/v1/projects", json={"slug": "x", "name": "x"})
    out, err = capfd.readouterr()
    assert "/api/v1/projects" in out + err  # the positive control: requests are logged
    assert made["key"] not in out + err


async def test_the_document_tells_the_scheme_the_errors_and_examples(app: FastAPI, clients):
    document = app.openapi()
    assert document["components"]["securitySchemes"]["api-key"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "security" in operation:  # tests/apps/test_api_app.py lists the open ones
                assert operation["security"] == [{"api-key": []}], (method, path)
            assert {"401", "403", "422"} <= operation["responses"].keys(), (method, path)
    assert "Web shop" in json.dumps(document["components"]["schemas"]["ProjectNew"]["examples"])


async def test_settings_are_replaced_as_a_whole(client: httpx2.AsyncClient):
    await client.patch("/api/v1/projects/default", json={"settings": SETTINGS})
    answer = await client.patch("/api/v1/projects/default", json={"settings": {"checks": []}})
    assert answer.json()["settings"] == {
        "agent": None, "model": None, "checks": [], "limits": {"cost_usd": None, "turns": None, "timeout_s": None},
        "network": [], "environment": {"image": None, "setup": [], "lock_files": []}, "repository_hosts": [],
        "approvals": {"tools": [], "commands": [], "push": False, "by_others": False, "expires_after_s": 86_400},
    }  # fmt: skip


async def test_two_who_change_the_same_version_at_the_same_moment_do_not_overwrite_each_other(
    store: Store, owner: Principal
):
    async def change(name: str) -> str:
        async with begin(store, owner) as tx:
            project = await projects.find_project(tx, "default")
            await both_have_read.wait()
            return (await projects.change_project(tx, project, {"name": name})).name

    both_have_read = asyncio.Barrier(2)
    first, second = await asyncio.gather(change("First"), change("Second"), return_exceptions=True)
    assert {type(first), type(second)} == {str, PreconditionFailed}

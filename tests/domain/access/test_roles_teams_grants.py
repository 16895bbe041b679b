"""Roles of one's own, teams and grants: what they give, where it ends, and that it can't be more than one has."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx2
import pytest

from domain.access.people_fixtures import Somebody, join
from shopfloor.base.principal import Principal
from shopfloor.domain.access.permissions import EVERY, IN_PROJECTS, PERMISSIONS, ROLES


@pytest.fixture
async def manager(clients, owner: Principal) -> Somebody:
    return await join(clients, owner.organization_id, "manager")


@pytest.fixture
async def member(clients, owner: Principal) -> Somebody:
    """Somebody who may nothing but what everybody may."""
    return await join(clients, owner.organization_id, "member")


async def _may(somebody: Somebody) -> dict[str, Any]:
    """What they may beyond every member, by project slug."""
    found = (await somebody.http.get("/api/v1/me/permissions")).json()
    return {each["project_id"]: (set(each["permissions"]), each["sources"]) for each in found["projects"]}


async def _default(client: httpx2.AsyncClient) -> str:
    return (await client.get("/api/v1/projects/default")).json()["id"]


def test_the_table_is_ordered_from_owner_to_viewer_and_an_auditor_changes_nothing():
    order = [ROLES[name] for name in ("owner", "admin", "manager", "developer", "viewer", "member")]
    assert all(above > below for above, below in pairwise(order))
    assert ROLES["auditor"] > ROLES["viewer"]
    assert {name for name in ROLES["auditor"] if not name.endswith((".read", ".private"))} == set()
    assert len(PERMISSIONS) == len(EVERY)
    assert all(each.description.endswith(".") for each in PERMISSIONS)


async def test_the_table_and_every_role_can_be_read(client: httpx2.AsyncClient):
    table = (await client.get("/api/v1/roles/permissions")).json()["items"]
    assert {each["name"] for each in table} == EVERY
    assert {each["name"] for each in table if each["scope"] == "project"} == IN_PROJECTS
    listed = (await client.get("/api/v1/roles")).json()["items"]
    assert [each["name"] for each in listed] == list(ROLES)
    assert (await client.get("/api/v1/roles/viewer")).json()["permissions"] == sorted(ROLES["viewer"])


async def test_a_role_of_ones_own_counts_wherever_it_was_given_and_changes_for_all(client, member: Somebody):
    made = await client.post(
        "/api/v1/roles", json={"name": "releaser", "base": "viewer", "permissions": ["delivery.edit"]}
    )
    assert made.status_code == 201, made.text
    assert made.json()["permissions"] == sorted(ROLES["viewer"] | {"delivery.edit"})
    given = await client.patch(f"/api/v1/members/{member.id}", json={"role": "releaser"})
    assert given.status_code == 200, given.text
    mine = (await member.http.get("/api/v1/me/permissions")).json()
    assert mine["permissions"] == made.json()["permissions"]
    assert mine["sources"] == [{"kind": "role", "role": "releaser", "team_id": None}]

    changed = await client.patch("/api/v1/roles/releaser", json={"permissions": ["job.read"]})
    assert changed.json()["permissions"] == ["job.read"]
    assert (await member.http.get("/api/v1/me/permissions")).json()["permissions"] == ["job.read"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "viewer"}, 409),
        ({"name": "x", "permissions": ["*"]}, 422),
        ({"name": "x", "permissions": ["job.fly"]}, 422),
        ({"name": "x", "base": "nonsense"}, 404),
        ({"name": "Not A Name"}, 422),
    ],
)
async def test_a_role_that_can_not_be_is_refused(client, body: dict[str, Any], status: int):
    assert (await client.post("/api/v1/roles", json=body)).status_code == status


async def test_an_editor_of_roles_makes_gains_and_takes_nothing_above_himself(client, clients, owner: Principal):
    await client.post(
        "/api/v1/roles", json={"name": "role-editor", "base": "viewer", "permissions": ["role.edit", "member.edit"]}
    )
    await client.post("/api/v1/roles", json={"name": "strong", "base": "manager"})
    editor = await join(clients, owner.organization_id, "role-editor")
    for method, path, body in (
        ("POST", "", {"name": "mine", "permissions": ["secret.edit"]}),
        ("POST", "", {"name": "mine", "base": "owner"}),
        ("PATCH", "/role-editor", {"permissions": ["role.edit", "owner.edit"]}),
        ("PATCH", "/strong", {"permissions": []}),
        ("DELETE", "/strong", None),
    ):
        refused = await editor.http.request(method, f"/api/v1/roles{path}", json=body)
        assert refused.status_code == 403, (method, path, refused.text)
    assert (await editor.http.post("/api/v1/roles", json={"name": "mine", "base": "viewer"})).status_code == 201
    assert (await editor.http.patch("/api/v1/roles/viewer", json={})).status_code == 422


async def test_a_role_in_use_is_not_removed(client, member: Somebody):
    await client.post("/api/v1/roles", json={"name": "reader", "base": "viewer"})
    await client.patch(f"/api/v1/members/{member.id}", json={"role": "reader"})
    refused = await client.delete("/api/v1/roles/reader")
    assert (refused.status_code, refused.json()["facts"]) == (409, {"uses": 1})
    await client.patch(f"/api/v1/members/{member.id}", json={"role": "member"})
    assert (await client.delete("/api/v1/roles/reader")).status_code == 204
    assert (await client.patch(f"/api/v1/members/{member.id}", json={"role": "reader"})).status_code == 404


async def test_a_grant_holds_in_its_project_alone_and_ends_when_it_is_taken_back(client, manager, member: Somebody):
    await client.post("/api/v1/projects", json={"slug": "shop", "name": "Shop"})
    place = await _default(client)
    assert (await member.http.get("/api/v1/projects/default")).status_code == 403
    put = await manager.http.put(f"/api/v1/projects/default/grants/{member.id}", json={"role": "developer"})
    assert put.status_code == 200, put.text
    source = {"kind": "grant", "role": "developer", "team_id": None}
    assert await _may(member) == {place: (ROLES["developer"] & IN_PROJECTS, [source])}
    assert (await member.http.get("/api/v1/projects/default")).status_code == 200
    assert (await member.http.get("/api/v1/projects/shop")).status_code == 404
    assert [each["slug"] for each in (await member.http.get("/api/v1/projects")).json()["items"]] == ["default"]
    assert (await member.http.get("/api/v1/members")).status_code == 403  # nothing of the organization's comes with it

    again = await manager.http.put(f"/api/v1/projects/default/grants/{member.id}", json={"role": "viewer"})
    assert again.json()["role"] == "viewer"
    listed = (await manager.http.get("/api/v1/projects/default/grants")).json()["items"]
    assert [(each["user_id"], each["role"]) for each in listed] == [(str(member.id), "viewer")]
    assert (await manager.http.delete(f"/api/v1/projects/default/grants/{member.id}")).status_code == 204
    assert (await manager.http.delete(f"/api/v1/projects/default/grants/{member.id}")).status_code == 404
    assert await _may(member) == {}


async def test_nobody_grants_more_than_he_has_in_that_project(client, clients, owner: Principal, member: Somebody):
    await client.post("/api/v1/roles", json={"name": "granter", "permissions": ["project.grant", "project.read"]})
    granter = await join(clients, owner.organization_id, "granter")
    refused = await granter.http.put(f"/api/v1/projects/default/grants/{member.id}", json={"role": "developer"})
    assert refused.status_code == 403
    assert "job.submit" in refused.json()["facts"]["lacking"]
    assert (
        await granter.http.put(f"/api/v1/projects/default/grants/{member.id}", json={"role": "granter"})
    ).status_code == 200
    await client.put(f"/api/v1/projects/default/grants/{member.id}", json={"role": "manager"})
    lowered = await granter.http.put(f"/api/v1/projects/default/grants/{member.id}", json={"role": "granter"})
    assert lowered.status_code == 403  # nor takes from somebody what he lacks himself


async def test_a_team_gives_its_role_in_projects_it_owns_or_is_granted_and_leads_manage(client, manager, member):
    team = (await manager.http.post("/api/v1/teams", json={"slug": "web", "name": "Web", "role": "viewer"})).json()
    await manager.http.post("/api/v1/projects", json={"slug": "owned", "name": "O", "team_id": team["id"]})
    await manager.http.put(f"/api/v1/projects/default/grants/{team['id']}", json={"role": "developer"})
    assert await _may(member) == {}
    put = await manager.http.put(f"/api/v1/teams/web/members/{member.id}", json={})
    assert (put.status_code, put.json()["team_role"]) == (200, "member")
    owned = (await client.get("/api/v1/projects/owned")).json()["id"]
    may = await _may(member)
    assert {place: held for place, (held, _) in may.items()} == {
        owned: ROLES["viewer"] & IN_PROJECTS,
        await _default(client): ROLES["developer"] & IN_PROJECTS,
    }
    assert may[owned][1] == [{"kind": "team", "role": "viewer", "team_id": team["id"]}]

    await manager.http.put(f"/api/v1/teams/web/members/{member.id}", json={"team_role": "lead"})
    assert (await _may(member))[owned][0] == ROLES["manager"] & IN_PROJECTS
    assert [each["team_role"] for each in (await client.get("/api/v1/teams/web/members")).json()["items"]] == ["lead"]

    in_use = await manager.http.delete("/api/v1/teams/web")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "team-in-use")
    await manager.http.patch("/api/v1/projects/owned", json={"team_id": None})
    assert (await manager.http.delete("/api/v1/teams/web")).status_code == 204
    assert await _may(member) == {}


async def test_nobody_puts_people_into_a_team_that_gives_more_than_he_has(client, clients, owner, member: Somebody):
    team = (await client.post("/api/v1/teams", json={"slug": "ops", "name": "Ops", "role": "manager"})).json()
    await client.post("/api/v1/roles", json={"name": "teamster", "base": "viewer", "permissions": ["team.edit"]})
    teamster = await join(clients, owner.organization_id, "teamster")
    for body in ({}, {"team_role": "lead"}):
        refused = await teamster.http.put(f"/api/v1/teams/{team['id']}/members/{teamster.id}", json=body)
        assert refused.status_code == 403
    assert (await teamster.http.patch("/api/v1/teams/ops", json={"role": "viewer"})).status_code == 403
    assert (await teamster.http.delete("/api/v1/teams/ops")).status_code == 403
    await client.put(f"/api/v1/teams/ops/members/{member.id}", json={})
    assert (await teamster.http.delete(f"/api/v1/teams/ops/members/{member.id}")).status_code == 403
    assert (await teamster.http.post("/api/v1/teams", json={"slug": "a", "name": "A"})).status_code == 403
    assert (
        await teamster.http.post("/api/v1/teams", json={"slug": "a", "name": "A", "role": "viewer"})
    ).status_code == 201
    assert (await teamster.http.put(f"/api/v1/teams/a/members/{member.id}", json={})).status_code == 200


async def test_a_team_lives_from_post_to_delete(client: httpx2.AsyncClient):
    made = await client.post("/api/v1/teams", json={"slug": "web", "name": "Web", "description": "Shop front"})
    assert (made.status_code, made.json()["role"]) == (201, "developer")
    assert (await client.post("/api/v1/teams", json={"slug": "web", "name": "Again"})).status_code == 409
    changed = await client.patch(made.headers["location"], json={"name": "Front"})
    assert changed.json() == made.json() | {"name": "Front", "version": 2, "updated_at": changed.json()["updated_at"]}
    stale = await client.patch("/api/v1/teams/web", json={"name": "x"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await client.get("/api/v1/teams")).json()["items"] == [changed.json()]
    assert (await client.delete("/api/v1/teams/web")).status_code == 204
    assert (await client.get("/api/v1/teams/web")).status_code == 404


async def test_a_projects_owner_and_team_are_taken_by_nobody_who_lacks_what_they_give(client, clients, owner, member):
    team = (await client.post("/api/v1/teams", json={"slug": "ops", "name": "Ops"})).json()
    fields = {"owner_id": str(member.id), "team_id": team["id"]}
    assert (await client.patch("/api/v1/projects/default", json=fields)).status_code == 200
    await client.post(
        "/api/v1/roles", json={"name": "granter", "base": "viewer", "permissions": ["project.grant", "project.edit"]}
    )
    granter = await join(clients, owner.organization_id, "granter")
    for name in fields:
        refused = await granter.http.patch("/api/v1/projects/default", json={name: None})
        assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "deadletter.edit"), name
    assert (await client.patch("/api/v1/projects/default", json=dict.fromkeys(fields))).status_code == 200


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *(("members/{member}", name) for name in ("id", "kind", "email", "disabled_at", "version", "organization_id")),
        *(("teams/web", name) for name in ("id", "slug", "version", "organization_id")),
        *(("roles/mine", name) for name in ("name", "base", "built_in", "organization_id")),
        *(("organizations/current", name) for name in ("id", "slug", "operator")),
    ],
)
async def test_a_field_that_is_not_the_clients_to_set_is_refused(client, member: Somebody, path: str, field: str):
    await client.post("/api/v1/teams", json={"slug": "web", "name": "Web"})
    await client.post("/api/v1/roles", json={"name": "mine"})
    refused = await client.patch(f"/api/v1/{path.format(member=member.id)}", json={field: "x"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"/{field}")

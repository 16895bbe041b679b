"""People and service accounts: who may change whom, and that nobody gets above himself."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from domain.access.people_fixtures import Somebody, join
from shopfloor.base.principal import Principal
from shopfloor.domain.access import people
from shopfloor.domain.access.errors import LastOwner
from shopfloor.domain.access.permissions import ROLES
from shopfloor.infra.tx import Store, begin


@pytest.fixture
async def admin(clients, owner: Principal) -> Somebody:
    return await join(clients, owner.organization_id, "admin", name="Admin")


@pytest.fixture
async def developer(clients, owner: Principal) -> Somebody:
    return await join(clients, owner.organization_id, "developer", name="Developer")


async def test_members_are_listed_with_filters_in_pages(admin: Somebody, developer: Somebody):
    listed = (await admin.http.get("/api/v1/members")).json()["items"]
    assert [(each["name"], each["role"], each["status"], each["kind"]) for each in listed] == [
        ("Owner", "owner", "active", "person"),
        ("Admin", "admin", "active", "person"),
        ("Developer", "developer", "active", "person"),
    ]
    await admin.http.post(f"/api/v1/members/{developer.id}/disable")
    for query, names in (
        ({"role": "admin"}, ["Admin"]),
        ({"status": "disabled"}, ["Developer"]),
        ({"status": "active"}, ["Owner", "Admin"]),
        ({"kind": "service"}, []),
    ):
        found = (await admin.http.get("/api/v1/members", params=query)).json()["items"]
        assert [each["name"] for each in found] == names, query
    page = (await admin.http.get("/api/v1/members", params={"limit": 1})).json()
    following = (await admin.http.get("/api/v1/members", params={"limit": 5, "cursor": page["next_cursor"]})).json()
    assert [each["name"] for each in page["items"] + following["items"]] == ["Owner", "Admin", "Developer"]


async def test_a_role_is_changed_and_counts_at_the_next_request(admin: Somebody, developer: Somebody):
    assert (await developer.http.post("/api/v1/projects", json={"slug": "x", "name": "X"})).status_code == 403
    before = await admin.http.get(f"/api/v1/members/{developer.id}")
    changed = await admin.http.patch(
        f"/api/v1/members/{developer.id}", json={"role": "manager"}, headers={"If-Match": before.headers["etag"]}
    )
    assert (changed.status_code, changed.json()["role"], changed.headers["etag"]) == (200, "manager", '"2"')
    assert (await developer.http.post("/api/v1/projects", json={"slug": "x", "name": "X"})).status_code == 201
    stale = await admin.http.patch(
        f"/api/v1/members/{developer.id}", json={"role": "viewer"}, headers={"If-Match": before.headers["etag"]}
    )
    assert stale.status_code == 412


@pytest.mark.parametrize("who", ["himself", "another"])
async def test_nobody_gives_a_role_above_his_own_to_himself_or_another(admin, developer, who: str):
    target = {"himself": admin, "another": developer}[who]
    refused = await admin.http.patch(f"/api/v1/members/{target.id}", json={"role": "owner"})
    assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "organization.create")
    assert "owner.edit" in refused.json()["facts"]["lacking"]
    positive = await admin.http.patch(f"/api/v1/members/{target.id}", json={"role": "manager"})
    assert positive.status_code == 200


async def test_nobody_touches_somebody_above_himself(admin: Somebody, owner: Principal, client: httpx2.AsyncClient):
    for method, path, body in (
        ("PATCH", "", {"role": "viewer"}),
        ("PATCH", "", {"name": "Renamed"}),
        ("POST", "/disable", None),
        ("POST", "/enable", None),
        ("DELETE", "", None),
    ):
        refused = await admin.http.request(method, f"/api/v1/members/{owner.id}{path}", json=body)
        assert refused.status_code == 403, (method, path)
    assert (await client.patch(f"/api/v1/members/{owner.id}", json={"name": "Renamed"})).status_code == 200


async def test_a_key_gives_no_more_than_it_holds_itself(clients, owner: Principal, developer: Somebody):
    narrow = await clients.with_key(owner.organization_id, ["member.edit", "member.read"])
    refused = await narrow.patch(f"/api/v1/members/{developer.id}", json={"role": "viewer"})
    assert refused.status_code == 403
    assert "job.read" in refused.json()["facts"]["lacking"]


async def test_the_last_owner_stays(owner: Principal, store: Store):
    for change in (
        lambda tx: people.change_member(tx, owner.id, {"role": "admin"}),
        lambda tx: people.disable_member(tx, owner.id),
        lambda tx: people.remove_member(tx, owner.id),
    ):
        with pytest.raises(LastOwner, match="last owner"):
            async with begin(store, owner) as tx:
                await change(tx)


async def test_two_owners_who_unmake_each_other_at_the_same_moment_leave_one(clients, owner: Principal, store: Store):
    second = await join(clients, owner.organization_id, "owner")
    other = Principal("user", second.id, owner.organization_id, ROLES["owner"], user_id=second.id)

    async def unmake(by: Principal, whom: Principal) -> None:
        async with begin(store, by) as tx:
            await both.wait()
            await people.change_member(tx, whom.id, {"role": "viewer"})

    both = asyncio.Barrier(2)
    results = await asyncio.gather(unmake(owner, other), unmake(other, owner), return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["LastOwner", "NoneType"]


async def test_a_disabled_member_may_nothing_until_enabled_again(admin: Somebody, developer: Somebody):
    assert (await developer.http.get("/api/v1/me")).status_code == 200
    for _ in range(2):
        disabled = await admin.http.post(f"/api/v1/members/{developer.id}/disable")
        assert (disabled.status_code, disabled.json()["status"]) == (200, "disabled")
    assert (await developer.http.get("/api/v1/me")).status_code == 401
    assert (await admin.http.post(f"/api/v1/members/{developer.id}/enable")).json()["status"] == "active"
    assert (await developer.http.get("/api/v1/me")).status_code == 200


async def test_somebody_with_a_history_is_disabled_and_not_removed(admin: Somebody, developer: Somebody):
    refused = await admin.http.delete(f"/api/v1/members/{developer.id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "member-in-use")
    assert "/disable" in refused.json()["detail"]
    made = (await admin.http.post("/api/v1/service-accounts", json={"name": "ci"})).json()
    assert (await admin.http.delete(f"/api/v1/members/{made['id']}")).status_code == 204
    assert (await admin.http.get(f"/api/v1/members/{made['id']}")).status_code == 404


async def test_a_service_account_has_a_role_and_no_address_and_is_never_an_owner(admin, client: httpx2.AsyncClient):
    made = await admin.http.post("/api/v1/service-accounts", json={"name": "ci", "role": "developer"})
    assert made.status_code == 201, made.text
    assert (made.json()["kind"], made.json()["email"], made.json()["role"]) == ("service", None, "developer")
    listed = (await admin.http.get("/api/v1/service-accounts")).json()["items"]
    assert [each["id"] for each in listed] == [made.json()["id"]]
    for body in ({"name": "x", "role": "owner"}, {"name": "x", "role": "nonsense"}):
        refused = await client.post("/api/v1/service-accounts", json=body)
        assert refused.status_code in {422, 404}, body
    promoted = await client.patch(f"/api/v1/members/{made.json()['id']}", json={"role": "owner"})
    assert promoted.status_code == 422


async def test_a_service_account_is_made_with_its_grants_or_not_at_all(admin: Somebody, client: httpx2.AsyncClient):
    grants = [{"project": "default", "role": "developer"}]
    made = await admin.http.post("/api/v1/service-accounts", json={"name": "ci", "grants": grants})
    assert (made.status_code, made.json()["role"]) == (201, "member")
    listed = (await client.get("/api/v1/projects/default/grants")).json()["items"]
    assert [(each["user_id"], each["role"]) for each in listed] == [(made.json()["id"], "developer")]
    grants.append({"project": "nowhere", "role": "developer"})
    assert (await admin.http.post("/api/v1/service-accounts", json={"name": "x", "grants": grants})).status_code == 404
    assert len((await client.get("/api/v1/service-accounts")).json()["items"]) == 1


async def test_a_refusal_says_what_is_missing_and_who_can_give_it(admin, developer, owner: Principal):
    refused = await developer.http.patch("/api/v1/organizations/current", json={"name": "Mine"})
    assert refused.status_code == 403
    assert refused.json()["facts"] == {
        "permission": "organization.edit",
        "given_by": {"roles": ["owner", "admin"], "people": ["Owner", "Admin"]},
    }
    assert refused.json()["detail"].endswith("Ask Owner, Admin.")


async def test_no_more_than_three_people_are_named_and_no_disabled_one(admin, developer, clients, owner: Principal):
    for number in range(3):
        await join(clients, owner.organization_id, "admin", name=f"Admin {number}")
    await admin.http.post("/api/v1/roles", json={"name": "people", "permissions": ["member.edit", "member.read"]})
    client = await join(clients, owner.organization_id, "owner", name="Second")
    await client.http.post(f"/api/v1/members/{admin.id}/disable")
    facts = (await developer.http.get("/api/v1/api-keys")).json()["facts"]
    assert facts["given_by"] == {"roles": ["owner", "admin", "people"], "people": ["Owner", "Admin 0", "Admin 1"]}

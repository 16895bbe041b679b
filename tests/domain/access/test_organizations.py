"""Several organizations on one installation: made by its operator, and strangers to each other."""

from __future__ import annotations

import httpx2
import pytest

from domain.access.people_fixtures import join
from shopfloor.base.errors import PermissionDenied
from shopfloor.base.principal import Principal
from shopfloor.domain.access import organizations
from shopfloor.domain.access.permissions import OF_THE_OPERATOR, ROLES
from shopfloor.infra.tx import Store, begin, begin_system

NEW = {"slug": "acme", "name": "Acme", "owner_email": "Boss@Example.org"}


async def test_the_operator_makes_an_organization_with_one_owner_and_nothing_else(
    client: httpx2.AsyncClient, clients, store: Store
):
    made = await client.post("/api/v1/organizations", json=NEW)
    assert made.status_code == 201, made.text
    assert (made.json()["slug"], made.json()["operator"]) == ("acme", False)
    async with begin_system(store) as tx:
        people = await tx.all(
            "select id, email, role, kind from users where organization_id = %s", (made.json()["id"],)
        )
        rest = await tx.one(
            "select (select count(*) from projects where organization_id = %(id)s) "
            "+ (select count(*) from api_keys where organization_id = %(id)s) as n",
            {"id": made.json()["id"]},
        )
    assert [(str(each["id"]), each["email"], each["role"], each["kind"]) for each in people] == [
        (made.json()["owner_id"], "boss@example.org", "owner", "person")
    ]
    assert rest == {"n": 0}
    listed = (await client.get("/api/v1/organizations")).json()["items"]
    assert [each["slug"] for each in listed] == ["default", "acme"]
    again = await client.post("/api/v1/organizations", json=NEW)
    assert (again.status_code, again.json()["code"]) == (409, "name-taken")
    # Back in one's own: the operator sees nothing of the other's.
    assert [each["name"] for each in (await client.get("/api/v1/members")).json()["items"]] == ["Owner", "Somebody"]


async def test_an_owner_of_another_organization_makes_none_and_may_all_else(client, clients):
    made = (await client.post("/api/v1/organizations", json=NEW)).json()
    theirs = await join(clients, made["id"], "owner")
    assert (await theirs.http.get("/api/v1/me/permissions")).json()["permissions"] == sorted(
        ROLES["owner"] - OF_THE_OPERATOR
    )
    for refused in (
        await theirs.http.post("/api/v1/organizations", json=NEW | {"slug": "other"}),
        await theirs.http.get("/api/v1/organizations"),
    ):
        assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "organization.create")
        assert "first organization of this installation" in refused.json()["detail"]  # nobody of theirs can give it
    member = await join(clients, made["id"], "member")
    promoted = await theirs.http.patch(f"/api/v1/members/{member.id}", json={"role": "owner"})
    assert promoted.status_code == 200, promoted.text


@pytest.mark.parametrize("role", ["admin", "auditor"])
async def test_nobody_but_an_owner_of_the_operator_makes_one(clients, owner: Principal, role: str):
    somebody = await join(clients, owner.organization_id, role)
    assert (await somebody.http.post("/api/v1/organizations", json=NEW)).status_code == 403


async def test_the_verb_serves_the_system_too_and_asks_everybody_else(store: Store, owner: Principal):
    async with begin_system(store) as tx:
        made, first = await organizations.create_organization(tx, "Acme", "acme", "boss@example.org")
    assert (made.slug, first.role) == ("acme", "owner")
    viewer = Principal("user", owner.id, owner.organization_id, ROLES["viewer"], user_id=owner.id)
    with pytest.raises(PermissionDenied):
        async with begin(store, viewer) as tx:
            await organizations.create_organization(tx, "B", "b", "boss@example.org")

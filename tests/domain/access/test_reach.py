"""Who may touch a project, from where: held by the database for every route, list and join."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from domain.access.people_fixtures import Somebody, join
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.origin import Origin, coming_from, plain_address
from shopfloor.infra.tx import Store, begin, begin_system


@pytest.fixture
async def viewer_of_all(clients, owner: Principal) -> Somebody:
    return await join(clients, owner.organization_id, "viewer", email="viewer@example.org")


@pytest.fixture
async def job(client: httpx2.AsyncClient, store: Store, owner: Principal) -> dict[str, str]:
    """The ids of a job and an artifact of the project `shop`."""
    made = (await client.post("/api/v1/projects", json={"slug": "shop", "name": "Shop"})).json()
    ids = {"project": made["id"], "job": str(new_id()), "artifact": str(new_id())}
    async with begin(store, owner) as tx:
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by) "
            "values (%s, %s, %s, 'coding', 'x', 'mock/x', '{}', %s)",
            (ids["job"], owner.organization_id, made["id"], owner.id),
        )
        await tx.execute(
            "insert into artifacts (id, organization_id, job_id, name, media_type, digest, size_bytes) "
            "values (%s, %s, %s, 'a', 'text/plain', 'x', 1)",
            (ids["artifact"], owner.organization_id, ids["job"]),
        )
    return ids


async def _sees(somebody: Somebody, ids: dict[str, str]) -> set[bool]:
    """Whether they see the project: by id, by name, in the list, its grants, its artifacts. One answer from all."""
    get = somebody.http.get
    answers = [
        (await get(f"/api/v1/{path}")).status_code
        for path in (
            "projects/shop", f"projects/{ids['project']}", "projects/shop/grants", f"jobs/{ids['job']}/artifacts",
            f"artifacts/{ids['artifact']}",
        )
    ]  # fmt: skip
    assert set(answers) <= {200, 404}
    listed = {each["slug"] for each in (await get("/api/v1/projects")).json()["items"]}
    return {status == 200 for status in answers} | {"shop" in listed}


async def _set(client: httpx2.AsyncClient, **fields: Any) -> None:
    answer = await client.patch("/api/v1/projects/shop", json=fields)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("visibility", ["team", "private"])
async def test_a_hidden_project_is_not_there_for_the_organizations_viewers(
    client, clients, viewer_of_all, job, owner: Principal, visibility: str
):
    assert await _sees(viewer_of_all, job) == {True}
    await _set(client, visibility=visibility)
    assert await _sees(viewer_of_all, job) == {False}
    for role in ("manager", "developer"):
        assert await _sees(await join(clients, owner.organization_id, role), job) == {False}, role
    for role in ("owner", "admin", "auditor"):
        assert await _sees(await join(clients, owner.organization_id, role), job) == {True}, role
    await client.put(f"/api/v1/projects/shop/grants/{viewer_of_all.id}", json={"role": "viewer"})
    assert await _sees(viewer_of_all, job) == {True}


@pytest.mark.parametrize(("visibility", "seen"), [("team", True), ("private", False)])
async def test_its_own_team_sees_a_projects_of_the_team_and_no_private_one(
    client, viewer_of_all, job, visibility: str, seen: bool
):
    team = (await client.post("/api/v1/teams", json={"slug": "web", "name": "Web"})).json()
    await client.put(f"/api/v1/teams/web/members/{viewer_of_all.id}", json={})
    await _set(client, visibility=visibility, team_id=team["id"])
    assert await _sees(viewer_of_all, job) == {seen}
    await client.put(f"/api/v1/projects/shop/grants/{team['id']}", json={"role": "viewer"})
    assert await _sees(viewer_of_all, job) == {True}


async def test_a_role_of_ones_own_may_see_private_projects(client, viewer_of_all, job):
    await _set(client, visibility="private")
    await client.post("/api/v1/roles", json={"name": "inspector", "base": "viewer", "permissions": ["project.private"]})
    await client.patch(f"/api/v1/members/{viewer_of_all.id}", json={"role": "inspector"})
    assert await _sees(viewer_of_all, job) == {True}


async def test_only_people_of_the_allowed_domains_touch_a_project(client, clients, viewer_of_all, job, owner):
    mine = await join(clients, owner.organization_id, "owner", email="boss@example.org")
    outsider = await join(clients, owner.organization_id, "owner", email="boss@evil-example.org")
    subdomain = await join(clients, owner.organization_id, "viewer", email="x@sub.example.org")
    await _set(mine.http, email_domains=["Example.ORG"])
    assert await _sees(viewer_of_all, job) == {True}
    assert await _sees(outsider, job) == {False}
    assert await _sees(subdomain, job) == {False}


async def test_only_requests_from_the_allowed_addresses_touch_a_project(client, viewer_of_all, job, app):
    await _set(client, ip_ranges=["127.0.0.1", "10.0.0.0/8"])
    assert await _sees(viewer_of_all, job) == {True}
    for address, seen in (
        ("10.9.8.7", True),
        ("::ffff:10.9.8.7", True),
        ("11.0.0.1", False),
        ("2001:db8::1", False),
        ("testclient", False),
        ("", False),
    ):
        transport = httpx2.ASGITransport(app=app, client=(address, 1))
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8321", headers=viewer_of_all.http.headers
        ) as there:
            assert await _sees(Somebody(viewer_of_all.id, there), job) == {seen}, address


async def test_what_is_out_of_reach_can_not_be_changed_or_submitted_to(client, viewer_of_all, job, store: Store, owner):
    await _set(client, visibility="private")
    me = Principal("user", viewer_of_all.id, owner.organization_id, frozenset({"*"}), user_id=viewer_of_all.id)
    async with begin(store, me) as tx:
        assert await tx.execute("update projects set name = 'mine' where slug = 'shop'") == 0
        assert await tx.execute("update jobs set task = 'mine' where id = %s", (job["job"],)) == 0
        assert await tx.execute("delete from projects where slug = 'shop'") == 0
    worker = Principal("worker", new_id(), owner.organization_id, frozenset({"*"}))
    async with begin(store, worker) as tx:  # the control: no person stands behind a worker
        assert await tx.execute("update jobs set task = 'x' where id = %s", (job["job"],)) == 1


@pytest.mark.parametrize(
    "fields",
    [{"email_domains": ["example.com"]}, {"ip_ranges": ["10.0.0.0/8"]}, {"visibility": "private", "owner_id": None}],
)
async def test_nobody_locks_himself_out(clients, client, owner: Principal, fields: dict[str, Any], job):
    manager = await join(clients, owner.organization_id, "manager")
    refused = await manager.http.patch("/api/v1/projects/shop", json=fields)
    assert (refused.status_code, refused.json()["code"]) == (422, "out-of-own-reach"), refused.text
    refused = await manager.http.post("/api/v1/projects", json={"slug": "new", "name": "New", **fields})
    assert (refused.status_code, refused.json()["code"]) == (422, "out-of-own-reach"), refused.text


async def test_an_owner_lifts_what_keeps_him_out_and_nobody_else_does(
    client, clients, viewer_of_all, job, owner, store
):
    worker = Principal("worker", new_id(), owner.organization_id, frozenset({"*"}))
    async with begin(store, worker) as tx:  # whoever set it has gone
        await tx.execute("update projects set ip_ranges = '{10.0.0.0/8}', email_domains = '{gone.example}'")
    boss = await join(clients, owner.organization_id, "owner")
    assert await _sees(boss, job) == {False}
    for role in ("admin", "manager"):
        refused = await (await join(clients, owner.organization_id, role)).http.post("/api/v1/projects/shop/unlock")
        assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "owner.edit")
    opened = await boss.http.post("/api/v1/projects/shop/unlock")
    assert (opened.status_code, opened.json()["ip_ranges"], opened.json()["email_domains"]) == (200, [], [])
    assert await _sees(boss, job) == {True}


@pytest.mark.parametrize(
    "fields",
    [
        {"ip_ranges": ["10.0.0.1/8"]}, {"ip_ranges": ["everywhere"]}, {"email_domains": ["@example.org"]},
        {"email_domains": ["*"]}, {"visibility": "nobody"}, {"compliance": ["not a mark"]}, {"security_level": "max"},
        {"owner_id": str(new_id())}, {"team_id": str(new_id())},
    ],
)  # fmt: skip
async def test_a_place_that_can_not_be_is_refused(client, fields: dict[str, Any]):
    refused = await client.patch("/api/v1/projects/default", json=fields)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-input")


async def test_a_project_has_all_that_describes_it_and_belongs_to_its_maker(clients, owner: Principal):
    maker = await join(clients, owner.organization_id, "manager")
    fields = {
        "security_level": "high", "classification": "restricted", "compliance": ["gdpr", "iso27001"],
        "cost_centre": "4711", "visibility": "team", "email_domains": ["example.org"],
        "ip_ranges": ["127.0.0.0/8", "2001:db8::/32"],
    }  # fmt: skip
    made = await maker.http.post("/api/v1/projects", json={"slug": "new", "name": "New", **fields})
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in fields} == fields
    assert made.json()["owner_id"] == str(maker.id)


async def test_who_may_not_grant_names_no_owner_and_opens_no_project(client, clients, owner: Principal):
    await client.post("/api/v1/roles", json={"name": "editor", "base": "viewer", "permissions": ["project.edit"]})
    editor = await join(clients, owner.organization_id, "editor")
    made = await editor.http.post("/api/v1/projects", json={"slug": "new", "name": "New"})
    assert (made.status_code, made.json()["owner_id"]) == (201, None)  # owning it would let him submit jobs
    for fields in ({"owner_id": str(editor.id)}, {"visibility": "team"}, {"email_domains": ["example.org"]}):
        refused = await editor.http.patch("/api/v1/projects/new", json=fields)
        assert refused.status_code == 403, fields
    assert (await editor.http.patch("/api/v1/projects/new", json={"name": "Renamed"})).status_code == 200


async def test_every_table_with_a_project_is_bound_to_what_its_person_may_touch(store: Store):
    """No route of a later room can forget it: the table itself holds it."""
    async with begin_system(store) as tx:
        rows = await tx.all(
            "select c.table_name as name, exists (select 1 from pg_policies p where p.tablename = c.table_name "
            "and p.policyname = 'within_reach' and p.permissive = 'RESTRICTIVE') as bound "
            "from information_schema.columns c where c.column_name = 'project_id' and c.table_schema = 'public'"
        )
    bound = {row["name"]: row["bound"] for row in rows}
    # Read before it is known which projects somebody may touch, by `may_reach` itself.
    assert bound.pop("project_grants") is False
    # An auditor reads the whole record, and whoever is refused a project is on record for it.
    assert bound.pop("audit_entries") is False
    # Money is counted whoever asks: an organization's budget counts what projects hidden from its maker spend, too.
    # Calls are shown through their job, which is bound.
    assert bound.pop("holds") is False
    assert len(bound) >= 7
    assert [name for name, is_bound in bound.items() if not is_bound] == []


async def test_reading_one_job_asks_for_its_own_project_and_not_for_all(store: Store, owner: Principal, job):
    async with begin(store, owner) as tx:
        rows = await tx.all("explain select id from jobs where id = %s", (job["job"],))
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    assert "projects_pkey" in plan
    assert "hashed" not in plan


@pytest.mark.parametrize(
    ("written", "plain"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("192.0.2.1", "192.0.2.1"), ("x'; --", "")],
)
def test_an_address_is_compared_in_one_spelling(written: str, plain: str):
    assert plain_address(written) == plain


async def test_an_address_that_is_none_reaches_the_database_as_none(store: Store, owner: Principal):
    with coming_from(Origin(address="not an address")):
        async with begin(store, owner) as tx:
            row = await tx.one("select current_setting('app.address') as address, count(*) as n from projects")
    assert row == {"address": "", "n": 1}

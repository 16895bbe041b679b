"""Secrets by name over HTTP: they go in, and never come out."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from shopfloor.base.principal import Principal
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.secrets.errors import SecretUnknown
from shopfloor.domain.secrets.keep import NewSecret, add_secret
from shopfloor.domain.secrets.use import GitCredentials, git_credentials, open_secret
from shopfloor.infra.record import Entry
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.tx import Services, Store, Tx, begin

VALUE = "visibly-fake-value-0001"
GIT = {"name": "forge", "kind": "git", "host": "Git.Example.com", "username": "robot", "value": VALUE}


async def test_a_secret_lives_from_post_to_delete_and_its_value_is_never_answered(client: httpx2.AsyncClient, owner):
    made = await client.post("/api/v1/secrets", json=GIT)
    assert made.status_code == 201
    secret = made.json()
    assert secret == {
        "id": secret["id"], "name": "forge", "kind": "git", "project_id": None, "host": "git.example.com",
        "username": "robot", "version": 1, "created_by": secret["created_by"], "created_at": secret["created_at"],
        "updated_at": secret["updated_at"], "last_used_at": None,
    }  # fmt: skip
    place = made.headers["location"]
    found = await client.get(place)
    assert (await client.get(place, headers={"If-None-Match": found.headers["etag"]})).status_code == 304

    changed = await client.patch(place, json={"value": f"{VALUE}-new"}, headers={"If-Match": '"1"'})
    assert changed.json()["version"] == 2
    late = await client.patch(place, json={"value": "another-value"}, headers={"If-Match": '"1"'})
    assert (late.status_code, late.json()["code"]) == (412, "precondition-failed")
    listed = await client.get("/api/v1/secrets")
    assert [row["name"] for row in listed.json()["items"]] == ["forge"]
    answers = (made, found, changed, late, listed)
    assert not [each for each in answers if VALUE in each.text or "sealed" in each.text]

    assert (await client.delete(place)).status_code == 204
    assert (await client.get(place)).json()["code"] == "secret-unknown"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"name": "a", "value": ""}, "value"),
        ({"name": "a b", "value": VALUE}, "name"),
        ({"name": "a", "value": VALUE, "kind": "git"}, "names its host"),
        ({"name": "a", "value": VALUE, "host": "git.example.com"}, "names its host"),
        ({**GIT, "host": "https://git.example.com"}, "host"),
        ({**GIT, "username": "a:b"}, "username"),
        ({**GIT, "project_id": "00000000-0000-4000-8000-000000000000"}, "no project"),
        ({**GIT, "organization_id": "00000000-0000-4000-8000-000000000000"}, "organization_id"),
    ],
)
async def test_what_does_not_fit_is_refused_without_the_value(client, body: dict[str, str], told: str):
    refused = await client.post("/api/v1/secrets", json=body)
    assert refused.status_code == 422
    assert told in refused.text
    assert VALUE not in refused.text
    assert (await client.get("/api/v1/secrets")).json()["items"] == []


async def test_a_name_or_a_host_is_taken_once_a_scope(client: httpx2.AsyncClient):
    project = (await client.get("/api/v1/projects")).json()["items"][0]["id"]
    changes = ({}, {}, {"name": "other"}, {"project_id": project}, {"host": "b.example.com"})
    codes = [(await client.post("/api/v1/secrets", json=GIT | change)).status_code for change in changes]
    assert codes == [201, 409, 409, 201, 409]


async def test_another_username_needs_the_value_with_it(client: httpx2.AsyncClient):
    place = (await client.post("/api/v1/secrets", json=GIT)).headers["location"]
    refused = await client.patch(place, json={"username": "thief"})
    assert (refused.status_code, "needs the value" in refused.text) == (422, True)
    changed = await client.patch(place, json={"username": "other", "value": VALUE})
    assert changed.json()["username"] == "other"


async def test_who_may_not_is_refused_and_another_organization_finds_nothing(client, viewer, stranger, clients, owner):
    place = (await client.post("/api/v1/secrets", json=GIT)).headers["location"]
    auditor = await clients.with_key(owner.organization_id, ROLES["auditor"], role="auditor")
    assert (await auditor.get(place)).status_code == 200  # the name, never the value
    assert (await viewer.get(place)).status_code == 403
    for method, path, body in (
        ("POST", "/api/v1/secrets", {**GIT, "name": "b", "host": "b.example.com"}),
        ("PATCH", place, {"value": VALUE}),
        ("DELETE", place, None),
        ("POST", "/api/v1/data-key/rotate", None),
    ):
        assert (await auditor.request(method, path, json=body)).status_code == 403
    for method, body in (("GET", None), ("PATCH", {"value": VALUE}), ("DELETE", None)):
        assert (await stranger.request(method, place, json=body)).status_code == 404
    assert (await stranger.get("/api/v1/secrets")).json()["items"] == []
    keyless = await clients.with_key(owner.organization_id, ROLES["owner"] - {"secret.read", "secret.edit"})
    assert (await keyless.get("/api/v1/secrets")).status_code == 403
    assert (await client.get(place)).status_code == 200  # nothing of it happened


async def test_a_key_of_one_project_sees_and_changes_that_projects_secrets_only(client, clients, owner: Principal):
    project = (await client.get("/api/v1/projects")).json()["items"][0]["id"]
    own = await client.post("/api/v1/secrets", json={**GIT, "project_id": project})
    whole = await client.post("/api/v1/secrets", json=GIT)
    bound = await clients.with_key(owner.organization_id, project_ids=[project])
    assert [row["id"] for row in (await bound.get("/api/v1/secrets")).json()["items"]] == [own.json()["id"]]
    assert (await bound.patch(own.headers["location"], json={"value": VALUE})).status_code == 200
    assert (await bound.delete(whole.headers["location"])).status_code == 404
    assert (await bound.post("/api/v1/data-key/rotate")).status_code == 403


async def test_the_platform_opens_them_for_its_git_host_the_projects_own_first(client, store: Store, owner, sealer):
    project = (await client.get("/api/v1/projects")).json()["items"][0]["id"]
    await client.post("/api/v1/secrets", json=GIT)
    place = (await client.get("/api/v1/secrets")).json()["items"][0]["id"]
    async with begin(store, owner) as tx:
        assert await git_credentials(tx, sealer, "GIT.example.com", project) == GitCredentials("robot", VALUE)
        assert await git_credentials(tx, sealer, "elsewhere.example.com", project) is None
    assert (await client.get(f"/api/v1/secrets/{place}")).json()["last_used_at"] is not None
    await client.post("/api/v1/secrets", json={**GIT, "project_id": project, "value": f"{VALUE}-own"})
    async with begin(store, owner) as tx:
        found = await git_credentials(tx, sealer, "git.example.com", project)
        assert (found, VALUE in repr(found)) == (GitCredentials("robot", f"{VALUE}-own"), False)
        assert await open_secret(tx, sealer, "forge") == VALUE
        with pytest.raises(SecretUnknown, match="shopfloor secret set nothing"):
            await open_secret(tx, sealer, "nothing")
    assert REDACTOR.text(f"cloned with {VALUE}-own") == "cloned with [redacted]"


async def test_a_new_data_key_is_made_over_http_and_secrets_still_open(client, store: Store, owner, sealer):
    await client.post("/api/v1/secrets", json={"name": "a", "value": VALUE})
    await client.post("/api/v1/secrets", json={"name": "b", "value": VALUE})
    rotated = (await client.post("/api/v1/data-key/rotate")).json()
    assert (rotated["values"], rotated["broken"]) == (2, 0)
    async with begin(store, owner) as tx:
        assert await open_secret(tx, sealer, "a") == VALUE


async def test_every_change_is_put_on_record_without_the_value(store: Store, owner: Principal, sealer, client):
    kept: list[Entry] = []

    async def keep(tx: Tx, entry: Entry) -> None:
        kept.append(entry)

    recorded = Store(store.database, Services(recorder=keep))
    async with begin(recorded, owner) as tx:
        await add_secret(tx, sealer, NewSecret("a", VALUE))
    state = client._transport.app.state
    state.shopfloor = replace(state.shopfloor, store=recorded)
    place = (await client.get("/api/v1/secrets")).json()["items"][0]["id"]
    await client.patch(f"/api/v1/secrets/{place}", json={"value": f"{VALUE}-new"})
    await client.post("/api/v1/data-key/rotate")
    await client.delete(f"/api/v1/secrets/{place}")
    assert [entry.action for entry in kept] == ["secret.added", "secret.changed", "data_key.rotated", "secret.removed"]
    assert VALUE not in repr(kept)


async def test_while_the_record_can_not_be_kept_nothing_changes(store: Store, owner: Principal, sealer, client):
    async def full(tx: Tx, entry: Entry) -> None:
        raise OSError("no space left")

    async def add() -> None:
        async with begin(Store(store.database, Services(recorder=full)), owner) as tx:
            await add_secret(tx, sealer, NewSecret("a", VALUE))

    with pytest.raises(OSError, match="no space"):
        await add()
    assert (await client.get("/api/v1/secrets")).json()["items"] == []

"""A curious tenant: every route with another organization's ids shows nothing, changes nothing, and says 404."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from infra.web.conftest import served
from security.api.routes import OPERATIONS, WEBSOCKETS, WRITING, Operation, operation, put, text_places
from security.api.tenants import SHARED, Shop, Tenant, a_member
from shopfloor.base.ids import new_id

WITH_AN_ID = [each for each in OPERATIONS if each.path_parameters and each.path not in SHARED]
READS = [each for each in OPERATIONS if each.method == "get" and not each.path_parameters and each.path not in SHARED]
pytestmark = pytest.mark.asyncio(loop_scope="module")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Tags that tell nothing to whom they don't belong: the browser's own copy is all that 304 gives.
OF_THE_CALLER = {
    "/api/v1/me", "/api/v1/me/permissions", "/api/v1/auth/csrf", "/api/v1/organizations/current/sign-in-policy",
}  # fmt: skip
# What the control is answered where success would need somebody outside: it came as far as asking them.
ASKED_OUTSIDE = {
    "POST /api/v1/identity-providers/{provider_id}/test": "identity-provider-away",
    "POST /api/v1/verified-domains/{domain_id}/verify": "domain-not-proved",
}
# The example is as it is asked for already.
NO_CHANGE = {
    "POST /api/v1/members/{user_id}/enable", "POST /api/v1/projects/{project}/unlock",
    *(f"PUT /api/v1/{kind}s/{{{kind}_id}}/jobs/{{job_id}}" for kind in ("environment", "release", "sprint")),
    "PUT /api/v1/teams/{team}/members/{user_id}",
}  # fmt: skip


def shows(answer: httpx2.Response, shop: Shop, tenant: Tenant) -> set[str]:
    """What of `tenant` stands in an answer: ids of its rows, and its mark."""
    text = answer.text + str(dict(answer.headers))
    found = set(_UUID.findall(text)) & shop.ids_of(tenant)
    return found | ({tenant.mark} if tenant.mark in text else set())


@pytest.mark.parametrize("asked", WITH_AN_ID, ids=str)
async def test_the_id_of_another_organization_is_not_found_and_nothing_changes(shop: Shop, asked: Operation):
    path = await shop.acme.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    for headers in ({}, {"Accept": "text/event-stream"}, {"If-None-Match": "*"}, {"If-Match": "*"}):
        refused = await shop.request(shop.other, asked, path, headers=headers)
        assert refused.status_code == 404, (headers, refused.text)
        # The address itself, which the stranger wrote, may be told back; nothing else of its.
        assert shows(refused, shop, shop.acme) <= set(_UUID.findall(path))
    assert shop.rows_of(shop.acme) == before

    own = await shop.request(shop.acme, asked, path)  # the control: the same request by the owner
    if (code := ASKED_OUTSIDE.get(str(asked))) is not None:
        assert own.json()["code"] == code, own.text
        return
    assert own.status_code < 400 or own.status_code == 409, (own.status_code, own.text)
    if asked.method in WRITING and own.is_success and str(asked) not in NO_CHANGE and not asked.path.endswith("/test"):
        assert shop.rows_of(shop.acme) != before, "the comparison of rows would have seen a change"


@pytest.mark.parametrize("asked", WITH_AN_ID, ids=str)
async def test_an_id_that_is_nobodys_answers_just_like_another_organizations(shop: Shop, asked: Operation):
    nowhere = re.sub(r"{\w+}", str(new_id()), asked.path.replace("{name}", f"r-{new_id()}"))
    theirs, nobodys = [
        await shop.request(shop.other, asked, path) for path in (await shop.acme.path_of(asked.path), nowhere)
    ]
    assert (theirs.status_code, nobodys.status_code) == (404, 404), nobodys.text
    assert _without_ids(theirs) == _without_ids(nobodys)


def _without_ids(answer: httpx2.Response) -> dict[str, Any]:
    body = json.loads(_UUID.sub("id", answer.text))
    return {name: value for name, value in body.items() if name != "instance"}


@pytest.mark.parametrize("asked", READS, ids=str)
async def test_a_list_shows_nothing_of_another_organization(shop: Shop, asked: Operation):
    await _fill(shop)
    theirs = await shop.request(shop.other, asked, asked.path)
    assert theirs.status_code == 200, theirs.text
    assert shows(theirs, shop, shop.acme) == set()

    own = await shop.request(shop.acme, asked, asked.path)
    if asked.path not in OF_THE_CALLER:
        assert shows(own, shop, shop.acme) or "mock" in own.text, (
            f"{asked} shows nothing of acme either: make something to list in EXAMPLES, or add it to SHARED "
            "(security/api/tenants.py)"
        )


@pytest.mark.parametrize("asked", [each for each in READS if each.query], ids=str)
async def test_filters_and_cursors_of_another_organization_open_nothing(shop: Shop, asked: Operation):
    await _fill(shop)
    values = [str(shop.acme.project_id), *sorted(shop.ids_of(shop.acme))[:5], shop.acme.mark]
    tried = [{name: value} for name in asked.query if name not in {"limit", "cursor"} for value in values]
    if "cursor" in asked.query:
        page = (await shop.request(shop.acme, asked, asked.path, params={"limit": "1"})).json()
        tried += [{"cursor": page["next_cursor"], "limit": "1"}] if page.get("next_cursor") else []
    for params in tried:
        answer = await shop.request(shop.other, asked, asked.path, params=params)
        assert answer.status_code in {200, 404, 409, 422}, (params, answer.text)
        assert shows(answer, shop, shop.acme) <= set(params.values()), params


async def test_a_filter_by_an_own_id_does_show_it(shop: Shop):
    """The positive control of the filters above."""
    job = await shop.acme.path_of("/api/v1/jobs/{job_id}")
    answer = await shop.acme.client.get("/api/v1/jobs", params={"project": str(shop.acme.project_id)})
    assert job.rpartition("/")[2] in answer.text


@pytest.mark.parametrize("asked", [each for each in OPERATIONS if each.method == "get" and not each.is_open], ids=str)
async def test_the_tag_of_another_organizations_answer_never_gives_304(shop: Shop, asked: Operation):
    path = await shop.acme.path_of(asked.path)
    own = await shop.request(shop.acme, asked, path)
    tag = own.headers.get("etag")
    if tag is None:
        assert (await shop.request(shop.other, asked, path, headers={"If-None-Match": '"1"'})).status_code != 304
        return
    assert own.headers["cache-control"].startswith("private")
    assert "authorization" in own.headers["vary"].lower()
    again = await shop.request(shop.acme, asked, path, headers={"If-None-Match": tag})
    assert again.status_code == 304  # the control
    theirs = await shop.request(shop.other, asked, path, headers={"If-None-Match": tag})
    assert theirs.status_code in {200, 404}, "a copy of acme's answer would pass for the other's"


async def test_one_slug_in_two_organizations_has_two_tags(shop: Shop):
    """A browser that changes its key keeps its copies by address: `/projects/default` is the same for both."""
    get = operation("get", "/api/v1/projects/{project}")
    assert get is not None
    own = await shop.request(shop.acme, get, "/api/v1/projects/default")
    theirs = await shop.request(
        shop.other, get, "/api/v1/projects/default", headers={"If-None-Match": own.headers["etag"]}
    )
    assert theirs.status_code == 200
    assert theirs.json()["id"] != own.json()["id"]


WITH_IDS_IN_THEIR_BODY = [
    (asked, place)
    for asked in OPERATIONS
    if asked.body is not None and asked.method in WRITING
    for place, schema in text_places(asked.body)
    if schema.get("format") == "uuid" or any(step.rstrip("s").endswith("_id") or step == "project" for step in place)
    if place[-1] != "client_id"  # what an identity provider calls us
]


BULK = {"/api/v1/dead-letters/requeue", "/api/v1/dead-letters/discard"}


@pytest.mark.parametrize(("asked", "place"), WITH_IDS_IN_THEIR_BODY, ids=str)
async def test_a_body_that_names_another_organizations_ids_ties_nothing_to_them(
    shop: Shop, asked: Operation, place: tuple[str, ...]
):
    await _fill(shop)
    foreign = sorted(shop.ids_of(shop.acme))
    path = await shop.other.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    for ident in [str(shop.acme.project_id), str(shop.acme.user_id), *foreign[:8]]:
        body = put(await shop.other.body_of(asked), place, ident)
        answer = await shop.request(shop.other, asked, path, json=body)
        if asked.path in BULK and answer.status_code == 200:  # one answer an id, and none of them a yes
            assert (answer.json()["done"], [each["id"] for each in answer.json()["refused"]]) == ([], [ident])
            continue
        assert answer.status_code in {400, 401, 403, 404, 409, 422}, (ident, answer.text)
    assert shop.rows_of(shop.acme) == before
    rows = shop.rows_of(shop.other)
    # The audit trail tells what was asked for, in the words of who asked.
    mine = str([sorted(rows[table]) for table in rows if not table.startswith("audit_")])
    assert [ident for ident in foreign if ident in mine] == []


async def test_bodies_with_ids_are_found():
    """The positive control of the walk above."""
    found = {(str(asked), place) for asked, place in WITH_IDS_IN_THEIR_BODY}
    assert ("POST /api/v1/jobs", ("project",)) in found
    assert ("POST /api/v1/api-keys", ("project_ids", "0")) in found


async def test_an_own_id_in_a_body_is_taken(shop: Shop):
    body = {"name": "ci", "permissions": ["job.read"], "project_ids": [str(shop.other.project_id)]}
    assert (await shop.other.client.post("/api/v1/api-keys", json=body)).status_code == 201


async def test_a_live_stream_of_another_organization_does_not_begin(shop: Shop):
    path = await shop.acme.path_of("/api/v1/jobs/{job_id}/events")
    live = {"Accept": "text/event-stream"}
    theirs = await shop.other.client.get(path, headers=live)
    assert (theirs.status_code, theirs.headers["content-type"]) == (404, "application/problem+json")
    own = await shop.acme.client.get(path, headers=live)
    assert own.text.count(shop.acme.mark) == 2


@pytest.mark.parametrize("stream", WEBSOCKETS)
async def test_a_websocket_of_another_organization_does_not_open(shop: Shop, stream: str):
    path = await shop.acme.path_of(stream)
    async with served(shop.app) as (url, _):
        address = f"{url.replace('http', 'ws')}{path}?after=0"
        for tenant, status in ((shop.other, 404), (None, 401)):
            headers = {"Authorization": f"Bearer {tenant.key}"} if tenant else {}
            with pytest.raises(InvalidStatus) as refused:
                await connect(address, additional_headers=headers)
            assert refused.value.response.status_code in {status, 403}
            assert shop.acme.mark.encode() not in (refused.value.response.body or b"")
        async with connect(address, additional_headers={"Authorization": f"Bearer {shop.acme.key}"}) as own:
            async with asyncio.timeout(10):
                assert shop.acme.mark in str(await own.recv())


async def test_what_two_organizations_store_alike_is_fetched_by_each_alone(shop: Shop):
    """Blobs are kept by their digest: knowing the digest of another's content gives nothing."""
    path = await shop.acme.path_of("/api/v1/artifacts/{artifact_id}")
    digest = (await shop.acme.client.get(path)).json()["digest"]
    for address in (f"/api/v1/artifacts/{digest}", f"/api/v1/artifacts/{digest}/content"):
        assert (await shop.other.client.get(address)).status_code in {404, 422}
    tagged = await shop.other.client.get(f"{path}/content", headers={"If-None-Match": f'"{digest}"'})
    assert tagged.status_code == 404
    assert (await shop.acme.client.get(f"{path}/content")).status_code == 200


async def test_a_parameter_that_nobody_made_an_example_of_fails_and_says_where_to_add_it(shop: Shop):
    with pytest.raises(AssertionError, match=r"Add a maker to EXAMPLES in .*tenants\.py"):
        await shop.acme.path_of("/api/v1/unheard-of/{thing_id}")


_FILLED: set[int] = set()


async def _fill(shop: Shop) -> None:
    """One of everything that has an address, once a shop."""
    if id(shop) not in _FILLED:
        _FILLED.add(id(shop))
        for template in sorted({each.path for each in WITH_AN_ID}):
            await shop.acme.path_of(template)
        await a_member(shop.acme)

"""Fields that a client must not set, in every body: refused by name, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest

from security.api.routes import ATTACKED, Operation, properties, put
from security.api.tenants import Shop, taken
from shopfloor.base.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITH_A_BODY = [each for each in ATTACKED if each.body is not None]
FORBIDDEN: dict[str, Any] = {
    "id": str(new_id()), "organization_id": str(new_id()), "user_id": str(new_id()), "created_by": str(new_id()),
    "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01T00:00:00Z", "version": 1, "role": "owner",
    "permissions": ["*"], "is_admin": True, "verified": True, "state": "succeeded", "cost_nanos": 0, "origin": "api",
    "secret_hash": "x", "sealed_key": "x", "disabled_at": None, "__proto__": {"role": "owner"}, "$where": "1",
    "Name": "another case", "name ": "a space", "nаme": "another script",
}  # fmt: skip


@pytest.mark.parametrize("asked", WITH_A_BODY, ids=str)
async def test_a_field_that_is_not_documented_is_refused_and_nothing_is_written(
    shop: Shop, asked: Operation, record_property: Any
):
    assert asked.body is not None
    path = await shop.acme.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    tried = {name: value for name, value in FORBIDDEN.items() if name not in properties(asked.body)}
    for name, value in tried.items():
        body = {**await shop.acme.body_of(asked), name: value}
        refused = await shop.request(shop.acme, asked, path, json=body)
        assert refused.status_code == 422, (name, refused.text)
        assert "extra_forbidden" in {each["code"] for each in refused.json()["errors"]}, name
    assert shop.rows_of(shop.acme) == before
    record_property("cases", len(tried))

    passed = await shop.request(shop.acme, asked, path)  # the control: the same without the field
    assert taken(passed), passed.text


NESTED = [
    (asked, name)
    for asked in WITH_A_BODY
    for name, schema in properties(asked.body or {}).items()
    if schema.get("type") == "object" and schema.get("properties")
]


@pytest.mark.parametrize(("asked", "inner"), NESTED, ids=str)
async def test_nor_inside_an_object_of_the_body(shop: Shop, asked: Operation, inner: str, record_property: Any):
    path = await shop.acme.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    assert asked.body is not None
    known = properties(properties(asked.body)[inner])
    for name, value in FORBIDDEN.items():
        if name in known:
            continue
        body = put(await shop.acme.body_of(asked), (inner, name), value)
        refused = await shop.request(shop.acme, asked, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-input"), (name, refused.text)
    assert shop.rows_of(shop.acme) == before
    record_property("cases", len(FORBIDDEN))


async def test_a_field_that_would_be_taken_is_seen(shop: Shop):
    """The positive control: a documented field, set in the same way, does reach the row."""
    path = await shop.acme.path_of("/api/v1/projects/{project}")
    assert (await shop.acme.client.patch(path, json={"priority": 7})).json()["priority"] == 7

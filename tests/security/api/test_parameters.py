"""Query and path parameters that are unknown, sent twice, or no text: refused on every route."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from security.api.routes import ATTACKED, Operation
from security.api.tenants import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN_TO_STRANGERS = [each for each in ATTACKED if each.description.get("x-any-query")]
READS = [each for each in ATTACKED if each.method == "get" and each not in OPEN_TO_STRANGERS]
ODD_TEXTS = ["\x00", "a\x00b", "\r\nX: y", "\x1b[2J", "\x7f", "\x85", "a\nb"]


@pytest.mark.parametrize("asked", [each for each in ATTACKED if each not in OPEN_TO_STRANGERS], ids=str)
async def test_a_parameter_that_is_not_documented_is_refused(shop: Shop, asked: Operation, record_property: Any):
    path = await shop.acme.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    tried = ["admin", "organization_id", "Limit", "limit ", "limit[]", "cursor.x", "_method", "", "__proto__"]
    for name in tried:
        refused = await shop.request(shop.acme, asked, path, params={name: "1"})
        assert refused.status_code == 422, (name, refused.text)
        assert refused.json()["errors"][0]["code"] == "extra_forbidden"
    assert shop.rows_of(shop.acme) == before
    record_property("cases", len(tried))


def _single(names: list[str]) -> str:
    return "limit" if "limit" in names else names[0]


@pytest.mark.parametrize("asked", [each for each in READS if each.query and not each.is_open], ids=str)
async def test_a_parameter_sent_twice_is_refused(shop: Shop, asked: Operation, record_property: Any):
    path = await shop.acme.path_of(asked.path)
    single = [name for name, schema in asked.query.items() if schema.get("type") != "array"]
    for name in single:
        for values in (("1", "1"), ("1", "2"), ("", "1")):
            refused = await shop.request(shop.acme, asked, path, params=[(name, value) for value in values])
            assert refused.status_code == 422, (name, values, refused.text)
    repeated = await shop.request(shop.acme, asked, path, params=[(name, "1") for name in [_single(single)] * 2])
    assert "repeated" in {each["code"] for each in repeated.json()["errors"]}
    once = {"limit": "1"} if "limit" in single else {}
    assert (await shop.request(shop.acme, asked, path, params=once)).status_code == 200  # the control
    record_property("cases", 3 * len(single))


async def test_a_list_of_values_may_come_one_by_one(shop: Shop):
    """The control of the test above: where a list is documented, the name may come again."""
    both = await shop.acme.client.get("/api/v1/jobs", params=[("state", "queued"), ("state", "succeeded")])
    assert both.status_code == 200


@pytest.mark.parametrize("asked", [each for each in READS if not each.is_open], ids=str)
async def test_a_value_that_is_no_text_is_refused_wherever_it_stands(
    shop: Shop, asked: Operation, record_property: Any
):
    cases = 0
    for odd in ODD_TEXTS:
        for name in asked.query:
            refused = await shop.request(shop.acme, asked, await shop.acme.path_of(asked.path), params={name: odd})
            assert refused.status_code == 422, (name, odd, refused.text)
            cases += 1
    own = await shop.acme.path_of(asked.path)
    if asked.path_parameters:
        for odd in ("%00", "a%00b", "%0d%0aX:y", "%1b%5b2J", "%ff%fe", "%c0%ae", "%ed%a0%80"):
            steps = [odd if part.startswith("{") else part for part in asked.path.split("/")]
            refused = await shop.request(shop.acme, asked, "/".join(steps))
            assert refused.status_code in {404, 422}, (odd, refused.text)
            cases += 1
    record_property("cases", cases)
    assert (await shop.request(shop.acme, asked, own)).status_code == 200  # the control


async def test_an_application_without_the_gate_takes_them(shop: Shop):
    """The positive control: a bare application drops the unknown, takes the last of two, and passes a NUL on."""
    import httpx2

    bare = FastAPI()

    @bare.get("/things")
    async def things(limit: str = "0") -> dict[str, str]:
        return {"limit": limit}

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=bare), base_url="http://localhost") as client:
        assert (await client.get("/things", params={"admin": "1"})).status_code == 200
        assert (await client.get("/things?limit=1&limit=2")).json() == {"limit": "2"}
        assert (await client.get("/things?limit=%00")).json() == {"limit": "\x00"}


async def test_a_route_that_others_call_back_may_take_any_name(shop: Shop):
    import httpx2

    from shopfloor.infra.web.edge import EdgeSettings
    from shopfloor.infra.web.parameters import ANY_QUERY
    from shopfloor.infra.web.plumbing import install_plumbing

    app = FastAPI()
    install_plumbing(app, edge=EdgeSettings())

    @app.get("/callback", openapi_extra=ANY_QUERY)
    async def callback(code: str) -> dict[str, str]:
        return {"code": code}

    @app.get("/strict")
    async def strict(code: str) -> dict[str, str]:
        return {"code": code}

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client:
        assert (await client.get("/callback?code=1&session_state=2")).json() == {"code": "1"}
        assert (await client.get("/strict?code=1&session_state=2")).status_code == 422
        assert (await client.get("/callback?code=%00&session_state=2")).status_code == 422

"""Headers, in and out: what every answer carries, and what a client may claim without being believed."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from starlette.responses import Response

from infra.web.conftest import served
from security.api.routes import ATTACKED, Operation
from security.api.tenants import Shop
from shopfloor.domain.artifacts.download import content_disposition

pytestmark = pytest.mark.asyncio(loop_scope="module")

GETS = [each for each in ATTACKED if each.method == "get"]
NOT_OF_A_KEY = {
    "GET /.well-known/jwks.json": "public keys: any cache may keep them",
    "GET /api/v1/auth/oidc/{provider_id}/start": "sends a browser away",
    "GET /api/v1/auth/oidc/callback": "sends a browser away",
    "GET /api/v1/audit": "reading it is on record, with the program that read: the next answer tells of it",
    "GET /api/v1/audit/export": "as above",
}
EVIL = "https://evil.example"


def lacking(answer: httpx2.Response) -> list[str]:
    """What of the protection of a browser an answer lacks."""
    headers = answer.headers
    wanted = {
        "x-content-type-options": "nosniff" in headers.get("x-content-type-options", ""),
        "frame-ancestors": "frame-ancestors 'none'" in (policy := headers.get("content-security-policy", ""))
        or "sandbox" in policy,
        "default-src": "default-src 'none'" in policy,
        "x-frame-options": headers.get("x-frame-options") == "DENY",
        "referrer-policy": headers.get("referrer-policy") == "no-referrer",
        "cross-origin-resource-policy": headers.get("cross-origin-resource-policy") == "same-origin",
        "cache-control": headers.get("cache-control", "").startswith(("no-store", "private")),
        "x-request-id": bool(headers.get("x-request-id")),
        "no CORS": not any(name.startswith("access-control-") for name in headers),
        "no server": "server" not in headers and "x-powered-by" not in headers,
        "typed": not answer.content or "content-type" in headers,
    }
    return [name for name, there in wanted.items() if not there]


@pytest.mark.parametrize("asked", ATTACKED, ids=str)
async def test_every_answer_protects_a_browser_whatever_its_status(shop: Shop, asked: Operation, record_property: Any):
    path = await shop.acme.path_of(asked.path)
    nobody = shop.client()
    answers = [
        await nobody.request(asked.method, path, headers={"Origin": EVIL}),
        await nobody.request("OPTIONS", path, headers={"Origin": EVIL, "Access-Control-Request-Method": "POST"}),
        await shop.request(shop.acme, asked, path, params={"unknown": "1"}),
        await shop.request(shop.other, asked, path),
        await shop.request(shop.acme, asked, path, headers={"Origin": EVIL}),
        await shop.acme.client.request("PROPFIND", path),
    ]
    await nobody.aclose()
    found = {answer.status_code: lacks for answer in answers if (lacks := lacking(answer))}
    if asked.path == "/.well-known/jwks.json" and found.get(200) == ["cache-control"]:
        del found[200]  # public keys: any cache may keep them
    assert found == {}
    record_property("cases", len(answers))


async def test_an_answer_without_protection_is_seen(shop: Shop):
    """The positive control: a bare application with CORS open to all."""
    bare = FastAPI()

    @bare.get("/")
    async def home() -> Response:
        return Response("hello", headers={"Access-Control-Allow-Origin": "*", "Server": "bare"})

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=bare), base_url="http://localhost") as client:
        assert len(lacking(await client.get("/"))) >= 9


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"])
async def test_a_forged_address_is_neither_believed_nor_logged(shop: Shop, name: str):
    value = "for=203.0.113.7" if name == "Forwarded" else "203.0.113.7"
    async with served(shop.app) as (url, _), httpx2.AsyncClient() as client:
        with structlog.testing.capture_logs() as logs:
            key = {"Authorization": f"Bearer {shop.acme.key}"}
            assert (await client.get(f"{url}/api/v1/me", headers={name: value} | key)).status_code == 200
    [line] = [each for each in logs if each["event"] == "http.request"]
    assert line["client"] == "127.0.0.1"  # the control: the address that the socket has is logged
    assert "203.0.113.7" not in str(logs)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1@evil.example"},
        {"Host": "evil.example:8321"},
        {"Host": ""},
        {"Host": "evil.example#127.0.0.1"},
        {"Host": "[::1].evil.example"},
        {"Host": "127.0.0.1, evil.example"},
        {"Host": "127.0.0.1 evil.example"},
    ],
)
async def test_another_host_is_not_answered(shop: Shop, headers: dict[str, str]):
    answer = await shop.acme.client.get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")


@pytest.mark.parametrize(
    "asked", [each for each in ATTACKED if each.method in {"get", "post"} and not each.is_open], ids=str
)
async def test_no_claimed_host_or_scheme_stands_in_an_answer(shop: Shop, asked: Operation, record_property: Any):
    claims = {
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Original-URL": "/api/v1/evil.example",
        "X-Rewrite-URL": "/api/v1/evil.example", "X-HTTP-Method-Override": "DELETE", "Forwarded": "host=evil.example",
    }  # fmt: skip
    path = await shop.acme.path_of(asked.path)
    answer = await shop.request(shop.acme, asked, path, headers=claims)
    away = {"identity-provider-away"}  # the example leads nowhere
    assert answer.status_code < 500 or answer.json()["code"] in away
    assert "evil.example" not in answer.text + str(answer.headers)
    if asked.method == "get":
        assert (await shop.request(shop.acme, asked, path)).status_code == 200, "DELETE was overridden"
    record_property("cases", len(claims))


@pytest.mark.parametrize("asked", ATTACKED, ids=str)
async def test_no_answer_leads_to_another_site(shop: Shop, asked: Operation, record_property: Any):
    """Open redirect: a slash too many, two in front, a back slash, an address in the query."""
    path = await shop.acme.path_of(asked.path)
    tried = [
        f"{path}/", f"//evil.example{path}", f"//evil.example/..{path}", f"/\\evil.example{path}",
        f"/%2f%2fevil.example{path}/", f"{path}/?next={EVIL}", f"{path}?url={EVIL}", f"{path}?redirect_uri={EVIL}",
    ]  # fmt: skip
    for address in tried:
        request = shop.acme.client.build_request(asked.method.upper(), f"http://127.0.0.1:8321{address}")
        answer = await shop.acme.client.send(request, follow_redirects=False)
        location = answer.headers.get("location", "")
        assert not location or location.startswith(("/api/", "http://127.0.0.1:8321/")), (address, location)
        assert "evil.example" not in location.partition("?")[0]
    record_property("cases", len(tried))


async def test_a_page_that_does_redirect_is_seen(shop: Shop):
    """The positive control: an application that follows its query."""
    careless = FastAPI()

    @careless.get("/")
    async def go(next: str) -> Response:  # noqa: A002
        return Response(status_code=302, headers={"Location": next})

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=careless), base_url="http://localhost") as client:
        assert (await client.get("/", params={"next": EVIL})).headers["location"] == EVIL


SPLITS = [
    "a\r\nSet-Cookie: x=y", "a\nX: y", "a\rX: y", "a\r\n\r\n<html>", "a\x00b", 'a"; filename=b', "a\u2028b",
    "a\u010d\u010aX: y", "../../etc/passwd", "..\\..\\x", "CON", "-rf", ".htaccess", "a;b=c", "a%0d%0aX: y",
    "\u202egpj.exe", "a" * 2_000, "", ".", "/", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
async def test_a_file_name_can_not_split_the_header_it_stands_in(name: str):
    value = content_disposition(name)
    assert all(" " <= sign <= "~" for sign in value)
    assert value.startswith('attachment; filename="')
    assert value.count('"') == 2
    shown = value.partition('"')[2].partition('"')[0]
    assert "/" not in shown
    assert "\\" not in shown
    assert shown not in {"", ".", ".."}


async def test_an_ordinary_file_name_is_kept():
    assert 'filename="report 1.txt"' in content_disposition("out/report 1.txt")


@pytest.mark.parametrize("sent", ["a\r\nX: y", "a\nX: y", "\x1b[31m", "a b", "é", "x" * 129, "{}", '"', "<x>", "\x00"])
async def test_a_request_id_is_never_told_back_unless_it_is_one(shop: Shop, sent: str):
    raw = [(b"X-Request-Id", sent.encode("latin-1"))]
    answer = await shop.acme.client.get("/livez", headers=raw)
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 36
    kept = await shop.acme.client.get("/livez", headers={"X-Request-Id": "mine-0001"})  # the control
    assert kept.headers["x-request-id"] == "mine-0001"


@pytest.mark.parametrize("asked", [each for each in GETS if str(each) not in NOT_OF_A_KEY], ids=str)
async def test_no_shared_cache_may_keep_an_answer_of_a_key(shop: Shop, asked: Operation, record_property: Any):
    """Cache poisoning: headers that aren't in the key of a cache change nothing, and no cache may keep it."""
    path = await shop.acme.path_of(asked.path)
    plain = await shop.request(shop.acme, asked, path)
    tries = [{"X-Forwarded-Host": "evil.example"}, {"X-Forwarded-Scheme": "http"}, {"Accept-Language": "evil"},
             {"X-Original-URL": "/evil"}, {"Cookie": "session=evil"}, {"User-Agent": "evil"}]  # fmt: skip
    for headers in tries:
        if "Cookie" in headers and asked.of_a_person:
            continue  # it would take the place of the session's own
        other = await shop.request(shop.acme, asked, path, headers=headers)
        assert (other.status_code, other.headers.get("etag")) == (200, plain.headers.get("etag")), headers
        control = other.headers["cache-control"]
        assert "no-store" in control or ("private" in control and "authorization" in other.headers["vary"].lower())
        assert "evil" not in other.text.replace("evil.example", "")
    record_property("cases", len(tries))

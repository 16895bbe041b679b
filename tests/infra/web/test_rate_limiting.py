"""Rate limits over HTTP: who counts for what, what the headers say, how a refusal looks, and whom it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
import pytest
import websockets
from fastapi import Depends, FastAPI, Request, WebSocket
from pydantic import SecretStr, ValidationError
from starlette.requests import HTTPConnection

from redis_servers import RedisServer, one_server
from shopfloor.base.errors import NotSignedIn
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.origin import origin
from shopfloor.infra.rate_limiter import RateLimiter
from shopfloor.infra.rate_limits_shared import SharedWindows
from shopfloor.infra.redis import RedisSettings
from shopfloor.infra.redis_client import redis_storage
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.health import Health, health_router
from shopfloor.infra.web.plumbing import install_plumbing
from shopfloor.infra.web.rate_limiting import LimitsSettings, RateLimited, RequestLimits, count_for, sign_in_limit

ACME, OTHER = new_id(), new_id()
ANN, BOB = new_id(), new_id()
KEYS = {
    name: Principal("key", new_id(), organization, user_id=user)
    for name, organization, user in (
        ("ann-1", ACME, ANN),
        ("ann-2", ACME, ANN),
        ("bob", ACME, BOB),
        ("eve", OTHER, BOB),
    )
}


async def authenticated(connection: HTTPConnection) -> Principal:
    """As access/http.py does it, with names in place of keys."""
    principal = KEYS.get(connection.headers.get("authorization", ""))
    await count_for(connection, principal)
    if principal is None:
        raise NotSignedIn("Send a key.")
    return principal


def app_with(limiter: RateLimiter | None = None, **limits: object) -> FastAPI:
    app = FastAPI(openapi_url=None)
    settings = LimitsSettings.model_validate(limits)
    edge = EdgeSettings(trusted_proxies=("10.0.0.0/8",))
    install_plumbing(app, edge=edge, limits=RequestLimits(settings, limiter))

    @app.get("/things")
    async def things(_: Annotated[Principal, Depends(authenticated)]) -> str:
        return "ok"

    @app.get("/stream")
    async def stream(request: Request, _: Annotated[Principal, Depends(authenticated)]) -> str:
        for _again in range(50):  # as a stream asks whether it is still permitted
            await authenticated(request)
        return "ok"

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, _: Annotated[Principal, Depends(authenticated)]) -> None:
        await websocket.accept()
        for _again in range(50):
            await authenticated(websocket)
        await websocket.close()

    @app.post("/sign-in", dependencies=[Depends(sign_in_limit)])
    async def sign_in() -> str:
        return origin().address

    app.include_router(health_router(Health("1"), app, authorize=authenticated))
    return app


def client_of(app: FastAPI, key: str | None = None, peer: str = "203.0.113.9") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app, client=(peer, 4711))
    headers = {} if key is None else {"Authorization": key}
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


async def statuses(client: httpx2.AsyncClient, times: int, path: str = "/things") -> list[int]:
    return [(await client.get(path)).status_code for _ in range(times)]


async def test_every_answer_to_a_key_tells_its_quotas_and_what_is_left():
    app = app_with(key_per_minute=600, user_per_minute=700, organization_per_minute=6_000)
    answer = await client_of(app, "ann-1").get("/things")
    assert answer.headers["ratelimit-policy"] == '"organization";q=6000;w=60, "key";q=600;w=60, "user";q=700;w=60'
    assert answer.headers["ratelimit"] == '"organization";r=5999;t=60, "key";r=599;t=60, "user";r=699;t=60'
    missing = await client_of(app, "ann-1").get("/nowhere")
    assert (missing.status_code, "ratelimit" in missing.headers) == (404, False)  # nobody was asked who it is


async def test_a_refusal_says_which_quota_and_when_to_come_again():
    client = client_of(app_with(key_per_minute=2), "ann-1")
    assert await statuses(client, 2) == [200, 200]
    refused = await client.get("/things")
    wait_s = int(refused.headers["retry-after"])
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
    assert 60 <= wait_s <= 120
    assert refused.headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert refused.headers["ratelimit"] == f'"key";r=0;t={wait_s}'
    problem = refused.json()
    assert (problem["code"], problem["retryable"]) == ("rate-limited", True)
    assert problem["facts"] == {"violated_policies": ["key"], "retry_after_s": wait_s}


@pytest.mark.parametrize(
    ("limits", "by_key"),
    [
        ({"key_per_minute": 3}, {"ann-1": 3, "ann-2": 3, "bob": 3, "eve": 3}),
        ({"user_per_minute": 3}, {"ann-1": 3, "ann-2": 0, "bob": 3, "eve": 3}),
        ({"organization_per_minute": 3}, {"ann-1": 3, "ann-2": 0, "bob": 0, "eve": 3}),
        ({"organizations": {str(OTHER): 2}}, {"ann-1": 9, "eve": 2}),
        ({"organization_per_minute": 2, "organizations": {str(OTHER): 0}}, {"ann-1": 2, "eve": 9}),
        ({"global_per_minute": 4}, {"ann-1": 4, "ann-2": 0, "bob": 0, "eve": 0}),
        ({"key_per_minute": 0, "user_per_minute": 0, "organization_per_minute": 0, "global_per_minute": 0}, {"bob": 9}),
    ],
)
async def test_each_quota_counts_whom_it_is_about(limits: dict[str, object], by_key: dict[str, int]):
    app = app_with(**limits)
    found = {key: (await statuses(client_of(app, key), 9)).count(200) for key in by_key}
    assert found == by_key


async def test_one_persons_keys_do_not_use_up_the_organization_once_they_are_refused():
    app = app_with(user_per_minute=2, organization_per_minute=4)
    assert (await statuses(client_of(app, "ann-1"), 20)).count(200) == 2
    assert (await statuses(client_of(app, "bob"), 20)).count(200) == 2


async def test_strangers_count_for_the_installation_alone():
    app = app_with(global_per_minute=3)
    assert await statuses(client_of(app), 4) == [401, 401, 401, 429]
    refused = await client_of(app, "bob").get("/things")
    assert refused.json()["facts"]["violated_policies"] == ["global"]


async def test_health_is_never_refused_where_it_needs_no_key():
    app = app_with(global_per_minute=1, key_per_minute=1)
    assert await statuses(client_of(app), 5, "/livez") == [200] * 5
    assert await statuses(client_of(app), 5, "/readyz") == [200] * 5
    assert "ratelimit" not in (await client_of(app).get("/livez")).headers


async def test_a_stream_counts_once_when_it_is_opened():
    assert await statuses(client_of(app_with(key_per_minute=3), "bob"), 4, "/stream") == [200, 200, 200, 429]


async def test_a_websocket_counts_once_when_it_is_opened_and_is_refused_before_it_is_accepted(serve):
    app = app_with(key_per_minute=2)
    headers = {"Authorization": "bob"}
    async with serve(app) as (url, _):
        place = url.replace("http", "ws") + "/socket"
        for left in (1, 0):
            async with websockets.connect(place, additional_headers=headers, proxy=None) as socket:
                assert f'"key";r={left};t=60' in socket.response.headers["ratelimit"]
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(place, additional_headers=headers, proxy=None)
    assert refused.value.response.status_code == 429


async def test_sign_in_counts_by_address_whatever_else_is_asked():
    app = app_with(sign_in_per_minute=2)

    async def tries(peer: str, times: int = 3) -> int:
        return [(await client_of(app, peer=peer).post("/sign-in")).status_code for _ in range(times)].count(200)

    assert await tries("203.0.113.9") == 2
    assert await tries("203.0.113.10") == 2
    assert await tries("::ffff:203.0.113.9") == 0
    assert await tries("2001:db8:1:2::1") == 2
    assert await tries("2001:db8:1:2:3:4:5:6") == 0  # the same customer's /64
    assert await tries("2001:db8:1:3::1") == 2
    refused = (await client_of(app).post("/sign-in")).json()
    assert refused["facts"]["violated_policies"] == ["sign-in"]


async def test_a_forged_header_buys_no_further_attempts_and_a_proxys_tells_its_clients_apart():
    app = app_with(sign_in_per_minute=2)

    async def from_(peer: str, number: int) -> int:
        headers = {"X-Forwarded-For": f"198.51.100.{number}"}
        return (await client_of(app, peer=peer).post("/sign-in", headers=headers)).status_code

    assert [await from_("203.0.113.9", n) for n in range(5)].count(200) == 2
    assert [await from_("10.0.0.1", n) for n in range(5)].count(200) == 5  # the positive control: a trusted proxy


async def test_the_origin_of_a_change_is_the_client_behind_the_proxy():
    answer = await client_of(app_with(), peer="10.0.0.1").post("/sign-in", headers={"X-Forwarded-For": "198.51.100.7"})
    assert answer.json() == "198.51.100.7"


async def test_a_route_behind_no_plumbing_counts_nothing():
    request = Request({"type": "http", "headers": []})
    await count_for(request, KEYS["bob"])
    await sign_in_limit(request)


async def test_a_person_who_signed_in_counts_as_a_user_and_a_worker_for_its_organization():
    limits = RequestLimits(LimitsSettings())

    def names(principal: Principal) -> list[str]:
        return [window.quota.name for window in limits.of_principal(principal)]

    assert names(Principal("user", ANN, ACME, user_id=ANN)) == ["organization", "user", "global"]
    assert names(Principal("service", ANN, ACME)) == ["organization", "user", "global"]
    assert names(Principal("worker", new_id(), ACME)) == ["organization", "global"]


@pytest.mark.parametrize(
    "wrong", [{"key_per_minute": -1}, {"organizations": {"acme": 5}}, {"organizations": {str(ACME): -1}}, {"ip": 5}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        LimitsSettings.model_validate(wrong)


@pytest.mark.parametrize("proxies", [["10.0.0.1/8"], ["proxy.example.org"], ["10.0.0.0/33"], "10.0.0.0/8,"])
def test_trusted_proxies_are_networks(proxies: object):
    with pytest.raises(ValidationError):
        EdgeSettings.model_validate({"trusted_proxies": proxies})


def test_the_refusal_is_an_error_of_the_reference():
    error = RateLimited("No more.", retry_after_s=3)
    assert (error.code(), error.status, error.retryable) == ("rate-limited", 429, True)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with one_server() as started:
        yield started


@asynccontextmanager
async def instance(url: str, limits: dict[str, object]) -> AsyncIterator[FastAPI]:
    """An application of its own on the shared Redis."""
    storage = redis_storage(RedisSettings(url=SecretStr(url)))
    assert storage is not None
    limiter = RateLimiter(SharedWindows(storage, timeout_s=5))
    try:
        yield app_with(limiter, **limits)
        assert limiter.away is None
    finally:
        await limiter.aclose()


@pytest.mark.redis
async def test_of_500_parallel_requests_to_two_instances_exactly_the_limit_passes(server: RedisServer):
    limits: dict[str, object] = {"key_per_minute": 123, "organizations": {str(ACME): 200}}
    async with instance(server.url, limits) as one, instance(server.url, limits) as other:
        clients = [client_of(app, key) for app in (one, other) for key in ("ann-1", "bob")]
        answers = await asyncio.gather(*(clients[n % 4].get("/things") for n in range(500)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(429)) == (200, 300)  # the organization's, 123 of one key at most
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"rate-limited"}

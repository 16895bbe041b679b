"""The outermost ring: ids, hosts, headers, metrics and the log of requests; and health behind it."""

import asyncio

import pytest
import structlog
from fastapi import Depends, FastAPI, Request
from starlette.datastructures import Headers

from shopfloor.base.errors import NotSignedIn
from shopfloor.infra import metrics
from shopfloor.infra.web.edge import EdgeSettings, host_allowed, origin_allowed
from shopfloor.infra.web.health import Degraded, Health, health_router
from shopfloor.infra.web.plumbing import install_plumbing


class StillClock:
    """Moves only when told."""

    def __init__(self):
        from datetime import UTC, datetime

        self.moment = datetime(2026, 1, 2, tzinfo=UTC)
        self.elapsed_s = 0.0

    def now(self):
        return self.moment

    def monotonic(self):
        return self.elapsed_s

    async def sleep(self, delay_s):
        self.elapsed_s += delay_s


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def health(clock):
    return Health("1.2.3", clock=clock)


@pytest.fixture
def app(health):
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def authorize(request: Request) -> None:
        if request.headers.get("authorization") != "Bearer fake-key":
            raise NotSignedIn("send a key")

    @app.get("/api/v1/things/{thing_id}", dependencies=[Depends(authorize)])
    async def thing(thing_id: int) -> dict[str, int]:
        return {"id": thing_id}

    app.include_router(health_router(health, app, authorize=authorize))
    install_plumbing(app, edge=EdgeSettings(allowed_hosts=("localhost", "*.example.com"), https=True))
    return app


KEY = {"Authorization": "Bearer fake-key"}


async def test_every_answer_carries_its_id_and_the_headers_that_protect_a_browser(app, client_of):
    async with client_of(app) as client:
        for path in ("/livez", "/nowhere", "/api/v1/things/1"):
            headers = (await client.get(path)).headers
            assert len(headers["x-request-id"]) == 36
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert headers["strict-transport-security"].startswith("max-age=31536000")
            assert "access-control-allow-origin" not in headers
        assert (await client.get("/livez", headers={"X-Request-Id": "caller-0001"})).headers[
            "x-request-id"
        ] == "caller-0001"


@pytest.mark.parametrize("sent", ["short", "x" * 129, "a b c d e f", 'id"0000000', "id\t0000000"])
async def test_a_request_id_that_could_forge_a_log_line_is_replaced(app, client_of, sent):
    async with client_of(app) as client:
        answer = await client.get("/livez", headers={"X-Request-Id": sent})
    assert len(answer.headers["x-request-id"]) == 36
    assert answer.headers["x-request-id"] != sent


@pytest.mark.parametrize(
    ("sent", "allowed"),
    [
        (["localhost"], True),
        (["LOCALHOST:8321"], True),
        (["app.example.com"], True),
        (["[::1]:8321"], True),
        (["example.com"], False),
        (["a.b.example.com"], False),
        (["evil.com"], False),
        (["localhost.evil.com"], False),
        (["localhost@evil.com"], False),
        (["[::1].evil.com"], False),
        (["[::1]evil.com:8321"], False),
        (["localhost:8321.evil.com"], False),
        ([], False),
        (["localhost", "localhost"], False),
        ([""], False),
    ],
)
def test_only_known_hosts_are_answered(sent, allowed):
    assert host_allowed(sent, ("localhost", "*.example.com", "[::1]")) is allowed


async def test_an_unknown_host_gets_a_problem_before_any_route_runs(app, client_of):
    async with client_of(app) as client:
        answer = await client.get("/livez", headers={"Host": "evil.example.net"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"origin": "http://localhost:8321", "host": "localhost:8321"}, True),
        ({"origin": "https://app.example.com", "host": "api"}, True),
        ({"origin": "https://evil.example", "host": "localhost"}, False),
        ({"origin": "null", "host": "localhost"}, False),
        ({"origin": "", "host": ""}, False),
        ({"origin": "http://localhost:8321.evil.example", "host": "localhost:8321"}, False),
    ],
)
def test_a_websocket_comes_from_our_own_pages_or_no_browser(headers, allowed):
    assert origin_allowed(Headers(headers), ("https://app.example.com",)) is allowed


async def test_metrics_count_by_route_template_so_that_clients_cannot_make_series(app, client_of):
    async with client_of(app) as client:
        for number in range(5):
            await client.get(f"/api/v1/things/{number}", headers=KEY)
            await client.get(f"/nowhere/{number}")
            await client.request(f"VERB{number}", "/livez")
    text = metrics.render()[0].decode()
    assert 'shopfloor_http_requests_total{method="GET",route="/api/v1/things/{thing_id}",status="200"}' in text
    assert 'method="OTHER"' in text
    assert "/nowhere" not in text
    assert "VERB" not in text


async def test_one_line_is_logged_for_each_request_without_its_query(app, client_of):
    with structlog.testing.capture_logs() as logs:
        async with client_of(app) as client:
            await client.get("/api/v1/things/7?token=fake", headers=KEY)
            await client.get("/livez")
    lines = [line for line in logs if line["event"] == "http.request"]
    assert [(line["log_level"], line["route"], line["status"]) for line in lines] == [
        ("info", "/api/v1/things/{thing_id}", 200),
        ("debug", "/livez", 200),
    ]
    assert lines[0]["path"] == "/api/v1/things/7"
    assert "fake" not in str(lines)


async def test_only_the_two_bare_answers_come_without_a_key(app, client_of):
    async with client_of(app) as client:
        assert (await client.get("/livez")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        for path in ("/healthz", "/metrics", "/openapi.json", "/api/v1/things/1"):
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=KEY)).status_code == 200
        for path in ("/docs", "/redoc"):
            assert (await client.get(path, headers=KEY)).status_code == 404


async def test_health_tells_each_component_and_the_worst_of_them(app, client_of, health, clock):
    async def fine():
        return "3 of 10 connections"

    async def weak():
        raise Degraded("replica 40 s behind")

    async def gone():
        raise ConnectionError("postgresql://app:fake-password@db refused")

    health.register("database", fine)
    health.register("replica", weak)
    async with client_of(app) as client:
        report = (await client.get("/healthz", headers=KEY)).json()
        assert report == {
            "status": "degraded",
            "version": "1.2.3",
            "components": {
                "database": {
                    "status": "ok",
                    "since": "2026-01-02T00:00:00Z",
                    "detail": "3 of 10 connections",
                    "needed": True,
                },
                "replica": {
                    "status": "degraded",
                    "since": "2026-01-02T00:00:00Z",
                    "detail": "replica 40 s behind",
                    "needed": True,
                },
            },
        }
        health.register("redis", gone, needed=False)
        clock.elapsed_s += 5
        answer = await client.get("/healthz", headers=KEY)
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert "fake-password" not in answer.text
        assert (await client.get("/readyz")).status_code == 200
        health.register("database", gone)
        clock.elapsed_s += 5
        assert (await client.get("/healthz", headers=KEY)).status_code == 503
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "down"})
        assert (await client.get("/livez")).status_code == 200


async def test_a_check_that_hangs_is_down_after_its_time(health):
    health.register("stuck", asyncio.Event().wait, timeout_s=0.01)
    report = await health.report()
    assert report.components["stuck"].status == "down"
    assert report.components["stuck"].detail == "no answer within 0.01 s"


async def test_a_hundred_who_ask_at_once_cost_one_check(health, clock):
    calls = 0

    async def check():
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)

    health.register("database", check)
    await asyncio.gather(*(health.report() for _ in range(100)))
    assert calls == 1
    clock.elapsed_s += 1
    await health.report()
    assert calls == 2


async def test_since_moves_only_when_the_status_does(health, clock):
    broken = False

    async def check():
        if broken:
            raise ConnectionError

    health.register("database", check)
    first = (await health.report()).components["database"].since
    clock.moment, clock.elapsed_s = clock.moment.replace(hour=1), 10
    assert (await health.report()).components["database"].since == first
    broken, clock.elapsed_s = True, 20
    assert (await health.report()).components["database"].since == clock.moment


async def test_a_stopping_process_is_alive_but_not_ready(app, client_of, health):
    health.stop()
    async with client_of(app) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200

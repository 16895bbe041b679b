"""The server's own limits, over real sockets."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import connect

from shopfloor.infra.web.server import PatientHttp


class Hasty(PatientHttp):
    headers_timeout_s = 0.2


@pytest.fixture
def app():
    app = FastAPI()

    @app.get("/slow")
    async def slow(wait_s: float = 0.0):
        await asyncio.sleep(wait_s)
        return {}

    @app.websocket("/echo")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    return app


async def answer_to(url, *parts, pause_s=0.0):
    """What comes back until the server closes; None if it doesn't within 2 s."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(), 2)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_connection_that_never_finishes_its_headers_is_closed(app, serve):
    async with serve(app, http=Hasty) as (url, server):
        assert await answer_to(url) == b""
        assert await answer_to(url, b"GET /slow HTTP/1.1\r\n", b"Host: localhost\r\n", pause_s=0.05) == b""
        whole = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
        second = await answer_to(url, whole, b"GET /slow HTTP/1.1\r\n", pause_s=0.05)
        assert second.count(b"HTTP/1.1 200 OK") == 1
        assert not server.server_state.connections


async def test_an_answer_that_takes_longer_than_headers_may_is_not_cut(app, serve):
    async with serve(app, http=Hasty) as (url, _), httpx2.AsyncClient() as client:
        assert (await client.get(f"{url}/slow", params={"wait_s": 0.5})).status_code == 200
        await asyncio.sleep(0.3)
        assert (await client.get(f"{url}/slow", params={"wait_s": 0.5})).status_code == 200


async def test_an_open_websocket_is_not_cut(app, serve):
    async with serve(app, http=Hasty) as (url, _), connect(f"{url.replace('http', 'ws')}/echo") as websocket:
        await asyncio.sleep(0.5)
        await websocket.send("still here")
        assert await websocket.recv() == "still here"


async def test_headers_over_the_limit_are_refused(app, serve):
    async with serve(app) as (url, _), httpx2.AsyncClient() as client:
        assert (await client.get(f"{url}/slow", headers={"X-Big": "x" * 20_000})).status_code == 200
        big = b"GET /slow HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"x" * 40_000
        answer = await answer_to(url, big)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")  # the refusal may be lost with the unread rest


async def test_a_stop_hook_that_hangs_does_not_keep_the_server(app, serve, monkeypatch):
    monkeypatch.setattr("shopfloor.infra.web.server._HOOK_TIMEOUT_S", 0.05)
    called = []

    async def hang():
        called.append("hang")
        await asyncio.Event().wait()

    async def fine():
        called.append("fine")

    async with asyncio.timeout(5), serve(app, on_stop=[hang, fine]):
        pass
    assert called == ["hang", "fine"]

"""Server-sent events and WebSocket behind a real server: resumed, bounded, ended."""

import asyncio
import json
import socket

import httpx2
import pytest
from fastapi import FastAPI, Request, WebSocket
from starlette.datastructures import Headers
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.stream_log import StreamLog, is_last
from shopfloor.base.errors import InvalidInput
from shopfloor.infra.live import LiveFeed, LiveLimits
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.plumbing import install_plumbing
from shopfloor.infra.web.streams import event_stream, place_asked_for, wants_event_stream, websocket_events


class Installation:
    """One application with one watched job."""

    def __init__(self, limits: LiveLimits) -> None:
        self.stream = StreamLog()
        self.feed = self.stream.feed = LiveFeed(self.stream.read, is_last=is_last, limits=limits)
        self.allowed = True
        self.app = FastAPI()
        self.app.add_api_route("/events", self.events)
        self.app.add_api_websocket_route("/stream", self.websocket)
        install_plumbing(self.app, edge=EdgeSettings(allowed_hosts=("*",)))

    async def authorized(self) -> bool:
        return self.allowed

    def subscribe(self, after):
        return self.feed.subscribe(self.stream.job_id, after, authorized=self.authorized)

    async def events(self, request: Request, after: str | None = None):
        if not wants_event_stream(request):
            return {"events": len(self.stream.events)}
        return await event_stream(self.subscribe(place_asked_for(request.headers, after)))

    async def websocket(self, websocket: WebSocket):
        origins = ("https://app.example.com",)
        await websocket_events(websocket, self.subscribe, allowed_origins=origins, first_message_s=0.1)


@pytest.fixture
def installation():
    return Installation(LiveLimits(page=50, tick_s=0.01, ping_s=0.05, recheck_s=0.03, stall_s=0.3, poll_s=0.2))


SSE = {"Accept": "text/event-stream"}


async def settled(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (looks at counters that belong to others)
            await asyncio.sleep(0.002)


async def read_events(client, url, *, headers=None, until=None):
    """(status, seqs) of a stream, read to its end or to event `until`."""
    seqs = []
    async with client.stream("GET", url, headers=SSE | (headers or {})) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                seqs.append(int(line[4:]))
                if seqs[-1] == until:
                    break
        return answer, seqs


async def test_a_stream_of_ten_thousand_events_ends_with_the_last_one(installation, serve):
    installation.stream.add(5_000)
    async with serve(installation.app) as (url, _), httpx2.AsyncClient(timeout=20) as client:
        reading = asyncio.create_task(read_events(client, f"{url}/events"))
        await settled(lambda: installation.feed.subscribers)
        for _ in range(499):
            installation.stream.add(10)
            await asyncio.sleep(0)
        installation.stream.add(9)
        installation.stream.finish()
        answer, seqs = await reading
        assert seqs == list(range(1, 10_001))
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        await settled(lambda: installation.feed.subscribers == 0)


async def test_each_event_is_told_by_id_kind_and_json(installation, serve):
    installation.stream.finish()
    async with serve(installation.app) as (url, _), httpx2.AsyncClient() as client:
        text = (await client.get(f"{url}/events", headers=SSE)).text
        assert (await client.get(f"{url}/events")).json() == {"events": 1}
    frames = text.split("\n\n")
    assert frames[0] == "retry: 2000"
    assert frames[1].splitlines()[:2] == ["id: 1", "event: job.finished"]
    assert json.loads(frames[1].splitlines()[2].removeprefix("data: ")) == {
        "seq": 1,
        "kind": "job.finished",
        "data": {"line": "line 1"},
        "at": "2026-01-02T03:04:05Z",
    }


async def test_cut_again_and_again_a_reader_resumes_without_loss_or_repetition(installation, serve):
    async def write():
        while len(installation.stream.events) < 600:
            installation.stream.add(3)
            await asyncio.sleep(0.001)
        installation.stream.finish()

    async with serve(installation.app) as (url, _), httpx2.AsyncClient() as client:
        writing = asyncio.create_task(write())
        seqs, status = [], 200
        while status == 200:
            headers = {"Last-Event-ID": str(seqs[-1])} if seqs else {}
            cut_at = (seqs[-1] if seqs else 0) + 70
            answer, more = await read_events(client, f"{url}/events", headers=headers, until=cut_at)
            status = answer.status_code
            seqs += more
        await writing
        assert seqs == list(range(1, len(installation.stream.events) + 1))
        assert status == 204  # after the last event a browser is told to stop asking
        await settled(lambda: installation.feed.subscribers == 0)


@pytest.mark.parametrize("place", ["-1", "abc", "1e3", "99999999999999999999", "٣", "7"])
async def test_a_place_that_is_none_is_refused_as_a_problem(installation, client_of, place):
    async with client_of(installation.app) as client:
        answer = await client.get("/events", params={"after": place}, headers=SSE)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")
    assert installation.feed.subscribers == 0


def test_the_header_of_a_browser_that_comes_back_beats_the_address():
    assert place_asked_for(Headers({"last-event-id": "9"}), "3") == 9
    assert place_asked_for(Headers({}), "3") == 3
    assert place_asked_for(Headers({"last-event-id": ""}), None) == 0
    with pytest.raises(InvalidInput, match="Last-Event-ID"):
        place_asked_for(Headers({"last-event-id": "x"}), "3")


async def test_a_reader_that_leaves_frees_everything(installation, serve):
    tasks = len(asyncio.all_tasks())
    async with serve(installation.app) as (url, server):
        for _ in range(5):
            async with httpx2.AsyncClient() as client:
                await read_events_then_leave(client, url, installation)
        await settled(lambda: installation.feed.subscribers == 0)
        await settled(lambda: not server.server_state.tasks)
        assert installation.feed.channels == 0
    await settled(lambda: len(asyncio.all_tasks()) <= tasks)


async def read_events_then_leave(client, url, installation):
    async with client.stream("GET", f"{url}/events", headers=SSE) as answer:
        async for line in answer.aiter_lines():
            assert line == "retry: 2000"
            break
        assert installation.feed.subscribers >= 1


async def test_a_silent_stream_is_kept_alive_by_pings(installation, serve):
    async with (
        serve(installation.app) as (url, _),
        httpx2.AsyncClient() as client,
        client.stream("GET", f"{url}/events", headers=SSE) as answer,
    ):
        lines = answer.aiter_lines()
        while await asyncio.wait_for(anext(lines), 3) != ": ping":
            pass


def slow_socket(url, request):
    """A client with a tiny window that sends `request` and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    sock.sendall(request)
    return sock


async def test_a_reader_that_does_not_read_is_dropped_and_the_others_go_on(installation, serve):
    async with serve(installation.app) as (url, server), httpx2.AsyncClient(timeout=20) as client:
        quick = asyncio.create_task(read_events(client, f"{url}/events"))
        request = b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        with slow_socket(url, request):
            await settled(lambda: installation.feed.subscribers == 2)
            while installation.feed.subscribers == 2:
                installation.stream.add(1, data={"text": "x" * 30_000})
                await asyncio.sleep(0.002)
                assert len(installation.stream.events) < 3_000
            assert installation.feed.subscribers == 1
            written = len(installation.stream.events)
            installation.stream.finish()
            assert (await quick)[1] == list(range(1, written + 2))
        _, seqs = await read_events(client, f"{url}/events", headers={"Last-Event-ID": "5"})
        assert seqs == list(range(6, written + 2))
        await settled(lambda: not server.server_state.tasks)


async def test_a_revoked_reader_is_cut_off(installation, serve):
    async with serve(installation.app) as (url, _), httpx2.AsyncClient() as client:
        reading = asyncio.create_task(read_events(client, f"{url}/events"))
        await settled(lambda: installation.feed.subscribers)
        installation.allowed = False
        assert (await asyncio.wait_for(reading, 3))[1] == []


async def test_a_stopping_server_ends_its_streams_instead_of_waiting_for_them(installation, serve):
    async with (
        serve(installation.app, on_stop=[installation.feed.close]) as (url, server),
        httpx2.AsyncClient() as client,
    ):
        reading = [asyncio.create_task(read_events(client, f"{url}/events")) for _ in range(3)]
        socket_ = await connect(f"{url.replace('http', 'ws')}/stream?after=0")
        await settled(lambda: installation.feed.subscribers == 4)
        server.should_exit = True
        async with asyncio.timeout(3):
            assert [seqs for _, seqs in await asyncio.gather(*reading)] == [[]] * 3
            assert await messages(socket_) == ([], 1012)


async def messages(websocket):
    """(seqs, close code) of a WebSocket read to its end."""
    seqs = []
    try:
        while True:
            message = json.loads(await asyncio.wait_for(websocket.recv(), 10))
            if message["kind"] != "ping":
                seqs.append(message["seq"])
    except ConnectionClosed as closed:
        return seqs, closed.rcvd.code if closed.rcvd else None


async def test_a_websocket_gets_the_same_messages_and_resumes(installation, serve):
    installation.stream.add(100)
    async with serve(installation.app) as (url, _):
        address = f"{url.replace('http', 'ws')}/stream"
        async with connect(address, max_queue=None) as websocket:
            await websocket.send('{"after": 0}')
            first = [json.loads(await websocket.recv()) for _ in range(40)]
        assert [message["seq"] for message in first] == list(range(1, 41))
        assert set(first[0]) == {"seq", "kind", "data", "at"}
        async with connect(f"{address}?after=40") as websocket:
            reading = asyncio.create_task(messages(websocket))
            await asyncio.sleep(0.02)
            installation.stream.add(50)
            installation.stream.finish()
            assert await reading == (list(range(41, 152)), 1000)
        await settled(lambda: installation.feed.subscribers == 0)


async def test_a_silent_websocket_gets_pings(installation, serve):
    async with serve(installation.app) as (url, _), connect(f"{url.replace('http', 'ws')}/stream?after=0") as websocket:
        assert json.loads(await asyncio.wait_for(websocket.recv(), 3))["kind"] == "ping"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (None, 1008),
        ("hello", 1008),
        ('{"after": -1}', 1008),
        ('{"after": "0"}', 1008),
        ('{"after": true}', 1008),
        ('{"after": 0, "more": 1}', 1008),
        ('{"after": 5}', 1008),
        ("[" * 250, 1008),
        ("x" * 20_000, 1009),
        (b'{"after": 0}', 1008),
    ],
)
async def test_a_websocket_that_does_not_say_where_to_start_is_closed(installation, serve, first, code):
    async with serve(installation.app) as (url, _), connect(f"{url.replace('http', 'ws')}/stream") as websocket:
        if first is not None:
            await websocket.send(first)
        assert await messages(websocket) == ([], code)
        await settled(lambda: installation.feed.subscribers == 0)


async def test_a_websocket_that_goes_on_talking_is_closed(installation, serve):
    async with serve(installation.app) as (url, _), connect(f"{url.replace('http', 'ws')}/stream?after=0") as websocket:
        await websocket.send("and another thing")
        assert (await messages(websocket))[1] == 1008


async def test_a_page_of_another_origin_cannot_open_a_websocket(installation, serve):
    async with serve(installation.app) as (url, _):
        address = f"{url.replace('http', 'ws')}/stream?after=0"
        for origin in ("https://evil.example", "null", url + ".evil.example"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(address, origin=origin)
            assert refused.value.response.status_code == 403
        for origin in ("https://app.example.com", url):
            async with connect(address, origin=origin):
                pass


async def test_a_websocket_that_does_not_read_is_dropped(installation, serve):
    request = (
        b"GET /stream?after=0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: ZmFrZWZha2VmYWtlZmFrZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    async with serve(installation.app) as (url, _):
        with slow_socket(url, request):
            await settled(lambda: installation.feed.subscribers == 1)
            while installation.feed.subscribers:
                installation.stream.add(1, data={"text": "x" * 30_000})
                await asyncio.sleep(0.002)
                assert len(installation.stream.events) < 3_000


async def test_a_revoked_websocket_is_told_why(installation, serve):
    async with serve(installation.app) as (url, _), connect(f"{url.replace('http', 'ws')}/stream?after=0") as websocket:
        installation.allowed = False
        assert (await messages(websocket))[1] == 1008

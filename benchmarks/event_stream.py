"""CPU per delivered event with 1,000 subscribers: ours against sse-starlette, over uvicorn and real sockets.

Both send the same events at the same pace, with pings and disconnect handling on. The peer gets its best case: the
JSON is encoded once for all, and one queue a subscriber feeds `EventSourceResponse`. Ours runs with all of its HTTP
plumbing. `floor` is the server alone: the same bytes in a bare loop over `send`. Each runs in its own process, the
client in a third; what counts is the user and system time of the server's process.

    python benchmarks/event_stream.py [--subscribers 1000] [--events 100] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from machine import report
from shopfloor.infra.frames import Frame, LiveEvent
from shopfloor.infra.live import LiveFeed
from shopfloor.infra.telemetry import LogSettings, configure_logging
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.plumbing import install_plumbing
from shopfloor.infra.web.server import server_config
from shopfloor.infra.web.streams import event_stream, place_asked_for

KINDS = ("ours", "sse-starlette", "floor")
PING_S = 15


def main() -> None:
    options = _arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    if options.serve:
        with asyncio.Runner(loop_factory=uvicorn.Config("", loop="auto").get_loop_factory()) as runner:
            runner.run(_serve(options.serve, options.port))  # uvloop where there is one, for all alike
    elif options.subscribe:
        asyncio.run(_subscribe(options.port, options.subscribers, options.subscribe))
    else:
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        order = KINDS if number % 2 == 0 else KINDS[::-1]
        rounds.append({kind: _measure(kind, options) for kind in order})
        print(json.dumps(rounds[-1]), file=sys.stderr)
    medians = {kind: statistics.median(each[kind] for each in rounds) for kind in KINDS}
    figures = {
        "subscribers": options.subscribers,
        "events": options.events,
        "events_per_s": options.pace,
        "rounds": options.rounds,
        "cpu_us_per_delivery": {kind: round(us, 1) for kind, us in medians.items()},
        "ratio_to_sse_starlette": round(statistics.median(each["ours"] / each["sse-starlette"] for each in rounds), 3),
        "ratio_to_sse_starlette_rounds": [round(each["ours"] / each["sse-starlette"], 3) for each in rounds],
        "ratio_to_floor": round(statistics.median(each["ours"] / each["floor"] for each in rounds), 3),
        "target_ratio": 0.6,
    }
    report("event_stream", figures)


def _measure(kind: str, options: argparse.Namespace) -> float:
    """Microseconds of the server's CPU per delivery."""
    me = [sys.executable, str(Path(__file__).resolve())]
    port = str(options.port)
    server = subprocess.Popen([*me, "--serve", kind, "--port", port])
    try:
        _wait_for(port)
        wanted = options.events * options.subscribers
        client = subprocess.Popen(
            [*me, "--subscribe", str(options.events), "--subscribers", str(options.subscribers), "--port", port],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        assert client.stdout.readline().strip() == "connected"
        before_s = _get(port, "/cpu")
        _get(port, f"/run?events={options.events}&pace={options.pace}")
        received = int(client.stdout.readline())
        spent_s = _get(port, "/cpu") - before_s
        client.wait(timeout=30)
        if received != wanted:
            raise SystemExit(f"{kind}: {received} deliveries of {wanted}")
        return spent_s / wanted * 1e6
    finally:
        server.terminate()
        server.wait(timeout=30)


async def _serve(kind: str, port: int) -> None:
    configure_logging(LogSettings(level="warning"))  # a thousand lines of hanging up are not what is measured
    app = {"ours": _ours, "sse-starlette": _peer, "floor": _floor}[kind]()
    config = (
        server_config(app, port=port, lifespan="off", timeout_graceful_shutdown=1)
        if kind == "ours"
        else uvicorn.Config(app, port=port, log_level="error", access_log=False, timeout_graceful_shutdown=1)
    )
    await uvicorn.Server(config).serve()


def _ours() -> FastAPI:
    log: list[LiveEvent] = []
    job_id = uuid4()

    async def read(_job: UUID, after: int, limit: int) -> list[LiveEvent]:
        return log[after : after + limit]

    feed = LiveFeed(read, is_last=lambda _: False)
    app = FastAPI()

    @app.get("/events")
    async def events(request: Request):  # noqa: ANN202
        return await event_stream(feed.subscribe(job_id, place_asked_for(request.headers, None)))

    def publish(event: LiveEvent) -> None:
        log.append(event)
        feed.changed(job_id, event.seq)

    _control(app, publish)
    install_plumbing(app, edge=EdgeSettings(allowed_hosts=("*",)))
    return app


def _peer() -> FastAPI:
    queues: set[asyncio.Queue[tuple[int, str, str]]] = set()
    app = FastAPI()

    async def source() -> AsyncIterator[ServerSentEvent]:
        queue: asyncio.Queue[tuple[int, str, str]] = asyncio.Queue(1024)
        queues.add(queue)
        try:
            while True:
                seq, kind, data = await queue.get()
                yield ServerSentEvent(data, event=kind, id=str(seq))
        finally:
            queues.discard(queue)

    @app.get("/events")
    async def events() -> EventSourceResponse:
        return EventSourceResponse(source(), ping=PING_S)

    def publish(event: LiveEvent) -> None:
        data = Frame(event, is_last=False).text  # encoded once: its best case
        for queue in queues:
            queue.put_nowait((event.seq, event.kind, data))

    _control(app, publish)
    return app


def _floor() -> Any:
    sends: list[Send] = []
    control = FastAPI()
    tasks: set[asyncio.Task[None]] = set()

    async def push(body: bytes) -> None:
        for send in sends:
            await send({"type": "http.response.body", "body": body, "more_body": True})

    def publish(event: LiveEvent) -> None:
        task = asyncio.get_running_loop().create_task(push(Frame(event, is_last=False).sse))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    _control(control, publish)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/events":
            await control(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        sends.append(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        sends.remove(send)

    return app


def _control(app: FastAPI, publish: Any) -> None:
    @app.get("/cpu")
    async def cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    @app.get("/run")
    async def run(events: int, pace: float) -> int:
        start_s = time.monotonic()
        for number in range(1, events + 1):
            publish(LiveEvent(number, "tool.output", {"stream": "stdout", "text": "x" * 120}, datetime.now(UTC)))
            await asyncio.sleep(max(0, start_s + number / pace - time.monotonic()))
        return events

    _ = (cpu, run)


async def _subscribe(port: int, subscribers: int, events: int) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    tally = {"received": 0, "open": 0, "wanted": subscribers * events}
    for start in range(0, subscribers, 50):
        count = min(50, subscribers - start)
        await asyncio.gather(
            *(loop.create_connection(lambda: _Reader(tally, done), "127.0.0.1", port) for _ in range(count))
        )
    while tally["open"] < subscribers:  # noqa: ASYNC110 (the readers count)
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)  # past their first reads
    print("connected", flush=True)
    await asyncio.wait_for(done, 300)
    print(tally["received"], flush=True)


class _Reader(asyncio.Protocol):
    """One subscriber: asks for the stream, counts its events."""

    def __init__(self, tally: dict[str, int], done: asyncio.Future[None]) -> None:
        self.tally = tally
        self.done = done
        self.tail = b""
        self.started = False

    def connection_made(self, transport: Any) -> None:
        transport.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        if not self.started:
            self.started = True
            self.tally["open"] += 1
        data = self.tail + data
        self.tally["received"] += data.count(b"\ndata: ")
        self.tail = data[-6:]
        if self.tally["received"] >= self.tally["wanted"] and not self.done.done():
            self.done.set_result(None)


def _wait_for(port: str) -> None:
    for _ in range(200):
        try:
            _get(port, "/cpu")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server did not start")


def _get(port: str, path: str) -> float:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
        return float(answer.read())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--events", type=int, default=60)
    parser.add_argument("--pace", type=float, default=5, help="events a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18765)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--subscribe", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

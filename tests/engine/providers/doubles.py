"""Doubles of the providers' neighbours: a meter with books, a clock that needs no time, an HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from shopfloor.engine.providers.chain import Candidate, ChainModel
from shopfloor.engine.providers.port import (
    Attempt,
    CostLimitReached,
    Credentials,
    ModelRef,
    Price,
    ProviderKind,
    Unit,
    Usage,
)
from shopfloor.testing.mock_provider import Scenario, parse

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
PICOS: dict[Unit, int] = {
    "input": 3_000_000,
    "cache-read": 300_000,
    "cache-write-5m": 3_750_000,
    "cache-write-1h": 6_000_000,
    "output": 15_000_000,
}


@dataclass
class MeterBooks:
    """A meter that writes down what it is told, with a limit like a job's."""

    limit_nanos: int = 10**12
    spent_nanos: int = 0
    holds: dict[int, Attempt] = field(default_factory=dict)
    ended: dict[int, tuple[str, Any]] = field(default_factory=dict)

    async def hold(self, attempt: Attempt) -> int:
        left = self.limit_nanos - self.spent_nanos
        if attempt.bound_nanos > left:
            raise CostLimitReached("over the limit", available_nanos=left)
        number = len(self.holds) + 1
        self.holds[number] = attempt
        return number

    async def settle(self, hold: object, usage: Usage, cost_nanos: int) -> None:
        assert usage.total_tokens
        self._end(hold, ("settled", cost_nanos))
        self.spent_nanos += cost_nanos

    async def release(self, hold: object, reason: str) -> None:
        self._end(hold, ("released", reason))

    async def unknown(self, hold: object, reason: str) -> None:
        self._end(hold, ("unknown", reason))
        self.spent_nanos += self.holds[int(str(hold))].bound_nanos

    def _end(self, hold: object, how: tuple[str, Any]) -> None:
        number = int(str(hold))
        assert number not in self.ended, f"hold {number} ended twice: {self.ended[number]}, {how}"
        self.ended[number] = how

    @property
    def endings(self) -> list[str]:
        """How each hold ended, in order; `open` for one that didn't."""
        return [self.ended.get(number, ("open", None))[0] for number in self.holds]


@dataclass
class StillClock:
    """Sleeping takes no time and moves the clock."""

    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=sum(self.slept))

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        await asyncio.sleep(0)


@dataclass
class Chain:
    """A chain under test with everything around it."""

    model: ChainModel
    meter: MeterBooks
    clock: StillClock
    events: list[tuple[str, dict[str, Any]]]


def credentials(
    url: str | None, *, name: str = "main", kind: ProviderKind = "mock", api_key: str = "sk-mock-fake"
) -> Credentials:
    return Credentials(name, kind, api_key, url, region="eu-central-1")


def price(**changes: int) -> Price:
    return Price("m", {**PICOS, **changes}, NOW, "organization")  # type: ignore[arg-type]


def candidate(creds: Credentials, model: str = "mock-coder", *, max_output_tokens: int = 4096) -> Candidate:
    return Candidate(ModelRef(creds.name, model), creds, price(), 200_000, max_output_tokens)


def scenario(text: str) -> Scenario:
    """Replies and the like; prices as `PICOS`."""
    prices = (
        'prices: {"*": {input: "3", cache_read: "0.3", cache_write_5m: "3.75", cache_write_1h: "6", output: "15"}}\n'
    )
    return parse(prices + text)


@dataclass
class Asked:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[Asked], Awaitable[Answer]]


@dataclass
class Wire:
    """A small HTTP/1.1 server with one handler."""

    url: str
    asked: list[Asked]


@asynccontextmanager
async def wire(handler: Handler) -> AsyncIterator[Wire]:
    """Answers each request by `handler`, one a connection."""
    asked: list[Asked] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = request.split(" ")
        asked.append(Asked(method, path, headers, orjson.loads(raw) if raw else None))
        status, extra, body = await handler(asked[-1])
        lines = [f"HTTP/1.1 {status} Status", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in {"content-type": "application/json", **extra}.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with server:
        yield Wire(f"http://{host}:{port}", asked)


def json_answer(value: Any, *, status: int = 200, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, orjson.dumps(value)

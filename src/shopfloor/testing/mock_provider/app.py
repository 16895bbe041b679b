"""The ASGI application: reads a request, chooses its reply, bills it, sends it (or what goes wrong instead).

Plain ASGI on purpose: benchmarks run against it, so its own cost has to stay small and its faults need the socket.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import parse_qs

import orjson

from shopfloor.testing.mock_provider import anthropic_wire, openai_wire
from shopfloor.testing.mock_provider.answer import count, prepare, prompt_tokens
from shopfloor.testing.mock_provider.bill import Books, Entry, cost_nanos, now
from shopfloor.testing.mock_provider.choose import choose, fault_for
from shopfloor.testing.mock_provider.conversation import (
    Conversation,
    Dialect,
    Json,
    RequestRefused,
    read_anthropic,
    read_openai,
)
from shopfloor.testing.mock_provider.exchange import Exchange
from shopfloor.testing.mock_provider.faults import Turn, play
from shopfloor.testing.mock_provider.scenario import Scenario

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 32 * 1024 * 1024  # Anthropic API reference, 'Request size limits': 32 MB
MARKER_HEADER = "x-mock-conversation"


class MockProvider:
    """One scenario, one set of books. Use `serve` to put it on a port."""

    def __init__(self, scenario: Scenario, books: Books) -> None:
        self.scenario = scenario
        self.books = books
        self._down_until = 0.0  # on the monotonic scale
        self._down_status = 503
        self._met: Counter[tuple[str, int, str]] = Counter()  # how often a reply with faults was met

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry. Only HTTP is served."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        route = (scope["method"], exchange.path)
        if exchange.path.startswith("/_mock/"):
            await self._own(route, exchange)
            return
        await self._api(route, exchange)

    def reset(self) -> None:
        """Empty books, and every fault counted from its start."""
        self.books.reset()
        self._met.clear()

    def outage(self, seconds: float, status: int = 503) -> None:
        """From now on every request for a reply is refused with `status`, for so long; 0: the outage is over."""
        self._down_until, self._down_status = time.monotonic() + seconds, status

    async def _own(self, route: tuple[str, str], exchange: Exchange) -> None:
        """The endpoints that no provider has. They ask for no key: they hold none and live on loopback."""
        match route:
            case ("GET", "/_mock/bill"):
                await exchange.send_json(200, self.books.bill().as_json())
            case ("GET", "/_mock/requests"):
                await exchange.send_json(200, {"requests": self._listed(exchange.query)})
            case ("GET", "/_mock/scenario"):
                await exchange.send_json(200, self.scenario.model_dump(mode="json", exclude_none=True))
            case ("POST", "/_mock/outage"):
                await self._outage(exchange)
            case ("POST", "/_mock/reset"):
                self.reset()
                await exchange.send_json(200, {"reset": True})
            case _:
                await exchange.send_json(404, {"error": "one of: bill, requests, scenario; POST: reset, outage"})

    async def _outage(self, exchange: Exchange) -> None:
        asked = {name: values[-1] for name, values in parse_qs(exchange.query).items()}
        try:
            seconds, status = float(asked.get("seconds", "60")), int(asked.get("status", "503"))
        except ValueError:
            await exchange.send_json(400, {"error": "seconds is a number, status an HTTP status"})
            return
        self.outage(seconds, status)
        await exchange.send_json(200, {"outage_s": seconds, "status": status})

    def _listed(self, query: str) -> list[Json]:
        wanted = {name: values[-1] for name, values in parse_qs(query).items()}
        rows = (entry.as_json() for entry in self.books.bill().entries)
        return [row for row in rows if all(str(row.get(name)) == value for name, value in wanted.items())]

    async def _api(self, route: tuple[str, str], exchange: Exchange) -> None:
        dialect: Dialect = "anthropic" if _is_anthropic(exchange) else "openai"
        exchange.request_id = f"req_{self.books.next_number():012d}"
        if not self._known_key(exchange):
            text = "invalid x-api-key" if dialect == "anthropic" else "Incorrect API key provided."
            await exchange.send_error(dialect, 401, f"{text} The mock takes keys like {self.scenario.keys[0]}.")
            return
        match route:
            case ("POST", "/v1/chat/completions"):
                await self._reply("openai", exchange)
            case ("POST", "/v1/messages"):
                await self._reply("anthropic", exchange)
            case ("POST", "/v1/messages/count_tokens"):
                await self._count(exchange)
            case ("GET", "/v1/models"):
                wire = anthropic_wire if dialect == "anthropic" else openai_wire
                await exchange.send_json(200, wire.models(self._models()))
            case ("GET", path) if path.startswith("/v1/models/"):
                await self._one_model(dialect, path.removeprefix("/v1/models/"), exchange)
            case _:
                await exchange.send_error(dialect, 404, f"Unknown request URL: {route[0]} {route[1]}")

    async def _reply(self, dialect: Dialect, exchange: Exchange) -> None:
        entry: Entry | None = None
        try:
            conversation = _read(dialect, exchange.headers, await exchange.body(MAX_BODY_BYTES))
            entry = self._entered(conversation)
            if self.scenario.price_of(conversation.model) is None:
                await exchange.send_error(dialect, 404, f"The model `{conversation.model}` does not exist.")
            else:
                await self._serve(entry, conversation, exchange)
        except RequestRefused as refusal:
            await exchange.send_error(dialect, exchange.refused_with or 400, str(refusal))
        finally:
            if entry is not None:
                entry.status = exchange.status
                self.books.end(entry)

    async def _serve(self, entry: Entry, conversation: Conversation, exchange: Exchange) -> None:
        if time.monotonic() < self._down_until:
            entry.fault = "outage"
            await exchange.send_error(conversation.dialect, self._down_status, "The service is down.")
            return
        choice = choose(self.scenario, conversation)
        exchange.said_besides = choice.reply.headers
        entry.place = choice.place
        fault = None
        if choice.reply.faults:
            met = (conversation.key, conversation.turn, choice.place)
            fault = fault_for(choice.reply, self._met[met])
            self._met[met] += 1
        answer = prepare(choice.reply, conversation, self.scenario.pace)
        price = self.scenario.price_of(conversation.model)
        assert price is not None

        def bill() -> None:
            """Once: a reply is billed in whole from its first byte on."""
            entry.billed, entry.usage, entry.cost_nanos = True, answer.usage, cost_nanos(answer.usage, price)

        if self.scenario.bill_from == "request" and fault is None:
            bill()
        await play(Turn(exchange, entry, conversation, answer, bill), fault)

    def _entered(self, conversation: Conversation) -> Entry:
        number = self.books.next_number()
        digest = conversation.digest()
        unique = hashlib.sha256(f"{number}/{digest}".encode()).hexdigest()[:20]
        entry = Entry(
            id=f"{'msg_01' if conversation.dialect == 'anthropic' else 'chatcmpl-'}{unique}",
            dialect=conversation.dialect,
            model=conversation.model,
            conversation=conversation.key,
            turn=conversation.turn,
            digest=digest,
            stream=conversation.stream,
            started_at=now(),
        )
        self.books.add(entry)
        return entry

    async def _count(self, exchange: Exchange) -> None:
        try:
            body = _json(await exchange.body(MAX_BODY_BYTES))
            conversation = read_anthropic({"max_tokens": 1, **body})
        except RequestRefused as refusal:
            await exchange.send_error("anthropic", exchange.refused_with or 400, str(refusal))
            return
        await exchange.send_json(200, {"input_tokens": sum(prompt_tokens(conversation)) or count("")})

    async def _one_model(self, dialect: Dialect, name: str, exchange: Exchange) -> None:
        if self.scenario.price_of(name) is None:
            await exchange.send_error(dialect, 404, f"The model `{name}` does not exist.")
            return
        wire = anthropic_wire if dialect == "anthropic" else openai_wire
        await exchange.send_json(200, wire.models([name])["data"][0])

    def _models(self) -> list[str]:
        return [name for name in self.scenario.prices if name != "*"]

    def _known_key(self, exchange: Exchange) -> bool:
        sent = exchange.headers.get("x-api-key") or exchange.headers.get("authorization", "").removeprefix("Bearer ")
        return any(_key_fits(pattern, sent) for pattern in self.scenario.keys)


def _is_anthropic(exchange: Exchange) -> bool:
    """Both dialects have `/v1/models`; the header that Anthropic asks for tells them apart."""
    return exchange.path.startswith("/v1/messages") or "anthropic-version" in exchange.headers


def _key_fits(pattern: str, key: str) -> bool:
    if pattern.endswith("*"):
        return len(key) >= len(pattern) and key.startswith(pattern[:-1])
    return hmac.compare_digest(pattern.encode(), key.encode())


def _read(dialect: Dialect, headers: dict[str, str], raw: bytes) -> Conversation:
    body = _json(raw)
    marker = headers.get(MARKER_HEADER)
    if dialect == "openai":
        return read_openai(body, marker=marker)
    if "anthropic-version" not in headers:
        raise RequestRefused("anthropic-version: header is required")
    return read_anthropic(body, marker=marker)


def _json(raw: bytes) -> Json:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(body, dict):
        raise RequestRefused("The JSON body of a request must be an object.")
    return cast("Json", body)

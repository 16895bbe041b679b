"""Wake-ups between processes by NOTIFY: hints, sent from one separate connection, at most every 10 ms.

Never inside the write: `pg_notify` in the writing transaction cuts inserts to a sixth. Whoever waits also polls, so a
lost hint costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, LiteralString, cast

import psycopg
import structlog

from shopfloor.infra.database import KEEPALIVE, Database, DatabaseUnavailable
from shopfloor.infra.ending import end

_CHANNEL = "shopfloor_wake"
_INTERVAL_S = 0.01
_RECONNECT_S = 1.0
_PAYLOAD_MAX = 7_900  # bytes; PostgreSQL takes 8000
_IDLE_CHECK_S = 15.0
_ANSWER_S = 5.0  # for one statement of ours

log = structlog.get_logger(__name__)
Wake = Callable[[str], None]


class Notifier:
    """Sends and receives wake-ups. A key names what changed: `job:<id>`, `admit`, `cancel:<id>`."""

    def __init__(self, database: Database, *, idle_check_s: float = _IDLE_CHECK_S) -> None:
        """After `idle_check_s` of silence the listening connection is asked whether it is still there."""
        self._database = database
        self._idle_check_s = idle_check_s
        self._pending: set[str] = set()
        self._some = asyncio.Event()
        self._listeners: list[Wake] = []
        self._tasks: list[asyncio.Task[None]] = []

    def wake(self, key: str) -> None:
        """Tell every process, this one included, that `key` changed. Never blocks, never raises."""
        self._pending.add(key)
        self._some.set()

    def listen(self, listener: Wake) -> None:
        """Call `listener(key)` at every wake-up; `listener("*")` after a gap in which some may have been lost."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Begin to send and to listen."""
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]

    async def aclose(self) -> None:
        """Stop both."""
        await end(*self._tasks)

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            keys, self._pending = self._pending, set()
            try:
                async with asyncio.timeout(_ANSWER_S), self._database.system.connection() as connection:
                    for payload in _payloads(keys):
                        await connection.execute("select pg_notify(%s, %s)", (_CHANNEL, payload))
            except (psycopg.Error, DatabaseUnavailable, TimeoutError, OSError) as error:
                log.warning("notify.failed", error=repr(error))  # whoever waits for them polls
            await asyncio.sleep(_INTERVAL_S)

    async def _receive(self) -> None:
        while True:
            try:
                async with await self._connect() as connection:
                    await _execute(connection, f"listen {_CHANNEL}")
                    self._tell("*")
                    await self._loop(connection)
            except (psycopg.Error, TimeoutError, OSError) as error:
                log.warning("listen.lost", error=repr(error))
            await asyncio.sleep(_RECONNECT_S)

    async def _connect(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await psycopg.AsyncConnection.connect(
            self._database.urls.listen,
            autocommit=True,
            connect_timeout=self._database.settings.connect_timeout_s,
            application_name="shopfloor-listen",
            **KEEPALIVE,
        )

    async def _loop(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        while True:
            async for note in connection.notifies(timeout=self._idle_check_s):
                for key in _keys(note.payload):
                    self._tell(key)
            await _execute(connection, "select 1")  # a half-open connection shows itself here

    def _tell(self, key: str) -> None:
        for listener in self._listeners:
            listener(key)


async def _execute(connection: psycopg.AsyncConnection[tuple[Any, ...]], statement: LiteralString) -> None:
    async with asyncio.timeout(_ANSWER_S):
        await connection.execute(statement)


def _keys(payload: str) -> list[str]:
    """The keys in a notification. Every role of the database may notify, so one that isn't ours is passed over."""
    try:
        keys = json.loads(payload)
    except (ValueError, RecursionError):
        keys = None
    if not isinstance(keys, list):
        log.warning("listen.foreign", payload=payload[:100])
        return []
    return [key for key in cast("list[Any]", keys) if isinstance(key, str)]


def _payloads(keys: set[str]) -> list[str]:
    """The keys as JSON lists, each short enough for one NOTIFY."""
    batches: list[list[str]] = [[]]
    size = 2
    for key in sorted(keys):
        if size + len(key) + 4 > _PAYLOAD_MAX:
            batches.append([])
            size = 2
        batches[-1].append(key)
        size += len(key) + 4
    return [json.dumps(batch) for batch in batches if batch]

"""Wake-ups between processes by NOTIFY: hints, sent from one separate connection, at most every 10 ms.

Never inside the write: `pg_notify` in the writing transaction cuts inserts to a sixth. Whoever waits also polls, so a
lost hint costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import psycopg
import structlog

from shopfloor.infra.database import Database, DatabaseUnavailable

_CHANNEL = "shopfloor_wake"
_INTERVAL_S = 0.01
_RECONNECT_S = 1.0
_PAYLOAD_MAX = 7_900  # bytes; PostgreSQL takes 8000
_IDLE_CHECK_S = 15.0

log = structlog.get_logger(__name__)
Wake = Callable[[str], None]


class Notifier:
    """Sends and receives wake-ups. A key names what changed: `job:<id>`, `admit`, `cancel:<id>`."""

    def __init__(self, database: Database) -> None:
        self._database = database
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
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            keys, self._pending = self._pending, set()
            try:
                async with self._database.system.connection() as connection:
                    for payload in _payloads(keys):
                        await connection.execute("select pg_notify(%s, %s)", (_CHANNEL, payload))
            except (psycopg.Error, DatabaseUnavailable) as error:
                log.warning("notify.failed", error=str(error))  # whoever waits for them polls
            await asyncio.sleep(_INTERVAL_S)

    async def _receive(self) -> None:
        while True:
            try:
                url = self._database.urls.listen
                async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=5) as connection:
                    await connection.execute(f"listen {_CHANNEL}")
                    self._tell("*")
                    await self._loop(connection)
            except psycopg.Error as error:
                log.warning("listen.lost", error=str(error))
            await asyncio.sleep(_RECONNECT_S)

    async def _loop(self, connection: psycopg.AsyncConnection[object]) -> None:
        while True:
            async for note in connection.notifies(timeout=_IDLE_CHECK_S):
                for key in json.loads(note.payload):
                    self._tell(key)
            await connection.execute("select 1")  # a half-open connection shows itself here

    def _tell(self, key: str) -> None:
        for listener in self._listeners:
            listener(key)


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

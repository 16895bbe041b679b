"""What goes wrong: one fault after another, each kind once before any comes again, and all of it healed at the end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import redis

from chaos.ground import Ground, Process
from chaos.history import Fault, History

Break = Callable[[], Awaitable[None]]


class Nemesis:
    """`run` breaks things until it is cancelled; `heal` leaves everything whole."""

    def __init__(self, ground: Ground, history: History, chance: random.Random) -> None:
        self._ground = ground
        self._history = history
        self._chance = chance
        self._started = time.monotonic()

    async def run(self) -> None:
        """One fault at a time, a breath in between."""
        while True:
            kinds = self._kinds()
            for name in self._chance.sample(sorted(kinds), len(kinds)):
                await asyncio.sleep(self._chance.uniform(1, 4))
                fault = Fault(round(time.monotonic() - self._started, 1), name)
                self._history.faults.append(fault)
                began = time.monotonic()
                await kinds[name]()
                fault.lasted_s = round(time.monotonic() - began, 1)

    async def heal(self) -> None:
        """Whatever it was at."""
        made = self._ground
        for process in (*made.workers, *made.apis):
            process.signal(signal.SIGCONT)
        for proxy in made.proxies.values():
            proxy.become("pass")
        self._empty()
        if made.clock is not None:
            made.clock.write_text("+0\n")
        with suppress(psycopg.Error):
            if not await asyncio.to_thread(_answers, made.direct_url):
                await asyncio.to_thread(made._postgres.start)
        await asyncio.to_thread(self._redis_back)
        for process in (*made.workers, *made.apis):
            process.start()

    def _kinds(self) -> dict[str, Break]:
        made = self._ground
        kinds: dict[str, Break] = {
            "kill a worker": lambda: self._kill(made.workers),
            "kill every worker": self._kill_all,
            "kill an API": lambda: self._kill(made.apis),
            "stop a worker": lambda: self._stop(made.workers, 8),
            "stop an API": lambda: self._stop(made.apis, 5),
            "crash the database": lambda: made.crash_database(self._chance.uniform(0, 4)),
            "terminate every backend": self._terminate,
            "kill Redis": self._kill_redis,
            "flush Redis": self._flush_redis,
        }
        for name in made.proxies:
            kinds[f"cut the {name}"] = lambda name=name: self._cut(name)
            kinds[f"black-hole the {name}"] = lambda name=name: self._become(name, "hang", 8)
            kinds[f"slow the {name}"] = lambda name=name: self._become(name, "slow", 6)
            kinds[f"refuse the {name}"] = lambda name=name: self._become(name, "refuse", 6, cut=True)
        if made.small:
            kinds["fill the disk"] = self._fill
        if made.clock is not None:
            kinds["jump the clock"] = self._jump
        return kinds

    async def _kill(self, processes: list[Process]) -> None:
        victim = self._chance.choice(processes)
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(self._chance.uniform(0, 2))
        victim.start()

    async def _kill_all(self) -> None:
        for worker in self._ground.workers:
            await asyncio.to_thread(worker.kill)
        for worker in self._ground.workers:
            worker.start()

    async def _stop(self, processes: list[Process], most_s: float) -> None:
        """Longer than the heart-beat limit at times: it comes back and finds its jobs taken over."""
        victim = self._chance.choice(processes)
        victim.signal(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(1, most_s))
        victim.signal(signal.SIGCONT)

    async def _terminate(self) -> None:
        def terminate() -> None:
            with suppress(psycopg.Error), psycopg.connect(self._ground.direct_url, autocommit=True) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where pid <> pg_backend_pid() and backend_type = 'client backend'"
                )

        await asyncio.to_thread(terminate)

    async def _cut(self, name: str) -> None:
        self._ground.proxies[name].cut()

    async def _become(self, name: str, mode: str, most_s: float, *, cut: bool = False) -> None:
        proxy = self._ground.proxies[name]
        proxy.become(mode)  # type: ignore[arg-type]
        if cut:
            proxy.cut()
        await asyncio.sleep(self._chance.uniform(1, most_s))
        proxy.become("pass")

    async def _kill_redis(self) -> None:
        await asyncio.to_thread(self._ground.redis.stop)
        await asyncio.sleep(self._chance.uniform(0, 4))
        await asyncio.to_thread(self._ground.redis.start)

    async def _flush_redis(self) -> None:
        with suppress(redis.RedisError):
            await asyncio.to_thread(self._ground.redis.client().flushall)

    def _redis_back(self) -> None:
        with suppress(redis.RedisError):
            self._ground.redis.client().ping()
            return
        self._ground.redis.stop()
        self._ground.redis.start()

    async def _fill(self) -> None:
        for place in self._ground.small:
            await asyncio.to_thread(_fill, place / "filler")
        await asyncio.sleep(self._chance.uniform(2, 6))
        self._empty()

    def _empty(self) -> None:
        for place in self._ground.small:
            (place / "filler").unlink(missing_ok=True)

    async def _jump(self) -> None:
        """An hour on, or back."""
        assert self._ground.clock is not None
        await asyncio.to_thread(self._ground.clock.write_text, self._chance.choice(("+3600\n", "-3600\n")))
        await asyncio.sleep(self._chance.uniform(2, 6))
        await asyncio.to_thread(self._ground.clock.write_text, "+0\n")


def _fill(file: Path) -> None:
    """To the last byte."""
    with suppress(OSError), file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(2**20))
    with suppress(OSError):
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        try:
            while True:
                os.write(descriptor, bytes(4_096))
        finally:
            os.close(descriptor)


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True

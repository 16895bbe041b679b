"""Clients at work: submit under a key until it is acknowledged, watch by cursor, cancel some; each word is kept."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import httpx2

from chaos.ground import Ground
from chaos.history import History, Submitted, Watch

_AT_ONCE = 5  # open jobs: sandboxes are heavy
_CANCELLED = 0.2  # of the jobs
_AGAIN = 0.15  # of the acknowledged submissions are sent once more, as a client does that lost the answer
_BUDGET_USD = "1000"
_TERMINAL = {"succeeded", "failed", "cancelled", "dead"}


class Generator:
    """`run` submits until `stop`; what is asked already is asked until it is answered."""

    def __init__(self, ground: Ground, history: History, chance: random.Random) -> None:
        self._ground = ground
        self._history = history
        self._chance = chance
        self._open: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._clients = [ground.client(n) for n in range(len(ground.urls))]

    async def run(self) -> None:
        """Keep a few jobs going."""
        await self._set_a_budget()
        number = 0
        while not self._stopping.is_set():
            self._open = {task for task in self._open if not task.done()}
            if len(self._open) < _AT_ONCE:
                number += 1
                self._open.add(asyncio.create_task(self._one(f"chaos-{number}")))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0.2, 1.5)):
                    await self._stopping.wait()

    def stop(self) -> None:
        """No new jobs."""
        self._stopping.set()

    async def settle(self, within_s: float) -> int:
        """Until every client has seen its job's end; how many have not."""
        if self._open:
            await asyncio.wait(self._open, timeout=within_s)
        left = [task for task in self._open if not task.done()]
        for task in left:
            task.cancel()
        results = await asyncio.gather(*self._open, return_exceptions=True)
        for defect in (each for each in results if isinstance(each, Exception)):
            raise defect
        for client in self._clients:
            await client.aclose()
        return len(left)

    async def _one(self, key: str) -> None:
        wanted = Submitted(key)
        self._history.submitted.append(wanted)
        body: dict[str, Any] = {
            "task": f"[[conversation: {key}]] Write two lines.", "model": "mock/chaos", "checks": [],
            "limits": {"cost_usd": "5", "turns": 20, "timeout_s": 600},
        }  # fmt: skip
        job = await self._asked("POST", "/api/v1/jobs", json=body, headers={"Idempotency-Key": key})
        wanted.answers.append(job["id"])
        watch = Watch(job["id"])
        self._history.watches.append(watch)
        also = [asyncio.create_task(self._watch(watch))]
        if self._chance.random() < _AGAIN:
            again = await self._asked("POST", "/api/v1/jobs", json=body, headers={"Idempotency-Key": key})
            wanted.answers.append(again["id"])
        if self._chance.random() < _CANCELLED:
            also.append(asyncio.create_task(self._cancel(wanted)))
        try:
            await asyncio.gather(*also)
        finally:
            for task in also:
                task.cancel()

    async def _cancel(self, wanted: Submitted) -> None:
        await asyncio.sleep(self._chance.uniform(0, 6))
        answer = await self._asked("POST", f"/api/v1/jobs/{wanted.answers[0]}/cancel", refusals={409})
        wanted.cancelled = answer.get("state") == "cancelled"

    async def _watch(self, watch: Watch) -> None:
        """By turns a page at a time and as a stream, each from where the last one ended, on either API."""
        while not watch.ended:
            client = self._chance.choice(self._clients)
            try:
                await (self._stream(client, watch) if self._chance.random() < 0.5 else self._page(client, watch))
            except (httpx2.HTTPError, ValueError) as error:
                self._count(type(error).__name__)
            await asyncio.sleep(0.3)

    async def _page(self, client: httpx2.AsyncClient, watch: Watch) -> None:
        path = f"/api/v1/jobs/{watch.job_id}/events"
        answer = await client.get(path, params={"after": len(watch.seqs)})
        if answer.is_error:
            self._count(str(answer.status_code))
            return
        self._seen(watch, [(event["seq"], event["kind"]) for event in answer.json()["items"]])

    async def _stream(self, client: httpx2.AsyncClient, watch: Watch) -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(len(watch.seqs))}
        until = time.monotonic() + self._chance.uniform(1, 10)
        async with client.stream("GET", f"/api/v1/jobs/{watch.job_id}/events", headers=headers) as answer:
            if answer.is_error:
                self._count(str(answer.status_code))
                return
            seq, kind = 0, ""
            async for line in answer.aiter_lines():
                name, _, value = line.partition(":")
                if name == "id":
                    seq = int(value)
                elif name == "event":
                    kind = value.strip()
                elif not line and seq:
                    self._seen(watch, [(seq, kind)])
                    seq, kind = 0, ""
                if watch.ended or time.monotonic() > until:
                    return

    def _seen(self, watch: Watch, events: list[tuple[int, str]]) -> None:
        watch.seqs += [seq for seq, _ in events]
        watch.ended = watch.ended or any(kind.removeprefix("job.") in _TERMINAL for _, kind in events)

    async def _asked(self, method: str, path: str, *, refusals: set[int] = frozenset(), **options: Any) -> Any:  # type: ignore[assignment]
        """Until an API gives an answer that is final, whichever it is."""
        while True:
            client = self._chance.choice(self._clients)
            try:
                answer = await client.request(method, path, **options)
                if answer.is_success or answer.status_code in refusals:
                    return answer.json()
                self._count(str(answer.status_code))
                if answer.status_code < 500 and answer.status_code not in {409, 429}:
                    raise RuntimeError(f"{method} {path}: {answer.text}")
            except (httpx2.HTTPError, ValueError) as error:
                self._count(type(error).__name__)
            await asyncio.sleep(self._chance.uniform(0.1, 0.8))

    async def _set_a_budget(self) -> None:
        """A wide one, so that every call passes through the ledger; where there are no budgets yet, none."""
        project = await self._asked("GET", "/api/v1/projects/default")
        budget = {"scope": {"type": "project", "id": project["id"]}, "period": "day", "limit_usd": _BUDGET_USD}
        await self._asked("POST", "/api/v1/budgets", json={**budget, "hard": True}, refusals={404, 405, 409})

    def _count(self, what: str) -> None:
        self._history.refused[what] = self._history.refused.get(what, 0) + 1

"""The platform's gate before every model call: breakers and limits that all workers share. One a process.

An open breaker costs no query: each process keeps in mind which are, renewed by wake-ups and when it is too old.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from shopfloor.base.clock import Clock
from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.models import breakers, limits, metrics
from shopfloor.domain.models.settings import StressSettings
from shopfloor.engine.providers.attempts import asked_wait_s
from shopfloor.engine.providers.breaker import BreakerPolicy, Calls, is_providers_failure
from shopfloor.engine.providers.chain import Candidate
from shopfloor.engine.providers.gate import Change, Ended, Lane, Pass, ProviderCrowded, ProviderResting
from shopfloor.engine.providers.limits import Learned
from shopfloor.infra.database import DatabaseUnavailable
from shopfloor.infra.tx import Store, Tx, asking_system, begin

_LOOK_S = 1.0  # between two looks for room at most: a wake-up may be lost
_TICKET_SPARE_S = 60.0  # a ticket outlives its call's time limit by so much
_ANSWER_S = 5.0  # for one transaction of ours

_AWAY = (DatabaseUnavailable, TimeoutError)

log = structlog.get_logger(__name__)
Key = tuple[UUID, str, str]  # provider, model, credential


@dataclass(slots=True)
class _Resting:
    until: float  # on the clock's monotonic scale
    probed: bool


@dataclass(slots=True)
class _Line:
    """The callers of this process that want to one provider, in order."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    moved: asyncio.Event = field(default_factory=asyncio.Event)


class SharedGate:
    """Implements engine/providers/gate.py::Gate on the database."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        chance: random.Random,
        policy: BreakerPolicy | None = None,
        settings: StressSettings | None = None,
        call_timeout_s: float = 600.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._policy = policy or BreakerPolicy()
        self._settings = settings or StressSettings()
        self._call_timeout_s = call_timeout_s
        self._resting: dict[Key, _Resting] = {}
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()
        self._answered: dict[Key, int] = defaultdict(int)  # not reported yet
        self._reported_at: dict[Key, float] = {}
        self._learned: dict[Key, Learned] = {}
        self._lines: dict[UUID, _Line] = {}

    def woken(self, key: str) -> None:
        """A wake-up of the notifier: what is kept in mind may be out of date."""
        kind, _, name = key.partition(":")
        if key in {breakers.WAKE, "*"}:
            self._looked_at = None
        for provider_id, line in self._lines.items():
            if key == "*" or (kind == "calls" and name == str(provider_id)):
                line.moved.set()

    def rests_s(self, lane: Lane) -> float:
        """See engine/providers/gate.py::Gate.rests_s."""
        found = self._resting.get(_key(lane))
        if found is None:
            return 0.0
        left_s = found.until - self._clock.monotonic()
        return max(left_s, _LOOK_S) if found.probed else max(0.0, left_s)

    async def enter(self, lane: Lane, *, tokens: int, patience_s: float) -> Pass:
        """See engine/providers/gate.py::Gate.enter."""
        await self._look()
        probe = await self._past_breaker(lane)
        started = self._clock.monotonic()
        try:
            ticket = await self._room(lane, tokens, patience_s)
        except BaseException:
            if probe:
                await self._give_probe_back(lane)
            raise
        waited_s = self._clock.monotonic() - started
        metrics.LIMIT_WAIT.observe(waited_s)
        return Pass(lane, probe, ticket, waited_s)

    async def leave(self, taken: Pass, ended: Ended) -> Change | None:
        """See engine/providers/gate.py::Gate.leave."""
        lane, error = taken.lane, ended.error
        if taken.ticket is not None:
            await self._quietly(lane, partial(limits.hand_back, lane=lane, ticket=taken.ticket, tokens=ended.tokens))
        if error is not None and is_providers_failure(error):
            asked_s = asked_wait_s(error) or 0.0
            self._learned.setdefault(_key(lane), Learned()).rest(asked_s, monotonic=self._clock.monotonic())
            return await self._report(lane, Calls(failed=1, asked_wait_s=asked_s), probe=taken.probe, error=error)
        if ended.answered or (error is not None and "http_status" in error.facts):
            return await self._answer(lane, probe=taken.probe)
        if taken.probe:
            await self._give_probe_back(lane)
        return None

    def hear(self, lane: Lane, headers: Mapping[str, str]) -> None:
        """See engine/providers/gate.py::Gate.hear."""
        learned = self._learned.setdefault(_key(lane), Learned())
        learned.hear(headers, now=self._clock.now(), monotonic=self._clock.monotonic())

    async def first_to_ask(self, candidates: Sequence[Candidate], last: str | None) -> int:
        """Where a job's chain begins: at its first model; while that fails, at the one that last answered the job."""
        await self._look()
        first = candidates[0].lane
        if first is None or _key(first) not in self._resting:
            return 0
        return next((at for at, each in enumerate(candidates) if str(each.ref) == last), 0)

    async def _look(self) -> None:
        """Read which breakers are open, if what is kept in mind is too old. One reads for all who ask meanwhile."""
        if self._is_fresh():
            return
        async with self._looking:
            if self._is_fresh():
                return
            now = self._clock.monotonic()
            with suppress(*_AWAY):  # what was known holds until the database is back
                async with asyncio.timeout(_ANSWER_S), asking_system(self._store) as tx:
                    found = await breakers.open_ones(tx)
                self._resting = {
                    (each.provider_id, each.model, each.credential): _Resting(now + each.left_s, each.probed)
                    for each in found
                }
                metrics.BREAKERS.labels("open").set(sum(each.left_s > 0 for each in found))
                metrics.BREAKERS.labels("half-open").set(sum(each.left_s <= 0 for each in found))
            self._looked_at = now

    def _is_fresh(self) -> bool:
        return self._looked_at is not None and self._clock.monotonic() - self._looked_at < self._settings.view_s

    async def _past_breaker(self, lane: Lane) -> bool:
        """Whether the call is a probe. Raises: ProviderResting."""
        found = self._resting.get(_key(lane))
        if found is None:
            return False
        if self.rests_s(lane) == 0 and await self._take_probe(lane):
            return True
        metrics.BREAKER_REFUSED.labels(str(lane)).inc()
        wait_s = max(self.rests_s(lane), _LOOK_S)
        trying = "another call tries it just now" if found.probed else f"it is tried again in {wait_s:.0f} s"
        raise ProviderResting(
            f"{lane} is not called: too many of its last calls failed; {trying}. "
            f"GET /api/v1/providers/{lane.provider_id}/health shows why.",
            provider=lane.provider, model=lane.model, retry_after_s=float(wait_s),
        )  # fmt: skip

    async def _take_probe(self, lane: Lane) -> bool:
        """Whether this call may try it. With a database that is away: not now."""
        taken = await self._quietly(lane, partial(breakers.take_probe, lane=lane, policy=self._policy))
        if not taken:
            self._resting[_key(lane)].probed = True
        return bool(taken)

    async def _give_probe_back(self, lane: Lane) -> None:
        await self._quietly(lane, partial(breakers.give_probe_back, lane=lane))
        self._looked_at = None

    async def _answer(self, lane: Lane, *, probe: bool) -> Change | None:
        key, now = _key(lane), self._clock.monotonic()
        self._answered[key] += 1
        if not probe and now - self._reported_at.get(key, float("-inf")) < self._settings.report_s:
            return None
        return await self._report(lane, Calls(), probe=probe)

    async def _report(
        self, lane: Lane, calls: Calls, *, probe: bool, error: ShopfloorError | None = None
    ) -> Change | None:
        key = _key(lane)
        answered = 0 if probe and calls.failed else self._answered.pop(key, 0)
        self._reported_at[key] = self._clock.monotonic()
        told = Calls(answered, calls.failed, calls.asked_wait_s)
        report = partial(
            breakers.report, lane=lane, calls=told, policy=self._policy, chance=self._chance, probe=probe, error=error
        )
        change = await self._quietly(lane, report)
        if change is not None:
            log.info("breaker.changed", model=str(lane), to=change, why=error.code() if error else "answered")
            self._looked_at = None
        return change

    async def _room(self, lane: Lane, tokens: int, patience_s: float) -> UUID | None:
        """Wait in order for room within what the provider said and what is configured. Raises: ProviderCrowded."""
        learned = self._learned.setdefault(_key(lane), Learned())
        if not lane.limits.some and learned.wait_s(tokens, monotonic=self._clock.monotonic()) == 0:
            learned.spend(tokens)
            return None
        line = self._lines.setdefault(lane.provider_id, _Line())
        deadline = self._clock.monotonic() + patience_s
        if not await self._my_turn(line, patience_s):
            raise _crowded(lane, patience_s)
        try:
            while True:
                line.moved.clear()
                wait_s, ticket = await self._try(lane, learned, tokens)
                if wait_s is None:
                    learned.spend(tokens)
                    return ticket
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0 or wait_s > max(left_s, _LOOK_S):
                    raise _crowded(lane, wait_s)
                await self._moved(line, min(wait_s, left_s, _LOOK_S))
        finally:
            line.turn.release()

    async def _my_turn(self, line: _Line, patience_s: float) -> bool:
        """Locks of asyncio are handed over in the order of asking."""
        try:
            async with asyncio.timeout(patience_s):
                await line.turn.acquire()
        except TimeoutError:
            return False
        return True

    async def _moved(self, line: _Line, at_most_s: float) -> None:
        waiting = asyncio.create_task(line.moved.wait())
        sleeping = asyncio.create_task(self._clock.sleep(at_most_s))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()

    async def _try(self, lane: Lane, learned: Learned, tokens: int) -> tuple[float | None, UUID | None]:
        """Seconds to wait, or None and the ticket if limits are configured."""
        wait_s = learned.wait_s(tokens, monotonic=self._clock.monotonic())
        if wait_s > 0:
            return wait_s, None
        if not lane.limits.some:
            return None, None
        lifetime_s = self._call_timeout_s + _TICKET_SPARE_S
        found = await self._quietly(lane, partial(limits.take, lane=lane, tokens=tokens, lifetime_s=lifetime_s))
        return (found, None) if isinstance(found, float) else (None, found)

    async def _quietly(self, lane: Lane, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        """One transaction as the lane's organization; a database that is away is no reason not to call a provider."""
        principal = Principal("worker", NIL, lane.organization_id, frozenset({"*"}), name="gate")
        try:
            async with asyncio.timeout(_ANSWER_S), begin(self._store, principal) as tx:
                return await work(tx)
        except _AWAY as error:
            log.warning("gate.not_kept", model=str(lane), error=repr(error))
            return None


def credential_print(provider_id: UUID, api_key: str) -> str:
    """Tells one key of a provider from the next: 32 bits, too few to find the key by."""
    return hashlib.sha256(f"{provider_id}/{api_key}".encode()).hexdigest()[:8]


def _crowded(lane: Lane, wait_s: float) -> ProviderCrowded:
    return ProviderCrowded(
        f"The limits of {lane} leave no room for another call in time. Raise the provider's limits, or wait.",
        provider=lane.provider, model=lane.model, retry_after_s=float(max(wait_s, _LOOK_S)),
    )  # fmt: skip


def _key(lane: Lane) -> Key:
    return (lane.provider_id, lane.model, lane.credential)

"""The gate that workers share: two of them on one database, real HTTP to a provider that fails when it is told to."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.models import ModelRequestParameters

from engine.providers.doubles import MeterBooks, StillClock, credentials, price
from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.models import breakers, limits
from shopfloor.domain.models.gate import SharedGate, credential_print
from shopfloor.domain.models.health import providers_answer
from shopfloor.domain.models.providers import NewProvider, ProviderChange, add_provider, change_provider, find_provider
from shopfloor.engine.providers.attempts import CallPolicy
from shopfloor.engine.providers.breaker import BreakerPolicy
from shopfloor.engine.providers.chain import Candidate, ChainModel
from shopfloor.engine.providers.gate import Ended, Lane, ProviderCrowded, ProviderResting
from shopfloor.engine.providers.limits import CallLimits
from shopfloor.engine.providers.port import ModelRef, ProviderError, ProviderOverloaded, ProviderRefused
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.health import Degraded
from shopfloor.testing.mock_provider import parse, serve

POLICY = BreakerPolicy(least_calls=3, open_s=0.2, open_longest_s=0.2)
LONG = BreakerPolicy(least_calls=3, open_s=600, open_longest_s=600)
FAILED = Ended(error=ProviderError("broken", http_status=500))
ANSWERED = Ended(answered=True)
DOWN = 'prices: {"*": {input: "3", output: "15"}}\notherwise: {text: x, faults: [{status: 529, times: always}]}'
UP = 'prices: {"*": {input: "3", output: "15"}}\notherwise: {text: fine}'

LaneOf = Callable[..., Any]


@pytest.fixture
async def lane_of(store: Store, owner: Principal, sealer: MasterKeySealer) -> LaneOf:
    """A provider of this name, and the lane of its model."""

    async def make(name: str = "mock", base_url: str = "http://127.0.0.1:9/v1", **most: int) -> Lane:
        async with begin(store, owner) as tx:
            made = await add_provider(tx, sealer, NewProvider(name, "mock", "sk-mock-fake", base_url))
        print_ = credential_print(made.id, "sk-mock-fake")
        return Lane(owner.organization_id, made.id, name, "small", print_, CallLimits(**most))

    return make


@pytest.fixture
def gates(store: Store) -> Callable[..., list[SharedGate]]:
    """So many workers' gates on one database, each hearing every wake-up."""
    made: list[SharedGate] = []

    def make(count: int = 1, policy: BreakerPolicy = POLICY, **options: Any) -> list[SharedGate]:
        for n in range(count):
            options = {"clock": SystemClock(), **options}
            made.append(SharedGate(store, chance=random.Random(n), policy=policy, **options))
        return made

    def tell(key: str) -> None:
        for gate in made:
            gate.woken(key)

    store.services.wake = tell
    return make


async def call(gate: SharedGate, lane: Lane, ended: Ended, *, tokens: int = 10, patience_s: float = 1.0) -> Any:
    return await gate.leave(await gate.enter(lane, tokens=tokens, patience_s=patience_s), ended)


async def test_what_one_worker_sees_fail_another_leaves_alone(gates: Any, lane_of: LaneOf):
    one, other = gates(2, LONG)
    lane = await lane_of()
    assert [await call(one, lane, FAILED) for _ in range(2)] == [None, None]
    await call(other, lane, ANSWERED)  # the control: closed, it goes through
    assert await call(one, lane, FAILED) == "opened"
    with pytest.raises(ProviderResting, match="too many of its last calls failed") as caught:
        await call(other, lane, ANSWERED)
    assert 200 < float(str(caught.value.facts["retry_after_s"])) <= 600
    assert caught.value.retryable


async def test_another_model_key_or_organization_is_not_touched(gates: Any, lane_of: LaneOf):
    [gate] = gates(1, LONG)
    lane = await lane_of()
    for _ in range(3):
        await call(gate, lane, FAILED)
    for other in ({"model": "large"}, {"credential": "ffffffff"}):
        await call(gate, Lane(**{**_fields(lane), **other}), ANSWERED)
    with pytest.raises(ProviderResting):
        await call(gate, lane, ANSWERED)


async def test_of_many_workers_one_call_tries_a_half_open_provider(gates: Any, lane_of: LaneOf):
    workers = gates(4)
    lane = await lane_of()
    for _ in range(3):
        await call(workers[0], lane, FAILED)
    await asyncio.sleep(POLICY.open_s)
    asked = [gate.enter(lane, tokens=1, patience_s=1) for gate in workers for _ in range(5)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    passes = [each for each in found if not isinstance(each, BaseException)]
    assert [each.probe for each in passes] == [True]
    assert {type(each) for each in found} == {ProviderResting, type(passes[0])}
    assert await workers[0].leave(passes[0], ANSWERED) == "closed"
    await asyncio.gather(*(call(gate, lane, ANSWERED) for gate in workers))


async def test_a_failed_probe_opens_it_again_and_a_broken_off_one_is_given_back(gates: Any, lane_of: LaneOf):
    [gate] = gates(1)
    lane = await lane_of()
    for _ in range(3):
        await call(gate, lane, FAILED)
    await asyncio.sleep(POLICY.open_s)
    assert await call(gate, lane, Ended()) is None  # cancelled before it was answered
    assert await call(gate, lane, FAILED) == "opened"
    await asyncio.sleep(POLICY.open_s)
    refused = Ended(error=ProviderRefused("401", reason="key", http_status=401))
    assert await call(gate, lane, refused) == "closed"  # a refusal is an answer


async def test_refusals_of_our_requests_never_open_it(gates: Any, lane_of: LaneOf, store: Store, owner: Principal):
    [gate] = gates(1, LONG)
    lane = await lane_of()
    for _ in range(10):
        await call(gate, lane, Ended(error=ProviderRefused("400", reason="request", http_status=400)))
        await call(gate, lane, Ended())
    async with begin(store, owner) as tx:
        [row] = await breakers.of_provider(tx, lane.provider_id)
    assert (row.failures, row.open_until) == (0, None)


async def test_an_open_breaker_asks_the_database_nothing(gates: Any, lane_of: LaneOf, store: Store):
    [gate] = gates(1, LONG)
    lane = await lane_of()
    for _ in range(3):
        await call(gate, lane, FAILED)
    with pytest.raises(ProviderResting):
        await call(gate, lane, ANSWERED)  # reads what has changed
    before = store.database.app.get_stats().get("requests_num", 0)
    system_before = store.database.system.get_stats().get("requests_num", 0)
    started = time.process_time()
    for _ in range(200):
        with pytest.raises(ProviderResting):
            await gate.enter(lane, tokens=1, patience_s=1)
    assert (time.process_time() - started) / 200 < 0.001
    assert store.database.app.get_stats().get("requests_num", 0) == before
    assert store.database.system.get_stats().get("requests_num", 0) == system_before


async def test_a_new_key_forgets_what_was_known_of_the_old_one(
    gates: Any, lane_of: LaneOf, store: Store, owner: Principal, sealer: MasterKeySealer
):
    [gate] = gates(1, LONG)
    lane = await lane_of()
    for _ in range(3):
        await call(gate, lane, FAILED)
    async with begin(store, owner) as tx:
        provider = await find_provider(tx, lane.provider_id)
        await change_provider(tx, sealer, provider, ProviderChange(frozenset({"api_key"}), "sk-mock-new"))
        assert await breakers.of_provider(tx, lane.provider_id) == []
    await call(gate, lane, ANSWERED)


async def test_health_says_that_something_is_left_alone_but_not_whose(gates: Any, lane_of: LaneOf, store: Store):
    [gate] = gates(1, LONG)
    lane = await lane_of("named-provider")
    assert await providers_answer(store) == ""
    for _ in range(3):
        await call(gate, lane, FAILED)
    with pytest.raises(Degraded, match=r"1 model\(s\)") as caught:
        await providers_answer(store)
    assert "named-provider" not in str(caught.value)


async def test_a_removed_provider_has_no_breaker_and_harms_nobody(gates: Any, lane_of: LaneOf):
    [gate] = gates(1, LONG)
    lane = Lane(**{**_fields(await lane_of()), "provider_id": new_id()})
    for _ in range(4):
        assert await call(gate, lane, FAILED) is None


async def test_a_wait_that_the_provider_asked_for_keeps_the_breaker_open_that_long(gates: Any, lane_of: LaneOf):
    [gate] = gates(1)
    lane = await lane_of()
    limited = Ended(error=ProviderOverloaded("429", http_status=429, retry_after_s=90.0))
    first = [await gate.enter(lane, tokens=1, patience_s=1) for _ in range(3)]
    assert [await gate.leave(each, limited) for each in first] == [None, None, "opened"]
    with pytest.raises(ProviderResting) as caught:
        await call(gate, lane, ANSWERED)
    assert 80 < float(str(caught.value.facts["retry_after_s"])) <= 90


async def test_concurrency_holds_over_all_workers_and_waiting_is_in_order(gates: Any, lane_of: LaneOf):
    one, other = gates(2)
    lane = await lane_of(concurrency=2)
    held = [await one.enter(lane, tokens=1, patience_s=1), await other.enter(lane, tokens=1, patience_s=1)]
    order: list[int] = []

    async def wait(n: int) -> None:
        taken = await one.enter(lane, tokens=1, patience_s=30)
        order.append(n)
        await one.leave(taken, ANSWERED)

    waiters = []
    for n in range(3):
        waiters.append(asyncio.create_task(wait(n)))
        await asyncio.sleep(0)
    with pytest.raises(ProviderCrowded, match="leave no room"):
        await other.enter(lane, tokens=1, patience_s=0.05)
    assert order == []
    await other.leave(held[1], ANSWERED)
    await asyncio.gather(*waiters)
    assert order == [0, 1, 2]
    await one.leave(held[0], ANSWERED)


async def test_requests_and_tokens_of_a_minute_are_counted_over_all_workers(
    gates: Any, lane_of: LaneOf, store: Store, owner: Principal
):
    one, other = gates(2)
    lane = await lane_of(requests_per_minute=3, tokens_per_minute=1_000)
    await call(one, lane, Ended(answered=True, tokens=40), tokens=900)  # booked at what it really used
    await call(other, lane, Ended(answered=True), tokens=900)
    with pytest.raises(ProviderCrowded) as caught:
        await call(one, lane, ANSWERED, tokens=100, patience_s=0.05)
    assert 55 < float(str(caught.value.facts["retry_after_s"])) <= 60
    await call(one, lane, ANSWERED, tokens=50)
    with pytest.raises(ProviderCrowded):
        await call(other, lane, ANSWERED, tokens=1, patience_s=0.05)  # the fourth request
    async with begin(store, owner) as tx:
        found = await limits.used(tx, lane.provider_id)
    assert (found.in_flight, found.requests, found.tokens) == (0, 3, 990)


async def test_a_ticket_whose_worker_died_expires(gates: Any, lane_of: LaneOf, store: Store, owner: Principal):
    [gate] = gates(1)
    lane = await lane_of(concurrency=1)
    await gate.enter(lane, tokens=1, patience_s=1)
    with pytest.raises(ProviderCrowded):
        await gate.enter(lane, tokens=1, patience_s=0.05)
    async with begin(store, owner) as tx:
        await tx.execute("update provider_calls set expires_at = now() - interval '1 second'")
    await gate.enter(lane, tokens=1, patience_s=1)


async def test_what_a_provider_says_of_its_limits_is_waited_for(gates: Any, lane_of: LaneOf):
    clock = StillClock()
    [gate] = gates(1, clock=clock)
    lane = await lane_of()
    gate.hear(lane, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"})
    taken = await gate.enter(lane, tokens=1, patience_s=30)
    assert 2.0 <= taken.waited_s <= 3.0
    gate.hear(lane, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "10m0s"})
    with pytest.raises(ProviderCrowded) as caught:
        await gate.enter(lane, tokens=1, patience_s=30)
    assert float(str(caught.value.facts["retry_after_s"])) == pytest.approx(600, abs=2)


class Chained:
    """A chain of candidates through a gate, over real HTTP."""

    def __init__(self, gate: SharedGate, *candidates: Candidate, first: int = 0, attempts: int = 2) -> None:
        self.meter, self.events = MeterBooks(), []
        self.model = ChainModel(
            candidates, meter=self.meter, clock=StillClock(), rng=random.Random(1), gate=gate, first=first,
            policy=CallPolicy(attempts=attempts), on_event=self._say,
        )  # fmt: skip

    async def _say(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((kind, data))

    async def ask(self) -> ModelResponse:
        request = [ModelRequest.user_text_prompt("hello")]
        return await self.model.request(request, None, ModelRequestParameters())

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]


@pytest.fixture
async def chained() -> AsyncIterator[Callable[..., Chained]]:
    made: list[Chained] = []

    def make(*parts: Any, **options: Any) -> Chained:
        made.append(Chained(*parts, **options))
        return made[-1]

    yield make
    for each in made:
        await each.model.aclose()


def a_candidate(lane: Lane, url: str) -> Candidate:
    creds = credentials(url, name=lane.provider)
    return Candidate(ModelRef(lane.provider, lane.model), creds, price(), 200_000, 1_024, lane)


async def test_runs_after_the_first_go_past_an_open_breaker_to_the_next_model(
    gates: Any, lane_of: LaneOf, chained: Callable[..., Chained]
):
    [gate] = gates(1, LONG)
    async with serve(parse(DOWN)) as down, serve(parse(UP)) as up:
        chain = [a_candidate(await lane_of("first"), down.url), a_candidate(await lane_of("second"), up.url)]
        runs = [chained(gate, *chain) for _ in range(5)]
        for run in runs:
            assert (await run.ask()).text == "fine"
        assert down.bill().requests == LONG.least_calls
        assert up.bill().requests == 5
        assert down.bill().cost_nanos == 0
    assert runs[0].kinds == ["model.failed-over"]
    assert runs[2].kinds == ["model.breaker-opened", "model.failed-over"]
    assert runs[4].kinds == ["model.breaker-open", "model.failed-over"]
    assert runs[4].meter.endings == ["settled"]  # no money was held for a call that wasn't made


async def test_with_everything_left_alone_the_job_learns_what_to_wait_for(
    gates: Any, lane_of: LaneOf, chained: Callable[..., Chained]
):
    [gate] = gates(1, LONG)
    async with serve(parse(DOWN)) as down:
        chain = chained(gate, a_candidate(await lane_of("first"), down.url), attempts=5)
        with pytest.raises(ProviderResting) as caught:
            await chain.ask()
        assert down.bill().requests == LONG.least_calls  # the breaker ends the retries too
    assert caught.value.facts["models"] == ["first/small"]
    assert chain.kinds == ["model.retrying", "model.retrying", "model.breaker-opened", "model.retrying",
                           "model.breaker-open"]  # fmt: skip


async def test_a_job_that_goes_on_asks_the_model_that_answered_it_until_its_first_is_well(gates: Any, lane_of: LaneOf):
    [gate] = gates(1)
    first, second = await lane_of("first"), await lane_of("second")
    chain = [a_candidate(first, "http://127.0.0.1:9"), a_candidate(second, "http://127.0.0.1:9")]
    assert await gate.first_to_ask(chain, "second/small") == 0
    for _ in range(3):
        await call(gate, first, FAILED)
    assert await gate.first_to_ask(chain, "second/small") == 1
    assert await gate.first_to_ask(chain, None) == 0
    assert await gate.first_to_ask(chain, "gone/x") == 0
    await asyncio.sleep(POLICY.open_s)
    assert await gate.first_to_ask(chain, "second/small") == 1  # half-open is not well yet
    assert await call(gate, first, ANSWERED) == "closed"
    assert await gate.first_to_ask(chain, "second/small") == 0


async def test_headers_of_real_answers_reach_the_limits(gates: Any, lane_of: LaneOf, chained: Callable[..., Chained]):
    [gate] = gates(1, clock=StillClock())
    text = UP.replace("{text: fine}", "{text: fine, headers: {x-ratelimit-remaining-requests: '0', "
                      "x-ratelimit-reset-requests: 1h0m0s}}")  # fmt: skip
    async with serve(parse(text)) as server:
        chain = chained(gate, a_candidate(await lane_of(), server.url))
        await chain.ask()
        with pytest.raises(ProviderCrowded):
            await chain.ask()
        assert server.bill().requests == 1


def _fields(lane: Lane) -> dict[str, Any]:
    return {name: getattr(lane, name) for name in Lane.__dataclass_fields__}

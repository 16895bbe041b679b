"""One model for an agent, made of candidates in order: the sole owner of retries, fail-over and the hold of each call.

A request leaves only after its upper bound is held. Its hold is then settled (the reply came), released (the provider
certainly didn't bill it) or left unknown (it may have), whatever happens, also when the job is cancelled under it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, cast

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from shopfloor.base.clock import Clock
from shopfloor.base.errors import InvalidInput, ShopfloorError
from shopfloor.engine.providers.attempts import CallPolicy, asked_wait_s, verdict, wait_s
from shopfloor.engine.providers.catalogue import Connection, connect, preload
from shopfloor.engine.providers.errors import Failure, is_call_failure, translate
from shopfloor.engine.providers.gate import Ended, Gate, Lane, Pass, ProviderCrowded, ProviderResting
from shopfloor.engine.providers.http_client import Transport, overheard
from shopfloor.engine.providers.input_bound import InputBound
from shopfloor.engine.providers.port import (
    Attempt,
    CostLimitReached,
    Credentials,
    HoldId,
    Meter,
    ModelRef,
    Price,
    ProviderRefused,
    Usage,
)
from shopfloor.engine.providers.pricing import affordable_output, bound_nanos, cost_nanos
from shopfloor.engine.providers.usage import measure

_bookings: set[asyncio.Future[None]] = set()

OnEvent = Callable[[str, dict[str, Any]], Awaitable[None]]

METADATA_KEY = "shopfloor"  # of ModelResponse.metadata: the CallRecord as JSON
# Of an agent's settings these go through. Others could repeat a request behind the meter's back (`max_retries`), make
# it dearer than its hold (`service_tier`, an hour's cache) or send it elsewhere (`extra_headers`, `extra_body`).
_TAKEN = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop_sequences",
        "thinking",
        "parallel_tool_calls",
        "tool_choice",
        "presence_penalty",
        "frequency_penalty",
    }
)
_DEFAULT_OUTPUT = 16_384
_NO_WISH = 2**31
_SHORTEST_OUTPUT = 1_024  # tokens; a reply cut shorter than this is money for nothing
_PARK_S = 30.0  # when no provider said how long: the job asks again after so long
_WORTH_TELLING_S = 1.0  # a shorter wait for room within the limits is no line in the stream
_LAST_WORD_S = 1.0  # for the meter after a cancel: the job's own end waits 1.5 s at most


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that may answer."""

    ref: ModelRef
    credentials: Credentials
    price: Price
    context_tokens: int | None
    max_output_tokens: int
    lane: Lane | None = None  # for breakers and limits; None: it has none


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What one turn's reply took."""

    model: str  # provider/model that answered
    usage: Usage
    cost_nanos: int
    attempts: int  # requests that left, the answered one included
    latency_s: float  # of the answered one
    measured: bool = True  # False: no usage was reported, `cost_nanos` is the bound
    adds_up: bool = True  # False: the provider's numbers contradict each other; every class was counted


def default_max_output(context_tokens: int | None) -> int:
    """Output tokens to ask for at most when nobody says: room for a long edit, a quarter of the window at most.

    Servers that count it against the window (vLLM) refuse a larger one as soon as the conversation has grown.
    """
    return _DEFAULT_OUTPUT if context_tokens is None else max(1, min(_DEFAULT_OUTPUT, context_tokens // 4))


class ChainModel(WrapperModel):
    """A Pydantic AI model over `candidates`. Not for two runs at once: it keeps to the candidate that last answered.

    Raises from `request`: CostLimitReached, ContextTooLong, ModelUnknown, ProviderRefused, and when every candidate is
    down ProviderError or a subclass with `facts['retry_after_s']`, for which the caller parks the job.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        *,
        meter: Meter,
        clock: Clock,
        rng: random.Random,
        policy: CallPolicy | None = None,
        transport: Transport | None = None,
        on_event: OnEvent | None = None,
        gate: Gate | None = None,
        first: int = 0,
    ) -> None:
        """`first` is the candidate to ask first: the one that last answered a job that goes on."""
        if not candidates:
            raise InvalidInput("No model is named: a chain needs at least one candidate")
        self._candidates = tuple(candidates)
        self._meter = meter
        self._clock = clock
        self._rng = rng
        self._policy = policy or CallPolicy()
        self._transport = transport
        self._on_event = on_event
        self._connections: dict[int, Connection] = {}
        self._input_bound = InputBound()
        self._gate = gate
        self._at = first
        self._told: set[int] = set()  # candidates whose open breaker is in the stream already
        self._number = 0
        self.last_call: CallRecord | None = None
        super().__init__(self._connect(first))

    @classmethod
    async def open(cls, candidates: Sequence[Candidate], **options: Any) -> ChainModel:
        """The same as the constructor, with the SDKs imported in a thread first."""
        await preload({candidate.credentials.kind for candidate in candidates})
        return cls(candidates, **options)

    async def aclose(self) -> None:
        """Close every connection that was opened."""
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            await connection.close()

    @property
    def candidate(self) -> Candidate:
        """The one that the next request goes to first."""
        return self._candidates[self._at]

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """One reply, from the first candidate that gives one."""
        self._number = 0
        request = _Request(messages, model_settings, model_request_parameters)
        order = [(self._at + step) % len(self._candidates) for step in range(len(self._candidates))]
        failed: list[tuple[int, ShopfloorError]] = []
        for place, index in enumerate(order):
            if failed and not self._may_fail_over(*failed[-1], index):
                continue
            # The next call doesn't wait for the line that tells of it.
            telling = self._telling_of_fail_over(*failed[-1], index) if failed else None
            try:
                answer = await self._ask(index, request, fallback=self._may_answer(order[place + 1 :]))
            finally:
                if telling is not None:
                    await _to_the_end(telling)
            if isinstance(answer, ModelResponse):
                return answer
            failed.append((index, answer))
        raise _all_down([(self._candidates[index].ref, error) for index, error in failed])

    def _may_answer(self, indexes: Sequence[int]) -> bool:
        """Whether one of these is there that isn't left alone just now."""
        return any(self._rests_s(self._candidates[index]) == 0 for index in indexes)

    def _rests_s(self, candidate: Candidate) -> float:
        return self._gate.rests_s(candidate.lane) if self._gate and candidate.lane else 0.0

    async def _ask(self, index: int, request: _Request, *, fallback: bool) -> ModelResponse | ShopfloorError:
        """The candidate's reply after as many attempts as the policy gives it, or why to go to the next."""
        candidate, attempt = self._candidates[index], 0
        while True:
            attempt += 1
            answer = await self._through_gate(index, request, fallback=fallback)
            if isinstance(answer, ModelResponse):
                self._keep_to(index)
                return answer
            match verdict(answer, attempt, self._policy, fallback=fallback):
                case "raise":
                    raise answer
                case "fail-over":
                    return answer
                case "retry":
                    delay_s = wait_s(answer, attempt, self._policy, self._rng)
                    await self._tell(
                        "model.retrying",
                        {"model": str(candidate.ref), "attempt": attempt, "wait_s": round(delay_s, 3)} | _why(answer),
                    )
                    await self._clock.sleep(delay_s)

    async def _through_gate(self, index: int, request: _Request, *, fallback: bool) -> ModelResponse | ShopfloorError:
        """One attempt, if breaker and limits let it through; they learn how it went, also when it is broken off."""
        gate, candidate = self._gate, self._candidates[index]
        if gate is None or candidate.lane is None:
            return await self._attempt(index, request)
        policy = self._policy
        try:
            taken = await gate.enter(
                candidate.lane,
                tokens=self._input_tokens(candidate, request) + candidate.max_output_tokens,
                patience_s=policy.limit_wait_with_fallback_s if fallback else policy.limit_wait_s,
            )
        except (ProviderResting, ProviderCrowded) as error:
            await self._tell_of_refusal(index, error)
            return error
        self._told.discard(index)
        if taken.waited_s >= _WORTH_TELLING_S:
            await self._tell("model.limited", {"model": str(candidate.ref), "waited_s": round(taken.waited_s, 1)})
        ended = Ended()
        try:
            answer = await self._attempt(index, request)
            ended = _ended(answer)
        finally:
            change = await self._left(gate, taken, ended)
        if change is not None:
            why = {} if isinstance(answer, ModelResponse) else _why(answer)
            await self._tell(f"model.breaker-{change}", {"model": str(candidate.ref)} | why)
        return answer

    async def _tell_of_refusal(self, index: int, error: ShopfloorError) -> None:
        """Once until it may be called again: a line costs more than an open breaker may."""
        if index not in self._told:
            self._told.add(index)
            kind = "model.breaker-open" if isinstance(error, ProviderResting) else "model.limited"
            ref = str(self._candidates[index].ref)
            await self._tell(kind, {"model": ref, "wait_s": error.facts["retry_after_s"]} | _why(error))

    async def _left(self, gate: Gate, taken: Pass, ended: Ended) -> str | None:
        changes: list[str | None] = []

        async def leave() -> None:
            changes.append(await gate.leave(taken, ended))

        await _to_the_end(leave())
        return changes[0]

    async def _attempt(self, index: int, request: _Request) -> ModelResponse | ShopfloorError:
        """One request with its money."""
        candidate = self._candidates[index]
        model = self._connect(index)
        hold, attempt = await self._hold(candidate, request)
        started = self._clock.monotonic()
        try:
            response = await self._call(model, attempt.max_output_tokens, request)
        except BaseException as error:
            if not is_call_failure(error):  # a cancel above all: the request may have left
                await _to_the_end(self._meter.unknown(hold, f"the call was broken off: {type(error).__name__}"))
                raise
            failure = translate(error, candidate.credentials, candidate.ref.model, now=self._clock.now())
            await self._give_back(hold, failure)
            return failure.error
        latency_s = self._clock.monotonic() - started
        await self._book(hold, attempt, candidate, request, response, latency_s)
        return response

    async def _hold(self, candidate: Candidate, request: _Request) -> tuple[HoldId, Attempt]:
        """The bound, set aside. If the whole reply doesn't fit the money that is left, a shorter one may."""
        price, input_tokens = candidate.price, self._input_tokens(candidate, request)
        output_tokens = min((request.settings or {}).get("max_tokens", _NO_WISH), candidate.max_output_tokens)
        self._number += 1
        bound = bound_nanos(price, input_tokens, output_tokens)
        attempt = Attempt(candidate.ref, self._number, bound, output_tokens, price.id)
        try:
            return await self._meter.hold(attempt), attempt
        except CostLimitReached as error:
            left = error.facts.get("available_nanos")
            fits = affordable_output(price, input_tokens, left) if isinstance(left, int) else 0
            if not _SHORTEST_OUTPUT <= fits < output_tokens:
                raise
        shorter = Attempt(candidate.ref, self._number, bound_nanos(price, input_tokens, fits), fits, price.id)
        return await self._meter.hold(shorter), shorter

    async def _call(self, model: Model, max_output_tokens: int, request: _Request) -> ModelResponse:
        settings = _bounded(request.settings, max_output_tokens)
        prepared = model.prepare_messages(request.messages, request.parameters)
        try:
            async with asyncio.timeout(self._policy.timeout_s):
                return await model.request(prepared, settings, request.parameters)
        except TimeoutError as error:
            raise TimeoutError(f"no whole answer within {self._policy.timeout_s:g} s") from error

    async def _book(
        self,
        hold: HoldId,
        attempt: Attempt,
        candidate: Candidate,
        request: _Request,
        response: ModelResponse,
        latency_s: float,
    ) -> None:
        measured = measure(response.usage)
        if measured is None:
            record = CallRecord(
                str(candidate.ref), Usage(), attempt.bound_nanos, self._number, latency_s, measured=False
            )
            await _to_the_end(self._meter.unknown(hold, "the reply carried no usage"))
        else:
            cost = cost_nanos(measured.usage, candidate.price)
            record = CallRecord(
                str(candidate.ref), measured.usage, cost, self._number, latency_s, adds_up=measured.adds_up
            )
            self._input_bound.learn(candidate.ref, request.messages, request.parameters, response.usage.input_tokens)
            await _to_the_end(self._meter.settle(hold, measured.usage, cost))
        self.last_call = record
        response.metadata = {**(response.metadata or {}), METADATA_KEY: asdict(record)}

    async def _give_back(self, hold: HoldId, failure: Failure) -> None:
        reason = f"{failure.error.code()}: {failure.error.detail}"
        if failure.may_be_billed:
            await _to_the_end(self._meter.unknown(hold, reason))
        else:
            await _to_the_end(self._meter.release(hold, reason))

    def _may_fail_over(self, old: int, error: ShopfloorError, new: int) -> bool:
        """Not to the same key if it was refused: it would be again."""
        was, now = self._candidates[old], self._candidates[new]
        return not (isinstance(error, ProviderRefused) and was.credentials.name == now.credentials.name)

    def _telling_of_fail_over(self, old: int, error: ShopfloorError, new: int) -> asyncio.Task[None]:
        was, now = self._candidates[old], self._candidates[new]
        told = {"from": str(was.ref), "to": str(now.ref)} | _why(error)
        return asyncio.create_task(self._tell("model.failed-over", told))

    def _input_tokens(self, candidate: Candidate, request: _Request) -> int:
        return self._input_bound.tokens(candidate.ref, request.messages, request.parameters, candidate.context_tokens)

    def _connect(self, index: int) -> Model:
        if index not in self._connections:
            candidate = self._candidates[index]
            gate, lane, transport = self._gate, candidate.lane, self._transport
            if gate is not None and lane is not None:
                transport = overheard(transport, lambda headers: gate.hear(lane, headers))
            self._connections[index] = connect(
                candidate.credentials, candidate.ref.model, timeout_s=self._policy.timeout_s, transport=transport
            )
        return self._connections[index].model

    def _keep_to(self, index: int) -> None:
        self._at = index
        self.wrapped = self._connect(index)

    async def _tell(self, kind: str, data: dict[str, Any]) -> None:
        if self._on_event is not None:
            await self._on_event(kind, data)

    # What an agent asks its model before a request: each candidate prepares the request itself, in `_call`.

    def prepare_request(
        self, model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> tuple[ModelSettings | None, ModelRequestParameters]:
        """As it came."""
        return model_settings, model_request_parameters

    def prepare_messages(
        self, messages: list[ModelMessage], model_request_parameters: ModelRequestParameters | None = None
    ) -> list[ModelMessage]:
        """As they came."""
        _ = model_request_parameters
        return messages

    async def __aenter__(self) -> Self:
        """An agent enters its model around each run; connections outlive that until `aclose`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `aclose`."""


@dataclass(frozen=True, slots=True)
class _Request:
    messages: list[ModelMessage]
    settings: ModelSettings | None
    parameters: ModelRequestParameters


async def _to_the_end(booking: Awaitable[None]) -> None:
    """Finish a booking though the job is cancelled meanwhile: money is not left hanging. Then the cancel goes on."""
    task = asyncio.ensure_future(booking)
    _bookings.add(task)  # the event loop alone would let it be collected
    task.add_done_callback(_bookings.discard)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_LAST_WORD_S)
        raise


def _bounded(settings: ModelSettings | None, max_output_tokens: int) -> ModelSettings:
    """The settings that leave the number and price of requests alone, with `max_tokens`: nothing else bounds a bill."""
    taken = {name: value for name, value in (settings or {}).items() if name in _TAKEN}
    return cast("ModelSettings", {**taken, "max_tokens": max_output_tokens})


def _ended(answer: ModelResponse | ShopfloorError) -> Ended:
    if not isinstance(answer, ModelResponse):
        return Ended(error=answer)
    tokens = answer.usage.input_tokens + answer.usage.output_tokens
    return Ended(answered=True, tokens=tokens or None)


def _all_down(failed: list[tuple[ModelRef, ShopfloorError]]) -> ShopfloorError:
    """The error that lets the job wait, if one of the candidates may come back: which, and the shortest wait asked for.

    `facts['models']` are those that may: the job goes on when one of them can be called again.
    """
    passing = [(ref, error) for ref, error in failed if error.retryable]
    if not passing:
        return failed[-1][1]
    waits = [wait for _, error in passing if (wait := asked_wait_s(error)) is not None]
    last = passing[-1][1]
    facts: dict[str, Any] = {
        **last.facts, "retry_after_s": min(waits, default=_PARK_S), "models": [str(ref) for ref, _ in passing]
    }  # fmt: skip
    if len(failed) > 1:
        facts["candidates"] = [_why(error) for _, error in failed]
    return type(last)(last.detail, **facts)


def _why(error: ShopfloorError) -> dict[str, Any]:
    return {"error": error.code(), "detail": error.detail}

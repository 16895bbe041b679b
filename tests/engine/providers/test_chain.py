"""The chain over real HTTP: official clients against the mock provider, which keeps books of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from engine.providers.doubles import (
    Answer,
    Asked,
    Chain,
    candidate,
    credentials,
    json_answer,
    scenario,
    wire,
)
from shopfloor.base.errors import InvalidInput, ShopfloorError
from shopfloor.engine.providers.attempts import CallPolicy
from shopfloor.engine.providers.chain import CallRecord, ChainModel, default_max_output
from shopfloor.engine.providers.port import (
    ContextTooLong,
    CostLimitReached,
    ModelUnknown,
    ProviderError,
    ProviderOverloaded,
    ProviderRefused,
    ProviderTimeout,
    Usage,
)
from shopfloor.testing.mock_provider import Scenario, Server, serve

ChainOf = Callable[..., Chain]
MODELS = ["mock-coder", "claude-mock"]  # OpenAI's wire, Anthropic's wire
OK = "replies: [{text: fine, usage: {input: 100, cache_read: 50, output: 7}}]"
COST = 100 * 3_000 + 50 * 300 + 7 * 15_000


def with_faults(*faults: str) -> Scenario:
    listed = ", ".join(f"{{{fault}}}" for fault in faults)
    return scenario(f"replies: [{{text: fine, usage: {{input: 100, cache_read: 50, output: 7}}, faults: [{listed}]}}]")


async def ask(model: ChainModel, text: str = "hello", settings: ModelSettings | None = None) -> ModelResponse:
    return await model.request([ModelRequest.user_text_prompt(text)], settings, ModelRequestParameters())


@pytest.mark.parametrize("model", MODELS)
async def test_a_reply_is_settled_at_what_the_provider_bills(chain_of: ChainOf, model: str):
    async with serve(scenario(OK)) as server:
        chain = chain_of(candidate(credentials(server.url), model))
        reply = await ask(chain.model)
        assert reply.text == "fine"
        assert chain.meter.ended == {1: ("settled", COST)}
        assert server.bill().cost_nanos == COST
        assert chain.model.last_call == CallRecord(
            f"main/{model}", Usage(input_tokens=100, cache_read_tokens=50, output_tokens=7), COST, 1, 0
        )
        assert reply.metadata is not None
        assert reply.metadata["shopfloor"]["cost_nanos"] == COST


@pytest.mark.parametrize("model", MODELS)
async def test_it_carries_a_whole_agent_run_with_tools(chain_of: ChainOf, model: str):
    async with serve(
        scenario(
            "replies: [{tool_calls: [{name: add, arguments: {a: 2, b: 3}}]}, {text: 'sum: {{ last_tool_result }}'}]"
        )
    ) as server:
        chain = chain_of(candidate(credentials(server.url), model))
        agent = Agent(chain.model, instructions="You add.")

        @agent.tool_plain
        def add(a: int, b: int) -> int:
            return a + b

        result = await agent.run("what is 2 + 3?")
        assert result.output == "sum: 5"
        assert chain.meter.endings == ["settled", "settled"]
        assert chain.meter.spent_nanos == server.bill().cost_nanos


async def test_what_was_counted_once_is_not_bounded_by_its_bytes_again(chain_of: ChainOf):
    async with serve(scenario("otherwise: {text: ok}")) as server:
        chain = chain_of(candidate(credentials(server.url), max_output_tokens=16))
        agent = Agent(chain.model)
        first = await agent.run("word " * 20_000)
        await agent.run("and now?", message_history=first.all_messages())
        before, after = chain.meter.holds[1].bound_nanos, chain.meter.holds[2].bound_nanos
        assert after < before / 3
        settled = [ending[1] for ending in chain.meter.ended.values()]
        assert settled[0] <= before
        assert settled[1] <= after


async def test_a_429_is_waited_out_as_long_as_the_provider_asks(chain_of: ChainOf):
    async with serve(with_faults("kind: error, status: 429, retry_after_s: 5")) as server:
        chain = chain_of(candidate(credentials(server.url)))
        await ask(chain.model)
    assert chain.meter.endings == ["released", "settled"]
    assert len(chain.clock.slept) == 1
    assert 5.0 <= chain.clock.slept[0] <= 6.0
    kind, data = chain.events[0]
    assert (kind, data["error"], data["attempt"]) == ("model.retrying", "provider-overloaded", 1)


async def test_a_retry_after_given_as_a_date_is_read_against_the_clock(chain_of: ChainOf):
    answers = [
        json_answer({"error": {"message": "slow down"}}, status=429, retry_after="Mon, 23 Nov 2026 07:00:09 GMT"),
        json_answer(_completion("fine")),
    ]

    async def handler(_: Asked) -> Answer:
        return answers.pop(0)

    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url)))
        await ask(chain.model)
    assert 9.0 <= chain.clock.slept[0] <= 10.0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "error", "ending"),
    [
        ("kind: error, status: 500", "provider-error", "released"),
        ("kind: error, status: 529", "provider-overloaded", "released"),
        ("kind: error, status: 503", "provider-overloaded", "released"),
        ("kind: cut", "provider-error", "unknown"),
        ("kind: reset", "provider-error", "unknown"),
        ("kind: malformed", "provider-error", "unknown"),
    ],
)
async def test_a_passing_failure_is_tried_again_and_its_hold_ends_by_what_may_be_billed(
    chain_of: ChainOf, model: str, fault: str, error: str, ending: str
):
    async with serve(with_faults(fault)) as server:
        chain = chain_of(candidate(credentials(server.url), model))
        reply = await ask(chain.model)
    assert reply.text == "fine"
    assert [data["error"] for _, data in chain.events] == [error]
    assert chain.meter.endings == [ending, "settled"]
    assert chain.model.last_call is not None
    assert chain.model.last_call.attempts == 2


async def test_a_call_past_its_time_limit_may_have_been_billed(chain_of: ChainOf):
    async with serve(with_faults("kind: hang")) as server:
        chain = chain_of(candidate(credentials(server.url)), policy=CallPolicy(timeout_s=0.2, attempts=1))
        with pytest.raises(ProviderTimeout, match="did not answer in time"):
            await ask(chain.model)
    assert chain.meter.endings == ["unknown"]


async def test_an_address_where_nobody_listens_is_never_billed(chain_of: ChainOf):
    chain = chain_of(candidate(credentials("http://127.0.0.1:9")), policy=CallPolicy(attempts=2))
    with pytest.raises(ProviderError, match="connection to main/mock-coder failed") as caught:
        await ask(chain.model)
    assert chain.meter.endings == ["released", "released"]
    assert caught.value.facts["retry_after_s"] == 30.0


async def test_backoff_grows_with_full_jitter_and_attempts_are_bounded(chain_of: ChainOf):
    async with serve(with_faults("kind: error, status: 500, times: always")) as server:
        chain = chain_of(candidate(credentials(server.url)), policy=CallPolicy(attempts=4, backoff_base_s=1))
        with pytest.raises(ProviderError):
            await ask(chain.model)
        assert server.bill().requests == 4
    assert all(waited <= ceiling for waited, ceiling in zip(chain.clock.slept, [1, 2, 4], strict=True))


async def test_it_fails_over_and_stays_there(chain_of: ChainOf):
    async with (
        serve(with_faults("kind: error, status: 529, times: always")) as down,
        serve(scenario("otherwise: {text: fine}")) as up,
    ):
        chain = chain_of(
            candidate(credentials(down.url, name="first")),
            candidate(credentials(up.url, name="second"), "claude-mock"),
            policy=CallPolicy(attempts=2),
        )
        await ask(chain.model, "one")
        await ask(chain.model, "two")
        assert down.bill().requests == 1
        assert up.bill().requests == 2
    assert chain.clock.slept == []
    assert chain.model.candidate.ref.provider == "second"
    assert [kind for kind, _ in chain.events] == ["model.failed-over"]
    assert chain.events[0][1]["from"] == "first/mock-coder"
    assert chain.events[0][1]["to"] == "second/claude-mock"


async def test_a_wait_longer_than_the_policy_goes_to_the_next_at_once(chain_of: ChainOf):
    async with serve(with_faults("kind: error, status: 429, retry_after_s: 3600")) as busy, serve(scenario(OK)) as free:
        chain = chain_of(candidate(credentials(busy.url)), candidate(credentials(free.url, name="other")))
        await ask(chain.model)
        assert busy.bill().requests == 1
    assert chain.clock.slept == []


async def test_when_all_are_down_the_shortest_wait_is_handed_up(chain_of: ChainOf):
    def busy(seconds: int) -> Scenario:
        return with_faults(f"kind: error, status: 429, retry_after_s: {seconds}, times: always")

    async with serve(busy(900)) as one, serve(busy(300)) as two:
        chain = chain_of(candidate(credentials(one.url)), candidate(credentials(two.url, name="other")))
        with pytest.raises(ProviderOverloaded) as caught:
            await ask(chain.model)
    assert caught.value.retryable
    assert caught.value.facts["retry_after_s"] == 300
    assert len(caught.value.facts["candidates"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("model", MODELS)
async def test_a_wrong_key_is_refused_at_once_and_never_shown(chain_of: ChainOf, model: str):
    async with serve(scenario(OK)) as server:
        chain = chain_of(candidate(credentials(server.url, api_key="sk-wrong-fake-1234567"), model))
        with pytest.raises(ProviderRefused, match="refuses its key") as caught:
            await ask(chain.model)
        assert server.bill().requests == 0
    assert caught.value.facts["reason"] == "key"
    assert "sk-wrong-fake-1234567" not in str(caught.value.as_dict())
    assert chain.meter.endings == ["released"]


async def test_a_server_that_echoes_the_key_does_not_get_it_into_our_error(chain_of: ChainOf):
    async def handler(asked: Asked) -> Answer:
        return json_answer({"error": {"message": f"bad {asked.headers['authorization']}\nnext"}}, status=401)

    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url, api_key="sk-secret-fake-1")))
        with pytest.raises(ProviderRefused) as caught:
            await ask(chain.model)
    assert caught.value.facts["says"] == "401 bad Bearer [key] next"


async def test_a_refused_key_fails_over_only_to_other_credentials(chain_of: ChainOf):
    async with serve(scenario(OK)) as server:
        wrong = credentials(server.url, api_key="sk-wrong-fake")
        chain = chain_of(
            candidate(wrong), candidate(wrong, "claude-mock"), candidate(credentials(server.url, name="b"))
        )
        await ask(chain.model)
        assert server.bill().requests == 1
    assert [data["to"] for _, data in chain.events] == ["b/mock-coder"]
    assert chain.meter.endings == ["released", "settled"]


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("mock-coder", "kind: error, status: 429, type: insufficient_quota"),
        ("mock-coder", "kind: error, status: 402"),
        ("claude-mock", "kind: error, status: 402, type: billing_error"),
    ],
)
async def test_out_of_money_says_so_and_is_not_tried_again(chain_of: ChainOf, model: str, fault: str):
    async with serve(with_faults(fault)) as server:
        chain = chain_of(candidate(credentials(server.url), model))
        with pytest.raises(ProviderRefused, match=r"out of money or quota.*Add credit") as caught:
            await ask(chain.model)
        assert server.bill().requests == 1
    assert caught.value.facts["reason"] == "money"
    assert not caught.value.retryable


async def test_an_unknown_model_is_named(chain_of: ChainOf):
    only = Scenario.model_validate(
        {"prices": {"known": {"input": 1, "output": 1}}, "otherwise": {"text": "x"}, "name": "one"}
    )
    async with serve(only) as server:
        chain = chain_of(candidate(credentials(server.url), "unheard-of"))
        with pytest.raises(ModelUnknown, match="does not offer 'unheard-of'"):
            await ask(chain.model)


async def test_a_conversation_that_is_too_long_goes_up_to_the_loop(chain_of: ChainOf):
    body = {"error": {"message": "too many tokens", "code": "context_length_exceeded", "type": "invalid_request_error"}}

    async def handler(_: Asked) -> Answer:
        return json_answer(body, status=400)

    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url)), candidate(credentials(server.url, name="other")))
        with pytest.raises(ContextTooLong):
            await ask(chain.model)
        assert len(server.asked) == 1
    assert chain.meter.endings == ["released"]


async def test_a_rejected_request_is_not_sent_elsewhere(chain_of: ChainOf):
    async with serve(with_faults("kind: error, status: 400")) as server:
        chain = chain_of(candidate(credentials(server.url)), candidate(credentials(server.url, name="other")))
        with pytest.raises(ProviderRefused, match="rejects the request as it stands") as caught:
            await ask(chain.model)
        assert server.bill().requests == 1
    assert caught.value.facts["reason"] == "request"


async def test_malformed_tool_arguments_go_through_to_the_loop(chain_of: ChainOf):
    """Only OpenAI's wire can carry them: Anthropic's sends arguments as an object."""
    async with serve(scenario("""replies: [{tool_calls: [{name: add, arguments: '{"a": '}]}]""")) as server:
        chain = chain_of(candidate(credentials(server.url)))
        reply = await ask(chain.model)
    assert [call.args for call in reply.tool_calls] == ['{"a": ']
    assert chain.meter.endings == ["settled"]


async def test_a_reply_without_usage_is_booked_at_its_bound(chain_of: ChainOf):
    async def handler(_: Asked) -> Answer:
        return json_answer(_completion("fine", usage=None))

    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url)))
        await ask(chain.model)
    record = chain.model.last_call
    assert record is not None
    assert (record.measured, record.cost_nanos) == (False, chain.meter.holds[1].bound_nanos)
    assert chain.meter.endings == ["unknown"]


async def test_a_cancel_in_a_hanging_call_is_quick_and_leaves_the_hold_unknown(chain_of: ChainOf):
    async with serve(with_faults("kind: hang, hang_ms: 60000")) as server:
        chain = chain_of(candidate(credentials(server.url)))
        call = asyncio.create_task(ask(chain.model))
        await until_asked(server)
        started = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert time.monotonic() - started < 1.5
    assert chain.meter.endings == ["unknown"]


async def test_a_cancel_while_waiting_for_the_next_attempt_leaves_no_hold_open(chain_of: ChainOf):
    async with serve(with_faults("kind: error, status: 500, times: always")) as server:
        chain = chain_of(candidate(credentials(server.url)))
        asleep = asyncio.Event()

        async def sleep_for_ever(_: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        chain.clock.sleep = sleep_for_ever  # type: ignore[method-assign]
        call = asyncio.create_task(ask(chain.model))
        await asleep.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert chain.meter.endings == ["released"]


async def test_a_second_cancel_does_not_lose_the_booking(chain_of: ChainOf):
    async with serve(with_faults("kind: hang, hang_ms: 60000")) as server:
        chain = chain_of(candidate(credentials(server.url)))
        booking, go_on = asyncio.Event(), asyncio.Event()
        written = chain.meter.unknown

        async def slow(hold: object, reason: str) -> None:
            booking.set()
            await go_on.wait()
            await written(hold, reason)

        chain.meter.unknown = slow  # type: ignore[method-assign]
        call = asyncio.create_task(ask(chain.model))
        await until_asked(server)
        call.cancel()
        await booking.wait()
        call.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert chain.meter.endings == ["unknown"]


async def test_nothing_leaves_when_the_money_is_spent(chain_of: ChainOf):
    async with serve(scenario(OK)) as server:
        chain = chain_of(candidate(credentials(server.url)), limit_nanos=1_000)
        with pytest.raises(CostLimitReached):
            await ask(chain.model)
        assert server.bill().requests == 0
    assert chain.meter.holds == {}


async def test_a_shorter_reply_is_asked_for_when_only_that_can_be_paid(chain_of: ChainOf):
    async def handler(_: Asked) -> Answer:
        return json_answer(_completion("fine"))

    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url), max_output_tokens=16_384), limit_nanos=60_000_000)
        await ask(chain.model)
        sent = server.asked[0].body["max_completion_tokens"]
    assert 1_024 <= sent < 16_384
    assert chain.meter.holds[1].max_output_tokens == sent
    assert chain.meter.holds[1].bound_nanos <= 60_000_000


async def test_settings_that_would_change_the_price_or_number_of_requests_are_not_sent(chain_of: ChainOf):
    async def handler(_: Asked) -> Answer:
        return json_answer(_completion("fine"))

    settings = ModelSettings(
        max_tokens=100,
        temperature=0.5,
        service_tier="priority",
        max_retries=5,
        extra_body={"n": 4},
        extra_headers={"x": "y"},
    )
    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url)))
        await ask(chain.model, settings=settings)
        asked = server.asked[0]
    assert (asked.body["max_completion_tokens"], asked.body["temperature"]) == (100, 0.5)
    assert not {"service_tier", "n"} & set(asked.body)
    assert "x" not in asked.headers
    assert asked.headers["user-agent"].startswith("shopfloor/")
    assert chain.meter.holds[1].max_output_tokens == 100


async def test_max_tokens_is_always_sent(chain_of: ChainOf):
    async def handler(_: Asked) -> Answer:
        return json_answer(_completion("fine"))

    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url, kind="openai-compatible"), max_output_tokens=321))
        await ask(chain.model)
    assert server.asked[0].body["max_tokens"] == 321


async def test_a_redirect_is_not_followed(chain_of: ChainOf):
    async def handler(asked: Asked) -> Answer:
        return 307, {"location": f"http://127.0.0.1:9{asked.path}"}, b"{}"

    async with wire(handler) as server:
        chain = chain_of(candidate(credentials(server.url)), policy=CallPolicy(attempts=1))
        with pytest.raises(ShopfloorError):
            await ask(chain.model)
        assert len(server.asked) == 1


def test_a_chain_needs_a_candidate(chain_of: ChainOf):
    with pytest.raises(InvalidInput, match="at least one candidate"):
        chain_of()


@pytest.mark.parametrize(("window", "output"), [(None, 16_384), (8_192, 2_048), (1_000_000, 16_384), (2, 1)])
def test_the_output_limit_leaves_room_in_the_window(window: int | None, output: int):
    assert default_max_output(window) == output


async def until_asked(server: Server) -> None:
    async with asyncio.timeout(10):
        while not server.bill().requests:  # noqa: ASYNC110 - the books of the server have no event to wait for
            await asyncio.sleep(0.01)


USED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def _completion(text: str, usage: dict[str, int] | None = USED) -> dict[str, object]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}

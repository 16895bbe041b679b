from __future__ import annotations

import json

import openai
import pytest

CALL = {"name": "grep", "arguments": {"pattern": "round\\(", "path": "größe.py"}}
USAGE = {"input": 100, "cache_read": 2_000, "output": 30, "reasoning": 12}


async def test_a_text_reply_has_its_text_finish_and_usage(serving, ask_openai):
    async with serving(replies=[{"text": "Grüße", "usage": USAGE}]) as served:
        reply = await ask_openai(served)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("Grüße", "stop")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (2_100, 42, 2_142)
    assert reply.usage.prompt_tokens_details.cached_tokens == 2_000
    assert reply.usage.completion_tokens_details.reasoning_tokens == 12


async def test_tool_calls_come_as_json_text(serving, ask_openai):
    async with serving(replies=[{"tool_calls": [CALL, {"name": "git_diff"}]}]) as served:
        reply = await ask_openai(served)
    calls = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.content is None
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("grep", CALL["arguments"]),
        ("git_diff", {}),
    ]
    assert len({call.id for call in calls}) == 2


async def test_a_stream_adds_up_to_the_same_reply(serving):
    said = "A text long enough for several pieces, größer als eines."
    async with serving(replies=[{"text": said, "tool_calls": [CALL], "usage": USAGE, "chunk_chars": 5}]) as served:
        messages = [{"role": "user", "content": "hello"}]
        whole = await served.openai.chat.completions.create(model="mock", messages=messages)
        async with served.openai.chat.completions.stream(
            model="mock", messages=messages, stream_options={"include_usage": True}
        ) as stream:
            streamed = await stream.get_final_completion()
    left, right = whole.choices[0].message, streamed.choices[0].message
    assert right.content == left.content == said
    assert [(call.id, call.function.name, call.function.arguments) for call in right.tool_calls] == [
        (call.id, call.function.name, call.function.arguments) for call in left.tool_calls
    ]
    assert streamed.usage == whole.usage
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason


async def test_usage_is_streamed_only_when_asked_for_and_then_in_the_last_chunk_alone(serving, ask_openai):
    async with serving(replies=[{"text": "one two three", "usage": USAGE}]) as served:
        plain = [chunk async for chunk in await ask_openai(served, stream=True)]
        asked = [chunk async for chunk in await ask_openai(served, stream=True, stream_options={"include_usage": True})]
    assert all("usage" not in chunk.model_fields_set for chunk in plain)
    assert [chunk.usage is not None for chunk in asked] == [False] * (len(asked) - 1) + [True]
    assert asked[-1].choices == []


async def test_a_refusal_comes_in_its_own_field(serving, ask_openai):
    async with serving(replies=[{"text": "I won't do that.", "refusal": True}]) as served:
        reply = await ask_openai(served)
    assert (reply.choices[0].message.content, reply.choices[0].message.refusal) == (None, "I won't do that.")


async def test_a_text_over_max_tokens_is_cut_to_length(serving, ask_openai):
    async with serving(replies=[{"text": "x" * 100}]) as served:
        reply = await ask_openai(served, max_completion_tokens=5)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("x" * 20, "length")
    assert reply.usage.completion_tokens == 5


async def test_models_are_listed_and_found(serving):
    async with serving(replies=[{"text": "x"}]) as served:
        assert [model.id async for model in served.openai.models.list()] == ["mock"]
        assert (await served.openai.models.retrieve("mock")).id == "mock"
        with pytest.raises(openai.NotFoundError):
            await served.openai.models.retrieve("other")


async def test_an_unknown_model_is_not_found(serving):
    async with serving(replies=[{"text": "x"}]) as served:
        with pytest.raises(openai.NotFoundError) as caught:
            await served.openai.chat.completions.create(model="other", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("key", ["sk-real-key", "sk-mock", "sk-mock-"])
async def test_a_wrong_key_is_refused_and_not_billed(serving, ask_openai, key):
    async with serving(key, replies=[{"text": "x"}]) as served:
        with pytest.raises(openai.AuthenticationError) as caught:
            await ask_openai(served)
        assert served.server.bill().requests == 0
    assert caught.value.code == "invalid_api_key"


async def test_a_tool_result_without_its_call_is_refused_as_the_provider_does(serving):
    stray = [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "call_1", "content": "y"}]
    async with serving(replies=[{"text": "x"}]) as served:
        with pytest.raises(openai.BadRequestError, match="preceding message with 'tool_calls'"):
            await served.openai.chat.completions.create(model="mock", messages=stray)


async def test_an_unanswered_tool_call_is_refused_as_the_provider_does(serving):
    call = {"id": "call_1", "type": "function", "function": {"name": "grep", "arguments": "{}"}}
    unanswered = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "user", "content": "y"},
    ]
    async with serving(replies=[{"text": "x"}], otherwise={"text": "y"}) as served:
        with pytest.raises(openai.BadRequestError, match="call_1"):
            await served.openai.chat.completions.create(model="mock", messages=unanswered)
        answered = [*unanswered[:2], {"role": "tool", "tool_call_id": "call_1", "content": "found"}, unanswered[2]]
        reply = await served.openai.chat.completions.create(model="mock", messages=answered)
    assert reply.choices[0].message.content == "y"

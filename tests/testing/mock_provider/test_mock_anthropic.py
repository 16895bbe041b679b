from __future__ import annotations

import anthropic
import pytest

CALL = {"name": "grep", "arguments": {"pattern": "round\\(", "path": "größe.py"}}
USAGE = {
    "input": 10,
    "cache_read": 2_000,
    "cache_write_5m": 300,
    "cache_write_1h": 40,
    "output": 30,
    "reasoning": 12,
}


async def test_a_text_reply_has_its_text_stop_reason_and_usage(serving, ask_anthropic):
    async with serving(replies=[{"text": "Grüße", "usage": USAGE}]) as served:
        reply = await ask_anthropic(served)
    assert ([block.text for block in reply.content], reply.stop_reason) == (["Grüße"], "end_turn")
    used = reply.usage
    assert (used.input_tokens, used.cache_read_input_tokens, used.cache_creation_input_tokens) == (10, 2_000, 340)
    assert (used.cache_creation.ephemeral_5m_input_tokens, used.cache_creation.ephemeral_1h_input_tokens) == (300, 40)
    assert (used.output_tokens, used.output_tokens_details.thinking_tokens) == (42, 12)


async def test_tool_calls_come_as_blocks_after_the_text(serving, ask_anthropic):
    async with serving(replies=[{"text": "Looking.", "tool_calls": [CALL, {"name": "git_diff"}]}]) as served:
        reply = await ask_anthropic(served)
    assert reply.stop_reason == "tool_use"
    assert [(block.type, getattr(block, "input", None)) for block in reply.content] == [
        ("text", None),
        ("tool_use", CALL["arguments"]),
        ("tool_use", {}),
    ]


async def test_a_stream_adds_up_to_the_same_reply(serving, ask_anthropic):
    reply = {"text": "Grüße aus Köln", "thinking": "Hm.", "tool_calls": [CALL], "usage": USAGE, "chunk_chars": 4}
    thinking = {"type": "enabled", "budget_tokens": 1_024}
    async with serving(replies=[reply]) as served:
        whole = await ask_anthropic(served, thinking=thinking)
        async with served.anthropic.messages.stream(
            model="mock", max_tokens=500, messages=[{"role": "user", "content": "hello"}], thinking=thinking
        ) as stream:
            streamed = await stream.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use"]
    dumped = [block.model_dump(exclude={"parsed_output"}) for block in streamed.content]
    assert dumped == [block.model_dump() for block in whole.content]
    assert streamed.usage.model_dump() == whole.usage.model_dump()
    assert streamed.stop_reason == whole.stop_reason == "tool_use"


async def test_thinking_is_sent_only_when_it_is_switched_on(serving, ask_anthropic):
    async with serving(replies=[{"text": "x", "thinking": "Hm."}]) as served:
        reply = await ask_anthropic(served)
    assert [block.type for block in reply.content] == ["text"]


async def test_models_are_listed_in_this_dialect(serving):
    async with serving(replies=[{"text": "x"}]) as served:
        assert [model.id async for model in served.anthropic.models.list()] == ["mock"]
        assert (await served.anthropic.models.retrieve("mock")).display_name == "mock"


async def test_tokens_are_counted_like_they_are_billed(serving, ask_anthropic):
    async with serving(replies=[{"text": "x"}]) as served:
        counted = await served.anthropic.messages.count_tokens(
            model="mock", messages=[{"role": "user", "content": "hello you"}]
        )
        reply = await ask_anthropic(served, "hello you")
    assert counted.input_tokens == reply.usage.input_tokens == 3


async def test_a_wrong_key_is_refused_in_this_dialect(serving, ask_anthropic):
    async with serving("sk-other", replies=[{"text": "x"}]) as served:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await ask_anthropic(served)
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert caught.value.request_id == caught.value.body["request_id"]


async def test_a_tool_result_that_answers_nothing_is_refused_as_the_provider_does(serving):
    stray = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "y"}]}]
    async with serving(replies=[{"text": "x"}]) as served:
        with pytest.raises(anthropic.BadRequestError, match="toolu_1"):
            await served.anthropic.messages.create(model="mock", max_tokens=5, messages=stray)


async def test_an_unanswered_tool_use_is_refused_as_the_provider_does(serving):
    use = {"type": "tool_use", "id": "toolu_1", "name": "grep", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "found it"}]}
    asked = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [use]}]
    async with serving(otherwise={"text": "{{ last_tool_result }}"}) as served:
        with pytest.raises(anthropic.BadRequestError, match="without `tool_result` blocks"):
            await served.anthropic.messages.create(
                model="mock", max_tokens=50, messages=[*asked, {"role": "user", "content": "y"}]
            )
        reply = await served.anthropic.messages.create(
            model="mock", max_tokens=50, messages=[*asked, {"role": "user", "content": [result]}]
        )
    assert reply.content[0].text == "found it"

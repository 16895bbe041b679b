from __future__ import annotations

import asyncio
import json

import anthropic
import httpx2
import openai
import pytest


def reply_with(*faults: dict, **more) -> dict:
    return {"text": "a reply of several words", "chunk_chars": 4, "faults": list(faults), **more}


async def test_a_rate_limit_says_when_to_come_back_and_ends_after_its_times(serving, ask_openai):
    async with serving(replies=[reply_with({"status": 429, "retry_after_s": 1.5, "times": 2})]) as served:
        for _ in range(2):
            with pytest.raises(openai.RateLimitError) as caught:
                await ask_openai(served)
            assert caught.value.response.headers["retry-after"] == "1.5"
            assert caught.value.code == "rate_limit_exceeded"
        assert (await ask_openai(served)).choices[0].message.content == "a reply of several words"
        bill = served.server.bill()
    assert [(entry.status, entry.billed) for entry in bill.entries] == [(429, False), (429, False), (200, True)]


async def test_faults_are_counted_for_each_conversation_apart(serving, ask_openai):
    async with serving(replies=[reply_with({"status": 500})]) as served:
        for task in ("one", "two"):
            with pytest.raises(openai.InternalServerError):
                await ask_openai(served, task)
            assert await ask_openai(served, task)


async def test_a_marker_tells_equal_tasks_apart(serving, ask_openai):
    async with serving(replies=[reply_with({"status": 500})]) as served:
        for marker in ("a", "b"):
            header = {"x-mock-conversation": marker}
            with pytest.raises(openai.InternalServerError):
                await ask_openai(served, extra_headers=header)
            assert await ask_openai(served, extra_headers=header)
        with pytest.raises(openai.InternalServerError):
            await ask_openai(served, "[[conversation: job-7]] hello")
        assert {entry.conversation for entry in served.server.bill().entries} == {"a", "b", "job-7"}


async def test_overload_is_529_with_anthropics_own_type(serving, ask_anthropic):
    async with serving(replies=[reply_with({"status": 529, "times": "always"})]) as served:
        for _ in range(3):
            with pytest.raises(anthropic.InternalServerError) as caught:
                await ask_anthropic(served)
            assert caught.value.status_code == 529
            assert caught.value.body["error"] == {"type": "overloaded_error", "message": "Overloaded"}
        assert served.server.bill().cost_nanos == 0


async def test_an_empty_account_is_told_in_each_dialects_words(serving, ask_openai, ask_anthropic):
    quota = {"status": 429, "type": "insufficient_quota", "times": "always", "message": "You have no money left."}
    replies = [
        reply_with(quota, when={"dialect": "openai"}),
        reply_with({"status": 402}, when={"dialect": "anthropic"}),
    ]
    async with serving(replies=replies) as served:
        with pytest.raises(openai.RateLimitError, match="no money left") as left:
            await ask_openai(served)
        with pytest.raises(anthropic.APIStatusError) as right:
            await ask_anthropic(served)
    assert (left.value.code, left.value.type) == ("insufficient_quota", "insufficient_quota")
    assert (right.value.status_code, right.value.body["error"]["type"]) == (402, "billing_error")


async def test_a_hanging_request_runs_into_the_clients_time_limit_and_is_not_billed(serving, ask_openai):
    async with serving(replies=[reply_with({"kind": "hang"})]) as served:
        with pytest.raises(openai.APITimeoutError):
            await ask_openai(served, timeout=0.2)
        entry = await _ended(served)
        assert (entry.status, entry.fault, entry.client_left, entry.billed) == (None, "hang", True, False)


async def test_a_hang_that_the_scenario_says_was_billed_is(serving, ask_openai):
    async with serving(replies=[reply_with({"kind": "hang", "hang_ms": 50, "billed": True})]) as served:
        with pytest.raises(openai.APIConnectionError):
            await ask_openai(served)
        entry = await _ended(served)
        assert (entry.billed, entry.cut, entry.cost_nanos > 0) == (True, True, True)


async def test_a_reset_reaches_the_client_as_one(serving):
    async with serving(replies=[reply_with({"kind": "reset"})]) as served:
        body = {"model": "mock", "messages": [{"role": "user", "content": "x"}]}
        host, port = served.server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        payload = json.dumps(body).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", "authorization: Bearer sk-mock-x"]
        head = "\r\n".join([*lines, f"content-length: {len(payload)}", "", ""])
        writer.write(head.encode() + payload)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        entry = await _ended(served)
        assert (entry.status, entry.billed) == (None, False)


async def test_a_stream_cut_in_the_middle_is_billed_in_whole_and_said_to_be_cut(serving, ask_openai):
    async with serving(replies=[reply_with({"kind": "cut", "after_chunks": 3})]) as served:
        stream = await ask_openai(served, stream=True)
        got: list[str] = []

        async def read() -> None:
            async for chunk in stream:
                got.extend(chunk.choices[0].delta.content or "")

        with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
            await read()
        entry = await _ended(served)
        assert "".join(got) == "a reply "
        assert (entry.status, entry.billed, entry.cut, entry.delivered) == (200, True, True, False)
        assert (await ask_openai(served)).choices[0].message.content == "a reply of several words"


async def test_a_body_cut_in_the_middle_is_a_broken_connection(serving, ask_anthropic):
    async with serving(replies=[reply_with({"kind": "cut"})]) as served:
        with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
            await ask_anthropic(served)


async def test_malformed_json_comes_whole_but_is_no_json(serving):
    async with serving(replies=[reply_with({"kind": "malformed"})]) as served, httpx2.AsyncClient() as client:
        answer = await client.post(
            f"{served.server.openai_url}/chat/completions",
            json={"model": "mock", "messages": [{"role": "user", "content": "x"}]},
            headers={"authorization": "Bearer sk-mock-x"},
        )
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert served.server.bill().entries[0].billed


@pytest.mark.parametrize("kind", ["malformed", "error"])
async def test_a_stream_may_break_by_what_it_says(serving, kind):
    fault = {"kind": kind, "after_chunks": 4, **({"status": 529} if kind == "error" else {})}
    async with serving(replies=[reply_with(fault)]) as served:

        async def read() -> None:
            messages = [{"role": "user", "content": "x"}]
            async with served.anthropic.messages.stream(model="mock", max_tokens=50, messages=messages) as stream:
                await stream.get_final_message()

        with pytest.raises((anthropic.APIError, ValueError)) as caught:
            await read()
        assert served.server.bill().entries[0].billed
    if kind == "error":
        assert "Overloaded" in str(caught.value)


async def test_a_client_that_leaves_before_the_reply_is_not_billed(serving, ask_openai):
    async with serving(replies=[reply_with(latency_ms=60_000)]) as served:
        with pytest.raises(openai.APITimeoutError):
            await ask_openai(served, timeout=0.2)
        entry = await _ended(served)
        assert (entry.client_left, entry.billed, entry.cut) == (True, False, False)


async def test_a_provider_may_bill_from_the_request_on(serving, ask_openai):
    async with serving(replies=[reply_with(latency_ms=60_000)], bill_from="request") as served:
        with pytest.raises(openai.APITimeoutError):
            await ask_openai(served, timeout=0.2)
        entry = await _ended(served)
        assert (entry.client_left, entry.billed, entry.cut) == (True, True, True)


async def test_a_client_that_leaves_a_stream_is_billed_and_the_entry_says_cut(serving, ask_anthropic):
    async with serving(replies=[reply_with(chunk_ms=20_000)]) as served:
        stream = await ask_anthropic(served, stream=True)
        await anext(aiter(stream))
        await stream.close()
        entry = await _ended(served)
        assert (entry.client_left, entry.billed, entry.cut) == (True, True, True)


async def _ended(served):
    """The first entry, once the server is done with it."""
    async with asyncio.timeout(10):
        while served.server.bill().entries[0].finished_at is None:  # noqa: ASYNC110 - the server's books have no bell
            await asyncio.sleep(0.01)
    return served.server.bill().entries[0]

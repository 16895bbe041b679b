from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from engine.providers.doubles import Answer, Asked, StillClock, credentials, json_answer, wire
from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.model_list import ListedModel, ModelLists, list_models
from shopfloor.engine.providers.port import ProviderError, ProviderOverloaded, ProviderRefused
from shopfloor.infra.outbound import GuardedTransport, OutboundLimits, OutboundRules, UrlRefused
from shopfloor.testing.mock_provider import serve

MODELS = {"object": "list", "data": [{"id": "b"}, {"id": "a", "context_length": 8_192}]}


async def test_the_mocks_models_are_listed():
    async with serve() as server:
        models = await list_models(credentials(server.url))
    assert [model.id for model in models] == ["mock-coder", "mock-small"]


async def test_a_list_is_asked_for_once_and_remembered_until_it_is_old():
    async def handler(_: Asked) -> Answer:
        return json_answer(MODELS)

    clock = StillClock()
    async with wire(handler) as server:
        lists, creds = ModelLists(clock=clock, ttl_s=600), credentials(f"{server.url}/v1", kind="openai-compatible")
        first = await asyncio.gather(*(lists.of(creds) for _ in range(5)))
        await lists.of(creds)
        assert len(server.asked) == 1
        assert first[0] == [ListedModel("a", "a", 8_192), ListedModel("b", "b")]
        clock.slept.append(601)
        await lists.of(creds)
        await lists.of(creds, fresh=True)
        lists.forget(creds)
        await lists.of(creds)
        assert len(server.asked) == 4


async def test_another_key_gets_a_list_of_its_own():
    async def handler(asked: Asked) -> Answer:
        return json_answer({"data": [{"id": asked.headers["authorization"].removeprefix("Bearer ")}]})

    async with wire(handler) as server:
        lists, creds = ModelLists(clock=StillClock()), credentials(server.url, api_key="one")
        assert [model.id for model in await lists.of(creds)] == ["one"]
        assert [model.id for model in await lists.of(replace(creds, api_key="two"))] == ["two"]


async def test_an_error_is_not_remembered_and_a_caller_that_leaves_takes_nothing_away():
    answers = [json_answer({}, status=500), json_answer(MODELS)]
    release = asyncio.Event()

    async def handler(_: Asked) -> Answer:
        answer = answers.pop(0)
        if not answers:
            await release.wait()
        return answer

    async with wire(handler) as server:
        lists, creds = ModelLists(clock=StillClock()), credentials(server.url)
        with pytest.raises(ProviderError, match="answered with an error"):
            await lists.of(creds)
        leaving, staying = asyncio.create_task(lists.of(creds)), asyncio.create_task(lists.of(creds))
        await asyncio.sleep(0)
        leaving.cancel()
        release.set()
        assert len(await staying) == 2
        assert len(server.asked) == 2


async def test_the_oldest_list_makes_room():
    async def handler(_: Asked) -> Answer:
        return json_answer(MODELS)

    async with wire(handler) as server:
        lists = ModelLists(clock=StillClock(), max_lists=2)
        for key in ("a", "b", "c", "c", "a"):
            await lists.of(credentials(server.url, api_key=key))
        assert len(server.asked) == 4


async def test_anthropics_pages_are_all_read():
    async def handler(asked: Asked) -> Answer:
        if "after_id=a" in asked.path:
            return json_answer({"data": [{"id": "b", "max_input_tokens": 9}], "has_more": False})
        return json_answer({"data": [{"id": "a", "display_name": "A"}], "has_more": True, "last_id": "a"})

    async with wire(handler) as server:
        models = await list_models(credentials(server.url, kind="anthropic"))
    assert models == [ListedModel("a", "A"), ListedModel("b", "b", 9)]
    assert server.asked[0].headers["anthropic-version"]


async def test_googles_list_keeps_what_can_chat():
    chat = {
        "name": "models/gemini-x",
        "displayName": "Gemini X",
        "inputTokenLimit": 1_000,
        "outputTokenLimit": 100,
        "supportedGenerationMethods": ["generateContent"],
    }
    other = {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]}

    async def handler(asked: Asked) -> Answer:
        more = {} if "pageToken=2" in asked.path else {"nextPageToken": "2"}
        return json_answer({"models": [chat, other], **more})

    async with wire(handler) as server:
        models = await list_models(credentials(server.url, kind="google"))
    assert models == [ListedModel("gemini-x", "Gemini X", 1_000, 100)]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "error"), [(401, ProviderRefused), (429, ProviderOverloaded), (404, ProviderError), (302, ProviderError)]
)
async def test_errors_are_ours_and_hold_no_key(status: int, error: type[Exception]):
    async def handler(asked: Asked) -> Answer:
        return json_answer({"error": asked.headers["authorization"]}, status=status)

    async with wire(handler) as server:
        with pytest.raises(error) as caught:
            await list_models(credentials(server.url, api_key="sk-fake-list-1"))
    assert "sk-fake-list-1" not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'"text"'])
async def test_an_answer_that_is_no_list_is_an_error(body: bytes):
    async def handler(_: Asked) -> Answer:
        return 200, {}, body

    async with wire(handler) as server:
        with pytest.raises(ProviderError):
            await list_models(credentials(server.url))


async def test_bedrock_says_that_its_models_have_to_be_named():
    with pytest.raises(InvalidInput, match="name them when you add it"):
        await list_models(credentials(None, kind="bedrock"))


async def test_the_guard_of_the_transport_keeps_its_own_words():
    async def handler(_: Asked) -> Answer:
        return json_answer(MODELS)

    rules = OutboundRules(schemes=frozenset({"http", "https"}))
    async with wire(handler) as server:
        with pytest.raises(UrlRefused, match="private address"):
            await list_models(credentials(server.url), transport=lambda: GuardedTransport(rules, OutboundLimits()))
        assert server.asked == []

"""Each kind through its official client against a small strict server that answers the provider's documented format.

No real provider could be reached from where these were written: this shows that keys, addresses, limits, usage and
errors go through each client as documented, not that a provider still answers so today.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models import ModelRequestParameters

from engine.providers.doubles import Answer, Asked, Chain, candidate, credentials, json_answer, wire
from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.attempts import CallPolicy
from shopfloor.engine.providers.builders import OWN_ADDRESS
from shopfloor.engine.providers.catalogue import connect
from shopfloor.engine.providers.port import (
    Credentials,
    ProviderError,
    ProviderKind,
    ProviderOverloaded,
    ProviderRefused,
    ProviderTimeout,
    Usage,
)

ChainOf = Callable[..., Chain]
KEY = "key-fake-0123456789"
AWS_KEYS = "AKIAFAKE:secret-fake:token-fake"  # botocore sends its bearer keys over TLS only


def chat(usage: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "fine"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "native_finish_reason": "stop"}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "provider": "somebody",
        "choices": [choice],
        "usage": usage,
    }


OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 30,
    "total_tokens": 130,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
GOOGLE_REPLY = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "fine"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 40,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 10,
        "totalTokenCount": 130,
    },
    "modelVersion": "gemini-x",
    "responseId": "r1",
}
BEDROCK_REPLY = {
    "output": {"message": {"role": "assistant", "content": [{"text": "fine"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 60, "cacheReadInputTokens": 40, "outputTokens": 30, "totalTokens": 130},
    "metrics": {"latencyMs": 5},
}
ANTHROPIC_REPLY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "fine"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 30},
}
SPLIT = Usage(input_tokens=60, cache_read_tokens=40, output_tokens=20, reasoning_tokens=10)
WHOLE = Usage(input_tokens=60, cache_read_tokens=40, output_tokens=30)
XAI_USAGE = OPENAI_USAGE | {"completion_tokens": 20}

BEARER = ("authorization", f"Bearer {KEY}")
CHAT = chat(OPENAI_USAGE)
SIGNED = ("authorization", "AWS4-HMAC-SHA256")
GOOGLE_LIMIT = ("generationConfig", "maxOutputTokens")
NEW_LIMIT, OLD_LIMIT = ("max_completion_tokens",), ("max_tokens",)

# kind, address below the server, path asked for, header with the key, where the output limit stands, reply, usage
CASES: list[tuple[ProviderKind, str, str, tuple[str, str], tuple[str, ...], dict[str, Any], Usage]] = [
    ("openai", "/v1", "/v1/chat/completions", BEARER, NEW_LIMIT, CHAT, SPLIT),
    ("xai", "/v1", "/v1/chat/completions", BEARER, NEW_LIMIT, chat(XAI_USAGE), SPLIT),
    ("openrouter", "/api/v1", "/api/v1/chat/completions", BEARER, OLD_LIMIT, CHAT, SPLIT),
    ("openai-compatible", "/v1", "/v1/chat/completions", BEARER, OLD_LIMIT, CHAT, SPLIT),
    ("groq", "", "/openai/v1/chat/completions", BEARER, OLD_LIMIT, CHAT, SPLIT),
    ("mistral", "", "/v1/chat/completions", BEARER, OLD_LIMIT, CHAT, SPLIT),
    ("anthropic", "", "/v1/messages", BEARER, OLD_LIMIT, ANTHROPIC_REPLY, WHOLE),
    ("google", "", "/v1beta/models/m:generateContent", ("x-goog-api-key", KEY), GOOGLE_LIMIT, GOOGLE_REPLY, SPLIT),
    ("bedrock", "", "/model/m/converse", SIGNED, ("inferenceConfig", "maxTokens"), BEDROCK_REPLY, WHOLE),
]  # fmt: skip


def make(chain_of: ChainOf, kind: ProviderKind, url: str, **options: Any) -> Chain:
    creds = credentials(url, kind=kind, api_key=AWS_KEYS if kind == "bedrock" else KEY)
    model = "some/m" if kind == "openrouter" else "m"
    return chain_of(candidate(creds, model, max_output_tokens=777), policy=CallPolicy(attempts=1, **options))


async def ask(chain: Chain) -> str | None:
    messages = [ModelRequest.user_text_prompt("hello", instructions="Be brief.")]
    return (await chain.model.request(messages, None, ModelRequestParameters())).text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
async def test_a_call_carries_key_and_limit_and_brings_back_usage(chain_of: ChainOf, case: Any):
    kind, below, path, (header, value), limit_at, reply, usage = case

    async def handler(_: Asked) -> Answer:
        return json_answer(reply)

    async with wire(handler) as server:
        chain = make(chain_of, kind, f"{server.url}{below}")
        assert await ask(chain) == "fine"
    asked = server.asked[0]
    limit: Any = asked.body
    for name in limit_at:
        limit = limit[name]
    assert (asked.path, limit) == (path, 777)
    assert asked.headers[header].startswith(value)
    assert "shopfloor/" in asked.headers["user-agent"]
    assert chain.model.last_call is not None
    assert chain.model.last_call.usage == usage


ERRORS: dict[ProviderKind, dict[str, Any]] = {
    "google": {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}},
    "bedrock": {"message": "slow", "__type": "ThrottlingException"},
    "anthropic": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
async def test_no_client_retries_by_itself(chain_of: ChainOf, case: Any):
    kind, below = case[:2]

    async def handler(_: Asked) -> Answer:
        headers = {"x-amzn-ErrorType": "ThrottlingException"} if kind == "bedrock" else {}
        status, more, body = json_answer(ERRORS.get(kind, {"error": {"message": "slow"}}), status=429, retry_after="4")
        return status, {**more, **headers}, body

    async with wire(handler) as server:
        chain = make(chain_of, kind, f"{server.url}{below}")
        with pytest.raises(ProviderOverloaded) as caught:
            await ask(chain)
        assert len(server.asked) == 1
    assert caught.value.facts["retry_after_s"] == 4.0
    assert chain.meter.endings == ["released"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
async def test_a_refused_key_is_a_refusal_for_every_kind(chain_of: ChainOf, case: Any):
    kind, below = case[:2]

    async def handler(_: Asked) -> Answer:
        headers = {"x-amzn-ErrorType": "UnrecognizedClientException"} if kind == "bedrock" else {}
        return 401, headers, b'{"message": "no such key", "error": {"message": "no such key"}}'

    async with wire(handler) as server:
        chain = make(chain_of, kind, f"{server.url}{below}")
        with pytest.raises(ProviderRefused) as caught:
            await ask(chain)
    assert caught.value.facts["reason"] == "key"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
async def test_a_silent_provider_is_given_up_in_time(chain_of: ChainOf, case: Any):
    kind, below = case[:2]
    gone = asyncio.Event()

    async def handler(_: Asked) -> Answer:
        await gone.wait()
        return json_answer({})

    async with wire(handler) as server:
        chain = make(chain_of, kind, f"{server.url}{below}", timeout_s=0.3)
        with pytest.raises(ProviderTimeout):
            await ask(chain)
        gone.set()
    assert chain.meter.endings == ["unknown"]


class ToLoopback(httpx2.AsyncHTTPTransport):
    """Carries requests for a provider's own address to a server here, and remembers where they were meant to go."""

    def __init__(self, url: str, meant: list[str]) -> None:
        super().__init__()
        self._url, self._meant = httpx2.URL(url), meant

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._meant.append(str(request.url))
        url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        forwarded = httpx2.Request(request.method, url, headers=request.headers, content=await request.aread())
        return await super().handle_async_request(forwarded)


async def test_openais_own_address_speaks_responses_and_nothing_is_stored_there():
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 10},
        "total_tokens": 130,
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "fine", "annotations": []}],
    }
    reply = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-x",
        "output": [message],
        "usage": usage,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }

    async def handler(_: Asked) -> Answer:
        return json_answer(reply)

    meant: list[str] = []
    async with wire(handler) as server:
        connection = connect(
            Credentials("main", "openai", KEY), "gpt-x", transport=lambda: ToLoopback(server.url, meant)
        )
        answer = await connection.model.request(
            [ModelRequest.user_text_prompt("hello")], {"max_tokens": 77}, ModelRequestParameters()
        )
        await connection.close()
    assert answer.text == "fine"
    assert meant == ["https://api.openai.com/v1/responses"]
    assert server.asked[0].body["store"] is False
    assert server.asked[0].body["max_output_tokens"] == 77


@pytest.mark.parametrize("kind", ["anthropic", "google", "xai", "groq", "mistral", "openrouter"])
async def test_without_an_address_a_kind_goes_to_its_own_service_through_the_given_transport(kind: ProviderKind):
    reply = next(case[5] for case in CASES if case[0] == kind)

    async def handler(_: Asked) -> Answer:
        return json_answer(reply)

    meant: list[str] = []
    async with wire(handler) as server:
        connection = connect(Credentials("main", kind, KEY), "some/m", transport=lambda: ToLoopback(server.url, meant))
        answer = await connection.model.request(
            [ModelRequest.user_text_prompt("hello")], {"max_tokens": 77}, ModelRequestParameters()
        )
        await connection.close()
    assert answer.text == "fine"
    assert [url.startswith(OWN_ADDRESS[kind]) for url in meant] == [True]


async def test_nothing_of_the_workers_environment_travels_with_an_organizations_key(
    chain_of: ChainOf, monkeypatch: pytest.MonkeyPatch
):
    secret = "worker-secret-fake"
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, secret)
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS", "GROQ_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, f"x-worker: {secret}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_API_KEY", "MISTRAL_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(name, secret)
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for kind, below, _, (header, value), _, reply, _ in CASES:

        async def handler(_: Asked, reply: dict[str, Any] = reply) -> Answer:
            return json_answer(reply)

        async with wire(handler) as server:
            await ask(make(chain_of, kind, f"{server.url}{below}"))
        assert secret not in str(server.asked[0]), kind
        assert server.asked[0].headers[header].startswith(value)


async def test_aws_keys_sign_the_request_for_the_region(chain_of: ChainOf):
    async def handler(_: Asked) -> Answer:
        return json_answer(BEDROCK_REPLY)

    async with wire(handler) as server:
        await ask(make(chain_of, "bedrock", server.url))
    asked = server.asked[0].headers
    assert asked["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAFAKE/")
    assert "/eu-central-1/bedrock/" in asked["authorization"]
    assert asked["x-amz-security-token"] == "token-fake"


async def test_a_bedrock_api_key_never_leaves_without_tls(chain_of: ChainOf):
    async def handler(_: Asked) -> Answer:
        return json_answer(BEDROCK_REPLY)

    async with wire(handler) as server:
        chain = chain_of(
            candidate(credentials(server.url, kind="bedrock", api_key=KEY), "m"), policy=CallPolicy(attempts=1)
        )
        with pytest.raises(ProviderError, match="Bearer authorization requires an HTTPS endpoint"):
            await ask(chain)
        assert server.asked == []


def test_bedrock_takes_no_address_where_addresses_are_guarded():
    with pytest.raises(InvalidInput, match="region, not a base URL"):
        connect(
            Credentials("aws", "bedrock", KEY, "http://127.0.0.1:9", "eu-central-1"),
            "m",
            transport=httpx2.AsyncHTTPTransport,
        )


def test_bedrock_needs_a_region_that_can_be_one():
    with pytest.raises(InvalidInput, match="needs the AWS region"):
        connect(Credentials("aws", "bedrock", KEY, region="x.evil.example/"), "m")

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import pytest
from anthropic import AsyncAnthropic
from anthropic import DefaultAsyncHttpxClient as AnthropicClient
from openai import AsyncOpenAI
from openai import DefaultAsyncHttpxClient as OpenAIClient

from shopfloor.testing.mock_provider import Scenario, Server, serve

KEY = "sk-mock-not-a-secret"
PRICES = {"mock": {"input": "3", "cache_read": "0.30", "cache_write_5m": "3.75", "cache_write_1h": "6", "output": "15"}}


class Served(NamedTuple):
    server: Server
    openai: AsyncOpenAI
    anthropic: AsyncAnthropic


Serving = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serving() -> Serving:
    """`async with serving(replies=[...]) as served`: a server on a real port and both official clients at it."""

    @asynccontextmanager
    async def start(key: str = KEY, **scenario: Any) -> AsyncIterator[Served]:
        described = Scenario.model_validate({"prices": PRICES, **scenario})
        options: dict[str, Any] = {"api_key": key, "max_retries": 0, "timeout": 20}
        left, right = OpenAIClient(verify=False), AnthropicClient(verify=False)  # no TLS here: 60 ms less each
        async with (
            serve(described) as server,
            AsyncOpenAI(base_url=server.openai_url, http_client=left, **options) as openai,
            AsyncAnthropic(base_url=server.url, http_client=right, **options) as anthropic,
        ):
            yield Served(server, openai, anthropic)

    return start


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.fixture
def ask_openai() -> Callable[..., Any]:
    async def ask(served: Served, text: str = "hello", **more: Any) -> Any:
        return await served.openai.chat.completions.create(model="mock", messages=[user(text)], **more)

    return ask


@pytest.fixture
def ask_anthropic() -> Callable[..., Any]:
    async def ask(served: Served, text: str = "hello", **more: Any) -> Any:
        return await served.anthropic.messages.create(model="mock", max_tokens=500, messages=[user(text)], **more)

    return ask

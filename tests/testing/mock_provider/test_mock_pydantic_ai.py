from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, ToolOutput, UsageLimits
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

USAGE = {"input": 50, "cache_read": 1_000, "output": 20}
SCRIPT = [
    {"text": "Let me look.", "tool_calls": [{"name": "look", "arguments": {"at": "a.py"}}], "usage": USAGE},
    {
        "tool_calls": [{"name": "look", "arguments": {"at": "b.py"}}, {"name": "look", "arguments": {"at": "c.py"}}],
        "usage": USAGE,
    },
    {"tool_calls": [{"name": "finish", "arguments": {"summary": "saw {{ last_tool_result }}"}}], "usage": USAGE},
]


class Summary(BaseModel):
    summary: str


@pytest.fixture(params=["openai", "anthropic"])
def model_of(request):
    def make(served) -> Any:
        if request.param == "openai":
            return OpenAIChatModel("mock", provider=OpenAIProvider(openai_client=served.openai))
        return AnthropicModel("mock", provider=AnthropicProvider(anthropic_client=served.anthropic))

    return make


def agent_with(model) -> Agent[None, Summary]:
    agent = Agent(model, output_type=ToolOutput(Summary, name="finish"), instructions="You look at files.")

    @agent.tool_plain
    def look(at: str) -> str:
        return f"<{at}>"

    return agent


async def test_an_agent_goes_through_its_tools_to_its_output(serving, model_of):
    async with serving(replies=SCRIPT) as served:
        result = await agent_with(model_of(served)).run("Look.", usage_limits=UsageLimits(request_limit=5))
        bill = served.server.bill()
    assert result.output == Summary(summary="saw <c.py>")
    assert [(entry.turn, entry.status) for entry in bill.entries] == [(0, 200), (1, 200), (2, 200)]
    used = result.usage
    assert (used.input_tokens, used.cache_read_tokens, used.output_tokens) == (3_150, 3_000, 60)


async def test_an_agent_streams_the_same_run(serving, model_of):
    async with serving(replies=SCRIPT, pace={"chunk_chars": 3}) as served:
        async with agent_with(model_of(served)).run_stream("Look.") as stream:
            output = await stream.get_output()
        assert all(entry.stream for entry in served.server.bill().entries)
        assert [entry.turn for entry in served.server.bill().entries] == [0, 1, 2]
    assert output == Summary(summary="saw <c.py>")
    assert (stream.usage.input_tokens, stream.usage.output_tokens) == (3_150, 60)


async def test_a_run_that_goes_on_from_its_history_gets_the_replies_it_would_have_got(serving, model_of):
    async with serving(replies=SCRIPT) as served:
        agent = agent_with(model_of(served))
        whole = await agent.run("Look.")
        served.server.reset()
        resumed = await agent.run(message_history=whole.all_messages()[:3])  # task, first reply, its result
        assert [entry.turn for entry in served.server.bill().entries] == [1, 2]
    assert resumed.output == whole.output


async def test_an_error_status_reaches_the_agent_typed(serving, model_of):
    async with serving(replies=[{"faults": [{"status": 429, "retry_after_s": 2}]}]) as served:
        with pytest.raises(ModelHTTPError) as caught:
            await agent_with(model_of(served)).run("Look.")
    assert caught.value.status_code == 429


async def test_the_default_scenario_satisfies_an_agent_it_does_not_know(model_of, serving):
    replies = [{"tool_calls": [{"name": "finish", "arguments": "from-schema"}]}]
    async with serving(replies=replies) as served:
        result = await agent_with(model_of(served)).run("Anything.")
    assert result.output == Summary(summary="Answered by the mock provider.")

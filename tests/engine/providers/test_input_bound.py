from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic_ai.messages import (
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.input_bound import InputBound
from shopfloor.engine.providers.port import ModelRef

REF = ModelRef("main", "m")
OTHER = ModelRef("main", "other")
PLAIN = ModelRequestParameters()
TOOL = ToolDefinition(name="read", description="Reads.", parameters_json_schema={"type": "object"})


def user(text: str) -> ModelRequest:
    return ModelRequest.user_text_prompt(text)


@pytest.mark.parametrize("text", ["x" * 50_000, "ü" * 50_000, '\n\t"\\' * 10_000, "\u4e2d" * 30_000, "🦊" * 20_000])
def test_it_is_never_below_the_bytes_that_are_sent(text: str):
    messages: list[ModelMessage] = [
        user(text),
        ModelResponse([TextPart(text)]),
        ModelRequest([ToolReturnPart("t", text, "1")]),
    ]
    assert InputBound().tokens(REF, messages, PLAIN, None) > 3 * len(text.encode())


def test_instructions_and_tools_count_and_instructions_count_once():
    long = "i" * 10_000
    messages: list[ModelMessage] = [replace(user("a"), instructions=long), replace(user("b"), instructions=long)]
    bare = InputBound().tokens(REF, [user("a"), user("b")], PLAIN, None)
    with_text = InputBound().tokens(REF, messages, PLAIN, None)
    with_tools = InputBound().tokens(REF, messages, ModelRequestParameters(function_tools=[TOOL]), None)
    assert 10_000 <= with_text - bare < 10_100
    assert with_tools > with_text


def test_no_request_is_longer_than_the_window():
    assert InputBound().tokens(REF, [user("x" * 90_000)], PLAIN, 8_192) == 8_192


def test_after_a_counted_request_only_what_is_new_is_bounded_by_bytes():
    bound, messages = InputBound(), [user("x" * 40_000)]
    bound.learn(REF, messages, PLAIN, 10_000)
    longer = [*messages, ModelResponse([TextPart("y" * 100)])]
    assert 10_100 < bound.tokens(REF, longer, PLAIN, None) < 11_000
    assert bound.tokens(OTHER, longer, PLAIN, None) > 40_000, "another model counts otherwise"


def test_a_changed_history_or_other_tools_are_bounded_by_bytes_again():
    bound, messages = InputBound(), [user("x" * 40_000)]
    bound.learn(REF, messages, PLAIN, 10_000)
    assert bound.tokens(REF, [user("x" * 40_000)], PLAIN, None) > 40_000
    assert bound.tokens(REF, messages, ModelRequestParameters(function_tools=[TOOL]), None) > 40_000
    assert bound.tokens(REF, [replace(messages[0], instructions="new")], PLAIN, None) > 40_000
    assert bound.tokens(REF, messages[:0], PLAIN, None) < 40_000


def test_media_are_bounded_by_the_window_or_refused():
    messages: list[ModelMessage] = [ModelRequest([UserPromptPart(["look", ImageUrl("https://example.org/a.png")])])]
    assert InputBound().tokens(REF, messages, PLAIN, 200_000) == 200_000
    with pytest.raises(InvalidInput, match="context window of main/m is unknown"):
        InputBound().tokens(REF, messages, PLAIN, None)


def test_a_text_that_looks_like_media_is_a_text():
    assert InputBound().tokens(REF, [user('"kind":"image-url"')], PLAIN, None) < 4_000

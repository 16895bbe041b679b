from __future__ import annotations

import re
from pathlib import Path

import openai
import pytest

from shopfloor.base.errors import InvalidInput
from shopfloor.testing.mock_provider import load, names, parse
from shopfloor.testing.mock_provider.fill import example

EXAMPLES = Path(__file__).parents[3] / "examples" / "scenarios"


def history(turns: int) -> list[dict]:
    pairs = [[{"role": "assistant", "content": f"a{n}"}, {"role": "user", "content": f"u{n}"}] for n in range(turns)]
    return [{"role": "user", "content": "task"}, *(message for pair in pairs for message in pair)]


async def text_of(served, messages: list[dict], **more) -> str:
    reply = await served.openai.chat.completions.create(model="mock", messages=messages, **more)
    return reply.choices[0].message.content


async def test_the_turn_is_read_from_the_request_so_any_order_gets_the_right_reply(serving):
    async with serving(replies=[{"text": "first"}, {"text": "second"}, {"text": "third"}]) as served:
        said = [await text_of(served, history(turns)) for turns in (2, 0, 1, 1, 0)]
    assert said == ["third", "first", "second", "second", "first"]


async def test_past_the_end_the_refusal_says_what_to_add(serving):
    async with serving(replies=[{"text": "first"}]) as served:
        with pytest.raises(openai.BadRequestError, match="1 replies in order and none for turn 1: add a reply"):
            await text_of(served, history(1))
        entry = served.server.bill().entries[0]
    assert (entry.status, entry.billed) == (400, False)


async def test_past_the_end_otherwise_answers(serving):
    async with serving(replies=[{"text": "first"}], otherwise={"text": "turn {{ turn }} of {{ model }}"}) as served:
        assert await text_of(served, history(4)) == "turn 4 of mock"


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"model": "mo*"}, True),
        ({"model": "other"}, False),
        ({"turn": 1}, True),
        ({"turn": 0}, False),
        ({"turn_from": 1}, True),
        ({"turn_from": 2}, False),
        ({"dialect": "anthropic"}, False),
        ({"system_contains": "careful"}, True),
        ({"system_contains": "careless"}, False),
        ({"first_message_contains": "task"}, True),
        ({"first_message_contains": "u0"}, False),
        ({"last_message_contains": "u0"}, True),
        ({"last_message_contains": "task"}, False),
        ({"has_tool": "grep"}, True),
        ({"has_tool": "shell"}, False),
        ({"model": "mock", "turn": 3}, False),
    ],
)
async def test_a_reply_with_when_comes_only_where_all_of_it_holds(serving, when, fits):
    messages = [{"role": "system", "content": "be careful"}, *history(1)]
    tools = [{"type": "function", "function": {"name": "grep", "parameters": {"type": "object"}}}]
    async with serving(replies=[{"text": "fits", "when": when}], otherwise={"text": "does not"}) as served:
        assert await text_of(served, messages, tools=tools) == ("fits" if fits else "does not")


async def test_scenes_keep_the_conversations_of_several_agents_apart(serving):
    scenes = [
        {"name": "review", "when": {"system_contains": "reviewer"}, "replies": [{"text": "approved"}]},
        {"name": "coding", "replies": [{"text": "done"}]},
    ]
    async with serving(scenes=scenes) as served:
        reviewer = [{"role": "system", "content": "You are a reviewer."}, *history(0)]
        assert [await text_of(served, messages) for messages in (reviewer, history(0))] == ["approved", "done"]
        assert [entry.place for entry in served.server.bill().entries] == ["review[0]", "coding[0]"]


async def test_a_tool_result_can_choose_the_reply_and_go_into_it(serving):
    call = {"id": "call_1", "type": "function", "function": {"name": "run_tests", "arguments": "{}"}}
    messages = [
        *history(0),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1 failed"},
    ]
    replies = [{"when": {"tool_result_contains": "failed"}, "text": "I read: {{ last_tool_result }}"}]
    async with serving(replies=replies, otherwise={"text": "fine"}) as served:
        assert await text_of(served, messages) == "I read: 1 failed"
        assert await text_of(served, history(0)) == "fine"


async def test_derived_usage_counts_what_an_earlier_request_held_as_cached(serving):
    long = [{"role": "user", "content": "x" * 8_000}]
    async with serving(otherwise={"text": "y"}) as served:
        first = await served.anthropic.messages.create(model="mock", max_tokens=5, messages=long)
        later = [*long, {"role": "assistant", "content": "y"}, {"role": "user", "content": "more"}]
        second = await served.anthropic.messages.create(model="mock", max_tokens=5, messages=later)
    assert (first.usage.cache_creation_input_tokens, first.usage.cache_read_input_tokens) == (2_000, 0)
    assert (second.usage.cache_creation_input_tokens, second.usage.cache_read_input_tokens) == (2, 2_000)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("prices: {m: {input: 1, output: 2}}\nreplies: [{txt: hi}]", "replies[0].txt"),
        ("prices: {m: {input: 1}}\nreplies: [{text: hi}]", "prices.m.output"),
        ("prices: {m: {input: -1, output: 2}}\nreplies: [{text: hi}]", "prices.m.input"),
        ("replies: [{text: hi}]", "prices"),
        ("prices: {m: {input: 1, output: 2}}", "needs `replies`, `otherwise` or `scenes`"),
        ("prices: {m: {input: 1, output: 2}}\nreplies: [{faults: [{kind: error}]}]", "replies[0].faults[0]"),
        ("prices: {m: {input: 1, output: 2}}\nreplies: [{faults: [{kind: cut, status: 500}]}]", "belongs to kind"),
        ("prices: {m: {input: 1, output: 2}}\nreplies: [{usage: {input: -5}}]", "replies[0].usage.input"),
        ("- a list", "must be a mapping"),
        ("a: [b", "not valid YAML"),
    ],
)
def test_a_scenario_that_does_not_fit_is_refused_with_the_place(text, place):
    with pytest.raises(InvalidInput) as caught:
        parse(text, origin="mine.yaml")
    assert caught.value.detail.startswith("mine.yaml")
    assert place in caught.value.detail


def test_a_missing_file_names_the_built_in_scenarios(tmp_path):
    with pytest.raises(InvalidInput, match="default, demo"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("scenario", [*names(), *sorted(EXAMPLES.glob("*.yaml"))], ids=str)
def test_every_shipped_scenario_loads(scenario):
    assert load(scenario).prices


def test_the_examples_are_there():
    assert len(list(EXAMPLES.glob("*.yaml"))) >= 4


def test_the_scenario_in_the_guide_loads():
    guide = (EXAMPLES.parents[1] / "docs" / "how-to" / "mock-provider.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert [reply.faults[0].retry_after_s for reply in parse(block).replies if reply.faults] == [2]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]}, {"a": 3}),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {}),
        ({"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2}, ["x", "x"]),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "boolean"}}}, False),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": "string", "minLength": 40, "maxLength": 40}, "Answered by the mock provider..........."),
        ({"const": "only"}, "only"),
        ({"type": "integer", "exclusiveMinimum": 0}, 1),
    ],
)
def test_an_example_value_fits_its_schema(schema, value):
    assert example(schema) == value


def test_a_schema_that_names_itself_ends():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}, "required": ["next"]}
    assert example({"$ref": "#/$defs/N", "$defs": {"N": node}})["next"]["next"]

"""A reply made ready for one request: templates filled in, ids given, tokens counted."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, cast

import orjson

from shopfloor.testing.mock_provider.conversation import Conversation, Json
from shopfloor.testing.mock_provider.fill import example
from shopfloor.testing.mock_provider.scenario import Finish, Pace, Reply, ToolCall

TEMPLATE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
CHARS_PER_TOKEN = 4  # OpenAI help center, 'What are tokens': about four characters of English each
CACHE_FROM_TOKENS = 1_024  # the least that both providers' documents name for a cached prefix


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in disjoint classes."""

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """All that went in."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def completion(self) -> int:
        """All that came out."""
        return self.output + self.reasoning


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, ready to send. `arguments` is the text that goes out."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says to one request."""

    text: str
    thinking: str
    calls: tuple[Call, ...]
    finish: Finish
    refusal: bool
    usage: Usage
    latency_ms: int
    chunk_ms: int
    chunk_chars: int


def prepare(reply: Reply, conversation: Conversation, pace: Pace) -> Answer:
    """The answer to send. The same request always makes the same answer."""
    text = _text(reply, conversation)
    calls = tuple(_call(call, place, conversation) for place, call in enumerate(reply.tool_calls))
    finish: Finish = reply.finish or ("tool_calls" if calls else "stop")
    if finish == "stop" and conversation.max_tokens is not None and reply.usage.output is None:
        room = conversation.max_tokens * CHARS_PER_TOKEN
        text, finish = (text, finish) if len(text) <= room else (text[:room], "length")
    return Answer(
        text=text,
        thinking=reply.thinking if conversation.thinking else "",
        calls=calls,
        finish=finish,
        refusal=reply.refusal,
        usage=_usage(reply, conversation, text, calls, cached=pace.cache),
        latency_ms=pace.latency_ms if reply.latency_ms is None else reply.latency_ms,
        chunk_ms=pace.chunk_ms if reply.chunk_ms is None else reply.chunk_ms,
        chunk_chars=pace.chunk_chars if reply.chunk_chars is None else reply.chunk_chars,
    )


def count(text: str) -> int:
    """Tokens of a text, roughly and always alike; at least 1."""
    return max(1, -(-len(text) // CHARS_PER_TOKEN))


def prompt_tokens(conversation: Conversation) -> tuple[int, int]:
    """Derived input tokens: (what an earlier request of the conversation held, what is new)."""
    fresh = conversation.fresh
    old = conversation.messages[: len(conversation.messages) - len(fresh)]
    seen = old[:-1] if conversation.turn else ()  # the last assistant message is new input, too
    offered = sum(count(name) + count(orjson.dumps(schema).decode()) for name, schema in conversation.tools.items())
    before = sum(count(message.text) for message in seen) + offered if conversation.turn else 0
    in_all = sum(count(message.text) for message in conversation.messages) + offered
    return before, in_all - before


def _text(reply: Reply, conversation: Conversation) -> str:
    if reply.text == "from-schema":
        return orjson.dumps(example(conversation.output_schema or {})).decode()
    return _filled(reply.text, conversation)


def _call(call: ToolCall, place: int, conversation: Conversation) -> Call:
    if call.arguments == "from-schema":
        arguments: Any = example(conversation.tools.get(call.name, {}))
    else:
        arguments = _filled_all(call.arguments, conversation)
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return Call(call.id or _call_id(conversation, place), call.name, text)


def _call_id(conversation: Conversation, place: int) -> str:
    """Stable for a repeated request, different for every other one."""
    digest = hashlib.sha256(f"{conversation.digest()}/{place}".encode()).hexdigest()[:22]
    return f"toolu_01{digest}" if conversation.dialect == "anthropic" else f"call_{digest}"


def _usage(reply: Reply, conversation: Conversation, text: str, calls: tuple[Call, ...], *, cached: bool) -> Usage:
    said = reply.usage
    spoken = count(text) if text or not calls else 0
    output = spoken + sum(count(call.name) + count(call.arguments) for call in calls)
    parts = (said.input, said.cache_read, said.cache_write_5m, said.cache_write_1h)
    if all(part is None for part in parts):
        fresh, read, write_5m = _derived_input(conversation, cached=cached)
        write_1h = 0
    else:
        fresh, read, write_5m, write_1h = (part or 0 for part in parts)
    if conversation.dialect == "openai":  # writing to the cache is no class of its own there
        fresh, write_5m, write_1h = fresh + write_5m + write_1h, 0, 0
    return Usage(
        input=fresh,
        cache_read=read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=output if said.output is None else said.output,
        reasoning=said.reasoning or 0,
    )


def _derived_input(conversation: Conversation, *, cached: bool) -> tuple[int, int, int]:
    """(uncached, read from the cache, written to it): the prefix that an earlier request held is read."""
    before, new = prompt_tokens(conversation)
    if not cached or before + new < CACHE_FROM_TOKENS:
        return before + new, 0, 0
    if before < CACHE_FROM_TOKENS:
        return 0, 0, before + new
    return 0, before, new


def _filled_all(value: object, conversation: Conversation) -> Any:
    """`value` with the templates in every text of it filled in."""
    if isinstance(value, str):
        return _filled(value, conversation)
    if isinstance(value, dict):
        return {name: _filled_all(item, conversation) for name, item in cast("Json", value).items()}
    if isinstance(value, list):
        return [_filled_all(item, conversation) for item in cast("list[object]", value)]
    return value


def _filled(text: str, conversation: Conversation) -> str:
    if "{{" not in text:
        return text
    results = conversation.tool_results
    words = {
        "last_tool_result": results[-1] if results else "",
        "last_message": conversation.last_text,
        "first_message": conversation.first_user,
        "turn": str(conversation.turn),
        "model": conversation.model,
        "conversation": conversation.key,
    }
    return TEMPLATE.sub(lambda found: words.get(found[1], found[0]), text)

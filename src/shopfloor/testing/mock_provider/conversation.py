"""What a request says, in one shape for both dialects, and whether the provider would have taken it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast

Json = dict[str, Any]
Dialect = Literal["openai", "anthropic"]

MARKER = re.compile(r"\[\[conversation:\s*([\w.-]{1,80})\s*\]\]")


class RequestRefused(Exception):
    """The real provider would answer 400 to this request; the text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a request. Tool results are messages of their own, with `call_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    call_id: str | None = None  # tool: which call it answers
    calls: tuple[str, ...] = ()  # assistant: ids of the calls it asked for


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request, read."""

    dialect: Dialect
    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False  # OpenAI: stream_options.include_usage
    thinking: bool = False  # Anthropic: thinking is switched on
    max_tokens: int | None = None
    tools: dict[str, Json] = field(default_factory=dict[str, Json])  # name -> JSON schema of its arguments
    output_schema: Json | None = None  # response_format / output_config with a JSON schema
    key: str = ""  # which conversation: its marker, else a digest of system text and first user message

    @property
    def turn(self) -> int:
        """Assistant messages so far: 0 for the first request."""
        return sum(message.role == "assistant" for message in self.messages)

    @property
    def system(self) -> str:
        """All system text."""
        return "\n".join(message.text for message in self.messages if message.role == "system")

    @property
    def first_user(self) -> str:
        """The task."""
        return next((message.text for message in self.messages if message.role == "user"), "")

    @property
    def last_text(self) -> str:
        """The last message, whoever sent it."""
        return self.messages[-1].text if self.messages else ""

    @property
    def fresh(self) -> tuple[Message, ...]:
        """What came after the last assistant message."""
        last = max((i for i, message in enumerate(self.messages) if message.role == "assistant"), default=-1)
        return self.messages[last + 1 :]

    @property
    def tool_results(self) -> list[str]:
        """The results that came after the last assistant message."""
        return [message.text for message in self.fresh if message.role == "tool"]

    def digest(self) -> str:
        """16 hex digits over model and messages: equal requests have equal digests."""
        state = hashlib.sha256(self.model.encode())
        for message in self.messages:
            state.update(f"\x00{message.role}\x01{message.call_id}\x01{message.calls}\x01{message.text}".encode())
        return state.hexdigest()[:16]


def read_openai(body: Json, *, marker: str | None = None) -> Conversation:
    """A chat completion request. Raises: RequestRefused. Source: OpenAI API reference, 'Create chat completion'."""
    model = _text_field(body, "model")
    messages = tuple(_openai_message(_object(raw, "messages")) for raw in _list_field(body, "messages"))
    _check_openai_order(messages)
    options = _options(body, "stream_options")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    functions = [_object(tool.get("function"), "tools") for tool in _objects(body, "tools") if "function" in tool]
    output = _options(body, "response_format")
    return Conversation(
        dialect="openai",
        model=model,
        messages=messages,
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        max_tokens=_positive(limit, "max_tokens") if limit is not None else None,
        tools={str(tool.get("name")): _options(tool, "parameters") for tool in functions},
        output_schema=_schema(_options(output, "json_schema"), "schema"),
        key=marker or _key(messages),
    )


def read_anthropic(body: Json, *, marker: str | None = None) -> Conversation:
    """A messages request. Raises: RequestRefused. Source: Anthropic API reference, 'Create a Message'."""
    model = _text_field(body, "model")
    if "max_tokens" not in body:
        raise RequestRefused("max_tokens: Field required")
    messages: list[Message] = []
    if body.get("system"):
        messages.append(Message("system", _plain(body["system"])))
    for raw in _list_field(body, "messages"):
        messages.extend(_anthropic_messages(_object(raw, "messages")))
    _check_anthropic_order(messages)
    thinking = _options(body, "thinking")
    output = _options(body, "output_config")
    return Conversation(
        dialect="anthropic",
        model=model,
        messages=tuple(messages),
        stream=bool(body.get("stream")),
        thinking=thinking.get("type") in ("enabled", "adaptive"),
        max_tokens=_positive(body["max_tokens"], "max_tokens"),
        tools={str(tool.get("name")): _options(tool, "input_schema") for tool in _objects(body, "tools")},
        output_schema=_schema(_options(output, "format"), "schema"),
        key=marker or _key(messages),
    )


def _openai_message(raw: Json) -> Message:
    role = raw.get("role")
    text = _plain(raw.get("content"))
    if role in ("system", "developer"):
        return Message("system", text)
    if role == "user":
        return Message("user", text)
    if role == "tool":
        return Message("tool", text, call_id=str(raw.get("tool_call_id")))
    if role == "assistant":
        calls = tuple(str(call.get("id")) for call in _objects(raw, "tool_calls"))
        return Message("assistant", text, calls=calls)
    raise RequestRefused(
        f"Invalid value: {role!r}. Supported values are: 'system', 'developer', 'user', 'assistant' and 'tool'."
    )


def _anthropic_messages(raw: Json) -> list[Message]:
    role, content = raw.get("role"), raw.get("content")
    if role not in ("user", "assistant"):
        raise RequestRefused(f"messages: Unexpected role {role!r}. Allowed roles are 'user' and 'assistant'.")
    if isinstance(content, str):
        return [Message(role, content)]
    blocks = _objects(raw, "content")
    if role == "assistant":
        calls = tuple(str(block.get("id")) for block in blocks if block.get("type") == "tool_use")
        return [Message("assistant", _plain(blocks), calls=calls)]
    results = [
        Message("tool", _plain(block.get("content")), call_id=str(block.get("tool_use_id")))
        for block in blocks
        if block.get("type") == "tool_result"
    ]
    rest = [block for block in blocks if block.get("type") != "tool_result"]
    return [*results, Message("user", _plain(rest))] if rest or not results else list(results)


def _check_openai_order(messages: tuple[Message, ...]) -> None:
    """Each tool call is answered right after it, and nothing answers a call nobody made."""
    waiting: set[str] = set()
    for message in messages:
        if message.role == "tool":
            if message.call_id not in waiting:
                raise RequestRefused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message "
                    f"with 'tool_calls' ({message.call_id})."
                )
            waiting.discard(str(message.call_id))
            continue
        if waiting:
            break
        waiting = set(message.calls)
    if waiting:
        raise RequestRefused(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. These had no response: {', '.join(sorted(waiting))}"
        )


def _check_anthropic_order(messages: list[Message]) -> None:
    """`tool_use` blocks are answered by the very next user message, and only they."""
    asked: set[str] = set()
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.call_id not in asked:
                raise RequestRefused(
                    f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {message.call_id}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
            asked.discard(str(message.call_id))
            continue
        if asked:
            break
        asked = set(message.calls)
    if asked:
        raise RequestRefused(
            f"messages: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(sorted(asked))}. Each `tool_use` block must have a corresponding `tool_result` block "
            "in the next message."
        )


def _key(messages: tuple[Message, ...] | list[Message]) -> str:
    system = next((message.text for message in messages if message.role == "system"), "")
    user = next((message.text for message in messages if message.role == "user"), "")
    if marked := MARKER.search(user) or MARKER.search(system):
        return marked[1]
    return hashlib.sha256(f"{system}\x00{user}".encode()).hexdigest()[:16]


def _plain(content: object) -> str:
    """The text of a content field: a string, or blocks that hold text or JSON."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text for block in cast("list[object]", content) if (text := _block_text(block)))
    raise RequestRefused("Invalid type for 'content': expected a string or an array of content parts.")


def _block_text(block: object) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        raise RequestRefused("Invalid content part: expected an object.")
    found = cast("Json", block)
    return str(found.get("text") or found.get("thinking") or found.get("refusal") or "")


def _object(value: object, name: str) -> Json:
    if not isinstance(value, dict):
        raise RequestRefused(f"Invalid type for '{name}': expected an object.")
    return cast("Json", value)


def _options(body: Json, name: str) -> Json:
    """An object that may be left out."""
    return _object(body.get(name) or {}, name)


def _schema(body: Json, name: str) -> Json | None:
    return None if body.get(name) is None else _object(body[name], name)


def _objects(body: Json, name: str) -> list[Json]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestRefused(f"Invalid type for '{name}': expected an array.")
    return [_object(item, name) for item in cast("list[object]", value)]


def _list_field(body: Json, name: str) -> list[object]:
    value = body.get(name)
    if not isinstance(value, list) or not value:
        raise RequestRefused(f"{name}: at least one message is required")
    return cast("list[object]", value)


def _text_field(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise RequestRefused(f"{name}: Field required")
    return value


def _positive(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestRefused(f"{name}: Input should be greater than or equal to 1")
    return value

"""What a scenario file says: prices, and which reply answers which request. Checked before anything is served."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shopfloor.base.errors import InvalidInput

BUILT_IN = Path(__file__).parent / "scenarios"

FaultKind = Literal["error", "hang", "reset", "cut", "malformed"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
Milliseconds = Annotated[int, Field(ge=0, le=3_600_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]


class Part(BaseModel):
    """Unknown keys are refused: a typing mistake must not become a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(Part):
    """USD per million tokens of each class; a class left out costs what its nearest relative does."""

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cache_read: Decimal | None = Field(default=None, ge=0)  # None: as input
    cache_write_5m: Decimal | None = Field(default=None, ge=0)  # None: as input
    cache_write_1h: Decimal | None = Field(default=None, ge=0)  # None: as cache_write_5m
    reasoning: Decimal | None = Field(default=None, ge=0)  # None: as output


class Tokens(Part):
    """Tokens in disjoint classes, as the platform counts them. What is left out is derived from the texts."""

    input: Count | None = None  # neither read from nor written to the cache
    cache_read: Count | None = None
    cache_write_5m: Count | None = None
    cache_write_1h: Count | None = None
    output: Count | None = None  # without reasoning
    reasoning: Count | None = None


class ToolCall(Part):
    """A call the model asks for.

    Text in `arguments` goes out as it stands, valid JSON or not; `from-schema` makes the smallest that fit the tool.
    """

    name: str = Field(min_length=1)
    arguments: dict[str, Any] | str = Field(default_factory=dict[str, Any])
    id: str | None = None  # None: derived from conversation, turn and place, so a repeated request gets the same


class When(Part):
    """All that is named must hold. `*_contains` compare text as it is; `model` may end in `*`."""

    model: str | None = None
    dialect: Literal["openai", "anthropic"] | None = None
    turn: int | None = Field(default=None, ge=0)  # assistant messages in the request so far
    turn_from: int | None = Field(default=None, ge=0)
    system_contains: str | None = None
    first_message_contains: str | None = None
    last_message_contains: str | None = None
    tool_result_contains: str | None = None  # in one of the results after the last assistant message
    has_tool: str | None = None  # the request offers a tool of this name


class Fault(Part):
    """What goes wrong with a request before (or while) its reply is given.

    `times` counts per conversation and reply; after that the next fault of the list, then the reply itself.
    """

    kind: FaultKind = "error"
    status: int | None = Field(default=None, ge=400, le=599)  # kind error
    type: str | None = None  # the provider's own error type or code; None: what belongs to the status
    message: str | None = None
    retry_after_s: float | None = Field(default=None, ge=0)
    after_chunks: int | None = Field(default=None, ge=0)  # error, cut, malformed: so many stream chunks come first
    hang_ms: Milliseconds = 3_600_000
    times: int | Literal["always"] = 1
    billed: bool | None = None  # None: if the reply was begun

    @model_validator(mode="after")
    def _kind_fits(self) -> Fault:
        if self.kind == "error" and self.status is None:
            raise ValueError("a fault of kind 'error' needs `status` (e.g. 429, 500, 529)")
        if self.kind != "error" and self.status is not None:
            raise ValueError(f"`status` belongs to kind 'error', not to {self.kind!r}")
        if isinstance(self.times, int) and self.times < 1:
            raise ValueError("`times` is at least 1, or 'always'")
        return self


class Reply(Part):
    """One answer of the model. Texts may hold `{{ last_tool_result }}`, `{{ last_message }}`, `{{ turn }}` ..."""

    when: When | None = None
    text: str = ""  # from-schema: JSON that fits the output schema of the request
    thinking: str = ""  # Anthropic: a thinking block, if the request switched thinking on
    tool_calls: list[ToolCall] = Field(default_factory=list[ToolCall])
    usage: Tokens = Tokens()
    finish: Finish | None = None  # None: tool_calls if there are some, else stop
    refusal: bool = False  # the model declines: OpenAI `refusal`, Anthropic stop_reason "refusal"
    headers: dict[str, str] = Field(default_factory=dict[str, str])  # of the answer, e.g. what is left of a rate limit
    latency_ms: Milliseconds | None = None  # before the first byte
    chunk_ms: Milliseconds | None = None  # between stream chunks
    chunk_chars: int | None = Field(default=None, ge=1)
    faults: list[Fault] = Field(default_factory=list[Fault])


class Pace(Part):
    """What replies that say nothing of their own use."""

    latency_ms: Milliseconds = 0
    chunk_ms: Milliseconds = 0
    chunk_chars: int = Field(default=24, ge=1)
    cache: bool = True  # derived usage: what an earlier request of the conversation held was cached


class Scene(Part):
    """The replies for one kind of conversation.

    A reply with `when` is given wherever it fits; the others in order, the n-th to the request that holds n
    assistant messages. Nothing is remembered between requests, so a repeated request gets the same reply.
    """

    name: str = "main"
    when: When | None = None
    replies: list[Reply] = Field(default_factory=list[Reply])
    otherwise: Reply | None = None  # past the end of the list; None: the request is refused and says so


class Scenario(Part):
    """A whole file. `replies` at the top is short for one scene that fits every conversation."""

    name: str = "unnamed"
    description: str = ""
    keys: list[str] = Field(default_factory=lambda: ["sk-mock-*"], min_length=1)
    prices: dict[str, Price] = Field(min_length=1)  # by model; "*" prices every other one
    pace: Pace = Pace()
    bill_from: Literal["reply", "request"] = "reply"  # request: a call the client gave up on is billed too
    scenes: list[Scene] = Field(default_factory=list[Scene])
    replies: list[Reply] = Field(default_factory=list[Reply])
    otherwise: Reply | None = None

    @model_validator(mode="after")
    def _something_to_say(self) -> Scenario:
        if not (self.scenes or self.replies or self.otherwise):
            raise ValueError("a scenario needs `replies`, `otherwise` or `scenes`")
        return self

    def all_scenes(self) -> list[Scene]:
        """The scenes in the order they are tried; the top-level replies come last."""
        if not (self.replies or self.otherwise):
            return self.scenes
        return [*self.scenes, Scene(name="main", replies=self.replies, otherwise=self.otherwise)]

    def at_full_speed(self) -> Scenario:
        """The same without its own pace, for tests; a reply's own latency stays."""
        return self.model_copy(update={"pace": self.pace.model_copy(update={"latency_ms": 0, "chunk_ms": 0})})

    def price_of(self, model: str) -> Price | None:
        """The price of a model, else that of "*", else None: the model is unknown."""
        return self.prices.get(model) or self.prices.get("*")


def load(source: str | Path) -> Scenario:
    """A built-in scenario by name (`default`, `demo`) or a YAML file by path.

    Raises: InvalidInput that names the file and each place in it that doesn't fit.
    """
    path = BUILT_IN / f"{source}.yaml" if str(source) in names() else Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(names())
        raise InvalidInput(
            f"The scenario {str(source)!r} can't be read: {error}. Give the path of a YAML file, or one of: {known}.",
            scenario=str(source),
        ) from error
    return parse(text, origin=str(path))


def parse(text: str, *, origin: str = "scenario") -> Scenario:
    """A scenario from YAML text. Raises: InvalidInput."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"{origin} is not valid YAML: {error}", scenario=origin) from error
    if not isinstance(data, dict):
        raise InvalidInput(f"{origin} must be a mapping with `prices` and `replies`.", scenario=origin)
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        places = [f"{_place(item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)]
        listed = "\n  ".join(places)
        raise InvalidInput(f"{origin} does not fit:\n  {listed}", scenario=origin, places=places) from error


def names() -> list[str]:
    """The built-in scenarios."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def _place(location: tuple[int | str, ...]) -> str:
    """`replies[2].usage.input` for people who look for it in a file."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.lstrip(".") or "the file"

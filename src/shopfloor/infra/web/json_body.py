"""Request bodies: JSON that means one thing only, read into models that refuse what is undocumented."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import orjson
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from shopfloor.base.errors import InvalidInput, ShopfloorError, TooLarge
from shopfloor.infra.web.errors import MalformedRequest

MAX_DEPTH = 32
_MAX_INTEGER = 2**63 - 1  # what a bigint column holds
_MAX_INTEGER_DIGITS = 19
_MAX_NUMBER_CHARS = 64
_BRACKET_OR_TEXT = re.compile(rb'[\[{\]}]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")  # all but tab and newline
_CONVERTED = frozenset({"int", "float", "bool", "str"})
_VALUES = frozenset({"default", "metadata"})  # what a schema holds that isn't a schema, whatever it looks like
_WRITTEN = {
    "decimal": re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?"),
    "datetime": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,30}([Zz]|[+-][0-9]{2}:?[0-9]{2})?"),
}
# The driver can't read a time that lies before the year 1 or after 9999 once it is in UTC.
_EARLIEST_AND_LAST = {"ge": datetime(1970, 1, 1, tzinfo=UTC), "le": datetime(9999, 12, 30, tzinfo=UTC)}


def read_json(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value written in `body`.

    Raises: MalformedRequest for what isn't JSON (RFC 8259, I-JSON RFC 7493): bad UTF-8, lone surrogates, NaN,
    duplicate names; InvalidInput for numbers out of range; TooLarge for nesting over `max_depth`.
    """
    if _deeper_than(max_depth, body):
        raise TooLarge(f"the JSON is nested deeper than {max_depth} levels. Send a flatter value.", max_depth=max_depth)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedRequest("the body is not UTF-8. JSON is always UTF-8.", at_byte=error.start) from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error.msg}.", line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise TooLarge("the JSON is nested too deep. Send a flatter value.", max_depth=max_depth) from None
    if _SURROGATE_ESCAPE.search(body):
        _refuse_lone_surrogates(value)
    return value


def _deeper_than(limit: int, body: bytes) -> bool:
    """Whether brackets outside texts nest deeper than `limit`; stops at the first that does."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    depth = 0
    for mark in _BRACKET_OR_TEXT.finditer(body):
        depth += _STEPS.get(mark.group()[:1], 0)
        if depth > limit:
            return True
    return False


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise MalformedRequest("a name stands twice in one object: which one counts is anybody's guess.", name=twice)
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_INTEGER_DIGITS or abs(value := int(text)) > _MAX_INTEGER:
        raise InvalidInput("an integer in the body needs more than 64 bits.", number=text[:_MAX_NUMBER_CHARS])
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInput("a number in the body is too large for a double.", number=text[:_MAX_NUMBER_CHARS])
    return value


def _constant(name: str) -> ShopfloorError:
    raise MalformedRequest(f"the body is not JSON: {name} is not a JSON value.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise MalformedRequest("the body holds half a character: a surrogate without its pair.") from None


def _make_strict(schema: Any) -> None:
    if isinstance(schema, list):
        for part in cast("list[Any]", schema):
            _make_strict(part)
    elif isinstance(schema, dict):
        node = cast("dict[str, Any]", schema)
        kind = node.get("type")
        if not isinstance(kind, str):  # fields or choices by their names, and `type` may be one of these
            _make_strict(list(node.values()))
            return
        if kind in _CONVERTED:
            node["strict"] = True
        if (shape := _WRITTEN.get(kind)) is not None:
            _read_as_written(node, shape)
        elif not _is_read_as_written(node):  # a body inside a body was seen to already
            _make_strict([part for key, part in node.items() if key not in _VALUES])


def _read_as_written(node: dict[str, Any], shape: re.Pattern[str]) -> None:
    inner = node | _EARLIEST_AND_LAST if node["type"] == "datetime" else dict(node)
    before = core_schema.no_info_before_validator_function(partial(_as_written, shape), cast("CoreSchema", inner))
    node.clear()
    node.update(before)


def _is_read_as_written(node: dict[str, Any]) -> bool:
    function = (
        cast("dict[str, Any]", node["function"]).get("function") if node.get("type") == "function-before" else None
    )
    return isinstance(function, partial) and cast("partial[Any]", function).func is _as_written


def _as_written(shape: re.Pattern[str], value: object) -> object:
    """Python reads `1_000`, digits of other scripts and, for a time, seconds since 1970: nobody documents those."""
    if isinstance(value, str) and shape.fullmatch(value) is None:
        raise PydanticCustomError("unusual_spelling", "Write a number in plain digits, and a time as RFC 3339 has it")
    return value


def _clean_texts(data: Any) -> Any:
    if isinstance(data, str):
        return _clean_text(data)
    if isinstance(data, dict):
        return {_clean_texts(name): _clean_texts(item) for name, item in cast("dict[Any, Any]", data).items()}
    if isinstance(data, list):
        return [_clean_texts(item) for item in cast("list[Any]", data)]
    return data


def _clean_text(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    if _CONTROL.search(text):
        raise PydanticCustomError("control_character", "A text holds a control character other than tab and newline")
    return unicodedata.normalize("NFC", text)


# pydantic runs the functions above while it builds the classes below.


class Body(BaseModel):
    """What comes in. Unknown names are refused; numbers, booleans and texts are not converted into each other.

    Texts are normalised to NFC; control characters other than tab and newline are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's schema, with plain JSON types strict; UUIDs, times and decimals are still read from text."""
        schema = handler(source)
        _make_strict(schema)
        return schema

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, data: Any) -> Any:
        return _clean_texts(data)


class Reply(BaseModel):
    """What goes out. Names and types are promised; `None` says unknown or not yet."""

    model_config = ConfigDict(frozen=True, from_attributes=True, extra="forbid", ser_json_inf_nan="null")

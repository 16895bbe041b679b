"""One text for one JSON value, so that a hash of it means the value. Source: RFC 8785."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, cast

import orjson

from shopfloor.base.errors import InvalidInput

_LARGEST_EXACT = 2**53 - 1  # of a double. Source: RFC 7493, section 2.2
_FIRST_EXPONENT, _LAST_EXPONENT = -6, 21  # plain digits between these. Source: ECMA-262, Number::toString
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')


class NotCanonical(InvalidInput):
    """A value that JSON of this kind can't hold."""

    title = "No canonical JSON"


def canonical(value: Any) -> bytes:
    """The value's only text, UTF-8. Raises: NotCanonical for what isn't JSON, NaN, integers beyond 2**53 - 1."""
    if is_plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError as error:
            raise NotCanonical(f"The value can't be written as JSON: {error}.") from error
    try:
        return _written(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotCanonical("The value holds half a character: a surrogate without its pair.") from error


def is_plain(value: Any) -> bool:
    """Whether orjson writes it as RFC 8785 wants: no floats, ASCII names (others it sorts by other units)."""
    kind = cast("type[object]", type(value))
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return -_LARGEST_EXACT <= value <= _LARGEST_EXACT
    if kind is dict:
        return all(type(name) is str and name.isascii() and is_plain(each) for name, each in value.items())
    if kind is list:
        return all(is_plain(each) for each in value)
    return False


def _written(value: Any) -> str:
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return _text(value)
        case int():
            if abs(value) > _LARGEST_EXACT:
                raise NotCanonical(f"The integer {value} has no exact double. Write it as a text.")
            return str(value)
        case float():
            return number(value)
        case list():
            return f"[{','.join(_written(each) for each in cast('list[Any]', value))}]"
        case dict():
            pairs = cast("dict[Any, Any]", value)
            if not all(isinstance(name, str) for name in pairs):
                raise NotCanonical("A name in the value is no text.")
            names = sorted(pairs, key=_utf16)  # section 3.2.3
            return "{" + ",".join(f"{_text(name)}:{_written(pairs[name])}" for name in names) + "}"
        case _:
            raise NotCanonical(f"A {type(value).__name__} is no JSON.")


def number(value: float) -> str:
    """A double as ECMAScript writes it. Source: ECMA-262, Number::toString; RFC 8785, section 3.2.2.3."""
    if not math.isfinite(value):
        raise NotCanonical(f"{value} is no JSON.")
    if value == 0:
        return "0"  # also -0
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    shown = "".join(map(str, digits))
    point = len(shown) + cast("int", exponent)  # digits before the point
    if len(shown) <= point <= _LAST_EXPONENT:
        text = shown + "0" * (point - len(shown))
    elif 0 < point <= _LAST_EXPONENT:
        text = f"{shown[:point]}.{shown[point:]}"
    elif _FIRST_EXPONENT < point <= 0:
        text = f"0.{'0' * -point}{shown}"
    else:
        rest = f".{shown[1:]}" if len(shown) > 1 else ""
        text = f"{shown[0]}{rest}e{point - 1:+d}"
    return f"-{text}" if sign else text


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def _text(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    """Section 3.2.2.2: the short form where there is one, else lower-case hexadecimal."""
    return json.dumps(found.group())[1:-1]

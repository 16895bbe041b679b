"""Properties of the JSON reader, the strict bodies and the cursor, whatever hypothesis thinks of."""

from __future__ import annotations

import contextlib
import json
import unicodedata
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shopfloor.base.errors import InvalidInput, TooLarge
from shopfloor.infra.web.errors import MalformedRequest
from shopfloor.infra.web.json_body import MAX_DEPTH, Body, read_json

REFUSALS = (MalformedRequest, InvalidInput, TooLarge)
INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)
# Pieces of JSON in any order: far more often nearly right than random bytes are.
PIECES = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ",", ":", '"a"', '"b"', "1", "-", "0", "1e9", "1e999", ".5", "NaN", "Infinity", "true",
         "null", '"\\ud800"', '"\\udc00"', '"\\u0000"', '"', "\\", " ", "\t", "\n", "\x0b", "\u2028", "/*x*/", "//",
         "9" * 30, "'", "\ufeff", "é", "😀"],
    ),
    max_size=40,
)  # fmt: skip


def read(body: bytes) -> Any:
    with contextlib.suppress(*REFUSALS):
        return read_json(body)
    return None


@given(PIECES)
@settings(max_examples=300, deadline=None)
def test_what_the_reader_takes_another_strict_reader_takes_alike(pieces: list[str]):
    """No body means one thing here and another elsewhere."""
    body = "".join(pieces).encode()
    try:
        value = read_json(body)
    except REFUSALS:
        return
    assert orjson.loads(body) == value
    assert json.loads(body) == value


@given(PIECES)
@settings(max_examples=300, deadline=None)
def test_nothing_but_the_documented_refusals_comes_out(pieces: list[str]):
    read("".join(pieces).encode())


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_what_is_read_can_be_written_and_read_again(value: Any):
    body = json.dumps(value).encode()
    taken = read(body)
    if taken is not None:
        assert read_json(orjson.dumps(taken)) == taken


@given(st.text(max_size=20), VALUES, VALUES)
@settings(max_examples=100, deadline=None)
def test_a_name_twice_is_refused_at_any_depth(name: str, first: Any, second: Any):
    pair = f"{{{json.dumps(name)}: {json.dumps(first)}, {json.dumps(name)}: {json.dumps(second)}}}"
    for body in (pair, f"[{pair}]", f'{{"x": {pair}}}'):
        with pytest.raises(REFUSALS):
            read_json(body.encode())
    read_json(f"{{{json.dumps(name)}: 1}}".encode())  # the control


@given(st.integers(min_value=1, max_value=200), st.sampled_from(["[", '{"a":']))
@settings(deadline=None)
def test_depth_is_counted_exactly(depth: int, opening: str):
    body = opening * depth + "1" + ("]" if opening == "[" else "}") * depth
    if depth > MAX_DEPTH:
        with pytest.raises(TooLarge):
            read_json(body.encode())
    else:
        read_json(body.encode())


@given(st.integers())
@settings(deadline=None)
def test_integers_outside_64_bits_are_refused_and_those_inside_are_exact(number: int):
    body = str(number).encode()
    if abs(number) < 2**63:
        assert read_json(body) == number
    else:
        with pytest.raises(InvalidInput):
            read_json(body)


@given(st.integers(0xD800, 0xDFFF), st.text(max_size=5))
@settings(deadline=None)
def test_half_a_character_is_refused_wherever_it_stands(half: int, before: str):
    prefix = json.dumps(before)[1:-1]
    for body in (f'"{prefix}\\u{half:04x}"', f'["{prefix}\\u{half:04x}x"]', f'{{"{prefix}\\u{half:04x} ": 1}}'):
        with pytest.raises(MalformedRequest):
            read_json(body.encode())


class Sent(Body):
    text: str
    more: dict[str, str]


@given(st.text())
@settings(deadline=None)
def test_a_text_comes_in_as_nfc_without_control_characters_or_not_at_all(text: str):
    try:
        taken = Sent.model_validate({"text": text, "more": {text: text}})
    except ValidationError:
        assert any(unicodedata.category(sign) == "Cc" and sign not in "\t\n" for sign in text)
        return
    assert unicodedata.is_normalized("NFC", taken.text)
    assert taken.text == unicodedata.normalize("NFC", text)
    assert set(taken.more) == {taken.text}
    assert not any(unicodedata.category(sign) == "Cc" and sign not in "\t\n" for sign in taken.text)


def test_a_lenient_reader_takes_what_this_one_refuses():
    """The positive control: the standard reader takes all of these, and each of them means two things somewhere."""
    for body in (b'{"a": 1, "a": 2}', b"NaN", b'"\\ud800"', b"1e999", b"9" * 100):
        json.loads(body)
        with pytest.raises(REFUSALS):
            read_json(body)

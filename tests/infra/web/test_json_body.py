"""The attack families for bodies, each with its positive control."""

import asyncio
import contextlib
import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from shopfloor.base.errors import InvalidInput, TooLarge
from shopfloor.infra.web.body_limits import BodyLimits
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.errors import MalformedRequest
from shopfloor.infra.web.json_body import Body, read_json
from shopfloor.infra.web.plumbing import install_plumbing


class Inner(Body):
    tag: str


class Sent(Body):
    text: str = ""
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    id: UUID | None = None
    at: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    inner: list[Inner] = Field(default_factory=list)
    free: Any = None
    price: Decimal | None = None


@pytest.fixture
def app():
    app = FastAPI()

    @app.post("/echo")
    async def echo(body: Sent) -> dict[str, Any]:
        return body.model_dump(mode="json")

    @app.put("/upload/{name}")
    async def upload(name: str, request: Request) -> dict[str, int]:
        return {"size_bytes": sum([len(chunk) async for chunk in request.stream()])}

    @app.get("/echo")
    async def get() -> dict[str, str]:
        return {}

    limits = BodyLimits(
        max_bytes=1000, max_bytes_by_prefix={"/upload": 5000}, streamed_prefixes=("/upload",), timeout_s=0.3
    )
    install_plumbing(app, edge=EdgeSettings(allowed_hosts=("*",)), bodies=limits)
    return app


JSON = {"Content-Type": "application/json"}
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | FLOATS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


async def test_a_good_body_passes_with_its_values_unchanged(app, client_of):
    sent = {
        "text": "zażółć\tgęślą\n",
        "count": 5,
        "ratio": 2,
        "on": True,
        "labels": {"a": "b"},
        "inner": [{"tag": "x"}],
    }
    async with client_of(app) as client:
        answer = await client.post("/echo", json=sent)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"ratio": NaN}', 400, "malformed-request"),
        (b'{"ratio": Infinity}', 400, "malformed-request"),
        (b'{"ratio": -Infinity}', 400, "malformed-request"),
        (b'{"ratio": 1e999}', 422, "invalid-input"),
        (b'{"ratio": -1e999}', 422, "invalid-input"),
        (b'{"count": 9223372036854775808}', 422, "invalid-input"),
        (b'{"count": ' + b"9" * 900 + b"}", 422, "invalid-input"),
        (b'{"text": "\\ud800"}', 400, "malformed-request"),
        (b'{"text": "\\udc00\\ud800"}', 400, "malformed-request"),
        (b'{"\\uDFFF": 1}', 400, "malformed-request"),
        (b'{"free": [{"a": "\\ud83d"}]}', 400, "malformed-request"),
        (b'{"count": 1, "count": 2}', 400, "malformed-request"),
        (b'{"free": {"a": 1, "\\u0061": 2}}', 400, "malformed-request"),
        (b'{"text": "\xff"}', 400, "malformed-request"),
        (b'{"text": "\xed\xa0\x80"}', 400, "malformed-request"),
        (b'\xef\xbb\xbf{"count": 1}', 400, "malformed-request"),
        (b'{"count": 1', 400, "malformed-request"),
        (b'{"count": 1} {}', 400, "malformed-request"),
        (b"{'count': 1}", 400, "malformed-request"),
        (b'{"text": "a\x00b"}', 400, "malformed-request"),
        (b'{"text": "\\u0000"}', 422, "invalid-input"),
        (b'{"labels": {"a\\u001b[2J": "x"}}', 422, "invalid-input"),
        (b'{"free": {"deep": "\\u0007"}}', 422, "invalid-input"),
        (b'{"inner": [{"tag": "\\u009b"}]}', 422, "invalid-input"),
        (b"[" * 500 + b"]" * 500, 413, "too-large"),
        (b'{"free":' * 40 + b"1" + b"}" * 40, 413, "too-large"),
        (b'{"text": "' + b"x" * 1000 + b'"}', 413, "too-large"),
        (b'{"unknown": 1}', 422, "invalid-input"),
        (b'{"count": "5"}', 422, "invalid-input"),
        (b'{"count": true}', 422, "invalid-input"),
        (b'{"count": 5.0}', 422, "invalid-input"),
        (b'{"on": "yes"}', 422, "invalid-input"),
        (b'{"on": 1}', 422, "invalid-input"),
        (b'{"text": 5}', 422, "invalid-input"),
        (b'{"ratio": "1"}', 422, "invalid-input"),
        (b"[]", 422, "invalid-input"),
        (b"null", 422, "invalid-input"),
    ],
)
async def test_a_body_that_means_two_things_or_too_much_is_refused(app, client_of, body, status, code):
    async with client_of(app) as client:
        answer = await client.post("/echo", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({}, 415),
        ({"Content-Type": "application/json; charset=utf-16"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/json; charset=UTF-8"}, 200),
        ({"Content-Type": "application/merge-patch+json"}, 200),
    ],
)
async def test_only_plain_json_is_read(app, client_of, headers, status):
    async with client_of(app) as client:
        assert (await client.post("/echo", content=b"{}", headers=headers)).status_code == status


async def test_brackets_inside_texts_are_not_depth(app, client_of):
    async with client_of(app) as client:
        answer = await client.post("/echo", json={"text": '[[[{{{"\\' * 30})
    assert answer.status_code == 200


async def test_texts_are_normalised_so_that_equal_ones_are_equal():
    assert Sent.model_validate({"text": "e\u0301"}).text == "\u00e9"
    assert Sent.model_validate({"labels": {"e\u0301": "e\u0301"}}).labels == {"\u00e9": "\u00e9"}


def test_ids_and_times_are_still_read_from_text():
    sent = Sent.model_validate({"id": "019a0000-0000-7000-8000-000000000000", "at": "2026-01-02T03:04:05Z"})
    assert (sent.id, sent.at.year) == (UUID("019a0000-0000-7000-8000-000000000000"), 2026)


@pytest.mark.parametrize(
    "at",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z", "253402300800", "-1", "1e10",
     "٢٠٢٦-01-01T00:00:00Z", "2026-01-01", "today"],
)  # fmt: skip
def test_a_time_that_no_database_row_can_hold_or_that_is_no_time_is_refused(at: str):
    with pytest.raises(ValidationError):
        Sent.model_validate({"at": at})


@pytest.mark.parametrize("price", ["1_000", "١", "NaN", "Infinity", "", ".", "1.", " 1", "0x10", "1e", "1e9999", True])
def test_a_decimal_in_an_unusual_spelling_is_refused(price: object):
    with pytest.raises(ValidationError):
        Sent.model_validate({"price": price})


@pytest.mark.parametrize("price", ["1", "0.10", "-2.5", "1e-6", "1E+3", 3])
def test_a_decimal_in_plain_digits_is_taken(price: object):
    assert Sent.model_validate({"price": price}).price == Decimal(str(price))


class Named(Body):
    """Fields called as the words of a schema are."""

    type: Literal["project", "team"]
    function: int = 0
    metadata: Decimal | None = None
    default: dict[str, str] = Field({"type": "int"})


@pytest.mark.parametrize("sent", [{"function": "1"}, {"metadata": "1_000"}, {"default": {"a": 1}}, {"type": "user"}])
def test_a_field_may_be_called_type_and_the_fields_beside_it_are_as_strict_as_ever(sent: dict[str, Any]):
    taken = Named.model_validate({"type": "team", "function": 1, "metadata": "1.5"})
    assert (taken.type, taken.function, taken.metadata) == ("team", 1, Decimal("1.5"))
    with pytest.raises(ValidationError):
        Named.model_validate({"type": "team"} | sent)


def test_a_default_that_looks_like_a_schema_stays_as_it_was_written():
    assert Named.model_validate({"type": "team"}).default == {"type": "int"}


def test_the_error_of_a_model_never_shows_what_was_sent():
    with pytest.raises(ValidationError) as caught:
        Sent.model_validate({"count": "fake-secret"})
    assert "fake-secret" not in str(caught.value)


@given(ANY_JSON)
def test_whatever_is_good_json_is_read_as_the_standard_reader_does(value):
    for ensure_ascii in (True, False):
        body = json.dumps(value, ensure_ascii=ensure_ascii).encode()
        assert read_json(body, max_depth=100) == value


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_in_an_undocumented_way(body):
    with contextlib.suppress(MalformedRequest, InvalidInput, TooLarge):
        read_json(body)


def test_a_depth_bomb_of_a_megabyte_is_refused_before_it_is_parsed():
    with pytest.raises(TooLarge):
        read_json(b"[" * 1_000_000)
    with pytest.raises(TooLarge):
        read_json(b'{"a":' * 200_000)


async def _raw(url: str, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Write `parts` to the server and read until it closes or stays silent for 2 s."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    answer = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        while chunk := await asyncio.wait_for(reader.read(65_536), 2):
            answer += chunk
    except ConnectionError:
        pass  # it closed with our bytes unread
    except TimeoutError:
        answer += b"(still open)"
    writer.close()
    return answer


HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def test_chunks_are_counted_whatever_the_headers_say(app, serve):
    chunk = b"200\r\n" + b" " * 0x200 + b"\r\n"
    async with serve(app) as (url, _):
        answer = await _raw(url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 3, b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"(still open)" not in answer
        good = await _raw(
            url, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n"
        )
        assert good.startswith(b"HTTP/1.1 200 ")


async def test_a_declared_length_over_the_limit_is_refused_without_reading(app, serve):
    async with serve(app) as (url, _):
        answer = await _raw(url, HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"(still open)" not in answer


@pytest.mark.parametrize("parts", [(b"{",), (b"{", b" ", b" ")])
async def test_a_slow_body_is_given_up_and_its_connection_closed(app, serve, parts):
    async with serve(app) as (url, _):
        answer = await _raw(url, HEAD + b"Content-Length: 50\r\n\r\n", *parts, pause_s=0.05)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"(still open)" not in answer


async def test_length_and_chunks_together_are_refused_so_that_nothing_is_smuggled(app, serve):
    smuggled = b"0\r\n\r\nGET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serve(app) as (url, _):
        answer = await _raw(url, head + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_hangs_up_in_its_body_leaves_no_error(app, serve, caplog):
    async with serve(app) as (url, server):
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(HEAD + b"Content-Length: 50\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
        while server.server_state.tasks:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        async with httpx2.AsyncClient() as client:
            assert (await client.post(f"{url}/echo", json={})).status_code == 200
    assert "Traceback" not in caplog.text


async def test_uploads_are_streamed_counted_and_need_no_json(app, client_of, serve):
    async with client_of(app) as client:
        assert (await client.put("/upload/a", content=b"\x00" * 4000)).json() == {"size_bytes": 4000}
        assert (await client.put("/upload/a", content=b"x" * 5001)).status_code == 413
    head = b"PUT /upload/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serve(app) as (url, _):
        answer = await _raw(url, head, *[b"800\r\n" + b"x" * 0x800 + b"\r\n"] * 3, b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        slow = await _raw(url, head, b"1\r\nx\r\n")
        assert slow.startswith(b"HTTP/1.1 408 ")

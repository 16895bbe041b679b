"""Bodies that mean two things, too much or nothing, at every route that takes one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from security.api.routes import ATTACKED, Operation
from security.api.tenants import Shop, taken

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITH_A_BODY = [each for each in ATTACKED if each.body is not None]
JSON = {"Content-Type": "application/json"}
BAD: dict[str, tuple[bytes, dict[str, str], set[int]]] = {
    "not a number": (b'{"a": NaN}', JSON, {400}),
    "infinity": (b'{"a": -Infinity}', JSON, {400}),
    "a double too large": (b'{"a": 1e999}', JSON, {422}),
    "an integer too large": (b'{"a": 92233720368547758080}', JSON, {422}),
    "ten thousand digits": (b'{"a": ' + b"9" * 10_000 + b"}", JSON, {422}),
    "half a character": (b'{"a": "\\ud800"}', JSON, {400}),
    "half a character as a name": (b'{"\\udc00": 1}', JSON, {400}),
    "one name twice": (b'{"name": "a", "name": "b"}', JSON, {400}),
    "one name twice, escaped": (b'{"name": "a", "n\\u0061me": "b"}', JSON, {400}),
    "a depth bomb": (b"[" * 100_000, JSON, {413}),
    "a deep object": (b'{"a":' * 40 + b"1" + b"}" * 40, JSON, {413}),
    "over a mebibyte": (b'{"a": "' + b"x" * 1_100_000 + b'"}', JSON, {413}),
    "bad UTF-8": (b'{"a": "\xff"}', JSON, {400}),
    "overlong UTF-8": (b'{"a": "\xc0\xaf"}', JSON, {400}),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), JSON, {400}),
    "a byte order mark": (b"\xef\xbb\xbf{}", JSON, {400}),
    "cut off": (b'{"a": ', JSON, {400}),
    "two values": (b"{} {}", JSON, {400}),
    "a comment": (b'{"a": 1} // x', JSON, {400}),
    "single quotes": (b"{'a': 1}", JSON, {400}),
    "a comma too many": (b'{"a": 1,}', JSON, {400}),
    "a raw control character": (b'{"a": "\x01"}', JSON, {400}),
    "an escaped NUL": (b'{"a": "\\u0000"}', JSON, {422}),
    "a list": (b"[1]", JSON, {422}),
    "a text": (b'"x"', JSON, {422}),
    "a form": (b"name=x", {"Content-Type": "application/x-www-form-urlencoded"}, {415}),
    "a form that looks like JSON": (b'{"name":"x"}', {"Content-Type": "text/plain"}, {415}),
    "several parts": (b"--x--", {"Content-Type": "multipart/form-data; boundary=x"}, {415}),
    "XML": (b"<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]><x>&y;</x>", {"Content-Type": "text/xml"}, {415}),
    "YAML": (b"!!python/object/apply:os.system [id]", {"Content-Type": "application/yaml"}, {415}),
    "another charset": (b"{}", {"Content-Type": "application/json; charset=utf-7"}, {415}),
    "compressed": (b"\x1f\x8b\x08", JSON | {"Content-Encoding": "gzip"}, {415}),
    "twice compressed": (b"{}", JSON | {"Content-Encoding": "br, gzip"}, {415}),
    "no type": (b"{}", {}, {415}),
}


@pytest.mark.parametrize("asked", WITH_A_BODY, ids=str)
async def test_a_bad_body_is_refused_in_a_documented_way_and_nothing_is_written(
    shop: Shop, asked: Operation, record_property: Any
):
    path = await shop.acme.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    for what, (content, headers, statuses) in BAD.items():
        refused = await shop.request(shop.acme, asked, path, content=content, headers=headers)
        assert refused.status_code in statuses, (what, refused.text)
        assert refused.headers["content-type"] == "application/problem+json", what
        assert str(refused.status_code) in asked.description["responses"], what
    assert shop.rows_of(shop.acme) == before
    record_property("cases", len(BAD))

    good = json.dumps(await shop.acme.body_of(asked)).encode()  # the control: a good body in the same way
    passed = await shop.request(shop.acme, asked, path, content=good, headers=JSON)
    assert taken(passed), passed.text


WITHOUT_A_BODY = [each for each in ATTACKED if each.body is None]


@pytest.mark.parametrize("asked", WITHOUT_A_BODY, ids=str)
async def test_a_body_where_none_belongs_is_checked_all_the_same(shop: Shop, asked: Operation, record_property: Any):
    path = await shop.acme.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    bad = ("not a number", "a depth bomb", "over a mebibyte", "compressed", "a form", "one name twice")
    for what in bad:
        content, headers, statuses = BAD[what]
        refused = await shop.request(shop.acme, asked, path, content=content, headers=headers)
        assert refused.status_code in statuses, (what, refused.status_code)
    assert shop.rows_of(shop.acme) == before
    record_property("cases", len(bad))

"""What clients send stands in the log as data: one request, one line, no escape sequence, no secret."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from security.api.routes import OPERATIONS, Operation
from security.api.tenants import Shop
from shopfloor.infra.telemetry import LogSettings, configure_logging

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGERIES = [
    "\r\n2026-01-01 [info] admin.signed_in user=root",
    "\n" + json.dumps({"event": "forged"}),
    "\x1b[2J\x1b[1;1H",
    "\x1b]0;owned\x07",
    "\x9b31m",
    "\u2028forged",
    "\u0085forged",
    '"}\n{"event": "forged"',
    "%0a%0d",
    "\x00",
]


@pytest.fixture
def written() -> io.StringIO:
    """The log of this process, as JSON, on a stream of the test's own."""
    stream = io.StringIO()
    configure_logging(LogSettings(format="json"), stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    text = stream.getvalue()
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", text) == []
    return [json.loads(each) for each in text.splitlines()]


@pytest.mark.parametrize("asked", OPERATIONS, ids=str)
async def test_one_request_writes_one_line_whatever_it_holds(
    shop: Shop, written: io.StringIO, asked: Operation, record_property: Any
):
    path = await shop.acme.path_of(asked.path)
    written.truncate(0)
    written.seek(0)
    for text in FORGERIES:
        steps = [quote(text, safe="") if part.startswith("{") else part for part in asked.path.split("/")]
        raw = [(b"User-Agent", text.encode("utf-8")), (b"Referer", text.encode("utf-8")), (b"X-Request-Id", b"x\r\ny")]
        await shop.acme.client.request(asked.method.upper(), "/".join(steps), headers=raw, params={"x": text})
        await shop.acme.client.request(asked.method.upper(), f"{path}/{quote(text, safe='')}", headers=raw)
    told = lines(written)
    assert {each["event"] for each in told}.isdisjoint({"forged", "admin.signed_in"})
    requests = [each for each in told if each["event"] == "http.request"]
    assert len(requests) <= 2 * len(FORGERIES)
    assert "\x1b" not in written.getvalue()
    assert "\x9b" not in written.getvalue()
    assert shop.acme.key not in written.getvalue()
    record_property("cases", 2 * len(FORGERIES))


async def test_a_line_written_without_care_is_seen(written: io.StringIO):
    """The positive control: the same text, printed as it is, makes a second line and moves the cursor."""
    stream = io.StringIO()
    print(f"request {FORGERIES[1]}", file=stream)
    assert json.loads(stream.getvalue().splitlines()[1]) == {"event": "forged"}
    structlog.get_logger("x").info("told", text=FORGERIES[1] + FORGERIES[2])
    [line] = lines(written)
    assert "forged" in line["text"]  # kept as data, in one line


async def test_a_key_that_is_sent_in_the_wrong_place_is_struck_out(shop: Shop, written: io.StringIO):
    for place in (f"/api/v1/{shop.acme.key}", f"/api/v1/projects/{shop.acme.key}"):
        answer = await shop.acme.client.get(place)
        assert shop.acme.key not in answer.text
    await shop.acme.client.get("/api/v1/me", headers={"User-Agent": shop.acme.key, "X-Request-Id": shop.acme.key})
    logging.getLogger("library").warning("key is %s", shop.acme.key)
    assert shop.acme.key not in written.getvalue()
    assert "key is [redacted]" in written.getvalue()  # the control: the line was written

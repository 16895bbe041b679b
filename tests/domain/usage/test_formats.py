"""What an export's bytes mean to those who read them: spreadsheets, FOCUS's rules, readers of Parquet."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.base.ids import new_id
from shopfloor.domain.usage.focus import Account
from shopfloor.domain.usage.formats import Format, guarded, written
from shopfloor.domain.usage.models import Call
from shopfloor.domain.usage.parquet import Column, ParquetWriter, Value

AT = datetime(2026, 11, 30, 23, 30, 15, 123_456, tzinfo=UTC)
ACCOUNT = Account(UUID(int=7), "Acme", "UTC")


def call(**fields: Any) -> Call:
    whole: dict[str, Any] = {
        "entry_id": 1, "at": AT, "called_at": AT, "kind": "spend", "cost_nanos": 1_234_567_890, "hold_id": UUID(int=1),
        "job_id": UUID(int=2), "project_id": UUID(int=3), "project": "shop", "team_id": None, "user_id": UUID(int=4),
        "agent": "coding", "provider": "openai", "model": "gpt-5",
        "usage": {"input_tokens": 100, "cache_read_tokens": 20, "output_tokens": 7, "requests": 1},
        "labels": {"ticket": "A-1"}, "price_id": None,
    }  # fmt: skip
    return Call(**(whole | fields))


async def pages(*found: list[Call]) -> AsyncIterator[list[Call]]:
    for page in found:
        yield page


async def export(form: Format, *found: list[Call]) -> bytes:
    return b"".join([piece async for piece in written(pages(*found), form, ACCOUNT)])


async def table(form: Format, *found: list[Call]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((await export(form, *found)).decode())))


@pytest.mark.parametrize("evil", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
@pytest.mark.parametrize("form", ["csv", "focus"])
async def test_no_text_becomes_a_formula_of_a_spreadsheet(form: Format, evil: str):
    [row] = await table(form, [call(agent=evil, model=evil, project=evil, provider=evil)])
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert guarded(evil) in row.values()


async def test_a_negative_amount_stays_a_number():
    amounts: dict[Format, str] = {"csv": "cost_usd", "focus": "BilledCost"}
    for form, column in amounts.items():
        [row] = await table(form, [call(cost_nanos=-5, kind="adjustment")])
        assert Decimal(row[column]) == Decimal("-0.000000005")


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "focus"])
async def test_nothing_to_export_is_still_a_file(form: Format):
    content = await export(form, [])
    if form == "json":
        assert orjson.loads(content) == []
    elif form == "parquet":
        assert content.startswith(b"PAR1")
        assert content.endswith(b"PAR1")
    else:
        assert content.count(b"\r\n") == 1


# Source: FOCUS 1.2, specification/columns: "Feature level: Mandatory", with "Allows nulls" and "Data type".
MANDATORY = {
    "BilledCost": (False, "decimal"), "BillingAccountId": (False, "text"), "BillingAccountName": (True, "text"),
    "BillingCurrency": (False, "text"), "BillingPeriodEnd": (False, "time"), "BillingPeriodStart": (False, "time"),
    "ChargeCategory": (False, "text"), "ChargeClass": (True, "text"), "ChargeDescription": (True, "text"),
    "ChargePeriodEnd": (False, "time"), "ChargePeriodStart": (False, "time"), "ContractedCost": (False, "decimal"),
    "EffectiveCost": (False, "decimal"), "InvoiceIssuerName": (False, "text"), "ListCost": (False, "decimal"),
    "PricingQuantity": (True, "decimal"), "PricingUnit": (True, "text"), "ProviderName": (False, "text"),
    "PublisherName": (False, "text"), "ServiceCategory": (False, "text"), "ServiceName": (False, "text"),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [{}, {"kind": "unknown", "usage": {}}, {"kind": "adjustment", "usage": {}, "cost_nanos": -9}]
)
async def test_each_mandatory_column_of_focus_is_there_with_its_type(kind: dict[str, Any]):
    [row] = await table("focus", [call(**kind)])
    for column, (may_be_null, typed) in MANDATORY.items():
        assert may_be_null or row[column], column
        if row[column] and typed == "decimal":
            assert Decimal(row[column]).is_finite()
            assert "E" not in row[column]
        if typed == "time":
            assert datetime.fromisoformat(row[column]).tzinfo is not None
            assert len(row[column]) == len("2026-11-30T23:30:15Z")
    assert row["ChargeCategory"] in {"Usage", "Adjustment"}
    # "PricingQuantity MUST NOT be null when ChargeCategory is Usage and ChargeClass is not Correction."
    assert row["PricingQuantity"] or row["ChargeCategory"] != "Usage"
    # "PricingUnit MUST be null when PricingQuantity is null", and the other way round.
    assert bool(row["PricingUnit"]) == bool(row["PricingQuantity"])
    assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"]
    assert isinstance(orjson.loads(row["Tags"]), dict)
    own = [column for column in row if column not in MANDATORY and column.startswith("x_")]
    assert own == sorted(own)


async def test_a_call_in_focus_is_a_charge_of_its_tokens():
    [row] = await table("focus", [call()])
    assert {name: row[name] for name in ("BilledCost", "ConsumedQuantity", "ConsumedUnit", "ChargeClass")} == {
        "BilledCost": "1.234567890", "ConsumedQuantity": "127", "ConsumedUnit": "Tokens", "ChargeClass": "",
    }  # fmt: skip
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-11-30T23:30:15Z", "2026-11-30T23:30:16Z")


async def test_months_of_focus_are_those_of_the_organizations_time_zone():
    there = Account(UUID(int=7), "Acme", "Europe/Berlin")
    pieces = [piece async for piece in written(pages([call()]), "focus", there)]
    [row] = csv.DictReader(io.StringIO(b"".join(pieces).decode()))
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z")


async def test_a_correction_of_an_earlier_month_says_so():
    earlier = datetime(2026, 10, 3, tzinfo=UTC)
    rows = await table("focus", [call(kind="adjustment", usage={}, called_at=at) for at in (earlier, AT)])
    assert [row["ChargeClass"] for row in rows] == ["Correction", ""]


async def test_parquet_says_what_json_says():
    io_ = pytest.importorskip("arro3.io", reason="reads Parquet; comes with the development dependencies")
    found = [call(entry_id=n, team_id=new_id() if n % 3 else None, cost_nanos=n - 500) for n in range(1, 1_001)]
    content = await export("parquet", found[:400], found[400:])
    table_ = io_.read_parquet(io.BytesIO(content)).read_all()
    read = {name: table_.column(name).to_pylist() for name in table_.column_names}
    told = orjson.loads(await export("json", found))
    assert len(told) == 1_000
    for place, row in enumerate(told):
        assert read["entry_id"][place] == row["entry_id"]
        assert read["team_id"][place] == row["team_id"]
        assert read["labels"][place] == orjson.dumps(row["labels"]).decode()
        assert Decimal(read["cost_usd"][place]) == Decimal(row["cost_usd"])
        assert read["at"][place] == AT


COLUMNS = (Column("n", "integer"), Column("text", "text", optional=True))


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | st.text(max_size=20)), max_size=40))
def test_the_pages_of_a_parquet_file_hold_what_was_written(rows: list[tuple[int, str | None]]):
    """Read by hand, by the format's own rules: each page is found at the end of the one before."""
    writer = ParquetWriter(COLUMNS)
    content = writer.start() + b"".join(writer.rows(rows)) + writer.finish()
    assert content[:4] == content[-4:] == b"PAR1"
    [size] = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - size : -8]
    assert b"text" in footer
    if not rows:
        return
    pages_ = _gunzipped(content[4 : -8 - size])
    assert list(struct.unpack(f"<{len(rows)}q", pages_[0])) == [n for n, _ in rows]
    assert _texts(pages_[1], len(rows)) == [text for _, text in rows]


def _gunzipped(content: bytes) -> list[bytes]:
    """The pages: each begins with gzip's mark, after its header."""
    found: list[bytes] = []
    while (place := content.find(b"\x1f\x8b\x08")) >= 0:
        reader = zlib.decompressobj(wbits=31)
        found.append(reader.decompress(content[place:]))
        content = reader.unused_data
    return found


def _texts(page: bytes, rows: int) -> list[Value]:
    [size] = struct.unpack("<I", page[:4])
    levels, values = page[4 : 4 + size], page[4 + size :]
    bits = int.from_bytes(levels[1:], "little") if rows <= 504 else 0
    found: list[Value] = []
    for place in range(rows):
        if not bits >> place & 1:
            found.append(None)
            continue
        [length] = struct.unpack("<I", values[:4])
        found.append(values[4 : 4 + length].decode())
        values = values[4 + length :]
    return found

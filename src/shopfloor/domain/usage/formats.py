"""An export's bytes: CSV, JSON, Parquet, or CSV with FOCUS's columns, as the pages come."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Final, Literal

import orjson

from shopfloor.domain.usage.focus import COLUMNS as FOCUS_COLUMNS
from shopfloor.domain.usage.focus import Account, focus_row, usd_text
from shopfloor.domain.usage.models import Call
from shopfloor.domain.usage.parquet import Column, ParquetWriter, Value

Format = Literal["csv", "json", "parquet", "focus"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet",
    "focus": "text/csv; charset=utf-8",
}  # fmt: skip
TOKENS: Final = (
    "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens",
)  # fmt: skip
_COLUMNS: Final = (
    Column("entry_id", "integer"),
    Column("at", "moment"),
    Column("kind", "text"),
    Column("cost_usd", "usd"),
    Column("project", "text"),
    Column("project_id", "text"),
    Column("team_id", "text", optional=True),
    Column("user_id", "text", optional=True),
    Column("agent", "text"),
    Column("provider", "text"),
    Column("model", "text"),
    *(Column(name, "integer") for name in TOKENS),
    Column("requests", "integer"),
    Column("tool_calls", "integer"),
    Column("job_id", "text"),
    Column("hold_id", "text"),
    Column("price_id", "text", optional=True),
    Column("labels", "text"),
)
_GROUP: Final = 20_000  # rows of a row group: some MB in memory
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")  # Source: OWASP, "CSV Injection"


async def written(pages: AsyncIterator[list[Call]], form: Format, account: Account) -> AsyncIterator[bytes]:
    """The file, piece by piece."""
    match form:
        case "csv":
            pieces = _csv(pages)
        case "json":
            pieces = _json(pages)
        case "parquet":
            pieces = _parquet(pages)
        case "focus":
            pieces = _focus(pages, account)
    async for piece in pieces:
        yield piece


async def _csv(pages: AsyncIterator[list[Call]]) -> AsyncIterator[bytes]:
    yield _lines([[column.name for column in _COLUMNS]])
    async for page in pages:
        yield _lines(
            [_cell(column, value) for column, value in zip(_COLUMNS, _row(call), strict=True)] for call in page
        )


async def _focus(pages: AsyncIterator[list[Call]], account: Account) -> AsyncIterator[bytes]:
    yield _lines([FOCUS_COLUMNS])
    async for page in pages:
        rows = (focus_row(call, account) for call in page)
        yield _lines([_guarded(name, row[name] or "") for name in FOCUS_COLUMNS] for row in rows)


async def _json(pages: AsyncIterator[list[Call]]) -> AsyncIterator[bytes]:
    yield b"["
    between = b"\n"
    async for page in pages:
        for call in page:
            yield between + orjson.dumps(_object(call))
            between = b",\n"
    yield b"\n]\n"


async def _parquet(pages: AsyncIterator[list[Call]]) -> AsyncIterator[bytes]:
    writer = ParquetWriter(_COLUMNS)
    yield writer.start()
    waiting: list[list[Value]] = []
    async for page in pages:
        waiting += [_row(call) for call in page]
        if len(waiting) >= _GROUP:
            for piece in writer.rows(waiting):
                yield piece
            waiting = []
    for piece in writer.rows(waiting):
        yield piece
    yield writer.finish()


def _row(call: Call) -> list[Value]:
    """The values of `_COLUMNS`."""
    return [
        call.entry_id, call.at, call.kind, call.cost_nanos, call.project, str(call.project_id), _text(call.team_id),
        _text(call.user_id), call.agent, call.provider, call.model, *(call.usage.get(name, 0) for name in TOKENS),
        call.usage.get("requests", 0), call.usage.get("tool_calls", 0), str(call.job_id), str(call.hold_id),
        _text(call.price_id), orjson.dumps(call.labels, option=orjson.OPT_SORT_KEYS).decode(),
    ]  # fmt: skip


def _object(call: Call) -> dict[str, object]:
    named: dict[str, object] = dict(zip((column.name for column in _COLUMNS), _row(call), strict=True))
    return named | {"cost_usd": usd_text(call.cost_nanos), "cost_nanos": call.cost_nanos, "labels": call.labels}


def _cell(column: Column, value: Value) -> str:
    match column.kind:
        case "usd":
            assert isinstance(value, int)
            return usd_text(value)
        case "text":
            return guarded(str(value)) if value is not None else ""
        case "moment":
            return value.isoformat() if not isinstance(value, (int, str)) and value is not None else ""
        case "integer":
            return str(value)


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe goes before what would begin one."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _guarded(column: str, text: str) -> str:
    return text if column.endswith("Cost") else guarded(text)


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)  # RFC 4180
    return out.getvalue().encode()


def _text(value: object) -> str | None:
    return None if value is None else str(value)

"""A Parquet file, written as its rows come: flat columns, plain encoding, gzip, a row group at a time.

A library for this weighs 30 to 150 MB, and what we write needs a page of the format. Source: apache/parquet-format,
README.md, parquet.thrift, Encodings.md and LogicalTypes.md; apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

Kind = Literal["integer", "text", "moment", "usd"]
Value = int | str | datetime | None

_MAGIC: Final = b"PAR1"
_INT64, _BYTE_ARRAY = 2, 6
_REQUIRED, _OPTIONAL = 0, 1
_PLAIN, _RLE = 0, 3
_GZIP: Final = 2
_DATA_PAGE: Final = 0
_VERSION: Final = 1
_UTF8, _DECIMAL, _TIMESTAMP_MICROS = 0, 5, 10
_USD_SCALE, _USD_PRECISION = 9, 18  # nano-USD in 64 bits
# Types of the compact protocol.
_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `usd` takes integers of nano-USD and shows them as USD with nine decimals."""

    name: str
    kind: Kind
    optional: bool = False


@dataclass(slots=True)
class ParquetWriter:
    """Bytes of a file: `start`, `rows` as often as wanted, `finish`."""

    columns: Sequence[Column]
    _offset: int = 0
    _rows: int = 0
    _groups: list[bytes] = field(default_factory=list[bytes])

    def start(self) -> bytes:
        """What a file begins with."""
        return self._counted(_MAGIC)

    def rows(self, rows: Sequence[Sequence[Value]]) -> Iterator[bytes]:
        """One row group, column by column."""
        if not rows:
            return
        chunks: list[bytes] = []
        size = 0
        for place, column in enumerate(self.columns):
            content = _content(column, [row[place] for row in rows])
            packed = gzip.compress(content, 6, mtime=0)
            header = _page_header(len(rows), len(content), len(packed))
            chunks.append(
                _chunk(column, len(rows), self._offset, len(header) + len(content), len(header) + len(packed))
            )
            size += len(header) + len(content)
            yield self._counted(header + packed)
        self._rows += len(rows)
        self._groups.append(_struct([
            (1, _LIST, _list(_STRUCT, chunks)), (2, _I64, _integer(size)), (3, _I64, _integer(len(rows))),
        ]))  # fmt: skip

    def finish(self) -> bytes:
        """The footer, without which the rest is nothing."""
        schema = [_struct([(4, _BINARY, _text("schema")), (5, _I32, _integer(len(self.columns)))])]
        schema += [_element(column) for column in self.columns]
        footer = _struct([
            (1, _I32, _integer(_VERSION)), (2, _LIST, _list(_STRUCT, schema)), (3, _I64, _integer(self._rows)),
            (4, _LIST, _list(_STRUCT, self._groups)), (6, _BINARY, _text("shopfloor")),
        ])  # fmt: skip
        return self._counted(footer + struct.pack("<I", len(footer)) + _MAGIC)

    def _counted(self, piece: bytes) -> bytes:
        self._offset += len(piece)
        return piece


def _content(column: Column, values: Sequence[Value]) -> bytes:
    present = [value for value in values if value is not None]
    if not column.optional:
        return _plain(column.kind, present)
    levels = _bit_packed([value is not None for value in values])
    return struct.pack("<I", len(levels)) + levels + _plain(column.kind, present)


def _plain(kind: Kind, values: Sequence[Value]) -> bytes:
    match kind:
        case "text":
            encoded = [str(value).encode() for value in values]
            return b"".join(struct.pack("<I", len(each)) + each for each in encoded)
        case "moment":
            micros = [_micros(value) for value in values if isinstance(value, datetime)]
            return struct.pack(f"<{len(micros)}q", *micros)
        case "integer" | "usd":
            return struct.pack(f"<{len(values)}q", *values)


def _micros(moment: datetime) -> int:
    whole = int(moment.replace(microsecond=0).timestamp())  # a float can't hold the microseconds
    return whole * 1_000_000 + moment.microsecond


def _bit_packed(bits: Sequence[bool]) -> bytes:
    """One run of the hybrid encoding, eight bits a byte, the lowest first."""
    groups = -(-len(bits) // 8)
    packed = sum(1 << place for place, bit in enumerate(bits) if bit).to_bytes(groups, "little")
    return _varint(groups << 1 | 1) + packed


def _page_header(rows: int, size: int, packed: int) -> bytes:
    page = _struct([
        (1, _I32, _integer(rows)), (2, _I32, _integer(_PLAIN)), (3, _I32, _integer(_RLE)), (4, _I32, _integer(_RLE)),
    ])  # fmt: skip
    return _struct([
        (1, _I32, _integer(_DATA_PAGE)), (2, _I32, _integer(size)), (3, _I32, _integer(packed)), (5, _STRUCT, page),
    ])  # fmt: skip


def _chunk(column: Column, rows: int, offset: int, size: int, packed: int) -> bytes:
    metadata = _struct([
        (1, _I32, _integer(_physical(column))),
        (2, _LIST, _list(_I32, [_integer(_PLAIN), _integer(_RLE)])),
        (3, _LIST, _list(_BINARY, [_text(column.name)])),
        (4, _I32, _integer(_GZIP)),
        (5, _I64, _integer(rows)),
        (6, _I64, _integer(size)),
        (7, _I64, _integer(packed)),
        (9, _I64, _integer(offset)),
    ])  # fmt: skip
    return _struct([(2, _I64, _integer(offset)), (3, _STRUCT, metadata)])


def _element(column: Column) -> bytes:
    fields = [
        (1, _I32, _integer(_physical(column))),
        (3, _I32, _integer(_OPTIONAL if column.optional else _REQUIRED)),
        (4, _BINARY, _text(column.name)),
    ]
    nothing = _struct([])
    match column.kind:
        case "text":
            fields += [(6, _I32, _integer(_UTF8)), (10, _STRUCT, _struct([(1, _STRUCT, nothing)]))]
        case "moment":
            micros = _struct([(2, _STRUCT, nothing)])
            moment = _struct([(1, _TRUE, b""), (2, _STRUCT, micros)])
            fields += [(6, _I32, _integer(_TIMESTAMP_MICROS)), (10, _STRUCT, _struct([(8, _STRUCT, moment)]))]
        case "usd":
            scale, precision = _integer(_USD_SCALE), _integer(_USD_PRECISION)
            decimal = _struct([(1, _I32, scale), (2, _I32, precision)])
            fields += [(6, _I32, _integer(_DECIMAL)), (7, _I32, scale), (8, _I32, precision)]
            fields += [(10, _STRUCT, _struct([(5, _STRUCT, decimal)]))]
        case "integer":
            pass
    return _struct(fields)


def _physical(column: Column) -> int:
    return _BYTE_ARRAY if column.kind == "text" else _INT64


def _struct(fields: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Fields as (id, type, content), ids ascending and at most 15 apart: the short form of their headers."""
    out, last = bytearray(), 0
    for ident, kind, content in fields:
        out.append((ident - last) << 4 | kind)
        out += content
        last = ident
    return bytes(out) + b"\x00"


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    short = len(items) < 15  # noqa: PLR2004 - of the protocol: four bits, all set say that the length follows
    header = bytes([len(items) << 4 | kind]) if short else bytes([0xF0 | kind]) + _varint(len(items))
    return header + b"".join(items)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _integer(value: int) -> bytes:
    """Zig-zag: all of ours are natural numbers."""
    return _varint(value << 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

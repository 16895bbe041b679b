"""A download's headers and its bytes: safe names, ranges, a checksum the reader can check."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import AsyncIterator
from urllib.parse import quote

from shopfloor.domain.artifacts.errors import RangeNotSatisfiable
from shopfloor.domain.artifacts.models import Artifact
from shopfloor.infra.blobs import BlobStore, ByteRange

_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})")
_MAX_FILE_NAME_CHARS = 200
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # also the marks that turn the reading direction: `exe.txt`


def headers_of(artifact: Artifact) -> dict[str, str]:
    """What every answer with this content carries. A browser saves it, and never runs or guesses it."""
    digest = base64.b64encode(bytes.fromhex(artifact.digest)).decode()
    return {
        "Content-Disposition": content_disposition(artifact.name),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{digest}:",  # RFC 9530
    }


def content_disposition(name: str) -> str:
    """`attachment` with the last part of `name`, in any script. Source: RFC 6266, RFC 8187."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(sign for sign in last if unicodedata.category(sign) not in _HIDDEN)
    shown = shown.strip(" .")[:_MAX_FILE_NAME_CHARS] or "artifact"
    plain = re.sub(r"[^A-Za-z0-9 !#$&+.^_`{}~()@=,;-]", "_", shown)
    encoded = quote(shown, safe="!#$&+-.^_`|~")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def byte_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The part asked for, within the content. None: all of it, also for ranges in plural, which nobody has to serve.

    Raises: RangeNotSatisfiable. Source: RFC 9110, section 14.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        start, end = max(size_bytes - int(match["last"]), 0), size_bytes
    else:
        start = int(match["first"])
        end = min(int(match["last"]) + 1, size_bytes) if match["last"] else size_bytes
        if match["last"] and int(match["last"]) < start:
            return None  # not a range at all: ignored
    if start >= size_bytes or end <= start:
        raise RangeNotSatisfiable(f"The content has {size_bytes} bytes. Ask for a part of it.", size_bytes=size_bytes)
    return ByteRange(start, end - start)


async def opened(blobs: BlobStore, digest: str, part: ByteRange | None) -> AsyncIterator[bytes]:
    """The content, its first piece already read: what is missing or damaged is known before any header is sent.

    Raises: BlobMissing, BlobCorrupt; BlobCorrupt also later on, which cuts the connection before the last piece.
    """
    pieces = blobs.open(digest, part)
    first = await anext(pieces, b"")
    return _chained(first, pieces)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece

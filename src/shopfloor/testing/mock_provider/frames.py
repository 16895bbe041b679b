"""Server-sent events as both dialects frame them. Source: WHATWG HTML, section 9.2, 'Server-sent events'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson


def sse(data: dict[str, Any], *, event: str | None = None) -> bytes:
    """One frame."""
    named = b"" if event is None else b"event: " + event.encode() + b"\n"
    return named + b"data: " + orjson.dumps(data) + b"\n\n"


def pieces(text: str, size: int) -> Iterator[str]:
    """`text` in parts of at most `size` characters."""
    return (text[start : start + size] for start in range(0, len(text), size))

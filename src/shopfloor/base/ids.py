"""Identifiers: time-ordered UUIDs, so that an index on the id is an index on creation."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

NIL = UUID(int=0)


def new_id() -> UUID:
    """A UUID version 7: 48 bits of Unix milliseconds, then 74 random bits. Source: RFC 9562, section 5.7."""
    millis = time.time_ns() // 1_000_000
    value = (millis & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def parse_id(text: str) -> UUID | None:
    """The UUID written in `text`, or None if it is not one."""
    try:
        return UUID(text)
    except ValueError:
        return None

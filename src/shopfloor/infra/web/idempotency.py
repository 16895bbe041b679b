"""Idempotency keys: what makes two requests the same one. Pure; the answers are kept by whoever owns the table."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from starlette.requests import Request

from shopfloor.base.errors import InvalidInput

HEADER = "Idempotency-Key"
MAX_CHARS = 255


def idempotency_key(request: Request) -> str | None:
    """The client's key: 1 to 255 visible ASCII characters. None: not sent.

    Raises: InvalidInput. Source: IETF draft-ietf-httpapi-idempotency-key-header.
    """
    sent = request.headers.getlist(HEADER)
    if not sent:
        return None
    if len(sent) > 1:
        raise InvalidInput(f"{HEADER} was sent {len(sent)} times. Send it once.", header=HEADER)
    key = sent[0].strip()
    if not 1 <= len(key) <= MAX_CHARS or not all("!" <= character <= "~" for character in key):
        raise InvalidInput(f"{HEADER} is 1 to {MAX_CHARS} visible ASCII characters, a UUID for example.", header=HEADER)
    return key


def fingerprint(method: str, path: str, body: Any) -> str:
    """A SHA-256 in hex: equal if and only if method, path and JSON value are; order of names and spaces don't count."""
    canonical = json.dumps([method.upper(), path, body], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()

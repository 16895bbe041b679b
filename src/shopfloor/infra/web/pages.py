"""Pages by keyset: a cursor holds the last row's keys, so that page 10,000 costs what page 1 does."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar, cast
from uuid import UUID

from fastapi import Query

from shopfloor.base.errors import InvalidInput
from shopfloor.infra.web.json_body import Reply

T = TypeVar("T")
Row = TypeVar("Row")
Key = str | int | datetime | UUID

MAX_LIMIT = 200
MAX_CURSOR_CHARS = 1_024
_VERSION = 1
_MAC_BYTES = 12
_MAX_KEY_CHARS = 256
_MAX_INTEGER = 2**63 - 1

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items at most.")]
CursorText = Annotated[
    str | None,
    Query(alias="cursor", max_length=MAX_CURSOR_CHARS, description="`next_cursor` of the page before; opaque."),
]


class Page(Reply, Generic[T]):
    """Some items of a list, in its order. `next_cursor` is null on the last page."""

    items: list[T]
    next_cursor: str | None = None


class Keyset:
    """How one list is cut: its name and the types of the keys it is ordered by, the unique one last.

    `secret` makes cursors tamper-evident. They are bound to the list and its filters in any case, and types are
    checked: a cursor can't widen what its reader may see, since queries stay inside the reader's organization.
    """

    def __init__(self, name: str, *types: type[Key], secret: bytes = b"") -> None:
        self.name = name
        self.types = types
        self.secret = secret or b"shopfloor cursor"

    def page(
        self,
        rows: Sequence[Row],
        limit: int,
        *,
        keys: Callable[[Row], tuple[Key, ...]],
        filters: Mapping[str, object] | None = None,
    ) -> tuple[list[Row], str | None]:
        """The items of a page and its next cursor, from up to `limit + 1` rows: the extra one says that more follow."""
        items = list(rows[:limit])
        more = len(rows) > limit and bool(items)
        return items, self.cursor(keys(items[-1]), filters=filters) if more else None

    def cursor(self, keys: tuple[Key, ...], *, filters: Mapping[str, object] | None = None) -> str:
        """An opaque text that `read` turns back into `keys`."""
        payload = json.dumps([_VERSION, [_plain(key) for key in keys]], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(payload, filters) + payload).decode().rstrip("=")

    def read(self, text: str | None, *, filters: Mapping[str, object] | None = None) -> tuple[Key, ...] | None:
        """The keys after which the page starts; None for the first page.

        Raises: InvalidInput for a cursor that is damaged, forged, of another list or of other filters.
        """
        if not text:
            return None
        raw = _decoded(text)
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload, filters)):
            raise _refused("it was not given out for this list with these filters")
        try:
            version, plain = cast("list[Any]", json.loads(payload))
            if version != _VERSION or len(plain) != len(self.types):
                raise _refused("it is from another version")
            return tuple(_typed(key, wanted) for key, wanted in zip(plain, self.types, strict=True))
        except (ValueError, TypeError, RecursionError):
            raise _refused("it is damaged") from None

    def _mac(self, payload: bytes, filters: Mapping[str, object] | None) -> bytes:
        about = json.dumps([self.name, filters or {}], sort_keys=True, default=str).encode()
        inner = hashlib.sha256(about).digest() + payload
        return hmac.new(self.secret, inner, hashlib.sha256).digest()[:_MAC_BYTES]


def _plain(key: Key) -> str | int:
    if isinstance(key, int):
        return key
    return key.isoformat() if isinstance(key, datetime) else str(key)


def _decoded(text: str) -> bytes:
    if len(text) > MAX_CURSOR_CHARS or not text.isascii():
        raise _refused("it is damaged")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused("it is damaged") from None


def _typed(key: object, wanted: type[Key]) -> Key:
    if wanted is int:
        if not isinstance(key, int) or isinstance(key, bool) or abs(key) > _MAX_INTEGER:
            raise ValueError("not an integer")
        return key
    if not isinstance(key, str) or len(key) > _MAX_KEY_CHARS:
        raise ValueError("not a text")
    if wanted is datetime:
        moment = datetime.fromisoformat(key)
        if moment.tzinfo is None:
            raise ValueError("a time without its zone")
        return moment
    return UUID(key) if wanted is UUID else key


def _refused(why: str) -> InvalidInput:
    return InvalidInput(f"this cursor can't be used: {why}. Start again from the first page, without a cursor.")
